/* Which positions of a prompt are worth keeping (SnapKV, arXiv 2404.14469): lb_session.h says what is counted. */
#include "../../kernels/lb_math.h"
#include "lb_session.h"

typedef struct snap_job {
    lbrt_session *s;
    uint32_t layer;
    size_t first, n, group;
    size_t units_before; /* of earlier layers */
} snap_job;

/* The maximum and the sum of exponentials of every row over all chunks. */
static LB_NOINLINE void whole_softmax(const lbrt_session *s, const lb_attn_rows *rows, lb_attn_scratch *a, float *max, float *sum, void *scratch)
{
    const size_t end = rows->position + rows->tokens;
    for (size_t at = 0; at < end; at += LB_KV_CHUNK) {
        lb_attn_scores(s, rows, at / LB_KV_CHUNK, lb_min(LB_KV_CHUNK, end - at), a, scratch);
        for (size_t r = 0; r < rows->n; r++) {
            float m, e;
            s->exec.k->softmax_chunk(a->scores + r * LB_KV_CHUNK, 0, 1, lb_min(LB_KV_CHUNK, rows->position + r % rows->tokens + 1 - at), &m, &e, NULL);
            const float top = at == 0 || m > max[r] ? m : max[r];
            sum[r] = at == 0 ? e : lb_fma(e, lb_exp(m - top), sum[r] * lb_exp(max[r] - top));
            max[r] = top;
        }
    }
}

/* Adds what rows look at to vote[]. */
static void add_votes(const lbrt_session *s, const lb_attn_rows *rows, lb_attn_scratch *a, float *vote, void *scratch)
{
    const size_t end = rows->position + rows->tokens;
    float max[LB_MM_MAX_N], sum[LB_MM_MAX_N];
    whole_softmax(s, rows, a, max, sum, scratch);
    for (size_t at = 0; at < end; at += LB_KV_CHUNK) {
        lb_attn_scores(s, rows, at / LB_KV_CHUNK, lb_min(LB_KV_CHUNK, end - at), a, scratch);
        for (size_t r = 0; r < rows->n; r++) {
            const size_t limit = lb_min(LB_KV_CHUNK, rows->position + r % rows->tokens + 1 - at);
            float *p = a->scores + r * LB_KV_CHUNK, m, e;
            s->exec.k->softmax_chunk(p, 0, 1, limit, &m, &e, NULL);
            s->exec.k->axpby(vote + at, p, 1.0f, lb_exp(m - max[r]) / sum[r], limit);
        }
    }
}

static uint32_t order_of(float vote) /* votes are not negative: their bits rise with them */
{
    return lb_f32_bits(vote) & 0x7fffffff;
}

/* The `want` largest of n, of equal ones the first, rising. */
static LB_NOINLINE void largest(const float *pooled, size_t n, size_t want, uint32_t *out)
{
    uint32_t bar = 0; /* at least `want` are not below it */
    for (uint32_t bit = 1u << 30; bit; bit >>= 1) {
        size_t count = 0;
        for (size_t i = 0; i < n; i++) {
            count += order_of(pooled[i]) >= (bar | bit);
        }
        bar = count >= want ? bar | bit : bar;
    }
    size_t above = 0;
    for (size_t i = 0; i < n; i++) {
        above += order_of(pooled[i]) > bar;
    }
    for (size_t i = 0, equal = want - above; i < n; i++) {
        const uint32_t v = order_of(pooled[i]);
        if (v > bar || (v == bar && equal > 0)) {
            equal -= v == bar;
            *out++ = (uint32_t)i;
        }
    }
}

/*
 * Of n positions the `want` to keep and those to be kept faint (lb_kv_kept). What is faint already has lost what would be worth keeping. value and
 * index have room for n.
 */
