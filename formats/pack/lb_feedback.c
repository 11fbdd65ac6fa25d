/*
 * Error feedback around the coders of the uniform and of the trellis formats.
 *
 * For 64 rows there are three arrays [64][n]: the target w, the error e = w - w' of the columns that are decided, and f, the sum over
 * decided columns i of e_i R_ij. Before column j is decided, f_j is complete: what remains wrong is (f_j + R_jj e_j)^2, so
 * its code is chosen for w_j + f_j / R_jj. f is a matrix product, of the errors of all 64 rows with tiles of R.
 *
 * Uniform formats go group by group: f of its 32 columns, then its scale for what the targets have become, then column by column
 * with the errors inside the group. Trellis codes go in blocks of 16 columns, four steps of each stream, whose search looks at
 * the 64 columns behind: f of those is kept for what is decided so far. Inside a block errors are not fed back.
 */
#include "lb_feedback.h"

#include <math.h>

#include "lb_pack_group.h"
#include "lb_tcq.h"

#define LB_FEEDBACK_BLOCK LB_TILE_ROWS /* columns of a trellis code decided at once: a tile of R */
#define LB_FEEDBACK_AHEAD 4u           /* blocks that are looked at behind it */
#define LB_FEEDBACK_WIDER 1.1 /* targets are wider than the weights: they make errors good. By measurement */
#define LB_FEEDBACK_TINY 1e-30

typedef struct feedback_rows {
    const lb_factor *factor;
    const lb_kernels *k;
    size_t n, n_rows;
    float *w, *e, *f; /* [64][n] */
    void *mm;         /* LB_MM_SCRATCH bytes */
} feedback_rows;

bool lb_feedback_can(lb_wformat format)
{
    return lb_group_format_of(format) || format == LB_W_TCQ2 || format == LB_W_TCQ3 || format == LB_W_TCQ4;
}

size_t lb_feedback_bytes(size_t n)
{
    return 3 * LB_FEEDBACK_ROWS * n * sizeof(float) + LB_MM_SCRATCH;
}

/* f of `tiles` tiles from `tile` on: the errors of n columns from `first` on, in place of it or added */
static void feedback_sum(const feedback_rows *s, size_t tile, size_t tiles, size_t first, size_t n, bool add)
{
    if (n > 0 && tiles > 0) {
        const lb_input in = {.n = s->n_rows, .f32 = s->e + first, .f32_stride = s->n};
        s->k->gemm[LB_W_F32](s->factor->tiles + (tile * s->n + first) * LB_TILE_ROWS, s->n * LB_TILE_ROWS * sizeof(float), tiles,
                             n, &in, s->f + tile * LB_TILE_ROWS, s->n, add, s->mm);
    }
}

/* When the errors are no longer needed, their place takes w R, the outputs. */
static void feedback_outputs(const feedback_rows *s, lb_feedback_error *error)
{
    const size_t n = s->n;
    const lb_input in = {.n = s->n_rows, .f32 = s->w, .f32_stride = n};
    for (size_t tile = 0; tile < n / LB_TILE_ROWS; tile++) {
        s->k->gemm[LB_W_F32](s->factor->tiles + tile * n * LB_TILE_ROWS, n * LB_TILE_ROWS * sizeof(float), 1,
                             (tile + 1) * LB_TILE_ROWS, &in, s->e + tile * LB_TILE_ROWS, n, false, s->mm);
    }
    for (size_t i = 0; i < s->n_rows * n; i++) {
        error->output += (double)s->e[i] * (double)s->e[i];
    }
}

/* ---------------------------------------------------------------- uniform formats */

