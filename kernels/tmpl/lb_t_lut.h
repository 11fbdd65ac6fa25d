/*
 * Template: matrix products by table lookup (T-MAC) of lut1 .. lut4. A part of lb_t_bits.h, whose parameters and macros it uses.
 *
 * A line of 64 bytes is one bit plane of one group: four pieces of 16 bytes, one byte per row, whose nibbles are the bits of four columns
 * each. lookup_b looks up all 64 bytes at once, every piece in its own table of 16 bytes: even quads by low nibbles, odd ones
 * by high nibbles. Sums of 4 activations take 10 bits, so that a table is two: low and high bytes (lb_lut_tables in lb_kernels.h).
 *
 * Planes are joined from the highest bit down, sum = 2 * sum + plane, in 16 bits: a `w` accumulator adds up 4 quads at
 * most, 4 * 508 * (2^4 - 1) = 30480 < 32768. Work grows with the number of bits, not of values.
 *
 * One token and few: the lookups. Many tokens: nibbles are spread to bytes, which makes a panel as of any other format.
 */

/* A piece's nibbles (low: half = 0) to a quad of codes with the value 1 << bit */
LB_ALWAYS_INLINE LB_T_TARGET LB_B LB_N(lb_t_lut_spread_)(LB_I piece, const size_t half, const size_t bit)
{
    static const int8_t select[4] = {1, 2, 4, 8};
    static const uint8_t values[4][16] = {
        {0, 1, 1, 0, 1, 0, 0, 0, 1}, {0, 2, 2, 0, 2, 0, 0, 0, 2}, {0, 4, 4, 0, 4, 0, 0, 0, 4}, {0, 8, 8, 0, 8, 0, 0, 0, 8}};
    const LB_B all = LB_V(spread)(piece), nibble = half ? LB_V(srl_b)(all, 4) : all;
    return LB_V(lookup_b)(LB_V(load_table)(values[bit]), LB_V(and_b)(nibble, LB_V(quad)(select)));
}

LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_lut_quads_)(LB_B c[8], const uint8_t *codes, size_t bits)
{
    LB_UNROLL
    for (size_t j = 0; j < 8; j++) {
        c[j] = LB_V(set1_b)(0);
    }
    LB_ROLL
    for (size_t b = 0; b < bits; b++) {
        LB_UNROLL
        for (size_t p = 0; p < 4; p++) {
            const LB_I piece = LB_V(load_u8)(codes + 64 * b + 16 * p);
            const LB_B even = LB_N(lb_t_lut_spread_)(piece, 0, b), odd = LB_N(lb_t_lut_spread_)(piece, 1, b);
            c[2 * p] = LB_V(add_b)(c[2 * p], even);
            c[2 * p + 1] = LB_V(add_b)(c[2 * p + 1], odd);
        }
    }
}

#if LB_T_SMALL_TOKENS
static LB_SHARED LB_T_TARGET void LB_N(lb_t_lut_small_)(const uint8_t *table, size_t bits, lb_panel *panel, const uint8_t *tile,
                                                        size_t k, size_t g, size_t n)
{
    LB_N(lb_t_bits_small_)(LB_N(lb_t_lut_quads_), table, bits, panel, tile, k, g, n);
}
#else
static LB_SHARED LB_T_TARGET void LB_N(lb_t_lut_panel_)(const uint8_t *table, size_t bits, int shift, lb_panel *panel,
                                                        const uint8_t *tile, size_t tile_bytes, size_t tiles, size_t k,
                                                        size_t g, size_t n)
{
    LB_N(lb_t_bits_panel_)(LB_N(lb_t_lut_quads_), table, bits, shift, panel, tile, tile_bytes, tiles, k, g, n);
}
#endif

/* The sum of (code << shift) * x over one group */
LB_ALWAYS_INLINE LB_T_TARGET LB_I LB_N(lb_t_lut_dot_)(const uint8_t *codes, const uint8_t *tables, int shift, size_t bits)
{
    const LB_B even_low = LB_V(load_b)(tables), even_high = LB_V(load_b)(tables + 64);
    const LB_B odd_low = LB_V(load_b)(tables + 128), odd_high = LB_V(load_b)(tables + 192);
    LB_V(w) sum = LB_V(zero_w)();
    LB_ROLL
    for (size_t b = bits; b-- > 0;) {
        const LB_B v = LB_V(load_b)(codes + 64 * b), even = LB_V(low_nibbles)(v), odd = LB_V(high_nibbles)(v);
        sum = LB_V(double_w)(sum);
        sum = LB_V(add_w)(sum, LB_V(lookup_b)(even_low, even), LB_V(lookup_b)(even_high, even));
        sum = LB_V(add_w)(sum, LB_V(lookup_b)(odd_low, odd), LB_V(lookup_b)(odd_high, odd));
    }
    return LB_V(sll_by)(LB_V(sum_w)(sum), shift);
}

