/* The model's numbers as metadata: one list of keys for writing, reading and showing. */
#include "lb_container.h"

/* KEY_MUST, KEY_MUST_F32, KEY_MUST_BOOL: as KEY_U32, KEY_F32 and KEY_BOOL; written only if not zero, and then whoever does not know it must refuse the file */
enum { KEY_STRING, KEY_U32, KEY_F32, KEY_BOOL, KEY_ENUM, KEY_MUST, KEY_MUST_F32, KEY_MUST_BOOL };

/* A field of lb_hparams under its key. `optional` keys keep the value that is there when they are absent. */
typedef struct lb_hparam_key {
    char key[24]; /* no pointer: each would have to be relocated, which takes more bytes than the name */
    uint16_t offset, size; /* size: of a string's array */
    uint8_t kind;
    bool optional;
    uint32_t lowest, highest; /* of integers */
} lb_hparam_key;

#define FIELD(f) (uint16_t)offsetof(lb_hparams, f), (uint16_t)sizeof(((lb_hparams *)0)->f)
static const lb_hparam_key hparam_keys[] = {
    { "model.name", FIELD(name), KEY_STRING, true, 0, 0 },
    { "model.architecture", FIELD(architecture), KEY_STRING, false, 0, 0 },
    { "model.n_vocab", FIELD(n_vocab), KEY_U32, false, 1, 1u << 24 },
    { "model.n_layers", FIELD(n_layers), KEY_U32, false, 1, LB_MAX_LAYERS },
    { "model.dim", FIELD(dim), KEY_U32, false, 1, 1u << 20 },
    { "model.n_heads", FIELD(n_heads), KEY_U32, false, 1, 4096 },
    { "model.n_kv_heads", FIELD(n_kv_heads), KEY_U32, false, 1, 4096 },
    { "model.head_dim", FIELD(head_dim), KEY_U32, false, 2, 1024 },
    { "model.ffn_dim", FIELD(ffn_dim), KEY_U32, false, 1, 1u << 22 },
    { "model.n_context", FIELD(n_context), KEY_U32, false, 1, 1u << 27 },
    { "model.norm_eps", FIELD(norm_eps), KEY_F32, false, 0, 0 },
    { "model.activation", FIELD(activation), KEY_ENUM, true, 0, LB_ACT_RELU2 },
    { "rope.dim", FIELD(rope_dim), KEY_U32, false, 0, 1024 },
    { "rope.interleaved", FIELD(rope_interleaved), KEY_BOOL, false, 0, 1 },
    { "rope.theta", FIELD(rope_theta), KEY_F32, false, 0, 0 },
    { "rope.scaling", FIELD(rope_scaling), KEY_ENUM, true, 0, LB_ROPE_LLAMA3 },
    { "rope.factor", FIELD(rope_factor), KEY_F32, true, 0, 0 },
    { "rope.low_freq", FIELD(rope_low_freq), KEY_F32, true, 0, 0 },
    { "rope.high_freq", FIELD(rope_high_freq), KEY_F32, true, 0, 0 },
    { "model.norm_width", FIELD(norm_width), KEY_MUST, true, 0, 1u << 20 },
    { "attention.window", FIELD(window), KEY_MUST, true, 0, 1u << 27 },
    { "attention.window_from", FIELD(window_from), KEY_MUST, true, 0, LB_MAX_LAYERS },
    { "attention.factor", FIELD(attn_factor), KEY_MUST_F32, true, 0, 0 },
    { "attention.n_value_heads", FIELD(n_v_heads), KEY_MUST, true, 0, 4096 },
    { "attention.value_dim", FIELD(v_head_dim), KEY_MUST, true, 0, 1024 },
    { "model.unequal_layers", FIELD(unequal), KEY_MUST_BOOL, true, 0, 1 },
    { "rope.original_context", FIELD(rope_original_context), KEY_U32, true, 0, 1u << 27 },
};
#undef FIELD
#define N_HPARAM_KEYS (sizeof hparam_keys / sizeof hparam_keys[0])
_Static_assert(N_HPARAM_KEYS <= (size_t)LB_HPARAMS_KEYS, "LB_HPARAMS_KEYS is too small");
_Static_assert(sizeof(lb_activation) == 4 && sizeof(lb_rope_scaling) == 4, "enumerators are read as u32");

