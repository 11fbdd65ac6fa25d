#include "lb_bits.h"

/*
 * Zero points are chosen by measurement, for the least error of normal weights, of a trained model's and of groups with an
 * outlier. They are in no order because their index is at the same time the low bits of the scale: for any zero point that a
 * group may want, the neighbouring ones in value bring different scales.
 */
const lb_bits_format lb_bits_q6 = {
    6, 0, 3, 4, {31, 21, 44, 27, 34, 6, 31, 14, 27, 37, 23, 55, 34, 31, 27, 39},
    {{{0, 0, 6, 0}}, {{1, 0, 6, 0}}, {{2, 0, 6, 0}}, {{0, 6, 2, 4}, {1, 6, 2, 2}, {2, 6, 2, 0}}},
};

const lb_bits_format lb_bits_q5 = {
    5, 1, 5, 8, {6, 56, 37, 19, 32, 31, 28, 46, 24, 25, 35, 32, 41, 29, 28, 36},
    {{{0, 0, 5, 0}}, {{1, 0, 5, 0}}, {{2, 0, 5, 0}}, {{3, 0, 5, 0}}, {{4, 0, 5, 0}},
     {{0, 5, 3, 0}, {1, 5, 2, 3}}, {{2, 5, 3, 0}, {3, 5, 2, 3}}, {{4, 5, 3, 0}, {1, 7, 1, 3}, {3, 7, 1, 4}}},
};

const lb_bits_format lb_bits_q3 = {
    3, 2, 3, 8, {4, 12, 16, 10, 14, 23, 8, 13, 18, 11, 15, 25, 5, 14, 17, 20},
    {{{0, 0, 3, 0}}, {{0, 3, 3, 0}}, {{1, 0, 3, 0}}, {{1, 3, 3, 0}}, {{2, 0, 3, 0}}, {{2, 3, 3, 0}},
     {{0, 6, 2, 0}, {2, 6, 1, 2}}, {{1, 6, 2, 0}, {2, 7, 1, 2}}},
};

const lb_bits_format lb_bits_q2 = {
    2, 2, 1, 4, {1, 12, 5, 6, 7, 0, 2, 8, 3, 4, 5, 6, 7, 8, 9, 10},
    {{{0, 0, 2, 0}}, {{0, 2, 2, 0}}, {{0, 4, 2, 0}}, {{0, 6, 2, 0}}},
};

/* The zero points of q4, and for one bit mostly the middle */
const lb_bits_format lb_bits_lut4 = {.bits = 4, .shift = 1, .zero = {0, 25, 19, 5, 15, 14, 11, 22, 8, 10, 17, 16, 20, 13, 12, 18}};
const lb_bits_format lb_bits_lut3 = {.bits = 3, .shift = 2, .zero = {4, 12, 16, 10, 14, 23, 8, 13, 18, 11, 15, 25, 5, 14, 17, 20}};
const lb_bits_format lb_bits_lut2 = {.bits = 2, .shift = 2, .zero = {1, 12, 5, 6, 7, 0, 2, 8, 3, 4, 5, 6, 7, 8, 9, 10}};
const lb_bits_format lb_bits_lut1 = {.bits = 1, .shift = 2, .zero = {2, 1, 2, 3, 2, 0, 2, 4, 2, 1, 2, 3, 2, 2, 2, 2}};

/* Bit planes: where the bits of columns c / 8 * 8 ... of a row begin; planes are 64 bytes apart */
static size_t lb_bits_plane_at(const lb_bits_format *f, size_t r, size_t c)
{
    return c / LB_GROUP * 64 * f->bits + c % LB_GROUP / 8 * LB_TILE_ROWS + r;
}

unsigned lb_bits_code(const lb_bits_format *f, const uint8_t *codes, size_t r, size_t c)
{
    if (f->vectors == 0) {
        unsigned code = 0;
        for (unsigned b = 0; b < f->bits; b++) {
            code |= ((unsigned)codes[lb_bits_plane_at(f, r, c) + 64 * b] >> c % 8 & 1u) << b;
        }
        return code;
    }
    const size_t quad = c / 4;
    const lb_bits_piece *p = f->piece[quad % f->quads];
    const uint8_t *at = codes + quad / f->quads * f->vectors * 64 + r * 4 + c % 4;
    unsigned code = 0;
    for (size_t i = 0; i < LB_BITS_MAX_PIECES && p[i].n != 0; i++) {
        code |= (at[p[i].vector * 64u] >> p[i].from & ((1u << p[i].n) - 1)) << p[i].to;
    }
    return code;
}

void lb_bits_put_group(const lb_bits_format *f, uint8_t *codes, size_t group, const uint8_t code[8][64])
{
    const size_t bytes = LB_GROUP * LB_TILE_ROWS / 8 * f->bits;
    uint8_t *to = codes + group * bytes;
    memset(to, 0, bytes);
    if (f->vectors == 0) {
        for (size_t i = 0; i < 8 * 64; i++) {
            const size_t c = i / 64 * 4 + i % 4;
            for (unsigned b = 0; b < f->bits; b++) {
                uint8_t *at = to + lb_bits_plane_at(f, i % 64 / 4, c) + 64 * b;
                *at = (uint8_t)(*at | ((unsigned)code[i / 64][i % 64] >> b & 1u) << c % 8);
            }
        }
        return;
    }
    for (size_t quad = 0; quad < 8; quad++) {
        const lb_bits_piece *p = f->piece[quad % f->quads];
        for (size_t i = 0; i < LB_BITS_MAX_PIECES && p[i].n != 0; i++) {
            uint8_t *at = to + (quad / f->quads * f->vectors + p[i].vector) * 64;
            const uint64_t mask = 0x0101010101010101u * ((1u << p[i].n) - 1);
            for (size_t b = 0; b < 64; b += 8) { /* 8 bytes at once: no bit leaves its byte */
                uint64_t from, sum;
                memcpy(&from, code[quad] + b, 8);
                memcpy(&sum, at + b, 8);
                sum |= (from >> p[i].to & mask) << p[i].from;
                memcpy(at + b, &sum, 8);
            }
        }
    }
}
