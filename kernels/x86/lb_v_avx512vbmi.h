/* What AVX-512 VBMI and VBMI2 add: lookups with 6 bits of an index, whatever its other bits are; bytes to the places of a mask. */
#ifndef LB_V_AVX512VBMI_H
#define LB_V_AVX512VBMI_H

#include "lb_v_avx512vnni.h"

#define LB_TARGET_AVX512VBMI \
    LB_TARGET("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx512vbmi2,avx2,fma,f16c,bmi,bmi2")
#define LB_VOP LB_ALWAYS_INLINE LB_TARGET_AVX512VBMI

LB_VOP __m512i lb_v_avx512vbmi_permute(__m512i table, __m512i index)
{
    return _mm512_permutexvar_epi8(index, table);
}

/* 64 entries for 6 bits of an index, of which the 4 from bit n (0..2) on choose among the 16 of a table */
LB_VOP __m512i lb_v_avx512vbmi_widen_table(__m512i table, int n)
{
    const __m512i iota = _mm512_set_epi64(
        0x3f3e3d3c3b3a3938, 0x3736353433323130, 0x2f2e2d2c2b2a2928, 0x2726252423222120, 0x1f1e1d1c1b1a1918,
        0x1716151413121110, 0x0f0e0d0c0b0a0908, 0x0706050403020100);
    const __m512i index = _mm512_srl_epi16(iota, _mm_cvtsi32_si128(n));
    return _mm512_shuffle_epi8(table, _mm512_and_si512(index, _mm512_set1_epi8(15)));
}

/* The bytes of v go to the places whose bits are set, in order; 128 elsewhere */
LB_VOP __m512i lb_v_avx512vbmi_expand(uint64_t mask, __m512i v)
{
    return _mm512_mask_expand_epi8(_mm512_set1_epi8((char)128), mask, v);
}

#undef LB_VOP
#endif /* LB_V_AVX512VBMI_H */
