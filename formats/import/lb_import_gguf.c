/* GGUF models: whose architectures lbrt knows, their hyperparameters and tensors. */
#include "../../runtime/base/lb_utf8.h"
#include "lb_gguf.h"
#include "lb_import.h"

typedef struct gguf_arch {
    const char *name;
    bool interleaved; /* the converter permutes the rows of q and k so that pairs are neighbours */
    lb_activation activation;
    lb_rule qkv_bias, qk_norm, sub_norm;
} gguf_arch;

static const gguf_arch gguf_archs[] = {
    { "llama", true, LB_ACT_SILU, LB_RULE_OPTIONAL, LB_RULE_ABSENT, LB_RULE_ABSENT },
    { "qwen2", false, LB_ACT_SILU, LB_RULE_REQUIRED, LB_RULE_ABSENT, LB_RULE_ABSENT },
    { "qwen3", false, LB_ACT_SILU, LB_RULE_OPTIONAL, LB_RULE_REQUIRED, LB_RULE_ABSENT },
    { "bitnet", false, LB_ACT_SILU, LB_RULE_OPTIONAL, LB_RULE_ABSENT, LB_RULE_REQUIRED },
    { "bitnet-b1.58", false, LB_ACT_RELU2, LB_RULE_OPTIONAL, LB_RULE_ABSENT, LB_RULE_REQUIRED },
    { "bitnet-25", false, LB_ACT_RELU2, LB_RULE_OPTIONAL, LB_RULE_ABSENT, LB_RULE_REQUIRED },
};

/* ---------------------------------------------------------------- hyperparameters */

typedef struct gguf_params {
    const lb_gguf *g;
    lb_gguf_string arch;
    lbrt_error *err;
} gguf_params;

/* The key "<architecture>.<name>", NULL if the file has none. */
static const lb_gguf_kv *params_find(const gguf_params *p, const char *name)
{
    char key[160];
    lb_format(key, sizeof key, "%.*s.%s", (int)lb_min(p->arch.bytes, 64), p->arch.text, name);
    return lb_gguf_find(p->g, key);
}

/* *out keeps its value if the key is absent. A value of another kind is an error. */
static lbrt_status params_u32(const gguf_params *p, const char *name, uint32_t *out)
{
    const lb_gguf_kv *kv = params_find(p, name);
    uint64_t v;
    if (kv == NULL) {
        return LBRT_OK;
    }
    LB_FAIL_IF(kv->type == LB_GGUF_ARRAY, p->err, LBRT_ERR_UNSUPPORTED,
               "models whose %s differs from layer to layer are not supported", name);
    LB_FAIL_IF(!lb_gguf_uint(kv, UINT32_MAX, &v), p->err, LBRT_ERR_FORMAT, "the GGUF file's %s is no number",
               name);
    *out = (uint32_t)v;
    return LBRT_OK;
}

/* The same, or one number for each layer: the largest, and h->unequal if they differ. h->n_layers is known. */
static lbrt_status params_most(const gguf_params *p, const char *name, uint32_t *out, lb_hparams *h)
{
    const lb_gguf_kv *kv = params_find(p, name);
    if (kv == NULL || kv->type != LB_GGUF_ARRAY) {
        return params_u32(p, name, out);
    }
    int64_t most = 0, least = INT64_MAX;
    for (uint64_t i = 0; i < kv->n; i++) {
        const int64_t v = lb_gguf_item_int(kv, i);
        most = v > most ? v : most;
        least = v < least ? v : least;
    }
    LB_FAIL_IF(kv->n == 0 || least < 1 || most > UINT32_MAX, p->err, LBRT_ERR_UNSUPPORTED,
               "models with layers whose %s is 0, or no number, are not supported", name);
    LB_FAIL_IF(kv->n != h->n_layers, p->err, LBRT_ERR_FORMAT, "the GGUF file's %s has %llu numbers for %u layers", name,
               (unsigned long long)kv->n, h->n_layers);
    h->unequal = h->unequal || least != most;
    *out = (uint32_t)most;
    return LBRT_OK;
}

static lbrt_status params_f32(const gguf_params *p, const char *name, float *out)
{
    const lb_gguf_kv *kv = params_find(p, name);
    double v;
    if (kv == NULL) {
        return LBRT_OK;
    }
    LB_FAIL_IF(!lb_gguf_float(kv, &v), p->err, LBRT_ERR_FORMAT, "the GGUF file's %s is no number", name);
    *out = lb_import_f32(v);
    return LBRT_OK;
}

