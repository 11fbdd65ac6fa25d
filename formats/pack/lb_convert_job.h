/* One conversion at work: what its rooms share. */
#ifndef LB_CONVERT_JOB_H
#define LB_CONVERT_JOB_H

#include "../../runtime/base/lb_threads.h"
#include "lb_convert.h"
#include "lb_feedback.h"
#include "lb_pack.h"
#include "lb_writer.h"

/* About this many bytes of packed tiles are in memory at once. */
#define LB_JOB_BLOCK_BYTES ((size_t)8 << 20)

typedef struct lb_job_rotation {
    uint64_t input; /* hash of the input's name */
    uint32_t block, n;
    unsigned char *bytes; /* as in the file: block, n, signs */
    lb_writer_transform written;
} lb_job_rotation;

typedef struct lb_job_result {
    lbrt_status status;
    lbrt_error error;
    double squares, errors;
    uint64_t weights, zeros, crowded; /* crowded: quads of columns with more than two that are not zero */
    char pad[64];
    bool not_finite; /* weights that are no finite numbers became 0 */
} lb_job_result;

typedef struct lb_convert_job {
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
    const lb_job_rotation *rotation;  /* NULL: none */
    lb_kernels kernels;
    lb_job_rotation *rotations;       /* of all inputs so far; room for one per tensor */
    size_t n_rotations;
    size_t tile_bytes;
    unsigned char *tiles;
    unsigned char *sparse; /* with outliers: the sparse tiles of the whole tensor, else NULL */
    size_t sparse_lines;   /* of a tile */
    float *row_buffers; /* per thread: 16 rows and one unpacked row, with outliers 16 */
    size_t row_buffer_floats;
    lb_job_result *results; /* per thread */

    /* calibrated */
    const lb_factor *factor;        /* NULL: without */
    float *importance;              /* [cols], mean squares of the input, for 2:4 formats; NULL: none */
    float *matrix;                  /* [rows][packed_cols] */
    lb_feedback_error *feedback;    /* per 64 rows */
    unsigned char *scratch;         /* per thread */
    double started;
} lb_convert_job;

/* ---- lb_convert_names.c ---- */

/* Trellis codes want weights that look Gaussian: their input is rotated. An embedding's rows are looked up, so it is not. */
bool lb_convert_rotates(const lb_wformat_info *f, const char *tensor);

/* Tensors that read the same activations share a rotation; this names the input that a tensor reads. */
void lb_convert_input(const char *tensor, char out[64]);

/* Where in a token's way through the model a tensor is met: for matrices of one layer in steps that have one input each. */
uint64_t lb_convert_place(const char *name);

/* ---- lb_convert_job.c ---- */

/* Adds sums of squares, of n rows of weights and of their error after packing; `row` has room for one. */
void lb_job_measure_tile(const lb_convert_job *j, const float *rows, uint64_t n, const void *tile, float *row, lb_job_result *result);

/* Rows of the tensor as floats, cols apart, into result's status. What is no finite number becomes 0: it would spread over what is packed with it. */
void lb_job_read(lb_convert_job *j, uint64_t row, uint64_t n, float *rows, lb_job_result *result);

/* W x = (W R') (R x): a row of weights is rotated as the input will be. Rows come cols apart and leave packed_cols apart. */
void lb_job_rotate_rows(const lb_convert_job *j, float *rows, uint64_t n);

/* Packs and writes rows first .. first + n_rows - 1 of the tensor, in the job's format. */
lbrt_status lb_job_pack(lb_convert_job *j, const char *name, uint64_t first, uint64_t n_rows);

/* The first failure among the threads' results. */
lbrt_status lb_job_status(const lb_convert_job *j);

void lb_job_progress(const lb_convert_job *j, const char *name);
void lb_job_report(const lb_convert_job *j, const char *name, const char *format, uint64_t bytes, const char *warning);

/* True if the tensor was pruned to 2:4 and had not been so. */
bool lb_job_was_pruned(const lb_convert_job *j);

/* True if the tensor is sparse and its format makes nothing of it. */
bool lb_job_hides_zeros(const lb_convert_job *j);

