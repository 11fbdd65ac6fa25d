#include "lb_lowrank.h"

#include <math.h>

#include "lb_pack.h"

enum { LOWRANK_TURNS = 6, LOWRANK_POWERS = 2, LOWRANK_BLOCK = 64 };

static size_t lowrank_tile_bytes(const lb_lowrank *l)
{
    return (l->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS * l->format->tile_bytes(l->cols);
}

lbrt_status lb_lowrank_begin(lb_lowrank *l, lbrt_error *err)
{
    const size_t all = l->rows * l->cols;
    l->w = (float *)lb_alloc(&l->allocator, all * sizeof(float));
    l->rest = (float *)lb_alloc(&l->allocator, all * sizeof(float));
    l->tiles = (unsigned char *)lb_alloc(&l->allocator, lowrank_tile_bytes(l));
    l->next_tiles = (unsigned char *)lb_alloc(&l->allocator, lowrank_tile_bytes(l));
    l->a = (float *)lb_alloc_zero(&l->allocator, l->rows * l->rank, sizeof(float));
    l->b = (float *)lb_alloc_zero(&l->allocator, l->cols * l->rank, sizeof(float));
    l->next_a = (float *)lb_alloc_zero(&l->allocator, l->rows * l->rank, sizeof(float));
    l->next_b = (float *)lb_alloc_zero(&l->allocator, l->cols * l->rank, sizeof(float));
    l->thread_rows = (float *)lb_alloc(&l->allocator, l->threads * 17 * l->cols * sizeof(float));
    if (!l->w || !l->rest || !l->tiles || !l->next_tiles || !l->a || !l->b || !l->next_a || !l->next_b || !l->thread_rows) {
        lb_lowrank_end(l);
        return lb_fail(err, LBRT_ERR_MEMORY, "out of memory");
    }
    return LBRT_OK;
}

void lb_lowrank_end(lb_lowrank *l)
{
    const size_t all = l->rows * l->cols * sizeof(float), a = l->rows * l->rank * sizeof(float), b = l->cols * l->rank * sizeof(float);
    lb_free(&l->allocator, l->w, all);
    lb_free(&l->allocator, l->rest, all);
    lb_free(&l->allocator, l->tiles, lowrank_tile_bytes(l));
    lb_free(&l->allocator, l->next_tiles, lowrank_tile_bytes(l));
    lb_free(&l->allocator, l->a, a);
    lb_free(&l->allocator, l->b, b);
    lb_free(&l->allocator, l->next_a, a);
    lb_free(&l->allocator, l->next_b, b);
    lb_free(&l->allocator, l->thread_rows, l->threads * 17 * l->cols * sizeof(float));
}

/* Tile i: pack W - A B (next_a, next_b), then rest = W - Q */
static void lowrank_pack(void *context, size_t i, unsigned thread)
{
    lb_lowrank *l = (lb_lowrank *)context;
    const size_t row = i * LB_TILE_ROWS, n = lb_min(LB_TILE_ROWS, l->rows - row), tile_bytes = l->format->tile_bytes(l->cols);
    float *x = l->thread_rows + thread * 17 * l->cols, *q = x + LB_TILE_ROWS * l->cols;
    for (size_t r = 0; r < n; r++) {
        const float *a = l->next_a + (row + r) * l->rank;
        for (size_t c = 0; c < l->cols; c++) {
            const float *b = l->next_b + c * l->rank;
            float sum = 0.0f;
            for (size_t k = 0; k < l->rank; k++) {
                sum += a[k] * b[k];
            }
            x[r * l->cols + c] = l->w[(row + r) * l->cols + c] - sum;
        }
    }
    lb_packer(l->format->id)(x, l->cols, n, l->cols, NULL, l->next_tiles + i * tile_bytes);
    for (size_t r = 0; r < n; r++) {
        l->format->unpack(l->next_tiles + i * tile_bytes, l->cols, r, q);
        for (size_t c = 0; c < l->cols; c++) {
            l->rest[(row + r) * l->cols + c] = l->w[(row + r) * l->cols + c] - q[c];
        }
    }
}

/* Row of next_a = row of rest x next_b */
static void lowrank_times_b(void *context, size_t row, unsigned thread)
{
    lb_lowrank *l = (lb_lowrank *)context;
    float *a = l->next_a + row * l->rank;
    (void)thread;
    memset(a, 0, l->rank * sizeof *a);
    for (size_t c = 0; c < l->cols; c++) {
        const float x = l->rest[row * l->cols + c], *b = l->next_b + c * l->rank;
        for (size_t k = 0; k < l->rank; k++) {
            a[k] += x * b[k];
        }
    }
}

/* A block of columns: next_b = rest' x next_a */
static void lowrank_times_a(void *context, size_t block, unsigned thread)
{
    lb_lowrank *l = (lb_lowrank *)context;
    const size_t first = block * LOWRANK_BLOCK, end = lb_min(l->cols, first + LOWRANK_BLOCK);
    (void)thread;
    memset(l->next_b + first * l->rank, 0, (end - first) * l->rank * sizeof(float));
    for (size_t row = 0; row < l->rows; row++) {
        const float *a = l->next_a + row * l->rank;
        for (size_t c = first; c < end; c++) {
            const float x = l->rest[row * l->cols + c];
            float *b = l->next_b + c * l->rank;
            for (size_t k = 0; k < l->rank; k++) {
                b[k] += x * a[k];
            }
        }
    }
}

/* Modified Gram-Schmidt, twice; a column that is spanned by those before becomes zero */
static void lowrank_orthonormal(float *m, size_t n, size_t rank)
{
    for (size_t k = 0; k < rank; k++) {
        double before = 0.0, after = 0.0;
        for (size_t i = 0; i < n; i++) {
            before += (double)m[i * rank + k] * (double)m[i * rank + k];
        }
        for (size_t j = 0; j < 2 * k; j++) {
            double dot = 0.0;
            for (size_t i = 0; i < n; i++) {
                dot += (double)m[i * rank + k] * (double)m[i * rank + j % k];
            }
            for (size_t i = 0; i < n; i++) {
                m[i * rank + k] -= (float)dot * m[i * rank + j % k];
            }
        }
        for (size_t i = 0; i < n; i++) {
            after += (double)m[i * rank + k] * (double)m[i * rank + k];
        }
        const float inverse = after > 1e-10 * before ? (float)(1.0 / sqrt(after)) : 0.0f;
        for (size_t i = 0; i < n; i++) {
            m[i * rank + k] *= inverse;
        }
    }
}

/* next_a, next_b: the leading subspace of rest, by powers of a random one */
static void lowrank_leading(lb_lowrank *l)
{
    uint64_t z = 1;
    for (size_t i = 0; i < l->cols * l->rank; i++) { /* uniform is as good as Gaussian */
        z = z * 6364136223846793005ull + 1442695040888963407ull;
        l->next_b[i] = (float)(int32_t)(z >> 32) * 0x1p-31f;
    }
    const size_t blocks = (l->cols + LOWRANK_BLOCK - 1) / LOWRANK_BLOCK;
    for (int i = 0; i <= LOWRANK_POWERS; i++) {
        lb_pool_run(l->pool, lowrank_times_b, l, l->rows);
        lowrank_orthonormal(l->next_a, l->rows, l->rank);
        lb_pool_run(l->pool, lowrank_times_a, l, blocks);
        if (i < LOWRANK_POWERS) {
            lowrank_orthonormal(l->next_b, l->cols, l->rank);
        }
    }
}

static double lowrank_square(const float *x, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sum;
}

void lb_lowrank_fit(lb_lowrank *l)
{
    const double all = lowrank_square(l->w, l->rows * l->cols);
    const size_t n_tiles = (l->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS;
    memcpy(l->rest, l->w, l->rows * l->cols * sizeof(float)); /* at first Q = 0 */
    lowrank_leading(l);
    for (int turn = 0; turn < LOWRANK_TURNS; turn++) {
        lb_pool_run(l->pool, lowrank_pack, l, n_tiles);
        lowrank_leading(l);
        /* The columns of A are orthonormal: |rest - A B|^2 = |rest|^2 - |B|^2. */
        const double left = lowrank_square(l->rest, l->rows * l->cols) - lowrank_square(l->next_b, l->cols * l->rank);
        const double error = all > 0.0 ? (left > 0.0 ? left : 0.0) / all : 0.0;
        if (turn > 0 && error >= 0.999 * l->error) {
            break;
        }
        l->error = error;
        memcpy(l->tiles, l->next_tiles, lowrank_tile_bytes(l));
        memcpy(l->a, l->next_a, l->rows * l->rank * sizeof(float));
        memcpy(l->b, l->next_b, l->cols * l->rank * sizeof(float));
    }
}
