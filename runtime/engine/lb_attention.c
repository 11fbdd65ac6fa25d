/*
 * Attention over the KV cache, in fixed chunks of 256 positions (as in FlashAttention, arXiv 2205.14135): for each chunk scores s = K q,
 * p = exp(s - m), o = V' p with its own maximum m. Chunks are joined in groups of LB_ATTN_GROUP, chunk c in group c / 16: with M the
 * largest m of a group its output is the sum of the chunks' outputs times the weights exp(m - M), its sum likewise; groups
 * are joined in order by a running softmax. A query's arithmetic depends on nothing but its own position, so any batch split and any
 * number of threads gives the same bits; a chunk that a query does not see counts with weight 0.
 *
 * Windows, the model's (lb_hparams.window) and the session's (lb_kv.window, which spares the first `sinks` positions), give positions before
 * them no weight; chunks of which nothing is seen are not read.
 *
 * All query heads of a unit of KV heads, for one or more tokens, are rows of one matrix product, so keys and values are read once for all
 * of them. Rows are ordered by head, then by token: those of one KV head lie together.
 */
#include "../../kernels/lb_ahead.h"
#include "../../kernels/lb_math.h"
#include "lb_session.h"

/* Decoding: pairs of chunk and unit in a row for one thread at most; runs per thread to level out. */
enum { MAX_RUN = 16, RUNS_PER_THREAD = 8 };

/* The rows of prepared queries that go with a KV head; what x has besides stays. */
static void query_rows(const lb_kv_side *side, const lb_attn_queries *q, size_t head, lb_input *x)
{
    const size_t codes = lb_attn_codes(side->width), groups = codes / LB_KV_GROUP, at = head * lb_round_up(q->per_head, 4);
    x->n = q->per_head;
    x->f32 = q->f32 + head * q->per_head * codes;
    x->f32_stride = x->q_stride = codes;
    x->q = q->q + at * codes;
    x->scale = q->scale + at * groups;
    x->sum = q->sum + at * groups;
    x->group_stride = groups;
}

/* A running softmax: maximum, sum of exponentials, and the output so far (not yet divided). */
static void join_running(const lb_kernels *k, float *out, float *max, float *sum, const float *more, float more_max, float more_sum, size_t n)
{
    float m = more_max > *max ? more_max : *max;
    float a = lb_exp(*max - m), b = lb_exp(more_max - m);
    k->axpby(out, more, a, b, n);
    *sum = lb_fma(more_sum, b, *sum * a);
    *max = m;
}

/* ---- groups of chunks ---- */

/* What a group's chunks have given to a head: out[16][padded width], sum[16], max[16] */
static float *part_sum(float *part, size_t vp)
{
    return part + LB_ATTN_GROUP * vp;
}

/* Nothing was given by chunk c. */
static void no_part(float *part, size_t vp, size_t c)
{
    float *sum = part_sum(part, vp) + c % LB_ATTN_GROUP;
    memset(part + c % LB_ATTN_GROUP * vp, 0, vp * sizeof(float));
    sum[0] = 0.0f;
    sum[LB_ATTN_GROUP] = -INFINITY;
}

/* A head's parts of chunks lo..hi-1 of a group, joined and added to out, *max and *sum (a first group: *sum is 0). vp floats in temp. */
static LB_NOINLINE void join_group(const lb_kernels *k, float *part, size_t vp, size_t lo, size_t hi, float *out, float *max, float *sum, float *temp)
{
    float weight[LB_ATTN_GROUP], total[LB_TILE_ROWS], top, all;
    const float *sums = part_sum(part, vp), *maxima = sums + LB_ATTN_GROUP;
    bool any = false;
    for (size_t c = lo; c < hi; c++) {
        weight[c - lo] = maxima[c];
        any = any || !(maxima[c] == -INFINITY);
    }
    if (!any) {
        return;
    }
    k->softmax_chunk(weight, 0, 1, hi - lo, &top, &all, NULL);
    k->weigh(temp, part + lo * vp, vp, weight, hi - lo, vp);
    k->weigh(total, sums + lo, 1, weight, hi - lo, LB_TILE_ROWS); /* the first is what is wanted; the others reach into the maxima */
    if (*sum == 0.0f) {
        memcpy(out, temp, vp * sizeof(float));
        *max = top;
        *sum = total[0];
    } else {
        join_running(k, out, max, sum, temp, top, total[0], vp);
    }
}

/* ---- memory ahead ---- */

