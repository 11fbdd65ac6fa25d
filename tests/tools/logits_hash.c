/*
 * Prints a hash of the bits of all logits of some text on a model, in several KV formats, and of a sampled answer. tests/check_single.sh compares
 * what builds by different compilers, with different flags and for different CPUs print: it must be the same number.
 */
#if defined(LOGITS_HASH_SINGLE)
#define LBRT_IMPLEMENTATION
#include "lbrt_single.h"
#else
#include "lbrt.h"
#endif
#include <stdio.h>
#include <string.h>

enum { MAX_TOKENS = 256 };

static uint64_t hash = 14695981039346656037u; /* FNV-1a */

static void add(const void *data, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ p[i]) * 1099511628211u;
    }
}

static bool on_token(void *user, lbrt_token token, const char *text, size_t bytes)
{
    (void)user;
    add(&token, sizeof token);
    add(text, bytes);
    return true;
}

static bool run(const lbrt_model *m, lbrt_kv_format key, lbrt_kv_format value, const lbrt_token *tokens, size_t n, lbrt_error *err)
{
    lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
    so.n_threads = 2;
    so.n_logits = MAX_TOKENS;
    so.kv_key = key;
    so.kv_value = value;
    lbrt_session *s = NULL;
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    lbrt_sampling sampling = LBRT_SAMPLING_INIT;
    sampling.temperature = 0.9f;
    sampling.top_p = 0.95f;
    sampling.seed = 5;
    lbrt_generation how = LBRT_GENERATION_INIT;
    how.sampling = &sampling;
    how.max_tokens = 24;
    bool ok = lbrt_model_describe(m, &info) == LBRT_OK && lbrt_session_create(m, &so, &s, err) == LBRT_OK &&
              lbrt_feed(s, tokens, n) == LBRT_OK;
    for (size_t back = 0; ok && back < n; back++) {
        const float *x = lbrt_logits(s, back);
        ok = x != NULL;
        add(x, ok ? info.n_vocab * sizeof x[0] : 0);
    }
    ok = ok && lbrt_generate(s, NULL, 0, &how, on_token, NULL) == LBRT_OK;
    if (ok) {
        add(lbrt_logits(s, 0), info.n_vocab * sizeof(float));
    } else if (s) {
        snprintf(err->text, sizeof err->text, "%s", lbrt_session_error(s));
    }
    lbrt_session_free(s);
    return ok;
}

int main(int argc, char **argv)
{
    static const char text[] = "Once upon a time there was a fox who could count to 12, and a red kite that nobody had seen for a while. The fox asked "
                               "everybody: have you seen my kite? A goose said yes, it hangs in the tree behind the mill, and the wind sings in it.";
    lbrt_token tokens[MAX_TOKENS];
    size_t n = 0;
    lbrt_error err = { LBRT_OK, "usage: logits_hash MODEL.lbrt" };
    lbrt_model *m = NULL;
    const bool ok = argc == 2 && lbrt_model_open(argv[1], NULL, &m, &err) == LBRT_OK &&
                    lbrt_tokenize(m, text, strlen(text), LBRT_TOKENIZE_BOS, tokens, MAX_TOKENS, &n, &err) == LBRT_OK &&
                    run(m, LBRT_KV_F16, LBRT_KV_F16, tokens, n, &err) && run(m, LBRT_KV_F32, LBRT_KV_F32, tokens, n, &err) &&
                    run(m, LBRT_KV_Q8, LBRT_KV_Q4, tokens, n, &err);
    lbrt_model_close(m);
    if (!ok) {
        fprintf(stderr, "logits_hash: %s\n", err.text);
        return 1;
    }
    printf("%016llx\n", (unsigned long long)hash);
    return 0;
}
