/*
 * Template: matrix products of the trellis formats. lb_t_int.h includes it (with LB_T_TCQ), so that its
 * parameters are those; or alone, with LB_T_TCQ_ALONE, for the products with one token only. LB_T_WIDE:
 * lookups take 6 bits of an index whose other bits may be anything (`permute`), so that most nibbles need
 * neither mask nor shift; else 4 bits in bytes 0..15 (`lookup_b`).
 *
 * A line of codes is a b vector: lane (row r, column b of a quad) of consecutive lines is one stream, so that
 * a step of 64 streams is done at once, and what comes before a line's bits is in the same lane of the line
 * before. A weight is A[nibble] + B[newer nibble]; nibbles lie at every step, each is looked up once in
 * either table, those that lie across two lines as
 *     mix n: the low n bits of this line's low nibble, the high 4 - n bits of the last line's high nibble
 * which is the nibble rotated, and is looked up in a table rotated likewise. With h = the line's high nibble,
 * m = its middle (bits 2 to 5), l = its low one, ' = of the line before:
 *     tcq2, four steps of a line   A[m'] + B[mix 2]   A[h'] + B[l]   A[mix 2] + B[m]   A[l] + B[h]
 *     tcq4, two steps of a line    A[h'] + B[l]       A[l] + B[h]
 *     tcq3, eight steps            A of each line with 2 bits a step: mix 2, l, m, h;  B of the line with 1
 *                                  bit a step: mix 1, mix 2, mix 3, bits 0-3, 1-4, 2-5, 3-6, 4-7
 * Weights are biased: by LB_TCQ_BIAS, which makes them small codes, or by 128 in a panel for `dot`.
 */
#ifdef LB_T_TCQ_ALONE
#define LB_V(op) LB_CAT4(lb_v_, LB_TV, _, op)
#define LB_D(op) LB_CAT4(lb_v_, LB_TD, _, op)
#define LB_N(name) LB_CAT2(name, LB_T)
#define LB_F LB_V(f)
#define LB_I LB_V(i)
#define LB_B LB_V(b)
#endif

#if LB_T_WIDE
#define LB_T_AT(table, index) lb_v_avx512vbmi_permute(table, index)
#define LB_T_LOW(x) (x)
#define LB_T_HIGH(x) LB_V(srl_b)(x, 4)
#define LB_T_FROM(x, n) ((n) < 3 ? (x) : LB_V(srl_b)(x, n))
#else
#define LB_T_AT(table, index) LB_V(lookup_b)(table, index)
#define LB_T_LOW(x) LB_V(low_nibbles)(x)
#define LB_T_HIGH(x) LB_V(high_nibbles)(x)
#define LB_T_FROM(x, n) LB_V(and_b)(LB_V(srl_b)(x, n), LB_V(set1_b)(15))
#endif

/* A table: as it is, for the nibble from bit 1 or 2 on, and rotated for mix 1, 2, 3. What is not used costs
 * nothing. */
typedef struct LB_N(lb_t_table_) {
    LB_B at0, at1, at2, mix1, mix2, mix3;
} LB_N(lb_t_table_);

LB_ALWAYS_INLINE LB_T_TARGET LB_N(lb_t_table_) LB_N(lb_t_table_of_)(const int8_t *entries, uint8_t bias)
{
    static const uint8_t rotated[3][16] = {{0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15},
                                           {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15},
                                           {0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15}};
    LB_N(lb_t_table_) t;
    t.at0 = LB_V(add_b)(LB_V(load_table)(entries), LB_V(set1_b)(bias));
    t.mix1 = LB_V(lookup_b)(t.at0, LB_V(load_table)(rotated[0]));
    t.mix2 = LB_V(lookup_b)(t.at0, LB_V(load_table)(rotated[1]));
    t.mix3 = LB_V(lookup_b)(t.at0, LB_V(load_table)(rotated[2]));
#if LB_T_WIDE
    t.at1 = lb_v_avx512vbmi_widen_table(t.at0, 1);
    t.at2 = lb_v_avx512vbmi_widen_table(t.at0, 2);
#else
    t.at1 = t.at2 = t.at0;
#endif
    return t;
}

