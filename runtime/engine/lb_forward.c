/*
 * The transformer, top to bottom. n tokens go through each layer together; one token is the case n = 1 of the same code.
 *
 *   x = embedding
 *   for each layer:
 *     h = rmsnorm(x);  q, k, v = Wq h, Wk h, Wv h;  rotate q and k;  cache k and v
 *     x += Wo attention(q)
 *     h = rmsnorm(x);  x += Wdown (act(Wgate h) * Wup h)
 *   logits = head rmsnorm(x)
 *
 * Steps that treat each token alone run over the threads when there are several tokens, else in the calling thread.
 */
#include "lb_rope.h"
#include "lb_session.h"

#include <math.h>

typedef struct forward_job {
    lbrt_session *s;
    const lb_layer *l;
    uint32_t layer;
    const lbrt_token *tokens;
    size_t n, first;
    const lb_linear *shortcut;
} forward_job;

/* Runs a per-token step for all tokens. */
static void each_token(forward_job *job, lb_task_fn *step)
{
    lb_pool_run(job->s->exec.pool, step, job, job->n);
}

/* One token waits for memory: what idle threads fetch meanwhile is won. Many tokens wait for arithmetic. */
static void next_layer(const forward_job *job, const lb_linear *const *l, size_t n)
{
    if (job->n == 1) {
        lb_linear_ahead(&job->s->exec, l, n);
    }
}

static void embed_token(void *context, size_t t, unsigned thread)
{
    const forward_job *job = (const forward_job *)context;
    lbrt_session *s = job->s;
    (void)thread;
    lb_rope_angles(s->model->rope_frequency, s->model->hparams.rope_dim / 2, s->evicted + job->first + t,
                   s->angles + t * s->model->hparams.rope_dim);
    if (job->tokens[t] < 0) {
        memcpy(s->x + t * s->x_stride, s->embedded + (size_t)(-1 - job->tokens[t]) * s->x_stride, s->model->hparams.dim * sizeof(float));
        return;
    }
    /* Each token has its own row of `normed` to unpack into. */
    lb_linear_row(&s->model->embed, (size_t)job->tokens[t], s->x + t * s->x_stride, s->normed + t * s->normed_stride);
}

/* normed = rmsnorm(x), prepared for layers with these needs */
static void norm_token(const forward_job *job, size_t t, const float *weight, size_t n, float eps, const lb_needs *needs)
{
    lbrt_session *s = job->s;
    float *normed = s->normed + t * s->normed_stride;
    s->exec.k->rmsnorm(normed, s->x + t * s->x_stride, weight, n, eps);
    lb_prep_token(&s->exec, &s->prep, t, normed, n, needs);
}

static void attn_norm_token(void *context, size_t t, unsigned thread)
{
    const forward_job *job = (const forward_job *)context;
    (void)thread;
    norm_token(job, t, job->l->attn_norm, job->l->attn_q.cols, job->l->attn_eps, &job->l->attn_needs);
}

static void ffn_norm_token(void *context, size_t t, unsigned thread)
{
    const forward_job *job = (const forward_job *)context;
    (void)thread;
    norm_token(job, t, job->l->ffn_norm, job->l->ffn_gate.cols, job->l->ffn_eps, &job->l->ffn_needs);
}

