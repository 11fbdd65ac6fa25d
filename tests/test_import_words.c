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

/* Codes of 4 bits, zeros of 8 however they are written */
static void wo_put_plain(mk_safetensors *s, int zeros)
{
    wo_make(4);
    for (size_t r = 0; r < IP_ROWS; r++) {
        for (size_t c = 0; c < IP_COLS; c++) {
            wo_words[c / 8 * IP_ROWS + r] |= wo_code[r][c] << 4 * (c % 8);
            wo_want[r * IP_COLS + c] = lb_f16_to_f32(wo_scale[c / WO_WIDTH][r]) * (float)((int)wo_code[r][c] - 8);
        }
    }
    memset(wo_zeros, zeros, sizeof wo_zeros);
    wo_put(s);
}

static const unsigned wo_awq[8] = { 0, 4, 1, 5, 2, 6, 3, 7 }; /* the nibble of a row in AWQ's words */

static void wo_put_gemm(mk_safetensors *s)
{
    static uint32_t words[IP_COLS][IP_ROWS / 8], zeros[WO_GROUPS][IP_ROWS / 8];
    wo_make(4);
    memset(words, 0, sizeof words);
    memset(zeros, 0, sizeof zeros);
    for (size_t r = 0; r < IP_ROWS; r++) {
        for (size_t c = 0; c < IP_COLS; c++) {
            words[c][r / 8] |= wo_code[r][c] << 4 * wo_awq[r % 8];
        }
        for (size_t g = 0; g < WO_GROUPS; g++) {
            zeros[g][r / 8] |= wo_zero[g][r] << 4 * wo_awq[r % 8];
        }
    }
    ip_begin(s);
    ip_put(s, ".qweight", "I32", "64,4", words, sizeof words);
    ip_put(s, ".qzeros", "I32", "2,4", zeros, sizeof zeros);
    ip_put(s, ".scales", "F16", "2,32", wo_scale, sizeof wo_scale);
}

static void wo_test_configs(void)
{
    mk_safetensors s;
    char path[400];
    for (size_t i = 0; i < 4; i++) {
        const bool eight = i % 2;
        lb_test_case("GPTQ: symmetric, zeros of %s", eight ? "the second format" : "the first format");
        wo_put_plain(&s, eight ? 0x88 : 0x77);
        ip_compare(&s,
                   i < 2 ? "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32,\"sym\":true,\"checkpoint_format\":\"gptq\"}"
                         : "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32,\"sym\":true,\"checkpoint_format\":\"gptq_v2\"}",
                   wo_want, 0.0f);
    }
    lb_test_case("GPTQ: a quantization_config without quant_method");
    wo_put_plain(&s, 0x77);
    ip_compare(&s, "\"quantization_config\":{\"bits\":4,\"group_size\":32,\"desc_act\":false,\"rotation_config\":{},\"rotation\":null}", wo_want, 0.0f);
    static const char *const refused[][2] = { { "\"rotation\":\"hadamard\"", "rotated inputs (rotation)" },
                                              { "\"rotation_config\":{\"block_size\":32}", "rotated inputs (rotation_config)" },
                                              { "\"is_marlin_format\":true", "is_marlin_format" } };
    char config[256];
    for (size_t i = 0; i < 3; i++) {
        lb_test_case("GPTQ: %s", refused[i][0]);
        wo_put_plain(&s, 0x77);
        snprintf(config, sizeof config, "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32,%s}", refused[i][0]);
        ip_refused(&s, config, refused[i][1]);
    }
    static const char *const versions[] = { "\"version\":\"GEMM\"", "\"quant_method\":\"awq\",\"version\":\"exllama\"", "\"quant_method\":\"awq\",\"checkpoint_format\":\"gemm\"" };
    for (size_t i = 0; i < 3; i++) {
        lb_test_case("AWQ: %s", versions[i]);
        wo_put_gemm(&s);
        snprintf(config, sizeof config, "\"quantization_config\":{%s,\"w_bit\":4,\"q_group_size\":32}", versions[i]);
        ip_compare(&s, config, wo_want, 0.0f);
    }
    lb_test_case("AWQ: a checkpoint_format that says another layout");
    wo_put_gemm(&s);
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"checkpoint_format\":\"marlin\"}", "another version");
    static const char *const files[] = { "quant_config.json", "quantize_config.json" };
    for (size_t i = 0; i < 2; i++) {
        static const char text[] = "{\"zero_point\":true,\"q_group_size\":32,\"w_bit\":4,\"version\":\"GEMM\"}";
        lb_test_case("AWQ: %s", files[i]);
        snprintf(path, sizeof path, "%s/%s", lb_test_temp("parts"), files[i]);
        mk_write(path, text, sizeof text - 1);
        wo_put_gemm(&s);
        ip_compare(&s, "\"torch_dtype\":\"float16\"", wo_want, 0.0f);
        remove(path);
    }
    lb_test_case("quant_config.json of a layout without a version, of BitNet, and one that nobody needs");
    snprintf(path, sizeof path, "%s/quant_config.json", lb_test_temp("parts"));
    static const char plain[] = "{\"w_bit\":4,\"q_group_size\":32}";
    mk_write(path, plain, sizeof plain - 1);
    wo_put_gemm(&s);
    ip_compare(&s, "\"torch_dtype\":\"float16\"", wo_want, 0.0f);
    static const char bitnet[] = "{\"quant_method\":\"bitnet\",\"linear_class\":\"autobitlinear\",\"quantization_mode\":\"online\",\"modules_to_not_convert\":[\"x\",\"down_proj\"]}";
    mk_write(path, bitnet, sizeof bitnet - 1);
    ip_begin(&s);
    ip_put(&s, ".weight", "F32", "32,64", wo_want, sizeof wo_want);
    ip_compare(&s, "\"torch_dtype\":\"float16\"", wo_want, 0.0f);
    mk_write(path, "no JSON", 7);
    wo_put_gemm(&s);
    ip_compare(&s, "\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32}", wo_want, 0.0f);
    lb_test_case("a quant_config.json of something else");
    snprintf(path, sizeof path, "%s/quant_config.json", lb_test_temp("parts"));
    mk_write(path, "{\"mode\":\"none\"}", 15);
    ip_begin(&s);
    ip_put(&s, ".weight", "F32", "32,64", wo_want, sizeof wo_want);
    ip_compare(&s, "\"torch_dtype\":\"float16\"", wo_want, 0.0f);
    remove(path);
}

