/*
 * A tokenizer as data: building it token by token, with the spellings that vocabularies use for bytes and
 * spaces, and finding out what its merges join.
 */
#include "../../runtime/text/lb_unicode.h"
#include "lb_tokdata_index.h"

lbrt_status lb_tokdata_new(uint32_t n_tokens, const lbrt_allocator *a, lb_tokdata **out, lbrt_error *err)
{
    *out = NULL;
    LB_FAIL_IF(n_tokens == 0 || n_tokens > 1u << 24, err, LBRT_ERR_FORMAT, "a vocabulary of %u tokens",
               n_tokens);
    const lbrt_allocator allocator = lb_allocator_or_default(a);
    lb_tokdata *t = lb_alloc_zero(&allocator, 1, sizeof *t);
    LB_FAIL_IF(!t, err, LBRT_ERR_MEMORY, "out of memory");
    t->allocator = allocator;
    t->tokens = lb_alloc_zero(&allocator, n_tokens, sizeof *t->tokens);
    if (!t->tokens) {
        lb_tokdata_free(t);
        return lb_fail(err, LBRT_ERR_MEMORY, "out of memory");
    }
    t->n_tokens = n_tokens;
    for (uint32_t i = 0; i < n_tokens; i++) {
        t->tokens[i].type = LB_TOKEN_NORMAL;
    }
    t->bos = t->eos = t->unk = t->pad = -1;
    *out = t;
    return LBRT_OK;
}

void lb_tokdata_free(lb_tokdata *t)
{
    if (!t) {
        return;
    }
    const lbrt_allocator a = t->allocator;
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        lb_free(&a, t->tokens[i].text, t->tokens[i].bytes);
    }
    lb_free(&a, t->tokens, t->n_tokens * sizeof *t->tokens);
    lb_free(&a, t->merges, t->n_merges * sizeof *t->merges);
    lb_free(&a, t->chat_template, t->chat_template ? strlen(t->chat_template) + 1 : 0);
    lb_free(&a, t, sizeof *t);
}

lbrt_status lb_tokdata_set(lb_tokdata *t, uint32_t id, const char *text, size_t bytes, float score,
                           lb_token_type type, lbrt_error *err)
{
    LB_FAIL_IF(id >= t->n_tokens, err, LBRT_ERR_FORMAT, "token %u is not in the vocabulary of %u", id,
               t->n_tokens);
    LB_FAIL_IF(bytes > LB_TOK_MAX_TEXT, err, LBRT_ERR_UNSUPPORTED, "token %u is longer than 65535 bytes", id);
    char *copy = NULL;
    if (bytes) {
        copy = lb_alloc(&t->allocator, bytes);
        LB_FAIL_IF(!copy, err, LBRT_ERR_MEMORY, "out of memory");
        memcpy(copy, text, bytes);
    }
    lb_tokdata_token *token = &t->tokens[id];
    lb_free(&t->allocator, token->text, token->bytes);
    token->text = copy;
    token->bytes = (uint32_t)bytes;
    token->score = score;
    token->type = (uint8_t)type;
    return LBRT_OK;
}

static int tokdata_hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* "<0x0A>" as its byte, or -1. */
static int tokdata_parse_byte(const char *text, size_t bytes)
{
    if (bytes != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>' || tokdata_hex(text[3]) < 0 ||
        tokdata_hex(text[4]) < 0) {
        return -1;
    }
    return tokdata_hex(text[3]) * 16 + tokdata_hex(text[4]);
}

/* U+2581 as a space; out has room for bytes. */
static size_t tokdata_unescape_spaces(const char *text, size_t bytes, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes;) {
        if (bytes - i >= 3 && memcmp(text + i, "\xe2\x96\x81", 3) == 0) {
            out[n++] = ' ';
            i += 3;
        } else {
            out[n++] = text[i++];
        }
    }
    return n;
}

/*
 * The byte that GPT-2 spells as this code point, or -1: printable Latin-1 stands for itself, the rest for
 * U+0100 and up in order.
 */
