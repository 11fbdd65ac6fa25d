/*
 * Packing into q8: per group the scale code with the least (weighted) squared error. The row scale maps the row's largest
 * step to mini(255); a group tries the codes around its own largest weight / 127, of which those below clip a little.
 */
#include <string.h>

#include "lb_pack_group.h"

#define LB_Q8_TRIES 3

static float lb_q8_need(const lb_group_format *f, float min, float max)
{
    const float amax = max > -min ? max : 0.0f - min; /* never -0 */
    return amax / f->most;
}

static void lb_q8_begin(const lb_group_format *f, float row_step[LB_TILE_ROWS], void *tile, size_t k)
{
    (void)f;
    memset(tile, 0, lb_q8_codes_at(k));
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        row_step[r] = row_step[r] < LB_PACK_TINY ? 0.0f : row_step[r] / 1.9375f;
    }
    memcpy(tile, row_step, LB_TILE_ROWS * sizeof *row_step);
}

static void lb_q8_choose(const lb_group_format *f, const float row_step[LB_TILE_ROWS], const lb_pack_cols *in, void *tile,
                         size_t k, size_t g, lb_group_code *best)
{
    (void)k;
    lb_pack_lanes min, max, error, best_error = {{{0}}};
    lb_group_code try = {.zero = {{{0}}}};
    int top[LB_TILE_ROWS], u[LB_TILE_ROWS];
    uint8_t *scales = (uint8_t *)tile + LB_Q_SCALES_AT + g * LB_TILE_ROWS;
    *best = try;
    lb_group_range(in, &min, &max);
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        top[r] = row_step[r] == 0.0f ? 0 : lb_pack_mini(lb_q8_need(f, min.f[r], max.f[r]) / row_step[r]) + 1;
    }
    for (int down = 0; down < LB_Q8_TRIES; down++) {
        lb_pack_steps(row_step, top, down, u, &try.step, &try.inverse);
        lb_group_error(in, &try, f->least, f->most, &error);
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            if (down == 0 || error.f[r] < best_error.f[r]) {
                best_error.f[r] = error.f[r];
                best->step.f[r] = try.step.f[r];
                best->inverse.f[r] = try.inverse.f[r];
                scales[r] = (uint8_t)u[r];
            }
        }
    }
}

static void lb_q8_store(const lb_group_format *f, void *tile, size_t k, size_t g, const float code[LB_GROUP][LB_TILE_ROWS])
{
    (void)f;
    uint8_t *to = (uint8_t *)tile + lb_q8_codes_at(k) + g * LB_GROUP * LB_TILE_ROWS;
    for (size_t c = 0; c < LB_GROUP; c++) {
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            to[c / 4 * 64 + r * 4 + c % 4] = (uint8_t)(code[c][r] + 128.0f);
        }
    }
}

const lb_group_format lb_group_q8 = {-127.0f, 127.0f, NULL, lb_q8_need, lb_q8_begin, lb_q8_choose, lb_q8_store};

void lb_pack_q8(const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance, void *tile)
{
    lb_group_pack(&lb_group_q8, rows, stride, n_rows, k, importance, tile);
}
