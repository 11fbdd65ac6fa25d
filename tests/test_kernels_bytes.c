/* lut4 .. lut1 with tables of bytes: the tables, every level against the reference, and how far they are from exact sums. */
#include "test_kernels.h"

void test_kernels_bytes(void);

static int byte_at(const uint8_t *tables, size_t j, size_t m)
{
    return tables[j % 2 * 64 + j / 2 * 16 + m] - 64;
}

/* The numbers of T-MAC's own test of its constructor, x_i = i, on the scale of 63 */
static void test_published(void)
{
    static const int first[16] = {-3, -3, -2, -2, -1, -1, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3};
    static const int last[16] = {-63, -33, -32, -2, -31, -1, 0, 30, -30, 0, 1, 31, 2, 32, 33, 63};
    float x[64], scale[2];
    int32_t sum[2];
    uint8_t *tables = lb_test_guard(2 * LB_BYTES_GROUP, false);
    for (size_t i = 0; i < 64; i++) {
        x[i] = (float)(i % 32);
    }
    lb_kernels_for("scalar")->byte_tables(x, 33, tables, scale, sum); /* one column of the second group */
    for (size_t m = 0; m < 16; m++) {
        LB_CHECK(byte_at(tables, 0, m) == first[m] && byte_at(tables, 7, m) == last[m], "entry %zu: %d %d", m, byte_at(tables, 0, m),
                 byte_at(tables, 7, m));
        for (size_t j = 0; j < 8; j++) {
            LB_CHECK(byte_at(tables, j, m) == -byte_at(tables, j, 15 - m), "quad %zu entry %zu", j, m);
            LB_CHECK(byte_at(tables + LB_BYTES_GROUP, j, m) == 0, "past the columns: quad %zu entry %zu", j, m);
        }
    }
    LB_CHECK(scale[0] == 118.0f / 63.0f && scale[1] == 0.0f && sum[1] == 0, "%a %a", (double)scale[0], (double)scale[1]);
    LB_CHECK(fabsf(scale[0] * (float)sum[0] - 496.0f) < 8.0f, "sum %d", sum[0]);
    lb_test_guard_free(tables);
}

static void test_tables(const lb_kernels *ref, const lb_kernels *k)
{
    lb_test_case("%s: tables of bytes", k->isa);
    for (size_t columns = 1; columns <= 500; columns += columns < 70 ? 1 : 43) {
        const size_t groups = lb_round_up64(columns) / LB_GROUP, bytes = groups * LB_BYTES_GROUP;
        const bool at_start = columns % 2 == 0;
        float *x = test_floats(columns, at_start, columns % 5 == 0);
        uint8_t *want = lb_test_guard(bytes, false), *got = lb_test_guard(bytes, at_start);
        float *scale = lb_test_guard(groups * sizeof(float), at_start), *want_scale = malloc(groups * sizeof(float));
        int32_t *sum = lb_test_guard(groups * sizeof(int32_t), at_start), *want_sum = malloc(groups * sizeof(int32_t));
        for (size_t i = 0; columns == 64 && i < columns; i++) {
            x[i] = i < 32 ? 1e38f : 1e-32f; /* sums that overflow, and nothing */
        }
        ref->byte_tables(x, columns, want, want_scale, want_sum);
        k->byte_tables(x, columns, got, scale, sum);
        LB_CHECK(memcmp(want, got, bytes) == 0 && test_differ(scale, want_scale, groups) == groups &&
                     memcmp(sum, want_sum, groups * sizeof *sum) == 0, "%zu columns", columns);
        LB_CHECK(columns != 64 || (isnan(want_scale[0]) && want_scale[1] == 0.0f && want[0] == 64), "extremes");
        free(want_sum);
        free(want_scale);
        lb_test_guard_free(sum);
        lb_test_guard_free(scale);
        lb_test_guard_free(got);
        lb_test_guard_free(want);
        lb_test_guard_free(x);
    }
}

