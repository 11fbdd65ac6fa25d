/* From a checked file to plans: which tensors a decoder needs, of which shapes. */
#include "lb_model.h"

#include <math.h>
#include <stdlib.h>

#include "lb_rope.h"

/* What binding needs to know at every step. */
typedef struct lb_binder {
    lbrt_model *m;
    lb_linear_rules rules;
    lb_linear_term *next;
    lb_linear_term *end;
    lb_chain *next_chain;
    lbrt_error *err;
} lb_binder;

static lbrt_status bind_matrix(lb_binder *b, const char *name, size_t rows, size_t cols, lb_linear *out)
{
    const lb_tensor *t = lb_container_find(&b->m->file, name);
    LB_FAIL_IF(!t, b->err, LBRT_ERR_FORMAT, "the file lacks tensor %s", name);
    LB_FAIL_IF(t->rows != rows || t->cols != cols, b->err, LBRT_ERR_FORMAT, "tensor %s is %llu x %llu instead of %zu x %zu",
               name, (unsigned long long)t->rows, (unsigned long long)t->cols, rows, cols);
    LB_FAIL_IF(t->n_terms > (size_t)(b->end - b->next), b->err, LBRT_ERR_FORMAT, "tensor %s is used twice", name);
    LB_TRY(lb_linear_bind(out, t, &b->rules, b->next, b->next_chain, b->err));
    b->next += t->n_terms;
    b->next_chain = out->n_chains ? b->next_chain + out->n_chains : b->next_chain; /* there may be no chains at all */
    for (unsigned i = 0; i < out->n_chains; i++) {
        b->m->mid_stride = lb_max(b->m->mid_stride, lb_chain_stride(&out->chains[i]));
        (void)lb_needs_join(&b->m->mid_needs, &out->chains[i].up.needs);
    }
    return LBRT_OK;
}

/* An optional vector is NULL if the file has none. */
static lbrt_status bind_vector(lb_binder *b, const char *name, size_t n, bool optional, const float **out)
{
    *out = NULL;
    const lb_tensor *t = lb_container_find(&b->m->file, name);
    if (!t && optional) {
        return LBRT_OK;
    }
    LB_FAIL_IF(!t, b->err, LBRT_ERR_FORMAT, "the file lacks tensor %s", name);
    LB_FAIL_IF(t->terms[0].kind != LB_TERM_VECTOR || t->cols != n, b->err, LBRT_ERR_FORMAT, "%s is not a vector of %zu",
               name, n);
    *out = (const float *)(const void *)t->terms[0].parts[0].data;
    return LBRT_OK;
}

enum { NAME_CAP = 64 };

static void layer_name(char out[NAME_CAP], uint32_t layer, const char *what)
{
    lb_format(out, NAME_CAP, "layers.%u.%s", layer, what);
}

/* One of a layer's sizes: the model's, or, where layers differ, what a tensor's rows show, which may be less. */
static lbrt_status layer_size(lb_binder *b, uint32_t i, const char *what, uint32_t width, uint32_t most, uint32_t *out)
{
    *out = most;
    if (!b->m->hparams.unequal) {
        return LBRT_OK;
    }
    char name[NAME_CAP];
    layer_name(name, i, what);
    const lb_tensor *t = lb_container_find(&b->m->file, name);
    LB_FAIL_IF(!t, b->err, LBRT_ERR_FORMAT, "the file lacks tensor %s", name);
    LB_FAIL_IF(t->rows == 0 || t->rows % width != 0 || t->rows / width > most, b->err, LBRT_ERR_FORMAT,
               "tensor %s has %llu rows, in a model of at most %u times %u", name, (unsigned long long)t->rows, most, width);
    *out = (uint32_t)(t->rows / width);
    return LBRT_OK;
}

/* Where widths vary, a layer's are those of its matrices: rows of one, 0 if it is not there; out of range, too. */
static size_t layer_rows(const lb_binder *b, uint32_t layer, const char *what, size_t most)
{
    char name[NAME_CAP];
    layer_name(name, layer, what);
    const lb_tensor *t = lb_container_find(&b->m->file, name);
    return t && t->rows <= most ? (size_t)t->rows : 0;
}

