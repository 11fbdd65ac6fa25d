/* The vocabulary of a GGUF file: its tokenizer.ggml.* metadata. */
#include "lb_gguf.h"
#include "lb_import.h"

typedef struct gguf_vocab {
    lb_tokdata_string *tokens, *merges;
    float *scores;
    int32_t *types;
    size_t n_tokens, n_merges;
} gguf_vocab;

static lbrt_status vocab_strings(const lb_gguf *g, const lb_gguf_kv *kv, lb_tokdata_string **out, size_t *n,
                                 lbrt_error *err)
{
    LB_FAIL_IF(kv->type != LB_GGUF_ARRAY || kv->item != LB_GGUF_STRING || kv->n == 0, err, LBRT_ERR_FORMAT,
               "the GGUF file's %.*s is no array of strings", (int)kv->key.bytes, kv->key.text);
    /* Every string has 8 bytes in the file, so n is bounded by its size. */
    *out = lb_alloc_zero(&g->a, (size_t)kv->n, sizeof **out);
    LB_FAIL_IF(*out == NULL, err, LBRT_ERR_MEMORY, "out of memory");
    *n = (size_t)kv->n;
    const unsigned char *at = kv->value;
    for (size_t i = 0; i < *n; i++) {
        lb_gguf_string s = lb_gguf_next_string(&at);
        (*out)[i] = (lb_tokdata_string){ s.text, s.bytes };
    }
    return LBRT_OK;
}

static int64_t vocab_id(const lb_gguf *g, const char *key)
{
    uint64_t v;
    return lb_gguf_uint(lb_gguf_find(g, key), INT32_MAX, &v) ? (int64_t)v : -1;
}

static int vocab_flag(const lb_gguf *g, const char *key)
{
    bool v;
    return lb_gguf_bool(lb_gguf_find(g, key), &v) ? v : -1;
}

static lbrt_status vocab_arrays(const lb_gguf *g, gguf_vocab *v, lbrt_error *err)
{
    LB_TRY(vocab_strings(g, lb_gguf_find(g, "tokenizer.ggml.tokens"), &v->tokens, &v->n_tokens, err));
    const lb_gguf_kv *merges = lb_gguf_find(g, "tokenizer.ggml.merges");
    const lb_gguf_kv *scores = lb_gguf_find(g, "tokenizer.ggml.scores");
    const lb_gguf_kv *types = lb_gguf_find(g, "tokenizer.ggml.token_type");
    if (merges != NULL && merges->n > 0) {
        LB_TRY(vocab_strings(g, merges, &v->merges, &v->n_merges, err));
    }
    if (scores != NULL) {
        LB_FAIL_IF(scores->type != LB_GGUF_ARRAY || scores->item != LB_GGUF_F32 || scores->n != v->n_tokens,
                   err, LBRT_ERR_FORMAT,
                   "the GGUF file's tokenizer.ggml.scores are not one number for each token");
        v->scores = lb_alloc_zero(&g->a, v->n_tokens, sizeof *v->scores);
        LB_FAIL_IF(v->scores == NULL, err, LBRT_ERR_MEMORY, "out of memory");
        for (size_t i = 0; i < v->n_tokens; i++) {
            v->scores[i] = lb_gguf_item_float(scores, i);
        }
    }
    if (types != NULL) {
        LB_FAIL_IF(types->type != LB_GGUF_ARRAY ||
                       (types->item != LB_GGUF_I32 && types->item != LB_GGUF_U32) || types->n != v->n_tokens,
                   err, LBRT_ERR_FORMAT,
                   "the GGUF file's tokenizer.ggml.token_type is not one number for each token");
        v->types = lb_alloc_zero(&g->a, v->n_tokens, sizeof *v->types);
        LB_FAIL_IF(v->types == NULL, err, LBRT_ERR_MEMORY, "out of memory");
        for (size_t i = 0; i < v->n_tokens; i++) {
            int64_t type = lb_gguf_item_int(types, i);
            v->types[i] = type < 0 || type > INT32_MAX ? -1 : (int32_t)type;
        }
    }
    return LBRT_OK;
}

static lb_tokdata_string vocab_text(const lb_gguf *g, const char *key)
{
    lb_gguf_string s;
    return lb_gguf_text(lb_gguf_find(g, key), &s) ? (lb_tokdata_string){ s.text, s.bytes }
                                                  : (lb_tokdata_string){ NULL, 0 };
}

lbrt_status lb_import_gguf_vocabulary(const lb_gguf *g, const lbrt_allocator *a, lb_tokdata **out,
                                      lbrt_error *err)
{
    *out = NULL;
    if (lb_gguf_find(g, "tokenizer.ggml.tokens") == NULL) {
        return LBRT_OK;
    }
    gguf_vocab v = { 0 };
    lbrt_status status = vocab_arrays(g, &v, err);
    if (status == LBRT_OK) {
        lb_tokdata_ggml in = LB_TOKDATA_GGML_INIT;
        in.model = vocab_text(g, "tokenizer.ggml.model");
        in.pre = vocab_text(g, "tokenizer.ggml.pre");
        in.chat_template = vocab_text(g, "tokenizer.chat_template");
        in.tokens = v.tokens;
        in.n_tokens = v.n_tokens;
        in.scores = v.scores;
        in.types = v.types;
        in.merges = v.merges;
        in.n_merges = v.n_merges;
        in.bos = vocab_id(g, "tokenizer.ggml.bos_token_id");
        in.eos = vocab_id(g, "tokenizer.ggml.eos_token_id");
        in.eot = vocab_id(g, "tokenizer.ggml.eot_token_id");
        in.eom = vocab_id(g, "tokenizer.ggml.eom_token_id");
        in.unk = vocab_id(g, "tokenizer.ggml.unknown_token_id");
        in.pad = vocab_id(g, "tokenizer.ggml.padding_token_id");
        in.add_bos = vocab_flag(g, "tokenizer.ggml.add_bos_token");
        in.add_eos = vocab_flag(g, "tokenizer.ggml.add_eos_token");
        in.add_space_prefix = vocab_flag(g, "tokenizer.ggml.add_space_prefix");
        in.remove_extra_whitespaces = vocab_flag(g, "tokenizer.ggml.remove_extra_whitespaces");
        status = lb_tokdata_from_ggml(&in, a, out, err);
    }
    lb_free(&g->a, v.tokens, v.n_tokens * sizeof *v.tokens);
    lb_free(&g->a, v.merges, v.n_merges * sizeof *v.merges);
    lb_free(&g->a, v.scores, v.n_tokens * sizeof *v.scores);
    lb_free(&g->a, v.types, v.n_tokens * sizeof *v.types);
    return status;
}
