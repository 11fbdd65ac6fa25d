#if defined(__aarch64__)
/* Matrix products of integer formats, NEON with sdot: blocks of 16 rows x 4 tokens (16 registers of sums). */
#include "../lb_bits.h"
#include "../lb_kernel_names.h"
#include "../lb_tcq_code.h"
#include "../lb_ahead.h"
#include "lb_v_dotprod.h"

LB_DECLARE_INT(dotprod);
LB_DECLARE_LUT(dotprod);
LB_DECLARE_TCQ(dotprod);
LB_DECLARE_S24(dotprod);
LB_DECLARE_INT8(dotprod);
LB_DECLARE_MASKED(dotprod);

#define LB_T dotprod
#define LB_TV neon
#define LB_TD dotprod
#define LB_T_TARGET LB_TARGET_DOTPROD
#define LB_T_BIAS LB_DOT_BIAS_dotprod
#define LB_T_GTILES 1
#define LB_T_TOKENS 4
#define LB_T_SMALL_TOKENS 0
#define LB_T_DIRECT 2
#define LB_T_AHEAD 2048
#define LB_T_TCQ 1
#define LB_T_SHARE 0
#define LB_T_BYTES 0
#define LB_T_BYTE_TABLES 0
#define LB_T_WIDE 0
#include "../tmpl/lb_t_int.h"
#endif