/* Per-head norms (Qwen3), rotation, scaling of the query by 1 / sqrt(head_dim) and the model's factor, and the cache. */
static void rotate_token(void *context, size_t t, unsigned thread)
{
    const forward_job *job = (const forward_job *)context;
    lbrt_session *s = job->s;
    const lb_hparams *h = &s->model->hparams;
    const lb_kernels *k = s->exec.k;
    (void)thread;
    const uint32_t n_heads = job->l->n_heads, k_heads = job->l->k_heads;
    float *q = s->q + t * s->q_stride, *key = s->k + t * s->k_stride;
    for (uint32_t i = 0; job->l->attn_q_norm && i < n_heads; i++) {
        k->rmsnorm(q + (size_t)i * h->head_dim, q + (size_t)i * h->head_dim, job->l->attn_q_norm, h->head_dim, h->norm_eps);
    }
    for (uint32_t i = 0; job->l->attn_k_norm && i < k_heads; i++) {
        k->rmsnorm(key + (size_t)i * h->head_dim, key + (size_t)i * h->head_dim, job->l->attn_k_norm, h->head_dim, h->norm_eps);
    }
    if (h->rope_dim) {
        const float *angles = s->angles + t * h->rope_dim;
        k->rope(q, angles, n_heads, h->head_dim, h->rope_dim, h->rope_interleaved);
        k->rope(key, angles, k_heads, h->head_dim, h->rope_dim, h->rope_interleaved);
    }
    k->scale(q, (h->attn_factor > 0.0f ? h->attn_factor : 1.0f) / sqrtf((float)h->head_dim), (size_t)n_heads * h->head_dim);
    const lb_kv_side *keys = &s->kv.side[LB_KV_KEY], *values = &s->kv.side[LB_KV_VALUE];
    float *v = s->v + t * s->v_stride;
    if (keys->room->bits) {
        lb_kv_rotate(keys, k, q, n_heads);
        lb_kv_rotate(keys, k, key, k_heads);
    }
    if (values->room->bits) {
        lb_kv_rotate(values, k, v, job->l->v_heads);
    }
    lb_kv_store(&s->kv, k, job->layer, job->first + t, key, v);
}

static void attn_out_token(void *context, size_t t, unsigned thread)
{
    const forward_job *job = (const forward_job *)context;
    lbrt_session *s = job->s;
    (void)thread;
    float *out = s->normed + t * s->normed_stride;
    const lb_kv_side *values = &s->kv.side[LB_KV_VALUE];
    if (values->room->bits) { /* values are kept rotated */
        lb_kv_rotate(values, s->exec.k, out, job->l->n_heads);
    }
    if (job->l->attn_sub_norm) {
        s->exec.k->rmsnorm(out, out, job->l->attn_sub_norm, job->l->attn_o.cols, s->model->hparams.norm_eps);
    }
    lb_prep_token(&s->exec, &s->prep, t, out, job->l->attn_o.cols, &job->l->attn_o.needs);
}

static void activate_token(void *context, size_t t, unsigned thread)
{
    const forward_job *job = (const forward_job *)context;
    lbrt_session *s = job->s;
    const lb_hparams *h = &s->model->hparams;
    const size_t n = job->l->ffn_down.cols;
    (void)thread;
    float *gate = s->gate + t * s->ffn_stride, *up = s->up + t * s->ffn_stride;
    if (h->activation == LB_ACT_RELU2) {
        s->exec.k->relu2_mul(gate, up, n);
    } else {
        s->exec.k->silu_mul(gate, up, n);
    }
    if (job->l->ffn_sub_norm) {
        s->exec.k->rmsnorm(gate, gate, job->l->ffn_sub_norm, n, h->norm_eps);
    }
    lb_prep_token(&s->exec, &s->prep, t, gate, n, &job->l->ffn_down.needs);
}

static bool tapped(const forward_job *job, lb_tap_place place, const float *x, size_t stride)
{
    const lbrt_session *s = job->s;
    return !s->tap || s->tap(s->tap_user, job->layer, place, x, stride, job->n);
}

static void shortcut_token(void *context, size_t t, unsigned thread)
{
    const forward_job *job = (const forward_job *)context;
    lbrt_session *s = job->s;
    const lb_linear *l = job->shortcut;
    (void)thread;
    lb_prep_token(&s->exec, &s->prep, t, s->x + t * s->x_stride, l->cols, &l->needs);
}

