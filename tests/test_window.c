/* Sliding windows: against attention without one over fewer tokens, the same bits however tokens come, and their way into files. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/pack/lb_convert.h"
#include "../runtime/engine/lb_session.h"
#include "lb_test.h"
#include "small_models.h"

void test_window(void);

enum { WINDOW_TOKENS = 620 };

static lbrt_session *window_session(const lbrt_model *m, lbrt_kv_format f, uint32_t n_threads, uint32_t n_logits, uint32_t own)
{
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.window = own;
    o.n_context = WINDOW_TOKENS;
    o.n_threads = n_threads;
    o.n_logits = n_logits;
    o.kv_key = o.kv_value = f;
    lbrt_session *s = NULL;
    lbrt_error err = { LBRT_OK, "" };
    LB_CHECK(m && lbrt_session_create(m, &o, &s, &err) == LBRT_OK, "%s", err.text);
    return s;
}

/*
 * In a model of one layer a token sees nothing but its window, and rotary positions are relative: its logits are those of a
 * session without window that was fed the window alone.
 */
static void test_meaning(lbrt_model *m, const lbrt_token *ids, uint32_t n_vocab)
{
    static const uint32_t windows[] = { 1, 2, 17, 64, 255, 256, 257, 300 };
    const uint32_t layers = m->hparams.n_layers;
    m->hparams.n_layers = 1;
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        const uint32_t w = windows[i];
        lb_test_case("a window of %u tokens", w);
        m->hparams.window = w;
        lbrt_session *s = window_session(m, LBRT_KV_F32, 2, WINDOW_TOKENS, 0);
        LB_CHECK(lbrt_feed(s, ids, WINDOW_TOKENS) == LBRT_OK, "%s", lbrt_session_error(s));
        m->hparams.window = 0;
        lbrt_session *plain = window_session(m, LBRT_KV_F32, 1, 1, 0);
        double worst = 0.0, least_without = INFINITY;
        for (size_t p = w - 1; p < WINDOW_TOKENS; p += p < w + 2 ? 1 : 61) {
            lbrt_rewind(plain, 0);
            LB_CHECK(lbrt_feed(plain, ids + p + 1 - w, w) == LBRT_OK, "%s", lbrt_session_error(plain));
            const float *want = lbrt_logits(plain, 0), *got = lbrt_logits(s, WINDOW_TOKENS - 1 - p);
            for (size_t v = 0; v < n_vocab; v++) {
                worst = fmax(worst, fabs((double)want[v] - (double)got[v]));
            }
            if (p >= w + 61) { /* one token more is another answer: the test would see a window that is off by one */
                lbrt_rewind(plain, 0);
                LB_CHECK(lbrt_feed(plain, ids + p - w, w + 1) == LBRT_OK, "%s", lbrt_session_error(plain));
                double other = 0.0;
                want = lbrt_logits(plain, 0);
                for (size_t v = 0; v < n_vocab; v++) {
                    other = fmax(other, fabs((double)want[v] - (double)got[v]));
                }
                least_without = fmin(least_without, other);
            }
        }
        LB_CHECK(worst < 2e-4, "logits differ by %g", worst);
        LB_CHECK(least_without > 4e-4, "one token more changes logits by %g only", least_without);
        lbrt_session_free(plain);
        lbrt_session_free(s);
    }
    m->hparams.n_layers = layers;
}

/* A window of the model's in layers from 1 on, and one of the session's, which has attention sinks as long as the model's hides nothing; 0: none */
static void test_splits(lbrt_model *m, const lbrt_token *ids, uint32_t n_vocab, uint32_t window, uint32_t own)
{
    static const lbrt_kv_format formats[] = { LBRT_KV_F32, LBRT_KV_F16, LBRT_KV_Q8, LBRT_KV_Q4 };
    float *want = malloc(WINDOW_TOKENS * n_vocab * sizeof *want);
    m->hparams.window = window;
    m->hparams.window_from = 1;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        lb_test_case("a window of %u in some layers, %u in all: the same bits however tokens come, KV format %d", window, own, (int)formats[i]);
        for (size_t split = 0; split < 4; split++) {
            static const size_t pieces[] = { WINDOW_TOKENS, 1, 7, 130 };
            lbrt_session *s = window_session(m, formats[i], split % 2 ? 1 : 2, WINDOW_TOKENS, own);
            size_t bad = 0;
            for (size_t at = 0; at < WINDOW_TOKENS; at += pieces[split]) {
                const size_t n = lb_min(pieces[split], WINDOW_TOKENS - at);
                LB_CHECK(lbrt_feed(s, ids + at, n) == LBRT_OK, "%s", lbrt_session_error(s));
                for (size_t t = 0; t < n; t++) {
                    const float *got = lbrt_logits(s, n - 1 - t);
                    if (split == 0) {
                        memcpy(want + (at + t) * n_vocab, got, n_vocab * sizeof *got);
                    } else {
                        bad += memcmp(want + (at + t) * n_vocab, got, n_vocab * sizeof *got) != 0;
                    }
                }
            }
            LB_CHECK(bad == 0, "pieces of %zu: %zu positions differ", pieces[split], bad);
            lbrt_session_free(s);
        }
    }
    m->hparams.window = m->hparams.window_from = 0;
    free(want);
}

