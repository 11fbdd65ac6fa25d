/*
 * Choosing the next token: repeat penalty, top-k, temperature, min-p, top-p (in this order), then a draw. Arithmetic is our own
 * exp and plain sums in a fixed order; random numbers come from a counter, so seed and position alone decide the draw.
 */
#include "../../kernels/lb_math.h"
#include "lb_session.h"

/* Larger logit first, ties to the lower id: a total order, so any sorting algorithm gives the same sequence. */
static bool candidate_before(lb_candidate a, lb_candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/* A heap whose root comes first in the order. */
static void candidate_sink(lb_candidate *c, size_t i, size_t n)
{
    lb_candidate x = c[i];
    for (size_t j; (j = 2 * i + 1) < n; i = j) {
        if (j + 1 < n && candidate_before(c[j + 1], c[j])) {
            j++;
        }
        if (!candidate_before(c[j], x)) {
            break;
        }
        c[i] = c[j];
    }
    c[i] = x;
}

/* splitmix64 of seed and position, to [0, 1) with 24 bits */
static float draw_uniform(uint64_t seed, uint64_t position)
{
    uint64_t z = seed + 0x9e3779b97f4a7c15ull * (position + 1);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    return (float)(z >> 40) * 0x1p-24f;
}

static void penalize(lb_candidate *c, size_t n, float penalty, const lbrt_token *recent, size_t n_recent)
{
    for (size_t i = 0; i < n_recent; i++) {
        bool again = false; /* a token is penalized once, however often it occurred */
        for (size_t j = 0; j < i && !again; j++) {
            again = recent[j] == recent[i];
        }
        size_t id = (size_t)recent[i];
        if (!again && id < n) {
            c[id].logit = c[id].logit > 0 ? c[id].logit / penalty : c[id].logit * penalty;
        }
    }
}

static bool fraction(float f)
{
    return f >= 0.0f && f <= 1.0f;
}

lbrt_status lb_sample_logits(const lbrt_sampling *how, const lb_kernels *k, const float *logits, size_t n,
                             lb_candidate *c, const lbrt_token *recent, size_t n_recent, uint64_t position,
                             lbrt_token *out, lbrt_error *err)
{
    static const lbrt_sampling greedy = LBRT_SAMPLING_INIT;
    how = how ? how : &greedy;
    LB_FAIL_IF(!(how->temperature >= 0.0f && how->temperature <= 1e6f) || !fraction(how->top_p) || !fraction(how->min_p) ||
                   !(how->repeat_penalty >= 0.0f && how->repeat_penalty <= 1e6f),
               err, LBRT_ERR_ARGUMENT, "a sampling option is out of range");
    bool penalty = how->repeat_penalty > 0.0f && how->repeat_penalty != 1.0f && n_recent > 0;
    if (how->temperature == 0.0f && !penalty) {
        size_t best = k->argmax(logits, n);
        if (best < n && logits[best] <= 3.4e38f) {
            *out = (lbrt_token)best;
            return LBRT_OK;
        } /* else an infinite one won: below, what is not finite is dropped */
    }
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        c[i] = (lb_candidate){ logits[i], (lbrt_token)i };
    }
    if (penalty) {
        penalize(c, n, how->repeat_penalty, recent, n_recent);
    }
    for (size_t i = 0; i < n; i++) { /* drops what is not finite */
        if (c[i].logit >= -3.4e38f && c[i].logit <= 3.4e38f) {
            c[m++] = c[i];
        }
    }
    LB_FAIL_IF(m == 0, err, LBRT_ERR_NUMERIC, "the model gave no finite logits");

    /* Take candidates from the heap in order, as many as any rule can still want. */
    for (size_t i = m / 2; i-- > 0;) {
        candidate_sink(c, i, m);
    }
    if (how->temperature == 0.0f) {
        *out = c[0].id;
        return LBRT_OK;
    }
    const float best = c[0].logit, sharp = 1.0f / (how->temperature > 1e-6f ? how->temperature : 1e-6f);
    float total = 0.0f;
    if (how->top_k == 0 && how->top_p > 0.0f && how->top_p < 1.0f) {
        for (size_t i = 0; i < m; i++) { /* in the heap's order, which the logits alone determine */
            float p = lb_exp((c[i].logit - best) * sharp);
            total += p < how->min_p ? 0.0f : p;
        }
    }
    size_t keep = how->top_k ? lb_min(how->top_k, m) : m, taken = 0;
    float mass = 0.0f;
    /* Sorted candidates are stored from the array's end, where the shrinking heap leaves room. */
    while (taken < keep) {
        lb_candidate top = c[0];
        float p = lb_exp((top.logit - best) * sharp);
        if (taken > 0 && (p < how->min_p || (total > 0.0f && mass >= how->top_p * total) || p == 0.0f)) {
            break;
        }
        mass += p;
        size_t last = m - 1 - taken;
        c[0] = c[last];
        c[last] = top;
        taken++;
        candidate_sink(c, 0, last);
    }
    if (how->top_k && how->top_p > 0.0f && how->top_p < 1.0f) { /* top-p among the top k */
        float part = 0.0f, limit = how->top_p * mass;
        size_t n_in = 0;
        while (n_in < taken && (n_in == 0 || part < limit)) {
            part += lb_exp((c[m - 1 - n_in].logit - best) * sharp);
            n_in++;
        }
        taken = n_in;
        mass = part;
    }
    float u = draw_uniform(how->seed, position) * mass, sum = 0.0f;
    size_t pick = 0;
    for (; pick + 1 < taken; pick++) {
        sum += lb_exp((c[m - 1 - pick].logit - best) * sharp);
        if (u < sum) {
            break;
        }
    }
    *out = c[m - 1 - pick].id;
    return LBRT_OK;
}
