/*
 * Virtual vectors on AVX2: f is 16 floats, i is 16 int32, b is 64 bytes; two ymm each, a for rows 0..7 and b for rows 8..15.
 * kernels/tmpl/README lists the operations. LB_TARGET_AVX2 is the bundle of level avx2.
 */
#ifndef LB_V_AVX2_H
#define LB_V_AVX2_H

#include <immintrin.h>

#include "../lb_math.h"

#define LB_TARGET_AVX2 LB_TARGET("avx2,fma,f16c,bmi,bmi2")
#define LB_VOP LB_ALWAYS_INLINE LB_TARGET_AVX2

typedef struct lb_v_avx2_f {
    __m256 a, b;
} lb_v_avx2_f;
typedef struct lb_v_avx2_i {
    __m256i a, b;
} lb_v_avx2_i;
typedef lb_v_avx2_i lb_v_avx2_b;

#define LB_V2_(name, type, op) LB_VOP type lb_v_avx2_##name(type x, type y) { return (type){op(x.a, y.a), op(x.b, y.b)}; }
LB_V2_(add, lb_v_avx2_f, _mm256_add_ps)
LB_V2_(sub, lb_v_avx2_f, _mm256_sub_ps)
LB_V2_(mul, lb_v_avx2_f, _mm256_mul_ps)
LB_V2_(div, lb_v_avx2_f, _mm256_div_ps)
LB_V2_(max, lb_v_avx2_f, _mm256_max_ps)
LB_V2_(min, lb_v_avx2_f, _mm256_min_ps)
LB_V2_(add_i, lb_v_avx2_i, _mm256_add_epi32)
LB_V2_(sub_i, lb_v_avx2_i, _mm256_sub_epi32)
LB_V2_(and_i, lb_v_avx2_i, _mm256_and_si256)
LB_V2_(max_i, lb_v_avx2_i, _mm256_max_epi32)
LB_V2_(mul_s16, lb_v_avx2_i, _mm256_madd_epi16)
LB_V2_(add_b, lb_v_avx2_b, _mm256_add_epi8)
LB_V2_(sub_b, lb_v_avx2_b, _mm256_sub_epi8)
LB_V2_(and_b, lb_v_avx2_b, _mm256_and_si256)
#undef LB_V2_

