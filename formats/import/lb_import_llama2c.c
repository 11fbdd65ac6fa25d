/*
 * llama2.c models: 32-bit floats of a Llama in a fixed order. The legacy form begins with seven numbers;
 * version 1 with a magic number, the seven, a flag, and zeros up to 256 bytes. The file's size must be
 * exactly what the numbers ask for.
 */
#include "lb_import.h"

#define LLAMA2C_MAGIC     0x616b3432u
#define LLAMA2C_V1_HEADER 256u

typedef struct llama2c_walk {
    lb_import *im;
    const unsigned char *data;
    uint64_t pos, end;
    lbrt_error *err;
} llama2c_walk;

/* The next tensor of the file. */
static lbrt_status llama2c_take(llama2c_walk *w, const char *name, uint32_t layer, uint64_t rows,
                                uint64_t cols)
{
    uint64_t bytes = rows * cols * 4; /* sides were bounded: no overflow */
    LB_FAIL_IF(bytes > w->end - w->pos, w->err, LBRT_ERR_FORMAT,
               "the llama2.c file ends before %s of layer %u", name, (unsigned)layer);
    lb_place place = { .kind = LB_PLACE_ROWS,
                       .type = lb_ggml_type_find(LB_GGML_F32),
                       .type_name = "f32",
                       .data = w->data + w->pos,
                       .scale = 1.0f };
    w->pos += bytes;
    return lb_import_put(w->im, lb_import_slot(name, layer), name, strlen(name), rows, cols, &place, w->err);
}

/* The same tensor of every layer, one after the other. */
static lbrt_status llama2c_take_all(llama2c_walk *w, const char *name, uint64_t rows, uint64_t cols)
{
    for (uint32_t layer = 0; layer < w->im->source.hparams.n_layers; layer++) {
        LB_TRY(llama2c_take(w, name, layer, rows, cols));
    }
    return LBRT_OK;
}

static lbrt_status llama2c_tensors(llama2c_walk *w, bool legacy, bool tied)
{
    const lb_hparams *h = &w->im->source.hparams;
    uint64_t dim = h->dim, kv = (uint64_t)h->n_kv_heads * h->head_dim, ffn = h->ffn_dim;
    if (legacy) {
        LB_TRY(llama2c_take(w, "tok_embed", 0, h->n_vocab, dim));
        LB_TRY(llama2c_take_all(w, "attn_norm", 1, dim));
    } else {
        LB_TRY(llama2c_take_all(w, "attn_norm", 1, dim));
        LB_TRY(llama2c_take_all(w, "ffn_norm", 1, dim));
        LB_TRY(llama2c_take(w, "out_norm", 0, 1, dim));
        LB_TRY(llama2c_take(w, "tok_embed", 0, h->n_vocab, dim));
    }
    LB_TRY(llama2c_take_all(w, "attn_q", dim, dim));
    LB_TRY(llama2c_take_all(w, "attn_k", kv, dim));
    LB_TRY(llama2c_take_all(w, "attn_v", kv, dim));
    LB_TRY(llama2c_take_all(w, "attn_o", dim, dim));
    if (legacy) {
        LB_TRY(llama2c_take_all(w, "ffn_norm", 1, dim));
    }
    LB_TRY(llama2c_take_all(w, "ffn_gate", ffn, dim));
    LB_TRY(llama2c_take_all(w, "ffn_down", dim, ffn));
    LB_TRY(llama2c_take_all(w, "ffn_up", ffn, dim));
    if (legacy) {
        LB_TRY(llama2c_take(w, "out_norm", 0, 1, dim));
        /* Two tables of the rotary embedding's cosines and sines, which everyone computes anew. */
        uint64_t tables = (uint64_t)h->n_context * h->head_dim * 4;
        LB_FAIL_IF(tables > w->end - w->pos, w->err, LBRT_ERR_FORMAT,
                   "the llama2.c file ends before its last tensors");
        w->pos += tables;
    }
    if (!tied) {
        LB_TRY(llama2c_take(w, "out_head", 0, h->n_vocab, dim));
    }
    LB_FAIL_IF(w->pos != w->end, w->err, LBRT_ERR_FORMAT,
               "the llama2.c file is %llu bytes longer than its header says; is it one?",
               (unsigned long long)(w->end - w->pos));
    return LBRT_OK;
}

