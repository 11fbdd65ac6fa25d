/*
 * The same bits: whatever the instruction set, the number of threads, the batch and the split of the prompt
 * into calls, and through rewinding, saving and restoring. tests/test_session_rules.c has what calls on
 * sessions promise beside that.
 */
#include <stdlib.h>
#include <string.h>

#include "../formats/pack/lb_pack.h"
#include "../runtime/api/lb_session_api.h"
#include "../runtime/base/lb_base.h"
#include "lb_test.h"
#include "small_models.h"

typedef struct sess_way {
    const char *isa;
    uint32_t n_batch, n_threads;
    size_t split; /* tokens per lbrt_feed; 0: lengths drawn at random */
} sess_way;

typedef struct sess_kv {
    const char *name;
    lbrt_kv_format key, value;
} sess_kv;

static const sess_kv sess_kvs[] = {
    { "f16", LBRT_KV_F16, LBRT_KV_F16 },     { "f32", LBRT_KV_F32, LBRT_KV_F32 },
    { "f16/f32", LBRT_KV_F16, LBRT_KV_F32 }, { "q8", LBRT_KV_Q8, LBRT_KV_Q8 },
    { "q8/q4", LBRT_KV_Q8, LBRT_KV_Q4 },     { "q2/f16", LBRT_KV_Q2, LBRT_KV_F16 },
};
enum { SESS_KVS = sizeof sess_kvs / sizeof sess_kvs[0] };

/* How many of them, from the first on, this version has; the others are skipped, visibly, once. */
static size_t sess_n_kvs;

static void sess_count_kvs(void)
{
    lbrt_model *m = sm_model("micro", "f32", NULL);
    lb_test_case("the KV formats");
    for (sess_n_kvs = 0; m && sess_n_kvs < SESS_KVS; sess_n_kvs++) {
        size_t bytes;
        lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
        o.kv_key = sess_kvs[sess_n_kvs].key;
        o.kv_value = sess_kvs[sess_n_kvs].value;
        lbrt_status s = lbrt_session_bytes(m, &o, &bytes, NULL);
        LB_CHECK(s == LBRT_OK || s == LBRT_ERR_UNSUPPORTED, "%s", lbrt_status_name(s));
        if (s != LBRT_OK) {
            lb_test_skip("this version lacks %s", sess_kvs[sess_n_kvs].name);
            break;
        }
    }
    LB_CHECK(sess_n_kvs >= 3, "not even f16 and f32");
    lbrt_model_close(m);
}

static lbrt_session *sess_new(const lbrt_model *m, const sess_way *w, const sess_kv *kv, size_t n_context)
{
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = (uint32_t)n_context;
    o.n_batch = w->n_batch;
    o.n_threads = w->n_threads;
    o.n_logits = o.n_context;
    o.kv_key = kv->key;
    o.kv_value = kv->value;
    lbrt_session *s = NULL;
    lbrt_error err = { LBRT_OK, "" };
    LB_CHECK(m && lbrt_session_create(m, &o, &s, &err) == LBRT_OK, "%s", err.text);
    return s;
}

/* Feeds ids in pieces and writes the logits of every position to out, n_vocab floats each. */
static bool sess_feed(lbrt_session *s, const lbrt_token *ids, size_t n, size_t split, uint32_t n_vocab,
                      float *out)
{
    for (size_t at = 0; at < n;) {
        size_t piece = split ? split : 1 + lb_test_random() % 40;
        piece = piece < n - at ? piece : n - at;
        if (!LB_CHECK(lbrt_feed(s, ids + at, piece) == LBRT_OK, "%s", lbrt_session_error(s))) {
            return false;
        }
        for (size_t i = 0; i < piece; i++) {
            const float *logits = lbrt_logits(s, piece - 1 - i);
            if (!LB_CHECK(logits != NULL, "no logits for %zu of %zu", i, piece)) {
                return false;
            }
            memcpy(out + (at + i) * n_vocab, logits, n_vocab * sizeof *out);
        }
        at += piece;
    }
    return true;
}

/* The first position and token where two arrays of logits differ. */
static bool sess_same(const float *a, const float *b, size_t n, uint32_t n_vocab, const char *what)
{
    if (memcmp(a, b, n * n_vocab * sizeof *a) == 0) {
        return true;
    }
    for (size_t i = 0; i < n * n_vocab; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) != 0) {
            return LB_CHECK(false, "%s: position %zu, token %zu: %.9g, not %.9g", what, i / n_vocab,
                            i % n_vocab, (double)b[i], (double)a[i]);
        }
    }
    return false;
}

