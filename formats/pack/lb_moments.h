/*
 * Second moments of what a linear layer reads, and what quantizing with error feedback makes of them.
 *
 * A layer that reads x and is packed with the error E = W - W' makes the output error E x, of which the expected square is
 * tr(E H E') with H = E[x x']. With H = R R' (R upper triangular) that is |E R|^2, and
 *     (e R)_j = R_jj e_j + sum over i < j of e_i R_ij
 * for each row e of E: if columns are decided in order, the best weight for column j is w_j + (sum over i < j of e_i R_ij) / R_jj,
 * and what it is off by costs R_jj^2 as much. That is LDLQ (QuIP, arXiv 2307.13304), which is GPTQ (arXiv 2210.17323).
 *
 * Layers are packed one after another, so x differs from what the original model reads, z. Then W' x should not be like W x, but like
 * W z: the best unquantized matrix for that is W C H^-1, C = E[z x'], and is what is then quantized. (GPTAQ, arXiv 2504.02692)
 */
#ifndef LB_MOMENTS_H
#define LB_MOMENTS_H

#include "../../kernels/lb_kernels.h"
#include "../../runtime/base/lb_base.h"
#include "../../runtime/base/lb_threads.h"

enum { LB_MOMENTS_TOKENS = 512 }; /* at once */

typedef struct lb_moments {
    size_t n;        /* columns, a multiple of 64: those past the true ones are zero */
    uint64_t tokens; /* so far */
    double *h;       /* [n][n], of which i <= j are filled: sum of x_i x_j */
    double *c;       /* [n][n]: sum of z_i x_j; NULL: z is x */
    float *x_tiles, *x_rows, *z_rows; /* of the tokens being added: [n / 16][tokens][16], [n][tokens] */
    float *sums;     /* per thread: a product's results, and its scratch memory */
    unsigned n_threads;
    lbrt_allocator a;
} lb_moments;

/* All zero. `cross`: with c. n_threads: at most so many add. Memory: about 8 n^2 bytes, twice that with c. */
lbrt_status lb_moments_open(lb_moments *m, size_t cols, bool cross, unsigned n_threads, const lbrt_allocator *a, lbrt_error *err);
void lb_moments_close(lb_moments *m); /* also of a zeroed struct */

/* Adds n (at most LB_MOMENTS_TOKENS) tokens of `cols` numbers, rows `stride` apart. z is read if there is c. */
void lb_moments_add(lb_moments *m, lb_pool *pool, const lb_kernels *k, size_t cols, const float *x, const float *z, size_t stride,
                    size_t z_stride, size_t n);

/* ---- the factor ---- */

typedef struct lb_factor {
    size_t n;
    float *tiles;    /* R, n / 16 tiles of [n][16]: (i, j) is at 256 i.. of tile j / 16 */
    float *diagonal; /* R_jj */
    float *shift;    /* M = C H^-1 - 1 in tiles like R, or NULL: what is quantized is W + W M */
    uint32_t *order; /* column order[j] is decided j-th; whole groups of 32 stay together. NULL: as they are */
    lbrt_allocator a;
} lb_factor;

typedef struct lb_factor_options {
    const uint8_t *signs; /* of a Hadamard rotation of the input (lb_kernels.h) in blocks of `block`; NULL: none */
    size_t block;
    bool sort;      /* columns by falling moments */
    double damping; /* added to the diagonal of H, in parts of its mean */
    double shift;   /* of the way from W to W C H^-1: 0..1 */
    const lb_kernels *k; /* NULL: this machine's best. Makes no difference to the result */
} lb_factor_options;

/* Leaves the moments as they are: takes a copy. Fails with NUMERIC if they are not finite. */
lbrt_status lb_factor_open(lb_factor *f, const lb_moments *m, const lb_factor_options *o, lb_pool *pool, const lbrt_allocator *a,
                           lbrt_error *err);
void lb_factor_close(lb_factor *f); /* also of a zeroed struct */

#endif /* LB_MOMENTS_H */
