/* What the public calls on sessions share. These report into the session's error and do not reset it. */
#ifndef LB_SESSION_API_H
#define LB_SESSION_API_H

#include "../engine/lb_session.h"

/* CANCELLED, once, if somebody asked for it. */
lbrt_status lb_session_cancelled(lbrt_session *s);

lbrt_status lb_session_feed(lbrt_session *s, const lbrt_token *tokens, size_t n);
lbrt_status lb_session_sample(lbrt_session *s, const lbrt_sampling *sampling, lbrt_token *out);

#endif /* LB_SESSION_API_H */
