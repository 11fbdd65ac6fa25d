/*
 * LoRA adapters: conversion from PEFT folders and GGUF files, the arithmetic against weights into which the adapter was merged, attaching
 * and detaching, the same bits in every way, and what is refused.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/import/lb_lora.h"
#include "../formats/pack/lb_convert.h"
#include "../formats/pack/lb_convert_adapter.h"
#include "../runtime/engine/lb_session.h"
#include "lb_test.h"
#include "make_adapter.h"
#include "make_models.h"
#include "small_models.h"

void test_adapter(void);

enum { AD_N = 23, AD_VOCAB = 288 };

static const char ad_config[] = "{\"peft_type\": \"LORA\", \"r\": 5, \"lora_alpha\": 10, \"bias\": \"none\", \"use_rslora\": false}";

/* ---- the model with an adapter merged into its weights ---- */

static const lb_source *ad_base;
static float ad_scale;
static int ad_salt;
static size_t ad_rank;

static lbrt_status ad_merged_rows(const lb_source *s, size_t i, uint64_t row, uint64_t n, float *out, lbrt_error *err)
{
    (void)s;
    LB_TRY(ad_base->read_rows(ad_base, i, row, n, out, err));
    for (size_t j = 0; j < AD_MATRICES; j++) {
        const ad_matrix *m = &ad_matrices[j];
        if (strcmp(m->name, ad_base->tensors[i].name) != 0) {
            continue;
        }
        for (size_t r = (size_t)row; r < row + n; r++) {
            for (size_t c = 0; c < m->cols; c++) {
                double sum = 0.0;
                for (size_t k = 0; k < ad_rank; k++) {
                    sum += (double)ad_number(m->name, ad_salt, true, r * ad_rank + k) *
                           (double)ad_number(m->name, ad_salt, false, k * m->cols + c);
                }
                out[(r - row) * m->cols + c] += ad_scale * (float)sum;
            }
        }
    }
    return LBRT_OK;
}

static void ad_feed(const lbrt_model *m, const lbrt_session_options *o, const char *const *adapters, const float *scales, size_t n,
                    float *logits)
{
    lbrt_session *s = NULL;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_adapter *a[4] = { NULL };
    lbrt_token ids[AD_N];
    sm_tokens(ids, AD_N, AD_VOCAB, 3);
    memset(logits, 0, AD_N * AD_VOCAB * sizeof *logits);
    if (LB_CHECK(lbrt_session_create(m, o, &s, &err) == LBRT_OK, "%s", err.text)) {
        for (size_t i = 0; i < n; i++) {
            LB_CHECK(lbrt_adapter_open(m, adapters[i], &a[i], &err) == LBRT_OK, "%s", err.text);
            LB_CHECK(lbrt_adapter_attach(s, a[i], scales[i]) == LBRT_OK, "%s", lbrt_session_error(s));
        }
        LB_CHECK(lbrt_feed(s, ids, AD_N) == LBRT_OK, "%s", lbrt_session_error(s));
        for (size_t i = 0; i < AD_N && lbrt_logits(s, i); i++) {
            memcpy(logits + i * AD_VOCAB, lbrt_logits(s, i), AD_VOCAB * sizeof *logits);
        }
    }
    lbrt_session_free(s);
    for (size_t i = 0; i < n; i++) {
        lbrt_adapter_close(a[i]);
    }
}

static lbrt_session_options ad_options(uint32_t batch, uint32_t threads)
{
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = 64;
    o.n_batch = batch;
    o.n_threads = threads;
    o.n_logits = AD_N;
    o.kv_key = o.kv_value = LBRT_KV_F32; /* f16 rounds what differs in its last digit one way or the other */
    return o;
}

static double ad_distance(const float *a, const float *b)
{
    double d = 0.0, all = 0.0;
    for (size_t i = 0; i < AD_N * AD_VOCAB; i++) {
        d += pow((double)a[i] - (double)b[i], 2.0);
        all += pow((double)b[i], 2.0);
    }
    return sqrt(d / all);
}