LB_VOP lb_v_avx2_f lb_v_avx2_set1(float x)
{
    const __m256 v = _mm256_set1_ps(x);
    return (lb_v_avx2_f){v, v};
}
LB_VOP lb_v_avx2_f lb_v_avx2_load(const float *p) { return (lb_v_avx2_f){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
LB_VOP void lb_v_avx2_store(float *p, lb_v_avx2_f v)
{
    _mm256_storeu_ps(p, v.a);
    _mm256_storeu_ps(p + 8, v.b);
}
LB_VOP __m256i lb_v_avx2_mask(size_t n) /* the first n of 8 lanes, n 0..8 */
{
    static const int32_t edge[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256((const __m256i *)(const void *)(edge + 8 - n));
}
LB_VOP lb_v_avx2_f lb_v_avx2_load_n(const float *p, size_t n)
{
    const size_t lo = n < 8 ? n : 8, hi = n - lo;
    return (lb_v_avx2_f){_mm256_maskload_ps(p, lb_v_avx2_mask(lo)),
                         _mm256_maskload_ps(hi ? p + 8 : p, lb_v_avx2_mask(hi))};
}
LB_VOP void lb_v_avx2_store_n(float *p, lb_v_avx2_f v, size_t n)
{
    const size_t lo = n < 8 ? n : 8, hi = n - lo;
    _mm256_maskstore_ps(p, lb_v_avx2_mask(lo), v.a);
    _mm256_maskstore_ps(hi ? p + 8 : p, lb_v_avx2_mask(hi), v.b);
}
LB_VOP lb_v_avx2_f lb_v_avx2_fma(lb_v_avx2_f x, lb_v_avx2_f y, lb_v_avx2_f z)
{
    return (lb_v_avx2_f){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
LB_VOP lb_v_avx2_f lb_v_avx2_neg(lb_v_avx2_f x)
{
    const __m256 m = _mm256_set1_ps(-0.0f);
    return (lb_v_avx2_f){_mm256_xor_ps(x.a, m), _mm256_xor_ps(x.b, m)};
}
LB_VOP lb_v_avx2_f lb_v_avx2_zero_if_less(lb_v_avx2_f x, lb_v_avx2_f y, lb_v_avx2_f v)
{
    return (lb_v_avx2_f){_mm256_and_ps(_mm256_cmp_ps(x.a, y.a, _CMP_NLT_UQ), v.a),
                         _mm256_and_ps(_mm256_cmp_ps(x.b, y.b, _CMP_NLT_UQ), v.b)};
}
LB_VOP lb_v_avx2_i lb_v_avx2_bits(lb_v_avx2_f x)
{
    return (lb_v_avx2_i){_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)};
}
LB_VOP lb_v_avx2_f lb_v_avx2_from_bits(lb_v_avx2_i x)
{
    return (lb_v_avx2_f){_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)};
}
LB_VOP lb_v_avx2_f lb_v_avx2_to_float(lb_v_avx2_i x)
{
    return (lb_v_avx2_f){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)};
}
LB_VOP lb_v_avx2_i lb_v_avx2_to_int(lb_v_avx2_f x)
{
    return (lb_v_avx2_i){_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)};
}

LB_VOP lb_v_avx2_i lb_v_avx2_set1_i(int32_t x)
{
    const __m256i v = _mm256_set1_epi32(x);
    return (lb_v_avx2_i){v, v};
}
LB_VOP lb_v_avx2_i lb_v_avx2_load_b(const void *p)
{
    return (lb_v_avx2_i){_mm256_loadu_si256(p), _mm256_loadu_si256((const void *)((const uint8_t *)p + 32))};
}
LB_VOP void lb_v_avx2_store_b(void *p, lb_v_avx2_i v)
{
    _mm256_storeu_si256(p, v.a);
    _mm256_storeu_si256((void *)((uint8_t *)p + 32), v.b);
}
LB_VOP lb_v_avx2_i lb_v_avx2_load_i(const int32_t *p) { return lb_v_avx2_load_b(p); }
LB_VOP void lb_v_avx2_store_i(int32_t *p, lb_v_avx2_i v) { lb_v_avx2_store_b(p, v); }
LB_VOP lb_v_avx2_i lb_v_avx2_widen(__m128i v) /* 16 bytes to int32 */
{
    return (lb_v_avx2_i){_mm256_cvtepu8_epi32(v), _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(v, v))};
}
LB_VOP lb_v_avx2_i lb_v_avx2_load_u8(const uint8_t *p)
{
    return lb_v_avx2_widen(_mm_loadu_si128((const __m128i *)(const void *)p));
}
LB_VOP void lb_v_avx2_store_s8(int8_t *p, lb_v_avx2_i v)
{
    const __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(v.a, v.b), 0xd8);
    _mm_storeu_si128((__m128i *)(void *)p, _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1)));
}
#define lb_v_avx2_sll_i(v, n) ((lb_v_avx2_i){_mm256_slli_epi32((v).a, n), _mm256_slli_epi32((v).b, n)})
LB_VOP lb_v_avx2_i lb_v_avx2_sll_by(lb_v_avx2_i v, int n)
{
    return (lb_v_avx2_i){_mm256_sll_epi32(v.a, _mm_cvtsi32_si128(n)), _mm256_sll_epi32(v.b, _mm_cvtsi32_si128(n))};
}
#define lb_v_avx2_srl_i(v, n) ((lb_v_avx2_i){_mm256_srli_epi32((v).a, n), _mm256_srli_epi32((v).b, n)})

