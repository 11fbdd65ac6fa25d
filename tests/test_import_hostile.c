/*
 * Files that lie. Every refusal names what is wrong; mutations and truncations of small files of every kind
 * may open or not, but never crash, leak, or take memory that the file does not justify (the runs under the
 * sanitizers see the rest).
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/import/lb_ggml_types.h"
#include "../formats/import/lb_gguf.h"
#include "../formats/import/lb_safetensors.h"
#include "../formats/import/lb_source.h"
#include "../runtime/base/lb_base.h"
#include "lb_test.h"
#include "make_models.h"

/* An allocator that counts what is alive at most. */
static struct {
    size_t alive, most;
} counting;

static void *counting_alloc(void *user, size_t bytes, size_t align)
{
    (void)user;
    void *p = NULL;
    if (posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, bytes) != 0) {
        return NULL;
    }
    counting.alive += bytes;
    counting.most = counting.alive > counting.most ? counting.alive : counting.most;
    return p;
}

static void counting_free(void *user, void *ptr, size_t bytes, size_t align)
{
    (void)user;
    (void)align;
    counting.alive -= bytes;
    free(ptr);
}

static const lbrt_allocator counting_allocator = { counting_alloc, counting_free, NULL };

/* Opens, reads a row of everything if it could, closes; true if it could. */
static bool try_open(const char *path)
{
    lb_source *s = (lb_source *)&counting; /* must be overwritten */
    lbrt_error err = { 0 };
    lbrt_status status = lb_source_open(path, NULL, &counting_allocator, &s, &err);
    if (status != LBRT_OK) {
        LB_CHECK(s == NULL && err.text[0] != '\0', "a failure has a sentence and no source");
        return false;
    }
    for (size_t i = 0; i < s->n_tensors; i++) {
        const lb_source_tensor *t = &s->tensors[i];
        float *row = malloc((size_t)t->cols * sizeof *row);
        if (row != NULL) {
            (void)s->read_rows(s, i, t->rows - 1, 1, row, NULL);
        }
        free(row);
    }
    s->close(s);
    return true;
}

/* ---------------------------------------------------------------- refusals */

static void expect_status(const char *path, lbrt_status want, const char *word)
{
    lb_source *s = NULL;
    lbrt_error err = { 0 };
    lbrt_status status = lb_source_open(path, NULL, NULL, &s, &err);
    LB_CHECK(status == want && s == NULL && strstr(err.text, word) != NULL, "wanted %s '%s', got %s: %s",
             lbrt_status_name(want), word, lbrt_status_name(status), err.text);
    if (s != NULL) {
        s->close(s);
    }
}

static void expect_blob(const mk_blob *b, lbrt_status want, const char *word)
{
    const char *path = lb_test_temp("hostile");
    mk_write(path, b->data, b->n);
    expect_status(path, want, word);
}

/* A whole tiny model and one more key, or one more tensor, or the architecture changed. */
static void refuse_gguf_key(const char *arch, const char *key, const char *text, float number,
                            lbrt_status want, const char *word)
{
    mk_gguf g = { 0 };
    mk_blob b = { NULL, 0, 0 };
    mk_gguf_numbers(&g, arch);
    if (text != NULL) {
        mk_gguf_string(&g, key, text);
    } else if (key != NULL) {
        mk_gguf_f32(&g, key, number);
    }
    mk_gguf_weights(&g, LB_GGML_F32, NULL);
    mk_gguf_end(&g, &b);
    expect_blob(&b, want, word);
    mk_free(&b);
}

static void refuse_gguf_tensor(const char *name, uint64_t rows, uint64_t cols, uint32_t type, size_t bytes,
                               const char *except, lbrt_status want, const char *word)
{
    static const unsigned char zeros[1 << 15];
    mk_gguf g = { 0 };
    mk_blob b = { NULL, 0, 0 };
    mk_gguf_numbers(&g, "llama");
    mk_gguf_weights(&g, LB_GGML_F32, except);
    if (name != NULL) {
        mk_gguf_tensor(&g, name, rows, cols, type, zeros, bytes);
    }
    mk_gguf_end(&g, &b);
    expect_blob(&b, want, word);
    mk_free(&b);
}

