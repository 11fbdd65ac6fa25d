/*
 * LLM.int8() (Dettmers et al. 2022, arXiv 2208.07339): layers of format int8 against a transcription of the paper, what planted
 * outlier features do with and without the split, and that the split is the same whatever a token is batched with.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/pack/lb_convert.h"
#include "../formats/pack/lb_pack.h"
#include "../kernels/lb_layout.h"
#include "../runtime/engine/lb_linear.h"
#include "level_kernels.h"
#include "lb_test.h"

void test_int8(void);

enum { I8_K = 320, I8_ROWS = 40, I8_N = 9, I8_TILES = 3 };

typedef struct i8_layer {
    float w[I8_ROWS * I8_K], x[I8_N * I8_K];
    float y[I8_N * I8_TILES * 16];
} i8_layer;

/* One linear layer of one term: y of n tokens from `first` on, in the level and at the threshold asked for. */
static bool i8_run(i8_layer *l, lb_wformat format, const char *isa, float threshold, size_t first, size_t n)
{
    const lb_wformat_info *f = lb_wformat_find((uint32_t)format);
    const size_t tile_bytes = f->tile_bytes(I8_K);
    unsigned char *tiles = lb_test_guard(I8_TILES * tile_bytes, false);
    for (size_t i = 0; i < I8_TILES; i++) {
        const size_t rows = I8_ROWS - 16 * i < 16 ? I8_ROWS - 16 * i : 16;
        lb_packer(format)(l->w + 16 * i * I8_K, I8_K, rows, I8_K, NULL, tiles + i * tile_bytes);
    }
    const lb_term term = { .kind = LB_TERM_PACKED,
                           .n_rows = I8_ROWS,
                           .n_cols = I8_K,
                           .n_parts = 1,
                           .parts = { { .format = format, .rows = I8_ROWS, .cols = I8_K, .data = tiles,
                                        .bytes = I8_TILES * tile_bytes, .tile_bytes = tile_bytes } } };
    const lb_tensor tensor = { .name = "w", .name_bytes = 1, .n_terms = 1, .rows = I8_ROWS, .cols = I8_K, .terms = &term };
    const lb_linear_rules rules = { .k = lb_kernels_for(isa), .threshold = threshold };
    lb_linear linear;
    lb_linear_term terms[1];
    lbrt_error err = { LBRT_OK, "" };
    if (!LB_CHECK(lb_linear_bind(&linear, &tensor, &rules, terms, NULL, &err) == LBRT_OK, "%s", err.text)) {
        return false;
    }
    lb_arena count = { 0 };
    lb_prep prep = { 0 };
    lb_prep_layout(&prep, &count, n, I8_K, &linear.needs);
    lb_arena a = { .base = lb_test_guard(count.bytes, false) };
    memset(a.base, 0xff, count.bytes);
    lb_prep_layout(&prep, &a, n, I8_K, &linear.needs);
    lb_exec e = { .k = rules.k, .n_threads = 1, .scratch = lb_test_guard(LB_MM_SCRATCH, false) };
    e.pool = aligned_alloc(64, lb_round_up(lb_pool_bytes(1), 64));
    lb_pool_start(e.pool, 1, NULL);
    for (size_t t = 0; t < n; t++) {
        lb_prep_token(&e, &prep, t, l->x + (first + t) * I8_K, I8_K, &linear.needs);
    }
    const lb_prepared in = lb_prep_input(&prep, n, l->x + first * I8_K, I8_K);
    const lb_product product = { &linear, l->y + first * I8_TILES * 16, I8_TILES * 16, 0 };
    lb_linear_run(&e, &product, 1, &in, false);
    lb_pool_stop(e.pool);
    free(e.pool);
    lb_test_guard_free(e.scratch);
    lb_test_guard_free(a.base);
    lb_test_guard_free(tiles);
    return true;
}

/* The nearest whole number; *ties counts what is so near the middle of two that floats may find the other one. */
static double i8_round(double v, unsigned *ties)
{
    *ties = fabs(v - floor(v) - 0.5) < 3e-5;
    return rint(v);
}

