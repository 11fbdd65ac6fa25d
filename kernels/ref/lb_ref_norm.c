/* Reference: element-wise operations and the norm. */
#include "../lb_kernel_names.h"
#include "../lb_math.h"

void lb_rmsnorm_ref(float *y, const float *x, const float *w, size_t n, float eps)
{
    float lane[16] = {0};
    for (size_t i = 0; i < n; i++) {
        lane[i % 16] = lb_fma(x[i], x[i], lane[i % 16]);
    }
    const float r = 1.0f / sqrtf(lb_lane_sum(lane) / (float)n + eps);
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] * r * w[i];
    }
}

void lb_add_ref(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = y[i] + x[i];
    }
}

void lb_scale_ref(float *y, float f, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = y[i] * f;
    }
}

void lb_relu2_mul_ref(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float r = gate[i] > 0 ? gate[i] : 0;
        gate[i] = r * r * up[i];
    }
}

void lb_silu_mul_ref(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        gate[i] = gate[i] / (1.0f + lb_exp(-gate[i])) * up[i];
    }
}

void lb_axpby_ref(float *o, const float *c, float a, float b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        o[i] = lb_fma(b, c[i], a * o[i]);
    }
}

void lb_weigh_ref(float *o, const float *x, size_t stride, const float *w, size_t n, size_t width)
{
    for (size_t i = 0; i < width; i++) {
        o[i] = 0.0f;
        for (size_t c = 0; c < n; c++) {
            o[i] = lb_fma(w[c], x[c * stride + i], o[i]);
        }
    }
}
