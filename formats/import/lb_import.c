/*
 * The table of tensors. A model of n layers has a fixed set of slots, so a name that comes twice, a shape
 * that does not fit and a tensor that is missing are found by looking at its slot, in time linear in the
 * file.
 */
#include "../../runtime/base/lb_utf8.h"
#include "../container/lb_container.h"
#include "lb_import.h"

/* A side of a tensor, in terms of the hyperparameters. */
typedef enum slot_dim {
    SLOT_ONE,
    SLOT_DIM,
    SLOT_VOCAB,
    SLOT_Q,
    SLOT_KV,
    SLOT_HEAD,
    SLOT_FFN,
    SLOT_ROPE,
    SLOT_V,
    SLOT_O
} slot_dim;

typedef struct slot_desc {
    const char *name;       /* canonical, without "layers.N." */
    const char *in_file[2]; /* by lb_dialect, without "blk.N." and "model.layers.N."; NULL: has none there */
    slot_dim rows, cols;
    lb_feature feature;
    bool linear;
    const char *also; /* what else Hugging Face folders call it: the first BitNet models; NULL: nothing */
} slot_desc;

static const slot_desc slot_global[] = {
    { "tok_embed",
      { "token_embd.weight", "model.embed_tokens.weight" },
      SLOT_VOCAB,
      SLOT_DIM,
      LB_FEATURE_ALWAYS,
      false,
      NULL },
    { "out_norm",
      { "output_norm.weight", "model.norm.weight" },
      SLOT_ONE,
      SLOT_DIM,
      LB_FEATURE_ALWAYS,
      false,
      NULL },
    { "out_head", { "output.weight", "lm_head.weight" }, SLOT_VOCAB, SLOT_DIM, LB_FEATURE_HEAD, false, NULL },
    { "rope_factors", { "rope_freqs.weight", NULL }, SLOT_ONE, SLOT_ROPE, LB_FEATURE_ROPE_FACTORS, false, NULL },
};

#define SLOT_VECTOR(name, gguf, hf, cols, feature)                                                           \
    {                                                                                                        \
        name, { gguf, hf }, SLOT_ONE, cols, feature, false, NULL                                             \
    }
#define SLOT_MATRIX(name, gguf, hf, rows, cols)                                                              \
    {                                                                                                        \
        name, { gguf, hf }, rows, cols, LB_FEATURE_ALWAYS, true, NULL                                        \
    }

