/*
 * Virtual vectors on NEON: f is 16 floats, i is 16 int32, b is 64 bytes; four q registers each (v[0] has rows 0..3).
 * kernels/tmpl/README lists the operations. Everything here is plain ARMv8-A.
 */
#ifndef LB_V_NEON_H
#define LB_V_NEON_H

#include <arm_neon.h>

#include "../lb_math.h"

#define LB_TARGET_NEON /* what every aarch64 has */
#define LB_VOP LB_ALWAYS_INLINE

typedef struct lb_v_neon_f {
    float32x4_t v[4];
} lb_v_neon_f;
typedef struct lb_v_neon_i {
    int32x4_t v[4];
} lb_v_neon_i;
typedef struct lb_v_neon_b {
    uint8x16_t v[4];
} lb_v_neon_b;

/* The four quarters of an operation */
#define LB_V4_(type, q0, q1, q2, q3) ((type){{q0, q1, q2, q3}})
#define LB_V4_BIN_(name, type, op)                                                                                    \
    LB_VOP type lb_v_neon_##name(type x, type y)                                                                      \
    {                                                                                                                 \
        return LB_V4_(type, op(x.v[0], y.v[0]), op(x.v[1], y.v[1]), op(x.v[2], y.v[2]), op(x.v[3], y.v[3]));          \
    }
#define LB_V4_UN_(name, to, from, op)                                                                                 \
    LB_VOP to lb_v_neon_##name(from x) { return LB_V4_(to, op(x.v[0]), op(x.v[1]), op(x.v[2]), op(x.v[3])); }

/* Comparisons, as vmaxq and vminq treat NaN in another way */
LB_VOP float32x4_t lb_v_neon_max4(float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }
LB_VOP float32x4_t lb_v_neon_min4(float32x4_t x, float32x4_t y) { return vbslq_f32(vcltq_f32(x, y), x, y); }

LB_V4_BIN_(add, lb_v_neon_f, vaddq_f32)
LB_V4_BIN_(sub, lb_v_neon_f, vsubq_f32)
LB_V4_BIN_(mul, lb_v_neon_f, vmulq_f32)
LB_V4_BIN_(div, lb_v_neon_f, vdivq_f32)
LB_V4_BIN_(max, lb_v_neon_f, lb_v_neon_max4)
LB_V4_BIN_(min, lb_v_neon_f, lb_v_neon_min4)
LB_V4_BIN_(add_i, lb_v_neon_i, vaddq_s32)
LB_V4_BIN_(sub_i, lb_v_neon_i, vsubq_s32)
LB_V4_BIN_(and_i, lb_v_neon_i, vandq_s32)
LB_V4_BIN_(max_i, lb_v_neon_i, vmaxq_s32)
LB_V4_BIN_(mul_s16, lb_v_neon_i, vmulq_s32)
LB_V4_BIN_(add_b, lb_v_neon_b, vaddq_u8)
LB_V4_BIN_(sub_b, lb_v_neon_b, vsubq_u8)
LB_V4_UN_(neg, lb_v_neon_f, lb_v_neon_f, vnegq_f32)
LB_V4_UN_(bits, lb_v_neon_i, lb_v_neon_f, vreinterpretq_s32_f32)
LB_V4_UN_(from_bits, lb_v_neon_f, lb_v_neon_i, vreinterpretq_f32_s32)
LB_V4_UN_(to_float, lb_v_neon_f, lb_v_neon_i, vcvtq_f32_s32)
LB_V4_UN_(to_int, lb_v_neon_i, lb_v_neon_f, vcvtnq_s32_f32)

