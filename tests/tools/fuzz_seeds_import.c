/* See fuzz_seeds_import.h. Small files: a model has the width 16, or one block of its type. */
#include "fuzz_seeds_import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../formats/import/lb_ggml_types.h"
#include "../../kernels/lb_math.h"
#include "../fuzz/lb_fuzz.h"
#include "../fuzz/lb_fuzz_hf.h"
#include "../make_models.h"

/* One block of each quantized type of ggml, of random bits with a plain scale */
typedef struct vec_case {
    uint32_t id, block, bytes;
    const unsigned char *src;
    const uint32_t *out;
    uint64_t hash;
} vec_case;

#include "../data/ggml_vectors.inc"

static fuzz_seeds_put put;

/* ---------------------------------------------------------------- GGUF */

static const char talk[] = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}";

/* converted: the file has 31 bytes more, which tells the target to convert it. */
static void end_gguf(mk_gguf *g, const char *name, bool converted)
{
    mk_blob b = { NULL, 0, 0 };
    mk_gguf_end(g, &b);
    if (converted) {
        static const unsigned char more[31] = { 0 };
        mk_put(&b, more, sizeof more);
    }
    put("gguf", name, -1, b.data, b.n);
    mk_free(&b);
    memset(g, 0, sizeof *g);
}

/* A tensor of any type: floats that its name makes, or the type's block again and again (I2_S: codes below 3, and a scale). */
static void put_gguf(mk_gguf *g, const char *name, uint64_t rows, uint64_t cols, uint32_t type)
{
    mk_blob b = { NULL, 0, 0 };
    const uint64_t n = rows * cols;
    const vec_case *v = vec_cases;
    while (v < vec_cases + sizeof vec_cases / sizeof vec_cases[0] && v->id != type) {
        v++;
    }
    for (uint64_t i = 0; i < n && type <= LB_GGML_F16; i++) {
        unsigned char p[4];
        const float w = mk_weight(name, (size_t)i);
        lb_store_u32(p, lb_f32_bits(w));
        if (type == LB_GGML_F16) {
            lb_store_u16(p, lb_f32_to_f16(w));
        }
        mk_put(&b, p, type == LB_GGML_F16 ? 2 : 4);
    }
    for (uint64_t i = 0; i < n / 4 && type == LB_GGML_I2_S; i++) {
        static const unsigned char codes[3] = { 0x12, 0x64, 0x89 };
        mk_put(&b, &codes[i % 3], 1);
    }
    if (type == LB_GGML_I2_S) { /* the scale is 2, and takes 32 bytes */
        for (size_t i = 0; i < 8; i++) {
            mk_u32(&b, i ? 0 : 0x40000000u);
        }
    } else if (type > LB_GGML_F16) {
        lb_fuzz_check(v->id == type && n % v->block == 0, "no such block");
        for (uint64_t i = 0; i < n / v->block; i++) {
            mk_put(&b, v->src, v->bytes);
        }
    }
    mk_gguf_tensor(g, name, rows, cols, type, b.data, b.n);
    mk_free(&b);
}

/* Numbers of an architecture with one head of two channels and two columns of the feed-forward. */
static void put_thin_numbers(mk_gguf *g, const char *arch)
{
    static const struct {
        const char *key;
        uint32_t v;
    } numbers[] = { { "block_count", 1 },          { "embedding_length", 256 },      { "feed_forward_length", 2 },
                    { "context_length", 16 },      { "attention.head_count", 1 },    { "attention.head_count_kv", 1 },
                    { "attention.key_length", 2 }, { "rope.dimension_count", 2 } };
    mk_gguf_string(g, "general.architecture", arch);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char key[100];
        snprintf(key, sizeof key, "%s.%s", arch, numbers[i].key);
        mk_gguf_u32(g, key, numbers[i].v);
    }
}

