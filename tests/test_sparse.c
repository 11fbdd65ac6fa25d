/*
 * Weights that are mostly zero: masks with values (kernels of every level, files, conversion), and checkpoints that are 2:4 already.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/container/lb_container.h"
#include "../formats/calib/lb_calib.h"
#include "../formats/pack/lb_convert.h"
#include "../kernels/lb_layout.h"
#include "level_kernels.h"
#include "lb_test.h"
#include "small_models.h"

void test_sparse(void);

/* Products of every level against the reference, between guard pages; masks at random, so that values often do not suffice */
static void sp_kernels(void)
{
    const lb_kernels *ref = lb_kernels_for("scalar");
    bool usable;
    const char *isa;
    for (size_t i = 1; (isa = lb_isa_level(i, &usable)) != NULL; i++) {
        lb_test_case("masked products, %s", isa);
        if (!usable) {
            lb_test_skip("this CPU lacks the level");
            continue;
        }
        const lb_kernels *k = lb_kernels_for(isa);
        for (size_t run = 0; run < 80; run++) {
            const size_t cols = 64 * (1 + lb_test_random() % 20), tiles = 1 + lb_test_random() % 4, n = run % 40 == 0 ? 256 : 1 + run % 15;
            const size_t values = 64 * (1 + lb_test_random() % (cols / 4)), bytes = lb_masked_values_at(cols) + values;
            const size_t ys = tiles * 16 + run % 3, density = run % 5;
            uint8_t *w = lb_test_guard(tiles * bytes, run % 2);
            int8_t *q = lb_test_guard(n * cols, run % 2);
            float *scale = malloc(n * cols / 32 * sizeof(float)), *x = malloc(cols * sizeof(float));
            int32_t *sum = malloc(n * cols / 32 * sizeof(int32_t)), *start = malloc(n * cols / 32 * sizeof(int32_t));
            float *y = lb_test_guard(n * ys * sizeof(float), run % 2), *want = malloc(n * ys * sizeof(float));
            void *scratch = lb_test_guard(LB_MM_SCRATCH, true);
            memset(scratch, 0xff, LB_MM_SCRATCH);
            for (size_t j = 0; j < tiles * bytes; j++) {
                w[j] = (uint8_t)lb_test_random();
            }
            for (size_t t = 0; t < tiles; t++) {
                for (size_t r = 0; r < 16; r++) {
                    ((float *)(void *)(w + t * bytes))[r] = lb_test_gauss();
                }
                uint8_t *masks = w + t * bytes + lb_masked_masks_at(cols);
                for (size_t j = 0; j < 2 * cols && density < 4; j++) { /* 0: empty, 4: full of what is there */
                    masks[j] = density == 0 ? 0 : density == 3 ? 0xff : (uint8_t)(masks[j] & lb_test_random() & (density == 1 ? 0x55 : 0xff));
                }
                for (size_t j = lb_masked_values_at(cols); j < bytes; j++) { /* a code is 1..255 */
                    w[t * bytes + j] = (uint8_t)(w[t * bytes + j] ? w[t * bytes + j] : 255);
                }
            }
            for (size_t t = 0; t < n; t++) {
                for (size_t c = 0; c < cols; c++) {
                    x[c] = lb_test_gauss();
                }
                ref->quantize_a8(x, cols, q + t * cols, scale + t * cols / 32, sum + t * cols / 32, start + t * cols / 32);
            }
            const lb_input in = { .n = n, .q = q, .q_stride = cols, .scale = scale, .sum = sum, .start = start, .group_stride = cols / 32 };
            for (int add = 0; add < 2; add++) {
                for (size_t j = 0; j < n * ys; j++) {
                    y[j] = want[j] = lb_test_gauss();
                }
                ref->masked(w, bytes, tiles, cols, &in, want, ys, add, NULL);
                k->masked(w, bytes, tiles, cols, &in, y, ys, add, scratch);
                LB_CHECK(memcmp(y, want, n * ys * sizeof *y) == 0, "%zu columns, %zu values, %zu tiles, %zu tokens, add %d", cols, values,
                         tiles, n, add);
            }
            free(want);
            free(scale);
            free(sum);
            free(start);
            free(x);
            lb_test_guard_free(scratch);
            lb_test_guard_free(w);
            lb_test_guard_free(q);
            lb_test_guard_free(y);
        }
    }
}

/* A source of another's tensors, with zeros in the linear layers */
typedef enum sp_pattern { SP_24, SP_MOST } sp_pattern;
typedef struct sp_source {
    lb_source source;
    lb_source *from;
    sp_pattern pattern;
} sp_source;

