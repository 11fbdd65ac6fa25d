/*
 * Second moments, their factor, and packing with error feedback, each against a plain implementation of the textbook in double
 * precision; the same bits for any number of threads and at every level.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/pack/lb_feedback.h"
#include "../formats/pack/lb_pack.h"
#include "../kernels/lb_bits.h"
#include "level_kernels.h"
#include "lb_test.h"

void test_feedback(void);

enum { FB_K = 192, FB_ROWS = 40, FB_TOKENS = 700 };

typedef struct fb_data {
    lb_pool *pool;
    size_t pool_bytes;
    lb_moments moments;
    float *x, *z; /* [FB_TOKENS][cols] */
    size_t cols;
} fb_data;

/* Inputs whose columns depend on each other and differ in size; z differs from x as a model does from its packed copy */
static void fb_open(fb_data *d, unsigned threads, size_t cols, const lb_kernels *k, uint64_t seed)
{
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    *d = (fb_data){.pool_bytes = lb_pool_bytes(threads), .cols = cols};
    d->pool = lb_alloc(&a, d->pool_bytes);
    LB_CHECK(lb_pool_start(d->pool, threads, NULL) == LBRT_OK, "threads");
    d->x = malloc(FB_TOKENS * cols * sizeof(float));
    d->z = malloc(FB_TOKENS * cols * sizeof(float));
    for (size_t t = 0; t < FB_TOKENS; t++) {
        float before = 0.0f;
        for (size_t c = 0; c < cols; c++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            const float noise = (float)((int)(seed >> 40) - (1 << 23)) * (1.0f / (1 << 22));
            before = 0.8f * before + noise;
            d->x[t * cols + c] = before * (0.2f + (float)(c % 7) * (c == 50 ? 8.0f : 0.5f));
            d->z[t * cols + c] = d->x[t * cols + c] * 1.05f + 0.1f * noise;
        }
    }
    LB_CHECK(lb_moments_open(&d->moments, cols, true, threads, &a, NULL) == LBRT_OK, "moments");
    for (size_t t = 0; t < FB_TOKENS; t += 300) {
        const size_t n = lb_min(300, FB_TOKENS - t);
        lb_moments_add(&d->moments, d->pool, k, cols, d->x + t * cols, d->z + t * cols, cols, cols, n);
    }
}

static void fb_close(fb_data *d)
{
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lb_moments_close(&d->moments);
    lb_pool_stop(d->pool);
    lb_free(&a, d->pool, d->pool_bytes);
    free(d->x);
    free(d->z);
}

/* E[u v'] of columns filled up with zeros to n */
static double *fb_moments(const fb_data *d, const float *u, const float *v, size_t n)
{
    double *h = calloc(n * n, sizeof(double));
    for (size_t t = 0; t < FB_TOKENS; t++) {
        for (size_t i = 0; i < d->cols; i++) {
            for (size_t j = 0; j < d->cols; j++) {
                h[i * n + j] += (double)u[t * d->cols + i] * (double)v[t * d->cols + j] / FB_TOKENS;
            }
        }
    }
    return h;
}

