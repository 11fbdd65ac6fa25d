/* See lb_fuzz_hf.h. */
#include "lb_fuzz_hf.h"

#include <stdio.h>
#include <string.h>

#include "../../kernels/lb_math.h"
#include "../../runtime/base/lb_base.h"
#include "lb_fuzz.h"

#define LLAMA     "\"architectures\":[\"LlamaForCausalLM\"],"
#define ONE_LAYER "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"intermediate_size\":16"
#define PACKED(format, sparse)                                                                                                      \
    LLAMA ONE_LAYER ",\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"" format "\",\"sparsity_config\":" \
                    "{\"format\":\"" sparse "\"}}"
#define BITNET(more) "\"architectures\":[\"BitNetForCausalLM\"]," ONE_LAYER ",\"tie_word_embeddings\":true" more

static const struct {
    lb_fuzz_hf_input input;
    const char *config; /* what config.json has beside the widths */
} kinds[LB_FUZZ_HF_KINDS] = {
    [LB_FUZZ_HF_LLAMA] = { LB_FUZZ_HF_WEIGHTS, LLAMA ONE_LAYER },
    [LB_FUZZ_HF_BIASES] = { LB_FUZZ_HF_WEIGHTS, LLAMA ONE_LAYER ",\"attention_bias\":true,\"mlp_bias\":true,\"tie_word_embeddings\":false" },
    [LB_FUZZ_HF_MISTRAL] = { LB_FUZZ_HF_WEIGHTS, "\"architectures\":[\"MistralForCausalLM\"]," ONE_LAYER ",\"sliding_window\":8" },
    [LB_FUZZ_HF_QWEN2] = { LB_FUZZ_HF_WEIGHTS, "\"architectures\":[\"Qwen2ForCausalLM\"]," ONE_LAYER
                                               ",\"use_sliding_window\":true,\"max_window_layers\":0,\"sliding_window\":8" },
    [LB_FUZZ_HF_QWEN3] = { LB_FUZZ_HF_WEIGHTS, "\"architectures\":[\"Qwen3ForCausalLM\"]," ONE_LAYER ",\"tie_word_embeddings\":true" },
    [LB_FUZZ_HF_BITNET_MASTER] = { LB_FUZZ_HF_WEIGHTS, BITNET("") },
    [LB_FUZZ_HF_BITNET_DIVIDE] = { LB_FUZZ_HF_WEIGHTS, BITNET(",\"quantization_config\":{\"quant_method\":\"bitnet\",\"linear_class\":\"bitlinear\"}") },
    [LB_FUZZ_HF_BITNET_MULTIPLY] = { LB_FUZZ_HF_WEIGHTS,
                                     BITNET(",\"quantization_config\":{\"quant_method\":\"bitnet\",\"linear_class\":\"autobitlinear\"}") },
    [LB_FUZZ_HF_TWO_LAYERS] = { LB_FUZZ_HF_WEIGHTS,
                                LLAMA "\"num_hidden_layers\":2,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"intermediate_size\":16" },
    [LB_FUZZ_HF_UNEQUAL] = { LB_FUZZ_HF_WEIGHTS, LLAMA "\"num_hidden_layers\":2,\"num_attention_heads\":[2,1],\"num_key_value_heads\":[1,1],"
                                                       "\"intermediate_size\":[16,8]" },
    [LB_FUZZ_HF_UNEQUAL_VALUES] = { LB_FUZZ_HF_WEIGHTS,
                                    LLAMA "\"num_hidden_layers\":2,\"num_attention_heads\":[2,4],\"num_key_value_heads_per_layer\":[1,2],"
                                          "\"num_value_heads\":[2,4],\"v_head_dim\":4,\"intermediate_size\":[16,8]" },
    [LB_FUZZ_HF_SPARSE_24] = { LB_FUZZ_HF_WEIGHTS, PACKED("dense", "sparse-24-bitmask") },
    [LB_FUZZ_HF_SPARSE] = { LB_FUZZ_HF_WEIGHTS, PACKED("sparse-bitmask", "sparse-bitmask") },
    [LB_FUZZ_HF_INT8] = { LB_FUZZ_HF_WEIGHTS, PACKED("int-quantized", "dense") },
    [LB_FUZZ_HF_FP8] = { LB_FUZZ_HF_WEIGHTS, PACKED("float-quantized", "dense") },
    [LB_FUZZ_HF_NAIVE] = { LB_FUZZ_HF_WEIGHTS, PACKED("naive-quantized", "sparse-24-bitmask") },
    [LB_FUZZ_HF_SPQR] = { LB_FUZZ_HF_WEIGHTS,
                          LLAMA ONE_LAYER ",\"quantization_config\":{\"quant_method\":\"spqr\",\"bits\":3,\"beta1\":16,\"beta2\":16}" },
    [LB_FUZZ_HF_TWO_FILES] = { LB_FUZZ_HF_SHARD, LLAMA ONE_LAYER },
    [LB_FUZZ_HF_ITS_INDEX] = { LB_FUZZ_HF_INDEX, LLAMA ONE_LAYER },
    [LB_FUZZ_HF_ITS_CONFIG] = { LB_FUZZ_HF_CONFIG, LLAMA ONE_LAYER },
    [LB_FUZZ_HF_ITS_OLDER] = { LB_FUZZ_HF_OLDER, LLAMA ONE_LAYER },
    [LB_FUZZ_HF_ADAPTER] = { LB_FUZZ_HF_LORA, "{\"peft_type\":\"LORA\",\"lora_alpha\":4}" },
    [LB_FUZZ_HF_ADAPTER_STABILIZED] = { LB_FUZZ_HF_LORA, "{\"peft_type\":\"LORA\",\"lora_alpha\":4,\"use_rslora\":true,\"bias\":\"none\"}" },
    [LB_FUZZ_HF_ADAPTER_CONFIG] = { LB_FUZZ_HF_LORA_CONFIG, "{}" },
    [LB_FUZZ_HF_GPTQ] = { LB_FUZZ_HF_WEIGHTS, LLAMA ONE_LAYER ",\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}" },
    [LB_FUZZ_HF_GPTQ_SECOND] = { LB_FUZZ_HF_WEIGHTS,
                                 LLAMA ONE_LAYER ",\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":2,\"checkpoint_format\":\"gptq_v2\"}" },
    [LB_FUZZ_HF_AWQ] = { LB_FUZZ_HF_WEIGHTS, LLAMA ONE_LAYER ",\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4}" },
    [LB_FUZZ_HF_PACKED] = { LB_FUZZ_HF_WEIGHTS, LLAMA ONE_LAYER ",\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"config_groups\":{"
                                                             "\"a\":{\"format\":\"pack-quantized\",\"weights\":{\"num_bits\":4}},\"b\":{\"weights\":{\"num_bits\":6}}}}" },
    [LB_FUZZ_HF_FP8_SQUARES] = { LB_FUZZ_HF_WEIGHTS, LLAMA ONE_LAYER ",\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[8,8]}" },
    [LB_FUZZ_HF_BITSANDBYTES] = { LB_FUZZ_HF_WEIGHTS, LLAMA ONE_LAYER ",\"quantization_config\":{\"quant_method\":\"bitsandbytes\"}" },
    [LB_FUZZ_HF_AQLM] = { LB_FUZZ_HF_WEIGHTS, LLAMA ONE_LAYER ",\"quantization_config\":{\"quant_method\":\"aqlm\"}" },
    [LB_FUZZ_HF_GPTQ_PLANES] = { LB_FUZZ_HF_WEIGHTS,
                                 LLAMA ONE_LAYER ",\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"checkpoint_format\":\"gptq_p\"}" },
    [LB_FUZZ_HF_GPTQ_BORROWS] = { LB_FUZZ_HF_WEIGHTS, LLAMA ONE_LAYER ",\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"sym\":true,"
                                                                      "\"meta\":{\"quantizer\":[\"gptqmodel:5.0.0\"]}}" },
    [LB_FUZZ_HF_AWQ_GEMV] = { LB_FUZZ_HF_WEIGHTS,
                              LLAMA ONE_LAYER ",\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"version\":\"gemv\",\"group_size\":16}" },
};

