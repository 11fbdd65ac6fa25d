#if defined(__aarch64__)
/* Matrix products of ternary weights, plain NEON. */
#include "../lb_kernel_names.h"
#include "lb_v_neon_tern.h"

LB_DECLARE_TERN(neon);

/* A product is at most 254, a line adds five to each 16-bit sum: 25 lines, 31750, fit. */
LB_ALWAYS_INLINE lb_v_neon_i lb_v_neon_tern_dot(const uint8_t *codes, const int8_t *q, size_t n, lb_ahead *ahead)
{
    lb_v_neon_i sum = lb_v_neon_set1_i(0);
    while (n > 0) {
        const size_t run = n < 25 ? n : 25;
        lb_v_neon_small a = lb_v_neon_small_zero();
        for (size_t l = 0; l < run; l++) {
            const lb_v_neon_b c = lb_v_neon_load_b(codes);
            lb_ahead_step(ahead, 64, 1);
            LB_UNROLL
            for (size_t j = 0; j < 5; j++) {
                const int8x16_t x = vreinterpretq_s8_u8(lb_v_neon_quad(q + 4 * j).v[0]);
                LB_UNROLL
                for (size_t i = 0; i < 4; i++) {
                    const int8x16_t w = lb_v_neon_tern_minus(c.v[i], j);
                    a.s[2 * i] = vmlsl_s8(a.s[2 * i], vget_low_s8(w), vget_low_s8(x));
                    a.s[2 * i + 1] = vmlsl_high_s8(a.s[2 * i + 1], w, x);
                }
            }
            codes += 64;
            q += LB_TERN_COLUMNS;
        }
        sum = lb_v_neon_add_i(sum, lb_v_neon_small_sum(a, lb_v_neon_small_zero()));
        n -= run;
    }
    return sum;
}

#define LB_T neon
#define LB_TV neon
#define LB_TD neon
#define LB_T_TARGET LB_TARGET_NEON
#define LB_T_GTILES 1
#define LB_T_TOKENS 2
#define LB_T_QUADS 128
#define LB_T_AHEAD 2048
#define LB_T_DIRECT 1
#include "../tmpl/lb_t_tern.h"
#endif
