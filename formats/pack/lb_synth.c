/* Random weights at the shapes of published models: for measuring speed where the weights themselves cannot be had. */
#include "lb_convert.h"

#include <math.h>

typedef struct lb_synth_model {
    const char *name;
    uint32_t n_vocab, n_layers, dim, n_heads, n_kv_heads, head_dim, ffn_dim, n_context;
    float theta;
    bool tied, bias, bitnet;
} lb_synth_model;

static const lb_synth_model synth_models[] = {
    { "tinyllama-1.1b", 32000, 22, 2048, 32, 4, 64, 5632, 2048, 1e4f, false, false, false },
    { "llama3.2-1b", 128256, 16, 2048, 32, 8, 64, 8192, 131072, 5e5f, true, false, false },
    { "llama3.2-3b", 128256, 28, 3072, 24, 8, 128, 8192, 131072, 5e5f, true, false, false },
    { "llama2-7b", 32000, 32, 4096, 32, 32, 128, 11008, 4096, 1e4f, false, false, false },
    { "llama3.1-8b", 128256, 32, 4096, 32, 8, 128, 14336, 131072, 5e5f, false, false, false },
    { "qwen2.5-0.5b", 151936, 24, 896, 14, 2, 64, 4864, 32768, 1e6f, true, true, false },
    { "qwen2.5-1.5b", 151936, 28, 1536, 12, 2, 128, 8960, 32768, 1e6f, true, true, false },
    { "smollm-135m", 49152, 30, 576, 9, 3, 64, 1536, 2048, 1e4f, true, false, false },
    { "bitnet-2b", 128256, 30, 2560, 20, 5, 128, 6912, 4096, 5e5f, true, false, true },
    { "tiny", 512, 3, 128, 4, 2, 32, 352, 512, 1e4f, false, true, false },
};

const char *lb_synth_shape(size_t i)
{
    return i < sizeof synth_models / sizeof synth_models[0] ? synth_models[i].name : NULL;
}

typedef struct lb_synth {
    lb_source source;
    lbrt_allocator a;
    size_t cap;
    lb_source_tensor tensors[];
} lb_synth;

static uint64_t synth_mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

/*
 * Weight (row, column) of tensor i: the sum of four 16-bit uniform numbers, near enough to a Gaussian of standard deviation
 * 1 / sqrt(cols), so that activations keep their size through the layers. Ternary models draw from {-1, 0, 1}.
 */
static lbrt_status synth_rows(const lb_source *s, size_t i, uint64_t row, uint64_t n, float *out, lbrt_error *err)
{
    (void)err;
    const lb_source_tensor *t = &s->tensors[i];
    if (lb_convert_is_vector(t->name)) {
        bool bias = strstr(t->name, "_bias") != NULL;
        for (uint64_t c = 0; c < t->cols; c++) {
            out[c] = bias ? (float)((int)(synth_mix(c + i) % 201) - 100) * 0.001f : 1.0f;
        }
        return LBRT_OK;
    }
    const float unit = sqrtf(3.0f / (float)t->cols) / 65536.0f;
    for (uint64_t r = row; r < row + n; r++) {
        uint64_t base = synth_mix(i * 0x9e3779b97f4a7c15ull + r);
        for (uint64_t c = 0; c < t->cols; c++) {
            uint64_t z = synth_mix(base + c * 0x9e3779b97f4a7c15ull);
            if (t->ternary) {
                out[(r - row) * t->cols + c] = (float)((int)(z % 3) - 1) * t->ternary_scale;
            } else {
                int sum = (int)(z & 0xffff) + (int)(z >> 16 & 0xffff) + (int)(z >> 32 & 0xffff) + (int)(z >> 48) - 131070;
                out[(r - row) * t->cols + c] = (float)sum * unit;
            }
        }
    }
    return LBRT_OK;
}

static void synth_close(lb_source *s)
{
    lb_synth *y = (lb_synth *)(void *)s;
    lbrt_allocator a = y->a;
    lb_free(&a, y, sizeof *y + y->cap * sizeof y->tensors[0]);
}