/*
 * Decoding reads memory at the bus's speed only if it asks for it all the time, not just while products run. So while a unit of KV heads is
 * computed what comes next is prefetched, in order and at an even pace: by the products as they go on, and by the rest between them.
 * Of caches of codes that is, while scores are computed, the unit's values, and then the keys of the next unit: half a unit, so that what is there
 * but not yet used leaves room in the first-level cache. Of others it is the next unit (their products take most of the time).
 */

static bool fetches_halves(const lb_kv *kv)
{
    return kv->side[LB_KV_KEY].room->bits && kv->side[LB_KV_VALUE].room->bits;
}

static size_t half_bytes(const lb_kv *kv, const lb_kv_layer *l, unsigned side)
{
    return l->heads[side] * kv->side[side].chunk_bytes;
}

/* What the product with a unit's keys or values prefetches meanwhile (lb_input.fetch), `lines` of every four that it reads */
static size_t product_fetches(const lb_kv *kv, const lb_kv_layer *l, unsigned side, size_t lines)
{
    const lb_kv_side *s = &kv->side[side];
    return l->heads[side] * (s->room->bits ? s->code_tiles * s->code_tile_bytes / 4 * lines : s->block_bytes / 8 * 7);
}

/* `lines` of every four, or as many as are `most` bytes. Measured: of keys three with q8, else four; of values three. The rest is left to the softmax. */
static size_t lines_for(const lb_kv *kv, const lb_kv_layer *l, unsigned side, size_t lines, size_t most)
{
    while (lines > 1 && product_fetches(kv, l, side, lines) > most) {
        lines--;
    }
    return lines;
}

/* What is left for each row of the softmax, and of probabilities that are quantized */
static size_t piece_of(const lb_kv *kv, const lb_kv_layer *l, size_t rows, const size_t lines[LB_KV_SIDES])
{
    const size_t key = product_fetches(kv, l, LB_KV_KEY, lines[LB_KV_KEY]), value = product_fetches(kv, l, LB_KV_VALUE, lines[LB_KV_VALUE]);
    const size_t all = fetches_halves(kv) ? half_bytes(kv, l, LB_KV_KEY) : l->unit_bytes[0], own = fetches_halves(kv) ? value : key + value;
    return lb_round_up((all - lb_min(own, all)) / (rows * (kv->side[LB_KV_VALUE].room->bits ? 2 : 1)), 64);
}

/* A unit's keys come, and then its values: so `values` on, and then the next unit, is what is to be prefetched. */
static void begin_keys(const lb_attn_rows *rows, const unsigned char *values, size_t key_bytes)
{
    lb_fetch *f = rows->fetch;
    if ((uintptr_t)values - (uintptr_t)f->at < key_bytes) { /* what is left of the keys; else it is a run's first unit */
        lb_fetch_until(f, values);
    }
    f->at = values;
    f->lines = rows->lines[LB_KV_KEY];
}

static void begin_values(const lb_attn_rows *rows, const unsigned char *end)
{
    lb_fetch_until(rows->fetch, end);
    rows->fetch->at = rows->next;
    rows->fetch->lines = rows->lines[LB_KV_VALUE];
}

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

/* Scores of the first `most` positions of chunk c, for rows of one key head, whose part of it is at `chunk` */
static LB_NOINLINE void head_scores(const lbrt_session *s, const lb_attn_rows *rows, size_t head, size_t c, unsigned char *chunk, size_t most,
                                    lb_input *q, const float *lanes, float *scores, const lb_attn_scratch *a, void *scratch)
{
    const lb_kv *kv = &s->kv;
    const lb_kv_side *side = lb_kv_side_of(kv, LB_KV_KEY, c);
    const lb_kernels *k = s->exec.k;
    lb_matmul_fn *numbers = product_of(k, side, q->n);
    if (!side->room->bits) {
        numbers(chunk, side->tile_bytes, (most + LB_TILE_ROWS - 1) / LB_TILE_ROWS, side->width, q, scores, LB_KV_CHUNK, false, scratch);
        return;
    }
    const size_t first = c * LB_KV_CHUNK_BLOCKS, end = lb_min(first + LB_KV_CHUNK_BLOCKS, rows->own + 1), tiles = LB_KV_BLOCK / LB_TILE_ROWS;
    bool coded;
    for (size_t b = first, n; b < end; b += n) {
        n = next_blocks(b, rows->own, end, &coded);
        const size_t at = (b - first) * LB_KV_BLOCK;
        if (!coded) {
            q->fetch = NULL; /* itself: it lies elsewhere */
            numbers(lb_kv_block(kv, LB_KV_KEY, rows->layer, head, b), side->tile_bytes,
                    (lb_min(LB_KV_BLOCK, most - at) + LB_TILE_ROWS - 1) / LB_TILE_ROWS, side->width, q, scores + at, LB_KV_CHUNK, false, scratch);
            q->fetch = rows->fetch;
            continue;
        }
        k->kv_means(lb_kv_means(chunk), lb_attn_width(side->width) / 4, lanes, q->n, a->base);
        const lb_kv_matrix w = { .codes = chunk + side->codes_at + (b - first) * tiles * side->code_tile_bytes,
                                 .tile_bytes = side->code_tile_bytes,
                                 .n_tiles = n * tiles,
                                 .k = lb_round_up(side->width, LB_GROUP),
                                 .row_scale = (const uint16_t *)(const void *)chunk + at,
                                 .base = a->base + (b - first),
                                 .base_stride = LB_KV_CHUNK_BLOCKS };
        k->kv_product[side->room->product](&w, q, scores + at, LB_KV_CHUNK, false);
    }
}

