/*
 * Template: the products over a quantized KV cache. Parameters, besides those of README:
 *     LB_T_BIAS    LB_DOT_BIAS_LEVEL of LB_TD
 *     LB_T_TILES   tiles (1 or 2) x
 *     LB_T_TOKENS  rows of x (4, 2 or 1) of the register block
 *     LB_T_CRUMB   a function (b, j): bits 2 j, 2 j + 1 of every byte, as bytes
 *     LB_T_AHEAD   bytes of software prefetch
 *
 * A b vector is a quad of columns of 16 rows, as in lb_t_int.h. All query heads of a KV head are rows of x, so that codes are
 * unpacked once for all of them. Sums of q4 and q2 codes go to two accumulators of at most 4 quads a group each (small_dot's limit is 8).
 */
#define LB_V(op) LB_CAT4(lb_v_, LB_TV, _, op)
#define LB_D(op) LB_CAT4(lb_v_, LB_TD, _, op)
#define LB_N(name) LB_CAT2(name, LB_T)
#define LB_F LB_V(f)
#define LB_I LB_V(i)
#define LB_B LB_V(b)

LB_ALWAYS_INLINE LB_T_TARGET LB_I LB_N(lb_t_kv_affine_)(LB_I dot, int32_t zero, int32_t sum)
{
    return LB_V(sub_i)(LB_V(add_i)(dot, dot), LB_V(set1_i)(zero * sum)); /* |zero * sum| <= 15 * 32 * 127 */
}

/* `tiles` tiles from tile i on for `tokens` rows of x from t on; bits, tiles and tokens are constants */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_kv_block_)(const lb_kv_matrix *w, size_t i, const lb_input *x, size_t t, float *y,
                                                       size_t y_stride, bool add, const int bits, const size_t tiles,
                                                       const size_t tokens)
{
    const size_t group_bytes = LB_GROUP * LB_TILE_ROWS * (size_t)bits / 8, n_groups = w->k / LB_GROUP;
    const uint8_t *codes = w->codes + i * w->tile_bytes, *ahead = x->ahead ? *x->ahead : codes + LB_T_AHEAD;
    const int8_t *q = x->q + t * x->q_stride;
    const float *xscale = x->scale + t * x->group_stride;
    const int32_t *xsum = x->sum + t * x->group_stride;
    LB_F f[2][4];
    LB_UNROLL
    for (size_t a = 0; a < tiles; a++) {
        LB_UNROLL
        for (size_t b = 0; b < tokens; b++) {
            f[a][b] = LB_V(set1)(0.0f);
        }
    }
    for (size_t g = 0; g < n_groups; g++) {
        LB_I sum[2][4];
        if (t == 0) { /* in the order of memory, as lb_ahead.h wants it: what is read here in two places is fetched in one */
            LB_UNROLL
            for (size_t j = 0; j < tiles * group_bytes / 2; j += 64) {
                LB_PREFETCH(ahead + j);
            }
            ahead += tiles * group_bytes / 2;
        }
        if (bits == 8) {
            LB_UNROLL
            for (size_t b = 0; b < tokens; b++) {
                sum[0][b] = LB_V(set1_i)(-LB_T_BIAS * xsum[b * x->group_stride + g]); /* below 2^20 */
                sum[1][b] = sum[0][b];
            }
            LB_UNROLL
            for (size_t j = 0; j < 8; j++) {
                LB_B c[2];
                LB_UNROLL
                for (size_t a = 0; a < tiles; a++) {
                    c[a] = LB_V(load_b)(codes + a * w->tile_bytes + 64 * j);
                }
                LB_UNROLL
                for (size_t b = 0; b < tokens; b++) {
                    const LB_B v = LB_V(quad)(q + b * x->q_stride + 4 * j);
                    LB_UNROLL
                    for (size_t a = 0; a < tiles; a++) {
                        sum[a][b] = LB_D(dot)(sum[a][b], c[a], v);
                    }
                }
            }
        } else {
            LB_D(small) lo[2][4], hi[2][4];
            LB_UNROLL
            for (size_t a = 0; a < tiles; a++) {
                LB_UNROLL
                for (size_t b = 0; b < tokens; b++) {
                    lo[a][b] = LB_D(small_zero)();
                    hi[a][b] = LB_D(small_zero)();
                }
            }
            LB_UNROLL
            for (size_t j = 0; j < 4; j++) { /* quads 2 j and 2 j + 1 */
                LB_B c[2], d[2];
                LB_UNROLL
                for (size_t a = 0; a < tiles; a++) {
                    const uint8_t *from = codes + a * w->tile_bytes;
                    if (bits == 4) {
                        const LB_B v = LB_V(load_b)(from + 64 * j);
                        c[a] = LB_V(low_nibbles)(v);
                        d[a] = LB_V(high_nibbles)(v);
                    } else {
                        const LB_B v = LB_V(load_b)(from + j / 2 * 64);
                        c[a] = j % 2 ? LB_T_CRUMB(v, 2) : LB_T_CRUMB(v, 0);
                        d[a] = j % 2 ? LB_T_CRUMB(v, 3) : LB_T_CRUMB(v, 1);
                    }
                }
                LB_UNROLL
                for (size_t b = 0; b < tokens; b++) {
                    const LB_B even = LB_V(quad)(q + b * x->q_stride + 8 * j), odd = LB_V(quad)(q + b * x->q_stride + 8 * j + 4);
                    LB_UNROLL
                    for (size_t a = 0; a < tiles; a++) {
                        lo[a][b] = LB_D(small_dot)(lo[a][b], c[a], even);
                        hi[a][b] = LB_D(small_dot)(hi[a][b], d[a], odd);
                    }
                }
            }
            LB_UNROLL
            for (size_t a = 0; a < tiles; a++) {
                LB_UNROLL
                for (size_t b = 0; b < tokens; b++) {
                    sum[a][b] = LB_N(lb_t_kv_affine_)(LB_D(small_sum)(lo[a][b], hi[a][b]), bits == 4 ? 15 : 3,
                                                      xsum[b * x->group_stride + g]);
                }
            }
        }
        LB_UNROLL
        for (size_t b = 0; b < tokens; b++) {
            const LB_F s = LB_V(set1)(xscale[b * x->group_stride + g]);
            LB_UNROLL
            for (size_t a = 0; a < tiles; a++) {
                f[a][b] = LB_V(fma)(s, LB_V(to_float)(sum[a][b]), f[a][b]);
            }
        }
        codes += group_bytes;
        q += LB_GROUP;
    }
    if (t == 0 && x->ahead) {
        *x->ahead = ahead;
    }
    LB_UNROLL
    for (size_t a = 0; a < tiles; a++) {
        LB_UNROLL
        for (size_t b = 0; b < tokens; b++) {
            float *to = y + (t + b) * y_stride + (i + a) * LB_TILE_ROWS;
            LB_F v = f[a][b];
            if (w->row_scale) {
                v = LB_V(fma)(v, LB_V(load_bf16)(w->row_scale + (i + a) * LB_TILE_ROWS),
                              LB_V(set1)(w->base[(t + b) * w->base_stride + (i + a) / 4]));
            }
            LB_V(store)(to, add ? LB_V(add)(LB_V(load)(to), v) : v);
        }
    }
}

