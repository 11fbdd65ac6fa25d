/*
 * 100 sessions on one model in 8 threads, created, fed, cancelled, forked, saved, restored, rewound, compressed and freed at random for a given
 * time. Every session follows one of a few scripts (a prompt and its greedy continuation) in one of a few KV formats, some with a window; texts are
 * of up to four pages of the cache. The logits after every step must have the hash that a quiet session had there, and nothing may be
 * left at the end. Compressed sessions follow scripts of their own, which part from the others at token CUT.
 *     build/stress MODEL.lbrt [SECONDS [SEED]]      a small model: build/lbrt-convert --synth tiny MODEL.lbrt
 * Exit status 1 at the first wrong token, logit, status, length or byte.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../include/lbrt.h"

enum {
    SESSIONS = 100, THREADS = 8, SCRIPTS = 3, LENGTH = 1000, PROMPT = 10, STATES = 16, FORMATS = 7,
    CUT = 600, KEEP = 320,           /* compressed after CUT tokens to KEEP */
    FAINT = 256,                     /* and, in one format, so many in 2 bits */
    WINDOW = 100, WINDOW_BATCH = 32  /* small enough for pages to be dropped, and used again, in LENGTH tokens */
};

static const struct {
    lbrt_kv_format key, value;
    uint32_t window, faint;
} stress_formats[FORMATS] = { { LBRT_KV_F16, LBRT_KV_F16, 0, 0 },      { LBRT_KV_Q8, LBRT_KV_Q4, 0, 0 },       { LBRT_KV_Q4, LBRT_KV_Q4, 0, 0 },
                              { LBRT_KV_F32, LBRT_KV_Q2, 0, 0 },       { LBRT_KV_Q8, LBRT_KV_Q8, 0, FAINT },   { LBRT_KV_F16, LBRT_KV_F16, WINDOW, 0 },
                              { LBRT_KV_Q4, LBRT_KV_Q8, WINDOW, 0 } };

typedef struct slot {
    pthread_mutex_t mutex; /* who uses the session */
    pthread_mutex_t life;  /* s is not freed while somebody cancels it */
    lbrt_session *s;
    unsigned format, script; /* script + SCRIPTS: that of a compressed session */
    uint32_t batch;
    size_t safe; /* with a window: a place from which on it can go back */
} slot;

typedef struct state {
    pthread_mutex_t mutex;
    unsigned char *data;
    size_t bytes, length;
    unsigned format, script;
} state;

static lbrt_model *model;
static size_t n_vocab;
static lbrt_token script[FORMATS][2 * SCRIPTS][LENGTH];
static uint64_t expected[FORMATS][2 * SCRIPTS][LENGTH];
static slot slots[SESSIONS];
static state states[STATES];
static _Atomic size_t alive, tokens, calls, cancelled, forks, restores, compressions;
static double end_time;
static uint64_t first_seed;

#define MUST(cond, ...)                                                \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "stress: %s:%d: ", __FILE__, __LINE__);    \
            fprintf(stderr, __VA_ARGS__);                              \
            fprintf(stderr, " (seed %llu)\n", (unsigned long long)first_seed); \
            exit(1);                                                   \
        }                                                              \
    } while (0)

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t draw(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static void *counted_alloc(void *user, size_t bytes, size_t align)
{
    (void)user;
    void *p = NULL;
    if (posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, bytes) != 0) {
        return NULL;
    }
    atomic_fetch_add(&alive, bytes);
    return p;
}

static void counted_free(void *user, void *p, size_t bytes, size_t align)
{
    (void)user;
    (void)align;
    atomic_fetch_sub(&alive, bytes);
    free(p);
}

static uint64_t hash(const float *logits)
{
    uint64_t h = 1469598103934665603ull;
    for (size_t i = 0; i < n_vocab; i++) {
        uint32_t u;
        memcpy(&u, &logits[i], sizeof u);
        h = (h ^ u) * 1099511628211ull;
        h ^= h >> 29;
    }
    return h;
}

/* A host whose threads are busy: everything in the caller, in an odd order. */
static void serial(void *user, size_t n, lbrt_task_fn task, void *context)
{
    (void)user;
    for (size_t i = 0; i < n; i++) {
        task(context, (i + 1) % n);
    }
}

static uint32_t batch_of(unsigned format, uint64_t r)
{
    static const uint32_t batches[] = { 256, 5, 32, 1 };
    return stress_formats[format].window ? WINDOW_BATCH : batches[r & 3];
}

