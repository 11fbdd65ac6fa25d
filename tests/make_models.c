/* See make_models.h. */
#include "make_models.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../kernels/lb_math.h"
#include "../runtime/base/lb_base.h"
#include "lb_test.h"

void mk_put(mk_blob *b, const void *data, size_t n)
{
    if (b->n + n > b->cap) {
        b->cap = (b->n + n) * 2 + 256;
        b->data = realloc(b->data, b->cap);
        if (b->data == NULL) {
            abort();
        }
    }
    if (n > 0) {
        memcpy(b->data + b->n, data, n);
    }
    b->n += n;
}

void mk_u32(mk_blob *b, uint32_t v)
{
    unsigned char p[4];
    lb_store_u32(p, v);
    mk_put(b, p, 4);
}

void mk_u64(mk_blob *b, uint64_t v)
{
    unsigned char p[8];
    lb_store_u64(p, v);
    mk_put(b, p, 8);
}

void mk_text(mk_blob *b, const char *fmt, ...)
{
    char text[4096];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof text) {
        abort();
    }
    mk_put(b, text, (size_t)n);
}

void mk_pad(mk_blob *b, size_t to)
{
    while (b->n % to != 0) {
        mk_put(b, "", 1);
    }
}

void mk_free(mk_blob *b)
{
    free(b->data);
    *b = (mk_blob){ NULL, 0, 0 };
}

/* In place: a file system that sees a file cut to nothing and written anew may wait for the disk, and some
 * tests write 50,000. */
void mk_write(const char *path, const void *data, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0666);
    if (fd < 0 || (n > 0 && write(fd, data, n) != (ssize_t)n) || ftruncate(fd, (off_t)n) != 0 ||
        close(fd) != 0) {
        perror(path);
        abort();
    }
}

/* ---------------------------------------------------------------- the model */

#define MK_L(name, gguf, hf, rows, cols, linear)                                                             \
    {                                                                                                        \
        "layers.0." name, "blk.0." gguf, "model.layers.0." hf, rows, cols, linear                            \
    }

const mk_tensor mk_tensors[] = {
    { "tok_embed", "token_embd.weight", "model.embed_tokens.weight", MK_VOCAB, MK_DIM, false },
    { "out_norm", "output_norm.weight", "model.norm.weight", 1, MK_DIM, false },
    MK_L("attn_norm", "attn_norm.weight", "input_layernorm.weight", 1, MK_DIM, false),
    MK_L("attn_q", "attn_q.weight", "self_attn.q_proj.weight", MK_DIM, MK_DIM, true),
    MK_L("attn_k", "attn_k.weight", "self_attn.k_proj.weight", MK_KV, MK_DIM, true),
    MK_L("attn_v", "attn_v.weight", "self_attn.v_proj.weight", MK_KV, MK_DIM, true),
    MK_L("attn_o", "attn_output.weight", "self_attn.o_proj.weight", MK_DIM, MK_DIM, true),
    MK_L("ffn_norm", "ffn_norm.weight", "post_attention_layernorm.weight", 1, MK_DIM, false),
    MK_L("ffn_gate", "ffn_gate.weight", "mlp.gate_proj.weight", MK_FFN, MK_DIM, true),
    MK_L("ffn_up", "ffn_up.weight", "mlp.up_proj.weight", MK_FFN, MK_DIM, true),
    MK_L("ffn_down", "ffn_down.weight", "mlp.down_proj.weight", MK_DIM, MK_FFN, true),
};
const size_t mk_n_tensors = sizeof mk_tensors / sizeof mk_tensors[0];

float mk_weight(const char *name, size_t i)
{
    uint64_t mixed = (lb_hash64(name, strlen(name)) + i) * UINT64_C(0x9e3779b97f4a7c15);
    return (float)((int)(mixed >> 40) % 129 - 64) / 64.0f;
}

static void mk_numbers(mk_blob *b, const mk_tensor *t, const char *dtype)
{
    for (size_t i = 0; i < (size_t)t->rows * t->cols; i++) {
        unsigned char p[4];
        float w = mk_weight(t->name, i);
        lb_store_u32(p, lb_f32_bits(w));
        if (strcmp(dtype, "F32") != 0) {
            lb_store_u16(p, strcmp(dtype, "F16") == 0 ? lb_f32_to_f16(w) : lb_f32_to_bf16(w));
        }
        mk_put(b, p, strcmp(dtype, "F32") == 0 ? 4 : 2);
    }
}

