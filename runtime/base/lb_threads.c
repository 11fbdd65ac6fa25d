/*
 * One job at a time. `gate` holds the job's number (upper 32 bits), whether it is open (bit 31) and how many workers are
 * inside (lower bits). A worker enters only while the job is open; the caller closes it when no item is left and then waits
 * for those inside. A worker that is asleep, or that the system has taken off its core, is not waited for unless
 * it holds an item: that is what keeps decoding alive when somebody else takes a core.
 */
#include "lb_threads.h"

#include <stdatomic.h>

#if defined(LBRT_NO_PTHREADS)
#define LB_WORKERS 0 /* lb_cpu_count is 1, so that nobody asks for more threads than the caller */
#else
#define LB_WORKERS 1
#include <pthread.h>
#endif

#if defined(__x86_64__) || defined(__i386__)
#define LB_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define LB_PAUSE() __asm__ __volatile__("yield")
#else
#define LB_PAUSE() ((void)0)
#endif

#define GATE_OPEN (1ull << 31)
#define GATE_INSIDE (GATE_OPEN - 1)

/* Around 50 microseconds: longer than the serial work between two matrix products of a decode step. */
enum { SPIN_LIMIT = 2000 };

/*
 * A job's items are dealt out in shares: thread i begins with the i-th n-th part of them, so that what it reads is one stream of memory
 * (a stream's beginning costs more than a microsecond, until prefetchers follow it). Who has none left takes the back half of the
 * longest share. A thread's share has its first item in the lower 32 bits and its end in the upper ones.
 */
typedef struct lb_worker {
    _Atomic uint64_t share; /* of thread i, in workers[i] */
    char pad[56];
    lb_pool *pool;
#if LB_WORKERS
    pthread_t thread;
#endif
    unsigned index;
    char pad2[36];
} lb_worker;

struct lb_pool {
    _Atomic uint64_t gate;
    char pad0[56];
    _Atomic uintptr_t ahead; /* what is to be prefetched */
    _Atomic size_t ahead_bytes;
    _Atomic unsigned ahead_round;
    char pad1[40];
    lb_task_fn *fn;
    void *context;
    size_t n_items;
    unsigned n_threads, n_started;
    lbrt_parallel_fn parallel; /* the host's threads; NULL: workers */
    void *parallel_user;
    _Atomic bool stop;
    _Atomic unsigned sleeping;        /* workers in cond_wait, or about to be */
    _Atomic bool caller_sleeping;
#if LB_WORKERS
    pthread_mutex_t mutex;
    pthread_cond_t wake, done;
#endif
    lb_worker workers[];
};

size_t lb_pool_bytes(unsigned n_threads)
{
    return lb_round_up(sizeof(lb_pool) + n_threads * sizeof(lb_worker), 64);
}

unsigned lb_pool_threads(const lb_pool *pool)
{
    return pool->n_threads;
}

static uint32_t share_first(uint64_t share)
{
    return (uint32_t)share;
}

static uint32_t share_end(uint64_t share)
{
    return (uint32_t)(share >> 32);
}

static size_t share_items(uint64_t share)
{
    return share_end(share) - share_first(share);
}

static void deal_out(lb_pool *pool, size_t n_items)
{
    for (size_t i = 0; i < pool->n_threads; i++) {
        const size_t first = n_items * i / pool->n_threads, end = n_items * (i + 1) / pool->n_threads;
        atomic_store_explicit(&pool->workers[i].share, (uint64_t)end << 32 | first, memory_order_relaxed);
    }
}

/* The next item of a thread; false: all have been taken. */
static bool take_item(lb_pool *pool, unsigned thread, size_t *item)
{
    _Atomic uint64_t *own = &pool->workers[thread].share;
    uint64_t share = atomic_load_explicit(own, memory_order_relaxed);
    while (share_items(share) > 0) {
        if (atomic_compare_exchange_weak_explicit(own, &share, share + 1, memory_order_relaxed, memory_order_relaxed)) {
            *item = share_first(share);
            return true;
        }
    }
    for (;;) { /* nobody else writes to an empty share */
        unsigned from = thread;
        uint64_t most = 0;
        for (unsigned i = 0; i < pool->n_threads; i++) {
            share = atomic_load_explicit(&pool->workers[i].share, memory_order_relaxed);
            if (share_items(share) > share_items(most)) {
                most = share;
                from = i;
            }
        }
        if (share_items(most) == 0) {
            return false;
        }
        const uint64_t middle = share_first(most) + share_items(most) / 2;
        if (atomic_compare_exchange_strong_explicit(&pool->workers[from].share, &most, middle << 32 | share_first(most),
                                                    memory_order_relaxed, memory_order_relaxed)) {
            atomic_store_explicit(own, (uint64_t)share_end(most) << 32 | (middle + 1), memory_order_relaxed);
            *item = (size_t)middle;
            return true;
        }
    }
}

