/*
 * Packing into q6, q5, q3, q2, lut4 .. lut1: per group the byte (scale and zero point) with the least (weighted) squared error, by trying all
 * of a window. The high 4 bits of a byte are most of the scale, the low 4 bits name the zero point and are the scale's last
 * bits too. The window: high bits from one above the group's own range / largest code downwards (smaller steps clip the
 * tails, which pays the more the fewer bits there are), and for each the zero points nearest to that which centres the range.
 */
#include <string.h>

#include "../../kernels/lb_bits.h"
#include "lb_pack_group.h"

/* How far the window reaches, by measurement */
typedef struct lb_bits_search {
    const lb_bits_format *f;
    int steps;      /* values of the high bits */
    unsigned zeros; /* zero points for each */
} lb_bits_search;

/* What a byte u means, and the zero points in rising order */
typedef struct lb_bits_table {
    float scale[256], inverse[256], zero[256]; /* zero in steps */
    uint8_t order[16];
    float middle[16]; /* between the zero points order[i] and order[i + zeros], in steps; infinity past the end */
} lb_bits_table;

#define LB_BITS_TOP 1.75f /* the scale that a row's largest step is mapped to: the largest high bits */

/* The code of x; clamped first, so that rounding sees small numbers only. zero is in whole steps. */
LB_ALWAYS_INLINE lb_pack_v lb_bits_round(lb_pack_v x, lb_pack_v inverse, lb_pack_v zero, float largest)
{
    lb_pack_v q = lb_pack_max(x * inverse + zero, lb_pack_all(0.0f));
    return lb_pack_round(lb_pack_min(q, lb_pack_all(largest)));
}

static void lb_bits_error(const lb_pack_cols *in, const lb_pack_lanes *step, const lb_pack_lanes *inverse,
                          const lb_pack_lanes *zero, float largest, lb_pack_lanes *error)
{
    for (size_t b = 0; b < 4; b++) {
        const lb_pack_v s = step->v[b], i = inverse->v[b], z = zero->v[b];
        lb_pack_v e = lb_pack_all(0.0f);
        for (size_t c = 0; c < LB_GROUP; c++) {
            lb_pack_v d = in->x[c].v[b] - s * (lb_bits_round(in->x[c].v[b], i, z, largest) - z);
            e += in->h[c] * d * d;
        }
        error->v[b] = e;
    }
}

/* A group's range per row; 0 always belongs to it. */
static void lb_bits_range(const lb_pack_cols *in, lb_pack_lanes *min, lb_pack_lanes *max)
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

static void lb_bits_tabulate(const lb_bits_search *s, lb_bits_table *t)
{
    const float unit = (float)(1 << s->f->shift);
    for (unsigned u = 0; u < 256; u++) {
        t->scale[u] = lb_bits_scale((uint8_t)u);
        t->inverse[u] = 1.0f / t->scale[u];
        t->zero[u] = (float)lb_bits_zero(s->f, (uint8_t)u) / unit;
    }
    for (unsigned i = 0; i < 16; i++) { /* insertion sort */
        unsigned j = i;
        for (; j > 0 && s->f->zero[t->order[j - 1]] > s->f->zero[i]; j--) {
            t->order[j] = t->order[j - 1];
        }
        t->order[j] = (uint8_t)i;
    }
    for (unsigned i = 0; i < 16; i++) {
        const bool inside = i + s->zeros < 16;
        t->middle[i] = inside ? 0.5f * (t->zero[t->order[i]] + t->zero[t->order[i + s->zeros]]) : INFINITY;
    }
}

/* The place in the order from which the zero points nearest to z begin */
static unsigned lb_bits_first_zero(const lb_bits_table *t, float z)
{
    unsigned i = 0;
    while (t->middle[i] < z) {
        i++; /* the one behind the window is nearer than its first */
    }
    return i;
}

/* The high bits of the largest scale that is <= x */
static int lb_bits_high(float x)
{
    const int32_t h = ((int32_t)lb_f32_bits(x) - (124 << 23)) >> 21;
    return h < 0 ? 0 : h > 15 ? 15 : (int)h;
}

static void lb_bits_store(const lb_bits_format *f, const lb_pack_cols *in, const lb_pack_lanes *inverse,
                          const lb_pack_lanes *zero, uint8_t *codes, size_t group)
{
    const float largest = (float)((1 << f->bits) - 1);
    uint8_t code[8][64];
    for (size_t c = 0; c < LB_GROUP; c++) {
        uint8_t *to = code[c / 4] + c % 4;
        for (size_t b = 0; b < 4; b++) {
            const lb_pack_v q = lb_bits_round(in->x[c].v[b], inverse->v[b], zero->v[b], largest);
            const lb_pack_m m = (lb_pack_m)(q + lb_pack_all(LB_PACK_ROUND)); /* the code is in the low byte */
            for (size_t r = 0; r < 4; r++) {
                to[16 * b + 4 * r] = (uint8_t)m[r];
            }
        }
    }
    lb_bits_put_group(f, codes, group, (const uint8_t(*)[64])code);
}