static int tokdata_stand_in(uint32_t cp)
{
    if ((cp >= 33 && cp <= 126) || (cp >= 161 && cp <= 172) || (cp >= 174 && cp <= 255)) {
        return (int)cp;
    }
    if (cp < 0x100 || cp > 0x143) {
        return -1;
    }
    const int i = (int)cp - 0x100;
    return i <= 32 ? i : i <= 66 ? i - 33 + 127 : 173; // 0-32, 127-160, 173
}

/* Raw bytes of a byte-level spelling; text with another character is kept. out has room for bytes. */
static size_t tokdata_unmap(const char *text, size_t bytes, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes;) {
        uint32_t cp;
        i += lb_utf8_decode(text + i, bytes - i, &cp);
        const int byte = tokdata_stand_in(cp);
        if (byte < 0) {
            memcpy(out, text, bytes);
            return bytes;
        }
        out[n++] = (char)byte;
    }
    return n;
}

/* A buffer for converted text: the stack for all that is usual. */
enum { TOKDATA_STACK = 512 };

static lbrt_status tokdata_set_converted(lb_tokdata *t, uint32_t id, const char *text, size_t bytes,
                                         float score, lb_token_type type,
                                         size_t (*convert)(const char *, size_t, char *), lbrt_error *err)
{
    char on_stack[TOKDATA_STACK];
    LB_FAIL_IF(bytes > LB_TOK_MAX_TEXT * (size_t)3, err, LBRT_ERR_UNSUPPORTED,
               "token %u is longer than 65535 bytes", id);
    char *buffer = bytes <= sizeof on_stack ? on_stack : lb_alloc(&t->allocator, bytes);
    LB_FAIL_IF(!buffer, err, LBRT_ERR_MEMORY, "out of memory");
    const lbrt_status status = lb_tokdata_set(t, id, buffer, convert(text, bytes, buffer), score, type, err);
    if (buffer != on_stack) {
        lb_free(&t->allocator, buffer, bytes);
    }
    return status;
}

lbrt_status lb_tokdata_set_spm(lb_tokdata *t, uint32_t id, const char *text, size_t bytes, float score,
                               lb_token_type type, lbrt_error *err)
{
    if (type == LB_TOKEN_BYTE) {
        const int byte = tokdata_parse_byte(text, bytes);
        LB_FAIL_IF(byte < 0, err, LBRT_ERR_FORMAT, "token %u is a byte but not spelled <0x..>", id);
        const char c = (char)byte;
        return lb_tokdata_set(t, id, &c, 1, score, type, err);
    }
    if (type == LB_TOKEN_CONTROL || type == LB_TOKEN_UNKNOWN) {
        return lb_tokdata_set(t, id, text, bytes, score, type, err);
    }
    return tokdata_set_converted(t, id, text, bytes, score, type, tokdata_unescape_spaces, err);
}

lbrt_status lb_tokdata_set_byte_level(lb_tokdata *t, uint32_t id, const char *text, size_t bytes,
                                      lb_token_type type, lbrt_error *err)
{
    if (type == LB_TOKEN_CONTROL || type == LB_TOKEN_UNKNOWN ||
        type == LB_TOKEN_USER) { // added tokens are plain text
        return lb_tokdata_set(t, id, text, bytes, 0, type, err);
    }
    return tokdata_set_converted(t, id, text, bytes, 0, type, tokdata_unmap, err);
}

lbrt_status lb_tokdata_set_template(lb_tokdata *t, const char *text, size_t bytes, lbrt_error *err)
{
    if (!bytes || memchr(text, 0, bytes)) {
        return LBRT_OK;
    }
    char *copy = lb_alloc(&t->allocator, bytes + 1);
    LB_FAIL_IF(!copy, err, LBRT_ERR_MEMORY, "out of memory");
    memcpy(copy, text, bytes);
    copy[bytes] = 0;
    lb_free(&t->allocator, t->chat_template, t->chat_template ? strlen(t->chat_template) + 1 : 0);
    t->chat_template = copy;
    return LBRT_OK;
}

