/*
 * Matrices of other people's codes (formats/import/lb_codes.h): GPTQ in all widths, orders and both forms of zeros, AWQ, compressed-tensors' packed words, bitsandbytes' nibbles
 * and int8. One matrix of a tiny model is packed here by the formats' definitions, code by code; what the source gives must be scale * (code - zero). Then what is wrong.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/lb_math.h"
#include "import_matrix.h"
#include "lb_test.h"

void test_import_codes(void);

enum { IC_GROUPS = 4, IC_WORDS = IP_ROWS * IP_COLS };

typedef struct ic_matrix {
    unsigned bits;
    uint32_t code[IP_ROWS][IP_COLS], zero[IC_GROUPS][IP_ROWS];
    uint16_t scale[IC_GROUPS][IP_ROWS];
    uint32_t group[IP_COLS];
    float want[IP_ROWS * IP_COLS];
} ic_matrix;

/* Groups of so many columns one after the other; 0: any column in any group */
static void ic_make(ic_matrix *m, unsigned bits, unsigned width, bool zeros)
{
    memset(m, 0, sizeof *m);
    m->bits = bits;
    for (size_t g = 0; g < IC_GROUPS; g++) {
        for (size_t r = 0; r < IP_ROWS; r++) {
            m->zero[g][r] = zeros ? (uint32_t)(lb_test_random() % (1u << bits)) : 1u << (bits - 1);
            m->scale[g][r] = lb_f32_to_f16(0.01f + (float)(lb_test_random() % 1000) / 1000.0f);
        }
    }
    for (size_t c = 0; c < IP_COLS; c++) {
        m->group[c] = width ? (uint32_t)c / width : (uint32_t)(lb_test_random() % IC_GROUPS);
        for (size_t r = 0; r < IP_ROWS; r++) {
            const uint32_t g = m->group[c];
            m->code[r][c] = (uint32_t)(lb_test_random() % (1u << bits));
            m->want[r * IP_COLS + c] = lb_f16_to_f32(m->scale[g][r]) * (float)((int)m->code[r][c] - (int)m->zero[g][r]);
        }
    }
}

/* A bit at a time: bit b of number i of a stream whose words are `stride` apart */
static void ic_stream(uint32_t *words, size_t stride, size_t i, unsigned bits, uint32_t v)
{
    for (unsigned b = 0; b < bits; b++) {
        const size_t at = i * bits + b;
        words[at / 32 * stride] |= (v >> b & 1) << at % 32;
    }
}

typedef struct ic_gptq {
    uint32_t words[IC_WORDS], zeros[IC_WORDS];
    char shape[3][32];
} ic_gptq;

static void ic_pack_gptq(ic_gptq *p, const ic_matrix *m, bool second)
{
    memset(p, 0, sizeof *p);
    const uint32_t mask = (1u << m->bits) - 1;
    for (size_t r = 0; r < IP_ROWS; r++) {
        for (size_t c = 0; c < IP_COLS; c++) {
            ic_stream(p->words + r, IP_ROWS, c, m->bits, m->code[r][c]);
        }
        for (size_t g = 0; g < IC_GROUPS; g++) {
            ic_stream(p->zeros + g * (IP_ROWS * m->bits / 32), 1, r, m->bits, second ? m->zero[g][r] : (m->zero[g][r] - 1) & mask);
        }
    }
    snprintf(p->shape[0], sizeof p->shape[0], "%u,%u", IP_COLS * m->bits / 32, IP_ROWS);
    snprintf(p->shape[1], sizeof p->shape[1], "%d,%u", (int)IC_GROUPS, IP_ROWS * m->bits / 32);
    snprintf(p->shape[2], sizeof p->shape[2], "%d,%d", (int)IC_GROUPS, (int)IP_ROWS);
}

static void ic_put_gptq(mk_safetensors *s, const ic_gptq *p, const ic_matrix *m, bool groups)
{
    ip_begin(s);
    ip_put(s, ".qweight", "I32", p->shape[0], p->words, IP_COLS * IP_ROWS * m->bits / 8);
    ip_put(s, ".qzeros", "I32", p->shape[1], p->zeros, IC_GROUPS * IP_ROWS * m->bits / 8);
    ip_put(s, ".scales", "F16", p->shape[2], m->scale, sizeof m->scale);
    if (groups) {
        ip_put(s, ".g_idx", "I32", "64", m->group, sizeof m->group);
    }
}

