/*
 * What a program does that was compiled with lbrt 0.1 and meets a newer library: its structs may be shorter, and its enumerators are numbers. The
 * only file that includes the frozen header; tests/test_header.c compares.
 */
#include "data/lbrt_0_1.h"

#include "old_header.h"

const header_entry old_entries[] = {
#include "data/lbrt_0_1.inc"
};

typedef struct old_heard {
    int32_t *tokens;
    size_t n, progress;
} old_heard;

static bool old_progress(void *user, uint64_t done, uint64_t total)
{
    ((old_heard *)user)->progress += done == total;
    return true;
}

static bool old_token(void *user, lbrt_token token, const char *text, size_t bytes)
{
    old_heard *heard = (old_heard *)user;
    (void)text;
    (void)bytes;
    heard->tokens[heard->n++] = token;
    return true;
}

static bool old_logits(void *user, float *logits, size_t n_vocab, const lbrt_token *tokens, size_t n_tokens)
{
    (void)user;
    (void)tokens;
    logits[n_tokens % n_vocab] = 1e4f; /* decides */
    return true;
}

static const char *old_session(lbrt_session *s, const lbrt_model *m, old_heard *heard, size_t n)
{
    static const lbrt_token prompt[3] = { 1, 70, 41 };
    lbrt_sampling rule = LBRT_SAMPLING_INIT;
    lbrt_generation how = LBRT_GENERATION_INIT;
    lbrt_token first = -1;
    how.max_tokens = n - 1;
    how.ignore_end = true;
    rule.logits = old_logits;
    rule.seed = 5;
    if (lbrt_generate(s, prompt, 3, &how, old_token, heard) != LBRT_OK || how.n_generated != n - 1) {
        return lbrt_session_error(s);
    }
    if (heard->progress != 1 || !lbrt_logits(s, 0) || !lbrt_hidden(s, 0) || lbrt_session_length(s) != n + 2 || lbrt_session_held(s) != n + 2) {
        return "the session lacks something that 0.1 asks for";
    }
    if (lbrt_sample(s, &rule, &first) != LBRT_OK || first != (lbrt_token)(n + 2)) {
        return "the function that changes logits is not heard";
    }
    heard->tokens[heard->n] = first;
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    if (lbrt_model_describe(m, &info) != LBRT_OK || !info.name || info.n_layers == 0 || info.n_vocab < 100 || info.eos < 0) {
        return "the model's description";
    }
    return lbrt_tokenize(m, "x", 1, LBRT_TOKENIZE_BOS, NULL, 0, &heard->n, NULL) == LBRT_ERR_BUFFER ? NULL : "tokenizing";
}

const char *old_program(const char *path, int32_t *tokens, size_t n)
{
    static lbrt_error err;
    old_heard heard = { tokens, 0, 0 };
    lbrt_source source = LBRT_SOURCE_INIT;
    lbrt_model_options mo = LBRT_MODEL_OPTIONS_INIT;
    lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
    lbrt_memory_plan plan = LBRT_MEMORY_PLAN_INIT;
    lbrt_model *m = NULL;
    lbrt_session *s = NULL;
    source.path = path;
    mo.verify = true;
    so.n_context = (uint32_t)n + 10;
    so.n_hidden = so.n_threads = 1;
    so.window = (uint32_t)n;
    so.sinks = 2;
    so.kv_key = so.kv_value = LBRT_KV_Q8;
    so.progress = old_progress;
    so.progress_user = &heard;
    if (lbrt_version() < LBRT_VERSION) {
        return "the library is older than 0.1";
    }
    size_t bytes = 0;
    const char *wrong = NULL;
    if (lbrt_model_plan(&source, &mo, &so, &plan, &err) != LBRT_OK || lbrt_model_open_source(&source, &mo, &m, &err) != LBRT_OK ||
        lbrt_session_bytes(m, &so, &bytes, &err) != LBRT_OK || lbrt_session_create(m, &so, &s, &err) != LBRT_OK) {
        wrong = err.text;
    } else if (plan.session_bytes != bytes || plan.model_bytes == 0) {
        wrong = "the plan";
    } else {
        wrong = old_session(s, m, &heard, n);
    }
    lbrt_session_free(s);
    lbrt_model_close(m);
    return wrong;
}
