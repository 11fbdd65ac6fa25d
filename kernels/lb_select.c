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

#define LB_ROWS_REF(R)                                                                                                \
    R(gemv[LB_W_F32], lb_gemm_f32)                                                                                    \
    R(gemv[LB_W_F16], lb_gemm_f16)                                                                                    \
    R(gemv[LB_W_BF16], lb_gemm_bf16)                                                                                  \
    R(gemv[LB_W_Q8], lb_gemm_q8)                                                                                      \
    R(gemv[LB_W_Q4], lb_gemm_q4)                                                                                      \
    R(gemm[LB_W_F32], lb_gemm_f32)                                                                                    \
    R(gemm[LB_W_F16], lb_gemm_f16)                                                                                    \
    R(gemm[LB_W_BF16], lb_gemm_bf16)                                                                                  \
    R(gemm[LB_W_Q8], lb_gemm_q8)                                                                                      \
    R(gemm[LB_W_Q4], lb_gemm_q4)                                                                                      \
    R(quantize_a8, lb_quantize_a8)                                                                                    \
    R(rmsnorm, lb_rmsnorm)                                                                                            \
    R(add, lb_add)                                                                                                    \
    R(scale, lb_scale)                                                                                                \
    R(silu_mul, lb_silu_mul)                                                                                          \
    R(rope, lb_rope)                                                                                                  \
    R(softmax_chunk, lb_softmax_chunk)                                                                                \
    R(axpby, lb_axpby)                                                                                                \
    R(f32_to_f16, lb_f32_to_f16)                                                                                      \
    R(f16_to_f32, lb_f16_to_f32)                                                                                      \
    R(argmax, lb_argmax)

#define LB_COL_REF(entry, op) .entry = op##_ref,
static const lb_kernels lb_table_scalar = {.isa = "scalar", LB_ROWS_REF(LB_COL_REF)};

typedef struct lb_level {
    lb_cpu_level cpu;
    const lb_kernels *table;
} lb_level;

/* Rising: the last that the CPU runs is the best. */
static const lb_level lb_levels[] = {
    {LB_CPU_SCALAR, &lb_table_scalar},
};

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
