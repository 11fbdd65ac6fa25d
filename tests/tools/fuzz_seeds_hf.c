/* Seeds of the target safetensors (fuzz_seeds.h): models of width 16, one or more for each kind of lb_fuzz_hf.h. */
#include "fuzz_seeds.h"

#include <stdio.h>
#include <string.h>

#include "../fuzz/lb_fuzz_hf.h"

static void begin_st(mk_safetensors *s)
{
    *s = (mk_safetensors){ { NULL, 0, 0 }, { NULL, 0, 0 } };
}

static void end_st(mk_safetensors *s, int first, const char *name)
{
    mk_blob b = { NULL, 0, 0 };
    mk_st_end(s, &b);
    put("safetensors", name, first, b.data, b.n);
    mk_free(&b);
}

/* A model of one layer without some of its matrices. */
static void begin_model(mk_safetensors *s, const char *dtype, const char *except)
{
    begin_st(s);
    lb_fuzz_hf_put_ends(s, dtype, 16, 16);
    lb_fuzz_hf_put_layer(s, dtype, 0, &LB_FUZZ_HF_USUAL, except);
}

#define LAYER "model.layers.0."
#define DOWN  LAYER "mlp.down_proj"
#define QUERY LAYER "self_attn.q_proj"

static void seeds_st_plain(void)
{
    mk_safetensors s;
    static const char *const types[] = { "F32", "BF16", "F16" };
    for (size_t i = 0; i < 3; i++) {
        begin_model(&s, types[i], NULL);
        if (i == 2) { /* not needed */
            lb_fuzz_hf_tensor(&s, LAYER "self_attn.rotary_emb.inv_freq", "F32", 1, 4);
        }
        end_st(&s, i == 2 ? LB_FUZZ_HF_MISTRAL : LB_FUZZ_HF_LLAMA, types[i]);
    }
    begin_st(&s);
    mk_st_tensor(&s, "a.weight", "F16", "2,3", "123456789012", 12);
    mk_st_tensor(&s, "b", "I64", "1", "12345678", 8);
    end_st(&s, LB_FUZZ_HF_LLAMA, "two");

    static const struct {
        const char *name;
        uint32_t cols;
    } biases[] = { { "self_attn.q_proj", 16 }, { "self_attn.k_proj", 8 },  { "self_attn.v_proj", 8 }, { "self_attn.o_proj", 16 },
                   { "mlp.gate_proj", 16 },    { "mlp.up_proj", 16 },      { "mlp.down_proj", 16 } };
    for (int qwen2 = 0; qwen2 < 2; qwen2++) {
        begin_model(&s, "F16", NULL);
        for (size_t i = 0; i < (qwen2 ? 3 : 7); i++) {
            char name[100];
            snprintf(name, sizeof name, LAYER "%s.bias", biases[i].name);
            lb_fuzz_hf_tensor(&s, name, "F16", 1, biases[i].cols);
        }
        if (!qwen2) {
            lb_fuzz_hf_tensor(&s, "lm_head.weight", "F16", MK_VOCAB, 16);
        }
        end_st(&s, qwen2 ? LB_FUZZ_HF_QWEN2 : LB_FUZZ_HF_BIASES, qwen2 ? "qwen2" : "biases");
    }
    begin_st(&s);
    lb_fuzz_hf_put_ends(&s, "F16", 0, 16); /* one matrix for both, under the head's name */
    lb_fuzz_hf_tensor(&s, "lm_head.weight", "F16", MK_VOCAB, 16);
    lb_fuzz_hf_put_layer(&s, "F16", 0, &LB_FUZZ_HF_USUAL, NULL);
    lb_fuzz_hf_tensor(&s, LAYER "self_attn.q_norm.weight", "F16", 1, 8);
    lb_fuzz_hf_tensor(&s, LAYER "self_attn.k_norm.weight", "F16", 1, 8);
    end_st(&s, LB_FUZZ_HF_QWEN3, "qwen3");
}

