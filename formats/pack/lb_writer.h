/*
 * Writes a .lbrt file (formats/container/lb_container.h) as a stream: tensor data first, tables last, then the header. Memory is that of
 * the tables. Calls come in order:
 *   open { vector | transform | tensor { term { part { data }* part_end }+ }+ }* commit, and abort at any time (also after commit).
 * Errors stick: after a failure every later call returns it again.
 */
#ifndef LB_WRITER_H
#define LB_WRITER_H

#include "../../runtime/base/lb_buffer.h"
#include "../../runtime/base/lb_os.h"
#include "../container/lb_container.h"

typedef struct lb_writer {
    lb_outfile out;
    lb_buffer table, meta;
    uint32_t n_tensors, n_meta;
    uint64_t data_bytes;    /* so far */
    uint64_t part_start;
    size_t part_record;     /* where the open part's record is in table */
    lb_hash hash;
    lbrt_status status;
    lbrt_error *err;
} lb_writer;

/* err is kept for later calls; it may be NULL. */
lbrt_status lb_writer_open(lb_writer *w, const char *path, const lbrt_allocator *a, lbrt_error *err);

lbrt_status lb_writer_vector(lb_writer *w, const char *name, const float *x, uint64_t n);

/* A transform's bytes, to be named by later terms. */
typedef struct lb_writer_transform {
    lb_transform_kind kind;
    uint64_t offset, bytes, checksum;
} lb_writer_transform;

/* The block Hadamard transform of n columns (a multiple of block); bit i of signs set: column i is negated. */
lbrt_status lb_writer_hadamard(lb_writer *w, uint32_t block, uint32_t n, const unsigned char *signs, lb_writer_transform *out);

lbrt_status lb_writer_tensor(lb_writer *w, const char *name, uint64_t rows, uint64_t cols, unsigned n_terms);
/* transform may be NULL */
lbrt_status lb_writer_term(lb_writer *w, lb_term_kind kind, const lb_writer_transform *transform, uint64_t row0, uint64_t n_rows,
                           uint64_t col0, uint64_t n_cols);
lbrt_status lb_writer_part(lb_writer *w, lb_wformat format, uint64_t rows, uint64_t cols);
lbrt_status lb_writer_data(lb_writer *w, const void *data, size_t bytes);
lbrt_status lb_writer_part_end(lb_writer *w);

/* One metadata entry. */
lbrt_status lb_writer_meta(lb_writer *w, const lb_meta_value *v, bool required);

/* Finishes the file: hparams (NULL: none, the file is an adapter) are written as metadata; tokenizer may be NULL. */
lbrt_status lb_writer_commit(lb_writer *w, const lb_hparams *h, const void *tokenizer, size_t tokenizer_bytes);
void lb_writer_abort(lb_writer *w);

#endif /* LB_WRITER_H */
