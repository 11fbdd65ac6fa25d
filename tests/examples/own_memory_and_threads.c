/*
 * A host that owns everything: lbrt takes memory from a block that was set aside beforehand, sized by lbrt_model_plan, and computes in
 * the host's threads. Nothing else is allocated and no thread is started by lbrt.
 *
 *     own_memory_and_threads MODEL.lbrt
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lbrt.h"

/* ---- memory: a stack, of which only the top can be given back ---- */

typedef struct memory {
    unsigned char *block;
    size_t used, bytes;
} memory;

static void *take(void *user, size_t bytes, size_t align)
{
    memory *m = (memory *)user;
    const size_t at = (m->used + align - 1) / align * align;
    if (at > m->bytes || bytes > m->bytes - at) {
        return NULL; /* lbrt reports LBRT_ERR_MEMORY */
    }
    m->used = at + bytes;
    return m->block + at;
}

static void give(void *user, void *ptr, size_t bytes, size_t align)
{
    memory *m = (memory *)user;
    (void)align;
    if ((unsigned char *)ptr + bytes == m->block + m->used) {
        m->used = (size_t)((unsigned char *)ptr - m->block);
    }
}

/* ---- threads: a pool that runs one job at a time ---- */

enum { N_THREADS = 3 }; /* besides the caller */

typedef struct pool {
    pthread_t threads[N_THREADS];
    pthread_mutex_t mutex;
    pthread_cond_t work, done;
    lbrt_task_fn task;
    void *context;
    size_t n, job, inside; /* under the mutex */
    atomic_size_t next;
    bool stop;
    unsigned long jobs;
} pool;

static void run_items(pool *p)
{
    for (size_t i; (i = atomic_fetch_add(&p->next, 1)) < p->n;) {
        p->task(p->context, i);
    }
}

static void *thread_main(void *arg)
{
    pool *p = (pool *)arg;
    pthread_mutex_lock(&p->mutex);
    for (size_t seen = 0; !p->stop;) {
        if (p->job == seen) {
            pthread_cond_wait(&p->work, &p->mutex);
            continue;
        }
        seen = p->job;
        p->inside++;
        pthread_mutex_unlock(&p->mutex);
        run_items(p);
        pthread_mutex_lock(&p->mutex);
        if (--p->inside == 0) {
            pthread_cond_signal(&p->done);
        }
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

/* What lbrt calls: every item once, all done on return. */
static void parallel(void *user, size_t n, lbrt_task_fn task, void *context)
{
    pool *p = (pool *)user;
    pthread_mutex_lock(&p->mutex);
    while (p->inside) { /* a thread that woke up late for the job before */
        pthread_cond_wait(&p->done, &p->mutex);
    }
    p->task = task;
    p->context = context;
    p->n = n;
    p->job++;
    p->jobs++;
    atomic_store(&p->next, 0);
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->mutex);
    run_items(p);
    pthread_mutex_lock(&p->mutex);
    while (p->inside) {
        pthread_cond_wait(&p->done, &p->mutex);
    }
    pthread_mutex_unlock(&p->mutex);
}

static bool print_token(void *user, lbrt_token token, const char *text, size_t bytes)
{
    (void)user, (void)token;
    return fwrite(text, 1, bytes, stdout) == bytes;
}

int main(int argc, char **argv)
{
    static pool threads = { .mutex = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER };
    lbrt_error err = { LBRT_OK, "usage: own_memory_and_threads MODEL.lbrt" };
    lbrt_source source = LBRT_SOURCE_INIT;
    lbrt_model_options mo = LBRT_MODEL_OPTIONS_INIT;
    lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
    lbrt_memory_plan plan = LBRT_MEMORY_PLAN_INIT;
    source.path = argc > 1 ? argv[1] : NULL;
    so.n_context = 256;
    so.n_threads = N_THREADS + 1;
    so.parallel = parallel;
    so.parallel_user = &threads;
    if (!source.path || lbrt_model_plan(&source, &mo, &so, &plan, &err) != LBRT_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }

    /* Exactly what the plan says, plus what aligning a few blocks may cost */
    memory mine = { .bytes = (size_t)(plan.opening_bytes + plan.session_bytes) + 65536 };
    mine.block = (unsigned char *)malloc(mine.bytes);
    const lbrt_allocator allocator = { take, give, &mine };
    mo.allocator = &allocator; /* sessions take theirs from the model's */
    unsigned started = 0;
    while (mine.block && started < N_THREADS && pthread_create(&threads.threads[started], NULL, thread_main, &threads) == 0) {
        started++;
    }

    lbrt_model *model = NULL;
    lbrt_session *session = NULL;
    lbrt_token prompt[64];
    size_t n = 0;
    lbrt_generation how = LBRT_GENERATION_INIT;
    how.max_tokens = 32;
    bool ok = mine.block && lbrt_model_open_source(&source, &mo, &model, &err) == LBRT_OK &&
              lbrt_session_create(model, &so, &session, &err) == LBRT_OK &&
              lbrt_tokenize(model, "Once upon a time", 16, LBRT_TOKENIZE_BOS, prompt, 64, &n, &err) == LBRT_OK &&
              lbrt_generate(session, prompt, n, &how, print_token, NULL) == LBRT_OK;
    puts(ok ? "" : session ? lbrt_session_error(session) : err.text);
    fprintf(stderr, "%zu of %zu bytes in use; %lu jobs in the host's threads\n", mine.used, mine.bytes, threads.jobs);
    ok = ok && threads.jobs > 0;

    lbrt_session_free(session);
    lbrt_model_close(model);
    pthread_mutex_lock(&threads.mutex);
    threads.stop = true;
    pthread_cond_broadcast(&threads.work);
    pthread_mutex_unlock(&threads.mutex);
    while (started > 0) {
        pthread_join(threads.threads[--started], NULL);
    }
    free(mine.block);
    return ok ? 0 : 1;
}
