/*
 * What a session can do with its cache besides growing it: sharing pages with forks, dropping what a window or SnapKV leaves out, a file on
 * disk, layers of unequal heads.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/import/lb_source.h"
#include "../formats/pack/lb_convert.h"
#include "../runtime/api/lb_session_api.h"
#include "kv_session.h"
#include "lb_test.h"
#include "make_models.h"
#include "small_models.h"

void test_kv_sharing(void);

enum { SHARE_N = 600 };

static lbrt_session *share_session(const lbrt_model *m, lbrt_kv_format f, uint32_t n_context, uint32_t n_threads, uint32_t window, uint32_t sinks)
{
    lbrt_session_options o = kv_options(f, f, n_context, n_threads);
    o.window = window;
    o.sinks = sinks;
    return kv_session(m, &o);
}

static bool share_feed(lbrt_session *s, const lbrt_token *ids, size_t n)
{
    return n == 0 || LB_CHECK(lbrt_feed(s, ids, n) == LBRT_OK, "%s", lbrt_session_error(s));
}

/* A hundred forks of sessions that come and go and write where they share, in any order: as fresh sessions fed the same. */
static void test_forks(const lbrt_model *m, lbrt_kv_format f, uint32_t n_vocab)
{
    enum { LIVE = 6, FORKS = 100 };
    lb_test_case("100 forks, rewinds, feeds and ends at random, KV format %d", (int)f);
    static lbrt_token held[LIVE][SHARE_N];
    lbrt_session *s[LIVE] = { NULL }, *fresh = share_session(m, f, SHARE_N, 2, 0, 0);
    size_t n[LIVE] = { 0 };
    unsigned rewinds = 0;
    const size_t alive = lb_test_alloc_alive();
    for (unsigned round = 0, forks = 0; forks < FORKS; round++) {
        const unsigned i = (unsigned)(lb_test_random() % LIVE), from = (unsigned)(lb_test_random() % LIVE);
        if (!s[i]) {
            s[i] = share_session(m, f, SHARE_N, 1 + round % 2, 0, 0);
            n[i] = 0;
        }
        const uint64_t count = lb_test_alloc_count();
        if (from != i && s[from] && n[from] && lb_test_random() % 2) {
            n[i] = lb_test_random() % 3 ? n[from] : lb_test_random() % (n[from] + 1);
            LB_CHECK(lbrt_fork(s[i], s[from], n[i]) == LBRT_OK, "%s", lbrt_session_error(s[i]));
            memcpy(held[i], held[from], n[i] * sizeof held[i][0]);
            forks++;
        } else if (n[i] > 300 || lb_test_random() % 4 == 0) {
            n[i] = lb_test_random() % (n[i] + 1);
            LB_CHECK(lbrt_rewind(s[i], n[i]) == LBRT_OK, "%s", lbrt_session_error(s[i]));
            rewinds++;
        }
        const size_t more = lb_min(1 + lb_test_random() % (lb_test_random() % 3 ? 5 : 290), SHARE_N - n[i]);
        sm_tokens(held[i] + n[i], more, n_vocab, 1000 + round);
        if (!more || !share_feed(s[i], held[i] + n[i], more)) {
            continue;
        }
        n[i] += more;
        LB_CHECK(lb_test_alloc_count() == count, "a fork or a write has allocated");
        lbrt_rewind(fresh, 0);
        if (!share_feed(fresh, held[i], n[i]) || !kv_same_logits(s[i], fresh, n_vocab, "a fork")) {
            break;
        }
        if (lb_test_random() % 12 == 0) {
            lbrt_session_free(s[i]);
            s[i] = NULL;
        }
    }
    LB_CHECK(rewinds >= 30, "only %u rewinds", rewinds);
    for (unsigned i = 0; i < LIVE; i++) {
        lbrt_session_free(s[i]);
    }
    LB_CHECK(lb_test_alloc_alive() == alive, "%zu bytes are left of sessions that shared", lb_test_alloc_alive() - alive);
    lbrt_session_free(fresh);
}

