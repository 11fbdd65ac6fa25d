/*
 * A .lbrt file written byte by byte from the specification in formats/container/lb_container.h, by code that
 * shares nothing with the reader or the writer but XXH64: one layer, width 16, 2 heads of 8 on one KV head,
 * feed-forward 16, 32 tokens, all matrices f32. attn_o and ffn_down are zero, so that logits = E (E[token]
 * normed), whatever the attention does.
 */
#ifndef HAND_FILE_H
#define HAND_FILE_H

#include <stddef.h>
#include <stdint.h>

enum { HAND_DIM = 16, HAND_VOCAB = 32, HAND_TENSORS = 11, HAND_SECTIONS = 3 };

typedef struct hand_file {
    unsigned char *data; /* 64-byte aligned */
    size_t bytes, cap;
    size_t section[8];           /* where record i of the section table is: META, TENSORS, DATA */
    size_t meta, tensors;        /* where the sections begin */
    size_t record[HAND_TENSORS]; /* tensor i's record, its (first) term, that one's (first) part */
    size_t term[HAND_TENSORS], part[HAND_TENSORS];
} hand_file;

/* Tensors 0 tok_embed, 1 out_norm, 2.. the layer's: 2 attn_norm, 3 attn_q. Freed with hand_free. */
void hand_make(hand_file *f);
void hand_free(hand_file *f);

/* Puts every checksum right that covers metadata: sections' and the table's. */
void hand_repair(unsigned char *data, size_t bytes);

/* Appends a metadata entry and moves what follows. */
void hand_add_meta(hand_file *f, const char *key, unsigned type, unsigned flags, const void *value,
                   size_t bytes);

/* Appends an empty section of a kind and flags to the table, which has room for it. */
void hand_add_section(hand_file *f, uint32_t kind, uint32_t flags);

/* The weights: row r, column c of the embedding. */
float hand_embed(size_t r, size_t c);

void hand_u16(unsigned char *p, unsigned v);
void hand_u32(unsigned char *p, uint32_t v);
void hand_u64(unsigned char *p, uint64_t v);

#endif /* HAND_FILE_H */
