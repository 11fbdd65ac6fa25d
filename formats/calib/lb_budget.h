/*
 * Which format each matrix gets when the whole may have so many bytes: the one with the least loss.
 *
 * How much a matrix matters is measured: it alone is packed, in a format in which that shows, and the divergence of the model's predictions
 * is taken on tokens that were held out. Small divergences grow with the square of what a matrix gets wrong, and add up over matrices; so
 * the other formats' follow from their errors, which error feedback measures when it packs the matrix in each. (HAWQ-V2, arXiv 1911.03852, has
 * the Hessian's trace in place of the measurement.) The choice is then a knapsack: steps to the next larger format, in the order of what they
 * gain per byte.
 */
#ifndef LB_BUDGET_H
#define LB_BUDGET_H

#include "lb_stream.h"
#include "../pack/lb_convert.h"

typedef struct lb_budget_options {
    uint64_t bytes;      /* that the file may have; 0: bits_per_weight counts */
    uint64_t beside;     /* bytes of these that are no tensors */
    double bits_per_weight;
    double damping;      /* as in calibration */
    void (*progress)(void *user, double done, const char *tensor);
    void *user;
} lb_budget_options;

/* Whether the budget is enough for the smallest formats: to be asked before any work. ARGUMENT, with what would be enough, if it is not. */
lbrt_status lb_budget_check(const lb_source *source, const lb_convert_options *keep, const lb_budget_options *o, lbrt_error *err);

/*
 * rules: room for one per tensor of the source; gets the chosen formats. s is fresh and alone, and of no use afterwards.
 * Matrices that `keep` has a rule for, and ternary ones, stay as they are. predicted: the sum of the divergences. ARGUMENT if even the
 * smallest formats need more bytes.
 */
lbrt_status lb_budget_choose(lb_streams *s, const lb_source *source, const lb_convert_options *keep, const lb_budget_options *o,
                             lb_convert_rule *rules, size_t *n_rules, double *predicted, const lbrt_allocator *a, lbrt_error *err);

/* The choice alone, for n matrices and m formats: loss and bytes are [n][m]; choice[n]. False if it cannot be done. */
bool lb_budget_knapsack(const double *loss, const uint64_t *bytes, size_t n, size_t m, uint64_t limit, uint8_t *choice);

#endif /* LB_BUDGET_H */
