/*
 * Caches of every format: the same bits whatever the instruction set, threads, batches and history (rewinds, forks, saved states); what
 * quantizing loses; what a session allocates.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/lb_math.h"
#include "../runtime/base/lb_base.h"
#include "../runtime/api/lb_session_api.h"
#include "level_kernels.h"
#include "lb_test.h"
#include "small_models.h"

typedef struct kv_format {
    const char *name;
    lbrt_kv_format key, value;
} kv_format;

static const kv_format kv_formats[] = {
    { "q8", LBRT_KV_Q8, LBRT_KV_Q8 },       { "q4", LBRT_KV_Q4, LBRT_KV_Q4 },   { "q2", LBRT_KV_Q2, LBRT_KV_Q2 },
    { "q8/q4", LBRT_KV_Q8, LBRT_KV_Q4 },    { "q4/q2", LBRT_KV_Q4, LBRT_KV_Q2 }, { "f16/q4", LBRT_KV_F16, LBRT_KV_Q4 },
    { "q4/f32", LBRT_KV_Q4, LBRT_KV_F32 },
};
enum { N_KV_FORMATS = sizeof kv_formats / sizeof kv_formats[0] };

static lbrt_session *kv_session(const lbrt_model *m, const kv_format *f, size_t n_context, uint32_t n_batch, uint32_t n_threads,
                                uint32_t n_logits)
{
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = (uint32_t)n_context;
    o.n_batch = n_batch;
    o.n_threads = n_threads;
    o.n_logits = n_logits;
    o.kv_key = f->key;
    o.kv_value = f->value;
    lbrt_session *s = NULL;
    lbrt_error err = { LBRT_OK, "" };
    LB_CHECK(m && lbrt_session_create(m, &o, &s, &err) == LBRT_OK, "%s: %s", f->name, err.text);
    return s;
}

/* Feeds in pieces of `split` (0: of random length); logits of every position go to out. */
static bool kv_feed(lbrt_session *s, const lbrt_token *ids, size_t n, size_t split, uint32_t n_vocab, float *out)
{
    for (size_t at = 0, piece; at < n; at += piece) {
        piece = lb_min(split ? split : 1 + lb_test_random() % 150, n - at);
        if (!LB_CHECK(lbrt_feed(s, ids + at, piece) == LBRT_OK, "%s", lbrt_session_error(s))) {
            return false;
        }
        for (size_t i = 0; i < piece; i++) {
            memcpy(out + (at + i) * n_vocab, lbrt_logits(s, piece - 1 - i), n_vocab * sizeof *out);
        }
    }
    return true;
}

static void kv_same(const float *want, const float *got, size_t n, uint32_t n_vocab, const char *what)
{
    size_t i = 0;
    while (i < n * n_vocab && memcmp(&want[i], &got[i], sizeof *want) == 0) {
        i++;
    }
    LB_CHECK(i == n * n_vocab, "%s: position %zu, token %zu: %.9g, not %.9g", what, i / n_vocab, i % n_vocab,
             (double)got[i % (n * n_vocab)], (double)want[i % (n * n_vocab)]);
}

static void kv_ways(const char *shape, const kv_format *f, size_t n)
{
    static const struct {
        uint32_t batch, threads;
        size_t split;
    } ways[] = { { 256, 2, 0 }, { 64, 1, 0 }, { 63, 2, 64 }, { 65, 1, 128 }, { 17, 2, 0 }, { 512, 1, 1000 }, { 1, 2, 1 } };
    lb_test_case("%s, KV %s: the same bits by decoding and by any batches, levels and threads", shape, f->name);
    float *want = NULL, *got = NULL;
    lbrt_token *ids = malloc(n * sizeof *ids);
    const char *isa;
    bool usable;
    lbrt_model *best = sm_model(shape, "q8", NULL);
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    if (!best || lbrt_model_describe(best, &info) != LBRT_OK) {
        free(ids);
        return;
    }
    sm_tokens(ids, n, info.n_vocab, 9);
    want = malloc(n * info.n_vocab * sizeof *want);
    got = malloc(n * info.n_vocab * sizeof *got);
    lbrt_session *s = kv_session(best, f, n, 8, 1, (uint32_t)n);
    if (s && kv_feed(s, ids, n, 1, info.n_vocab, want)) {
        for (size_t i = 0; (isa = lbrt_isa_name(i, &usable)) != NULL; i++) {
            lbrt_model *m = usable ? sm_model(shape, "q8", isa) : NULL;
            const bool all = strcmp(isa, lbrt_cpu_isa()) == 0;
            for (size_t w = 0; m && w < sizeof ways / sizeof ways[0]; w++) {
                if (!all && w != i % 5 && !(i == 0 && w == 0)) {
                    continue; /* lower levels: one or two ways each */
                }
                lbrt_session *t = kv_session(m, f, n + 10, ways[w].batch, ways[w].threads, (uint32_t)n);
                char what[100];
                lb_format(what, sizeof what, "%s, batch %u, %u threads, pieces of %zu", isa, ways[w].batch, ways[w].threads,
                          ways[w].split);
                if (t && kv_feed(t, ids, n, ways[w].split, info.n_vocab, got)) {
                    kv_same(want, got, n, info.n_vocab, what);
                }
                lbrt_session_free(t);
            }
            lbrt_model_close(m);
        }
    }
    lbrt_session_free(s);
    lbrt_model_close(best);
    free(ids);
    free(want);
    free(got);
}

