/*
 * Template: matrix products of the integer formats. Parameters, besides those of README:
 *     LB_T_BIAS    LB_DOT_BIAS_LEVEL of LB_TD
 *     LB_T_GTILES  tiles (2 or 1) of the register block for many tokens, and
 *     LB_T_TOKENS  its tokens: 6, 4, 3 or 2
 *     LB_T_SMALL_TOKENS  tokens of the block for panels of small codes: 4 or 2; 0 if `dot` is as good as `small_dot`
 *     LB_T_DIRECT  products of q4 with this many tokens or fewer go through gemv
 *     LB_T_SHARE   1: formats share code where that costs some speed, for a level that few machines use: one token is a batch of
 *                  one, of all formats but q8, q4 and int8
 *     LB_T_TCQ     1: with the trellis formats, lb_t_tcq.h
 *     LB_T_BYTES   1 or 2: with lookups in tables of bytes, lb_t_bytes.h; LB_T_BYTE_TABLES 1: and with what makes these
 *     LB_T_OWN_TILE  defined: lb_t_own_tile_LEVEL and lb_t_int8_one_tile_LEVEL are there already (GTILES is 1)
 *     LB_T_EIGHTHS  1: two tiles and many tokens without products of scales, lb_t_eighths.h
 *     LB_T_AHEAD   bytes of software prefetch in gemv. The prefetch runs through tiles linearly, planes and all, at the
 *                  pace of the codes and this far ahead of them (lb_ahead.h)
 *     LB_T_BITS_AHEAD  the same for the formats of lb_t_bits.h; LB_T_AHEAD if it is not defined
 *
 * A b vector is a quad of columns of a tile: lane (row) r holds the codes of columns 4 j .. 4 j + 3. `quad` broadcasts the
 * same four activations to all rows, so that one dot product step adds 4 columns for 16 rows and no sum crosses lanes.
 *
 * One token (gemv): codes go straight from the tile into the dot products.
 * Many tokens (gemm): per tile and chunk of LB_PANEL_GROUPS groups, the codes become a panel once, shared by all formats:
 *     u8 panel[quad][16][4]   integer weight + 128
 *     f32 scale[group][16]    mini(group_scale)
 * or, where 16-bit sums of small codes are faster (LB_T_SMALL_TOKENS), with the codes as they are and
 *     i32 zero[group][16]     zero points
 * and blocks of LB_T_TOKENS tokens are multiplied with it while it is in the first-level cache. Partial sums of a tile
 * (f32 acc[token][16]) wait in `scratch` between chunks.
 * Behind each block of tokens the next tiles are fetched, a few lines at a time, so that no chunk waits for memory.
 * On Zen 5 the inner loop of AVX-512 VNNI (2 tiles x 6 tokens) takes 62 to 64 cycles per group of 32 columns: 96 dot products, and 12
 * multiplications and 12 fused multiply-adds by scales share two units, which makes 60; without the multiplications (tcq) it takes 56. That is
 * why many tokens go through lb_t_eighths.h there.
 */
#define LB_V(op) LB_CAT4(lb_v_, LB_TV, _, op)
#define LB_D(op) LB_CAT4(lb_v_, LB_TD, _, op)
#define LB_N(name) LB_CAT2(name, LB_T)
#define LB_F LB_V(f)
#define LB_I LB_V(i)
#define LB_B LB_V(b)

#ifndef LB_T_BITS_AHEAD
#define LB_T_BITS_AHEAD LB_T_AHEAD
#endif
#ifndef LB_T_EIGHTHS
#define LB_T_EIGHTHS 0
#endif

#ifndef LB_PANEL_GROUPS
#define LB_PANEL_GROUPS ((size_t)16)
#define LB_PANEL_BYTES (LB_PANEL_GROUPS * LB_GROUP * LB_TILE_ROWS)
typedef struct lb_panel { /* of one or two tiles */
    uint8_t code[2 * LB_PANEL_BYTES];
    float scale[2 * LB_PANEL_GROUPS * LB_TILE_ROWS];
    int32_t zero[LB_PANEL_GROUPS * LB_TILE_ROWS];
    float acc[2 * LB_MM_MAX_N * LB_TILE_ROWS];
    float eighths[2 * LB_PANEL_GROUPS * 8 * LB_TILE_ROWS]; /* of lb_t_eighths.h */
    size_t at[2]; /* of masked: values used so far */
} lb_panel;
_Static_assert(sizeof(lb_panel) <= LB_MM_SCRATCH, "LB_MM_SCRATCH is too small");
#endif