/* Packed bytes, four rows in one, and their scale; or floats that stand for ternary weights. */
static void seeds_st_bitnet(void)
{
    static const char *const names[] = { "bitnet-master", "bitnet-divide", "bitnet-multiply" };
    static const struct {
        const char *name;
        uint32_t rows;
    } matrices[] = { { "self_attn.q_proj", 16 }, { "self_attn.k_proj", 8 }, { "self_attn.v_proj", 8 }, { "self_attn.o_proj", 16 },
                     { "mlp.gate_proj", 16 },    { "mlp.up_proj", 16 },     { "mlp.down_proj", 16 } };
    for (unsigned form = 0; form < 3; form++) {
        mk_safetensors s;
        begin_model(&s, "BF16", form ? "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj mlp.gate_proj mlp.up_proj mlp.down_proj" : NULL);
        lb_fuzz_hf_tensor(&s, LAYER "self_attn.attn_sub_norm.weight", "BF16", 1, 16);
        lb_fuzz_hf_tensor(&s, LAYER "mlp.ffn_sub_norm.weight", "BF16", 1, 16);
        for (size_t i = 0; form && i < 7; i++) {
            char name[100], shape[16];
            unsigned char codes[64];
            for (size_t k = 0; k < sizeof codes; k++) {
                codes[k] = (unsigned char)((k % 3) | (k / 3 % 3) << 2 | (k / 5 % 3) << 4 | (k / 7 % 3) << 6);
            }
            snprintf(name, sizeof name, LAYER "%s.weight", matrices[i].name);
            snprintf(shape, sizeof shape, "%u,16", matrices[i].rows / 4);
            mk_st_tensor(&s, name, "U8", shape, codes, matrices[i].rows * 4);
            snprintf(name, sizeof name, LAYER "%s.weight_scale", matrices[i].name);
            mk_st_tensor(&s, name, "BF16", "1", "\x20\x40", 2); /* 2.5 */
        }
        end_st(&s, LB_FUZZ_HF_BITNET_MASTER + (int)form + (form == 1 ? LB_FUZZ_HF_CONVERT : 0), names[form]);
    }
}

/* Layers that differ: heads, widths of values, widths of layers with matrices beside them that turn from one to the next (SliceGPT). */
static void seeds_st_unequal(void)
{
    static const lb_fuzz_hf_layer heads[2] = { { 16, 8, 8, 16, 16, 16, 16, 16, true }, { 8, 8, 8, 8, 8, 16, 16, 16, true } };
    static const lb_fuzz_hf_layer values[2] = { { 16, 8, 8, 8, 16, 16, 16, 16, true }, { 32, 16, 16, 16, 8, 16, 16, 16, true } };
    static const lb_fuzz_hf_layer sliced[2] = { { 16, 8, 8, 16, 10, 12, 10, 14, false }, { 16, 8, 8, 16, 16, 14, 14, 12, false } };
    static const struct {
        const lb_fuzz_hf_layer *layers;
        lb_fuzz_hf_kind kind;
        const char *name;
    } models[] = { { heads, LB_FUZZ_HF_UNEQUAL, "unequal" },
                   { values, LB_FUZZ_HF_UNEQUAL_VALUES, "unequal-values" },
                   { sliced, LB_FUZZ_HF_TWO_LAYERS, "sliced" } };
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        mk_safetensors s;
        const bool slices = i == 2;
        begin_st(&s);
        lb_fuzz_hf_put_ends(&s, "BF16", models[i].layers[0].in, slices ? 0 : 16);
        for (unsigned k = 0; k < 2; k++) {
            const lb_fuzz_hf_layer *l = &models[i].layers[k];
            lb_fuzz_hf_put_layer(&s, "BF16", k, l, NULL);
            for (unsigned ffn = 0; slices && ffn < 2; ffn++) {
                char name[64];
                const uint32_t from = ffn ? l->mid : l->in, to = ffn ? l->out : l->mid;
                snprintf(name, sizeof name, "model.layers.%u.%s_shortcut_Q", k, ffn ? "mlp" : "attn");
                if (from != to) {
                    lb_fuzz_hf_tensor(&s, name, "BF16", from, to);
                }
            }
        }
        if (slices) {
            lb_fuzz_hf_tensor(&s, "lm_head.weight", "BF16", MK_VOCAB, models[i].layers[1].out);
        }
        end_st(&s, LB_FUZZ_HF_CONVERT + (int)models[i].kind, models[i].name);
    }
}

