#include "lb_kernel_bench.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../formats/container/lb_wformat.h"
#include "../kernels/lb_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define LB_BENCH_READ_BYTES ((size_t)512 << 20)
#define LB_BENCH_GEMV_BYTES ((size_t)384 << 20)
#define LB_BENCH_MAX_THREADS 16u
#define LB_BENCH_RUNS 7

static double lb_bench_now(void)
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

/* ---------------------------------------------------------------- running a job on several threads at once */

typedef void (*lb_bench_job)(void *context, unsigned thread, unsigned threads);

typedef struct lb_bench_start {
    pthread_mutex_t mutex;
    pthread_cond_t go;
    bool running;
} lb_bench_start;

typedef struct lb_bench_worker {
    lb_bench_job job;
    void *context;
    unsigned index, threads;
    double begin, end;
    lb_bench_start *start;
} lb_bench_worker;

static void *lb_bench_thread(void *p)
{
    lb_bench_worker *w = p;
    pthread_mutex_lock(&w->start->mutex);
    while (!w->start->running) {
        pthread_cond_wait(&w->start->go, &w->start->mutex);
    }
    pthread_mutex_unlock(&w->start->mutex);
    w->begin = lb_bench_now();
    w->job(w->context, w->index, w->threads);
    w->end = lb_bench_now();
    return NULL;
}

/* Seconds from the first thread's beginning to the last one's end; negative if threads are not to be had. */
static double lb_bench_run(lb_bench_job job, void *context, unsigned threads)
{
    pthread_t id[LB_BENCH_MAX_THREADS];
    lb_bench_worker w[LB_BENCH_MAX_THREADS];
    lb_bench_start start = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    unsigned n = 0;
    for (; n < threads; n++) {
        w[n] = (lb_bench_worker){job, context, n, threads, 0.0, 0.0, &start};
        if (pthread_create(&id[n], NULL, lb_bench_thread, &w[n]) != 0) {
            break;
        }
    }
    pthread_mutex_lock(&start.mutex);
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

static bool lb_bench_threads_ok(unsigned threads)
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

/* Memory that is really there: every page written, with values that are no constant. */
static uint8_t *lb_bench_alloc(size_t bytes)
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

double lb_bench_read_gbs(unsigned threads)
{
    if (!lb_bench_threads_ok(threads)) {
        return 0.0;
    }
    lb_bench_memory *m = calloc(1, sizeof *m);
    uint8_t *data = m ? lb_bench_alloc(LB_BENCH_READ_BYTES) : NULL;
    double best = 0.0;
    if (data) {
        m->data = data;
        m->bytes = LB_BENCH_READ_BYTES;
        for (int i = 0; i < LB_BENCH_RUNS; i++) {
            const double s = lb_bench_run(lb_bench_read_job, m, threads);
            const double gbs = s > 0.0 ? (double)LB_BENCH_READ_BYTES / s * 1e-9 : 0.0;
            best = gbs > best ? gbs : best;
        }
    }
    free(data);
    free(m);
    return best;
}

/* ---------------------------------------------------------------- integer peak */

#define LB_BENCH_DOTS 5000000L /* turns of the loop, LB_BENCH_PER_TURN instructions each */

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
static const lb_bench_dot lb_bench_dots[] = {
    {"neon", 16, lb_bench_dot_neon}, {"dotprod", 32, lb_bench_dot_dotprod}, {"i8mm", 32, lb_bench_dot_dotprod}};
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
    const lb_kernels *k = lb_kernels_for(isa);
    if (!k || !lb_bench_threads_ok(threads)) {
        return 0.0;
    }
    for (size_t i = 0; i < sizeof lb_bench_dots / sizeof lb_bench_dots[0]; i++) {
        lb_bench_dot d = lb_bench_dots[i];
        if (strcmp(d.isa, k->isa) == 0) {
            double best = 0.0;
            for (int run = 0; run < LB_BENCH_RUNS; run++) {
                const double s = lb_bench_run(lb_bench_dot_job, &d, threads);
                const double gops = s > 0.0 ? d.per * LB_BENCH_PER_TURN * (double)LB_BENCH_DOTS * threads / s * 1e-9 : 0.0;
                best = gops > best ? gops : best;
            }
            return best;
        }
    }
    return 0.0;
}

/* ---------------------------------------------------------------- matrix products */

typedef struct lb_bench_product {
    lb_matmul_fn *fn;
    const uint8_t *w;
    size_t tile_bytes, n_tiles, k;
    lb_input x;
    float *y;
    size_t y_stride;
    uint8_t *scratch;
    size_t per_call; /* tiles of one call, as the engine does it */
} lb_bench_product;

static void lb_bench_product_job(void *context, unsigned thread, unsigned threads)
{
    const lb_bench_product *p = context;
    const size_t from = p->n_tiles * thread / threads, to = p->n_tiles * (thread + 1) / threads;
    for (size_t i = from; i < to; i += p->per_call) {
        const size_t n = to - i < p->per_call ? to - i : p->per_call;
        p->fn(p->w + i * p->tile_bytes, p->tile_bytes, n, p->k, &p->x, p->y + i * LB_TILE_ROWS, p->y_stride, false,
              p->scratch + (size_t)thread * LB_MM_SCRATCH);
    }
}

