/*
 * One function per type; those of IQ1 to IQ3 are in lb_ggml_iq.c. In the names of ggml: d is the scale of a
 * block, dmin the scale of what is subtracted, qs the low bits of the codes, qh the high ones. "K" types are
 * superblocks of 256 whose groups have integer scales of their own.
 *
 * Every multiplication and addition stands alone in its order and is never fused: the results are compared
 * bit for bit.
 */
#include "lb_ggml_types.h"

#include <math.h>

#include "../../kernels/lb_math.h"
#include "lb_ggml_iq.h"

#define GGML_SUPER 256u

static float ggml_half(const unsigned char *p)
{
    return lb_f16_to_f32(lb_load_u16(p));
}

/* ---------------------------------------------------------------- plain numbers */

static void ggml_rows_f32(const unsigned char *src, float *out, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++) {
        out[i] = lb_load_f32(src + 4 * i);
    }
}

static void ggml_rows_f16(const unsigned char *src, float *out, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++) {
        out[i] = ggml_half(src + 2 * i);
    }
}

static void ggml_rows_bf16(const unsigned char *src, float *out, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++) {
        out[i] = lb_bf16_to_f32(lb_load_u16(src + 2 * i));
    }
}

static void ggml_rows_f64(const unsigned char *src, float *out, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++) {
        uint64_t u = lb_load_u64(src + 8 * i);
        double v;
        memcpy(&v, &u, sizeof v);
        /* The conversion of a double beyond a float's range is undefined in C; IEEE says infinity. */
        out[i] = v > 0x1.fffffefffffffp127 ? HUGE_VALF : v < -0x1.fffffefffffffp127 ? -HUGE_VALF : (float)v;
    }
}

/* ---------------------------------------------------------------- blocks of 32 */

static void ggml_rows_q4_0(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 18, out += 32) {
        float d = ggml_half(src);
        for (int j = 0; j < 16; j++) {
            out[j] = (float)((src[2 + j] & 15) - 8) * d;
            out[j + 16] = (float)((src[2 + j] >> 4) - 8) * d;
        }
    }
}

static void ggml_rows_q4_1(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 20, out += 32) {
        float d = ggml_half(src), m = ggml_half(src + 2);
        for (int j = 0; j < 16; j++) {
            out[j] = (float)(src[4 + j] & 15) * d + m;
            out[j + 16] = (float)(src[4 + j] >> 4) * d + m;
        }
    }
}

/* Bit j of qh is the fifth bit of code j; the nibbles are as in Q4. */
static void ggml_codes_q5(const unsigned char *qh, const unsigned char *qs, int *codes)
{
    uint32_t high = lb_load_u32(qh);
    for (int j = 0; j < 16; j++) {
        codes[j] = (int)((qs[j] & 15u) | (high >> j & 1u) << 4);
        codes[j + 16] = (int)((uint32_t)(qs[j] >> 4) | (high >> (j + 16) & 1u) << 4);
    }
}

static void ggml_rows_q5_0(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 22, out += 32) {
        float d = ggml_half(src);
        int codes[32];
        ggml_codes_q5(src + 2, src + 6, codes);
        for (int j = 0; j < 32; j++) {
            out[j] = (float)(codes[j] - 16) * d;
        }
    }
}

static void ggml_rows_q5_1(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 24, out += 32) {
        float d = ggml_half(src), m = ggml_half(src + 2);
        int codes[32];
        ggml_codes_q5(src + 4, src + 8, codes);
        for (int j = 0; j < 32; j++) {
            out[j] = (float)codes[j] * d + m;
        }
    }
}

static void ggml_rows_q8_0(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 34, out += 32) {
        float d = ggml_half(src);
        for (int j = 0; j < 32; j++) {
            out[j] = (float)(int8_t)src[2 + j] * d;
        }
    }
}

/* A bit a weight, the lowest first: d or -d. */
static void ggml_rows_q1_0(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 18, out += 128) {
        const float d = ggml_half(src);
        for (int j = 0; j < 128; j++) {
            out[j] = src[2 + j / 8] >> j % 8 & 1 ? d : -d;
        }
    }
}

/* Two bits a weight, the lowest first: -1, 0, 1 or 2 times d. */
static void ggml_rows_q2_0(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 18, out += 64) {
        const float d = ggml_half(src);
        for (int j = 0; j < 64; j++) {
            out[j] = (float)((src[2 + j / 4] >> j % 4 * 2 & 3) - 1) * d;
        }
    }
}

/* The 16 values of IQ4_NL and IQ4_XS: a fixed table of the format. */
static const int8_t ggml_iq4_values[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
                                            1,    13,   25,  38,  53,  69,  89,  113 };

