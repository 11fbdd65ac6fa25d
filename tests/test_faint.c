/*
 * Faint tokens: what lbrt_compress does not choose, kept in 2 bits (after MiKV). The cache must be the same as one of 2 bits throughout where it
 * should be, the same however it came about, and better than dropping.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../runtime/api/lb_session_api.h"
#include "kv_session.h"
#include "lb_test.h"
#include "small_models.h"

void test_faint(void);

enum { FAINT_LONG = 1300, FAINT_KEEP = 320, FAINT_MORE = 500 };
static lbrt_token faint_text[FAINT_LONG + 3 * FAINT_MORE];
static uint32_t faint_vocab;

static lbrt_session *faint_session(const lbrt_model *m, lbrt_kv_format key, lbrt_kv_format value, uint32_t n_context, uint32_t n_faint, uint32_t threads)
{
    lbrt_session_options o = kv_options(key, value, n_context, threads);
    o.n_faint = n_faint;
    return kv_session(m, &o);
}

static bool faint_ok(lbrt_session *s, lbrt_status status)
{
    return LB_CHECK(status == LBRT_OK, "%s", lbrt_session_error(s));
}

static void faint_feed(lbrt_session *s, size_t from, size_t to, size_t piece)
{
    for (size_t at = from; at < to; at += piece) {
        if (!faint_ok(s, lbrt_feed(s, faint_text + at, lb_min(piece, to - at)))) {
            return;
        }
    }
}

static void faint_same(const lbrt_session *a, const lbrt_session *b, const char *what)
{
    kv_same_logits(a, b, faint_vocab, what);
}

/* With 2 bits for all, faint positions are what others are: the same choice in a session without faint room gives the same bits. */
static void test_faint_layout(const lbrt_model *m)
{
    lb_test_case("faint positions of 2 bits beside others of 2 bits are as any of 2 bits");
    enum { KEPT = 384, CHUNKS = 2, FAINT = CHUNKS * LB_KV_CHUNK };
    lbrt_session *a = faint_session(m, LBRT_KV_Q2, LBRT_KV_Q2, FAINT_LONG, FAINT, 2), *b = faint_session(m, LBRT_KV_Q2, LBRT_KV_Q2, FAINT_LONG + FAINT, 0, 1);
    size_t units = 0;
    if (!a || !b) {
        return;
    }
    faint_feed(a, 0, FAINT_LONG, FAINT_LONG);
    faint_feed(b, 0, FAINT_LONG, 77);
    for (uint32_t i = 0; i < a->kv.n_layers; i++) {
        units += a->kv.layers[i].units;
    }
    uint32_t *keep = malloc(units * KEPT * sizeof *keep), *faint = malloc(units * FAINT * sizeof *faint), *all = malloc(units * (KEPT + FAINT) * sizeof *all);
    for (size_t u = 0; u < units; u++) { /* 256 of the first, then faint ones, then the rest: all rising */
        for (size_t i = 0; i < KEPT + FAINT; i++) {
            const uint32_t at = (uint32_t)i + (i > 100 ? (uint32_t)(u % 3) : 0) + (i > 300 ? 7 : 0) + (i > 500 ? 100 : 0) + (i > 850 ? 210 : 0);
            all[u * (KEPT + FAINT) + i] = at;
            if (i >= LB_KV_CHUNK && i < LB_KV_CHUNK + FAINT) {
                faint[u * FAINT + i - LB_KV_CHUNK] = at;
            } else {
                keep[u * KEPT + (i < LB_KV_CHUNK ? i : i - FAINT)] = at;
            }
        }
    }
    const lb_kv_kept two = { .keep = keep, .faint = faint, .n_kept = KEPT, .n_faint = CHUNKS }, one = { .keep = all, .n_kept = KEPT + FAINT };
    lb_kv_compact(&a->kv, a->exec.k, &two, lb_exec_scratch(&a->exec, 0));
    lb_kv_compact(&b->kv, b->exec.k, &one, lb_exec_scratch(&b->exec, 0));
    a->length = b->length = a->compressed = b->compressed = KEPT + FAINT;
    a->evicted = b->evicted = FAINT_LONG - KEPT - FAINT;
    LB_CHECK(lb_kv_read_bytes(&a->kv, a->length) == lb_kv_read_bytes(&b->kv, b->length), "other bytes to read");
    faint_feed(a, FAINT_LONG, FAINT_LONG + 200, 1);
    faint_feed(b, FAINT_LONG, FAINT_LONG + 200, 200);
    faint_same(a, b, "faint or not");
    free(keep);
    free(faint);
    free(all);
    lbrt_session_free(a);
    lbrt_session_free(b);
}