/* What passes by attention or feed-forward goes through a matrix of its own (SliceGPT), if the layer has one. */
static void pass_by(forward_job *job, const lb_linear *shortcut)
{
    lbrt_session *s = job->s;
    if (shortcut->rows == 0) {
        return;
    }
    job->shortcut = shortcut;
    each_token(job, shortcut_token);
    const lb_prepared in = lb_prep_input(&s->prep, job->n, s->x, s->x_stride);
    const lb_product product = { shortcut, s->x_next, s->x_stride, 0 };
    lb_linear_run(&s->exec, &product, 1, &in, false);
    float *const before = s->x;
    s->x = s->x_next;
    s->x_next = before;
}

static void forward_attention(forward_job *job)
{
    lbrt_session *s = job->s;
    const lb_layer *l = job->l;
    each_token(job, attn_norm_token);
    if (!tapped(job, LB_TAP_ATTN, s->normed, s->normed_stride)) {
        return;
    }
    lb_prepared in = lb_prep_input(&s->prep, job->n, s->normed, s->normed_stride);
    const lb_product qkv[] = { { &l->attn_q, s->q, s->q_stride, lb_slot(job->layer, LB_SLOT_Q) },
                               { &l->attn_k, s->k, s->k_stride, lb_slot(job->layer, LB_SLOT_K) },
                               { &l->attn_v, s->v, s->v_stride, lb_slot(job->layer, LB_SLOT_V) } };
    lb_linear_run(&s->exec, qkv, 3, &in, false);
    next_layer(job, (const lb_linear *const[]){ &l->attn_o }, 1);
    each_token(job, rotate_token);
    lb_kv_pack_layer(&s->kv, &s->exec, job->layer, job->first, job->n);
    if (s->votes) {
        lb_snap_layer(s, job->layer, job->first, job->n);
    }
    lb_attention(s, job->layer, s->q, job->n, job->first, s->normed, s->normed_stride);
    lb_kv_keep_newest(&s->kv, job->layer, job->first, job->n);
    pass_by(job, &l->attn_shortcut);
    each_token(job, attn_out_token);
    if (!tapped(job, LB_TAP_ATTN_O, s->normed, s->normed_stride)) {
        return;
    }
    in = lb_prep_input(&s->prep, job->n, s->normed, s->normed_stride);
    const lb_product out = { &l->attn_o, s->x, s->x_stride, lb_slot(job->layer, LB_SLOT_O) };
    lb_linear_run(&s->exec, &out, 1, &in, true);
    next_layer(job, (const lb_linear *const[]){ &l->ffn_gate, &l->ffn_up }, 2);
}

static void forward_ffn(forward_job *job)
{
    lbrt_session *s = job->s;
    const lb_layer *l = job->l;
    each_token(job, ffn_norm_token);
    if (!tapped(job, LB_TAP_FFN, s->normed, s->normed_stride)) {
        return;
    }
    lb_prepared in = lb_prep_input(&s->prep, job->n, s->normed, s->normed_stride);
    const lb_product gate_up[] = { { &l->ffn_gate, s->gate, s->ffn_stride, lb_slot(job->layer, LB_SLOT_GATE) },
                                   { &l->ffn_up, s->up, s->ffn_stride, lb_slot(job->layer, LB_SLOT_UP) } };
    lb_linear_run(&s->exec, gate_up, 2, &in, false);
    next_layer(job, (const lb_linear *const[]){ &l->ffn_down }, 1);
    pass_by(job, &l->ffn_shortcut);
    each_token(job, activate_token);
    if (!tapped(job, LB_TAP_FFN_DOWN, s->gate, s->ffn_stride)) {
        return;
    }
    in = lb_prep_input(&s->prep, job->n, s->gate, s->ffn_stride);
    const lb_product down = { &l->ffn_down, s->x, s->x_stride, lb_slot(job->layer, LB_SLOT_DOWN) };
    lb_linear_run(&s->exec, &down, 1, &in, true);
    if (job->layer + 1 < s->model->hparams.n_layers) {
        next_layer(job, (const lb_linear *const[]){ &l[1].attn_q, &l[1].attn_k, &l[1].attn_v }, 3);
    } else {
        next_layer(job, (const lb_linear *const[]){ &s->model->head }, 1);
    }
}