/* Forks copy no keys or values: the fork's pages are the other session's until one of them writes. */
static void test_no_copy(const lbrt_model *m, const lbrt_token *ids)
{
    lb_test_case("a fork shares pages, and a write makes one its own");
    lbrt_session *a = share_session(m, LBRT_KV_F16, SHARE_N, 1, 0, 0), *b = share_session(m, LBRT_KV_F16, SHARE_N, 1, 0, 0);
    if (a && b && share_feed(a, ids, 520) && LB_CHECK(lbrt_fork(b, a, 520) == LBRT_OK, "%s", lbrt_session_error(b))) {
        for (size_t i = 0; i < a->kv.n_pages; i++) {
            LB_CHECK(a->kv.pages[i] == b->kv.pages[i], "page %zu was copied", i);
        }
        share_feed(b, ids + 520, 1);
        for (size_t i = 0; i < a->kv.n_pages; i++) {
            LB_CHECK((a->kv.pages[i] == b->kv.pages[i]) == (i < 2), "page %zu", i);
        }
    }
    lbrt_session_free(a);
    lbrt_session_free(b);
}

typedef struct share_thread {
    lbrt_session *s;
    const lbrt_token *ids;
    float want[2048];
    bool ok;
} share_thread;

static void *share_run(void *arg)
{
    share_thread *t = (share_thread *)arg;
    t->ok = true;
    for (size_t i = 0; i < 6 && t->ok; i++) {
        t->ok = lbrt_rewind(t->s, 40 + 60 * i) == LBRT_OK && lbrt_feed(t->s, t->ids + 40 + 60 * i, 360 - 60 * i) == LBRT_OK &&
                memcmp(lbrt_logits(t->s, 0), t->want, sizeof(float) * t->s->model->hparams.n_vocab) == 0;
    }
    lbrt_session_free(t->s);
    return NULL;
}

/* Forks of one session that write, rewind and end at the same time in their own threads. */
static void test_share_threads(const lbrt_model *m, lbrt_kv_format f, const lbrt_token *ids, uint32_t n_vocab)
{
    enum { THREADS = 4 };
    lb_test_case("sharing sessions in threads, KV format %d", (int)f);
    lbrt_session *first = share_session(m, f, SHARE_N, 1, 0, 0);
    static share_thread t[THREADS];
    pthread_t id[THREADS];
    if (!first || !share_feed(first, ids, 400)) {
        return;
    }
    for (unsigned i = 0; i < THREADS; i++) {
        t[i] = (share_thread){ .s = share_session(m, f, SHARE_N, 1, 0, 0), .ids = ids };
        memcpy(t[i].want, lbrt_logits(first, 0), n_vocab * sizeof(float));
        LB_CHECK(lbrt_fork(t[i].s, first, 400) == LBRT_OK, "%s", lbrt_session_error(t[i].s));
    }
    lbrt_session_free(first);
    for (unsigned i = 0; i < THREADS; i++) {
        LB_CHECK(pthread_create(&id[i], NULL, share_run, &t[i]) == 0, "a thread");
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(id[i], NULL);
        LB_CHECK(t[i].ok, "thread %u saw other logits", i);
    }
}

