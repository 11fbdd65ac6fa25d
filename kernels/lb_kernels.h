/*
 * The contract between the runtime and the arithmetic.
 *
 * lb_kernels is one struct of function pointers. A portable C reference of every entry is in ref/, SIMD
 * variants are in x86/ and arm/, and lb_select.c is the one place that decides which are used. Kernels are pure:
 * they allocate nothing, start no threads, have no globals and cannot fail.
 *
 * THE SAME BITS EVERYWHERE. An entry defines its result exactly; every variant returns the same bits.
 *  - fma(a, b, c) means the IEEE fused multiply-add, one rounding. Where this header says fma, every variant
 *    fuses; everywhere else it rounds after each operation. Levels without the instruction emulate it exactly.
 *  - Reductions over a vector use 16 virtual lanes: element i belongs to lane i % 16 and lanes are filled in rising i; then
 *    lane j takes lane j + 8, then j + 4, j + 2, j + 1 (a fixed tree), for sums and maxima alike. A maximum of x with what was
 *    found before is x > before ? x : before, so that a NaN never wins.
 *  - NaN stands for any NaN: its sign and payload are those of the CPU.
 *  - Matrix products have no reduction across lanes at all: a lane is an output row (below).
 *
 * MATRIX TILES. A packed matrix is a sequence of tiles of 16 output rows (the last tile is filled up with zero
 * rows). Inside a tile the 16 rows are interleaved so that one load brings the same k for all rows; k (columns) is filled up
 * to a multiple of 64. A tile is one or more planes, each beginning at a multiple of 64 bytes; tiles follow each other
 * without gaps. The layout never depends on the CPU. Formats (formats/container/lb_wformat.h has their names, each with a
 * description of its planes): the bytes of a tile are fixed by the format and k alone.
 */
#ifndef LB_KERNELS_H
#define LB_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lb_compiler.h"

#define LB_TILE_ROWS 16u
#define LB_GROUP 32u     /* columns that share a weight scale and an activation scale */
#define LB_K_ALIGN 64u   /* columns are stored in multiples of this */
#define LB_MM_MAX_N 256u /* most tokens in one call of a matrix product */
#define LB_KV_CHUNK 256u /* positions in one chunk of attention */

/* Weight formats; the numbers are those in the file. */
typedef enum lb_wformat {
    LB_W_NONE = 0,
    LB_W_F32 = 1,
    LB_W_F16 = 2,
    LB_W_BF16 = 3,
    LB_W_Q8 = 8,
    LB_W_INT8 = 9,
    LB_W_Q6 = 10,
    LB_W_Q5 = 11,
    LB_W_Q4 = 12,
    LB_W_Q3 = 13,
    LB_W_Q2 = 14,
    LB_W_TCQ2 = 32,
    LB_W_TCQ3 = 33,
    LB_W_TCQ4 = 34,
    LB_W_TERN = 20,
    LB_W_LUT1 = 16,
    LB_W_LUT2 = 17,
    LB_W_LUT3 = 18,
    LB_W_LUT4 = 19,
    LB_W_S24Q8 = 24,
    LB_W_S24Q4 = 25,
    LB_W_COUNT = 64
} lb_wformat;

