/* Packing into int8: one scale per row. */
#include <string.h>

#include "lb_pack_group.h"

void lb_pack_int8(const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance, void *tile)
{
    (void)importance;
    float *row_scale = tile;
    uint8_t *codes = (uint8_t *)tile + LB_INT8_CODES_AT;
    memset(tile, 0, LB_INT8_CODES_AT);
    memset(codes, 128, lb_int8_tile_bytes(k) - LB_INT8_CODES_AT);
    for (size_t r = 0; r < n_rows; r++) {
        float largest = 0.0f;
        for (size_t c = 0; c < k; c++) {
            float x = fabsf(rows[r * stride + c]);
            largest = x > largest && x <= 3.4028235e38f ? x : largest;
        }
        if (largest / 127.0f < LB_PACK_TINY) {
            continue;
        }
        row_scale[r] = largest / 127.0f;
        const float inverse = 127.0f / largest;
        for (size_t c = 0; c < k; c++) {
            const float x = rows[r * stride + c];
            const bool finite = (lb_f32_bits(x) & 0x7f800000) != 0x7f800000;
            const float q = finite ? (x * inverse + LB_PACK_ROUND) - LB_PACK_ROUND : 0.0f;
            codes[c / 4 * 64 + r * 4 + c % 4] = (uint8_t)(128 + (int)q);
        }
    }
}
