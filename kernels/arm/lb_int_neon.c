#if defined(__aarch64__)
/* Matrix products of integer formats, plain NEON: blocks of 16 rows x 2 (small codes) or 3 tokens. */
#include "../lb_bits.h"
#include "../lb_kernel_names.h"
#include "../lb_tcq_code.h"
#include "../lb_ahead.h"
#include "lb_v_neon.h"

LB_DECLARE_INT(neon);
LB_DECLARE_LUT(neon);
LB_DECLARE_BYTES(neon);
LB_DECLARE_TCQ(neon);
LB_DECLARE_S24(neon);
LB_DECLARE_INT8(neon);
LB_DECLARE_MASKED(neon);

#define LB_T neon
#define LB_TV neon
#define LB_TD neon
#define LB_T_TARGET LB_TARGET_NEON
#define LB_T_BIAS LB_DOT_BIAS_neon
#define LB_T_GTILES 1
#define LB_T_TOKENS 3
#define LB_T_SMALL_TOKENS 2
#define LB_T_DIRECT 1
#define LB_T_AHEAD 2048
#define LB_T_TCQ 1
#define LB_T_SHARE 0
#define LB_T_BYTES 2
#define LB_T_BYTE_TABLES 1
#define LB_T_WIDE 0
#include "../tmpl/lb_t_int.h"
#endif
