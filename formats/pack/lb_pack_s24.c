/*
 * Packing into s24q8 and s24q4. First the pattern: of each quad of columns the two weights of a row that matter most. Then the kept
 * values, 32 per row and 64 columns, like a group of any uniform format: the scale code with the least (weighted) squared
 * error among those from the group's own largest value downwards; smaller steps clip a little.
 */
#include <string.h>

#include "lb_pack_group.h"

#define LB_S24_KEPT 32u /* of 64 columns */

typedef struct lb_s24_grid {
    float low, high; /* integer weights */
    int tries;       /* scale codes */
    size_t lines;
} lb_s24_grid;

static const lb_s24_grid lb_s24q8_grid = {-127.0f, 127.0f, 3, LB_S24Q8_LINES};
static const lb_s24_grid lb_s24q4_grid = {-8.0f, 7.0f, 12, LB_S24Q4_LINES};

/* What is kept of 64 columns: 2 of each quad, in order */
typedef struct lb_s24_group {
    lb_pack_lanes x[LB_S24_KEPT], h[LB_S24_KEPT];
    uint8_t place[LB_S24_KEPT][LB_TILE_ROWS]; /* column in the quad */
} lb_s24_group;

/* Columns a < b of the two largest of four; among equals those in front */
static void lb_s24_choose(const float score[4], uint8_t *a, uint8_t *b)
{
    unsigned first = 0, second;
    for (unsigned i = 1; i < 4; i++) {
        first = score[i] > score[first] ? i : first;
    }
    second = first == 0 ? 1 : 0;
    for (unsigned i = second + 1; i < 4; i++) {
        second = i != first && score[i] > score[second] ? i : second;
    }
    *a = (uint8_t)(first < second ? first : second);
    *b = (uint8_t)(first < second ? second : first);
}

static void lb_s24_load(lb_s24_group *out, const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance,
                        size_t pair)
{
    lb_pack_cols in;
    for (size_t half = 0; half < 2; half++) {
        lb_pack_load(&in, rows, stride, n_rows, k, importance, 2 * pair + half);
        for (size_t quad = 0; quad < 8; quad++) {
            const size_t at = half * 16 + quad * 2;
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                float score[4];
                for (size_t i = 0; i < 4; i++) {
                    const float x = in.x[4 * quad + i].f[r], s = sqrtf(in.h[4 * quad + i]);
                    score[i] = fabsf(x) * s; /* not squared: tiny weights would tie at zero */
                }
                lb_s24_choose(score, &out->place[at][r], &out->place[at + 1][r]);
                for (size_t i = at; i < at + 2; i++) {
                    out->x[i].f[r] = in.x[4 * quad + out->place[i][r]].f[r];
                    out->h[i].f[r] = in.h[4 * quad + out->place[i][r]];
                }
            }
        }
    }
}

LB_ALWAYS_INLINE lb_pack_v lb_s24_code(const lb_s24_grid *grid, lb_pack_v x, lb_pack_v inverse)
{
    return lb_pack_round(lb_pack_min(lb_pack_max(x * inverse, lb_pack_all(grid->low)), lb_pack_all(grid->high)));
}

static void lb_s24_error(const lb_s24_grid *grid, const lb_s24_group *in, const lb_pack_lanes *step, const lb_pack_lanes *inverse,
                         lb_pack_lanes *error)
{
    for (size_t b = 0; b < 4; b++) {
        lb_pack_v e = lb_pack_all(0.0f);
        for (size_t i = 0; i < LB_S24_KEPT; i++) {
            lb_pack_v d = in->x[i].v[b] - step->v[b] * lb_s24_code(grid, in->x[i].v[b], inverse->v[b]);
            e += in->h[i].v[b] * d * d;
        }
        error->v[b] = e;
    }
}

static void lb_s24_store(const lb_s24_grid *grid, const lb_s24_group *in, const lb_pack_lanes *inverse, uint8_t *groups)
{
    for (size_t i = 0; i < LB_S24_KEPT; i++) {
        uint8_t *group = groups + i / 16 * lb_s24_group_bytes(grid->lines);
        const size_t j = i % 16 / 4;
        for (size_t b = 0; b < 4; b++) {
            lb_pack_lanes q;
            q.v[b] = lb_s24_code(grid, in->x[i].v[b], inverse->v[b]);
            for (size_t r = 4 * b; r < 4 * b + 4; r++) {
                const size_t at = r * 4 + i % 4;
                group[at] |= (uint8_t)(in->place[i][r] << (2 * j));
                if (grid->lines == LB_S24Q8_LINES) {
                    group[64 + 64 * j + at] = (uint8_t)(q.f[r] + 128.0f);
                } else {
                    group[64 + 64 * (j / 2) + at] |= (uint8_t)((unsigned)(q.f[r] + 8.0f) << (j % 2 * 4));
                }
            }
        }
    }
}

static void lb_s24_pack(const lb_s24_grid *grid, const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance,
                        void *tile)
{
    const size_t n_pairs = lb_round_up64(k) / 64, pair_bytes = 2 * lb_s24_group_bytes(grid->lines);
    float *row_scale = tile;
    uint8_t *scales = (uint8_t *)tile + LB_Q_SCALES_AT, *codes = (uint8_t *)tile + lb_s24_codes_at(k);
    memset(tile, 0, lb_s24_tile_bytes(k, grid->lines));

    float largest[LB_TILE_ROWS] = {0};
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < k; c++) {
            float x = fabsf(rows[r * stride + c]);
            largest[r] = x > largest[r] && x <= 3.4028235e38f ? x : largest[r];
        }
    }
    for (size_t r = 0; r < LB_TILE_ROWS; r++) { /* the largest step is mini(254), which leaves one code above it */
        float step = largest[r] / grid->high;
        row_scale[r] = step < LB_PACK_TINY ? 0.0f : step / 1.875f;
    }

    lb_s24_group in;
    for (size_t p = 0; p < n_pairs; p++) {
        lb_s24_load(&in, rows, stride, n_rows, k, importance, p);
        lb_pack_lanes amax = {{{0}}}, step, inverse, error, best_error = {{{0}}}, best_inverse = {{{0}}};
        int top[LB_TILE_ROWS], u[LB_TILE_ROWS], best[LB_TILE_ROWS] = {0};
        for (size_t i = 0; i < LB_S24_KEPT; i++) {
            for (size_t b = 0; b < 4; b++) {
                amax.v[b] = lb_pack_max(lb_pack_max(in.x[i].v[b], -in.x[i].v[b]), amax.v[b]);
            }
        }
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            top[r] = row_scale[r] == 0.0f ? 0 : lb_pack_mini(amax.f[r] / grid->high / row_scale[r]) + 1;
        }
        for (int down = 0; down < grid->tries; down++) {
            lb_pack_steps(row_scale, top, down, u, &step, &inverse);
            lb_s24_error(grid, &in, &step, &inverse, &error);
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                if (down == 0 || error.f[r] < best_error.f[r]) {
                    best_error.f[r] = error.f[r];
                    best_inverse.f[r] = inverse.f[r];
                    best[r] = u[r];
                }
            }
        }
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            scales[p * LB_TILE_ROWS + r] = (uint8_t)best[r];
        }
        lb_s24_store(grid, &in, &best_inverse, codes + p * pair_bytes);
    }
}

void lb_pack_s24q8(const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance, void *tile)
{
    lb_s24_pack(&lb_s24q8_grid, rows, stride, n_rows, k, importance, tile);
}

void lb_pack_s24q4(const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance, void *tile)
{
    lb_s24_pack(&lb_s24q4_grid, rows, stride, n_rows, k, importance, tile);
}
