/* Allocators. */
#include "lb_base.h"

#include <stdlib.h>

#include "lb_os.h"

enum { LB_HUGE_PAGE = 2 << 20, LB_HUGE_FROM = 16 << 20 };

static void *malloc_alloc(void *user, size_t bytes, size_t align)
{
    (void)user;
    void *p = NULL;
    if (bytes > SIZE_MAX / 2) { /* nor can it be rounded up */
        return NULL;
    }
    if (bytes >= LB_HUGE_FROM) { /* a cache is read from front to back for every token: large pages spare a third of the time */
        bytes = lb_round_up(bytes, LB_HUGE_PAGE);
        align = LB_HUGE_PAGE;
    }
    if (posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, bytes) != 0) {
        return NULL;
    }
    if (bytes >= LB_HUGE_FROM) {
        lb_memory_huge(p, bytes);
    }
    return p;
}

static void malloc_free(void *user, void *ptr, size_t bytes, size_t align)
{
    (void)user;
    (void)bytes;
    (void)align;
    free(ptr);
}

lbrt_allocator lb_allocator_or_default(const lbrt_allocator *in)
{
    return in && in->alloc && in->free ? *in : (lbrt_allocator){ malloc_alloc, malloc_free, NULL };
}

enum { LB_ALLOC_ALIGN = 64 };

void *lb_alloc(const lbrt_allocator *a, size_t bytes)
{
    return bytes ? a->alloc(a->user, bytes, LB_ALLOC_ALIGN) : NULL;
}

void *lb_alloc_zero(const lbrt_allocator *a, size_t n, size_t each)
{
    size_t bytes;
    if (!lb_mul_size(n, each, &bytes)) {
        return NULL;
    }
    void *p = lb_alloc(a, bytes);
    if (p) {
        memset(p, 0, bytes);
    }
    return p;
}

void lb_free(const lbrt_allocator *a, void *ptr, size_t bytes)
{
    if (ptr) {
        a->free(a->user, ptr, bytes, LB_ALLOC_ALIGN);
    }
}
