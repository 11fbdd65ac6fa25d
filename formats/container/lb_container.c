/* The reader of .lbrt files. No number of the file is used before it was compared with what is there. */
#include "lb_container.h"

#include "../../kernels/lb_layout.h"
#include "../../runtime/base/lb_utf8.h"
#include "lb_cursor.h"
#include "lb_wformat.h"

const unsigned char lb_file_magic[8] = { 'l', 'b', 'r', 't', 0x0d, 0x0a, 0x1a, 0x0a };

enum { MAX_SECTIONS = 64 };
/* Above any real matrix, and small enough that products of two of them fit 64 bits with room. */
#define MAX_EXTENT (1ull << 31)

static lbrt_status read_sections(lb_container *c, lbrt_error *err)
{
    LB_FAIL_IF(c->bytes < LB_FILE_HEADER_BYTES || memcmp(c->file, lb_file_magic, sizeof lb_file_magic) != 0, err,
               LBRT_ERR_FORMAT, "not an lbrt file");
    uint32_t version = lb_load_u32(c->file + 8), n = lb_load_u32(c->file + 12);
    LB_FAIL_IF(version == 0 || version > LB_FILE_VERSION, err, LBRT_ERR_UNSUPPORTED,
               "the file has version %u, this library reads up to %u", version, LB_FILE_VERSION);
    LB_FAIL_IF(lb_load_u64(c->file + 16) != c->bytes, err, LBRT_ERR_FORMAT,
               "the file is cut off or has something appended: %llu bytes expected, %zu there",
               (unsigned long long)lb_load_u64(c->file + 16), c->bytes);
    lb_cursor at = lb_cursor_of(c->file + LB_FILE_HEADER_BYTES, c->bytes - LB_FILE_HEADER_BYTES);
    const unsigned char *table = n == 0 || n > MAX_SECTIONS ? NULL : lb_cursor_take(&at, n * LB_FILE_SECTION_BYTES);
    LB_FAIL_IF(!table, err, LBRT_ERR_FORMAT, "impossible number of sections: %u", n);
    c->fingerprint = lb_load_u64(c->file + 24);
    LB_FAIL_IF(lb_hash64(table, n * LB_FILE_SECTION_BYTES) != c->fingerprint, err, LBRT_ERR_CHECKSUM,
               "the section table is damaged");

    lb_section *known[] = { NULL, &c->meta, &c->tokenizer, &c->tensors_raw, &c->data };
    for (uint32_t i = 0; i < n; i++) {
        const unsigned char *r = table + i * LB_FILE_SECTION_BYTES;
        uint32_t kind = lb_load_u32(r), flags = lb_load_u32(r + 4);
        uint64_t offset = lb_load_u64(r + 8), bytes = lb_load_u64(r + 16), checksum = lb_load_u64(r + 24);
        LB_FAIL_IF(offset > c->bytes || bytes > c->bytes - offset, err, LBRT_ERR_FORMAT,
                   "section %u lies outside the file", kind);
        LB_FAIL_IF(bytes && offset < LB_FILE_HEADER_BYTES + n * LB_FILE_SECTION_BYTES, err, LBRT_ERR_FORMAT,
                   "section %u lies upon the section table", kind);
        for (uint32_t j = 0; j < i; j++) {
            uint64_t other = lb_load_u64(table + j * LB_FILE_SECTION_BYTES + 8);
            uint64_t other_bytes = lb_load_u64(table + j * LB_FILE_SECTION_BYTES + 16);
            LB_FAIL_IF(bytes && other_bytes && offset < other + other_bytes && other < offset + bytes, err, LBRT_ERR_FORMAT,
                       "sections %u and %u overlap", lb_load_u32(table + j * LB_FILE_SECTION_BYTES), kind);
        }
        if (kind == 0 || kind >= sizeof known / sizeof known[0]) {
            LB_FAIL_IF(flags & 1, err, LBRT_ERR_UNSUPPORTED, "the file needs section kind %u, unknown to this version", kind);
            continue;
        }
        LB_FAIL_IF(known[kind]->data, err, LBRT_ERR_FORMAT, "section kind %u appears twice", kind);
        LB_FAIL_IF(offset % (kind == LB_SECTION_DATA ? LB_FILE_DATA_ALIGN : 8) != 0, err, LBRT_ERR_FORMAT,
                   "section kind %u is not aligned", kind);
        LB_FAIL_IF(kind != LB_SECTION_DATA && lb_hash64(c->file + offset, bytes) != checksum, err, LBRT_ERR_CHECKSUM,
                   "section kind %u is damaged", kind);
        *known[kind] = (lb_section){ c->file + offset, (size_t)bytes };
    }
    LB_FAIL_IF(!c->meta.data || !c->tensors_raw.data || !c->data.data, err, LBRT_ERR_FORMAT,
               "the file lacks its metadata, tensor table or data");
    return LBRT_OK;
}

