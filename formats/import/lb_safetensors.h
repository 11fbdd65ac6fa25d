/*
 * safetensors files: a JSON header with names, types, shapes and ranges, then the numbers.
 *
 * Checked as the format's own library does: the ranges cover the data without overlap or hole, and each is as
 * long as its shape and type ask for. No tensor is empty.
 */
#ifndef LB_SAFETENSORS_H
#define LB_SAFETENSORS_H

#include "lb_ggml_types.h"
#include "lb_json.h"

typedef struct lb_safetensor {
    const char *name; /* lives as long as the file's table */
    size_t name_bytes;
    const char *dtype;        /* "F32", "BF16", "U8", ... */
    const lb_ggml_type *type; /* how to read it, NULL if its numbers are no floats */
    uint32_t n_dims;          /* at most 4; 0: a single number */
    uint64_t shape[4];        /* 1 beyond n_dims */
    const unsigned char *data;
    uint64_t bytes;
} lb_safetensor;

typedef struct lb_safetensors {
    lbrt_allocator a;
    lb_json_doc *header;
    lb_safetensor *tensors; /* in the order of the header */
    size_t n;
} lb_safetensors;

/* How many numbers; the file holds them, so that their product does not overflow. */
static inline uint64_t lb_safetensor_count(const lb_safetensor *t)
{
    return t->shape[0] * t->shape[1] * t->shape[2] * t->shape[3];
}

/* How much of the name a sentence shows */
static inline int lb_safetensor_shown(const lb_safetensor *t)
{
    return (int)lb_min(t->name_bytes, 80);
}

/* The file's bytes stay alive and unchanged as long as the table. On failure nothing is to be freed. */
lbrt_status lb_safetensors_read(const void *data, size_t bytes, const lbrt_allocator *a, lb_safetensors *out,
                                lbrt_error *err);
void lb_safetensors_free(lb_safetensors *s);

#endif /* LB_SAFETENSORS_H */
