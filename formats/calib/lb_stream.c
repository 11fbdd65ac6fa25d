#include "lb_stream.h"

#include <math.h>
#include <stdio.h>

#include "../../runtime/base/lb_os.h"

/* Every so many-th chunk takes no part in the moments, if there are enough: divergence is measured on it. More where that is all. */
enum { HELD_OUT = 16, HELD_OUT_ALONE = 4, PER_LAYER = 9, LOGIT_ROWS = 64 };

static bool held_out(const lb_streams *s, size_t chunk)
{
    const size_t every = s->original.session ? HELD_OUT : HELD_OUT_ALONE;
    return s->n_chunks >= 4 && chunk % every == lb_min(every, s->n_chunks) - 1;
}

/* The layers' own plans, so that they can be replaced one by one; room for every representation in a session. */
static lbrt_status copy_model(lb_streams *s, const lbrt_model *from, lbrt_error *err)
{
    const uint32_t n = from->hparams.n_layers;
    s->copy = *from;
    s->copy.layers = (lb_layer *)lb_alloc(&s->a, n * sizeof(lb_layer));
    s->n_pieces = (size_t)PER_LAYER * n + 2;
    s->pieces = (lb_stream_piece *)lb_alloc_zero(&s->a, s->n_pieces, sizeof *s->pieces);
    LB_FAIL_IF(!s->copy.layers || !s->pieces, err, LBRT_ERR_MEMORY, "out of memory");
    memcpy(s->copy.layers, from->layers, n * sizeof(lb_layer));
    s->copy.needs.plain = LB_READS_BIT(LB_READS_F32) | LB_READS_BIT(LB_READS_A8) | LB_READS_BIT(LB_READS_A8_TOKEN) |
                          LB_READS_BIT(LB_READS_LUT);
    s->copy.needs.split = LB_READS_BIT(LB_READS_A8) | LB_READS_BIT(LB_READS_A8_TOKEN);
    s->copy.needs.rotated = LB_READS_BIT(LB_READS_A8);
    return LBRT_OK;
}

static lbrt_status open_stream(lb_streams *s, lb_stream *stream, lbrt_model *model, unsigned threads, lbrt_error *err)
{
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = (uint32_t)s->n_context;
    o.n_batch = (uint32_t)s->n_context;
    o.n_threads = threads;
    o.kv_key = o.kv_value = LBRT_KV_F16;
    o.allocator = &s->a;
    stream->model = model;
    LB_TRY(lbrt_session_create(model, &o, &stream->session, err));
    s->stride = stream->session->x_stride;
    stream->x = (float *)lb_alloc_zero(&s->a, s->n_tokens * s->stride, sizeof(float));
    LB_FAIL_IF(!stream->x, err, LBRT_ERR_MEMORY, "out of memory for %zu calibration tokens", s->n_tokens);
    return LBRT_OK;
}