static void ic_test_gptq(void)
{
    static const unsigned widths[] = { 2, 3, 4, 8 };
    static ic_matrix m;
    static ic_gptq p;
    mk_safetensors s;
    char config[256];
    for (size_t i = 0; i < 16; i++) {
        const bool order = i & 1, second = i & 2;
        lb_test_case("GPTQ: %u bits, %s, %s", widths[i / 4], order ? "columns in any group" : "groups in order", second ? "zeros as they are" : "zeros less one");
        ic_make(&m, widths[i / 4], order ? 0 : 16, true);
        ic_pack_gptq(&p, &m, second);
        ic_put_gptq(&s, &p, &m, order);
        snprintf(config, sizeof config, "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":%u,\"group_size\":16,\"checkpoint_format\":%s}", m.bits,
                 second ? "\"gptq_v2\"" : i < 8 ? "null" : "\"gptq\"");
        ip_compare(&s, config, m.want, 0.0f);
    }

    lb_test_case("GPTQ: quantize_config.json, biases of zeros");
    ic_make(&m, 4, 16, true);
    ic_pack_gptq(&p, &m, false);
    ic_put_gptq(&s, &p, &m, true);
    static const float zeros[IP_ROWS];
    ip_put(&s, ".bias", "F32", "32", zeros, sizeof zeros);
    char path[400];
    snprintf(path, sizeof path, "%s/quantize_config.json", lb_test_temp("parts"));
    mk_write(path, "{\"bits\":4,\"group_size\":16}", 26);
    ip_compare(&s, "\"torch_dtype\":\"float16\"", m.want, 0.0f);
    remove(path);

    lb_test_case("GPTQ: a layer of other bits than most");
    ic_put_gptq(&s, &p, &m, true);
    ip_compare(&s, "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":8,\"dynamic\":{\"+:.*down_proj\":{\"bits\":4}}}", m.want, 0.0f);

    lb_test_case("GPTQ: the last group is narrower");
    ic_make(&m, 4, 20, true);
    ic_pack_gptq(&p, &m, false);
    ic_put_gptq(&s, &p, &m, false);
    ip_compare(&s, "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":20}", m.want, 0.0f);
    ic_make(&m, 4, 16, true);
    ic_pack_gptq(&p, &m, false);

    static const char four[] = "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}";
    lb_test_case("GPTQ: what is wrong");
    ic_put_gptq(&s, &p, &m, true);
    ip_refused(&s, "\"torch_dtype\":\"float16\"", "config.json says nothing");
    ip_begin(&s);
    ip_put(&s, ".qweight", "I32", "16,16", p.words, IP_COLS * IP_ROWS / 2);
    ip_put(&s, ".qzeros", "I32", p.shape[1], p.zeros, IC_GROUPS * IP_ROWS / 2);
    ip_put(&s, ".scales", "F16", p.shape[2], m.scale, sizeof m.scale);
    ip_refused(&s, four, "in 2, 3, 4 or 8 bits");
    ic_put_gptq(&s, &p, &m, false);
    ip_put(&s, ".bias", "F32", "32", m.want, 128);
    ip_refused(&s, four, "down_proj.bias");
    ip_begin(&s);
    ip_put(&s, ".qweight", "I32", p.shape[0], p.words, IP_COLS * IP_ROWS / 2);
    ip_refused(&s, four, "lacks its scales");
    ip_begin(&s);
    ip_put(&s, ".scales", "F16", p.shape[2], m.scale, sizeof m.scale);
    ip_refused(&s, four, "lacks its qweight");
    m.group[9] = IC_GROUPS;
    ic_put_gptq(&s, &p, &m, true);
    ip_refused(&s, four, "names a group that is not there");
    m.group[9] = UINT32_MAX;
    ic_put_gptq(&s, &p, &m, true);
    ip_refused(&s, four, "names a group that is not there");
    ip_begin(&s);
    ip_put(&s, ".qweight", "I32", p.shape[0], p.words, IP_COLS * IP_ROWS / 2);
    ip_put(&s, ".qzeros", "I32", "4,2", p.zeros, 32);
    ip_put(&s, ".scales", "F16", p.shape[2], m.scale, sizeof m.scale);
    ip_refused(&s, four, "a zero for each row and group");
    ip_begin(&s);
    ip_put(&s, ".qweight", "I32", p.shape[0], p.words, IP_COLS * IP_ROWS / 2);
    ip_put(&s, ".qzeros", "I32", "3,4", p.zeros, 48);
    ip_put(&s, ".scales", "F16", "3,32", m.scale, 3 * 64);
    ip_refused(&s, four, "config.json does not explain");
}

static void ic_test_auto_round(void)
{
    static const char *const layouts[] = { "\"quant_method\":\"auto-round\",\"packing_format\":\"auto_round:auto_gptq\"",
                                           "\"quant_method\":\"intel/auto-round\",\"backend\":\"auto_round:gptq:exllamav2\"",
                                           "\"quant_method\":\"intel/auto-round\",\"backend\":\"auto_round:exllamav2\"",
                                           "\"quant_method\":\"auto-round\",\"packing_format\":\"auto_round:gptqmodel\"",
                                           "\"quant_method\":\"auto-round\",\"packing_format\":\"auto_round\"" };
    static ic_matrix m;
    static ic_gptq p;
    mk_safetensors s;
    char config[256];
    for (size_t i = 0; i < 5; i++) {
        lb_test_case("AutoRound: %s", layouts[i]);
        ic_make(&m, 4, 16, i >= 2); /* zeros of 0 in the first format: test_import_words.c */
        ic_pack_gptq(&p, &m, i >= 2);
        ic_put_gptq(&s, &p, &m, false);
        snprintf(config, sizeof config, "\"quantization_config\":{%s,\"bits\":4,\"group_size\":16,\"data_type\":\"int\",\"sym\":false}", layouts[i]);
        ip_compare(&s, config, m.want, 0.0f);
    }
    lb_test_case("AutoRound: other layouts and numbers");
    ic_put_gptq(&s, &p, &m, false);
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"auto-round\",\"packing_format\":\"auto_round:llm_compressor\",\"bits\":4}", "packing_format");
    ic_put_gptq(&s, &p, &m, false);
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"auto-round\",\"bits\":4}", "packing_format");
    ic_put_gptq(&s, &p, &m, false);
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"auto-round\",\"packing_format\":\"auto_gptq\",\"data_type\":\"mx_int\",\"bits\":4}", "data_type");
}

static void ic_test_awq(void)
{
    static ic_matrix m;
    static uint32_t words[IP_COLS][IP_ROWS / 8], zeros[IC_GROUPS][IP_ROWS / 8];
    static const unsigned row_of[8] = { 0, 2, 4, 6, 1, 3, 5, 7 }; /* which nibbles 0 to 7 are */
    mk_safetensors s;
    static const char *const configs[] = { "\"quant_method\":\"awq\",\"bits\":4,\"group_size\":16,\"version\":\"gemm\",\"zero_point\":true",
                                           "\"quant_method\":\"awq\",\"w_bit\":4", "\"quant_method\":\"auto-round\",\"packing_format\":\"auto_round:auto_awq\",\"bits\":4" };
    char config[256];
    for (size_t k = 0; k < 3; k++) {
        lb_test_case("AWQ: %s", configs[k]);
        ic_make(&m, 4, 16, true);
        memset(words, 0, sizeof words);
        memset(zeros, 0, sizeof zeros);
        for (unsigned i = 0; i < 8; i++) {
            for (size_t r = 0; r < IP_ROWS / 8; r++) {
                for (size_t c = 0; c < IP_COLS; c++) {
                    words[c][r] |= m.code[8 * r + row_of[i]][c] << 4 * i;
                }
                for (size_t g = 0; g < IC_GROUPS; g++) {
                    zeros[g][r] |= m.zero[g][8 * r + row_of[i]] << 4 * i;
                }
            }
        }
        ip_begin(&s);
        ip_put(&s, ".qweight", "I32", "64,4", words, sizeof words);
        ip_put(&s, ".qzeros", "I32", "4,4", zeros, sizeof zeros);
        ip_put(&s, ".scales", "F16", "4,32", m.scale, sizeof m.scale);
        snprintf(config, sizeof config, "\"quantization_config\":{%s}", configs[k]);
        ip_compare(&s, config, m.want, 0.0f);
    }
    lb_test_case("AWQ: words in GPTQ's order");
    ip_begin(&s);
    ip_put(&s, ".qweight", "I32", "8,32", words, sizeof words);
    ip_put(&s, ".qzeros", "I32", "4,4", zeros, sizeof zeros);
    ip_put(&s, ".scales", "F16", "4,32", m.scale, sizeof m.scale);
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4}", "in 2, 3, 4 or 8 bits");
}

