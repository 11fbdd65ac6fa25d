/* Running a model layer by layer beside its packed copy, and the second moments of what the copy's layers read. */
#include "lb_calib.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "../../runtime/base/lb_os.h"
#include "lb_budget.h"
#include "lb_keep.h"

typedef struct calib_basis {
    const uint8_t *signs;
    lb_factor factor;
} calib_basis;

enum { CALIB_BASES = 2 }; /* plain and rotated: layers share a rotation if they share an input */

typedef struct calib_job {
    lb_streams streams;
    const lb_calib_options *how;
    lbrt_allocator a;
    uint32_t layer;
    lb_tap_place place;
    bool have_place;
    lb_moments moments; /* of the place; n 0: none yet */
    calib_basis bases[CALIB_BASES];
    size_t n_bases;

    const lb_source *source;
    const lb_convert_options *options;
    double done, share;    /* of all work: of the places behind, of the place at work */
    double running;        /* the part of the latter that is not packing */
    double packed, packed_now, weights; /* of all weights: packed when the place was reached, and now; that read it */
    double work;           /* all */
    double from, to;       /* parts of `running`: of the run through all tokens that is on */
    double begin, span;    /* of the progress: the phase at work */
    lb_calib_report *report;
} calib_job;

/*
 * Progress goes by operations (work_of). The copy of the model at the beginning is a fiftieth of all, the choice of formats two thirds of
 * the rest.
 */
static const double copy_share = 0.02, budget_share = 0.63, arriving = 0.15; /* of running: bringing the packed copy to the place */

static void calib_show(const calib_job *c, double done, const char *what)
{
    if (c->options->progress) {
        c->options->progress(c->options->user, c->begin + c->span * done, what);
    }
}

static void calib_tick(void *user, double done)
{
    const calib_job *c = (const calib_job *)user;
    char what[48];
    lb_format(what, sizeof what, "layer %u: running the model", c->layer);
    calib_show(c, c->done + c->share * c->running * (c->from + (c->to - c->from) * done), what);
}

/* lb_convert's, of weights that are packed */
static void calib_progress(void *user, double done, const char *tensor)
{
    calib_job *c = (calib_job *)user;
    const double packed = c->weights > 0.0 ? (done - c->packed) / c->weights : 0.0;
    c->packed_now = done;
    calib_show(c, c->done + c->share * (c->running + (1.0 - c->running) * (packed < 1.0 ? packed : 1.0)), tensor);
}

static void calib_tensor(void *user, const lb_convert_tensor_report *report)
{
    const calib_job *c = (const calib_job *)user;
    if (c->options->tensor) {
        c->options->tensor(c->options->user, report);
    }
}

static void copy_progress(void *user, double done, const char *tensor)
{
    (void)tensor;
    calib_show((const calib_job *)user, done, "copy to calibrate with");
}

static void budget_progress(void *user, double done, const char *tensor)
{
    char what[80];
    lb_format(what, sizeof what, "trying %s", tensor);
    calib_show((const calib_job *)user, done, what);
}

static void drop_factors(calib_job *c)
{
    for (size_t i = 0; i < c->n_bases; i++) {
        lb_factor_close(&c->bases[i].factor);
    }
    c->n_bases = 0;
    lb_moments_close(&c->moments);
}

/* The place in a layer whose input a tensor reads; false: the embedding, and shortcut matrices, which are packed without moments */
static bool place_of_tensor(const lb_hparams *h, const char *name, uint32_t *layer, lb_tap_place *place)
{
    static const struct {
        const char *name;
        lb_tap_place place;
    } places[] = { { "attn_q", LB_TAP_ATTN }, { "attn_k", LB_TAP_ATTN }, { "attn_v", LB_TAP_ATTN }, { "attn_o", LB_TAP_ATTN_O },
                   { "ffn_gate", LB_TAP_FFN }, { "ffn_up", LB_TAP_FFN }, { "ffn_down", LB_TAP_FFN_DOWN } };
    const char *dot = strrchr(name, '.');
    if (strcmp(name, "out_head") == 0) {
        *layer = h->n_layers;
        *place = LB_TAP_PLACES;
        return true;
    }
    if (!dot || sscanf(name, "layers.%u.", layer) != 1 || *layer >= h->n_layers) {
        return false;
    }
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (strcmp(dot + 1, places[i].name) == 0) {
            *place = places[i].place;
            return true;
        }
    }
    return false;
}

