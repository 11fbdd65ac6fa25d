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

#endif /* LB_PACK_GROUP_H */
