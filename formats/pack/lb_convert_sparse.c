/* Matrices that are mostly zero already: finding them, and masks with values. */
#include "lb_convert_job.h"

#include "../../kernels/lb_layout.h"

void lb_job_count_zeros(const float *rows, uint64_t n, size_t cols, size_t stride, lb_job_result *result)
{
    for (uint64_t r = 0; r < n; r++) {
        const float *x = rows + r * stride;
        for (size_t c = 0; c < cols; c += 4) {
            unsigned kept = 0;
            const size_t end = lb_min(cols, c + 4);
            for (size_t i = c; i < end; i++) {
                kept += x[i] != 0.0f;
            }
            result->zeros += end - c - kept;
            result->crowded += kept > 2;
        }
    }
    result->weights += n * cols;
}

lb_sparsity lb_job_sparsity(const lb_convert_job *j)
{
    uint64_t weights = 0, zeros = 0, crowded = 0;
    for (unsigned i = 0; i < j->threads; i++) {
        weights += j->results[i].weights;
        zeros += j->results[i].zeros;
        crowded += j->results[i].crowded;
    }
    /* An all zero matrix is 2:4 too, and is no sign of anything. Masks beat s24q8 where more than 5 of 8 are zero. */
    return zeros < weights && crowded == 0 && zeros * 8 <= weights * 5 ? LB_SPARSITY_24
           : zeros < weights && zeros * 2 > weights                    ? LB_SPARSITY_HALF
                                                                       : LB_SPARSITY_NONE;
}

static void scan_item(void *context, size_t item, unsigned thread)
{
    lb_convert_job *j = (lb_convert_job *)context;
    lb_job_result *result = &j->results[thread];
    float *rows = j->row_buffers + thread * j->row_buffer_floats;
    const uint64_t row = item * LB_TILE_ROWS, n = j->rows - row < LB_TILE_ROWS ? j->rows - row : LB_TILE_ROWS;
    if (result->status == LBRT_OK) {
        lb_job_read(j, row, n, rows, result);
        if (result->status == LBRT_OK) {
            lb_job_count_zeros(rows, n, (size_t)j->cols, (size_t)j->cols, result);
        }
    }
}