/*
 * Planes of a tile, k columns (a multiple of 64), row r = 0..15:
 *   f32 f16 bf16   one plane: value (k, r) at index k * 16 + r.
 *   q8 (8.25 bits) plane 0: f32 row_scale[16];  plane 1: u8 group_scale[k / 32][16];  plane 2: u8 code[k / 4][16][4]
 *                  weight (r, c) = row_scale[r] * mini(group_scale[c / 32][r]) * (code - 128), code in 1..255
 *   int8 (8 bits)  plane 0: f32 row_scale[16];  plane 1: u8 code[k / 4][16][4];  k is at most LB_INT8_MAX_K
 *                  weight = row_scale * (code - 128), code in 1..255
 *   q4 (4.375 bits) plane 0, plane 1 as q8;  plane 2: u8 zero[k / 64][16]: an index of row r's zero point in the even group
 *                  (bits 0-3) and in the odd group (bits 4-7) of 64 columns;  plane 3: u8 code[k / 8][16][4]: byte (j, r, i)
 *                  holds column 8 j + i in bits 0-3 and column 8 j + 4 + i in bits 4-7
 *                  weight = row_scale * mini(group_scale) * (2 * code - LB_Q4_ZERO[index])
 *   q6 (6.25 bits), q5 (5.25), q3 (3.25), q2 (2.25): plane 0 as q8;  plane 1: u8 group[k / 32][16];  plane 2: codes
 *                  weight = row_scale * scale(group) * ((code << shift) - zero[group & 15]); lb_bits.c has the zero points,
 *                  scale(u) is an 8-bit float (1 + (u & 63) / 64) * 2^((u >> 6) - 3): as a binary32 (u << 17) + (124 << 23).
 *                  Its last 4 bits are the zero point's index at the same time. shift: q6 0, q5 1, q3 2, q2 2.
 *                  Codes are in units of `vectors` times 64 bytes, byte (r, i) of each holding bits of column 4 j + i of row r
 *                  for several quads j of the unit. The bits of quad j (low bits first, v.a..b = bits a to b of vector v):
 *                  q2, 1 vector, 4 quads: 0: 0.0..1   1: 0.2..3   2: 0.4..5   3: 0.6..7
 *                  q3, 3 vectors, 8 quads: 0: 0.0..2   1: 0.3..5   2: 1.0..2   3: 1.3..5   4: 2.0..2   5: 2.3..5
 *                                          6: 0.6..7 2.6   7: 1.6..7 2.7
 *                  q5, 5 vectors, 8 quads: 0 to 4: j.0..4   5: 0.5..7 1.5..6   6: 2.5..7 3.5..6   7: 4.5..7 1.7 3.7
 *                  q6, 3 vectors, 4 quads: 0 to 2: j.0..5   3: 2.6..7 1.6..7 0.6..7
 *   lut4 (4.25 bits), lut3 (3.25), lut2 (2.25), lut1 (1.25): plane 0, plane 1 and the meaning of codes as q6 .. q2, shift: lut4 1, others 2;
 *                  plane 2: u8 bits[k / 32][4 or 3, 2, 1][4][16]: byte (g, b, p, r) has bit b of the codes of row r, columns
 *                  32 g + 8 p + i in its bits i = 0..7. lut2 and lut3 are q2 and q3 with their bits in other places.
 *   tcq2 tcq3 tcq4 (2, 3, 4 bits) plane 0: f32 row_scale[16];  plane 1: lines of u8 [16][4], byte (r, b) of the lines is the stream
 *                  of columns 4 j + b of row r, earlier columns in lower bits, earlier lines first. tcq2: a line is 16 columns;
 *                  tcq4: 8; tcq3: three lines are 32 columns, two with 2 bits of 16 columns each, one with 1 bit of all 32
 *                  weight = row_scale * integer weight, see lb_tcq_code.h; every byte is valid
 *   tern (1.6 bits) plane 0: f32 row_scale[16];  plane 1: u8 code[lines][16][4], lines = columns / 20, rounded up
 *                  five trits a byte: (l, r, i) holds columns 20 l + 4 j + i, j = 0..4, as digits d_j = 0..2 of the fraction
 *                  code / 256 in base 3: f_0 = code, d_j = 3 f_j >> 8, f_{j+1} = 3 f_j & 255. A packer writes
 *                  ceil(v * 256 / 243), v = 81 d_0 + 27 d_1 + 9 d_2 + 3 d_3 + d_4; every byte is valid. Columns past the
 *                  true ones have d = 1.  weight = row_scale * (d - 1)
 *                  (f moves on by two additions, a digit is two comparisons; 256 d_j = 3 f_j - f_{j+1} needs not even those)
 *   s24q8 (5.125 bits), s24q4 (3.125): 2:4 sparsity, two weights of each quad of columns are stored, the others are zero
 *                  plane 0: f32 row_scale[16];  plane 1: u8 scale[k / 64][16];  plane 2: per group of 32 columns
 *                  u8 position[16][4], then values: s24q8 u8 code[4][16][4], s24q4 u8 code[2][16][4]. Vector j = 0..3 is columns
 *                  8 j .. 8 j + 7 of the group: byte (r, i) of it is the value of row r that lies in quad 2 j + i / 2 at the column
 *                  that bits 2 j and 2 j + 1 of position (r, i) name; of the two of a quad the first has the smaller column
 *                  (of equal columns both count: every byte is valid). s24q4: vector j is in the low (even j) or high nibbles of line j / 2
 *                  weight = row_scale * mini(scale[c / 64]) * (s24q8: code - 128, code in 1..255; s24q4: code - 8)
 * Zero points of q4 are in half steps, dense where they are likely: integers only would cost 10 % of squared error.
 * Columns past the true ones have codes of no meaning; activations there are zero.
 * mini(u) is an 8-bit float without sign: 4 bits of exponent, 4 of mantissa, (1 + (u & 15) / 16) * 2^((u >> 4) - 15); as a
 * binary32 its bits are (u << 19) + (112 << 23). The largest, mini(255), is 1.9375.
 * bits: per weight, for large k.
 */

