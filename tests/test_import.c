/* The importers: tiny models made here, with weights known by name; and the shared models, whose forms must
 * agree. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/container/lb_wformat.h"
#include "../formats/import/lb_ggml_types.h"
#include "../formats/import/lb_source.h"
#include "../formats/pack/lb_pack.h"
#include "../kernels/lb_layout.h"
#include "../kernels/lb_math.h"
#include "lb_test.h"
#include "make_models.h"

static size_t find_tensor(const lb_source *s, const char *name)
{
    size_t i = 0;
    while (i < s->n_tensors && strcmp(s->tensors[i].name, name) != 0) {
        i++;
    }
    return i;
}

/* All of a tensor, malloc'ed; NULL if it is not there or cannot be read. */
static float *read_all(const lb_source *s, const char *name)
{
    size_t i = find_tensor(s, name);
    if (!LB_CHECK(i < s->n_tensors, "the source has %s", name)) {
        return NULL;
    }
    const lb_source_tensor *t = &s->tensors[i];
    float *w = malloc((size_t)(t->rows * t->cols) * sizeof *w);
    lbrt_error err = { 0 };
    if (w != NULL &&
        !LB_CHECK(s->read_rows(s, i, 0, t->rows, w, &err) == LBRT_OK, "%s: %s", name, err.text)) {
        free(w);
        return NULL;
    }
    return w;
}

/* Every tensor of the tiny model, with the weights that its name asks for. */
static void check_weights(const lb_source *s, bool linear)
{
    for (size_t i = 0; i < mk_n_tensors; i++) {
        const mk_tensor *t = &mk_tensors[i];
        if (t->linear && !linear) {
            continue;
        }
        float *w = read_all(s, t->name);
        if (w == NULL) {
            continue;
        }
        size_t wrong = 0;
        for (size_t k = 0; k < (size_t)t->rows * t->cols; k++) {
            wrong += w[k] != mk_weight(t->name, k);
        }
        LB_CHECK(wrong == 0, "%zu weights of %s are wrong", wrong, t->name);
        free(w);
    }
}

static void check_tiny(const lb_source *s, size_t n_tensors, bool interleaved)
{
    const lb_hparams *h = &s->hparams;
    LB_CHECK(h->n_vocab == MK_VOCAB && h->n_layers == 1 && h->dim == MK_DIM && h->n_heads == 2 &&
                 h->n_kv_heads == 1,
             "hyperparameters");
    LB_CHECK(h->head_dim == 16 && h->rope_dim == 16 && h->ffn_dim == MK_FFN && h->n_context == MK_CONTEXT,
             "sizes");
    LB_CHECK(h->rope_interleaved == interleaved && h->rope_theta == 10000.0f &&
                 h->rope_scaling == LB_ROPE_NONE,
             "rope");
    LB_CHECK(s->n_tensors == n_tensors, "%zu tensors", s->n_tensors);
}

static lb_source *open_blob(const char *name, const mk_blob *b, const char *tokenizer)
{
    const char *path = lb_test_temp(name);
    mk_write(path, b->data, b->n);
    lb_source *s = NULL;
    lbrt_error err = { 0 };
    lbrt_status status = lb_source_open(path, tokenizer, NULL, &s, &err);
    LB_CHECK(status == LBRT_OK, "%s: %s: %s", name, lbrt_status_name(status), err.text);
    LB_CHECK((status == LBRT_OK) == (s != NULL), "a source exactly if it could be opened");
    return s;
}

/* ---------------------------------------------------------------- GGUF */

