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

static bool hf_is_null(const lb_json *node)
{
    return node == NULL || node->type == LB_JSON_NULL;
}

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

static int hf_shown(const lb_json *node)
{
    return (int)lb_min(node->bytes, 60);
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

static lbrt_status hf_check_format(const lb_json *format, lbrt_error *err)
{
    static const char *const formats[] = { "dense", "sparse-24-bitmask", "sparse-bitmask", "int-quantized", "float-quantized", "naive-quantized",
                                           "pack-quantized", "nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized",
                                           "mixed-precision" };
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (hf_is_null(format) || lb_json_is(format, formats[i])) {
            return LBRT_OK;
        }
    }
    return lb_fail(err, LBRT_ERR_UNSUPPORTED, "compressed-tensors of format %.*s are not supported",
                   format->type == LB_JSON_STRING ? hf_shown(format) : 0, format->type == LB_JSON_STRING ? format->text : "");
}

/* What one of compressed-tensors' groups of layers says of its weights; the first that says a width of groups speaks for most. */
static lbrt_status hf_read_weights(const lb_json *weights, lb_hf_codes *codes, lbrt_error *err)
{
    uint64_t v = 8; /* if it says nothing */
    const lb_json *side = lb_json_get(weights, "block_structure"), *bits = lb_json_get(weights, "num_bits");
    if (!hf_is_null(weights) && !lb_json_is(lb_json_get(weights, "type"), "float") && (hf_is_null(bits) || lb_json_uint(bits, 8, &v))) {
        codes->widths |= 1u << v;
    }
    if (codes->group == 0 && lb_json_uint(lb_json_get(weights, "group_size"), 1u << 28, &v)) {
        codes->group = (uint32_t)v;
    }
    if (side && side->type == LB_JSON_ARRAY && side->child) {
        uint64_t a = 0, b = 0;
        LB_FAIL_IF(!lb_json_uint(side->child, 1u << 16, &a) || !lb_json_uint(side->child->next, 1u << 16, &b) || a == 0 || b == 0, err, LBRT_ERR_FORMAT,
                   "config.json: block_structure is no rectangle");
        codes->block = (uint32_t)a;
        codes->block_cols = (uint32_t)b;
    }
    return LBRT_OK;
}

/* Rotations that are in the weights already are nothing to do; those of activations are. */
static lbrt_status hf_check_transforms(const lb_json *groups, lbrt_error *err)
{
    for (const lb_json *g = groups && groups->type == LB_JSON_OBJECT ? groups->child : NULL; g; g = g->next) {
        const lb_json *list = lb_json_get(g, "apply");
        for (const lb_json *one = list && list->type == LB_JSON_ARRAY ? list->child : NULL; one; one = one->next) {
            const lb_json *where = lb_json_get(one, "location");
            LB_FAIL_IF(!lb_json_is(where, "weight_input") && !lb_json_is(where, "weight_output"), err, LBRT_ERR_UNSUPPORTED,
                       "compressed-tensors with transforms of activations (transform_config) are not supported");
        }
    }
    return LBRT_OK;
}

/* Checkpoints whose matrices come in parts (lb_hf_parts.h): what they are the parts say, here are only those that are no good. */
static lbrt_status hf_read_parts(const lb_json *config, bool spqr, lb_hf_codes *codes, lbrt_error *err)
{
    if (spqr) {
        static const char *const keys[] = { "bits", "beta1", "beta2" };
        for (size_t i = 0; i < 3; i++) {
            uint64_t v = 0;
            LB_FAIL_IF(!lb_json_uint(lb_json_get(config, keys[i]), 64, &v) || v != (i == 0 ? 3u : 16u), err, LBRT_ERR_UNSUPPORTED,
                       "SpQR with %s other than %u is not supported", keys[i], i == 0 ? 3u : 16u);
        }
        return LBRT_OK;
    }
    LB_TRY(hf_check_format(lb_json_get(config, "format"), err));
    const lb_json *state = lb_json_get(config, "quantization_status");
    codes->uncompressed = !hf_is_null(state) && !lb_json_is(state, "compressed");
    const lb_json *groups = lb_json_get(config, "config_groups");
    for (const lb_json *g = groups && groups->type == LB_JSON_OBJECT ? groups->child : NULL; g; g = g->next) {
        LB_TRY(hf_check_format(lb_json_get(g, "format"), err));
        LB_TRY(hf_read_weights(lb_json_get(g, "weights"), codes, err));
    }
    LB_TRY(hf_check_transforms(lb_json_get(lb_json_get(config, "transform_config"), "config_groups"), err));
    return hf_check_format(lb_json_get(lb_json_get(config, "sparsity_config"), "format"), err);
}

