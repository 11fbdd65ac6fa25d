/*
 * Template: matrix products of one float format. Parameters, besides those of README:
 *     LB_T_W       the format: f32, f16, bf16 (lb_gemv_f16_LEVEL is defined, ...)
 *     LB_T_WTYPE   its number: float, uint16_t
 *     LB_T_LOADW   the operation that loads 16 of them: load, load_f16, load_bf16
 *     LB_T_TILES   tiles in flight for one token: enough independent chains to hide the latency of fma, up to 8
 *     LB_T_FEW     1: few tokens (2..8, the query heads of a KV head) are multiplied with weights as they are read, not with a panel of floats
 *
 * A vector is column c of a tile: 16 rows. Each tile has its own accumulator, which takes the columns in order:
 *     acc[tile] = fma(w[tile][c], broadcast x[c], acc[tile])
 */
#define LB_V(op) LB_CAT4(lb_v_, LB_TV, _, op)
#define LB_N(name) LB_CAT4(name, LB_T_W, _, LB_T)
#define LB_F LB_V(f)

LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_row_)(const void *w, size_t tile_bytes, size_t k, const float *x, float *y, bool add,
                                                  const size_t tiles)
{
    LB_F acc[8];
    LB_UNROLL
    for (size_t i = 0; i < tiles; i++) {
        acc[i] = LB_V(set1)(0.0f);
    }
    for (size_t c = 0; c < k; c++) {
        const LB_F b = LB_V(set1)(x[c]);
        LB_UNROLL
        for (size_t i = 0; i < tiles; i++) {
            const LB_T_WTYPE *tile = (const LB_T_WTYPE *)(const void *)((const uint8_t *)w + i * tile_bytes);
            acc[i] = LB_V(fma)(LB_V(LB_T_LOADW)(tile + c * LB_TILE_ROWS), b, acc[i]);
        }
    }
    LB_UNROLL
    for (size_t i = 0; i < tiles; i++) {
        float *to = y + i * LB_TILE_ROWS;
        LB_V(store)(to, add ? LB_V(add)(LB_V(load)(to), acc[i]) : acc[i]);
    }
}

LB_T_TARGET void LB_N(lb_gemv_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                                size_t y_stride, bool add, void *scratch)
{
    (void)scratch;
    (void)y_stride;
    const uint8_t *p = w;
    size_t i = 0;
    for (; LB_T_TILES > 1 && i + LB_T_TILES <= n_tiles; i += LB_T_TILES) {
        LB_N(lb_t_row_)(p + i * tile_bytes, tile_bytes, k, x->f32, y + i * LB_TILE_ROWS, add, LB_T_TILES);
    }
    for (; i < n_tiles; i++) {
        LB_N(lb_t_row_)(p + i * tile_bytes, tile_bytes, k, x->f32, y + i * LB_TILE_ROWS, add, 1);
    }
}

#if LB_T_FEW
/*
 * LB_T_GTILES tiles x 4 tokens. Where fewer are left, the last tile or token takes the place of those that are not there: it is computed
 * more than once and stored more than once, to the same place. Sums are read (`add`) before any is stored.
 */
LB_T_TARGET static void LB_N(lb_t_few_)(const uint8_t *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                                        size_t y_stride, bool add)
{
    const uint8_t *ahead = x->fetch ? x->fetch->at : w + 4096;
    for (size_t i = 0; i < n_tiles; i += LB_T_GTILES) {
        const size_t second = LB_T_GTILES == 2 && i + 1 < n_tiles;
        const LB_T_WTYPE *tile[2] = {(const LB_T_WTYPE *)(const void *)(w + i * tile_bytes),
                                     (const LB_T_WTYPE *)(const void *)(w + (i + second) * tile_bytes)};
        for (size_t t = 0; t < x->n; t += 4) {
            const size_t line = t ? 0 : 64; /* later tokens find the tiles in the cache */
            const float *from[4];
            float *to[4];
            LB_F a[2][4];
            LB_UNROLL
            for (size_t j = 0; j < 4; j++) {
                const size_t token = t + j < x->n ? t + j : x->n - 1;
                from[j] = x->f32 + token * x->f32_stride;
                to[j] = y + token * y_stride + i * LB_TILE_ROWS;
                a[0][j] = LB_V(set1)(0.0f);
                a[1][j] = a[0][j];
            }
            for (size_t c = 0; c < k; c++) {
                if (LB_T_GTILES == 2 ? c % 8 : c % 2 && c % 16 < 15) { /* seven eighths of what is read: lb_attention.c */
                    LB_PREFETCH(ahead);
                    ahead += line;
                }
                const LB_F v0 = LB_V(LB_T_LOADW)(tile[0] + c * LB_TILE_ROWS),
                           v1 = LB_T_GTILES == 2 ? LB_V(LB_T_LOADW)(tile[1] + c * LB_TILE_ROWS) : v0;
                LB_UNROLL
                for (size_t j = 0; j < 4; j++) {
                    const LB_F b = LB_V(set1)(from[j][c]);
                    a[0][j] = LB_V(fma)(v0, b, a[0][j]);
                    if (LB_T_GTILES == 2) {
                        a[1][j] = LB_V(fma)(v1, b, a[1][j]);
                    }
                }
            }
            if (add) {
                LB_UNROLL
                for (size_t j = 0; j < 4; j++) {
                    a[0][j] = LB_V(add)(LB_V(load)(to[j]), a[0][j]);
                    a[1][j] = LB_V(add)(LB_V(load)(to[j] + second * LB_TILE_ROWS), a[1][j]);
                }
            }
            LB_UNROLL
            for (size_t j = 0; j < 4; j++) {
                LB_V(store)(to[j], a[0][j]);
                if (LB_T_GTILES == 2) {
                    LB_V(store)(to[j] + second * LB_TILE_ROWS, a[1][j]);
                }
            }
        }
    }
    if (x->fetch) {
        x->fetch->at = ahead;
    }
}
#endif

/* n (a multiple of 16) numbers to floats */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_widen_)(float *to, const void *from, size_t n)
{
    for (size_t i = 0; i < n; i += LB_TILE_ROWS) {
        LB_PREFETCH((const uint8_t *)from + i * sizeof(LB_T_WTYPE) + 4096);
        LB_V(store)(to + i, LB_V(LB_T_LOADW)((const LB_T_WTYPE *)from + i));
    }
}

LB_T_TARGET void LB_N(lb_gemm_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                                size_t y_stride, bool add, void *scratch)
{
    if (x->n == 1) {
        LB_N(lb_gemv_)(w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch);
        return;
    }
#if LB_T_FEW
    if (x->n <= 8) {
        LB_N(lb_t_few_)(w, tile_bytes, n_tiles, k, x, y, y_stride, add);
        return;
    }
#endif
    LB_CAT2(lb_t_float_gemm_, LB_T)(sizeof(LB_T_WTYPE) == sizeof(float) ? NULL : LB_N(lb_t_widen_), sizeof(LB_T_WTYPE), w, tile_bytes,
                                    n_tiles, k, x, y, y_stride, add, scratch);
}

#undef LB_V
#undef LB_N
#undef LB_F
#undef LB_T_W
#undef LB_T_WTYPE
#undef LB_T_LOADW
#undef LB_T_FEW
