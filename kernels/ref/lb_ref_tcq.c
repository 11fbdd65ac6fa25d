/* Reference: matrix products of the trellis formats. The definition in lb_kernels.h, row by row and token by
 * token. */
#include "../lb_kernel_names.h"
#include "../lb_math.h"
#include "../lb_tcq_code.h"

static void lb_ref_matmul_tcq(unsigned bits, const void *w, size_t tile_bytes, size_t n_tiles, size_t k,
                              const lb_input *x,
                              float *y, size_t y_stride, bool add)
{
    const size_t n_groups = lb_round_up64(k) / LB_GROUP;
    for (size_t i = 0; i < n_tiles * LB_TILE_ROWS; i++) {
        const uint8_t *tile = (const uint8_t *)w + i / LB_TILE_ROWS * tile_bytes;
        const size_t r = i % LB_TILE_ROWS;
        for (size_t t = 0; t < x->n; t++) {
            float acc = 0.0f;
            for (size_t g = 0; g < n_groups; g++) {
                int32_t isum = 0;
                for (size_t c = g * LB_GROUP; c < (g + 1) * LB_GROUP; c++) {
                    isum += lb_tcq_weight_at(bits, tile, k, r, c) * x->q[t * x->q_stride + c];
                }
                acc = lb_fma(x->scale[t * x->group_stride + g], (float)isum, acc);
            }
            acc *= ((const float *)(const void *)tile)[r];
            float *p = y + t * y_stride + i;
            *p = add ? *p + acc : acc;
        }
    }
}

#define LB_REF_TCQ(op, bits)                                                                                 \
    void lb_##op##_tcq##bits##_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k,               \
                                   const lb_input *x, float *y, size_t y_stride, bool add, void *scratch)    \
    {                                                                                                        \
        (void)scratch;                                                                                       \
        lb_ref_matmul_tcq(bits, w, tile_bytes, n_tiles, k, x, y, y_stride, add);                             \
    }
LB_REF_TCQ(gemv, 2)
LB_REF_TCQ(gemv, 3)
LB_REF_TCQ(gemv, 4)
LB_REF_TCQ(gemm, 2)
LB_REF_TCQ(gemm, 3)
LB_REF_TCQ(gemm, 4)
#undef LB_REF_TCQ