/* DOWN, 16 x 16, as a mask and values: two of four columns, or with offsets of rows any. */
static void put_masked(mk_safetensors *s, const char *dtype, size_t number, bool offsets)
{
    const uint64_t sides[2] = { 16, 16 };
    unsigned char mask[32], values[16 * 16];
    uint64_t rows[16];
    size_t n = 0;
    for (size_t i = 0; i < sizeof values; i++) {
        values[i] = (unsigned char)(i * 37 % 96 + (number == 1 || i % 2 == 0 ? 0 : 32)); /* no infinities */
    }
    for (size_t r = 0; r < 16; r++) {
        rows[r] = n;
        for (size_t i = 0; i < 2; i++) {
            static const unsigned char fours[] = { 0x35, 0xc3, 0x9a }, any[] = { 0x01, 0xff, 0x00, 0x5a };
            mask[2 * r + i] = offsets ? any[(r + i) % 4] : fours[(r + i) % 3];
            n += (size_t)__builtin_popcount(mask[2 * r + i]);
        }
    }
    char shape[32];
    snprintf(shape, sizeof shape, offsets ? "%zu" : "16,%zu", offsets ? n : n / 16);
    mk_st_tensor(s, offsets ? DOWN ".weight.compressed" : DOWN ".compressed", dtype, shape, values, n * number);
    mk_st_tensor(s, offsets ? DOWN ".weight.bitmask" : DOWN ".bitmask", "U8", "16,2", mask, sizeof mask);
    mk_st_tensor(s, offsets ? DOWN ".weight.shape" : DOWN ".shape", "I64", "2", sides, sizeof sides);
    if (offsets) {
        mk_st_tensor(s, DOWN ".weight.row_offsets", "I64", "16", rows, sizeof rows);
    }
}

