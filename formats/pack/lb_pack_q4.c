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

/* The zero points to try around z (in whole steps): LB_Q4_ZEROS indices from the returned one on */
static unsigned lb_q4_first_zero(float z)
{
    unsigned i = 0;
    while (i < 16 - LB_Q4_ZEROS && (float)(lb_q4_zeros[i] + lb_q4_zeros[i + LB_Q4_ZEROS]) < 4.0f * z) {
        i++; /* index i + 3 is nearer than i */
    }
    return i;
}

static float lb_q4_need(const lb_group_format *f, float min, float max)
{
    return max / f->most - min / f->most;
}

static void lb_q4_begin(const lb_group_format *f, float row_step[LB_TILE_ROWS], void *tile, size_t k)
{
    (void)f;
    float *row_scale = tile;
    memset(tile, 0, lb_q4_tile_bytes(k));
    for (size_t r = 0; r < LB_TILE_ROWS; r++) { /* half of it: weights are in half steps */
        row_scale[r] = row_step[r] < LB_PACK_TINY ? 0.0f : row_step[r] / 1.875f * 0.5f;
        row_step[r] = row_scale[r] * 2.0f;
    }
}

static void lb_q4_choose(const lb_group_format *f, const float row_step[LB_TILE_ROWS], const lb_pack_cols *in, void *tile,
                         size_t k, size_t g, lb_group_code *best)
{
    lb_pack_lanes min, max, error, best_error = {{{0}}};
    lb_group_code try;
    int top[LB_TILE_ROWS], u[LB_TILE_ROWS];
    unsigned first[LB_TILE_ROWS], index[LB_TILE_ROWS] = {0};
    uint8_t *scales = (uint8_t *)tile + LB_Q_SCALES_AT + g * LB_TILE_ROWS;
    uint8_t *zeros = (uint8_t *)tile + lb_q4_zeros_at(k) + g / 2 * LB_TILE_ROWS;
    lb_group_range(in, &min, &max);
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        top[r] = row_step[r] == 0.0f ? 0 : lb_pack_mini(lb_q4_need(f, min.f[r], max.f[r]) / row_step[r]) + 1;
    }
    for (int down = 0; down < LB_Q4_STEPS; down++) {
        lb_pack_steps(row_step, top, down, u, &try.step, &try.inverse);
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            first[r] = lb_q4_first_zero(7.5f - (min.f[r] * 0.5f + max.f[r] * 0.5f) * try.inverse.f[r]);
        }
        for (unsigned i = 0; i < LB_Q4_ZEROS; i++) {
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                try.zero.f[r] = (float)lb_q4_zeros[first[r] + i] * 0.5f;
            }
            lb_group_error(in, &try, f->least, f->most, &error);
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                if ((down == 0 && i == 0) || error.f[r] < best_error.f[r]) {
                    best_error.f[r] = error.f[r];
                    best->step.f[r] = try.step.f[r];
                    best->inverse.f[r] = try.inverse.f[r];
                    best->zero.f[r] = try.zero.f[r];
                    index[r] = first[r] + i;
                    scales[r] = (uint8_t)u[r];
                }
            }
        }
    }
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        zeros[r] = (uint8_t)((zeros[r] & (g % 2 != 0 ? 15 : 240)) | (int)(index[r] << (g % 2 != 0 ? 4 : 0)));
    }
}

static void lb_q4_store(const lb_group_format *f, void *tile, size_t k, size_t g, const float code[LB_GROUP][LB_TILE_ROWS])
{
    (void)f;
    uint8_t *to = (uint8_t *)tile + lb_q4_codes_at(k) + g * LB_GROUP * LB_TILE_ROWS / 2;
    for (size_t c = 0; c < LB_GROUP; c++) {
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            to[c / 8 * 64 + r * 4 + c % 4] |= (uint8_t)((unsigned)code[c][r] << (c % 8 < 4 ? 0 : 4));
        }
    }
}

const lb_group_format lb_group_q4 = {0.0f, 15.0f, NULL, lb_q4_need, lb_q4_begin, lb_q4_choose, lb_q4_store};

void lb_pack_q4(const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance, void *tile)
{
    lb_group_pack(&lb_group_q4, rows, stride, n_rows, k, importance, tile);
}
