/*
 * What a decoder-only transformer is, as numbers: the part of the metadata that the forward pass needs.
 * Importers fill it, the writer stores it, the reader checks it and hands it to the engine.
 */
#ifndef LB_HPARAMS_H
#define LB_HPARAMS_H

/*
 * The fastest rotation that is believed, in radians per position: angles are reduced in double precision. Frequencies are at most 1 before they are
 * divided, so what divides them (rope_factor, and where there are rope_factors these times rope_factor) is at least 1 / LB_ROPE_FASTEST.
 */
#define LB_ROPE_FASTEST 8.0

#include <stdbool.h>
#include <stdint.h>

#define LB_MAX_LAYERS 1024u

typedef enum lb_activation { LB_ACT_SILU = 0, LB_ACT_RELU2 = 1 } lb_activation;

typedef enum lb_rope_scaling { LB_ROPE_NONE = 0, LB_ROPE_LINEAR = 1, LB_ROPE_LLAMA3 = 2 } lb_rope_scaling;

typedef struct lb_hparams {
    char name[64];         /* for people */
    char architecture[32]; /* "llama", "qwen2", "bitnet": for people too; behaviour is in the fields below */
    uint32_t n_vocab;
    uint32_t n_layers;
    uint32_t dim;          /* width of the residual stream */
    uint32_t n_heads;      /* query heads */
    uint32_t n_kv_heads;   /* key heads, and value heads unless n_v_heads says otherwise; divides n_heads */
    uint32_t head_dim;     /* even; of queries and keys */
    uint32_t n_v_heads;    /* value heads (DiffQKV, arXiv 2501.13629), if not n_kv_heads; one of the two divides the other. 0: n_kv_heads */
    uint32_t v_head_dim;   /* width of value heads; 0: head_dim */
    bool unequal;          /* layers differ: n_heads, n_kv_heads, n_v_heads and ffn_dim are the largest, and each layer's tensors show its own */
    uint32_t ffn_dim;
    uint32_t n_context;    /* trained context length */
    float norm_eps;
    lb_activation activation;

    uint32_t rope_dim;     /* leading dimensions of a head that are rotated, even, <= head_dim */
    bool rope_interleaved; /* pairs (2i, 2i+1), as in llama2.c and GGUF "llama"; else (i, i + rope_dim / 2) */
    float rope_theta;
    lb_rope_scaling rope_scaling;
    float rope_factor;     /* linear and llama3 */
    float rope_low_freq, rope_high_freq; /* llama3 */
    uint32_t rope_original_context;      /* llama3 */

    /*
     * Above 0: layers may have widths of their own, which their tensors say (dim is that of the embedding, ffn_dim the largest), and
     * norms divide by this instead of the number of columns: SliceGPT (arXiv 2401.15024). A norm's vector of n numbers holds the
     * model's times sqrt(norm_width / n), its epsilon is norm_eps * norm_width / n.
     */
    uint32_t norm_width;

    uint32_t window;      /* a token of a layer from window_from on sees itself and the window - 1 before it; 0: all */
    uint32_t window_from; /* earlier layers see all */
    float attn_factor;    /* what scores are multiplied by beside 1 / sqrt(head_dim): YaRN's, squared; 0: nothing */
} lb_hparams;

/*
 * Canonical tensor names. Matrices are [rows = outputs][columns = inputs]; vectors are f32 with one row... of `columns` numbers.
 *   tok_embed [n_vocab][dim]      out_norm [dim]      out_head [n_vocab][dim], absent if tied to tok_embed
 *   layers.N.attn_norm [dim]      layers.N.ffn_norm [dim]
 *   layers.N.attn_q [n_heads * head_dim][dim]   layers.N.attn_k [n_kv_heads * head_dim][dim]
 *   layers.N.attn_v [n_v_heads * v_head_dim][dim]   layers.N.attn_o [dim][n_heads * v_head_dim]
 *   layers.N.ffn_gate, ffn_up [ffn_dim][dim]    layers.N.ffn_down [dim][ffn_dim]
 * With norm_width, layer N reads a residual stream of width i, leaves one of m after attention and one of o at its end, which the next
 *   layer reads (the head after the last); its feed-forward has width f: attn_q, attn_k, attn_v [..][i], attn_o [m][..], ffn_gate, ffn_up
 *   [f][m], ffn_down [o][f]. layers.N.attn_shortcut [m][i], ffn_shortcut [o][m]: what the stream is multiplied by where it passes by
 *   attention and feed-forward; absent: nothing is done to it, and m = i, o = m.
 * Optional vectors, present or not: layers.N.attn_q_bias, attn_k_bias, attn_v_bias, attn_o_bias, ffn_gate_bias, ffn_up_bias,
 *   ffn_down_bias (one per output); layers.N.attn_q_norm, attn_k_norm [head_dim] (Qwen3: RMSNorm per head before the rotation);
 *   layers.N.attn_sub_norm [n_heads * v_head_dim], ffn_sub_norm [ffn_dim] (BitNet: RMSNorm before attn_o and ffn_down).
 */

static inline uint32_t lb_v_heads(const lb_hparams *h)
{
    return h->n_v_heads ? h->n_v_heads : h->n_kv_heads;
}

static inline uint32_t lb_v_width(const lb_hparams *h)
{
    return h->v_head_dim ? h->v_head_dim : h->head_dim;
}

#endif /* LB_HPARAMS_H */
