#include "lb_lora.h"

#include <math.h>

enum { LORA_MAX_LAYERS = 4096, LORA_WHICH = 7, LORA_PATH = 4096 };

/* The matrices of a layer: our name, PEFT's module, GGUF's name */
static const char *const lora_names[LORA_WHICH][3] = {
    { "attn_q", "self_attn.q_proj", "attn_q" },      { "attn_k", "self_attn.k_proj", "attn_k" },
    { "attn_v", "self_attn.v_proj", "attn_v" },      { "attn_o", "self_attn.o_proj", "attn_output" },
    { "ffn_gate", "mlp.gate_proj", "ffn_gate" },     { "ffn_up", "mlp.up_proj", "ffn_up" },
    { "ffn_down", "mlp.down_proj", "ffn_down" },
};

typedef struct lora_place {
    uint32_t layer, which;
    bool is_b;
} lora_place;

static bool lora_skip(const char **p, const char *end, const char *what)
{
    size_t n = strlen(what);
    if ((size_t)(end - *p) < n || memcmp(*p, what, n) != 0) {
        return false;
    }
    *p += n;
    return true;
}

/* "layers.N.self_attn.q_proj.lora_A.weight" behind any prefix (also ".lora_A.default.weight"), "blk.N.attn_q.weight.lora_a" */
static bool lora_parse(const char *name, size_t bytes, bool gguf, lora_place *out)
{
    const char *p = name, *end = name + bytes;
    const char *start = gguf ? "blk." : "layers.";
    while (p < end && !lora_skip(&p, end, start)) {
        p++;
    }
    out->layer = 0;
    const char *digits = p;
    for (; p < end && *p >= '0' && *p <= '9' && out->layer < LORA_MAX_LAYERS; p++) {
        out->layer = out->layer * 10 + (uint32_t)(*p - '0');
    }
    if (p == digits || out->layer >= LORA_MAX_LAYERS || !lora_skip(&p, end, ".")) {
        return false;
    }
    for (out->which = 0; out->which < LORA_WHICH && !lora_skip(&p, end, lora_names[out->which][gguf ? 2 : 1]); out->which++) {
    }
    if (out->which == LORA_WHICH) {
        return false;
    }
    if (gguf) {
        out->is_b = lora_skip(&p, end, ".weight.lora_b");
        return (out->is_b || lora_skip(&p, end, ".weight.lora_a")) && p == end;
    }
    out->is_b = lora_skip(&p, end, ".lora_B");
    if (!out->is_b && !lora_skip(&p, end, ".lora_A")) {
        return false;
    }
    (void)lora_skip(&p, end, ".default");
    return lora_skip(&p, end, ".weight") && p == end;
}

static lbrt_status lora_room(lb_lora *l, size_t n_layers, lbrt_error *err)
{
    l->n_pairs = n_layers * LORA_WHICH;
    l->pairs = (lb_lora_pair *)lb_alloc_zero(&l->allocator, l->n_pairs, sizeof *l->pairs);
    LB_FAIL_IF(!l->pairs, err, LBRT_ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < l->n_pairs; i++) {
        lb_format(l->pairs[i].name, sizeof l->pairs[i].name, "layers.%zu.%s", i / LORA_WHICH, lora_names[i % LORA_WHICH][0]);
    }
    return LBRT_OK;
}

static lbrt_status lora_put(lb_lora *l, const lora_place *at, const lb_lora_matrix *m, lbrt_error *err)
{
    lb_lora_pair *p = &l->pairs[at->layer * LORA_WHICH + at->which];
    lb_lora_matrix *to = at->is_b ? &p->b : &p->a;
    LB_FAIL_IF(to->data, err, LBRT_ERR_FORMAT, "the adapter has %s twice", p->name);
    *to = *m;
    return LBRT_OK;
}

/* PEFT's alpha_pattern: numbers for modules whose name ends with a key, as whole parts of it; the first that fits counts. NULL: none does. */
static const lb_json *lora_alpha_of(const lb_json *pattern, uint32_t layer, uint32_t which)
{
    char module[64];
    lb_format(module, sizeof module, "model.layers.%u.%s", layer, lora_names[which][1]);
    const size_t n = strlen(module);
    for (const lb_json *key = pattern ? pattern->child : NULL; key; key = key->next) {
        const size_t m = strlen(key->key);
        if (m <= n && memcmp(module + n - m, key->key, m) == 0 && (m == n || module[n - m - 1] == '.')) {
            return key;
        }
    }
    return NULL;
}

