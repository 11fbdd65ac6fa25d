#if defined(__x86_64__)
/* Matrix products of integer formats, AVX2: blocks of 16 rows x 4 tokens (small codes) or 3 tokens. */
#include "../lb_bits.h"
#include "../lb_kernel_names.h"
#include "../lb_tcq_code.h"
#include "../lb_ahead.h"
#include "lb_v_avx2.h"

LB_DECLARE_INT(avx2);
LB_DECLARE_LUT(avx2);
LB_DECLARE_BYTES(avx2);
LB_DECLARE_S24(avx2);
LB_DECLARE_INT8(avx2);
LB_DECLARE_MASKED(avx2);
LB_DECLARE_TCQ(avx2);

#define LB_T avx2
#define LB_TV avx2
#define LB_TD avx2
#define LB_T_TARGET LB_TARGET_AVX2
#define LB_T_BIAS LB_DOT_BIAS_avx2
#define LB_T_GTILES 1
#define LB_T_TOKENS 3
#define LB_T_SMALL_TOKENS 4
#define LB_T_DIRECT 1
#define LB_T_AHEAD 2048
#define LB_T_TCQ 1
#define LB_T_SHARE 0
#define LB_T_BYTES 2
#define LB_T_BYTE_TABLES 1
#define LB_T_WIDE 0
#include "../tmpl/lb_t_int.h"
#endif
