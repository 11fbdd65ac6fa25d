/*
 * llama2.c's tokenizer.bin: u32 length of the longest token, then for each token f32 score, u32 length,
 * text. Spaces are spaces, bytes are spelled <0x0A>, ids 0, 1, 2 are unknown, bos ("\n<s>\n") and eos.
 */
#include "lb_tokdata.h"

static lbrt_status llama2c_tok_read(lb_tokdata *t, const char *p, size_t left, lbrt_error *err)
{
    for (uint32_t id = 0; id < t->n_tokens; id++) {
        LB_FAIL_IF(left < 8, err, LBRT_ERR_FORMAT, "tokenizer.bin: ends before token %u of %u", id,
                   t->n_tokens);
        const float score = lb_load_f32(p);
        const uint32_t n = lb_load_u32(p + 4);
        p += 8;
        left -= 8;
        LB_FAIL_IF(n > left, err, LBRT_ERR_FORMAT, "tokenizer.bin: token %u is cut short", id);
        static const char *const names[3] = { "<unk>", "<s>", "</s>" };
        if (id < 3) {
            LB_TRY(lb_tokdata_set(t, id, names[id], strlen(names[id]), score,
                                  id ? LB_TOKEN_CONTROL : LB_TOKEN_UNKNOWN, err));
        } else {
            const bool byte = n == 6 && memcmp(p, "<0x", 3) == 0 && p[5] == '>';
            LB_TRY(lb_tokdata_set_spm(t, id, p, n, score, byte ? LB_TOKEN_BYTE : LB_TOKEN_NORMAL, err));
        }
        p += n;
        left -= n;
    }
    return LBRT_OK;
}

lbrt_status lb_tokdata_from_llama2c(const void *data, size_t bytes, uint32_t n_vocab, const lbrt_allocator *a,
                                    lb_tokdata **out, lbrt_error *err)
{
    *out = NULL;
    LB_FAIL_IF(bytes < 4 || n_vocab < 3 || (bytes - 4) / 8 < n_vocab, err, LBRT_ERR_FORMAT,
               "tokenizer.bin: too short for %u tokens", n_vocab);
    lb_tokdata *t;
    LB_TRY(lb_tokdata_new(n_vocab, a, &t, err));
    t->model = LB_TOK_SPM;
    t->flags = LB_TOK_ADD_BOS | LB_TOK_SPACE_PREFIX;
    t->unk = 0;
    t->bos = 1;
    t->eos = 2;
    const lbrt_status status = llama2c_tok_read(t, (const char *)data + 4, bytes - 4, err);
    if (status != LBRT_OK) {
        lb_tokdata_free(t);
        return status;
    }
    lb_tokdata_add_end(t, t->eos);
    *out = t;
    return LBRT_OK;
}