/* A session's window against the model's of the same size, which test_window has checked; the same bits however tokens come. */
static void test_session_window(lbrt_model *m, const lbrt_token *ids, uint32_t n_vocab)
{
    static const lbrt_kv_format formats[] = { LBRT_KV_F16, LBRT_KV_Q8 };
    enum { LONG = 1500, W = 90, SINKS = 5 };
    static lbrt_token text[LONG];
    sm_tokens(text, LONG, n_vocab, 77);
    for (size_t f = 0; f < 2; f++) {
        lb_test_case("a session's window of %d tokens and %d sinks, KV format %d", W, SINKS, (int)formats[f]);
        lbrt_session *by_one = share_session(m, formats[f], LONG, 2, W, SINKS), *by_many = share_session(m, formats[f], LONG, 1, W, SINKS);
        lbrt_session *all = share_session(m, formats[f], LONG, 1, 0, 0), *fork = share_session(m, formats[f], LONG, 1, W, SINKS);
        size_t small, large;
        lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
        o.n_context = 1u << 20;
        o.n_batch = 100;
        LB_CHECK(lbrt_session_bytes(m, &o, &large, NULL) == LBRT_OK, "bytes");
        o.window = W;
        LB_CHECK(lbrt_session_bytes(m, &o, &small, NULL) == LBRT_OK && small < large / 8, "a window saves no memory: %zu of %zu", small, large);
        if (!by_one || !by_many || !all || !fork) {
            return;
        }
        for (size_t at = 0, piece; at < LONG; at += piece) {
            piece = lb_min(1 + lb_test_random() % 330, LONG - at);
            share_feed(by_many, text + at, piece);
            for (size_t i = 0; i < piece; i++) {
                share_feed(by_one, text + at + i, 1);
            }
            kv_same_logits(by_one, by_many, n_vocab, "a window, by one and by many");
            if (at + piece == 80) {
                share_feed(all, text, 80);
                kv_same_logits(by_one, all, n_vocab, "nothing has left the window yet");
            }
        }
        LB_CHECK(lbrt_session_length(by_one) == LONG && lbrt_session_held(by_one) == W + SINKS, "%zu held", lbrt_session_held(by_one));
        LB_CHECK(lbrt_rewind(by_one, 700) == LBRT_ERR_STATE && lbrt_session_length(by_one) == LONG, "back to what is gone");
        size_t bytes = lbrt_state_bytes(by_many), got;
        unsigned char *state = malloc(bytes);
        LB_CHECK(lbrt_state_save(by_many, state, bytes, &got) == LBRT_OK && lbrt_state_restore(fork, state, bytes) == LBRT_OK, "%s",
                 lbrt_session_error(fork));
        LB_CHECK(lbrt_state_restore(all, state, bytes) == LBRT_ERR_UNSUPPORTED, "a state of another window");
        LB_CHECK(lbrt_fork(all, by_one, 10) == LBRT_ERR_ARGUMENT, "a fork of another window");
        o = kv_options(formats[f], formats[f], LONG, 1);
        o.n_batch = 700;
        o.window = W;
        o.sinks = SINKS;
        lbrt_session *wide = kv_session(m, &o);
        LB_CHECK(lbrt_fork(wide, by_one, 10) == LBRT_ERR_ARGUMENT && strstr(lbrt_session_error(wide), "n_batch"), "a fork of other room: %s",
                 lbrt_session_error(wide));
        lbrt_session_free(wide);
        free(state);
        LB_CHECK(lbrt_rewind(by_one, LONG - 60) == LBRT_OK && lbrt_rewind(fork, LONG - 60) == LBRT_OK, "a little way back: %s, %s",
                 lbrt_session_error(by_one), lbrt_session_error(fork));
        share_feed(by_one, text + LONG - 60, 60);
        share_feed(fork, text + LONG - 60, 60);
        kv_same_logits(by_one, by_many, n_vocab, "after a rewind");
        kv_same_logits(fork, by_many, n_vocab, "after a restore and a rewind");
        LB_CHECK(lbrt_fork(fork, by_one, LONG) == LBRT_OK && lbrt_rewind(fork, 0) == LBRT_OK && lbrt_rewind(by_one, LONG - 1) == LBRT_OK, "fork");
        share_feed(fork, text, 1200);
        share_feed(by_one, text + LONG - 1, 1);
        kv_same_logits(by_one, by_many, n_vocab, "after a fork has gone its way");
        lbrt_session_free(all);
        all = share_session(m, formats[f], LONG, 1, W, SINKS);
        share_feed(all, text, 1200);
        kv_same_logits(fork, all, n_vocab, "the fork");
        lbrt_session_free(by_one);
        lbrt_session_free(by_many);
        lbrt_session_free(all);
        lbrt_session_free(fork);
    }
    /* without sinks (one that is inside): the model's own window says the same */
    lb_test_case("a session's window sees what a model's does, and the sinks");
    m->hparams.window = 700;
    lbrt_session *models = share_session(m, LBRT_KV_F32, SHARE_N, 1, 0, 0);
    m->hparams.window = 0;
    lbrt_session *own = share_session(m, LBRT_KV_F32, SHARE_N, 1, 700, 1);
    if (models && own && share_feed(models, ids, 500) && share_feed(own, ids, 500)) {
        kv_same_logits(models, own, n_vocab, "a window larger than the text");
    }
    lbrt_session_free(models);
    lbrt_session_free(own);
}