/* What config.json says of one group of layers, or of more */
#define IC_TENSORS(rest) "\"quantization_config\":{\"quant_method\":\"compressed-tensors\"," rest "}"
#define IC_GROUP(weights) IC_TENSORS("\"config_groups\":{\"a\":{\"weights\":{" weights "}}}")

/* zeros 0: none, 1: packed, 2: bytes; stream: codes go on in the next word */
static void ic_put_packed(mk_safetensors *s, const ic_matrix *m, int zeros, bool order, bool stream, int64_t rows)
{
    static uint32_t words[IC_WORDS], packed[IC_WORDS];
    static unsigned char bytes[IP_ROWS][IC_GROUPS];
    static uint16_t scales[IP_ROWS][IC_GROUPS];
    const size_t per = 32 / m->bits, line = stream ? (IP_COLS * m->bits + 31) / 32 : (IP_COLS + per - 1) / per;
    const size_t lines = stream ? (IP_ROWS * m->bits + 31) / 32 : (IP_ROWS + per - 1) / per;
    const int64_t shape[2] = { rows, IP_COLS };
    char text[32];
    memset(words, 0, sizeof words);
    memset(packed, 0, sizeof packed);
    for (size_t r = 0; r < IP_ROWS; r++) {
        for (size_t c = 0; c < IP_COLS; c++) {
            if (stream) {
                ic_stream(words + r * line, 1, c, m->bits, m->code[r][c]);
            } else {
                words[r * line + c / per] |= m->code[r][c] << m->bits * (c % per);
            }
        }
        for (size_t g = 0; g < IC_GROUPS; g++) {
            if (stream) {
                ic_stream(packed + g, IC_GROUPS, r, m->bits, m->zero[g][r]);
            } else {
                packed[r / per * IC_GROUPS + g] |= m->zero[g][r] << m->bits * (r % per);
            }
            bytes[r][g] = (unsigned char)((int)m->zero[g][r] - (1 << (m->bits - 1)));
            scales[r][g] = m->scale[g][r];
        }
    }
    ip_begin(s);
    snprintf(text, sizeof text, "32,%zu", line);
    ip_put(s, ".weight_packed", "I32", text, words, IP_ROWS * line * 4);
    ip_put(s, ".weight_scale", "F16", "32,4", scales, sizeof scales);
    ip_put(s, ".weight_shape", "I64", "2", shape, sizeof shape);
    if (zeros == 1) {
        snprintf(text, sizeof text, "%zu,4", lines);
        ip_put(s, ".weight_zero_point", "I32", text, packed, lines * IC_GROUPS * 4);
    } else if (zeros == 2) {
        ip_put(s, ".weight_zero_point", "I8", "32,4", bytes, sizeof bytes);
    }
    if (order) {
        ip_put(s, ".weight_g_idx", "I32", "64", m->group, sizeof m->group);
    }
}

static void ic_test_packed(void)
{
    static const char config[] = "\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\"}";
    static ic_matrix m;
    mk_safetensors s;
    char said[256];
    for (size_t i = 0; i < 96; i++) {
        const int zeros = (int)(i % 3);
        const bool order = i / 3 % 2, stream = i / 6 % 2;
        const unsigned bits = (unsigned)(i / 12 + 1);
        lb_test_case("compressed-tensors, packed: %u bits%s, zeros %d, %s", bits, stream ? " as a stream" : "", zeros,
                     order ? "columns in any group" : "groups in order");
        ic_make(&m, bits, order ? 0 : 16, zeros != 0);
        ic_put_packed(&s, &m, zeros, order, stream, IP_ROWS);
        snprintf(said, sizeof said, IC_GROUP("\"num_bits\":%u"), bits);
        ip_compare(&s, bits == 7 && !stream ? said : config, m.want, 0.0f); /* 7 bits that do not go on look as 8 do */
    }
    lb_test_case("compressed-tensors, packed: the name that quantization_config had at first");
    ic_make(&m, 7, 16, true);
    ic_put_packed(&s, &m, 1, false, false, IP_ROWS);
    ip_compare(&s, "\"compression_config\":{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"a\":{\"weights\":{\"num_bits\":7}}}}", m.want, 0.0f);

    /* 64 columns are 4 groups of 20 of which the last is narrower, or of 16: groups divide the columns, those of 20 are other layers' */
    lb_test_case("compressed-tensors, packed: groups of other widths than config.json's first, no list of groups");
    ic_make(&m, 4, 16, true);
    memset(m.group, 0xff, sizeof m.group);
    ic_put_packed(&s, &m, 1, true, true, IP_ROWS);
    ip_compare(&s, IC_GROUP("\"num_bits\":4,\"group_size\":20"), m.want, 0.0f);

    lb_test_case("compressed-tensors, packed: one scale and one zero for all");
    for (int zeros = 0; zeros < 2; zeros++) {
        static uint32_t words[IC_WORDS];
        static const int64_t sides[2] = { IP_ROWS, IP_COLS };
        const float scale = 0.375f;
        const int8_t zero = zeros ? -3 : 0;
        memset(words, 0, sizeof words);
        for (size_t i = 0; i < IP_ROWS * IP_COLS; i++) {
            words[i / 8] |= m.code[i / IP_COLS][i % IP_COLS] << 4 * (i % 8);
            m.want[i] = scale * (float)((int)m.code[i / IP_COLS][i % IP_COLS] - 8 - zero);
        }
        ip_begin(&s);
        ip_put(&s, ".weight_packed", "I32", "32,8", words, IP_ROWS * IP_COLS / 2);
        ip_put(&s, ".weight_scale", "F32", "1", &scale, 4);
        ip_put(&s, ".weight_shape", "I64", "2", sides, sizeof sides);
        if (zeros) {
            ip_put(&s, ".weight_zero_point", "I8", "1", &zero, 1);
        }
        ip_compare(&s, config, m.want, 0.0f);
    }

    lb_test_case("compressed-tensors, packed: what is wrong");
    ic_make(&m, 7, 16, true);
    ic_put_packed(&s, &m, 1, true, false, IP_ROWS);
    ip_refused(&s, IC_TENSORS("\"config_groups\":{\"a\":{\"weights\":{\"num_bits\":7}},\"b\":{\"weights\":{}}}"), "more than one width");
    ic_put_packed(&s, &m, 1, true, true, IP_ROWS);
    ip_refused(&s, IC_GROUP("\"num_bits\":4"), "does not fit the shape");
    ic_make(&m, 4, 16, true);
    ic_put_packed(&s, &m, 1, false, true, IP_ROWS + 1);
    ip_refused(&s, config, "does not fit the shape");
    ic_put_packed(&s, &m, 1, false, true, 0);
    ip_refused(&s, config, "has an impossible shape");
    ip_begin(&s);
    ip_put(&s, ".weight_packed", "I32", "32,8", m.code, 1024);
    ip_refused(&s, config, "lacks its weight_scale");
    static const int64_t shape[2] = { IP_ROWS, IP_COLS };
    ip_begin(&s);
    ip_put(&s, ".weight_packed", "I32", "32,8", m.code, 1024);
    ip_put(&s, ".weight_shape", "I64", "2", shape, sizeof shape);
    ip_put(&s, ".weight_scale", "F16", "4,32", m.scale, sizeof m.scale); /* groups by rows: as many, but turned */
    ip_refused(&s, config, "a scale for each row and group");
}

