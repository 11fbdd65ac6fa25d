/* The selection of kernels, the weight formats and packers, the mathematics that all levels share. */
#include "test_kernels.h"

void test_kernels(void);

static void test_levels(void)
{
    lb_test_case("levels: names, order, selection");
    const lb_kernels *best = lb_kernels_for(NULL), *last = NULL;
    bool usable = false;
    const char *name;
    size_t i = 0;
    for (; (name = lb_isa_level(i, &usable)) != NULL; i++) {
        const lb_kernels *k = lb_kernels_for(name);
        LB_CHECK((k != NULL) == usable, "%s", name);
        if (k) {
            LB_CHECK(strcmp(k->isa, name) == 0, "%s", name);
            last = k;
        }
    }
    LB_CHECK(best == last, "the best level is the last usable one");
    LB_CHECK(strcmp(lb_isa_level(0, &usable), "scalar") == 0 && usable, "scalar is first");
    LB_CHECK(!lb_isa_level(i, NULL) && !lb_isa_level((size_t)-1, NULL), "past the end");
    LB_CHECK(!lb_kernels_for("avx") && !lb_kernels_for("") && !lb_kernels_for("AVX2"), "unknown names");

    lb_test_case("levels: complete tables");
    for (i = 0; (name = lb_isa_level(i, &usable)) != NULL; i++) {
        const lb_kernels *k = lb_kernels_for(name);
        if (!k) {
            continue;
        }
        for (size_t f = 0; f < LB_W_COUNT; f++) {
            bool known = lb_wformat_find((uint32_t)f) != NULL;
            LB_CHECK((k->gemv[f] != NULL) == known && (k->gemm[f] != NULL) == known, "%s format %zu", name, f);
        }
        LB_CHECK(k->quantize_a8 && k->rmsnorm && k->add && k->scale && k->silu_mul && k->relu2_mul && k->rope && k->softmax_chunk &&
                     k->axpby && k->weigh && k->f32_to_f16 && k->f16_to_f32 && k->argmax,
                 "%s", name);
    }
}

static void test_exp(void)
{
    lb_test_case("exp: within 0.83 ulp, exact at the edges");
    double worst = 0.0;
    float at = 0.0f;
    for (uint32_t u = 0; u < 0x42b00000; u += 4099) {
        for (uint32_t sign = 0; sign < 2; sign++) {
            const float x = lb_bits_f32(u | sign << 31);
            if (x < LB_EXP_LO || x > LB_EXP_HI) {
                continue;
            }
            const double y = exp((double)x);
            const double error = fabs((double)lb_exp(x) - y) / ldexp(1.0, ilogb(y) - 23);
            if (error > worst) {
                worst = error;
                at = x;
            }
        }
    }
    LB_CHECK(worst < 0.83, "%.3f ulp at %a", worst, (double)at);
    LB_CHECK(lb_exp(0.0f) == 1.0f && lb_exp(-0.0f) == 1.0f, "exp(0)");
    LB_CHECK(lb_exp(-87.01f) == 0.0f && lb_exp(-INFINITY) == 0.0f, "below");
    LB_CHECK(lb_exp(INFINITY) == lb_exp(88.0f) && isfinite(lb_exp(88.0f)), "above");
    LB_CHECK(isnan(lb_exp(NAN)) && isnan(lb_exp(lb_bits_f32(0x7fc00001))) && isnan(lb_exp(lb_bits_f32(0xffffffff))), "NaN");
}

/* The largest error of f for lo <= x <= 0: in units of the last place of exp(x), or relative to it */
static double exp_error(float (*f)(float), float lo, bool ulps, float *at)
{
    double worst = 0.0;
    for (uint32_t u = 0x80000000; u <= lb_f32_bits(lo); u += 2053) {
        const float x = lb_bits_f32(u);
        const double y = exp((double)x), error = fabs((double)f(x) - y) / (ulps ? ldexp(1.0, ilogb(y) - 23) : y);
        if (error > worst) {
            worst = error;
            *at = x;
        }
    }
    return worst;
}

static void test_exp_down(void)
{
    lb_test_case("exp of softmax: within 2.2 ulp, exact at the edges");
    float at = 0.0f;
    const double worst = exp_error(lb_exp_down, LB_EXP_LO, true, &at);
    LB_CHECK(worst < 2.2, "%.3f ulp at %a", worst, (double)at);
    LB_CHECK(lb_exp_down(0.0f) == 1.0f && lb_exp_down(-0.0f) == 1.0f, "exp(0)");
    LB_CHECK(lb_exp_down(LB_EXP_LO) > 0.0f && lb_exp_down(-87.01f) == 0.0f && lb_exp_down(-INFINITY) == 0.0f, "below");
    LB_CHECK(isnan(lb_exp_down(NAN)), "NaN");
}

