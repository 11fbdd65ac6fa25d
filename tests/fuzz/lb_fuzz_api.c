/* Models, the list of what was fed, and the fresh session that must agree: see lb_fuzz_api.h. */
#include "lb_fuzz_api.h"

#include "../make_adapter.h"
#include "../small_models.h"

api_model api_models[API_MODELS];
float api_rows[API_ROWS][API_DIM];
const uint32_t api_windows[API_WINDOWS][2] = { { 0, 0 }, { 64, 0 }, { 100, 256 }, { 1, 1 } };
const float api_scales[4] = { 1.0f, -0.5f, 0.0f, 2.0f };

void api_open(void)
{
    static const char *const formats[API_MODELS] = { "q4", "q8" };
    if (api_models[0].model) {
        return;
    }
    lbrt_error err = { LBRT_OK, "" };
    for (unsigned i = 0; i < API_MODELS; i++) { /* all as long as the process lives */
        api_model *m = &api_models[i];
        m->data = sm_load(sm_file("micro", formats[i]), &m->bytes);
        lb_fuzz_check(lbrt_model_open_memory(m->data, m->bytes, NULL, &m->model, &err) == LBRT_OK, err.text);
        for (unsigned k = 0; k < API_ADAPTERS; k++) {
            m->adapter_data[k] = sm_load(ad_make((int)k + 1, k ? 70 : 5, k ? LB_W_BF16 : LB_W_F16), &m->adapter_bytes[k]);
            lb_fuzz_check(lbrt_adapter_open_memory(m->model, m->adapter_data[k], m->adapter_bytes[k], &m->adapter[k], &err) == LBRT_OK, err.text);
        }
    }
    for (size_t i = 0; i < (size_t)API_ROWS * API_DIM; i++) {
        api_rows[i / API_DIM][i % API_DIM] = (float)((i * 37 + i / 7) % 64) / 32.0f - 1.0f;
    }
}

unsigned api_next(api *a)
{
    return a->p < a->end ? *a->p++ : 0;
}

bool api_affords(api *a, const api_slot *slot, size_t n)
{
    if (a->work + n > API_WORK || slot->h.n + n > API_TEXT) {
        return false;
    }
    a->work += n;
    return true;
}

size_t api_rows_of(const api_history *h, size_t n)
{
    size_t rows = 0;
    for (size_t i = 0; i < n; i++) {
        rows += h->item[i].id < 0;
    }
    return rows;
}

size_t api_in_cache(const api_history *h)
{
    return h->n - h->evicted;
}

size_t api_room(const api_slot *slot)
{
    return slot->cap + slot->h.faint;
}

size_t api_held(const api_slot *slot)
{
    const uint32_t window = api_windows[slot->kind.window][0], sinks = api_windows[slot->kind.window][1];
    const size_t n = api_in_cache(&slot->h), most = window + (sinks ? sinks : 4u);
    return window && n > most ? most : n;
}

bool api_codes(const api_kind *k)
{
    return k->key > LBRT_KV_F16 || k->value > LBRT_KV_F16;
}

bool api_same_kind(const api_kind *a, const api_kind *b)
{
    return a->model == b->model && a->key == b->key && a->value == b->value && a->window == b->window;
}

