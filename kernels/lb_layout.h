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

#endif /* LB_LAYOUT_H */
