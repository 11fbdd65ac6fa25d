/* The KV cache: layout, storing a token, finishing a batch, what a window leaves. */
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

/* Where the codes of a side's format are in a head's part of a chunk */
static void code_layout(lb_kv_side *side, bool keys)
{
    side->code_tiles = keys ? LB_KV_CHUNK / LB_TILE_ROWS : (side->width + LB_TILE_ROWS - 1) / LB_TILE_ROWS;
    side->code_tile_bytes = (keys ? lb_round_up(side->width, LB_GROUP) : LB_KV_CHUNK) * LB_TILE_ROWS * side->room->bits / 8;
    side->mean_bytes = keys ? lb_round_up(side->width, 16) / 4 * LB_TILE_ROWS * sizeof(uint16_t) : 0;
    side->codes_at = LB_KV_CHUNK * sizeof(uint16_t) + side->mean_bytes;
    side->chunk_bytes = side->codes_at + side->code_tiles * side->code_tile_bytes;
}

static void side_layout(lb_kv *kv, unsigned which, lb_arena *a, size_t width, const lb_kv_room *room)
{
    lb_kv_side *side = &kv->side[which];
    const bool keys = which == LB_KV_KEY;
    const size_t value_tiles = (width + LB_TILE_ROWS - 1) / LB_TILE_ROWS;
    const size_t held = room->bits ? LB_KV_BLOCK : LB_KV_CHUNK; /* positions in a unit of numbers kept as they are */
    const size_t power = width & (0 - width);
    side->room = room;
    side->width = width;
    side->rotation = power >= 16 ? power : 0;
    side->tile_bytes = keys ? lb_round_up(width * LB_TILE_ROWS * room->value_bytes, 64) : held * LB_TILE_ROWS * room->value_bytes;
    side->block_bytes = (keys ? held / LB_TILE_ROWS : value_tiles) * side->tile_bytes;
    side->chunk_bytes = side->block_bytes;
    if (room->bits) {
        code_layout(side, keys);
    }
    size_t most = 0;
    for (uint32_t i = 0; i < kv->n_layers && kv->layers; i++) {
        most = lb_max(most, lb_kv_heads(kv, which, i));
    }
    if (room->bits) {
        side->sink_at = kv->sink_bytes;
        kv->sink_bytes += side->n_heads * side->block_bytes;
        side->open = (unsigned char *)lb_arena_take(a, side->n_heads, side->block_bytes);
        side->stage = (unsigned char *)lb_arena_take(a, most * kv->n_stage, side->block_bytes);
    }
    kv->faint_side[which] = *side;
    kv->faint_side[which].room = lb_kv_format_of(LBRT_KV_Q2);
    code_layout(&kv->faint_side[which], keys);
}

/* Heads of each side in a layer, and in how many units they come: as many as the side with fewer heads has. */
static void layer_layout(lb_kv *kv, lb_kv_layer *to, const lb_layer *l)
{
    to->units = l->k_heads < l->v_heads ? l->k_heads : l->v_heads;
    to->heads[LB_KV_KEY] = l->k_heads / to->units;
    to->heads[LB_KV_VALUE] = l->v_heads / to->units;
    for (unsigned i = 0; i < LB_KV_SIDES; i++) {
        to->first[i] = kv->side[i].n_heads;
        kv->side[i].n_heads += (size_t)to->units * to->heads[i];
    }
}

/* Chunks that a session needs: of a window those that the tokens of a batch see, with the first and the newest. */
static size_t chunks_of(const lb_kv_plan *plan)
{
    const size_t all = (plan->n_context + LB_KV_CHUNK - 1) / LB_KV_CHUNK;
    const bool codes = plan->room[LB_KV_KEY]->bits || plan->room[LB_KV_VALUE]->bits; /* they go on from a block's beginning */
    return plan->window ? lb_min(all, 1 + 2 + (plan->window + plan->n_batch + (codes ? LB_KV_BLOCK - 1 : 0)) / LB_KV_CHUNK) : all;
}

