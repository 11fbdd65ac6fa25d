/*
 * Packing into q8: per group the scale code with the least (weighted) squared error. The row scale maps the row's largest
 * step to mini(255); a group tries the codes around its own largest weight / 127, of which those below clip a little.
 */
#include <string.h>

#include "lb_pack_group.h"

#define LB_Q8_TRIES 3

LB_ALWAYS_INLINE lb_pack_v lb_q8_code(lb_pack_v x, lb_pack_v inverse)
{
    lb_pack_v q = lb_pack_max(x * inverse, lb_pack_all(-127.0f));
    return lb_pack_round(lb_pack_min(q, lb_pack_all(127.0f)));
}

static void lb_q8_error(const lb_pack_cols *in, const lb_pack_lanes *step, const lb_pack_lanes *inverse,
                        lb_pack_lanes *error)
{
    for (size_t b = 0; b < 4; b++) {
        lb_pack_v e = lb_pack_all(0.0f);
        for (size_t c = 0; c < LB_GROUP; c++) {
            lb_pack_v d = in->x[c].v[b] - step->v[b] * lb_q8_code(in->x[c].v[b], inverse->v[b]);
            e += in->h[c] * d * d;
        }
        error->v[b] = e;
    }
}

static void lb_q8_store(const lb_pack_cols *in, const lb_pack_lanes *inverse, uint8_t *codes)
{
    for (size_t c = 0; c < LB_GROUP; c++) {
        for (size_t b = 0; b < 4; b++) {
            lb_pack_lanes q;
            q.v[b] = lb_q8_code(in->x[c].v[b], inverse->v[b]) + lb_pack_all(128.0f);
            for (size_t r = 4 * b; r < 4 * b + 4; r++) {
                codes[c / 4 * 64 + r * 4 + c % 4] = (uint8_t)q.f[r];
            }
        }
    }
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
        lb_pack_lanes amax = {{{0}}}, step, inverse, error, best_error = {{{0}}}, best_inverse = {{{0}}};
        int top[LB_TILE_ROWS], u[LB_TILE_ROWS], best[LB_TILE_ROWS] = {0};
        for (size_t c = 0; c < LB_GROUP; c++) {
            for (size_t b = 0; b < 4; b++) {
                amax.v[b] = lb_pack_max(lb_pack_max(in.x[c].v[b], -in.x[c].v[b]), amax.v[b]);
            }
        }
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            top[r] = row_scale[r] == 0.0f ? 0 : lb_pack_mini(amax.f[r] / 127.0f / row_scale[r]) + 1;
        }
        for (int down = 0; down < LB_Q8_TRIES; down++) {
            lb_pack_steps(row_scale, top, down, u, &step, &inverse);
            lb_q8_error(&in, &step, &inverse, &error);
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                if (down == 0 || error.f[r] < best_error.f[r]) {
                    best_error.f[r] = error.f[r];
                    best_inverse.f[r] = inverse.f[r];
                    best[r] = u[r];
                }
            }
        }
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            scales[g * LB_TILE_ROWS + r] = (uint8_t)best[r];
        }
        lb_q8_store(&in, &best_inverse, codes + g * LB_GROUP * LB_TILE_ROWS);
    }
}
