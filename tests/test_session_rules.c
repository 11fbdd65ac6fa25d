/* What calls on models and sessions promise beside their numbers: errors, sizes, cancelling. test_session_options.c has memory and options. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lb_test.h"
#include "small_models.h"

enum { RULES_VOCAB = 288 };

static lbrt_session *rules_session(const lbrt_model *m, uint32_t n_context, uint32_t n_logits)
{
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = n_context;
    o.n_batch = 16;
    o.n_threads = 2;
    o.n_logits = n_logits;
    lbrt_session *s = NULL;
    lbrt_error err = { LBRT_OK, "" };
    LB_CHECK(m && lbrt_session_create(m, &o, &s, &err) == LBRT_OK, "%s", err.text);
    return s;
}

/* A session's state and a copy of its logits, to see that a failing call changed neither. */
typedef struct rules_shot {
    unsigned char *state;
    size_t bytes;
} rules_shot;

static rules_shot rules_take(lbrt_session *s)
{
    rules_shot r = { NULL, lbrt_state_bytes(s) };
    r.state = malloc(r.bytes);
    LB_CHECK(lbrt_state_save(s, r.state, r.bytes, &r.bytes) == LBRT_OK, "%s", lbrt_session_error(s));
    return r;
}

static void rules_unchanged(lbrt_session *s, rules_shot *r, const char *what)
{
    rules_shot now = rules_take(s);
    LB_CHECK(now.bytes == r->bytes && memcmp(now.state, r->state, r->bytes) == 0,
             "after %s the session has changed", what);
    free(now.state);
    free(r->state);
    r->state = NULL;
}

