#if defined(__aarch64__)
/* Matrix products of ternary weights, 64-bit ARM with smmla: many tokens by lb_v_i8mm.h, one as dotprod. */
#include "../lb_kernel_names.h"
#include "../lb_layout.h"
#include "lb_v_dotprod_tern.h"
#include "lb_v_i8mm.h"

LB_DECLARE_TERN(i8mm);

static LB_TARGET_I8MM void lb_t_tern_own_tile_i8mm(const uint8_t *digits, size_t n_quads, size_t first, const lb_input *x, int32_t *acc)
{
    lb_v_i8mm_all_sums(digits, n_quads, first, x, acc, false);
}

#define lb_v_i8mm_tern_dot lb_v_dotprod_tern_dot
#define lb_v_i8mm_tern_digits lb_v_dotprod_tern_digits

#define LB_T i8mm
#define LB_TV neon
#define LB_TD dotprod
#define LB_T_TARGET LB_TARGET_I8MM
#define LB_T_GTILES 1
#define LB_T_TOKENS 4
#define LB_T_OWN_TILE
#define LB_T_QUADS SIZE_MAX
#define LB_T_AHEAD 2048
#define LB_T_DIRECT 2
#include "../tmpl/lb_t_tern.h"
#undef lb_v_i8mm_tern_dot
#undef lb_v_i8mm_tern_digits
#endif
