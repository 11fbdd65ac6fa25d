/*
 * Packing into q8: per group the scale code with the least (weighted) squared error. The row scale maps the row's largest
 * step to mini(255); a group tries the codes around its own largest weight / 127, of which those below clip a little.
 */
#include <string.h>

#include "lb_pack_group.h"

#define LB_Q8_TRIES 3

static void lb_q8_error(const lb_pack_cols *in, const float *step, const float *inverse, float *error)
{
    float e[LB_TILE_ROWS] = {0};
    for (size_t c = 0; c < LB_GROUP; c++) {
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            float q = in->v[c][r] * inverse[r];
            q = q > -127.0f ? q : -127.0f;
            q = q < 127.0f ? q : 127.0f;
            q = (q + LB_PACK_ROUND) - LB_PACK_ROUND;
            float d = in->v[c][r] - step[r] * q;
            e[r] += in->h[c] * d * d;
        }
    }
    memcpy(error, e, sizeof e);
}

void lb_pack_q8(const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance, void *tile)
{
    const size_t n_groups = lb_round_up64(k) / LB_GROUP;
    float *row_scale = tile;
    uint8_t *scales = (uint8_t *)tile + LB_Q_SCALES_AT;
    uint8_t *codes = (uint8_t *)tile + lb_q8_codes_at(k);
    memset(tile, 0, lb_q8_codes_at(k));

    float largest[LB_TILE_ROWS] = {0};
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < k; c++) {
            float x = fabsf(rows[r * stride + c]);
            largest[r] = x > largest[r] && x <= 3.4028235e38f ? x : largest[r];
        }
    }
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        float step = largest[r] / 127.0f;
        row_scale[r] = step < LB_PACK_TINY ? 0.0f : step / 1.9375f;
    }

    lb_pack_cols in;
    for (size_t g = 0; g < n_groups; g++) {
        lb_pack_load(&in, rows, stride, n_rows, k, importance, g);
        float amax[LB_TILE_ROWS] = {0}, best_error[LB_TILE_ROWS], best_inverse[LB_TILE_ROWS];
        int top[LB_TILE_ROWS], best[LB_TILE_ROWS];
        for (size_t c = 0; c < LB_GROUP; c++) {
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                float x = fabsf(in.v[c][r]);
                amax[r] = x > amax[r] ? x : amax[r];
            }
        }
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            top[r] = row_scale[r] == 0.0f ? 0 : lb_pack_mini(amax[r] / 127.0f / row_scale[r]) + 1;
        }
        for (int d = 0; d < LB_Q8_TRIES; d++) {
            float step[LB_TILE_ROWS], inverse[LB_TILE_ROWS], error[LB_TILE_ROWS];
            int u[LB_TILE_ROWS];
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                u[r] = top[r] - d < 0 ? 0 : top[r] - d > 255 ? 255 : top[r] - d;
                step[r] = row_scale[r] * lb_mini((uint8_t)u[r]);
                inverse[r] = row_scale[r] == 0.0f ? 0.0f : 1.0f / step[r];
            }
            lb_q8_error(&in, step, inverse, error);
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                if (d == 0 || error[r] < best_error[r]) {
                    best_error[r] = error[r];
                    best[r] = u[r];
                    best_inverse[r] = inverse[r];
                }
            }
        }
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            scales[g * LB_TILE_ROWS + r] = (uint8_t)best[r];
        }
        for (size_t c = 0; c < LB_GROUP; c++) {
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                float q = in.v[c][r] * best_inverse[r];
                q = q > -127.0f ? q : -127.0f;
                q = q < 127.0f ? q : 127.0f;
                q = (q + LB_PACK_ROUND) - LB_PACK_ROUND;
                codes[(g * LB_GROUP + c) / 4 * 64 + r * 4 + c % 4] = (uint8_t)((int)q + 128);
            }
        }
    }
}