static void rules_errors(lbrt_model *m)
{
    lb_test_case("errors leave the session as it was, with a sentence");
    lbrt_session *s = rules_session(m, 20, 1);
    lbrt_token ids[40];
    sm_tokens(ids, 40, RULES_VOCAB, 1);
    LB_CHECK(strcmp(lbrt_session_error(s), "") == 0, "'%s'", lbrt_session_error(s));
    LB_CHECK(lbrt_session_length(s) == 0 && lbrt_session_capacity(s) == 20 && !lbrt_logits(s, 0),
             "a fresh session");
    lbrt_token id = -7;
    LB_CHECK(lbrt_sample(s, NULL, &id) == LBRT_ERR_STATE && lbrt_session_error(s)[0],
             "sampling from nothing");
    LB_CHECK(lbrt_generate(s, NULL, 0, NULL, NULL, NULL) == LBRT_ERR_STATE, "generating from nothing");
    LB_CHECK(lbrt_rewind(s, 1) == LBRT_ERR_STATE, "rewinding forward");
    LB_CHECK(lbrt_feed(s, ids, 15) == LBRT_OK && strcmp(lbrt_session_error(s), "") == 0, "'%s'",
             lbrt_session_error(s));
    static const lbrt_token bad[] = { -1, RULES_VOCAB, INT32_MAX, INT32_MIN };
    for (size_t i = 0; i < 4; i++) {
        for (size_t at = 0; at < 5; at += 2) {
            lbrt_token with[5] = { 1, 2, 3, 4, 5 };
            with[at] = bad[i];
            rules_shot shot = rules_take(s);
            LB_CHECK(lbrt_feed(s, with, 5) == LBRT_ERR_ARGUMENT && lbrt_session_error(s)[0], "token %d",
                     (int)bad[i]);
            rules_unchanged(s, &shot, "a token that is none");
            shot = rules_take(s);
            LB_CHECK(lbrt_generate(s, with, 5, NULL, NULL, NULL) == LBRT_ERR_ARGUMENT, "token %d",
                     (int)bad[i]);
            rules_unchanged(s, &shot, "a prompt with a token that is none");
        }
    }
    rules_shot shot = rules_take(s);
    LB_CHECK(lbrt_feed(s, ids, 6) == LBRT_ERR_CONTEXT_FULL && lbrt_session_error(s)[0], "too many tokens");
    LB_CHECK(lbrt_feed(s, ids, SIZE_MAX) == LBRT_ERR_CONTEXT_FULL, "far too many tokens");
    LB_CHECK(lbrt_generate(s, ids, 6, NULL, NULL, NULL) == LBRT_ERR_CONTEXT_FULL, "a prompt too long");
    LB_CHECK(lbrt_rewind(s, 16) == LBRT_ERR_STATE, "rewinding forward");
    LB_CHECK(lbrt_feed(s, NULL, 3) == LBRT_ERR_ARGUMENT && lbrt_feed(s, ids, 0) == LBRT_ERR_ARGUMENT,
             "no tokens");
    LB_CHECK(lbrt_sample(s, NULL, NULL) == LBRT_ERR_ARGUMENT, "no place for the token");
    lbrt_sampling how = LBRT_SAMPLING_INIT;
    how.top_p = 1.5f;
    LB_CHECK(lbrt_sample(s, &how, &id) == LBRT_ERR_ARGUMENT, "top_p 1.5");
    how = (lbrt_sampling){ .size = 0 };
    LB_CHECK(lbrt_sample(s, &how, &id) == LBRT_ERR_ARGUMENT, "no size");
    lbrt_generation g = { .size = 0 };
    LB_CHECK(lbrt_generate(s, NULL, 0, &g, NULL, NULL) == LBRT_ERR_ARGUMENT, "no size");
    rules_unchanged(s, &shot, "errors");
    LB_CHECK(lbrt_feed(s, ids, 5) == LBRT_OK && lbrt_session_length(s) == 20, "%s", lbrt_session_error(s));
    LB_CHECK(lbrt_feed(s, ids, 1) == LBRT_ERR_CONTEXT_FULL && lbrt_logits(s, 0), "a full session");
    g = (lbrt_generation)LBRT_GENERATION_INIT;
    g.n_generated = 99;
    LB_CHECK(lbrt_generate(s, NULL, 0, &g, NULL, NULL) == LBRT_OK && g.n_generated == 0,
             "generating in a full context");
    LB_CHECK(lbrt_rewind(s, 20) == LBRT_OK && !lbrt_logits(s, 0), "rewinding to where it is ends the logits");
    LB_CHECK(lbrt_rewind(s, 0) == LBRT_OK && lbrt_session_length(s) == 0, "rewinding to nothing");
    lbrt_session_free(s);

    lb_test_case("no session, no model, no room: an argument error or nothing");
    size_t n = 1;
    lbrt_error err = { LBRT_OK, "" };
    const char *text = "x";
    LB_CHECK(lbrt_feed(NULL, ids, 1) == LBRT_ERR_ARGUMENT && lbrt_rewind(NULL, 0) == LBRT_ERR_ARGUMENT,
             "NULL");
    LB_CHECK(lbrt_sample(NULL, NULL, &id) == LBRT_ERR_ARGUMENT, "NULL");
    LB_CHECK(lbrt_generate(NULL, ids, 1, NULL, NULL, NULL) == LBRT_ERR_ARGUMENT, "NULL");
    LB_CHECK(lbrt_state_save(NULL, ids, 1, &n) == LBRT_ERR_ARGUMENT &&
                 lbrt_state_restore(NULL, ids, 1) == LBRT_ERR_ARGUMENT,
             "NULL");
    LB_CHECK(lbrt_session_length(NULL) == 0 && lbrt_session_capacity(NULL) == 0 && !lbrt_logits(NULL, 0),
             "NULL");
    LB_CHECK(lbrt_session_error(NULL) != NULL && lbrt_state_bytes(NULL) == 0, "NULL");
    lbrt_cancel(NULL);
    lbrt_session_free(NULL);
    lbrt_model_close(NULL);
    LB_CHECK(lbrt_session_bytes(NULL, NULL, &n, &err) == LBRT_ERR_ARGUMENT && err.status == LBRT_ERR_ARGUMENT,
             "NULL");
    LB_CHECK(lbrt_session_bytes(m, NULL, NULL, NULL) == LBRT_ERR_ARGUMENT, "NULL");
    LB_CHECK(lbrt_session_create(NULL, NULL, &s, NULL) == LBRT_ERR_ARGUMENT, "NULL");
    LB_CHECK(lbrt_session_create(m, NULL, NULL, NULL) == LBRT_ERR_ARGUMENT, "NULL");
    LB_CHECK(lbrt_model_open(NULL, NULL, &m, NULL) == LBRT_ERR_ARGUMENT && !m, "NULL");
    LB_CHECK(lbrt_model_open("x", NULL, NULL, NULL) == LBRT_ERR_ARGUMENT, "NULL");
    LB_CHECK(lbrt_model_open_memory(NULL, 5, NULL, &m, NULL) == LBRT_ERR_ARGUMENT, "NULL");
    LB_CHECK(lbrt_model_describe(NULL, &(lbrt_model_info)LBRT_MODEL_INFO_INIT) == LBRT_ERR_ARGUMENT, "NULL");
    LB_CHECK(lbrt_tokenize(NULL, "a", 1, 0, ids, 40, &n, &err) == LBRT_ERR_ARGUMENT, "NULL");
    LB_CHECK(lbrt_token_text(NULL, 1, false, &text, &n) == LBRT_ERR_ARGUMENT && !text, "NULL");
    LB_CHECK(lbrt_detokenize(NULL, ids, 1, NULL, 0, &n, NULL) == LBRT_ERR_ARGUMENT &&
                 !lbrt_token_ends(NULL, 1),
             "NULL");
    LB_CHECK(lbrt_chat_format(NULL, NULL, 0, true, NULL, 0, &n, NULL) == LBRT_ERR_ARGUMENT, "NULL");
}

