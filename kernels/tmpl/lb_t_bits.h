/*
 * Template: matrix products of q6, q5, q3, q2. A part of lb_t_int.h, which includes it and whose parameters and names it
 * uses. A format is a function that decodes the 8 quads of one group (all shifts and masks of bytes: lb_kernels.h says where
 * bits are), its shift, and how many quads of its codes an accumulator of small_dot takes.
 */
#define LB_T_AND(v, mask) LB_V(and_b)(v, LB_V(set1_b)(mask))
#define LB_T_PART(v, n, mask) LB_T_AND(LB_V(srl_b)(v, n), mask)
#define LB_T_JOIN(sum, v, n, mask) LB_V(or_and_b)(sum, LB_V(srl_b)(v, n), LB_V(set1_b)(mask))

LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_quads_q6_)(LB_B c[8], const uint8_t *codes, size_t bits)
{
    (void)bits;
    LB_UNROLL
    for (size_t i = 0; i < 8; i += 4, codes += 192) {
        const LB_B v0 = LB_V(load_b)(codes), v1 = LB_V(load_b)(codes + 64), v2 = LB_V(load_b)(codes + 128);
        c[i] = LB_T_AND(v0, 63);
        c[i + 1] = LB_T_AND(v1, 63);
        c[i + 2] = LB_T_AND(v2, 63);
        c[i + 3] = LB_T_JOIN(LB_T_JOIN(LB_T_PART(v2, 6, 3), v1, 4, 12), v0, 2, 48);
    }
}

LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_quads_q5_)(LB_B c[8], const uint8_t *codes, size_t bits)
{
    (void)bits;
    LB_B v[5];
    LB_UNROLL
    for (size_t i = 0; i < 5; i++) {
        v[i] = LB_V(load_b)(codes + 64 * i);
        c[i] = LB_T_AND(v[i], 31);
    }
    c[5] = LB_T_JOIN(LB_T_PART(v[0], 5, 7), v[1], 2, 24);
    c[6] = LB_T_JOIN(LB_T_PART(v[2], 5, 7), v[3], 2, 24);
    c[7] = LB_T_JOIN(LB_T_JOIN(LB_T_PART(v[4], 5, 7), v[1], 4, 8), v[3], 3, 16);
}

LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_quads_q3_)(LB_B c[8], const uint8_t *codes, size_t bits)
{
    (void)bits;
    LB_B v[3];
    LB_UNROLL
    for (size_t i = 0; i < 3; i++) {
        v[i] = LB_V(load_b)(codes + 64 * i);
        c[2 * i] = LB_T_AND(v[i], 7);
        c[2 * i + 1] = LB_T_PART(v[i], 3, 7);
    }
    c[6] = LB_T_JOIN(LB_T_PART(v[0], 6, 3), v[2], 4, 4);
    c[7] = LB_T_JOIN(LB_T_PART(v[1], 6, 3), v[2], 5, 4);
}

LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_quads_q2_)(LB_B c[8], const uint8_t *codes, size_t bits)
{
    (void)bits;
    LB_UNROLL
    for (size_t i = 0; i < 8; i += 4) {
        const LB_B v = LB_V(load_b)(codes + 16 * i);
        c[i] = LB_T_AND(v, 3);
        c[i + 1] = LB_T_PART(v, 2, 3);
        c[i + 2] = LB_T_PART(v, 4, 3);
        c[i + 3] = LB_T_PART(v, 6, 3);
    }
}

#undef LB_T_PART
#undef LB_T_JOIN

/* scale() of 16 rows */
LB_ALWAYS_INLINE LB_T_TARGET LB_F LB_N(lb_t_group_scale_)(const uint8_t *p)
{
    return LB_V(from_bits)(LB_V(add_i)(LB_V(sll_i)(LB_V(load_u8)(p), 17), LB_V(set1_i)(124 << 23)));
}

/* ---------------------------------------------------------------- one token */