/* nested: sizes are bytes, of a table of 256, times a size for 8 of them, plus an offset */
static void ic_test_table(bool nested)
{
    enum { N = IP_ROWS * IP_COLS, BLOCK = 32, BLOCKS = N / BLOCK, SIZE_BLOCK = 8 };
    static unsigned char nibbles[N / 2], bytes[BLOCKS];
    static float sizes[BLOCKS], table[16], second[256], more[BLOCKS / SIZE_BLOCK], want[N];
    lb_test_case("bitsandbytes: a table of 16, %s", nested ? "sizes quantized again" : "sizes in floats");
    for (size_t i = 0; i < 256; i++) {
        second[i] = (float)i / 255.0f - 0.25f;
        table[i % 16] = (float)(int)(i % 16) / 8.0f - 1.0f;
    }
    for (size_t b = 0; b < BLOCKS; b++) {
        bytes[b] = (unsigned char)lb_test_random();
        more[b / SIZE_BLOCK] = 0.5f + (float)(b / SIZE_BLOCK);
        sizes[b] = nested ? second[bytes[b]] * more[b / SIZE_BLOCK] + 0.125f : 0.1f * (float)(b + 1);
    }
    for (size_t i = 0; i < N; i++) {
        const unsigned code = (unsigned)(lb_test_random() % 16);
        nibbles[i / 2] = (unsigned char)(i % 2 ? nibbles[i / 2] | code : code << 4);
        want[i] = table[code] * sizes[i / BLOCK];
    }
    static const char states[2][160] = {
        "{\"quant_type\":\"nf4\",\"blocksize\":32,\"dtype\":\"bfloat16\",\"shape\":[32,64]}",
        "{\"quant_type\":\"nf4\",\"blocksize\":32,\"shape\":[32,64],\"nested_blocksize\":8,\"nested_dtype\":\"float32\",\"nested_offset\":0.125}"
    };
    static const char config[] = "\"quantization_config\":{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true}";
    static const char first[] = "\"quantization_config\":{\"bnb_4bit_quant_type\":\"nf4\",\"load_in_4bit\":true}"; /* that did not name the method */
    mk_safetensors s;
    for (int wrong = 0; wrong < 5; wrong++) { /* nothing; too few nibbles; another table; no state; nothing, but stored as other numbers */
        ip_begin(&s);
        char shape[32];
        ip_put(&s, ".weight", wrong == 4 ? "BF16" : "U8", wrong == 1 || wrong == 4 ? "512,1" : "1024,1", nibbles, wrong == 1 ? 512 : N / 2);
        if (nested) {
            ip_put(&s, ".weight.absmax", "U8", "64", bytes, sizeof bytes);
            ip_put(&s, ".weight.nested_absmax", "F32", "8", more, sizeof more);
            ip_put(&s, ".weight.nested_quant_map", "F32", "256", second, sizeof second);
        } else {
            ip_put(&s, ".weight.absmax", "F32", "64", sizes, sizeof sizes);
        }
        ip_put(&s, ".weight.quant_map", "F32", wrong == 2 ? "8" : "16", table, wrong == 2 ? 32 : 64);
        if (wrong != 3) {
            snprintf(shape, sizeof shape, "%zu", strlen(states[nested]));
            ip_put(&s, ".weight.quant_state.bitsandbytes__nf4", "U8", shape, states[nested], strlen(states[nested]));
        }
        if (wrong % 4 == 0) {
            ip_compare(&s, wrong ? first : config, want, 1e-6f);
        } else {
            ip_refused(&s, config, wrong == 1 ? "so many nibbles" : wrong == 2 ? "no table of 16" : "lacks its quant_state");
        }
    }
}

