/* Hugging Face folders: config.json, one or more safetensors files, and the tokenizer's files. */
#include <dirent.h>

#include "lb_hf_config.h"
#include "lb_hf_parts.h"
#include "lb_import.h"
#include "lb_json.h"
#include "lb_safetensors.h"

#define HF_MAX_FILES 1024u
#define HF_MAX_PATH  4096u

typedef struct hf_folder {
    const char *path;
    lb_import *im;
    lb_hf_config config;
    lb_json_doc *json;  /* config.json */
    lb_json_doc *older; /* quantize_config.json or quant_config.json, else NULL: config points into both */
    lb_json_doc *index; /* of a sharded checkpoint, else NULL */
    lb_safetensors *files;
    size_t n_files; /* as many as maps */
    lb_hf_matrix *matrices; /* of slots; NULL: none is in parts */
    size_t n_matrices;
    lbrt_error *err;
} hf_folder;

static lbrt_status hf_map(const hf_folder *f, const char *name, lb_map *out)
{
    char path[HF_MAX_PATH];
    LB_FAIL_IF(!lb_path_join(path, sizeof path, f->path, name), f->err, LBRT_ERR_ARGUMENT,
               "the folder's path is too long");
    return lb_map_open(path, out, f->err);
}

static bool hf_has(const hf_folder *f, const char *name)
{
    char path[HF_MAX_PATH];
    return lb_path_join(path, sizeof path, f->path, name) && lb_path_exists(path);
}

/* ---------------------------------------------------------------- files */

static lbrt_status hf_read_config(hf_folder *f, const lbrt_allocator *a)
{
    const char *older = hf_has(f, "quantize_config.json") ? "quantize_config.json" : "quant_config.json"; /* of GPTQ and of AWQ, before config.json had it */
    lb_map map, more = { NULL, 0 };
    LB_TRY(hf_map(f, "config.json", &map));
    lbrt_status status = lb_json_parse((const char *)map.data, map.bytes, a, &f->json, f->err);
    const lb_json *own = status == LBRT_OK ? lb_json_get(lb_json_root(f->json), "quantization_config") : NULL;
    if (status == LBRT_OK && hf_is_null(own) && hf_has(f, older)) {
        status = hf_map(f, older, &more);
        status = status == LBRT_OK ? lb_json_parse((const char *)more.data, more.bytes, a, &f->older, f->err) : status;
    }
    if (status == LBRT_OK) {
        status = lb_hf_config_read(lb_json_root(f->json), lb_json_root(f->older), &f->config, f->err);
    }
    lb_map_close(&more);
    lb_map_close(&map);
    return status;
}

/* A shard's name comes from a file and must stay in the folder. */
static bool hf_is_plain_name(const lb_json *node)
{
    return node->type == LB_JSON_STRING && node->bytes > 0 && node->bytes < 256 && node->text[0] != '.' &&
           memchr(node->text, '/', node->bytes) == NULL && memchr(node->text, '\0', node->bytes) == NULL;
}

/* The different files that the index names, at most HF_MAX_FILES. */
static lbrt_status hf_list_shards(const hf_folder *f, const char **names, size_t *n)
{
    const lb_json *map = lb_json_get(lb_json_root(f->index), "weight_map");
    LB_FAIL_IF(map == NULL || map->type != LB_JSON_OBJECT || map->child == NULL, f->err, LBRT_ERR_FORMAT,
               "model.safetensors.index.json has no weight_map");
    *n = 0;
    for (const lb_json *node = map->child; node != NULL; node = node->next) {
        LB_FAIL_IF(!hf_is_plain_name(node), f->err, LBRT_ERR_FORMAT,
                   "model.safetensors.index.json names a file that is none in the folder");
        /* Neighbours are mostly in the same file, so look at the latest first. */
        size_t i = *n;
        while (i > 0 && strcmp(names[i - 1], node->text) != 0) {
            i--;
        }
        if (i == 0) {
            LB_FAIL_IF(*n == HF_MAX_FILES, f->err, LBRT_ERR_UNSUPPORTED, "the model has more than %u files",
                       HF_MAX_FILES);
            names[(*n)++] = node->text;
        }
    }
    return LBRT_OK;
}