static void rules_text(const lbrt_model *m)
{
    lb_test_case("text and tokens: sizes asked for, rooms too small, missing pointers");
    lbrt_error err = { LBRT_OK, "" };
    lbrt_token ids[32];
    size_t n = 0, bytes = 0;
    static const char sentence[] = "the end";
    LB_CHECK(lbrt_tokenize(m, sentence, 7, LBRT_TOKENIZE_BOS, NULL, 0, &n, &err) == LBRT_ERR_BUFFER &&
                 n > 1 && n <= 9,
             "%zu", n);
    const size_t needed = n;
    ids[needed - 1] = -5;
    LB_CHECK(lbrt_tokenize(m, sentence, 7, LBRT_TOKENIZE_BOS, ids, needed - 1, &n, &err) == LBRT_ERR_BUFFER &&
                 n == needed,
             "%zu", n);
    LB_CHECK(ids[needed - 1] == -5, "wrote past its room");
    LB_CHECK(lbrt_tokenize(m, sentence, 7, LBRT_TOKENIZE_BOS, ids, needed, &n, &err) == LBRT_OK &&
                 n == needed && ids[0] == 1,
             "%s", err.text);
    LB_CHECK(lbrt_tokenize(m, NULL, 0, 0, ids, 32, &n, &err) == LBRT_OK, "nothing to tokenize: %s", err.text);
    LB_CHECK(lbrt_tokenize(m, NULL, 1, 0, ids, 32, &n, &err) == LBRT_ERR_ARGUMENT, "no text");
    LB_CHECK(lbrt_tokenize(m, "a", 1, 0, NULL, 32, &n, &err) == LBRT_ERR_ARGUMENT, "no room");
    LB_CHECK(lbrt_tokenize(m, "a", 1, 0, ids, 32, NULL, &err) == LBRT_ERR_ARGUMENT, "no count");
    LB_CHECK(lbrt_tokenize(m, "a", 1, 64, ids, 32, &n, &err) == LBRT_ERR_ARGUMENT && strstr(err.text, "64"),
             "%s", err.text);
    char text[64];
    LB_CHECK(lbrt_detokenize(m, ids + 1, needed - 1, NULL, 0, &bytes, &err) == LBRT_ERR_BUFFER && bytes == 7,
             "%zu", bytes);
    LB_CHECK(lbrt_detokenize(m, ids + 1, needed - 1, text, 64, &bytes, &err) == LBRT_OK && bytes == 7 &&
                 memcmp(text, sentence, 7) == 0,
             "'%.*s'", (int)bytes, text);
    LB_CHECK(lbrt_detokenize(m, NULL, 1, text, 64, &bytes, &err) == LBRT_ERR_ARGUMENT, "no tokens");
    const char *piece;
    LB_CHECK(lbrt_token_text(m, -1, false, &piece, &bytes) == LBRT_ERR_ARGUMENT && !piece, "token -1");
    LB_CHECK(lbrt_token_text(m, RULES_VOCAB, false, &piece, &bytes) == LBRT_ERR_ARGUMENT, "token n_vocab");
    LB_CHECK(lbrt_token_text(m, 1, false, &piece, &bytes) == LBRT_OK && bytes == 0,
             "a control token has no text");
    LB_CHECK(lbrt_token_text(m, 1, true, &piece, &bytes) == LBRT_OK && bytes == 3 &&
                 memcmp(piece, "<s>", 3) == 0,
             "but a name");
    LB_CHECK(lbrt_token_text(m, 287, true, &piece, &bytes) == LBRT_OK && bytes == 0 && piece,
             "a row that pads the vocabulary");
    LB_CHECK(lbrt_token_ends(m, 2) && !lbrt_token_ends(m, 1) && !lbrt_token_ends(m, -1) &&
                 !lbrt_token_ends(m, INT32_MAX),
             "ends");
    const lbrt_message bad[] = { { "user", NULL } }, good[] = { { "user", "a" } };
    LB_CHECK(lbrt_chat_format(m, bad, 1, true, NULL, 0, &bytes, &err) == LBRT_ERR_ARGUMENT, "no content");
    LB_CHECK(lbrt_chat_format(m, good, 1, true, text, 64, NULL, &err) == LBRT_ERR_ARGUMENT, "no size");
    static const char formatted[] = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n";
    LB_CHECK(lbrt_chat_format(m, good, 1, true, NULL, 0, &bytes, &err) == LBRT_ERR_BUFFER &&
                 bytes == sizeof formatted - 1,
             "%zu: %s", bytes, err.text);
    LB_CHECK(lbrt_chat_format(m, good, 1, true, text, 64, &bytes, &err) == LBRT_OK &&
                 memcmp(text, formatted, bytes) == 0,
             "'%.*s'", (int)bytes, text);
    lbrt_model *none = sm_model("tiny", "q8", NULL);
    LB_CHECK(lbrt_tokenize(none, "a", 1, 0, ids, 32, &n, &err) == LBRT_ERR_UNSUPPORTED &&
                 strstr(err.text, "tokenizer"),
             "%s", err.text);
    LB_CHECK(lbrt_chat_format(none, good, 1, true, text, 64, &bytes, &err) == LBRT_ERR_UNSUPPORTED, "%s",
             err.text);
    lbrt_model_close(none);
}