static void ic_test_int8(void)
{
    static signed char codes[IP_ROWS][IP_COLS];
    static float sizes[IP_ROWS], want[IP_ROWS * IP_COLS];
    const unsigned char form = 0, tiles = 2;
    lb_test_case("bitsandbytes: int8 with a size for each row");
    for (size_t r = 0; r < IP_ROWS; r++) {
        sizes[r] = 0.5f + (float)r;
        for (size_t c = 0; c < IP_COLS; c++) {
            codes[r][c] = (signed char)(lb_test_random() % 255 - 127);
            want[r * IP_COLS + c] = (float)codes[r][c] * sizes[r] / 127.0f;
        }
    }
    mk_safetensors s;
    ip_begin(&s);
    ip_put(&s, ".weight", "I8", "32,64", codes, sizeof codes);
    ip_put(&s, ".SCB", "F32", "32", sizes, sizeof sizes);
    ip_put(&s, ".weight_format", "U8", "", &form, 1);
    ip_compare(&s, "\"quantization_config\":{\"quant_method\":\"bitsandbytes\",\"load_in_8bit\":true}", want, 1e-6f);
    ip_begin(&s);
    ip_put(&s, ".weight", "I8", "32,64", codes, sizeof codes);
    ip_put(&s, ".SCB", "F32", "32", sizes, sizeof sizes);
    ip_put(&s, ".weight_format", "U8", "", &tiles, 1);
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"bitsandbytes\",\"load_in_8bit\":true}", "GPU's tiles");
    lb_test_case("bitsandbytes: the output matrix in nibbles, stored as floats; without an offset of nested sizes");
    static const float table[16] = { -1.0f, -0.5f, 0.25f, 3.0f }, second[256] = { 0.5f, 2.0f };
    static const unsigned char nibbles[MK_VOCAB * MK_DIM / 2] = { 0x12, 0x30 }, size_bytes[4] = { 1, 1, 1, 1 };
    static const char *const states[] = { "{\"blocksize\":64,\"shape\":[8,32],\"nested_blocksize\":256,\"nested_offset\":1.5}",
                                          "{\"blocksize\":64,\"shape\":[8,32],\"nested_blocksize\":256}" };
    for (int lacks = 0; lacks < 2; lacks++) {
        char length[16];
        snprintf(length, sizeof length, "%zu", strlen(states[lacks]));
        ip_begin(&s);
        ip_put(&s, ".weight", "F32", "32,64", want, sizeof want);
        mk_st_tensor(&s, "lm_head.weight", "BF16", "64,1", nibbles, sizeof nibbles);
        mk_st_tensor(&s, "lm_head.weight.absmax", "U8", "4", size_bytes, 4);
        mk_st_tensor(&s, "lm_head.weight.nested_absmax", "F32", "1", sizes, 4);
        mk_st_tensor(&s, "lm_head.weight.nested_quant_map", "F32", "256", second, sizeof second);
        mk_st_tensor(&s, "lm_head.weight.quant_map", "F32", "16", table, sizeof table);
        mk_st_tensor(&s, "lm_head.weight.quant_state.bitsandbytes__fp4", "U8", length, states[lacks], strlen(states[lacks]));
        static const char nested[] = "\"tie_word_embeddings\":false,\"quantization_config\":{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true}";
        if (lacks) {
            ip_refused(&s, nested, "does not say shape and blocks");
            continue;
        }
        lbrt_error error;
        lb_source *from = ip_open(&s, nested, &error);
        float row[MK_DIM] = { 0.0f };
        for (size_t i = 0; LB_CHECK(from, "%s", error.text) && i < from->n_tensors; i++) {
            if (strcmp(from->tensors[i].name, "out_head") == 0) {
                LB_CHECK(from->read_rows(from, i, 0, 1, row, &error) == LBRT_OK, "%s", error.text);
            }
        }
        const float size = 2.0f * sizes[0] + 1.5f;
        LB_CHECK(row[0] == -0.5f * size && row[1] == 0.25f * size && row[2] == 3.0f * size && row[3] == -size, "%g %g %g %g", (double)row[0], (double)row[1], (double)row[2],
                 (double)row[3]);
        if (from) {
            from->close(from);
        }
    }
    lb_test_case("int8: the output matrix");
    ip_begin(&s);
    ip_put(&s, ".weight", "F32", "32,64", want, sizeof want);
    ip_put(&s, ".weight_scale", "F32", "32,1", sizes, sizeof sizes); /* beside floats: of a checkpoint that is not compressed yet */
    mk_st_tensor(&s, "lm_head.weight", "I8", "8,32", codes, MK_VOCAB * MK_DIM);
    mk_st_tensor(&s, "lm_head.weight_scale", "F32", "8,1", sizes, MK_VOCAB * 4);
    lbrt_error err;
    lb_source *source = ip_open(&s, "\"tie_word_embeddings\":false,\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"quantization_status\":\"frozen\"}", &err);
    LB_CHECK(source, "%s", err.text);
    for (size_t i = 0; source && i < source->n_tensors; i++) {
        float row[MK_DIM];
        if (strcmp(source->tensors[i].name, "out_head") == 0) {
            LB_CHECK(source->read_rows(source, i, 7, 1, row, &err) == LBRT_OK && row[31] == (float)codes[3][IP_COLS - 1] * sizes[7], "%g", (double)row[31]);
        }
    }
    if (source) {
        source->close(source);
    }
    lb_test_case("floats with a scale that the file says was applied");
    ip_begin(&s);
    ip_put(&s, ".weight", "F32", "32,64", want, sizeof want);
    ip_put(&s, ".weight_scale", "F32", "32,1", sizes, sizeof sizes);
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"quantization_status\":\"compressed\"}", "lacks its weight");
}

/* compressed-tensors' bytes with zero points of rows, of groups of columns, or of all, and with columns in any group */
static void ic_test_int8_zeros(void)
{
    enum { FORMS = 4 };
    static const char config[] = "\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"int-quantized\"}";
    static const char *const shapes[FORMS] = { "1", "32,1", "32,4", "32,4" };
    static const size_t groups[FORMS] = { 1, 1, 4, 4 };
    static signed char codes[IP_ROWS][IP_COLS], zeros[IP_ROWS * 4];
    static float scales[IP_ROWS * 4], want[IP_ROWS * IP_COLS];
    uint32_t group[IP_COLS];
    mk_safetensors s;
    for (size_t form = 0; form < FORMS; form++) {
        lb_test_case("int8 with zero points: scales %s%s", shapes[form], form == 3 ? ", columns in any group" : "");
        const size_t n = form ? IP_ROWS * groups[form] : 1;
        for (size_t i = 0; i < n; i++) {
            scales[i] = 0.25f + (float)(lb_test_random() % 64);
            zeros[i] = (signed char)(lb_test_random() % 256 - 128);
        }
        for (size_t c = 0; c < IP_COLS; c++) {
            group[c] = (uint32_t)(form == 3 ? lb_test_random() % 4 : c * groups[form] / IP_COLS);
            for (size_t r = 0; r < IP_ROWS; r++) {
                const size_t at = form ? r * groups[form] + group[c] : 0;
                codes[r][c] = (signed char)(lb_test_random() % 256 - 128);
                want[r * IP_COLS + c] = scales[at] * (float)(codes[r][c] - zeros[at]);
            }
        }
        ip_begin(&s);
        ip_put(&s, ".weight", "I8", "32,64", codes, sizeof codes);
        ip_put(&s, ".weight_scale", "F32", shapes[form], scales, n * 4);
        ip_put(&s, ".weight_zero_point", "I8", shapes[form], zeros, n);
        if (form == 3) {
            ip_put(&s, ".weight_g_idx", "I32", "64", group, sizeof group);
        }
        ip_compare(&s, config, want, 0.0f);
    }
    lb_test_case("zero points of what has none");
    ip_begin(&s);
    ip_put(&s, ".weight", "F8_E4M3", "32,64", codes, sizeof codes);
    ip_put(&s, ".weight_scale", "F32", "32,1", scales, IP_ROWS * 4);
    ip_put(&s, ".weight_zero_point", "I8", "32,1", zeros, IP_ROWS);
    ip_refused(&s, config, "of other numbers than int8");
    ip_begin(&s);
    ip_put(&s, ".weight", "I8", "32,64", codes, sizeof codes);
    ip_put(&s, ".weight_scale", "F32", "32,1", scales, IP_ROWS * 4);
    ip_put(&s, ".weight_zero_point", "I8", "32,2", zeros, 2 * IP_ROWS);
    ip_refused(&s, config, "a zero for each row and group");
}

