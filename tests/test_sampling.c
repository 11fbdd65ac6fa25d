/* The sampler against exact probabilities, computed in double precision by the documented order of rules. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../runtime/engine/lb_session.h"
#include "level_kernels.h"
#include "lb_test.h"
#include "small_models.h"

enum { SMPL_MAX = 512 };

static lb_candidate smpl_room[SMPL_MAX];

static lbrt_status smpl_draw(const lbrt_sampling *how, const float *logits, size_t n, uint64_t position,
                             lbrt_token *out)
{
    return lb_sample_logits(how, lb_kernels_for(NULL), logits, n, smpl_room, NULL, 0, position, out, NULL);
}

typedef struct smpl_item {
    double logit, p;
    size_t id;
} smpl_item;

static int smpl_compare(const void *a, const void *b)
{
    const smpl_item *x = a, *y = b;
    return x->logit != y->logit ? (x->logit < y->logit) - (x->logit > y->logit)
                                : (x->id > y->id) - (x->id < y->id);
}

/* Repeat penalty, top-k, temperature, min-p, top-p: p[id] of every token, 0 for those that are dropped. */
static void smpl_exact(const lbrt_sampling *how, const float *logits, size_t n, const lbrt_token *recent,
                       size_t n_recent, double *p)
{
    static smpl_item c[SMPL_MAX];
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        double x = (double)logits[i];
        for (size_t j = 0; j < n_recent && how->repeat_penalty > 0.0f; j++) {
            if ((size_t)recent[j] == i) {
                x = x > 0 ? x / (double)how->repeat_penalty : x * (double)how->repeat_penalty;
                break;
            }
        }
        p[i] = 0;
        if (isfinite(x)) {
            c[m++] = (smpl_item){ x, 0, i };
        }
    }
    qsort(c, m, sizeof c[0], smpl_compare);
    m = how->top_k && how->top_k < m ? how->top_k : m;
    if (how->temperature == 0.0f) {
        p[c[0].id] = 1;
        return;
    }
    double total = 0, part = 0;
    for (size_t i = 0; i < m; i++) {
        c[i].p = exp((c[i].logit - c[0].logit) / (double)how->temperature);
        if (c[i].p < (double)how->min_p) {
            m = i;
            break;
        }
        total += c[i].p;
    }
    const bool nucleus = how->top_p > 0.0f && how->top_p < 1.0f;
    size_t keep = 0;
    while (keep < m && (keep == 0 || !nucleus || part < (double)how->top_p * total)) {
        part += c[keep++].p;
    }
    for (size_t i = 0; i < keep; i++) {
        p[c[i].id] = c[i].p / part;
    }
}

static void smpl_logits(float *logits, size_t n, float spread)
{
    for (size_t i = 0; i < n; i++) {
        logits[i] = spread * lb_test_gauss();
    }
}

static void smpl_greedy(void)
{
    lb_test_case("greedy: the largest, of several the lowest id, never a NaN");
    float logits[SMPL_MAX];
    for (unsigned round = 0; round < 3000; round++) {
        size_t n = 1 + lb_test_random() % SMPL_MAX, best = n;
        for (size_t i = 0; i < n; i++) {
            logits[i] = (float)(lb_test_random() % 7) - 3.0f; /* many ties */
            if (lb_test_random() % 9 == 0) {
                logits[i] = lb_test_random() % 2 ? NAN : -INFINITY;
            }
            if (logits[i] > (best < n ? logits[best] : -INFINITY)) {
                best = i;
            }
        }
        lbrt_token id = -1;
        const lbrt_sampling zero = LBRT_SAMPLING_INIT;
        lbrt_sampling off = LBRT_SAMPLING_INIT;
        off.repeat_penalty = 1.0f;
        const lbrt_sampling *hows[] = { NULL, &zero, &off };
        lbrt_status s = smpl_draw(hows[round % 3], logits, n, round, &id);
        LB_CHECK(best == n ? s == LBRT_ERR_NUMERIC : s == LBRT_OK && (size_t)id == best,
                 "%d: %d instead of %zu", (int)s, (int)id, best);
    }
    lb_test_case("logits that are not finite: the rest is sampled; if there is none, NUMERIC");
    for (unsigned i = 0; i < 4; i++) {
        lbrt_sampling how = LBRT_SAMPLING_INIT;
        how.temperature = i % 2 ? 1.0f : 0.0f;
        how.repeat_penalty = i / 2 ? 1.1f : 0.0f;
        const float none[] = { NAN, INFINITY, -INFINITY, NAN }, one[] = { NAN, INFINITY, -2.0f, -INFINITY };
        lbrt_token id = -1;
        const lbrt_token recent[] = { 1 };
        lbrt_error err = { LBRT_OK, "" };
        LB_CHECK(lb_sample_logits(&how, lb_kernels_for(NULL), none, 4, smpl_room, recent, 1, 0, &id, &err) ==
                         LBRT_ERR_NUMERIC &&
                     err.text[0],
                 "%u", i);
        LB_CHECK(lb_sample_logits(&how, lb_kernels_for(NULL), one, 4, smpl_room, recent, 1, 0, &id, &err) ==
                         LBRT_OK &&
                     id == 2,
                 "%u: %d", i, (int)id);
    }
}