bool lb_meta_known(const char *key, size_t key_bytes)
{
    for (size_t i = 0; i < N_HPARAM_KEYS; i++) {
        if (strlen(hparam_keys[i].key) == key_bytes && memcmp(hparam_keys[i].key, key, key_bytes) == 0) {
            return true;
        }
    }
    return key_bytes == 7 && memcmp(key, "adapter", 7) == 0;
}

size_t lb_hparams_list(const lb_hparams *h, lb_meta_value *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < N_HPARAM_KEYS && n < cap; i++) {
        const lb_hparam_key *k = &hparam_keys[i];
        const unsigned char *field = (const unsigned char *)h + k->offset;
        lb_meta_value v = { .key = k->key, .required = k->kind >= KEY_MUST };
        static const unsigned char zero[4];
        if (v.required && memcmp(field, zero, k->size) == 0) {
            continue;
        }
        uint32_t u = 0;
        float f = 0;
        switch (k->kind) {
        case KEY_STRING:
            v.type = LB_META_STRING;
            v.s = (const char *)field;
            break;
        case KEY_F32:
        case KEY_MUST_F32:
            memcpy(&f, field, sizeof f);
            v.type = LB_META_F64;
            v.f = (double)f;
            break;
        case KEY_BOOL:
        case KEY_MUST_BOOL:
            v.type = LB_META_BOOL;
            v.u = *(const bool *)field;
            break;
        default:
            memcpy(&u, field, sizeof u);
            v.type = LB_META_U64;
            v.u = u;
            break;
        }
        out[n++] = v;
    }
    return n;
}

/* Finite, and within a range in which nothing we compute from it overflows. */
static bool sane_float(float f, float lowest, float highest)
{
    return f >= lowest && f <= highest;
}

lbrt_status lb_heads_check(uint32_t n_heads, uint32_t n_k, uint32_t n_v, lbrt_error *err)
{
    const uint32_t fewer = n_k < n_v ? n_k : n_v, more = n_k < n_v ? n_v : n_k;
    LB_FAIL_IF(n_heads == 0 || fewer == 0 || n_heads % more != 0 || more % fewer != 0, err, LBRT_ERR_FORMAT,
               "%u heads do not divide into KV heads, %u of keys and %u of values", n_heads, n_k, n_v);
    LB_FAIL_IF(n_heads / fewer > LB_MM_MAX_N, err, LBRT_ERR_UNSUPPORTED, "more than %u heads share a KV head", LB_MM_MAX_N);
    return LBRT_OK;
}

