#if defined(__x86_64__)
/*
 * Matrix products of ternary weights, AVX-512 VNNI. For one token no digit is ever made: with
 * f_{j+1} = 3 f_j modulo 256,
 *     256 d_j = 3 f_j - f_{j+1}, so  256 sum(d_j x_j) = 3 sum(f_j x_j) - sum(f_{j+1} x_j)
 * and vpdpbusd takes the fractions f, 0..255, as they are: two additions and two dot products per 64 weights.
 */
#include "../lb_ahead.h"
#include "../lb_kernel_names.h"
#include "../lb_layout.h"
#include "lb_v_avx512vnni.h"

LB_DECLARE_TERN(avx512vnni);

#define LB_VOP LB_ALWAYS_INLINE LB_TARGET_AVX512VNNI

/* Sums may wrap around as long as their difference, at most 256 * 254 * columns, fits 32 bits: 33025 columns. */
#define LB_TERN_RUN ((size_t)1024)

LB_VOP __m512i lb_v_avx512vnni_tern_next(__m512i f)
{
    return _mm512_add_epi8(_mm512_add_epi8(f, f), f);
}

static LB_SHARED LB_TARGET_AVX512VNNI __m512i lb_v_avx512vnni_tern_dot(const uint8_t *codes, const int8_t *q, size_t n, lb_ahead *prefetch)
{
    lb_ahead ahead = *prefetch;
    __m512i sum = _mm512_setzero_si512();
    while (n > 0) {
        const size_t run = n < LB_TERN_RUN ? n : LB_TERN_RUN;
        __m512i a[5], b[5];
        LB_UNROLL
        for (size_t j = 0; j < 5; j++) {
            a[j] = b[j] = _mm512_setzero_si512();
        }
        for (size_t l = 0; l < run; l++) {
            __m512i f = _mm512_loadu_si512(codes);
            lb_ahead_step(&ahead, 64, 1);
            LB_UNROLL
            for (size_t j = 0; j < 5; j++) {
                const __m512i x = lb_v_avx512_quad(q + 4 * j);
                a[j] = lb_v_avx512vnni_dot(a[j], f, x);
                f = lb_v_avx512vnni_tern_next(f);
                b[j] = lb_v_avx512vnni_dot(b[j], f, x);
            }
            codes += 64;
            q += LB_TERN_COLUMNS;
        }
        a[0] = _mm512_add_epi32(_mm512_add_epi32(_mm512_add_epi32(a[0], a[1]), _mm512_add_epi32(a[2], a[3])),
                                a[4]);
        b[0] = _mm512_add_epi32(_mm512_add_epi32(_mm512_add_epi32(b[0], b[1]), _mm512_add_epi32(b[2], b[3])),
                                b[4]);
        const __m512i d = _mm512_sub_epi32(_mm512_add_epi32(_mm512_add_epi32(a[0], a[0]), a[0]), b[0]);
        sum = _mm512_add_epi32(sum, _mm512_srai_epi32(d, 8));
        n -= run;
    }
    *prefetch = ahead;
    return sum;
}

/* (f >= 86) + (f >= 171), as masks */
LB_VOP void lb_v_avx512vnni_tern_digits(const uint8_t *line, uint8_t *out)
{
    const __m512i one = _mm512_set1_epi8(1);
    __m512i f = _mm512_loadu_si512(line);
    LB_UNROLL
    for (size_t j = 0; j < 5; j++) {
        const __m512i d = _mm512_maskz_mov_epi8(_mm512_cmpge_epu8_mask(f, _mm512_set1_epi8(86)), one);
        const __mmask64 two = _mm512_cmpge_epu8_mask(f, _mm512_set1_epi8((char)171));
        _mm512_storeu_si512(out + 64 * j, _mm512_mask_add_epi8(d, two, d, one));
        f = lb_v_avx512vnni_tern_next(f);
    }
}

#undef LB_VOP
#undef LB_TERN_RUN

#define LB_T avx512vnni
#define LB_TV avx512
#define LB_TD avx512vnni
#define LB_T_TARGET LB_TARGET_AVX512VNNI
#define LB_T_GTILES 2
#define LB_T_TOKENS 6
#define LB_T_QUADS SIZE_MAX
#define LB_T_AHEAD 4096
#define LB_T_DIRECT 3
#include "../tmpl/lb_t_tern.h"
#endif
