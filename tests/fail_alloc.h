/*
 * Memory that fails: an allocator that refuses the n-th allocation, for every n, and sees to it that memory is given back with the size and
 * alignment that it was taken with, and by the thread that makes the call.
 */
#ifndef FAIL_ALLOC_H
#define FAIL_ALLOC_H

#include "../include/lbrt.h"

typedef struct allo_case {
    const char *name, *path;
    lbrt_status (*run)(const struct allo_case *c, lbrt_error *err);
} allo_case;

extern const lbrt_allocator allo_allocator;

/*
 * Runs a case without a failure, then with the n-th allocation failing alone, and with all after it, for every n: it must then say
 * MEMORY with a sentence, and leave nothing.
 */
void allo_run(const allo_case *c);

/* Around objects that outlive a case: nothing fails at the beginning, nothing may be alive at the end. */
void allo_begin(void);
void allo_end(void);

/* As allo_run, for something that may not allocate: every allocation fails, and none may be asked for. */
void allo_none(const allo_case *c);

#endif /* FAIL_ALLOC_H */
