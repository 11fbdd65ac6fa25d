/*
 * An opened model: the file's tensors bound to the plans that the forward pass runs. Immutable after opening.
 */
#ifndef LB_MODEL_H
#define LB_MODEL_H

#include "../base/lb_os.h"
#include "../base/lb_threads.h"
#include "../text/lb_tokenizer.h"
#include "lb_linear.h"

typedef struct lb_layer {
    lb_linear attn_q, attn_k, attn_v, attn_o, ffn_gate, ffn_up, ffn_down;
    lb_linear attn_shortcut, ffn_shortcut; /* rows == 0: none */
    float attn_eps, ffn_eps; /* of the norms */
    lb_needs attn_needs, ffn_needs; /* of attn_q, attn_k, attn_v; of ffn_gate, ffn_up */
    const float *attn_norm, *ffn_norm;
    const float *attn_q_norm, *attn_k_norm;     /* NULL: none */
    const float *attn_sub_norm, *ffn_sub_norm;  /* NULL: none */
    uint32_t n_heads, k_heads, v_heads;
} lb_layer;

struct lbrt_model {
    lbrt_allocator allocator;
    lb_map map;  /* empty if the model was not mapped */
    void *copy;  /* of the allocator, where the bytes were read instead; else NULL */
    size_t copy_bytes;
    lb_container file;
    lb_hparams hparams;
    lb_kernels kernels;
    lb_tokenizer *tokenizer; /* NULL: token ids only */

    lb_linear embed, head; /* head repeats embed if they are tied */
    bool tied;
    const float *out_norm;
    lb_layer *layers;
    double *rope_frequency; /* [rope_dim / 2] */

    lb_linear_term *terms; /* of all layers */
    size_t n_terms;
    lb_chain *chains; /* of all layers */
    size_t n_chains, mid_stride; /* mid_stride: the widest between two factors */
    lb_needs needs;        /* of all layers, rotations aside */
    lb_needs mid_needs;    /* of what is between two factors */

    size_t max_dim, max_ffn; /* widest residual stream and feed-forward */
    bool shortcuts;
    float out_eps;
    size_t q_dim, k_dim, v_dim, o_dim; /* outputs of attn_q, attn_k and attn_v, inputs of attn_o; of the largest layer */
    size_t v_width;        /* of value heads */
    lb_lock *share;        /* for sessions that share memory: lb_kv_share.c */
    uint64_t parameters, weight_bytes, token_bytes;

    lbrt_log_fn log;
    void *log_user;
};

/* The bytes of a model, and what has to be given back with it: a map, or memory of the model's allocator, or neither. */
typedef struct lb_model_bytes {
    const unsigned char *data;
    size_t bytes;
    lb_map map;
    void *copy;
} lb_model_bytes;

/* Gives the bytes back. */
void lb_model_bytes_close(lb_model_bytes *from, const lbrt_allocator *a);

/* Builds a model on a container's bytes, which it owns from here on, on failure too. options are complete. */
lbrt_status lb_model_build(const lb_model_bytes *from, const lbrt_model_options *options, lbrt_model **out, lbrt_error *err);

#endif /* LB_MODEL_H */