static void check_gguf_refusals(void)
{
    const lbrt_status no = LBRT_ERR_UNSUPPORTED, bad = LBRT_ERR_FORMAT;
    static const char up[] = "blk.0.ffn_up.weight";
    lb_test_case("gguf: refused by name");
    refuse_gguf_key("mamba", NULL, NULL, 0, no, "mamba");
    refuse_gguf_key("llama", "llama.rope.scaling.type", "longrope", 0, no, "longrope");
    refuse_gguf_key("llama", "llama.expert_count", NULL, 8, no, "experts");
    refuse_gguf_key("llama", "llama.attention.sliding_window", NULL, 8, bad, "sliding_window");
    refuse_gguf_key("llama", "llama.attn_logit_softcapping", NULL, 30, no, "softcapping");
    refuse_gguf_key("qwen3", NULL, NULL, 0, bad, "attn_q_norm");
    refuse_gguf_key("qwen2", NULL, NULL, 0, bad, "attn_q_bias");
    refuse_gguf_key("bitnet-b1.58", NULL, NULL, 0, bad, "attn_sub_norm");
    refuse_gguf_key("llama", "llama.attention.layer_norm_rms_epsilon", NULL, 1, bad, "twice");
    refuse_gguf_key("llama", "general.alignment", NULL, 33, bad, "alignment");
    refuse_gguf_tensor(NULL, 0, 0, 0, 0, up, bad, "layers.0.ffn_up");
    refuse_gguf_tensor(up, MK_FFN, MK_DIM, 0, MK_FFN * MK_DIM * 4, NULL, bad, "twice");
    refuse_gguf_tensor(up, MK_DIM, MK_FFN, 0, MK_FFN * MK_DIM * 4, up, bad, "rows of");
    refuse_gguf_tensor(up, MK_FFN, MK_DIM, 15, 256, up, no, "q8_k");
    refuse_gguf_tensor(up, MK_FFN, MK_DIM, 26, 256, up, no, "i32");
    refuse_gguf_tensor(up, MK_FFN, MK_DIM, 12, 256, up, bad, "whole blocks");
    refuse_gguf_tensor(up, MK_FFN, MK_DIM, 12345, 256, up, no, "12345");
    refuse_gguf_tensor(up, MK_FFN, 0, 0, 0, up, bad, "side of 0");
    refuse_gguf_tensor(up, UINT64_MAX / 4, MK_DIM, 0, 64, up, bad, "large");
    refuse_gguf_tensor(up, UINT64_C(1) << 61, 8, 0, 64, up, bad, "large");
    refuse_gguf_tensor(up, UINT64_C(1) << 40, MK_DIM, 0, 64, up, bad, "behind the file");
    refuse_gguf_tensor("blk.7.ffn_up.weight", MK_FFN, MK_DIM, 0, 64, NULL, bad, "behind the file");
    refuse_gguf_tensor("blk.7.ffn_up.weight", 1, 16, 0, 64, NULL, no, "blk.7");
    refuse_gguf_tensor("blk.00.ffn_up.weight", 1, 16, 0, 64, up, no, "blk.00");
    refuse_gguf_tensor("blk.0.ffn_gate_inp.weight", 1, 16, 0, 64, NULL, no, "ffn_gate_inp");
}

