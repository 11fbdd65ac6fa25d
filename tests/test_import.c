/*
 * The importers of single files, and the shared models, whose forms must agree: tiny models made here, with weights known by name.
 * test_import_hf.c has Hugging Face folders.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/import/lb_ggml_types.h"
#include "../formats/import/lb_source.h"
#include "../kernels/lb_math.h"
#include "import_checks.h"
#include "../formats/pack/lb_convert.h"
#include "lb_test.h"
#include "make_models.h"

void test_import(void);

static lb_source *open_blob(const char *name, const mk_blob *b, const char *tokenizer)
{
    const char *path = lb_test_temp(name);
    mk_write(path, b->data, b->n);
    lb_source *s = NULL;
    lbrt_error err = { 0 };
    lbrt_status status = lb_source_open(path, tokenizer, NULL, &s, &err);
    LB_CHECK(status == LBRT_OK, "%s: %s: %s", name, lbrt_status_name(status), err.text);
    LB_CHECK((status == LBRT_OK) == (s != NULL), "a source exactly if it could be opened");
    return s;
}

/* ---------------------------------------------------------------- GGUF */

static void check_gguf(const char *arch, uint32_t type, bool interleaved)
{
    lb_test_case("gguf: %s, type %u", arch, (unsigned)type);
    mk_blob b = { NULL, 0, 0 };
    mk_gguf_model(arch, type, &b);
    lb_source *s = open_blob("tiny.gguf", &b, NULL);
    if (s != NULL) {
        import_check_tiny(s, mk_n_tensors, interleaved);
        import_check_weights(s, true);
        LB_CHECK(s->hparams.norm_eps == 0x1p-20f && strcmp(s->hparams.name, "tiny") == 0, "name %s",
                 s->hparams.name);
        LB_CHECK(s->tokens != NULL && s->tokens->n_tokens == MK_VOCAB && s->tokens->bos == 1, "tokens");
        /* some rows, and rows that are not there */
        float row[2 * MK_DIM];
        size_t i = import_find(s, "layers.0.attn_k");
        LB_CHECK(s->read_rows(s, i, 3, 2, row, NULL) == LBRT_OK &&
                     row[5] == mk_weight("layers.0.attn_k", 3 * MK_DIM + 5),
                 "two rows");
        LB_CHECK(s->read_rows(s, i, MK_KV, 0, row, NULL) == LBRT_OK, "no rows");
        LB_CHECK(s->read_rows(s, i, MK_KV, 1, row, NULL) == LBRT_ERR_ARGUMENT &&
                     s->read_rows(s, i, 1, UINT64_MAX, row, NULL) == LBRT_ERR_ARGUMENT &&
                     s->read_rows(s, s->n_tensors, 0, 1, row, NULL) == LBRT_ERR_ARGUMENT,
                 "rows out of range");
        s->close(s);
    }
    mk_free(&b);
}

/* Parts "parts-0000I-of-00003.gguf": the metadata in the first, of the tensors `in_first` there, the others in turns. The path of the first; static storage. */
static const char *make_parts(size_t in_first, size_t wrong_no, size_t tensors)
{
    static char first[400];
    for (size_t part = 0; part < 3; part++) {
        mk_gguf g = { 0 };
        if (part == 0) {
            mk_gguf_numbers(&g, "llama");
            mk_gguf_vocabulary(&g);
        }
        mk_gguf_u32(&g, "split.no", (uint32_t)(part == 1 ? wrong_no : part));
        mk_gguf_u32(&g, "split.count", 3);
        mk_gguf_u32(&g, "split.tensors.count", (uint32_t)tensors);
        for (size_t i = 0; i < mk_n_tensors; i++) {
            if ((i < in_first ? 0 : 1 + i % 2) == part) {
                const mk_tensor *t = &mk_tensors[i];
                float *w = malloc((size_t)t->rows * t->cols * sizeof *w);
                for (size_t k = 0; k < (size_t)t->rows * t->cols; k++) {
                    w[k] = mk_weight(t->name, k);
                }
                mk_gguf_tensor(&g, t->gguf, t->rows, t->cols, LB_GGML_F32, w, (size_t)t->rows * t->cols * sizeof *w);
                free(w);
            }
        }
        mk_blob b = { NULL, 0, 0 };
        mk_gguf_end(&g, &b);
        char name[64], path[400];
        snprintf(name, sizeof name, "parts-0000%zu-of-00003.gguf", part + 1);
        snprintf(path, sizeof path, "%s", lb_test_temp(name));
        mk_write(path, b.data, b.n);
        mk_free(&b);
        if (part == 0) {
            snprintf(first, sizeof first, "%s", path);
        }
    }
    return first;
}

