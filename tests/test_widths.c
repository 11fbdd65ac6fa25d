/*
 * Layers with widths of their own (SliceGPT): a folder with shortcut matrices that only move numbers to other places, and back, must
 * compute what the model that it was made from computes; and what does not fit is refused by the importer and by the reader.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/calib/lb_calib.h"
#include "../formats/container/lb_container.h"
#include "../formats/pack/lb_convert.h"
#include "../formats/pack/lb_writer.h"
#include "lb_test.h"
#include "make_models.h"

void test_widths(void);

enum { WD_MID = 48, WD_OUT = 40, WD_N = 7 };

/* Where column c of the tiny model's width is behind attention, and behind the feed-forward */
static size_t wd_mid(size_t c)
{
    return (c * 7 + 3) % WD_MID;
}

static size_t wd_out(size_t c)
{
    return WD_OUT - 1 - c;
}

static float wd_weight(const char *name, size_t i)
{
    return mk_weight(name, i);
}

static void wd_put(mk_safetensors *s, const char *name, size_t rows, size_t cols, const float *w)
{
    char shape[32];
    lb_format(shape, sizeof shape, "%zu,%zu", rows, cols);
    mk_st_tensor(s, name, "F32", shape, w, rows * cols * sizeof *w);
}

/* The tiny model's matrix with columns multiplied by a norm (NULL: none) and moved, rows moved. */
static void wd_moved(mk_safetensors *s, const char *ours, const char *hf, size_t rows, size_t cols, const char *norm, size_t (*row)(size_t),
                     size_t to_rows, size_t (*col)(size_t), size_t to_cols)
{
    float *w = calloc(to_rows * to_cols, sizeof *w);
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < cols; c++) {
            const float scale = norm ? wd_weight(norm, c) : 1.0f;
            w[(row ? row(r) : r) * to_cols + (col ? col(c) : c)] = wd_weight(ours, r * cols + c) * scale;
        }
    }
    wd_put(s, hf, to_rows, to_cols, w);
    free(w);
}

/* bad: 1 the last shortcut has a column too few; 2 there is none behind attention */
static lb_source *wd_sliced(int bad, lbrt_error *err)
{
    mk_safetensors s = { { NULL, 0, 0 }, { NULL, 0, 0 } };
    mk_blob config = { NULL, 0, 0 }, weights = { NULL, 0, 0 };
    static float q1[MK_DIM * WD_MID], q2[WD_MID * WD_OUT];
    memset(q1, 0, sizeof q1);
    memset(q2, 0, sizeof q2);
    for (size_t c = 0; c < MK_DIM; c++) {
        q1[c * WD_MID + wd_mid(c)] = 1.0f;
        q2[wd_mid(c) * (bad == 1 ? WD_OUT - 1 : WD_OUT) + (bad == 1 ? 0 : wd_out(c))] = 1.0f;
    }
#define WD_LAYER "model.layers.0."
    wd_moved(&s, "tok_embed", "model.embed_tokens.weight", MK_VOCAB, MK_DIM, NULL, NULL, MK_VOCAB, NULL, MK_DIM);
    wd_moved(&s, "layers.0.attn_q", WD_LAYER "self_attn.q_proj.weight", MK_DIM, MK_DIM, "layers.0.attn_norm", NULL, MK_DIM, NULL, MK_DIM);
    wd_moved(&s, "layers.0.attn_k", WD_LAYER "self_attn.k_proj.weight", MK_KV, MK_DIM, "layers.0.attn_norm", NULL, MK_KV, NULL, MK_DIM);
    wd_moved(&s, "layers.0.attn_v", WD_LAYER "self_attn.v_proj.weight", MK_KV, MK_DIM, "layers.0.attn_norm", NULL, MK_KV, NULL, MK_DIM);
    wd_moved(&s, "layers.0.attn_o", WD_LAYER "self_attn.o_proj.weight", MK_DIM, MK_DIM, NULL, wd_mid, WD_MID, NULL, MK_DIM);
    wd_moved(&s, "layers.0.ffn_gate", WD_LAYER "mlp.gate_proj.weight", MK_FFN, MK_DIM, "layers.0.ffn_norm", NULL, MK_FFN, wd_mid, WD_MID);
    wd_moved(&s, "layers.0.ffn_up", WD_LAYER "mlp.up_proj.weight", MK_FFN, MK_DIM, "layers.0.ffn_norm", NULL, MK_FFN, wd_mid, WD_MID);
    wd_moved(&s, "layers.0.ffn_down", WD_LAYER "mlp.down_proj.weight", MK_DIM, MK_FFN, NULL, wd_out, WD_OUT, NULL, MK_FFN);
    wd_moved(&s, "tok_embed", "lm_head.weight", MK_VOCAB, MK_DIM, "out_norm", NULL, MK_VOCAB, wd_out, WD_OUT);
    if (bad != 2) {
        wd_put(&s, WD_LAYER "attn_shortcut_Q", MK_DIM, WD_MID, q1);
    }
    wd_put(&s, WD_LAYER "mlp_shortcut_Q", WD_MID, bad == 1 ? WD_OUT - 1 : WD_OUT, q2);
    mk_config("LlamaForCausalLM", "\"tie_word_embeddings\": false", &config);
    mk_st_end(&s, &weights);
    lb_source *source = NULL;
    *err = (lbrt_error){ LBRT_OK, "" };
    (void)lb_source_open(mk_folder("sliced", &config, &weights), NULL, NULL, &source, err);
    mk_free(&config);
    mk_free(&weights);
    return source;
}

