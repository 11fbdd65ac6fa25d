/* Layers of several terms: low-rank ones beside a format (lbrt-convert --lowrank), rows of two formats (--salient-rows). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/container/lb_container.h"
#include "../formats/pack/lb_convert.h"
#include "../formats/pack/lb_lowrank.h"
#include "../formats/pack/lb_pack.h"
#include "level_kernels.h"
#include "lb_test.h"
#include "small_models.h"

void test_terms(void);

enum { LR_ROWS = 70, LR_COLS = 150, LR_RANK = 4 };

/* Fits w; the sum Q + A B goes to out. */
static double lr_fit(const float *w, size_t rank, lb_wformat format, unsigned threads, float *out)
{
    lbrt_error err = { LBRT_OK, "" };
    lb_lowrank l = { .format = lb_wformat_find((uint32_t)format), .rows = LR_ROWS, .cols = LR_COLS, .rank = rank, .threads = threads,
                     .allocator = lb_allocator_or_default(NULL) };
    l.pool = aligned_alloc(64, lb_round_up(lb_pool_bytes(threads), 64));
    LB_CHECK(lb_pool_start(l.pool, threads, &err) == LBRT_OK && lb_lowrank_begin(&l, &err) == LBRT_OK, "%s", err.text);
    memcpy(l.w, w, LR_ROWS * LR_COLS * sizeof *w);
    lb_lowrank_fit(&l);
    for (size_t r = 0; r < LR_ROWS; r++) {
        l.format->unpack(l.tiles + r / 16 * l.format->tile_bytes(LR_COLS), LR_COLS, r % 16, out + r * LR_COLS);
        for (size_t c = 0; c < LR_COLS; c++) {
            for (size_t k = 0; k < rank; k++) {
                out[r * LR_COLS + c] += l.a[r * rank + k] * l.b[c * rank + k];
            }
        }
    }
    const double error = l.error;
    lb_lowrank_end(&l);
    lb_pool_stop(l.pool);
    free(l.pool);
    return error;
}

static double lr_error(const float *x, const float *w)
{
    double error = 0.0, all = 0.0;
    for (size_t i = 0; i < LR_ROWS * LR_COLS; i++) {
        error += pow((double)x[i] - (double)w[i], 2.0);
        all += pow((double)w[i], 2.0);
    }
    return error / all;
}

static void lr_fits(void)
{
    lb_test_case("a matrix of rank 4 and noise: q2 keeps the noise, the factors the rest");
    const size_t n = LR_ROWS * LR_COLS;
    float *w = malloc(n * sizeof *w), *x = malloc(n * sizeof *x), *y = malloc(n * sizeof *y), u[LR_ROWS * LR_RANK], v[LR_COLS * LR_RANK];
    for (size_t i = 0; i < LR_ROWS * LR_RANK; i++) {
        u[i] = lb_test_gauss();
    }
    for (size_t i = 0; i < LR_COLS * LR_RANK; i++) {
        v[i] = lb_test_gauss();
    }
    for (size_t i = 0; i < n; i++) {
        w[i] = 0.05f * lb_test_gauss();
        for (size_t k = 0; k < LR_RANK; k++) {
            w[i] += u[i / LR_COLS * LR_RANK + k] * v[i % LR_COLS * LR_RANK + k];
        }
    }
    double e = lr_fit(w, LR_RANK, LB_W_Q2, 1, x);
    /* the noise has 0.05^2 / 4 of the energy, of which q2 loses a tenth; q2 alone loses a tenth of all */
    LB_CHECK(e < 0.0025 / 4 * 0.2, "error %g", e);
    LB_CHECK(fabs(lr_error(x, w) - e) < 1e-6, "reported %g, is %g", e, lr_error(x, w));
    LB_CHECK(lr_fit(w, LR_RANK, LB_W_Q2, 3, y) == e && memcmp(x, y, n * sizeof *x) == 0, "3 threads give other numbers");
    lb_test_case("noise alone: a higher rank loses less, and no rank loses more than none");
    for (size_t i = 0; i < n; i++) {
        w[i] = lb_test_gauss();
    }
    double last = 0.105; /* q2 on N(0, 1) */
    for (size_t rank = 1; rank < 60; rank += 12) {
        e = lr_fit(w, rank, LB_W_Q2, 2, x);
        LB_CHECK(e < last && fabs(lr_error(x, w) - e) < 1e-5, "rank %zu: %g, before %g; is %g", rank, e, last, lr_error(x, w));
        last = e;
    }
    lb_test_case("a zero matrix");
    memset(w, 0, n * sizeof *w);
    LB_CHECK(lr_fit(w, 3, LB_W_Q4, 1, x) == 0.0, "not zero");
    size_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        bad += x[i] != 0.0f;
    }
    LB_CHECK(bad == 0, "%zu numbers", bad);
    free(w);
    free(x);
    free(y);
}