/* Headers alone, with counts that no file of that size can have. */
static void check_gguf_counts(void)
{
    lb_test_case("gguf: impossible counts");
    static const uint64_t counts[][2] = { { UINT64_MAX, 0 },        { 0, UINT64_MAX },
                                          { UINT64_C(1) << 60, 1 }, { 1, UINT64_C(1) << 60 },
                                          { 1u << 20, 1u << 12 },   { UINT64_MAX / 88, UINT64_MAX / 64 } };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        mk_blob b = { NULL, 0, 0 };
        mk_put(&b, "GGUF", 4);
        mk_u32(&b, 3);
        mk_u64(&b, counts[i][0]);
        mk_u64(&b, counts[i][1]);
        for (int k = 0; k < 32; k++) {
            mk_u64(&b, 0);
        }
        counting.most = counting.alive = 0;
        const char *path = lb_test_temp("counts.gguf");
        mk_write(path, b.data, b.n);
        LB_CHECK(!try_open(path), "opened");
        LB_CHECK(counting.most < 16384 && counting.alive == 0, "%zu bytes for a file of %zu", counting.most,
                 b.n);
        mk_free(&b);
    }
    /* a string, an array of numbers, an array of strings, and a nested array longer than the file */
    static const uint32_t kinds[][2] = { { 8, 0 }, { 9, 6 }, { 9, 8 }, { 9, 9 }, { 77, 0 }, { 9, 77 } };
    static const uint64_t lengths[] = { UINT64_MAX, UINT64_C(1) << 62, UINT64_C(1) << 32, 100 };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
            mk_blob b = { NULL, 0, 0 };
            mk_put(&b, "GGUF", 4);
            mk_u32(&b, 3);
            mk_u64(&b, 0);
            mk_u64(&b, 1);
            mk_u64(&b, 1);
            mk_put(&b, "k", 1);
            mk_u32(&b, kinds[i][0]);
            if (kinds[i][0] == 9) {
                mk_u32(&b, kinds[i][1]);
            }
            mk_u64(&b, lengths[k]);
            lb_gguf g;
            LB_CHECK(lb_gguf_read(b.data, b.n, NULL, &g, NULL) == LBRT_ERR_FORMAT, "kind %zu, length %zu", i,
                     k);
            mk_free(&b);
        }
    }
    mk_blob b = { NULL, 0, 0 };
    mk_gguf_model("llama", LB_GGML_F32, &b);
    b.data[4] = 1;
    expect_blob(&b, LBRT_ERR_UNSUPPORTED, "version 1");
    lb_store_u32(b.data + 4, 0x03000000u);
    expect_blob(&b, LBRT_ERR_UNSUPPORTED, "big-endian");
    mk_free(&b);
}

static void refuse_hf(const char *arch, const char *more, const char *except, lbrt_status want,
                      const char *word)
{
    mk_safetensors st = { 0 };
    mk_blob config = { NULL, 0, 0 }, weights = { NULL, 0, 0 };
    mk_st_weights(&st, "F32", except, true);
    mk_st_end(&st, &weights);
    mk_config(arch, more, &config);
    expect_status(mk_folder("refuse", &config, &weights), want, word);
    mk_free(&config);
    mk_free(&weights);
}