/* 3 bits: a stream of codes; from the zeros' words GPTQModel before 6.1 took three numbers in turn, later one from each code. */
static void wo_test_threes(void)
{
    static const char *const makers[] = { "\"gptqmodel:5.8.0\"", "[\"gptqmodel:6.0.3-dev\"]", "[\"gptqmodel:6.1.0\"]", "[\"gptqmodel\"]" };
    static const uint32_t taken[3] = { 0x24924924u, 0x92492492u, 0x49249249u };
    mk_safetensors s;
    char config[256];
    for (unsigned i = 0; i < 4; i++) {
        lb_test_case("GPTQ: zeros of 3 bits, %s", makers[i]);
        wo_make(3);
        for (size_t b = 0; b < 3; b++) {
            for (size_t r = 0; r < IP_ROWS; r++) {
                for (size_t c = 0; c < IP_COLS; c++) {
                    const size_t at = 3 * c + b;
                    wo_words[at / 32 * IP_ROWS + r] |= (wo_code[r][c] >> b & 1) << at % 32;
                }
                for (size_t g = 0; g < WO_GROUPS; g++) {
                    const size_t at = 3 * r + b;
                    wo_zeros[3 * g + at / 32] |= ((wo_zero[g][r] - (i < 2 ? 0 : 1)) >> b & 1) << at % 32;
                }
            }
        }
        for (size_t w = 0; w < 3 * WO_GROUPS; w++) {
            wo_zeros[w] -= i < 2 ? taken[w % 3] : 0;
        }
        wo_put(&s);
        snprintf(config, sizeof config, "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":3,\"group_size\":32,\"meta\":{\"quantizer\":%s}}", makers[i]);
        ip_compare(&s, config, wo_want, 0.0f);
    }
}

/* A bit at a time: those of 32 codes are in words of their own, first the low ones in the widest plane */
static void wo_plane(uint32_t *words, size_t stride, size_t i, uint32_t v)
{
    static const unsigned char planes[9][3] = { { 0 }, { 0 }, { 2 }, { 2, 1 }, { 4 }, { 4, 1 }, { 4, 2 }, { 4, 2, 1 }, { 8 } };
    unsigned word = 0, low = 0;
    for (unsigned p = 0; p < 3; p++) {
        const unsigned width = planes[wo_bits][p];
        for (unsigned b = 0; b < width; b++) {
            const size_t at = i % 32 * width + b;
            words[(i / 32 * wo_bits + word + at / 32) * stride] |= (v >> (low + b) & 1) << at % 32;
        }
        word += width;
        low += width;
    }
}

