#if defined(__x86_64__)
/* The search of trellis codes, four rows at once, AVX-512. */
#include <string.h>

#include "lb_tcq_trellis.h"
#include "../../kernels/x86/lb_v_avx512.h"

#define LB_T avx512
#define LB_TV avx512
#define LB_T_TARGET LB_TARGET_AVX512
#include "lb_tcq_wide.h"
#endif
