/* The KV cache: layout, storing a token, finishing a batch, moving it out and in. */
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
        { "f32", 1, 0, 0, LB_W_F32, 4, store_f32 },
        { "f16", 2, 0, 0, LB_W_F16, 2, store_f16 },
        { "q8", 8, 8, LB_KV_PRODUCT_Q8, LB_W_F16, 2, store_f16 },
        { "q4", 12, 4, LB_KV_PRODUCT_Q4, LB_W_F16, 2, store_f16 },
        { "q2", 14, 2, LB_KV_PRODUCT_Q2, LB_W_F16, 2, store_f16 },
    };
    switch (f) {
    case LBRT_KV_F32: return &formats[0];
    case LBRT_KV_DEFAULT:
    case LBRT_KV_F16: return &formats[1];
    case LBRT_KV_Q8: return &formats[2];
    case LBRT_KV_Q4: return &formats[3];
    case LBRT_KV_Q2: return &formats[4];
    default: return NULL;
    }
}

/* ---- layout ---- */

static void side_layout(lb_kv *kv, lb_kv_side *side, lb_arena *a, const lb_kv_room *room, bool keys)
{
    const size_t hd = kv->head_dim, value_tiles = (hd + LB_TILE_ROWS - 1) / LB_TILE_ROWS;
    const size_t held = room->bits ? LB_KV_BLOCK : LB_KV_CHUNK; /* positions in a unit of numbers kept as they are */
    side->room = room;
    side->tile_bytes = keys ? lb_round_up(hd * LB_TILE_ROWS * room->value_bytes, 64) : held * LB_TILE_ROWS * room->value_bytes;
    side->block_bytes = (keys ? held / LB_TILE_ROWS : value_tiles) * side->tile_bytes;
    side->chunk_bytes = side->block_bytes;
    if (room->bits) {
        side->code_tiles = keys ? LB_KV_CHUNK / LB_TILE_ROWS : value_tiles;
        side->code_tile_bytes = (keys ? lb_round_up(hd, LB_GROUP) : LB_KV_CHUNK) * LB_TILE_ROWS * room->bits / 8;
        side->chunk_bytes = lb_kv_codes_at() + side->code_tiles * side->code_tile_bytes;
    }
    size_t heads = (size_t)kv->n_layers * kv->n_heads, chunks = 0, means = 0;
    if (!lb_mul_size(heads, kv->n_chunks, &chunks) || !lb_mul_size(heads, kv->n_means, &means)) {
        a->overflow = true;
    }
    side->chunks = (unsigned char *)lb_arena_take(a, chunks, side->chunk_bytes);
    if (room->bits) {
        side->sink = (unsigned char *)lb_arena_take(a, heads, side->block_bytes);
        side->open = (unsigned char *)lb_arena_take(a, heads, side->block_bytes);
        side->stage = (unsigned char *)lb_arena_take(a, kv->n_heads * kv->n_stage, side->block_bytes);
    }
    if (room->bits && keys) {
        side->mean = (uint16_t *)lb_arena_take(a, means, hd * LB_KV_MEAN_BLOCKS * sizeof(uint16_t));
    }
}

void lb_kv_layout(lb_kv *kv, lb_arena *a, const lb_hparams *h, const lb_kv_room *key, const lb_kv_room *value,
                  size_t n_context, size_t n_batch)
{
    *kv = (lb_kv){ .n_layers = h->n_layers, .n_heads = h->n_kv_heads, .head_dim = h->head_dim };
    kv->has_codes = key->bits || value->bits;
    kv->open_block = SIZE_MAX;
    kv->n_chunks = (n_context + LB_KV_CHUNK - 1) / LB_KV_CHUNK;
    kv->n_means = (kv->n_chunks * LB_KV_CHUNK_BLOCKS + LB_KV_MEAN_BLOCKS - 1) / LB_KV_MEAN_BLOCKS;
    kv->n_stage = (n_batch + LB_KV_BLOCK - 2) / LB_KV_BLOCK; /* if the first token is the last of its block */
    const size_t power = h->head_dim & (0 - (size_t)h->head_dim);
    kv->rotation = power >= 16 ? power : 0;
    side_layout(kv, &kv->key, a, key, true);
    side_layout(kv, &kv->value, a, value, false);
}

/* ---- a batch ---- */

void lb_kv_begin(lb_kv *kv, size_t first)
{
    kv->first_block = first / LB_KV_BLOCK;
    kv->open_block = SIZE_MAX;
}

