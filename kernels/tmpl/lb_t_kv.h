/*
 * Template: the products over a quantized KV cache. Parameters, besides those of README:
 *     LB_T_BIAS    LB_DOT_BIAS_LEVEL of LB_TD
 *     LB_T_TILES   tiles (1 or 2) x
 *     LB_T_TOKENS  rows of x (4, 2 or 1) of the register block
 *     LB_T_CRUMB   a function (b, j): bits 2 j, 2 j + 1 of every byte, as bytes
 *     LB_T_AHEAD   bytes of software prefetch
 *     LB_T_OWN_SOFTMAX  defined where kv_softmax is not from here
 *     LB_T_IN_PLACE  1 if small_dot has no bounds and takes bytes of any size: then the high ones of two codes of 4 bits are not shifted
 *                  down, and their sums are 16 times as large
 *
 * A b vector is a quad of columns of 16 rows, as in lb_t_int.h. All query heads of a KV head are rows of x, so that codes are
 * unpacked once for all of them. Sums of q4 and q2 codes are those of 8 quads, small_dot's limit, before they are widened.
 */
#define LB_V(op) LB_CAT4(lb_v_, LB_TV, _, op)
#define LB_D(op) LB_CAT4(lb_v_, LB_TD, _, op)
#define LB_N(name) LB_CAT2(name, LB_T)
#define LB_F LB_V(f)
#define LB_I LB_V(i)
#define LB_B LB_V(b)

#ifndef LB_KV_ONES
#define LB_KV_ONES
static const uint16_t lb_kv_ones[16] = {0x3f80, 0x3f80, 0x3f80, 0x3f80, 0x3f80, 0x3f80, 0x3f80, 0x3f80,
                                        0x3f80, 0x3f80, 0x3f80, 0x3f80, 0x3f80, 0x3f80, 0x3f80, 0x3f80};
#endif

