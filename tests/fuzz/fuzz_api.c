/*
 * The API as a state machine: the input is a program of calls on four sessions of one model. What each call must return, and what each session
 * must then hold, is known from a plain list of what was fed; the logits must be those of a fresh session that is fed that list in one go.
 */
#include "../../formats/pack/lb_convert.h"
#include "../small_models.h"
#include "lb_fuzz.h"

enum { API_SESSIONS = 4, API_STATES = 2, API_CONTEXT = 200, API_VOCAB = 288, API_DIM = 40, API_ROWS = 8, API_WORK = 400 };

/* What a session holds: tokens, and -1 - i for row i of the table of embeddings. */
typedef struct api_history {
    size_t n;
    int item[API_CONTEXT];
} api_history;

typedef struct api_slot {
    lbrt_session *s;
    lbrt_kv_format key, value;
    size_t cap, most_rows, keeps;
    bool logits; /* there are some */
    api_history h;
} api_slot;

typedef struct api_state {
    unsigned char *data;
    size_t bytes;
    lbrt_kv_format key, value;
    bool logits;
    api_history h;
} api_state;

typedef struct api {
    const uint8_t *p, *end;
    size_t work; /* tokens computed: bounds the time of an input */
    api_slot slots[API_SESSIONS];
    api_state states[API_STATES];
} api;

static struct {
    lbrt_model *model;
    float rows[API_ROWS][API_DIM];
    lbrt_session *fresh[LBRT_KV_Q2 + 1][LBRT_KV_Q2 + 1];
} api_shared;

static unsigned next(api *a)
{
    return a->p < a->end ? *a->p++ : 0;
}

static void api_open(void)
{
    if (api_shared.model) {
        return;
    }
    size_t bytes;
    lbrt_error err = { LBRT_OK, "" };
    unsigned char *data = sm_load(sm_file("micro", "q4"), &bytes); /* as long as the process lives */
    lb_fuzz_check(lbrt_model_open_memory(data, bytes, NULL, &api_shared.model, &err) == LBRT_OK, err.text);
    for (size_t i = 0; i < (size_t)API_ROWS * API_DIM; i++) {
        api_shared.rows[i / API_DIM][i % API_DIM] = (float)((i * 37 + i / 7) % 64) / 32.0f - 1.0f;
    }
}

/* ---- what must be ---- */

static size_t rows_of(const api_history *h, size_t n)
{
    size_t rows = 0;
    for (size_t i = 0; i < n; i++) {
        rows += h->item[i] < 0;
    }
    return rows;
}

static void feed_history(lbrt_session *s, const api_history *h)
{
    for (size_t at = 0; at < h->n;) {
        size_t n = 1;
        lbrt_token ids[API_CONTEXT];
        if (h->item[at] < 0) {
            lb_fuzz_check(lbrt_feed_embeddings(s, api_shared.rows[-1 - h->item[at]], 1) == LBRT_OK, "the fresh session takes no embedding");
        } else {
            for (n = 0; at + n < h->n && h->item[at + n] >= 0; n++) {
                ids[n] = h->item[at + n];
            }
            lb_fuzz_check(lbrt_feed(s, ids, n) == LBRT_OK, "the fresh session takes no tokens");
        }
        at += n;
    }
}

static void verify(api *a, const api_slot *slot)
{
    lb_fuzz_check(lbrt_session_length(slot->s) == slot->h.n, "another length than what was fed");
    lb_fuzz_check((lbrt_logits(slot->s, 0) != NULL) == slot->logits, "logits that should not be there, or none");
    if (!slot->logits || a->work + slot->h.n > API_WORK) {
        return;
    }
    a->work += slot->h.n;
    lbrt_session **fresh = &api_shared.fresh[slot->key][slot->value];
    if (!*fresh) {
        lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
        o.n_context = API_CONTEXT;
        o.n_threads = 1;
        o.kv_key = slot->key;
        o.kv_value = slot->value;
        o.n_embeddings = API_CONTEXT;
        lb_fuzz_check(lbrt_session_create(api_shared.model, &o, fresh, NULL) == LBRT_OK, "no fresh session");
    }
    lb_fuzz_check(lbrt_rewind(*fresh, 0) == LBRT_OK, "rewinding the fresh session");
    feed_history(*fresh, &slot->h);
    lb_fuzz_check(memcmp(lbrt_logits(*fresh, 0), lbrt_logits(slot->s, 0), API_VOCAB * sizeof(float)) == 0, "other logits than a fresh session's");
}

static void expect(const api_slot *slot, lbrt_status got, lbrt_status want)
{
    lb_fuzz_check(got == want, "another status than expected");
    lb_fuzz_check((got == LBRT_OK) == (lbrt_session_error(slot->s)[0] == 0), "a status that its sentence denies");
}

