/*
 * Cancelling from another thread: a watchdog stops an answer that takes too long. The session stays usable, and goes on where it stood.
 *
 *     cancel MODEL.lbrt
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "lbrt.h"

typedef struct watchdog {
    lbrt_session *session;
    atomic_uint tokens; /* the answer so far */
    unsigned limit;
    atomic_bool stop;
} watchdog;

static void *watch(void *arg)
{
    watchdog *w = (watchdog *)arg;
    while (!atomic_load(&w->stop)) { /* a real one would look at the time */
        if (atomic_load(&w->tokens) >= w->limit) {
            lbrt_cancel(w->session); /* the one call that may be made while another thread uses the session */
            break;
        }
    }
    return NULL;
}

static bool on_token(void *user, lbrt_token token, const char *text, size_t bytes)
{
    watchdog *w = (watchdog *)user;
    (void)token;
    atomic_fetch_add(&w->tokens, 1);
    return fwrite(text, 1, bytes, stdout) == bytes;
}

int main(int argc, char **argv)
{
    lbrt_error err = { LBRT_OK, "usage: cancel MODEL.lbrt" };
    lbrt_model *model = NULL;
    lbrt_token prompt[64];
    size_t n = 0;
    watchdog w = { .limit = 5 };
    pthread_t thread;
    if (argc < 2 || lbrt_model_open(argv[1], NULL, &model, &err) != LBRT_OK ||
        lbrt_session_create(model, NULL, &w.session, &err) != LBRT_OK ||
        lbrt_tokenize(model, "Once upon a time", 16, LBRT_TOKENIZE_BOS, prompt, 64, &n, &err) != LBRT_OK ||
        pthread_create(&thread, NULL, watch, &w) != 0) {
        fprintf(stderr, "%s\n", err.text);
        lbrt_session_free(w.session);
        lbrt_model_close(model);
        return 1;
    }
    lbrt_generation how = LBRT_GENERATION_INIT;
    how.ignore_end = true; /* without the watchdog it would fill the context */
    lbrt_status status = lbrt_generate(w.session, prompt, n, &how, on_token, &w);
    atomic_store(&w.stop, true);
    pthread_join(thread, NULL);
    const size_t held = lbrt_session_length(w.session);
    printf("\n%s after %u tokens\n", lbrt_status_name(status), atomic_load(&w.tokens));
    bool ok = status == LBRT_CANCELLED && held < lbrt_session_capacity(w.session);

    /* Its logits are gone. The answer begins again: all of the prompt but the last token is still there. */
    lbrt_token again = prompt[n - 1];
    how.max_tokens = 8;
    ok = ok && lbrt_rewind(w.session, n - 1) == LBRT_OK && lbrt_generate(w.session, &again, 1, &how, on_token, &w) == LBRT_OK;
    printf("\n%s\n", ok ? "and goes on" : lbrt_session_error(w.session));
    lbrt_session_free(w.session);
    lbrt_model_close(model);
    return ok ? 0 : 1;
}
