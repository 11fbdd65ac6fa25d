/*
 * The API as a state machine: the input is a program of calls on four sessions of two models. What each call must return, and what each
 * session must then hold, is known from a plain list of what was fed; the logits must be those of a fresh session that is fed that list in
 * one go (lb_fuzz_api.h).
 */
#include "lb_fuzz_api.h"

/* ---- what the host supplies ---- */

/* A call that a callback may not make: it returns STATE and changes nothing. */
static void enter(api_slot *slot)
{
    const lbrt_token id = 5;
    size_t bytes = 0;
    api_slot *other = &slot->all->slots[(size_t)(slot - slot->all->slots + 1) % API_SESSIONS];
    lb_fuzz_check(lbrt_feed(slot->s, &id, 1) == LBRT_ERR_STATE && lbrt_rewind(slot->s, 0) == LBRT_ERR_STATE &&
                      lbrt_compress(slot->s, 128) == LBRT_ERR_STATE && lbrt_state_save(slot->s, NULL, 0, &bytes) == LBRT_ERR_STATE &&
                      lbrt_adapter_attach(slot->s, api_models[0].adapter[0], 1.0f) == LBRT_ERR_STATE,
                  "a call from inside a callback is not refused");
    if (other->s && other != slot) {
        lb_fuzz_check(lbrt_fork(other->s, slot->s, 0) == LBRT_ERR_STATE, "a fork of a session at work");
    }
}

static bool counted(unsigned *n)
{
    return *n && --*n == 0;
}

static void api_parallel(void *user, size_t n, lbrt_task_fn task, void *context)
{
    api_slot *slot = (api_slot *)user;
    if (counted(&slot->cancel_at)) {
        lbrt_cancel(slot->s);
        slot->cancelled = true;
    }
    for (size_t i = n; i-- > (n > 2 ? 1u : 0u);) { /* sometimes one is left out */
        task(context, i);
    }
}

static bool api_progress(void *user, uint64_t done, uint64_t total)
{
    api_slot *slot = (api_slot *)user;
    lb_fuzz_check(done >= slot->done && done <= total, "progress that goes back, or beyond the end");
    slot->done = done;
    if (counted(&slot->enter_at)) {
        enter(slot);
    }
    slot->stopped = slot->stopped || counted(&slot->stop_at);
    return !slot->stopped;
}

static bool api_rule(void *user, float *logits, size_t n, const lbrt_token *tokens, size_t n_tokens)
{
    const api_slot *slot = (const api_slot *)user;
    lb_fuzz_check(n == API_VOCAB && n_tokens == api_in_cache(&slot->h), "other tokens than were fed");
    const api_item *item = slot->h.item + slot->h.evicted;
    for (size_t i = 0; i < n_tokens; i++) {
        lb_fuzz_check(item[i].id < 0 ? tokens[i] < 0 : item[i].id == API_UNKNOWN || tokens[i] == item[i].id, "other tokens than were fed");
    }
    logits[n_tokens % n] = -1e30f;
    return n_tokens % 64 != 63;
}

static bool api_token(void *user, lbrt_token token, const char *text, size_t bytes)
{
    api_slot *slot = (api_slot *)user;
    lb_fuzz_check(token >= 0 && token < API_VOCAB && (text || !bytes), "a strange token");
    api_add(slot, token);
    lb_fuzz_check(lbrt_session_length(slot->s) == slot->h.n && lbrt_logits(slot->s, 0), "a token that was reported before it was fed");
    if (counted(&slot->enter_at)) {
        enter(slot);
    }
    if (counted(&slot->cancel_at)) {
        lbrt_cancel(slot->s);
        slot->cancelled = true;
    }
    return token % 16 != 5;
}

/* ---- making sessions ---- */

