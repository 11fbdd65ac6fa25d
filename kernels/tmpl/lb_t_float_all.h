/*
 * Template: matrix products of all float formats. Parameters: those of lb_t_float.h but LB_T_W, LB_T_WTYPE, LB_T_LOADW, and
 *     LB_T_GTILES  tiles (2 or 1) x
 *     LB_T_TOKENS  tokens (up to 8) of the register block for many tokens
 *
 * Many tokens: LB_FLOAT_COLUMNS columns of one or two tiles become floats once (f32 is read where it lies) and are multiplied with blocks
 * of tokens while they are in the first-level cache; sums wait in `scratch`. All formats share that.
 */
#ifndef LB_FLOAT_COLUMNS
#define LB_FLOAT_COLUMNS ((size_t)128)
typedef struct lb_float_panel {
    float w[2][LB_FLOAT_COLUMNS * LB_TILE_ROWS];
    float acc[2][LB_MM_MAX_N * LB_TILE_ROWS];
} lb_float_panel;
_Static_assert(sizeof(lb_float_panel) <= LB_MM_SCRATCH, "LB_MM_SCRATCH is too small");
#endif

#define LB_V(op) LB_CAT4(lb_v_, LB_TV, _, op)
#define LB_N(name) LB_CAT2(name, LB_T)
#define LB_F LB_V(f)

/* acc[tile][token][16] += n columns of w0, w1 x tokens; tiles and tokens are constants */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_float_block_)(const float *w0, const float *w1, size_t n, const float *x, size_t x_stride,
                                                          float *acc0, float *acc1, const size_t tiles, const size_t tokens)
{
    LB_F a[2][LB_T_TOKENS];
    LB_UNROLL
    for (size_t t = 0; t < tokens; t++) {
        a[0][t] = LB_V(load)(acc0 + t * LB_TILE_ROWS);
        a[1][t] = tiles == 2 ? LB_V(load)(acc1 + t * LB_TILE_ROWS) : a[0][t];
    }
    for (size_t c = 0; c < n; c++) {
        const LB_F v0 = LB_V(load)(w0 + c * LB_TILE_ROWS), v1 = tiles == 2 ? LB_V(load)(w1 + c * LB_TILE_ROWS) : v0;
        LB_UNROLL
        for (size_t t = 0; t < tokens; t++) {
            const LB_F b = LB_V(set1)(x[t * x_stride + c]);
            a[0][t] = LB_V(fma)(v0, b, a[0][t]);
            if (tiles == 2) {
                a[1][t] = LB_V(fma)(v1, b, a[1][t]);
            }
        }
    }
    LB_UNROLL
    for (size_t t = 0; t < tokens; t++) {
        LB_V(store)(acc0 + t * LB_TILE_ROWS, a[0][t]);
        if (tiles == 2) {
            LB_V(store)(acc1 + t * LB_TILE_ROWS, a[1][t]);
        }
    }
}

typedef void LB_N(lb_t_widen_fn_)(float *to, const void *from, size_t n);

/* size: bytes of a weight; widen: n of them (a multiple of 16) to floats, NULL if they are floats */
static LB_SHARED LB_T_TARGET void LB_N(lb_t_float_gemm_)(LB_N(lb_t_widen_fn_) *widen, size_t size, const void *w, size_t tile_bytes,
                                                         size_t n_tiles, size_t k, const lb_input *x, float *y, size_t y_stride,
                                                         bool add, lb_float_panel *panel)
{
    for (size_t i = 0; i < n_tiles;) {
        const size_t tiles = LB_T_GTILES == 2 && i + 2 <= n_tiles ? 2 : 1;
        for (size_t j = 0; j < tiles; j++) {
            memset(panel->acc[j], 0, x->n * LB_TILE_ROWS * sizeof(float));
        }
        for (size_t c = 0; c < k; c += LB_FLOAT_COLUMNS) {
            const size_t n = k - c < LB_FLOAT_COLUMNS ? k - c : LB_FLOAT_COLUMNS;
            const float *v[2] = {NULL, NULL};
            for (size_t j = 0; j < tiles; j++) {
                const uint8_t *from = (const uint8_t *)w + (i + j) * tile_bytes + c * LB_TILE_ROWS * size;
                v[j] = (const float *)(const void *)from;
                if (widen) {
                    widen(panel->w[j], from, n * LB_TILE_ROWS);
                    v[j] = panel->w[j];
                }
            }
            size_t t = 0;
#define LB_T_RUN(TILES, N)                                                                                            \
    for (; t + N <= x->n; t += N) {                                                                                   \
        LB_N(lb_t_float_block_)(v[0], v[1], n, x->f32 + t * x->f32_stride + c, x->f32_stride,                         \
                                panel->acc[0] + t * LB_TILE_ROWS, panel->acc[1] + t * LB_TILE_ROWS, TILES, N);        \
    }
#if LB_T_GTILES == 2
            if (tiles == 2) {
                LB_T_RUN(2, LB_T_TOKENS)
                LB_T_RUN(2, 2)
                LB_T_RUN(2, 1)
            }
#endif
#if LB_T_TOKENS > 1
            LB_T_RUN(1, LB_T_TOKENS)
#endif
            LB_T_RUN(1, 1)
#undef LB_T_RUN
        }
        for (size_t j = 0; j < tiles; j++) {
            for (size_t t = 0; t < x->n; t++) {
                float *to = y + t * y_stride + (i + j) * LB_TILE_ROWS;
                const LB_F v = LB_V(load)(panel->acc[j] + t * LB_TILE_ROWS);
                LB_V(store)(to, add ? LB_V(add)(LB_V(load)(to), v) : v);
            }
        }
        i += tiles;
    }
}

#undef LB_V
#undef LB_N
#undef LB_F

#define LB_T_W f32
#define LB_T_WTYPE float
#define LB_T_LOADW load
#define LB_T_FEW 0
#include "lb_t_float.h"

#define LB_T_W f16
#define LB_T_WTYPE uint16_t
#define LB_T_LOADW load_f16
#define LB_T_FEW (LB_T_TOKENS >= 4)
#include "lb_t_float.h"

#define LB_T_W bf16
#define LB_T_WTYPE uint16_t
#define LB_T_LOADW load_bf16
#define LB_T_FEW 0
#include "lb_t_float.h"

#include "lb_t_sparse.h"

#undef LB_T
#undef LB_TV
#undef LB_T_TARGET
#undef LB_T_TILES
#undef LB_T_GTILES
#undef LB_T_TOKENS
