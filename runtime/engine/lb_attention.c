/*
 * Attention over the KV cache, in fixed chunks of 256 positions with a running softmax (as in FlashAttention, arXiv 2205.14135): for
 * each chunk scores s = K q, p = exp(s - m), o = V' p; chunks are joined in the order of positions. A query's arithmetic
 * depends on nothing but its own position, so any batch split and any number of threads gives the same bits.
 *
 * All query heads that share a KV head, for one or more tokens, are rows of one matrix product, so keys and values are read once
 * for all of them.
 */
#include "../../kernels/lb_math.h"
#include "lb_session.h"

static size_t padded_head(size_t head_dim)
{
    return lb_round_up(head_dim, LB_TILE_ROWS);
}

size_t lb_attn_scratch_bytes(const lb_hparams *h, size_t rows)
{
    size_t floats = rows * (lb_round_up(h->head_dim, 16) + LB_KV_CHUNK + 2 * padded_head(h->head_dim)) + 2 * lb_round_up(rows, 16);
    return lb_round_up(floats * sizeof(float), 64);
}

lb_attn_scratch lb_attn_scratch_of(const lbrt_session *s, unsigned thread)
{
    size_t hd = s->kv.head_dim, rows = s->attn_rows;
    float *p = (float *)(void *)((unsigned char *)lb_exec_scratch(&s->exec, thread) + s->attn_scratch_at);
    lb_attn_scratch a;
    a.scores = p;
    a.q = a.scores + rows * LB_KV_CHUNK;
    a.chunk_out = a.q + rows * lb_round_up(hd, 16);
    a.out = a.chunk_out + rows * padded_head(hd);
    a.max = a.out + rows * padded_head(hd);
    a.sum = a.max + lb_round_up(rows, 16);
    return a;
}

/* A running softmax: maximum, sum of exponentials, and the output so far (not yet divided). */
static void join_chunk(const lb_kernels *k, float *out, float *max, float *sum, const float *chunk, float chunk_max,
                       float chunk_sum, size_t n)
{
    float m = chunk_max > *max ? chunk_max : *max;
    float a = lb_exp(*max - m), b = lb_exp(chunk_max - m);
    k->axpby(out, chunk, a, b, n);
    *sum = lb_fma(chunk_sum, b, *sum * a);
    *max = m;
}

/*
 * Chunk c for `rows` queries: fills a->max, a->sum and chunk_out. limit[r] is how many positions of the chunk row r sees,
 * 0 for none (its results are then undefined).
 */
static void attend_chunk(const lbrt_session *s, uint32_t layer, uint32_t head, size_t c, size_t rows, const size_t *limit,
                         const lb_attn_scratch *a, float *max, float *sum, float *out, void *scratch)
{
    const lb_kv *kv = &s->kv;
    const lb_kernels *k = s->exec.k;
    size_t hd = kv->head_dim, most = 0;
    for (size_t r = 0; r < rows; r++) {
        most = lb_max(most, limit[r]);
    }
    lb_input q = { .n = rows, .f32 = a->q, .f32_stride = lb_round_up(hd, 16) };
    lb_matmul_fn *keys = rows == 1 ? k->gemv[kv->key->weights] : k->gemm[kv->key->weights];
    lb_matmul_fn *values = rows == 1 ? k->gemv[kv->value->weights] : k->gemm[kv->value->weights];
    keys(lb_kv_keys(kv, layer, head, c), kv->key_tile_bytes, (most + LB_TILE_ROWS - 1) / LB_TILE_ROWS, hd, &q, a->scores,
         LB_KV_CHUNK, false, scratch);
    for (size_t r = 0; r < rows; r++) {
        float *p = a->scores + r * LB_KV_CHUNK;
        if (limit[r]) {
            k->softmax_chunk(p, limit[r], &max[r], &sum[r]);
        }
        if (limit[r] < most) { /* a later token of the batch sees more: this one gives it no weight */
            memset(p + limit[r], 0, (most - limit[r]) * sizeof(float));
        }
    }
    lb_input p = { .n = rows, .f32 = a->scores, .f32_stride = LB_KV_CHUNK };
    values(lb_kv_values(kv, layer, head, c), kv->value_tile_bytes, padded_head(hd) / LB_TILE_ROWS, most, &p, out,
           padded_head(hd), false, scratch);
}

typedef struct attention_job {
    lbrt_session *s;
    uint32_t layer;
    const float *q;
    size_t n, first, n_chunks;
    size_t group;       /* query heads per KV head */
    size_t block;       /* tokens per item */
    float *out;
    size_t out_stride;
} attention_job;

static void copy_queries(const attention_job *job, const lb_attn_scratch *a, size_t token, size_t n, uint32_t head)
{
    size_t hd = job->s->kv.head_dim, stride = lb_round_up(hd, 16);
    for (size_t t = 0; t < n; t++) {
        const float *q = job->q + (token + t) * job->s->q_stride + head * job->group * hd;
        for (size_t g = 0; g < job->group; g++) {
            memcpy(a->q + (t * job->group + g) * stride, q + g * hd, hd * sizeof(float));
        }
    }
}