/* The embedding and the output matrix in packed words, with what scales activations beside them */
static void ic_test_ends(void)
{
    enum { WORDS = MK_VOCAB * MK_DIM / 8 };
    static const char *const names[] = { "model.embed_tokens", "lm_head" }, *const ours[] = { "tok_embed", "out_head" };
    static const int64_t shape[2] = { MK_VOCAB, MK_DIM };
    static uint32_t words[2][WORDS];
    static float scales[MK_VOCAB];
    const float one = 1.0f;
    mk_safetensors s = { { NULL, 0, 0 }, { NULL, 0, 0 } };
    lbrt_error err;
    char name[64];
    lb_test_case("compressed-tensors, packed: embedding and output matrix");
    mk_st_weights(&s, "F32", "model.embed_tokens.weight", true);
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < WORDS; i++) {
            words[k][i] = (uint32_t)lb_test_random();
        }
        for (size_t i = 0; i < MK_VOCAB; i++) {
            scales[i] = 0.5f + (float)i;
        }
        snprintf(name, sizeof name, "%s.weight_packed", names[k]);
        mk_st_tensor(&s, name, "I32", "8,4", words[k], sizeof words[k]);
        snprintf(name, sizeof name, "%s.weight_scale", names[k]);
        mk_st_tensor(&s, name, "F32", "8,1", scales, sizeof scales);
        snprintf(name, sizeof name, "%s.weight_shape", names[k]);
        mk_st_tensor(&s, name, "I64", "2", shape, sizeof shape);
    }
    mk_st_tensor(&s, "lm_head.input_scale", "F32", "1", &one, 4);
    mk_st_tensor(&s, "lm_head.input_global_scale", "F32", "1", &one, 4);
    lb_source *source = ip_open(&s, "\"tie_word_embeddings\":false," IC_GROUP("\"num_bits\":4"), &err); /* 4 words may be 32 codes of 3 bits too */
    LB_CHECK(source, "%s", err.text);
    size_t found = 0;
    for (size_t i = 0; source && i < source->n_tensors; i++) {
        for (size_t k = 0; k < 2; k++) {
            if (strcmp(source->tensors[i].name, ours[k]) == 0) {
                static float got[MK_VOCAB * MK_DIM];
                size_t bad = 0;
                LB_CHECK(source->read_rows(source, i, 0, MK_VOCAB, got, &err) == LBRT_OK, "%s", err.text);
                for (size_t j = 0; j < MK_VOCAB * MK_DIM; j++) {
                    bad += got[j] != (0.5f + (float)(j / MK_DIM)) * (float)((int)(words[k][j / 8] >> 4 * (j % 8) & 15) - 8);
                }
                LB_CHECK(bad == 0, "%zu weights of %s differ", bad, ours[k]);
                found++;
            }
        }
    }
    LB_CHECK(found == 2, "%zu matrices", found);
    if (source) {
        source->close(source);
    }
}

