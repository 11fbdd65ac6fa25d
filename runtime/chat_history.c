#include "chat_history.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "lb_args.h"

static const char program[] = "chat";

void *chat_grow(void *p, size_t bytes)
{
    p = realloc(p, bytes ? bytes : 1);
    if (!p) {
        lb_program_fail(program, "out of memory");
    }
    return p;
}

void history_add(chat_history *h, const char *role, const char *content)
{
    h->messages = (lbrt_message *)chat_grow(h->messages, (h->n + 1) * sizeof *h->messages);
    char *copy = (char *)chat_grow(NULL, strlen(content) + 1);
    strcpy(copy, content);
    h->messages[h->n++] = (lbrt_message){ role, copy };
}

void history_drop(chat_history *h, size_t at, size_t n)
{
    if (n == 0) { /* there may be no messages at all */
        return;
    }
    for (size_t i = at; i < at + n; i++) {
        free((void *)(uintptr_t)h->messages[i].content);
    }
    memmove(h->messages + at, h->messages + at + n, (h->n - at - n) * sizeof *h->messages);
    h->n -= n;
}

size_t history_kept(const chat_history *h)
{
    return h->n && strcmp(h->messages[0].role, "system") == 0 ? 1 : 0;
}

bool history_set_system(chat_history *h, const char *text)
{
    const size_t had = history_kept(h);
    if (had ? strcmp(h->messages[0].content, text) == 0 : *text == 0) {
        return false;
    }
    history_drop(h, 0, had);
    if (*text) {
        history_add(h, "system", text);
        const lbrt_message last = h->messages[h->n - 1];
        memmove(h->messages + 1, h->messages, (h->n - 1) * sizeof *h->messages);
        h->messages[0] = last;
    }
    return true;
}

/*
 * A conversation in a file: a line of numbers, messages (a line with role and bytes, then the text), tokens, the session's state. The last of the
 * numbers is a sum over messages and tokens, as the session's state has one of its own.
 */
static const char state_line[] = "lbrt chat 2: %zu messages, %zu tokens, %zu bytes, sum %llx\n";

