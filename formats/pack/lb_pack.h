/*
 * Packers: float rows into one tile of a weight format. The same input gives the same bytes on every machine.
 */
#ifndef LB_PACK_H
#define LB_PACK_H

#include "../../kernels/lb_kernels.h"

/*
 * Packs n_rows (1..16) rows of k floats, `stride` floats apart, into tile, which has the format's tile_bytes(k) bytes and
 * 64-byte alignment; every byte of it is written. Rows past n_rows and columns past k become zero weights;
 * columns past k of the tcq formats become any weights. A weight that is not finite is packed as 0. importance: NULL, or
 * k weights >= 0 of the squared error of each column.
 */
typedef void lb_pack_fn(const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance, void *tile);

lb_pack_fn lb_pack_f32, lb_pack_f16, lb_pack_bf16, lb_pack_q8, lb_pack_q6, lb_pack_q5, lb_pack_q4, lb_pack_q3, lb_pack_q2;

/*
 * 2:4 sparsity: of each 4 columns the 2 with the largest w^2 * importance are kept (magnitude, or with the mean squares of activations
 * as importance Wanda, arXiv 2306.11695); rows that have at most 2 already lose none.
 */
lb_pack_fn lb_pack_s24q8, lb_pack_s24q4;
/* Bit planes for products by lookup; lut3 and lut2 choose codes as q3 and q2 do */
lb_pack_fn lb_pack_lut4, lb_pack_lut3, lb_pack_lut2, lb_pack_lut1;

lb_pack_fn lb_pack_tcq2, lb_pack_tcq3, lb_pack_tcq4;

/*
 * lb_pack_tern is exact for rows whose weights are all -s, 0 or s, whatever s is. Others get the scale s for which rounding to the nearest
 * of -s, 0, s loses least.
 */
lb_pack_fn lb_pack_tern;

/* As LLM.int8() has it (arXiv 2208.07339): codes round(w * 127 / largest of the row); importance plays no part. */
lb_pack_fn lb_pack_int8;

/* The packer of a format, NULL if there is none. */
lb_pack_fn *lb_packer(lb_wformat format);

#endif /* LB_PACK_H */
