/*
 * The KV cache. Keys and values are kept as matrices in tiles of 16 rows, so that attention is done by matrix products: scores = K q with
 * positions as rows, output = V' p with dimensions as rows. Formats of keys and of values are chosen independently.
 *
 * Memory. Positions come in chunks of LB_KV_CHUNK = 256; a page holds one chunk of all layers. A session has as many pages as its context
 * has chunks (with a window: as the window needs, used in turn), and reads pages through a table, so that sessions can share them
 * (lb_kv_share.c). A layer's heads come in units: the least number of heads of which all query heads need the same; of a unit first its
 * keys, then its values (one head each in most models; several of one side where keys and values have different numbers of heads).
 *
 * f32, f16. A head's part of a chunk:
 *   keys     16 tiles of 16 positions, each [width][16 positions]
 *   values   ceil(width / 16) tiles of 16 dimensions, each [256 positions][16 dimensions]
 *
 * q8, q4, q2. Positions come in blocks of LB_KV_BLOCK = 64. A query at position p sees
 *   the first block, positions 0..63, as f16        attention sinks live there; they are in a page of their own
 *   its own block, that of p, as f16                the newest positions, 1 to 64
 *   all blocks between as codes                     each was full before p, so it has one quantized form
 * which depends on p alone: not on batches, threads, or whether tokens came by prefill or by decoding. A block is quantized when its last
 * token is stored; the f16 numbers of a session's newest block stay. When a session is rewound into a block that has
 * been quantized since, the tokens of that block are computed again at the next feed (63 at most): they see blocks that are
 * still there, and themselves as f16, so the result has the same bits.
 *
 * Both f16 and codes hold rotated vectors: keys and queries, values and (back) outputs go through a Hadamard transform per head, in blocks
 * of the largest power of two that divides the width, if that is 16 or more. It spreads what is large in few dimensions over all.
 * Codes of a head's part of a chunk: scales u16 [256], keys: means, then tiles of codes.
 *   keys     mean_c = f16(average of dimension c over the 64 positions of a block); the rest k_tc - mean_c has one scale per position (bf16)
 *            and codes in 16 tiles of 16 positions, [width rounded up to 32] columns.  Bits: b + 16 / width + 16 / 64
 *   values   one scale per position (bf16), codes in tiles of 16 dimensions with positions as columns.  Bits: b + 16 / width
 *   scale    largest magnitude / 127, / 15, and for q2 / 3 times the factor 1, 15/16, .. 8/16 of least squared error; rounded up to bf16
 *   number   scale * (code - 128), scale * (2 code - 15), scale * (2 code - 3)
 *   means    a tile f16 [w][16], w = (width rounded up to 16) / 4: dimension j w + c of block b at row 4 j + b, column c. So a product of
 *            the tile with a query cut into quarters, which are tokens of one product, has what the four blocks need: row 4 j + b of token j.
 * Attention over codes is exact integer arithmetic (lb_kv_product_fn in kernels/lb_kernels.h): the query as int8 in groups of 64
 * dimensions, score = mean . q + scale * (codes . q); and probability times the value's scale as int8 in groups of 64 positions. Where a chunk's
 * values are all codes, exponentials are those of lb_exp_code: which chunks these are depends on the query's position alone, too.
 * Subtracting a block's mean is what makes 4 bits enough for keys with large constant parts (biases): docs of the measurement in lb_kv_pack.c.
 *
 * Positions here are indices into the cache: after lbrt_compress a token's position in the text is larger (lbrt_session.evicted).
 *
 * Faint positions (after MiKV, arXiv 2402.18096). A session of codes may have room for tokens that lbrt_compress does not choose, as q2 whatever
 * the format of the others, in smaller pages. They are whole chunks, 1 .. faint; chunk 0 and those behind them are as always. Nobody
 * writes there but compaction, so all that differs is where a chunk is (lb_kv_page_of) and what its codes are (lb_kv_side_of).
 */