static void check_gguf_parts(void)
{
    static const struct {
        size_t in_first, wrong_no, missing; /* tensors that are announced but not there */
        const char *cut, *said;             /* a part that is removed or given; the message */
    } cases[] = {
        { 5, 1, 0, NULL, NULL },
        { 0, 1, 0, NULL, NULL },
        { 5, 2, 0, NULL, "part 3 of 3, not 2 of 3" },
        { 5, 1, 1, NULL, "tensors of" },
        { 5, 1, 0, "parts-00003-of-00003.gguf", "parts-00003-of-00003.gguf" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lb_test_case("gguf in parts: %zu tensors in the first, %s", cases[i].in_first, cases[i].said ? cases[i].said : "all there");
        const char *path = make_parts(cases[i].in_first, cases[i].wrong_no, mk_n_tensors + cases[i].missing);
        lb_source *s = NULL;
        lbrt_error err = { LBRT_OK, "" };
        if (cases[i].cut) {
            remove(lb_test_temp(cases[i].cut));
        }
        const lbrt_status status = lb_source_open(path, NULL, NULL, &s, &err);
        LB_CHECK((status == LBRT_OK) == !cases[i].said && (!cases[i].said || (!s && strstr(err.text, cases[i].said))), "%s: %s", lbrt_status_name(status),
                 err.text);
        if (s) {
            import_check_tiny(s, mk_n_tensors, true);
            import_check_weights(s, true);
            s->close(s);
        }
    }
    lb_test_case("gguf in parts: the second is given, another name");
    const char *path = make_parts(5, 1, mk_n_tensors);
    char other[400];
    lb_source *s = NULL;
    lbrt_error err = { LBRT_OK, "" };
    LB_CHECK(lb_source_open(lb_test_temp("parts-00002-of-00003.gguf"), NULL, NULL, &s, &err) == LBRT_ERR_ARGUMENT && strstr(err.text, "give the first"),
             "%s", err.text);
    snprintf(other, sizeof other, "%s", lb_test_temp("other.gguf"));
    LB_CHECK(rename(path, other) == 0 && lb_source_open(other, NULL, NULL, &s, &err) == LBRT_ERR_UNSUPPORTED && strstr(err.text, "-of-00003.gguf"), "%s",
             err.text);
}

static void check_gguf_merged(void)
{
    lb_test_case("gguf: merged from parts");
    mk_gguf g = { 0 };
    mk_gguf_numbers(&g, "llama");
    mk_gguf_u32(&g, "split.count", 0);
    mk_gguf_weights(&g, LB_GGML_F32, NULL);
    mk_blob b = { NULL, 0, 0 };
    mk_gguf_end(&g, &b);
    lb_source *s = open_blob("merged.gguf", &b, NULL);
    if (s) {
        s->close(s);
    }
    mk_free(&b);
}

static void check_gguf_yarn(void)
{
    for (int own = 0; own < 2; own++) {
        lb_test_case("gguf: YaRN, %s", own ? "with a factor of attention" : "as the paper has it");
        mk_gguf g = { 0 };
        float bias[MK_DIM] = { 0.5f, 0.25f };
        mk_gguf_numbers(&g, "qwen2");
        mk_gguf_string(&g, "qwen2.rope.scaling.type", "yarn");
        mk_gguf_f32(&g, "qwen2.rope.scaling.factor", 4.0f);
        mk_gguf_u32(&g, "qwen2.rope.scaling.original_context_length", 4096);
        if (own) {
            mk_gguf_f32(&g, "qwen2.rope.scaling.attn_factor", 2.0f);
            mk_gguf_f32(&g, "qwen2.rope.scaling.yarn_attn_factor", 3.0f); /* does not count */
        }
        mk_gguf_weights(&g, LB_GGML_F32, NULL);
        mk_gguf_tensor(&g, "blk.0.attn_q.bias", 1, MK_DIM, LB_GGML_F32, bias, MK_DIM * 4);
        mk_gguf_tensor(&g, "blk.0.attn_k.bias", 1, MK_KV, LB_GGML_F32, bias, MK_KV * 4);
        mk_gguf_tensor(&g, "blk.0.attn_v.bias", 1, MK_KV, LB_GGML_F32, bias, MK_KV * 4);
        mk_blob b = { NULL, 0, 0 };
        mk_gguf_end(&g, &b);
        lb_source *s = open_blob("yarn.gguf", &b, NULL);
        if (s) {
            import_check_yarn(s, (0.1 * log(4.0) + 1.0) * (own ? 2.0 : 1.0));
            s->close(s);
        }
        mk_free(&b);
    }
}

static void check_gguf_yarn_part(void)
{
    lb_test_case("gguf: YaRN of a part of the head");
    mk_gguf g = { 0 };
    mk_gguf_numbers(&g, "llama");
    mk_gguf_string(&g, "llama.rope.scaling.type", "yarn");
    mk_gguf_f32(&g, "llama.rope.scaling.factor", 4.0f);
    mk_gguf_weights(&g, LB_GGML_F32, NULL);
    mk_blob b = { NULL, 0, 0 };
    mk_gguf_end(&g, &b);
    static const char key[] = "rope.dimension_count";
    for (size_t i = 0; i + sizeof key + 8 < b.n; i++) {
        if (memcmp(b.data + i, key, sizeof key - 1) == 0) {
            b.data[i + sizeof key - 1 + 4] = 8; /* behind the type */
        }
    }
    lbrt_error err = { 0 };
    mk_write(lb_test_temp("yarn.gguf"), b.data, b.n);
    lb_source *s = NULL;
    LB_CHECK(lb_source_open(lb_test_temp("yarn.gguf"), NULL, NULL, &s, &err) == LBRT_ERR_UNSUPPORTED && strstr(err.text, "part of the head"), "%s", err.text);
    mk_free(&b);
}

static void check_gguf_rope(void)
{
    lb_test_case("gguf: rope factors, linear scaling, qwen2 biases");
    mk_gguf g = { 0 };
    float factors[8] = { 1, 1, 1, 2, 3, 4, 8, 8 };
    float bias[MK_DIM] = { 0.5f, 0.25f };
    mk_gguf_numbers(&g, "qwen2");
    mk_gguf_string(&g, "qwen2.rope.scaling.type", "linear");
    mk_gguf_f32(&g, "qwen2.rope.scaling.factor", 4.0f);
    mk_gguf_f32(&g, "qwen2.rope.freq_base", 1e6f);
    mk_gguf_weights(&g, LB_GGML_F16, NULL);
    mk_gguf_tensor(&g, "rope_freqs.weight", 1, 8, LB_GGML_F32, factors, sizeof factors);
    mk_gguf_tensor(&g, "blk.0.attn_q.bias", 1, MK_DIM, LB_GGML_F32, bias, MK_DIM * 4);
    mk_gguf_tensor(&g, "blk.0.attn_k.bias", 1, MK_KV, LB_GGML_F32, bias, MK_KV * 4);
    mk_gguf_tensor(&g, "blk.0.attn_v.bias", 1, MK_KV, LB_GGML_F32, bias, MK_KV * 4);
    mk_blob b = { NULL, 0, 0 };
    mk_gguf_end(&g, &b);
    lb_source *s = open_blob("rope.gguf", &b, NULL);
    if (s != NULL) {
        float *f = import_read(s, "rope_factors");
        LB_CHECK(f != NULL && f[3] == 2.0f && f[7] == 8.0f, "factors");
        free(f);
        f = import_read(s, "layers.0.attn_k_bias");
        LB_CHECK(f != NULL && f[0] == 0.5f && f[1] == 0.25f, "bias");
        free(f);
        LB_CHECK(s->hparams.rope_scaling == LB_ROPE_LINEAR && s->hparams.rope_factor == 4.0f &&
                     s->hparams.rope_theta == 1e6f && !s->hparams.rope_interleaved,
                 "scaling");
        LB_CHECK(s->tokens == NULL, "no vocabulary");
        s->close(s);
    }
    mk_free(&b);
}

static int64_t read_bytes(void *user, uint64_t offset, void *buffer, size_t bytes)
{
    memcpy(buffer, (const char *)user + offset, bytes);
    return (int64_t)bytes;
}

/* What is converted can be opened: the engine takes frequencies up to 8 radians a token. */
static void check_absurd_rope(void)
{
    static const struct {
        float scale, factor;
        lbrt_status want;
    } cases[] = { { 4, 0.04f, LBRT_OK },        { 4, -0.04f, LBRT_OK },      { 4, 0.03f, LBRT_ERR_FORMAT },       { 4, 0.0f, LBRT_ERR_FORMAT },
                  { 4, NAN, LBRT_ERR_FORMAT },  { 4, INFINITY, LBRT_ERR_FORMAT }, { 0.125f, 1, LBRT_OK },         { 0.12f, 1, LBRT_ERR_FORMAT } };
    lb_test_case("gguf: absurd rope factors are refused before they are in a file");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mk_gguf g = { 0 };
        float factors[8] = { cases[i].factor, 1, 1, 2, 3, 4, 8, 8 };
        mk_gguf_numbers(&g, "llama");
        mk_gguf_string(&g, "llama.rope.scaling.type", "linear");
        mk_gguf_f32(&g, "llama.rope.scaling.factor", cases[i].scale);
        mk_gguf_weights(&g, LB_GGML_F16, NULL);
        mk_gguf_tensor(&g, "rope_freqs.weight", 1, 8, LB_GGML_F32, factors, sizeof factors);
        mk_blob b = { NULL, 0, 0 };
        mk_gguf_end(&g, &b);
        lb_source *s = open_blob("absurd.gguf", &b, NULL);
        mk_free(&b);
        const lbrt_allocator a = lb_allocator_or_default(NULL);
        const lb_convert_options options = { .format = LB_W_F16 };
        const char *path = lb_test_temp("absurd.lbrt");
        lbrt_error err = { LBRT_OK, "" };
        lbrt_model *m = NULL;
        const lbrt_status got = s ? lb_convert(s, path, &options, &a, &err) : LBRT_ERR_IO;
        LB_CHECK(got == cases[i].want, "factors of %g and %g: status %d, %s", (double)cases[i].scale, (double)cases[i].factor, (int)got, err.text);
        const lbrt_status opened = lbrt_model_open(path, NULL, &m, &err);
        LB_CHECK(opened == (got == LBRT_OK ? LBRT_OK : LBRT_ERR_IO), "factors of %g and %g: opening gives %d, %s", (double)cases[i].scale,
                 (double)cases[i].factor, (int)opened, err.text);
        lbrt_model_close(m);
        if (opened == LBRT_OK) { /* and a plan, which reads little of it, agrees */
            size_t n = 0;
            char *data = lb_test_read(path, &n);
            lbrt_source source = LBRT_SOURCE_INIT;
            lbrt_memory_plan plan = LBRT_MEMORY_PLAN_INIT;
            source.kind = LBRT_SOURCE_READ;
            source.read = read_bytes;
            source.read_user = data;
            source.bytes = n;
            LB_CHECK(lbrt_model_plan(&source, NULL, NULL, &plan, &err) == LBRT_OK && plan.model_bytes > n, "a plan: %s", err.text);
            free(data);
        }
        remove(path);
        if (s) {
            s->close(s);
        }
    }
}