/*
 * In GPTQ's first format all agree on zeros of 1 and more. One of 0 is there as all ones: AutoGPTQ and others mean that code alone, GPTQModel (from whose files transformers takes
 * them) and AutoRound subtract from words, so that the code above is one less too.
 */
static bool hf_borrows(const lb_json *config, bool *odd_threes)
{
    *odd_threes = false;
    const lb_json *by = lb_json_get(lb_json_get(config, "meta"), "quantizer");
    const bool list = by && by->type == LB_JSON_ARRAY;
    for (by = list ? by->child : by; by; by = list ? by->next : NULL) {
        if (by->type == LB_JSON_STRING && strncmp(by->text, "gptqmodel", 9) == 0) {
            const char *v = by->text + 9; /* before 6.1 */
            *odd_threes = v[0] == ':' && v[1] >= '0' && v[1] <= '6' && v[2] == '.' && (v[1] < '6' || v[3] == '0');
            return true;
        }
    }
    return lb_json_is(lb_json_get(config, "provider"), "auto-round");
}

/* GPTQ and AWQ: widths, and which of their layouts */
static lbrt_status hf_read_codes(const lb_json *config, bool awq, lb_hf_codes *out, lbrt_error *err)
{
    const lb_json *bits = lb_json_get(config, awq && hf_is_null(lb_json_get(config, "bits")) ? "w_bit" : "bits"), *form = lb_json_get(config, "checkpoint_format"),
                  *version = lb_json_get(config, "version");
    uint64_t v = 0;
    form = hf_is_null(form) ? lb_json_get(config, "format") : form;
    const bool planes = !awq && lb_json_is(form, "gptq_p");
    LB_FAIL_IF(!lb_json_uint(bits, 8, &v) || !(v == 4 || (!awq && (v == 2 || v == 3 || v == 8)) || (planes && v > 4)), err, LBRT_ERR_UNSUPPORTED,
               "%s with so many bits is not supported", awq ? "AWQ" : "GPTQ");
    version = hf_is_null(version) ? form : version;
    const bool second = lb_json_is(form, "gptq_v2"), marlin = lb_json_bool(lb_json_get(config, "is_marlin_format"), false);
    LB_FAIL_IF(!awq && (marlin || (!hf_is_null(form) && !second && !planes && !lb_json_is(form, "gptq"))), err, LBRT_ERR_UNSUPPORTED,
               "GPTQ in another layout (%s) is not supported", marlin ? "is_marlin_format" : "checkpoint_format");
    static const struct {
        const char *name;
        lb_codes_kind kind;
    } versions[] = { { "gemm", LB_CODES_AWQ },  { "GEMM", LB_CODES_AWQ },  { "exllama", LB_CODES_AWQ },   { "ipex", LB_CODES_AWQ }, /* other code for the same tensors */
                     { "gemv", LB_CODES_GEMV }, { "GEMV", LB_CODES_GEMV }, { "gemv_fast", LB_CODES_FAST } };
    lb_codes_kind kind = awq && hf_is_null(version) ? LB_CODES_AWQ : LB_CODES_GPTQ;
    for (size_t i = 0; awq && i < sizeof versions / sizeof versions[0]; i++) {
        kind = lb_json_is(version, versions[i].name) ? versions[i].kind : kind;
    }
    LB_FAIL_IF(awq && kind == LB_CODES_GPTQ, err, LBRT_ERR_UNSUPPORTED, "AWQ of another version than gemm, gemv and gemv_fast is not supported");
    *out = (lb_hf_codes){ .kind = kind, .bits = (unsigned)v, .zeros_as_are = second || planes, .planes = planes };
    out->borrows = hf_borrows(config, &out->odd_threes);
    out->symmetric = lb_json_bool(lb_json_get(config, "sym"), false);
    const lb_json *group = lb_json_get(config, awq && hf_is_null(lb_json_get(config, "group_size")) ? "q_group_size" : "group_size");
    if (lb_json_uint(group, 1u << 28, &v)) { /* -1: a group of all columns */
        out->group = (uint32_t)v;
    }
    return LBRT_OK;
}