LB_VOP lb_v_neon_f lb_v_neon_fma(lb_v_neon_f x, lb_v_neon_f y, lb_v_neon_f z)
{
    return LB_V4_(lb_v_neon_f, vfmaq_f32(z.v[0], x.v[0], y.v[0]), vfmaq_f32(z.v[1], x.v[1], y.v[1]),
                  vfmaq_f32(z.v[2], x.v[2], y.v[2]), vfmaq_f32(z.v[3], x.v[3], y.v[3]));
}
LB_VOP lb_v_neon_f lb_v_neon_set1(float x)
{
    const float32x4_t v = vdupq_n_f32(x);
    return LB_V4_(lb_v_neon_f, v, v, v, v);
}
LB_VOP lb_v_neon_f lb_v_neon_load(const float *p)
{
    return LB_V4_(lb_v_neon_f, vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12));
}
LB_VOP void lb_v_neon_store(float *p, lb_v_neon_f x)
{
    vst1q_f32(p, x.v[0]);
    vst1q_f32(p + 4, x.v[1]);
    vst1q_f32(p + 8, x.v[2]);
    vst1q_f32(p + 12, x.v[3]);
}
LB_VOP lb_v_neon_f lb_v_neon_load_n(const float *p, size_t n)
{
    float t[16] = {0};
    for (size_t i = 0; i < n; i++) {
        t[i] = p[i];
    }
    return lb_v_neon_load(t);
}
LB_VOP void lb_v_neon_store_n(float *p, lb_v_neon_f x, size_t n)
{
    float t[16];
    lb_v_neon_store(t, x);
    for (size_t i = 0; i < n; i++) {
        p[i] = t[i];
    }
}
LB_VOP float32x4_t lb_v_neon_zero_if_less4(float32x4_t x, float32x4_t y, float32x4_t v)
{
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(v), vcltq_f32(x, y)));
}
LB_VOP lb_v_neon_f lb_v_neon_zero_if_less(lb_v_neon_f x, lb_v_neon_f y, lb_v_neon_f z)
{
    return LB_V4_(lb_v_neon_f, lb_v_neon_zero_if_less4(x.v[0], y.v[0], z.v[0]), lb_v_neon_zero_if_less4(x.v[1], y.v[1], z.v[1]),
                  lb_v_neon_zero_if_less4(x.v[2], y.v[2], z.v[2]), lb_v_neon_zero_if_less4(x.v[3], y.v[3], z.v[3]));
}

LB_VOP lb_v_neon_i lb_v_neon_set1_i(int32_t x)
{
    const int32x4_t v = vdupq_n_s32(x);
    return LB_V4_(lb_v_neon_i, v, v, v, v);
}
LB_VOP lb_v_neon_i lb_v_neon_load_i(const int32_t *p)
{
    return LB_V4_(lb_v_neon_i, vld1q_s32(p), vld1q_s32(p + 4), vld1q_s32(p + 8), vld1q_s32(p + 12));
}
LB_VOP void lb_v_neon_store_i(int32_t *p, lb_v_neon_i x)
{
    vst1q_s32(p, x.v[0]);
    vst1q_s32(p + 4, x.v[1]);
    vst1q_s32(p + 8, x.v[2]);
    vst1q_s32(p + 12, x.v[3]);
}
LB_VOP lb_v_neon_i lb_v_neon_widen(uint8x16_t v) /* 16 bytes to int32 */
{
    const uint16x8_t lo = vmovl_u8(vget_low_u8(v)), hi = vmovl_u8(vget_high_u8(v));
    return LB_V4_(lb_v_neon_i, vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(lo))),
                  vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(lo))), vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(hi))),
                  vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(hi))));
}
LB_VOP lb_v_neon_i lb_v_neon_load_u8(const uint8_t *p) { return lb_v_neon_widen(vld1q_u8(p)); }
LB_VOP void lb_v_neon_store_s8(int8_t *p, lb_v_neon_i x)
{
    const int16x8_t lo = vcombine_s16(vmovn_s32(x.v[0]), vmovn_s32(x.v[1]));
    const int16x8_t hi = vcombine_s16(vmovn_s32(x.v[2]), vmovn_s32(x.v[3]));
    vst1q_s8(p, vcombine_s8(vmovn_s16(lo), vmovn_s16(hi)));
}
#define lb_v_neon_sll_i(x, n)                                                                                         \
    ((lb_v_neon_i){{vshlq_n_s32((x).v[0], n), vshlq_n_s32((x).v[1], n), vshlq_n_s32((x).v[2], n),                     \
                    vshlq_n_s32((x).v[3], n)}})

