/* A session's memory: one slab, laid out by one function that both counts and assigns. */
#include "lb_session.h"

enum { MAX_BATCH = 4096, DEFAULT_BATCH = 256, DEFAULT_CONTEXT = 4096, DEFAULT_MAX_THREADS = 16, DEFAULT_SINKS = 4 };

/* Of rows of n floats: an odd number of cache lines, or a column of rows, as products write it, would be in few sets of a cache. */
static size_t stride_of(size_t n)
{
    return lb_round_up(n, LB_TILE_ROWS) | LB_TILE_ROWS;
}

static float *take_rows(lb_arena *a, size_t rows, size_t stride)
{
    size_t floats;
    if (!lb_mul_size(rows, stride, &floats)) {
        a->overflow = true;
        return NULL;
    }
    return (float *)lb_arena_take(a, floats, sizeof(float));
}

lbrt_status lb_session_settle(const lbrt_model *m, const lbrt_session_options *in, lbrt_session_options *o, lbrt_error *err)
{
    *o = (lbrt_session_options)LBRT_SESSION_OPTIONS_INIT;
    if (in) {
        LB_FAIL_IF(in->size == 0, err, LBRT_ERR_ARGUMENT, "session options without their size");
        memcpy(o, in, lb_min(in->size, sizeof *o));
    }
    const lb_hparams *h = &m->hparams;
    o->n_context = o->n_context ? o->n_context : (uint32_t)lb_min(h->n_context, DEFAULT_CONTEXT);
    LB_FAIL_IF(o->n_context > 1u << 27, err, LBRT_ERR_ARGUMENT, "a context of %u tokens", o->n_context);
    o->n_batch = o->n_batch ? o->n_batch : DEFAULT_BATCH;
    LB_FAIL_IF(o->n_batch > MAX_BATCH, err, LBRT_ERR_ARGUMENT, "a batch of %u tokens, at most %u", o->n_batch, (unsigned)MAX_BATCH);
    o->n_batch = (uint32_t)lb_min(o->n_batch, o->n_context);
    o->n_threads = o->n_threads ? o->n_threads : DEFAULT_MAX_THREADS;
    const bool hosts = o->parallel && in->n_threads;
    LB_FAIL_IF(o->n_threads > LB_MAX_THREADS, err, LBRT_ERR_ARGUMENT, "%u threads, at most %u", o->n_threads,
               (unsigned)LB_MAX_THREADS);
    o->n_threads = hosts ? o->n_threads : (uint32_t)lb_min(o->n_threads, lb_cpu_count()); /* more would only take turns */
    o->n_logits = o->n_logits ? o->n_logits : 1;
    LB_FAIL_IF(o->n_logits > o->n_context, err, LBRT_ERR_ARGUMENT, "logits of %u positions in a context of %u", o->n_logits,
               o->n_context);
    LB_FAIL_IF(o->n_hidden > o->n_context || o->n_embeddings > o->n_context, err, LBRT_ERR_ARGUMENT,
               "hidden states of %u and embeddings of %u positions in a context of %u", o->n_hidden, o->n_embeddings, o->n_context);
    LB_FAIL_IF(o->sinks > LB_KV_MAX_SINKS || o->window > 1u << 27, err, LBRT_ERR_ARGUMENT, "a window of %u tokens with %u sinks, at most %u",
               o->window, o->sinks, (unsigned)LB_KV_MAX_SINKS);
    LB_FAIL_IF(!lb_kv_format_of(o->kv_key) || !lb_kv_format_of(o->kv_value), err, LBRT_ERR_UNSUPPORTED,
               "this version lacks KV cache format %d/%d", (int)o->kv_key, (int)o->kv_value);
    LB_FAIL_IF(o->n_faint && (o->n_faint > 1u << 27 || o->window || !lb_kv_format_of(o->kv_key)->bits || !lb_kv_format_of(o->kv_value)->bits), err,
               LBRT_ERR_ARGUMENT, "%u faint tokens, which need keys and values of q8, q4 or q2 and no window", o->n_faint);
    return LBRT_OK;
}

static void layout_activations(lbrt_session *s, const lbrt_model *m, size_t n_faint, lb_arena *a)
{
    const lb_hparams *h = &m->hparams;
    size_t n = s->n_batch;
    s->x_stride = stride_of(m->max_dim);
    s->normed_stride = stride_of(lb_max(m->max_dim, m->o_dim));
    s->q_stride = stride_of(m->q_dim);
    s->k_stride = stride_of(m->k_dim);
    s->v_stride = stride_of(m->v_dim);
    s->ffn_stride = stride_of(m->max_ffn);
    s->x = take_rows(a, n, s->x_stride);
    s->x_next = m->shortcuts ? take_rows(a, n, s->x_stride) : NULL;
    s->normed = take_rows(a, lb_max(n, 1), s->normed_stride);

    /* q, k, v are dead when gate and up are computed: they share memory. */
    lb_arena second = *a;
    s->q = take_rows(a, n, s->q_stride);
    s->k = take_rows(a, n, s->k_stride);
    s->v = take_rows(a, n, s->v_stride);
    s->gate = take_rows(&second, n, s->ffn_stride);
    s->up = take_rows(&second, n, s->ffn_stride);
    a->bytes = lb_max(a->bytes, second.bytes);
    a->overflow |= second.overflow;

    lb_prep_layout(&s->prep, a, n, lb_max(lb_max(m->max_dim, m->o_dim), m->max_ffn), &m->needs);
    s->angles = take_rows(a, n, h->rope_dim);
    s->logits_stride = stride_of(h->n_vocab);
    s->logits = take_rows(a, s->n_logits_max, s->logits_stride);
    s->candidates = (lb_candidate *)lb_arena_take(a, h->n_vocab, sizeof(lb_candidate));
    s->tokens = (lbrt_token *)lb_arena_take(a, s->n_context + n_faint * LB_KV_CHUNK, sizeof(lbrt_token));
    s->embedded = take_rows(a, s->n_embedded_max, s->x_stride);
    s->hidden = take_rows(a, s->n_hidden_max, s->x_stride);
    s->altered = n * s->ffn_stride >= s->logits_stride ? s->gate : take_rows(a, 1, s->logits_stride);
}

