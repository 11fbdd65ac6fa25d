/*
 * Matrices of other people's codes (formats/import/lb_codes.h): GPTQ in all widths, orders and both forms of zeros, AWQ, compressed-tensors' packed words.
 * One matrix of a tiny model is packed here by the formats' definitions, code by code; what the source gives must be scale * (code - zero). Then what is wrong.
 */
#include <stdio.h>
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
    ip_refused(&s, four, "in a width that this layout has");
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
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4}", "in a width that this layout has");
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

void test_import_codes(void)
{
    ic_test_gptq();
    ic_test_auto_round();
    ic_test_awq();
    ic_test_packed();
    ic_test_ends();
}