LB_VOP lb_v_avx2_f lb_v_avx2_load_f16(const uint16_t *p)
{
    return (lb_v_avx2_f){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)),
                         _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p + 8)))};
}
LB_VOP lb_v_avx2_f lb_v_avx2_load_bf16(const uint16_t *p)
{
    const __m256i a = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    const __m256i b = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p + 8)));
    return (lb_v_avx2_f){_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(b, 16))};
}
LB_VOP void lb_v_avx2_store_f16(uint16_t *p, lb_v_avx2_f v)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(v.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(void *)(p + 8), _mm256_cvtps_ph(v.b, _MM_FROUND_TO_NEAREST_INT));
}

/* The fixed tree: 8 apart, 4, 2, 1 */
LB_VOP float lb_v_avx2_sum(lb_v_avx2_f v)
{
    const __m256 h = _mm256_add_ps(v.a, v.b);
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
LB_VOP float lb_v_avx2_max_all(lb_v_avx2_f v)
{
    const __m256 h = _mm256_max_ps(v.a, v.b);
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}
LB_VOP int32_t lb_v_avx2_sum_i(lb_v_avx2_i v)
{
    const __m256i h = _mm256_add_epi32(v.a, v.b);
    __m128i q = _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
    q = _mm_add_epi32(q, _mm_shuffle_epi32(q, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(q, _mm_shuffle_epi32(q, 0xb1)));
}
LB_VOP int32_t lb_v_avx2_max_all_i(lb_v_avx2_i v)
{
    const __m256i h = _mm256_max_epi32(v.a, v.b);
    __m128i q = _mm_max_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
    q = _mm_max_epi32(q, _mm_shuffle_epi32(q, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(q, _mm_shuffle_epi32(q, 0xb1)));
}

/* a0 b0 a1 b1 .. to a and b, and back */
LB_VOP __m256 lb_v_avx2_order(__m256 v) /* 64-bit quarters 0 2 1 3 */
{
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xd8));
}
LB_VOP void lb_v_avx2_load_pairs(const float *p, lb_v_avx2_f *a, lb_v_avx2_f *b)
{
    const __m256 x0 = _mm256_loadu_ps(p), x1 = _mm256_loadu_ps(p + 8);
    const __m256 x2 = _mm256_loadu_ps(p + 16), x3 = _mm256_loadu_ps(p + 24);
    a->a = lb_v_avx2_order(_mm256_shuffle_ps(x0, x1, 0x88));
    b->a = lb_v_avx2_order(_mm256_shuffle_ps(x0, x1, 0xdd));
    a->b = lb_v_avx2_order(_mm256_shuffle_ps(x2, x3, 0x88));
    b->b = lb_v_avx2_order(_mm256_shuffle_ps(x2, x3, 0xdd));
}
LB_VOP void lb_v_avx2_store_pairs_8(float *p, __m256 a, __m256 b)
{
    const __m256 lo = _mm256_unpacklo_ps(a, b), hi = _mm256_unpackhi_ps(a, b);
    _mm256_storeu_ps(p, _mm256_permute2f128_ps(lo, hi, 0x20));
    _mm256_storeu_ps(p + 8, _mm256_permute2f128_ps(lo, hi, 0x31));
}
LB_VOP void lb_v_avx2_store_pairs(float *p, lb_v_avx2_f a, lb_v_avx2_f b)
{
    lb_v_avx2_store_pairs_8(p, a.a, b.a);
    lb_v_avx2_store_pairs_8(p + 16, a.b, b.b);
}

/* Bytes */
LB_VOP lb_v_avx2_b lb_v_avx2_set1_b(uint8_t x)
{
    const __m256i v = _mm256_set1_epi8((char)x);
    return (lb_v_avx2_b){v, v};
}
LB_VOP lb_v_avx2_b lb_v_avx2_low_nibbles(lb_v_avx2_b x)
{
    const __m256i m = _mm256_set1_epi8(15);
    return (lb_v_avx2_b){_mm256_and_si256(x.a, m), _mm256_and_si256(x.b, m)};
}
LB_VOP lb_v_avx2_b lb_v_avx2_high_nibbles(lb_v_avx2_b x)
{
    const __m256i m = _mm256_set1_epi8(15);
    return (lb_v_avx2_b){_mm256_and_si256(_mm256_srli_epi16(x.a, 4), m), _mm256_and_si256(_mm256_srli_epi16(x.b, 4), m)};
}
#define lb_v_avx2_srl_b(v, n) ((lb_v_avx2_b){_mm256_srli_epi16((v).a, n), _mm256_srli_epi16((v).b, n)})
LB_VOP lb_v_avx2_b lb_v_avx2_or_and_b(lb_v_avx2_b x, lb_v_avx2_b y, lb_v_avx2_b z)
{
    return (lb_v_avx2_b){_mm256_or_si256(x.a, _mm256_and_si256(y.a, z.a)), _mm256_or_si256(x.b, _mm256_and_si256(y.b, z.b))};
}
LB_VOP lb_v_avx2_b lb_v_avx2_quad(const int8_t *p)
{
    int32_t q;
    memcpy(&q, p, sizeof q);
    return lb_v_avx2_set1_i(q);
}
LB_VOP void lb_v_avx2_q4_zeros(const uint8_t *p, lb_v_avx2_i *even, lb_v_avx2_i *odd)
{
    static const uint8_t table[16] = LB_Q4_ZERO;
    const __m128i t = _mm_loadu_si128((const __m128i *)(const void *)table), m = _mm_set1_epi8(15);
    const __m128i z = _mm_loadu_si128((const __m128i *)(const void *)p);
    *even = lb_v_avx2_widen(_mm_shuffle_epi8(t, _mm_and_si128(z, m)));
    *odd = lb_v_avx2_widen(_mm_shuffle_epi8(t, _mm_and_si128(_mm_srli_epi16(z, 4), m)));
}
LB_VOP lb_v_avx2_i lb_v_avx2_lookup(const uint8_t *p, const uint8_t *table)
{
    const __m128i t = _mm_loadu_si128((const __m128i *)(const void *)table), m = _mm_set1_epi8(15);
    return lb_v_avx2_widen(_mm_shuffle_epi8(t, _mm_and_si128(_mm_loadu_si128((const __m128i *)(const void *)p), m)));
}
LB_VOP lb_v_avx2_b lb_v_avx2_spread(lb_v_avx2_i v)
{
    const __m256i s = _mm256_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12, 0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8,
                                       8, 12, 12, 12, 12);
    return (lb_v_avx2_b){_mm256_shuffle_epi8(v.a, s), _mm256_shuffle_epi8(v.b, s)};
}

