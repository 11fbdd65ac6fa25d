/*
 * Virtual vectors on SSE4.1: f is 16 floats, i is 16 int32, b is 64 bytes; four xmm each (v[0] has rows 0..3).
 * kernels/tmpl/README lists the operations. There is no fused multiply-add: it is emulated exactly, see lb_v_sse_fma4.
 */
#ifndef LB_V_SSE_H
#define LB_V_SSE_H

#if defined(__wasm__)
#include <smmintrin.h>
#else
#include <immintrin.h>
#endif

#include "../lb_math.h"

#define LB_TARGET_SSE LB_TARGET("ssse3,sse4.1")
#define LB_VOP LB_ALWAYS_INLINE LB_TARGET_SSE

typedef struct lb_v_sse_f {
    __m128 v[4];
} lb_v_sse_f;
typedef struct lb_v_sse_i {
    __m128i v[4];
} lb_v_sse_i;
typedef lb_v_sse_i lb_v_sse_b;

/* The four quarters of an operation */
#define LB_V4_(type, expr0, expr1, expr2, expr3) ((type){{expr0, expr1, expr2, expr3}})
#define LB_V4_BIN_(name, type, op)                                                                                    \
    LB_VOP type lb_v_sse_##name(type x, type y)                                                                       \
    {                                                                                                                 \
        return LB_V4_(type, op(x.v[0], y.v[0]), op(x.v[1], y.v[1]), op(x.v[2], y.v[2]), op(x.v[3], y.v[3]));          \
    }
#define LB_V4_UN_(name, to, from, op)                                                                                 \
    LB_VOP to lb_v_sse_##name(from x) { return LB_V4_(to, op(x.v[0]), op(x.v[1]), op(x.v[2]), op(x.v[3])); }
LB_V4_BIN_(add, lb_v_sse_f, _mm_add_ps)
LB_V4_BIN_(sub, lb_v_sse_f, _mm_sub_ps)
LB_V4_BIN_(mul, lb_v_sse_f, _mm_mul_ps)
LB_V4_BIN_(div, lb_v_sse_f, _mm_div_ps)
LB_V4_BIN_(max, lb_v_sse_f, _mm_max_ps)
LB_V4_BIN_(min, lb_v_sse_f, _mm_min_ps)
LB_V4_BIN_(add_i, lb_v_sse_i, _mm_add_epi32)
LB_V4_BIN_(sub_i, lb_v_sse_i, _mm_sub_epi32)
LB_V4_BIN_(and_i, lb_v_sse_i, _mm_and_si128)
LB_V4_BIN_(max_i, lb_v_sse_i, _mm_max_epi32)
LB_V4_BIN_(mul_s16, lb_v_sse_i, _mm_madd_epi16)
LB_V4_BIN_(add_b, lb_v_sse_b, _mm_add_epi8)
LB_V4_BIN_(sub_b, lb_v_sse_b, _mm_sub_epi8)
LB_V4_UN_(bits, lb_v_sse_i, lb_v_sse_f, _mm_castps_si128)
LB_V4_UN_(from_bits, lb_v_sse_f, lb_v_sse_i, _mm_castsi128_ps)
LB_V4_UN_(to_float, lb_v_sse_f, lb_v_sse_i, _mm_cvtepi32_ps)
LB_V4_UN_(to_int, lb_v_sse_i, lb_v_sse_f, _mm_cvtps_epi32)

/*
 * Two fused multiply-adds. The product of two floats is exact in double; the sum is rounded to odd there (if it is not exact,
 * the last bit of the result is made 1, so that it lies strictly between floats and their midpoints), after which rounding
 * to float gives the one correct rounding (Boldo and Melquiond, 2008).
 */