#ifndef LB_KV_H
#define LB_KV_H

#include <stdatomic.h>

#include "../base/lb_arena.h"
#include "lb_model.h"

#define LB_KV_BLOCK 64u /* positions that are quantized together */
#define LB_KV_CHUNK_BLOCKS (LB_KV_CHUNK / LB_KV_BLOCK)
#define LB_KV_MAX_SINKS LB_KV_CHUNK

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

enum { LB_KV_KEY, LB_KV_VALUE, LB_KV_SIDES };

/* Keys or values. */
typedef struct lb_kv_side {
    const lb_kv_room *room;
    size_t width;           /* of a head */
    size_t rotation;        /* block of the Hadamard transform, 0: none */
    size_t tile_bytes;      /* of numbers kept as they are: of a chunk, or of a block if the format has codes */
    size_t block_bytes;     /* a block of such tiles */
    size_t code_tile_bytes; /* keys: 16 positions; values: 16 dimensions of a chunk */
    size_t code_tiles;      /* tiles of a chunk */
    size_t mean_bytes, codes_at; /* of a head's part of a chunk: the tile of means, where codes begin */
    size_t chunk_bytes;     /* of one head: tiles of numbers, or scales, means and codes */
    size_t n_heads;         /* of all layers */
    size_t sink_at;         /* in the page of the first block: [layer][head] blocks */
    unsigned char *open;    /* [layer][head] blocks: the newest */
    unsigned char *stage;   /* [head][n_stage] blocks of the layer at work: those after the batch's first one */
} lb_kv_side;

typedef struct lb_kv_layer {
    uint32_t units, heads[LB_KV_SIDES]; /* units; heads of a unit */
    size_t first[LB_KV_SIDES];          /* heads of earlier layers */
    size_t at[2], unit_bytes[2];        /* in a page; [1]: in one of faint positions */
} lb_kv_layer;

/* The memory that pages lie in, a session's slab: freed when none of its pages is in use, which may be after its session. */
typedef struct lb_kv_home {
    lbrt_allocator allocator;
    void *slab;
    size_t bytes, live; /* live: pages in use, and the session */
} lb_kv_home;

/* A page's memory, and how many sessions read it. While n share one, n - 1 pages wait in `spare` for those who will write. */
typedef struct lb_kv_page {
    unsigned char *data;
    lb_kv_home *home;
    struct lb_kv_page *spare, *next;
    _Atomic uint32_t users;
} lb_kv_page;

typedef struct lb_kv {
    uint32_t n_layers;
    size_t n_chunks, n_stage;
    size_t n_pages, page_bytes[2], sink_bytes; /* n_chunks, one more for the first block if there are codes, n_faint with page_bytes[1] */
    size_t n_faint, faint; /* chunks of faint positions: room for, there now */
    lb_kv_page **pages;
    lb_kv_home *home;
    lb_lock *share;       /* guards who shares pages */
    bool has_codes;     /* keys or values */
    size_t window, sinks; /* of the session: 0, or a token sees the first `sinks` positions and the `window` ones up to itself */
    size_t low;         /* with a window: the lowest chunk after the first that is still there */
    size_t first_block; /* that of the first token of the batch at work */
    size_t open_block;  /* whose numbers `open` has in every layer; SIZE_MAX: none */
    lb_kv_layer *layers;
    lb_kv_side side[LB_KV_SIDES], faint_side[LB_KV_SIDES];
} lb_kv;

typedef struct lb_kv_plan {
    const lb_kv_room *room[LB_KV_SIDES];
    size_t n_context, n_batch; /* n_context is rounded up to whole chunks */
    size_t window, sinks;
    size_t n_faint; /* chunks */
} lb_kv_plan;

void lb_kv_layout(lb_kv *kv, lb_arena *a, const lbrt_model *m, const lb_kv_plan *plan);

/*
 * A batch of n tokens at positions first..: begin, each layer, end. Without an end, `open` is taken as lost. Begin makes pages that
 * others share this session's own where the batch will write.
 */