static void call_create(api *a, api_slot *slot)
{
    static const lbrt_kv_format formats[] = { LBRT_KV_F16, LBRT_KV_F32, LBRT_KV_Q8, LBRT_KV_Q4, LBRT_KV_Q2 };
    static const uint32_t contexts[] = { 1, 9, 300, API_TEXT }, batches[] = { 0, 1, 33, 64 };
    lbrt_session_free(slot->s);
    memset(slot, 0, sizeof *slot);
    slot->all = a;
    const unsigned how = api_next(a), kv = api_next(a), more = api_next(a);
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.allocator = lb_fuzz_allocator(more > 250 ? 1 : 0);
    o.n_context = contexts[how & 3];
    o.n_batch = batches[how >> 2 & 3];
    o.n_threads = how & 16 ? 3 : 1;
    o.parallel = how & 16 ? api_parallel : NULL;
    o.parallel_user = o.progress_user = slot;
    o.progress = api_progress;
    o.n_embeddings = how & 32 ? (uint32_t)(o.n_context < 5 ? o.n_context : 5) : 0;
    o.n_hidden = how & 64 ? 1 : 0;
    o.n_logits = how & 128 && o.n_context > 2 ? 3 : 0;
    o.kv_key = formats[kv % 5];
    o.kv_value = formats[kv / 5 % 5];
    slot->kind = (api_kind){ kv >= 225, o.kv_key, o.kv_value, more % 8 < API_WINDOWS ? more % 8 : 0 };
    o.window = api_windows[slot->kind.window][0];
    o.sinks = api_windows[slot->kind.window][1];
    const lbrt_model *m = api_models[slot->kind.model].model;
    lbrt_error err = { LBRT_OK, "" };
    size_t bytes = 0;
    if (more % 8 >= API_WINDOWS && more % 8 < API_WINDOWS + 2) {
        o.n_faint = API_FAINT - 99; /* rounded up */
        if (o.kv_key <= LBRT_KV_F16 || o.kv_value <= LBRT_KV_F16) {
            lb_fuzz_check(lbrt_session_bytes(m, &o, &bytes, &err) == LBRT_ERR_ARGUMENT, "faint tokens in a format that has none");
            o.n_faint = 0;
        }
    }
    lb_fuzz_check(lbrt_session_bytes(m, &o, &bytes, &err) == LBRT_OK, err.text);
    const size_t alive = lb_fuzz_alive();
    const lbrt_status s = lbrt_session_create(m, &o, &slot->s, &err);
    lb_fuzz_allocator(0);
    if (s == LBRT_ERR_MEMORY) {
        lb_fuzz_check(more > 250 && !slot->s && lb_fuzz_alive() == alive, "a failed session leaves something");
        return;
    }
    lb_fuzz_check(s == LBRT_OK && lb_fuzz_alive() - alive == bytes, "a session of another size than said");
    slot->cap = o.n_context;
    slot->faint_room = o.n_faint ? API_FAINT : 0;
    slot->batch = o.n_batch ? o.n_batch : 256;
    slot->batch = slot->batch < slot->cap ? slot->batch : slot->cap;
    slot->most_rows = o.n_embeddings;
    slot->n_hidden = o.n_hidden;
    slot->n_logits = o.n_logits ? o.n_logits : 1;
    slot->h.exact = true;
}

/* ---- feeding ---- */

static void arm(api_slot *slot, unsigned stop_at, unsigned cancel_at, unsigned enter_at)
{
    slot->stop_at = stop_at;
    slot->cancel_at = cancel_at;
    slot->enter_at = enter_at;
    slot->stopped = false;
    slot->done = 0;
}