LB_VOP __m128 lb_v_sse_fma2(__m128 a, __m128 b, __m128 c)
{
    const __m128d p = _mm_mul_pd(_mm_cvtps_pd(a), _mm_cvtps_pd(b)), d = _mm_cvtps_pd(c), zero = _mm_setzero_pd();
    const __m128d s = _mm_add_pd(p, d), v = _mm_sub_pd(s, p);
    const __m128d e = _mm_add_pd(_mm_sub_pd(p, _mm_sub_pd(s, v)), _mm_sub_pd(d, v)); /* p + d == s + e */
    const __m128i inexact = _mm_castpd_si128(_mm_or_pd(_mm_cmplt_pd(e, zero), _mm_cmplt_pd(zero, e))); /* not NaN */
    const __m128i bits = _mm_castpd_si128(s);
    const __m128i even = _mm_cmpeq_epi64(_mm_and_si128(bits, _mm_set1_epi64x(1)), _mm_setzero_si128());
    const __m128i differ = _mm_srai_epi32(_mm_castpd_si128(_mm_xor_pd(e, s)), 31); /* the true sum is nearer to 0 than s */
    const __m128i step = _mm_or_si128(_mm_shuffle_epi32(differ, 0xf5), _mm_set1_epi64x(1)); /* -1 or 1 */
    return _mm_cvtpd_ps(_mm_castsi128_pd(_mm_add_epi64(bits, _mm_and_si128(step, _mm_and_si128(inexact, even)))));
}
LB_VOP __m128 lb_v_sse_fma4(__m128 a, __m128 b, __m128 c)
{
    return _mm_movelh_ps(lb_v_sse_fma2(a, b, c),
                         lb_v_sse_fma2(_mm_movehl_ps(a, a), _mm_movehl_ps(b, b), _mm_movehl_ps(c, c)));
}
/* 150 instructions for 16 numbers: a function of its own, which otherwise would be half of every kernel */
static LB_SHARED LB_TARGET_SSE void lb_v_sse_fma16(lb_v_sse_f *z, const lb_v_sse_f *x, const lb_v_sse_f *y)
{
    LB_ROLL
    for (size_t i = 0; i < 4; i++) {
        z->v[i] = lb_v_sse_fma4(x->v[i], y->v[i], z->v[i]);
    }
}
LB_VOP lb_v_sse_f lb_v_sse_fma(lb_v_sse_f x, lb_v_sse_f y, lb_v_sse_f z)
{
    lb_v_sse_fma16(&z, &x, &y);
    return z;
}

LB_VOP lb_v_sse_f lb_v_sse_set1(float x)
{
    const __m128 v = _mm_set1_ps(x);
    return LB_V4_(lb_v_sse_f, v, v, v, v);
}
LB_VOP lb_v_sse_f lb_v_sse_load(const float *p)
{
    return LB_V4_(lb_v_sse_f, _mm_loadu_ps(p), _mm_loadu_ps(p + 4), _mm_loadu_ps(p + 8), _mm_loadu_ps(p + 12));
}
LB_VOP void lb_v_sse_store(float *p, lb_v_sse_f x)
{
    _mm_storeu_ps(p, x.v[0]);
    _mm_storeu_ps(p + 4, x.v[1]);
    _mm_storeu_ps(p + 8, x.v[2]);
    _mm_storeu_ps(p + 12, x.v[3]);
}
LB_VOP lb_v_sse_f lb_v_sse_load_n(const float *p, size_t n)
{
    float t[16] = {0};
    for (size_t i = 0; i < n; i++) {
        t[i] = p[i];
    }
    return lb_v_sse_load(t);
}
LB_VOP void lb_v_sse_store_n(float *p, lb_v_sse_f x, size_t n)
{
    float t[16];
    lb_v_sse_store(t, x);
    for (size_t i = 0; i < n; i++) {
        p[i] = t[i];
    }
}
LB_VOP lb_v_sse_f lb_v_sse_neg(lb_v_sse_f x)
{
    const __m128 m = _mm_set1_ps(-0.0f);
    return LB_V4_(lb_v_sse_f, _mm_xor_ps(x.v[0], m), _mm_xor_ps(x.v[1], m), _mm_xor_ps(x.v[2], m), _mm_xor_ps(x.v[3], m));
}
LB_VOP __m128 lb_v_sse_zero_if_less4(__m128 x, __m128 y, __m128 v) { return _mm_and_ps(_mm_cmpnlt_ps(x, y), v); }
LB_VOP lb_v_sse_f lb_v_sse_zero_if_less(lb_v_sse_f x, lb_v_sse_f y, lb_v_sse_f z)
{
    return LB_V4_(lb_v_sse_f, lb_v_sse_zero_if_less4(x.v[0], y.v[0], z.v[0]), lb_v_sse_zero_if_less4(x.v[1], y.v[1], z.v[1]),
                  lb_v_sse_zero_if_less4(x.v[2], y.v[2], z.v[2]), lb_v_sse_zero_if_less4(x.v[3], y.v[3], z.v[3]));
}