void lb_kv_end(lb_kv *kv, size_t first, size_t n)
{
    kv->open_block = (first + n - 1) / LB_KV_BLOCK;
}

size_t lb_kv_resume(const lb_kv *kv, size_t length)
{
    const size_t block = length / LB_KV_BLOCK;
    return kv->has_codes && block > 0 && kv->open_block != block ? block * LB_KV_BLOCK : length;
}

/* Where position p of a layer and head begins, and where its tile of 16 dimensions is. */
static unsigned char *key_at(const lb_kv *kv, uint32_t layer, uint32_t head, size_t p)
{
    const lb_kv_side *side = &kv->key;
    unsigned char *unit = side->room->bits ? lb_kv_block(kv, side, layer, head, p / LB_KV_BLOCK)
                                           : lb_kv_chunk(kv, side, layer, head, p / LB_KV_CHUNK);
    p %= side->room->bits ? LB_KV_BLOCK : LB_KV_CHUNK;
    return unit + p / LB_TILE_ROWS * side->tile_bytes + p % LB_TILE_ROWS * side->room->value_bytes;
}

static unsigned char *value_at(const lb_kv *kv, uint32_t layer, uint32_t head, size_t p, size_t tile)
{
    const lb_kv_side *side = &kv->value;
    unsigned char *unit = side->room->bits ? lb_kv_block(kv, side, layer, head, p / LB_KV_BLOCK)
                                           : lb_kv_chunk(kv, side, layer, head, p / LB_KV_CHUNK);
    p %= side->room->bits ? LB_KV_BLOCK : LB_KV_CHUNK;
    return unit + tile * side->tile_bytes + p * LB_TILE_ROWS * side->room->value_bytes;
}

void lb_kv_store(const lb_kv *kv, const lb_kernels *kernels, uint32_t layer, size_t position, const float *k, const float *v)
{
    for (uint32_t head = 0; head < kv->n_heads; head++) {
        const float *kh = k + (size_t)head * kv->head_dim, *vh = v + (size_t)head * kv->head_dim;
        kv->key.room->store(kernels, key_at(kv, layer, head, position), LB_TILE_ROWS, kh, kv->head_dim);
        for (size_t d = 0; d < kv->head_dim; d += LB_TILE_ROWS) {
            float tile[LB_TILE_ROWS] = { 0 };
            memcpy(tile, vh + d, lb_min(LB_TILE_ROWS, kv->head_dim - d) * sizeof(float));
            kv->value.room->store(kernels, value_at(kv, layer, head, position, d / LB_TILE_ROWS), 1, tile, LB_TILE_ROWS);
        }
    }
}

void lb_kv_rotate(const lb_kv *kv, const lb_kernels *kernels, float *x, uint32_t n_heads)
{
    static const uint8_t plus[1024 / 8]; /* no signs are turned; head_dim is at most 1024 */
    for (uint32_t i = 0; kv->rotation && i < n_heads; i++, x += kv->head_dim) {
        kernels->hadamard(x, x, plus, kv->head_dim, kv->rotation);
    }
}

typedef struct kv_pack_job {
    const lb_kv *kv;
    const lb_exec *e;
    uint32_t layer;
    size_t first, n;
} kv_pack_job;

/* Quantizes the blocks of one head and side that the batch has filled. */
static void pack_item(void *context, size_t item, unsigned thread)
{
    const kv_pack_job *job = (const kv_pack_job *)context;
    const lb_kv *kv = job->kv;
    const uint32_t head = (uint32_t)(item / 2);
    const lb_kv_side *side = item % 2 ? &kv->value : &kv->key;
    if (!side->room->bits) {
        return;
    }
    const unsigned bits = side->room->bits;
    const size_t full = (job->first + job->n) / LB_KV_BLOCK;
    for (size_t b = lb_max(1, kv->first_block); b < full; b++) {
        const uint16_t *block = (const uint16_t *)(const void *)lb_kv_block(kv, side, job->layer, head, b);
        unsigned char *chunk = lb_kv_chunk(kv, side, job->layer, head, b / LB_KV_CHUNK_BLOCKS), *codes = chunk + lb_kv_codes_at();
        const size_t in_chunk = b % LB_KV_CHUNK_BLOCKS;
        uint16_t *scale = (uint16_t *)(void *)chunk + in_chunk * LB_KV_BLOCK;
        if (side == &kv->key) {
            lb_kv_pack_keys(job->e->k, bits, block, kv->head_dim,
                            lb_kv_mean(kv, job->layer, head, b / LB_KV_MEAN_BLOCKS) + b % LB_KV_MEAN_BLOCKS, scale,
                            codes + in_chunk * LB_KV_BLOCK / LB_TILE_ROWS * side->code_tile_bytes, lb_exec_scratch(job->e, thread));
        } else {
            lb_kv_pack_values(job->e->k, bits, block, side->code_tiles, scale,
                              codes + in_chunk * (side->code_tile_bytes / LB_KV_CHUNK_BLOCKS), side->code_tile_bytes,
                              lb_exec_scratch(job->e, thread));
        }
    }
}

