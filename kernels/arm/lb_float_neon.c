#if defined(__aarch64__)
/* Matrix products of float formats, NEON: 4 tiles of one token in flight, or 1 tile x 4 tokens (16 registers). */
#include "../lb_ahead.h"
#include "../lb_kernel_names.h"
#include "lb_v_neon.h"

LB_DECLARE_FLOAT(neon);

#define LB_T neon
#define LB_TV neon
#define LB_T_TARGET LB_TARGET_NEON
#define LB_T_TILES 4
#define LB_T_GTILES 1
#define LB_T_TOKENS 4
#include "../tmpl/lb_t_float_all.h"
#endif
