/*
 * What the packers of formats with groups of 32 columns share. The 16 rows of a tile are lanes, as four vectors of four:
 * plain operators on them are single instructions on every CPU we know, and give the same results everywhere.
 */
#ifndef LB_PACK_GROUP_H
#define LB_PACK_GROUP_H

#include "lb_pack.h"
#include "../../kernels/lb_layout.h"
#include "../../kernels/lb_math.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#define LB_PACK_TINY 1e-30f       /* rows whose largest step is below are zero rows */
#define LB_PACK_ROUND 12582912.0f /* adding and subtracting it rounds |x| < 2^22 to the nearest even integer */

typedef float lb_pack_v LB_VECTOR(16);
typedef int32_t lb_pack_m LB_VECTOR(16);

typedef union lb_pack_lanes {
    lb_pack_v v[4];
    float f[LB_TILE_ROWS];
} lb_pack_lanes;

typedef struct lb_pack_cols {
    lb_pack_lanes x[LB_GROUP];
    float h[LB_GROUP]; /* importance; 0 for columns past the true ones */
} lb_pack_cols;

/* yes where the mask is set, else no */
LB_ALWAYS_INLINE lb_pack_v lb_pack_choose(lb_pack_m mask, lb_pack_v yes, lb_pack_v no)
{
    return (lb_pack_v)((mask & (lb_pack_m)yes) | (~mask & (lb_pack_m)no));
}

LB_ALWAYS_INLINE lb_pack_v lb_pack_all(float x)
{
    return (lb_pack_v){x, x, x, x};
}

/* One instruction where we know it: compilers do not find it in the general form. */
#if defined(__x86_64__)
LB_ALWAYS_INLINE lb_pack_v lb_pack_min(lb_pack_v a, lb_pack_v b)
{
    return _mm_min_ps(a, b);
}

LB_ALWAYS_INLINE lb_pack_v lb_pack_max(lb_pack_v a, lb_pack_v b)
{
    return _mm_max_ps(a, b);
}
#else
LB_ALWAYS_INLINE lb_pack_v lb_pack_min(lb_pack_v a, lb_pack_v b)
{
    return lb_pack_choose(a < b, a, b);
}

LB_ALWAYS_INLINE lb_pack_v lb_pack_max(lb_pack_v a, lb_pack_v b)
{
    return lb_pack_choose(a > b, a, b);
}
#endif

/* To the nearest integer, for |x| < 2^22 */
LB_ALWAYS_INLINE lb_pack_v lb_pack_round(lb_pack_v x)
{
    return (x + LB_PACK_ROUND) - LB_PACK_ROUND;
}

/* Columns 32 g .. 32 g + 31 of the rows, zero where there are none. */
static inline void lb_pack_load(lb_pack_cols *out, const float *rows, size_t stride, size_t n_rows, size_t k,
                                const float *importance, size_t g)
{
    const size_t first = g * LB_GROUP;
    const size_t n = k <= first ? 0 : k - first < LB_GROUP ? k - first : LB_GROUP;
    for (size_t c = 0; c < LB_GROUP; c++) {
        out->h[c] = c >= n ? 0.0f : importance ? importance[first + c] : 1.0f;
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            float x = r < n_rows && c < n ? rows[r * stride + first + c] : 0.0f;
            out->x[c].f[r] = (lb_f32_bits(x) & 0x7f800000) == 0x7f800000 ? 0.0f : x;
        }
    }
}

/* The largest u whose mini(u) <= x, within 0..255; x >= 0 */
static inline int lb_pack_mini(float x)
{
    int32_t u = ((int32_t)lb_f32_bits(x) - (112 << 23)) >> 19;
    return u < 0 ? 0 : u > 255 ? 255 : (int)u;
}

/* The steps of the scale codes top - down, and their inverses; 0 and 0 for a zero row */
static inline void lb_pack_steps(const float *row_scale, const int *top, int down, int *u, lb_pack_lanes *step,
                                 lb_pack_lanes *inverse)
{
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        u[r] = top[r] - down < 0 ? 0 : top[r] - down > 255 ? 255 : top[r] - down;
        step->f[r] = row_scale[r] * lb_mini((uint8_t)u[r]);
        inverse->f[r] = row_scale[r] == 0.0f ? 0.0f : 1.0f / step->f[r];
    }
}

/* ---------------------------------------------------------------- formats with groups as data */

/* How the weights of one group are coded: code = round(x * inverse + zero), clamped; weight = step * (code - zero) */
typedef struct lb_group_code {
    lb_pack_lanes step, inverse, zero;
} lb_group_code;

LB_ALWAYS_INLINE lb_pack_v lb_group_round(lb_pack_v x, lb_pack_v inverse, lb_pack_v zero, float least, float most)
{
    const lb_pack_v q = lb_pack_max(x * inverse + zero, lb_pack_all(least)); /* so that rounding sees small numbers only */
    return lb_pack_round(lb_pack_min(q, lb_pack_all(most)));
}

/* A group's range per row; 0 always belongs to it. */
void lb_group_range(const lb_pack_cols *in, lb_pack_lanes *min, lb_pack_lanes *max);

/* Sum over the columns of h * (x - weight)^2 per row */
void lb_group_error(const lb_pack_cols *in, const lb_group_code *code, float least, float most, lb_pack_lanes *error);

struct lb_bits_search;
typedef struct lb_group_format {
    float least, most; /* codes */
    const struct lb_bits_search *search; /* for formats of lb_bits.h */

    /*
     * step: the largest that a row's groups need, from their ranges (lb_group_format.need). Clears a tile and writes its row
     * scales; row_step becomes what choose wants.
     */
    float (*need)(const struct lb_group_format *f, float min, float max);
    void (*begin)(const struct lb_group_format *f, float row_step[LB_TILE_ROWS], void *tile, size_t k);

    /* The best scale (and zero point) of group g for what `in` holds, written into the tile */
    void (*choose)(const struct lb_group_format *f, const float row_step[LB_TILE_ROWS], const lb_pack_cols *in, void *tile,
                   size_t k, size_t g, lb_group_code *code);

    /* The codes of group g, [column of the group][row], into a tile whose codes were zero */
    void (*store)(const struct lb_group_format *f, void *tile, size_t k, size_t g, const float code[LB_GROUP][LB_TILE_ROWS]);
} lb_group_format;

/* NULL if the format is not one of groups */
const lb_group_format *lb_group_format_of(lb_wformat format);
extern const lb_group_format lb_group_q8, lb_group_q6, lb_group_q5, lb_group_q4, lb_group_q3, lb_group_q2;
extern const lb_group_format lb_group_lut4, lb_group_lut3, lb_group_lut2, lb_group_lut1;

/* The row scales of a tile for these rows: its begin */
void lb_group_begin(const lb_group_format *f, const float *rows, size_t stride, size_t n_rows, size_t k,
                    float row_step[LB_TILE_ROWS], void *tile);

/* A tile without feedback: what lb_pack_q8 .. lb_pack_q2 do */
void lb_group_pack(const lb_group_format *f, const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance,
                   void *tile);

#endif /* LB_PACK_GROUP_H */
