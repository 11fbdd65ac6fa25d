#if defined(__x86_64__)
/* Part of the factor of second moments, AVX2. */
#include <string.h>

#include "lb_factor_parts.h"
#include "../../kernels/x86/lb_v_avx2.h"

#define LB_T avx2
#define LB_T_TARGET LB_TARGET_AVX2
#define LB_T_BYTES 32
#include "lb_factor_wide.h"
#endif
