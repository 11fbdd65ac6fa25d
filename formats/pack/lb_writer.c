/* The writer of .lbrt files. */
#include "lb_writer.h"

static lbrt_status keep(lb_writer *w, lbrt_status s)
{
    if (w->status == LBRT_OK) {
        w->status = s;
    }
    return w->status;
}

static lbrt_status keep_buffers(lb_writer *w)
{
    if (w->status == LBRT_OK && (w->table.failed || w->meta.failed)) {
        w->status = lb_fail(w->err, LBRT_ERR_MEMORY, "out of memory");
    }
    return w->status;
}

lbrt_status lb_writer_open(lb_writer *w, const char *path, const lbrt_allocator *a, lbrt_error *err)
{
    *w = (lb_writer){ .out.fd = -1, .err = err };
    w->table = lb_buffer_new(a);
    w->meta = lb_buffer_new(a);
    keep(w, lb_outfile_open(&w->out, path, a, err));
    w->out.offset = LB_FILE_DATA_ALIGN; /* header and section table fit in front */
    lb_buffer_u32(&w->table, 0); /* n_tensors, patched at the end */
    lb_buffer_u32(&w->table, 0);
    lb_buffer_u32(&w->meta, 0); /* count, patched too */
    return keep_buffers(w);
}

void lb_writer_abort(lb_writer *w)
{
    lb_outfile_abort(&w->out);
    lb_buffer_free(&w->table);
    lb_buffer_free(&w->meta);
}

static lbrt_status pad_file(lb_writer *w, size_t align)
{
    static const unsigned char zeros[LB_FILE_DATA_ALIGN];
    size_t over = (size_t)(w->out.offset % align);
    return over ? keep(w, lb_outfile_write(&w->out, zeros, align - over, w->err)) : w->status;
}

lbrt_status lb_writer_tensor(lb_writer *w, const char *name, uint64_t rows, uint64_t cols, unsigned n_terms)
{
    size_t n = strlen(name);
    if (n == 0 || n > 255 || n_terms == 0 || n_terms > LB_MAX_TERMS) {
        return keep(w, lb_fail(w->err, LBRT_ERR_ARGUMENT, "tensor name or number of terms out of range: %s", name));
    }
    lb_buffer_align(&w->table, 8);
    lb_buffer_u16(&w->table, (uint16_t)n);
    lb_buffer_u16(&w->table, (uint16_t)n_terms);
    lb_buffer_u32(&w->table, 0);
    lb_buffer_u64(&w->table, rows);
    lb_buffer_u64(&w->table, cols);
    lb_buffer_put(&w->table, name, n);
    lb_buffer_align(&w->table, 8);
    w->n_tensors++;
    return keep_buffers(w);
}

lbrt_status lb_writer_hadamard(lb_writer *w, uint32_t block, uint32_t n, const unsigned char *signs, lb_writer_transform *out)
{
    LB_TRY(pad_file(w, LB_FILE_PART_ALIGN));
    unsigned char head[8];
    lb_store_u32(head, block);
    lb_store_u32(head + 4, n);
    *out = (lb_writer_transform){ .kind = LB_TRANSFORM_HADAMARD, .offset = w->out.offset - LB_FILE_DATA_ALIGN };
    lb_hash_begin(&w->hash);
    lb_writer_data(w, head, sizeof head);
    lb_writer_data(w, signs, (n + 7) / 8);
    out->bytes = sizeof head + (n + 7) / 8;
    out->checksum = lb_hash_end(&w->hash);
    return w->status;
}

lbrt_status lb_writer_term(lb_writer *w, lb_term_kind kind, const lb_writer_transform *transform, uint64_t row0, uint64_t n_rows,
                           uint64_t col0, uint64_t n_cols)
{
    static const lb_writer_transform none = { LB_TRANSFORM_NONE, 0, 0, 0 };
    transform = transform ? transform : &none;
    lb_buffer_u16(&w->table, (uint16_t)kind);
    lb_buffer_u16(&w->table, (uint16_t)transform->kind);
    lb_buffer_u16(&w->table, kind == LB_TERM_CHAIN ? 2 : 1);
    lb_buffer_u16(&w->table, 0);
    const uint64_t fields[8] = { row0, n_rows, col0, n_cols, transform->offset, transform->bytes, transform->checksum, 0 };
    for (unsigned i = 0; i < 8; i++) {
        lb_buffer_u64(&w->table, fields[i]);
    }
    return keep_buffers(w);
}

lbrt_status lb_writer_part(lb_writer *w, lb_wformat format, uint64_t rows, uint64_t cols)
{
    LB_TRY(pad_file(w, LB_FILE_PART_ALIGN));
    w->part_start = w->out.offset - LB_FILE_DATA_ALIGN;
    w->part_record = w->table.bytes;
    lb_hash_begin(&w->hash);
    lb_buffer_u32(&w->table, (uint32_t)format);
    lb_buffer_u32(&w->table, 0);
    lb_buffer_u64(&w->table, rows);
    lb_buffer_u64(&w->table, cols);
    lb_buffer_u64(&w->table, w->part_start);
    lb_buffer_u64(&w->table, 0); /* bytes */
    lb_buffer_u64(&w->table, 0); /* checksum */
    return keep_buffers(w);
}