/* What a feed of ids returned, of which `want` is what the arguments alone would give. */
static void fed(api_slot *slot, lbrt_status got, lbrt_status want, bool was_cancelled, const int *ids, size_t n)
{
    const size_t before = slot->h.n, length = lbrt_session_length(slot->s);
    if (got == LBRT_CANCELLED) {
        lb_fuzz_check(was_cancelled || slot->stopped || slot->cancelled, "cancelled without a reason");
        lb_fuzz_check(length == before || (slot->kind.window && length > before && length <= before + n && want == LBRT_OK), "a cancelled feed that stays");
        api_expect(slot, got, LBRT_CANCELLED);
        slot->cancelled = slot->logits = slot->hidden = false;
        for (size_t i = 0; i < length - before; i++) {
            api_add(slot, ids[i]);
        }
        /* What was computed beyond it is gone: a cache of codes goes back. */
        slot->moved = slot->h.n > 0;
        return;
    }
    lb_fuzz_check(!was_cancelled && !slot->stopped, "not cancelled in spite of a reason");
    api_expect(slot, got, want);
    for (size_t i = 0; i < n && want == LBRT_OK; i++) {
        api_add(slot, ids[i]);
    }
    slot->logits = want == LBRT_OK || slot->logits;
    slot->hidden = want == LBRT_OK || slot->hidden;
}

static void call_feed(api *a, api_slot *slot, unsigned mode)
{
    const unsigned kind = api_next(a), first = api_next(a);
    const unsigned when = mode ? api_next(a) : 0;
    const size_t n = kind & 128 ? kind & 64 ? ((kind & 63) + 1) * 5 : (kind & 63) + 64 : kind % 8 + 1;
    lbrt_token ids[400];
    int items[400];
    for (size_t i = 0; i < n; i++) {
        items[i] = ids[i] = (lbrt_token)((first * 31 + i * (kind | 1)) % API_VOCAB);
    }
    if (kind == 77) {
        ids[n - 1] = API_VOCAB; /* no token */
    }
    if (!api_affords(a, slot, n)) {
        return;
    }
    if (mode == 1) {
        lbrt_cancel(slot->s);
        slot->cancelled = true;
    }
    arm(slot, mode == 2 ? when % 8 : 0, mode == 3 ? when : 0, mode == 2 ? when / 8 % 4 : 0);
    const bool was_cancelled = slot->cancelled;
    const lbrt_status want = api_in_cache(&slot->h) + n > api_room(slot) ? LBRT_ERR_CONTEXT_FULL : kind == 77 ? LBRT_ERR_ARGUMENT : LBRT_OK;
    fed(slot, lbrt_feed(slot->s, ids, n), want, was_cancelled, items, n);
}

static void call_embeddings(api *a, api_slot *slot)
{
    const unsigned row = api_next(a) % API_ROWS, how = api_next(a), n = how % 3 + 1;
    float rows[3][API_DIM];
    int items[3];
    for (unsigned i = 0; i < n; i++) {
        memcpy(rows[i], api_rows[(row + i) % API_ROWS], sizeof rows[i]);
        items[i] = -1 - (int)((row + i) % API_ROWS);
    }
    if (how > 250) {
        rows[n - 1][API_DIM - 1] = 1e30f * 1e30f;
    }
    if (!api_affords(a, slot, n)) {
        return;
    }
    arm(slot, 0, 0, 0);
    const bool was_cancelled = slot->cancelled;
    const lbrt_status want = api_in_cache(&slot->h) + n > api_room(slot)                ? LBRT_ERR_CONTEXT_FULL
                             : api_rows_of(&slot->h, slot->h.n) + n > slot->most_rows ? LBRT_ERR_STATE
                             : how > 250                                           ? LBRT_ERR_ARGUMENT
                                                                                   : LBRT_OK;
    fed(slot, lbrt_feed_embeddings(slot->s, rows[0], n), want, was_cancelled, items, n);
}

static lbrt_sampling sampling_of(api *a, const api_slot *slot)
{
    const unsigned how = api_next(a);
    lbrt_sampling s = LBRT_SAMPLING_INIT;
    s.temperature = how & 1 ? 0.7f : 0.0f;
    s.top_p = how & 2 ? 0.9f : 0.0f;
    s.min_p = how & 4 ? 0.05f : 0.0f;
    s.top_k = how & 8 ? 20 : 0;
    s.repeat_penalty = how & 16 ? 1.2f : 0.0f;
    s.repeat_last = how & 64 ? 3 : 0;
    s.seed = how;
    s.logits = how & 32 ? api_rule : NULL;
    s.logits_user = (void *)(uintptr_t)slot;
    return s;
}

