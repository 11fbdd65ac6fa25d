/*
 * A superblock has 8 groups of 32 weights, a group 4 runs of 8. The index of a run names eight numbers in the
 * grid of the type (IQ3: two indices, four numbers each). In IQ1 they are the codes -1, 0 and 1; in IQ2 and
 * IQ3 sizes, and bit j of the run's signs makes weight j negative. Where a run has 7 bits for its signs, the
 * eighth makes the count of negative ones even.
 *
 * Scales are odd: n bits stand for 2 * n + 1 parts of d. As in lb_ggml_types.c every operation on floats
 * stands alone in its order.
 */
#include "lb_ggml_iq.h"

#include "../../kernels/lb_math.h"
#include "../../runtime/base/lb_base.h"
#include "lb_ggml_grids.inc"

#define IQ_GROUPS 8

static float iq_half(const unsigned char *p)
{
    return lb_f16_to_f32(lb_load_u16(p));
}

/* The eight signs that seven stand for. */
static unsigned iq_even_signs(unsigned bits)
{
    unsigned parity = bits ^ bits >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return bits | (parity & 1u) << 7;
}

/* Eight weights of IQ2 */
static void iq_run_2(float scale, unsigned grid, unsigned signs, float *out)
{
    static const float sizes[4] = { 8.0f, 25.0f, 43.0f, 0.0f }; /* no vector has a 3 */
    for (int j = 0; j < 8; j++) {
        out[j] = scale * sizes[grid >> 2 * j & 3u] * (signs >> j & 1u ? -1.0f : 1.0f);
    }
}

/* Eight weights of IQ3 */
static void iq_run_3(float scale, const float *sizes, unsigned first, unsigned second, unsigned signs, float *out)
{
    const unsigned grid = first | second << 12;
    for (int j = 0; j < 8; j++) {
        out[j] = scale * sizes[grid >> 3 * j & 7u] * (signs >> j & 1u ? -1.0f : 1.0f);
    }
}

/* Eight weights of IQ1: -1, 0 and 1, all moved by an eighth. */
static void iq_run_1(float scale, unsigned grid, bool down, float *out)
{
    for (int j = 0; j < 8; j++) {
        out[j] = scale * ((float)((int)(grid >> 2 * j & 3u) - 1) + (down ? -0.125f : 0.125f));
    }
}

static float iq_scale_2(float d, unsigned code)
{
    return d * (0.5f + (float)code) * 0.25f;
}

static float iq_scale_odd(float d, unsigned code)
{
    return d * (float)(2 * code + 1);
}

/* ---------------------------------------------------------------- IQ2 */

/* d, then 8 bytes a group: 4 indices, and a word of 4 times 7 signs and the scale in the upper 4 bits. */
void lb_ggml_rows_iq2_xxs(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 66) {
        const float d = iq_half(src);
        for (int group = 0; group < IQ_GROUPS; group++) {
            const unsigned char *index = src + 2 + 8 * group;
            const uint32_t word = lb_load_u32(index + 4);
            const float scale = iq_scale_2(d, word >> 28);
            for (int run = 0; run < 4; run++, out += 8) {
                iq_run_2(scale, iq_grid_2xxs[index[run]], iq_even_signs(word >> 7 * run & 127u), out);
            }
        }
    }
}

/* d, 32 words of 16 bits (9 of the index, 7 signs), scales[8]: a nibble for each 16 weights. */
void lb_ggml_rows_iq2_xs(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 74) {
        const float d = iq_half(src);
        for (int run = 0; run < 4 * IQ_GROUPS; run++, out += 8) {
            const unsigned word = lb_load_u16(src + 2 + 2 * run);
            const unsigned code = (unsigned)src[66 + run / 4] >> run / 2 % 2 * 4 & 15u;
            iq_run_2(iq_scale_2(d, code), iq_grid_2xs[word & 511u], iq_even_signs(word >> 9), out);
        }
    }
}

/* d, qs[32], signs[32], qh[8] (bits 8 and 9 of 4 indices), scales[8] as in IQ2_XS. */
void lb_ggml_rows_iq2_s(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 82) {
        const unsigned char *qs = src + 2, *signs = src + 34, *qh = src + 66, *scales = src + 74;
        const float d = iq_half(src);
        for (int run = 0; run < 4 * IQ_GROUPS; run++, out += 8) {
            const unsigned index = qs[run] | ((unsigned)qh[run / 4] >> run % 4 * 2 & 3u) << 8;
            const unsigned code = (unsigned)scales[run / 4] >> run / 2 % 2 * 4 & 15u;
            iq_run_2(iq_scale_2(d, code), iq_grid_2s[index], signs[run], out);
        }
    }
}