static void seeds_gguf_types(void)
{
    mk_gguf g = { .n_kv = 0 };
    mk_gguf_string(&g, "general.architecture", "llama");
    for (size_t i = 0; i < sizeof vec_cases / sizeof vec_cases[0]; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%u", (unsigned)vec_cases[i].id);
        put_gguf(&g, name, 2, vec_cases[i].block, vec_cases[i].id);
    }
    static const unsigned char doubles[16] = { 0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xef, 0x7f };
    mk_gguf_tensor(&g, "f64", 1, 2, LB_GGML_F64, doubles, sizeof doubles);
    mk_gguf_tensor(&g, "bf16", 1, 8, LB_GGML_BF16, doubles, sizeof doubles);
    put_gguf(&g, "i2_s", 2, 64, LB_GGML_I2_S);
    end_gguf(&g, "types", false);

    static const struct {
        const char *name;
        uint32_t rows, cols, super, ternary;
    } tensors[] = { { "token_embd.weight", 3, 256, 23, 23 },       { "output.weight", 3, 256, 14, 14 },       { "output_norm.weight", 1, 256, 8, 8 },
                    { "blk.0.attn_norm.weight", 1, 256, 12, 12 },  { "blk.0.attn_q.weight", 2, 256, 10, 34 }, { "blk.0.attn_k.weight", 2, 256, 11, 35 },
                    { "blk.0.attn_v.weight", 2, 256, 12, 36 },     { "blk.0.attn_output.weight", 256, 2, 1, 36 },
                    { "blk.0.ffn_norm.weight", 1, 256, 2, 2 },     { "blk.0.ffn_gate.weight", 2, 256, 13, 36 },
                    { "blk.0.ffn_up.weight", 2, 256, 14, 35 },     { "blk.0.ffn_down.weight", 256, 2, 1, 36 } };
    for (int ternary = 0; ternary < 2; ternary++) {
        put_thin_numbers(&g, ternary ? "bitnet-b1.58" : "llama");
        for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) {
            put_gguf(&g, tensors[i].name, tensors[i].rows, tensors[i].cols, ternary ? tensors[i].ternary : tensors[i].super);
        }
        if (ternary) { /* what is special to BitNet: norms, and scales of some matrices */
            put_gguf(&g, "blk.0.attn_sub_norm.weight", 1, 2, 0);
            put_gguf(&g, "blk.0.ffn_sub_norm.weight", 1, 2, 0);
            static const char *const scales[] = { "blk.0.attn_q.scale", "blk.0.attn_v.scale", "blk.0.attn_output.scale", "blk.0.ffn_up.scale" };
            for (size_t i = 0; i < 4; i++) {
                mk_gguf_tensor(&g, scales[i], 1, 1, i % 2 ? LB_GGML_F16 : 0, i % 2 ? "\0\xb8" : "\0\0\x40\x3f", i % 2 ? 2 : 4);
            }
        }
        end_gguf(&g, ternary ? "ternary" : "superblocks", true);
    }

    static const uint32_t blocks[] = { 8, 0, 0, 2, 3, 6, 7, 0, 20, 39, 8 }; /* in the order of mk_tensors */
    mk_gguf_numbers(&g, "llama");
    for (size_t i = 0; i < mk_n_tensors; i++) {
        put_gguf(&g, mk_tensors[i].gguf, mk_tensors[i].rows, mk_tensors[i].cols, blocks[i]);
    }
    end_gguf(&g, "blocks", true);
}

