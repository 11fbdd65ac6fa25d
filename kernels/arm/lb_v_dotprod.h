/* Integer dot products with sdot: four products s8 x s8 into each int32, exactly. */
#ifndef LB_V_DOTPROD_H
#define LB_V_DOTPROD_H

#include "lb_v_neon.h"

#if defined(__clang__) /* clang 14 declares the intrinsic only for files compiled as a whole for such a CPU */
#define LB_TARGET_DOTPROD LB_TARGET("dotprod")
#define LB_VOP LB_ALWAYS_INLINE LB_TARGET_DOTPROD
LB_VOP int32x4_t lb_v_dotprod_sdot(int32x4_t acc, uint8x16_t w, uint8x16_t x)
{
    __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(w), "w"(x));
    return acc;
}
#else
#define LB_TARGET_DOTPROD LB_TARGET("arch=armv8.2-a+dotprod")
#define LB_VOP LB_ALWAYS_INLINE LB_TARGET_DOTPROD
LB_VOP int32x4_t lb_v_dotprod_sdot(int32x4_t acc, uint8x16_t w, uint8x16_t x)
{
    return vdotq_s32(acc, vreinterpretq_s8_u8(w), vreinterpretq_s8_u8(x));
}
#endif

typedef lb_v_neon_i lb_v_dotprod_small;
LB_VOP lb_v_neon_i lb_v_dotprod_small_zero(void) { return lb_v_neon_set1_i(0); }
LB_VOP lb_v_neon_i lb_v_dotprod_small_dot(lb_v_neon_i acc, lb_v_neon_b u, lb_v_neon_b x)
{
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        acc.v[i] = lb_v_dotprod_sdot(acc.v[i], u.v[i], x.v[i]);
    }
    return acc;
}
LB_VOP lb_v_neon_i lb_v_dotprod_small_sum(lb_v_neon_i x, lb_v_neon_i y) { return lb_v_neon_add_i(x, y); }

#define LB_DOT_BIAS_dotprod 0
LB_VOP lb_v_neon_i lb_v_dotprod_dot(lb_v_neon_i acc, lb_v_neon_b u, lb_v_neon_b x)
{
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        acc.v[i] = lb_v_dotprod_sdot(acc.v[i], veorq_u8(u.v[i], vdupq_n_u8(128)), x.v[i]);
    }
    return acc;
}

#undef LB_VOP
#endif /* LB_V_DOTPROD_H */
