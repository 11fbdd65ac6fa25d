/*
 * GGUF files, versions 2 and 3, as a table of metadata and a table of tensors that point into the file's
 * bytes.
 *
 * Nothing in the file is trusted: every count, length and offset is compared with the bytes that are left, in
 * arithmetic that cannot overflow, before it is used or memory is taken for it. What has been read is
 * consistent: all strings, arrays and tensors lie within the file, all tensors have a type that lbrt decodes,
 * whole blocks in a row and no zero side.
 */
#ifndef LB_GGUF_H
#define LB_GGUF_H

#include "lb_ggml_types.h"

#define LB_GGUF_MAGIC 0x46554747u /* the first four bytes, as a number */

typedef enum lb_gguf_type {
    LB_GGUF_U8,
    LB_GGUF_I8,
    LB_GGUF_U16,
    LB_GGUF_I16,
    LB_GGUF_U32,
    LB_GGUF_I32,
    LB_GGUF_F32,
    LB_GGUF_BOOL,
    LB_GGUF_STRING,
    LB_GGUF_ARRAY,
    LB_GGUF_U64,
    LB_GGUF_I64,
    LB_GGUF_F64
} lb_gguf_type;

typedef struct lb_gguf_string {
    const char *text; /* in the file; no NUL behind it */
    size_t bytes;
} lb_gguf_string;

typedef struct lb_gguf_kv {
    lb_gguf_string key;
    uint64_t key_hash;
    lb_gguf_type type, item;    /* item: of an array */
    uint64_t n;                 /* items of an array, else 1 */
    const unsigned char *value; /* the number; a string with its length before it; the first item of an array
                                 */
} lb_gguf_kv;

typedef struct lb_gguf_tensor {
    lb_gguf_string name;
    const lb_ggml_type *type;
    uint64_t cols, rows; /* rows: the product of all sides but the first */
    bool is_matrix;      /* at most two sides are not 1 */
    uint64_t bytes;
    const unsigned char *data;
} lb_gguf_tensor;

typedef struct lb_gguf {
    lbrt_allocator a;
    uint32_t version;
    size_t n_kv, n_tensors;
    lb_gguf_kv *kv;
    lb_gguf_tensor *tensors;
} lb_gguf;

/* The file's bytes stay alive and unchanged as long as the tables. On failure nothing is to be freed. */
lbrt_status lb_gguf_read(const void *data, size_t bytes, const lbrt_allocator *a, lb_gguf *out,
                         lbrt_error *err);
void lb_gguf_free(lb_gguf *g);

/* NULL if there is no such key. */
const lb_gguf_kv *lb_gguf_find(const lb_gguf *g, const char *key);

/* The value, or false if kv is NULL, of another type, or (uint) negative or greater than max. */
bool lb_gguf_uint(const lb_gguf_kv *kv, uint64_t max, uint64_t *out);
bool lb_gguf_float(const lb_gguf_kv *kv, double *out); /* whole numbers too */
bool lb_gguf_bool(const lb_gguf_kv *kv, bool *out);
bool lb_gguf_text(const lb_gguf_kv *kv, lb_gguf_string *out);

/* Item i of an array of numbers as a whole number, respectively as a float; 0 for other arrays. i < kv->n. */
int64_t lb_gguf_item_int(const lb_gguf_kv *kv, uint64_t i);
float lb_gguf_item_float(const lb_gguf_kv *kv, uint64_t i);

/* Walks an array of strings: *at begins as kv->value and moves on. At most kv->n calls. */
lb_gguf_string lb_gguf_next_string(const unsigned char **at);

#endif /* LB_GGUF_H */
