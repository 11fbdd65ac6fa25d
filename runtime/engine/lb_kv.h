/*
 * The KV cache. Keys and values are kept as matrices in the tile layout of the weight formats, so that attention is done by
 * the matrix products of kernels/: scores = K q with positions as rows, output = V' p with dimensions as rows.
 *
 * Per layer and KV head, positions come in chunks of LB_KV_CHUNK = 256:
 *   keys     16 tiles of 16 positions, each [head_dim][16 positions]
 *   values   ceil(head_dim / 16) tiles of 16 dimensions, each [256 positions][16 dimensions]
 * A format says how large a tile is, how a token is stored and which product reads it.
 */
#ifndef LB_KV_H
#define LB_KV_H

#include "../../formats/container/lb_hparams.h"
#include "../base/lb_arena.h"
#include "lb_linear.h"

typedef struct lb_kv_room {
    const char *name;
    lb_wformat weights;  /* whose products read it */
    size_t value_bytes;  /* of one number */
    /* Writes n numbers, each `stride` numbers apart, rounding as the format does. */
    void (*store)(const lb_kernels *k, void *base, size_t stride, const float *x, size_t n);
} lb_kv_room;

/* NULL if this version lacks the format. */
const lb_kv_room *lb_kv_format_of(lbrt_kv_format f);

typedef struct lb_kv {
    const lb_kv_room *key, *value;
    uint32_t n_layers, n_heads, head_dim; /* KV heads */
    size_t n_chunks;
    size_t key_tile_bytes, value_tile_bytes;
    size_t key_chunk_bytes, value_chunk_bytes; /* of one layer and head */
    unsigned char *keys, *values; /* [layer][head][chunk] */
} lb_kv;

/* n_context is rounded up to whole chunks. */
void lb_kv_layout(lb_kv *kv, lb_arena *a, const lb_hparams *h, const lb_kv_room *key, const lb_kv_room *value,
                  size_t n_context);

/* Stores one position of one layer: k and v are [n_heads][head_dim]. */
void lb_kv_store(const lb_kv *kv, const lb_kernels *kernels, uint32_t layer, size_t position, const float *k, const float *v);

static inline const unsigned char *lb_kv_keys(const lb_kv *kv, uint32_t layer, uint32_t head, size_t chunk)
{
    return kv->keys + (((size_t)layer * kv->n_heads + head) * kv->n_chunks + chunk) * kv->key_chunk_bytes;
}

static inline const unsigned char *lb_kv_values(const lb_kv *kv, uint32_t layer, uint32_t head, size_t chunk)
{
    return kv->values + (((size_t)layer * kv->n_heads + head) * kv->n_chunks + chunk) * kv->value_chunk_bytes;
}

/* Bytes of the cache that decoding one token reads with `length` tokens in it. */
uint64_t lb_kv_read_bytes(const lb_kv *kv, size_t length);

/* Saved states hold the cache position by position, independent of chunks: this many bytes for one position of all layers. */
size_t lb_kv_position_bytes(const lb_kv *kv);
void lb_kv_export(const lb_kv *kv, size_t position, unsigned char *out);
void lb_kv_import(lb_kv *kv, size_t position, const unsigned char *in);

#endif /* LB_KV_H */
