/* A session serves one call at a time; a second one is refused, from another thread and from inside a callback. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "../runtime/engine/lb_session.h"
#include "lb_test.h"
#include "small_models.h"

void test_busy(void);

typedef struct busy_state {
    lbrt_session *s, *other;
    _Atomic bool inside, leave;
    lbrt_status nested[11], status;
    size_t tokens;
} busy_state;

static bool busy_callback(void *user, lbrt_token id, const char *text, size_t bytes)
{
    busy_state *b = (busy_state *)user;
    (void)text;
    (void)bytes;
    lbrt_token out;
    unsigned char buffer[64];
    size_t n;
    b->nested[0] = lbrt_feed(b->s, &id, 1);
    b->nested[1] = lbrt_rewind(b->s, 0);
    b->nested[2] = lbrt_sample(b->s, NULL, &out);
    b->nested[3] = lbrt_state_save(b->s, buffer, sizeof buffer, &n);
    b->nested[4] = lbrt_state_restore(b->s, buffer, sizeof buffer);
    b->nested[5] = lbrt_fork(b->s, b->other, 0);
    b->nested[6] = lbrt_generate(b->s, NULL, 0, NULL, NULL, NULL);
    b->nested[7] = lbrt_fork(b->other, b->s, 0);
    static const float row[64];
    b->nested[8] = lbrt_feed_embeddings(b->s, row, 1);
    b->nested[9] = lbrt_adapter_attach(b->s, NULL, 1.0f);
    b->nested[10] = lbrt_adapter_detach(b->s, NULL);
    b->tokens++;
    atomic_store(&b->inside, true);
    while (!atomic_load(&b->leave)) {
    }
    return true;
}

static void *busy_thread(void *arg)
{
    busy_state *b = (busy_state *)arg;
    static const lbrt_token prompt[] = { 1, 5, 9 };
    lbrt_sampling greedy = LBRT_SAMPLING_INIT;
    greedy.temperature = 0;
    lbrt_generation how = LBRT_GENERATION_INIT;
    how.sampling = &greedy;
    how.max_tokens = 3;
    how.ignore_end = true;
    b->status = lbrt_generate(b->s, prompt, 3, &how, busy_callback, b);
    return NULL;
}

void test_busy(void)
{
    lb_test_case("a session at work refuses other calls and goes on");
    lbrt_model *m = sm_model("micro", "q8", NULL);
    busy_state b = { .tokens = 0 };
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = 32;
    o.n_threads = 2;
    LB_CHECK(m && lbrt_session_create(m, &o, &b.s, NULL) == LBRT_OK && lbrt_session_create(m, &o, &b.other, NULL) == LBRT_OK, "sessions");
    pthread_t thread;
    if (!LB_CHECK(pthread_create(&thread, NULL, busy_thread, &b) == 0, "thread")) {
        return;
    }
    while (!atomic_load(&b.inside)) {
    }
    const lbrt_token id = 7;
    for (int i = 0; i < 1000; i++) {
        LB_CHECK(lbrt_feed(b.s, &id, 1) == LBRT_ERR_STATE, "a second thread was let in");
    }
    LB_CHECK(lbrt_feed(b.other, &id, 1) == LBRT_OK, "another session is not concerned: %s", lbrt_session_error(b.other));
    atomic_store(&b.leave, true);
    pthread_join(thread, NULL);
    LB_CHECK(b.status == LBRT_OK && b.tokens == 3 && lbrt_session_length(b.s) == 6, "%d, %zu tokens, length %zu", (int)b.status, b.tokens,
             lbrt_session_length(b.s));
    for (size_t i = 0; i < sizeof b.nested / sizeof b.nested[0]; i++) {
        LB_CHECK(b.nested[i] == LBRT_ERR_STATE, "call %zu: %s", i, lbrt_status_name(b.nested[i]));
    }
    LB_CHECK(lbrt_feed(b.s, &id, 1) == LBRT_OK && lbrt_rewind(b.s, 0) == LBRT_OK, "free again: %s", lbrt_session_error(b.s));
    lb_test_case("a session that is forked from refuses calls that would change it, not other forks");
    atomic_store(&b.s->readers, 1); /* as if another thread were in lbrt_fork */
    LB_CHECK(lbrt_feed(b.s, &id, 1) == LBRT_ERR_STATE && lbrt_rewind(b.s, 0) == LBRT_ERR_STATE, "let in");
    LB_CHECK(lbrt_fork(b.other, b.s, 0) == LBRT_OK && lbrt_fork(b.other, b.s, 9999) == LBRT_ERR_STATE, "%s", lbrt_session_error(b.other));
    LB_CHECK(atomic_exchange(&b.s->readers, 0) == 1 && lbrt_feed(b.s, &id, 1) == LBRT_OK, "%s", lbrt_session_error(b.s));
    lbrt_session_free(b.other);
    lbrt_session_free(b.s);
    lbrt_model_close(m);
}
