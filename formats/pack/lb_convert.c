/*
 * Conversion. Tensors are read, packed and written one block of tiles after another: memory is a few blocks, whatever the
 * model's size. Tiles of a block are packed by all threads.
 */
#include "lb_convert_job.h"

#include <math.h>

#include "../../runtime/base/lb_os.h"

/* The rotation of the input that a tensor reads: made when it is first asked for, from the input's name alone. */
static lbrt_status find_rotation(lb_convert_job *j, const char *tensor)
{
    char name[64];
    lb_convert_input(tensor, name);
    uint64_t input = lb_hash64(name, strlen(name));
    for (size_t i = 0; i < j->n_rotations; i++) {
        if (j->rotations[i].input == input) {
            j->rotation = &j->rotations[i];
            LB_FAIL_IF(j->rotation->n != j->packed_cols, j->err, LBRT_ERR_FORMAT, "%s does not fit the input that it shares", tensor);
            return LBRT_OK;
        }
    }
    lb_job_rotation *r = &j->rotations[j->n_rotations];
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

/* With --sparse: how the zeros of a layer are kept, unless a rule names its format */
static lbrt_status find_sparsity(lb_convert_job *j, const lb_source_tensor *t, lb_sparsity *out)
{
    *out = LB_SPARSITY_NONE;
    for (size_t i = 0; i < j->options->n_rules; i++) {
        if (lb_glob_match(j->options->rules[i].glob, t->name)) {
            return LBRT_OK;
        }
    }
    return j->options->sparse && strchr(t->name, '.') && !t->ternary ? lb_job_scan(j, out) : LBRT_OK;
}

static lbrt_status convert_matrix(lb_convert_job *j, const lb_source_tensor *t)
{
    j->format = lb_wformat_find((uint32_t)lb_convert_format(j->options, t));
    if (j->format && lb_packer(j->format->id) && !j->options->calib && lb_terms_wants_factors(j, t)) {
        return lb_terms_factors(j, t);
    }
    lb_sparsity sparsity;
    LB_TRY(find_sparsity(j, t, &sparsity));
    if (sparsity == LB_SPARSITY_HALF && t->cols <= LB_MAX_K) {
        j->rotation = NULL;
        return lb_terms_masked(j, t);
    }
    if (sparsity == LB_SPARSITY_24) {
        j->format = lb_wformat_find(j->format && j->format->bits < 4.5 ? LB_W_S24Q4 : LB_W_S24Q8);
    }
    j->pack = j->format ? lb_packer(j->format->id) : NULL;
    LB_FAIL_IF(!j->pack, j->err, LBRT_ERR_UNSUPPORTED, "no packer for the format of %s", t->name);
    LB_FAIL_IF(t->cols > LB_MAX_K, j->err, LBRT_ERR_UNSUPPORTED, "%s has too many columns", t->name);
    LB_FAIL_IF(j->format->id == LB_W_INT8 && t->cols > LB_INT8_MAX_K, j->err, LBRT_ERR_UNSUPPORTED,
               "%s has more columns than int8 can sum", t->name);
    j->packed_cols = (size_t)t->cols;
    j->rotation = NULL;
    if (lb_terms_wants_lowrank(j, t) && !j->options->calib) {
        return lb_terms_lowrank(j, t);
    }
    if (lb_convert_rotates(j->format, t->name)) {
        j->packed_cols = lb_round_up(j->packed_cols, LB_K_ALIGN);
        LB_TRY(find_rotation(j, t->name));
    }
    if (j->options->calib) {
        return lb_job_calibrated(j, t);
    }
    j->tile_bytes = j->format->tile_bytes(j->packed_cols);
    size_t block = lb_max(LB_JOB_BLOCK_BYTES / j->tile_bytes, j->threads);
    size_t n_tiles = (size_t)((t->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS);
    const size_t lines = lb_terms_outlier_lines(j, t);
    const bool salient = lines == 0 && lb_terms_wants_salient(j, t);
    /* q8 tiles are larger, and then fewer come at once */
    size_t tiles_bytes = lb_min(block, n_tiles) * j->tile_bytes;
    tiles_bytes = salient ? lb_max(tiles_bytes, lb_max(LB_JOB_BLOCK_BYTES, j->threads * lb_wformat_find(LB_W_Q8)->tile_bytes(j->packed_cols)))
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
        s = lb_terms_outliers(j, t, lines, &written);
    } else if (salient) {
        written = 0;
        s = lb_terms_salient(j, t, &written);
    } else {
        lb_writer_tensor(&j->writer, t->name, t->rows, t->cols, 1);
        lb_writer_term(&j->writer, LB_TERM_PACKED, j->rotation ? &j->rotation->written : NULL, 0, t->rows, 0, t->cols);
        s = lb_writer_part(&j->writer, j->format->id, t->rows, j->packed_cols);
        s = s == LBRT_OK ? lb_job_pack(j, t->name, 0, t->rows) : s;
        s = s == LBRT_OK ? lb_writer_part_end(&j->writer) : s;
    }
    lb_free(&j->a, j->tiles, tiles_bytes);
    lb_free(&j->a, j->row_buffers, rows_bytes);
    if (s == LBRT_OK) {
        const bool lossy = j->format->id == LB_W_TERN && !t->ternary;
        lb_job_report(j, t->name, j->format->name, written,
                      lossy           ? "is not ternary: rounding it to tern destroys the model's quality"
                      : lb_job_was_pruned(j) ? "was not 2:4 sparse: pruning it costs much quality"
                      : lb_job_hides_zeros(j) ? "has many zeros: --sparse keeps 2:4 patterns and masks in fewer bytes"
                                      : NULL);
    }
    return s;
}

/* The engine refuses frequencies beyond LB_ROPE_FASTEST: better now than when the file is opened. */
static lbrt_status check_factors(const lb_hparams *h, const float *factors, uint64_t n, lbrt_error *err)
{
    const double all = h->rope_scaling == LB_ROPE_LINEAR ? (double)h->rope_factor : 1.0;
    for (uint64_t i = 0; i < n; i++) {
        LB_FAIL_IF(!(fabs((double)factors[i]) * all >= 1.0 / LB_ROPE_FASTEST && isfinite(factors[i])), err, LBRT_ERR_FORMAT,
                   "rope_factors: number %llu is out of range", (unsigned long long)i);
    }
    return LBRT_OK;
}

static lbrt_status convert_vector(lb_convert_job *j, const lb_source_tensor *t)
{
    LB_FAIL_IF(t->rows != 1 || t->cols > 1u << 26, j->err, LBRT_ERR_FORMAT, "%s is not a vector", t->name);
    size_t bytes = (size_t)t->cols * sizeof(float);
    float *x = (float *)lb_alloc(&j->a, bytes);
    LB_FAIL_IF(!x, j->err, LBRT_ERR_MEMORY, "out of memory");
    lbrt_status s = j->source->read_rows(j->source, j->tensor, 0, 1, x, j->err);
    for (uint64_t i = 0; i < t->cols && s == LBRT_OK; i++) { /* of norms and biases: nothing could come of them */
        s = isfinite(x[i]) ? s : lb_fail(j->err, LBRT_ERR_FORMAT, "%s has numbers that are not finite", t->name);
    }
    s = s == LBRT_OK && strcmp(t->name, "rope_factors") == 0 ? check_factors(&j->source->hparams, x, t->cols, j->err) : s;
    s = s == LBRT_OK ? lb_writer_vector(&j->writer, t->name, x, t->cols) : s;
    lb_free(&j->a, x, bytes);
    j->done += t->cols;
    if (s == LBRT_OK) {
        lb_job_report(j, t->name, "f32", bytes, NULL);
    }
    return s;
}

static lbrt_status convert_tensors(lb_convert_job *j, uint32_t *order)
{
    const lb_source *source = j->source;
    for (size_t i = 0; i < source->n_tensors; i++) { /* insertion sort: they are nearly in order */
        size_t at = i;
        const uint64_t place = lb_convert_place(source->tensors[i].name);
        for (; j->options->calib && at > 0 && lb_convert_place(source->tensors[order[at - 1]].name) > place; at--) {
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

static lbrt_status convert_all(lb_convert_job *j)
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
    lb_convert_job j = { .source = source, .options = options, .a = *a, .err = err };
    j.threads = options->threads ? options->threads : (unsigned)lb_min(lb_cpu_count(), 64);
    size_t pool_bytes = lb_pool_bytes(j.threads), result_bytes = j.threads * sizeof *j.results;
    j.pool = (lb_pool *)lb_alloc(a, pool_bytes);
    j.results = (lb_job_result *)lb_alloc(a, result_bytes);
    lb_kernels_get(&j.kernels, NULL);
    j.rotations = (lb_job_rotation *)lb_alloc_zero(a, source->n_tensors, sizeof *j.rotations);
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
