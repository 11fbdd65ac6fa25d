#include "fail_alloc.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lb_test.h"

typedef struct allo_block {
    size_t bytes, align;
    uint64_t magic;
} allo_block;

#define ALLO_MAGIC 0x6c62727420616c6cull

static struct {
    uint64_t count, fail_at;
    bool fail_after, failed;
    size_t alive, blocks;
    unsigned wrong; /* size, alignment, thread, freed twice */
    pthread_t owner;
} allo;

static void *allo_alloc(void *user, size_t bytes, size_t align)
{
    (void)user;
    allo.wrong += !pthread_equal(allo.owner, pthread_self()) || align == 0 || align > 4096 ||
                  (align & (align - 1)) != 0 || bytes == 0;
    allo.count++;
    if (allo.fail_at && (allo.count == allo.fail_at || (allo.fail_after && allo.count > allo.fail_at))) {
        allo.failed = true;
        return NULL;
    }
    void *base = NULL;
    const size_t front = align > sizeof(allo_block) ? align : 64;
    if (bytes > SIZE_MAX - front || posix_memalign(&base, front, front + bytes) != 0) {
        return NULL;
    }
    char *p = (char *)base + front;
    memset(p, 0xcd, bytes);
    const allo_block b = { bytes, align, ALLO_MAGIC };
    memcpy(p - sizeof b, &b, sizeof b);
    allo.alive += bytes;
    allo.blocks++;
    return p;
}

static void allo_free(void *user, void *ptr, size_t bytes, size_t align)
{
    (void)user;
    allo_block b;
    char *p = ptr;
    memcpy(&b, p - sizeof b, sizeof b);
    if (b.magic != ALLO_MAGIC || b.bytes != bytes || b.align != align ||
        !pthread_equal(allo.owner, pthread_self())) {
        allo.wrong++;
        return;
    }
    memset(p - sizeof b, 0xdd, sizeof b + bytes);
    allo.alive -= bytes;
    allo.blocks--;
    free(p - (align > sizeof(allo_block) ? align : 64));
}

const lbrt_allocator allo_allocator = { allo_alloc, allo_free, NULL };

enum { ALLO_EXHAUSTIVE = 400 };

static lbrt_status allo_once(const allo_case *c, uint64_t fail_at, bool fail_after, lbrt_error *err)
{
    *err = (lbrt_error){ LBRT_OK, "" };
    allo.count = 0;
    allo.fail_at = fail_at;
    allo.fail_after = fail_after;
    allo.failed = false;
    lbrt_status s = c->run(c, err);
    allo.fail_at = 0;
    return s;
}

void allo_run(const allo_case *c)
{
    lb_test_case("every allocation fails: %s", c->name);
    lbrt_error err;
    allo.owner = pthread_self();
    const size_t alive = allo.alive, blocks = allo.blocks;
    allo.wrong = 0;
    lbrt_status s = allo_once(c, 0, false, &err);
    const uint64_t total = allo.count;
    if (!LB_CHECK(s == LBRT_OK, "without any failure: %s", err.text) ||
        !LB_CHECK(total > 0, "nothing is allocated")) {
        return;
    }
    LB_CHECK(allo.alive == alive && allo.blocks == blocks, "without any failure %zu bytes are leaked",
             allo.alive - alive);
    unsigned bad = 0;
    for (unsigned after = 0; after < 2; after++) {
        /* a long row is walked in steps that grow, its end again one by one */
        for (uint64_t n = 1; n <= total && bad < 5;
             n += n < ALLO_EXHAUSTIVE / 2 || n + ALLO_EXHAUSTIVE / 4 > total ? 1 : 1 + n / 10) {
            s = allo_once(c, n, after, &err);
            bad += !LB_CHECK(s == LBRT_ERR_MEMORY && err.text[0] && err.status == s,
                             "allocation %llu of %llu (%s): %s, '%s'", (unsigned long long)n,
                             (unsigned long long)total, after ? "and all after it" : "alone",
                             lbrt_status_name(s), err.text);
            bad += !LB_CHECK(allo.failed, "allocation %llu never came", (unsigned long long)n);
            bad += !LB_CHECK(allo.alive == alive && allo.blocks == blocks,
                             "allocation %llu of %llu (%s): %zu bytes leaked", (unsigned long long)n,
                             (unsigned long long)total, after ? "and all after it" : "alone",
                             allo.alive - alive);
            allo.alive = alive; /* one leak is told once */
            allo.blocks = blocks;
        }
    }
    LB_CHECK(allo.wrong == 0, "%u times a wrong size, alignment or thread", allo.wrong);
}

void allo_none(const allo_case *c)
{
    lb_test_case("nothing is allocated: %s", c->name);
    lbrt_error err;
    allo.owner = pthread_self();
    lbrt_status s = allo_once(c, 1, true, &err);
    LB_CHECK(s == LBRT_OK && allo.count == 0, "%llu allocations, %s", (unsigned long long)allo.count, lbrt_status_name(s));
}

void allo_begin(void)
{
    allo.owner = pthread_self();
    allo.fail_at = 0;
    allo.alive = allo.blocks = 0;
    allo.wrong = 0;
}

void allo_end(void)
{
    LB_CHECK(allo.alive == 0 && allo.blocks == 0 && allo.wrong == 0, "%zu bytes in %zu blocks are left, %u wrong", allo.alive, allo.blocks,
             allo.wrong);
}