static bool sess_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!(x[i] > -1e6f && x[i] < 1e6f)) {
            return false;
        }
    }
    return true;
}

static float sess_threshold; /* of the models that sess_ways opens */
static bool sess_byte_tables;

/* Every way must give the bits of the first. Models are opened once per instruction-set level. */
static void sess_ways(const char *shape, const char *format, const char *path, const sess_kv *kv,
                      const sess_way *ways, size_t n_ways, size_t n)
{
    float *expected = NULL, *got = NULL;
    lbrt_token *ids = NULL;
    lbrt_model *m = NULL;
    const char *open_isa = "none";
    uint32_t n_vocab = 0;
    for (size_t i = 0; i < n_ways; i++) {
        const sess_way *w = &ways[i];
        if (!m || open_isa != w->isa) {
            lbrt_model_close(m);
            m = NULL;
            lbrt_model_options o = LBRT_MODEL_OPTIONS_INIT;
            o.isa = w->isa;
            o.outlier_threshold = sess_threshold;
            o.byte_tables = sess_byte_tables;
            lbrt_error err = { LBRT_OK, "" };
            if (!LB_CHECK(lbrt_model_open(path, &o, &m, &err) == LBRT_OK, "%s %s: %s", shape, format,
                          err.text)) {
                break;
            }
            open_isa = w->isa;
            lbrt_model_info info = LBRT_MODEL_INFO_INIT;
            lbrt_model_describe(m, &info);
            LB_CHECK(!w->isa || strcmp(info.isa, w->isa) == 0, "asked for %s, got %s", w->isa ? w->isa : "",
                     info.isa);
            n_vocab = info.n_vocab;
        }
        if (!expected) {
            expected = malloc(n * n_vocab * sizeof *expected);
            got = malloc(n * n_vocab * sizeof *got);
            ids = malloc(n * sizeof *ids);
            sm_tokens(ids, n, n_vocab, 1);
        }
        lbrt_session *s = sess_new(m, w, kv, n);
        char what[128];
        lb_format(what, sizeof what, "%s, batch %u, %u threads, pieces of %zu", w->isa ? w->isa : "best",
                  w->n_batch, w->n_threads, w->split);
        if (s && sess_feed(s, ids, n, w->split, n_vocab, i ? got : expected)) {
            LB_CHECK(lbrt_session_length(s) == n, "length %zu", lbrt_session_length(s));
            if (i == 0) {
                LB_CHECK(sess_finite(expected, n * n_vocab), "not finite");
            } else {
                sess_same(expected, got, n, n_vocab, what);
            }
        }
        lbrt_session_free(s);
    }
    lbrt_model_close(m);
    free(expected);
    free(got);
    free(ids);
}

/* The usable levels of this CPU, lowest first; returns how many. */
static size_t sess_levels(const char *out[16])
{
    size_t n = 0;
    bool usable;
    const char *name;
    for (size_t i = 0; (name = lbrt_isa_name(i, &usable)) != NULL && n < 16; i++) {
        if (usable) {
            out[n++] = name;
        }
    }
    return n;
}

static void sess_formats(void)
{
    const char *levels[16];
    const size_t n_levels = sess_levels(levels);
    const lb_wformat_info *info;
    LB_CHECK(n_levels > 0, "no level is usable");
    for (size_t f = 0; (info = lb_wformat_at(f)) != NULL; f++) {
        if (!lb_packer(info->id)) {
            continue;
        }
        for (size_t k = 0; k < (f % 3 == 0 ? sess_n_kvs : 1); k++) {
            sess_way ways[1 + 3 * 16] = { { NULL, 1, 1, 1 } };
            size_t n = 1;
            for (size_t i = n_levels; i-- > 0;) {
                ways[n++] = (sess_way){ levels[i], 7, 3, 13 };
                ways[n++] = (sess_way){ levels[i], 256, 4, 61 };
                ways[n++] = (sess_way){ levels[i], 32, 1, 0 };
            }
            lb_test_case("micro as %s, KV %s: the same bits in %zu ways", info->name, sess_kvs[k].name, n);
            const char *path = sm_file("micro", info->name);
            if (path) {
                sess_ways("micro", info->name, path, &sess_kvs[k], ways, n, 61);
            }
        }
        for (size_t j = 0; j < 2; j++) {
            const char *shape = j ? "tiny" : "bits";
            sess_way ways[1 + 2 * 16] = { { NULL, 1, 1, 1 } };
            size_t n = 1;
            for (size_t i = n_levels; i-- > 0;) {
                ways[n++] = (sess_way){ levels[i], 5, 2, 0 };
                ways[n++] = (sess_way){ levels[i], 64, 1, 33 };
            }
            lb_test_case("%s as %s: the same bits in %zu ways", shape, info->name, n);
            const char *path = sm_file(shape, info->name);
            if (path) {
                sess_ways(shape, info->name, path, &sess_kvs[0], ways, n, 33);
            }
        }
    }
}

