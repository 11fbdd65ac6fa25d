#if defined(__x86_64__) || defined(__wasm_simd128__)
/* Matrix products of ternary weights, SSE4.1: as lb_tern_avx2.c, 16 bytes at a time. */
#include "../lb_ahead.h"
#include "../lb_kernel_names.h"
#include "../lb_layout.h"
#include "lb_v_sse.h"

LB_DECLARE_TERN(sse);

#define LB_VOP LB_ALWAYS_INLINE LB_TARGET_SSE

LB_VOP __m128i lb_v_sse_tern_digit(__m128i shifted)
{
    const __m128i a = _mm_cmpgt_epi8(shifted, _mm_set1_epi8(85 - 128)),
                  b = _mm_cmpgt_epi8(shifted, _mm_set1_epi8(170 - 128));
    return _mm_abs_epi8(_mm_add_epi8(a, b));
}

LB_VOP __m128i lb_v_sse_tern_load(const uint8_t *p)
{
    return _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)p), _mm_set1_epi8(-128));
}

LB_VOP __m128i lb_v_sse_tern_next(__m128i shifted)
{
    return _mm_add_epi8(_mm_add_epi8(shifted, shifted), shifted);
}

/* 12 lines of five pairs of at most 508: 30480 fit 16 bits. */
static LB_SHARED LB_TARGET_SSE lb_v_sse_i lb_v_sse_tern_dot(const uint8_t *codes, const int8_t *q, size_t n, lb_ahead *prefetch)
{
    lb_ahead ahead = *prefetch;
    lb_v_sse_i sum = lb_v_sse_set1_i(0);
    while (n > 0) {
        const size_t run = n < 12 ? n : 12;
        lb_v_sse_small a = lb_v_sse_small_zero();
        for (size_t l = 0; l < run; l++) {
            __m128i f[4];
            LB_UNROLL
            for (size_t i = 0; i < 4; i++) {
                f[i] = lb_v_sse_tern_load(codes + 16 * i);
            }
            lb_ahead_step(&ahead, 64, 1);
            LB_UNROLL
            for (size_t j = 0; j < 5; j++) {
                int32_t quad;
                memcpy(&quad, q + 4 * j, sizeof quad);
                const __m128i x = _mm_set1_epi32(quad);
                LB_UNROLL
                for (size_t i = 0; i < 4; i++) {
                    a.v[i] = _mm_add_epi16(a.v[i], _mm_maddubs_epi16(lb_v_sse_tern_digit(f[i]), x));
                    LB_KEEP_ORDER("+x", a.v[i]);
                    f[i] = lb_v_sse_tern_next(f[i]);
                }
            }
            codes += 64;
            q += LB_TERN_COLUMNS;
        }
        sum = lb_v_sse_add_i(sum, lb_v_sse_small_sum(a, lb_v_sse_small_zero()));
        n -= run;
    }
    *prefetch = ahead;
    return sum;
}

LB_VOP void lb_v_sse_tern_digits(const uint8_t *line, uint8_t *out)
{
    LB_UNROLL
    for (size_t h = 0; h < 64; h += 16) {
        __m128i f = lb_v_sse_tern_load(line + h);
        LB_UNROLL
        for (size_t j = 0; j < 5; j++) {
            _mm_storeu_si128((__m128i *)(void *)(out + 64 * j + h), lb_v_sse_tern_digit(f));
            f = lb_v_sse_tern_next(f);
        }
    }
}

#undef LB_VOP

#define LB_T sse
#define LB_TV sse
#define LB_TD sse
#define LB_T_TARGET LB_TARGET_SSE
#define LB_T_GTILES 1
#define LB_T_TOKENS 2
#define LB_T_QUADS 60
#define LB_T_AHEAD 4096
#define LB_T_DIRECT 1
#pragma push_macro("LB_UNROLL") /* four registers a vector: nothing is won by unrolling */
#undef LB_UNROLL
#define LB_UNROLL LB_ROLL
#include "../tmpl/lb_t_tern.h"
#pragma pop_macro("LB_UNROLL")
#endif