/* P A P' for the orthogonal P [n][n] */
static double *fb_turn(const double *p, const double *a, size_t n)
{
    double *b = calloc(n * n, sizeof(double)), *c = calloc(n * n, sizeof(double));
    for (size_t i = 0; i < n; i++) {
        for (size_t l = 0; l < n; l++) {
            for (size_t j = 0; j < n && p[i * n + l] != 0.0; j++) {
                b[i * n + j] += p[i * n + l] * a[l * n + j];
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t l = 0; l < n; l++) {
            for (size_t j = 0; j < n; j++) {
                c[i * n + j] += b[i * n + l] * p[j * n + l];
            }
        }
    }
    free(b);
    return c;
}

static double fb_at(const float *tiles, size_t n, size_t i, size_t j)
{
    return (double)tiles[(j / 16 * n + i) * 16 + j % 16];
}

/* R R' = P (H + damping) P', M P (H + damping) P' = P (C - H) P'; P: rotation or order */
static void fb_check_factor(const fb_data *d, const lb_factor *f, const double *p, double damping, double shift)
{
    const size_t n = f->n;
    double *plain = fb_moments(d, d->x, d->x, n), *cross = fb_moments(d, d->z, d->x, n), mean = 0.0, worst = 0.0, off = 0.0;
    double *h = fb_turn(p, plain, n), *c = fb_turn(p, cross, n);
    for (size_t i = 0; i < n; i++) {
        mean += h[i * (n + 1)] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            double rr = 0.0, mh = 0.0;
            for (size_t l = 0; l < n; l++) {
                rr += fb_at(f->tiles, n, i, l) * fb_at(f->tiles, n, j, l);
                mh += fb_at(f->shift, n, i, l) * (h[l * n + j] + (l == j ? damping * mean : 0.0));
            }
            const double want = h[i * n + j] + (i == j ? damping * mean : 0.0);
            worst = fmax(worst, fabs(rr - want) / mean);
            off = fmax(off, fabs(mh - shift * (c[i * n + j] - h[i * n + j])) / mean);
            LB_CHECK(i <= j || fb_at(f->tiles, n, i, j) == 0.0, "R is upper triangular");
        }
        LB_CHECK((double)f->diagonal[i] == fb_at(f->tiles, n, i, i), "the diagonal");
    }
    LB_CHECK(worst < 2e-5, "R R' is off by %g of the mean", worst);
    LB_CHECK(off < 2e-4, "M H is off by %g of the mean", off);
    free(plain);
    free(cross);
    free(h);
    free(c);
}

static void fb_test_factor(void)
{
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    fb_data d;
    uint8_t signs[FB_K / 8];
    for (size_t i = 0; i < sizeof signs; i++) {
        signs[i] = (uint8_t)(37 * i + 11);
    }
    fb_open(&d, 2, 150, lb_kernels_for(NULL), 5); /* columns past the true ones: filled up to 192 */
    for (int way = 0; way < 3; way++) {
        lb_test_case("factor of second moments, %s", way == 0 ? "as they are" : way == 1 ? "rotated" : "sorted");
        const lb_factor_options o = {.signs = way == 1 ? signs : NULL, .block = 64, .sort = way == 2, .damping = 0.02, .shift = 0.7};
        lb_factor f;
        double *p = calloc(FB_K * FB_K, sizeof(double));
        if (!LB_CHECK(lb_factor_open(&f, &d.moments, &o, d.pool, &a, NULL) == LBRT_OK, "no factor")) {
            continue;
        }
        uint8_t seen[FB_K] = {0};
        for (size_t i = 0; i < FB_K; i++) {
            for (size_t j = i / 64 * 64; way == 1 && j < i / 64 * 64 + 64; j++) {
                const int sign = (__builtin_popcountll(i % 64 & j % 64) & 1) ^ (signs[j / 8] >> (j % 8) & 1);
                p[i * FB_K + j] = sign ? -0.125 : 0.125;
            }
            const size_t from = way == 2 ? f.order[i] : i;
            if (way != 1) {
                p[i * FB_K + from] = 1.0;
            }
            LB_CHECK(way != 2 || (!seen[from]++ && from / 32 == f.order[i / 32 * 32] / 32), "an order that keeps groups together");
            LB_CHECK(way != 2 || i % 32 == 0 || d.moments.h[f.order[i - 1] * (FB_K + 1)] >= d.moments.h[from * (FB_K + 1)],
                     "columns of a group by falling moments");
        }
        fb_check_factor(&d, &f, p, 0.02, 0.7);
        free(p);
        lb_factor_close(&f);
    }
    fb_close(&d);
}

/* ---------------------------------------------------------------- packing */

static void fb_weights(float *w, size_t rows, size_t k)
{
    for (size_t i = 0; i < rows * k; i++) {
        w[i] = lb_test_gauss() * 0.1f;
    }
    w[k + 3] = NAN; /* packed as 0 */
}

static double fb_finite(float x)
{
    return isfinite(x) ? (double)x : 0.0;
}