/*
 * Small codes: u <= 15 and |x| <= 127, so a pair of products is at most 3810 and vpmaddubsw does not saturate; an accumulator
 * of 16 bits takes the 8 quads of a group, 8 * 3810 = 30480 < 32768.
 */
typedef lb_v_avx2_i lb_v_avx2_small;
LB_VOP lb_v_avx2_i lb_v_avx2_small_zero(void) { return lb_v_avx2_set1_i(0); }
LB_VOP lb_v_avx2_i lb_v_avx2_small_dot(lb_v_avx2_i acc, lb_v_avx2_b u, lb_v_avx2_b x)
{
    acc.a = _mm256_add_epi16(acc.a, _mm256_maddubs_epi16(u.a, x.a));
    acc.b = _mm256_add_epi16(acc.b, _mm256_maddubs_epi16(u.b, x.b));
    LB_KEEP_ORDER("+x", acc.a);
    LB_KEEP_ORDER("+x", acc.b);
    return acc;
}
LB_VOP lb_v_avx2_i lb_v_avx2_small_sum(lb_v_avx2_i x, lb_v_avx2_i y)
{
    const __m256i one = _mm256_set1_epi16(1);
    return (lb_v_avx2_i){_mm256_madd_epi16(_mm256_add_epi16(x.a, y.a), one),
                         _mm256_madd_epi16(_mm256_add_epi16(x.b, y.b), one)};
}

