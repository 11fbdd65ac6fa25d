/*
 * An open tokenizer section, for those who encode, decode and format with it; its bytes are specified in
 * lb_tokenizer.h.
 */
#ifndef LB_TOK_SECTION_H
#define LB_TOK_SECTION_H

#include "lb_tokenizer.h"

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
    int32_t byte_token[256];    /* the token of a single byte, or -1 */
    uint32_t special_from[257]; /* specials with first byte b: from special_from[b] to special_from[b + 1] */
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

#endif /* LB_TOK_SECTION_H */