/* Final norm of the batch's last tokens, head of the last `n_logits`; the very last goes to row `back`. */
static void forward_head(forward_job *job, size_t n_logits, size_t n_hidden, size_t back)
{
    lbrt_session *s = job->s;
    const lb_linear *head = &s->model->head;
    for (size_t i = 0; i < lb_max(n_logits, n_hidden); i++) {
        size_t t = job->n - 1 - i;
        float *normed = s->normed + i * s->normed_stride;
        s->exec.k->rmsnorm(normed, s->x + t * s->x_stride, s->model->out_norm, head->cols, s->model->out_eps);
        if (i < n_hidden) {
            memcpy(s->hidden + (back + i) * s->x_stride, normed, head->cols * sizeof(float));
        }
        if (i < n_logits) {
            lb_prep_token(&s->exec, &s->prep, i, normed, head->cols, &head->needs);
        }
    }
    if (n_logits == 0) {
        return;
    }
    lb_prepared in = lb_prep_input(&s->prep, n_logits, s->normed, s->normed_stride);
    const lb_product logits = { head, s->logits + back * s->logits_stride, s->logits_stride, 0 };
    lb_linear_run(&s->exec, &logits, 1, &in, false);
}

/* Between two layers: whether to go on. The host's no is a cancellation like another thread's. */
static bool forward_goes_on(lbrt_session *s, uint32_t layer, size_t n)
{
    if (s->feed_total > 1 && s->progress && layer > 0 &&
        !s->progress(s->progress_user, s->feed_done + n * layer / s->model->hparams.n_layers, s->feed_total)) {
        atomic_store(&s->cancel, true);
    }
    return !atomic_load_explicit(&s->cancel, memory_order_relaxed);
}

bool lb_forward(lbrt_session *s, const lbrt_token *tokens, size_t n, size_t first, size_t n_logits, size_t n_hidden, size_t back)
{
    forward_job job = { .s = s, .tokens = tokens, .n = n, .first = first };
    lb_kv_begin(&s->kv, first, n);
    each_token(&job, embed_token);
    for (uint32_t i = 0; i < s->model->hparams.n_layers; i++) {
        if (!forward_goes_on(s, i, n)) {
            return false;
        }
        job.l = &s->model->layers[i];
        job.layer = i;
        forward_attention(&job);
        forward_ffn(&job);
    }
    forward_head(&job, n_logits, n_hidden, back);
    lb_kv_end(&s->kv, first, n);
    return true;
}

static void angle_token(void *context, size_t t, unsigned thread)
{
    const forward_job *job = (const forward_job *)context;
    const lbrt_model *m = job->s->model;
    (void)thread;
    lb_rope_angles(m->rope_frequency, m->hparams.rope_dim / 2, t, job->s->angles + t * m->hparams.rope_dim);
}

void lb_forward_half(lbrt_session *s, uint32_t layer, bool ffn, size_t n)
{
    forward_job job = { .s = s, .l = &s->model->layers[layer], .layer = layer, .n = n };
    if (ffn) {
        forward_ffn(&job);
        return;
    }
    lb_kv_begin(&s->kv, 0, n);
    each_token(&job, angle_token);
    forward_attention(&job);
    lb_kv_end(&s->kv, 0, n);
}

void lb_forward_last_norm(lbrt_session *s, size_t n)
{
    for (size_t t = 0; t < n; t++) {
        s->exec.k->rmsnorm(s->normed + t * s->normed_stride, s->x + t * s->x_stride, s->model->out_norm, s->model->head.cols, s->model->out_eps);
    }
}
