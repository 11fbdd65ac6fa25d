#if defined(__x86_64__)
/* The search of trellis codes, four rows at once, AVX2. */
#include <string.h>

#include "lb_tcq_trellis.h"
#include "../../kernels/x86/lb_v_avx2.h"

#define LB_T avx2
#define LB_TV avx2
#define LB_T_TARGET LB_TARGET_AVX2
#include "lb_tcq_wide.h"
#endif