/* (w - q) H (w - q)' */
static double fb_loss(const float *w, const double *q, const double *h, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            sum += (fb_finite(w[i]) - q[i]) * h[i * n + j] * (fb_finite(w[j]) - q[j]);
        }
    }
    return sum;
}

/* Gauss-Jordan */
static double *fb_inverse(const double *h, size_t n)
{
    double *a = malloc(n * n * sizeof(double)), *b = calloc(n * n, sizeof(double));
    memcpy(a, h, n * n * sizeof(double));
    for (size_t i = 0; i < n; i++) {
        b[i * (n + 1)] = 1.0;
    }
    for (size_t c = 0; c < n; c++) {
        const double pivot = a[c * (n + 1)];
        for (size_t j = 0; j < n; j++) {
            a[c * n + j] /= pivot;
            b[c * n + j] /= pivot;
        }
        for (size_t i = 0; i < n; i++) {
            const double m = a[i * n + c];
            for (size_t j = 0; j < n && i != c && m != 0.0; j++) {
                a[i * n + j] -= m * a[c * n + j];
                b[i * n + j] -= m * b[c * n + j];
            }
        }
    }
    free(a);
    return b;
}

/*
 * GPTQ as its paper has it: after a column is rounded, what remains is changed by the inverse of H, and the column leaves H. Which
 * weights a group can have is read from the packed tile: least and greatest, and 2^bits - 1 steps between them.
 */
static void fb_gptq(const lb_wformat_info *f, const uint8_t *tile, size_t r, const float *row, const double *h_inverse, size_t n,
                    double *out)
{
    const size_t bytes = f->tile_bytes(n);
    const size_t codes = f->id == LB_W_Q8 ? lb_q8_codes_at(n) : f->id == LB_W_Q4 ? lb_q4_codes_at(n) : lb_bits_codes_at(n);
    const double steps = f->id == LB_W_Q8 ? 255.0 : (double)(1 << (int)f->bits) - 1.0;
    uint8_t *copy = lb_test_guard(bytes, false);
    float *least = malloc(n * sizeof(float)), *most = malloc(n * sizeof(float));
    memcpy(copy, tile, bytes);
    memset(copy + codes, 0, bytes - codes);
    f->unpack(copy, n, r, least);
    memset(copy + codes, 0xff, bytes - codes);
    f->unpack(copy, n, r, most);
    double *w = malloc(n * sizeof(double)), *inverse = malloc(n * n * sizeof(double));
    memcpy(inverse, h_inverse, n * n * sizeof(double));
    for (size_t i = 0; i < n; i++) {
        w[i] = fb_finite(row[i]);
    }
    for (size_t c = 0; c < n; c++) {
        const double step = ((double)most[c] - (double)least[c]) / steps;
        double q = rint((w[c] - (double)least[c]) / step);
        q = q < (f->id == LB_W_Q8 ? 1.0 : 0.0) ? (f->id == LB_W_Q8 ? 1.0 : 0.0) : q > steps ? steps : q;
        out[c] = (double)least[c] + q * step;
        const double e = (w[c] - out[c]) / inverse[c * (n + 1)];
        for (size_t j = c; j < n; j++) {
            w[j] -= e * inverse[c * n + j];
        }
        for (size_t i = c + 1; i < n; i++) {
            const double m = inverse[i * n + c] / inverse[c * (n + 1)];
            for (size_t j = c + 1; j < n; j++) {
                inverse[i * n + j] -= m * inverse[c * n + j];
            }
        }
    }
    free(w);
    free(inverse);
    free(least);
    free(most);
    lb_test_guard_free(copy);
}

