/* Searching trellis codes: blocks against whole rows, circular streams, what is stored, the same bytes
 * everywhere. */
#include "test_kernels.h"

#include "../formats/pack/lb_tcq.h"
#include "../runtime/base/lb_base.h"

void test_tcq(void);

static const lb_wformat tcq_formats[] = {LB_W_TCQ2, LB_W_TCQ3, LB_W_TCQ4};

/* Nearly Gaussian, of variance 1 and without a mathematics library: the same floats everywhere */
static float tcq_sample(void)
{
    const uint64_t z = lb_test_random();
    const int sum = (int)(z & 0xffff) + (int)(z >> 16 & 0xffff) + (int)(z >> 32 & 0xffff) + (int)(z >> 48);
    return (float)(sum - 131070) * (1.0f / 37837.0f);
}

/* Decides k columns in blocks of n; returns the mean squared error, and the windows. */
static double tcq_in_blocks(lb_wformat format, const float *x, const float *h, size_t k, size_t n,
                            uint8_t *window)
{
    float point[256], ends[128];
    uint8_t state[1][4], begin[4];
    lb_tcq_points(format, point);
    memcpy(ends, x + k - 64, 64 * sizeof(float));
    memcpy(ends + 64, x, 64 * sizeof(float));
    lb_tcq_begin(lb_kernels_for(NULL), format, point, 1, ends, 128, h, state);
    memcpy(begin, state[0], sizeof begin);
    for (size_t c = 0; c < k; c += n) {
        const size_t ahead = k - c - n < LB_TCQ_AHEAD ? k - c - n : LB_TCQ_AHEAD;
        lb_tcq_search(format, point, x + c, h, n, ahead, state[0], c + n + ahead == k ? begin : NULL, window + c);
    }
    LB_CHECK(memcmp(begin, state[0], sizeof begin) == 0, "the last state is the first");
    double error = 0.0;
    for (size_t c = 0; c < k; c++) {
        const double d = (double)x[c] - (double)point[window[c]];
        error += d * d;
    }
    return error / (double)k;
}

static void test_tcq_blocks(lb_wformat format, const lb_wformat_info *f)
{
    lb_test_case("%s: small blocks err hardly more than large ones; tiles hold the windows", f->name);
    const size_t k = 1024;
    const float sigma = lb_tcq_sigma(format);
    float *x = malloc(k * sizeof(float)), *h = malloc(k * sizeof(float)), *out = malloc(k * sizeof(float)),
        point[256];
    uint8_t *window = malloc(k), *tile = lb_test_guard(f->tile_bytes(k), false);
    lb_tcq_points(format, point);
    for (size_t r = 0; r < LB_TILE_ROWS; r += 5) {
        for (size_t c = 0; c < k; c++) {
            x[c] = tcq_sample() * sigma;
            h[c] = 1.0f;
        }
        const double whole = tcq_in_blocks(format, x, h, k, 512, window);
        for (size_t n = 16; n <= 256; n *= 2) {
            const double e = tcq_in_blocks(format, x, h, k, n, window);
            LB_CHECK(fabs(e - whole) < 0.01 * whole, "%s: blocks of %zu: %.5f, of 512: %.5f", f->name, n, e,
                     whole);
        }
        memset(tile, 0, f->tile_bytes(k));
        for (size_t i = 0; i < LB_TILE_ROWS; i++) {
            ((float *)(void *)tile)[i] = 0.5f;
        }
        lb_tcq_store(format, tile, r, 0, 320, window);
        lb_tcq_store(format, tile, r, 320, k - 320, window + 320);
        f->unpack(tile, k, r, out);
        size_t c = 0;
        while (c < k && out[c] == 0.5f * point[window[c]]) {
            c++;
        }
        LB_CHECK(c == k, "%s row %zu column %zu: %g in the tile, %g", f->name, r, c, (double)out[c % k],
                 (double)(0.5f * point[window[c % k]]));
    }
    free(x);
    free(h);
    free(out);
    free(window);
    lb_test_guard_free(tile);
}

