/*
 * The selector: which function serves an entry at a level. One row per entry, one column per level; a level without a
 * variant of its own names that of a lower level. The tables are made from the rows and are constant, so that any number
 * of threads may use them.
 *
 * To add a kernel: write it, and put its suffix into the columns of the levels that shall use it.
 */
#include "lb_cpu.h"
#include "lb_kernel_names.h"

#include <string.h>

#define LB_ENTRY_(entry, op, suffix) .entry = op##_##suffix,

#if defined(__x86_64__) || defined(__wasm_simd128__)

/*    entry              function           scalar sse     avx2   avx512  vnni        vbmi */
#define LB_ROWS(R)                                                                                                    \
    R(gemv[LB_W_F32],    lb_gemv_f32,       ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(gemv[LB_W_F16],    lb_gemv_f16,       ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(gemv[LB_W_BF16],   lb_gemv_bf16,      ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(gemv[LB_W_Q8],     lb_gemv_q8,        ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                     \
    R(gemv[LB_W_Q6],     lb_gemv_q6,        ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                     \
    R(gemv[LB_W_Q5],     lb_gemv_q5,        ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                     \
    R(gemv[LB_W_Q4],     lb_gemv_q4,        ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                     \
    R(gemv[LB_W_Q3],     lb_gemv_q3,        ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                     \
    R(gemv[LB_W_Q2],     lb_gemv_q2,        ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                     \
    R(gemv[LB_W_LUT4],     lb_gemv_lut4,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                   \
    R(gemv[LB_W_LUT3],     lb_gemv_lut3,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                   \
    R(gemv[LB_W_LUT2],     lb_gemv_lut2,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                   \
    R(gemv[LB_W_LUT1],     lb_gemv_lut1,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                   \
    R(gemv[LB_W_TCQ2],   lb_gemv_tcq2,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vbmi)                     \
    R(gemv[LB_W_TCQ3],   lb_gemv_tcq3,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vbmi)                     \
    R(gemv[LB_W_TCQ4],   lb_gemv_tcq4,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vbmi)                     \
    R(gemv[LB_W_TERN],   lb_gemv_tern,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                     \
    R(gemv[LB_W_INT8],  lb_gemv_int8,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                      \
    R(gemv[LB_W_S24Q8], lb_gemv_s24q8,     ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                      \
    R(gemv[LB_W_S24Q4], lb_gemv_s24q4,     ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                      \
    R(gemm[LB_W_F32],    lb_gemm_f32,       ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(gemm[LB_W_F16],    lb_gemm_f16,       ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(gemm[LB_W_BF16],   lb_gemm_bf16,      ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(gemm[LB_W_Q8],     lb_gemm_q8,        ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                     \
    R(gemm[LB_W_Q6],     lb_gemm_q6,        ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                     \
    R(gemm[LB_W_Q5],     lb_gemm_q5,        ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                     \
    R(gemm[LB_W_Q4],     lb_gemm_q4,        ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                     \
    R(gemm[LB_W_Q3],     lb_gemm_q3,        ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                     \
    R(gemm[LB_W_Q2],     lb_gemm_q2,        ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                     \
    R(gemm[LB_W_LUT4],     lb_gemm_lut4,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                   \
    R(gemm[LB_W_LUT3],     lb_gemm_lut3,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                   \
    R(gemm[LB_W_LUT2],     lb_gemm_lut2,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                   \
    R(gemm[LB_W_LUT1],     lb_gemm_lut1,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                   \
    R(gemm[LB_W_TCQ2],   lb_gemm_tcq2,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                     \
    R(gemm[LB_W_TCQ3],   lb_gemm_tcq3,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                     \
    R(gemm[LB_W_TCQ4],   lb_gemm_tcq4,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                     \
    R(gemm[LB_W_TERN],   lb_gemm_tern,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                     \
    R(gemm[LB_W_INT8],  lb_gemm_int8,      ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                      \
    R(gemm[LB_W_S24Q8], lb_gemm_s24q8,     ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                      \
    R(gemm[LB_W_S24Q4], lb_gemm_s24q4,     ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                      \
    R(quantize_a8,       lb_quantize_a8,    ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(quantize_a8_token, lb_quantize_a8_token, ref, sse,  avx2,  avx512, avx512,     avx512)                          \
    R(lut_tables,          lb_lut_tables,     ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                   \
    R(bytes[0], lb_bytes_lut1, ref, sse, avx2, avx2, avx512vnni, avx512vnni)                                          \
    R(bytes[1], lb_bytes_lut2, ref, sse, avx2, avx2, avx512vnni, avx512vnni)                                          \
    R(bytes[2], lb_bytes_lut3, ref, sse, avx2, avx2, avx512vnni, avx512vnni)                                          \
    R(bytes[3], lb_bytes_lut4, ref, sse, avx2, avx2, avx512vnni, avx512vnni)                                          \
    R(byte_tables, lb_byte_tables, ref, sse, avx2, avx2, avx2, avx2)                                                  \
    R(rmsnorm,           lb_rmsnorm,        ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(add,               lb_add,            ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(scale,             lb_scale,          ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(silu_mul,          lb_silu_mul,       ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(relu2_mul,         lb_relu2_mul,      ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(rope,              lb_rope,           ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(softmax_chunk,     lb_softmax_chunk,  ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(axpby,             lb_axpby,          ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(f32_to_f16,        lb_f32_to_f16,     ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(f16_to_f32,        lb_f16_to_f32,     ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(argmax,            lb_argmax,         ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(hadamard,          lb_hadamard,       ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(kv_product[LB_KV_PRODUCT_Q8], lb_kv_product_q8,  ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)          \
    R(kv_product[LB_KV_PRODUCT_Q4], lb_kv_product_q4,  ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)          \
    R(kv_product[LB_KV_PRODUCT_Q2], lb_kv_product_q2,  ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)          \
    R(kv_means,             lb_kv_means,       ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)                  \
    R(sparse,            lb_sparse,         ref,  sse,     avx2,  avx512, avx512,     avx512)                         \
    R(masked,            lb_masked,         ref,  sse,     avx2,  avx2,   avx512vnni, avx512vbmi)                     \
    R(mul_bf16,          lb_mul_bf16,       ref,  sse,     avx2,  avx2,   avx512vnni, avx512vnni)

LB_DECLARE_FLOAT(sse);
LB_DECLARE_INT(sse);
LB_DECLARE_TCQ(sse);
LB_DECLARE_VECTOR(sse);
LB_DECLARE_HADAMARD(sse);
LB_DECLARE_KV(sse);
LB_DECLARE_TERN(sse);
LB_DECLARE_LUT(sse);
LB_DECLARE_S24(sse);
LB_DECLARE_INT8(sse);
LB_DECLARE_MASKED(sse);
LB_DECLARE_BYTES(sse);
#if defined(__x86_64__)
LB_DECLARE_FLOAT(avx2);
LB_DECLARE_INT(avx2);
LB_DECLARE_TCQ(avx2);
LB_DECLARE_VECTOR(avx2);
LB_DECLARE_HADAMARD(avx2);
LB_DECLARE_KV(avx2);
LB_DECLARE_FLOAT(avx512);
LB_DECLARE_VECTOR(avx512);
LB_DECLARE_HADAMARD(avx512);
LB_DECLARE_INT(avx512vnni);
LB_DECLARE_TCQ(avx512vnni);
LB_DECLARE_TCQ_GEMV(avx512vbmi);
LB_DECLARE_TERN(avx2);
LB_DECLARE_LUT(avx2);
LB_DECLARE_BYTES(avx2);
LB_DECLARE_TERN(avx512vnni);
LB_DECLARE_LUT(avx512vnni);
LB_DECLARE_BYTES_ONLY(avx512vnni);
LB_DECLARE_S24(avx2);
LB_DECLARE_INT8(avx2);
LB_DECLARE_MASKED(avx2);
LB_DECLARE_S24(avx512vnni);
LB_DECLARE_INT8(avx512vnni);
LB_DECLARE_MASKED(avx512vnni);
LB_DECLARE_MASKED_ONE(avx512vbmi);
LB_DECLARE_KV(avx512vnni);
#endif

#define LB_COL_SCALAR(e, op, a, b, c, d, v, w) LB_ENTRY_(e, op, a)
#define LB_COL_SSE(e, op, a, b, c, d, v, w) LB_ENTRY_(e, op, b)
#define LB_COL_AVX2(e, op, a, b, c, d, v, w) LB_ENTRY_(e, op, c)
#define LB_COL_AVX512(e, op, a, b, c, d, v, w) LB_ENTRY_(e, op, d)
#define LB_COL_AVX512VNNI(e, op, a, b, c, d, v, w) LB_ENTRY_(e, op, v)
#define LB_COL_AVX512VBMI(e, op, a, b, c, d, v, w) LB_ENTRY_(e, op, w)

static const lb_kernels lb_table_scalar = {.isa = "scalar", LB_ROWS(LB_COL_SCALAR)};

#if defined(__x86_64__)

static const lb_kernels lb_table_sse = {.isa = "sse", LB_ROWS(LB_COL_SSE)};
static const lb_kernels lb_table_avx2 = {.isa = "avx2", LB_ROWS(LB_COL_AVX2)};
static const lb_kernels lb_table_avx512 = {.isa = "avx512", LB_ROWS(LB_COL_AVX512)};
static const lb_kernels lb_table_avx512vnni = {.isa = "avx512vnni", LB_ROWS(LB_COL_AVX512VNNI)};
static const lb_kernels lb_table_avx512vbmi = {.isa = "avx512vbmi", LB_ROWS(LB_COL_AVX512VBMI)};

#define LB_LEVELS                                                                                                     \
    {LB_CPU_SCALAR, &lb_table_scalar}, {LB_CPU_SSE, &lb_table_sse}, {LB_CPU_AVX2, &lb_table_avx2},                    \
    {LB_CPU_AVX512, &lb_table_avx512}, {LB_CPU_AVX512VNNI, &lb_table_avx512vnni},                                     \
    {LB_CPU_AVX512VBMI, &lb_table_avx512vbmi},

#else /* WebAssembly: its vectors are those of SSE4.1 but for names, which the compiler's own header translates */

static const lb_kernels lb_table_simd128 = {.isa = "simd128", LB_ROWS(LB_COL_SSE)};

#define LB_LEVELS {LB_CPU_SCALAR, &lb_table_scalar}, {LB_CPU_SIMD128, &lb_table_simd128},

#endif

#elif defined(__aarch64__)

/*    entry              function           scalar neon  dotprod i8mm */
#define LB_ROWS(R)                                                                                                    \
    R(gemv[LB_W_F32],     lb_gemv_f32,       ref,  neon, neon,    neon)                                               \
    R(gemv[LB_W_F16],     lb_gemv_f16,       ref,  neon, neon,    neon)                                               \
    R(gemv[LB_W_BF16],    lb_gemv_bf16,      ref,  neon, neon,    neon)                                               \
    R(gemv[LB_W_Q8],      lb_gemv_q8,        ref,  neon, dotprod, dotprod)                                            \
    R(gemv[LB_W_Q6],      lb_gemv_q6,        ref,  neon, dotprod, dotprod)                                            \
    R(gemv[LB_W_Q5],      lb_gemv_q5,        ref,  neon, dotprod, dotprod)                                            \
    R(gemv[LB_W_Q4],      lb_gemv_q4,        ref,  neon, dotprod, dotprod)                                            \
    R(gemv[LB_W_Q3],      lb_gemv_q3,        ref,  neon, dotprod, dotprod)                                            \
    R(gemv[LB_W_Q2],      lb_gemv_q2,        ref,  neon, dotprod, dotprod)                                            \
    R(gemv[LB_W_LUT4],     lb_gemv_lut4,      ref, neon, dotprod, dotprod)                                            \
    R(gemv[LB_W_LUT3],     lb_gemv_lut3,      ref, neon, dotprod, dotprod)                                            \
    R(gemv[LB_W_LUT2],     lb_gemv_lut2,      ref, neon, dotprod, dotprod)                                            \
    R(gemv[LB_W_LUT1],     lb_gemv_lut1,      ref, neon, dotprod, dotprod)                                            \
    R(gemv[LB_W_TCQ2],    lb_gemv_tcq2,      ref,  neon, dotprod, dotprod)                                            \
    R(gemv[LB_W_TCQ3],    lb_gemv_tcq3,      ref,  neon, dotprod, dotprod)                                            \
    R(gemv[LB_W_TCQ4],    lb_gemv_tcq4,      ref,  neon, dotprod, dotprod)                                            \
    R(gemv[LB_W_TERN],   lb_gemv_tern,      ref,  neon, dotprod, dotprod)                                             \
    R(gemv[LB_W_INT8],  lb_gemv_int8,      ref,  neon, dotprod, dotprod)                                              \
    R(gemv[LB_W_S24Q8], lb_gemv_s24q8,     ref,  neon, dotprod, dotprod)                                              \
    R(gemv[LB_W_S24Q4], lb_gemv_s24q4,     ref,  neon, dotprod, dotprod)                                              \
    R(gemm[LB_W_F32],     lb_gemm_f32,       ref,  neon, neon,    neon)                                               \
    R(gemm[LB_W_F16],     lb_gemm_f16,       ref,  neon, neon,    neon)                                               \
    R(gemm[LB_W_BF16],    lb_gemm_bf16,      ref,  neon, neon,    neon)                                               \
    R(gemm[LB_W_Q8],      lb_gemm_q8,        ref,  neon, dotprod, i8mm)                                               \
    R(gemm[LB_W_Q6],      lb_gemm_q6,        ref,  neon, dotprod, i8mm)                                               \
    R(gemm[LB_W_Q5],      lb_gemm_q5,        ref,  neon, dotprod, i8mm)                                               \
    R(gemm[LB_W_Q4],      lb_gemm_q4,        ref,  neon, dotprod, i8mm)                                               \
    R(gemm[LB_W_Q3],      lb_gemm_q3,        ref,  neon, dotprod, i8mm)                                               \
    R(gemm[LB_W_Q2],      lb_gemm_q2,        ref,  neon, dotprod, i8mm)                                               \
    R(gemm[LB_W_LUT4],     lb_gemm_lut4,      ref, neon, dotprod, i8mm)                                               \
    R(gemm[LB_W_LUT3],     lb_gemm_lut3,      ref, neon, dotprod, i8mm)                                               \
    R(gemm[LB_W_LUT2],     lb_gemm_lut2,      ref, neon, dotprod, i8mm)                                               \
    R(gemm[LB_W_LUT1],     lb_gemm_lut1,      ref, neon, dotprod, i8mm)                                               \
    R(gemm[LB_W_TCQ2],    lb_gemm_tcq2,      ref,  neon, dotprod, i8mm)                                               \
    R(gemm[LB_W_TCQ3],    lb_gemm_tcq3,      ref,  neon, dotprod, i8mm)                                               \
    R(gemm[LB_W_TCQ4],    lb_gemm_tcq4,      ref,  neon, dotprod, i8mm)                                               \
    R(gemm[LB_W_TERN],   lb_gemm_tern,      ref,  neon, dotprod, i8mm)                                                \
    R(gemm[LB_W_INT8],  lb_gemm_int8,      ref,  neon, dotprod, i8mm)                                                 \
    R(gemm[LB_W_S24Q8], lb_gemm_s24q8,     ref,  neon, dotprod, i8mm)                                                 \
    R(gemm[LB_W_S24Q4], lb_gemm_s24q4,     ref,  neon, dotprod, i8mm)                                                 \
    R(quantize_a8,        lb_quantize_a8,    ref,  neon, neon,    neon)                                               \
    R(quantize_a8_token,  lb_quantize_a8_token, ref, neon, neon, neon)                                                \
    R(lut_tables,          lb_lut_tables,     ref, neon, dotprod, dotprod)                                            \
    R(bytes[0], lb_bytes_lut1, ref, neon, neon, neon)                                                                 \
    R(bytes[1], lb_bytes_lut2, ref, neon, neon, neon)                                                                 \
    R(bytes[2], lb_bytes_lut3, ref, neon, neon, neon)                                                                 \
    R(bytes[3], lb_bytes_lut4, ref, neon, neon, neon)                                                                 \
    R(byte_tables, lb_byte_tables, ref, neon, neon, neon)                                                             \
    R(rmsnorm,            lb_rmsnorm,        ref,  neon, neon,    neon)                                               \
    R(add,                lb_add,            ref,  neon, neon,    neon)                                               \
    R(scale,              lb_scale,          ref,  neon, neon,    neon)                                               \
    R(silu_mul,           lb_silu_mul,       ref,  neon, neon,    neon)                                               \
    R(relu2_mul,          lb_relu2_mul,      ref,  neon, neon,    neon)                                               \
    R(rope,               lb_rope,           ref,  neon, neon,    neon)                                               \
    R(softmax_chunk,      lb_softmax_chunk,  ref,  neon, neon,    neon)                                               \
    R(axpby,              lb_axpby,          ref,  neon, neon,    neon)                                               \
    R(f32_to_f16,         lb_f32_to_f16,     ref,  neon, neon,    neon)                                               \
    R(f16_to_f32,         lb_f16_to_f32,     ref,  neon, neon,    neon)                                               \
    R(argmax,             lb_argmax,         ref,  neon, neon,    neon)                                               \
    R(hadamard,           lb_hadamard,       ref,  neon, neon,    neon)                                               \
    R(kv_product[LB_KV_PRODUCT_Q8], lb_kv_product_q8,  ref,  neon, dotprod, dotprod)                                  \
    R(kv_product[LB_KV_PRODUCT_Q4], lb_kv_product_q4,  ref,  neon, dotprod, dotprod)                                  \
    R(kv_product[LB_KV_PRODUCT_Q2], lb_kv_product_q2,  ref,  neon, dotprod, dotprod)                                  \
    R(kv_means,             lb_kv_means,       ref,  neon, dotprod, dotprod)                                          \
    R(sparse,            lb_sparse,         ref,  neon, neon,    neon)                                                \
    R(masked,            lb_masked,         ref,  neon, dotprod, i8mm)                                                \
    R(mul_bf16,          lb_mul_bf16,       ref,  neon, neon,    neon)

LB_DECLARE_FLOAT(neon);
LB_DECLARE_INT(neon);
LB_DECLARE_TCQ(neon);
LB_DECLARE_VECTOR(neon);
LB_DECLARE_HADAMARD(neon);
LB_DECLARE_KV(neon);
LB_DECLARE_INT(dotprod);
LB_DECLARE_TERN(neon);
LB_DECLARE_LUT(neon);
LB_DECLARE_BYTES(neon);
LB_DECLARE_TERN(dotprod);
LB_DECLARE_LUT(dotprod);
LB_DECLARE_S24(neon);
LB_DECLARE_INT8(neon);
LB_DECLARE_MASKED(neon);
LB_DECLARE_S24(dotprod);
LB_DECLARE_INT8(dotprod);
LB_DECLARE_MASKED(dotprod);
LB_DECLARE_KV(dotprod);
LB_DECLARE_TCQ(dotprod);
LB_DECLARE_INT(i8mm);
LB_DECLARE_TERN(i8mm);
LB_DECLARE_TCQ(i8mm);
LB_DECLARE_LUT(i8mm);
LB_DECLARE_S24(i8mm);
LB_DECLARE_INT8(i8mm);
LB_DECLARE_MASKED(i8mm);

#define LB_COL_SCALAR(e, op, a, b, c, d) LB_ENTRY_(e, op, a)
#define LB_COL_NEON(e, op, a, b, c, d) LB_ENTRY_(e, op, b)
#define LB_COL_DOTPROD(e, op, a, b, c, d) LB_ENTRY_(e, op, c)
#define LB_COL_I8MM(e, op, a, b, c, d) LB_ENTRY_(e, op, d)

static const lb_kernels lb_table_scalar = {.isa = "scalar", LB_ROWS(LB_COL_SCALAR)};
static const lb_kernels lb_table_neon = {.isa = "neon", LB_ROWS(LB_COL_NEON)};
static const lb_kernels lb_table_dotprod = {.isa = "dotprod", LB_ROWS(LB_COL_DOTPROD)};
static const lb_kernels lb_table_i8mm = {.isa = "i8mm", LB_ROWS(LB_COL_I8MM)};

#define LB_LEVELS                                                                                                     \
    {LB_CPU_SCALAR, &lb_table_scalar}, {LB_CPU_NEON, &lb_table_neon}, {LB_CPU_DOTPROD, &lb_table_dotprod},            \
    {LB_CPU_I8MM, &lb_table_i8mm},

#else

#define LB_ROWS(R)                                                                                                    \
    R(gemv[LB_W_F32],     lb_gemv_f32,       ref)                                                                     \
    R(gemv[LB_W_F16],     lb_gemv_f16,       ref)                                                                     \
    R(gemv[LB_W_BF16],    lb_gemv_bf16,      ref)                                                                     \
    R(gemv[LB_W_Q8],      lb_gemv_q8,        ref)                                                                     \
    R(gemv[LB_W_Q6],      lb_gemv_q6,        ref)                                                                     \
    R(gemv[LB_W_Q5],      lb_gemv_q5,        ref)                                                                     \
    R(gemv[LB_W_Q4],      lb_gemv_q4,        ref)                                                                     \
    R(gemv[LB_W_Q3],      lb_gemv_q3,        ref)                                                                     \
    R(gemv[LB_W_Q2],      lb_gemv_q2,        ref)                                                                     \
    R(gemv[LB_W_LUT4],     lb_gemv_lut4,      ref)                                                                    \
    R(gemv[LB_W_LUT3],     lb_gemv_lut3,      ref)                                                                    \
    R(gemv[LB_W_LUT2],     lb_gemv_lut2,      ref)                                                                    \
    R(gemv[LB_W_LUT1],     lb_gemv_lut1,      ref)                                                                    \
    R(gemv[LB_W_TCQ2],    lb_gemv_tcq2,      ref)                                                                     \
    R(gemv[LB_W_TCQ3],    lb_gemv_tcq3,      ref)                                                                     \
    R(gemv[LB_W_TCQ4],    lb_gemv_tcq4,      ref)                                                                     \
    R(gemv[LB_W_TERN],   lb_gemv_tern,      ref)                                                                      \
    R(gemv[LB_W_INT8],  lb_gemv_int8,      ref)                                                                       \
    R(gemv[LB_W_S24Q8], lb_gemv_s24q8,     ref)                                                                       \
    R(gemv[LB_W_S24Q4], lb_gemv_s24q4,     ref)                                                                       \
    R(gemm[LB_W_F32],     lb_gemm_f32,       ref)                                                                     \
    R(gemm[LB_W_F16],     lb_gemm_f16,       ref)                                                                     \
    R(gemm[LB_W_BF16],    lb_gemm_bf16,      ref)                                                                     \
    R(gemm[LB_W_Q8],      lb_gemm_q8,        ref)                                                                     \
    R(gemm[LB_W_Q6],      lb_gemm_q6,        ref)                                                                     \
    R(gemm[LB_W_Q5],      lb_gemm_q5,        ref)                                                                     \
    R(gemm[LB_W_Q4],      lb_gemm_q4,        ref)                                                                     \
    R(gemm[LB_W_Q3],      lb_gemm_q3,        ref)                                                                     \
    R(gemm[LB_W_Q2],      lb_gemm_q2,        ref)                                                                     \
    R(gemm[LB_W_LUT4],     lb_gemm_lut4,      ref)                                                                    \
    R(gemm[LB_W_LUT3],     lb_gemm_lut3,      ref)                                                                    \
    R(gemm[LB_W_LUT2],     lb_gemm_lut2,      ref)                                                                    \
    R(gemm[LB_W_LUT1],     lb_gemm_lut1,      ref)                                                                    \
    R(gemm[LB_W_TCQ2],    lb_gemm_tcq2,      ref)                                                                     \
    R(gemm[LB_W_TCQ3],    lb_gemm_tcq3,      ref)                                                                     \
    R(gemm[LB_W_TCQ4],    lb_gemm_tcq4,      ref)                                                                     \
    R(gemm[LB_W_TERN],   lb_gemm_tern,      ref)                                                                      \
    R(gemm[LB_W_INT8],  lb_gemm_int8,      ref)                                                                       \
    R(gemm[LB_W_S24Q8], lb_gemm_s24q8,     ref)                                                                       \
    R(gemm[LB_W_S24Q4], lb_gemm_s24q4,     ref)                                                                       \
    R(quantize_a8,        lb_quantize_a8,    ref)                                                                     \
    R(quantize_a8_token,  lb_quantize_a8_token, ref)                                                                  \
    R(lut_tables,          lb_lut_tables,     ref)                                                                    \
    R(bytes[0], lb_bytes_lut1, ref)                                                                                   \
    R(bytes[1], lb_bytes_lut2, ref)                                                                                   \
    R(bytes[2], lb_bytes_lut3, ref)                                                                                   \
    R(bytes[3], lb_bytes_lut4, ref)                                                                                   \
    R(byte_tables, lb_byte_tables, ref)                                                                               \
    R(rmsnorm,            lb_rmsnorm,        ref)                                                                     \
    R(add,                lb_add,            ref)                                                                     \
    R(scale,              lb_scale,          ref)                                                                     \
    R(silu_mul,           lb_silu_mul,       ref)                                                                     \
    R(relu2_mul,          lb_relu2_mul,      ref)                                                                     \
    R(rope,               lb_rope,           ref)                                                                     \
    R(softmax_chunk,      lb_softmax_chunk,  ref)                                                                     \
    R(axpby,              lb_axpby,          ref)                                                                     \
    R(f32_to_f16,         lb_f32_to_f16,     ref)                                                                     \
    R(f16_to_f32,         lb_f16_to_f32,     ref)                                                                     \
    R(argmax,             lb_argmax,         ref)                                                                     \
    R(hadamard,           lb_hadamard,       ref)                                                                     \
    R(kv_product[LB_KV_PRODUCT_Q8], lb_kv_product_q8,  ref)                                                           \
    R(kv_product[LB_KV_PRODUCT_Q4], lb_kv_product_q4,  ref)                                                           \
    R(kv_product[LB_KV_PRODUCT_Q2], lb_kv_product_q2,  ref)                                                           \
    R(kv_means,             lb_kv_means,       ref)                                                                   \
    R(sparse,            lb_sparse,         ref)                                                                      \
    R(masked,            lb_masked,         ref)                                                                      \
    R(mul_bf16,          lb_mul_bf16,       ref)

#define LB_COL_SCALAR(e, op, a) LB_ENTRY_(e, op, a)
static const lb_kernels lb_table_scalar = {.isa = "scalar", LB_ROWS(LB_COL_SCALAR)};
#define LB_LEVELS {LB_CPU_SCALAR, &lb_table_scalar},

#endif

typedef struct lb_level {
    lb_cpu_level cpu;
    const lb_kernels *table;
} lb_level;

/* Rising: the last that the CPU runs is the best. */
static const lb_level lb_levels[] = {LB_LEVELS};

#define LB_N_LEVELS (sizeof lb_levels / sizeof lb_levels[0])

const lb_kernels *lb_kernels_for(const char *isa)
{
    for (size_t i = LB_N_LEVELS; i-- > 0;) {
        const lb_level *level = &lb_levels[i];
        if ((!isa || strcmp(isa, level->table->isa) == 0) && lb_cpu_runs(level->cpu)) {
            return level->table;
        }
    }
    return NULL;
}

const char *lb_isa_level(size_t i, bool *usable)
{
    if (i >= LB_N_LEVELS) {
        return NULL;
    }
    if (usable) {
        *usable = lb_cpu_runs(lb_levels[i].cpu);
    }
    return lb_levels[i].table->isa;
}
