/*
 * Quantizing a block of 64 positions; lb_kv.h says what the numbers mean. Plain C in one fixed order of operations: a block is packed
 * once per 64 tokens, so this is no place for SIMD variants.
 *
 * Why a mean per block and a scale per position, measured with 4-bit keys, perplexity against f16 at context 512 (stories260K,
 * TinyStories-656K; the query's own block exact in neither case but the last):
 *     scale per position                            +54 %    +2.9 %
 *     scale and zero point per dimension of 64      +5.7 %   +1.0 %
 *     mean per dimension of 64, scale per position  +7.9 %   +0.7 %    cheaper: the query is quantized once and not once per block
 *     the same with the own block in f16            +0.5 %   +0.3 %
 * Values have no constant part: one scale per position costs 0.3 % at 4 bits, less than a zero point per 32 dimensions is worth.
 */
#include "../../kernels/lb_math.h"
#include "lb_kv.h"

static const float pack_tiny = 1e-30f;

/* Rounds a positive finite number up to bf16. */
static uint16_t bf16_above(float f)
{
    return (uint16_t)((lb_f32_bits(f) + 0xffff) >> 16);
}

/* The code of x / scale: inverse is 1 / scale. NaN gets the lowest. */
static uint8_t code_of(float x, float inverse, unsigned bits)
{
    const float low = bits == 8 ? 1.0f : 0.0f, high = (float)((1u << bits) - 1);
    /* q8: 128 + round half even, by adding 1.5 * 2^23; others: (x / scale + levels) / 2 rounded to nearest */
    float t = x * inverse;
    t = bits == 8 ? (t + (LB_EXP_MAGIC + 128.0f)) - LB_EXP_MAGIC : t * 0.5f + 0.5f * (high + 1.0f);
    t = t > low ? t : low;
    t = t < high ? t : high;
    return (uint8_t)t;
}

static float number_of(uint8_t code, float scale, unsigned bits)
{
    return scale * (float)(bits == 8 ? code - 128 : 2 * code - (int)((1u << bits) - 1));
}

/* n numbers `stride` apart with the largest magnitude amax. Two bits: the largest is rarely what the grid should end at. */
static uint16_t choose_scale(unsigned bits, float amax, const float *x, size_t stride, size_t n)
{
    if (!(lb_f32_bits(amax) < 0x7f800000)) {
        return 0x7fc0; /* NaN */
    }
    if (amax < pack_tiny) {
        return 0;
    }
    const uint16_t widest = bf16_above(amax / (bits == 8 ? 127.0f : bits == 4 ? 15.0f : 3.0f));
    if (bits != 2) {
        return widest;
    }
    uint16_t best = widest;
    float least = INFINITY;
    for (unsigned step = 16; step >= 8; step--) {
        const uint16_t s = bf16_above(lb_bf16_to_f32(widest) * (float)step * 0.0625f);
        const float scale = lb_bf16_to_f32(s), inverse = 1.0f / scale;
        float error = 0;
        for (size_t i = 0; i < n; i++) {
            const float d = x[i * stride] - number_of(code_of(x[i * stride], inverse, 2), scale, 2);
            error += d * d;
        }
        if (error < least) {
            least = error;
            best = s;
        }
    }
    return best;
}

static float inverse_of(uint16_t scale)
{
    return scale == 0 || scale == 0x7fc0 ? 0.0f : 1.0f / lb_bf16_to_f32(scale);
}

/* codes [cols][16] to tiles of 64 bytes: byte (r, i) holds columns i, 4 + i, .. of row r, low bits first */
static void pack_codes(const uint8_t *code, size_t cols, unsigned bits, unsigned char *out)
{
    const size_t per_byte = 8 / bits;
    for (size_t c = 0; c < cols; c += 4 * per_byte, out += 64) {
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            for (size_t i = 0; i < 4; i++) {
                unsigned byte = 0;
                for (size_t j = 0; j < per_byte; j++) {
                    byte |= (unsigned)code[(c + 4 * j + i) * LB_TILE_ROWS + r] << (j * bits);
                }
                out[r * 4 + i] = (unsigned char)byte;
            }
        }
    }
}

int lb_kv_code(const unsigned char *tile, unsigned bits, size_t r, size_t c)
{
    const size_t span = 4 * (8 / bits); /* columns of 64 bytes */
    const unsigned code = (unsigned)tile[c / span * 64 + r * 4 + c % 4] >> (c % span / 4 * bits) & ((1u << bits) - 1);
    return bits == 8 ? (int)code - 128 : 2 * (int)code - (int)((1u << bits) - 1);
}