/* Blocks of tiles and tokens; what is left over goes one by one, which is no slower than memory, and so does q2, for the library's size. */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_kv_all_)(const lb_kv_matrix *w, const lb_input *x, float *y, size_t y_stride,
                                                     bool add, const int bits)
{
    for (size_t i = 0, tiles; i < w->n_tiles; i += tiles) {
        size_t t = 0;
        tiles = i + LB_T_TILES <= w->n_tiles ? LB_T_TILES : 1;
        for (; LB_T_TOKENS > 1 && bits > 2 && tiles == LB_T_TILES && t + LB_T_TOKENS <= x->n; t += LB_T_TOKENS) {
            LB_N(lb_t_kv_block_)(w, i, x, t, y, y_stride, add, bits, LB_T_TILES, LB_T_TOKENS);
        }
        for (; t < x->n; t++) {
            for (size_t a = 0; a < tiles; a++) {
                LB_N(lb_t_kv_block_)(w, i + a, x, t, y, y_stride, add, bits, 1, 1);
            }
        }
    }
}

LB_T_TARGET void LB_N(lb_kv_product_q8_)(const lb_kv_matrix *w, const lb_input *x, float *y, size_t y_stride, bool add)
{
    LB_N(lb_t_kv_all_)(w, x, y, y_stride, add, 8);
}

LB_T_TARGET void LB_N(lb_kv_product_q4_)(const lb_kv_matrix *w, const lb_input *x, float *y, size_t y_stride, bool add)
{
    LB_N(lb_t_kv_all_)(w, x, y, y_stride, add, 4);
}

LB_T_TARGET void LB_N(lb_kv_product_q2_)(const lb_kv_matrix *w, const lb_input *x, float *y, size_t y_stride, bool add)
{
    LB_N(lb_t_kv_all_)(w, x, y, y_stride, add, 2);
}

LB_T_TARGET void LB_N(lb_kv_means_)(const uint16_t *means, size_t w, const float *x, size_t n, float *base)
{
    for (size_t t = 0; t < n; t++, base += 4) {
        LB_F acc = LB_V(set1)(0.0f);
        for (size_t c = 0; c < w; c++, x += LB_TILE_ROWS) {
            acc = LB_V(fma)(LB_V(load_f16)(means + c * LB_TILE_ROWS), LB_V(load)(x), acc);
        }
        float y[LB_TILE_ROWS];
        LB_V(store)(y, acc);
        for (size_t b = 0; b < 4; b++) {
            base[b] = ((y[b] + y[4 + b]) + y[8 + b]) + y[12 + b];
        }
    }
}

LB_T_TARGET void LB_N(lb_mul_bf16_)(float *y, const float *x, const uint16_t *w, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        LB_V(store)(y + i, LB_V(mul)(LB_V(load)(x + i), LB_V(load_bf16)(w + i)));
    }
    for (; i < n; i++) {
        y[i] = x[i] * lb_bf16_to_f32(w[i]);
    }
}

#undef LB_V
#undef LB_D
#undef LB_N
#undef LB_F
#undef LB_I
#undef LB_B
#undef LB_T
#undef LB_TV
#undef LB_TD
#undef LB_T_TARGET
#undef LB_T_BIAS
#undef LB_T_TILES
#undef LB_T_TOKENS
#undef LB_T_CRUMB
#undef LB_T_AHEAD