/* Scores of the first `most` positions of chunk c, where the unit's part of it is at `chunk` */
static LB_NOINLINE void unit_scores(const lbrt_session *s, const lb_attn_rows *rows, size_t c, unsigned char *chunk, size_t most, lb_attn_scratch *a,
                                    void *scratch)
{
    const lb_kv *kv = &s->kv;
    const size_t heads = kv->layers[rows->layer].heads[LB_KV_KEY], per_head = rows->q.per_head, bytes = lb_kv_side_of(kv, LB_KV_KEY, c)->chunk_bytes;
    const size_t lanes = 4 * lb_attn_width(kv->side[LB_KV_KEY].width) * per_head;
    a->key_input.fetch = rows->fetch;
    for (size_t i = 0; i < heads; i++, chunk += bytes) {
        const size_t head = rows->q_head + i;
        query_rows(&kv->side[LB_KV_KEY], &rows->q, head, &a->key_input);
        head_scores(s, rows, rows->unit * heads + i, c, chunk, most, &a->key_input, rows->q.lanes + head * lanes, a->scores + i * per_head * LB_KV_CHUNK, a,
                    scratch);
    }
}

void lb_attn_scores(const lbrt_session *s, const lb_attn_rows *rows, size_t c, size_t most, lb_attn_scratch *a, void *scratch)
{
    unit_scores(s, rows, c, lb_kv_unit(&s->kv, rows->layer, rows->unit, c), most, a, scratch);
}

static lb_kv_codes probability_codes(const lb_attn_scratch *a)
{
    return (lb_kv_codes){ .q = a->p8, .q_stride = LB_KV_CHUNK, .scale = a->p8_scale, .sum = a->p8_sum, .group_stride = LB_KV_CHUNK / LB_KV_GROUP };
}

/* The values of chunk c, weighted with `p` (n rows of probabilities), for rows of one value head, whose part of it is at `chunk` */
static LB_NOINLINE void head_values(const lbrt_session *s, const lb_attn_rows *rows, size_t head, size_t c, const unsigned char *chunk, size_t most,
                                    float *probabilities, size_t n_rows, float *out, size_t stride, lb_attn_scratch *a, void *scratch)
{
    const lb_kv *kv = &s->kv;
    const lb_kv_side *side = lb_kv_side_of(kv, LB_KV_VALUE, c);
    const lb_kernels *k = s->exec.k;
    const size_t vp = lb_attn_width(side->width), n_tiles = vp / LB_TILE_ROWS;
    lb_matmul_fn *numbers = product_of(k, side, n_rows);
    const lb_kv_codes p8 = probability_codes(a);
    lb_input *p = &a->value_input;
    p->n = n_rows;
    p->f32 = probabilities;
    p->fetch = rows->fetch;
    if (!side->room->bits) {
        numbers(chunk, side->tile_bytes, n_tiles, most, p, out, stride, false, scratch);
        return;
    }
    const size_t first = c * LB_KV_CHUNK_BLOCKS, end = lb_min(first + LB_KV_CHUNK_BLOCKS, rows->own + 1);
    bool coded;
    for (size_t b = first, n; b < end; b += n) {
        n = next_blocks(b, rows->own, end, &coded);
        const size_t at = (b - first) * LB_KV_BLOCK;
        if (!coded) {
            p->f32 = probabilities + at;
            p->fetch = NULL;
            numbers(lb_kv_block(kv, LB_KV_VALUE, rows->layer, head, b), side->tile_bytes, n_tiles, lb_min(LB_KV_BLOCK, most - at), p, out,
                    stride, b > first, scratch);
            p->fetch = rows->fetch;
            continue;
        }
        const uint16_t *scale = (const uint16_t *)(const void *)chunk + at;
        const size_t positions = n * LB_KV_BLOCK;
        k->kv_quantize(probabilities + at, LB_KV_CHUNK, n_rows, scale, positions, &p8, rows->fetch);
        const lb_kv_matrix w = { .codes = chunk + side->codes_at + (b - first) * (side->code_tile_bytes / LB_KV_CHUNK_BLOCKS),
                                 .tile_bytes = side->code_tile_bytes,
                                 .n_tiles = n_tiles,
                                 .k = positions };
        k->kv_product[side->room->product](&w, p, out, stride, b > first);
    }
}

