/* What the tests of the importers ask of a source. */
#ifndef IMPORT_CHECKS_H
#define IMPORT_CHECKS_H

#include "../formats/import/lb_source.h"

/* The number of a tensor; n_tensors if there is none of that name. */
size_t import_find(const lb_source *s, const char *name);

/* All of a tensor, malloc'ed; NULL after a failed check if it is not there or cannot be read. */
float *import_read(const lb_source *s, const char *name);

/*
 * A tiny model (16 rotated dimensions, theta 10000) with YaRN, factor 4 of 4096 tokens, 32 and 1 turns: what its frequencies are divided by, its context, and
 * what scores are multiplied by, which is `attention` squared.
 */
void import_check_yarn(const lb_source *s, double attention);

/* Every tensor of the tiny model of make_models.h has the weights that its name asks for; `linear`: matrices too. */
void import_check_weights(const lb_source *s, bool linear);

/* The tiny model's hyperparameters, and so many tensors. */
void import_check_tiny(const lb_source *s, size_t n_tensors, bool interleaved);

/* A ternary matrix comes back from the packed format as it was. */
void import_check_packs(const float *w, size_t rows, size_t cols);

#endif /* IMPORT_CHECKS_H */
