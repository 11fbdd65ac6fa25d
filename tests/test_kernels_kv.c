/* Products over a quantized KV cache: every level against the scalar reference, bit for bit, with guard pages. */
#include <stdio.h>

#include "test_kernels.h"

void test_kernels_kv(void);

static const size_t kv_bits[LB_KV_PRODUCTS] = {8, 4, 2};

/* Where x->q has column c of row t, as a product over the cache wants it */
static size_t code_at(size_t t, size_t c, size_t q_stride)
{
    return t / 4 * 4 * q_stride + c / 4 * 16 + t % 4 * 4 + c % 4;
}

/* extreme: all codes and activations at their ends, where narrow sums would overflow */
static void check_kv(const lb_kernels *ref, const lb_kernels *k, size_t format, size_t tiles, size_t cols, size_t n, bool at_start,
                     bool extreme)
{
    const size_t tile = cols * LB_TILE_ROWS * kv_bits[format] / 8, gap = test_below(3) * 64, groups = (cols + LB_KV_GROUP - 1) / LB_KV_GROUP;
    const size_t q_stride = groups * LB_KV_GROUP + test_below(2) * 64, group_stride = groups + test_below(2), rows = (n + 3) / 4 * 4;
    const size_t y_stride = tiles * LB_TILE_ROWS + test_below(2) * 16, base_stride = (tiles + 3) / 4;
    const size_t bytes = tile * tiles + gap * (tiles - 1), n_q = (rows - 4) * q_stride + 4 * cols, n_scale = (rows - 4) * group_stride + 4 * groups;
    uint8_t *codes = lb_test_guard(bytes, at_start);
    int8_t *q = lb_test_guard(n_q, at_start);
    float *scale = test_floats(n_scale, at_start, false), *base = test_floats(n * base_stride, at_start, false);
    int32_t *sum = lb_test_guard(n_scale * sizeof *sum, at_start);
    uint16_t *row_scale = lb_test_guard(tiles * LB_TILE_ROWS * sizeof *row_scale, at_start);
    float *y = lb_test_guard((n - 1) * y_stride * sizeof *y + tiles * LB_TILE_ROWS * sizeof *y, at_start);
    float *want = malloc(n * y_stride * sizeof *want);
    const uint8_t end = test_below(2) ? 0xff : 0;
    for (size_t i = 0; i < bytes; i++) {
        codes[i] = extreme ? end : (uint8_t)lb_test_random();
    }
    for (size_t i = 0; i < n_q; i++) { /* rows that are not there */
        q[i] = (int8_t)lb_test_random();
    }
    for (size_t t = 0; t < rows; t++) {
        for (size_t g = 0; g < groups; g++) {
            const size_t at = t / 4 * 4 * group_stride + 4 * g + t % 4;
            if (t >= n) {
                sum[at] = test_below(2) ? INT32_MIN : INT32_MAX;
                scale[at] = NAN;
                continue;
            }
            sum[at] = 0;
            for (size_t c = g * LB_KV_GROUP; c < (g + 1) * LB_KV_GROUP && c < cols; c++) {
                int8_t *to = &q[code_at(t, c, q_stride)];
                *to = extreme ? (t % 2 ? 127 : -127) : (int8_t)((int)test_below(255) - 127);
                sum[at] += *to;
            }
        }
    }
    for (size_t i = 0; i < tiles * LB_TILE_ROWS; i++) {
        row_scale[i] = lb_f32_to_bf16(fabsf(test_float(false)));
    }
    lb_input x = {.n = n, .q = q, .q_stride = q_stride, .scale = scale, .sum = sum, .group_stride = group_stride};
    lb_kv_matrix w = {.codes = codes, .tile_bytes = tile + gap, .n_tiles = tiles, .k = cols};
    for (int mode = 0; mode < 4; mode++) {
        w.row_scale = mode % 2 ? row_scale : NULL;
        w.base = mode % 2 ? base : NULL;
        w.base_stride = base_stride;
        for (size_t t = 0; t < n; t++) {
            for (size_t i = 0; i < tiles * LB_TILE_ROWS; i++) {
                y[t * y_stride + i] = want[t * y_stride + i] = lb_test_gauss();
            }
        }
        lb_fetch fetch = {.at = codes, .piece = 0};
        x.fetch = mode % 3 ? &fetch : NULL;
        ref->kv_product[format](&w, &x, want, y_stride, mode / 2 != 0);
        k->kv_product[format](&w, &x, y, y_stride, mode / 2 != 0);
        for (size_t t = 0; t < n; t++) {
            const size_t i = test_differ(y + t * y_stride, want + t * y_stride, tiles * LB_TILE_ROWS);
            LB_CHECK(i == tiles * LB_TILE_ROWS, "q%zu, %zu tiles x %zu, n %zu, mode %d: row %zu of query %zu: %a, reference %a",
                     kv_bits[format], tiles, cols, n, mode, i, t, (double)y[t * y_stride + i % 16],
                     (double)want[t * y_stride + i % 16]);
        }
    }
    free(want);
    lb_test_guard_free(codes);
    lb_test_guard_free(q);
    lb_test_guard_free(scale);
    lb_test_guard_free(base);
    lb_test_guard_free(sum);
    lb_test_guard_free(row_scale);
    lb_test_guard_free(y);
}