static void check_gguf(const char *arch, uint32_t type, bool interleaved)
{
    lb_test_case("gguf: %s, type %u", arch, (unsigned)type);
    mk_blob b = { NULL, 0, 0 };
    mk_gguf_model(arch, type, &b);
    lb_source *s = open_blob("tiny.gguf", &b, NULL);
    if (s != NULL) {
        check_tiny(s, mk_n_tensors, interleaved);
        check_weights(s, true);
        LB_CHECK(s->hparams.norm_eps == 0x1p-20f && strcmp(s->hparams.name, "tiny") == 0, "name %s",
                 s->hparams.name);
        LB_CHECK(s->tokens != NULL && s->tokens->n_tokens == MK_VOCAB && s->tokens->bos == 1, "tokens");
        /* some rows, and rows that are not there */
        float row[2 * MK_DIM];
        size_t i = find_tensor(s, "layers.0.attn_k");
        LB_CHECK(s->read_rows(s, i, 3, 2, row, NULL) == LBRT_OK &&
                     row[5] == mk_weight("layers.0.attn_k", 3 * MK_DIM + 5),
                 "two rows");
        LB_CHECK(s->read_rows(s, i, MK_KV, 0, row, NULL) == LBRT_OK, "no rows");
        LB_CHECK(s->read_rows(s, i, MK_KV, 1, row, NULL) == LBRT_ERR_ARGUMENT &&
                     s->read_rows(s, i, 1, UINT64_MAX, row, NULL) == LBRT_ERR_ARGUMENT &&
                     s->read_rows(s, s->n_tensors, 0, 1, row, NULL) == LBRT_ERR_ARGUMENT,
                 "rows out of range");
        s->close(s);
    }
    mk_free(&b);
}

static void check_gguf_rope(void)
{
    lb_test_case("gguf: rope factors, linear scaling, qwen2 biases");
    mk_gguf g = { 0 };
    float factors[8] = { 1, 1, 1, 2, 3, 4, 8, 8 };
    float bias[MK_DIM] = { 0.5f, 0.25f };
    mk_gguf_numbers(&g, "qwen2");
    mk_gguf_string(&g, "qwen2.rope.scaling.type", "linear");
    mk_gguf_f32(&g, "qwen2.rope.scaling.factor", 4.0f);
    mk_gguf_f32(&g, "qwen2.rope.freq_base", 1e6f);
    mk_gguf_weights(&g, LB_GGML_F16, NULL);
    mk_gguf_tensor(&g, "rope_freqs.weight", 1, 8, LB_GGML_F32, factors, sizeof factors);
    mk_gguf_tensor(&g, "blk.0.attn_q.bias", 1, MK_DIM, LB_GGML_F32, bias, MK_DIM * 4);
    mk_gguf_tensor(&g, "blk.0.attn_k.bias", 1, MK_KV, LB_GGML_F32, bias, MK_KV * 4);
    mk_gguf_tensor(&g, "blk.0.attn_v.bias", 1, MK_KV, LB_GGML_F32, bias, MK_KV * 4);
    mk_blob b = { NULL, 0, 0 };
    mk_gguf_end(&g, &b);
    lb_source *s = open_blob("rope.gguf", &b, NULL);
    if (s != NULL) {
        float *f = read_all(s, "rope_factors");
        LB_CHECK(f != NULL && f[3] == 2.0f && f[7] == 8.0f, "factors");
        free(f);
        f = read_all(s, "layers.0.attn_k_bias");
        LB_CHECK(f != NULL && f[0] == 0.5f && f[1] == 0.25f, "bias");
        free(f);
        LB_CHECK(s->hparams.rope_scaling == LB_ROPE_LINEAR && s->hparams.rope_factor == 4.0f &&
                     s->hparams.rope_theta == 1e6f && !s->hparams.rope_interleaved,
                 "scaling");
        LB_CHECK(s->tokens == NULL, "no vocabulary");
        s->close(s);
    }
    mk_free(&b);
}

/* A ternary matrix comes back from the packed format as it was. */
static void check_packs_exactly(const float *w, size_t rows, size_t cols)
{
    enum { CAP = 2048 };
    static LB_ALIGNED(64) unsigned char tile[CAP];
    float row[MK_FFN];
    size_t wrong = 0;
    if (!LB_CHECK(cols <= MK_FFN && lb_tern_tile_bytes(cols) <= CAP, "%zu columns", cols)) {
        return;
    }
    for (size_t r = 0; w != NULL && r < rows; r += LB_TILE_ROWS) {
        const size_t n = rows - r < LB_TILE_ROWS ? rows - r : LB_TILE_ROWS;
        lb_pack_tern(w + r * cols, cols, n, cols, NULL, tile);
        for (size_t i = 0; i < n; i++) {
            lb_wformat_find(LB_W_TERN)->unpack(tile, cols, i, row);
            for (size_t c = 0; c < cols; c++) {
                wrong += row[c] != w[(r + i) * cols + c];
            }
        }
    }
    LB_CHECK(wrong == 0, "%zu packed weights", wrong);
}

