/*
 * What makers of GPTQ's and AWQ's words write besides the common layouts of test_import_codes.c: zeros that borrow from each other, planes of bits, AWQ's layouts for vectors,
 * AutoRound's floats, and configs of before. One matrix of a tiny model is packed here by the definitions in formats/import/lb_codes.h; then what is wrong.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../kernels/lb_math.h"
#include "import_matrix.h"
#include "lb_test.h"

void test_import_words(void);

enum { WO_WIDTH = 32, WO_GROUPS = IP_COLS / WO_WIDTH };

static unsigned wo_bits;
static uint32_t wo_code[IP_ROWS][IP_COLS], wo_zero[WO_GROUPS][IP_ROWS], wo_words[IP_ROWS * IP_COLS / 4], wo_zeros[WO_GROUPS * IP_ROWS / 4];
static uint16_t wo_scale[WO_GROUPS][IP_ROWS];
static float wo_want[IP_ROWS * IP_COLS];

/* Every third zero is 0, which in GPTQ's first format is where makers differ. */
static void wo_make(unsigned bits)
{
    wo_bits = bits;
    for (size_t g = 0; g < WO_GROUPS; g++) {
        for (size_t r = 0; r < IP_ROWS; r++) {
            wo_zero[g][r] = r % 3 ? (uint32_t)(lb_test_random() % (1u << bits)) : 0;
            wo_scale[g][r] = lb_f32_to_f16(0.01f + (float)(lb_test_random() % 1000) / 1000.0f);
        }
    }
    for (size_t r = 0; r < IP_ROWS; r++) {
        for (size_t c = 0; c < IP_COLS; c++) {
            const size_t g = c / WO_WIDTH;
            wo_code[r][c] = (uint32_t)(lb_test_random() % (1u << bits));
            wo_want[r * IP_COLS + c] = lb_f16_to_f32(wo_scale[g][r]) * (float)((int)wo_code[r][c] - (int)wo_zero[g][r]);
        }
    }
    memset(wo_words, 0, sizeof wo_words);
    memset(wo_zeros, 0, sizeof wo_zeros);
}

static void wo_put(mk_safetensors *s)
{
    char shape[32];
    ip_begin(s);
    snprintf(shape, sizeof shape, "%u,%u", IP_COLS * wo_bits / 32, IP_ROWS);
    ip_put(s, ".qweight", "I32", shape, wo_words, IP_COLS * IP_ROWS * wo_bits / 8);
    snprintf(shape, sizeof shape, "%d,%u", (int)WO_GROUPS, IP_ROWS * wo_bits / 32);
    ip_put(s, ".qzeros", "I32", shape, wo_zeros, WO_GROUPS * IP_ROWS * wo_bits / 8);
    ip_put(s, ".scales", "F16", "2,32", wo_scale, sizeof wo_scale);
}

/* Words of codes that end where words end; in the zeros' words each code is one less, as whole words are subtracted. */
static void wo_test_borrows(void)
{
    static const char *const makers[] = { "\"quant_method\":\"gptq\",\"meta\":{\"quantizer\":[\"optimum:1.24\",\"gptqmodel:2.0.0\"]}",
                                          "\"quant_method\":\"gptq\",\"meta\":{\"quantizer\":\"gptqmodel:1.4.0\"}", "\"quant_method\":\"gptq\",\"provider\":\"auto-round\"",
                                          "\"quant_method\":\"auto-round\",\"packing_format\":\"auto_round:auto_gptq\",\"data_type\":\"int\"" };
    mk_safetensors s;
    char config[256];
    for (unsigned i = 0; i < 12; i++) {
        const unsigned bits = 2u << i / 4, per = 32 / bits;
        lb_test_case("GPTQ: zeros that borrow, %u bits, %s", bits, makers[i % 4]);
        wo_make(bits);
        for (size_t r = 0; r < IP_ROWS; r++) {
            for (size_t c = 0; c < IP_COLS; c++) {
                wo_words[c / per * IP_ROWS + r] |= wo_code[r][c] << bits * (c % per);
            }
            for (size_t g = 0; g < WO_GROUPS; g++) {
                wo_zeros[g * (IP_ROWS / per) + r / per] += (wo_zero[g][r] - 1) << bits * (r % per);
            }
        }
        wo_put(&s);
        snprintf(config, sizeof config, "\"quantization_config\":{%s,\"bits\":%u,\"group_size\":32,\"sym\":false}", makers[i % 4], bits);
        ip_compare(&s, config, wo_want, 0.0f);
    }
}

void test_import_words(void)
{
    wo_test_borrows();
}
