#if defined(__aarch64__)
/* Matrix products of ternary weights, NEON with sdot. */
#include "../lb_kernel_names.h"
#include "lb_v_dotprod_tern.h"

LB_DECLARE_TERN(dotprod);

#define LB_T dotprod
#define LB_TV neon
#define LB_TD dotprod
#define LB_T_TARGET LB_TARGET_DOTPROD
#define LB_T_GTILES 1
#define LB_T_TOKENS 4
#define LB_T_QUADS SIZE_MAX
#define LB_T_AHEAD 2048
#define LB_T_DIRECT 2
#include "../tmpl/lb_t_tern.h"
#endif
