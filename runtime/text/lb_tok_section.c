/*
 * The tokenizer section: opening it, which checks everything that is in it, and looking up what it says.
 */
#include "lb_tok_section.h"

/* ---------------------------------------------------------------- opening */

/* Takes `count` items of `each` bytes off the section; false if it is too short. */
static bool tok_take(const unsigned char **p, size_t *left, uint32_t count, size_t each,
                     const unsigned char **out)
{
    size_t bytes;
    if (!lb_mul_size(count, each, &bytes) || bytes > SIZE_MAX - 3) {
        return false;
    }
    bytes = lb_round_up(bytes, 4);
    if (bytes > *left) {
        return false;
    }
    *out = *p;
    *p += bytes;
    *left -= bytes;
    return true;
}

static bool tok_is_slot_count(uint32_t slots)
{
    return (slots & (slots - 1)) == 0; // 0 too
}

/*
 * Values in range, and no run of filled slots longer than the format allows, so that every search ends
 * soon.
 */
static bool tok_index_is_sound(const unsigned char *index, uint32_t slots, uint32_t count)
{
    uint32_t run = 0, first_run = 0;
    bool empty = slots == 0;
    for (uint32_t i = 0; i < slots; i++) {
        const uint32_t v = lb_load_u32(index + (size_t)i * 4);
        if (v > count) {
            return false;
        }
        if (v) {
            if (++run > LB_TOK_MAX_RUN) {
                return false;
            }
        } else {
            if (!empty) {
                first_run = run;
            }
            empty = true;
            run = 0;
        }
    }
    return empty && run + first_run <= LB_TOK_MAX_RUN;
}

static bool tok_is_id_or_none(int32_t id, uint32_t n_tokens)
{
    return id == -1 || (id >= 0 && (uint32_t)id < n_tokens);
}

/* Compares two tokens' texts as unsigned bytes, a prefix first. */
static int tok_compare(const lb_tokenizer *t, uint32_t a, uint32_t b)
{
    uint32_t na, nb;
    const char *pa = lb_tok_text(t, a, &na), *pb = lb_tok_text(t, b, &nb);
    const int order = memcmp(pa, pb, na < nb ? na : nb);
    return order ? order : na < nb ? -1 : na > nb;
}

static lbrt_status tok_check_chat(const char *form, size_t bytes, lbrt_error *err)
{
    size_t at = 0;
    for (int i = 0; i < LB_CHAT_GAPS; i++) {
        LB_FAIL_IF(bytes - at < 8 || lb_load_u32(form + at + 4) > bytes - at - 8, err, LBRT_ERR_FORMAT,
                   "tokenizer: the chat form is damaged");
        LB_FAIL_IF(lb_load_u32(form + at) & ~(uint32_t)LB_GAP_ALL_FLAGS, err, LBRT_ERR_UNSUPPORTED,
                   "tokenizer: unknown flags in the chat form");
        at += 8 + lb_load_u32(form + at + 4);
    }
    LB_FAIL_IF(at != bytes, err, LBRT_ERR_FORMAT, "tokenizer: the chat form is damaged");
    return LBRT_OK;
}