typedef struct LB_N(lb_t_tables_) {
    LB_N(lb_t_table_) a, b;
} LB_N(lb_t_tables_);

LB_ALWAYS_INLINE LB_T_TARGET LB_N(lb_t_tables_) LB_N(lb_t_tcq_tables_)(const unsigned bits, uint8_t bias)
{
    static const int8_t entries[3][2][16] = {
        {LB_TCQ2_A, LB_TCQ2_B}, {LB_TCQ3_A, LB_TCQ3_B}, {LB_TCQ4_A, LB_TCQ4_B}};
    return (LB_N(lb_t_tables_)){LB_N(lb_t_table_of_)(entries[bits - 2][0], (uint8_t)(bias / 2)),
                                LB_N(lb_t_table_of_)(entries[bits - 2][1], (uint8_t)(bias / 2))};
}

/* What the next line needs of the last one */
typedef struct LB_N(lb_t_last_) {
    LB_B high;         /* nibble, of the line with 2 or 4 bits a step */
    LB_B high1;        /* tcq3: of the line with 1 bit a step */
    LB_B a_mid, a_high; /* looked up in A */
} LB_N(lb_t_last_);

/* `before` is where the group before begins: the last group for the first */
LB_ALWAYS_INLINE LB_T_TARGET LB_N(lb_t_last_) LB_N(lb_t_tcq_last_)(const unsigned bits,
                                                                   const LB_N(lb_t_tables_) *t,
                                                                   const uint8_t *before)
{
    const LB_B x = LB_V(load_b)(before + (bits == 4 ? 192 : 64));
    LB_N(lb_t_last_) last;
    last.high = LB_T_HIGH(x);
    last.high1 = bits == 3 ? LB_T_HIGH(LB_V(load_b)(before + 128)) : last.high;
    last.a_mid = LB_T_AT(t->a.at2, LB_T_FROM(x, 2));
    last.a_high = LB_T_AT(t->a.at0, last.high);
    return last;
}

