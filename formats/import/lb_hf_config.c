/* What transformers makes of a config.json, with its defaults for what the file leaves out. */
#include "lb_hf_config.h"

typedef enum hf_family { HF_LLAMA, HF_MISTRAL, HF_QWEN2, HF_QWEN3, HF_BITNET } hf_family;

typedef struct hf_arch {
    const char *name; /* in "architectures" */
    const char *ours;
    hf_family family;
    const char *activation; /* if the config has no hidden_act */
    double eps, theta;
} hf_arch;

static const hf_arch hf_archs[] = {
    { "LlamaForCausalLM", "llama", HF_LLAMA, "silu", 1e-6, 10000.0 },
    { "MistralForCausalLM", "mistral", HF_MISTRAL, "silu", 1e-6, 10000.0 },
    { "Qwen2ForCausalLM", "qwen2", HF_QWEN2, "silu", 1e-6, 10000.0 },
    { "Qwen3ForCausalLM", "qwen3", HF_QWEN3, "silu", 1e-6, 10000.0 },
    { "BitNetForCausalLM", "bitnet", HF_BITNET, "relu2", 1e-5, 500000.0 },
    { "BitnetForCausalLM", "bitnet", HF_BITNET, "silu", 1e-5, 10000.0 }, /* 1bitLLM's, of before */
};

/* A whole number; *out keeps its value if it is absent or null, and must not then be 0. */
static lbrt_status hf_u32(const lb_json *root, const char *key, uint32_t *out, lbrt_error *err)
{
    const lb_json *node = lb_json_get(root, key);
    uint64_t v = *out;
    LB_FAIL_IF(hf_is_null(node) && v == 0, err, LBRT_ERR_FORMAT, "config.json lacks %s", key);
    LB_FAIL_IF(!hf_is_null(node) && (!lb_json_uint(node, UINT32_MAX, &v) || v == 0), err, LBRT_ERR_FORMAT,
               "config.json: %s is no positive whole number", key);
    *out = (uint32_t)v;
    return LBRT_OK;
}

/* The same, or a list with one for each layer: the largest, and h->unequal if they differ. h->n_layers is known. */
static lbrt_status hf_most(const lb_json *root, const char *key, uint32_t *out, lb_hparams *h, lbrt_error *err)
{
    const lb_json *list = lb_json_get(root, key);
    if (list == NULL || list->type != LB_JSON_ARRAY) {
        return hf_u32(root, key, out, err);
    }
    uint64_t most = 0, least = UINT32_MAX, v = 0;
    uint32_t numbers = 0;
    for (const lb_json *n = list->child; n != NULL; n = n->next, numbers++) {
        LB_FAIL_IF(!lb_json_uint(n, UINT32_MAX, &v) || v == 0, err, LBRT_ERR_FORMAT, "config.json: %s has what is no positive whole number", key);
        most = v > most ? v : most;
        least = v < least ? v : least;
    }
    LB_FAIL_IF(most == 0, err, LBRT_ERR_FORMAT, "config.json: %s is an empty list", key);
    LB_FAIL_IF(numbers != h->n_layers, err, LBRT_ERR_FORMAT, "config.json: %s has %u numbers for %u layers", key, numbers, h->n_layers);
    h->unequal = h->unequal || least != most;
    *out = (uint32_t)most;
    return LBRT_OK;
}

static lbrt_status hf_f32(const lb_json *root, const char *key, double otherwise, float *out, lbrt_error *err)
{
    const lb_json *node = lb_json_get(root, key);
    LB_FAIL_IF(!hf_is_null(node) && node->type != LB_JSON_NUMBER, err, LBRT_ERR_FORMAT,
               "config.json: %s is no number", key);
    *out = lb_import_f32(lb_json_number(node, otherwise));
    return LBRT_OK;
}

/* ---------------------------------------------------------------- the parts of a config */

static lbrt_status hf_read_architecture(const lb_json *root, const hf_arch **out, lbrt_error *err)
{
    const lb_json *list = lb_json_get(root, "architectures");
    const bool silent = hf_is_null(list) || (list->type == LB_JSON_ARRAY && list->child == NULL); /* SpQR's converter empties the list: model_type says it too */
    const lb_json *name = silent ? lb_json_get(root, "model_type") : list->type == LB_JSON_ARRAY ? list->child : NULL;
    LB_FAIL_IF(name == NULL || name->type != LB_JSON_STRING, err, LBRT_ERR_FORMAT, "config.json does not say its architecture");
    for (size_t i = 0; i < sizeof hf_archs / sizeof hf_archs[0]; i++) {
        if (lb_json_is(name, silent ? hf_archs[i].ours : hf_archs[i].name)) {
            *out = &hf_archs[i];
            return LBRT_OK;
        }
    }
    return lb_fail(err, LBRT_ERR_UNSUPPORTED, "architecture %.*s is not supported", hf_shown(name), name->text);
}