/* The two ternary forms that have one scale, and .scale tensors. */
static void check_gguf_ternary(void)
{
    lb_test_case("gguf: ternary tensors");
    mk_gguf g = { 0 };
    mk_gguf_numbers(&g, "llama");
    mk_gguf_weights(&g, LB_GGML_F32, "blk.0.ffn_up.weight");
    enum { N = MK_FFN * MK_DIM };
    unsigned char codes[N], packed[N / 4 + 32] = { 0 };
    for (size_t i = 0; i < N; i++) {
        codes[i] = (unsigned char)(lb_test_random() % 3);
        packed[i / 128 * 32 + i % 32] |= (unsigned char)(codes[i] << (6 - 2 * (i % 128 / 32)));
    }
    lb_store_u32(packed + N / 4, lb_f32_bits(0.75f));
    mk_gguf_tensor(&g, "blk.0.ffn_up.weight", MK_FFN, MK_DIM, LB_GGML_I2_S, packed, sizeof packed);
    mk_gguf_tensor(&g, "blk.0.ffn_up.scale", 1, 1, LB_GGML_F32, (const unsigned char[]){ 0, 0, 0, 0x3f }, 4);
    mk_gguf_tensor(&g, "blk.0.ffn_up.input_scale", 1, 1, LB_GGML_F32, (const unsigned char[]){ 0, 0, 0, 0x41 }, 4); /* of activations */
    mk_blob b = { NULL, 0, 0 };
    mk_gguf_end(&g, &b);
    lb_source *s = open_blob("ternary.gguf", &b, NULL);
    if (s != NULL) {
        const lb_source_tensor *t = &s->tensors[import_find(s, "layers.0.ffn_up")];
        LB_CHECK(t->ternary && t->ternary_scale == 0.375f && strcmp(t->type, "i2_s") == 0, "%s %g", t->type,
                 (double)t->ternary_scale);
        float *w = import_read(s, "layers.0.ffn_up");
        size_t wrong = w == NULL;
        for (size_t i = 0; w != NULL && i < N; i++) {
            wrong += w[i] != (float)(codes[i] - 1) * 0.375f;
        }
        LB_CHECK(wrong == 0, "%zu weights", wrong);
        import_check_packs(w, MK_FFN, MK_DIM);
        free(w);
        s->close(s);
    }
    mk_free(&b);
}