LB_VOP lb_v_neon_i lb_v_neon_sll_by(lb_v_neon_i x, int n)
{
    const int32x4_t by = vdupq_n_s32(n);
    return LB_V4_(lb_v_neon_i, vshlq_s32(x.v[0], by), vshlq_s32(x.v[1], by), vshlq_s32(x.v[2], by), vshlq_s32(x.v[3], by));
}

LB_VOP lb_v_neon_f lb_v_neon_load_f16(const uint16_t *p)
{
    return LB_V4_(lb_v_neon_f, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))),
                  vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4))), vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 8))),
                  vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 12))));
}
LB_VOP lb_v_neon_f lb_v_neon_load_bf16(const uint16_t *p)
{
    return LB_V4_(lb_v_neon_f, vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)),
                  vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4), 16)),
                  vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 8), 16)),
                  vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 12), 16)));
}
LB_VOP void lb_v_neon_store_f16(uint16_t *p, lb_v_neon_f x)
{
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x.v[0])));
    vst1_u16(p + 4, vreinterpret_u16_f16(vcvt_f16_f32(x.v[1])));
    vst1_u16(p + 8, vreinterpret_u16_f16(vcvt_f16_f32(x.v[2])));
    vst1_u16(p + 12, vreinterpret_u16_f16(vcvt_f16_f32(x.v[3])));
}

/* The fixed tree: 8 apart, 4, 2, 1 */
LB_VOP float lb_v_neon_sum(lb_v_neon_f x)
{
    const float32x4_t q = vaddq_f32(vaddq_f32(x.v[0], x.v[2]), vaddq_f32(x.v[1], x.v[3]));
    const float32x2_t h = vadd_f32(vget_low_f32(q), vget_high_f32(q));
    return vget_lane_f32(h, 0) + vget_lane_f32(h, 1);
}
LB_VOP float lb_v_neon_max_all(lb_v_neon_f x)
{
    const float32x4_t q = lb_v_neon_max4(lb_v_neon_max4(x.v[0], x.v[2]), lb_v_neon_max4(x.v[1], x.v[3]));
    const float a = lb_fmax(vgetq_lane_f32(q, 0), vgetq_lane_f32(q, 2)), b = lb_fmax(vgetq_lane_f32(q, 1), vgetq_lane_f32(q, 3));
    return lb_fmax(a, b);
}
LB_VOP int32_t lb_v_neon_sum_i(lb_v_neon_i x)
{
    return vaddvq_s32(vaddq_s32(vaddq_s32(x.v[0], x.v[1]), vaddq_s32(x.v[2], x.v[3])));
}
LB_VOP int32_t lb_v_neon_max_all_i(lb_v_neon_i x)
{
    return vmaxvq_s32(vmaxq_s32(vmaxq_s32(x.v[0], x.v[1]), vmaxq_s32(x.v[2], x.v[3])));
}

/* a0 b0 a1 b1 .. to a and b, and back */
LB_VOP void lb_v_neon_load_pairs(const float *p, lb_v_neon_f *a, lb_v_neon_f *b)
{
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        const float32x4x2_t t = vld2q_f32(p + 8 * i);
        a->v[i] = t.val[0];
        b->v[i] = t.val[1];
    }
}
LB_VOP void lb_v_neon_store_pairs(float *p, lb_v_neon_f a, lb_v_neon_f b)
{
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        float32x4x2_t t;
        t.val[0] = a.v[i];
        t.val[1] = b.v[i];
        vst2q_f32(p + 8 * i, t);
    }
}