static void test_exp_code(void)
{
    lb_test_case("exp of probabilities that become codes: within 1.1e-4, exact at the edges");
    float at = 0.0f;
    const double worst = exp_error(lb_exp_code, LB_EXP_CODE_LO, false, &at);
    LB_CHECK(worst < 1.1e-4, "%g at %a", worst, (double)at);
    LB_CHECK(lb_exp_code(0.0f) == 1.0f && lb_exp_code(-0.0f) == 1.0f, "exp(0)");
    LB_CHECK(lb_exp_code(-INFINITY) == lb_exp_code(LB_EXP_CODE_LO) && lb_exp_code(-1e30f) < 1.7e-28f, "below");
    LB_CHECK(isnan(lb_exp_code(NAN)), "NaN");
}

static void test_half(void)
{
    lb_test_case("half precision: all 65536 there and back; ties, overflow, subnormals");
    size_t bad = 0;
    for (uint32_t h = 0; h < 65536; h++) {
        const float f = lb_f16_to_f32((uint16_t)h);
        const bool nan = (h & 0x7fff) > 0x7c00;
        bad += nan ? !isnan(f) || (lb_f32_to_f16(f) & 0x7e00) != 0x7e00 : lb_f32_to_f16(f) != h;
    }
    LB_CHECK(bad == 0, "%zu of 65536", bad);
    LB_CHECK(lb_f32_to_f16(65519.0f) == 0x7bff && lb_f32_to_f16(65520.0f) == 0x7c00, "overflow");
    LB_CHECK(lb_f32_to_f16(0x1p-25f) == 0 && lb_f32_to_f16(0x1.000002p-25f) == 1, "half of the smallest");
    LB_CHECK(lb_f32_to_f16(1.0f + 0x1p-11f) == 0x3c00 && lb_f32_to_f16(1.0f + 0x1.8p-10f) == 0x3c02, "ties to even");
    LB_CHECK(lb_f32_to_bf16(1.0f + 0x1p-8f) == 0x3f80 && lb_f32_to_bf16(1.0f + 0x1.8p-7f) == 0x3f82, "bf16 ties to even");
    LB_CHECK(lb_mini(255) == 1.9375f && lb_mini(0) == 0x1p-15f && lb_mini(0xf0) == 1.0f, "mini");
}

/* ---------------------------------------------------------------- packers */

static double test_pack_error(const lb_wformat_info *f, const float *x, size_t stride, size_t rows, size_t k,
                              const float *h, void *tile)
{
    float *out = malloc(k * sizeof(float));
    double error = 0.0, all = 0.0;
    memset(tile, 0xa5, f->tile_bytes(k));
    lb_packer(f->id)(x, stride, rows, k, h, tile);
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        f->unpack(tile, k, r, out);
        for (size_t c = 0; c < k; c++) {
            const double want = r < rows ? (double)x[r * stride + c] : 0.0, d = (double)out[c] - want, w = h ? (double)h[c] : 1.0;
            error += w * d * d;
            all += w * want * want;
        }
    }
    free(out);
    return all > 0.0 ? error / all : error;
}

