/*
 * A tokenizer as data, before it is written to a .lbrt file: what every tokenizer importer produces.
 */
#ifndef LB_TOKDATA_H
#define LB_TOKDATA_H

#include "../../runtime/base/lb_base.h"
#include "../../runtime/text/lb_tokenizer.h"

typedef struct lb_tokdata_token {
    char *text; /* raw bytes the token stands for; control tokens: their name, e.g. "<s>" */
    uint32_t bytes;
    float score;   /* SentencePiece log probability (greater merges first); 0 if there is none */
    uint8_t type;  /* lb_token_type */
    uint8_t strip; /* LB_TOK_LSTRIP, LB_TOK_RSTRIP: a special token that swallows the white space beside it */
} lb_tokdata_token;

typedef struct lb_tokdata_merge {
    int32_t left, right, result; /* ids; the order of the array is the rank */
} lb_tokdata_merge;

typedef struct lb_tokdata {
    lbrt_allocator allocator;
    lb_tok_model model;
    lb_pretokenizer pretokenizer;
    uint32_t flags; /* LB_TOK_... */
    uint32_t n_tokens;
    lb_tokdata_token *tokens;
    uint32_t n_merges; /* byte-level and plain BPE */
    lb_tokdata_merge *merges;
    int32_t bos, eos, unk, pad; /* -1: none */
    bool bos_unnamed;           /* tokenizer_config.json says that there is no bos_token: templates do not know it, whatever its id is elsewhere */
    int32_t ends[16];           /* further tokens that end an answer */
    uint32_t n_ends;
    char *chat_template; /* the model's Jinja text, NUL-terminated, or NULL */
} lb_tokdata;

void lb_tokdata_free(lb_tokdata *t); /* NULL is allowed */

/* From a SentencePiece model file (protocol buffer). */
lbrt_status lb_tokdata_from_sentencepiece(const void *data, size_t bytes, const lbrt_allocator *a,
                                          lb_tokdata **out, lbrt_error *err);

/* From llama2.c's tokenizer.bin; it does not say how many tokens it has: n_vocab is the model's. */
lbrt_status lb_tokdata_from_llama2c(const void *data, size_t bytes, uint32_t n_vocab, const lbrt_allocator *a,
                                    lb_tokdata **out, lbrt_error *err);

/*
 * From a Hugging Face tokenizer.json. An unknown normalizer, pre-tokenizer, decoder or model type is
 * UNSUPPORTED, by name.
 */
lbrt_status lb_tokdata_from_hf_json(const char *json, size_t bytes, const lbrt_allocator *a, lb_tokdata **out,
                                    lbrt_error *err);

/* Applies added_tokens.json, {"<|im_end|>": 32000}, which goes with a tokenizer.model of before added_tokens_decoder: before the others. */
lbrt_status lb_tokdata_apply_hf_added(lb_tokdata *t, const char *json, size_t bytes, lbrt_error *err);

/*
 * Applies tokenizer_config.json, generation_config.json, config.json (any may be NULL) to t: bos, eos,
 * ends, add_bos, chat template.
 */
lbrt_status lb_tokdata_apply_hf_config(lb_tokdata *t, const char *tokenizer_config,
                                       size_t tokenizer_config_bytes, const char *generation_config,
                                       size_t generation_config_bytes, const char *config,
                                       size_t config_bytes, lbrt_error *err);

/*
 * Serialises t as the tokenizer section of a .lbrt file (format: lb_tokenizer.h). *out is the allocator's,
 * *bytes long.
 */
lbrt_status lb_tokdata_write(const lb_tokdata *t, const lbrt_allocator *a, void **out, size_t *bytes,
                             lbrt_error *err);

/* ---- what importers share ---- */

typedef struct lb_tokdata_string {
    const char *text; /* NULL: absent; need not be NUL-terminated */
    size_t bytes;
} lb_tokdata_string;

/*
 * The tokenizer.ggml.* metadata of a GGUF file, as it stands there. Nothing is kept: strings and arrays may
 * go after the call. Fill with LB_TOKDATA_GGML_INIT first; what the file lacks stays at that.
 */
typedef struct lb_tokdata_ggml {
    lb_tokdata_string model;         /* tokenizer.ggml.model: "llama", "gpt2" */
    lb_tokdata_string pre;           /* tokenizer.ggml.pre: "llama-bpe", ... */
    const lb_tokdata_string *tokens; /* tokenizer.ggml.tokens */
    size_t n_tokens;
    const float *scores;             /* tokenizer.ggml.scores, n_tokens of them, or NULL */
    const int32_t *types;            /* tokenizer.ggml.token_type, n_tokens of them, or NULL */
    const lb_tokdata_string *merges; /* tokenizer.ggml.merges, "left right" */
    size_t n_merges;
    int64_t bos, eos, eot, eom, unk, pad; /* tokenizer.ggml.bos_token_id, ...; -1 (or 0xffffffff): none */
    int add_bos, add_eos, add_space_prefix, remove_extra_whitespaces; /* 0 or 1; -1: not in the file */
    lb_tokdata_string chat_template;                                  /* tokenizer.chat_template */
} lb_tokdata_ggml;
#define LB_TOKDATA_GGML_INIT                                                                            \
    {                                                                                                   \
        { NULL, 0 }, { NULL, 0 }, NULL, 0, NULL, NULL, NULL, 0, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, \
        {                                                                                               \
            NULL, 0                                                                                     \
        }                                                                                               \
    }