/* A session led through a random life has the logits of a fresh one that is fed its tokens. */
static void kv_life(const kv_format *f, const char *shape, unsigned rounds)
{
    enum { N = 400 };
    lb_test_case("%s, KV %s: rewinds, forks, saving, restoring and cancelling at random", shape, f->name);
    lbrt_model *m = sm_model(shape, "f16", NULL);
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    if (!m || lbrt_model_describe(m, &info) != LBRT_OK) {
        return;
    }
    lbrt_session *s[2] = { kv_session(m, f, N, 100, 2, 1), kv_session(m, f, N + 300, 33, 1, 1) };
    lbrt_session *fresh = kv_session(m, f, N, 256, 2, 1);
    lbrt_token held[2][N + 1], more[N];
    size_t n[2] = { 0, 0 };
    const size_t cap = lbrt_state_bytes(fresh) + N * (sizeof(lbrt_token) + 4096) + info.n_vocab * sizeof(float) + 65536;
    unsigned char *state = malloc(cap);
    for (unsigned round = 0; round < rounds && s[0] && s[1] && fresh; round++) {
        const unsigned i = (unsigned)(lb_test_random() % 2), what = (unsigned)(lb_test_random() % 10);
        if (what < 5) { /* feed; now and then with a cancellation that must change nothing */
            size_t piece = lb_min(1 + lb_test_random() % (what < 2 ? 3 : 170), N - n[i]);
            if (piece) {
                sm_tokens(more, piece, info.n_vocab, 100 + round);
                if (lb_test_random() % 8 == 0) {
                    lbrt_cancel(s[i]);
                    LB_CHECK(lbrt_feed(s[i], more, piece) == LBRT_CANCELLED, "%s", lbrt_session_error(s[i]));
                }
                LB_CHECK(lbrt_feed(s[i], more, piece) == LBRT_OK, "%s", lbrt_session_error(s[i]));
                memcpy(held[i] + n[i], more, piece * sizeof *more);
                n[i] += piece;
            }
        } else if (what < 7) {
            const size_t to = lb_test_random() % (n[i] + 1);
            LB_CHECK(lbrt_rewind(s[i], to) == LBRT_OK, "%s", lbrt_session_error(s[i]));
            n[i] = to;
        } else if (what < 9) {
            n[i] = n[1 - i] ? lb_test_random() % (n[1 - i] + 1) : 0;
            n[i] = lb_test_random() % 3 ? n[i] : n[1 - i];
            LB_CHECK(lbrt_fork(s[i], s[1 - i], n[i]) == LBRT_OK, "%s", lbrt_session_error(s[i]));
            memcpy(held[i], held[1 - i], n[i] * sizeof *more);
        } else {
            size_t bytes = 0;
            LB_CHECK(lbrt_state_save(s[i], state, cap, &bytes) == LBRT_OK, "%s", lbrt_session_error(s[i]));
            LB_CHECK(lbrt_state_restore(s[1 - i], state, bytes) == LBRT_OK, "%s", lbrt_session_error(s[1 - i]));
            n[1 - i] = n[i];
            memcpy(held[1 - i], held[i], n[i] * sizeof *more);
        }
        LB_CHECK(lbrt_session_length(s[i]) == n[i], "%zu, not %zu", lbrt_session_length(s[i]), n[i]);
        if (round % 3 == 0 && n[i] < N) { /* one more token: its logits see all of the cache */
            held[i][n[i]] = (lbrt_token)(lb_test_random() % info.n_vocab);
            LB_CHECK(lbrt_feed(s[i], held[i] + n[i], 1) == LBRT_OK, "%s", lbrt_session_error(s[i]));
            n[i]++;
            lbrt_rewind(fresh, 0);
            LB_CHECK(lbrt_feed(fresh, held[i], n[i]) == LBRT_OK, "%s", lbrt_session_error(fresh));
            kv_same(lbrt_logits(fresh, 0), lbrt_logits(s[i], 0), 1, info.n_vocab, "after a random life");
            size_t a = 0, b = 0;
            unsigned char *other = malloc(cap);
            LB_CHECK(lbrt_state_save(s[i], state, cap, &a) == LBRT_OK && lbrt_state_save(fresh, other, cap, &b) == LBRT_OK, "save");
            LB_CHECK(a == b && memcmp(state, other, a) == 0, "states of %zu tokens differ", n[i]);
            free(other);
        }
    }
    free(state);
    lbrt_session_free(s[0]);
    lbrt_session_free(s[1]);
    lbrt_session_free(fresh);
    lbrt_model_close(m);
}

