#if defined(__x86_64__)
/* Matrix products of float formats, AVX-512: 8 tiles of one token in flight, or 2 tiles x 8 tokens. */
#include "../lb_ahead.h"
#include "../lb_kernel_names.h"
#include "lb_v_avx512.h"

LB_DECLARE_FLOAT(avx512);

#define LB_T avx512
#define LB_TV avx512
#define LB_T_TARGET LB_TARGET_AVX512
#define LB_T_TILES 8
#define LB_T_GTILES 2
#define LB_T_TOKENS 8
#include "../tmpl/lb_t_float_all.h"
#endif