static const slot_desc slot_layer[] = {
    SLOT_VECTOR("attn_norm", "attn_norm.weight", "input_layernorm.weight", SLOT_DIM, LB_FEATURE_ALWAYS),
    SLOT_MATRIX("attn_q", "attn_q.weight", "self_attn.q_proj.weight", SLOT_Q, SLOT_DIM),
    SLOT_VECTOR("attn_q_bias", "attn_q.bias", "self_attn.q_proj.bias", SLOT_Q, LB_FEATURE_QKV_BIAS),
    SLOT_VECTOR("attn_q_norm", "attn_q_norm.weight", "self_attn.q_norm.weight", SLOT_HEAD,
                LB_FEATURE_QK_NORM),
    SLOT_MATRIX("attn_k", "attn_k.weight", "self_attn.k_proj.weight", SLOT_KV, SLOT_DIM),
    SLOT_VECTOR("attn_k_bias", "attn_k.bias", "self_attn.k_proj.bias", SLOT_KV, LB_FEATURE_QKV_BIAS),
    SLOT_VECTOR("attn_k_norm", "attn_k_norm.weight", "self_attn.k_norm.weight", SLOT_HEAD,
                LB_FEATURE_QK_NORM),
    SLOT_MATRIX("attn_v", "attn_v.weight", "self_attn.v_proj.weight", SLOT_V, SLOT_DIM),
    SLOT_VECTOR("attn_v_bias", "attn_v.bias", "self_attn.v_proj.bias", SLOT_V, LB_FEATURE_QKV_BIAS),
    { "attn_sub_norm", { "attn_sub_norm.weight", "self_attn.attn_sub_norm.weight" }, SLOT_ONE, SLOT_O, LB_FEATURE_SUB_NORM, false,
      "self_attn.inner_attn_ln.weight" },
    SLOT_MATRIX("attn_o", "attn_output.weight", "self_attn.o_proj.weight", SLOT_DIM, SLOT_O),
    { "attn_shortcut", { NULL, "attn_shortcut_Q" }, SLOT_DIM, SLOT_DIM, LB_FEATURE_SHORTCUT, true, NULL },
    SLOT_VECTOR("attn_o_bias", "attn_output.bias", "self_attn.o_proj.bias", SLOT_DIM, LB_FEATURE_O_BIAS),
    SLOT_VECTOR("ffn_norm", "ffn_norm.weight", "post_attention_layernorm.weight", SLOT_DIM,
                LB_FEATURE_ALWAYS),
    SLOT_MATRIX("ffn_gate", "ffn_gate.weight", "mlp.gate_proj.weight", SLOT_FFN, SLOT_DIM),
    SLOT_VECTOR("ffn_gate_bias", "ffn_gate.bias", "mlp.gate_proj.bias", SLOT_FFN, LB_FEATURE_FFN_BIAS),
    SLOT_MATRIX("ffn_up", "ffn_up.weight", "mlp.up_proj.weight", SLOT_FFN, SLOT_DIM),
    SLOT_VECTOR("ffn_up_bias", "ffn_up.bias", "mlp.up_proj.bias", SLOT_FFN, LB_FEATURE_FFN_BIAS),
    { "ffn_sub_norm", { "ffn_sub_norm.weight", "mlp.ffn_sub_norm.weight" }, SLOT_ONE, SLOT_FFN, LB_FEATURE_SUB_NORM, false, "mlp.ffn_layernorm.weight" },
    SLOT_MATRIX("ffn_down", "ffn_down.weight", "mlp.down_proj.weight", SLOT_DIM, SLOT_FFN),
    { "ffn_shortcut", { NULL, "mlp_shortcut_Q" }, SLOT_DIM, SLOT_DIM, LB_FEATURE_SHORTCUT, true, NULL },
    SLOT_VECTOR("ffn_down_bias", "ffn_down.bias", "mlp.down_proj.bias", SLOT_DIM, LB_FEATURE_FFN_BIAS),
};

#define SLOT_N_GLOBAL   (sizeof slot_global / sizeof slot_global[0])
#define SLOT_N_LAYER    (sizeof slot_layer / sizeof slot_layer[0])
#define SLOT_N_REQUIRED 9u /* in each layer: two norms and seven matrices */

static const slot_desc *slot_describe(size_t slot)
{
    return slot < SLOT_N_GLOBAL ? &slot_global[slot] : &slot_layer[(slot - SLOT_N_GLOBAL) % SLOT_N_LAYER];
}

static size_t slot_layer_of(size_t slot)
{
    return (slot - SLOT_N_GLOBAL) / SLOT_N_LAYER;
}

const char *lb_import_slot_name(size_t slot, char *out, size_t cap)
{
    if (slot < SLOT_N_GLOBAL) {
        lb_format(out, cap, "%s", slot_describe(slot)->name);
    } else {
        lb_format(out, cap, "layers.%zu.%s", slot_layer_of(slot), slot_describe(slot)->name);
    }
    return out;
}

static uint64_t slot_side(const lb_hparams *h, slot_dim dim)
{
    switch (dim) {
    case SLOT_DIM: return h->dim;
    case SLOT_VOCAB: return h->n_vocab;
    case SLOT_Q: return (uint64_t)h->n_heads * h->head_dim;
    case SLOT_KV: return (uint64_t)h->n_kv_heads * h->head_dim;
    case SLOT_V: return (uint64_t)lb_v_heads(h) * lb_v_width(h);
    case SLOT_O: return (uint64_t)h->n_heads * lb_v_width(h);
    case SLOT_HEAD: return h->head_dim;
    case SLOT_FFN: return h->ffn_dim;
    case SLOT_ROPE: return h->rope_dim / 2;
    case SLOT_ONE: break;
    }
    return 1;
}

size_t lb_import_slot(const char *name, uint32_t layer)
{
    for (size_t i = 0; i < SLOT_N_GLOBAL; i++) {
        if (strcmp(slot_global[i].name, name) == 0) {
            return i;
        }
    }
    size_t i = 0;
    while (i + 1 < SLOT_N_LAYER && strcmp(slot_layer[i].name, name) != 0) {
        i++;
    }
    return SLOT_N_GLOBAL + layer * SLOT_N_LAYER + i;
}

