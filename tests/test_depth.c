/*
 * Texts longer than one group of chunks (4096 tokens), where what decoding has found in one group is joined to what it has found in others, and
 * than 65536 tokens: against a forward pass in double precision that keeps nothing but the definition, and the same bits by decoding and by
 * batches.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/pack/lb_convert.h"
#include "../runtime/engine/lb_session.h"
#include "lb_test.h"
#include "small_models.h"

void test_depth(void);

enum {
    DEPTH_VOCAB = 48, DEPTH_DIM = 48, DEPTH_HEADS = 2, DEPTH_HEAD = 64, DEPTH_FFN = 32, DEPTH_Q = DEPTH_HEADS * DEPTH_HEAD,
    DEPTH_GROUP = LB_ATTN_GROUP * LB_KV_CHUNK,             /* tokens of a group */
    DEPTH_BEFORE = 6, DEPTH_BEHIND = LB_KV_CHUNK + 40,     /* logits are compared from a group's end - 6 to 296 after it */
    DEPTH_ROWS = DEPTH_BEFORE + DEPTH_BEHIND, DEPTH_SINKS = 100,
    DEPTH_N = 16 * DEPTH_GROUP + DEPTH_BEHIND
};

/* ---- the model: one layer, whose queries are so large that attention chooses a few tokens, wherever they are ---- */

static const lb_source_tensor depth_tensors[] = {
    { "tok_embed", "f32", DEPTH_VOCAB, DEPTH_DIM, false, 0, 0 },
    { "out_norm", "f32", 1, DEPTH_DIM, false, 0, 0 },
    { "layers.0.attn_norm", "f32", 1, DEPTH_DIM, false, 0, 0 },
    { "layers.0.ffn_norm", "f32", 1, DEPTH_DIM, false, 0, 0 },
    { "layers.0.attn_q", "f32", DEPTH_Q, DEPTH_DIM, false, 0, 0 },
    { "layers.0.attn_k", "f32", DEPTH_HEAD, DEPTH_DIM, false, 0, 0 },
    { "layers.0.attn_v", "f32", DEPTH_HEAD, DEPTH_DIM, false, 0, 0 },
    { "layers.0.attn_o", "f32", DEPTH_DIM, DEPTH_Q, false, 0, 0 },
    { "layers.0.ffn_gate", "f32", DEPTH_FFN, DEPTH_DIM, false, 0, 0 },
    { "layers.0.ffn_up", "f32", DEPTH_FFN, DEPTH_DIM, false, 0, 0 },
    { "layers.0.ffn_down", "f32", DEPTH_DIM, DEPTH_FFN, false, 0, 0 },
};
enum { EMBED, OUT_NORM, ATTN_NORM, FFN_NORM, WQ, WK, WV, WO, GATE, UP, DOWN, N_TENSORS };

static float depth_weight(size_t i, uint64_t at)
{
    uint64_t z = (at + 1) * 0x9e3779b97f4a7c15ull + i * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 31) * 0x94d049bb133111ebull;
    const double u = (double)((z ^ z >> 29) >> 11) * 0x1p-52 - 1.0;
    const double unit = sqrt(3.0 / (double)depth_tensors[i].cols);
    return (float)(i == OUT_NORM || i == ATTN_NORM || i == FFN_NORM ? 1.0 + 0.3 * u : u * unit * (i == WQ ? 4.0 : 1.0));
}

static lbrt_status depth_read(const lb_source *s, size_t i, uint64_t row, uint64_t n, float *out, lbrt_error *err)
{
    (void)s;
    (void)err;
    for (uint64_t j = 0; j < n * depth_tensors[i].cols; j++) {
        out[j] = depth_weight(i, row * depth_tensors[i].cols + j);
    }
    return LBRT_OK;
}

static void depth_close(lb_source *s)
{
    (void)s;
}