static lbrt_status hf_read_activation(const lb_json *root, const hf_arch *arch, lb_hparams *h,
                                      lbrt_error *err)
{
    static const struct {
        const char *name;
        lb_activation activation;
    } known[] = { { "silu", LB_ACT_SILU },
                  { "swish", LB_ACT_SILU },
                  { "relu2", LB_ACT_RELU2 } };
    const lb_json *node = lb_json_get(root, "hidden_act");
    const char *otherwise = hf_is_null(node) ? arch->activation : NULL;
    LB_FAIL_IF(otherwise == NULL && node->type != LB_JSON_STRING, err, LBRT_ERR_FORMAT,
               "config.json: hidden_act is no string");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (otherwise != NULL ? strcmp(otherwise, known[i].name) == 0 : lb_json_is(node, known[i].name)) {
            h->activation = known[i].activation;
            return LBRT_OK;
        }
    }
    return lb_fail(err, LBRT_ERR_UNSUPPORTED, "activation %.*s is not supported", hf_shown(node), node->text);
}

/* Both spellings: rope_theta and rope_scaling {type or rope_type}, and since version 5 rope_parameters with
 * all of it. */
static lbrt_status hf_read_yarn(const lb_json *scaling, lb_hparams *h, lb_yarn *y, lbrt_error *err)
{
    float factor, fast, slow, attention, more, mscale, all;
    uint32_t original = h->n_context;
    LB_TRY(hf_f32(scaling, "factor", 1.0, &factor, err));
    LB_TRY(hf_u32(scaling, "original_max_position_embeddings", &original, err));
    *y = lb_yarn_default((double)factor, original);
    LB_TRY(hf_f32(scaling, "beta_fast", y->fast, &fast, err));
    LB_TRY(hf_f32(scaling, "beta_slow", y->slow, &slow, err));
    LB_TRY(hf_f32(scaling, "mscale", 0.0, &mscale, err));
    LB_TRY(hf_f32(scaling, "mscale_all_dim", 0.0, &all, err));
    y->fast = (double)fast;
    y->slow = (double)slow;
    if (mscale != 0.0f && all != 0.0f && factor > 1.0f) {
        y->attention = (0.1 * (double)mscale * log((double)factor) + 1.0) / (0.1 * (double)all * log((double)factor) + 1.0);
    }
    LB_TRY(hf_f32(scaling, "attention_factor", y->attention, &attention, err));
    LB_TRY(hf_f32(scaling, "attn_factor", 1.0, &more, err)); /* as vLLM takes it: times the default */
    y->attention = (double)attention * (hf_is_null(lb_json_get(scaling, "attention_factor")) ? (double)more : 1.0);
    LB_FAIL_IF(!lb_json_bool(lb_json_get(scaling, "truncate"), true), err, LBRT_ERR_UNSUPPORTED, "YaRN without rounding (truncate) is not supported");
    h->n_context = lb_yarn_context(y, h->n_context);
    return LBRT_OK;
}

