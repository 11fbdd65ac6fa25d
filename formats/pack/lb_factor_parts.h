/* The part of lb_factor.c that most of its time goes into, at levels that have wide vectors (lb_factor_wide.h). The same sums in the same order. */
#ifndef LB_FACTOR_PARTS_H
#define LB_FACTOR_PARTS_H

#include <stddef.h>

#include "../../kernels/lb_compiler.h"

#define LB_FACTOR_BLOCK ((size_t)64) /* columns of R at once */

/* 64 columns of h from `at` on, of 8 rows from j on (a multiple of 8), as `update` wants them: 512 numbers at panel + 64 j */
typedef void lb_factor_lay_out_fn(const double *h, size_t n, size_t at, size_t j, double *panel);

/* Takes from rows `row` .. row + 63 of h, columns row .. at - 1, their products with the rows of the panel. */
typedef void lb_factor_update_fn(double *h, size_t n, size_t at, size_t row, const double *panel);

#if defined(__x86_64__)
lb_factor_lay_out_fn lb_factor_lay_out_avx2, lb_factor_lay_out_avx512;
lb_factor_update_fn lb_factor_update_avx2, lb_factor_update_avx512;
#endif

#endif /* LB_FACTOR_PARTS_H */
