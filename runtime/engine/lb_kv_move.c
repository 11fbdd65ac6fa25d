/* Moving the cache: out of a session and into one, and together after an eviction. */
#include "../../kernels/lb_math.h"
#include "lb_kv.h"

/* ---- saved states ---- */

/* Whether positions from..to-1 have one in a chunk of which a token behind n positions may see something: products read whole chunks. */
static bool saved(const lb_kv *kv, size_t n, size_t from, size_t to)
{
    return (kv->sinks && from < LB_KV_CHUNK) || to > lb_kv_begin_of(kv, n) / LB_KV_CHUNK * LB_KV_CHUNK;
}

/* The first position that a state of n positions has not as a number */
static size_t numbers_end(const lb_kv_side *side, size_t n)
{
    return side->room->bits ? lb_min(n, LB_KV_BLOCK) : n;
}

/* Goes through everything of a state: copies it out of the cache, into it, or only counts its bytes. */
typedef struct kv_mover {
    const lb_kv *kv;
    unsigned char *packed; /* NULL: count */
    size_t bytes;
    bool out;
} kv_mover;

static LB_NOINLINE void move_piece(kv_mover *m, unsigned char *in_cache, size_t n)
{
    if (m->packed) {
        memcpy(m->out ? m->packed + m->bytes : in_cache, m->out ? in_cache : m->packed + m->bytes, n);
    }
    m->bytes += n;
}

static void move_numbers(kv_mover *m, unsigned which, uint32_t layer, size_t head, size_t n)
{
    const lb_kv *kv = m->kv;
    const lb_kv_side *side = &kv->side[which];
    const size_t bytes = side->room->value_bytes;
    for (size_t p = 0; p < numbers_end(side, n); p++) {
        if (!side->room->bits && !saved(kv, n, p, p + 1)) {
            p = lb_kv_begin_of(kv, n) / LB_KV_CHUNK * LB_KV_CHUNK - 1; /* behind the sinks nothing is, up to there */
            continue;
        }
        if (!m->packed) {
            m->bytes += side->width * bytes;
            continue;
        }
        for (size_t d = 0, step; d < side->width; d += step) {
            size_t stride;
            unsigned char *at = lb_kv_number_at(kv, which, layer, head, p, d, &stride);
            step = stride == 1 ? lb_min(LB_TILE_ROWS, side->width - d) : 1;
            move_piece(m, at, step * bytes);
        }
    }
}

static void move_codes(kv_mover *m, unsigned which, uint32_t layer, size_t head, size_t n)
{
    const lb_kv *kv = m->kv;
    for (size_t b = 1; b < n / LB_KV_BLOCK; b++) {
        const lb_kv_side *side = lb_kv_side_of(kv, which, b / LB_KV_CHUNK_BLOCKS);
        const size_t piece = side->code_tile_bytes / LB_KV_CHUNK_BLOCKS; /* values: a block's part of a tile */
        if (!saved(kv, n, b * LB_KV_BLOCK, (b + 1) * LB_KV_BLOCK)) {
            continue;
        }
        const size_t in_chunk = b % LB_KV_CHUNK_BLOCKS;
        unsigned char *chunk = lb_kv_chunk(kv, which, layer, head, b / LB_KV_CHUNK_BLOCKS), *codes = chunk + side->codes_at;
        move_piece(m, chunk + in_chunk * LB_KV_BLOCK * sizeof(uint16_t), LB_KV_BLOCK * sizeof(uint16_t));
        if (which == LB_KV_KEY) {
            const size_t tiles = LB_KV_BLOCK / LB_TILE_ROWS, padded = lb_round_up(side->width, 16);
            move_piece(m, codes + in_chunk * tiles * side->code_tile_bytes, tiles * side->code_tile_bytes);
            for (size_t d = 0; d < padded; d++) {
                move_piece(m, (unsigned char *)(lb_kv_means(chunk) + lb_kv_mean_at(side->width, d, b)), sizeof(uint16_t));
            }
        } else {
            for (size_t tile = 0; tile < side->code_tiles; tile++) {
                move_piece(m, codes + tile * side->code_tile_bytes + in_chunk * piece, piece);
            }
        }
    }
}

