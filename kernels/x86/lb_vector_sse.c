#if defined(__x86_64__) || defined(__wasm_simd128__)
/* Operations on vectors of floats, SSE4.1. */
#include "../lb_ahead.h"
#include "../lb_kernel_names.h"
#include "lb_v_sse.h"

LB_DECLARE_VECTOR(sse);

#define LB_T sse
#define LB_TV sse
#define LB_T_TARGET LB_TARGET_SSE
#define LB_T_EXP static LB_SHARED
#pragma push_macro("LB_UNROLL")
#undef LB_UNROLL
#define LB_UNROLL LB_ROLL
#include "../tmpl/lb_t_vector.h"
#pragma pop_macro("LB_UNROLL")
#endif