/* The activation split of LLM.int8() as an option, low enough that many numbers are outliers. */
static void sess_split(void)
{
    static const char *const formats[] = { "int8", "q4", "tern", "tcq3" };
    const char *levels[16];
    const size_t n_levels = sess_levels(levels);
    sess_threshold = 0.8f;
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        sess_way ways[1 + 2 * 16] = { { NULL, 1, 1, 1 } };
        size_t n = 1;
        for (size_t i = n_levels; i-- > 0;) {
            ways[n++] = (sess_way){ levels[i], 7, 3, 13 };
            ways[n++] = (sess_way){ levels[i], 64, 2, 0 };
        }
        lb_test_case("micro as %s with outliers from 0.8: the same bits in %zu ways", formats[f], n);
        const char *path = sm_file("micro", formats[f]);
        if (path) {
            sess_ways("micro", formats[f], path, &sess_kvs[0], ways, n, 33);
        }
    }
    sess_threshold = 0.0f;
}

/* T-MAC's rounded tables as an option, with and without outliers set aside. */
static void sess_bytes(void)
{
    static const char *const formats[] = { "lut4", "lut3", "lut2", "lut1" };
    const char *levels[16];
    const size_t n_levels = sess_levels(levels);
    sess_byte_tables = true;
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        sess_way ways[1 + 2 * 16] = { { NULL, 1, 1, 1 } };
        size_t n = 1;
        sess_threshold = f == 1 ? 0.8f : 0.0f;
        for (size_t i = n_levels; i-- > 0;) {
            ways[n++] = (sess_way){ levels[i], 7, 3, 13 };
            ways[n++] = (sess_way){ levels[i], 64, 2, 0 };
        }
        lb_test_case("micro as %s with tables of bytes: the same bits in %zu ways", formats[f], n);
        const char *path = sm_file("micro", formats[f]);
        if (path) {
            sess_ways("micro", formats[f], path, &sess_kvs[0], ways, n, 33);
        }
    }
    sess_byte_tables = false;
    sess_threshold = 0.0f;
}

/* Past 256 positions attention goes over several chunks, in decoding by other code than in a prompt. */
static void sess_long(void)
{
    const char *levels[16];
    const size_t n_levels = sess_levels(levels);
    for (size_t k = 0; k < sess_n_kvs; k++) {
        sess_way ways[6 + 16] = { { NULL, 1, 1, 1 },
                                  { NULL, 256, 2, 530 },
                                  { NULL, 100, 3, 255 },
                                  { NULL, 300, 1, 257 },
                                  { NULL, 64, 4, 0 } };
        size_t n = 5;
        for (size_t i = n_levels; i-- > 0;) {
            ways[n++] = (sess_way){ levels[i], 256, 2, i % 2 ? 530 : 512 };
        }
        lb_test_case("530 positions, KV %s: the same bits in %zu ways", sess_kvs[k].name, n);
        const char *path = sm_file("micro", "q8");
        if (path) {
            sess_ways("micro", "q8", path, &sess_kvs[k], ways, n, 530);
        }
    }
}

static void sess_shared(void)
{
    static const char *const inputs[] = { "models/stories260K/stories260K.bin", "models/TinyStories-656K",
                                          "models/lab", "models/bitstories-3M" };
    static const char *const formats[] = { "q8", "q4", "q4", "q8" };
    static const size_t lengths[] = { 270, 60, 20, 40 };
    const char *levels[16];
    const size_t n_levels = sess_levels(levels);
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        lb_test_case("%s as %s: the same bits", inputs[i], formats[i]);
        const char *shared = lb_test_shared(inputs[i]);
        if (!shared) {
            lb_test_skip("it is not there");
            continue;
        }
        const lbrt_allocator a = lb_allocator_or_default(NULL);
        lbrt_error err = { LBRT_OK, "" };
        lb_source *source;
        if (!LB_CHECK(lb_source_open(shared, NULL, &a, &source, &err) == LBRT_OK, "%s", err.text)) {
            continue;
        }
        const lb_convert_options options = { .format = lb_wformat_named(formats[i])->id };
        const char *path = lb_test_temp("session-shared.lbrt");
        lbrt_status s = lb_convert(source, path, &options, &a, &err);
        source->close(source);
        sess_way ways[1 + 16] = { { NULL, 16, 1, 1 } };
        size_t n = 1;
        for (size_t j = n_levels; j-- > 0;) {
            ways[n++] = (sess_way){ levels[j], 100, 2, j % 2 ? 0 : lengths[i] };
        }
        if (LB_CHECK(s == LBRT_OK, "%s", err.text)) {
            sess_ways(inputs[i], formats[i], path, &sess_kvs[0], ways, n, lengths[i]);
        }
    }
}

