/* Linear layers. */
#include "lb_linear.h"

#include <math.h>

bool lb_needs_join(lb_needs *needs, const lb_needs *more)
{
    needs->plain |= more->plain;
    needs->rotated |= more->rotated;
    needs->split |= more->split;
    needs->threshold = more->split ? more->threshold : needs->threshold; /* one for a whole model */
    if (!more->rotation.signs) {
        return true;
    }
    if (!needs->rotation.signs) {
        needs->rotation = more->rotation;
    }
    return needs->rotation.signs == more->rotation.signs && needs->rotation.block == more->rotation.block &&
           needs->rotation.n == more->rotation.n;
}

static lb_codes codes_take(lb_arena *a, size_t n_max, size_t q_stride)
{
    const size_t groups = q_stride / LB_GROUP;
    lb_codes c;
    c.q = (int8_t *)lb_arena_take(a, n_max, q_stride);
    c.scale = (float *)lb_arena_take(a, n_max, groups * sizeof(float));
    c.sum = (int32_t *)lb_arena_take(a, n_max, groups * sizeof(int32_t));
    c.start = (int32_t *)lb_arena_take(a, n_max, groups * sizeof(int32_t));
    /* To whole pages: without it all that follows lies 2 KB further on for 5632 columns, and q4 decodes 4 % slower (Zen 5, cause not found). */
    lb_arena_take(a, 1, (0 - n_max * groups * sizeof(int32_t)) % 4096);
    return c;
}

static void codes_of_token(const lb_exec *e, const lb_codes *c, size_t q_stride, size_t t, const float *x, size_t k)
{
    const size_t at = t * (q_stride / LB_GROUP);
    e->k->quantize_a8(x, k, c->q + t * q_stride, c->scale + at, c->sum + at, c->start + at);
}

void lb_prep_layout(lb_prep *p, lb_arena *a, size_t n_max, size_t k_max, const lb_needs *needs)
{
    p->k_max = lb_round_up(k_max, LB_K_ALIGN);
    p->q_stride = p->k_max | LB_K_ALIGN;
    size_t groups = p->q_stride / LB_GROUP;
    if (needs->plain & LB_READS_BIT(LB_READS_A8)) {
        p->codes = codes_take(a, n_max, p->q_stride);
    }
    if (needs->plain & LB_READS_BIT(LB_READS_LUT)) {
        p->lut_stride = p->q_stride / LB_GROUP * LB_LUT_GROUP_BYTES;
        p->lut = (uint8_t *)lb_arena_take(a, lb_min(n_max, LB_LUT_TOKENS), p->lut_stride);
    }
    if ((needs->plain | needs->split) & LB_READS_BIT(LB_READS_BYTES)) {
        p->bytes_stride = p->q_stride / LB_GROUP * LB_BYTES_GROUP;
    }
    if (needs->plain & LB_READS_BIT(LB_READS_BYTES)) {
        p->bytes = (uint8_t *)lb_arena_take(a, n_max, p->bytes_stride);
        p->bytes_scale = (float *)lb_arena_take(a, n_max, groups * sizeof(float));
        p->bytes_sum = (int32_t *)lb_arena_take(a, n_max, groups * sizeof(int32_t));
    }
    if (needs->plain & LB_READS_BIT(LB_READS_A8_TOKEN)) {
        p->tq = (int8_t *)lb_arena_take(a, n_max, p->q_stride);
        p->token_scale = (float *)lb_arena_take(a, n_max, sizeof(float));
        p->token_sum = (int32_t *)lb_arena_take(a, n_max, sizeof(int32_t));
    }
    if (needs->rotated) {
        p->rotated = (float *)lb_arena_take(a, n_max, p->k_max * sizeof(float));
        p->rotated_codes = codes_take(a, n_max, p->q_stride);
    }
    if (needs->split) {
        p->rest = (float *)lb_arena_take(a, n_max, p->k_max * sizeof(float));
        p->n_outliers = (uint32_t *)lb_arena_take(a, n_max, sizeof(uint32_t));
        p->outlier = (uint32_t *)lb_arena_take(a, n_max, p->k_max * sizeof(uint32_t));
    }
    if (needs->split & LB_READS_BIT(LB_READS_A8)) {
        p->split_codes = codes_take(a, n_max, p->q_stride);
    }
    if (needs->split & LB_READS_BIT(LB_READS_A8_TOKEN)) {
        p->split_tq = (int8_t *)lb_arena_take(a, n_max, p->q_stride);
        p->split_token_scale = (float *)lb_arena_take(a, n_max, sizeof(float));
        p->split_token_sum = (int32_t *)lb_arena_take(a, n_max, sizeof(int32_t));
    }
    if (needs->split & LB_READS_BIT(LB_READS_BYTES)) {
        p->split_bytes = (uint8_t *)lb_arena_take(a, n_max, p->bytes_stride);
        p->split_bytes_scale = (float *)lb_arena_take(a, n_max, groups * sizeof(float));
        p->split_bytes_sum = (int32_t *)lb_arena_take(a, n_max, groups * sizeof(int32_t));
    }
}