static void call_sample(api *a, api_slot *slot)
{
    const lbrt_sampling how = sampling_of(a, slot);
    lbrt_token out = -1, again = -1;
    const bool no = how.logits && api_in_cache(&slot->h) % 64 == 63;
    const lbrt_status want = !slot->logits ? LBRT_ERR_STATE : no ? LBRT_CANCELLED : LBRT_OK;
    api_expect(slot, lbrt_sample(slot->s, &how, &out), want);
    api_expect(slot, lbrt_sample(slot->s, &how, &again), want);
    lb_fuzz_check(want != LBRT_OK || (out >= 0 && out < API_VOCAB && out == again), "a token outside the vocabulary, or another the second time");
}

static void call_generate(api *a, api_slot *slot)
{
    const lbrt_sampling how = sampling_of(a, slot);
    const unsigned more = api_next(a);
    const size_t n_prompt = more >> 3 & 3;
    lbrt_generation g = LBRT_GENERATION_INIT;
    g.sampling = &how;
    g.max_tokens = more % 8 + 1;
    g.ignore_end = !(more & 32);
    lbrt_token prompt[3] = { 7, 11, 280 };
    if (!api_affords(a, slot, g.max_tokens + n_prompt)) {
        return;
    }
    arm(slot, 0, more & 64 ? more % 8 : 0, more & 128 ? more % 8 : 0);
    const bool was_cancelled = slot->cancelled, fits = api_in_cache(&slot->h) + n_prompt <= api_room(slot), had = slot->logits;
    const size_t before = slot->h.n;
    if (!was_cancelled && fits) {
        for (size_t i = 0; i < n_prompt; i++) {
            api_add(slot, prompt[i]);
        }
    }
    const size_t start = slot->h.n;
    const lbrt_status s = lbrt_generate(slot->s, prompt, n_prompt, &g, api_token, slot);
    const size_t reported = slot->h.n - start, length = lbrt_session_length(slot->s);
    if (was_cancelled) {
        lb_fuzz_check(s == LBRT_CANCELLED && length == before, "not cancelled in spite of a reason");
        slot->cancelled = slot->logits = slot->hidden = false;
        return;
    }
    lb_fuzz_check(g.n_generated == reported && reported <= g.max_tokens, "another number of tokens");
    slot->cancelled = slot->cancelled && s != LBRT_CANCELLED;
    slot->logits = slot->hidden = lbrt_logits(slot->s, 0) != NULL; /* checked below */
    if (s == LBRT_CANCELLED) {
        /* By the rule the logits stay; by lbrt_cancel, here from callbacks, they are gone. */
        lb_fuzz_check(how.logits || !slot->logits, "logits after a cancelled call");
        if (!slot->logits && length < slot->h.n) { /* in the prompt */
            lb_fuzz_check(length == before || slot->kind.window, "a cancelled prompt that stays");
            slot->h.n = length;
        }
        slot->hidden = slot->hidden && (reported || n_prompt || had);
        slot->moved = slot->h.n > 0;
    } else {
        const lbrt_status want = !fits ? LBRT_ERR_CONTEXT_FULL : had || n_prompt || api_in_cache(&slot->h) == api_room(slot) ? LBRT_OK : LBRT_ERR_STATE;
        api_expect(slot, s, want);
        lb_fuzz_check(slot->logits == (had || reported || (n_prompt && fits)), "logits that should not be there, or none");
        if (length == slot->h.n + 1) { /* the end of an answer is fed, and not reported */
            lb_fuzz_check(!g.ignore_end && s == LBRT_OK, "a token that nobody asked for");
            api_add(slot, API_UNKNOWN);
        }
    }
    lb_fuzz_check(lbrt_session_length(slot->s) == slot->h.n, "another length than what was fed");
    slot->hidden = lbrt_hidden(slot->s, 0) != NULL;
}