static void choose(const lbrt_session *s, const lb_votes *v, const float *pooled, size_t n, float *value, uint32_t *index, size_t want, uint32_t *keep,
                   uint32_t *faint)
{
    const size_t begin = LB_KV_CHUNK, end = begin + s->kv.faint * LB_KV_CHUNK; /* faint now */
    for (unsigned round = 0; round < 2; round++) {
        const size_t pick = round ? v->n_faint * LB_KV_CHUNK : want;
        uint32_t *out = round ? faint : keep;
        size_t m = 0;
        for (size_t i = begin; round && i < end; i++) {
            index[m++] = (uint32_t)i;
        }
        for (size_t i = 0, kept = 0; i < n; i++) {
            if (round && kept < want && keep[kept] == i) {
                kept++;
            } else if (i < begin || i >= end) {
                index[m++] = (uint32_t)i;
            }
        }
        for (size_t i = 0; i < m; i++) {
            value[i] = pooled[index[i]];
        }
        if (pick) {
            largest(value, m, pick, out);
        }
        for (size_t i = 0; i < pick; i++) {
            out[i] = index[out[i]];
        }
    }
}

static void snap_item(void *context, size_t unit, unsigned thread)
{
    const snap_job *job = (const snap_job *)context;
    lbrt_session *s = job->s;
    const lb_votes *v = s->votes;
    const size_t width = s->kv.side[LB_KV_KEY].width, most = s->attn_rows / job->group;
    float *vote = v->vote + thread * v->room, *pooled = v->pooled + thread * v->room;
    lb_attn_scratch a = lb_attn_scratch_of(s, thread);
    memset(vote, 0, (job->first + job->n) * sizeof *vote);
    for (size_t t = 0, tokens; t < job->n; t += tokens) { /* tokens of one block at a time */
        tokens = lb_min(lb_min(most, job->n - t), LB_KV_BLOCK - (job->first + t) % LB_KV_BLOCK);
        for (size_t r = 0; r < tokens * job->group; r++) {
            lb_attn_query(s, &a.q, r, s->q + (t + r % tokens) * s->q_stride + (unit * job->group + r / tokens) * width);
        }
        lb_attn_queries_ready(s, &a.q, tokens * job->group, s->kv.layers[job->layer].heads[LB_KV_KEY]);
        const lb_attn_rows rows = { .layer = job->layer, .unit = (uint32_t)unit, .tokens = tokens, .n = tokens * job->group,
                                    .position = job->first + t, .own = (job->first + t) / LB_KV_BLOCK, .q = a.q };
        add_votes(s, &rows, &a, vote, lb_exec_scratch(&s->exec, thread));
    }
    for (size_t i = 0; i < job->first; i++) {
        pooled[i] = 0;
        for (size_t j = i < LB_SNAP_POOL / 2 ? 0 : i - LB_SNAP_POOL / 2; j < lb_min(job->first, i + LB_SNAP_POOL / 2 + 1); j++) {
            pooled[i] = order_of(vote[j]) > order_of(pooled[i]) ? vote[j] : pooled[i];
        }
    }
    uint32_t *keep = v->keep + (job->units_before + unit) * v->n_kept, *faint = v->faint + (job->units_before + unit) * v->n_faint * LB_KV_CHUNK;
    choose(s, v, pooled, job->first, vote, v->index + thread * v->room, v->n_kept - job->n, keep, faint);
    for (size_t i = 0; i < job->n; i++) {
        keep[v->n_kept - job->n + i] = (uint32_t)(job->first + i);
    }
}

void lb_snap_layer(lbrt_session *s, uint32_t layer, size_t first, size_t n)
{
    snap_job job = { .s = s, .layer = layer, .first = first, .n = n };
    for (uint32_t i = 0; i < layer; i++) {
        job.units_before += s->kv.layers[i].units;
    }
    job.group = s->model->layers[layer].n_heads / s->kv.layers[layer].units;
    lb_pool_run(s->exec.pool, snap_item, &job, s->kv.layers[layer].units);
}