/* Everything that can be done with a session, behind a compression with faint tokens. */
static void test_faint_session(const lbrt_model *m, lbrt_kv_format key, lbrt_kv_format value)
{
    lb_test_case("faint tokens, KV format %d/%d: pieces, threads, states, forks, rewinds, and compression again", (int)key, (int)value);
    enum { ROOM = 700, HELD = FAINT_KEEP + 512 };
    lbrt_session *a = faint_session(m, key, value, FAINT_LONG, ROOM, 1), *b = faint_session(m, key, value, FAINT_LONG, ROOM, 2);
    lbrt_session *c = faint_session(m, key, value, FAINT_LONG + 100, ROOM, 2), *none = faint_session(m, key, value, FAINT_LONG, 0, 1);
    if (!a || !b || !c || !none) {
        return;
    }
    const size_t first = 850; /* 530 are not chosen: two chunks of faint ones; of the rest later */
    LB_CHECK(lbrt_session_capacity(a) == FAINT_LONG, "room for faint tokens is not room for new ones");
    faint_feed(a, 0, first, first);
    faint_feed(b, 0, first, 33);
    LB_CHECK(lbrt_compress(a, 255) == LBRT_ERR_ARGUMENT, "too few to keep");
    const uint64_t count = lb_test_alloc_count();
    faint_ok(a, lbrt_compress(a, FAINT_KEEP));
    faint_ok(b, lbrt_compress(b, FAINT_KEEP));
    LB_CHECK(lb_test_alloc_count() == count + 2, "compression allocates once");
    LB_CHECK(lbrt_session_length(a) == first && lbrt_session_held(a) == HELD && lbrt_session_capacity(a) == FAINT_LONG + 512, "%zu held of %zu, capacity %zu",
             lbrt_session_held(a), lbrt_session_length(a), lbrt_session_capacity(a));
    faint_feed(a, first, FAINT_LONG, 1);
    faint_feed(b, first, FAINT_LONG, 100);
    faint_same(a, b, "behind a compression");

    size_t bytes = lbrt_state_bytes(a), got = 0;
    unsigned char *state = malloc(bytes), *again = malloc(bytes);
    LB_CHECK(bytes == lbrt_state_bytes(b) && lbrt_state_save(a, state, bytes, &got) == LBRT_OK && lbrt_state_save(b, again, bytes, &got) == LBRT_OK &&
                 memcmp(state, again, bytes) == 0, "states differ");
    LB_CHECK(lbrt_state_restore(none, state, bytes) == LBRT_ERR_CONTEXT_FULL && lbrt_session_length(none) == 0, "a session without room for faint ones");
    LB_CHECK(lbrt_fork(none, a, FAINT_LONG) == LBRT_ERR_CONTEXT_FULL, "a fork without room for faint ones");
    lb_store_u64(state + 80, 1); /* of another number of faint chunks */
    lb_state_seal(state, bytes);
    LB_CHECK(lbrt_state_restore(c, state, bytes) == LBRT_ERR_FORMAT, "a wrong number of faint tokens");
    lb_store_u64(state + 80, UINT64_MAX / 2);
    lb_state_seal(state, bytes);
    LB_CHECK(lbrt_state_restore(c, state, bytes) == LBRT_ERR_CONTEXT_FULL, "too many faint tokens");
    faint_feed(c, 5, 400, 400);
    faint_ok(c, lbrt_state_restore(c, again, bytes));
    faint_same(a, c, "restored");
    free(state);
    free(again);
    faint_ok(a, lbrt_rewind(a, first + 70));
    faint_ok(c, lbrt_rewind(c, first + 70));
    LB_CHECK(lbrt_rewind(a, first - 1) == LBRT_ERR_STATE, "back into what was chosen from");
    faint_feed(a, first + 70, FAINT_LONG + 40, 9);
    faint_feed(c, first + 70, FAINT_LONG + 40, 64);
    faint_feed(b, FAINT_LONG, FAINT_LONG + 40, 40);
    faint_same(a, b, "after a rewind");
    faint_same(c, b, "after a restore and a rewind");

    /* Sharing pages of both kinds, and going apart */
    faint_ok(c, lbrt_fork(c, a, FAINT_LONG + 40));
    for (size_t i = 0; i < a->kv.faint; i++) {
        LB_CHECK(c->kv.pages[c->kv.n_chunks + 1 + i] == a->kv.pages[a->kv.n_chunks + 1 + i], "a faint page was copied");
    }
    const size_t more = FAINT_LONG + FAINT_MORE;
    faint_feed(c, FAINT_LONG + 40, more, 50);
    faint_feed(b, FAINT_LONG + 40, more, 7);
    faint_same(c, b, "a fork");
    LB_CHECK(lbrt_session_held(c) > FAINT_LONG, "more is held than the context has without faint ones: %zu", lbrt_session_held(c));
    faint_ok(c, lbrt_compress(c, FAINT_KEEP)); /* faint ones from faint ones and from others */
    faint_ok(b, lbrt_compress(b, FAINT_KEEP));
    LB_CHECK(lbrt_session_held(c) == FAINT_KEEP + 768 && lbrt_session_length(c) == more, "%zu held", lbrt_session_held(c));
    faint_feed(c, more, more + 100, 3);
    faint_feed(b, more, more + 100, 100);
    faint_same(c, b, "compressed again");
    faint_feed(a, FAINT_LONG + 40, more, 31);
    faint_ok(a, lbrt_compress(a, FAINT_KEEP));
    faint_feed(a, more, more + 100, 64);
    faint_same(a, c, "who shared pages");

    faint_ok(b, lbrt_rewind(b, 0));
    LB_CHECK(lbrt_session_capacity(b) == FAINT_LONG, "capacity %zu", lbrt_session_capacity(b));
    faint_feed(b, 0, FAINT_LONG, 100);
    faint_feed(none, 0, FAINT_LONG, 70);
    faint_same(b, none, "from the beginning");
    lbrt_session_free(a);
    faint_ok(b, lbrt_fork(b, c, more + 100));
    lbrt_session_free(c);
    faint_feed(b, more + 100, more + 110, 1);
    lbrt_session_free(b);
    lbrt_session_free(none);
}