/*
 * Equations 1, 4 and 5 of the paper with threshold alpha, in double precision; *size: what roundings are measured against; *other: how far codes that might be
 * the other one move it
 */
static double i8_paper(const i8_layer *l, size_t t, size_t row, double alpha, double *size, double *other)
{
    const float *x = l->x + t * I8_K, *w = l->w + row * I8_K;
    double cx = 0.0, cw = 0.0, in = 0.0, out = 0.0;
    for (size_t j = 0; j < I8_K; j++) {
        cx = fabs((double)x[j]) < alpha ? fmax(cx, fabs((double)x[j])) : cx;
        cw = fmax(cw, fabs((double)w[j]));
    }
    *size = *other = 0.0;
    for (size_t j = 0; j < I8_K; j++) {
        unsigned w_ties, x_ties = 0;
        const double code = i8_round((double)w[j] * 127.0 / cw, &w_ties);
        if (fabs((double)x[j]) >= alpha) {
            out += (double)x[j] * code * cw / 127.0;
            *size += fabs((double)x[j] * code * cw / 127.0);
            *other += w_ties * fabs((double)x[j]) * cw / 127.0;
        } else {
            const double x_code = i8_round((double)x[j] * 127.0 / cx, &x_ties);
            in += x_code * code;
            *other += (w_ties * (fabs(x_code) + 1.0) + x_ties * fabs(code)) * cx * cw / (127.0 * 127.0);
        }
    }
    *size += fabs(in) * cx * cw / (127.0 * 127.0);
    return in * cx * cw / (127.0 * 127.0) + out;
}

/* N(0, 1), and with `outliers` features 5, 261 and 319 are 12 to 60 in most tokens: the paper's large magnitude
 * features. Columns 5 and 261 take turns in one of the places where lb_linear.c keeps what it unpacked. */
static void i8_fill(i8_layer *l, bool outliers)
{
    for (size_t i = 0; i < I8_ROWS * I8_K; i++) {
        l->w[i] = 0.05f * lb_test_gauss();
    }
    for (size_t i = 0; i < I8_N * I8_K; i++) {
        l->x[i] = fminf(fmaxf(lb_test_gauss(), -4.0f), 4.0f);
    }
    static const size_t features[] = { 5, 261, 319 };
    for (size_t t = 0; outliers && t < I8_N; t++) {
        for (size_t i = 0; i < (t == 0 ? 0 : 3); i++) {
            l->x[t * I8_K + features[i]] = (i == 1 ? -1.0f : 1.0f) * (12.0f + 48.0f * (float)(lb_test_random() % 1000) / 1000.0f);
        }
    }
}

static void i8_transcription(void)
{
    static const float thresholds[] = { 0.0f, 6.0f, 2.5f, -1.0f, 100.0f };
    i8_layer *l = malloc(sizeof *l);
    for (size_t i = 0; i < sizeof thresholds / sizeof thresholds[0]; i++) {
        lb_test_case("int8 at threshold %g against the paper", (double)thresholds[i]);
        const double alpha = thresholds[i] == 0.0f ? 6.0 : thresholds[i] < 0.0f ? INFINITY : (double)thresholds[i];
        i8_fill(l, true);
        if (!i8_run(l, LB_W_INT8, NULL, thresholds[i], 0, I8_N)) {
            break;
        }
        double worst = 0.0;
        for (size_t t = 0; t < I8_N; t++) {
            for (size_t r = 0; r < I8_ROWS; r++) {
                double size, other;
                const double want = i8_paper(l, t, r, alpha, &size, &other);
                worst = fmax(worst, (fabs((double)l->y[t * I8_TILES * 16 + r] - want) - other) / (size + 1e-30));
            }
        }
        LB_CHECK(worst < 1e-6, "differs by %g", worst);
    }
    free(l);
}