/* Rows and columns of the rectangles that have a scale of their own */
static lbrt_status hf_read_block(const lb_json *sides, const char *key, lb_hf_codes *out, lbrt_error *err)
{
    uint64_t a = 0, b = 0;
    LB_FAIL_IF(sides->type != LB_JSON_ARRAY || !sides->child || !lb_json_uint(sides->child, 1u << 16, &a) || !lb_json_uint(sides->child->next, 1u << 16, &b) || a == 0 ||
                   b == 0,
               err, LBRT_ERR_FORMAT, "config.json: %s is no rectangle", key);
    out->block = (uint32_t)a;
    out->block_cols = (uint32_t)b;
    return LBRT_OK;
}

static bool hf_starts(const lb_json *node, const char *text)
{
    return node && node->type == LB_JSON_STRING && strncmp(node->text, text, strlen(text)) == 0;
}

/* Two of AutoRound's numbers have tensors that look like those of others: integers with exponents, and fp4 with scales of E5M3. */
static lbrt_status hf_check_auto_round(const lb_json *config, bool floats, lbrt_error *err)
{
    const lb_json *layers = lb_json_get(config, "extra_config");
    for (const lb_json *l = layers && layers->type == LB_JSON_OBJECT ? layers->child : NULL; l; l = l->next) {
        const lb_json *type = lb_json_get(l, "data_type");
        uint64_t bits = 0;
        const bool whole = lb_json_uint(lb_json_get(l, "bits"), 64, &bits) && bits >= 16;
        LB_FAIL_IF(!whole && (hf_starts(type, "mx_int") || hf_starts(type, "nvfp4") || (floats && hf_starts(type, "int"))), err, LBRT_ERR_UNSUPPORTED,
                   "AutoRound's layers of other numbers (data_type) than %s are not supported", floats ? "floats" : "int");
    }
    return LBRT_OK;
}

/*
 * AutoRound writes GPTQ's layout or AWQ's; GPTQ's by its own packer, or by that of GPTQModel, with zeros as they are. fp8, MXFP8, MXFP4 and NVFP4 are in tensors like those of
 * compressed-tensors, which say what they are.
 */
static lbrt_status hf_read_auto_round(const lb_json *config, lb_hf_codes *out, lbrt_error *err)
{
    const lb_json *packing = lb_json_get(config, "packing_format"), *layout = hf_is_null(packing) ? lb_json_get(config, "backend") : packing;
    const lb_json *type = lb_json_get(config, "data_type");
    const char *name = layout != NULL && layout->type == LB_JSON_STRING ? layout->text : "";
    const bool floats = lb_json_is(type, "fp") || lb_json_is(type, "fp8") || hf_starts(type, "mx_fp") || hf_starts(type, "nv_fp");
    LB_TRY(hf_check_auto_round(config, floats, err));
    if (floats) {
        const lb_json *side = lb_json_get(config, "group_size");
        return side && side->type == LB_JSON_ARRAY ? hf_read_block(side, "group_size", out, err) : LBRT_OK;
    }
    const bool awq = strstr(name, "awq") != NULL, gptq = strstr(name, "gptq") != NULL && !strstr(name, "gptqmodel");
    LB_FAIL_IF(!awq && !strstr(name, "gptq") && strcmp(name, "auto_round:exllamav2") != 0 && strcmp(name, "auto_round:triton") != 0 && strcmp(name, "auto_round") != 0, err,
               LBRT_ERR_UNSUPPORTED,
               "AutoRound in another layout (packing_format) than GPTQ's and AWQ's is not supported");
    LB_FAIL_IF(!hf_is_null(type) && !lb_json_is(type, "int"), err, LBRT_ERR_UNSUPPORTED, "AutoRound of other numbers (data_type) than int, fp8, MXFP and NVFP4 is not supported");
    LB_TRY(hf_read_codes(config, awq, out, err));
    out->zeros_as_are = !awq && !gptq;
    out->borrows = !hf_is_null(packing); /* before, AutoGPTQ packed for it */
    return LBRT_OK;
}