void lb_kv_pack_layer(const lb_kv *kv, const lb_exec *e, uint32_t layer, size_t first, size_t n)
{
    if (kv->has_codes && (first + n) / LB_KV_BLOCK > kv->first_block) {
        kv_pack_job job = { .kv = kv, .e = e, .layer = layer, .first = first, .n = n };
        lb_pool_run(e->pool, pack_item, &job, 2 * (size_t)kv->n_heads);
    }
}

void lb_kv_keep_newest(const lb_kv *kv, uint32_t layer, size_t first, size_t n)
{
    const size_t last = (first + n - 1) / LB_KV_BLOCK;
    for (unsigned i = 0; i < 2 && last > kv->first_block; i++) {
        const lb_kv_side *side = i ? &kv->value : &kv->key;
        for (uint32_t head = 0; side->room->bits && head < kv->n_heads; head++) {
            const size_t at = (size_t)layer * kv->n_heads + head;
            memcpy(side->open + at * side->block_bytes, lb_kv_block(kv, side, layer, head, last), side->block_bytes);
        }
    }
}

/* ---- sizes ---- */

/* Bytes of the codes of a full block, with scales (and means) */
static size_t code_block_bytes(const lb_kv *kv, const lb_kv_side *side)
{
    return LB_KV_BLOCK * sizeof(uint16_t) + side->code_tiles * side->code_tile_bytes / LB_KV_CHUNK_BLOCKS +
           (side->mean ? kv->head_dim * sizeof(uint16_t) : 0);
}

/* Of n positions: how many blocks a query behind them sees as codes */
static size_t coded_blocks(size_t n)
{
    return n / LB_KV_BLOCK > 1 ? n / LB_KV_BLOCK - 1 : 0;
}

uint64_t lb_kv_read_bytes(const lb_kv *kv, size_t length)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < 2; i++) {
        const lb_kv_side *side = i ? &kv->value : &kv->key;
        const size_t coded = side->room->bits ? coded_blocks(length) : 0;
        bytes += (uint64_t)coded * (side->room->bits ? code_block_bytes(kv, side) : 0) +
                 (uint64_t)(length - coded * LB_KV_BLOCK) * kv->head_dim * side->room->value_bytes;
    }
    return bytes * kv->n_layers * kv->n_heads;
}

/* ---- moving the cache ---- */

/* Positions that a saved state has as numbers */
static size_t saved_numbers(const lb_kv_side *side, size_t n)
{
    return side->room->bits ? lb_min(n, LB_KV_BLOCK) : n;
}

static size_t saved_blocks(const lb_kv_side *side, size_t n)
{
    return side->room->bits ? coded_blocks(n) : 0;
}

size_t lb_kv_state_bytes(const lb_kv *kv, size_t n)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < 2; i++) {
        const lb_kv_side *side = i ? &kv->value : &kv->key;
        bytes += saved_numbers(side, n) * kv->head_dim * side->room->value_bytes;
        bytes += side->room->bits ? saved_blocks(side, n) * code_block_bytes(kv, side) : 0;
    }
    return bytes * kv->n_layers * kv->n_heads;
}

static unsigned char *move(unsigned char *in_cache, unsigned char *packed, size_t n, bool out)
{
    memcpy(out ? packed : in_cache, out ? in_cache : packed, n);
    return packed + n;
}

static unsigned char *move_numbers(const lb_kv *kv, const lb_kv_side *side, uint32_t layer, uint32_t head, size_t n,
                                   unsigned char *packed, bool out)
{
    const size_t bytes = side->room->value_bytes;
    for (size_t p = 0; p < saved_numbers(side, n); p++) {
        if (side == &kv->key) {
            unsigned char *key = key_at(kv, layer, head, p);
            for (size_t d = 0; d < kv->head_dim; d++) {
                packed = move(key + d * LB_TILE_ROWS * bytes, packed, bytes, out);
            }
        } else {
            for (size_t d = 0; d < kv->head_dim; d += LB_TILE_ROWS) {
                packed = move(value_at(kv, layer, head, p, d / LB_TILE_ROWS), packed,
                              lb_min(LB_TILE_ROWS, kv->head_dim - d) * bytes, out);
            }
        }
    }
    return packed;
}