static void ad_merged(void)
{
    static float got[AD_N * AD_VOCAB], want[AD_N * AD_VOCAB], base[AD_N * AD_VOCAB];
    const lbrt_session_options o = ad_options(16, 2);
    lbrt_model *m = sm_model("micro", "f32", NULL);
    for (int salt = 1; salt <= 2; salt++) {
        lb_test_case("adapter %d: logits are those of merged weights", salt);
        ad_salt = salt;
        ad_rank = salt == 1 ? 5 : 70;
        const float scale = salt == 1 ? 1.0f : -0.25f;
        ad_scale = 2.0f * scale; /* alpha / rank = 2 */
        const char *path = ad_make(salt, ad_rank, LB_W_F32), *merged_path = lb_test_temp("merged.lbrt");
        lb_source *source = sm_source("micro"), merged = *source;
        ad_base = source;
        merged.read_rows = ad_merged_rows;
        const lbrt_allocator a = lb_allocator_or_default(NULL);
        const lb_convert_options how = { .format = LB_W_F32, .threads = 1 };
        lbrt_error err = { LBRT_OK, "" };
        LB_CHECK(lb_convert(&merged, merged_path, &how, &a, &err) == LBRT_OK, "%s", err.text);
        lbrt_model *mm = NULL;
        LB_CHECK(lbrt_model_open(merged_path, NULL, &mm, &err) == LBRT_OK, "%s", err.text);
        m->hparams.attn_factor = mm->hparams.attn_factor = salt == 1 ? 0.0f : 2.25f; /* of what an adapter adds to queries, too */
        ad_feed(m, &o, NULL, NULL, 0, base);
        ad_feed(m, &o, &path, &scale, 1, got);
        ad_feed(mm, &o, NULL, NULL, 0, want);
        LB_CHECK(ad_distance(base, want) > 0.02, "the adapter changes little: %g", ad_distance(base, want));
        LB_CHECK(ad_distance(got, want) < 2e-5, "differs by %g", ad_distance(got, want));
        lbrt_model_close(mm);
        source->close(source);
    }
    lbrt_model_close(m);
}

static lbrt_status ad_queries_times_4(const lb_source *s, size_t i, uint64_t row, uint64_t n, float *out, lbrt_error *err)
{
    LB_TRY(ad_base->read_rows(ad_base, i, row, n, out, err));
    for (size_t c = 0; strstr(s->tensors[i].name, "attn_q") && c < (size_t)n * s->tensors[i].cols; c++) {
        out[c] *= 4.0f;
    }
    return LBRT_OK;
}

static void ad_scores(void)
{
    lb_test_case("attention.factor: what queries multiplied by it compute");
    static float got[AD_N * AD_VOCAB], want[AD_N * AD_VOCAB], base[AD_N * AD_VOCAB];
    const lbrt_session_options o = ad_options(16, 2);
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    const lb_convert_options how = { .format = LB_W_Q8, .threads = 1 };
    lb_source *source = sm_source("micro"), times = *source;
    ad_base = source;
    times.read_rows = ad_queries_times_4;
    float *logits[] = { base, want, got };
    for (size_t i = 0; i < 3; i++) {
        lbrt_model *m = NULL;
        lbrt_error err = { LBRT_OK, "" };
        const char *path = lb_test_temp("factor.lbrt");
        source->hparams.attn_factor = i == 2 ? 4.0f : 0.0f;
        LB_CHECK(lb_convert(i == 1 ? &times : source, path, &how, &a, &err) == LBRT_OK && lbrt_model_open(path, NULL, &m, &err) == LBRT_OK, "%s", err.text);
        ad_feed(m, &o, NULL, NULL, 0, logits[i]);
        lbrt_model_close(m);
    }
    source->close(source);
    LB_CHECK(memcmp(want, got, sizeof got) == 0, "differs by %g", ad_distance(want, got));
    LB_CHECK(ad_distance(base, got) > 0.01, "the factor changes little: %g", ad_distance(base, got));
}

