#if defined(__x86_64__)
/* The block Hadamard transform, AVX2. */
#include "../lb_kernel_names.h"
#include "lb_v_avx2.h"

/* Lanes i and i ^ h of 8 exchanged, h = 1, 2, 4 */
#define LB_H_SWAP8(v, h)                          \
    ((h) == 1   ? _mm256_permute_ps(v, 0xb1)      \
     : (h) == 2 ? _mm256_permute_ps(v, 0x4e)      \
                : _mm256_permute2f128_ps(v, v, 1))

LB_ALWAYS_INLINE LB_TARGET_AVX2 lb_v_avx2_f lb_hadamard_swap_avx2(lb_v_avx2_f v, const size_t h)
{
    return h == 8 ? (lb_v_avx2_f){v.b, v.a} : (lb_v_avx2_f){LB_H_SWAP8(v.a, h), LB_H_SWAP8(v.b, h)};
}

LB_ALWAYS_INLINE LB_TARGET_AVX2 lb_v_avx2_f lb_hadamard_flip_avx2(lb_v_avx2_f v, const size_t h)
{
    const float m = -0.0f;
    const __m256 all = _mm256_set1_ps(m);
    const __m256 part = h == 1   ? _mm256_setr_ps(0, m, 0, m, 0, m, 0, m)
                        : h == 2 ? _mm256_setr_ps(0, 0, m, m, 0, 0, m, m)
                                 : _mm256_setr_ps(0, 0, 0, 0, m, m, m, m);
    return h == 8 ? (lb_v_avx2_f){v.a, _mm256_xor_ps(v.b, all)}
                  : (lb_v_avx2_f){_mm256_xor_ps(v.a, part), _mm256_xor_ps(v.b, part)};
}

LB_DECLARE_HADAMARD(avx2);

/* Bit i of 8 to the sign of lane i */
LB_ALWAYS_INLINE LB_TARGET_AVX2 __m256 lb_hadamard_signs8_avx2(__m256 v, uint32_t bits)
{
    const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)bits), lane), lane);
    return _mm256_xor_ps(v, _mm256_castsi256_ps(_mm256_slli_epi32(set, 31)));
}

LB_ALWAYS_INLINE LB_TARGET_AVX2 lb_v_avx2_f lb_hadamard_signs_avx2(lb_v_avx2_f v, uint32_t bits)
{
    return (lb_v_avx2_f){lb_hadamard_signs8_avx2(v.a, bits), lb_hadamard_signs8_avx2(v.b, bits >> 8)};
}

#define LB_T avx2
#define LB_TV avx2
#define LB_T_TARGET LB_TARGET_AVX2
#define LB_T_SWAP(v, h) lb_hadamard_swap_avx2(v, h)
#define LB_T_FLIP(v, h) lb_hadamard_flip_avx2(v, h)
#define LB_T_SIGNS(v, b) lb_hadamard_signs_avx2(v, b)
#include "../tmpl/lb_t_hadamard.h"
#undef LB_H_SWAP8
#endif
