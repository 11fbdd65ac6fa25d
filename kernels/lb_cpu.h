/*
 * What this CPU and its operating system can run, as levels: bundles of instruction sets that ship together. A level is
 * used as a whole or not at all, and includes every level below it of the same architecture.
 */
#ifndef LB_CPU_H
#define LB_CPU_H

#include <stdbool.h>
#include <stddef.h>

typedef enum lb_cpu_level {
    LB_CPU_SCALAR, /* what the architecture guarantees */
    /* x86-64, rising */
    LB_CPU_SSE,        /* SSSE3 SSE4.1 */
    LB_CPU_AVX2,       /* AVX2 FMA F16C BMI1 BMI2 */
    LB_CPU_AVX512,     /* AVX-512 F BW CD DQ VL */
    LB_CPU_AVX512VNNI, /* + VNNI */
    LB_CPU_AVX512VBMI, /* + VBMI VBMI2 IFMA BITALG VPOPCNTDQ */
    /* aarch64, rising */
    LB_CPU_NEON,
    LB_CPU_DOTPROD, /* sdot udot */
    LB_CPU_I8MM,    /* smmla usdot, with dotprod */
    /* WebAssembly */
    LB_CPU_SIMD128 /* fixed when it is compiled: a module with vectors does not load where there are none */
} lb_cpu_level;

/* Asks the CPU each time (no state is kept); false for levels of other architectures. */
bool lb_cpu_runs(lb_cpu_level level);

#endif /* LB_CPU_H */
