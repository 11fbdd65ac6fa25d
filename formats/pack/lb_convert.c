/*
 * Conversion. Tensors are read, packed and written one block of tiles after another: memory is a few blocks, whatever the
 * model's size. Tiles of a block are packed by all threads.
 */
#include "lb_convert.h"

#include "../../runtime/base/lb_os.h"
#include "../../runtime/base/lb_threads.h"
#include "lb_feedback.h"
#include "lb_lowrank.h"
#include "lb_outliers.h"
#include "lb_pack.h"
#include "lb_writer.h"

bool lb_glob_match(const char *glob, const char *text)
{
    const char *star = NULL, *retry = NULL;
    for (;;) {
        if (*glob == '*') {
            star = ++glob;
            retry = text;
        } else if (*text && (*glob == '?' || *glob == *text)) {
            glob++;
            text++;
        } else if (!*text && !*glob) {
            return true;
        } else if (star && *retry) {
            glob = star;
            text = ++retry;
        } else {
            return false;
        }
    }
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && memcmp(s + n - m, end, m) == 0;
}

bool lb_convert_is_vector(const char *name)
{
    return ends_with(name, "_norm") || ends_with(name, "_bias") || strcmp(name, "rope_factors") == 0;
}

lb_wformat lb_convert_format(const lb_convert_options *o, const lb_source_tensor *tensor)
{
    lb_wformat format = o->format;
    const lb_wformat_info *info = lb_wformat_find((uint32_t)format);
    bool edge = strcmp(tensor->name, "tok_embed") == 0 || strcmp(tensor->name, "out_head") == 0;
    if (tensor->ternary) {
        format = LB_W_TERN;
    } else if (edge && info && (info->bits < 8.0 || format == LB_W_INT8)) {
        format = LB_W_Q8;
    }
    for (size_t i = 0; i < o->n_rules; i++) {
        if (lb_glob_match(o->rules[i].glob, tensor->name)) {
            format = o->rules[i].format;
        }
    }
    return format;
}

/* Trellis codes want weights that look Gaussian: their input is rotated. An embedding's rows are looked up, so it is not. */
static bool wants_rotation(const lb_wformat_info *f, const char *tensor)
{
    return f->rotate && strcmp(tensor, "tok_embed") != 0;
}

/* Tensors that read the same activations share a rotation; this names the input that a tensor reads. */
static void input_name(const char *tensor, char out[64])
{
    static const char *const same[][2] = { { "attn_k", "attn_q" }, { "attn_v", "attn_q" }, { "ffn_up", "ffn_gate" } };
    const char *dot = strrchr(tensor, '.'), *last = dot ? dot + 1 : tensor;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        last = strcmp(last, same[i][0]) == 0 ? same[i][1] : last;
    }
    lb_format(out, 64, "%.*s%s", (int)(dot ? dot + 1 - tensor : 0), tensor, last);
}

typedef struct convert_rotation {
    uint64_t input; /* hash of the input's name */
    uint32_t block, n;
    unsigned char *bytes; /* as in the file: block, n, signs */
    lb_writer_transform written;
} convert_rotation;


/* About this many bytes of packed tiles are in memory at once. */
#define BLOCK_BYTES ((size_t)8 << 20)

typedef struct convert_job {
    const lb_source *source;
    const lb_convert_options *options;
    lbrt_allocator a;
    lb_pool *pool;
    unsigned threads;
    lb_writer writer;
    uint64_t done, total; /* weights */
    lbrt_error *err;

    /* the tensor being packed */
    size_t tensor;
    const lb_wformat_info *format;
    lb_pack_fn *pack;
    uint64_t first_row, rows, cols;
    size_t packed_cols;               /* columns as packed: filled up when they are rotated */
    const convert_rotation *rotation; /* NULL: none */
    const lb_kernels *kernels;
    convert_rotation *rotations;      /* of all inputs so far; room for one per tensor */
    size_t n_rotations;
    size_t tile_bytes;
    unsigned char *tiles;
    unsigned char *sparse; /* with outliers: the sparse tiles of the whole tensor, else NULL */
    size_t sparse_lines;   /* of a tile */
    float *row_buffers; /* per thread: 16 rows and one unpacked row, with outliers 16 */
    size_t row_buffer_floats;
    struct convert_result {
        lbrt_status status;
        lbrt_error error;
        double squares, errors;
        char pad[64];
    } *results; /* per thread */

    /* calibrated */
    const lb_factor *factor;        /* NULL: without */
    float *matrix;                  /* [rows][packed_cols] */
    lb_feedback_error *feedback;    /* per 64 rows */
    unsigned char *scratch;         /* per thread */
    double started;
} convert_job;