static lbrt_session *create(unsigned format, uint64_t r)
{
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = LENGTH;
    o.n_batch = batch_of(format, r);
    o.window = stress_formats[format].window;
    o.n_faint = stress_formats[format].faint;
    o.n_threads = r >> 2 & 7 ? 1 : 2;
    o.parallel = (r >> 5 & 7) == 0 ? serial : NULL;
    o.kv_key = stress_formats[format].key;
    o.kv_value = stress_formats[format].value;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_session *s = NULL;
    MUST(lbrt_session_create(model, &o, &s, &err) == LBRT_OK, "%s", err.text);
    return s;
}

/* The rest of a script, token by token. */
static void quiet_script(lbrt_session *s, unsigned format, unsigned i, size_t from)
{
    uint64_t seed = 77 + i;
    for (size_t at = from; at < LENGTH; at++) {
        lbrt_token *id = &script[format][i][at];
        if (at < PROMPT) {
            *id = (lbrt_token)(draw(&seed) % n_vocab);
        } else {
            MUST(lbrt_sample(s, NULL, id) == LBRT_OK, "%s", lbrt_session_error(s));
        }
        MUST(lbrt_feed(s, id, 1) == LBRT_OK, "%s", lbrt_session_error(s));
        expected[format][i][at] = hash(lbrt_logits(s, 0));
    }
}

static void quiet_session(unsigned format)
{
    lbrt_session *s = create(format, 4);
    for (unsigned i = 0; i < SCRIPTS; i++) {
        MUST(lbrt_rewind(s, 0) == LBRT_OK, "rewind");
        quiet_script(s, format, i, 0);
        if (!stress_formats[format].window) {
            memcpy(script[format][i + SCRIPTS], script[format][i], sizeof script[format][i]);
            memcpy(expected[format][i + SCRIPTS], expected[format][i], sizeof expected[format][i]);
            MUST(lbrt_rewind(s, CUT - 1) == LBRT_OK && lbrt_feed(s, &script[format][i][CUT - 1], 1) == LBRT_OK, "%s", lbrt_session_error(s));
            MUST(lbrt_compress(s, KEEP) == LBRT_OK && lbrt_session_held(s) == KEEP + stress_formats[format].faint, "%s", lbrt_session_error(s));
            quiet_script(s, format, i + SCRIPTS, CUT);
        }
    }
    lbrt_session_free(s);
}

static void check(slot *p, size_t length)
{
    const size_t window = stress_formats[p->format].window, gone = p->script < SCRIPTS ? 0 : CUT - KEEP - stress_formats[p->format].faint;
    MUST(lbrt_session_length(p->s) == length, "length %zu instead of %zu", lbrt_session_length(p->s), length);
    p->safe = length > p->safe + p->batch ? length - p->batch : p->safe;
    MUST(lbrt_session_held(p->s) == (window && length > window + 4 ? window + 4 : length - gone), "%zu of %zu tokens held", lbrt_session_held(p->s), length);
    const float *logits = lbrt_logits(p->s, 0);
    MUST(!logits || hash(logits) == expected[p->format][p->script][length - 1], "wrong logits after %zu tokens of script %u, format %u", length,
         p->script, p->format);
}

/* With a window, whether a session may be too far beyond a place: a batch from the most it had, or anything where it was restored. */
static bool too_far(const slot *p, size_t to)
{
    return stress_formats[p->format].window && to && to < p->safe;
}

/* Goes back, where the session can: not into what was compressed. */
static void go_back(slot *p, size_t to)
{
    const size_t length = lbrt_session_length(p->s);
    const bool compressed = p->script >= SCRIPTS && to && to < CUT, far = too_far(p, to);
    const lbrt_status s = lbrt_rewind(p->s, to);
    MUST(s == (compressed ? LBRT_ERR_STATE : LBRT_OK) || (far && s == LBRT_ERR_STATE), "rewind from %zu to %zu: %s", length, to, lbrt_session_error(p->s));
    if (s == LBRT_OK) {
        p->script = to ? p->script : p->script % SCRIPTS;
        p->safe = to ? p->safe : 0;
        MUST(!lbrt_logits(p->s, 0), "logits after a rewind");
    }
    check(p, s == LBRT_OK ? to : length);
}

/* Feeds n tokens; false if another thread cancelled that. */
static bool feed_n(slot *p, size_t n)
{
    size_t length = lbrt_session_length(p->s);
    const lbrt_status s = lbrt_feed(p->s, script[p->format][p->script] + length, n);
    MUST(s == LBRT_OK || s == LBRT_CANCELLED, "%s", lbrt_session_error(p->s));
    MUST((lbrt_logits(p->s, 0) != NULL) == (s == LBRT_OK), "logits");
    atomic_fetch_add(s == LBRT_OK ? &tokens : &cancelled, s == LBRT_OK ? n : 1);
    if (s == LBRT_OK || !stress_formats[p->format].window) { /* with one, whole batches stay */
        length += s == LBRT_OK ? n : 0;
    } else {
        length = lbrt_session_length(p->s);
    }
    check(p, length);
    return s == LBRT_OK;
}