static void test_compress(const lbrt_model *m, lbrt_kv_format f, uint32_t n_vocab)
{
    enum { LONG = 900, KEEP = 300 };
    lb_test_case("compression to %d of %d tokens, KV format %d", KEEP, LONG, (int)f);
    static lbrt_token text[2 * LONG];
    sm_tokens(text, 2 * LONG, n_vocab, 5);
    lbrt_session *a = share_session(m, f, LONG + 10, 1, 0, 0), *b = share_session(m, f, LONG + 10, 2, 0, 0), *c = share_session(m, f, LONG, 1, 0, 0);
    if (!a || !b || !c || !share_feed(a, text, LONG) || !share_feed(b, text, 17) || !share_feed(b, text + 17, LONG - 17)) {
        return;
    }
    LB_CHECK(lbrt_compress(a, LONG) == LBRT_OK && lbrt_session_held(a) == LONG, "enough room: nothing happens");
    LB_CHECK(lbrt_compress(a, 127) == LBRT_ERR_ARGUMENT, "too little to keep");
    LB_CHECK(lbrt_fork(c, a, LONG) == LBRT_OK, "%s", lbrt_session_error(c));
    LB_CHECK(lbrt_compress(a, KEEP) == LBRT_OK && lbrt_compress(b, KEEP) == LBRT_OK, "%s %s", lbrt_session_error(a), lbrt_session_error(b));
    LB_CHECK(lbrt_session_length(a) == LONG && lbrt_session_held(a) == KEEP / 64 * 64, "%zu of %zu", lbrt_session_held(a), lbrt_session_length(a));
    kv_same_logits(a, b, n_vocab, "compression keeps logits");
    LB_CHECK(lbrt_compress(a, 128) == LBRT_ERR_STATE && lbrt_session_held(a) == KEEP / 64 * 64, "again, with nothing new to choose by: %s",
             lbrt_session_error(a));
    share_feed(a, text + LONG, LONG / 2); /* more than would fit without it */
    for (size_t i = 0; i < LONG / 2; i += 9) {
        share_feed(b, text + LONG + i, lb_min(9, LONG / 2 - i));
    }
    kv_same_logits(a, b, n_vocab, "behind a compression, by any pieces");
    LB_CHECK(lbrt_rewind(a, LONG - 1) == LBRT_ERR_STATE && lbrt_session_length(a) == LONG + LONG / 2, "back into what was chosen from");
    LB_CHECK(lbrt_rewind(a, LONG + 70) == LBRT_OK, "%s", lbrt_session_error(a));
    size_t bytes = lbrt_state_bytes(a), got;
    unsigned char *state = malloc(bytes);
    LB_CHECK(lbrt_state_save(a, state, bytes, &got) == LBRT_OK && lbrt_rewind(a, 0) == LBRT_OK && lbrt_state_restore(a, state, bytes) == LBRT_OK, "%s",
             lbrt_session_error(a));
    free(state);
    share_feed(a, text + LONG + 70, LONG / 2 - 70);
    kv_same_logits(a, b, n_vocab, "behind a compression, a rewind and a restore");
    lbrt_rewind(b, 0);
    lbrt_rewind(c, LONG - 1);
    share_feed(b, text, LONG);
    share_feed(c, text + LONG - 1, 1);
    kv_same_logits(b, c, n_vocab, "who shared pages with a compressed session has the whole text still");
    LB_CHECK(lbrt_compress(c, KEEP) == LBRT_OK, "%s", lbrt_session_error(c));
    lbrt_session_free(a);
    lbrt_session_free(b);
    lbrt_session_free(c);
}

