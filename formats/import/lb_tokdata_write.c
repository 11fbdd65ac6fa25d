/*
 * Writing a tokenizer as the section that lb_tokenizer.h specifies: what goes into it is made first (the
 * sorted specials, the indices, the chat form), then its size is known and it is put together.
 */
#include <stdlib.h>

#include "../../runtime/text/lb_tokenizer.h"
#include "lb_tokdata_index.h"

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
    for (*slots = lb_tokdata_slots(n); *slots; *slots *= 2) {
        *index = lb_alloc_zero(a, *slots, sizeof **index);
        LB_FAIL_IF(!*index, err, LBRT_ERR_MEMORY, "out of memory");
        bool short_runs = true;
        for (uint32_t i = 0; i < n && short_runs; i++) {
            if (merges) {
                short_runs = lb_tokdata_enter_merge(t, *index, *slots, i);
            } else if (lb_tokdata_is_in_index(&t->tokens[i])) {
                short_runs = lb_tokdata_enter_token(t, *index, *slots, i);
            }
        }
        if (short_runs && tokdata_runs_are_short(*index, *slots)) {
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