/* Both factors of each pair, of one rank, and its scale. What an alpha of 0 means in GGUF is 1 in all. */
static lbrt_status lora_finish(lb_lora *l, double alpha, const lb_json *pattern, bool stabilized, lbrt_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n_pairs; i++) {
        lb_lora_pair *p = &l->pairs[i];
        if (!p->a.data && !p->b.data) {
            continue;
        }
        LB_FAIL_IF(!p->a.data || !p->b.data, err, LBRT_ERR_FORMAT, "the adapter has only one factor of %s", p->name);
        LB_FAIL_IF(p->a.rows != p->b.cols, err, LBRT_ERR_FORMAT, "the factors of %s do not fit: %llu x %llu and %llu x %llu", p->name,
                   (unsigned long long)p->b.rows, (unsigned long long)p->b.cols, (unsigned long long)p->a.rows,
                   (unsigned long long)p->a.cols);
        const double rank = (double)p->a.rows;
        const lb_json *own = lora_alpha_of(pattern, (uint32_t)(i / LORA_WHICH), (uint32_t)(i % LORA_WHICH));
        const double all = own ? lb_json_number(own, NAN) : alpha;
        LB_FAIL_IF(!(fabs(all) < 1e6), err, LBRT_ERR_FORMAT, "adapter_config.json has no alpha for %s", p->name);
        p->scale = l->gguf.tensors && all == 0.0 ? 1.0f : (float)(all / (stabilized ? sqrt(rank) : rank));
        n++;
    }
    LB_FAIL_IF(n == 0, err, LBRT_ERR_FORMAT, "the adapter changes nothing");
    return LBRT_OK;
}

/* ---- PEFT ---- */

/* Kinds of LoRA that compute something else, by the key that says so, and names of modules that are patterns */
static lbrt_status lora_check_config(const lb_json *c, lbrt_error *err)
{
    static const char *const others[] = { "alora_invocation_tokens", "use_qalora", "use_bdlora", "layer_replication", "arrow_config", "monteclora_config", "kasa_config" };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const lb_json *v = lb_json_get(c, others[i]);
        const bool off = !v || v->type == LB_JSON_NULL || (v->type == LB_JSON_BOOL && !lb_json_bool(v, true)) ||
                         ((v->type == LB_JSON_ARRAY || v->type == LB_JSON_OBJECT) && !v->child);
        LB_FAIL_IF(!off, err, LBRT_ERR_UNSUPPORTED, "adapters with %s are not supported", others[i]);
    }
    /* These begin as a part of the weights, which the model then lacks: PEFT takes it out again when it loads them. Converted ones say true here. */
    static const char *const taken_out[] = { "pissa", "corda", "olora", "loftq", "lora_ga" };
    const lb_json *begin = lb_json_get(c, "init_lora_weights");
    for (size_t i = 0; begin && begin->type == LB_JSON_STRING && i < sizeof taken_out / sizeof taken_out[0]; i++) {
        LB_FAIL_IF(strncmp(begin->text, taken_out[i], strlen(taken_out[i])) == 0, err, LBRT_ERR_UNSUPPORTED,
                   "adapters that change the model's weights as they begin (init_lora_weights %s) are not supported; let PEFT convert them", taken_out[i]);
    }
    const lb_json *pattern = lb_json_get(c, "alpha_pattern");
    LB_FAIL_IF(pattern && pattern->type != LB_JSON_NULL && pattern->type != LB_JSON_OBJECT, err, LBRT_ERR_FORMAT, "adapter_config.json: alpha_pattern is no object");
    for (const lb_json *key = pattern ? pattern->child : NULL; key; key = key->next) {
        LB_FAIL_IF(strspn(key->key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.") != key->key_bytes, err, LBRT_ERR_UNSUPPORTED,
                   "adapters with an alpha_pattern of regular expressions are not supported");
    }
    return LBRT_OK;
}

