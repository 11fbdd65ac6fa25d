/*
 * Template: matrix products of s24q8 and s24q4, whose tiles hold two of every four weights. A part of lb_t_int.h, which includes it
 * and whose parameters and names it uses.
 *
 * A vector of values is 16 rows x 2 quads x 2 values. With one token the activations go to the values: a table of 16 bytes
 * has the activations of 4 quads (2 vectors), the index of byte (r, i) is the value's position + 4 * (its quad in the table), and
 * one lookup and one dot product do 8 columns of 16 rows: half of the multiplications, and no weight is ever expanded.
 * With many tokens the values go to their places in a dense panel (scatter2), which is multiplied as that of any other format. A place
 * holds one value only: tiles in which both values of a quad name the same column, as no packer writes, go the way of one token.
 *
 * Dot products want unsigned codes: sum of w * x = sum of code * x - bias * sum of x, where x are the activations that this
 * row selects; the second sum is a dot product with a constant.
 */

/* Positions of vector j (a constant) of a group, 0..3 each; srl_b shifts by 1 at least on some CPUs */
LB_ALWAYS_INLINE LB_T_TARGET LB_B LB_N(lb_t_s24_places_)(LB_B offset, LB_B positions, const size_t j)
{
    const LB_B three = LB_V(set1_b)(3);
    return j == 0   ? LB_V(or_and_b)(offset, positions, three)
           : j == 1 ? LB_V(or_and_b)(offset, LB_V(srl_b)(positions, 2), three)
           : j == 2 ? LB_V(or_and_b)(offset, LB_V(srl_b)(positions, 4), three)
                    : LB_V(or_and_b)(offset, LB_V(srl_b)(positions, 6), three);
}

/* Activations of the values of vector j: q is those of the group */
LB_ALWAYS_INLINE LB_T_TARGET LB_B LB_N(lb_t_s24_select_)(LB_B positions, const int8_t *q, const size_t j)
{
    static const uint8_t quads[2][16] = {{0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4},
                                         {8, 8, 12, 12, 8, 8, 12, 12, 8, 8, 12, 12, 8, 8, 12, 12}};
    const LB_B index = LB_N(lb_t_s24_places_)(LB_V(load_table)(quads[j % 2]), positions, j);
    return LB_V(lookup_b)(LB_V(load_table)(q + j / 2 * 16), index);
}

/* ---------------------------------------------------------------- one token */

LB_ALWAYS_INLINE LB_T_TARGET LB_I LB_N(lb_t_group_s24q8_)(const uint8_t *group, const int8_t *q)
{
    const LB_B positions = LB_V(load_b)(group);
    LB_I a = LB_V(set1_i)(0), bias = a;
    LB_UNROLL
    for (size_t j = 0; j < 4; j++) {
        const LB_B x = LB_N(lb_t_s24_select_)(positions, q, j);
        a = LB_D(dot)(a, LB_V(load_b)(group + 64 + 64 * j), x);
        if (LB_T_BIAS) {
            bias = LB_D(dot)(bias, LB_V(set1_b)(LB_T_BIAS), x);
        }
    }
    return LB_T_BIAS ? LB_V(sub_i)(a, bias) : a;
}

/* 4 quads of values into one accumulator, codes up to 15: within the 8 quads of small_dot */
LB_ALWAYS_INLINE LB_T_TARGET LB_I LB_N(lb_t_group_s24q4_)(const uint8_t *group, const int8_t *q)
{
    const LB_B positions = LB_V(load_b)(group), eight = LB_V(set1_b)(8);
    LB_D(small) a = LB_D(small_zero)(), bias = a;
    LB_UNROLL
    for (size_t j = 0; j < 4; j += 2) {
        const LB_B v = LB_V(load_b)(group + 64 + 32 * j);
        const LB_B x = LB_N(lb_t_s24_select_)(positions, q, j), y = LB_N(lb_t_s24_select_)(positions, q, j + 1);
        a = LB_D(small_dot)(a, LB_V(low_nibbles)(v), x);
        bias = LB_D(small_dot)(bias, eight, x);
        a = LB_D(small_dot)(a, LB_V(high_nibbles)(v), y);
        bias = LB_D(small_dot)(bias, eight, y);
    }
    const LB_D(small) zero = LB_D(small_zero)();
    return LB_V(sub_i)(LB_D(small_sum)(a, zero), LB_D(small_sum)(bias, zero));
}

