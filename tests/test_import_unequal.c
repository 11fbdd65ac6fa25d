/*
 * Models whose layers differ, from made files of others: numbers of heads and widths of the feed-forward as one value per layer (GGUF arrays,
 * lists in config.json), key and value heads of different widths. Both files have the same weights, so both must give the same logits.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/import/lb_source.h"
#include "../formats/pack/lb_convert.h"
#include "../runtime/engine/lb_model.h"
#include "lb_test.h"
#include "make_models.h"

void test_import_unequal(void);

enum { UN_LAYERS = 2, UN_KEY = 16, UN_VALUE = 8 };
static const uint32_t un_heads[UN_LAYERS] = { 2, 4 }, un_kv[UN_LAYERS] = { 1, 2 }, un_ffn[UN_LAYERS] = { 64, 48 };

static const struct un_tensor {
    const char *gguf, *hf;
    bool rotated; /* in GGUF's llama the two halves of a head's rows are interleaved */
} un_tensors[] = {
    { "attn_norm.weight", "input_layernorm.weight", false },
    { "attn_q.weight", "self_attn.q_proj.weight", true },
    { "attn_k.weight", "self_attn.k_proj.weight", true },
    { "attn_v.weight", "self_attn.v_proj.weight", false },
    { "attn_output.weight", "self_attn.o_proj.weight", false },
    { "ffn_norm.weight", "post_attention_layernorm.weight", false },
    { "ffn_gate.weight", "mlp.gate_proj.weight", false },
    { "ffn_up.weight", "mlp.up_proj.weight", false },
    { "ffn_down.weight", "mlp.down_proj.weight", false },
};
enum { UN_TENSORS = sizeof un_tensors / sizeof un_tensors[0] };

static void un_shape(size_t tensor, size_t layer, uint32_t *rows, uint32_t *cols)
{
    const uint32_t q = un_heads[layer] * UN_KEY, k = un_kv[layer] * UN_KEY, v = un_kv[layer] * UN_VALUE, o = un_heads[layer] * UN_VALUE;
    const uint32_t all[UN_TENSORS] = { 1, q, k, v, MK_DIM, 1, un_ffn[layer], un_ffn[layer], MK_DIM };
    *rows = all[tensor];
    *cols = tensor == 4 ? o : tensor == 8 ? un_ffn[layer] : MK_DIM;
}

static void un_numbers(mk_blob *b, const char *name, uint32_t rows, uint32_t cols, bool interleave)
{
    for (uint32_t r = 0; r < rows; r++) {
        const uint32_t in = r % UN_KEY, from = interleave ? r - in + in / 2 + in % 2 * (UN_KEY / 2) : r;
        for (uint32_t c = 0; c < cols; c++) {
            const float w = rows == 1 ? 1.0f + 0.1f * mk_weight(name, c) : 0.2f * mk_weight(name, (size_t)from * cols + c);
            uint32_t u;
            memcpy(&u, &w, sizeof u);
            mk_u32(b, u);
        }
    }
}

