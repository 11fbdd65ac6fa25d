/* What this machine can do: jobs on several threads at once, streaming reads, integer peak. */
#include "lb_machine.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../kernels/lb_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

double lb_bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int lb_bench_compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void lb_series_add(lb_series *s, double value)
{
    s->t[s->n++ % LB_SERIES_MAX] = value;
}

double lb_series_median(const lb_series *s)
{
    double t[LB_SERIES_MAX];
    const size_t n = s->n < LB_SERIES_MAX ? s->n : LB_SERIES_MAX;
    memcpy(t, s->t, n * sizeof t[0]);
    qsort(t, n, sizeof t[0], lb_bench_compare);
    return n == 0 ? 0.0 : n % 2 ? t[n / 2] : 0.5 * (t[n / 2 - 1] + t[n / 2]);
}

double lb_series_at(const lb_series *s, bool largest)
{
    double v = s->n ? s->t[0] : 0.0;
    for (size_t i = 1; i < s->n && i < LB_SERIES_MAX; i++) {
        v = (s->t[i] > v) == largest ? s->t[i] : v;
    }
    return v;
}

/* ---------------------------------------------------------------- running a job on several threads at once */

typedef struct lb_bench_start {
    pthread_mutex_t mutex;
    pthread_cond_t go;
    bool running;
    atomic_uint awake;
    unsigned threads;
} lb_bench_start;

typedef struct lb_bench_worker {
    lb_bench_job job;
    void *context;
    unsigned index, threads;
    double begin, end;
    lb_bench_start *start;
} lb_bench_worker;

/* Each thread on a processor of its own: a scheduler takes longer than a job to see that two are on one. */
static void lb_bench_place(unsigned index)
{
#if defined(__linux__)
    cpu_set_t allowed, own;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) == 0) {
        return;
    }
    int left = (int)index % CPU_COUNT(&allowed);
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, &allowed) || left-- > 0) {
        cpu++;
    }
    CPU_ZERO(&own);
    CPU_SET(cpu, &own);
    (void)sched_setaffinity(0, sizeof own, &own); /* of this thread; without it figures are less steady, no more */
#else
    (void)index;
#endif
}

static void *lb_bench_thread(void *p)
{
    lb_bench_worker *w = p;
    lb_bench_place(w->index);
    pthread_mutex_lock(&w->start->mutex);
    while (!w->start->running) {
        pthread_cond_wait(&w->start->go, &w->start->mutex);
    }
    pthread_mutex_unlock(&w->start->mutex);
    atomic_fetch_add(&w->start->awake, 1);
    while (atomic_load(&w->start->awake) < w->start->threads) {
    }
    w->begin = lb_bench_now();
    w->job(w->context, w->index, w->threads);
    w->end = lb_bench_now();
    return NULL;
}

double lb_bench_run(lb_bench_job job, void *context, unsigned threads)
{
    pthread_t id[LB_BENCH_MAX_THREADS];
    lb_bench_worker w[LB_BENCH_MAX_THREADS];
    lb_bench_start start = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0, 0};
    unsigned n = 0;
    for (; n < threads; n++) {
        w[n] = (lb_bench_worker){job, context, n, threads, 0.0, 0.0, &start};
        if (pthread_create(&id[n], NULL, lb_bench_thread, &w[n]) != 0) {
            break;
        }
    }
    pthread_mutex_lock(&start.mutex);
    start.threads = n;
    start.running = true;
    pthread_cond_broadcast(&start.go);
    pthread_mutex_unlock(&start.mutex);
    double begin = 0.0, end = 0.0;
    for (unsigned i = 0; i < n; i++) {
        pthread_join(id[i], NULL);
        begin = i == 0 || w[i].begin < begin ? w[i].begin : begin;
        end = i == 0 || w[i].end > end ? w[i].end : end;
    }
    return n == threads ? end - begin : -1.0;
}

bool lb_bench_threads_ok(unsigned threads)
{
    return threads >= 1 && threads <= LB_BENCH_MAX_THREADS;
}

/* ---------------------------------------------------------------- memory bandwidth */

typedef struct lb_bench_memory {
    const uint8_t *data;
    size_t bytes;
    uint64_t sink[LB_BENCH_MAX_THREADS][8];
} lb_bench_memory;

typedef uint64_t lb_bench_v LB_VECTOR(16);

static void lb_bench_read_job(void *context, unsigned thread, unsigned threads)
{
    lb_bench_memory *m = context;
    const size_t n = m->bytes / threads / 256 * 256;
    const uint8_t *p = m->data + thread * n;
    lb_bench_v s[4] = {{0}};
    for (size_t i = 0; i < n; i += 256) {
        const lb_bench_v *v = (const lb_bench_v *)(const void *)(p + i);
        LB_UNROLL
        for (size_t j = 0; j < 16; j++) {
            s[j % 4] |= v[j];
        }
    }
    const lb_bench_v all = s[0] | s[1] | s[2] | s[3];
    m->sink[thread][0] = all[0] | all[1];
}

uint8_t *lb_bench_alloc(size_t bytes)
{
    uint8_t *p = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    uint64_t x = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; p && i + 8 <= bytes; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(p + i, &x, 8);
    }
    return p;
}