LB_VOP lb_v_sse_i lb_v_sse_set1_i(int32_t x)
{
    const __m128i v = _mm_set1_epi32(x);
    return LB_V4_(lb_v_sse_i, v, v, v, v);
}
LB_VOP lb_v_sse_b lb_v_sse_load_b(const void *p)
{
    const __m128i *v = p;
    return LB_V4_(lb_v_sse_b, _mm_loadu_si128(v), _mm_loadu_si128(v + 1), _mm_loadu_si128(v + 2), _mm_loadu_si128(v + 3));
}
LB_VOP void lb_v_sse_store_b(void *p, lb_v_sse_b x)
{
    __m128i *v = p;
    _mm_storeu_si128(v, x.v[0]);
    _mm_storeu_si128(v + 1, x.v[1]);
    _mm_storeu_si128(v + 2, x.v[2]);
    _mm_storeu_si128(v + 3, x.v[3]);
}
LB_VOP lb_v_sse_i lb_v_sse_load_i(const int32_t *p) { return lb_v_sse_load_b(p); }
LB_VOP void lb_v_sse_store_i(int32_t *p, lb_v_sse_i x) { lb_v_sse_store_b(p, x); }
LB_VOP lb_v_sse_i lb_v_sse_widen(__m128i v) /* 16 bytes to int32 */
{
    return LB_V4_(lb_v_sse_i, _mm_cvtepu8_epi32(v), _mm_cvtepu8_epi32(_mm_srli_si128(v, 4)),
                  _mm_cvtepu8_epi32(_mm_srli_si128(v, 8)), _mm_cvtepu8_epi32(_mm_srli_si128(v, 12)));
}
LB_VOP lb_v_sse_i lb_v_sse_load_u8(const uint8_t *p)
{
    return lb_v_sse_widen(_mm_loadu_si128((const __m128i *)(const void *)p));
}
LB_VOP void lb_v_sse_store_s8(int8_t *p, lb_v_sse_i x)
{
    _mm_storeu_si128((__m128i *)(void *)p,
                     _mm_packs_epi16(_mm_packs_epi32(x.v[0], x.v[1]), _mm_packs_epi32(x.v[2], x.v[3])));
}
#define lb_v_sse_sll_i(x, n)                                                                                          \
    ((lb_v_sse_i){{_mm_slli_epi32((x).v[0], n), _mm_slli_epi32((x).v[1], n), _mm_slli_epi32((x).v[2], n),             \
                   _mm_slli_epi32((x).v[3], n)}})

LB_VOP lb_v_sse_i lb_v_sse_sll_by(lb_v_sse_i x, int n)
{
    const __m128i by = _mm_cvtsi32_si128(n);
    return LB_V4_(lb_v_sse_i, _mm_sll_epi32(x.v[0], by), _mm_sll_epi32(x.v[1], by), _mm_sll_epi32(x.v[2], by),
                  _mm_sll_epi32(x.v[3], by));
}

/*
 * Halves: as floats whose exponent is 112 too small, times 2^112 (exact, subnormals too). Those with the largest exponent are
 * infinite or NaN, which is made quiet.
 */
