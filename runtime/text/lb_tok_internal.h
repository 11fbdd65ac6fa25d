/*
 * What the files that encode share. Each uses only those before it: the open section (lb_tok_section.c), the
 * pre-tokenizers, a run's symbols and tokens (lb_tok_run.c), joining (lb_tok_merge.c), the models
 * (lb_tok_spm.c, lb_tok_bpe.c), the whole (lb_tokenizer.c).
 */
#ifndef LB_TOK_INTERNAL_H
#define LB_TOK_INTERNAL_H

#include "lb_tok_section.h"
#include "lb_unicode.h"

/* ---- pre-tokenizers (lb_pretok.c) ---- */

typedef struct lb_pretok {
    lb_pretokenizer kind;
    const char *at, *end;
    /* DeepSeek: ends of the parts that `at` is in; where the white space at its end begins. SmolLM: `stop` is the next number */
    const char *outer, *stop, *tail;
} lb_pretok;

static inline lb_pretok lb_pretok_start(lb_pretokenizer kind, const char *text, size_t bytes)
{
    const lb_pretok p = { kind, text, text + bytes, text, text, text };
    return p;
}

/* The bytes of the next piece, which begins at p->at and moves it; 0 at the end. */
size_t lb_pretok_next(lb_pretok *p);

/* ---- one call of lb_tokenizer_encode (lb_tok_run.c) ---- */

/* A piece of the text while it is being merged. */
typedef struct lb_tok_symbol {
    uint32_t at, bytes;  /* of the text given; bytes 0: joined to the symbol before */
    int32_t id;          /* -1: no token */
    uint32_t prev, next; /* neighbours that are alive; UINT32_MAX: none */
} lb_tok_symbol;

typedef struct lb_tok_candidate {
    uint64_t key; /* rank << 32 | index of the left symbol */
    uint32_t right;
    uint32_t bytes; /* of both symbols when the candidate was made: it is stale if that changed */
    int32_t id;
} lb_tok_candidate;

typedef struct lb_tok_run {
    const lb_tokenizer *t;
    lbrt_token *out;
    size_t cap, n;
    lbrt_error *err;
    lb_tok_symbol *symbols; /* scratch, kept between the pieces of a text */
    size_t symbols_cap;
    lb_tok_candidate *heap;
    size_t heap_cap;
    bool unknown; /* the last token was unk, for what could not be encoded: further such text joins it */
} lb_tok_run;

static inline void lb_tok_emit(lb_tok_run *run, int32_t id)
{
    if (run->n < run->cap) {
        run->out[run->n] = id;
    }
    run->n++;
    run->unknown = false;
}

/* Emits text that has no token: as bytes, as U+FFFD, as the unknown token, or not at all. */
void lb_tok_emit_bytes(lb_tok_run *run, const char *text, size_t bytes);

/* Makes room for n symbols in run->symbols. */
lbrt_status lb_tok_need_symbols(lb_tok_run *run, size_t n);

/* ---- joining (lb_tok_merge.c) and the models (lb_tok_spm.c, lb_tok_bpe.c) ---- */

/*
 * Joins the n symbols of run->symbols (at, bytes, id are set) as long as neighbours join, best rank first;
 * what is left is compacted to the front and counted in *n. text is what `at` refers to. A result of
 * `not_whole` bytes is not allowed (0: any).
 */
lbrt_status lb_tok_merge(lb_tok_run *run, const char *text, uint32_t *n, uint32_t not_whole);

/* The text between special tokens. prefix: put the space in front (if the tokenizer does that at all). */
lbrt_status lb_tok_encode_spm(lb_tok_run *run, const char *text, size_t bytes, bool prefix);
lbrt_status lb_tok_encode_byte_bpe(lb_tok_run *run, const char *text, size_t bytes);

#endif /* LB_TOK_INTERNAL_H */