static void check_gguf_head(void)
{
    lb_test_case("gguf: a head of its own, a vocabulary alone, a tokenizer of another file");
    mk_gguf g = { 0 };
    float head[MK_VOCAB * MK_DIM];
    for (size_t i = 0; i < MK_VOCAB * MK_DIM; i++) {
        head[i] = (float)i;
    }
    mk_gguf_numbers(&g, "llama");
    mk_gguf_weights(&g, LB_GGML_F32, NULL);
    mk_gguf_tensor(&g, "output.weight", MK_VOCAB, MK_DIM, LB_GGML_F32, head, sizeof head);
    mk_blob b = { NULL, 0, 0 };
    mk_gguf_end(&g, &b);
    const char *json = lb_test_temp("tok.json");
    mk_write(json, mk_tokenizer_json, strlen(mk_tokenizer_json));
    lb_source *s = open_blob("head.gguf", &b, json);
    if (s != NULL) {
        float *w = import_read(s, "out_head");
        LB_CHECK(w != NULL && w[200] == 200.0f && s->n_tensors == mk_n_tensors + 1, "head");
        LB_CHECK(s->tokens != NULL, "the other file's tokens");
        free(w);
        s->close(s);
    }
    mk_free(&b);
    g = (mk_gguf){ 0 };
    mk_gguf_string(&g, "general.architecture", "gpt2");
    mk_gguf_vocabulary(&g);
    mk_gguf_end(&g, &b);
    s = open_blob("vocab.gguf", &b, NULL);
    if (s != NULL) {
        LB_CHECK(s->n_tensors == 0 && s->hparams.n_vocab == MK_VOCAB && s->tokens != NULL, "only tokens");
        s->close(s);
    }
    mk_free(&b);
}

