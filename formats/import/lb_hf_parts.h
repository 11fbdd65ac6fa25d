/*
 * Matrices that a Hugging Face folder stores as several tensors:
 *   compressed-tensors  NAME.compressed, .bitmask, .shape (sparse-24-bitmask), .row_offsets besides (sparse-bitmask); int8 or fp8 numbers
 *                       with NAME.weight_scale, of a row, of groups of columns, or of all (int-quantized, float-quantized)
 *   fp8                 with NAME.weight_scale_inv of squares or other rectangles, which despite its name is multiplied by (DeepSeek, Qwen)
 *   SpQR                NAME.dense_weights, .row_offsets, .col_vals, .in_perm: 3 bits, tiles of 16 x 16 (arXiv 2306.03078)
 *   codes               GPTQ, AWQ, compressed-tensors' pack-quantized, bitsandbytes, AQLM, fp4, HQQ, VPTQ: lb_hf_coded.c
 *   factors             NAME.ALinear.weight and .BLinear.weight, NAME.1.weight and .0.weight, or, with NAME = X_proj, X_u_proj.weight and
 *                       X_v_proj.weight: outer and inner matrix of a low-rank layer (ASVD, LoRD, SVD-LLM)
 * Parts are kept by the matrix's slot until all tensors were seen; then each matrix is checked as a whole and put.
 */
#ifndef LB_HF_PARTS_H
#define LB_HF_PARTS_H

#include "lb_import.h"
#include "lb_safetensors.h"

typedef enum lb_hf_part {
    LB_HF_VALUES,
    LB_HF_MASK,
    LB_HF_SHAPE,
    LB_HF_OFFSETS,
    LB_HF_TILES,
    LB_HF_OUTLIERS,
    LB_HF_ORDER,
    LB_HF_OUTER,
    LB_HF_INNER,
    LB_HF_WEIGHT, /* int8 or fp8 numbers, or bitsandbytes' nibbles. From here on: what the embedding and the output matrix may have, too */
    LB_HF_SCALE,
    LB_HF_WORDS,  /* codes in int32. From here to LB_HF_STATE: parts of lb_hf_coded.c, those of VPTQ together */
    LB_HF_ZEROS,
    LB_HF_SCALES,
    LB_HF_GROUPS, /* of each column */
    LB_HF_PACKED, /* codes in int32, compressed-tensors' order, or fp4 in bytes */
    LB_HF_PACKED_ZEROS,
    LB_HF_SIZES, /* of bitsandbytes' blocks: numbers, or bytes of LB_HF_SECOND times LB_HF_SIZES_OF_SIZES */
    LB_HF_TABLE,
    LB_HF_SIZES_OF_SIZES,
    LB_HF_SECOND,
    LB_HF_BOOK_CODES,
    LB_HF_BOOKS,
    LB_HF_DIVISOR, /* of fp4's scales (compressed-tensors) */
    LB_HF_FACTOR,  /* the same, to multiply with (ModelOpt) */
    LB_HF_HQQ_WORDS,
    LB_HF_HQQ_SCALES,
    LB_HF_HQQ_ZEROS,
    LB_HF_HQQ_AXIS,
    LB_HF_HQQ_PACKING,
    LB_HF_VQ_CODES,
    LB_HF_VQ_BOOKS,
    LB_HF_VQ_MORE,
    LB_HF_VQ_MORE_BOOKS,
    LB_HF_VQ_OUTLIERS,
    LB_HF_VQ_OUTLIER_BOOKS,
    LB_HF_VQ_ORDER,
    LB_HF_VQ_OFFSETS,
    LB_HF_STATE, /* JSON */
    LB_HF_ROW_SIZES, /* bitsandbytes' int8: 127 times the scale */
    LB_HF_BLOCKS,    /* scales of squares */
    LB_HF_PARTS
} lb_hf_part;

typedef struct lb_hf_matrix {
    const lb_safetensor *part[LB_HF_PARTS];
} lb_hf_matrix;

/* How to read a tensor's numbers, int8 and fp8 ones too; NULL if they are none */
const lb_ggml_type *lb_hf_type(const lb_safetensor *t);

/* What config.json says of codes; all 0: nothing. */
typedef struct lb_hf_codes {
    lb_codes_kind kind; /* GPTQ, AWQ, GEMV or FAST */
    unsigned bits;      /* 0: nothing was said. GPTQ's matrices say theirs by their shapes */
    bool zeros_as_are;  /* GPTQ's second format; in the first zeros are stored less one */
    bool planes;        /* GPTQModel's layout in planes of bits */
    bool symmetric;     /* GPTQ's zeros are all in the middle */
    bool borrows;       /* GPTQModel and AutoRound take that one from whole words */
    bool odd_threes;    /* GPTQModel before 6.1: other than ones from those of 3 bits */
    uint32_t block;     /* rows and columns that have one scale (fp8, mostly squares); 0: 128 */
    uint32_t block_cols;
    uint32_t group;     /* columns of a group in most matrices; 0: nothing was said */
    unsigned widths;    /* compressed-tensors: bit b is set if there are layers of integers of b bits; 0: nothing was said */
    bool uncompressed;  /* compressed-tensors' floats with scales beside them that were not applied yet */
    bool nibbles;       /* bitsandbytes' four bits: nibbles of any type that is written so */
} lb_hf_codes;

/* True if a tensor is such a part: of which slot, and which. */
bool lb_hf_part_find(const lb_import *im, const lb_safetensor *t, size_t *slot, lb_hf_part *part);

/* Puts the matrix of a slot, if it has parts. */
lbrt_status lb_hf_matrix_put(lb_import *im, size_t slot, const lb_hf_matrix *m, const lb_hf_codes *codes, lbrt_error *err);

/* The same for one of codes (lb_hf_coded.c). */
lbrt_status lb_hf_coded_put(lb_import *im, size_t slot, const lb_hf_matrix *m, const lb_hf_codes *codes, lbrt_error *err);

#endif /* LB_HF_PARTS_H */