static void feed(slot *p, uint64_t r)
{
    const size_t length = lbrt_session_length(p->s), most = (r & 32) == 0 ? 6 : (r & 64) == 0 ? 80 : 400;
    size_t n = 1 + (size_t)(r >> 8) % most;
    n = n < LENGTH - length ? n : LENGTH - length;
    if (n == 0) {
        go_back(p, (size_t)(r >> 16) % LENGTH);
        return;
    }
    feed_n(p, n);
}

static void compress(slot *p)
{
    const size_t length = lbrt_session_length(p->s);
    if (stress_formats[p->format].window || p->script >= SCRIPTS) {
        return;
    }
    if (length > CUT) {
        go_back(p, CUT);
    } else if (length < CUT && !feed_n(p, CUT - length)) {
        return;
    }
    const lbrt_status s = lbrt_compress(p->s, KEEP);
    MUST(s == LBRT_CANCELLED || s == (p->batch < 32 ? LBRT_ERR_UNSUPPORTED : LBRT_OK), "compress: %s", lbrt_session_error(p->s));
    if (s == LBRT_OK) {
        p->script += SCRIPTS;
        atomic_fetch_add(&compressions, 1);
    }
    check(p, CUT);
}

typedef struct follow {
    const lbrt_token *next;
} follow;

static bool follow_token(void *user, lbrt_token id, const char *text, size_t bytes)
{
    follow *f = (follow *)user;
    (void)text;
    (void)bytes;
    MUST(id == *f->next, "token %d instead of %d", (int)id, (int)*f->next);
    f->next++;
    return true;
}

static void generate(slot *p, uint64_t r)
{
    const size_t length = lbrt_session_length(p->s);
    if (length < PROMPT || !lbrt_logits(p->s, 0)) {
        feed(p, r);
        return;
    }
    follow f = { script[p->format][p->script] + length };
    lbrt_generation g = LBRT_GENERATION_INIT;
    g.max_tokens = 1 + (size_t)(r >> 8) % 12;
    if (length + g.max_tokens > LENGTH) { /* a compressed session has room for more, of which no script knows */
        return;
    }
    g.ignore_end = true;
    const lbrt_status s = lbrt_generate(p->s, NULL, 0, &g, follow_token, &f);
    MUST(s == LBRT_OK || s == LBRT_CANCELLED, "%s", lbrt_session_error(p->s));
    atomic_fetch_add(&tokens, g.n_generated);
    check(p, length + g.n_generated);
}

static void fork_from(slot *p, uint64_t r)
{
    slot *from = &slots[(r >> 8) % SESSIONS];
    if (from == p || pthread_mutex_trylock(&from->mutex) != 0) {
        return;
    }
    if (from->s) {
        const size_t all = lbrt_session_length(from->s), n = r & 32 ? all : all ? (size_t)(r >> 20) % all : 0, before = lbrt_session_length(p->s);
        const bool compressed = from->script >= SCRIPTS && n && n < CUT, far = too_far(from, n);
        const lbrt_status s = lbrt_fork(p->s, from->s, n);
        MUST(s == (from->format != p->format ? LBRT_ERR_ARGUMENT : compressed ? LBRT_ERR_STATE : LBRT_OK) || (far && s == LBRT_ERR_STATE), "fork: %s",
             lbrt_session_error(p->s));
        if (s == LBRT_OK) {
            p->script = n ? from->script : from->script % SCRIPTS;
            p->safe = n ? from->safe : 0;
            atomic_fetch_add(&forks, 1);
        }
        check(p, s == LBRT_OK ? n : before);
    }
    pthread_mutex_unlock(&from->mutex);
}

static void save_or_restore(slot *p, uint64_t r)
{
    state *st = &states[(r >> 8) % STATES];
    pthread_mutex_lock(&st->mutex);
    if (r & 32) {
        free(st->data);
        st->bytes = lbrt_state_bytes(p->s);
        st->data = malloc(st->bytes);
        size_t n = 0;
        MUST(st->data && lbrt_state_save(p->s, st->data, st->bytes, &n) == LBRT_OK && n == st->bytes, "save: %s", lbrt_session_error(p->s));
        st->length = lbrt_session_length(p->s);
        st->format = p->format;
        st->script = p->script;
    } else if (st->data) {
        const size_t before = lbrt_session_length(p->s);
        const lbrt_status s = lbrt_state_restore(p->s, st->data, st->bytes);
        MUST(s == (st->format == p->format ? LBRT_OK : LBRT_ERR_UNSUPPORTED), "restore: %s", lbrt_session_error(p->s));
        if (s == LBRT_OK) {
            p->script = st->script;
            p->safe = st->length;
            atomic_fetch_add(&restores, 1);
        }
        check(p, s == LBRT_OK ? st->length : before);
    }
    pthread_mutex_unlock(&st->mutex);
}

