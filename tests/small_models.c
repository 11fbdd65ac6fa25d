#include "small_models.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb_test.h"

typedef struct sm_made {
    lb_source source;
    lb_source_tensor tensors[40];
} sm_made;

static const char sm_chat[] = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
                              "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
                              "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

static uint64_t sm_mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

/* Matrices: about standard deviation 1 / sqrt(cols); norms around 1, biases small. */
static lbrt_status sm_rows(const lb_source *s, size_t i, uint64_t row, uint64_t n, float *out,
                           lbrt_error *err)
{
    (void)err;
    const lb_source_tensor *t = &s->tensors[i];
    const bool vector = lb_convert_is_vector(t->name), bias = strstr(t->name, "_bias") != NULL;
    const float unit = 3.0f / sqrtf((float)t->cols);
    for (uint64_t j = row * t->cols; j < (row + n) * t->cols; j++) {
        float u = (float)(sm_mix(sm_mix(i + 1) + j) >> 40) * 0x1p-24f - 0.5f;
        *out++ = !vector ? u * unit : bias ? 0.2f * u : 1.0f + 0.5f * u;
    }
    return LBRT_OK;
}

static void sm_close(lb_source *s)
{
    lb_tokdata_free(s->tokens);
    free(s);
}

static void sm_add(sm_made *m, int layer, const char *name, uint64_t rows, uint64_t cols)
{
    lb_source_tensor *t = &m->tensors[m->source.n_tensors++];
    *t = (lb_source_tensor){ .rows = rows, .cols = cols };
    if (layer < 0) {
        lb_format(t->name, sizeof t->name, "%s", name);
    } else {
        lb_format(t->name, sizeof t->name, "layers.%d.%s", layer, name);
    }
    lb_format(t->type, sizeof t->type, "f32");
}

static lbrt_status sm_tokenizer(lb_source *s)
{
    static const char *const words[] = { " ",  "e", "t",  " t",  "h",    "he", " the", "a",
                                         " a", "n", "an", "nd",  " and", "i",  "in",   "o",
                                         "on", "s", "is", " is", "r",    "re", "l",    "d" };
    enum {
        FIRST_WORD = 3 + 256,
        N_WORDS = sizeof words / sizeof words[0],
        FIRST_CHAT = FIRST_WORD + N_WORDS
    };
    lbrt_allocator a = lb_allocator_or_default(NULL);
    LB_TRY(lb_tokdata_new(FIRST_CHAT + 2, &a, &s->tokens, NULL));
    lb_tokdata *t = s->tokens;
    t->model = LB_TOK_SPM;
    t->flags = LB_TOK_ADD_BOS | LB_TOK_SPACE_PREFIX;
    t->unk = 0;
    t->bos = 1;
    t->eos = 2;
    LB_TRY(lb_tokdata_set(t, 0, "<unk>", 5, 0, LB_TOKEN_UNKNOWN, NULL));
    LB_TRY(lb_tokdata_set(t, 1, "<s>", 3, 0, LB_TOKEN_CONTROL, NULL));
    LB_TRY(lb_tokdata_set(t, 2, "</s>", 4, 0, LB_TOKEN_CONTROL, NULL));
    for (uint32_t i = 0; i < 256; i++) {
        const char byte = (char)(unsigned char)i;
        LB_TRY(lb_tokdata_set(t, 3 + i, &byte, 1, 0, LB_TOKEN_BYTE, NULL));
    }
    for (uint32_t i = 0; i < N_WORDS; i++) {
        LB_TRY(
            lb_tokdata_set(t, FIRST_WORD + i, words[i], strlen(words[i]), -(float)i, LB_TOKEN_NORMAL, NULL));
    }
    LB_TRY(lb_tokdata_set(t, FIRST_CHAT, "<|im_start|>", 12, 0, LB_TOKEN_CONTROL, NULL));
    LB_TRY(lb_tokdata_set(t, FIRST_CHAT + 1, "<|im_end|>", 10, 0, LB_TOKEN_CONTROL, NULL));
    lb_tokdata_add_end(t, FIRST_CHAT + 1);
    t->chat_template = (char *)lb_alloc(&t->allocator, sizeof sm_chat);
    if (!t->chat_template) {
        return LBRT_ERR_MEMORY;
    }
    memcpy(t->chat_template, sm_chat, sizeof sm_chat);
    return LBRT_OK;
}