/* What compression keeps sits where it was in the text: if all that is looked at is kept, a later token sees what it would have seen. */
static void test_compress_places(lbrt_model *m, uint32_t n_vocab)
{
    lb_test_case("after compression the next token is at its own place");
    enum { LONG = 400 };
    static lbrt_token text[LONG + 1];
    sm_tokens(text, LONG + 1, n_vocab, 6);
    lbrt_session *a = share_session(m, LBRT_KV_F32, LONG + 1, 1, 0, 0), *b = share_session(m, LBRT_KV_F32, LONG + 1, 1, 0, 0);
    lbrt_session *c = share_session(m, LBRT_KV_F32, LONG + 1, 1, 0, 0);
    if (a && b && c && share_feed(a, text, LONG) && share_feed(b, text, LONG) &&
        LB_CHECK(lbrt_compress(a, 384) == LBRT_OK && lbrt_fork(c, a, LONG) == LBRT_OK, "%s", lbrt_session_error(a))) {
        c->evicted -= 16; /* as if the next token came right behind 384 */
        share_feed(a, text + LONG, 1);
        share_feed(b, text + LONG, 1);
        share_feed(c, text + LONG, 1);
        double right = 0, wrong = 0;
        for (size_t i = 0; i < n_vocab; i++) { /* 16 of 400 positions less, those that get least: not far from the same */
            right += pow((double)lbrt_logits(a, 0)[i] - (double)lbrt_logits(b, 0)[i], 2);
            wrong += pow((double)lbrt_logits(c, 0)[i] - (double)lbrt_logits(b, 0)[i], 2);
        }
        LB_CHECK(right > 0 && right < 0.3 * wrong, "logits are off by %g, at a wrong place by %g", right, wrong);
    }
    lbrt_session_free(a);
    lbrt_session_free(b);
    lbrt_session_free(c);
}

static void test_state_file(const lbrt_model *m, const lbrt_token *ids, uint32_t n_vocab)
{
    lb_test_case("a session in a file");
    lbrt_session *a = share_session(m, LBRT_KV_Q8, SHARE_N, 1, 0, 0), *b = share_session(m, LBRT_KV_Q8, SHARE_N, 2, 0, 0);
    const char *path = lb_test_temp("session.state");
    if (a && b && share_feed(a, ids, 333)) {
        LB_CHECK(lbrt_state_save_file(a, path) == LBRT_OK && lbrt_state_restore_file(b, path) == LBRT_OK, "%s %s", lbrt_session_error(a),
                 lbrt_session_error(b));
        kv_same_logits(a, b, n_vocab, "restored");
        share_feed(a, ids + 333, 40);
        share_feed(b, ids + 333, 40);
        kv_same_logits(a, b, n_vocab, "gone on with");
        LB_CHECK(lbrt_state_save_file(a, "/no/such/folder/x") == LBRT_ERR_IO && lbrt_session_error(a)[0], "a folder that is not there");
        LB_CHECK(lbrt_state_restore_file(a, lb_test_temp("none.state")) == LBRT_ERR_IO && lbrt_session_error(a)[0], "a file that is not there");
    }
    lbrt_session_free(a);
    lbrt_session_free(b);
}

/* Models of unequal heads are made from an equal one by writing some of its heads twice; the result must be the equal one's. */
typedef struct share_source {
    lb_source source; /* first */
    lb_source *inner;
    lb_source_tensor tensors[64];
    uint32_t repeat[64], head_rows; /* value heads of a tensor of values */
} share_source;

