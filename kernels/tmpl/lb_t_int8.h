/*
 * Template: matrix products of int8, whose sums run over all columns. A part of lb_t_int.h, which includes it and whose parameters and
 * names it uses. Codes are read as they lie in the tile. Sums of unsigned codes may wrap around; less the bias they are right again:
 * 128 * 127 * LB_INT8_MAX_K < 2^31.
 *
 * Many tokens: chunks of LB_PANEL_GROUPS groups of one or two tiles are multiplied with blocks of tokens while they are in the first-level
 * cache; int32 sums wait in `scratch`.
 */
#ifndef LB_INT8_CHUNK
#define LB_INT8_CHUNK (LB_PANEL_GROUPS * LB_GROUP / 4) /* quads */
#endif

LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_int8_finish_)(LB_I sum, const void *tile, const lb_input *x, size_t token, float *y,
                                                          bool add)
{
    if (LB_T_BIAS) {
        sum = LB_V(sub_i)(sum, LB_V(set1_i)(LB_T_BIAS * x->token_sum[token]));
    }
    const LB_F scale = LB_V(mul)(LB_V(load)((const float *)tile), LB_V(set1)(x->token_scale[token]));
    const LB_F v = LB_V(mul)(LB_V(to_float)(sum), scale);
    LB_V(store)(y, add ? LB_V(add)(LB_V(load)(y), v) : v);
}

static LB_T_TARGET void LB_N(lb_t_int8_direct_)(const uint8_t *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x,
                                                float *y, size_t y_stride, bool add)
{
    const size_t n_groups = lb_round_up64(k) / LB_GROUP;
    for (size_t t = 0; t < x->n; t++) {
        lb_ahead ahead = lb_ahead_of(w + LB_INT8_CODES_AT, LB_T_AHEAD);
        for (size_t i = 0; i < n_tiles; i++) {
            const uint8_t *tile = w + i * tile_bytes, *codes = tile + LB_INT8_CODES_AT;
            const int8_t *q = x->tq + t * x->tq_stride;
            LB_I a = LB_V(set1_i)(0), b = a;
            ahead.until = codes + LB_T_AHEAD;
            for (size_t g = 0; g < n_groups; g++) {
                lb_ahead_step(&ahead, 512, 8);
                LB_UNROLL
                for (size_t j = 0; j < 8; j += 2) {
                    a = LB_D(dot)(a, LB_V(load_b)(codes + 64 * j), LB_V(quad)(q + 4 * j));
                    b = LB_D(dot)(b, LB_V(load_b)(codes + 64 * j + 64), LB_V(quad)(q + 4 * j + 4));
                }
                codes += 512;
                q += LB_GROUP;
            }
            LB_N(lb_t_int8_finish_)(LB_V(add_i)(a, b), tile, x, t, y + t * y_stride + i * LB_TILE_ROWS, add);
        }
    }
}

LB_T_TARGET void LB_N(lb_gemv_int8_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                                     size_t y_stride, bool add, void *scratch)
{
    (void)scratch;
    LB_N(lb_t_int8_direct_)(w, tile_bytes, n_tiles, k, x, y, y_stride, add);
}

/* acc[tile][token][16] += codes x tokens, for n_quads quads of columns from `first` on; tiles and tokens are constants */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_int8_block_)(const uint8_t *codes, size_t code_stride, size_t n_quads, size_t first,
                                                         const lb_input *x, size_t token, int32_t *acc, const size_t tiles,
                                                         const size_t tokens)
{
    const int8_t *q0 = x->tq + token * x->tq_stride + 4 * first, *q3 = q0 + 3 * x->tq_stride;
    const size_t stride = x->tq_stride;
    LB_I sum[2][6];
    LB_UNROLL
    for (size_t i = 0; i < tiles; i++) {
        LB_UNROLL
        for (size_t t = 0; t < tokens; t++) {
            sum[i][t] = LB_V(load_i)(acc + (i * LB_MM_MAX_N + t) * LB_TILE_ROWS);
        }
    }
    for (size_t j = 0; j < n_quads; j++) {
        const LB_B w0 = LB_V(load_b)(codes + 64 * j);
        const LB_B w1 = tiles == 2 ? LB_V(load_b)(codes + code_stride + 64 * j) : w0;
        LB_UNROLL
        for (size_t t = 0; t < tokens; t++) {
            const LB_B b = LB_V(quad)((t < 3 ? q0 : q3) + t % 3 * stride + 4 * j);
            sum[0][t] = LB_D(dot)(sum[0][t], w0, b);
            if (tiles == 2) {
                sum[1][t] = LB_D(dot)(sum[1][t], w1, b);
            }
        }
    }
    LB_UNROLL
    for (size_t i = 0; i < tiles; i++) {
        LB_UNROLL
        for (size_t t = 0; t < tokens; t++) {
            LB_V(store_i)(acc + (i * LB_MM_MAX_N + t) * LB_TILE_ROWS, sum[i][t]);
        }
    }
}