#define LB_Q4_ZERO {0, 5, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 25} /* for a table of u8 */

/* How a weight format wants its activations. */
typedef enum lb_reads {
    LB_READS_F32 = 0,     /* as they are: f32 f16 bf16 */
    LB_READS_A8 = 1,      /* int8 by groups of 32 columns (quantize_a8): q8 .. q2, tcq, s24 */
    LB_READS_A8_TOKEN = 2, /* int8 by token (quantize_a8_token): tern, int8 */
    LB_READS_LUT = 3,      /* LB_READS_A8 and, of the first LB_LUT_TOKENS tokens, the tables of lut_tables: lut4 .. lut1 */
    LB_READS_BYTES = 4     /* the tables of byte_tables: lut4 .. lut1 where they are asked for */
} lb_reads;

/* What a matrix product reads: n tokens of k columns in the representation of its format; the others may be NULL. */
typedef struct lb_input {
    size_t n;               /* tokens, 1..LB_MM_MAX_N */
    const float *f32;       /* [n][f32_stride]; formats f32 f16 bf16 read columns 0..k-1 */
    size_t f32_stride;
    const int8_t *q;        /* [n][q_stride] int8 codes in -127..127, zero past the true columns; 64-byte aligned */
    size_t q_stride;        /* a multiple of 64; an odd one keeps many tokens from sharing cache sets (4096 is the worst) */
    const float *scale;     /* [n][group_stride]: one per group of 32 columns, as quantize_a8 makes them */
    const int32_t *sum;     /* [n][group_stride]: sum of a group's 32 codes */
    const int32_t *start;   /* [n][group_stride]: -128 times it, where sums begin if weights are codes around 128 */
    size_t group_stride;
    const int8_t *tq;         /* [n][tq_stride]: codes by token; otherwise as q */
    size_t tq_stride;
    const float *token_scale; /* [n] */
    const int32_t *token_sum; /* [n]: sum of a token's codes */
    const uint8_t *lut;       /* [n][lut_stride]: tables by lut_tables, 64-byte aligned; NULL: the product does without */
    size_t lut_stride;        /* a multiple of 64 */
    const uint8_t *bytes;     /* [n][bytes_stride]: tables by byte_tables, 64-byte aligned */
    size_t bytes_stride;      /* a multiple of 64 */
    const float *bytes_scale; /* [n][group_stride] */
    const int32_t *bytes_sum; /* [n][group_stride] */
    struct lb_fetch *fetch;   /* kv_product and f16 with few tokens: what to prefetch meanwhile; NULL: nothing known */
} lb_input;

