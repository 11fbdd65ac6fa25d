/* Reference: products of sparse matrices. */
#include "../lb_kernel_names.h"
#include "../lb_math.h"

void lb_sparse_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y, size_t y_stride, bool add,
                   void *scratch)
{
    (void)k;
    (void)scratch;
    for (size_t i = 0; i < n_tiles; i++) {
        for (size_t t = 0; t < x->n; t++) {
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                const uint16_t *line = (const uint16_t *)(const void *)((const uint8_t *)w + i * tile_bytes);
                float acc = 0.0f;
                for (size_t j = 0; j < tile_bytes; j += 64, line += 32) {
                    acc = lb_fma(lb_f16_to_f32(line[LB_TILE_ROWS + r]), x->f32[t * x->f32_stride + line[r]], acc);
                }
                float *p = y + t * y_stride + i * LB_TILE_ROWS + r;
                *p = add ? *p + acc : acc;
            }
        }
    }
}