static void sm_layer(sm_made *m, int i, bool bits)
{
    const lb_hparams *h = &m->source.hparams;
    const uint64_t q = (uint64_t)h->n_heads * h->head_dim, kv = (uint64_t)h->n_kv_heads * h->head_dim;
    sm_add(m, i, "attn_norm", 1, h->dim);
    sm_add(m, i, "attn_q", q, h->dim);
    sm_add(m, i, "attn_k", kv, h->dim);
    sm_add(m, i, "attn_v", kv, h->dim);
    sm_add(m, i, "attn_o", h->dim, q);
    sm_add(m, i, "ffn_norm", 1, h->dim);
    sm_add(m, i, "ffn_gate", h->ffn_dim, h->dim);
    sm_add(m, i, "ffn_up", h->ffn_dim, h->dim);
    sm_add(m, i, "ffn_down", h->dim, h->ffn_dim);
    if (bits) {
        sm_add(m, i, "attn_sub_norm", 1, q);
        sm_add(m, i, "ffn_sub_norm", 1, h->ffn_dim);
    } else {
        sm_add(m, i, "attn_q_norm", 1, h->head_dim);
        sm_add(m, i, "attn_k_norm", 1, h->head_dim);
        sm_add(m, i, "attn_q_bias", 1, q);
        sm_add(m, i, "attn_k_bias", 1, kv);
        sm_add(m, i, "attn_v_bias", 1, kv);
        sm_add(m, i, "ffn_down_bias", 1, h->dim);
    }
}

lb_source *sm_source(const char *shape)
{
    lbrt_allocator a = lb_allocator_or_default(NULL);
    lbrt_error err = { LBRT_OK, "" };
    lb_source *out = NULL;
    const bool bits = strcmp(shape, "bits") == 0;
    if (!bits && strcmp(shape, "micro") != 0) {
        LB_CHECK(lb_source_open_synth(shape, &a, &out, &err) == LBRT_OK, "%s: %s", shape, err.text);
        return out;
    }
    sm_made *m = calloc(1, sizeof *m);
    if (!LB_CHECK(m != NULL, "out of memory")) {
        return NULL;
    }
    lb_hparams *h = &m->source.hparams;
    *h = (lb_hparams){ .n_vocab = 288,
                       .n_layers = 2,
                       .dim = 40,
                       .n_heads = 4,
                       .n_kv_heads = 2,
                       .head_dim = 10,
                       .ffn_dim = 72,
                       .n_context = 1000,
                       .norm_eps = 1e-5f,
                       .rope_dim = 8,
                       .rope_theta = 1e4f };
    if (bits) {
        h->n_layers = 1;
        h->dim = h->ffn_dim = 64;
        h->n_heads = 6;
        h->n_kv_heads = 1;
        h->head_dim = h->rope_dim = 16;
        h->activation = LB_ACT_RELU2;
        h->rope_interleaved = true;
        h->rope_scaling = LB_ROPE_LLAMA3;
        h->rope_factor = 8;
        h->rope_low_freq = 1;
        h->rope_high_freq = 4;
        h->rope_original_context = 64;
    }
    lb_format(h->name, sizeof h->name, "%s", shape);
    lb_format(h->architecture, sizeof h->architecture, "llama");
    m->source.tensors = m->tensors;
    m->source.read_rows = sm_rows;
    m->source.close = sm_close;
    sm_add(m, -1, "tok_embed", h->n_vocab, h->dim);
    for (uint32_t i = 0; i < h->n_layers; i++) {
        sm_layer(m, (int)i, bits);
    }
    sm_add(m, -1, "out_norm", 1, h->dim);
    if (!bits) {
        sm_add(m, -1, "out_head", h->n_vocab, h->dim);
        LB_CHECK(sm_tokenizer(&m->source) == LBRT_OK, "the tokenizer of %s", shape);
    }
    return &m->source;
}