static void ic_test_fp8(void)
{
    static unsigned char codes[IP_ROWS][IP_COLS];
    static float scales[12], want[IP_ROWS * IP_COLS];
    mk_safetensors s;
    for (int form = 0; form < 10; form++) {
        static const char *const configs[] = {
            "\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":null}",
            "\"quantization_config\":{\"quant_method\":\"fp8\",\"fmt\":\"e4m3\",\"weight_block_size\":[24,24]}",
            ("\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"float-quantized\","
             "\"config_groups\":{\"group_0\":{\"weights\":{\"num_bits\":8,\"strategy\":\"block\",\"block_structure\":[16,16]}}}}"),
            "\"quantization_config\":{\"quant_method\":\"fp8\",\"fmt\":\"e4m3\",\"weight_block_size\":[16,16]}",
            "\"quantization_config\":{\"quant_method\":\"fp8\",\"fmt\":\"e4m3\",\"weight_block_size\":[24,16]}",
            ("\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"float-quantized\","
             "\"config_groups\":{\"group_0\":{\"weights\":{\"num_bits\":8,\"strategy\":\"block\",\"block_structure\":[40,24]}}}}"),
            "\"quantization_config\":{\"quant_method\":\"fp8\",\"scale_fmt\":\"ue8m0\",\"weight_block_size\":[16,32]}",
            ("\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"float-quantized\"," /* all squares in one row */
             "\"config_groups\":{\"group_0\":{\"weights\":{\"num_bits\":8,\"type\":\"float\",\"strategy\":\"block\",\"block_structure\":[32,32]}}}}"),
            ("\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"float-quantized\"," /* all in one row, and a square is higher */
             "\"config_groups\":{\"group_0\":{\"weights\":{\"num_bits\":8,\"type\":\"float\",\"strategy\":\"block\",\"block_structure\":[48,48]}}}}"),
            "\"quantization_config\":{\"quant_method\":\"fp8\",\"fmt\":\"e4m3\",\"weight_block_size\":[16, 16]}" /* with ModelOpt's way to write scales */
        };
        static const size_t heights[] = { 128, 24, 16, 16, 24, 40, 16, 32, 48, 16 }, widths[] = { 128, 24, 16, 16, 16, 24, 32, 32, 48, 16 };
        static const char *const shapes[] = { "1,1", "2,3", "2,4", "2,4", "2,4", "1,3", "2,2", "1,2", "1,2", "2,1,4,1" };
        const size_t side = heights[form], width = widths[form], across = (IP_COLS + width - 1) / width;
        const bool as_powers = form == 6; /* scales are powers of two */
        unsigned char steps[12];
        lb_test_case("fp8 with scales of squares: %s", configs[form]);
        for (size_t i = 0; i < 12; i++) {
            steps[i] = (unsigned char)(120 + i);
            scales[i] = as_powers ? ldexpf(1.0f, steps[i] - 127) : 0.25f + (float)i;
        }
        for (size_t r = 0; r < IP_ROWS; r++) {
            for (size_t c = 0; c < IP_COLS; c++) {
                const unsigned e = (unsigned)(lb_test_random() % 15), f = (unsigned)(lb_test_random() % 8), minus = (unsigned)(lb_test_random() % 2);
                codes[r][c] = (unsigned char)(minus << 7 | e << 3 | f);
                const float size = e ? ldexpf(1.0f + (float)f / 8.0f, (int)e - 7) : ldexpf((float)f / 8.0f, -6);
                want[r * IP_COLS + c] = (minus ? -size : size) * scales[r / side * across + c / width];
            }
        }
        ip_begin(&s);
        ip_put(&s, ".weight", "F8_E4M3", "32,64", codes, sizeof codes);
        const size_t n = (IP_ROWS + side - 1) / side * across;
        ip_put(&s, form == 2 || form == 5 || form >= 7 ? ".weight_scale" : ".weight_scale_inv", as_powers ? "F8_E8M0" : "F32", shapes[form],
               as_powers ? (const void *)steps : scales, as_powers ? n : 4 * n);
        ip_put(&s, form == 1 ? ".act_scale" : ".activation_scale", "F32", "", scales, 4);
        ip_compare(&s, configs[form], want, 0.0f);
    }
    lb_test_case("fp8 with exponents for groups of columns (MXFP8)");
    static unsigned char exponents[IP_ROWS][2];
    static float powers[IP_ROWS * IP_COLS];
    for (size_t i = 0; i < IP_ROWS * IP_COLS; i++) {
        unsigned char *e = &exponents[i / IP_COLS][i % IP_COLS / 32];
        *e = i % 32 == 0 ? (unsigned char)(100 + lb_test_random() % 50) : *e;
        powers[i] = ldexpf(want[i] / scales[i / IP_COLS / 16 * 4 + i % IP_COLS / 16], *e - 127);
    }
    for (int form = 0; form < 3; form++) {
        ip_begin(&s);
        ip_put(&s, ".weight", "F8_E4M3", "32,64", codes, sizeof codes);
        ip_put(&s, ".weight_scale", form ? "U8" : "F8_E8M0", "32,2", exponents, sizeof exponents);
        ip_compare(&s, form == 2 ? "\"quantization_config\":{\"quant_method\":\"modelopt\",\"quant_algo\":\"MXFP8\"}"
                                 : "\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"mxfp8-quantized\"}", powers, 1e-6f);
    }
    ip_begin(&s);
    ip_put(&s, ".weight", "I8", "32,64", codes, sizeof codes);
    ip_put(&s, ".weight_scale", "U8", "32,2", exponents, sizeof exponents);
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"compressed-tensors\"}", "holds no scales");
    lb_test_case("fp8 with one scale: ModelOpt's");
    for (size_t i = 0; i < IP_ROWS * IP_COLS; i++) {
        want[i] *= 0.5f / scales[i / IP_COLS / 16 * 4 + i % IP_COLS / 16];
    }
    const float half = 0.5f;
    static const char *const algorithms[] = { /* from the seventh on none that is read */
        "\"quant_method\":\"modelopt\",\"quant_algo\":\"FP8\"",
        "\"quant_method\":\"modelopt_fp4\",\"quant_algo\":\"W4A16_NVFP4\"",
        "\"quant_method\":\"modelopt\",\"quant_algo\":\"FP8_PER_CHANNEL_PER_TOKEN\"",
        "\"quant_method\":\"modelopt\",\"quant_algo\":\"fp8_pb_wo\"",
        "\"producer\":{\"name\":\"modelopt\"},\"quantization\":{\"quant_algo\":\"FP8\"}",
        "\"quant_method\":\"modelopt\",\"quant_algo\":\"MIXED_PRECISION\",\"quantized_layers\":{\"a\":{\"quant_algo\":\"NVFP4\"},\"b\":{\"quant_algo\":\"FP8\"}}",
        "\"quant_method\":\"modelopt\",\"quant_algo\":\"W4A8_AWQ\"",
        "\"quant_method\":\"modelopt\"",
        "\"producer\":{\"name\":\"modelopt\"},\"quantization\":{\"quant_algo\":\"NVFP4_SVD\"}",
        "\"quant_method\":\"modelopt\",\"quant_algo\":\"MIXED_PRECISION\",\"quantized_layers\":{\"a\":{\"quant_algo\":\"NVFP4\"},\"b\":{\"quant_algo\":\"W8A8_SQ_PER_CHANNEL\"}}"
    };
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
        char config[256];
        snprintf(config, sizeof config, "\"quantization_config\":{%s}", algorithms[i]);
        ip_begin(&s);
        ip_put(&s, ".weight", "F8_E4M3", "32,64", codes, sizeof codes);
        ip_put(&s, ".weight_scale", "F32", "", &half, 4);
        ip_put(&s, ".input_scale", "F32", "", &half, 4);
        if (i < 6) {
            ip_compare(&s, config, want, 1e-6f);
        } else {
            ip_refused(&s, config, "quant_algo");
        }
    }
    lb_test_case("fp8: what is wrong");
    ip_begin(&s);
    ip_put(&s, ".weight_scale_inv", "F32", "2,4", scales, 32);
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[16,16]}", "lacks its weight");
    ip_begin(&s);
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[16,0]}", "weight_block_size");
    ip_begin(&s);
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"fp8\",\"fmt\":\"e5m2\"}", "e4m3");
}

static void ic_test_books(void)
{
    enum { BOOKS = 2, WIDTH = 8, PER = IP_COLS / WIDTH };
    static const char config[] = "\"quantization_config\":{\"quant_method\":\"aqlm\",\"num_codebooks\":2,\"out_group_size\":1,\"in_group_size\":8}";
    static uint16_t books[BOOKS << 12][WIDTH], scales[IP_ROWS], wide[IP_ROWS][PER][BOOKS];
    static unsigned char narrow[IP_ROWS][PER][BOOKS];
    static float want[IP_ROWS * IP_COLS];
    mk_safetensors s;
    char shape[32];
    for (unsigned bits = 4; bits <= 12; bits += 4) {
        lb_test_case("AQLM: two codebooks of %u bits", bits);
        for (size_t i = 0; i < (size_t)BOOKS << bits; i++) {
            for (size_t k = 0; k < WIDTH; k++) {
                books[i][k] = lb_f32_to_f16((float)(lb_test_random() % 512) / 64.0f - 4.0f);
            }
        }
        for (size_t r = 0; r < IP_ROWS; r++) {
            scales[r] = lb_f32_to_f16(0.125f * (float)(r + 1));
            for (size_t j = 0; j < PER; j++) {
                for (size_t b = 0; b < BOOKS; b++) { /* what is above the bits does not count */
                    wide[r][j][b] = (uint16_t)lb_test_random();
                    narrow[r][j][b] = (unsigned char)wide[r][j][b];
                }
                for (size_t k = 0; k < WIDTH; k++) {
                    float sum = 0.0f;
                    for (size_t b = 0; b < BOOKS; b++) {
                        sum += lb_f16_to_f32(books[(b << bits) + (wide[r][j][b] & ((1u << bits) - 1))][k]);
                    }
                    want[r * IP_COLS + j * WIDTH + k] = lb_f16_to_f32(scales[r]) * sum;
                }
            }
        }
        ip_begin(&s);
        ip_put(&s, ".codes", bits > 8 ? "I16" : "I8", "32,8,2", bits > 8 ? (const void *)wide : narrow, bits > 8 ? sizeof wide : sizeof narrow);
        snprintf(shape, sizeof shape, "2,%u,1,8", 1u << bits);
        ip_put(&s, ".codebooks", "F16", shape, books, ((size_t)BOOKS << bits) * sizeof books[0]);
        ip_put(&s, ".scales", "F16", "32,1,1,1", scales, sizeof scales);
        ip_compare(&s, config, want, 0.0f);
    }
    lb_test_case("AQLM: vectors over four rows");
    for (size_t r = 0; r < IP_ROWS; r++) {
        for (size_t c = 0; c < IP_COLS; c++) { /* books [2][16][4][4], codes [8][16][2] */
            float sum = 0.0f;
            for (size_t b = 0; b < BOOKS; b++) {
                const unsigned v = ((unsigned char *)narrow)[(r / 4 * 16 + c / 4) * BOOKS + b] & 15u;
                sum += lb_f16_to_f32(((uint16_t *)books)[((b * 16 + v) * 4 + r % 4) * 4 + c % 4]);
            }
            want[r * IP_COLS + c] = lb_f16_to_f32(scales[r / 4]) * sum;
        }
    }
    ip_begin(&s);
    ip_put(&s, ".codes", "I8", "8,16,2", narrow, 256);
    ip_put(&s, ".codebooks", "F16", "2,16,4,4", books, 1024);
    ip_put(&s, ".scales", "F16", "8,1,1,1", scales, 16);
    ip_compare(&s, config, want, 0.0f);
    lb_test_case("AQLM: what is wrong");
    for (int wrong = 0; wrong < 5; wrong++) {
        static const char *const said[] = { "lacks its codebooks", "type that does not hold such codes", "ask for 32 of 64", "power of two", "a scale for each row" };
        static const char *const shapes[] = { "", "2,4096,1,8", "2,8,2,8", "2,12,1,8", "2,16,1,8" };
        static const size_t vectors[] = { 0, 8192, 32, 24, 32 };
        ip_begin(&s);
        ip_put(&s, ".codes", "I8", "32,8,2", narrow, sizeof narrow);
        if (wrong > 0) {
            ip_put(&s, ".codebooks", "F16", shapes[wrong], books, vectors[wrong] * sizeof books[0]);
        }
        ip_put(&s, ".scales", "F16", wrong == 4 ? "16,1,1,1" : "32,1,1,1", scales, wrong == 4 ? 32 : 64);
        ip_refused(&s, config, said[wrong]);
    }
}