/* Sum of (code << shift) * x over one group: of its quads in turn. quads * largest code * 127 * 2 fits 16 bits. */
LB_ALWAYS_INLINE LB_T_TARGET LB_I LB_N(lb_t_bits_dot_)(void (*decode)(LB_B c[8], const uint8_t *codes, size_t bits),
                                                       const uint8_t *codes, const int8_t *q, const int shift,
                                                       const size_t quads)
{
    LB_B c[8];
    decode(c, codes, 0);
    LB_I dot = LB_V(set1_i)(0);
    LB_UNROLL
    for (size_t i = 0; i < 8; i += quads) {
        LB_D(small) a = LB_D(small_zero)(), b = a; /* two chains */
        LB_UNROLL
        for (size_t j = i; j < i + quads; j += 2) {
            a = LB_D(small_dot)(a, c[j], LB_V(quad)(q + 4 * j));
            b = LB_D(small_dot)(b, c[j + 1], LB_V(quad)(q + 4 * j + 4));
        }
        const LB_I s = LB_D(small_sum)(a, b);
        dot = i == 0 ? s : LB_V(add_i)(dot, s);
    }
    return LB_N(lb_t_shifted_)(dot, shift);
}

/*
 * q2: odd quads stay where they are in their nibble, which makes them 4 * code; then 4 * sum of even quads + sum of odd quads
 * has the wanted factor 4 and two of four shifts are saved. 4 quads * 12 * 127 * 2 = 12192 fits 16 bits.
 */
LB_ALWAYS_INLINE LB_T_TARGET LB_I LB_N(lb_t_group_q2_)(const uint8_t *codes, const int8_t *q)
{
    LB_D(small) even = LB_D(small_zero)(), odd = even;
    LB_UNROLL
    for (size_t i = 0; i < 2; i++, codes += 64, q += 16) {
        const LB_B v = LB_V(load_b)(codes), u = LB_V(srl_b)(v, 4);
        even = LB_D(small_dot)(even, LB_T_AND(v, 3), LB_V(quad)(q));
        odd = LB_D(small_dot)(odd, LB_T_AND(v, 12), LB_V(quad)(q + 4));
        even = LB_D(small_dot)(even, LB_T_AND(u, 3), LB_V(quad)(q + 8));
        odd = LB_D(small_dot)(odd, LB_T_AND(u, 12), LB_V(quad)(q + 12));
    }
    const LB_I a = LB_D(small_sum)(even, LB_D(small_zero)()), b = LB_D(small_sum)(odd, LB_D(small_zero)());
    return LB_V(add_i)(LB_V(sll_i)(a, 2), b);
}

LB_ALWAYS_INLINE LB_T_TARGET LB_I LB_N(lb_t_group_q3_)(const uint8_t *codes, const int8_t *q)
{
    return LB_N(lb_t_bits_dot_)(LB_N(lb_t_quads_q3_), codes, q, 2, 8);
}

LB_ALWAYS_INLINE LB_T_TARGET LB_I LB_N(lb_t_group_q5_)(const uint8_t *codes, const int8_t *q)
{
    return LB_N(lb_t_bits_dot_)(LB_N(lb_t_quads_q5_), codes, q, 1, 4); /* 4 * 31 * 127 * 2 = 31496 */
}

LB_ALWAYS_INLINE LB_T_TARGET LB_I LB_N(lb_t_group_q6_)(const uint8_t *codes, const int8_t *q)
{
    return LB_N(lb_t_bits_dot_)(LB_N(lb_t_quads_q6_), codes, q, 0, 2); /* 2 * 63 * 127 * 2 = 32004 */
}

/* `group` is inlined; bits is a constant. */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_bits_gemv_)(LB_I (*group)(const uint8_t *codes, const int8_t *q),
                                                        const uint8_t *table, const size_t bits, const void *w,
                                                        size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x,
                                                        float *y, bool add)
{
    const size_t n_groups = lb_round_up64(k) / LB_GROUP, step = tile_bytes / n_groups;
    lb_ahead ahead = lb_ahead_of((const uint8_t *)w + lb_bits_codes_at(k), LB_T_BITS_AHEAD);
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *tile = (const uint8_t *)w + i * tile_bytes;
        const uint8_t *groups = tile + LB_Q_SCALES_AT, *codes = tile + lb_bits_codes_at(k);
        ahead.until = codes + LB_T_BITS_AHEAD;
        const int8_t *q = x->q;
        LB_F acc = LB_V(set1)(0.0f);
        for (size_t g = 0; g < n_groups; g++) {
            lb_ahead_step(&ahead, step, bits);
            const LB_I zero = LB_V(mul_s16)(LB_V(lookup)(groups, table), LB_V(set1_i)(x->sum[g]));
            const LB_I isum = LB_V(sub_i)(group(codes, q), zero);
            const LB_F s = LB_V(mul)(LB_N(lb_t_group_scale_)(groups), LB_V(set1)(x->scale[g]));
            acc = LB_V(fma)(s, LB_V(to_float)(isum), acc);
            groups += LB_TILE_ROWS;
            codes += 64 * bits;
            q += LB_GROUP;
        }
        LB_N(lb_t_finish_)(acc, tile, y + i * LB_TILE_ROWS, add);
    }
}