/* Numbers of heads and widths of the feed-forward that differ from layer to layer. */
static void seeds_gguf_unequal(void)
{
    static const int32_t heads[] = { 2, 1 }, kv[] = { 1, 1 }, ffn[] = { 16, 8 };
    mk_gguf g = { .n_kv = 0 };
    mk_gguf_string(&g, "general.architecture", "llama");
    mk_gguf_u32(&g, "llama.block_count", 2);
    mk_gguf_u32(&g, "llama.embedding_length", 16);
    mk_gguf_u32(&g, "llama.context_length", 16);
    mk_gguf_ints(&g, "llama.feed_forward_length", ffn, 2);
    mk_gguf_ints(&g, "llama.attention.head_count", heads, 2);
    mk_gguf_ints(&g, "llama.attention.head_count_kv", kv, 2);
    mk_gguf_u32(&g, "llama.attention.key_length", 8);
    mk_gguf_u32(&g, "llama.attention.value_length", 4);
    mk_gguf_u32(&g, "llama.attention.sliding_window", 8);
    put_gguf(&g, "token_embd.weight", 4, 16, LB_GGML_F16);
    put_gguf(&g, "output_norm.weight", 1, 16, LB_GGML_F16);
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t q = (uint32_t)heads[i], f = (uint32_t)ffn[i];
        const struct {
            const char *name;
            uint32_t rows, cols;
        } tensors[] = { { "attn_norm", 1, 16 },        { "attn_q", q * 8, 16 }, { "attn_k", 8, 16 }, { "attn_v", 4, 16 },
                        { "attn_output", 16, q * 4 },  { "ffn_norm", 1, 16 },   { "ffn_gate", f, 16 }, { "ffn_up", f, 16 },
                        { "ffn_down", 16, f } };
        for (size_t k = 0; k < sizeof tensors / sizeof tensors[0]; k++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%u.%s.weight", i, tensors[k].name);
            put_gguf(&g, name, tensors[k].rows, tensors[k].cols, LB_GGML_F16);
        }
    }
    end_gguf(&g, "unequal", true);
}

/* Biases, norms of heads, factors of the rotation, a head. */
static void seeds_gguf_architectures(void)
{
    static const char *const archs[] = { "qwen2", "qwen3" };
    static const struct {
        const char *name;
        uint32_t cols;
        bool qwen3;
    } more[] = { { "blk.0.attn_q.bias", 2, false },        { "blk.0.attn_k.bias", 2, false },       { "blk.0.attn_v.bias", 2, false },
                 { "blk.0.attn_q_norm.weight", 2, true },  { "blk.0.attn_k_norm.weight", 2, true }, { "rope_freqs.weight", 1, false },
                 { "blk.0.attn_output.bias", 256, false }, { "blk.0.attn_rot_embd.weight", 1, true } };
    for (unsigned qwen3 = 0; qwen3 < 2; qwen3++) {
        mk_gguf g = { .n_kv = 0 };
        put_thin_numbers(&g, archs[qwen3]);
        mk_gguf_string(&g, "general.name", "a name");
        mk_gguf_string(&g, qwen3 ? "qwen3.rope.scaling.type" : "qwen2.rope.scaling.type", qwen3 ? "none" : "linear");
        mk_gguf_f32(&g, qwen3 ? "qwen3.rope.scale_linear" : "qwen2.rope.scaling.factor", 4.0f);
        mk_gguf_f32(&g, qwen3 ? "qwen3.rope.freq_base" : "qwen2.attention.layer_norm_rms_epsilon", qwen3 ? 1e6f : 1e-6f);
        for (size_t i = 0; i < mk_n_tensors; i++) {
            const mk_tensor *t = &mk_tensors[i]; /* 16 and 64 rows or columns become 2, 32 become 256 */
            const uint32_t thin = strstr(t->gguf, "attn_") && !strstr(t->gguf, "norm") ? 2 : 256;
            const bool down = strstr(t->gguf, "down") || strstr(t->gguf, "output.weight");
            const uint32_t rows = t->rows == 1 ? 1 : t->rows == MK_VOCAB ? 3 : down ? 256 : thin == 2 ? 2 : t->rows == MK_FFN ? 2 : 256;
            put_gguf(&g, t->gguf, rows, down ? 2 : 256, down ? LB_GGML_F16 : 10);
        }
        for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
            if (more[i].qwen3 == (qwen3 == 1)) {
                put_gguf(&g, more[i].name, 1, more[i].cols, 0);
            }
        }
        end_gguf(&g, archs[qwen3], true);
    }
}