static void kv_states(const kv_format *f)
{
    enum { N = 150 };
    lb_test_case("KV %s: damaged and foreign states are refused", f->name);
    lbrt_model *m = sm_model("bits", "q8", NULL);
    lbrt_token ids[N];
    lbrt_session *s = kv_session(m, f, N, 64, 1, 1), *t = kv_session(m, f, N, 64, 1, 1);
    if (!s || !t) {
        return;
    }
    sm_tokens(ids, N, 288, 5);
    LB_CHECK(lbrt_feed(s, ids, N) == LBRT_OK && lbrt_feed(t, ids, 3) == LBRT_OK, "feed");
    size_t bytes = lbrt_state_bytes(s), got = 0;
    unsigned char *state = malloc(bytes);
    LB_CHECK(lbrt_state_save(s, state, bytes, &got) == LBRT_OK && got == bytes, "%zu of %zu", got, bytes);
    for (unsigned round = 0; round < 200; round++) {
        const size_t at = round < 64 ? round : lb_test_random() % bytes;
        state[at] ^= (unsigned char)(1u << lb_test_random() % 8);
        unsigned char *copy = malloc(bytes);
        memcpy(copy, state, bytes);
        const lbrt_status status = lbrt_state_restore(t, copy, round % 4 ? bytes : lb_test_random() % bytes);
        LB_CHECK(status >= LBRT_ERR_FORMAT && status <= LBRT_ERR_CONTEXT_FULL, "byte %zu: %s", at, lbrt_status_name(status));
        LB_CHECK(lbrt_session_length(t) == 3, "a refused state has changed the session");
        free(copy);
        LB_CHECK(lbrt_state_save(s, state, bytes, &got) == LBRT_OK, "save");
    }
    for (size_t i = 0; i < N_KV_FORMATS; i++) {
        lbrt_session *u = kv_session(m, &kv_formats[i], N, 64, 1, 1);
        const bool same = strcmp(kv_formats[i].name, f->name) == 0;
        LB_CHECK(lbrt_state_restore(u, state, bytes) == (same ? LBRT_OK : LBRT_ERR_UNSUPPORTED), "%s into %s", f->name,
                 kv_formats[i].name);
        LB_CHECK(lbrt_fork(u, s, N) == (same ? LBRT_OK : LBRT_ERR_ARGUMENT), "fork %s into %s", f->name, kv_formats[i].name);
        lbrt_session_free(u);
    }
    /* any codes, scales and means with a right checksum: computes, whatever comes out */
    for (unsigned round = 0; round < 50; round++) {
        LB_CHECK(lbrt_state_save(s, state, bytes, &got) == LBRT_OK, "save");
        for (unsigned i = 0; i < 200; i++) {
            state[LB_STATE_HEADER + 4 * N + lb_test_random() % (bytes - LB_STATE_HEADER - 4 * N)] = (unsigned char)lb_test_random();
        }
        lb_state_seal(state, bytes);
        LB_CHECK(lbrt_state_restore(t, state, bytes) == LBRT_OK && lbrt_rewind(t, N - 1) == LBRT_OK, "%s", lbrt_session_error(t));
        LB_CHECK(lbrt_feed(t, ids, 1) == LBRT_OK, "%s", lbrt_session_error(t));
    }
    free(state);
    lbrt_session_free(s);
    lbrt_session_free(t);
    lbrt_model_close(m);
}