enum { LR_N = 21, LR_VOCAB = 288 };

static void lr_logits(const char *path, const char *isa, uint32_t batch, uint32_t threads, float *out)
{
    (void)sm_logits(path, isa, batch, threads, LR_N, out);
}

static const char *lr_convert(const char *name, lb_wformat format, size_t rank, float salient, float outliers, const lb_convert_rule *rule)
{
    static char paths[2][300];
    static unsigned next;
    char *path = paths[next++ % 2];
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lb_source *source = sm_source("micro");
    const lb_convert_options o = { .format = format, .rules = rule, .n_rules = rule ? 1 : 0, .threads = 2, .lowrank = rank,
                                   .salient_rows = salient, .outliers = outliers };
    strcpy(path, lb_test_temp(name));
    LB_CHECK(lb_convert(source, path, &o, &a, &err) == LBRT_OK, "%s", err.text);
    source->close(source);
    return path;
}

static double lr_distance(const float *a, const float *b)
{
    double d = 0.0;
    for (size_t i = 0; i < LR_N * LR_VOCAB; i++) {
        d += pow((double)a[i] - (double)b[i], 2.0);
    }
    return d;
}

static void lr_same(const char *path, const char *what)
{
    static float want[LR_N * LR_VOCAB], got[LR_N * LR_VOCAB];
    bool usable;
    const char *isa;
    lr_logits(path, NULL, 1, 1, want);
    for (size_t i = 0; (isa = lbrt_isa_name(i, &usable)) != NULL; i++) {
        lb_test_case("%s, %s: the same bits", what, isa);
        if (!usable) {
            lb_test_skip("this CPU lacks the level");
            continue;
        }
        static const uint32_t ways[][2] = { { 1, 2 }, { 32, 1 }, { 5, 3 } };
        for (size_t j = 0; j < 3; j++) {
            lr_logits(path, isa, ways[j][0], ways[j][1], got);
            LB_CHECK(memcmp(got, want, sizeof want) == 0, "batch %u, %u threads", ways[j][0], ways[j][1]);
        }
    }
}

static float lr_exact[LR_N * LR_VOCAB], lr_plain[LR_N * LR_VOCAB], lr_got[LR_N * LR_VOCAB];

static void lr_models(void)
{
    lb_test_case("a model of q2 with rank 12 is nearer to the truth than q2");
    const lb_convert_rule mixed = { "*attn_k", LB_W_TCQ3 }; /* which takes no such term */
    const char *path = lr_convert("lowrank.lbrt", LB_W_Q2, 12, 0.0f, 0.0f, &mixed);
    lr_logits(path, NULL, 32, 1, lr_got);
    LB_CHECK(lr_distance(lr_got, lr_exact) < 0.6 * lr_distance(lr_plain, lr_exact), "%g, without %g", lr_distance(lr_got, lr_exact),
             lr_distance(lr_plain, lr_exact));
    lr_same(path, "low-rank terms");
}

/* Matrices of 72 rows get one block of 64 rows or one of 8 as q8, those of 40 become q8. */
static void lr_rows(void)
{
    lb_test_case("a model of q2 with half of its rows as q8 is nearer to the truth than q2");
    const char *path = lr_convert("rows.lbrt", LB_W_Q2, 0, 50.0f, 0.0f, NULL);
    lr_logits(path, NULL, 32, 1, lr_got);
    LB_CHECK(lr_distance(lr_got, lr_exact) < 0.6 * lr_distance(lr_plain, lr_exact), "%g, without %g", lr_distance(lr_got, lr_exact),
             lr_distance(lr_plain, lr_exact));
    size_t bytes = 0;
    lb_container c;
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    unsigned char *data = sm_load(path, &bytes);
    if (LB_CHECK(data && lb_container_open(&c, data, bytes, &a, &err) == LBRT_OK, "%s", err.text)) {
        const lb_tensor *t = lb_container_find(&c, "layers.1.ffn_up"), *q = lb_container_find(&c, "layers.0.attn_q");
        LB_CHECK(t && t->n_terms == 2 && t->terms[0].n_rows == 64 && t->terms[1].row0 == 64 && t->terms[1].n_rows == 8 &&
                     t->terms[0].parts[0].format + t->terms[1].parts[0].format == LB_W_Q2 + LB_W_Q8,
                 "ffn_up");
        LB_CHECK(q && q->n_terms == 1 && q->terms[0].parts[0].format == LB_W_Q8, "attn_q");
        lb_container_close(&c);
    }
    free(data);
    lr_same(path, "rows of two formats");
}

