/* Reference: products of int8. */
#include "../lb_kernel_names.h"
#include "../lb_layout.h"

void lb_gemm_int8_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y, size_t y_stride,
                      bool add, void *scratch)
{
    (void)scratch;
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *tile = (const uint8_t *)w + i * tile_bytes, *codes = tile + LB_INT8_CODES_AT;
        for (size_t t = 0; t < x->n; t++) {
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                int32_t isum = 0;
                for (size_t c = 0; c < lb_round_up64(k); c++) {
                    isum += (codes[c / 4 * 64 + r * 4 + c % 4] - 128) * x->tq[t * x->tq_stride + c];
                }
                const float sum = (float)isum * (((const float *)(const void *)tile)[r] * x->token_scale[t]);
                float *p = y + t * y_stride + i * LB_TILE_ROWS + r;
                *p = add ? *p + sum : sum;
            }
        }
    }
}

void lb_gemv_int8_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y, size_t y_stride,
                      bool add, void *scratch)
{
    lb_gemm_int8_ref(w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch);
}
