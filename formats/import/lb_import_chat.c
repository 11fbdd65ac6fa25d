/*
 * Chat templates: the Jinja text is not recognised but asked. Conversations of marked contents are rendered
 * by the real template, what stands between the marks becomes the table of gaps, and the table must then
 * give the same text as the template for longer conversations. What a table cannot express is refused.
 */
#include "lb_jinja.h"
#include "lb_tokdata.h"

/* Marks that no template contains, of one length; padded with white space to see what is trimmed. */
#define CHAT_MARKS 8
enum { CHAT_MARK_BYTES = 6, CHAT_PAD = 3 };
static const char *const chat_plain[CHAT_MARKS] = { "qZ0xKj", "qZ1xKj", "qZ2xKj", "qZ3xKj",
                                                    "qZ4xKj", "qZ5xKj", "qZ6xKj", "qZ7xKj" };
static const char *const chat_padded[CHAT_MARKS] = { "\n \tqZ0xKj\t \n", "\n \tqZ1xKj\t \n",
                                                     "\n \tqZ2xKj\t \n", "\n \tqZ3xKj\t \n",
                                                     "\n \tqZ4xKj\t \n", "\n \tqZ5xKj\t \n",
                                                     "\n \tqZ6xKj\t \n", "\n \tqZ7xKj\t \n" };
static const char chat_pad_left[] = "\n \t", chat_pad_right[] = "\t \n";

typedef struct chat_asker {
    const char *source;
    const lbrt_allocator *a;
    lbrt_error *err;
    char bos[256], eos[256];
    bool has_bos, has_eos;
} chat_asker;

typedef struct chat_text {
    char *data;
    size_t bytes, cap;
} chat_text;

/* Roles as letters: "suau". */
static size_t chat_messages(const char *roles, bool padded, lbrt_message out[CHAT_MARKS])
{
    size_t n = 0;
    for (; roles[n] && n < CHAT_MARKS; n++) {
        out[n].role = roles[n] == 's' ? "system" : roles[n] == 'u' ? "user" : "assistant";
        out[n].content = padded ? chat_padded[n] : chat_plain[n];
    }
    return n;
}

static lbrt_status chat_ask(const chat_asker *q, const char *roles, bool padded, bool answer, chat_text *out)
{
    lbrt_message messages[CHAT_MARKS];
    const size_t n = chat_messages(roles, padded, messages);
    const lb_jinja_input in = { messages, n, answer, q->has_bos ? q->bos : NULL, q->has_eos ? q->eos : NULL };
    return lb_jinja_render(q->source, &in, q->a, &out->data, &out->bytes, &out->cap, q->err);
}

/* Where mark i stands, if it stands there exactly once; NULL else. */
static const char *chat_find_mark(const chat_text *text, size_t i)
{
    const char *found = NULL;
    for (size_t k = 0; k + CHAT_MARK_BYTES <= text->bytes; k++) {
        if (memcmp(text->data + k, chat_plain[i], CHAT_MARK_BYTES) == 0) {
            if (found) {
                return NULL;
            }
            found = text->data + k;
        }
    }
    return found;
}

typedef struct chat_found {
    uint32_t flags;
    char *text;
    uint32_t bytes;
} chat_found;

/*
 * The stretch of a rendering before mark `at`, from the mark before it or the beginning; of n marks, the
 * end is mark n.
 */
static bool chat_stretch(const chat_text *text, size_t n, size_t at, const char **from, const char **to)
{
    *from = text->data;
    *to = text->data + text->bytes;
    if (at) {
        const char *mark = chat_find_mark(text, at - 1);
        if (!mark) {
            return false;
        }
        *from = mark + CHAT_MARK_BYTES;
    }
    if (at < n) {
        *to = chat_find_mark(text, at);
    }
    return *to && *to >= *from;
}

/*
 * One gap: the one before message `at` of a conversation, or behind the last. Not allowed if the template
 * refuses the conversation or drops a message beside the gap.
 */