/* mini() of 16 rows */
LB_ALWAYS_INLINE LB_T_TARGET LB_F LB_N(lb_t_mini_)(const uint8_t *p)
{
    return LB_V(from_bits)(LB_V(add_i)(LB_V(sll_i)(LB_V(load_u8)(p), 19), LB_V(set1_i)(112 << 23)));
}

LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_finish_)(LB_F acc, const void *tile, float *y, bool add)
{
    LB_F v = LB_V(mul)(acc, LB_V(load)((const float *)tile));
    LB_V(store)(y, add ? LB_V(add)(LB_V(load)(y), v) : v);
}

/* v << shift; shift is a constant, 0..2 */
LB_ALWAYS_INLINE LB_T_TARGET LB_I LB_N(lb_t_shifted_)(LB_I v, const int shift)
{
    return shift == 0 ? v : shift == 1 ? LB_V(add_i)(v, v) : LB_V(sll_i)(v, 2);
}

/* ---------------------------------------------------------------- one token */

/* One group of q4: 4 loads of 8 columns x 16 rows, even quads in low nibbles, odd quads in high ones */
LB_ALWAYS_INLINE LB_T_TARGET LB_I LB_N(lb_t_q4_group_)(const uint8_t *codes, const int8_t *q, LB_I zero, int32_t sum)
{
    LB_D(small) lo = LB_D(small_zero)(), hi = LB_D(small_zero)();
    LB_UNROLL
    for (size_t j = 0; j < 4; j++) {
        const LB_B v = LB_V(load_b)(codes + 64 * j);
        lo = LB_D(small_dot)(lo, LB_V(low_nibbles)(v), LB_V(quad)(q + 8 * j));
        hi = LB_D(small_dot)(hi, LB_V(high_nibbles)(v), LB_V(quad)(q + 8 * j + 4));
    }
    const LB_I dot = LB_D(small_sum)(lo, hi); /* |sum| <= 32 * 127 fits 16 bits */
    return LB_V(sub_i)(LB_V(add_i)(dot, dot), LB_V(mul_s16)(zero, LB_V(set1_i)(sum)));
}

LB_T_TARGET void LB_N(lb_gemv_q4_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                                   size_t y_stride, bool add, void *scratch)
{
    (void)scratch;
    (void)y_stride;
    const size_t n_pairs = lb_round_up64(k) / 64, step = tile_bytes / n_pairs;
    lb_ahead ahead = lb_ahead_of((const uint8_t *)w + lb_q4_codes_at(k), LB_T_AHEAD);
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *tile = (const uint8_t *)w + i * tile_bytes;
        const uint8_t *scales = tile + LB_Q_SCALES_AT, *zeros = tile + lb_q4_zeros_at(k), *codes = tile + lb_q4_codes_at(k);
        ahead.until = codes + LB_T_AHEAD;
        const int8_t *q = x->q;
        LB_F acc = LB_V(set1)(0.0f);
        for (size_t p = 0; p < n_pairs; p++) {
            LB_I zero_a, zero_b;
            LB_V(q4_zeros)(zeros + p * 16, &zero_a, &zero_b);
            lb_ahead_step(&ahead, step, 8);
            const LB_I a = LB_N(lb_t_q4_group_)(codes, q, zero_a, x->sum[2 * p]);
            const LB_I b = LB_N(lb_t_q4_group_)(codes + 256, q + 32, zero_b, x->sum[2 * p + 1]);
            const LB_F sa = LB_V(mul)(LB_N(lb_t_mini_)(scales + p * 32), LB_V(set1)(x->scale[2 * p]));
            const LB_F sb = LB_V(mul)(LB_N(lb_t_mini_)(scales + p * 32 + 16), LB_V(set1)(x->scale[2 * p + 1]));
            acc = LB_V(fma)(sa, LB_V(to_float)(a), acc);
            acc = LB_V(fma)(sb, LB_V(to_float)(b), acc);
            codes += 512;
            q += 64;
        }
        LB_N(lb_t_finish_)(acc, tile, y + i * LB_TILE_ROWS, add);
    }
}

