/* Hugging Face folders: tiny models made here, with weights known by name. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/import/lb_source.h"
#include "import_checks.h"
#include "lb_test.h"
#include "make_models.h"

void test_import_hf(void);

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
        import_check_tiny(s, mk_n_tensors, false);
        import_check_weights(s, true);
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
        { "{ \"chat_template\": \"one\" }", "file", "file" }, /* as transformers reads both */
        { "{ \"chat_template\": [{ \"name\": \"default\", \"template\": \"usual\" }] }", "file", "file" },
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
        bool other; /* a head of other numbers, which is then the model's */
    } forms[] = { { "\"tie_word_embeddings\": true", true, true, 12, true },
                   { "\"tie_word_embeddings\": true", true, false, 11, false },
                  { "\"tie_word_embeddings\": true", true, true, 11, false },
                  { "\"tie_word_embeddings\": true", false, true, 11, false },
                  { "\"tie_word_embeddings\": false", true, true, 12, false },
                  { "", true, true, 12, false },
                  { "", true, false, 11, false },
                  { "\"tie_word_embeddings\": false", true, false, 0, false },
                  { "\"tie_word_embeddings\": false", false, true, 0, false } };
    lb_test_case("hf: embedding and head, tied and not");
    float head[MK_VOCAB * MK_DIM];
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        for (size_t k = 0; k < MK_VOCAB * MK_DIM; k++) {
            head[k] = mk_weight(forms[i].other ? "out_head" : "tok_embed", k);
        }
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
            import_check_weights(s, true);
            s->close(s);
        }
        mk_free(&config);
        mk_free(&weights);
    }
}

/* One file of weights by another name is the model's; of two it is not known which. */
static void check_hf_only(void)
{
    lb_test_case("hf: weights in a file of another name");
    mk_blob config = { NULL, 0, 0 }, weights = { NULL, 0, 0 };
    mk_safetensors st = { { NULL, 0, 0 }, { NULL, 0, 0 } };
    mk_config("LlamaForCausalLM", "\"tie_word_embeddings\": true", &config);
    mk_st_weights(&st, "F32", NULL, true);
    mk_st_end(&st, &weights);
    const char *folder = mk_folder("only", &config, &weights);
    char path[2][512], old[512];
    snprintf(old, sizeof old, "%s/model.safetensors", folder);
    snprintf(path[0], sizeof path[0], "%s/gptq_model-4bit-128g.safetensors", folder);
    snprintf(path[1], sizeof path[1], "%s/other.safetensors", folder);
    LB_CHECK(rename(old, path[0]) == 0, "rename");
    for (int two = 0; two < 2; two++) {
        if (two) {
            mk_write(path[1], weights.data, weights.n);
        }
        lb_source *s = NULL;
        lbrt_error err = { LBRT_OK, "" };
        const lbrt_status status = lb_source_open(folder, NULL, NULL, &s, &err);
        LB_CHECK(two ? status == LBRT_ERR_IO && strstr(err.text, "has no model.safetensors") : status == LBRT_OK, "%s", err.text);
        if (s) {
            s->close(s);
        }
    }
    remove(path[0]);
    remove(path[1]);
    mk_free(&config);
    mk_free(&weights);
}

static void check_hf_yarn(void)
{
    const double paper = 0.1 * log(4.0) + 1.0;
    const struct {
        const char *arch, *scaling;
        double attention; /* what cosines and sines are multiplied by */
    } cases[] = {
        { "LlamaForCausalLM", "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 4096}", paper },
        { "LlamaForCausalLM", "\"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 4096, \"beta_fast\": null, "
                              "\"attention_factor\": 1.5}", 1.5 },
        { "LlamaForCausalLM", "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 4096, \"mscale\": 0.5, \"mscale_all_dim\": 1.0}",
          (0.05 * log(4.0) + 1.0) / paper },
        { "Qwen3ForCausalLM", "\"head_dim\": 16, \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 4096, \"attn_factor\": "
                              "0.8782488562869419}", 1.0 },
        { "Qwen3ForCausalLM", "\"head_dim\": 16, \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 4096}", paper },
        { "LlamaForCausalLM", "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 10000}, \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, "
                              "\"original_max_position_embeddings\": 4096}", paper },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lb_test_case("hf: YaRN, %s %s", cases[i].arch, cases[i].scaling);
        const bool qwen = strstr(cases[i].arch, "Qwen3") != NULL;
        char more[512];
        snprintf(more, sizeof more, "\"tie_word_embeddings\": true, %s", cases[i].scaling);
        mk_safetensors st = { 0 };
        mk_st_weights(&st, "F32", NULL, true);
        float ones[16];
        for (size_t k = 0; k < 16; k++) {
            ones[k] = 1.0f;
        }
        for (int k = 0; k < 2 && qwen; k++) {
            mk_st_tensor(&st, k ? "model.layers.0.self_attn.k_norm.weight" : "model.layers.0.self_attn.q_norm.weight", "F32", "16", ones, sizeof ones);
        }
        lb_source *s = open_hf("yarn", cases[i].arch, more, &st);
        if (s) {
            import_check_yarn(s, cases[i].attention);
            s->close(s);
        }
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
            float *w = import_read(s, "layers.0.attn_o_bias");
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
        import_check_tiny(s, mk_n_tensors, false);
        import_check_weights(s, true);
        s->close(s);
    }
    mk_free(&config);
    mk_free(&index);
    mk_free(&file);
}