/* Operations at a place: running the original through the half that ends there, moments and what is made of them, packing. And its weights. */
static double work_of(const calib_job *c, uint32_t layer, lb_tap_place place, double *running, double *weights)
{
    const bool ends = place == LB_TAP_ATTN_O || place == LB_TAP_FFN_DOWN;
    const double tokens = (double)c->streams.n_tokens;
    double half = 0.0, n = 0.0;
    *weights = 0.0;
    for (size_t i = 0; i < c->source->n_tensors; i++) {
        const lb_source_tensor *t = &c->source->tensors[i];
        uint32_t other_layer = 0;
        lb_tap_place other;
        if (place_of_tensor(&c->source->hparams, t->name, &other_layer, &other) && other_layer == layer) {
            const double own = (double)(t->rows * t->cols);
            *weights += other == place ? own : 0.0;
            n = other == place ? (double)t->cols : n;
            half += ends && (other == LB_TAP_FFN || other == LB_TAP_FFN_DOWN) == (place == LB_TAP_FFN_DOWN) ? own : 0.0;
        }
    }
    *running = tokens * (2.0 * half + 3.0 * n * n) + 2.3 * n * n * n;
    return *running + 4.0 * *weights * n;
}

static double all_work(const calib_job *c)
{
    double sum = 0.0, running, weights;
    for (uint32_t layer = 0; layer < c->source->hparams.n_layers; layer++) {
        for (int place = 0; place < LB_TAP_PLACES; place++) {
            sum += work_of(c, layer, (lb_tap_place)place, &running, &weights);
        }
    }
    return sum + work_of(c, c->source->hparams.n_layers, LB_TAP_PLACES, &running, &weights);
}

/* Brings the streams to where a tensor is read. */
static void go_to(calib_job *c, uint32_t layer, lb_tap_place place)
{
    if (c->have_place && c->layer == layer && c->place == place) {
        return;
    }
    drop_factors(c);
    double running, weights, all = 0.0;
    for (size_t i = 0; i < c->source->n_tensors; i++) {
        all += (double)(c->source->tensors[i].rows * c->source->tensors[i].cols);
    }
    const double work = work_of(c, layer, place, &running, &weights);
    c->done += c->share;
    c->share = work / c->work;
    c->running = running / work;
    c->weights = weights / all;
    c->packed = c->packed_now;
    c->layer = layer;
    c->place = place;
    c->have_place = true;
    c->from = 0.0;
    c->to = arriving;
    lb_streams_go_to(&c->streams, layer, place == LB_TAP_FFN || place == LB_TAP_FFN_DOWN);
    c->from = arriving;
    c->to = 1.0;
}

static lbrt_status calib_factor(void *user, const char *tensor, const lb_factor_options *basis, const lb_factor **out, lbrt_error *err)
{
    calib_job *c = (calib_job *)user;
    uint32_t layer;
    lb_tap_place place;
    *out = NULL;
    if (!place_of_tensor(&c->streams.original.model->hparams, tensor, &layer, &place)) {
        return LBRT_OK;
    }
    go_to(c, layer, place);
    for (size_t i = 0; i < c->n_bases; i++) {
        if (c->bases[i].signs == basis->signs) {
            *out = &c->bases[i].factor;
            return LBRT_OK;
        }
    }
    LB_FAIL_IF(c->n_bases == CALIB_BASES, err, LBRT_ERR_UNSUPPORTED, "%s rotates an input in another way than its neighbours", tensor);
    if (c->moments.n == 0) {
        LB_TRY(lb_streams_collect(&c->streams, place, c->how->shift != 0.0, &c->moments, err));
    }
    lb_factor_options o = *basis;
    o.damping = c->how->damping;
    o.shift = c->how->shift;
    calib_basis *b = &c->bases[c->n_bases];
    LB_TRY(lb_factor_open(&b->factor, &c->moments, &o, c->streams.packed.session->exec.pool, &c->a, err));
    b->signs = basis->signs;
    c->n_bases++;
    *out = &b->factor;
    return LBRT_OK;
}

static lbrt_status calib_packed(void *user, const char *name, const lb_tensor *tensor, lbrt_error *err)
{
    calib_job *c = (calib_job *)user;
    uint32_t layer;
    lb_tap_place place;
    if (place_of_tensor(&c->streams.original.model->hparams, name, &layer, &place)) {
        go_to(c, layer, place); /* also if nobody asked for moments */
    }
    return lb_streams_replace(&c->streams, name, tensor, err);
}

/* ---------------------------------------------------------------- the whole */

