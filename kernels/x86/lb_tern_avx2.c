#if defined(__x86_64__)
/*
 * Matrix products of ternary weights, AVX2. A digit of the fraction f is two comparisons,
 * d = (f >= 86) + (f >= 171), on bytes that are shifted by 128 because vpcmpgtb is signed; tripling keeps the
 * shift, as 3 * 128 = 128 modulo 256.
 */
#include "../lb_ahead.h"
#include "../lb_kernel_names.h"
#include "../lb_layout.h"
#include "lb_v_avx2.h"

LB_DECLARE_TERN(avx2);

#define LB_VOP LB_ALWAYS_INLINE LB_TARGET_AVX2

LB_VOP __m256i lb_v_avx2_tern_digit(__m256i shifted)
{
    const __m256i a = _mm256_cmpgt_epi8(shifted, _mm256_set1_epi8(85 - 128));
    const __m256i b = _mm256_cmpgt_epi8(shifted, _mm256_set1_epi8(170 - 128));
    return _mm256_abs_epi8(_mm256_add_epi8(a, b));
}

LB_VOP __m256i lb_v_avx2_tern_load(const uint8_t *p)
{
    return _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)p), _mm256_set1_epi8(-128));
}

LB_VOP __m256i lb_v_avx2_tern_next(__m256i shifted)
{
    return _mm256_add_epi8(_mm256_add_epi8(shifted, shifted), shifted);
}

/* A pair of products is at most 508, a line adds five of them: 12 lines, 30480, fit 16 bits. */
static LB_SHARED LB_TARGET_AVX2 lb_v_avx2_i lb_v_avx2_tern_dot(const uint8_t *codes, const int8_t *q, size_t n, lb_ahead *prefetch)
{
    lb_ahead ahead = *prefetch;
    const __m256i one = _mm256_set1_epi16(1);
    lb_v_avx2_i sum = lb_v_avx2_set1_i(0);
    while (n > 0) {
        const size_t run = n < 12 ? n : 12;
        __m256i a = _mm256_setzero_si256(), b = a;
        for (size_t l = 0; l < run; l++) {
            __m256i fa = lb_v_avx2_tern_load(codes), fb = lb_v_avx2_tern_load(codes + 32);
            lb_ahead_step(&ahead, 64, 1);
            LB_UNROLL
            for (size_t j = 0; j < 5; j++) {
                int32_t quad;
                memcpy(&quad, q + 4 * j, sizeof quad);
                const __m256i x = _mm256_set1_epi32(quad);
                a = _mm256_add_epi16(a, _mm256_maddubs_epi16(lb_v_avx2_tern_digit(fa), x));
                b = _mm256_add_epi16(b, _mm256_maddubs_epi16(lb_v_avx2_tern_digit(fb), x));
                LB_KEEP_ORDER("+x", a);
                LB_KEEP_ORDER("+x", b);
                fa = lb_v_avx2_tern_next(fa);
                fb = lb_v_avx2_tern_next(fb);
            }
            codes += 64;
            q += LB_TERN_COLUMNS;
        }
        sum.a = _mm256_add_epi32(sum.a, _mm256_madd_epi16(a, one));
        sum.b = _mm256_add_epi32(sum.b, _mm256_madd_epi16(b, one));
        n -= run;
    }
    *prefetch = ahead;
    return sum;
}

LB_VOP void lb_v_avx2_tern_digits(const uint8_t *line, uint8_t *out)
{
    LB_UNROLL
    for (size_t h = 0; h < 64; h += 32) {
        __m256i f = lb_v_avx2_tern_load(line + h);
        LB_UNROLL
        for (size_t j = 0; j < 5; j++) {
            _mm256_storeu_si256((__m256i *)(void *)(out + 64 * j + h), lb_v_avx2_tern_digit(f));
            f = lb_v_avx2_tern_next(f);
        }
    }
}

#undef LB_VOP

#define LB_T avx2
#define LB_TV avx2
#define LB_TD avx2
#define LB_T_TARGET LB_TARGET_AVX2
#define LB_T_GTILES 1
#define LB_T_TOKENS 4
#define LB_T_QUADS 60
#define LB_T_AHEAD 4096
#define LB_T_DIRECT 1
#include "../tmpl/lb_t_tern.h"
#endif