static void check_hf_refusals(void)
{
    const lbrt_status no = LBRT_ERR_UNSUPPORTED, bad = LBRT_ERR_FORMAT;
    static const char llama[] = "LlamaForCausalLM", qwen[] = "Qwen2ForCausalLM",
                      mistral[] = "MistralForCausalLM";
    lb_test_case("hf: refused by name");
    refuse_hf("GemmaForCausalLM", "", NULL, no, "GemmaForCausalLM");
    refuse_hf(llama, "\"quantization_config\": {\"quant_method\": \"compressed-tensors\", \"transform_config\": {\"config_groups\": {\"R4\": {\"apply\": "
                     "[{\"location\": \"weight_input\"}, {\"location\": \"input\"}]}}}}", NULL, no, "transform_config");
    refuse_hf(llama, "\"rope_scaling\": {\"rope_type\": \"longrope\", \"factor\": 4}", NULL, no, "longrope");
    refuse_hf(llama, "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4, \"truncate\": false}", NULL, no, "truncate");
    refuse_hf(llama, "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 0.5}", NULL, bad, "YaRN");
    refuse_hf(llama, "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4, \"beta_fast\": 0.5}", NULL, bad, "YaRN");
    refuse_hf(llama, "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4, \"attention_factor\": -1}", NULL, bad, "YaRN");
    refuse_hf(llama, "\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"yarn\", \"factor\": 4, \"rope_theta\": 1e6}}", NULL, no, "kinds of layers");
    refuse_hf(llama, "\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 4}", NULL, no, "dynamic");
    refuse_hf(llama, "\"rope_scaling\": {\"type\": \"linear\"}", NULL, bad, "factor");
    refuse_hf(llama, "\"rope_scaling\": {\"type\": \"linear\", \"factor\": -1}", NULL, bad, "factor");
    refuse_hf(llama, "\"rope_parameters\": {\"rope_type\": \"longrope\", \"factor\": 4}", NULL, no,
              "longrope");
    refuse_hf(llama, "\"quantization_config\": {\"quant_method\": \"quip\", \"bits\": 2}", NULL, no, "quip");
    refuse_hf(llama, "\"quantization_config\": {\"quant_method\": \"gptq\", \"bits\": 5}", NULL, no, "bits");
    refuse_hf(llama, "\"quantization_config\": {\"quant_method\": \"gptq\", \"bits\": 4, \"checkpoint_format\": \"marlin\"}", NULL, no, "checkpoint_format");
    refuse_hf(llama, "\"quantization_config\": {\"quant_method\": \"awq\", \"bits\": 4, \"version\": \"marlin\"}", NULL, no, "gemm");
    refuse_hf(llama, "\"hidden_act\": \"gelu\"", NULL, no, "gelu");
    refuse_hf(llama, "\"attention_bias\": true", NULL, bad, "attn_q_bias");
    refuse_hf(llama, "\"partial_rotary_factor\": 0.5", NULL, no, "part of the head");
    refuse_hf(llama, "\"layer_types\": [\"linear_attention\"]", NULL, no, "linear_attention");
    refuse_hf(llama, "\"tie_word_embeddings\": false", NULL, bad, "out_head");
    refuse_hf(llama, "", "model.layers.0.mlp.up_proj.weight", bad, "layers.0.ffn_up");
    refuse_hf(qwen, "", NULL, bad, "bias");
    refuse_hf(mistral, "\"sliding_window\": 0", NULL, bad, "window");
    refuse_hf(mistral, "\"sliding_window\": 8, \"layer_types\": [\"sliding_attention\", \"full_attention\"]", NULL, no, "window");
    refuse_hf("BitNetForCausalLM", "", NULL, bad, "sub_norm");
    lb_test_case("hf: windows, and some that change nothing");
    static const char *const harmless[] = { "\"sliding_window\": 8", "\"sliding_window\": null", "\"sliding_window\": 16", "",
                                            "\"sliding_window\": 8, \"layer_types\": [\"full_attention\"]" };
    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
        mk_safetensors st = { 0 };
        mk_blob config = { NULL, 0, 0 }, weights = { NULL, 0, 0 };
        mk_st_weights(&st, "F32", NULL, true);
        mk_st_end(&st, &weights);
        mk_config(mistral, harmless[i], &config);
        LB_CHECK(try_open(mk_folder("window", &config, &weights)), "%s", harmless[i]);
        mk_free(&config);
        mk_free(&weights);
    }
}

static void check_safetensors_refusals(void)
{
    static const struct {
        const char *header;
        size_t data;
        bool good;
    } cases[] = {
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, true },
        { "{\"__metadata__\":{\"x\":\"y\"},\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4,
          true },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9, false },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, false },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, false },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, false },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,1e300]}}", 8, false },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, false },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, false },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,0,1,1],\"data_offsets\":[0,0]},"
          "\"b\":{\"dtype\":\"F32\",\"shape\":[0,1,1,1],\"data_offsets\":[4,4]},"
          "\"c\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1],\"data_offsets\":[0,4]}}",
          4, true },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,4]},"
          "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
          4, false },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,2],\"data_offsets\":[0,0]}}", 0,
          false },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,2],\"data_offsets\":[0,8]}}", 8, false },
        { "{\"a\":{\"dtype\":\"Q4\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, false },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, false },
        { "{\"a\":7}", 8, false },
        { "{}", 0, false },
        { "[]", 0, false },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
          "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}",
          8, true },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]},"
          "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
          8, true },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
          "\"b\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[3,8]}}",
          8, false },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
          "\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[5,8]}}",
          8, false },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
          "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
          4, false },
    };
    lb_test_case("safetensors: headers");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mk_blob b = { NULL, 0, 0 };
        mk_u64(&b, strlen(cases[i].header));
        mk_text(&b, "%s", cases[i].header);
        for (size_t k = 0; k < cases[i].data; k++) {
            mk_put(&b, "\1", 1);
        }
        lb_safetensors s;
        lbrt_status status = lb_safetensors_read(b.data, b.n, NULL, &s, NULL);
        LB_CHECK((status == LBRT_OK) == cases[i].good, "%s", cases[i].header);
        if (status == LBRT_OK) {
            lb_safetensors_free(&s);
        }
        lb_store_u64(b.data, UINT64_MAX - 3);
        LB_CHECK(lb_safetensors_read(b.data, b.n, NULL, &s, NULL) == LBRT_ERR_FORMAT, "header length");
        mk_free(&b);
    }
}

