/* Facts about compilers, in one place. Needs nothing of ours. */
#ifndef LB_COMPILER_H
#define LB_COMPILER_H

/*
 * No floating-point expression may be contracted into a fused multiply-add behind our back: a kernel that
 * wants one says fma. gcc ignores the standard pragma and takes its own. The Makefile also passes
 * -ffp-contract=off; this is for people who compile the files without it.
 */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#if defined(__GNUC__)
#define LB_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define LB_ALWAYS_INLINE static inline __attribute__((always_inline, unused))
#define LB_NOINLINE __attribute__((noinline))
#if defined(__clang__)
#define LB_SHARED __attribute__((noinline, unused)) /* one copy for all callers */
#else
#define LB_SHARED __attribute__((noinline, noclone, unused))
#endif
#define LB_RESTRICT __restrict__
#define LB_VECTOR(n) __attribute__((vector_size(n))) /* n bytes of a base type, with element-wise operators */
#define LB_ALIGNED(n) __attribute__((aligned(n)))
#define LB_LIKELY(x) __builtin_expect(!!(x), 1)
#define LB_UNLIKELY(x) __builtin_expect(!!(x), 0)
#else
#error "lbrt needs gcc or clang"
#endif

/* In front of what several files share: the single-file header (runtime/lbrt-single.c) makes it static. */
#if !defined(LB_LINK)
#define LB_LINK
#endif

/* Unrolls the loop that follows wholly, or leaves it a loop. gcc needs to be told below -O3, clang does it by itself. */
#if defined(__clang__)
#define LB_UNROLL _Pragma("clang loop unroll(full)")
#define LB_ROLL _Pragma("clang loop unroll(disable)")
#else
#define LB_UNROLL _Pragma("GCC unroll 32")
#define LB_ROLL _Pragma("GCC unroll 1")
#endif

/* Makes a register opaque: gcc 12 otherwise reassociates long integer sums, products first, and spills them all. */
#if defined(__wasm__)
#define LB_KEEP_ORDER(constraint, x) ((void)0)
#define LB_TARGET(x) /* vectors are on or off for a whole module */
#else
#define LB_KEEP_ORDER(constraint, x) __asm__("" : constraint(x))
#define LB_TARGET(x) __attribute__((target(x)))
#endif

#define LB_CAT2_(a, b) a##b
#define LB_CAT2(a, b) LB_CAT2_(a, b)
#define LB_CAT4_(a, b, c, d) a##b##c##d
#define LB_CAT4(a, b, c, d) LB_CAT4_(a, b, c, d)

/* Our own bugs only, never a file, prompt, parameter or allocation; compiled in by -DLB_DEBUG. */
#if defined(LB_DEBUG)
#define LB_ASSERT(x) do { if (!(x)) __builtin_trap(); } while (0)
#else
#define LB_ASSERT(x) ((void)0)
#endif

#endif /* LB_COMPILER_H */