LB_T_TARGET void LB_N(lb_gemv_q8_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                                   size_t y_stride, bool add, void *scratch)
{
    (void)scratch;
    (void)y_stride;
    const size_t n_groups = lb_round_up64(k) / LB_GROUP, step = tile_bytes / n_groups;
    lb_ahead ahead = lb_ahead_of((const uint8_t *)w + lb_q8_codes_at(k), LB_T_AHEAD);
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *tile = (const uint8_t *)w + i * tile_bytes;
        const uint8_t *scales = tile + LB_Q_SCALES_AT, *codes = tile + lb_q8_codes_at(k);
        ahead.until = codes + LB_T_AHEAD;
        const int8_t *q = x->q;
        LB_F acc = LB_V(set1)(0.0f);
        for (size_t g = 0; g < n_groups; g++) {
            lb_ahead_step(&ahead, step, 8);
            LB_I a = LB_V(set1_i)(LB_T_BIAS ? x->start[g] : 0), b = LB_V(set1_i)(0);
            LB_UNROLL
            for (size_t j = 0; j < 8; j += 2) {
                a = LB_D(dot)(a, LB_V(load_b)(codes + 64 * j), LB_V(quad)(q + 4 * j));
                b = LB_D(dot)(b, LB_V(load_b)(codes + 64 * j + 64), LB_V(quad)(q + 4 * j + 4));
            }
            a = LB_V(add_i)(a, b);
            const LB_F s = LB_V(mul)(LB_N(lb_t_mini_)(scales + g * 16), LB_V(set1)(x->scale[g]));
            acc = LB_V(fma)(s, LB_V(to_float)(a), acc);
            codes += 512;
            q += 32;
        }
        LB_N(lb_t_finish_)(acc, tile, y + i * LB_TILE_ROWS, add);
    }
}

/* ---------------------------------------------------------------- many tokens */

/*
 * acc[tile][token][16] += panel x tokens, for n_groups groups from `first` on. `tiles` (1 or 2) and `tokens` are constants; codes
 * of the second tile are code_stride bytes away, its scales and sums in the next rows of the panel. scales NULL (a constant): all 1.
 */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_panel_)(const uint8_t *codes, size_t code_stride, const float *scales,
                                                    size_t n_groups, size_t first, const lb_input *x, size_t token,
                                                    float *acc, const size_t tiles, const size_t tokens)
{
    _Static_assert(LB_T_BIAS == 0 || LB_T_BIAS == 128, "lb_input.start");
    const bool scaled = scales != NULL; /* a constant */
    const float *s0 = x->scale + token * x->group_stride + first, *s3 = s0 + 3 * x->group_stride;
    const int32_t *m0 = x->start + token * x->group_stride + first, *m3 = m0 + 3 * x->group_stride; /* |start| < 2^20 */
    const int8_t *q = x->q + token * x->q_stride + first * LB_GROUP;
    const int8_t *q0 = q, *q3 = q + 3 * x->q_stride;
    LB_F f[2][LB_T_TOKENS];
    LB_UNROLL
    for (size_t i = 0; i < tiles; i++) {
        LB_UNROLL
        for (size_t t = 0; t < tokens; t++) {
            f[i][t] = LB_V(set1)(0.0f);
        }
    }
    if (first > 0) {
        LB_UNROLL
        for (size_t i = 0; i < tiles; i++) {
            LB_UNROLL
            for (size_t t = 0; t < tokens; t++) {
                f[i][t] = LB_V(load)(acc + (i * LB_MM_MAX_N + t) * LB_TILE_ROWS);
            }
        }
    }
    for (size_t g = 0; g < n_groups; g++) {
        /* Opaque here, so that tokens are addressed from 2 pointers and this stride instead of pointers on the stack */
        size_t stride = x->q_stride, group_stride = x->group_stride;
        __asm__("" : "+r"(stride), "+r"(group_stride));
        LB_I a[2][LB_T_TOKENS];
        LB_UNROLL
        for (size_t t = 0; t < tokens; t++) {
            a[0][t] = a[1][t] = LB_V(set1_i)(LB_T_BIAS ? (t < 3 ? m0 : m3)[t % 3 * group_stride + g] : 0);
        }
        LB_UNROLL
        for (size_t j = 0; j < 8; j++) {
            const LB_B w0 = LB_V(load_b)(codes + 64 * j);
            const LB_B w1 = tiles == 2 ? LB_V(load_b)(codes + code_stride + 64 * j) : w0;
            LB_UNROLL
            for (size_t t = 0; t < tokens; t++) {
                const LB_B b = LB_V(quad)((t < 3 ? q0 : q3) + t % 3 * stride + 4 * j);
                a[0][t] = LB_D(dot)(a[0][t], w0, b);
                if (tiles == 2) {
                    a[1][t] = LB_D(dot)(a[1][t], w1, b);
                }
            }
        }
        LB_UNROLL
        for (size_t i = 0; i < tiles; i++) {
            const LB_F s = scaled ? LB_V(load)(scales + (i * LB_PANEL_GROUPS + g) * LB_TILE_ROWS) : LB_V(set1)(1.0f);
            LB_UNROLL
            for (size_t t = 0; t < tokens; t++) {
                const LB_F x_scale = LB_V(set1)((t < 3 ? s0 : s3)[t % 3 * group_stride + g]);
                f[i][t] = LB_V(fma)(scaled ? LB_V(mul)(s, x_scale) : x_scale, LB_V(to_float)(a[i][t]), f[i][t]);
            }
        }
        codes += 512;
        q0 += LB_GROUP;
        q3 += LB_GROUP;
    }
    LB_UNROLL
    for (size_t i = 0; i < tiles; i++) {
        LB_UNROLL
        for (size_t t = 0; t < tokens; t++) {
            LB_V(store)(acc + (i * LB_MM_MAX_N + t) * LB_TILE_ROWS, f[i][t]);
        }
    }
}