/* 16 rows of one group of 32 columns, the `at`-th in the order of deciding */
static void feedback_group(const feedback_rows *s, const lb_group_format *format, const float row_step[LB_TILE_ROWS], size_t row,
                           size_t at, void *tile)
{
    const lb_factor *factor = s->factor;
    const size_t first = at * LB_GROUP, n = s->n, n_rows = lb_min(s->n_rows - row, LB_TILE_ROWS);
    const size_t group = factor->order ? factor->order[first] / LB_GROUP : at;
    size_t place[LB_GROUP]; /* of column c inside the group as it is packed */
    lb_pack_cols in = {.h = {0}};
    lb_pack_lanes f[LB_GROUP] = {{{{0}}}}, w[LB_GROUP] = {{{{0}}}};
    lb_group_code code;
    float q[LB_GROUP][LB_TILE_ROWS];
    for (size_t c = 0; c < LB_GROUP; c++) {
        place[c] = factor->order ? factor->order[first + c] % LB_GROUP : c;
        in.h[place[c]] = factor->diagonal[first + c] * factor->diagonal[first + c];
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            w[c].f[r] = r < n_rows ? s->w[(row + r) * n + first + c] : 0.0f;
            f[c].f[r] = r < n_rows ? s->f[(row + r) * n + first + c] : 0.0f;
            in.x[place[c]].f[r] = w[c].f[r] + f[c].f[r] / factor->diagonal[first + c];
        }
    }
    format->choose(format, row_step, &in, tile, n, group, &code);
    for (size_t c = 0; c < LB_GROUP; c++) {
        const lb_pack_v inverse = lb_pack_all(1.0f / factor->diagonal[first + c]);
        lb_pack_lanes e, quant;
        for (size_t b = 0; b < 4; b++) {
            const lb_pack_v x = w[c].v[b] + f[c].v[b] * inverse;
            quant.v[b] = lb_group_round(x, code.inverse.v[b], code.zero.v[b], format->least, format->most);
            e.v[b] = w[c].v[b] - code.step.v[b] * (quant.v[b] - code.zero.v[b]);
        }
        memcpy(q[place[c]], quant.f, sizeof q[0]);
        for (size_t l = c; l < LB_GROUP; l++) { /* of column c too: what remains wrong */
            const float r = factor->tiles[(((first + l) / LB_TILE_ROWS) * n + first + c) * LB_TILE_ROWS + (first + l) % LB_TILE_ROWS];
            for (size_t b = 0; b < 4; b++) {
                f[l].v[b] += e.v[b] * lb_pack_all(r);
            }
        }
        for (size_t r = 0; r < n_rows; r++) {
            s->e[(row + r) * n + first + c] = e.f[r];
            s->f[(row + r) * n + first + c] = f[c].f[r];
        }
    }
    format->store(format, tile, n, group, (const float(*)[LB_TILE_ROWS])q);
}

static void feedback_groups(const feedback_rows *s, const lb_group_format *format, uint8_t *tiles, size_t tile_bytes)
{
    float row_step[LB_FEEDBACK_ROWS / LB_TILE_ROWS][LB_TILE_ROWS];
    for (size_t row = 0; row < s->n_rows; row += LB_TILE_ROWS) { /* the ranges do not depend on the order */
        lb_group_begin(format, s->w + row * s->n, s->n, lb_min(s->n_rows - row, LB_TILE_ROWS), s->n, row_step[row / LB_TILE_ROWS],
                       tiles + row / LB_TILE_ROWS * tile_bytes);
    }
    memset(s->f, 0, s->n_rows * s->n * sizeof(float));
    for (size_t at = 0; at < s->n / LB_GROUP; at++) {
        feedback_sum(s, at * (LB_GROUP / LB_TILE_ROWS), LB_GROUP / LB_TILE_ROWS, 0, at * LB_GROUP, false);
        for (size_t row = 0; row < s->n_rows; row += LB_TILE_ROWS) {
            feedback_group(s, format, row_step[row / LB_TILE_ROWS], row, at, tiles + row / LB_TILE_ROWS * tile_bytes);
        }
    }
}

/* ---------------------------------------------------------------- trellis formats */

typedef struct feedback_trellis {
    lb_wformat format;
    float point[256], h_unit;
    float scale[LB_FEEDBACK_ROWS];
    uint8_t state[LB_FEEDBACK_ROWS][4], begin[LB_FEEDBACK_ROWS][4];
} feedback_trellis;

typedef float feedback_v LB_VECTOR(16);

