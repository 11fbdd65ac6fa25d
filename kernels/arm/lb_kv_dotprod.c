#if defined(__aarch64__)
/* Products over a quantized KV cache, NEON with sdot: 16 rows x 4 queries. */
#include "../lb_ahead.h"
#include "../lb_kernel_names.h"
#include "lb_v_dotprod.h"

LB_DECLARE_KV(dotprod);

LB_ALWAYS_INLINE LB_TARGET_DOTPROD lb_v_neon_b lb_kv_crumb_dotprod(lb_v_neon_b v, const int j)
{
    const int8x16_t right = vdupq_n_s8((int8_t)(-2 * j));
    LB_UNROLL
    for (size_t i = 0; i < 4; i++) {
        v.v[i] = vandq_u8(vshlq_u8(v.v[i], right), vdupq_n_u8(3));
    }
    return v;
}

#define LB_T dotprod
#define LB_TV neon
#define LB_TD dotprod
#define LB_T_TARGET LB_TARGET_DOTPROD
#define LB_T_BIAS LB_DOT_BIAS_dotprod
#define LB_T_TILES 1
#define LB_T_TOKENS 4
#define LB_T_CRUMB lb_kv_crumb_dotprod
#define LB_T_AHEAD 2048
#define LB_T_IN_PLACE 0
#include "../tmpl/lb_t_kv.h"
#endif