static bool same_attached(const api_attached *a, const api_attached *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

void api_add(api_slot *slot, int id)
{
    api_history *h = &slot->h;
    h->item[h->n].id = (int16_t)id;
    h->item[h->n].attached = slot->attached;
    /* What a cache of codes computes again, it computes under the adapters of then. */
    h->exact = h->exact && id != API_UNKNOWN &&
               !(api_codes(&slot->kind) && slot->moved && h->n && !same_attached(&h->item[0].attached, &slot->attached));
    h->n++;
    h->safe = h->n > h->safe + slot->batch ? h->n - slot->batch : h->safe;
}

void api_cut(api_slot *slot, size_t n)
{
    slot->h.n = n;
    slot->moved = n > 0;
    slot->logits = slot->hidden = false;
    if (n == 0) {
        slot->h.exact = true;
        slot->h.n_compressed = slot->h.evicted = slot->h.faint = slot->h.safe = 0;
    }
    for (size_t i = 0; i < n; i++) {
        slot->h.exact = slot->h.exact && !(api_codes(&slot->kind) && !same_attached(&slot->h.item[i].attached, &slot->h.item[0].attached));
    }
}

static void attach_as(lbrt_session *s, const api_model *m, const api_attached *want, api_attached *now)
{
    if (same_attached(want, now)) {
        return;
    }
    for (unsigned i = 0; i < API_ATTACHED; i++) {
        if (now->with[i]) {
            lb_fuzz_check(lbrt_adapter_detach(s, m->adapter[(now->with[i] - 1) / 4]) == LBRT_OK, "the fresh session detaches nothing");
        }
    }
    for (unsigned i = 0; i < API_ATTACHED; i++) {
        const unsigned w = want->with[i];
        lb_fuzz_check(!w || lbrt_adapter_attach(s, m->adapter[(w - 1) / 4], api_scales[(w - 1) % 4]) == LBRT_OK, "the fresh session attaches nothing");
    }
    *now = *want;
}

/* Feeds item i and those behind it that go with it; returns how many. */
static size_t feed_some(lbrt_session *s, const api_history *h, size_t i, size_t end)
{
    lbrt_token ids[API_TEXT];
    if (h->item[i].id < 0) {
        lb_fuzz_check(lbrt_feed_embeddings(s, api_rows[-1 - h->item[i].id], 1) == LBRT_OK, "the fresh session takes no embedding");
        return 1;
    }
    size_t n = 0;
    for (; i + n < end && h->item[i + n].id >= 0 && same_attached(&h->item[i].attached, &h->item[i + n].attached); n++) {
        ids[n] = h->item[i + n].id;
    }
    lb_fuzz_check(lbrt_feed(s, ids, n) == LBRT_OK, "the fresh session takes no tokens");
    return n;
}

static void replay(lbrt_session *s, const api_slot *slot)
{
    const api_history *h = &slot->h;
    const api_model *m = &api_models[slot->kind.model];
    const api_attached none = { { 0 } };
    api_attached now = { { 0 } };
    lb_fuzz_check(lbrt_rewind(s, 0) == LBRT_OK, "rewinding the fresh session");
    for (size_t i = 0, c = 0; i < h->n || c < h->n_compressed;) {
        const size_t end = c < h->n_compressed ? h->compressed[c].at : h->n;
        if (i == end) {
            attach_as(s, m, &h->compressed[c].attached, &now);
            lb_fuzz_check(lbrt_compress(s, h->compressed[c++].keep) == LBRT_OK, "the fresh session is not compressed");
            continue;
        }
        attach_as(s, m, &h->item[i].attached, &now);
        i += feed_some(s, h, i, end);
    }
    attach_as(s, m, &none, &now);
}

static void same_floats(const float *a, const float *b, size_t n, const char *what)
{
    lb_fuzz_check(a && b && memcmp(a, b, n * sizeof(float)) == 0, what);
}

/* "The bytes depend on the model, options, tokens and whether there are logits, not on how they were computed." */
static void same_states(lbrt_session *a, lbrt_session *b)
{
    const size_t n = lbrt_state_bytes(a);
    unsigned char *x = malloc(n), *y = malloc(n);
    size_t got = 0;
    lb_fuzz_check(x && y, "out of memory");
    lb_fuzz_check(lbrt_state_bytes(b) == n, "a state of another size than a fresh session's");
    lb_fuzz_check(lbrt_state_save(a, x, n, &got) == LBRT_OK && lbrt_state_save(b, y, n, &got) == LBRT_OK, "a state that is not saved");
    lb_fuzz_check(memcmp(x, y, n) == 0, "another state than a fresh session's");
    free(x);
    free(y);
}

void api_verify(api *a, const api_slot *slot)
{
    static lbrt_session *fresh[API_MODELS][LBRT_KV_Q2 + 1][LBRT_KV_Q2 + 1][API_WINDOWS + 1]; /* the last: with faint tokens */
    lb_fuzz_check(lbrt_session_length(slot->s) == slot->h.n, "another length than what was fed");
    lb_fuzz_check(lbrt_session_held(slot->s) == api_held(slot), "other tokens held than what was fed");
    lb_fuzz_check(lbrt_session_capacity(slot->s) == api_room(slot), "another capacity than asked for");
    lb_fuzz_check((lbrt_logits(slot->s, 0) != NULL) == slot->logits, "logits that should not be there, or none");
    lb_fuzz_check((lbrt_hidden(slot->s, 0) != NULL) == (slot->hidden && slot->n_hidden), "hidden states that should not be there, or none");
    lb_fuzz_check(!lbrt_logits(slot->s, slot->n_logits) && !lbrt_hidden(slot->s, slot->n_hidden), "more than was asked for");
    if (!slot->logits || !slot->h.exact || a->work + slot->h.n > API_WORK) {
        return;
    }
    a->work += slot->h.n;
    const bool faint = slot->h.n_compressed && slot->h.compressed[0].room;
    lbrt_session **f = &fresh[slot->kind.model][slot->kind.key][slot->kind.value][faint ? (unsigned)API_WINDOWS : slot->kind.window];
    if (!*f) {
        lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
        o.n_context = o.n_embeddings = API_TEXT;
        o.n_threads = 1;
        o.kv_key = (lbrt_kv_format)slot->kind.key;
        o.kv_value = (lbrt_kv_format)slot->kind.value;
        o.window = api_windows[slot->kind.window][0];
        o.sinks = api_windows[slot->kind.window][1];
        o.n_faint = faint ? API_FAINT : 0;
        o.n_logits = 4;
        o.n_hidden = 1;
        lb_fuzz_check(lbrt_session_create(api_models[slot->kind.model].model, &o, f, NULL) == LBRT_OK, "no fresh session");
    }
    replay(*f, slot);
    for (size_t i = 0; i < 4 && lbrt_logits(*f, i) && lbrt_logits(slot->s, i); i++) {
        same_floats(lbrt_logits(*f, i), lbrt_logits(slot->s, i), API_VOCAB, "other logits than a fresh session's");
    }
    if (slot->hidden && slot->n_hidden) {
        same_floats(lbrt_hidden(*f, 0), lbrt_hidden(slot->s, 0), API_DIM, "another hidden state than a fresh session's");
    }
    same_states(*f, slot->s);
}

void api_expect(const api_slot *slot, lbrt_status got, lbrt_status want)
{
    lb_fuzz_check(got == want, "another status than expected");
    lb_fuzz_check((got == LBRT_OK) == (lbrt_session_error(slot->s)[0] == 0), "a status that its sentence denies");
    lb_fuzz_check(lbrt_status_name(got) && lbrt_status_name(got)[0], "a status without a name");
}