static void ggml_rows_iq4_nl(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 18, out += 32) {
        float d = ggml_half(src);
        for (int j = 0; j < 16; j++) {
            out[j] = d * (float)ggml_iq4_values[src[2 + j] & 15];
            out[j + 16] = d * (float)ggml_iq4_values[src[2 + j] >> 4];
        }
    }
}

float lb_e4m3_f32(unsigned char b)
{
    const int exponent = b >> 3 & 15, mantissa = b & 7;
    const float size = (b & 127) == 127 ? (float)NAN : exponent ? ldexpf((float)(8 + mantissa), exponent - 10) : ldexpf((float)mantissa, -9);
    return b & 128 ? -size : size;
}

const int8_t lb_e2m1_twice[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

/* OCP microscaling: an exponent byte (2^(e - 127)) and E2M1 codes. */
static void ggml_rows_mxfp4(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 17, out += 32) {
        uint32_t e = src[0];
        float d = lb_bits_f32(e < 2 ? 0x00200000u << e : (e - 1) << 23);
        for (int j = 0; j < 16; j++) {
            out[j] = (float)lb_e2m1_twice[src[1 + j] & 15] * d;
            out[j + 16] = (float)lb_e2m1_twice[src[1 + j] >> 4] * d;
        }
    }
}

/*
 * NVIDIA's: four E4M3 scales, whose sign does not count (0x7f is none: 0; 0xff is 480), then E2M1 codes of 16
 * weights in 8 bytes, four times. A tensor of one number, NAME.scale, multiplies them all.
 */
static void ggml_rows_nvfp4(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 36) {
        for (int part = 0; part < 4; part++, out += 16) {
            const float d = src[part] == 127 ? 0.0f : src[part] == 255 ? 240.0f : 0.5f * lb_e4m3_f32(src[part] & 127);
            const unsigned char *codes = src + 4 + 8 * part;
            for (int j = 0; j < 8; j++) {
                out[j] = (float)lb_e2m1_twice[codes[j] & 15] * d;
                out[j + 8] = (float)lb_e2m1_twice[codes[j] >> 4] * d;
            }
        }
    }
}

/* ---------------------------------------------------------------- superblocks of 256 */

/*
 * scales[16] (low nibble scale, high nibble minimum), qs[64], d, dmin. Each half of 128 has four 2-bit planes
 * of 32.
 */
static void ggml_rows_q2_k(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 84) {
        const unsigned char *scales = src, *qs = src + 16;
        float d = ggml_half(src + 80), dmin = ggml_half(src + 82);
        for (int group = 0; group < 16; group++, out += 16) {
            const unsigned char *q = qs + 32 * (group / 8) + 16 * (group & 1);
            int shift = group / 2 % 4 * 2;
            float dl = d * (float)(scales[group] & 15), ml = dmin * (float)(scales[group] >> 4);
            for (int l = 0; l < 16; l++) {
                out[l] = dl * (float)(q[l] >> shift & 3) - ml;
            }
        }
    }
}

/*
 * hmask[32], qs[64], scales[12], d. As Q2_K with a third bit (set: no 4 is subtracted) and 16 signed 6-bit
 * scales.
 */
static void ggml_rows_q3_k(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 110) {
        const unsigned char *hmask = src, *qs = src + 32, *scales = src + 96;
        float d = ggml_half(src + 108);
        for (int group = 0; group < 16; group++, out += 16) {
            const unsigned char *q = qs + 32 * (group / 8) + 16 * (group & 1);
            const unsigned char *h = hmask + 16 * (group & 1);
            int shift = group / 2 % 4 * 2, bit = group / 2;
            /* low nibbles: 8 bytes, twice; high pairs: 4 bytes, four times */
            int low = scales[group % 8] >> group / 8 * 4 & 15;
            int high = scales[8 + group % 4] >> group / 4 * 2 & 3;
            float dl = d * (float)((low | high << 4) - 32);
            for (int l = 0; l < 16; l++) {
                out[l] = dl * (float)((q[l] >> shift & 3) - (h[l] >> bit & 1 ? 0 : 4));
            }
        }
    }
}

/* The 6-bit scale and minimum of group j (of 8) in the 12 bytes that Q4_K and Q5_K share. */
static void ggml_scale_min(const unsigned char *s, int j, int *scale, int *min)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *min = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
        *min = s[j + 4] >> 4 | s[j] >> 6 << 4;
    }
}