static lbrt_status hf_read_rope(const lb_json *root, const hf_arch *arch, lb_hparams *h, lb_yarn *yarn, lbrt_error *err)
{
    const lb_json *scaling = lb_json_get(root, "rope_scaling"), *both = lb_json_get(root, "rope_parameters");
    const lb_json *theta_in = root;
    if (scaling && scaling->type == LB_JSON_OBJECT && scaling->child) { /* goes before the newer form, as people add it to a config that has that */
        theta_in = lb_json_get(scaling, "rope_theta") ? scaling : lb_json_get(root, "rope_theta") || hf_is_null(both) ? root : both;
        both = NULL;
    }
    if (!hf_is_null(both)) {
        LB_FAIL_IF(both->type != LB_JSON_OBJECT, err, LBRT_ERR_FORMAT,
                   "config.json: rope_parameters is no object");
        for (const lb_json *of = both->child; of; of = of->next) {
            LB_FAIL_IF(of->type == LB_JSON_OBJECT, err, LBRT_ERR_UNSUPPORTED, "config.json: rope_parameters of kinds of layers are not supported");
        }
        theta_in = lb_json_get(both, "rope_theta") != NULL ? both : root;
        scaling = both;
    }
    LB_TRY(hf_f32(theta_in, "rope_theta", arch->theta, &h->rope_theta, err));
    h->rope_dim = h->head_dim;
    float partial;
    LB_TRY(hf_f32(lb_json_get(both, "partial_rotary_factor") != NULL ? both : root, "partial_rotary_factor",
                  1.0, &partial, err));
    LB_FAIL_IF(partial != 1.0f, err, LBRT_ERR_UNSUPPORTED,
               "rotary embedding of a part of the head is not supported");
    if (hf_is_null(scaling)) {
        return LBRT_OK;
    }
    LB_FAIL_IF(scaling->type != LB_JSON_OBJECT, err, LBRT_ERR_FORMAT,
               "config.json: rope_scaling is no object");
    const lb_json *type = lb_json_get(scaling, "rope_type");
    if (hf_is_null(type)) {
        type = lb_json_get(scaling, "type");
    }
    if (hf_is_null(type) && scaling == both) {
        return LBRT_OK; /* only rope_theta */
    }
    LB_FAIL_IF(hf_is_null(type) || type->type != LB_JSON_STRING, err, LBRT_ERR_FORMAT,
               "config.json: rope_scaling does not say its type");
    if (lb_json_is(type, "default")) {
        return LBRT_OK;
    }
    LB_FAIL_IF(!lb_json_is(type, "linear") && !lb_json_is(type, "llama3") && !lb_json_is(type, "yarn"), err, LBRT_ERR_UNSUPPORTED,
               "rotary scaling of type %.*s is not supported", hf_shown(type), type->text);
    LB_FAIL_IF(hf_is_null(lb_json_get(scaling, "factor")), err, LBRT_ERR_FORMAT,
               "config.json: rope_scaling has no factor");
    if (lb_json_is(type, "yarn")) {
        return hf_read_yarn(scaling, h, yarn, err);
    }
    LB_TRY(hf_f32(scaling, "factor", 1.0, &h->rope_factor, err));
    h->rope_scaling = LB_ROPE_LINEAR;
    if (lb_json_is(type, "llama3")) {
        h->rope_scaling = LB_ROPE_LLAMA3;
        LB_TRY(hf_f32(scaling, "low_freq_factor", 0.0, &h->rope_low_freq, err));
        LB_TRY(hf_f32(scaling, "high_freq_factor", 0.0, &h->rope_high_freq, err));
        LB_TRY(hf_u32(scaling, "original_max_position_embeddings", &h->rope_original_context, err));
    }
    return LBRT_OK;
}

/*
 * Sliding windows, exactly where the model would use one: layer_types if it is there; Mistral whenever there
 * is a window (4096 if the key is absent); Qwen only with use_sliding_window and from layer max_window_layers
 * on. A window that holds the whole context changes nothing.
 */
static lbrt_status hf_read_window(const lb_json *root, const hf_arch *arch, lb_hparams *h, lbrt_error *err)
{
    const lb_json *node = lb_json_get(root, "sliding_window"), *types = lb_json_get(root, "layer_types");
    bool active = false;
    uint32_t window = 4096, from = 0, layer = 0;
    if (!hf_is_null(node)) {
        LB_TRY(hf_u32(root, "sliding_window", &window, err));
    }
    if (types != NULL && types->type == LB_JSON_ARRAY) {
        for (const lb_json *t = types->child; t != NULL; t = t->next) {
            LB_FAIL_IF(!lb_json_is(t, "full_attention") && !lb_json_is(t, "sliding_attention"), err,
                       LBRT_ERR_UNSUPPORTED, "layers of type %.*s are not supported",
                       t->type == LB_JSON_STRING ? hf_shown(t) : 0, t->type == LB_JSON_STRING ? t->text : "");
            const bool sliding = lb_json_is(t, "sliding_attention");
            LB_FAIL_IF(active && !sliding, err, LBRT_ERR_UNSUPPORTED,
                       "full attention in a layer behind one with sliding window attention is not supported");
            from = sliding && !active ? layer : from;
            active = active || sliding;
            layer++;
        }
        LB_FAIL_IF(layer != h->n_layers, err, LBRT_ERR_FORMAT, "config.json: layer_types has %u entries for %u layers", layer, h->n_layers);
    } else if (arch->family == HF_MISTRAL) {
        active = node == NULL || node->type != LB_JSON_NULL;
    } else if (arch->family == HF_QWEN2 || arch->family == HF_QWEN3) {
        from = 28; /* the default of max_window_layers */
        uint64_t v;
        if (lb_json_uint(lb_json_get(root, "max_window_layers"), UINT32_MAX, &v)) {
            from = (uint32_t)v;
        }
        active = lb_json_bool(lb_json_get(root, "use_sliding_window"), false) && from < h->n_layers &&
                 (node == NULL || node->type != LB_JSON_NULL);
    }
    LB_FAIL_IF(active && window == 0, err, LBRT_ERR_FORMAT, "sliding_window is 0");
    if (active && window < h->n_context) {
        h->window = window;
        h->window_from = from;
    }
    return LBRT_OK;
}

