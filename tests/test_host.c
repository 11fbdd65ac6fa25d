/*
 * What a host may take into its own hands: where a model's bytes come from, memory planned to the byte, progress and cancellation, its own
 * threads, logits before a token is drawn, hidden states out and embeddings in.
 */
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../runtime/base/lb_base.h"
#include "lb_test.h"
#include "make_models.h"
#include "small_models.h"

/* ---- an allocator that counts to the byte ---- */

typedef struct host_memory {
    uint64_t alive, most;
} host_memory;

static void *host_alloc(void *user, size_t bytes, size_t align)
{
    host_memory *m = (host_memory *)user;
    void *p = NULL;
    if (posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, bytes) != 0) {
        return NULL;
    }
    m->alive += bytes;
    m->most = m->alive > m->most ? m->alive : m->most;
    return p;
}

static void host_free(void *user, void *p, size_t bytes, size_t align)
{
    (void)align;
    ((host_memory *)user)->alive -= bytes;
    free(p);
}

/* ---- sources ---- */

typedef struct host_stream {
    const unsigned char *data;
    size_t bytes, at_most; /* at_most: of one call */
    size_t read;           /* bytes handed out */
    uint64_t last;
    bool falls;            /* an offset was smaller than the one before */
    uint64_t fail_at, end_at; /* 0: never */
    bool too_many;
} host_stream;

static int64_t host_read(void *user, uint64_t offset, void *buffer, size_t bytes)
{
    host_stream *s = (host_stream *)user;
    s->falls = s->falls || offset < s->last;
    s->last = offset;
    if (s->fail_at && offset >= s->fail_at) {
        return -7;
    }
    if (s->end_at && offset >= s->end_at) {
        return 0;
    }
    if (s->too_many) {
        return (int64_t)bytes + 1;
    }
    size_t n = bytes < s->at_most ? bytes : s->at_most;
    n = n < s->bytes - offset ? n : (size_t)(s->bytes - offset);
    memcpy(buffer, s->data + offset, n);
    s->read += n;
    return (int64_t)n;
}

typedef struct host_progress {
    uint64_t calls, last, total, stop_at;
    bool falls, changes;
} host_progress;

static bool host_report(void *user, uint64_t done, uint64_t total)
{
    host_progress *p = (host_progress *)user;
    p->falls = p->falls || (p->calls && done < p->last) || done > total;
    p->changes = p->changes || (p->calls && total != p->total);
    p->calls++;
    p->last = done;
    p->total = total;
    return !p->stop_at || p->calls < p->stop_at;
}

enum { HOST_TOKENS = 12 };

/* The logits after a few tokens. */
static bool host_logits(const lbrt_model *m, const lbrt_session_options *o, float *out, size_t n_vocab)
{
    lbrt_session *s = NULL;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_token ids[HOST_TOKENS];
    sm_tokens(ids, HOST_TOKENS, 288, 5);
    bool ok = LB_CHECK(lbrt_session_create(m, o, &s, &err) == LBRT_OK, "%s", err.text) &&
              LB_CHECK(lbrt_feed(s, ids, HOST_TOKENS - 1) == LBRT_OK && lbrt_feed(s, ids + HOST_TOKENS - 1, 1) == LBRT_OK, "%s",
                       lbrt_session_error(s));
    if (ok) {
        memcpy(out, lbrt_logits(s, 0), n_vocab * sizeof(float));
    }
    lbrt_session_free(s);
    return ok;
}

typedef struct host_case {
    const char *name;
    lbrt_source source;
    bool copied;
} host_case;

