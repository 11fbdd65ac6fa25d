#if defined(__x86_64__) || defined(__wasm_simd128__)
/* Matrix products of integer formats, SSE4.1: blocks of 16 rows x 2 tokens. */
#include "../lb_bits.h"
#include "../lb_kernel_names.h"
#include "../lb_tcq_code.h"
#include "../lb_ahead.h"
#include "lb_v_sse.h"

LB_DECLARE_INT(sse);
LB_DECLARE_LUT(sse);
LB_DECLARE_BYTES(sse);
LB_DECLARE_TCQ(sse);
LB_DECLARE_S24(sse);
LB_DECLARE_INT8(sse);
LB_DECLARE_MASKED(sse);

#define LB_T sse
#define LB_TV sse
#define LB_TD sse
#define LB_T_TARGET LB_TARGET_SSE
#define LB_T_BIAS LB_DOT_BIAS_sse
#define LB_T_GTILES 1
#define LB_T_TOKENS 2
#define LB_T_SMALL_TOKENS 2
#define LB_T_DIRECT 1
#define LB_T_AHEAD 2048
#define LB_T_TCQ 1
#define LB_T_SHARE 1
#define LB_T_BYTES 1
#define LB_T_BYTE_TABLES 1
#define LB_T_WIDE 0
#pragma push_macro("LB_UNROLL") /* four registers a vector: nothing is won by unrolling */
#undef LB_UNROLL
#define LB_UNROLL LB_ROLL
#include "../tmpl/lb_t_int.h"
#pragma pop_macro("LB_UNROLL")
#endif
