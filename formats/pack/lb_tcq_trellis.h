/* The trellises of the codes, and searches of several rows side by side, one per instruction-set level (lb_tcq_wide.h). */
#ifndef LB_TCQ_TRELLIS_H
#define LB_TCQ_TRELLIS_H

#include "lb_tcq.h"

#define LB_TCQ_FAR 1e30f /* the cost of a state that cannot be */
#define LB_TCQ_MAX_STEPS ((LB_TCQ_BLOCK + LB_TCQ_AHEAD) / 4)

/* `bits`, of a step, is a constant in all that follows */

/* The window that enters state n, whose oldest bits, which leave, are e */
LB_ALWAYS_INLINE unsigned lb_tcq_window(unsigned bits, unsigned n, unsigned e)
{
    if (bits == 3) { /* state: 2 bits of the first stream, 3 of the second; window: 4 and 4 */
        return (e & 3) | (n & 3) << 2 | (e & 4) << 2 | (n >> 2) << 5;
    }
    return n << bits | e;
}

/* The state before a window, and that after it */
LB_ALWAYS_INLINE unsigned lb_tcq_before(unsigned bits, unsigned v)
{
    return bits == 3 ? (v & 3) | (v >> 4 & 7) << 2 : v & ((256u >> bits) - 1);
}
LB_ALWAYS_INLINE unsigned lb_tcq_after(unsigned bits, unsigned v)
{
    return bits == 3 ? (v >> 2 & 3) | v >> 5 << 2 : v >> bits;
}

/* LB_TCQ_ROWS rows, as lb_tcq_search_rows */
typedef void lb_tcq_wide_fn(lb_wformat format, const float *point, const float *x, size_t stride, const float *h, size_t n, size_t all,
                            uint8_t (*state)[4], const uint8_t (*end)[4], uint8_t *window);

#if defined(__x86_64__)
lb_tcq_wide_fn lb_tcq_wide_avx2, lb_tcq_wide_avx512;
#endif

#endif /* LB_TCQ_TRELLIS_H */