/* form 0: compressed-tensors' NVFP4, 1: its MXFP4, 2: ModelOpt's NVFP4, 3: MXFP4 with exponents of a type of their own */
static void ic_test_fp4(void)
{
    static const char *const configs[] = { "\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"nvfp4-pack-quantized\"}",
                                           ("\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"mixed-precision\","
                                            "\"config_groups\":{\"group_0\":{\"format\":\"mxfp4-pack-quantized\"}}}"),
                                           "\"quantization_config\":{\"quant_method\":\"modelopt\",\"quant_algo\":\"NVFP4\"}",
                                           "\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"mxfp4-pack-quantized\"}" };
    static const float sizes[8] = { 0, 0.5f, 1, 1.5f, 2, 3, 4, 6 };
    static unsigned char codes[IP_ROWS][IP_COLS / 2], scales[IP_ROWS][IP_COLS / 16];
    static float want[IP_ROWS * IP_COLS];
    const float all = 48.0f, part = 0.125f;
    mk_safetensors s;
    for (int form = 0; form < 4; form++) {
        const unsigned width = form % 2 ? 32 : 16, groups = IP_COLS / width;
        lb_test_case("fp4: %s", configs[form]);
        for (size_t r = 0; r < IP_ROWS; r++) {
            for (size_t g = 0; g < groups; g++) {
                ((unsigned char *)scales)[r * groups + g] = (unsigned char)(form % 2 ? 120 + lb_test_random() % 10 : lb_test_random() % 127);
            }
            for (size_t c = 0; c < IP_COLS; c++) {
                const unsigned v = (unsigned)(lb_test_random() % 16), b = ((unsigned char *)scales)[r * groups + c / width];
                codes[r][c / 2] = (unsigned char)(c % 2 ? codes[r][c / 2] | v << 4 : v);
                const float scale = form % 2 ? exp2f((float)b - 127.0f) : b < 8 ? (float)b / 512.0f : (1.0f + (float)(b % 8) / 8.0f) * exp2f((float)(b / 8) - 7.0f);
                want[r * IP_COLS + c] = (v & 8 ? -1.0f : 1.0f) * sizes[v & 7] * scale * (form == 0 ? 1.0f / all : form % 2 ? 1.0f : part);
            }
        }
        ip_begin(&s);
        ip_put(&s, form == 2 ? ".weight" : ".weight_packed", "U8", "32,32", codes, sizeof codes);
        ip_put(&s, ".weight_scale", form == 1 ? "U8" : form == 3 ? "F8_E8M0" : "F8_E4M3", form % 2 ? "32,2" : "32,4", scales, (size_t)IP_ROWS * groups);
        if (form % 2 == 0) {
            ip_put(&s, form == 0 ? ".weight_global_scale" : ".weight_scale_2", "F32", form == 0 ? "1" : "", form == 0 ? &all : &part, 4);
            ip_put(&s, form == 0 ? ".input_global_scale" : ".input_scale", "F32", "1", &all, 4);
        }
        ip_compare(&s, configs[form], want, 1e-6f);
    }

    lb_test_case("fp4: what is wrong");
    for (int wrong = 0; wrong < 7; wrong++) {
        static const char *const said[] = { "one scale of all", "are exponents", "lacks its weight_scale", "for each row and group", "no single number", "is no scale", "no matrix of nibbles" };
        const float zero = 0.0f;
        ip_begin(&s);
        ip_put(&s, ".weight_packed", "U8", wrong == 6 ? "32,8,4" : "32,32", codes, sizeof codes);
        if (wrong != 2) {
            ip_put(&s, ".weight_scale", wrong == 1 ? "U8" : "F8_E4M3", wrong == 3 ? "32,3" : "32,4", scales, wrong == 3 ? 96 : 128);
        }
        if (wrong != 0) {
            ip_put(&s, ".weight_global_scale", "F32", wrong == 4 ? "2" : "1", wrong == 5 ? &zero : want, wrong == 4 ? 8 : 4);
        }
        ip_refused(&s, configs[0], said[wrong]);
    }
}

void test_import_codes(void)
{
    ic_test_books();
    ic_test_fp4();
    ic_test_fp8();
    ic_test_gptq();
    ic_test_auto_round();
    ic_test_awq();
    ic_test_packed();
    ic_test_table(false);
    ic_test_table(true);
    ic_test_int8();
    ic_test_int8_zeros();
    ic_test_ends();
}