static void hf_read_rules(const lb_json *root, const hf_arch *arch, lb_rule *rules)
{
    lb_rule attention = lb_json_bool(lb_json_get(root, "attention_bias"), false) ? LB_RULE_REQUIRED
                                                                                 : LB_RULE_ABSENT;
    lb_rule mlp = lb_json_bool(lb_json_get(root, "mlp_bias"), false) ? LB_RULE_REQUIRED : LB_RULE_ABSENT;
    bool has_flag = arch->family == HF_LLAMA || arch->family == HF_QWEN3 || arch->family == HF_BITNET;
    rules[LB_FEATURE_QKV_BIAS] = has_flag                   ? attention
                                 : arch->family == HF_QWEN2 ? LB_RULE_REQUIRED
                                                            : LB_RULE_ABSENT;
    rules[LB_FEATURE_O_BIAS] = has_flag ? attention : LB_RULE_ABSENT;
    rules[LB_FEATURE_FFN_BIAS] = arch->family == HF_LLAMA ? mlp : LB_RULE_ABSENT;
    rules[LB_FEATURE_QK_NORM] = arch->family == HF_QWEN3 ? LB_RULE_REQUIRED : LB_RULE_ABSENT;
    rules[LB_FEATURE_SUB_NORM] = arch->family == HF_BITNET ? LB_RULE_REQUIRED : LB_RULE_ABSENT;
}

lbrt_status lb_hf_config_check(const lb_json *root, const lb_import *im, lbrt_error *err)
{
    static const char *const lists[][2] = { { "num_attention_heads", "attn_q" },
                                            { "num_key_value_heads", "attn_k" },
                                            { "num_key_value_heads_per_layer", "attn_k" },
                                            { "num_value_heads", "attn_v" },
                                            { "intermediate_size", "ffn_gate" } };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        const lb_json *list = lb_json_get(root, lists[i][0]);
        uint32_t layer = 0;
        for (const lb_json *n = list && list->type == LB_JSON_ARRAY ? list->child : NULL; n != NULL; n = n->next) {
            uint64_t v = 0;
            (void)lb_json_uint(n, UINT32_MAX, &v);
            LB_TRY(lb_import_check_layer(im, lists[i][0], lists[i][1], layer++, v, err));
        }
    }
    return LBRT_OK;
}

lbrt_status lb_hf_config_read(const lb_json *root, const lb_json *older, lb_hf_config *out, lbrt_error *err)
{
    memset(out, 0, sizeof *out);
    lb_hparams *h = &out->hparams;
    const hf_arch *arch = NULL;
    LB_FAIL_IF(root == NULL || root->type != LB_JSON_OBJECT, err, LBRT_ERR_FORMAT,
               "config.json is no object");
    LB_TRY(hf_read_architecture(root, &arch, err));
    lb_format(h->architecture, sizeof h->architecture, "%s", arch->ours);
    LB_TRY(hf_u32(root, "vocab_size", &h->n_vocab, err));
    LB_TRY(hf_u32(root, "hidden_size", &h->dim, err));
    LB_TRY(hf_u32(root, "num_hidden_layers", &h->n_layers, err));
    LB_TRY(hf_most(root, "intermediate_size", &h->ffn_dim, h, err));
    LB_TRY(hf_most(root, "num_attention_heads", &h->n_heads, h, err));
    h->n_kv_heads = h->n_heads;
    LB_TRY(hf_most(root, "num_key_value_heads", &h->n_kv_heads, h, err));
    LB_TRY(hf_most(root, "num_key_value_heads_per_layer", &h->n_kv_heads, h, err));
    uint32_t n_v = h->n_kv_heads;
    LB_TRY(hf_most(root, "num_value_heads", &n_v, h, err));
    h->n_v_heads = n_v != h->n_kv_heads ? n_v : 0;
    h->head_dim = arch->family == HF_QWEN3 ? 128 : h->dim / h->n_heads;
    LB_TRY(hf_u32(root, "head_dim", &h->head_dim, err));
    uint32_t v_dim = h->head_dim;
    LB_TRY(hf_u32(root, "v_head_dim", &v_dim, err));
    h->v_head_dim = v_dim != h->head_dim ? v_dim : 0;
    LB_TRY(hf_u32(root, "max_position_embeddings", &h->n_context, err));
    LB_TRY(hf_f32(root, "rms_norm_eps", arch->eps, &h->norm_eps, err));
    LB_TRY(hf_read_activation(root, arch, h, err));
    LB_TRY(hf_read_rope(root, arch, h, &out->yarn, err));
    LB_TRY(hf_read_window(root, arch, h, err));
    LB_TRY(lb_hf_quantization_read(root, older, arch->family == HF_BITNET, out, err));
    hf_read_rules(root, arch, out->rules);
    const lb_json *tie = lb_json_get(root, "tie_word_embeddings");
    out->tied = lb_json_bool(tie, false);
    out->tied_is_said = tie != NULL && tie->type == LB_JSON_BOOL;
    return LBRT_OK;
}
