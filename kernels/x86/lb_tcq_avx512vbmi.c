#if defined(__x86_64__)
/* Products of the trellis formats with one token, AVX-512 VBMI. With more, decoding is a small part: avx512vnni does it.
 * They are fast enough to wait for memory's latency: 2048 bytes ahead is 50 to 70 ns. Measured on Zen 5, tcq2, rows of 2048 and 11008
 * columns: one thread 32 and 25 GB/s with 2048, 40 and 36 with 8192, 42 and 38 with 12288, no more with 32768. */
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
#define LB_T_AHEAD 12288
#define LB_T_TCQ_ALONE
#define LB_T_WIDE 1
#define LB_T_SHARE 0
#include "../tmpl/lb_t_tcq.h"
#endif
