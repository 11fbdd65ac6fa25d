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

/* Chunks that are joined by one product (lb_attention.c). */
enum { LB_ATTN_GROUP = 16 };

/* A head's width in tiles of 16, and in groups of codes */
static inline size_t lb_attn_width(size_t width)
{
    return lb_round_up(width, LB_TILE_ROWS);
}
static inline size_t lb_attn_codes(size_t width)
{
    return lb_round_up(width, LB_KV_GROUP);
}

/* Queries ready for attention. */
typedef struct lb_attn_queries {
    float *f32;    /* [rows][width of keys rounded up to LB_KV_GROUP], zero behind the width */
    /* For keys in codes */
    size_t per_head; /* rows that go with a KV head */
    int8_t *q;     /* as lb_kernels.kv_quantize orders them: rows of a KV head, rounded up to fours */
    float *scale;  /* a number per group */
    int32_t *sum;
    float *lanes;  /* [rows][width of keys rounded up to 16 / 4][16] for lb_kernels.kv_means */
} lb_attn_queries;

/* Per-thread room for attention, behind the kernels' scratch. */
typedef struct lb_attn_scratch {
    lb_attn_queries q;
    float *scores, *out;             /* [rows][256], [rows][value width padded] */
    float *max, *sum;                /* [rows] */
    float *parts;                    /* [rows][lb_attn_part floats]: what chunks of a group have given */
    /* For a cache of codes: weighted probabilities as int8, what the blocks' means give */
    float *base;                     /* [rows][4] */
    int8_t *p8;                      /* [rows][256] */
    float *p8_scale;
    int32_t *p8_sum;
    lb_input key_input, value_input; /* what products read, as far as it is the same for all heads (made once: it is large) */
} lb_attn_scratch;

/*
 * Who wants to see what the linear layers read, as calibration does: called with the n rows of x before each input of a layer is
 * used. False: the half of the layer that is being computed ends here.
 */
typedef enum lb_tap_place { LB_TAP_ATTN, LB_TAP_ATTN_O, LB_TAP_FFN, LB_TAP_FFN_DOWN, LB_TAP_PLACES } lb_tap_place;
typedef bool lb_tap_fn(void *user, uint32_t layer, lb_tap_place place, const float *x, size_t stride, size_t n);

typedef struct lb_votes lb_votes;

struct lbrt_session {
    const lbrt_model *model;
    lbrt_allocator allocator;
    size_t slab_bytes;
    lbrt_error error;
    _Atomic bool cancel;
    _Atomic bool busy; /* a public call is changing the session */
    _Atomic unsigned readers; /* calls that fork from it */

    lb_exec exec;
    lb_attached attached[LB_MAX_ATTACHED]; /* of exec: in the order in which they were attached */
    float *mid;                            /* of exec, where an adapter needs more than the slab has; else NULL */
    size_t mid_bytes;
    lb_prep mid_prep[LB_MAX_PRODUCTS]; /* of exec */
    size_t attn_scratch_at; /* within a thread's scratch */
    size_t attn_rows;

    size_t n_context, n_batch, n_logits_max;
    size_t length;          /* tokens in the cache */
    size_t evicted;         /* tokens before them that lbrt_compress has dropped: the cache's position 0 is the text's `evicted` */
    size_t compressed;      /* the first `compressed` positions of the cache are what it has kept: no way back into them */
    lbrt_token *tokens;     /* [n_context and all faint ones]: the newest ones; -1 - i: row i of embedded */
    size_t n_embedded, n_embedded_max;
    float *embedded;        /* [n_embedded_max][x_stride]: what was fed instead of tokens, in the order of positions */

    lb_kv kv;

    /* Activations of a batch: [n_batch][stride], strides in floats, multiples of 16 */
    size_t x_stride, q_stride, k_stride, v_stride, ffn_stride;
    float *x;               /* residual stream */
    float *x_next;          /* behind a shortcut matrix: then they change places. NULL: the model has none */
    float *normed;          /* input of a linear layer; also the output of attention ([n_batch][max of dim and o_dim]) */
    size_t normed_stride;
    float *q, *k, *v;       /* share memory with gate and up */
    float *gate, *up;
    lb_prep prep;
    float *angles;          /* [n_batch][rope_dim] */

