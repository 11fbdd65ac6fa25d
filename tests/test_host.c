/*
 * What a host may take into its own hands: where a model's bytes come from, memory planned to the byte, progress and cancellation, its own
 * threads. Numbers in and out: tests/test_host_values.c.
 */
#include <fcntl.h>
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

static void host_log(void *user, const char *line)
{
    lb_format((char *)user, 256, "%s", line);
}

void test_host(void)
{
    size_t bytes = 0;
    unsigned char *data = sm_load(sm_file("micro", "q4"), &bytes);
    lbrt_model *m = sm_model("micro", "q4", NULL);
    float want[288];
    lb_test_case("a model by its path");
    if (!data || !m || !host_logits(m, NULL, want, 288)) {
        return;
    }
    host_sources(data, bytes, want);
    host_refusals(data, bytes);
    host_plan_reads_little(data, bytes);
    host_progresses(data, bytes);
    host_threads(m, want);
    lbrt_model_close(m);

    lb_test_case("one line to the host's log");
    char line[256] = "";
    lbrt_model_options o = LBRT_MODEL_OPTIONS_INIT;
    o.log = host_log;
    o.log_user = line;
    LB_CHECK(lbrt_model_open(sm_file("micro", "q4"), &o, &m, NULL) == LBRT_OK && strstr(line, "micro") && strstr(line, "mapped"), "'%s'", line);
    lbrt_model_close(m);
    free(data);
}