/* The same by numpy (tests/gen_int8.py), which knows nothing of this code */
static void i8_numpy(void)
{
    static const double want[I8_N][I8_ROWS] = {
#include "data/int8_vectors.inc"
    };
    lb_test_case("int8 against numpy");
    i8_layer *l = malloc(sizeof *l);
    for (size_t i = 0; i < I8_ROWS * I8_K; i++) {
        l->w[i] = (float)((int)(i * 7919 % 1009) - 504) / 4096.0f;
    }
    for (size_t i = 0; i < I8_N * I8_K; i++) {
        l->x[i] = (float)((int)(i * 6101 % 997) - 498) / 100.0f; /* up to 4.98 */
    }
    for (size_t t = 1; t < I8_N; t++) {
        l->x[t * I8_K + 17 * t] = 6.0f; /* exactly the threshold: an outlier */
        l->x[t * I8_K + 300] = -(float)(20 * t);
    }
    if (i8_run(l, LB_W_INT8, NULL, 0.0f, 0, I8_N)) {
        size_t far = 0;
        for (size_t t = 0; t < I8_N; t++) {
            for (size_t r = 0; r < I8_ROWS; r++) {
                far += !(fabs((double)l->y[t * I8_TILES * 16 + r] - want[t][r]) < 2e-5); /* outputs are about 10 */
            }
        }
        LB_CHECK(far == 0, "%zu outputs differ", far);
    }
    free(l);
}

static double i8_error(i8_layer *l, lb_wformat format, float threshold)
{
    double error = 0.0, all = 0.0;
    i8_run(l, format, NULL, threshold, 0, I8_N);
    for (size_t t = 1; t < I8_N; t++) { /* token 0 has no outliers */
        for (size_t r = 0; r < I8_ROWS; r++) {
            double want = 0.0;
            for (size_t j = 0; j < I8_K; j++) {
                want += (double)l->w[r * I8_K + j] * (double)l->x[t * I8_K + j];
            }
            error += pow((double)l->y[t * I8_TILES * 16 + r] - want, 2.0);
            all += want * want;
        }
    }
    return sqrt(error / all);
}

/* The error of a layer's output, against the product in full precision. */
static void i8_planted(void)
{
    lb_test_case("planted outlier features spoil plain int8 and not LLM.int8()");
    i8_layer *l = malloc(sizeof *l);
    double plain = 0.0, split = 0.0, clean = 0.0;
    enum { RUNS = 20 };
    for (size_t i = 0; i < RUNS; i++) {
        i8_fill(l, false);
        clean += i8_error(l, LB_W_INT8, 0.0f) / RUNS;
        i8_fill(l, true);
        plain += i8_error(l, LB_W_INT8, -1.0f) / RUNS;
        split += i8_error(l, LB_W_INT8, 0.0f) / RUNS;
    }
    LB_CHECK(clean < 0.02 && split < 1.2 * clean, "with the split %.4f, without outliers %.4f", split, clean);
    LB_CHECK(plain > 3.0 * split, "plain %.4f, split %.4f", plain, split);
    lb_test_case("the split as an option of q8");
    double q8 = 0.0, q8_split = 0.0;
    for (size_t i = 0; i < RUNS; i++) {
        i8_fill(l, true);
        q8 += i8_error(l, LB_W_Q8, 0.0f) / RUNS;
        q8_split += i8_error(l, LB_W_Q8, 6.0f) / RUNS;
    }
    LB_CHECK(q8 > 1.8 * q8_split, "plain %.5f, split %.5f", q8, q8_split);
    free(l);
}