static void ad_attach_detach(void)
{
    static float before[AD_N * AD_VOCAB], both[AD_N * AD_VOCAB], x[AD_N * AD_VOCAB], y[AD_N * AD_VOCAB];
    lb_test_case("attach, change the scale, detach: the bits before");
    const char *paths[2];
    paths[0] = ad_make(1, 5, LB_W_F16);
    paths[1] = ad_make(2, 70, LB_W_BF16);
    lbrt_model *m = sm_model("micro", "q4", NULL), *other = sm_model("micro", "q4", NULL);
    lbrt_session *s = NULL;
    lbrt_adapter *a[2] = { NULL };
    lbrt_error err = { LBRT_OK, "" };
    lbrt_session_options o = ad_options(16, 2);
    LB_CHECK(lbrt_session_create(m, &o, &s, &err) == LBRT_OK, "%s", err.text);
    for (size_t i = 0; i < 2; i++) {
        LB_CHECK(lbrt_adapter_open(m, paths[i], &a[i], &err) == LBRT_OK, "%s", err.text);
    }
    lbrt_token ids[AD_N];
    sm_tokens(ids, AD_N, AD_VOCAB, 3);
    const float scales[2] = { 1.0f, 0.5f };
    ad_feed(m, &o, NULL, NULL, 0, before);
    ad_feed(m, &o, paths, scales, 2, both);
    LB_CHECK(ad_distance(both, before) > 0.02, "%g", ad_distance(both, before));
    for (int round = 0; round < 2; round++) {
        LB_CHECK(lbrt_adapter_attach(s, a[1], 3.0f) == LBRT_OK && lbrt_adapter_attach(s, a[0], 1.0f) == LBRT_OK &&
                     lbrt_adapter_detach(s, a[1]) == LBRT_OK && lbrt_adapter_attach(s, a[1], -7.0f) == LBRT_OK &&
                     lbrt_adapter_attach(s, a[1], 0.5f) == LBRT_OK,
                 "%s", lbrt_session_error(s));
        LB_CHECK(lbrt_rewind(s, 0) == LBRT_OK && lbrt_feed(s, ids, AD_N) == LBRT_OK, "%s", lbrt_session_error(s));
        for (size_t i = 0; i < AD_N; i++) {
            memcpy(x + i * AD_VOCAB, lbrt_logits(s, i), AD_VOCAB * sizeof *x);
        }
        LB_CHECK(memcmp(x, both, sizeof x) == 0, "both attached");
        LB_CHECK(lbrt_adapter_detach(s, a[0]) == LBRT_OK && lbrt_adapter_detach(s, a[1]) == LBRT_OK, "%s", lbrt_session_error(s));
        LB_CHECK(lbrt_rewind(s, 0) == LBRT_OK && lbrt_feed(s, ids, AD_N) == LBRT_OK, "%s", lbrt_session_error(s));
        for (size_t i = 0; i < AD_N; i++) {
            memcpy(y + i * AD_VOCAB, lbrt_logits(s, i), AD_VOCAB * sizeof *y);
        }
        LB_CHECK(memcmp(y, before, sizeof y) == 0, "detached: the bits before");
    }
    lb_test_case("what attaching refuses");
    lbrt_session *foreign = NULL;
    LB_CHECK(lbrt_session_create(other, &o, &foreign, &err) == LBRT_OK, "%s", err.text);
    LB_CHECK(lbrt_adapter_attach(foreign, a[0], 1.0f) == LBRT_ERR_ARGUMENT && strstr(lbrt_session_error(foreign), "another model"), "%s",
             lbrt_session_error(foreign));
    LB_CHECK(lbrt_adapter_detach(s, a[0]) == LBRT_ERR_STATE && lbrt_adapter_detach(s, NULL) == LBRT_ERR_STATE, "detached twice");
    LB_CHECK(lbrt_adapter_attach(s, a[0], NAN) == LBRT_ERR_ARGUMENT && lbrt_adapter_attach(s, NULL, 1.0f) == LBRT_ERR_ARGUMENT &&
                 lbrt_adapter_attach(NULL, a[0], 1.0f) == LBRT_ERR_ARGUMENT,
             "arguments");
    lbrt_adapter *many[17] = { NULL };
    for (size_t i = 0; i < 17; i++) {
        LB_CHECK(lbrt_adapter_open(m, paths[0], &many[i], &err) == LBRT_OK, "%s", err.text);
        LB_CHECK(lbrt_adapter_attach(s, many[i], 0.1f) == (i < 16 ? LBRT_OK : LBRT_ERR_STATE), "adapter %zu: %s", i,
                 lbrt_session_error(s));
    }
    lbrt_session_free(s);
    for (size_t i = 0; i < 17; i++) {
        lbrt_adapter_close(many[i]);
    }
    lbrt_session_free(foreign);
    lbrt_adapter_close(a[0]);
    lbrt_adapter_close(a[1]);
    lbrt_adapter_close(NULL);
    lbrt_model_close(m);
    lbrt_model_close(other);
}