static void wo_test_planes(void)
{
    mk_safetensors s;
    char config[256];
    for (unsigned bits = 2; bits <= 8; bits++) {
        lb_test_case("GPTQ in planes: %u bits", bits);
        wo_make(bits);
        for (size_t r = 0; r < IP_ROWS; r++) {
            for (size_t c = 0; c < IP_COLS; c++) {
                wo_plane(wo_words + r, IP_ROWS, c, wo_code[r][c]);
            }
            for (size_t g = 0; g < WO_GROUPS; g++) {
                wo_plane(wo_zeros + g * (IP_ROWS * bits / 32), 1, r, wo_zero[g][r]);
            }
        }
        wo_put(&s);
        snprintf(config, sizeof config, "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":%u,\"group_size\":32,\"checkpoint_format\":\"gptq_p\"}", bits % 2 ? bits : 4);
        ip_compare(&s, config, wo_want, 0.0f);
    }
    wo_make(5);
    wo_put(&s);
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32}", "in a width that this layout has");
    wo_make(5);
    wo_put(&s);
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":5,\"group_size\":32}", "so many bits");
}

/* AWQ's layouts for vectors: place for 32 groups of 32 columns, of which there are two; newer ones are 16-bit words of four rows, with what is added instead of zeros. */
static void wo_put_vectors(mk_safetensors *s, bool fast)
{
    enum { LINE = 32 };
    static uint32_t words[IP_ROWS][IP_COLS / 8], zeros[IP_ROWS][LINE / 8];
    static uint16_t halves[IP_ROWS / 4][IP_COLS], scales[LINE * IP_ROWS], sums[LINE][IP_ROWS];
    wo_make(4);
    memset(words, 0, sizeof words);
    memset(zeros, 0, sizeof zeros);
    memset(halves, 0, sizeof halves);
    memset(scales, 0, sizeof scales);
    for (size_t r = 0; r < IP_ROWS; r++) {
        for (size_t c = 0; c < IP_COLS; c++) {
            const size_t of32 = c % 32, a = of32 / 8, b = of32 % 8 / 2, at = c / 32 * 32 + 8 * b + 4 * (c % 2) + a;
            words[r][c / 8] |= wo_code[r][c] << 4 * (c % 8);
            halves[r / 4][r % 4 * 16 + at / 4] = (uint16_t)(halves[r / 4][r % 4 * 16 + at / 4] | wo_code[r][c] << 4 * (at % 4));
        }
        for (size_t g = 0; g < WO_GROUPS; g++) {
            const float scale = lb_f16_to_f32(wo_scale[g][r]);
            zeros[r][g / 8] |= wo_zero[g][r] << 4 * (g % 8);
            scales[fast ? g * IP_ROWS + r : r * LINE + g] = wo_scale[g][r];
            sums[g][r] = lb_f32_to_f16(-scale * (float)wo_zero[g][r]);
            for (size_t c = g * WO_WIDTH; fast && c < (g + 1) * WO_WIDTH; c++) {
                wo_want[r * IP_COLS + c] = scale * (float)wo_code[r][c] + lb_f16_to_f32(sums[g][r]);
            }
        }
    }
    ip_begin(s);
    ip_put(s, ".qweight", fast ? "I16" : "I32", fast ? "8,64" : "32,8", fast ? (const void *)halves : words, 1024);
    ip_put(s, ".qzeros", fast ? "F16" : "I32", fast ? "32,32" : "32,4", fast ? (const void *)sums : zeros, fast ? sizeof sums : sizeof zeros);
    ip_put(s, ".scales", "F16", "32,32", scales, sizeof scales);
}

