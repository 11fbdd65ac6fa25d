/*
 * Tiny models in other people's file formats, made in memory for the importers' tests: one layer, width 32,
 * two heads of 16 and one key-value head, inner width 64, eight tokens. Weight i of a tensor is
 * mk_weight(canonical name, i), which every float type holds.
 */
#ifndef MAKE_MODELS_H
#define MAKE_MODELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MK_DIM = 32, MK_KV = 16, MK_FFN = 64, MK_VOCAB = 8, MK_CONTEXT = 16 };

typedef struct mk_blob {
    unsigned char *data; /* malloc'ed */
    size_t n, cap;
} mk_blob;

void mk_put(mk_blob *b, const void *data, size_t n);
void mk_u32(mk_blob *b, uint32_t v);
void mk_u64(mk_blob *b, uint64_t v);
void mk_text(mk_blob *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void mk_pad(mk_blob *b, size_t to); /* zeros up to a multiple */
void mk_free(mk_blob *b);
void mk_write(const char *path, const void *data, size_t n);

typedef struct mk_tensor {
    const char *name; /* canonical, with "layers.0." */
    const char *gguf, *hf;
    uint32_t rows, cols;
    bool linear;
} mk_tensor;

extern const mk_tensor mk_tensors[];
extern const size_t mk_n_tensors;

float mk_weight(const char *name, size_t i);

/* A GGUF file in parts. */
typedef struct mk_gguf {
    mk_blob kv, info, data;
    uint64_t n_kv, n_tensors;
} mk_gguf;

void mk_gguf_u32(mk_gguf *g, const char *key, uint32_t v);
void mk_gguf_f32(mk_gguf *g, const char *key, float v);
void mk_gguf_bool(mk_gguf *g, const char *key, bool v);
void mk_gguf_string(mk_gguf *g, const char *key, const char *v);
void mk_gguf_value(mk_gguf *g, const char *key, uint32_t type, const void *v, size_t bytes); /* as it stands in the file */
void mk_gguf_strings(mk_gguf *g, const char *key, const char *const *v, size_t n);
void mk_gguf_floats(mk_gguf *g, const char *key, const float *v, size_t n);
void mk_gguf_ints(mk_gguf *g, const char *key, const int32_t *v, size_t n);
void mk_gguf_tensor(mk_gguf *g, const char *name, uint64_t rows, uint64_t cols, uint32_t type,
                    const void *data, size_t bytes);
void mk_gguf_numbers(mk_gguf *g, const char *arch); /* <arch>.* hyperparameters */
void mk_gguf_vocabulary(mk_gguf *g);
void mk_gguf_weights(mk_gguf *g, uint32_t type,
                     const char *except);   /* f32 or f16 (vectors f32); except: a GGUF name */
void mk_gguf_end(mk_gguf *g, mk_blob *out); /* the file; frees the parts */

/* The whole of it. */
void mk_gguf_model(const char *arch, uint32_t type, mk_blob *out);

/* A safetensors file in parts. */
typedef struct mk_safetensors {
    mk_blob header, data;
} mk_safetensors;

void mk_st_tensor(mk_safetensors *s, const char *name, const char *dtype, const char *shape, const void *data,
                  size_t bytes);
void mk_st_weights(mk_safetensors *s, const char *dtype, const char *except,
                   bool linear); /* F32, F16, BF16 */
void mk_st_end(mk_safetensors *s, mk_blob *out);

/* config.json of the tiny model; more is put in front of the closing brace. */
void mk_config(const char *architecture, const char *more, mk_blob *out);

/* tokenizer.json with the eight tokens. */
extern const char mk_tokenizer_json[];

/* A fresh folder with these files and the tokenizer (weights may be NULL); its path is lb_test_temp's. */
const char *mk_folder(const char *name, const mk_blob *config, const mk_blob *weights);

void mk_llama2c(bool version1, bool tied, mk_blob *out);

#endif /* MAKE_MODELS_H */