/* ---- what a token sees ---- */

static LB_NOINLINE lb_seen seen_by(const lbrt_session *s, uint32_t layer, size_t position)
{
    const lb_hparams *h = &s->model->hparams;
    const lb_kv *kv = &s->kv;
    const size_t models = h->window != 0 && layer >= h->window_from && position >= h->window ? position - h->window + 1 : 0;
    const size_t own = kv->window && position >= kv->window ? position - kv->window + 1 : 0;
    return (lb_seen){ lb_max(models, own), models ? 0 : lb_min(own, kv->sinks) };
}

/* The chunks that tokens from `from` on see: the first if *sinks, and those from the one returned on. Later tokens may have no sinks any more. */
static LB_NOINLINE size_t first_chunk(const lbrt_session *s, uint32_t layer, size_t from, bool *sinks)
{
    const lb_seen seen = seen_by(s, layer, from);
    *sinks = seen.begin >= LB_KV_CHUNK && seen.sinks > 0;
    return seen.begin / LB_KV_CHUNK;
}

/* Whether rows see all of a chunk's values as codes, and so of no position more than another. */
static bool all_coded(const lbrt_session *s, const lb_attn_rows *rows, size_t c)
{
    return s->kv.side[LB_KV_VALUE].room->bits && c > 0 && (c + 1) * LB_KV_CHUNK_BLOCKS <= rows->own;
}

/* The softmax of n rows of one value head in such a chunk, and the values weighted with it. */
static LB_NOINLINE void head_coded(const lbrt_session *s, const lb_attn_rows *rows, size_t c, const unsigned char *chunk, float *scores, size_t n,
                                   float *max, float *sum, float *out, size_t stride, lb_attn_scratch *a)
{
    const lb_kv_side *side = lb_kv_side_of(&s->kv, LB_KV_VALUE, c);
    const lb_kernels *k = s->exec.k;
    const size_t vp = lb_attn_width(side->width);
    const lb_kv_codes p8 = probability_codes(a);
    const lb_kv_matrix w = { .codes = chunk + side->codes_at, .tile_bytes = side->code_tile_bytes, .n_tiles = vp / LB_TILE_ROWS, .k = LB_KV_CHUNK };
    k->kv_softmax(scores, LB_KV_CHUNK, n, (const uint16_t *)(const void *)chunk, &p8, max, sum, rows->fetch);
    a->value_input.n = n;
    a->value_input.fetch = rows->fetch;
    k->kv_product[side->room->product](&w, &a->value_input, out, stride, false);
}

/*
 * Chunk c, where the unit's part of it is at `unit`, for rows that are tokens `position` on: fills its place in the parts of its group, that of
 * row 0 at `part` and those of others `stride` floats on. Where a row sees nothing of it these are -inf, 0 and 0.
 */