static void move_all(kv_mover *m, size_t n)
{
    for (uint32_t layer = 0; layer < m->kv->n_layers; layer++) {
        for (unsigned which = 0; which < LB_KV_SIDES; which++) {
            for (size_t head = 0; head < lb_kv_heads(m->kv, which, layer); head++) {
                move_numbers(m, which, layer, head, n);
                if (m->kv->side[which].room->bits) {
                    move_codes(m, which, layer, head, n);
                }
            }
        }
    }
}

size_t lb_kv_state_bytes(const lb_kv *kv, size_t n)
{
    kv_mover m = { .kv = kv };
    move_all(&m, n);
    return m.bytes;
}

void lb_kv_export(const lb_kv *kv, size_t n, unsigned char *out)
{
    kv_mover m = { .kv = kv, .packed = out, .out = true };
    move_all(&m, n);
}

void lb_kv_import(lb_kv *kv, size_t n, const unsigned char *in)
{
    kv_mover m = { .kv = kv, .packed = (unsigned char *)(uintptr_t)in };
    kv->open_block = SIZE_MAX;
    kv->low = lb_max(1, lb_kv_begin_of(kv, n) / LB_KV_CHUNK);
    lb_kv_own(kv, 0, kv->n_pages);
    move_all(&m, n);
}

/* ---- compaction ---- */

/* The numbers of a position of a head as the next token sees them */
static LB_NOINLINE void read_position(const lb_kv *kv, const lb_kernels *k, unsigned which, uint32_t layer, size_t head, size_t p, float *x)
{
    const size_t b = p / LB_KV_BLOCK;
    const lb_kv_side *side = lb_kv_side_of(kv, which, p / LB_KV_CHUNK);
    if (side->room->bits && b > 0 && b != kv->open_block) {
        unsigned char *chunk = lb_kv_chunk(kv, which, layer, head, b / LB_KV_CHUNK_BLOCKS), *codes = chunk + side->codes_at;
        const size_t in_chunk = p % LB_KV_CHUNK;
        const float scale = lb_bf16_to_f32(((const uint16_t *)(const void *)chunk)[in_chunk]);
        for (size_t d = 0; d < side->width; d++) {
            if (which == LB_KV_KEY) {
                const float mean = lb_f16_to_f32(lb_kv_means(chunk)[lb_kv_mean_at(side->width, d, b)]);
                x[d] = mean + scale * (float)lb_kv_code(codes + in_chunk / LB_TILE_ROWS * side->code_tile_bytes, side->room->bits,
                                                        in_chunk % LB_TILE_ROWS, d);
            } else {
                x[d] = scale * (float)lb_kv_code(codes + d / LB_TILE_ROWS * side->code_tile_bytes, side->room->bits, d % LB_TILE_ROWS,
                                                 in_chunk);
            }
        }
        return;
    }
    for (size_t d = 0; d < side->width; d++) {
        size_t stride;
        const void *at = lb_kv_number_at(kv, which, layer, head, p, d, &stride);
        if (side->room->value_bytes == sizeof(float)) {
            memcpy(&x[d], at, sizeof(float));
        } else {
            k->f16_to_f32(&x[d], (const uint16_t *)at, 1);
        }
    }
}

static void put_position(const lb_kv *kv, const lb_kernels *k, unsigned which, unsigned char *block, size_t p, const float *x)
{
    const lb_kv_side *side = &kv->side[which];
    const size_t bytes = side->room->value_bytes;
    for (size_t d = 0; d < side->width; d++) {
        unsigned char *to = which == LB_KV_KEY
                                ? block + p / LB_TILE_ROWS * side->tile_bytes + (d * LB_TILE_ROWS + p % LB_TILE_ROWS) * bytes
                                : block + d / LB_TILE_ROWS * side->tile_bytes + (p * LB_TILE_ROWS + d % LB_TILE_ROWS) * bytes;
        side->room->store(k, to, 1, &x[d], 1);
    }
}

