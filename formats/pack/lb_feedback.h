/*
 * Packing with error feedback: the columns of a row are decided in order, and each makes good what those before it did wrong, as far
 * as the second moments of the layer's input (lb_moments.h) say that it can.
 */
#ifndef LB_FEEDBACK_H
#define LB_FEEDBACK_H

#include "../container/lb_wformat.h"
#include "lb_moments.h"

enum { LB_FEEDBACK_ROWS = 64 }; /* at once: they share the factor's way through the caches */

/* Expected squares per token: of the output error, and of the output; of the weights' error and the weights */
typedef struct lb_feedback_error {
    double error, output, weight_error, weights;
} lb_feedback_error;

/* True for formats that take feedback: the uniform ones and the trellis codes. */
bool lb_feedback_can(lb_wformat format);

/* Scratch memory of one call, 64-byte aligned */
size_t lb_feedback_bytes(size_t n);

/*
 * Packs n_rows (1..64) rows of factor->n floats, `stride` apart, in the basis of the factor, into ceil(n_rows / 16) tiles of
 * tile_bytes(n) bytes, one behind the other. The rows are not changed; what is packed is rows + rows * shift.
 */
void lb_feedback_pack(const lb_wformat_info *format, const lb_factor *factor, const lb_kernels *k, const float *rows, size_t stride,
                      size_t n_rows, void *tiles, void *scratch, lb_feedback_error *error);

#endif /* LB_FEEDBACK_H */