/* ---- rewinding, saving, restoring ---- */

enum { SESS_N = 300, SESS_VOCAB = 288 };

static void sess_rewind(void)
{
    static const size_t cuts[] = { 0, 1, 15, 16, 100, 255, 256, 257, 299 };
    static float expected[SESS_N * SESS_VOCAB], got[SESS_N * SESS_VOCAB];
    lbrt_token ids[SESS_N], other[SESS_N];
    sm_tokens(ids, SESS_N, SESS_VOCAB, 1);
    sm_tokens(other, SESS_N, SESS_VOCAB, 2);
    lbrt_model *m = sm_model("micro", "q4", NULL);
    const sess_way plain = { NULL, 64, 1, 0 }, threaded = { NULL, 33, 2, 0 };
    lbrt_session *s = sess_new(m, &plain, &sess_kvs[0], SESS_N);
    lb_test_case("rewinding and feeding gives the bits of a fresh session");
    if (s && sess_feed(s, ids, SESS_N, SESS_N, SESS_VOCAB, expected)) {
        lbrt_session *t = sess_new(m, &threaded, &sess_kvs[0], SESS_N);
        for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
            const size_t cut = cuts[i];
            LB_CHECK(lbrt_rewind(t, 0) == LBRT_OK, "%s", lbrt_session_error(t));
            if (cut) {
                sess_feed(t, ids, cut, 0, SESS_VOCAB, got);
            }
            LB_CHECK(lbrt_feed(t, other, SESS_N - cut) == LBRT_OK, "%s", lbrt_session_error(t));
            LB_CHECK(lbrt_rewind(t, cut) == LBRT_OK && lbrt_session_length(t) == cut && !lbrt_logits(t, 0),
                     "rewind");
            sess_feed(t, ids + cut, SESS_N - cut, 0, SESS_VOCAB, got + cut * SESS_VOCAB);
            sess_same(expected, got, SESS_N, SESS_VOCAB, "rewound");
        }
        lbrt_session_free(t);
    }
    lbrt_session_free(s);
    lbrt_model_close(m);
}

static unsigned char *sess_save(lbrt_session *s, size_t *bytes)
{
    const size_t n = lbrt_state_bytes(s);
    unsigned char *state = malloc(n);
    lbrt_status status = lbrt_state_save(s, state, n, bytes);
    LB_CHECK(status == LBRT_OK && *bytes == n, "%s: %zu of %zu bytes", lbrt_session_error(s), *bytes, n);
    return state;
}

