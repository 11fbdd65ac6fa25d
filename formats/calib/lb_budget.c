#include "lb_budget.h"

#include <math.h>

#include "../pack/lb_feedback.h"
#include "../pack/lb_pack.h"

/* Formats by size. One larger than q8 would gain nothing that can be measured; q4, q3 and q2 are behind tcq4, tcq3 and tcq2. */
static const lb_wformat layer_formats[] = { LB_W_TCQ2, LB_W_TCQ3, LB_W_TCQ4, LB_W_Q5, LB_W_Q6, LB_W_Q8 };
/* An embedding's rows are looked up: no rotation, and nothing to feed errors back to. */
static const lb_wformat embed_formats[] = { LB_W_Q3, LB_W_Q4, LB_W_Q5, LB_W_Q6, LB_W_Q8, LB_W_Q8 };
enum { FORMATS = 6, PROBE = 0, ROWS = LB_FEEDBACK_ROWS, LOGIT_FLOATS = 64 << 20 };

bool lb_budget_knapsack(const double *loss, const uint64_t *bytes, size_t n, size_t m, uint64_t limit, uint8_t *choice)
{
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++) {
        choice[i] = 0;
        for (size_t f = 1; f < m; f++) { /* the smallest; of equal ones the better */
            const uint64_t a = bytes[i * m + f], b = bytes[i * m + choice[i]];
            choice[i] = a < b || (a == b && loss[i * m + f] < loss[i * m + choice[i]]) ? (uint8_t)f : choice[i];
        }
        total += bytes[i * m + choice[i]];
    }
    if (total > limit) {
        return false;
    }
    for (;;) {
        double best = 0.0;
        size_t at = n, to = 0;
        for (size_t i = 0; i < n; i++) {
            const size_t from = choice[i];
            for (size_t f = 0; f < m; f++) {
                const uint64_t more = bytes[i * m + f] - bytes[i * m + from];
                if (bytes[i * m + f] <= bytes[i * m + from] || total + more > limit) {
                    continue;
                }
                const double gain = (loss[i * m + from] - loss[i * m + f]) / (double)more;
                if (gain > best) {
                    best = gain;
                    at = i;
                    to = f;
                }
            }
        }
        if (at == n) {
            return true;
        }
        total += bytes[at * m + to] - bytes[at * m + choice[at]];
        choice[at] = (uint8_t)to;
    }
}

typedef struct budget_job {
    lb_streams *s;
    const lb_source *source;
    const lb_budget_options *o;
    lbrt_allocator a;
    lb_pool *pool;
    const lb_kernels *k;
    unsigned threads;
    double *loss;
    uint64_t *bytes;
    float *logits; /* of the original, then of what is probed */
    size_t logits_bytes, logits_floats, n_chunks, step;

    /* the matrix at work */
    size_t tensor, n;
    float *matrix;
    unsigned char *scratch, *tiles, *rotation;
    lb_feedback_error *errors;
    size_t n_tiles, rotation_bytes, matrix_bytes, scratch_bytes, errors_bytes;
    const lb_source_tensor *t;
    const lb_wformat_info *format;
    const lb_factor *factor; /* NULL: an embedding */
    lbrt_status *failed;     /* per thread */
} budget_job;

static const lb_wformat *formats_of(const lb_source_tensor *t)
{
    return strcmp(t->name, "tok_embed") == 0 ? embed_formats : layer_formats;
}

