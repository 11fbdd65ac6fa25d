/* The public calls on sessions: making one, feeding it, logits, rewinding, cancelling. */
#include "lb_session_api.h"

/* busy and readers are each set before the other is looked at: of a call on a session and a fork from it that begin at once at least one sees the other. */
lbrt_status lb_session_enter(lbrt_session *s)
{
    if (!s) {
        return LBRT_ERR_ARGUMENT;
    }
    if (atomic_exchange(&s->busy, true)) {
        return LBRT_ERR_STATE;
    }
    if (atomic_load(&s->readers)) {
        atomic_store(&s->busy, false);
        return LBRT_ERR_STATE;
    }
    s->error = (lbrt_error){ LBRT_OK, "" };
    return LBRT_OK;
}

lbrt_status lbrt_session_bytes(const lbrt_model *m, const lbrt_session_options *options, size_t *bytes, lbrt_error *err)
{
    LB_FAIL_IF(!m || !bytes, err, LBRT_ERR_ARGUMENT, "a pointer is missing");
    *bytes = 0;
    lb_arena count = { 0 };
    lbrt_session_options o;
    LB_TRY(lb_session_settle(m, options, &o, err));
    LB_TRY(lb_session_plan(m, &o, &count, NULL, err));
    *bytes = count.bytes;
    return LBRT_OK;
}

lbrt_status lbrt_session_create(const lbrt_model *m, const lbrt_session_options *options, lbrt_session **out, lbrt_error *err)
{
    if (err) {
        *err = (lbrt_error){ LBRT_OK, "" };
    }
    LB_FAIL_IF(!m || !out, err, LBRT_ERR_ARGUMENT, "a pointer is missing");
    *out = NULL;
    lb_arena a = { 0 };
    lbrt_session_options o;
    LB_TRY(lb_session_settle(m, options, &o, err));
    LB_TRY(lb_session_plan(m, &o, &a, NULL, err));
    const lbrt_allocator from = o.allocator ? lb_allocator_or_default(o.allocator) : m->allocator;
    void *slab = lb_alloc(&from, a.bytes);
    LB_FAIL_IF(!slab, err, LBRT_ERR_MEMORY, "a session needs %zu bytes, more than there is", a.bytes);
    a = (lb_arena){ .base = (unsigned char *)slab };
    lbrt_session *s;
    (void)lb_session_plan(m, &o, &a, &s, err); /* the same as above: cannot fail now */
    lbrt_status started = LBRT_OK;
    if (s->parallel) {
        lb_pool_host(s->exec.pool, s->exec.n_threads, s->parallel, s->parallel_user);
    } else {
        started = lb_pool_start(s->exec.pool, s->exec.n_threads, err);
    }
    if (started != LBRT_OK) {
        lb_free(&from, slab, a.bytes);
        return started;
    }
    *out = s;
    return LBRT_OK;
}

void lbrt_session_free(lbrt_session *s)
{
    if (s) {
        lb_pool_stop(s->exec.pool);
        lbrt_allocator a = s->allocator;
        lb_free(&a, s->mid, s->mid_bytes);
        lb_kv_leave(&s->kv);
    }
}

const char *lbrt_session_error(const lbrt_session *s)
{
    return s ? s->error.text : "no session";
}

size_t lbrt_session_length(const lbrt_session *s)
{
    return s ? s->evicted + s->length : 0;
}

size_t lbrt_session_held(const lbrt_session *s)
{
    return s ? lb_kv_held(&s->kv, s->length) : 0;
}

size_t lbrt_session_capacity(const lbrt_session *s)
{
    return s ? lb_session_room(s) : 0;
}

void lbrt_cancel(lbrt_session *s)
{
    if (s) {
        atomic_store(&s->cancel, true);
    }
}

lbrt_status lb_session_cancelled(lbrt_session *s)
{
    if (!atomic_exchange(&s->cancel, false)) {
        return LBRT_OK;
    }
    s->n_logits = s->n_hidden = 0; /* wherever it was noticed, so that the caller sees one behaviour */
    return lb_fail(&s->error, LBRT_CANCELLED, "cancelled");
}

static lbrt_status check_room(lbrt_session *s, const void *what, size_t n)
{
    LB_FAIL_IF(!what || n == 0, &s->error, LBRT_ERR_ARGUMENT, "no tokens");
    LB_FAIL_IF(n > lb_session_room(s) - s->length, &s->error, LBRT_ERR_CONTEXT_FULL,
               "%zu tokens do not fit: the session holds %zu of %zu", n, s->length, lb_session_room(s));
    return LBRT_OK;
}

/* Of a batch, the tokens whose distance from the end of what is fed is below `wanted`; `back` is that of its last one. */
static size_t wanted_of(size_t batch, size_t back, size_t wanted)
{
    return back < wanted ? lb_min(batch, wanted - back) : 0;
}

