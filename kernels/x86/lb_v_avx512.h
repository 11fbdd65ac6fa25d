/*
 * Virtual vectors on AVX-512: f is 16 floats, i is 16 int32, b is 64 bytes; one zmm each. kernels/tmpl/README lists the
 * operations. LB_TARGET_AVX512 is the bundle of level avx512.
 */
#ifndef LB_V_AVX512_H
#define LB_V_AVX512_H

#include <immintrin.h>

#include "../lb_math.h"

#define LB_TARGET_AVX512 LB_TARGET("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,f16c,bmi,bmi2")
#define LB_VOP LB_ALWAYS_INLINE LB_TARGET_AVX512

typedef __m512 lb_v_avx512_f;
typedef __m512i lb_v_avx512_i;
typedef __m512i lb_v_avx512_b;

LB_VOP __m512 lb_v_avx512_set1(float x) { return _mm512_set1_ps(x); }
LB_VOP __m512 lb_v_avx512_load(const float *p) { return _mm512_loadu_ps(p); }
LB_VOP void lb_v_avx512_store(float *p, __m512 v) { _mm512_storeu_ps(p, v); }
LB_VOP __m512 lb_v_avx512_load_n(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps((__mmask16)_bzhi_u32(0xffff, (uint32_t)n), p);
}
LB_VOP void lb_v_avx512_store_n(float *p, __m512 v, size_t n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)_bzhi_u32(0xffff, (uint32_t)n), v);
}
LB_VOP __m512 lb_v_avx512_add(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
LB_VOP __m512 lb_v_avx512_sub(__m512 a, __m512 b) { return _mm512_sub_ps(a, b); }
LB_VOP __m512 lb_v_avx512_mul(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
LB_VOP __m512 lb_v_avx512_div(__m512 a, __m512 b) { return _mm512_div_ps(a, b); }
LB_VOP __m512 lb_v_avx512_fma(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
LB_VOP __m512 lb_v_avx512_neg(__m512 a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
LB_VOP __m512 lb_v_avx512_max(__m512 a, __m512 b) { return _mm512_max_ps(a, b); }
LB_VOP __m512 lb_v_avx512_min(__m512 a, __m512 b) { return _mm512_min_ps(a, b); }
LB_VOP __m512 lb_v_avx512_zero_if_less(__m512 a, __m512 b, __m512 v)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ), v);
}
LB_VOP __m512i lb_v_avx512_bits(__m512 a) { return _mm512_castps_si512(a); }
LB_VOP __m512 lb_v_avx512_from_bits(__m512i a) { return _mm512_castsi512_ps(a); }
LB_VOP __m512 lb_v_avx512_to_float(__m512i a) { return _mm512_cvtepi32_ps(a); }
LB_VOP __m512i lb_v_avx512_to_int(__m512 a) { return _mm512_cvtps_epi32(a); }

LB_VOP __m512i lb_v_avx512_set1_i(int32_t x) { return _mm512_set1_epi32(x); }
LB_VOP __m512i lb_v_avx512_load_i(const int32_t *p) { return _mm512_loadu_si512(p); }
LB_VOP void lb_v_avx512_store_i(int32_t *p, __m512i v) { _mm512_storeu_si512(p, v); }
LB_VOP __m512i lb_v_avx512_load_u8(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}
LB_VOP void lb_v_avx512_store_s8(int8_t *p, __m512i v)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(v));
}
LB_VOP __m512i lb_v_avx512_add_i(__m512i a, __m512i b) { return _mm512_add_epi32(a, b); }
LB_VOP __m512i lb_v_avx512_sub_i(__m512i a, __m512i b) { return _mm512_sub_epi32(a, b); }
LB_VOP __m512i lb_v_avx512_and_i(__m512i a, __m512i b) { return _mm512_and_si512(a, b); }
LB_VOP __m512i lb_v_avx512_max_i(__m512i a, __m512i b) { return _mm512_max_epi32(a, b); }
LB_VOP __m512i lb_v_avx512_mul_s16(__m512i a, __m512i b) { return _mm512_madd_epi16(a, b); }
#define lb_v_avx512_sll_i(v, n) _mm512_slli_epi32(v, n)
LB_VOP __m512i lb_v_avx512_sll_by(__m512i v, int n) { return _mm512_sll_epi32(v, _mm_cvtsi32_si128(n)); }
#define lb_v_avx512_srl_i(v, n) _mm512_srli_epi32(v, n)

LB_VOP __m512 lb_v_avx512_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
LB_VOP __m512 lb_v_avx512_load_bf16(const uint16_t *p)
{
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p)), 16));
}
LB_VOP void lb_v_avx512_store_f16(uint16_t *p, __m512 v)
{
    /* not _mm512_cvtps_ph: gcc's macro form of it, without optimisation, warns about its own mask */
    _mm256_storeu_si256((__m256i *)(void *)p,
                        _mm512_mask_cvtps_ph(_mm256_setzero_si256(), (__mmask16)0xffff, v, _MM_FROUND_TO_NEAREST_INT));
}