/* ---------------------------------------------------------------- IQ3 */

/* d, qs[64], and for each group the word of IQ2_XXS. */
void lb_ggml_rows_iq3_xxs(const unsigned char *src, float *out, size_t blocks)
{
    static const float sizes[8] = { 4.0f, 12.0f, 20.0f, 28.0f, 36.0f, 44.0f, 52.0f, 62.0f };
    for (; blocks > 0; blocks--, src += 98) {
        const unsigned char *qs = src + 2;
        const float d = iq_half(src);
        for (int group = 0; group < IQ_GROUPS; group++) {
            const uint32_t word = lb_load_u32(src + 66 + 4 * group);
            const float scale = d * (0.5f + (float)(word >> 28)) * 0.5f;
            for (int run = 0; run < 4; run++, qs += 2, out += 8) {
                iq_run_3(scale, sizes, iq_grid_3xxs[qs[0]], iq_grid_3xxs[qs[1]],
                         iq_even_signs(word >> 7 * run & 127u), out);
            }
        }
    }
}

/* d, qs[64], qh[8] (bit 8 of 8 indices), signs[32], scales[4]: a nibble for each group. */
void lb_ggml_rows_iq3_s(const unsigned char *src, float *out, size_t blocks)
{
    static const float sizes[8] = { 1.0f, 3.0f, 5.0f, 7.0f, 9.0f, 11.0f, 13.0f, 15.0f };
    for (; blocks > 0; blocks--, src += 110) {
        const unsigned char *qs = src + 2, *qh = src + 66, *signs = src + 74, *scales = src + 106;
        const float d = iq_half(src);
        for (int run = 0; run < 4 * IQ_GROUPS; run++, qs += 2, out += 8) {
            const unsigned high = (unsigned)qh[run / 4] >> run % 4 * 2;
            const float scale = iq_scale_odd(d, (unsigned)scales[run / 8] >> run / 4 % 2 * 4 & 15u);
            iq_run_3(scale, sizes, iq_grid_3s[qs[0] | (high & 1u) << 8], iq_grid_3s[qs[1] | (high >> 1 & 1u) << 8],
                     signs[run], out);
        }
    }
}

/* ---------------------------------------------------------------- IQ1 */

/* d, qs[32], and a word of 16 bits for each group: 4 times 3 bits of an index, 3 of the scale, the direction. */
void lb_ggml_rows_iq1_s(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 50) {
        const float d = iq_half(src);
        for (int run = 0; run < 4 * IQ_GROUPS; run++, out += 8) {
            const unsigned word = lb_load_u16(src + 34 + run / 4 * 2);
            const unsigned index = src[2 + run] | (word >> run % 4 * 3 & 7u) << 8;
            iq_run_1(iq_scale_odd(d, word >> 12 & 7u), iq_grid_1s[index], word >> 15, out);
        }
    }
}

/*
 * qs[32], qh[16] (a nibble a run: 3 bits of the index, the direction), 4 words of 16 bits: 3 bits of scale for
 * each 16 weights in the lower 12, and of their upper 4 together d.
 */
void lb_ggml_rows_iq1_m(const unsigned char *src, float *out, size_t blocks)
{
    for (; blocks > 0; blocks--, src += 56) {
        unsigned words[4], half = 0;
        for (int i = 0; i < 4; i++) {
            words[i] = lb_load_u16(src + 48 + 2 * i);
            half |= words[i] >> 12 << 4 * i;
        }
        const float d = lb_f16_to_f32((uint16_t)half);
        for (int run = 0; run < 4 * IQ_GROUPS; run++, out += 8) {
            const unsigned high = (unsigned)src[32 + run / 2] >> run % 2 * 4 & 15u;
            const unsigned code = words[run / 8] >> run / 2 % 4 * 3 & 7u;
            iq_run_1(iq_scale_odd(d, code), iq_grid_1s[src[run] | (high & 7u) << 8], high >> 3, out);
        }
    }
}