/* Behind a block of `n` tokens: their complete sums are finished while they are cached */
static LB_SHARED LB_T_TARGET void LB_N(lb_t_finish_some_)(lb_tile_job *job, const float *acc, size_t t, size_t n, size_t tiles)
{
    lb_tile_job_fetch(job);
    for (size_t i = 0; job->last && i < n; i++) {
        float *y = job->y + (t + i) * job->y_stride;
        for (size_t j = 0; j < tiles; j++) {
            __builtin_prefetch(y + n * job->y_stride + j * LB_TILE_ROWS, 1); /* rows are far apart: the next tokens' */
            LB_N(lb_t_finish_)(LB_V(load)(acc + (j * LB_MM_MAX_N + t + i) * LB_TILE_ROWS), job->tile + j * job->tile_bytes,
                               y + j * LB_TILE_ROWS, job->add);
        }
    }
}

#if LB_T_EIGHTHS
#include "lb_t_eighths.h"
#endif

#define LB_T_RUN(N)                                                                                                   \
    for (; t + N <= x->n; t += N) {                                                                                   \
        LB_N(lb_t_panel_)(codes, code_stride, scales, n_groups, first, x, t, acc + t * LB_TILE_ROWS, LB_T_RUN_TILES, N); \
        LB_N(lb_t_finish_some_)(job, acc, t, N, LB_T_RUN_TILES);                                                      \
    }

/* All tokens with the panel of one tile */
#ifdef LB_T_OWN_TILE
static LB_T_TARGET void LB_N(lb_t_one_tile_)(const uint8_t *codes, size_t code_stride, const float *scales, size_t n_groups,
                                             size_t first, const lb_input *x, float *acc, lb_tile_job *job)
{
    if (first == 0) {
        memset(acc, 0, x->n * LB_TILE_ROWS * sizeof *acc);
    }
    LB_N(lb_t_own_tile_)(codes, code_stride, scales, n_groups, first, x, acc);
    LB_N(lb_t_finish_some_)(job, acc, 0, x->n, 1);
}
#else
static LB_T_TARGET void LB_N(lb_t_one_tile_)(const uint8_t *codes, size_t code_stride, const float *scales, size_t n_groups,
                                             size_t first, const lb_input *x, float *acc, lb_tile_job *job)
{
    size_t t = 0;
#define LB_T_RUN_TILES 1
#if LB_T_GTILES == 1
    LB_T_RUN(LB_T_TOKENS)
#else /* the last of an odd number */
    LB_T_RUN(2)
#endif
#if LB_T_TOKENS >= 4 && LB_T_GTILES == 1
    LB_T_RUN(2)
#endif
    LB_T_RUN(1)
#undef LB_T_RUN_TILES
}
#endif

