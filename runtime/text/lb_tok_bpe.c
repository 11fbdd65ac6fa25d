/* GPT-2's byte-level BPE: the pieces of the pre-tokenizer, byte by byte, joined by rank. */
#include "lb_tok_internal.h"

static lbrt_status bpe_encode_piece(lb_tok_run *run, const char *text, size_t bytes)
{
    const lb_tokenizer *t = run->t;
    if (bytes == 1 || (t->flags & LB_TOK_IGNORE_MERGES)) {
        const int32_t id = lb_tok_find(t, text, bytes);
        if (id >= 0 && lb_tok_type(t, (uint32_t)id) == LB_TOKEN_NORMAL) {
            lb_tok_emit(run, id);
            return LBRT_OK;
        }
    }
    LB_TRY(lb_tok_need_symbols(run, bytes));
    uint32_t n = (uint32_t)bytes;
    for (uint32_t i = 0; i < n; i++) {
        run->symbols[i].at = i;
        run->symbols[i].bytes = 1;
        run->symbols[i].id = t->byte_token[(unsigned char)text[i]];
    }
    LB_TRY(lb_tok_merge(run, text, &n, 0));
    for (uint32_t i = 0; i < n; i++) {
        const lb_tok_symbol *s = &run->symbols[i];
        if (s->id >= 0) {
            lb_tok_emit(run, s->id);
        } else {
            lb_tok_emit_bytes(run, text + s->at, s->bytes);
        }
    }
    return LBRT_OK;
}

lbrt_status lb_tok_encode_byte_bpe(lb_tok_run *run, const char *text, size_t bytes)
{
    lb_pretok p = lb_pretok_start(run->t->pretokenizer, text, bytes);
    for (size_t n; (n = lb_pretok_next(&p)) > 0; text += n) {
        LB_TRY(bpe_encode_piece(run, text, n));
    }
    return LBRT_OK;
}
