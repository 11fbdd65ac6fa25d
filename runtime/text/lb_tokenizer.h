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
    LB_TOK_BPE =
        3 /* BPE by rank over characters with byte fallback (Llama 2 as tokenizer.json); spaces are U+2581 */
} lb_tok_model;

typedef enum lb_pretokenizer {
    LB_PRETOK_NONE = 0,
    LB_PRETOK_GPT2 = 1,
    LB_PRETOK_LLAMA3 = 2,
    LB_PRETOK_QWEN2 = 3,
    LB_PRETOK_DEEPSEEK_LLM = 4,
    LB_PRETOK_SMOLLM = 5, /* StarCoder, Command R, SmolLM */
    LB_PRETOK_TEKKEN = 6, /* Mistral Nemo and later */
    LB_PRETOK_LAST = LB_PRETOK_TEKKEN
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
    LB_TOK_SPACE_PREFIX = 4,     /* a space is put before the text */
    LB_TOK_IGNORE_MERGES = 8,    /* a piece that is a token as a whole stays whole (Llama 3) */
    LB_TOK_NFC = 16,             /* the text is NFC-normalised first (Qwen 2) */
    LB_TOK_COLLAPSE_SPACES = 32, /* SentencePiece's remove_extra_whitespaces */
    LB_TOK_PREFIX_FIRST = 64, /* the space prefix only at the very start, not again after a special token */
    LB_TOK_PREFIX_UNLESS_SPACE = 128, /* no space prefix before a text that begins with a space (tokenizers' Metaspace) */
    LB_TOK_PREFIX_BEHIND_USER = 256,  /* SPM: behind a user-defined token the text begins anew (llama.cpp, transformers; not SentencePiece) */
    LB_TOK_ALL_FLAGS = 511
};

/* Added to the type of a special token: it swallows the white space before or after it. */
enum { LB_TOK_TYPE_MASK = 15, LB_TOK_LSTRIP = 16, LB_TOK_RSTRIP = 32 };

/*
 * The tokenizer section, version 1. All numbers are little-endian; the section may begin at any address.
 *
 *   offset  what
 *        0  bytes 'L' 'B' 'T' 'K'
 *        4  u32 version: 1
 *        8  u32 model, 12 u32 pretokenizer, 16 u32 flags: the enums above; a value that is not there is
 *           refused
 *       20  u32 n_tokens, 1 to 2^24
 *       24  u32 n_merges, up to 2^24; models BYTE_BPE and BPE only
 *       28  u32 n_specials
 *       32  u32 token_slots, 36 u32 merge_slots: a power of two, or 0
 *       40  u32 text_bytes
 *       44  u32 chat_bytes, 0: there is no chat form
 *       48  i32 bos, 52 i32 eos, 56 i32 unk, 60 i32 pad: ids or -1
 *       64  u32 n_ends, at most 16
 *       68  i32 ends[16]: ids of further tokens that end an answer
 *      132  12 bytes of zero
 *      144  the arrays, one after the other, each filled up with zeros to a multiple of 4 bytes:
 *           u32 offset[n_tokens + 1]     token i's text is text[offset[i]] .. text[offset[i + 1] - 1];
 *                                        offset[0] is 0, the last text_bytes
 *           f32 score[n_tokens]          model SPM only; finite
 *           u32 merge[n_merges][3]       left id, right id, result id; position = rank. The result's length
 *                                        is that of both together
 *           u32 special[n_specials]      ids of the CONTROL and USER tokens with text, ascending by text
 *                                        (bytes, unsigned), no two equal
 *           u32 token_index[token_slots] open hashing by text, see below
 *           u32 merge_index[merge_slots] open hashing by pair
 *           u8  type[n_tokens]           lb_token_type, plus LB_TOK_LSTRIP and LB_TOK_RSTRIP
 *           u8  chat[chat_bytes]         see "Chat" below
 *           u8  text[text_bytes]         of all tokens
 *           What follows is ignored.
 *
 * A token's text is the bytes that it stands for: with models SPM and BPE a space where the vocabulary says
 * U+2581; one byte for BYTE; the name of a CONTROL or UNKNOWN token. At most 65535 bytes.
 *
 * An index has a power of two of slots, with room to spare. A slot is 0 or 1 + the number of a token
 * (merge). One is found by starting at slot hash mod slots and going up, round the end, until it is found
 * or a slot is 0. At most 1024 slots in a row (round the end) are not 0. In token_index are the NORMAL,
 * USER and UNUSED tokens with text, of several with the same text that with the lowest id. All u32
 * arithmetic:
 *     text:  h = 2166136261; for each byte: h = (h ^ byte) * 16777619; hash = h ^ h >> 15
 *     pair:  h = (left * 0x9e3779b1 ^ right) * 0x85ebca77; h ^= h >> 15; h *= 0xc2b2ae3d; hash = h ^ h >> 13
 *
 * Chat: a table of gaps. A conversation is its messages' contents with a gap before, between and behind
 * them, which depends on the roles on its two sides. LB_CHAT_GAPS gaps, [before][after] in the order of
 * lb_chat_side with `after` running faster, each:
 *     u8 flags (LB_GAP_...), u8 zero, u16 zero, u32 length, length bytes (no filling)
 * before is START, SYSTEM, USER or ASSISTANT; after is SYSTEM, USER, ASSISTANT, CLOSE (the end, if no
 * answer is asked for) or ANSWER (the end, if one is). A gap before the first message may begin with the
 * text of bos, which is left out if the tokenizer adds bos.
 */