#if LB_T_GTILES == 2
/* ... of two tiles: each broadcast of activations serves both */
static LB_SHARED LB_T_TARGET void LB_N(lb_t_two_tiles_)(const uint8_t *codes, size_t code_stride, lb_panel *panel, size_t n_groups,
                                                        size_t first, const lb_input *x, lb_tile_job *job)
{
    const float *scales = panel->scale;
    float *acc = panel->acc;
    size_t t = 0;
#if LB_T_EIGHTHS
    if (x->n >= LB_EIGHTHS_FROM) {
        t = LB_N(lb_t_eighths_blocks_)(codes, code_stride, panel, n_groups, first, x, job);
    }
#endif
#define LB_T_RUN_TILES 2
    LB_T_RUN(LB_T_TOKENS)
    LB_T_RUN(4)
    LB_T_RUN(2)
    LB_T_RUN(1)
}

/* ... without group scales (tcq): a tenth less on the units that multiply */
static LB_SHARED LB_T_TARGET void LB_N(lb_t_two_plain_tiles_)(const uint8_t *codes, size_t code_stride, size_t n_groups, size_t first,
                                                              const lb_input *x, float *acc, lb_tile_job *job)
{
    const float *const scales = NULL;
    size_t t = 0;
    LB_T_RUN(LB_T_TOKENS)
    LB_T_RUN(4)
    LB_T_RUN(1)
#undef LB_T_RUN_TILES
}
#endif
#undef LB_T_RUN

/* Scales of n groups from g on, as floats */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_scales_)(float *out, const uint8_t *scales, size_t g, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        LB_V(store)(out + j * LB_TILE_ROWS, LB_N(lb_t_mini_)(scales + (g + j) * LB_TILE_ROWS));
    }
}

/* One chunk of `tiles` tiles as a panel: where its codes are and how far apart those of two tiles are */
typedef struct LB_N(lb_t_chunk_) {
    const uint8_t *codes;
    size_t code_stride;
    bool plain; /* all scales are 1 */
} LB_N(lb_t_chunk_);

/* q8: the tile is the panel already */
LB_ALWAYS_INLINE LB_T_TARGET LB_N(lb_t_chunk_) LB_N(lb_t_decode_q8_)(lb_panel *panel, const uint8_t *tile, size_t tile_bytes,
                                                                     size_t tiles, size_t k, size_t g, size_t n)
{
    for (size_t i = 0; i < tiles; i++) {
        LB_N(lb_t_scales_)(panel->scale + i * LB_PANEL_GROUPS * LB_TILE_ROWS, tile + i * tile_bytes + LB_Q_SCALES_AT, g, n);
    }
    return (LB_N(lb_t_chunk_)){tile + lb_q8_codes_at(k) + g * 512, tile_bytes, false};
}

#if !LB_T_SMALL_TOKENS
/* q4: 2 * code - zero + 128 is 103 .. 158 */
LB_ALWAYS_INLINE LB_T_TARGET LB_N(lb_t_chunk_) LB_N(lb_t_decode_q4_)(lb_panel *panel, const uint8_t *tile, size_t tile_bytes,
                                                                     size_t tiles, size_t k, size_t g, size_t n)
{
    for (size_t i = 0; i < tiles; i++) {
        const uint8_t *from = tile + i * tile_bytes;
        LB_N(lb_t_scales_)(panel->scale + i * LB_PANEL_GROUPS * LB_TILE_ROWS, from + LB_Q_SCALES_AT, g, n);
        const uint8_t *codes = from + lb_q4_codes_at(k) + g * 256, *zeros = from + lb_q4_zeros_at(k) + g / 2 * 16;
        uint8_t *out = panel->code + i * LB_PANEL_BYTES;
        for (size_t j = 0; j < n; j += 2) {
            LB_I zero[2];
            LB_V(q4_zeros)(zeros + j / 2 * 16, &zero[0], &zero[1]);
            LB_UNROLL
            for (size_t h = 0; h < 2; h++) {
                const LB_B add = LB_V(sub_b)(LB_V(set1_b)(128), LB_V(spread)(zero[h]));
                LB_UNROLL
                for (size_t l = 4 * h; l < 4 * h + 4; l++) {
                    const LB_B v = LB_V(load_b)(codes + j * 256 + 64 * l);
                    const LB_B lo = LB_V(low_nibbles)(v), hi = LB_V(high_nibbles)(v);
                    LB_V(store_b)(out + j * 512 + 128 * l, LB_V(add_b)(LB_V(add_b)(lo, lo), add));
                    LB_V(store_b)(out + j * 512 + 128 * l + 64, LB_V(add_b)(LB_V(add_b)(hi, hi), add));
                }
            }
        }
    }
    return (LB_N(lb_t_chunk_)){panel->code, LB_PANEL_BYTES, false};
}
#endif

LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_finish_all_)(const lb_panel *panel, const uint8_t *tile, size_t tile_bytes,
                                                         size_t tiles, size_t n, float *y, size_t y_stride, bool add)
{
    for (size_t i = 0; i < tiles; i++) {
        for (size_t t = 0; t < n; t++) {
            LB_N(lb_t_finish_)(LB_V(load)(panel->acc + (i * LB_MM_MAX_N + t) * LB_TILE_ROWS), tile + i * tile_bytes,
                               y + t * y_stride + i * LB_TILE_ROWS, add);
        }
    }
}

/* The loop around the panels, for any format: `decode` is called once in LB_PANEL_GROUPS groups */
static LB_SHARED LB_T_TARGET void LB_N(lb_t_gemm_)(
    LB_N(lb_t_chunk_) (*decode)(lb_panel *panel, const uint8_t *tile, size_t tile_bytes, size_t tiles, size_t k, size_t g,
                                size_t n),
    const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y, size_t y_stride, bool add,
    lb_panel *panel)
{
    const size_t n_groups = lb_round_up64(k) / LB_GROUP;
    for (size_t i = 0; i < n_tiles;) {
        const uint8_t *tile = (const uint8_t *)w + i * tile_bytes;
        const size_t tiles = LB_T_GTILES == 2 && i + 2 <= n_tiles ? 2 : 1;
        lb_tile_job job = lb_tile_job_of(tile, tile_bytes, tiles, (x->n + LB_T_TOKENS - 1) / LB_T_TOKENS, (n_groups + LB_PANEL_GROUPS - 1) / LB_PANEL_GROUPS,
                                         y + i * LB_TILE_ROWS, y_stride, add);
        for (size_t g = 0; g < n_groups; g += LB_PANEL_GROUPS) {
            const size_t n = n_groups - g < LB_PANEL_GROUPS ? n_groups - g : LB_PANEL_GROUPS;
            const LB_N(lb_t_chunk_) c = decode(panel, tile, tile_bytes, tiles, k, g, n);
            job.last = g + n == n_groups;
#if LB_T_GTILES == 2
            if (tiles == 2 && c.plain) {
                LB_N(lb_t_two_plain_tiles_)(c.codes, c.code_stride, n, g, x, panel->acc, &job);
                continue;
            }
            if (tiles == 2) {
                LB_N(lb_t_two_tiles_)(c.codes, c.code_stride, panel, n, g, x, &job);
                continue;
            }
#endif
            LB_N(lb_t_one_tile_)(c.codes, c.code_stride, panel->scale, n, g, x, panel->acc, &job);
        }
        i += tiles;
    }
}

LB_T_TARGET void LB_N(lb_gemm_q8_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                                   size_t y_stride, bool add, void *scratch)
{
    LB_N(lb_t_gemm_)(LB_N(lb_t_decode_q8_), w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch);
}

#if LB_T_SMALL_TOKENS

/* n groups of q4 from g on: codes as they are, zero points beside them */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_small_q4_)(lb_panel *panel, const uint8_t *tile, size_t k, size_t g, size_t n)
{
    LB_N(lb_t_scales_)(panel->scale, tile + LB_Q_SCALES_AT, g, n);
    const uint8_t *codes = tile + lb_q4_codes_at(k) + g * 256, *zeros = tile + lb_q4_zeros_at(k) + g / 2 * 16;
    for (size_t p = 0; p < n / 2; p++) {
        LB_I z[2];
        LB_V(q4_zeros)(zeros + p * 16, &z[0], &z[1]);
        LB_V(store_i)(panel->zero + 2 * p * LB_TILE_ROWS, z[0]);
        LB_V(store_i)(panel->zero + (2 * p + 1) * LB_TILE_ROWS, z[1]);
        for (size_t j = 0; j < 8; j++) {
            const LB_B v = LB_V(load_b)(codes + p * 512 + 64 * j);
            LB_V(store_b)(panel->code + p * 1024 + 128 * j, LB_V(low_nibbles)(v));
            LB_V(store_b)(panel->code + p * 1024 + 128 * j + 64, LB_V(high_nibbles)(v));
        }
    }
}

