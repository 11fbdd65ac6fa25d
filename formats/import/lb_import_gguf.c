/* GGUF models: whose architectures lbrt knows, their hyperparameters and tensors, in one file or in parts. */
#include "../../runtime/base/lb_utf8.h"
#include "lb_gguf.h"
#include "lb_import_yarn.h"

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

/* Multipliers of logarithms that DeepSeek 2 has in its own way are not for these architectures. */
static lbrt_status params_yarn(const gguf_params *p, float factor, lb_hparams *h, lb_yarn *y)
{
    uint32_t original = h->n_context;
    LB_TRY(params_u32(p, "rope.scaling.original_context_length", &original));
    *y = lb_yarn_default((double)factor, original);
    float fast = (float)y->fast, slow = (float)y->slow, attention = 1.0f, mix = 1.0f;
    LB_TRY(params_f32(p, "rope.scaling.yarn_beta_fast", &fast));
    LB_TRY(params_f32(p, "rope.scaling.yarn_beta_slow", &slow));
    LB_TRY(params_f32(p, "rope.scaling.attn_factor", &attention));
    LB_TRY(params_f32(p, "rope.scaling.yarn_ext_factor", &mix));
    LB_FAIL_IF(mix != 1.0f && mix >= 0.0f, p->err, LBRT_ERR_UNSUPPORTED, "YaRN with an extrapolation factor other than 1 is not supported");
    y->fast = (double)fast;
    y->slow = (double)slow;
    y->attention *= (double)attention; /* yarn_attn_factor does not count: llama.cpp overwrites it with the factor's default */
    h->n_context = lb_yarn_context(y, h->n_context);
    return LBRT_OK;
}

static lbrt_status params_rope(const gguf_params *p, lb_hparams *h, lb_yarn *yarn)
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
    if (type.bytes == 4 && memcmp(type.text, "yarn", 4) == 0) {
        return params_yarn(p, factor, h, yarn);
    }
    LB_FAIL_IF(!none && (type.bytes != 6 || memcmp(type.text, "linear", 6) != 0), p->err,
               LBRT_ERR_UNSUPPORTED, "rotary scaling of type %.*s is not supported",
               (int)lb_min(type.bytes, 40), type.text);
    if (!none && factor != 0.0f && factor != 1.0f) {
        h->rope_scaling = LB_ROPE_LINEAR;
        h->rope_factor = factor;
    }
    return LBRT_OK;
}

static lbrt_status params_read(const gguf_params *p, lb_hparams *h, lb_yarn *yarn)
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
    LB_TRY(params_rope(p, h, yarn));
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
    return gguf_ends_with(name, ".input_scale") || gguf_ends_with(name, "attn_rot_embd.weight") || gguf_ends_with(name, "rotary_emb.inv_freq") ||
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

/* A model's files: the first has all metadata, tensors are in any. */
typedef struct gguf_files {
    lb_gguf *parts; /* of im->maps */
    size_t n;
    size_t n_tensors; /* in all of them */
} gguf_files;

static lbrt_status gguf_tensors(lb_import *im, const gguf_files *f, const gguf_params *p, const lb_yarn *yarn)
{
    lbrt_error *err = p->err;
    /* The embedding says how many tokens there are; vocab_size is not in every file. */
    im->source.hparams.n_vocab = 0;
    for (size_t k = 0; k < f->n; k++) {
        for (size_t i = 0; i < f->parts[k].n_tensors; i++) {
            const lb_gguf_tensor *t = &f->parts[k].tensors[i];
            if (t->name.bytes == 17 && memcmp(t->name.text, "token_embd.weight", 17) == 0 && t->rows <= UINT32_MAX) {
                im->source.hparams.n_vocab = (uint32_t)t->rows;
            }
        }
    }
    LB_FAIL_IF(im->source.hparams.n_vocab == 0, err, LBRT_ERR_FORMAT,
               "the GGUF file lacks the tensor token_embd.weight");
    LB_TRY(lb_import_begin(im, f->n_tensors, err));
    for (size_t k = 0; k < f->n; k++) {
        for (size_t i = 0; i < f->parts[k].n_tensors; i++) {
            LB_TRY(gguf_put(im, &f->parts[k].tensors[i], err));
        }
    }
    LB_TRY(gguf_apply_scales(im, err));
    LB_TRY(params_check(p, im));
    LB_TRY(yarn->factor != 0.0 ? lb_import_yarn(im, yarn, err) : LBRT_OK);
    return lb_import_finish(im, im->slots[lb_import_slot("out_head", 0)].place.data == NULL, err);
}