lbrt_status lb_streams_open(lb_streams *s, lbrt_model *original, bool alone, unsigned threads, const lbrt_token *tokens, size_t n_tokens,
                            size_t n_context, const lbrt_allocator *a, lbrt_error *err)
{
    const lb_hparams *h = &original->hparams;
    *s = (lb_streams){ .a = *a, .tokens = tokens, .n_context = n_context, .n_chunks = n_tokens / n_context };
    s->n_tokens = s->n_chunks * n_context;
    LB_FAIL_IF(s->n_chunks == 0, err, LBRT_ERR_ARGUMENT, "the calibration text has only %zu tokens, less than one chunk of %zu",
               n_tokens, n_context);
    for (size_t i = 0; i < s->n_tokens; i++) {
        LB_FAIL_IF((uint32_t)tokens[i] >= h->n_vocab, err, LBRT_ERR_FORMAT, "token %d of the calibration text is not the model's",
                   (int)tokens[i]);
    }
    s->seen_stride = lb_max(h->dim, original->head.cols);
    for (uint32_t i = 0; i < h->n_layers; i++) {
        const lb_layer *l = &original->layers[i];
        s->seen_stride = lb_max(s->seen_stride, lb_max(lb_max(l->attn_q.cols, l->attn_o.cols), lb_max(l->ffn_gate.cols, l->ffn_down.cols)));
    }
    s->seen_stride = lb_round_up(s->seen_stride, LB_K_ALIGN);
    s->seen_bytes = n_context * s->seen_stride * sizeof(float);
    s->seen = (float *)lb_alloc(a, s->seen_bytes);
    s->logits_bytes = 2 * LOGIT_ROWS * lb_round_up(h->n_vocab, LB_TILE_ROWS) * sizeof(float);
    s->logits = (float *)lb_alloc(a, s->logits_bytes);
    LB_FAIL_IF(!s->seen || !s->logits, err, LBRT_ERR_MEMORY, "out of memory");
    LB_TRY(copy_model(s, original, err));
    s->original.model = original;
    if (!alone) {
        LB_TRY(open_stream(s, &s->original, original, threads, err));
    }
    LB_TRY(open_stream(s, &s->packed, &s->copy, threads, err));
    for (size_t c = 0; c < s->n_chunks; c++) {
        s->n_fitted += held_out(s, c) ? 0 : n_context;
    }
    return LBRT_OK;
}

void lb_streams_close(lb_streams *s)
{
    const size_t bytes = s->n_tokens * s->stride * sizeof(float);
    if (!s->n_chunks) {
        return;
    }
    lbrt_session_free(s->original.session);
    lbrt_session_free(s->packed.session);
    for (size_t i = 0; s->pieces && i < s->n_pieces; i++) {
        lb_free(&s->a, s->pieces[i].tiles, s->pieces[i].tiles_bytes);
    }
    lb_free(&s->a, s->pieces, s->n_pieces * sizeof *s->pieces);
    lb_free(&s->a, s->copy.layers, s->copy.hparams.n_layers * sizeof(lb_layer));
    lb_free(&s->a, s->original.x, bytes);
    lb_free(&s->a, s->packed.x, bytes);
    lb_free(&s->a, s->seen, s->seen_bytes);
    lb_free(&s->a, s->logits, s->logits_bytes);
    *s = (lb_streams){ .n_chunks = 0 };
}

/* ---------------------------------------------------------------- going through the layers */

static void embed(const lb_streams *s, lb_stream *stream)
{
    const lbrt_model *m = stream->model;
    const int32_t bos = m->tokenizer && lb_tokenizer_adds_bos(m->tokenizer) ? lb_tokenizer_bos(m->tokenizer) : -1;
    for (size_t i = 0; i < s->n_tokens; i++) {
        const bool first = i % s->n_context == 0 && bos >= 0;
        lb_linear_row(&m->embed, (size_t)(first ? bos : s->tokens[i]), stream->x + i * s->stride, s->seen);
    }
}

static void start(lb_streams *s)
{
    if (!s->started) {
        if (s->original.session) {
            embed(s, &s->original);
        }
        embed(s, &s->packed);
        s->started = true;
    }
}

static void load_chunk(const lb_streams *s, const lb_stream *stream, size_t chunk)
{
    memcpy(stream->session->x, stream->x + chunk * s->n_context * s->stride, s->n_context * s->stride * sizeof(float));
}

static void store_chunk(const lb_streams *s, const lb_stream *stream, size_t chunk)
{
    memcpy(stream->x + chunk * s->n_context * s->stride, stream->session->x, s->n_context * s->stride * sizeof(float));
}

static void tick(const lb_streams *s, size_t chunk)
{
    if (s->tick) {
        s->tick(s->tick_user, (double)(chunk + 1) / (double)s->n_chunks);
    }
}

/* A chunk through the half that comes next */
static void advance(const lb_streams *s, const lb_stream *stream, size_t chunk)
{
    load_chunk(s, stream, chunk);
    lb_forward_half(stream->session, (uint32_t)(s->half / 2), s->half % 2 != 0, s->n_context);
    store_chunk(s, stream, chunk);
}