/* The epsilon of a norm over n columns: lb_hparams.h */
static float norm_eps(const lb_hparams *h, size_t n)
{
    return h->norm_width ? h->norm_eps * ((float)h->norm_width / (float)n) : h->norm_eps;
}

/* *dim: the width of the residual stream, before and after the layer */
static lbrt_status bind_layer(lb_binder *b, uint32_t i, size_t *dim)
{
    lbrt_model *m = b->m;
    const lb_hparams *h = &m->hparams;
    lb_layer *l = &m->layers[i];
    enum { MOST_DIM = 1 << 20, MOST_FFN = 1 << 22 };
    const bool varies = h->norm_width > 0;
    const size_t in = *dim, mid = varies ? layer_rows(b, i, "attn_o", MOST_DIM) : in;
    const size_t out = varies ? layer_rows(b, i, "ffn_down", MOST_DIM) : in, ffn = varies || h->unequal ? layer_rows(b, i, "ffn_gate", MOST_FFN) : h->ffn_dim;
    LB_FAIL_IF(mid == 0 || out == 0 || ffn == 0, b->err, LBRT_ERR_FORMAT, "layer %u lacks a matrix, or one has an impossible width", i);
    const bool attn_shortcut = varies && layer_rows(b, i, "attn_shortcut", MOST_DIM), ffn_shortcut = varies && layer_rows(b, i, "ffn_shortcut", MOST_DIM);
    LB_FAIL_IF((!attn_shortcut && mid != in) || (!ffn_shortcut && out != mid), b->err, LBRT_ERR_FORMAT,
               "layer %u changes the width of what passes by it without a shortcut matrix", i);
    m->max_dim = lb_max(m->max_dim, lb_max(mid, out));
    m->max_ffn = lb_max(m->max_ffn, ffn);
    m->shortcuts = m->shortcuts || attn_shortcut || ffn_shortcut;
    l->attn_eps = norm_eps(h, in);
    l->ffn_eps = norm_eps(h, mid);
    *dim = out;
    LB_TRY(layer_size(b, i, "attn_q", h->head_dim, h->n_heads, &l->n_heads));
    LB_TRY(layer_size(b, i, "attn_k", h->head_dim, h->n_kv_heads, &l->k_heads));
    LB_TRY(layer_size(b, i, "attn_v", lb_v_width(h), lb_v_heads(h), &l->v_heads));
    LB_TRY(lb_heads_check(l->n_heads, l->k_heads, l->v_heads, b->err));
    const size_t q_dim = (size_t)l->n_heads * h->head_dim, o_dim = (size_t)l->n_heads * m->v_width;
    const struct {
        const char *name, *bias;
        size_t rows, cols;
        lb_linear *out;
    } matrices[] = {
        { "attn_q", "attn_q_bias", q_dim, in, &l->attn_q },
        { "attn_k", "attn_k_bias", (size_t)l->k_heads * h->head_dim, in, &l->attn_k },
        { "attn_v", "attn_v_bias", (size_t)l->v_heads * m->v_width, in, &l->attn_v },
        { "attn_o", "attn_o_bias", mid, o_dim, &l->attn_o },
        { "ffn_gate", "ffn_gate_bias", ffn, mid, &l->ffn_gate },
        { "ffn_up", "ffn_up_bias", ffn, mid, &l->ffn_up },
        { "ffn_down", "ffn_down_bias", out, ffn, &l->ffn_down },
        { attn_shortcut ? "attn_shortcut" : NULL, NULL, mid, in, &l->attn_shortcut },
        { ffn_shortcut ? "ffn_shortcut" : NULL, NULL, out, mid, &l->ffn_shortcut },
    };
    const struct {
        const char *name;
        size_t n;
        bool optional;
        const float **out;
    } vectors[] = {
        { "attn_norm", in, false, &l->attn_norm },
        { "ffn_norm", mid, false, &l->ffn_norm },
        { "attn_q_norm", h->head_dim, true, &l->attn_q_norm },
        { "attn_k_norm", h->head_dim, true, &l->attn_k_norm },
        { "attn_sub_norm", o_dim, true, &l->attn_sub_norm },
        { "ffn_sub_norm", ffn, true, &l->ffn_sub_norm },
    };
    char name[NAME_CAP];
    for (size_t j = 0; j < sizeof matrices / sizeof matrices[0]; j++) {
        if (!matrices[j].name) {
            continue;
        }
        layer_name(name, i, matrices[j].name);
        LB_TRY(bind_matrix(b, name, matrices[j].rows, matrices[j].cols, matrices[j].out));
        if (!matrices[j].bias) {
            continue;
        }
        layer_name(name, i, matrices[j].bias);
        LB_TRY(bind_vector(b, name, matrices[j].rows, true, &matrices[j].out->bias));
    }
    for (size_t j = 0; j < sizeof vectors / sizeof vectors[0]; j++) {
        layer_name(name, i, vectors[j].name);
        LB_TRY(bind_vector(b, name, vectors[j].n, vectors[j].optional, vectors[j].out));
    }
    bool shared = lb_needs_join(&l->attn_needs, &l->attn_q.needs) && lb_needs_join(&l->attn_needs, &l->attn_k.needs) &&
                  lb_needs_join(&l->attn_needs, &l->attn_v.needs) && lb_needs_join(&l->ffn_needs, &l->ffn_gate.needs) &&
                  lb_needs_join(&l->ffn_needs, &l->ffn_up.needs);
    LB_FAIL_IF(!shared, b->err, LBRT_ERR_UNSUPPORTED, "layer %u rotates one input in two ways", i);
    return LBRT_OK;
}