static void host_source(const host_case *c, size_t file_bytes, const float *want)
{
    lb_test_case("a model from %s: the same logits, memory as planned", c->name);
    host_memory memory = { 0, 0 }, of_session = { 0, 0 };
    const lbrt_allocator a = { host_alloc, host_free, &memory }, session_a = { host_alloc, host_free, &of_session };
    lbrt_model_options o = LBRT_MODEL_OPTIONS_INIT;
    o.allocator = &a;
    o.verify = true;
    lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
    so.allocator = &session_a;
    so.n_context = 300;
    so.n_threads = 2;
    so.kv_key = LBRT_KV_Q4;
    so.n_hidden = 3;
    so.n_embeddings = 7;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_memory_plan plan = LBRT_MEMORY_PLAN_INIT;
    LB_CHECK(lbrt_model_plan(&c->source, &o, &so, &plan, &err) == LBRT_OK, "%s", err.text);
    LB_CHECK(memory.alive == 0, "the plan keeps %llu bytes", (unsigned long long)memory.alive);
    LB_CHECK(plan.mapped_bytes == (c->copied || c->source.kind == LBRT_SOURCE_MEMORY ? 0 : file_bytes), "%llu bytes mapped",
             (unsigned long long)plan.mapped_bytes);
    memory.most = 0;
    lbrt_model *m = NULL;
    if (!LB_CHECK(lbrt_model_open_source(&c->source, &o, &m, &err) == LBRT_OK, "%s", err.text)) {
        return;
    }
    LB_CHECK(memory.alive == plan.model_bytes, "%llu bytes, planned %llu", (unsigned long long)memory.alive, (unsigned long long)plan.model_bytes);
    LB_CHECK(memory.most == plan.opening_bytes, "at most %llu bytes, planned %llu", (unsigned long long)memory.most,
             (unsigned long long)plan.opening_bytes);
    LB_CHECK(plan.model_bytes >= (c->copied ? file_bytes : 0), "the copy is not in the plan");
    float logits[288];
    if (host_logits(m, NULL, logits, 288)) {
        LB_CHECK(memcmp(logits, want, sizeof logits) == 0, "other logits");
    }
    lbrt_session *s = NULL;
    LB_CHECK(lbrt_session_create(m, &so, &s, &err) == LBRT_OK, "%s", err.text);
    LB_CHECK(of_session.alive == plan.session_bytes, "a session of %llu bytes, planned %llu", (unsigned long long)of_session.alive,
             (unsigned long long)plan.session_bytes);
    lbrt_session_free(s);
    lbrt_model_close(m);
    LB_CHECK(memory.alive == 0 && of_session.alive == 0, "%llu bytes are left", (unsigned long long)memory.alive);
}

/* The model in a file, behind `front` bytes and before some more. */
static int host_file(const char *name, const unsigned char *data, size_t bytes, size_t front, char path[256])
{
    mk_blob b = { NULL, 0, 0 };
    for (size_t i = 0; i < front; i++) {
        mk_put(&b, "#", 1);
    }
    mk_put(&b, data, bytes);
    mk_put(&b, "behind", 6);
    lb_format(path, 256, "%s", lb_test_temp(name));
    mk_write(path, b.data, b.n);
    mk_free(&b);
    return open(path, O_RDONLY);
}