/* Bytes */
LB_VOP lb_v_neon_b lb_v_neon_load_b(const void *p)
{
    const uint8_t *v = p;
    return LB_V4_(lb_v_neon_b, vld1q_u8(v), vld1q_u8(v + 16), vld1q_u8(v + 32), vld1q_u8(v + 48));
}
LB_VOP void lb_v_neon_store_b(void *p, lb_v_neon_b x)
{
    uint8_t *v = p;
    vst1q_u8(v, x.v[0]);
    vst1q_u8(v + 16, x.v[1]);
    vst1q_u8(v + 32, x.v[2]);
    vst1q_u8(v + 48, x.v[3]);
}
LB_VOP lb_v_neon_b lb_v_neon_set1_b(uint8_t x)
{
    const uint8x16_t v = vdupq_n_u8(x);
    return LB_V4_(lb_v_neon_b, v, v, v, v);
}
LB_VOP uint8x16_t lb_v_neon_low(uint8x16_t v) { return vandq_u8(v, vdupq_n_u8(15)); }
LB_VOP uint8x16_t lb_v_neon_high(uint8x16_t v) { return vshrq_n_u8(v, 4); }
LB_V4_UN_(low_nibbles, lb_v_neon_b, lb_v_neon_b, lb_v_neon_low)
LB_V4_UN_(high_nibbles, lb_v_neon_b, lb_v_neon_b, lb_v_neon_high)
LB_V4_BIN_(and_b, lb_v_neon_b, vandq_u8)
#define lb_v_neon_srl_b(x, n)                                                                                         \
    ((lb_v_neon_b){{vshrq_n_u8((x).v[0], n), vshrq_n_u8((x).v[1], n), vshrq_n_u8((x).v[2], n), vshrq_n_u8((x).v[3], n)}})
LB_VOP lb_v_neon_b lb_v_neon_or_and_b(lb_v_neon_b x, lb_v_neon_b y, lb_v_neon_b z)
{
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        x.v[i] = vorrq_u8(x.v[i], vandq_u8(y.v[i], z.v[i]));
    }
    return x;
}
LB_VOP lb_v_neon_i lb_v_neon_lookup(const uint8_t *p, const uint8_t *table)
{
    return lb_v_neon_widen(vqtbl1q_u8(vld1q_u8(table), lb_v_neon_low(vld1q_u8(p))));
}
LB_VOP lb_v_neon_b lb_v_neon_quad(const int8_t *p)
{
    int32_t q;
    memcpy(&q, p, sizeof q);
    const uint8x16_t v = vreinterpretq_u8_s32(vdupq_n_s32(q));
    return LB_V4_(lb_v_neon_b, v, v, v, v);
}
LB_VOP void lb_v_neon_q4_zeros(const uint8_t *p, lb_v_neon_i *even, lb_v_neon_i *odd)
{
    static const uint8_t table[16] = LB_Q4_ZERO;
    const uint8x16_t t = vld1q_u8(table), z = vld1q_u8(p);
    *even = lb_v_neon_widen(vqtbl1q_u8(t, lb_v_neon_low(z)));
    *odd = lb_v_neon_widen(vqtbl1q_u8(t, lb_v_neon_high(z)));
}
LB_VOP uint8x16_t lb_v_neon_spread4(int32x4_t v) { return vreinterpretq_u8_s32(vmulq_n_s32(v, 0x01010101)); }
LB_V4_UN_(spread, lb_v_neon_b, lb_v_neon_i, lb_v_neon_spread4)

/*
 * Small codes: products of 16 bits, row by row four of them. |code * x| <= 15 * 127 = 1905; an accumulator takes one of each of
 * the 8 quads of a group: 15240 < 32768. s[2 i] has rows 4 i and 4 i + 1, s[2 i + 1] the next two.
 */