/* One group of all rows: its bytes into group[16], the inverse step and the zero point (in steps) of each row */
static void lb_bits_choose(const lb_bits_search *s, const lb_bits_table *t, const lb_pack_cols *in, const float *row_step,
                           uint8_t *group, lb_pack_lanes *best_inverse, lb_pack_lanes *best_zero)
{
    const float largest = (float)((1 << s->f->bits) - 1);
    lb_pack_lanes min, max, step, inverse, zero, error, best_error = {{{0}}};
    float row_inverse[LB_TILE_ROWS], centre[LB_TILE_ROWS];
    int top[LB_TILE_ROWS];
    lb_bits_range(in, &min, &max);
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        row_inverse[r] = row_step[r] == 0.0f ? 0.0f : 1.0f / row_step[r];
        centre[r] = (min.f[r] * 0.5f + max.f[r] * 0.5f) * row_inverse[r];
        top[r] = lb_bits_high((max.f[r] / largest - min.f[r] / largest) * row_inverse[r]) + 1;
    }
    for (int down = 0; down < s->steps; down++) {
        unsigned high[LB_TILE_ROWS], first[LB_TILE_ROWS];
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            high[r] = top[r] - down < 0 ? 0 : top[r] - down > 15 ? 15 : (unsigned)(top[r] - down);
            first[r] = lb_bits_first_zero(t, 0.5f * largest - centre[r] * t->inverse[16 * high[r] + 8]);
        }
        for (unsigned i = 0; i < s->zeros; i++) {
            uint8_t u[LB_TILE_ROWS];
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                u[r] = (uint8_t)(16 * high[r] + t->order[first[r] + i]);
                step.f[r] = row_step[r] * t->scale[u[r]];
                inverse.f[r] = row_inverse[r] * t->inverse[u[r]];
                zero.f[r] = t->zero[u[r]];
            }
            lb_bits_error(in, &step, &inverse, &zero, largest, &error);
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                if ((down == 0 && i == 0) || error.f[r] < best_error.f[r]) {
                    best_error.f[r] = error.f[r];
                    best_inverse->f[r] = inverse.f[r];
                    best_zero->f[r] = zero.f[r];
                    group[r] = u[r];
                }
            }
        }
    }
}

static void lb_pack_bits(const lb_bits_search *s, const float *rows, size_t stride, size_t n_rows, size_t k,
                         const float *importance, void *tile)
{
    const lb_bits_format *f = s->f;
    const size_t n_groups = lb_round_up64(k) / LB_GROUP;
    const float codes = (float)((1 << f->bits) - 1), unit = (float)(1 << f->shift);
    float *row_scale = tile;
    memset(tile, 0, lb_bits_tile_bytes(k, f->bits));

    lb_bits_table table;
    lb_pack_cols in;
    float row_step[LB_TILE_ROWS] = {0};
    lb_bits_tabulate(s, &table);
    for (size_t g = 0; g < n_groups; g++) {
        lb_pack_lanes min, max;
        lb_pack_load(&in, rows, stride, n_rows, k, importance, g);
        lb_bits_range(&in, &min, &max);
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            const float step = (max.f[r] / codes - min.f[r] / codes) / LB_BITS_TOP;
            row_step[r] = step > row_step[r] ? step : row_step[r];
        }
    }
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        row_step[r] = row_step[r] < LB_PACK_TINY ? 0.0f : row_step[r];
        row_scale[r] = row_step[r] / unit;
    }
    for (size_t g = 0; g < n_groups; g++) {
        lb_pack_lanes inverse = {{{0}}}, zero = {{{0}}};
        lb_pack_load(&in, rows, stride, n_rows, k, importance, g);
        lb_bits_choose(s, &table, &in, row_step, (uint8_t *)tile + LB_Q_SCALES_AT + g * LB_TILE_ROWS, &inverse, &zero);
        lb_bits_store(f, &in, &inverse, &zero, (uint8_t *)tile + lb_bits_codes_at(k), g);
    }
}

#define LB_PACK_BITS(name, steps, zeros)                                                                              \
    void lb_pack_##name(const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance, void *tile) \
    {                                                                                                                 \
        static const lb_bits_search search = {&lb_bits_##name, steps, zeros};                                         \
        lb_pack_bits(&search, rows, stride, n_rows, k, importance, tile);                                             \
    }

LB_PACK_BITS(q6, 3, 6)
LB_PACK_BITS(q5, 3, 6)
LB_PACK_BITS(q3, 4, 6)
LB_PACK_BITS(q2, 5, 7)
LB_PACK_BITS(lut4, 4, 6)
LB_PACK_BITS(lut3, 4, 6)
LB_PACK_BITS(lut2, 5, 7)
LB_PACK_BITS(lut1, 14, 15)