/* n (a multiple of 4) columns from `first` on of rows as the search wants them: what they should become, in the unit of integer weights */
static void feedback_load(const feedback_rows *s, const feedback_trellis *t, size_t row, size_t rows, size_t first, size_t n, float *x,
                          size_t stride, float *h)
{
    const float *d = s->factor->diagonal + first;
    for (size_t i = 0; i < n; i++) {
        h[i] = d[i] * d[i] * t->h_unit;
    }
    for (size_t r = row; r < row + rows; r++, x += stride) {
        const float inverse = 1.0f / t->scale[r], *w = s->w + r * s->n + first, *f = s->f + r * s->n + first;
        const feedback_v unit = {inverse, inverse, inverse, inverse};
        for (size_t i = 0; i < n; i += 4) {
            feedback_v wi, fi, di;
            memcpy(&wi, w + i, sizeof wi);
            memcpy(&fi, f + i, sizeof fi);
            memcpy(&di, d + i, sizeof di);
            wi = (wi + fi / di) * unit;
            memcpy(x + i, &wi, sizeof wi);
        }
    }
}

/* Decides the columns of one block, of up to LB_TCQ_ROWS rows, which are in one tile. */
static void feedback_block(const feedback_rows *s, feedback_trellis *t, size_t row, size_t rows, size_t at, void *tile)
{
    enum { MOST = (1 + LB_FEEDBACK_AHEAD) * LB_FEEDBACK_BLOCK };
    float x[LB_TCQ_ROWS * MOST], h[MOST];
    uint8_t window[LB_TCQ_ROWS * LB_FEEDBACK_BLOCK];
    const size_t first = at * LB_FEEDBACK_BLOCK, n = lb_min(s->n - first, MOST);
    feedback_load(s, t, row, rows, first, n, x, MOST, h);
    lb_tcq_search_rows(s->k, t->format, t->point, rows, x, MOST, h, LB_FEEDBACK_BLOCK, n - LB_FEEDBACK_BLOCK, t->state + row,
                       first + n == s->n ? (const uint8_t(*)[4])(t->begin + row) : NULL, window);
    for (size_t r = row; r < row + rows; r++) {
        const uint8_t *own = window + (r - row) * LB_FEEDBACK_BLOCK;
        float *e = s->e + r * s->n + first;
        lb_tcq_store(t->format, tile, r % LB_TILE_ROWS, first, LB_FEEDBACK_BLOCK, own);
        for (size_t i = 0; i < LB_FEEDBACK_BLOCK; i++) {
            e[i] = s->w[r * s->n + first + i] - t->scale[r] * t->point[own[i]];
        }
    }
}

/* The best scale for the codes: p = (w R)_j are the outputs, p - f those of the packed row. */
static float feedback_scale(const feedback_rows *s, const float *p, size_t row)
{
    const float *f = s->f + row * s->n;
    double pq = 0.0, qq = 0.0;
    for (size_t j = 0; j < s->n; j++) {
        const double q = (double)p[j] - (double)f[j];
        pq += (double)p[j] * q;
        qq += q * q;
    }
    return pq > 0.0 ? (float)(pq / qq) : 1.0f;
}