/* One function for all numbers of bits: a plane is 30 instructions, a loop around them costs little. */
static LB_SHARED LB_T_TARGET void LB_N(lb_t_lut_gemv_)(const uint8_t *table, int shift, size_t bits, const void *w,
                                                       size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                                                       bool add)
{
    const size_t n_groups = lb_round_up64(k) / LB_GROUP, step = tile_bytes / n_groups;
    lb_ahead ahead = lb_ahead_of((const uint8_t *)w + lb_bits_codes_at(k), LB_T_AHEAD);
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *tile = (const uint8_t *)w + i * tile_bytes;
        const uint8_t *groups = tile + LB_Q_SCALES_AT, *codes = tile + lb_bits_codes_at(k), *tables = x->lut;
        ahead.until = codes + LB_T_AHEAD;
        LB_F acc = LB_V(set1)(0.0f);
        for (size_t g = 0; g < n_groups; g++) {
            lb_ahead_lines(&ahead, step, bits);
            const LB_I zero = LB_V(mul_s16)(LB_V(lookup)(groups, table), LB_V(set1_i)(x->sum[g]));
            const LB_I isum = LB_V(sub_i)(LB_N(lb_t_lut_dot_)(codes, tables, shift, bits), zero);
            const LB_F s = LB_V(mul)(LB_N(lb_t_group_scale_)(groups), LB_V(set1)(x->scale[g]));
            acc = LB_V(fma)(s, LB_V(to_float)(isum), acc);
            groups += LB_TILE_ROWS;
            codes += 64 * bits;
            tables += LB_LUT_GROUP_BYTES;
        }
        LB_N(lb_t_finish_)(acc, tile, y + i * LB_TILE_ROWS, add);
    }
}

#define LB_T_LUT(name, bits, shift, quads)                                                                            \
    LB_T_BITS_GEMM_LUT(name, bits, shift, quads)                                                                          \
    LB_T_TARGET void LB_N(lb_gemv_##name##_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k,              \
                                             const lb_input *x, float *y, size_t y_stride, bool add, void *scratch)   \
    {                                                                                                                 \
        if (x->lut) {                                                                                                 \
            LB_N(lb_t_lut_gemv_)(lb_bits_##name.zero, shift, bits, w, tile_bytes, n_tiles, k, x, y, add);             \
        } else {                                                                                                      \
            LB_T_BITS_RUN(name);                                                                                      \
        }                                                                                                             \
    }                                                                                                                 \
    LB_T_TARGET void LB_N(lb_gemm_##name##_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k,              \
                                             const lb_input *x, float *y, size_t y_stride, bool add, void *scratch)   \
    {                                                                                                                 \
        if (x->lut && x->n <= LB_T_LUT_TOKENS) {                                                                      \
            LB_N(lb_t_direct_)(LB_N(lb_gemv_##name##_), w, tile_bytes, n_tiles, k, x, y, y_stride, add);              \
        } else {                                                                                                      \
            LB_T_BITS_RUN(name);                                                                                      \
        }                                                                                                             \
    }

/* Above this many tokens the panel is faster */
#define LB_T_LUT_TOKENS 2
LB_T_LUT(lut4, 4, 1, 8)
LB_T_LUT(lut3, 3, 2, 8)
LB_T_LUT(lut2, 2, 2, 8)
LB_T_LUT(lut1, 1, 2, 8)
#undef LB_T_LUT_TOKENS
#undef LB_T_LUT

/*
 * Tables of the activations: a subset sum is four products with 0 or 1. As generic vectors: compilers make pmullw, mla or
 * what there is of it.
 */
typedef int16_t LB_N(lb_t_lut_v_) LB_VECTOR(32);
typedef uint8_t LB_N(lb_t_lut_u8_) LB_VECTOR(16);

LB_T_TARGET void LB_N(lb_lut_tables_)(const int8_t *q, size_t k, uint8_t *tables)
{
    static const LB_N(lb_t_lut_v_) bit[4] = {{0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1},
                                             {0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1},
                                             {0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1},
                                             {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1}};
    for (size_t c = 0; c < k; c += 4, q += 4) {
        const LB_N(lb_t_lut_v_) t = bit[0] * (int16_t)q[0] + bit[1] * (int16_t)q[1] + bit[2] * (int16_t)q[2] + bit[3] * (int16_t)q[3];
        const LB_N(lb_t_lut_u8_) low = __builtin_convertvector(t, LB_N(lb_t_lut_u8_));
        const LB_N(lb_t_lut_u8_) high = __builtin_convertvector(t >> 8, LB_N(lb_t_lut_u8_));
        uint8_t *to = tables + c / LB_GROUP * LB_LUT_GROUP_BYTES + c / 4 % 2 * 128 + c / 8 % 4 * 16;
        memcpy(to, &low, 16);
        memcpy(to + 64, &high, 16);
    }
}