/* Weights that were rotated, of layers whose inputs are rotated as the model runs (GPTQModel's rotation, AutoRound's rotation_config), have no tensor that tells. */
static lbrt_status hf_check_rotation(const lb_json *config, lbrt_error *err)
{
    static const char *const keys[] = { "rotation", "rotation_config" };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const lb_json *node = lb_json_get(config, keys[i]);
        LB_FAIL_IF(!hf_is_null(node) && (node->type != LB_JSON_OBJECT || node->child), err, LBRT_ERR_UNSUPPORTED,
                   "layers with rotated inputs (%s) are not supported", keys[i]);
    }
    return LBRT_OK;
}

/* ModelOpt: which of its algorithms, for all layers or for each of them */
static lbrt_status hf_check_modelopt(const lb_json *config, bool of_layer, lbrt_error *err)
{
    static const char *const known[] = { "FP8", "FP8_PER_CHANNEL_PER_TOKEN", "FP8_PB_WO", "fp8_pb_wo", "NVFP4", "W4A16_NVFP4", "MXFP8" };
    const lb_json *algorithm = lb_json_get(config, "quant_algo"), *layers = lb_json_get(config, "quantized_layers");
    if (!of_layer && lb_json_is(algorithm, "MIXED_PRECISION")) {
        for (const lb_json *layer = layers && layers->type == LB_JSON_OBJECT ? layers->child : NULL; layer; layer = layer->next) {
            LB_TRY(hf_check_modelopt(layer, true, err));
        }
        return LBRT_OK;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (lb_json_is(algorithm, known[i])) {
            return LBRT_OK;
        }
    }
    return lb_fail(err, LBRT_ERR_UNSUPPORTED, "ModelOpt's checkpoints with a quant_algo of %.*s are not supported",
                   algorithm && algorithm->type == LB_JSON_STRING ? hf_shown(algorithm) : 0, algorithm && algorithm->type == LB_JSON_STRING ? algorithm->text : "");
}