lb_fuzz_hf_input lb_fuzz_hf_input_of(lb_fuzz_hf_kind kind)
{
    return kinds[kind].input;
}

void lb_fuzz_hf_config(lb_fuzz_hf_kind kind, mk_blob *out)
{
    if (kinds[kind].config[0] == '{') {
        mk_text(out, "%s", kinds[kind].config);
    } else {
        mk_text(out, "{%s,\"vocab_size\":8,\"hidden_size\":16,\"head_dim\":8,\"max_position_embeddings\":16}", kinds[kind].config);
    }
}

void lb_fuzz_hf_tensor(mk_safetensors *s, const char *name, const char *dtype, uint32_t rows, uint32_t cols)
{
    mk_blob b = { NULL, 0, 0 };
    char shape[32];
    const bool wide = strcmp(dtype, "F32") == 0;
    for (size_t i = 0; i < (size_t)rows * cols; i++) {
        const float w = mk_weight(name, i);
        unsigned char p[4];
        lb_store_u32(p, lb_f32_bits(w));
        if (!wide) {
            lb_store_u16(p, strcmp(dtype, "F16") == 0 ? lb_f32_to_f16(w) : lb_f32_to_bf16(w));
        }
        mk_put(&b, p, wide ? 4 : 2);
    }
    snprintf(shape, sizeof shape, rows == 1 ? "%u" : "%u,%u", rows == 1 ? cols : rows, cols);
    mk_st_tensor(s, name, dtype, shape, b.data, b.n);
    mk_free(&b);
}

void lb_fuzz_hf_put_layer(mk_safetensors *s, const char *dtype, unsigned layer, const lb_fuzz_hf_layer *sides, const char *except)
{
    const struct {
        const char *name;
        uint32_t rows, cols;
    } tensors[] = { { "input_layernorm", sides->norms, sides->in }, { "self_attn.q_proj", sides->q, sides->in },
                    { "self_attn.k_proj", sides->k, sides->in },    { "self_attn.v_proj", sides->v, sides->in },
                    { "self_attn.o_proj", sides->mid, sides->o },   { "post_attention_layernorm", sides->norms, sides->mid },
                    { "mlp.gate_proj", sides->ffn, sides->mid },    { "mlp.up_proj", sides->ffn, sides->mid },
                    { "mlp.down_proj", sides->out, sides->ffn } };
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) {
        char name[100];
        snprintf(name, sizeof name, "model.layers.%u.%s.weight", layer, tensors[i].name);
        if (tensors[i].rows && !(except && strstr(except, tensors[i].name))) {
            lb_fuzz_hf_tensor(s, name, dtype, tensors[i].rows, tensors[i].cols);
        }
    }
}

void lb_fuzz_hf_put_ends(mk_safetensors *s, const char *dtype, uint32_t in, uint32_t out)
{
    if (in) {
        lb_fuzz_hf_tensor(s, "model.embed_tokens.weight", dtype, MK_VOCAB, in);
    }
    if (out) {
        lb_fuzz_hf_tensor(s, "model.norm.weight", dtype, 1, out);
    }
}