/* Matrices of 40 columns keep 4 of each row as f16. */
static void lr_outliers(void)
{
    lb_test_case("a model of q2 with 10 percent of outliers is nearer to the truth than q2");
    const char *path = lr_convert("outliers.lbrt", LB_W_Q2, 0, 0.0f, 10.0f, NULL);
    lr_logits(path, NULL, 32, 1, lr_got);
    LB_CHECK(lr_distance(lr_got, lr_exact) < 0.6 * lr_distance(lr_plain, lr_exact), "%g, without %g", lr_distance(lr_got, lr_exact),
             lr_distance(lr_plain, lr_exact));
    lr_same(path, "sparse terms");

    lb_test_case("a sparse term: the layout, and a column that the layer has not");
    size_t bytes = 0;
    lb_container c;
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    unsigned char *data = sm_load(path, &bytes);
    if (LB_CHECK(data && lb_container_open(&c, data, bytes, &a, &err) == LBRT_OK, "%s", err.text)) {
        const lb_tensor *t = lb_container_find(&c, "layers.1.ffn_down");
        if (LB_CHECK(t && t->n_terms == 2 && t->terms[1].kind == LB_TERM_SPARSE && t->terms[1].parts[0].tile_bytes == 7 * 64 &&
                         t->terms[1].parts[0].bytes == 3 * 7 * 64,
                     "72 columns, 7 of each row")) {
            const unsigned char *sparse = t->terms[1].parts[0].data;
            size_t bad = 0;
            for (size_t tile = 0; tile < 3; tile++) {
                for (size_t j = 1; j < 7; j++) {
                    for (size_t r = 0; r < (tile == 2 ? 8u : 16u); r++) {
                        const unsigned char *line = sparse + (tile * 7 + j) * 64;
                        bad += lb_load_u16(line + 2 * r) <= lb_load_u16(line - 64 + 2 * r) || lb_load_u16(line + 2 * r) >= 72;
                    }
                }
            }
            LB_CHECK(bad == 0, "%zu columns", bad);
            lb_store_u16(data + (sparse - data) + 64 * 5 + 6, 72);
            lbrt_model *m = NULL;
            LB_CHECK(lbrt_model_open_memory(data, bytes, NULL, &m, &err) == LBRT_ERR_FORMAT && !m && strstr(err.text, "ffn_down"), "%s",
                     err.text);
        }
        lb_container_close(&c);
    }
    free(data);
}

/* Products of every level against the reference, between guard pages */
static void lr_sparse_kernels(void)
{
    const lb_kernels *ref = lb_kernels_for("scalar");
    bool usable;
    const char *isa;
    for (size_t i = 1; (isa = lb_isa_level(i, &usable)) != NULL; i++) {
        lb_test_case("sparse products, %s", isa);
        if (!usable) {
            lb_test_skip("this CPU lacks the level");
            continue;
        }
        const lb_kernels *k = lb_kernels_for(isa);
        for (size_t run = 0; run < 60; run++) {
            const size_t cols = 1 + lb_test_random() % 300, lines = 1 + lb_test_random() % 9, tiles = 1 + lb_test_random() % 4;
            const size_t n = 1 + lb_test_random() % 5, ys = tiles * 16 + run % 3;
            uint16_t *w = lb_test_guard(tiles * lines * 64, run % 2);
            float *x = lb_test_guard(n * cols * sizeof(float), run % 2), *y = lb_test_guard(n * ys * sizeof(float), run % 2);
            float *want = malloc(n * ys * sizeof(float));
            for (size_t j = 0; j < tiles * lines * 32; j++) {
                w[j] = (uint16_t)(j % 32 < 16 ? lb_test_random() % cols : lb_test_random() & 0xbbff); /* |value| < 1 */
            }
            for (size_t j = 0; j < n * cols; j++) {
                x[j] = lb_test_gauss();
            }
            const lb_input in = { .n = n, .f32 = x, .f32_stride = cols };
            for (int add = 0; add < 2; add++) {
                for (size_t j = 0; j < n * ys; j++) {
                    y[j] = want[j] = lb_test_gauss();
                }
                ref->sparse(w, lines * 64, tiles, cols, &in, want, ys, add, NULL);
                k->sparse(w, lines * 64, tiles, cols, &in, y, ys, add, NULL);
                LB_CHECK(memcmp(y, want, n * ys * sizeof *y) == 0, "%zu lines, %zu tiles, %zu tokens, add %d", lines, tiles, n, add);
            }
            free(want);
            lb_test_guard_free(w);
            lb_test_guard_free(x);
            lb_test_guard_free(y);
        }
    }
}

void test_terms(void)
{
    lr_fits();
    lr_logits(sm_file("micro", "f32"), NULL, 32, 1, lr_exact);
    lr_logits(sm_file("micro", "q2"), NULL, 32, 1, lr_plain);
    lr_models();
    lr_rows();
    lr_outliers();
    lr_sparse_kernels();
}
