/*
 * Balanced keys: channels of keys that are much larger than others of their head are made smaller, and the queries' as much larger, which scores
 * do not notice but a cache that keeps a key's channels with one scale does. After MiKV's channel balancer (arXiv 2402.18096), which measures
 * activations and balances while it runs; here it is in the weights, once, by what they say themselves: with inputs of mean square 1 before the
 * norm's weights, a channel has the mean square of its row times these, plus that of its bias.
 *
 * Factors are powers of two, so nothing is rounded; both channels of a rotated pair have the same, so that the rotation does not notice; and a
 * head's factors are about 1 in the mean. Models that norm queries and keys per head have factors in those norms' weights, the same for all heads.
 * Layers with ternary queries or keys stay as they are.
 */
#include <math.h>
#include <stdio.h>

#include "../../kernels/lb_math.h"
#include "lb_source.h"

typedef struct balance {
    lb_source source; /* first */
    lb_source *inner;
    lbrt_allocator a;
    float **factors; /* [n_tensors]: one per row, of a vector per column; NULL: none */
} balance;

static lbrt_status read_whole(const lb_source *s, size_t i, uint64_t row, uint64_t n, float *out, lbrt_error *err)
{
    const balance *b = (const balance *)(const void *)s;
    const lb_source_tensor *t = &s->tensors[i];
    LB_TRY(b->inner->read_rows(b->inner, i, row, n, out, err));
    for (uint64_t x = 0; b->factors[i] && x < n * t->cols; x++) {
        out[x] *= b->factors[i][t->rows == 1 ? x : row + x / t->cols];
    }
    return LBRT_OK;
}

static lbrt_status read_factor(const lb_source *s, size_t i, bool outer, uint64_t row, uint64_t n, float *out, lbrt_error *err)
{
    const balance *b = (const balance *)(const void *)s;
    LB_TRY(b->inner->read_factor(b->inner, i, outer, row, n, out, err));
    const uint64_t cols = s->tensors[i].rank;
    for (uint64_t x = 0; outer && b->factors[i] && x < n * cols; x++) {
        out[x] *= b->factors[i][row + x / cols];
    }
    return LBRT_OK;
}

static void close_balance(lb_source *s)
{
    balance *b = (balance *)(void *)s;
    for (size_t i = 0; b->factors && i < s->n_tensors; i++) {
        if (b->factors[i]) {
            lb_free(&b->a, b->factors[i], (size_t)(s->tensors[i].rows * (s->tensors[i].rows == 1 ? s->tensors[i].cols : 1)) * sizeof(float));
        }
    }
    lb_free(&b->a, b->factors, s->n_tensors * sizeof *b->factors);
    lb_source *inner = b->inner;
    const lbrt_allocator a = b->a;
    lb_free(&a, b, sizeof *b);
    inner->close(inner);
}

