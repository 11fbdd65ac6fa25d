#if defined(__x86_64__)
/* Matrix products of integer formats, AVX-512 VNNI: blocks of 2 tiles x 6 tokens. */
#include "../lb_bits.h"
#include "../lb_kernel_names.h"
#include "../lb_tcq_code.h"
#include "../lb_ahead.h"
#include "lb_v_avx512vnni.h"

LB_DECLARE_INT(avx512vnni);
LB_DECLARE_LUT(avx512vnni);
LB_DECLARE_BYTES_ONLY(avx512vnni);
LB_DECLARE_S24(avx512vnni);
LB_DECLARE_INT8(avx512vnni);
LB_DECLARE_MASKED(avx512vnni);
LB_DECLARE_TCQ(avx512vnni);

#define LB_T avx512vnni
#define LB_TV avx512
#define LB_TD avx512vnni
#define LB_T_TARGET LB_TARGET_AVX512VNNI
#define LB_T_BIAS LB_DOT_BIAS_avx512vnni
#define LB_T_GTILES 2
#define LB_T_TOKENS 6
#define LB_T_SMALL_TOKENS 0
#define LB_T_DIRECT 3
#define LB_T_AHEAD 2048
#define LB_T_BITS_AHEAD 8192 /* Zen 5, one thread: q2 1.2, q6 1.1 times as fast as with 2048; q8 would be 3 to 8 % slower, q4 the same */
#define LB_T_EIGHTHS 1
#define LB_T_TCQ 1
#define LB_T_SHARE 0
#define LB_T_BYTES 1
#define LB_T_BYTE_TABLES 0
#define LB_T_WIDE 0
#include "../tmpl/lb_t_int.h"
#endif
