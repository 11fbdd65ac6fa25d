/*
 * What importers share: the table of tensors that a model can have, and a source that reads them from mapped
 * files.
 *
 * An importer makes an lb_import, maps its files, fills hparams, calls begin, puts each tensor of the file
 * where it belongs, and calls finish, which checks that nothing is missing. From then on it is an lb_source;
 * on any error lb_import_close frees all of it.
 *
 * The order of the files, each using only those before it: readers of single formats and tokenizers
 * (lb_tokdata.h), lb_import_rows.c, lb_import.c, lb_import_yarn.c, lb_import_gguf_tok.c, lb_import_tokens.c, the importers
 * (lb_import_gguf.c, lb_import_hf.c, lb_import_llama2c.c), lb_source.c.
 */
#ifndef LB_IMPORT_H
#define LB_IMPORT_H

#include <math.h>

#include "../../runtime/base/lb_os.h"
#include "lb_codes.h"
#include "lb_source.h"

/* Tensors that not every architecture has; by default they may be there or not. */
typedef enum lb_feature {
    LB_FEATURE_ALWAYS, /* required */
    LB_FEATURE_HEAD,
    LB_FEATURE_ROPE_FACTORS,
    LB_FEATURE_QKV_BIAS,
    LB_FEATURE_O_BIAS,
    LB_FEATURE_FFN_BIAS,
    LB_FEATURE_QK_NORM,
    LB_FEATURE_SUB_NORM,
    LB_FEATURE_SHORTCUT,
    LB_FEATURE_COUNT
} lb_feature;

typedef enum lb_rule { LB_RULE_OPTIONAL = 0, LB_RULE_REQUIRED, LB_RULE_ABSENT } lb_rule;

/* Whose names for tensors. */
typedef enum lb_dialect { LB_DIALECT_GGUF, LB_DIALECT_HF } lb_dialect;

/* How the numbers of a tensor are stored. */
typedef enum lb_place_kind {
    LB_PLACE_ROWS,  /* rows of blocks of a ggml type */
    LB_PLACE_I2_S,  /* the BitNet fork's: 2-bit codes, flat over the tensor in blocks of 128 */
    LB_PLACE_U8_X4, /* Hugging Face BitNet: a byte holds rows r, r + rows / 4, ... of one column */
    LB_PLACE_ROUND, /* floats that stand for round(w / scale), clipped to -1 .. 1, times scale */
    LB_PLACE_MASKED, /* numbers one behind the other, and a bit for each place in a row (compressed-tensors) */
    LB_PLACE_SPQR,   /* SpQR's tiles of 16 x 16 and a compressed-row matrix of outliers */
    LB_PLACE_CHAIN,  /* a product of two matrices */
    LB_PLACE_TURNED, /* [cols][rows] floats */
    LB_PLACE_ONES,   /* all numbers are `scale`; data is not read */
    LB_PLACE_CODES   /* lb_codes.h */
} lb_place_kind;

typedef struct lb_place {
    lb_place_kind kind;
    const lb_ggml_type *type;  /* ROWS and ROUND */
    const char *type_name;     /* for people */
    const unsigned char *data; /* in a map */
    float scale;               /* ROWS: numbers are multiplied by it (1: none); else the scale of the ternary
                                  codes */
    /* MASKED: bits, lowest first, ceil(cols / 8) bytes a row; and where each row begins (u64), NULL: at cols / 2 times the row
     * SPQR: row offsets (u32) and outliers (u16 column, f16 number), data being the tiles' rows (u64)
     * CHAIN: the inner matrix [n][cols] of more_type, data being the outer one [rows][n] */
    const unsigned char *more[2];
    const lb_ggml_type *more_type;
    uint64_t n; /* SPQR: 1 if row offsets are those of 16 rows that take turns; CHAIN: the rank */
    /* ROWS, MASKED: n_scales numbers of scale_type per row, or per matrix if one_scale; NULL: none. SPQR: columns' order (u16) or NULL */
    const unsigned char *scales;
    const lb_ggml_type *scale_type;
    uint64_t n_scales;
    uint64_t scale_rows, scale_cols; /* so many rows have the same scales, and so many columns the same scale; 0: each row has its own */
    bool one_scale;
    const lb_codes *codes; /* CODES */
} lb_place;

typedef struct lb_slot {
    lb_place place; /* data NULL: nothing was put here */
    uint64_t rows, cols;
    float scale; /* of a separate scale tensor that belongs to it; 0: there was none */
} lb_slot;