lbrt_status lb_writer_data(lb_writer *w, const void *data, size_t bytes)
{
    if (w->status != LBRT_OK) {
        return w->status;
    }
    lb_hash_add(&w->hash, data, bytes);
    return keep(w, lb_outfile_write(&w->out, data, bytes, w->err));
}

lbrt_status lb_writer_part_end(lb_writer *w)
{
    if (w->status == LBRT_OK) {
        unsigned char *record = w->table.data + w->part_record;
        lb_store_u64(record + 32, w->out.offset - LB_FILE_DATA_ALIGN - w->part_start);
        lb_store_u64(record + 40, lb_hash_end(&w->hash));
    }
    return w->status;
}

lbrt_status lb_writer_vector(lb_writer *w, const char *name, const float *x, uint64_t n)
{
    lb_writer_tensor(w, name, 1, n, 1);
    lb_writer_term(w, LB_TERM_VECTOR, NULL, 0, 1, 0, n);
    lb_writer_part(w, LB_W_F32, 1, n);
    for (uint64_t i = 0; i < n && w->status == LBRT_OK; i += 256) {
        unsigned char raw[256 * 4];
        size_t m = (size_t)(n - i < 256 ? n - i : 256);
        for (size_t j = 0; j < m; j++) {
            uint32_t u;
            memcpy(&u, &x[i + j], sizeof u);
            lb_store_u32(raw + 4 * j, u);
        }
        lb_writer_data(w, raw, 4 * m);
    }
    return lb_writer_part_end(w);
}

lbrt_status lb_writer_meta(lb_writer *w, const lb_meta_value *v, bool required)
{
    unsigned char raw[8];
    const void *value = raw;
    size_t bytes = 8;
    uint64_t bits;
    switch (v->type) {
    case LB_META_STRING:
        value = v->s;
        bytes = strlen(v->s);
        break;
    case LB_META_BOOL:
        raw[0] = v->u != 0;
        bytes = 1;
        break;
    case LB_META_F64:
        memcpy(&bits, &v->f, sizeof bits);
        lb_store_u64(raw, bits);
        break;
    default: lb_store_u64(raw, v->u); break;
    }
    lb_buffer_u16(&w->meta, (uint16_t)strlen(v->key));
    lb_buffer_u8(&w->meta, (uint8_t)v->type);
    lb_buffer_u8(&w->meta, required);
    lb_buffer_u32(&w->meta, (uint32_t)bytes);
    lb_buffer_put(&w->meta, v->key, strlen(v->key));
    lb_buffer_put(&w->meta, value, bytes);
    w->n_meta++;
    return keep_buffers(w);
}

lbrt_status lb_writer_commit(lb_writer *w, const lb_hparams *h, const void *tokenizer, size_t tokenizer_bytes)
{
    lb_meta_value values[LB_HPARAMS_KEYS];
    size_t n = h ? lb_hparams_list(h, values, LB_HPARAMS_KEYS) : 0;
    for (size_t i = 0; i < n; i++) {
        lb_writer_meta(w, &values[i], values[i].required);
    }
    LB_TRY(w->status);
    lb_store_u32(w->table.data, w->n_tensors);
    lb_store_u32(w->meta.data, w->n_meta);

    const struct {
        unsigned kind;
        const void *data;
        size_t bytes;
    } sections[] = { { LB_SECTION_META, w->meta.data, w->meta.bytes },
                     { LB_SECTION_TENSORS, w->table.data, w->table.bytes },
                     { LB_SECTION_TOKENIZER, tokenizer, tokenizer ? tokenizer_bytes : 0 } };
    unsigned char head[LB_FILE_HEADER_BYTES + 4 * LB_FILE_SECTION_BYTES] = { 0 };
    unsigned char *record = head + LB_FILE_HEADER_BYTES;
    lb_store_u32(record, LB_SECTION_DATA);
    lb_store_u32(record + 4, 1);
    lb_store_u64(record + 8, LB_FILE_DATA_ALIGN);
    lb_store_u64(record + 16, w->out.offset - LB_FILE_DATA_ALIGN);
    uint32_t n_sections = 1;
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        if (sections[i].bytes == 0) {
            continue;
        }
        LB_TRY(pad_file(w, LB_FILE_PART_ALIGN));
        record = head + LB_FILE_HEADER_BYTES + n_sections++ * LB_FILE_SECTION_BYTES;
        lb_store_u32(record, sections[i].kind);
        lb_store_u32(record + 4, 1);
        lb_store_u64(record + 8, w->out.offset);
        lb_store_u64(record + 16, sections[i].bytes);
        lb_store_u64(record + 24, lb_hash64(sections[i].data, sections[i].bytes));
        LB_TRY(keep(w, lb_outfile_write(&w->out, sections[i].data, sections[i].bytes, w->err)));
    }
    memcpy(head, lb_file_magic, sizeof lb_file_magic);
    lb_store_u32(head + 8, LB_FILE_VERSION);
    lb_store_u32(head + 12, n_sections);
    lb_store_u64(head + 16, w->out.offset);
    lb_store_u64(head + 24, lb_hash64(head + LB_FILE_HEADER_BYTES, n_sections * LB_FILE_SECTION_BYTES));
    LB_TRY(keep(w, lb_outfile_write_at(&w->out, 0, head, sizeof head, w->err)));
    return keep(w, lb_outfile_commit(&w->out, w->err));
}