/* Memory that will be read next, to be prefetched by kernels that compute on something else: `at` moves on by what was. */
typedef struct lb_fetch {
    const uint8_t *at;
    size_t piece; /* bytes for a row of softmax_chunk or kv_quantize */
    size_t lines; /* kv_product: of 64 bytes, for every 256 bytes of codes that are read */
} lb_fetch;

/*
 * y[t][16 i + r] = sum over columns of W(row 16 i + r) * x[t], for n_tiles tiles from w on, every token t.
 * y rows are y_stride floats apart; y has room for 16 * n_tiles floats per token. If `add`, the finished sum is added to
 * y (one rounding: y = y + sum) instead of stored. w is 64-byte aligned. `scratch` has LB_MM_SCRATCH bytes, 64-byte aligned.
 *
 * Exact results, per row and token:
 *   float formats: acc = +0; for c = 0..k-1: acc = fma((float)w_c, x_c, acc). k is any number >= 1 here (the tile's planes still
 *                  have the size of `k_tile`, see below).
 *   q8, q4:        acc = +0; for each group g in order: isum = sum of (code - 128) * x_code (q8) or
 *                  (2 * code - zero) * x_code (q4), exact in int32;
 *                  acc = fma(mini(group_scale) * x_scale, (float)isum, acc); at the end acc = acc * row_scale.
 *   q6 .. q2, lut4 .. lut1: the same with isum = sum of ((code << shift) - zero) * x_code and scale(group) for mini.
 *   s24q8 s24q4:   the same with isum = sum of (code - 128) or (code - 8) * x_code over the stored weights and mini(scale[g / 2]).
 *   tcq2 tcq3 tcq4: acc = +0; for each group g in order: isum = sum of weight * x_code, exact in int32;
 *                  acc = fma(x_scale, (float)isum, acc); at the end acc = acc * row_scale.
 *   tern:          isum = sum of (d - 1) * x_code over all columns, exact in int32 (|isum| <= 127 * 2^24);
 *                  the sum is (float)isum * (row_scale * token_scale).
 *   int8:          the same with isum = sum of (code - 128) * x_code.
 * tile_bytes is the distance between tiles.
 */
typedef void lb_matmul_fn(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                          size_t y_stride, bool add, void *scratch);

#define LB_INT8_MAX_K ((size_t)1 << 17) /* 128 * 127 * 2^17 < 2^31 */

#define LB_MM_SCRATCH (160u * 1024u)

/*
 * Tables of partial sums for products by lookup (T-MAC, arXiv 2407.00088, with tables that are exact). For every quad of columns 4 j ..
 * 4 j + 3 and every m = 0..15: T(j, m) = sum of x_code(4 j + i) over the bits i that m has. |T| <= 508. A group of 32 columns has
 * 256 bytes: low bytes (T & 255) of even quads, their high bytes (T >> 8), low and high bytes of odd quads, each u8 [4][16].
 */
#define LB_LUT_GROUP_BYTES 256u
#define LB_LUT_TOKENS 4u /* tables are made for this many tokens of a batch at most: with more, products do without */

/*
 * T-MAC's own tables, which round: another arithmetic for lut4 .. lut1, by choice (lb_linear_rules.bytes). Of a group of 32 columns of x,
 * for every quad j = 0..7 and every m = 0..15: f(j, m) = (s0 * x_0 + s1 * x_1) + (s2 * x_2 + s3 * x_3), si = 1 if m has bit i, else -1, each
 * operation rounding once; so f(j, 15 - m) = -f(j, m). amax = max |f| over the group (as integers, so that a NaN counts as larger than
 * everything); if it is not finite: scale = NaN, t = 0; if amax < 1e-30: scale = 0, t = 0; else scale = amax / 63 and
 * t(j, m) = round_half_even(f(j, m) * (63 / amax)), which is -63..63, so that two add up in a byte (the paper's fast aggregation, but
 * without its error). sum = sum over j of t(j, 15). Stored are bytes t + 64, 128 a group: even quads u8 [4][16], then odd ones.
 *
 * The product of lut4 .. lut1 with them: acc = +0; for each group in order
 *     S(b) = sum over p = 0..3 of t(2 p, low nibble) + t(2 p + 1, high nibble) of byte p of bit plane b
 *     isum = (sum over b of S(b) << b << (shift - 1)) + (centre - zero) * sum, centre = ((1 << bits) - 1) << (shift - 1); it fits 16 bits
 *     acc = fma(scale(group) * x_scale, (float)isum, acc)
 * and at the end acc * row_scale. As 2 * code = (sum over b of +-2^b) + 2^bits - 1, that is sum of ((code << shift) - zero) * x.
 */
