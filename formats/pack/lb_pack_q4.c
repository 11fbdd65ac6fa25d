/*
 * Packing into q4: per group the pair (scale code, zero point) with the least (weighted) squared error, by trying all pairs
 * of a window. The row scale maps the row's largest step, range / 15, to mini(254), which leaves one code above it. Windows:
 * scale codes from one above the group's own range / 15 downwards (smaller steps clip the tails, which mostly pays), and
 * for each the zero points nearest to that which centres the range.
 */
#include <string.h>

#include "lb_pack_group.h"

#define LB_Q4_STEPS 9
#define LB_Q4_ZEROS 3

static const uint8_t lb_q4_zeros[16] = LB_Q4_ZERO;

/* The code of x, 0..15; clamped first, so that rounding sees small numbers only. zero is in whole steps. */
LB_ALWAYS_INLINE lb_pack_v lb_q4_code(lb_pack_v x, lb_pack_v inverse, lb_pack_v zero)
{
    lb_pack_v q = lb_pack_max(x * inverse + zero, lb_pack_all(0.0f));
    return lb_pack_round(lb_pack_min(q, lb_pack_all(15.0f)));
}

static void lb_q4_error(const lb_pack_cols *in, const lb_pack_lanes *step, const lb_pack_lanes *inverse,
                        const lb_pack_lanes *zero, lb_pack_lanes *error)
{
    for (size_t b = 0; b < 4; b++) {
        const lb_pack_v s = step->v[b], i = inverse->v[b], z = zero->v[b];
        lb_pack_v e = lb_pack_all(0.0f);
        for (size_t c = 0; c < LB_GROUP; c++) {
            lb_pack_v d = in->x[c].v[b] - s * (lb_q4_code(in->x[c].v[b], i, z) - z);
            e += in->h[c] * d * d;
        }
        error->v[b] = e;
    }
}

/* A group's range per row; 0 always belongs to it. */
static void lb_q4_range(const lb_pack_cols *in, lb_pack_lanes *min, lb_pack_lanes *max)
{
    for (size_t b = 0; b < 4; b++) {
        lb_pack_v lo = lb_pack_all(0.0f), hi = lo;
        for (size_t c = 0; c < LB_GROUP; c++) {
            lo = lb_pack_min(in->x[c].v[b], lo);
            hi = lb_pack_max(in->x[c].v[b], hi);
        }
        min->v[b] = lo;
        max->v[b] = hi;
    }
}

/* The zero points to try around z (in whole steps): LB_Q4_ZEROS indices from the returned one on */
static unsigned lb_q4_first_zero(float z)
{
    unsigned i = 0;
    while (i < 16 - LB_Q4_ZEROS && (float)(lb_q4_zeros[i] + lb_q4_zeros[i + LB_Q4_ZEROS]) < 4.0f * z) {
        i++; /* index i + 3 is nearer than i */
    }
    return i;
}

static void lb_q4_store(const lb_pack_cols *in, const lb_pack_lanes *inverse, const lb_pack_lanes *zero, uint8_t *codes)
{
    for (size_t c = 0; c < LB_GROUP; c++) {
        for (size_t b = 0; b < 4; b++) {
            lb_pack_lanes q;
            q.v[b] = lb_q4_code(in->x[c].v[b], inverse->v[b], zero->v[b]);
            for (size_t r = 4 * b; r < 4 * b + 4; r++) {
                codes[c / 8 * 64 + r * 4 + c % 4] |= (uint8_t)((unsigned)q.f[r] << (c % 8 < 4 ? 0 : 4));
            }
        }
    }
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
    lb_pack_lanes min, max;
    float largest[LB_TILE_ROWS] = {0};
    for (size_t g = 0; g < n_groups; g++) {
        lb_pack_load(&in, rows, stride, n_rows, k, importance, g);
        lb_q4_range(&in, &min, &max);
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            float step = max.f[r] / 15.0f - min.f[r] / 15.0f;
            largest[r] = step > largest[r] ? step : largest[r];
        }
    }
    for (size_t r = 0; r < LB_TILE_ROWS; r++) { /* half of it: weights are in half steps */
        row_scale[r] = largest[r] < LB_PACK_TINY ? 0.0f : largest[r] / 1.875f * 0.5f;
    }

    float full_scale[LB_TILE_ROWS];
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        full_scale[r] = row_scale[r] * 2.0f;
    }
    for (size_t g = 0; g < n_groups; g++) {
        lb_pack_lanes step, inverse, zero, error;
        lb_pack_lanes best_error = {{{0}}}, best_inverse = {{{0}}}, best_zero = {{{0}}};
        int top[LB_TILE_ROWS], u[LB_TILE_ROWS], best[LB_TILE_ROWS] = {0};
        unsigned first[LB_TILE_ROWS], best_index[LB_TILE_ROWS] = {0};
        lb_pack_load(&in, rows, stride, n_rows, k, importance, g);
        lb_q4_range(&in, &min, &max);
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            float range = max.f[r] / 15.0f - min.f[r] / 15.0f;
            top[r] = row_scale[r] == 0.0f ? 0 : lb_pack_mini(range / full_scale[r]) + 1;
        }
        for (int down = 0; down < LB_Q4_STEPS; down++) {
            lb_pack_steps(full_scale, top, down, u, &step, &inverse);
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                first[r] = lb_q4_first_zero(7.5f - (min.f[r] * 0.5f + max.f[r] * 0.5f) * inverse.f[r]);
            }
            for (unsigned i = 0; i < LB_Q4_ZEROS; i++) {
                for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                    zero.f[r] = (float)lb_q4_zeros[first[r] + i] * 0.5f;
                }
                lb_q4_error(&in, &step, &inverse, &zero, &error);
                for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                    if ((down == 0 && i == 0) || error.f[r] < best_error.f[r]) {
                        best_error.f[r] = error.f[r];
                        best_inverse.f[r] = inverse.f[r];
                        best_zero.f[r] = zero.f[r];
                        best_index[r] = first[r] + i;
                        best[r] = u[r];
                    }
                }
            }
        }
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            scales[g * LB_TILE_ROWS + r] = (uint8_t)best[r];
            zeros[g / 2 * LB_TILE_ROWS + r] |= (uint8_t)(best_index[r] << (g % 2 != 0 ? 4 : 0));
        }
        lb_q4_store(&in, &best_inverse, &best_zero, codes + g * LB_GROUP * LB_TILE_ROWS / 2);
    }
}