/* SIZE_MAX: the layer has none */
static size_t find(const lb_source *s, uint32_t layer, const char *what)
{
    char name[64];
    lb_format(name, sizeof name, "layers.%u.%s", (unsigned)layer, what);
    for (size_t i = 0; i < s->n_tensors; i++) {
        if (strcmp(s->tensors[i].name, name) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

/* Mean squares of a layer's queries or keys, one per channel of all heads (with a norm per head: one per channel of a head), to out. */
static lbrt_status mean_squares(const balance *b, uint32_t layer, const char *side, double *out, float *row, lbrt_error *err)
{
    const lb_source *s = b->inner;
    char name[32];
    lb_format(name, sizeof name, "%s_norm", side);
    const size_t per_head = find(s, layer, name), matrix = find(s, layer, side), weights = find(s, layer, "attn_norm");
    if (per_head != SIZE_MAX) {
        LB_TRY(s->read_rows(s, per_head, 0, 1, row, err));
        for (uint64_t d = 0; d < s->tensors[per_head].cols; d++) {
            out[d] = (double)row[d] * (double)row[d];
        }
        return LBRT_OK;
    }
    lb_format(name, sizeof name, "%s_bias", side);
    const size_t bias = find(s, layer, name);
    const uint64_t rows = s->tensors[matrix].rows, cols = s->tensors[matrix].cols;
    float *g = row + lb_max((size_t)rows, (size_t)cols);
    for (uint64_t c = 0; c < cols; c++) {
        g[c] = 1.0f;
    }
    if (weights != SIZE_MAX && s->tensors[weights].cols == cols) {
        LB_TRY(s->read_rows(s, weights, 0, 1, g, err));
    }
    for (uint64_t r = 0; r < rows; r++) {
        LB_TRY(s->read_rows(s, matrix, r, 1, row, err));
        out[r] = 0;
        for (uint64_t c = 0; c < cols; c++) {
            out[r] += (double)row[c] * (double)row[c] * (double)g[c] * (double)g[c];
        }
    }
    if (bias != SIZE_MAX) {
        LB_TRY(s->read_rows(s, bias, 0, 1, row, err));
        for (uint64_t r = 0; r < rows; r++) {
            out[r] += (double)row[r] * (double)row[r];
        }
    }
    return LBRT_OK;
}

/* The other channel of a rotated pair; d itself if it is not rotated. */
static uint32_t partner(const lb_hparams *h, uint32_t d)
{
    const uint32_t half = h->rope_dim / 2;
    return d >= h->rope_dim ? d : h->rope_interleaved ? d ^ 1 : d < half ? d + half : d - half;
}

/* Factors of one key head's channels from the mean squares of its keys and its queries. */
static void choose_factors(const lb_hparams *h, const double *k, const double *q, float *out, size_t *n_changed)
{
    double mean = 0, log_of[1024];
    for (uint32_t d = 0; d < h->head_dim; d++) {
        const uint32_t o = partner(h, d);
        const double kk = k[d] + k[o], qq = q[d] + q[o];
        log_of[d] = kk > 1e-12 && qq > 1e-12 ? 0.25 * log2(qq / kk) : 0.0;
        mean += log_of[d] / h->head_dim;
    }
    for (uint32_t d = 0; d < h->head_dim; d++) {
        const double power = fmax(-6, fmin(6, round(log_of[d] - mean)));
        out[d] = (float)exp2(isfinite(power) ? power : 0);
        *n_changed += out[d] != 1.0f;
    }
}

static lbrt_status set_factors(balance *b, uint32_t layer, const char *what, const float *of_head, size_t heads, size_t repeat, bool inverse, lbrt_error *err)
{
    const size_t i = find(b->inner, layer, what), width = b->source.hparams.head_dim;
    if (i == SIZE_MAX) {
        return LBRT_OK;
    }
    b->factors[i] = (float *)lb_alloc(&b->a, heads * repeat * width * sizeof(float));
    LB_FAIL_IF(!b->factors[i], err, LBRT_ERR_MEMORY, "out of memory");
    for (size_t x = 0; x < heads * repeat * width; x++) {
        const float f = of_head[x / width / repeat * width + x % width];
        b->factors[i][x] = inverse ? 1.0f / f : f;
    }
    return LBRT_OK;
}

static lbrt_status balance_layer(balance *b, uint32_t layer, double *squares, float *row, size_t *n_changed, lbrt_error *err)
{
    const lb_source *s = b->inner;
    const lb_hparams *h = &s->hparams;
    const size_t q = find(s, layer, "attn_q"), k = find(s, layer, "attn_k"), width = h->head_dim;
    if (q == SIZE_MAX || k == SIZE_MAX || s->tensors[q].ternary || s->tensors[k].ternary) {
        return LBRT_OK;
    }
    const bool normed = find(s, layer, "attn_k_norm") != SIZE_MAX;
    const size_t heads = normed ? 1 : (size_t)s->tensors[k].rows / width, repeat = normed ? 1 : (size_t)(s->tensors[q].rows / s->tensors[k].rows);
    if (normed != (find(s, layer, "attn_q_norm") != SIZE_MAX)) {
        return LBRT_OK;
    }
    double *of_k = squares, *of_q = squares + heads * width;
    LB_TRY(mean_squares(b, layer, "attn_k", of_k, row, err));
    LB_TRY(mean_squares(b, layer, "attn_q", of_q, row, err));
    float *factors = row; /* what was read is no longer needed */
    for (size_t head = 0; head < heads; head++) {
        double group[1024] = { 0 };
        for (size_t x = 0; x < repeat * width; x++) {
            group[x % width] += of_q[head * repeat * width + x];
        }
        choose_factors(h, of_k + head * width, group, factors + head * width, n_changed);
    }
    LB_TRY(set_factors(b, layer, normed ? "attn_k_norm" : "attn_k", factors, heads, 1, false, err));
    LB_TRY(set_factors(b, layer, normed ? "attn_q_norm" : "attn_q", factors, heads, repeat, true, err));
    if (!normed) {
        LB_TRY(set_factors(b, layer, "attn_k_bias", factors, heads, 1, false, err));
        LB_TRY(set_factors(b, layer, "attn_q_bias", factors, heads, repeat, true, err));
    }
    return LBRT_OK;
}

lbrt_status lb_source_balance(lb_source **source, const lbrt_allocator *a, size_t *n_changed, lbrt_error *err)
{
    const lb_source *s = *source;
    *n_changed = 0;
    LB_FAIL_IF(s->hparams.head_dim > 1024, err, LBRT_ERR_UNSUPPORTED, "heads of %u channels", (unsigned)s->hparams.head_dim);
    balance *b = (balance *)lb_alloc_zero(a, 1, sizeof *b);
    LB_FAIL_IF(!b, err, LBRT_ERR_MEMORY, "out of memory");
    *b = (balance){ .source = *s, .inner = *source, .a = *a };
    b->source.read_rows = read_whole;
    b->source.read_factor = s->read_factor ? read_factor : NULL;
    b->source.close = close_balance;
    b->factors = (float **)lb_alloc_zero(a, s->n_tensors, sizeof *b->factors);
    size_t most = 0; /* rows of queries with those of keys, and columns */
    for (size_t i = 0; i < s->n_tensors; i++) {
        const bool reads = strstr(s->tensors[i].name, ".attn_q") != NULL || strstr(s->tensors[i].name, ".attn_k") != NULL;
        most = reads ? lb_max(most, (size_t)(s->tensors[i].rows + s->tensors[i].cols)) : most;
    }
    const size_t bytes = 2 * most * (sizeof(double) + sizeof(float));
    double *squares = (double *)lb_alloc(a, lb_max(bytes, 1));
    lbrt_status status = b->factors && squares ? LBRT_OK : lb_fail(err, LBRT_ERR_MEMORY, "out of memory");
    for (uint32_t i = 0; status == LBRT_OK && i < s->hparams.n_layers; i++) {
        status = balance_layer(b, i, squares, (float *)(void *)(squares + 2 * most), n_changed, err);
    }
    lb_free(a, squares, lb_max(bytes, 1));
    *source = &b->source; /* also if it failed: whoever closes it closes both */
    return status;
}
