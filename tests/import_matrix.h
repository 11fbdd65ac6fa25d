/* Hugging Face folders of a tiny model (make_models.h) of which one matrix, layers.0.ffn_down, is stored in another way. */
#ifndef IMPORT_MATRIX_H
#define IMPORT_MATRIX_H

#include "../formats/import/lb_source.h"
#include "make_models.h"

#define IP_NAME "model.layers.0.mlp.down_proj"
enum { IP_ROWS = MK_DIM, IP_COLS = MK_FFN };

/* Adds a tensor IP_NAME + suffix. */
void ip_put(mk_safetensors *s, const char *suffix, const char *dtype, const char *shape, const void *data, size_t bytes);

/* All other tensors. */
void ip_begin(mk_safetensors *s);

/* Opens the folder, whose config.json has `more`, or NULL and the sentence; frees the parts. */
lb_source *ip_open(mk_safetensors *s, const char *more, lbrt_error *err);

/* The matrix as the source reads it, 5 rows at a time, against `want`. */
void ip_compare(mk_safetensors *s, const char *more, const float *want, float tolerance);

/* The folder must be refused with a sentence that has `why` in it. */
void ip_refused(mk_safetensors *s, const char *more, const char *why);

#endif /* IMPORT_MATRIX_H */