/* From GGUF metadata. An unknown model or pre-tokenizer is UNSUPPORTED, by name. */
lbrt_status lb_tokdata_from_ggml(const lb_tokdata_ggml *in, const lbrt_allocator *a, lb_tokdata **out,
                                 lbrt_error *err);

/* An empty vocabulary of n_tokens tokens without text, type NORMAL; no merges, ids -1. */
lbrt_status lb_tokdata_new(uint32_t n_tokens, const lbrt_allocator *a, lb_tokdata **out, lbrt_error *err);

/* Gives token id its text (copied as it is). */
lbrt_status lb_tokdata_set(lb_tokdata *t, uint32_t id, const char *text, size_t bytes, float score,
                           lb_token_type type, lbrt_error *err);

/*
 * The same from the spelling of a SentencePiece vocabulary: U+2581 becomes a space and, for type BYTE,
 * <0x0A> its byte.
 */
lbrt_status lb_tokdata_set_spm(lb_tokdata *t, uint32_t id, const char *text, size_t bytes, float score,
                               lb_token_type type, lbrt_error *err);

/*
 * The same from GPT-2's printable stand-ins for bytes (U+0120 is a space, ...); text that has others is
 * kept as it is.
 */
lbrt_status lb_tokdata_set_byte_level(lb_tokdata *t, uint32_t id, const char *text, size_t bytes,
                                      lb_token_type type, lbrt_error *err);

/* Copies a chat template's Jinja text, in place of the one that is there; nothing if it is empty or has a
 * NUL. */
lbrt_status lb_tokdata_set_template(lb_tokdata *t, const char *text, size_t bytes, lbrt_error *err);

/* How the two halves of a merge are spelled. */
typedef enum lb_tokdata_spelling { LB_SPELL_BYTE_LEVEL, LB_SPELL_SPM } lb_tokdata_spelling;

/*
 * Fills t->merges from pairs of strings, n of them in order of rank: left[i], right[i]. If right is NULL,
 * left[i] is "left right". The tokens must be set before. FORMAT if a part or the result is not a token.
 */
lbrt_status lb_tokdata_resolve_merges(lb_tokdata *t, const lb_tokdata_string *left,
                                      const lb_tokdata_string *right, size_t n, lb_tokdata_spelling spelling,
                                      lbrt_error *err);

/*
 * The pre-tokenizer of that name in GGUF files; sets what goes with it (IGNORE_MERGES, NFC) in *flags. Else
 * UNSUPPORTED.
 */
lbrt_status lb_tokdata_pretokenizer_named(const char *name, size_t bytes, lb_pretokenizer *out,
                                          uint32_t *flags, lbrt_error *err);

/* Adds to the tokens that end an answer (once; -1 is ignored; silently full after 16). */
void lb_tokdata_add_end(lb_tokdata *t, int32_t id);

/*
 * Adds the CONTROL tokens whose names are known to end an answer: <|eot_id|>, <|im_end|>, <end_of_turn>,
 * ...
 */
void lb_tokdata_add_usual_ends(lb_tokdata *t);

/* Id of the CONTROL, USER or NORMAL token with that text, or -1. Linear in the size of the vocabulary. */
int32_t lb_tokdata_find(const lb_tokdata *t, const char *text, size_t bytes);

/*
 * A chat template's Jinja text as the declarative form of the tokenizer section (lb_tokenizer.h, "Chat").
 * *out is a's, *bytes long. UNSUPPORTED, with the reason, for a template that the form cannot express.
 */
lbrt_status lb_tokdata_chat_form(const lb_tokdata *t, const lbrt_allocator *a, void **out, size_t *bytes,
                                 lbrt_error *err);

/*
 * What such a form does not see: texts in messages that the template looks for and renders in another way, as
 * "'</thought>' (user, assistant), an empty text (user)"; empty if there are none.
 */
enum { LB_CHAT_NOTE = 320 };
lbrt_status lb_tokdata_chat_differs(const lb_tokdata *t, const void *form, const lbrt_allocator *a, char note[LB_CHAT_NOTE], lbrt_error *err);

#endif /* LB_TOKDATA_H */