/* Every level, number of threads, batch */
static void ad_same(void)
{
    static float want[AD_N * AD_VOCAB], got[AD_N * AD_VOCAB];
    const char *paths[2];
    const float scales[2] = { 0.7f, -0.3f };
    paths[0] = ad_make(1, 5, LB_W_F16);
    paths[1] = ad_make(2, 70, LB_W_BF16);
    bool usable, first = true;
    const char *isa;
    for (size_t i = 0; (isa = lbrt_isa_name(i, &usable)) != NULL; i++) {
        lb_test_case("two adapters on a q4 model, %s: the same bits", isa);
        if (!usable) {
            lb_test_skip("this CPU lacks the level");
            continue;
        }
        lbrt_model *m = sm_model("micro", "q4", isa);
        static const uint32_t ways[][2] = { { 1, 1 }, { 64, 2 }, { 7, 3 } };
        for (size_t j = 0; j < 3; j++) {
            const lbrt_session_options o = ad_options(ways[j][0], ways[j][1]);
            ad_feed(m, &o, paths, scales, 2, first ? want : got);
            LB_CHECK(first || memcmp(got, want, sizeof want) == 0, "batch %u, %u threads", ways[j][0], ways[j][1]);
            first = false;
        }
        lbrt_model_close(m);
    }
}

/* The same adapter as a GGUF file; of another order of rows */
static const char *ad_gguf(const char *arch, const char *kind, float alpha)
{
    mk_gguf g = { 0 };
    mk_gguf_string(&g, "general.architecture", arch);
    mk_gguf_string(&g, "general.type", "adapter");
    mk_gguf_string(&g, "adapter.type", kind);
    mk_gguf_f32(&g, "adapter.lora.alpha", alpha);
    for (size_t i = 0; i < AD_MATRICES; i++) {
        const ad_matrix *m = &ad_matrices[i];
        for (int is_b = 0; is_b < 2; is_b++) {
            char name[100];
            float *x = ad_factor(m, 1, is_b, 5);
            snprintf(name, sizeof name, "blk.%zu.%s.weight.lora_%s", m->layer, m->gguf, is_b ? "b" : "a");
            mk_gguf_tensor(&g, name, is_b ? m->rows : 5, is_b ? 5 : m->cols, 0, x, (is_b ? m->rows * 5 : 5 * m->cols) * 4);
            free(x);
        }
    }
    mk_blob out = { 0 };
    mk_gguf_end(&g, &out);
    const char *path = lb_test_temp("adapter.gguf");
    mk_write(path, out.data, out.n);
    mk_free(&out);
    return path;
}

static void ad_from_gguf(void)
{
    lb_test_case("a GGUF adapter gives the file that its PEFT folder gives");
    lbrt_error err;
    const char *peft = ad_make(1, 5, LB_W_F32), *gguf = ad_convert(ad_gguf("qwen2", "lora", 10.0f), "from-gguf.lbrt", LB_W_F32, &err);
    size_t n = 0, k = 0;
    char *x = lb_test_read(peft, &n), *y = gguf ? lb_test_read(gguf, &k) : NULL;
    LB_CHECK(x && y && n == k && memcmp(x, y, n) == 0, "%zu and %zu bytes, %s", n, k, err.text);
    free(x);
    free(y);
    lb_test_case("the order of rows of attn_q and attn_k must be that of the model");
    gguf = ad_convert(ad_gguf("llama", "lora", 10.0f), "interleaved.lbrt", LB_W_F32, &err);
    lbrt_model *m = sm_model("micro", "q4", NULL);
    lbrt_adapter *a = NULL;
    LB_CHECK(gguf && lbrt_adapter_open(m, gguf, &a, &err) == LBRT_ERR_UNSUPPORTED && !a && strstr(err.text, "order"), "%s", err.text);
    LB_CHECK(!ad_convert(ad_gguf("llama", "control", 10.0f), "none.lbrt", LB_W_F32, &err) && err.status == LBRT_ERR_UNSUPPORTED, "%s", err.text);
    lbrt_model_close(m);
}