/* Sets a token's outliers aside: a NaN is none, and spoils the rest as it should. */
static void split_token(const lb_exec *e, lb_prep *p, size_t t, const float *x, size_t k, const lb_needs *needs)
{
    size_t groups = p->q_stride / LB_GROUP;
    float *rest = p->rest + t * p->k_max;
    uint32_t *outlier = p->outlier + t * p->k_max, n = 0;
    for (size_t c = 0; c < k; c++) {
        bool far = fabsf(x[c]) >= needs->threshold;
        rest[c] = far ? 0.0f : x[c];
        if (far) {
            outlier[n++] = (uint32_t)c;
        }
    }
    p->n_outliers[t] = n;
    if (needs->split & LB_READS_BIT(LB_READS_A8)) {
        codes_of_token(e, &p->split_codes, p->q_stride, t, rest, k);
    }
    if (needs->split & LB_READS_BIT(LB_READS_A8_TOKEN)) {
        e->k->quantize_a8_token(rest, k, p->split_tq + t * p->q_stride, p->split_token_scale + t, p->split_token_sum + t);
    }
    if (needs->split & LB_READS_BIT(LB_READS_BYTES)) {
        e->k->byte_tables(rest, k, p->split_bytes + t * p->bytes_stride, p->split_bytes_scale + t * groups,
                          p->split_bytes_sum + t * groups);
    }
}

void lb_prep_token(const lb_exec *e, lb_prep *p, size_t t, const float *x, size_t k, const lb_needs *needs)
{
    size_t groups = p->q_stride / LB_GROUP;
    if (needs->plain & LB_READS_BIT(LB_READS_A8)) {
        codes_of_token(e, &p->codes, p->q_stride, t, x, k);
    }
    if (needs->plain & LB_READS_BIT(LB_READS_LUT) && t < LB_LUT_TOKENS) {
        e->k->lut_tables(p->codes.q + t * p->q_stride, lb_round_up(k, LB_K_ALIGN), p->lut + t * p->lut_stride);
    }
    if (needs->plain & LB_READS_BIT(LB_READS_BYTES)) {
        e->k->byte_tables(x, k, p->bytes + t * p->bytes_stride, p->bytes_scale + t * groups, p->bytes_sum + t * groups);
    }
    if (needs->plain & LB_READS_BIT(LB_READS_A8_TOKEN)) {
        e->k->quantize_a8_token(x, k, p->tq + t * p->q_stride, p->token_scale + t, p->token_sum + t);
    }
    if (needs->split) {
        split_token(e, p, t, x, k, needs);
    }
    if (needs->rotated) {
        const lb_rotation *r = &needs->rotation;
        float *y = p->rotated + t * p->k_max;
        memcpy(y, x, k * sizeof(float));
        memset(y + k, 0, (r->n - k) * sizeof(float));
        e->k->hadamard(y, y, r->signs, r->n, r->block);
        codes_of_token(e, &p->rotated_codes, p->q_stride, t, y, r->n);
    }
}