static LB_NOINLINE void attend_chunk(const lbrt_session *s, const lb_attn_rows *rows, size_t c, unsigned char *unit, float *part, size_t stride,
                                     lb_attn_scratch *a, void *scratch)
{
    const lb_kernels *k = s->exec.k;
    const lb_kv *kv = &s->kv;
    const lb_kv_layer *l = &kv->layers[rows->layer];
    const size_t vp = lb_attn_width(kv->side[LB_KV_VALUE].width), at = c * LB_KV_CHUNK;
    const size_t most = lb_min(rows->position + rows->tokens - at, LB_KV_CHUNK);
    const bool coded = all_coded(s, rows, c), halves = rows->fetch && fetches_halves(kv);
    const unsigned char *chunk = unit + l->heads[LB_KV_KEY] * lb_kv_side_of(kv, LB_KV_KEY, c)->chunk_bytes;
    if (halves) {
        begin_keys(rows, chunk, half_bytes(kv, l, LB_KV_KEY));
    }
    unit_scores(s, rows, c, unit, most, a, scratch);
    if (halves) {
        begin_values(rows, chunk + half_bytes(kv, l, LB_KV_VALUE));
    }
    for (size_t r = 0, n; r < rows->n; r += n) {
        const size_t position = rows->position + r % rows->tokens, limit = lb_min(position + 1 - at, LB_KV_CHUNK);
        const lb_seen seen = position == rows->position ? rows->seen : seen_by(s, rows->layer, position);
        const size_t begin = seen.begin > at ? lb_min(seen.begin - at, LB_KV_CHUNK) : 0, sinks = c == 0 ? lb_min(seen.sinks, begin) : 0;
        float *p = a->scores + r * LB_KV_CHUNK;
        n = rows->tokens == 1 && begin == 0 ? rows->n : 1;
        for (size_t i = sinks; i < lb_min(begin, limit); i++) {
            p[i] = -INFINITY;
        }
        if (coded) {
            continue;
        }
        if (begin >= limit && sinks == 0) {
            memset(p, 0, most * sizeof(float));
            a->max[r] = -INFINITY;
            a->sum[r] = 0;
            continue;
        }
        k->softmax_chunk(p, LB_KV_CHUNK, n, limit, &a->max[r], &a->sum[r], rows->fetch);
        if (limit < most) { /* a later token of the batch sees more: this one gives it no weight */
            memset(p + limit, 0, (most - limit) * sizeof(float));
        }
    }
    const size_t heads = l->heads[LB_KV_VALUE], per_head = heads == 1 ? rows->n : rows->n / heads;
    float *out = part + c % LB_ATTN_GROUP * vp, *mark = part_sum(part, vp) + c % LB_ATTN_GROUP;
    for (size_t i = 0, r = 0; i < heads; i++, r += per_head, chunk += lb_kv_side_of(kv, LB_KV_VALUE, c)->chunk_bytes) {
        float *scores = a->scores + r * LB_KV_CHUNK;
        if (coded) {
            head_coded(s, rows, c, chunk, scores, per_head, a->max + r, a->sum + r, out + r * stride, stride, a);
        } else {
            head_values(s, rows, rows->unit * heads + i, c, chunk, most, scores, per_head, out + r * stride, stride, a, scratch);
        }
    }
    for (size_t r = 0; r < rows->n; r++, out += stride, mark += stride) {
        if (a->max[r] == -INFINITY) { /* what 0 times a number that is not finite would leave */
            memset(out, 0, vp * sizeof(float));
            const size_t begin = coded ? seen_by(s, rows->layer, rows->position + r % rows->tokens).begin : 0;
            a->sum[r] = begin >= at + LB_KV_CHUNK ? 0.0f : a->sum[r]; /* else there was no finite score: NaN */
        }
        mark[0] = a->sum[r];
        mark[LB_ATTN_GROUP] = a->max[r];
    }
}

/* ---- the two ways of going through a cache ---- */

typedef struct attention_job {
    lbrt_session *s;
    uint32_t layer;
    const float *q;
    size_t n, first;
    size_t units, group; /* of KV heads; query heads per unit */
    size_t block;       /* tokens per item; items begin at positions that it divides, and it divides LB_KV_BLOCK */
    size_t chunk0, n_chunks; /* decoding: the first chunk seen, and how many: with the very first one if `sinks` */
    bool sinks;
    size_t run;         /* pairs of chunk and unit per item */
    size_t piece, lines[LB_KV_SIDES]; /* what is prefetched: lb_fetch */
    float *out;
    size_t out_stride;
} attention_job;

