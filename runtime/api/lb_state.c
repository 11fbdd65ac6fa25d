/*
 * Saved sessions. Little-endian:
 *   0   8 bytes 'l' 'b' 's' 't' 'a' 't' 'e' 2;  8 u64 the model's fingerprint;  16 u32 key format;  20 u32 value format;
 *   24  u64 n tokens;  32 u64 n_logits (0 or 1);  40 u64 XXH64 of everything behind the header;  48 16 bytes zero
 *   64  n i32 token ids, n_logits rows of n_vocab f32, then the cache of n positions (lb_kv_export)
 */
#include "lb_session_api.h"

enum { STATE_HEADER = 64 };
static const unsigned char state_magic[8] = { 'l', 'b', 's', 't', 'a', 't', 'e', 2 };

static size_t state_logits(const lbrt_session *s)
{
    return s->n_logits ? 1 : 0;
}

static size_t state_bytes(const lbrt_session *s, size_t n, size_t n_logits)
{
    return STATE_HEADER + n * sizeof(lbrt_token) + lb_kv_state_bytes(&s->kv, n) +
           n_logits * s->model->hparams.n_vocab * sizeof(float);
}

size_t lbrt_state_bytes(const lbrt_session *s)
{
    return s ? state_bytes(s, s->length, state_logits(s)) : 0;
}

lbrt_status lbrt_state_save(lbrt_session *s, void *buffer, size_t cap, size_t *bytes)
{
    LB_ENTER(s);
    LB_FAIL_IF(!bytes || (!buffer && cap), &s->error, LBRT_ERR_ARGUMENT, "a pointer is missing");
    size_t n_logits = state_logits(s);
    *bytes = state_bytes(s, s->length, n_logits);
    LB_FAIL_IF(cap < *bytes, &s->error, LBRT_ERR_BUFFER, "the state needs %zu bytes", *bytes);
    unsigned char *p = (unsigned char *)buffer, *at = p + STATE_HEADER;
    memset(p, 0, STATE_HEADER);
    memcpy(p, state_magic, sizeof state_magic);
    lb_store_u64(p + 8, s->model->file.fingerprint);
    lb_store_u32(p + 16, s->kv.key.room->id);
    lb_store_u32(p + 20, s->kv.value.room->id);
    lb_store_u64(p + 24, s->length);
    lb_store_u64(p + 32, n_logits);
    for (size_t i = 0; i < s->length; i++, at += 4) {
        lb_store_u32(at, (uint32_t)s->tokens[i]);
    }
    for (size_t i = 0; i < n_logits * s->model->hparams.n_vocab; i++, at += 4) {
        uint32_t u;
        memcpy(&u, &s->logits[i], sizeof u);
        lb_store_u32(at, u);
    }
    lb_kv_export(&s->kv, s->length, at);
    lb_store_u64(p + 40, lb_hash64(p + STATE_HEADER, *bytes - STATE_HEADER));
    return LBRT_OK;
}

lbrt_status lbrt_state_restore(lbrt_session *s, const void *buffer, size_t bytes)
{
    LB_ENTER(s);
    LB_FAIL_IF(!buffer, &s->error, LBRT_ERR_ARGUMENT, "no buffer");
    const unsigned char *p = (const unsigned char *)buffer, *at = p + STATE_HEADER;
    static const unsigned char zero[16];
    LB_FAIL_IF(bytes < STATE_HEADER || memcmp(p, state_magic, sizeof state_magic) != 0 || memcmp(p + 48, zero, sizeof zero) != 0,
               &s->error, LBRT_ERR_FORMAT, "not a saved session");
    LB_FAIL_IF(lb_load_u64(p + 8) != s->model->file.fingerprint, &s->error, LBRT_ERR_UNSUPPORTED,
               "the session was saved with another model");
    LB_FAIL_IF(lb_load_u32(p + 16) != s->kv.key.room->id || lb_load_u32(p + 20) != s->kv.value.room->id,
               &s->error, LBRT_ERR_UNSUPPORTED, "the session was saved with another KV format");
    uint64_t n = lb_load_u64(p + 24), n_logits = lb_load_u64(p + 32);
    LB_FAIL_IF(n > s->n_context, &s->error, LBRT_ERR_CONTEXT_FULL, "the saved session has %llu tokens, this one holds %zu",
               (unsigned long long)n, s->n_context);
    LB_FAIL_IF(n_logits > 1 || bytes != state_bytes(s, (size_t)n, (size_t)n_logits), &s->error, LBRT_ERR_FORMAT,
               "the saved session is cut off");
    LB_FAIL_IF(lb_hash64(p + STATE_HEADER, bytes - STATE_HEADER) != lb_load_u64(p + 40), &s->error, LBRT_ERR_CHECKSUM,
               "the saved session is damaged");
    for (size_t i = 0; i < n; i++) {
        LB_FAIL_IF(lb_load_u32(at + 4 * i) >= s->model->hparams.n_vocab, &s->error, LBRT_ERR_FORMAT,
                   "the saved session has a token outside the vocabulary");
    }
    for (size_t i = 0; i < n; i++, at += 4) {
        s->tokens[i] = (lbrt_token)lb_load_u32(at);
    }
    for (size_t i = 0; i < n_logits * s->model->hparams.n_vocab; i++, at += 4) {
        s->logits[i] = lb_load_f32(at);
    }
    lb_kv_import(&s->kv, (size_t)n, at);
    s->length = (size_t)n;
    s->n_logits = (size_t)n_logits;
    return LBRT_OK;
}