/*
 * acc[token][16] += panel of small codes x tokens: a weight is (code << shift) - zero; an accumulator takes `quads` quads.
 * tokens and quads (8, 4, 2) are constants.
 */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_small_)(const lb_panel *panel, size_t n_groups, size_t first, const lb_input *x,
                                                    size_t token, float *acc, const size_t tokens, const int shift,
                                                    const size_t quads)
{
    const uint8_t *codes = panel->code;
    const int8_t *q = x->q + token * x->q_stride + first * LB_GROUP;
    const float *scale = x->scale + token * x->group_stride + first;
    const int32_t *sum = x->sum + token * x->group_stride + first;
    LB_F f[4];
    LB_UNROLL
    for (size_t t = 0; t < tokens; t++) {
        f[t] = LB_V(load)(acc + t * LB_TILE_ROWS);
    }
    for (size_t g = 0; g < n_groups; g++) {
        LB_I dot[4];
        LB_UNROLL
        for (size_t part = 0; part < 8; part += quads) {
            LB_D(small) a[4];
            LB_UNROLL
            for (size_t t = 0; t < tokens; t++) {
                a[t] = LB_D(small_zero)();
            }
            LB_UNROLL
            for (size_t j = part; j < part + quads; j++) {
                const LB_B w = LB_V(load_b)(codes + 64 * j);
                LB_UNROLL
                for (size_t t = 0; t < tokens; t++) {
                    a[t] = LB_D(small_dot)(a[t], w, LB_V(quad)(q + t * x->q_stride + 4 * j));
                }
            }
            LB_UNROLL
            for (size_t t = 0; t < tokens; t++) {
                const LB_I s = LB_D(small_sum)(a[t], LB_D(small_zero)());
                dot[t] = part == 0 ? s : LB_V(add_i)(dot[t], s);
            }
        }
        const LB_F s = LB_V(load)(panel->scale + g * LB_TILE_ROWS);
        const LB_I z = LB_V(load_i)(panel->zero + g * LB_TILE_ROWS);
        LB_UNROLL
        for (size_t t = 0; t < tokens; t++) {
            const LB_I zero = LB_V(mul_s16)(z, LB_V(set1_i)(sum[t * x->group_stride + g]));
            const LB_F v = LB_V(to_float)(LB_V(sub_i)(LB_V(sll_by)(dot[t], shift), zero));
            f[t] = LB_V(fma)(LB_V(mul)(s, LB_V(set1)(scale[t * x->group_stride + g])), v, f[t]);
        }
        codes += 512;
        q += LB_GROUP;
    }
    LB_UNROLL
    for (size_t t = 0; t < tokens; t++) {
        LB_V(store)(acc + t * LB_TILE_ROWS, f[t]);
    }
}

/* All tokens with a panel of small codes: a function for each number of quads, and of each format what calls it */
#define LB_T_SMALL_QUADS(quads)                                                                                       \
    static LB_SHARED LB_T_TARGET void LB_N(lb_t_tokens_##quads##_)(const lb_panel *panel, size_t n_groups,            \
                                                                   size_t first, const lb_input *x, float *acc,       \
                                                                   int shift)                                         \
    {                                                                                                                 \
        size_t t = 0;                                                                                                 \
        for (; LB_T_SMALL_TOKENS >= 4 && t + 4 <= x->n; t += 4) {                                                     \
            LB_N(lb_t_small_)(panel, n_groups, first, x, t, acc + t * LB_TILE_ROWS, 4, shift, quads);                 \
        }                                                                                                             \
        for (; LB_T_SMALL_TOKENS == 2 && t + 2 <= x->n; t += 2) {                                                     \
            LB_N(lb_t_small_)(panel, n_groups, first, x, t, acc + t * LB_TILE_ROWS, 2, shift, quads);                 \
        }                                                                                                             \
        for (; t < x->n; t++) {                                                                                       \
            LB_N(lb_t_small_)(panel, n_groups, first, x, t, acc + t * LB_TILE_ROWS, 1, shift, quads);                 \
        }                                                                                                             \
    }