/* The input as a model that can be run: a file without a name, mapped. */
static lbrt_status open_original(calib_job *c, const char *path, lb_map *map, lbrt_model **out, lbrt_error *err)
{
    const lbrt_allocator *a = &c->a;
    const size_t bytes = strlen(path) + 16;
    char *name = (char *)lb_alloc(a, bytes);
    LB_FAIL_IF(!name, err, LBRT_ERR_MEMORY, "out of memory");
    lb_format(name, bytes, "%s.calib", path);
    const lb_convert_options plain = { .format = LB_W_F16, .threads = c->options->threads, .progress = copy_progress, .user = c };
    lbrt_model_options mo = LBRT_MODEL_OPTIONS_INIT;
    mo.allocator = a;
    lbrt_status s = lb_path_exists(name) ? lb_fail(err, LBRT_ERR_IO, "%s is in the way: a copy of the model would have this name for a moment", name)
                                         : lb_convert(c->source, name, &plain, a, err);
    if (s == LBRT_OK) {
        s = lb_map_open(name, map, err);
        unlink(name);
        s = s == LBRT_OK ? lbrt_model_open_memory(map->data, map->bytes, &mo, out, err) : s;
    }
    lb_free(a, name, bytes);
    return s;
}

static lbrt_status read_tokens(const lbrt_model *m, const lb_calib_options *how, const lbrt_allocator *a, lbrt_token **out, size_t *n,
                               lbrt_error *err)
{
    lbrt_status s = lbrt_tokenize(m, how->text, how->text_bytes, LBRT_TOKENIZE_BOS, NULL, 0, n, err);
    LB_FAIL_IF(s == LBRT_OK || (s == LBRT_ERR_BUFFER && *n == 0), err, LBRT_ERR_ARGUMENT, "calibration: the text has no tokens");
    if (s != LBRT_ERR_BUFFER) {
        return s;
    }
    *out = (lbrt_token *)lb_alloc(a, *n * sizeof **out);
    LB_FAIL_IF(!*out, err, LBRT_ERR_MEMORY, "out of memory");
    const size_t room = *n;
    s = lbrt_tokenize(m, how->text, how->text_bytes, LBRT_TOKENIZE_BOS, *out, room, n, err);
    if (s != LBRT_OK) {
        lb_free(a, *out, room * sizeof **out);
        *out = NULL;
    }
    *n = room;
    return s;
}

/* What a file has beside its tensors, at most */
static lbrt_status overhead_of(const lb_source *source, const lbrt_allocator *a, uint64_t *bytes, lbrt_error *err)
{
    void *tokenizer = NULL;
    size_t tokenizer_bytes = 0;
    LB_TRY(lb_tokdata_write(source->tokens, a, &tokenizer, &tokenizer_bytes, err));
    lb_free(a, tokenizer, tokenizer_bytes);
    *bytes = 4 * LB_FILE_DATA_ALIGN + tokenizer_bytes;
    for (size_t i = 0; i < source->n_tensors; i++) { /* records, alignment, a rotation */
        *bytes += 512 + (lb_convert_is_vector(source->tensors[i].name) ? 0 : source->tensors[i].cols / 8);
    }
    return LBRT_OK;
}

static bool has_budget(const lb_calib_options *how)
{
    return how->budget_bytes || how->budget_bits > 0.0;
}

static lbrt_status budget_of(calib_job *c, lb_budget_options *o, lbrt_error *err)
{
    const lb_calib_options *how = c->how;
    *o = (lb_budget_options){
        .bytes = how->budget_bytes, .bits_per_weight = how->budget_bits, .damping = how->damping, .progress = budget_progress, .user = c
    };
    return overhead_of(c->source, &c->a, &o->beside, err);
}

/* The rules of the options and one more for each matrix whose format the budget chooses */
static lbrt_status choose_formats(calib_job *c, lbrt_model *original, const lbrt_token *tokens, size_t n_tokens, uint32_t context,
                                  lb_convert_rule *rules, size_t *n_rules, lb_calib_report *report, lbrt_error *err)
{
    const double before = lb_now();
    lb_budget_options o;
    lb_streams s = { .n_chunks = 0 };
    LB_TRY(budget_of(c, &o, err));
    size_t chosen = 0;
    if (c->options->n_rules) {
        memcpy(rules, c->options->rules, c->options->n_rules * sizeof *rules);
    }
    lbrt_status status = lb_streams_open(&s, original, true, c->options->threads, tokens, lb_min(n_tokens, LB_BUDGET_TOKENS), context,
                                         &c->a, err);
    if (status == LBRT_OK) {
        status = lb_budget_choose(&s, c->source, c->options, &o, rules + c->options->n_rules, &chosen, &report->predicted, &c->a, err);
    }
    lb_streams_close(&s);
    *n_rules = c->options->n_rules + chosen;
    report->budget_seconds = lb_now() - before;
    return status;
}

