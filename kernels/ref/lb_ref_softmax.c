/* Reference: one chunk of a softmax, and the largest logit. */
#include "../lb_kernel_names.h"
#include "../lb_math.h"

static void softmax_row(float *p, size_t n, float *max, float *sum)
{
    float lane[16];
    for (size_t j = 0; j < 16; j++) {
        lane[j] = -INFINITY;
    }
    for (size_t i = 0; i < n; i++) {
        lane[i % 16] = p[i] > lane[i % 16] ? p[i] : lane[i % 16];
    }
    const float m = lb_lane_max(lane);
    for (size_t j = 0; j < 16; j++) {
        lane[j] = 0.0f;
    }
    for (size_t i = 0; i < n; i++) {
        p[i] = lb_exp_down(p[i] - m);
        lane[i % 16] += p[i];
    }
    for (size_t i = n; i % 16 != 0; i++) {
        p[i] = 0.0f;
    }
    *max = m;
    *sum = lb_lane_sum(lane);
}

void lb_softmax_chunk_ref(float *p, size_t stride, size_t n_rows, size_t n, float *max, float *sum, lb_fetch *fetch)
{
    (void)fetch;
    for (size_t r = 0; r < n_rows; r++) {
        softmax_row(p + r * stride, n, max + r, sum + r);
    }
}

size_t lb_argmax_ref(const float *x, size_t n)
{
    size_t best = n;
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (x[i] > max) {
            max = x[i];
            best = i;
        }
    }
    return best;
}