static void replace(slot *p, lbrt_session *s)
{
    pthread_mutex_lock(&p->life);
    lbrt_session *old = p->s;
    p->s = s;
    pthread_mutex_unlock(&p->life);
    lbrt_session_free(old);
}

static void step(slot *p, uint64_t r)
{
    if (!p->s) {
        p->format = (unsigned)(r >> 40) % FORMATS;
        p->batch = batch_of(p->format, r);
        p->safe = 0;
        p->script = (unsigned)(r >> 44) % SCRIPTS;
        replace(p, create(p->format, r));
        return;
    }
    switch (r % 32) {
    case 0: replace(p, NULL); break;
    case 1:
        MUST(lbrt_rewind(p->s, 0) == LBRT_OK, "rewind");
        p->script = (unsigned)(r >> 8) % SCRIPTS;
        p->safe = 0;
        break;
    case 2:
    case 3: {
        const size_t length = lbrt_session_length(p->s), back = (size_t)(r >> 8) % (r & 32 ? 40 : LENGTH);
        go_back(p, back < length ? length - back : 0);
        break;
    }
    case 4:
    case 5:
    case 6: fork_from(p, r); break;
    case 7:
    case 8:
    case 9: save_or_restore(p, r); break;
    case 10:
    case 11:
    case 12:
    case 13:
    case 14:
    case 15:
    case 16: generate(p, r); break;
    case 17: compress(p); break;
    default: feed(p, r); break;
    }
}

static void *worker(void *arg)
{
    uint64_t seed = first_seed * 1000 + (uint64_t)(uintptr_t)arg;
    while (now() < end_time) {
        slot *p = &slots[draw(&seed) % SESSIONS];
        const uint64_t r = draw(&seed);
        if (pthread_mutex_trylock(&p->mutex) == 0) {
            step(p, r);
            pthread_mutex_unlock(&p->mutex);
        } else { /* another thread is working on it */
            pthread_mutex_lock(&p->life);
            lbrt_cancel(p->s);
            pthread_mutex_unlock(&p->life);
        }
        atomic_fetch_add(&calls, 1);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: stress MODEL.lbrt [SECONDS [SEED]]\n");
        return 2;
    }
    const double seconds = argc > 2 ? atof(argv[2]) : 10;
    first_seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    const lbrt_allocator a = { counted_alloc, counted_free, NULL };
    lbrt_model_options o = LBRT_MODEL_OPTIONS_INIT;
    o.allocator = &a;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    MUST(lbrt_model_open(argv[1], &o, &model, &err) == LBRT_OK && lbrt_model_describe(model, &info) == LBRT_OK, "%s", err.text);
    n_vocab = info.n_vocab;
    for (unsigned i = 0; i < FORMATS; i++) {
        quiet_session(i);
    }
    for (unsigned i = 0; i < SESSIONS; i++) {
        pthread_mutex_init(&slots[i].mutex, NULL);
        pthread_mutex_init(&slots[i].life, NULL);
    }
    for (unsigned i = 0; i < STATES; i++) {
        pthread_mutex_init(&states[i].mutex, NULL);
    }
    pthread_t threads[THREADS];
    const double start = now();
    end_time = start + seconds;
    for (uintptr_t i = 0; i < THREADS; i++) {
        MUST(pthread_create(&threads[i], NULL, worker, (void *)i) == 0, "a thread");
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (unsigned i = 0; i < SESSIONS; i++) {
        lbrt_session_free(slots[i].s);
    }
    for (unsigned i = 0; i < STATES; i++) {
        free(states[i].data);
    }
    lbrt_model_close(model);
    MUST(atomic_load(&alive) == 0, "%zu bytes are left", atomic_load(&alive));
    MUST(atomic_load(&tokens) > 0, "no token was computed");
    printf("stress: %.0f s, %d sessions, %d threads, seed %llu: %zu calls, %zu tokens right, %zu calls cancelled, %zu forks, %zu restores, %zu "
           "compressions, no byte left\n", now() - start, (int)SESSIONS, (int)THREADS, (unsigned long long)first_seed, atomic_load(&calls),
           atomic_load(&tokens), atomic_load(&cancelled), atomic_load(&forks), atomic_load(&restores), atomic_load(&compressions));
    return 0;
}