/* `group` is inlined and lines a constant but where nothing is unrolled */
#if LB_T_SHARE
static LB_SHARED
#else
LB_ALWAYS_INLINE
#endif
    LB_T_TARGET void LB_N(lb_t_s24_gemv_)(LB_I (*group)(const uint8_t *group, const int8_t *q), const size_t lines, const void *w,
                                          size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y, bool add)
{
    const size_t n_pairs = lb_round_up64(k) / 64, step = tile_bytes / n_pairs, bytes = lb_s24_group_bytes(lines);
    lb_ahead ahead = lb_ahead_of((const uint8_t *)w + lb_s24_codes_at(k), LB_T_AHEAD);
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *tile = (const uint8_t *)w + i * tile_bytes;
        const uint8_t *scales = tile + LB_Q_SCALES_AT, *codes = tile + lb_s24_codes_at(k);
        ahead.until = codes + LB_T_AHEAD;
        const int8_t *q = x->q;
        LB_F acc = LB_V(set1)(0.0f);
        for (size_t p = 0; p < n_pairs; p++) {
            if (LB_T_SHARE) {
                lb_ahead_lines(&ahead, step, 2 * lines + 2);
            } else {
                lb_ahead_step(&ahead, step, 2 * lines + 2);
            }
            const LB_F scale = LB_N(lb_t_mini_)(scales + p * LB_TILE_ROWS);
            const LB_I a = group(codes, q), b = group(codes + bytes, q + LB_GROUP);
            acc = LB_V(fma)(LB_V(mul)(scale, LB_V(set1)(x->scale[2 * p])), LB_V(to_float)(a), acc);
            acc = LB_V(fma)(LB_V(mul)(scale, LB_V(set1)(x->scale[2 * p + 1])), LB_V(to_float)(b), acc);
            codes += 2 * bytes;
            q += 64;
        }
        LB_N(lb_t_finish_)(acc, tile, y + i * LB_TILE_ROWS, add);
    }
}

/* ---------------------------------------------------------------- many tokens */

/* True if the two values of every quad are in different columns */
static LB_T_TARGET bool LB_N(lb_t_s24_regular_)(const uint8_t *w, size_t tile_bytes, size_t n_tiles, size_t k, const size_t bytes)
{
    uint16_t differ[32];
    memset(differ, 0xff, sizeof differ);
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *group = w + i * tile_bytes + lb_s24_codes_at(k);
        for (size_t g = 0; g < lb_round_up64(k) / LB_GROUP; g++, group += bytes) {
            for (size_t j = 0; j < 32; j++) {
                uint16_t p;
                memcpy(&p, group + 2 * j, sizeof p);
                p = (uint16_t)(p ^ p >> 8);
                differ[j] &= (uint16_t)(p | p >> 1);
            }
        }
    }
    unsigned all = 0x55;
    for (size_t j = 0; j < 32; j++) {
        all &= differ[j];
    }
    return all == 0x55;
}

/* Scales and dense codes of n groups from g on; codes are fill where nothing is stored, and `more` larger than those in the tile */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_s24_dense_)(uint8_t *out, float *scale, const uint8_t *tile, size_t k, size_t g,
                                                        size_t n, const size_t lines, uint8_t fill, uint8_t more)
{
    const uint8_t *scales = tile + LB_Q_SCALES_AT, *codes = tile + lb_s24_codes_at(k);
    const LB_B zero = LB_V(set1_b)(0), filled = LB_V(set1_b)(fill), add = LB_V(set1_b)(more);
    for (size_t i = 0; i < n; i++) {
        LB_V(store)(scale + i * LB_TILE_ROWS, LB_N(lb_t_mini_)(scales + (g + i) / 2 * LB_TILE_ROWS));
        const uint8_t *group = codes + (g + i) * lb_s24_group_bytes(lines);
        const LB_B positions = LB_V(load_b)(group);
        LB_ROLL
        for (size_t j = 0; j < 4; j++) {
            LB_B v = LB_V(load_b)(group + 64 + 64 * (lines == LB_S24Q8_LINES ? j : j / 2));
            v = lines == LB_S24Q8_LINES ? v : j % 2 == 0 ? LB_V(low_nibbles)(v) : LB_V(high_nibbles)(v);
            v = LB_V(add_b)(v, add);
            const LB_B p = LB_N(lb_t_s24_places_)(zero, positions, j);
            LB_V(store_b)(out + i * 512 + j * 128, LB_V(scatter2)(filled, v, p, 0));
            LB_V(store_b)(out + i * 512 + j * 128 + 64, LB_V(scatter2)(filled, v, p, 2));
        }
    }
}

