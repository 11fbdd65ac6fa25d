#if defined(__aarch64__)
/* Operations on vectors of floats, NEON. */
#include "../lb_ahead.h"
#include "../lb_kernel_names.h"
#include "lb_v_neon.h"

LB_DECLARE_VECTOR(neon);

#define LB_T neon
#define LB_TV neon
#define LB_T_TARGET LB_TARGET_NEON
#define LB_T_EXP LB_ALWAYS_INLINE
#include "../tmpl/lb_t_vector.h"
#endif