/* Two bits of what is not chosen are better than nothing of it. */
static void test_faint_better(const lbrt_model *m)
{
    lb_test_case("faint tokens are nearer to all of them than none");
    lbrt_session *s[3];
    double off[3] = { 0 };
    for (unsigned i = 0; i < 3; i++) {
        s[i] = faint_session(m, LBRT_KV_Q8, LBRT_KV_Q8, FAINT_LONG, i == 2 ? 1024 : 0, 1);
        if (!s[i]) {
            return;
        }
        faint_feed(s[i], 0, FAINT_LONG - 4, 500);
        if (i) {
            faint_ok(s[i], lbrt_compress(s[i], FAINT_KEEP));
        }
        faint_feed(s[i], FAINT_LONG - 4, FAINT_LONG, 4);
        for (size_t v = 0; v < faint_vocab; v++) {
            off[i] += pow((double)lbrt_logits(s[i], 0)[v] - (double)lbrt_logits(s[0], 0)[v], 2);
        }
    }
    LB_CHECK(off[2] > 0 && off[2] < 0.5 * off[1], "logits are off by %g, without faint tokens by %g", off[2], off[1]);
    for (unsigned i = 0; i < 3; i++) {
        lbrt_session_free(s[i]);
    }
}

static void test_faint_options(const lbrt_model *m)
{
    lb_test_case("faint tokens: what is refused, and the bytes");
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    size_t bytes[3];
    lbrt_error err;
    o.n_faint = 256;
    LB_CHECK(lbrt_session_bytes(m, &o, bytes, &err) == LBRT_ERR_ARGUMENT && strstr(err.text, "faint"), "beside f16");
    o.kv_key = LBRT_KV_Q8;
    LB_CHECK(lbrt_session_bytes(m, &o, bytes, &err) == LBRT_ERR_ARGUMENT, "beside values of f16");
    o.kv_value = LBRT_KV_Q4;
    o.window = 100;
    LB_CHECK(lbrt_session_bytes(m, &o, bytes, &err) == LBRT_ERR_ARGUMENT, "in a window");
    o.window = 0;
    o.n_context = 4096;
    for (uint32_t i = 0; i < 3; i++) {
        o.n_faint = (uint32_t[]){ 0, 4096, 8001 }[i];
        LB_CHECK(lbrt_session_bytes(m, &o, &bytes[i], &err) == LBRT_OK, "%s", err.text);
    }
    const lb_hparams *h = &m->hparams; /* the formula of lbrt.h */
    const uint64_t w = h->head_dim, position = w * 2 / 4 + 4 + w / 32;
    const uint64_t want = 4096 * (h->n_layers * h->n_kv_heads * position + 4) + 4096 * 3 / 16 + 4096 * h->n_heads * (lb_round_up(w, 16) + 2) / 64;
    LB_CHECK(bytes[1] - bytes[0] == want && bytes[2] - bytes[1] == want, "%zu and %zu bytes, not %llu", bytes[1] - bytes[0], bytes[2] - bytes[1],
             (unsigned long long)want);
}

void test_faint(void)
{
    lbrt_model *m = sm_model("tiny", "f32", NULL);
    if (!LB_CHECK(m != NULL, "no model")) {
        return;
    }
    faint_vocab = m->hparams.n_vocab;
    sm_tokens(faint_text, sizeof faint_text / sizeof faint_text[0], faint_vocab, 11);
    test_faint_options(m);
    test_faint_layout(m);
    test_faint_session(m, LBRT_KV_Q8, LBRT_KV_Q8);
    test_faint_session(m, LBRT_KV_Q8, LBRT_KV_Q4);
    test_faint_better(m);
    lbrt_model_close(m);
}
