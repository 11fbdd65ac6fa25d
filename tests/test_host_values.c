/*
 * Numbers that a host may have in its own hands: logits before a token is drawn, hidden states out, embeddings in.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lb_test.h"
#include "small_models.h"

void test_host_values(void);

/* ---- logits ---- */

typedef struct host_rule {
    lbrt_token only_from, only_to;
    bool stop;
    size_t calls, tokens;
    lbrt_token last;
    const lbrt_session *s;
    lbrt_status nested;
} host_rule;

static bool host_constrain(void *user, float *logits, size_t n_vocab, const lbrt_token *tokens, size_t n_tokens)
{
    host_rule *r = (host_rule *)user;
    r->calls++;
    r->tokens = n_tokens;
    r->last = n_tokens ? tokens[n_tokens - 1] : -100;
    lbrt_token out;
    r->nested = lbrt_sample((lbrt_session *)(uintptr_t)r->s, NULL, &out);
    for (size_t i = 0; i < n_vocab; i++) {
        if ((lbrt_token)i < r->only_from || (lbrt_token)i >= r->only_to) {
            logits[i] = -INFINITY;
        }
    }
    return !r->stop;
}

static bool host_digits(void *user, lbrt_token token, const char *text, size_t bytes)
{
    (void)text;
    (void)bytes;
    const host_rule *r = (const host_rule *)user;
    return LB_CHECK(token >= r->only_from && token < r->only_to, "token %d was forbidden", (int)token);
}

static void host_hook(const lbrt_model *m)
{
    lb_test_case("a logits function: constrained sampling and generation");
    lbrt_session *s = NULL;
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = 64;
    lbrt_token ids[8], out = -1;
    sm_tokens(ids, 8, 288, 3);
    for (unsigned batch = 0; batch < 2; batch++) { /* with a batch of 1 the copy has memory of its own */
        o.n_batch = batch ? 0 : 1;
        LB_CHECK(lbrt_session_create(m, &o, &s, NULL) == LBRT_OK && lbrt_feed(s, ids, 8) == LBRT_OK, "a session");
        float before[288];
        memcpy(before, lbrt_logits(s, 0), sizeof before);
        host_rule rule = { .only_from = 40, .only_to = 50, .s = s };
        lbrt_sampling how = LBRT_SAMPLING_INIT;
        how.logits = host_constrain;
        how.logits_user = &rule;
        lbrt_token best = 40;
        for (lbrt_token i = 41; i < 50; i++) {
            best = before[i] > before[best] ? i : best;
        }
        LB_CHECK(lbrt_sample(s, &how, &out) == LBRT_OK && out == best, "%d instead of %d", (int)out, (int)best);
        LB_CHECK(rule.calls == 1 && rule.tokens == 8 && rule.last == ids[7] && rule.nested == LBRT_ERR_STATE, "what it was told");
        LB_CHECK(memcmp(before, lbrt_logits(s, 0), sizeof before) == 0, "it changed the session's own logits");
        how.temperature = 1.0f;
        for (uint64_t seed = 0; seed < 50; seed++) {
            how.seed = seed;
            LB_CHECK(lbrt_sample(s, &how, &out) == LBRT_OK && out >= 40 && out < 50, "%d", (int)out);
        }
        rule.stop = true;
        LB_CHECK(lbrt_sample(s, &how, &out) == LBRT_CANCELLED && lbrt_session_error(s)[0] && lbrt_logits(s, 0), "a no");
        rule.stop = false;
        rule.only_to = 40;
        LB_CHECK(lbrt_sample(s, &how, &out) == LBRT_ERR_NUMERIC, "nothing is allowed");
        rule.only_to = 44;
        lbrt_generation g = LBRT_GENERATION_INIT;
        g.sampling = &how;
        g.max_tokens = 10;
        LB_CHECK(lbrt_generate(s, NULL, 0, &g, host_digits, &rule) == LBRT_OK && g.n_generated == 10, "%zu: %s", g.n_generated,
                 lbrt_session_error(s));
        rule.stop = true;
        LB_CHECK(lbrt_generate(s, NULL, 0, &g, host_digits, &rule) == LBRT_CANCELLED && g.n_generated == 0 && lbrt_session_length(s) == 18,
                 "generation goes on after a no");
        lbrt_session_free(s);
    }
}

/* ---- hidden states and embeddings ---- */

