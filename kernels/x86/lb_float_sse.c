#if defined(__x86_64__)
/* Matrix products of float formats, SSE4.1: 2 tiles of one token in flight, or 1 tile x 2 tokens (8 xmm). */
#include "../lb_kernel_names.h"
#include "lb_v_sse.h"

LB_DECLARE_MATMUL(sse);

#define LB_T sse
#define LB_TV sse
#define LB_T_TARGET LB_TARGET_SSE
#define LB_T_TILES 2
#define LB_T_GTILES 1
#define LB_T_TOKENS 2
#include "../tmpl/lb_t_float_all.h"
#endif
