/* The GGUF reader: one walk with a cursor that knows what is left. */
#include "lb_gguf.h"

#include "lb_span.h"

#define GGUF_MAX_KV        4096u /* real files have some dozens */
#define GGUF_MAX_KEY       1024u
#define GGUF_MAX_TENSORS   (1u << 20)
#define GGUF_MAX_ALIGNMENT 65536u
#define GGUF_MIN_KV        14u /* the smallest entry: a key's length, a byte of it, a type, a byte of value */
#define GGUF_MIN_TENSOR    33u /* name length, a byte of it, n_dims, a side, a type, an offset */

typedef struct gguf_cursor {
    const unsigned char *data;
    size_t pos, end;
    lbrt_error *err;
} gguf_cursor;

static lbrt_status gguf_short(const gguf_cursor *c)
{
    return lb_fail(c->err, LBRT_ERR_FORMAT, "the GGUF file ends too early, at byte %zu", c->pos);
}

static lbrt_status gguf_u32(gguf_cursor *c, uint32_t *out)
{
    if (c->end - c->pos < 4) {
        return gguf_short(c);
    }
    *out = lb_load_u32(c->data + c->pos);
    c->pos += 4;
    return LBRT_OK;
}

static lbrt_status gguf_u64(gguf_cursor *c, uint64_t *out)
{
    if (c->end - c->pos < 8) {
        return gguf_short(c);
    }
    *out = lb_load_u64(c->data + c->pos);
    c->pos += 8;
    return LBRT_OK;
}

static lbrt_status gguf_string(gguf_cursor *c, lb_gguf_string *out)
{
    uint64_t n = 0;
    LB_TRY(gguf_u64(c, &n));
    if (n > c->end - c->pos) {
        return gguf_short(c);
    }
    out->text = (const char *)c->data + c->pos;
    out->bytes = (size_t)n;
    c->pos += (size_t)n;
    return LBRT_OK;
}