/* The fixed tree: 8 apart, 4, 2, 1 */
LB_VOP float lb_v_avx512_sum(__m512 v)
{
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
LB_VOP float lb_v_avx512_max_all(__m512 v)
{
    __m256 h = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}
LB_VOP int32_t lb_v_avx512_sum_i(__m512i v)
{
    __m256i h = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    __m128i q = _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
    q = _mm_add_epi32(q, _mm_shuffle_epi32(q, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(q, _mm_shuffle_epi32(q, 0xb1)));
}
LB_VOP int32_t lb_v_avx512_max_all_i(__m512i v)
{
    __m256i h = _mm256_max_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    __m128i q = _mm_max_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
    q = _mm_max_epi32(q, _mm_shuffle_epi32(q, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(q, _mm_shuffle_epi32(q, 0xb1)));
}

/* a0 b0 a1 b1 .. to a and b, and back */
LB_VOP void lb_v_avx512_load_pairs(const float *p, __m512 *a, __m512 *b)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    __m512 lo = _mm512_loadu_ps(p), hi = _mm512_loadu_ps(p + 16);
    *a = _mm512_permutex2var_ps(lo, even, hi);
    *b = _mm512_permutex2var_ps(lo, _mm512_add_epi32(even, _mm512_set1_epi32(1)), hi);
}
LB_VOP void lb_v_avx512_store_pairs(float *p, __m512 a, __m512 b)
{
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    _mm512_storeu_ps(p, _mm512_permutex2var_ps(a, low, b));
    _mm512_storeu_ps(p + 16, _mm512_permutex2var_ps(a, _mm512_add_epi32(low, _mm512_set1_epi32(8)), b));
}

/* Bytes */
LB_VOP __m512i lb_v_avx512_load_b(const void *p) { return _mm512_loadu_si512(p); }
LB_VOP void lb_v_avx512_store_b(void *p, __m512i v) { _mm512_storeu_si512(p, v); }
LB_VOP __m512i lb_v_avx512_set1_b(uint8_t x) { return _mm512_set1_epi8((char)x); }
LB_VOP __m512i lb_v_avx512_add_b(__m512i a, __m512i b) { return _mm512_add_epi8(a, b); }
LB_VOP __m512i lb_v_avx512_sub_b(__m512i a, __m512i b) { return _mm512_sub_epi8(a, b); }
LB_VOP __m512i lb_v_avx512_low_nibbles(__m512i a) { return _mm512_and_si512(a, _mm512_set1_epi8(15)); }
LB_VOP __m512i lb_v_avx512_high_nibbles(__m512i a)
{
    return _mm512_and_si512(_mm512_srli_epi16(a, 4), _mm512_set1_epi8(15));
}
LB_VOP __m512i lb_v_avx512_and_b(__m512i a, __m512i b) { return _mm512_and_si512(a, b); }
#define lb_v_avx512_srl_b(v, n) _mm512_srli_epi16(v, n)
LB_VOP __m512i lb_v_avx512_or_and_b(__m512i a, __m512i b, __m512i c) { return _mm512_ternarylogic_epi32(a, b, c, 0xf8); }
LB_VOP __m512i lb_v_avx512_quad(const int8_t *p) /* the same 4 bytes in every lane */
{
    int32_t q;
    memcpy(&q, p, sizeof q);
    return _mm512_set1_epi32(q);
}

/* q4 zero points of 16 rows and two groups: as int32, and as bytes four times each */
LB_VOP void lb_v_avx512_q4_zeros(const uint8_t *p, __m512i *even, __m512i *odd)
{
    static const uint8_t table[16] = LB_Q4_ZERO;
    const __m128i t = _mm_loadu_si128((const __m128i *)(const void *)table), m = _mm_set1_epi8(15);
    const __m128i z = _mm_loadu_si128((const __m128i *)(const void *)p);
    *even = _mm512_cvtepu8_epi32(_mm_shuffle_epi8(t, _mm_and_si128(z, m)));
    *odd = _mm512_cvtepu8_epi32(_mm_shuffle_epi8(t, _mm_and_si128(_mm_srli_epi16(z, 4), m)));
}
LB_VOP __m512i lb_v_avx512_lookup(const uint8_t *p, const uint8_t *table) /* table[p[r] & 15]: vpermd takes 4 bits only */
{
    return _mm512_permutexvar_epi32(lb_v_avx512_load_u8(p), lb_v_avx512_load_u8(table));
}
LB_VOP __m512i lb_v_avx512_spread(__m512i v) /* the low byte of each lane into its four bytes */
{
    const __m128i s = _mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
    return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(s));
}

/* Tables of 16 bytes; indices are 0..15 */
LB_VOP __m512i lb_v_avx512_load_table(const void *p)
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)p));
}
LB_VOP uint64_t lb_v_avx512_lookup8(const uint8_t *p, uint64_t index)
{
    const __m128i v = _mm_loadl_epi64((const __m128i *)(const void *)p);
    return (uint64_t)_mm_cvtsi128_si64(_mm_shuffle_epi8(v, _mm_cvtsi64_si128((long long)index)));
}
LB_VOP __m512i lb_v_avx512_lookup_b(__m512i table, __m512i index) { return _mm512_shuffle_epi8(table, index); }
LB_VOP __m512i lb_v_avx512_mix(__m512i a, __m512i b, uint8_t mask) /* bits of a where mask has them, else of b */
{
    return _mm512_ternarylogic_epi32(_mm512_set1_epi8((char)mask), a, b, 0xca);
}