static void add_bytes(unsigned long long *sum, const void *data, size_t n) /* FNV-1a */
{
    for (size_t i = 0; i < n; i++) {
        *sum = (*sum ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    }
}

static unsigned long long conversation_sum(const chat_history *h, const lbrt_token *held, size_t n_held)
{
    unsigned long long sum = 0xcbf29ce484222325u;
    for (size_t i = 0; i < h->n; i++) {
        add_bytes(&sum, h->messages[i].role, strlen(h->messages[i].role) + 1);
        add_bytes(&sum, h->messages[i].content, strlen(h->messages[i].content) + 1);
    }
    add_bytes(&sum, held, n_held * sizeof *held);
    return sum;
}

uint64_t history_answer_sum(const chat_history *h)
{
    unsigned long long sum = 0xcbf29ce484222325u;
    if (h->n) {
        add_bytes(&sum, h->messages[h->n - 1].content, strlen(h->messages[h->n - 1].content));
    }
    return sum;
}

/* What save writes before it takes the place of the file */
static bool temporary_name(const char *path, char *temp, size_t cap)
{
    const int n = snprintf(temp, cap, "%s.new", path);
    return n > 0 && (size_t)n < cap;
}

void history_check_file(const char *path)
{
    char temp[PATH_MAX];
    if (!temporary_name(path, temp, sizeof temp)) {
        lb_program_fail_file(program, path, strerror(ENAMETOOLONG));
    }
    if (access(temp, F_OK) != 0 && errno != ENOENT) { /* a folder on the way that is none, a name too long, ... */
        lb_program_fail_file(program, path, strerror(errno));
    }
    char *slash = strrchr(temp, '/');
    snprintf(slash ? slash + 1 : temp, 2, "."); /* the folder; there is room, for ".new" was there */
    if (access(temp, W_OK | X_OK) != 0) {
        lb_program_fail(program, "%s: cannot be kept there: %s", path, strerror(errno));
    }
}

void history_save(const char *path, const chat_history *h, lbrt_session *session, const lbrt_token *held, size_t n_held)
{
    char temp[PATH_MAX];
    if (!temporary_name(path, temp, sizeof temp)) {
        lb_program_fail_file(program, path, strerror(ENAMETOOLONG));
    }
    /* The token that ended the answer is in the session but was not reported. */
    n_held = n_held < lbrt_session_length(session) ? n_held : lbrt_session_length(session);
    const bool back = lbrt_rewind(session, n_held) == LBRT_OK;
    size_t bytes = lbrt_state_bytes(session);
    char *state = (char *)chat_grow(NULL, bytes);
    if (!back || lbrt_state_save(session, state, bytes, &bytes) != LBRT_OK) {
        lb_program_fail_file(program, path, lbrt_session_error(session));
    }
    FILE *f = fopen(temp, "wb");
    bool ok = f != NULL && fprintf(f, state_line, h->n, n_held, bytes, conversation_sum(h, held, n_held)) > 0;
    for (size_t i = 0; ok && i < h->n; i++) {
        const size_t n = strlen(h->messages[i].content);
        ok = fprintf(f, "%s %zu\n", h->messages[i].role, n) > 0 && fwrite(h->messages[i].content, 1, n, f) == n;
    }
    ok = ok && fwrite(held, sizeof *held, n_held, f) == n_held && fwrite(state, 1, bytes, f) == bytes;
    const bool saved = f != NULL && (fclose(f) == 0) && ok && rename(temp, path) == 0;
    const int why = errno;
    free(state);
    if (!saved) {
        remove(temp);
        lb_program_fail_file(program, path, strerror(why));
    }
}

/* What is not a conversation with this model is refused; a file that is not there is one that has not begun. */
void history_load(const char *path, chat_history *h, lbrt_session *session, lbrt_token **held, size_t *n_held)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL && errno == ENOENT) {
        return;
    }
    if (f == NULL) {
        lb_program_fail_file(program, path, strerror(errno));
    }
    size_t n = 0, n_tokens = 0, bytes = 0, at = 0;
    unsigned long long sum = 0;
    char line[160], again[160], role[16], end;
    enum { MOST = 1 << 28 }; /* bytes of a message: more than any context holds */
    bool ok = fgets(line, sizeof line, f) != NULL &&
              sscanf(line, "lbrt chat 2: %zu messages, %zu tokens, %zu bytes, sum %llx", &n, &n_tokens, &bytes, &sum) == 4 &&
              n_tokens <= lbrt_session_capacity(session) && bytes <= (size_t)1 << 40;
    snprintf(again, sizeof again, state_line, n, n_tokens, bytes, sum);
    ok = ok && strcmp(line, again) == 0;
    for (size_t i = 0; ok && i < n; i++) {
        static const char *const roles[] = { "system", "user", "assistant" };
        size_t r = 0;
        ok = fscanf(f, "%15s %zu%c", role, &at, &end) == 3 && end == '\n' && at <= MOST;
        while (r < 3 && strcmp(role, roles[r]) != 0) {
            r++;
        }
        ok = ok && r < 3;
        char *text = ok ? (char *)chat_grow(NULL, at + 1) : NULL;
        ok = ok && fread(text, 1, at, f) == at;
        if (ok) {
            text[at] = 0;
            history_add(h, roles[r], text);
        }
        free(text);
    }
    char *state = ok ? (char *)malloc(bytes ? bytes : 1) : NULL;
    *held = (lbrt_token *)chat_grow(*held, (n_tokens + 1) * sizeof **held);
    *n_held = n_tokens;
    ok = state != NULL && fread(*held, sizeof **held, n_tokens, f) == n_tokens && fread(state, 1, bytes, f) == bytes;
    const char *wrong = NULL;
    if (!ok) {
        wrong = "not a conversation that fits this model and context";
    } else if (lbrt_state_restore(session, state, bytes) != LBRT_OK) {
        wrong = lbrt_session_error(session);
    } else if (lbrt_session_length(session) != n_tokens || fgetc(f) != EOF || conversation_sum(h, *held, n_tokens) != sum) {
        wrong = "the saved conversation is damaged";
    }
    free(state);
    fclose(f);
    if (wrong) {
        lb_program_fail_file(program, path, wrong);
    }
}