/* `n` tokens of x from token `first` and column `col` on; representations that are not there stay NULL. */
static lb_input input_slice(const lb_input *x, size_t first, size_t n, size_t col)
{
    lb_input in = *x;
    in.n = n;
    if (x->f32) {
        in.f32 += first * x->f32_stride + col;
    }
    if (x->q) {
        in.q += first * x->q_stride + col;
        in.scale += first * x->group_stride + col / LB_GROUP;
        in.sum += first * x->group_stride + col / LB_GROUP;
        in.start += first * x->group_stride + col / LB_GROUP;
    }
    if (x->lut) { /* they end with the first tokens */
        in.lut = first + n > LB_LUT_TOKENS ? NULL : in.lut + first * x->lut_stride + col / LB_GROUP * LB_LUT_GROUP_BYTES;
    }
    if (x->bytes) {
        in.bytes += first * x->bytes_stride + col / LB_GROUP * LB_BYTES_GROUP;
        in.bytes_scale += first * x->group_stride + col / LB_GROUP;
        in.bytes_sum += first * x->group_stride + col / LB_GROUP;
    }
    if (x->tq) { /* whoever reads it reads all columns: lb_linear_bind */
        in.tq += first * x->tq_stride;
        in.token_scale += first;
        in.token_sum += first;
    }
    return in;
}

lb_prepared lb_prep_input(const lb_prep *p, size_t n, const float *x, size_t stride)
{
    size_t groups = p->q_stride / LB_GROUP;
    return (lb_prepared){ .plain = { .n = n,
                                     .f32 = x,
                                     .f32_stride = stride,
                                     .q = p->codes.q,
                                     .q_stride = p->q_stride,
                                     .scale = p->codes.scale,
                                     .sum = p->codes.sum,
                                     .start = p->codes.start,
                                     .group_stride = groups,
                                     .tq = p->tq,
                                     .tq_stride = p->q_stride,
                                     .token_scale = p->token_scale,
                                     .token_sum = p->token_sum,
                                     .lut = p->lut,
                                     .lut_stride = p->lut_stride,
                                     .bytes = p->bytes,
                                     .bytes_stride = p->bytes_stride,
                                     .bytes_scale = p->bytes_scale,
                                     .bytes_sum = p->bytes_sum },
                          .rotated = { .n = n,
                                       .f32 = p->rotated,
                                       .f32_stride = p->k_max,
                                       .q = p->rotated_codes.q,
                                       .q_stride = p->q_stride,
                                       .scale = p->rotated_codes.scale,
                                       .sum = p->rotated_codes.sum,
                                       .start = p->rotated_codes.start,
                                       .group_stride = groups },
                          .split = { .n = n,
                                     .q = p->split_codes.q,
                                     .q_stride = p->q_stride,
                                     .scale = p->split_codes.scale,
                                     .sum = p->split_codes.sum,
                                     .start = p->split_codes.start,
                                     .group_stride = groups,
                                     .tq = p->split_tq,
                                     .tq_stride = p->q_stride,
                                     .token_scale = p->split_token_scale,
                                     .token_sum = p->split_token_sum,
                                     .bytes = p->split_bytes,
                                     .bytes_stride = p->bytes_stride,
                                     .bytes_scale = p->split_bytes_scale,
                                     .bytes_sum = p->split_bytes_sum },
                          .n_outliers = p->n_outliers,
                          .outlier = p->outlier,
                          .outlier_stride = p->k_max };
}

static bool splits(const lb_linear_rules *rules, const lb_linear_term *m)
{
    return m->format->reads != LB_READS_F32 && !m->rotated &&
           (rules->threshold > 0.0f || (rules->threshold == 0.0f && m->format->id == LB_W_INT8));
}

/*
 * Terms without a weight format. Columns are checked here, once, as kernels trust them: a sparse term is a small part of a file. Of masks
 * nothing needs to be true.
 */
