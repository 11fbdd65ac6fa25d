/*
 * Saved sessions. Little-endian:
 *   0   8 bytes 'l' 'b' 's' 't' 'a' 't' 'e' 2;  8 u64 the model's fingerprint;  16 u32 key format;  20 u32 value format;
 *   24  u64 n tokens;  32 u64 n_logits (0 or 1);  40 u64 XXH64 of everything behind the header;  48 u64 n_embedded;  56 8 bytes zero
 *   64  n i32 token ids (-1 - i: embedding i), n_embedded rows of dim f32, n_logits rows of n_vocab f32, then the cache of n positions
 *       (lb_kv_export)
 */
#include "lb_session_api.h"

enum { STATE_HEADER = 64 };
static const unsigned char state_magic[8] = { 'l', 'b', 's', 't', 'a', 't', 'e', 2 };

static size_t state_logits(const lbrt_session *s)
{
    return s->n_logits ? 1 : 0;
}

static size_t state_bytes(const lbrt_session *s, size_t n, size_t n_logits, size_t n_embedded)
{
    return STATE_HEADER + n * sizeof(lbrt_token) + lb_kv_state_bytes(&s->kv, n) +
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

size_t lbrt_state_bytes(const lbrt_session *s)
{
    return s ? state_bytes(s, s->length, state_logits(s), s->n_embedded) : 0;
}

lbrt_status lbrt_state_save(lbrt_session *s, void *buffer, size_t cap, size_t *bytes)
{
    LB_ENTER(s);
    LB_FAIL_IF(!bytes || (!buffer && cap), &s->error, LBRT_ERR_ARGUMENT, "a pointer is missing");
    size_t n_logits = state_logits(s);
    *bytes = state_bytes(s, s->length, n_logits, s->n_embedded);
    LB_FAIL_IF(cap < *bytes, &s->error, LBRT_ERR_BUFFER, "the state needs %zu bytes", *bytes);
    unsigned char *p = (unsigned char *)buffer, *at = p + STATE_HEADER;
    memset(p, 0, STATE_HEADER);
    memcpy(p, state_magic, sizeof state_magic);
    lb_store_u64(p + 8, s->model->file.fingerprint);
    lb_store_u32(p + 16, s->kv.key.room->id);
    lb_store_u32(p + 20, s->kv.value.room->id);
    lb_store_u64(p + 24, s->length);
    lb_store_u64(p + 32, n_logits);
    lb_store_u64(p + 48, s->n_embedded);
    for (size_t i = 0; i < s->length; i++, at += 4) {
        lb_store_u32(at, (uint32_t)s->tokens[i]);
    }
    for (size_t i = 0; i < s->n_embedded; i++) {
        at = put_floats(at, s->embedded + i * s->x_stride, s->model->hparams.dim);
    }
    at = put_floats(at, s->logits, n_logits * s->model->hparams.n_vocab);
    lb_kv_export(&s->kv, s->length, at);
    lb_store_u64(p + 40, lb_hash64(p + STATE_HEADER, *bytes - STATE_HEADER));
    return LBRT_OK;
}

lbrt_status lbrt_state_restore(lbrt_session *s, const void *buffer, size_t bytes)
{
    LB_ENTER(s);
    LB_FAIL_IF(!buffer, &s->error, LBRT_ERR_ARGUMENT, "no buffer");
    const unsigned char *p = (const unsigned char *)buffer, *at = p + STATE_HEADER;
    static const unsigned char zero[8];
    LB_FAIL_IF(bytes < STATE_HEADER || memcmp(p, state_magic, sizeof state_magic) != 0 || memcmp(p + 56, zero, sizeof zero) != 0,
               &s->error, LBRT_ERR_FORMAT, "not a saved session");
    LB_FAIL_IF(lb_load_u64(p + 8) != s->model->file.fingerprint, &s->error, LBRT_ERR_UNSUPPORTED,
               "the session was saved with another model");
    LB_FAIL_IF(lb_load_u32(p + 16) != s->kv.key.room->id || lb_load_u32(p + 20) != s->kv.value.room->id,
               &s->error, LBRT_ERR_UNSUPPORTED, "the session was saved with another KV format");
    uint64_t n = lb_load_u64(p + 24), n_logits = lb_load_u64(p + 32), n_embedded = lb_load_u64(p + 48);
    LB_FAIL_IF(n > s->n_context, &s->error, LBRT_ERR_CONTEXT_FULL, "the saved session has %llu tokens, this one holds %zu",
               (unsigned long long)n, s->n_context);
    LB_FAIL_IF(n_embedded > s->n_embedded_max, &s->error, LBRT_ERR_CONTEXT_FULL,
               "the saved session has %llu embeddings, this one has room for %zu", (unsigned long long)n_embedded, s->n_embedded_max);
    LB_FAIL_IF(n_logits > 1 || bytes != state_bytes(s, (size_t)n, (size_t)n_logits, (size_t)n_embedded), &s->error, LBRT_ERR_FORMAT,
               "the saved session is cut off");
    LB_FAIL_IF(lb_hash64(p + STATE_HEADER, bytes - STATE_HEADER) != lb_load_u64(p + 40), &s->error, LBRT_ERR_CHECKSUM,
               "the saved session is damaged");
    size_t rows = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t id = lb_load_u32(at + 4 * i);
        const bool row = rows < n_embedded && id == UINT32_MAX - rows;
        LB_FAIL_IF(!row && id >= s->model->hparams.n_vocab, &s->error, LBRT_ERR_FORMAT,
                   "the saved session has a token outside the vocabulary");
        rows += row;
    }
    LB_FAIL_IF(rows != n_embedded, &s->error, LBRT_ERR_FORMAT, "the saved session has embeddings at no position");
    for (size_t i = 0; i < n; i++, at += 4) {
        s->tokens[i] = (lbrt_token)lb_load_u32(at);
    }
    for (size_t i = 0; i < n_embedded; i++) {
        at = get_floats(at, s->embedded + i * s->x_stride, s->model->hparams.dim);
    }
    at = get_floats(at, s->logits, (size_t)n_logits * s->model->hparams.n_vocab);
    lb_kv_import(&s->kv, (size_t)n, at);
    s->length = (size_t)n;
    s->n_embedded = (size_t)n_embedded;
    s->n_logits = (size_t)n_logits;
    s->n_hidden = 0;
    return LBRT_OK;
}
