#include "lb_cpu.h"

#include <stdint.h>

#if defined(__x86_64__) || defined(__i386__)

#include <cpuid.h>

/* Which register states the operating system saves: XCR0. Valid only if CPUID says OSXSAVE. */
static uint64_t lb_cpu_xcr0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static bool lb_cpu_all(uint32_t have, uint32_t want)
{
    return (have & want) == want;
}

static lb_cpu_level lb_cpu_best(void)
{
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) {
        return LB_CPU_SCALAR;
    }
    const uint32_t c1 = c;
    if (!lb_cpu_all(c1, 1u << 9 | 1u << 19)) { /* SSSE3, SSE4.1 */
        return LB_CPU_SCALAR;
    }
    uint64_t xcr0 = lb_cpu_all(c1, 1u << 27) ? lb_cpu_xcr0() : 0; /* OSXSAVE */
    if ((xcr0 & 6) != 6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) { /* xmm, ymm */
        return LB_CPU_SSE;
    }
    if (!lb_cpu_all(c1, 1u << 12 | 1u << 28 | 1u << 29) ||   /* FMA, AVX, F16C */
        !lb_cpu_all(b, 1u << 3 | 1u << 5 | 1u << 8)) {       /* BMI1, AVX2, BMI2 */
        return LB_CPU_SSE;
    }
    if ((xcr0 & 0xe0) != 0xe0 ||                                               /* opmask, zmm */
        !lb_cpu_all(b, 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31)) { /* F DQ CD BW VL */
        return LB_CPU_AVX2;
    }
    if (!lb_cpu_all(c, 1u << 11)) { /* VNNI */
        return LB_CPU_AVX512;
    }
    if (!lb_cpu_all(b, 1u << 21) ||                                /* IFMA */
        !lb_cpu_all(c, 1u << 1 | 1u << 6 | 1u << 12 | 1u << 14)) { /* VBMI VBMI2 BITALG VPOPCNTDQ */
        return LB_CPU_AVX512VNNI;
    }
    return LB_CPU_AVX512VBMI;
}

bool lb_cpu_runs(lb_cpu_level level)
{
    return level == LB_CPU_SCALAR || (level <= LB_CPU_AVX512VBMI && level <= lb_cpu_best());
}

#elif defined(__aarch64__)

#if defined(__linux__)
#include <sys/auxv.h>

bool lb_cpu_runs(lb_cpu_level level)
{
    const unsigned long hwcap = getauxval(16), hwcap2 = getauxval(26); /* AT_HWCAP, AT_HWCAP2 */
    const bool dotprod = (hwcap & 1ul << 20) != 0;                     /* HWCAP_ASIMDDP */
    const bool i8mm = (hwcap2 & 1ul << 13) != 0;                       /* HWCAP2_I8MM */
    switch (level) {
    case LB_CPU_SCALAR:
    case LB_CPU_NEON: return true;
    case LB_CPU_DOTPROD: return dotprod;
    case LB_CPU_I8MM: return dotprod && i8mm;
    default: return false;
    }
}
#else
bool lb_cpu_runs(lb_cpu_level level) /* no way to ask: what the compiler was told to assume */
{
    switch (level) {
    case LB_CPU_SCALAR:
    case LB_CPU_NEON: return true;
#if defined(__ARM_FEATURE_DOTPROD)
    case LB_CPU_DOTPROD: return true;
#if defined(__ARM_FEATURE_MATMUL_INT8)
    case LB_CPU_I8MM: return true;
#endif
#endif
    default: return false;
    }
}
#endif

#else

bool lb_cpu_runs(lb_cpu_level level)
{
#if defined(__wasm_simd128__)
    return level == LB_CPU_SCALAR || level == LB_CPU_SIMD128;
#else
    return level == LB_CPU_SCALAR;
#endif
}

#endif