/* ---- going back, copying, dropping ---- */

/* With a window, whether the place is still there: what is promised is n_batch tokens before the most there were, since a restore, and none at all. */
static bool may_refuse(const api_slot *from, size_t length)
{
    return from->kind.window && length < from->h.safe && length;
}

static bool behind_compressed(const api_history *h, size_t length)
{
    return length && h->n_compressed && length < h->compressed[h->n_compressed - 1].at;
}

static void call_rewind(api *a, api_slot *slot)
{
    const unsigned to_low = api_next(a), to_high = api_next(a);
    const size_t to = to_high & 8 ? slot->h.n - (slot->h.n < to_low ? slot->h.n : to_low) : to_low + (to_high & 7) * 256;
    const lbrt_status got = lbrt_rewind(slot->s, to);
    if (!(got == LBRT_ERR_STATE && to <= slot->h.n && may_refuse(slot, to))) {
        api_expect(slot, got, to > slot->h.n || behind_compressed(&slot->h, to) ? LBRT_ERR_STATE : LBRT_OK);
    }
    if (got == LBRT_OK) {
        api_cut(slot, to);
    }
}

static void call_fork(api *a, api_slot *slot)
{
    const api_slot *from = &a->slots[api_next(a) % API_SESSIONS];
    size_t n = api_next(a);
    if (!from->s) {
        api_expect(slot, lbrt_fork(slot->s, NULL, 0), LBRT_ERR_ARGUMENT);
        return;
    }
    n = n == 255 ? from->h.n : n * 4;
    const size_t in_cache = n ? n - from->h.evicted : 0, faint = n ? from->h.faint : 0;
    const lbrt_status got = lbrt_fork(slot->s, from->s, n);
    const bool same = api_same_kind(&from->kind, &slot->kind), alike = !slot->kind.window || (from->cap == slot->cap && from->batch == slot->batch);
    if (!(same && !alike && got == LBRT_ERR_ARGUMENT) && !(same && got == LBRT_ERR_STATE && n <= from->h.n && may_refuse(from, n))) {
        api_expect(slot, got,
                   !same                                                            ? LBRT_ERR_ARGUMENT
                   : n > from->h.n || behind_compressed(&from->h, n)                ? LBRT_ERR_STATE
                   : in_cache > slot->cap + faint || faint > slot->faint_room || api_rows_of(&from->h, n) > slot->most_rows ? LBRT_ERR_CONTEXT_FULL
                                                                                    : LBRT_OK);
    }
    if (got != LBRT_OK || (slot == from && n == slot->h.n)) {
        return;
    }
    const bool logits = from != slot && from->logits && n == from->h.n;
    if (from != slot) {
        slot->h = from->h;
    }
    api_cut(slot, n);
    slot->logits = logits;
}

