/* Reference: products of a mask and values. */
#include "../lb_kernel_names.h"
#include "../lb_layout.h"
#include "../lb_math.h"

void lb_masked_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y, size_t y_stride, bool add,
                   void *scratch)
{
    (void)scratch;
    const size_t n_values = tile_bytes - lb_masked_values_at(k);
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *tile = (const uint8_t *)w + i * tile_bytes, *values = tile + lb_masked_values_at(k);
        for (size_t t = 0; t < x->n; t++) {
            float acc[LB_TILE_ROWS] = {0};
            size_t at = 0;
            for (size_t g = 0; g < lb_round_up64(k) / LB_GROUP; g++) {
                int32_t sum[LB_TILE_ROWS] = {0};
                for (size_t j = 8 * g; j < 8 * g + 8; j++) {
                    size_t used = 0;
                    for (size_t b = 0; b < 64; b++) {
                        if (tile[lb_masked_masks_at(k) + 8 * j + b / 8] >> b % 8 & 1) {
                            sum[b / 4] += (values[at + used++] - 128) * x->q[t * x->q_stride + 4 * j + b % 4];
                        }
                    }
                    at = at + used < n_values - 64 ? at + used : n_values - 64;
                }
                for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                    const float scale = lb_mini(tile[LB_Q_SCALES_AT + g * LB_TILE_ROWS + r]) * x->scale[t * x->group_stride + g];
                    acc[r] = lb_fma(scale, (float)sum[r], acc[r]);
                }
            }
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                float *p = y + t * y_stride + i * LB_TILE_ROWS + r;
                acc[r] *= ((const float *)(const void *)tile)[r];
                *p = add ? *p + acc[r] : acc[r];
            }
        }
    }
}
