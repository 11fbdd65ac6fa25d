/*
 * A safetensors file: its table, and a Hugging Face folder that has it as its weights. The first byte, modulo LB_FUZZ_HF_KINDS, says what folder
 * that is: of which architecture, with which quantization, an adapter's, or whether the input is another file of it (lb_fuzz_hf.h). Divided by
 * it, it says which allocation fails when the folder is opened again, or (6) that the model is converted.
 */
#include "../../formats/import/lb_safetensors.h"
#include "fuzz_convert.h"
#include "fuzz_source.h"

#include <stdio.h>
#include <sys/stat.h>

#include "../lb_test.h"
#include "lb_fuzz_hf.h"

static const char safetensors_index[] = "{\"weight_map\":{\"model.embed_tokens.weight\":\"part.safetensors\",\"model.norm.weight\":\"rest.safetensors\","
                                        "\"lm_head.weight\":\"part.safetensors\"}}";

static void folder_file(const char *folder, const char *name, const void *data, size_t bytes)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    mk_write(path, data, bytes);
}

/* A file of the folder that is not the input: with `rest`, the last norm alone, else all without it. */
static void folder_weights(const char *folder, const char *name, bool rest)
{
    mk_safetensors s = { { NULL, 0, 0 }, { NULL, 0, 0 } };
    mk_blob b = { NULL, 0, 0 };
    lb_fuzz_hf_put_ends(&s, "F16", rest ? 0 : 16, rest ? 16 : 0);
    if (!rest) {
        lb_fuzz_hf_put_layer(&s, "F16", 0, &LB_FUZZ_HF_USUAL, NULL);
    }
    mk_st_end(&s, &b);
    folder_file(folder, name, b.data, b.n);
    mk_free(&b);
}

/* Makes the folder of a kind when it is asked for first. */
static const char *folder_of(lb_fuzz_hf_kind kind)
{
    static char folders[LB_FUZZ_HF_KINDS][256];
    char *folder = folders[kind];
    const lb_fuzz_hf_input input = lb_fuzz_hf_input_of(kind);
    if (folder[0]) {
        return folder;
    }
    char name[32];
    mk_blob config = { NULL, 0, 0 };
    snprintf(name, sizeof name, "fuzz-hf-%d", (int)kind);
    snprintf(folder, sizeof folders[0], "%s", lb_test_temp(name));
    mkdir(folder, 0777);
    lb_fuzz_hf_config(kind, &config);
    const bool adapter = input == LB_FUZZ_HF_LORA || input == LB_FUZZ_HF_LORA_CONFIG;
    folder_file(folder, adapter ? "adapter_config.json" : "config.json", config.data, config.n);
    folder_file(folder, "tokenizer.json", mk_tokenizer_json, strlen(mk_tokenizer_json));
    mk_free(&config);
    if (input == LB_FUZZ_HF_SHARD || input == LB_FUZZ_HF_INDEX) {
        folder_weights(folder, "rest.safetensors", true);
        folder_weights(folder, "part.safetensors", false);
        folder_file(folder, "model.safetensors.index.json", safetensors_index, sizeof safetensors_index - 1);
        folder_file(folder, "chat_template.jinja", "{{ messages[0].content }}", 25);
    }
    if (input == LB_FUZZ_HF_LORA_CONFIG) {
        mk_safetensors s = { { NULL, 0, 0 }, { NULL, 0, 0 } };
        mk_blob b = { NULL, 0, 0 };
        lb_fuzz_hf_tensor(&s, "model.layers.0.mlp.up_proj.lora_A.weight", "F32", 2, 4);
        lb_fuzz_hf_tensor(&s, "model.layers.0.mlp.up_proj.lora_B.weight", "F32", 4, 2);
        mk_st_end(&s, &b);
        folder_file(folder, "adapter_model.safetensors", b.data, b.n);
        mk_free(&b);
    }
    return folder;
}

/* How: the folder is opened once more, and that allocation fails; 0: not; FOLDER_CONVERT: what is opened is converted. */
enum { FOLDER_CONVERT = 1000 };

