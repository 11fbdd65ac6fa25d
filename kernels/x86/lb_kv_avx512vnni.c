#if defined(__x86_64__)
/* Products over a quantized KV cache, AVX-512 VNNI: 2 tiles x 4 queries. */
#include "../lb_ahead.h"
#include "../lb_kernel_names.h"
#include "lb_v_avx512vnni.h"

LB_DECLARE_KV(avx512vnni);

#define LB_KV_CRUMB_avx512vnni(v, j) lb_v_avx512_and_i(lb_v_avx512_srl_i(v, 2 * (j)), lb_v_avx512_set1_i(0x03030303))

#define LB_T avx512vnni
#define LB_TV avx512
#define LB_TD avx512vnni
#define LB_T_TARGET LB_TARGET_AVX512VNNI
#define LB_T_BIAS LB_DOT_BIAS_avx512vnni
#define LB_T_TILES 2
#define LB_T_TOKENS 4
#define LB_T_CRUMB LB_KV_CRUMB_avx512vnni
#define LB_T_AHEAD 4096
#include "../tmpl/lb_t_kv.h"
#undef LB_KV_CRUMB_avx512vnni
#endif