/* Bytes of a number, 0 for what is none. */
static size_t gguf_number_bytes(lb_gguf_type type)
{
    static const unsigned char bytes[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    return bytes[type];
}

/* Steps over n values of a type that is no array. */
static lbrt_status gguf_skip(gguf_cursor *c, lb_gguf_type type, uint64_t n)
{
    size_t each = gguf_number_bytes(type);
    if (each > 0) {
        if (n > (c->end - c->pos) / each) {
            return gguf_short(c);
        }
        c->pos += (size_t)n * each;
        return LBRT_OK;
    }
    for (; n > 0; n--) { /* at least 8 bytes each, so this ends with the file */
        lb_gguf_string s;
        LB_TRY(gguf_string(c, &s));
    }
    return LBRT_OK;
}

static lbrt_status gguf_read_kv(gguf_cursor *c, lb_gguf_kv *kv)
{
    uint32_t type = LB_GGUF_U8, item = LB_GGUF_U8;
    LB_TRY(gguf_string(c, &kv->key));
    LB_FAIL_IF(kv->key.bytes == 0 || kv->key.bytes > GGUF_MAX_KEY, c->err, LBRT_ERR_FORMAT,
               "a GGUF key of %zu bytes at byte %zu", kv->key.bytes, c->pos);
    int shown = (int)lb_min(kv->key.bytes, 80);
    LB_TRY(gguf_u32(c, &type));
    LB_FAIL_IF(type > LB_GGUF_F64, c->err, LBRT_ERR_FORMAT, "GGUF key %.*s has a value of unknown type %u",
               shown, kv->key.text, (unsigned)type);
    kv->key_hash = lb_hash64(kv->key.text, kv->key.bytes);
    kv->type = (lb_gguf_type)type;
    kv->n = 1;
    if (type == LB_GGUF_ARRAY) {
        LB_TRY(gguf_u32(c, &item));
        LB_TRY(gguf_u64(c, &kv->n));
        LB_FAIL_IF(item > LB_GGUF_F64 || item == LB_GGUF_ARRAY, c->err, LBRT_ERR_FORMAT,
                   "GGUF key %.*s has an array of unknown type %u", shown, kv->key.text, (unsigned)item);
        kv->item = (lb_gguf_type)item;
        type = item;
    }
    kv->value = c->data + c->pos;
    return gguf_skip(c, (lb_gguf_type)type, kv->n);
}

/*
 * Everything about a tensor but its data: data holds the offset, relative to the data section, until that is
 * known.
 */
static lbrt_status gguf_read_tensor(gguf_cursor *c, lb_gguf_tensor *t, uint64_t *offset)
{
    uint32_t n_dims = 0, type_id = 0;
    LB_TRY(gguf_string(c, &t->name));
    int shown = (int)lb_min(t->name.bytes, 80);
    LB_FAIL_IF(t->name.bytes == 0 || t->name.bytes > GGUF_MAX_KEY, c->err, LBRT_ERR_FORMAT,
               "a GGUF tensor name of %zu bytes at byte %zu", t->name.bytes, c->pos);
    LB_TRY(gguf_u32(c, &n_dims));
    LB_FAIL_IF(n_dims == 0 || n_dims > 4, c->err, LBRT_ERR_FORMAT, "GGUF tensor %.*s has %u dimensions",
               shown, t->name.text, (unsigned)n_dims);
    t->rows = 1;
    t->is_matrix = true;
    for (uint32_t i = 0; i < n_dims; i++) {
        uint64_t side = 0;
        LB_TRY(gguf_u64(c, &side));
        LB_FAIL_IF(side == 0, c->err, LBRT_ERR_FORMAT, "GGUF tensor %.*s has a side of 0", shown,
                   t->name.text);
        if (i == 0) {
            t->cols = side;
        } else {
            LB_FAIL_IF(!lb_mul_u64(t->rows, side, &t->rows), c->err, LBRT_ERR_FORMAT,
                       "GGUF tensor %.*s is impossibly large", shown, t->name.text);
        }
        t->is_matrix = t->is_matrix && (i < 2 || side == 1);
    }
    LB_TRY(gguf_u32(c, &type_id));
    LB_TRY(gguf_u64(c, offset));
    t->type = lb_ggml_type_find(type_id);
    LB_FAIL_IF(t->type == NULL, c->err, LBRT_ERR_UNSUPPORTED, "GGUF tensor %.*s has the unknown type %u",
               shown, t->name.text, (unsigned)type_id);
    LB_FAIL_IF(t->type->dequantize == NULL && type_id != LB_GGML_I2_S, c->err, LBRT_ERR_UNSUPPORTED,
               "type %s is not supported (GGUF tensor %.*s)", t->type->name, shown, t->name.text);
    uint64_t n;
    LB_FAIL_IF(!lb_mul_u64(t->rows, t->cols, &n), c->err, LBRT_ERR_FORMAT,
               "GGUF tensor %.*s is impossibly large", shown, t->name.text);
    /* I2_S is flat: its blocks need not end with the rows, and one scale in 32 bytes follows the last. */
    uint64_t whole = type_id == LB_GGML_I2_S ? n : t->cols;
    LB_FAIL_IF(whole % t->type->block != 0, c->err, LBRT_ERR_FORMAT,
               "GGUF tensor %.*s of type %s has %llu columns, which are no whole blocks of %u", shown,
               t->name.text, t->type->name, (unsigned long long)t->cols, (unsigned)t->type->block);
    LB_FAIL_IF(!lb_mul_u64(n / t->type->block, t->type->bytes, &t->bytes) ||
                   !lb_add_u64(t->bytes, type_id == LB_GGML_I2_S ? 32 : 0, &t->bytes),
               c->err, LBRT_ERR_FORMAT, "GGUF tensor %.*s is impossibly large", shown, t->name.text);
    return LBRT_OK;
}

/* The data section: all tensors within it, aligned, and none on top of another. */
static lbrt_status gguf_place_tensors(gguf_cursor *c, lb_gguf *g, lb_span *spans)
{
    uint64_t alignment = 32;
    const lb_gguf_kv *kv = lb_gguf_find(g, "general.alignment");
    LB_FAIL_IF(kv != NULL && (!lb_gguf_uint(kv, GGUF_MAX_ALIGNMENT, &alignment) || alignment < 8 ||
                              (alignment & (alignment - 1)) != 0),
               c->err, LBRT_ERR_FORMAT, "the GGUF file's alignment is no power of two from 8 to %u",
               (unsigned)GGUF_MAX_ALIGNMENT);
    size_t begin = c->pos > SIZE_MAX - GGUF_MAX_ALIGNMENT ? SIZE_MAX : lb_round_up(c->pos, (size_t)alignment);
    LB_FAIL_IF(begin > c->end, c->err, LBRT_ERR_FORMAT, "the GGUF file ends before its tensors");
    uint64_t available = c->end - begin;
    for (size_t i = 0; i < g->n_tensors; i++) {
        lb_gguf_tensor *t = &g->tensors[i];
        uint64_t offset = spans[i].begin;
        int shown = (int)lb_min(t->name.bytes, 80);
        LB_FAIL_IF(offset % alignment != 0, c->err, LBRT_ERR_FORMAT, "GGUF tensor %.*s is not aligned", shown,
                   t->name.text);
        LB_FAIL_IF(offset > available || t->bytes > available - offset, c->err, LBRT_ERR_FORMAT,
                   "GGUF tensor %.*s (%s, %llu bytes) ends behind the file", shown, t->name.text,
                   t->type->name, (unsigned long long)t->bytes);
        t->data = c->data + begin + (size_t)offset;
        spans[i].end = offset + t->bytes;
        spans[i].index = i;
    }
    lb_span_sort(spans, g->n_tensors);
    for (size_t i = 1; i < g->n_tensors; i++) {
        const lb_gguf_string *name = &g->tensors[spans[i].index].name;
        LB_FAIL_IF(spans[i].begin < spans[i - 1].end, c->err, LBRT_ERR_FORMAT,
                   "GGUF tensor %.*s overlaps the one before it", (int)lb_min(name->bytes, 80), name->text);
    }
    return LBRT_OK;
}

static lbrt_status gguf_read_tables(gguf_cursor *c, uint64_t n_kv, uint64_t n_tensors, lb_gguf *g)
{
    LB_FAIL_IF(n_kv > GGUF_MAX_KV || n_kv > (c->end - c->pos) / GGUF_MIN_KV, c->err, LBRT_ERR_FORMAT,
               "the GGUF file says that it has %llu keys", (unsigned long long)n_kv);
    if (n_kv > 0) {
        g->kv = lb_alloc_zero(&g->a, (size_t)n_kv, sizeof *g->kv);
        LB_FAIL_IF(g->kv == NULL, c->err, LBRT_ERR_MEMORY, "out of memory");
        g->n_kv = (size_t)n_kv;
    }
    for (size_t i = 0; i < g->n_kv; i++) {
        LB_TRY(gguf_read_kv(c, &g->kv[i]));
        for (size_t j = 0; j < i; j++) {
            const lb_gguf_string *a = &g->kv[j].key, *b = &g->kv[i].key;
            LB_FAIL_IF(g->kv[j].key_hash == g->kv[i].key_hash && a->bytes == b->bytes &&
                           memcmp(a->text, b->text, a->bytes) == 0,
                       c->err, LBRT_ERR_FORMAT, "the GGUF file has key %.*s twice", (int)lb_min(b->bytes, 80),
                       b->text);
        }
    }
    /* Now, not before the keys were read: what is left is what the tensors' descriptions can have. */
    LB_FAIL_IF(n_tensors > GGUF_MAX_TENSORS || n_tensors > (c->end - c->pos) / GGUF_MIN_TENSOR, c->err,
               LBRT_ERR_FORMAT, "the GGUF file says that it has %llu tensors", (unsigned long long)n_tensors);
    if (n_tensors == 0) {
        return LBRT_OK;
    }
    g->tensors = lb_alloc_zero(&g->a, (size_t)n_tensors, sizeof *g->tensors);
    LB_FAIL_IF(g->tensors == NULL, c->err, LBRT_ERR_MEMORY, "out of memory");
    g->n_tensors = (size_t)n_tensors;
    lb_span *spans = lb_alloc_zero(&g->a, g->n_tensors, sizeof *spans);
    LB_FAIL_IF(spans == NULL, c->err, LBRT_ERR_MEMORY, "out of memory");
    lbrt_status status = LBRT_OK;
    for (size_t i = 0; i < g->n_tensors && status == LBRT_OK; i++) {
        status = gguf_read_tensor(c, &g->tensors[i], &spans[i].begin);
    }
    if (status == LBRT_OK) {
        status = gguf_place_tensors(c, g, spans);
    }
    lb_free(&g->a, spans, g->n_tensors * sizeof *spans);
    return status;
}

lbrt_status lb_gguf_read(const void *data, size_t bytes, const lbrt_allocator *a, lb_gguf *out,
                         lbrt_error *err)
{
    memset(out, 0, sizeof *out);
    out->a = lb_allocator_or_default(a);
    gguf_cursor c = { data, 0, bytes, err };
    uint32_t magic = 0;
    uint64_t n_tensors = 0, n_kv = 0;
    LB_TRY(gguf_u32(&c, &magic));
    LB_FAIL_IF(magic != LB_GGUF_MAGIC, err, LBRT_ERR_FORMAT, "this is no GGUF file");
    LB_TRY(gguf_u32(&c, &out->version));
    LB_FAIL_IF(out->version != 0 && (out->version & 0xffffu) == 0, err, LBRT_ERR_UNSUPPORTED,
               "big-endian GGUF files are not supported");
    LB_FAIL_IF(out->version != 2 && out->version != 3, err, LBRT_ERR_UNSUPPORTED,
               "GGUF version %u is not supported (2 and 3 are)", (unsigned)out->version);
    LB_TRY(gguf_u64(&c, &n_tensors));
    LB_TRY(gguf_u64(&c, &n_kv));
    lbrt_status status = gguf_read_tables(&c, n_kv, n_tensors, out);
    if (status != LBRT_OK) {
        lb_gguf_free(out);
    }
    return status;
}

void lb_gguf_free(lb_gguf *g)
{
    lb_free(&g->a, g->kv, g->n_kv * sizeof *g->kv);
    lb_free(&g->a, g->tensors, g->n_tensors * sizeof *g->tensors);
    g->kv = NULL;
    g->tensors = NULL;
    g->n_kv = g->n_tensors = 0;
}

/* ---------------------------------------------------------------- values */

const lb_gguf_kv *lb_gguf_find(const lb_gguf *g, const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < g->n_kv; i++) {
        if (g->kv[i].key.bytes == n && memcmp(g->kv[i].key.text, key, n) == 0) {
            return &g->kv[i];
        }
    }
    return NULL;
}

