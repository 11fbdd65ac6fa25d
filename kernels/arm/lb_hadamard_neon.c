#if defined(__aarch64__)
/* The block Hadamard transform, NEON. */
#include "../lb_kernel_names.h"
#include "lb_v_neon.h"

LB_DECLARE_HADAMARD(neon);

LB_ALWAYS_INLINE lb_v_neon_f lb_hadamard_swap_neon(lb_v_neon_f v, const size_t h)
{
    lb_v_neon_f r;
    for (size_t i = 0; i < 4; i++) {
        const float32x4_t u = v.v[i ^ h / 4]; /* 8 / 4 = 2, 4 / 4 = 1, else the same register */
        r.v[i] = h == 1 ? vrev64q_f32(u) : h == 2 ? vextq_f32(u, u, 2) : u;
    }
    return r;
}

LB_ALWAYS_INLINE lb_v_neon_f lb_hadamard_flip_neon(lb_v_neon_f v, const size_t h)
{
    static const uint32_t signs[3][4] = {{0, 1u << 31, 0, 1u << 31}, {0, 0, 1u << 31, 1u << 31},
                                         {1u << 31, 1u << 31, 1u << 31, 1u << 31}};
    const uint32x4_t mask = vld1q_u32(signs[h == 1 ? 0 : h == 2 ? 1 : 2]);
    for (size_t i = 0; i < 4; i++) {
        if (h < 4 || (i & h / 4)) {
            v.v[i] = vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(v.v[i]), mask));
        }
    }
    return v;
}

LB_ALWAYS_INLINE lb_v_neon_f lb_hadamard_signs_neon(lb_v_neon_f v, uint32_t bits)
{
    static const uint32_t lanes[4] = {1, 2, 4, 8};
    const uint32x4_t lane = vld1q_u32(lanes);
    for (size_t i = 0; i < 4; i++) {
        const uint32x4_t set = vshlq_n_u32(vtstq_u32(vdupq_n_u32(bits >> 4 * i), lane), 31);
        v.v[i] = vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(v.v[i]), set));
    }
    return v;
}

#define LB_T neon
#define LB_TV neon
#define LB_T_TARGET LB_TARGET_NEON
#define LB_T_SWAP(v, h) lb_hadamard_swap_neon(v, h)
#define LB_T_FLIP(v, h) lb_hadamard_flip_neon(v, h)
#define LB_T_SIGNS(v, b) lb_hadamard_signs_neon(v, b)
#include "../tmpl/lb_t_hadamard.h"
#endif
