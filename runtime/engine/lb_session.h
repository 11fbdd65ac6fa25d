/*
 * A session: one slab of memory that holds everything decoding needs. Nothing is allocated after it is made.
 */
#ifndef LB_SESSION_H
#define LB_SESSION_H

#include <stdatomic.h>

#include "lb_kv.h"
#include "lb_model.h"

/* Rows of one attention item: queries of one KV head, all heads of its group for one or more tokens. */
enum { LB_ATTN_ROWS = 32 };

/* Per-thread room for attention, behind the kernels' scratch. */
typedef struct lb_attn_scratch {
    float *q, *scores, *chunk_out, *out; /* [rows][head_dim], [rows][256], [rows][head_dim padded] twice */
    float *max, *sum;                    /* [rows] */
    /* For a cache of codes: queries and weighted probabilities as int8, what the blocks' means give */
    float *base, *weighed;               /* [rows][16], [rows][256] */
    int8_t *q8, *p8;                     /* [rows][head_dim rounded up to 64], [rows][256] */
    float *q8_scale, *p8_scale;          /* a number per group of 32 */
    int32_t *q8_sum, *p8_sum;
} lb_attn_scratch;

/*
 * Who wants to see what the linear layers read, as calibration does: called with the n rows of x before each input of a layer is
 * used. False: the half of the layer that is being computed ends here.
 */
typedef enum lb_tap_place { LB_TAP_ATTN, LB_TAP_ATTN_O, LB_TAP_FFN, LB_TAP_FFN_DOWN, LB_TAP_PLACES } lb_tap_place;
typedef bool lb_tap_fn(void *user, uint32_t layer, lb_tap_place place, const float *x, size_t stride, size_t n);

struct lbrt_session {
    const lbrt_model *model;
    lbrt_allocator allocator;
    size_t slab_bytes;
    lbrt_error error;
    _Atomic bool cancel;
    _Atomic bool busy; /* a public call is changing the session */

    lb_exec exec;
    lb_attached attached[LB_MAX_ATTACHED]; /* of exec: in the order in which they were attached */
    float *mid;                            /* of exec, where an adapter needs more than the slab has; else NULL */
    size_t mid_bytes;
    lb_prep mid_prep[LB_MAX_PRODUCTS]; /* of exec */
    size_t attn_scratch_at; /* within a thread's scratch */
    size_t attn_rows;

    size_t n_context, n_batch, n_logits_max;
    size_t length;          /* tokens held */
    lbrt_token *tokens;     /* [n_context]; -1 - i: row i of embedded */
    size_t n_embedded, n_embedded_max;
    float *embedded;        /* [n_embedded_max][x_stride]: what was fed instead of tokens, in the order of positions */

    lb_kv kv;

    /* Activations of a batch: [n_batch][stride], strides in floats, multiples of 16 */
    size_t x_stride, q_stride, kv_stride, ffn_stride;
    float *x;               /* residual stream */
    float *x_next;          /* behind a shortcut matrix: then they change places. NULL: the model has none */
    float *normed;          /* input of a linear layer; also the output of attention ([n_batch][max of dim and q_dim]) */
    size_t normed_stride;
    float *q, *k, *v;       /* share memory with gate and up */
    float *gate, *up;
    lb_prep prep;
    float *angles;          /* [n_batch][rope_dim] */

    /* Decoding with few tokens splits attention over chunks: partial results [item][head_dim padded + 2] */
    float *partial;
    size_t partial_stride, n_partial;

    float *logits;          /* [n_logits_max][vocabulary padded] */
    size_t logits_stride;
    size_t n_logits;        /* rows that are valid; row i is `back` i */

    float *hidden;          /* [n_hidden_max][x_stride]: what the head read */
    size_t n_hidden, n_hidden_max; /* as n_logits */

    struct lb_candidate *candidates; /* [n_vocab], for the sampler */
    float *altered;                  /* [n_vocab]: logits that the host may change; shares memory with gate if that is large enough */

    lbrt_progress_fn progress; /* NULL: nobody wants to know */
    void *progress_user;
    size_t feed_done, feed_total; /* of the feed at work, for progress; feed_total 0: it is not told */
    lbrt_parallel_fn parallel;    /* NULL: a pool of our own */
    void *parallel_user;

    lb_tap_fn *tap; /* NULL: nobody looks */
    void *tap_user;
};

/* Lays out (and, if s is not NULL and a->base is set, fills) a session. */
lbrt_status lb_session_plan(const lbrt_model *m, const lbrt_session_options *o, lb_arena *a, lbrt_session **out,
                            lbrt_error *err);

/*
 * The transformer: n (1..n_batch) tokens at positions first.. through all layers; keys and values go into the cache. Logits of the last
 * n_logits of them are written to rows 0.. (row i for the i-th from the end, counted from `back`), hidden states of the last n_hidden likewise.
 * False if cancelled.
 */
bool lb_forward(lbrt_session *s, const lbrt_token *tokens, size_t n, size_t first, size_t n_logits, size_t n_hidden, size_t back);

/*
 * One half of one layer, attention or feed-forward, on rows 0..n-1 (n <= n_batch) of s->x, which are tokens at positions 0.. of an
 * empty cache. For calibration: models are gone through layer by layer, all tokens at a time.
 */
void lb_forward_half(lbrt_session *s, uint32_t layer, bool ffn, size_t n);

/* The final norm of rows 0..n-1 of s->x, into s->normed. */
void lb_forward_last_norm(lbrt_session *s, size_t n);

/* Attention of n tokens at positions first.. over the cache of a layer: q [n][q_stride] (scaled, rotated) to out [n][out_stride]. */
void lb_attention(lbrt_session *s, uint32_t layer, const float *q, size_t n, size_t first, float *out, size_t out_stride);

lb_attn_scratch lb_attn_scratch_of(const lbrt_session *s, unsigned thread);
size_t lb_attn_scratch_bytes(const lb_hparams *h, size_t rows);

/* ---- sampling ---- */

typedef struct lb_candidate {
    float logit;
    lbrt_token id;
} lb_candidate;

/* Picks from n logits, which it may change; candidates has room for n. recent: the tokens that a repeat penalty concerns. */
lbrt_status lb_sample_logits(const lbrt_sampling *how, const lb_kernels *k, const float *logits, size_t n,
                             lb_candidate *candidates, const lbrt_token *recent, size_t n_recent, uint64_t position,
                             lbrt_token *out, lbrt_error *err);

#endif /* LB_SESSION_H */
