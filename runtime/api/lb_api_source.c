/* Opening a model from wherever the host has it, and planning its memory. */
#include "../engine/lb_session.h"

#include <math.h>

/* Options of an older, shorter or a newer, longer struct: what both know. */
static lbrt_status model_options(const lbrt_model_options *in, lbrt_model_options *out, lbrt_error *err)
{
    *out = (lbrt_model_options)LBRT_MODEL_OPTIONS_INIT;
    if (in) {
        LB_FAIL_IF(in->size == 0, err, LBRT_ERR_ARGUMENT, "model options without their size");
        memcpy(out, in, lb_min(in->size, sizeof *out));
    }
    LB_FAIL_IF(isnan(out->outlier_threshold), err, LBRT_ERR_ARGUMENT, "the outlier threshold is not a number");
    return LBRT_OK;
}

static lbrt_status source_check(const lbrt_source *in, lbrt_source *out, lbrt_error *err)
{
    LB_FAIL_IF(!in, err, LBRT_ERR_ARGUMENT, "no source");
    LB_FAIL_IF(in->size == 0, err, LBRT_ERR_ARGUMENT, "a source without its size");
    *out = (lbrt_source)LBRT_SOURCE_INIT;
    memcpy(out, in, lb_min(in->size, sizeof *out));
    switch (out->kind) {
    case LBRT_SOURCE_PATH: LB_FAIL_IF(!out->path, err, LBRT_ERR_ARGUMENT, "no path"); break;
    case LBRT_SOURCE_MEMORY: LB_FAIL_IF(!out->memory, err, LBRT_ERR_ARGUMENT, "no data"); break;
    case LBRT_SOURCE_FD: LB_FAIL_IF(out->fd < 0, err, LBRT_ERR_ARGUMENT, "no file descriptor"); break;
    case LBRT_SOURCE_READ: LB_FAIL_IF(!out->read || out->bytes == 0, err, LBRT_ERR_ARGUMENT, "no read function, or no size"); break;
    default: return lb_fail(err, LBRT_ERR_ARGUMENT, "unknown kind of source %d", (int)out->kind);
    }
    LB_FAIL_IF(out->bytes > SIZE_MAX / 2, err, LBRT_ERR_ARGUMENT, "a model of %llu bytes", (unsigned long long)out->bytes);
    return LBRT_OK;
}

/* ---- reading ---- */

/* Bytes by a function: the host's, or pread at an offset in a file. */
typedef struct source_reader {
    lbrt_read_fn read;
    void *user;
    int fd;
    uint64_t offset; /* of the model in the file */
} source_reader;

static int64_t read_some(const source_reader *r, uint64_t at, void *to, size_t bytes)
{
    return r->read ? r->read(r->user, at, to, bytes) : lb_file_read(r->fd, r->offset + at, to, bytes);
}

static lbrt_status read_all(const source_reader *r, uint64_t at, unsigned char *to, size_t bytes, const lbrt_model_options *o,
                            lbrt_error *err)
{
    enum { STEP = 8 << 20 };
    for (size_t done = 0; done < bytes;) {
        const size_t want = lb_min(bytes - done, STEP);
        const int64_t got = read_some(r, at + done, to + done, want);
        LB_FAIL_IF(got < 0, err, LBRT_ERR_IO, "cannot read the model at byte %llu", (unsigned long long)(at + done));
        LB_FAIL_IF(got == 0, err, LBRT_ERR_IO, "the model ends at byte %llu", (unsigned long long)(at + done));
        LB_FAIL_IF((uint64_t)got > want, err, LBRT_ERR_IO, "the read function returned more bytes than it was asked for");
        done += (size_t)got;
        LB_FAIL_IF(o && o->progress && !o->progress(o->progress_user, done, bytes), err, LBRT_CANCELLED, "cancelled");
    }
    return LBRT_OK;
}

/* For a plan: address space of the whole model, of which only the pages before weights are filled. */
typedef struct source_skim {
    const source_reader *reader;
    unsigned char *to;
    lbrt_error *err;
    lbrt_status status;
} source_skim;

static bool skim_range(void *user, uint64_t offset, size_t bytes)
{
    source_skim *skim = (source_skim *)user;
    skim->status = read_all(skim->reader, offset, skim->to + offset, bytes, NULL, skim->err);
    return skim->status == LBRT_OK;
}

static lbrt_status read_source(const source_reader *r, size_t bytes, const lbrt_model_options *o, bool plan, lb_model_bytes *out,
                               lbrt_error *err)
{
    if (plan) {
        LB_TRY(lb_map_reserve(bytes, &out->map, err));
        source_skim skim = { r, (unsigned char *)(uintptr_t)out->map.data, err, LBRT_OK };
        (void)lb_container_skim(out->map.data, bytes, skim_range, &skim);
        out->data = out->map.data;
        return skim.status;
    }
    const lbrt_allocator a = lb_allocator_or_default(o->allocator);
    out->copy = lb_alloc(&a, bytes);
    LB_FAIL_IF(!out->copy, err, LBRT_ERR_MEMORY, "the model's %zu bytes are more than there is", bytes);
    out->data = (const unsigned char *)out->copy;
    return read_all(r, 0, (unsigned char *)out->copy, bytes, o, err);
}

static lbrt_status source_file(const lbrt_source *from, int fd, const char *name, const lbrt_model_options *o, bool plan,
                               lb_model_bytes *out, lbrt_error *err)
{
    uint64_t bytes = from->bytes;
    LB_TRY(lb_file_range(fd, name, from->offset, &bytes, err));
    out->bytes = (size_t)bytes;
    if (from->offset % LB_FILE_PART_ALIGN == 0 || bytes == 0) {
        LB_TRY(lb_file_map(fd, name, from->offset, out->bytes, &out->map, err));
        out->data = out->map.data;
        return LBRT_OK;
    }
    return read_source(&(source_reader){ .fd = fd, .offset = from->offset }, out->bytes, o, plan, out, err);
}