/* A whole number of any type as its 64 bits, and whether it is below zero; false for other types. */
static bool gguf_whole(lb_gguf_type type, const unsigned char *p, uint64_t *bits, bool *negative)
{
    int64_t v;
    switch (type) {
    case LB_GGUF_U8:
        *bits = p[0];
        *negative = false;
        return true;
    case LB_GGUF_U16:
        *bits = lb_load_u16(p);
        *negative = false;
        return true;
    case LB_GGUF_U32:
        *bits = lb_load_u32(p);
        *negative = false;
        return true;
    case LB_GGUF_U64:
        *bits = lb_load_u64(p);
        *negative = false;
        return true;
    case LB_GGUF_I8: v = (int8_t)p[0]; break;
    case LB_GGUF_I16: v = (int16_t)lb_load_u16(p); break;
    case LB_GGUF_I32: v = (int32_t)lb_load_u32(p); break;
    case LB_GGUF_I64: v = (int64_t)lb_load_u64(p); break;
    default: return false;
    }
    *bits = (uint64_t)v;
    *negative = v < 0;
    return true;
}

static bool gguf_real(lb_gguf_type type, const unsigned char *p, double *out)
{
    uint64_t bits;
    bool negative;
    if (type == LB_GGUF_F32) {
        *out = (double)lb_load_f32(p);
    } else if (type == LB_GGUF_F64) {
        bits = lb_load_u64(p);
        memcpy(out, &bits, sizeof bits);
    } else if (gguf_whole(type, p, &bits, &negative)) {
        *out = negative ? (double)(int64_t)bits : (double)bits;
    } else {
        return false;
    }
    return true;
}