/* ---------------------------------------------------------------- mutations */

/* file is rewritten n times with some bytes changed (the first `where` of them), path is what is opened. */
static void mutate(const char *what, const char *file, const char *path, const mk_blob *good, size_t where,
                   int n)
{
    static const unsigned char spice[] = { 0,   1,   0x7f, 0x80, 0xff, '{', '}', '"',
                                           ',', '0', '9',  '-',  'e',  ' ', ']', '[' };
    lb_test_case("mutations: %s", what);
    unsigned char *copy = malloc(good->n);
    size_t opened = 0;
    counting.most = counting.alive = 0;
    if (!LB_CHECK(copy != NULL, "memory")) {
        return;
    }
    for (int i = 0; i < n; i++) {
        memcpy(copy, good->data, good->n);
        for (uint64_t k = lb_test_random() % 4 + 1; k > 0; k--) {
            size_t at = (size_t)(lb_test_random() % where);
            uint64_t kind = lb_test_random() % 4;
            if (kind == 0) {
                copy[at] ^= (unsigned char)(1u << lb_test_random() % 8);
            } else if (kind == 1) {
                copy[at] = spice[lb_test_random() % sizeof spice];
            } else if (kind == 2 && at + 8 <= good->n) {
                lb_store_u64(copy + at, UINT64_MAX >> lb_test_random() % 64);
            } else {
                copy[at] = (unsigned char)lb_test_random();
            }
        }
        /* every other one is cut as well */
        mk_write(file, copy, i % 8 == 0 ? (size_t)(lb_test_random() % good->n) : good->n);
        opened += try_open(path);
    }
    free(copy);
    mk_write(file, good->data, good->n);
    LB_CHECK(try_open(path), "the file itself opens");
    LB_CHECK(opened < (size_t)n, "all of them open");
    LB_CHECK(counting.alive == 0, "%zu bytes leaked", counting.alive);
    LB_CHECK(counting.most < (1u << 20) + 256 * good->n, "%zu bytes for a file of %zu", counting.most,
             good->n);
}

static void cut_everywhere(const char *what, const char *file, const char *path, const mk_blob *good,
                           size_t step)
{
    lb_test_case("truncations: %s", what);
    size_t opened = 0;
    counting.alive = 0;
    for (size_t n = 0; n < good->n; n += step) {
        mk_write(file, good->data, n);
        opened += try_open(path);
    }
    mk_write(file, good->data, good->n);
    LB_CHECK(opened == 0, "%zu of them open", opened);
    LB_CHECK(counting.alive == 0, "%zu bytes leaked", counting.alive);
}

static void check_mutations(void)
{
    mk_blob b = { NULL, 0, 0 }, config = { NULL, 0, 0 }, json = { NULL, 0, 0 };
    char path[256], file[300];
    snprintf(path, sizeof path, "%s", lb_test_temp("mutant.gguf"));
    mk_gguf_model("llama", LB_GGML_F16, &b);
    mutate("gguf", path, path, &b, 2200, 12000); /* all but the weights */
    b.n -= 24;                                   /* the padding behind the last tensor may go */
    cut_everywhere("gguf", path, path, &b, 13);
    b.n = 0;

    snprintf(path, sizeof path, "%s", lb_test_temp("mutant.bin"));
    mk_llama2c(true, true, &b);
    mutate("llama2.c", path, path, &b, 64, 2000);
    cut_everywhere("llama2.c", path, path, &b, 67);
    b.n = 0;

    mk_safetensors st = { 0 };
    mk_st_weights(&st, "F16", NULL, true);
    mk_st_end(&st, &b);
    mk_config("LlamaForCausalLM", "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}", &config);
    snprintf(path, sizeof path, "%s", mk_folder("mutant", &config, &b));
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    mutate("safetensors", file, path, &b, 1300, 10000);
    cut_everywhere("safetensors", file, path, &b, 37);
    snprintf(file, sizeof file, "%s/config.json", path);
    mutate("config.json", file, path, &config, config.n, 10000);
    config.n -= 2; /* the brace and the newline */
    cut_everywhere("config.json", file, path, &config, 1);
    config.n += 2;
    mk_write(file, config.data, config.n);
    mk_text(&json, "%s", mk_tokenizer_json);
    snprintf(file, sizeof file, "%s/tokenizer.json", path);
    mutate("tokenizer.json", file, path, &json, json.n, 10000);
    mk_free(&b);
    mk_free(&config);
    mk_free(&json);
}

