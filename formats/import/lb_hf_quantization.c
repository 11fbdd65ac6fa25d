/* What config.json says of a quantization, method by method; and what of it lbrt cannot read. */
#include "lb_hf_config.h"

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

static lbrt_status hf_read_bitnet(const lb_json *config, lb_hf_config *out, lbrt_error *err)
{
    LB_FAIL_IF(lb_json_bool(lb_json_get(config, "use_rms_norm"), false), err, LBRT_ERR_UNSUPPORTED,
               "BitNet layers with a norm of their own (use_rms_norm) are not supported");
    out->unrounded = lb_json_get(config, "modules_to_not_convert");
    const lb_json *class = lb_json_get(config, "linear_class"),
                  *mode = lb_json_get(config, "quantization_mode");
    bool autobit = lb_json_is(class, "autobitlinear");
    LB_FAIL_IF(!autobit && !hf_is_null(class) && !lb_json_is(class, "bitlinear"), err, LBRT_ERR_UNSUPPORTED,
               "config.json: this linear_class is not supported");
    if (autobit && lb_json_is(mode, "online")) {
        out->linear = LB_HF_LINEAR_MASTER;
    } else {
        out->linear = autobit ? LB_HF_LINEAR_TERNARY_MULTIPLY : LB_HF_LINEAR_TERNARY_DIVIDE;
    }
    return LBRT_OK;
}

/* VPTQ's scales of rows look like those of columns where a matrix is square. */
static lbrt_status hf_check_vptq(const lb_json *layers, lbrt_error *err)
{
    for (const lb_json *l = layers && layers->type == LB_JSON_OBJECT ? layers->child : NULL; l; l = l->next) {
        const lb_json *side = lb_json_get(l, "norm_dim");
        LB_FAIL_IF(!hf_is_null(side) && lb_json_number(side, 1.0) != 0.0, err, LBRT_ERR_UNSUPPORTED, "VPTQ with scales of rows (norm_dim) is not supported");
    }
    return LBRT_OK;
}

lbrt_status lb_hf_quantization_read(const lb_json *root, const lb_json *older, bool bitnet, lb_hf_config *out, lbrt_error *err)
{
    lb_hf_codes *codes = &out->codes;
    const lb_json *config = lb_json_get(root, "quantization_config"), *first = lb_json_get(root, "compression_config");
    out->linear = bitnet ? LB_HF_LINEAR_MASTER : LB_HF_LINEAR_FLOAT;
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
    if (hf_is_null(method) && (lb_json_get(config, "bits") || lb_json_get(config, "w_bit"))) { /* older: of the two only AWQ has versions of its layout, and w_bit */
        return hf_read_codes(config, !hf_is_null(lb_json_get(config, "version")) || hf_is_null(lb_json_get(config, "bits")), codes, err);
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
    if (lb_json_is(method, "vptq")) {
        LB_TRY(hf_check_vptq(lb_json_get(config, "config_for_layers"), err));
        return hf_check_vptq(lb_json_get(config, "shared_layer_config"), err);
    }
    codes->nibbles = lb_json_is(method, "bitsandbytes") && four;
    if (lb_json_is(method, "bitsandbytes") || lb_json_is(method, "aqlm") || lb_json_is(method, "hqq")) {
        return LBRT_OK; /* their parts say what they are */
    }
    LB_FAIL_IF(!lb_json_is(method, "bitnet"), err, LBRT_ERR_UNSUPPORTED,
               "checkpoints quantized by %.*s are not supported; use the original", hf_shown(method),
               method->text);
    return hf_read_bitnet(config, out, err);
}
