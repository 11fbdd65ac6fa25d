/*
 * From second moments to what feedback needs: rotation, damping, order of the columns, H = R R', and C H^-1. In binary64, and the last,
 * which is most of the work and need not be exact, with products in binary32 (kernels->gemm); each number computed by one thread in a
 * fixed order.
 */
#include <math.h>

#include "lb_factor_parts.h"
#include "lb_moments.h"

typedef double lb_d2 LB_VECTOR(16);

typedef struct factor_job {
    size_t n, at; /* the block of columns being worked on */
    double *h, *c;
    const lb_factor_options *o;
    const lb_moments *m;
    const uint32_t *order;
    lb_factor *f;
    const lb_kernels *k;
    unsigned char *mm; /* LB_MM_SCRATCH bytes per thread */
    double *panel;     /* [n][64]; NULL: not at this level */
    lb_factor_lay_out_fn *lay_out;
    lb_factor_update_fn *update;
} factor_job;

static lb_d2 factor_load(const double *p)
{
    lb_d2 v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The sum of a_l b_l; n is even */
static double factor_dot(const double *a, const double *b, size_t n)
{
    lb_d2 s0 = {0.0, 0.0}, s1 = s0, s2 = s0, s3 = s0;
    size_t l = 0;
    for (; l + 8 <= n; l += 8) {
        s0 += factor_load(a + l) * factor_load(b + l);
        s1 += factor_load(a + l + 2) * factor_load(b + l + 2);
        s2 += factor_load(a + l + 4) * factor_load(b + l + 4);
        s3 += factor_load(a + l + 6) * factor_load(b + l + 6);
    }
    s0 = (s0 + s1) + (s2 + s3);
    double s = s0[0] + s0[1];
    for (; l < n; l++) {
        s += a[l] * b[l];
    }
    return s;
}

/* ---------------------------------------------------------------- the basis */

/* a + b and a - b in place of n numbers, n even */
static void factor_butterfly(double *a, double *b, size_t n)
{
    for (size_t i = 0; i < n; i += 2) {
        const lb_d2 u = factor_load(a + i), v = factor_load(b + i), sum = u + v, difference = u - v;
        memcpy(a + i, &sum, sizeof sum);
        memcpy(b + i, &difference, sizeof difference);
    }
}

static double factor_sign(const uint8_t *signs, size_t i, double unit)
{
    return signs[i / 8] >> (i % 8) & 1 ? -unit : unit;
}

/* Block Hadamard transform of n numbers in a row */
static void factor_hadamard_row(double *x, size_t n, const uint8_t *signs, size_t block)
{
    const double unit = 1.0 / sqrt((double)block);
    for (size_t i = 0; i < n; i++) {
        x[i] *= factor_sign(signs, i, unit);
    }
    for (size_t i = 0; i < n && block > 1; i += 2) {
        const double u = x[i], v = x[i + 1];
        x[i] = u + v;
        x[i + 1] = u - v;
    }
    for (size_t h = 2; h < block; h *= 2) {
        for (size_t i = 0; i < n; i += 2 * h) {
            factor_butterfly(x + i, x + i + h, h);
        }
    }
}

/* The same of 16 columns of n rows, `stride` apart */
static void factor_hadamard_columns(double *x, size_t n, size_t stride, const uint8_t *signs, size_t block)
{
    const double unit = 1.0 / sqrt((double)block);
    for (size_t i = 0; i < n; i++) {
        const double s = factor_sign(signs, i, unit);
        for (size_t w = 0; w < 16; w++) {
            x[i * stride + w] *= s;
        }
    }
    for (size_t h = 1; h < block; h *= 2) {
        for (size_t i = 0; i < n; i++) {
            if (!(i & h)) {
                factor_butterfly(x + i * stride, x + (i + h) * stride, 16);
            }
        }
    }
}

static void factor_rotate_row(void *context, size_t i, unsigned thread)
{
    const factor_job *job = (const factor_job *)context;
    (void)thread;
    factor_hadamard_row(job->h + i * job->n, job->n, job->o->signs, job->o->block);
    if (job->c) {
        factor_hadamard_row(job->c + i * job->n, job->n, job->o->signs, job->o->block);
    }
}

static void factor_rotate_columns(void *context, size_t i, unsigned thread)
{
    const factor_job *job = (const factor_job *)context;
    (void)thread;
    factor_hadamard_columns(job->h + 16 * i, job->n, job->n, job->o->signs, job->o->block);
    if (job->c) {
        factor_hadamard_columns(job->c + 16 * i, job->n, job->n, job->o->signs, job->o->block);
    }
}

/* Row i of the moments, from the half that was summed up, per token */
static void factor_copy_row(void *context, size_t i, unsigned thread)
{
    const factor_job *job = (const factor_job *)context;
    const size_t n = job->n, from = job->order ? job->order[i] : i;
    const double unit = 1.0 / (double)job->m->tokens;
    (void)thread;
    for (size_t j = 0; j < n; j++) {
        const size_t to = job->order ? job->order[j] : j;
        job->h[i * n + j] = job->m->h[from < to ? from * n + to : to * n + from] * unit;
        if (job->c) {
            job->c[i * n + j] = job->m->c[from * n + to] * unit;
        }
    }
}

/* Groups by falling mean of the diagonal, columns within them by falling diagonal; ties as they are */
static void factor_sort(const lb_moments *m, uint32_t *order)
{
    const size_t n = m->n, groups = n / LB_GROUP;
    uint32_t *columns = order;
    for (size_t g = 0; g < groups; g++) {
        double mean = 0.0;
        for (size_t i = 0; i < LB_GROUP; i++) {
            mean += m->h[(g * LB_GROUP + i) * (n + 1)];
        }
        size_t at = g; /* where it goes among those before it; their first columns stand for them */
        for (; at > 0; at--) {
            double other = 0.0;
            const size_t first = columns[(at - 1) * LB_GROUP] / LB_GROUP * LB_GROUP;
            for (size_t i = 0; i < LB_GROUP; i++) {
                other += m->h[(first + i) * (n + 1)];
            }
            if (other >= mean) {
                break;
            }
            memcpy(columns + at * LB_GROUP, columns + (at - 1) * LB_GROUP, LB_GROUP * sizeof *columns);
        }
        for (size_t i = 0; i < LB_GROUP; i++) {
            const uint32_t column = (uint32_t)(g * LB_GROUP + i);
            uint32_t *in = columns + at * LB_GROUP;
            size_t j = i;
            for (; j > 0 && m->h[in[j - 1] * (n + 1)] < m->h[column * (n + 1)]; j--) {
                in[j] = in[j - 1];
            }
            in[j] = column;
        }
    }
}

/* ---------------------------------------------------------------- H = R R' */

/* The block on the diagonal, from its last column on */
static bool factor_diagonal(double *h, size_t n, size_t at)
{
    for (size_t j = at + LB_FACTOR_BLOCK; j-- > at;) {
        const size_t behind = at + LB_FACTOR_BLOCK - (j + 1);
        for (size_t i = j + 1; i-- > at;) {
            double s = h[i * n + j] - factor_dot(h + i * n + j + 1, h + j * n + j + 1, behind);
            if (i == j) {
                if (!(s > 0.0) || s > 1e300) {
                    return false;
                }
                s = sqrt(s);
            } else {
                s /= h[j * n + j];
            }
            h[i * n + j] = s;
        }
    }
    return true;
}

/* Columns at .. at + 63 of 16 rows above them */
static void factor_panel(void *context, size_t item, unsigned thread)
{
    const factor_job *job = (const factor_job *)context;
    const size_t n = job->n, at = job->at;
    (void)thread;
    for (size_t i = 16 * item; i < 16 * item + 16; i++) {
        for (size_t j = at + LB_FACTOR_BLOCK; j-- > at;) {
            const size_t behind = at + LB_FACTOR_BLOCK - (j + 1);
            const double s = job->h[i * n + j] - factor_dot(job->h + i * n + j + 1, job->h + j * n + j + 1, behind);
            job->h[i * n + j] = s / job->h[j * n + j];
        }
    }
}

/* What the block takes from rows 4 i .. 4 i + 3 before it, columns from the row on */
static void factor_update(void *context, size_t item, unsigned thread)
{
    const factor_job *job = (const factor_job *)context;
    const size_t n = job->n, at = job->at, i = 4 * item;
    double *h = job->h;
    (void)thread;
    for (size_t j = i / 2 * 2; j < at; j += 2) {
        lb_d2 s[4][2] = {{{0.0, 0.0}}};
        for (size_t l = at; l < at + LB_FACTOR_BLOCK; l += 2) {
            const lb_d2 b0 = factor_load(h + j * n + l), b1 = factor_load(h + (j + 1) * n + l);
            LB_UNROLL
            for (size_t r = 0; r < 4; r++) {
                const lb_d2 a = factor_load(h + (i + r) * n + l);
                s[r][0] += a * b0;
                s[r][1] += a * b1;
            }
        }
        for (size_t r = 0; r < 4; r++) {
            h[(i + r) * n + j] -= s[r][0][0] + s[r][0][1];
            h[(i + r) * n + j + 1] -= s[r][1][0] + s[r][1][1];
        }
    }
}

static void factor_lay_out_item(void *context, size_t item, unsigned thread)
{
    const factor_job *job = (const factor_job *)context;
    (void)thread;
    job->lay_out(job->h, job->n, job->at, 8 * item, job->panel);
}

static void factor_update_item(void *context, size_t item, unsigned thread)
{
    const factor_job *job = (const factor_job *)context;
    (void)thread;
    job->update(job->h, job->n, job->at, LB_FACTOR_BLOCK * item, job->panel);
}

/* For levels whose vectors hold more than two numbers */
static void factor_choose(factor_job *job)
{
#if defined(__x86_64__)
    if (strncmp(job->k->isa, "avx512", 6) == 0) {
        job->lay_out = lb_factor_lay_out_avx512;
        job->update = lb_factor_update_avx512;
    } else if (strcmp(job->k->isa, "avx2") == 0) {
        job->lay_out = lb_factor_lay_out_avx2;
        job->update = lb_factor_update_avx2;
    }
#else
    (void)job;
#endif
}

static bool factor_decompose(factor_job *job, lb_pool *pool)
{
    for (size_t at = job->n; at > 0;) {
        at -= LB_FACTOR_BLOCK;
        job->at = at;
        if (!factor_diagonal(job->h, job->n, at)) {
            return false;
        }
        lb_pool_run(pool, factor_panel, job, at / 16);
        if (job->panel) {
            lb_pool_run(pool, factor_lay_out_item, job, at / 8);
            lb_pool_run(pool, factor_update_item, job, at / LB_FACTOR_BLOCK);
        } else {
            lb_pool_run(pool, factor_update, job, at / 4);
        }
    }
    return true;
}

/* ---------------------------------------------------------------- results */

static void factor_store_tile(void *context, size_t tile, unsigned thread)
{
    const factor_job *job = (const factor_job *)context;
    const size_t n = job->n;
    (void)thread;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < LB_TILE_ROWS; j++) {
            const size_t column = tile * LB_TILE_ROWS + j;
            job->f->tiles[(tile * n + i) * LB_TILE_ROWS + j] = i <= column ? (float)job->h[i * n + column] : 0.0f;
        }
    }
    for (size_t j = tile * LB_TILE_ROWS; j < (tile + 1) * LB_TILE_ROWS; j++) {
        job->f->diagonal[j] = (float)job->h[j * (n + 1)];
    }
}

