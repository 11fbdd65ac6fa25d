#if defined(__x86_64__)
/* Operations on vectors of floats, AVX2. */
#include "../lb_ahead.h"
#include "../lb_kernel_names.h"
#include "lb_v_avx2.h"

LB_DECLARE_VECTOR(avx2);

#define LB_T avx2
#define LB_TV avx2
#define LB_T_TARGET LB_TARGET_AVX2
#define LB_T_EXP LB_ALWAYS_INLINE
#include "../tmpl/lb_t_vector.h"
#endif