static lbrt_status bind_formless(lb_linear_term *out, const lb_tensor *t, const lb_term *in, const lb_kernels *k, lbrt_error *err)
{
    static const lb_wformat_info sparse = { .id = LB_W_NONE, .name = "sparse", .reads = LB_READS_F32 },
                                 masked = { .id = LB_W_NONE, .name = "masked", .reads = LB_READS_A8 };
    const bool is_masked = in->kind == LB_TERM_MASKED;
    const lb_part *p = &in->parts[0];
    for (uint64_t at = 0; !is_masked && at < p->bytes; at += 64) {
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            LB_FAIL_IF(lb_load_u16(p->data + at + 2 * r) >= in->n_cols, err, LBRT_ERR_FORMAT,
                       "the sparse term of tensor %.*s names a column that it has not", (int)t->name_bytes, t->name);
        }
    }
    *out = (lb_linear_term){ .gemv = is_masked ? k->masked : k->sparse,
                             .gemm = is_masked ? k->masked : k->sparse,
                             .format = is_masked ? &masked : &sparse,
                             .w = p->data,
                             .tile_bytes = p->tile_bytes,
                             .tile0 = (size_t)(in->row0 / LB_TILE_ROWS),
                             .n_tiles = (size_t)((in->n_rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS),
                             .col0 = (size_t)in->col0,
                             .n_cols = (size_t)in->n_cols };
    return LBRT_OK;
}

/* The factors are two linear layers of one packed term each. */
static lbrt_status bind_chain(lb_chain *chain, const lb_tensor *t, const lb_term *in, const lb_linear_rules *rules, lbrt_error *err)
{
    lb_term up = { .kind = LB_TERM_PACKED, .row0 = in->row0, .n_rows = in->n_rows, .n_cols = in->parts[0].cols, .n_parts = 1 };
    lb_term down = { .kind = LB_TERM_PACKED, .transform = in->transform, .n_rows = in->parts[1].rows, .col0 = in->col0,
                     .n_cols = in->n_cols, .n_parts = 1 };
    up.parts[0] = in->parts[0];
    down.parts[0] = in->parts[1];
    const lb_tensor inner = { t->name, t->name_bytes, 1, down.n_rows, t->cols, &down }, outer = { t->name, t->name_bytes, 1, t->rows,
                                                                                                up.n_cols, &up };
    LB_TRY(lb_linear_bind(&chain->down, &inner, rules, &chain->down_term, NULL, err));
    LB_TRY(lb_linear_bind(&chain->up, &outer, rules, &chain->up_term, NULL, err));
    return LBRT_OK;
}