/* The two ternary forms that have one scale, and a .scale tensor. */
static void check_gguf_ternary(void)
{
    lb_test_case("gguf: ternary tensors");
    mk_gguf g = { 0 };
    mk_gguf_numbers(&g, "llama");
    mk_gguf_weights(&g, LB_GGML_F32, "blk.0.ffn_up.weight");
    enum { N = MK_FFN * MK_DIM };
    unsigned char codes[N], packed[N / 4 + 32] = { 0 };
    for (size_t i = 0; i < N; i++) {
        codes[i] = (unsigned char)(lb_test_random() % 3);
        packed[i / 128 * 32 + i % 32] |= (unsigned char)(codes[i] << (6 - 2 * (i % 128 / 32)));
    }
    lb_store_u32(packed + N / 4, lb_f32_bits(0.75f));
    mk_gguf_tensor(&g, "blk.0.ffn_up.weight", MK_FFN, MK_DIM, LB_GGML_I2_S, packed, sizeof packed);
    mk_gguf_tensor(&g, "blk.0.ffn_up.scale", 1, 1, LB_GGML_F32, (const unsigned char[]){ 0, 0, 0, 0x3f }, 4);
    mk_blob b = { NULL, 0, 0 };
    mk_gguf_end(&g, &b);
    lb_source *s = open_blob("ternary.gguf", &b, NULL);
    if (s != NULL) {
        const lb_source_tensor *t = &s->tensors[find_tensor(s, "layers.0.ffn_up")];
        LB_CHECK(t->ternary && t->ternary_scale == 0.375f && strcmp(t->type, "i2_s") == 0, "%s %g", t->type,
                 (double)t->ternary_scale);
        float *w = read_all(s, "layers.0.ffn_up");
        size_t wrong = w == NULL;
        for (size_t i = 0; w != NULL && i < N; i++) {
            wrong += w[i] != (float)(codes[i] - 1) * 0.375f;
        }
        LB_CHECK(wrong == 0, "%zu weights", wrong);
        check_packs_exactly(w, MK_FFN, MK_DIM);
        free(w);
        s->close(s);
    }
    mk_free(&b);
}

static void check_gguf_head(void)
{
    lb_test_case("gguf: a head of its own, a vocabulary alone, a tokenizer of another file");
    mk_gguf g = { 0 };
    float head[MK_VOCAB * MK_DIM];
    for (size_t i = 0; i < MK_VOCAB * MK_DIM; i++) {
        head[i] = (float)i;
    }
    mk_gguf_numbers(&g, "llama");
    mk_gguf_weights(&g, LB_GGML_F32, NULL);
    mk_gguf_tensor(&g, "output.weight", MK_VOCAB, MK_DIM, LB_GGML_F32, head, sizeof head);
    mk_blob b = { NULL, 0, 0 };
    mk_gguf_end(&g, &b);
    const char *json = lb_test_temp("tok.json");
    mk_write(json, mk_tokenizer_json, strlen(mk_tokenizer_json));
    lb_source *s = open_blob("head.gguf", &b, json);
    if (s != NULL) {
        float *w = read_all(s, "out_head");
        LB_CHECK(w != NULL && w[200] == 200.0f && s->n_tensors == mk_n_tensors + 1, "head");
        LB_CHECK(s->tokens != NULL, "the other file's tokens");
        free(w);
        s->close(s);
    }
    mk_free(&b);
    g = (mk_gguf){ 0 };
    mk_gguf_string(&g, "general.architecture", "gpt2");
    mk_gguf_vocabulary(&g);
    mk_gguf_end(&g, &b);
    s = open_blob("vocab.gguf", &b, NULL);
    if (s != NULL) {
        LB_CHECK(s->n_tensors == 0 && s->hparams.n_vocab == MK_VOCAB && s->tokens != NULL, "only tokens");
        s->close(s);
    }
    mk_free(&b);
}