/* Columns and groups of `rows` rows of codes */
static void check_codes(const lb_kv_codes *got, const lb_kv_codes *want, size_t rows, size_t n, const char *what)
{
    for (size_t t = 0; t < rows; t++) {
        for (size_t c = 0; c < n; c++) {
            const size_t i = code_at(t, c, got->q_stride);
            LB_CHECK(got->q[i] == want->q[i], "%s, %zu rows of %zu: column %zu of row %zu: %d, reference %d", what, rows, n, c, t, got->q[i], want->q[i]);
        }
        for (size_t g = 0; g < n / LB_KV_GROUP; g++) {
            const size_t i = t / 4 * 4 * got->group_stride + 4 * g + t % 4;
            LB_CHECK(got->sum[i] == want->sum[i] && test_same(got->scale[i], want->scale[i]),
                     "%s, %zu rows of %zu: group %zu of row %zu: %a, %d, reference %a, %d", what, rows, n, g, t, (double)got->scale[i], got->sum[i],
                     (double)want->scale[i], want->sum[i]);
        }
    }
}

/* kind: 0 ordinary, 1 anything, 2 tiny, 3 zeros */
static void check_quantize(const lb_kernels *ref, const lb_kernels *k, size_t rows, size_t n, bool weighed, size_t kind, bool at_start)
{
    const size_t stride = n + test_below(2) * 16, fours = (rows + 3) / 4 * 4, groups = n / LB_KV_GROUP;
    const size_t q_stride = n + test_below(2) * 64, group_stride = groups + test_below(2);
    const size_t n_x = (rows - 1) * stride + n, n_q = (fours - 4) * q_stride + 4 * n, n_scale = (fours - 4) * group_stride + 4 * groups;
    float *x = test_floats(n_x, at_start, kind == 1);
    uint16_t *w = lb_test_guard(n * sizeof *w, at_start);
    int8_t *q = lb_test_guard(n_q, at_start), *want_q = malloc(n_q);
    float *scale = lb_test_guard(n_scale * sizeof *scale, at_start), *want_scale = malloc(n_scale * sizeof *scale);
    int32_t *sum = lb_test_guard(n_scale * sizeof *sum, at_start), *want_sum = malloc(n_scale * sizeof *sum);
    for (size_t i = 0; i < n_x && kind > 1; i++) {
        x[i] = kind == 3 ? 0.0f : x[i] * 1e-21f;
    }
    for (size_t i = 0; i < n; i++) {
        w[i] = kind == 1 && test_below(50) == 0 ? (uint16_t)lb_test_random() : lb_f32_to_bf16(lb_test_gauss());
    }
    lb_fetch fetch = {.at = (const uint8_t *)x, .piece = 64};
    const lb_kv_codes want_to = {want_q, want_scale, want_sum, q_stride, group_stride}, to = {q, scale, sum, q_stride, group_stride};
    ref->kv_quantize(x, stride, rows, weighed ? w : NULL, n, &want_to, NULL);
    k->kv_quantize(x, stride, rows, weighed ? w : NULL, n, &to, test_below(2) ? &fetch : NULL);
    char what[16];
    snprintf(what, sizeof what, "kind %zu", kind);
    check_codes(&to, &want_to, rows, n, what);
    free(want_q);
    free(want_scale);
    free(want_sum);
    lb_test_guard_free(x);
    lb_test_guard_free(w);
    lb_test_guard_free(q);
    lb_test_guard_free(scale);
    lb_test_guard_free(sum);
}