void lb_tokdata_add_end(lb_tokdata *t, int32_t id)
{
    bool known = id < 0 || (uint32_t)id >= t->n_tokens || t->n_ends == sizeof t->ends / sizeof *t->ends;
    for (uint32_t i = 0; i < t->n_ends; i++) {
        known = known || t->ends[i] == id;
    }
    if (!known) {
        t->ends[t->n_ends++] = id;
    }
}

int32_t lb_tokdata_find(const lb_tokdata *t, const char *text, size_t bytes)
{
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        const lb_tokdata_token *token = &t->tokens[i];
        if (token->bytes == bytes && bytes && memcmp(token->text, text, bytes) == 0 &&
            token->type != LB_TOKEN_BYTE) {
            return (int32_t)i;
        }
    }
    return -1;
}

void lb_tokdata_add_usual_ends(lb_tokdata *t)
{
    static const char *const names[] = {
        "<|eot_id|>",      "<|im_end|>",
        "<|end|>",         "<end_of_turn>",
        "<|endoftext|>",   "<|eom_id|>",
        "<|end_of_text|>", "<EOT>",
        "<|EOT|>",         "<\xef\xbd\x9c\x65nd\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"
    };
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        const lb_tokdata_token *token = &t->tokens[i];
        for (size_t k = 0; (token->type == LB_TOKEN_CONTROL || token->type == LB_TOKEN_USER) && k < sizeof names / sizeof *names; k++) {
            if (token->bytes == strlen(names[k]) && memcmp(token->text, names[k], token->bytes) == 0) {
                lb_tokdata_add_end(t, (int32_t)i);
            }
        }
    }
}

lbrt_status lb_tokdata_pretokenizer_named(const char *name, size_t bytes, lb_pretokenizer *out,
                                          uint32_t *flags, lbrt_error *err)
{
    static const struct {
        const char *name;
        lb_pretokenizer kind;
        uint32_t flags;
    } known[] = {
        { "gpt-2", LB_PRETOK_GPT2, 0 },
        { "phi-2", LB_PRETOK_GPT2, 0 },
        { "mpt", LB_PRETOK_GPT2, 0 },
        { "olmo", LB_PRETOK_GPT2, 0 },
        { "jais", LB_PRETOK_GPT2, 0 },
        { "llama-bpe", LB_PRETOK_LLAMA3, LB_TOK_IGNORE_MERGES },
        { "llama3", LB_PRETOK_LLAMA3, LB_TOK_IGNORE_MERGES },
        { "llama-v3", LB_PRETOK_LLAMA3, LB_TOK_IGNORE_MERGES },
        { "falcon3", LB_PRETOK_LLAMA3, LB_TOK_IGNORE_MERGES },
        { "pixtral", LB_PRETOK_LLAMA3, LB_TOK_IGNORE_MERGES },
        { "dbrx", LB_PRETOK_LLAMA3, 0 },
        { "smaug-bpe", LB_PRETOK_LLAMA3, 0 },
        { "qwen2", LB_PRETOK_QWEN2, LB_TOK_NFC },
        { "deepseek-r1-qwen", LB_PRETOK_QWEN2, 0 },
        { "stablelm2", LB_PRETOK_QWEN2, 0 },
        { "deepseek-llm", LB_PRETOK_DEEPSEEK_LLM, 0 },
        { "smollm", LB_PRETOK_SMOLLM, 0 },
        { "starcoder", LB_PRETOK_SMOLLM, 0 },
        { "refact", LB_PRETOK_SMOLLM, 0 },
        { "command-r", LB_PRETOK_SMOLLM, 0 },
        { "minerva-7b", LB_PRETOK_SMOLLM, 0 },
        { "tekken", LB_PRETOK_TEKKEN, LB_TOK_IGNORE_MERGES },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (bytes == strlen(known[i].name) && memcmp(name, known[i].name, bytes) == 0) {
            *out = known[i].kind;
            *flags |= known[i].flags;
            return LBRT_OK;
        }
    }
    return lb_fail(err, LBRT_ERR_UNSUPPORTED, "pre-tokenizer '%.*s' is not supported", (int)lb_min(bytes, 60),
                   name ? name : "");
}