/* Every level, every split of the tokens, every format that takes int8 activations: the bits of the scalar level, all at once */
static void i8_same(void)
{
    const lb_wformat_info *f;
    i8_layer *l = malloc(sizeof *l);
    float *want = malloc(sizeof l->y);
    for (size_t i = 0; (f = lb_wformat_at(i)) != NULL; i++) {
        if (f->reads == LB_READS_F32) {
            continue;
        }
        lb_test_case("%s with outliers: every level, every batch", f->name);
        i8_fill(l, true);
        l->x[3 * I8_K + 7] = 2.0f; /* at the threshold: an outlier */
        memset(l->x + 4 * I8_K, 0, I8_K * sizeof(float));
        l->x[5 * I8_K] = INFINITY;
        l->x[6 * I8_K] = NAN;
        memset(l->y, 0, sizeof l->y);
        i8_run(l, f->id, "scalar", 2.0f, 0, I8_N);
        memcpy(want, l->y, sizeof l->y);
        bool usable;
        const char *name;
        for (size_t j = 0; (name = lb_isa_level(j, &usable)) != NULL; j++) {
            for (size_t step = 1; usable && step <= I8_N; step += 4) {
                memset(l->y, 0, sizeof l->y);
                for (size_t t = 0; t < I8_N; t += step) {
                    i8_run(l, f->id, name, 2.0f, t, t + step <= I8_N ? step : I8_N - t);
                }
                size_t bad = 0;
                for (size_t k = 0; k < sizeof l->y / sizeof(float); k++) {
                    bad += memcmp(&l->y[k], &want[k], sizeof(float)) != 0 && !(isnan(l->y[k]) && isnan(want[k]));
                }
                LB_CHECK(bad == 0, "%s, %zu tokens at once: %zu numbers", name, step, bad);
            }
        }
        LB_CHECK(isnan(want[6 * I8_TILES * 16]), "a NaN stays one");
        LB_CHECK(want[4 * I8_TILES * 16] == 0.0f, "zero in, zero out: %g", (double)want[4 * I8_TILES * 16]);
    }
    free(want);
    free(l);
}

/* `column` is `unpack` seen from the side. */
static void i8_columns(void)
{
    const lb_wformat_info *f;
    for (size_t i = 0; (f = lb_wformat_at(i)) != NULL; i++) {
        lb_test_case("%s: a column of the unpacked rows", f->name);
        enum { K = 192 };
        unsigned char *tile = lb_test_guard(f->tile_bytes(K), true);
        float x[16 * K], row[K], column[16];
        for (size_t j = 0; j < 16 * K; j++) {
            x[j] = lb_test_gauss();
        }
        lb_packer(f->id)(x, K, 16, K, NULL, tile);
        size_t bad = 0;
        for (size_t r = 0; r < 16; r++) {
            f->unpack(tile, K, r, row);
            for (size_t c = 0; c < K; c++) {
                f->column(tile, K, c, column);
                bad += column[r] != row[c];
            }
        }
        LB_CHECK(bad == 0, "%zu weights", bad);
        lb_test_guard_free(tile);
    }
}

/*
 * A real model in which outlier features are planted, as large models grow them: features of what the layers read are multiplied by
 * powers of two, their columns of weights divided by them. In full precision nothing changes.
 */
typedef struct i8_source {
    lb_source source;
    lb_source *from;
} i8_source;

static float i8_feature(uint64_t c)
{
    return c == 11 ? 64.0f : c == 70 ? 32.0f : c == 301 ? 16.0f : 1.0f;
}

static lbrt_status i8_rows(const lb_source *s, size_t i, uint64_t row, uint64_t n, float *out, lbrt_error *err)
{
    const i8_source *p = (const i8_source *)s;
    const lb_source_tensor *t = &s->tensors[i];
    const char *name = strrchr(t->name, '.');
    LB_TRY(p->from->read_rows(p->from, i, row, n, out, err));
    const bool norm = name && (strcmp(name, ".attn_norm") == 0 || strcmp(name, ".ffn_norm") == 0);
    const bool reads = name && strstr(".attn_q.attn_k.attn_v.ffn_gate.ffn_up", name) && !norm;
    for (uint64_t j = 0; j < n * t->cols && (norm || reads); j++) {
        out[j] = norm ? out[j] * i8_feature(j % t->cols) : out[j] / i8_feature(j % t->cols);
    }
    return LBRT_OK;
}