typedef struct lb_import {
    lb_source source; /* first: an lb_source * is an lb_import * */
    lbrt_allocator a;
    lb_map *maps;
    size_t n_maps;
    lb_rule rules[LB_FEATURE_COUNT];
    lb_slot *slots;
    size_t n_slots;
    lb_source_tensor *tensors;
    lb_place *places;
    size_t n_tensors;
    float *made; /* numbers that no file has; NULL: none */
    size_t n_made;
    lb_codes *codes; /* of slots; NULL: none has any */
    size_t n_codes;
} lb_import;

/* With room for n_maps maps, all empty. */
lbrt_status lb_import_new(const lbrt_allocator *a, size_t n_maps, lb_import **out, lbrt_error *err);

/* The close function of the source. */
void lb_import_close(lb_source *s);

/*
 * hparams and rules are filled (n_vocab too): checks them and makes the table. n_in_file is the number of
 * tensors that the file has; a model that needs more is refused before memory is taken for it.
 */
lbrt_status lb_import_begin(lb_import *im, size_t n_in_file, lbrt_error *err);

/* The slot of a tensor by its name in the file; false if it is none that lbrt knows. */
bool lb_import_find(const lb_import *im, lb_dialect dialect, const char *name, size_t bytes, size_t *slot);

/*
 * The slot of a canonical tensor; layer is ignored for those that are outside the layers. The name must
 * exist.
 */
size_t lb_import_slot(const char *name, uint32_t layer);

/* The canonical name in full ("layers.3.attn_q") into out, which is returned. */
const char *lb_import_slot_name(size_t slot, char *out, size_t cap);

/* What the hyperparameters ask for. */
void lb_import_shape(const lb_import *im, size_t slot, uint64_t *rows, uint64_t *cols);

/* True for a tensor that the rules say the model has not. */
bool lb_import_refuses(const lb_import *im, size_t slot);

/* True for a matrix that BitNet models store as ternary codes. */
bool lb_import_is_linear(size_t slot);

/*
 * Puts a tensor into its slot. FORMAT if one is there already or its shape is not what hparams ask for,
 * UNSUPPORTED if the rules say that the model has no such tensor. name, for messages, is that of the file.
 */
lbrt_status lb_import_put(lb_import *im, size_t slot, const char *name, size_t bytes, uint64_t rows,
                          uint64_t cols, const lb_place *place, lbrt_error *err);

/*
 * If the head is missing and `tied`, or the embedding is missing and the head is there, one tensor serves as
 * both (under the name tok_embed). Then checks that every required tensor is there, and makes the source's
 * table.
 */
lbrt_status lb_import_finish(lb_import *im, bool tied, lbrt_error *err);

/*
 * Before finish: FORMAT if a list of the file, `key`, says n heads or n columns of the feed-forward for a layer whose tensor (attn_q, attn_k,
 * attn_v, ffn_gate) has not as many.
 */
lbrt_status lb_import_check_layer(const lb_import *im, const char *key, const char *tensor, uint32_t layer, uint64_t n, lbrt_error *err);

/* The part of read_rows for MASKED, SPQR and CHAIN: rows that were checked to be there (lb_import_parts.c). */
void lb_import_part_rows(const lb_place *p, const lb_source_tensor *t, uint64_t row, uint64_t n, float *out);

/* Multiplies by a place's scales. */
void lb_import_scale_rows(const lb_place *p, const lb_source_tensor *t, uint64_t row, uint64_t n, float *out);

/* The read_factor of the finished source. */
lbrt_status lb_import_read_factor(const lb_source *s, size_t i, bool outer, uint64_t row, uint64_t n, float *out, lbrt_error *err);

/* The read_rows of the finished source. */
lbrt_status lb_import_read_rows(const lb_source *s, size_t i, uint64_t row, uint64_t n, float *out,
                                lbrt_error *err);

/* Sets hparams.name from the last part of a path, without the extension given (may be NULL). */
void lb_import_name(lb_hparams *h, const char *path, const char *extension);

/* The tokenizer of a GGUF file; *out is NULL if it has none. */
struct lb_gguf;
lbrt_status lb_import_gguf_vocabulary(const struct lb_gguf *g, const lbrt_allocator *a, lb_tokdata **out,
                                      lbrt_error *err);

/*
 * A tokenizer file of any kind: tokenizer.json, SentencePiece, GGUF, llama2.c's tokenizer.bin (which needs
 * n_vocab).
 */
lbrt_status lb_import_load_tokens(const char *path, uint32_t n_vocab, const lbrt_allocator *a,
                                  lb_tokdata **out, lbrt_error *err);

/* Makes the model's tokenizer that of such a file (hparams.n_vocab is known). */
lbrt_status lb_import_other_tokens(lb_import *im, const char *path, lbrt_error *err);

#endif /* LB_IMPORT_H */