/* Sums of squares, of the weights and of their error after packing. */
static void measure_tile(const convert_job *j, const float *rows, uint64_t n, const void *tile, float *row,
                         struct convert_result *result)
{
    for (uint64_t r = 0; r < n; r++) {
        j->format->unpack(tile, j->packed_cols, (size_t)r, row);
        const float *x = rows + r * j->packed_cols;
        double squares = 0, errors = 0;
        for (uint64_t c = 0; c < j->packed_cols; c++) {
            double d = (double)x[c] - (double)row[c];
            squares += (double)x[c] * (double)x[c];
            errors += d * d;
        }
        result->squares += squares;
        result->errors += errors;
    }
}

/* W x = (W R') (R x): a row of weights is rotated as the input will be. From the last row on, as rows grow in place. */
static void rotate_rows(const convert_job *j, float *rows, uint64_t n)
{
    const size_t cols = (size_t)j->cols, to = j->packed_cols;
    for (uint64_t r = n; r-- > 0;) {
        float *row = rows + r * to;
        memmove(row, rows + r * cols, cols * sizeof(float));
        memset(row + cols, 0, (to - cols) * sizeof(float));
        j->kernels->hadamard(row, row, j->rotation->bytes + LB_ROTATION_HEAD, to, j->rotation->block);
    }
}

static void convert_tile(void *context, size_t item, unsigned thread)
{
    convert_job *j = (convert_job *)context;
    struct convert_result *result = &j->results[thread];
    if (result->status != LBRT_OK) {
        return;
    }
    float *rows = j->row_buffers + thread * j->row_buffer_floats;
    uint64_t row = j->first_row + item * LB_TILE_ROWS;
    uint64_t n = j->rows - row < LB_TILE_ROWS ? j->rows - row : LB_TILE_ROWS;
    result->status = j->source->read_rows(j->source, j->tensor, row, n, rows, &result->error);
    if (result->status == LBRT_OK) {
        unsigned char *tile = j->tiles + item * j->tile_bytes;
        if (j->rotation) {
            rotate_rows(j, rows, n);
        }
        if (j->sparse) {
            double squares;
            result->errors += lb_pack_outliers(j->format, rows, (size_t)n, j->packed_cols, j->sparse_lines,
                                               rows + LB_TILE_ROWS * j->packed_cols, tile,
                                               j->sparse + row / LB_TILE_ROWS * 64 * j->sparse_lines, &squares);
            result->squares += squares;
            return;
        }
        j->pack(rows, j->packed_cols, (size_t)n, j->packed_cols, NULL, tile);
        measure_tile(j, rows, n, tile, rows + LB_TILE_ROWS * j->packed_cols, result);
    }
}

static void report_progress(const convert_job *j, const char *name)
{
    if (j->options->progress) {
        j->options->progress(j->options->user, j->total ? (double)j->done / (double)j->total : 1.0, name);
    }
}

static void report_tensor(const convert_job *j, const char *name, const char *format, uint64_t bytes, const char *warning)
{
    double squares = 0, errors = 0;
    for (unsigned i = 0; i < j->threads; i++) {
        squares += j->results[i].squares;
        errors += j->results[i].errors;
    }
    lb_convert_tensor_report report = { .name = name,
                                        .format = format,
                                        .weights = j->rows * j->cols,
                                        .bytes = bytes,
                                        .output_error = -1.0,
                                        .seconds = lb_now() - j->started,
                                        .warning = warning };
    if (j->factor) {
        lb_feedback_error all = { 0 };
        for (size_t i = 0; i < (j->rows + LB_FEEDBACK_ROWS - 1) / LB_FEEDBACK_ROWS; i++) {
            all.error += j->feedback[i].error;
            all.output += j->feedback[i].output;
            squares += j->feedback[i].weights;
            errors += j->feedback[i].weight_error;
        }
        report.output_error = all.output > 0 ? all.error / all.output : 0;
    }
    report.relative_error = squares > 0 ? errors / squares : 0;
    if (j->options->tensor) {
        j->options->tensor(j->options->user, &report);
    }
}

