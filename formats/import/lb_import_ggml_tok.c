/* Tokenizers from the tokenizer.ggml.* metadata of GGUF files. */
#include "lb_tokdata.h"

static bool ggml_tok_is(lb_tokdata_string s, const char *text)
{
    return s.text && s.bytes == strlen(text) && memcmp(s.text, text, s.bytes) == 0;
}

/* An id as the file has it: none if it is absent or all ones. */
static lbrt_status ggml_tok_id(const lb_tokdata *t, int64_t id, const char *what, int32_t *out,
                               lbrt_error *err)
{
    *out = -1;
    if (id == -1 || id == 0xffffffff) {
        return LBRT_OK;
    }
    LB_FAIL_IF(id < 0 || id >= t->n_tokens, err, LBRT_ERR_FORMAT,
               "tokenizer: the %s token is not in the vocabulary", what);
    *out = (int32_t)id;
    return LBRT_OK;
}

static lbrt_status ggml_tok_fill(lb_tokdata *t, const lb_tokdata_ggml *in, lbrt_error *err)
{
    LB_TRY(ggml_tok_id(t, in->bos, "bos", &t->bos, err));
    LB_TRY(ggml_tok_id(t, in->eos, "eos", &t->eos, err));
    LB_TRY(ggml_tok_id(t, in->unk, "unknown", &t->unk, err));
    LB_TRY(ggml_tok_id(t, in->pad, "padding", &t->pad, err));
    if (t->model == LB_TOK_SPM && t->n_tokens > 2) { // what llama.cpp takes if the file does not say
        t->bos = t->bos < 0 ? 1 : t->bos;
        t->eos = t->eos < 0 ? 2 : t->eos;
        t->unk = t->unk < 0 ? 0 : t->unk;
    }
    int32_t eot, eom;
    LB_TRY(ggml_tok_id(t, in->eot, "eot", &eot, err));
    LB_TRY(ggml_tok_id(t, in->eom, "eom", &eom, err));
    bool add_bos = t->model == LB_TOK_SPM; // what llama.cpp takes if the file does not say
    if (t->model == LB_TOK_SPM) {
        LB_FAIL_IF(!in->scores, err, LBRT_ERR_FORMAT, "tokenizer: a SentencePiece vocabulary without scores");
        if (in->add_space_prefix != 0) {
            t->flags |= LB_TOK_SPACE_PREFIX | LB_TOK_PREFIX_BEHIND_USER;
        }
        if (in->remove_extra_whitespaces == 1) {
            t->flags |= LB_TOK_COLLAPSE_SPACES;
        }
    } else {
        LB_FAIL_IF(!in->pre.text, err, LBRT_ERR_UNSUPPORTED,
                   "tokenizer: the file does not name its pre-tokenizer");
        LB_TRY(lb_tokdata_pretokenizer_named(in->pre.text, in->pre.bytes, &t->pretokenizer, &t->flags, err));
        add_bos = (t->flags & LB_TOK_IGNORE_MERGES) != 0; // the Llama 3 family
        if (in->add_space_prefix == 1) {
            return lb_fail(err, LBRT_ERR_UNSUPPORTED,
                           "tokenizer: a byte-level vocabulary with a space prefix");
        }
    }
    if (in->add_bos >= 0 ? in->add_bos : add_bos) {
        t->flags |= LB_TOK_ADD_BOS;
    }
    if (in->add_eos == 1) {
        t->flags |= LB_TOK_ADD_EOS;
    }
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        int32_t type = in->types ? in->types[i] : LB_TOKEN_NORMAL;
        if (!in->types && ((int32_t)i == t->bos || (int32_t)i == t->eos || (int32_t)i == t->pad)) {
            type = LB_TOKEN_CONTROL;
        } else if (!in->types && (int32_t)i == t->unk) {
            type = LB_TOKEN_UNKNOWN;
        } else if (type == 0) { // "undefined"
            type = LB_TOKEN_NORMAL;
        }
        LB_FAIL_IF(type < LB_TOKEN_NORMAL || type > LB_TOKEN_BYTE, err, LBRT_ERR_FORMAT,
                   "tokenizer: token %u has type %d", i, type);
        type = type == LB_TOKEN_UNKNOWN ? LB_TOKEN_CONTROL : type; // found in texts as any other; t->unk says which it is
        const lb_tokdata_string s = in->tokens[i];
        if (t->model == LB_TOK_SPM) {
            LB_TRY(lb_tokdata_set_spm(t, i, s.text, s.bytes, in->scores[i], (lb_token_type)type, err));
        } else {
            LB_TRY(lb_tokdata_set_byte_level(t, i, s.text, s.bytes, (lb_token_type)type, err));
        }
    }
    if (t->model == LB_TOK_BYTE_BPE) {
        LB_TRY(lb_tokdata_resolve_merges(t, in->merges, NULL, in->n_merges, LB_SPELL_BYTE_LEVEL, err));
    }
    lb_tokdata_add_end(t, t->eos);
    lb_tokdata_add_end(t, eot);
    lb_tokdata_add_end(t, eom);
    lb_tokdata_add_usual_ends(t);
    return lb_tokdata_set_template(t, in->chat_template.text, in->chat_template.bytes, err);
}

lbrt_status lb_tokdata_from_ggml(const lb_tokdata_ggml *in, const lbrt_allocator *a, lb_tokdata **out,
                                 lbrt_error *err)
{
    *out = NULL;
    const bool spm = ggml_tok_is(in->model, "llama");
    LB_FAIL_IF(!spm && !ggml_tok_is(in->model, "gpt2"), err, LBRT_ERR_UNSUPPORTED,
               "tokenizer model '%.*s' is not supported", (int)lb_min(in->model.bytes, 60),
               in->model.text ? in->model.text : "");
    LB_FAIL_IF(in->n_tokens > 1u << 24, err, LBRT_ERR_FORMAT, "a vocabulary of %zu tokens", in->n_tokens);
    lb_tokdata *t;
    LB_TRY(lb_tokdata_new((uint32_t)in->n_tokens, a, &t, err));
    t->model = spm ? LB_TOK_SPM : LB_TOK_BYTE_BPE;
    const lbrt_status status = ggml_tok_fill(t, in, err);
    if (status != LBRT_OK) {
        lb_tokdata_free(t);
        return status;
    }
    *out = t;
    return LBRT_OK;
}
