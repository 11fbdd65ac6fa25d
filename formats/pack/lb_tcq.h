/*
 * Searching trellis codes: the part of packing tcq2, tcq3 and tcq4 that calibration needs as well.
 *
 * A row is four streams of codes (kernels/lb_tcq_code.h). Consecutive windows of a stream share all bits but
 * the newest 2, 3 or 4, so that a choice of windows is a path through a trellis of 64, 32 or 16 states, and
 * the best path is found by Viterbi's algorithm. Float arithmetic in a fixed order: the same paths on every
 * machine.
 */
#ifndef LB_TCQ_H
#define LB_TCQ_H

#include "../../kernels/lb_kernels.h"

#define LB_TCQ_BLOCK 1024u /* most columns of one search that are decided */
#define LB_TCQ_AHEAD 256u  /* most columns behind them that are looked at */
#define LB_TCQ_ROWS 4u     /* searched side by side */
#define LB_TCQ_ANY 0xffu   /* a state that the search may choose */

/*
 * Decides columns 0..n-1 of a row (n a multiple of 4, at most LB_TCQ_BLOCK), looking at n + ahead columns
 * (ahead a multiple of 4, at most LB_TCQ_AHEAD): minimises the sum of h[c] * (x[c] - point[window])^2 over
 * all n + ahead.
 *   point   the weight of each window, in the unit of x (lb_tcq_points if x is in integer weights, that is
 *           divided by the row scale)
 *   x, h    n + ahead values; h >= 0, the sum finite
 *   state   of the four streams: on entry that before column 0, on return that behind column n - 1
 *   end     NULL, or the states behind column n + ahead - 1, for n + ahead >= 12
 *   window  n bytes: what lb_tcq_store takes; point[window] is the decoded weight
 * Streams are circular, so the state before the first column of a row must be that behind the last. Columns
 * of a tile past the true ones have h = 0 and make this free; else choose it first, by lb_tcq_begin. To feed
 * errors back, decide a row in blocks of a few columns and pass what is known of the next ones as `ahead`.
 */
void lb_tcq_search(lb_wformat format, const float point[256], const float *x, const float *h, size_t n,
                   size_t ahead,
                   uint8_t state[4], const uint8_t *end, uint8_t *window);

/*
 * The same for n_rows rows that share h, each as if alone: row r has x + r * stride, state[r], end[r], and windows at window + r * n.
 * At the levels of k that have it, LB_TCQ_ROWS rows are searched at once.
 */
void lb_tcq_search_rows(const lb_kernels *k, lb_wformat format, const float point[256], size_t n_rows, const float *x, size_t stride,
                        const float *h, size_t n, size_t ahead, uint8_t (*state)[4], const uint8_t (*end)[4], uint8_t *window);

/* The states to begin rows with, from each one's last 64 columns (of the tile, so that k is a multiple of 64) and its first 64 */
void lb_tcq_begin(const lb_kernels *k, lb_wformat format, const float point[256], size_t n_rows, const float *x, size_t stride,
                  const float h[128], uint8_t (*state)[4]);

/* The integer weight of each window */
void lb_tcq_points(lb_wformat format, float point[256]);

/* Standard deviation of Gaussian weights, in integer weights, that the tables are made for */
float lb_tcq_sigma(lb_wformat format);

/*
 * Writes columns first..first + n - 1 (multiples of 4) of row r into a tile, whose codes were zero.
 */
void lb_tcq_store(lb_wformat format, void *tile, size_t r, size_t first, size_t n, const uint8_t *window);

#endif /* LB_TCQ_H */