/* Rows first .. first + n_rows - 1 of the tensor, in the job's format */
static lbrt_status pack_blocks(convert_job *j, const char *name, uint64_t first, uint64_t n_rows)
{
    size_t n_tiles = (size_t)((n_rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS);
    const size_t block = j->options->calib ? n_tiles : lb_max(BLOCK_BYTES / j->tile_bytes, j->threads);
    for (size_t tile = 0; tile < n_tiles; tile += block) {
        size_t n = lb_min(block, n_tiles - tile);
        j->first_row = first + tile * LB_TILE_ROWS;
        lb_pool_run(j->pool, convert_tile, j, n);
        for (unsigned i = 0; i < j->threads; i++) {
            LB_FAIL_IF(j->results[i].status != LBRT_OK, j->err, j->results[i].status, "%s", j->results[i].error.text);
        }
        LB_TRY(lb_writer_data(&j->writer, j->tiles, n * j->tile_bytes));
        uint64_t left = first + n_rows - j->first_row, rows = n * LB_TILE_ROWS < left ? n * LB_TILE_ROWS : left;
        j->done += rows * j->cols;
        report_progress(j, name);
    }
    return LBRT_OK;
}

uint32_t lb_convert_rotation(const char *tensor, uint32_t n, unsigned char *bytes)
{
    char name[64];
    input_name(tensor, name);
    const uint64_t input = lb_hash64(name, strlen(name));
    uint32_t block = LB_TRANSFORM_MIN_BLOCK;
    while (n % (2 * block) == 0 && block < 4096) {
        block *= 2;
    }
    lb_store_u32(bytes, block);
    lb_store_u32(bytes + 4, n);
    for (uint32_t i = 0; i < n / 8; i += 8) { /* splitmix64 */
        uint64_t z = input + 0x9e3779b97f4a7c15ull * (i / 8 + 1);
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ z >> 27) * 0x94d049bb133111ebull;
        lb_store_u64(bytes + LB_ROTATION_HEAD + i, z ^ z >> 31);
    }
    return block;
}

/* The rotation of the input that a tensor reads: made when it is first asked for, from the input's name alone. */
static lbrt_status find_rotation(convert_job *j, const char *tensor)
{
    char name[64];
    input_name(tensor, name);
    uint64_t input = lb_hash64(name, strlen(name));
    for (size_t i = 0; i < j->n_rotations; i++) {
        if (j->rotations[i].input == input) {
            j->rotation = &j->rotations[i];
            LB_FAIL_IF(j->rotation->n != j->packed_cols, j->err, LBRT_ERR_FORMAT, "%s does not fit the input that it shares", tensor);
            return LBRT_OK;
        }
    }
    convert_rotation *r = &j->rotations[j->n_rotations];
    r->input = input;
    r->n = (uint32_t)j->packed_cols;
    r->bytes = (unsigned char *)lb_alloc(&j->a, LB_ROTATION_HEAD + r->n / 8);
    LB_FAIL_IF(!r->bytes, j->err, LBRT_ERR_MEMORY, "out of memory");
    j->n_rotations++;
    r->block = lb_convert_rotation(tensor, r->n, r->bytes);
    LB_TRY(lb_writer_hadamard(&j->writer, r->block, r->n, r->bytes + LB_ROTATION_HEAD, &r->written));
    j->rotation = r;
    return LBRT_OK;
}

/* Rounding to s24q4 costs 1 % of the energy, pruning what is not 2:4 costs 13 % of N(0, 1): nothing else comes near. */
static bool was_pruned(const convert_job *j)
{
    double squares = 0, errors = 0;
    for (unsigned i = 0; i < j->threads; i++) {
        squares += j->results[i].squares;
        errors += j->results[i].errors;
    }
    return (j->format->id == LB_W_S24Q8 || j->format->id == LB_W_S24Q4) && errors > 0.03 * squares;
}

/* Not for embedding and head, for what loses nothing, and for rotated inputs, whose errors look like noise. */
static bool wants_lowrank(const convert_job *j, const lb_source_tensor *t)
{
    const size_t rank = j->options->lowrank;
    return rank > 0 && strchr(t->name, '.') && !t->ternary && j->format->reads != LB_READS_F32 && !wants_rotation(j->format, t->name) &&
           rank < t->rows && rank < t->cols;
}

/* Rows of a factor as f16; element (row, col) is x[row * by_row + col * by_col]. */
static lbrt_status write_factor(convert_job *j, const float *x, size_t rows, size_t cols, size_t by_row, size_t by_col)
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

/* ---- a sparse term beside a format ---- */

static size_t outlier_lines(const convert_job *j, const lb_source_tensor *t)
{
    const bool wanted = j->options->outliers > 0.0f && strchr(t->name, '.') && !t->ternary && j->format->reads != LB_READS_F32 &&
                        !wants_rotation(j->format, t->name) && t->cols <= 65536;
    const size_t lines = wanted ? (size_t)((double)t->cols * (double)j->options->outliers / 100.0 + 0.5) : 0;
    return lb_min(lines, (size_t)t->cols);
}