static void fb_test_format(const lb_wformat_info *f)
{
    lb_test_case("%s with feedback: as GPTQ has it, and less wrong than without", f->name);
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    const lb_kernels *k = lb_kernels_for(NULL);
    const size_t n = FB_K, tile_bytes = f->tile_bytes(n), tiles_bytes = (FB_ROWS + 15) / 16 * tile_bytes;
    const bool uniform = !f->rotate;
    fb_data d;
    lb_factor factor;
    fb_open(&d, 2, n, k, 9);
    const lb_factor_options o = {.damping = 0.01};
    if (!LB_CHECK(lb_factor_open(&factor, &d.moments, &o, d.pool, &a, NULL) == LBRT_OK, "no factor")) {
        return;
    }
    double *h = fb_moments(&d, d.x, d.x, n), mean = 0.0;
    for (size_t i = 0; i < n; i++) {
        mean += h[i * (n + 1)] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        h[i * (n + 1)] += 0.01 * mean;
    }
    double *inverse = fb_inverse(h, n);
    float *w = malloc(FB_ROWS * n * sizeof(float)), *row = malloc(n * sizeof(float));
    double *want = malloc(n * sizeof(double)), *got = malloc(n * sizeof(double));
    uint8_t *tiles = lb_test_guard(tiles_bytes, false), *scratch = lb_test_guard(lb_feedback_bytes(n), false);
    uint8_t *plain = lb_test_guard(tile_bytes, false);
    lb_feedback_error error = {0};
    fb_weights(w, FB_ROWS, n);
    lb_feedback_pack(f, &factor, k, w, n, FB_ROWS, tiles, scratch, &error);
    double loss = 0.0, textbook = 0.0, without = 0.0;
    size_t differ = 0;
    for (size_t r = 0; r < FB_ROWS; r++) {
        if (r % 16 == 0) {
            lb_packer(f->id)(w + r * n, n, lb_min(16, FB_ROWS - r), n, NULL, plain);
        }
        f->unpack(tiles + r / 16 * tile_bytes, n, r % 16, row);
        for (size_t i = 0; i < n; i++) {
            got[i] = (double)row[i];
        }
        loss += fb_loss(w + r * n, got, h, n);
        if (uniform) {
            fb_gptq(f, tiles + r / 16 * tile_bytes, r % 16, w + r * n, inverse, n, want);
            textbook += fb_loss(w + r * n, want, h, n);
            for (size_t i = 0; i < n; i++) {
                differ += fabs(got[i] - want[i]) > 1e-4 * fabs(want[i]) + 1e-6;
            }
        }
        f->unpack(plain, n, r % 16, row);
        for (size_t i = 0; i < n; i++) {
            got[i] = (double)row[i];
        }
        without += fb_loss(w + r * n, got, h, n);
    }
    LB_CHECK(fabs(loss - error.error) < 1e-3 * loss, "%s: the error is %g, reported %g", f->name, loss, error.error);
    LB_CHECK(loss < 0.8 * without, "%s: %g with feedback, %g without", f->name, loss, without);
    /* Rounding decides otherwise now and then, and what follows in that row with it. */
    LB_CHECK(!uniform || differ < FB_ROWS * n / 20, "%s: %zu of %d weights differ from GPTQ's", f->name, differ, FB_ROWS * FB_K);
    LB_CHECK(!uniform || fabs(loss - textbook) < 0.01 * textbook, "%s: error %g, GPTQ's %g", f->name, loss, textbook);
    free(w);
    free(row);
    free(want);
    free(got);
    free(h);
    free(inverse);
    lb_test_guard_free(tiles);
    lb_test_guard_free(scratch);
    lb_test_guard_free(plain);
    lb_factor_close(&factor);
    fb_close(&d);
}