/* ---------------------------------------------------------------- Hugging Face */

static lb_source *open_folder(const char *folder)
{
    lb_source *s = NULL;
    lbrt_error err = { 0 };
    lbrt_status status = lb_source_open(folder, NULL, NULL, &s, &err);
    LB_CHECK(status == LBRT_OK && s != NULL, "%s: %s: %s", folder, lbrt_status_name(status), err.text);
    return s;
}

static lb_source *open_hf(const char *name, const char *arch, const char *more, mk_safetensors *st)
{
    mk_blob config = { NULL, 0, 0 }, weights = { NULL, 0, 0 };
    mk_config(arch, more, &config);
    mk_st_end(st, &weights);
    lb_source *s = open_folder(mk_folder(name, &config, &weights));
    mk_free(&config);
    mk_free(&weights);
    return s;
}

static void check_hf(const char *arch, const char *dtype)
{
    lb_test_case("hf: %s, %s", arch, dtype);
    mk_safetensors st = { 0 };
    mk_st_weights(&st, dtype, NULL, true);
    lb_source *s = open_hf("hf", arch, "\"tie_word_embeddings\": true", &st);
    if (s != NULL) {
        check_tiny(s, mk_n_tensors, false);
        check_weights(s, true);
        LB_CHECK(s->hparams.norm_eps == 1e-5f && s->tokens != NULL && s->tokens->n_tokens == MK_VOCAB,
                 "tokens");
        s->close(s);
    }
}

/* Writes `text` into the folder as a file of that name, or removes the file if it is NULL. */
static void put_file(const char *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (text != NULL) {
        mk_write(path, text, strlen(text));
    } else {
        remove(path);
    }
}

/* A folder's chat template: in tokenizer_config.json, alone or by name, or in a file of its own. */
static void check_hf_template(void)
{
    static const struct {
        const char *config; /* tokenizer_config.json */
        const char *jinja;  /* chat_template.jinja */
        const char *want;
    } cases[] = {
        { NULL, NULL, NULL },
        { "{}", NULL, NULL },
        { "{ \"chat_template\": \"one\" }", NULL, "one" },
        { "{ \"chat_template\": [{ \"name\": \"tool_use\", \"template\": \"tools\" }, "
          "{ \"name\": \"default\", \"template\": \"usual\" }, "
          "{ \"name\": \"rag\", \"template\": \"more\" }] }",
          NULL, "usual" },
        { "{ \"chat_template\": [{ \"name\": \"tool_use\", \"template\": \"tools\" }] }", NULL, NULL },
        { "{ \"chat_template\": [1, \"default\", {}, { \"name\": \"default\" }] }", NULL, NULL },
        { NULL, "{{ file }}\n", "{{ file }}\n" },
        { "{}", "file", "file" },
        { "{ \"chat_template\": null }", "file", "file" },
        { "{ \"chat_template\": \"one\" }", "file", "one" },
        { "{ \"chat_template\": [{ \"name\": \"default\", \"template\": \"usual\" }] }", "file", "usual" },
        { "{ \"chat_template\": [{ \"name\": \"tool_use\", \"template\": \"tools\" }] }", "file", "file" },
        { "{}", "", NULL },
    };
    mk_blob config = { NULL, 0, 0 }, weights = { NULL, 0, 0 };
    mk_safetensors st = { 0 };
    mk_config("LlamaForCausalLM", "\"tie_word_embeddings\": true", &config);
    mk_st_weights(&st, "F32", NULL, true);
    mk_st_end(&st, &weights);
    const char *folder = mk_folder("template", &config, &weights);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lb_test_case("hf: chat template, tokenizer_config.json %s, chat_template.jinja %s",
                     cases[i].config ? cases[i].config : "(none)",
                     cases[i].jinja ? cases[i].jinja : "(none)");
        put_file(folder, "tokenizer_config.json", cases[i].config);
        put_file(folder, "chat_template.jinja", cases[i].jinja);
        lb_source *s = open_folder(folder);
        if (s != NULL) {
            const char *got = s->tokens != NULL ? s->tokens->chat_template : "(no tokens)";
            LB_CHECK(cases[i].want == NULL ? got == NULL : got != NULL && strcmp(got, cases[i].want) == 0,
                     "%s", got != NULL ? got : "(none)");
            s->close(s);
        }
    }
    mk_free(&config);
    mk_free(&weights);
}