/* ---------------------------------------------------------------- the source */

static lbrt_status gguf_fill(lb_import *im, const gguf_files *f, const char *path, const char *tokenizer_path,
                             lbrt_error *err)
{
    const lb_gguf *g = &f->parts[0];
    lb_hparams *h = &im->source.hparams;
    gguf_params p = { g, { NULL, 0 }, err };
    lb_yarn yarn = { .factor = 0.0 };
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
    LB_FAIL_IF(arch == NULL && f->n_tensors > 0, err, LBRT_ERR_UNSUPPORTED,
               "architecture %.*s is not supported", (int)lb_min(p.arch.bytes, 64), p.arch.text);
    lb_format(h->architecture, sizeof h->architecture, "%.*s",
              (int)lb_min(p.arch.bytes, sizeof h->architecture - 1), p.arch.text);
    lb_gguf_string name;
    lb_import_name(h, path, ".gguf");
    if (lb_gguf_text(lb_gguf_find(g, "general.name"), &name) && name.bytes > 0) {
        lb_utf8_clean(h->name, lb_format(h->name, sizeof h->name, "%.*s", (int)lb_min(name.bytes, sizeof h->name - 1), name.text));
    }
    if (arch != NULL) {
        LB_TRY(params_read(&p, h, &yarn));
        h->activation = arch->activation;
        h->rope_interleaved = arch->interleaved;
        im->rules[LB_FEATURE_QKV_BIAS] = arch->qkv_bias;
        im->rules[LB_FEATURE_QK_NORM] = arch->qk_norm;
        im->rules[LB_FEATURE_SUB_NORM] = arch->sub_norm;
    }
    if (f->n_tensors > 0) {
        LB_TRY(gguf_tensors(im, f, &p, &yarn));
    }
    if (tokenizer_path != NULL) {
        return lb_import_other_tokens(im, tokenizer_path, err);
    }
    LB_TRY(lb_import_gguf_vocabulary(g, &im->a, &im->source.tokens, err));
    if (f->n_tensors == 0) {
        LB_FAIL_IF(im->source.tokens == NULL, err, LBRT_ERR_FORMAT,
                   "the GGUF file has neither tensors nor a vocabulary");
        h->n_vocab = im->source.tokens->n_tokens;
        im->source.read_rows = lb_import_read_rows;
    }
    return LBRT_OK;
}

/* ---- parts, as llama.cpp's gguf-split makes them: NAME-00001-of-00003.gguf has the metadata ---- */

enum { GGUF_MAX_PARTS = 1000, GGUF_MAX_PATH = 4096 };

static void gguf_five_digits(char *out, size_t v)
{
    for (size_t i = 5; i-- > 0; v /= 10) {
        out[i] = (char)('0' + v % 10);
    }
}

/* The path of part i (from 0) of n; false if that of the first does not say so. */
static bool gguf_part_path(const char *first, size_t i, size_t n, char out[GGUF_MAX_PATH])
{
    char end[] = "-00001-of-00000.gguf";
    const size_t bytes = strlen(first), tail = sizeof end - 1;
    gguf_five_digits(end + 10, n);
    if (bytes < tail || bytes >= GGUF_MAX_PATH || memcmp(first + bytes - tail, end, tail) != 0) {
        return false;
    }
    memcpy(out, first, bytes + 1);
    gguf_five_digits(out + bytes - tail + 1, i + 1);
    return true;
}