LB_VOP __m128 lb_v_sse_from_half(__m128i h) /* 4 halves in 32-bit lanes */
{
    const __m128i magnitude = _mm_and_si128(h, _mm_set1_epi32(0x7fff));
    const __m128i sign = _mm_slli_epi32(_mm_xor_si128(h, magnitude), 16);
    const __m128 f = _mm_mul_ps(_mm_castsi128_ps(_mm_slli_epi32(magnitude, 13)), _mm_set1_ps(0x1p112f));
    const __m128i special = _mm_and_si128(_mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7bff)), _mm_set1_epi32(0x7f800000));
    const __m128i quiet = _mm_and_si128(_mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7c00)), _mm_set1_epi32(0x400000));
    return _mm_castsi128_ps(_mm_or_si128(_mm_or_si128(_mm_castps_si128(f), sign), _mm_or_si128(special, quiet)));
}
LB_VOP lb_v_sse_f lb_v_sse_load_f16(const uint16_t *p)
{
    const __m128i a = _mm_loadu_si128((const __m128i *)(const void *)p);
    const __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(p + 8));
    return LB_V4_(lb_v_sse_f, lb_v_sse_from_half(_mm_cvtepu16_epi32(a)), lb_v_sse_from_half(_mm_cvtepu16_epi32(_mm_srli_si128(a, 8))),
                  lb_v_sse_from_half(_mm_cvtepu16_epi32(b)), lb_v_sse_from_half(_mm_cvtepu16_epi32(_mm_srli_si128(b, 8))));
}
LB_VOP lb_v_sse_f lb_v_sse_load_bf16(const uint16_t *p)
{
    const __m128i a = _mm_loadu_si128((const __m128i *)(const void *)p), zero = _mm_setzero_si128();
    const __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(p + 8));
    return LB_V4_(lb_v_sse_f, _mm_castsi128_ps(_mm_unpacklo_epi16(zero, a)), _mm_castsi128_ps(_mm_unpackhi_epi16(zero, a)),
                  _mm_castsi128_ps(_mm_unpacklo_epi16(zero, b)), _mm_castsi128_ps(_mm_unpackhi_epi16(zero, b)));
}
LB_VOP void lb_v_sse_store_f16(uint16_t *p, lb_v_sse_f x)
{
    float t[16];
    lb_v_sse_store(t, x);
    for (size_t i = 0; i < 16; i++) {
        p[i] = lb_f32_to_f16(t[i]);
    }
}

/* The fixed tree: 8 apart, 4, 2, 1 */
LB_VOP float lb_v_sse_sum(lb_v_sse_f x)
{
    __m128 q = _mm_add_ps(_mm_add_ps(x.v[0], x.v[2]), _mm_add_ps(x.v[1], x.v[3]));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 0x55)));
}
LB_VOP float lb_v_sse_max_all(lb_v_sse_f x)
{
    __m128 q = _mm_max_ps(_mm_max_ps(x.v[0], x.v[2]), _mm_max_ps(x.v[1], x.v[3]));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_shuffle_ps(q, q, 0x55)));
}
LB_VOP int32_t lb_v_sse_sum_i(lb_v_sse_i x)
{
    __m128i q = _mm_add_epi32(_mm_add_epi32(x.v[0], x.v[2]), _mm_add_epi32(x.v[1], x.v[3]));
    q = _mm_add_epi32(q, _mm_shuffle_epi32(q, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(q, _mm_shuffle_epi32(q, 0xb1)));
}
LB_VOP int32_t lb_v_sse_max_all_i(lb_v_sse_i x)
{
    __m128i q = _mm_max_epi32(_mm_max_epi32(x.v[0], x.v[2]), _mm_max_epi32(x.v[1], x.v[3]));
    q = _mm_max_epi32(q, _mm_shuffle_epi32(q, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(q, _mm_shuffle_epi32(q, 0xb1)));
}

/* a0 b0 a1 b1 .. to a and b, and back */
LB_VOP void lb_v_sse_load_pairs(const float *p, lb_v_sse_f *a, lb_v_sse_f *b)
{
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        const __m128 x = _mm_loadu_ps(p + 8 * i), y = _mm_loadu_ps(p + 8 * i + 4);
        a->v[i] = _mm_shuffle_ps(x, y, 0x88);
        b->v[i] = _mm_shuffle_ps(x, y, 0xdd);
    }
}
LB_VOP void lb_v_sse_store_pairs(float *p, lb_v_sse_f a, lb_v_sse_f b)
{
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        _mm_storeu_ps(p + 8 * i, _mm_unpacklo_ps(a.v[i], b.v[i]));
        _mm_storeu_ps(p + 8 * i + 4, _mm_unpackhi_ps(a.v[i], b.v[i]));
    }
}