/* ---------------------------------------------------------------- llama2.c */

static void check_llama2c(bool version1, bool tied)
{
    lb_test_case("llama2.c: version %d, %s", version1, tied ? "tied" : "with a head");
    mk_blob b = { NULL, 0, 0 };
    mk_llama2c(version1, tied, &b);
    lb_source *s = open_blob("tiny.bin", &b, NULL);
    if (s != NULL) {
        import_check_tiny(s, mk_n_tensors + !tied, true);
        import_check_weights(s, true);
        LB_CHECK(s->hparams.norm_eps == 1e-5f && s->tokens == NULL, "epsilon");
        float *w = tied ? NULL : import_read(s, "out_head");
        LB_CHECK(tied || (w != NULL && w[9] == mk_weight("out_head", 9)), "head");
        free(w);
        s->close(s);
    }
    const char *path = lb_test_temp("tiny.bin");
    for (int more = -4; more <= 4; more += 8) { /* a number too little, a number too much */
        mk_u32(&b, 0);
        mk_write(path, b.data, b.n - 4 + (size_t)(more + 4) / 2 - (more < 0 ? 4 : 0));
        LB_CHECK(lb_source_open(path, NULL, NULL, &s, NULL) == LBRT_ERR_FORMAT && s == NULL, "%d bytes more",
                 more);
        b.n -= 4;
    }
    mk_free(&b);
}

/* ---------------------------------------------------------------- the shared models */