static void feedback_trellises(const feedback_rows *s, lb_wformat format, uint8_t *tiles, size_t tile_bytes, lb_feedback_error *error)
{
    feedback_trellis t = {.format = format};
    const size_t n = s->n, blocks = n / LB_FEEDBACK_BLOCK;
    float largest = 0.0f;
    lb_tcq_points(format, t.point);
    memset(tiles, 0, (s->n_rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS * tile_bytes);
    memset(s->f, 0, s->n_rows * n * sizeof(float));
    for (size_t j = 0; j < n; j++) {
        largest = s->factor->diagonal[j] > largest ? s->factor->diagonal[j] : largest;
    }
    t.h_unit = 1.0f / (largest * largest);
    for (size_t row = 0; row < s->n_rows; row++) {
        const float *w = s->w + row * n;
        double sum = 0.0;
        for (size_t j = 0; j < n; j++) {
            sum += (double)w[j] * (double)w[j];
        }
        const double scale = LB_FEEDBACK_WIDER * sqrt(sum / (double)n) / (double)lb_tcq_sigma(format);
        t.scale[row] = scale >= LB_FEEDBACK_TINY ? (float)scale : 1.0f; /* of a zero row anything */
    }
    for (size_t row = 0; row < s->n_rows; row += LB_TCQ_ROWS) {
        const size_t rows = lb_min(LB_TCQ_ROWS, s->n_rows - row);
        float x[LB_TCQ_ROWS * 128], h[128];
        feedback_load(s, &t, row, rows, n - 64, 64, x, 128, h);
        feedback_load(s, &t, row, rows, 0, 64, x + 64, 128, h + 64);
        lb_tcq_begin(s->k, format, t.point, rows, x, 128, h, t.state + row);
    }
    memcpy(t.begin, t.state, sizeof t.begin);
    for (size_t at = 0; at < blocks; at++) {
        for (size_t row = 0; row < s->n_rows; row += LB_TCQ_ROWS) {
            feedback_block(s, &t, row, lb_min(LB_TCQ_ROWS, s->n_rows - row), at, tiles + row / LB_TILE_ROWS * tile_bytes);
        }
        /* The block itself (what remains wrong in it) and those the next search looks at; then the one that comes in. */
        const size_t near = lb_min(blocks - at, 1 + LB_FEEDBACK_AHEAD);
        feedback_sum(s, at, near, at * LB_FEEDBACK_BLOCK, LB_FEEDBACK_BLOCK, true);
        if (at + near < blocks) {
            feedback_sum(s, at + near, 1, 0, (at + 1) * LB_FEEDBACK_BLOCK, false);
        }
    }
    feedback_outputs(s, error);
    for (size_t row = 0; row < s->n_rows; row++) {
        const float factor = feedback_scale(s, s->e + row * n, row), *p = s->e + row * n;
        float *f = s->f + row * n, *row_scale = (float *)(void *)(tiles + row / LB_TILE_ROWS * tile_bytes);
        for (size_t j = 0; j < n; j++) {
            f[j] = p[j] - factor * (p[j] - f[j]);
        }
        row_scale[row % LB_TILE_ROWS] = factor * t.scale[row];
    }
}

/* ---------------------------------------------------------------- both */

/* Sums of squares; s->e is overwritten with unpacked rows. */
static void feedback_measure(const feedback_rows *s, const lb_wformat_info *format, const float *rows, size_t stride,
                             const uint8_t *tiles, lb_feedback_error *error)
{
    const size_t n = s->n, tile_bytes = format->tile_bytes(n);
    for (size_t row = 0; row < s->n_rows; row++) {
        const float *f = s->f + row * n, *x = rows + row * stride;
        float *q = s->e + row * n;
        format->unpack(tiles + row / LB_TILE_ROWS * tile_bytes, n, row % LB_TILE_ROWS, q);
        for (size_t j = 0; j < n; j++) {
            const double d = (double)x[j] - (double)q[j];
            error->weights += (double)x[j] * (double)x[j];
            error->weight_error += d * d;
            error->error += (double)f[j] * (double)f[j];
        }
    }
}

void lb_feedback_pack(const lb_wformat_info *format, const lb_factor *factor, const lb_kernels *k, const float *rows, size_t stride,
                      size_t n_rows, void *tiles, void *scratch, lb_feedback_error *error)
{
    const size_t n = factor->n, floats = LB_FEEDBACK_ROWS * n;
    const feedback_rows s = {factor, k, n, n_rows, scratch, (float *)scratch + floats, (float *)scratch + 2 * floats,
                             (float *)scratch + 3 * floats};
    LB_ASSERT(n_rows > 0 && n_rows <= LB_FEEDBACK_ROWS && lb_feedback_can(format->id));
    for (size_t row = 0; row < n_rows; row++) {
        for (size_t j = 0; j < n; j++) {
            const float x = rows[row * stride + (factor->order ? factor->order[j] : j)];
            s.e[row * n + j] = (lb_f32_bits(x) & 0x7f800000) == 0x7f800000 ? 0.0f : x;
        }
    }
    memcpy(s.w, s.e, n_rows * n * sizeof(float));
    if (factor->shift) {
        const lb_input in = {.n = n_rows, .f32 = s.e, .f32_stride = n};
        k->gemm[LB_W_F32](factor->shift, n * LB_TILE_ROWS * sizeof(float), n / LB_TILE_ROWS, n, &in, s.w, n, true, s.mm);
    }
    const lb_group_format *group = lb_group_format_of(format->id);
    if (group) {
        feedback_groups(&s, group, tiles, format->tile_bytes(n));
        feedback_outputs(&s, error);
    } else {
        feedback_trellises(&s, format->id, tiles, format->tile_bytes(n), error);
    }
    feedback_measure(&s, format, rows, stride, tiles, error);
}