void lb_import_shape(const lb_import *im, size_t slot, uint64_t *rows, uint64_t *cols)
{
    *rows = slot_side(&im->source.hparams, slot_describe(slot)->rows);
    *cols = slot_side(&im->source.hparams, slot_describe(slot)->cols);
}

bool lb_import_refuses(const lb_import *im, size_t slot)
{
    return im->rules[slot_describe(slot)->feature] == LB_RULE_ABSENT;
}

bool lb_import_is_linear(size_t slot)
{
    return slot_describe(slot)->linear;
}

/* ---------------------------------------------------------------- making and closing */

lbrt_status lb_import_new(const lbrt_allocator *a, size_t n_maps, lb_import **out, lbrt_error *err)
{
    *out = NULL;
    lbrt_allocator host = lb_allocator_or_default(a);
    lb_import *im = lb_alloc_zero(&host, 1, sizeof *im);
    LB_FAIL_IF(im == NULL, err, LBRT_ERR_MEMORY, "out of memory");
    im->a = host;
    im->source.close = lb_import_close;
    if (n_maps > 0) {
        im->maps = lb_alloc_zero(&host, n_maps, sizeof *im->maps);
        if (im->maps == NULL) {
            lb_import_close(&im->source);
            return lb_fail(err, LBRT_ERR_MEMORY, "out of memory");
        }
        im->n_maps = n_maps;
    }
    *out = im;
    return LBRT_OK;
}

void lb_import_close(lb_source *s)
{
    if (s == NULL) {
        return;
    }
    lb_import *im = (lb_import *)s;
    lbrt_allocator a = im->a;
    lb_tokdata_free(im->source.tokens);
    for (size_t i = 0; i < im->n_maps; i++) {
        lb_map_close(&im->maps[i]);
    }
    lb_free(&a, im->maps, im->n_maps * sizeof *im->maps);
    lb_free(&a, im->slots, im->n_slots * sizeof *im->slots);
    lb_free(&a, im->made, im->n_made * sizeof *im->made);
    lb_free(&a, im->codes, im->n_codes * sizeof *im->codes);
    lb_free(&a, im->tensors, im->n_tensors * sizeof *im->tensors);
    lb_free(&a, im->places, im->n_tensors * sizeof *im->places);
    lb_free(&a, im, sizeof *im);
}

/* Bounds that keep every product of two of them within 64 bits, and far above any model. */
#define IMPORT_MAX_SIDE  (1u << 26)
#define IMPORT_MAX_VOCAB (1u << 28)

static lbrt_status import_check_hparams(const lb_hparams *h, lbrt_error *err)
{
    LB_FAIL_IF(h->n_layers == 0 || h->n_layers > LB_MAX_LAYERS, err, LBRT_ERR_FORMAT,
               "the model has %u layers; 1 to %u are possible", (unsigned)h->n_layers,
               (unsigned)LB_MAX_LAYERS);
    LB_FAIL_IF(h->n_vocab == 0 || h->n_vocab > IMPORT_MAX_VOCAB, err, LBRT_ERR_FORMAT,
               "the model has a vocabulary of %u", (unsigned)h->n_vocab);
    LB_FAIL_IF(h->dim == 0 || h->dim > IMPORT_MAX_SIDE || h->ffn_dim == 0 || h->ffn_dim > IMPORT_MAX_SIDE,
               err, LBRT_ERR_FORMAT, "the model has the dimensions %u and %u", (unsigned)h->dim,
               (unsigned)h->ffn_dim);
    LB_FAIL_IF(h->n_heads == 0 || h->n_heads > IMPORT_MAX_SIDE || h->n_kv_heads == 0 ||
                   (!h->unequal && h->n_heads % h->n_kv_heads != 0),
               err, LBRT_ERR_FORMAT, "the model has %u heads and %u key-value heads", (unsigned)h->n_heads,
               (unsigned)h->n_kv_heads);
    LB_FAIL_IF(h->head_dim == 0 || h->head_dim % 2 != 0 || h->head_dim > IMPORT_MAX_SIDE ||
                   (uint64_t)h->head_dim * h->n_heads > IMPORT_MAX_SIDE,
               err, LBRT_ERR_FORMAT, "the model has %u heads of %u dimensions", (unsigned)h->n_heads,
               (unsigned)h->head_dim);
    LB_FAIL_IF(h->rope_dim == 0 || h->rope_dim % 2 != 0 || h->rope_dim > h->head_dim, err, LBRT_ERR_FORMAT,
               "%u of %u dimensions of a head are rotated", (unsigned)h->rope_dim, (unsigned)h->head_dim);
    LB_FAIL_IF(h->n_context == 0, err, LBRT_ERR_FORMAT, "the model does not say its context length");
    LB_FAIL_IF(!isfinite(h->norm_eps) || h->norm_eps < 0.0f, err, LBRT_ERR_FORMAT,
               "the model's norm epsilon is no number");
    LB_FAIL_IF(!isfinite(h->rope_theta) || h->rope_theta <= 0.0f, err, LBRT_ERR_FORMAT,
               "the base of the model's rotary embedding is no positive number");
    LB_FAIL_IF(h->rope_scaling != LB_ROPE_NONE && (!isfinite(h->rope_factor) || h->rope_factor <= 0.0f), err,
               LBRT_ERR_FORMAT, "the factor of the model's rotary embedding is no positive number");
    LB_FAIL_IF(h->rope_scaling == LB_ROPE_LLAMA3 &&
                   (!isfinite(h->rope_low_freq) || !isfinite(h->rope_high_freq) || h->rope_low_freq <= 0.0f ||
                    h->rope_high_freq <= h->rope_low_freq || h->rope_original_context == 0),
               err, LBRT_ERR_FORMAT, "the model's llama3 rotary scaling has impossible numbers");
    return LBRT_OK;
}

