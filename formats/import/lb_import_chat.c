/*
 * Chat templates: the Jinja text is not recognised but asked. Conversations of marked contents are rendered
 * by the real template, what stands between the marks becomes the table of gaps, and the table must then
 * give the same text as the template for longer conversations. What a table cannot express is refused.
 */
#include <time.h>

#include "lb_jinja.h"
#include "lb_tokdata.h"

/* Marks that no template contains, of one length; padded with white space to see what is trimmed, behind thoughts to see what is left of those. */
#define CHAT_MARKS 8
enum { CHAT_MARK_BYTES = 6, CHAT_PAD = 3 };
typedef enum chat_kind { CHAT_PLAIN, CHAT_PADDED, CHAT_THOUGHT, CHAT_THOUGHT_PADDED } chat_kind;
#define CHAT_PAD_LEFT "\n \t"
#define CHAT_PAD_RIGHT "\t \n"
#define CHAT_ALL(before, after)                                                                                            \
    { before "qZ0xKj" after, before "qZ1xKj" after, before "qZ2xKj" after, before "qZ3xKj" after, before "qZ4xKj" after, \
      before "qZ5xKj" after, before "qZ6xKj" after, before "qZ7xKj" after }
static const char *const chat_marks[][CHAT_MARKS] = {
    CHAT_ALL("", ""), CHAT_ALL(CHAT_PAD_LEFT, CHAT_PAD_RIGHT), CHAT_ALL("<think>\nso</think>\nand so\n</think>\n\n", ""),
    CHAT_ALL(CHAT_PAD_LEFT "<think>\nso\n</think>\n\n\t ", CHAT_PAD_RIGHT)
};
static const char chat_pad_left[] = CHAT_PAD_LEFT, chat_pad_right[] = CHAT_PAD_RIGHT;

typedef struct chat_asker {
    const char *source;
    const lbrt_allocator *a;
    lbrt_error *err;
    char bos[256], eos[256];
    bool has_bos, has_eos;
    int64_t now;
} chat_asker;

typedef struct chat_text {
    char *data;
    size_t bytes, cap;
} chat_text;

/* Roles as letters: "suau". Only an assistant thinks. */
static size_t chat_messages(const char *roles, chat_kind kind, lbrt_message out[CHAT_MARKS])
{
    size_t n = 0;
    for (; roles[n] && n < CHAT_MARKS; n++) {
        out[n].role = roles[n] == 's' ? "system" : roles[n] == 'u' ? "user" : "assistant";
        out[n].content = chat_marks[roles[n] == 'a' ? kind : kind % 2][n];
    }
    return n;
}

static lbrt_status chat_ask_messages(const chat_asker *q, const lbrt_message *messages, size_t n, bool answer, chat_text *out)
{
    const lb_jinja_input in = { messages, n, answer, q->has_bos ? q->bos : NULL, q->has_eos ? q->eos : NULL, q->now };
    return lb_jinja_render(q->source, &in, q->a, &out->data, &out->bytes, &out->cap, q->err);
}

static lbrt_status chat_ask(const chat_asker *q, const char *roles, chat_kind kind, bool answer, chat_text *out)
{
    lbrt_message messages[CHAT_MARKS];
    const size_t n = chat_messages(roles, kind, messages);
    return chat_ask_messages(q, messages, n, answer, out);
}