static lbrt_status share_rows(const lb_source *s, size_t i, uint64_t row, uint64_t n, float *out, lbrt_error *err)
{
    const share_source *x = (const share_source *)(const void *)s;
    const uint64_t cols = s->tensors[i].cols;
    if (s->tensors[i].rows == 1 && x->repeat[i] > 1) {
        float whole[1024];
        LB_TRY(x->inner->read_rows(x->inner, i, 0, 1, whole, err));
        for (uint64_t c = 0; c < cols; c++) {
            out[c] = whole[c / x->head_rows / x->repeat[i] * x->head_rows + c % x->head_rows];
        }
        return LBRT_OK;
    }
    for (uint64_t r = row; r < row + n; r++) {
        const uint64_t head = r / x->head_rows / x->repeat[i], in_head = r % x->head_rows;
        LB_TRY(x->inner->read_rows(x->inner, i, x->repeat[i] > 1 ? head * x->head_rows + in_head : r, 1, out + (r - row) * cols, err));
    }
    return LBRT_OK;
}

static void share_close(lb_source *s)
{
    (void)s;
}

/* keys, values: how many times each head is there in layer i */
static lbrt_model *unequal_model(const char *name, const uint32_t *keys, const uint32_t *values)
{
    static share_source x;
    lb_source *inner = sm_source("tiny");
    x = (share_source){ .source = *inner, .inner = inner, .head_rows = inner->hparams.head_dim };
    lb_hparams *h = &x.source.hparams;
    uint32_t most_k = 1, most_v = 1;
    for (size_t i = 0; i < inner->n_tensors; i++) {
        x.tensors[i] = inner->tensors[i];
        x.repeat[i] = 1;
        uint32_t layer = 0;
        char what[32];
        if (sscanf(inner->tensors[i].name, "layers.%u.%31s", &layer, what) == 2 && (strncmp(what, "attn_k", 6) == 0 || strncmp(what, "attn_v", 6) == 0) &&
            strstr(what, "norm") == NULL) {
            x.repeat[i] = what[5] == 'k' ? keys[layer] : values[layer];
            if (x.tensors[i].rows == 1) { /* a bias: its columns are rows of the matrix */
                x.tensors[i].cols *= x.repeat[i];
                continue;
            }
            x.tensors[i].rows *= x.repeat[i];
            most_k = what[5] == 'k' && x.repeat[i] > most_k ? x.repeat[i] : most_k;
            most_v = what[5] == 'v' && x.repeat[i] > most_v ? x.repeat[i] : most_v;
        }
    }
    h->n_v_heads = h->n_kv_heads * most_v == h->n_kv_heads * most_k ? 0 : h->n_kv_heads * most_v;
    h->n_kv_heads *= most_k;
    h->unequal = true;
    x.source.tensors = x.tensors;
    x.source.read_rows = share_rows;
    x.source.close = share_close;
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lbrt_error err = { LBRT_OK, "" };
    const lb_convert_options options = { .format = LB_W_F32, .threads = 1 };
    lbrt_model *m = NULL;
    const char *path = lb_test_temp(name);
    LB_CHECK(lb_convert(&x.source, path, &options, &a, &err) == LBRT_OK && lbrt_model_open(path, NULL, &m, &err) == LBRT_OK, "%s: %s", name, err.text);
    inner->close(inner);
    return m;
}

