/* The tensor at work: rows are read, rotated, packed by all threads and written, a block of tiles after another. */
#include "lb_convert_job.h"

#include <math.h>

#include "../../runtime/base/lb_os.h"
#include "lb_outliers.h"

void lb_job_measure_tile(const lb_convert_job *j, const float *rows, uint64_t n, const void *tile, float *row,
                         lb_job_result *result)
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

/* From the last row on, as rows grow in place. */
void lb_job_read(lb_convert_job *j, uint64_t row, uint64_t n, float *rows, lb_job_result *result)
{
    result->status = j->source->read_rows(j->source, j->tensor, row, n, rows, &result->error);
    for (uint64_t i = 0; i < n * j->cols && result->status == LBRT_OK; i++) {
        if (!isfinite(rows[i])) {
            rows[i] = 0.0f;
            result->not_finite = true;
        }
    }
}

void lb_job_rotate_rows(const lb_convert_job *j, float *rows, uint64_t n)
{
    const size_t cols = (size_t)j->cols, to = j->packed_cols;
    for (uint64_t r = n; r-- > 0;) {
        float *row = rows + r * to;
        memmove(row, rows + r * cols, cols * sizeof(float));
        memset(row + cols, 0, (to - cols) * sizeof(float));
        j->kernels.hadamard(row, row, j->rotation->bytes + LB_ROTATION_HEAD, to, j->rotation->block);
    }
}

static void convert_tile(void *context, size_t item, unsigned thread)
{
    lb_convert_job *j = (lb_convert_job *)context;
    lb_job_result *result = &j->results[thread];
    if (result->status != LBRT_OK) {
        return;
    }
    float *rows = j->row_buffers + thread * j->row_buffer_floats;
    uint64_t row = j->first_row + item * LB_TILE_ROWS;
    uint64_t n = j->rows - row < LB_TILE_ROWS ? j->rows - row : LB_TILE_ROWS;
    lb_job_read(j, row, n, rows, result);
    if (result->status == LBRT_OK) {
        unsigned char *tile = j->tiles + item * j->tile_bytes;
        if (j->rotation) {
            lb_job_rotate_rows(j, rows, n);
        }
        if (j->sparse) {
            double squares;
            result->errors += lb_pack_outliers(j->format, rows, (size_t)n, j->packed_cols, j->sparse_lines,
                                               rows + LB_TILE_ROWS * j->packed_cols, tile,
                                               j->sparse + row / LB_TILE_ROWS * 64 * j->sparse_lines, &squares);
            result->squares += squares;
            return;
        }
        if (!j->rotation) {
            lb_job_count_zeros(rows, n, j->packed_cols, j->packed_cols, result);
        }
        j->pack(rows, j->packed_cols, (size_t)n, j->packed_cols, j->importance, tile);
        lb_job_measure_tile(j, rows, n, tile, rows + LB_TILE_ROWS * j->packed_cols, result);
    }
}

void lb_job_progress(const lb_convert_job *j, const char *name)
{
    if (j->options->progress) {
        j->options->progress(j->options->user, j->total ? (double)j->done / (double)j->total : 1.0, name);
    }
}

void lb_job_report(const lb_convert_job *j, const char *name, const char *format, uint64_t bytes, const char *warning)
{
    double squares = 0, errors = 0;
    for (unsigned i = 0; i < j->threads; i++) {
        warning = j->results[i].not_finite ? "has weights that are no finite numbers: they became 0" : warning;
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

lbrt_status lb_job_status(const lb_convert_job *j)
{
    for (unsigned i = 0; i < j->threads; i++) {
        LB_FAIL_IF(j->results[i].status != LBRT_OK, j->err, j->results[i].status, "%s", j->results[i].error.text);
    }
    return LBRT_OK;
}

lbrt_status lb_job_pack(lb_convert_job *j, const char *name, uint64_t first, uint64_t n_rows)
{
    size_t n_tiles = (size_t)((n_rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS);
    const size_t block = j->options->calib ? n_tiles : lb_max(LB_JOB_BLOCK_BYTES / j->tile_bytes, j->threads);
    for (size_t tile = 0; tile < n_tiles; tile += block) {
        size_t n = lb_min(block, n_tiles - tile);
        j->first_row = first + tile * LB_TILE_ROWS;
        lb_pool_run(j->pool, convert_tile, j, n);
        LB_TRY(lb_job_status(j));
        LB_TRY(lb_writer_data(&j->writer, j->tiles, n * j->tile_bytes));
        uint64_t left = first + n_rows - j->first_row, rows = n * LB_TILE_ROWS < left ? n * LB_TILE_ROWS : left;
        j->done += rows * j->cols;
        lb_job_progress(j, name);
    }
    return LBRT_OK;
}

bool lb_job_hides_zeros(const lb_convert_job *j)
{
    return j->format->reads != LB_READS_F32 && j->format->id != LB_W_S24Q8 && j->format->id != LB_W_S24Q4 && j->format->id != LB_W_TERN &&
           lb_job_sparsity(j) != LB_SPARSITY_NONE;
}

/* Rounding to s24q4 costs 1 % of the energy, pruning what is not 2:4 costs 13 % of N(0, 1): nothing else comes near. */
bool lb_job_was_pruned(const lb_convert_job *j)
{
    double squares = 0, errors = 0;
    for (unsigned i = 0; i < j->threads; i++) {
        squares += j->results[i].squares;
        errors += j->results[i].errors;
    }
    return (j->format->id == LB_W_S24Q8 || j->format->id == LB_W_S24Q4) && errors > 0.03 * squares;
}
