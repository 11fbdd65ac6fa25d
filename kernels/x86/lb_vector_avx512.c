#if defined(__x86_64__)
/* Operations on vectors of floats, AVX-512. */
#include "../lb_ahead.h"
#include "../lb_kernel_names.h"
#include "lb_v_avx512.h"

LB_DECLARE_VECTOR(avx512);

#define LB_T avx512
#define LB_TV avx512
#define LB_T_TARGET LB_TARGET_AVX512
#define LB_T_EXP LB_ALWAYS_INLINE
#include "../tmpl/lb_t_vector.h"
#endif