static lbrt_status hf_read_index(hf_folder *f, const lbrt_allocator *a)
{
    lb_map map;
    LB_TRY(hf_map(f, "model.safetensors.index.json", &map));
    lbrt_status status = lb_json_parse((const char *)map.data, map.bytes, a, &f->index, f->err);
    lb_map_close(&map);
    return status;
}

/* The one file of weights that has a name of its own (gptq_model-4bit-128g.safetensors); false if there is none, or several. */
static bool hf_find_only(const hf_folder *f, char name[256])
{
    static const char end[] = ".safetensors";
    DIR *dir = opendir(f->path);
    size_t found = 0;
    for (const struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        const size_t n = strlen(e->d_name);
        if (e->d_name[0] != '.' && n > sizeof end && n < 256 && strcmp(e->d_name + n - (sizeof end - 1), end) == 0 && strcmp(e->d_name, "adapter_model.safetensors") != 0 &&
            strcmp(e->d_name, "consolidated.safetensors") != 0) {
            memcpy(name, e->d_name, n + 1);
            found++;
        }
    }
    if (dir) {
        closedir(dir);
    }
    return found == 1;
}

/* Makes f->im with a map for each file, and reads the files' tables. */
static lbrt_status hf_open_files(hf_folder *f, const lbrt_allocator *a)
{
    const char *names[HF_MAX_FILES] = { "model.safetensors" };
    char only[256];
    size_t n = 1;
    if (!hf_has(f, "model.safetensors")) {
        if (hf_has(f, "model.safetensors.index.json")) {
            LB_TRY(hf_read_index(f, a));
            LB_TRY(hf_list_shards(f, names, &n));
        } else if (hf_find_only(f, only)) {
            names[0] = only;
        } else {
            LB_FAIL_IF(hf_has(f, "pytorch_model.bin") || hf_has(f, "pytorch_model.bin.index.json"), f->err,
                       LBRT_ERR_UNSUPPORTED,
                       "%s has its weights in pytorch_model.bin; convert them to safetensors first", f->path);
            return lb_fail(f->err, LBRT_ERR_IO, "%s has no model.safetensors", f->path);
        }
    }
    LB_TRY(lb_import_new(a, n, &f->im, f->err));
    f->files = lb_alloc_zero(a, n, sizeof *f->files);
    LB_FAIL_IF(f->files == NULL, f->err, LBRT_ERR_MEMORY, "out of memory");
    f->n_files = n;
    for (size_t i = 0; i < n; i++) {
        LB_TRY(hf_map(f, names[i], &f->im->maps[i]));
        LB_TRY(lb_safetensors_read(f->im->maps[i].data, f->im->maps[i].bytes, a, &f->files[i], f->err));
    }
    return LBRT_OK;
}

/* ---------------------------------------------------------------- tensors */

static bool hf_ends_with(const lb_safetensor *t, const char *end)
{
    size_t n = strlen(end);
    return t->name_bytes >= n && memcmp(t->name + t->name_bytes - n, end, n) == 0;
}

static bool hf_is_scale(const lb_safetensor *t)
{
    return hf_ends_with(t, ".weight_scale");
}

/* The scale of a ternary matrix, kept in the matrix's slot until that comes. */
static lbrt_status hf_put_scale(hf_folder *f, const lb_safetensor *t)
{
    int shown = lb_safetensor_shown(t);
    size_t slot;
    /* ".weight_scale" without "_scale" is the matrix's name */
    LB_FAIL_IF(!lb_import_find(f->im, LB_DIALECT_HF, t->name, t->name_bytes - 6, &slot) ||
                   !lb_import_is_linear(slot) ||
                   (f->config.linear != LB_HF_LINEAR_TERNARY_MULTIPLY &&
                    f->config.linear != LB_HF_LINEAR_TERNARY_DIVIDE),
               f->err, LBRT_ERR_UNSUPPORTED, "tensor %.*s is not expected in this model", shown, t->name);
    LB_FAIL_IF(t->type == NULL || t->shape[0] * t->shape[1] * t->shape[2] * t->shape[3] != 1 ||
                   f->im->slots[slot].scale != 0.0f,
               f->err, LBRT_ERR_FORMAT, "tensor %.*s is no single number", shown, t->name);
    float scale;
    t->type->dequantize(t->data, &scale, 1);
    LB_FAIL_IF(!isfinite(scale) || scale <= 0.0f || !isfinite(1.0f / scale), f->err, LBRT_ERR_FORMAT,
               "tensor %.*s is no positive number", shown, t->name);
    f->im->slots[slot].scale = f->config.linear == LB_HF_LINEAR_TERNARY_DIVIDE ? 1.0f / scale : scale;
    return LBRT_OK;
}