/* Several rows at once, at every level: what each row gives alone. Zero weights, free and given ends, odd numbers of rows. */
static void test_tcq_rows(lb_wformat format, const char *name, const lb_kernels *kernels)
{
    enum { ROWS = 7, MOST = 336, STRIDE = 344 };
    static const size_t sizes[][2] = {{16, 64}, {16, 0}, {64, 64}, {256, 80}, {4, 12}, {320, 0}};
    lb_test_case("%s: rows searched side by side, %s", name, kernels->isa);
    const size_t window_bytes = ROWS * MOST;
    float point[256], *x = malloc(ROWS * STRIDE * sizeof(float)), h[MOST];
    uint8_t *one = lb_test_guard(MOST, true), *all = lb_test_guard(window_bytes, true);
    lb_tcq_points(format, point);
    for (size_t trial = 0; trial < 24; trial++) {
        const size_t n = sizes[trial % 6][0], ahead = sizes[trial % 6][1], rows = 1 + trial % ROWS;
        const bool ends = trial % 4 >= 2;
        uint8_t state[ROWS][4], own[ROWS][4], end[ROWS][4], *window = all + window_bytes - rows * n, *alone = one + MOST - n;
        for (size_t i = 0; i < ROWS * STRIDE; i++) {
            x[i] = trial % 5 == 4 ? (float)(int)(lb_test_random() % 3) : tcq_sample() * lb_tcq_sigma(format);
        }
        for (size_t c = 0; c < n + ahead; c++) {
            h[c] = trial % 3 == 0 ? 1.0f : c % 16 > 11 ? 0.0f : (float)(lb_test_random() % 1000) * 0.001f;
        }
        for (size_t r = 0; r < ROWS; r++) {
            for (size_t lane = 0; lane < 4; lane++) {
                state[r][lane] = lb_test_random() % 3 == 0 ? LB_TCQ_ANY : (uint8_t)(lb_test_random() % 16);
                end[r][lane] = (uint8_t)(lb_test_random() % 16);
            }
        }
        memcpy(own, state, sizeof own);
        lb_tcq_search_rows(kernels, format, point, rows, x, STRIDE, h, n, ahead, state, ends ? (const uint8_t(*)[4])end : NULL, window);
        size_t wrong = 0;
        for (size_t r = 0; r < rows; r++) {
            lb_tcq_search(format, point, x + r * STRIDE, h, n, ahead, own[r], ends ? end[r] : NULL, alone);
            wrong += memcmp(alone, window + r * n, n) != 0;
        }
        LB_CHECK(wrong == 0 && memcmp(own, state, sizeof own) == 0, "%s %s trial %zu: %zu of %zu rows differ", name, kernels->isa, trial,
                 wrong, rows);
    }
    free(x);
    lb_test_guard_free(one);
    lb_test_guard_free(all);
}

/* A unit vector as input picks one weight: what a product multiplies is what unpack says. */
static void test_tcq_unpack(const lb_wformat_info *f, const lb_kernels *kernels)
{
    lb_test_case("%s: products multiply what unpack gives", f->name);
    const size_t k = 192, bytes = f->tile_bytes(k);
    uint8_t *tile = lb_test_guard(bytes, false);
    for (size_t i = 0; i < bytes; i++) {
        tile[i] = (uint8_t)lb_test_random();
    }
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        ((float *)(void *)tile)[r] = 1.0f;
    }
    float *rows = malloc(LB_TILE_ROWS * k * sizeof(float)), y[LB_TILE_ROWS], *x = calloc(k, sizeof(float));
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        f->unpack(tile, k, r, rows + r * k);
    }
    int8_t q[192] LB_ALIGNED(64);
    float scale[6];
    int32_t sum[6], start[6];
    size_t wrong = 0;
    for (size_t c = 0; c < k; c++) {
        x[c] = 127.0f; /* its scale is 1 */
        kernels->quantize_a8(x, k, q, scale, sum, start);
        x[c] = 0.0f;
        const lb_input in = {.n = 1, .q = q, .q_stride = k, .scale = scale, .sum = sum, .start = start, .group_stride = 6};
        kernels->gemv[f->id](tile, bytes, 1, k, &in, y, LB_TILE_ROWS, false, NULL);
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            wrong += y[r] != 127.0f * rows[r * k + c];
        }
    }
    LB_CHECK(wrong == 0, "%s: %zu weights differ", f->name, wrong);
    free(x);
    free(rows);
    lb_test_guard_free(tile);
}