/* ---------------------------------------------------------------- GGUF */

static void mk_gguf_bytes(mk_blob *b, const char *text)
{
    mk_u64(b, strlen(text));
    mk_put(b, text, strlen(text));
}

static void mk_gguf_key(mk_gguf *g, const char *key, uint32_t type)
{
    mk_gguf_bytes(&g->kv, key);
    mk_u32(&g->kv, type);
    g->n_kv++;
}

void mk_gguf_u32(mk_gguf *g, const char *key, uint32_t v)
{
    mk_gguf_key(g, key, 4);
    mk_u32(&g->kv, v);
}

void mk_gguf_f32(mk_gguf *g, const char *key, float v)
{
    mk_gguf_key(g, key, 6);
    mk_u32(&g->kv, lb_f32_bits(v));
}

void mk_gguf_bool(mk_gguf *g, const char *key, bool v)
{
    mk_gguf_key(g, key, 7);
    mk_put(&g->kv, v ? "\1" : "\0", 1);
}

void mk_gguf_string(mk_gguf *g, const char *key, const char *v)
{
    mk_gguf_key(g, key, 8);
    mk_gguf_bytes(&g->kv, v);
}

void mk_gguf_value(mk_gguf *g, const char *key, uint32_t type, const void *v, size_t bytes)
{
    mk_gguf_key(g, key, type);
    mk_put(&g->kv, v, bytes);
}

static void mk_gguf_array(mk_gguf *g, const char *key, uint32_t item, size_t n)
{
    mk_gguf_key(g, key, 9);
    mk_u32(&g->kv, item);
    mk_u64(&g->kv, n);
}

void mk_gguf_strings(mk_gguf *g, const char *key, const char *const *v, size_t n)
{
    mk_gguf_array(g, key, 8, n);
    for (size_t i = 0; i < n; i++) {
        mk_gguf_bytes(&g->kv, v[i]);
    }
}

void mk_gguf_floats(mk_gguf *g, const char *key, const float *v, size_t n)
{
    mk_gguf_array(g, key, 6, n);
    for (size_t i = 0; i < n; i++) {
        mk_u32(&g->kv, lb_f32_bits(v[i]));
    }
}

void mk_gguf_ints(mk_gguf *g, const char *key, const int32_t *v, size_t n)
{
    mk_gguf_array(g, key, 5, n);
    for (size_t i = 0; i < n; i++) {
        mk_u32(&g->kv, (uint32_t)v[i]);
    }
}

void mk_gguf_tensor(mk_gguf *g, const char *name, uint64_t rows, uint64_t cols, uint32_t type,
                    const void *data, size_t bytes)
{
    mk_pad(&g->data, 32);
    mk_gguf_bytes(&g->info, name);
    mk_u32(&g->info, rows == 1 ? 1 : 2);
    mk_u64(&g->info, cols);
    if (rows != 1) {
        mk_u64(&g->info, rows);
    }
    mk_u32(&g->info, type);
    mk_u64(&g->info, g->data.n);
    mk_put(&g->data, data, bytes);
    g->n_tensors++;
}

void mk_gguf_numbers(mk_gguf *g, const char *arch)
{
    static const struct {
        const char *key;
        uint32_t v;
    } numbers[] = { { "block_count", 1 },
                    { "embedding_length", MK_DIM },
                    { "feed_forward_length", MK_FFN },
                    { "context_length", MK_CONTEXT },
                    { "attention.head_count", 2 },
                    { "attention.head_count_kv", 1 },
                    { "rope.dimension_count", 16 } };
    char key[128];
    mk_gguf_string(g, "general.architecture", arch);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        snprintf(key, sizeof key, "%s.%s", arch, numbers[i].key);
        mk_gguf_u32(g, key, numbers[i].v);
    }
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", arch);
    mk_gguf_f32(g, key, 0x1p-20f);
}