static void rules_logits(const lbrt_model *m)
{
    lb_test_case("lbrt_logits: how many, which, and when they end");
    enum { N = 50 };
    lbrt_token ids[N];
    sm_tokens(ids, N, RULES_VOCAB, 4);
    static float all[N][RULES_VOCAB];
    lbrt_session *s = rules_session(m, N, N), *t = rules_session(m, N, 5), *u = rules_session(m, N, 0);
    LB_CHECK(lbrt_feed(s, ids, N) == LBRT_OK, "%s", lbrt_session_error(s));
    for (size_t i = 0; i < N; i++) {
        const float *x = lbrt_logits(s, N - 1 - i);
        if (LB_CHECK(x != NULL, "position %zu", i)) {
            memcpy(all[i], x, sizeof all[i]);
        }
    }
    LB_CHECK(!lbrt_logits(s, N) && !lbrt_logits(s, SIZE_MAX), "more than were fed");
    static const size_t pieces[] = { 3, 1, 17, 20,
                                     9 }; /* batches are of 16: the last five of 17 and of 20 lie in two */
    size_t at = 0;
    for (size_t i = 0; i < 5; i++) {
        LB_CHECK(lbrt_feed(t, ids + at, pieces[i]) == LBRT_OK && lbrt_feed(u, ids + at, pieces[i]) == LBRT_OK,
                 "%s", lbrt_session_error(t));
        at += pieces[i];
        for (size_t back = 0; back < 8; back++) {
            const float *x = lbrt_logits(t, back), *y = lbrt_logits(u, back);
            const bool has = back < 5 && back < pieces[i];
            LB_CHECK((x != NULL) == has && (!x || memcmp(x, all[at - 1 - back], sizeof all[0]) == 0),
                     "piece %zu, back %zu", i, back);
            LB_CHECK((y != NULL) == (back == 0) && (!y || memcmp(y, all[at - 1], sizeof all[0]) == 0),
                     "piece %zu, back %zu", i, back);
        }
    }
    LB_CHECK(lbrt_rewind(t, 10) == LBRT_OK && !lbrt_logits(t, 0), "after rewinding");
    lbrt_session_free(s);
    lbrt_session_free(t);
    lbrt_session_free(u);
}