/* Frequencies must be finite and not absurd: the angles of the last position are reduced in double precision. */
static lbrt_status bind_rope(lb_binder *b)
{
    lbrt_model *m = b->m;
    const float *factors;
    size_t pairs = m->hparams.rope_dim / 2;
    m->rope_frequency = (double *)lb_alloc_zero(&m->allocator, lb_max(pairs, 1), sizeof(double));
    LB_FAIL_IF(!m->rope_frequency, b->err, LBRT_ERR_MEMORY, "out of memory");
    LB_TRY(bind_vector(b, "rope_factors", pairs, true, &factors));
    lb_rope_frequencies(&m->hparams, factors, m->rope_frequency);
    for (size_t i = 0; i < pairs; i++) {
        LB_FAIL_IF(!(fabs(m->rope_frequency[i]) <= LB_ROPE_FASTEST), b->err, LBRT_ERR_FORMAT, "rope_factors are out of range");
    }
    return LBRT_OK;
}

static lbrt_status bind_all(lb_binder *b)
{
    lbrt_model *m = b->m;
    const lb_hparams *h = &m->hparams;
    /* Each matrix of the file is bound once, so its terms are enough for all plans. A layer needs at least nine tensors. */
    LB_FAIL_IF(h->n_layers > m->file.n_tensors / 9, b->err, LBRT_ERR_FORMAT, "%u layers, but only %zu tensors",
               h->n_layers, m->file.n_tensors);
    for (size_t i = 0; i < m->file.n_tensors; i++) {
        m->n_terms += m->file.tensors[i].n_terms;
        for (unsigned j = 0; j < m->file.tensors[i].n_terms; j++) {
            m->n_chains += m->file.tensors[i].terms[j].kind == LB_TERM_CHAIN;
        }
    }
    m->layers = (lb_layer *)lb_alloc_zero(&m->allocator, h->n_layers, sizeof *m->layers);
    m->terms = (lb_linear_term *)lb_alloc_zero(&m->allocator, m->n_terms, sizeof *m->terms);
    m->chains = m->n_chains ? (lb_chain *)lb_alloc_zero(&m->allocator, m->n_chains, sizeof *m->chains) : NULL;
    LB_FAIL_IF(!m->layers || !m->terms || (m->n_chains && !m->chains), b->err, LBRT_ERR_MEMORY, "out of memory");
    b->next = m->terms;
    b->next_chain = m->chains;
    b->end = m->terms + m->n_terms;

    LB_TRY(bind_matrix(b, "tok_embed", h->n_vocab, h->dim, &m->embed));
    LB_FAIL_IF(m->embed.needs.rotated, b->err, LBRT_ERR_UNSUPPORTED, "the embedding cannot have an input transform");
    bool rows = m->embed.n_chains == 0;
    for (unsigned i = 0; i < m->embed.n_terms; i++) {
        rows = rows && m->embed.terms[i].format->unpack;
    }
    LB_FAIL_IF(!rows, b->err, LBRT_ERR_UNSUPPORTED, "the embedding cannot have low-rank or sparse terms");
    size_t dim = h->dim;
    m->max_dim = dim;
    m->max_ffn = h->ffn_dim;
    for (uint32_t i = 0; i < h->n_layers; i++) {
        LB_TRY(bind_layer(b, i, &dim));
    }
    m->out_eps = norm_eps(h, dim);
    LB_TRY(bind_vector(b, "out_norm", dim, false, &m->out_norm));
    m->tied = lb_container_find(&m->file, "out_head") == NULL;
    if (m->tied) {
        LB_FAIL_IF(dim != h->dim, b->err, LBRT_ERR_FORMAT, "the file lacks tensor out_head");
        m->head = m->embed;
    } else {
        LB_TRY(bind_matrix(b, "out_head", h->n_vocab, dim, &m->head));
    }
    return bind_rope(b);
}