/* 0 for sparse formats, which nobody knows before */
static uint64_t bytes_in(const lb_source_tensor *t, lb_wformat format)
{
    const lb_wformat_info *f = lb_wformat_find((uint32_t)format);
    return f ? (t->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS * f->tile_bytes(lb_round_up((size_t)t->cols, LB_K_ALIGN)) : 0;
}

/* ---------------------------------------------------------------- packing one matrix in all formats */

static void read_item(void *context, size_t item, unsigned thread)
{
    const budget_job *j = (const budget_job *)context;
    const uint64_t row = (uint64_t)item * LB_TILE_ROWS;
    const size_t n = (size_t)(j->t->rows - row < LB_TILE_ROWS ? j->t->rows - row : LB_TILE_ROWS), cols = (size_t)j->t->cols;
    float *rows = j->matrix + row * j->n;
    const lbrt_status s = j->source->read_rows(j->source, j->tensor, row, n, rows, NULL);
    j->failed[thread] = s == LBRT_OK ? j->failed[thread] : s;
    for (size_t i = 0; i < n * cols && s == LBRT_OK; i++) {
        rows[i] = isfinite(rows[i]) ? rows[i] : 0.0f; /* as lb_job_read */
    }
    for (size_t r = n; r-- > 0;) {
        memmove(rows + r * j->n, rows + r * cols, cols * sizeof(float));
        memset(rows + r * j->n + cols, 0, (j->n - cols) * sizeof(float));
    }
}

static void rotate_item(void *context, size_t row, unsigned thread)
{
    const budget_job *j = (const budget_job *)context;
    (void)thread;
    j->k->hadamard(j->matrix + row * j->n, j->matrix + row * j->n, j->rotation + LB_ROTATION_HEAD, j->n, lb_load_u32(j->rotation));
}

static void pack_item(void *context, size_t item, unsigned thread)
{
    const budget_job *j = (const budget_job *)context;
    const size_t row = item * ROWS, n = lb_min((size_t)j->t->rows - row, ROWS), tile_bytes = j->format->tile_bytes(j->n);
    unsigned char *tiles = j->tiles + row / LB_TILE_ROWS * tile_bytes;
    const float *rows = j->matrix + row * j->n;
    lb_feedback_error *e = &j->errors[item];
    *e = (lb_feedback_error){ 0 };
    if (j->factor) {
        lb_feedback_pack(j->format, j->factor, j->k, rows, j->n, n, tiles, j->scratch + thread * lb_feedback_bytes(j->n), e);
        return;
    }
    float *row_out = (float *)(void *)(j->scratch + thread * lb_feedback_bytes(j->n));
    for (size_t r = 0; r < n; r++) {
        unsigned char *tile = tiles + r / LB_TILE_ROWS * tile_bytes;
        if (r % LB_TILE_ROWS == 0) {
            lb_packer(j->format->id)(rows + r * j->n, j->n, lb_min(n - r, LB_TILE_ROWS), j->n, NULL, tile);
        }
        j->format->unpack(tile, j->n, r % LB_TILE_ROWS, row_out);
        for (size_t c = 0; c < j->n; c++) {
            const double d = (double)rows[r * j->n + c] - (double)row_out[c];
            e->error += d * d;
        }
    }
}

/* Mean divergence of the copy as it is now */
static double measure(const budget_job *j)
{
    const size_t n_vocab = j->source->hparams.n_vocab, stride = lb_round_up(n_vocab, LB_TILE_ROWS);
    float *now = j->logits + j->logits_floats;
    const float *before = j->logits;
    double sum = 0.0;
    size_t all = 0;
    for (size_t c = 0; c < j->n_chunks; c++) {
        const size_t n = lb_streams_logits(j->s, lb_streams_held_out(j->s, c), j->step, now);
        for (size_t i = 0; i < n; i++, all++, before += stride) {
            sum += lb_streams_kl(before, now + i * stride, n_vocab);
        }
    }
    return all ? sum / (double)all : 0.0;
}

/* The matrix's tiles in the packed copy, for as long as the divergence is measured */
static lbrt_status probe(budget_job *j, double *kl, lbrt_error *err)
{
    lb_term term = { .kind = LB_TERM_PACKED, .n_rows = j->t->rows, .n_cols = j->t->cols, .n_parts = 1 };
    term.parts[0] = (lb_part){ .format = j->format->id,
                               .rows = j->t->rows,
                               .cols = j->n,
                               .data = j->tiles,
                               .bytes = j->n_tiles * j->format->tile_bytes(j->n),
                               .tile_bytes = j->format->tile_bytes(j->n) };
    if (j->format->rotate && j->factor) {
        term.transform = (lb_transform_ref){ .kind = LB_TRANSFORM_HADAMARD,
                                             .block = lb_load_u32(j->rotation),
                                             .n = (uint32_t)j->n,
                                             .data = j->rotation,
                                             .bytes = j->rotation_bytes };
    }
    const lb_tensor tensor = { .name = j->t->name, .n_terms = 1, .rows = j->t->rows, .cols = j->t->cols, .terms = &term };
    j->tiles = NULL;
    LB_TRY(lb_streams_replace(j->s, j->t->name, &tensor, err));
    *kl = measure(j);
    lb_streams_restore(j->s);
    return LBRT_OK;
}

/* Errors and bytes in each format; the divergence of the probe's; from these the loss of all. */
static lbrt_status try_formats(budget_job *j, const lb_factor *plain, const lb_factor *rotated, lbrt_error *err)
{
    double *loss = j->loss + j->tensor * FORMATS, kl = 0.0;
    const bool whole = plain != NULL; /* else an embedding */
    for (int way = 0; way < 2; way++) { /* unrotated formats first: the matrix is rotated in place */
        if (way == 1 && whole) {
            lb_pool_run(j->pool, rotate_item, j, (size_t)j->t->rows);
        }
        for (size_t f = FORMATS; f-- > 0;) {
            j->format = lb_wformat_find((uint32_t)formats_of(j->t)[f]);
            if ((j->format->rotate && whole) != (way == 1)) {
                continue;
            }
            j->factor = !whole ? NULL : way == 1 ? rotated : plain;
            const size_t bytes = (size_t)bytes_in(j->t, j->format->id);
            j->tiles = (unsigned char *)lb_alloc(&j->a, bytes);
            LB_FAIL_IF(!j->tiles, err, LBRT_ERR_MEMORY, "out of memory");
            lb_pool_run(j->pool, pack_item, j, (j->n_tiles + 3) / 4);
            double error = 0.0;
            for (size_t i = 0; i < (j->n_tiles + 3) / 4; i++) {
                error += j->errors[i].error;
            }
            j->bytes[j->tensor * FORMATS + f] = bytes;
            loss[f] = error;
            if (f == PROBE) {
                LB_TRY(probe(j, &kl, err)); /* takes the tiles */
            }
            lb_free(&j->a, j->tiles, bytes);
            j->tiles = NULL;
        }
    }
    const double unit = loss[PROBE] > 0.0 ? kl / loss[PROBE] : 0.0;
    for (size_t f = 0; f < FORMATS; f++) {
        loss[f] *= unit;
    }
    return LBRT_OK;
}

static lbrt_status try_matrix(budget_job *j, const lb_moments *moments, lbrt_error *err)
{
    lb_factor plain = { .n = 0 }, rotated = { .n = 0 };
    j->t = &j->source->tensors[j->tensor];
    j->n = lb_round_up((size_t)j->t->cols, LB_K_ALIGN);
    j->n_tiles = (size_t)((j->t->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS);
    j->matrix_bytes = j->n_tiles * LB_TILE_ROWS * j->n * sizeof(float);
    j->scratch_bytes = j->threads * lb_feedback_bytes(j->n);
    j->errors_bytes = (j->n_tiles + 3) / 4 * sizeof *j->errors;
    j->rotation_bytes = j->n / 8 + LB_ROTATION_HEAD;
    j->matrix = (float *)lb_alloc(&j->a, j->matrix_bytes);
    j->scratch = (unsigned char *)lb_alloc(&j->a, j->scratch_bytes);
    j->errors = (lb_feedback_error *)lb_alloc(&j->a, j->errors_bytes);
    j->rotation = (unsigned char *)lb_alloc(&j->a, j->rotation_bytes);
    lbrt_status s = LBRT_OK;
    if (!j->matrix || !j->scratch || !j->errors || !j->rotation) {
        s = lb_fail(err, LBRT_ERR_MEMORY, "out of memory for %s", j->t->name);
    } else {
        lb_factor_options o = { .block = lb_convert_rotation(j->t->name, (uint32_t)j->n, j->rotation), .damping = j->o->damping };
        if (moments) {
            o.sort = true;
            s = lb_factor_open(&plain, moments, &o, j->pool, &j->a, err);
            o.sort = false;
            o.signs = j->rotation + LB_ROTATION_HEAD;
            s = s == LBRT_OK ? lb_factor_open(&rotated, moments, &o, j->pool, &j->a, err) : s;
        }
        if (s == LBRT_OK) {
            lb_pool_run(j->pool, read_item, j, j->n_tiles);
            for (unsigned i = 0; i < j->threads; i++) {
                s = j->failed[i] != LBRT_OK ? lb_fail(err, j->failed[i], "%s cannot be read", j->t->name) : s;
            }
        }
        s = s == LBRT_OK ? try_formats(j, moments ? &plain : NULL, &rotated, err) : s;
    }
    lb_factor_close(&plain);
    lb_factor_close(&rotated);
    lb_free(&j->a, j->tiles, j->tiles ? j->n_tiles * j->format->tile_bytes(j->n) : 0);
    j->tiles = NULL;
    lb_free(&j->a, j->matrix, j->matrix_bytes);
    lb_free(&j->a, j->scratch, j->scratch_bytes);
    lb_free(&j->a, j->errors, j->errors_bytes);
    lb_free(&j->a, j->rotation, j->rotation_bytes);
    return s;
}

/* ---------------------------------------------------------------- all matrices */

static bool ends_with(const char *name, const char *end)
{
    const size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* A matrix whose format is not up for choice */
static bool is_kept(const lb_convert_options *keep, const lb_source_tensor *t)
{
    bool kept = lb_convert_is_vector(t->name) || t->ternary || ends_with(t->name, "_shortcut");
    for (size_t i = 0; i < keep->n_rules; i++) {
        kept = kept || lb_glob_match(keep->rules[i].glob, t->name);
    }
    return kept;
}

/* What the tensors whose formats are up for choice may have; ARGUMENT if that is less than they need. */
static lbrt_status budget_limit(const lb_source *source, const lb_convert_options *keep, const lb_budget_options *o, uint64_t *limit, lbrt_error *err)
{
    uint64_t kept = 0, weights = 0, smallest = 0;
    for (size_t i = 0; i < source->n_tensors; i++) {
        const lb_source_tensor *t = &source->tensors[i];
        weights += t->rows * t->cols;
        if (is_kept(keep, t)) { /* it has one choice: what it gets anyway */
            kept += lb_convert_is_vector(t->name) ? t->cols * 4 : bytes_in(t, lb_convert_format(keep, t));
        } else {
            uint64_t own = UINT64_MAX;
            for (size_t f = 0; f < FORMATS; f++) {
                const uint64_t bytes = bytes_in(t, formats_of(t)[f]);
                own = bytes < own ? bytes : own;
            }
            smallest += own;
        }
    }
    const uint64_t beside = o->bytes ? o->beside : 0, need = beside + kept + smallest;
    const uint64_t all = o->bytes ? o->bytes : (uint64_t)(o->bits_per_weight * (double)weights / 8.0);
    LB_FAIL_IF(all < need && o->bytes, err, LBRT_ERR_ARGUMENT, "a budget of %llu bytes is too small: the smallest formats make a file of %llu",
               (unsigned long long)all, (unsigned long long)need);
    const uint64_t hundredths = (need * 800 + weights - 1) / weights; /* rounded up: a budget that is enough */
    LB_FAIL_IF(all < need, err, LBRT_ERR_ARGUMENT, "the budget is too small: the smallest formats take %llu.%llu%llu bits per weight",
               (unsigned long long)(hundredths / 100), (unsigned long long)(hundredths / 10 % 10), (unsigned long long)(hundredths % 10));
    *limit = all - beside - kept;
    return LBRT_OK;
}

lbrt_status lb_budget_check(const lb_source *source, const lb_convert_options *keep, const lb_budget_options *o, lbrt_error *err)
{
    uint64_t limit;
    return budget_limit(source, keep, o, &limit, err);
}

/* The matrices that read the same, in the order of a token's way */
static lbrt_status try_place(budget_job *j, const lb_convert_options *keep, const char *prefix, const char *const names[3],
                             lb_tap_place place, size_t *n_done, lbrt_error *err)
{
    lb_moments moments = { .n = 0 };
    lbrt_status s = LBRT_OK;
    for (size_t i = 0; i < j->source->n_tensors && s == LBRT_OK; i++) {
        const lb_source_tensor *t = &j->source->tensors[i];
        bool here = false;
        for (size_t l = 0; l < 3 && names[l]; l++) {
            here = here || (strncmp(t->name, prefix, strlen(prefix)) == 0 && ends_with(t->name, names[l]) &&
                            strlen(t->name) == strlen(prefix) + strlen(names[l]));
        }
        if (!here || is_kept(keep, t)) {
            continue;
        }
        if (moments.n == 0 && strcmp(names[0], "tok_embed") != 0) {
            s = lb_streams_collect(j->s, place, false, &moments, err);
        }
        j->tensor = i;
        s = s == LBRT_OK ? try_matrix(j, moments.n ? &moments : NULL, err) : s;
        ++*n_done;
        if (j->o->progress) {
            j->o->progress(j->o->user, (double)*n_done / (double)j->source->n_tensors, t->name);
        }
    }
    lb_moments_close(&moments);
    return s;
}

static lbrt_status try_all(budget_job *j, const lb_convert_options *keep, lbrt_error *err)
{
    static const struct {
        const char *names[3];
        lb_tap_place place;
    } places[] = { { { "attn_q", "attn_k", "attn_v" }, LB_TAP_ATTN },
                   { { "attn_o" }, LB_TAP_ATTN_O },
                   { { "ffn_gate", "ffn_up" }, LB_TAP_FFN },
                   { { "ffn_down" }, LB_TAP_FFN_DOWN } };
    static const char *const embed[3] = { "tok_embed" }, *const head[3] = { "out_head" };
    size_t done = 0;
    const size_t n_layers = j->source->hparams.n_layers, stride = lb_round_up(j->source->hparams.n_vocab, LB_TILE_ROWS);
    lb_streams_go_to(j->s, 0, false);
    float *out = j->logits;
    for (size_t c = 0; c < j->n_chunks; c++) {
        out += lb_streams_logits(j->s, lb_streams_held_out(j->s, c), j->step, out) * stride;
    }
    LB_TRY(try_place(j, keep, "", embed, LB_TAP_PLACES, &done, err));
    for (uint32_t layer = 0; layer < n_layers; layer++) {
        char prefix[32];
        lb_format(prefix, sizeof prefix, "layers.%u.", layer);
        for (size_t p = 0; p < sizeof places / sizeof places[0]; p++) {
            lb_streams_go_to(j->s, layer, places[p].place >= LB_TAP_FFN);
            LB_TRY(try_place(j, keep, prefix, places[p].names, places[p].place, &done, err));
        }
    }
    lb_streams_go_to(j->s, (uint32_t)n_layers, false);
    return try_place(j, keep, "", head, LB_TAP_PLACES, &done, err);
}

static lbrt_status choose(budget_job *j, const lb_convert_options *keep, uint64_t limit, lb_convert_rule *rules, size_t *n_rules,
                          double *predicted, uint8_t *choice, lbrt_error *err)
{
    LB_FAIL_IF(!lb_budget_knapsack(j->loss, j->bytes, j->source->n_tensors, FORMATS, limit, choice), err, LBRT_ERR_ARGUMENT,
               "the budget is too small");
    *n_rules = 0;
    *predicted = 0.0;
    for (size_t i = 0; i < j->source->n_tensors; i++) {
        const lb_source_tensor *t = &j->source->tensors[i];
        if (!is_kept(keep, t)) {
            rules[(*n_rules)++] = (lb_convert_rule){ t->name, formats_of(t)[choice[i]] };
            *predicted += j->loss[i * FORMATS + choice[i]];
        }
    }
    return LBRT_OK;
}

lbrt_status lb_budget_choose(lb_streams *s, const lb_source *source, const lb_convert_options *keep, const lb_budget_options *o,
                             lb_convert_rule *rules, size_t *n_rules, double *predicted, const lbrt_allocator *a, lbrt_error *err)
{
    const size_t n = source->n_tensors, stride = lb_round_up(source->hparams.n_vocab, LB_TILE_ROWS);
    budget_job j = { .s = s, .source = source, .o = o, .a = *a };
    uint64_t limit;
    LB_TRY(budget_limit(source, keep, o, &limit, err));
    j.pool = s->packed.session->exec.pool;
    j.k = s->packed.session->exec.k;
    j.threads = s->packed.session->exec.n_threads;
    /* What is measured on: up to 8 chunks, fewer positions of each if their logits would be too many. */
    const size_t all = s->n_context - s->n_context / 2;
    while (j.n_chunks < 8 && lb_streams_held_out(s, j.n_chunks) < s->n_chunks) {
        j.n_chunks++;
    }
    LB_FAIL_IF(j.n_chunks == 0, err, LBRT_ERR_ARGUMENT, "a budget needs at least four chunks of calibration text to measure on");
    j.step = 1 + j.n_chunks * all * stride / LOGIT_FLOATS;
    const size_t per_chunk = (all + j.step - 1) / j.step;
    j.logits_floats = j.n_chunks * per_chunk * stride;
    j.logits_bytes = (j.logits_floats + per_chunk * stride) * sizeof(float);
    j.logits = (float *)lb_alloc(a, j.logits_bytes);
    j.loss = (double *)lb_alloc_zero(a, n * FORMATS, sizeof(double));
    j.bytes = (uint64_t *)lb_alloc_zero(a, n * FORMATS, sizeof(uint64_t));
    j.failed = (lbrt_status *)lb_alloc_zero(a, j.threads, sizeof(lbrt_status));
    uint8_t *choice = (uint8_t *)lb_alloc_zero(a, n, 1);
    lbrt_status status = LBRT_OK;
    if (!j.logits || !j.loss || !j.bytes || !j.failed || !choice) {
        status = lb_fail(err, LBRT_ERR_MEMORY, "out of memory");
    } else {
        status = try_all(&j, keep, err);
        status = status == LBRT_OK ? choose(&j, keep, limit, rules, n_rules, predicted, choice, err) : status;
    }
    lb_free(a, choice, n);
    lb_free(a, j.failed, j.threads * sizeof(lbrt_status));
    lb_free(a, j.bytes, n * FORMATS * sizeof(uint64_t));
    lb_free(a, j.loss, n * FORMATS * sizeof(double));
    lb_free(a, j.logits, j.logits_bytes);
    return status;
}
