/* Vector kernels of every level against the scalar reference, bit for bit, with guard pages. */
#include "test_kernels.h"

void test_kernels_vector(void);

static const size_t lengths[] = {1,  2,  3,  7,  8,  9,  15, 16, 17, 31, 32,  33,  47,  48,   63,   64,   65,
                                 79, 96, 99, 100, 127, 128, 130, 200, 255, 256, 257, 500, 2048, 2049, 5632, 5641};
#define N_LENGTHS (sizeof lengths / sizeof lengths[0])

static void check_quantize(const lb_kernels *ref, const lb_kernels *k, size_t n, bool at_start, int kind)
{
    const size_t pad = lb_round_up64(n), groups = pad / LB_GROUP;
    float *x = test_floats(n, at_start, kind == 1);
    for (size_t i = 0; i < n && kind >= 2; i++) {
        x[i] = kind == 2 ? 0.0f : kind == 3 ? (i % 2 ? 1e-31f : -9e-31f) : kind == 4 ? (float)((int)(i % 256) - 128) - 0.5f
                                                                                     : (i % 2 ? 3.4028235e38f : 2e-30f);
    }
    int8_t *q = lb_test_guard(pad, at_start), *want_q = malloc(pad);
    float *scale = lb_test_guard(groups * sizeof(float), at_start), *want_scale = malloc(groups * sizeof(float));
    int32_t *sum = lb_test_guard(groups * sizeof(int32_t), at_start), *want_sum = malloc(groups * sizeof(int32_t));
    int32_t *start = lb_test_guard(groups * sizeof(int32_t), at_start), *want_start = malloc(groups * sizeof(int32_t));
    ref->quantize_a8(x, n, want_q, want_scale, want_sum, want_start);
    k->quantize_a8(x, n, q, scale, sum, start);
    LB_CHECK(memcmp(q, want_q, pad) == 0, "codes, n %zu kind %d", n, kind);
    LB_CHECK(test_differ(scale, want_scale, groups) == groups, "scales, n %zu kind %d", n, kind);
    LB_CHECK(memcmp(sum, want_sum, groups * sizeof(int32_t)) == 0, "sums, n %zu kind %d", n, kind);
    LB_CHECK(memcmp(start, want_start, groups * sizeof(int32_t)) == 0, "starts, n %zu kind %d", n, kind);
    for (size_t g = 0; g < groups; g++) {
        LB_CHECK(start[g] == -128 * sum[g], "start %d of a group whose sum is %d", start[g], sum[g]);
        LB_CHECK(!(scale[g] == scale[g]) || (scale[g] >= LB_A8_ZERO_SCALE && (lb_f32_bits(scale[g]) & 0xfffff) == 0), "scale %a", (double)scale[g]);
    }
    for (size_t i = 0; i < pad; i++) {
        LB_CHECK(q[i] >= -127 && (i < n || q[i] == 0), "code %d at %zu of %zu", q[i], i, n);
    }
    free(want_q);
    free(want_scale);
    free(want_sum);
    free(want_start);
    lb_test_guard_free(q);
    lb_test_guard_free(scale);
    lb_test_guard_free(sum);
    lb_test_guard_free(start);
    lb_test_guard_free(x);
}

static float *copy_of(const float *x, size_t n)
{
    float *p = malloc(n * sizeof(float));
    memcpy(p, x, n * sizeof(float));
    return p;
}

static void check_elementwise(const lb_kernels *ref, const lb_kernels *k, size_t n, bool at_start, bool wild)
{
    float *a = test_floats(n, at_start, wild), *b = test_floats(n, at_start, wild);
    const float s = test_float(wild), t = test_float(false);
    for (int op = 0; op < 7; op++) {
        static const char *const names[] = {"add", "scale", "silu_mul", "axpby", "rmsnorm", "rmsnorm in place", "relu2_mul"};
        float *want = copy_of(a, n), *y = test_floats(n, at_start, false);
        memcpy(y, a, n * sizeof(float));
        for (int side = 0; side < 2; side++) {
            const lb_kernels *use = side ? k : ref;
            float *out = side ? y : want;
            switch (op) {
            case 0: use->add(out, b, n); break;
            case 1: use->scale(out, s, n); break;
            case 2: use->silu_mul(out, b, n); break;
            case 3: use->axpby(out, b, s, t, n); break;
            case 4: use->rmsnorm(out, a, b, n, 1e-5f); break;
            case 5: use->rmsnorm(out, out, b, n, 1e-6f); break;
            default: use->relu2_mul(out, b, n); break;
            }
        }
        const size_t i = test_differ(y, want, n);
        LB_CHECK(i == n, "%s n %zu: at %zu: %a, reference %a", names[op], n, i, (double)y[i % n], (double)want[i % n]);
        free(want);
        lb_test_guard_free(y);
    }
    lb_test_guard_free(a);
    lb_test_guard_free(b);
}