/* As a session has them, with positions that are not seen; anything; far below the largest; nothing seen */
static const char *const score_kinds[] = {"scores", "anything", "far apart", "nothing seen"};

static void check_softmax(const lb_kernels *ref, const lb_kernels *k, size_t rows, size_t kind, bool at_start)
{
    const size_t n = LB_KV_CHUNK, stride = n + test_below(2) * 16, fours = (rows + 3) / 4 * 4, groups = n / LB_KV_GROUP;
    const size_t q_stride = n + test_below(2) * 64, group_stride = groups + test_below(2);
    const size_t n_s = (rows - 1) * stride + n, n_q = (fours - 4) * q_stride + 4 * n, n_scale = (fours - 4) * group_stride + 4 * groups;
    float *s = test_floats(n_s, at_start, kind == 1), *want_s = malloc(n_s * sizeof *want_s);
    float *max = lb_test_guard(rows * sizeof *max, at_start), *sum = lb_test_guard(rows * sizeof *sum, at_start), want_max[16], want_sum[16];
    uint16_t *w = lb_test_guard(n * sizeof *w, at_start);
    int8_t *q = lb_test_guard(n_q, at_start), *want_q = malloc(n_q);
    float *scale = lb_test_guard(n_scale * sizeof *scale, at_start), *want_scale = malloc(n_scale * sizeof *scale);
    int32_t *code_sum = lb_test_guard(n_scale * sizeof *code_sum, at_start), *want_code_sum = malloc(n_scale * sizeof *code_sum);
    for (size_t i = 0; i < n_s && kind != 1; i++) {
        s[i] = kind == 3 || test_below(20) == 0 ? -INFINITY : lb_test_gauss() * (kind == 2 ? 100.0f : 3.0f);
    }
    for (size_t i = 0; i < n; i++) {
        w[i] = kind == 1 && test_below(50) == 0 ? (uint16_t)(lb_test_random() & 0x7fff) : lb_f32_to_bf16(fabsf(lb_test_gauss()));
    }
    memcpy(want_s, s, n_s * sizeof *s);
    lb_fetch fetch = {.at = (const uint8_t *)s, .piece = 64};
    const lb_kv_codes want_to = {want_q, want_scale, want_code_sum, q_stride, group_stride}, to = {q, scale, code_sum, q_stride, group_stride};
    ref->kv_softmax(want_s, stride, rows, w, &want_to, want_max, want_sum, NULL);
    k->kv_softmax(s, stride, rows, w, &to, max, sum, test_below(2) ? &fetch : NULL);
    LB_CHECK(test_differ(max, want_max, rows) == rows && test_differ(sum, want_sum, rows) == rows, "%s, %zu rows: %a %a, reference %a %a",
             score_kinds[kind], rows, (double)max[0], (double)sum[0], (double)want_max[0], (double)want_sum[0]);
    check_codes(&to, &want_to, rows, n, score_kinds[kind]);
    free(want_s);
    free(want_q);
    free(want_scale);
    free(want_code_sum);
    lb_test_guard_free(s);
    lb_test_guard_free(max);
    lb_test_guard_free(sum);
    lb_test_guard_free(w);
    lb_test_guard_free(q);
    lb_test_guard_free(scale);
    lb_test_guard_free(code_sum);
}

static void check_means(const lb_kernels *ref, const lb_kernels *k, size_t w, size_t n, bool at_start)
{
    float *x = test_floats(n * w * LB_TILE_ROWS, at_start, true), *base = lb_test_guard(4 * n * sizeof *base, at_start);
    float *want = malloc(4 * n * sizeof *want);
    uint16_t *means = lb_test_guard(w * LB_TILE_ROWS * sizeof *means, at_start);
    for (size_t i = 0; i < w * LB_TILE_ROWS; i++) {
        means[i] = lb_f32_to_f16(test_float(false));
    }
    ref->kv_means(means, w, x, n, want);
    k->kv_means(means, w, x, n, base);
    LB_CHECK(test_differ(base, want, 4 * n) == 4 * n, "w %zu, n %zu", w, n);
    free(want);
    lb_test_guard_free(x);
    lb_test_guard_free(base);
    lb_test_guard_free(means);
}

