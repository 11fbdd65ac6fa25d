/* Reference: matrix products of ternary weights. */
#include "../lb_kernel_names.h"
#include "../lb_layout.h"

void lb_gemm_tern_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                      size_t y_stride, bool add, void *scratch)
{
    (void)scratch;
    for (size_t tile = 0; tile < n_tiles; tile++) {
        const uint8_t *base = (const uint8_t *)w + tile * tile_bytes, *codes = base + LB_TERN_CODES_AT;
        for (size_t t = 0; t < x->n; t++) {
            const int8_t *q = x->tq + t * x->tq_stride;
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                int32_t isum = 0;
                for (size_t c = 0; c < k; c++) {
                    const size_t line = c / LB_TERN_COLUMNS, in_line = c % LB_TERN_COLUMNS;
                    isum += (lb_tern_digit(codes[line * 64 + r * 4 + in_line % 4], in_line / 4) - 1) * q[c];
                }
                const float scale = ((const float *)(const void *)base)[r] * x->token_scale[t];
                const float v = (float)isum * scale;
                float *out = y + t * y_stride + tile * LB_TILE_ROWS + r;
                *out = add ? *out + v : v;
            }
        }
    }
}

void lb_gemv_tern_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                      size_t y_stride, bool add, void *scratch)
{
    lb_gemm_tern_ref(w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch);
}