/* Random tiles and activations; extreme: all codes and activations at their ends, so that 16-bit sums are at theirs */
static void check_product(const lb_kernels *ref, const lb_kernels *k, size_t bits, size_t columns, size_t n_tiles, size_t n, bool extreme)
{
    const lb_wformat_info *f = lb_wformat_find(LB_W_LUT1 + (uint32_t)bits - 1);
    const size_t tile = f->tile_bytes(columns), groups = columns / LB_GROUP, gs = groups + n % 3;
    const size_t bs = groups * LB_BYTES_GROUP + 64 * (n % 2), ys = n_tiles * LB_TILE_ROWS + n % 2, ny = (n - 1) * ys + n_tiles * LB_TILE_ROWS;
    const bool at_start = n % 2 == 0;
    uint8_t *w = lb_test_guard(n_tiles * tile, at_start), *tables = lb_test_guard((n - 1) * bs + groups * LB_BYTES_GROUP, at_start);
    float *scale = lb_test_guard(((n - 1) * gs + groups) * sizeof(float), at_start), *x = malloc(columns * sizeof(float));
    int32_t *sum = lb_test_guard(((n - 1) * gs + groups) * sizeof(int32_t), at_start);
    float *want = malloc(ny * sizeof(float)), *one = malloc(ny * sizeof(float)), *y = lb_test_guard(ny * sizeof(float), at_start);
    void *scratch = lb_test_guard(LB_MM_SCRATCH, at_start);
    for (size_t i = 0; i < n_tiles * tile; i++) {
        w[i] = extreme && i % tile >= lb_q8_codes_at(columns) ? (uint8_t)(i / 64 / bits % 2 ? 0xff : 0) : (uint8_t)lb_test_random();
    }
    for (size_t i = 0; i < n_tiles * LB_TILE_ROWS; i++) {
        ((float *)(void *)(w + i / LB_TILE_ROWS * tile))[i % LB_TILE_ROWS] = lb_test_gauss();
    }
    for (size_t t = 0; t < n; t++) {
        for (size_t i = 0; i < columns; i++) {
            x[i] = extreme ? (t % 2 ? -1.0f : 1.0f) : test_float(t % 7 == 6);
        }
        ref->byte_tables(x, columns, tables + t * bs, scale + t * gs, sum + t * gs);
    }
    const lb_input in = {.n = n, .bytes = tables, .bytes_stride = bs, .bytes_scale = scale, .bytes_sum = sum, .group_stride = gs};
    for (int add = 0; add < 2; add++) {
        for (size_t i = 0; i < ny; i++) {
            want[i] = one[i] = y[i] = lb_test_gauss();
        }
        memset(scratch, 0xff, LB_MM_SCRATCH);
        ref->bytes[bits - 1](w, tile, n_tiles, columns, &in, want, ys, add, NULL);
        k->bytes[bits - 1](w, tile, n_tiles, columns, &in, y, ys, add, scratch);
        size_t i = test_differ(y, want, ny);
        LB_CHECK(i == ny, "lut%zu k %zu tiles %zu n %zu add %d extreme %d: at token %zu row %zu: %a, reference %a", bits, columns, n_tiles, n,
                 add, extreme, i / ys, i % ys, (double)y[i % ny], (double)want[i % ny]);
        for (size_t t = 0; t < n && t < 3; t++) {
            const lb_input token = {.n = 1, .bytes = tables + t * bs, .bytes_scale = scale + t * gs, .bytes_sum = sum + t * gs};
            k->bytes[bits - 1](w, tile, n_tiles, columns, &token, one + t * ys, ys, add, NULL);
            i = test_differ(one + t * ys, want + t * ys, n_tiles * LB_TILE_ROWS);
            LB_CHECK(i == n_tiles * LB_TILE_ROWS, "lut%zu, one token, k %zu: row %zu", bits, columns, i);
        }
    }
    lb_test_guard_free(scratch);
    lb_test_guard_free(y);
    free(one);
    free(want);
    lb_test_guard_free(sum);
    free(x);
    lb_test_guard_free(scale);
    lb_test_guard_free(tables);
    lb_test_guard_free(w);
}

static void test_products(const lb_kernels *ref, const lb_kernels *k)
{
    for (size_t bits = 1; bits <= 4; bits++) {
        lb_test_case("%s: lut%zu with tables of bytes", k->isa, bits);
        for (size_t i = 0; i < 24; i++) {
            check_product(ref, k, bits, 64 + 64 * test_below(20), 1 + i % 10, i == 23 ? LB_MM_MAX_N : 1 + i, false);
            check_product(ref, k, bits, 64 + 64 * test_below(3), 1 + i % 3, 1 + i % 4, true);
        }
    }
}

/* T-MAC's own bound is 5e-4 of squared error beside the product in float. */
static void test_accuracy(void)
{
    enum { K = 4096, TILES = 8 };
    const lb_kernels *k = lb_kernels_for(NULL);
    float *x = malloc(K * sizeof(float)), *rows = malloc(LB_TILE_ROWS * K * sizeof(float)), *out = malloc(K * sizeof(float));
    for (size_t bits = 1; bits <= 4; bits++) {
        const lb_wformat_info *f = lb_wformat_find(LB_W_LUT1 + (uint32_t)bits - 1);
        uint8_t *tile = lb_test_guard(f->tile_bytes(K), false), *tables = lb_test_guard(K / LB_GROUP * LB_BYTES_GROUP, false);
        float scale[K / LB_GROUP], y[LB_TILE_ROWS];
        int32_t sum[K / LB_GROUP];
        double error = 0.0, all = 0.0;
        for (int sparse = 0; sparse < 2; sparse++) {
            for (size_t i = 0; i < TILES; i++) {
                for (size_t j = 0; j < LB_TILE_ROWS * K; j++) {
                    rows[j] = lb_test_gauss();
                }
                for (size_t j = 0; j < K; j++) { /* mostly zeros, some large, as behind a squared ReLU */
                    x[j] = sparse ? test_below(10) ? 0.0f : 30.0f * lb_test_gauss() : lb_test_gauss();
                }
                lb_packer(f->id)(rows, K, LB_TILE_ROWS, K, NULL, tile);
                k->byte_tables(x, K, tables, scale, sum);
                const lb_input in = {.n = 1, .bytes = tables, .bytes_scale = scale, .bytes_sum = sum};
                k->bytes[bits - 1](tile, f->tile_bytes(K), 1, K, &in, y, LB_TILE_ROWS, false, NULL);
                for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                    double want = 0.0;
                    f->unpack(tile, K, r, out);
                    for (size_t j = 0; j < K; j++) {
                        want += (double)out[j] * (double)x[j];
                    }
                    error += (want - (double)y[r]) * (want - (double)y[r]);
                    all += want * want;
                }
            }
            LB_CHECK(error / all < (sparse ? 2e-4 : 3.5e-4), "lut%zu, sparse %d: %.2e", bits, sparse, error / all);
        }
        lb_test_guard_free(tables);
        lb_test_guard_free(tile);
    }
    free(out);
    free(rows);
    free(x);
}

void test_kernels_bytes(void)
{
    lb_test_case("tables of bytes as published");
    test_published();
    lb_test_case("the error of tables of bytes");
    test_accuracy();
    test_each_level("tables of bytes", test_tables);
    test_each_level("products", test_products);
}