static void test_unequal(const lbrt_token *ids)
{
    static const uint32_t ones[8] = { 1, 1, 1, 1, 1, 1, 1, 1 }, some[8] = { 1, 2, 1, 2, 1, 2, 1, 2 }, twos[8] = { 2, 2, 2, 2, 2, 2, 2, 2 };
    static const struct {
        const char *name;
        const uint32_t *keys, *values;
    } cases[] = { { "more value heads", ones, twos }, { "more key heads", twos, ones }, { "layers that differ", some, some },
                  { "layers that differ in values", ones, some }, { "keys and values that differ", some, ones } };
    static const lbrt_kv_format formats[] = { LBRT_KV_F32, LBRT_KV_F16, LBRT_KV_Q8, LBRT_KV_Q4 };
    lbrt_model *equal = unequal_model("equal.lbrt", ones, ones);
    for (size_t i = 0; equal && i < sizeof cases / sizeof cases[0]; i++) {
        lb_test_case("unequal heads: %s", cases[i].name);
        lbrt_model *m = unequal_model("unequal.lbrt", cases[i].keys, cases[i].values);
        for (size_t f = 0; m && f < 4; f++) {
            const uint32_t n_vocab = m->hparams.n_vocab;
            lbrt_session *want = share_session(equal, formats[f], SHARE_N, 1, 0, 0), *got = share_session(m, formats[f], SHARE_N, 2, 0, 0);
            share_feed(want, ids, 400);
            share_feed(got, ids, 395);
            for (size_t t = 395; t < 400; t++) {
                share_feed(got, ids + t, 1);
            }
            kv_same_logits(want, got, n_vocab, "heads written twice");
            size_t bytes = lbrt_state_bytes(got), n;
            unsigned char *state = malloc(bytes);
            LB_CHECK(lbrt_state_save(got, state, bytes, &n) == LBRT_OK && lbrt_rewind(got, 3) == LBRT_OK &&
                         lbrt_state_restore(got, state, bytes) == LBRT_OK, "%s", lbrt_session_error(got));
            free(state);
            share_feed(got, ids + 400, 100);
            share_feed(want, ids + 400, 100);
            kv_same_logits(want, got, n_vocab, "after a restore");
            LB_CHECK(lbrt_compress(got, 200) == LBRT_OK, "%s", lbrt_session_error(got));
            share_feed(got, ids + 500, 1);
            lbrt_session_free(want);
            lbrt_session_free(got);
        }
        lbrt_model_close(m);
    }
    lbrt_model_close(equal);
}

/* The formula that lbrt.h gives for a session's bytes. */
static void test_formula(const lbrt_model *m)
{
    static const struct {
        lbrt_kv_format format;
        uint64_t bits;
    } formats[] = { { LBRT_KV_F32, 0 }, { LBRT_KV_F16, 0 }, { LBRT_KV_Q8, 8 }, { LBRT_KV_Q4, 4 }, { LBRT_KV_Q2, 2 } };
    const lb_hparams *h = &m->hparams;
    const uint64_t w = h->head_dim, near = 4096, far = 5 * 4096;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        lb_test_case("a session's bytes, KV format %d", (int)formats[i].format);
        lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
        size_t a = 0, b = 0;
        o.kv_key = o.kv_value = formats[i].format;
        o.n_context = (uint32_t)near;
        LB_CHECK(lbrt_session_bytes(m, &o, &a, NULL) == LBRT_OK, "near");
        o.n_context = (uint32_t)far;
        LB_CHECK(lbrt_session_bytes(m, &o, &b, NULL) == LBRT_OK, "far");
        const uint64_t bits = formats[i].bits, position = bits ? w * bits / 4 + 4 + w / 32 : formats[i].format == LBRT_KV_F32 ? 8 * w : 4 * w;
        const uint64_t n = far - near, want = n * (h->n_layers * h->n_kv_heads * position + 4) + n * 3 / 16 + n * h->n_heads * (lb_round_up(w, 16) + 2) / 64;
        LB_CHECK(w % 32 == 0 && b - a == want, "%zu bytes more for %llu tokens, not %llu", b - a, (unsigned long long)n, (unsigned long long)want);
    }
}

enum { NARROW = 8 }; /* of value heads, where keys have MK_DIM / 2 */

