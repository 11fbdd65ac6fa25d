#include "fuzz_text.h"

static fuzz_vocabulary fuzz_known[FUZZ_VOCABULARIES] = {
    { LB_TOK_BYTE_BPE, LB_PRETOK_GPT2, 0, false, false, NULL },
    { LB_TOK_BYTE_BPE, LB_PRETOK_LLAMA3, LB_TOK_IGNORE_MERGES | LB_TOK_ADD_BOS, false, false, NULL },
    { LB_TOK_BYTE_BPE, LB_PRETOK_QWEN2, LB_TOK_NFC, false, false, NULL },
    { LB_TOK_BYTE_BPE, LB_PRETOK_DEEPSEEK_LLM, LB_TOK_ADD_BOS, false, false, NULL },
    { LB_TOK_BYTE_BPE, LB_PRETOK_NONE, 0, false, false, NULL },
    { LB_TOK_BYTE_BPE, LB_PRETOK_QWEN2, LB_TOK_NFC | LB_TOK_IGNORE_MERGES, true, false, NULL },
    { LB_TOK_BPE, LB_PRETOK_NONE, LB_TOK_SPACE_PREFIX | LB_TOK_ADD_BOS, false, false, NULL },
    { LB_TOK_BPE, LB_PRETOK_NONE, LB_TOK_SPACE_PREFIX | LB_TOK_PREFIX_FIRST, true, false, NULL },
    { LB_TOK_SPM, LB_PRETOK_NONE, LB_TOK_SPACE_PREFIX | LB_TOK_ADD_BOS | LB_TOK_ADD_EOS, false, false, NULL },
    { LB_TOK_SPM, LB_PRETOK_NONE, 0, false, false, NULL },
    { LB_TOK_SPM, LB_PRETOK_NONE, LB_TOK_SPACE_PREFIX | LB_TOK_COLLAPSE_SPACES, false, false, NULL },
    { LB_TOK_SPM, LB_PRETOK_NONE, LB_TOK_SPACE_PREFIX | LB_TOK_PREFIX_FIRST, true, false, NULL },
    { LB_TOK_SPM, LB_PRETOK_NONE, LB_TOK_SPACE_PREFIX, false, true, NULL },
    { LB_TOK_BPE, LB_PRETOK_NONE, LB_TOK_SPACE_PREFIX, true, true, NULL },
    { LB_TOK_BYTE_BPE, LB_PRETOK_LLAMA3, 0, false, true, NULL },
    { LB_TOK_BYTE_BPE, LB_PRETOK_SMOLLM, 0, false, false, NULL },
    { LB_TOK_BYTE_BPE, LB_PRETOK_TEKKEN, LB_TOK_IGNORE_MERGES | LB_TOK_ADD_BOS, false, false, NULL },
};

/* What is joined, in order of rank; the two parts are bytes, single characters or results of lines before. */
static const char *const fuzz_joins[][2] = {
    { "t", "h" },     { "h", "e" },         { " ", "t" },         { " t", "he" },         { " ", "a" },        { "e", "r" },   { "l", "l" },     { "'", "ll" },
    { "'", "s" },     { "1", "2" },         { "12", "3" },        { " ", " " },           { "  ", "  " },      { "\n", "\n" }, { "a", "a" },     { "aa", "aa" },
    { "aaaa", "aa" }, { "\xc3", "\xa9" },   { "e", "\xcc" },      { "\xf0", "\x9f" },     { " ", "\xc3\xa9" }, { "A", "a" },   { ".", "\n" },    { "o", " " },
    { "<", "t" },     { "<t", "he" },       { "\xe4", "\xb8" },   { "\xe4\xb8", "\xad" }, { "\t", " " },       { "a", " a" },  { "\xcc", "\x81" }, { " a", "a" },
};
static const char *const fuzz_specials[] = { "<s>", "<|end|>", "<unk>", "<tool>", "<to", "<b>  " };
enum {
    FUZZ_JOINS = sizeof fuzz_joins / sizeof fuzz_joins[0],
    FUZZ_SPECIALS = sizeof fuzz_specials / sizeof fuzz_specials[0],
    FUZZ_CONTROLS = 3 /* of the specials, the first ones */
};