static lbrt_status hf_read_quantization(const lb_json *root, const lb_json *older, const hf_arch *arch, lb_hf_linear *out, const lb_json **unrounded,
                                        lb_hf_codes *codes, lbrt_error *err)
{
    const lb_json *config = lb_json_get(root, "quantization_config"), *first = lb_json_get(root, "compression_config");
    *out = arch->family == HF_BITNET ? LB_HF_LINEAR_MASTER : LB_HF_LINEAR_FLOAT;
    if (hf_is_null(config) && (lb_json_get(older, "quant_method") || lb_json_get(older, "bits") || lb_json_get(older, "w_bit"))) {
        config = older;
    }
    if (hf_is_null(config)) { /* first is what compressed-tensors called it in its first year */
        return hf_is_null(first) ? LBRT_OK : hf_read_parts(first, false, codes, err);
    }
    LB_TRY(hf_check_rotation(config, err));
    const lb_json *method = lb_json_get(config, "quant_method");
    const bool four = lb_json_bool(lb_json_get(config, "load_in_4bit"), false);
    if (hf_is_null(method) && (four || lb_json_bool(lb_json_get(config, "load_in_8bit"), false))) { /* bitsandbytes' first checkpoints do not name it */
        codes->nibbles = four;
        return LBRT_OK;
    }
    if (hf_is_null(method) && lb_json_is(lb_json_get(lb_json_get(config, "producer"), "name"), "modelopt")) { /* hf_quant_config.json put here as it is */
        const lb_json *inner = lb_json_get(config, "quantization");
        return hf_check_modelopt(hf_is_null(inner) ? config : inner, false, err);
    }
    if (hf_is_null(method) && (lb_json_get(config, "bits") || lb_json_get(config, "w_bit"))) { /* older: of the two only AWQ has versions of its layout */
        return hf_read_codes(config, !hf_is_null(lb_json_get(config, "version")), codes, err);
    }
    LB_FAIL_IF(method == NULL || method->type != LB_JSON_STRING, err, LBRT_ERR_UNSUPPORTED,
               "config.json: a quantization_config without quant_method is not supported");
    if (lb_json_is(method, "compressed-tensors") || lb_json_is(method, "spqr")) {
        return hf_read_parts(config, lb_json_is(method, "spqr"), codes, err);
    }
    if (lb_json_is(method, "gptq") || lb_json_is(method, "awq")) {
        return hf_read_codes(config, lb_json_is(method, "awq"), codes, err);
    }
    if (lb_json_is(method, "auto-round") || lb_json_is(method, "intel/auto-round")) {
        return hf_read_auto_round(config, codes, err);
    }
    if (lb_json_is(method, "fp8")) {
        const lb_json *side = lb_json_get(config, "weight_block_size"), *form = lb_json_get(config, "fmt");
        LB_TRY(hf_is_null(side) ? LBRT_OK : hf_read_block(side, "weight_block_size", codes, err));
        LB_FAIL_IF(!hf_is_null(form) && !lb_json_is(form, "e4m3"), err, LBRT_ERR_UNSUPPORTED, "fp8 other than e4m3 is not supported");
        return LBRT_OK;
    }
    if (lb_json_is(method, "modelopt") || lb_json_is(method, "modelopt_fp4") || lb_json_is(method, "modelopt_mxfp8")) {
        return hf_check_modelopt(config, false, err);
    }
    codes->nibbles = lb_json_is(method, "bitsandbytes") && four;
    if (lb_json_is(method, "bitsandbytes") || lb_json_is(method, "aqlm") || lb_json_is(method, "hqq") || lb_json_is(method, "vptq")) {
        return LBRT_OK; /* their parts say what they are */
    }
    LB_FAIL_IF(!lb_json_is(method, "bitnet"), err, LBRT_ERR_UNSUPPORTED,
               "checkpoints quantized by %.*s are not supported; use the original", hf_shown(method),
               method->text);
    LB_FAIL_IF(lb_json_bool(lb_json_get(config, "use_rms_norm"), false), err, LBRT_ERR_UNSUPPORTED,
               "BitNet layers with a norm of their own (use_rms_norm) are not supported");
    *unrounded = lb_json_get(config, "modules_to_not_convert");
    const lb_json *class = lb_json_get(config, "linear_class"),
                  *mode = lb_json_get(config, "quantization_mode");
    bool autobit = lb_json_is(class, "autobitlinear");
    LB_FAIL_IF(!autobit && !hf_is_null(class) && !lb_json_is(class, "bitlinear"), err, LBRT_ERR_UNSUPPORTED,
               "config.json: this linear_class is not supported");
    if (autobit && lb_json_is(mode, "online")) {
        *out = LB_HF_LINEAR_MASTER;
    } else {
        *out = autobit ? LB_HF_LINEAR_TERNARY_MULTIPLY : LB_HF_LINEAR_TERNARY_DIVIDE;
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
    LB_TRY(hf_read_quantization(root, older, arch, &out->linear, &out->unrounded, &out->codes, err));
    hf_read_rules(root, arch, out->rules);
    const lb_json *tie = lb_json_get(root, "tie_word_embeddings");
    out->tied = lb_json_bool(tie, false);
    out->tied_is_said = tie != NULL && tie->type == LB_JSON_BOOL;
    return LBRT_OK;
}
