/* Ternary weights: the code's digits, packing without loss, the largest sums, int8 by token. */
#include "../formats/pack/lb_convert.h"
#include "test_kernels.h"

void test_kernels_tern(void);

static void tern_codes(void)
{
    lb_test_case("tern: digits of every byte; 243 codes, five trits each");
    for (unsigned code = 0; code < 256; code++) {
        unsigned f = code;
        for (size_t j = 0; j < 5; j++) {
            LB_CHECK(lb_tern_digit(code, j) == (int)(3 * f >> 8), "code %u digit %zu", code, j);
            LB_CHECK(3 * f - (3 * f & 255) == 256 * (unsigned)lb_tern_digit(code, j),
                     "code %u: the recurrence", code);
            f = 3 * f & 255;
        }
    }
    for (unsigned v = 0; v < 243; v++) {
        const unsigned code = (v * 256 + 242) / 243;
        unsigned back = 0;
        for (size_t j = 0; j < 5; j++) {
            back = 3 * back + (unsigned)lb_tern_digit(code, j);
        }
        LB_CHECK(code < 256 && back == v, "%u became %u", v, back);
    }
}

static void tern_pack(void)
{
    lb_test_case("tern: ternary rows are packed without loss, whatever their scale");
    enum { K = 700 };
    float *x = malloc(16 * K * sizeof(float)), out[K];
    for (size_t k = 1; k < K; k += 1 + test_below(40)) {
        const size_t n = 1 + test_below(16);
        void *tile = lb_test_guard(lb_tern_tile_bytes(k), k % 2 == 0);
        for (size_t r = 0; r < n; r++) {
            const float scale = r == 0 ? 0x1p-149f : r == 1 ? 3e38f : expf(8.0f * lb_test_gauss());
            const size_t kind = test_below(8); /* all 0, all 1, all -1, or any */
            for (size_t c = 0; c < k; c++) {
                const int trit = kind < 3 ? (int)kind - 1 : (int)test_below(3) - 1;
                x[r * K + c] = (float)trit * scale;
            }
        }
        memset(tile, 0xa5, lb_tern_tile_bytes(k));
        lb_pack_tern(x, K, n, k, NULL, tile);
        size_t wrong = 0;
        for (size_t r = 0; r < 16; r++) {
            lb_wformat_find(LB_W_TERN)->unpack(tile, k, r, out);
            for (size_t c = 0; c < k; c++) {
                wrong += out[c] != (r < n ? x[r * K + c] : 0.0f);
            }
        }
        const uint8_t *codes = (const uint8_t *)tile + LB_TERN_CODES_AT;
        for (size_t c = k; c < lb_tern_lines(k) * LB_TERN_COLUMNS; c++) {
            for (size_t r = 0; r < 16; r++) {
                wrong += lb_tern_digit(codes[c / 20 * 64 + r * 4 + c % 4], c % 20 / 4) != 1;
            }
        }
        LB_CHECK(wrong == 0, "k %zu, %zu rows: %zu weights", k, n, wrong);
        lb_test_guard_free(tile);
    }

    lb_test_case("tern: other rows are rounded");
    for (size_t i = 0; i < 16 * K; i++) {
        x[i] = lb_test_gauss();
    }
    x[3] = INFINITY;
    x[K + 5] = NAN;
    void *tile = lb_test_guard(lb_tern_tile_bytes(K), false);
    lb_pack_tern(x, K, 16, K, NULL, tile);
    double error = 0.0;
    for (size_t r = 0; r < 16; r++) {
        lb_wformat_find(LB_W_TERN)->unpack(tile, K, r, out);
        for (size_t c = 0; c < K; c++) {
            const float want = isfinite(x[r * K + c]) ? x[r * K + c] : 0.0f;
            error += ((double)out[c] - (double)want) * ((double)out[c] - (double)want) / (16.0 * K);
        }
    }
    LB_CHECK(error < 0.205, "error %.3f on N(0, 1)", error);
    lb_test_guard_free(tile);
    free(x);
}

static void tern_formats(void)
{
    lb_test_case("tern: chosen for ternary tensors unless a rule says otherwise");
    const lb_convert_rule rule = {"*ffn*", LB_W_Q8};
    lb_convert_options o = {.format = LB_W_Q4, .rules = &rule};
    lb_source_tensor t = {
        .name = "layers.0.ffn_up", .rows = 16, .cols = 64, .ternary = true, .ternary_scale = 1.0f};
    LB_CHECK(lb_convert_format(&o, &t) == LB_W_TERN, "by itself");
    o.n_rules = 1;
    LB_CHECK(lb_convert_format(&o, &t) == LB_W_Q8, "by a rule");
    o.n_rules = 0;
    t.ternary = false;
    LB_CHECK(lb_convert_format(&o, &t) == LB_W_Q4, "not ternary");
    o.format = LB_W_TERN;
    LB_CHECK(lb_convert_format(&o, &t) == LB_W_TERN, "asked for");
    memcpy(t.name, "tok_embed", 10);
    LB_CHECK(lb_convert_format(&o, &t) == LB_W_Q8, "the embedding");
}

