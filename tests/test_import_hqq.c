/*
 * HQQ's matrices in a Hugging Face folder (formats/import/lb_codes.h): every packing, groups along the rows and across, widths that do not fill the words. One matrix of a
 * tiny model is packed here by the format's definition; what the source gives must be (code - zero) * scale. Then what is wrong.
 */
#include <stdio.h>
#include <string.h>

#include "../kernels/lb_math.h"
#include "import_matrix.h"
#include "lb_test.h"

void test_import_hqq(void);

enum { HQ_NUMBERS = IP_ROWS * IP_COLS };

typedef struct hq_packing {
    const char *name;
    unsigned bits, per, bytes;
} hq_packing;

static const hq_packing hq_packings[] = { { "8bit_u8", 8, 1, 1 }, { "4bit_u8", 4, 2, 1 }, { "3bit_32", 3, 10, 4 }, { "2bit_u8", 2, 4, 1 }, { "1bit_u8", 1, 8, 1 } };

static const char hq_config[] = "\"quantization_config\":{\"quant_method\":\"hqq\",\"quant_config\":{\"weight_quant_params\":{\"nbits\":4}}}";

static unsigned char hq_words[4 * HQ_NUMBERS];
static uint16_t hq_scales[HQ_NUMBERS], hq_zeros[HQ_NUMBERS];
static float hq_want[HQ_NUMBERS];
static size_t hq_bytes, hq_groups;

/* The matrix as a table of rows that are groups, or of columns that are: the rows are packed together, those `lines` apart in one word. */
static void hq_pack(const hq_packing *p, size_t width, bool across)
{
    hq_groups = HQ_NUMBERS / width;
    const size_t table_rows = across ? width : hq_groups, table_cols = HQ_NUMBERS / table_rows, lines = (table_rows + p->per - 1) / p->per;
    hq_bytes = lines * table_cols * p->bytes;
    memset(hq_words, 0, sizeof hq_words);
    for (size_t g = 0; g < hq_groups; g++) {
        hq_scales[g] = lb_f32_to_f16(0.01f + (float)(lb_test_random() % 1000) / 1000.0f);
        hq_zeros[g] = lb_f32_to_f16((float)(lb_test_random() % 1000) / 64.0f);
    }
    for (size_t r = 0; r < table_rows; r++) {
        for (size_t c = 0; c < table_cols; c++) {
            const uint32_t code = (uint32_t)(lb_test_random() % (1u << p->bits));
            const size_t g = across ? c : r;
            unsigned char *at = hq_words + (r % lines * table_cols + c) * p->bytes;
            const unsigned shift = p->bits * (p->per - 1 - (unsigned)(r / lines));
            for (unsigned b = 0; b < p->bytes; b++) {
                at[b] = (unsigned char)(at[b] | code << shift >> 8 * b);
            }
            hq_want[r * table_cols + c] = ((float)code - lb_f16_to_f32(hq_zeros[g])) * lb_f16_to_f32(hq_scales[g]);
        }
    }
}

/* All but the parts that are one of `without` */
static void hq_put(mk_safetensors *s, const hq_packing *p, bool across, bool as_floats, int without)
{
    const int64_t sides[2] = { IP_ROWS, IP_COLS };
    const int32_t axis = across ? 0 : 1;
    char words[32], groups[32];
    snprintf(words, sizeof words, "%zu", hq_bytes / (as_floats ? 2 : p->bytes));
    snprintf(groups, sizeof groups, across ? "1,%zu" : "%zu,1", hq_groups);
    const struct {
        const char *name, *dtype, *shape;
        const void *data;
        size_t bytes;
    } parts[] = { { ".W_q", as_floats ? "F16" : p->bytes == 4 ? "I32" : "U8", words, hq_words, hq_bytes },
                  { ".scale", "F16", groups, hq_scales, hq_groups * 2 },
                  { ".zero", "F16", groups, hq_zeros, hq_groups * 2 },
                  { ".shape", "I64", "2", sides, sizeof sides },
                  { ".axis", "I32", "", &axis, 4 },
                  { ".packing", "U8", "7", p->name, 7 },
                  { ".nbits", "I32", "", &axis, 4 },
                  { ".compute_dtype", "U8", "13", "torch.float16", 13 },
                  { ".stores_quant_config", "U8", "", "\1", 1 } };
    ip_begin(s);
    for (int i = 0; i < (int)(sizeof parts / sizeof parts[0]); i++) {
        if (i != without) {
            ip_put(s, parts[i].name, parts[i].dtype, parts[i].shape, parts[i].data, parts[i].bytes);
        }
    }
}

void test_import_hqq(void)
{
    mk_safetensors s;
    for (size_t i = 0; i < sizeof hq_packings / sizeof hq_packings[0]; i++) {
        for (int across = 0; across < 2; across++) {
            for (size_t width = 16; width <= 64; width *= 4) {
                lb_test_case("HQQ: %s, groups of %zu %s", hq_packings[i].name, width, across ? "across" : "along the rows");
                hq_pack(&hq_packings[i], width, across);
                hq_put(&s, &hq_packings[i], across, width == 16, -1);
                ip_compare(&s, hq_config, hq_want, 0.0f);
            }
        }
    }
    static const char *const missing[] = { "lacks its W_q", "lacks its scale", "lacks its zero", "lacks its shape", "lacks its axis", "lacks its packing" };
    for (int i = 0; i < 6; i++) {
        lb_test_case("HQQ %s", missing[i]);
        hq_pack(&hq_packings[1], 64, false);
        hq_put(&s, &hq_packings[1], false, false, i);
        ip_refused(&s, hq_config, missing[i]);
    }
    static const char *const said[] = { "names no packing", "is neither 0 nor 1", "does not hold a scale", "does not hold a zero", "does not hold the codes", "impossible shape",
                                        "is no shape" };
    for (int i = 0; i < 7; i++) {
        lb_test_case("HQQ: what is wrong, %s", said[i]);
        const int32_t two = 2;
        const int64_t sides[3] = { i == 5 ? 0 : IP_ROWS, IP_COLS, 1 };
        hq_put(&s, &hq_packings[1], false, false, (const int[]){ 5, 4, 1, 2, 0, 3, 3 }[i]);
        switch (i) {
        case 0: ip_put(&s, ".packing", "U8", "7", "5bit_u8", 7); break;
        case 1: ip_put(&s, ".axis", "I32", "", &two, 4); break;
        case 2: ip_put(&s, ".scale", "F16", "31,1", hq_scales, 62); break;
        case 3: ip_put(&s, ".zero", "F16", "16,1", hq_zeros, 32); break;
        case 4: ip_put(&s, ".W_q", "U8", "512", hq_words, 512); break;
        default: ip_put(&s, ".shape", "I64", i == 5 ? "2" : "3", sides, i == 5 ? 16 : 24); break;
        }
        ip_refused(&s, hq_config, said[i]);
    }
}
