/*
 * Saved sessions. Little-endian:
 *   0   8 bytes 'l' 'b' 's' 't' 'a' 't' 'e' 3;  8 u64 the model's fingerprint;  16 u32 key format;  20 u32 value format;
 *   24  u64 n tokens in the cache;  32 u64 n_logits (0 or 1);  40 u64 XXH64 of everything else
 *   48  u64 evicted;  56 u64 compressed;  64 u32 window;  68 u32 sinks;  72 u64 n_embedded;  80 u64 chunks of faint
 *   positions (lb_kv.h);  88 40 bytes zero
 *   128 n i32 token ids (-1 - i: embedding i), n_embedded rows of dim f32, n_logits rows of n_vocab f32, then the cache of n positions
 *       (lb_kv_export)
 */
#include "../base/lb_os.h"
#include "lb_session_api.h"

enum { STATE_USED = 88, STATE_HASH = 40 };
static const unsigned char state_magic[8] = { 'l', 'b', 's', 't', 'a', 't', 'e', 3 };

static size_t state_logits(const lbrt_session *s)
{
    return s->n_logits ? 1 : 0;
}

static size_t state_bytes(const lbrt_session *s, size_t n, size_t n_logits, size_t n_embedded, size_t faint)
{
    lb_kv kv = s->kv;
    kv.faint = faint;
    return LB_STATE_HEADER + n * sizeof(lbrt_token) + lb_kv_state_bytes(&kv, n) +
           (n_logits * s->model->hparams.n_vocab + n_embedded * s->model->hparams.dim) * sizeof(float);
}

static unsigned char *put_floats(unsigned char *at, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++, at += 4) {
        uint32_t u;
        memcpy(&u, &from[i], sizeof u);
        lb_store_u32(at, u);
    }
    return at;
}

static const unsigned char *get_floats(const unsigned char *at, float *to, size_t n)
{
    for (size_t i = 0; i < n; i++, at += 4) {
        to[i] = lb_load_f32(at);
    }
    return at;
}

/* Of the header without its hash, and of what follows */
static uint64_t state_hash(const unsigned char *p, size_t bytes)
{
    unsigned char part[LB_STATE_HEADER + 8];
    memcpy(part, p, LB_STATE_HEADER);
    memset(part + STATE_HASH, 0, 8);
    lb_store_u64(part + LB_STATE_HEADER, lb_hash64(p + LB_STATE_HEADER, bytes - LB_STATE_HEADER));
    return lb_hash64(part, sizeof part);
}

void lb_state_seal(unsigned char *state, size_t bytes)
{
    lb_store_u64(state + STATE_HASH, state_hash(state, bytes));
}

size_t lbrt_state_bytes(const lbrt_session *s)
{
    return s ? state_bytes(s, s->length, state_logits(s), s->n_embedded, s->kv.faint) : 0;
}

/* p has state_bytes. */
static void write_state(const lbrt_session *s, unsigned char *p, size_t bytes)
{
    const size_t n_logits = state_logits(s);
    unsigned char *at = p + LB_STATE_HEADER;
    memset(p, 0, LB_STATE_HEADER);
    memcpy(p, state_magic, sizeof state_magic);
    lb_store_u64(p + 8, s->model->file.fingerprint);
    lb_store_u32(p + 16, s->kv.side[LB_KV_KEY].room->id);
    lb_store_u32(p + 20, s->kv.side[LB_KV_VALUE].room->id);
    lb_store_u64(p + 24, s->length);
    lb_store_u64(p + 32, n_logits);
    lb_store_u64(p + 48, s->evicted);
    lb_store_u64(p + 56, s->compressed);
    lb_store_u32(p + 64, (uint32_t)s->kv.window);
    lb_store_u32(p + 68, (uint32_t)s->kv.sinks);
    lb_store_u64(p + 72, s->n_embedded);
    lb_store_u64(p + 80, s->kv.faint);
    for (size_t i = 0; i < s->length; i++, at += 4) {
        lb_store_u32(at, (uint32_t)s->tokens[i]);
    }
    for (size_t i = 0; i < s->n_embedded; i++) {
        at = put_floats(at, s->embedded + i * s->x_stride, s->model->hparams.dim);
    }
    at = put_floats(at, s->logits, n_logits * s->model->hparams.n_vocab);
    lb_kv_export(&s->kv, s->length, at);
    lb_state_seal(p, bytes);
}

lbrt_status lbrt_state_save(lbrt_session *s, void *buffer, size_t cap, size_t *bytes)
{
    LB_ENTER(s);
    LB_FAIL_IF(!bytes || (!buffer && cap), &s->error, LBRT_ERR_ARGUMENT, "a pointer is missing");
    *bytes = lbrt_state_bytes(s);
    LB_FAIL_IF(cap < *bytes, &s->error, LBRT_ERR_BUFFER, "the state needs %zu bytes", *bytes);
    write_state(s, (unsigned char *)buffer, *bytes);
    return LBRT_OK;
}

