/*
 * Trellis codes: tcq2, tcq3, tcq4. A row is four streams of codes, column c is step c / 4 of stream c % 4.
 * The integer weight of a step is A[window & 15] + B[window >> 4], where the window is 8 bits of the stream:
 * the newest 2, 3 or 4 of them are this step's own, the others belong to the steps before. Streams are
 * circular: before the first step comes the last.
 *   tcq2, tcq4  the newest bits are the highest of the window.
 *   tcq3        two streams side by side: the low nibble holds the last two steps of one with 2 bits a step,
 *               the high nibble the last four of one with 1 bit a step. Nibbles then lie as in tcq2, which is
 *               cheaper to decode than windows that begin at every third bit, and no worse: 0.0217 against
 *               0.0223.
 *
 * The tables were trained by tests/tools/train_tcq.c with the arguments beside each. Error is the mean
 * squared error of N(0, 1) samples (no code of that rate has less than 2^(-2 bits)), sigma the standard
 * deviation, in integer weights, of the samples that the tables are for.
 * |A + B| <= 31, so that with 32 added weights are 1..63, and products of two quads with int8 activations can
 * be added in 16 bits: 2 * 2 * 63 * 127 = 32004. Twice as large integers would make errors up to 0.5 % smaller
 * and products with many tokens a quarter slower where 16 bits matter.
 */
#ifndef LB_TCQ_CODE_H
#define LB_TCQ_CODE_H

#include "lb_layout.h"

/* 2 31 11 60: error 0.0802, bound 0.0625 */
#define LB_TCQ2_A {8, 4, -8, -3, -11, -2, 5, 12, -2, -10, 11, 2, 5, 16, -4, -14}
#define LB_TCQ2_B {-12, 14, 11, -16, -4, 4, -11, 7, 12, -7, 2, -5, 2, -4, -3, 3}
#define LB_TCQ2_SIGMA 11.258f
/* 3 31 33 60: error 0.0211, bound 0.0156 */
#define LB_TCQ3_A {20, 6, -10, 0, 0, -8, -4, 15, 4, -13, 9, -5, -4, 11, 3, -21}
#define LB_TCQ3_B {-8, 5, -7, 5, -2, 11, 3, -10, 2, -5, 3, -4, 8, 0, -6, 0}
#define LB_TCQ3_SIGMA 10.270f
/* 4 31 34 60: error 0.0060, bound 0.0039 */
#define LB_TCQ4_A {-6, -4, 11, 15, -8, 8, -15, 4, 0, -3, -11, 8, 3, 1, -1, 6}
#define LB_TCQ4_B {-4, 9, 4, 0, -10, -12, 5, 7, -16, -8, 0, 16, -6, 2, 12, -2}
#define LB_TCQ4_SIGMA 9.156f

#define LB_TCQ_BIAS 32 /* added to weights, it makes them codes without sign, 1..63 */
#define LB_TCQ_QUADS 2 /* of such codes are added in 16 bits */

/* The weight of a window */
LB_ALWAYS_INLINE int lb_tcq_weight(unsigned bits, unsigned window)
{
    static const int8_t a[3][16] = {LB_TCQ2_A, LB_TCQ3_A, LB_TCQ4_A};
    static const int8_t b[3][16] = {LB_TCQ2_B, LB_TCQ3_B, LB_TCQ4_B};
    return a[bits - 2][window & 15] + b[bits - 2][window >> 4];
}

/*
 * Where the bits of step `step` of the stream in byte lane `lane` (4 r + column % 4) begin in the codes of a
 * tile: the byte, the bit in it, and the distance of the byte before it in the stream. tcq3: of its stream
 * with 2 bits a step.
 */
typedef struct lb_tcq_place {
    size_t at, back;
    unsigned bit;
} lb_tcq_place;

LB_ALWAYS_INLINE lb_tcq_place lb_tcq_place_of(unsigned bits, size_t lane, size_t step)
{
    const size_t line = bits == 4 ? step / 2 : step / 4;
    if (bits == 3) {
        return (lb_tcq_place){line / 2 * 192 + line % 2 * 64 + lane, line % 2 ? 64 : 128, step % 4 * 2};
    }
    return (lb_tcq_place){line * 64 + lane, 64, bits == 4 ? step % 2 * 4 : step % 4 * 2};
}

/* tcq3: of its stream with 1 bit a step */
LB_ALWAYS_INLINE lb_tcq_place lb_tcq3_place_of_high(size_t lane, size_t step)
{
    return (lb_tcq_place){step / 8 * 192 + 128 + lane, 192, step % 8};
}

/* `width` bits of a stream, of which the newest are the `own` bits that begin at p; `bytes` of codes */
LB_ALWAYS_INLINE unsigned lb_tcq_bits(const uint8_t *codes, size_t bytes, lb_tcq_place p, unsigned own,
                                      unsigned width)
{
    const unsigned before = codes[p.at < p.back ? p.at + bytes - p.back : p.at - p.back];
    const unsigned both = before | (unsigned)codes[p.at] << 8;
    return both >> (8 + p.bit + own - width) & ((1u << width) - 1);
}

/* The integer weight of row r and column c of a tile of k columns */
LB_ALWAYS_INLINE int lb_tcq_weight_at(unsigned bits, const void *tile, size_t k, size_t r, size_t c)
{
    const uint8_t *codes = (const uint8_t *)tile + LB_TCQ_CODES_AT;
    const size_t lane = 4 * r + c % 4, step = c / 4, bytes = lb_tcq_tile_bytes(bits, k) - LB_TCQ_CODES_AT;
    const lb_tcq_place p = lb_tcq_place_of(bits, lane, step);
    if (bits == 3) {
        const unsigned high = lb_tcq_bits(codes, bytes, lb_tcq3_place_of_high(lane, step), 1, 4);
        return lb_tcq_weight(3, lb_tcq_bits(codes, bytes, p, 2, 4) | high << 4);
    }
    return lb_tcq_weight(bits, lb_tcq_bits(codes, bytes, p, bits, 8));
}

#endif /* LB_TCQ_CODE_H */