bool lb_gguf_uint(const lb_gguf_kv *kv, uint64_t max, uint64_t *out)
{
    uint64_t bits;
    bool negative;
    if (kv == NULL || !gguf_whole(kv->type, kv->value, &bits, &negative) || negative || bits > max) {
        return false;
    }
    *out = bits;
    return true;
}

bool lb_gguf_float(const lb_gguf_kv *kv, double *out)
{
    return kv != NULL && gguf_real(kv->type, kv->value, out);
}

bool lb_gguf_bool(const lb_gguf_kv *kv, bool *out)
{
    if (kv == NULL || kv->type != LB_GGUF_BOOL) {
        return false;
    }
    *out = kv->value[0] != 0;
    return true;
}

bool lb_gguf_text(const lb_gguf_kv *kv, lb_gguf_string *out)
{
    if (kv == NULL || kv->type != LB_GGUF_STRING) {
        return false;
    }
    const unsigned char *at = kv->value;
    *out = lb_gguf_next_string(&at);
    return true;
}

int64_t lb_gguf_item_int(const lb_gguf_kv *kv, uint64_t i)
{
    uint64_t bits;
    bool negative;
    return gguf_whole(kv->item, kv->value + i * gguf_number_bytes(kv->item), &bits, &negative) ? (int64_t)bits
                                                                                               : 0;
}

float lb_gguf_item_float(const lb_gguf_kv *kv, uint64_t i)
{
    double v;
    return gguf_real(kv->item, kv->value + i * gguf_number_bytes(kv->item), &v) ? lb_import_f32(v) : 0.0f;
}

lb_gguf_string lb_gguf_next_string(const unsigned char **at)
{
    lb_gguf_string s = { (const char *)*at + 8, (size_t)lb_load_u64(*at) };
    *at += 8 + s.bytes;
    return s;
}
