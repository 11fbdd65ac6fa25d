/* With calibration: a whole matrix at a time, packed with error feedback where its format can. */
#include "lb_convert_job.h"

static void read_item(void *context, size_t item, unsigned thread)
{
    lb_convert_job *j = (lb_convert_job *)context;
    lb_job_result *result = &j->results[thread];
    const uint64_t row = (uint64_t)item * LB_TILE_ROWS, n = j->rows - row < LB_TILE_ROWS ? j->rows - row : LB_TILE_ROWS;
    float *rows = j->matrix + row * j->packed_cols;
    if (result->status == LBRT_OK) {
        lb_job_read(j, row, n, rows, result);
    }
    for (uint64_t r = n; r-- > 0 && !j->rotation;) { /* lb_job_rotate_rows fills them up too */
        memmove(rows + r * j->packed_cols, rows + r * j->cols, (size_t)j->cols * sizeof(float));
        memset(rows + r * j->packed_cols + j->cols, 0, (size_t)(j->packed_cols - j->cols) * sizeof(float));
    }
    if (j->rotation) {
        lb_job_rotate_rows(j, rows, n);
    }
}

static void feedback_item(void *context, size_t item, unsigned thread)
{
    lb_convert_job *j = (lb_convert_job *)context;
    const uint64_t row = (uint64_t)item * LB_FEEDBACK_ROWS, n = j->rows - row < LB_FEEDBACK_ROWS ? j->rows - row : LB_FEEDBACK_ROWS;
    lb_feedback_pack(j->format, j->factor, &j->kernels, j->matrix + row * j->packed_cols, j->packed_cols, (size_t)n,
                     j->tiles + item * (LB_FEEDBACK_ROWS / LB_TILE_ROWS) * j->tile_bytes,
                     j->scratch + thread * lb_feedback_bytes(j->packed_cols), &j->feedback[item]);
}

/* The whole matrix in memory, 64 rows at a time in work on each thread */
static lbrt_status pack_with_feedback(lb_convert_job *j, const lb_source_tensor *t, lb_job_beside *beside)
{
    const char *name = t->name;
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
        s = lb_job_status(j);
        s = s == LBRT_OK ? lb_terms_take(j, t, beside) : s;
        if (s == LBRT_OK) {
            lb_pool_run(j->pool, feedback_item, j, items);
            s = beside->salient ? lb_terms_choose_salient(j, beside) : lb_writer_data(&j->writer, j->tiles, n_tiles * j->tile_bytes);
            j->done += j->rows * j->cols;
            lb_job_progress(j, name);
        }
    }
    lb_free(&j->a, j->matrix, matrix_bytes);
    lb_free(&j->a, j->scratch, scratch_bytes);
    return s;
}

lbrt_status lb_job_hand_over(lb_convert_job *j, const char *name, size_t tiles_bytes)
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

/* E[x_c^2] is the c-th diagonal element of R R'. */
static lbrt_status find_importance(lb_convert_job *j)
{
    const lb_factor *f = j->factor;
    j->importance = (float *)lb_alloc_zero(&j->a, f->n, sizeof(float));
    LB_FAIL_IF(!j->importance, j->err, LBRT_ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < f->n; i++) {
        double sum = 0.0;
        for (size_t k = i; k < f->n; k++) {
            const double r = (double)f->tiles[(k / LB_TILE_ROWS * f->n + i) * LB_TILE_ROWS + k % LB_TILE_ROWS];
            sum += r * r;
        }
        j->importance[f->order ? f->order[i] : i] = (float)sum;
    }
    return LBRT_OK;
}

/* Outliers are chosen by it too. For 2:4 formats only the diagonal of the moments is used: pruning by Wanda (arXiv 2306.11695). */
static lbrt_status find_factor(lb_convert_job *j, const char *name)
{
    const lb_convert_calib *calib = j->options->calib;
    const bool prunes = j->format->id == LB_W_S24Q8 || j->format->id == LB_W_S24Q4;
    if (!calib || (!lb_feedback_can(j->format->id) && !prunes)) {
        return LBRT_OK;
    }
    const lb_factor_options basis = { .signs = j->rotation ? j->rotation->bytes + LB_ROTATION_HEAD : NULL,
                                      .block = j->rotation ? j->rotation->block : 0,
                                      .sort = !j->rotation };
    LB_TRY(calib->factor(calib->user, name, &basis, &j->factor, j->err));
    LB_FAIL_IF(j->factor && j->factor->n != lb_round_up(j->packed_cols, LB_K_ALIGN), j->err, LBRT_ERR_FORMAT,
               "%s does not fit its input", name);
    if (j->factor && (prunes || j->options->outliers > 0.0f)) {
        LB_TRY(find_importance(j));
    }
    j->factor = prunes ? NULL : j->factor;
    return LBRT_OK;
}

/*
 * A matrix with something beside it goes on as plain numbers, the sum, in f16: what calibration sees of later layers lacks only the
 * rounding of this one's activations.
 */
