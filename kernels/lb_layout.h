/* Where the planes of a tile lie; their contents are in lb_kernels.h. k may be any number: tiles hold k rounded up to 64. */
#ifndef LB_LAYOUT_H
#define LB_LAYOUT_H

#include "lb_kernels.h"

LB_ALWAYS_INLINE size_t lb_round_up64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

/* f32, f16, bf16: `size` bytes a value */
LB_ALWAYS_INLINE size_t lb_float_tile_bytes(size_t k, size_t size)
{
    return lb_round_up64(k) * LB_TILE_ROWS * size;
}

/* q8, q4: 16 bytes of group scales per 32 columns, behind the 64 bytes of row scales */
#define LB_Q_SCALES_AT 64u

LB_ALWAYS_INLINE size_t lb_q8_codes_at(size_t k)
{
    return LB_Q_SCALES_AT + lb_round_up64(lb_round_up64(k) / LB_GROUP * LB_TILE_ROWS);
}

LB_ALWAYS_INLINE size_t lb_q8_tile_bytes(size_t k)
{
    return lb_q8_codes_at(k) + lb_round_up64(k) * LB_TILE_ROWS;
}

LB_ALWAYS_INLINE size_t lb_q4_zeros_at(size_t k)
{
    return lb_q8_codes_at(k);
}

LB_ALWAYS_INLINE size_t lb_q4_codes_at(size_t k)
{
    return lb_q4_zeros_at(k) + lb_round_up64(lb_round_up64(k) / 64 * LB_TILE_ROWS);
}

LB_ALWAYS_INLINE size_t lb_q4_tile_bytes(size_t k)
{
    return lb_q4_codes_at(k) + lb_round_up64(k) * LB_TILE_ROWS / 2;
}

/* tcq2, tcq3, tcq4: codes behind the 64 bytes of row scales */
#define LB_TCQ_CODES_AT 64u

LB_ALWAYS_INLINE size_t lb_tcq_tile_bytes(size_t bits, size_t k)
{
    return LB_TCQ_CODES_AT + lb_round_up64(k) * LB_TILE_ROWS / 8 * bits;
}

/* tern: lines of 64 bytes behind the 64 bytes of row scales; a line has 20 columns of 16 rows */
#define LB_TERN_CODES_AT 64u
#define LB_TERN_COLUMNS 20u

LB_ALWAYS_INLINE size_t lb_tern_lines(size_t k)
{
    return (lb_round_up64(k) + LB_TERN_COLUMNS - 1) / LB_TERN_COLUMNS;
}

LB_ALWAYS_INLINE size_t lb_tern_tile_bytes(size_t k)
{
    return LB_TERN_CODES_AT + lb_tern_lines(k) * 64;
}

/* Digit j (0..4) of a code byte: 0, 1 or 2 */
LB_ALWAYS_INLINE int lb_tern_digit(unsigned code, size_t j)
{
    static const unsigned power[5] = {1, 3, 9, 27, 81};
    return (int)(3 * (code * power[j] & 255) >> 8);
}

#endif /* LB_LAYOUT_H */
