/* Sessions side by side in threads of one model: each gives the tokens that it gives alone. */
#include <pthread.h>
#include <string.h>

#include "../include/lbrt.h"
#include "lb_test.h"
#include "small_models.h"

void test_session_threads(void);

enum { SIDE_VOCAB = 288 };

typedef struct side_thread {
    const lbrt_model *m;
    uint64_t seed;
    lbrt_token out[120];
    size_t n;
    lbrt_status status;
} side_thread;

static bool side_collect(void *user, lbrt_token id, const char *text, size_t bytes)
{
    side_thread *t = (side_thread *)user;
    (void)text;
    (void)bytes;
    t->out[t->n++] = id;
    return true;
}

static void *side_generate(void *user)
{
    side_thread *t = (side_thread *)user;
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = 200;
    o.n_threads = 2;
    lbrt_session *s = NULL;
    lbrt_token prompt[30];
    sm_tokens(prompt, 30, SIDE_VOCAB, (uint32_t)t->seed);
    lbrt_sampling how = LBRT_SAMPLING_INIT;
    how.temperature = 1.0f;
    how.seed = t->seed;
    lbrt_generation g = LBRT_GENERATION_INIT;
    g.sampling = &how;
    g.max_tokens = 120;
    g.ignore_end = true;
    t->n = 0;
    t->status = lbrt_session_create(t->m, &o, &s, NULL);
    t->status = t->status == LBRT_OK ? lbrt_generate(s, prompt, 30, &g, side_collect, t) : t->status;
    lbrt_session_free(s);
    return NULL;
}

void test_session_threads(void)
{
    lb_test_case("three sessions in three threads on one model give the tokens that they give alone");
    lbrt_model *m = sm_model("micro", "q8", NULL);
    static side_thread alone[3], together[3];
    pthread_t threads[3];
    for (unsigned i = 0; m && i < 3; i++) {
        alone[i] = together[i] = (side_thread){ .m = m, .seed = i + 1 };
        side_generate(&alone[i]);
        LB_CHECK(alone[i].status == LBRT_OK && alone[i].n == 120, "%d: %zu tokens", (int)alone[i].status,
                 alone[i].n);
    }
    unsigned started = 0;
    for (; m && started < 3; started++) {
        if (pthread_create(&threads[started], NULL, side_generate, &together[started]) != 0) {
            break;
        }
    }
    LB_CHECK(started == 3, "%u threads", started);
    for (unsigned i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
        LB_CHECK(together[i].status == LBRT_OK && together[i].n == 120 &&
                     memcmp(alone[i].out, together[i].out, sizeof alone[i].out) == 0,
                 "session %u differs", i);
    }
    LB_CHECK(memcmp(alone[0].out, alone[1].out, sizeof alone[0].out) != 0, "seed and prompt change nothing");
    lbrt_model_close(m);
}