/* One unit and a block of tokens, all chunks in order. */
static void attention_item(void *context, size_t item, unsigned thread)
{
    const attention_job *job = (const attention_job *)context;
    lbrt_session *s = job->s;
    const lb_kernels *k = s->exec.k;
    const size_t kw = s->kv.side[LB_KV_KEY].width, vw = s->kv.side[LB_KV_VALUE].width, vp = lb_attn_width(vw), part = lb_attn_part(vw);
    const size_t units = job->units;
    const size_t first_block = job->first / job->block, blocks = (job->first + job->n - 1) / job->block - first_block + 1;
    /* The last blocks see the most positions: hand them out first. */
    const size_t block = first_block + blocks - 1 - item / units, unit = item % units;
    const size_t from = lb_max(job->first, block * job->block), end = lb_min(job->first + job->n, (block + 1) * job->block);
    const size_t tokens = end - from, token = from - job->first, n = tokens * job->group;
    lb_attn_scratch a = lb_attn_scratch_of(s, thread);
    void *scratch = lb_exec_scratch(&s->exec, thread);
    for (size_t r = 0; r < n; r++) {
        lb_attn_query(s, &a.q, r, job->q + (token + r % tokens) * s->q_stride + (unit * job->group + r / tokens) * kw);
    }
    lb_attn_queries_ready(s, &a.q, n, s->kv.layers[job->layer].heads[LB_KV_KEY]);
    const lb_attn_rows rows = { .layer = job->layer, .unit = (uint32_t)unit, .tokens = tokens, .n = n, .position = from,
                                .own = from / LB_KV_BLOCK, .q = a.q, .seen = seen_by(s, job->layer, from) };
    float max[LB_MM_MAX_N], sum[LB_MM_MAX_N] = { 0 }, temp[1024];
    bool sinks;
    const size_t begin = first_chunk(s, job->layer, from, &sinks), last = (end - 1) / LB_KV_CHUNK;
    for (size_t c = sinks ? 0 : begin, lo = c, next; c <= last; c = next) {
        next = c + 1 < begin ? begin : c + 1;
        attend_chunk(s, &rows, c, lb_kv_unit(&s->kv, job->layer, unit, c), a.parts, part, &a, scratch);
        for (size_t gap = c + 1; gap < next && gap % LB_ATTN_GROUP; gap++) {
            for (size_t r = 0; r < n; r++) {
                no_part(a.parts + r * part, vp, gap);
            }
        }
        if (c / LB_ATTN_GROUP != next / LB_ATTN_GROUP || next > last) {
            for (size_t r = 0; r < n; r++) {
                join_group(k, a.parts + r * part, vp, lo % LB_ATTN_GROUP, c % LB_ATTN_GROUP + 1, a.out + r * vp, &max[r], &sum[r], temp);
            }
            lo = next;
        }
    }
    for (size_t r = 0; r < n; r++) {
        float *to = job->out + (token + r % tokens) * job->out_stride + (unit * job->group + r / tokens) * vw;
        if (sum[r] == 0.0f) { /* no finite score: no finite result */
            memset(a.out + r * vp, 0, vp * sizeof(float));
        }
        memcpy(to, a.out + r * vp, vw * sizeof(float));
        k->scale(to, 1.0f / sum[r], vw);
    }
}

/* Decoding: where a head's parts of a chunk's group are. Groups follow each other but for the one of the sinks. */
static float *decode_part(const attention_job *job, size_t head, size_t c)
{
    const lbrt_session *s = job->s;
    const size_t g = c / LB_ATTN_GROUP, g0 = job->chunk0 / LB_ATTN_GROUP;
    return s->parts + (head * s->n_parts + (g < g0 ? 0 : g - g0 + (job->sinks && g0 > 0))) * lb_attn_part(s->kv.side[LB_KV_VALUE].width);
}

/* Decoding: the chunk of pair i of chunk and unit */
static size_t chunk_of(const attention_job *job, size_t i)
{
    const size_t c = i / job->units;
    return job->sinks ? (c ? job->chunk0 + c - 1 : 0) : job->chunk0 + c;
}

/*
 * Decoding, most of the time: a unit is a key head and a value head, both all codes, and the token sees the whole chunk. What does attend_chunk's work
 * then, with all that is the same for a run worked out before: reading goes on where this takes no time.
 */
typedef struct coded_run {
    const lb_kernels *k;
    lb_kv_product_fn *key_product, *value_product;
    lb_kv_matrix key, value;
    lb_kv_codes p8;
    size_t key_bytes, value_bytes, key_codes_at, value_codes_at, means_width, q_bytes, q_groups, lanes, width;
} coded_run;

static bool is_coded_run(const lbrt_session *s, uint32_t layer)
{
    const lb_kv_layer *l = &s->kv.layers[layer];
    return fetches_halves(&s->kv) && l->heads[LB_KV_KEY] == 1 && l->heads[LB_KV_VALUE] == 1;
}