/*
 * What BitNet's quantizer divides by: the mean of the absolute values, at least 1e-5. Summed in double, so
 * that the order does not matter to a float.
 */
static lbrt_status hf_mean_abs(const lb_safetensor *t, float *out, lbrt_error *err)
{
    enum { STEP = 512 };
    float w[STEP];
    uint64_t n = t->bytes / t->type->bytes;
    double sum = 0.0;
    for (uint64_t at = 0; at < n; at += STEP) {
        size_t count = (size_t)(n - at < STEP ? n - at : STEP);
        t->type->dequantize(t->data + at * t->type->bytes, w, count);
        for (size_t i = 0; i < count; i++) {
            sum += (double)fabsf(w[i]);
        }
    }
    double mean = sum / (double)n;
    LB_FAIL_IF(!isfinite(mean), err, LBRT_ERR_FORMAT, "tensor %.*s has numbers that are none",
               lb_safetensor_shown(t), t->name);
    *out = lb_import_f32(mean > 1e-5 ? mean : 1e-5);
    return LBRT_OK;
}

/* Of a model sliced by SliceGPT: its layers have widths of their own, and norms of ones. */
static bool hf_is_shortcut(const lb_safetensor *t)
{
    return hf_ends_with(t, ".attn_shortcut_Q") || hf_ends_with(t, ".mlp_shortcut_Q");
}

static bool hf_is_ternary(const hf_folder *f)
{
    return f->config.linear == LB_HF_LINEAR_TERNARY_MULTIPLY || f->config.linear == LB_HF_LINEAR_TERNARY_DIVIDE;
}