static void synth_add(lb_synth *y, const char *prefix, const char *name, uint64_t rows, uint64_t cols, bool ternary)
{
    lb_source_tensor *t = &y->tensors[y->source.n_tensors++];
    *t = (lb_source_tensor){ .rows = rows, .cols = cols, .ternary = ternary };
    lb_format(t->name, sizeof t->name, "%s%s", prefix, name);
    lb_format(t->type, sizeof t->type, "random");
    t->ternary_scale = ternary ? sqrtf(1.5f / (float)cols) : 0.0f;
}

static void synth_layer(lb_synth *y, const lb_synth_model *m, uint32_t i)
{
    char p[32];
    const uint64_t q = (uint64_t)m->n_heads * m->head_dim, kv = (uint64_t)m->n_kv_heads * m->head_dim;
    lb_format(p, sizeof p, "layers.%u.", i);
    synth_add(y, p, "attn_norm", 1, m->dim, false);
    synth_add(y, p, "attn_q", q, m->dim, m->bitnet);
    synth_add(y, p, "attn_k", kv, m->dim, m->bitnet);
    synth_add(y, p, "attn_v", kv, m->dim, m->bitnet);
    synth_add(y, p, "attn_o", m->dim, q, m->bitnet);
    synth_add(y, p, "ffn_norm", 1, m->dim, false);
    synth_add(y, p, "ffn_gate", m->ffn_dim, m->dim, m->bitnet);
    synth_add(y, p, "ffn_up", m->ffn_dim, m->dim, m->bitnet);
    synth_add(y, p, "ffn_down", m->dim, m->ffn_dim, m->bitnet);
    if (m->bias) {
        synth_add(y, p, "attn_q_bias", 1, q, false);
        synth_add(y, p, "attn_k_bias", 1, kv, false);
        synth_add(y, p, "attn_v_bias", 1, kv, false);
    }
    if (m->bitnet) {
        synth_add(y, p, "attn_sub_norm", 1, q, false);
        synth_add(y, p, "ffn_sub_norm", 1, m->ffn_dim, false);
    }
}

lbrt_status lb_source_open_synth(const char *shape, const lbrt_allocator *a, lb_source **out, lbrt_error *err)
{
    *out = NULL;
    const lb_synth_model *m = NULL;
    for (size_t i = 0; i < sizeof synth_models / sizeof synth_models[0]; i++) {
        if (strcmp(synth_models[i].name, shape) == 0) {
            m = &synth_models[i];
        }
    }
    LB_FAIL_IF(!m, err, LBRT_ERR_ARGUMENT, "no shape is named %s", shape);
    size_t cap = 3 + (size_t)m->n_layers * 14;
    lb_synth *y = (lb_synth *)lb_alloc_zero(a, 1, sizeof *y + cap * sizeof y->tensors[0]);
    LB_FAIL_IF(!y, err, LBRT_ERR_MEMORY, "out of memory");
    y->a = *a;
    y->cap = cap;
    lb_hparams *h = &y->source.hparams;
    *h = (lb_hparams){ .n_vocab = m->n_vocab, .n_layers = m->n_layers, .dim = m->dim, .n_heads = m->n_heads,
                       .n_kv_heads = m->n_kv_heads, .head_dim = m->head_dim, .ffn_dim = m->ffn_dim,
                       .n_context = m->n_context, .norm_eps = 1e-5f, .rope_dim = m->head_dim, .rope_theta = m->theta,
                       .activation = m->bitnet ? LB_ACT_RELU2 : LB_ACT_SILU };
    lb_format(h->name, sizeof h->name, "synthetic %s", m->name);
    lb_format(h->architecture, sizeof h->architecture, "%s", m->bitnet ? "bitnet" : "llama");
    y->source.tensors = y->tensors;
    y->source.read_rows = synth_rows;
    y->source.close = synth_close;
    synth_add(y, "", "tok_embed", m->n_vocab, m->dim, false);
    for (uint32_t i = 0; i < m->n_layers; i++) {
        synth_layer(y, m, i);
    }
    synth_add(y, "", "out_norm", 1, m->dim, false);
    if (!m->tied) {
        synth_add(y, "", "out_head", m->n_vocab, m->dim, false);
    }
    *out = &y->source;
    return LBRT_OK;
}