static void pool_items(lb_pool *pool, unsigned thread)
{
    size_t item;
    while (take_item(pool, thread, &item)) {
        pool->fn(pool->context, item, thread);
    }
}

#if LB_WORKERS

enum {
    AHEAD_STEP = 2048,
    AHEAD_MOST = 512 * 1024 /* of each thread: what comes in between two jobs, and fits a second-level cache */
};

/* What a worker prefetches while it waits */
typedef struct worker_hint {
    unsigned round;
    uintptr_t at, end;
} worker_hint;

/* Prefetches a piece of the worker's share in the next job. False if there is nothing. A torn hint does no harm: prefetching has no effect. */
static bool worker_ahead(lb_pool *pool, unsigned index, worker_hint *h)
{
    const unsigned round = atomic_load_explicit(&pool->ahead_round, memory_order_acquire);
    if (h->round != round) {
        const size_t share = atomic_load_explicit(&pool->ahead_bytes, memory_order_relaxed) / pool->n_threads;
        h->round = round;
        h->at = (atomic_load_explicit(&pool->ahead, memory_order_relaxed) + index * share) & ~(uintptr_t)63;
        h->end = h->at + lb_min(share, AHEAD_MOST);
    }
    if (h->at >= h->end) {
        return false;
    }
    for (const uintptr_t stop = lb_min(h->at + AHEAD_STEP, h->end); h->at < stop; h->at += 64) {
        __builtin_prefetch((const void *)h->at);
    }
    return true;
}

#endif

void lb_pool_ahead(lb_pool *pool, const void *data, size_t bytes)
{
    atomic_store_explicit(&pool->ahead, (uintptr_t)data, memory_order_relaxed);
    atomic_store_explicit(&pool->ahead_bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&pool->ahead_round, 1, memory_order_release);
}

#if LB_WORKERS

static void worker_sleep(lb_pool *pool, uint64_t seen)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleeping, 1);
    while (atomic_load(&pool->gate) >> 32 == seen && !atomic_load(&pool->stop)) {
        pthread_cond_wait(&pool->wake, &pool->mutex);
    }
    atomic_fetch_sub(&pool->sleeping, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *arg)
{
    lb_worker *self = (lb_worker *)arg;
    lb_pool *pool = self->pool;
    uint64_t seen = 0;
    unsigned spins = 0;
    worker_hint hint = { .round = 0 };
    for (;;) {
        if (atomic_load_explicit(&pool->stop, memory_order_relaxed)) {
            return NULL;
        }
        uint64_t gate = atomic_load_explicit(&pool->gate, memory_order_acquire);
        if (gate >> 32 == seen || !(gate & GATE_OPEN)) {
            seen = gate >> 32;
            if (++spins < SPIN_LIMIT) {
                if (!worker_ahead(pool, self->index, &hint)) {
                    LB_PAUSE();
                }
            } else {
                worker_sleep(pool, seen);
                spins = 0;
            }
            continue;
        }
        if (!atomic_compare_exchange_weak(&pool->gate, &gate, gate + 1)) {
            continue;
        }
        pool_items(pool, self->index);
        seen = gate >> 32;
        spins = 0;
        gate = atomic_fetch_sub(&pool->gate, 1) - 1;
        if (!(gate & GATE_OPEN) && !(gate & GATE_INSIDE) && atomic_load(&pool->caller_sleeping)) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->mutex);
        }
    }
}

#endif

/* Task i is thread i: its scratch memory is its own, wherever the host runs it. */
static void host_task(void *context, size_t i)
{
    lb_pool *pool = (lb_pool *)context;
    if (i < pool->n_threads) {
        pool_items(pool, (unsigned)i);
    }
}