    /* Decoding splits attention over chunks: a token's queries, and what its chunks have given, [head][group of chunks][lb_attn_part] */
    lb_attn_queries head_q;
    float *parts;
    size_t n_parts; /* groups */

    lb_votes *votes;        /* lbrt_compress at work: who counts what attention looks at; else NULL */

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

/* How many positions the cache has room for: more where there are faint ones. */
static inline size_t lb_session_room(const lbrt_session *s)
{
    return s->n_context + s->kv.faint * LB_KV_CHUNK;
}

/* The caller's options (NULL: none) with defaults filled in, checked: once for a session, as how many processors there are may change meanwhile. */
lbrt_status lb_session_settle(const lbrt_model *m, const lbrt_session_options *in, lbrt_session_options *o, lbrt_error *err);

/* Lays out (and, if s is not NULL and a->base is set, fills) a session of settled options. */
lbrt_status lb_session_plan(const lbrt_model *m, const lbrt_session_options *options, lb_arena *a, lbrt_session **out, lbrt_error *err);

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
size_t lb_attn_scratch_bytes(const lbrt_model *m, size_t rows);
lb_attn_queries lb_attn_queries_take(lb_arena *a, size_t width, size_t rows);

/* Prepares a query, rotated as the format of keys wants it, as row `row`; and when all rows are there, for all KV heads. */
void lb_attn_query(const lbrt_session *s, lb_attn_queries *to, size_t row, const float *q);
void lb_attn_queries_ready(const lbrt_session *s, lb_attn_queries *to, size_t rows, size_t heads);

/* What a token sees: positions below `sinks` and from `begin` on; sinks <= begin */
typedef struct lb_seen {
    size_t begin, sinks;
} lb_seen;

/* Queries of one unit of KV heads: its query heads one after the other, of each the tokens at position .., all of the same block. */
typedef struct lb_attn_rows {
    uint32_t layer, unit;
    size_t tokens, n; /* n: tokens times heads */
    size_t position, own; /* own: the tokens' block */
    lb_attn_queries q;
    lb_seen seen;  /* by the first token; not for scores */
    size_t q_head; /* the first of the unit's key heads among those of q */
    /* Decoding: memory that the thread will read next; else NULL */
    lb_fetch *fetch;
    const unsigned char *next; /* the next unit; of a cache of codes `fetch` is at the unit's own memory or there */
    size_t lines[LB_KV_SIDES]; /* lb_fetch.lines while the product with keys and values runs */
} lb_attn_rows;

/* Scores of the first `most` positions of chunk c, to a->scores. */
void lb_attn_scores(const lbrt_session *s, const lb_attn_rows *rows, size_t c, size_t most, lb_attn_scratch *a, void *scratch);

/* Floats of what the chunks of a group have given to a head: values [16 chunks][width rounded up to 16], sums [16], maxima [16] */
static inline size_t lb_attn_part(size_t value_width)
{
    return (lb_round_up(value_width, LB_TILE_ROWS) + 2) * LB_ATTN_GROUP;
}

/*
 * SnapKV (arXiv 2404.14469): which positions the newest LB_SNAP_WINDOW tokens look at. Per layer and unit of KV heads the n_kept positions
 * to keep, rising: those of the window, and of the others those with most of the window's attention, summed over its tokens and the unit's
 * query heads and smoothed by a maximum over 7 positions.
 */
enum { LB_SNAP_WINDOW = 32, LB_SNAP_POOL = 7, LB_MAX_EVICTED = 1 << 27 };
struct lb_votes {
    size_t n_kept;
    size_t n_faint, room; /* chunks of positions to be kept faint; positions that there is room for */
    uint32_t *keep, *faint; /* as lb_kv_kept wants them */
    float *vote, *pooled; /* [threads][room] */
    uint32_t *index;
};
void lb_snap_layer(lbrt_session *s, uint32_t layer, size_t first, size_t n);

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