/* Which representations a session must have room for. */
static void count_needs(lbrt_model *m)
{
    m->needs = (lb_needs){ .plain = m->head.needs.plain, .rotated = m->head.needs.rotated, .split = m->head.needs.split };
    for (uint32_t i = 0; i < m->hparams.n_layers; i++) {
        const lb_layer *l = &m->layers[i];
        const lb_needs *all[] = { &l->attn_needs, &l->attn_o.needs, &l->ffn_needs, &l->ffn_down.needs, &l->attn_shortcut.needs,
                                 &l->ffn_shortcut.needs };
        for (size_t j = 0; j < sizeof all / sizeof all[0]; j++) {
            m->needs.plain |= all[j]->plain;
            m->needs.rotated |= all[j]->rotated;
            m->needs.split |= all[j]->split;
        }
    }
}

static void count_weights(lbrt_model *m)
{
    for (size_t i = 0; i < m->file.n_tensors; i++) {
        const lb_tensor *t = &m->file.tensors[i];
        m->parameters += t->rows * t->cols;
        for (unsigned j = 0; j < t->n_terms; j++) {
            for (unsigned k = 0; k < t->terms[j].n_parts; k++) {
                m->weight_bytes += t->terms[j].parts[k].bytes;
            }
        }
    }
    /* A token reads everything once, but of an embedding that is not the head too only one row. */
    m->token_bytes = m->weight_bytes;
    if (!m->tied) {
        uint64_t all = lb_linear_bytes(&m->embed);
        m->token_bytes -= all - all / m->embed.rows;
    }
}

void lb_model_bytes_close(lb_model_bytes *from, const lbrt_allocator *a)
{
    lb_map_close(&from->map);
    lb_free(a, from->copy, from->bytes);
    *from = (lb_model_bytes){ .data = NULL };
}

static void log_opened(const lbrt_model *m)
{
    if (m->log) {
        char line[256];
        lb_format(line, sizeof line, "opened %s (%s): %llu bytes of weights%s, kernels %s", m->hparams.name, m->hparams.architecture,
                  (unsigned long long)m->weight_bytes, m->copy ? ", copied into memory" : m->map.data ? ", mapped" : "", m->kernels.isa);
        m->log(m->log_user, line);
    }
}