/* Bytes of a packed tile, as known from one machine */
static void test_tcq_bytes(void)
{
    static const uint64_t want[3] = {0xf8f799d2994f8b4fu, 0xb8c4b9fba791ba37u, 0x5957ab4704f12030u};
    const size_t k = 1500;
    float *x = malloc(LB_TILE_ROWS * k * sizeof(float)), *h = malloc(k * sizeof(float));
    uint64_t z = 1;
    for (size_t i = 0; i < LB_TILE_ROWS * k; i++) {
        z = z * 6364136223846793005u + 1442695040888963407u;
        const int a = (int)(z >> 48 & 0xfff) + (int)(z >> 36 & 0xfff) + (int)(z >> 24 & 0xfff) - 6142;
        x[i] = (float)a * 0.001f;
        h[i % k] = (float)(i % 7 + 1) * 0.25f;
    }
    for (size_t i = 0; i < 3; i++) {
        const lb_wformat_info *f = lb_wformat_find((uint32_t)tcq_formats[i]);
        lb_test_case("%s: the same bytes from every compiler and CPU", f->name);
        void *tile = lb_test_guard(f->tile_bytes(k), false);
        lb_packer(f->id)(x, k, 16, k, h, tile);
        const uint64_t got = lb_hash64(tile, f->tile_bytes(k));
        LB_CHECK(got == want[i], "%s: hash %016llx", f->name, (unsigned long long)got);
        lb_test_guard_free(tile);
    }
    free(x);
    free(h);
}

static double tcq_gauss(void)
{
    const double u = ((double)(lb_test_random() >> 11) + 0.5) * 0x1p-53, v = (double)(lb_test_random() >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

/* What the formats promise, of whole tiles as they are packed and unpacked. No code of that rate has less than 4^-bits. */
static void test_tcq_error(void)
{
    static const double most_error[3] = {0.082, 0.0225, 0.0064}, most_bits[3] = {2.02, 3.02, 4.02};
    const size_t k = 4096, n = LB_TILE_ROWS * k;
    float *x = malloc(n * sizeof(float)), *out = malloc(k * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)tcq_gauss();
    }
    for (size_t i = 0; i < 3; i++) {
        const lb_wformat_info *f = lb_wformat_find((uint32_t)tcq_formats[i]);
        lb_test_case("%s: squared error of N(0, 1) and bits per weight, 4096 columns", f->name);
        void *tile = lb_test_guard(f->tile_bytes(k), false);
        lb_packer(f->id)(x, k, LB_TILE_ROWS, k, NULL, tile);
        double error = 0.0;
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            f->unpack(tile, k, r, out);
            for (size_t c = 0; c < k; c++) {
                const double d = (double)x[r * k + c] - (double)out[c];
                error += d * d;
            }
        }
        error /= (double)n;
        const double bits = 8.0 * (double)f->tile_bytes(k) / (double)n;
        LB_CHECK(error <= most_error[i] && error > pow(4.0, -2.0 - (double)i), "%s: error %.5f", f->name, error);
        LB_CHECK(bits <= most_bits[i], "%s: %.4f bits", f->name, bits);
        lb_test_guard_free(tile);
    }
    free(x);
    free(out);
}

void test_tcq(void)
{
    test_tcq_error();
    for (size_t i = 0; i < 3; i++) {
        const lb_wformat_info *f = lb_wformat_find((uint32_t)tcq_formats[i]);
        test_tcq_blocks(tcq_formats[i], f);
        bool usable;
        for (size_t level = 0; lb_isa_level(level, &usable); level++) {
            if (usable) {
                test_tcq_rows(tcq_formats[i], f->name, lb_kernels_for(lb_isa_level(level, NULL)));
            }
        }
        test_tcq_unpack(f, lb_kernels_for("scalar"));
        test_tcq_unpack(f, lb_kernels_for(NULL));
    }
    test_tcq_bytes();
}
