/*
 * Declares the functions of one level: lb_OP_LEVEL for the entries of lb_kernels, in groups. A level declares the groups that it
 * defines; the selector uses those that exist.
 */
#ifndef LB_KERNEL_NAMES_H
#define LB_KERNEL_NAMES_H

#include "lb_kernels.h"

#define LB_DECLARE_FLOAT(s)                                                                                           \
    LB_LINK lb_matmul_fn lb_gemv_f32_##s, lb_gemv_f16_##s, lb_gemv_bf16_##s;                                          \
    LB_LINK lb_matmul_fn lb_gemm_f32_##s, lb_gemm_f16_##s, lb_gemm_bf16_##s;                                          \
    LB_LINK lb_matmul_fn lb_sparse_##s

#define LB_DECLARE_INT(s)                                                                                             \
    LB_LINK lb_matmul_fn lb_gemv_q8_##s, lb_gemv_q6_##s, lb_gemv_q5_##s, lb_gemv_q4_##s, lb_gemv_q3_##s, lb_gemv_q2_##s; \
    LB_LINK lb_matmul_fn lb_gemm_q8_##s, lb_gemm_q6_##s, lb_gemm_q5_##s, lb_gemm_q4_##s, lb_gemm_q3_##s, lb_gemm_q2_##s

#define LB_DECLARE_LUT(s)                                                                                             \
    LB_LINK lb_matmul_fn lb_gemv_lut4_##s, lb_gemv_lut3_##s, lb_gemv_lut2_##s, lb_gemv_lut1_##s;                      \
    LB_LINK lb_matmul_fn lb_gemm_lut4_##s, lb_gemm_lut3_##s, lb_gemm_lut2_##s, lb_gemm_lut1_##s;                      \
    LB_LINK void lb_lut_tables_##s(const int8_t *q, size_t k, uint8_t *tables)

#define LB_DECLARE_BYTES_ONLY(s)                                                                                      \
    LB_LINK lb_matmul_fn lb_bytes_lut4_##s, lb_bytes_lut3_##s, lb_bytes_lut2_##s, lb_bytes_lut1_##s
#define LB_DECLARE_BYTES(s)                                                                                           \
    LB_DECLARE_BYTES_ONLY(s);                                                                                         \
    LB_LINK void lb_byte_tables_##s(const float *x, size_t k, uint8_t *tables, float *scale, int32_t *sum)

#define LB_DECLARE_TERN(s) LB_LINK lb_matmul_fn lb_gemv_tern_##s, lb_gemm_tern_##s

#define LB_DECLARE_HADAMARD(s)                                                                                        \
    LB_LINK void lb_hadamard_##s(float *y, const float *x, const uint8_t *signs, size_t n, size_t block)

#define LB_DECLARE_TCQ_GEMV(s) LB_LINK lb_matmul_fn lb_gemv_tcq2_##s, lb_gemv_tcq3_##s, lb_gemv_tcq4_##s

#define LB_DECLARE_TCQ(s)                                                                                             \
    LB_DECLARE_TCQ_GEMV(s);                                                                                           \
    LB_LINK lb_matmul_fn lb_gemm_tcq2_##s, lb_gemm_tcq3_##s, lb_gemm_tcq4_##s

#define LB_DECLARE_S24(s)                                                                                             \
    LB_LINK lb_matmul_fn lb_gemv_s24q8_##s, lb_gemv_s24q4_##s, lb_gemm_s24q8_##s, lb_gemm_s24q4_##s

extern const uint64_t lb_masked_index[256]; /* for each byte of a mask 8 indices: i-th set bit -> i, other bits -> 0x80 */

/* expand: codes of n quads from their masks; values and at as in lb_kernels.h */
typedef void lb_masked_expand_fn(uint8_t *codes, const uint8_t *masks, size_t n, const uint8_t *values, size_t n_values, size_t *at);
typedef void lb_masked_with_fn(lb_masked_expand_fn *expand, const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x,
                               float *y, size_t y_stride, bool add, void *scratch);
#define LB_DECLARE_MASKED_ONE(s) LB_LINK lb_matmul_fn lb_masked_##s
#define LB_DECLARE_MASKED(s)                                                                                          \
    LB_DECLARE_MASKED_ONE(s);                                                                                         \
    LB_LINK lb_masked_with_fn lb_masked_with_##s

#define LB_DECLARE_INT8(s) LB_LINK lb_matmul_fn lb_gemv_int8_##s, lb_gemm_int8_##s

#define LB_DECLARE_KV(s)                                                                                              \
    LB_LINK lb_kv_product_fn lb_kv_product_q8_##s, lb_kv_product_q4_##s, lb_kv_product_q2_##s;                        \
    LB_LINK void lb_kv_means_##s(const uint16_t *means, size_t w, const float *x, size_t n, float *base);             \
    LB_LINK void lb_kv_quantize_##s(const float *x, size_t stride, size_t n_rows, const uint16_t *w, size_t n,        \
                                    const lb_kv_codes *to, lb_fetch *fetch);                                          \
    LB_LINK void lb_kv_softmax_##s(float *s, size_t stride, size_t n_rows, const uint16_t *w, const lb_kv_codes *to,  \
                                   float *max, float *sum, lb_fetch *fetch)

#define LB_DECLARE_VECTOR(s)                                                                                          \
    LB_LINK void lb_quantize_a8_##s(const float *x, size_t k, int8_t *q, float *scale, int32_t *sum, int32_t *start); \
    LB_LINK void lb_quantize_a8_token_##s(const float *x, size_t k, int8_t *q, float *scale, int32_t *sum);           \
    LB_LINK void lb_rmsnorm_##s(float *y, const float *x, const float *w, size_t n, float eps);                       \
    LB_LINK void lb_add_##s(float *y, const float *x, size_t n);                                                      \
    LB_LINK void lb_scale_##s(float *y, float f, size_t n);                                                           \
    LB_LINK void lb_silu_mul_##s(float *gate, const float *up, size_t n);                                             \
    LB_LINK void lb_relu2_mul_##s(float *gate, const float *up, size_t n);                                            \
    LB_LINK void lb_rope_##s(float *x, const float *cs, size_t n_heads, size_t head_dim, size_t rot_dim, bool interleaved); \
    LB_LINK void lb_softmax_chunk_##s(float *p, size_t stride, size_t n_rows, size_t n, float *max, float *sum,       \
                                      lb_fetch *fetch);                                                               \
    LB_LINK void lb_axpby_##s(float *o, const float *c, float a, float b, size_t n);                                  \
    LB_LINK void lb_weigh_##s(float *o, const float *x, size_t stride, const float *w, size_t n, size_t width);       \
    LB_LINK void lb_f32_to_f16_##s(uint16_t *y, const float *x, size_t n);                                            \
    LB_LINK void lb_f16_to_f32_##s(float *y, const uint16_t *x, size_t n);                                            \
    LB_LINK size_t lb_argmax_##s(const float *x, size_t n)

LB_DECLARE_FLOAT(ref);
LB_DECLARE_INT(ref);
LB_DECLARE_TCQ(ref);
LB_DECLARE_TERN(ref);
LB_DECLARE_S24(ref);
LB_DECLARE_INT8(ref);
LB_DECLARE_MASKED_ONE(ref);
LB_DECLARE_VECTOR(ref);
LB_DECLARE_HADAMARD(ref);
LB_DECLARE_KV(ref);
LB_DECLARE_LUT(ref);
LB_DECLARE_BYTES(ref);

#endif /* LB_KERNEL_NAMES_H */
