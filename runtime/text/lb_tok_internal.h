/*
 * What the files of the tokenizer share. The section that this reads is specified in lb_tokenizer.h.
 */
#ifndef LB_TOK_INTERNAL_H
#define LB_TOK_INTERNAL_H

#include "lb_tokenizer.h"
#include "lb_unicode.h"

/* Pointers go into the section; everything in it was checked when it was opened. */
struct lb_tokenizer {
    lbrt_allocator allocator;
    lb_tok_model model;
    lb_pretokenizer pretokenizer;
    uint32_t flags;
    uint32_t n_tokens, n_specials;
    uint32_t token_slots, merge_slots; /* powers of two, or 0 */
    const unsigned char *offsets, *scores, *merges, *specials, *token_index, *merge_index, *types;
    const char *chat, *text;
    uint32_t chat_bytes;
    int32_t bos, eos, unk;
    int32_t ends[LB_TOK_MAX_ENDS];
    uint32_t n_ends;
    uint32_t longest; /* bytes of the longest token */
    bool space_leads; /* no token has a space behind another character: words can be encoded one by one */
    int32_t byte_token[256]; /* the token of a single byte, or -1 */
    uint32_t
        special_from[257]; /* specials that begin with byte b: from special_from[b] to special_from[b + 1] */
};

static inline uint32_t lb_tok_type(const lb_tokenizer *t, uint32_t id)
{
    return t->types[id] & LB_TOK_TYPE_MASK;
}

static inline const char *lb_tok_text(const lb_tokenizer *t, uint32_t id, uint32_t *bytes)
{
    const uint32_t from = lb_load_u32(t->offsets + (size_t)id * 4);
    *bytes = lb_load_u32(t->offsets + (size_t)id * 4 + 4) - from;
    return t->text + from;
}

static inline uint32_t lb_tok_special(const lb_tokenizer *t, uint32_t i)
{
    return lb_load_u32(t->specials + (size_t)i * 4);
}

/* The hash functions of the section's two indices. */
static inline uint32_t lb_tok_hash_text(const char *text, size_t bytes)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < bytes; i++) {
        h = (h ^ (unsigned char)text[i]) * 16777619u;
    }
    return h ^ h >> 15;
}

static inline uint32_t lb_tok_hash_pair(uint32_t left, uint32_t right)
{
    uint32_t h = (left * 0x9e3779b1u ^ right) * 0x85ebca77u;
    h ^= h >> 15;
    h *= 0xc2b2ae3du;
    return h ^ h >> 13;
}

/* Id of the token (not CONTROL, UNKNOWN, BYTE) with that text, or -1. */
int32_t lb_tok_find(const lb_tokenizer *t, const char *text, size_t bytes);

/*
 * What joining two neighbouring tokens gives, and its rank (smaller joins earlier); -1 if they do not join.
 */
int32_t lb_tok_find_merge(const lb_tokenizer *t, int32_t left, int32_t right, uint32_t *rank);

/* ---- one call of lb_tokenizer_encode ---- */

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

/*
 * Joins the n symbols of run->symbols (at, bytes, id are set) as long as neighbours join, best rank first;
 * what is left is compacted to the front and counted in *n. text is what `at` refers to. A result of
 * `not_whole` bytes is not allowed (0: any).
 */
lbrt_status lb_tok_merge(lb_tok_run *run, const char *text, uint32_t *n, uint32_t not_whole);

/* The text between special tokens. prefix: put the space in front (if the tokenizer does that at all). */
lbrt_status lb_tok_encode_spm(lb_tok_run *run, const char *text, size_t bytes, bool prefix);
lbrt_status lb_tok_encode_byte_bpe(lb_tok_run *run, const char *text, size_t bytes);

/* ---- pre-tokenizers (lb_pretok.c) ---- */

typedef struct lb_pretok {
    lb_pretokenizer kind;
    const char *at, *end;
    const char *outer, *stop,
        *tail; /* DeepSeek: ends of the parts that `at` is in; where the white space at its end begins */
} lb_pretok;

static inline lb_pretok lb_pretok_start(lb_pretokenizer kind, const char *text, size_t bytes)
{
    const lb_pretok p = { kind, text, text + bytes, text, text, text };
    return p;
}

/* The bytes of the next piece, which begins at p->at and moves it; 0 at the end. */
size_t lb_pretok_next(lb_pretok *p);

#endif /* LB_TOK_INTERNAL_H */
