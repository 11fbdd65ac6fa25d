/*
 * A pool of worker threads that belongs to one session (or one conversion). The caller works too, so a pool of n threads
 * starts n - 1. Each thread begins with a share of the items and then helps others; idle workers spin for some microseconds and then sleep.
 */
#ifndef LB_THREADS_H
#define LB_THREADS_H

#include "lb_base.h"

typedef struct lb_pool lb_pool;

enum { LB_MAX_THREADS = 256 };

/* Bytes of a pool of n threads, for a caller that places it in memory of its own. */
size_t lb_pool_bytes(unsigned n_threads);

/* Starts the workers in `memory` (64-byte aligned). On failure nothing is running. */
lbrt_status lb_pool_start(lb_pool *memory, unsigned n_threads, lbrt_error *err);
void lb_pool_stop(lb_pool *pool);

/* A pool without threads, whose work is done by the host's: at most n_threads tasks at a time. Cannot fail. */
void lb_pool_host(lb_pool *memory, unsigned n_threads, lbrt_parallel_fn parallel, void *user);
unsigned lb_pool_threads(const lb_pool *pool);

/* Item i of a job, on thread `thread` of 0..n-1 (0 is the caller). */
typedef void lb_task_fn(void *context, size_t item, unsigned thread);

/* Runs items 0..n_items-1 (fewer than 2^32), each once, on whoever is free, and returns when all are done. */
void lb_pool_run(lb_pool *pool, lb_task_fn *fn, void *context, size_t n_items);

/*
 * A hint: the next job's items will read these bytes, in order. Workers that have nothing to do bring the beginning of their share into their
 * caches meanwhile, so that the memory bus is not idle while the caller does what only one thread can do. The memory need not even exist. A later hint replaces it.
 */
void lb_pool_ahead(lb_pool *pool, const void *data, size_t bytes);

/* A mutex, for what sessions of a model share. NULL if there is no memory. */
typedef struct lb_lock lb_lock;
lb_lock *lb_lock_make(const lbrt_allocator *a);
void lb_lock_free(const lbrt_allocator *a, lb_lock *lock);
void lb_lock_take(lb_lock *lock);
void lb_lock_release(lb_lock *lock);

#endif /* LB_THREADS_H */