/* ---- calls ---- */

static void api_parallel(void *user, size_t n, lbrt_task_fn task, void *context)
{
    (void)user;
    for (size_t i = n; i-- > 0;) {
        task(context, i);
    }
}

static void call_create(api *a, api_slot *slot)
{
    static const lbrt_kv_format formats[] = { LBRT_KV_F16, LBRT_KV_F32, LBRT_KV_Q8, LBRT_KV_Q4, LBRT_KV_Q2 };
    static const uint32_t contexts[] = { 1, 9, 70, API_CONTEXT }, batches[] = { 0, 1, 7, 64 };
    lbrt_session_free(slot->s);
    memset(slot, 0, sizeof *slot);
    const unsigned how = next(a), kv = next(a), fail = next(a);
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.allocator = lb_fuzz_allocator(fail > 250 ? 1 : 0);
    o.n_context = contexts[how & 3];
    o.n_batch = batches[how >> 2 & 3];
    o.n_threads = how & 16 ? 3 : 1;
    o.parallel = how & 16 ? api_parallel : NULL;
    o.n_embeddings = how & 32 ? (uint32_t)(o.n_context < 5 ? o.n_context : 5) : 0;
    o.n_hidden = how & 64 ? 1 : 0;
    o.n_logits = how & 128 && o.n_context > 2 ? 3 : 0;
    o.kv_key = formats[kv % 5];
    o.kv_value = formats[kv / 5 % 5];
    lbrt_error err = { LBRT_OK, "" };
    size_t bytes = 0;
    lb_fuzz_check(lbrt_session_bytes(api_shared.model, &o, &bytes, &err) == LBRT_OK, err.text);
    const size_t alive = lb_fuzz_alive();
    const lbrt_status s = lbrt_session_create(api_shared.model, &o, &slot->s, &err);
    lb_fuzz_allocator(0);
    if (s == LBRT_ERR_MEMORY && fail > 250) {
        lb_fuzz_check(!slot->s && lb_fuzz_alive() == alive, "a failed session leaves something");
        return;
    }
    lb_fuzz_check(s == LBRT_OK && lb_fuzz_alive() - alive == bytes, "a session of another size than said");
    slot->key = o.kv_key;
    slot->value = o.kv_value;
    slot->cap = o.n_context;
    slot->most_rows = o.n_embeddings;
    slot->keeps = o.n_hidden;
}

static void call_feed(api *a, api_slot *slot, bool cancel)
{
    const unsigned kind = next(a), first = next(a);
    const size_t n = kind & 128 ? (kind & 127) + 1 : kind % 8 + 1;
    lbrt_token ids[128];
    for (size_t i = 0; i < n; i++) {
        ids[i] = (lbrt_token)((first * 31 + i * (kind | 1)) % API_VOCAB);
    }
    if (kind == 77) {
        ids[n - 1] = API_VOCAB; /* no token */
    }
    if (a->work + n > API_WORK) {
        return;
    }
    a->work += n;
    if (cancel) {
        lbrt_cancel(slot->s);
    }
    const lbrt_status want = cancel ? LBRT_CANCELLED : slot->h.n + n > slot->cap ? LBRT_ERR_CONTEXT_FULL : kind == 77 ? LBRT_ERR_ARGUMENT : LBRT_OK;
    expect(slot, lbrt_feed(slot->s, ids, n), want);
    for (size_t i = 0; i < n && want == LBRT_OK; i++) {
        slot->h.item[slot->h.n++] = ids[i];
    }
    slot->logits = want == LBRT_OK || (slot->logits && want != LBRT_CANCELLED);
}

static void call_embeddings(api *a, api_slot *slot)
{
    const unsigned row = next(a) % API_ROWS, n = next(a) % 3 + 1;
    float rows[3][API_DIM];
    for (unsigned i = 0; i < n; i++) {
        memcpy(rows[i], api_shared.rows[(row + i) % API_ROWS], sizeof rows[i]);
    }
    const lbrt_status want = slot->h.n + n > slot->cap                                    ? LBRT_ERR_CONTEXT_FULL
                             : rows_of(&slot->h, slot->h.n) + n > slot->most_rows ? LBRT_ERR_STATE
                                                                                          : LBRT_OK;
    expect(slot, lbrt_feed_embeddings(slot->s, rows[0], n), want);
    for (unsigned i = 0; i < n && want == LBRT_OK; i++) {
        slot->h.item[slot->h.n++] = -1 - (int)((row + i) % API_ROWS);
    }
    slot->logits = slot->logits || want == LBRT_OK;
    lb_fuzz_check(want != LBRT_OK || (lbrt_hidden(slot->s, 0) != NULL) == (slot->keeps > 0), "hidden states nobody asked for, or none");
}

