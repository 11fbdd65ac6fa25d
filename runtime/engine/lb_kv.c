/* The KV cache: layout, storing a token, moving it out and in. */
#include "lb_kv.h"

#include "../../kernels/lb_math.h"

static void store_f32(const lb_kernels *k, void *base, size_t stride, const float *x, size_t n)
{
    (void)k;
    float *to = (float *)base;
    for (size_t i = 0; i < n; i++) {
        to[i * stride] = x[i];
    }
}

static void store_f16(const lb_kernels *k, void *base, size_t stride, const float *x, size_t n)
{
    uint16_t *to = (uint16_t *)base;
    uint16_t half[64];
    for (size_t i = 0; i < n; i += 64) {
        size_t m = lb_min(64, n - i);
        k->f32_to_f16(half, x + i, m);
        for (size_t j = 0; j < m; j++) {
            to[(i + j) * stride] = half[j];
        }
    }
}

const lb_kv_room *lb_kv_format_of(lbrt_kv_format f)
{
    static const lb_kv_room formats[] = {
        { "f32", LB_W_F32, 4, store_f32 },
        { "f16", LB_W_F16, 2, store_f16 },
    };
    switch (f) {
    case LBRT_KV_F32: return &formats[0];
    case LBRT_KV_DEFAULT:
    case LBRT_KV_F16: return &formats[1];
    default: return NULL;
    }
}

void lb_kv_layout(lb_kv *kv, lb_arena *a, const lb_hparams *h, const lb_kv_room *key, const lb_kv_room *value,
                  size_t n_context)
{
    *kv = (lb_kv){ .key = key, .value = value, .n_layers = h->n_layers, .n_heads = h->n_kv_heads, .head_dim = h->head_dim };
    kv->n_chunks = (n_context + LB_KV_CHUNK - 1) / LB_KV_CHUNK;
    kv->key_tile_bytes = lb_round_up(h->head_dim * LB_TILE_ROWS * key->value_bytes, 64);
    kv->value_tile_bytes = LB_KV_CHUNK * LB_TILE_ROWS * value->value_bytes;
    kv->key_chunk_bytes = LB_KV_CHUNK / LB_TILE_ROWS * kv->key_tile_bytes;
    kv->value_chunk_bytes = lb_round_up(h->head_dim, LB_TILE_ROWS) / LB_TILE_ROWS * kv->value_tile_bytes;
    size_t chunks = 0;
    if (!lb_mul_size((size_t)kv->n_layers * kv->n_heads, kv->n_chunks, &chunks)) {
        a->overflow = true;
    }
    kv->keys = (unsigned char *)lb_arena_take(a, chunks, kv->key_chunk_bytes);
    kv->values = (unsigned char *)lb_arena_take(a, chunks, kv->value_chunk_bytes);
}

/* Where position p of a layer and head begins, and the distance from one dimension's number to the next, in numbers. */
static unsigned char *key_at(const lb_kv *kv, uint32_t layer, uint32_t head, size_t p)
{
    unsigned char *chunk = (unsigned char *)(uintptr_t)lb_kv_keys(kv, layer, head, p / LB_KV_CHUNK);
    return chunk + p % LB_KV_CHUNK / LB_TILE_ROWS * kv->key_tile_bytes + p % LB_TILE_ROWS * kv->key->value_bytes;
}

static unsigned char *value_at(const lb_kv *kv, uint32_t layer, uint32_t head, size_t p, size_t tile)
{
    unsigned char *chunk = (unsigned char *)(uintptr_t)lb_kv_values(kv, layer, head, p / LB_KV_CHUNK);
    return chunk + tile * kv->value_tile_bytes + p % LB_KV_CHUNK * LB_TILE_ROWS * kv->value->value_bytes;
}

void lb_kv_store(const lb_kv *kv, const lb_kernels *kernels, uint32_t layer, size_t position, const float *k, const float *v)
{
    for (uint32_t head = 0; head < kv->n_heads; head++) {
        const float *kh = k + (size_t)head * kv->head_dim, *vh = v + (size_t)head * kv->head_dim;
        kv->key->store(kernels, key_at(kv, layer, head, position), LB_TILE_ROWS, kh, kv->head_dim);
        for (size_t d = 0; d < kv->head_dim; d += LB_TILE_ROWS) {
            float tile[LB_TILE_ROWS] = { 0 };
            memcpy(tile, vh + d, lb_min(LB_TILE_ROWS, kv->head_dim - d) * sizeof(float));
            kv->value->store(kernels, value_at(kv, layer, head, position, d / LB_TILE_ROWS), 1, tile, LB_TILE_ROWS);
        }
    }
}

uint64_t lb_kv_read_bytes(const lb_kv *kv, size_t length)
{
    return (uint64_t)length * kv->n_layers * kv->n_heads * kv->head_dim * (kv->key->value_bytes + kv->value->value_bytes);
}

size_t lb_kv_position_bytes(const lb_kv *kv)
{
    return (size_t)kv->n_layers * kv->n_heads * kv->head_dim * (kv->key->value_bytes + kv->value->value_bytes);
}

/* Moves the numbers of one position between the cache and a packed buffer; `out` says which way. */
static void kv_move(const lb_kv *kv, size_t position, unsigned char *packed, bool out)
{
    size_t kb = kv->key->value_bytes, vb = kv->value->value_bytes;
    for (uint32_t layer = 0; layer < kv->n_layers; layer++) {
        for (uint32_t head = 0; head < kv->n_heads; head++) {
            unsigned char *key = key_at(kv, layer, head, position);
            for (size_t d = 0; d < kv->head_dim; d++, packed += kb) {
                unsigned char *in_cache = key + d * LB_TILE_ROWS * kb;
                memcpy(out ? packed : in_cache, out ? in_cache : packed, kb);
            }
            for (size_t d = 0; d < kv->head_dim; d += LB_TILE_ROWS) {
                unsigned char *in_cache = value_at(kv, layer, head, position, d / LB_TILE_ROWS);
                size_t n = lb_min(LB_TILE_ROWS, kv->head_dim - d) * vb;
                memcpy(out ? packed : in_cache, out ? in_cache : packed, n);
                packed += n;
            }
        }
    }
}

void lb_kv_export(const lb_kv *kv, size_t position, unsigned char *out)
{
    kv_move(kv, position, out, true);
}

void lb_kv_import(lb_kv *kv, size_t position, const unsigned char *in)
{
    kv_move(kv, position, (unsigned char *)(uintptr_t)in, false);
}
