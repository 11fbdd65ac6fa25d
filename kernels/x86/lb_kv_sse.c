#if defined(__x86_64__) || defined(__wasm_simd128__)
/* Products over a quantized KV cache, SSE4.1: 16 rows x one query. */
#include "../lb_ahead.h"
#include "../lb_kernel_names.h"
#include "lb_v_sse.h"

LB_DECLARE_KV(sse);

LB_ALWAYS_INLINE LB_TARGET_SSE lb_v_sse_b lb_kv_crumb_sse(lb_v_sse_b v, const int j)
{
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        v.v[i] = _mm_and_si128(_mm_srli_epi32(v.v[i], 2 * j), _mm_set1_epi8(3));
    }
    return v;
}

#define LB_T sse
#define LB_TV sse
#define LB_TD sse
#define LB_T_TARGET LB_TARGET_SSE
#define LB_T_BIAS LB_DOT_BIAS_sse
#define LB_T_TILES 1
#define LB_T_TOKENS 1
#define LB_T_CRUMB lb_kv_crumb_sse
#define LB_T_AHEAD 2048
#pragma push_macro("LB_UNROLL") /* four registers a vector: nothing is won by unrolling */
#undef LB_UNROLL
#define LB_UNROLL LB_ROLL
#define LB_T_IN_PLACE 0
#include "../tmpl/lb_t_kv.h"
#pragma pop_macro("LB_UNROLL")
#endif
