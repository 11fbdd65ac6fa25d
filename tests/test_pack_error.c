/*
 * What packing costs: normalised squared error of every format without calibration, on normal numbers and on rows of a trained model, beside
 * the best that is published for a type of about as many bits (with a search of the scale; a scale of 16 bits is counted here). The measured
 * figures are in bench/PACK_ERROR.md; bounds here are a little above, and never above the published ones.
 */
#include <stdio.h>

#include "../formats/import/lb_source.h"
#include "test_kernels.h"

void test_pack_error(void);

typedef struct error_case {
    lb_wformat id;
    double gauss, rows;          /* bounds */
    double published, published_bits; /* 0: none for so many bits. Normal numbers. */
} error_case;

static const error_case error_cases[] = {
    {LB_W_Q8, 3.2e-5, 3.6e-5, 0, 0},
    {LB_W_Q6, 0.0004, 0.0004, 0, 0},
    {LB_W_Q5, 0.00154, 0.0016, 0, 0},
    {LB_W_Q4, 0.0057, 0.006, 0.00728, 4.25},    /* NF4 in groups of 64; asymmetric in groups of 32 has 0.00566 with 4.63 bits */
    {LB_W_LUT4, 0.0062, 0.0065, 0.00728, 4.25},
    {LB_W_TCQ4, 0.0064, 0.0064, 0.0095, 4.0},   /* Lloyd-Max */
    {LB_W_Q3, 0.0235, 0.0245, 0.0285, 3.25},    /* BitMoD of four types, groups of 64 */
    {LB_W_LUT3, 0.0235, 0.0245, 0.0285, 3.25},
    {LB_W_TCQ3, 0.0225, 0.0225, 0.0345, 3.0},   /* Lloyd-Max */
    {LB_W_Q2, 0.093, 0.097, 0.110, 2.31},       /* asymmetric, groups of 64 */
    {LB_W_LUT2, 0.093, 0.097, 0.110, 2.31},
    {LB_W_TCQ2, 0.082, 0.082, 0.089, 2.0},      /* E8P; a trellis of long windows has 0.069 */
    {LB_W_TERN, 0.1925, 0.197, 0.188, 1.71},    /* ternary in groups of 128; 0.1902 is the least with one scale, whatever the row */
    {LB_W_LUT1, 0.37, 0.37, 0, 0},
};

/* Normalised squared error of n rows of k numbers; tcq is made for numbers that were rotated: normal ones */
static double error_of(lb_wformat id, const float *x, size_t n, size_t k)
{
    const lb_wformat_info *f = lb_wformat_find((uint32_t)id);
    uint8_t *tile = lb_test_guard(f->tile_bytes(k), false);
    float *out = malloc(k * sizeof(float)), *rotated = malloc(n * k * sizeof(float));
    uint8_t *signs = calloc(1, k / 8);
    double error = 0.0, all = 0.0;
    for (size_t r = 0; r < n; r++) {
        memcpy(rotated + r * k, x + r * k, k * sizeof(float));
        if (f->rotate) {
            lb_kernels_for(NULL)->hadamard(rotated + r * k, x + r * k, signs, k, k & (0 - k));
        }
    }
    for (size_t i = 0; i + LB_TILE_ROWS <= n; i += LB_TILE_ROWS) {
        lb_packer(id)(rotated + i * k, k, LB_TILE_ROWS, k, NULL, tile);
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            f->unpack(tile, k, r, out);
            for (size_t c = 0; c < k; c++) {
                const double want = (double)rotated[(i + r) * k + c], d = (double)out[c] - want;
                error += d * d;
                all += want * want;
            }
        }
    }
    free(signs);
    free(rotated);
    free(out);
    lb_test_guard_free(tile);
    return error / all;
}

static void test_gauss(void)
{
    enum { ROWS = 32, K = 2048 };
    float *x = malloc(ROWS * K * sizeof(float));
    for (size_t i = 0; i < ROWS * K; i++) {
        x[i] = lb_test_gauss();
    }
    for (size_t i = 0; i < sizeof error_cases / sizeof error_cases[0]; i++) {
        const error_case *c = &error_cases[i];
        const lb_wformat_info *f = lb_wformat_find((uint32_t)c->id);
        const double e = error_of(c->id, x, ROWS, K);
        LB_CHECK(e <= c->gauss, "%s on normal numbers: %.6f", f->name, e);
        LB_CHECK(c->published == 0.0 || e <= c->published || f->bits < c->published_bits - 0.1, "%s: %.6f, published %.6f", f->name, e,
                 c->published);
        if (getenv("LB_TEST_PRINT")) {
            printf("| %s | %.4g | %.6f |\n", f->name, f->bits, e);
        }
    }
    free(x);
}

/* 16 rows of every matrix of the layers */
static void test_rows(void)
{
    const char *path = lb_test_shared("models/lab");
    if (!path) {
        lb_test_skip("the lab model is absent");
        return;
    }
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lb_source *source = NULL;
    lbrt_error err = {LBRT_OK, ""};
    if (!LB_CHECK(lb_source_open(path, NULL, &a, &source, &err) == LBRT_OK, "%s", err.text)) {
        return;
    }
    double sum[sizeof error_cases / sizeof error_cases[0]] = {0};
    size_t matrices = 0;
    for (size_t i = 0; i < source->n_tensors; i++) {
        const lb_source_tensor *t = &source->tensors[i];
        if (strncmp(t->name, "layers.", 7) != 0 || t->rows < LB_TILE_ROWS) {
            continue;
        }
        float *x = malloc(LB_TILE_ROWS * t->cols * sizeof(float));
        LB_CHECK(source->read_rows(source, i, t->rows / 2, LB_TILE_ROWS, x, &err) == LBRT_OK, "%s", err.text);
        for (size_t j = 0; j < sizeof sum / sizeof sum[0]; j++) {
            sum[j] += error_of(error_cases[j].id, x, LB_TILE_ROWS, t->cols);
        }
        matrices++;
        free(x);
    }
    source->close(source);
    LB_CHECK(matrices == 35, "%zu matrices", matrices);
    for (size_t j = 0; j < sizeof sum / sizeof sum[0]; j++) {
        const error_case *c = &error_cases[j];
        const lb_wformat_info *f = lb_wformat_find((uint32_t)c->id);
        const double e = sum[j] / (double)matrices;
        LB_CHECK(e <= c->rows, "%s on rows of a model: %.6f", f->name, e);
        if (getenv("LB_TEST_PRINT")) {
            printf("| %s | rows | %.6f |\n", f->name, e);
        }
    }
}

void test_pack_error(void)
{
    lb_test_case("errors of packers: normal numbers");
    test_gauss();
    lb_test_case("errors of packers: rows of the lab model");
    test_rows();
}