lbrt_status lb_import_begin(lb_import *im, size_t n_in_file, lbrt_error *err)
{
    const lb_hparams *h = &im->source.hparams;
    LB_TRY(import_check_hparams(h, err));
    LB_FAIL_IF(h->n_layers > n_in_file / SLOT_N_REQUIRED, err, LBRT_ERR_FORMAT,
               "the model says that it has %u layers, but %zu tensors cannot hold them",
               (unsigned)h->n_layers, n_in_file);
    size_t n = SLOT_N_GLOBAL + h->n_layers * SLOT_N_LAYER;
    im->slots = lb_alloc_zero(&im->a, n, sizeof *im->slots);
    LB_FAIL_IF(im->slots == NULL, err, LBRT_ERR_MEMORY, "out of memory");
    im->n_slots = n;
    return LBRT_OK;
}

bool lb_import_find(const lb_import *im, lb_dialect dialect, const char *name, size_t bytes, size_t *slot)
{
    const char *prefix = dialect == LB_DIALECT_GGUF ? "blk." : "model.layers.";
    size_t n = strlen(prefix), layer = 0;
    const slot_desc *table = slot_global;
    size_t count = SLOT_N_GLOBAL, first = 0;
    if (bytes > n && memcmp(name, prefix, n) == 0) {
        size_t pos = n;
        for (; pos < bytes && pos < n + 5 && name[pos] >= '0' && name[pos] <= '9'; pos++) {
            layer = layer * 10 + (size_t)(name[pos] - '0');
        }
        /* "01" and "1" are not the same name. */
        if (pos == n || pos == bytes || name[pos] != '.' || layer >= im->source.hparams.n_layers ||
            (name[n] == '0' && pos > n + 1)) {
            return false;
        }
        name += pos + 1;
        bytes -= pos + 1;
        table = slot_layer;
        count = SLOT_N_LAYER;
        first = SLOT_N_GLOBAL + layer * SLOT_N_LAYER;
    }
    for (size_t i = 0; i < count; i++) {
        const char *const names[] = { table[i].in_file[dialect], dialect == LB_DIALECT_HF ? table[i].also : NULL };
        for (size_t k = 0; k < 2; k++) {
            if (names[k] != NULL && strlen(names[k]) == bytes && memcmp(names[k], name, bytes) == 0) {
                *slot = first + i;
                return true;
            }
        }
    }
    return false;
}

static bool varies_by_layer(slot_dim dim)
{
    return dim == SLOT_Q || dim == SLOT_KV || dim == SLOT_V || dim == SLOT_O || dim == SLOT_FFN;
}