lbrt_status lb_hparams_check(const lb_hparams *h, lbrt_error *err)
{
    for (size_t i = 0; i < N_HPARAM_KEYS; i++) {
        const lb_hparam_key *k = &hparam_keys[i];
        if (k->kind != KEY_U32 && k->kind != KEY_ENUM && k->kind != KEY_MUST) {
            continue;
        }
        uint32_t u;
        memcpy(&u, (const unsigned char *)h + k->offset, sizeof u);
        LB_FAIL_IF(u < k->lowest || u > k->highest, err, LBRT_ERR_FORMAT, "%s = %u is out of range", k->key, u);
    }
    LB_TRY(h->unequal ? LBRT_OK : lb_heads_check(h->n_heads, h->n_kv_heads, lb_v_heads(h), err)); /* else: of each layer */
    LB_FAIL_IF((uint64_t)h->n_heads * lb_v_width(h) > 1u << 20, err, LBRT_ERR_FORMAT, "%u heads of %u", h->n_heads, lb_v_width(h));
    LB_FAIL_IF(h->head_dim % 2 != 0 || h->rope_dim % 2 != 0 || h->rope_dim > h->head_dim, err, LBRT_ERR_FORMAT,
               "head_dim %u with rope dim %u", h->head_dim, h->rope_dim);
    LB_FAIL_IF((uint64_t)h->n_heads * h->head_dim > 1u << 20, err, LBRT_ERR_FORMAT, "%u heads of %u", h->n_heads,
               h->head_dim);
    LB_FAIL_IF(!sane_float(h->norm_eps, 0.0f, 1.0f), err, LBRT_ERR_FORMAT, "model.norm_eps is out of range");
    LB_FAIL_IF(!sane_float(h->attn_factor, 0.0f, 1e4f), err, LBRT_ERR_FORMAT, "attention.factor is out of range");
    LB_FAIL_IF(!sane_float(h->rope_theta, 1.0f, 1e12f), err, LBRT_ERR_FORMAT, "rope.theta is out of range");
    if (h->rope_scaling != LB_ROPE_NONE) {
        LB_FAIL_IF(!sane_float(h->rope_factor, (float)(1.0 / LB_ROPE_FASTEST), 1e6f), err, LBRT_ERR_FORMAT, "rope.factor is out of range");
    }
    if (h->rope_scaling == LB_ROPE_LLAMA3) {
        LB_FAIL_IF(!sane_float(h->rope_low_freq, 1e-3f, 1e6f) || !sane_float(h->rope_high_freq, 1e-3f, 1e6f) ||
                       h->rope_high_freq <= h->rope_low_freq || h->rope_original_context == 0,
                   err, LBRT_ERR_FORMAT, "the numbers of rope.scaling llama3 are out of range");
    }
    return LBRT_OK;
}

static bool is_there(const lb_container *c, const char *key)
{
    const unsigned char *value;
    size_t bytes;
    bool found = false;
    for (unsigned type = LB_META_U64; type <= LB_META_BYTES; type++) {
        found |= lb_meta_find(c, key, type, &value, &bytes);
    }
    return found;
}

lbrt_status lb_hparams_read(const lb_container *c, lb_hparams *out, lbrt_error *err)
{
    *out = (lb_hparams){ 0 };
    for (size_t i = 0; i < N_HPARAM_KEYS; i++) {
        const lb_hparam_key *k = &hparam_keys[i];
        unsigned char *field = (unsigned char *)out + k->offset;
        bool found = false;
        uint64_t u = 0;
        double d = 0;
        switch (k->kind) {
        case KEY_STRING: found = lb_meta_string(c, k->key, (char *)field, k->size); break;
        case KEY_F32:
        case KEY_MUST_F32:
            found = lb_meta_f64(c, k->key, &d);
            if (found) {
                /* A double beyond float's range must not reach the conversion, which would be undefined. */
                float f = d >= -1e30 && d <= 1e30 ? (float)d : -1.0f;
                memcpy(field, &f, sizeof f);
            }
            break;
        case KEY_BOOL:
        case KEY_MUST_BOOL: found = lb_meta_bool(c, k->key, (bool *)field); break;
        default:
            found = lb_meta_u64(c, k->key, &u);
            if (found) {
                LB_FAIL_IF(u > UINT32_MAX, err, LBRT_ERR_FORMAT, "%s is out of range", k->key);
                uint32_t narrow = (uint32_t)u;
                memcpy(field, &narrow, sizeof narrow);
            }
            break;
        }
        LB_FAIL_IF(!found && (!k->optional || (k->kind >= KEY_MUST && is_there(c, k->key))), err, LBRT_ERR_FORMAT, "metadata lacks %s, or it is of another type", k->key);
    }
    return lb_hparams_check(out, err);
}
#undef N_HPARAM_KEYS
