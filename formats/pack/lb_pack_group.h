/*
 * What the packers of formats with groups of 32 columns share. Rows are lanes: a group is held as v[column][row], and
 * loops over the 16 rows are innermost so that a compiler makes vectors of them.
 */
#ifndef LB_PACK_GROUP_H
#define LB_PACK_GROUP_H

#include "lb_pack.h"
#include "../../kernels/lb_layout.h"
#include "../../kernels/lb_math.h"

#define LB_PACK_TINY 1e-30f      /* rows whose largest step is below are zero rows */
#define LB_PACK_ROUND 12582912.0f /* adding and subtracting it rounds |x| < 2^22 to the nearest even integer */

typedef struct lb_pack_cols {
    float v[LB_GROUP][LB_TILE_ROWS];
    float h[LB_GROUP]; /* importance; 0 for columns past the true ones */
} lb_pack_cols;

/* Columns 32 g .. 32 g + 31 of the rows, zero where there are none. */
LB_ALWAYS_INLINE void lb_pack_load(lb_pack_cols *out, const float *rows, size_t stride, size_t n_rows, size_t k,
                                   const float *importance, size_t g)
{
    const size_t first = g * LB_GROUP;
    const size_t n = k <= first ? 0 : k - first < LB_GROUP ? k - first : LB_GROUP;
    for (size_t c = 0; c < LB_GROUP; c++) {
        out->h[c] = c >= n ? 0.0f : importance ? importance[first + c] : 1.0f;
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            float x = r < n_rows && c < n ? rows[r * stride + first + c] : 0.0f;
            out->v[c][r] = (lb_f32_bits(x) & 0x7f800000) == 0x7f800000 ? 0.0f : x;
        }
    }
}

/* The largest u whose mini(u) <= x, within 0..255; x >= 0 */
LB_ALWAYS_INLINE int lb_pack_mini(float x)
{
    int32_t u = ((int32_t)lb_f32_bits(x) - (112 << 23)) >> 19;
    return u < 0 ? 0 : u > 255 ? 255 : (int)u;
}

#endif /* LB_PACK_GROUP_H */
