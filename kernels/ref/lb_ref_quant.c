/* Reference: activations to int8 by groups and by token, half-precision conversions. */
#include "../lb_kernel_names.h"
#include "../lb_math.h"

void lb_quantize_a8_ref(const float *x, size_t k, int8_t *q, float *scale, int32_t *sum, int32_t *start)
{
    const size_t k_pad = (k + LB_K_ALIGN - 1) / LB_K_ALIGN * LB_K_ALIGN;
    for (size_t g = 0; g < k_pad / LB_GROUP; g++) {
        float v[LB_GROUP];
        uint32_t amax_bits = 0;
        for (size_t i = 0; i < LB_GROUP; i++) {
            v[i] = g * LB_GROUP + i < k ? x[g * LB_GROUP + i] : 0.0f;
            uint32_t mag = lb_f32_bits(v[i]) & 0x7fffffff;
            amax_bits = mag > amax_bits ? mag : amax_bits;
        }
        const float amax = lb_bits_f32(amax_bits);
        const bool finite = amax_bits < 0x7f800000;
        const bool zero = !finite || amax < LB_A8_TINY;
        scale[g] = !finite ? lb_bits_f32(0x7fc00000) : zero ? LB_A8_ZERO_SCALE : lb_a8_scale(amax);
        const float inverse = 1.0f / scale[g];
        sum[g] = 0;
        for (size_t i = 0; i < LB_GROUP; i++) {
            int32_t code = zero ? 0 : (int32_t)rintf(v[i] * inverse);
            q[g * LB_GROUP + i] = (int8_t)code;
            sum[g] += code;
        }
        start[g] = -128 * sum[g];
    }
}

void lb_quantize_a8_token_ref(const float *x, size_t k, int8_t *q, float *scale, int32_t *sum)
{
    const size_t k_pad = (k + LB_K_ALIGN - 1) / LB_K_ALIGN * LB_K_ALIGN;
    uint32_t amax_bits = lb_f32_bits(LB_A8_TOKEN_MIN);
    for (size_t i = 0; i < k; i++) {
        uint32_t mag = lb_f32_bits(x[i]) & 0x7fffffff;
        amax_bits = mag > amax_bits ? mag : amax_bits;
    }
    const float amax = lb_bits_f32(amax_bits);
    const bool finite = amax_bits < 0x7f800000;
    *scale = finite ? amax / 127.0f : lb_bits_f32(0x7fc00000);
    *sum = 0;
    for (size_t i = 0; i < k_pad; i++) {
        int32_t code = finite && i < k ? (int32_t)rintf(x[i] * (127.0f / amax)) : 0;
        q[i] = (int8_t)code;
        *sum += code;
    }
}

void lb_f32_to_f16_ref(uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = lb_f32_to_f16(x[i]);
    }
}

void lb_f16_to_f32_ref(float *y, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = lb_f16_to_f32(x[i]);
    }
}