/* ---- metadata ---- */

typedef struct lb_meta_entry {
    const char *key;
    uint16_t key_bytes;
    uint8_t type, flags;
    const unsigned char *value;
    uint32_t value_bytes;
} lb_meta_entry;

static bool meta_next(lb_cursor *at, lb_meta_entry *e)
{
    if (!lb_read_u16(at, &e->key_bytes) || !lb_read_u8(at, &e->type) || !lb_read_u8(at, &e->flags) ||
        !lb_read_u32(at, &e->value_bytes)) {
        return false;
    }
    e->key = (const char *)lb_cursor_take(at, e->key_bytes);
    e->value = e->key ? lb_cursor_take(at, e->value_bytes) : NULL;
    return e->value != NULL;
}

static lbrt_status check_meta(const lb_container *c, lbrt_error *err)
{
    lb_cursor at = lb_cursor_of(c->meta.data, c->meta.bytes);
    uint32_t n;
    LB_FAIL_IF(!lb_read_u32(&at, &n), err, LBRT_ERR_FORMAT, "the metadata is cut off");
    for (uint32_t i = 0; i < n; i++) {
        lb_meta_entry e;
        LB_FAIL_IF(!meta_next(&at, &e), err, LBRT_ERR_FORMAT, "the metadata is cut off");
        LB_FAIL_IF((e.flags & 1) && !lb_meta_known(e.key, e.key_bytes), err, LBRT_ERR_UNSUPPORTED,
                   "the file needs '%.*s', unknown to this version", (int)e.key_bytes, e.key);
    }
    return LBRT_OK;
}

bool lb_meta_find(const lb_container *c, const char *key, unsigned type, const unsigned char **value, size_t *bytes)
{
    lb_cursor at = lb_cursor_of(c->meta.data, c->meta.bytes);
    uint32_t n;
    size_t key_bytes = strlen(key);
    if (!lb_read_u32(&at, &n)) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        lb_meta_entry e;
        if (!meta_next(&at, &e)) {
            return false;
        }
        if (e.type == type && e.key_bytes == key_bytes && memcmp(e.key, key, key_bytes) == 0) {
            *value = e.value;
            *bytes = e.value_bytes;
            return true;
        }
    }
    return false;
}

bool lb_meta_u64(const lb_container *c, const char *key, uint64_t *out)
{
    const unsigned char *v;
    size_t n;
    if (!lb_meta_find(c, key, LB_META_U64, &v, &n) || n != 8) {
        return false;
    }
    *out = lb_load_u64(v);
    return true;
}

bool lb_meta_f64(const lb_container *c, const char *key, double *out)
{
    const unsigned char *v;
    size_t n;
    if (!lb_meta_find(c, key, LB_META_F64, &v, &n) || n != 8) {
        return false;
    }
    uint64_t u = lb_load_u64(v);
    memcpy(out, &u, sizeof *out);
    return true;
}

bool lb_meta_bool(const lb_container *c, const char *key, bool *out)
{
    const unsigned char *v;
    size_t n;
    if (!lb_meta_find(c, key, LB_META_BOOL, &v, &n) || n != 1 || *v > 1) {
        return false;
    }
    *out = *v != 0;
    return true;
}

bool lb_meta_string(const lb_container *c, const char *key, char *out, size_t cap)
{
    const unsigned char *v;
    size_t n;
    if (!lb_meta_find(c, key, LB_META_STRING, &v, &n)) {
        return false;
    }
    n = lb_min(n, cap - 1);
    memcpy(out, v, n);
    out[n] = 0;
    lb_utf8_clean(out, n);
    return true;
}

