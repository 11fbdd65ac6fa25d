/*
 * The KV cache. Keys and values are kept as matrices in tiles of 16 rows, so that attention is done by matrix products: scores = K q with
 * positions as rows, output = V' p with dimensions as rows. Formats of keys and of values are chosen independently.
 *
 * f32, f16. Per layer and KV head, positions come in chunks of LB_KV_CHUNK = 256:
 *   keys     16 tiles of 16 positions, each [head_dim][16 positions]
 *   values   ceil(head_dim / 16) tiles of 16 dimensions, each [256 positions][16 dimensions]
 *
 * q8, q4, q2. Positions come in blocks of LB_KV_BLOCK = 64. A query at position p sees
 *   the first block, positions 0..63, as f16        attention sinks live there
 *   its own block, that of p, as f16                the newest positions, 1 to 64
 *   all blocks between as codes                     each was full before p, so it has one quantized form
 * which depends on p alone: not on batches, threads, or whether tokens came by prefill or by decoding. A block is quantized when its last
 * token is stored; the f16 numbers of a session's newest block stay. When a session is rewound into a block that has
 * been quantized since, the tokens of that block are computed again at the next feed (63 at most): they see blocks that are
 * still there, and themselves as f16, so the result has the same bits.
 *
 * Both f16 and codes hold rotated vectors: keys and queries, values and (back) outputs go through a Hadamard transform per head, in blocks
 * of the largest power of two that divides head_dim, if that is 16 or more. It spreads what is large in few dimensions over all.
 * Codes of a block, per layer and KV head (in units of LB_KV_CHUNK positions):
 *   keys     mean_c = f16(average of dimension c over the 64 positions); the rest k_tc - mean_c has one scale per position (bf16) and
 *            codes in 4 tiles of 16 positions, [head_dim rounded up to 32] columns.  Bits: b + 16 / head_dim + 16 / 64
 *   values   one scale per position (bf16), codes in tiles of 16 dimensions with positions as columns.  Bits: b + 16 / head_dim
 *   scale    largest magnitude / 127, / 15, and for q2 / 3 times the factor 1, 15/16, .. 8/16 of least squared error; rounded up to bf16
 *   number   scale * (code - 128), scale * (2 code - 15), scale * (2 code - 3)
 * Attention over codes is exact integer arithmetic (lb_kv_product_fn in kernels/lb_kernels.h): the query as int8 in groups of 32
 * dimensions, score = mean . q + scale * (codes . q); and probability times the value's scale as int8 in groups of 32 positions.
 * Subtracting a block's mean is what makes 4 bits enough for keys with large constant parts (biases): docs of the measurement in lb_kv_pack.c.
 */
#ifndef LB_KV_H
#define LB_KV_H

#include "../../formats/container/lb_hparams.h"
#include "../base/lb_arena.h"
#include "lb_linear.h"

#define LB_KV_BLOCK 64u /* positions that are quantized together */
#define LB_KV_CHUNK_BLOCKS (LB_KV_CHUNK / LB_KV_BLOCK)
#define LB_KV_MEAN_BLOCKS LB_TILE_ROWS /* blocks whose means are a tile */

typedef struct lb_kv_room {
    const char *name;
    uint32_t id;         /* in saved states */
    unsigned bits;       /* of codes; 0: numbers are kept as they are */
    unsigned product;    /* which of lb_kernels.kv_product reads the codes */
    lb_wformat weights;  /* the products that read what is kept as it is */
    size_t value_bytes;  /* of such a number */
    /* Writes n numbers, each `stride` numbers apart, rounding as the format does. */
    void (*store)(const lb_kernels *k, void *base, size_t stride, const float *x, size_t n);
} lb_kv_room;

/* NULL if this version lacks the format. */
const lb_kv_room *lb_kv_format_of(lbrt_kv_format f);

/* Keys or values. */
typedef struct lb_kv_side {
    const lb_kv_room *room;
    size_t tile_bytes;      /* of numbers kept as they are: of a chunk, or of a block if the format has codes */
    size_t block_bytes;     /* a block of such tiles */
    size_t code_tile_bytes; /* keys: 16 positions; values: 16 dimensions of a chunk */
    size_t code_tiles;      /* tiles of a chunk */
    size_t chunk_bytes;     /* of one layer and head: tiles of numbers, or u16 scale[256] and tiles of codes */
    unsigned char *chunks;  /* [layer][head][n_chunks] */
    unsigned char *sink, *open; /* [layer][head] blocks: the first, and the newest */
    unsigned char *stage;   /* [head][n_stage] blocks of the layer at work: those after the batch's first one */
    uint16_t *mean;         /* keys: [layer][head][n_means][head_dim][16 blocks] f16 */
} lb_kv_side;