static void host_sources(const unsigned char *data, size_t bytes, const float *want)
{
    char at_64[256], at_5[256], at_page[256];
    const int fd_64 = host_file("at64", data, bytes, 64 * 67, at_64), fd_5 = host_file("at5", data, bytes, 5, at_5),
              fd_page = host_file("atpage", data, bytes, 8192, at_page);
    LB_CHECK(fd_64 >= 0 && fd_5 >= 0 && fd_page >= 0, "files");
    host_stream whole = { .data = data, .bytes = bytes, .at_most = SIZE_MAX }, trickle = { .data = data, .bytes = bytes, .at_most = 777 };
    host_case cases[] = {
        { "a path", { .path = sm_file("micro", "q4") }, false },
        { "a path, at a multiple of 64", { .path = at_64, .offset = 64 * 67, .bytes = bytes }, false },
        { "a path, at an odd offset", { .path = at_5, .offset = 5, .bytes = bytes }, true },
        { "a descriptor, at a page", { .kind = LBRT_SOURCE_FD, .fd = fd_page, .offset = 8192, .bytes = bytes }, false },
        { "a descriptor, at a multiple of 64", { .kind = LBRT_SOURCE_FD, .fd = fd_64, .offset = 64 * 67, .bytes = bytes }, false },
        { "a descriptor, at an odd offset", { .kind = LBRT_SOURCE_FD, .fd = fd_5, .offset = 5, .bytes = bytes }, true },
        { "memory", { .kind = LBRT_SOURCE_MEMORY, .memory = data, .bytes = bytes }, false },
        { "a read function", { .kind = LBRT_SOURCE_READ, .read = host_read, .read_user = &whole, .bytes = bytes }, true },
        { "a read function of short reads", { .kind = LBRT_SOURCE_READ, .read = host_read, .read_user = &trickle, .bytes = bytes }, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cases[i].source.size = sizeof cases[i].source;
        host_source(&cases[i], bytes, want);
    }
    close(fd_64);
    close(fd_5);
    close(fd_page);
}

static void host_refusals(const unsigned char *data, size_t bytes)
{
    lb_test_case("sources that fail say why, and leave nothing");
    host_stream fails = { .data = data, .bytes = bytes, .at_most = 1000, .fail_at = 5000 };
    host_stream ends = { .data = data, .bytes = bytes, .at_most = 1000, .end_at = 5000 };
    host_stream lies = { .data = data, .bytes = bytes, .at_most = 1000, .too_many = true };
    int pipe_fd[2];
    LB_CHECK(pipe(pipe_fd) == 0, "a pipe");
    const int fd = open(sm_file("micro", "q4"), O_RDONLY);
    const struct {
        lbrt_source source;
        lbrt_status status;
        const char *word;
    } cases[] = {
        { { .kind = LBRT_SOURCE_READ, .read = host_read, .read_user = &fails, .bytes = bytes }, LBRT_ERR_IO, "at byte 5000" },
        { { .kind = LBRT_SOURCE_READ, .read = host_read, .read_user = &ends, .bytes = bytes }, LBRT_ERR_IO, "ends at byte 5000" },
        { { .kind = LBRT_SOURCE_READ, .read = host_read, .read_user = &lies, .bytes = bytes }, LBRT_ERR_IO, "more bytes than" },
        { { .kind = LBRT_SOURCE_READ, .bytes = bytes }, LBRT_ERR_ARGUMENT, "no read function" },
        { { .kind = LBRT_SOURCE_READ, .read = host_read, .read_user = &fails }, LBRT_ERR_ARGUMENT, "no size" },
        { { .kind = LBRT_SOURCE_READ, .read = host_read, .read_user = &fails, .bytes = UINT64_MAX }, LBRT_ERR_ARGUMENT, "a model of" },
        { { .kind = LBRT_SOURCE_FD, .fd = -1 }, LBRT_ERR_ARGUMENT, "descriptor" },
        { { .kind = LBRT_SOURCE_FD, .fd = pipe_fd[0] }, LBRT_ERR_IO, "regular" },
        { { .kind = LBRT_SOURCE_FD, .fd = fd, .offset = bytes + 1 }, LBRT_ERR_IO, "behind its end" },
        { { .kind = LBRT_SOURCE_FD, .fd = fd, .offset = 64, .bytes = bytes }, LBRT_ERR_IO, "behind its end" },
        { { .kind = LBRT_SOURCE_FD, .fd = fd, .offset = bytes }, LBRT_ERR_FORMAT, "not an lbrt file" },
        { { .kind = LBRT_SOURCE_FD, .fd = fd, .offset = 1 }, LBRT_ERR_FORMAT, "not an lbrt file" },
        { { .path = NULL }, LBRT_ERR_ARGUMENT, "no path" },
        { { .path = "/nowhere/at.all" }, LBRT_ERR_IO, "cannot open" },
        { { .path = "/" }, LBRT_ERR_IO, "regular" },
        { { .kind = LBRT_SOURCE_MEMORY }, LBRT_ERR_ARGUMENT, "no data" },
        { { .kind = (lbrt_source_kind)9 }, LBRT_ERR_ARGUMENT, "kind of source" },
    };
    host_memory memory = { 0, 0 };
    const lbrt_allocator a = { host_alloc, host_free, &memory };
    lbrt_model_options o = LBRT_MODEL_OPTIONS_INIT;
    o.allocator = &a;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lbrt_source source = cases[i].source;
        source.size = sizeof source;
        for (unsigned plan = 0; plan < 2; plan++) {
            lbrt_error err = { LBRT_OK, "" };
            lbrt_model *m = (lbrt_model *)(uintptr_t)1;
            lbrt_memory_plan p = LBRT_MEMORY_PLAN_INIT;
            const lbrt_status s = plan ? lbrt_model_plan(&source, &o, NULL, &p, &err) : lbrt_model_open_source(&source, &o, &m, &err);
            /* The plan of a stream reads less of it, and in other pieces: only that it fails is said. */
            const bool other = plan && source.read_user;
            LB_CHECK(s == cases[i].status && err.status == s && (other || strstr(err.text, cases[i].word)), "case %zu: %s, %s", i,
                     lbrt_status_name(s), err.text);
            LB_CHECK(plan || m == NULL, "case %zu: the model is not NULL", i);
            LB_CHECK(memory.alive == 0, "case %zu leaks", i);
        }
    }
    lbrt_error err;
    lbrt_source zero = { 0 };
    LB_CHECK(lbrt_model_plan(NULL, NULL, NULL, &(lbrt_memory_plan)LBRT_MEMORY_PLAN_INIT, &err) == LBRT_ERR_ARGUMENT && lbrt_model_plan(&zero, NULL, NULL, NULL, &err) == LBRT_ERR_ARGUMENT &&
                 lbrt_model_plan(&zero, NULL, NULL, &(lbrt_memory_plan)LBRT_MEMORY_PLAN_INIT, &err) == LBRT_ERR_ARGUMENT,
             "missing pointers");
    close(pipe_fd[0]);
    close(pipe_fd[1]);
    close(fd);
}