static void check_hf_tied(void)
{
    static const struct {
        const char *config;
        bool embed, head;
        size_t n;
    } forms[] = { { "\"tie_word_embeddings\": true", true, false, 11 },
                  { "\"tie_word_embeddings\": true", true, true, 11 },
                  { "\"tie_word_embeddings\": true", false, true, 11 },
                  { "\"tie_word_embeddings\": false", true, true, 12 },
                  { "", true, true, 12 },
                  { "", true, false, 11 },
                  { "\"tie_word_embeddings\": false", true, false, 0 },
                  { "\"tie_word_embeddings\": false", false, true, 0 } };
    lb_test_case("hf: embedding and head, tied and not");
    float head[MK_VOCAB * MK_DIM];
    for (size_t i = 0; i < MK_VOCAB * MK_DIM; i++) {
        head[i] = mk_weight(forms[0].embed ? "tok_embed" : "", i);
    }
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        mk_safetensors st = { 0 };
        mk_blob config = { NULL, 0, 0 }, weights = { NULL, 0, 0 };
        mk_st_weights(&st, "F32", forms[i].embed ? NULL : "model.embed_tokens.weight", true);
        if (forms[i].head) {
            mk_st_tensor(&st, "lm_head.weight", "F32", "8,32", head, sizeof head);
        }
        mk_config("LlamaForCausalLM", forms[i].config, &config);
        mk_st_end(&st, &weights);
        lb_source *s;
        lbrt_error err = { 0 };
        lbrt_status status = lb_source_open(mk_folder("tied", &config, &weights), NULL, NULL, &s, &err);
        LB_CHECK((status == LBRT_OK) == (forms[i].n > 0), "form %zu: %s", i, err.text);
        if (s != NULL) {
            LB_CHECK(s->n_tensors == forms[i].n, "form %zu: %zu tensors", i, s->n_tensors);
            check_weights(s, true);
            s->close(s);
        }
        mk_free(&config);
        mk_free(&weights);
    }
}

static void check_hf_config(void)
{
    lb_test_case("hf: llama3 scaling in both spellings, biases");
    static const char *const configs[] = {
        "\"rope_theta\": 500000.0, \"attention_bias\": true, \"rope_scaling\": {\"rope_type\": \"llama3\", "
        "\"factor\": 32.0,"
        " \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 8192}",
        "\"attention_bias\": true, \"rope_parameters\": {\"rope_theta\": 500000.0, \"rope_type\": "
        "\"llama3\", \"factor\": 32.0,"
        " \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 8192}"
    };
    static const char *const biases[] = { "q", "k", "v", "o" };
    float bias[MK_DIM] = { 1.5f };
    for (size_t i = 0; i < 2; i++) {
        mk_safetensors st = { 0 };
        mk_st_weights(&st, "F32", NULL, true);
        for (size_t k = 0; k < 4; k++) {
            char name[80];
            snprintf(name, sizeof name, "model.layers.0.self_attn.%s_proj.bias", biases[k]);
            bool wide = k == 0 || k == 3;
            mk_st_tensor(&st, name, "F32", wide ? "32" : "16", bias, wide ? 128 : 64);
        }
        lb_source *s = open_hf("llama3", "LlamaForCausalLM", configs[i], &st);
        if (s != NULL) {
            const lb_hparams *h = &s->hparams;
            LB_CHECK(h->rope_scaling == LB_ROPE_LLAMA3 && h->rope_factor == 32.0f &&
                         h->rope_low_freq == 1.0f && h->rope_high_freq == 4.0f &&
                         h->rope_original_context == 8192 && h->rope_theta == 5e5f,
                     "scaling of config %zu", i);
            float *w = read_all(s, "layers.0.attn_o_bias");
            LB_CHECK(w != NULL && w[0] == 1.5f && s->n_tensors == mk_n_tensors + 4, "biases");
            free(w);
            s->close(s);
        }
    }
}

