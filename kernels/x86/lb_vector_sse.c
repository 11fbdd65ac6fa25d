#if defined(__x86_64__)
/* Operations on vectors of floats, SSE4.1. */
#include "../lb_kernel_names.h"
#include "lb_v_sse.h"

LB_DECLARE_VECTOR(sse);

#define LB_T sse
#define LB_TV sse
#define LB_T_TARGET LB_TARGET_SSE
#include "../tmpl/lb_t_vector.h"
#endif