#define LB_T_S24_DECODE(name, lines, more)                                                                            \
    LB_ALWAYS_INLINE LB_T_TARGET LB_N(lb_t_chunk_)                                                                    \
        LB_N(lb_t_decode_##name##_)(lb_panel *panel, const uint8_t *tile, size_t tile_bytes, size_t tiles, size_t k,  \
                                    size_t g, size_t n)                                                               \
    {                                                                                                                 \
        for (size_t i = 0; i < tiles; i++) {                                                                          \
            LB_N(lb_t_s24_dense_)(panel->code + i * LB_PANEL_BYTES, panel->scale + i * LB_PANEL_GROUPS * LB_TILE_ROWS, \
                                  tile + i * tile_bytes, k, g, n, lines, 128, more);                                  \
        }                                                                                                             \
        return (LB_N(lb_t_chunk_)){panel->code, LB_PANEL_BYTES, false};                                               \
    }

#define LB_T_S24(name, lines)                                                                                         \
    LB_T_TARGET void LB_N(lb_gemv_##name##_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k,              \
                                             const lb_input *x, float *y, size_t y_stride, bool add, void *scratch)   \
    {                                                                                                                 \
        (void)scratch;                                                                                                \
        (void)y_stride;                                                                                               \
        LB_N(lb_t_s24_gemv_)(LB_N(lb_t_group_##name##_), lines, w, tile_bytes, n_tiles, k, x, y, add);                \
    }                                                                                                                 \
    LB_T_TARGET void LB_N(lb_gemm_##name##_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k,              \
                                             const lb_input *x, float *y, size_t y_stride, bool add, void *scratch)   \
    {                                                                                                                 \
        if (x->n <= LB_T_DIRECT || !LB_N(lb_t_s24_regular_)(w, tile_bytes, n_tiles, k, lb_s24_group_bytes(lines))) {  \
            LB_N(lb_t_direct_)(LB_N(lb_gemv_##name##_), w, tile_bytes, n_tiles, k, x, y, y_stride, add);              \
            return;                                                                                                   \
        }                                                                                                             \
        LB_T_S24_RUN_##name                                                                                           \
    }

LB_T_S24_DECODE(s24q8, LB_S24Q8_LINES, 0)
#define LB_T_S24_RUN_s24q8                                                                                            \
    LB_N(lb_t_gemm_)(LB_N(lb_t_decode_s24q8_), w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch);

#if LB_T_SMALL_TOKENS
/* Codes 0..15 as they are, 8 where nothing is stored, and the zero point 8 */
LB_T_SMALL(s24q4, 0, 8)
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_small_s24q4_)(lb_panel *panel, const uint8_t *tile, size_t k, size_t g, size_t n)
{
    LB_N(lb_t_s24_dense_)(panel->code, panel->scale, tile, k, g, n, LB_S24Q4_LINES, 8, 0);
    for (size_t i = 0; i < n; i++) {
        LB_V(store_i)(panel->zero + i * LB_TILE_ROWS, LB_V(set1_i)(8));
    }
}
#define LB_T_S24_RUN_s24q4                                                                                            \
    LB_N(lb_t_gemm_small_)(LB_N(lb_t_small_s24q4_), LB_N(lb_t_tokens_s24q4_), w, tile_bytes, n_tiles, k, x, y,        \
                           y_stride, add, scratch);
#else
LB_T_S24_DECODE(s24q4, LB_S24Q4_LINES, 120)
#define LB_T_S24_RUN_s24q4                                                                                            \
    LB_N(lb_t_gemm_)(LB_N(lb_t_decode_s24q4_), w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch);
#endif

LB_T_S24(s24q8, LB_S24Q8_LINES)
LB_T_S24(s24q4, LB_S24Q4_LINES)

#undef LB_T_S24_DECODE
#undef LB_T_S24_RUN_s24q8
#undef LB_T_S24_RUN_s24q4
#undef LB_T_S24
