/*
 * Template: matrix products of one float format. Parameters, besides those of README:
 *     LB_T_W       the format: f32, f16, bf16 (lb_gemv_f16_LEVEL is defined, ...)
 *     LB_T_WTYPE   its number: float, uint16_t
 *     LB_T_LOADW   the operation that loads 16 of them: load, load_f16, load_bf16
 *     LB_T_TILES   tiles in flight for one token: enough independent chains to hide the latency of fma, up to 8
 *     LB_T_GTILES  tiles (2 or 1) x
 *     LB_T_TOKENS  tokens (up to 8) of the register block for many tokens
 *
 * A vector is column c of a tile: 16 rows. Each (tile, token) has its own accumulator, which takes the columns in order:
 *     acc[tile][token] = fma(w[tile][c], broadcast x[token][c], acc[tile][token])
 */
#define LB_V(op) LB_CAT4(lb_v_, LB_TV, _, op)
#define LB_N(name) LB_CAT4(name, LB_T_W, _, LB_T)
#define LB_F LB_V(f)

LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_block_)(const void *w, size_t tile_bytes, size_t k, const float *x,
                                                    size_t x_stride, float *y, size_t y_stride, bool add,
                                                    const size_t tiles, const size_t tokens)
{
    LB_F acc[8][8];
    LB_UNROLL
    for (size_t i = 0; i < tiles; i++) {
        LB_UNROLL
        for (size_t t = 0; t < tokens; t++) {
            acc[i][t] = LB_V(set1)(0.0f);
        }
    }
    for (size_t c = 0; c < k; c++) {
        LB_F v[8];
        LB_UNROLL
        for (size_t i = 0; i < tiles; i++) {
            const LB_T_WTYPE *tile = (const LB_T_WTYPE *)(const void *)((const uint8_t *)w + i * tile_bytes);
            v[i] = LB_V(LB_T_LOADW)(tile + c * LB_TILE_ROWS);
        }
        LB_UNROLL
        for (size_t t = 0; t < tokens; t++) {
            const LB_F b = LB_V(set1)(x[t * x_stride + c]);
            LB_UNROLL
            for (size_t i = 0; i < tiles; i++) {
                acc[i][t] = LB_V(fma)(v[i], b, acc[i][t]);
            }
        }
    }
    LB_UNROLL
    for (size_t t = 0; t < tokens; t++) {
        LB_UNROLL
        for (size_t i = 0; i < tiles; i++) {
            float *to = y + t * y_stride + i * LB_TILE_ROWS;
            LB_V(store)(to, add ? LB_V(add)(LB_V(load)(to), acc[i][t]) : acc[i][t]);
        }
    }
}

LB_T_TARGET void LB_N(lb_gemv_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                                size_t y_stride, bool add, void *scratch)
{
    (void)scratch;
    const uint8_t *p = w;
    size_t i = 0;
#define LB_T_RUN(N)                                                                                                   \
    for (; i + N <= n_tiles; i += N) {                                                                                \
        LB_N(lb_t_block_)(p + i * tile_bytes, tile_bytes, k, x->f32, 0, y + i * LB_TILE_ROWS, y_stride, add, N, 1);   \
    }
#if LB_T_TILES > 1
    LB_T_RUN(LB_T_TILES)
#endif
    LB_T_RUN(1)
#undef LB_T_RUN
}

/* `tiles` tiles for all tokens */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_tokens_)(const void *w, size_t tile_bytes, size_t k, const lb_input *x,
                                                     float *y, size_t y_stride, bool add, const size_t tiles)
{
    size_t t = 0;
#define LB_T_RUN(N)                                                                                                   \
    for (; (N < 8 || tiles == LB_T_GTILES) && t + N <= x->n; t += N) {                                                \
        LB_N(lb_t_block_)(w, tile_bytes, k, x->f32 + t * x->f32_stride, x->f32_stride, y + t * y_stride, y_stride,    \
                          add, tiles, N);                                                                             \
    }
#if LB_T_TOKENS > 2
    LB_T_RUN(LB_T_TOKENS)
#endif
#if LB_T_TOKENS > 1
    LB_T_RUN(2)
#endif
    LB_T_RUN(1)
#undef LB_T_RUN
}

LB_T_TARGET void LB_N(lb_gemm_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                                size_t y_stride, bool add, void *scratch)
{
    if (x->n == 1) {
        LB_N(lb_gemv_)(w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch);
        return;
    }
    const uint8_t *p = w;
    size_t i = 0;
    for (; i + LB_T_GTILES <= n_tiles; i += LB_T_GTILES) {
        LB_N(lb_t_tokens_)(p + i * tile_bytes, tile_bytes, k, x, y + i * LB_TILE_ROWS, y_stride, add, LB_T_GTILES);
    }
    for (; i < n_tiles; i++) {
        LB_N(lb_t_tokens_)(p + i * tile_bytes, tile_bytes, k, x, y + i * LB_TILE_ROWS, y_stride, add, 1);
    }
}

#undef LB_V
#undef LB_N
#undef LB_F
#undef LB_T_W
#undef LB_T_WTYPE
#undef LB_T_LOADW