static void wo_test_vectors(void)
{
    mk_safetensors s;
    for (int fast = 0; fast < 2; fast++) {
        lb_test_case("AWQ: %s", fast ? "gemv_fast" : "gemv");
        wo_put_vectors(&s, fast);
        ip_compare(&s, fast ? "\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32,\"version\":\"gemv_fast\"}"
                            : "\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32,\"version\":\"gemv\"}",
                   wo_want, 0.0f);
        static const char *const wrong[][2] = { { "\"group_size\":64,\"version\":\"gemv\"", "of the groups that config.json says" },
                                                { "\"group_size\":64,\"version\":\"gemv_fast\"", "of the groups that config.json says" },
                                                { "\"group_size\":32,\"version\":\"gemm\"", "does not hold" },
                                                { "\"group_size\":32,\"version\":\"marlin\"", "another version" } };
        for (size_t i = 0; i < 4; i++) {
            char config[160];
            wo_put_vectors(&s, fast);
            snprintf(config, sizeof config, "\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,%s}", wrong[i][0]);
            ip_refused(&s, config, i < 2 && (i == 1) != fast ? "AWQ's layout for vectors" : wrong[i][1]);
        }
    }
}

/* E4M3 with exponents for 32 columns; what AutoRound says of floats decides that tensors are looked at, and which may not be. */
static void wo_test_floats(void)
{
    static unsigned char codes[IP_ROWS][IP_COLS], exponents[IP_ROWS][IP_COLS / 32];
    mk_safetensors s;
    for (size_t r = 0; r < IP_ROWS; r++) {
        for (size_t c = 0; c < IP_COLS; c++) {
            const unsigned e = (unsigned)(lb_test_random() % 15), f = (unsigned)(lb_test_random() % 8), minus = (unsigned)(lb_test_random() % 2);
            exponents[r][c / 32] = (unsigned char)(c % 32 ? exponents[r][c / 32] : 115 + lb_test_random() % 20);
            codes[r][c] = (unsigned char)(minus << 7 | e << 3 | f);
            const float size = e ? ldexpf(1.0f + (float)f / 8.0f, (int)e - 7) : ldexpf((float)f / 8.0f, -6);
            wo_want[r * IP_COLS + c] = (minus ? -size : size) * ldexpf(1.0f, exponents[r][c / 32] - 127);
        }
    }
    static const char mx[] = "\"data_type\":\"mx_fp\",\"bits\":8,\"group_size\":32,\"packing_format\":\"auto_round:llm_compressor\"";
    static const struct {
        const char *more, *layers, *refused;
    } cases[] = { { mx, "{\"lm_head\":{\"bits\":16,\"data_type\":\"int\"}}", NULL },
                  { "\"data_type\":\"fp\",\"bits\":8,\"group_size\":[32,32]", "{\"a\":{\"data_type\":\"mx_fp\"}}", NULL },
                  { mx, "{\"a\":{\"bits\":4,\"data_type\":\"mx_int\"}}", "data_type" },
                  { mx, "{\"a\":{\"bits\":4,\"data_type\":\"int\"}}", "data_type" },
                  { "\"data_type\":\"int\",\"bits\":4,\"packing_format\":\"auto_round:auto_gptq\"", "{\"a\":{\"data_type\":\"nvfp4_v2\"}}", "data_type" },
                  { "\"data_type\":\"mx_int\",\"bits\":4,\"packing_format\":\"auto_round\"", "{}", "data_type" },
                  { "\"data_type\":\"fp\",\"bits\":8,\"group_size\":[32,0]", "{}", "group_size is no rectangle" } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char config[320];
        lb_test_case("AutoRound: %s, layers %s", cases[i].more, cases[i].layers);
        ip_begin(&s);
        ip_put(&s, ".weight", "F8_E4M3", "32,64", codes, sizeof codes);
        ip_put(&s, ".weight_scale", i % 2 ? "F8_E8M0" : "U8", "32,2", exponents, sizeof exponents);
        snprintf(config, sizeof config, "\"quantization_config\":{\"quant_method\":\"auto-round\",%s,\"extra_config\":%s}", cases[i].more, cases[i].layers);
        if (cases[i].refused) {
            ip_refused(&s, config, cases[i].refused);
        } else {
            ip_compare(&s, config, wo_want, 0.0f);
        }
    }
    lb_test_case("exponents beside other numbers than fp8");
    ip_begin(&s);
    ip_put(&s, ".weight", "I8", "32,64", codes, sizeof codes);
    ip_put(&s, ".weight_scale", "U8", "32,2", exponents, sizeof exponents);
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"compressed-tensors\"}", "holds no scales");
}

void test_import_words(void)
{
    wo_test_borrows();
    wo_test_threes();
    wo_test_floats();
    wo_test_vectors();
    wo_test_planes();
    wo_test_configs();
}
