/*
 * lb_source_balance: a model whose keys have channels much larger than the others, which the queries make good, computes the same bits after
 * balancing, and with a quantized cache what it would without those channels.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/import/lb_source.h"
#include "../formats/pack/lb_convert.h"
#include "../runtime/engine/lb_model.h"
#include "lb_test.h"
#include "small_models.h"

void test_balance(void);

enum { BAL_N = 300 };

/* The source with some rotated pairs of keys 8 times as large and queries so much smaller. */
typedef struct bal_planted {
    lb_source source; /* first */
    lb_source *inner;
} bal_planted;

/* What multiplies channel d of key head `head` */
static float bal_factor(const lb_hparams *h, size_t head, size_t d)
{
    const size_t half = h->rope_dim / 2, pair = d >= h->rope_dim ? d : h->rope_interleaved ? d / 2 : d % half;
    return (pair * 7 + head * 3) % 5 == 1 ? 8.0f : 1.0f;
}

/* Whether queries and keys are normed per head: then the norms have the factors. */
static bool bal_normed(const lb_source *s)
{
    for (size_t i = 0; i < s->n_tensors; i++) {
        if (strstr(s->tensors[i].name, "k_norm")) {
            return true;
        }
    }
    return false;
}

static lbrt_status bal_read(const lb_source *s, size_t i, uint64_t row, uint64_t n, float *out, lbrt_error *err)
{
    const bal_planted *p = (const bal_planted *)(const void *)s;
    const lb_hparams *h = &s->hparams;
    const lb_source_tensor *t = &s->tensors[i];
    LB_TRY(p->inner->read_rows(p->inner, i, row, n, out, err));
    const char *q = strstr(t->name, ".attn_q"), *k = strstr(t->name, ".attn_k");
    const bool norm = strstr(t->name, "k_norm") || strstr(t->name, "q_norm"), normed = bal_normed(s);
    if ((!q && !k) || norm != normed) {
        return LBRT_OK;
    }
    const size_t group = q && !normed ? h->n_heads / h->n_kv_heads : 1;
    for (uint64_t x = 0; x < n * t->cols; x++) {
        const uint64_t channel = t->rows == 1 ? x : row + x / t->cols;
        const float f = bal_factor(h, normed ? 0 : (size_t)(channel / h->head_dim) / group, (size_t)(channel % h->head_dim));
        out[x] *= q ? 1.0f / f : f;
    }
    return LBRT_OK;
}

static void bal_close(lb_source *s)
{
    bal_planted *p = (bal_planted *)(void *)s;
    p->inner->close(p->inner);
    free(p);
}

static lb_source *bal_source(const char *shape, bool planted)
{
    lb_source *inner = sm_source(shape);
    bal_planted *p = inner && planted ? malloc(sizeof *p) : NULL;
    if (!p) {
        return inner;
    }
    *p = (bal_planted){ .source = *inner, .inner = inner };
    p->source.read_rows = bal_read;
    p->source.close = bal_close;
    return &p->source;
}

/* Logits of a text with the cache in a format; balanced: *n_changed channels. */
static bool bal_logits(const char *shape, bool planted, bool balance, lb_wformat weights, lbrt_kv_format kv, float *out, size_t *n_changed)
{
    lb_source *source = bal_source(shape, planted);
    const lb_convert_options options = { .format = weights, .threads = 1 };
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lbrt_error err = { LBRT_OK, "" };
    lbrt_model *m = NULL;
    lbrt_session *s = NULL;
    static lbrt_token text[BAL_N];
    char path[300];
    snprintf(path, sizeof path, "%s", lb_test_temp("balance.lbrt"));
    bool ok = source && (!balance || lb_source_balance(&source, &a, n_changed, &err) == LBRT_OK) &&
              lb_convert(source, path, &options, &a, &err) == LBRT_OK && lbrt_model_open(path, NULL, &m, &err) == LBRT_OK;
    if (ok) {
        lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
        o.n_context = BAL_N;
        o.kv_key = kv;
        o.kv_value = LBRT_KV_F32;
        sm_tokens(text, BAL_N, m->hparams.n_vocab, 21);
        ok = lbrt_session_create(m, &o, &s, &err) == LBRT_OK && lbrt_feed(s, text, BAL_N) == LBRT_OK;
        memcpy(out, ok ? lbrt_logits(s, 0) : out, m->hparams.n_vocab * sizeof *out);
    }
    LB_CHECK(ok, "%s: %s", shape, s ? lbrt_session_error(s) : err.text);
    lbrt_session_free(s);
    lbrt_model_close(m);
    if (source) {
        source->close(source);
    }
    return ok;
}