/* ---- generation ---- */

typedef struct rules_answer {
    lbrt_token ids[4096];
    size_t n, stop_at, cancel_at;
    size_t text_bytes;
    lbrt_session *s;
    _Atomic size_t seen;
} rules_answer;

static bool rules_token(void *user, lbrt_token id, const char *text, size_t bytes)
{
    rules_answer *a = (rules_answer *)user;
    if (a->n < 4096) {
        a->ids[a->n] = id;
    }
    a->n++;
    a->text_bytes += text ? bytes : 0;
    atomic_store(&a->seen, a->n);
    if (a->n == a->cancel_at) {
        lbrt_cancel(a->s);
    }
    return a->n != a->stop_at;
}

static rules_answer rules_whole, rules_part;

static void rules_generate(const lbrt_model *m)
{
    lb_test_case(
        "generating: as sampling and feeding by hand; stopped and gone on; until the context is full");
    lbrt_token prompt[10];
    sm_tokens(prompt, 10, RULES_VOCAB, 5);
    lbrt_session *s = rules_session(m, 60, 0), *t = rules_session(m, 60, 0);
    rules_whole = (rules_answer){ .s = s };
    lbrt_sampling how = LBRT_SAMPLING_INIT;
    how.temperature = 0.9f;
    how.top_k = 50;
    how.repeat_penalty = 1.2f;
    how.seed = 11;
    lbrt_generation g = LBRT_GENERATION_INIT;
    g.sampling = &how;
    g.ignore_end = true;
    LB_CHECK(lbrt_generate(s, prompt, 10, &g, rules_token, &rules_whole) == LBRT_OK, "%s",
             lbrt_session_error(s));
    LB_CHECK(g.n_generated == 50 && rules_whole.n == 50 && lbrt_session_length(s) == 60,
             "%zu tokens, %zu held", g.n_generated, lbrt_session_length(s));
    LB_CHECK(lbrt_feed(t, prompt, 10) == LBRT_OK, "%s", lbrt_session_error(t));
    for (size_t i = 0; i < 50; i++) {
        lbrt_token id = -1;
        LB_CHECK(lbrt_sample(t, &how, &id) == LBRT_OK && id == rules_whole.ids[i] &&
                     lbrt_feed(t, &id, 1) == LBRT_OK,
                 "token %zu", i);
    }
    rules_part = (rules_answer){ .s = t, .stop_at = 7 };
    lbrt_rewind(t, 0);
    LB_CHECK(lbrt_generate(t, prompt, 10, &g, rules_token, &rules_part) == LBRT_OK && g.n_generated == 7 &&
                 lbrt_session_length(t) == 17 && lbrt_logits(t, 0),
             "%zu", g.n_generated);
    rules_part.stop_at = 0;
    g.max_tokens = 13;
    LB_CHECK(lbrt_generate(t, NULL, 0, &g, rules_token, &rules_part) == LBRT_OK && g.n_generated == 13 &&
                 lbrt_session_length(t) == 30,
             "%zu", g.n_generated);
    g.max_tokens = 0;
    LB_CHECK(lbrt_generate(t, NULL, 0, &g, rules_token, &rules_part) == LBRT_OK && g.n_generated == 30, "%zu",
             g.n_generated);
    LB_CHECK(rules_part.n == 50 && memcmp(rules_part.ids, rules_whole.ids, 50 * sizeof(lbrt_token)) == 0,
             "other tokens");
    LB_CHECK(lbrt_rewind(t, 0) == LBRT_OK && lbrt_generate(t, prompt, 10, NULL, NULL, NULL) == LBRT_OK,
             "no options, no callback: %s", lbrt_session_error(t));

    lb_test_case("a token that ends the answer is fed, not reported");
    g.max_tokens = 0;
    how = (lbrt_sampling)LBRT_SAMPLING_INIT;
    how.temperature = 100.0f; /* nearly uniform: two of 288 tokens end the answer */
    unsigned ended = 0;
    for (how.seed = 0; how.seed < 40; how.seed++) {
        rules_part = (rules_answer){ .s = t };
        g.ignore_end = false;
        LB_CHECK(lbrt_rewind(t, 0) == LBRT_OK &&
                     lbrt_generate(t, prompt, 10, &g, rules_token, &rules_part) == LBRT_OK,
                 "generate");
        for (size_t i = 0; i < rules_part.n; i++) {
            LB_CHECK(!lbrt_token_ends(m, rules_part.ids[i]), "an end was reported");
        }
        if (lbrt_session_length(t) < 60) {
            ended++;
            LB_CHECK(lbrt_session_length(t) == 10 + rules_part.n + 1 && g.n_generated == rules_part.n,
                     "%zu and %zu", rules_part.n, lbrt_session_length(t));
            rules_part = (rules_answer){ .s = s };
            g.ignore_end = true;
            LB_CHECK(lbrt_rewind(s, 0) == LBRT_OK &&
                         lbrt_generate(s, prompt, 10, &g, rules_token, &rules_part) == LBRT_OK,
                     "generate");
            LB_CHECK(lbrt_token_ends(m, rules_part.ids[lbrt_session_length(t) - 11]),
                     "it ended without an end");
        }
    }
    LB_CHECK(ended > 0 && ended < 40, "%u of 40 ended", ended);
    lbrt_session_free(s);
    lbrt_session_free(t);
}