static LB_NOINLINE coded_run coded_run_of(const lbrt_session *s, const lb_attn_scratch *a, size_t n)
{
    const lb_kv_side *key = &s->kv.side[LB_KV_KEY], *value = &s->kv.side[LB_KV_VALUE];
    const size_t codes = lb_attn_codes(key->width), fours = lb_round_up(n, 4);
    coded_run d = { .k = s->exec.k, .key_product = s->exec.k->kv_product[key->room->product], .value_product = s->exec.k->kv_product[value->room->product] };
    d.key = (lb_kv_matrix){ .tile_bytes = key->code_tile_bytes, .n_tiles = key->code_tiles, .k = lb_round_up(key->width, LB_GROUP), .base = a->base,
                            .base_stride = LB_KV_CHUNK_BLOCKS };
    d.value = (lb_kv_matrix){ .tile_bytes = value->code_tile_bytes, .n_tiles = value->code_tiles, .k = LB_KV_CHUNK };
    d.p8 = probability_codes(a);
    d.key_bytes = key->chunk_bytes;
    d.value_bytes = value->chunk_bytes;
    d.key_codes_at = key->codes_at;
    d.value_codes_at = value->codes_at;
    d.means_width = lb_attn_width(key->width) / 4;
    d.q_bytes = fours * codes;
    d.q_groups = fours * (codes / LB_KV_GROUP);
    d.lanes = n * 4 * lb_attn_width(key->width);
    d.width = lb_attn_width(value->width);
    return d;
}

static void attend_coded(const coded_run *d, const lb_attn_rows *rows, unsigned char *unit, float *out, float *mark, size_t stride, lb_attn_scratch *a)
{
    unsigned char *values = unit + d->key_bytes;
    lb_kv_matrix key = d->key, value = d->value;
    begin_keys(rows, values, d->key_bytes);
    a->key_input.q = rows->q.q + rows->q_head * d->q_bytes;
    a->key_input.scale = rows->q.scale + rows->q_head * d->q_groups;
    a->key_input.sum = rows->q.sum + rows->q_head * d->q_groups;
    key.codes = unit + d->key_codes_at;
    key.row_scale = (const uint16_t *)(const void *)unit;
    d->k->kv_means(lb_kv_means(unit), d->means_width, rows->q.lanes + rows->q_head * d->lanes, rows->n, a->base);
    d->key_product(&key, &a->key_input, a->scores, LB_KV_CHUNK, false);
    begin_values(rows, values + d->value_bytes);
    d->k->kv_softmax(a->scores, LB_KV_CHUNK, rows->n, (const uint16_t *)(const void *)values, &d->p8, a->max, a->sum, rows->fetch);
    value.codes = values + d->value_codes_at;
    d->value_product(&value, &a->value_input, out, stride, false);
    for (size_t r = 0; r < rows->n; r++, mark += stride) {
        mark[0] = a->sum[r]; /* NaN if no score is finite, and so is all that comes of it */
        mark[LB_ATTN_GROUP] = a->max[r];
    }
}

/*
 * Decoding: a run of pairs of chunk and unit; units of a chunk follow each other in memory. The thread's next run is likely to follow, as
 * lb_pool_run deals out items that lie together.
 */
static void attention_run_item(void *context, size_t item, unsigned thread)
{
    const attention_job *job = (const attention_job *)context;
    lbrt_session *s = job->s;
    const lb_kv *kv = &s->kv;
    const lb_kv_layer *l = &kv->layers[job->layer];
    const size_t pairs = job->n_chunks * job->units;
    lb_attn_scratch a = lb_attn_scratch_of(s, thread);
    lb_fetch fetch = { .piece = job->piece, .lines = job->lines[kv->side[LB_KV_KEY].room->bits ? LB_KV_KEY : LB_KV_VALUE] };
    lb_attn_rows rows = { .layer = job->layer, .tokens = 1, .n = job->group, .position = job->first, .own = job->first / LB_KV_BLOCK,
                          .q = s->head_q, .seen = seen_by(s, job->layer, job->first), .fetch = &fetch,
                          .lines = { job->lines[LB_KV_KEY], job->lines[LB_KV_VALUE] } };
    const size_t end = lb_min((item + 1) * job->run, pairs), stride = s->n_parts * lb_attn_part(kv->side[LB_KV_VALUE].width);
    size_t i = item * job->run, u = i % job->units, c = chunk_of(job, i);
    unsigned char *unit = lb_kv_unit(kv, job->layer, u, c), *next;
    const bool can_be_coded = is_coded_run(s, job->layer);
    const coded_run coded = can_be_coded ? coded_run_of(s, &a, job->group) : (coded_run){ 0 };
    if (can_be_coded) {
        query_rows(&kv->side[LB_KV_KEY], &rows.q, 0, &a.key_input);
        a.value_input.n = job->group;
    }
    a.key_input.fetch = a.value_input.fetch = &fetch;
    for (bool first = true; i < end; i++, first = false, unit = next) {
        const bool last = u + 1 == job->units;
        const size_t next_c = last ? chunk_of(job, lb_min(i + 1, pairs - 1)) : c;
        next = last ? lb_kv_unit(kv, job->layer, 0, next_c) : unit + l->unit_bytes[lb_kv_is_faint(kv, c)];
        rows.next = next;
        fetch.at = first || !fetches_halves(kv) ? next : fetch.at;
        rows.unit = (uint32_t)u;
        rows.q_head = u * l->heads[LB_KV_KEY];
        float *part = decode_part(job, u * job->group, c);
        if (can_be_coded && all_coded(s, &rows, c) && rows.seen.begin <= c * LB_KV_CHUNK && !lb_kv_is_faint(kv, c)) {
            const size_t in_group = c % LB_ATTN_GROUP;
            attend_coded(&coded, &rows, unit, part + in_group * coded.width, part_sum(part, coded.width) + in_group, stride, &a);
        } else {
            attend_chunk(s, &rows, c, unit, part, stride, &a, lb_exec_scratch(&s->exec, thread));
        }
        u = last ? 0 : u + 1;
        c = next_c;
    }
}