/*
 * `tiles` tiles from tile i on (where only one is left it takes the second's place too) for rows t .. of x; bits, tiles and tokens are
 * constants. zero and scale: what q's codes are worth that were taken from unsigned ones, and the factors; numbers of four rows side by side.
 */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_kv_block_)(const lb_kv_matrix *w, size_t i, const lb_input *x, size_t t, const int32_t *zero,
                                                       const float *scale, float *y, size_t y_stride, bool add, const int bits,
                                                       const size_t tiles, const size_t tokens)
{
    const size_t half_bytes = LB_GROUP * LB_TILE_ROWS * (size_t)bits / 8, quads = 8 / (size_t)bits; /* of a vector */
    const size_t second = tiles == 2 && i + 1 < w->n_tiles, gap = second ? w->tile_bytes : 0;
    const bool in_place = LB_T_IN_PLACE && bits != 2;
    const uint8_t *codes = w->codes + i * w->tile_bytes, *ahead = x->fetch ? x->fetch->at : codes + LB_T_AHEAD;
    const size_t lines = t ? 0 : x->fetch ? x->fetch->lines * tiles / 2 : tiles; /* of every 128 bytes of codes; later rows find them in the cache */
    const int8_t *q = x->q + t / 4 * 4 * x->q_stride + t % 4 * 4;
    LB_F f[2][4];
    LB_UNROLL
    for (size_t b = 0; b < tokens; b++) {
        f[0][b] = f[1][b] = LB_V(set1)(0.0f);
    }
    for (size_t left = w->k * LB_TILE_ROWS * (size_t)bits / 8, bytes; left > 0; left -= bytes, zero += 4, scale += 4) {
        LB_I sum[2][4];
        LB_D(small) few[2][4];
        bytes = left < 2 * half_bytes ? left : 2 * half_bytes;
        LB_UNROLL
        for (size_t b = 0; b < tokens; b++) {
            sum[0][b] = sum[1][b] = LB_V(set1_i)(zero[b]);
            few[0][b] = few[1][b] = LB_D(small_zero)();
        }
        const size_t piece = LB_T_IN_PLACE ? bytes : half_bytes;
        for (size_t done = 0; done < bytes; done += piece) {
            LB_ROLL
            for (size_t j = 0; j < piece; j += 128, codes += 128, q += 32 * quads) {
                LB_UNROLL
                for (size_t l = 0; l < 2 * tiles; l++) { /* some of them once more rather than a branch */
                    LB_PREFETCH(ahead + 64 * (l < lines ? l : lines ? lines - 1 : 0));
                }
                ahead += 64 * lines;
                LB_UNROLL
                for (size_t v = 0; v < 2; v++) {
                    LB_UNROLL
                    for (size_t p = 0; p < quads; p++) {
                        LB_B c[2];
                        LB_UNROLL
                        for (size_t a = 0; a < tiles; a++) {
                            c[a] = LB_V(load_b)(codes + 64 * v + a * gap);
                            if (bits == 2) {
                                c[a] = p == 0 ? LB_T_CRUMB(c[a], 0) : p == 1 ? LB_T_CRUMB(c[a], 1) : p == 2 ? LB_T_CRUMB(c[a], 2) : LB_T_CRUMB(c[a], 3);
                            } else if (bits == 4) {
                                c[a] = p == 0 ? LB_V(low_nibbles)(c[a]) : in_place ? LB_V(and_b)(c[a], LB_V(set1_b)(0xf0)) : LB_V(high_nibbles)(c[a]);
                            }
                        }
                        LB_UNROLL
                        for (size_t b = 0; b < tokens; b++) {
                            const LB_B u = LB_V(quad)(q + 16 * (v * quads + p) + 4 * b);
                            LB_UNROLL
                            for (size_t a = 0; a < tiles; a++) {
                                if (in_place ? v * (bits == 8) + p == 1 : bits == 8) {
                                    sum[a][b] = LB_D(dot)(sum[a][b], c[a], u);
                                } else {
                                    few[a][b] = LB_D(small_dot)(few[a][b], c[a], u);
                                }
                            }
                        }
                    }
                }
            }
            LB_UNROLL
            for (size_t b = 0; b < tokens; b++) {
                LB_UNROLL
                for (size_t a = 0; a < tiles; a++) {
                    const LB_I v = LB_D(small_sum)(few[a][b], LB_D(small_zero)());
                    if (in_place) { /* codes of 4 bits: those of the high ones count 16 times */
                        sum[a][b] = LB_V(add_i)(sum[a][b], bits == 4 ? LB_V(sll_i)(v, 4) : v);
                    } else if (bits < 8) {
                        sum[a][b] = LB_V(add_i)(sum[a][b], LB_V(add_i)(v, v));
                    }
                    few[a][b] = LB_D(small_zero)();
                }
            }
        }
        LB_UNROLL
        for (size_t b = 0; b < tokens; b++) {
            const LB_F s = LB_V(set1)(scale[b]);
            LB_UNROLL
            for (size_t a = 0; a < tiles; a++) {
                f[a][b] = LB_V(fma)(s, LB_V(to_float)(sum[a][b]), f[a][b]);
            }
        }
    }
    if (t == 0 && x->fetch) {
        x->fetch->at = ahead;
    }
    const size_t last = x->n - t - 1; /* rows that are not there take the place of the last one, and leave it to that */
    if (w->row_scale) {
        LB_UNROLL
        for (size_t a = 0; a < tiles; a++) {
            const size_t at = i + a * second;
            const LB_F r = LB_V(load_bf16)(w->row_scale + at * LB_TILE_ROWS);
            const float *base = w->base + t * w->base_stride + at / 4;
            LB_UNROLL
            for (size_t b = 0; b < tokens; b++) {
                f[a][b] = LB_V(fma)(f[a][b], r, LB_V(set1)(base[(b < last ? b : last) * w->base_stride]));
            }
        }
    }
    LB_UNROLL
    for (size_t a = 0; a < tiles; a++) {
        float *to = y + t * y_stride + (i + a) * LB_TILE_ROWS;
        if (a && !second) {
            break;
        }
        LB_UNROLL
        for (size_t b = 0; b < tokens && add; b++) {
            f[a][b] = LB_V(add)(LB_V(load)(to + (b < last ? b : last) * y_stride), f[a][b]);
        }
        LB_UNROLL
        for (size_t b = tokens; b-- > 0;) {
            LB_V(store)(to + (b < last ? b : last) * y_stride, f[a][b]);
        }
    }
}