/* Columns beyond which sums of digits leave 16 bits, and of fractions 32 bits; all as large as can be */
static void tern_long(const lb_kernels *ref, const lb_kernels *k)
{
    lb_test_case("%s tern: the largest sums", k->isa);
    static const size_t columns[] = {2560, 33088, 70016};
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        const size_t kk = columns[i], bytes = lb_tern_tile_bytes(kk);
        uint8_t *w = lb_test_guard(bytes, false);
        int8_t *q = lb_test_guard(5 * kk, false);
        const float scale[5] = {1.0f, 1.0f, 1.0f, 1.0f, 1.0f};
        for (int sign = -1; sign <= 1; sign += 2) {
            for (unsigned code = 0; code < 256; code += 255) {
                int32_t sum[5];
                memset(w, (int)code, bytes);
                memset(q, sign * 127, 5 * kk);
                for (size_t r = 0; r < 16; r++) {
                    ((float *)(void *)w)[r] = 1.0f;
                }
                for (size_t t = 0; t < 5; t++) {
                    sum[t] = sign * 127 * (int32_t)kk;
                }
                const lb_input in = {
                    .n = 5, .tq = q, .tq_stride = kk, .token_scale = scale, .token_sum = sum};
                lb_input one = in;
                one.n = 1;
                float want[80], y[80], v[16];
                void *scratch = lb_test_guard(LB_MM_SCRATCH, false);
                ref->gemm[LB_W_TERN](w, bytes, 1, kk, &in, want, 16, false, scratch);
                k->gemm[LB_W_TERN](w, bytes, 1, kk, &in, y, 16, false, scratch);
                k->gemv[LB_W_TERN](w, bytes, 1, kk, &one, v, 16, false, scratch);
                const float expected = (float)((code ? 1 : -1) * sign * 127 * (int32_t)kk);
                LB_CHECK(want[0] == expected, "reference: %g instead of %g", (double)want[0],
                         (double)expected);
                LB_CHECK(test_differ(y, want, 80) == 80, "gemm k %zu: %g, not %g", kk, (double)y[0],
                         (double)want[0]);
                LB_CHECK(test_differ(v, want, 16) == 16, "gemv k %zu: %g, not %g", kk, (double)v[0],
                         (double)want[0]);
                lb_test_guard_free(scratch);
            }
        }
        lb_test_guard_free(q);
        lb_test_guard_free(w);
    }
}

static void tern_tokens(const lb_kernels *ref, const lb_kernels *k)
{
    lb_test_case("%s quantize_a8_token", k->isa);
    for (size_t i = 0; i < 400; i++) {
        const size_t n = 1 + test_below(300), n_pad = lb_round_up64(n);
        float *x = test_floats(n, i % 2 == 0, i % 4 == 3);
        int8_t *want = lb_test_guard(n_pad, false), *q = lb_test_guard(n_pad, i % 2 == 0);
        float want_scale, scale;
        int32_t want_sum, sum;
        for (size_t c = 0; i % 16 == 1 && c < n; c++) {
            x[c] *= 1e-10f; /* below the least that counts */
        }
        for (size_t c = 0; i % 16 == 3 && c < n; c++) {
            x[c] = (float)((int)test_below(255) - 127) * 0.5f; /* ties */
        }
        ref->quantize_a8_token(x, n, want, &want_scale, &want_sum);
        k->quantize_a8_token(x, n, q, &scale, &sum);
        LB_CHECK(memcmp(q, want, n_pad) == 0 && test_same(scale, want_scale) && sum == want_sum,
                 "n %zu: scale %a, not %a", n, (double)scale, (double)want_scale);
        lb_test_guard_free(q);
        lb_test_guard_free(want);
        lb_test_guard_free(x);
    }
}

static void tern_level(const lb_kernels *ref, const lb_kernels *k)
{
    tern_long(ref, k);
    tern_tokens(ref, k);
}

void test_kernels_tern(void)
{
    tern_codes();
    tern_pack();
    tern_formats();

    lb_test_case("quantize_a8_token: BitNet's rule");
    const lb_kernels *k = lb_kernels_for("scalar");
    float x[4] = {1.0f, -2.0f, 0.5f, 0.0f};
    int8_t q[64];
    float scale;
    int32_t sum;
    k->quantize_a8_token(x, 4, q, &scale, &sum);
    LB_CHECK(q[0] == 64 && q[1] == -127 && q[2] == 32 && q[3] == 0 && q[4] == 0 && q[63] == 0, "%d %d %d",
             q[0], q[1], q[2]);
    LB_CHECK(scale == 2.0f / 127.0f && sum == -31, "%g %d", (double)scale, (int)sum);
    x[1] = NAN;
    k->quantize_a8_token(x, 4, q, &scale, &sum);
    LB_CHECK(isnan(scale) && q[0] == 0 && sum == 0, "NaN");
    x[0] = x[1] = x[2] = 0.0f;
    k->quantize_a8_token(x, 4, q, &scale, &sum);
    LB_CHECK(scale == 1e-5f / 127.0f && q[0] == 0 && sum == 0, "zero");
    test_each_level("ternary products", tern_level);
}
