/* Dropping what the newest tokens do not look at: lbrt_compress. */
#include "lb_session_api.h"

static size_t all_units(const lb_kv *kv)
{
    size_t n = 0;
    for (uint32_t i = 0; i < kv->n_layers; i++) {
        n += kv->layers[i].units;
    }
    return n;
}

/* The newest tokens once more, with somebody who counts. */
static lbrt_status take_votes(lbrt_session *s, lb_votes *votes)
{
    const size_t from = s->length - LB_SNAP_WINDOW;
    s->feed_total = 0; /* no progress of a feed that is over */
    if (!lb_session_resume(s, from)) {
        return lb_session_cancelled(s);
    }
    s->votes = votes;
    const bool done = lb_forward(s, s->tokens + from, LB_SNAP_WINDOW, from, 0, 0, 0);
    s->votes = NULL;
    return done ? LBRT_OK : lb_session_cancelled(s);
}

lbrt_status lbrt_compress(lbrt_session *s, size_t n_keep)
{
    LB_ENTER(s);
    LB_TRY(lb_session_cancelled(s));
    LB_FAIL_IF(n_keep < 2 * LB_KV_BLOCK, &s->error, LBRT_ERR_ARGUMENT, "%zu tokens to keep, at least %u", n_keep, 2 * LB_KV_BLOCK);
    LB_FAIL_IF(s->kv.window || s->model->hparams.window, &s->error, LBRT_ERR_UNSUPPORTED, "a session or model with a window has dropped already");
    LB_FAIL_IF(s->n_embedded, &s->error, LBRT_ERR_UNSUPPORTED, "a session that holds embeddings cannot be compressed");
    LB_FAIL_IF(s->kv.n_faint && n_keep < LB_KV_CHUNK, &s->error, LBRT_ERR_ARGUMENT, "%zu tokens to keep beside faint ones, at least %u", n_keep, LB_KV_CHUNK);
    if (s->length - s->kv.faint * LB_KV_CHUNK <= n_keep) {
        return LBRT_OK;
    }
    LB_FAIL_IF(s->n_batch < LB_SNAP_WINDOW, &s->error, LBRT_ERR_UNSUPPORTED, "compression needs sessions with batches of %d tokens at least",
               (int)LB_SNAP_WINDOW);
    /* The voters are computed once more, and a cache of codes their block: what was chosen earlier, which has other tokens in every head, must not be in it. */
    LB_FAIL_IF(s->compressed && s->length - s->compressed < LB_SNAP_WINDOW, &s->error, LBRT_ERR_STATE,
               "%zu tokens were fed since the last compression, which takes %d", s->length - s->compressed, (int)LB_SNAP_WINDOW);
    const size_t kept = n_keep / LB_KV_BLOCK * LB_KV_BLOCK, before = s->length, n_faint = lb_min(s->kv.n_faint, (before - kept) / LB_KV_CHUNK);
    const size_t left = kept + n_faint * LB_KV_CHUNK, units = all_units(&s->kv), room = lb_session_room(s);
    LB_FAIL_IF(s->evicted + before - left > LB_MAX_EVICTED, &s->error, LBRT_ERR_STATE, "the text is too long");
    const size_t numbers = units * left + 3 * (size_t)s->exec.n_threads * room;
    uint32_t *memory = (uint32_t *)lb_alloc(&s->allocator, numbers * sizeof *memory);
    LB_FAIL_IF(!memory, &s->error, LBRT_ERR_MEMORY, "compression needs %zu bytes, more than there is", numbers * sizeof *memory);
    lb_votes votes = { .n_kept = kept, .n_faint = n_faint, .room = room, .keep = memory, .faint = memory + units * kept, .index = memory + units * left };
    votes.vote = (float *)(void *)(votes.index + s->exec.n_threads * room);
    votes.pooled = votes.vote + s->exec.n_threads * room;
    const lbrt_status status = take_votes(s, &votes);
    if (status == LBRT_OK) {
        const lb_kv_kept what = { .keep = votes.keep, .faint = votes.faint, .n_kept = kept, .n_faint = n_faint };
        lb_kv_compact(&s->kv, s->exec.k, &what, lb_exec_scratch(&s->exec, 0));
        memmove(s->tokens, s->tokens + before - left, left * sizeof *s->tokens);
        s->evicted += before - left;
        s->length = s->compressed = left;
    }
    lb_free(&s->allocator, memory, numbers * sizeof *memory);
    return status;
}
