#if defined(__aarch64__)
/* Matrix products of integer formats, 64-bit ARM with smmla: many tokens by lb_v_i8mm.h, one as dotprod. */
#include "../lb_bits.h"
#include "../lb_kernel_names.h"
#include "../lb_tcq_code.h"
#include "../lb_ahead.h"
#include "lb_v_i8mm.h"

LB_DECLARE_INT(i8mm);
LB_DECLARE_LUT(i8mm);
LB_DECLARE_TCQ(i8mm);
LB_DECLARE_S24(i8mm);
LB_DECLARE_INT8(i8mm);
LB_DECLARE_MASKED(i8mm);

static LB_TARGET_I8MM void lb_t_own_tile_i8mm(const uint8_t *codes, size_t code_stride, const float *scales, size_t n_groups,
                                              size_t first, const lb_input *x, float *acc)
{
    (void)code_stride;
    size_t t = 0;
#define LB_I8MM_RUN(pairs, each)                                                                                      \
    lb_v_i8mm_groups(codes, scales, n_groups, x->q + t * x->q_stride + first * LB_GROUP, x->q_stride,                 \
                     x->scale + t * x->group_stride + first, x->sum + t * x->group_stride + first, x->group_stride,   \
                     acc + t * LB_TILE_ROWS, pairs, each)
    for (; t + 8 <= x->n; t += 8) {
        LB_I8MM_RUN(4, 2);
    }
    for (; t + 2 <= x->n; t += 2) {
        LB_I8MM_RUN(1, 2);
    }
    if (t < x->n) {
        LB_I8MM_RUN(1, 1);
    }
#undef LB_I8MM_RUN
}

static LB_TARGET_I8MM void lb_t_int8_one_tile_i8mm(const uint8_t *codes, size_t code_stride, size_t n_quads, size_t first,
                                                   const lb_input *x, int32_t *acc)
{
    (void)code_stride;
    lb_v_i8mm_all_sums(codes, n_quads, first, x, acc, true);
}

#define LB_T i8mm
#define LB_TV neon
#define LB_TD dotprod
#define LB_T_TARGET LB_TARGET_I8MM
#define LB_T_BIAS LB_DOT_BIAS_dotprod
#define LB_T_GTILES 1
#define LB_T_TOKENS 4
#define LB_T_OWN_TILE
#define LB_T_SMALL_TOKENS 0
#define LB_T_DIRECT 2
#define LB_T_AHEAD 2048
#define LB_T_TCQ 1
#define LB_T_SHARE 0
#define LB_T_BYTES 0
#define LB_T_WIDE 0
#include "../tmpl/lb_t_int.h"
#endif