static void seeds_st_parts(void)
{
    mk_safetensors s;
    unsigned char bytes[16 * 16];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(i * 59 % 251); /* 0x7f and 0xff, no numbers as fp8, are rare */
    }
    begin_model(&s, "BF16", "mlp.down_proj");
    put_masked(&s, "BF16", 2, false);
    end_st(&s, LB_FUZZ_HF_SPARSE_24, "sparse-24");
    begin_model(&s, "BF16", "mlp.down_proj");
    put_masked(&s, "BF16", 2, true);
    end_st(&s, LB_FUZZ_HF_SPARSE, "sparse");
    begin_model(&s, "BF16", "mlp.down_proj self_attn.q_proj");
    mk_st_tensor(&s, DOWN ".weight", "I8", "16,16", bytes, sizeof bytes);
    lb_fuzz_hf_tensor(&s, DOWN ".weight_scale", "F32", 16, 2); /* of groups of 8 */
    mk_st_tensor(&s, QUERY ".weight", "I8", "16,16", bytes, sizeof bytes);
    lb_fuzz_hf_tensor(&s, QUERY ".weight_scale", "BF16", 16, 1);
    end_st(&s, LB_FUZZ_HF_INT8, "int8");
    begin_model(&s, "BF16", "mlp.down_proj");
    mk_st_tensor(&s, DOWN ".weight", "F8_E4M3", "16,16", bytes, sizeof bytes);
    lb_fuzz_hf_tensor(&s, DOWN ".weight_scale", "F32", 1, 1);
    lb_fuzz_hf_tensor(&s, DOWN ".input_scale", "F32", 1, 1);
    lb_fuzz_hf_tensor(&s, LAYER "self_attn.k_proj.output_scale", "F32", 1, 1);
    end_st(&s, LB_FUZZ_HF_FP8, "fp8");
    begin_model(&s, "BF16", "mlp.down_proj");
    put_masked(&s, "F8_E4M3", 1, false);
    lb_fuzz_hf_tensor(&s, DOWN ".weight_scale", "BF16", 16, 1);
    end_st(&s, LB_FUZZ_HF_NAIVE, "sparse-24-fp8");

    for (unsigned turns = 0; turns < 2; turns++) { /* outliers of 16 rows in turn, and then in another order of columns */
        uint32_t offsets[17], outliers[32];
        uint16_t order[16];
        for (size_t i = 0; i < 17; i++) {
            offsets[i] = (uint32_t)(turns ? i * 32 : i * 2);
        }
        for (size_t i = 0; i < 32; i++) {
            outliers[i] = (uint32_t)(0x3c00 + i * 64) << 16 | (uint32_t)(i * 5 % 16);
        }
        for (size_t i = 0; i < 16; i++) {
            order[i] = (uint16_t)(i * 7 % 16);
        }
        begin_model(&s, "BF16", "self_attn.q_proj");
        mk_st_tensor(&s, QUERY ".dense_weights", "I64", "16", bytes, 128);
        mk_st_tensor(&s, QUERY ".row_offsets", "I32", turns ? "2" : "17", offsets, turns ? 8 : sizeof offsets);
        mk_st_tensor(&s, QUERY ".col_vals", "I32", "32", outliers, sizeof outliers);
        if (turns) {
            mk_st_tensor(&s, QUERY ".in_perm", "I32", "8", order, sizeof order);
        }
        end_st(&s, LB_FUZZ_HF_SPQR + (turns ? LB_FUZZ_HF_CONVERT : 0), turns ? "spqr-turns" : "spqr");
    }

    begin_model(&s, "BF16", "mlp.down_proj mlp.up_proj self_attn.q_proj");
    lb_fuzz_hf_tensor(&s, DOWN ".ALinear.weight", "F32", 16, 3);
    lb_fuzz_hf_tensor(&s, DOWN ".BLinear.weight", "F16", 3, 16);
    lb_fuzz_hf_tensor(&s, LAYER "mlp.up_u_proj.weight", "F16", 16, 2);
    lb_fuzz_hf_tensor(&s, LAYER "mlp.up_v_proj.weight", "F16", 2, 16);
    lb_fuzz_hf_tensor(&s, QUERY ".1.weight", "F16", 16, 2);
    lb_fuzz_hf_tensor(&s, QUERY ".0.weight", "F16", 2, 16);
    end_st(&s, LB_FUZZ_HF_CONVERT + LB_FUZZ_HF_LLAMA, "factors");
}