static void host_plan_reads_little(const unsigned char *data, size_t bytes)
{
    lb_test_case("a plan reads tables, not weights");
    /* tcq formats have input transforms, whose first bytes are wanted */
    size_t n = 0;
    unsigned char *rotated = sm_load(sm_file("tiny", "tcq3"), &n);
    for (unsigned i = 0; i < 2; i++) {
        host_stream s = { .data = i ? rotated : data, .bytes = i ? n : bytes, .at_most = SIZE_MAX };
        lbrt_source source = LBRT_SOURCE_INIT;
        source.kind = LBRT_SOURCE_READ;
        source.read = host_read;
        source.read_user = &s;
        source.bytes = s.bytes;
        lbrt_memory_plan plan = LBRT_MEMORY_PLAN_INIT;
        lbrt_error err = { LBRT_OK, "" };
        LB_CHECK(lbrt_model_plan(&source, NULL, NULL, &plan, &err) == LBRT_OK, "%s", err.text);
        lbrt_model *m = NULL;
        lbrt_model_info info = LBRT_MODEL_INFO_INIT;
        LB_CHECK(lbrt_model_open_memory(s.data, s.bytes, NULL, &m, &err) == LBRT_OK && lbrt_model_describe(m, &info) == LBRT_OK, "%s", err.text);
        LB_CHECK(s.read < s.bytes - info.weight_bytes + 4096, "%zu of %zu bytes were read, of which %llu are weights", s.read, s.bytes,
                 (unsigned long long)info.weight_bytes);
        size_t session = 0;
        LB_CHECK(lbrt_session_bytes(m, NULL, &session, NULL) == LBRT_OK && session == plan.session_bytes, "%zu", session);
        lbrt_model_close(m);
    }
    free(rotated);
}

static void host_progresses(const unsigned char *data, size_t bytes)
{
    lb_test_case("progress of reading, verifying and feeding; a no cancels");
    host_stream stream = { .data = data, .bytes = bytes, .at_most = 10000 };
    lbrt_source source = LBRT_SOURCE_INIT;
    source.kind = LBRT_SOURCE_READ;
    source.read = host_read;
    source.read_user = &stream;
    source.bytes = bytes;
    host_memory memory = { 0, 0 };
    const lbrt_allocator a = { host_alloc, host_free, &memory };
    lbrt_model_options o = LBRT_MODEL_OPTIONS_INIT;
    o.allocator = &a;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_model *m = NULL;
    host_progress p = { .calls = 0 };
    o.progress = host_report;
    o.progress_user = &p;
    LB_CHECK(lbrt_model_open_source(&source, &o, &m, &err) == LBRT_OK, "%s", err.text);
    LB_CHECK(p.calls > 3 && !p.falls && !p.changes && p.last == bytes && p.total == bytes && !stream.falls, "%llu calls, %llu of %llu",
             (unsigned long long)p.calls, (unsigned long long)p.last, (unsigned long long)p.total);
    lbrt_model_close(m);
    for (uint64_t stop = 1; stop <= p.calls; stop++) {
        host_progress no = { .stop_at = stop };
        o.progress_user = &no;
        m = (lbrt_model *)(uintptr_t)1;
        LB_CHECK(lbrt_model_open_source(&source, &o, &m, &err) == LBRT_CANCELLED && !m && memory.alive == 0 && err.text[0], "stop %llu: %s",
                 (unsigned long long)stop, err.text);
    }
    o.verify = true;
    host_progress v = { .calls = 0 }, no = { .stop_at = 1 };
    o.progress_user = &no;
    LB_CHECK(lbrt_model_open_memory(data, bytes, &o, &m, &err) == LBRT_CANCELLED && !m && memory.alive == 0, "%s", err.text);
    o.progress_user = &v;
    LB_CHECK(lbrt_model_open_memory(data, bytes, &o, &m, &err) == LBRT_OK && v.calls > 0 && v.last == v.total && !v.falls, "%s", err.text);

    lbrt_token ids[100];
    sm_tokens(ids, 100, 288, 1);
    for (unsigned codes = 0; codes < 2; codes++) {
        host_progress f = { .calls = 0 };
        lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
        so.n_context = 200;
        so.n_batch = 32;
        so.progress = host_report;
        so.progress_user = &f;
        so.kv_key = so.kv_value = codes ? LBRT_KV_Q4 : LBRT_KV_DEFAULT;
        lbrt_session *s = NULL, *plain = NULL;
        LB_CHECK(lbrt_session_create(m, &so, &s, &err) == LBRT_OK, "%s", err.text);
        so.progress = NULL;
        LB_CHECK(lbrt_session_create(m, &so, &plain, &err) == LBRT_OK, "%s", err.text);
        LB_CHECK(lbrt_feed(s, ids, 100) == LBRT_OK && f.calls >= 4 && !f.falls && !f.changes && f.last == 100 && f.total == 100, "%llu calls",
                 (unsigned long long)f.calls);
        const uint64_t all = f.calls;
        LB_CHECK(lbrt_feed(s, ids, 1) == LBRT_OK && f.calls == all, "a single token is told");
        for (uint64_t stop = 1; stop <= all; stop++) {
            LB_CHECK(lbrt_rewind(s, 70) == LBRT_OK, "rewind");
            f = (host_progress){ .stop_at = stop };
            LB_CHECK(lbrt_feed(s, ids, 100) == LBRT_CANCELLED && lbrt_session_length(s) == 70 && !lbrt_logits(s, 0), "stop %llu: length %zu",
                     (unsigned long long)stop, lbrt_session_length(s));
        }
        f = (host_progress){ .stop_at = 0 };
        LB_CHECK(lbrt_feed(s, ids + 70, 30) == LBRT_OK && lbrt_feed(plain, ids, 100) == LBRT_OK, "again: %s", lbrt_session_error(s));
        LB_CHECK(memcmp(lbrt_logits(s, 0), lbrt_logits(plain, 0), 288 * sizeof(float)) == 0, "other logits after cancelling");
        lbrt_session_free(plain);
        lbrt_session_free(s);
    }
    lbrt_model_close(m);
}