static lbrt_model *depth_model(void)
{
    const lb_source source = { .hparams = { .architecture = "llama", .n_vocab = DEPTH_VOCAB, .n_layers = 1, .dim = DEPTH_DIM, .n_heads = DEPTH_HEADS,
                                            .n_kv_heads = 1, .head_dim = DEPTH_HEAD, .ffn_dim = DEPTH_FFN, .n_context = DEPTH_N, .norm_eps = 1e-5f,
                                            .rope_dim = DEPTH_HEAD, .rope_theta = 1e5f },
                               .n_tensors = N_TENSORS, .tensors = depth_tensors, .read_rows = depth_read, .close = depth_close };
    const lb_convert_options options = { .format = LB_W_F32 };
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    const char *path = lb_test_temp("depth.lbrt");
    lbrt_model *m = NULL;
    lbrt_error err = { LBRT_OK, "" };
    LB_CHECK(lb_convert(&source, path, &options, &a, &err) == LBRT_OK && lbrt_model_open(path, NULL, &m, &err) == LBRT_OK, "%s", err.text);
    return m;
}

/* ---- the same model in double precision ---- */

static void depth_norm(const double *x, size_t weight, double *out)
{
    double squares = 0.0;
    for (size_t i = 0; i < DEPTH_DIM; i++) {
        squares += x[i] * x[i];
    }
    for (size_t i = 0; i < DEPTH_DIM; i++) {
        out[i] = x[i] / sqrt(squares / DEPTH_DIM + 1e-5) * (double)depth_weight(weight, i);
    }
}

static void depth_product(const double *x, size_t i, double *out)
{
    const uint64_t cols = depth_tensors[i].cols;
    for (uint64_t r = 0; r < depth_tensors[i].rows; r++) {
        out[r] = 0.0;
        for (uint64_t c = 0; c < cols; c++) {
            out[r] += x[c] * (double)depth_weight(i, r * cols + c);
        }
    }
}

static void depth_rotate(double *head, size_t position)
{
    for (size_t i = 0; i < DEPTH_HEAD / 2; i++) {
        const double angle = (double)position * pow(1e5, -2.0 * (double)i / DEPTH_HEAD), a = head[i], b = head[i + DEPTH_HEAD / 2];
        head[i] = a * cos(angle) - b * sin(angle);
        head[i + DEPTH_HEAD / 2] = a * sin(angle) + b * cos(angle);
    }
}

/* Of each token, before it has a place */
static double depth_keys[DEPTH_VOCAB][DEPTH_HEAD], depth_values[DEPTH_VOCAB][DEPTH_HEAD];

static void depth_tokens(void)
{
    for (size_t id = 0; id < DEPTH_VOCAB; id++) {
        double x[DEPTH_DIM], normed[DEPTH_DIM];
        for (size_t i = 0; i < DEPTH_DIM; i++) {
            x[i] = (double)depth_weight(EMBED, id * DEPTH_DIM + i);
        }
        depth_norm(x, ATTN_NORM, normed);
        depth_product(normed, WK, depth_keys[id]);
        depth_product(normed, WV, depth_values[id]);
    }
}