/* BitNet's bytes of four codes with a scale of 2.5, but for one matrix, and the norms that its layers have besides */
static void put_packed(mk_safetensors *st, const char *except)
{
    for (size_t i = 0; i < mk_n_tensors; i++) {
        const mk_tensor *t = &mk_tensors[i];
        unsigned char bytes[MK_FFN * MK_DIM / 4] = { 0 };
        char shape[32], name[100];
        if (t->linear && strcmp(t->name, except) != 0) {
            uint32_t quarter = t->rows / 4;
            for (uint32_t r = 0; r < t->rows; r++) {
                for (uint32_t c = 0; c < t->cols; c++) {
                    unsigned code = (r * 5 + c * 7) % 3;
                    bytes[r % quarter * t->cols + c] |= (unsigned char)(code << (r / quarter * 2));
                }
            }
            snprintf(shape, sizeof shape, "%u,%u", (unsigned)quarter, (unsigned)t->cols);
            mk_st_tensor(st, t->hf, "U8", shape, bytes, quarter * t->cols);
            snprintf(name, sizeof name, "%s_scale", t->hf);
            mk_st_tensor(st, name, "BF16", "1", "\x20\x40", 2);
        }
    }
}

static void put_sub_norms(mk_safetensors *st, bool first)
{
    float ones[MK_FFN];
    for (size_t i = 0; i < MK_FFN; i++) {
        ones[i] = 1.0f;
    }
    mk_st_tensor(st, first ? "model.layers.0.self_attn.inner_attn_ln.weight" : "model.layers.0.self_attn.attn_sub_norm.weight", "F32", "32", ones, MK_DIM * 4);
    mk_st_tensor(st, first ? "model.layers.0.mlp.ffn_layernorm.weight" : "model.layers.0.mlp.ffn_sub_norm.weight", "F32", "64", ones, MK_FFN * 4);
}

/* mode 0: bytes and a factor; 1: bytes and a divisor; 2: floats that are rounded; 3: the same by the names and the activation of the first models */
static void check_hf_bitnet(int mode)
{
    static const char *const quantization[] = {
        "\"quantization_config\": {\"quant_method\": \"bitnet\", \"linear_class\": \"autobitlinear\","
        " \"quantization_mode\": \"offline\"}",
        "\"quantization_config\": {\"quant_method\": \"bitnet\", \"linear_class\": \"bitlinear\"}",
        "\"quantization_config\": {\"quant_method\": \"bitnet\", \"linear_class\": \"autobitlinear\","
        " \"quantization_mode\": \"online\"}",
        "\"input_bits\": 8, \"weight_bits\": 1"
    };
    lb_test_case("hf: BitNet, form %d", mode);
    const bool first = mode == 3; /* 1bitLLM's models */
    mk_safetensors st = { 0 };
    mk_st_weights(&st, "BF16", NULL, mode >= 2);
    put_sub_norms(&st, first);
    if (mode < 2) {
        put_packed(&st, "");
    }
    char more[300];
    snprintf(more, sizeof more,
             "\"tie_word_embeddings\": true, \"hidden_act\": \"%s\", \"rope_theta\": 10000.0, %s",
             first ? "silu" : "relu2", quantization[mode]);
    lb_source *s = open_hf("bitnet", first ? "BitnetForCausalLM" : "BitNetForCausalLM", more, &st);
    if (s == NULL) {
        return;
    }
    import_check_tiny(s, mk_n_tensors + 2, false);
    import_check_weights(s, false);
    LB_CHECK(s->hparams.activation == (first ? LB_ACT_SILU : LB_ACT_RELU2), "activation");
    const lb_source_tensor *t = &s->tensors[import_find(s, "layers.0.ffn_down")];
    float *w = import_read(s, "layers.0.ffn_down");
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
        import_check_packs(w, (size_t)t->rows, (size_t)t->cols);
    }
    size_t wrong = w == NULL;
    for (uint32_t i = 0; w != NULL && i < MK_FFN * MK_DIM; i++) {
        float code = (float)((int)((i / MK_FFN * 5 + i % MK_FFN * 7) % 3) - 1);
        if (mode >= 2) {
            code = rintf(mk_weight("layers.0.ffn_down", i) * (1.0f / mean));
            code = code > 1.0f ? 1.0f : code < -1.0f ? -1.0f : code;
        }
        wrong += w[i] != code * want_scale;
    }
    LB_CHECK(wrong == 0, "%zu weights", wrong);
    free(w);
    s->close(s);
}

