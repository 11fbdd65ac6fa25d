/*
 * The table of weight formats: one line per format. What the planes of a tile hold is in kernels/lb_kernels.h.
 */
#ifndef LB_WFORMAT_H
#define LB_WFORMAT_H

#include "../../kernels/lb_kernels.h"

typedef struct lb_wformat_info {
    lb_wformat id; /* the number in the file */
    const char *name;
    lb_reads reads; /* the representation of activations that the products read */
    double bits;    /* per weight, for large k */
    bool rotate;    /* made for weights that look Gaussian: a converter rotates the input of layers in this format */

    /* Bytes of a tile of 16 rows and k columns (any k >= 1; a tile holds k rounded up to 64). A multiple of 64. The
     * caller bounds k: k <= LB_MAX_K gives no overflow. */
    size_t (*tile_bytes)(size_t k);

    /* The true values of row r (0..15) of a tile, columns 0..k-1: row_scale * (mini * integer weight) in this order. */
    void (*unpack)(const void *tile, size_t k, size_t r, float *out);

    /* The true values of column c (below k) of a tile of k columns, rows 0..15. */
    void (*column)(const void *tile, size_t k, size_t c, float *out);
} lb_wformat_info;

#define LB_MAX_K ((size_t)1 << 24)

/* By the number in a file, by name; NULL if there is none. */
const lb_wformat_info *lb_wformat_find(uint32_t id);
const lb_wformat_info *lb_wformat_named(const char *name);

/* Line i of the table, NULL past the end. */
const lb_wformat_info *lb_wformat_at(size_t i);

#endif /* LB_WFORMAT_H */