void lb_kv_begin(lb_kv *kv, size_t first, size_t n);
void lb_kv_end(lb_kv *kv, size_t first, size_t n);

/* The rotation of a side whose format has codes, in place: n_heads heads. It is its own inverse. */
void lb_kv_rotate(const lb_kv_side *side, const lb_kernels *kernels, float *x, size_t n_heads);

/* Stores one position of one layer: k and v are [heads][width], rotated if the format wants it. */
void lb_kv_store(const lb_kv *kv, const lb_kernels *kernels, uint32_t layer, size_t position, const float *k, const float *v);

/* After the batch's tokens are stored and before attention: quantizes the blocks that have become full. */
void lb_kv_pack_layer(const lb_kv *kv, const lb_exec *e, uint32_t layer, size_t first, size_t n);

/* Quantizes numbers as block b of a head. */
void lb_kv_pack_block(const lb_kv *kv, const lb_kernels *k, unsigned side, uint32_t layer, size_t head, size_t b, const uint16_t *block,
                      void *scratch);

/* Dimension d of a position whose numbers are kept as they are; the next dimension (of the same 16) is *stride numbers on. */
unsigned char *lb_kv_number_at(const lb_kv *kv, unsigned side, uint32_t layer, size_t head, size_t p, size_t d, size_t *stride);

/* After attention: keeps the numbers of the newest block. */
void lb_kv_keep_newest(const lb_kv *kv, uint32_t layer, size_t first, size_t n);

/* The first position that must be computed again before a token can be fed at `length`; `length` if none. */
size_t lb_kv_resume(const lb_kv *kv, size_t length);

/* Whether what a session with a window still has is enough to go on at `length`; and going back there. */
bool lb_kv_can_rewind(const lb_kv *kv, size_t length);
void lb_kv_rewind(lb_kv *kv, size_t length);

/* The first position behind the sinks that a token at `length`, or those of its block if they are computed again, can see. */
size_t lb_kv_begin_of(const lb_kv *kv, size_t length);

/* Of n positions, how many a token behind them can see. */
size_t lb_kv_held(const lb_kv *kv, size_t n);

static inline size_t lb_kv_heads(const lb_kv *kv, unsigned side, uint32_t layer)
{
    return (size_t)kv->layers[layer].units * kv->layers[layer].heads[side];
}

static inline bool lb_kv_is_faint(const lb_kv *kv, size_t chunk)
{
    return chunk > 0 && chunk <= kv->faint;
}

static inline const lb_kv_side *lb_kv_side_of(const lb_kv *kv, unsigned side, size_t chunk)
{
    return lb_kv_is_faint(kv, chunk) ? &kv->faint_side[side] : &kv->side[side];
}

/* The page of a chunk */
static inline size_t lb_kv_page_of(const lb_kv *kv, size_t chunk)
{
    if (lb_kv_is_faint(kv, chunk)) {
        return kv->n_chunks + chunk;
    }
    chunk -= chunk ? kv->faint : 0;
    return chunk < kv->n_chunks ? chunk : 1 + (chunk - 1) % (kv->n_chunks - 1);
}

/* A unit's part of a chunk, and in it a head's */
static inline unsigned char *lb_kv_unit(const lb_kv *kv, uint32_t layer, size_t unit, size_t chunk)
{
    const lb_kv_layer *l = &kv->layers[layer];
    const unsigned f = lb_kv_is_faint(kv, chunk);
    return kv->pages[lb_kv_page_of(kv, chunk)]->data + l->at[f] + unit * l->unit_bytes[f];
}
unsigned char *lb_kv_chunk(const lb_kv *kv, unsigned side, uint32_t layer, size_t head, size_t chunk);