void lb_kv_layout(lb_kv *kv, lb_arena *a, const lbrt_model *m, const lb_kv_plan *plan)
{
    const uint32_t n_layers = m->hparams.n_layers;
    *kv = (lb_kv){ .n_layers = n_layers, .window = plan->window, .sinks = plan->sinks, .low = 1, .open_block = SIZE_MAX };
    kv->share = m->share;
    kv->has_codes = plan->room[LB_KV_KEY]->bits || plan->room[LB_KV_VALUE]->bits;
    kv->n_chunks = chunks_of(plan);
    kv->n_faint = plan->n_faint;
    kv->n_pages = kv->n_chunks + kv->has_codes + kv->n_faint;
    kv->n_stage = (plan->n_batch + LB_KV_BLOCK - 2) / LB_KV_BLOCK; /* if the first token is the last of its block */
    lb_kv_layer *layers = (lb_kv_layer *)lb_arena_take(a, n_layers, sizeof *layers);
    lb_kv_layer one[LB_MAX_LAYERS]; /* while counting */
    kv->layers = layers ? layers : one;
    for (uint32_t i = 0; i < n_layers; i++) {
        layer_layout(kv, &kv->layers[i], &m->layers[i]);
    }
    side_layout(kv, LB_KV_KEY, a, m->hparams.head_dim, plan->room[LB_KV_KEY]);
    side_layout(kv, LB_KV_VALUE, a, m->v_width, plan->room[LB_KV_VALUE]);
    for (uint32_t i = 0; i < 2 * n_layers; i++) {
        lb_kv_layer *l = &kv->layers[i / 2];
        const unsigned f = i % 2;
        const lb_kv_side *side = f ? kv->faint_side : kv->side;
        l->at[f] = kv->page_bytes[f];
        l->unit_bytes[f] = l->heads[LB_KV_KEY] * side[LB_KV_KEY].chunk_bytes + l->heads[LB_KV_VALUE] * side[LB_KV_VALUE].chunk_bytes;
        if (!lb_add_size(kv->page_bytes[f], l->units * l->unit_bytes[f], &kv->page_bytes[f])) {
            a->overflow = true;
        }
    }
    kv->layers = layers;
    kv->home = (lb_kv_home *)lb_arena_take(a, 1, sizeof *kv->home);
    kv->pages = (lb_kv_page **)lb_arena_take(a, kv->n_pages, sizeof *kv->pages);
    lb_kv_page *page = (lb_kv_page *)lb_arena_take(a, kv->n_pages, sizeof *page);
    unsigned char *data = (unsigned char *)lb_arena_take(a, kv->n_chunks, kv->page_bytes[0]);
    unsigned char *sink = (unsigned char *)lb_arena_take(a, 1, kv->sink_bytes);
    unsigned char *faint = (unsigned char *)lb_arena_take(a, kv->n_faint, kv->page_bytes[1]);
    for (size_t i = 0; data && i < kv->n_pages; i++) {
        unsigned char *at = i < kv->n_chunks ? data + i * kv->page_bytes[0] : i == kv->n_chunks ? sink : faint + (i - kv->n_chunks - 1) * kv->page_bytes[1];
        page[i] = (lb_kv_page){ .data = at, .home = kv->home };
        atomic_init(&page[i].users, 1);
        kv->pages[i] = &page[i];
    }
}

unsigned char *lb_kv_chunk(const lb_kv *kv, unsigned side, uint32_t layer, size_t head, size_t chunk)
{
    const lb_kv_layer *l = &kv->layers[layer];
    const size_t unit = head / l->heads[side], in_unit = head % l->heads[side];
    return lb_kv_unit(kv, layer, unit, chunk) + in_unit * lb_kv_side_of(kv, side, chunk)->chunk_bytes +
           (side == LB_KV_VALUE ? l->heads[LB_KV_KEY] * lb_kv_side_of(kv, LB_KV_KEY, chunk)->chunk_bytes : 0);
}

/* ---- a batch ---- */

