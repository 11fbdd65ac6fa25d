#include "lb_kernel_bench.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/container/lb_wformat.h"
#include "../kernels/lb_kernels.h"
#include "lb_machine.h"

#define LB_BENCH_GEMV_BYTES ((size_t)384 << 20)
#define LB_BENCH_RUNS 9

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

/* What the kernels are compared with, measured beside each of their runs */
typedef struct lb_bench_yard {
    const char *isa;
    unsigned threads;
    lb_series reads, int8; /* of the product being measured; reads stay from the last one that is read from memory */
} lb_bench_yard;

static double lb_bench_product_seconds(lb_bench_product *p, lb_bench_yard *yard, bool from_memory)
{
    lb_series s = {.n = 0};
    yard->int8.n = 0;
    yard->reads.n = from_memory ? 0 : yard->reads.n;
    for (int i = -1; i < LB_BENCH_RUNS; i++) { /* the first warms up */
        const double t = lb_bench_run(lb_bench_product_job, p, yard->threads);
        if (i >= 0) {
            lb_series_add(&s, t);
            if (from_memory) {
                lb_series_add(&yard->reads, lb_bench_read_gbs(p->w, p->n_tiles * p->tile_bytes, yard->threads));
            }
            lb_series_add(&yard->int8, lb_bench_int8_gops(yard->isa, yard->threads));
        }
    }
    return lb_series_median(&s);
}

/* bytes: lut4 .. lut1 with tables of bytes */
static bool lb_bench_format(const lb_kernels *kernels, const lb_wformat_info *f, bool bytes, lb_bench_yard *yard,
                            lb_bench_report report, void *user)
{
    const unsigned threads = yard->threads;
    static const struct lb_bench_shape {
        size_t n, k, rows; /* rows 0: as many as LB_BENCH_GEMV_BYTES hold */
    } shapes[] = {{1, 2048, 0}, {1, 5632, 0}, {256, 2048, 1024}, {256, 5632, 512}, {8, 2048, 2048}};
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof shapes / sizeof shapes[0]; i++) {
        const size_t n = shapes[i].n, k = shapes[i].k, tile_bytes = f->tile_bytes(k);
        const size_t n_tiles = shapes[i].rows ? shapes[i].rows / LB_TILE_ROWS : LB_BENCH_GEMV_BYTES / tile_bytes;
        const size_t groups = k / LB_GROUP + 1;
        lb_bench_product p = {.fn = bytes    ? kernels->bytes[f->id - LB_W_LUT1]
                                    : n == 1 ? kernels->gemv[f->id]
                                             : kernels->gemm[f->id],
                              .tile_bytes = tile_bytes,
                              .n_tiles = n_tiles,
                              .k = k,
                              .y_stride = n_tiles * LB_TILE_ROWS,
                              .per_call = n >= 8 ? 4 : 65536 / tile_bytes + 1};
        uint8_t *w = lb_bench_alloc(n_tiles * tile_bytes);
        float *x = aligned_alloc(64, n * (k + 64) * sizeof(float)), *scale = aligned_alloc(64, n * groups * 64);
        int8_t *q = aligned_alloc(64, n * (k + 64));
        int32_t *sum = aligned_alloc(64, n * groups * 64), *start = aligned_alloc(64, n * groups * 64);
        const size_t lut_stride = k / LB_GROUP * (bytes ? LB_BYTES_GROUP : LB_LUT_GROUP_BYTES);
        uint8_t *lut = aligned_alloc(64, (bytes ? n : LB_LUT_TOKENS) * lut_stride);
        p.y = aligned_alloc(64, n * p.y_stride * sizeof(float));
        p.scratch = aligned_alloc(64, (size_t)threads * LB_MM_SCRATCH);
        ok = p.fn && w && x && lut && scale && q && sum && start && p.y && p.scratch;
        if (ok) {
            for (size_t t = 0; t < n; t++) {
                for (size_t c = 0; c < k; c++) {
                    x[t * (k + 64) + c] = (float)((int)((t * 31 + c * 17) % 255) - 127) / 64.0f;
                }
                if (bytes) {
                    kernels->byte_tables(x + t * (k + 64), k, lut + t * lut_stride, scale + t * groups, sum + t * groups);
                } else if (f->reads == LB_READS_LUT && t < LB_LUT_TOKENS) {
                    kernels->quantize_a8(x + t * (k + 64), k, q + t * (k + 64), scale + t * groups, sum + t * groups, start + t * groups);
                    kernels->lut_tables(q + t * (k + 64), k, lut + t * lut_stride);
                } else if (f->reads == LB_READS_A8_TOKEN) {
                    kernels->quantize_a8_token(x + t * (k + 64), k, q + t * (k + 64), scale + t, sum + t);
                } else {
                    kernels->quantize_a8(x + t * (k + 64), k, q + t * (k + 64), scale + t * groups, sum + t * groups, start + t * groups);
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
            p.x = (lb_input){n, x, k + 64, q, k + 64, scale, sum, start, groups, q, k + 64, scale, sum, n <= LB_LUT_TOKENS ? lut : NULL,
                             lut_stride, lut, lut_stride, scale, sum, NULL};
            const double s = lb_bench_product_seconds(&p, yard, n == 1);
            ok = s > 0.0;
            lb_bench_result r = {.isa = kernels->isa,
                                 .format = f->name,
                                 .kernel = bytes ? n == 1 ? "gemv-b" : "gemm-b" : n == 1 ? "gemv" : "gemm",
                                 .rows = n_tiles * LB_TILE_ROWS,
                                 .k = k,
                                 .n = n,
                                 .threads = threads,
                                 .seconds = s,
                                 .gbs = (double)(n_tiles * tile_bytes) / s * 1e-9,
                                 .gweights = (double)(n_tiles * LB_TILE_ROWS * k * n) / s * 1e-9};
            const double read_gbs = lb_series_median(&yard->reads), int8_gops = lb_series_median(&yard->int8);
            r.bandwidth_share = read_gbs > 0.0 ? r.gbs / read_gbs : 0.0;
            r.int8_share = int8_gops > 0.0 && f->reads != LB_READS_F32 ? 2.0 * r.gweights / int8_gops : 0.0;
            report(user, &r);
        }
        free(w);
        free(x);
        free(scale);
        free(q);
        free(sum);
        free(start);
        free(lut);
        free(p.y);
        free(p.scratch);
    }
    return ok;
}

bool lb_bench_kernels(const char *isa, const char *format, unsigned threads, lb_bench_report report, void *user)
{
    lb_kernels k;
    if (!lb_bench_threads_ok(threads) || !lb_kernels_get(&k, isa)) {
        return false;
    }
    lb_bench_yard yard = {.threads = threads};
    const char *name;
    for (size_t i = isa ? 0 : 1; (name = lb_isa_level(i, NULL)) != NULL; i++) {
        if ((isa && strcmp(isa, name) != 0) || !lb_kernels_get(&k, name)) {
            continue;
        }
        yard.isa = name;
        const lb_wformat_info *f;
        for (size_t j = 0; (f = lb_wformat_at(j)) != NULL; j++) {
            if ((!format || strcmp(format, f->name) == 0) &&
                !(lb_bench_format(&k, f, false, &yard, report, user) &&
                  (f->reads != LB_READS_LUT || lb_bench_format(&k, f, true, &yard, report, user)))) {
                return false;
            }
        }
    }
    return true;
}