static unsigned char *move_codes(const lb_kv *kv, const lb_kv_side *side, uint32_t layer, uint32_t head, size_t n,
                                 unsigned char *packed, bool out)
{
    const size_t piece = side->code_tile_bytes / LB_KV_CHUNK_BLOCKS; /* values: a block's part of a tile */
    for (size_t b = 1; b <= saved_blocks(side, n); b++) {
        const size_t in_chunk = b % LB_KV_CHUNK_BLOCKS;
        unsigned char *chunk = lb_kv_chunk(kv, side, layer, head, b / LB_KV_CHUNK_BLOCKS), *codes = chunk + lb_kv_codes_at();
        packed = move(chunk + in_chunk * LB_KV_BLOCK * sizeof(uint16_t), packed, LB_KV_BLOCK * sizeof(uint16_t), out);
        if (side == &kv->key) {
            const size_t tiles = LB_KV_BLOCK / LB_TILE_ROWS;
            packed = move(codes + in_chunk * tiles * side->code_tile_bytes, packed, tiles * side->code_tile_bytes, out);
            uint16_t *mean = lb_kv_mean(kv, layer, head, b / LB_KV_MEAN_BLOCKS) + b % LB_KV_MEAN_BLOCKS;
            for (size_t d = 0; d < kv->head_dim; d++) {
                packed = move((unsigned char *)(mean + d * LB_KV_MEAN_BLOCKS), packed, sizeof *mean, out);
            }
        } else {
            for (size_t tile = 0; tile < side->code_tiles; tile++) {
                packed = move(codes + tile * side->code_tile_bytes + in_chunk * piece, packed, piece, out);
            }
        }
    }
    return packed;
}

static void move_all(const lb_kv *kv, size_t n, unsigned char *packed, bool out)
{
    for (uint32_t layer = 0; layer < kv->n_layers; layer++) {
        for (uint32_t head = 0; head < kv->n_heads; head++) {
            for (unsigned i = 0; i < 2; i++) {
                const lb_kv_side *side = i ? &kv->value : &kv->key;
                packed = move_numbers(kv, side, layer, head, n, packed, out);
                packed = side->room->bits ? move_codes(kv, side, layer, head, n, packed, out) : packed;
            }
        }
    }
}

void lb_kv_export(const lb_kv *kv, size_t n, unsigned char *out)
{
    move_all(kv, n, out, true);
}

void lb_kv_import(lb_kv *kv, size_t n, const unsigned char *in)
{
    kv->open_block = SIZE_MAX;
    move_all(kv, n, (unsigned char *)(uintptr_t)in, false);
}

void lb_kv_copy(lb_kv *kv, const lb_kv *from, size_t n)
{
    const size_t chunks = (n + LB_KV_CHUNK - 1) / LB_KV_CHUNK;
    const size_t means = (n / LB_KV_BLOCK + LB_KV_MEAN_BLOCKS - 1) / LB_KV_MEAN_BLOCKS;
    const bool open = from->open_block == n / LB_KV_BLOCK;
    kv->open_block = open ? from->open_block : SIZE_MAX;
    for (unsigned i = 0; i < 2; i++) {
        const lb_kv_side *to = i ? &kv->value : &kv->key, *source = i ? &from->value : &from->key;
        for (uint32_t at = 0; at < kv->n_layers * kv->n_heads; at++) {
            const uint32_t layer = at / kv->n_heads, head = at % kv->n_heads;
            memcpy(lb_kv_chunk(kv, to, layer, head, 0), lb_kv_chunk(from, source, layer, head, 0), chunks * to->chunk_bytes);
            if (!to->room->bits) {
                continue;
            }
            memcpy(to->sink + at * to->block_bytes, source->sink + at * to->block_bytes, to->block_bytes);
            if (open) {
                memcpy(to->open + at * to->block_bytes, source->open + at * to->block_bytes, to->block_bytes);
            }
            if (to->mean) {
                memcpy(lb_kv_mean(kv, layer, head, 0), lb_kv_mean(from, layer, head, 0),
                       means * kv->head_dim * LB_KV_MEAN_BLOCKS * sizeof(uint16_t));
            }
        }
    }
}