/* ---------------------------------------------------------------- many tokens */

#if LB_T_SMALL_TOKENS

/* Codes as they are, zero points beside them */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_bits_small_)(void (*decode)(LB_B c[8], const uint8_t *codes, size_t bits),
                                                         const uint8_t *table, size_t bits, lb_panel *panel,
                                                         const uint8_t *tile, size_t k, size_t g, size_t n)
{
    const uint8_t *groups = tile + LB_Q_SCALES_AT + g * LB_TILE_ROWS, *codes = tile + lb_bits_codes_at(k) + g * 64 * bits;
    for (size_t i = 0; i < n; i++) {
        LB_B c[8];
        decode(c, codes + i * 64 * bits, bits);
        LB_V(store)(panel->scale + i * LB_TILE_ROWS, LB_N(lb_t_group_scale_)(groups + i * LB_TILE_ROWS));
        LB_V(store_i)(panel->zero + i * LB_TILE_ROWS, LB_V(lookup)(groups + i * LB_TILE_ROWS, table));
        LB_UNROLL
        for (size_t j = 0; j < 8; j++) {
            LB_V(store_b)(panel->code + i * 512 + 64 * j, c[j]);
        }
    }
}

#define LB_T_BITS_GEMM(name, bits, shift, quads)                                                                      \
    LB_T_SMALL(name, shift, quads)                                                                                    \
    static LB_T_TARGET void LB_N(lb_t_small_##name##_)(lb_panel *panel, const uint8_t *tile, size_t k, size_t g,      \
                                                       size_t n)                                                      \
    {                                                                                                                 \
        LB_N(lb_t_bits_small_)(LB_N(lb_t_quads_##name##_), lb_bits_##name.zero, bits, panel, tile, k, g, n);          \
    }
#define LB_T_BITS_GEMM_LUT(name, bits, shift, quads)                                                                  \
    LB_T_SMALL(name, shift, quads)                                                                                    \
    static LB_T_TARGET void LB_N(lb_t_small_##name##_)(lb_panel *panel, const uint8_t *tile, size_t k, size_t g,      \
                                                       size_t n)                                                      \
    {                                                                                                                 \
        LB_N(lb_t_lut_small_)(lb_bits_##name.zero, bits, panel, tile, k, g, n);                                       \
    }
#define LB_T_BITS_RUN(name)                                                                                           \
    LB_N(lb_t_gemm_small_)(LB_N(lb_t_small_##name##_), LB_N(lb_t_tokens_##name##_), w, tile_bytes, n_tiles, k, x, y,  \
                           y_stride, add, scratch)

#else

/* (code << shift) - zero + 128; the largest weights are +-63 */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_bits_panel_)(void (*decode)(LB_B c[8], const uint8_t *codes, size_t bits),
                                                         const uint8_t *table, size_t bits, int shift, lb_panel *panel,
                                                         const uint8_t *tile, size_t tile_bytes, size_t tiles, size_t k,
                                                         size_t g, size_t n)
{
    for (size_t t = 0; t < tiles; t++, tile += tile_bytes) {
        const uint8_t *groups = tile + LB_Q_SCALES_AT + g * LB_TILE_ROWS, *codes = tile + lb_bits_codes_at(k) + g * 64 * bits;
        uint8_t *out = panel->code + t * LB_PANEL_BYTES;
        float *scales = panel->scale + t * LB_PANEL_GROUPS * LB_TILE_ROWS;
        for (size_t i = 0; i < n; i++) {
            LB_B c[8];
            decode(c, codes + i * 64 * bits, bits);
            LB_V(store)(scales + i * LB_TILE_ROWS, LB_N(lb_t_group_scale_)(groups + i * LB_TILE_ROWS));
            const LB_I zero = LB_V(lookup)(groups + i * LB_TILE_ROWS, table);
            const LB_B offset = LB_V(sub_b)(LB_V(set1_b)(128), LB_V(spread)(zero));
            LB_UNROLL
            for (size_t j = 0; j < 8; j++) {
                LB_B v = c[j];
                v = shift >= 1 ? LB_V(add_b)(v, v) : v;
                v = shift >= 2 ? LB_V(add_b)(v, v) : v;
                LB_V(store_b)(out + i * 512 + 64 * j, LB_V(add_b)(v, offset));
            }
        }
    }
}

#define LB_T_BITS_GEMM(name, bits, shift, quads)                                                                      \
    static LB_T_TARGET LB_N(lb_t_chunk_)                                                                              \
        LB_N(lb_t_decode_##name##_)(lb_panel *panel, const uint8_t *tile, size_t tile_bytes, size_t tiles, size_t k,  \
                                    size_t g, size_t n)                                                               \
    {                                                                                                                 \
        LB_N(lb_t_bits_panel_)(LB_N(lb_t_quads_##name##_), lb_bits_##name.zero, bits, shift, panel, tile, tile_bytes, \
                               tiles, k, g, n);                                                                       \
        return (LB_N(lb_t_chunk_)){panel->code, LB_PANEL_BYTES, false};                                               \
    }
#define LB_T_BITS_GEMM_LUT(name, bits, shift, quads)                                                                  \
    static LB_T_TARGET LB_N(lb_t_chunk_)                                                                              \
        LB_N(lb_t_decode_##name##_)(lb_panel *panel, const uint8_t *tile, size_t tile_bytes, size_t tiles, size_t k,  \
                                    size_t g, size_t n)                                                               \
    {                                                                                                                 \
        LB_N(lb_t_lut_panel_)(lb_bits_##name.zero, bits, shift, panel, tile, tile_bytes, tiles, k, g, n);             \
        return (LB_N(lb_t_chunk_)){panel->code, LB_PANEL_BYTES, false};                                               \
    }
#define LB_T_BITS_RUN(name)                                                                                           \
    LB_N(lb_t_gemm_)(LB_N(lb_t_decode_##name##_), w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch)

#endif

#if LB_T_SHARE
#define LB_T_BITS_GEMV(name, bits)                                                                                    \
    LB_T_TARGET void LB_N(lb_gemv_##name##_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k,              \
                                             const lb_input *x, float *y, size_t y_stride, bool add, void *scratch)   \
    {                                                                                                                 \
        LB_T_BITS_RUN(name);                                                                                          \
    }
#else
#define LB_T_BITS_GEMV(name, bits)                                                                                    \
    LB_T_TARGET void LB_N(lb_gemv_##name##_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k,              \
                                             const lb_input *x, float *y, size_t y_stride, bool add, void *scratch)   \
    {                                                                                                                 \
        (void)scratch;                                                                                                \
        (void)y_stride;                                                                                               \
        LB_N(lb_t_bits_gemv_)(LB_N(lb_t_group_##name##_), lb_bits_##name.zero, bits, w, tile_bytes, n_tiles, k, x, y, \
                              add);                                                                                   \
    }
#endif

#define LB_T_BITS(name, bits, shift, quads)                                                                           \
    LB_T_BITS_GEMM(name, bits, shift, quads)                                                                          \
    LB_T_BITS_GEMV(name, bits)                                                                                        \
    LB_T_TARGET void LB_N(lb_gemm_##name##_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k,              \
                                             const lb_input *x, float *y, size_t y_stride, bool add, void *scratch)   \
    {                                                                                                                 \
        if (x->n <= LB_T_DIRECT && !LB_T_SHARE) {                                                                     \
            LB_N(lb_t_direct_)(LB_N(lb_gemv_##name##_), w, tile_bytes, n_tiles, k, x, y, y_stride, add);              \
            return;                                                                                                   \
        }                                                                                                             \
        LB_T_BITS_RUN(name);                                                                                          \
    }

LB_T_BITS(q6, 6, 0, 2)
#if LB_T_SHARE
LB_T_BITS(q5, 5, 1, 2)
#else
LB_T_BITS(q5, 5, 1, 4)
#endif
LB_T_BITS(q3, 3, 2, 8)
LB_T_BITS(q2, 2, 2, 8)

#include "lb_t_lut.h"
#if LB_T_BYTES
#include "lb_t_bytes.h"
#endif

#undef LB_T_AND
#undef LB_T_BITS_GEMM
#undef LB_T_BITS_GEMM_LUT
#undef LB_T_BITS_GEMV
#undef LB_T_BITS_RUN
#undef LB_T_BITS