/* Bytes */
LB_VOP lb_v_sse_b lb_v_sse_set1_b(uint8_t x)
{
    const __m128i v = _mm_set1_epi8((char)x);
    return LB_V4_(lb_v_sse_b, v, v, v, v);
}
LB_VOP __m128i lb_v_sse_low(__m128i v) { return _mm_and_si128(v, _mm_set1_epi8(15)); }
LB_VOP __m128i lb_v_sse_high(__m128i v) { return _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(15)); }
LB_V4_UN_(low_nibbles, lb_v_sse_b, lb_v_sse_b, lb_v_sse_low)
LB_V4_UN_(high_nibbles, lb_v_sse_b, lb_v_sse_b, lb_v_sse_high)
LB_V4_BIN_(and_b, lb_v_sse_b, _mm_and_si128)
#define lb_v_sse_srl_b(x, n)                                                                                          \
    ((lb_v_sse_b){{_mm_srli_epi16((x).v[0], n), _mm_srli_epi16((x).v[1], n), _mm_srli_epi16((x).v[2], n),             \
                   _mm_srli_epi16((x).v[3], n)}})
LB_VOP lb_v_sse_b lb_v_sse_or_and_b(lb_v_sse_b x, lb_v_sse_b y, lb_v_sse_b z)
{
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        x.v[i] = _mm_or_si128(x.v[i], _mm_and_si128(y.v[i], z.v[i]));
    }
    return x;
}
LB_VOP lb_v_sse_i lb_v_sse_lookup(const uint8_t *p, const uint8_t *table)
{
    const __m128i t = _mm_loadu_si128((const __m128i *)(const void *)table);
    return lb_v_sse_widen(_mm_shuffle_epi8(t, lb_v_sse_low(_mm_loadu_si128((const __m128i *)(const void *)p))));
}
LB_VOP lb_v_sse_b lb_v_sse_quad(const int8_t *p)
{
    int32_t q;
    memcpy(&q, p, sizeof q);
    return lb_v_sse_set1_i(q);
}
LB_VOP void lb_v_sse_q4_zeros(const uint8_t *p, lb_v_sse_i *even, lb_v_sse_i *odd)
{
    static const uint8_t table[16] = LB_Q4_ZERO;
    const __m128i t = _mm_loadu_si128((const __m128i *)(const void *)table);
    const __m128i z = _mm_loadu_si128((const __m128i *)(const void *)p);
    *even = lb_v_sse_widen(_mm_shuffle_epi8(t, lb_v_sse_low(z)));
    *odd = lb_v_sse_widen(_mm_shuffle_epi8(t, lb_v_sse_high(z)));
}
LB_VOP __m128i lb_v_sse_spread4(__m128i v)
{
    return _mm_shuffle_epi8(v, _mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12));
}
LB_V4_UN_(spread, lb_v_sse_b, lb_v_sse_i, lb_v_sse_spread4)

