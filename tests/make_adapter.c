/* See make_adapter.h. */
#include "make_adapter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../formats/pack/lb_convert.h"
#include "../formats/pack/lb_convert_adapter.h"
#include "lb_test.h"
#include "make_models.h"

const ad_matrix ad_matrices[AD_MATRICES] = {
    { "layers.0.attn_q", "self_attn.q_proj", "attn_q", 0, 40, 40 },  { "layers.0.attn_v", "self_attn.v_proj", "attn_v", 0, 20, 40 },
    { "layers.0.attn_o", "self_attn.o_proj", "attn_output", 0, 40, 40 },
    { "layers.1.attn_k", "self_attn.k_proj", "attn_k", 1, 20, 40 },  { "layers.1.ffn_gate", "mlp.gate_proj", "ffn_gate", 1, 72, 40 },
    { "layers.1.ffn_up", "mlp.up_proj", "ffn_up", 1, 72, 40 },       { "layers.1.ffn_down", "mlp.down_proj", "ffn_down", 1, 40, 72 },
};

float ad_number(const char *name, int salt, bool is_b, size_t i)
{
    uint64_t z = lb_hash64(name, strlen(name)) + (uint64_t)salt * 77 + is_b + i * 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 29) * 0xbf58476d1ce4e5b9ull;
    return (float)((int)((z ^ z >> 32) & 0xff) - 127) / (is_b ? 2048.0f : 512.0f);
}

float *ad_factor(const ad_matrix *m, int salt, bool is_b, size_t rank)
{
    const size_t n = is_b ? m->rows * rank : rank * m->cols;
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        x[i] = ad_number(m->name, salt, is_b, i);
    }
    return x;
}

const char *ad_peft(const char *name, const char *config, int salt, size_t rank, const char *except, const char *extra)
{
    static char folder[300];
    char path[400];
    snprintf(folder, sizeof folder, "%s", lb_test_temp(name));
    mkdir(folder, 0777);
    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    mk_write(path, config, strlen(config));
    mk_safetensors s = { { 0 }, { 0 } };
    for (size_t i = 0; i < AD_MATRICES; i++) {
        const ad_matrix *m = &ad_matrices[i];
        for (int is_b = 0; is_b < 2; is_b++) {
            char tensor[200], shape[64];
            float *x = ad_factor(m, salt, is_b, rank);
            snprintf(tensor, sizeof tensor, "base_model.model.model.layers.%zu.%s.lora_%s.weight", m->layer, m->peft, is_b ? "B" : "A");
            snprintf(shape, sizeof shape, "%zu,%zu", is_b ? m->rows : rank, is_b ? rank : m->cols);
            if (is_b || !except || strcmp(except, m->name) != 0) {
                mk_st_tensor(&s, tensor, "F32", shape, x, rank * (is_b ? m->rows : m->cols) * 4);
            }
            free(x);
        }
    }
    if (extra) {
        const float zero[4] = { 0 };
        mk_st_tensor(&s, extra, "F32", "2,2", zero, sizeof zero);
    }
    mk_blob out = { 0 };
    mk_st_end(&s, &out);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    mk_write(path, out.data, out.n);
    mk_free(&out);
    return folder;
}

const char *ad_convert(const char *from, const char *to, lb_wformat format, lbrt_error *err)
{
    static char paths[4][300];
    static unsigned next;
    char *path = paths[next++ % 4];
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lb_lora l;
    *err = (lbrt_error){ LBRT_OK, "" };
    snprintf(path, sizeof paths[0], "%s", lb_test_temp(to));
    LB_CHECK(lb_lora_is(from, &a), "%s is not seen to be an adapter", from);
    if (lb_lora_open(from, &a, &l, err) != LBRT_OK) {
        return NULL;
    }
    lbrt_status s = lb_convert_adapter(&l, path, format, &a, err);
    lb_lora_close(&l);
    return s == LBRT_OK ? path : NULL;
}

const char *ad_make(int salt, size_t rank, lb_wformat format)
{
    char config[200], name[32], out[32];
    lbrt_error err;
    snprintf(config, sizeof config, "{\"peft_type\": \"LORA\", \"lora_alpha\": %zu}", 2 * rank);
    snprintf(name, sizeof name, "peft-%d", salt);
    snprintf(out, sizeof out, "adapter-%d.lbrt", salt);
    const char *path = ad_convert(ad_peft(name, config, salt, rank, NULL, NULL), out, format, &err);
    LB_CHECK(path != NULL, "%s", err.text);
    return path;
}
