/* What the public calls on sessions share. These report into the session's error and do not reset it. */
#ifndef LB_SESSION_API_H
#define LB_SESSION_API_H

#include "../engine/lb_session.h"

/* CANCELLED, once, if somebody asked for it. */
lbrt_status lb_session_cancelled(lbrt_session *s);

/* Readies the cache for a token at `length`. False if cancelled. */
bool lb_session_resume(lbrt_session *s, size_t length);

lbrt_status lb_session_feed(lbrt_session *s, const lbrt_token *tokens, size_t n);
/* How many of the first `length` positions are embeddings. */
size_t lb_session_embedded(const lbrt_session *s, size_t length);
lbrt_status lb_session_sample(lbrt_session *s, const lbrt_sampling *sampling, lbrt_token *out);

/* Puts the checksum of a saved state of `bytes` bytes into its header. */
enum { LB_STATE_HEADER = 128 };
void lb_state_seal(unsigned char *state, size_t bytes);

static inline void lb_session_leave(lbrt_session *const *s)
{
    atomic_store_explicit(&(*s)->busy, false, memory_order_release);
}

/*
 * Begins every public call that changes a session: refuses no session, one that another call is working on (in another thread, or
 * around a callback), whose error text must not be touched, and one that another is being forked from.
 */
lbrt_status lb_session_enter(lbrt_session *s);

/* The session is free again however the calling function returns. */
#define LB_ENTER(s)              \
    LB_TRY(lb_session_enter(s)); \
    __attribute__((cleanup(lb_session_leave), unused)) lbrt_session *const entered_ = (s)

#endif /* LB_SESSION_API_H */