void lb_streams_go_to(lb_streams *s, uint32_t layer, bool ffn)
{
    const double before = lb_now();
    start(s);
    for (; s->half < 2 * (size_t)layer + ffn; s->half++) {
        for (size_t c = 0; c < s->n_chunks; c++) {
            if (s->original.session && s->original_half == s->half) {
                advance(s, &s->original, c);
            }
            advance(s, &s->packed, c);
            tick(s, c);
        }
        s->original_half = s->half + 1;
    }
    s->seconds += lb_now() - before;
}

static bool is_last(lb_tap_place place)
{
    return place == LB_TAP_ATTN_O || place == LB_TAP_FFN_DOWN;
}

/*
 * Keeps what the original reads. At a half's first place that is all; from its last one, where most of the work is done, the layer is
 * computed to its end, so that the original need not come here again.
 */
static bool tap_original(void *user, uint32_t layer, lb_tap_place place, const float *x, size_t stride, size_t n)
{
    const lb_streams *s = (const lb_streams *)user;
    (void)layer;
    if (place != s->place) {
        return true;
    }
    for (size_t t = 0; t < n; t++) {
        memcpy(s->seen + t * s->seen_stride, x + t * stride, s->cols * sizeof(float));
    }
    return is_last(s->place);
}

static bool tap_packed(void *user, uint32_t layer, lb_tap_place place, const float *x, size_t stride, size_t n)
{
    const lb_streams *s = (const lb_streams *)user;
    (void)layer;
    if (place != s->place) {
        return true;
    }
    for (size_t t = 0; t < n; t += LB_MOMENTS_TOKENS) {
        lb_moments_add(s->moments, s->packed.session->exec.pool, s->packed.session->exec.k, s->cols, x + t * stride,
                       s->seen + t * s->seen_stride, stride, s->seen_stride, lb_min(LB_MOMENTS_TOKENS, n - t));
    }
    return false;
}

static void run_tapped(const lb_streams *s, const lb_stream *stream, size_t chunk, lb_tap_fn *tap)
{
    lbrt_session *session = stream->session;
    load_chunk(s, stream, chunk);
    if (s->place == LB_TAP_PLACES) {
        lb_forward_last_norm(session, s->n_context);
        (void)tap((void *)(uintptr_t)s, 0, s->place, session->normed, session->normed_stride, s->n_context);
        return;
    }
    session->tap = tap;
    session->tap_user = (void *)(uintptr_t)s;
    lb_forward_half(session, (uint32_t)(s->half / 2), s->half % 2 != 0, s->n_context);
    session->tap = NULL;
}

lbrt_status lb_streams_collect(lb_streams *s, lb_tap_place place, bool cross, lb_moments *moments, lbrt_error *err)
{
    const double before = lb_now();
    const lbrt_model *m = s->original.model;
    s->place = place;
    const lb_layer *l = &m->layers[lb_min(s->half / 2, m->hparams.n_layers - 1)];
    s->cols = place == LB_TAP_ATTN ? l->attn_q.cols : place == LB_TAP_ATTN_O ? l->attn_o.cols : place == LB_TAP_FFN ? l->ffn_gate.cols
            : place == LB_TAP_FFN_DOWN ? l->ffn_down.cols : m->head.cols;
    LB_TRY(lb_moments_open(moments, s->cols, cross, s->packed.session->exec.n_threads, &s->a, err));
    s->moments = moments;
    start(s);
    LB_FAIL_IF(cross && s->original_half != s->half, err, LBRT_ERR_STATE, "a layer's matrices are not packed in the order of a token's way");
    for (size_t c = 0; c < s->n_chunks; c++) {
        if (cross && (is_last(place) || !held_out(s, c))) {
            run_tapped(s, &s->original, c, tap_original);
        }
        if (cross && is_last(place)) {
            store_chunk(s, &s->original, c);
        }
        if (!held_out(s, c)) {
            run_tapped(s, &s->packed, c, tap_packed);
        }
        tick(s, c);
    }
    s->original_half += cross && is_last(place);
    s->seconds += lb_now() - before;
    return LBRT_OK;
}

