#if defined(__x86_64__)
/* Products over a quantized KV cache, AVX2: 16 rows x 2 queries. */
#include "../lb_ahead.h"
#include "../lb_kernel_names.h"
#include "lb_v_avx2.h"

LB_DECLARE_KV(avx2);

#define LB_KV_CRUMB_avx2(v, j) lb_v_avx2_and_i(lb_v_avx2_srl_i(v, 2 * (j)), lb_v_avx2_set1_i(0x03030303))

#define LB_T avx2
#define LB_TV avx2
#define LB_TD avx2
#define LB_T_TARGET LB_TARGET_AVX2
#define LB_T_BIAS LB_DOT_BIAS_avx2
#define LB_T_TILES 1
#define LB_T_TOKENS 2
#define LB_T_CRUMB LB_KV_CRUMB_avx2
#define LB_T_AHEAD 4096
#define LB_T_IN_PLACE 0
#include "../tmpl/lb_t_kv.h"
#undef LB_KV_CRUMB_avx2
#endif