/* Keys of things that the forward pass would have to know. They are harmless where they are 0. Reads the window. */
static lbrt_status params_refuse(const gguf_params *p, lb_hparams *h)
{
    static const char *const keys[] = {
        "attention.scale", "attention.clamp_kqv", "attention.max_alibi_bias", "logit_scale",
        "residual_scale",  "embedding_scale",     "attn_logit_softcapping",   "final_logit_softcapping",
        "expert_count"
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        float v = 0.0f;
        LB_TRY(params_f32(p, keys[i], &v));
        LB_FAIL_IF(v != 0.0f && i + 1 == sizeof keys / sizeof keys[0], p->err, LBRT_ERR_UNSUPPORTED,
                   "mixtures of experts are not supported");
        LB_FAIL_IF(v != 0.0f, p->err, LBRT_ERR_UNSUPPORTED, "models with %s are not supported", keys[i]);
    }
    uint32_t window = 0, value_dim = h->head_dim;
    LB_TRY(params_u32(p, "attention.sliding_window", &window));
    h->window = window < h->n_context ? window : 0; /* of every layer */
    LB_TRY(params_u32(p, "attention.value_length", &value_dim));
    h->v_head_dim = value_dim != h->head_dim ? value_dim : 0;
    return LBRT_OK;
}

static lbrt_status params_rope(const gguf_params *p, lb_hparams *h)
{
    h->rope_dim = h->head_dim;
    LB_TRY(params_u32(p, "rope.dimension_count", &h->rope_dim));
    h->rope_theta = 10000.0f;
    LB_TRY(params_f32(p, "rope.freq_base", &h->rope_theta));
    /* Old files have only the factor, under another name; then scaling is linear. */
    float factor = 1.0f;
    LB_TRY(params_f32(p, "rope.scale_linear", &factor));
    LB_TRY(params_f32(p, "rope.scaling.factor", &factor));
    const lb_gguf_kv *kv = params_find(p, "rope.scaling.type");
    lb_gguf_string type = { "linear", 6 };
    LB_FAIL_IF(kv != NULL && !lb_gguf_text(kv, &type), p->err, LBRT_ERR_FORMAT,
               "the GGUF file's rope.scaling.type is no string");
    bool none = type.bytes == 4 && memcmp(type.text, "none", 4) == 0;
    LB_FAIL_IF(!none && (type.bytes != 6 || memcmp(type.text, "linear", 6) != 0), p->err,
               LBRT_ERR_UNSUPPORTED, "rotary scaling of type %.*s is not supported",
               (int)lb_min(type.bytes, 40), type.text);
    if (!none && factor != 0.0f && factor != 1.0f) {
        h->rope_scaling = LB_ROPE_LINEAR;
        h->rope_factor = factor;
    }
    return LBRT_OK;
}

static lbrt_status params_read(const gguf_params *p, lb_hparams *h)
{
    LB_TRY(params_u32(p, "block_count", &h->n_layers));
    LB_TRY(params_u32(p, "embedding_length", &h->dim));
    LB_TRY(params_most(p, "feed_forward_length", &h->ffn_dim, h));
    LB_TRY(params_u32(p, "context_length", &h->n_context));
    LB_TRY(params_most(p, "attention.head_count", &h->n_heads, h));
    h->n_kv_heads = h->n_heads;
    LB_TRY(params_most(p, "attention.head_count_kv", &h->n_kv_heads, h));
    h->head_dim = h->n_heads == 0 ? 0 : h->dim / h->n_heads;
    LB_TRY(params_u32(p, "attention.key_length", &h->head_dim));
    h->norm_eps = 1e-5f;
    LB_TRY(params_f32(p, "attention.layer_norm_rms_epsilon", &h->norm_eps));
    LB_TRY(params_rope(p, h));
    return params_refuse(p, h);
}

/* What arrays say of each layer, once its tensors are in place */
static lbrt_status params_check(const gguf_params *p, const lb_import *im)
{
    static const char *const lists[][2] = {
        { "attention.head_count", "attn_q" }, { "attention.head_count_kv", "attn_k" }, { "feed_forward_length", "ffn_gate" } };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        const lb_gguf_kv *kv = params_find(p, lists[i][0]);
        for (uint32_t layer = 0; kv && kv->type == LB_GGUF_ARRAY && layer < im->source.hparams.n_layers; layer++) {
            LB_TRY(lb_import_check_layer(im, lists[i][0], lists[i][1], layer, (uint64_t)lb_gguf_item_int(kv, layer), p->err));
        }
    }
    return LBRT_OK;
}

/* ---------------------------------------------------------------- tensors */