/* The weights of one group, 8 quads */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_tcq_group_)(const unsigned bits, const LB_N(lb_t_tables_) *t,
                                                        const uint8_t *codes,
                                                        LB_N(lb_t_last_) *last, LB_B *w)
{
    if (bits == 2) {
        LB_UNROLL
        for (size_t l = 0; l < 2; l++) {
            const LB_B x = LB_V(load_b)(codes + 64 * l);
            const LB_B low = LB_T_LOW(x), mid = LB_T_FROM(x, 2), high = LB_T_HIGH(x),
                mix = LB_V(mix)(last->high, low, 12);
            w[4 * l] = LB_V(add_b)(last->a_mid, LB_T_AT(t->b.mix2, mix));
            w[4 * l + 1] = LB_V(add_b)(last->a_high, LB_T_AT(t->b.at0, low));
            w[4 * l + 2] = LB_V(add_b)(LB_T_AT(t->a.mix2, mix), LB_T_AT(t->b.at2, mid));
            w[4 * l + 3] = LB_V(add_b)(LB_T_AT(t->a.at0, low), LB_T_AT(t->b.at0, high));
            last->a_mid = LB_T_AT(t->a.at2, mid);
            last->a_high = LB_T_AT(t->a.at0, high);
            last->high = high;
        }
    } else if (bits == 4) {
        LB_UNROLL
        for (size_t l = 0; l < 4; l++) {
            const LB_B x = LB_V(load_b)(codes + 64 * l);
            const LB_B low = LB_T_LOW(x), high = LB_T_HIGH(x);
            w[2 * l] = LB_V(add_b)(last->a_high, LB_T_AT(t->b.at0, low));
            w[2 * l + 1] = LB_V(add_b)(LB_T_AT(t->a.at0, low), LB_T_AT(t->b.at0, high));
            last->a_high = LB_T_AT(t->a.at0, high);
        }
    } else {
        const LB_B y = LB_V(load_b)(codes + 128);
        const LB_B low1 = LB_T_LOW(y), high1 = LB_T_HIGH(y);
        LB_B b[8];
        b[0] = LB_T_AT(t->b.mix1, LB_V(mix)(last->high1, low1, 14));
        b[1] = LB_T_AT(t->b.mix2, LB_V(mix)(last->high1, low1, 12));
        b[2] = LB_T_AT(t->b.mix3, LB_V(mix)(last->high1, low1, 8));
        b[3] = LB_T_AT(t->b.at0, low1);
        b[4] = LB_T_AT(t->b.at1, LB_T_FROM(y, 1));
        b[5] = LB_T_AT(t->b.at2, LB_T_FROM(y, 2));
        b[6] = LB_T_AT(t->b.at0, LB_T_FROM(y, 3));
        b[7] = LB_T_AT(t->b.at0, high1);
        last->high1 = high1;
        LB_UNROLL
        for (size_t l = 0; l < 2; l++) {
            const LB_B x = LB_V(load_b)(codes + 64 * l);
            const LB_B low = LB_T_LOW(x), high = LB_T_HIGH(x);
            w[4 * l] = LB_V(add_b)(LB_T_AT(t->a.mix2, LB_V(mix)(last->high, low, 12)), b[4 * l]);
            w[4 * l + 1] = LB_V(add_b)(LB_T_AT(t->a.at0, low), b[4 * l + 1]);
            w[4 * l + 2] = LB_V(add_b)(LB_T_AT(t->a.at2, LB_T_FROM(x, 2)), b[4 * l + 2]);
            w[4 * l + 3] = LB_V(add_b)(LB_T_AT(t->a.at0, high), b[4 * l + 3]);
            last->high = high;
        }
    }
}

/* start + the sum of code * x over a group */
LB_ALWAYS_INLINE LB_T_TARGET LB_I LB_N(lb_t_tcq_dot_)(const LB_B v[8], const int8_t *q, LB_I start)
{
#if LB_T_SMALL_TOKENS
    LB_UNROLL
    for (size_t j = 0; j < 8; j += LB_TCQ_QUADS) {
        const LB_D(small) a = LB_D(small_dot)(LB_D(small_zero)(), v[j], LB_V(quad)(q + 4 * j));
        const LB_D(small) b = LB_D(small_dot)(LB_D(small_zero)(), v[j + 1], LB_V(quad)(q + 4 * j + 4));
        start = LB_V(add_i)(start, LB_D(small_sum)(a, b));
    }
    return start;
#else /* its accumulators are of 32 bits */
    LB_D(small) a = start, b = LB_D(small_zero)();
    LB_UNROLL
    for (size_t j = 0; j < 8; j += 2) {
        a = LB_D(small_dot)(a, v[j], LB_V(quad)(q + 4 * j));
        b = LB_D(small_dot)(b, v[j + 1], LB_V(quad)(q + 4 * j + 4));
    }
    return LB_D(small_sum)(a, b);
#endif
}

LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_gemv_tcq_)(const unsigned bits, const void *w, size_t tile_bytes,
                                                       size_t n_tiles,
                                                       size_t k, const lb_input *x, float *y, bool add)
{
    const size_t n_groups = lb_round_up64(k) / LB_GROUP, group_bytes = 64 * bits;
    const LB_N(lb_t_tables_) tables = LB_N(lb_t_tcq_tables_)(bits, LB_TCQ_BIAS);
    lb_ahead ahead = lb_ahead_of((const uint8_t *)w + LB_TCQ_CODES_AT, LB_T_AHEAD);
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *tile = (const uint8_t *)w + i * tile_bytes, *codes = tile + LB_TCQ_CODES_AT;
        LB_N(lb_t_last_) last = LB_N(lb_t_tcq_last_)(bits, &tables, codes + (n_groups - 1) * group_bytes);
        ahead.until = codes + LB_T_AHEAD;
        /* The next tile begins with its last lines */
        __builtin_prefetch(tile + 2 * tile_bytes - 64);
        if (bits == 3) {
            __builtin_prefetch(tile + 2 * tile_bytes - 128);
        }
        const int8_t *q = x->q;
        LB_F acc = LB_V(set1)(0.0f);
        for (size_t g = 0; g < n_groups; g++) {
            lb_ahead_step(&ahead, group_bytes, bits);
            LB_B v[8];
            LB_N(lb_t_tcq_group_)(bits, &tables, codes, &last, v);
            const LB_I isum = LB_N(lb_t_tcq_dot_)(v, q, LB_V(set1_i)(-LB_TCQ_BIAS * x->sum[g]));
            acc = LB_V(fma)(LB_V(set1)(x->scale[g]), LB_V(to_float)(isum), acc);
            codes += group_bytes;
            q += LB_GROUP;
        }
        const LB_F sum = LB_V(mul)(acc, LB_V(load)((const float *)(const void *)tile));
        float *to = y + i * LB_TILE_ROWS;
        LB_V(store)(to, add ? LB_V(add)(LB_V(load)(to), sum) : sum);
    }
}

#if !LB_T_SHARE
#define LB_T_GEMV_TCQ(bits)                                                                                  \
    LB_T_TARGET void LB_N(lb_gemv_tcq##bits##_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k,  \
                                                const lb_input *x, float *y, size_t y_stride, bool add,      \
                                                void *scratch)                                               \
    {                                                                                                        \
        (void)y_stride;                                                                                      \
        (void)scratch;                                                                                       \
        LB_N(lb_t_gemv_tcq_)(bits, w, tile_bytes, n_tiles, k, x, y, add);                                    \
    }
LB_T_GEMV_TCQ(2)
LB_T_GEMV_TCQ(3)
LB_T_GEMV_TCQ(4)
#undef LB_T_GEMV_TCQ
#endif

#ifndef LB_T_TCQ_ALONE

/* The codes of n groups as a panel, biased by `bias` */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_panel_tcq_)(const unsigned bits, const uint8_t bias,
                                                        lb_panel *panel,
                                                        size_t slot, const uint8_t *tile, size_t k, size_t g,
                                                        size_t n)
{
    const size_t n_groups = lb_round_up64(k) / LB_GROUP, group_bytes = 64 * bits;
    const LB_N(lb_t_tables_) tables = LB_N(lb_t_tcq_tables_)(bits, bias);
    const uint8_t *codes = tile + LB_TCQ_CODES_AT;
    uint8_t *out = panel->code + slot * LB_PANEL_BYTES;
    float *scale = panel->scale + slot * LB_PANEL_GROUPS * LB_TILE_ROWS;
    LB_N(lb_t_last_) last = LB_N(lb_t_tcq_last_)(bits, &tables,
                                                 codes + ((g == 0 ? n_groups : g) - 1) * group_bytes);
    for (size_t j = 0; j < n; j++) {
        LB_B v[8];
        LB_UNROLL
        for (size_t l = 0; l < group_bytes; l += 64) { /* the next panel's: while this one is multiplied, nothing reads them */
            LB_PREFETCH(codes + (g + n + j) * group_bytes + l);
        }
        LB_N(lb_t_tcq_group_)(bits, &tables, codes + (g + j) * group_bytes, &last, v);
        LB_UNROLL
        for (size_t l = 0; l < 8; l++) {
            LB_V(store_b)(out + j * 512 + 64 * l, v[l]);
        }
        LB_V(store)(scale + j * LB_TILE_ROWS, LB_V(set1)(1.0f));
    }
}