/* ---------------------------------------------------------------- D (R R')^-1, D = C - H */

static float factor_at(const factor_job *job, size_t i, size_t j)
{
    return job->f->tiles[(j / LB_TILE_ROWS * job->n + i) * LB_TILE_ROWS + j % LB_TILE_ROWS];
}

/* R' in tiles like R, where the shift will be */
static void factor_turn_tile(void *context, size_t tile, unsigned thread)
{
    const factor_job *job = (const factor_job *)context;
    const size_t n = job->n;
    (void)thread;
    for (size_t l = 0; l < n; l++) {
        for (size_t j = 0; j < LB_TILE_ROWS; j++) {
            const size_t row = tile * LB_TILE_ROWS + j;
            job->f->shift[(tile * n + l) * LB_TILE_ROWS + j] = factor_at(job, row, l);
        }
    }
}

/* Rows 64 i .. 64 i + 63 of D, later of the result, as [64][n] floats where D's numbers were */
static float *factor_rows(const factor_job *job, size_t item)
{
    return (float *)(void *)(job->c + item * LB_FACTOR_BLOCK * job->n);
}

/* What k columns from `from` on, which are known, give in the 64 columns from `at` on; `tiles` are those of R or R' */
static void factor_known(const factor_job *job, unsigned thread, const float *tiles, const float *y, size_t at, size_t from,
                         size_t k, float sum[LB_FACTOR_BLOCK][LB_FACTOR_BLOCK])
{
    const lb_input in = {.n = LB_FACTOR_BLOCK, .f32 = y + from, .f32_stride = job->n};
    memset(sum, 0, LB_FACTOR_BLOCK * sizeof sum[0]);
    if (k > 0) {
        job->k->gemm[LB_W_F32](tiles + (at / LB_TILE_ROWS * job->n + from) * LB_TILE_ROWS, job->n * LB_TILE_ROWS * sizeof(float),
                               LB_FACTOR_BLOCK / LB_TILE_ROWS, k, &in, sum[0], LB_FACTOR_BLOCK, false,
                               job->mm + thread * LB_MM_SCRATCH);
    }
}