enum {
    LB_TOK_SECTION_VERSION = 1,
    LB_TOK_HEADER_BYTES = 144,
    LB_TOK_MAX_ENDS = 16,
    LB_TOK_MAX_RUN = 1024,
    LB_TOK_MAX_TEXT = 65535
};

typedef enum lb_chat_side {
    LB_CHAT_START = 0, /* before */
    LB_CHAT_SYSTEM = 1,
    LB_CHAT_USER = 2,
    LB_CHAT_ASSISTANT = 3, /* before and after */
    LB_CHAT_CLOSE = 4,
    LB_CHAT_ANSWER = 5, /* after */
    LB_CHAT_GAPS = 4 * 5
} lb_chat_side;

enum {
    LB_GAP_ALLOWED = 1,     /* without it, this order of roles is an error and the gap is empty */
    LB_GAP_TRIM_BEFORE = 2, /* white space at the end of the content before the gap is dropped */
    LB_GAP_TRIM_AFTER = 4,  /* white space at the beginning of the content behind the gap is dropped */
    LB_GAP_THOUGHTS = 8,       /* first of all: of that content what is up to and with its last "</think>" is dropped */
    LB_GAP_THOUGHT_LINES = 16, /* then, if something was, line breaks at the beginning of the rest */
    LB_GAP_LINES_AFTER = 32,   /* line breaks at the beginning of the content are dropped in any case */
    LB_GAP_ALL_FLAGS = 63
};

typedef struct lb_tokenizer lb_tokenizer;

/* ---- the section (lb_tok_section.c) ---- */

/* section stays alive and unchanged as long as the tokenizer. Everything in it is checked. */
lbrt_status lb_tokenizer_open(const void *section, size_t bytes, const lbrt_allocator *a, lb_tokenizer **out,
                              lbrt_error *err);
void lb_tokenizer_close(lb_tokenizer *t); /* NULL is allowed */

uint32_t lb_tokenizer_count(const lb_tokenizer *t);
int32_t lb_tokenizer_bos(const lb_tokenizer *t); /* -1: none */
int32_t lb_tokenizer_eos(const lb_tokenizer *t);
bool lb_tokenizer_adds_bos(const lb_tokenizer *t);
bool lb_tokenizer_ends(const lb_tokenizer *t, lbrt_token id);
bool lb_tokenizer_has_chat(const lb_tokenizer *t);

/* As lbrt_token_text in lbrt.h. */
lbrt_status lb_tokenizer_token_text(const lb_tokenizer *t, lbrt_token id, bool special, const char **text,
                                    size_t *bytes);

/* ---- text (lb_tokenizer.c) ---- */

/*
 * As lbrt_tokenize and lbrt_detokenize in lbrt.h. Callable from several threads at once if the allocator is:
 * encoding takes its scratch memory from it (about 70 bytes for each byte of a text without spaces, little
 * more than the text else) and gives all of it back.
 */
lbrt_status lb_tokenizer_encode(const lb_tokenizer *t, const char *text, size_t bytes, unsigned flags,
                                lbrt_token *out, size_t cap, size_t *n, lbrt_error *err);
lbrt_status lb_tokenizer_decode(const lb_tokenizer *t, const lbrt_token *ids, size_t n, char *text,
                                size_t cap, size_t *bytes, lbrt_error *err);

/* ---- conversations (lb_chat.c) ---- */

/*
 * Formats by a chat form (see above) alone; bos (n_bos bytes) is taken off the front. Used by
 * lb_tokenizer_chat_format and, to check a form, by the converter. The form must be sound: one that
 * lb_tokenizer_open has checked, or the converter's own.
 */
lbrt_status lb_chat_render(const char *form, const lbrt_message *messages, size_t n, bool answer,
                           const char *bos, size_t n_bos, char *text, size_t cap, size_t *bytes,
                           lbrt_error *err);

/* As lbrt_chat_format in lbrt.h. */
lbrt_status lb_tokenizer_chat_format(const lb_tokenizer *t, const lbrt_message *messages, size_t n,
                                     bool answer, char *text, size_t cap, size_t *bytes, lbrt_error *err);

#endif /* LB_TOKENIZER_H */