static lbrt_status convert_outliers(convert_job *j, const lb_source_tensor *t, size_t lines, uint64_t *bytes)
{
    const size_t sparse_bytes = (size_t)((t->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS) * 64 * lines;
    j->sparse = (unsigned char *)lb_alloc(&j->a, sparse_bytes);
    j->sparse_lines = lines;
    LB_FAIL_IF(!j->sparse, j->err, LBRT_ERR_MEMORY, "out of memory");
    lb_writer_tensor(&j->writer, t->name, t->rows, t->cols, 2);
    lb_writer_term(&j->writer, LB_TERM_PACKED, NULL, 0, t->rows, 0, t->cols);
    lbrt_status s = lb_writer_part(&j->writer, j->format->id, t->rows, t->cols);
    s = s == LBRT_OK ? pack_blocks(j, t->name, 0, t->rows) : s;
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

static bool wants_salient(const convert_job *j, const lb_source_tensor *t)
{
    return j->options->salient_rows > 0.0f && strchr(t->name, '.') && !t->ternary && j->format->reads != LB_READS_F32 &&
           j->format->bits < 8.0 && !wants_rotation(j->format, t->name);
}

static void choose_format(convert_job *j, const lb_wformat_info *f)
{
    j->format = f;
    j->pack = lb_packer(f->id);
    j->tile_bytes = f->tile_bytes(j->packed_cols);
}

/* Squared error of each block of rows as packed in the job's format: one item is one block, so threads do not matter. */
typedef struct salient_job {
    convert_job *j;
    double *errors;
    unsigned char *tiles; /* one per thread */
} salient_job;

static void measure_block(void *context, size_t block, unsigned thread)
{
    salient_job *s = (salient_job *)context;
    convert_job *j = s->j;
    struct convert_result result = { .status = LBRT_OK };
    float *rows = j->row_buffers + thread * j->row_buffer_floats;
    const uint64_t end = (block + 1) * SALIENT_BLOCK < j->rows ? (block + 1) * SALIENT_BLOCK : j->rows;
    for (uint64_t row = block * SALIENT_BLOCK; row < end && result.status == LBRT_OK; row += LB_TILE_ROWS) {
        const uint64_t n = end - row < LB_TILE_ROWS ? end - row : LB_TILE_ROWS;
        void *tile = s->tiles + thread * j->tile_bytes;
        result.status = j->source->read_rows(j->source, j->tensor, row, n, rows, &result.error);
        if (result.status == LBRT_OK) {
            j->pack(rows, j->packed_cols, (size_t)n, j->packed_cols, NULL, tile);
            measure_tile(j, rows, n, tile, rows + LB_TILE_ROWS * j->packed_cols, &result);
        }
    }
    s->errors[block] = result.errors;
    if (result.status != LBRT_OK) {
        j->results[thread] = result;
    }
}

/* Marks the blocks with the largest errors (errors[i] < 0: chosen). */
static void choose_blocks(const convert_job *j, double *errors, size_t n_blocks)
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

static lbrt_status write_runs(convert_job *j, const lb_source_tensor *t, const double *errors, size_t n_blocks, uint64_t *bytes)
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
        LB_TRY(pack_blocks(j, t->name, row0, end - row0));
        LB_TRY(lb_writer_part_end(&j->writer));
    }
    choose_format(j, base);
    return LBRT_OK;
}

/* Called with row_buffers and tiles in place; tiles have room for a block of q8. */
static lbrt_status convert_salient(convert_job *j, const lb_source_tensor *t, uint64_t *bytes)
{
    const size_t n_blocks = (size_t)((t->rows + SALIENT_BLOCK - 1) / SALIENT_BLOCK), tiles_bytes = j->threads * j->tile_bytes;
    salient_job job = { .j = j, .errors = (double *)lb_alloc_zero(&j->a, n_blocks, sizeof(double)),
                        .tiles = (unsigned char *)lb_alloc(&j->a, tiles_bytes) };
    lbrt_status s = LBRT_OK;
    if (!job.errors || !job.tiles) {
        s = lb_fail(j->err, LBRT_ERR_MEMORY, "out of memory");
    } else {
        lb_pool_run(j->pool, measure_block, &job, n_blocks);
        for (unsigned i = 0; i < j->threads && s == LBRT_OK; i++) {
            s = j->results[i].status == LBRT_OK ? LBRT_OK : lb_fail(j->err, j->results[i].status, "%s", j->results[i].error.text);
        }
        choose_blocks(j, job.errors, n_blocks);
        s = s == LBRT_OK ? write_runs(j, t, job.errors, n_blocks, bytes) : s;
    }
    lb_free(&j->a, job.errors, n_blocks * sizeof(double));
    lb_free(&j->a, job.tiles, tiles_bytes);
    return s;
}

/* ---- low-rank terms ---- */