static bool stop_at_half(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    return done * 2 < total;
}

/* Going back by n_batch is always possible, and nothing at all: caches of codes then begin at a block, up to 63 tokens before. */
static void test_back(lbrt_model *m, const lbrt_token *ids)
{
    static const lbrt_kv_format formats[] = { LBRT_KV_F16, LBRT_KV_Q8, LBRT_KV_Q2 };
    for (size_t i = 0; i < 3; i++) {
        lb_test_case("a window of the session's: back by a batch, KV format %d", (int)formats[i]);
        lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
        o.n_context = 2000;
        o.n_batch = 125;
        o.window = 130;
        o.n_threads = 1;
        o.kv_key = o.kv_value = formats[i];
        lbrt_session *s = NULL;
        lbrt_error err = { LBRT_OK, "" };
        LB_CHECK(lbrt_session_create(m, &o, &s, &err) == LBRT_OK, "%s", err.text);
        for (size_t fed = 0, n; fed < 703; fed += n) {
            n = lb_min(WINDOW_TOKENS, 703 - fed);
            LB_CHECK(lbrt_feed(s, ids, n) == LBRT_OK, "%s", lbrt_session_error(s));
        }
        LB_CHECK(lbrt_feed(s, ids, 125) == LBRT_OK && lbrt_rewind(s, 703) == LBRT_OK, "%s", lbrt_session_error(s));
        lbrt_session_free(s);

        o.progress = stop_at_half;
        LB_CHECK(lbrt_session_create(m, &o, &s, &err) == LBRT_OK, "%s", err.text);
        s->progress = NULL;
        for (size_t fed = 0, n; fed < 703; fed += n) {
            n = lb_min(WINDOW_TOKENS, 703 - fed);
            LB_CHECK(lbrt_feed(s, ids, n) == LBRT_OK, "%s", lbrt_session_error(s));
        }
        s->progress = stop_at_half;
        LB_CHECK(lbrt_feed(s, ids, 125) == LBRT_CANCELLED && lbrt_rewind(s, lbrt_session_length(s)) == LBRT_OK, "%s", lbrt_session_error(s));
        lbrt_session_free(s);
    }
}

static void test_file(void)
{
    lb_test_case("a window in a file");
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lbrt_error err = { LBRT_OK, "" };
    lb_source *source = sm_source("tiny");
    source->hparams.window = 33;
    source->hparams.window_from = 2;
    source->hparams.attn_factor = 1.5f;
    const char *path = lb_test_temp("window.lbrt");
    const lb_convert_options options = { .format = LB_W_Q8, .threads = 1 };
    LB_CHECK(lb_convert(source, path, &options, &a, &err) == LBRT_OK, "%s", err.text);
    source->close(source);
    lbrt_model *m = NULL;
    if (LB_CHECK(lbrt_model_open(path, NULL, &m, &err) == LBRT_OK, "%s", err.text)) {
        LB_CHECK(m->hparams.window == 33 && m->hparams.window_from == 2, "%u from %u", m->hparams.window, m->hparams.window_from);
        LB_CHECK(m->hparams.attn_factor == 1.5f, "scores times %g", (double)m->hparams.attn_factor);
        lb_meta_value values[LB_HPARAMS_KEYS];
        const size_t n = lb_hparams_list(&m->hparams, values, LB_HPARAMS_KEYS);
        size_t required = 0;
        for (size_t i = 0; i < n; i++) {
            required += values[i].required;
        }
        LB_CHECK(required == 3, "%zu keys that a reader must know", required);
        lbrt_model_close(m);
    }
}

void test_window(void)
{
    lbrt_model *m = sm_model("tiny", "f32", NULL);
    if (!LB_CHECK(m != NULL, "no model")) {
        return;
    }
    lbrt_token ids[WINDOW_TOKENS];
    sm_tokens(ids, WINDOW_TOKENS, m->hparams.n_vocab, 3);
    m->hparams.n_context = WINDOW_TOKENS;
    test_meaning(m, ids, m->hparams.n_vocab);
    test_splits(m, ids, m->hparams.n_vocab, 100, 0);
    test_splits(m, ids, m->hparams.n_vocab, 590, 300);
    test_back(m, ids);
    lbrt_model_close(m);
    test_file();
}
