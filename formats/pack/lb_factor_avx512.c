#if defined(__x86_64__)
/* Part of the factor of second moments, AVX-512. */
#include <string.h>

#include "lb_factor_parts.h"
#include "../../kernels/x86/lb_v_avx512.h"

#define LB_T avx512
#define LB_T_TARGET LB_TARGET_AVX512
#define LB_T_BYTES 64
#include "lb_factor_wide.h"
#endif