lbrt_status lb_job_scan(lb_convert_job *j, lb_sparsity *out)
{
    j->row_buffer_floats = lb_round_up((size_t)j->cols * LB_TILE_ROWS, 16);
    const size_t bytes = j->threads * j->row_buffer_floats * sizeof(float);
    j->row_buffers = (float *)lb_alloc(&j->a, bytes);
    LB_FAIL_IF(!j->row_buffers, j->err, LBRT_ERR_MEMORY, "out of memory");
    lb_pool_run(j->pool, scan_item, j, (size_t)((j->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS));
    lb_free(&j->a, j->row_buffers, bytes);
    j->row_buffers = NULL;
    LB_TRY(lb_job_status(j));
    *out = lb_job_sparsity(j);
    memset(j->results, 0, j->threads * sizeof *j->results);
    return LBRT_OK;
}

/* A tile of q8 as a masked one, in place: scales stay, codes become masks and those of them that are not zero. Bytes of the values. */
static size_t mask_tile(unsigned char *tile, const unsigned char *codes, size_t cols)
{
    unsigned char *values = tile + lb_masked_values_at(cols);
    size_t n = 0;
    for (size_t q = 0; q < lb_round_up64(cols) / 4; q++) {
        uint64_t mask = 0;
        for (size_t i = 0; i < 64; i++) {
            values[n] = codes[64 * q + i];
            mask |= (uint64_t)(values[n] != 128) << i;
            n += values[n] != 128;
        }
        lb_store_u64(tile + lb_masked_masks_at(cols) + 8 * q, mask);
    }
    return n;
}

/* Tiles of masks with room for every value; the true size of each is at its end. */
typedef struct masked_job {
    lb_convert_job *j;
    size_t room;
    unsigned char *tiles;
} masked_job;

static void masked_item(void *context, size_t item, unsigned thread)
{
    masked_job *m = (masked_job *)context;
    lb_convert_job *j = m->j;
    lb_job_result *result = &j->results[thread];
    const size_t cols = (size_t)j->cols, q8_bytes = lb_q8_tile_bytes(cols);
    float *rows = j->row_buffers + thread * j->row_buffer_floats;
    unsigned char *q8 = j->tiles + (j->options->calib ? item : thread) * q8_bytes, *tile = m->tiles + item * m->room;
    const uint64_t row = item * LB_TILE_ROWS, n = j->rows - row < LB_TILE_ROWS ? j->rows - row : LB_TILE_ROWS;
    if (result->status != LBRT_OK) {
        return;
    }
    lb_job_read(j, row, n, rows, result);
    if (result->status == LBRT_OK) {
        j->pack(rows, cols, (size_t)n, cols, NULL, q8);
        lb_job_measure_tile(j, rows, n, q8, rows + LB_TILE_ROWS * cols, result);
        memcpy(tile, q8, lb_q8_codes_at(cols));
        lb_store_u64(tile + m->room - 8, mask_tile(tile, q8 + lb_q8_codes_at(cols), cols));
    }
}

static lbrt_status write_masked(masked_job *m, const lb_source_tensor *t)
{
    lb_convert_job *j = m->j;
    const size_t n_tiles = (size_t)((t->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS), values_at = lb_masked_values_at((size_t)t->cols);
    lb_pool_run(j->pool, masked_item, m, n_tiles);
    LB_TRY(lb_job_status(j));
    size_t most = 1;
    for (size_t i = 0; i < n_tiles; i++) {
        most = lb_max(most, (size_t)lb_load_u64(m->tiles + (i + 1) * m->room - 8));
    }
    const size_t tile_bytes = values_at + lb_round_up(most + 63, 64); /* kernels read 64 from the last quad's first on */
    lb_writer_tensor(&j->writer, t->name, t->rows, t->cols, 1);
    lb_writer_term(&j->writer, LB_TERM_MASKED, NULL, 0, t->rows, 0, t->cols);
    LB_TRY(lb_writer_part(&j->writer, LB_W_NONE, t->rows, t->cols));
    for (size_t i = 0; i < n_tiles; i++) {
        unsigned char *tile = m->tiles + i * m->room;
        const size_t n = (size_t)lb_load_u64(tile + m->room - 8);
        memset(tile + values_at + n, 0, m->room - values_at - n);
        LB_TRY(lb_writer_data(&j->writer, tile, tile_bytes));
    }
    LB_TRY(lb_writer_part_end(&j->writer));
    j->done += t->rows * t->cols;
    lb_job_progress(j, t->name);
    lb_job_report(j, t->name, "masked", n_tiles * tile_bytes, NULL);
    return LBRT_OK;
}

lbrt_status lb_terms_masked(lb_convert_job *j, const lb_source_tensor *t)
{
    const size_t cols = (size_t)t->cols, n_tiles = (size_t)((t->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS);
    masked_job m = { .j = j, .room = lb_masked_values_at(cols) + lb_round_up64(cols) * LB_TILE_ROWS + 128 };
    j->format = lb_wformat_find(LB_W_Q8);
    j->pack = lb_packer(LB_W_Q8);
    j->packed_cols = cols;
    j->row_buffer_floats = lb_round_up(cols * (LB_TILE_ROWS + 1), 16);
    const size_t rows_bytes = j->threads * j->row_buffer_floats * sizeof(float);
    j->tile_bytes = lb_q8_tile_bytes(cols);
    const size_t q8_bytes = (j->options->calib ? n_tiles : j->threads) * j->tile_bytes; /* calibration goes on with all of them */
    m.tiles = (unsigned char *)lb_alloc_zero(&j->a, n_tiles, m.room);
    j->tiles = (unsigned char *)lb_alloc(&j->a, q8_bytes);
    j->row_buffers = (float *)lb_alloc(&j->a, rows_bytes);
    lbrt_status s = m.tiles && j->tiles && j->row_buffers ? write_masked(&m, t) : lb_fail(j->err, LBRT_ERR_MEMORY, "out of memory");
    s = s == LBRT_OK && j->options->calib ? lb_job_hand_over(j, t->name, q8_bytes) : s;
    lb_free(&j->a, m.tiles, n_tiles * m.room);
    lb_free(&j->a, j->tiles, q8_bytes);
    lb_free(&j->a, j->row_buffers, rows_bytes);
    return s;
}