/* One KV head and a block of tokens, all chunks in order. */
static void attention_item(void *context, size_t item, unsigned thread)
{
    const attention_job *job = (const attention_job *)context;
    lbrt_session *s = job->s;
    const lb_kernels *k = s->exec.k;
    const size_t hd = s->kv.head_dim, hp = padded_head(hd), blocks = (job->n + job->block - 1) / job->block;
    /* The last blocks see the most positions: hand them out first. */
    const size_t block = blocks - 1 - item / s->kv.n_heads, token = block * job->block;
    const uint32_t head = (uint32_t)(item % s->kv.n_heads);
    const size_t n = lb_min(job->block, job->n - token), rows = n * job->group;
    lb_attn_scratch a = lb_attn_scratch_of(s, thread);
    float running_max[LB_MM_MAX_N], running_sum[LB_MM_MAX_N];
    size_t limit[LB_MM_MAX_N];
    copy_queries(job, &a, token, n, head);
    const size_t last = job->first + token + n; /* positions that the last token of the block sees */
    for (size_t c = 0; c * LB_KV_CHUNK < last; c++) {
        for (size_t r = 0; r < rows; r++) {
            size_t sees = job->first + token + r / job->group + 1, from = c * LB_KV_CHUNK;
            limit[r] = sees > from ? lb_min(sees - from, LB_KV_CHUNK) : 0;
        }
        attend_chunk(s, job->layer, head, c, rows, limit, &a, a.max, a.sum, a.chunk_out, lb_exec_scratch(&s->exec, thread));
        for (size_t r = 0; r < rows; r++) {
            if (c == 0) {
                memcpy(a.out + r * hp, a.chunk_out + r * hp, hp * sizeof(float));
                running_max[r] = a.max[r];
                running_sum[r] = a.sum[r];
            } else if (limit[r]) {
                join_chunk(k, a.out + r * hp, &running_max[r], &running_sum[r], a.chunk_out + r * hp, a.max[r], a.sum[r], hd);
            }
        }
    }
    for (size_t r = 0; r < rows; r++) {
        float *to = job->out + (token + r / job->group) * job->out_stride + (head * job->group + r % job->group) * hd;
        memcpy(to, a.out + r * hp, hd * sizeof(float));
        k->scale(to, 1.0f / running_sum[r], hd);
    }
}

/* Decoding one token over a long context: one KV head and one chunk; results wait in `partial` and are joined in order. */
static void attention_chunk_item(void *context, size_t item, unsigned thread)
{
    const attention_job *job = (const attention_job *)context;
    lbrt_session *s = job->s;
    const size_t hd = s->kv.head_dim, hp = padded_head(hd);
    const uint32_t head = (uint32_t)(item / job->n_chunks);
    const size_t c = item % job->n_chunks;
    lb_attn_scratch a = lb_attn_scratch_of(s, thread);
    size_t limit[LB_MM_MAX_N];
    copy_queries(job, &a, 0, 1, head);
    for (size_t r = 0; r < job->group; r++) {
        limit[r] = lb_min(job->first + 1 - c * LB_KV_CHUNK, LB_KV_CHUNK);
    }
    attend_chunk(s, job->layer, head, c, job->group, limit, &a, a.max, a.sum, a.chunk_out, lb_exec_scratch(&s->exec, thread));
    for (size_t r = 0; r < job->group; r++) {
        float *to = s->partial + ((head * job->group + r) * job->n_chunks + c) * s->partial_stride;
        memcpy(to, a.chunk_out + r * hp, hd * sizeof(float));
        to[hp] = a.max[r];
        to[hp + 1] = a.sum[r];
    }
}

static void join_partials(const attention_job *job)
{
    lbrt_session *s = job->s;
    const lb_kernels *k = s->exec.k;
    const size_t hd = s->kv.head_dim, hp = padded_head(hd), heads = s->kv.n_heads * job->group;
    for (size_t h = 0; h < heads; h++) {
        const float *from = s->partial + h * job->n_chunks * s->partial_stride;
        float *to = job->out + h * hd;
        float max = from[hp], sum = from[hp + 1];
        memcpy(to, from, hd * sizeof(float));
        for (size_t c = 1; c < job->n_chunks; c++) {
            from += s->partial_stride;
            join_chunk(k, to, &max, &sum, from, from[hp], from[hp + 1], hd);
        }
        k->scale(to, 1.0f / sum, hd);
    }
}

void lb_attention(lbrt_session *s, uint32_t layer, const float *q, size_t n, size_t first, float *out, size_t out_stride)
{
    const lb_hparams *h = &s->model->hparams;
    attention_job job = { .s = s, .layer = layer, .q = q, .n = n, .first = first, .out = out, .out_stride = out_stride };
    job.group = h->n_heads / h->n_kv_heads;
    if (n == 1) {
        job.n_chunks = first / LB_KV_CHUNK + 1;
        job.block = 1;
        lb_pool_run(s->exec.pool, attention_chunk_item, &job, h->n_kv_heads * job.n_chunks);
        join_partials(&job);
        return;
    }
    job.block = lb_max(1, s->attn_rows / job.group);
    lb_pool_run(s->exec.pool, attention_item, &job, (n + job.block - 1) / job.block * h->n_kv_heads);
}
