/*
 * Encoding and decoding: a text is cut at its special tokens, and what is between them goes to the
 * tokenizer's model.
 */
#include "lb_tok_internal.h"

/* ---------------------------------------------------------------- decoding */

lbrt_status lb_tokenizer_decode(const lb_tokenizer *t, const lbrt_token *ids, size_t n, char *text,
                                size_t cap, size_t *bytes, lbrt_error *err)
{
    size_t total = 0;
    bool strip = (t->flags & LB_TOK_SPACE_PREFIX) != 0;
    *bytes = 0;
    for (size_t i = 0; i < n; i++) {
        const char *piece;
        size_t piece_bytes;
        LB_FAIL_IF(lb_tokenizer_token_text(t, ids[i], false, &piece, &piece_bytes) != LBRT_OK, err,
                   LBRT_ERR_ARGUMENT, "token %d is not in the vocabulary of %u", ids[i], t->n_tokens);
        if (strip && piece_bytes) { // the prefix is the first thing with text
            strip = false;
            if (piece[0] == ' ') {
                piece++;
                piece_bytes--;
            }
        }
        if (total < cap) {
            memcpy(text + total, piece, lb_min(piece_bytes, cap - total));
        }
        LB_FAIL_IF(!lb_add_size(total, piece_bytes, &total), err, LBRT_ERR_ARGUMENT, "the text is too long");
    }
    *bytes = total;
    LB_FAIL_IF(total > cap, err, LBRT_ERR_BUFFER, "the text needs %zu bytes, the buffer has %zu", total, cap);
    return LBRT_OK;
}

/* ---------------------------------------------------------------- encoding */

/* The longest special token at text that may be recognised: its id, or -1. */
static int32_t tok_match_special(const lb_tokenizer *t, const char *text, size_t bytes, bool control)
{
    const unsigned char first = (unsigned char)text[0];
    uint32_t low = t->special_from[first], high = t->special_from[first + 1];
    int32_t found = -1;
    // The list is sorted: all between low and high begin with text[0 .. depth - 1].
    for (uint32_t depth = 1; low < high; depth++) {
        uint32_t n;
        const uint32_t id = lb_tok_special(t, low);
        (void)lb_tok_text(t, id, &n);
        if (n == depth) { // ends here; the others are longer
            if (control || lb_tok_type(t, id) == LB_TOKEN_USER) {
                found = (int32_t)id;
            }
            low++;
        }
        if (depth >= bytes) {
            break;
        }
        const unsigned char want = (unsigned char)text[depth];
        for (int side = 0; side < 2; side++) { // first of those with a byte >= want, then > want
            uint32_t from = low, to = high;
            while (from < to) {
                const uint32_t middle = from + (to - from) / 2;
                const unsigned char c = (unsigned char)lb_tok_text(t, lb_tok_special(t, middle), &n)[depth];
                if (side ? c <= want : c < want) {
                    from = middle + 1;
                } else {
                    to = middle;
                }
            }
            if (side) {
                high = from;
            } else {
                low = from;
            }
        }
    }
    return found;
}

/* Text between special tokens. */
static lbrt_status tok_encode_part(lb_tok_run *run, const char *text, size_t bytes, bool prefix)
{
    if (!bytes) {
        return LBRT_OK;
    }
    const lb_tokenizer *t = run->t;
    if (t->model != LB_TOK_BYTE_BPE) {
        return lb_tok_encode_spm(run, text, bytes, prefix);
    }
    if (!(t->flags & LB_TOK_NFC) || !lb_unicode_needs_nfc(text, bytes)) {
        return lb_tok_encode_byte_bpe(run, text, bytes);
    }
    lb_text nfc = { &t->allocator, NULL, 0, 0 };
    lbrt_status status = LBRT_ERR_MEMORY;
    if (lb_unicode_nfc(text, bytes, &nfc)) {
        status = lb_tok_encode_byte_bpe(run, nfc.data, nfc.bytes);
    } else {
        lb_fail(run->err, status, "out of memory");
    }
    lb_text_free(&nfc);
    return status;
}

static lbrt_status tok_encode_parts(lb_tok_run *run, const char *text, size_t bytes, bool control)
{
    const lb_tokenizer *t = run->t;
    // A user-defined token does not begin a new text in SentencePiece itself.
    const bool user_keeps_prefix = t->model == LB_TOK_SPM && !(t->flags & LB_TOK_PREFIX_BEHIND_USER);
    bool prefix = true;
    size_t start = 0;
    for (size_t i = 0; i < bytes && t->n_specials;) {
        const unsigned char c = (unsigned char)text[i];
        const int32_t id = t->special_from[c] == t->special_from[c + 1]
                               ? -1
                               : tok_match_special(t, text + i, bytes - i, control);
        if (id < 0) {
            i++;
            continue;
        }
        const uint32_t type = lb_tok_type(t, (uint32_t)id);
        size_t end = i;
        if (t->types[id] & LB_TOK_LSTRIP) {
            end -= lb_unicode_space_run(text + start, i - start, true, LB_SPACE_UNICODE);
        }
        if (end > start) {
            LB_TRY(tok_encode_part(run, text + start, end - start, prefix));
        } else if (prefix && type == LB_TOKEN_USER && user_keeps_prefix && (t->flags & LB_TOK_SPACE_PREFIX)) {
            // The space that SentencePiece puts before everything.
            LB_TRY(lb_tok_encode_spm(run, "", 0, true));
        }
        prefix = !(t->flags & LB_TOK_PREFIX_FIRST) && !(type == LB_TOKEN_USER && user_keeps_prefix);
        lb_tok_emit(run, id);
        uint32_t n;
        (void)lb_tok_text(t, (uint32_t)id, &n);
        i += n;
        if (t->types[id] & LB_TOK_RSTRIP) {
            i += lb_unicode_space_run(text + i, bytes - i, false, LB_SPACE_UNICODE);
        }
        start = i;
    }
    return tok_encode_part(run, text + start, bytes - start, prefix);
}

lbrt_status lb_tokenizer_encode(const lb_tokenizer *t, const char *text, size_t bytes, unsigned flags,
                                lbrt_token *out, size_t cap, size_t *n, lbrt_error *err)
{
    *n = 0;
    LB_FAIL_IF(bytes > (size_t)1 << 30, err, LBRT_ERR_UNSUPPORTED, "a text of more than 1 GiB");
    lb_tok_run run = { .t = t, .out = out, .cap = cap, .err = err };
    if ((flags & LBRT_TOKENIZE_BOS) && lb_tokenizer_adds_bos(t)) {
        lb_tok_emit(&run, t->bos);
    }
    const lbrt_status status = tok_encode_parts(&run, text, bytes, (flags & LBRT_TOKENIZE_SPECIAL) != 0);
    lb_free(&t->allocator, run.symbols, run.symbols_cap * sizeof *run.symbols);
    lb_free(&t->allocator, run.heap, run.heap_cap * sizeof *run.heap);
    if (status != LBRT_OK) {
        return status;
    }
    *n = run.n;
    LB_FAIL_IF(run.n > cap, err, LBRT_ERR_BUFFER, "the text has %zu tokens, the buffer has room for %zu",
               run.n, cap);
    return LBRT_OK;
}