static lb_source *wd_plain(void)
{
    mk_safetensors s = { { NULL, 0, 0 }, { NULL, 0, 0 } };
    mk_blob config = { NULL, 0, 0 }, weights = { NULL, 0, 0 };
    lb_source *source = NULL;
    lbrt_error err = { LBRT_OK, "" };
    mk_config("LlamaForCausalLM", "", &config);
    mk_st_weights(&s, "F32", NULL, true);
    mk_st_end(&s, &weights);
    LB_CHECK(lb_source_open(mk_folder("unsliced", &config, &weights), NULL, NULL, &source, &err) == LBRT_OK, "%s", err.text);
    mk_free(&config);
    mk_free(&weights);
    return source;
}

static const char *wd_convert(lb_source *source, const char *name, lb_wformat format)
{
    static char path[2][300];
    static unsigned next;
    char *to = path[next++ % 2];
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    const lb_convert_options o = { .format = format, .threads = 2 };
    strcpy(to, lb_test_temp(name));
    LB_CHECK(source && lb_convert(source, to, &o, &a, &err) == LBRT_OK, "%s", err.text);
    if (source) {
        source->close(source);
    }
    return to;
}

static void wd_logits(const char *path, const char *isa, uint32_t batch, uint32_t threads, float out[WD_N * MK_VOCAB])
{
    const lbrt_token ids[WD_N] = { 1, 5, 3, 7, 4, 6, 5 };
    lbrt_error err = { LBRT_OK, "" };
    lbrt_model_options mo = LBRT_MODEL_OPTIONS_INIT;
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    mo.isa = isa;
    o.n_batch = batch;
    o.n_threads = threads;
    o.n_logits = WD_N;
    lbrt_model *m = NULL;
    lbrt_session *s = NULL;
    memset(out, 0, WD_N * MK_VOCAB * sizeof *out);
    if (LB_CHECK(lbrt_model_open(path, &mo, &m, &err) == LBRT_OK && lbrt_session_create(m, &o, &s, &err) == LBRT_OK, "%s", err.text) &&
        LB_CHECK(lbrt_feed(s, ids, WD_N) == LBRT_OK, "%s", lbrt_session_error(s))) {
        for (size_t i = 0; i < WD_N; i++) {
            memcpy(out + i * MK_VOCAB, lbrt_logits(s, i), MK_VOCAB * sizeof *out);
        }
    }
    lbrt_session_free(s);
    lbrt_model_close(m);
}

/* The sliced model converted with a text, and with a budget if that is not 0 */
static void wd_calibrated(lb_wformat format, double budget, float out[WD_N * MK_VOCAB])
{
    static const char letters[] = "ab aab b abba a";
    char path[300], text[3000];
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lb_source *source = wd_sliced(0, &err);
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = letters[(i * i / 7 + i) % (sizeof letters - 1)];
    }
    const lb_convert_options o = { .format = format, .threads = 2 };
    const lb_calib_options how = { .text = text, .text_bytes = sizeof text, .n_context = 16, .damping = -1.0, .shift = -1.0, .budget_bits = budget };
    lb_calib_report report = { .kl = NAN };
    strcpy(path, lb_test_temp("widths-calib.lbrt"));
    LB_CHECK(source && lb_convert_calibrated(source, path, &o, &how, &a, &report, &err) == LBRT_OK && report.kl >= 0.0 && report.kl < 1.0,
             "%s, KL %g", err.text, report.kl);
    wd_logits(path, NULL, WD_N, 1, out);
    if (source) {
        source->close(source);
    }
}

static double wd_distance(const float *a, const float *b)
{
    double sum = 0.0;
    for (size_t i = 0; i < WD_N * MK_VOCAB; i++) {
        sum += pow((double)a[i] - (double)b[i], 2.0);
    }
    return sum;
}

