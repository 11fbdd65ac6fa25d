/* Sampling from a session, and the loop that generates an answer. */
#include "lb_session_api.h"

enum { DEFAULT_REPEAT_LAST = 64 };

lbrt_status lb_session_sample(lbrt_session *s, const lbrt_sampling *in, lbrt_token *out)
{
    LB_FAIL_IF(!out, &s->error, LBRT_ERR_ARGUMENT, "no place for the token");
    LB_FAIL_IF(s->n_logits == 0, &s->error, LBRT_ERR_STATE, "there are no logits: feed a token first");
    lbrt_sampling how = LBRT_SAMPLING_INIT;
    if (in) {
        LB_FAIL_IF(in->size == 0, &s->error, LBRT_ERR_ARGUMENT, "sampling options without their size");
        memcpy(&how, in, lb_min(in->size, sizeof how));
    }
    const float *logits = s->logits;
    const size_t n_vocab = s->model->hparams.n_vocab;
    if (how.logits) {
        memcpy(s->altered, s->logits, n_vocab * sizeof *s->altered);
        LB_FAIL_IF(!how.logits(how.logits_user, s->altered, n_vocab, s->tokens, s->length), &s->error, LBRT_CANCELLED,
                   "the logits function wants no token");
        logits = s->altered;
    }
    size_t recent = lb_min(how.repeat_last ? how.repeat_last : DEFAULT_REPEAT_LAST, s->length);
    return lb_sample_logits(&how, s->exec.k, logits, n_vocab, s->candidates,
                            s->tokens + s->length - recent, recent, s->evicted + s->length, out, &s->error);
}

lbrt_status lbrt_sample(lbrt_session *s, const lbrt_sampling *sampling, lbrt_token *out)
{
    LB_ENTER(s);
    return lb_session_sample(s, sampling, out);
}

lbrt_status lbrt_generate(lbrt_session *s, const lbrt_token *prompt, size_t n, lbrt_generation *in, lbrt_token_fn callback,
                          void *user)
{
    LB_ENTER(s);
    LB_TRY(lb_session_cancelled(s));
    lbrt_generation how = LBRT_GENERATION_INIT;
    if (in) {
        LB_FAIL_IF(in->size == 0, &s->error, LBRT_ERR_ARGUMENT, "generation options without their size");
        memcpy(&how, in, lb_min(in->size, sizeof how));
    }
    how.n_generated = 0;
    lbrt_status status = n ? lb_session_feed(s, prompt, n) : LBRT_OK;
    bool go_on = true;
    while (status == LBRT_OK && go_on && s->length < lb_session_room(s) &&
           (how.max_tokens == 0 || how.n_generated < how.max_tokens)) {
        lbrt_token id;
        status = lb_session_sample(s, how.sampling, &id);
        status = status == LBRT_OK ? lb_session_cancelled(s) : status;
        status = status == LBRT_OK ? lb_session_feed(s, &id, 1) : status;
        if (status != LBRT_OK || (lbrt_token_ends(s->model, id) && !how.ignore_end)) {
            break;
        }
        how.n_generated++;
        if (callback) {
            const char *text;
            size_t bytes;
            if (lbrt_token_text(s->model, id, false, &text, &bytes) != LBRT_OK) {
                text = "";
                bytes = 0;
            }
            go_on = callback(user, id, text, bytes);
        }
    }
    if (status == LBRT_CANCELLED) {
        atomic_store(&s->cancel, false); /* somebody asked and the logits function said no: one answer to both */
    }
    if (in && in->size >= offsetof(lbrt_generation, n_generated) + sizeof in->n_generated) {
        in->n_generated = how.n_generated;
    }
    return status;
}
