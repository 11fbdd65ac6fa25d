#if defined(__x86_64__) || defined(__wasm_simd128__)
/* Matrix products of float formats, SSE4.1: one tile x one token: the emulated fma is all that counts. */
#include "../lb_ahead.h"
#include "../lb_kernel_names.h"
#include "lb_v_sse.h"

LB_DECLARE_FLOAT(sse);

#define LB_T sse
#define LB_TV sse
#define LB_T_TARGET LB_TARGET_SSE
#define LB_T_TILES 1
#define LB_T_GTILES 1
#define LB_T_TOKENS 1
#pragma push_macro("LB_UNROLL") /* four registers a vector: nothing is won by unrolling */
#undef LB_UNROLL
#define LB_UNROLL LB_ROLL
#include "../tmpl/lb_t_float_all.h"
#pragma pop_macro("LB_UNROLL")
#endif
