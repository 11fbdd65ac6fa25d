/*
 * The uniform formats of few bits: q6, q5, q3, q2, and lut4 .. lut1, whose codes are in bit planes. They differ in a small table only: how many bits, where the bits of a code are,
 * which zero points there are. lb_kernels.h describes the planes of their tiles; this is where code for all CPUs reads the details.
 */
#ifndef LB_BITS_H
#define LB_BITS_H

#include "lb_layout.h"
#include "lb_math.h"

/* n bits of a code, from bit `from` of the bytes of vector `vector` to bit `to` of the code */
typedef struct lb_bits_piece {
    uint8_t vector, from, n, to;
} lb_bits_piece;

#define LB_BITS_MAX_PIECES 3

/* Codes come in units: `vectors` times 64 bytes (16 rows x 4 columns, one byte each) hold `quads` quads of columns. */
typedef struct lb_bits_format {
    uint8_t bits, shift; /* weight = (code << shift) - zero point */
    uint8_t vectors, quads;      /* 0, 0: bit planes (lut4 .. lut1), no pieces */
    uint8_t zero[16];            /* zero points: the low 4 bits of a group's byte are an index */
    lb_bits_piece piece[8][LB_BITS_MAX_PIECES]; /* n == 0: none */
} lb_bits_format;

extern const lb_bits_format lb_bits_q6, lb_bits_q5, lb_bits_q3, lb_bits_q2;
extern const lb_bits_format lb_bits_lut4, lb_bits_lut3, lb_bits_lut2, lb_bits_lut1;

LB_ALWAYS_INLINE size_t lb_bits_codes_at(size_t k)
{
    return lb_q8_codes_at(k); /* one byte per group here as well */
}

LB_ALWAYS_INLINE size_t lb_bits_tile_bytes(size_t k, size_t bits)
{
    return lb_bits_codes_at(k) + lb_round_up64(k) * LB_TILE_ROWS / 8 * bits;
}

/* The scale in a group's byte */
LB_ALWAYS_INLINE float lb_bits_scale(uint8_t u)
{
    return lb_bits_f32(((uint32_t)u << 17) + (124u << 23));
}

LB_ALWAYS_INLINE int lb_bits_zero(const lb_bits_format *f, uint8_t u)
{
    return f->zero[u & 15];
}

/* The code of row r, column c; `codes` is the plane */
unsigned lb_bits_code(const lb_bits_format *f, const uint8_t *codes, size_t r, size_t c);

/* Stores the codes of one group, a byte each: code[quad][r * 4 + c % 4], 8 quads. All bytes of the group are written. */
void lb_bits_put_group(const lb_bits_format *f, uint8_t *codes, size_t group, const uint8_t code[8][64]);

#endif /* LB_BITS_H */
