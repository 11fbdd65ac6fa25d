/* LoRA adapters of the model "micro" (small_models.h: width 40, 40 queries, 20 keys, inner width 72, two layers). */
#ifndef MAKE_ADAPTER_H
#define MAKE_ADAPTER_H

#include "../formats/container/lb_wformat.h"
#include "../include/lbrt.h"

enum { AD_MATRICES = 7 };

typedef struct ad_matrix {
    const char *name, *peft, *gguf;
    size_t layer, rows, cols;
} ad_matrix;

extern const ad_matrix ad_matrices[AD_MATRICES]; /* those that the adapters change */

/* Number i of factor A or B of a matrix, in adapters that differ by `salt`. */
float ad_number(const char *name, int salt, bool is_b, size_t i);

/* All of a factor; malloc'ed. */
float *ad_factor(const ad_matrix *m, int salt, bool is_b, size_t rank);

/* A PEFT folder; `config` is adapter_config.json, `except` a matrix whose A is left out, `extra` one tensor more. */
const char *ad_peft(const char *name, const char *config, int salt, size_t rank, const char *except, const char *extra);

/* Converts; NULL and the sentence in err if it is refused. */
const char *ad_convert(const char *from, const char *to, lb_wformat format, lbrt_error *err);

/* The path of an adapter with alpha / rank 2; static storage that the fourth call after it uses again. */
const char *ad_make(int salt, size_t rank, lb_wformat format);

#endif /* MAKE_ADAPTER_H */