const char *sm_file(const char *shape, const char *format)
{
    static struct {
        char shape[16], format[16], path[256];
    } made[128];
    size_t i = 0;
    for (; made[i].shape[0]; i++) {
        if (strcmp(made[i].shape, shape) == 0 && strcmp(made[i].format, format) == 0) {
            return made[i].path;
        }
    }
    char name[64];
    lb_format(name, sizeof name, "small-%s-%s.lbrt", shape, format);
    lb_source *source = sm_source(shape);
    if (!source || !LB_CHECK(i + 1 < sizeof made / sizeof made[0], "too many small models")) {
        return NULL;
    }
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lbrt_error err = { LBRT_OK, "" };
    const lb_wformat_info *info = lb_wformat_named(format);
    const lb_convert_options options = { .format = info ? info->id : LB_W_NONE, .threads = 1 };
    lb_format(made[i].path, sizeof made[i].path, "%s", lb_test_temp(name));
    lbrt_status s = lb_convert(source, made[i].path, &options, &a, &err);
    source->close(source);
    if (!LB_CHECK(s == LBRT_OK, "%s as %s: %s", shape, format, err.text)) {
        return NULL;
    }
    lb_format(made[i].shape, sizeof made[i].shape, "%s", shape);
    lb_format(made[i].format, sizeof made[i].format, "%s", format);
    return made[i].path;
}

unsigned char *sm_load(const char *path, size_t *bytes)
{
    *bytes = 0;
    char *data = lb_test_read(path, bytes);
    void *aligned = NULL;
    if (!LB_CHECK(data && posix_memalign(&aligned, 64, *bytes ? *bytes : 1) == 0, "cannot read %s",
                  path ? path : "(none)")) {
        free(data);
        return NULL;
    }
    memcpy(aligned, data, *bytes);
    free(data);
    return (unsigned char *)aligned;
}

lbrt_model *sm_model(const char *shape, const char *format, const char *isa)
{
    const char *path = sm_file(shape, format);
    lbrt_model_options o = LBRT_MODEL_OPTIONS_INIT;
    o.isa = isa;
    lbrt_model *m = NULL;
    lbrt_error err = { LBRT_OK, "" };
    if (path) {
        LB_CHECK(lbrt_model_open(path, &o, &m, &err) == LBRT_OK, "%s as %s: %s", shape, format, err.text);
    }
    return m;
}

void sm_tokens(lbrt_token *out, size_t n, uint32_t n_vocab, uint32_t salt)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (lbrt_token)(sm_mix((uint64_t)salt << 32 | (i + 1)) % n_vocab);
    }
}

bool sm_logits(const char *path, const char *isa, uint32_t batch, uint32_t threads, size_t n, float *out)
{
    lbrt_model_options mo = LBRT_MODEL_OPTIONS_INIT;
    mo.isa = isa;
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = SM_MAX_LOGITS;
    o.n_batch = batch;
    o.n_threads = threads;
    o.n_logits = (uint32_t)n;
    lbrt_model *m = NULL;
    lbrt_session *s = NULL;
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_token ids[SM_MAX_LOGITS];
    bool ok = LB_CHECK(path && lbrt_model_open(path, &mo, &m, &err) == LBRT_OK && lbrt_session_create(m, &o, &s, &err) == LBRT_OK, "%s", err.text) &&
              LB_CHECK(lbrt_model_describe(m, &info) == LBRT_OK, "no description");
    if (ok) {
        sm_tokens(ids, n, info.n_vocab, 9);
        ok = LB_CHECK(lbrt_feed(s, ids, n) == LBRT_OK, "%s", lbrt_session_error(s));
    }
    for (size_t i = 0; i < n && info.n_vocab; i++) {
        float *row = out + i * info.n_vocab;
        if (ok) {
            memcpy(row, lbrt_logits(s, i), info.n_vocab * sizeof *row);
        } else {
            memset(row, 0, info.n_vocab * sizeof *row);
        }
    }
    lbrt_session_free(s);
    lbrt_model_close(m);
    return ok;
}