static lbrt_status tok_read_header(lb_tokenizer *t, const unsigned char *h, uint32_t *n_merges,
                                   uint32_t *text_bytes, lbrt_error *err)
{
    LB_FAIL_IF(memcmp(h, "LBTK", 4) != 0, err, LBRT_ERR_FORMAT, "tokenizer: not a tokenizer section");
    LB_FAIL_IF(lb_load_u32(h + 4) != LB_TOK_SECTION_VERSION, err, LBRT_ERR_UNSUPPORTED,
               "tokenizer: section version %u", lb_load_u32(h + 4));
    const uint32_t model = lb_load_u32(h + 8), pretokenizer = lb_load_u32(h + 12);
    LB_FAIL_IF(model < LB_TOK_SPM || model > LB_TOK_BPE, err, LBRT_ERR_UNSUPPORTED, "tokenizer: model %u",
               model);
    LB_FAIL_IF(pretokenizer > LB_PRETOK_LAST, err, LBRT_ERR_UNSUPPORTED,
               "tokenizer: pre-tokenizer %u", pretokenizer);
    t->model = (lb_tok_model)model;
    t->pretokenizer = (lb_pretokenizer)pretokenizer;
    t->flags = lb_load_u32(h + 16);
    LB_FAIL_IF(t->flags & ~(uint32_t)LB_TOK_ALL_FLAGS, err, LBRT_ERR_UNSUPPORTED, "tokenizer: flags %x",
               t->flags);
    t->n_tokens = lb_load_u32(h + 20);
    *n_merges = lb_load_u32(h + 24);
    t->n_specials = lb_load_u32(h + 28);
    t->token_slots = lb_load_u32(h + 32);
    t->merge_slots = lb_load_u32(h + 36);
    *text_bytes = lb_load_u32(h + 40);
    t->chat_bytes = lb_load_u32(h + 44);
    t->bos = (int32_t)lb_load_u32(h + 48);
    t->eos = (int32_t)lb_load_u32(h + 52);
    t->unk = (int32_t)lb_load_u32(h + 56);
    t->n_ends = lb_load_u32(h + 64);
    LB_FAIL_IF(t->n_tokens == 0 || t->n_tokens > 1u << 24 || *n_merges > 1u << 24 ||
                   t->n_specials > t->n_tokens || t->n_ends > LB_TOK_MAX_ENDS ||
                   !tok_is_slot_count(t->token_slots) || !tok_is_slot_count(t->merge_slots) ||
                   (model == LB_TOK_SPM && *n_merges),
               err, LBRT_ERR_FORMAT, "tokenizer: impossible counts");
    bool ids = tok_is_id_or_none(t->bos, t->n_tokens) && tok_is_id_or_none(t->eos, t->n_tokens) &&
               tok_is_id_or_none(t->unk, t->n_tokens) &&
               tok_is_id_or_none((int32_t)lb_load_u32(h + 60), t->n_tokens);
    for (uint32_t i = 0; i < t->n_ends; i++) {
        t->ends[i] = (int32_t)lb_load_u32(h + 68 + i * 4);
        ids = ids && t->ends[i] != -1 && tok_is_id_or_none(t->ends[i], t->n_tokens);
    }
    LB_FAIL_IF(!ids, err, LBRT_ERR_FORMAT, "tokenizer: a special token's id is not in the vocabulary");
    return LBRT_OK;
}

/* Every token: offsets, type, score; and the facts that encoding wants. */
static lbrt_status tok_read_tokens(lb_tokenizer *t, uint32_t text_bytes, lbrt_error *err)
{
    for (size_t i = 0; i < 256; i++) {
        t->byte_token[i] = -1;
    }
    LB_FAIL_IF(lb_load_u32(t->offsets) != 0 ||
                   lb_load_u32(t->offsets + (size_t)t->n_tokens * 4) != text_bytes,
               err, LBRT_ERR_FORMAT, "tokenizer: the texts of the tokens do not fill their space");
    t->space_leads = true;
    for (uint32_t id = 0; id < t->n_tokens; id++) {
        const uint32_t from = lb_load_u32(t->offsets + (size_t)id * 4),
                       to = lb_load_u32(t->offsets + (size_t)id * 4 + 4);
        const uint32_t type = lb_tok_type(t, id);
        const bool sound = from <= to && to <= text_bytes && to - from <= LB_TOK_MAX_TEXT &&
                           type >= LB_TOKEN_NORMAL && type <= LB_TOKEN_BYTE &&
                           (t->types[id] & ~(LB_TOK_TYPE_MASK | LB_TOK_LSTRIP | LB_TOK_RSTRIP)) == 0 &&
                           (type != LB_TOKEN_BYTE || to - from == 1);
        LB_FAIL_IF(!sound, err, LBRT_ERR_FORMAT, "tokenizer: token %u is damaged", id);
        const uint32_t n = to - from;
        if (n > t->longest) {
            t->longest = n;
        }
        if (t->model == LB_TOK_SPM) { // finite: the exponent is not all ones
            const uint32_t bits = lb_load_u32(t->scores + (size_t)id * 4);
            LB_FAIL_IF((bits & 0x7f800000u) == 0x7f800000u, err, LBRT_ERR_FORMAT,
                       "tokenizer: token %u has no finite score", id);
        }
        const bool wanted = t->model == LB_TOK_BYTE_BPE ? type == LB_TOKEN_NORMAL || type == LB_TOKEN_BYTE
                                                        : type == LB_TOKEN_BYTE;
        if (n == 1 && wanted && t->byte_token[(unsigned char)t->text[from]] < 0) {
            t->byte_token[(unsigned char)t->text[from]] = (int32_t)id;
        }
        if (t->model != LB_TOK_BYTE_BPE && t->space_leads &&
            (type == LB_TOKEN_NORMAL || type == LB_TOKEN_UNUSED)) {
            for (uint32_t k = from + 1; k < to; k++) {
                if (t->text[k] == ' ' && t->text[k - 1] != ' ') {
                    t->space_leads = false;
                }
            }
        }
    }
    return LBRT_OK;
}