static lbrt_status sum_up(lb_convert_job *j, const lb_job_beside *b, size_t *tiles_bytes)
{
    const lb_wformat_info *f16 = lb_wformat_find(LB_W_F16);
    const size_t n_tiles = (size_t)((j->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS), tile_bytes = f16->tile_bytes(j->packed_cols);
    const size_t rows_bytes = LB_TILE_ROWS * j->packed_cols * sizeof(float);
    unsigned char *tiles = (unsigned char *)lb_alloc(&j->a, n_tiles * tile_bytes);
    float *rows = (float *)lb_alloc(&j->a, rows_bytes);
    lbrt_status s = tiles && rows ? LBRT_OK : lb_fail(j->err, LBRT_ERR_MEMORY, "out of memory");
    const lb_wformat_info *q8 = lb_wformat_find(LB_W_Q8);
    const unsigned char *fine = b->fine;
    for (size_t i = 0; i < n_tiles && s == LBRT_OK; i++) {
        const size_t row = i * LB_TILE_ROWS, n = lb_min(LB_TILE_ROWS, (size_t)j->rows - row);
        const bool is_fine = b->salient && b->errors[row / LB_FEEDBACK_ROWS] < 0.0;
        for (size_t r = 0; r < n; r++) {
            (is_fine ? q8 : j->format)->unpack(is_fine ? fine : j->tiles + i * j->tile_bytes, j->packed_cols, r, rows + r * j->packed_cols);
        }
        fine += is_fine ? q8->tile_bytes(j->packed_cols) : 0;
        lb_terms_add_beside(j, b, row, n, rows, j->packed_cols);
        lb_pack_f16(rows, j->packed_cols, n, j->packed_cols, NULL, tiles + i * tile_bytes);
    }
    lb_free(&j->a, rows, rows_bytes);
    lb_free(&j->a, j->tiles, *tiles_bytes);
    j->tiles = tiles;
    j->format = f16;
    j->tile_bytes = tile_bytes;
    *tiles_bytes = n_tiles * tile_bytes;
    return s;
}

/* The tensor in the file, packed into j->tiles. */
static lbrt_status pack_matrix(lb_convert_job *j, const lb_source_tensor *t, lb_job_beside *beside, uint64_t *bytes)
{
    const bool outliers = lb_terms_outlier_lines(j, t) > 0, more = j->factor && (outliers || lb_terms_wants_lowrank(j, t));
    LB_FAIL_IF(!lb_feedback_can(j->format->id) && (outliers || lb_terms_wants_salient(j, t) || lb_terms_wants_lowrank(j, t)), j->err, LBRT_ERR_UNSUPPORTED,
               "%s: with calibration, --outliers, --salient-rows and --lowrank need a format that takes error feedback, which %s does not", t->name,
               j->format->name);
    beside->salient = j->factor && !more && lb_terms_wants_salient(j, t);
    if (beside->salient) {
        LB_TRY(pack_with_feedback(j, t, beside));
        return lb_terms_write_salient(j, t, beside, bytes);
    }
    lb_writer_tensor(&j->writer, t->name, t->rows, t->cols, more ? 2 : 1);
    lb_writer_term(&j->writer, LB_TERM_PACKED, j->rotation ? &j->rotation->written : NULL, 0, t->rows, 0, t->cols);
    LB_TRY(lb_writer_part(&j->writer, j->format->id, t->rows, j->rotation ? j->packed_cols : t->cols));
    LB_TRY(j->factor ? pack_with_feedback(j, t, beside) : lb_job_pack(j, t->name, 0, t->rows));
    LB_TRY(lb_writer_part_end(&j->writer));
    return lb_terms_write_beside(j, t, beside, bytes);
}

lbrt_status lb_job_calibrated(lb_convert_job *j, const lb_source_tensor *t)
{
    const size_t importance_bytes = lb_round_up((size_t)t->cols, LB_K_ALIGN) * sizeof(float);
    LB_TRY(find_factor(j, t->name));
    j->packed_cols = j->factor ? j->factor->n : j->packed_cols;
    j->tile_bytes = j->format->tile_bytes(j->packed_cols);
    const size_t n_tiles = (size_t)((t->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS), items = (n_tiles + 3) / 4;
    size_t tiles_bytes = n_tiles * j->tile_bytes;
    uint64_t bytes = tiles_bytes;
    const lb_wformat_info *format = j->format;
    lb_job_beside beside = { 0 };
    j->row_buffer_floats = lb_round_up(j->packed_cols * (LB_TILE_ROWS + 1), 16);
    const size_t rows_bytes = j->threads * j->row_buffer_floats * sizeof(float);
    j->tiles = (unsigned char *)lb_alloc(&j->a, tiles_bytes);
    j->row_buffers = (float *)lb_alloc(&j->a, rows_bytes);
    j->feedback = (lb_feedback_error *)lb_alloc_zero(&j->a, items, sizeof *j->feedback);
    lbrt_status s = LBRT_OK;
    if (!j->tiles || !j->row_buffers || !j->feedback) {
        s = lb_fail(j->err, LBRT_ERR_MEMORY, "out of memory");
    } else {
        s = pack_matrix(j, t, &beside, &bytes);
        s = s == LBRT_OK && (beside.lines || beside.rank || beside.salient) ? sum_up(j, &beside, &tiles_bytes) : s;
        s = s == LBRT_OK ? lb_job_hand_over(j, t->name, tiles_bytes) : s;
    }
    if (s == LBRT_OK) {
        const bool lossy = j->format->id == LB_W_TERN && !t->ternary;
        j->format = format;
        lb_job_report(j, t->name, format->name, bytes,
                      lossy           ? "is not ternary: rounding it to tern destroys the model's quality"
                      : lb_job_was_pruned(j) ? "was not 2:4 sparse: pruning it costs much quality"
                                      : NULL);
    }
    lb_free(&j->a, j->tiles, tiles_bytes);
    lb_free(&j->a, j->row_buffers, rows_bytes);
    lb_free(&j->a, j->feedback, items * sizeof *j->feedback);
    lb_terms_free_beside(j, t, &beside);
    lb_free(&j->a, j->importance, importance_bytes);
    j->importance = NULL;
    return s;
}