/* Perplexity of the second halves of twelve chunks of 256 tokens */
static double i8_perplexity(const char *path, float threshold, const char *text, size_t bytes)
{
    enum { CHUNK = 256, CHUNKS = 12 };
    lbrt_error err = { LBRT_OK, "" };
    lbrt_model_options mo = LBRT_MODEL_OPTIONS_INIT;
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    mo.outlier_threshold = threshold;
    o.n_context = o.n_logits = CHUNK;
    lbrt_model *m = NULL;
    lbrt_session *s = NULL;
    lbrt_token *ids = malloc(bytes * sizeof *ids);
    size_t n = 0;
    double sum = 0.0;
    if (LB_CHECK(lbrt_model_open(path, &mo, &m, &err) == LBRT_OK && lbrt_session_create(m, &o, &s, &err) == LBRT_OK &&
                     lbrt_tokenize(m, text, bytes, 0, ids, bytes, &n, &err) == LBRT_OK && n >= CHUNK * CHUNKS,
                 "%s", err.text)) {
        lbrt_model_describe(m, &info);
        for (size_t c = 0; c < CHUNKS; c++) {
            LB_CHECK(lbrt_rewind(s, 0) == LBRT_OK && lbrt_feed(s, ids + c * CHUNK, CHUNK) == LBRT_OK, "%s", lbrt_session_error(s));
            for (size_t t = CHUNK / 2; t + 1 < CHUNK; t++) {
                const float *logits = lbrt_logits(s, CHUNK - 1 - t);
                double all = 0.0;
                for (size_t i = 0; i < info.n_vocab; i++) {
                    all += exp((double)logits[i]);
                }
                sum += log(all) - (double)logits[ids[c * CHUNK + t + 1]];
            }
        }
    }
    lbrt_session_free(s);
    lbrt_model_close(m);
    free(ids);
    return exp(sum / (CHUNKS * (CHUNK / 2 - 1)));
}

static void i8_real(void)
{
    lb_test_case("outlier features planted in a real model");
    const char *folder = lb_test_shared("models/lab");
    lb_source *from = NULL;
    lbrt_error err = { LBRT_OK, "" };
    if (!folder || !LB_CHECK(lb_source_open(folder, NULL, NULL, &from, &err) == LBRT_OK, "%s", err.text)) {
        lb_test_skip("no model");
        return;
    }
    i8_source planted = { *from, from };
    planted.source.read_rows = i8_rows;
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    char path[3][300];
    for (size_t i = 0; i < 3; i++) {
        const lb_convert_rule edges = { "*_*d", LB_W_F16 }; /* embedding and head */
        const lb_convert_options o = { .format = i == 2 ? LB_W_INT8 : LB_W_F16, .rules = &edges, .n_rules = 1, .threads = 2 };
        strcpy(path[i], lb_test_temp(i == 0 ? "true.lbrt" : i == 1 ? "planted.lbrt" : "int8.lbrt"));
        LB_CHECK(lb_convert(i ? &planted.source : from, path[i], &o, &a, &err) == LBRT_OK, "%s", err.text);
    }
    from->close(from);
    size_t bytes;
    char *text = lb_test_read(lb_test_shared("models/lab/test150k.txt"), &bytes);
    bytes = lb_min(bytes, 24000);
    const double exact = i8_perplexity(path[0], 0.0f, text, bytes), same = i8_perplexity(path[1], 0.0f, text, bytes);
    const double split = i8_perplexity(path[2], 0.0f, text, bytes), plain = i8_perplexity(path[2], -1.0f, text, bytes);
    if (getenv("LB_TEST_PRINT")) {
        printf("f16 %.4f, int8 %.4f, int8 without the split %.4f\n", exact, split, plain);
    }
    LB_CHECK(fabs(same / exact - 1.0) < 1e-4, "planting changes %.4f to %.4f", exact, same);
    LB_CHECK(fabs(split / exact - 1.0) < 0.001, "LLM.int8() makes %.4f of %.4f", split, exact);
    LB_CHECK(plain / exact - 1.0 > 10.0 * fabs(split / exact - 1.0) && plain > 1.02 * exact, "plain int8 makes %.4f of %.4f, LLM.int8() %.4f",
             plain, exact, split);
    free(text);
}

void test_int8(void)
{
    i8_transcription();
    i8_numpy();
    i8_real();
    i8_planted();
    i8_same();
    i8_columns();
}