/* ---------------------------------------------------------------- replacing */

lbrt_status lb_streams_replace(lb_streams *s, const char *name, const lb_tensor *tensor, lbrt_error *err)
{
    lbrt_model *m = &s->copy;
    const size_t bytes = (size_t)tensor->terms[0].parts[0].bytes;
    unsigned char *tiles = (unsigned char *)(uintptr_t)tensor->terms[0].parts[0].data;
    size_t piece = s->n_pieces;
    uint32_t layer = 0;
    lb_linear *linear = NULL;
    if (strcmp(name, "tok_embed") == 0) {
        linear = &m->embed;
        piece = s->n_pieces - 1;
    } else if (strcmp(name, "out_head") == 0) {
        linear = &m->head;
        piece = s->n_pieces - 2;
    } else if (sscanf(name, "layers.%u.", &layer) == 1 && layer < m->hparams.n_layers) {
        lb_layer *l = &m->layers[layer];
        const struct {
            const char *name;
            lb_linear *linear;
        } all[PER_LAYER] = { { ".attn_q", &l->attn_q }, { ".attn_k", &l->attn_k }, { ".attn_v", &l->attn_v }, { ".attn_o", &l->attn_o },
                             { ".ffn_gate", &l->ffn_gate }, { ".ffn_up", &l->ffn_up }, { ".ffn_down", &l->ffn_down },
                             { ".attn_shortcut", &l->attn_shortcut }, { ".ffn_shortcut", &l->ffn_shortcut } };
        for (size_t i = 0; i < PER_LAYER; i++) {
            if (strcmp(strrchr(name, '.'), all[i].name) == 0) {
                linear = all[i].linear;
                piece = PER_LAYER * (size_t)layer + i;
            }
        }
    }
    s->undo = (lb_stream_undo){ .piece = piece, .layer = layer, .before = m->layers[layer], .embed = m->embed, .head = m->head };
    if (!linear || s->pieces[piece].tiles) {
        lb_free(&s->a, tiles, bytes);
        return lb_fail(err, LBRT_ERR_FORMAT, "%s has no place in the model", name);
    }
    lb_stream_piece *p = &s->pieces[piece];
    p->tiles = tiles;
    p->tiles_bytes = bytes;
    const float *bias = linear->bias;
    const lb_linear_rules rules = { .k = &m->kernels };
    LB_TRY(lb_linear_bind(linear, tensor, &rules, &p->term, NULL, err));
    linear->bias = bias;
    if (linear == &m->embed) {
        m->head = m->tied ? m->embed : m->head;
    } else if (linear != &m->head) {
        lb_layer *l = &m->layers[layer];
        l->attn_needs = l->ffn_needs = (lb_needs){ .plain = 0 };
        (void)(lb_needs_join(&l->attn_needs, &l->attn_q.needs) && lb_needs_join(&l->attn_needs, &l->attn_k.needs) &&
               lb_needs_join(&l->attn_needs, &l->attn_v.needs));
        (void)(lb_needs_join(&l->ffn_needs, &l->ffn_gate.needs) && lb_needs_join(&l->ffn_needs, &l->ffn_up.needs));
    }
    return LBRT_OK;
}

void lb_streams_restore(lb_streams *s)
{
    lb_stream_piece *p = &s->pieces[s->undo.piece];
    s->copy.layers[s->undo.layer] = s->undo.before;
    s->copy.embed = s->undo.embed;
    s->copy.head = s->undo.head;
    lb_free(&s->a, p->tiles, p->tiles_bytes);
    *p = (lb_stream_piece){ .tiles = NULL };
}