static void seeds_gguf_vocabularies(void)
{
    static const char *const tokens[] = { "a", "b", "\xc4\xa0", "ab", "\304\240ab", "<|eot_id|>", "<|im_end|>", "<|user|>" };
    static const char *const merges[] = { "a b", "\xc4\xa0 ab" };
    static const int32_t types[] = { 1, 1, 1, 1, 1, 3, 3, 4 };
    static const char *const names[] = { "gpt-2", "llama-bpe", "dbrx", "qwen2", "deepseek-r1-qwen", "deepseek-llm" };
    mk_gguf g = { .n_kv = 0 };
    mk_gguf_numbers(&g, "qwen3");
    mk_gguf_vocabulary(&g);
    mk_gguf_bool(&g, "tokenizer.ggml.remove_extra_whitespaces", true);
    mk_gguf_string(&g, "tokenizer.chat_template", talk);
    end_gguf(&g, "vocabulary", false);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) { /* of any architecture, with other things beside it each time */
        char name[32];
        mk_gguf_string(&g, "general.architecture", i ? "gptneox" : "llama");
        mk_gguf_string(&g, "tokenizer.ggml.model", "gpt2");
        mk_gguf_string(&g, "tokenizer.ggml.pre", names[i]);
        mk_gguf_strings(&g, "tokenizer.ggml.tokens", tokens, 8);
        mk_gguf_strings(&g, "tokenizer.ggml.merges", merges, 2);
        if (i % 2 == 0) {
            mk_gguf_ints(&g, "tokenizer.ggml.token_type", types, 8);
            mk_gguf_u32(&g, "tokenizer.ggml.eom_token_id", 7);
            mk_gguf_bool(&g, "tokenizer.ggml.add_bos_token", i == 0);
            mk_gguf_bool(&g, "tokenizer.ggml.add_space_prefix", false);
        } else {
            mk_gguf_u32(&g, "tokenizer.ggml.unknown_token_id", 7);
            mk_gguf_bool(&g, "tokenizer.ggml.add_eos_token", true);
        }
        mk_gguf_u32(&g, "tokenizer.ggml.bos_token_id", 5);
        mk_gguf_u32(&g, "tokenizer.ggml.eos_token_id", 6);
        mk_gguf_u32(&g, "tokenizer.ggml.eot_token_id", 5);
        mk_gguf_u32(&g, "tokenizer.ggml.padding_token_id", i == 1 ? 0xffffffffu : 6);
        mk_gguf_string(&g, "tokenizer.chat_template", talk);
        snprintf(name, sizeof name, "byte-level-%s", names[i]);
        end_gguf(&g, name, false);
    }
}

static void seeds_gguf_adapter(void)
{
    mk_gguf g = { .n_kv = 0 };
    mk_gguf_string(&g, "general.type", "adapter");
    mk_gguf_string(&g, "general.architecture", "llama");
    mk_gguf_string(&g, "adapter.type", "lora");
    mk_gguf_f32(&g, "adapter.lora.alpha", 10.0f);
    put_gguf(&g, "blk.0.attn_q.weight.lora_a", 2, 32, 8);
    put_gguf(&g, "blk.0.attn_q.weight.lora_b", 16, 2, LB_GGML_F16);
    put_gguf(&g, "blk.1.ffn_down.weight.lora_b", 16, 2, 0);
    put_gguf(&g, "blk.1.ffn_down.weight.lora_a", 2, 8, 0);
    end_gguf(&g, "adapter", false);
}

