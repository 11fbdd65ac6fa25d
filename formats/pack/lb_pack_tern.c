/* Packing into tern: five trits a byte. Ternary rows keep every bit; others are rounded, at a heavy cost. */
#include <string.h>

#include "lb_pack.h"
#include "../../kernels/lb_layout.h"
#include "../../kernels/lb_math.h"

static float lb_tern_magnitude(float x)
{
    return isfinite(x) ? fabsf(x) : 0.0f;
}

/*
 * The row's scale, and the magnitude from which on a weight counts as 1. An exact row has one magnitude besides zero. Else Lloyd's
 * iteration: to weights above a threshold the scale sum(h |w|) / sum(h) fits best, to a scale the threshold half of it. From 3/4 of the mean
 * magnitude on, where it is for normal weights nearly, a dozen rounds settle.
 */
static float lb_tern_scale(const float *row, size_t k, const float *importance, float *threshold)
{
    float largest = 0.0f, least = 0.0f;
    double sum = 0.0;
    for (size_t c = 0; c < k; c++) {
        const float x = lb_tern_magnitude(row[c]);
        largest = x > largest ? x : largest;
        least = x > 0.0f && (least == 0.0f || x < least) ? x : least;
        sum += (double)x;
    }
    *threshold = largest;
    if (largest == least) {
        return largest;
    }
    float scale = largest, half = (float)(0.75 * sum / (double)k), before = 0.0f;
    for (int round = 0; round < 12 && half != before; round++) {
        double over = 0.0, weight = 0.0;
        for (size_t c = 0; c < k; c++) {
            const float x = lb_tern_magnitude(row[c]);
            const double h = importance ? (double)importance[c] : 1.0;
            over += x > half ? h * (double)x : 0.0;
            weight += x > half ? h : 0.0;
        }
        *threshold = nextafterf(half, INFINITY);
        scale = weight > 0.0 ? (float)(over / weight) : largest;
        before = half;
        half = 0.5f * scale;
    }
    return scale;
}

void lb_pack_tern(const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance,
                  void *tile)
{
    float *row_scale = tile;
    uint8_t *codes = (uint8_t *)tile + LB_TERN_CODES_AT;
    memset(tile, 0, LB_TERN_CODES_AT);
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        const float *row = rows + (r < n_rows ? r : 0) * stride;
        float threshold = 0.0f;
        row_scale[r] = r < n_rows ? lb_tern_scale(row, k, importance, &threshold) : 0.0f;
        for (size_t l = 0; l < lb_tern_lines(k); l++) {
            for (size_t i = 0; i < 4; i++) {
                unsigned v = 0;
                for (size_t j = 0; j < 5; j++) {
                    const size_t c = l * LB_TERN_COLUMNS + 4 * j + i;
                    const float x = r < n_rows && c < k ? row[c] : 0.0f;
                    const bool one = row_scale[r] > 0.0f && lb_tern_magnitude(x) >= threshold;
                    v = 3 * v + (!one ? 1u : x > 0.0f ? 2u : 0u);
                }
                codes[l * 64 + r * 4 + i] = (uint8_t)((v * 256 + 242) / 243);
            }
        }
    }
}