static lbrt_status lora_read_config(const lb_json *c, double *alpha, bool *stabilized, lbrt_error *err)
{
    const lb_json *kind = lb_json_get(c, "peft_type"), *bias = lb_json_get(c, "bias");
    LB_FAIL_IF(!lb_json_is(kind, "LORA"), err, LBRT_ERR_UNSUPPORTED, "adapter_config.json is not of a LoRA adapter");
    LB_FAIL_IF(lb_json_bool(lb_json_get(c, "use_dora"), false), err, LBRT_ERR_UNSUPPORTED, "DoRA adapters are not supported");
    LB_FAIL_IF(lb_json_bool(lb_json_get(c, "fan_in_fan_out"), false), err, LBRT_ERR_UNSUPPORTED,
               "adapters with fan_in_fan_out are not supported");
    LB_TRY(lora_check_config(c, err));
    LB_FAIL_IF(bias && bias->type == LB_JSON_STRING && !lb_json_is(bias, "none"), err, LBRT_ERR_UNSUPPORTED,
               "adapters that change biases are not supported");
    *alpha = lb_json_number(lb_json_get(c, "lora_alpha"), NAN);
    *stabilized = lb_json_bool(lb_json_get(c, "use_rslora"), false);
    LB_FAIL_IF(!(fabs(*alpha) < 1e6), err, LBRT_ERR_FORMAT, "adapter_config.json has no lora_alpha");
    return LBRT_OK;
}

static lbrt_status lora_put_peft(lb_lora *l, const lb_json *config, lbrt_error *err)
{
    double alpha = 0.0;
    bool stabilized = false;
    LB_TRY(lora_read_config(config, &alpha, &stabilized, err));
    size_t n_layers = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < l->tensors.n; i++) {
            const lb_safetensor *t = &l->tensors.tensors[i];
            lora_place at;
            LB_FAIL_IF(!lora_parse(t->name, t->name_bytes, false, &at), err, LBRT_ERR_UNSUPPORTED,
                       "the adapter has %.*s, which is no LoRA factor of a linear layer", (int)lb_min(t->name_bytes, 120), t->name);
            LB_FAIL_IF(t->n_dims != 2 || !t->type, err, LBRT_ERR_UNSUPPORTED, "the adapter's %.*s is no matrix of floats",
                       (int)lb_min(t->name_bytes, 120), t->name);
            n_layers = lb_max(n_layers, (size_t)at.layer + 1);
            if (pass == 1) {
                const lb_lora_matrix m = { t->data, t->type, t->shape[0], t->shape[1] };
                LB_TRY(lora_put(l, &at, &m, err));
            }
        }
        if (pass == 0) {
            LB_TRY(lora_room(l, n_layers, err));
        }
    }
    return lora_finish(l, alpha, lb_json_get(config, "alpha_pattern"), stabilized, err);
}

static lbrt_status lora_open_peft(const char *folder, lb_lora *l, lbrt_error *err)
{
    char path[LORA_PATH];
    lb_map map;
    lb_json_doc *doc = NULL;
    LB_FAIL_IF(!lb_path_join(path, sizeof path, folder, "adapter_model.safetensors"), err, LBRT_ERR_ARGUMENT, "the folder's path is too long");
    LB_TRY(lb_map_open(path, &l->map, err));
    LB_TRY(lb_safetensors_read(l->map.data, l->map.bytes, &l->allocator, &l->tensors, err));
    LB_FAIL_IF(!lb_path_join(path, sizeof path, folder, "adapter_config.json"), err, LBRT_ERR_ARGUMENT, "the folder's path is too long");
    LB_TRY(lb_map_open(path, &map, err));
    lbrt_status s = lb_json_parse((const char *)map.data, map.bytes, &l->allocator, &doc, err);
    lb_map_close(&map);
    s = s == LBRT_OK ? lora_put_peft(l, lb_json_root(doc), err) : s;
    lb_json_free(doc);
    return s;
}

/* ---- GGUF ---- */