static lbrt_status llama2c_header(const lb_map *map, lb_hparams *h, bool *legacy, bool *tied, uint64_t *begin,
                                  lbrt_error *err)
{
    LB_FAIL_IF(map->bytes < 28, err, LBRT_ERR_FORMAT, "the llama2.c file ends too early");
    const unsigned char *p = map->data;
    *legacy = lb_load_u32(p) != LLAMA2C_MAGIC;
    *begin = 28;
    if (!*legacy) {
        uint32_t version = lb_load_u32(p + 4);
        LB_FAIL_IF(version == 2, err, LBRT_ERR_UNSUPPORTED,
                   "llama2.c files of version 2 (int8) are not supported");
        LB_FAIL_IF(version != 1, err, LBRT_ERR_UNSUPPORTED, "llama2.c files of version %u are not supported",
                   (unsigned)version);
        LB_FAIL_IF(map->bytes < LLAMA2C_V1_HEADER, err, LBRT_ERR_FORMAT, "the llama2.c file ends too early");
        p += 8;
        *begin = LLAMA2C_V1_HEADER;
        *tied = p[28] != 0;
    }
    int32_t v[7];
    for (int i = 0; i < 7; i++) {
        v[i] = (int32_t)lb_load_u32(p + 4 * i);
    }
    if (*legacy) { /* a vocabulary below zero says that the head is a tensor of its own */
        *tied = v[5] > 0;
        v[5] = v[5] < 0 && v[5] != INT32_MIN ? -v[5] : v[5];
    }
    for (int i = 0; i < 7; i++) {
        LB_FAIL_IF(v[i] <= 0 || v[i] > 1 << 24, err, LBRT_ERR_FORMAT,
                   "this is no llama2.c file: number %d of its header is %d", i, (int)v[i]);
    }
    LB_FAIL_IF(v[0] % v[3] != 0, err, LBRT_ERR_FORMAT,
               "the llama2.c file's %d dimensions are no multiple of its %d heads", (int)v[0], (int)v[3]);
    h->dim = (uint32_t)v[0];
    h->ffn_dim = (uint32_t)v[1];
    h->n_layers = (uint32_t)v[2];
    h->n_heads = (uint32_t)v[3];
    h->n_kv_heads = (uint32_t)v[4];
    h->n_vocab = (uint32_t)v[5];
    h->n_context = (uint32_t)v[6];
    h->head_dim = h->rope_dim = h->dim / h->n_heads;
    h->norm_eps = 1e-5f;
    h->rope_theta = 10000.0f;
    h->rope_interleaved = true;
    h->activation = LB_ACT_SILU;
    lb_format(h->architecture, sizeof h->architecture, "llama");
    return LBRT_OK;
}

/* A tokenizer beside the model, if there is one: that of its vocabulary's size first. */
static lbrt_status llama2c_find_tokens(lb_import *im, const char *path, lbrt_error *err)
{
    char folder[4096], name[32], file[4096];
    size_t n = strlen(path);
    while (n > 0 && path[n - 1] != '/') {
        n--;
    }
    if (n >= sizeof folder) {
        return LBRT_OK;
    }
    lb_format(folder, sizeof folder, "%.*s", (int)(n > 1 ? n - 1 : n), path);
    static const char *const names[] = { "tok%u.bin", "tokenizer.bin", "tok%u.model", "tokenizer.model" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (i % 2 == 0) {
            lb_format(name, sizeof name, i == 0 ? "tok%u.bin" : "tok%u.model",
                      (unsigned)im->source.hparams.n_vocab);
        } else {
            lb_format(name, sizeof name, "%s", names[i]);
        }
        if (lb_path_join(file, sizeof file, n == 0 ? "." : folder, name) && lb_path_exists(file)) {
            return lb_import_other_tokens(im, file, err);
        }
    }
    return LBRT_OK;
}

static lbrt_status llama2c_fill(lb_import *im, const char *path, const char *tokenizer_path, lbrt_error *err)
{
    LB_TRY(lb_map_open(path, &im->maps[0], err));
    bool legacy = true, tied = true;
    llama2c_walk w = { im, im->maps[0].data, 0, im->maps[0].bytes, err };
    LB_TRY(llama2c_header(&im->maps[0], &im->source.hparams, &legacy, &tied, &w.pos, err));
    lb_import_name(&im->source.hparams, path, ".bin");
    /* A layer has nine tensors, none of them smaller than a float: so many can be in the file at most. */
    LB_TRY(lb_import_begin(im, im->maps[0].bytes / 4, err));
    im->rules[LB_FEATURE_ROPE_FACTORS] = LB_RULE_ABSENT;
    LB_TRY(llama2c_tensors(&w, legacy, tied));
    LB_TRY(lb_import_finish(im, tied, err));
    return tokenizer_path != NULL ? lb_import_other_tokens(im, tokenizer_path, err)
                                  : llama2c_find_tokens(im, path, err);
}

lbrt_status lb_source_open_llama2c(const char *path, const char *tokenizer_path, const lbrt_allocator *a,
                                   lb_source **out, lbrt_error *err)
{
    *out = NULL;
    lb_import *im;
    LB_TRY(lb_import_new(a, 1, &im, err));
    lbrt_status status = llama2c_fill(im, path, tokenizer_path, err);
    if (status != LBRT_OK) {
        lb_import_close(&im->source);
        return status;
    }
    *out = &im->source;
    return LBRT_OK;
}
