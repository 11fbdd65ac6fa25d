/* Products over a quantized KV cache: every level against the scalar reference, bit for bit, with guard pages. */
#include "test_kernels.h"

void test_kernels_kv(void);

static const size_t kv_bits[LB_KV_PRODUCTS] = {8, 4, 2};

/* extreme: all codes and activations at their ends, where narrow sums would overflow */
static void check_kv(const lb_kernels *ref, const lb_kernels *k, size_t format, size_t tiles, size_t cols, size_t n, bool at_start,
                     bool extreme)
{
    const size_t tile = cols * LB_TILE_ROWS * kv_bits[format] / 8, gap = test_below(3) * 64, groups = cols / LB_GROUP;
    const size_t q_stride = lb_round_up64(cols), y_stride = tiles * LB_TILE_ROWS + test_below(2) * 16, base_stride = (tiles + 3) / 4;
    const size_t bytes = tile * tiles + gap * (tiles - 1);
    uint8_t *codes = lb_test_guard(bytes, at_start);
    int8_t *q = lb_test_guard((n - 1) * q_stride + cols, at_start);
    float *scale = test_floats(n * groups, at_start, false), *base = test_floats(n * base_stride, at_start, false);
    int32_t *sum = lb_test_guard(n * groups * sizeof *sum, at_start);
    uint16_t *row_scale = lb_test_guard(tiles * LB_TILE_ROWS * sizeof *row_scale, at_start);
    float *y = lb_test_guard((n - 1) * y_stride * sizeof *y + tiles * LB_TILE_ROWS * sizeof *y, at_start);
    float *want = malloc(n * y_stride * sizeof *want);
    const uint8_t end = test_below(2) ? 0xff : 0;
    for (size_t i = 0; i < bytes; i++) {
        codes[i] = extreme ? end : (uint8_t)lb_test_random();
    }
    for (size_t t = 0; t < n; t++) {
        for (size_t g = 0; g < groups; g++) {
            sum[t * groups + g] = 0;
            for (size_t c = g * LB_GROUP; c < (g + 1) * LB_GROUP; c++) {
                q[t * q_stride + c] = extreme ? (t % 2 ? 127 : -127) : (int8_t)((int)test_below(255) - 127);
                sum[t * groups + g] += q[t * q_stride + c];
            }
        }
    }
    for (size_t i = 0; i < tiles * LB_TILE_ROWS; i++) {
        row_scale[i] = lb_f32_to_bf16(fabsf(test_float(false)));
    }
    lb_input x = {.n = n, .q = q, .q_stride = q_stride, .scale = scale, .sum = sum, .group_stride = groups};
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
        const uint8_t *ahead = codes, **moving = &ahead;
        x.ahead = mode % 3 ? moving : NULL;
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

static void check_mul_bf16(const lb_kernels *ref, const lb_kernels *k, size_t n, bool at_start)
{
    float *x = test_floats(n, at_start, true), *y = lb_test_guard(n * sizeof *y, at_start), *want = malloc(n * sizeof *want);
    uint16_t *w = lb_test_guard(n * sizeof *w, at_start);
    for (size_t i = 0; i < n; i++) {
        w[i] = (uint16_t)lb_test_random();
    }
    ref->mul_bf16(want, x, w, n);
    k->mul_bf16(y, x, w, n);
    LB_CHECK(test_differ(y, want, n) == n, "n %zu", n);
    k->mul_bf16(x, x, w, n);
    LB_CHECK(test_differ(x, want, n) == n, "in place, n %zu", n);
    free(want);
    lb_test_guard_free(x);
    lb_test_guard_free(y);
    lb_test_guard_free(w);
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
    lb_test_case("%s mul_bf16", k->isa);
    for (size_t n = 1; n < 100; n++) {
        check_mul_bf16(ref, k, n, n % 2 == 0);
    }
}

/* The reference itself, against weights written by hand. */
static void kv_reference(void)
{
    lb_test_case("the KV products of hand-made codes");
    const lb_kernels *k = lb_kernels_for("scalar");
    static const int shown[LB_KV_PRODUCTS][2] = {{3 - 128, 200 - 128}, {2 * 3 - 15, 2 * 9 - 15}, {2 * 3 - 3, 2 * 1 - 3}};
    for (size_t f = 0; f < LB_KV_PRODUCTS; f++) {
        uint8_t codes[64 * LB_TILE_ROWS] = {0};
        int8_t q[64] = {0};
        float scale[2] = {0.5f, 2.0f}, y[LB_TILE_ROWS], base = 10.0f;
        int32_t sum[2] = {0};
        uint16_t row_scale[LB_TILE_ROWS];
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            row_scale[r] = lb_f32_to_bf16(1.0f);
        }
        row_scale[5] = lb_f32_to_bf16(4.0f);
        const size_t at[2] = {13, 46}; /* columns, row 5: quad 3 byte 1 and quad 11 byte 2 */
        const unsigned code[2] = {3, f == 0 ? 200 : f == 1 ? 9 : 1};
        for (size_t i = 0; i < 2; i++) {
            const size_t span = f == 0 ? 4 : f == 1 ? 8 : 16, bit = at[i] % span / 4 * kv_bits[f];
            codes[at[i] / span * 64 + 5 * 4 + at[i] % 4] |= (uint8_t)(code[i] << bit);
            q[at[i]] = (int8_t)(i ? -100 : 7);
            sum[i] = q[at[i]];
        }
        const lb_input x = {.n = 1, .q = q, .q_stride = 64, .scale = scale, .sum = sum, .group_stride = 2};
        const lb_kv_matrix w = {codes, 0, 1, 64, row_scale, &base, 1};
        k->kv_product[f](&w, &x, y, 16, false);
        const float want = 10.0f + 4.0f * (0.5f * (float)(7 * shown[f][0]) + 2.0f * (float)(-100 * shown[f][1]));
        LB_CHECK(y[5] == want, "q%zu: %g, not %g", kv_bits[f], (double)y[5], (double)want);
    }
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
    means_reference();
    test_each_level("KV products", kv_level);
}
