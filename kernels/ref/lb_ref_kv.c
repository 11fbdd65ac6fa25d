/* Reference: products over a quantized KV cache. The definition in lb_kernels.h, row by row. */
#include "../lb_kernel_names.h"
#include "../lb_math.h"

static int32_t lb_ref_kv_weight(const uint8_t *tile, int bits, size_t r, size_t c)
{
    const size_t per_byte = 8 / (size_t)bits, span = 4 * per_byte; /* columns of 64 bytes */
    const unsigned byte = tile[c / span * 64 + r * 4 + c % 4];
    const int code = (int)(byte >> (c % span / 4 * (size_t)bits)) & ((1 << bits) - 1);
    return bits == 8 ? code - 128 : 2 * code - ((1 << bits) - 1);
}

static void lb_ref_kv_product(const lb_kv_matrix *w, const lb_input *x, float *y, size_t y_stride, bool add, int bits)
{
    for (size_t t = 0; t < x->n; t++) {
        for (size_t row = 0; row < w->n_tiles * LB_TILE_ROWS; row++) {
            const size_t i = row / LB_TILE_ROWS;
            float acc = 0.0f;
            for (size_t g = 0; g * LB_KV_GROUP < w->k; g++) {
                int32_t isum = 0;
                for (size_t c = g * LB_KV_GROUP; c < (g + 1) * LB_KV_GROUP && c < w->k; c++) {
                    isum += lb_ref_kv_weight(w->codes + i * w->tile_bytes, bits, row % LB_TILE_ROWS, c) * x->q[t / 4 * 4 * x->q_stride + c / 4 * 16 + t % 4 * 4 + c % 4];
                }
                acc = lb_fma(x->scale[t / 4 * 4 * x->group_stride + 4 * g + t % 4], (float)isum, acc);
            }
            if (w->row_scale) {
                acc = lb_fma(acc, lb_bf16_to_f32(w->row_scale[row]), w->base[t * w->base_stride + i / 4]);
            }
            float *to = y + t * y_stride + row;
            *to = add ? *to + acc : acc;
        }
    }
}

void lb_kv_product_q8_ref(const lb_kv_matrix *w, const lb_input *x, float *y, size_t y_stride, bool add)
{
    lb_ref_kv_product(w, x, y, y_stride, add, 8);
}

void lb_kv_product_q4_ref(const lb_kv_matrix *w, const lb_input *x, float *y, size_t y_stride, bool add)
{
    lb_ref_kv_product(w, x, y, y_stride, add, 4);
}

void lb_kv_product_q2_ref(const lb_kv_matrix *w, const lb_input *x, float *y, size_t y_stride, bool add)
{
    lb_ref_kv_product(w, x, y, y_stride, add, 2);
}

void lb_kv_means_ref(const uint16_t *means, size_t w, const float *x, size_t n, float *base)
{
    for (size_t t = 0; t < n; t++, x += w * LB_TILE_ROWS, base += 4) {
        float y[LB_TILE_ROWS] = {0};
        for (size_t i = 0; i < w * LB_TILE_ROWS; i++) {
            y[i % LB_TILE_ROWS] = lb_fma(lb_f16_to_f32(means[i]), x[i], y[i % LB_TILE_ROWS]);
        }
        for (size_t b = 0; b < 4; b++) {
            base[b] = ((y[b] + y[4 + b]) + y[8 + b]) + y[12 + b];
        }
    }
}

void lb_kv_quantize_ref(const float *x, size_t stride, size_t n_rows, const uint16_t *w, size_t n, const lb_kv_codes *to, lb_fetch *fetch)
{
    (void)fetch;
    for (size_t r = 0; r < n_rows; r++, x += stride) {
        for (size_t g = 0; g < n / LB_KV_GROUP; g++) {
            float y[LB_KV_GROUP];
            uint32_t amax_bits = 0;
            for (size_t i = 0; i < LB_KV_GROUP; i++) {
                const size_t at = g * LB_KV_GROUP + i;
                y[i] = w ? x[at] * lb_bf16_to_f32(w[at]) : x[at];
                const uint32_t bits = lb_f32_bits(y[i]) & 0x7fffffff;
                amax_bits = bits > amax_bits ? bits : amax_bits;
            }
            const float amax = lb_bits_f32(amax_bits);
            const bool finite = amax_bits < 0x7f800000, any = finite && amax >= LB_KV_TINY;
            int8_t *q = to->q + r / 4 * 4 * to->q_stride + g * LB_KV_GROUP * 4 + r % 4 * 4;
            const size_t to_group = r / 4 * 4 * to->group_stride + 4 * g + r % 4;
            int32_t sum = 0;
            for (size_t i = 0; i < LB_KV_GROUP; i++) {
                const int32_t code = any ? (int32_t)rintf(y[i] * (127.0f / amax)) : 0;
                q[i / 4 * 16 + i % 4] = (int8_t)code;
                sum += code;
            }
            to->scale[to_group] = any ? amax * (1.0f / 127.0f) : finite ? 0.0f : lb_bits_f32(0x7fc00000);
            to->sum[to_group] = sum;
        }
    }
}

void lb_kv_softmax_ref(float *s, size_t stride, size_t n_rows, const uint16_t *w, const lb_kv_codes *to, float *max, float *sum, lb_fetch *fetch)
{
    for (size_t r = 0; r < n_rows; r++) {
        float *p = s + r * stride, lane[16] = {0};
        float m = -INFINITY;
        for (size_t i = 0; i < LB_KV_CHUNK; i++) {
            m = p[i] > m ? p[i] : m;
        }
        for (size_t i = 0; i < LB_KV_CHUNK; i++) {
            p[i] = lb_exp_code(p[i] - m);
            lane[i % 16] += p[i];
        }
        max[r] = m;
        sum[r] = lb_lane_sum(lane);
    }
    lb_kv_quantize_ref(s, stride, n_rows, w, LB_KV_CHUNK, to, fetch);
}
