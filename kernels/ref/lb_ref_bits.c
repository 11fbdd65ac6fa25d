/* Reference: matrix products of q6, q5, q3, q2, lut4 .. lut1, and the tables of the latter. The definition in lb_kernels.h, row by row and token by token. */
#include "../lb_bits.h"
#include "../lb_kernel_names.h"

/* The integer sum of row r, group g and token t, less its zero point */
typedef int32_t lb_ref_bits_sum_fn(const lb_bits_format *f, const uint8_t *codes, size_t r, size_t g, int32_t zero, const lb_input *x, size_t t);

/* scale: x->scale, or that of the tables of bytes */
static void lb_ref_matmul_bits(const lb_bits_format *f, lb_ref_bits_sum_fn *sum_of, const float *scale, const void *w, size_t tile_bytes, size_t n_tiles,
                               size_t k, const lb_input *x, float *y, size_t y_stride, bool add)
{
    const size_t n_groups = lb_round_up64(k) / LB_GROUP;
    for (size_t tile = 0; tile < n_tiles; tile++) {
        const uint8_t *base = (const uint8_t *)w + tile * tile_bytes;
        for (size_t t = 0; t < x->n; t++) {
            for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                float acc = 0.0f;
                for (size_t g = 0; g < n_groups; g++) {
                    const uint8_t u = base[LB_Q_SCALES_AT + g * LB_TILE_ROWS + r];
                    const int32_t isum = sum_of(f, base + lb_bits_codes_at(k), r, g, lb_bits_zero(f, u), x, t);
                    acc = lb_fma(lb_bits_scale(u) * scale[t * x->group_stride + g], (float)isum, acc);
                }
                acc *= ((const float *)(const void *)base)[r];
                float *p = y + t * y_stride + tile * LB_TILE_ROWS + r;
                *p = add ? *p + acc : acc;
            }
        }
    }
}

static int32_t lb_ref_bits_sum(const lb_bits_format *f, const uint8_t *codes, size_t r, size_t g, int32_t zero, const lb_input *x, size_t t)
{
    int32_t sum = 0;
    for (size_t c = g * LB_GROUP; c < (g + 1) * LB_GROUP; c++) {
        sum += (((int32_t)lb_bits_code(f, codes, r, c) << f->shift) - zero) * x->q[t * x->q_stride + c];
    }
    return sum;
}

#define LB_REF_BITS(name)                                                                                             \
    void lb_gemm_##name##_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y, \
                              size_t y_stride, bool add, void *scratch)                                               \
    {                                                                                                                 \
        (void)scratch;                                                                                                \
        lb_ref_matmul_bits(&lb_bits_##name, lb_ref_bits_sum, x->scale, w, tile_bytes, n_tiles, k, x, y, y_stride, add); \
    }                                                                                                                 \
    void lb_gemv_##name##_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y, \
                              size_t y_stride, bool add, void *scratch)                                               \
    {                                                                                                                 \
        lb_gemm_##name##_ref(w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch);                                \
    }

LB_REF_BITS(q6)
LB_REF_BITS(q5)
LB_REF_BITS(q3)
LB_REF_BITS(q2)
LB_REF_BITS(lut4)
LB_REF_BITS(lut3)
LB_REF_BITS(lut2)
LB_REF_BITS(lut1)

/* t(j, m) of a group's tables of bytes */
static int lb_ref_byte(const uint8_t *tables, size_t j, size_t m)
{
    return tables[j % 2 * 64 + j / 2 * 16 + m] - 64;
}

static int32_t lb_ref_byte_sum(const lb_bits_format *f, const uint8_t *codes, size_t r, size_t g, int32_t zero, const lb_input *x, size_t t)
{
    const uint8_t *tables = x->bytes + t * x->bytes_stride + g * LB_BYTES_GROUP;
    const int32_t centre = ((1 << f->bits) - 1) << (f->shift - 1);
    int32_t sum = (centre - zero) * x->bytes_sum[t * x->group_stride + g];
    for (unsigned b = 0; b < f->bits; b++) {
        int32_t plane = 0;
        for (size_t p = 0; p < 4; p++) {
            const uint8_t two = codes[g * 64 * f->bits + 64 * b + 16 * p + r];
            plane += lb_ref_byte(tables, 2 * p, two & 15) + lb_ref_byte(tables, 2 * p + 1, two >> 4);
        }
        sum += plane * (1 << (b + f->shift - 1u));
    }
    return sum;
}

#define LB_REF_BYTES(name)                                                                                            \
    void lb_bytes_##name##_ref(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y, \
                               size_t y_stride, bool add, void *scratch)                                              \
    {                                                                                                                 \
        (void)scratch;                                                                                                \
        lb_ref_matmul_bits(&lb_bits_##name, lb_ref_byte_sum, x->bytes_scale, w, tile_bytes, n_tiles, k, x, y, y_stride, add); \
    }

LB_REF_BYTES(lut4)
LB_REF_BYTES(lut3)
LB_REF_BYTES(lut2)
LB_REF_BYTES(lut1)

void lb_byte_tables_ref(const float *x, size_t k, uint8_t *tables, float *scale, int32_t *sum)
{
    for (size_t g = 0; g < lb_round_up64(k) / LB_GROUP; g++) {
        float f[8][16];
        uint32_t amax_bits = 0;
        for (size_t j = 0; j < 8; j++) {
            float v[4];
            for (size_t i = 0; i < 4; i++) {
                const size_t c = g * LB_GROUP + 4 * j + i;
                v[i] = c < k ? x[c] : 0.0f;
            }
            for (unsigned m = 0; m < 16; m++) {
                f[j][m] = ((m & 1 ? v[0] : -v[0]) + (m & 2 ? v[1] : -v[1])) + ((m & 4 ? v[2] : -v[2]) + (m & 8 ? v[3] : -v[3]));
                const uint32_t mag = lb_f32_bits(f[j][m]) & 0x7fffffff;
                amax_bits = mag > amax_bits ? mag : amax_bits;
            }
        }
        const float amax = lb_bits_f32(amax_bits);
        const bool finite = amax_bits < 0x7f800000, zero = !finite || amax < LB_A8_TINY;
        const float inverse = zero ? 0.0f : 63.0f / amax;
        scale[g] = !finite ? lb_bits_f32(0x7fc00000) : zero ? 0.0f : amax / 63.0f;
        sum[g] = 0;
        for (size_t j = 0; j < 8; j++) {
            for (size_t m = 0; m < 16; m++) {
                const int32_t t = zero ? 0 : (int32_t)rintf(f[j][m] * inverse);
                tables[g * LB_BYTES_GROUP + j % 2 * 64 + j / 2 * 16 + m] = (uint8_t)(t + 64);
                sum[g] += m == 15 ? t : 0;
            }
        }
    }
}

void lb_lut_tables_ref(const int8_t *q, size_t k, uint8_t *tables)
{
    for (size_t j = 0; j < k / 4; j++) {
        for (unsigned m = 0; m < 16; m++) {
            int32_t sum = 0;
            for (unsigned i = 0; i < 4; i++) {
                sum += m >> i & 1 ? q[4 * j + i] : 0;
            }
            uint8_t *to = tables + j / 8 * LB_LUT_GROUP_BYTES + j % 2 * 128 + j % 8 / 2 * 16 + m;
            to[0] = (uint8_t)(sum & 255);
            to[64] = (uint8_t)(sum >> 8 & 255);
        }
    }
}
