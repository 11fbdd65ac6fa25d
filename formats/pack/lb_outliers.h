/*
 * A quantized tile and a sparse one beside it (after SpQR, arXiv 2306.03078): the weights of each row that packing hurts most are taken
 * out, which narrows the range of their groups, and what the packed tile lacks of them is kept as f16.
 */
#ifndef LB_OUTLIERS_H
#define LB_OUTLIERS_H

#include "../container/lb_wformat.h"

/*
 * rows: n (1..16) rows of k floats (k <= 65536), k apart; temp: room for as many, 16 * k floats. tile: f's; sparse: `lines` (<= k) lines
 * of lb_container.h, columns rising. Returns the squared error of the sum, and the squares of rows in *squares.
 */
double lb_pack_outliers(const lb_wformat_info *f, const float *rows, size_t n, size_t k, size_t lines, float *temp, void *tile,
                        uint8_t *sparse, double *squares);

/*
 * Only what goes to the sparse tile, and it is taken from the rows, which are `stride` apart: the weights whose error in f, times
 * importance (NULL: 1), is largest, as they are. temp: 16 * k floats; tile: room for one of f's.
 */
void lb_take_outliers(const lb_wformat_info *f, float *rows, size_t stride, size_t n, size_t k, const float *importance, size_t lines,
                      float *temp, void *tile, uint8_t *sparse);

#endif /* LB_OUTLIERS_H */