static lbrt_status convert_lowrank(convert_job *j, const lb_source_tensor *t)
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
    lbrt_status s = j->source->read_rows(j->source, j->tensor, 0, t->rows, l.w, j->err);
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
        report_tensor(j, t->name, j->format->name,
                      n_tiles * (tile_bytes + f16->tile_bytes(l.rank)) +
                          (l.rank + LB_TILE_ROWS - 1) / LB_TILE_ROWS * f16->tile_bytes(l.cols),
                      NULL);
        report_progress(j, t->name);
    }
    return s;
}

/* ---- with calibration ---- */

static void read_item(void *context, size_t item, unsigned thread)
{
    convert_job *j = (convert_job *)context;
    struct convert_result *result = &j->results[thread];
    const uint64_t row = (uint64_t)item * LB_TILE_ROWS, n = j->rows - row < LB_TILE_ROWS ? j->rows - row : LB_TILE_ROWS;
    float *rows = j->matrix + row * j->packed_cols;
    if (result->status == LBRT_OK) {
        result->status = j->source->read_rows(j->source, j->tensor, row, n, rows, &result->error);
    }
    for (uint64_t r = n; r-- > 0 && !j->rotation;) { /* rotate_rows fills them up too */
        memmove(rows + r * j->packed_cols, rows + r * j->cols, (size_t)j->cols * sizeof(float));
        memset(rows + r * j->packed_cols + j->cols, 0, (size_t)(j->packed_cols - j->cols) * sizeof(float));
    }
    if (j->rotation) {
        rotate_rows(j, rows, n);
    }
}

static void feedback_item(void *context, size_t item, unsigned thread)
{
    convert_job *j = (convert_job *)context;
    const uint64_t row = (uint64_t)item * LB_FEEDBACK_ROWS, n = j->rows - row < LB_FEEDBACK_ROWS ? j->rows - row : LB_FEEDBACK_ROWS;
    lb_feedback_pack(j->format, j->factor, j->kernels, j->matrix + row * j->packed_cols, j->packed_cols, (size_t)n,
                     j->tiles + item * (LB_FEEDBACK_ROWS / LB_TILE_ROWS) * j->tile_bytes,
                     j->scratch + thread * lb_feedback_bytes(j->packed_cols), &j->feedback[item]);
}

