#if defined(__x86_64__)
/* Products of the trellis formats with one token, AVX-512 VBMI. With more, decoding is a small part: avx512vnni does it. */
#include "../lb_kernel_names.h"
#include "../lb_layout.h"
#include "../lb_tcq_code.h"
#include "../lb_ahead.h"
#include "lb_v_avx512vbmi.h"

LB_DECLARE_TCQ_GEMV(avx512vbmi);

#define LB_T avx512vbmi
#define LB_TV avx512
#define LB_TD avx512vnni
#define LB_T_TARGET LB_TARGET_AVX512VBMI
#define LB_T_SMALL_TOKENS 0
#define LB_T_AHEAD 2048
#define LB_T_TCQ_ALONE
#define LB_T_WIDE 1
#define LB_T_SHARE 0
#include "../tmpl/lb_t_tcq.h"
#endif
