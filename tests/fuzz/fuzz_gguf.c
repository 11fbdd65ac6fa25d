/*
 * A model, an adapter or a tokenizer that is one file: a GGUF file's tables, its numbers whatever tensor they are of, and all that the importer
 * makes of it; else what llama2.c writes, or a tokenizer file of any kind.
 */
#include "../../formats/import/lb_gguf.h"
#include "../../formats/import/lb_import.h"
#include "fuzz_convert.h"
#include "fuzz_source.h"

/* A row as its type reads it, from memory and to memory that have not a byte more. */
static void fuzz_blocks(const lb_gguf_tensor *t, uint64_t row, float *out)
{
    const size_t blocks = (size_t)(t->cols / t->type->block), bytes = blocks * t->type->bytes;
    unsigned char *exact = malloc(bytes);
    lb_fuzz_check(exact != NULL, "out of memory");
    memcpy(exact, t->data + row * bytes, bytes);
    t->type->dequantize(exact, out, blocks);
    free(exact);
}

/* The importer reads only tensors that a model has, in the widths that it has. */
static void fuzz_numbers(const lb_gguf_tensor *t)
{
    lb_fuzz_check(t->type->dequantize || t->type->id == LB_GGML_I2_S, "a type that nothing reads");
    if (!t->type->dequantize || t->cols > FUZZ_COLUMNS) {
        return;
    }
    float *row = fuzz_floats((size_t)t->cols), scale = 0.0f;
    const bool one = lb_ggml_one_scale(t->type, t->data, t->rows * (t->cols / t->type->block), &scale);
    lb_fuzz_check(!one || (scale > 0.0f && scale - scale == 0.0f), "one scale that is none");
    for (int last = 0; last < 2; last++) {
        fuzz_blocks(t, last ? t->rows - 1 : 0, row);
        for (uint64_t c = 0; one && c < t->cols; c++) {
            lb_fuzz_check(row[c] == 0.0f || row[c] == scale || row[c] == -scale, "one scale, but other weights");
        }
    }
    free(row);
}

static void fuzz_tables(const uint8_t *data, size_t bytes, bool *lora)
{
    lbrt_error err = { LBRT_OK, "" };
    unsigned char *file = lb_fuzz_copy(data, bytes);
    lb_gguf g;
    const lbrt_status s = lb_gguf_read(file, bytes, lb_fuzz_allocator(0), &g, &err);
    lb_fuzz_error(s, &err);
    if (s == LBRT_OK) {
        for (size_t i = 0; i < g.n_tensors; i++) {
            lb_fuzz_check(g.tensors[i].data >= file && g.tensors[i].bytes <= (size_t)(file + bytes - g.tensors[i].data), "a tensor outside");
            fuzz_numbers(&g.tensors[i]);
        }
        *lora = lb_gguf_find(&g, "adapter.type") != NULL;
        lb_gguf_free(&g);
    }
    free(file);
}

LB_FUZZ_TARGET(gguf)
{
    const size_t alive = lb_fuzz_alive();
    const lbrt_allocator *a = lb_fuzz_allocator(0);
    lbrt_error err = { LBRT_OK, "" };
    bool lora = false;
    fuzz_tables(data, bytes, &lora);
    const char *path = lb_fuzz_file(data, bytes);
    if (path) {
        lb_source *source = NULL;
        lb_tokdata *tokens = NULL;
        uint32_t n_tokens = 0;
        lbrt_status s = lb_source_open(path, NULL, a, &source, &err);
        lb_fuzz_error(s, &err);
        lb_fuzz_check((s == LBRT_OK) == (source != NULL), "a source in spite of a failure, or none");
        if (source) {
            n_tokens = source->tokens ? source->tokens->n_tokens : 0;
            if (bytes % 32 == 31 && source->n_tensors) { /* whole files end at a multiple of 32, most of the time */
                fuzz_convert(source);
            }
            fuzz_source(source);
        }
        s = lb_import_load_tokens(path, 8, a, &tokens, &err);
        lb_fuzz_error(s, &err);
        lb_fuzz_check(!n_tokens || (tokens && tokens->n_tokens == n_tokens), "a tokenizer that is only there in a model");
        if (tokens && !n_tokens) {
            fuzz_tokens(tokens);
        }
        lb_tokdata_free(tokens);
        if (bytes % 32) { /* once more, without memory at some point */
            const bool opened = source != NULL;
            s = lb_source_open(path, NULL, lb_fuzz_allocator(bytes % 32), &source, &err);
            lb_fuzz_error(s, &err);
            lb_fuzz_check((s == LBRT_OK) == (source != NULL) && (s == LBRT_OK || s == LBRT_ERR_MEMORY || !opened), "no other failure than of memory");
            if (source) {
                source->close(source);
            }
        }
        if (lora) {
            fuzz_lora(path);
        }
    }
    lb_fuzz_check(lb_fuzz_alive() == alive, "a leak");
    return 0;
}