/* 64 rows of D become those of D (R R')^-1, 64 columns at a time */
static void factor_solve(void *context, size_t item, unsigned thread)
{
    const factor_job *job = (const factor_job *)context;
    const size_t n = job->n;
    float *y = factor_rows(job, item), sum[LB_FACTOR_BLOCK][LB_FACTOR_BLOCK], r[LB_FACTOR_BLOCK][LB_FACTOR_BLOCK];
    for (size_t i = 0; i < LB_FACTOR_BLOCK * n; i++) { /* in place: from the first on */
        double d;
        memcpy(&d, job->c + item * LB_FACTOR_BLOCK * n + i, sizeof d);
        y[i] = (float)d;
    }
    for (size_t at = n; at > 0;) { /* z R' = y, from the last column on */
        at -= LB_FACTOR_BLOCK;
        factor_known(job, thread, job->f->shift, y, at, at + LB_FACTOR_BLOCK, n - at - LB_FACTOR_BLOCK, sum);
        for (size_t j = 0; j < LB_FACTOR_BLOCK; j++) {
            for (size_t l = j; l < LB_FACTOR_BLOCK; l++) {
                r[l][j] = factor_at(job, at + j, at + l);
            }
        }
        for (size_t t = 0; t < LB_FACTOR_BLOCK; t++) {
            float *z = y + t * n + at;
            for (size_t j = LB_FACTOR_BLOCK; j-- > 0;) {
                const float v = (z[j] - sum[t][j]) / r[j][j];
                z[j] = v;
                for (size_t l = 0; l < j; l++) {
                    sum[t][l] += v * r[j][l];
                }
            }
        }
    }
    for (size_t at = 0; at < n; at += LB_FACTOR_BLOCK) { /* y R = z, from the first */
        factor_known(job, thread, job->f->tiles, y, at, 0, at, sum);
        for (size_t j = 0; j < LB_FACTOR_BLOCK; j++) {
            for (size_t l = j; l < LB_FACTOR_BLOCK; l++) {
                r[j][l] = factor_at(job, at + j, at + l);
            }
        }
        for (size_t t = 0; t < LB_FACTOR_BLOCK; t++) {
            float *z = y + t * n + at;
            for (size_t j = 0; j < LB_FACTOR_BLOCK; j++) {
                const float v = (z[j] - sum[t][j]) / r[j][j];
                z[j] = v;
                for (size_t l = j + 1; l < LB_FACTOR_BLOCK; l++) {
                    sum[t][l] += v * r[j][l];
                }
            }
        }
    }
}

