/*
 * Packing into q4: per group the pair (scale code, zero point) with the least (weighted) squared error, by trying all pairs
 * of a window. The row scale maps the row's largest step, range / 15, to mini(254), which leaves one code above it. Windows:
 * scale codes from one above the group's own range / 15 downwards (smaller steps clip the tails: for a Gaussian the best
 * step is about 0.93 of it), and for each the zero points nearest to that which centres the range.
 */
#include <string.h>

#include "lb_pack_group.h"

#ifndef LB_Q4_STEPS
#define LB_Q4_STEPS 12
#endif
#ifndef LB_Q4_ZEROS
#define LB_Q4_ZEROS 3
#endif

/* The code of x as a float 0..15: clamped first, so that rounding sees small numbers only */
LB_ALWAYS_INLINE float lb_q4_code(float x, float inverse, float zero)
{
    float q = x * inverse + zero;
    q = q > 0.0f ? q : 0.0f;
    q = q < 15.0f ? q : 15.0f;
    return (q + LB_PACK_ROUND) - LB_PACK_ROUND;
}

static void lb_q4_error(const lb_pack_cols *in, const float *step, const float *inverse, const float *zero, float *error)
{
    float e[LB_TILE_ROWS] = {0};
    for (size_t c = 0; c < LB_GROUP; c++) {
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            float d = in->v[c][r] - step[r] * (lb_q4_code(in->v[c][r], inverse[r], zero[r]) - zero[r]);
            e[r] += in->h[c] * d * d;
        }
    }
    memcpy(error, e, sizeof e);
}

static void lb_q4_range(const lb_pack_cols *in, float *min, float *max)
{
    float lo[LB_TILE_ROWS] = {0}, hi[LB_TILE_ROWS] = {0}; /* 0 is always in the range: its code is the zero point */
    for (size_t c = 0; c < LB_GROUP; c++) {
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            float x = in->v[c][r];
            lo[r] = x < lo[r] ? x : lo[r];
            hi[r] = x > hi[r] ? x : hi[r];
        }
    }
    memcpy(min, lo, sizeof lo);
    memcpy(max, hi, sizeof hi);
}

void lb_pack_q4(const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance, void *tile)
{
    const size_t n_groups = lb_round_up64(k) / LB_GROUP;
    float *row_scale = tile;
    uint8_t *scales = (uint8_t *)tile + LB_Q_SCALES_AT;
    uint8_t *zeros = (uint8_t *)tile + lb_q4_zeros_at(k);
    uint8_t *codes = (uint8_t *)tile + lb_q4_codes_at(k);
    memset(tile, 0, lb_q4_tile_bytes(k));

    lb_pack_cols in;
    float min[LB_TILE_ROWS], max[LB_TILE_ROWS], largest[LB_TILE_ROWS] = {0};
    for (size_t g = 0; g < n_groups; g++) {
        lb_pack_load(&in, rows, stride, n_rows, k, importance, g);
        lb_q4_range(&in, min, max);
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            float step = max[r] / 15.0f - min[r] / 15.0f;
            largest[r] = step > largest[r] ? step : largest[r];
        }
    }
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        row_scale[r] = largest[r] < LB_PACK_TINY ? 0.0f : largest[r] / 1.875f;
    }

    for (size_t g = 0; g < n_groups; g++) {
        float best_error[LB_TILE_ROWS], best_inverse[LB_TILE_ROWS], best_zero[LB_TILE_ROWS];
        int top[LB_TILE_ROWS], best[LB_TILE_ROWS];
        lb_pack_load(&in, rows, stride, n_rows, k, importance, g);
        lb_q4_range(&in, min, max);
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            float step = max[r] / 15.0f - min[r] / 15.0f;
            top[r] = row_scale[r] == 0.0f ? 0 : lb_pack_mini(step / row_scale[r]) + 1;
        }
        for (int d = 0; d < LB_Q4_STEPS; d++) {
            float step[LB_TILE_ROWS], inverse[LB_TILE_ROWS], zero[LB_TILE_ROWS], centre[LB_TILE_ROWS];
            float error[LB_TILE_ROWS];
            int u[LB_TILE_ROWS];
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                u[r] = top[r] - d < 0 ? 0 : top[r] - d > 255 ? 255 : top[r] - d;
                step[r] = row_scale[r] * lb_mini((uint8_t)u[r]);
                inverse[r] = row_scale[r] == 0.0f ? 0.0f : 1.0f / step[r];
                float z = 7.5f - (min[r] * 0.5f + max[r] * 0.5f) * inverse[r];
                z = z > 0.0f ? z : 0.0f;
                centre[r] = z < 15.0f ? z : 15.0f;
            }
            for (int dz = 0; dz < LB_Q4_ZEROS; dz++) {
                for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                    /* the integers in rising distance: nearest, next on the other side, ... */
                    float z = (centre[r] + LB_PACK_ROUND) - LB_PACK_ROUND;
                    float side = centre[r] < z ? -1.0f : 1.0f;
                    z += (dz % 2 != 0 ? side : -side) * (float)((dz + 1) / 2);
                    z = z > 0.0f ? z : 0.0f;
                    zero[r] = z < 15.0f ? z : 15.0f;
                }
                lb_q4_error(&in, step, inverse, zero, error);
                for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                    if ((d == 0 && dz == 0) || error[r] < best_error[r]) {
                        best_error[r] = error[r];
                        best[r] = u[r];
                        best_inverse[r] = inverse[r];
                        best_zero[r] = zero[r];
                    }
                }
            }
        }
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            scales[g * LB_TILE_ROWS + r] = (uint8_t)best[r];
            zeros[g / 2 * LB_TILE_ROWS + r] |= (uint8_t)((int)best_zero[r] << (g % 2 != 0 ? 4 : 0));
        }
        for (size_t c = 0; c < LB_GROUP; c++) {
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                int q = (int)lb_q4_code(in.v[c][r], best_inverse[r], best_zero[r]);
                codes[(g * LB_GROUP + c) / 8 * 64 + r * 4 + c % 4] |= (uint8_t)(q << (c % 8 < 4 ? 0 : 4));
            }
        }
    }
}