static void sess_state(void)
{
    static float expected[SESS_N * SESS_VOCAB], got[SESS_N * SESS_VOCAB];
    static const size_t cuts[] = { 0, 1, 16, 100, 256, 270 };
    const char *levels[16];
    const size_t n_levels = sess_levels(levels);
    lbrt_token ids[SESS_N], other[SESS_N];
    sm_tokens(ids, SESS_N, SESS_VOCAB, 1);
    sm_tokens(other, SESS_N, SESS_VOCAB, 2);
    for (size_t k = 0; k < sess_n_kvs; k++) {
        lb_test_case("saving, restoring into another session and going on, KV %s", sess_kvs[k].name);
        lbrt_model *m = sm_model("micro", "f16", levels[0]), *best = sm_model("micro", "f16", NULL);
        const sess_way plain = { NULL, 64, 1, 0 }, threaded = { NULL, 19, 3, 0 };
        lbrt_session *s = sess_new(best, &plain, &sess_kvs[k], SESS_N);
        if (!s || !best || !m || !sess_feed(s, ids, SESS_N, SESS_N, SESS_VOCAB, expected)) {
            return;
        }
        for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
            const size_t cut = cuts[i];
            lbrt_session *from = sess_new(best, &plain, &sess_kvs[k], SESS_N);
            lbrt_session *low = sess_new(m, &threaded, &sess_kvs[k], cut ? cut : 1);
            lbrt_session *to = sess_new(best, &threaded, &sess_kvs[k], SESS_N + 40);
            if (cut) {
                lbrt_feed(from, ids, cut);
                sess_feed(low, ids, cut, 0, SESS_VOCAB, got);
            }
            size_t bytes, low_bytes;
            unsigned char *state = sess_save(from, &bytes), *low_state = sess_save(low, &low_bytes);
            /* same file, tokens and options: the state does not tell what computed it */
            LB_CHECK(bytes == low_bytes && memcmp(state, low_state, bytes) == 0, "states of %s differ at %zu",
                     levels[0], cut);
            lbrt_feed(to, other, 290);
            LB_CHECK(lbrt_state_restore(to, state, bytes) == LBRT_OK, "%s", lbrt_session_error(to));
            LB_CHECK(lbrt_session_length(to) == cut, "length %zu", lbrt_session_length(to));
            const float *logits = lbrt_logits(to, 0);
            LB_CHECK((logits != NULL) == (cut > 0) && !lbrt_logits(to, 1), "logits after restoring");
            if (logits) {
                LB_CHECK(memcmp(logits, expected + (cut - 1) * SESS_VOCAB, SESS_VOCAB * sizeof *logits) == 0,
                         "other logits");
            }
            if (cut) {
                memcpy(got, expected, cut * SESS_VOCAB * sizeof *got);
            }
            sess_feed(to, ids + cut, SESS_N - cut, 0, SESS_VOCAB, got + cut * SESS_VOCAB);
            sess_same(expected, got, SESS_N, SESS_VOCAB, "restored");
            free(state);
            free(low_state);
            lbrt_session_free(from);
            lbrt_session_free(low);
            lbrt_session_free(to);
        }
        lbrt_session_free(s);
        lbrt_model_close(m);
        lbrt_model_close(best);
    }
    LB_CHECK(n_levels > 0, "no levels");
}

/* A refused state changes nothing: the session then saves what it saved before, and its logits are there. */
static void sess_refuse(lbrt_session *s, const unsigned char *before, size_t before_bytes,
                        const unsigned char *state, size_t bytes, unsigned allowed, const char *what)
{
    lbrt_status status = lbrt_state_restore(s, state, bytes);
    LB_CHECK(status >= LBRT_ERR_FORMAT && status <= LBRT_ERR_CONTEXT_FULL &&
                 (allowed >> (status - LBRT_ERR_FORMAT) & 1) && lbrt_session_error(s)[0],
             "%s: %s (%s)", what, lbrt_status_name(status), lbrt_session_error(s));
    static unsigned char after[1 << 18];
    size_t n = 0;
    LB_CHECK(lbrt_state_save(s, after, sizeof after, &n) == LBRT_OK && n == before_bytes &&
                 memcmp(after, before, n) == 0,
             "%s: the session has changed", what);
}