/* ---------------------------------------------------------------- divergence */

/* Logits of the last norm of rows from..: [n][stride] into s->logits + at */
static void head_logits(const lb_stream *stream, size_t row, size_t n, float *out, size_t stride)
{
    lbrt_session *session = stream->session;
    const lbrt_model *m = stream->model;
    const float *normed = session->normed + row * session->normed_stride;
    for (size_t t = 0; t < n; t++) {
        lb_prep_token(&session->exec, &session->prep, t, normed + t * session->normed_stride, m->head.cols, &m->head.needs);
    }
    const lb_prepared in = lb_prep_input(&session->prep, n, normed, session->normed_stride);
    const lb_product product = { .linear = &m->head, .y = out, .stride = stride };
    lb_linear_run(&session->exec, &product, 1, &in, false);
}

static double log_sum(const float *x, size_t n)
{
    float top = x[0];
    double sum = 0.0;
    for (size_t i = 1; i < n; i++) {
        top = x[i] > top ? x[i] : top;
    }
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)x[i] - (double)top);
    }
    return (double)top + log(sum);
}

double lb_streams_kl(const float *p, const float *q, size_t n)
{
    const double ps = log_sum(p, n), qs = log_sum(q, n);
    double sum = 0.0;
    for (size_t v = 0; v < n; v++) {
        const double lp = (double)p[v] - ps;
        sum += exp(lp) * (lp - ((double)q[v] - qs));
    }
    return sum;
}

size_t lb_streams_held_out(const lb_streams *s, size_t i)
{
    size_t c = 0;
    while (c < s->n_chunks && (!held_out(s, c) || i-- > 0)) {
        c++;
    }
    return c;
}

size_t lb_streams_logits(const lb_streams *s, size_t chunk, size_t step, float *out)
{
    lbrt_session *session = s->packed.session;
    const size_t stride = lb_round_up(s->copy.hparams.n_vocab, LB_TILE_ROWS), first = s->n_context / 2;
    size_t n = 0;
    load_chunk(s, &s->packed, chunk);
    for (size_t half = s->half; half < 2 * (size_t)s->copy.hparams.n_layers; half++) {
        lb_forward_half(session, (uint32_t)(half / 2), half % 2 != 0, s->n_context);
    }
    lb_forward_last_norm(session, s->n_context);
    for (size_t t = first, m; t < s->n_context; t += m * step, n += m) {
        m = step == 1 ? lb_min(LOGIT_ROWS, s->n_context - t) : 1;
        head_logits(&s->packed, t, m, out + n * stride, stride);
    }
    return n;
}

void lb_streams_divergence(lb_streams *s, double *kl, uint64_t *scored)
{
    const size_t n_vocab = s->copy.hparams.n_vocab, stride = lb_round_up(n_vocab, LB_TILE_ROWS);
    double sum = 0.0;
    float *p = s->logits, *q = p + LOGIT_ROWS * stride;
    *scored = 0;
    lb_streams_go_to(s, s->copy.hparams.n_layers, false);
    for (size_t c = 0; c < s->n_chunks; c++) {
        if (!held_out(s, c)) {
            continue;
        }
        load_chunk(s, &s->original, c);
        load_chunk(s, &s->packed, c);
        lb_forward_last_norm(s->original.session, s->n_context);
        lb_forward_last_norm(s->packed.session, s->n_context);
        for (size_t t = s->n_context / 2; t < s->n_context; t += LOGIT_ROWS) { /* as lbrt-eval: predictions of the second half */
            const size_t n = lb_min(LOGIT_ROWS, s->n_context - t);
            head_logits(&s->original, t, n, p, stride);
            head_logits(&s->packed, t, n, q, stride);
            for (size_t i = 0; i < n; i++) {
                sum += lb_streams_kl(p + i * stride, q + i * stride, n_vocab);
                ++*scored;
            }
        }
    }
    *kl = *scored ? sum / (double)*scored : NAN;
}
