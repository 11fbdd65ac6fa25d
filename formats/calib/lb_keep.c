#include "lb_keep.h"

static bool keep_release(lb_keep *k)
{
    bool any = false;
    for (size_t i = 0; i < LB_KEEP_BLOCKS; i++) {
        if (k->block[i].p) {
            k->base.free(k->base.user, k->block[i].p, k->block[i].bytes, k->block[i].align);
            k->block[i].p = NULL;
            any = true;
        }
    }
    return any;
}

static void *keep_alloc(void *user, size_t bytes, size_t align)
{
    lb_keep *k = (lb_keep *)user;
    for (size_t i = 0; i < LB_KEEP_BLOCKS && bytes >= k->from; i++) {
        if (k->block[i].p && k->block[i].bytes == bytes && k->block[i].align == align) {
            void *p = k->block[i].p;
            k->block[i].p = NULL;
            return p;
        }
    }
    if (bytes >= k->from) { /* a new size: what is kept may be what is missing */
        (void)keep_release(k);
    }
    void *p = k->base.alloc(k->base.user, bytes, align);
    return p || !keep_release(k) ? p : k->base.alloc(k->base.user, bytes, align);
}

static void keep_free(void *user, void *p, size_t bytes, size_t align)
{
    lb_keep *k = (lb_keep *)user;
    for (size_t i = 0; i < LB_KEEP_BLOCKS && bytes >= k->from; i++) {
        if (!k->block[i].p) {
            k->block[i].p = p;
            k->block[i].bytes = bytes;
            k->block[i].align = align;
            return;
        }
    }
    k->base.free(k->base.user, p, bytes, align);
}

lbrt_allocator lb_keep_open(lb_keep *keep, const lbrt_allocator *base, size_t from)
{
    *keep = (lb_keep){ .base = *base, .from = from };
    return (lbrt_allocator){ keep_alloc, keep_free, keep };
}

void lb_keep_close(lb_keep *keep)
{
    (void)keep_release(keep);
}