static void check_hf_shards(void)
{
    lb_test_case("hf: a model in two files");
    mk_safetensors st = { 0 };
    mk_blob config = { NULL, 0, 0 }, index = { NULL, 0, 0 }, file = { NULL, 0, 0 };
    mk_config("LlamaForCausalLM", "\"tie_word_embeddings\": true", &config);
    const char *folder = mk_folder("shards", &config, NULL);
    char path[512];
    mk_text(&index, "{\"metadata\": {}, \"weight_map\": {");
    for (size_t i = 0; i < mk_n_tensors; i++) {
        mk_text(&index, "%s\"%s\": \"part-%d.safetensors\"", i == 0 ? "" : ", ", mk_tensors[i].hf,
                mk_tensors[i].linear);
    }
    mk_text(&index, "}}");
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    mk_write(path, index.data, index.n);
    mk_st_weights(&st, "F32", NULL, false);
    mk_st_end(&st, &file);
    snprintf(path, sizeof path, "%s/part-0.safetensors", folder);
    mk_write(path, file.data, file.n);
    file.n = 0;
    for (size_t i = 0; i < mk_n_tensors; i++) {
        const mk_tensor *t = &mk_tensors[i];
        if (t->linear) {
            char shape[32];
            float w[MK_FFN * MK_DIM];
            for (size_t k = 0; k < (size_t)t->rows * t->cols; k++) {
                w[k] = mk_weight(t->name, k);
            }
            snprintf(shape, sizeof shape, "%u,%u", (unsigned)t->rows, (unsigned)t->cols);
            mk_st_tensor(&st, t->hf, "F32", shape, w, (size_t)t->rows * t->cols * 4);
        }
    }
    mk_st_end(&st, &file);
    snprintf(path, sizeof path, "%s/part-1.safetensors", folder);
    mk_write(path, file.data, file.n);
    lb_source *s = open_folder(folder);
    if (s != NULL) {
        check_tiny(s, mk_n_tensors, false);
        check_weights(s, true);
        s->close(s);
    }
    mk_free(&config);
    mk_free(&index);
    mk_free(&file);
}