/* Pearson's chi-square of counts against p; tokens that are expected less than 8 times are taken together. */
static void smpl_chi_square(const unsigned *count, const double *p, size_t n, unsigned draws,
                            const char *what)
{
    double sum = 0, rest_p = 0;
    unsigned rest = 0, bins = 0, outside = 0;
    for (size_t i = 0; i < n; i++) {
        const double expected = p[i] * draws;
        outside += p[i] == 0 ? count[i] : 0;
        if (expected < 8) {
            rest_p += p[i];
            rest += count[i];
            continue;
        }
        sum += (count[i] - expected) * (count[i] - expected) / expected;
        bins++;
    }
    if (rest_p * draws >= 8) {
        sum += (rest - rest_p * draws) * (rest - rest_p * draws) / (rest_p * draws);
        bins++;
    }
    const double freedom = bins > 1 ? bins - 1 : 0, bound = freedom + 5 * sqrt(2 * freedom) + 5;
    LB_CHECK(outside == 0, "%s: %u draws of dropped tokens", what, outside);
    LB_CHECK(sum <= bound, "%s: chi-square %.1f with %g degrees of freedom", what, sum, freedom);
}

static void smpl_distribution(void)
{
    static const float temperatures[] = { 0.4f, 1.3f }, top_ps[] = { 0.0f, 0.35f, 0.9f, 1.0f },
                       min_ps[] = { 0.0f, 0.04f, 0.5f };
    static const uint32_t top_ks[] = { 0, 1, 4, 1000 };
    static const lbrt_token recent[] = { 3, 8, 3, 20, 1, 3 };
    enum { N = 24, DRAWS = 1500 };
    float logits[N];
    double p[N];
    for (size_t t = 0; t < 2; t++) {
        lb_test_case("draws follow the exact probabilities, temperature %g", (double)temperatures[t]);
        for (size_t i = 0; i < 4 * 4 * 3 * 2; i++) {
            lbrt_sampling how = LBRT_SAMPLING_INIT;
            how.temperature = temperatures[t];
            how.top_p = top_ps[i % 4];
            how.top_k = top_ks[i / 4 % 4];
            how.min_p = min_ps[i / 16 % 3];
            how.repeat_penalty = i / 48 ? 1.7f : 0.0f;
            how.seed = 1000 * t + i;
            smpl_logits(logits, N, 1.5f);
            unsigned count[N] = { 0 };
            for (uint64_t position = 0; position < DRAWS; position++) {
                lbrt_token id = -1;
                lbrt_status s = lb_sample_logits(&how, lb_kernels_for(NULL), logits, N, smpl_room, recent, 6,
                                                 position, &id, NULL);
                if (!LB_CHECK(s == LBRT_OK && id >= 0 && id < N, "%d: %d", (int)s, (int)id)) {
                    return;
                }
                count[id]++;
            }
            char what[128];
            lb_format(what, sizeof what, "top_k %u, top_p %d%%, min_p %d%%, penalty %d", how.top_k,
                      (int)(how.top_p * 100), (int)(how.min_p * 100), how.repeat_penalty > 0);
            smpl_exact(&how, logits, N, recent, 6, p);
            smpl_chi_square(count, p, N, DRAWS, what);
        }
    }
    lb_test_case("the same over seeds at one position, and no two neighbours alike");
    lbrt_sampling how = LBRT_SAMPLING_INIT;
    how.temperature = 1.0f;
    const float flat[2] = { 0.5f, 0.5f };
    unsigned count[N] = { 0 }, same_seed = 0, same_position = 0;
    lbrt_token last_seed = -1;
    smpl_logits(logits, N, 1.0f);
    for (how.seed = 0; how.seed < DRAWS; how.seed++) {
        lbrt_token id = -1, a = -1, b = -1;
        smpl_draw(&how, logits, N, 5, &id);
        count[id >= 0 && id < N ? id : 0]++;
        smpl_draw(&how, flat, 2, 9, &a);
        smpl_draw(&how, flat, 2, 10, &b);
        same_position += a == b;
        same_seed += a == last_seed;
        last_seed = a;
    }
    smpl_exact(&how, logits, N, NULL, 0, p);
    smpl_chi_square(count, p, N, DRAWS, "over seeds");
    LB_CHECK(abs((int)same_position - DRAWS / 2) < 110 && abs((int)same_seed - DRAWS / 2) < 110,
             "%u and %u of %d", same_position, same_seed, (int)DRAWS);
}