/* Decoding: a head's parts joined. */
static void attention_join_item(void *context, size_t head, unsigned thread)
{
    (void)thread;
    const attention_job *job = (const attention_job *)context;
    lbrt_session *s = job->s;
    const size_t vw = s->kv.side[LB_KV_VALUE].width, vp = lb_attn_width(vw), last = job->first / LB_KV_CHUNK;
    float out[1024], temp[1024], max = 0, sum = 0;
    for (size_t c = job->sinks ? 0 : job->chunk0, end; c <= last; c = end) {
        end = lb_min(last + 1, lb_round_up(c + 1, LB_ATTN_GROUP));
        float *part = decode_part(job, head, c);
        size_t hi = end;
        if (job->sinks && c == 0) {
            if (job->chunk0 >= LB_ATTN_GROUP) {
                hi = 1;
                end = job->chunk0;
            }
            for (size_t gap = 1; gap < lb_min(job->chunk0, hi); gap++) {
                no_part(part, vp, gap);
            }
        }
        join_group(s->exec.k, part, vp, c % LB_ATTN_GROUP, (hi - 1) % LB_ATTN_GROUP + 1, out, &max, &sum, temp);
    }
    if (sum == 0.0f) { /* no finite score: no finite result */
        memset(out, 0, sizeof out);
    }
    memcpy(job->out + head * vw, out, vw * sizeof(float));
    s->exec.k->scale(job->out + head * vw, 1.0f / sum, vw);
}

void lb_attention(lbrt_session *s, uint32_t layer, const float *q, size_t n, size_t first, float *out, size_t out_stride)
{
    const uint32_t n_heads = s->model->layers[layer].n_heads, units = s->kv.layers[layer].units;
    attention_job job = { .s = s, .layer = layer, .q = q, .n = n, .first = first, .out = out, .out_stride = out_stride, .units = units };
    job.group = n_heads / units;
    if (n == 1) {
        job.chunk0 = first_chunk(s, layer, first, &job.sinks);
        job.n_chunks = first / LB_KV_CHUNK + 1 - job.chunk0 + job.sinks;
        const size_t pairs = job.n_chunks * units;
        const lb_kv *kv = &s->kv;
        const lb_kv_layer *l = &kv->layers[layer];
        job.lines[LB_KV_KEY] = lines_for(kv, l, LB_KV_KEY, kv->side[LB_KV_KEY].room->bits == 8 ? 3 : 4, half_bytes(kv, l, LB_KV_VALUE));
        job.lines[LB_KV_VALUE] = lines_for(kv, l, LB_KV_VALUE, 3, half_bytes(kv, l, LB_KV_KEY));
        job.piece = piece_of(kv, l, job.group, job.lines);
        job.run = lb_min(MAX_RUN, lb_max(1, pairs / (RUNS_PER_THREAD * s->exec.n_threads)));
        for (uint32_t h = 0; h < n_heads; h++) {
            lb_attn_query(s, &s->head_q, h, q + h * s->kv.side[LB_KV_KEY].width);
        }
        lb_attn_queries_ready(s, &s->head_q, n_heads, lb_kv_heads(&s->kv, LB_KV_KEY, layer));
        lb_pool_run(s->exec.pool, attention_run_item, &job, (pairs + job.run - 1) / job.run);
        lb_pool_run(s->exec.pool, attention_join_item, &job, n_heads);
        return;
    }
    job.block = LB_KV_BLOCK;
    while (job.block > 1 && job.block * job.group > s->attn_rows) {
        job.block /= 2;
    }
    const size_t blocks = (first + n - 1) / job.block - first / job.block + 1;
    lb_pool_run(s->exec.pool, attention_item, &job, blocks * units);
}