/*
 * Codes around 128: w = u - 128 is signed, vpmaddubsw wants one operand unsigned, so |w| * (x with the sign of w).
 * |w| <= 128 and |x| <= 127: a pair is at most 32512 < 32768.
 */
#define LB_DOT_BIAS_avx2 0
LB_VOP __m256i lb_v_avx2_dot_8(__m256i acc, __m256i u, __m256i x)
{
    const __m256i w = _mm256_xor_si256(u, _mm256_set1_epi8(-128));
    const __m256i p = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    acc = _mm256_add_epi32(acc, _mm256_madd_epi16(p, _mm256_set1_epi16(1)));
    LB_KEEP_ORDER("+x", acc);
    return acc;
}
LB_VOP lb_v_avx2_i lb_v_avx2_dot(lb_v_avx2_i acc, lb_v_avx2_b u, lb_v_avx2_b x)
{
    return (lb_v_avx2_i){lb_v_avx2_dot_8(acc.a, u.a, x.a), lb_v_avx2_dot_8(acc.b, u.b, x.b)};
}

/* Tables of 16 bytes; indices are 0..15 */
LB_VOP lb_v_avx2_b lb_v_avx2_load_table(const void *p)
{
    const __m256i v = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)p));
    return (lb_v_avx2_b){v, v};
}
LB_VOP uint64_t lb_v_avx2_lookup8(const uint8_t *p, uint64_t index)
{
    const __m128i v = _mm_loadl_epi64((const __m128i *)(const void *)p);
    return (uint64_t)_mm_cvtsi128_si64(_mm_shuffle_epi8(v, _mm_cvtsi64_si128((long long)index)));
}
LB_VOP lb_v_avx2_b lb_v_avx2_lookup_b(lb_v_avx2_b table, lb_v_avx2_b i)
{
    return (lb_v_avx2_b){_mm256_shuffle_epi8(table.a, i.a), _mm256_shuffle_epi8(table.b, i.b)};
}
LB_VOP __m256i lb_v_avx2_mix_8(__m256i a, __m256i b, __m256i m)
{
    return _mm256_or_si256(_mm256_and_si256(a, m), _mm256_andnot_si256(m, b));
}
LB_VOP lb_v_avx2_b lb_v_avx2_mix(lb_v_avx2_b a, lb_v_avx2_b b, uint8_t mask) /* bits of a where mask has them, else of b */
{
    const __m256i m = _mm256_set1_epi8((char)mask);
    return (lb_v_avx2_b){lb_v_avx2_mix_8(a.a, b.a, m), lb_v_avx2_mix_8(a.b, b.b, m)};
}

/* As in lb_v_avx512.h */
LB_VOP __m256i lb_v_avx2_scatter_8(__m256i fill, __m256i v, __m256i p, __m256i from)
{
    const __m256i here = _mm256_cmpeq_epi8(_mm256_shuffle_epi8(p, from), _mm256_set1_epi32(0x03020100));
    return _mm256_blendv_epi8(fill, _mm256_shuffle_epi8(v, from), here);
}
LB_VOP lb_v_avx2_b lb_v_avx2_scatter2(lb_v_avx2_b fill, lb_v_avx2_b v, lb_v_avx2_b p, const int at)
{
    const __m256i first = _mm256_add_epi8(_mm256_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12, 0, 0, 0, 0, 4, 4,
                                                           4, 4, 8, 8, 8, 8, 12, 12, 12, 12), _mm256_set1_epi8((char)at));
    const __m256i second = _mm256_add_epi8(first, _mm256_set1_epi8(1));
    return (lb_v_avx2_b){lb_v_avx2_scatter_8(lb_v_avx2_scatter_8(fill.a, v.a, p.a, first), v.a, p.a, second),
                         lb_v_avx2_scatter_8(lb_v_avx2_scatter_8(fill.b, v.b, p.b, first), v.b, p.b, second)};
}

