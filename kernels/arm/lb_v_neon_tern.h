/* Digits of ternary codes on NEON, for lb_tern_neon.c and lb_tern_dotprod.c. */
#ifndef LB_V_NEON_TERN_H
#define LB_V_NEON_TERN_H

#include "../lb_layout.h"
#include "../lb_ahead.h"
#include "lb_v_neon.h"

/* Minus digit j of 16 codes: f = code * 3^j modulo 256, d = (f >= 86) + (f >= 171), and true is -1 */
LB_ALWAYS_INLINE int8x16_t lb_v_neon_tern_minus(uint8x16_t code, size_t j)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    const uint8x16_t f = j == 0 ? code : vmulq_u8(code, vdupq_n_u8(power[j]));
    return vreinterpretq_s8_u8(vaddq_u8(vcgeq_u8(f, vdupq_n_u8(86)), vcgeq_u8(f, vdupq_n_u8(171))));
}

LB_ALWAYS_INLINE void lb_v_neon_tern_digits(const uint8_t *line, uint8_t *out)
{
    LB_UNROLL
    for (size_t h = 0; h < 64; h += 16) {
        const uint8x16_t code = vld1q_u8(line + h);
        LB_UNROLL
        for (size_t j = 0; j < 5; j++) {
            vst1q_s8((int8_t *)(void *)(out + 64 * j + h), vnegq_s8(lb_v_neon_tern_minus(code, j)));
        }
    }
}

#endif /* LB_V_NEON_TERN_H */
