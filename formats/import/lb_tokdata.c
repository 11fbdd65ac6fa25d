/*
 * A tokenizer as data: building it, and writing it as the section that lb_tokenizer.h specifies.
 */
#include "lb_tokdata.h"

#include <stdlib.h>

#include "../../runtime/text/lb_tok_internal.h"

/* ---------------------------------------------------------------- building */

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
        for (size_t k = 0; token->type == LB_TOKEN_CONTROL && k < sizeof names / sizeof *names; k++) {
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

/*
 * ---------------------------------------------------------------- open hashing, for merges and for the
 * section
 */

/* A power of two of slots for n entries, one and a half times as many at least. */
static uint32_t tokdata_slots(uint32_t n)
{
    uint32_t slots = n ? 4 : 0;
    while (slots && slots < n + n / 2) {
        slots *= 2;
    }
    return slots;
}

static bool tokdata_is_in_index(const lb_tokdata_token *token)
{
    return token->bytes &&
           (token->type == LB_TOKEN_NORMAL || token->type == LB_TOKEN_USER || token->type == LB_TOKEN_UNUSED);
}

/* Enters token `id` unless its text is there; index has a power of two of slots, some empty. */
static void tokdata_enter_token(const lb_tokdata *t, uint32_t *index, uint32_t slots, uint32_t id)
{
    const lb_tokdata_token *token = &t->tokens[id];
    for (uint32_t slot = lb_tok_hash_text(token->text, token->bytes) & (slots - 1);;
         slot = (slot + 1) & (slots - 1)) {
        if (!index[slot]) {
            index[slot] = id + 1;
            return;
        }
        const lb_tokdata_token *other = &t->tokens[index[slot] - 1];
        if (other->bytes == token->bytes && memcmp(other->text, token->text, token->bytes) == 0) {
            return;
        }
    }
}

static void tokdata_enter_merge(const lb_tokdata *t, uint32_t *index, uint32_t slots, uint32_t rank)
{
    const lb_tokdata_merge *m = &t->merges[rank];
    for (uint32_t slot = lb_tok_hash_pair((uint32_t)m->left, (uint32_t)m->right) & (slots - 1);;
         slot = (slot + 1) & (slots - 1)) {
        if (!index[slot]) {
            index[slot] = rank + 1;
            return;
        }
        const lb_tokdata_merge *other = &t->merges[index[slot] - 1];
        if (other->left == m->left && other->right == m->right) {
            return;
        }
    }
}

static int32_t tokdata_look_up(const lb_tokdata *t, const uint32_t *index, uint32_t slots, const char *text,
                               size_t bytes)
{
    for (uint32_t slot = lb_tok_hash_text(text, bytes) & (slots - 1); index[slot];
         slot = (slot + 1) & (slots - 1)) {
        const lb_tokdata_token *token = &t->tokens[index[slot] - 1];
        if (token->bytes == bytes && memcmp(token->text, text, bytes) == 0) {
            return (int32_t)(index[slot] - 1);
        }
    }
    return -1;
}

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
    m->left = tokdata_look_up(t, index, slots, buffer, n_left);
    m->right = tokdata_look_up(t, index, slots, buffer + n_left, n_right);
    m->result = tokdata_look_up(t, index, slots, buffer, n_left + n_right);
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
    const uint32_t slots = tokdata_slots(t->n_tokens);
    uint32_t *index = lb_alloc_zero(&t->allocator, slots, sizeof *index);
    char *buffer = lb_alloc(&t->allocator, longest + 1);
    t->merges = lb_alloc_zero(&t->allocator, n, sizeof *t->merges);
    t->n_merges = t->merges ? (uint32_t)n : 0;
    lbrt_status status = LBRT_OK;
    if (!index || !buffer || !t->merges) {
        status = lb_fail(err, LBRT_ERR_MEMORY, "out of memory");
    }
    for (uint32_t i = 0; status == LBRT_OK && i < t->n_tokens; i++) {
        if (tokdata_is_in_index(&t->tokens[i])) {
            tokdata_enter_token(t, index, slots, i);
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

/* ---------------------------------------------------------------- writing */

typedef struct tokdata_special {
    const char *text;
    uint32_t bytes, id;
} tokdata_special;

static int tokdata_compare_specials(const void *pa, const void *pb)
{
    const tokdata_special *a = pa, *b = pb;
    const int order = memcmp(a->text, b->text, lb_min(a->bytes, b->bytes));
    if (order) {
        return order;
    }
    if (a->bytes != b->bytes) {
        return a->bytes < b->bytes ? -1 : 1;
    }
    return a->id < b->id ? -1 : a->id > b->id;
}

typedef struct tokdata_plan {
    tokdata_special *specials;
    uint32_t n_special_tokens, n_specials; /* allocated; without doubles */
    uint32_t token_slots, merge_slots;
    uint32_t *token_index, *merge_index;
    void *chat;
    size_t chat_bytes;
} tokdata_plan;

/* True if no run of filled slots is longer than the format allows. */
static bool tokdata_runs_are_short(const uint32_t *index, uint32_t slots)
{
    uint32_t run = 0;
    for (uint64_t i = 0; i < 2 * (uint64_t)slots; i++) { // twice round: a run may go over the end
        run = index[i & (slots - 1)] ? run + 1 : 0;
        if (run > LB_TOK_MAX_RUN) {
            return false;
        }
    }
    return true;
}

/* Builds an index, with more slots until it is sound. */
static lbrt_status tokdata_build_index(const lb_tokdata *t, const lbrt_allocator *a, bool merges,
                                       uint32_t **index, uint32_t *slots, lbrt_error *err)
{
    const uint32_t n = merges ? t->n_merges : t->n_tokens;
    for (*slots = tokdata_slots(n); *slots; *slots *= 2) {
        *index = lb_alloc_zero(a, *slots, sizeof **index);
        LB_FAIL_IF(!*index, err, LBRT_ERR_MEMORY, "out of memory");
        for (uint32_t i = 0; i < n; i++) {
            if (merges) {
                tokdata_enter_merge(t, *index, *slots, i);
            } else if (tokdata_is_in_index(&t->tokens[i])) {
                tokdata_enter_token(t, *index, *slots, i);
            }
        }
        if (tokdata_runs_are_short(*index, *slots)) {
            break;
        }
        lb_free(a, *index, *slots * sizeof **index);
        *index = NULL;
        LB_FAIL_IF(*slots > 1u << 27, err, LBRT_ERR_UNSUPPORTED, "a vocabulary that cannot be hashed");
    }
    return LBRT_OK;
}

static lbrt_status tokdata_plan_section(const lb_tokdata *t, const lbrt_allocator *a, tokdata_plan *p,
                                        lbrt_error *err)
{
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        p->n_special_tokens += t->tokens[i].bytes &&
                               (t->tokens[i].type == LB_TOKEN_CONTROL || t->tokens[i].type == LB_TOKEN_USER);
    }
    if (p->n_special_tokens) {
        p->specials = lb_alloc(a, p->n_special_tokens * sizeof *p->specials);
        LB_FAIL_IF(!p->specials, err, LBRT_ERR_MEMORY, "out of memory");
        uint32_t n = 0;
        for (uint32_t i = 0; i < t->n_tokens; i++) {
            const lb_tokdata_token *token = &t->tokens[i];
            if (token->bytes && (token->type == LB_TOKEN_CONTROL || token->type == LB_TOKEN_USER)) {
                const tokdata_special special = { token->text, token->bytes, i };
                p->specials[n++] = special;
            }
        }
        qsort(p->specials, n, sizeof *p->specials, tokdata_compare_specials);
        for (uint32_t i = 0; i < n; i++) { // of several with the same text the lowest id stays
            const tokdata_special *last = p->n_specials ? &p->specials[p->n_specials - 1] : NULL;
            if (!last || last->bytes != p->specials[i].bytes ||
                memcmp(last->text, p->specials[i].text, last->bytes) != 0) {
                p->specials[p->n_specials++] = p->specials[i];
            }
        }
    }
    LB_TRY(tokdata_build_index(t, a, false, &p->token_index, &p->token_slots, err));
    LB_TRY(tokdata_build_index(t, a, true, &p->merge_index, &p->merge_slots, err));
    if (t->chat_template) {
        const lbrt_status status = lb_tokdata_chat_form(t, a, &p->chat, &p->chat_bytes, err);
        if (status != LBRT_OK &&
            status != LBRT_ERR_UNSUPPORTED) { // without a form, chat formatting says that it is not supported
            return status;
        }
    }
    return LBRT_OK;
}

static void tokdata_put_u32s(unsigned char **p, const uint32_t *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        lb_store_u32(*p, values[i]);
        *p += 4;
    }
}

static void tokdata_put_section(const lb_tokdata *t, const tokdata_plan *plan, uint32_t text_bytes,
                                unsigned char *p)
{
    memcpy(p, "LBTK", 4);
    const uint32_t head[16] = { LB_TOK_SECTION_VERSION,
                                (uint32_t)t->model,
                                (uint32_t)t->pretokenizer,
                                t->flags,
                                t->n_tokens,
                                t->n_merges,
                                plan->n_specials,
                                plan->token_slots,
                                plan->merge_slots,
                                text_bytes,
                                (uint32_t)plan->chat_bytes,
                                (uint32_t)t->bos,
                                (uint32_t)t->eos,
                                (uint32_t)t->unk,
                                (uint32_t)t->pad,
                                t->n_ends };
    unsigned char *h = p + 4;
    tokdata_put_u32s(&h, head, 16);
    for (uint32_t i = 0; i < t->n_ends; i++) {
        lb_store_u32(h + i * 4, (uint32_t)t->ends[i]);
    }
    p += LB_TOK_HEADER_BYTES;
    uint32_t offset = 0;
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        tokdata_put_u32s(&p, &offset, 1);
        offset += t->tokens[i].bytes;
    }
    tokdata_put_u32s(&p, &offset, 1);
    for (uint32_t i = 0; t->model == LB_TOK_SPM && i < t->n_tokens; i++) {
        uint32_t bits;
        memcpy(&bits, &t->tokens[i].score, sizeof bits);
        tokdata_put_u32s(&p, &bits, 1);
    }
    for (uint32_t i = 0; i < t->n_merges; i++) {
        const uint32_t m[3] = { (uint32_t)t->merges[i].left, (uint32_t)t->merges[i].right,
                                (uint32_t)t->merges[i].result };
        tokdata_put_u32s(&p, m, 3);
    }
    for (uint32_t i = 0; i < plan->n_specials; i++) {
        tokdata_put_u32s(&p, &plan->specials[i].id, 1);
    }
    tokdata_put_u32s(&p, plan->token_index, plan->token_slots);
    tokdata_put_u32s(&p, plan->merge_index, plan->merge_slots);
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        p[i] = (unsigned char)(t->tokens[i].type | t->tokens[i].strip);
    }
    p += lb_round_up(t->n_tokens, 4);
    if (plan->chat_bytes) {
        memcpy(p, plan->chat, plan->chat_bytes);
        p += lb_round_up(plan->chat_bytes, 4);
    }
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        if (t->tokens[i].bytes) {
            memcpy(p, t->tokens[i].text, t->tokens[i].bytes);
            p += t->tokens[i].bytes;
        }
    }
}

