/* One token of ternary weights with sdot, which takes the signed minus digits as they are. */
#ifndef LB_V_DOTPROD_TERN_H
#define LB_V_DOTPROD_TERN_H

#include "lb_v_dotprod.h"
#include "lb_v_neon_tern.h"

LB_ALWAYS_INLINE LB_TARGET_DOTPROD lb_v_neon_i lb_v_dotprod_tern_dot(const uint8_t *codes, const int8_t *q, size_t n, lb_ahead *ahead)
{
    lb_v_neon_i a = lb_v_neon_set1_i(0);
    for (size_t l = 0; l < n; l++) {
        const lb_v_neon_b c = lb_v_neon_load_b(codes);
        lb_ahead_step(ahead, 64, 1);
        LB_UNROLL
        for (size_t j = 0; j < 5; j++) {
            const uint8x16_t x = lb_v_neon_quad(q + 4 * j).v[0];
            LB_UNROLL
            for (size_t i = 0; i < 4; i++) {
                a.v[i] = lb_v_dotprod_sdot(a.v[i], vreinterpretq_u8_s8(lb_v_neon_tern_minus(c.v[i], j)), x);
            }
        }
        codes += 64;
        q += LB_TERN_COLUMNS;
    }
    return lb_v_neon_sub_i(lb_v_neon_set1_i(0), a);
}

LB_ALWAYS_INLINE LB_TARGET_DOTPROD void lb_v_dotprod_tern_digits(const uint8_t *line, uint8_t *out)
{
    lb_v_neon_tern_digits(line, out);
}

#endif /* LB_V_DOTPROD_TERN_H */