static void check_exp(const lb_kernels *ref, const lb_kernels *k)
{
    const size_t n = 4096;
    float *gate = malloc(n * sizeof(float)), *up = malloc(n * sizeof(float));
    for (int round = 0; round < 64; round++) {
        for (size_t i = 0; i < n; i++) { /* every exponent; around the clamps */
            gate[i] = round < 32 ? lb_bits_f32((uint32_t)lb_test_random()) : lb_test_gauss() * (float)(round - 31) * 4.0f;
            up[i] = 1.0f;
        }
        gate[0] = -LB_EXP_LO;
        gate[1] = -nextafterf(LB_EXP_LO, -INFINITY);
        gate[2] = -LB_EXP_HI;
        gate[3] = -nextafterf(LB_EXP_HI, INFINITY);
        float *want = copy_of(gate, n);
        ref->silu_mul(want, up, n);
        k->silu_mul(gate, up, n);
        const size_t i = test_differ(gate, want, n);
        LB_CHECK(i == n, "at %zu: %a, reference %a", i, (double)gate[i % n], (double)want[i % n]);
        free(want);
    }
    free(gate);
    free(up);
}

/*
 * Sums a hair beside the midpoint of two floats, (1 + 2^-23) +- 2^-24 (1 - 2^-30): what rounds twice, or takes the product
 * rounded, is wrong by one unit. axpby is one fma per element if a is 1.
 */
static void check_fma(const lb_kernels *ref, const lb_kernels *k)
{
    for (int e = -148; e < 100; e++) {
        float o[20], want[20], c[20];
        for (size_t i = 0; i < 20; i++) {
            const float sign = i % 2 ? -1.0f : 1.0f;
            o[i] = want[i] = sign * ldexpf(1.0f + 0x1p-23f, e + 24);
            c[i] = (i / 2 % 2 ? -sign : sign) * (1.0f - 0x1p-15f);
        }
        ref->axpby(want, c, 1.0f, ldexpf(1.0f + 0x1p-15f, e), 20);
        k->axpby(o, c, 1.0f, ldexpf(1.0f + 0x1p-15f, e), 20);
        const size_t i = test_differ(o, want, 20);
        LB_CHECK(i == 20, "exponent %d at %zu: %a, reference %a", e, i, (double)o[i % 20], (double)want[i % 20]);
        if (e > -100) { /* and the reference itself */
            LB_CHECK(want[0] == ldexpf(1.0f + 0x1p-23f, e + 24) && want[2] == want[0], "exponent %d: %a", e, (double)want[0]);
        }
    }
}

static void check_rope(const lb_kernels *ref, const lb_kernels *k, size_t head_dim, size_t rot, bool interleaved, bool at_start)
{
    const size_t heads = 1 + test_below(4), n = heads * head_dim;
    float *x = test_floats(n, at_start, false), *cs = test_floats(rot, at_start, false);
    float *want = copy_of(x, n);
    ref->rope(want, cs, heads, head_dim, rot, interleaved);
    k->rope(x, cs, heads, head_dim, rot, interleaved);
    const size_t i = test_differ(x, want, n);
    LB_CHECK(i == n, "head_dim %zu rot %zu interleaved %d: at %zu", head_dim, rot, interleaved, i);
    free(want);
    lb_test_guard_free(x);
    lb_test_guard_free(cs);
}