/* mode 0: bytes and a factor; 1: bytes and a divisor; 2: floats that are rounded */
static void check_hf_bitnet(int mode)
{
    static const char *const quantization[] = {
        "\"quantization_config\": {\"quant_method\": \"bitnet\", \"linear_class\": \"autobitlinear\","
        " \"quantization_mode\": \"offline\"}",
        "\"quantization_config\": {\"quant_method\": \"bitnet\", \"linear_class\": \"bitlinear\"}",
        "\"quantization_config\": {\"quant_method\": \"bitnet\", \"linear_class\": \"autobitlinear\","
        " \"quantization_mode\": \"online\"}"
    };
    lb_test_case("hf: BitNet, form %d", mode);
    mk_safetensors st = { 0 };
    mk_st_weights(&st, "BF16", NULL, mode == 2);
    float ones[MK_FFN];
    for (size_t i = 0; i < MK_FFN; i++) {
        ones[i] = 1.0f;
    }
    mk_st_tensor(&st, "model.layers.0.self_attn.attn_sub_norm.weight", "F32", "32", ones, MK_DIM * 4);
    mk_st_tensor(&st, "model.layers.0.mlp.ffn_sub_norm.weight", "F32", "64", ones, MK_FFN * 4);
    for (size_t i = 0; i < mk_n_tensors && mode < 2; i++) {
        const mk_tensor *t = &mk_tensors[i];
        unsigned char bytes[MK_FFN * MK_DIM / 4] = { 0 };
        char shape[32], name[100];
        if (t->linear) {
            uint32_t quarter = t->rows / 4;
            for (uint32_t r = 0; r < t->rows; r++) {
                for (uint32_t c = 0; c < t->cols; c++) {
                    unsigned code = (r * 5 + c * 7) % 3;
                    bytes[r % quarter * t->cols + c] |= (unsigned char)(code << (r / quarter * 2));
                }
            }
            snprintf(shape, sizeof shape, "%u,%u", (unsigned)quarter, (unsigned)t->cols);
            mk_st_tensor(&st, t->hf, "U8", shape, bytes, quarter * t->cols);
            snprintf(name, sizeof name, "%s_scale", t->hf);
            mk_st_tensor(&st, name, "BF16", "1", "\x20\x40", 2); /* 2.5 */
        }
    }
    char more[300];
    snprintf(more, sizeof more,
             "\"tie_word_embeddings\": true, \"hidden_act\": \"relu2\", \"rope_theta\": 10000.0, %s",
             quantization[mode]);
    lb_source *s = open_hf("bitnet", "BitNetForCausalLM", more, &st);
    if (s == NULL) {
        return;
    }
    check_tiny(s, mk_n_tensors + 2, false);
    check_weights(s, false);
    LB_CHECK(s->hparams.activation == LB_ACT_RELU2, "activation");
    const lb_source_tensor *t = &s->tensors[find_tensor(s, "layers.0.ffn_down")];
    float *w = read_all(s, "layers.0.ffn_down");
    double sum = 0.0;
    for (size_t i = 0; i < MK_FFN * MK_DIM; i++) {
        sum += fabs((double)mk_weight("layers.0.ffn_down", i));
    }
    float mean = (float)(sum / (MK_FFN * MK_DIM)), want_scale = mode == 0   ? 2.5f
                                                                : mode == 1 ? 1.0f / 2.5f
                                                                            : mean;
    LB_CHECK(t->ternary && t->ternary_scale == want_scale, "scale %g, not %g", (double)t->ternary_scale,
             (double)want_scale);
    if (w != NULL) {
        check_packs_exactly(w, (size_t)t->rows, (size_t)t->cols);
    }
    size_t wrong = w == NULL;
    for (uint32_t i = 0; w != NULL && i < MK_FFN * MK_DIM; i++) {
        float code = (float)((int)((i / MK_FFN * 5 + i % MK_FFN * 7) % 3) - 1);
        if (mode == 2) {
            code = rintf(mk_weight("layers.0.ffn_down", i) * (1.0f / mean));
            code = code > 1.0f ? 1.0f : code < -1.0f ? -1.0f : code;
        }
        wrong += w[i] != code * want_scale;
    }
    LB_CHECK(wrong == 0, "%zu weights", wrong);
    free(w);
    s->close(s);
}

/* ---------------------------------------------------------------- llama2.c */

static void check_llama2c(bool version1, bool tied)
{
    lb_test_case("llama2.c: version %d, %s", version1, tied ? "tied" : "with a head");
    mk_blob b = { NULL, 0, 0 };
    mk_llama2c(version1, tied, &b);
    lb_source *s = open_blob("tiny.bin", &b, NULL);
    if (s != NULL) {
        check_tiny(s, mk_n_tensors + !tied, true);
        check_weights(s, true);
        LB_CHECK(s->hparams.norm_eps == 1e-5f && s->tokens == NULL, "epsilon");
        float *w = tied ? NULL : read_all(s, "out_head");
        LB_CHECK(tied || (w != NULL && w[9] == mk_weight("out_head", 9)), "head");
        free(w);
        s->close(s);
    }
    const char *path = lb_test_temp("tiny.bin");
    for (int more = -4; more <= 4; more += 8) { /* a number too little, a number too much */
        mk_u32(&b, 0);
        mk_write(path, b.data, b.n - 4 + (size_t)(more + 4) / 2 - (more < 0 ? 4 : 0));
        LB_CHECK(lb_source_open(path, NULL, NULL, &s, NULL) == LBRT_ERR_FORMAT && s == NULL, "%d bytes more",
                 more);
        b.n -= 4;
    }
    mk_free(&b);
}

/* ---------------------------------------------------------------- the shared models */

/* Row r of q or k in the half-split order of Hugging Face, as its row in the interleaved order. */
static uint64_t interleaved_row(uint64_t r, uint32_t head_dim)
{
    uint64_t in = r % head_dim, half = head_dim / 2;
    return r - in + (in < half ? 2 * in : 2 * (in - half) + 1);
}