static void factor_store_shift(void *context, size_t tile, unsigned thread)
{
    const factor_job *job = (const factor_job *)context;
    const size_t n = job->n;
    const float unit = (float)job->o->shift;
    (void)thread;
    for (size_t i = 0; i < n; i++) {
        const float *from = factor_rows(job, i / LB_FACTOR_BLOCK) + i % LB_FACTOR_BLOCK * n + tile * LB_TILE_ROWS;
        for (size_t j = 0; j < LB_TILE_ROWS; j++) {
            job->f->shift[(tile * n + i) * LB_TILE_ROWS + j] = unit * from[j];
        }
    }
}

/* ---------------------------------------------------------------- all of it */

static lbrt_status factor_make(factor_job *job, lb_pool *pool, lbrt_error *err)
{
    const size_t n = job->n;
    lb_pool_run(pool, factor_copy_row, job, n);
    if (job->o->signs) {
        lb_pool_run(pool, factor_rotate_row, job, n);
        lb_pool_run(pool, factor_rotate_columns, job, n / 16);
    }
    double mean = 0.0;
    for (size_t i = 0; i < n; i++) {
        mean += job->h[i * (n + 1)] / (double)n;
    }
    LB_FAIL_IF(!(mean < 1e200), err, LBRT_ERR_NUMERIC, "the calibration text makes activations that are not finite");
    const double damping = mean > 0.0 ? job->o->damping * mean : 1.0;
    if (job->c) {
        for (size_t i = 0; i < n * n; i++) {
            job->c[i] -= job->h[i];
        }
    }
    for (size_t i = 0; i < n; i++) {
        job->h[i * (n + 1)] += damping;
    }
    LB_FAIL_IF(!factor_decompose(job, pool), err, LBRT_ERR_NUMERIC, "second moments that are not positive definite");
    lb_pool_run(pool, factor_store_tile, job, n / LB_TILE_ROWS);
    lb_free(&job->f->a, job->h, n * n * sizeof(double)); /* memory is at its highest in what follows */
    job->h = NULL;
    if (job->c) { /* the damping does not count as a difference */
        lb_pool_run(pool, factor_turn_tile, job, n / LB_TILE_ROWS);
        lb_pool_run(pool, factor_solve, job, n / LB_FACTOR_BLOCK);
        lb_pool_run(pool, factor_store_shift, job, n / LB_TILE_ROWS);
    }
    return LBRT_OK;
}