lbrt_status lb_linear_bind(lb_linear *l, const lb_tensor *t, const lb_linear_rules *rules, lb_linear_term *terms, lb_chain *chains,
                           lbrt_error *err)
{
    const lb_kernels *k = rules->k;
    *l = (lb_linear){ .rows = (size_t)t->rows, .cols = (size_t)t->cols, .terms = terms, .chains = chains };
    for (unsigned i = 0; i < t->n_terms; i++) {
        const lb_term *in = &t->terms[i];
        LB_FAIL_IF(in->kind == LB_TERM_VECTOR, err, LBRT_ERR_FORMAT, "tensor %.*s is a vector instead of a matrix", (int)t->name_bytes,
                   t->name);
        if (in->kind == LB_TERM_CHAIN) {
            lb_chain *chain = &chains[l->n_chains++];
            LB_TRY(bind_chain(chain, t, in, rules, err));
            LB_FAIL_IF(!lb_needs_join(&l->needs, &chain->down.needs), err, LBRT_ERR_UNSUPPORTED,
                       "the terms of tensor %.*s rotate their input differently", (int)t->name_bytes, t->name);
            continue;
        }
        const lb_part *p = &in->parts[0];
        if (in->kind == LB_TERM_SPARSE || in->kind == LB_TERM_MASKED) {
            LB_TRY(bind_formless(&terms[l->n_terms], t, in, k, err));
            const lb_needs needs = { .plain = LB_READS_BIT(terms[l->n_terms++].format->reads) };
            (void)lb_needs_join(&l->needs, &needs);
            continue;
        }
        lb_linear_term *out = &terms[l->n_terms++];
        *out = (lb_linear_term){ .gemv = k->gemv[p->format],
                                 .gemm = k->gemm[p->format],
                                 .format = lb_wformat_find((uint32_t)p->format),
                                 .w = p->data,
                                 .tile_bytes = p->tile_bytes,
                                 .tile0 = (size_t)(in->row0 / LB_TILE_ROWS),
                                 .n_tiles = (size_t)((in->n_rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS),
                                 .col0 = (size_t)in->col0,
                                 .n_cols = (size_t)in->n_cols,
                                 .rotated = in->transform.kind == LB_TRANSFORM_HADAMARD };
        LB_FAIL_IF(!out->gemv || !out->gemm || !out->format, err, LBRT_ERR_UNSUPPORTED,
                   "no kernel for the weight format of tensor %.*s", (int)t->name_bytes, t->name);
        LB_FAIL_IF(in->n_cols != t->cols && (out->format->reads == LB_READS_A8_TOKEN || out->rotated), err, LBRT_ERR_UNSUPPORTED,
                   "tensor %.*s has a term of format %s that does not cover all columns", (int)t->name_bytes, t->name,
                   out->format->name);
        LB_FAIL_IF(out->format->id == LB_W_INT8 && in->n_cols > LB_INT8_MAX_K, err, LBRT_ERR_UNSUPPORTED,
                   "tensor %.*s has more columns than int8 can sum", (int)t->name_bytes, t->name);
        lb_needs needs = { .plain = LB_READS_BIT(out->format->reads) };
        if (out->format->reads == LB_READS_LUT && rules->bytes) {
            needs.plain = LB_READS_BIT(LB_READS_BYTES);
            out->gemv = out->gemm = k->bytes[out->format->id - LB_W_LUT1];
        } else if (out->format->reads == LB_READS_LUT) {
            needs.plain |= LB_READS_BIT(LB_READS_A8);
        }
        out->split = splits(rules, out);
        if (out->split) {
            needs = (lb_needs){ .split = needs.plain,
                                .threshold = rules->threshold > 0.0f ? rules->threshold : LB_INT8_THRESHOLD };
        }
        if (out->rotated) {
            LB_FAIL_IF(out->format->reads == LB_READS_A8_TOKEN || out->format->reads == LB_READS_LUT, err, LBRT_ERR_UNSUPPORTED,
                       "tensor %.*s has format %s on a rotated input", (int)t->name_bytes, t->name, out->format->name);
            needs = (lb_needs){ .rotated = needs.plain,
                                .rotation = { in->transform.data + 8, in->transform.block, in->transform.n } };
        }
        LB_FAIL_IF(!lb_needs_join(&l->needs, &needs), err, LBRT_ERR_UNSUPPORTED,
                   "the terms of tensor %.*s rotate their input differently", (int)t->name_bytes, t->name);
    }
    l->covers = l->n_terms > 0 && terms[0].tile0 == 0 && terms[0].n_tiles == (l->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS;
    return LBRT_OK;
}

typedef struct linear_job {
    const lb_exec *e;
    const lb_product *products;
    size_t n_products;
    const lb_prepared *x[LB_MAX_PRODUCTS];
    bool add;
    size_t chunk[LB_MAX_PRODUCTS];       /* tiles of one item */
    size_t first_item[LB_MAX_PRODUCTS + 1];
} linear_job;

/*
 * Columns of one tile as floats. Outliers are in the same few columns for most tokens (LLM.int8(), section 4), so that what one token
 * unpacked serves the others. In the thread's scratch, which the product before has done with.
 */
#define LB_COLUMN_SLOTS ((size_t)256)

typedef float four_rows LB_VECTOR(16);

typedef struct outlier_columns {
    four_rows w[LB_COLUMN_SLOTS][LB_TILE_ROWS / 4];
    uint64_t which[LB_COLUMN_SLOTS]; /* tile and column */
} outlier_columns;
_Static_assert(sizeof(outlier_columns) <= LB_MM_SCRATCH, "LB_MM_SCRATCH is too small");

/* y += the term's columns of the outliers, for tiles from .. to - 1 and n_tokens tokens from `first` on; y begins at tile `from` */
static void add_outliers(const lb_linear_term *m, size_t from, size_t to, const lb_prepared *x, size_t first, size_t n_tokens,
                         float *y, size_t stride, outlier_columns *columns)
{
    const size_t slots = n_tokens > 1 ? LB_COLUMN_SLOTS : 1;
    memset(columns->which, 0xff, slots * sizeof columns->which[0]);
    for (size_t i = from; i < to; i++, y += LB_TILE_ROWS) {
        const unsigned char *tile = m->w + (i - m->tile0) * m->tile_bytes;
        for (size_t t = 0; t < n_tokens; t++) {
            const uint32_t *outlier = x->outlier + (first + t) * x->outlier_stride, n = x->n_outliers[first + t];
            const float *numbers = x->plain.f32 + (first + t) * x->plain.f32_stride;
            four_rows acc[LB_TILE_ROWS / 4] = { { 0 } };
            for (uint32_t j = 0; j < n; j++) {
                const size_t c = outlier[j] - m->col0, slot = c & (slots - 1); /* columns before the term's wrap around */
                if (c >= m->n_cols) {
                    continue;
                }
                four_rows *w = columns->w[slot];
                if (columns->which[slot] != ((uint64_t)i << 32 | c)) {
                    columns->which[slot] = (uint64_t)i << 32 | c;
                    m->format->column(tile, m->n_cols, c, (float *)w);
                }
                for (size_t r = 0; r < LB_TILE_ROWS / 4; r++) {
                    acc[r] += w[r] * numbers[outlier[j]];
                }
            }
            for (size_t r = 0; n > 0 && r < LB_TILE_ROWS; r++) {
                y[t * stride + r] += acc[r / 4][r % 4];
            }
        }
    }
}

/* Tiles tile .. tile + n - 1 of one product, tokens of `x` (at most LB_MM_MAX_N). */
static void linear_tiles(const lb_product *p, size_t tile, size_t n, const lb_prepared *prepared, size_t first, size_t n_tokens,
                         float *y, bool add, void *scratch)
{
    const lb_linear *l = p->linear;
    if (!add && !l->covers) {
        for (size_t t = 0; t < n_tokens; t++) {
            memset(y + t * p->stride + tile * LB_TILE_ROWS, 0, n * LB_TILE_ROWS * sizeof(float));
        }
        add = true;
    }
    for (unsigned i = 0; i < l->n_terms; i++) {
        const lb_linear_term *m = &l->terms[i];
        size_t from = lb_max(tile, m->tile0), to = lb_min(tile + n, m->tile0 + m->n_tiles);
        if (from >= to) {
            continue;
        }
        const lb_input *whole = m->rotated ? &prepared->rotated : m->split ? &prepared->split : &prepared->plain;
        lb_input in = input_slice(whole, first, n_tokens, m->col0);
        size_t k = m->format->reads == LB_READS_F32 && !m->rotated ? m->n_cols : lb_round_up(m->n_cols, LB_K_ALIGN);
        lb_matmul_fn *fn = n_tokens == 1 ? m->gemv : m->gemm;
        fn(m->w + (from - m->tile0) * m->tile_bytes, m->tile_bytes, to - from, k, &in, y + from * LB_TILE_ROWS,
           p->stride, add || i > 0, scratch);
        if (m->split) {
            add_outliers(m, from, to, prepared, first, n_tokens, y + from * LB_TILE_ROWS, p->stride, (outlier_columns *)scratch);
        }
    }
    if (l->bias) {
        size_t row = tile * LB_TILE_ROWS, end = lb_min(l->rows, (tile + n) * LB_TILE_ROWS);
        for (size_t t = 0; t < n_tokens; t++) {
            for (size_t r = row; r < end; r++) {
                y[t * p->stride + r] += l->bias[r];
            }
        }
    }
}

static void linear_item(void *context, size_t item, unsigned thread)
{
    const linear_job *job = (const linear_job *)context;
    size_t i = 0;
    while (item >= job->first_item[i + 1]) {
        i++;
    }
    const lb_product *p = &job->products[i];
    size_t tiles = (p->linear->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS;
    size_t tile = (item - job->first_item[i]) * job->chunk[i];
    size_t n = lb_min(job->chunk[i], tiles - tile);
    const size_t n_tokens = job->x[i]->plain.n;
    for (size_t t = 0; t < n_tokens; t += LB_MM_MAX_N) {
        linear_tiles(p, tile, n, job->x[i], t, lb_min(LB_MM_MAX_N, n_tokens - t), p->y + t * p->stride, job->add,
                     lb_exec_scratch(job->e, thread));
    }
}

/* Terms and bias of up to LB_MAX_PRODUCTS products, each with an input of its own, of as many tokens */
static void run_terms(const lb_exec *e, const lb_product *products, size_t n, const lb_prepared *const *x, bool add)
{
    linear_job job = { .e = e, .products = products, .n_products = n, .add = add };
    size_t all_tiles = 0;
    for (size_t i = 0; i < n; i++) {
        all_tiles += (products[i].linear->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS;
    }
    /* Items small enough that threads finish together, large enough (about 64 KB of weights) that handing them out costs nothing. */
    size_t share = all_tiles / (8 * (size_t)e->n_threads);
    for (size_t i = 0; i < n; i++) {
        const lb_linear *l = products[i].linear;
        job.x[i] = x[i];
        size_t tiles = (l->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS;
        size_t bytes = lb_linear_bytes(l) / tiles + 1;
        size_t least = x[i]->plain.n >= 8 ? 1 : lb_max(1, 65536 / bytes);
        size_t chunk = lb_max(lb_min(share, 4 * least), least);
        if (x[i]->plain.n >= 64 && bytes <= 16384 && !((l->needs.plain | l->needs.split) & LB_READS_BIT(LB_READS_BYTES))) {
            chunk = lb_min(chunk, 2); /* threads finish together; measured: tcq2 gains 2 %, q8 with its large tiles would lose 2 % */
        }
        job.chunk[i] = chunk >= 4 ? chunk / 4 * 4 : chunk; /* kernels take up to four tiles at once */
        job.first_item[i + 1] = job.first_item[i] + (tiles + job.chunk[i] - 1) / job.chunk[i];
    }
    lb_pool_run(e->pool, linear_item, &job, job.first_item[n]);
}

/* The chain of a product that is added in this round: first those of the model, then those attached. NULL: none. */
static const lb_chain *chain_of(const lb_exec *e, const lb_product *p, unsigned round, float *scale)
{
    *scale = 1.0f;
    if (round < p->linear->n_chains) {
        return &p->linear->chains[round];
    }
    round -= p->linear->n_chains;
    if (p->slot == 0 || round >= e->n_attached || e->attached[round].chains[p->slot - 1].down.rows == 0) {
        return NULL;
    }
    *scale = e->attached[round].scale;
    return &e->attached[round].chains[p->slot - 1];
}

typedef struct mid_job {
    const lb_exec *e;
    const lb_product *down;
    lb_prep *prep;
    const lb_needs *needs;
} mid_job;

static void mid_token(void *context, size_t t, unsigned thread)
{
    const mid_job *j = (const mid_job *)context;
    (void)thread;
    lb_prep_token(j->e, j->prep, t, j->down->y + t * j->down->stride, j->down->linear->rows, j->needs);
}

/* One chain of each product: all inner factors in one go over the threads, then all outer ones. */
static void run_chains(const lb_exec *e, const lb_product *products, size_t n, const lb_prepared *x, unsigned round)
{
    lb_product down[LB_MAX_PRODUCTS], up[LB_MAX_PRODUCTS];
    lb_prepared mid[LB_MAX_PRODUCTS];
    const lb_prepared *in[LB_MAX_PRODUCTS], *between[LB_MAX_PRODUCTS];
    float scale[LB_MAX_PRODUCTS];
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        const lb_chain *c = chain_of(e, &products[i], round, &scale[m]);
        if (c) {
            const size_t stride = lb_chain_stride(c);
            down[m] = (lb_product){ &c->down, e->mid + m * e->mid_room, stride, 0 };
            up[m] = (lb_product){ &c->up, products[i].y, products[i].stride, 0 };
            in[m] = x;
            between[m] = &mid[m];
            m++;
        }
    }
    if (m == 0) {
        return;
    }
    run_terms(e, down, m, in, false);
    for (size_t i = 0; i < m; i++) {
        if (scale[i] != 1.0f) {
            e->k->scale(down[i].y, scale[i], x->plain.n * down[i].stride);
        }
        const lb_needs *needs = &up[i].linear->needs;
        mid[i] = (lb_prepared){ .plain = { .n = x->plain.n, .f32 = down[i].y, .f32_stride = down[i].stride } };
        if (lb_needs_more(needs)) {
            mid_job job = { e, &down[i], &e->mid_prep[i], needs };
            lb_pool_run(e->pool, mid_token, &job, x->plain.n);
            mid[i] = lb_prep_input(&e->mid_prep[i], x->plain.n, down[i].y, down[i].stride);
        }
    }
    run_terms(e, up, m, between, true);
}

void lb_linear_run(const lb_exec *e, const lb_product *products, size_t n, const lb_prepared *x, bool add)
{
    const lb_prepared *const in[LB_MAX_PRODUCTS] = { x, x, x, x };
    unsigned rounds = 0;
    for (size_t i = 0; i < n; i++) {
        rounds = (unsigned)lb_max(rounds, products[i].linear->n_chains + e->n_attached);
    }
    run_terms(e, products, n, in, add);
    for (unsigned round = 0; round < rounds; round++) {
        run_chains(e, products, n, x, round);
    }
}

void lb_linear_ahead(const lb_exec *e, const lb_linear *const *l, size_t n)
{
    const unsigned char *first = NULL;
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        const lb_linear_term *m = l[i]->n_terms ? &l[i]->terms[0] : l[i]->n_chains ? &l[i]->chains[0].down_term : NULL;
        first = m && !first ? m->w : first;
        bytes += m ? m->n_tiles * m->tile_bytes : 0;
    }
    lb_pool_ahead(e->pool, first, bytes);
}

void lb_linear_row(const lb_linear *l, size_t row, float *out, float *temp)
{
    memset(out, 0, l->cols * sizeof(float));
    size_t tile = row / LB_TILE_ROWS;
    for (unsigned i = 0; i < l->n_terms; i++) {
        const lb_linear_term *m = &l->terms[i];
        if (tile < m->tile0 || tile >= m->tile0 + m->n_tiles) {
            continue;
        }
        m->format->unpack(m->w + (tile - m->tile0) * m->tile_bytes, m->n_cols, row % LB_TILE_ROWS, temp);
        for (size_t c = 0; c < m->n_cols; c++) {
            out[m->col0 + c] += temp[c];
        }
    }
}

uint64_t lb_linear_bytes(const lb_linear *l)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < l->n_terms; i++) {
        bytes += (uint64_t)l->terms[i].n_tiles * l->terms[i].tile_bytes;
    }
    for (unsigned i = 0; i < l->n_chains; i++) {
        bytes += lb_linear_bytes(&l->chains[i].down) + lb_linear_bytes(&l->chains[i].up);
    }
    return bytes;
}