static void host_hidden(const lbrt_model *m, const float *head)
{
    lb_test_case("hidden states: what the head reads, in any split of the prompt");
    enum { N = 20, KEEP = 9 };
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = 64;
    o.n_hidden = KEEP;
    o.n_logits = 3;
    lbrt_token ids[N];
    sm_tokens(ids, N, 288, 8);
    float first[KEEP][40];
    for (unsigned round = 0; round < 3; round++) {
        o.n_batch = round == 0 ? 0 : round == 1 ? 7 : 1;
        lbrt_session *s = NULL;
        LB_CHECK(lbrt_session_create(m, &o, &s, NULL) == LBRT_OK && !lbrt_hidden(s, 0) && lbrt_feed(s, ids, N) == LBRT_OK, "a session");
        LB_CHECK(lbrt_hidden(s, KEEP - 1) && !lbrt_hidden(s, KEEP), "positions");
        for (size_t back = 0; back < KEEP; back++) {
            const float *h = lbrt_hidden(s, back);
            if (round == 0) {
                memcpy(first[back], h, sizeof first[back]);
            }
            LB_CHECK(memcmp(first[back], h, sizeof first[back]) == 0, "round %u: other bits %zu back", round, back);
        }
        /* The head is f32: its products are plain sums, but for their order. */
        for (size_t back = 0; back < 3; back++) {
            for (size_t v = 0; v < 288; v += 7) {
                double sum = 0;
                for (size_t c = 0; c < 40; c++) {
                    sum += (double)head[v * 40 + c] * (double)lbrt_hidden(s, back)[c];
                }
                LB_CHECK(fabs(sum - (double)lbrt_logits(s, back)[v]) < 1e-4, "logit %zu: %g and %g", v, sum, (double)lbrt_logits(s, back)[v]);
            }
        }
        LB_CHECK(lbrt_feed(s, ids, 1) == LBRT_OK && lbrt_hidden(s, 0) && !lbrt_hidden(s, 1), "one token, one state");
        LB_CHECK(lbrt_rewind(s, 5) == LBRT_OK && !lbrt_hidden(s, 0), "gone after a rewind");
        lbrt_session_free(s);
    }
}

static lbrt_session *host_session(const lbrt_model *m, lbrt_kv_format f, uint32_t n_embeddings)
{
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = 400;
    o.n_embeddings = n_embeddings;
    o.kv_key = o.kv_value = f;
    o.n_threads = 2;
    lbrt_session *s = NULL;
    lbrt_error err = { LBRT_OK, "" };
    LB_CHECK(lbrt_session_create(m, &o, &s, &err) == LBRT_OK, "%s", err.text);
    return s;
}

static void host_same(const lbrt_session *a, const lbrt_session *b, const char *when)
{
    LB_CHECK(lbrt_session_length(a) == lbrt_session_length(b), "%s: %zu and %zu tokens", when, lbrt_session_length(a), lbrt_session_length(b));
    LB_CHECK(lbrt_logits(a, 0) && lbrt_logits(b, 0) && memcmp(lbrt_logits(a, 0), lbrt_logits(b, 0), 288 * sizeof(float)) == 0,
             "%s: other logits", when);
}