/* Matrices of codes: words of anything are codes. */
static void seeds_st_codes(void)
{
    static const uint32_t words[32] = { 0x76543210, 0xfedcba98, 0x01234567, 0x89abcdef, 0x11111111, 0x22222222, 0x88888888, 0x77777777 };
    static const uint16_t scales[32] = { 0x3c00, 0x3800, 0x3400, 0x3000, 0x3c00, 0x3c00, 0x3c00, 0x3c00, 0x2c00, 0x2c00, 0x3c00, 0x3c00, 0x3c00, 0x3c00, 0x3c00, 0x3c00,
                                         0x3c00, 0x3800, 0x3400, 0x3000, 0x3c00, 0x3c00, 0x3c00, 0x3c00, 0x2c00, 0x2c00, 0x3c00, 0x3c00, 0x3c00, 0x3c00, 0x3c00, 0x3c00 };
    static const int32_t groups[16] = { 0, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0, 1 };
    static const float numbers[256] = { -1, -0.5f, 0, 0.5f, 1 };
    static const int64_t shape[2] = { 16, 16 };
    mk_safetensors s;
    static const int gptq[] = { LB_FUZZ_HF_GPTQ, LB_FUZZ_HF_GPTQ_SECOND, LB_FUZZ_HF_GPTQ_PLANES, LB_FUZZ_HF_GPTQ_BORROWS };
    static const char *const gptq_names[] = { "gptq", "gptq-second", "gptq-planes", "gptq-borrows" };
    for (int i = 0; i < 4; i++) {
        const bool second = i == 1;
        begin_model(&s, "BF16", "mlp.down_proj");
        mk_st_tensor(&s, DOWN ".qweight", "I32", second ? "1,16" : "2,16", words, second ? 64 : 128);
        mk_st_tensor(&s, DOWN ".qzeros", "I32", second ? "2,1" : "2,2", words, second ? 8 : 16);
        mk_st_tensor(&s, DOWN ".scales", "F16", "2,16", scales, 64);
        mk_st_tensor(&s, DOWN ".g_idx", "I32", "16", groups, sizeof groups);
        mk_st_tensor(&s, DOWN ".bias", "F16", "2", "\0\0\0", 4);
        end_st(&s, gptq[i] + (i == 0 ? LB_FUZZ_HF_CONVERT : 0), gptq_names[i]);
    }
    begin_model(&s, "BF16", "mlp.down_proj");
    mk_st_tensor(&s, DOWN ".qweight", "I32", "16,2", words, 128);
    mk_st_tensor(&s, DOWN ".qzeros", "I32", "2,2", words, 16);
    mk_st_tensor(&s, DOWN ".scales", "F16", "2,16", scales, 64);
    end_st(&s, LB_FUZZ_HF_AWQ, "awq");
    static const unsigned char empty[16 * 64 * 2]; /* places of more groups than there are */
    begin_model(&s, "BF16", "mlp.down_proj");
    mk_st_tensor(&s, DOWN ".qweight", "I32", "16,2", words, 128);
    mk_st_tensor(&s, DOWN ".qzeros", "I32", "16,8", empty, 512);
    mk_st_tensor(&s, DOWN ".scales", "F16", "16,64", empty, sizeof empty);
    end_st(&s, LB_FUZZ_HF_AWQ_GEMV, "awq-gemv");
    for (int bytes = 0; bytes < 2; bytes++) {
        begin_model(&s, "BF16", "mlp.down_proj");
        mk_st_tensor(&s, DOWN ".weight_packed", "I32", "16,2", words, 128);
        mk_st_tensor(&s, DOWN ".weight_scale", "F16", "16,2", scales, 64);
        mk_st_tensor(&s, DOWN ".weight_shape", "I64", "2", shape, sizeof shape);
        mk_st_tensor(&s, DOWN ".weight_zero_point", bytes ? "I8" : "I32", bytes ? "16,2" : "2,2", words, bytes ? 32 : 16);
        if (bytes) {
            mk_st_tensor(&s, DOWN ".weight_g_idx", "I32", "16", groups, sizeof groups);
        }
        end_st(&s, LB_FUZZ_HF_PACKED, bytes ? "packed-bytes" : "packed");
    }
    for (int stream = 0; stream < 2; stream++) { /* 6 bits: 5 in a word, or over words */
        begin_model(&s, "BF16", "mlp.down_proj");
        mk_st_tensor(&s, DOWN ".weight_packed", "I32", stream ? "16,3" : "16,4", numbers, stream ? 192 : 256);
        mk_st_tensor(&s, DOWN ".weight_scale", "F16", "1", scales, 2);
        mk_st_tensor(&s, DOWN ".weight_shape", "I64", "2", shape, sizeof shape);
        end_st(&s, LB_FUZZ_HF_PACKED, stream ? "packed-stream" : "packed-sixes");
    }
    begin_model(&s, "BF16", "mlp.down_proj");
    mk_st_tensor(&s, DOWN ".weight", "I8", "16,16", numbers, 256);
    mk_st_tensor(&s, DOWN ".weight_scale", "F16", "16,2", scales, 64);
    mk_st_tensor(&s, DOWN ".weight_zero_point", "I8", "16,2", words, 32);
    end_st(&s, LB_FUZZ_HF_INT8, "int8-zeros");
    begin_model(&s, "BF16", "mlp.down_proj");
    mk_st_tensor(&s, DOWN ".weight", "F8_E4M3", "16,16", numbers, 256);
    mk_st_tensor(&s, DOWN ".weight_scale", "F8_E8M0", "16,2", scales, 32);
    end_st(&s, LB_FUZZ_HF_FP8, "mxfp8");
    for (int nested = 0; nested < 2; nested++) {
        static const char *const states[] = { "{\"blocksize\":64,\"shape\":[16,16]}",
                                              "{\"blocksize\":64,\"shape\":[16,16],\"nested_blocksize\":4,\"nested_offset\":0.5}" };
        char length[16];
        snprintf(length, sizeof length, "%u", (unsigned)strlen(states[nested]));
        begin_model(&s, "BF16", "mlp.down_proj");
        mk_st_tensor(&s, DOWN ".weight", "U8", "128,1", words, 128);
        mk_st_tensor(&s, DOWN ".weight.quant_map", "F32", "16", numbers, 64);
        mk_st_tensor(&s, DOWN ".weight.absmax", nested ? "U8" : "F32", "4", numbers, nested ? 4 : 16);
        mk_st_tensor(&s, DOWN ".weight.quant_state.bitsandbytes__nf4", "U8", length, states[nested], strlen(states[nested]));
        if (nested) {
            mk_st_tensor(&s, DOWN ".weight.nested_absmax", "F32", "1", numbers, 4);
            mk_st_tensor(&s, DOWN ".weight.nested_quant_map", "F32", "256", numbers, sizeof numbers);
        }
        end_st(&s, LB_FUZZ_HF_BITSANDBYTES, nested ? "nf4-nested" : "nf4");
    }
    begin_model(&s, "BF16", "mlp.down_proj");
    mk_st_tensor(&s, DOWN ".weight", "I8", "16,16", numbers, 256);
    mk_st_tensor(&s, DOWN ".SCB", "F32", "16", numbers, 64);
    mk_st_tensor(&s, DOWN ".weight_format", "U8", "", "", 1);
    end_st(&s, LB_FUZZ_HF_BITSANDBYTES, "bitsandbytes-int8");
    begin_model(&s, "BF16", "mlp.down_proj");
    mk_st_tensor(&s, DOWN ".weight", "F8_E4M3", "16,16", numbers, 256); /* zeros and 1 in pieces: any byte is a number */
    mk_st_tensor(&s, DOWN ".weight_scale_inv", "F32", "2,2", numbers, 16);
    end_st(&s, LB_FUZZ_HF_FP8_SQUARES, "fp8-squares");
    for (int bytes = 1; bytes <= 2; bytes++) {
        begin_model(&s, "BF16", "mlp.down_proj");
        mk_st_tensor(&s, DOWN ".codes", bytes == 1 ? "I8" : "I16", "16,2,2", words, (size_t)(64 * bytes));
        mk_st_tensor(&s, DOWN ".codebooks", "F16", bytes == 1 ? "2,16,1,8" : "2,8,1,8", numbers, bytes == 1 ? 512 : 256);
        mk_st_tensor(&s, DOWN ".scales", "F16", "16,1,1,1", scales, 32);
        end_st(&s, LB_FUZZ_HF_AQLM, bytes == 1 ? "aqlm" : "aqlm-words");
    }
    begin_model(&s, "BF16", "mlp.down_proj");
    mk_st_tensor(&s, DOWN ".codes", "I8", "8,4,1", words, 32);
    mk_st_tensor(&s, DOWN ".codebooks", "F16", "1,16,2,4", numbers, 256);
    mk_st_tensor(&s, DOWN ".scales", "F16", "8,1,1,1", scales, 16);
    end_st(&s, LB_FUZZ_HF_AQLM, "aqlm-rectangles");
    for (int across = 0; across < 2; across++) { /* HQQ */
        static const uint64_t sides[2] = { 16, 16 };
        const int32_t axis = !across;
        begin_model(&s, "BF16", "mlp.down_proj");
        mk_st_tensor(&s, DOWN ".W_q", across ? "I32" : "U8", across ? "1,32" : "16,8", words, 128);
        mk_st_tensor(&s, DOWN ".scale", "F16", across ? "1,32" : "32,1", scales, 64);
        mk_st_tensor(&s, DOWN ".zero", "F16", across ? "1,32" : "32,1", numbers, 64);
        mk_st_tensor(&s, DOWN ".shape", "I64", "2", sides, 16);
        mk_st_tensor(&s, DOWN ".axis", "I32", "", &axis, 4);
        mk_st_tensor(&s, DOWN ".packing", "U8", "7", across ? "3bit_32" : "4bit_u8", 7);
        mk_st_tensor(&s, DOWN ".nbits", "I32", "", &axis, 4);
        end_st(&s, LB_FUZZ_HF_LLAMA, across ? "hqq-across" : "hqq");
    }
    for (int streams = 0; streams < 2; streams++) { /* VPTQ: 4 + 2 bits, or 16 each and outliers */
        static const unsigned short order[16] = { 1, 0, 2, 3, 4, 5, 6, 7, 15, 14, 13, 12, 11, 10, 9, 8 };
        begin_model(&s, "BF16", "mlp.down_proj");
        mk_st_tensor(&s, DOWN ".indices", streams ? "I32" : "I16", streams ? "1,2,3" : "2,2,7", words, streams ? 24 : 56);
        mk_st_tensor(&s, DOWN ".centroids.weight", "F16", streams ? "1,128" : "2,32", numbers, streams ? 256 : 128);
        mk_st_tensor(&s, DOWN ".res_centroids.weight", "F16", streams ? "1,32" : "2,32", numbers, streams ? 64 : 128);
        if (!streams) {
            mk_st_tensor(&s, DOWN ".res_indices", "I16", "2,2,7", words, 56);
            mk_st_tensor(&s, DOWN ".outlier_indices", "I16", "1,4,2", words, 16);
            mk_st_tensor(&s, DOWN ".outlier_centroids.weight", "F16", "1,16", numbers, 32);
        }
        mk_st_tensor(&s, DOWN ".perm", "I16", "16", order, 32);
        mk_st_tensor(&s, DOWN ".weight_scale", "F16", "16", scales, 32);
        mk_st_tensor(&s, DOWN ".weight_bias", "F16", "16", scales, 32);
        end_st(&s, LB_FUZZ_HF_LLAMA, streams ? "vptq" : "vptq-outliers");
    }
    for (int form = 0; form < 3; form++) { /* compressed-tensors' two forms of fp4, and ModelOpt's */
        static const char *const names[] = { "nvfp4", "mxfp4", "nvfp4-modelopt" };
        begin_model(&s, "BF16", "mlp.down_proj");
        mk_st_tensor(&s, form == 2 ? DOWN ".weight" : DOWN ".weight_packed", "U8", "16,8", words, 128);
        mk_st_tensor(&s, DOWN ".weight_scale", form == 1 ? "U8" : "F8_E4M3", "16,2", scales, 32);
        if (form != 1) {
            mk_st_tensor(&s, form == 0 ? DOWN ".weight_global_scale" : DOWN ".weight_scale_2", "F32", "1", numbers, 4);
            mk_st_tensor(&s, DOWN ".input_scale", "F32", "1", numbers, 4);
        }
        end_st(&s, form == 2 ? LB_FUZZ_HF_LLAMA : LB_FUZZ_HF_PACKED, names[form]);
    }
}