static bool gguf_ends_with(const lb_gguf_string *s, const char *end)
{
    size_t n = strlen(end);
    return s->bytes >= n && memcmp(s->text + s->bytes - n, end, n) == 0;
}

/* Tensors that say what the hyperparameters say already. */
static bool gguf_is_ignored(const lb_gguf_string *name)
{
    return gguf_ends_with(name, "attn_rot_embd.weight") || gguf_ends_with(name, "rotary_emb.inv_freq") ||
           gguf_ends_with(name, "rope.freqs");
}

/*
 * "blk.3.attn_q.scale", one number that multiplies blk.3.attn_q.weight: how llama.cpp stores BitNet models
 * whose weights are -1, 0 and 1. *is is false for other names.
 */
static lbrt_status gguf_put_scale(lb_import *im, const lb_gguf_tensor *t, bool *is, lbrt_error *err)
{
    char weight[64];
    size_t slot;
    size_t stem = t->name.bytes - lb_min(t->name.bytes, 6);
    *is = gguf_ends_with(&t->name, ".scale") && stem + 8 < sizeof weight;
    if (!*is) {
        return LBRT_OK;
    }
    lb_format(weight, sizeof weight, "%.*s.weight", (int)stem, t->name.text);
    *is = lb_import_find(im, LB_DIALECT_GGUF, weight, stem + 7, &slot) && lb_import_is_linear(slot);
    if (!*is) {
        return LBRT_OK;
    }
    LB_FAIL_IF(t->rows != 1 || t->cols != 1 || t->type->block != 1 || im->slots[slot].scale != 0.0f, err,
               LBRT_ERR_FORMAT, "GGUF tensor %.*s is no single number", (int)t->name.bytes, t->name.text);
    float scale;
    t->type->dequantize(t->data, &scale, 1);
    LB_FAIL_IF(!isfinite(scale) || scale == 0.0f, err, LBRT_ERR_FORMAT, "GGUF tensor %.*s is not a scale",
               (int)t->name.bytes, t->name.text);
    im->slots[slot].scale = scale;
    return LBRT_OK;
}

static lbrt_status gguf_put(lb_import *im, const lb_gguf_tensor *t, lbrt_error *err)
{
    int shown = (int)lb_min(t->name.bytes, 80);
    size_t slot;
    bool is_scale;
    LB_TRY(gguf_put_scale(im, t, &is_scale, err));
    if (is_scale || gguf_is_ignored(&t->name)) {
        return LBRT_OK;
    }
    LB_FAIL_IF(!lb_import_find(im, LB_DIALECT_GGUF, t->name.text, t->name.bytes, &slot), err,
               LBRT_ERR_UNSUPPORTED, "GGUF tensor %.*s is unknown in a model of %u layers of architecture %s",
               shown, t->name.text, (unsigned)im->source.hparams.n_layers, im->source.hparams.architecture);
    LB_FAIL_IF(!t->is_matrix, err, LBRT_ERR_FORMAT, "GGUF tensor %.*s is no matrix", shown, t->name.text);
    lb_place place = {
        .kind = LB_PLACE_ROWS, .type = t->type, .type_name = t->type->name, .data = t->data, .scale = 1.0f
    };
    if (t->type->id == LB_GGML_I2_S) {
        place.kind = LB_PLACE_I2_S;
        place.scale = lb_load_f32(t->data + t->bytes - 32);
        LB_FAIL_IF(!isfinite(place.scale), err, LBRT_ERR_FORMAT, "GGUF tensor %.*s has no finite scale",
                   shown, t->name.text);
    }
    return lb_import_put(im, slot, t->name.text, t->name.bytes, t->rows, t->cols, &place, err);
}

/* Scale tensors may stand before or behind their weights; both are there now. I2_S has a scale already: the product can be beyond all floats. */
static lbrt_status gguf_apply_scales(lb_import *im, lbrt_error *err)
{
    char name[64];
    for (size_t i = 0; i < im->n_slots; i++) {
        lb_slot *s = &im->slots[i];
        s->place.scale *= s->scale != 0.0f ? s->scale : 1.0f;
        LB_FAIL_IF(!isfinite(s->place.scale), err, LBRT_ERR_FORMAT, "GGUF tensor %s has two scales whose product is no finite number",
                   lb_import_slot_name(i, name, sizeof name));
    }
    return LBRT_OK;
}