/* A file of the same tensors in which one is left out or has another shape is refused. */
static void wd_refused(const char *path, const char *name, uint64_t rows, const char *why)
{
    size_t bytes;
    char *data = lb_test_read(path, &bytes);
    unsigned char *copy = aligned_alloc(64, lb_round_up(bytes, 64));
    memcpy(copy, data, bytes);
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lb_container c;
    lb_writer w;
    lb_hparams h;
    char to[300];
    strcpy(to, lb_test_temp("widths-bad.lbrt"));
    if (LB_CHECK(lb_container_open(&c, copy, bytes, &a, &err) == LBRT_OK && lb_hparams_read(&c, &h, &err) == LBRT_OK &&
                     lb_writer_open(&w, to, &a, &err) == LBRT_OK,
                 "%s", err.text)) {
        for (size_t i = 0; i < c.n_tensors; i++) {
            const lb_tensor *t = &c.tensors[i];
            char full[64];
            lb_format(full, sizeof full, "%.*s", (int)t->name_bytes, t->name);
            const bool here = strcmp(full, name) == 0;
            if (here && rows == 0) {
                continue;
            }
            if (t->terms[0].kind == LB_TERM_VECTOR) {
                lb_writer_vector(&w, full, (const float *)(const void *)t->terms[0].parts[0].data, t->cols);
                continue;
            }
            const uint64_t n = here ? rows : t->rows;
            lb_writer_tensor(&w, full, n, t->cols, 1);
            lb_writer_term(&w, LB_TERM_PACKED, NULL, 0, n, 0, t->cols);
            lb_writer_part(&w, t->terms[0].parts[0].format, n, t->cols);
            lb_writer_data(&w, t->terms[0].parts[0].data, (size_t)((n + 15) / 16) * t->terms[0].parts[0].tile_bytes);
            lb_writer_part_end(&w);
        }
        LB_CHECK(lb_writer_commit(&w, &h, NULL, 0) == LBRT_OK, "%s", err.text);
        lb_writer_abort(&w);
        lb_container_close(&c);
        lbrt_model *m = NULL;
        LB_CHECK(lbrt_model_open(to, NULL, &m, &err) == LBRT_ERR_FORMAT && !m && strstr(err.text, why), "'%s' instead of '...%s...'", err.text,
                 why);
    }
    free(copy);
    free(data);
}

void test_widths(void)
{
    static float want[WD_N * MK_VOCAB], got[WD_N * MK_VOCAB], same[WD_N * MK_VOCAB];
    lbrt_error err;
    lb_test_case("shortcut matrices that move numbers about: what the model computes is the same");
    wd_logits(wd_convert(wd_plain(), "unsliced.lbrt", LB_W_F32), NULL, WD_N, 1, want);
    const char *sliced = wd_convert(wd_sliced(0, &err), "sliced.lbrt", LB_W_F32);
    wd_logits(sliced, NULL, WD_N, 1, got);
    for (size_t i = 0; i < WD_N * MK_VOCAB; i++) {
        LB_CHECK(fabsf(got[i] - want[i]) < 2e-4f * (1.0f + fabsf(want[i])), "position %zu: %g, %g", i / MK_VOCAB, (double)got[i],
                 (double)want[i]);
    }

    lb_test_case("widths of their own: the same bits in every level and however a prompt is split");
    const char *q8 = wd_convert(wd_sliced(0, &err), "sliced-q8.lbrt", LB_W_Q8);
    wd_logits(q8, NULL, WD_N, 1, got);
    bool usable;
    const char *isa;
    for (size_t i = 0; (isa = lbrt_isa_name(i, &usable)) != NULL; i++) {
        static const uint32_t ways[][2] = { { 1, 2 }, { 3, 1 }, { WD_N, 3 } };
        for (size_t j = 0; usable && j < 3; j++) {
            wd_logits(q8, isa, ways[j][0], ways[j][1], same);
            LB_CHECK(memcmp(same, got, sizeof got) == 0, "%s, batch %u, %u threads", isa, ways[j][0], ways[j][1]);
        }
    }

    lb_test_case("widths of their own: calibration brings the model nearer to what it was; a budget");
    float plain[WD_N * MK_VOCAB], calibrated[WD_N * MK_VOCAB];
    wd_logits(wd_convert(wd_sliced(0, &err), "sliced-q2.lbrt", LB_W_Q2), NULL, WD_N, 1, plain);
    wd_calibrated(LB_W_Q2, 0.0, calibrated);
    LB_CHECK(wd_distance(calibrated, want) < 0.9 * wd_distance(plain, want), "%g with, %g without", wd_distance(calibrated, want),
             wd_distance(plain, want));
    wd_calibrated(LB_W_Q2, 16.0, calibrated); /* such narrow matrices are mostly padding */

    lb_test_case("widths that do not fit");
    lb_source *source = wd_sliced(1, &err);
    LB_CHECK(!source && strstr(err.text, "layers.0.ffn_shortcut has 39 rows where 40 would fit"), "%s", err.text);
    source = wd_sliced(2, &err);
    LB_CHECK(!source && strstr(err.text, "layers.0.attn_o has 48 rows where 32 would fit"), "%s", err.text);
    wd_refused(sliced, "layers.0.attn_shortcut", 0, "without a shortcut matrix");
    wd_refused(sliced, "layers.0.attn_shortcut", 16, "attn_shortcut is 16 x 32 instead of 48 x 32");
    wd_refused(sliced, "layers.0.ffn_up", 48, "ffn_up is 48 x 48 instead of 64 x 48");
    wd_refused(sliced, "layers.0.ffn_down", 32, "ffn_shortcut is 40 x 48 instead of 32 x 48");
    wd_refused(sliced, "layers.0.ffn_down", 0, "layer 0 lacks a matrix");
}