static void kv_memory(const kv_format *f)
{
    lb_test_case("KV %s: lbrt_session_bytes is exact, and nothing is allocated after creation", f->name);
    lbrt_model *m = sm_model("tiny", "q4", NULL);
    static const uint32_t contexts[] = { 1, 63, 64, 65, 300, 700 };
    for (size_t i = 0; m && i < 6; i++) {
        lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
        o.allocator = lb_test_allocator(0);
        o.n_context = contexts[i];
        o.n_batch = i % 2 ? 100 : 7;
        o.kv_key = f->key;
        o.kv_value = f->value;
        size_t bytes = 0;
        lbrt_session *s = NULL;
        LB_CHECK(lbrt_session_bytes(m, &o, &bytes, NULL) == LBRT_OK && lbrt_session_create(m, &o, &s, NULL) == LBRT_OK, "create");
        LB_CHECK(s && lb_test_alloc_alive() == bytes, "%zu bytes are allocated, not %zu", lb_test_alloc_alive(), bytes);
        const uint64_t count = lb_test_alloc_count();
        lbrt_token ids[700];
        sm_tokens(ids, contexts[i], 512, 1);
        LB_CHECK(lbrt_feed(s, ids, contexts[i]) == LBRT_OK, "%s", lbrt_session_error(s));
        LB_CHECK(lbrt_rewind(s, contexts[i] / 2) == LBRT_OK && lbrt_feed(s, ids, 1) == LBRT_OK, "%s", lbrt_session_error(s));
        LB_CHECK(lb_test_alloc_count() == count, "allocated while decoding");
        lbrt_session_free(s);
    }
    lbrt_model_close(m);
}

/* What packing loses, read back through the products: relative squared error of Gaussian numbers on top of a constant. */
static void kv_error(unsigned bits, unsigned product, double bound)
{
    enum { DIM = 64 };
    const lb_kernels *k = lb_kernels_for("scalar");
    static uint16_t block[LB_KV_BLOCK * DIM], mean[DIM], scale[LB_KV_BLOCK];
    static unsigned char codes[LB_KV_BLOCK * DIM], scratch[LB_MM_SCRATCH];
    static int8_t one[4 * DIM];
    float x_scale[4] = { 1, 0, 0, 0 }, y[LB_KV_BLOCK], base = 0;
    double error[2] = { 0, 0 };
    int32_t sum[4] = { 1, 0, 0, 0 };
    for (unsigned values = 0; values < 2; values++) {
        for (size_t i = 0; i < LB_KV_BLOCK * DIM; i++) { /* keys: channel c (index i / 16 % 64) has a constant of up to 20 */
            block[i] = lb_f32_to_f16(lb_test_gauss() + (values ? 0.0f : (float)(i / 16 % DIM % 41) - 20.0f));
        }
        if (values) {
            lb_kv_pack_values(k, bits, block, DIM / 16, scale, codes, 64 * 16 * bits / 8, scratch);
        } else {
            lb_kv_pack_keys(k, bits, block, DIM, mean, scale, codes, scratch);
        }
        for (size_t c = 0; c < 64; c++) { /* a column: a dimension of keys, a position of values */
            one[c / 4 * 16 + c % 4] = 1; /* the first of four rows */
            const lb_input x = { .n = 1, .q = one, .q_stride = 64, .scale = x_scale, .sum = sum, .group_stride = 1 };
            const lb_kv_matrix w = { codes, 64 * 16 * bits / 8, 4, 64, values ? NULL : scale, &base, 1 };
            base = values ? 0.0f : lb_f16_to_f32(mean[c]);
            k->kv_product[product](&w, &x, y, LB_KV_BLOCK, false);
            for (size_t r = 0; r < 64; r++) {
                const double true_one = (double)lb_f16_to_f32(block[r / 16 * 1024 + c * 16 + r % 16]);
                const double read = (double)y[r] * (values ? (double)lb_bf16_to_f32(scale[c]) : 1.0);
                error[values] += (read - true_one) * (read - true_one);
            }
            one[c / 4 * 16 + c % 4] = 0;
        }
        error[values] /= LB_KV_BLOCK * DIM;
        LB_CHECK(error[values] < bound, "%s of %u bits: error %.6f", values ? "values" : "keys", bits, error[values]);
    }
}

void test_kv(void);
void test_kv(void)
{
    lb_test_case("packing keys and values: squared error");
    kv_error(8, LB_KV_PRODUCT_Q8, 6e-5);
    kv_error(4, LB_KV_PRODUCT_Q4, 0.014);
    kv_error(2, LB_KV_PRODUCT_Q2, 0.14);
    for (size_t i = 0; i < N_KV_FORMATS; i++) {
        kv_ways("micro", &kv_formats[i], 330);
        kv_ways("bits", &kv_formats[i], i < 2 ? 600 : 200);
        kv_life(&kv_formats[i], i % 2 ? "bits" : "micro", 60);
        kv_states(&kv_formats[i]);
        kv_memory(&kv_formats[i]);
    }
}
