/* Reference: products of the 2:4 formats, as if their zeros were stored. */
#include "../lb_kernel_names.h"
#include "../lb_layout.h"
#include "../lb_math.h"

static void lb_ref_s24(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y, size_t y_stride,
                       bool add, size_t lines)
{
    const size_t n_groups = lb_round_up64(k) / LB_GROUP;
    for (size_t tile = 0; tile < n_tiles; tile++) {
        const uint8_t *base = (const uint8_t *)w + tile * tile_bytes;
        for (size_t t = 0; t < x->n; t++) {
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                float acc = 0.0f;
                for (size_t g = 0; g < n_groups; g++) {
                    int32_t isum = 0;
                    for (size_t c = g * LB_GROUP; c < (g + 1) * LB_GROUP; c++) {
                        isum += lb_s24_weight_at(base, k, lines, r, c) * x->q[t * x->q_stride + c];
                    }
                    const float scale = lb_mini(base[LB_Q_SCALES_AT + g / 2 * LB_TILE_ROWS + r]) * x->scale[t * x->group_stride + g];
                    acc = lb_fma(scale, (float)isum, acc);
                }
                acc *= ((const float *)(const void *)base)[r];
                float *p = y + t * y_stride + tile * LB_TILE_ROWS + r;
                *p = add ? *p + acc : acc;
            }
        }
    }
}

#define LB_REF_S24(name, lines)                                                                                       \
    void name##_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,          \
                    size_t y_stride, bool add, void *scratch)                                                         \
    {                                                                                                                 \
        (void)scratch;                                                                                                \
        lb_ref_s24(w, tile_bytes, n_tiles, k, x, y, y_stride, add, lines);                                            \
    }
LB_REF_S24(lb_gemv_s24q8, LB_S24Q8_LINES)
LB_REF_S24(lb_gemm_s24q8, LB_S24Q8_LINES)
LB_REF_S24(lb_gemv_s24q4, LB_S24Q4_LINES)
LB_REF_S24(lb_gemm_s24q4, LB_S24Q4_LINES)
#undef LB_REF_S24
