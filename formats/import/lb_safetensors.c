/* The safetensors reader. */
#include "lb_safetensors.h"

#include "lb_span.h"

#define SAFETENSORS_MAX_HEADER 100000000u /* the limit of the format's own library */

typedef struct safetensors_dtype {
    const char *name;
    uint32_t bytes;
    int32_t ggml; /* the ggml type with the same bytes, -1 if it is no float */
} safetensors_dtype;

static const safetensors_dtype safetensors_dtypes[] = {
    { "F32", 4, LB_GGML_F32 }, { "F16", 2, LB_GGML_F16 }, { "BF16", 2, LB_GGML_BF16 },
    { "F64", 8, LB_GGML_F64 }, { "U8", 1, -1 },           { "I8", 1, -1 },
    { "BOOL", 1, -1 },         { "U16", 2, -1 },          { "I16", 2, -1 },
    { "U32", 4, -1 },          { "I32", 4, -1 },          { "U64", 8, -1 },
    { "I64", 8, -1 },          { "F8_E4M3", 1, -1 },      { "F8_E5M2", 1, -1 },
    { "F8_E8M0", 1, -1 },
};

static lbrt_status safetensors_tensor(const lb_json *node, uint64_t available, lb_safetensor *t,
                                      lb_span *span, lbrt_error *err)
{
    int shown = (int)lb_min(node->key_bytes, 80);
    const lb_json *dtype = lb_json_get(node, "dtype"), *shape = lb_json_get(node, "shape");
    const lb_json *range = lb_json_get(node, "data_offsets");
    LB_FAIL_IF(
        dtype == NULL || dtype->type != LB_JSON_STRING || shape == NULL || shape->type != LB_JSON_ARRAY ||
            range == NULL || range->type != LB_JSON_ARRAY || range->n_children != 2,
        err, LBRT_ERR_FORMAT, "safetensors: tensor %.*s lacks its type, shape or range", shown, node->key);
    const safetensors_dtype *d = NULL;
    for (size_t i = 0; i < sizeof safetensors_dtypes / sizeof safetensors_dtypes[0]; i++) {
        if (lb_json_is(dtype, safetensors_dtypes[i].name)) {
            d = &safetensors_dtypes[i];
        }
    }
    LB_FAIL_IF(d == NULL, err, LBRT_ERR_UNSUPPORTED, "safetensors: tensor %.*s has the unknown type %.*s",
               shown, node->key, (int)lb_min(dtype->bytes, 20), dtype->text);
    LB_FAIL_IF(shape->n_children > 4, err, LBRT_ERR_UNSUPPORTED,
               "safetensors: tensor %.*s has %zu dimensions", shown, node->key, shape->n_children);
    uint64_t bytes = d->bytes;
    t->n_dims = 0; /* it may have held one without numbers */
    for (size_t i = 0; i < 4; i++) {
        t->shape[i] = 1;
    }
    for (const lb_json *side = shape->child; side != NULL; side = side->next) {
        uint64_t n = 0;
        LB_FAIL_IF(!lb_json_uint(side, UINT64_MAX, &n) || !lb_mul_u64(bytes, n, &bytes), err,
                   LBRT_ERR_FORMAT, "safetensors: tensor %.*s has an impossible shape", shown, node->key);
        t->shape[t->n_dims++] = n;
    }
    LB_FAIL_IF(!lb_json_uint(range->child, available, &span->begin) ||
                   !lb_json_uint(range->child->next, available, &span->end) || span->end < span->begin,
               err, LBRT_ERR_FORMAT, "safetensors: tensor %.*s lies outside of the file", shown, node->key);
    LB_FAIL_IF(span->end - span->begin != bytes, err, LBRT_ERR_FORMAT,
               "safetensors: tensor %.*s has %llu bytes; its shape asks for %llu", shown, node->key,
               (unsigned long long)(span->end - span->begin), (unsigned long long)bytes);
    t->name = node->key;
    t->name_bytes = node->key_bytes;
    t->dtype = d->name;
    t->type = d->ggml < 0 ? NULL : lb_ggml_type_find((uint32_t)d->ggml);
    t->bytes = bytes;
    return LBRT_OK;
}

