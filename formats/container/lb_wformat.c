#include "lb_wformat.h"

#include <string.h>

#include "../../kernels/lb_bits.h"
#include "../../kernels/lb_tcq_code.h"

static size_t lb_tile_bytes_f32(size_t k)
{
    return lb_float_tile_bytes(k, 4);
}

static size_t lb_tile_bytes_f16(size_t k)
{
    return lb_float_tile_bytes(k, 2);
}

static void lb_unpack_f32(const void *tile, size_t k, size_t r, float *out)
{
    for (size_t c = 0; c < k; c++) {
        out[c] = ((const float *)tile)[c * LB_TILE_ROWS + r];
    }
}

static void lb_unpack_f16(const void *tile, size_t k, size_t r, float *out)
{
    for (size_t c = 0; c < k; c++) {
        out[c] = lb_f16_to_f32(((const uint16_t *)tile)[c * LB_TILE_ROWS + r]);
    }
}

static void lb_unpack_bf16(const void *tile, size_t k, size_t r, float *out)
{
    for (size_t c = 0; c < k; c++) {
        out[c] = lb_bf16_to_f32(((const uint16_t *)tile)[c * LB_TILE_ROWS + r]);
    }
}

static void lb_unpack_q8(const void *tile, size_t k, size_t r, float *out)
{
    const float row_scale = ((const float *)tile)[r];
    const uint8_t *scales = (const uint8_t *)tile + LB_Q_SCALES_AT;
    const uint8_t *codes = (const uint8_t *)tile + lb_q8_codes_at(k);
    for (size_t c = 0; c < k; c++) {
        float mini = lb_mini(scales[c / LB_GROUP * LB_TILE_ROWS + r]);
        out[c] = row_scale * (mini * (float)(codes[c / 4 * 64 + r * 4 + c % 4] - 128));
    }
}

static void lb_unpack_q4(const void *tile, size_t k, size_t r, float *out)
{
    const float row_scale = ((const float *)tile)[r];
    const uint8_t *scales = (const uint8_t *)tile + LB_Q_SCALES_AT;
    const uint8_t *zeros = (const uint8_t *)tile + lb_q4_zeros_at(k);
    const uint8_t *codes = (const uint8_t *)tile + lb_q4_codes_at(k);
    for (size_t c = 0; c < k; c++) {
        float mini = lb_mini(scales[c / LB_GROUP * LB_TILE_ROWS + r]);
        int zero = lb_q4_zero((unsigned)zeros[c / 64 * LB_TILE_ROWS + r] >> (c % 64 < 32 ? 0 : 4));
        int code = codes[c / 8 * 64 + r * 4 + c % 4] >> (c % 8 < 4 ? 0 : 4) & 15;
        out[c] = row_scale * (mini * (float)(2 * code - zero));
    }
}

static void lb_unpack_bits(const lb_bits_format *f, const void *tile, size_t k, size_t r, float *out)
{
    const float row_scale = ((const float *)tile)[r];
    const uint8_t *groups = (const uint8_t *)tile + LB_Q_SCALES_AT, *codes = (const uint8_t *)tile + lb_bits_codes_at(k);
    for (size_t c = 0; c < k; c++) {
        const uint8_t u = groups[c / LB_GROUP * LB_TILE_ROWS + r];
        const int code = (int)lb_bits_code(f, codes, r, c);
        out[c] = row_scale * (lb_bits_scale(u) * (float)((code << f->shift) - lb_bits_zero(f, u)));
    }
}

