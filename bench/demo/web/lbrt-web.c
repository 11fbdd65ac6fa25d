/*
 * What the page calls: one model, one session, one conversation. `make web` compiles it, with the single-file runtime, to WebAssembly; pointers and
 * lengths are numbers on the other side (worker.js).
 */
#define LBRT_STATIC
#define LBRT_IMPLEMENTATION
#include "lbrt_single.h"

#include <stdlib.h>
#include <string.h>

#include <emscripten.h>

enum { MAX_MESSAGES = 64, MAX_TEXT = 65536, MAX_ANSWER = 8192, MAX_TOKENS = 4096 };

static lbrt_model *model;
static lbrt_session *session;
static lbrt_error error;
static lbrt_message messages[MAX_MESSAGES];
static size_t n_messages;
static lbrt_token held[MAX_TOKENS], tokens[MAX_TOKENS];
static size_t n_held;
static char text[MAX_TEXT], answer[MAX_ANSWER];
static size_t answer_bytes, answer_tokens;
static lbrt_utf8 gate;

EM_JS(void, page_token, (const char *text, size_t bytes), { Module.onToken(UTF8ToString(text, bytes)); });

/* Memory for a file of so many bytes, aligned as lbrt_model_open_memory wants it. */
EMSCRIPTEN_KEEPALIVE void *web_room(size_t bytes)
{
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

EMSCRIPTEN_KEEPALIVE int web_open(const void *data, size_t bytes, const char *isa)
{
    lbrt_model_options options = LBRT_MODEL_OPTIONS_INIT;
    options.verify = true; /* it came over a network */
    options.isa = isa && isa[0] ? isa : NULL;
    lbrt_status s = lbrt_model_open_memory(data, bytes, &options, &model, &error);
    return s == LBRT_OK ? lbrt_session_create(model, NULL, &session, &error) : s;
}

EMSCRIPTEN_KEEPALIVE const char *web_error(void)
{
    const char *of_session = session ? lbrt_session_error(session) : "";
    return of_session[0] ? of_session : error.text;
}

EMSCRIPTEN_KEEPALIVE const char *web_isa(void)
{
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    return model && lbrt_model_describe(model, &info) == LBRT_OK ? info.isa : "";
}

EMSCRIPTEN_KEEPALIVE size_t web_answer_tokens(void)
{
    return answer_tokens;
}

static void drop_messages(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free((void *)messages[i].content);
    }
    n_messages -= n;
    memmove(messages, messages + n, n_messages * sizeof messages[0]);
}

EMSCRIPTEN_KEEPALIVE void web_new(void)
{
    drop_messages(n_messages);
}

static void add_message(const char *role, const char *content)
{
    char *copy = strdup(content);
    if (copy) {
        messages[n_messages++] = (lbrt_message){role, copy};
    }
}

static bool on_token(void *user, lbrt_token token, const char *bytes, size_t n)
{
    (void)user;
    if (n_held < MAX_TOKENS) {
        held[n_held++] = token;
    }
    answer_tokens++;
    if (n > 256 || answer_bytes + n >= MAX_ANSWER) {
        return false;
    }
    memcpy(answer + answer_bytes, bytes, n);
    answer_bytes += n;
    char whole[3 * (256 + 4)];
    const size_t m = lbrt_utf8_push(&gate, bytes, n, whole);
    if (m) {
        page_token(whole, m);
    }
    return true;
}

/* The conversation as tokens, without its oldest exchanges if it leaves less than a quarter of the context for the answer. */
static lbrt_status format(size_t *n)
{
    const size_t room = lbrt_session_capacity(session);
    for (;;) {
        size_t bytes = 0;
        lbrt_status s = lbrt_chat_format(model, messages, n_messages, true, text, sizeof text, &bytes, &error);
        if (s == LBRT_OK) {
            s = lbrt_tokenize(model, text, bytes, LBRT_TOKENIZE_BOS | LBRT_TOKENIZE_SPECIAL, tokens, MAX_TOKENS, n, &error);
        }
        if (n_messages < 3 || (s == LBRT_OK && *n + room / 4 <= room)) {
            return s;
        }
        drop_messages(2);
    }
}

/* Answers; the text comes in pieces by Module.onToken. */
EMSCRIPTEN_KEEPALIVE int web_ask(const char *question, float temperature, unsigned seed, unsigned max_tokens)
{
    if (n_messages + 2 > MAX_MESSAGES) {
        drop_messages(2);
    }
    add_message("user", question);
    size_t n = 0, same = 0;
    lbrt_status s = format(&n);
    while (same < n_held && same + 1 < n && held[same] == tokens[same]) {
        same++;
    }
    s = s == LBRT_OK ? lbrt_rewind(session, same) : s;
    if (s == LBRT_OK) {
        memcpy(held, tokens, n * sizeof tokens[0]);
        n_held = n;
        answer_bytes = answer_tokens = 0;
        gate = (lbrt_utf8){.n_held = 0};
        lbrt_sampling sampling = LBRT_SAMPLING_INIT;
        sampling.temperature = temperature;
        sampling.seed = seed;
        lbrt_generation how = LBRT_GENERATION_INIT;
        how.sampling = &sampling;
        how.max_tokens = max_tokens;
        s = lbrt_generate(session, tokens + same, n - same, &how, on_token, NULL);
    }
    if (s == LBRT_OK) {
        answer[answer_bytes] = 0;
        add_message("assistant", answer);
    } else {
        n_held = 0;
        free((void *)messages[--n_messages].content); /* the turn did not happen */
    }
    return s;
}