/* The 64 positions at[] of `from` as block b of kv, which are the same cache before and after. */
static void compact_block(const lb_kv *kv, const lb_kv *from, const lb_kernels *k, unsigned which, uint32_t layer, size_t head, const uint32_t *at, size_t b,
                          void *scratch)
{
    const lb_kv_side *side = &kv->side[which];
    unsigned char *block = side->stage; /* as large as a block, and free between batches */
    float x[1024];
    memset(block, 0, side->block_bytes);
    for (size_t i = 0; i < LB_KV_BLOCK; i++) {
        read_position(from, k, which, layer, head, at[i], x);
        put_position(kv, k, which, block, i, x);
    }
    if (b == 0) {
        memcpy(lb_kv_block(kv, which, layer, head, 0), block, side->block_bytes);
    } else {
        lb_kv_pack_block(kv, k, which, layer, head, b, (const uint16_t *)(const void *)block, scratch);
    }
}

/*
 * One head. Faint positions first: they are written where only faint ones were, and read from there in rising order. Then the others move to the front
 * in rising order. So none is overwritten before it is read; of codes a whole block is read first.
 */
static void compact_head(const lb_kv *kv, const lb_kv *from, const lb_kernels *k, unsigned which, uint32_t layer, size_t head, const lb_kv_kept *kept,
                         void *scratch)
{
    if (!kv->side[which].room->bits) {
        float x[1024];
        for (size_t i = 0; i < kept->n_kept; i++) {
            read_position(kv, k, which, layer, head, kept->keep[i], x);
            put_position(kv, k, which, lb_kv_chunk(kv, which, layer, head, i / LB_KV_CHUNK), i % LB_KV_CHUNK, x);
        }
        return;
    }
    const size_t faint = kept->n_faint * LB_KV_CHUNK_BLOCKS;
    for (size_t b = 0; b < faint; b++) {
        compact_block(kv, from, k, which, layer, head, kept->faint + b * LB_KV_BLOCK, LB_KV_CHUNK_BLOCKS + b, scratch);
    }
    for (size_t b = 0; b < kept->n_kept / LB_KV_BLOCK; b++) {
        compact_block(kv, from, k, which, layer, head, kept->keep + b * LB_KV_BLOCK, b < LB_KV_CHUNK_BLOCKS ? b : b + faint, scratch);
    }
}

void lb_kv_compact(lb_kv *kv, const lb_kernels *k, const lb_kv_kept *kept, void *scratch)
{
    lb_kv_kept of = *kept; /* of the unit at work */
    kv->first_block = kv->open_block; /* where the numbers of the newest block are found */
    lb_kv_own(kv, 0, (kept->n_kept + LB_KV_CHUNK - 1) / LB_KV_CHUNK);
    lb_kv_own(kv, kv->n_chunks, kv->n_pages);
    const lb_kv from = *kv;
    kv->faint = kept->n_faint;
    for (uint32_t layer = 0; layer < kv->n_layers; layer++) {
        for (uint32_t unit = 0; unit < kv->layers[layer].units; unit++, of.keep += of.n_kept, of.faint += of.n_faint * LB_KV_CHUNK) {
            for (unsigned which = 0; which < LB_KV_SIDES; which++) {
                const uint32_t heads = kv->layers[layer].heads[which];
                for (uint32_t i = 0; i < heads; i++) {
                    compact_head(kv, &from, k, which, layer, (size_t)unit * heads + i, &of, scratch);
                }
            }
        }
    }
    kv->open_block = kv->has_codes ? SIZE_MAX : kv->open_block;
}