/* Rows that are not there are computed nevertheless, which is no slower than memory. q2 goes row by row, for the library's size. */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_kv_all_)(const lb_kv_matrix *w, const lb_input *x, float *y, size_t y_stride,
                                                     bool add, const int bits)
{
    const size_t tiles = bits == 2 ? 1 : LB_T_TILES, tokens = bits == 2 ? 1 : LB_T_TOKENS;
    const int32_t bias = bits == 8 ? LB_T_BIAS : bits == 2 ? 3 : LB_T_IN_PLACE ? 8 * 15 : 15;
    int32_t zero[LB_KV_MAX_K / LB_KV_GROUP * 4];
    float scale[LB_KV_MAX_K / LB_KV_GROUP * 4];
    for (size_t t = 0; t < x->n; t += tokens) {
        if (t % 4 == 0) {
            LB_ROLL
            for (size_t g = 0, at = t * x->group_stride; g < (w->k + LB_KV_GROUP - 1) / LB_KV_GROUP * 4; g++, at++) {
                zero[g] = (int32_t)(0u - (uint32_t)bias * (uint32_t)x->sum[at]); /* |bias * sum| <= 128 * 64 * 127 if there is such a row */
                scale[g] = x->scale[at] * (LB_T_IN_PLACE && bits == 4 ? 0.125f : 1.0f);
            }
        }
        for (size_t i = 0; i < w->n_tiles; i += tiles) {
            LB_N(lb_t_kv_block_)(w, i, x, t, zero + t % 4, scale + t % 4, y, y_stride, add, bits, tiles, tokens);
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
    for (size_t t = 0; t < n; t += LB_T_TOKENS) {
        const size_t last = n - t - 1; /* rows that are not there are the last one again */
        LB_F acc[LB_T_TOKENS];
        LB_UNROLL
        for (size_t b = 0; b < LB_T_TOKENS; b++) {
            acc[b] = LB_V(set1)(0.0f);
        }
        LB_ROLL
        for (size_t c = 0; c < w; c++) {
            const LB_F m = LB_V(load_f16)(means + c * LB_TILE_ROWS);
            LB_UNROLL
            for (size_t b = 0; b < LB_T_TOKENS; b++) {
                acc[b] = LB_V(fma)(m, LB_V(load)(x + (t + (b < last ? b : last)) * w * LB_TILE_ROWS + c * LB_TILE_ROWS), acc[b]);
            }
        }
        LB_UNROLL
        for (size_t b = 0; b < LB_T_TOKENS; b++) {
            float y[LB_TILE_ROWS], *to = base + 4 * (t + (b < last ? b : last));
            LB_V(store)(y, acc[b]);
            for (size_t j = 0; j < 4; j++) {
                to[j] = ((y[j] + y[4 + j]) + y[8 + j]) + y[12 + j];
            }
        }
    }
}

LB_T_TARGET void LB_N(lb_kv_quantize_)(const float *x, size_t stride, size_t n_rows, const uint16_t *w, size_t n, const lb_kv_codes *to,
                                       lb_fetch *fetch)
{
    const LB_I magnitude = LB_V(set1_i)(0x7fffffff);
    for (size_t r = 0; r < n_rows; r++, x += stride) {
        int8_t *q = to->q + r / 4 * 4 * to->q_stride + r % 4 * 4;
        float *scale = to->scale + r / 4 * 4 * to->group_stride + r % 4;
        int32_t *sum = to->sum + (scale - to->scale);
        const uint16_t *factor = w ? w : lb_kv_ones;
        lb_fetch_piece(fetch);
        for (size_t i = 0; i < n; i += LB_KV_GROUP, scale += 4, sum += 4, q += 4 * LB_KV_GROUP) {
            LB_F v[4];
            LB_I m = LB_V(set1_i)(0), total = m;
            LB_UNROLL
            for (size_t j = 0; j < 4; j++) {
                v[j] = LB_V(mul)(LB_V(load)(x + i + 16 * j), LB_V(load_bf16)(factor));
                factor += w ? 16 : 0;
                m = LB_V(max_i)(m, LB_V(and_i)(LB_V(bits)(v[j]), magnitude));
            }
            const uint32_t amax_bits = (uint32_t)LB_V(max_all_i)(m);
            const float amax = lb_bits_f32(amax_bits);
            float inverse = 127.0f / amax, unit = amax * (1.0f / 127.0f);
            if (LB_UNLIKELY(!(amax >= LB_KV_TINY && amax_bits < 0x7f800000))) {
                unit = amax_bits < 0x7f800000 ? 0.0f : lb_bits_f32(0x7fc00000);
                inverse = 0.0f;
                LB_UNROLL
                for (size_t j = 0; j < 4; j++) {
                    v[j] = LB_V(set1)(0.0f);
                }
            }
            LB_UNROLL
            for (size_t j = 0; j < 4; j++) {
                const LB_I c = LB_V(to_int)(LB_V(mul)(v[j], LB_V(set1)(inverse)));
                int32_t quad[4]; /* of 4 codes each; those of other rows lie between */
                LB_V(store_s8)((int8_t *)quad, c);
                LB_UNROLL
                for (size_t k = 0; k < 4; k++) {
                    memcpy(q + 64 * j + 16 * k, &quad[k], sizeof quad[k]);
                }
                total = LB_V(add_i)(total, c);
            }
            *scale = unit;
            *sum = LB_V(sum_i)(total);
        }
    }
}

#if !defined(LB_T_OWN_SOFTMAX)
LB_T_TARGET void LB_N(lb_kv_softmax_)(float *s, size_t stride, size_t n_rows, const uint16_t *w, const lb_kv_codes *to, float *max, float *sum,
                                      lb_fetch *fetch)
{
    const LB_F log2e = LB_V(set1)(LB_EXP_LOG2E), magic = LB_V(set1)(LB_EXP2_MAGIC);
    for (size_t r = 0; r < n_rows; r++) {
        float *row = s + r * stride;
        LB_F m = LB_V(set1)(-INFINITY), lane = LB_V(set1)(0.0f);
        LB_ROLL
        for (size_t i = 0; i < LB_KV_CHUNK; i += 16) {
            m = LB_V(max)(LB_V(load)(row + i), m);
        }
        max[r] = LB_V(max_all)(m);
        m = LB_V(set1)(max[r]);
        lb_fetch_piece(fetch);
        LB_ROLL
        for (size_t i = 0; i < LB_KV_CHUNK; i += 16) {
            const LB_F x = LB_V(max)(LB_V(set1)(LB_EXP_CODE_LO), LB_V(sub)(LB_V(load)(row + i), m)), t = LB_V(fma)(x, log2e, magic);
            const LB_F f = LB_V(fma)(x, log2e, LB_V(sub)(magic, t));
            LB_F p = LB_V(fma)(LB_V(set1)(LB_EXP_CODE_C3), f, LB_V(set1)(LB_EXP_CODE_C2));
            p = LB_V(fma)(p, f, LB_V(set1)(LB_EXP_CODE_C1));
            p = LB_V(fma)(p, f, LB_V(set1)(1.0f));
            p = LB_V(mul)(p, LB_V(from_bits)(LB_V(sll_i)(LB_V(bits)(t), 23)));
            LB_V(store)(row + i, p);
            lane = LB_V(add)(lane, p);
        }
        sum[r] = LB_V(sum)(lane);
    }
    LB_N(lb_kv_quantize_)(s, stride, n_rows, w, LB_KV_CHUNK, to, fetch);
}
#endif

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
#undef LB_T_IN_PLACE
#undef LB_T_OWN_SOFTMAX
#undef LB_T_AHEAD
