/*
 * Saving and restoring: a conversation's state goes into a file and comes back in a new session, which then says exactly what the old one would have said.
 * Use it to keep a long system prompt computed.
 *
 *     save_restore MODEL.lbrt STATE
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lbrt.h"

enum { MOST = 512 };

typedef struct said {
    char text[MOST];
    size_t bytes;
} said;

static bool on_token(void *user, lbrt_token token, const char *text, size_t bytes)
{
    said *s = (said *)user;
    (void)token;
    if (bytes > sizeof s->text - s->bytes) {
        return false;
    }
    memcpy(s->text + s->bytes, text, bytes);
    s->bytes += bytes;
    return true;
}

static bool go_on(lbrt_session *session, said *s)
{
    lbrt_sampling sampling = LBRT_SAMPLING_INIT;
    sampling.temperature = 0.8f;
    sampling.seed = 7; /* drawn from the seed and the position: the same again after restoring */
    lbrt_generation how = LBRT_GENERATION_INIT;
    how.sampling = &sampling;
    how.max_tokens = 24;
    return lbrt_generate(session, NULL, 0, &how, on_token, s) == LBRT_OK; /* no prompt: the logits are there */
}

static bool save(lbrt_session *session, const char *path)
{
    size_t bytes = lbrt_state_bytes(session);
    void *state = malloc(bytes);
    FILE *f = fopen(path, "wb");
    bool ok = state && f && lbrt_state_save(session, state, bytes, &bytes) == LBRT_OK && fwrite(state, 1, bytes, f) == bytes;
    ok = f && fclose(f) == 0 && ok;
    free(state);
    return ok;
}

static bool restore(lbrt_session *session, const char *path)
{
    FILE *f = fopen(path, "rb");
    long bytes = -1;
    void *state = NULL;
    if (f && fseek(f, 0, SEEK_END) == 0 && (bytes = ftell(f)) > 0) {
        state = malloc((size_t)bytes);
        rewind(f);
    }
    bool ok = state && fread(state, 1, (size_t)bytes, f) == (size_t)bytes &&
              lbrt_state_restore(session, state, (size_t)bytes) == LBRT_OK; /* a damaged or foreign state is refused */
    if (f) {
        fclose(f);
    }
    free(state);
    return ok;
}

int main(int argc, char **argv)
{
    lbrt_error err = { LBRT_OK, "usage: save_restore MODEL.lbrt STATE" };
    lbrt_model *model = NULL;
    lbrt_session *before = NULL, *after = NULL;
    lbrt_token prompt[64];
    size_t n = 0;
    said first = { .bytes = 0 }, second = { .bytes = 0 };
    bool ok = argc > 2 && lbrt_model_open(argv[1], NULL, &model, &err) == LBRT_OK &&
              lbrt_session_create(model, NULL, &before, &err) == LBRT_OK &&
              lbrt_session_create(model, NULL, &after, &err) == LBRT_OK &&
              lbrt_tokenize(model, "Once upon a time", 16, LBRT_TOKENIZE_BOS, prompt, 64, &n, &err) == LBRT_OK;
    ok = ok && lbrt_feed(before, prompt, n) == LBRT_OK && save(before, argv[2]) && go_on(before, &first) && restore(after, argv[2]) &&
         go_on(after, &second);
    ok = ok && first.bytes > 0 && first.bytes == second.bytes && memcmp(first.text, second.text, first.bytes) == 0;
    printf("%.*s\n%.*s\n%s\n", (int)first.bytes, first.text, (int)second.bytes, second.text, ok ? "the same" : err.text);
    lbrt_session_free(before);
    lbrt_session_free(after);
    lbrt_model_close(model);
    return ok ? 0 : 1;
}