static lbrt_status tok_read_rest(lb_tokenizer *t, uint32_t n_merges, lbrt_error *err)
{
    for (uint32_t i = 0; i < n_merges; i++) {
        const unsigned char *m = t->merges + (size_t)i * 12;
        const uint32_t id[3] = { lb_load_u32(m), lb_load_u32(m + 4), lb_load_u32(m + 8) };
        bool sound = id[0] < t->n_tokens && id[1] < t->n_tokens && id[2] < t->n_tokens;
        if (sound) {
            uint32_t n[3];
            for (int k = 0; k < 3; k++) {
                (void)lb_tok_text(t, id[k], &n[k]);
            }
            sound = n[0] + n[1] == n[2] && n[0] && n[1];
        }
        LB_FAIL_IF(!sound, err, LBRT_ERR_FORMAT, "tokenizer: merge %u is damaged", i);
    }
    LB_FAIL_IF(!tok_index_is_sound(t->token_index, t->token_slots, t->n_tokens) ||
                   !tok_index_is_sound(t->merge_index, t->merge_slots, n_merges),
               err, LBRT_ERR_FORMAT, "tokenizer: an index is damaged");
    unsigned next = 0; // first byte whose specials have not begun
    for (uint32_t i = 0; i < t->n_specials; i++) {
        const uint32_t id = lb_tok_special(t, i);
        bool sound = id < t->n_tokens;
        if (sound) {
            const uint32_t type = lb_tok_type(t, id);
            uint32_t n;
            const char *text = lb_tok_text(t, id, &n);
            sound = n && (type == LB_TOKEN_CONTROL || type == LB_TOKEN_USER) &&
                    (i == 0 || tok_compare(t, lb_tok_special(t, i - 1), id) < 0);
            while (sound && next <= (unsigned char)text[0]) {
                t->special_from[next++] = i;
            }
        }
        LB_FAIL_IF(!sound, err, LBRT_ERR_FORMAT, "tokenizer: the list of special tokens is damaged");
    }
    while (next <= 256) {
        t->special_from[next++] = t->n_specials;
    }
    return t->chat_bytes ? tok_check_chat(t->chat, t->chat_bytes, err) : LBRT_OK;
}

static lbrt_status tok_read_section(lb_tokenizer *t, const unsigned char *p, size_t left, lbrt_error *err)
{
    uint32_t n_merges = 0, text_bytes = 0;
    LB_FAIL_IF(left < LB_TOK_HEADER_BYTES, err, LBRT_ERR_FORMAT, "tokenizer: the section is too short");
    LB_TRY(tok_read_header(t, p, &n_merges, &text_bytes, err));
    p += LB_TOK_HEADER_BYTES;
    left -= LB_TOK_HEADER_BYTES;
    const unsigned char *chat, *text;
    const bool fits = tok_take(&p, &left, t->n_tokens + 1, 4, &t->offsets) &&
                      tok_take(&p, &left, t->model == LB_TOK_SPM ? t->n_tokens : 0, 4, &t->scores) &&
                      tok_take(&p, &left, n_merges, 12, &t->merges) &&
                      tok_take(&p, &left, t->n_specials, 4, &t->specials) &&
                      tok_take(&p, &left, t->token_slots, 4, &t->token_index) &&
                      tok_take(&p, &left, t->merge_slots, 4, &t->merge_index) &&
                      tok_take(&p, &left, t->n_tokens, 1, &t->types) &&
                      tok_take(&p, &left, t->chat_bytes, 1, &chat) &&
                      tok_take(&p, &left, text_bytes, 1, &text);
    LB_FAIL_IF(!fits, err, LBRT_ERR_FORMAT, "tokenizer: the section is cut short");
    t->chat = (const char *)chat;
    t->text = (const char *)text;
    LB_TRY(tok_read_tokens(t, text_bytes, err));
    return tok_read_rest(t, n_merges, err);
}