lbrt_status lb_import_put(lb_import *im, size_t slot, const char *name, size_t bytes, uint64_t rows,
                          uint64_t cols, const lb_place *place, lbrt_error *err)
{
    const slot_desc *desc = slot_describe(slot);
    lb_slot *s = &im->slots[slot];
    int shown = (int)lb_min(bytes, 80);
    uint64_t want_rows = slot_side(&im->source.hparams, desc->rows);
    uint64_t want_cols = slot_side(&im->source.hparams, desc->cols);
    if (im->source.hparams.norm_width) { /* widths are looked at in import_widths, when all are known */
        want_rows = desc->rows == SLOT_DIM || desc->rows == SLOT_FFN ? rows : want_rows;
        want_cols = desc->cols == SLOT_DIM || desc->cols == SLOT_FFN ? cols : want_cols;
    }
    if (im->source.hparams.unequal) { /* numbers of heads: likewise, in import_heads */
        want_rows = varies_by_layer(desc->rows) ? lb_min(rows, want_rows) : want_rows;
        want_cols = varies_by_layer(desc->cols) ? lb_min(cols, want_cols) : want_cols;
    }
    LB_FAIL_IF(s->place.data != NULL, err, LBRT_ERR_FORMAT, "the file has tensor %.*s twice", shown, name);
    LB_FAIL_IF(im->rules[desc->feature] == LB_RULE_ABSENT, err, LBRT_ERR_UNSUPPORTED,
               "tensor %.*s does not belong to a model of this kind (%s)", shown, name,
               im->source.hparams.architecture);
    LB_FAIL_IF(rows != want_rows || cols != want_cols, err, LBRT_ERR_FORMAT,
               "tensor %.*s has %llu rows of %llu; the model's hyperparameters ask for %llu of %llu", shown,
               name, (unsigned long long)rows, (unsigned long long)cols, (unsigned long long)want_rows,
               (unsigned long long)want_cols);
    s->place = *place;
    s->rows = rows;
    s->cols = cols;
    return LBRT_OK;
}

/* Also float files hold ternary models: converters write BitNet's weights as plus and minus the scale. */
static void import_find_ternary(const lb_slot *s, bool linear, lb_source_tensor *t)
{
    const lb_place *p = &s->place;
    t->ternary = p->kind == LB_PLACE_I2_S || p->kind == LB_PLACE_U8_X4 || p->kind == LB_PLACE_ROUND;
    t->ternary_scale = t->ternary ? p->scale : 0.0f;
    t->rank = p->kind == LB_PLACE_CHAIN ? p->n : 0;
    float scale;
    if (p->kind == LB_PLACE_ROWS && !p->scales && linear &&
        lb_ggml_one_scale(p->type, p->data, s->rows * (s->cols / p->type->block), &scale) && isfinite(scale * p->scale)) {
        t->ternary = true;
        t->ternary_scale = scale * p->scale;
    }
}

/* A slot's side, which must be `want` (0: whatever it is), as one of a chain of widths. */
static lbrt_status import_side(const lb_import *im, const char *name, uint32_t layer, bool rows, uint64_t want, uint64_t *out, lbrt_error *err)
{
    const lb_slot *s = &im->slots[lb_import_slot(name, layer)];
    LB_FAIL_IF(!s->place.data, err, LBRT_ERR_FORMAT, "the file lacks the tensor for layers.%u.%s", (unsigned)layer, name);
    *out = rows ? s->rows : s->cols;
    LB_FAIL_IF(*out > IMPORT_MAX_SIDE || (want && *out != want), err, LBRT_ERR_FORMAT,
               "layers.%u.%s has %llu %s where %llu would fit its neighbours", (unsigned)layer, name, (unsigned long long)*out,
               rows ? "rows" : "columns", (unsigned long long)want);
    return LBRT_OK;
}

/* The norm's vector over n columns as lb_hparams.h wants it: there may be none in the file, which means ones. */
static lbrt_status import_norm(lb_import *im, const char *name, uint32_t layer, uint64_t n, lbrt_error *err)
{
    static const unsigned char nothing;
    const size_t slot = lb_import_slot(name, layer);
    lb_slot *s = &im->slots[slot];
    char full[64];
    lb_import_slot_name(slot, full, sizeof full);
    const float scale = (float)sqrt((double)im->source.hparams.norm_width / (double)n);
    if (!s->place.data) {
        *s = (lb_slot){ .rows = 1, .cols = n, .place = { .kind = LB_PLACE_ONES, .type_name = "ones", .data = &nothing, .scale = scale } };
        im->source.hparams.norm_eps = 1e-5f; /* that of SliceGPT's norms */
    }
    LB_FAIL_IF(s->cols != n, err, LBRT_ERR_FORMAT, "%s has %llu numbers instead of %llu", full, (unsigned long long)s->cols,
               (unsigned long long)n);
    s->place.scale = scale;
    return LBRT_OK;
}