static void call_rewind(api *a, api_slot *slot)
{
    const size_t to = next(a);
    expect(slot, lbrt_rewind(slot->s, to), to > slot->h.n ? LBRT_ERR_STATE : LBRT_OK);
    if (to <= slot->h.n) {
        slot->h.n = to;
        slot->logits = false;
        lb_fuzz_check(!lbrt_hidden(slot->s, 0), "hidden states after a rewind");
    }
}

static void call_fork(api *a, api_slot *slot)
{
    const api_slot *from = &a->slots[next(a) % API_SESSIONS];
    size_t n = next(a);
    if (!from->s) {
        expect(slot, lbrt_fork(slot->s, NULL, 0), LBRT_ERR_ARGUMENT);
        return;
    }
    n = n == 255 ? from->h.n : n;
    const lbrt_status want = from->key != slot->key || from->value != slot->value ? LBRT_ERR_ARGUMENT
                             : n > from->h.n                                      ? LBRT_ERR_STATE
                             : n > slot->cap || rows_of(&from->h, n) > slot->most_rows ? LBRT_ERR_CONTEXT_FULL
                                                                                      : LBRT_OK;
    expect(slot, lbrt_fork(slot->s, from->s, n), want);
    if (want == LBRT_OK) {
        const bool logits = from->logits && n == from->h.n;
        slot->h = from->h;
        slot->h.n = n;
        slot->logits = logits;
    }
}

static void call_save(api *a, api_slot *slot)
{
    api_state *state = &a->states[next(a) % API_STATES];
    const size_t n = lbrt_state_bytes(slot->s);
    free(state->data);
    state->data = malloc(n);
    size_t needed = 0;
    lb_fuzz_check(state->data != NULL, "out of memory");
    expect(slot, lbrt_state_save(slot->s, state->data, n - 1, &needed), LBRT_ERR_BUFFER);
    expect(slot, lbrt_state_save(slot->s, state->data, n, &needed), LBRT_OK);
    lb_fuzz_check(needed == n, "another size than said");
    state->bytes = n;
    state->key = slot->key;
    state->value = slot->value;
    state->h = slot->h;
    state->logits = slot->logits;
}

static void call_restore(api *a, api_slot *slot)
{
    const api_state *state = &a->states[next(a) % API_STATES];
    const unsigned harm = next(a);
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
    const lbrt_status want = state->key != slot->key || state->value != slot->value ? LBRT_ERR_UNSUPPORTED
                             : state->h.n > slot->cap || rows_of(&state->h, state->h.n) > slot->most_rows ? LBRT_ERR_CONTEXT_FULL
                                                                                                        : LBRT_OK;
    expect(slot, lbrt_state_restore(slot->s, state->data, state->bytes), want);
    if (want == LBRT_OK) {
        slot->h = state->h;
        slot->logits = state->logits;
    }
}

static bool api_rule(void *user, float *logits, size_t n, const lbrt_token *tokens, size_t n_tokens)
{
    const api_slot *slot = (const api_slot *)user;
    lb_fuzz_check(n_tokens >= slot->h.n, "fewer tokens than were fed");
    for (size_t i = 0; i < slot->h.n; i++) {
        lb_fuzz_check(slot->h.item[i] < 0 ? tokens[i] < 0 : tokens[i] == slot->h.item[i], "other tokens than were fed");
    }
    logits[n_tokens % n] = -1e30f;
    return n_tokens % 64 != 63;
}

static bool api_token(void *user, lbrt_token token, const char *text, size_t bytes)
{
    api_history *h = (api_history *)user;
    lb_fuzz_check(token >= 0 && token < API_VOCAB && (text || !bytes) && h->n < API_CONTEXT, "a strange token");
    h->item[h->n++] = token;
    return token % 16 != 5;
}

static lbrt_sampling sampling_of(api *a, const api_slot *slot)
{
    const unsigned how = next(a);
    lbrt_sampling s = LBRT_SAMPLING_INIT;
    s.temperature = how & 1 ? 0.7f : 0.0f;
    s.top_p = how & 2 ? 0.9f : 0.0f;
    s.min_p = how & 4 ? 0.05f : 0.0f;
    s.top_k = how & 8 ? 20 : 0;
    s.repeat_penalty = how & 16 ? 1.2f : 0.0f;
    s.seed = how;
    s.logits = how & 32 ? api_rule : NULL;
    s.logits_user = (void *)(uintptr_t)slot;
    return s;
}