/* Bounds as in lb_v_avx2.h: 8 pairs of at most 2 * 15 * 127 are 30480 < 32768. */
typedef lb_v_sse_i lb_v_sse_small;
LB_VOP lb_v_sse_i lb_v_sse_small_zero(void) { return lb_v_sse_set1_i(0); }
LB_VOP lb_v_sse_i lb_v_sse_small_dot(lb_v_sse_i acc, lb_v_sse_b u, lb_v_sse_b x)
{
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        acc.v[i] = _mm_add_epi16(acc.v[i], _mm_maddubs_epi16(u.v[i], x.v[i]));
        LB_KEEP_ORDER("+x", acc.v[i]);
    }
    return acc;
}
LB_VOP __m128i lb_v_sse_small_sum4(__m128i x, __m128i y) { return _mm_madd_epi16(_mm_add_epi16(x, y), _mm_set1_epi16(1)); }
LB_V4_BIN_(small_sum, lb_v_sse_i, lb_v_sse_small_sum4)

/* |w| <= 128 and |x| <= 127: a pair is at most 32512 < 32768. */
#define LB_DOT_BIAS_sse 0
LB_VOP lb_v_sse_i lb_v_sse_dot(lb_v_sse_i acc, lb_v_sse_b u, lb_v_sse_b x)
{
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        const __m128i w = _mm_xor_si128(u.v[i], _mm_set1_epi8(-128));
        const __m128i p = _mm_maddubs_epi16(_mm_abs_epi8(w), _mm_sign_epi8(x.v[i], w));
        acc.v[i] = _mm_add_epi32(acc.v[i], _mm_madd_epi16(p, _mm_set1_epi16(1)));
        LB_KEEP_ORDER("+x", acc.v[i]);
    }
    return acc;
}

/* Tables of 16 bytes; indices are 0..15 */
LB_VOP lb_v_sse_b lb_v_sse_load_table(const void *p)
{
    const __m128i v = _mm_loadu_si128((const __m128i *)p);
    return LB_V4_(lb_v_sse_b, v, v, v, v);
}
LB_V4_BIN_(lookup_b, lb_v_sse_b, _mm_shuffle_epi8)
LB_VOP uint64_t lb_v_sse_lookup8(const uint8_t *p, uint64_t index)
{
    const __m128i v = _mm_loadl_epi64((const __m128i *)(const void *)p);
    return (uint64_t)_mm_cvtsi128_si64(_mm_shuffle_epi8(v, _mm_cvtsi64_si128((long long)index)));
}
LB_VOP lb_v_sse_b lb_v_sse_mix(lb_v_sse_b a, lb_v_sse_b b, uint8_t mask) /* bits of a where mask has them, else of b */
{
    const __m128i m = _mm_set1_epi8((char)mask);
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        a.v[i] = _mm_or_si128(_mm_and_si128(a.v[i], m), _mm_andnot_si128(m, b.v[i]));
    }
    return a;
}

/* As in lb_v_avx512.h */
LB_VOP lb_v_sse_b lb_v_sse_scatter2(lb_v_sse_b fill, lb_v_sse_b v, lb_v_sse_b p, const int at)
{
    LB_UNROLL
    for (int i = at; i < at + 2; i++) {
        const __m128i from = _mm_add_epi8(_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12), _mm_set1_epi8((char)i));
        LB_UNROLL
        for (size_t j = 0; j < 4; j++) {
            const __m128i here = _mm_cmpeq_epi8(_mm_shuffle_epi8(p.v[j], from), _mm_set1_epi32(0x03020100));
            fill.v[j] = _mm_blendv_epi8(fill.v[j], _mm_shuffle_epi8(v.v[j], from), here);
        }
    }
    return fill;
}

