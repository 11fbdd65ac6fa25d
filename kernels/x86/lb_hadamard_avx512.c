#if defined(__x86_64__)
/* The block Hadamard transform, AVX-512. */
#include "../lb_kernel_names.h"
#include "lb_v_avx512.h"

#define LB_H_SIGNS(h) ((h) == 1 ? 0xaaaa : (h) == 2 ? 0xcccc : (h) == 4 ? 0xf0f0 : 0xff00)

LB_DECLARE_HADAMARD(avx512);

LB_ALWAYS_INLINE LB_TARGET_AVX512 __m512 lb_hadamard_signs_avx512(__m512 v, uint32_t bits)
{
    return _mm512_mask_xor_ps(v, (__mmask16)bits, v, _mm512_set1_ps(-0.0f));
}

#define LB_T avx512
#define LB_TV avx512
#define LB_T_TARGET LB_TARGET_AVX512
#define LB_T_SWAP(v, h)                                                                   \
    ((h) == 1   ? _mm512_permute_ps(v, 0xb1)                                              \
     : (h) == 2 ? _mm512_permute_ps(v, 0x4e)                                              \
     : (h) == 4 ? _mm512_shuffle_f32x4(v, v, 0xb1)                                        \
                : _mm512_shuffle_f32x4(v, v, 0x4e))
#define LB_T_FLIP(v, h) _mm512_mask_xor_ps(v, LB_H_SIGNS(h), v, _mm512_set1_ps(-0.0f))
#define LB_T_SIGNS(v, b) lb_hadamard_signs_avx512(v, b)
#include "../tmpl/lb_t_hadamard.h"
#undef LB_H_SIGNS
#endif