#define LB_BITS_ENTRY(name)                                                                                           \
    static size_t lb_tile_bytes_##name(size_t k)                                                                      \
    {                                                                                                                 \
        return lb_bits_tile_bytes(k, lb_bits_##name.bits);                                                            \
    }                                                                                                                 \
    static void lb_unpack_##name(const void *tile, size_t k, size_t r, float *out)                                    \
    {                                                                                                                 \
        lb_unpack_bits(&lb_bits_##name, tile, k, r, out);                                                             \
    }

LB_BITS_ENTRY(q6)
LB_BITS_ENTRY(q5)
LB_BITS_ENTRY(q3)
LB_BITS_ENTRY(q2)
#undef LB_BITS_ENTRY

static void lb_unpack_tcq(unsigned bits, const void *tile, size_t k, size_t r, float *out)
{
    const float row_scale = ((const float *)tile)[r];
    for (size_t c = 0; c < k; c++) {
        out[c] = row_scale * (float)lb_tcq_weight_at(bits, tile, k, r, c);
    }
}

#define LB_TCQ_FORMAT_(bits)                                                                                 \
    static size_t lb_tile_bytes_tcq##bits(size_t k)                                                          \
    {                                                                                                        \
        return lb_tcq_tile_bytes(bits, k);                                                                   \
    }                                                                                                        \
    static void lb_unpack_tcq##bits(const void *tile, size_t k, size_t r, float *out)                        \
    {                                                                                                        \
        lb_unpack_tcq(bits, tile, k, r, out);                                                                \
    }
LB_TCQ_FORMAT_(2)
LB_TCQ_FORMAT_(3)
LB_TCQ_FORMAT_(4)
#undef LB_TCQ_FORMAT_

#define LB_S24_FORMAT_(name, lines)                                                                          \
    static size_t lb_tile_bytes_##name(size_t k)                                                             \
    {                                                                                                        \
        return lb_s24_tile_bytes(k, lines);                                                                  \
    }                                                                                                        \
    static void lb_unpack_##name(const void *tile, size_t k, size_t r, float *out)                           \
    {                                                                                                        \
        const uint8_t *scales = (const uint8_t *)tile + LB_Q_SCALES_AT;                                      \
        for (size_t c = 0; c < k; c++) {                                                                     \
            float mini = lb_mini(scales[c / 64 * LB_TILE_ROWS + r]);                                         \
            out[c] = ((const float *)tile)[r] * (mini * (float)lb_s24_weight_at(tile, k, lines, r, c));      \
        }                                                                                                    \
    }
LB_S24_FORMAT_(s24q8, LB_S24Q8_LINES)
LB_S24_FORMAT_(s24q4, LB_S24Q4_LINES)
#undef LB_S24_FORMAT_

static void lb_unpack_tern(const void *tile, size_t k, size_t r, float *out)
{
    const float row_scale = ((const float *)tile)[r];
    const uint8_t *codes = (const uint8_t *)tile + LB_TERN_CODES_AT;
    for (size_t c = 0; c < k; c++) {
        const size_t line = c / LB_TERN_COLUMNS, in_line = c % LB_TERN_COLUMNS;
        out[c] = row_scale * (float)(lb_tern_digit(codes[line * 64 + r * 4 + in_line % 4], in_line / 4) - 1);
    }
}

static const lb_wformat_info lb_wformats[] = {
    {LB_W_F32, "f32", LB_READS_F32, 32.0, lb_tile_bytes_f32, lb_unpack_f32},
    {LB_W_F16, "f16", LB_READS_F32, 16.0, lb_tile_bytes_f16, lb_unpack_f16},
    {LB_W_BF16, "bf16", LB_READS_F32, 16.0, lb_tile_bytes_f16, lb_unpack_bf16},
    {LB_W_Q8, "q8", LB_READS_A8, 8.25, lb_q8_tile_bytes, lb_unpack_q8},
    {LB_W_Q6, "q6", LB_READS_A8, 6.25, lb_tile_bytes_q6, lb_unpack_q6},
    {LB_W_Q5, "q5", LB_READS_A8, 5.25, lb_tile_bytes_q5, lb_unpack_q5},
    {LB_W_Q4, "q4", LB_READS_A8, 4.375, lb_q4_tile_bytes, lb_unpack_q4},
    {LB_W_Q3, "q3", LB_READS_A8, 3.25, lb_tile_bytes_q3, lb_unpack_q3},
    {LB_W_Q2, "q2", LB_READS_A8, 2.25, lb_tile_bytes_q2, lb_unpack_q2},
    {LB_W_TERN, "tern", LB_READS_A8_TOKEN, 1.6, lb_tern_tile_bytes, lb_unpack_tern},
    {LB_W_S24Q8, "s24q8", LB_READS_A8, 5.125, lb_tile_bytes_s24q8, lb_unpack_s24q8},
    {LB_W_S24Q4, "s24q4", LB_READS_A8, 3.125, lb_tile_bytes_s24q4, lb_unpack_s24q4},
    {LB_W_TCQ2, "tcq2", LB_READS_A8, 2.0, lb_tile_bytes_tcq2, lb_unpack_tcq2},
    {LB_W_TCQ3, "tcq3", LB_READS_A8, 3.0, lb_tile_bytes_tcq3, lb_unpack_tcq3},
    {LB_W_TCQ4, "tcq4", LB_READS_A8, 4.0, lb_tile_bytes_tcq4, lb_unpack_tcq4},
};

const lb_wformat_info *lb_wformat_at(size_t i)
{
    return i < sizeof lb_wformats / sizeof lb_wformats[0] ? &lb_wformats[i] : NULL;
}

const lb_wformat_info *lb_wformat_find(uint32_t id)
{
    const lb_wformat_info *f;
    for (size_t i = 0; (f = lb_wformat_at(i)) != NULL; i++) {
        if ((uint32_t)f->id == id) {
            return f;
        }
    }
    return NULL;
}

const lb_wformat_info *lb_wformat_named(const char *name)
{
    const lb_wformat_info *f;
    for (size_t i = 0; (f = lb_wformat_at(i)) != NULL; i++) {
        if (strcmp(f->name, name) == 0) {
            return f;
        }
    }
    return NULL;
}