static void hostile_memory(const char *path, const char *what)
{
    lb_test_case("failing allocations: %s", what);
    size_t before = lb_test_alloc_alive();
    for (uint64_t fail = 1; fail < 500; fail++) {
        lb_source *s = NULL;
        lbrt_status status = lb_source_open(path, NULL, lb_test_allocator(fail), &s, NULL);
        if (s != NULL) {
            s->close(s);
        }
        LB_CHECK(lb_test_alloc_alive() == before, "leak when allocation %llu fails",
                 (unsigned long long)fail);
        if (status == LBRT_OK) {
            LB_CHECK(fail > 5, "only %llu allocations", (unsigned long long)fail);
            return;
        }
        LB_CHECK(status == LBRT_ERR_MEMORY && s == NULL, "allocation %llu: %s", (unsigned long long)fail,
                 lbrt_status_name(status));
    }
    LB_CHECK(false, "too many allocations");
}

static void hostile_all_memory(void)
{
    mk_blob b = { NULL, 0, 0 }, config = { NULL, 0, 0 };
    mk_gguf_model("llama", LB_GGML_F16, &b);
    const char *path = lb_test_temp("memory.gguf");
    mk_write(path, b.data, b.n);
    hostile_memory(path, "gguf");
    b.n = 0;
    mk_llama2c(true, true, &b);
    path = lb_test_temp("memory.bin");
    mk_write(path, b.data, b.n);
    hostile_memory(path, "llama2.c");
    b.n = 0;
    mk_safetensors st = { 0 };
    mk_st_weights(&st, "F32", NULL, true);
    mk_st_end(&st, &b);
    mk_config("LlamaForCausalLM", "", &config);
    hostile_memory(mk_folder("memory", &config, &b), "hf");
    mk_free(&b);
    mk_free(&config);
}

/* ---------------------------------------------------------------- threads */

typedef struct reading {
    const lb_source *s;
    size_t wrong;
} reading;

static void *read_thread(void *arg)
{
    reading *r = arg;
    float w[MK_FFN * MK_DIM];
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < r->s->n_tensors; i++) {
            const lb_source_tensor *t = &r->s->tensors[i];
            r->wrong += r->s->read_rows(r->s, i, 0, t->rows, w, NULL) != LBRT_OK;
            r->wrong += w[t->cols - 1] != mk_weight(t->name, (size_t)t->cols - 1);
        }
    }
    return NULL;
}

static void check_threads(void)
{
    lb_test_case("four threads read at once");
    mk_blob b = { NULL, 0, 0 };
    mk_gguf_model("llama", LB_GGML_F16, &b);
    const char *path = lb_test_temp("threads.gguf");
    mk_write(path, b.data, b.n);
    mk_free(&b);
    lb_source *s = NULL;
    if (!LB_CHECK(lb_source_open(path, NULL, NULL, &s, NULL) == LBRT_OK, "opens")) {
        return;
    }
    pthread_t threads[4];
    reading state[4];
    for (size_t i = 0; i < 4; i++) {
        state[i] = (reading){ s, 0 };
        if (pthread_create(&threads[i], NULL, read_thread, &state[i]) != 0) {
            abort();
        }
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        LB_CHECK(state[i].wrong == 0, "thread %zu: %zu wrong", i, state[i].wrong);
    }
    s->close(s);
}

void test_import_hostile(void)
{
    check_gguf_refusals();
    check_gguf_counts();
    check_hf_refusals();
    check_safetensors_refusals();
    check_mutations();
    hostile_all_memory();
    check_threads();
}