#if LB_T_SMALL_TOKENS
#define LB_T_GEMM_TCQ(bits)                                                                                  \
    LB_T_SMALL(tcq##bits, 0, LB_TCQ_QUADS)                                                                   \
    static LB_T_TARGET void LB_N(lb_t_small_tcq##bits##_)(lb_panel *panel, const uint8_t *tile, size_t k,    \
                                                          size_t g, size_t n)                                \
    {                                                                                                        \
        LB_N(lb_t_panel_tcq_)(bits, LB_TCQ_BIAS, panel, 0, tile, k, g, n);                                   \
        for (size_t j = 0; j < n; j++) {                                                                     \
            LB_V(store_i)(panel->zero + j * LB_TILE_ROWS, LB_V(set1_i)(LB_TCQ_BIAS));                        \
        }                                                                                                    \
    }
#define LB_T_TCQ_RUN(bits)                                                                                   \
    LB_N(lb_t_gemm_small_)(LB_N(lb_t_small_tcq##bits##_), LB_N(lb_t_tokens_tcq##bits##_), w, tile_bytes,     \
                           n_tiles, k, x, y, y_stride, add, scratch)
#else
#define LB_T_GEMM_TCQ(bits)                                                                                  \
    static LB_T_TARGET LB_N(lb_t_chunk_)                                                                     \
        LB_N(lb_t_decode_tcq##bits##_)(lb_panel *panel, const uint8_t *tile, size_t tile_bytes,              \
                                       size_t tiles, size_t k, size_t g, size_t n)                           \
    {                                                                                                        \
        for (size_t i = 0; i < tiles; i++) {                                                                 \
            LB_N(lb_t_panel_tcq_)(bits, 128, panel, i, tile + i * tile_bytes, k, g, n);                      \
        }                                                                                                    \
        return (LB_N(lb_t_chunk_)){panel->code, LB_PANEL_BYTES, true};                                       \
    }
#define LB_T_TCQ_RUN(bits)                                                                                   \
    LB_N(lb_t_gemm_)(LB_N(lb_t_decode_tcq##bits##_), w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch)
#endif
LB_T_GEMM_TCQ(2)
LB_T_GEMM_TCQ(3)
LB_T_GEMM_TCQ(4)

#define LB_T_GEMM_TCQ_FN(bits)                                                                               \
    LB_T_TARGET void LB_N(lb_gemm_tcq##bits##_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k,  \
                                                const lb_input *x, float *y, size_t y_stride, bool add,      \
                                                void *scratch)                                               \
    {                                                                                                        \
        if (x->n <= LB_T_DIRECT && !LB_T_SHARE) {                                                            \
            LB_N(lb_t_direct_)(LB_N(lb_gemv_tcq##bits##_), w, tile_bytes, n_tiles, k, x, y, y_stride, add);  \
        } else {                                                                                             \
            LB_T_TCQ_RUN(bits);                                                                              \
        }                                                                                                    \
    }
#if LB_T_SHARE
#define LB_T_GEMV_TCQ_FN(bits)                                                                               \
    LB_T_TARGET void LB_N(lb_gemv_tcq##bits##_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k,  \
                                                const lb_input *x, float *y, size_t y_stride, bool add,      \
                                                void *scratch)                                               \
    {                                                                                                        \
        LB_T_TCQ_RUN(bits);                                                                                  \
    }
LB_T_GEMV_TCQ_FN(2)
LB_T_GEMV_TCQ_FN(3)
LB_T_GEMV_TCQ_FN(4)
#undef LB_T_GEMV_TCQ_FN
#endif
LB_T_GEMM_TCQ_FN(2)
LB_T_GEMM_TCQ_FN(3)
LB_T_GEMM_TCQ_FN(4)
#undef LB_T_GEMM_TCQ_FN
#undef LB_T_GEMM_TCQ
#undef LB_T_TCQ_RUN

#endif

#undef LB_T_AT
#undef LB_T_LOW
#undef LB_T_HIGH
#undef LB_T_FROM
#undef LB_T_WIDE
#ifdef LB_T_TCQ_ALONE
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
#undef LB_T_AHEAD
#undef LB_T_SMALL_TOKENS
#undef LB_T_TCQ_ALONE
#undef LB_T_SHARE
#endif
