/*
 * A linear layer: y = sum of terms (+ bias). The loader turns the file's term table into this flat plan; the forward
 * pass runs plans and knows no weight format.
 */
#ifndef LB_LINEAR_H
#define LB_LINEAR_H

#include "../../formats/container/lb_container.h"
#include "../../formats/container/lb_wformat.h"
#include "../base/lb_arena.h"
#include "../base/lb_threads.h"

/* A set of representations */
#define LB_READS_BIT(reads) (1u << (reads))

/* The randomized block Hadamard transform of an input (lb_container.h), where it lies in the file. signs NULL: none. */
typedef struct lb_rotation {
    const unsigned char *signs; /* n bits; the address identifies the rotation */
    uint32_t block, n;
} lb_rotation;

/*
 * What layers that share an input read of it: representations as they are, of the rotated input, and of the split one
 * (LLM.int8(), arXiv 2208.07339): numbers x with |x| >= threshold are set aside in float, the others become int8.
 */
typedef struct lb_needs {
    unsigned plain, rotated, split; /* sets of representations */
    float threshold;
    lb_rotation rotation;    /* the one rotation that all of them use */
} lb_needs;

/* Adds what `more` needs. False if the two rotate differently: layers with one input must share its rotation. */
bool lb_needs_join(lb_needs *needs, const lb_needs *more);

/* Whether floats as they are do not suffice. */
static inline bool lb_needs_more(const lb_needs *needs)
{
    return ((needs->plain & ~LB_READS_BIT(LB_READS_F32)) | needs->rotated | needs->split) != 0;
}

typedef struct lb_linear_term {
    lb_matmul_fn *gemv, *gemm;
    const lb_wformat_info *format;
    const unsigned char *w;
    size_t tile_bytes;
    size_t tile0, n_tiles; /* rows 16 tile0 .. of the layer */
    size_t col0, n_cols;   /* columns of the input */
    bool rotated, split;   /* of the rotated, of the split input */
} lb_linear_term;

struct lb_chain;

typedef struct lb_linear {
    size_t rows, cols;
    unsigned n_terms, n_chains;
    lb_linear_term *terms;
    const struct lb_chain *chains; /* added after terms and bias, in this order */
    const float *bias; /* [rows] or NULL */
    lb_needs needs; /* what the terms read */
    bool covers;    /* the first term covers all rows */
} lb_linear;

/* A low-rank term, y += up (scale * (down x)): SVD factors, LoRA (arXiv 2106.09685). Either factor may have any format. */
typedef struct lb_chain {
    lb_linear down, up;
    lb_linear_term down_term, up_term; /* their only terms: a chain stays where it was bound */
} lb_chain;

/* Low-rank terms that a session adds to the model's: chains[slot - 1] for the product with that slot; down.rows == 0: none. */
typedef struct lb_attached {
    const lb_chain *chains;
    const void *owner;
    float scale;
} lb_attached;
enum { LB_MAX_ATTACHED = 16 };

/* Whoever computes: kernels, threads, and each thread's scratch memory. */
typedef struct lb_exec {
    const lb_kernels *k;
    lb_pool *pool;
    unsigned char *scratch; /* one piece per thread */
    size_t scratch_stride;
    unsigned n_threads;
    float *mid; /* [LB_MAX_PRODUCTS][mid_room]: what is between the factors of chains */
    size_t mid_room;
    struct lb_prep *mid_prep; /* [LB_MAX_PRODUCTS]: the same, prepared for outer factors that read no floats */
    const lb_attached *attached;
    unsigned n_attached;
} lb_exec;

static inline void *lb_exec_scratch(const lb_exec *e, unsigned thread)
{
    return e->scratch + e->scratch_stride * thread;
}

/* Codes of tokens by groups of 32 columns, as lb_kernels.quantize_a8 makes them; rows as in lb_input */
typedef struct lb_codes {
    int8_t *q;
    float *scale;
    int32_t *sum, *start;
} lb_codes;

/*
 * Activations of up to n_max tokens and k_max columns in the representations that a model's linear layers read: int8 in
 * groups of 32 columns, tables made of these, int8 by token; f32 stay where they are. One preparation serves all layers with the same input.
 */
