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

/* What a byte u means, and the zero points in rising order; cheap enough to be made for each tile */
typedef struct lb_bits_table {
    float scale[256], inverse[256], zero[256]; /* zero in steps */
    uint8_t order[16];
    float middle[16]; /* between the zero points order[i] and order[i + zeros], in steps; infinity past the end */
} lb_bits_table;

#define LB_BITS_TOP 1.75f /* the scale that a row's largest step is mapped to: the largest high bits */

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

static float lb_bits_need(const lb_group_format *f, float min, float max)
{
    return (max / f->most - min / f->most) / LB_BITS_TOP;
}

static void lb_bits_begin(const lb_group_format *f, float row_step[LB_TILE_ROWS], void *tile, size_t k)
{
    const float unit = (float)(1 << f->search->f->shift);
    float *row_scale = tile;
    memset(tile, 0, lb_bits_tile_bytes(k, f->search->f->bits));
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        row_step[r] = row_step[r] < LB_PACK_TINY ? 0.0f : row_step[r];
        row_scale[r] = row_step[r] / unit;
    }
}

static void lb_bits_store(const lb_group_format *f, void *tile, size_t k, size_t g, const float code[LB_GROUP][LB_TILE_ROWS])
{
    uint8_t bytes[8][64];
    for (size_t c = 0; c < LB_GROUP; c++) {
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            bytes[c / 4][4 * r + c % 4] = (uint8_t)code[c][r];
        }
    }
    lb_bits_put_group(f->search->f, (uint8_t *)tile + lb_bits_codes_at(k), g, (const uint8_t(*)[64])bytes);
}

static void lb_bits_choose(const lb_group_format *f, const float row_step[LB_TILE_ROWS], const lb_pack_cols *in, void *tile,
                           size_t k, size_t g, lb_group_code *best)
{
    (void)k;
    const lb_bits_search *s = f->search;
    lb_pack_lanes min, max, error, best_error = {{{0}}};
    lb_group_code try;
    float row_inverse[LB_TILE_ROWS], centre[LB_TILE_ROWS];
    int top[LB_TILE_ROWS];
    uint8_t *group = (uint8_t *)tile + LB_Q_SCALES_AT + g * LB_TILE_ROWS;
    lb_bits_table t;
    lb_bits_tabulate(s, &t);
    lb_group_range(in, &min, &max);
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        row_inverse[r] = row_step[r] == 0.0f ? 0.0f : 1.0f / row_step[r];
        centre[r] = (min.f[r] * 0.5f + max.f[r] * 0.5f) * row_inverse[r];
        top[r] = lb_bits_high((max.f[r] / f->most - min.f[r] / f->most) * row_inverse[r]) + 1;
    }
    for (int down = 0; down < s->steps; down++) {
        unsigned high[LB_TILE_ROWS], first[LB_TILE_ROWS];
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            high[r] = top[r] - down < 0 ? 0 : top[r] - down > 15 ? 15 : (unsigned)(top[r] - down);
            first[r] = lb_bits_first_zero(&t, 0.5f * f->most - centre[r] * t.inverse[16 * high[r] + 8]);
        }
        for (unsigned i = 0; i < s->zeros; i++) {
            uint8_t u[LB_TILE_ROWS];
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                u[r] = (uint8_t)(16 * high[r] + t.order[first[r] + i]);
                try.step.f[r] = row_step[r] * t.scale[u[r]];
                try.inverse.f[r] = row_inverse[r] * t.inverse[u[r]];
                try.zero.f[r] = t.zero[u[r]];
            }
            lb_group_error(in, &try, f->least, f->most, &error);
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                if ((down == 0 && i == 0) || error.f[r] < best_error.f[r]) {
                    best_error.f[r] = error.f[r];
                    best->step.f[r] = try.step.f[r];
                    best->inverse.f[r] = try.inverse.f[r];
                    best->zero.f[r] = try.zero.f[r];
                    group[r] = u[r];
                }
            }
        }
    }
}

#define LB_PACK_BITS(name, steps, zeros, most)                                                                        \
    static const lb_bits_search lb_bits_search_##name = {&lb_bits_##name, steps, zeros};                              \
    const lb_group_format lb_group_##name = {0.0f, most, &lb_bits_search_##name,                                      \
                                             lb_bits_need, lb_bits_begin, lb_bits_choose, lb_bits_store};             \
    void lb_pack_##name(const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance, void *tile) \
    {                                                                                                                 \
        lb_group_pack(&lb_group_##name, rows, stride, n_rows, k, importance, tile);                                   \
    }

LB_PACK_BITS(q6, 3, 6, 63.0f)
LB_PACK_BITS(q5, 3, 6, 31.0f)
LB_PACK_BITS(q3, 4, 6, 7.0f)
LB_PACK_BITS(q2, 5, 7, 3.0f)
LB_PACK_BITS(lut4, 4, 6, 15.0f)
LB_PACK_BITS(lut3, 4, 6, 7.0f)
LB_PACK_BITS(lut2, 5, 7, 3.0f)
LB_PACK_BITS(lut1, 14, 15, 1.0f)
