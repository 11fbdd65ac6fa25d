/* What the targets that read other people's files do with what they have opened. */
#ifndef FUZZ_SOURCE_H
#define FUZZ_SOURCE_H

#include "../../formats/import/lb_lora.h"
#include "../../formats/import/lb_source.h"
#include "lb_fuzz.h"

/* What is written of a tokenizer can be opened. */
static inline void fuzz_tokens(const lb_tokdata *t)
{
    void *section = NULL;
    size_t n = 0;
    lb_tokenizer *tokenizer = NULL;
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_allocator *a = lb_fuzz_allocator(0);
    lbrt_status s = lb_tokdata_write(t, a, &section, &n, &err);
    lb_fuzz_error(s, &err);
    if (s == LBRT_OK) {
        s = lb_tokenizer_open(section, n, a, &tokenizer, &err);
        lb_fuzz_check(s == LBRT_OK || s == LBRT_ERR_MEMORY, err.text);
        lb_tokenizer_close(tokenizer);
        lb_free(a, section, n);
    }
}

enum { FUZZ_COLUMNS = 1 << 20, FUZZ_PRODUCT = 1 << 16 }; /* larger ones take too long */

/* Equal, or no numbers both. */
static inline bool fuzz_same(float a, float b)
{
    return a == b || (a != a && b != b);
}

static inline float *fuzz_floats(size_t n)
{
    float *p = malloc(n * sizeof *p); /* not a float more: the address sanitizer sees what is written behind them */
    lb_fuzz_check(p != NULL, "out of memory");
    return p;
}

static inline bool fuzz_read(const lb_source *source, size_t i, uint64_t row, uint64_t n, float *out)
{
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_status s = source->read_rows(source, i, row, n, out, &err);
    lb_fuzz_error(s, &err);
    return s == LBRT_OK;
}

static inline void fuzz_ternary(const lb_source_tensor *t, const float *row)
{
    lb_fuzz_check(t->ternary_scale - t->ternary_scale == 0.0f, "the scale of ternary weights is no number");
    for (uint64_t c = 0; t->ternary && c < t->cols; c++) {
        lb_fuzz_check(row[c] == 0.0f || row[c] == t->ternary_scale || row[c] == -t->ternary_scale, "a ternary tensor with another weight");
    }
}

/* The two factors of a matrix make its first row (NULL: they need not), added up in the order in which the source does it. */
static inline void fuzz_factors(const lb_source *source, size_t i, const float *first)
{
    const lb_source_tensor *t = &source->tensors[i];
    if (t->rank > FUZZ_PRODUCT || t->rank * t->cols > FUZZ_PRODUCT) {
        return;
    }
    float *outer = fuzz_floats((size_t)t->rank), *inner = fuzz_floats((size_t)t->cols), *sum = fuzz_floats((size_t)t->cols);
    lbrt_error err = { LBRT_OK, "" };
    lb_fuzz_check(source->read_factor(source, i, true, t->rows - 1, 1, outer, &err) == LBRT_OK, err.text);
    lb_fuzz_check(source->read_factor(source, i, true, 0, 1, outer, &err) == LBRT_OK, err.text);
    memset(sum, 0, (size_t)t->cols * sizeof *sum);
    for (uint64_t k = 0; k < t->rank; k++) {
        lb_fuzz_check(source->read_factor(source, i, false, k, 1, inner, &err) == LBRT_OK, err.text);
        for (uint64_t c = 0; c < t->cols; c++) {
            sum[c] += outer[k] * inner[c];
        }
    }
    for (uint64_t c = 0; first && c < t->cols; c++) {
        lb_fuzz_check(fuzz_same(sum[c], first[c]), "factors that do not make the matrix");
    }
    lb_fuzz_check(source->read_factor(source, i, true, t->rows, 1, outer, &err) == LBRT_ERR_ARGUMENT &&
                      source->read_factor(source, i, false, t->rank, 1, inner, &err) == LBRT_ERR_ARGUMENT,
                  "a factor's row that is not there");
    free(outer);
    free(inner);
    free(sum);
}

/*
 * The first and the last row, and the last two as one: what is read of a row does not depend on how many are read. Balanced factors and matrices
 * are multiplied by powers of two, but at the ends of a float's range that need not be exact.
 */