static double bal_off(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += pow((double)a[i] - (double)b[i], 2);
    }
    return sqrt(sum / (double)n);
}

/* n: logits to look at, which all shapes have */
static void bal_shape(const char *shape)
{
    enum { N = 288 };
    static float plain[1024], planted[1024], balanced[1024], plain4[1024], planted4[1024], balanced4[1024];
    size_t none = 0, some = 0;
    lb_test_case("balanced keys: %s", shape);
    if (!bal_logits(shape, false, false, LB_W_F32, LBRT_KV_F32, plain, NULL) || !bal_logits(shape, true, false, LB_W_F32, LBRT_KV_F32, planted, NULL) ||
        !bal_logits(shape, true, true, LB_W_F32, LBRT_KV_F32, balanced, &some) || !bal_logits(shape, false, false, LB_W_F32, LBRT_KV_Q4, plain4, NULL) ||
        !bal_logits(shape, true, false, LB_W_F32, LBRT_KV_Q4, planted4, NULL) || !bal_logits(shape, true, true, LB_W_F32, LBRT_KV_Q4, balanced4, &none)) {
        return;
    }
    LB_CHECK(memcmp(plain, planted, sizeof(float[N])) == 0, "powers of two change logits by %g", bal_off(plain, planted, N));
    LB_CHECK(memcmp(plain, balanced, sizeof(float[N])) == 0, "balancing changes logits by %g", bal_off(plain, balanced, N));
    LB_CHECK(some > 0 && some == none, "%zu channels changed", some);
    const double usual = bal_off(plain, plain4, N), large = bal_off(plain, planted4, N), even = bal_off(plain, balanced4, N);
    LB_CHECK(large > 1.5 * usual && even < 1.2 * usual, "4 bits are off by %g, with large channels %g, balanced %g", usual, large, even);
}

void test_balance(void)
{
    bal_shape("tiny");
    bal_shape("micro");

    lb_test_case("balanced keys: ternary layers stay, packed weights scale");
    float a[1024], b[1024];
    size_t changed = 1;
    if (bal_logits("bits", false, false, LB_W_Q8, LBRT_KV_F16, a, NULL) && bal_logits("bits", false, true, LB_W_Q8, LBRT_KV_F16, b, &changed)) {
        LB_CHECK(changed == 0 && memcmp(a, b, sizeof(float[256])) == 0, "%zu channels of a ternary model", changed);
    }
    if (bal_logits("tiny", true, false, LB_W_Q4, LBRT_KV_F32, a, NULL) && bal_logits("tiny", true, true, LB_W_Q4, LBRT_KV_F32, b, &changed)) {
        LB_CHECK(changed > 0 && bal_off(a, b, 288) < 1e-3, "packed rows are off by %g", bal_off(a, b, 288));
    }

    lb_test_case("balanced keys: memory that is not there");
    for (unsigned fail = 1; fail < 40; fail++) {
        lb_source *source = bal_source("tiny", true);
        lbrt_error err = { LBRT_OK, "" };
        const lbrt_status s = source ? lb_source_balance(&source, lb_test_allocator(fail), &changed, &err) : LBRT_ERR_IO;
        LB_CHECK(s == LBRT_OK || (s == LBRT_ERR_MEMORY && err.text[0]), "%d: %s", (int)s, err.text);
        if (source) {
            source->close(source);
        }
        if (s == LBRT_OK) {
            LB_CHECK(fail > 3, "only %u allocations", fail);
            break;
        }
    }
    LB_CHECK(lb_test_alloc_alive() == 0, "%zu bytes are left", lb_test_alloc_alive());
    lb_test_allocator(0);
}