/* True if BitNet's modules_to_not_convert has a part of the name of the tensor's module. */
static bool hf_is_unrounded(const hf_folder *f, const lb_safetensor *t)
{
    const size_t n = t->name_bytes - (hf_ends_with(t, ".weight") ? 7 : 0);
    const lb_json *list = f->config.unrounded;
    for (const lb_json *part = list && list->type == LB_JSON_ARRAY ? list->child : NULL; part; part = part->next) {
        for (size_t at = 0; part->type == LB_JSON_STRING && part->bytes > 0 && at + part->bytes <= n; at++) {
            if (memcmp(t->name + at, part->text, part->bytes) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* A part of a matrix, kept until all parts are there */
static lbrt_status hf_keep_part(hf_folder *f, const lb_safetensor *t, size_t slot, lb_hf_part part)
{
    if (!f->matrices) {
        f->n_matrices = f->im->n_slots;
        f->matrices = (lb_hf_matrix *)lb_alloc_zero(&f->im->a, f->n_matrices, sizeof *f->matrices);
        LB_FAIL_IF(!f->matrices, f->err, LBRT_ERR_MEMORY, "out of memory");
    }
    LB_FAIL_IF(f->matrices[slot].part[part], f->err, LBRT_ERR_FORMAT, "the file has tensor %.*s twice", lb_safetensor_shown(t),
               t->name);
    f->matrices[slot].part[part] = t;
    return LBRT_OK;
}

/* Some that quantize write biases of zeros for layers that have none. */
static bool hf_is_nothing(const hf_folder *f, const lb_safetensor *t)
{
    size_t slot;
    bool zeros = f->config.codes.bits && hf_ends_with(t, ".bias") && lb_import_find(f->im, LB_DIALECT_HF, t->name, t->name_bytes, &slot) &&
                 lb_import_refuses(f->im, slot);
    for (uint64_t i = 0; i < t->bytes && zeros; i++) {
        zeros = t->data[i] == 0;
    }
    return zeros;
}

static lbrt_status hf_put(hf_folder *f, const lb_safetensor *t)
{
    lb_import *im = f->im;
    int shown = lb_safetensor_shown(t);
    size_t slot;
    lb_hf_part part;
    if (!hf_is_ternary(f) && lb_hf_part_find(im, t, &slot, &part)) {
        return hf_keep_part(f, t, slot, part);
    }
    if (f->config.codes.nibbles && t->n_dims == 2 && t->shape[1] == 1 && lb_import_find(im, LB_DIALECT_HF, t->name, t->name_bytes, &slot) &&
        (lb_import_is_linear(slot) || slot == lb_import_slot("out_head", 0))) {
        return hf_keep_part(f, t, slot, LB_HF_WEIGHT);
    }
    /* Scales of activations, of which lbrt has its own, and HQQ's settings, which its parts show */
    static const char *const not_needed[] = { "_proj.input_scale", "_proj.output_scale", "_proj.input_global_scale", "_proj.k_scale", "_proj.v_scale",
                                              "self_attn.k_scale", "self_attn.v_scale", "_proj.activation_scale", "_proj.input_zero_point", "_proj.output_zero_point",
                                              "self_attn.q_scale", "self_attn.k_zero_point", "self_attn.v_zero_point", "self_attn.q_zero_point",
                                              "lm_head.input_scale", "lm_head.input_global_scale", "lm_head.input_zero_point",
                                              "_proj.act_scale", "self_attn.kv_scale", /* AutoFP8's first names */
                                              "_proj.nbits", "_proj.group_size", "_proj.channel_wise", "_proj.optimize", "_proj.round_zero", "_proj.view_as_float",
                                              "_proj.unpack_view_dtype", "_proj.compute_dtype", "_proj.quant_scale", "_proj.quant_zero", "_proj.offload_meta",
                                              "_proj.stores_quant_config", "_proj.encoded_state_dict" };
    LB_FAIL_IF(hf_ends_with(t, ".weight_format") && !(t->bytes > 0 && t->data[0] == 0), f->err, LBRT_ERR_UNSUPPORTED,
               "int8 in the order of a GPU's tiles is not supported (tensor %.*s); bitsandbytes saves it in rows since version 0.45", shown, t->name);
    if (hf_ends_with(t, ".weight_format")) {
        return LBRT_OK; /* rows */
    }
    for (size_t i = 0; i < sizeof not_needed / sizeof not_needed[0]; i++) {
        if (hf_ends_with(t, not_needed[i])) {
            return LBRT_OK;
        }
    }
    if ((hf_is_scale(t) && hf_is_ternary(f)) || hf_ends_with(t, "rotary_emb.inv_freq") || hf_is_nothing(f, t)) {
        return LBRT_OK;
    }
    LB_FAIL_IF(!lb_import_find(im, LB_DIALECT_HF, t->name, t->name_bytes, &slot), f->err,
               LBRT_ERR_UNSUPPORTED, "tensor %.*s is unknown in a model of %u layers of architecture %s",
               shown, t->name, (unsigned)im->source.hparams.n_layers, im->source.hparams.architecture);
    LB_FAIL_IF(t->n_dims == 0 || t->n_dims > 2, f->err, LBRT_ERR_FORMAT, "tensor %.*s is no matrix", shown,
               t->name);
    uint64_t rows = t->n_dims == 2 ? t->shape[0] : 1, cols = t->shape[t->n_dims - 1];
    lb_hf_linear how = lb_import_is_linear(slot) && !hf_is_unrounded(f, t) ? f->config.linear : LB_HF_LINEAR_FLOAT;
    lb_place place = { .kind = LB_PLACE_ROWS, .type = t->type, .data = t->data, .scale = 1.0f };
    if (how == LB_HF_LINEAR_TERNARY_MULTIPLY && t->type && im->slots[slot].scale != 0.0f) { /* unpacked, as a model that was loaded and saved is */
        place.scale = im->slots[slot].scale;
        how = LB_HF_LINEAR_FLOAT;
    }
    if (how == LB_HF_LINEAR_TERNARY_MULTIPLY || how == LB_HF_LINEAR_TERNARY_DIVIDE) {
        LB_FAIL_IF(strcmp(t->dtype, "U8") != 0, f->err, LBRT_ERR_FORMAT,
                   "tensor %.*s has type %s; this BitNet model should have packed bytes", shown, t->name,
                   t->dtype);
        LB_FAIL_IF(im->slots[slot].scale == 0.0f, f->err, LBRT_ERR_FORMAT, "tensor %.*s has no weight_scale",
                   shown, t->name);
        LB_FAIL_IF(rows > UINT32_MAX, f->err, LBRT_ERR_FORMAT, "tensor %.*s is too large", shown, t->name);
        rows *= 4;
        place.kind = LB_PLACE_U8_X4;
        place.type_name = "u8x4";
        place.scale = im->slots[slot].scale;
    } else {
        LB_FAIL_IF(t->type == NULL, f->err, LBRT_ERR_UNSUPPORTED,
                   "tensor %.*s has type %s, which holds no weights", shown, t->name, t->dtype);
        place.type_name = t->type->name;
        if (hf_is_shortcut(t)) { /* stored to be multiplied from the left */
            LB_FAIL_IF(t->type->block != 1, f->err, LBRT_ERR_UNSUPPORTED, "tensor %.*s is no matrix of floats", shown, t->name);
            place.kind = LB_PLACE_TURNED;
            rows = cols;
            cols = t->n_dims == 2 ? t->shape[0] : 1;
        }
        if (how == LB_HF_LINEAR_MASTER) {
            place.kind = LB_PLACE_ROUND;
            LB_TRY(hf_mean_abs(t, &place.scale, f->err));
        }
    }
    return lb_import_put(im, slot, t->name, t->name_bytes, rows, cols, &place, f->err);
}

static lbrt_status hf_tensors(hf_folder *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n_files; i++) {
        n += f->files[i].n;
        for (size_t k = 0; k < f->files[i].n; k++) {
            f->config.hparams.norm_width = hf_is_shortcut(&f->files[i].tensors[k]) ? f->config.hparams.dim : f->config.hparams.norm_width;
        }
    }
    f->im->source.hparams = f->config.hparams;
    memcpy(f->im->rules, f->config.rules, sizeof f->im->rules);
    LB_TRY(lb_import_begin(f->im, n, f->err));
    for (size_t i = 0; i < f->n_files; i++) {
        for (size_t k = 0; k < f->files[i].n; k++) {
            if (hf_is_scale(&f->files[i].tensors[k]) && hf_is_ternary(f)) {
                LB_TRY(hf_put_scale(f, &f->files[i].tensors[k]));
            }
        }
    }
    for (size_t i = 0; i < f->n_files; i++) {
        for (size_t k = 0; k < f->files[i].n; k++) {
            LB_TRY(hf_put(f, &f->files[i].tensors[k]));
        }
    }
    for (size_t i = 0; i < f->n_matrices; i++) {
        LB_TRY(lb_hf_matrix_put(f->im, i, &f->matrices[i], &f->config.codes, f->err));
    }
    LB_TRY(lb_hf_config_check(lb_json_root(f->json), f->im, f->err));
    LB_TRY(f->config.yarn.factor != 0.0 ? lb_import_yarn(f->im, &f->config.yarn, f->err) : LBRT_OK);
    /* Two matrices that differ are two, whatever the config says. */
    const lb_slot *embed = &f->im->slots[lb_import_slot("tok_embed", 0)], *head = &f->im->slots[lb_import_slot("out_head", 0)];
    const bool plain = embed->place.data && head->place.data && embed->place.kind == LB_PLACE_ROWS && head->place.kind == LB_PLACE_ROWS && !embed->place.scales && !head->place.scales;
    const bool differ = plain && embed->place.type == head->place.type && embed->rows == head->rows && embed->cols == head->cols &&
                        memcmp(embed->place.data, head->place.data, (size_t)(embed->rows * (embed->cols / embed->place.type->block) * embed->place.type->bytes)) != 0;
    /* A config that is silent about it and has no head can only mean that the embedding serves. */
    bool no_head = f->im->slots[lb_import_slot("out_head", 0)].place.data == NULL;
    return lb_import_finish(f->im, (f->config.tied && !differ) || (no_head && !f->config.tied_is_said), f->err);
}

/* ---------------------------------------------------------------- the tokenizer */

static lbrt_status hf_apply_configs(hf_folder *f, lb_tokdata *t)
{
    static const char *const names[] = { "tokenizer_config.json", "generation_config.json", "config.json" };
    lb_map maps[3] = { { NULL, 0 }, { NULL, 0 }, { NULL, 0 } };
    lbrt_status status = LBRT_OK;
    for (size_t i = 0; i < 3 && status == LBRT_OK; i++) {
        if (hf_has(f, names[i])) {
            status = hf_map(f, names[i], &maps[i]);
        }
    }
    if (status == LBRT_OK) {
        status = lb_tokdata_apply_hf_config(t, (const char *)maps[0].data, maps[0].bytes,
                                            (const char *)maps[1].data, maps[1].bytes,
                                            (const char *)maps[2].data, maps[2].bytes, f->err);
    }
    for (size_t i = 0; i < 3; i++) {
        lb_map_close(&maps[i]);
    }
    return status;
}

/* Newer folders have the chat template in a file of its own, which goes before that of tokenizer_config.json; that of a tokenizer from elsewhere stays. */
static lbrt_status hf_apply_template(hf_folder *f, lb_tokdata *t, bool other)
{
    static const char name[] = "chat_template.jinja";
    if ((other && t->chat_template != NULL) || !hf_has(f, name)) {
        return LBRT_OK;
    }
    lb_map map;
    LB_TRY(hf_map(f, name, &map));
    lbrt_status status = lb_tokdata_set_template(t, (const char *)map.data, map.bytes, f->err);
    lb_map_close(&map);
    return status;
}

static lbrt_status hf_tokens(hf_folder *f, const char *tokenizer_path)
{
    char path[HF_MAX_PATH];
    const bool other = tokenizer_path != NULL;
    if (!other) {
        const char *name = hf_has(f, "tokenizer.json") ? "tokenizer.json" : "tokenizer.model";
        if (!hf_has(f, name) || !lb_path_join(path, sizeof path, f->path, name)) {
            return LBRT_OK;
        }
        tokenizer_path = path;
    }
    LB_TRY(lb_import_other_tokens(f->im, tokenizer_path, f->err));
    if (!other && f->im->source.tokens->model == LB_TOK_SPM && hf_has(f, "added_tokens.json")) {
        lb_map map;
        LB_TRY(hf_map(f, "added_tokens.json", &map));
        const lbrt_status s = lb_tokdata_apply_hf_added(f->im->source.tokens, (const char *)map.data, map.bytes, f->err);
        lb_map_close(&map);
        LB_TRY(s);
    }
    LB_TRY(hf_apply_configs(f, f->im->source.tokens));
    return hf_apply_template(f, f->im->source.tokens, other);
}

static lbrt_status hf_open(hf_folder *f, const char *tokenizer_path, const lbrt_allocator *a)
{
    LB_TRY(hf_read_config(f, a));
    LB_TRY(hf_open_files(f, a));
    LB_TRY(hf_tensors(f));
    lb_import_name(&f->im->source.hparams, f->path, NULL);
    return hf_tokens(f, tokenizer_path);
}

lbrt_status lb_source_open_hf(const char *folder, const char *tokenizer_path, const lbrt_allocator *a,
                              lb_source **out, lbrt_error *err)
{
    *out = NULL;
    lbrt_allocator host = lb_allocator_or_default(a);
    hf_folder f = { .path = folder, .err = err };
    lbrt_status status = hf_open(&f, tokenizer_path, &host);
    for (size_t i = 0; i < f.n_files; i++) {
        lb_safetensors_free(&f.files[i]);
    }
    lb_free(&host, f.files, f.n_files * sizeof *f.files);
    lb_free(&host, f.matrices, f.n_matrices * sizeof *f.matrices);
    lb_json_free(f.index);
    lb_json_free(f.older);
    lb_json_free(f.json);
    if (status != LBRT_OK) {
        if (f.im != NULL) {
            lb_import_close(&f.im->source);
        }
        return status;
    }
    *out = &f.im->source;
    return LBRT_OK;
}