double lb_bench_read_gbs(const void *data, size_t bytes, unsigned threads)
{
    static const uintptr_t align = 64;
    if (!lb_bench_threads_ok(threads) || bytes < 4096u * threads) {
        return 0.0;
    }
    const uint8_t *p = (const uint8_t *)data;
    const size_t skip = (size_t)((align - (uintptr_t)p % align) % align);
    lb_bench_memory m = {.data = p + skip, .bytes = bytes - skip};
    const double s = lb_bench_run(lb_bench_read_job, &m, threads);
    return s > 0.0 ? (double)(m.bytes / threads / 256 * 256 * threads) / s * 1e-9 : 0.0;
}

/* ---------------------------------------------------------------- integer peak */

#define LB_BENCH_DOTS 2000000L /* turns of the loop, LB_BENCH_PER_TURN instructions each */

/* Registers only, in assembly, so that no compiler improves on it. `per` = multiplications and additions of one instruction. */
#define LB_BENCH_14(i)                                                                                                \
    i(0) i(1) i(2) i(3) i(4) i(5) i(6) i(7) i(8) i(9) i(10) i(11) i(12) i(13)

#define LB_BENCH_PER_TURN 14

typedef struct lb_bench_dot {
    const char *isa;
    double per;
    void (*run)(long turns);
} lb_bench_dot;

#if defined(__x86_64__)
#define LB_BENCH_LOOP(ins) "1:\n" LB_BENCH_14(ins) "dec %0\njnz 1b\n"
#define LB_BENCH_VNNI(i) "vpdpbusd %%zmm15, %%zmm14, %%zmm" #i "\n"
#define LB_BENCH_MADDUBS(i) "vpmaddubsw %%ymm15, %%ymm14, %%ymm" #i "\n"
#define LB_BENCH_SSSE3(i) "pmaddubsw %%xmm15, %%xmm" #i "\n"
#define LB_BENCH_CLOBBER                                                                                              \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",        \
        "xmm13", "xmm14", "xmm15", "cc"

static void lb_bench_dot_vnni(long n)
{
    __asm__ volatile(LB_BENCH_LOOP(LB_BENCH_VNNI) "vzeroupper" : "+r"(n)::LB_BENCH_CLOBBER);
}
static void lb_bench_dot_avx2(long n)
{
    __asm__ volatile(LB_BENCH_LOOP(LB_BENCH_MADDUBS) "vzeroupper" : "+r"(n)::LB_BENCH_CLOBBER);
}
static void lb_bench_dot_sse(long n)
{
    __asm__ volatile(LB_BENCH_LOOP(LB_BENCH_SSSE3) : "+r"(n)::LB_BENCH_CLOBBER);
}

static const lb_bench_dot lb_bench_dots[] = {
    {"sse", 32, lb_bench_dot_sse},           {"avx2", 64, lb_bench_dot_avx2},
    {"avx512", 64, lb_bench_dot_avx2},       {"avx512vnni", 128, lb_bench_dot_vnni},
    {"avx512vbmi", 128, lb_bench_dot_vnni},
};
#elif defined(__aarch64__)
#define LB_BENCH_SDOT(i) ".inst 0x4e8f95c0 + " #i "\n"        /* sdot v<i>.4s, v14.16b, v15.16b */
#define LB_BENCH_SMMLA(i) ".inst 0x4e8fa5c0 + " #i "\n"       /* smmla v<i>.4s, v14.16b, v15.16b */
#define LB_BENCH_SMLAL(i) "smlal v" #i ".8h, v14.8b, v15.8b\n"
#define LB_BENCH_LOOP(ins) "1:\n" LB_BENCH_14(ins) "subs %0, %0, #1\nb.ne 1b\n"
#define LB_BENCH_CLOBBER                                                                                              \
    "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "cc"

static void lb_bench_dot_neon(long n)
{
    __asm__ volatile(LB_BENCH_LOOP(LB_BENCH_SMLAL) : "+r"(n)::LB_BENCH_CLOBBER);
}
static void lb_bench_dot_dotprod(long n)
{
    __asm__ volatile(LB_BENCH_LOOP(LB_BENCH_SDOT) : "+r"(n)::LB_BENCH_CLOBBER);
}
static void lb_bench_dot_i8mm(long n)
{
    __asm__ volatile(LB_BENCH_LOOP(LB_BENCH_SMMLA) : "+r"(n)::LB_BENCH_CLOBBER);
}
static const lb_bench_dot lb_bench_dots[] = {
    {"neon", 16, lb_bench_dot_neon}, {"dotprod", 32, lb_bench_dot_dotprod}, {"i8mm", 64, lb_bench_dot_i8mm}};
#else
static const lb_bench_dot lb_bench_dots[] = {{"", 0, NULL}};
#endif

static void lb_bench_dot_job(void *context, unsigned thread, unsigned threads)
{
    (void)thread;
    (void)threads;
    ((const lb_bench_dot *)context)->run(LB_BENCH_DOTS);
}

double lb_bench_int8_gops(const char *isa, unsigned threads)
{
    lb_kernels k;
    if (!lb_kernels_get(&k, isa) || !lb_bench_threads_ok(threads)) {
        return 0.0;
    }
    for (size_t i = 0; i < sizeof lb_bench_dots / sizeof lb_bench_dots[0]; i++) {
        lb_bench_dot d = lb_bench_dots[i];
        if (strcmp(d.isa, k.isa) == 0) {
            const double s = lb_bench_run(lb_bench_dot_job, &d, threads);
            return s > 0.0 ? d.per * LB_BENCH_PER_TURN * (double)LB_BENCH_DOTS * threads / s * 1e-9 : 0.0;
        }
    }
    return 0.0;
}