typedef struct lb_v_neon_small {
    int16x8_t s[8];
} lb_v_neon_small;
LB_VOP lb_v_neon_small lb_v_neon_small_zero(void)
{
    const int16x8_t z = vdupq_n_s16(0);
    return (lb_v_neon_small){{z, z, z, z, z, z, z, z}};
}
LB_VOP lb_v_neon_small lb_v_neon_small_dot(lb_v_neon_small acc, lb_v_neon_b u, lb_v_neon_b x)
{
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        const int8x16_t w = vreinterpretq_s8_u8(u.v[i]), y = vreinterpretq_s8_u8(x.v[i]);
        acc.s[2 * i] = vmlal_s8(acc.s[2 * i], vget_low_s8(w), vget_low_s8(y));
        acc.s[2 * i + 1] = vmlal_high_s8(acc.s[2 * i + 1], w, y);
    }
    return acc;
}
LB_VOP lb_v_neon_i lb_v_neon_small_sum(lb_v_neon_small x, lb_v_neon_small y)
{
    lb_v_neon_i r;
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        r.v[i] = vpaddq_s32(vpaddlq_s16(vaddq_s16(x.s[2 * i], y.s[2 * i])),
                            vpaddlq_s16(vaddq_s16(x.s[2 * i + 1], y.s[2 * i + 1])));
    }
    return r;
}

/* Codes around 128 as signed bytes; one product has at most 128 * 127 = 16256, so it fits 16 bits */
#define LB_DOT_BIAS_neon 0
LB_VOP lb_v_neon_i lb_v_neon_dot(lb_v_neon_i acc, lb_v_neon_b u, lb_v_neon_b x)
{
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        const int8x16_t w = vreinterpretq_s8_u8(veorq_u8(u.v[i], vdupq_n_u8(128))), y = vreinterpretq_s8_u8(x.v[i]);
        const int32x4_t lo = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(y))), hi = vpaddlq_s16(vmull_high_s8(w, y));
        acc.v[i] = vaddq_s32(acc.v[i], vpaddq_s32(lo, hi));
        LB_KEEP_ORDER("+w", acc.v[i]);
    }
    return acc;
}

/* Tables of 16 bytes; indices are 0..15 */
LB_VOP lb_v_neon_b lb_v_neon_load_table(const void *p)
{
    const uint8x16_t v = vld1q_u8(p);
    return LB_V4_(lb_v_neon_b, v, v, v, v);
}
LB_V4_BIN_(lookup_b, lb_v_neon_b, vqtbl1q_u8)
LB_VOP uint64_t lb_v_neon_lookup8(const uint8_t *p, uint64_t index)
{
    return vget_lane_u64(vreinterpret_u64_u8(vtbl1_u8(vld1_u8(p), vcreate_u8(index))), 0);
}
LB_VOP lb_v_neon_b lb_v_neon_mix(lb_v_neon_b a, lb_v_neon_b b, uint8_t mask) /* bits of a where mask has them, else of b */
{
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        a.v[i] = vbslq_u8(vdupq_n_u8(mask), a.v[i], b.v[i]);
    }
    return a;
}

/* Bytes `at` and at + 1 (at = 0 or 2) of each lane of v to the bytes that p names in the same places (0..3); fill elsewhere */
LB_VOP lb_v_neon_b lb_v_neon_scatter2(lb_v_neon_b fill, lb_v_neon_b v, lb_v_neon_b p, const int at)
{
    static const uint8_t lanes[16] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
    const uint8x16_t columns = vreinterpretq_u8_u32(vdupq_n_u32(0x03020100));
    LB_UNROLL
    for (int i = at; i < at + 2; i++) {
        const uint8x16_t from = vaddq_u8(vld1q_u8(lanes), vdupq_n_u8((uint8_t)i));
        LB_UNROLL
        for (size_t j = 0; j < 4; j++) {
            const uint8x16_t here = vceqq_u8(vqtbl1q_u8(p.v[j], from), columns);
            fill.v[j] = vbslq_u8(here, vqtbl1q_u8(v.v[j], from), fill.v[j]);
        }
    }
    return fill;
}