lbrt_status lb_tokenizer_open(const void *section, size_t bytes, const lbrt_allocator *a, lb_tokenizer **out,
                              lbrt_error *err)
{
    *out = NULL;
    const lbrt_allocator allocator = lb_allocator_or_default(a);
    lb_tokenizer *t = lb_alloc_zero(&allocator, 1, sizeof *t);
    LB_FAIL_IF(!t, err, LBRT_ERR_MEMORY, "tokenizer: out of memory");
    t->allocator = allocator;
    const lbrt_status status = tok_read_section(t, section, bytes, err);
    if (status != LBRT_OK) {
        lb_tokenizer_close(t);
        return status;
    }
    *out = t;
    return LBRT_OK;
}

void lb_tokenizer_close(lb_tokenizer *t)
{
    if (t) {
        const lbrt_allocator allocator = t->allocator;
        lb_free(&allocator, t, sizeof *t);
    }
}

/* ---------------------------------------------------------------- questions */

uint32_t lb_tokenizer_count(const lb_tokenizer *t)
{
    return t->n_tokens;
}

int32_t lb_tokenizer_bos(const lb_tokenizer *t)
{
    return t->bos;
}

int32_t lb_tokenizer_eos(const lb_tokenizer *t)
{
    return t->eos;
}

bool lb_tokenizer_adds_bos(const lb_tokenizer *t)
{
    return (t->flags & LB_TOK_ADD_BOS) && t->bos >= 0;
}

bool lb_tokenizer_ends(const lb_tokenizer *t, lbrt_token id)
{
    bool ends = id >= 0 && id == t->eos;
    for (uint32_t i = 0; i < t->n_ends; i++) {
        ends = ends || id == t->ends[i];
    }
    return ends;
}

bool lb_tokenizer_has_chat(const lb_tokenizer *t)
{
    return t->chat_bytes != 0;
}

lbrt_status lb_tokenizer_token_text(const lb_tokenizer *t, lbrt_token id, bool special, const char **text,
                                    size_t *bytes)
{
    *text = "";
    *bytes = 0;
    if (id < 0 || (uint32_t)id >= t->n_tokens) {
        return LBRT_ERR_ARGUMENT;
    }
    const uint32_t type = lb_tok_type(t, (uint32_t)id);
    if (special || (type != LB_TOKEN_CONTROL && type != LB_TOKEN_UNKNOWN)) {
        uint32_t n;
        *text = lb_tok_text(t, (uint32_t)id, &n);
        *bytes = n;
    }
    return LBRT_OK;
}

int32_t lb_tok_find(const lb_tokenizer *t, const char *text, size_t bytes)
{
    if (!t->token_slots || bytes > t->longest) {
        return -1;
    }
    const uint32_t mask = t->token_slots - 1;
    for (uint32_t slot = lb_tok_hash_text(text, bytes) & mask;; slot = (slot + 1) & mask) {
        const uint32_t v = lb_load_u32(t->token_index + (size_t)slot * 4);
        if (!v) {
            return -1;
        }
        uint32_t n;
        const char *candidate = lb_tok_text(t, v - 1, &n);
        if (n == bytes && memcmp(candidate, text, bytes) == 0) {
            return (int32_t)(v - 1);
        }
    }
}

int32_t lb_tok_find_merge(const lb_tokenizer *t, int32_t left, int32_t right, uint32_t *rank)
{
    if (!t->merge_slots || left < 0 || right < 0) {
        return -1;
    }
    const uint32_t mask = t->merge_slots - 1;
    for (uint32_t slot = lb_tok_hash_pair((uint32_t)left, (uint32_t)right) & mask;;
         slot = (slot + 1) & mask) {
        const uint32_t v = lb_load_u32(t->merge_index + (size_t)slot * 4);
        if (!v) {
            return -1;
        }
        const unsigned char *m = t->merges + (size_t)(v - 1) * 12;
        if (lb_load_u32(m) == (uint32_t)left && lb_load_u32(m + 4) == (uint32_t)right) {
            *rank = v - 1;
            return (int32_t)lb_load_u32(m + 8);
        }
    }
}