static void check_softmax(const lb_kernels *ref, const lb_kernels *k, size_t n, size_t rows, int kind, bool at_start)
{
    const size_t pad = (n + 15) / 16 * 16, stride = pad + test_below(3) * 16, all = (rows - 1) * stride + pad;
    float *s = lb_test_guard(all * sizeof(float), at_start);
    for (size_t i = 0; i < all; i++) {
        s[i] = i % stride >= n ? NAN
               : kind == 0     ? lb_test_gauss() * 10.0f
               : kind == 1     ? (i % 3 ? -INFINITY : lb_test_gauss() * 100.0f)
               : kind == 2     ? (i % 5 ? lb_test_gauss() : NAN)
               : kind == 3     ? -INFINITY
               : kind == 4     ? (i % 2 ? -0.0f : 0.0f)
                               : test_float(true);
    }
    float *want = copy_of(s, all), max[8], sum[8], want_max[8], want_sum[8];
    lb_fetch fetch = {.at = (const uint8_t *)s, .piece = 64};
    ref->softmax_chunk(want, stride, rows, n, want_max, want_sum, NULL);
    k->softmax_chunk(s, stride, rows, n, max, sum, test_below(2) ? &fetch : NULL);
    const size_t i = test_differ(s, want, all);
    LB_CHECK(i == all, "n %zu kind %d: at %zu: %a, reference %a", n, kind, i, (double)s[i % all], (double)want[i % all]);
    for (size_t r = 0; r < rows; r++) {
        LB_CHECK(max[r] == want_max[r], "n %zu kind %d: maximum %a, reference %a", n, kind, (double)max[r], (double)want_max[r]);
        LB_CHECK(test_same(sum[r], want_sum[r]), "n %zu kind %d: sum %a, reference %a", n, kind, (double)sum[r], (double)want_sum[r]);
        for (size_t c = n; c < pad; c++) {
            LB_CHECK(s[r * stride + c] == 0.0f, "n %zu kind %d: not zero behind", n, kind);
        }
    }
    free(want);
    lb_test_guard_free(s);
}

static void check_weigh(const lb_kernels *ref, const lb_kernels *k, size_t n, size_t width, bool wild, bool at_start)
{
    const size_t stride = width + test_below(3) * 16;
    float *x = test_floats((n - 1) * stride + width, at_start, wild), *w = test_floats(n, at_start, wild);
    float *o = lb_test_guard(width * sizeof *o, at_start), *want = malloc(width * sizeof *want);
    ref->weigh(want, x, stride, w, n, width);
    k->weigh(o, x, stride, w, n, width);
    const size_t i = test_differ(o, want, width);
    LB_CHECK(i == width, "%zu of %zu: at %zu: %a, reference %a", n, width, i, (double)o[i % width], (double)want[i % width]);
    free(want);
    lb_test_guard_free(x);
    lb_test_guard_free(w);
    lb_test_guard_free(o);
}

static void check_half(const lb_kernels *ref, const lb_kernels *k, size_t n, bool at_start)
{
    float *x = test_floats(n, at_start, true), *back = lb_test_guard(n * sizeof(float), at_start);
    float *want_back = malloc(n * sizeof(float));
    uint16_t *h = lb_test_guard(n * sizeof(uint16_t), at_start), *want = malloc(n * sizeof(uint16_t));
    for (size_t i = 0; i < n; i++) {
        x[i] = i % 3 == 0 ? lb_bits_f32((uint32_t)lb_test_random()) : i % 3 == 1 ? x[i] : lb_test_gauss() * 1e-6f;
    }
    ref->f32_to_f16(want, x, n);
    k->f32_to_f16(h, x, n);
    for (size_t i = 0; i < n; i++) {
        LB_CHECK(h[i] == want[i] || ((h[i] & 0x7fff) > 0x7c00 && (want[i] & 0x7fff) > 0x7c00), "f32_to_f16 of %a: %04x, reference %04x",
                 (double)x[i], h[i], want[i]);
        h[i] = (uint16_t)lb_test_random();
    }
    ref->f16_to_f32(want_back, h, n);
    k->f16_to_f32(back, h, n);
    LB_CHECK(test_differ(back, want_back, n) == n, "f16_to_f32 n %zu", n);
    free(want_back);
    free(want);
    lb_test_guard_free(h);
    lb_test_guard_free(back);
    lb_test_guard_free(x);
}