static void sess_bad_states(void)
{
    enum { FORMAT = 1, UNSUPPORTED = 2, CHECKSUM = 4, FULL = 1 << 10, N = 6 };
    const sess_way way = { NULL, 8, 1, 0 };
    lbrt_model *m = sm_model("micro", "q8", NULL), *bits = sm_model("bits", "q8", NULL),
               *q4 = sm_model("micro", "q4", NULL);
    lbrt_token ids[40];
    sm_tokens(ids, 40, SESS_VOCAB, 3);
    lbrt_session *s = sess_new(m, &way, &sess_kvs[0], 20), *t = sess_new(m, &way, &sess_kvs[0], 20);
    if (!m || !bits || !q4 || !s || !t) {
        return;
    }
    lbrt_feed(s, ids, N);
    lbrt_feed(t, ids + 10, 4);
    size_t bytes, before_bytes;
    unsigned char *state = sess_save(s, &bytes), *before = sess_save(t, &before_bytes);

    lb_test_case("a state with any one byte changed is refused");
    for (size_t i = 0; i < bytes; i++) {
        state[i] ^= (unsigned char)(1u << lb_test_random() % 8);
        unsigned char keep = state[i];
        sess_refuse(t, before, before_bytes, state, bytes,
                    i < LB_STATE_HEADER ? FORMAT | UNSUPPORTED | CHECKSUM | FULL : CHECKSUM, "flipped");
        state[i] = keep;
        free(state);
        state = sess_save(s, &bytes);
    }
    lb_test_case("a state cut off anywhere, or with something appended, is refused");
    for (size_t n = 0; n < bytes; n++) {
        unsigned char *cut = malloc(n ? n : 1);
        memcpy(cut, state, n);
        sess_refuse(t, before, before_bytes, cut, n, FORMAT, "cut off");
        free(cut);
    }
    unsigned char *longer = calloc(1, bytes + 8);
    memcpy(longer, state, bytes);
    sess_refuse(t, before, before_bytes, longer, bytes + 8, FORMAT, "appended");
    for (unsigned shift = 10; shift < 64; shift++) { /* counts that overflow what they are multiplied with */
        lb_store_u64(longer + 24, 6ull + (1ull << shift));
        sess_refuse(t, before, before_bytes, longer, bytes, FULL, "a huge count");
    }
    memcpy(longer, state, bytes);
    lb_store_u32(longer + LB_STATE_HEADER, SESS_VOCAB);
    lb_state_seal(longer, bytes);
    sess_refuse(t, before, before_bytes, longer, bytes, FORMAT, "a token outside the vocabulary");
    LB_CHECK(lbrt_state_restore(t, NULL, bytes) == LBRT_ERR_ARGUMENT, "NULL");

    lb_test_case("a state of another model, KV format, or longer than the session");
    const lbrt_model *models[] = { bits, q4, m, m, m };
    for (size_t i = 0; i < 5; i++) {
        lbrt_session *u = sess_new(models[i], &way, &sess_kvs[i < 3 ? 0 : i - 2], 40);
        size_t n;
        lbrt_feed(u, ids, i == 2 ? 21 : N);
        unsigned char *foreign = sess_save(u, &n);
        sess_refuse(t, before, before_bytes, foreign, n, i == 2 ? FULL : UNSUPPORTED, "foreign");
        free(foreign);
        lbrt_session_free(u);
    }

    lb_test_case("hostile states with right checksums: the session computes or says NUMERIC");
    for (unsigned round = 0; round < 500; round++) {
        memcpy(longer, state, bytes);
        for (unsigned i = 0; i < 20; i++) {
            longer[LB_STATE_HEADER + 4 * N + lb_test_random() % (bytes - LB_STATE_HEADER - 4 * N)] = (unsigned char)lb_test_random();
        }
        if (round % 2) { /* NaN and infinity in the cache */
            lb_store_u32(longer + bytes - 4 - 4 * (lb_test_random() % 100),
                         round % 4 == 1 ? 0x7e007c00u : 0xfc00fe00u);
        }
        lb_state_seal(longer, bytes);
        LB_CHECK(lbrt_state_restore(t, longer, bytes) == LBRT_OK, "%s", lbrt_session_error(t));
        lbrt_sampling how = LBRT_SAMPLING_INIT;
        how.temperature = (float)(round % 3);
        for (unsigned i = 0; i < 3; i++) {
            lbrt_token id = -1;
            lbrt_status status = lbrt_sample(t, &how, &id);
            LB_CHECK(status == LBRT_ERR_NUMERIC || (status == LBRT_OK && id >= 0 && id < SESS_VOCAB),
                     "%d: %d", (int)status, (int)id);
            if (status != LBRT_OK || lbrt_feed(t, &id, 1) != LBRT_OK) {
                break;
            }
        }
    }
    lb_test_case("saving into too little room");
    LB_CHECK(lbrt_state_restore(t, state, bytes) == LBRT_OK, "%s", lbrt_session_error(t));
    size_t n = 1;
    LB_CHECK(lbrt_state_save(t, NULL, 0, &n) == LBRT_ERR_BUFFER && n == bytes, "%zu", n);
    memset(longer, 0x5a, bytes);
    LB_CHECK(lbrt_state_save(t, longer, bytes - 1, &n) == LBRT_ERR_BUFFER && n == bytes && longer[0] == 0x5a,
             "%zu", n);
    LB_CHECK(lbrt_state_save(t, longer, bytes, NULL) == LBRT_ERR_ARGUMENT && lbrt_state_bytes(NULL) == 0,
             "NULL");
    free(longer);
    free(state);
    free(before);
    lbrt_session_free(s);
    lbrt_session_free(t);
    lbrt_model_close(m);
    lbrt_model_close(bits);
    lbrt_model_close(q4);
}

void test_session(void)
{
    sess_count_kvs();
    sess_formats();
    sess_split();
    sess_bytes();
    sess_long();
    sess_shared();
    sess_rewind();
    sess_state();
    sess_bad_states();
}