/* Scales as PEFT and llama.cpp compute them */
static void ad_scale_of_each(void)
{
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lbrt_error err = { LBRT_OK, "" };
    lb_lora l;
    lb_test_case("alpha_pattern: the first key that the module's name ends with");
    const char *folder = ad_peft("peft-pattern",
                                 "{\"peft_type\": \"LORA\", \"lora_alpha\": 10, \"init_lora_weights\": \"gaussian\", \"use_qalora\": false, \"arrow_config\": null,"
                                 " \"layer_replication\": [], \"alpha_pattern\": {\"model.layers.1.mlp.down_proj\": 30, \"proj\": 1, \"q_proj\": 20, \"down_proj\": 40}}",
                                 1, 5, NULL, NULL);
    if (LB_CHECK(lb_lora_open(folder, &a, &l, &err) == LBRT_OK, "%s", err.text)) {
        for (size_t i = 0; i < l.n_pairs; i++) {
            const lb_lora_pair *p = &l.pairs[i];
            const float want = strstr(p->name, "attn_q") ? 4.0f : strcmp(p->name, "layers.1.ffn_down") == 0 ? 6.0f : strstr(p->name, "ffn_down") ? 8.0f : 2.0f;
            LB_CHECK(!p->a.data || p->scale == want, "%s: %g instead of %g", p->name, (double)p->scale, (double)want);
        }
        lb_lora_close(&l);
    }
    lb_test_case("an alpha of 0 in GGUF is none");
    if (LB_CHECK(lb_lora_open(ad_gguf("qwen2", "lora", 0.0f), &a, &l, &err) == LBRT_OK, "%s", err.text)) {
        for (size_t i = 0; i < l.n_pairs; i++) {
            LB_CHECK(!l.pairs[i].a.data || l.pairs[i].scale == 1.0f, "%s: %g", l.pairs[i].name, (double)l.pairs[i].scale);
        }
        lb_lora_close(&l);
    }
}