/* Sums of 16 rows in 16 bits: rows 0..7 and 8..15 apart, two pieces in the 128-bit lanes */
typedef struct lb_v_avx2_w {
    __m256i a, b;
} lb_v_avx2_w;
LB_VOP lb_v_avx2_w lb_v_avx2_zero_w(void) { return (lb_v_avx2_w){_mm256_setzero_si256(), _mm256_setzero_si256()}; }
LB_VOP lb_v_avx2_w lb_v_avx2_add_w(lb_v_avx2_w s, lb_v_avx2_b low, lb_v_avx2_b high)
{
    const __m256i a = _mm256_add_epi16(_mm256_unpacklo_epi8(low.a, high.a), _mm256_unpacklo_epi8(low.b, high.b));
    const __m256i b = _mm256_add_epi16(_mm256_unpackhi_epi8(low.a, high.a), _mm256_unpackhi_epi8(low.b, high.b));
    return (lb_v_avx2_w){_mm256_add_epi16(s.a, a), _mm256_add_epi16(s.b, b)};
}
LB_VOP lb_v_avx2_w lb_v_avx2_double_w(lb_v_avx2_w s)
{
    return (lb_v_avx2_w){_mm256_add_epi16(s.a, s.a), _mm256_add_epi16(s.b, s.b)};
}
LB_VOP __m256i lb_v_avx2_sum_w_8(__m256i v)
{
    return _mm256_add_epi32(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(v)),
                            _mm256_cvtepi16_epi32(_mm256_extracti128_si256(v, 1)));
}
LB_VOP lb_v_avx2_i lb_v_avx2_sum_w(lb_v_avx2_w s) { return (lb_v_avx2_i){lb_v_avx2_sum_w_8(s.a), lb_v_avx2_sum_w_8(s.b)}; }

/* 16 bytes, looked up by the low 4 bits of 16 others */
typedef __m128i lb_v_avx2_z;
LB_VOP __m128i lb_v_avx2_load_z(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
LB_VOP void lb_v_avx2_store_z(uint8_t *p, __m128i z) { _mm_storeu_si128((__m128i *)(void *)p, z); }
LB_VOP __m128i lb_v_avx2_lookup_z(const uint8_t *p, const uint8_t *table)
{
    return _mm_shuffle_epi8(lb_v_avx2_load_z(table), _mm_and_si128(lb_v_avx2_load_z(p), _mm_set1_epi8(15)));
}
/* Row sums of bytes 0..254 with weights of planes, in 16 bits: maddubs adds the pieces 0 and 2, 1 and 3 on the way */
LB_VOP lb_v_avx2_i lb_v_avx2_planes(const lb_v_avx2_b *v, const int bits, const int weight, __m128i z, int base,
                                    int sum)
{
    __m256i lo = _mm256_setzero_si256(), hi = lo;
    LB_UNROLL
    for (int b = 0; b < bits; b++) {
        const __m256i w = _mm256_set1_epi8((char)(weight << b));
        lo = _mm256_add_epi16(lo, _mm256_maddubs_epi16(_mm256_unpacklo_epi8(v[b].a, v[b].b), w));
        hi = _mm256_add_epi16(hi, _mm256_maddubs_epi16(_mm256_unpackhi_epi8(v[b].a, v[b].b), w));
    }
    const __m256i s = _mm256_add_epi16(_mm256_permute2x128_si256(lo, hi, 0x20), _mm256_permute2x128_si256(lo, hi, 0x31));
    const __m256i zero = _mm256_mullo_epi16(_mm256_cvtepu8_epi16(z), _mm256_set1_epi16((int16_t)sum));
    const __m256i isum = _mm256_sub_epi16(_mm256_add_epi16(s, _mm256_set1_epi16((int16_t)base)), zero);
    return (lb_v_avx2_i){_mm256_cvtepi16_epi32(_mm256_castsi256_si128(isum)),
                         _mm256_cvtepi16_epi32(_mm256_extracti128_si256(isum, 1))};
}

#undef LB_VOP
#endif /* LB_V_AVX2_H */