/* Layers with widths of their own: one's output is the next one's input (lb_hparams.h). Sets dim and ffn_dim. */
static lbrt_status import_widths(lb_import *im, bool tied, lbrt_error *err)
{
    lb_hparams *h = &im->source.hparams;
    const lb_slot *embed = &im->slots[lb_import_slot("tok_embed", 0)], *head = &im->slots[lb_import_slot("out_head", 0)];
    uint64_t width = embed->cols, widest = 0, mid = 0, ffn = 0, x;
    LB_FAIL_IF(!embed->place.data, err, LBRT_ERR_FORMAT, "the file lacks the tensor for tok_embed");
    const uint64_t first = width;
    for (uint32_t i = 0; i < h->n_layers; i++) {
        LB_TRY(import_side(im, "attn_q", i, false, width, &x, err));
        LB_TRY(import_side(im, "attn_k", i, false, width, &x, err));
        LB_TRY(import_side(im, "attn_v", i, false, width, &x, err));
        LB_TRY(import_norm(im, "attn_norm", i, width, err));
        LB_TRY(import_side(im, "attn_o", i, true, 0, &mid, err));
        const bool turned = im->slots[lb_import_slot("attn_shortcut", i)].place.data != NULL;
        LB_TRY(turned ? import_side(im, "attn_shortcut", i, false, width, &x, err) : import_side(im, "attn_o", i, true, width, &x, err));
        LB_TRY(turned ? import_side(im, "attn_shortcut", i, true, mid, &x, err) : LBRT_OK);
        LB_TRY(import_norm(im, "ffn_norm", i, mid, err));
        LB_TRY(import_side(im, "ffn_gate", i, true, 0, &ffn, err));
        LB_TRY(import_side(im, "ffn_gate", i, false, mid, &x, err));
        LB_TRY(import_side(im, "ffn_up", i, true, ffn, &x, err));
        LB_TRY(import_side(im, "ffn_up", i, false, mid, &x, err));
        LB_TRY(import_side(im, "ffn_down", i, false, ffn, &x, err));
        LB_TRY(import_side(im, "ffn_down", i, true, 0, &width, err));
        const bool turned_again = im->slots[lb_import_slot("ffn_shortcut", i)].place.data != NULL;
        LB_TRY(turned_again ? import_side(im, "ffn_shortcut", i, false, mid, &x, err) : import_side(im, "ffn_down", i, true, mid, &x, err));
        LB_TRY(turned_again ? import_side(im, "ffn_shortcut", i, true, width, &x, err) : LBRT_OK);
        widest = lb_max(widest, ffn);
    }
    const bool own = head->place.data && !tied; /* else the embedding serves, which has the first layer's width */
    const uint64_t last = own ? head->cols : first;
    LB_FAIL_IF(last != width, err, LBRT_ERR_FORMAT, "%s has %llu columns where %llu would fit the last layer", own ? "out_head" : "tok_embed, the head too,",
               (unsigned long long)last, (unsigned long long)width);
    LB_TRY(import_norm(im, "out_norm", 0, width, err));
    h->dim = (uint32_t)first; /* sides of tensors in the file: below 2^26 by the rows that there are */
    h->ffn_dim = (uint32_t)widest;
    return LBRT_OK;
}

/* Layers with numbers of heads of their own: whole heads that fit each other, and as many outputs as the next matrix has inputs. */
static lbrt_status import_heads(const lb_import *im, lbrt_error *err)
{
    const lb_hparams *h = &im->source.hparams;
    uint64_t q, k, v, ffn, x;
    for (uint32_t i = 0; i < h->n_layers; i++) {
        LB_TRY(import_side(im, "attn_q", i, true, 0, &q, err));
        LB_TRY(import_side(im, "attn_k", i, true, 0, &k, err));
        LB_TRY(import_side(im, "attn_v", i, true, 0, &v, err));
        LB_FAIL_IF(q % h->head_dim || k % h->head_dim || v % lb_v_width(h), err, LBRT_ERR_FORMAT, "layer %u has no whole number of heads", i);
        LB_TRY(lb_heads_check((uint32_t)(q / h->head_dim), (uint32_t)(k / h->head_dim), (uint32_t)(v / lb_v_width(h)), err));
        LB_TRY(import_side(im, "attn_o", i, false, q / h->head_dim * lb_v_width(h), &x, err));
        LB_TRY(import_side(im, "ffn_gate", i, true, 0, &ffn, err));
        LB_TRY(import_side(im, "ffn_up", i, true, ffn, &x, err));
        LB_TRY(import_side(im, "ffn_down", i, false, ffn, &x, err));
    }
    return LBRT_OK;
}

