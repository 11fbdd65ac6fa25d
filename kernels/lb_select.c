/*
 * The selector: which function serves an entry at a level. Levels rise; each puts its own functions over those of the levels below it,
 * group by group, a group being what a template defines. This is code and no table per level: a pointer in a table of a shared library
 * costs 32 bytes with its relocation, and most of a level's pointers are those of another level.
 *
 * To add a kernel: write it, put its entry into a group (or make one), and use the group at the levels that define it.
 */
#include "lb_cpu.h"
#include "lb_kernel_names.h"

#include <string.h>

#define LB_GEMV(format, name, s) k->gemv[LB_W_##format] = lb_gemv_##name##_##s;
#define LB_GEMM(format, name, s) k->gemm[LB_W_##format] = lb_gemm_##name##_##s;

#define LB_FLOAT_FORMATS(R, s) R(F32, f32, s) R(F16, f16, s) R(BF16, bf16, s)
#define LB_TCQ_FORMATS(R, s) R(TCQ2, tcq2, s) R(TCQ3, tcq3, s) R(TCQ4, tcq4, s)
#define LB_INT_FORMATS(R, s)                                                                                          \
    R(Q8, q8, s) R(Q6, q6, s) R(Q5, q5, s) R(Q4, q4, s) R(Q3, q3, s) R(Q2, q2, s)                                     \
    R(LUT4, lut4, s) R(LUT3, lut3, s) R(LUT2, lut2, s) R(LUT1, lut1, s)                                               \
    R(S24Q8, s24q8, s) R(S24Q4, s24q4, s) R(INT8, int8, s) R(TERN, tern, s)

#define LB_USE_FLOAT(s) LB_FLOAT_FORMATS(LB_GEMV, s) LB_FLOAT_FORMATS(LB_GEMM, s) k->sparse = lb_sparse_##s;
#define LB_USE_TCQ_GEMV(s) LB_TCQ_FORMATS(LB_GEMV, s)
#define LB_USE_MASKED(s) k->masked = lb_masked_##s;
#define LB_USE_INT_GEMM(s) LB_INT_FORMATS(LB_GEMM, s) LB_TCQ_FORMATS(LB_GEMM, s) LB_USE_MASKED(s)
#define LB_USE_INT(s) LB_INT_FORMATS(LB_GEMV, s) LB_USE_TCQ_GEMV(s) LB_USE_INT_GEMM(s) k->lut_tables = lb_lut_tables_##s;
#define LB_USE_BYTES(s)                                                                                               \
    k->bytes[0] = lb_bytes_lut1_##s;                                                                                  \
    k->bytes[1] = lb_bytes_lut2_##s;                                                                                  \
    k->bytes[2] = lb_bytes_lut3_##s;                                                                                  \
    k->bytes[3] = lb_bytes_lut4_##s;
#define LB_USE_BYTE_TABLES(s) k->byte_tables = lb_byte_tables_##s;
#define LB_USE_KV(s)                                                                                                  \
    k->kv_product[LB_KV_PRODUCT_Q8] = lb_kv_product_q8_##s;                                                           \
    k->kv_product[LB_KV_PRODUCT_Q4] = lb_kv_product_q4_##s;                                                           \
    k->kv_product[LB_KV_PRODUCT_Q2] = lb_kv_product_q2_##s;                                                           \
    k->kv_means = lb_kv_means_##s;                                                                                    \
    k->kv_quantize = lb_kv_quantize_##s;                                                                              \
    k->kv_softmax = lb_kv_softmax_##s;
#define LB_USE_VECTOR(s)                                                                                              \
    k->quantize_a8 = lb_quantize_a8_##s;                                                                              \
    k->quantize_a8_token = lb_quantize_a8_token_##s;                                                                  \
    k->rmsnorm = lb_rmsnorm_##s;                                                                                      \
    k->add = lb_add_##s;                                                                                              \
    k->scale = lb_scale_##s;                                                                                          \
    k->silu_mul = lb_silu_mul_##s;                                                                                    \
    k->relu2_mul = lb_relu2_mul_##s;                                                                                  \
    k->rope = lb_rope_##s;                                                                                            \
    k->softmax_chunk = lb_softmax_chunk_##s;                                                                          \
    k->axpby = lb_axpby_##s;                                                                                          \
    k->weigh = lb_weigh_##s;                                                                                          \
    k->f32_to_f16 = lb_f32_to_f16_##s;                                                                                \
    k->f16_to_f32 = lb_f16_to_f32_##s;                                                                                \
    k->argmax = lb_argmax_##s;                                                                                        \
    k->hadamard = lb_hadamard_##s;
#define LB_USE_ALL(s)                                                                                                 \
    LB_USE_FLOAT(s) LB_USE_INT(s) LB_USE_BYTES(s) LB_USE_BYTE_TABLES(s) LB_USE_VECTOR(s) LB_USE_KV(s)

#define LB_DECLARE_ALL_INT(s)                                                                                         \
    LB_DECLARE_INT(s);                                                                                                \
    LB_DECLARE_TCQ(s);                                                                                                \
    LB_DECLARE_TERN(s);                                                                                               \
    LB_DECLARE_LUT(s);                                                                                                \
    LB_DECLARE_S24(s);                                                                                                \
    LB_DECLARE_INT8(s);                                                                                               \
    LB_DECLARE_MASKED(s)
