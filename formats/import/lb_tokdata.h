/*
 * A tokenizer as data, before it is written to a .lbrt file: what every tokenizer importer produces.
 */
#ifndef LB_TOKDATA_H
#define LB_TOKDATA_H

#include "../../runtime/base/lb_base.h"
#include "../../runtime/text/lb_tokenizer.h"

typedef struct lb_tokdata_token {
    char *text;     /* raw bytes the token stands for; control tokens: their name, e.g. "<s>" */
    uint32_t bytes;
    float score;    /* SentencePiece log probability (greater merges first); 0 if there is none */
    uint8_t type;   /* lb_token_type */
} lb_tokdata_token;

typedef struct lb_tokdata_merge {
    int32_t left, right, result; /* ids; the order of the array is the rank */
} lb_tokdata_merge;

typedef struct lb_tokdata {
    lbrt_allocator allocator;
    lb_tok_model model;
    lb_pretokenizer pretokenizer;
    uint32_t flags;              /* LB_TOK_... */
    uint32_t n_tokens;
    lb_tokdata_token *tokens;
    uint32_t n_merges;           /* byte-level and plain BPE */
    lb_tokdata_merge *merges;
    int32_t bos, eos, unk, pad;  /* -1: none */
    int32_t ends[16];            /* further tokens that end an answer */
    uint32_t n_ends;
    char *chat_template;         /* the model's Jinja text, NUL-terminated, or NULL */
} lb_tokdata;

void lb_tokdata_free(lb_tokdata *t); /* NULL is allowed */

/* From a SentencePiece model file (protocol buffer). */
lbrt_status lb_tokdata_from_sentencepiece(const void *data, size_t bytes, const lbrt_allocator *a, lb_tokdata **out,
                                          lbrt_error *err);

/* From llama2.c's tokenizer.bin; it does not say how many tokens it has: n_vocab is the model's. */
lbrt_status lb_tokdata_from_llama2c(const void *data, size_t bytes, uint32_t n_vocab, const lbrt_allocator *a,
                                    lb_tokdata **out, lbrt_error *err);

/* From a Hugging Face tokenizer.json. An unknown normalizer, pre-tokenizer, decoder or model type is UNSUPPORTED, by name. */
lbrt_status lb_tokdata_from_hf_json(const char *json, size_t bytes, const lbrt_allocator *a, lb_tokdata **out,
                                    lbrt_error *err);

/* Applies tokenizer_config.json, generation_config.json, config.json (any may be NULL) to t: bos, eos, ends, add_bos, chat template. */
lbrt_status lb_tokdata_apply_hf_config(lb_tokdata *t, const char *tokenizer_config, size_t tokenizer_config_bytes,
                                       const char *generation_config, size_t generation_config_bytes,
                                       const char *config, size_t config_bytes, lbrt_error *err);

/* Serialises t as the tokenizer section of a .lbrt file (format: lb_tokenizer.h). *out is the allocator's, *bytes long. */
lbrt_status lb_tokdata_write(const lb_tokdata *t, const lbrt_allocator *a, void **out, size_t *bytes, lbrt_error *err);

#endif /* LB_TOKDATA_H */