static lbrt_status chat_find_gap_of(const chat_asker *q, const char *roles, size_t at, bool answer,
                                    chat_found *gap)
{
    const size_t n = strlen(roles);
    chat_text plain = { NULL, 0, 0 }, padded = { NULL, 0, 0 };
    lbrt_status status = chat_ask(q, roles, false, answer, &plain);
    if (status == LBRT_OK) {
        status = chat_ask(q, roles, true, answer, &padded);
    }
    const char *from, *to, *padded_from, *padded_to;
    if (status == LBRT_OK && plain.bytes && chat_stretch(&plain, n, at, &from, &to) &&
        chat_stretch(&padded, n, at, &padded_from, &padded_to)) {
        const size_t bytes = (size_t)(to - from), padded_bytes = (size_t)(padded_to - padded_from);
        const bool has_before = at > 0, has_after = at < n;
        for (uint32_t trims = 0; trims < 4 && !gap->flags; trims++) {
            const size_t left = has_before && !(trims & 1) ? CHAT_PAD : 0,
                         right = has_after && !(trims & 2) ? CHAT_PAD : 0;
            if ((!has_before && (trims & 1)) || (!has_after && (trims & 2)) ||
                padded_bytes != left + bytes + right) {
                continue;
            }
            if (memcmp(padded_from, chat_pad_right, left) == 0 &&
                (!bytes || memcmp(padded_from + left, from, bytes) == 0) &&
                memcmp(padded_from + left + bytes, chat_pad_left, right) == 0) {
                gap->flags = LB_GAP_ALLOWED | (trims & 1 ? LB_GAP_TRIM_BEFORE : 0u) |
                             (trims & 2 ? LB_GAP_TRIM_AFTER : 0u);
            }
        }
        if (gap->flags && bytes) {
            gap->text = lb_alloc(q->a, bytes);
            if (gap->text) {
                memcpy(gap->text, from, bytes);
                gap->bytes = (uint32_t)bytes;
            } else {
                status = lb_fail(q->err, LBRT_ERR_MEMORY, "out of memory");
            }
        }
    }
    lb_free(q->a, plain.data, plain.cap);
    lb_free(q->a, padded.data, padded.cap);
    return status == LBRT_ERR_FORMAT ? LBRT_OK : status;
}

/*
 * Short conversations that have each gap, [before][after]: the gap is before message [before]'s place plus
 * one.
 */
static const char *const chat_paths[4][5] = { { "su", "u", "a", NULL, NULL },
                                              { "ss", "su", "sa", "s", "s" },
                                              { "us", "uu", "ua", "u", "u" },
                                              { "uas", "uau", "uaa", "ua", "ua" } };
static const size_t chat_places[4] = { 0, 1, 1, 2 };

/* Longer conversations that the table must get right, or refuse. */
static const char *const chat_checks[] = { "u",     "su",    "ua",     "sua",    "uau",     "suau", "uaua",
                                           "suaua", "uauau", "suauau", "uauaua", "suauaua", "uu",   "suu",
                                           "uauu",  "us",    "sus",    "uas",    "suas",    "ss",   "ssu",
                                           "a",     "au",    "sa",     "sau",    "uaau",    "usu",  "uasua",
                                           "uuu",   "auau",  "uaa",    "suaau" };

/*
 * True if the table and the template agree on a conversation; *differ counts those that the table allows
 * and gets wrong.
 */
static lbrt_status chat_check_one(const chat_asker *q, const char *form, const char *roles, bool padded,
                                  bool answer, bool *same)
{
    lbrt_message messages[CHAT_MARKS];
    const size_t n = chat_messages(roles, padded, messages);
    size_t need = 0;
    *same = true;
    const lbrt_status mine = lb_chat_render(form, messages, n, answer, "", 0, NULL, 0, &need, NULL);
    if (mine == LBRT_ERR_ARGUMENT) {
        return LBRT_OK; // an error in use, never a wrong text
    }
    chat_text real = { NULL, 0, 0 };
    lbrt_status status = chat_ask(q, roles, padded, answer, &real);
    if (status == LBRT_ERR_FORMAT) {
        *same = false;
        return LBRT_OK;
    }
    char *text = status == LBRT_OK ? lb_alloc(q->a, need + 1) : NULL;
    if (status == LBRT_OK && !text) {
        status = lb_fail(q->err, LBRT_ERR_MEMORY, "out of memory");
    }
    if (status == LBRT_OK) {
        *same = lb_chat_render(form, messages, n, answer, "", 0, text, need, &need, NULL) == LBRT_OK &&
                need == real.bytes && (!need || memcmp(text, real.data, need) == 0);
    }
    lb_free(q->a, text, need + 1);
    lb_free(q->a, real.data, real.cap);
    return status;
}

/*
 * Forbids the last step of a conversation that the table gets wrong, so that it is refused; false if that
 * is a step that must work.
 */
static bool chat_forbid(chat_found gaps[4][5], const char *roles)
{
    const size_t n = strlen(roles);
    for (size_t i = n; i-- > 0;) { // the last unusual step
        const char before = i ? roles[i - 1] : 0, after = roles[i];
        const int b = before == 0     ? 0
                      : before == 's' ? 1
                      : before == 'u' ? 2
                                      : 3,
                  f = after == 's'   ? 0
                      : after == 'u' ? 1
                                     : 2;
        const bool usual =
            (b == 0 && f <= 1) || (b == 1 && f == 1) || (b == 2 && f == 2) || (b == 3 && f == 1);
        if (!usual && gaps[b][f].flags) {
            gaps[b][f].flags = 0;
            return true;
        }
    }
    // Only usual steps: without a system message it must work; with one, system messages can be given up.
    if (roles[0] == 's' && gaps[0][0].flags) {
        gaps[0][0].flags = 0;
        return true;
    }
    return false;
}