/* The whole matrix in memory, 64 rows at a time in work on each thread */
static lbrt_status pack_with_feedback(convert_job *j, const char *name)
{
    const size_t n_tiles = (size_t)((j->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS), items = (n_tiles + 3) / 4;
    const size_t scratch_bytes = j->threads * lb_feedback_bytes(j->packed_cols);
    size_t floats, matrix_bytes;
    LB_FAIL_IF(!lb_mul_size(n_tiles * LB_TILE_ROWS, j->packed_cols, &floats) || !lb_mul_size(floats, sizeof(float), &matrix_bytes),
               j->err, LBRT_ERR_MEMORY, "out of memory");
    j->matrix = (float *)lb_alloc(&j->a, matrix_bytes);
    j->scratch = (unsigned char *)lb_alloc(&j->a, scratch_bytes);
    lbrt_status s = LBRT_OK;
    if (!j->matrix || !j->scratch) {
        s = lb_fail(j->err, LBRT_ERR_MEMORY, "out of memory for %s: %zu bytes", name, matrix_bytes);
    } else {
        lb_pool_run(j->pool, read_item, j, n_tiles);
        for (unsigned i = 0; i < j->threads && s == LBRT_OK; i++) {
            s = j->results[i].status == LBRT_OK ? LBRT_OK : lb_fail(j->err, j->results[i].status, "%s", j->results[i].error.text);
        }
        if (s == LBRT_OK) {
            lb_pool_run(j->pool, feedback_item, j, items);
            s = lb_writer_data(&j->writer, j->tiles, n_tiles * j->tile_bytes);
            j->done += j->rows * j->cols;
            report_progress(j, name);
        }
    }
    lb_free(&j->a, j->matrix, matrix_bytes);
    lb_free(&j->a, j->scratch, scratch_bytes);
    return s;
}

/* Whoever calibrates goes on with the tensor as it is packed. */
static lbrt_status hand_over(convert_job *j, const char *name, size_t tiles_bytes)
{
    lb_term term = { .kind = LB_TERM_PACKED, .n_rows = j->rows, .n_cols = j->cols, .n_parts = 1 };
    term.parts[0] = (lb_part){ .format = j->format->id,
                               .rows = j->rows,
                               .cols = j->packed_cols,
                               .data = j->tiles,
                               .bytes = tiles_bytes,
                               .tile_bytes = j->tile_bytes };
    if (j->rotation) {
        term.transform = (lb_transform_ref){ .kind = LB_TRANSFORM_HADAMARD,
                                             .block = j->rotation->block,
                                             .n = j->rotation->n,
                                             .data = j->rotation->bytes,
                                             .bytes = LB_ROTATION_HEAD + j->rotation->n / 8 };
    }
    const lb_tensor tensor = { .name = name,
                               .name_bytes = (unsigned)strlen(name),
                               .n_terms = 1,
                               .rows = j->rows,
                               .cols = j->cols,
                               .terms = &term };
    j->tiles = NULL;
    return j->options->calib->packed(j->options->calib->user, name, &tensor, j->err);
}

static lbrt_status find_factor(convert_job *j, const char *name)
{
    const lb_convert_calib *calib = j->options->calib;
    if (!calib || !lb_feedback_can(j->format->id)) {
        return LBRT_OK;
    }
    const lb_factor_options basis = { .signs = j->rotation ? j->rotation->bytes + LB_ROTATION_HEAD : NULL,
                                      .block = j->rotation ? j->rotation->block : 0,
                                      .sort = !j->rotation };
    LB_TRY(calib->factor(calib->user, name, &basis, &j->factor, j->err));
    LB_FAIL_IF(j->factor && j->factor->n != lb_round_up(j->packed_cols, LB_K_ALIGN), j->err, LBRT_ERR_FORMAT,
               "%s does not fit its input", name);
    return LBRT_OK;
}

/* The tensor in the file, packed into j->tiles. */
static lbrt_status pack_matrix(convert_job *j, const lb_source_tensor *t)
{
    lb_writer_tensor(&j->writer, t->name, t->rows, t->cols, 1);
    lb_writer_term(&j->writer, LB_TERM_PACKED, j->rotation ? &j->rotation->written : NULL, 0, t->rows, 0, t->cols);
    LB_TRY(lb_writer_part(&j->writer, j->format->id, t->rows, j->rotation ? j->packed_cols : t->cols));
    LB_TRY(j->factor ? pack_with_feedback(j, t->name) : pack_blocks(j, t->name, 0, t->rows));
    return lb_writer_part_end(&j->writer);
}

static lbrt_status convert_calibrated(convert_job *j, const lb_source_tensor *t)
{
    LB_TRY(find_factor(j, t->name));
    j->packed_cols = j->factor ? j->factor->n : j->packed_cols;
    j->tile_bytes = j->format->tile_bytes(j->packed_cols);
    const size_t n_tiles = (size_t)((t->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS), items = (n_tiles + 3) / 4;
    const size_t tiles_bytes = n_tiles * j->tile_bytes;
    j->row_buffer_floats = lb_round_up(j->packed_cols * (LB_TILE_ROWS + 1), 16);
    const size_t rows_bytes = j->threads * j->row_buffer_floats * sizeof(float);
    j->tiles = (unsigned char *)lb_alloc(&j->a, tiles_bytes);
    j->row_buffers = (float *)lb_alloc(&j->a, rows_bytes);
    j->feedback = (lb_feedback_error *)lb_alloc_zero(&j->a, items, sizeof *j->feedback);
    lbrt_status s = LBRT_OK;
    if (!j->tiles || !j->row_buffers || !j->feedback) {
        s = lb_fail(j->err, LBRT_ERR_MEMORY, "out of memory");
    } else {
        s = pack_matrix(j, t);
        s = s == LBRT_OK ? hand_over(j, t->name, tiles_bytes) : s;
    }
    if (s == LBRT_OK) {
        const bool lossy = j->format->id == LB_W_TERN && !t->ternary;
        report_tensor(j, t->name, j->format->name, tiles_bytes,
                      lossy           ? "is not ternary: rounding it to tern destroys the model's quality"
                      : was_pruned(j) ? "was not 2:4 sparse: pruning it costs much quality"
                                      : NULL);
    }
    lb_free(&j->a, j->tiles, tiles_bytes);
    lb_free(&j->a, j->row_buffers, rows_bytes);
    lb_free(&j->a, j->feedback, items * sizeof *j->feedback);
    return s;
}

static lbrt_status convert_matrix(convert_job *j, const lb_source_tensor *t)
{
    j->format = lb_wformat_find((uint32_t)lb_convert_format(j->options, t));
    j->pack = j->format ? lb_packer(j->format->id) : NULL;
    LB_FAIL_IF(!j->pack, j->err, LBRT_ERR_UNSUPPORTED, "no packer for the format of %s", t->name);
    LB_FAIL_IF(t->cols > LB_MAX_K, j->err, LBRT_ERR_UNSUPPORTED, "%s has too many columns", t->name);
    LB_FAIL_IF(j->format->id == LB_W_INT8 && t->cols > LB_INT8_MAX_K, j->err, LBRT_ERR_UNSUPPORTED,
               "%s has more columns than int8 can sum", t->name);
    j->packed_cols = (size_t)t->cols;
    j->rotation = NULL;
    if (wants_lowrank(j, t)) {
        return convert_lowrank(j, t);
    }
    if (wants_rotation(j->format, t->name)) {
        j->packed_cols = lb_round_up(j->packed_cols, LB_K_ALIGN);
        LB_TRY(find_rotation(j, t->name));
    }
    if (j->options->calib) {
        return convert_calibrated(j, t);
    }
    j->tile_bytes = j->format->tile_bytes(j->packed_cols);
    size_t block = lb_max(BLOCK_BYTES / j->tile_bytes, j->threads);
    size_t n_tiles = (size_t)((t->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS);
    const size_t lines = outlier_lines(j, t);
    const bool salient = lines == 0 && wants_salient(j, t);
    /* q8 tiles are larger, and then fewer come at once */
    size_t tiles_bytes = lb_min(block, n_tiles) * j->tile_bytes;
    tiles_bytes = salient ? lb_max(tiles_bytes, lb_max(BLOCK_BYTES, j->threads * lb_wformat_find(LB_W_Q8)->tile_bytes(j->packed_cols)))
                          : tiles_bytes;
    uint64_t written = n_tiles * j->tile_bytes;
    j->row_buffer_floats = lb_round_up(j->packed_cols * (j->options->outliers > 0.0f ? 2 * LB_TILE_ROWS : LB_TILE_ROWS + 1), 16);
    size_t rows_bytes = j->threads * j->row_buffer_floats * sizeof(float);
    j->tiles = (unsigned char *)lb_alloc(&j->a, tiles_bytes);
    j->row_buffers = (float *)lb_alloc(&j->a, rows_bytes);
    lbrt_status s = LBRT_OK;
    if (!j->tiles || !j->row_buffers) {
        s = lb_fail(j->err, LBRT_ERR_MEMORY, "out of memory");
    } else if (lines > 0) {
        s = convert_outliers(j, t, lines, &written);
    } else if (salient) {
        written = 0;
        s = convert_salient(j, t, &written);
    } else {
        lb_writer_tensor(&j->writer, t->name, t->rows, t->cols, 1);
        lb_writer_term(&j->writer, LB_TERM_PACKED, j->rotation ? &j->rotation->written : NULL, 0, t->rows, 0, t->cols);
        s = lb_writer_part(&j->writer, j->format->id, t->rows, j->packed_cols);
        s = s == LBRT_OK ? pack_blocks(j, t->name, 0, t->rows) : s;
        s = s == LBRT_OK ? lb_writer_part_end(&j->writer) : s;
    }
    lb_free(&j->a, j->tiles, tiles_bytes);
    lb_free(&j->a, j->row_buffers, rows_bytes);
    if (s == LBRT_OK) {
        const bool lossy = j->format->id == LB_W_TERN && !t->ternary;
        report_tensor(j, t->name, j->format->name, written,
                      lossy           ? "is not ternary: rounding it to tern destroys the model's quality"
                      : was_pruned(j) ? "was not 2:4 sparse: pruning it costs much quality"
                                      : NULL);
    }
    return s;
}

static lbrt_status convert_vector(convert_job *j, const lb_source_tensor *t)
{
    LB_FAIL_IF(t->rows != 1 || t->cols > 1u << 26, j->err, LBRT_ERR_FORMAT, "%s is not a vector", t->name);
    size_t bytes = (size_t)t->cols * sizeof(float);
    float *x = (float *)lb_alloc(&j->a, bytes);
    LB_FAIL_IF(!x, j->err, LBRT_ERR_MEMORY, "out of memory");
    lbrt_status s = j->source->read_rows(j->source, j->tensor, 0, 1, x, j->err);
    s = s == LBRT_OK ? lb_writer_vector(&j->writer, t->name, x, t->cols) : s;
    lb_free(&j->a, x, bytes);
    j->done += t->cols;
    if (s == LBRT_OK) {
        report_tensor(j, t->name, "f32", bytes, NULL);
    }
    return s;
}

/* Where in a token's way through the model a tensor is met: for matrices of one layer in steps that have one input each. */
static uint64_t place_of(const char *name)
{
    static const char *const steps[] = { "attn_q attn_k attn_v", "attn_o", "ffn_gate ffn_up", "ffn_down" };
    uint64_t layer = 0;
    if (strncmp(name, "layers.", 7) != 0) {
        return strncmp(name, "out_", 4) == 0 ? UINT64_MAX : 0;
    }
    for (name += 7; *name >= '0' && *name <= '9'; name++) {
        layer = 10 * layer + (uint64_t)(*name - '0');
    }
    uint64_t step = 0;
    for (uint64_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        step = *name && strstr(steps[i], name + 1) ? i : step; /* vectors: at the layer's start */
    }
    return 1 + 4 * layer + step;
}

static lbrt_status convert_tensors(convert_job *j, uint32_t *order)
{
    const lb_source *source = j->source;
    for (size_t i = 0; i < source->n_tensors; i++) { /* insertion sort: they are nearly in order */
        size_t at = i;
        const uint64_t place = place_of(source->tensors[i].name);
        for (; j->options->calib && at > 0 && place_of(source->tensors[order[at - 1]].name) > place; at--) {
            order[at] = order[at - 1];
        }
        order[at] = (uint32_t)i;
        j->total += source->tensors[i].rows * source->tensors[i].cols;
    }
    for (size_t i = 0; i < source->n_tensors; i++) {
        const lb_source_tensor *t = &source->tensors[order[i]];
        memset(j->results, 0, j->threads * sizeof *j->results);
        j->tensor = order[i];
        j->rows = t->rows;
        j->cols = t->cols;
        j->factor = NULL;
        j->started = lb_now();
        LB_TRY(lb_convert_is_vector(t->name) ? convert_vector(j, t) : convert_matrix(j, t));
    }
    return LBRT_OK;
}

static lbrt_status convert_all(convert_job *j)
{
    const lb_source *source = j->source;
    uint32_t *order = (uint32_t *)lb_alloc_zero(&j->a, source->n_tensors, sizeof *order);
    LB_FAIL_IF(!order, j->err, LBRT_ERR_MEMORY, "out of memory");
    lbrt_status done = convert_tensors(j, order);
    lb_free(&j->a, order, source->n_tensors * sizeof *order);
    LB_TRY(done);
    if (j->options->origin) {
        const lb_meta_value origin = { .key = "origin", .type = LB_META_STRING, .s = j->options->origin };
        LB_TRY(lb_writer_meta(&j->writer, &origin, false));
    }
    void *tokenizer = NULL;
    size_t tokenizer_bytes = 0;
    if (source->tokens) {
        LB_TRY(lb_tokdata_write(source->tokens, &j->a, &tokenizer, &tokenizer_bytes, j->err));
    }
    lbrt_status s = lb_writer_commit(&j->writer, &source->hparams, tokenizer, tokenizer_bytes);
    lb_free(&j->a, tokenizer, tokenizer_bytes);
    return s;
}

lbrt_status lb_convert(const lb_source *source, const char *path, const lb_convert_options *options,
                       const lbrt_allocator *a, lbrt_error *err)
{
    LB_TRY(lb_hparams_check(&source->hparams, err));
    LB_FAIL_IF(source->n_tensors == 0, err, LBRT_ERR_FORMAT, "the input has no tensors");
    convert_job j = { .source = source, .options = options, .a = *a, .err = err };
    j.threads = options->threads ? options->threads : (unsigned)lb_min(lb_cpu_count(), 64);
    size_t pool_bytes = lb_pool_bytes(j.threads), result_bytes = j.threads * sizeof *j.results;
    j.pool = (lb_pool *)lb_alloc(a, pool_bytes);
    j.results = (struct convert_result *)lb_alloc(a, result_bytes);
    j.kernels = lb_kernels_for(NULL);
    j.rotations = (convert_rotation *)lb_alloc_zero(a, source->n_tensors, sizeof *j.rotations);
    lbrt_status s = LBRT_OK;
    if (!j.pool || !j.results || !j.rotations) {
        s = lb_fail(err, LBRT_ERR_MEMORY, "out of memory");
    } else {
        s = lb_pool_start(j.pool, j.threads, err);
        if (s == LBRT_OK) {
            s = lb_writer_open(&j.writer, path, a, err);
            s = s == LBRT_OK ? convert_all(&j) : s;
            if (s == LBRT_OK && options->calib) {
                options->calib->done(options->calib->user);
            }
            lb_writer_abort(&j.writer);
            lb_pool_stop(j.pool);
        }
    }
    for (size_t i = 0; i < j.n_rotations; i++) {
        lb_free(a, j.rotations[i].bytes, LB_ROTATION_HEAD + j.rotations[i].n / 8);
    }
    lb_free(a, j.rotations, source->n_tensors * sizeof *j.rotations);
    lb_free(a, j.pool, pool_bytes);
    lb_free(a, j.results, result_bytes);
    return s;
}
