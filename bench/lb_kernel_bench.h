/*
 * Measures the matrix kernels alone. All figures are medians of several runs, each beside a run of its yardstick: a
 * streaming read of the same weights, and the int8 peak. Every function allocates and frees what it needs.
 */
#ifndef LB_KERNEL_BENCH_H
#define LB_KERNEL_BENCH_H

#include <stdbool.h>
#include <stddef.h>

typedef struct lb_bench_result {
    const char *isa, *format, *kernel; /* kernel: "gemv", "gemm"; "gemv-b", "gemm-b" with tables of bytes */
    size_t rows, k, n;                 /* matrix of rows x k, n tokens */
    unsigned threads;
    double seconds;          /* one product */
    double gbs;              /* 10^9 bytes of weights a second */
    double gweights;         /* 10^9 weights a second (gemm: weights x tokens) */
    double bandwidth_share;  /* gbs / read_gbs */
    double int8_share;       /* 2 * gweights / int8_gops; 0 for float formats */
} lb_bench_result;

typedef void (*lb_bench_report)(void *user, const lb_bench_result *result);

/*
 * Runs gemv (on weights far larger than the caches) and gemm (n = 256, k = 2048 and 5632) of every weight format, with
 * `threads` threads that share the rows. isa NULL: all usable levels but scalar. format NULL: all. False if memory is not to be had or isa
 * is not usable.
 */
bool lb_bench_kernels(const char *isa, const char *format, unsigned threads, lb_bench_report report, void *user);

#endif /* LB_KERNEL_BENCH_H */
