/* What encoding takes and gives while it runs: room for symbols, and the tokens of text that has no token. */
#include "lb_tok_internal.h"

lbrt_status lb_tok_need_symbols(lb_tok_run *run, size_t n)
{
    if (n <= run->symbols_cap) {
        return LBRT_OK;
    }
    const lbrt_allocator *a = &run->t->allocator;
    const size_t cap = lb_max(n, 64);
    lb_tok_symbol *symbols = lb_alloc(a, cap * sizeof *symbols); // n is at most 2^30 + 3: no overflow
    LB_FAIL_IF(!symbols, run->err, LBRT_ERR_MEMORY, "out of memory");
    lb_free(a, run->symbols, run->symbols_cap * sizeof *symbols);
    run->symbols = symbols;
    run->symbols_cap = cap;
    return LBRT_OK;
}

static bool tok_has_byte_tokens(const lb_tokenizer *t)
{
    for (size_t i = 0; i < 256; i++) {
        if (t->byte_token[i] >= 0) {
            return true;
        }
    }
    return false;
}

void lb_tok_emit_bytes(lb_tok_run *run, const char *text, size_t bytes)
{
    const lb_tokenizer *t = run->t;
    bool all = bytes > 0;
    for (size_t i = 0; i < bytes; i++) {
        all = all && t->byte_token[(unsigned char)text[i]] >= 0;
    }
    if (all) {
        for (size_t i = 0; i < bytes; i++) {
            lb_tok_emit(run, t->byte_token[(unsigned char)text[i]]);
        }
        return;
    }
    uint32_t cp;
    if (lb_utf8_decode(text, bytes, &cp) == 1 && cp == LB_UTF8_INVALID) {
        static const unsigned char replacement[3] = { 0xef, 0xbf, 0xbd };
        const int32_t id = lb_tok_find(t, (const char *)replacement, 3);
        const bool spelled = t->byte_token[0xef] >= 0 && t->byte_token[0xbf] >= 0 && t->byte_token[0xbd] >= 0;
        if (id >= 0) {
            lb_tok_emit(run, id);
            return;
        }
        for (size_t i = 0; spelled && i < 3; i++) {
            lb_tok_emit(run, t->byte_token[replacement[i]]);
        }
        if (spelled) {
            return;
        }
    }
    /*
     * BPE with byte fallback over a vocabulary without byte tokens: every byte falls back to the unknown
     * token, as in the reference results that we have for such a model. (Hugging Face's library gives one for
     * the whole run.)
     */
    if (t->unk >= 0 && t->model == LB_TOK_BPE && !tok_has_byte_tokens(t)) {
        for (size_t i = 0; i < bytes; i++) {
            lb_tok_emit(run, t->unk);
        }
        return;
    }
    if (t->unk >= 0 && !run->unknown) {
        lb_tok_emit(run, t->unk);
        run->unknown = true;
    }
}
