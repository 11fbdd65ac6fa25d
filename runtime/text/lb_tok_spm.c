/*
 * Tokenizers over characters whose spaces are U+2581: SentencePiece's BPE (joins by score) and its form in
 * tokenizer.json files (joins by rank, characters without a token fall back to bytes before joining).
 */
#include "lb_tok_internal.h"

static const char spm_space[3] = { (char)0xe2, (char)0x96, (char)0x81 }; // U+2581

/*
 * An UNUSED token is not given out: SentencePiece splits it into the two that joined to it. Those are what
 * its text gives alone if the last join is left out.
 */
static lbrt_status spm_split_unused(lb_tok_run *run, const char *text, uint32_t bytes, int depth);

static lbrt_status spm_emit(lb_tok_run *run, const char *text, uint32_t bytes, int32_t id, int depth)
{
    if (id >= 0 && lb_tok_type(run->t, (uint32_t)id) == LB_TOKEN_UNUSED && depth < 8) {
        return spm_split_unused(run, text, bytes, depth);
    }
    if (id >= 0) {
        lb_tok_emit(run, id);
    } else if (bytes == 1 && text[0] == ' ') {
        lb_tok_emit_bytes(run, spm_space, 3); // a vocabulary without U+2581
    } else {
        lb_tok_emit_bytes(run, text, bytes);
    }
    return LBRT_OK;
}

/* The characters of text as symbols. */
static lbrt_status spm_symbols(lb_tok_run *run, const char *text, size_t bytes, uint32_t *n_symbols)
{
    const lb_tokenizer *t = run->t;
    LB_TRY(lb_tok_need_symbols(run, bytes));
    uint32_t n = 0;
    for (size_t i = 0; i < bytes;) {
        uint32_t cp;
        const size_t length = lb_utf8_decode(text + i, bytes - i, &cp);
        const int32_t id = lb_tok_find(t, text + i, length);
        const bool split =
            id < 0 && t->model == LB_TOK_BPE && length > 1 && t->byte_token[(unsigned char)text[i]] >= 0;
        const size_t step = split ? 1 : length;
        for (size_t k = 0; k < length; k += step) {
            lb_tok_symbol *s = &run->symbols[n++];
            s->at = (uint32_t)(i + k);
            s->bytes = (uint32_t)step;
            s->id = split ? t->byte_token[(unsigned char)text[i + k]] : id;
        }
        i += length;
    }
    *n_symbols = n;
    return LBRT_OK;
}

static lbrt_status spm_split_unused(lb_tok_run *run, const char *text, uint32_t bytes, int depth)
{
    // A run of its own for the scratch: the caller is in the middle of its symbols.
    lb_tok_run inner = *run;
    inner.symbols = NULL;
    inner.symbols_cap = 0;
    inner.heap = NULL;
    inner.heap_cap = 0;
    uint32_t n = 0;
    lbrt_status status = spm_symbols(&inner, text, bytes, &n);
    if (status == LBRT_OK) {
        status = lb_tok_merge(&inner, text, &n, bytes);
    }
    for (uint32_t i = 0; status == LBRT_OK && i < n; i++) {
        const lb_tok_symbol s = inner.symbols[i];
        status = n == 1 ? spm_emit(&inner, text, bytes, -1, depth)
                        : spm_emit(&inner, text + s.at, s.bytes, s.id, depth + 1);
    }
    run->n = inner.n;
    run->unknown = inner.unknown;
    lb_free(&run->t->allocator, inner.symbols, inner.symbols_cap * sizeof *inner.symbols);
    lb_free(&run->t->allocator, inner.heap, inner.heap_cap * sizeof *inner.heap);
    return status;
}

static lbrt_status spm_encode_word(lb_tok_run *run, const char *text, size_t bytes)
{
    uint32_t n;
    LB_TRY(spm_symbols(run, text, bytes, &n));
    LB_TRY(lb_tok_merge(run, text, &n, 0));
    for (uint32_t i = 0; i < n; i++) {
        const lb_tok_symbol *s = &run->symbols[i];
        LB_TRY(spm_emit(run, text + s->at, s->bytes, s->id, 0));
    }
    return LBRT_OK;
}

/*
 * Text with the prefix, U+2581 as spaces and, if wanted, without superfluous spaces. out has room for bytes
 * + 1.
 */
static size_t spm_normalize(const lb_tokenizer *t, const char *text, size_t bytes, bool prefix, char *out)
{
    const bool collapse = (t->flags & LB_TOK_COLLAPSE_SPACES) != 0;
    size_t n = 0;
    bool after_space = collapse; // spaces at the beginning go
    const bool led = bytes > 0 && (text[0] == ' ' || (bytes >= 3 && memcmp(text, spm_space, 3) == 0));
    if (prefix && !(led && (t->flags & LB_TOK_PREFIX_UNLESS_SPACE))) {
        out[n++] = ' ';
    }
    for (size_t i = 0; i < bytes;) {
        char c = text[i++];
        if (c == spm_space[0] && bytes - i >= 2 && text[i] == spm_space[1] && text[i + 1] == spm_space[2]) {
            c = ' ';
            i += 2;
        }
        if (c == ' ' && after_space && collapse) {
            continue;
        }
        after_space = c == ' ';
        out[n++] = c;
    }
    if (collapse && n && out[n - 1] == ' ') {
        n--; // the one at the end; the prefix too if there is nothing else
    }
    return n;
}

lbrt_status lb_tok_encode_spm(lb_tok_run *run, const char *text, size_t bytes, bool prefix)
{
    const lb_tokenizer *t = run->t;
    char *buffer = lb_alloc(&t->allocator, bytes + 1);
    LB_FAIL_IF(!buffer, run->err, LBRT_ERR_MEMORY, "out of memory");
    const size_t n = spm_normalize(t, text, bytes, prefix && (t->flags & LB_TOK_SPACE_PREFIX), buffer);
    lbrt_status status = LBRT_OK;
    for (size_t from = 0, to; status == LBRT_OK && from < n; from = to) {
        to = n;
        if (t->space_leads) { // a word with the spaces before it
            to = from;
            while (to < n && buffer[to] == ' ') {
                to++;
            }
            const char *space = to < n ? memchr(buffer + to, ' ', n - to) : NULL;
            to = space ? (size_t)(space - buffer) : n;
        }
        status = spm_encode_word(run, buffer + from, to - from);
    }
    lb_free(&t->allocator, buffer, bytes + 1);
    return status;
}