/* Sums of 16 rows in 16 bits: rows 0..7 and 8..15 of pieces 0 and 1, then of pieces 2 and 3 */
typedef struct lb_v_sse_w {
    __m128i v[4];
} lb_v_sse_w;
LB_VOP lb_v_sse_w lb_v_sse_zero_w(void)
{
    const __m128i z = _mm_setzero_si128();
    return LB_V4_(lb_v_sse_w, z, z, z, z);
}
LB_VOP lb_v_sse_w lb_v_sse_add_w(lb_v_sse_w s, lb_v_sse_b low, lb_v_sse_b high)
{
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        s.v[i / 2 * 2] = _mm_add_epi16(s.v[i / 2 * 2], _mm_unpacklo_epi8(low.v[i], high.v[i]));
        s.v[i / 2 * 2 + 1] = _mm_add_epi16(s.v[i / 2 * 2 + 1], _mm_unpackhi_epi8(low.v[i], high.v[i]));
    }
    return s;
}
LB_V4_BIN_(sum2_w, lb_v_sse_w, _mm_add_epi16)
LB_VOP lb_v_sse_w lb_v_sse_double_w(lb_v_sse_w s) { return lb_v_sse_sum2_w(s, s); }
LB_VOP __m128i lb_v_sse_sum_w_4(__m128i x, __m128i y) { return _mm_add_epi32(_mm_cvtepi16_epi32(x), _mm_cvtepi16_epi32(y)); }
LB_VOP lb_v_sse_i lb_v_sse_sum_w(lb_v_sse_w s)
{
    return LB_V4_(lb_v_sse_i, lb_v_sse_sum_w_4(s.v[0], s.v[2]),
                  lb_v_sse_sum_w_4(_mm_srli_si128(s.v[0], 8), _mm_srli_si128(s.v[2], 8)), lb_v_sse_sum_w_4(s.v[1], s.v[3]),
                  lb_v_sse_sum_w_4(_mm_srli_si128(s.v[1], 8), _mm_srli_si128(s.v[3], 8)));
}

/* 16 bytes, looked up by the low 4 bits of 16 others */
typedef __m128i lb_v_sse_z;
LB_VOP __m128i lb_v_sse_load_z(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
LB_VOP void lb_v_sse_store_z(uint8_t *p, __m128i z) { _mm_storeu_si128((__m128i *)(void *)p, z); }
LB_VOP __m128i lb_v_sse_lookup_z(const uint8_t *p, const uint8_t *table)
{
    return _mm_shuffle_epi8(lb_v_sse_load_z(table), _mm_and_si128(lb_v_sse_load_z(p), _mm_set1_epi8(15)));
}
/* Row sums of bytes 0..254 with weights of planes, in 16 bits: maddubs adds the pieces 0 and 2, 1 and 3 on the way */
LB_VOP lb_v_sse_i lb_v_sse_planes(const lb_v_sse_b *v, const int bits, const int weight, __m128i z, int base,
                                  int sum)
{
    __m128i lo = _mm_set1_epi16((int16_t)base), hi = lo;
    for (int b = 0; b < bits; b++) {
        const __m128i w = _mm_set1_epi8((char)(weight << b));
        for (int p = 0; p < 2; p++) {
            lo = _mm_add_epi16(lo, _mm_maddubs_epi16(_mm_unpacklo_epi8(v[b].v[p], v[b].v[p + 2]), w));
            hi = _mm_add_epi16(hi, _mm_maddubs_epi16(_mm_unpackhi_epi8(v[b].v[p], v[b].v[p + 2]), w));
        }
    }
    const __m128i x = _mm_set1_epi16((int16_t)sum), none = _mm_setzero_si128();
    lo = _mm_sub_epi16(lo, _mm_mullo_epi16(_mm_unpacklo_epi8(z, none), x));
    hi = _mm_sub_epi16(hi, _mm_mullo_epi16(_mm_unpackhi_epi8(z, none), x));
    return LB_V4_(lb_v_sse_i, _mm_cvtepi16_epi32(lo), _mm_cvtepi16_epi32(_mm_srli_si128(lo, 8)), _mm_cvtepi16_epi32(hi),
                  _mm_cvtepi16_epi32(_mm_srli_si128(hi, 8)));
}

#undef LB_V4_
#undef LB_V4_BIN_
#undef LB_V4_UN_
#undef LB_VOP
#endif /* LB_V_SSE_H */