static void ad_refused(void)
{
    static const struct {
        const char *config, *except, *extra, *says;
    } cases[] = {
        { "{\"peft_type\": \"IA3\", \"lora_alpha\": 10}", NULL, NULL, "not of a LoRA" },
        { "{\"peft_type\": \"LORA\", \"lora_alpha\": 10, \"use_dora\": true}", NULL, NULL, "DoRA" },
        { "{\"peft_type\": \"LORA\", \"lora_alpha\": 10, \"fan_in_fan_out\": true}", NULL, NULL, "fan_in" },
        { "{\"peft_type\": \"LORA\", \"lora_alpha\": 10, \"bias\": \"all\"}", NULL, NULL, "biases" },
        { "{\"peft_type\": \"LORA\", \"lora_alpha\": 10, \"alpha_pattern\": [1]}", NULL, NULL, "alpha_pattern is no object" },
        { "{\"peft_type\": \"LORA\", \"lora_alpha\": 10, \"alpha_pattern\": {\"layers.[01].*\": 3}}", NULL, NULL, "regular expressions" },
        { "{\"peft_type\": \"LORA\", \"lora_alpha\": 10, \"alpha_pattern\": {\"q_proj\": \"x\"}}", NULL, NULL, "no alpha for layers.0.attn_q" },
        { "{\"peft_type\": \"LORA\", \"lora_alpha\": 10, \"alora_invocation_tokens\": [1, 2]}", NULL, NULL, "alora_invocation_tokens" },
        { "{\"peft_type\": \"LORA\", \"lora_alpha\": 10, \"use_qalora\": true}", NULL, NULL, "use_qalora" },
        { "{\"peft_type\": \"LORA\", \"lora_alpha\": 10, \"layer_replication\": [[0, 1]]}", NULL, NULL, "layer_replication" },
        { "{\"peft_type\": \"LORA\", \"lora_alpha\": 10, \"init_lora_weights\": \"pissa_niter_4\"}", NULL, NULL, "pissa" },
        { "{\"peft_type\": \"LORA\", \"lora_alpha\": 10, \"init_lora_weights\": \"loftq\"}", NULL, NULL, "loftq" },
        { "{\"peft_type\": \"LORA\"}", NULL, NULL, "lora_alpha" },
        { "{\"peft_type\": \"LORA\", ", NULL, NULL, "" },
        { ad_config, "layers.1.attn_k", NULL, "only one factor of layers.1.attn_k" },
        { ad_config, NULL, "base_model.model.lm_head.lora_A.weight", "lm_head" },
        { ad_config, NULL, "base_model.model.model.layers.9999.self_attn.q_proj.lora_A.weight", "9999" },
    };
    lbrt_error err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lb_test_case("refused: %s", *cases[i].says ? cases[i].says : "broken JSON");
        const char *folder = ad_peft("peft-bad", cases[i].config, 1, 5, cases[i].except, cases[i].extra);
        LB_CHECK(!ad_convert(folder, "bad.lbrt", LB_W_F16, &err) && err.status != LBRT_OK && strstr(err.text, cases[i].says), "%s",
                 err.text);
    }
    lb_test_case("adapters of other models, models as adapters and the other way round");
    const char *path = ad_make(1, 5, LB_W_F16);
    lbrt_model *m = sm_model("tiny", "q4", NULL), *same = sm_model("micro", "q4", NULL), *none = NULL;
    lbrt_adapter *a = NULL;
    LB_CHECK(lbrt_adapter_open(m, path, &a, &err) == LBRT_ERR_UNSUPPORTED && !a && strstr(err.text, "another model"), "%s", err.text);
    LB_CHECK(lbrt_adapter_open(same, sm_file("micro", "q4"), &a, &err) == LBRT_ERR_FORMAT && !a && strstr(err.text, "no adapter"), "%s",
             err.text);
    LB_CHECK(lbrt_model_open(path, NULL, &none, &err) == LBRT_ERR_FORMAT && !none && strstr(err.text, "adapter"), "%s", err.text);
    LB_CHECK(lbrt_adapter_open(same, "/nowhere/x.lbrt", &a, &err) == LBRT_ERR_IO && !a, "%s", err.text);
    LB_CHECK(lbrt_adapter_open(NULL, path, &a, &err) == LBRT_ERR_ARGUMENT && lbrt_adapter_open(same, path, NULL, &err) == LBRT_ERR_ARGUMENT,
             "arguments");
    size_t n = 0;
    unsigned char *data = sm_load(path, &n);
    for (size_t i = 0; i < 3000; i++) { /* damage */
        const size_t at = lb_test_random() % (i % 2 ? n : 600);
        const unsigned char old = data[at];
        data[at] = (unsigned char)(old ^ 1u << lb_test_random() % 8);
        const size_t short_by = i % 5 == 0 ? lb_test_random() % n : 0;
        if (lbrt_adapter_open_memory(same, data, n - short_by, &a, &err) == LBRT_OK) {
            lbrt_adapter_close(a);
        } else {
            LB_CHECK(!a && err.text[0], "no sentence");
        }
        data[at] = old;
    }
    LB_CHECK(lbrt_adapter_open_memory(same, data, n, &a, &err) == LBRT_OK, "%s", err.text);
    lbrt_adapter_close(a);
    free(data);
    lbrt_model_close(m);
    lbrt_model_close(same);
}

void test_adapter(void)
{
    ad_merged();
    ad_scores();
    ad_attach_detach();
    ad_same();
    ad_from_gguf();
    ad_scale_of_each();
    ad_refused();
}