/* What is no GGUF file: llama2.c's models, with an embedding of 2 x 4, and tokenizer files. */
static void seeds_gguf_others(void)
{
    static const uint32_t numbers[7] = { 4, 4, 1, 2, 1, 2, 2 }; /* width, inner width, layers, heads, of keys, tokens, context */
    for (int version1 = 0; version1 < 2; version1++) {
        mk_blob b = { NULL, 0, 0 };
        mk_u32(&b, version1 ? 0x616b3432u : numbers[0]);
        mk_u32(&b, version1 ? 1 : numbers[1]);
        for (size_t i = version1 ? 0 : 2; i < 7; i++) {
            mk_u32(&b, !version1 && i == 5 ? (uint32_t)-2 : numbers[i]); /* below zero: with a head */
        }
        if (version1) {
            mk_put(&b, "\1", 1);
            mk_pad(&b, 256);
        }
        /* embedding, norms, q, k, v, o, gate, up, down; and in the old form the tables of the rotation and the head */
        const size_t n = 8 + 3 * 4 + 16 + 8 + 8 + 16 + 3 * 16 + (version1 ? 0 : 4 + 8);
        for (size_t i = 0; i < n; i++) {
            mk_u32(&b, lb_f32_bits(mk_weight("llama2c", i)));
        }
        put("gguf", version1 ? "llama2c-version-1" : "llama2c", -1, b.data, b.n);
        mk_free(&b);
    }
    static const unsigned char spm[] = { 0x0a, 0x0e, 0x0a, 0x05, '<', 'u', 'n', 'k', '>', 0x15, 0, 0, 0, 0, 0x18, 2,
                                         0x0a, 0x0b, 0x0a, 0x04, 0xe2, 0x96, 0x81, 'a', 0x15, 0, 0, 0x80, 0xbf, 0x12, 0x02, 0x18, 0x01 };
    static const char json[] = "\n{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]},"
                               "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"decoder\":{\"type\":\"ByteLevel\"}}";
    put("gguf", "tokens-sentencepiece", -1, spm, sizeof spm);
    put("gguf", "tokens-json", -1, json, sizeof json - 1);
}

/* ---------------------------------------------------------------- safetensors */

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

/* Of other files of the folder. */
static void seeds_st_folder(void)
{
    mk_safetensors s;
    begin_st(&s);
    lb_fuzz_hf_put_ends(&s, "BF16", 16, 0);
    lb_fuzz_hf_put_layer(&s, "BF16", 0, &LB_FUZZ_HF_USUAL, NULL);
    end_st(&s, LB_FUZZ_HF_TWO_FILES, "shard");
    static const char index[] = "{\"metadata\":{},\"weight_map\":{\"model.embed_tokens.weight\":\"part.safetensors\",\"model.norm.weight\":\"rest.safetensors\"}}";
    put("safetensors", "index", LB_FUZZ_HF_ITS_INDEX, index, sizeof index - 1);

    static const char *const configs[][2] = {
        { "config", ",\"num_attention_heads\":2,\"intermediate_size\":16,\"num_key_value_heads\":1,\"hidden_act\":\"silu\",\"rope_theta\":500000.0,"
                    "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
                    "\"original_max_position_embeddings\":8192}" },
        { "config-lists", ",\"num_attention_heads\":[2],\"intermediate_size\":[16],\"num_key_value_heads\":[1],\"num_value_heads\":[1],"
                          "\"layer_types\":[\"sliding_attention\"],\"sliding_window\":8,\"rope_parameters\":{\"rope_theta\":1e4,\"rope_type\":\"linear\",\"factor\":2}" },
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

void fuzz_seeds_import(fuzz_seeds_put put_file)
{
    put = put_file;
    seeds_gguf_types();
    seeds_gguf_unequal();
    seeds_gguf_architectures();
    seeds_gguf_vocabularies();
    seeds_gguf_adapter();
    seeds_gguf_others();
    seeds_st_plain();
    seeds_st_bitnet();
    seeds_st_unequal();
    seeds_st_parts();
    seeds_st_folder();
}
