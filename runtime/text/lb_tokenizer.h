/*
 * Tokenizers: text to ids and back, from the tokenizer section of a .lbrt file.
 */
#ifndef LB_TOKENIZER_H
#define LB_TOKENIZER_H

#include "../base/lb_base.h"

/* Numbers are those in the file. */
typedef enum lb_tok_model {
    LB_TOK_NONE = 0,
    LB_TOK_SPM = 1,      /* SentencePiece BPE: merges by score, spaces are U+2581, byte fallback */
    LB_TOK_BYTE_BPE = 2, /* GPT-2's byte-level BPE: merges by rank inside the pieces of a pre-tokenizer */
    LB_TOK_BPE = 3       /* BPE by rank over characters with byte fallback (Llama 2 as tokenizer.json); spaces are U+2581 */
} lb_tok_model;

typedef enum lb_pretokenizer {
    LB_PRETOK_NONE = 0,
    LB_PRETOK_GPT2 = 1,
    LB_PRETOK_LLAMA3 = 2,
    LB_PRETOK_QWEN2 = 3,
    LB_PRETOK_DEEPSEEK_LLM = 4
} lb_pretokenizer;

typedef enum lb_token_type {
    LB_TOKEN_NORMAL = 1,
    LB_TOKEN_UNKNOWN = 2,
    LB_TOKEN_CONTROL = 3,
    LB_TOKEN_USER = 4, /* user-defined: matched as a whole before everything else, also in user text */
    LB_TOKEN_UNUSED = 5,
    LB_TOKEN_BYTE = 6
} lb_token_type;

enum {
    LB_TOK_ADD_BOS = 1,
    LB_TOK_ADD_EOS = 2,
    LB_TOK_SPACE_PREFIX = 4,      /* a space is put before the text */
    LB_TOK_IGNORE_MERGES = 8,     /* a piece that is a token as a whole stays whole (Llama 3) */
    LB_TOK_NFC = 16,              /* the text is NFC-normalised first (Qwen 2) */
    LB_TOK_COLLAPSE_SPACES = 32,  /* SentencePiece's remove_extra_whitespaces */
    LB_TOK_PREFIX_FIRST = 64,     /* the space prefix only at the very start, not again after a special token */
    LB_TOK_ALL_FLAGS = 127
};

/* Added to the type of a special token: it swallows the white space before or after it. */
enum { LB_TOK_TYPE_MASK = 15, LB_TOK_LSTRIP = 16, LB_TOK_RSTRIP = 32 };

typedef struct lb_tokenizer lb_tokenizer;

/* section stays alive and unchanged as long as the tokenizer. Everything in it is checked. */
lbrt_status lb_tokenizer_open(const void *section, size_t bytes, const lbrt_allocator *a, lb_tokenizer **out,
                              lbrt_error *err);
void lb_tokenizer_close(lb_tokenizer *t); /* NULL is allowed */

uint32_t lb_tokenizer_count(const lb_tokenizer *t);
int32_t lb_tokenizer_bos(const lb_tokenizer *t); /* -1: none */
int32_t lb_tokenizer_eos(const lb_tokenizer *t);
bool lb_tokenizer_adds_bos(const lb_tokenizer *t);
bool lb_tokenizer_ends(const lb_tokenizer *t, lbrt_token id);

/* As lbrt_tokenize, lbrt_token_text, lbrt_detokenize and lbrt_chat_format in lbrt.h. Callable from several threads at once. */
lbrt_status lb_tokenizer_encode(const lb_tokenizer *t, const char *text, size_t bytes, unsigned flags, lbrt_token *out,
                                size_t cap, size_t *n, lbrt_error *err);
lbrt_status lb_tokenizer_token_text(const lb_tokenizer *t, lbrt_token id, bool special, const char **text, size_t *bytes);
lbrt_status lb_tokenizer_decode(const lb_tokenizer *t, const lbrt_token *ids, size_t n, char *text, size_t cap,
                                size_t *bytes, lbrt_error *err);

bool lb_tokenizer_has_chat(const lb_tokenizer *t);
lbrt_status lb_tokenizer_chat_format(const lb_tokenizer *t, const lbrt_message *messages, size_t n, bool answer,
                                     char *text, size_t cap, size_t *bytes, lbrt_error *err);

#endif /* LB_TOKENIZER_H */