lbrt_status lb_factor_open(lb_factor *f, const lb_moments *m, const lb_factor_options *o, lb_pool *pool, const lbrt_allocator *a,
                           lbrt_error *err)
{
    const size_t n = m->n;
    const bool cross = m->c && o->shift > 0.0;
    *f = (lb_factor){.n = n, .a = *a};
    f->tiles = (float *)lb_alloc(a, n * n * sizeof(float));
    f->shift = cross ? (float *)lb_alloc(a, n * n * sizeof(float)) : NULL;
    f->diagonal = (float *)lb_alloc(a, n * sizeof(float));
    f->order = o->sort ? (uint32_t *)lb_alloc(a, n * sizeof(uint32_t)) : NULL;
    lb_kernels best;
    lb_kernels_get(&best, NULL);
    factor_job job = {.n = n, .o = o, .m = m, .order = f->order, .f = f, .k = o->k ? o->k : &best};
    job.h = (double *)lb_alloc(a, n * n * sizeof(double));
    job.mm = cross ? (unsigned char *)lb_alloc(a, lb_pool_threads(pool) * LB_MM_SCRATCH) : NULL;
    job.c = cross ? (double *)lb_alloc(a, n * n * sizeof(double)) : NULL;
    factor_choose(&job);
    job.panel = job.update ? (double *)lb_alloc(a, n * LB_FACTOR_BLOCK * sizeof(double)) : NULL;
    lbrt_status s = LBRT_OK;
    if (!f->tiles || !f->diagonal || !job.h || (cross && (!f->shift || !job.c || !job.mm)) || (o->sort && !f->order) || (job.update && !job.panel)) {
        s = lb_fail(err, LBRT_ERR_MEMORY, "out of memory for the second moments of %zu columns", n);
    } else if (m->tokens == 0) {
        s = lb_fail(err, LBRT_ERR_ARGUMENT, "second moments of no tokens");
    } else {
        if (o->sort) {
            factor_sort(m, f->order);
        }
        s = factor_make(&job, pool, err);
    }
    lb_free(a, job.h, n * n * sizeof(double));
    lb_free(a, job.c, n * n * sizeof(double));
    lb_free(a, job.panel, n * LB_FACTOR_BLOCK * sizeof(double));
    lb_free(a, job.mm, lb_pool_threads(pool) * LB_MM_SCRATCH);
    if (s != LBRT_OK) {
        lb_factor_close(f);
    }
    return s;
}

void lb_factor_close(lb_factor *f)
{
    const size_t n = f->n;
    if (n) {
        lb_free(&f->a, f->tiles, n * n * sizeof(float));
        lb_free(&f->a, f->shift, n * n * sizeof(float));
        lb_free(&f->a, f->diagonal, n * sizeof(float));
        lb_free(&f->a, f->order, n * sizeof(uint32_t));
    }
    *f = (lb_factor){.n = 0};
}