/* Bytes `at` and at + 1 (at = 0 or 2) of each lane of v to the bytes that p names in the same places (0..3); fill elsewhere */
LB_VOP __m512i lb_v_avx512_scatter2(__m512i fill, __m512i v, __m512i p, const int at)
{
    const __m512i columns = _mm512_set1_epi32(0x03020100);
    const __m512i first = _mm512_add_epi8(
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12)), _mm512_set1_epi8((char)at));
    const __m512i second = _mm512_add_epi8(first, _mm512_set1_epi8(1));
    fill = _mm512_mask_shuffle_epi8(fill, _mm512_cmpeq_epi8_mask(_mm512_shuffle_epi8(p, first), columns), v, first);
    return _mm512_mask_shuffle_epi8(fill, _mm512_cmpeq_epi8_mask(_mm512_shuffle_epi8(p, second), columns), v, second);
}

/* Sums of 16 rows in 16 bits: rows 0..7 and 8..15 of each 16-byte piece apart, two numbers of a row in each */
typedef struct lb_v_avx512_w {
    __m512i a, b;
} lb_v_avx512_w;
LB_VOP lb_v_avx512_w lb_v_avx512_zero_w(void) { return (lb_v_avx512_w){_mm512_setzero_si512(), _mm512_setzero_si512()}; }
LB_VOP lb_v_avx512_w lb_v_avx512_add_w(lb_v_avx512_w s, __m512i low, __m512i high)
{
    s.a = _mm512_add_epi16(s.a, _mm512_unpacklo_epi8(low, high));
    s.b = _mm512_add_epi16(s.b, _mm512_unpackhi_epi8(low, high));
    return s;
}
LB_VOP lb_v_avx512_w lb_v_avx512_double_w(lb_v_avx512_w s)
{
    return (lb_v_avx512_w){_mm512_add_epi16(s.a, s.a), _mm512_add_epi16(s.b, s.b)};
}
LB_VOP __m512i lb_v_avx512_sum_w(lb_v_avx512_w s)
{
    /* two pieces fit 16 bits, four do not */
    const __m256i a = _mm256_add_epi16(_mm512_castsi512_si256(s.a), _mm512_extracti64x4_epi64(s.a, 1));
    const __m256i b = _mm256_add_epi16(_mm512_castsi512_si256(s.b), _mm512_extracti64x4_epi64(s.b, 1));
    return _mm512_add_epi32(_mm512_cvtepi16_epi32(_mm256_permute2x128_si256(a, b, 0x20)),
                            _mm512_cvtepi16_epi32(_mm256_permute2x128_si256(a, b, 0x31)));
}

/* 16 bytes, looked up by the low 4 bits of 16 others */
typedef __m128i lb_v_avx512_z;
LB_VOP __m128i lb_v_avx512_load_z(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
LB_VOP void lb_v_avx512_store_z(uint8_t *p, __m128i z) { _mm_storeu_si128((__m128i *)(void *)p, z); }
LB_VOP __m128i lb_v_avx512_lookup_z(const uint8_t *p, const uint8_t *table)
{
    return _mm_shuffle_epi8(lb_v_avx512_load_z(table), _mm_and_si128(lb_v_avx512_load_z(p), _mm_set1_epi8(15)));
}
/* Row sums of bytes 0..254 with weights of planes, in 16 bits: maddubs adds two planes on the way */
LB_VOP __m512i lb_v_avx512_planes(const __m512i *v, const int bits, const int weight, __m128i z, int base, int sum)
{
    __m512i lo = _mm512_setzero_si512(), hi = lo;
    LB_UNROLL
    for (int b = 0; b < bits; b += 2) {
        const bool two = b + 1 < bits;
        const __m512i last = two ? v[b + 1] : v[b], w = _mm512_set1_epi16((int16_t)((two ? 2 << 8 | 1 : 1) * (weight << b)));
        lo = _mm512_add_epi16(lo, _mm512_maddubs_epi16(_mm512_unpacklo_epi8(v[b], last), w));
        hi = _mm512_add_epi16(hi, _mm512_maddubs_epi16(_mm512_unpackhi_epi8(v[b], last), w));
    }
    const __m256i a = _mm256_add_epi16(_mm512_castsi512_si256(lo), _mm512_extracti64x4_epi64(lo, 1));
    const __m256i b = _mm256_add_epi16(_mm512_castsi512_si256(hi), _mm512_extracti64x4_epi64(hi, 1));
    const __m256i s = _mm256_add_epi16(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
    const __m256i zero = _mm256_mullo_epi16(_mm256_cvtepu8_epi16(z), _mm256_set1_epi16((int16_t)sum));
    return _mm512_cvtepi16_epi32(_mm256_sub_epi16(_mm256_add_epi16(s, _mm256_set1_epi16((int16_t)base)), zero));
}

#undef LB_VOP
#endif /* LB_V_AVX512_H */