typedef struct lb_kv {
    uint32_t n_layers, n_heads, head_dim; /* KV heads */
    size_t n_chunks, n_stage, n_means;
    size_t rotation;    /* block of the Hadamard transform, 0: none */
    bool has_codes;     /* keys or values */
    size_t first_block; /* that of the first token of the batch at work */
    size_t open_block;  /* whose numbers `open` has in every layer; SIZE_MAX: none */
    lb_kv_side key, value;
} lb_kv;

/* n_context is rounded up to whole chunks. */
void lb_kv_layout(lb_kv *kv, lb_arena *a, const lb_hparams *h, const lb_kv_room *key, const lb_kv_room *value,
                  size_t n_context, size_t n_batch);

/* A batch of n tokens at positions first..: begin, each layer, end. Without an end, `open` is taken as lost. */
void lb_kv_begin(lb_kv *kv, size_t first);
void lb_kv_end(lb_kv *kv, size_t first, size_t n);

/* The rotation of a format with codes, in place: n_heads heads. It is its own inverse. */
void lb_kv_rotate(const lb_kv *kv, const lb_kernels *kernels, float *x, uint32_t n_heads);

/* Stores one position of one layer: k and v are [n_heads][head_dim], rotated if the format wants it. */
void lb_kv_store(const lb_kv *kv, const lb_kernels *kernels, uint32_t layer, size_t position, const float *k, const float *v);

/* After the batch's tokens are stored and before attention: quantizes the blocks that have become full. */
void lb_kv_pack_layer(const lb_kv *kv, const lb_exec *e, uint32_t layer, size_t first, size_t n);

/* After attention: keeps the numbers of the newest block. */
void lb_kv_keep_newest(const lb_kv *kv, uint32_t layer, size_t first, size_t n);

/* The first position that must be computed again before a token can be fed at `length`; `length` if none. */
size_t lb_kv_resume(const lb_kv *kv, size_t length);

static inline unsigned char *lb_kv_chunk(const lb_kv *kv, const lb_kv_side *side, uint32_t layer, uint32_t head, size_t chunk)
{
    return side->chunks + (((size_t)layer * kv->n_heads + head) * kv->n_chunks + chunk) * side->chunk_bytes;
}

/* The numbers of a block: the first, or one at or after the batch's first. */
static inline unsigned char *lb_kv_block(const lb_kv *kv, const lb_kv_side *side, uint32_t layer, uint32_t head, size_t block)
{
    const size_t at = (size_t)layer * kv->n_heads + head;
    return block == 0               ? side->sink + at * side->block_bytes
           : block == kv->first_block ? side->open + at * side->block_bytes
                                    : side->stage + (head * kv->n_stage + block - kv->first_block - 1) * side->block_bytes;
}

/* A tile of the means of blocks 16 i .. 16 i + 15. */
static inline uint16_t *lb_kv_mean(const lb_kv *kv, uint32_t layer, uint32_t head, size_t i)
{
    return kv->key.mean + (((size_t)layer * kv->n_heads + head) * kv->n_means + i) * kv->head_dim * LB_KV_MEAN_BLOCKS;
}

/* Where the codes of a chunk begin, behind its scales. */
static inline size_t lb_kv_codes_at(void)
{
    return LB_KV_CHUNK * sizeof(uint16_t);
}

/* Bytes of the cache that decoding one token reads with `length` tokens in it. */
uint64_t lb_kv_read_bytes(const lb_kv *kv, size_t length);

/*
 * The first n positions as bytes for a saved state. They do not depend on the session's sizes or on what computed them: of a format with
 * codes the first block and all full ones are there; tokens behind are computed again when the session is continued.
 */
size_t lb_kv_state_bytes(const lb_kv *kv, size_t n);
void lb_kv_export(const lb_kv *kv, size_t n, unsigned char *out);
void lb_kv_import(lb_kv *kv, size_t n, const unsigned char *in);

/* Copies the first n positions of a cache of the same model and formats. */
void lb_kv_copy(lb_kv *kv, const lb_kv *from, size_t n);

/* ---- quantizing a block (lb_kv_pack.c); scratch has LB_MM_SCRATCH bytes ---- */

/* keys: 4 tiles [dim][16] of f16; means go to mean[16 c], scales to scale[64], codes of dim rounded up to 32 columns to 4 tiles */
void lb_kv_pack_keys(const lb_kernels *k, unsigned bits, const uint16_t *block, size_t dim, uint16_t *mean, uint16_t *scale,
                     unsigned char *codes, void *scratch);

/* values: n_tiles tiles [64][16] of f16; scales to scale[64], codes to n_tiles pieces `stride` bytes apart */
void lb_kv_pack_values(const lb_kernels *k, unsigned bits, const uint16_t *block, size_t n_tiles, uint16_t *scale,
                       unsigned char *codes, size_t stride, void *scratch);

#endif /* LB_KV_H */