/* The numbers of a block: the first, or one at or after the batch's first. */
static inline unsigned char *lb_kv_block(const lb_kv *kv, unsigned side, uint32_t layer, size_t head, size_t block)
{
    const lb_kv_side *s = &kv->side[side];
    const size_t at = (kv->layers[layer].first[side] + head) * s->block_bytes;
    return block == 0                 ? kv->pages[kv->n_chunks]->data + s->sink_at + at
           : block == kv->first_block ? s->open + at
                                      : s->stage + (head * kv->n_stage + block - kv->first_block - 1) * s->block_bytes;
}

/* The tile of means of a head's part of a chunk, and where it has dimension c of block b. */
static inline uint16_t *lb_kv_means(unsigned char *chunk)
{
    return (uint16_t *)(void *)(chunk + LB_KV_CHUNK * sizeof(uint16_t));
}
static inline size_t lb_kv_mean_at(size_t width, size_t c, size_t block)
{
    const size_t w = lb_round_up(width, 16) / 4;
    return c % w * LB_TILE_ROWS + c / w * 4 + block % LB_KV_CHUNK_BLOCKS;
}

/* Bytes of the cache that decoding one token reads with `length` tokens in it. */
uint64_t lb_kv_read_bytes(const lb_kv *kv, size_t length);

/* ---- moving the cache (lb_kv_move.c) ---- */

/*
 * The first n positions as bytes for a saved state, as far as a token behind them may see them. They do not depend on the session's sizes
 * or on what computed them: of a format with codes the first block and all full ones are there; tokens behind are computed again when the
 * session is continued.
 */
size_t lb_kv_state_bytes(const lb_kv *kv, size_t n);
void lb_kv_export(const lb_kv *kv, size_t n, unsigned char *out);
void lb_kv_import(lb_kv *kv, size_t n, const unsigned char *in);

/*
 * Keeps of each layer and unit the n_kept positions keep[(units of earlier layers + unit) * n_kept ..], rising, moved together to the front, none of
 * them faint; n_kept is a multiple of LB_KV_BLOCK, or there are no codes. Of each also n_faint chunks of positions, which become faint: first those
 * that are faint already, rising, then others, rising; n_kept is then LB_KV_CHUNK at least. scratch has LB_MM_SCRATCH bytes.
 */
typedef struct lb_kv_kept {
    const uint32_t *keep, *faint; /* [all units][n_kept], [all units][n_faint * LB_KV_CHUNK] */
    size_t n_kept, n_faint;
} lb_kv_kept;
void lb_kv_compact(lb_kv *kv, const lb_kernels *k, const lb_kv_kept *kept, void *scratch);

/* ---- sharing pages (lb_kv_share.c) ---- */

/* The first n positions of `from` become those of kv too: pages are shared, the newest block is copied. Same model, formats and window. */
void lb_kv_fork(lb_kv *kv, const lb_kv *from, size_t n);

/* Makes pages from..to-1 this session's own. */
void lb_kv_own(lb_kv *kv, size_t from, size_t to);

/* Ends the session's part in its pages; frees what nobody uses any more, the slab of kv too if so. */
void lb_kv_leave(lb_kv *kv);

/* ---- quantizing a block (lb_kv_pack.c); scratch has LB_MM_SCRATCH bytes ---- */

/* keys: 4 tiles [dim][16] of f16; means go to mean[dim], scales to scale[64], codes of dim rounded up to 32 columns to 4 tiles */
void lb_kv_pack_keys(const lb_kernels *k, unsigned bits, const uint16_t *block, size_t dim, uint16_t *mean, uint16_t *scale,
                     unsigned char *codes, void *scratch);

/* values: n_tiles tiles [64][16] of f16; scales to scale[64], codes to n_tiles pieces `stride` bytes apart */
void lb_kv_pack_values(const lb_kernels *k, unsigned bits, const uint16_t *block, size_t n_tiles, uint16_t *scale,
                       unsigned char *codes, size_t stride, void *scratch);

/* The number of row r and column c of a tile of codes, without its scale. */
int lb_kv_code(const unsigned char *tile, unsigned bits, size_t r, size_t c);

#endif /* LB_KV_H */
