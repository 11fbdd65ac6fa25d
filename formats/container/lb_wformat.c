#include "lb_wformat.h"

#include <string.h>

#include "../../kernels/lb_bits.h"
#include "../../kernels/lb_tcq_code.h"

typedef float lb_true_fn(const void *tile, size_t k, size_t r, size_t c);

static LB_SHARED void lb_unpack_row(lb_true_fn *weight, const void *tile, size_t k, size_t r, float *out)
{
    for (size_t c = 0; c < k; c++) {
        out[c] = weight(tile, k, r, c);
    }
}

static LB_SHARED void lb_unpack_column(lb_true_fn *weight, const void *tile, size_t k, size_t c, float *out)
{
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        out[r] = weight(tile, k, r, c);
    }
}

/*
 * A format is the bytes of a tile and the true value of one weight: row_scale * (mini * integer weight) in this order. Rows and columns
 * are loops around it.
 */
#define LB_FORMAT_(name, bytes, weight)                                                                               \
    LB_FORMAT_ROWS_(name, bytes, weight)                                                                              \
    static void lb_column_##name(const void *tile, size_t k, size_t c, float *out)                                    \
    {                                                                                                                 \
        lb_unpack_column(lb_true_##name, tile, k, c, out);                                                            \
    }
#define LB_FORMAT_ROWS_(name, bytes, weight)                                                                          \
    static size_t lb_tile_bytes_##name(size_t k)                                                                      \
    {                                                                                                                 \
        return bytes;                                                                                                 \
    }                                                                                                                 \
    static float lb_true_##name(const void *tile, size_t k, size_t r, size_t c)                                       \
    {                                                                                                                 \
        (void)k;                                                                                                      \
        return weight;                                                                                                \
    }                                                                                                                 \
    static void lb_unpack_##name(const void *tile, size_t k, size_t r, float *out)                                    \
    {                                                                                                                 \
        lb_unpack_row(lb_true_##name, tile, k, r, out);                                                               \
    }

LB_ALWAYS_INLINE float lb_weight_q8(const uint8_t *tile, size_t k, size_t r, size_t c)
{
    const float mini = lb_mini(tile[LB_Q_SCALES_AT + c / LB_GROUP * LB_TILE_ROWS + r]);
    return mini * (float)(tile[lb_q8_codes_at(k) + c / 4 * 64 + r * 4 + c % 4] - 128);
}

LB_ALWAYS_INLINE float lb_weight_q4(const uint8_t *tile, size_t k, size_t r, size_t c)
{
    const float mini = lb_mini(tile[LB_Q_SCALES_AT + c / LB_GROUP * LB_TILE_ROWS + r]);
    const int zero = lb_q4_zero((unsigned)tile[lb_q4_zeros_at(k) + c / 64 * LB_TILE_ROWS + r] >> (c % 64 < 32 ? 0 : 4));
    const int code = tile[lb_q4_codes_at(k) + c / 8 * 64 + r * 4 + c % 4] >> (c % 8 < 4 ? 0 : 4) & 15;
    return mini * (float)(2 * code - zero);
}

static LB_SHARED float lb_weight_bits(const lb_bits_format *f, const uint8_t *tile, size_t k, size_t r, size_t c)
{
    const uint8_t u = tile[LB_Q_SCALES_AT + c / LB_GROUP * LB_TILE_ROWS + r];
    const int code = (int)lb_bits_code(f, tile + lb_bits_codes_at(k), r, c);
    return lb_bits_scale(u) * (float)((code << f->shift) - lb_bits_zero(f, u));
}

LB_ALWAYS_INLINE float lb_weight_s24(size_t lines, const uint8_t *tile, size_t k, size_t r, size_t c)
{
    return lb_mini(tile[LB_Q_SCALES_AT + c / 64 * LB_TILE_ROWS + r]) * (float)lb_s24_weight_at(tile, k, lines, r, c);
}

LB_ALWAYS_INLINE float lb_weight_int8(const uint8_t *tile, size_t r, size_t c)
{
    return (float)(tile[LB_INT8_CODES_AT + c / 4 * 64 + r * 4 + c % 4] - 128);
}

LB_ALWAYS_INLINE float lb_weight_tern(const uint8_t *tile, size_t r, size_t c)
{
    const size_t line = c / LB_TERN_COLUMNS, in_line = c % LB_TERN_COLUMNS;
    return (float)(lb_tern_digit(tile[LB_TERN_CODES_AT + line * 64 + r * 4 + in_line % 4], in_line / 4) - 1);
}

#define LB_AT_(type) ((const type *)tile)[c * LB_TILE_ROWS + r]
#define LB_SCALED_(x) ((const float *)tile)[r] * (x)

LB_FORMAT_(f32, lb_float_tile_bytes(k, 4), LB_AT_(float))
LB_FORMAT_(f16, lb_float_tile_bytes(k, 2), lb_f16_to_f32(LB_AT_(uint16_t)))
LB_FORMAT_(bf16, lb_float_tile_bytes(k, 2), lb_bf16_to_f32(LB_AT_(uint16_t)))
LB_FORMAT_ROWS_(int8, lb_int8_tile_bytes(k), LB_SCALED_(lb_weight_int8(tile, r, c)))
LB_FORMAT_(q8, lb_q8_tile_bytes(k), LB_SCALED_(lb_weight_q8(tile, k, r, c)))
LB_FORMAT_(q6, lb_bits_tile_bytes(k, 6), LB_SCALED_(lb_weight_bits(&lb_bits_q6, tile, k, r, c)))
LB_FORMAT_(q5, lb_bits_tile_bytes(k, 5), LB_SCALED_(lb_weight_bits(&lb_bits_q5, tile, k, r, c)))
LB_FORMAT_(q4, lb_q4_tile_bytes(k), LB_SCALED_(lb_weight_q4(tile, k, r, c)))
LB_FORMAT_(q3, lb_bits_tile_bytes(k, 3), LB_SCALED_(lb_weight_bits(&lb_bits_q3, tile, k, r, c)))
LB_FORMAT_(q2, lb_bits_tile_bytes(k, 2), LB_SCALED_(lb_weight_bits(&lb_bits_q2, tile, k, r, c)))
LB_FORMAT_(lut4, lb_bits_tile_bytes(k, 4), LB_SCALED_(lb_weight_bits(&lb_bits_lut4, tile, k, r, c)))
LB_FORMAT_(lut3, lb_bits_tile_bytes(k, 3), LB_SCALED_(lb_weight_bits(&lb_bits_lut3, tile, k, r, c)))
LB_FORMAT_(lut2, lb_bits_tile_bytes(k, 2), LB_SCALED_(lb_weight_bits(&lb_bits_lut2, tile, k, r, c)))
LB_FORMAT_(lut1, lb_bits_tile_bytes(k, 1), LB_SCALED_(lb_weight_bits(&lb_bits_lut1, tile, k, r, c)))
LB_FORMAT_(tern, lb_tern_tile_bytes(k), LB_SCALED_(lb_weight_tern(tile, r, c)))
LB_FORMAT_(s24q8, lb_s24_tile_bytes(k, LB_S24Q8_LINES), LB_SCALED_(lb_weight_s24(LB_S24Q8_LINES, tile, k, r, c)))
LB_FORMAT_(s24q4, lb_s24_tile_bytes(k, LB_S24Q4_LINES), LB_SCALED_(lb_weight_s24(LB_S24Q4_LINES, tile, k, r, c)))
LB_FORMAT_(tcq2, lb_tcq_tile_bytes(2, k), LB_SCALED_((float)lb_tcq_weight_at(2, tile, k, r, c)))
LB_FORMAT_(tcq3, lb_tcq_tile_bytes(3, k), LB_SCALED_((float)lb_tcq_weight_at(3, tile, k, r, c)))
LB_FORMAT_(tcq4, lb_tcq_tile_bytes(4, k), LB_SCALED_((float)lb_tcq_weight_at(4, tile, k, r, c)))

/*
 * Outliers read columns while a model runs, of int8 by default: no call per weight, and code - 128 by way of 2^23 + code, as a conversion
 * would wait for the row before (cvtsi2ss keeps the upper part of its register).
 */
static void lb_column_int8(const void *tile, size_t k, size_t c, float *out)
{
    const uint8_t *code = (const uint8_t *)tile + LB_INT8_CODES_AT + c / 4 * 64 + c % 4;
    (void)k;
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        out[r] = LB_SCALED_(lb_bits_f32(0x4b000000u | code[4 * r]) - (0x1p23f + 128.0f));
    }
}

#define LB_LINE_(id, name, reads, bits, rotate)                                                                       \
    {id, #name, reads, bits, rotate, lb_tile_bytes_##name, lb_unpack_##name, lb_column_##name}
static const lb_wformat_info lb_wformats[] = {
    LB_LINE_(LB_W_F32, f32, LB_READS_F32, 32.0, false),
    LB_LINE_(LB_W_F16, f16, LB_READS_F32, 16.0, false),
    LB_LINE_(LB_W_BF16, bf16, LB_READS_F32, 16.0, false),
    LB_LINE_(LB_W_Q8, q8, LB_READS_A8, 8.25, false),
    LB_LINE_(LB_W_INT8, int8, LB_READS_A8_TOKEN, 8.0, false),
    LB_LINE_(LB_W_Q6, q6, LB_READS_A8, 6.25, false),
    LB_LINE_(LB_W_Q5, q5, LB_READS_A8, 5.25, false),
    LB_LINE_(LB_W_Q4, q4, LB_READS_A8, 4.375, false),
    LB_LINE_(LB_W_Q3, q3, LB_READS_A8, 3.25, false),
    LB_LINE_(LB_W_Q2, q2, LB_READS_A8, 2.25, false),
    LB_LINE_(LB_W_LUT4, lut4, LB_READS_LUT, 4.25, false),
    LB_LINE_(LB_W_LUT3, lut3, LB_READS_LUT, 3.25, false),
    LB_LINE_(LB_W_LUT2, lut2, LB_READS_LUT, 2.25, false),
    LB_LINE_(LB_W_LUT1, lut1, LB_READS_LUT, 1.25, false),
    LB_LINE_(LB_W_TERN, tern, LB_READS_A8_TOKEN, 1.6, false),
    LB_LINE_(LB_W_S24Q8, s24q8, LB_READS_A8, 5.125, false),
    LB_LINE_(LB_W_S24Q4, s24q4, LB_READS_A8, 3.125, false),
    LB_LINE_(LB_W_TCQ2, tcq2, LB_READS_A8, 2.0, true),
    LB_LINE_(LB_W_TCQ3, tcq3, LB_READS_A8, 3.0, true),
    LB_LINE_(LB_W_TCQ4, tcq4, LB_READS_A8, 4.0, true),
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