/* The larger magnitude; NaN counts as larger than everything. */
static float larger(float amax, float x)
{
    const uint32_t a = lb_f32_bits(amax), b = lb_f32_bits(x) & 0x7fffffff;
    return lb_bits_f32(a > b ? a : b);
}

void lb_kv_pack_keys(const lb_kernels *k, unsigned bits, const uint16_t *block, size_t dim, uint16_t *mean, uint16_t *scale,
                     unsigned char *codes, void *scratch)
{
    const size_t pad = lb_round_up(dim, LB_GROUP);
    float *x = (float *)scratch, *lanes = x + dim * LB_TILE_ROWS; /* 2 * 64 KB at most */
    uint8_t *code = (uint8_t *)(lanes + dim * LB_TILE_ROWS);      /* 16 KB */
    memset(lanes, 0, dim * LB_TILE_ROWS * sizeof *lanes);
    for (size_t tile = 0; tile < LB_KV_BLOCK / LB_TILE_ROWS; tile++) {
        k->f16_to_f32(x, block + tile * dim * LB_TILE_ROWS, dim * LB_TILE_ROWS);
        k->add(lanes, x, dim * LB_TILE_ROWS);
    }
    for (size_t c = 0; c < dim; c++) {
        mean[c] = lb_f32_to_f16(lb_lane_sum(lanes + c * LB_TILE_ROWS) * (1.0f / LB_KV_BLOCK));
    }
    for (size_t tile = 0; tile < LB_KV_BLOCK / LB_TILE_ROWS; tile++) {
        float amax[LB_TILE_ROWS] = { 0 };
        k->f16_to_f32(x, block + tile * dim * LB_TILE_ROWS, dim * LB_TILE_ROWS);
        for (size_t c = 0; c < dim; c++) {
            const float m = lb_f16_to_f32(mean[c]);
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                x[c * LB_TILE_ROWS + r] -= m;
                amax[r] = larger(amax[r], x[c * LB_TILE_ROWS + r]);
            }
        }
        float inverse[LB_TILE_ROWS];
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            scale[tile * LB_TILE_ROWS + r] = choose_scale(bits, amax[r], x + r, LB_TILE_ROWS, dim);
            inverse[r] = inverse_of(scale[tile * LB_TILE_ROWS + r]);
        }
        for (size_t c = 0; c < pad; c++) {
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                code[c * LB_TILE_ROWS + r] = c < dim ? code_of(x[c * LB_TILE_ROWS + r], inverse[r], bits) : 0;
            }
        }
        pack_codes(code, pad, bits, codes + tile * (pad * LB_TILE_ROWS * bits / 8));
    }
}

void lb_kv_pack_values(const lb_kernels *k, unsigned bits, const uint16_t *block, size_t n_tiles, uint16_t *scale,
                       unsigned char *codes, size_t stride, void *scratch)
{
    const size_t numbers = LB_KV_BLOCK * LB_TILE_ROWS, all = n_tiles * LB_TILE_ROWS;
    float *x = (float *)scratch, *row = x + numbers; /* row: a position's numbers, for the search of two bits */
    uint8_t *code = (uint8_t *)(row + all);
    float amax[LB_KV_BLOCK] = { 0 }, inverse[LB_KV_BLOCK];
    for (size_t tile = 0; tile < n_tiles; tile++) {
        k->f16_to_f32(x, block + tile * numbers, numbers);
        for (size_t i = 0; i < numbers; i++) {
            amax[i / LB_TILE_ROWS] = larger(amax[i / LB_TILE_ROWS], x[i]);
        }
    }
    for (size_t p = 0; p < LB_KV_BLOCK; p++) {
        for (size_t tile = 0; bits == 2 && tile < n_tiles; tile++) {
            k->f16_to_f32(row + tile * LB_TILE_ROWS, block + tile * numbers + p * LB_TILE_ROWS, LB_TILE_ROWS);
        }
        scale[p] = choose_scale(bits, amax[p], row, 1, all);
        inverse[p] = inverse_of(scale[p]);
    }
    for (size_t tile = 0; tile < n_tiles; tile++) {
        k->f16_to_f32(x, block + tile * numbers, numbers);
        for (size_t i = 0; i < numbers; i++) {
            code[i] = code_of(x[i], inverse[i / LB_TILE_ROWS], bits);
        }
        pack_codes(code, LB_KV_BLOCK, bits, codes + tile * stride);
    }
}
