/*
 * A source of named tensors: what every importer presents to the converter, whatever file it reads.
 * Names are the canonical ones of lb_hparams.h; an importer maps its own names to them.
 */
#ifndef LB_SOURCE_H
#define LB_SOURCE_H

#include "../../runtime/base/lb_base.h"
#include "../container/lb_hparams.h"
#include "lb_tokdata.h"

typedef struct lb_source_tensor {
    char name[64];       /* canonical */
    char type[16];       /* for people: "f16", "q4_k", "i2_s", ... */
    uint64_t rows, cols; /* a vector has rows == 1 */
    /* Ternary tensors, exact: every weight is -1, 0 or 1 times ternary_scale. */
    bool ternary;
    float ternary_scale;
    uint64_t rank; /* above 0: the matrix is a product of one of rows x rank and one of rank x cols */
} lb_source_tensor;

typedef struct lb_source lb_source;
struct lb_source {
    lb_hparams hparams;
    lb_tokdata *tokens; /* NULL if the file has no tokenizer; owned by the source */
    size_t n_tensors;
    const lb_source_tensor *tensors;

    /*
     * Writes rows [row, row + n) of tensor i as floats, cols apart. Reads from the map as it goes: memory
     * does not grow with the tensor. Callable from several threads at once. A bad type or range was refused
     * when the source was opened.
     */
    lbrt_status (*read_rows)(const lb_source *s, size_t i, uint64_t row, uint64_t n, float *out,
                             lbrt_error *err);

    /* The same for a factor of a tensor with a rank: the outer one of rank columns, or the inner one. NULL if no tensor has one. */
    lbrt_status (*read_factor)(const lb_source *s, size_t i, bool outer, uint64_t row, uint64_t n, float *out, lbrt_error *err);

    void (*close)(lb_source *s); /* frees everything, s included */
};

/*
 * Opens any supported input: a .gguf file, a Hugging Face folder, a llama2.c .bin. The kind is found from the
 * content. tokenizer_path (may be NULL) names a tokenizer file to use instead of the one that belongs to the
 * model; a llama2.c .bin without it looks for tokenizer.bin and tok*.bin beside the model.
 */
lbrt_status lb_source_open(const char *path, const char *tokenizer_path, const lbrt_allocator *a,
                           lb_source **out, lbrt_error *err);

/*
 * One per importer; tokenizer_path as above. Two things that hparams do not say:
 *
 * rope_factors [1][rope_dim / 2], an optional tensor: each frequency of the rotary embedding is divided by
 * its factor (the way GGUF files express llama3 and similar scalings; rope_scaling is LB_ROPE_NONE or LINEAR
 * beside it).
 *
 * tokens->n_tokens may be smaller than hparams.n_vocab (padded embeddings), or greater: tokens beyond n_vocab
 * cannot be fed. A GGUF file that holds only a vocabulary opens with n_tensors == 0, and hparams are then as
 * far as the file has them.
 */
lbrt_status lb_source_open_gguf(const char *path, const char *tokenizer_path, const lbrt_allocator *a,
                                lb_source **out, lbrt_error *err);
lbrt_status lb_source_open_hf(const char *folder, const char *tokenizer_path, const lbrt_allocator *a,
                              lb_source **out, lbrt_error *err);
lbrt_status lb_source_open_llama2c(const char *path, const char *tokenizer_path, const lbrt_allocator *a,
                                   lb_source **out, lbrt_error *err);

/*
 * Puts itself in front of *source, which it closes with itself: keys whose channels a quantized KV cache can keep better, see lb_source_balance.c.
 * *n_changed: channels of key heads with a factor other than 1. *source is to be closed after a failure too.
 */
lbrt_status lb_source_balance(lb_source **source, const lbrt_allocator *a, size_t *n_changed, lbrt_error *err);

#endif /* LB_SOURCE_H */