/* ---- the host's threads ---- */

typedef struct host_pool {
    size_t calls, most;
    lbrt_task_fn task;
    void *context;
    unsigned kind; /* 0 in order, 1 backwards, 2 nothing, 3 every second, 4 threads */
} host_pool;

typedef struct host_thread {
    const host_pool *pool;
    size_t i;
} host_thread;

static void *host_thread_main(void *arg)
{
    const host_thread *t = (const host_thread *)arg;
    t->pool->task(t->pool->context, t->i);
    return NULL;
}

static void host_parallel(void *user, size_t n, lbrt_task_fn task, void *context)
{
    host_pool *p = (host_pool *)user;
    p->calls++;
    p->most = n > p->most ? n : p->most;
    p->task = task;
    p->context = context;
    for (size_t i = 0; i < n && p->kind != 2 && p->kind != 4; i++) {
        if (p->kind != 3 || i % 2) {
            task(context, p->kind == 1 ? n - 1 - i : i);
        }
    }
    pthread_t threads[8];
    host_thread args[8];
    for (size_t i = 0; i < n && p->kind == 4; i++) {
        args[i] = (host_thread){ p, i };
        LB_CHECK(i < 8 && pthread_create(&threads[i], NULL, host_thread_main, &args[i]) == 0, "thread");
    }
    for (size_t i = 0; i < n && p->kind == 4; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void host_threads(const lbrt_model *m, const float *want)
{
    lb_test_case("the host's threads, whatever they do: the same bits");
    for (unsigned kind = 0; kind < 5; kind++) {
        host_pool pool = { .kind = kind };
        lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
        o.n_context = 300;
        o.n_threads = 5;
        o.parallel = host_parallel;
        o.parallel_user = &pool;
        float logits[288];
        if (host_logits(m, &o, logits, 288)) {
            LB_CHECK(memcmp(logits, want, sizeof logits) == 0, "kind %u: other logits", kind);
            LB_CHECK(pool.calls > 10 && pool.most > 1 && pool.most <= 5, "%zu calls, %zu tasks", pool.calls, pool.most);
        }
    }
}

/* ---- logits ---- */

typedef struct host_rule {
    lbrt_token only_from, only_to;
    bool stop;
    size_t calls, tokens;
    lbrt_token last;
    const lbrt_session *s;
    lbrt_status nested;
} host_rule;

static bool host_constrain(void *user, float *logits, size_t n_vocab, const lbrt_token *tokens, size_t n_tokens)
{
    host_rule *r = (host_rule *)user;
    r->calls++;
    r->tokens = n_tokens;
    r->last = n_tokens ? tokens[n_tokens - 1] : -100;
    lbrt_token out;
    r->nested = lbrt_sample((lbrt_session *)(uintptr_t)r->s, NULL, &out);
    for (size_t i = 0; i < n_vocab; i++) {
        if ((lbrt_token)i < r->only_from || (lbrt_token)i >= r->only_to) {
            logits[i] = -INFINITY;
        }
    }
    return !r->stop;
}

static bool host_digits(void *user, lbrt_token token, const char *text, size_t bytes)
{
    (void)text;
    (void)bytes;
    const host_rule *r = (const host_rule *)user;
    return LB_CHECK(token >= r->only_from && token < r->only_to, "token %d was forbidden", (int)token);
}

static void host_hook(const lbrt_model *m)
{
    lb_test_case("a logits function: constrained sampling and generation");
    lbrt_session *s = NULL;
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = 64;
    lbrt_token ids[8], out = -1;
    sm_tokens(ids, 8, 288, 3);
    for (unsigned batch = 0; batch < 2; batch++) { /* with a batch of 1 the copy has memory of its own */
        o.n_batch = batch ? 0 : 1;
        LB_CHECK(lbrt_session_create(m, &o, &s, NULL) == LBRT_OK && lbrt_feed(s, ids, 8) == LBRT_OK, "a session");
        float before[288];
        memcpy(before, lbrt_logits(s, 0), sizeof before);
        host_rule rule = { .only_from = 40, .only_to = 50, .s = s };
        lbrt_sampling how = LBRT_SAMPLING_INIT;
        how.logits = host_constrain;
        how.logits_user = &rule;
        lbrt_token best = 40;
        for (lbrt_token i = 41; i < 50; i++) {
            best = before[i] > before[best] ? i : best;
        }
        LB_CHECK(lbrt_sample(s, &how, &out) == LBRT_OK && out == best, "%d instead of %d", (int)out, (int)best);
        LB_CHECK(rule.calls == 1 && rule.tokens == 8 && rule.last == ids[7] && rule.nested == LBRT_ERR_STATE, "what it was told");
        LB_CHECK(memcmp(before, lbrt_logits(s, 0), sizeof before) == 0, "it changed the session's own logits");
        how.temperature = 1.0f;
        for (uint64_t seed = 0; seed < 50; seed++) {
            how.seed = seed;
            LB_CHECK(lbrt_sample(s, &how, &out) == LBRT_OK && out >= 40 && out < 50, "%d", (int)out);
        }
        rule.stop = true;
        LB_CHECK(lbrt_sample(s, &how, &out) == LBRT_CANCELLED && lbrt_session_error(s)[0] && lbrt_logits(s, 0), "a no");
        rule.stop = false;
        rule.only_to = 40;
        LB_CHECK(lbrt_sample(s, &how, &out) == LBRT_ERR_NUMERIC, "nothing is allowed");
        rule.only_to = 44;
        lbrt_generation g = LBRT_GENERATION_INIT;
        g.sampling = &how;
        g.max_tokens = 10;
        LB_CHECK(lbrt_generate(s, NULL, 0, &g, host_digits, &rule) == LBRT_OK && g.n_generated == 10, "%zu: %s", g.n_generated,
                 lbrt_session_error(s));
        rule.stop = true;
        LB_CHECK(lbrt_generate(s, NULL, 0, &g, host_digits, &rule) == LBRT_CANCELLED && g.n_generated == 0 && lbrt_session_length(s) == 18,
                 "generation goes on after a no");
        lbrt_session_free(s);
    }
}

/* ---- hidden states and embeddings ---- */

static void host_hidden(const lbrt_model *m, const float *head)
{
    lb_test_case("hidden states: what the head reads, in any split of the prompt");
    enum { N = 20, KEEP = 9 };
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = 64;
    o.n_hidden = KEEP;
    o.n_logits = 3;
    lbrt_token ids[N];
    sm_tokens(ids, N, 288, 8);
    float first[KEEP][40];
    for (unsigned round = 0; round < 3; round++) {
        o.n_batch = round == 0 ? 0 : round == 1 ? 7 : 1;
        lbrt_session *s = NULL;
        LB_CHECK(lbrt_session_create(m, &o, &s, NULL) == LBRT_OK && !lbrt_hidden(s, 0) && lbrt_feed(s, ids, N) == LBRT_OK, "a session");
        LB_CHECK(lbrt_hidden(s, KEEP - 1) && !lbrt_hidden(s, KEEP), "positions");
        for (size_t back = 0; back < KEEP; back++) {
            const float *h = lbrt_hidden(s, back);
            if (round == 0) {
                memcpy(first[back], h, sizeof first[back]);
            }
            LB_CHECK(memcmp(first[back], h, sizeof first[back]) == 0, "round %u: other bits %zu back", round, back);
        }
        /* The head is f32: its products are plain sums, but for their order. */
        for (size_t back = 0; back < 3; back++) {
            for (size_t v = 0; v < 288; v += 7) {
                double sum = 0;
                for (size_t c = 0; c < 40; c++) {
                    sum += (double)head[v * 40 + c] * (double)lbrt_hidden(s, back)[c];
                }
                LB_CHECK(fabs(sum - (double)lbrt_logits(s, back)[v]) < 1e-4, "logit %zu: %g and %g", v, sum, (double)lbrt_logits(s, back)[v]);
            }
        }
        LB_CHECK(lbrt_feed(s, ids, 1) == LBRT_OK && lbrt_hidden(s, 0) && !lbrt_hidden(s, 1), "one token, one state");
        LB_CHECK(lbrt_rewind(s, 5) == LBRT_OK && !lbrt_hidden(s, 0), "gone after a rewind");
        lbrt_session_free(s);
    }
}

static lbrt_session *host_session(const lbrt_model *m, lbrt_kv_format f, uint32_t n_embeddings)
{
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = 400;
    o.n_embeddings = n_embeddings;
    o.kv_key = o.kv_value = f;
    o.n_threads = 2;
    lbrt_session *s = NULL;
    lbrt_error err = { LBRT_OK, "" };
    LB_CHECK(lbrt_session_create(m, &o, &s, &err) == LBRT_OK, "%s", err.text);
    return s;
}

static void host_same(const lbrt_session *a, const lbrt_session *b, const char *when)
{
    LB_CHECK(lbrt_session_length(a) == lbrt_session_length(b), "%s: %zu and %zu tokens", when, lbrt_session_length(a), lbrt_session_length(b));
    LB_CHECK(lbrt_logits(a, 0) && lbrt_logits(b, 0) && memcmp(lbrt_logits(a, 0), lbrt_logits(b, 0), 288 * sizeof(float)) == 0,
             "%s: other logits", when);
}

/* Tokens 10..29 and 140..149 of 170 as their embeddings: everything is as with tokens. */
static void host_embeddings(const lbrt_model *m, const float *embed, lbrt_kv_format f)
{
    lb_test_case("embeddings in place of tokens, KV format %d", (int)f);
    enum { N = 170 };
    lbrt_token ids[N];
    sm_tokens(ids, N, 288, 21);
    static float rows[N][40];
    for (size_t i = 0; i < N; i++) {
        memcpy(rows[i], embed + (size_t)ids[i] * 40, sizeof rows[i]);
    }
    lbrt_session *t = host_session(m, f, 0), *e = host_session(m, f, 30), *other = host_session(m, f, 30), *small = host_session(m, f, 29);
    LB_CHECK(lbrt_feed(t, ids, N) == LBRT_OK, "tokens");
    LB_CHECK(lbrt_feed(e, ids, 10) == LBRT_OK && lbrt_feed_embeddings(e, rows[10], 20) == LBRT_OK && lbrt_feed(e, ids + 30, 110) == LBRT_OK &&
                 lbrt_feed_embeddings(e, rows[140], 10) == LBRT_OK && lbrt_feed(e, ids + 150, 20) == LBRT_OK,
             "embeddings: %s", lbrt_session_error(e));
    host_same(t, e, "fed");
    LB_CHECK(lbrt_feed_embeddings(e, rows[0], 1) == LBRT_ERR_STATE && strstr(lbrt_session_error(e), "n_embeddings"), "too many");
    LB_CHECK(lbrt_feed_embeddings(t, rows[0], 1) == LBRT_ERR_STATE, "no room at all");
    LB_CHECK(lbrt_feed_embeddings(e, NULL, 1) == LBRT_ERR_ARGUMENT && lbrt_feed_embeddings(e, rows[0], 0) == LBRT_ERR_ARGUMENT, "nothing");
    host_same(t, e, "after refusals");

    /* fork and save take the embeddings along, into a session that has room for them */
    LB_CHECK(lbrt_fork(other, e, N) == LBRT_OK, "%s", lbrt_session_error(other));
    host_same(t, other, "forked");
    LB_CHECK(lbrt_fork(small, e, N) == LBRT_ERR_CONTEXT_FULL && lbrt_fork(small, e, 149) == LBRT_OK, "%s", lbrt_session_error(small));
    const size_t bytes = lbrt_state_bytes(e);
    unsigned char *state = malloc(bytes), *again = malloc(bytes);
    size_t n = 0;
    LB_CHECK(lbrt_state_save(e, state, bytes, &n) == LBRT_OK && n == bytes, "saved");
    LB_CHECK(lbrt_rewind(other, 3) == LBRT_OK && lbrt_state_restore(other, state, bytes) == LBRT_OK, "%s", lbrt_session_error(other));
    host_same(t, other, "restored");
    LB_CHECK(lbrt_state_save(other, again, bytes, &n) == LBRT_OK && n == bytes && memcmp(state, again, bytes) == 0, "another state");
    LB_CHECK(lbrt_state_restore(small, state, bytes) == LBRT_ERR_CONTEXT_FULL && lbrt_session_length(small) == 149, "no room to restore");
    free(state);
    free(again);

    /* Into blocks that have embeddings and must be computed again from them */
    static const size_t lengths[] = { 165, 149, 145, 130, 35, 25, 15, 10, 4 };
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const size_t l = lengths[i];
        LB_CHECK(lbrt_rewind(t, l) == LBRT_OK && lbrt_rewind(other, l) == LBRT_OK && lbrt_fork(e, other, l) == LBRT_OK, "to %zu", l);
        LB_CHECK(lbrt_feed(t, ids, 2) == LBRT_OK && lbrt_feed(other, ids, 2) == LBRT_OK && lbrt_feed(e, ids, 2) == LBRT_OK, "on from %zu", l);
        host_same(t, other, "rewound");
        host_same(t, e, "forked shorter");
        LB_CHECK(lbrt_rewind(t, l) == LBRT_OK && lbrt_rewind(other, l) == LBRT_OK, "back to %zu", l);
    }
    LB_CHECK(lbrt_rewind(other, 0) == LBRT_OK && lbrt_feed_embeddings(other, rows[0], 30) == LBRT_OK, "room again after a rewind: %s",
             lbrt_session_error(other));

    /* Cancelled in the middle: nothing of it counts */
    lbrt_cancel(other);
    LB_CHECK(lbrt_rewind(other, 20) == LBRT_OK && lbrt_feed_embeddings(other, rows[20], 5) == LBRT_CANCELLED && lbrt_session_length(other) == 20,
             "cancelled");
    LB_CHECK(lbrt_feed_embeddings(other, rows[20], 10) == LBRT_OK && lbrt_rewind(t, 0) == LBRT_OK && lbrt_feed(t, ids, 30) == LBRT_OK, "and again");
    host_same(t, other, "after a cancellation");
    rows[0][7] = NAN;
    LB_CHECK(lbrt_rewind(other, 0) == LBRT_OK && lbrt_feed_embeddings(other, rows[0], 1) == LBRT_ERR_ARGUMENT && lbrt_session_length(other) == 0,
             "a number that is not finite");
    lbrt_session *all[] = { t, e, other, small };
    for (size_t i = 0; i < 4; i++) {
        lbrt_session_free(all[i]);
    }
}

/* A tensor of the source as floats. */
static float *host_tensor(const char *name)
{
    lb_source *source = sm_source("micro");
    float *out = NULL;
    for (size_t i = 0; i < source->n_tensors; i++) {
        const lb_source_tensor *t = &source->tensors[i];
        if (strcmp(t->name, name) == 0) {
            out = malloc(t->rows * t->cols * sizeof *out);
            LB_CHECK(source->read_rows(source, i, 0, t->rows, out, NULL) == LBRT_OK, "%s", name);
        }
    }
    source->close(source);
    return out;
}

static void host_log(void *user, const char *line)
{
    lb_format((char *)user, 256, "%s", line);
}

void test_host(void)
{
    size_t bytes = 0;
    unsigned char *data = sm_load(sm_file("micro", "q4"), &bytes);
    lbrt_model *m = sm_model("micro", "q4", NULL), *plain = sm_model("micro", "f32", NULL);
    float want[288];
    lb_test_case("a model by its path");
    if (!data || !m || !plain || !host_logits(m, NULL, want, 288)) {
        return;
    }
    host_sources(data, bytes, want);
    host_refusals(data, bytes);
    host_plan_reads_little(data, bytes);
    host_progresses(data, bytes);
    host_threads(m, want);
    host_hook(m);
    float *head = host_tensor("out_head"), *embed = host_tensor("tok_embed");
    host_hidden(plain, head);
    for (int f = LBRT_KV_F32; f <= LBRT_KV_Q2; f++) {
        host_embeddings(plain, embed, (lbrt_kv_format)f);
    }
    free(head);
    free(embed);
    lbrt_model_close(m);
    lbrt_model_close(plain);

    lb_test_case("one line to the host's log");
    char line[256] = "";
    lbrt_model_options o = LBRT_MODEL_OPTIONS_INIT;
    o.log = host_log;
    o.log_user = line;
    LB_CHECK(lbrt_model_open(sm_file("micro", "q4"), &o, &m, NULL) == LBRT_OK && strstr(line, "micro") && strstr(line, "mapped"), "'%s'", line);
    lbrt_model_close(m);
    free(data);
}
