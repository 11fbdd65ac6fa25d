/*
 * What a Hugging Face folder is made of for the target safetensors, whose input is one file of it: which one and beside what others, the first
 * byte of the input says. Models of width 16, so that weights take some KB: two heads of 8, one of keys and values, inner width 16, 8 tokens.
 */
#ifndef LB_FUZZ_HF_H
#define LB_FUZZ_HF_H

#include "../make_models.h"

typedef enum lb_fuzz_hf_input {
    LB_FUZZ_HF_WEIGHTS,     /* model.safetensors */
    LB_FUZZ_HF_SHARD,       /* one of two files of weights; the last norm is in the other */
    LB_FUZZ_HF_INDEX,       /* the index of weights in two files */
    LB_FUZZ_HF_CONFIG,      /* config.json, a zero byte, model.safetensors */
    LB_FUZZ_HF_OLDER,       /* the same, as quant_config.json */
    LB_FUZZ_HF_LORA,        /* adapter_model.safetensors */
    LB_FUZZ_HF_LORA_CONFIG  /* adapter_config.json */
} lb_fuzz_hf_input;

/* The first byte of an input, modulo LB_FUZZ_HF_KINDS. Seeds have it, so new ones come at the end. */
typedef enum lb_fuzz_hf_kind {
    LB_FUZZ_HF_LLAMA,
    LB_FUZZ_HF_BIASES,
    LB_FUZZ_HF_MISTRAL,
    LB_FUZZ_HF_QWEN2,
    LB_FUZZ_HF_QWEN3,
    LB_FUZZ_HF_BITNET_MASTER,
    LB_FUZZ_HF_BITNET_DIVIDE,
    LB_FUZZ_HF_BITNET_MULTIPLY,
    LB_FUZZ_HF_TWO_LAYERS,
    LB_FUZZ_HF_UNEQUAL,
    LB_FUZZ_HF_UNEQUAL_VALUES,
    LB_FUZZ_HF_SPARSE_24,
    LB_FUZZ_HF_SPARSE,
    LB_FUZZ_HF_INT8,
    LB_FUZZ_HF_FP8,
    LB_FUZZ_HF_NAIVE,
    LB_FUZZ_HF_SPQR,
    LB_FUZZ_HF_TWO_FILES,
    LB_FUZZ_HF_ITS_INDEX,
    LB_FUZZ_HF_ITS_CONFIG,
    LB_FUZZ_HF_ADAPTER,
    LB_FUZZ_HF_ADAPTER_STABILIZED,
    LB_FUZZ_HF_ADAPTER_CONFIG,
    LB_FUZZ_HF_GPTQ,
    LB_FUZZ_HF_GPTQ_SECOND, /* 2 bits, zeros as they are */
    LB_FUZZ_HF_AWQ,
    LB_FUZZ_HF_PACKED,
    LB_FUZZ_HF_BITSANDBYTES,
    LB_FUZZ_HF_FP8_SQUARES,
    LB_FUZZ_HF_AQLM,
    LB_FUZZ_HF_GPTQ_PLANES,
    LB_FUZZ_HF_GPTQ_BORROWS, /* zeros less one by words */
    LB_FUZZ_HF_AWQ_GEMV,
    LB_FUZZ_HF_ITS_OLDER,
    LB_FUZZ_HF_KINDS
} lb_fuzz_hf_kind;

enum { LB_FUZZ_HF_CONVERT = 6 * LB_FUZZ_HF_KINDS }; /* added to the first byte: what is opened is converted too */

lb_fuzz_hf_input lb_fuzz_hf_input_of(lb_fuzz_hf_kind kind);

/* config.json of that kind, or adapter_config.json. */
void lb_fuzz_hf_config(lb_fuzz_hf_kind kind, mk_blob *out);

/* The sides of a layer's matrices: rows of queries, keys, values, columns of the output matrix, the feed-forward, and widths. */
typedef struct lb_fuzz_hf_layer {
    uint32_t q, k, v, o, ffn, in, mid, out;
    bool norms;
} lb_fuzz_hf_layer;

#define LB_FUZZ_HF_USUAL ((lb_fuzz_hf_layer){ 16, 8, 8, 16, 16, 16, 16, 16, true })

/* One tensor, of numbers that its name makes; rows 1 is a vector. F32, F16, BF16. */
void lb_fuzz_hf_tensor(mk_safetensors *s, const char *name, const char *dtype, uint32_t rows, uint32_t cols);

/* The tensors of a layer without those that `except` (may be NULL) names: "self_attn.q_proj mlp.up_proj". */
void lb_fuzz_hf_put_layer(mk_safetensors *s, const char *dtype, unsigned layer, const lb_fuzz_hf_layer *sides, const char *except);

/* Embedding and last norm of width `in` and `out`; 0: without. */
void lb_fuzz_hf_put_ends(mk_safetensors *s, const char *dtype, uint32_t in, uint32_t out);

#endif /* LB_FUZZ_HF_H */
