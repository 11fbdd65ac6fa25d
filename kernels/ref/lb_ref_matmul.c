/* Reference: matrix products. The definition in lb_kernels.h, row by row and token by token. */
#include "../lb_kernel_names.h"
#include "../lb_layout.h"
#include "../lb_math.h"

static void lb_ref_put(float *y, size_t y_stride, size_t t, size_t row, bool add, float sum)
{
    float *p = y + t * y_stride + row;
    *p = add ? *p + sum : sum;
}

static float lb_ref_weight_f32(const void *tile, size_t i)
{
    return ((const float *)tile)[i];
}

static float lb_ref_weight_f16(const void *tile, size_t i)
{
    return lb_f16_to_f32(((const uint16_t *)tile)[i]);
}

static float lb_ref_weight_bf16(const void *tile, size_t i)
{
    return lb_bf16_to_f32(((const uint16_t *)tile)[i]);
}

static void lb_ref_matmul_float(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x,
                                float *y, size_t y_stride, bool add, float (*weight)(const void *tile, size_t i))
{
    for (size_t tile = 0; tile < n_tiles; tile++) {
        const uint8_t *base = (const uint8_t *)w + tile * tile_bytes;
        for (size_t t = 0; t < x->n; t++) {
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                float acc = 0.0f;
                for (size_t c = 0; c < k; c++) {
                    acc = lb_fma(weight(base, c * LB_TILE_ROWS + r), x->f32[t * x->f32_stride + c], acc);
                }
                lb_ref_put(y, y_stride, t, tile * LB_TILE_ROWS + r, add, acc);
            }
        }
    }
}

/* The integer weight of row r and column c of a tile */
typedef int32_t lb_ref_code_fn(const uint8_t *tile, size_t k, size_t r, size_t c);

static int32_t lb_ref_code_q8(const uint8_t *tile, size_t k, size_t r, size_t c)
{
    return tile[lb_q8_codes_at(k) + c / 4 * 64 + r * 4 + c % 4] - 128;
}

static int32_t lb_ref_code_q4(const uint8_t *tile, size_t k, size_t r, size_t c)
{
    int code = tile[lb_q4_codes_at(k) + c / 8 * 64 + r * 4 + c % 4] >> (c % 8 < 4 ? 0 : 4) & 15;
    const uint8_t zeros = tile[lb_q4_zeros_at(k) + c / 64 * 16 + r];
    return 2 * code - lb_q4_zero((unsigned)zeros >> (c % 64 < 32 ? 0 : 4));
}

static void lb_ref_matmul_group(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x,
                                float *y, size_t y_stride, bool add, lb_ref_code_fn *code)
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
                        isum += code(base, k, r, c) * x->q[t * x->q_stride + c];
                    }
                    float scale = lb_mini(base[LB_Q_SCALES_AT + g * LB_TILE_ROWS + r]) *
                                  x->scale[t * x->group_stride + g];
                    acc = lb_fma(scale, (float)isum, acc);
                }
                acc *= ((const float *)(const void *)base)[r];
                lb_ref_put(y, y_stride, t, tile * LB_TILE_ROWS + r, add, acc);
            }
        }
    }
}

void lb_gemm_f32_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                     size_t y_stride, bool add, void *scratch)
{
    (void)scratch;
    lb_ref_matmul_float(w, tile_bytes, n_tiles, k, x, y, y_stride, add, lb_ref_weight_f32);
}

void lb_gemm_f16_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                     size_t y_stride, bool add, void *scratch)
{
    (void)scratch;
    lb_ref_matmul_float(w, tile_bytes, n_tiles, k, x, y, y_stride, add, lb_ref_weight_f16);
}

void lb_gemm_bf16_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                      size_t y_stride, bool add, void *scratch)
{
    (void)scratch;
    lb_ref_matmul_float(w, tile_bytes, n_tiles, k, x, y, y_stride, add, lb_ref_weight_bf16);
}

void lb_gemm_q8_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                    size_t y_stride, bool add, void *scratch)
{
    (void)scratch;
    lb_ref_matmul_group(w, tile_bytes, n_tiles, k, x, y, y_stride, add, lb_ref_code_q8);
}

void lb_gemm_q4_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                    size_t y_stride, bool add, void *scratch)
{
    (void)scratch;
    lb_ref_matmul_group(w, tile_bytes, n_tiles, k, x, y, y_stride, add, lb_ref_code_q4);
}

/* One token is no special case here. */
void lb_gemv_f32_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                     size_t y_stride, bool add, void *scratch)
{
    lb_gemm_f32_ref(w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch);
}

void lb_gemv_f16_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                     size_t y_stride, bool add, void *scratch)
{
    lb_gemm_f16_ref(w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch);
}

void lb_gemv_bf16_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                     size_t y_stride, bool add, void *scratch)
{
    lb_gemm_bf16_ref(w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch);
}

void lb_gemv_q8_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                     size_t y_stride, bool add, void *scratch)
{
    lb_gemm_q8_ref(w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch);
}

void lb_gemv_q4_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                     size_t y_stride, bool add, void *scratch)
{
    lb_gemm_q4_ref(w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch);
}