static void kv_level(const lb_kernels *ref, const lb_kernels *k)
{
    for (size_t format = 0; format < LB_KV_PRODUCTS; format++) {
        lb_test_case("%s kv_product q%zu", k->isa, kv_bits[format]);
        for (size_t round = 0; round < 120; round++) {
            check_kv(ref, k, format, 1 + test_below(9), 32 * (1 + test_below(8)), 1 + test_below(round % 10 ? 11 : 40), round % 2 == 0,
                     round % 5 == 0);
        }
    }
    lb_test_case("%s kv_means", k->isa);
    for (size_t w = 4; w <= 64; w += 4) {
        check_means(ref, k, w, 1 + w / 4 % 5, w % 8 == 0);
    }
    lb_test_case("%s kv_quantize", k->isa);
    for (size_t rows = 1; rows < 14; rows++) {
        for (size_t kind = 0; kind < 4; kind++) {
            check_quantize(ref, k, rows, LB_KV_GROUP * (1 + test_below(5)), rows % 2 != kind % 2, kind, test_below(2));
        }
    }
    lb_test_case("%s kv_softmax", k->isa);
    for (size_t rows = 1; rows < 14; rows++) {
        for (size_t kind = 0; kind < 4; kind++) {
            check_softmax(ref, k, rows, kind, test_below(2));
        }
    }
}

/* The reference itself, against weights written by hand. */
static void kv_reference(void)
{
    lb_test_case("the KV products of hand-made codes");
    const lb_kernels *k = lb_kernels_for("scalar");
    static const int shown[LB_KV_PRODUCTS][2] = {{3 - 128, 200 - 128}, {2 * 3 - 15, 2 * 9 - 15}, {2 * 3 - 3, 2 * 1 - 3}};
    for (size_t f = 0; f < LB_KV_PRODUCTS; f++) {
        uint8_t codes[96 * LB_TILE_ROWS] = {0};
        int8_t q[4 * 128] = {0};
        float scale[8] = {0.0f, 0.5f, 0.0f, 0.0f, 0.0f, 2.0f, 0.0f, 0.0f}, y[2 * LB_TILE_ROWS], base[2] = {0.0f, 10.0f};
        int32_t sum[8] = {0};
        uint16_t row_scale[LB_TILE_ROWS];
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            row_scale[r] = lb_f32_to_bf16(1.0f);
        }
        row_scale[5] = lb_f32_to_bf16(4.0f);
        const size_t at[2] = {13, 78}; /* columns, row 5: quad 3 byte 1 and quad 19 byte 2 */
        const unsigned code[2] = {3, f == 0 ? 200 : f == 1 ? 9 : 1};
        for (size_t i = 0; i < 2; i++) {
            const size_t span = f == 0 ? 4 : f == 1 ? 8 : 16, bit = at[i] % span / 4 * kv_bits[f];
            codes[at[i] / span * 64 + 5 * 4 + at[i] % 4] |= (uint8_t)(code[i] << bit);
            q[i == 0 ? 3 * 16 + 4 + 1 : 19 * 16 + 4 + 2] = (int8_t)(i ? -100 : 7); /* the second of two rows */
            sum[4 * i + 1] = i ? -100 : 7;
        }
        const lb_input x = {.n = 2, .q = q, .q_stride = 128, .scale = scale, .sum = sum, .group_stride = 2};
        const lb_kv_matrix w = {codes, 0, 1, 96, row_scale, base, 1};
        k->kv_product[f](&w, &x, y, 16, false);
        const float want = 10.0f + 4.0f * (0.5f * (float)(7 * shown[f][0]) + 2.0f * (float)(-100 * shown[f][1]));
        LB_CHECK(y[5] == 0.0f && y[LB_TILE_ROWS + 5] == want, "q%zu: %g, not %g", kv_bits[f], (double)y[LB_TILE_ROWS + 5], (double)want);
    }
}

