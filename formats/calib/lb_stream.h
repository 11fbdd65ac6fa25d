/*
 * Two copies of a model, the original and one in which tensors are replaced as they get packed, and the residual streams of the same
 * tokens in both, which go through the layers side by side.
 */
#ifndef LB_STREAM_H
#define LB_STREAM_H

#include "../../runtime/engine/lb_session.h"
#include "../pack/lb_moments.h"

/* A tensor of the packed copy that has been replaced */
typedef struct lb_stream_piece {
    lb_linear_term term;
    unsigned char *tiles;
    size_t tiles_bytes;
} lb_stream_piece;

/* What the last replacement took the place of */
typedef struct lb_stream_undo {
    size_t piece;
    uint32_t layer;
    lb_layer before;
    lb_linear embed, head;
} lb_stream_undo;

typedef struct lb_stream {
    lbrt_model *model;
    lbrt_session *session;
    float *x; /* [n_tokens][stride] */
} lb_stream;

typedef struct lb_streams {
    lbrt_allocator a;
    lb_stream original, packed;
    lbrt_model copy;          /* packed.model */
    lb_stream_piece *pieces;  /* 9 per layer, embedding, head */
    size_t n_pieces;
    const lbrt_token *tokens; /* the caller's */
    size_t n_tokens, n_context, n_chunks, stride;
    size_t half;              /* of a layer, 2 per layer, that comes next for x */
    size_t original_half;     /* the same of the original: ahead by one once its last place was collected from */
    bool started;             /* x is filled */
    float *seen;              /* what a layer of the original reads [n_context][seen_stride] */
    float *logits;            /* of both, of some rows */
    size_t seen_stride, seen_bytes, logits_bytes;
    lb_stream_undo undo;
    lb_moments *moments;      /* being collected */
    lb_tap_place place;
    size_t cols;
    size_t n_fitted;          /* tokens that moments are made of: others are held out */
    double seconds;
    void (*tick)(void *user, double done); /* shares of a run through all chunks; may be NULL */
    void *tick_user;
} lb_streams;

/*
 * n_tokens of tokens are used, in chunks of n_context; the first of a chunk is replaced by bos if the model wants one. `alone`: only the
 * copy is run.
 */
lbrt_status lb_streams_open(lb_streams *s, lbrt_model *original, bool alone, unsigned threads, const lbrt_token *tokens, size_t n_tokens,
                            size_t n_context, const lbrt_allocator *a, lbrt_error *err);
void lb_streams_close(lb_streams *s); /* also of a zeroed struct */

/* Runs both up to the given half (attention, feed-forward) of a layer; layer n_layers: through all. Never backwards. */
void lb_streams_go_to(lb_streams *s, uint32_t layer, bool ffn);

/* Moments of what is read at a place of the half that comes next (LB_TAP_PLACES: by the head). */
lbrt_status lb_streams_collect(lb_streams *s, lb_tap_place place, bool cross, lb_moments *moments, lbrt_error *err);

/* The packed copy computes with these tiles, which are then its own, from now on. */
lbrt_status lb_streams_replace(lb_streams *s, const char *name, const lb_tensor *tensor, lbrt_error *err);

/* Takes the last replacement back. */
void lb_streams_restore(lb_streams *s);

/*
 * Logits of the copy for the second half of a chunk that is held out, `step` positions apart, from where x is on: [n][vocabulary
 * rounded up to 16]; returns n. And which chunks those are: the i-th, n_chunks past the last.
 */
size_t lb_streams_logits(const lb_streams *s, size_t chunk, size_t step, float *out);
size_t lb_streams_held_out(const lb_streams *s, size_t i);

/* KL divergence in nats of logits q from logits p */
double lb_streams_kl(const float *p, const float *q, size_t n_vocab);

/* Mean KL divergence of the packed copy's predictions from the original's on the chunks held out; both at the end. */
void lb_streams_divergence(lb_streams *s, double *kl, uint64_t *scored);

#endif /* LB_STREAM_H */