static lbrt_status sp_rows(const lb_source *s, size_t i, uint64_t row, uint64_t n, float *out, lbrt_error *err)
{
    const sp_source *p = (const sp_source *)s;
    const lb_source_tensor *t = &s->tensors[i];
    LB_TRY(p->from->read_rows(p->from, i, row, n, out, err));
    for (uint64_t r = row; r < row + n && t->rows > 1 && strchr(t->name, '.'); r++) {
        for (uint64_t c = 0; c < t->cols; c++) {
            const uint64_t h = (r * 0x9e3779b97f4a7c15ull + c / 4 * 0xbf58476d1ce4e5b9ull) >> 40;
            const bool keep = p->pattern == SP_24 ? (c + h) % 4 < 2 : (h * 31 + c * 7) % 4 == 0;
            out[(r - row) * t->cols + c] *= keep ? 1.0f : 0.0f;
        }
    }
    return LBRT_OK;
}

static size_t sp_warnings;

static void sp_report(void *user, const lb_convert_tensor_report *r)
{
    (void)user;
    sp_warnings += r->warning != NULL && strstr(r->warning, "--sparse") != NULL;
}

static const char *sp_convert_as(const char *name, sp_pattern pattern, const lb_convert_options *o, bool calibrate)
{
    static char paths[4][300];
    static unsigned next;
    char *path = paths[next++ % 4], text[1200];
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lb_source *from = sm_source("micro");
    sp_source p = { *from, from, pattern };
    p.source.read_rows = sp_rows;
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = "the hand is there and "[i * i % 89 % 22];
    }
    const lb_calib_options how = { .text = text, .text_bytes = sizeof text, .n_context = 64, .damping = -1.0, .shift = -1.0 };
    lb_calib_report report;
    strcpy(path, lb_test_temp(name));
    sp_warnings = 0;
    LB_CHECK((calibrate ? lb_convert_calibrated(&p.source, path, o, &how, &a, &report, &err) : lb_convert(&p.source, path, o, &a, &err)) == LBRT_OK,
             "%s", err.text);
    from->close(from);
    return path;
}

static const char *sp_convert(const char *name, sp_pattern pattern, lb_wformat format, bool sparse, const lb_convert_rule *rule)
{
    const lb_convert_options o = { .format = format, .rules = rule, .n_rules = rule ? 1 : 0, .threads = 2, .sparse = sparse,
                                   .tensor = sp_report };
    return sp_convert_as(name, pattern, &o, false);
}

enum { SP_N = 19, SP_VOCAB = 288 };

static bool sp_logits(const char *path, const char *isa, uint32_t batch, uint32_t threads, float *out)
{
    return sm_logits(path, isa, batch, threads, SP_N, out);
}

/* The file's terms of one tensor; the container stays open for as long as data */
static const lb_tensor *sp_tensor(const char *path, const char *name, unsigned char **data, lb_container *c, size_t *bytes)
{
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    *data = sm_load(path, bytes);
    return *data && LB_CHECK(lb_container_open(c, *data, *bytes, &a, &err) == LBRT_OK, "%s", err.text) ? lb_container_find(c, name) : NULL;
}

static void sp_masked_models(void)
{
    static float want[SP_N * SP_VOCAB], got[SP_N * SP_VOCAB];
    lb_test_case("three of four weights zero: masks and values are q8 in fewer bytes, to the last bit");
    const char *q8 = sp_convert("most-q8.lbrt", SP_MOST, LB_W_Q8, false, NULL);
    LB_CHECK(sp_warnings == 14, "%zu layers said to be sparse", sp_warnings);
    const lb_convert_rule rule = { "*attn_k", LB_W_Q8 };
    const char *masked = sp_convert("most-masked.lbrt", SP_MOST, LB_W_Q3, true, &rule);
    LB_CHECK(sp_warnings == 2, "%zu warnings", sp_warnings); /* those that the rule names */
    unsigned char *data;
    lb_container c;
    size_t bytes;
    const lb_tensor *t = sp_tensor(masked, "layers.1.ffn_down", &data, &c, &bytes);
    if (LB_CHECK(t && t->n_terms == 1 && t->terms[0].kind == LB_TERM_MASKED, "not masked")) {
        /* 3 tiles of 72 columns, filled up to 128: 64 + 64 of scales, 256 of masks, a quarter of 16 x 72 values and some more */
        const size_t tile = t->terms[0].parts[0].tile_bytes;
        LB_CHECK(tile >= 64 + 64 + 256 + 288 && tile <= 64 + 64 + 256 + 448, "%zu bytes a tile", tile);
        const lb_tensor *k = lb_container_find(&c, "layers.1.attn_k");
        LB_CHECK(k && k->terms[0].kind == LB_TERM_PACKED && k->terms[0].parts[0].format == LB_W_Q8, "a rule wins");

        lb_test_case("a masked term: cut off, and masks that mark more than there is");
        unsigned char *masks = data + (t->terms[0].parts[0].data - data) + lb_masked_masks_at(72);
        memset(masks, 0xff, 144);
        lbrt_model *m = NULL;
        lbrt_session *s = NULL;
        lbrt_error err = { LBRT_OK, "" };
        lbrt_token ids[3] = { 1, 2, 3 };
        LB_CHECK(lbrt_model_open_memory(data, bytes, NULL, &m, &err) == LBRT_OK && lbrt_session_create(m, NULL, &s, &err) == LBRT_OK &&
                     lbrt_feed(s, ids, 3) == LBRT_OK,
                 "%s", err.text);
        lbrt_session_free(s);
        lbrt_model_close(m);
        lb_container_close(&c);
    }
    free(data);
    if (!sp_logits(q8, NULL, 32, 1, want)) {
        return;
    }
    bool usable;
    const char *isa;
    for (size_t i = 0; (isa = lbrt_isa_name(i, &usable)) != NULL; i++) {
        lb_test_case("masked layers, %s: the bits of q8, however a prompt is split", isa);
        if (!usable) {
            lb_test_skip("this CPU lacks the level");
            continue;
        }
        static const uint32_t ways[][2] = { { 1, 2 }, { 32, 1 }, { 5, 3 } };
        for (size_t j = 0; j < 3; j++) {
            LB_CHECK(sp_logits(masked, isa, ways[j][0], ways[j][1], got) && memcmp(got, want, sizeof want) == 0, "batch %u, %u threads",
                     ways[j][0], ways[j][1]);
        }
    }
}

