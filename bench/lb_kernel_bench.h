/*
 * Measures this machine and the matrix kernels: what lbrt-bench reports next to tokens per second. All figures are medians
 * of several runs of at least some tens of milliseconds; every function allocates and frees what it needs.
 */
#ifndef LB_KERNEL_BENCH_H
#define LB_KERNEL_BENCH_H

#include <stdbool.h>
#include <stddef.h>

/* Streaming read of 512 MB by `threads` (1..16) threads at once, in 10^9 bytes a second: the best of several runs. 0 if memory
 * or a thread is not to be had. */
double lb_bench_read_gbs(unsigned threads);

/*
 * The int8 peak in 10^9 operations a second (a multiplication and an addition are two): an unrolled loop on registers of
 * the instruction that a level's products rest on (vpdpbusd, vpmaddubsw, sdot). isa NULL: the best of this CPU. 0 if the
 * level is not usable or has no such instruction.
 */
double lb_bench_int8_gops(const char *isa, unsigned threads);

typedef struct lb_bench_result {
    const char *isa, *format, *kernel; /* kernel: "gemv" or "gemm" */
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
 * `threads` threads that share the rows. isa NULL: all usable levels but scalar. False if memory is not to be had or isa
 * is not usable.
 */
bool lb_bench_kernels(const char *isa, unsigned threads, lb_bench_report report, void *user);

#endif /* LB_KERNEL_BENCH_H */