#define LB_T_RUN(N, TILES)                                                                                            \
    for (; t + N <= x->n; t += N) {                                                                                   \
        LB_N(lb_t_int8_block_)(codes, code_stride, n_quads, first, x, t, acc + t * LB_TILE_ROWS, TILES, N);           \
    }

#ifndef LB_T_OWN_TILE
static LB_T_TARGET void LB_N(lb_t_int8_one_tile_)(const uint8_t *codes, size_t code_stride, size_t n_quads, size_t first,
                                                  const lb_input *x, int32_t *acc)
{
    size_t t = 0;
#if LB_T_TOKENS >= 6 && LB_T_GTILES == 1
    LB_T_RUN(6, 1)
#endif
#if LB_T_TOKENS >= 3 && LB_T_GTILES == 1
    LB_T_RUN(3, 1)
#endif
    LB_T_RUN(2, 1)
    LB_T_RUN(1, 1)
}
#endif

#if LB_T_GTILES == 2
static LB_T_TARGET void LB_N(lb_t_int8_two_tiles_)(const uint8_t *codes, size_t code_stride, size_t n_quads, size_t first,
                                                   const lb_input *x, int32_t *acc)
{
    size_t t = 0;
    LB_T_RUN(6, 2)
    LB_T_RUN(2, 2)
    LB_T_RUN(1, 2)
}
#endif
#undef LB_T_RUN

LB_T_TARGET void LB_N(lb_gemm_int8_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                                     size_t y_stride, bool add, void *scratch)
{
    if (x->n == 1) {
        LB_N(lb_t_int8_direct_)(w, tile_bytes, n_tiles, k, x, y, y_stride, add);
        return;
    }
    int32_t *acc = scratch; /* [2][LB_MM_MAX_N][16] */
    _Static_assert(2 * LB_MM_MAX_N * LB_TILE_ROWS * sizeof(int32_t) <= LB_MM_SCRATCH, "LB_MM_SCRATCH is too small");
    const size_t all = lb_round_up64(k) / 4;
    for (size_t i = 0; i < n_tiles;) {
        const uint8_t *tile = (const uint8_t *)w + i * tile_bytes;
        const size_t tiles = LB_T_GTILES == 2 && i + 2 <= n_tiles ? 2 : 1;
        for (size_t h = 0; h < tiles; h++) {
            memset(acc + h * LB_MM_MAX_N * LB_TILE_ROWS, 0, x->n * LB_TILE_ROWS * sizeof *acc);
        }
        for (size_t j = 0; j < all; j += LB_INT8_CHUNK) {
            const size_t n = all - j < LB_INT8_CHUNK ? all - j : LB_INT8_CHUNK;
            const uint8_t *codes = tile + LB_INT8_CODES_AT + 64 * j;
#if LB_T_GTILES == 2
            if (tiles == 2) {
                LB_N(lb_t_int8_two_tiles_)(codes, tile_bytes, n, j, x, acc);
                continue;
            }
#endif
            LB_N(lb_t_int8_one_tile_)(codes, tile_bytes, n, j, x, acc);
        }
        for (size_t h = 0; h < tiles; h++) {
            for (size_t t = 0; t < x->n; t++) {
                const LB_I sum = LB_V(load_i)(acc + (h * LB_MM_MAX_N + t) * LB_TILE_ROWS);
                LB_N(lb_t_int8_finish_)(sum, tile + h * tile_bytes, x, t, y + t * y_stride + (i + h) * LB_TILE_ROWS, add);
            }
        }
        i += tiles;
    }
}