/* The bytes of a source. With `plan` no weights are read or copied. On failure nothing is left. */
static lbrt_status source_bytes(const lbrt_source *from, const lbrt_model_options *o, bool plan, lb_model_bytes *out, lbrt_error *err)
{
    *out = (lb_model_bytes){ .bytes = (size_t)from->bytes };
    lbrt_status s = LBRT_OK;
    int fd = from->fd;
    switch (from->kind) {
    case LBRT_SOURCE_PATH:
        LB_TRY(lb_file_open(from->path, &fd, err));
        s = source_file(from, fd, from->path, o, plan, out, err);
        lb_file_close(fd);
        break;
    case LBRT_SOURCE_FD: s = source_file(from, fd, "the file", o, plan, out, err); break;
    case LBRT_SOURCE_READ:
        s = read_source(&(source_reader){ .read = from->read, .user = from->read_user }, out->bytes, o, plan, out, err);
        break;
    default: out->data = (const unsigned char *)from->memory; break;
    }
    if (s != LBRT_OK) {
        const lbrt_allocator a = lb_allocator_or_default(o->allocator);
        lb_model_bytes_close(out, &a);
    }
    return s;
}

/* ---- opening ---- */

lbrt_status lbrt_model_open_source(const lbrt_source *source, const lbrt_model_options *options, lbrt_model **out, lbrt_error *err)
{
    if (err) {
        *err = (lbrt_error){ LBRT_OK, "" };
    }
    LB_FAIL_IF(!out, err, LBRT_ERR_ARGUMENT, "no place for the model");
    *out = NULL;
    lbrt_source from;
    lbrt_model_options o;
    lb_model_bytes bytes;
    LB_TRY(source_check(source, &from, err));
    LB_TRY(model_options(options, &o, err));
    LB_TRY(source_bytes(&from, &o, false, &bytes, err));
    return lb_model_build(&bytes, &o, out, err);
}

lbrt_status lbrt_model_open(const char *path, const lbrt_model_options *options, lbrt_model **out, lbrt_error *err)
{
    lbrt_source from = LBRT_SOURCE_INIT;
    from.path = path;
    return lbrt_model_open_source(&from, options, out, err);
}

lbrt_status lbrt_model_open_memory(const void *data, size_t bytes, const lbrt_model_options *options, lbrt_model **out,
                                   lbrt_error *err)
{
    lbrt_source from = LBRT_SOURCE_INIT;
    from.kind = LBRT_SOURCE_MEMORY;
    from.memory = data;
    from.bytes = bytes;
    return lbrt_model_open_source(&from, options, out, err);
}

/* ---- planning: the same work with the same allocator, counted, on a model without its weights ---- */

typedef struct plan_count {
    lbrt_allocator inner;
    uint64_t alive, most;
} plan_count;

static void *plan_alloc(void *user, size_t bytes, size_t align)
{
    plan_count *count = (plan_count *)user;
    void *p = count->inner.alloc(count->inner.user, bytes, align);
    if (p) {
        count->alive += bytes;
        count->most = count->alive > count->most ? count->alive : count->most;
    }
    return p;
}

static void plan_free(void *user, void *ptr, size_t bytes, size_t align)
{
    plan_count *count = (plan_count *)user;
    count->alive -= bytes;
    count->inner.free(count->inner.user, ptr, bytes, align);
}

lbrt_status lbrt_model_plan(const lbrt_source *source, const lbrt_model_options *model, const lbrt_session_options *session,
                            lbrt_memory_plan *plan, lbrt_error *err)
{
    if (err) {
        *err = (lbrt_error){ LBRT_OK, "" };
    }
    LB_FAIL_IF(!plan || plan->size == 0, err, LBRT_ERR_ARGUMENT, "no place for the plan");
    lbrt_memory_plan all = LBRT_MEMORY_PLAN_INIT;
    all.size = plan->size;
    memcpy(plan, &all, lb_min(plan->size, sizeof all));
    lbrt_source from;
    lbrt_model_options o;
    LB_TRY(source_check(source, &from, err));
    LB_TRY(model_options(model, &o, err));
    plan_count count = { .inner = lb_allocator_or_default(o.allocator) };
    const lbrt_allocator counting = { plan_alloc, plan_free, &count };
    o.allocator = &counting;
    o.verify = false;
    o.log = NULL;
    lb_model_bytes bytes;
    LB_TRY(source_bytes(&from, &o, true, &bytes, err));
    const bool copied = from.kind == LBRT_SOURCE_READ || (from.kind != LBRT_SOURCE_MEMORY && from.offset % LB_FILE_PART_ALIGN != 0);
    const uint64_t copy_bytes = copied ? bytes.bytes : 0;
    all.mapped_bytes = copied ? 0 : bytes.map.bytes;
    lbrt_model *m;
    LB_TRY(lb_model_build(&bytes, &o, &m, err));
    all.model_bytes = count.alive + copy_bytes;
    all.opening_bytes = count.most + copy_bytes;
    size_t session_bytes = 0;
    const lbrt_status s = lbrt_session_bytes(m, session, &session_bytes, err);
    all.session_bytes = session_bytes;
    lbrt_model_close(m);
    if (s == LBRT_OK) {
        memcpy(plan, &all, lb_min(plan->size, sizeof all));
    }
    return s;
}