/* After a rewind or a restore a cache of codes may lack the numbers of the newest block: its tokens up to `length` once more. */
bool lb_session_resume(lbrt_session *s, size_t length)
{
    for (size_t at = lb_kv_resume(&s->kv, length), batch; at < length; at += batch) {
        batch = lb_min(s->n_batch, length - at);
        if (!lb_forward(s, s->tokens + at, batch, at, 0, 0, 0)) {
            return false;
        }
    }
    return true;
}

/* Cancelled when `done` of the tokens are through. What a window has dropped for these does not come back: they stay. */
static lbrt_status feed_cancelled(lbrt_session *s, const lbrt_token *tokens, size_t done)
{
    if (s->kv.window) {
        memmove(s->tokens + s->length, tokens, done * sizeof *tokens);
        for (size_t i = 0; i < done; i++) {
            s->n_embedded += s->tokens[s->length + i] < 0;
        }
        s->length += done;
    }
    return lb_session_cancelled(s);
}

/* Tokens that have been checked; negative ones are rows of s->embedded. */
static lbrt_status feed_checked(lbrt_session *s, const lbrt_token *tokens, size_t n)
{
    const size_t wanted = lb_min(n, s->n_logits_max), wanted_hidden = lb_min(n, s->n_hidden_max);
    s->n_logits = s->n_hidden = 0;
    s->feed_total = 0;
    if (!lb_session_resume(s, s->length)) {
        return lb_session_cancelled(s);
    }
    s->feed_total = n;
    for (size_t at = 0; at < n;) {
        const size_t batch = lb_min(s->n_batch, n - at), end = at + batch, back = n - end;
        s->feed_done = at;
        if (!lb_forward(s, tokens + at, batch, s->length + at, wanted_of(batch, back, wanted), wanted_of(batch, back, wanted_hidden), back)) {
            return feed_cancelled(s, tokens, at);
        }
        at = end;
    }
    if (n > 1 && s->progress && !s->progress(s->progress_user, n, n)) {
        atomic_store(&s->cancel, true);
        return feed_cancelled(s, tokens, n);
    }
    memmove(s->tokens + s->length, tokens, n * sizeof *tokens);
    s->length += n;
    s->n_logits = wanted;
    s->n_hidden = wanted_hidden;
    return LBRT_OK;
}

lbrt_status lb_session_feed(lbrt_session *s, const lbrt_token *tokens, size_t n)
{
    LB_TRY(check_room(s, tokens, n));
    for (size_t i = 0; i < n; i++) {
        LB_FAIL_IF(tokens[i] < 0 || (uint32_t)tokens[i] >= s->model->hparams.n_vocab, &s->error, LBRT_ERR_ARGUMENT,
                   "%d is not a token of this model", (int)tokens[i]);
    }
    return feed_checked(s, tokens, n);
}

lbrt_status lbrt_feed(lbrt_session *s, const lbrt_token *tokens, size_t n)
{
    LB_ENTER(s);
    LB_TRY(lb_session_cancelled(s));
    return lb_session_feed(s, tokens, n);
}

lbrt_status lbrt_feed_embeddings(lbrt_session *s, const float *rows, size_t n)
{
    LB_ENTER(s);
    LB_TRY(lb_session_cancelled(s));
    LB_TRY(check_room(s, rows, n));
    LB_FAIL_IF(n > s->n_embedded_max - s->n_embedded, &s->error, LBRT_ERR_STATE,
               "%zu embeddings do not fit: the session has room for %zu (n_embeddings of its options) and holds %zu", n, s->n_embedded_max,
               s->n_embedded);
    const size_t dim = s->model->hparams.dim;
    for (size_t i = 0; i < n * dim; i++) {
        LB_FAIL_IF(!(rows[i] >= -3.4e38f && rows[i] <= 3.4e38f), &s->error, LBRT_ERR_ARGUMENT, "number %zu of embedding %zu is not finite",
                   i % dim, i / dim);
    }
    /* Behind what the session holds: if this fails, nothing of it counts. */
    for (size_t i = 0; i < n; i++) {
        memcpy(s->embedded + (s->n_embedded + i) * s->x_stride, rows + i * dim, dim * sizeof *rows);
        s->tokens[s->length + i] = -1 - (lbrt_token)(s->n_embedded + i);
    }
    LB_TRY(feed_checked(s, s->tokens + s->length, n));
    s->n_embedded += n;
    return LBRT_OK;
}

const float *lbrt_hidden(const lbrt_session *s, size_t back)
{
    return s && back < s->n_hidden ? s->hidden + back * s->x_stride : NULL;
}

const float *lbrt_logits(const lbrt_session *s, size_t back)
{
    return s && back < s->n_logits ? s->logits + back * s->logits_stride : NULL;
}

size_t lb_session_embedded(const lbrt_session *s, size_t length)
{
    size_t n = 0;
    for (size_t i = 0; i < length && n < s->n_embedded; i++) {
        n += s->tokens[i] < 0;
    }
    return n;
}