typedef struct lb_prep {
    size_t k_max;
    size_t q_stride; /* an odd multiple of 64, so that tokens do not share the same cache sets */
    lb_codes codes;
    int8_t *tq;
    float *token_scale;
    int32_t *token_sum;
    uint8_t *lut; /* of the first LB_LUT_TOKENS tokens */
    size_t lut_stride;
    uint8_t *bytes, *split_bytes; /* tables of bytes, of all tokens */
    size_t bytes_stride;
    float *bytes_scale, *split_bytes_scale;
    int32_t *bytes_sum, *split_bytes_sum;
    float *rotated; /* [n_max][k_max] */
    lb_codes rotated_codes;
    float *rest; /* [n_max][k_max]: the input without its outliers */
    lb_codes split_codes;
    int8_t *split_tq;
    float *split_token_scale;
    int32_t *split_token_sum;
    uint32_t *n_outliers, *outlier; /* [n_max]; [n_max][k_max] columns, rising */
} lb_prep;

/* needs: all that will ever be asked of lb_prep_token (its rotation aside); nothing else gets memory. */
void lb_prep_layout(lb_prep *p, lb_arena *a, size_t n_max, size_t k_max, const lb_needs *needs);

/* Prepares token t's k numbers for layers that need `needs`. */
void lb_prep_token(const lb_exec *e, lb_prep *p, size_t t, const float *x, size_t k, const lb_needs *needs);

/* The first n tokens of a preparation, with their floats x (n rows, stride apart). */
typedef struct lb_prepared {
    lb_input plain, rotated, split;
    const uint32_t *n_outliers, *outlier; /* of token t: outlier[t * outlier_stride ..]; the numbers are those of plain.f32 */
    size_t outlier_stride;
} lb_prepared;
lb_prepared lb_prep_input(const lb_prep *p, size_t n, const float *x, size_t stride);

/*
 * Which terms read the split input. threshold 0: those of int8, which is LLM.int8(), at 6.0 as published; above 0: at that threshold
 * all that read int8 activations, but those on rotated inputs, where outliers are spread already; below 0: none.
 *
 * For such a term of format F the sum that is added to y (after the product with the rest of the input) is, exactly: acc = +0; for
 * the outliers x_j in rising order of columns: acc = acc + w_j * x_j, w_j = F's true weight (lb_wformat_info.column).
 */
typedef struct lb_linear_rules {
    const lb_kernels *k;
    float threshold;
    bool bytes; /* terms of lut4 .. lut1 read tables of bytes (lb_kernels.h), which round, instead of exact ones */
} lb_linear_rules;
#define LB_INT8_THRESHOLD 6.0f

/*
 * Builds the plan. `terms` and `chains` have room for as many terms of either kind as t has (t->n_terms are enough); the plan points to
 * them.
 */
lbrt_status lb_linear_bind(lb_linear *l, const lb_tensor *t, const lb_linear_rules *rules, lb_linear_term *terms, lb_chain *chains,
                           lbrt_error *err);

/* Floats between the factors of a chain, per token. */
static inline size_t lb_chain_stride(const lb_chain *c)
{
    return lb_round_up(c->down.rows, LB_TILE_ROWS);
}

/* One of several products with the same input; y rows are stride floats apart, with room for rows rounded up to 16. */
typedef struct lb_product {
    const lb_linear *linear;
    float *y;
    size_t stride;
    size_t slot; /* of attached chains; 0: none can be attached */
} lb_product;

enum { LB_MAX_PRODUCTS = 4 };

/* Slots of attached chains: those of a layer, from 1 + layer * LB_SLOTS on. */
enum { LB_SLOT_Q, LB_SLOT_K, LB_SLOT_V, LB_SLOT_O, LB_SLOT_GATE, LB_SLOT_UP, LB_SLOT_DOWN, LB_SLOTS };

static inline size_t lb_slot(uint32_t layer, unsigned which)
{
    return 1 + (size_t)layer * LB_SLOTS + which;
}

/* y = W x + bias, or, with `add`, y += W x (+ bias), for all products in one go over the threads. */
void lb_linear_run(const lb_exec *e, const lb_product *products, size_t n, const lb_prepared *x, bool add);

/* Tells idle threads that these come next in one go (lb_pool_ahead). Files have them one behind the other. */
void lb_linear_ahead(const lb_exec *e, const lb_linear *const *l, size_t n);

/* Row `row` of the layer's matrix, without bias and rotations: the embedding of a token. temp has room for cols floats. */
void lb_linear_row(const lb_linear *l, size_t row, float *out, float *temp);

/* Bytes of weights that one product with one token reads. */
uint64_t lb_linear_bytes(const lb_linear *l);

#endif /* LB_LINEAR_H */