void mk_gguf_vocabulary(mk_gguf *g)
{
    static const char *const tokens[MK_VOCAB] = { "<unk>",        "<s>", "</s>", "<0x0A>",
                                                  "\xe2\x96\x81", "a",   "b",    "ab" };
    static const float scores[MK_VOCAB] = { 0, 0, 0, 0, -1, -2, -3, -4 };
    static const int32_t types[MK_VOCAB] = { 2, 3, 3, 6, 1, 1, 1, 1 };
    mk_gguf_string(g, "tokenizer.ggml.model", "llama");
    mk_gguf_strings(g, "tokenizer.ggml.tokens", tokens, MK_VOCAB);
    mk_gguf_floats(g, "tokenizer.ggml.scores", scores, MK_VOCAB);
    mk_gguf_ints(g, "tokenizer.ggml.token_type", types, MK_VOCAB);
    mk_gguf_u32(g, "tokenizer.ggml.bos_token_id", 1);
    mk_gguf_u32(g, "tokenizer.ggml.eos_token_id", 2);
    mk_gguf_u32(g, "tokenizer.ggml.unknown_token_id", 0);
    mk_gguf_bool(g, "tokenizer.ggml.add_bos_token", true);
}

void mk_gguf_weights(mk_gguf *g, uint32_t type, const char *except)
{
    for (size_t i = 0; i < mk_n_tensors; i++) {
        const mk_tensor *t = &mk_tensors[i];
        if (except != NULL && strcmp(except, t->gguf) == 0) {
            continue;
        }
        mk_blob b = { NULL, 0, 0 };
        uint32_t own = t->rows == 1 ? 0 : type;
        mk_numbers(&b, t, own == 0 ? "F32" : "F16");
        mk_gguf_tensor(g, t->gguf, t->rows, t->cols, own, b.data, b.n);
        mk_free(&b);
    }
}

void mk_gguf_end(mk_gguf *g, mk_blob *out)
{
    mk_put(out, "GGUF", 4);
    mk_u32(out, 3);
    mk_u64(out, g->n_tensors);
    mk_u64(out, g->n_kv);
    mk_put(out, g->kv.data, g->kv.n);
    mk_put(out, g->info.data, g->info.n);
    mk_pad(out, 32);
    mk_put(out, g->data.data, g->data.n);
    mk_pad(out, 32);
    mk_free(&g->kv);
    mk_free(&g->info);
    mk_free(&g->data);
}

void mk_gguf_model(const char *arch, uint32_t type, mk_blob *out)
{
    mk_gguf g = { 0 };
    mk_gguf_numbers(&g, arch);
    mk_gguf_vocabulary(&g);
    mk_gguf_weights(&g, type, NULL);
    mk_gguf_end(&g, out);
}

/* ---------------------------------------------------------------- Hugging Face */

void mk_st_tensor(mk_safetensors *s, const char *name, const char *dtype, const char *shape, const void *data,
                  size_t bytes)
{
    mk_text(&s->header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
            s->header.n == 0 ? "{\"__metadata__\":{\"format\":\"pt\"}," : ",", name, dtype, shape, s->data.n,
            s->data.n + bytes);
    mk_put(&s->data, data, bytes);
}

void mk_st_weights(mk_safetensors *s, const char *dtype, const char *except, bool linear)
{
    for (size_t i = 0; i < mk_n_tensors; i++) {
        const mk_tensor *t = &mk_tensors[i];
        if ((except != NULL && strcmp(except, t->hf) == 0) || (t->linear && !linear)) {
            continue;
        }
        char shape[64];
        snprintf(shape, sizeof shape, t->rows == 1 ? "%u" : "%u,%u", t->rows == 1 ? t->cols : t->rows,
                 t->cols);
        mk_blob b = { NULL, 0, 0 };
        mk_numbers(&b, t, dtype);
        mk_st_tensor(s, t->hf, dtype, shape, b.data, b.n);
        mk_free(&b);
    }
}

void mk_st_end(mk_safetensors *s, mk_blob *out)
{
    mk_text(&s->header, "}");
    while (s->header.n % 8 != 0) {
        mk_text(&s->header, " ");
    }
    mk_u64(out, s->header.n);
    mk_put(out, s->header.data, s->header.n);
    mk_put(out, s->data.data, s->data.n);
    mk_free(&s->header);
    mk_free(&s->data);
}

void mk_config(const char *architecture, const char *more, mk_blob *out)
{
    mk_text(
        out,
        "{\"architectures\": [\"%s\"], \"vocab_size\": 8, \"hidden_size\": 32, \"intermediate_size\": 64,"
        " \"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"head_dim\": 16,"
        " \"max_position_embeddings\": 16, \"rms_norm_eps\": 1e-05, \"bos_token_id\": 1, \"eos_token_id\": "
        "2%s%s}\n",
        architecture, more[0] == '\0' ? "" : ", ", more);
}