#define LB_DECLARE_ALL(s)                                                                                             \
    LB_DECLARE_ALL_INT(s);                                                                                            \
    LB_DECLARE_BYTES(s);                                                                                              \
    LB_DECLARE_FLOAT(s);                                                                                              \
    LB_DECLARE_VECTOR(s);                                                                                             \
    LB_DECLARE_HADAMARD(s);                                                                                           \
    LB_DECLARE_KV(s)

typedef struct lb_level {
    lb_cpu_level cpu;
    char isa[12];
} lb_level;

/* Rising: the last that the CPU runs is the best. */
#if defined(__x86_64__)

LB_DECLARE_ALL(sse);
LB_DECLARE_ALL(avx2);
LB_DECLARE_FLOAT(avx512);
LB_DECLARE_VECTOR(avx512);
LB_DECLARE_HADAMARD(avx512);
LB_DECLARE_ALL_INT(avx512vnni);
LB_DECLARE_BYTES_ONLY(avx512vnni);
LB_DECLARE_KV(avx512vnni);
LB_DECLARE_TCQ_GEMV(avx512vbmi);
LB_DECLARE_MASKED_ONE(avx512vbmi);

static const lb_level lb_levels[] = {{LB_CPU_SCALAR, "scalar"},         {LB_CPU_SSE, "sse"},
                                     {LB_CPU_AVX2, "avx2"},             {LB_CPU_AVX512, "avx512"},
                                     {LB_CPU_AVX512VNNI, "avx512vnni"}, {LB_CPU_AVX512VBMI, "avx512vbmi"}};

static void lb_use_level(lb_kernels *k, lb_cpu_level level)
{
    if (level >= LB_CPU_SSE) {
        LB_USE_ALL(sse)
    }
    if (level >= LB_CPU_AVX2) {
        LB_USE_ALL(avx2)
    }
    if (level >= LB_CPU_AVX512) {
        LB_USE_FLOAT(avx512)
        LB_USE_VECTOR(avx512)
    }
    if (level >= LB_CPU_AVX512VNNI) {
        LB_USE_INT(avx512vnni)
        LB_USE_BYTES(avx512vnni)
        LB_USE_KV(avx512vnni)
    }
    if (level >= LB_CPU_AVX512VBMI) {
        LB_USE_TCQ_GEMV(avx512vbmi)
        LB_USE_MASKED(avx512vbmi)
    }
}

#elif defined(__wasm_simd128__) /* its vectors are those of SSE4.1 but for names, which the compiler's own header translates */

LB_DECLARE_ALL(sse);

static const lb_level lb_levels[] = {{LB_CPU_SCALAR, "scalar"}, {LB_CPU_SIMD128, "simd128"}};

static void lb_use_level(lb_kernels *k, lb_cpu_level level)
{
    if (level == LB_CPU_SIMD128) {
        LB_USE_ALL(sse)
    }
}

#elif defined(__aarch64__)

LB_DECLARE_ALL(neon);
LB_DECLARE_ALL_INT(dotprod);
LB_DECLARE_KV(dotprod);
LB_DECLARE_ALL_INT(i8mm);

static const lb_level lb_levels[] = {
    {LB_CPU_SCALAR, "scalar"}, {LB_CPU_NEON, "neon"}, {LB_CPU_DOTPROD, "dotprod"}, {LB_CPU_I8MM, "i8mm"}};

static void lb_use_level(lb_kernels *k, lb_cpu_level level)
{
    if (level >= LB_CPU_NEON) {
        LB_USE_ALL(neon)
    }
    if (level >= LB_CPU_DOTPROD) {
        LB_USE_INT(dotprod)
        LB_USE_KV(dotprod)
    }
    if (level >= LB_CPU_I8MM) { /* for one token as dotprod */
        LB_USE_INT_GEMM(i8mm)
    }
}

#else

static const lb_level lb_levels[] = {{LB_CPU_SCALAR, "scalar"}};

static void lb_use_level(lb_kernels *k, lb_cpu_level level)
{
    (void)k;
    (void)level;
}

#endif

#define LB_N_LEVELS (sizeof lb_levels / sizeof lb_levels[0])

/* NULL: none of that name, or not for this CPU */
static const lb_level *lb_level_of(const char *isa)
{
    for (size_t i = LB_N_LEVELS; i-- > 0;) {
        if ((!isa || strcmp(isa, lb_levels[i].isa) == 0) && lb_cpu_runs(lb_levels[i].cpu)) {
            return &lb_levels[i];
        }
    }
    return NULL;
}

bool lb_kernels_get(lb_kernels *k, const char *isa)
{
    const lb_level *level = lb_level_of(isa);
    if (!level) {
        return false;
    }
    memset(k, 0, sizeof *k);
    k->isa = level->isa;
    LB_USE_ALL(ref)
    lb_use_level(k, level->cpu);
    return true;
}

const char *lb_isa_best(void)
{
    return lb_level_of(NULL)->isa;
}

const char *lb_isa_level(size_t i, bool *usable)
{
    if (i >= LB_N_LEVELS) {
        return NULL;
    }
    if (usable) {
        *usable = lb_cpu_runs(lb_levels[i].cpu);
    }
    return lb_levels[i].isa;
}
