/* Layers of more than one term: a format and a sparse term, rows of two formats, a format and a low-rank term. */
#include "lb_convert_job.h"

#include "../../kernels/lb_math.h"
#include "lb_lowrank.h"
#include "lb_outliers.h"

/* ---- a sparse term beside a format ---- */

size_t lb_terms_outlier_lines(const lb_convert_job *j, const lb_source_tensor *t)
{
    const bool wanted = j->options->outliers > 0.0f && strchr(t->name, '.') && !t->ternary && j->format->reads != LB_READS_F32 &&
                        !lb_convert_rotates(j->format, t->name) && t->cols <= 65536;
    const size_t lines = wanted ? (size_t)((double)t->cols * (double)j->options->outliers / 100.0 + 0.5) : 0;
    return lb_min(lines, (size_t)t->cols);
}

lbrt_status lb_terms_outliers(lb_convert_job *j, const lb_source_tensor *t, size_t lines, uint64_t *bytes)
{
    const size_t sparse_bytes = (size_t)((t->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS) * 64 * lines;
    j->sparse = (unsigned char *)lb_alloc(&j->a, sparse_bytes);
    j->sparse_lines = lines;
    LB_FAIL_IF(!j->sparse, j->err, LBRT_ERR_MEMORY, "out of memory");
    lb_writer_tensor(&j->writer, t->name, t->rows, t->cols, 2);
    lb_writer_term(&j->writer, LB_TERM_PACKED, NULL, 0, t->rows, 0, t->cols);
    lbrt_status s = lb_writer_part(&j->writer, j->format->id, t->rows, t->cols);
    s = s == LBRT_OK ? lb_job_pack(j, t->name, 0, t->rows) : s;
    s = s == LBRT_OK ? lb_writer_part_end(&j->writer) : s;
    s = s == LBRT_OK ? lb_writer_term(&j->writer, LB_TERM_SPARSE, NULL, 0, t->rows, 0, t->cols) : s;
    s = s == LBRT_OK ? lb_writer_part(&j->writer, LB_W_NONE, t->rows, t->cols) : s;
    s = s == LBRT_OK ? lb_writer_data(&j->writer, j->sparse, sparse_bytes) : s;
    s = s == LBRT_OK ? lb_writer_part_end(&j->writer) : s;
    lb_free(&j->a, j->sparse, sparse_bytes);
    j->sparse = NULL;
    *bytes += sparse_bytes;
    return s;
}

/* ---- rows of two formats ---- */

#define SALIENT_BLOCK 64u /* rows; terms begin at multiples of it */

bool lb_terms_wants_salient(const lb_convert_job *j, const lb_source_tensor *t)
{
    return j->options->salient_rows > 0.0f && strchr(t->name, '.') && !t->ternary && j->format->reads != LB_READS_F32 &&
           j->format->bits < 8.0 && !lb_convert_rotates(j->format, t->name);
}

static void choose_format(lb_convert_job *j, const lb_wformat_info *f)
{
    j->format = f;
    j->pack = lb_packer(f->id);
    j->tile_bytes = f->tile_bytes(j->packed_cols);
}

/* Squared error of each block of rows as packed in the job's format: one item is one block, so threads do not matter. */
typedef struct salient_job {
    lb_convert_job *j;
    double *errors;
    unsigned char *tiles; /* one per thread */
} salient_job;

static void measure_block(void *context, size_t block, unsigned thread)
{
    salient_job *s = (salient_job *)context;
    lb_convert_job *j = s->j;
    lb_job_result result = { .status = LBRT_OK };
    float *rows = j->row_buffers + thread * j->row_buffer_floats;
    const uint64_t end = (block + 1) * SALIENT_BLOCK < j->rows ? (block + 1) * SALIENT_BLOCK : j->rows;
    for (uint64_t row = block * SALIENT_BLOCK; row < end && result.status == LBRT_OK; row += LB_TILE_ROWS) {
        const uint64_t n = end - row < LB_TILE_ROWS ? end - row : LB_TILE_ROWS;
        void *tile = s->tiles + thread * j->tile_bytes;
        lb_job_read(j, row, n, rows, &result);
        if (result.status == LBRT_OK) {
            j->pack(rows, j->packed_cols, (size_t)n, j->packed_cols, NULL, tile);
            lb_job_measure_tile(j, rows, n, tile, rows + LB_TILE_ROWS * j->packed_cols, &result);
        }
    }
    s->errors[block] = result.errors;
    if (result.status != LBRT_OK) {
        j->results[thread] = result;
    }
}

/* Marks the blocks with the largest errors (errors[i] < 0: chosen). */
static void choose_blocks(const lb_convert_job *j, double *errors, size_t n_blocks)
{
    size_t n = (size_t)((double)n_blocks * (double)j->options->salient_rows / 100.0 + 0.5);
    n = n > 127 ? 127 : n > n_blocks ? n_blocks : n; /* 255 terms */
    for (; n > 0; n--) {
        size_t best = n_blocks;
        for (size_t i = 0; i < n_blocks; i++) {
            if (errors[i] >= 0.0 && (best == n_blocks || errors[i] > errors[best])) {
                best = i;
            }
        }
        if (best < n_blocks) {
            errors[best] = -1.0;
        }
    }
}

static size_t run_of(const double *errors, size_t n_blocks, size_t from)
{
    size_t to = from + 1;
    while (to < n_blocks && (errors[to] < 0.0) == (errors[from] < 0.0)) {
        to++;
    }
    return to;
}

static lbrt_status write_runs(lb_convert_job *j, const lb_source_tensor *t, const double *errors, size_t n_blocks, uint64_t *bytes)
{
    const lb_wformat_info *base = j->format, *fine = lb_wformat_find(LB_W_Q8);
    unsigned n_terms = 0;
    for (size_t i = 0; i < n_blocks; i = run_of(errors, n_blocks, i)) {
        n_terms++;
    }
    LB_TRY(lb_writer_tensor(&j->writer, t->name, t->rows, t->cols, n_terms));
    for (size_t i = 0, to; i < n_blocks; i = to) {
        to = run_of(errors, n_blocks, i);
        const uint64_t row0 = i * SALIENT_BLOCK, end = to * SALIENT_BLOCK < t->rows ? to * SALIENT_BLOCK : t->rows;
        choose_format(j, errors[i] < 0.0 ? fine : base);
        *bytes += (end - row0 + LB_TILE_ROWS - 1) / LB_TILE_ROWS * j->tile_bytes;
        lb_writer_term(&j->writer, LB_TERM_PACKED, NULL, row0, end - row0, 0, t->cols);
        LB_TRY(lb_writer_part(&j->writer, j->format->id, end - row0, t->cols));
        LB_TRY(lb_job_pack(j, t->name, row0, end - row0));
        LB_TRY(lb_writer_part_end(&j->writer));
    }
    choose_format(j, base);
    return LBRT_OK;
}

/* Called with row_buffers and tiles in place; tiles have room for a block of q8. */
lbrt_status lb_terms_salient(lb_convert_job *j, const lb_source_tensor *t, uint64_t *bytes)
{
    const size_t n_blocks = (size_t)((t->rows + SALIENT_BLOCK - 1) / SALIENT_BLOCK), tiles_bytes = j->threads * j->tile_bytes;
    salient_job job = { .j = j, .errors = (double *)lb_alloc_zero(&j->a, n_blocks, sizeof(double)),
                        .tiles = (unsigned char *)lb_alloc(&j->a, tiles_bytes) };
    lbrt_status s = LBRT_OK;
    if (!job.errors || !job.tiles) {
        s = lb_fail(j->err, LBRT_ERR_MEMORY, "out of memory");
    } else {
        lb_pool_run(j->pool, measure_block, &job, n_blocks);
        s = lb_job_status(j);
        choose_blocks(j, job.errors, n_blocks);
        s = s == LBRT_OK ? write_runs(j, t, job.errors, n_blocks, bytes) : s;
    }
    lb_free(&j->a, job.errors, n_blocks * sizeof(double));
    lb_free(&j->a, job.tiles, tiles_bytes);
    return s;
}

/* ---- the same with calibration: blocks are those of error feedback, and errors those of the layer's output ---- */

_Static_assert(SALIENT_BLOCK == LB_FEEDBACK_ROWS, "");

static size_t block_bytes(const lb_convert_job *j, const lb_wformat_info *f, size_t block)
{
    const uint64_t row = (uint64_t)block * SALIENT_BLOCK, n = j->rows - row < SALIENT_BLOCK ? j->rows - row : SALIENT_BLOCK;
    return (size_t)(n + LB_TILE_ROWS - 1) / LB_TILE_ROWS * f->tile_bytes(j->packed_cols);
}

typedef struct fine_job {
    lb_convert_job *j;
    const lb_job_beside *b;
} fine_job;

static void pack_fine(void *context, size_t block, unsigned thread)
{
    const fine_job *f = (const fine_job *)context;
    lb_convert_job *j = f->j;
    const lb_wformat_info *q8 = lb_wformat_find(LB_W_Q8);
    const uint64_t row = (uint64_t)block * SALIENT_BLOCK, n = j->rows - row < SALIENT_BLOCK ? j->rows - row : SALIENT_BLOCK;
    unsigned char *tiles = f->b->fine;
    if (f->b->errors[block] >= 0.0) {
        return;
    }
    for (size_t i = 0; i < block; i++) {
        tiles += f->b->errors[i] < 0.0 ? block_bytes(j, q8, i) : 0;
    }
    j->feedback[block] = (lb_feedback_error){ 0 };
    lb_feedback_pack(q8, j->factor, &j->kernels, j->matrix + row * j->packed_cols, j->packed_cols, (size_t)n, tiles,
                     j->scratch + thread * lb_feedback_bytes(j->packed_cols), &j->feedback[block]);
}

lbrt_status lb_terms_choose_salient(lb_convert_job *j, lb_job_beside *b)
{
    b->n_blocks = (size_t)((j->rows + SALIENT_BLOCK - 1) / SALIENT_BLOCK);
    b->errors = (double *)lb_alloc(&j->a, b->n_blocks * sizeof(double));
    LB_FAIL_IF(!b->errors, j->err, LBRT_ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < b->n_blocks; i++) {
        b->errors[i] = j->feedback[i].error;
    }
    choose_blocks(j, b->errors, b->n_blocks);
    for (size_t i = 0; i < b->n_blocks; i++) {
        b->fine_bytes += b->errors[i] < 0.0 ? block_bytes(j, lb_wformat_find(LB_W_Q8), i) : 0;
    }
    b->fine = (unsigned char *)lb_alloc(&j->a, b->fine_bytes);
    LB_FAIL_IF(!b->fine && b->fine_bytes, j->err, LBRT_ERR_MEMORY, "out of memory");
    fine_job f = { j, b };
    lb_pool_run(j->pool, pack_fine, &f, b->n_blocks);
    return LBRT_OK;
}

lbrt_status lb_terms_write_salient(lb_convert_job *j, const lb_source_tensor *t, const lb_job_beside *b, uint64_t *bytes)
{
    const lb_wformat_info *formats[] = { j->format, lb_wformat_find(LB_W_Q8) };
    const unsigned char *fine = b->fine;
    unsigned n_terms = 0;
    for (size_t i = 0; i < b->n_blocks; i = run_of(b->errors, b->n_blocks, i)) {
        n_terms++;
    }
    *bytes = 0;
    LB_TRY(lb_writer_tensor(&j->writer, t->name, t->rows, t->cols, n_terms));
    for (size_t i = 0, to; i < b->n_blocks; i = to) {
        const bool is_fine = b->errors[i] < 0.0;
        size_t run = 0;
        to = run_of(b->errors, b->n_blocks, i);
        for (size_t k = i; k < to; k++) {
            run += block_bytes(j, formats[is_fine], k);
        }
        const uint64_t row = (uint64_t)i * SALIENT_BLOCK, end = (uint64_t)to * SALIENT_BLOCK < t->rows ? (uint64_t)to * SALIENT_BLOCK : t->rows;
        lb_writer_term(&j->writer, LB_TERM_PACKED, NULL, row, end - row, 0, t->cols);
        LB_TRY(lb_writer_part(&j->writer, formats[is_fine]->id, end - row, t->cols));
        LB_TRY(lb_writer_data(&j->writer, is_fine ? fine : j->tiles + row / LB_TILE_ROWS * j->tile_bytes, run));
        LB_TRY(lb_writer_part_end(&j->writer));
        fine += is_fine ? run : 0;
        *bytes += run;
    }
    return LBRT_OK;
}

/* ---- low-rank terms ---- */

/* Not for embedding and head, for what loses nothing, and for rotated inputs, whose errors look like noise. */
bool lb_terms_wants_lowrank(const lb_convert_job *j, const lb_source_tensor *t)
{
    const size_t rank = j->options->lowrank;
    return rank > 0 && strchr(t->name, '.') && !t->ternary && j->format->reads != LB_READS_F32 && !lb_convert_rotates(j->format, t->name) &&
           rank < t->rows && rank < t->cols;
}

/* Rows of a factor as f16; element (row, col) is x[row * by_row + col * by_col]. */
static lbrt_status write_factor(lb_convert_job *j, const float *x, size_t rows, size_t cols, size_t by_row, size_t by_col)
{
    const size_t tile_bytes = lb_wformat_find(LB_W_F16)->tile_bytes(cols), row_bytes = LB_TILE_ROWS * cols * sizeof(float);
    void *tile = lb_alloc(&j->a, tile_bytes);
    float *buffer = (float *)lb_alloc(&j->a, row_bytes);
    lbrt_status s = tile && buffer ? lb_writer_part(&j->writer, LB_W_F16, rows, cols) : lb_fail(j->err, LBRT_ERR_MEMORY, "out of memory");
    for (size_t row = 0; row < rows && s == LBRT_OK; row += LB_TILE_ROWS) {
        const size_t n = lb_min(LB_TILE_ROWS, rows - row);
        for (size_t i = 0; i < n * cols; i++) {
            buffer[i] = x[(row + i / cols) * by_row + i % cols * by_col];
        }
        lb_pack_f16(buffer, cols, n, cols, NULL, tile);
        s = lb_writer_data(&j->writer, tile, tile_bytes);
    }
    s = s == LBRT_OK ? lb_writer_part_end(&j->writer) : s;
    lb_free(&j->a, tile, tile_bytes);
    lb_free(&j->a, buffer, row_bytes);
    return s;
}

lbrt_status lb_terms_lowrank(lb_convert_job *j, const lb_source_tensor *t)
{
    lb_lowrank l = { .format = j->format,
                     .rows = (size_t)t->rows,
                     .cols = (size_t)t->cols,
                     .rank = j->options->lowrank,
                     .pool = j->pool,
                     .threads = j->threads,
                     .allocator = j->a };
    const size_t tile_bytes = j->format->tile_bytes(l.cols), n_tiles = (l.rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS;
    LB_TRY(lb_lowrank_begin(&l, j->err));
    lb_job_read(j, 0, t->rows, l.w, &j->results[0]);
    lbrt_status s = lb_job_status(j);
    if (s == LBRT_OK) {
        lb_lowrank_fit(&l);
        lb_writer_tensor(&j->writer, t->name, t->rows, t->cols, 2);
        lb_writer_term(&j->writer, LB_TERM_PACKED, NULL, 0, t->rows, 0, t->cols);
        lb_writer_part(&j->writer, j->format->id, t->rows, t->cols);
        lb_writer_data(&j->writer, l.tiles, n_tiles * tile_bytes);
        lb_writer_part_end(&j->writer);
        s = lb_writer_term(&j->writer, LB_TERM_CHAIN, NULL, 0, t->rows, 0, t->cols);
        s = s == LBRT_OK ? write_factor(j, l.a, l.rows, l.rank, l.rank, 1) : s;
        s = s == LBRT_OK ? write_factor(j, l.b, l.rank, l.cols, 1, l.rank) : s;
    }
    lb_lowrank_end(&l);
    j->done += t->rows * t->cols;
    if (s == LBRT_OK) {
        const lb_wformat_info *f16 = lb_wformat_find(LB_W_F16);
        j->results[0].squares = 1.0;
        j->results[0].errors = l.error;
        lb_job_report(j, t->name, j->format->name,
                      n_tiles * (tile_bytes + f16->tile_bytes(l.rank)) +
                          (l.rank + LB_TILE_ROWS - 1) / LB_TILE_ROWS * f16->tile_bytes(l.cols),
                      NULL);
        lb_job_progress(j, t->name);
    }
    return s;
}

/* ---- matrices that come as two factors ---- */

bool lb_terms_wants_factors(const lb_convert_job *j, const lb_source_tensor *t)
{
    return t->rank > 0 && j->source->read_factor && t->rank < LB_MAX_K && t->rank * (t->rows + t->cols) < t->rows * t->cols;
}

typedef struct factor_job {
    lb_convert_job *j;
    bool outer;
    size_t rows, cols;
} factor_job;

static void factor_tile(void *context, size_t item, unsigned thread)
{
    const factor_job *f = (const factor_job *)context;
    lb_convert_job *j = f->j;
    lb_job_result *result = &j->results[thread];
    float *rows = j->row_buffers + thread * j->row_buffer_floats;
    const size_t row = item * LB_TILE_ROWS, n = lb_min(LB_TILE_ROWS, f->rows - row);
    if (result->status == LBRT_OK) {
        result->status = j->source->read_factor(j->source, j->tensor, f->outer, row, n, rows, &result->error);
        j->pack(rows, f->cols, n, f->cols, NULL, j->tiles + item * j->tile_bytes);
        lb_job_measure_tile(j, rows, n, j->tiles + item * j->tile_bytes, rows + LB_TILE_ROWS * f->cols, result);
    }
}

static lbrt_status write_packed_factor(lb_convert_job *j, const lb_source_tensor *t, bool outer, uint64_t *bytes)
{
    factor_job f = { j, outer, (size_t)(outer ? t->rows : t->rank), (size_t)(outer ? t->rank : t->cols) };
    const size_t n_tiles = (f.rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS;
    j->packed_cols = f.cols;
    choose_format(j, j->format);
    j->row_buffer_floats = lb_round_up(f.cols * (LB_TILE_ROWS + 1), 16);
    const size_t rows_bytes = j->threads * j->row_buffer_floats * sizeof(float), tiles_bytes = n_tiles * j->tile_bytes;
    j->row_buffers = (float *)lb_alloc(&j->a, rows_bytes);
    j->tiles = (unsigned char *)lb_alloc(&j->a, tiles_bytes);
    lbrt_status s = j->row_buffers && j->tiles ? lb_writer_part(&j->writer, j->format->id, f.rows, f.cols)
                                               : lb_fail(j->err, LBRT_ERR_MEMORY, "out of memory");
    if (s == LBRT_OK) {
        lb_pool_run(j->pool, factor_tile, &f, n_tiles);
        s = lb_job_status(j);
    }
    s = s == LBRT_OK ? lb_writer_data(&j->writer, j->tiles, tiles_bytes) : s;
    s = s == LBRT_OK ? lb_writer_part_end(&j->writer) : s;
    lb_free(&j->a, j->row_buffers, rows_bytes);
    lb_free(&j->a, j->tiles, tiles_bytes);
    *bytes += tiles_bytes;
    return s;
}

lbrt_status lb_terms_factors(lb_convert_job *j, const lb_source_tensor *t)
{
    uint64_t bytes = 0;
    if (lb_convert_rotates(j->format, t->name)) { /* what is between two factors is not rotated */
        j->format = lb_wformat_find(j->format->bits > 3.5 ? LB_W_Q4 : j->format->bits > 2.5 ? LB_W_Q3 : LB_W_Q2);
    }
    lb_writer_tensor(&j->writer, t->name, t->rows, t->cols, 1);
    LB_TRY(lb_writer_term(&j->writer, LB_TERM_CHAIN, NULL, 0, t->rows, 0, t->cols));
    LB_TRY(write_packed_factor(j, t, true, &bytes));
    LB_TRY(write_packed_factor(j, t, false, &bytes));
    j->done += t->rows * t->cols;
    lb_job_progress(j, t->name);
    lb_job_report(j, t->name, j->format->name, bytes,
                  j->format->id == LB_W_TERN ? "is not ternary: rounding it to tern destroys the model's quality"
                  : lb_job_was_pruned(j)     ? "was not 2:4 sparse: pruning it costs much quality"
                                             : NULL);
    return LBRT_OK;
}

/* ---- with calibration ---- */

typedef struct take_job {
    lb_convert_job *j;
    lb_job_beside *b;
    float *temp;          /* per thread: 16 rows */
    unsigned char *tiles; /* per thread: a tile */
} take_job;

static void take_tile(void *context, size_t item, unsigned thread)
{
    const take_job *k = (const take_job *)context;
    lb_convert_job *j = k->j;
    const size_t cols = (size_t)j->cols, row = item * LB_TILE_ROWS, n = lb_min(LB_TILE_ROWS, (size_t)j->rows - row);
    lb_take_outliers(j->format, j->matrix + row * j->packed_cols, j->packed_cols, n, cols, j->importance, k->b->lines,
                     k->temp + thread * LB_TILE_ROWS * cols, k->tiles + thread * j->tile_bytes, k->b->sparse + item * 64 * k->b->lines);
}

static lbrt_status take_outliers(lb_convert_job *j, lb_job_beside *b)
{
    const size_t n_tiles = (size_t)((j->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS), temp_bytes = j->threads * LB_TILE_ROWS * (size_t)j->cols * sizeof(float);
    b->sparse_bytes = n_tiles * 64 * b->lines;
    b->sparse = (unsigned char *)lb_alloc(&j->a, b->sparse_bytes);
    take_job k = { j, b, (float *)lb_alloc(&j->a, temp_bytes), (unsigned char *)lb_alloc(&j->a, j->threads * j->tile_bytes) };
    lbrt_status s = LBRT_OK;
    if (b->sparse && k.temp && k.tiles) {
        lb_pool_run(j->pool, take_tile, &k, n_tiles);
    } else {
        s = lb_fail(j->err, LBRT_ERR_MEMORY, "out of memory");
    }
    lb_free(&j->a, k.temp, temp_bytes);
    lb_free(&j->a, k.tiles, j->threads * j->tile_bytes);
    return s;
}

static void copy_as_f16(float *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = lb_f16_to_f32(lb_f32_to_f16(from[i]));
    }
}

/* The low-rank term is fitted as without calibration; feedback then packs what it leaves. */
static lbrt_status take_lowrank(lb_convert_job *j, lb_job_beside *b)
{
    lb_lowrank l = { .format = j->format,
                     .rows = (size_t)j->rows,
                     .cols = (size_t)j->cols,
                     .rank = b->rank,
                     .pool = j->pool,
                     .threads = j->threads,
                     .allocator = j->a };
    b->a = (float *)lb_alloc(&j->a, l.rows * l.rank * sizeof(float));
    b->b = (float *)lb_alloc(&j->a, l.cols * l.rank * sizeof(float));
    LB_FAIL_IF(!b->a || !b->b, j->err, LBRT_ERR_MEMORY, "out of memory");
    LB_TRY(lb_lowrank_begin(&l, j->err));
    for (size_t r = 0; r < l.rows; r++) {
        memcpy(l.w + r * l.cols, j->matrix + r * j->packed_cols, l.cols * sizeof(float));
    }
    lb_lowrank_fit(&l);
    copy_as_f16(b->a, l.a, l.rows * l.rank);
    copy_as_f16(b->b, l.b, l.cols * l.rank);
    lb_lowrank_end(&l);
    for (size_t i = 0; i < l.rows * l.rank; i++) { /* minus A B: turned for a moment */
        b->a[i] = -b->a[i];
    }
    lb_terms_add_beside(j, b, 0, j->rows, j->matrix, j->packed_cols);
    for (size_t i = 0; i < l.rows * l.rank; i++) {
        b->a[i] = -b->a[i];
    }
    return LBRT_OK;
}

lbrt_status lb_terms_take(lb_convert_job *j, const lb_source_tensor *t, lb_job_beside *b)
{
    b->lines = lb_terms_outlier_lines(j, t);
    b->rank = b->lines == 0 && lb_terms_wants_lowrank(j, t) ? j->options->lowrank : 0;
    return b->lines ? take_outliers(j, b) : b->rank ? take_lowrank(j, b) : LBRT_OK;
}

void lb_terms_add_beside(const lb_convert_job *j, const lb_job_beside *b, uint64_t row, uint64_t n, float *rows, size_t stride)
{
    for (uint64_t r = row; r < row + n; r++, rows += stride) {
        const unsigned char *line = b->sparse + r / LB_TILE_ROWS * 64 * b->lines + 2 * (r % LB_TILE_ROWS);
        for (size_t i = 0; i < b->lines; i++, line += 64) {
            rows[lb_load_u16(line)] += lb_f16_to_f32(lb_load_u16(line + 2 * LB_TILE_ROWS));
        }
        for (size_t c = 0; b->rank && c < j->cols; c++) {
            float sum = 0.0f;
            for (size_t k = 0; k < b->rank; k++) {
                sum += b->a[r * b->rank + k] * b->b[c * b->rank + k];
            }
            rows[c] += sum;
        }
    }
}

lbrt_status lb_terms_write_beside(lb_convert_job *j, const lb_source_tensor *t, const lb_job_beside *b, uint64_t *bytes)
{
    if (b->lines) {
        lb_writer_term(&j->writer, LB_TERM_SPARSE, NULL, 0, t->rows, 0, t->cols);
        lb_writer_part(&j->writer, LB_W_NONE, t->rows, t->cols);
        lb_writer_data(&j->writer, b->sparse, b->sparse_bytes);
        *bytes += b->sparse_bytes;
        return lb_writer_part_end(&j->writer);
    }
    if (b->rank) {
        const lb_wformat_info *f16 = lb_wformat_find(LB_W_F16);
        LB_TRY(lb_writer_term(&j->writer, LB_TERM_CHAIN, NULL, 0, t->rows, 0, t->cols));
        LB_TRY(write_factor(j, b->a, (size_t)t->rows, b->rank, b->rank, 1));
        LB_TRY(write_factor(j, b->b, b->rank, (size_t)t->cols, 1, b->rank));
        *bytes += (t->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS * f16->tile_bytes(b->rank) +
                  (b->rank + LB_TILE_ROWS - 1) / LB_TILE_ROWS * f16->tile_bytes((size_t)t->cols);
    }
    return LBRT_OK;
}

void lb_terms_free_beside(lb_convert_job *j, const lb_source_tensor *t, lb_job_beside *b)
{
    lb_free(&j->a, b->sparse, b->sparse_bytes);
    lb_free(&j->a, b->errors, b->n_blocks * sizeof(double));
    lb_free(&j->a, b->fine, b->fine_bytes);
    lb_free(&j->a, b->a, (size_t)t->rows * b->rank * sizeof(float));
    lb_free(&j->a, b->b, (size_t)t->cols * b->rank * sizeof(float));
}