static void compare_sources(const lb_source *a, const lb_source *b, bool permuted)
{
    for (size_t i = 0; i < a->n_tensors; i++) {
        const lb_source_tensor *t = &a->tensors[i];
        float *x = read_all(a, t->name), *y = read_all(b, t->name);
        bool rotate = permuted && (strstr(t->name, ".attn_q") != NULL || strstr(t->name, ".attn_k") != NULL);
        size_t wrong = x == NULL || y == NULL;
        for (uint64_t r = 0; wrong == 0 && r < t->rows; r++) {
            uint64_t to = rotate ? interleaved_row(r, a->hparams.head_dim) : r;
            wrong += memcmp(x + r * t->cols, y + to * t->cols, (size_t)t->cols * 4) != 0;
        }
        LB_CHECK(wrong == 0, "%s differs", t->name);
        free(x);
        free(y);
    }
}

static void check_pair(const char *first, const char *second, bool permuted)
{
    lb_test_case("shared: %s and %s are the same model", first, second);
    char path[4096];
    const char *found = lb_test_shared(first);
    snprintf(path, sizeof path, "%s", found == NULL ? "" : found);
    const char *other = lb_test_shared(second);
    if (found == NULL || other == NULL) {
        lb_test_skip("not here");
        return;
    }
    lb_source *a = NULL, *b = NULL;
    lbrt_error err = { 0 };
    LB_CHECK(lb_source_open(path, NULL, NULL, &a, &err) == LBRT_OK, "%s", err.text);
    LB_CHECK(lb_source_open(other, NULL, NULL, &b, &err) == LBRT_OK, "%s", err.text);
    if (a != NULL && b != NULL) {
        LB_CHECK(a->hparams.rope_interleaved != permuted && b->hparams.rope_interleaved, "order of rotation");
        LB_CHECK(a->tokens != NULL && b->tokens != NULL && a->tokens->n_tokens == b->tokens->n_tokens,
                 "tokens");
        compare_sources(a, b, permuted);
    }
    if (a != NULL) {
        a->close(a);
    }
    if (b != NULL) {
        b->close(b);
    }
}

static void check_opens(const char *relative, uint32_t n_vocab, size_t n_tensors)
{
    lb_test_case("shared: %s", relative);
    const char *path = lb_test_shared(relative);
    if (path == NULL) {
        lb_test_skip("not here");
        return;
    }
    lb_source *s = NULL;
    lbrt_error err = { 0 };
    if (LB_CHECK(lb_source_open(path, NULL, NULL, &s, &err) == LBRT_OK, "%s", err.text)) {
        LB_CHECK(s->hparams.n_vocab == n_vocab && s->n_tensors == n_tensors, "%u tokens, %zu tensors",
                 (unsigned)s->hparams.n_vocab, s->n_tensors);
        LB_CHECK(s->tokens != NULL && s->tokens->n_tokens == n_vocab, "tokens");
        s->close(s);
    }
}

void test_import(void)
{
    check_gguf("llama", LB_GGML_F32, true);
    check_gguf("llama", LB_GGML_F16, true);
    check_gguf_rope();
    check_gguf_ternary();
    check_gguf_head();
    check_hf("LlamaForCausalLM", "F32");
    check_hf("LlamaForCausalLM", "F16");
    check_hf("MistralForCausalLM", "BF16");
    check_hf_template();
    check_hf_tied();
    check_hf_config();
    check_hf_shards();
    check_hf_bitnet(0);
    check_hf_bitnet(1);
    check_hf_bitnet(2);
    check_llama2c(false, true);
    check_llama2c(false, false);
    check_llama2c(true, true);
    check_llama2c(true, false);
    check_pair("models/stories260K/stories260K.bin", "models/stories260K/stories260Ktok512.gguf", false);
    check_pair("models/lab", "models/lab/model-f16.gguf", true);
    check_opens("models/TinyStories-656K", 2048, 20);
    check_opens("models/bitstories-3M", 512, 90);
    check_opens("tokenizers/gpt-2/vocab.gguf", 50257, 0);
    check_opens("tokenizers/llama-spm/vocab.gguf", 32000, 0);
    check_opens("tokenizers/deepseek-llm/vocab.gguf", 102400, 0);
}