static void call_sample(api *a, api_slot *slot)
{
    const lbrt_sampling how = sampling_of(a, slot);
    lbrt_token out = -1;
    const bool no = how.logits && slot->h.n % 64 == 63;
    expect(slot, lbrt_sample(slot->s, &how, &out), !slot->logits ? LBRT_ERR_STATE : no ? LBRT_CANCELLED : LBRT_OK);
    lb_fuzz_check(!slot->logits || no || (out >= 0 && out < API_VOCAB), "a token outside the vocabulary");
}

static void call_generate(api *a, api_slot *slot)
{
    const lbrt_sampling how = sampling_of(a, slot);
    lbrt_generation g = LBRT_GENERATION_INIT;
    g.sampling = &how;
    g.max_tokens = next(a) % 8 + 1;
    g.ignore_end = true;
    if (a->work + g.max_tokens > API_WORK) {
        return;
    }
    a->work += g.max_tokens;
    api_history h = slot->h;
    const lbrt_status s = lbrt_generate(slot->s, NULL, 0, &g, api_token, &h);
    lb_fuzz_check(g.n_generated == h.n - slot->h.n && g.n_generated <= g.max_tokens, "another number of tokens");
    lb_fuzz_check(s == LBRT_OK ? slot->logits || slot->h.n == slot->cap : s == LBRT_CANCELLED ? how.logits != NULL : s == LBRT_ERR_STATE && !slot->logits,
                  "another status than expected");
    slot->h = h;
}

static void call_text(api *a)
{
    const unsigned flags = next(a) % 4, n = next(a);
    const size_t bytes = n < (size_t)(a->end - a->p) ? n : (size_t)(a->end - a->p);
    char *text = lb_fuzz_text(a->p, bytes), out[2048], *gate_out = malloc(3 * (bytes + 4));
    lb_fuzz_check(gate_out != NULL, "out of memory");
    a->p += bytes;
    lbrt_token ids[512];
    size_t count = 0, need = 0;
    lbrt_error err = { LBRT_OK, "" };
    lb_fuzz_check(lbrt_tokenize(api_shared.model, text, bytes, flags, ids, 512, &count, &err) == LBRT_OK, err.text);
    lb_fuzz_check(lbrt_detokenize(api_shared.model, ids, count, out, sizeof out, &need, &err) == LBRT_OK, err.text);
    if (!(flags & LBRT_TOKENIZE_SPECIAL)) {
        lb_fuzz_check(need == bytes && memcmp(out, text, bytes) == 0, "a text that does not come back");
    }
    lbrt_utf8 gate = { { 0 }, 0 };
    size_t got = lbrt_utf8_push(&gate, text, bytes, gate_out);
    lb_fuzz_check(got <= 3 * (bytes + 4), "more than there is room for");
    lb_fuzz_check(lbrt_utf8_push(&gate, NULL, 0, gate_out) <= 12, "more than there is room for");
    const lbrt_message m = { n & 1 ? "user" : "system", text };
    lb_fuzz_error(lbrt_chat_format(api_shared.model, &m, 1, true, out, sizeof out, &need, &err), &err);
    free(gate_out);
    free(text);
}

LB_FUZZ_TARGET(api)
{
    api_open();
    const size_t alive = lb_fuzz_alive();
    api a = { .p = data, .end = data + bytes };
    while (a.p < a.end) {
        const unsigned op = next(&a);
        api_slot *slot = &a.slots[op / 16 % API_SESSIONS];
        if (op % 16 == 0 || (!slot->s && op % 16 != 1)) {
            call_create(&a, slot);
            continue;
        }
        switch (op % 16) {
        case 1: call_text(&a); break;
        case 2: call_rewind(&a, slot); break;
        case 3: call_fork(&a, slot); break;
        case 4: call_save(&a, slot); break;
        case 5: call_restore(&a, slot); break;
        case 6: call_sample(&a, slot); break;
        case 7: call_generate(&a, slot); break;
        case 8: call_embeddings(&a, slot); break;
        case 9: call_feed(&a, slot, true); break;
        case 10: verify(&a, slot); break;
        case 11:
            lbrt_session_free(slot->s);
            memset(slot, 0, sizeof *slot);
            break;
        default: call_feed(&a, slot, false); break;
        }
    }
    for (unsigned i = 0; i < API_SESSIONS; i++) {
        if (a.slots[i].s) {
            verify(&a, &a.slots[i]);
            lbrt_session_free(a.slots[i].s);
        }
    }
    for (unsigned i = 0; i < API_STATES; i++) {
        free(a.states[i].data);
    }
    lb_fuzz_check(lb_fuzz_alive() == alive, "a leak");
    return 0;
}
