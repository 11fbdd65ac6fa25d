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

/* int8: codes behind the 64 bytes of row scales */
#define LB_INT8_CODES_AT 64u

LB_ALWAYS_INLINE size_t lb_int8_tile_bytes(size_t k)
{
    return LB_INT8_CODES_AT + lb_round_up64(k) * LB_TILE_ROWS;
}

/* s24q8, s24q4: 16 bytes of scales per 64 columns, then groups of positions and `lines` lines of 64 bytes of values */
#define LB_S24Q8_LINES 4u
#define LB_S24Q4_LINES 2u

LB_ALWAYS_INLINE size_t lb_s24_codes_at(size_t k)
{
    return LB_Q_SCALES_AT + lb_round_up64(lb_round_up64(k) / 64 * LB_TILE_ROWS);
}

LB_ALWAYS_INLINE size_t lb_s24_group_bytes(size_t lines)
{
    return 64 + 64 * lines;
}

LB_ALWAYS_INLINE size_t lb_s24_tile_bytes(size_t k, size_t lines)
{
    return lb_s24_codes_at(k) + lb_round_up64(k) / LB_GROUP * lb_s24_group_bytes(lines);
}

/* The integer weight of row r, column c: the sum of what is stored for it */
LB_ALWAYS_INLINE int lb_s24_weight_at(const void *tile, size_t k, size_t lines, size_t r, size_t c)
{
    const uint8_t *group = (const uint8_t *)tile + lb_s24_codes_at(k) + c / LB_GROUP * lb_s24_group_bytes(lines);
    const size_t j = c % LB_GROUP / 8, at = r * 4 + c % 8 / 4 * 2;
    int weight = 0;
    for (size_t i = at; i < at + 2; i++) {
        if ((group[i] >> (2 * j) & 3u) == c % 4) {
            weight += lines == LB_S24Q8_LINES ? group[64 + 64 * j + i] - 128
                                              : (group[64 + 64 * (j / 2) + i] >> (j % 2 * 4) & 15) - 8;
        }
    }
    return weight;
}

/* masked: row and group scales as q8, then a mask of 64 bits per quad of columns, then values to the tile's end */
LB_ALWAYS_INLINE size_t lb_masked_masks_at(size_t k)
{
    return lb_q8_codes_at(k);
}

LB_ALWAYS_INLINE size_t lb_masked_values_at(size_t k)
{
    return lb_masked_masks_at(k) + lb_round_up64(k) * 2;
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
