#if defined(__x86_64__) || defined(__wasm_simd128__)
/* The block Hadamard transform, SSE4.1. */
#include "../lb_kernel_names.h"
#include "lb_v_sse.h"

LB_DECLARE_HADAMARD(sse);

LB_ALWAYS_INLINE LB_TARGET_SSE lb_v_sse_f lb_hadamard_swap_sse(lb_v_sse_f v, const size_t h)
{
    lb_v_sse_f r;
    for (size_t i = 0; i < 4; i++) {
        const __m128 u = v.v[i ^ h / 4]; /* 8 / 4 = 2, 4 / 4 = 1, else the same register */
        r.v[i] = h == 1 ? _mm_shuffle_ps(u, u, 0xb1) : h == 2 ? _mm_shuffle_ps(u, u, 0x4e) : u;
    }
    return r;
}

LB_ALWAYS_INLINE LB_TARGET_SSE lb_v_sse_f lb_hadamard_flip_sse(lb_v_sse_f v, const size_t h)
{
    const float m = -0.0f;
    const __m128 all = _mm_set1_ps(m), part = h == 1 ? _mm_setr_ps(0, m, 0, m) : _mm_setr_ps(0, 0, m, m);
    for (size_t i = 0; i < 4; i++) {
        if (h < 4 || (i & h / 4)) {
            v.v[i] = _mm_xor_ps(v.v[i], h < 4 ? part : all);
        }
    }
    return v;
}

LB_ALWAYS_INLINE LB_TARGET_SSE lb_v_sse_f lb_hadamard_signs_sse(lb_v_sse_f v, uint32_t bits)
{
    const __m128i lane = _mm_setr_epi32(1, 2, 4, 8);
    for (size_t i = 0; i < 4; i++) {
        const __m128i set = _mm_cmpeq_epi32(_mm_and_si128(_mm_set1_epi32((int)(bits >> 4 * i)), lane), lane);
        v.v[i] = _mm_xor_ps(v.v[i], _mm_castsi128_ps(_mm_slli_epi32(set, 31)));
    }
    return v;
}

#define LB_T sse
#define LB_TV sse
#define LB_T_TARGET LB_TARGET_SSE
#define LB_T_SWAP(v, h) lb_hadamard_swap_sse(v, h)
#define LB_T_FLIP(v, h) lb_hadamard_flip_sse(v, h)
#define LB_T_SIGNS(v, b) lb_hadamard_signs_sse(v, b)
#include "../tmpl/lb_t_hadamard.h"
#endif