LB_T_SMALL_QUADS(8)
#if !LB_T_SHARE
LB_T_SMALL_QUADS(4)
#endif
LB_T_SMALL_QUADS(2)
#undef LB_T_SMALL_QUADS

#define LB_T_SMALL(name, shift, quads)                                                                                \
    static LB_T_TARGET void LB_N(lb_t_tokens_##name##_)(const lb_panel *panel, size_t n_groups, size_t first,         \
                                                        const lb_input *x, float *acc)                                \
    {                                                                                                                 \
        LB_CAT4(lb_t_tokens_, quads, _, LB_T)(panel, n_groups, first, x, acc, shift);                                 \
    }

LB_T_SMALL(q4, 1, 8)

/* The loop around panels of small codes */
static LB_SHARED LB_T_TARGET void LB_N(lb_t_gemm_small_)(
    void (*decode)(lb_panel *panel, const uint8_t *tile, size_t k, size_t g, size_t n),
    void (*tokens)(const lb_panel *panel, size_t n_groups, size_t first, const lb_input *x, float *acc), const void *w,
    size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y, size_t y_stride, bool add, lb_panel *panel)
{
    const size_t n_groups = lb_round_up64(k) / LB_GROUP;
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *tile = (const uint8_t *)w + i * tile_bytes;
        memset(panel->acc, 0, x->n * LB_TILE_ROWS * sizeof(float));
        for (size_t g = 0; g < n_groups; g += LB_PANEL_GROUPS) {
            const size_t n = n_groups - g < LB_PANEL_GROUPS ? n_groups - g : LB_PANEL_GROUPS;
            decode(panel, tile, k, g, n);
            tokens(panel, n, g, x, panel->acc);
        }
        LB_N(lb_t_finish_all_)(panel, tile, tile_bytes, 1, x->n, y + i * LB_TILE_ROWS, y_stride, add);
    }
}

#endif

/* Few tokens, one after the other; a tile stays cached for all of them. */
static LB_SHARED void LB_N(lb_t_direct_)(lb_matmul_fn *gemv, const void *w, size_t tile_bytes, size_t n_tiles, size_t k,
                                         const lb_input *x, float *y, size_t y_stride, bool add)
{
    for (size_t i = 0; i < n_tiles; i++) {
        for (size_t t = 0; t < x->n; t++) {
            const lb_input one = {.n = 1,
                                  .q = x->q + t * x->q_stride,
                                  .scale = x->scale + t * x->group_stride,
                                  .sum = x->sum + t * x->group_stride,
                                  .start = x->start + t * x->group_stride,
                                  .lut = x->lut ? x->lut + t * x->lut_stride : NULL};
            gemv((const uint8_t *)w + i * tile_bytes, tile_bytes, 1, k, &one, y + t * y_stride + i * LB_TILE_ROWS, y_stride,
                 add, NULL);
        }
    }
}

LB_T_TARGET void LB_N(lb_gemm_q4_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                                   size_t y_stride, bool add, void *scratch)
{
    if (x->n <= LB_T_DIRECT) { /* too few tokens to pay for a panel */
        LB_N(lb_t_direct_)(LB_N(lb_gemv_q4_), w, tile_bytes, n_tiles, k, x, y, y_stride, add);
        return;
    }
#if LB_T_SMALL_TOKENS
    LB_N(lb_t_gemm_small_)(LB_N(lb_t_small_q4_), LB_N(lb_t_tokens_q4_), w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch);
#else
    LB_N(lb_t_gemm_)(LB_N(lb_t_decode_q4_), w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch);
#endif
}

#include "lb_t_bits.h"
#include "lb_t_s24.h"
#include "lb_t_int8.h"
#include "lb_t_masked.h"
#if LB_T_TCQ
#include "lb_t_tcq.h"
#endif

#undef LB_T_TCQ
#undef LB_T_BYTES
#undef LB_T_BYTE_TABLES
#undef LB_T_SMALL
#undef LB_T_SHARE
#undef LB_T_OWN_TILE
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
#undef LB_T_GTILES
#undef LB_T_TOKENS
#undef LB_T_SMALL_TOKENS
#undef LB_T_AHEAD
#undef LB_T_BITS_AHEAD
#undef LB_T_EIGHTHS
#undef LB_T_DIRECT