static void call_compress(api *a, api_slot *slot)
{
    const unsigned how = api_next(a);
    const size_t keep = how & 128 ? 128 + (how & 15) * 16 : how;
    api_history *h = &slot->h;
    if (h->n_compressed == sizeof h->compressed / sizeof h->compressed[0] || !api_affords(a, slot, 32)) {
        return;
    }
    const bool was_cancelled = slot->cancelled;
    const size_t last = h->n_compressed ? h->compressed[h->n_compressed - 1].at : 0;
    lb_fuzz_allocator(how & 64 ? 1 : 0);
    arm(slot, 0, how & 32 ? how & 15 : 0, 0);
    const lbrt_status got = lbrt_compress(slot->s, keep);
    lb_fuzz_allocator(0);
    if (got == LBRT_CANCELLED) {
        lb_fuzz_check(was_cancelled || slot->cancelled, "cancelled without a reason");
        slot->cancelled = slot->logits = slot->hidden = false;
        slot->moved = h->n > 0;
        for (size_t i = h->n < 96 ? 0 : h->n - 96; i < h->n; i++) { /* the newest may have been computed once more */
            h->exact = h->exact && memcmp(&slot->attached, &h->item[i].attached, sizeof slot->attached) == 0;
        }
        return;
    }
    lb_fuzz_check(!was_cancelled, "not cancelled in spite of a reason");
    const bool nothing = api_in_cache(h) - h->faint <= keep;
    const lbrt_status want = keep < 128                                    ? LBRT_ERR_ARGUMENT
                             : slot->kind.window || api_rows_of(h, h->n) ? LBRT_ERR_UNSUPPORTED
                             : slot->faint_room && keep < 256              ? LBRT_ERR_ARGUMENT
                             : nothing                                     ? LBRT_OK
                             : slot->batch < 32                            ? LBRT_ERR_UNSUPPORTED
                             : h->n_compressed && h->n - last < 32         ? LBRT_ERR_STATE
                             : how & 64                                    ? LBRT_ERR_MEMORY
                                                                           : LBRT_OK;
    api_expect(slot, got, want);
    if (want == LBRT_OK && !nothing) {
        h->compressed[h->n_compressed].at = h->n;
        h->compressed[h->n_compressed].keep = keep;
        h->compressed[h->n_compressed++].attached = slot->attached;
        h->exact = h->exact && !(slot->moved && api_codes(&slot->kind) && memcmp(&slot->attached, &h->item[0].attached, sizeof slot->attached) != 0);
        h->exact = h->exact && (h->n_compressed == 1 || h->compressed[0].room == slot->faint_room);
        h->compressed[h->n_compressed - 1].room = slot->faint_room;
        const size_t rest = api_in_cache(h) - keep / 64 * 64;
        h->faint = rest / 256 * 256 < slot->faint_room ? rest / 256 * 256 : slot->faint_room;
        h->evicted = h->n - keep / 64 * 64 - h->faint;
    }
}

static void call_attach(api *a, api_slot *slot)
{
    const unsigned how = api_next(a), which = how & 1, scale = how >> 1 & 3;
    const api_model *m = &api_models[slot->kind.model ^ (how & 8 ? 1u : 0u)];
    unsigned i = 0;
    while (i < API_ATTACHED && slot->attached.with[i] && (slot->attached.with[i] - 1u) / 4 != which) {
        i++;
    }
    const bool there = i < API_ATTACHED && slot->attached.with[i];
    if (how & 16) {
        api_expect(slot, lbrt_adapter_detach(slot->s, m->adapter[which]), there && !(how & 8) ? LBRT_OK : LBRT_ERR_STATE);
        for (; there && !(how & 8) && i < API_ATTACHED; i++) {
            slot->attached.with[i] = i + 1 < API_ATTACHED ? slot->attached.with[i + 1] : 0;
        }
        return;
    }
    lb_fuzz_allocator(how & 32 ? 1 : 0);
    const lbrt_status got = lbrt_adapter_attach(slot->s, m->adapter[which], how & 64 ? (float)(1e30 * 1e30) : api_scales[scale]);
    lb_fuzz_allocator(0);
    if (got == LBRT_ERR_MEMORY && how & 32) {
        api_expect(slot, got, LBRT_ERR_MEMORY);
        return;
    }
    api_expect(slot, got, how & (8 | 64) ? LBRT_ERR_ARGUMENT : LBRT_OK);
    if (got == LBRT_OK) {
        slot->attached.with[i] = (uint8_t)(which * 4 + scale + 1);
    }
}

/* ---- saved states ---- */

static void call_save(api *a, api_slot *slot)
{
    api_state *state = &a->states[api_next(a) % API_STATES];
    const size_t n = lbrt_state_bytes(slot->s);
    free(state->data);
    state->data = malloc(n);
    size_t needed = 0;
    lb_fuzz_check(state->data != NULL, "out of memory");
    api_expect(slot, lbrt_state_save(slot->s, state->data, n - 1, &needed), LBRT_ERR_BUFFER);
    api_expect(slot, lbrt_state_save(slot->s, state->data, n, &needed), LBRT_OK);
    lb_fuzz_check(needed == n, "another size than said");
    state->bytes = n;
    state->kind = slot->kind;
    state->logits = slot->logits;
    state->h = slot->h;
}