static void test_packers(void)
{
    static const struct {
        const char *name;
        double gauss; /* bound of the normalised squared error on N(0, 1) */
    } bounds[] = {{"f32", 0.0}, {"f16", 6e-8}, {"bf16", 4e-6}, {"q8", 3.2e-5}, {"q6", 0.0004},
                 {"q5", 0.00154}, {"q4", 0.0057}, {"q3", 0.0235}, {"q2", 0.093}, {"lut4", 0.0062}, {"lut3", 0.0237}, {"lut2", 0.093}, {"lut1", 0.37},
                  {"tcq2", 0.082}, {"tcq3", 0.0225}, {"tcq4", 0.0064}};
    const size_t k = 1000, stride = 1003;
    float *x = malloc(LB_TILE_ROWS * stride * sizeof(float)), *h = malloc(k * sizeof(float));
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        const lb_wformat_info *f = lb_wformat_named(bounds[i].name);
        lb_test_case("pack %s: error on N(0,1), zero rows, outliers, not-finite weights, importance", bounds[i].name);
        void *tile = lb_test_guard(f->tile_bytes(k), false);
        for (size_t j = 0; j < LB_TILE_ROWS * stride; j++) {
            x[j] = lb_test_gauss();
        }
        double e = test_pack_error(f, x, stride, 16, k, NULL, tile);
        LB_CHECK(e <= bounds[i].gauss, "error %.6f", e);
        e = test_pack_error(f, x, stride, 3, k, NULL, tile);
        LB_CHECK(e <= bounds[i].gauss * 1.1, "3 rows: error %.6f", e);
        for (size_t j = 0; j < k; j++) {
            h[j] = j / 4 % 4 == 0 ? 10.0f : 0.1f;
        }
        const double plain = test_pack_error(f, x, stride, 16, k, NULL, tile);
        e = test_pack_error(f, x, stride, 16, k, h, tile);
        LB_CHECK(e <= bounds[i].gauss, "importance: error %.6f", e);
        LB_CHECK(f->reads == LB_READS_F32 || e < plain, "importance helps: %.6f, %.6f without", e, plain);
        for (size_t j = 0; j < stride; j++) {
            x[j] = 0.0f;                      /* a zero row */
            x[stride + j] *= 1e-38f;          /* denormal */
            x[2 * stride + j] *= 1e37f;       /* huge */
            x[3 * stride + j] = j % 64 ? x[3 * stride + j] * 1e-4f : 100.0f; /* outliers */
            x[4 * stride + j] = fabsf(x[4 * stride + j]);
            x[5 * stride + j] = -fabsf(x[5 * stride + j]);
        }
        lb_packer(f->id)(x, stride, 16, k, NULL, tile);
        float *out = malloc(k * sizeof(float));
        f->unpack(tile, k, 0, out);
        bool zero = true, finite = true;
        for (size_t c = 0; c < k; c++) {
            zero &= out[c] == 0.0f;
        }
        LB_CHECK(zero, "a zero row stays zero");
        x[6 * stride] = INFINITY;
        x[6 * stride + 40] = -INFINITY;
        x[6 * stride + 100] = NAN;
        lb_packer(f->id)(x, stride, 16, k, NULL, tile);
        for (size_t r = 0; r < 16; r++) {
            f->unpack(tile, k, r, out);
            for (size_t c = 0; c < k; c++) {
                finite &= (bool)isfinite(out[c]);
            }
        }
        LB_CHECK(finite, "values that are not finite are packed as zero");
        free(out);
        lb_test_guard_free(tile);
    }

    lb_test_case("pack q8, q4: what the grid holds is exact");
    for (size_t j = 0; j < LB_TILE_ROWS * stride; j++) {
        x[j] = (float)((int)test_below(255) - 127) * 0.0625f;
    }
    for (size_t r = 0; r < 16; r++) {
        for (size_t c = 0; c < k; c += 32) {
            x[r * stride + c] = 127.0f * 0.0625f;
        }
    }
    void *tile = lb_test_guard(lb_q8_tile_bytes(k), false);
    double e = test_pack_error(lb_wformat_find(LB_W_Q8), x, stride, 16, k, NULL, tile);
    LB_CHECK(e < 1e-12, "q8 error %g", e);
    lb_test_guard_free(tile);
    for (size_t j = 0; j < LB_TILE_ROWS * stride; j++) {
        x[j] = (float)((int)test_below(16) - 7) * 0.125f;
    }
    for (size_t r = 0; r < 16; r++) {
        for (size_t c = 0; c + 1 < k; c += 32) {
            x[r * stride + c] = 8 * 0.125f;
            x[r * stride + c + 1] = -7 * 0.125f;
        }
    }
    tile = lb_test_guard(lb_q4_tile_bytes(k), false);
    e = test_pack_error(lb_wformat_find(LB_W_Q4), x, stride, 16, k, NULL, tile);
    LB_CHECK(e < 1e-12, "q4 error %g", e);
    lb_test_guard_free(tile);
    free(x);
    free(h);
}

static void test_formats(void)
{
    lb_test_case("formats: table, sizes, bits");
    const lb_wformat_info *f;
    size_t n = 0;
    for (; (f = lb_wformat_at(n)) != NULL; n++) {
        LB_CHECK(lb_wformat_find((uint32_t)f->id) == f && lb_wformat_named(f->name) == f, "%s", f->name);
        LB_CHECK(lb_packer(f->id) != NULL, "%s has a packer", f->name);
        for (size_t k = 1; k < 400; k++) {
            LB_CHECK(f->tile_bytes(k) % 64 == 0, "%s k %zu", f->name, k);
            LB_CHECK(f->tile_bytes(k) == f->tile_bytes((k + 63) / 64 * 64), "%s k %zu", f->name, k);
        }
        const double bits = 8.0 * (double)f->tile_bytes(LB_MAX_K) / 16.0 / (double)LB_MAX_K;
        LB_CHECK(fabs(bits - f->bits) < 1e-3, "%s: %.4f bits", f->name, bits);
    }
    LB_CHECK(!lb_wformat_find(0) && !lb_wformat_find(63) && !lb_wformat_find(0xffffffff) && !lb_wformat_named("q"), "unknown");
}

void test_kernels(void)
{
    test_levels();
    test_exp();
    test_exp_down();
    test_exp_code();
    test_half();
    test_formats();
    test_packers();
}
