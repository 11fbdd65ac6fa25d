/*
 * YaRN (arXiv 2309.00071), a way to make a context longer, as numbers that the engine knows: what divides each frequency of the rotary embedding becomes
 * the tensor rope_factors, and what multiplies its cosines and sines, which is a constant, goes squared into attention.factor.
 */
#ifndef LB_IMPORT_YARN_H
#define LB_IMPORT_YARN_H

#include "lb_import.h"

typedef struct lb_yarn {
    double factor;     /* how many times as long; 0: no YaRN */
    double original;   /* the context length before */
    double fast, slow; /* frequencies that turn at least `fast` times in the original context stay, those that turn `slow` times or fewer are divided by factor */
    double attention;  /* cosines and sines are multiplied by it */
} lb_yarn;

/* With the paper's defaults for a factor: 32 and 1 turns, 0.1 ln(factor) + 1. */
lb_yarn lb_yarn_default(double factor, double original);

/* Of a model whose tensors are all put. FORMAT: numbers that make no sense, or rope_factors of its own. */
lbrt_status lb_import_yarn(lb_import *im, const lb_yarn *y, lbrt_error *err);

/* The context that it makes of the original one, if `context` is shorter. */
uint32_t lb_yarn_context(const lb_yarn *y, uint32_t context);

#endif /* LB_IMPORT_YARN_H */