static lbrt_status chat_serialise(const chat_found gaps[4][5], const lbrt_allocator *a, void **out,
                                  size_t *bytes, lbrt_error *err)
{
    size_t n = 0;
    for (int i = 0; i < LB_CHAT_GAPS; i++) {
        n += 8 + (gaps[i / 5][i % 5].flags ? gaps[i / 5][i % 5].bytes : 0);
    }
    unsigned char *p = lb_alloc(a, n);
    LB_FAIL_IF(!p, err, LBRT_ERR_MEMORY, "out of memory");
    *out = p;
    *bytes = n;
    for (int i = 0; i < LB_CHAT_GAPS; i++) {
        const chat_found *gap = &gaps[i / 5][i % 5];
        const uint32_t length = gap->flags ? gap->bytes : 0;
        lb_store_u32(p, gap->flags);
        lb_store_u32(p + 4, length);
        if (length) {
            memcpy(p + 8, gap->text, length);
        }
        p += 8 + length;
    }
    return LBRT_OK;
}

/* Makes the table agree with the template everywhere, by giving up what it cannot express. */
static lbrt_status chat_settle(const chat_asker *q, chat_found gaps[4][5], void **out, size_t *bytes)
{
    LB_TRY(chat_serialise((const chat_found(*)[5])gaps, q->a, out, bytes, q->err));
    const size_t n = sizeof chat_checks / sizeof *chat_checks;
    for (size_t i = 0; i < n * 4;) {
        bool same;
        const char *roles = chat_checks[i / 4];
        lbrt_status status = chat_check_one(q, *out, roles, i & 1, (i & 2) != 0, &same);
        if (status == LBRT_OK && same) {
            i++;
            continue;
        }
        lb_free(q->a, *out, *bytes);
        *out = NULL;
        *bytes = 0;
        LB_TRY(status);
        LB_FAIL_IF(!chat_forbid(gaps, roles), q->err, LBRT_ERR_UNSUPPORTED,
                   "chat template: what stands between two messages depends on more than their roles");
        LB_TRY(chat_serialise((const chat_found(*)[5])gaps, q->a, out, bytes, q->err));
        i = 0; // from the beginning: each round forbids one of twenty steps
    }
    return LBRT_OK;
}

static void chat_token_text(const lb_tokdata *t, int32_t id, char out[256], bool *has)
{
    *has = id >= 0 && (uint32_t)id < t->n_tokens && t->tokens[id].bytes < 256 &&
           !memchr(t->tokens[id].text, 0, t->tokens[id].bytes);
    if (*has) {
        memcpy(out, t->tokens[id].text, t->tokens[id].bytes);
        out[t->tokens[id].bytes] = 0;
    }
}

lbrt_status lb_tokdata_chat_form(const lb_tokdata *t, const lbrt_allocator *a, void **out, size_t *bytes,
                                 lbrt_error *err)
{
    *out = NULL;
    *bytes = 0;
    LB_FAIL_IF(!t->chat_template, err, LBRT_ERR_UNSUPPORTED, "the model has no chat template");
    const lbrt_allocator allocator = lb_allocator_or_default(a);
    chat_asker q = { .source = t->chat_template, .a = &allocator, .err = err };
    chat_token_text(t, t->bos, q.bos, &q.has_bos);
    chat_token_text(t, t->eos, q.eos, &q.has_eos);
    chat_found gaps[4][5];
    memset(gaps, 0, sizeof gaps);
    lbrt_status status = LBRT_OK;
    for (int before = 0; before < 4; before++) {
        for (int after = 0; after < 5 && status == LBRT_OK; after++) {
            if (chat_paths[before][after]) {
                status = chat_find_gap_of(&q, chat_paths[before][after], chat_places[before], after == 4,
                                          &gaps[before][after]);
            }
        }
    }
    if (status == LBRT_OK &&
        (!gaps[0][1].flags || !gaps[2][4].flags || !gaps[2][2].flags || !gaps[3][1].flags)) {
        status =
            lb_fail(err, LBRT_ERR_UNSUPPORTED, "chat template: it does not render user, assistant, user");
    }
    if (status == LBRT_OK) {
        status = chat_settle(&q, gaps, out, bytes);
    }
    for (int i = 0; i < LB_CHAT_GAPS; i++) {
        lb_free(&allocator, gaps[i / 5][i % 5].text, gaps[i / 5][i % 5].bytes);
    }
    return status;
}