#define LB_BYTES_GROUP 128u

/*
 * A quantized KV cache (runtime/engine/lb_kv.h) is read through one product. Codes are tiles of 16 rows as in a packed matrix, without
 * scales inside; k is a multiple of 32. The integer weight of row r and column c is
 *   q8  code - 128,     u8 code[k / 4][16][4]
 *   q4  2 * code - 15,  u8 code[k / 8][16][4]: byte (j, r, i) holds column 8 j + i in bits 0-3 and column 8 j + 4 + i in bits 4-7
 *   q2  2 * code - 3,   u8 code[k / 16][16][4]: byte (j, r, i) holds column 16 j + 4 b + i in bits 2 b and 2 b + 1
 * Activations are those of kv_quantize, in groups of LB_KV_GROUP columns, of which the last may be half there. Rows are kept in fours: of rows
 * 4 i .. 4 i + 3, which begin at q + 4 i * q_stride, int8 q[k / 4][4][4] has columns 4 j .. 4 j + 3 of row 4 i + r at [j][r]; scales and sums,
 * 4 i * group_stride behind the first, are [k / LB_KV_GROUP][4]. What is there for rows that are not may be anything.
 * Exactly, for row r of tile i and token t: acc = +0; for each group g, isum = sum of weight * x_code, exact in
 * int32: acc = fma(x_scale, (float)isum, acc). With row_scale: acc = fma(acc, row_scale[16 i + r], base[t][i / 4]), row scales being
 * bf16. Then y[t][16 i + r] = acc, or y = y + acc with `add`.
 */
#define LB_KV_GROUP 64u
#define LB_KV_MAX_K 1024u /* columns of a product: a head's width, or the positions of a chunk */

enum { LB_KV_PRODUCT_Q8, LB_KV_PRODUCT_Q4, LB_KV_PRODUCT_Q2, LB_KV_PRODUCTS };

typedef struct lb_kv_matrix {
    const uint8_t *codes; /* 64-byte aligned */
    size_t tile_bytes;    /* the distance between tiles */
    size_t n_tiles, k;
    const uint16_t *row_scale; /* [n_tiles * 16], or NULL: no scales and no base */
    const float *base;         /* [n][base_stride] */
    size_t base_stride;
} lb_kv_matrix;

/* Where kv_quantize puts what lb_input has of the same names */
typedef struct lb_kv_codes {
    int8_t *q;
    float *scale;
    int32_t *sum;
    size_t q_stride, group_stride;
} lb_kv_codes;

typedef void lb_kv_product_fn(const lb_kv_matrix *w, const lb_input *x, float *y, size_t y_stride, bool add);