/* ---- lb_convert_terms.c: called with row_buffers and tiles in place, but for lowrank ---- */

size_t lb_terms_outlier_lines(const lb_convert_job *j, const lb_source_tensor *t); /* of the sparse term's tiles; 0: none is wanted */
lbrt_status lb_terms_outliers(lb_convert_job *j, const lb_source_tensor *t, size_t lines, uint64_t *bytes);
bool lb_terms_wants_salient(const lb_convert_job *j, const lb_source_tensor *t);
lbrt_status lb_terms_salient(lb_convert_job *j, const lb_source_tensor *t, uint64_t *bytes);
bool lb_terms_wants_lowrank(const lb_convert_job *j, const lb_source_tensor *t);
lbrt_status lb_terms_lowrank(lb_convert_job *j, const lb_source_tensor *t);
bool lb_terms_wants_factors(const lb_convert_job *j, const lb_source_tensor *t); /* it comes as two, and they are smaller than their product */
lbrt_status lb_terms_factors(lb_convert_job *j, const lb_source_tensor *t);

/*
 * With calibration: what is beside a matrix is taken from it before it is packed with feedback, which then makes good the rest of it too.
 * b is zeroed at first and freed at the end; it stays empty if nothing is wanted.
 */
typedef struct lb_job_beside {
    size_t lines; /* of a sparse term's tiles; 0: none */
    unsigned char *sparse;
    size_t sparse_bytes;
    size_t rank;  /* of a low-rank term; 0: none */
    float *a, *b; /* [rows][rank], [cols][rank], as f16 has them */
    bool salient;         /* some blocks of LB_FEEDBACK_ROWS rows are q8 */
    double *errors;       /* of each block; below 0: q8 */
    unsigned char *fine;  /* tiles of those blocks, in order */
    size_t n_blocks, fine_bytes;
} lb_job_beside;
lbrt_status lb_terms_choose_salient(lb_convert_job *j, lb_job_beside *b); /* j->matrix is packed with feedback: the worst blocks again, as q8 */
lbrt_status lb_terms_write_salient(lb_convert_job *j, const lb_source_tensor *t, const lb_job_beside *b, uint64_t *bytes); /* and all others */
lbrt_status lb_terms_take(lb_convert_job *j, const lb_source_tensor *t, lb_job_beside *b); /* from j->matrix */
lbrt_status lb_terms_write_beside(lb_convert_job *j, const lb_source_tensor *t, const lb_job_beside *b, uint64_t *bytes);
void lb_terms_add_beside(const lb_convert_job *j, const lb_job_beside *b, uint64_t row, uint64_t n, float *rows, size_t stride);
void lb_terms_free_beside(lb_convert_job *j, const lb_source_tensor *t, lb_job_beside *b);

/* ---- lb_convert_sparse.c ---- */

/* Counts the zeros of n rows. */
void lb_job_count_zeros(const float *rows, uint64_t n, size_t cols, size_t stride, lb_job_result *result);

typedef enum lb_sparsity { LB_SPARSITY_NONE, LB_SPARSITY_24, LB_SPARSITY_HALF } lb_sparsity; /* HALF: more than half is zero */

/* By what was counted. */
lb_sparsity lb_job_sparsity(const lb_convert_job *j);

/* Reads the tensor, counts, and forgets the counts again. */
lbrt_status lb_job_scan(lb_convert_job *j, lb_sparsity *out);

/* As one masked term; with calibration, which sees it as the q8 matrix that it computes like, without error feedback: there is hardly an error. */
lbrt_status lb_terms_masked(lb_convert_job *j, const lb_source_tensor *t);

/* ---- lb_convert_calib.c ---- */

lbrt_status lb_job_calibrated(lb_convert_job *j, const lb_source_tensor *t);

/* Whoever calibrates goes on with the tensor as j->tiles have it, which are theirs then. */
lbrt_status lb_job_hand_over(lb_convert_job *j, const char *name, size_t tiles_bytes);

#endif /* LB_CONVERT_JOB_H */