/* Sums of 16 rows in 16 bits: rows 0..7 and 8..15 of pieces 0 and 1, then of pieces 2 and 3 */
typedef struct lb_v_neon_w {
    int16x8_t v[4];
} lb_v_neon_w;
LB_VOP lb_v_neon_w lb_v_neon_zero_w(void)
{
    const int16x8_t z = vdupq_n_s16(0);
    return LB_V4_(lb_v_neon_w, z, z, z, z);
}
LB_VOP lb_v_neon_w lb_v_neon_add_w(lb_v_neon_w s, lb_v_neon_b low, lb_v_neon_b high)
{
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        s.v[i / 2 * 2] = vaddq_s16(s.v[i / 2 * 2], vreinterpretq_s16_u8(vzip1q_u8(low.v[i], high.v[i])));
        s.v[i / 2 * 2 + 1] = vaddq_s16(s.v[i / 2 * 2 + 1], vreinterpretq_s16_u8(vzip2q_u8(low.v[i], high.v[i])));
    }
    return s;
}
LB_V4_BIN_(sum2_w, lb_v_neon_w, vaddq_s16)
LB_VOP lb_v_neon_w lb_v_neon_double_w(lb_v_neon_w s) { return lb_v_neon_sum2_w(s, s); }
LB_VOP lb_v_neon_i lb_v_neon_sum_w(lb_v_neon_w s)
{
    return LB_V4_(lb_v_neon_i, vaddl_s16(vget_low_s16(s.v[0]), vget_low_s16(s.v[2])), vaddl_high_s16(s.v[0], s.v[2]),
                  vaddl_s16(vget_low_s16(s.v[1]), vget_low_s16(s.v[3])), vaddl_high_s16(s.v[1], s.v[3]));
}

/* 16 bytes, looked up by the low 4 bits of 16 others */
typedef uint8x16_t lb_v_neon_z;
LB_VOP uint8x16_t lb_v_neon_load_z(const uint8_t *p) { return vld1q_u8(p); }
LB_VOP void lb_v_neon_store_z(uint8_t *p, uint8x16_t z) { vst1q_u8(p, z); }
LB_VOP uint8x16_t lb_v_neon_lookup_z(const uint8_t *p, const uint8_t *table)
{
    return vqtbl1q_u8(vld1q_u8(table), lb_v_neon_low(vld1q_u8(p)));
}
/* Row sums of bytes 0..254 with weights of planes, in 16 bits */
LB_VOP int16x8_t lb_v_neon_plane(uint8x8_t a, uint8x8_t b, uint8x8_t c, uint8x8_t d)
{
    return vreinterpretq_s16_u16(vaddq_u16(vaddl_u8(a, b), vaddl_u8(c, d)));
}
LB_VOP lb_v_neon_i lb_v_neon_planes(const lb_v_neon_b *v, const int bits, const int weight, uint8x16_t z, int base,
                                    int sum)
{
    int16x8_t lo = vdupq_n_s16((int16_t)base), hi = lo;
    LB_UNROLL
    for (int b = 0; b < bits; b++) {
        const uint8x16_t *p = v[b].v;
        const int16x8_t w = vdupq_n_s16((int16_t)(weight << b));
        lo = vmlaq_s16(lo, lb_v_neon_plane(vget_low_u8(p[0]), vget_low_u8(p[1]), vget_low_u8(p[2]), vget_low_u8(p[3])), w);
        hi = vmlaq_s16(hi, lb_v_neon_plane(vget_high_u8(p[0]), vget_high_u8(p[1]), vget_high_u8(p[2]), vget_high_u8(p[3])), w);
    }
    const int16x8_t x = vdupq_n_s16((int16_t)sum);
    lo = vmlsq_s16(lo, vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(z))), x);
    hi = vmlsq_s16(hi, vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(z))), x);
    return LB_V4_(lb_v_neon_i, vmovl_s16(vget_low_s16(lo)), vmovl_high_s16(lo), vmovl_s16(vget_low_s16(hi)), vmovl_high_s16(hi));
}

#undef LB_V4_
#undef LB_V4_BIN_
#undef LB_V4_UN_
#undef LB_VOP
#endif /* LB_V_NEON_H */
