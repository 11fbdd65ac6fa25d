/* Integer dot products on AVX-512 VNNI: vpdpbusd adds four products u8 x s8 to an int32, exactly. */
#ifndef LB_V_AVX512VNNI_H
#define LB_V_AVX512VNNI_H

#include "lb_v_avx512.h"

#define LB_TARGET_AVX512VNNI \
    LB_TARGET("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi,bmi2")
#define LB_VOP LB_ALWAYS_INLINE LB_TARGET_AVX512VNNI

/* Codes around 128: the raw sum, from which 128 * sum(x) is still to be taken */
#define LB_DOT_BIAS_avx512vnni 128
LB_VOP __m512i lb_v_avx512vnni_dot(__m512i acc, __m512i u, __m512i x)
{
    acc = _mm512_dpbusd_epi32(acc, u, x);
    __asm__("" : "+v"(acc)); /* else gcc 12 copies the accumulators of loops to other registers and back, which took 40 % of the time */
    return acc;
}

/* Small codes (0..15) of one group: the accumulator is the result. */
typedef __m512i lb_v_avx512vnni_small;
LB_VOP __m512i lb_v_avx512vnni_small_zero(void) { return _mm512_setzero_si512(); }
LB_VOP __m512i lb_v_avx512vnni_small_dot(__m512i acc, __m512i u, __m512i x)
{
    return lb_v_avx512vnni_dot(acc, u, x);
}
LB_VOP __m512i lb_v_avx512vnni_small_sum(__m512i a, __m512i b) { return _mm512_add_epi32(a, b); }

#undef LB_VOP
#endif /* LB_V_AVX512VNNI_H */
