/*
 * Readers of LoRA adapters: a PEFT folder (adapter_config.json and adapter_model.safetensors) or a GGUF file with general.type "adapter".
 * W x becomes W x + scale * B (A x), scale = alpha / rank (rank-stabilized: alpha / sqrt(rank)).
 */
#ifndef LB_LORA_H
#define LB_LORA_H

#include "../../runtime/base/lb_os.h"
#include "lb_gguf.h"
#include "lb_safetensors.h"

typedef struct lb_lora_matrix {
    const unsigned char *data; /* in the file; NULL: absent */
    const lb_ggml_type *type;
    uint64_t rows, cols;
} lb_lora_matrix;

typedef struct lb_lora_pair {
    char name[64];       /* canonical, of the matrix that is changed */
    lb_lora_matrix a, b; /* rank x inputs, outputs x rank; both absent: not changed */
    float scale;
} lb_lora_pair;

typedef struct lb_lora {
    lbrt_allocator allocator;
    lb_map map;
    lb_gguf gguf;
    lb_safetensors tensors;
    bool interleaved; /* the rows of attn_q and attn_k are in the order of an interleaved rotary embedding */
    lb_lora_pair *pairs;
    size_t n_pairs;
} lb_lora;

/* True for what lb_lora_open takes. */
bool lb_lora_is(const char *path, const lbrt_allocator *a);

/* On failure nothing is to be closed. FORMAT; UNSUPPORTED for DoRA, adapted embeddings, and whatever else is no plain LoRA. */
lbrt_status lb_lora_open(const char *path, const lbrt_allocator *a, lb_lora *out, lbrt_error *err);
void lb_lora_close(lb_lora *l);

/* Row `row` as floats. */
void lb_lora_row(const lb_lora_matrix *m, uint64_t row, float *out);

#endif /* LB_LORA_H */