static void fuzz_folder(const char *folder, unsigned how)
{
    const unsigned fail_at = how == FOLDER_CONVERT ? 0 : how;
    lb_source *source = NULL;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_status s = lb_source_open(folder, NULL, lb_fuzz_allocator(0), &source, &err);
    lb_fuzz_error(s, &err);
    const bool opened = source != NULL;
    lb_fuzz_check((s == LBRT_OK) == opened, "a source in spite of a failure, or none");
    if (source) {
        if (how == FOLDER_CONVERT) {
            fuzz_convert(source);
        }
        fuzz_source(source);
    }
    if (fail_at) {
        s = lb_source_open(folder, NULL, lb_fuzz_allocator(fail_at), &source, &err);
        lb_fuzz_error(s, &err);
        lb_fuzz_check((s == LBRT_OK) == (source != NULL) && (s == LBRT_OK || s == LBRT_ERR_MEMORY || !opened), "no other failure than of memory");
        if (source) {
            source->close(source);
        }
    }
}

/* The table alone; false if it is refused. */
static bool fuzz_table(const uint8_t *data, size_t bytes)
{
    lbrt_error err = { LBRT_OK, "" };
    unsigned char *file = lb_fuzz_copy(data, bytes);
    lb_safetensors t;
    const lbrt_status s = lb_safetensors_read(file, bytes, lb_fuzz_allocator(0), &t, &err);
    lb_fuzz_error(s, &err);
    if (s == LBRT_OK) {
        for (size_t i = 0; i < t.n; i++) {
            lb_fuzz_check(t.tensors[i].data >= file && t.tensors[i].bytes <= (size_t)(file + bytes - t.tensors[i].data), "a tensor outside");
        }
        lb_safetensors_free(&t);
    }
    free(file);
    return s == LBRT_OK;
}

LB_FUZZ_TARGET(safetensors)
{
    if (bytes == 0) {
        return 0;
    }
    const size_t alive = lb_fuzz_alive();
    const lb_fuzz_hf_kind kind = (lb_fuzz_hf_kind)(data[0] % LB_FUZZ_HF_KINDS);
    static const unsigned hows[256 / LB_FUZZ_HF_KINDS + 1] = { 0, 1, 3, 6, 10, 17, [LB_FUZZ_HF_CONVERT / LB_FUZZ_HF_KINDS] = FOLDER_CONVERT, 27 };
    const unsigned how = hows[data[0] / LB_FUZZ_HF_KINDS];
    const lb_fuzz_hf_input input = lb_fuzz_hf_input_of(kind);
    const bool two = input == LB_FUZZ_HF_CONFIG || input == LB_FUZZ_HF_OLDER;
    const uint8_t *end = two ? memchr(data + 1, 0, bytes - 1) : NULL;
    const size_t config = end ? (size_t)(end - data - 1) : 0; /* bytes of config.json, behind which a zero byte is */
    const uint8_t *rest = end ? end + 1 : data + 1;
    const size_t n = (size_t)(data + bytes - rest);
    switch (input) {
    case LB_FUZZ_HF_INDEX:
        folder_file(folder_of(kind), "model.safetensors.index.json", rest, n);
        fuzz_folder(folder_of(kind), how);
        break;
    case LB_FUZZ_HF_LORA_CONFIG:
        folder_file(folder_of(kind), "adapter_config.json", rest, n);
        fuzz_lora(folder_of(kind));
        break;
    case LB_FUZZ_HF_LORA:
        if (fuzz_table(rest, n)) {
            folder_file(folder_of(kind), "adapter_model.safetensors", rest, n);
            fuzz_lora(folder_of(kind));
        }
        break;
    case LB_FUZZ_HF_WEIGHTS:
    case LB_FUZZ_HF_SHARD:
    case LB_FUZZ_HF_CONFIG:
    case LB_FUZZ_HF_OLDER:
        if (two && !end) {
            break; /* the config of the last input would still be there */
        }
        if (fuzz_table(rest, n)) {
            if (end) {
                folder_file(folder_of(kind), input == LB_FUZZ_HF_CONFIG ? "config.json" : "quant_config.json", data + 1, config);
            }
            folder_file(folder_of(kind), input == LB_FUZZ_HF_SHARD ? "part.safetensors" : "model.safetensors", rest, n);
            fuzz_folder(folder_of(kind), how);
        }
        break;
    }
    lb_fuzz_check(lb_fuzz_alive() == alive, "a leak");
    return 0;
}