/* The made model with value heads of NARROW dimensions, or with the same in wide ones whose rest is zero. */
static lbrt_model *narrow_model(bool wide)
{
    const uint32_t full = MK_DIM / 2, width = wide ? full : NARROW;
    mk_safetensors st = { 0 };
    mk_blob config = { 0 }, weights = { 0 };
    for (size_t i = 0; i < mk_n_tensors; i++) {
        const mk_tensor *t = &mk_tensors[i];
        const bool v = strstr(t->name, "attn_v") != NULL, o = strstr(t->name, "attn_o") != NULL;
        const uint32_t rows = v ? t->rows / full * width : t->rows, cols = o ? t->cols / full * width : t->cols;
        mk_blob b = { 0 };
        for (uint32_t r = 0; r < rows; r++) {
            for (uint32_t c = 0; c < cols; c++) {
                const bool zero = (v && r % width >= NARROW) || (o && c % width >= NARROW);
                const float w = zero ? 0.0f : mk_weight(t->name, (size_t)(v ? r / width * NARROW + r % width : r) * 64 + (o ? c / width * NARROW + c % width : c)) * 0.2f;
                uint32_t u;
                memcpy(&u, &w, sizeof u);
                mk_u32(&b, u);
            }
        }
        char shape[40];
        snprintf(shape, sizeof shape, t->rows == 1 ? "%u" : "%u,%u", t->rows == 1 ? cols : rows, cols);
        mk_st_tensor(&st, t->hf, "F32", shape, b.data, b.n);
        mk_free(&b);
    }
    mk_st_end(&st, &weights);
    mk_config("LlamaForCausalLM", wide ? "\"tie_word_embeddings\": true" : "\"tie_word_embeddings\": true, \"v_head_dim\": 8", &config);
    const char *folder = mk_folder(wide ? "wide" : "narrow", &config, &weights);
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lbrt_error err = { LBRT_OK, "" };
    lb_source *source = NULL;
    lbrt_model *m = NULL;
    const lb_convert_options options = { .format = LB_W_F32, .threads = 1 };
    char path[300];
    LB_CHECK(lb_source_open(folder, NULL, &a, &source, &err) == LBRT_OK, "%s", err.text);
    lb_format(path, sizeof path, "%s", lb_test_temp(wide ? "wide.lbrt" : "narrow.lbrt"));
    LB_CHECK(source && lb_convert(source, path, &options, &a, &err) == LBRT_OK && lbrt_model_open(path, NULL, &m, &err) == LBRT_OK, "%s", err.text);
    if (source) {
        source->close(source);
    }
    mk_free(&config);
    mk_free(&weights);
    return m;
}

static void test_narrow_values(void)
{
    lb_test_case("value heads that are narrower than key heads, from a Hugging Face folder");
    lbrt_model *narrow = narrow_model(false), *wide = narrow_model(true);
    lbrt_session *a = share_session(narrow, LBRT_KV_F32, 16, 1, 0, 0), *b = share_session(wide, LBRT_KV_F32, 16, 2, 0, 0);
    static const lbrt_token text[] = { 3, 5, 4, 6, 7, 5, 3 };
    if (a && b && LB_CHECK(narrow->v_width == NARROW && wide->v_width == MK_DIM / 2, "%zu and %zu", narrow->v_width, wide->v_width)) {
        for (size_t i = 0; i < 7; i++) {
            share_feed(a, text + i, 1);
        }
        share_feed(b, text, 7);
        kv_same_logits(a, b, MK_VOCAB, "narrow values");
    }
    lbrt_session_free(a);
    lbrt_session_free(b);
    lbrt_model_close(narrow);
    lbrt_model_close(wide);
}

void test_kv_sharing(void)
{
    lbrt_model *m = sm_model("tiny", "f32", NULL);
    if (!LB_CHECK(m != NULL, "no model")) {
        return;
    }
    const uint32_t n_vocab = m->hparams.n_vocab;
    static lbrt_token ids[SHARE_N];
    sm_tokens(ids, SHARE_N, n_vocab, 3);
    test_forks(m, LBRT_KV_F16, n_vocab);
    test_forks(m, LBRT_KV_Q8, n_vocab);
    test_forks(m, LBRT_KV_Q4, n_vocab);
    test_forks(m, LBRT_KV_Q2, n_vocab);
    test_no_copy(m, ids);
    test_share_threads(m, LBRT_KV_F16, ids, n_vocab);
    test_share_threads(m, LBRT_KV_Q8, ids, n_vocab);
    test_session_window(m, ids, n_vocab);
    test_compress(m, LBRT_KV_F16, n_vocab);
    test_compress(m, LBRT_KV_Q8, n_vocab);
    test_compress(m, LBRT_KV_Q4, n_vocab);
    test_compress_places(m, n_vocab);
    test_state_file(m, ids, n_vocab);
    test_formula(m);
    test_unequal(ids);
    test_narrow_values();
    lbrt_model_close(m);
}
