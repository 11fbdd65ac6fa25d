/* Seeds of the target gguf (fuzz_seeds.h). Small files: a model has the width 16, or one block of its type. */
#include "fuzz_seeds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../formats/import/lb_ggml_types.h"
#include "../../kernels/lb_math.h"
#include "../fuzz/lb_fuzz.h"
#include "../make_models.h"

/* One block of each quantized type of ggml, of random bits with a plain scale */
#include "../data/ggml_vectors.inc"

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
        uint32_t rows, cols, types[3]; /* superblocks, ternary, of grids */
    } tensors[] = { { "token_embd.weight", 3, 256, { 23, 23, 16 } },    { "output.weight", 3, 256, { 14, 14, 17 } },
                    { "output_norm.weight", 1, 256, { 8, 8, 8 } },      { "blk.0.attn_norm.weight", 1, 256, { 12, 12, 19 } },
                    { "blk.0.attn_q.weight", 2, 256, { 10, 34, 18 } },  { "blk.0.attn_k.weight", 2, 256, { 11, 35, 19 } },
                    { "blk.0.attn_v.weight", 2, 256, { 12, 36, 21 } },  { "blk.0.attn_output.weight", 256, 2, { 1, 36, 1 } },
                    { "blk.0.ffn_norm.weight", 1, 256, { 2, 2, 2 } },   { "blk.0.ffn_gate.weight", 2, 256, { 13, 36, 22 } },
                    { "blk.0.ffn_up.weight", 2, 256, { 14, 35, 29 } },  { "blk.0.ffn_down.weight", 256, 2, { 1, 36, 1 } } };
    static const char *const names[] = { "superblocks", "ternary", "grids" };
    for (int kind = 0; kind < 3; kind++) {
        const bool ternary = kind == 1;
        put_thin_numbers(&g, ternary ? "bitnet-b1.58" : "llama");
        for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) {
            put_gguf(&g, tensors[i].name, tensors[i].rows, tensors[i].cols, tensors[i].types[kind]);
        }
        if (ternary) { /* what is special to BitNet: norms, and scales of some matrices */
            put_gguf(&g, "blk.0.attn_sub_norm.weight", 1, 2, 0);
            put_gguf(&g, "blk.0.ffn_sub_norm.weight", 1, 2, 0);
            static const char *const scales[] = { "blk.0.attn_q.scale", "blk.0.attn_v.scale", "blk.0.attn_output.scale", "blk.0.ffn_up.scale" };
            for (size_t i = 0; i < 4; i++) {
                mk_gguf_tensor(&g, scales[i], 1, 1, i % 2 ? LB_GGML_F16 : 0, i % 2 ? "\0\xb8" : "\0\0\x40\x3f", i % 2 ? 2 : 4);
            }
        }
        end_gguf(&g, names[kind], true);
    }

    static const uint32_t blocks[] = { 8, 0, 0, 2, 3, 6, 7, 0, 20, 39, 40 }; /* in the order of mk_tensors */
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
    for (unsigned kind = 0; kind < 3; kind++) { /* the last with YaRN */
        const unsigned qwen3 = kind > 0;
        mk_gguf g = { .n_kv = 0 };
        put_thin_numbers(&g, archs[qwen3]);
        mk_gguf_string(&g, "general.name", "a name");
        mk_gguf_string(&g, qwen3 ? "qwen3.rope.scaling.type" : "qwen2.rope.scaling.type", kind == 2 ? "yarn" : qwen3 ? "none" : "linear");
        if (kind == 2) {
            mk_gguf_f32(&g, "qwen3.rope.scaling.factor", 4.0f);
            mk_gguf_u32(&g, "qwen3.rope.scaling.original_context_length", 8);
            mk_gguf_f32(&g, "qwen3.rope.scaling.attn_factor", 0.9f);
        }
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
        end_gguf(&g, kind == 2 ? "yarn" : archs[qwen3], true);
    }
}

static void seeds_gguf_vocabularies(void)
{
    static const char *const tokens[] = { "a", "b", "\xc4\xa0", "ab", "\304\240ab", "<|eot_id|>", "<|im_end|>", "<|user|>" };
    static const char *const merges[] = { "a b", "\xc4\xa0 ab" };
    static const int32_t types[] = { 1, 0, 1, 1, 1, 3, 3, 4 };
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
            mk_gguf_bool(&g, "tokenizer.ggml.add_space_prefix", i == 4); /* refused */
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

/* Numbers and lists of every type that GGUF has; without tensors only they are looked at. */
static void seeds_gguf_numbers(void)
{
    static const struct {
        const char *key;
        uint32_t type;
        size_t bytes;
        const char *value;
    } numbers[] = { { "block_count", 0, 1, "\2" }, /* u8, i8, u16, i16, u64, i64, f64 */
                    { "embedding_length", 1, 1, "\20" },
                    { "attention.key_length", 2, 2, "\10\0" },
                    { "attention.value_length", 3, 2, "\4\0" },
                    { "context_length", 10, 8, "\20\0\0\0\0\0\0\0" },
                    { "rope.dimension_count", 11, 8, "\4\0\0\0\0\0\0\0" },
                    { "attention.layer_norm_rms_epsilon", 12, 8, "\0\0\0\0\0\0\xb0\x3e" },
                    { "feed_forward_length", 9, 12 + 4, "\3\0\0\0\2\0\0\0\0\0\0\0\20\0\10\0" },
                    { "attention.head_count", 9, 12 + 16, "\12\0\0\0\2\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0" },
                    { "attention.head_count_kv", 9, 12 + 2, "\1\0\0\0\2\0\0\0\0\0\0\0\1\1" } };
    mk_gguf g = { .n_kv = 0 };
    mk_gguf_string(&g, "general.architecture", "llama");
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char key[64];
        snprintf(key, sizeof key, "llama.%s", numbers[i].key);
        mk_gguf_value(&g, key, numbers[i].type, numbers[i].value, numbers[i].bytes);
    }
    mk_gguf_vocabulary(&g);
    end_gguf(&g, "numbers", false);
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

void seeds_gguf(void)
{
    seeds_gguf_types();
    seeds_gguf_unequal();
    seeds_gguf_architectures();
    seeds_gguf_vocabularies();
    seeds_gguf_numbers();
    seeds_gguf_adapter();
    seeds_gguf_others();
}
