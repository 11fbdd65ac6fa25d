/* What the tests of a session's cache share: sessions of small batches with an allocator that counts, and comparing their logits. */
#ifndef KV_SESSION_H
#define KV_SESSION_H

#include <string.h>

#include "../include/lbrt.h"
#include "lb_test.h"

static inline lbrt_session_options kv_options(lbrt_kv_format key, lbrt_kv_format value, uint32_t n_context, uint32_t n_threads)
{
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.allocator = lb_test_allocator(0);
    o.n_context = n_context;
    o.n_batch = 100;
    o.n_threads = n_threads;
    o.kv_key = key;
    o.kv_value = value;
    return o;
}

/* A session that takes the memory that it says; NULL after a failed check */
static inline lbrt_session *kv_session(const lbrt_model *m, const lbrt_session_options *o)
{
    lbrt_session *s = NULL;
    lbrt_error err = { LBRT_OK, "" };
    size_t bytes = 0, alive = lb_test_alloc_alive();
    LB_CHECK(m && lbrt_session_bytes(m, o, &bytes, &err) == LBRT_OK && lbrt_session_create(m, o, &s, &err) == LBRT_OK, "%s", err.text);
    LB_CHECK(!s || lb_test_alloc_alive() - alive == bytes, "%zu bytes, not %zu", lb_test_alloc_alive() - alive, bytes);
    return s;
}

static inline bool kv_same_logits(const lbrt_session *a, const lbrt_session *b, uint32_t n_vocab, const char *what)
{
    const float *x = lbrt_logits(a, 0), *y = lbrt_logits(b, 0);
    return LB_CHECK(x && y && memcmp(x, y, n_vocab * sizeof *x) == 0, "%s: other logits", what);
}

#endif /* KV_SESSION_H */