/* Row r of q or k in the half-split order of Hugging Face, as its row in the interleaved order. */
static uint64_t interleaved_row(uint64_t r, uint32_t head_dim)
{
    uint64_t in = r % head_dim, half = head_dim / 2;
    return r - in + (in < half ? 2 * in : 2 * (in - half) + 1);
}

static void compare_sources(const lb_source *a, const lb_source *b, bool permuted)
{
    for (size_t i = 0; i < a->n_tensors; i++) {
        const lb_source_tensor *t = &a->tensors[i];
        float *x = import_read(a, t->name), *y = import_read(b, t->name);
        bool rotate = permuted && (strstr(t->name, ".attn_q") != NULL || strstr(t->name, ".attn_k") != NULL);
        size_t wrong = x == NULL || y == NULL;
        for (uint64_t r = 0; wrong == 0 && r < t->rows; r++) {
            uint64_t to = rotate ? interleaved_row(r, a->hparams.head_dim) : r;
            wrong += memcmp(x + r * t->cols, y + to * t->cols, (size_t)t->cols * 4) != 0;
        }
        LB_CHECK(wrong == 0, "%s differs", t->name);
        free(x);
        free(y);
    }
}

static void check_pair(const char *first, const char *second, bool permuted)
{
    lb_test_case("shared: %s and %s are the same model", first, second);
    char path[4096];
    const char *found = lb_test_shared(first);
    snprintf(path, sizeof path, "%s", found == NULL ? "" : found);
    const char *other = lb_test_shared(second);
    if (found == NULL || other == NULL) {
        lb_test_skip("not here");
        return;
    }
    lb_source *a = NULL, *b = NULL;
    lbrt_error err = { 0 };
    LB_CHECK(lb_source_open(path, NULL, NULL, &a, &err) == LBRT_OK, "%s", err.text);
    LB_CHECK(lb_source_open(other, NULL, NULL, &b, &err) == LBRT_OK, "%s", err.text);
    if (a != NULL && b != NULL) {
        LB_CHECK(a->hparams.rope_interleaved != permuted && b->hparams.rope_interleaved, "order of rotation");
        LB_CHECK(a->tokens != NULL && b->tokens != NULL && a->tokens->n_tokens == b->tokens->n_tokens,
                 "tokens");
        compare_sources(a, b, permuted);
    }
    if (a != NULL) {
        a->close(a);
    }
    if (b != NULL) {
        b->close(b);
    }
}

static void check_opens(const char *relative, uint32_t n_vocab, size_t n_tensors)
{
    lb_test_case("shared: %s", relative);
    const char *path = lb_test_shared(relative);
    if (path == NULL) {
        lb_test_skip("not here");
        return;
    }
    lb_source *s = NULL;
    lbrt_error err = { 0 };
    if (LB_CHECK(lb_source_open(path, NULL, NULL, &s, &err) == LBRT_OK, "%s", err.text)) {
        LB_CHECK(s->hparams.n_vocab == n_vocab && s->n_tensors == n_tensors, "%u tokens, %zu tensors",
                 (unsigned)s->hparams.n_vocab, s->n_tensors);
        LB_CHECK(s->tokens != NULL && s->tokens->n_tokens == n_vocab, "tokens");
        s->close(s);
    }
}

void test_import(void)
{
    check_gguf("llama", LB_GGML_F32, true);
    check_gguf("llama", LB_GGML_F16, true);
    check_gguf_parts();
    check_gguf_merged();
    check_gguf_yarn();
    check_gguf_yarn_part();
    check_gguf_rope();
    check_absurd_rope();
    check_gguf_ternary();
    check_gguf_head();
    check_llama2c(false, true);
    check_llama2c(false, false);
    check_llama2c(true, true);
    check_llama2c(true, false);
    check_pair("models/stories260K/stories260K.bin", "models/stories260K/stories260Ktok512.gguf", false);
    check_pair("models/lab", "models/lab/model-f16.gguf", true);
    check_opens("models/TinyStories-656K", 2048, 20);
    check_opens("models/bitstories-3M", 512, 90);
    check_opens("tokenizers/gpt-2/vocab.gguf", 50257, 0);
    check_opens("tokenizers/llama-spm/vocab.gguf", 32000, 0);
    check_opens("tokenizers/deepseek-llm/vocab.gguf", 102400, 0);
}
