/*
 * Chat formatting: a table of what stands between two messages, by their roles. The form is specified in
 * lb_tokenizer.h.
 */
#include "lb_tok_section.h"
#include "lb_unicode.h"

typedef struct chat_gap {
    uint32_t flags, bytes;
    const char *text;
} chat_gap;

/* The gap between two sides. The form has been checked. */
static chat_gap chat_find_gap(const char *form, lb_chat_side before, lb_chat_side after)
{
    for (int skip = (int)before * 5 + (int)after - 1; skip > 0; skip--) {
        form += 8 + lb_load_u32(form + 4);
    }
    const chat_gap gap = { (unsigned char)form[0], lb_load_u32(form + 4), form + 8 };
    return gap;
}

static bool chat_find_role(const char *role, lb_chat_side *side)
{
    static const char *const names[] = { "system", "user", "assistant" };
    for (int i = 0; role && i < 3; i++) {
        if (strcmp(role, names[i]) == 0) {
            *side = (lb_chat_side)(LB_CHAT_SYSTEM + i);
            return true;
        }
    }
    return false;
}

static const char *chat_side_name(lb_chat_side side)
{
    static const char *const names[] = { "the beginning",        "a system message", "a user message",
                                         "an assistant message", "the end",          "an answer" };
    return names[side];
}

/* Where the text is written: what does not fit is counted only. */
typedef struct chat_out {
    char *text;
    size_t cap, bytes;
    size_t skip; /* bytes of bos at the front that are left out */
} chat_out;

static void chat_put(chat_out *out, const char *text, size_t bytes)
{
    const size_t skip = lb_min(out->skip, bytes);
    out->skip -= skip;
    text += skip;
    bytes -= skip;
    if (out->bytes < out->cap && bytes) {
        memcpy(out->text + out->bytes, text, lb_min(bytes, out->cap - out->bytes));
    }
    out->bytes += bytes;
}

/* A message without what its writer only thought, and line breaks before the rest */
static const char *chat_content(const char *content, uint32_t flags)
{
    static const char end[] = "</think>";
    const char *said = content;
    for (const char *hit = content; (flags & LB_GAP_THOUGHTS) && (hit = strstr(hit, end)) != NULL;) {
        said = hit += sizeof end - 1;
    }
    const bool lines = (flags & LB_GAP_LINES_AFTER) || (said > content && (flags & LB_GAP_THOUGHT_LINES));
    while (lines && *said == '\n') {
        said++;
    }
    return said;
}

lbrt_status lb_chat_render(const char *form, const lbrt_message *messages, size_t n, bool answer,
                           const char *bos, size_t n_bos, char *text, size_t cap, size_t *bytes,
                           lbrt_error *err)
{
    chat_out out = { text, cap, 0, 0 };
    *bytes = 0;
    LB_FAIL_IF(n == 0, err, LBRT_ERR_ARGUMENT, "chat: there are no messages");
    lb_chat_side before = LB_CHAT_START;
    const char *content = "";
    size_t content_bytes = 0;
    for (size_t i = 0; i <= n; i++) {
        lb_chat_side after = answer ? LB_CHAT_ANSWER : LB_CHAT_CLOSE;
        LB_FAIL_IF(i < n && (!chat_find_role(messages[i].role, &after) || !messages[i].content), err,
                   LBRT_ERR_ARGUMENT,
                   "chat: message %zu has no content, or a role other than system, user and assistant", i);
        const chat_gap gap = chat_find_gap(form, before, after);
        LB_FAIL_IF(!(gap.flags & LB_GAP_ALLOWED), err, LBRT_ERR_ARGUMENT,
                   "chat: the model's template does not allow %s after %s", chat_side_name(after),
                   chat_side_name(before));
        if (gap.flags & LB_GAP_TRIM_BEFORE) {
            content_bytes -= lb_unicode_space_run(content, content_bytes, true, LB_SPACE_PYTHON);
        }
        chat_put(&out, content, content_bytes);
        if (i == 0 && n_bos && gap.bytes >= n_bos && memcmp(gap.text, bos, n_bos) == 0) {
            out.skip = n_bos;
        }
        chat_put(&out, gap.text, gap.bytes);
        if (i < n) {
            content = chat_content(messages[i].content, gap.flags);
            content_bytes = strlen(content);
            if (gap.flags & LB_GAP_TRIM_AFTER) {
                const size_t spaces = lb_unicode_space_run(content, content_bytes, false, LB_SPACE_PYTHON);
                content += spaces;
                content_bytes -= spaces;
            }
        }
        before = after;
    }
    *bytes = out.bytes;
    LB_FAIL_IF(out.bytes > cap, err, LBRT_ERR_BUFFER, "the text needs %zu bytes, the buffer has %zu",
               out.bytes, cap);
    return LBRT_OK;
}

lbrt_status lb_tokenizer_chat_format(const lb_tokenizer *t, const lbrt_message *messages, size_t n,
                                     bool answer, char *text, size_t cap, size_t *bytes, lbrt_error *err)
{
    *bytes = 0;
    LB_FAIL_IF(!t->chat_bytes, err, LBRT_ERR_UNSUPPORTED,
               "the model has no chat template, or one that lbrt does not know: give it a plain prompt");
    uint32_t n_bos = 0;
    const char *bos = lb_tokenizer_adds_bos(t) ? lb_tok_text(t, (uint32_t)t->bos, &n_bos) : "";
    return lb_chat_render(t->chat, messages, n, answer, bos, n_bos, text, cap, bytes, err);
}