/* The token that a merge is made of: the normal one with that text, or the byte. */
static int32_t fuzz_find(const lb_tokdata *t, const char *text)
{
    const int32_t id = lb_tokdata_find(t, text, strlen(text));
    return id >= 0 ? id : (int32_t)(unsigned char)text[0];
}

/* SentencePiece and BPE with byte fallback spell out bytes only where no character is a token: each single byte of joins is one here, too. */
static lb_tokdata *fuzz_tokdata(const fuzz_vocabulary *v)
{
    lb_tokdata *t = NULL;
    lbrt_error err = { LBRT_OK, "" };
    const uint32_t specials = v->users ? FUZZ_SPECIALS : FUZZ_CONTROLS;
    lb_fuzz_check(lb_tokdata_new(256 + 128 + FUZZ_JOINS + specials, lb_fuzz_allocator(0), &t, &err) == LBRT_OK, err.text);
    uint32_t n = 0;
    for (uint32_t c = 0; c < 256; c++, n++) {
        const char byte = (char)c;
        const bool spells = c == 0xef || c == 0xbf || c == 0xbd; /* U+FFFD, which stands for what has no token */
        const bool there = !v->unknown || (v->model == LB_TOK_SPM && spells) || (v->model == LB_TOK_BYTE_BPE && c % 5 != 0);
        const lb_token_type type = !there ? LB_TOKEN_UNUSED : v->model == LB_TOK_BYTE_BPE ? LB_TOKEN_NORMAL : LB_TOKEN_BYTE;
        lb_fuzz_check(lb_tokdata_set(t, n, &byte, 1, 0, type, &err) == LBRT_OK, err.text);
    }
    for (uint32_t c = 0; c < 128; c++, n++) { /* characters; not every one, so that some fall back */
        const char byte = (char)c;
        const lb_token_type type = v->model == LB_TOK_BYTE_BPE || c % 16 == 13 ? LB_TOKEN_UNUSED : LB_TOKEN_NORMAL;
        lb_fuzz_check(lb_tokdata_set(t, n, &byte, 1, -100.0f, type, &err) == LBRT_OK, err.text);
    }
    t->merges = v->model == LB_TOK_SPM ? NULL : lb_alloc(&t->allocator, FUZZ_JOINS * sizeof *t->merges);
    t->n_merges = t->merges ? FUZZ_JOINS : 0;
    for (uint32_t i = 0; i < FUZZ_JOINS; i++, n++) {
        char text[16];
        const size_t left = strlen(fuzz_joins[i][0]), right = strlen(fuzz_joins[i][1]);
        memcpy(text, fuzz_joins[i][0], left);
        memcpy(text + left, fuzz_joins[i][1], right);
        lb_fuzz_check(lb_tokdata_set(t, n, text, left + right, -1.0f - (float)i, LB_TOKEN_NORMAL, &err) == LBRT_OK, err.text);
        if (t->merges) {
            t->merges[i] = (lb_tokdata_merge){ fuzz_find(t, fuzz_joins[i][0]), fuzz_find(t, fuzz_joins[i][1]), (int32_t)n };
        }
    }
    for (uint32_t i = 0; i < specials; i++, n++) {
        const lb_token_type type = i < FUZZ_CONTROLS ? LB_TOKEN_CONTROL : LB_TOKEN_USER;
        lb_fuzz_check(lb_tokdata_set(t, n, fuzz_specials[i], strlen(fuzz_specials[i]), 0, type, &err) == LBRT_OK, err.text);
        t->tokens[n].strip = (uint8_t)((i & 1 ? LB_TOK_RSTRIP : 0) | (i >= 2 ? LB_TOK_LSTRIP : 0));
    }
    t->model = v->model;
    t->pretokenizer = v->pretokenizer;
    t->flags = v->flags;
    t->bos = (int32_t)(n - specials);
    t->eos = t->bos + 1;
    t->pad = -1;
    t->unk = v->unknown ? t->bos + 2 : -1;
    return t;
}

