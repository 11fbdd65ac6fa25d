/*
 * A slab that is laid out twice by the same code: first with no memory, to learn its size, then for real.
 * Every piece is 64-byte aligned.
 */
#ifndef LB_ARENA_H
#define LB_ARENA_H

#include "lb_base.h"

typedef struct lb_arena {
    unsigned char *base; /* NULL while counting */
    size_t bytes;
    bool overflow;
} lb_arena;

/* n * each bytes: their address, or NULL while counting. */
static inline void *lb_arena_take(lb_arena *a, size_t n, size_t each)
{
    size_t bytes, end;
    if (!lb_mul_size(n, each, &bytes) || !lb_add_size(bytes, 63, &bytes) ||
        !lb_add_size(a->bytes, bytes & ~(size_t)63, &end)) {
        a->overflow = true;
        return NULL;
    }
    void *p = a->base ? a->base + a->bytes : NULL;
    a->bytes = end;
    return p;
}

#endif /* LB_ARENA_H */