/* ---- cancelling ---- */

enum { CANCEL_CONTEXT = 3000 };

typedef struct rules_canceller {
    lbrt_session *s;
    rules_answer *answer; /* wait until it has three tokens; else for a moment */
    _Atomic bool go, done;
} rules_canceller;

static void *rules_cancel(void *user)
{
    rules_canceller *c = (rules_canceller *)user;
    while (!atomic_load(&c->go) || (c->answer && atomic_load(&c->answer->seen) < 3)) {
        usleep(50);
    }
    usleep(c->answer ? 0 : 3000);
    while (!atomic_load(&c->done)) {
        lbrt_cancel(c->s);
        usleep(100);
    }
    return NULL;
}

/* A cancellation that came after its call had ended still waits: takes it away. */
static void rules_drain(lbrt_session *s)
{
    LB_CHECK(lbrt_feed(s, NULL, 0) != LBRT_OK && lbrt_feed(s, NULL, 0) == LBRT_ERR_ARGUMENT, "%s",
             lbrt_session_error(s));
}

static void rules_cancelling(const lbrt_model *m)
{
    static lbrt_token ids[CANCEL_CONTEXT];
    sm_tokens(ids, CANCEL_CONTEXT, RULES_VOCAB, 6);
    float expected[RULES_VOCAB], got[RULES_VOCAB] = { 0 };
    lbrt_session *s = rules_session(m, CANCEL_CONTEXT, 0), *fresh = rules_session(m, CANCEL_CONTEXT, 0);
    LB_CHECK(lbrt_feed(fresh, ids, 100) == LBRT_OK, "%s", lbrt_session_error(fresh));
    memcpy(expected, lbrt_logits(fresh, 0), sizeof expected);

    lb_test_case("cancelling before the call: it returns at once, the one after works");
    LB_CHECK(lbrt_feed(s, ids, 40) == LBRT_OK, "%s", lbrt_session_error(s));
    lbrt_cancel(s);
    LB_CHECK(lbrt_feed(s, ids + 40, 60) == LBRT_CANCELLED && lbrt_session_length(s) == 40 &&
                 !lbrt_logits(s, 0),
             "cancelled feed");
    LB_CHECK(lbrt_session_error(s)[0], "no sentence");
    lbrt_cancel(s);
    lbrt_cancel(s);
    LB_CHECK(lbrt_generate(s, ids + 40, 60, NULL, NULL, NULL) == LBRT_CANCELLED &&
                 lbrt_session_length(s) == 40,
             "cancelled generate");
    LB_CHECK(lbrt_feed(s, ids + 40, 60) == LBRT_OK &&
                 memcmp(lbrt_logits(s, 0), expected, sizeof expected) == 0,
             "%s", lbrt_session_error(s));

    for (unsigned round = 0; round < 3; round++) {
        lb_test_case("cancelling a long prompt from another thread, round %u", round);
        rules_canceller c = { .s = s };
        pthread_t thread;
        LB_CHECK(lbrt_rewind(s, 0) == LBRT_OK && lbrt_feed(s, ids, 40) == LBRT_OK, "%s",
                 lbrt_session_error(s));
        if (!LB_CHECK(pthread_create(&thread, NULL, rules_cancel, &c) == 0, "no thread")) {
            return;
        }
        atomic_store(&c.go, true);
        lbrt_status status = LBRT_OK;
        while (status == LBRT_OK) { /* again and again, should one be over before it is cancelled */
            LB_CHECK(lbrt_rewind(s, 40) == LBRT_OK, "%s", lbrt_session_error(s));
            status = lbrt_feed(s, ids + 100, CANCEL_CONTEXT - 100);
        }
        atomic_store(&c.done, true);
        pthread_join(thread, NULL);
        LB_CHECK(status == LBRT_CANCELLED && lbrt_session_length(s) == 40 && !lbrt_logits(s, 0), "%s",
                 lbrt_status_name(status));
        rules_drain(s);
        LB_CHECK(lbrt_feed(s, ids + 40, 60) == LBRT_OK &&
                     memcmp(lbrt_logits(s, 0), expected, sizeof expected) == 0,
                 "not the logits of a fresh session");
    }

    lb_test_case("cancelling a generation from another thread, and from its callback");
    for (unsigned round = 0; round < 4; round++) {
        rules_part = (rules_answer){ .s = s, .cancel_at = round < 2 ? 0 : 5 * round };
        rules_canceller c = { .s = s, .answer = &rules_part };
        lbrt_generation g = LBRT_GENERATION_INIT;
        g.ignore_end = true;
        pthread_t thread;
        const bool other = rules_part.cancel_at == 0;
        LB_CHECK(lbrt_rewind(s, 0) == LBRT_OK, "%s", lbrt_session_error(s));
        if (other && !LB_CHECK(pthread_create(&thread, NULL, rules_cancel, &c) == 0, "no thread")) {
            return;
        }
        atomic_store(&c.go, true);
        lbrt_status status = lbrt_generate(s, ids, 40, &g, rules_token, &rules_part);
        atomic_store(&c.done, true);
        if (other) {
            pthread_join(thread, NULL);
            rules_drain(s);
        }
        LB_CHECK(status == LBRT_CANCELLED && g.n_generated == rules_part.n &&
                     (other ? rules_part.n >= 3 : rules_part.n == 5 * round),
                 "%s, %zu", lbrt_status_name(status), g.n_generated);
        LB_CHECK(lbrt_session_length(s) == 40 + rules_part.n && !lbrt_logits(s, 0), "%zu held",
                 lbrt_session_length(s));
        LB_CHECK(lbrt_rewind(fresh, 0) == LBRT_OK && lbrt_feed(fresh, ids, 40) == LBRT_OK &&
                     lbrt_feed(fresh, rules_part.ids, rules_part.n) == LBRT_OK &&
                     lbrt_feed(fresh, ids, 20) == LBRT_OK && lbrt_feed(s, ids, 20) == LBRT_OK,
                 "%s%s", lbrt_session_error(s), lbrt_session_error(fresh));
        const float *a = lbrt_logits(s, 0), *b = lbrt_logits(fresh, 0);
        LB_CHECK(a && b && memcmp(a, b, sizeof got) == 0, "not what a fresh session gives");
    }
    lbrt_session_free(s);
    lbrt_session_free(fresh);
}

void test_session_rules(void)
{
    lbrt_model *m = sm_model("micro", "q8", NULL);
    lb_test_case("a model");
    if (!LB_CHECK(m != NULL, "none")) {
        return;
    }
    rules_errors(m);
    rules_text(m);
    rules_logits(m);
    rules_generate(m);
    rules_cancelling(m);
    lbrt_model_close(m);
}