static lbrt_status gguf_tensors(lb_import *im, const gguf_params *p)
{
    const lb_gguf *g = p->g;
    lbrt_error *err = p->err;
    /* The embedding says how many tokens there are; vocab_size is not in every file. */
    im->source.hparams.n_vocab = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const lb_gguf_tensor *t = &g->tensors[i];
        if (t->name.bytes == 17 && memcmp(t->name.text, "token_embd.weight", 17) == 0 &&
            t->rows <= UINT32_MAX) {
            im->source.hparams.n_vocab = (uint32_t)t->rows;
        }
    }
    LB_FAIL_IF(im->source.hparams.n_vocab == 0, err, LBRT_ERR_FORMAT,
               "the GGUF file lacks the tensor token_embd.weight");
    LB_TRY(lb_import_begin(im, g->n_tensors, err));
    for (size_t i = 0; i < g->n_tensors; i++) {
        LB_TRY(gguf_put(im, &g->tensors[i], err));
    }
    LB_TRY(gguf_apply_scales(im, err));
    LB_TRY(params_check(p, im));
    return lb_import_finish(im, im->slots[lb_import_slot("out_head", 0)].place.data == NULL, err);
}

/* ---------------------------------------------------------------- the source */

static lbrt_status gguf_fill(lb_import *im, const lb_gguf *g, const char *path, const char *tokenizer_path,
                             lbrt_error *err)
{
    lb_hparams *h = &im->source.hparams;
    gguf_params p = { g, { NULL, 0 }, err };
    LB_FAIL_IF(!lb_gguf_text(lb_gguf_find(g, "general.architecture"), &p.arch), err, LBRT_ERR_FORMAT,
               "the GGUF file does not say its architecture");
    const gguf_arch *arch = NULL;
    for (size_t i = 0; i < sizeof gguf_archs / sizeof gguf_archs[0]; i++) {
        if (strlen(gguf_archs[i].name) == p.arch.bytes &&
            memcmp(gguf_archs[i].name, p.arch.text, p.arch.bytes) == 0) {
            arch = &gguf_archs[i];
        }
    }
    /* A vocabulary alone is as good from any architecture. */
    LB_FAIL_IF(arch == NULL && g->n_tensors > 0, err, LBRT_ERR_UNSUPPORTED,
               "architecture %.*s is not supported", (int)lb_min(p.arch.bytes, 64), p.arch.text);
    lb_format(h->architecture, sizeof h->architecture, "%.*s",
              (int)lb_min(p.arch.bytes, sizeof h->architecture - 1), p.arch.text);
    lb_gguf_string name;
    lb_import_name(h, path, ".gguf");
    if (lb_gguf_text(lb_gguf_find(g, "general.name"), &name) && name.bytes > 0) {
        lb_utf8_clean(h->name, lb_format(h->name, sizeof h->name, "%.*s", (int)lb_min(name.bytes, sizeof h->name - 1), name.text));
    }
    if (arch != NULL) {
        LB_TRY(params_read(&p, h));
        h->activation = arch->activation;
        h->rope_interleaved = arch->interleaved;
        im->rules[LB_FEATURE_QKV_BIAS] = arch->qkv_bias;
        im->rules[LB_FEATURE_QK_NORM] = arch->qk_norm;
        im->rules[LB_FEATURE_SUB_NORM] = arch->sub_norm;
    }
    if (g->n_tensors > 0) {
        LB_TRY(gguf_tensors(im, &p));
    }
    if (tokenizer_path != NULL) {
        return lb_import_other_tokens(im, tokenizer_path, err);
    }
    LB_TRY(lb_import_gguf_vocabulary(g, &im->a, &im->source.tokens, err));
    if (g->n_tensors == 0) {
        LB_FAIL_IF(im->source.tokens == NULL, err, LBRT_ERR_FORMAT,
                   "the GGUF file has neither tensors nor a vocabulary");
        h->n_vocab = im->source.tokens->n_tokens;
        im->source.read_rows = lb_import_read_rows;
    }
    return LBRT_OK;
}

lbrt_status lb_source_open_gguf(const char *path, const char *tokenizer_path, const lbrt_allocator *a,
                                lb_source **out, lbrt_error *err)
{
    *out = NULL;
    lb_import *im;
    LB_TRY(lb_import_new(a, 1, &im, err));
    lbrt_status status = lb_map_open(path, &im->maps[0], err);
    if (status == LBRT_OK) {
        lb_gguf g;
        status = lb_gguf_read(im->maps[0].data, im->maps[0].bytes, &im->a, &g, err);
        if (status == LBRT_OK) {
            status = gguf_fill(im, &g, path, tokenizer_path, err);
            lb_gguf_free(&g);
        }
    }
    if (status != LBRT_OK) {
        lb_import_close(&im->source);
        return status;
    }
    *out = &im->source;
    return LBRT_OK;
}