/* Tokens 10..29 and 140..149 of 170 as their embeddings: everything is as with tokens. */
static void host_embeddings(const lbrt_model *m, const float *embed, lbrt_kv_format f)
{
    lb_test_case("embeddings in place of tokens, KV format %d", (int)f);
    enum { N = 170 };
    lbrt_token ids[N];
    sm_tokens(ids, N, 288, 21);
    static float rows[N][40];
    for (size_t i = 0; i < N; i++) {
        memcpy(rows[i], embed + (size_t)ids[i] * 40, sizeof rows[i]);
    }
    lbrt_session *t = host_session(m, f, 0), *e = host_session(m, f, 30), *other = host_session(m, f, 30), *small = host_session(m, f, 29);
    LB_CHECK(lbrt_feed(t, ids, N) == LBRT_OK, "tokens");
    LB_CHECK(lbrt_feed(e, ids, 10) == LBRT_OK && lbrt_feed_embeddings(e, rows[10], 20) == LBRT_OK && lbrt_feed(e, ids + 30, 110) == LBRT_OK &&
                 lbrt_feed_embeddings(e, rows[140], 10) == LBRT_OK && lbrt_feed(e, ids + 150, 20) == LBRT_OK,
             "embeddings: %s", lbrt_session_error(e));
    host_same(t, e, "fed");
    LB_CHECK(lbrt_feed_embeddings(e, rows[0], 1) == LBRT_ERR_STATE && strstr(lbrt_session_error(e), "n_embeddings"), "too many");
    LB_CHECK(lbrt_feed_embeddings(t, rows[0], 1) == LBRT_ERR_STATE, "no room at all");
    LB_CHECK(lbrt_feed_embeddings(e, NULL, 1) == LBRT_ERR_ARGUMENT && lbrt_feed_embeddings(e, rows[0], 0) == LBRT_ERR_ARGUMENT, "nothing");
    host_same(t, e, "after refusals");

    /* fork and save take the embeddings along, into a session that has room for them */
    LB_CHECK(lbrt_fork(other, e, N) == LBRT_OK, "%s", lbrt_session_error(other));
    host_same(t, other, "forked");
    LB_CHECK(lbrt_fork(small, e, N) == LBRT_ERR_CONTEXT_FULL && lbrt_fork(small, e, 149) == LBRT_OK, "%s", lbrt_session_error(small));
    const size_t bytes = lbrt_state_bytes(e);
    unsigned char *state = malloc(bytes), *again = malloc(bytes);
    size_t n = 0;
    LB_CHECK(lbrt_state_save(e, state, bytes, &n) == LBRT_OK && n == bytes, "saved");
    LB_CHECK(lbrt_rewind(other, 3) == LBRT_OK && lbrt_state_restore(other, state, bytes) == LBRT_OK, "%s", lbrt_session_error(other));
    host_same(t, other, "restored");
    LB_CHECK(lbrt_state_save(other, again, bytes, &n) == LBRT_OK && n == bytes && memcmp(state, again, bytes) == 0, "another state");
    LB_CHECK(lbrt_state_restore(small, state, bytes) == LBRT_ERR_CONTEXT_FULL && lbrt_session_length(small) == 149, "no room to restore");
    free(state);
    free(again);

    /* Into blocks that have embeddings and must be computed again from them */
    static const size_t lengths[] = { 165, 149, 145, 130, 35, 25, 15, 10, 4 };
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const size_t l = lengths[i];
        LB_CHECK(lbrt_rewind(t, l) == LBRT_OK && lbrt_rewind(other, l) == LBRT_OK && lbrt_fork(e, other, l) == LBRT_OK, "to %zu", l);
        LB_CHECK(lbrt_feed(t, ids, 2) == LBRT_OK && lbrt_feed(other, ids, 2) == LBRT_OK && lbrt_feed(e, ids, 2) == LBRT_OK, "on from %zu", l);
        host_same(t, other, "rewound");
        host_same(t, e, "forked shorter");
        LB_CHECK(lbrt_rewind(t, l) == LBRT_OK && lbrt_rewind(other, l) == LBRT_OK, "back to %zu", l);
    }
    LB_CHECK(lbrt_rewind(other, 0) == LBRT_OK && lbrt_feed_embeddings(other, rows[0], 30) == LBRT_OK, "room again after a rewind: %s",
             lbrt_session_error(other));

    /* Cancelled in the middle: nothing of it counts */
    lbrt_cancel(other);
    LB_CHECK(lbrt_rewind(other, 20) == LBRT_OK && lbrt_feed_embeddings(other, rows[20], 5) == LBRT_CANCELLED && lbrt_session_length(other) == 20,
             "cancelled");
    LB_CHECK(lbrt_feed_embeddings(other, rows[20], 10) == LBRT_OK && lbrt_rewind(t, 0) == LBRT_OK && lbrt_feed(t, ids, 30) == LBRT_OK, "and again");
    host_same(t, other, "after a cancellation");
    rows[0][7] = NAN;
    LB_CHECK(lbrt_rewind(other, 0) == LBRT_OK && lbrt_feed_embeddings(other, rows[0], 1) == LBRT_ERR_ARGUMENT && lbrt_session_length(other) == 0,
             "a number that is not finite");
    lbrt_session *all[] = { t, e, other, small };
    for (size_t i = 0; i < 4; i++) {
        lbrt_session_free(all[i]);
    }
}

/* A tensor of the source as floats. */
static float *host_tensor(const char *name)
{
    lb_source *source = sm_source("micro");
    float *out = NULL;
    for (size_t i = 0; i < source->n_tensors; i++) {
        const lb_source_tensor *t = &source->tensors[i];
        if (strcmp(t->name, name) == 0) {
            out = malloc(t->rows * t->cols * sizeof *out);
            LB_CHECK(source->read_rows(source, i, 0, t->rows, out, NULL) == LBRT_OK, "%s", name);
        }
    }
    source->close(source);
    return out;
}

void test_host_values(void)
{
    lbrt_model *m = sm_model("micro", "q4", NULL), *plain = sm_model("micro", "f32", NULL);
    float *head = host_tensor("out_head"), *embed = host_tensor("tok_embed");
    if (m && plain && head && embed) {
        host_hook(m);
        host_hidden(plain, head);
        for (int f = LBRT_KV_F32; f <= LBRT_KV_Q2; f++) {
            host_embeddings(plain, embed, (lbrt_kv_format)f);
        }
    }
    free(head);
    free(embed);
    lbrt_model_close(m);
    lbrt_model_close(plain);
}