static void calib_done(void *user)
{
    calib_job *c = (calib_job *)user;
    c->streams.tick = NULL;
    lb_streams_divergence(&c->streams, &c->report->kl, &c->report->scored);
}

static lbrt_status convert_fitted(calib_job *c, const char *path, const lb_convert_options *options, lb_calib_report *report,
                                  lbrt_error *err)
{
    const lb_convert_calib calib = { calib_factor, calib_packed, calib_done, c };
    lb_convert_options o = *options;
    o.calib = &calib;
    o.progress = calib_progress;
    o.tensor = calib_tensor;
    o.user = c;
    c->streams.tick = calib_tick;
    c->streams.tick_user = c;
    c->report = report;
    c->work = all_work(c);
    LB_TRY(lb_convert(c->source, path, &o, &c->a, err));
    report->tokens = c->streams.n_fitted;
    report->seconds = c->streams.seconds;
    return LBRT_OK;
}

static lbrt_status calibrate(calib_job *c, const char *path, lbrt_model *original, const lbrt_token *tokens, size_t n_tokens,
                             lb_calib_report *report, lbrt_error *err)
{
    const uint32_t trained = c->source->hparams.n_context;
    const uint32_t context = c->how->n_context ? c->how->n_context : trained < 512 ? trained : 512;
    const size_t rules_bytes = (c->options->n_rules + c->source->n_tensors) * sizeof(lb_convert_rule);
    lb_convert_options options = *c->options;
    lb_convert_rule *rules = NULL;
    lbrt_status s = LBRT_OK;
    if (has_budget(c->how)) {
        rules = (lb_convert_rule *)lb_alloc(&c->a, rules_bytes);
        LB_FAIL_IF(!rules, err, LBRT_ERR_MEMORY, "out of memory");
        c->span = budget_share;
        s = choose_formats(c, original, tokens, n_tokens, context, rules, &options.n_rules, report, err);
        options.rules = rules;
        c->begin += c->span;
    }
    c->span = 1.0 - c->begin;
    if (s == LBRT_OK) {
        s = lb_streams_open(&c->streams, original, false, options.threads, tokens, n_tokens, context, &c->a, err);
    }
    s = s == LBRT_OK ? convert_fitted(c, path, &options, report, err) : s;
    lb_free(&c->a, rules, rules_bytes);
    return s;
}

static lbrt_status convert_calibrated(const lb_source *source, const char *path, const lb_convert_options *options,
                                      const lb_calib_options *given, const lbrt_allocator *a, lb_calib_report *report, lbrt_error *err)
{
    lbrt_model *original = NULL;
    lbrt_token *tokens = NULL;
    size_t n_tokens = 0;
    lb_calib_options how = *given;
    how.n_tokens = how.n_tokens ? how.n_tokens : LB_CALIB_TOKENS;
    how.damping = how.damping < 0 ? 0.1 : how.damping; /* 0.03 and 0.3 lose 3 and 14 % on text that was held out */
    how.shift = how.shift < 0 ? 1.0 : how.shift;
    *report = (lb_calib_report){ .kl = NAN, .predicted = NAN };
    LB_FAIL_IF(!source->tokens, err, LBRT_ERR_ARGUMENT, "calibration needs a model with a tokenizer");
    calib_job job = { .how = &how, .a = *a, .source = source, .options = options, .span = copy_share };
    if (has_budget(&how)) {
        lb_budget_options o;
        LB_TRY(budget_of(&job, &o, err));
        LB_TRY(lb_budget_check(source, options, &o, err));
    }
    lb_map map = { NULL, 0 };
    lbrt_status s = open_original(&job, path, &map, &original, err);
    job.begin = copy_share;
    s = s == LBRT_OK ? read_tokens(original, &how, a, &tokens, &n_tokens, err) : s;
    report->text_tokens = n_tokens;
    s = s == LBRT_OK ? calibrate(&job, path, original, tokens, lb_min(n_tokens, how.n_tokens), report, err) : s;
    drop_factors(&job);
    lb_streams_close(&job.streams);
    lb_free(a, tokens, n_tokens * sizeof *tokens);
    lbrt_model_close(original);
    lb_map_close(&map);
    return s;
}

lbrt_status lb_convert_calibrated(const lb_source *source, const char *path, const lb_convert_options *options,
                                  const lb_calib_options *how, const lbrt_allocator *a, lb_calib_report *report, lbrt_error *err)
{
    lb_keep keep;
    const lbrt_allocator keeping = lb_keep_open(&keep, a, LB_KEEP_FROM);
    const lbrt_status s = convert_calibrated(source, path, options, how, &keeping, report, err);
    lb_keep_close(&keep);
    return s;
}