/* Whether what `from` has of the text's first `length` tokens is enough to go on there. */
static lbrt_status check_prefix(const lbrt_session *from, size_t length, lbrt_error *err)
{
    const size_t all = from->evicted + from->length;
    LB_FAIL_IF(length > all, err, LBRT_ERR_STATE, "the session holds %zu tokens, fewer than %zu", all, length);
    LB_FAIL_IF(length && length < from->evicted + from->compressed, err, LBRT_ERR_STATE,
               "the first %zu tokens were compressed: a session cannot go back to %zu of them", from->evicted + from->compressed, length);
    LB_FAIL_IF(!lb_kv_can_rewind(&from->kv, length - (length ? from->evicted : 0)), err, LBRT_ERR_STATE,
               "what token %zu would see is out of the window by now", length);
    return LBRT_OK;
}

static lbrt_status rewind_to(lbrt_session *s, size_t length)
{
    LB_TRY(check_prefix(s, length, &s->error));
    if (length == 0) {
        s->evicted = s->compressed = 0;
    }
    length -= s->evicted;
    s->n_embedded = lb_session_embedded(s, length);
    s->length = length;
    lb_kv_rewind(&s->kv, length);
    s->n_logits = s->n_hidden = 0;
    return LBRT_OK;
}

lbrt_status lbrt_rewind(lbrt_session *s, size_t length)
{
    LB_ENTER(s);
    return rewind_to(s, length);
}

static lbrt_status fork_from(lbrt_session *s, const lbrt_session *from, size_t length)
{
    LB_FAIL_IF(from != s && atomic_load(&from->busy), &s->error, LBRT_ERR_STATE, "the session to fork from is at work");
    LB_FAIL_IF(s->model != from->model, &s->error, LBRT_ERR_ARGUMENT, "the sessions are of different models");
    LB_FAIL_IF(s->kv.side[LB_KV_KEY].room != from->kv.side[LB_KV_KEY].room || s->kv.side[LB_KV_VALUE].room != from->kv.side[LB_KV_VALUE].room,
               &s->error, LBRT_ERR_ARGUMENT, "the sessions have different KV formats");
    LB_FAIL_IF(s->kv.window != from->kv.window || s->kv.sinks != from->kv.sinks, &s->error, LBRT_ERR_ARGUMENT,
               "the sessions have different windows");
    LB_FAIL_IF(s->kv.window && s->kv.n_chunks != from->kv.n_chunks, &s->error, LBRT_ERR_ARGUMENT,
               "the sessions have different room for their windows (n_batch or n_context): %zu and %zu pages", s->kv.n_chunks, from->kv.n_chunks);
    LB_TRY(check_prefix(from, length, &s->error));
    const size_t held = length ? length - from->evicted : 0, n_embedded = lb_session_embedded(from, held);
    const size_t faint = held ? from->kv.faint : 0;
    LB_FAIL_IF(held > s->n_context + faint * LB_KV_CHUNK || faint > s->kv.n_faint, &s->error, LBRT_ERR_CONTEXT_FULL,
               "%zu tokens, of them %zu faint, do not fit: the session holds %zu and %zu", held, faint * LB_KV_CHUNK, s->n_context,
               s->kv.n_faint * LB_KV_CHUNK);
    LB_FAIL_IF(n_embedded > s->n_embedded_max, &s->error, LBRT_ERR_CONTEXT_FULL, "%zu embeddings do not fit: the session has room for %zu",
               n_embedded, s->n_embedded_max);
    if (s == from) {
        return held == s->length ? LBRT_OK : rewind_to(s, length);
    }
    lb_kv_fork(&s->kv, &from->kv, held);
    memcpy(s->tokens, from->tokens, held * sizeof *s->tokens);
    if (n_embedded) {
        memcpy(s->embedded, from->embedded, n_embedded * s->x_stride * sizeof(float));
    }
    s->n_embedded = n_embedded;
    s->evicted = length ? from->evicted : 0;
    s->compressed = length ? from->compressed : 0;
    s->length = held;
    lb_kv_rewind(&s->kv, held);
    s->n_hidden = 0;
    s->n_logits = held == from->length && from->n_logits ? 1 : 0;
    if (s->n_logits) {
        memcpy(s->logits, from->logits, s->model->hparams.n_vocab * sizeof(float));
    }
    return LBRT_OK;
}

lbrt_status lbrt_fork(lbrt_session *s, const lbrt_session *from, size_t length)
{
    LB_ENTER(s);
    LB_FAIL_IF(!from, &s->error, LBRT_ERR_ARGUMENT, "no session to fork from");
    _Atomic unsigned *readers = &((lbrt_session *)(uintptr_t)from)->readers; /* all else of it stays as it is */
    atomic_fetch_add(readers, 1);
    const lbrt_status status = fork_from(s, from, length);
    atomic_fetch_sub(readers, 1);
    return status;
}