void lb_kv_begin(lb_kv *kv, size_t first, size_t n)
{
    const size_t last = (first + n - 1) / LB_KV_CHUNK;
    kv->first_block = first / LB_KV_BLOCK;
    kv->open_block = SIZE_MAX;
    for (size_t c = first / LB_KV_CHUNK; c <= last; c++) {
        const size_t page = lb_kv_page_of(kv, c);
        lb_kv_own(kv, page, page + 1);
    }
    if (kv->has_codes && kv->first_block == 0) {
        lb_kv_own(kv, kv->n_chunks, kv->n_chunks + 1);
    }
    if (kv->window && last >= kv->n_chunks) {
        kv->low = lb_max(kv->low, last - (kv->n_chunks - 1) + 1);
    }
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
static LB_NOINLINE unsigned char *key_at(const lb_kv *kv, uint32_t layer, size_t head, size_t p)
{
    const lb_kv_side *side = &kv->side[LB_KV_KEY];
    unsigned char *unit = side->room->bits ? lb_kv_block(kv, LB_KV_KEY, layer, head, p / LB_KV_BLOCK)
                                           : lb_kv_chunk(kv, LB_KV_KEY, layer, head, p / LB_KV_CHUNK);
    p %= side->room->bits ? LB_KV_BLOCK : LB_KV_CHUNK;
    return unit + p / LB_TILE_ROWS * side->tile_bytes + p % LB_TILE_ROWS * side->room->value_bytes;
}

static LB_NOINLINE unsigned char *value_at(const lb_kv *kv, uint32_t layer, size_t head, size_t p, size_t tile)
{
    const lb_kv_side *side = &kv->side[LB_KV_VALUE];
    unsigned char *unit = side->room->bits ? lb_kv_block(kv, LB_KV_VALUE, layer, head, p / LB_KV_BLOCK)
                                           : lb_kv_chunk(kv, LB_KV_VALUE, layer, head, p / LB_KV_CHUNK);
    p %= side->room->bits ? LB_KV_BLOCK : LB_KV_CHUNK;
    return unit + tile * side->tile_bytes + p * LB_TILE_ROWS * side->room->value_bytes;
}

unsigned char *lb_kv_number_at(const lb_kv *kv, unsigned side, uint32_t layer, size_t head, size_t p, size_t d, size_t *stride)
{
    *stride = side == LB_KV_KEY ? LB_TILE_ROWS : 1;
    return side == LB_KV_KEY ? key_at(kv, layer, head, p) + d * LB_TILE_ROWS * kv->side[side].room->value_bytes
                             : value_at(kv, layer, head, p, d / LB_TILE_ROWS) + d % LB_TILE_ROWS * kv->side[side].room->value_bytes;
}

void lb_kv_store(const lb_kv *kv, const lb_kernels *kernels, uint32_t layer, size_t position, const float *k, const float *v)
{
    const lb_kv_side *keys = &kv->side[LB_KV_KEY], *values = &kv->side[LB_KV_VALUE];
    for (size_t head = 0; head < lb_kv_heads(kv, LB_KV_KEY, layer); head++) {
        keys->room->store(kernels, key_at(kv, layer, head, position), LB_TILE_ROWS, k + head * keys->width, keys->width);
    }
    for (size_t head = 0; head < lb_kv_heads(kv, LB_KV_VALUE, layer); head++) {
        for (size_t d = 0; d < values->width; d += LB_TILE_ROWS) {
            float tile[LB_TILE_ROWS] = { 0 };
            memcpy(tile, v + head * values->width + d, lb_min(LB_TILE_ROWS, values->width - d) * sizeof(float));
            values->room->store(kernels, value_at(kv, layer, head, position, d / LB_TILE_ROWS), 1, tile, LB_TILE_ROWS);
        }
    }
}

void lb_kv_rotate(const lb_kv_side *side, const lb_kernels *kernels, float *x, size_t n_heads)
{
    static const uint8_t plus[1024 / 8]; /* no signs are turned; a head's width is at most 1024 */
    for (size_t i = 0; side->rotation && i < n_heads; i++, x += side->width) {
        kernels->hadamard(x, x, plus, side->width, side->rotation);
    }
}

void lb_kv_pack_block(const lb_kv *kv, const lb_kernels *k, unsigned which, uint32_t layer, size_t head, size_t b, const uint16_t *block,
                      void *scratch)
{
    const lb_kv_side *side = lb_kv_side_of(kv, which, b / LB_KV_CHUNK_BLOCKS);
    const unsigned bits = side->room->bits;
    unsigned char *chunk = lb_kv_chunk(kv, which, layer, head, b / LB_KV_CHUNK_BLOCKS), *codes = chunk + side->codes_at;
    const size_t in_chunk = b % LB_KV_CHUNK_BLOCKS;
    uint16_t *scale = (uint16_t *)(void *)chunk + in_chunk * LB_KV_BLOCK;
    if (which == LB_KV_VALUE) {
        lb_kv_pack_values(k, bits, block, side->code_tiles, scale, codes + in_chunk * (side->code_tile_bytes / LB_KV_CHUNK_BLOCKS),
                          side->code_tile_bytes, scratch);
        return;
    }
    uint16_t mean[1024 + 16] = { 0 }; /* zero past the width, which the tile has room for */
    lb_kv_pack_keys(k, bits, block, side->width, mean, scale, codes + in_chunk * LB_KV_BLOCK / LB_TILE_ROWS * side->code_tile_bytes, scratch);
    for (size_t c = 0; c < lb_round_up(side->width, 16); c++) {
        lb_kv_means(chunk)[lb_kv_mean_at(side->width, c, b)] = mean[c];
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
    const size_t keys = lb_kv_heads(kv, LB_KV_KEY, job->layer), head = item < keys ? item : item - keys;
    const unsigned which = item < keys ? LB_KV_KEY : LB_KV_VALUE;
    const size_t full = (job->first + job->n) / LB_KV_BLOCK;
    for (size_t b = lb_max(1, kv->first_block); kv->side[which].room->bits && b < full; b++) {
        lb_kv_pack_block(kv, job->e->k, which, job->layer, head, b,
                         (const uint16_t *)(const void *)lb_kv_block(kv, which, job->layer, head, b), lb_exec_scratch(job->e, thread));
    }
}

void lb_kv_pack_layer(const lb_kv *kv, const lb_exec *e, uint32_t layer, size_t first, size_t n)
{
    if (kv->has_codes && (first + n) / LB_KV_BLOCK > kv->first_block) {
        kv_pack_job job = { .kv = kv, .e = e, .layer = layer, .first = first, .n = n };
        lb_pool_run(e->pool, pack_item, &job, lb_kv_heads(kv, LB_KV_KEY, layer) + lb_kv_heads(kv, LB_KV_VALUE, layer));
    }
}

void lb_kv_keep_newest(const lb_kv *kv, uint32_t layer, size_t first, size_t n)
{
    const size_t last = (first + n - 1) / LB_KV_BLOCK;
    for (unsigned which = 0; which < LB_KV_SIDES && last > kv->first_block; which++) {
        const lb_kv_side *side = &kv->side[which];
        for (size_t head = 0; side->room->bits && head < lb_kv_heads(kv, which, layer); head++) {
            memcpy(side->open + (kv->layers[layer].first[which] + head) * side->block_bytes, lb_kv_block(kv, which, layer, head, last),
                   side->block_bytes);
        }
    }
}

/* ---- windows ---- */

size_t lb_kv_begin_of(const lb_kv *kv, size_t length)
{
    const size_t from = kv->has_codes ? length / LB_KV_BLOCK * LB_KV_BLOCK : length; /* what may be computed again */
    return kv->window && from >= kv->window ? from - kv->window + 1 : 0;
}

bool lb_kv_can_rewind(const lb_kv *kv, size_t length)
{
    /* the first chunk is always there */
    return length <= LB_KV_CHUNK || lb_max(1, lb_kv_begin_of(kv, length) / LB_KV_CHUNK) >= kv->low;
}

void lb_kv_rewind(lb_kv *kv, size_t length)
{
    kv->low = length <= LB_KV_CHUNK ? 1 : kv->low;
    kv->faint = length ? kv->faint : 0;
}

size_t lb_kv_held(const lb_kv *kv, size_t n)
{
    return kv->window ? lb_min(n, kv->sinks + kv->window) : n;
}

/* ---- sizes ---- */

/* Of positions begin..n-1, how many blocks a query behind them sees as codes */
static size_t coded_blocks(size_t begin, size_t n)
{
    const size_t from = lb_max(1, begin / LB_KV_BLOCK), to = n / LB_KV_BLOCK;
    return to > from ? to - from : 0;
}

static uint64_t coded_block_bytes(const lb_kv_side *side)
{
    return LB_KV_BLOCK * sizeof(uint16_t) + side->mean_bytes / LB_KV_CHUNK_BLOCKS + side->code_tiles * side->code_tile_bytes / LB_KV_CHUNK_BLOCKS;
}

uint64_t lb_kv_read_bytes(const lb_kv *kv, size_t length)
{
    uint64_t bytes = 0;
    const size_t faint = kv->faint * LB_KV_CHUNK_BLOCKS;
    const size_t begin = kv->window && length > kv->window ? length - kv->window : 0;
    for (unsigned i = 0; i < LB_KV_SIDES; i++) {
        const lb_kv_side *side = &kv->side[i];
        const size_t coded = side->room->bits ? coded_blocks(begin, length) : 0;
        const size_t seen = length - begin + lb_min(begin, kv->sinks);
        const uint64_t codes = (coded - faint) * coded_block_bytes(side) + faint * coded_block_bytes(&kv->faint_side[i]);
        bytes += side->n_heads * (codes + (uint64_t)(seen - lb_min(seen, coded * LB_KV_BLOCK)) * side->width * side->room->value_bytes);
    }
    return bytes;
}