/* ---------------------------------------------------------------- merges */

/* One merge: buffer has room for both parts. */
static lbrt_status tokdata_resolve_merge(lb_tokdata *t, const uint32_t *index, uint32_t slots,
                                         lb_tokdata_string left, lb_tokdata_string right, uint32_t rank,
                                         lb_tokdata_spelling spelling, char *buffer, lbrt_error *err)
{
    size_t (*const convert)(const char *, size_t, char *) =
        spelling == LB_SPELL_SPM ? tokdata_unescape_spaces : tokdata_unmap;
    const size_t n_left = convert(left.text, left.bytes, buffer);
    const size_t n_right = convert(right.text, right.bytes, buffer + n_left);
    lb_tokdata_merge *m = &t->merges[rank];
    m->left = lb_tokdata_look_up(t, index, slots, buffer, n_left);
    m->right = lb_tokdata_look_up(t, index, slots, buffer + n_left, n_right);
    m->result = lb_tokdata_look_up(t, index, slots, buffer, n_left + n_right);
    LB_FAIL_IF(!n_left || !n_right || m->left < 0 || m->right < 0 || m->result < 0, err, LBRT_ERR_FORMAT,
               "merge %u is of something that is not in the vocabulary", rank);
    return LBRT_OK;
}

lbrt_status lb_tokdata_resolve_merges(lb_tokdata *t, const lb_tokdata_string *left,
                                      const lb_tokdata_string *right, size_t n, lb_tokdata_spelling spelling,
                                      lbrt_error *err)
{
    LB_FAIL_IF(n > 1u << 24, err, LBRT_ERR_FORMAT, "%zu merges", n);
    lb_free(&t->allocator, t->merges, t->n_merges * sizeof *t->merges);
    t->merges = NULL;
    t->n_merges = 0;
    if (!n) {
        return LBRT_OK;
    }
    size_t longest = 0;
    for (size_t i = 0; i < n; i++) {
        longest = lb_max(longest, left[i].bytes + (right ? right[i].bytes : 0));
    }
    const uint32_t slots = lb_tokdata_slots(t->n_tokens);
    uint32_t *index = lb_alloc_zero(&t->allocator, slots, sizeof *index);
    char *buffer = lb_alloc(&t->allocator, longest + 1);
    t->merges = lb_alloc_zero(&t->allocator, n, sizeof *t->merges);
    t->n_merges = t->merges ? (uint32_t)n : 0;
    lbrt_status status = LBRT_OK;
    if (!index || !buffer || !t->merges) {
        status = lb_fail(err, LBRT_ERR_MEMORY, "out of memory");
    }
    for (uint32_t i = 0; status == LBRT_OK && i < t->n_tokens; i++) {
        if (lb_tokdata_is_in_index(&t->tokens[i]) && !lb_tokdata_enter_token(t, index, slots, i)) {
            status = lb_fail(err, LBRT_ERR_UNSUPPORTED, "a vocabulary that cannot be hashed");
        }
    }
    for (uint32_t i = 0; status == LBRT_OK && i < n; i++) {
        lb_tokdata_string l = left[i], r = right ? right[i] : left[i];
        if (!right) {
            const char *space = l.bytes ? memchr(l.text, ' ', l.bytes) : NULL;
            if (!space) {
                status = lb_fail(err, LBRT_ERR_FORMAT, "merge %u is not two words", i);
                break;
            }
            l.bytes = (size_t)(space - l.text);
            r.text = space + 1;
            r.bytes -= l.bytes + 1;
        }
        status = tokdata_resolve_merge(t, index, slots, l, r, i, spelling, buffer, err);
    }
    lb_free(&t->allocator, index, slots * sizeof *index);
    lb_free(&t->allocator, buffer, longest + 1);
    return status;
}