lbrt_status lb_model_build(const lb_model_bytes *from, const lbrt_model_options *options, lbrt_model **out, lbrt_error *err)
{
    lbrt_allocator a = lb_allocator_or_default(options->allocator);
    lbrt_model *m = (lbrt_model *)lb_alloc_zero(&a, 1, sizeof *m);
    if (!m) {
        lb_model_bytes lost = *from;
        lb_model_bytes_close(&lost, &a);
        return lb_fail(err, LBRT_ERR_MEMORY, "out of memory");
    }
    m->allocator = a;
    m->log = options->log;
    m->log_user = options->log_user;
    m->map = from->map;
    m->copy = from->copy;
    m->copy_bytes = from->copy ? from->bytes : 0;
    m->share = lb_lock_make(&a);
    const char *isa = options->isa ? options->isa : getenv("LBRT_ISA");
    isa = isa && isa[0] ? isa : NULL;
    lbrt_status s = m->share ? LBRT_OK : lb_fail(err, LBRT_ERR_MEMORY, "out of memory");
    if (s == LBRT_OK && !lb_kernels_get(&m->kernels, isa)) {
        s = lb_fail(err, LBRT_ERR_UNSUPPORTED, "instruction-set level '%s' is unknown, or this CPU lacks it", isa ? isa : "");
    }
    s = s == LBRT_OK ? lb_container_open(&m->file, from->data, from->bytes, &a, err) : s;
    s = s == LBRT_OK && options->verify ? lb_container_verify(&m->file, options->progress, options->progress_user, err) : s;
    char kind[8];
    if (s == LBRT_OK && lb_meta_string(&m->file, "adapter", kind, sizeof kind)) {
        s = lb_fail(err, LBRT_ERR_FORMAT, "the file is an adapter, not a model");
    }
    s = s == LBRT_OK ? lb_hparams_read(&m->file, &m->hparams, err) : s;
    if (s == LBRT_OK) {
        const lb_hparams *h = &m->hparams;
        m->v_width = lb_v_width(h);
        m->q_dim = (size_t)h->n_heads * h->head_dim;
        m->k_dim = (size_t)h->n_kv_heads * h->head_dim;
        m->v_dim = lb_v_heads(h) * m->v_width;
        m->o_dim = h->n_heads * m->v_width;
        s = bind_all(&(lb_binder){ .m = m, .rules = { &m->kernels, options->outlier_threshold, options->byte_tables }, .err = err });
    }
    if (s == LBRT_OK && m->file.tokenizer.data) {
        s = lb_tokenizer_open(m->file.tokenizer.data, m->file.tokenizer.bytes, &a, &m->tokenizer, err);
        if (s == LBRT_OK && lb_tokenizer_count(m->tokenizer) > m->hparams.n_vocab) {
            s = lb_fail(err, LBRT_ERR_FORMAT, "the tokenizer has %u tokens, the model %u",
                        lb_tokenizer_count(m->tokenizer), m->hparams.n_vocab);
        }
    }
    if (s != LBRT_OK) {
        lbrt_model_close(m);
        return s;
    }
    count_weights(m);
    count_needs(m);
    log_opened(m);
    *out = m;
    return LBRT_OK;
}

void lbrt_model_close(lbrt_model *m)
{
    if (!m) {
        return;
    }
    lbrt_allocator a = m->allocator;
    lb_tokenizer_close(m->tokenizer);
    lb_free(&a, m->rope_frequency, lb_max(m->hparams.rope_dim / 2, 1) * sizeof(double));
    lb_free(&a, m->layers, m->hparams.n_layers * sizeof *m->layers);
    lb_free(&a, m->terms, m->n_terms * sizeof *m->terms);
    lb_free(&a, m->chains, m->n_chains * sizeof *m->chains);
    lb_lock_free(&a, m->share);
    lb_container_close(&m->file);
    lb_map_close(&m->map);
    lb_free(&a, m->copy, m->copy_bytes);
    lb_free(&a, m, sizeof *m);
}
