/*
 * Angles of the rotary position embedding (RoFormer, arXiv 2104.09864), with the linear and Llama 3 rules for longer contexts.
 * Computed in double precision by code of our own, so that the tables are the same with every C library.
 */
#ifndef LB_ROPE_H
#define LB_ROPE_H

#include "../../formats/container/lb_hparams.h"

/* Radians per position of each of the rope_dim / 2 pairs. `factors` (may be NULL) divides each, as in GGUF's rope_freqs. */
void lb_rope_frequencies(const lb_hparams *h, const float *factors, double *out);

/* cs[2 i] = cos, cs[2 i + 1] = sin of position * frequency[i] */
void lb_rope_angles(const double *frequency, uint32_t n_pairs, uint64_t position, float *cs);

#endif /* LB_ROPE_H */