static void smpl_rules(void)
{
    float logits[SMPL_MAX];
    lb_test_case("seed and position decide the draw, on every instruction-set level");
    for (unsigned round = 0; round < 200; round++) {
        const size_t n = 1 + lb_test_random() % SMPL_MAX;
        smpl_logits(logits, n, 2.0f);
        lbrt_sampling how = LBRT_SAMPLING_INIT;
        how.temperature = 0.5f + (float)(round % 5);
        how.top_p = round % 2 ? 0.8f : 0.0f;
        how.seed = lb_test_random();
        lbrt_token first = -1;
        LB_CHECK(smpl_draw(&how, logits, n, round, &first) == LBRT_OK, "draw");
        bool usable;
        const char *isa;
        for (size_t i = 0; (isa = lbrt_isa_name(i, &usable)) != NULL; i++) {
            lbrt_token id = -1;
            if (usable) {
                LB_CHECK(lb_sample_logits(&how, lb_kernels_for(isa), logits, n, smpl_room, NULL, 0, round,
                                          &id, NULL) == LBRT_OK &&
                             id == first,
                         "%s: %d instead of %d", isa, (int)id, (int)first);
            }
        }
    }
    lb_test_case("rules that leave one token are greedy, whatever the draw");
    for (unsigned round = 0; round < 600; round++) {
        const size_t n = 2 + lb_test_random() % 300;
        smpl_logits(logits, n, 2.0f);
        lbrt_sampling how = LBRT_SAMPLING_INIT;
        how.temperature = round % 4 == 3 ? 1e-9f : 1.5f;
        how.top_k = round % 4 == 0;
        how.top_p = round % 4 == 1 ? 1e-7f : 0.0f;
        how.min_p = round % 4 == 2 ? 1.0f : 0.0f;
        how.seed = round;
        lbrt_token greedy = -1, id = -1;
        LB_CHECK(smpl_draw(NULL, logits, n, round, &greedy) == LBRT_OK &&
                     smpl_draw(&how, logits, n, round, &id) == LBRT_OK && id == greedy,
                 "round %u: %d instead of %d", round, (int)id, (int)greedy);
    }
    lb_test_case("top_k of all tokens is no top_k");
    for (unsigned round = 0; round < 2000; round++) {
        const size_t n = 2 + lb_test_random() % 100;
        smpl_logits(logits, n, 1.5f);
        lbrt_sampling how = LBRT_SAMPLING_INIT;
        how.temperature = 1.0f;
        how.top_p = 0.25f * (float)(round % 4);
        how.min_p = 0.15f * (float)(round / 4 % 3);
        how.seed = round;
        lbrt_token none = -1, all = -1;
        LB_CHECK(smpl_draw(&how, logits, n, 1, &none) == LBRT_OK, "draw");
        how.top_k = (uint32_t)n;
        LB_CHECK(smpl_draw(&how, logits, n, 1, &all) == LBRT_OK && all == none,
                 "top_p %g, min_p %g: %d and %d", (double)how.top_p, (double)how.min_p, (int)none, (int)all);
    }
    lb_test_case(
        "the repeat penalty: once per token, positive divided, negative multiplied, foreign tokens ignored");
    const float four[] = { 3.0f, 2.9f, -1.0f, -1.1f };
    const lbrt_token again[] = { 0, 0, 0, -1, 99, INT32_MIN }, both[] = { 0, 1, 2 };
    lbrt_sampling how = LBRT_SAMPLING_INIT;
    how.repeat_penalty = 1.02f;
    lbrt_token id = -1;
    LB_CHECK(lb_sample_logits(&how, lb_kernels_for(NULL), four, 4, smpl_room, again, 6, 0, &id, NULL) ==
                     LBRT_OK &&
                 id == 0,
             "%d", (int)id);
    how.repeat_penalty = 1.05f;
    LB_CHECK(lb_sample_logits(&how, lb_kernels_for(NULL), four, 4, smpl_room, again, 6, 0, &id, NULL) ==
                     LBRT_OK &&
                 id == 1,
             "%d", (int)id);
    LB_CHECK(lb_sample_logits(&how, lb_kernels_for(NULL), four + 2, 2, smpl_room, both, 1, 0, &id, NULL) ==
                     LBRT_OK &&
                 id == 0,
             "%d", (int)id);
    how.repeat_penalty = 1.2f;
    LB_CHECK(lb_sample_logits(&how, lb_kernels_for(NULL), four + 2, 2, smpl_room, both, 1, 0, &id, NULL) ==
                     LBRT_OK &&
                 id == 1,
             "%d", (int)id);
    LB_CHECK(four[0] == 3.0f, "the logits are the caller's");

    lb_test_case("options out of range are refused");
    static const float bad[] = { -0.001f, NAN, INFINITY, -INFINITY, 1e7f };
    for (size_t i = 0; i < 5; i++) {
        for (size_t field = 0; field < 4; field++) {
            how = (lbrt_sampling)LBRT_SAMPLING_INIT;
            how.temperature = 1.0f;
            *(field == 0   ? &how.temperature
              : field == 1 ? &how.top_p
              : field == 2 ? &how.min_p
                           : &how.repeat_penalty) = bad[i];
            lbrt_error err = { LBRT_OK, "" };
            LB_CHECK(lb_sample_logits(&how, lb_kernels_for(NULL), four, 4, smpl_room, NULL, 0, 0, &id,
                                      &err) == LBRT_ERR_ARGUMENT &&
                         err.text[0],
                     "field %zu = %g", field, (double)bad[i]);
        }
    }
}