static lbrt_status safetensors_table(lb_safetensors *s, const unsigned char *data, uint64_t available,
                                     lb_span *spans, lbrt_error *err)
{
    size_t n = 0;
    for (const lb_json *node = lb_json_root(s->header)->child; node != NULL; node = node->next) {
        if (node->key_bytes == 12 && memcmp(node->key, "__metadata__", 12) == 0) {
            continue;
        }
        lb_safetensor *t = &s->tensors[n];
        LB_TRY(safetensors_tensor(node, available, t, &spans[n], err));
        t->data = data + spans[n].begin;
        spans[n].index = n;
        n += t->bytes > 0; /* one without numbers (SpQR's outliers of a layer that has none) is as one that is not there */
    }
    lb_span_sort(spans, n);
    LB_FAIL_IF(n == 0, err, LBRT_ERR_FORMAT, "safetensors: no tensor has numbers");
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const lb_safetensor *t = &s->tensors[spans[i].index];
        LB_FAIL_IF(spans[i].begin != at, err, LBRT_ERR_FORMAT, "safetensors: tensor %.*s %s",
                   (int)lb_min(t->name_bytes, 80), t->name,
                   spans[i].begin < at ? "overlaps another one" : "comes after a hole in the data");
        at = spans[i].end;
    }
    LB_FAIL_IF(at != available, err, LBRT_ERR_FORMAT,
               "safetensors: %llu bytes of the file belong to no tensor",
               (unsigned long long)(available - at));
    s->n = n;
    return LBRT_OK;
}

lbrt_status lb_safetensors_read(const void *data, size_t bytes, const lbrt_allocator *a, lb_safetensors *out,
                                lbrt_error *err)
{
    memset(out, 0, sizeof *out);
    out->a = lb_allocator_or_default(a);
    LB_FAIL_IF(bytes < 8, err, LBRT_ERR_FORMAT, "safetensors: the file ends too early");
    uint64_t header = lb_load_u64(data);
    LB_FAIL_IF(header > bytes - 8 || header > SAFETENSORS_MAX_HEADER, err, LBRT_ERR_FORMAT,
               "safetensors: a header of %llu bytes in a file of %zu", (unsigned long long)header, bytes);
    const unsigned char *text = (const unsigned char *)data + 8;
    LB_TRY(lb_json_parse((const char *)text, (size_t)header, &out->a, &out->header, err));
    const lb_json *root = lb_json_root(out->header);
    lbrt_status status = LBRT_OK;
    if (root->type != LB_JSON_OBJECT || root->n_children == 0) {
        status = lb_fail(err, LBRT_ERR_FORMAT, "safetensors: the header names no tensors");
    } else {
        /* One more than there are tensors, if there is a __metadata__. */
        size_t cap = root->n_children;
        lb_span *spans = lb_alloc_zero(&out->a, cap, sizeof *spans);
        out->tensors = lb_alloc_zero(&out->a, cap, sizeof *out->tensors);
        status = spans == NULL || out->tensors == NULL
                     ? lb_fail(err, LBRT_ERR_MEMORY, "out of memory")
                     : safetensors_table(out, text + header, bytes - 8 - header, spans, err);
        lb_free(&out->a, spans, cap * sizeof *spans);
    }
    if (status != LBRT_OK) {
        lb_safetensors_free(out);
    }
    return status;
}

void lb_safetensors_free(lb_safetensors *s)
{
    if (s->header != NULL) {
        lb_free(&s->a, s->tensors, lb_json_root(s->header)->n_children * sizeof *s->tensors);
    }
    lb_json_free(s->header);
    s->header = NULL;
    s->tensors = NULL;
    s->n = 0;
}