static void call_restore(api *a, api_slot *slot)
{
    const api_state *state = &a->states[api_next(a) % API_STATES];
    const unsigned harm = api_next(a);
    if (!state->data) {
        return;
    }
    if (harm < 64) {
        const size_t at = 40 + harm * 131 % (state->bytes - 40); /* checksum or content */
        state->data[at] ^= 4;
        const lbrt_status got = lbrt_state_restore(slot->s, state->data, state->bytes);
        lb_fuzz_check(got != LBRT_OK && lbrt_session_length(slot->s) == slot->h.n, "a damaged state");
        state->data[at] ^= 4;
        return;
    }
    const lbrt_status want = !api_same_kind(&state->kind, &slot->kind) ? LBRT_ERR_UNSUPPORTED
                             : api_in_cache(&state->h) > slot->cap + state->h.faint || state->h.faint > slot->faint_room ||
                                     api_rows_of(&state->h, state->h.n) > slot->most_rows
                                 ? LBRT_ERR_CONTEXT_FULL
                                                                                                                         : LBRT_OK;
    const char *path = harm > 200 ? lb_fuzz_file(state->data, state->bytes) : NULL;
    api_expect(slot, path ? lbrt_state_restore_file(slot->s, path) : lbrt_state_restore(slot->s, state->data, state->bytes), want);
    if (want == LBRT_OK) {
        slot->h = state->h;
        slot->h.safe = state->h.n;
        api_cut(slot, slot->h.n);
        slot->logits = state->logits;
    }
}

/* ---- the program ---- */

static void call_session(api *a, api_slot *slot, unsigned op)
{
    switch (op) {
    case 4: call_rewind(a, slot); break;
    case 5: call_fork(a, slot); break;
    case 6: call_save(a, slot); break;
    case 7: call_restore(a, slot); break;
    case 8: call_sample(a, slot); break;
    case 9:
    case 10: call_generate(a, slot); break;
    case 11:
    case 12: call_embeddings(a, slot); break;
    case 13: call_feed(a, slot, 1); break;
    case 14: call_feed(a, slot, 2); break;
    case 15: call_feed(a, slot, 3); break;
    case 16:
    case 17: call_compress(a, slot); break;
    case 18:
    case 19: call_attach(a, slot); break;
    case 20:
    case 21: api_verify(a, slot); break;
    case 22:
        lbrt_cancel(slot->s);
        slot->cancelled = true;
        break;
    case 23:
        lbrt_session_free(slot->s);
        memset(slot, 0, sizeof *slot);
        break;
    default: call_feed(a, slot, 0); break;
    }
}

LB_FUZZ_TARGET(api)
{
    static api a; /* too large for a stack */
    api_open();
    const size_t alive = lb_fuzz_alive();
    memset(&a, 0, sizeof a);
    a.p = data;
    a.end = data + bytes;
    while (a.p < a.end) {
        const unsigned first = api_next(&a), op = first % 32;
        api_slot *slot = &a.slots[first / 32 % API_SESSIONS];
        switch (op) {
        case 0: call_create(&a, slot); break;
        case 1: api_call_text(&a); break;
        case 2: api_call_model(&a); break;
        case 3: api_call_adapter(&a); break;
        default:
            if (slot->s) {
                call_session(&a, slot, op);
            } else {
                call_create(&a, slot);
            }
        }
    }
    for (unsigned i = 0; i < API_SESSIONS; i++) {
        if (a.slots[i].s) {
            api_verify(&a, &a.slots[i]);
            lbrt_session_free(a.slots[i].s);
        }
    }
    for (unsigned i = 0; i < API_STATES; i++) {
        free(a.states[i].data);
    }
    lb_fuzz_check(lb_fuzz_alive() == alive, "a leak");
    return 0;
}