static void smpl_session(void)
{
    lb_test_case("lbrt_sample: the session's logits, its recent tokens, its position");
    lbrt_model *m = sm_model("micro", "f32", NULL);
    lbrt_session *s = NULL;
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = 400;
    o.n_threads = 1;
    if (!LB_CHECK(m && lbrt_session_create(m, &o, &s, NULL) == LBRT_OK, "no session")) {
        return;
    }
    enum { VOCAB = 288 };
    lbrt_token ids[100];
    double p[VOCAB];
    unsigned penalized = 0;
    for (unsigned round = 0; round < 60; round++) {
        sm_tokens(ids, 100, VOCAB, round);
        lbrt_token greedy = -1, id = -2;
        /* the greedy token after all is put 70 places back, where the usual 64 recent ones do not reach */
        LB_CHECK(lbrt_rewind(s, 0) == LBRT_OK && lbrt_feed(s, ids, 100) == LBRT_OK &&
                     lbrt_sample(s, NULL, &greedy) == LBRT_OK,
                 "%s", lbrt_session_error(s));
        lbrt_sampling how = LBRT_SAMPLING_INIT;
        how.repeat_penalty = 1000.0f;
        static const uint32_t lasts[] = { 0, 1, 10, 100, UINT32_MAX };
        for (size_t i = 0; i < 5; i++) {
            how.repeat_last = lasts[i];
            const size_t last = lasts[i] == 0 ? 64 : lasts[i] < 100 ? lasts[i] : 100;
            smpl_exact(&how, lbrt_logits(s, 0), VOCAB, ids + 100 - last, last, p);
            LB_CHECK(lbrt_sample(s, &how, &id) == LBRT_OK && p[id] == 1, "repeat_last %u: %d", lasts[i],
                     (int)id);
            penalized += id != greedy;
        }
        how = (lbrt_sampling)LBRT_SAMPLING_INIT;
        how.temperature = 1.0f;
        how.seed = round;
        lbrt_token drawn = -3, again = -4;
        static float copy[VOCAB];
        memcpy(copy, lbrt_logits(s, 0), sizeof copy);
        LB_CHECK(lbrt_sample(s, &how, &drawn) == LBRT_OK && lbrt_sample(s, &how, &again) == LBRT_OK &&
                     drawn == again,
                 "sampled twice");
        LB_CHECK(smpl_draw(&how, copy, VOCAB, 100, &again) == LBRT_OK && drawn == again,
                 "the position is the session's length");
        LB_CHECK(memcmp(copy, lbrt_logits(s, 0), sizeof copy) == 0, "sampling changed the logits");
    }
    LB_CHECK(penalized > 0, "the penalty never mattered");
    lbrt_session_free(s);
    lbrt_model_close(m);
}

void test_sampling(void)
{
    smpl_greedy();
    smpl_distribution();
    smpl_rules();
    smpl_session();
}