lbrt_status lb_import_check_layer(const lb_import *im, const char *key, const char *tensor, uint32_t layer, uint64_t n, lbrt_error *err)
{
    const lb_hparams *h = &im->source.hparams;
    const uint64_t each = strcmp(tensor, "ffn_gate") == 0 ? 1 : strcmp(tensor, "attn_v") == 0 ? lb_v_width(h) : h->head_dim;
    const lb_slot *s = &im->slots[lb_import_slot(tensor, layer)];
    const uint64_t has = s->rows / each;
    LB_FAIL_IF(s->place.data != NULL && has != n, err, LBRT_ERR_FORMAT, "%s says %llu for layer %u, where the tensors have %llu", key, (unsigned long long)n, layer,
               (unsigned long long)has);
    return LBRT_OK;
}

lbrt_status lb_import_finish(lb_import *im, bool tied, lbrt_error *err)
{
    LB_TRY(im->source.hparams.unequal ? import_heads(im, err) : LBRT_OK);
    if (im->source.hparams.norm_width) {
        LB_TRY(import_widths(im, tied, err));
    }
    lb_slot *embed = &im->slots[lb_import_slot("tok_embed", 0)],
            *head = &im->slots[lb_import_slot("out_head", 0)];
    if (tied && head->place.data != NULL) {
        if (embed->place.data == NULL) {
            *embed = *head;
        }
        memset(head, 0, sizeof *head);
    }
    im->rules[LB_FEATURE_ALWAYS] = LB_RULE_REQUIRED;
    im->rules[LB_FEATURE_HEAD] = tied ? LB_RULE_OPTIONAL : LB_RULE_REQUIRED;
    size_t n = 0;
    for (size_t i = 0; i < im->n_slots; i++) {
        if (im->slots[i].place.data != NULL) {
            n++;
        } else if (im->rules[slot_describe(i)->feature] == LB_RULE_REQUIRED) {
            char name[64];
            lb_import_slot_name(i, name, sizeof name);
            return lb_fail(err, LBRT_ERR_FORMAT, "the file lacks the tensor for %s", name);
        }
    }
    im->tensors = lb_alloc_zero(&im->a, n, sizeof *im->tensors);
    im->places = lb_alloc_zero(&im->a, n, sizeof *im->places);
    im->n_tensors = n;
    LB_FAIL_IF(im->tensors == NULL || im->places == NULL, err, LBRT_ERR_MEMORY, "out of memory");
    n = 0;
    for (size_t i = 0; i < im->n_slots; i++) {
        const lb_slot *s = &im->slots[i];
        if (s->place.data != NULL) {
            lb_source_tensor *t = &im->tensors[n];
            lb_import_slot_name(i, t->name, sizeof t->name);
            lb_format(t->type, sizeof t->type, "%s", s->place.type_name);
            t->rows = s->rows;
            t->cols = s->cols;
            import_find_ternary(s, slot_describe(i)->linear, t);
            im->places[n++] = s->place;
        }
    }
    lb_free(&im->a, im->slots, im->n_slots * sizeof *im->slots);
    im->slots = NULL;
    im->n_slots = 0;
    im->source.n_tensors = n;
    im->source.tensors = im->tensors;
    im->source.read_rows = lb_import_read_rows;
    im->source.read_factor = lb_import_read_factor;
    return LBRT_OK;
}

void lb_import_name(lb_hparams *h, const char *path, const char *extension)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') {
        end--;
    }
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') {
        begin--;
    }
    size_t n = extension == NULL ? 0 : strlen(extension);
    if (n > 0 && end - begin > n && memcmp(path + end - n, extension, n) == 0) {
        end -= n;
    }
    lb_utf8_clean(h->name, lb_format(h->name, sizeof h->name, "%.*s", (int)lb_min(end - begin, sizeof h->name - 1), path + begin));
}