/* wrong: a number in the array of key-value heads that the file's tensors are not made for; 0: none. layers: numbers in the other arrays */
static void un_gguf(mk_blob *out, int32_t wrong, bool widths, size_t layers)
{
    mk_gguf g = { .n_kv = 0 };
    const int32_t heads[] = { 2, 4, 4 }, kv[] = { 1, wrong ? wrong : 2 }, ffn[] = { 64, 48, 48 };
    mk_gguf_string(&g, "general.architecture", "llama");
    mk_gguf_u32(&g, "llama.block_count", UN_LAYERS);
    mk_gguf_u32(&g, "llama.embedding_length", MK_DIM);
    mk_gguf_u32(&g, "llama.context_length", MK_CONTEXT);
    mk_gguf_ints(&g, "llama.feed_forward_length", ffn, layers);
    mk_gguf_ints(&g, "llama.attention.head_count", heads, layers);
    mk_gguf_ints(&g, "llama.attention.head_count_kv", kv, UN_LAYERS);
    mk_gguf_u32(&g, "llama.attention.key_length", UN_KEY);
    if (widths) {
        mk_gguf_u32(&g, "llama.attention.value_length", UN_VALUE);
    }
    mk_gguf_u32(&g, "llama.rope.dimension_count", UN_KEY);
    mk_gguf_f32(&g, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    mk_gguf_vocabulary(&g);
    for (size_t layer = 0; layer < UN_LAYERS; layer++) {
        for (size_t i = 0; i < UN_TENSORS; i++) {
            char name[100], key[100];
            uint32_t rows, cols;
            mk_blob b = { NULL, 0, 0 };
            un_shape(i, layer, &rows, &cols);
            snprintf(name, sizeof name, "blk.%zu.%s", layer, un_tensors[i].gguf);
            snprintf(key, sizeof key, "%zu.%s", layer, un_tensors[i].hf);
            un_numbers(&b, key, rows, cols, un_tensors[i].rotated);
            mk_gguf_tensor(&g, name, rows, cols, 0, b.data, b.n);
            mk_free(&b);
        }
    }
    for (size_t i = 0; i < 2; i++) {
        mk_blob b = { NULL, 0, 0 };
        un_numbers(&b, mk_tensors[i].hf, mk_tensors[i].rows, MK_DIM, false);
        mk_gguf_tensor(&g, mk_tensors[i].gguf, mk_tensors[i].rows, MK_DIM, 0, b.data, b.n);
        mk_free(&b);
    }
    mk_gguf_end(&g, out);
}

static const char *un_folder(const char *numbers)
{
    mk_safetensors st = { 0 };
    mk_blob config = { NULL, 0, 0 }, weights = { NULL, 0, 0 };
    for (size_t at = 0; at < UN_LAYERS * UN_TENSORS + 2; at++) {
        char name[120], key[100], shape[40];
        uint32_t rows, cols;
        mk_blob b = { NULL, 0, 0 };
        if (at < 2) {
            rows = mk_tensors[at].rows;
            cols = MK_DIM;
            snprintf(name, sizeof name, "%s", mk_tensors[at].hf);
            snprintf(key, sizeof key, "%s", mk_tensors[at].hf);
        } else {
            const size_t layer = (at - 2) / UN_TENSORS, i = (at - 2) % UN_TENSORS;
            un_shape(i, layer, &rows, &cols);
            snprintf(name, sizeof name, "model.layers.%zu.%s", layer, un_tensors[i].hf);
            snprintf(key, sizeof key, "%zu.%s", layer, un_tensors[i].hf);
        }
        un_numbers(&b, key, rows, cols, false);
        if (rows == 1) {
            snprintf(shape, sizeof shape, "%u", cols);
        } else {
            snprintf(shape, sizeof shape, "%u,%u", rows, cols);
        }
        mk_st_tensor(&st, name, "F32", shape, b.data, b.n);
        mk_free(&b);
    }
    mk_st_end(&st, &weights);
    mk_text(&config,
            "{\"architectures\": [\"LlamaForCausalLM\"], \"vocab_size\": 8, \"hidden_size\": 32, \"num_hidden_layers\": 2, \"head_dim\": 16,"
            " \"max_position_embeddings\": 16, \"rms_norm_eps\": 1e-05, \"tie_word_embeddings\": true, \"bos_token_id\": 1, \"eos_token_id\": 2, %s}\n",
            numbers);
    const char *folder = mk_folder("unequal", &config, &weights);
    mk_free(&config);
    mk_free(&weights);
    return folder;
}

/* The source at a path as a model; NULL and err if it is refused. */
static lbrt_model *un_open(const char *path, const char *name, lbrt_error *err)
{
    lb_source *source = NULL;
    lbrt_model *m = NULL;
    const lb_convert_options options = { .format = LB_W_F32, .threads = 1 };
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    char out[300];
    snprintf(out, sizeof out, "%s", lb_test_temp(name));
    *err = (lbrt_error){ LBRT_OK, "" };
    if (lb_source_open(path, NULL, &a, &source, err) == LBRT_OK && lb_convert(source, out, &options, &a, err) == LBRT_OK) {
        (void)lbrt_model_open(out, NULL, &m, err);
    }
    if (source) {
        source->close(source);
    }
    return m;
}

static bool un_run(const lbrt_model *m, float *logits)
{
    static const lbrt_token text[] = { 1, 3, 5, 4, 6, 7, 5, 3 };
    lbrt_session *s = NULL;
    const bool ok = m && lbrt_session_create(m, NULL, &s, NULL) == LBRT_OK && lbrt_feed(s, text, 8) == LBRT_OK;
    if (ok) {
        memcpy(logits, lbrt_logits(s, 0), MK_VOCAB * sizeof *logits);
    }
    lbrt_session_free(s);
    return ok;
}

static void un_check_layers(const lbrt_model *m)
{
    if (!m || !LB_CHECK(m->hparams.n_layers == UN_LAYERS && m->hparams.unequal && m->v_width == UN_VALUE, "%u layers, values of %zu",
                        m->hparams.n_layers, m->v_width)) {
        return;
    }
    for (size_t i = 0; i < UN_LAYERS; i++) {
        const lb_layer *l = &m->layers[i];
        LB_CHECK(l->n_heads == un_heads[i] && l->k_heads == un_kv[i] && l->v_heads == un_kv[i] && l->ffn_gate.rows == un_ffn[i],
                 "layer %zu: %u heads, %u of keys, %u of values, feed-forward %zu", i, l->n_heads, l->k_heads, l->v_heads, l->ffn_gate.rows);
    }
}

static void un_refused(const char *path, const char *what, const char *said)
{
    lbrt_error err;
    lbrt_model *m = un_open(path, "refused.lbrt", &err);
    LB_CHECK(!m && err.status >= LBRT_ERR_FORMAT && strstr(err.text, said), "%s: '%s'", what, err.text);
    lbrt_model_close(m);
}

void test_import_unequal(void)
{
    lb_test_case("layers that differ: arrays of a GGUF file, lists of a Hugging Face config");
    float gguf[MK_VOCAB], hf[MK_VOCAB];
    lbrt_error err;
    mk_blob b = { NULL, 0, 0 };
    char path[300];
    snprintf(path, sizeof path, "%s", lb_test_temp("unequal.gguf"));
    un_gguf(&b, 0, true, UN_LAYERS);
    mk_write(path, b.data, b.n);
    mk_free(&b);
    lbrt_model *a = un_open(path, "gguf.lbrt", &err);
    LB_CHECK(a != NULL, "%s", err.text);
    lbrt_model *c = un_open(un_folder("\"num_attention_heads\": [2, 4], \"num_key_value_heads\": [1, 2], \"intermediate_size\": [64, 48], \"v_head_dim\": 8"),
                            "hf.lbrt", &err);
    LB_CHECK(c != NULL, "%s", err.text);
    un_check_layers(a);
    un_check_layers(c);
    if (LB_CHECK(un_run(a, gguf) && un_run(c, hf), "logits")) {
        float most = 0;
        for (size_t i = 0; i < MK_VOCAB; i++) {
            most = fmaxf(most, fabsf(hf[i]));
            LB_CHECK(fabsf(gguf[i] - hf[i]) < 1e-4f, "logit %zu: %g and %g", i, (double)gguf[i], (double)hf[i]);
        }
        LB_CHECK(most > 0.1f, "logits near 0 show nothing");
    }
    lbrt_model_close(a);
    lbrt_model_close(c);

    lb_test_case("the same list under its other name");
    c = un_open(un_folder("\"num_attention_heads\": [2, 4], \"num_key_value_heads_per_layer\": [1, 2], \"intermediate_size\": [64, 48], \"v_head_dim\": 8"),
                "hf.lbrt", &err);
    LB_CHECK(c != NULL, "%s", err.text);
    un_check_layers(c);
    lbrt_model_close(c);

    lb_test_case("lists that do not fit the tensors, or are none");
    static const struct {
        int32_t kv;
        bool widths;
        size_t layers;
        const char *said;
    } bad[] = { { 1, true, 2, "attn_k" },
                { -1, true, 2, "head_count_kv" },
                { INT32_MIN, true, 2, "head_count_kv" },
                { 2, false, 2, "" },
                { 4, true, 2, "head_count_kv says 4 for layer 1, where the tensors have 2" },
                { 0, true, 1, "1 numbers for 2 layers" },
                { 0, true, 3, "3 numbers for 2 layers" } };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        un_gguf(&b, bad[i].kv, bad[i].widths, bad[i].layers);
        mk_write(path, b.data, b.n);
        mk_free(&b);
        un_refused(path, "GGUF", bad[i].said);
    }
    static const char *const lists[][2] = {
        { "\"num_attention_heads\": [2, 4], \"num_key_value_heads\": [1, 1], \"intermediate_size\": [64, 48], \"v_head_dim\": 8", "k_proj" },
        { "\"num_attention_heads\": [2, 4], \"num_key_value_heads\": [1, 0], \"intermediate_size\": [64, 48], \"v_head_dim\": 8", "num_key_value_heads" },
        { "\"num_attention_heads\": [2, 4], \"num_key_value_heads\": [], \"intermediate_size\": [64, 48], \"v_head_dim\": 8", "empty" },
        { "\"num_attention_heads\": [2, 4], \"num_key_value_heads\": [1, \"2\"], \"intermediate_size\": [64, 48], \"v_head_dim\": 8", "num_key_value_heads" },
        { "\"num_attention_heads\": [2, 4], \"num_key_value_heads\": [1, 2], \"intermediate_size\": [32, 48], \"v_head_dim\": 8", "gate_proj" },
        { "\"num_attention_heads\": [4, 2], \"num_key_value_heads\": [1, 2], \"intermediate_size\": [64, 48], \"v_head_dim\": 8",
          "num_attention_heads says 4 for layer 0, where the tensors have 2" },
        { "\"num_attention_heads\": [2, 4], \"num_key_value_heads\": [2, 1], \"intermediate_size\": [64, 48], \"v_head_dim\": 8",
          "num_key_value_heads says 2 for layer 0" },
        { "\"num_attention_heads\": [2, 4], \"num_key_value_heads\": [1, 2], \"num_key_value_heads_per_layer\": [2, 1],"
          " \"intermediate_size\": [64, 48], \"v_head_dim\": 8",
          "num_key_value_heads_per_layer says 2 for layer 0" },
        { "\"num_attention_heads\": [2, 4], \"num_key_value_heads\": [1, 2], \"intermediate_size\": [48, 64], \"v_head_dim\": 8",
          "intermediate_size says 48 for layer 0" },
        { "\"num_attention_heads\": [2, 4, 4], \"num_key_value_heads\": [1, 2], \"intermediate_size\": [64, 48], \"v_head_dim\": 8",
          "num_attention_heads has 3 numbers for 2 layers" },
        { "\"num_attention_heads\": [2, 4], \"num_key_value_heads\": [1, 2], \"intermediate_size\": [64, 48], \"v_head_dim\": 8,"
          " \"sliding_window\": 8, \"layer_types\": [\"sliding_attention\"]",
          "layer_types has 1 entries for 2 layers" },
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        un_refused(un_folder(lists[i][0]), lists[i][0], lists[i][1]);
    }
}