lbrt_status lb_session_plan(const lbrt_model *m, const lbrt_session_options *options, lb_arena *a, lbrt_session **out, lbrt_error *err)
{
    const lbrt_session_options o = *options;
    const lb_hparams *h = &m->hparams;
    size_t group = 1;
    for (uint32_t i = 0; i < h->n_layers; i++) {
        group = lb_max(group, m->layers[i].n_heads / lb_min(m->layers[i].k_heads, m->layers[i].v_heads));
    }
    lbrt_session s = { .model = m };
    lbrt_session *self = (lbrt_session *)lb_arena_take(a, 1, sizeof s);
    s.allocator = o.allocator ? lb_allocator_or_default(o.allocator) : m->allocator;
    s.n_context = o.n_context;
    s.n_batch = o.n_batch;
    s.n_logits_max = o.n_logits;
    LB_FAIL_IF(o.n_hidden > 0 && m->head.cols != h->dim, err, LBRT_ERR_UNSUPPORTED,
               "hidden states of width %zu in a model of width %u", m->head.cols, h->dim);
    s.n_hidden_max = o.n_hidden;
    s.n_embedded_max = o.n_embeddings;
    s.progress = o.progress;
    s.progress_user = o.progress_user;
    s.parallel = o.parallel;
    s.parallel_user = o.parallel_user;
    s.exec.k = &m->kernels;
    s.exec.n_threads = o.n_threads;
    s.exec.pool = (lb_pool *)lb_arena_take(a, 1, lb_pool_bytes(o.n_threads));
    s.attn_rows = lb_max(group, LB_ATTN_ROWS / group * group);
    s.attn_scratch_at = LB_MM_SCRATCH;
    s.exec.scratch_stride = LB_MM_SCRATCH + lb_attn_scratch_bytes(m, s.attn_rows);
    s.exec.scratch = (unsigned char *)lb_arena_take(a, o.n_threads, s.exec.scratch_stride);
    a->overflow |= !lb_mul_size(s.n_batch, m->mid_stride, &s.exec.mid_room);
    s.exec.mid = take_rows(a, LB_MAX_PRODUCTS, s.exec.mid_room);
    for (size_t i = 0; i < LB_MAX_PRODUCTS && lb_needs_more(&m->mid_needs); i++) {
        lb_prep_layout(&s.mid_prep[i], a, s.n_batch, m->mid_stride, &m->mid_needs);
    }
    const size_t n_faint = (o.n_faint + LB_KV_CHUNK - 1) / LB_KV_CHUNK;
    layout_activations(&s, m, n_faint, a);
    const size_t chunks = (s.n_context + LB_KV_CHUNK - 1) / LB_KV_CHUNK + n_faint, groups = (chunks + LB_ATTN_GROUP - 1) / LB_ATTN_GROUP;
    s.n_parts = o.window ? lb_min(groups, 3 + o.window / (LB_ATTN_GROUP * LB_KV_CHUNK)) : groups; /* the sinks' group, and two at the ends */
    s.head_q = lb_attn_queries_take(a, h->head_dim, h->n_heads);
    s.parts = take_rows(a, h->n_heads * s.n_parts, lb_attn_part(m->v_width));
    const lb_kv_plan plan = { .room = { lb_kv_format_of(o.kv_key), lb_kv_format_of(o.kv_value) }, .n_context = s.n_context,
                              .n_batch = s.n_batch, .window = o.window, .sinks = o.window ? (o.sinks ? o.sinks : DEFAULT_SINKS) : 0, .n_faint = n_faint };
    lb_kv_layout(&s.kv, a, m, &plan);
    LB_FAIL_IF(a->overflow, err, LBRT_ERR_MEMORY, "a session of %u tokens does not fit this machine's addresses",
               (unsigned)s.n_context);
    s.slab_bytes = a->bytes;
    if (self) {
        *s.kv.home = (lb_kv_home){ .allocator = s.allocator, .slab = self, .bytes = s.slab_bytes, .live = s.kv.n_pages + 1 };
        memcpy((void *)self, &s, sizeof s);
        self->exec.mid_prep = self->mid_prep;
    }
    if (out) {
        *out = self;
    }
    return LBRT_OK;
}