static void quantize_reference(void)
{
    lb_test_case("codes of hand-made numbers for KV products");
    float x[2][128] = {{0}}, scale[8];
    int8_t q[4 * 128];
    int32_t sum[8];
    uint16_t w[128];
    for (size_t i = 0; i < 128; i++) {
        w[i] = lb_f32_to_bf16(i == 70 ? -2.0f : 1.0f);
    }
    x[1][9] = 254.0f;
    x[1][63] = -3.0f; /* -1.5 steps of 2: to even */
    x[1][70] = 127.0f;
    const lb_kv_codes to = {q, scale, sum, 128, 2};
    lb_kernels_for("scalar")->kv_quantize(x[0], 128, 2, w, 128, &to, NULL);
    LB_CHECK(q[2 * 16 + 4 + 1] == 127 && q[15 * 16 + 4 + 3] == -2 && q[17 * 16 + 4 + 2] == -127 && q[17 * 16 + 2] == 0, "%d %d %d",
             q[2 * 16 + 4 + 1], q[15 * 16 + 4 + 3], q[17 * 16 + 4 + 2]);
    LB_CHECK(scale[0] == 0 && scale[4] == 0 && fabsf(scale[1] - 2.0f) < 1e-6f && fabsf(scale[5] - 2.0f) < 1e-6f, "%g %g", (double)scale[1],
             (double)scale[5]);
    LB_CHECK(sum[0] == 0 && sum[1] == 125 && sum[5] == -127, "%d %d", sum[1], sum[5]);
}

/* The softmax of a chunk against exp; half of the positions are not seen. */
static void softmax_reference(void)
{
    lb_test_case("probabilities as codes: within half a code of softmax times scales");
    float s[LB_KV_CHUNK], exact[LB_KV_CHUNK], scale[16], max, sum;
    int8_t q[4 * LB_KV_CHUNK];
    int32_t code_sum[16];
    uint16_t w[LB_KV_CHUNK];
    double top = -INFINITY, total = 0.0;
    for (size_t i = 0; i < LB_KV_CHUNK; i++) {
        s[i] = i / LB_KV_GROUP == 1 || i % 2 ? -INFINITY : 20.0f + 3.0f * lb_test_gauss();
        top = s[i] > top ? s[i] : top;
        w[i] = lb_f32_to_bf16(0.01f + fabsf(lb_test_gauss()));
    }
    for (size_t i = 0; i < LB_KV_CHUNK; i++) {
        const double p = exp((double)s[i] - top);
        total += p;
        exact[i] = (float)(p * (double)lb_bf16_to_f32(w[i]));
    }
    const lb_kv_codes to = {q, scale, code_sum, LB_KV_CHUNK, LB_KV_CHUNK / LB_KV_GROUP};
    lb_kernels_for("scalar")->kv_softmax(s, LB_KV_CHUNK, 1, w, &to, &max, &sum, NULL);
    LB_CHECK(max == (float)top && fabs((double)sum / total - 1.0) < 1.1e-4, "%g %g, not %g %g", (double)max, (double)sum, top, total);
    for (size_t i = 0; i < LB_KV_CHUNK; i++) {
        const float got = scale[i / LB_KV_GROUP * 4] * (float)q[code_at(0, i, LB_KV_CHUNK)];
        LB_CHECK(fabsf(got - exact[i]) <= 0.501f * scale[i / LB_KV_GROUP * 4] + 1.2e-4f * exact[i], "%zu: %g, not %g", i, (double)got, (double)exact[i]);
    }
    LB_CHECK(scale[4] == 0.0f && code_sum[4] == 0, "positions that are not seen have weight %g", (double)scale[4]);
}

static void means_reference(void)
{
    lb_test_case("the means of hand-made numbers");
    uint16_t means[2 * LB_TILE_ROWS] = {0};
    float x[2 * LB_TILE_ROWS], base[4];
    for (size_t i = 0; i < 2 * LB_TILE_ROWS; i++) {
        x[i] = (float)(i / 4); /* the same for the four blocks */
    }
    means[2] = lb_f32_to_f16(100.0f);   /* block 2: column 0 of the first quarter, */
    means[14] = lb_f32_to_f16(1.0f);    /* of the last, */
    means[16 + 6] = lb_f32_to_f16(10.0f); /* column 1 of the second */
    lb_kernels_for("scalar")->kv_means(means, 2, x, 1, base);
    LB_CHECK(base[0] == 0 && base[1] == 0 && base[2] == 0 * 100 + 3 * 1 + 5 * 10 && base[3] == 0, "%g", (double)base[2]);
}

void test_kernels_kv(void)
{
    kv_reference();
    quantize_reference();
    softmax_reference();
    means_reference();
    test_each_level("KV products", kv_level);
}