static double lb_bench_product_seconds(lb_bench_product *p, unsigned threads)
{
    double s[LB_BENCH_RUNS];
    for (int i = -1; i < LB_BENCH_RUNS; i++) { /* the first warms up */
        const double t = lb_bench_run(lb_bench_product_job, p, threads);
        s[i < 0 ? 0 : i] = t;
    }
    qsort(s, LB_BENCH_RUNS, sizeof s[0], lb_bench_compare);
    return s[LB_BENCH_RUNS / 2];
}

static bool lb_bench_format(const lb_kernels *kernels, const lb_wformat_info *f, unsigned threads, double read_gbs,
                            double int8_gops, lb_bench_report report, void *user)
{
    static const struct lb_bench_shape {
        size_t n, k, rows; /* rows 0: as many as LB_BENCH_GEMV_BYTES hold */
    } shapes[] = {{1, 2048, 0}, {1, 5632, 0}, {256, 2048, 1024}, {256, 5632, 512}, {8, 2048, 2048}};
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof shapes / sizeof shapes[0]; i++) {
        const size_t n = shapes[i].n, k = shapes[i].k, tile_bytes = f->tile_bytes(k);
        const size_t n_tiles = shapes[i].rows ? shapes[i].rows / LB_TILE_ROWS : LB_BENCH_GEMV_BYTES / tile_bytes;
        const size_t groups = k / LB_GROUP + 1;
        lb_bench_product p = {.fn = n == 1 ? kernels->gemv[f->id] : kernels->gemm[f->id],
                              .tile_bytes = tile_bytes,
                              .n_tiles = n_tiles,
                              .k = k,
                              .y_stride = n_tiles * LB_TILE_ROWS,
                              .per_call = n >= 8 ? 4 : 65536 / tile_bytes + 1};
        uint8_t *w = lb_bench_alloc(n_tiles * tile_bytes);
        float *x = aligned_alloc(64, n * (k + 64) * sizeof(float)), *scale = aligned_alloc(64, n * groups * 64);
        int8_t *q = aligned_alloc(64, n * (k + 64));
        int32_t *sum = aligned_alloc(64, n * groups * 64);
        p.y = aligned_alloc(64, n * p.y_stride * sizeof(float));
        p.scratch = aligned_alloc(64, (size_t)threads * LB_MM_SCRATCH);
        ok = p.fn && w && x && scale && q && sum && p.y && p.scratch;
        if (ok) {
            for (size_t t = 0; t < n; t++) {
                for (size_t c = 0; c < k; c++) {
                    x[t * (k + 64) + c] = (float)((int)((t * 31 + c * 17) % 255) - 127) / 64.0f;
                }
                if (f->reads == LB_READS_A8_TOKEN) {
                    kernels->quantize_a8_token(x + t * (k + 64), k, q + t * (k + 64), scale + t, sum + t);
                } else {
                    kernels->quantize_a8(x + t * (k + 64), k, q + t * (k + 64), scale + t * groups, sum + t * groups);
                }
            }
            for (size_t j = 0; f->reads != LB_READS_F32 && j < n_tiles; j++) {
                for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                    ((float *)(void *)(w + j * tile_bytes))[r] = 1.0f;
                }
            }
            for (size_t j = 0; f->reads == LB_READS_F32 && j < n_tiles * tile_bytes; j += 4) { /* no denormals, no NaN */
                uint32_t u;
                memcpy(&u, w + j, 4);
                u = (u & 0x83ff83ffu) | 0x38003800u;
                memcpy(w + j, &u, 4);
            }
            p.w = w;
            p.x = (lb_input){n, x, k + 64, q, k + 64, scale, sum, groups, q, k + 64, scale, sum};
            const double s = lb_bench_product_seconds(&p, threads);
            ok = s > 0.0;
            lb_bench_result r = {.isa = kernels->isa,
                                 .format = f->name,
                                 .kernel = n == 1 ? "gemv" : "gemm",
                                 .rows = n_tiles * LB_TILE_ROWS,
                                 .k = k,
                                 .n = n,
                                 .threads = threads,
                                 .seconds = s,
                                 .gbs = (double)(n_tiles * tile_bytes) / s * 1e-9,
                                 .gweights = (double)(n_tiles * LB_TILE_ROWS * k * n) / s * 1e-9};
            r.bandwidth_share = read_gbs > 0.0 ? r.gbs / read_gbs : 0.0;
            r.int8_share = int8_gops > 0.0 && f->reads != LB_READS_F32 ? 2.0 * r.gweights / int8_gops : 0.0;
            report(user, &r);
        }
        free(w);
        free(x);
        free(scale);
        free(q);
        free(sum);
        free(p.y);
        free(p.scratch);
    }
    return ok;
}

bool lb_bench_kernels(const char *isa, unsigned threads, lb_bench_report report, void *user)
{
    if (!lb_bench_threads_ok(threads) || (isa && !lb_kernels_for(isa))) {
        return false;
    }
    const double read_gbs = lb_bench_read_gbs(threads);
    bool usable;
    const char *name;
    for (size_t i = isa ? 0 : 1; (name = lb_isa_level(i, &usable)) != NULL; i++) {
        if (!usable || (isa && strcmp(isa, name) != 0)) {
            continue;
        }
        const double int8_gops = lb_bench_int8_gops(name, threads);
        const lb_wformat_info *f;
        for (size_t j = 0; (f = lb_wformat_at(j)) != NULL; j++) {
            if (!lb_bench_format(lb_kernels_for(name), f, threads, read_gbs, int8_gops, report, user)) {
                return false;
            }
        }
    }
    return true;
}