typedef struct lb_kernels {
    const char *isa;

    /* Matrix product per weight format; NULL where the format is unknown. gemv is called with n == 1, gemm with n >= 1: any
     * split gives the same bits. */
    lb_matmul_fn *gemv[LB_W_COUNT];
    lb_matmul_fn *gemm[LB_W_COUNT];

    /*
     * x[0..k-1] to int8 groups of 32: amax = max |x| (as integers, so that a NaN counts as larger than everything);
     * if amax is not finite: scale = NaN, codes 0; if amax < 1e-30: scale = 2^-107, codes 0; else scale = amax * (1 / 127) rounded up to 4
     * significant bits, and code = round_half_even(x * (1 / scale)). Writes k_pad = k rounded up to 64 codes, k_pad / 32 scales, sums, and sums times -128.
     * So few bits make products of scales exact, and let a kernel have them without multiplying (lb_t_eighths.h). They add 10 % to the
     * squared error of activations, which is a tenth of q8's KL divergence and less of formats with fewer bits.
     */
    void (*quantize_a8)(const float *x, size_t k, int8_t *q, float *scale, int32_t *sum, int32_t *start);

    /*
     * x[0..k-1] to int8 with one scale (BitNet b1.58): amax as above; if it is not finite: scale = NaN, codes 0; else amax is
     * at least 1e-5, scale = amax / 127 and code = round_half_even(x * (127 / amax)). Writes k_pad codes and their sum.
     */
    void (*quantize_a8_token)(const float *x, size_t k, int8_t *q, float *scale, int32_t *sum);

    /* The tables of k (a multiple of 64) codes of one token: k / 32 * LB_LUT_GROUP_BYTES bytes, 64-byte aligned */
    void (*lut_tables)(const int8_t *q, size_t k, uint8_t *tables);

    /* lut4 .. lut1 with tables of bytes: of format LB_W_LUT1 + i. scratch may be NULL if n == 1. */
    lb_matmul_fn *bytes[4];

    /* Tables of bytes of x[0..k-1]: k_pad / 32 * LB_BYTES_GROUP bytes, 64-byte aligned, as many scales and sums as groups */
    void (*byte_tables)(const float *x, size_t k, uint8_t *tables, float *scale, int32_t *sum);

    /* y_i = (x_i * r) * w_i, r = 1 / sqrt(ss / n + eps), ss = lane sum with lane = fma(x, x, lane). y may be x. */
    void (*rmsnorm)(float *y, const float *x, const float *w, size_t n, float eps);

    /* y_i = y_i + x_i */
    void (*add)(float *y, const float *x, size_t n);

    /*
     * The product of a sparse matrix: a tile is tile_bytes / 64 lines of u16 column[16], f16 value[16], one number of each row. Reads
     * x->f32; columns are below k. Exactly, per row and token: acc = +0; for each line: acc = fma(value, x_column, acc). x->n >= 1.
     */
    lb_matmul_fn *sparse;

    /*
     * The product of a matrix of which most is zero. A tile of k columns (a multiple of 64): planes 0 and 1 as q8; plane 2: u64
     * mask[k / 4], bit 4 r + i for row r, column 4 j + i of quad j; plane 3: u8 value[], at least 64 of them, to the tile's end: its size
     * says how many. Bits of a mask that are set take values in order, from `at` on; before the first quad at = 0, and behind each
     * at = min(at + bits set, values - 64): whatever the masks say, nothing is read behind the tile. code = the value, 128 without one; the
     * result is that of q8. x->n >= 1.
     */
    lb_matmul_fn *masked;

    /* y_i = y_i * s */
    void (*scale)(float *y, float s, size_t n);

    /* gate_i = silu(gate_i) * up_i, silu(x) = x / (1 + exp(-x)), exp as in lb_math.h */
    void (*silu_mul)(float *gate, const float *up, size_t n);

    /* gate_i = r * r * up_i, r = gate_i if that is above 0, else 0 (so also for NaN) */
    void (*relu2_mul)(float *gate, const float *up, size_t n);

    /*
     * Rotary embedding of n_heads heads of head_dim floats each, the first rot_dim (even) of each rotated; cs[2 i], cs[2 i + 1] are cos
     * and sin of pair i. Pairs are (2 i, 2 i + 1) if interleaved, else (i, i + rot_dim / 2).
     * (a, b) -> (fma(a, cos, -(b * sin)), fma(a, sin, b * cos))
     */
    void (*rope)(float *x, const float *cs, size_t n_heads, size_t head_dim, size_t rot_dim, bool interleaved);

    /*
     * One chunk of a softmax, for n_rows rows, `stride` floats apart: s[0..n-1] of each are scores, n in 1..LB_KV_CHUNK. Replaces them by
     * p_i = exp(s_i - m) (lb_exp_down), m = their maximum; stores m, and the lane sum of p. Writes zeros to s[n..n rounded up to 16]. fetch may be NULL.
     */
    void (*softmax_chunk)(float *s, size_t stride, size_t n_rows, size_t n, float *max, float *sum, lb_fetch *fetch);

    /* o_i = fma(b, c_i, a * o_i): joins a chunk's output c to the running output o */
    void (*axpby)(float *o, const float *c, float a, float b, size_t n);

    /*
     * o_i = the sum of w_c * x[c * stride + i] over c = 0 .. n-1, i < width, which is a multiple of 16: acc = +0; for each c: acc = fma(w_c, x_ci, acc). Joins
     * the outputs of n chunks. Rows may overlap.
     */
    void (*weigh)(float *o, const float *x, size_t stride, const float *w, size_t n, size_t width);

    /* IEEE conversions, round to nearest even */
    void (*f32_to_f16)(uint16_t *y, const float *x, size_t n);
    void (*f16_to_f32)(float *y, const uint16_t *x, size_t n);

    /* max over i of x_i and its first index; NaN never wins; n >= 1. index = n if all are NaN or -inf. */
    size_t (*argmax)(const float *x, size_t n);

    /*
     * The randomized block Hadamard transform: y = H (sign * x) / sqrt(block) for every block of `block` numbers (a power of two >= 16
     * that divides n). Bit i % 8 of signs[i / 8] set: sign_i = -1. Exactly: v_i = x_i or -x_i; for h = 1, 2, 4, ... block / 2: (v_i, v_i+h) -> (v_i + v_i+h, v_i - v_i+h) for the i
     * without bit h; at the end v_i * (1 / sqrt(block)). y may be x.
     */
    void (*hadamard)(float *y, const float *x, const uint8_t *signs, size_t n, size_t block);

    lb_kv_product_fn *kv_product[LB_KV_PRODUCTS];

    /*
     * What the means of a chunk's four blocks of keys give for n queries: means f16 [w][16], x [n][w][16] (a query's number j w + c at
     * [c][4 j .. 4 j + 3]), base [n][4]. acc_r = +0; for c = 0..w-1: acc_r = fma(mean[c][r], x[c][r], acc_r);
     * base[b] = ((acc_b + acc_(4 + b)) + acc_(8 + b)) + acc_(12 + b).
     */
    void (*kv_means)(const uint16_t *means, size_t w, const float *x, size_t n, float *base);

    /*
     * n_rows rows of x, `stride` floats apart, each of n numbers (a multiple of LB_KV_GROUP), times those of w in bf16 if it is not NULL: y_i = x_i * w_i.
     * Groups of y, in the order that products want (above), are quantized as by quantize_a8, but scale = amax * (1 / 127), or 0 and zeros below LB_KV_TINY. fetch may be NULL.
     */
    void (*kv_quantize)(const float *x, size_t stride, size_t n_rows, const uint16_t *w, size_t n, const lb_kv_codes *to, lb_fetch *fetch);

    /*
     * softmax_chunk and kv_quantize of a whole chunk in one: n_rows rows of LB_KV_CHUNK scores, `stride` floats apart. m = a row's maximum, p_i = lb_exp_code(s_i - m);
     * max and sum have m and the lane sum of p, `to` the codes of p_i * w_i; w_i has no sign. Afterwards what is in s is undefined. fetch may be NULL.
     */
    void (*kv_softmax)(float *s, size_t stride, size_t n_rows, const uint16_t *w, const lb_kv_codes *to, float *max, float *sum, lb_fetch *fetch);
} lb_kernels;

/*
 * Fills `k` with the kernels of a level: by name, or NULL for the best of this CPU. False, and `k` as it was, if the name is unknown or this
 * CPU (or its operating system) does not support it.
 */
bool lb_kernels_get(lb_kernels *k, const char *isa);

/* The name of this CPU's best level */
const char *lb_isa_best(void);

/* Level i of those compiled in, from the lowest on (NULL past the end), and whether this CPU runs it. */
const char *lb_isa_level(size_t i, bool *usable);

#endif /* LB_KERNELS_H */
