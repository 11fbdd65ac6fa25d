/*
 * Second moments. Sums over 512 tokens at a time are matrix products in binary32 (kernels->gemm), which are then added up in
 * binary64. Each number is computed whole by one thread, in an order that depends on nothing: the same bits for any
 * number of threads and at every instruction-set level.
 */
#include "lb_moments.h"

#define LB_MOMENTS_BLOCK 32u /* rows of H in one item */

lbrt_status lb_moments_open(lb_moments *m, size_t cols, bool cross, unsigned n_threads, const lbrt_allocator *a, lbrt_error *err)
{
    const size_t n = lb_round_up(cols, LB_K_ALIGN);
    *m = (lb_moments){.n = n, .n_threads = n_threads, .a = *a};
    m->h = (double *)lb_alloc_zero(a, n * n, sizeof(double));
    m->c = cross ? (double *)lb_alloc_zero(a, n * n, sizeof(double)) : NULL;
    m->x_tiles = (float *)lb_alloc_zero(a, n * LB_MOMENTS_TOKENS, sizeof(float));
    m->x_rows = (float *)lb_alloc_zero(a, n * LB_MOMENTS_TOKENS, sizeof(float));
    m->z_rows = cross ? (float *)lb_alloc_zero(a, n * LB_MOMENTS_TOKENS, sizeof(float)) : NULL;
    m->sums = (float *)lb_alloc(a, n_threads * (LB_MOMENTS_BLOCK * n * sizeof(float) + LB_MM_SCRATCH));
    if (!m->h || !m->x_tiles || !m->x_rows || !m->sums || (cross && (!m->c || !m->z_rows))) {
        lb_moments_close(m);
        return lb_fail(err, LBRT_ERR_MEMORY, "out of memory for the second moments of %zu columns", cols);
    }
    return LBRT_OK;
}

void lb_moments_close(lb_moments *m)
{
    const size_t n = m->n, floats = n * LB_MOMENTS_TOKENS * sizeof(float);
    if (n) {
        lb_free(&m->a, m->h, n * n * sizeof(double));
        lb_free(&m->a, m->c, n * n * sizeof(double));
        lb_free(&m->a, m->x_tiles, floats);
        lb_free(&m->a, m->x_rows, floats);
        lb_free(&m->a, m->z_rows, floats);
        lb_free(&m->a, m->sums, m->n_threads * (LB_MOMENTS_BLOCK * n * sizeof(float) + LB_MM_SCRATCH));
    }
    *m = (lb_moments){.n = 0};
}

typedef struct moments_job {
    lb_moments *m;
    const lb_kernels *k;
    const float *x, *z;
    size_t cols, stride, z_stride, n;
} moments_job;

/* 16 columns of all tokens: as a tile and as rows */
static void moments_lay_out(void *context, size_t tile, unsigned thread)
{
    const moments_job *job = (const moments_job *)context;
    lb_moments *m = job->m;
    const size_t first = tile * LB_TILE_ROWS, n = job->cols <= first ? 0 : lb_min(job->cols - first, LB_TILE_ROWS);
    float *to = m->x_tiles + first * LB_MOMENTS_TOKENS;
    (void)thread;
    for (size_t t = 0; t < job->n; t++) {
        for (size_t i = 0; i < n; i++) {
            const float x = job->x[t * job->stride + first + i];
            to[t * LB_TILE_ROWS + i] = x;
            m->x_rows[(first + i) * LB_MOMENTS_TOKENS + t] = x;
            if (m->c) {
                m->z_rows[(first + i) * LB_MOMENTS_TOKENS + t] = job->z[t * job->z_stride + first + i];
            }
        }
    }
}

/* Rows of `left` times the tiles from the first on: added to `sum` */
static void moments_product(const moments_job *job, const float *left, size_t row, size_t first_tile, float *y, double *sum)
{
    const lb_moments *m = job->m;
    const size_t n_tiles = m->n / LB_TILE_ROWS - first_tile, tile_floats = LB_MOMENTS_TOKENS * LB_TILE_ROWS;
    const lb_input in = {.n = LB_MOMENTS_BLOCK, .f32 = left + row * LB_MOMENTS_TOKENS, .f32_stride = LB_MOMENTS_TOKENS};
    job->k->gemm[LB_W_F32](m->x_tiles + first_tile * tile_floats, tile_floats * sizeof(float), n_tiles, job->n, &in, y, m->n,
                           false, y + LB_MOMENTS_BLOCK * m->n);
    for (size_t i = 0; i < LB_MOMENTS_BLOCK; i++) {
        double *to = sum + (row + i) * m->n + first_tile * LB_TILE_ROWS;
        for (size_t j = 0; j < n_tiles * LB_TILE_ROWS; j++) {
            to[j] += (double)y[i * m->n + j];
        }
    }
}

static void moments_rows(void *context, size_t item, unsigned thread)
{
    const moments_job *job = (const moments_job *)context;
    lb_moments *m = job->m;
    float *y = m->sums + (size_t)thread * (LB_MOMENTS_BLOCK * m->n + LB_MM_SCRATCH / sizeof(float));
    const size_t row = item * LB_MOMENTS_BLOCK;
    moments_product(job, m->x_rows, row, row / LB_TILE_ROWS, y, m->h);
    if (m->c) {
        moments_product(job, m->z_rows, row, 0, y, m->c);
    }
}

void lb_moments_add(lb_moments *m, lb_pool *pool, const lb_kernels *k, size_t cols, const float *x, const float *z, size_t stride,
                    size_t z_stride, size_t n)
{
    moments_job job = {m, k, x, z, cols, stride, z_stride, n};
    LB_ASSERT(n <= LB_MOMENTS_TOKENS && cols <= m->n && lb_pool_threads(pool) <= m->n_threads);
    lb_pool_run(pool, moments_lay_out, &job, m->n / LB_TILE_ROWS);
    lb_pool_run(pool, moments_rows, &job, m->n / LB_MOMENTS_BLOCK);
    m->tokens += n;
}