lbrt_status lb_tokdata_write(const lb_tokdata *t, const lbrt_allocator *a, void **out, size_t *bytes,
                             lbrt_error *err)
{
    *out = NULL;
    *bytes = 0;
    const lbrt_allocator allocator = lb_allocator_or_default(a);
    uint64_t text_bytes = 0;
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        text_bytes += t->tokens[i].bytes;
    }
    LB_FAIL_IF(text_bytes > 1u << 30, err, LBRT_ERR_UNSUPPORTED, "a vocabulary of more than 1 GiB");
    tokdata_plan plan = { 0 };
    lbrt_status status = tokdata_plan_section(t, &allocator, &plan, err);
    if (status == LBRT_OK) {
        const size_t size = LB_TOK_HEADER_BYTES + ((size_t)t->n_tokens + 1) * 4 +
                            (t->model == LB_TOK_SPM ? (size_t)t->n_tokens * 4 : 0) +
                            (size_t)t->n_merges * 12 +
                            ((size_t)plan.n_specials + plan.token_slots + plan.merge_slots) * 4 +
                            lb_round_up(t->n_tokens, 4) + lb_round_up(plan.chat_bytes, 4) +
                            lb_round_up((size_t)text_bytes, 4);
        unsigned char *section = lb_alloc_zero(&allocator, size, 1);
        if (section) {
            tokdata_put_section(t, &plan, (uint32_t)text_bytes, section);
            // What was read from someone else's file may still break a rule: the reader has the last word.
            lb_tokenizer *check = NULL;
            status = lb_tokenizer_open(section, size, &allocator, &check, err);
            lb_tokenizer_close(check);
        } else {
            status = lb_fail(err, LBRT_ERR_MEMORY, "out of memory");
        }
        if (status == LBRT_OK) {
            *out = section;
            *bytes = size;
        } else {
            lb_free(&allocator, section, size);
        }
    }
    lb_free(&allocator, plan.specials, plan.n_special_tokens * sizeof *plan.specials);
    lb_free(&allocator, plan.token_index, plan.token_slots * sizeof *plan.token_index);
    lb_free(&allocator, plan.merge_index, plan.merge_slots * sizeof *plan.merge_index);
    lb_free(&allocator, plan.chat, plan.chat_bytes);
    return status;
}
