/*
 * Blocks of tokens with smmla and usmmla: 2 rows x 8 columns times 2 tokens x 8 columns into 2 x 2 int32, exactly, twice the work of
 * sdot in an instruction. A block is 8 rows of a panel (of quads, as everywhere) by 8 tokens, or 2: two quads of 4 rows are zipped to two
 * pairs of rows with 8 columns each,
 *     c[row pair][token pair] = { row 0 x token 0, row 0 x token 1, row 1 x token 0, row 1 x token 1 }
 * and sums are unzipped to 4 rows of a token. A single token is a pair of the same.
 */
#ifndef LB_V_I8MM_H
#define LB_V_I8MM_H

#include "lb_v_dotprod.h"

#if defined(__clang__) /* as in lb_v_dotprod.h */
#define LB_TARGET_I8MM LB_TARGET("dotprod,i8mm")
#define LB_VOP LB_ALWAYS_INLINE LB_TARGET_I8MM
LB_VOP int32x4_t lb_v_i8mm_usmmla(int32x4_t acc, uint8x16_t w, int8x16_t x)
{
    __asm__("usmmla %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(w), "w"(x));
    return acc;
}
LB_VOP int32x4_t lb_v_i8mm_smmla(int32x4_t acc, int8x16_t w, int8x16_t x)
{
    __asm__("smmla %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(w), "w"(x));
    return acc;
}
#else
#define LB_TARGET_I8MM LB_TARGET("arch=armv8.2-a+dotprod+i8mm")
#define LB_VOP LB_ALWAYS_INLINE LB_TARGET_I8MM
LB_VOP int32x4_t lb_v_i8mm_usmmla(int32x4_t acc, uint8x16_t w, int8x16_t x) { return vusmmlaq_s32(acc, w, x); }
LB_VOP int32x4_t lb_v_i8mm_smmla(int32x4_t acc, int8x16_t w, int8x16_t x) { return vmmlaq_s32(acc, w, x); }
#endif

/* Tokens t and t + 1 (or t twice) of 8 columns */
LB_VOP int8x16_t lb_v_i8mm_pair(const int8_t *q, size_t stride) { return vcombine_s8(vld1_s8(q), vld1_s8(q + stride)); }

/*
 * c[4][pairs] += 8 rows of n_quads quads (an even number) x `pairs` token pairs; codes and q are where the rows and the first token begin.
 * flip: codes are 128 more than the weights, which may not be small; else codes are taken as they are, unsigned.
 */
LB_VOP void lb_v_i8mm_rows(int32x4_t c[4][4], const uint8_t *codes, size_t n_quads, const int8_t *q, size_t stride, size_t second,
                           const size_t pairs, const bool flip)
{
    for (size_t j = 0; j < n_quads; j += 2) {
        const uint32x4_t a0 = vreinterpretq_u32_u8(vld1q_u8(codes)), a1 = vreinterpretq_u32_u8(vld1q_u8(codes + 16));
        const uint32x4_t b0 = vreinterpretq_u32_u8(vld1q_u8(codes + 64)), b1 = vreinterpretq_u32_u8(vld1q_u8(codes + 80));
        const uint8x16_t w[4] = {vreinterpretq_u8_u32(vzip1q_u32(a0, b0)), vreinterpretq_u8_u32(vzip2q_u32(a0, b0)),
                                 vreinterpretq_u8_u32(vzip1q_u32(a1, b1)), vreinterpretq_u8_u32(vzip2q_u32(a1, b1))};
        int8x16_t x[4];
        LB_UNROLL
        for (size_t t = 0; t < pairs; t++) {
            x[t] = lb_v_i8mm_pair(q + 2 * t * stride + 4 * j, second);
        }
        LB_UNROLL
        for (size_t r = 0; r < 4; r++) {
            const int8x16_t s = vreinterpretq_s8_u8(veorq_u8(w[r], vdupq_n_u8(128)));
            LB_UNROLL
            for (size_t t = 0; t < pairs; t++) {
                c[r][t] = flip ? lb_v_i8mm_smmla(c[r][t], s, x[t]) : lb_v_i8mm_usmmla(c[r][t], w[r], x[t]);
            }
        }
        codes += 128;
    }
}

/* Groups with a scale each: acc[token][16] += fma(scale * x_scale, sum of (code - 128) * x, ...) */
LB_VOP void lb_v_i8mm_groups(const uint8_t *codes, const float *scales, size_t n_groups, const int8_t *q, size_t q_stride,
                             const float *x_scale, const int32_t *x_sum, size_t group_stride, float *acc, const size_t pairs,
                             const size_t each)
{
    const size_t second = each == 2 ? q_stride : 0, second_group = each == 2 ? group_stride : 0;
    for (size_t g = 0; g < n_groups; g++) {
        int32x4_t bias[4];
        LB_UNROLL
        for (size_t t = 0; t < pairs; t++) {
            const int32_t *sum = x_sum + 2 * t * group_stride + g;
            bias[t] = vzip1q_s32(vdupq_n_s32(-128 * sum[0]), vdupq_n_s32(-128 * sum[second_group]));
        }
        for (size_t h = 0; h < 2; h++) { /* rows 8 h and on */
            int32x4_t c[4][4];
            LB_UNROLL
            for (size_t r = 0; r < 4; r++) {
                LB_UNROLL
                for (size_t t = 0; t < pairs; t++) {
                    c[r][t] = bias[t];
                }
            }
            lb_v_i8mm_rows(c, codes + g * 512 + 32 * h, 8, q + g * LB_GROUP, q_stride, second, pairs, false);
            LB_UNROLL
            for (size_t r = 0; r < 4; r += 2) {
                const float32x4_t s = vld1q_f32(scales + g * LB_TILE_ROWS + 8 * h + 2 * r);
                LB_UNROLL
                for (size_t t = 0; t < pairs; t++) {
                    float *to = acc + 2 * t * LB_TILE_ROWS + 8 * h + 2 * r;
                    const float *xs = x_scale + 2 * t * group_stride + g;
                    const float32x4_t v0 = vcvtq_f32_s32(vuzp1q_s32(c[r][t], c[r + 1][t]));
                    vst1q_f32(to, vfmaq_f32(vld1q_f32(to), vmulq_n_f32(s, xs[0]), v0));
                    if (each == 2) {
                        const float32x4_t v1 = vcvtq_f32_s32(vuzp2q_s32(c[r][t], c[r + 1][t]));
                        to += LB_TILE_ROWS;
                        vst1q_f32(to, vfmaq_f32(vld1q_f32(to), vmulq_n_f32(s, xs[group_stride]), v1));
                    }
                }
            }
        }
    }
}

/* acc[token][16] += sum of code * x over n_quads quads */
LB_VOP void lb_v_i8mm_sums(const uint8_t *codes, size_t n_quads, const int8_t *q, size_t q_stride, int32_t *acc, const size_t pairs,
                           const size_t each, const bool flip)
{
    for (size_t h = 0; h < 2; h++) {
        int32x4_t c[4][4];
        LB_UNROLL
        for (size_t r = 0; r < 4; r++) {
            LB_UNROLL
            for (size_t t = 0; t < pairs; t++) {
                c[r][t] = vdupq_n_s32(0);
            }
        }
        lb_v_i8mm_rows(c, codes + 32 * h, n_quads, q, q_stride, each == 2 ? q_stride : 0, pairs, flip);
        LB_UNROLL
        for (size_t r = 0; r < 4; r += 2) {
            LB_UNROLL
            for (size_t t = 0; t < pairs; t++) {
                int32_t *to = acc + 2 * t * LB_TILE_ROWS + 8 * h + 2 * r;
                vst1q_s32(to, vaddq_s32(vld1q_s32(to), vuzp1q_s32(c[r][t], c[r + 1][t])));
                if (each == 2) {
                    to += LB_TILE_ROWS;
                    vst1q_s32(to, vaddq_s32(vld1q_s32(to), vuzp2q_s32(c[r][t], c[r + 1][t])));
                }
            }
        }
    }
}

/* All tokens: 8, then 2, then 1 at a time */
LB_VOP void lb_v_i8mm_all_sums(const uint8_t *codes, size_t n_quads, size_t first, const lb_input *x, int32_t *acc, const bool flip)
{
    size_t t = 0;
    const int8_t *q = x->tq + 4 * first;
    for (; t + 8 <= x->n; t += 8) {
        lb_v_i8mm_sums(codes, n_quads, q + t * x->tq_stride, x->tq_stride, acc + t * LB_TILE_ROWS, 4, 2, flip);
    }
    for (; t + 2 <= x->n; t += 2) {
        lb_v_i8mm_sums(codes, n_quads, q + t * x->tq_stride, x->tq_stride, acc + t * LB_TILE_ROWS, 1, 2, flip);
    }
    if (t < x->n) {
        lb_v_i8mm_sums(codes, n_quads, q + t * x->tq_stride, x->tq_stride, acc + t * LB_TILE_ROWS, 1, 1, flip);
    }
}

#undef LB_VOP
#endif /* LB_V_I8MM_H */