static inline void fuzz_rows(const lb_source *source, size_t i, bool balanced)
{
    const lb_source_tensor *t = &source->tensors[i];
    lbrt_error err = { LBRT_OK, "" };
    lb_fuzz_check(t->rows > 0 && t->cols > 0 && t->name[0] && t->type[0], "an empty tensor, or one without a name");
    if (t->cols > FUZZ_COLUMNS) {
        return;
    }
    const size_t cols = (size_t)t->cols;
    float *row = fuzz_floats(cols), *two = fuzz_floats(2 * cols);
    lb_fuzz_check(source->read_rows(source, i, t->rows, 1, row, &err) == LBRT_ERR_ARGUMENT, "a row that is not there");
    if (fuzz_read(source, i, 0, 1, row)) {
        fuzz_ternary(t, row);
        if (t->rank) {
            fuzz_factors(source, i, balanced ? NULL : row);
        }
    } else {
        lb_fuzz_check(!t->rank, "factors without a product");
    }
    if (fuzz_read(source, i, t->rows - 1, 1, row)) {
        fuzz_ternary(t, row);
        if (t->rows > 1 && fuzz_read(source, i, t->rows - 2, 2, two)) {
            for (size_t c = 0; c < cols; c++) {
                lb_fuzz_check(fuzz_same(two[cols + c], row[c]), "a row that depends on those read with it");
            }
        }
    }
    free(row);
    free(two);
}

/* The head, or the embedding in its place, takes what the last norm gives. */
static inline void fuzz_ends(const lb_source *source)
{
    uint64_t head = 0, norm = 0;
    for (size_t i = 0; i < source->n_tensors; i++) {
        const lb_source_tensor *t = &source->tensors[i];
        head = strcmp(t->name, "out_head") == 0 || (strcmp(t->name, "tok_embed") == 0 && !head) ? t->cols : head;
        norm = strcmp(t->name, "out_norm") == 0 ? t->cols : norm;
    }
    lb_fuzz_check(!source->n_tensors || (head > 0 && head == norm), "a head that does not fit the last norm");
}

/* Some of everything, as it is and with its keys balanced, and the tokenizer. */
static inline void fuzz_source(lb_source *source)
{
    fuzz_ends(source);
    const lbrt_allocator *a = lb_fuzz_allocator(0);
    lbrt_error err = { LBRT_OK, "" };
    for (size_t i = 0; i < source->n_tensors; i++) {
        fuzz_rows(source, i, false);
    }
    if (source->tokens) {
        fuzz_tokens(source->tokens);
    }
    if (source->n_tensors) {
        size_t n_changed = 0, channels = 0;
        for (size_t i = 0; i < source->n_tensors; i++) {
            const lb_source_tensor *t = &source->tensors[i];
            channels += strstr(t->name, "attn_k") ? (size_t)lb_max(t->rows, t->cols) : 0;
        }
        const lbrt_status s = lb_source_balance(&source, a, &n_changed, &err);
        lb_fuzz_error(s, &err);
        lb_fuzz_check(n_changed <= channels, "more channels changed than there are");
        for (size_t i = 0; s == LBRT_OK && i < source->n_tensors; i++) {
            fuzz_rows(source, i, true);
        }
    }
    source->close(source);
}

/* The first and the last row of a factor of an adapter */
static inline void fuzz_lora_matrix(const lb_lora_matrix *m)
{
    lb_fuzz_check(m->rows > 0 && m->cols > 0 && m->type && m->type->dequantize, "a factor that holds no numbers");
    if (m->cols <= FUZZ_COLUMNS) {
        float *row = fuzz_floats((size_t)m->cols);
        lb_lora_row(m, 0, row);
        lb_lora_row(m, m->rows - 1, row);
        free(row);
    }
}

/* A LoRA adapter of others: a PEFT folder or a GGUF file. */
static inline void fuzz_lora(const char *path)
{
    const lbrt_allocator *a = lb_fuzz_allocator(0);
    lbrt_error err = { LBRT_OK, "" };
    lb_lora l;
    (void)lb_lora_is(path, a);
    const lbrt_status s = lb_lora_open(path, a, &l, &err);
    lb_fuzz_error(s, &err);
    if (s != LBRT_OK) {
        return;
    }
    size_t changed = 0;
    for (size_t i = 0; i < l.n_pairs; i++) {
        const lb_lora_pair *p = &l.pairs[i];
        lb_fuzz_check((p->a.data == NULL) == (p->b.data == NULL), "one factor without the other");
        if (p->a.data) {
            lb_fuzz_check(p->a.rows == p->b.cols && p->scale - p->scale == 0.0f, "factors that do not fit, or a scale that is no number");
            fuzz_lora_matrix(&p->a);
            fuzz_lora_matrix(&p->b);
            changed++;
        }
    }
    lb_fuzz_check(changed > 0, "an adapter that changes nothing");
    lb_lora_close(&l);
}

#endif /* FUZZ_SOURCE_H */