/* d, dmin, scales[12], qs[128]: 64 weights in 32 bytes, first the low nibbles, then the high ones. */
static void ggml_rows_q4_k(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 144) {
        float d = ggml_half(src), dmin = ggml_half(src + 2);
        for (int group = 0; group < 8; group++, out += 32) {
            const unsigned char *q = src + 16 + group / 2 * 32;
            int scale, min, shift = (group & 1) * 4;
            ggml_scale_min(src + 4, group, &scale, &min);
            float dl = d * (float)scale, ml = dmin * (float)min;
            for (int l = 0; l < 32; l++) {
                out[l] = dl * (float)(q[l] >> shift & 15) - ml;
            }
        }
    }
}

/* d, dmin, scales[12], qh[32], qs[128]: as Q4_K, and bit `group` of qh is the fifth bit. */
static void ggml_rows_q5_k(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 176) {
        const unsigned char *qh = src + 16;
        float d = ggml_half(src), dmin = ggml_half(src + 2);
        for (int group = 0; group < 8; group++, out += 32) {
            const unsigned char *q = src + 48 + group / 2 * 32;
            int scale, min, shift = (group & 1) * 4;
            ggml_scale_min(src + 4, group, &scale, &min);
            float dl = d * (float)scale, ml = dmin * (float)min;
            for (int l = 0; l < 32; l++) {
                out[l] = dl * (float)((q[l] >> shift & 15) + (qh[l] >> group & 1) * 16) - ml;
            }
        }
    }
}

/*
 * ql[128], qh[64], scales[16] (signed bytes), d. Per half of 128: 64 bytes of nibbles and 32 bytes of bit
 * pairs.
 */
static void ggml_rows_q6_k(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 210) {
        float d = ggml_half(src + 208);
        for (int part = 0; part < 8; part++, out += 32) { /* 32 weights each */
            const unsigned char *ql = src + part / 4 * 64 + (part & 1) * 32;
            const unsigned char *qh = src + 128 + part / 4 * 32;
            int low = part / 2 % 2 * 4, high = part % 4 * 2;
            for (int l = 0; l < 32; l++) {
                int8_t scale = (int8_t)src[192 + part * 2 + l / 16];
                int q = ((ql[l] >> low & 15) | (qh[l] >> high & 3) << 4) - 32;
                out[l] = d * (float)scale * (float)q;
            }
        }
    }
}

/* d, scales_h (16 bits: a pair per group), scales_l[4] (a nibble per group), qs[128]. */
static void ggml_rows_iq4_xs(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 136) {
        float d = ggml_half(src);
        int high = lb_load_u16(src + 2);
        for (int group = 0; group < 8; group++, out += 32) {
            const unsigned char *q = src + 8 + group * 16;
            int scale = (src[4 + group / 2] >> group % 2 * 4 & 15) | (high >> group * 2 & 3) << 4;
            float dl = d * (float)(scale - 32);
            for (int j = 0; j < 16; j++) {
                out[j] = dl * (float)ggml_iq4_values[q[j] & 15];
                out[j + 16] = dl * (float)ggml_iq4_values[q[j] >> 4];
            }
        }
    }
}

/* ---------------------------------------------------------------- ternary */

/*
 * TQ1_0: qs[48] with 5 codes a byte, qh[4] with 4, d. A byte is a fraction of 256 in base 3: multiplying by
 * 3^n shifts digit n to the front (modulo 256), and times 3 / 256 reads it.
 */
static float *ggml_digits(const unsigned char *src, int bytes, int digits, float d, float *out)
{
    static const unsigned pow3[5] = { 1, 3, 9, 27, 81 };
    for (int n = 0; n < digits; n++) {
        for (int j = 0; j < bytes; j++) {
            unsigned q = src[j] * pow3[n] & 255u;
            *out++ = (float)((int)(q * 3 >> 8) - 1) * d;
        }
    }
    return out;
}

static void ggml_rows_tq1_0(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 54) {
        float d = ggml_half(src + 52);
        out = ggml_digits(src, 32, 5, d, out);
        out = ggml_digits(src + 32, 16, 5, d, out);
        out = ggml_digits(src + 48, 4, 4, d, out);
    }
}

/* TQ2_0: qs[64], d; each half of 128 has four 2-bit planes of 32. */
static void ggml_rows_tq2_0(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 66) {
        float d = ggml_half(src + 64);
        for (int part = 0; part < 8; part++, out += 32) {
            for (int m = 0; m < 32; m++) {
                out[m] = (float)((src[part / 4 * 32 + m] >> part % 4 * 2 & 3) - 1) * d;
            }
        }
    }
}

