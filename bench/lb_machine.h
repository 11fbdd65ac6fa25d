/*
 * What this machine can do, measured: the yardsticks that lbrt-bench lays beside tokens per second. Other programs come and
 * go, and so does the speed of memory: every function here is one short measurement (some 10 ms), to be repeated beside
 * each thing that it is compared with, and the medians compared.
 */
#ifndef LB_MACHINE_H
#define LB_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LB_BENCH_MAX_THREADS 256u
#define LB_BENCH_READ_BYTES ((size_t)512 << 20)

/* Seconds on a clock that only runs forward */
double lb_bench_now(void);

/* The last LB_SERIES_MAX measurements of something */
enum { LB_SERIES_MAX = 512 };
typedef struct lb_series {
    double t[LB_SERIES_MAX];
    size_t n;
} lb_series;
void lb_series_add(lb_series *s, double value);
double lb_series_median(const lb_series *s); /* 0 if empty */
double lb_series_at(const lb_series *s, bool largest); /* the largest or smallest; 0 if empty */

typedef void (*lb_bench_job)(void *context, unsigned thread, unsigned threads);

/* Seconds from the first thread's beginning to the last one's end; negative if threads are not to be had. */
double lb_bench_run(lb_bench_job job, void *context, unsigned threads);
bool lb_bench_threads_ok(unsigned threads); /* 1 .. LB_BENCH_MAX_THREADS */

/* Memory that is really there: every page written, with values that are no constant. The caller frees it; NULL if there is none. */
uint8_t *lb_bench_alloc(size_t bytes);

/*
 * One streaming read of `bytes` bytes, much more than the caches hold, by `threads` threads at once, each its own part: in
 * 10^9 bytes a second. 0 if threads are not to be had.
 */
double lb_bench_read_gbs(const void *data, size_t bytes, unsigned threads);

/*
 * The int8 peak in 10^9 operations a second (a multiplication and an addition are two): an unrolled loop on registers of
 * the instruction that a level's products rest on (vpdpbusd, vpmaddubsw, sdot). isa NULL: the best of this CPU. 0 if the
 * level is not usable or has no such instruction.
 */
double lb_bench_int8_gops(const char *isa, unsigned threads);

#endif /* LB_MACHINE_H */