/* What is packed when columns come in order of size, and when the target is moved */
static void fb_test_target(void)
{
    lb_test_case("with another input's moments the packed rows follow the original's outputs");
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    const lb_kernels *k = lb_kernels_for(NULL);
    const lb_wformat_info *f = lb_wformat_named("q6");
    const size_t n = FB_K, tile_bytes = f->tile_bytes(n);
    fb_data d;
    double sums[4];
    float *w = malloc(16 * n * sizeof(float)), *row = malloc(n * sizeof(float));
    uint8_t *tile = lb_test_guard(tile_bytes, false), *scratch = lb_test_guard(lb_feedback_bytes(n), false);
    fb_open(&d, 2, n, k, 13);
    fb_weights(w, 16, n);
    for (int way = 0; way < 4; way++) {
        const lb_factor_options o = {.damping = 0.001, .shift = way & 1 ? 1.0 : 0.0, .sort = way & 2};
        lb_factor factor;
        lb_feedback_error error = {0};
        if (!LB_CHECK(lb_factor_open(&factor, &d.moments, &o, d.pool, &a, NULL) == LBRT_OK, "no factor")) {
            return;
        }
        lb_feedback_pack(f, &factor, k, w, n, 16, tile, scratch, &error);
        sums[way] = 0.0;
        for (size_t r = 0; r < 16; r++) {
            f->unpack(tile, n, r, row);
            for (size_t t = 0; t < FB_TOKENS; t++) {
                double off = 0.0;
                for (size_t i = 0; i < n; i++) {
                    off += fb_finite(w[r * n + i]) * (double)d.z[t * n + i] - (double)row[i] * (double)d.x[t * n + i];
                }
                sums[way] += off * off;
            }
        }
        lb_factor_close(&factor);
    }
    LB_CHECK(sums[1] < 0.2 * sums[0] && sums[3] < 0.2 * sums[2], "errors %g %g, sorted %g %g", sums[0], sums[1], sums[2], sums[3]);
    free(w);
    free(row);
    lb_test_guard_free(tile);
    lb_test_guard_free(scratch);
    fb_close(&d);
}

static uint64_t fb_bytes_of(const lb_wformat_info *f, unsigned threads, const lb_kernels *k)
{
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    const lb_factor_options o = {.damping = 0.01, .shift = 1.0, .sort = !f->rotate, .k = k};
    const size_t n = FB_K, bytes = (FB_ROWS + 15) / 16 * f->tile_bytes(n);
    fb_data d;
    lb_factor factor;
    lb_feedback_error error = {0};
    float *w = malloc(FB_ROWS * n * sizeof(float));
    for (size_t i = 0; i < FB_ROWS * n; i++) {
        w[i] = (float)((int)(i * 2654435761u >> 12 & 0xfff) - 2048) * 0.001f;
    }
    fb_open(&d, threads, n, k, 21);
    LB_CHECK(lb_factor_open(&factor, &d.moments, &o, d.pool, &a, NULL) == LBRT_OK, "no factor");
    uint8_t *tiles = lb_test_guard(bytes, false), *scratch = lb_test_guard(lb_feedback_bytes(n), false);
    lb_feedback_pack(f, &factor, k, w, n, FB_ROWS, tiles, scratch, &error);
    const uint64_t hash = lb_hash64(tiles, bytes) ^ lb_hash64(&error, sizeof error) ^ lb_hash64(factor.tiles, n * n * sizeof(float)) ^
                          lb_hash64(factor.shift, n * n * sizeof(float));
    lb_test_guard_free(tiles);
    lb_test_guard_free(scratch);
    lb_factor_close(&factor);
    fb_close(&d);
    free(w);
    return hash;
}

void test_feedback(void)
{
    static const char *const formats[] = {"q8", "q6", "q5", "q4", "q3", "q2", "lut4", "lut1", "tcq2", "tcq3", "tcq4"};
    fb_test_factor();
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        fb_test_format(lb_wformat_named(formats[i]));
    }
    fb_test_target();
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        const lb_wformat_info *f = lb_wformat_named(formats[i]);
        lb_test_case("%s with feedback: the same bytes for any number of threads, at every level", f->name);
        const uint64_t one = fb_bytes_of(f, 1, lb_kernels_for("scalar"));
        LB_CHECK(fb_bytes_of(f, 3, lb_kernels_for("scalar")) == one, "%s: 3 threads", f->name);
        const char *level;
        bool usable;
        for (size_t l = 0; (level = lb_isa_level(l, &usable)) != NULL; l++) {
            LB_CHECK(!usable || fb_bytes_of(f, 2, lb_kernels_for(level)) == one, "%s: %s", f->name, level);
        }
    }
}