/* The logits at a position whose token sees what is below `sinks` or not below `begin`. */
static void depth_logits(const lbrt_token *ids, size_t p, size_t begin, size_t sinks, double *out)
{
    double x[DEPTH_DIM], normed[DEPTH_DIM], q[DEPTH_Q], heads[DEPTH_Q] = { 0 }, more[DEPTH_DIM], gate[DEPTH_FFN], up[DEPTH_FFN];
    for (size_t i = 0; i < DEPTH_DIM; i++) {
        x[i] = (double)depth_weight(EMBED, (size_t)ids[p] * DEPTH_DIM + i);
    }
    depth_norm(x, ATTN_NORM, normed);
    depth_product(normed, WQ, q);
    /* Both heads have the same keys: the scores of both at once, as a key is rotated once */
    static double score[DEPTH_HEADS][DEPTH_N];
    double sum[DEPTH_HEADS] = { 0 }, top[DEPTH_HEADS] = { -INFINITY, -INFINITY };
    for (size_t h = 0; h < DEPTH_HEADS; h++) {
        depth_rotate(q + h * DEPTH_HEAD, p);
    }
    for (size_t j = sinks ? 0 : begin; j <= p; j = j + 1 == sinks ? begin : j + 1) {
        double key[DEPTH_HEAD];
        memcpy(key, depth_keys[ids[j]], sizeof key);
        depth_rotate(key, j);
        for (size_t h = 0; h < DEPTH_HEADS; h++) {
            score[h][j] = 0.0;
            for (size_t i = 0; i < DEPTH_HEAD; i++) {
                score[h][j] += q[h * DEPTH_HEAD + i] * key[i] / sqrt((double)DEPTH_HEAD);
            }
            top[h] = fmax(top[h], score[h][j]);
        }
    }
    for (size_t h = 0; h < DEPTH_HEADS; h++) {
        for (size_t j = sinks ? 0 : begin; j <= p; j = j + 1 == sinks ? begin : j + 1) {
            const double weight = exp(score[h][j] - top[h]);
            sum[h] += weight;
            for (size_t i = 0; i < DEPTH_HEAD; i++) {
                heads[h * DEPTH_HEAD + i] += weight * depth_values[ids[j]][i];
            }
        }
        for (size_t i = 0; i < DEPTH_HEAD; i++) {
            heads[h * DEPTH_HEAD + i] /= sum[h];
        }
    }
    depth_product(heads, WO, more);
    for (size_t i = 0; i < DEPTH_DIM; i++) {
        x[i] += more[i];
    }
    depth_norm(x, FFN_NORM, normed);
    depth_product(normed, GATE, gate);
    depth_product(normed, UP, up);
    for (size_t i = 0; i < DEPTH_FFN; i++) {
        up[i] *= gate[i] / (1.0 + exp(-gate[i]));
    }
    depth_product(up, DOWN, more);
    for (size_t i = 0; i < DEPTH_DIM; i++) {
        x[i] += more[i];
    }
    depth_norm(x, OUT_NORM, normed);
    depth_product(normed, EMBED, out);
}

/* ---- sessions ---- */

typedef struct depth_case {
    const char *name;
    lbrt_kv_format key, value;
    size_t groups; /* whole ones before what is compared. Behind two and with a window and sinks: the sinks', and two at the window's ends */
    uint32_t window;
    bool is_models; /* the window is the model's, without sinks */
    double bound;   /* of the root mean square of the logits' differences, as a share of their own */
} depth_case;

static lbrt_session *depth_session(const lbrt_model *m, const depth_case *c, uint32_t n_batch, uint32_t n_threads)
{
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = (uint32_t)(c->groups * DEPTH_GROUP + DEPTH_BEHIND);
    o.n_batch = n_batch;
    o.n_threads = n_threads;
    o.n_logits = n_batch;
    o.kv_key = c->key;
    o.kv_value = c->value;
    o.window = c->is_models ? 0 : c->window;
    o.sinks = o.window ? DEPTH_SINKS : 0;
    lbrt_session *s = NULL;
    lbrt_error err = { LBRT_OK, "" };
    LB_CHECK(lbrt_session_create(m, &o, &s, &err) == LBRT_OK, "%s", err.text);
    return s;
}

/* The logits of DEPTH_ROWS positions, fed in pieces. */
static bool depth_feed(lbrt_session *s, const lbrt_token *ids, size_t from, size_t piece, float *out)
{
    bool ok = LB_CHECK(s && lbrt_feed(s, ids, from) == LBRT_OK, "%s", s ? lbrt_session_error(s) : "no session");
    for (size_t at = 0, n; ok && at < DEPTH_ROWS; at += n) {
        n = lb_min(piece, DEPTH_ROWS - at);
        ok = LB_CHECK(lbrt_feed(s, ids + from + at, n) == LBRT_OK, "%s", lbrt_session_error(s));
        for (size_t i = 0; ok && i < n; i++) {
            memcpy(out + (at + i) * DEPTH_VOCAB, lbrt_logits(s, n - 1 - i), DEPTH_VOCAB * sizeof *out);
        }
    }
    return ok;
}