bool lb_ggml_one_scale(const lb_ggml_type *type, const unsigned char *src, uint64_t blocks, float *scale)
{
    bool coded = type->id == LB_GGML_TQ1_0 || type->id == LB_GGML_TQ2_0;
    if (!coded && type->id != LB_GGML_F32 && type->id != LB_GGML_F16 && type->id != LB_GGML_BF16) {
        return false;
    }
    float found = 0.0f;
    uint64_t step = coded ? 1 : GGML_SUPER;
    for (uint64_t at = 0; at < blocks; at += step) {
        float w[GGML_SUPER];
        size_t n = (size_t)(blocks - at < step ? blocks - at : step);
        type->dequantize(src + at * type->bytes, w, n);
        for (size_t i = 0; i < n * type->block; i++) {
            float size = fabsf(w[i]);
            if (found == 0.0f && isfinite(size)) {
                found = size;
            }
            if (size != 0.0f && size != found) { /* NaN and infinity too: ordinary weights end here at once */
                return false;
            }
        }
    }
    *scale = found;
    return found != 0.0f;
}

/* ---------------------------------------------------------------- the table */

static const lb_ggml_type ggml_types[] = {
    { LB_GGML_F32, "f32", 1, 4, ggml_rows_f32 },
    { LB_GGML_F16, "f16", 1, 2, ggml_rows_f16 },
    { 2, "q4_0", 32, 18, ggml_rows_q4_0 },
    { 3, "q4_1", 32, 20, ggml_rows_q4_1 },
    { 4, "q4_2", 0, 0, NULL }, /* withdrawn, like 5, 31 .. 33 and 37 .. 38 */
    { 5, "q4_3", 0, 0, NULL },
    { 6, "q5_0", 32, 22, ggml_rows_q5_0 },
    { 7, "q5_1", 32, 24, ggml_rows_q5_1 },
    { 8, "q8_0", 32, 34, ggml_rows_q8_0 },
    { 9, "q8_1", 32, 36, NULL }, /* activations, never weights; q8_k too */
    { 10, "q2_k", GGML_SUPER, 84, ggml_rows_q2_k },
    { 11, "q3_k", GGML_SUPER, 110, ggml_rows_q3_k },
    { 12, "q4_k", GGML_SUPER, 144, ggml_rows_q4_k },
    { 13, "q5_k", GGML_SUPER, 176, ggml_rows_q5_k },
    { 14, "q6_k", GGML_SUPER, 210, ggml_rows_q6_k },
    { 15, "q8_k", GGML_SUPER, 292, NULL },
    { 16, "iq2_xxs", GGML_SUPER, 66, lb_ggml_rows_iq2_xxs },
    { 17, "iq2_xs", GGML_SUPER, 74, lb_ggml_rows_iq2_xs },
    { 18, "iq3_xxs", GGML_SUPER, 98, lb_ggml_rows_iq3_xxs },
    { 19, "iq1_s", GGML_SUPER, 50, lb_ggml_rows_iq1_s },
    { 20, "iq4_nl", 32, 18, ggml_rows_iq4_nl },
    { 21, "iq3_s", GGML_SUPER, 110, lb_ggml_rows_iq3_s },
    { 22, "iq2_s", GGML_SUPER, 82, lb_ggml_rows_iq2_s },
    { 23, "iq4_xs", GGML_SUPER, 136, ggml_rows_iq4_xs },
    { 24, "i8", 1, 1, NULL }, /* integers are no weights */
    { 25, "i16", 1, 2, NULL },
    { 26, "i32", 1, 4, NULL },
    { 27, "i64", 1, 8, NULL },
    { LB_GGML_F64, "f64", 1, 8, ggml_rows_f64 },
    { 29, "iq1_m", GGML_SUPER, 56, lb_ggml_rows_iq1_m },
    { LB_GGML_BF16, "bf16", 1, 2, ggml_rows_bf16 },
    { 31, "q4_0_4_4", 0, 0, NULL },
    { 32, "q4_0_4_8", 0, 0, NULL },
    { 33, "q4_0_8_8", 0, 0, NULL },
    { LB_GGML_TQ1_0, "tq1_0", GGML_SUPER, 54, ggml_rows_tq1_0 },
    { LB_GGML_TQ2_0, "tq2_0", GGML_SUPER, 66, ggml_rows_tq2_0 },
    { LB_GGML_I2_S, "i2_s", 128, 32, NULL },
    { 37, "i8_s", 0, 0, NULL },
    { 38, "tl1", 0, 0, NULL },
    { 39, "mxfp4", 32, 17, ggml_rows_mxfp4 },
    { 40, "nvfp4", 64, 36, ggml_rows_nvfp4 },
    { 41, "q1_0", 128, 18, ggml_rows_q1_0 },
    { 42, "q2_0", 64, 18, ggml_rows_q2_0 },
};

const lb_ggml_type *lb_ggml_type_find(uint32_t id)
{
    for (size_t i = 0; i < sizeof ggml_types / sizeof ggml_types[0]; i++) {
        if (ggml_types[i].id == id) {
            return &ggml_types[i];
        }
    }
    return NULL;
}