void lb_pool_run(lb_pool *pool, lb_task_fn *fn, void *context, size_t n_items)
{
    if (pool->parallel && pool->n_threads > 1 && n_items > 1) {
        pool->fn = fn;
        pool->context = context;
        pool->n_items = n_items;
        deal_out(pool, n_items);
        pool->parallel(pool->parallel_user, lb_min(pool->n_threads, n_items), host_task, pool);
        pool_items(pool, 0); /* what the host left out */
        return;
    }
    if (pool->n_started == 0 || n_items <= 1) {
        for (size_t i = 0; i < n_items; i++) {
            fn(context, i, 0);
        }
        return;
    }
#if LB_WORKERS
    pool->fn = fn;
    pool->context = context;
    pool->n_items = n_items;
    deal_out(pool, n_items);
    uint64_t job = (atomic_load_explicit(&pool->gate, memory_order_relaxed) >> 32) + 1;
    atomic_store(&pool->gate, job << 32 | GATE_OPEN);
    if (atomic_load(&pool->sleeping)) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->mutex);
    }
    pool_items(pool, 0);
    uint64_t gate = atomic_fetch_and(&pool->gate, ~GATE_OPEN);
    for (unsigned spins = 0; gate & GATE_INSIDE; gate = atomic_load(&pool->gate)) {
        if (++spins < SPIN_LIMIT) {
            LB_PAUSE();
            continue;
        }
        pthread_mutex_lock(&pool->mutex);
        (void)atomic_exchange(&pool->caller_sleeping, true); /* as a store the load below passes it where qemu 7 emulates ARM */
        while (atomic_load(&pool->gate) & GATE_INSIDE) {
            pthread_cond_wait(&pool->done, &pool->mutex);
        }
        atomic_store(&pool->caller_sleeping, false);
        pthread_mutex_unlock(&pool->mutex);
    }
#endif
}

void lb_pool_host(lb_pool *pool, unsigned n_threads, lbrt_parallel_fn parallel, void *user)
{
    memset(pool, 0, lb_pool_bytes(n_threads));
    pool->n_threads = n_threads;
    pool->parallel = parallel;
    pool->parallel_user = user;
}

void lb_pool_stop(lb_pool *pool)
{
    if (pool->parallel) {
        return;
    }
#if LB_WORKERS
    atomic_store(&pool->stop, true);
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < pool->n_started; i++) {
        pthread_join(pool->workers[i].thread, NULL);
    }
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
#endif
}

lbrt_status lb_pool_start(lb_pool *pool, unsigned n_threads, lbrt_error *err)
{
    memset(pool, 0, lb_pool_bytes(n_threads));
    pool->n_threads = n_threads;
#if LB_WORKERS
    LB_FAIL_IF(pthread_mutex_init(&pool->mutex, NULL) != 0, err, LBRT_ERR_THREAD, "cannot make a mutex");
    if (pthread_cond_init(&pool->wake, NULL) != 0) {
        pthread_mutex_destroy(&pool->mutex);
        return lb_fail(err, LBRT_ERR_THREAD, "cannot make a condition variable");
    }
    if (pthread_cond_init(&pool->done, NULL) != 0) {
        pthread_cond_destroy(&pool->wake);
        pthread_mutex_destroy(&pool->mutex);
        return lb_fail(err, LBRT_ERR_THREAD, "cannot make a condition variable");
    }
    for (unsigned i = 0; i + 1 < n_threads; i++) {
        pool->workers[i] = (lb_worker){ .pool = pool, .index = i + 1 };
        if (pthread_create(&pool->workers[i].thread, NULL, worker_main, &pool->workers[i]) != 0) {
            lb_pool_stop(pool);
            return lb_fail(err, LBRT_ERR_THREAD, "cannot start thread %u of %u", i + 2, n_threads);
        }
        pool->n_started++;
    }
#else
    LB_FAIL_IF(n_threads > 1, err, LBRT_ERR_THREAD, "this build has no threads");
#endif
    return LBRT_OK;
}

/* Without pthreads there is one thread, and nobody to keep out. */
struct lb_lock {
#if LB_WORKERS
    pthread_mutex_t mutex;
#else
    char none;
#endif
};

lb_lock *lb_lock_make(const lbrt_allocator *a)
{
    lb_lock *lock = (lb_lock *)lb_alloc(a, sizeof *lock);
#if LB_WORKERS
    if (lock && pthread_mutex_init(&lock->mutex, NULL) != 0) {
        lb_free(a, lock, sizeof *lock);
        return NULL;
    }
#endif
    return lock;
}

void lb_lock_free(const lbrt_allocator *a, lb_lock *lock)
{
    if (lock) {
#if LB_WORKERS
        pthread_mutex_destroy(&lock->mutex);
#endif
        lb_free(a, lock, sizeof *lock);
    }
}

void lb_lock_take(lb_lock *lock)
{
#if LB_WORKERS
    pthread_mutex_lock(&lock->mutex);
#else
    (void)lock;
#endif
}

void lb_lock_release(lb_lock *lock)
{
#if LB_WORKERS
    pthread_mutex_unlock(&lock->mutex);
#else
    (void)lock;
#endif
}
