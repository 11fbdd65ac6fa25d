/*
 * Sessions that share pages of their caches. A fork takes over the other session's pages instead of copying them, and leaves its own as
 * spare ones with the pages that are now shared: whoever writes to a shared page first takes a spare and copies the page there. So every
 * session always stands for n_pages pages, nothing is ever allocated, and nothing can fail. A page that lies in the slab of a session that
 * was freed keeps that slab alive.
 *
 * The lock guards `users` and `spare` of all pages of a model's sessions. It is taken by forks, by freeing, and by the first write to a page
 * that others share; a page with one user belongs to that session, which reads and writes it without.
 */
#include "lb_kv.h"

static lb_kv_page *take_spare(lb_kv_page *p)
{
    lb_kv_page *spare = p->spare;
    p->spare = spare->next;
    spare->next = NULL;
    return spare;
}

/* Ends a session's use of p; the page that is the session's now. */
static lb_kv_page *give_up(lb_kv_page *p)
{
    if (atomic_load_explicit(&p->users, memory_order_relaxed) == 1) {
        return p;
    }
    lb_kv_page *mine = take_spare(p);
    atomic_fetch_sub_explicit(&p->users, 1, memory_order_release);
    return mine;
}

void lb_kv_own(lb_kv *kv, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (atomic_load_explicit(&kv->pages[i]->users, memory_order_acquire) == 1) {
            continue;
        }
        lb_lock_take(kv->share);
        lb_kv_page *shared = kv->pages[i];
        if (atomic_load_explicit(&shared->users, memory_order_relaxed) > 1) {
            lb_kv_page *mine = take_spare(shared);
            memcpy(mine->data, shared->data, i == kv->n_chunks ? kv->sink_bytes : kv->page_bytes[i > kv->n_chunks]);
            atomic_store_explicit(&mine->users, 1, memory_order_relaxed);
            atomic_fetch_sub_explicit(&shared->users, 1, memory_order_release); /* the last one left may write now */
            kv->pages[i] = mine;
        }
        lb_lock_release(kv->share);
    }
}

void lb_kv_fork(lb_kv *kv, const lb_kv *from, size_t n)
{
    const size_t faint = n ? from->faint : 0, chunks = (n + LB_KV_CHUNK - 1) / LB_KV_CHUNK - faint;
    const bool open = kv->has_codes && from->open_block == n / LB_KV_BLOCK;
    lb_lock_take(kv->share);
    for (size_t i = 0; i < kv->n_pages; i++) {
        const size_t behind = i - kv->n_chunks; /* 0: the first block's page; then the faint ones */
        if (i < kv->n_chunks ? i >= chunks : behind > faint || n == 0) {
            continue;
        }
        lb_kv_page *theirs = from->pages[i < kv->n_chunks ? i : from->n_chunks + behind], *mine = kv->pages[i];
        if (theirs != mine) {
            mine = give_up(mine);
            mine->next = theirs->spare;
            theirs->spare = mine;
            atomic_fetch_add_explicit(&theirs->users, 1, memory_order_relaxed);
            kv->pages[i] = theirs;
        }
    }
    lb_lock_release(kv->share);
    kv->low = from->low;
    kv->faint = faint;
    kv->open_block = open ? from->open_block : SIZE_MAX;
    for (unsigned i = 0; i < LB_KV_SIDES && open; i++) {
        if (kv->side[i].room->bits) {
            memcpy(kv->side[i].open, from->side[i].open, kv->side[i].n_heads * kv->side[i].block_bytes);
        }
    }
}

/* One thing less that lives there. */
static void leave_home(lb_kv_home *home)
{
    if (--home->live == 0) {
        const lbrt_allocator a = home->allocator;
        lb_free(&a, home->slab, home->bytes);
    }
}

void lb_kv_leave(lb_kv *kv)
{
    lb_lock *share = kv->share;
    lb_kv_home *home = kv->home;
    lb_lock_take(share);
    for (size_t i = 0; i < kv->n_pages; i++) {
        leave_home(give_up(kv->pages[i])->home); /* never the last of its own slab, in which kv is */
    }
    leave_home(home);
    lb_lock_release(share);
}