const char mk_tokenizer_json[] =
    "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": ["
    "{\"id\": 0, \"content\": \"<unk>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
    "\"normalized\": false,"
    " \"special\": true}, {\"id\": 1, \"content\": \"<s>\", \"single_word\": false, \"lstrip\": false, "
    "\"rstrip\": false,"
    " \"normalized\": false, \"special\": true}, {\"id\": 2, \"content\": \"</s>\", \"single_word\": false, "
    "\"lstrip\": false,"
    " \"rstrip\": false, \"normalized\": false, \"special\": true}],"
    " \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": "
    "\"\xe2\x96\x81\"},"
    " {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\xe2\x96\x81\"}]}, "
    "\"pre_tokenizer\": null,"
    " \"post_processor\": null, \"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", "
    "\"pattern\":"
    " {\"String\": \"\xe2\x96\x81\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": "
    "\"Fuse\"},"
    " {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]},"
    " \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": \"<unk>\", "
    "\"continuing_subword_prefix\": null,"
    " \"end_of_word_suffix\": null, \"fuse_unk\": true, \"byte_fallback\": true, \"vocab\": {\"<unk>\": 0, "
    "\"<s>\": 1,"
    " \"</s>\": 2, \"<0x0A>\": 3, \"\xe2\x96\x81\": 4, \"a\": 5, \"b\": 6, \"ab\": 7}, \"merges\": [\"a "
    "b\"]}}\n";

const char *mk_folder(const char *name, const mk_blob *config, const mk_blob *weights)
{
    char path[512];
    const char *folder = lb_test_temp(name);
    mkdir(folder, 0777);
    snprintf(path, sizeof path, "%s/config.json", folder);
    mk_write(path, config->data, config->n);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    if (weights != NULL) {
        mk_write(path, weights->data, weights->n);
    }
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    mk_write(path, mk_tokenizer_json, strlen(mk_tokenizer_json));
    return folder;
}

/* ---------------------------------------------------------------- llama2.c */

static void mk_by_name(mk_blob *out, const char *name)
{
    for (size_t i = 0; i < mk_n_tensors; i++) {
        if (strcmp(mk_tensors[i].name, name) == 0) {
            mk_numbers(out, &mk_tensors[i], "F32");
        }
    }
}

void mk_llama2c(bool version1, bool tied, mk_blob *out)
{
    static const char *const legacy[] = {
        "tok_embed",         "layers.0.attn_norm", "layers.0.attn_q",   "layers.0.attn_k",
        "layers.0.attn_v",   "layers.0.attn_o",    "layers.0.ffn_norm", "layers.0.ffn_gate",
        "layers.0.ffn_down", "layers.0.ffn_up",    "out_norm"
    };
    static const char *const second[] = { "layers.0.attn_norm", "layers.0.ffn_norm", "out_norm",
                                          "tok_embed",          "layers.0.attn_q",   "layers.0.attn_k",
                                          "layers.0.attn_v",    "layers.0.attn_o",   "layers.0.ffn_gate",
                                          "layers.0.ffn_down",  "layers.0.ffn_up" };
    if (version1) {
        mk_u32(out, 0x616b3432);
        mk_u32(out, 1);
    }
    const uint32_t header[7] = { MK_DIM, MK_FFN, 1, 2, 1, MK_VOCAB, MK_CONTEXT };
    for (size_t i = 0; i < 7; i++) {
        mk_u32(out, i == 5 && !version1 && !tied ? (uint32_t)-MK_VOCAB : header[i]);
    }
    if (version1) {
        mk_put(out, tied ? "\1" : "\0", 1);
        mk_pad(out, 256);
    }
    for (size_t i = 0; i < mk_n_tensors; i++) {
        mk_by_name(out, version1 ? second[i] : legacy[i]);
    }
    if (!version1) {
        for (size_t i = 0; i < MK_CONTEXT * 16; i++) {
            mk_u32(out, 0x3f800000u);
        }
    }
    if (!tied) {
        mk_tensor head = { .name = "out_head", .rows = MK_VOCAB, .cols = MK_DIM };
        mk_numbers(out, &head, "F32");
    }
}