/* What a file says: part *at of *n; 0 of 1 if it says nothing. */
static lbrt_status gguf_which_part(const lb_gguf *g, size_t *at, size_t *n, lbrt_error *err)
{
    uint64_t no = 0, count = 1;
    const lb_gguf_kv *kv = lb_gguf_find(g, "split.count");
    LB_FAIL_IF(kv != NULL && (!lb_gguf_uint(kv, GGUF_MAX_PARTS, &count) || (count > 1 && !lb_gguf_uint(lb_gguf_find(g, "split.no"), count - 1, &no))),
               err, LBRT_ERR_FORMAT, "the GGUF file does not say which of how many parts it is");
    *at = (size_t)no;
    *n = count ? (size_t)count : 1; /* 0: was merged from parts */
    return LBRT_OK;
}

/* Takes over the first file's map and tables. */
static lbrt_status gguf_open_parts(lb_import *im, gguf_files *f, const char *path, lbrt_error *err)
{
    char name[GGUF_MAX_PATH];
    for (size_t i = 1; i < f->n; i++) {
        LB_FAIL_IF(!gguf_part_path(path, i, f->n, name), err, LBRT_ERR_UNSUPPORTED,
                   "%s is one of %zu parts: it must be named NAME-00001-of-%zu%zu%zu%zu%zu.gguf, as the others", path, f->n, f->n / 10000, f->n / 1000 % 10,
                   f->n / 100 % 10, f->n / 10 % 10, f->n % 10);
        LB_TRY(lb_map_open(name, &im->maps[i], err));
        LB_TRY(lb_gguf_read(im->maps[i].data, im->maps[i].bytes, &im->a, &f->parts[i], err));
        size_t at, n;
        LB_TRY(gguf_which_part(&f->parts[i], &at, &n, err));
        LB_FAIL_IF(at != i || n != f->n, err, LBRT_ERR_FORMAT, "%s is part %zu of %zu, not %zu of %zu", name, at + 1, n, i + 1, f->n);
        f->n_tensors += f->parts[i].n_tensors;
    }
    uint64_t all;
    LB_FAIL_IF(lb_gguf_uint(lb_gguf_find(&f->parts[0], "split.tensors.count"), UINT32_MAX, &all) && all != f->n_tensors, err, LBRT_ERR_FORMAT,
               "the GGUF parts have %zu tensors of %llu", f->n_tensors, (unsigned long long)all);
    return LBRT_OK;
}

lbrt_status lb_source_open_gguf(const char *path, const char *tokenizer_path, const lbrt_allocator *a,
                                lb_source **out, lbrt_error *err)
{
    *out = NULL;
    const lbrt_allocator host = lb_allocator_or_default(a);
    lb_map first;
    lb_gguf g;
    lb_import *im = NULL;
    gguf_files f = { NULL, 0, 0 };
    size_t at = 0, n = 1;
    LB_TRY(lb_map_open(path, &first, err));
    lbrt_status status = lb_gguf_read(first.data, first.bytes, &host, &g, err);
    if (status != LBRT_OK) {
        lb_map_close(&first);
        return status;
    }
    status = gguf_which_part(&g, &at, &n, err);
    if (status == LBRT_OK && at != 0) {
        status = lb_fail(err, LBRT_ERR_ARGUMENT, "%s is part %zu of %zu: give the first, the others are found beside it", path, at + 1, n);
    }
    status = status == LBRT_OK ? lb_import_new(&host, n, &im, err) : status;
    f.parts = status == LBRT_OK ? (lb_gguf *)lb_alloc_zero(&host, n, sizeof *f.parts) : NULL;
    if (f.parts == NULL) {
        status = status == LBRT_OK ? lb_fail(err, LBRT_ERR_MEMORY, "out of memory") : status;
        lb_gguf_free(&g);
        lb_map_close(&first);
    } else {
        im->maps[0] = first;
        f.parts[0] = g;
        f.n = n;
        f.n_tensors = g.n_tensors;
        status = gguf_open_parts(im, &f, path, err);
        status = status == LBRT_OK ? gguf_fill(im, &f, path, tokenizer_path, err) : status;
    }
    for (size_t i = 0; i < f.n; i++) {
        f.parts[i].a = host;
        lb_gguf_free(&f.parts[i]);
    }
    lb_free(&host, f.parts, n * sizeof *f.parts);
    if (status != LBRT_OK) {
        lb_import_close(im ? &im->source : NULL);
        return status;
    }
    *out = &im->source;
    return LBRT_OK;
}