/* ---- the term table ---- */

static lbrt_status read_part(const lb_container *c, lb_cursor *at, const lb_tensor *t, lb_term_kind kind, lb_part *p,
                             lbrt_error *err)
{
    const bool vector = kind == LB_TERM_VECTOR;
    uint32_t format, zero;
    uint64_t offset;
    bool ok = lb_read_u32(at, &format) && lb_read_u32(at, &zero) && lb_read_u64(at, &p->rows) &&
              lb_read_u64(at, &p->cols) && lb_read_u64(at, &offset) && lb_read_u64(at, &p->bytes) &&
              lb_read_u64(at, &p->checksum);
    LB_FAIL_IF(!ok, err, LBRT_ERR_FORMAT, "the tensor table is cut off");
    LB_FAIL_IF(p->rows == 0 || p->cols == 0 || p->rows > MAX_EXTENT || p->cols > MAX_EXTENT, err, LBRT_ERR_FORMAT,
               "tensor %.*s has an impossible shape", (int)t->name_bytes, t->name);
    LB_FAIL_IF(!vector && p->cols > LB_MAX_K, err, LBRT_ERR_FORMAT, "tensor %.*s has too many columns",
               (int)t->name_bytes, t->name);
    LB_FAIL_IF(offset % LB_FILE_PART_ALIGN != 0 || offset > c->data.bytes || p->bytes > c->data.bytes - offset, err,
               LBRT_ERR_FORMAT, "tensor %.*s lies outside the data", (int)t->name_bytes, t->name);
    p->data = c->data.data + offset;
    uint64_t needed;
    if (vector) {
        LB_FAIL_IF(format != LB_W_F32 || p->rows != 1, err, LBRT_ERR_UNSUPPORTED, "vector %.*s has format %u",
                   (int)t->name_bytes, t->name, format);
        p->format = LB_W_F32;
        needed = p->cols * 4;
    } else if (kind == LB_TERM_SPARSE) {
        uint64_t tiles = (p->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS;
        LB_FAIL_IF(format != LB_W_NONE || p->cols > 65536 || p->bytes == 0 || p->bytes % (tiles * 64) != 0, err, LBRT_ERR_FORMAT,
                   "the sparse term of tensor %.*s is not whole lines", (int)t->name_bytes, t->name);
        p->format = LB_W_NONE;
        p->tile_bytes = (size_t)(p->bytes / tiles);
        needed = p->bytes;
    } else if (kind == LB_TERM_MASKED) {
        const uint64_t tiles = (p->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS, least = lb_masked_values_at((size_t)p->cols) + 64;
        LB_FAIL_IF(format != LB_W_NONE || p->bytes % (tiles * 64) != 0 || p->bytes / tiles < least, err, LBRT_ERR_FORMAT,
                   "the masked term of tensor %.*s is not whole lines, or too small", (int)t->name_bytes, t->name);
        p->format = LB_W_NONE;
        p->tile_bytes = (size_t)(p->bytes / tiles);
        needed = p->bytes;
    } else {
        const lb_wformat_info *info = lb_wformat_find(format);
        LB_FAIL_IF(!info, err, LBRT_ERR_UNSUPPORTED, "tensor %.*s has weight format %u, unknown to this version",
                   (int)t->name_bytes, t->name, format);
        p->format = info->id;
        p->tile_bytes = info->tile_bytes((size_t)p->cols);
        uint64_t tiles = (p->rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS;
        LB_FAIL_IF(!lb_mul_u64(tiles, p->tile_bytes, &needed), err, LBRT_ERR_FORMAT, "tensor %.*s is too large",
                   (int)t->name_bytes, t->name);
    }
    LB_FAIL_IF(p->bytes != needed, err, LBRT_ERR_FORMAT, "tensor %.*s has %llu bytes, its shape needs %llu",
               (int)t->name_bytes, t->name, (unsigned long long)p->bytes, (unsigned long long)needed);
    return LBRT_OK;
}

/* A range of rows or columns: inside the tensor, and cut at multiples of 64 except at its end. */
static bool range_ok(uint64_t first, uint64_t n, uint64_t whole)
{
    return n > 0 && first <= whole && n <= whole - first && first % LB_K_ALIGN == 0 &&
           (n % LB_K_ALIGN == 0 || first + n == whole);
}

static lbrt_status read_transform(const lb_container *c, const lb_tensor *t, const lb_term *term, uint16_t kind,
                                  const uint64_t where[3], lb_transform_ref *out, lbrt_error *err)
{
    *out = (lb_transform_ref){ .kind = (lb_transform_kind)kind };
    if (kind == LB_TRANSFORM_NONE) {
        return LBRT_OK;
    }
    LB_FAIL_IF(kind != LB_TRANSFORM_HADAMARD || term->kind == LB_TERM_VECTOR, err, LBRT_ERR_UNSUPPORTED,
               "tensor %.*s needs input transform %u, unknown to this version", (int)t->name_bytes, t->name, (unsigned)kind);
    uint64_t offset = where[0], bytes = where[1], n = lb_round_up((size_t)term->n_cols, LB_K_ALIGN);
    LB_FAIL_IF(term->n_cols == 0 || term->n_cols > LB_MAX_K || offset % LB_FILE_PART_ALIGN != 0 || offset > c->data.bytes ||
                   bytes > c->data.bytes - offset || bytes != 8 + (n + 7) / 8,
               err, LBRT_ERR_FORMAT, "the input transform of tensor %.*s lies outside the data or has a wrong size",
               (int)t->name_bytes, t->name);
    out->data = c->data.data + offset;
    out->bytes = bytes;
    out->checksum = where[2];
    out->block = lb_load_u32(out->data);
    out->n = lb_load_u32(out->data + 4);
    bool power = out->block >= LB_TRANSFORM_MIN_BLOCK && out->block <= LB_TRANSFORM_MAX_BLOCK && (out->block & (out->block - 1)) == 0;
    LB_FAIL_IF(!power || out->n != n || n % out->block != 0, err, LBRT_ERR_FORMAT,
               "the input transform of tensor %.*s does not fit its columns", (int)t->name_bytes, t->name);
    return LBRT_OK;
}

static lbrt_status read_term(const lb_container *c, lb_cursor *at, const lb_tensor *t, lb_term *term, lbrt_error *err)
{
    uint16_t kind, transform, n_parts, zero;
    uint64_t where[4]; /* of the transform: offset, bytes, checksum, zero */
    bool ok = lb_read_u16(at, &kind) && lb_read_u16(at, &transform) && lb_read_u16(at, &n_parts) &&
              lb_read_u16(at, &zero) && lb_read_u64(at, &term->row0) && lb_read_u64(at, &term->n_rows) &&
              lb_read_u64(at, &term->col0) && lb_read_u64(at, &term->n_cols);
    for (unsigned i = 0; ok && i < 4; i++) {
        ok = lb_read_u64(at, &where[i]);
    }
    LB_FAIL_IF(!ok, err, LBRT_ERR_FORMAT, "the tensor table is cut off");
    LB_FAIL_IF(kind < LB_TERM_PACKED || kind > LB_TERM_MASKED, err, LBRT_ERR_UNSUPPORTED,
               "tensor %.*s has a term of kind %u, unknown to this version", (int)t->name_bytes, t->name, (unsigned)kind);
    term->kind = (lb_term_kind)kind;
    term->n_parts = n_parts;
    LB_TRY(read_transform(c, t, term, transform, where, &term->transform, err));
    LB_FAIL_IF(n_parts != (kind == LB_TERM_CHAIN ? 2 : 1), err, LBRT_ERR_FORMAT, "tensor %.*s has a term of %u parts",
               (int)t->name_bytes, t->name, (unsigned)n_parts);
    for (unsigned i = 0; i < n_parts; i++) {
        LB_TRY(read_part(c, at, t, term->kind, &term->parts[i], err));
    }
    const lb_part *first = &term->parts[0], *last = &term->parts[n_parts - 1];
    uint64_t inputs = term->transform.kind == LB_TRANSFORM_NONE ? term->n_cols : term->transform.n;
    bool fits = first->rows == term->n_rows && last->cols == inputs;
    if (kind == LB_TERM_VECTOR) {
        fits = fits && t->n_terms == 1 && t->rows == 1 && term->row0 == 0 && term->col0 == 0 && term->n_cols == t->cols;
    } else {
        fits = fits && range_ok(term->row0, term->n_rows, t->rows) && range_ok(term->col0, term->n_cols, t->cols);
    }
    if (kind == LB_TERM_SPARSE || kind == LB_TERM_MASKED) {
        fits = fits && term->transform.kind == LB_TRANSFORM_NONE;
    }
    if (kind == LB_TERM_CHAIN) {
        fits = fits && first->cols == last->rows;
    }
    LB_FAIL_IF(!fits, err, LBRT_ERR_FORMAT, "the terms of tensor %.*s do not fit its shape", (int)t->name_bytes, t->name);
    return LBRT_OK;
}

static uint64_t name_hash(const char *name, size_t n)
{
    return lb_hash64(name, n);
}

static lbrt_status read_tensors(lb_container *c, lbrt_error *err)
{
    lb_cursor at = lb_cursor_of(c->tensors_raw.data, c->tensors_raw.bytes);
    uint32_t n, zero;
    LB_FAIL_IF(!lb_read_u32(&at, &n) || !lb_read_u32(&at, &zero), err, LBRT_ERR_FORMAT, "the tensor table is cut off");
    /* Every tensor takes a record of 24 bytes and a term: that bounds what we allocate by the file's size. */
    size_t least = 24 + LB_FILE_TERM_BYTES + LB_FILE_PART_BYTES;
    LB_FAIL_IF(n == 0 || n > lb_cursor_left(&at) / least, err, LBRT_ERR_FORMAT, "impossible number of tensors: %u", n);
    size_t most_terms = lb_cursor_left(&at) / (LB_FILE_TERM_BYTES + LB_FILE_PART_BYTES);
    c->tensors = (lb_tensor *)lb_alloc_zero(&c->allocator, n, sizeof *c->tensors);
    c->n_tensors = n;
    c->terms = (lb_term *)lb_alloc_zero(&c->allocator, most_terms, sizeof *c->terms);
    c->n_terms = most_terms;
    for (c->index_size = 4; c->index_size < 2 * (size_t)n; c->index_size *= 2) {
    }
    c->index = (uint32_t *)lb_alloc_zero(&c->allocator, c->index_size, sizeof *c->index);
    LB_FAIL_IF(!c->tensors || !c->terms || !c->index, err, LBRT_ERR_MEMORY, "out of memory");

    lb_term *next = c->terms, *end = c->terms + most_terms;
    for (uint32_t i = 0; i < n; i++) {
        lb_tensor *t = &c->tensors[i];
        uint16_t name_bytes, n_terms;
        bool ok = lb_cursor_align(&at, 8) && lb_read_u16(&at, &name_bytes) && lb_read_u16(&at, &n_terms) &&
                  lb_read_u32(&at, &zero) && lb_read_u64(&at, &t->rows) && lb_read_u64(&at, &t->cols);
        t->name = ok ? (const char *)lb_cursor_take(&at, name_bytes) : NULL;
        LB_FAIL_IF(!t->name || !lb_cursor_align(&at, 8), err, LBRT_ERR_FORMAT, "the tensor table is cut off");
        t->name_bytes = name_bytes;
        t->n_terms = n_terms;
        t->terms = next;
        LB_FAIL_IF(name_bytes == 0 || name_bytes > 255 || n_terms == 0 || n_terms > LB_MAX_TERMS ||
                       n_terms > (size_t)(end - next),
                   err, LBRT_ERR_FORMAT, "tensor %u has an impossible name or number of terms", i);
        LB_FAIL_IF(t->rows == 0 || t->cols == 0 || t->rows > MAX_EXTENT || t->cols > MAX_EXTENT, err, LBRT_ERR_FORMAT,
                   "tensor %.*s has an impossible shape", (int)name_bytes, t->name);
        for (unsigned j = 0; j < n_terms; j++) {
            LB_TRY(read_term(c, &at, t, next++, err));
        }
        size_t slot = name_hash(t->name, name_bytes) & (c->index_size - 1);
        for (; c->index[slot]; slot = (slot + 1) & (c->index_size - 1)) {
            const lb_tensor *other = &c->tensors[c->index[slot] - 1];
            LB_FAIL_IF(other->name_bytes == name_bytes && memcmp(other->name, t->name, name_bytes) == 0, err,
                       LBRT_ERR_FORMAT, "tensor %.*s appears twice", (int)name_bytes, t->name);
        }
        c->index[slot] = i + 1;
    }
    return LBRT_OK;
}

const lb_tensor *lb_container_find(const lb_container *c, const char *name)
{
    size_t n = strlen(name);
    size_t slot = name_hash(name, n) & (c->index_size - 1);
    for (; c->index[slot]; slot = (slot + 1) & (c->index_size - 1)) {
        const lb_tensor *t = &c->tensors[c->index[slot] - 1];
        if (t->name_bytes == n && memcmp(t->name, name, n) == 0) {
            return t;
        }
    }
    return NULL;
}

lbrt_status lb_container_open(lb_container *c, const void *data, size_t bytes, const lbrt_allocator *a, lbrt_error *err)
{
    *c = (lb_container){ .allocator = *a, .file = (const unsigned char *)data, .bytes = bytes };
    LB_FAIL_IF((uintptr_t)data % LB_FILE_PART_ALIGN != 0, err, LBRT_ERR_ARGUMENT,
               "the model's memory is not aligned to %u bytes", LB_FILE_PART_ALIGN);
    lbrt_status s = read_sections(c, err);
    s = s == LBRT_OK ? check_meta(c, err) : s;
    s = s == LBRT_OK ? read_tensors(c, err) : s;
    if (s != LBRT_OK) {
        lb_container_close(c);
    }
    return s;
}

void lb_container_close(lb_container *c)
{
    lb_free(&c->allocator, c->tensors, c->n_tensors * sizeof *c->tensors);
    lb_free(&c->allocator, c->terms, c->n_terms * sizeof *c->terms);
    lb_free(&c->allocator, c->index, c->index_size * sizeof *c->index);
    c->tensors = NULL;
    c->terms = NULL;
    c->index = NULL;
    c->n_tensors = 0;
}

/* ---- verifying ---- */

typedef struct verify_job {
    lbrt_progress_fn progress;
    void *user;
    uint64_t done, total;
} verify_job;

/* The hash of a piece of DATA, with a word to the host every few megabytes. */
static lbrt_status verify_piece(verify_job *j, const unsigned char *data, uint64_t bytes, uint64_t checksum, const char *what,
                                const lb_tensor *t, lbrt_error *err)
{
    enum { STEP = 8 << 20 };
    lb_hash h;
    lb_hash_begin(&h);
    for (uint64_t at = 0; at < bytes;) {
        const size_t n = (size_t)(bytes - at < STEP ? bytes - at : STEP);
        lb_hash_add(&h, data + at, n);
        at += n;
        j->done += n;
        LB_FAIL_IF(j->progress && j->done < j->total && !j->progress(j->user, j->done, j->total), err, LBRT_CANCELLED, "cancelled");
    }
    LB_FAIL_IF(lb_hash_end(&h) != checksum, err, LBRT_ERR_CHECKSUM, "%stensor %.*s is damaged", what, (int)t->name_bytes, t->name);
    return LBRT_OK;
}

lbrt_status lb_container_verify(const lb_container *c, lbrt_progress_fn progress, void *user, lbrt_error *err)
{
    verify_job j = { .progress = progress, .user = user };
    for (unsigned pass = 0; pass < 2; pass++) { /* what there is, then what it is */
        for (size_t i = 0; i < c->n_tensors; i++) {
            const lb_tensor *t = &c->tensors[i];
            for (unsigned k = 0; k < t->n_terms; k++) {
                const lb_transform_ref *tr = &t->terms[k].transform;
                if (pass) {
                    LB_TRY(tr->data ? verify_piece(&j, tr->data, tr->bytes, tr->checksum, "the input transform of ", t, err) : LBRT_OK);
                } else {
                    j.total += tr->bytes;
                }
                for (unsigned p = 0; p < t->terms[k].n_parts; p++) {
                    const lb_part *part = &t->terms[k].parts[p];
                    if (pass) {
                        LB_TRY(verify_piece(&j, part->data, part->bytes, part->checksum, "", t, err));
                    } else {
                        j.total += part->bytes;
                    }
                }
            }
        }
    }
    LB_FAIL_IF(progress && !progress(user, j.total, j.total), err, LBRT_CANCELLED, "cancelled");
    return LBRT_OK;
}

/* ---- skimming ---- */

enum { MAX_FACTORS = 1024 / 2 * sizeof(float) }; /* bytes, by the most dimensions that are rotated */

typedef struct container_skim {
    const unsigned char *file;
    lb_section data;
    lb_want_fn *want;
    void *user;
} container_skim;

static bool container_want(const container_skim *k, uint64_t offset, uint64_t n)
{
    return n > k->data.bytes || offset > k->data.bytes - n || k->want(k->user, (uint64_t)(k->data.data - k->file) + offset, (size_t)n);
}

bool lb_container_skim(const unsigned char *file, size_t bytes, lb_want_fn *want, void *user)
{
    const size_t head = lb_min(bytes, LB_FILE_HEADER_BYTES + MAX_SECTIONS * LB_FILE_SECTION_BYTES);
    if (!want(user, 0, head)) {
        return false;
    }
    lb_section tensors = { NULL, 0 }, data = { NULL, 0 };
    const uint32_t n = head < LB_FILE_HEADER_BYTES ? 0 : lb_load_u32(file + 12);
    for (uint32_t i = 0; i < n && LB_FILE_HEADER_BYTES + (i + 1) * LB_FILE_SECTION_BYTES <= head; i++) {
        const unsigned char *r = file + LB_FILE_HEADER_BYTES + i * LB_FILE_SECTION_BYTES;
        const uint32_t kind = lb_load_u32(r);
        const uint64_t offset = lb_load_u64(r + 8), length = lb_load_u64(r + 16);
        if (offset > bytes || length > bytes - offset) {
            return true;
        }
        const lb_section section = { file + offset, (size_t)length };
        if (kind == LB_SECTION_DATA) {
            data = section;
        } else if (kind == LB_SECTION_META || kind == LB_SECTION_TOKENIZER || kind == LB_SECTION_TENSORS) {
            if (!want(user, offset, (size_t)length)) {
                return false;
            }
            tensors = kind == LB_SECTION_TENSORS ? section : tensors;
        }
    }
    /* Of transforms the first eight bytes; the factors of rotary frequencies, which are looked at when they are bound. */
    static const char factors[] = "rope_factors";
    const container_skim skim = { file, data, want, user };
    lb_cursor at = lb_cursor_of(tensors.data, tensors.bytes);
    uint32_t n_tensors, zero;
    if (!lb_read_u32(&at, &n_tensors) || !lb_read_u32(&at, &zero)) {
        return true;
    }
    for (uint32_t i = 0; i < n_tensors; i++) {
        uint16_t name_bytes, n_terms;
        const unsigned char *name;
        if (!lb_cursor_align(&at, 8) || !lb_read_u16(&at, &name_bytes) || !lb_read_u16(&at, &n_terms) || !lb_cursor_take(&at, 20) ||
            !(name = lb_cursor_take(&at, name_bytes)) || !lb_cursor_align(&at, 8)) {
            return true;
        }
        const bool is_factors = name_bytes == sizeof factors - 1 && memcmp(name, factors, name_bytes) == 0;
        for (unsigned j = 0; j < n_terms; j++) {
            const unsigned char *term = lb_cursor_take(&at, LB_FILE_TERM_BYTES);
            const unsigned char *part = term ? lb_cursor_take(&at, lb_load_u16(term + 4) * (size_t)LB_FILE_PART_BYTES) : NULL;
            if (!part) {
                return true;
            }
            if ((lb_load_u16(term + 2) && !container_want(&skim, lb_load_u64(term + 40), 8)) ||
                (is_factors && lb_load_u16(term + 4) && !container_want(&skim, lb_load_u64(part + 24), lb_min(lb_load_u64(part + 32), MAX_FACTORS)))) {
                return false;
            }
        }
    }
    return true;
}
