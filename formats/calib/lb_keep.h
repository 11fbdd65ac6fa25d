/*
 * An allocator that keeps large blocks when they are freed, for the next one of the same size: each layer of a model needs the same again,
 * and memory that comes fresh from the system is cleared first, which takes longer than what much of it is used for. A large block of a
 * size that is not kept lets all others go first, so that large blocks never take more memory than they have been in use at once.
 */
#ifndef LB_KEEP_H
#define LB_KEEP_H

#include "../../runtime/base/lb_base.h"

enum { LB_KEEP_BLOCKS = 16, LB_KEEP_FROM = 256 << 20 /* bytes: smaller blocks are not kept */ };

typedef struct lb_keep {
    lbrt_allocator base;
    size_t from;
    struct {
        void *p;
        size_t bytes, align;
    } block[LB_KEEP_BLOCKS];
} lb_keep;

/* Valid for as long as *keep, which it points to. Of use to one thread at a time, as every allocator here. */
lbrt_allocator lb_keep_open(lb_keep *keep, const lbrt_allocator *base, size_t from);

/* Gives back what is kept. What is still in use must have been freed. */
void lb_keep_close(lb_keep *keep);

#endif /* LB_KEEP_H */