/* Of other files of the folder. */
static void seeds_st_folder(void)
{
    mk_safetensors s;
    begin_st(&s);
    lb_fuzz_hf_put_ends(&s, "BF16", 16, 0);
    lb_fuzz_hf_put_layer(&s, "BF16", 0, &LB_FUZZ_HF_USUAL, NULL);
    end_st(&s, LB_FUZZ_HF_TWO_FILES, "shard");
    static const char index[] = "{\"metadata\":{},\"weight_map\":{\"model.embed_tokens.weight\":\"part.safetensors\","
                                "\"model.norm.weight\":\"rest.safetensors\"}}";
    put("safetensors", "index", LB_FUZZ_HF_ITS_INDEX, index, sizeof index - 1);

    static const char *const configs[][2] = {
        { "config", ",\"num_attention_heads\":2,\"intermediate_size\":16,\"num_key_value_heads\":1,\"hidden_act\":\"silu\",\"rope_theta\":500000.0,"
                    "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
                    "\"original_max_position_embeddings\":8192}" },
        { "config-lists", ",\"num_attention_heads\":[2],\"intermediate_size\":[16],\"num_key_value_heads\":[1],\"num_value_heads\":[1],"
                          "\"layer_types\":[\"sliding_attention\"],\"sliding_window\":8,"
                          "\"rope_parameters\":{\"rope_theta\":1e4,\"rope_type\":\"linear\",\"factor\":2}" },
        { "config-yarn", ",\"num_attention_heads\":2,\"intermediate_size\":16,\"num_key_value_heads\":1,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0,"
                         "\"original_max_position_embeddings\":8,\"beta_fast\":32,\"beta_slow\":1,\"mscale\":0.5,\"mscale_all_dim\":1,\"attn_factor\":0.9}" },
        { "config-online", ",\"num_attention_heads\":2,\"intermediate_size\":16,\"num_key_value_heads\":1,\"rope_parameters\":{\"rope_theta\":1e4},"
                           "\"quantization_config\":{\"quant_method\":\"bitnet\",\"linear_class\":\"autobitlinear\",\"quantization_mode\":\"online\"}" }
    };
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        mk_blob b = { NULL, 0, 0 }, weights = { NULL, 0, 0 };
        mk_text(&b, "{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":8,\"hidden_size\":16,\"head_dim\":8,\"max_position_embeddings\":16,"
                    "\"num_hidden_layers\":1%s}", configs[i][1]);
        begin_model(&s, "BF16", NULL);
        mk_st_end(&s, &weights);
        mk_put(&b, "", 1);
        mk_put(&b, weights.data, weights.n);
        put("safetensors", configs[i][0], LB_FUZZ_HF_ITS_CONFIG, b.data, b.n);
        mk_free(&b);
        mk_free(&weights);
    }

    static const char older[] = "{\"quant_method\":\"bitnet\",\"linear_class\":\"autobitlinear\",\"quantization_mode\":\"online\",\"modules_to_not_convert\":[\"q_proj\"]}";
    mk_blob both = { NULL, 0, 0 }, weights = { NULL, 0, 0 };
    begin_model(&s, "BF16", NULL);
    mk_st_end(&s, &weights);
    mk_put(&both, older, sizeof older); /* with its zero byte */
    mk_put(&both, weights.data, weights.n);
    put("safetensors", "config-older", LB_FUZZ_HF_ITS_OLDER, both.data, both.n);
    mk_free(&both);
    mk_free(&weights);

    for (unsigned stabilized = 0; stabilized < 2; stabilized++) {
        begin_st(&s);
        lb_fuzz_hf_tensor(&s, stabilized ? "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight"
                                         : "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", "F32", 2, 16);
        lb_fuzz_hf_tensor(&s, stabilized ? "base_model.model.model.layers.0.self_attn.q_proj.lora_B.default.weight"
                                         : "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", "BF16", 16, 2);
        lb_fuzz_hf_tensor(&s, "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight", "F16", 8, 3);
        lb_fuzz_hf_tensor(&s, "base_model.model.model.layers.1.mlp.down_proj.lora_A.weight", "F16", 3, 8);
        end_st(&s, stabilized ? LB_FUZZ_HF_ADAPTER_STABILIZED : LB_FUZZ_HF_ADAPTER, stabilized ? "adapter-stabilized" : "adapter");
    }
    static const char adapter[] = "{\"peft_type\":\"LORA\",\"lora_alpha\":4,\"use_rslora\":true,\"use_dora\":false,\"fan_in_fan_out\":false,"
                                  "\"bias\":\"none\",\"alpha_pattern\":{}}";
    put("safetensors", "adapter-config", LB_FUZZ_HF_ADAPTER_CONFIG, adapter, sizeof adapter - 1);
}

void seeds_safetensors(void)
{
    seeds_st_plain();
    seeds_st_bitnet();
    seeds_st_unequal();
    seeds_st_parts();
    seeds_st_codes();
    seeds_st_folder();
}