static lbrt_status lora_open_gguf(const char *file, lb_lora *l, lbrt_error *err)
{
    LB_TRY(lb_map_open(file, &l->map, err));
    LB_TRY(lb_gguf_read(l->map.data, l->map.bytes, &l->allocator, &l->gguf, err));
    lb_gguf_string kind, arch;
    double alpha = 0.0;
    LB_FAIL_IF(!lb_gguf_text(lb_gguf_find(&l->gguf, "adapter.type"), &kind) || kind.bytes != 4 || memcmp(kind.text, "lora", 4) != 0, err,
               LBRT_ERR_UNSUPPORTED, "the GGUF file is not of a LoRA adapter");
    LB_FAIL_IF(!lb_gguf_float(lb_gguf_find(&l->gguf, "adapter.lora.alpha"), &alpha) || !(fabs(alpha) < 1e6), err, LBRT_ERR_FORMAT,
               "the GGUF file has no adapter.lora.alpha");
    /* As in models: GGUF reorders the rows of q and k for the llama architecture. */
    l->interleaved = lb_gguf_text(lb_gguf_find(&l->gguf, "general.architecture"), &arch) && arch.bytes == 5 &&
                     memcmp(arch.text, "llama", 5) == 0;
    size_t n_layers = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < l->gguf.n_tensors; i++) {
            const lb_gguf_tensor *t = &l->gguf.tensors[i];
            lora_place at;
            LB_FAIL_IF(!lora_parse(t->name.text, t->name.bytes, true, &at), err, LBRT_ERR_UNSUPPORTED,
                       "the adapter has %.*s, which is no LoRA factor of a linear layer", (int)lb_min(t->name.bytes, 120), t->name.text);
            LB_FAIL_IF(!t->is_matrix || !t->type->dequantize, err, LBRT_ERR_UNSUPPORTED, "the adapter's %.*s is no matrix of floats",
                       (int)lb_min(t->name.bytes, 120), t->name.text);
            n_layers = lb_max(n_layers, (size_t)at.layer + 1);
            if (pass == 1) {
                const lb_lora_matrix m = { t->data, t->type, t->rows, t->cols };
                LB_TRY(lora_put(l, &at, &m, err));
            }
        }
        if (pass == 0) {
            LB_TRY(lora_room(l, n_layers, err));
        }
    }
    return lora_finish(l, alpha, NULL, false, err);
}

bool lb_lora_is(const char *path, const lbrt_allocator *a)
{
    char config[LORA_PATH];
    if (lb_path_is_dir(path)) {
        return lb_path_join(config, sizeof config, path, "adapter_config.json") && lb_path_exists(config);
    }
    lb_map map;
    lb_gguf g;
    bool is = false;
    if (lb_map_open(path, &map, NULL) != LBRT_OK) {
        return false;
    }
    if (map.bytes >= 8 && lb_load_u32(map.data) == LB_GGUF_MAGIC && lb_gguf_read(map.data, map.bytes, a, &g, NULL) == LBRT_OK) {
        lb_gguf_string kind;
        is = lb_gguf_text(lb_gguf_find(&g, "general.type"), &kind) && kind.bytes == 7 && memcmp(kind.text, "adapter", 7) == 0;
        lb_gguf_free(&g);
    }
    lb_map_close(&map);
    return is;
}

lbrt_status lb_lora_open(const char *path, const lbrt_allocator *a, lb_lora *out, lbrt_error *err)
{
    *out = (lb_lora){ .allocator = *a };
    lbrt_status s = lb_path_is_dir(path) ? lora_open_peft(path, out, err) : lora_open_gguf(path, out, err);
    if (s != LBRT_OK) {
        lb_lora_close(out);
    }
    return s;
}

void lb_lora_close(lb_lora *l)
{
    lb_free(&l->allocator, l->pairs, l->n_pairs * sizeof *l->pairs);
    if (l->gguf.kv || l->gguf.tensors) {
        lb_gguf_free(&l->gguf);
    }
    if (l->tensors.tensors) {
        lb_safetensors_free(&l->tensors);
    }
    lb_map_close(&l->map);
    *l = (lb_lora){ .allocator = l->allocator };
}

void lb_lora_row(const lb_lora_matrix *m, uint64_t row, float *out)
{
    const uint64_t blocks = m->cols / m->type->block;
    m->type->dequantize(m->data + row * blocks * m->type->bytes, out, (size_t)blocks);
}
