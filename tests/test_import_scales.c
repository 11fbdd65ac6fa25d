/*
 * Matrices in a Hugging Face folder that are numbers with scales (int8, fp8, fp4) or places in tables and books (bitsandbytes' nibbles, AQLM). One matrix of a tiny model is made
 * here by the formats' definitions; the source must give the same numbers. Then what is wrong.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/lb_math.h"
#include "import_matrix.h"
#include "lb_test.h"

void test_import_scales(void);

/* nested: sizes are bytes, of a table of 256, times a size for 8 of them, plus an offset */
static void is_test_table(bool nested)
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

static void is_test_int8(void)
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
        char length[24];
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
static void is_test_int8_zeros(void)
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

static void is_test_fp8(void)
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

static void is_test_books(void)
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
static void is_test_fp4(void)
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
void test_import_scales(void)
{
    is_test_table(false);
    is_test_table(true);
    is_test_int8();
    is_test_int8_zeros();
    is_test_fp8();
    is_test_books();
    is_test_fp4();
}