const fuzz_vocabulary *fuzz_vocabulary_get(unsigned i)
{
    fuzz_vocabulary *v = &fuzz_known[i % FUZZ_VOCABULARIES];
    if (!v->tokenizer) {
        lb_tokdata *t = fuzz_tokdata(v);
        void *section = NULL; /* the tokenizer reads it as long as the process lives */
        size_t bytes = 0;
        lbrt_error err = { LBRT_OK, "" };
        lb_fuzz_check(lb_tokdata_write(t, lb_fuzz_allocator(0), &section, &bytes, &err) == LBRT_OK, err.text);
        lb_fuzz_check(lb_tokenizer_open(section, bytes, lb_fuzz_allocator(0), &v->tokenizer, &err) == LBRT_OK, err.text);
        lb_tokdata_free(t);
    }
    return v;
}

/* SentencePiece's sign for a space, which no vocabulary but byte-level ones can tell from one. */
static bool fuzz_has_sign(const fuzz_vocabulary *v, const char *text, size_t bytes)
{
    for (size_t i = 0; v->model != LB_TOK_BYTE_BPE && i + 3 <= bytes; i++) {
        if (memcmp(text + i, "\xe2\x96\x81", 3) == 0) {
            return true;
        }
    }
    return false;
}

static lbrt_token *fuzz_encode(const fuzz_vocabulary *v, const char *text, size_t bytes, unsigned flags, size_t *n)
{
    lbrt_error err = { LBRT_OK, "" };
    size_t again = 0;
    const lbrt_status s = lb_tokenizer_encode(v->tokenizer, text, bytes, flags, NULL, 0, n, &err);
    lb_fuzz_check(s == (*n ? LBRT_ERR_BUFFER : LBRT_OK), "a text that cannot be counted");
    lbrt_token *ids = malloc((*n + 1) * sizeof *ids);
    lb_fuzz_check(ids && lb_tokenizer_encode(v->tokenizer, text, bytes, flags, ids, *n, &again, &err) == LBRT_OK && again == *n, "another number of tokens");
    for (size_t i = 0; i < *n; i++) {
        lb_fuzz_check(ids[i] >= 0 && (uint32_t)ids[i] < lb_tokenizer_count(v->tokenizer), "a token outside the vocabulary");
    }
    return ids;
}

void fuzz_text(const fuzz_vocabulary *v, const char *text, size_t bytes, unsigned flags, uint64_t fail_at)
{
    const size_t alive = lb_fuzz_alive();
    lbrt_error err = { LBRT_OK, "" };
    size_t n = 0, length = 0, n_again = 0;
    if (fail_at) {
        (void)lb_fuzz_allocator(fail_at);
        const lbrt_status s = lb_tokenizer_encode(v->tokenizer, text, bytes, flags, NULL, 0, &n, &err);
        lb_fuzz_check(s == LBRT_OK || s == LBRT_ERR_BUFFER || s == LBRT_ERR_MEMORY, "an unexpected failure");
        lb_fuzz_error(s, &err);
        (void)lb_fuzz_allocator(0);
    }
    lbrt_token *ids = fuzz_encode(v, text, bytes, flags, &n);
    const lbrt_status counted = lb_tokenizer_decode(v->tokenizer, ids, n, NULL, 0, &length, &err);
    lb_fuzz_check(counted == (length ? LBRT_ERR_BUFFER : LBRT_OK), "tokens that cannot be counted");
    char *out = malloc(length + 1);
    lb_fuzz_check(out && lb_tokenizer_decode(v->tokenizer, ids, n, out, length, &length, &err) == LBRT_OK, "tokens without text");
    const bool plain = !(flags & LBRT_TOKENIZE_SPECIAL), sign = fuzz_has_sign(v, text, bytes), changes = v->flags & (LB_TOK_NFC | LB_TOK_COLLAPSE_SPACES);
    if (plain && !v->users && !v->unknown && !sign && !changes) {
        lb_fuzz_check(length == bytes && memcmp(out, text, bytes) == 0, "another text than encoded");
    }
    if (plain && !v->unknown && !(v->users && sign)) { /* what was decoded is encoded as the same tokens; a space of the sign's would be swallowed then */
        lbrt_token *again = fuzz_encode(v, out, length, flags, &n_again);
        lb_fuzz_check(n_again == n && memcmp(again, ids, n * sizeof *ids) == 0, "other tokens for the same text");
        free(again);
    }
    free(out);
    free(ids);
    lb_fuzz_check(lb_fuzz_alive() == alive, "encoding keeps memory");
}
