/* What the targets that read other people's files do with what they have opened. */
#ifndef FUZZ_SOURCE_H
#define FUZZ_SOURCE_H

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

/* The first and the last row of everything, and the tokenizer. */
static inline void fuzz_source(lb_source *source)
{
    for (size_t i = 0; i < source->n_tensors; i++) {
        const lb_source_tensor *t = &source->tensors[i];
        float *row = t->cols < 1u << 20 ? malloc((size_t)t->cols * sizeof *row) : NULL;
        lbrt_error err = { LBRT_OK, "" };
        if (row) {
            lb_fuzz_error(source->read_rows(source, i, 0, 1, row, &err), &err);
            lb_fuzz_error(source->read_rows(source, i, t->rows - 1, 1, row, &err), &err);
        }
        free(row);
    }
    if (source->tokens) {
        fuzz_tokens(source->tokens);
    }
    source->close(source);
}

#endif /* FUZZ_SOURCE_H */
