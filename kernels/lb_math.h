/*
 * Scalar definitions that every level shares: the one exp, the one fma, half-precision conversions.
 * SIMD variants repeat exactly these operations, lane by lane.
 */
#ifndef LB_MATH_H
#define LB_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "lb_kernels.h"

LB_ALWAYS_INLINE uint32_t lb_f32_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

LB_ALWAYS_INLINE float lb_bits_f32(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* IEEE fused multiply-add; the C library's is exact where the hardware has none. */
LB_ALWAYS_INLINE float lb_fma(float a, float b, float c)
{
    return fmaf(a, b, c);
}

/*
 * exp(x) within 0.82 ulp: n = round(x / ln 2), r = x - n ln 2 in two steps, a polynomial of degree 6 on |r| <= ln(2) / 2 (its
 * coefficients searched for the least largest error of this very sequence of roundings), times 2^n. Below -87 it is 0 and
 * above 88 it is clamped to exp(88). NaN stays NaN, as the product with 2^n is a product and not integer arithmetic.
 */
#define LB_EXP_LO (-87.0f)
#define LB_EXP_HI 88.0f
#define LB_EXP_LOG2E 1.44269504088896341f
#define LB_EXP_MAGIC 12582912.0f /* 1.5 * 2^23: adding it rounds to an integer in the low mantissa bits */
#define LB_EXP_LN2_HI 0.693359375f
#define LB_EXP_LN2_LO (-2.12194440e-4f)
#define LB_EXP_C2 0.5f
#define LB_EXP_C3 0.166665062f
#define LB_EXP_C4 0.0416673943f
#define LB_EXP_C5 0.0083696451f
#define LB_EXP_C6 0.00138545362f

LB_ALWAYS_INLINE float lb_exp(float x)
{
    if (x < LB_EXP_LO) {
        return 0.0f;
    }
    if (x > LB_EXP_HI) {
        x = LB_EXP_HI;
    }
    float t = lb_fma(x, LB_EXP_LOG2E, LB_EXP_MAGIC);
    float n = t - LB_EXP_MAGIC;
    float r = lb_fma(n, -LB_EXP_LN2_HI, x);
    r = lb_fma(n, -LB_EXP_LN2_LO, r);
    float p = LB_EXP_C6;
    p = lb_fma(p, r, LB_EXP_C5);
    p = lb_fma(p, r, LB_EXP_C4);
    p = lb_fma(p, r, LB_EXP_C3);
    p = lb_fma(p, r, LB_EXP_C2);
    p = lb_fma(p, r, 1.0f);
    p = lb_fma(p, r, 1.0f);
    return p * lb_bits_f32((lb_f32_bits(t) << 23) + (127u << 23));
}

/*
 * exp(x) of x <= 0, of softmax, which has most of all: n = round(x / ln 2), a polynomial of degree 5 on r = x / ln 2 - n (1 at 0), times 2^n.
 * Within 2.2 ulp. Below -87 it is 0, NaN stays NaN.
 */
#define LB_EXP2_MAGIC 12583039.0f /* 1.5 * 2^23 + 127: as LB_EXP_MAGIC, and the low bits are the exponent's */
#define LB_EXP2_LOG2E_LO 1.92596303e-8f /* 1 / ln 2 - LB_EXP_LOG2E */
#define LB_EXP2_C1 0.693147123f
#define LB_EXP2_C2 0.240222797f
#define LB_EXP2_C3 0.0555060245f
#define LB_EXP2_C4 0.00967022125f
#define LB_EXP2_C5 0.0013304184f

LB_ALWAYS_INLINE float lb_exp_down(float x)
{
    if (x < LB_EXP_LO) {
        return 0.0f;
    }
    const float t = lb_fma(x, LB_EXP_LOG2E, LB_EXP2_MAGIC), n = t - LB_EXP2_MAGIC;
    const float r = lb_fma(x, LB_EXP2_LOG2E_LO, lb_fma(x, LB_EXP_LOG2E, -n));
    float p = lb_fma(LB_EXP2_C5, r, LB_EXP2_C4);
    p = lb_fma(p, r, LB_EXP2_C3);
    p = lb_fma(p, r, LB_EXP2_C2);
    p = lb_fma(p, r, LB_EXP2_C1);
    p = lb_fma(p, r, 1.0f);
    return p * lb_bits_f32(lb_f32_bits(t) << 23);
}

/*
 * The same where a probability becomes a code of 8 bits: a polynomial of degree 3, within 1.1e-4 of it; exactly 1 at 0. Below -64 it is as at -64,
 * 1.6e-28, which is nothing beside the 1 that every softmax has, and still a normal number after it has been multiplied by a scale.
 */
#define LB_EXP_CODE_LO -64.0f
#define LB_EXP_CODE_C1 0.69328293f
#define LB_EXP_CODE_C2 0.24221096f
#define LB_EXP_CODE_C3 0.05500893f

LB_ALWAYS_INLINE float lb_exp_code(float x)
{
    x = LB_EXP_CODE_LO > x ? LB_EXP_CODE_LO : x;
    const float t = lb_fma(x, LB_EXP_LOG2E, LB_EXP2_MAGIC), r = lb_fma(x, LB_EXP_LOG2E, LB_EXP2_MAGIC - t);
    float p = lb_fma(LB_EXP_CODE_C3, r, LB_EXP_CODE_C2);
    p = lb_fma(p, r, LB_EXP_CODE_C1);
    p = lb_fma(p, r, 1.0f);
    return p * lb_bits_f32(lb_f32_bits(t) << 23);
}

/* The fixed tree over 16 virtual lanes. A maximum is x > y ? x : y, so that a NaN in x never wins. */
LB_ALWAYS_INLINE float lb_lane_sum(const float lane[16])
{
    float v[8];
    for (int i = 0; i < 8; i++) {
        v[i] = lane[i] + lane[i + 8];
    }
    for (int i = 0; i < 4; i++) {
        v[i] = v[i] + v[i + 4];
    }
    return (v[0] + v[2]) + (v[1] + v[3]);
}

LB_ALWAYS_INLINE float lb_fmax(float x, float y)
{
    return x > y ? x : y;
}

LB_ALWAYS_INLINE float lb_lane_max(const float lane[16])
{
    float v[8];
    for (int i = 0; i < 8; i++) {
        v[i] = lb_fmax(lane[i], lane[i + 8]);
    }
    for (int i = 0; i < 4; i++) {
        v[i] = lb_fmax(v[i], v[i + 4]);
    }
    return lb_fmax(lb_fmax(v[0], v[2]), lb_fmax(v[1], v[3]));
}

#define LB_A8_TOKEN_MIN 1e-5f /* a token's largest magnitude counts as at least this (BitNet) */
#define LB_A8_TINY 1e-30f /* groups of activations whose largest magnitude is below are zero */
#define LB_KV_TINY 1e-20f /* the same for queries and probabilities that a KV cache is multiplied with */
#define LB_A8_ZERO_SCALE 0x1p-107f /* what such a group has for a scale, which is a normal number like any other's */

/* The scale of a group of activations, amax >= LB_A8_TINY: amax / 127, rounded up to one of eight significands, 8/8 .. 15/8 */
LB_ALWAYS_INLINE float lb_a8_scale(float amax)
{
    return lb_bits_f32((lb_f32_bits(amax * (1.0f / 127.0f)) + 0xfffff) & ~(uint32_t)0xfffff);
}

/* mini(u): the 8-bit scale of the group formats, see lb_kernels.h */
LB_ALWAYS_INLINE float lb_mini(uint8_t u)
{
    return lb_bits_f32(((uint32_t)u << 19) + (112u << 23));
}

/* Zero point of a 4-bit index, in half steps: see q4 in lb_kernels.h */
LB_ALWAYS_INLINE int lb_q4_zero(unsigned index)
{
    static const uint8_t zero[16] = LB_Q4_ZERO;
    return zero[index & 15];
}

LB_ALWAYS_INLINE float lb_bf16_to_f32(uint16_t h)
{
    return lb_bits_f32((uint32_t)h << 16);
}

LB_ALWAYS_INLINE float lb_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t mag = h & 0x7fff;
    if (mag >= 0x7c00) { /* infinity, NaN (made quiet) */
        return lb_bits_f32(sign | 0x7f800000u | (mag & 0x3ff) << 13 | ((mag & 0x3ff) ? 0x400000u : 0));
    }
    if (mag < 0x400) { /* zero and subnormal: an exact product */
        float f = (float)mag * 0x1p-24f;
        return lb_bits_f32(lb_f32_bits(f) | sign);
    }
    return lb_bits_f32(sign | ((mag << 13) + (112u << 23)));
}

LB_ALWAYS_INLINE uint16_t lb_f32_to_f16(float f)
{
    uint32_t u = lb_f32_bits(f);
    uint32_t sign = u >> 16 & 0x8000;
    u &= 0x7fffffff;
    if (u > 0x7f800000) {
        return (uint16_t)(sign | 0x7e00 | (u >> 13 & 0x3ff));
    }
    if (u >= 0x477ff000) { /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7c00);
    }
    if (u < 0x38800000) { /* result is subnormal or zero: let the float adder round */
        float r = lb_bits_f32(u) + 0.5f;
        return (uint16_t)(sign | (lb_f32_bits(r) - 0x3f000000u));
    }
    u += 0xfff + (u >> 13 & 1);
    return (uint16_t)(sign | (u - (112u << 23)) >> 13);
}

LB_ALWAYS_INLINE uint16_t lb_f32_to_bf16(float f)
{
    uint32_t u = lb_f32_bits(f);
    if ((u & 0x7fffffff) > 0x7f800000) {
        return (uint16_t)(u >> 16 | 0x40);
    }
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

#endif /* LB_MATH_H */