/* Matrices that are floats in BitNet models. mode 0: named, beside such that are rounded; 1: named, beside packed ones; 2: not named; 3: unpacked codes with a scale */
static void check_hf_bitnet_floats(int mode)
{
    lb_test_case("hf: BitNet, floats %d", mode);
    static const char name[] = "model.layers.0.mlp.down_proj.weight";
    static float w[MK_FFN * MK_DIM];
    mk_safetensors st = { 0 };
    mk_st_weights(&st, "BF16", name, mode == 0);
    put_sub_norms(&st, false);
    if (mode > 0) {
        put_packed(&st, "layers.0.ffn_down");
    }
    for (size_t i = 0; i < MK_FFN * MK_DIM; i++) {
        w[i] = mode == 3 ? (float)((int)(i * 7 % 3) - 1) : mk_weight("layers.0.ffn_down", i);
    }
    mk_st_tensor(&st, name, "F32", "32,64", w, sizeof w);
    if (mode == 3) {
        mk_st_tensor(&st, "model.layers.0.mlp.down_proj.weight_scale", "BF16", "1", "\x20\x40", 2); /* 2.5 */
    }
    char more[300];
    snprintf(more, sizeof more,
             "\"tie_word_embeddings\": true, \"hidden_act\": \"relu2\", \"quantization_config\": {\"quant_method\": \"bitnet\", \"linear_class\": \"autobitlinear\","
             " \"quantization_mode\": \"%s\", \"modules_to_not_convert\": %s}",
             mode == 0 ? "online" : "offline", mode < 2 ? "[\"lm_head\", \"layers.0.mlp.down\"]" : "[\"down_proj.weight\"]");
    if (mode == 2) {
        mk_blob config = { NULL, 0, 0 }, weights = { NULL, 0, 0 };
        lb_source *none = NULL;
        lbrt_error err = { LBRT_OK, "" };
        mk_config("BitNetForCausalLM", more, &config);
        mk_st_end(&st, &weights);
        LB_CHECK(lb_source_open(mk_folder("bitnet", &config, &weights), NULL, NULL, &none, &err) != LBRT_OK && strstr(err.text, "should have packed bytes"), "%s", err.text);
        mk_free(&config);
        mk_free(&weights);
        return;
    }
    lb_source *s = open_hf("bitnet", "BitNetForCausalLM", more, &st);
    if (s == NULL) {
        return;
    }
    const lb_source_tensor *down = &s->tensors[import_find(s, "layers.0.ffn_down")], *up = &s->tensors[import_find(s, "layers.0.ffn_up")];
    LB_CHECK(down->ternary == (mode == 3) && up->ternary && (mode != 3 || down->ternary_scale == 2.5f), "which are ternary");
    float *got = import_read(s, "layers.0.ffn_down");
    size_t wrong = got == NULL;
    for (size_t i = 0; got != NULL && i < MK_FFN * MK_DIM; i++) {
        wrong += got[i] != w[i] * (mode == 3 ? 2.5f : 1.0f);
    }
    LB_CHECK(wrong == 0, "%zu weights", wrong);
    free(got);
    s->close(s);
}

/* A config.json that leaves the architecture out, or has an empty list of them, says it by model_type. */
static void check_hf_model_type(void)
{
    static const char *const types[] = { "llama", "qwen3", "mistral" };
    for (size_t i = 0; i < 3; i++) {
        lb_test_case("hf: no architecture, model_type %s", types[i]);
        char more[80];
        mk_safetensors st = { 0 };
        mk_blob config = { NULL, 0, 0 }, weights = { NULL, 0, 0 };
        snprintf(more, sizeof more, "\"model_type\": \"%s\", \"tie_word_embeddings\": true", i < 2 ? types[i] : "gpt2");
        mk_config(types[0], more, &config);
        char *list = memchr(config.data, '[', config.n), *end = memchr(config.data, ']', config.n);
        memset(list + 1, ' ', (size_t)(end - list) - 1);
        mk_st_weights(&st, "F32", NULL, true);
        mk_st_end(&st, &weights);
        lb_source *s = NULL;
        lbrt_error err = { LBRT_OK, "" };
        const lbrt_status status = lb_source_open(mk_folder("nameless", &config, &weights), NULL, NULL, &s, &err);
        LB_CHECK(i == 0   ? status == LBRT_OK && strcmp(s->hparams.architecture, "llama") == 0
                 : i == 1 ? status != LBRT_OK && strstr(err.text, "q_norm") /* of Qwen 3, which this model is not */
                          : status == LBRT_ERR_UNSUPPORTED && strstr(err.text, "gpt2"),
                 "%s", err.text);
        if (s) {
            s->close(s);
        }
        mk_free(&config);
        mk_free(&weights);
    }
}

void test_import_hf(void)
{
    check_hf_bitnet_floats(0);
    check_hf_bitnet_floats(1);
    check_hf_bitnet_floats(2);
    check_hf_bitnet_floats(3);
    check_hf_model_type();
    check_hf("LlamaForCausalLM", "F32");
    check_hf("LlamaForCausalLM", "F16");
    check_hf("MistralForCausalLM", "BF16");
    check_hf_template();
    check_hf_tied();
    check_hf_yarn();
    check_hf_only();
    check_hf_config();
    check_hf_shards();
    check_hf_bitnet(0);
    check_hf_bitnet(1);
    check_hf_bitnet(2);
    check_hf_bitnet(3);
}