static void check_argmax(const lb_kernels *ref, const lb_kernels *k, size_t n, int kind, bool at_start)
{
    float *x = lb_test_guard(n * sizeof(float), at_start);
    for (size_t i = 0; i < n; i++) {
        x[i] = kind == 0   ? lb_test_gauss()
               : kind == 1 ? (float)test_below(3)
               : kind == 2 ? (test_below(2) ? NAN : lb_test_gauss())
               : kind == 3 ? (test_below(2) ? NAN : -INFINITY)
               : kind == 4 ? (test_below(2) ? 0.0f : -0.0f)
                           : (i == n - 1 ? 1.0f : -1.0f);
    }
    const size_t want = ref->argmax(x, n), got = k->argmax(x, n);
    LB_CHECK(got == want, "n %zu kind %d: %zu, reference %zu", n, kind, got, want);
    lb_test_guard_free(x);
}

static void check_hadamard(const lb_kernels *ref, const lb_kernels *k, size_t block, size_t blocks, bool at_start)
{
    const size_t n = block * blocks;
    float *x = test_floats(n, at_start, false), *y = lb_test_guard(n * sizeof(float), at_start);
    uint8_t *signs = lb_test_guard(n / 8, at_start);
    float *want = malloc(n * sizeof(float));
    double before = 0, after = 0;
    for (size_t i = 0; i < n; i++) {
        signs[i / 8] = (uint8_t)(i % 8 ? signs[i / 8] : lb_test_random() >> 40);
        before += (double)x[i] * (double)x[i];
    }
    ref->hadamard(want, x, signs, n, block);
    k->hadamard(y, x, signs, n, block);
    LB_CHECK(test_differ(y, want, n) == n, "block %zu x %zu", block, blocks);
    for (size_t i = 0; i < n; i++) {
        after += (double)y[i] * (double)y[i];
    }
    LB_CHECK(after > 0.9999 * before && after < 1.0001 * before, "length %g became %g", before, after);
    free(want);
    lb_test_guard_free(y);
    lb_test_guard_free(signs);
    lb_test_guard_free(x);
}

static void test_level(const lb_kernels *ref, const lb_kernels *k)
{
    lb_test_case("%s quantize_a8", k->isa);
    for (size_t i = 0; i < 2 * N_LENGTHS; i++) {
        for (int kind = 0; kind < 6; kind++) {
            check_quantize(ref, k, lengths[i / 2], i % 2 == 0, kind);
        }
    }
    lb_test_case("%s add, scale, silu_mul, relu2_mul, axpby, rmsnorm", k->isa);
    for (size_t i = 0; i < 2 * N_LENGTHS; i++) {
        check_elementwise(ref, k, lengths[i / 2], i % 2 == 0, false);
        check_elementwise(ref, k, lengths[i / 2], i % 2 == 0, true);
    }
    lb_test_case("%s exp in silu_mul", k->isa);
    check_exp(ref, k);
    lb_test_case("%s fma rounds once", k->isa);
    check_fma(ref, k);
    lb_test_case("%s rope", k->isa);
    for (size_t hd = 2; hd <= 160; hd += 2) {
        for (int mode = 0; mode < 4; mode++) {
            check_rope(ref, k, hd, mode % 2 ? hd : 2 * (1 + test_below(hd / 2)), mode / 2 != 0, hd % 4 == 0);
        }
    }
    lb_test_case("%s softmax_chunk", k->isa);
    for (size_t n = 1; n <= LB_KV_CHUNK; n++) {
        check_softmax(ref, k, n, 1 + test_below(8), (int)(n % 6), n % 2 == 0);
        check_softmax(ref, k, n, 1, 0, n % 2 != 0);
    }
    lb_test_case("%s weigh", k->isa);
    for (size_t n = 1; n <= 16; n++) {
        check_weigh(ref, k, n, 16 * (1 + test_below(9)), n % 3 == 0, n % 2 == 0);
    }
    lb_test_case("%s f16 conversions", k->isa);
    for (size_t i = 0; i < 2 * N_LENGTHS; i++) {
        check_half(ref, k, lengths[i / 2], i % 2 == 0);
    }
    lb_test_case("%s hadamard", k->isa);
    for (size_t block = 16; block <= 4096; block *= 2) {
        check_hadamard(ref, k, block, 1, false);
        check_hadamard(ref, k, block, 3, true);
    }
    lb_test_case("%s argmax", k->isa);
    for (size_t i = 0; i < 2 * N_LENGTHS; i++) {
        for (int kind = 0; kind < 6; kind++) {
            check_argmax(ref, k, lengths[i / 2], kind, i % 2 == 0);
        }
    }
}

void test_kernels_vector(void)
{
    test_each_level("vectors", test_level);
}
