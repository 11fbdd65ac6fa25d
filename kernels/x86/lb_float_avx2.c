#if defined(__x86_64__)
/* Matrix products of float formats, AVX2: 4 tiles of one token in flight, or 1 tile x 4 tokens (8 ymm). */
#include "../lb_ahead.h"
#include "../lb_kernel_names.h"
#include "lb_v_avx2.h"

LB_DECLARE_FLOAT(avx2);

#define LB_T avx2
#define LB_TV avx2
#define LB_T_TARGET LB_TARGET_AVX2
#define LB_T_TILES 4
#define LB_T_GTILES 1
#define LB_T_TOKENS 4
#include "../tmpl/lb_t_float_all.h"
#endif