static void depth_compare(const depth_case *c, const lbrt_token *ids, const float *got)
{
    static const int at[] = { -2, -1, 0, 1, 63, LB_KV_CHUNK - 1, LB_KV_CHUNK, DEPTH_BEHIND - 1 };
    double error = 0.0, without = 0.0, size = 0.0;
    for (size_t k = 0; k < sizeof at / sizeof at[0]; k++) {
        double want[DEPTH_VOCAB], other[DEPTH_VOCAB];
        const size_t row = (size_t)(DEPTH_BEFORE + at[k]), p = c->groups * DEPTH_GROUP - DEPTH_BEFORE + row;
        const size_t begin = c->window ? p + 1 - c->window : 0, sinks = c->window && !c->is_models ? DEPTH_SINKS : 0;
        depth_logits(ids, p, begin, sinks, want);
        /* Without the sinks, or half of the window, or of the first group */
        depth_logits(ids, p, sinks ? begin : c->window ? begin + c->window / 2 : DEPTH_GROUP / 2, 0, other);
        for (size_t v = 0; v < DEPTH_VOCAB; v++) {
            const double d = (double)got[row * DEPTH_VOCAB + v] - want[v];
            error += d * d;
            without += (other[v] - want[v]) * (other[v] - want[v]);
            size += want[v] * want[v];
        }
    }
    LB_CHECK(sqrt(error / size) < c->bound, "logits differ by %.3g of their size", sqrt(error / size));
    LB_CHECK(sqrt(without / size) > 2.0 * c->bound, "logits without a part of the text differ by %.3g only: this test would not see it", sqrt(without / size));
}

void test_depth(void)
{
    static const depth_case cases[] = { /* bounds: measured 7e-7, 4e-4, .016, .20, .015, 1e-6, .016, 1e-6, 1e-6 */
        { "f32", LBRT_KV_F32, LBRT_KV_F32, 1, 0, false, 4e-6 },
        { "f16", LBRT_KV_F16, LBRT_KV_F16, 1, 0, false, 1e-3 },
        { "q8", LBRT_KV_Q8, LBRT_KV_Q8, 1, 0, false, 0.05 },
        { "q4", LBRT_KV_Q4, LBRT_KV_Q4, 1, 0, false, 0.3 },
        { "q8/f16", LBRT_KV_Q8, LBRT_KV_F16, 1, 0, false, 0.05 },
        { "f32, window", LBRT_KV_F32, LBRT_KV_F32, 2, 120, false, 4e-6 },
        { "q8, window", LBRT_KV_Q8, LBRT_KV_Q8, 2, 120, false, 0.05 },
        { "f32, the model's window", LBRT_KV_F32, LBRT_KV_F32, 1, 120, true, 4e-6 },
        { "f32, window", LBRT_KV_F32, LBRT_KV_F32, 16, 120, false, 4e-6 },
    };
    lbrt_model *m = depth_model();
    lbrt_token *ids = malloc(DEPTH_N * sizeof *ids);
    float *want = malloc((size_t)DEPTH_ROWS * DEPTH_VOCAB * sizeof *want), *got = malloc((size_t)DEPTH_ROWS * DEPTH_VOCAB * sizeof *got);
    if (m && ids && want && got) {
        sm_tokens(ids, DEPTH_N, DEPTH_VOCAB, 5);
        depth_tokens();
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            const depth_case *c = &cases[i];
            const size_t from = c->groups * DEPTH_GROUP - DEPTH_BEFORE;
            lb_test_case("%zu tokens, KV %s: by definition, and the same bits by decoding and by batches", from + DEPTH_ROWS, c->name);
            m->hparams.window = c->is_models ? c->window : 0;
            lbrt_session *s = depth_session(m, c, 256, 2), *t = depth_session(m, c, 100, 1);
            if (depth_feed(s, ids, from, 1, want) && depth_feed(t, ids, from, 37, got)) {
                depth_compare(c, ids, want);
                LB_CHECK(memcmp(want, got, (size_t)DEPTH_ROWS * DEPTH_VOCAB * sizeof *want) == 0, "batches have other logits than decoding");
            }
            lbrt_session_free(s);
            lbrt_session_free(t);
        }
    }
    lbrt_model_close(m);
    free(ids);
    free(want);
    free(got);
}
