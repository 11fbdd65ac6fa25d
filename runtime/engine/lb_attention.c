/*
 * Attention over the KV cache, in fixed chunks of 256 positions with a running softmax (as in FlashAttention, arXiv 2205.14135): for
 * each chunk scores s = K q, p = exp(s - m), o = V' p; chunks are joined in the order of positions. A query's arithmetic
 * depends on nothing but its own position, so any batch split and any number of threads gives the same bits.
 *
 * A window (lb_hparams.window) gives positions before it no weight; chunks wholly before it are not read.
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

/* Takes n pieces of `size` bytes from `at`, which may be NULL to count. */
static void *attn_take(unsigned char *base, size_t *at, size_t n, size_t size)
{
    unsigned char *p = base ? base + *at : NULL;
    *at += lb_round_up(n * size, 64);
    return p;
}

static size_t attn_layout(lb_attn_scratch *a, unsigned char *base, size_t hd, size_t rows)
{
    size_t at = 0;
    const size_t q = lb_round_up(hd, LB_K_ALIGN), groups = q / LB_GROUP, p_groups = LB_KV_CHUNK / LB_GROUP;
    a->scores = (float *)attn_take(base, &at, rows * LB_KV_CHUNK, sizeof(float));
    a->q = (float *)attn_take(base, &at, rows * lb_round_up(hd, 16), sizeof(float));
    a->chunk_out = (float *)attn_take(base, &at, rows * padded_head(hd), sizeof(float));
    a->out = (float *)attn_take(base, &at, rows * padded_head(hd), sizeof(float));
    a->max = (float *)attn_take(base, &at, rows, sizeof(float));
    a->sum = (float *)attn_take(base, &at, rows, sizeof(float));
    a->base = (float *)attn_take(base, &at, rows * LB_KV_MEAN_BLOCKS, sizeof(float));
    a->weighed = (float *)attn_take(base, &at, rows * LB_KV_CHUNK, sizeof(float));
    a->q8 = (int8_t *)attn_take(base, &at, rows * q, 1);
    a->q8_scale = (float *)attn_take(base, &at, rows * groups, sizeof(float));
    a->q8_sum = (int32_t *)attn_take(base, &at, rows * groups, sizeof(int32_t));
    a->p8 = (int8_t *)attn_take(base, &at, rows * LB_KV_CHUNK, 1);
    a->p8_scale = (float *)attn_take(base, &at, rows * p_groups, sizeof(float));
    a->p8_sum = (int32_t *)attn_take(base, &at, rows * p_groups, sizeof(int32_t));
    return at;
}

size_t lb_attn_scratch_bytes(const lb_hparams *h, size_t rows)
{
    lb_attn_scratch a;
    return attn_layout(&a, NULL, h->head_dim, rows);
}