static lbrt_status check_state(lbrt_session *s, const unsigned char *p, size_t bytes)
{
    static const unsigned char zero[LB_STATE_HEADER - STATE_USED];
    LB_FAIL_IF(bytes < LB_STATE_HEADER || memcmp(p, state_magic, sizeof state_magic) != 0 || memcmp(p + STATE_USED, zero, sizeof zero) != 0,
               &s->error, LBRT_ERR_FORMAT, "not a saved session");
    LB_FAIL_IF(lb_load_u64(p + 8) != s->model->file.fingerprint, &s->error, LBRT_ERR_UNSUPPORTED,
               "the session was saved with another model");
    LB_FAIL_IF(lb_load_u32(p + 16) != s->kv.side[LB_KV_KEY].room->id || lb_load_u32(p + 20) != s->kv.side[LB_KV_VALUE].room->id,
               &s->error, LBRT_ERR_UNSUPPORTED, "the session was saved with another KV format");
    LB_FAIL_IF(lb_load_u32(p + 64) != s->kv.window || lb_load_u32(p + 68) != s->kv.sinks, &s->error, LBRT_ERR_UNSUPPORTED,
               "the session was saved with another window");
    const uint64_t n = lb_load_u64(p + 24), n_logits = lb_load_u64(p + 32), evicted = lb_load_u64(p + 48), compressed = lb_load_u64(p + 56);
    const uint64_t n_embedded = lb_load_u64(p + 72), faint = lb_load_u64(p + 80);
    LB_FAIL_IF(faint > s->kv.n_faint || n > s->n_context + faint * LB_KV_CHUNK, &s->error, LBRT_ERR_CONTEXT_FULL,
               "the saved session has %llu tokens, of them %llu faint, this one holds %zu and %zu", (unsigned long long)n,
               (unsigned long long)faint * LB_KV_CHUNK, s->n_context, s->kv.n_faint * LB_KV_CHUNK);
    LB_FAIL_IF(compressed > n || (faint && compressed < (faint + 1) * LB_KV_CHUNK) || evicted > LB_MAX_EVICTED || (s->kv.has_codes && compressed % LB_KV_BLOCK), &s->error, LBRT_ERR_FORMAT,
               "the saved session says that %llu of its tokens were compressed", (unsigned long long)compressed);
    LB_FAIL_IF(n_embedded > s->n_embedded_max, &s->error, LBRT_ERR_CONTEXT_FULL,
               "the saved session has %llu embeddings, this one has room for %zu", (unsigned long long)n_embedded, s->n_embedded_max);
    LB_FAIL_IF(n_logits > 1 || bytes != state_bytes(s, (size_t)n, (size_t)n_logits, (size_t)n_embedded, (size_t)faint), &s->error, LBRT_ERR_FORMAT,
               "the saved session is cut off");
    LB_FAIL_IF(state_hash(p, bytes) != lb_load_u64(p + STATE_HASH), &s->error, LBRT_ERR_CHECKSUM, "the saved session is damaged");
    size_t rows = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t id = lb_load_u32(p + LB_STATE_HEADER + 4 * i);
        const bool row = rows < n_embedded && id == UINT32_MAX - rows;
        LB_FAIL_IF(!row && id >= s->model->hparams.n_vocab, &s->error, LBRT_ERR_FORMAT,
                   "the saved session has a token outside the vocabulary");
        rows += row;
    }
    LB_FAIL_IF(rows != n_embedded, &s->error, LBRT_ERR_FORMAT, "the saved session has embeddings at no position");
    return LBRT_OK;
}

static lbrt_status restore_state(lbrt_session *s, const unsigned char *p, size_t bytes)
{
    LB_TRY(check_state(s, p, bytes));
    const size_t n = (size_t)lb_load_u64(p + 24), n_logits = (size_t)lb_load_u64(p + 32), n_embedded = (size_t)lb_load_u64(p + 72);
    const unsigned char *at = p + LB_STATE_HEADER;
    for (size_t i = 0; i < n; i++, at += 4) {
        s->tokens[i] = (lbrt_token)lb_load_u32(at);
    }
    for (size_t i = 0; i < n_embedded; i++) {
        at = get_floats(at, s->embedded + i * s->x_stride, s->model->hparams.dim);
    }
    at = get_floats(at, s->logits, n_logits * s->model->hparams.n_vocab);
    s->kv.faint = (size_t)lb_load_u64(p + 80);
    lb_kv_import(&s->kv, n, at);
    s->length = n;
    s->evicted = (size_t)lb_load_u64(p + 48);
    s->compressed = (size_t)lb_load_u64(p + 56);
    s->n_embedded = n_embedded;
    s->n_logits = n_logits;
    s->n_hidden = 0;
    return LBRT_OK;
}

lbrt_status lbrt_state_restore(lbrt_session *s, const void *buffer, size_t bytes)
{
    LB_ENTER(s);
    LB_FAIL_IF(!buffer, &s->error, LBRT_ERR_ARGUMENT, "no buffer");
    return restore_state(s, (const unsigned char *)buffer, bytes);
}

lbrt_status lbrt_state_save_file(lbrt_session *s, const char *path)
{
    LB_ENTER(s);
    LB_FAIL_IF(!path, &s->error, LBRT_ERR_ARGUMENT, "no path");
    const size_t bytes = lbrt_state_bytes(s);
    unsigned char *p = (unsigned char *)lb_alloc(&s->allocator, bytes);
    LB_FAIL_IF(!p, &s->error, LBRT_ERR_MEMORY, "the state needs %zu bytes, more than there is", bytes);
    write_state(s, p, bytes);
    lb_outfile f = { 0 };
    lbrt_status status = lb_outfile_open(&f, path, &s->allocator, &s->error);
    if (status == LBRT_OK) {
        status = lb_outfile_write(&f, p, bytes, &s->error);
        status = status == LBRT_OK ? lb_outfile_commit(&f, &s->error) : status;
        lb_outfile_abort(&f);
    }
    lb_free(&s->allocator, p, bytes);
    return status;
}

lbrt_status lbrt_state_restore_file(lbrt_session *s, const char *path)
{
    LB_ENTER(s);
    LB_FAIL_IF(!path, &s->error, LBRT_ERR_ARGUMENT, "no path");
    lb_map map;
    LB_TRY(lb_map_open(path, &map, &s->error));
    const lbrt_status status = restore_state(s, map.data, map.bytes);
    lb_map_close(&map);
    return status;
}