/* Where mark i stands, if it stands there exactly once; NULL else. */
static const char *chat_find_mark(const chat_text *text, size_t i)
{
    const char *found = NULL;
    for (size_t k = 0; k + CHAT_MARK_BYTES <= text->bytes; k++) {
        if (memcmp(text->data + k, chat_marks[CHAT_PLAIN][i], CHAT_MARK_BYTES) == 0) {
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
    lbrt_status status = chat_ask(q, roles, CHAT_PLAIN, answer, &plain);
    if (status == LBRT_OK) {
        status = chat_ask(q, roles, CHAT_PADDED, answer, &padded);
    }
    const char *from, *to, *padded_from, *padded_to;
    if (status == LBRT_OK && plain.bytes && chat_stretch(&plain, n, at, &from, &to) &&
        chat_stretch(&padded, n, at, &padded_from, &padded_to)) {
        const size_t bytes = (size_t)(to - from), padded_bytes = (size_t)(padded_to - padded_from);
        const bool has_before = at > 0, has_after = at < n;
        static const uint32_t ways_before[] = { 0, LB_GAP_TRIM_BEFORE }, ways_after[] = { 0, LB_GAP_TRIM_AFTER, LB_GAP_LINES_AFTER };
        for (uint32_t way = 0; way < 6 && !gap->flags; way++) {
            const uint32_t before = ways_before[way % 2], after = ways_after[way / 2];
            const size_t left = has_before && !before ? CHAT_PAD : 0, right = !has_after || after == LB_GAP_TRIM_AFTER ? 0 : CHAT_PAD - (after != 0);
            if ((!has_before && before) || (!has_after && after) || padded_bytes != left + bytes + right) {
                continue;
            }
            if (memcmp(padded_from, chat_pad_right, left) == 0 &&
                (!bytes || memcmp(padded_from + left, from, bytes) == 0) &&
                memcmp(padded_from + left + bytes, chat_pad_left + CHAT_PAD - right, right) == 0) {
                gap->flags = LB_GAP_ALLOWED | before | after;
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
/* Before an assistant's message: one that is answered first, as templates may show the last one with its thoughts. */
static const char *const chat_answered[4] = { "au", "sau", "uau", "uaau" };

/* Longer conversations that the table must get right, or refuse. */
static const char *const chat_checks[] = { "u",     "su",    "ua",     "sua",    "uau",     "suau", "uaua",
                                           "suaua", "uauau", "suauau", "uauaua", "suauaua", "uu",   "suu",
                                           "uauu",  "us",    "sus",    "uas",    "suas",    "ss",   "ssu",
                                           "a",     "au",    "sa",     "sau",    "uaau",    "usu",  "uasua",
                                           "uuu",   "auau",  "uaa",    "suaau" };

/* *same: the table and the template agree on a conversation, or the table refuses it. */
static lbrt_status chat_check_one(const chat_asker *q, const char *form, const lbrt_message *messages, size_t n,
                                  bool answer, bool *same)
{
    size_t need = 0;
    *same = true;
    const lbrt_status mine = lb_chat_render(form, messages, n, answer, "", 0, NULL, 0, &need, NULL);
    if (mine == LBRT_ERR_ARGUMENT) {
        return LBRT_OK; // an error in use, never a wrong text
    }
    chat_text real = { NULL, 0, 0 };
    lbrt_status status = chat_ask_messages(q, messages, n, answer, &real);
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
static bool chat_forbid(chat_found gaps[4][5], const char *roles, bool answer)
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
    // Nobody asks for an answer behind an assistant's message, and few leave it at that: templates may show the last one in another way.
    if (roles[n - 1] == 'a' && gaps[3][answer ? 4 : 3].flags) {
        gaps[3][answer ? 4 : 3].flags = 0;
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

/* Makes the table agree with the template everywhere, in conversations of the first so many kinds, by giving up what it cannot express. */
static lbrt_status chat_settle(const chat_asker *q, chat_found gaps[4][5], size_t kinds, void **out, size_t *bytes)
{
    LB_TRY(chat_serialise((const chat_found(*)[5])gaps, q->a, out, bytes, q->err));
    const size_t n = sizeof chat_checks / sizeof *chat_checks * kinds * 2;
    for (size_t i = 0; i < n;) {
        bool same;
        const char *roles = chat_checks[i / (kinds * 2)];
        const bool answer = i / kinds % 2;
        lbrt_message messages[CHAT_MARKS];
        const size_t n_messages = chat_messages(roles, (chat_kind)(i % kinds), messages);
        const lbrt_status status = chat_check_one(q, *out, messages, n_messages, answer, &same);
        if (status == LBRT_OK && same) {
            i++;
            continue;
        }
        lb_free(q->a, *out, *bytes);
        *out = NULL;
        *bytes = 0;
        LB_TRY(status);
        LB_FAIL_IF(!chat_forbid(gaps, roles, answer), q->err, LBRT_ERR_UNSUPPORTED,
                   "chat template: what stands between two messages depends on more than their roles");
        LB_TRY(chat_serialise((const chat_found(*)[5])gaps, q->a, out, bytes, q->err)); // what was right before is still, or refused
    }
    return LBRT_OK;
}

/* The same with what templates make of an assistant's thoughts: nothing, or one of two ways to leave them out. */
static lbrt_status chat_settle_thoughts(const chat_asker *q, const chat_found gaps[4][5], void **out, size_t *bytes)
{
    static const uint32_t ways[] = { 0, LB_GAP_THOUGHTS, LB_GAP_THOUGHTS | LB_GAP_THOUGHT_LINES };
    const bool thinks = strstr(q->source, "</think>") != NULL;
    lbrt_status status = LBRT_ERR_UNSUPPORTED;
    for (size_t i = 0; i < (thinks ? 3 : 1) && status == LBRT_ERR_UNSUPPORTED; i++) {
        chat_found tried[4][5];
        memcpy(tried, gaps, sizeof tried);
        for (size_t before = 0; before < 4; before++) {
            tried[before][2].flags |= tried[before][2].flags ? ways[i] : 0;
        }
        status = chat_settle(q, tried, thinks ? 4 : 2, out, bytes);
    }
    return status;
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

static chat_asker chat_asker_of(const lb_tokdata *t, const lbrt_allocator *a, lbrt_error *err)
{
    chat_asker q = { .source = t->chat_template, .a = a, .err = err, .now = (int64_t)time(NULL) };
    chat_token_text(t, t->bos_unnamed ? -1 : t->bos, q.bos, &q.has_bos);
    chat_token_text(t, t->eos, q.eos, &q.has_eos);
    return q;
}

lbrt_status lb_tokdata_chat_form(const lb_tokdata *t, const lbrt_allocator *a, void **out, size_t *bytes,
                                 lbrt_error *err)
{
    *out = NULL;
    *bytes = 0;
    LB_FAIL_IF(!t->chat_template, err, LBRT_ERR_UNSUPPORTED, "the model has no chat template");
    const lbrt_allocator allocator = lb_allocator_or_default(a);
    const chat_asker q = chat_asker_of(t, &allocator, err);
    chat_found gaps[4][5];
    memset(gaps, 0, sizeof gaps);
    lbrt_status status = LBRT_OK;
    for (int before = 0; before < 4; before++) {
        for (int after = 0; after < 5 && status == LBRT_OK; after++) {
            if (after == 2) {
                status = chat_find_gap_of(&q, chat_answered[before], chat_places[before], false, &gaps[before][after]);
            }
            if (status == LBRT_OK && chat_paths[before][after] && !gaps[before][after].flags) {
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
        status = chat_settle_thoughts(&q, (const chat_found(*)[5])gaps, out, bytes);
    }
    for (int i = 0; i < LB_CHAT_GAPS; i++) {
        lb_free(&allocator, gaps[i / 5][i % 5].text, gaps[i / 5][i % 5].bytes);
    }
    return status;
}

/* ---------------------------------------------------------------- contents that the template looks into */

/*
 * A table knows contents only as something between two gaps. A template may look into them: for other marks of
 * thoughts than </think>, for switches. Which texts it looks for stands in it, as literals.
 */
enum { CHAT_LITERALS = 16, CHAT_LITERAL_BYTES = 48, CHAT_LONGEST = 2 * CHAT_LITERAL_BYTES + 16 };
typedef struct chat_literals {
    char text[CHAT_LITERALS][CHAT_LITERAL_BYTES];
    size_t n;
} chat_literals;

static void chat_add_literal(chat_literals *l, const char *from, const char *to)
{
    char *out = l->text[l->n < CHAT_LITERALS ? l->n : 0];
    size_t n = 0;
    if (l->n == CHAT_LITERALS || to - from >= CHAT_LITERAL_BYTES) {
        return;
    }
    for (const char *p = from; p < to; p++) {
        const bool escape = *p == '\\' && p + 1 < to;
        p += escape;
        out[n++] = (char)(!escape || !strchr("nt", *p) ? *p : *p == 'n' ? '\n' : '\t');
    }
    out[n] = 0;
    bool known = n == 0;
    for (size_t i = 0; i < l->n; i++) {
        known = known || strcmp(l->text[i], out) == 0;
    }
    l->n += !known;
}

static const char *chat_skip_blanks(const char *p)
{
    while (*p == ' ' || *p == '\n') {
        p++;
    }
    return p;
}

/* Those in split('...'), startswith('...') and the like, and those before "in". What is found in vain does no harm. */
static void chat_find_literals(const char *source, chat_literals *l)
{
    static const char *const calls[] = { "split(", "startswith(", "endswith(", "replace(", "strip(" };
    l->n = 0;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        for (const char *p = source; (p = strstr(p, calls[i])) != NULL;) {
            p = chat_skip_blanks(p + strlen(calls[i]));
            const char *end = *p == '\'' || *p == '"' ? p + 1 : NULL;
            while (end && *end && *end != *p) {
                end += *end == '\\' && end[1] ? 2 : 1;
            }
            if (end && *end) {
                chat_add_literal(l, p + 1, end);
            }
        }
    }
    for (const char *p = source; (p = strpbrk(p, "'\"")) != NULL; p++) {
        const char *in = chat_skip_blanks(p + 1);
        in = strncmp(in, "not ", 4) == 0 ? chat_skip_blanks(in + 4) : in;
        const char *from = p;
        while (strncmp(in, "in ", 3) == 0 && from > source && p - from < CHAT_LITERAL_BYTES && (from == p || *from != *p)) {
            from--;
        }
        if (from < p && *from == *p) {
            chat_add_literal(l, from + 1, p);
        }
    }
}

/* *differs: with that content in a message of that role (s, u, a), somewhere in a short conversation, the texts are not the same. */
static lbrt_status chat_check_content(const chat_asker *q, const char *form, char role, const char *content, bool *differs)
{
    static const char *const talks[] = { "u", "su", "uau", "suau", "uau" };
    for (size_t i = 0; i < 5; i++) { // the last one with thoughts, which some show or not by what a user says next
        for (size_t at = 0; !*differs && talks[i][at]; at++) {
            lbrt_message messages[CHAT_MARKS];
            const size_t n = chat_messages(talks[i], i < 4 ? CHAT_PLAIN : CHAT_THOUGHT, messages);
            if (talks[i][at] != role) {
                continue;
            }
            messages[at].content = content;
            bool same = true;
            const lbrt_status status = chat_check_one(q, form, messages, n, true, &same);
            if (status != LBRT_OK && status != LBRT_ERR_UNSUPPORTED) {
                return status;
            }
            *differs = status == LBRT_OK && !same;
        }
    }
    return LBRT_OK;
}

/* Adds "'text' (system, user)" to a note. */
static void chat_add_note(char note[LB_CHAT_NOTE], const char *literal, const bool differs[3])
{
    static const char *const names[] = { "system", "user", "assistant" };
    char shown[2 * CHAT_LITERAL_BYTES], part[2 * CHAT_LITERAL_BYTES + 64], *p = shown;
    for (const char *q = literal; *q; q++) { // lb_format makes the other signs of control harmless
        const bool escape = *q == '\n' || *q == '\t';
        if (escape) {
            *p++ = '\\';
        }
        *p++ = (char)(!escape ? *q : *q == '\n' ? 'n' : 't');
    }
    *p = 0;
    size_t n = *literal ? lb_format(part, sizeof part, "'%s'", shown) : lb_format(part, sizeof part, "an empty text");
    const char *between = " (";
    for (size_t i = 0; i < 3; i++) {
        if (differs[i]) {
            n += lb_format(part + n, sizeof part - n, "%s%s", between, names[i]);
            between = ", ";
        }
    }
    const size_t used = strlen(note);
    static const char more[] = ", and more";
    if (used + n + 4 + sizeof more <= LB_CHAT_NOTE) {
        lb_format(note + used, LB_CHAT_NOTE - used, "%s%s)", used ? ", " : "", part);
    } else if (used + sizeof more <= LB_CHAT_NOTE && !strstr(note, more)) {
        lb_format(note + used, LB_CHAT_NOTE - used, "%s", more);
    }
}

enum { CHAT_WAYS = 5 };
static void chat_join(char out[CHAT_LONGEST], const char *a, const char *b, const char *c)
{
    const char *const parts[] = { a, b, c };
    for (size_t i = 0; i < 3; i++) { // lb_format would not keep line breaks
        const size_t n = strlen(parts[i]);
        memcpy(out, parts[i], n + 1);
        out += n;
    }
}

/*
 * A content made with a literal, in the way `way` of CHAT_WAYS; false if there is none in that way. The last one
 * is between a tag and its end, as templates may look for both.
 */
static bool chat_make_content(char out[CHAT_LONGEST], const char *literal, size_t way)
{
    static const char *const around[][2] = { { "so", " and so" }, { "", "\n\nand so" }, { "so\n", "" }, { "", "" } };
    if (way == 3 && !*chat_skip_blanks(literal)) {
        return false; // white space alone: no text, which has its own note
    }
    if (way < CHAT_WAYS - 1) {
        chat_join(out, around[way][0], literal, around[way][1]);
        return true;
    }
    const size_t n = strlen(literal);
    if (n < 3 || literal[0] != '<' || literal[1] == '/' || literal[n - 1] != '>') {
        return false;
    }
    chat_join(out, literal, "so</", literal + 1);
    return true;
}

lbrt_status lb_tokdata_chat_differs(const lb_tokdata *t, const void *form, const lbrt_allocator *a, char note[LB_CHAT_NOTE], lbrt_error *err)
{
    const lbrt_allocator allocator = lb_allocator_or_default(a);
    const chat_asker q = chat_asker_of(t, &allocator, err);
    chat_literals literals;
    chat_find_literals(t->chat_template, &literals);
    *note = 0;
    for (size_t i = 0; i <= literals.n; i++) { // the last one: nothing at all
        const char *literal = i < literals.n ? literals.text[i] : "";
        bool differs[3] = { false, false, false };
        for (size_t role = *literal ? 0 : 1; role < 3; role++) { // an empty system message is none: chat leaves it out
            for (size_t way = 0; way < CHAT_WAYS && !differs[role]; way++) {
                char content[CHAT_LONGEST] = "";
                if (!*literal || chat_make_content(content, literal, way)) {
                    LB_TRY(chat_check_content(&q, form, "sua"[role], content, &differs[role]));
                }
            }
        }
        if (differs[0] || differs[1] || differs[2]) {
            chat_add_note(note, literal, differs);
        }
    }
    return LBRT_OK;
}