lb_attn_scratch lb_attn_scratch_of(const lbrt_session *s, unsigned thread)
{
    lb_attn_scratch a;
    attn_layout(&a, (unsigned char *)lb_exec_scratch(&s->exec, thread) + s->attn_scratch_at, s->kv.head_dim, s->attn_rows);
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

/* Queries of one KV head: rows of one token after the other, all of the same block of positions. */
typedef struct attention_rows {
    uint32_t layer, head;
    size_t n;
    size_t own;      /* the tokens' block */
} attention_rows;

static lb_matmul_fn *product_of(const lb_kernels *k, const lb_kv_side *side, size_t rows)
{
    return rows == 1 ? k->gemv[side->room->weights] : k->gemm[side->room->weights];
}

/* How many blocks from b on (below end) are read in one go: as codes if *coded, else one as numbers. */
static size_t next_blocks(size_t b, size_t own, size_t end, bool *coded)
{
    *coded = b > 0 && b < own;
    return *coded ? lb_min(end, own) - b : 1;
}

/* Scores of the first `most` positions of chunk c */
static void chunk_scores(const lbrt_session *s, const attention_rows *rows, size_t c, size_t most, const lb_attn_scratch *a,
                         void *scratch)
{
    const lb_kv *kv = &s->kv;
    const lb_kv_side *side = &kv->key;
    const lb_kernels *k = s->exec.k;
    const size_t hd = kv->head_dim, q_stride = lb_round_up(hd, LB_K_ALIGN);
    lb_matmul_fn *numbers = product_of(k, side, rows->n);
    const lb_input q = { .n = rows->n, .f32 = a->q, .f32_stride = lb_round_up(hd, 16), .q = a->q8, .q_stride = q_stride,
                         .scale = a->q8_scale, .sum = a->q8_sum, .group_stride = q_stride / LB_GROUP };
    const unsigned char *chunk = lb_kv_chunk(kv, side, rows->layer, rows->head, c);
    if (!side->room->bits) {
        numbers(chunk, side->tile_bytes, (most + LB_TILE_ROWS - 1) / LB_TILE_ROWS, hd, &q, a->scores, LB_KV_CHUNK, false, scratch);
        return;
    }
    const size_t first = c * LB_KV_CHUNK_BLOCKS, end = lb_min(first + LB_KV_CHUNK_BLOCKS, rows->own + 1);
    bool coded;
    for (size_t b = first, n; b < end; b += n) {
        n = next_blocks(b, rows->own, end, &coded);
        const size_t at = (b - first) * LB_KV_BLOCK;
        if (!coded) {
            const size_t tiles = (lb_min(LB_KV_BLOCK, most - at) + LB_TILE_ROWS - 1) / LB_TILE_ROWS;
            numbers(lb_kv_block(kv, side, rows->layer, rows->head, b), side->tile_bytes, tiles, hd, &q, a->scores + at, LB_KV_CHUNK,
                    false, scratch);
            continue;
        }
        numbers(lb_kv_mean(kv, rows->layer, rows->head, b / LB_KV_MEAN_BLOCKS), 0, 1, hd, &q, a->base, LB_KV_MEAN_BLOCKS, false, scratch);
        const size_t tiles = LB_KV_BLOCK / LB_TILE_ROWS;
        const lb_kv_matrix w = { .codes = chunk + lb_kv_codes_at() + (b - first) * tiles * side->code_tile_bytes,
                                 .tile_bytes = side->code_tile_bytes,
                                 .n_tiles = n * tiles,
                                 .k = lb_round_up(hd, LB_GROUP),
                                 .row_scale = (const uint16_t *)(const void *)chunk + at,
                                 .base = a->base + b % LB_KV_MEAN_BLOCKS,
                                 .base_stride = LB_KV_MEAN_BLOCKS };
        k->kv_product[side->room->product](&w, &q, a->scores + at, LB_KV_CHUNK, false);
    }
}

/* The values of chunk c, weighted with a->scores (now probabilities) */
static void chunk_values(const lbrt_session *s, const attention_rows *rows, size_t c, size_t most, const lb_attn_scratch *a, float *out,
                         void *scratch)
{
    const lb_kv *kv = &s->kv;
    const lb_kv_side *side = &kv->value;
    const lb_kernels *k = s->exec.k;
    const size_t hp = padded_head(kv->head_dim), n_tiles = hp / LB_TILE_ROWS, groups = LB_KV_CHUNK / LB_GROUP;
    lb_matmul_fn *numbers = product_of(k, side, rows->n);
    lb_input p = { .n = rows->n, .f32 = a->scores, .f32_stride = LB_KV_CHUNK, .q = a->p8, .q_stride = LB_KV_CHUNK,
                   .scale = a->p8_scale, .sum = a->p8_sum, .group_stride = groups };
    const unsigned char *chunk = lb_kv_chunk(kv, side, rows->layer, rows->head, c);
    if (!side->room->bits) {
        numbers(chunk, side->tile_bytes, n_tiles, most, &p, out, hp, false, scratch);
        return;
    }
    const size_t first = c * LB_KV_CHUNK_BLOCKS, end = lb_min(first + LB_KV_CHUNK_BLOCKS, rows->own + 1);
    bool coded;
    for (size_t b = first, n; b < end; b += n) {
        n = next_blocks(b, rows->own, end, &coded);
        const size_t at = (b - first) * LB_KV_BLOCK;
        if (!coded) {
            p.f32 = a->scores + at;
            numbers(lb_kv_block(kv, side, rows->layer, rows->head, b), side->tile_bytes, n_tiles, lb_min(LB_KV_BLOCK, most - at), &p, out,
                    hp, b > first, scratch);
            continue;
        }
        const uint16_t *scale = (const uint16_t *)(const void *)chunk + at;
        const size_t positions = n * LB_KV_BLOCK;
        for (size_t r = 0; r < rows->n; r++) {
            k->mul_bf16(a->weighed + r * LB_KV_CHUNK, a->scores + r * LB_KV_CHUNK + at, scale, positions);
            k->quantize_a8(a->weighed + r * LB_KV_CHUNK, positions, a->p8 + r * LB_KV_CHUNK, a->p8_scale + r * groups,
                           a->p8_sum + r * groups);
        }
        const lb_kv_matrix w = { .codes = chunk + lb_kv_codes_at() + (b - first) * (side->code_tile_bytes / LB_KV_CHUNK_BLOCKS),
                                 .tile_bytes = side->code_tile_bytes,
                                 .n_tiles = n_tiles,
                                 .k = positions };
        k->kv_product[side->room->product](&w, &p, out, hp, b > first);
    }
}

/* The first position that a token at `position` sees */
static size_t window_begin(const lbrt_session *s, uint32_t layer, size_t position)
{
    const lb_hparams *h = &s->model->hparams;
    return h->window != 0 && layer >= h->window_from && position >= h->window ? position - h->window + 1 : 0;
}

/*
 * What row r sees of a chunk: positions begin[r] .. limit[r] - 1 of it, limit in 1..256; nothing if begin[r] >= limit[r], and
 * then its maximum, sum and output mean nothing.
 */
typedef struct attention_span {
    size_t begin[LB_MM_MAX_N], limit[LB_MM_MAX_N];
} attention_span;

static void set_span(attention_span *span, size_t r, const lbrt_session *s, uint32_t layer, size_t position, size_t c)
{
    const size_t begin = window_begin(s, layer, position), at = c * LB_KV_CHUNK;
    span->begin[r] = begin > at ? begin - at : 0;
    span->limit[r] = lb_min(position + 1 - at, LB_KV_CHUNK);
}

/* Chunk c: fills max, sum and out. */
static void attend_chunk(const lbrt_session *s, const attention_rows *rows, size_t c, const attention_span *span,
                         const lb_attn_scratch *a, float *max, float *sum, float *out, void *scratch)
{
    const size_t *limit = span->limit;
    size_t most = 0;
    for (size_t r = 0; r < rows->n; r++) {
        most = lb_max(most, limit[r]);
    }
    chunk_scores(s, rows, c, most, a, scratch);
    for (size_t r = 0; r < rows->n; r++) {
        float *p = a->scores + r * LB_KV_CHUNK;
        if (span->begin[r] >= limit[r]) {
            memset(p, 0, most * sizeof(float));
            continue;
        }
        for (size_t i = 0; i < span->begin[r]; i++) {
            p[i] = -INFINITY;
        }
        s->exec.k->softmax_chunk(p, limit[r], &max[r], &sum[r]);
        if (limit[r] < most) { /* a later token of the batch sees more: this one gives it no weight */
            memset(p + limit[r], 0, (most - limit[r]) * sizeof(float));
        }
    }
    chunk_values(s, rows, c, most, a, out, scratch);
}

typedef struct attention_job {
    lbrt_session *s;
    uint32_t layer;
    const float *q;
    size_t n, first, first_chunk, n_chunks;
    size_t group;       /* query heads per KV head */
    size_t block;       /* tokens per item; items begin at positions that it divides, and it divides LB_KV_BLOCK */
    float *out;
    size_t out_stride;
} attention_job;

static void copy_queries(const attention_job *job, const lb_attn_scratch *a, size_t token, size_t n, uint32_t head)
{
    size_t hd = job->s->kv.head_dim, stride = lb_round_up(hd, 16);
    for (size_t t = 0; t < n; t++) {
        const float *q = job->q + (token + t) * job->s->q_stride + head * job->group * hd;
        for (size_t g = 0; g < job->group; g++) {
            const size_t r = t * job->group + g;
            memcpy(a->q + r * stride, q + g * hd, hd * sizeof(float));
            if (job->s->kv.key.room->bits) {
                const size_t padded = lb_round_up(hd, LB_K_ALIGN), groups = padded / LB_GROUP;
                job->s->exec.k->quantize_a8(q + g * hd, hd, a->q8 + r * padded, a->q8_scale + r * groups, a->q8_sum + r * groups);
            }
        }
    }
}

/* One KV head and a block of tokens, all chunks in order. */
static void attention_item(void *context, size_t item, unsigned thread)
{
    const attention_job *job = (const attention_job *)context;
    lbrt_session *s = job->s;
    const lb_kernels *k = s->exec.k;
    const size_t hd = s->kv.head_dim, hp = padded_head(hd);
    const size_t first_block = job->first / job->block, blocks = (job->first + job->n - 1) / job->block - first_block + 1;
    /* The last blocks see the most positions: hand them out first. */
    const size_t block = first_block + blocks - 1 - item / s->kv.n_heads;
    const size_t from = lb_max(job->first, block * job->block), last = lb_min(job->first + job->n, (block + 1) * job->block);
    const size_t token = from - job->first;
    const attention_rows rows = { .layer = job->layer, .head = (uint32_t)(item % s->kv.n_heads), .n = (last - from) * job->group,
                                  .own = from / LB_KV_BLOCK };
    lb_attn_scratch a = lb_attn_scratch_of(s, thread);
    float running_max[LB_MM_MAX_N], running_sum[LB_MM_MAX_N];
    bool begun[LB_MM_MAX_N] = { false };
    attention_span span;
    copy_queries(job, &a, token, last - from, rows.head);
    for (size_t c = window_begin(s, job->layer, from) / LB_KV_CHUNK; c * LB_KV_CHUNK < last; c++) {
        for (size_t r = 0; r < rows.n; r++) { /* all tokens are in one block of 64, so each sees something of the last chunk */
            set_span(&span, r, s, job->layer, from + r / job->group, c);
        }
        attend_chunk(s, &rows, c, &span, &a, a.max, a.sum, a.chunk_out, lb_exec_scratch(&s->exec, thread));
        for (size_t r = 0; r < rows.n; r++) {
            if (span.begin[r] >= span.limit[r]) {
                continue;
            }
            if (!begun[r]) {
                begun[r] = true;
                memcpy(a.out + r * hp, a.chunk_out + r * hp, hp * sizeof(float));
                running_max[r] = a.max[r];
                running_sum[r] = a.sum[r];
            } else {
                join_chunk(k, a.out + r * hp, &running_max[r], &running_sum[r], a.chunk_out + r * hp, a.max[r], a.sum[r], hd);
            }
        }
    }
    for (size_t r = 0; r < rows.n; r++) {
        float *to = job->out + (token + r / job->group) * job->out_stride + (rows.head * job->group + r % job->group) * hd;
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
    const size_t c = job->first_chunk + item % job->n_chunks;
    const attention_rows rows = { .layer = job->layer, .head = head, .n = job->group, .own = job->first / LB_KV_BLOCK };
    lb_attn_scratch a = lb_attn_scratch_of(s, thread);
    attention_span span;
    copy_queries(job, &a, 0, 1, head);
    for (size_t r = 0; r < job->group; r++) {
        set_span(&span, r, s, job->layer, job->first, c);
    }
    attend_chunk(s, &rows, c, &span, &a, a.max, a.sum, a.chunk_out, lb_exec_scratch(&s->exec, thread));
    for (size_t r = 0; r < job->group; r++) {
        float *to = s->partial + ((head * job->group + r) * job->n_chunks + (c - job->first_chunk)) * s->partial_stride;
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
        job.first_chunk = window_begin(s, layer, first) / LB_KV_CHUNK;
        job.n_chunks = first / LB_KV_CHUNK + 1 - job.first_chunk;
        job.block = 1;
        lb_pool_run(s->exec.pool, attention_chunk_item, &job, h->n_kv_heads * job.n_chunks);
        join_partials(&job);
        return;
    }
    job.block = LB_KV_BLOCK;
    while (job.block > 1 && job.block * job.group > s->attn_rows) {
        job.block /= 2;
    }
    const size_t blocks = (first + n - 1) / job.block - first / job.block + 1;
    lb_pool_run(s->exec.pool, attention_item, &job, blocks * h->n_kv_heads);
}