static void sp_24_models(void)
{
    static float dense[SP_N * SP_VOCAB], sparse[SP_N * SP_VOCAB];
    lb_test_case("a checkpoint that is 2:4: found, and kept as s24q8 or s24q4");
    const char *f32 = sp_convert("24-f32.lbrt", SP_24, LB_W_F32, true, NULL), *q8 = sp_convert("24-q8.lbrt", SP_24, LB_W_Q8, true, NULL);
    for (size_t i = 0; i < 2; i++) {
        const char *path = i ? sp_convert("24-q4.lbrt", SP_24, LB_W_Q4, true, NULL) : q8;
        unsigned char *data;
        lb_container c;
        size_t bytes;
        const lb_tensor *t = sp_tensor(path, "layers.0.ffn_up", &data, &c, &bytes);
        LB_CHECK(t && t->terms[0].parts[0].format == (i ? LB_W_S24Q4 : LB_W_S24Q8), "ffn_up");
        if (t) {
            lb_container_close(&c);
        }
        free(data);
    }
    double error = 0.0, all = 0.0;
    if (sp_logits(f32, NULL, 32, 1, dense) && sp_logits(q8, NULL, 32, 1, sparse)) {
        for (size_t i = 0; i < SP_N * SP_VOCAB; i++) {
            error += pow((double)dense[i] - (double)sparse[i], 2.0);
            all += pow((double)dense[i], 2.0);
        }
        LB_CHECK(error < 0.002 * all, "error %g", error / all); /* no weight was lost */
    }
    (void)sp_convert("24-plain.lbrt", SP_24, LB_W_Q8, false, NULL);
    LB_CHECK(sp_warnings == 14, "%zu layers said to be sparse", sp_warnings);
}

/* Masks lose next to nothing, so that calibration changes none of their layers, and packs what reads their outputs. */
static void sp_calibrated(void)
{
    static float without[SP_N * SP_VOCAB], with[SP_N * SP_VOCAB], other[SP_N * SP_VOCAB];
    lb_test_case("masks and values with calibration");
    lb_convert_rule rules[] = { { "out_head", LB_W_F32 }, { "*ffn_down", LB_W_Q4 } };
    lb_convert_options o = { .format = LB_W_Q3, .rules = rules, .n_rules = 1, .threads = 2, .sparse = true };
    if (sp_logits(sp_convert_as("masked-plain.lbrt", SP_MOST, &o, false), NULL, 32, 1, without) &&
        sp_logits(sp_convert_as("masked-calib.lbrt", SP_MOST, &o, true), NULL, 32, 1, with)) {
        LB_CHECK(memcmp(without, with, sizeof with) == 0, "all layers masked: calibration makes a difference");
    }
    o.n_rules = 2;
    if (sp_logits(sp_convert_as("masked-mixed.lbrt", SP_MOST, &o, true), NULL, 32, 1, other)) {
        LB_CHECK(memcmp(other, with, sizeof with) != 0, "the layers in q4 make none");
    }
}

void test_sparse(void)
{
    sp_kernels();
    sp_masked_models();
    sp_24_models();
    sp_calibrated();
}
