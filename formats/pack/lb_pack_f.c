/* Packing into the float formats, and the list of packers. */
#include <string.h>

#include "lb_pack.h"
#include "../../kernels/lb_layout.h"
#include "../../kernels/lb_math.h"

lb_pack_fn *lb_packer(lb_wformat format)
{
    switch (format) {
    case LB_W_F32: return lb_pack_f32;
    case LB_W_F16: return lb_pack_f16;
    case LB_W_BF16: return lb_pack_bf16;
    case LB_W_Q8: return lb_pack_q8;
    case LB_W_INT8: return lb_pack_int8;
    case LB_W_Q6: return lb_pack_q6;
    case LB_W_Q5: return lb_pack_q5;
    case LB_W_Q4: return lb_pack_q4;
    case LB_W_TERN: return lb_pack_tern;
    case LB_W_Q3: return lb_pack_q3;
    case LB_W_S24Q8: return lb_pack_s24q8;
    case LB_W_S24Q4: return lb_pack_s24q4;
    case LB_W_Q2: return lb_pack_q2;
    case LB_W_LUT4: return lb_pack_lut4;
    case LB_W_LUT3: return lb_pack_lut3;
    case LB_W_LUT2: return lb_pack_lut2;
    case LB_W_LUT1: return lb_pack_lut1;
    case LB_W_TCQ2: return lb_pack_tcq2;
    case LB_W_TCQ3: return lb_pack_tcq3;
    case LB_W_TCQ4: return lb_pack_tcq4;
    default: return NULL;
    }
}

static float lb_pack_finite(float x)
{
    return isfinite(x) ? x : 0.0f;
}

void lb_pack_f32(const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance, void *tile)
{
    (void)importance;
    float *out = tile;
    memset(out, 0, lb_float_tile_bytes(k, 4));
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < k; c++) {
            out[c * LB_TILE_ROWS + r] = lb_pack_finite(rows[r * stride + c]);
        }
    }
}

/* Values beyond the largest half are clamped to it. */
void lb_pack_f16(const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance, void *tile)
{
    (void)importance;
    uint16_t *out = tile;
    memset(out, 0, lb_float_tile_bytes(k, 2));
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < k; c++) {
            float x = lb_pack_finite(rows[r * stride + c]);
            x = x > 65504.0f ? 65504.0f : x < -65504.0f ? -65504.0f : x;
            out[c * LB_TILE_ROWS + r] = lb_f32_to_f16(x);
        }
    }
}

void lb_pack_bf16(const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance, void *tile)
{
    (void)importance;
    uint16_t *out = tile;
    memset(out, 0, lb_float_tile_bytes(k, 2));
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < k; c++) {
            float x = lb_pack_finite(rows[r * stride + c]);
            x = x > 0x1.fep127f ? 0x1.fep127f : x < -0x1.fep127f ? -0x1.fep127f : x;
            out[c * LB_TILE_ROWS + r] = lb_f32_to_bf16(x);
        }
    }
}
