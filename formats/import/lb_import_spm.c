/*
 * SentencePiece model files: the protocol buffer ModelProto of sentencepiece_model.proto. Fields used
 * (number: what):
 *   ModelProto      1 SentencePiece (repeated), 2 TrainerSpec, 3 NormalizerSpec
 *   SentencePiece   1 text, 2 score (f32), 3 type (numbers as lb_token_type; 1 if absent)
 *   TrainerSpec     3 model type (2: BPE), 24 spaces behind words, 40 unk, 41 bos, 42 eos, 43 pad id
 *   NormalizerSpec  1 name, 2 compiled character map, 3 dummy prefix (default true), 4 remove extra spaces
 *   (default true)
 */
#include "lb_tokdata.h"

typedef struct spm_cursor {
    const unsigned char *p, *end;
} spm_cursor;

typedef struct spm_field {
    uint32_t number;
    uint32_t wire; /* 0: value; 1, 5: value is the bits; 2: bytes */
    uint64_t value;
    spm_cursor bytes;
} spm_field;

static bool spm_read_varint(spm_cursor *c, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (c->p == c->end) {
            return false;
        }
        const unsigned char b = *c->p++;
        *out |= (uint64_t)(b & 127) << shift;
        if (b < 128) {
            return true;
        }
    }
    return false;
}

/* The next field of a message; false at its end or if it is damaged (then *damaged is set). */
static bool spm_next(spm_cursor *c, spm_field *f, bool *damaged)
{
    if (c->p == c->end) {
        return false;
    }
    uint64_t key;
    *damaged = true;
    if (!spm_read_varint(c, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff) {
        return false;
    }
    f->number = (uint32_t)(key >> 3);
    f->wire = (uint32_t)(key & 7);
    f->value = 0;
    const size_t left = (size_t)(c->end - c->p);
    switch (f->wire) {
    case 0:
        if (!spm_read_varint(c, &f->value)) {
            return false;
        }
        break;
    case 1:
        if (left < 8) {
            return false;
        }
        f->value = lb_load_u64(c->p);
        c->p += 8;
        break;
    case 2:
        if (!spm_read_varint(c, &f->value) || f->value > (uint64_t)(c->end - c->p)) {
            return false;
        }
        f->bytes.p = c->p;
        c->p += f->value;
        f->bytes.end = c->p;
        break;
    case 5:
        if (left < 4) {
            return false;
        }
        f->value = lb_load_u32(c->p);
        c->p += 4;
        break;
    default: return false;
    }
    *damaged = false;
    return true;
}

typedef struct spm_specs {
    uint64_t model_type, suffix, dummy_prefix, collapse;
    int64_t unk, bos, eos, pad;
    size_t charsmap_bytes;
    spm_cursor name;
} spm_specs;

static bool spm_read_trainer(spm_cursor c, spm_specs *s)
{
    bool damaged = false;
    for (spm_field f; spm_next(&c, &f, &damaged);) {
        if (f.wire != 0) {
            continue;
        }
        switch (f.number) {
        case 3: s->model_type = f.value; break;
        case 24: s->suffix = f.value; break;
        case 40: s->unk = (int64_t)f.value; break;
        case 41: s->bos = (int64_t)f.value; break;
        case 42: s->eos = (int64_t)f.value; break;
        case 43: s->pad = (int64_t)f.value; break;
        default: break;
        }
    }
    return !damaged;
}

static bool spm_read_normalizer(spm_cursor c, spm_specs *s)
{
    bool damaged = false;
    for (spm_field f; spm_next(&c, &f, &damaged);) {
        if (f.number == 1 && f.wire == 2) {
            s->name = f.bytes;
        } else if (f.number == 2 && f.wire == 2) {
            s->charsmap_bytes = (size_t)f.value;
        } else if (f.number == 3 && f.wire == 0) {
            s->dummy_prefix = f.value;
        } else if (f.number == 4 && f.wire == 0) {
            s->collapse = f.value;
        }
    }
    return !damaged;
}

static lbrt_status spm_read_piece(lb_tokdata *t, uint32_t id, spm_cursor c, lbrt_error *err)
{
    spm_cursor text = { c.p, c.p };
    uint32_t score_bits = 0;
    uint64_t type = LB_TOKEN_NORMAL;
    bool damaged = false;
    for (spm_field f; spm_next(&c, &f, &damaged);) {
        if (f.number == 1 && f.wire == 2) {
            text = f.bytes;
        } else if (f.number == 2 && f.wire == 5) {
            score_bits = (uint32_t)f.value;
        } else if (f.number == 3 && f.wire == 0) {
            type = f.value;
        }
    }
    LB_FAIL_IF(damaged || type < LB_TOKEN_NORMAL || type > LB_TOKEN_BYTE, err, LBRT_ERR_FORMAT,
               "SentencePiece: token %u is damaged", id);
    float score;
    memcpy(&score, &score_bits, sizeof score);
    return lb_tokdata_set_spm(t, id, (const char *)text.p, (size_t)(text.end - text.p), score,
                              (lb_token_type)type, err);
}

static int32_t spm_id(const lb_tokdata *t, int64_t id)
{
    return id >= 0 && id < t->n_tokens ? (int32_t)id : -1;
}

lbrt_status lb_tokdata_from_sentencepiece(const void *data, size_t bytes, const lbrt_allocator *a,
                                          lb_tokdata **out, lbrt_error *err)
{
    *out = NULL;
    const spm_cursor all = { data, (const unsigned char *)data + bytes };
    spm_specs s = {
        .model_type = 1, .dummy_prefix = 1, .collapse = 1, .unk = 0, .bos = 1, .eos = 2, .pad = -1
    };
    s.name.p = s.name.end = all.p;
    uint32_t n = 0;
    bool damaged = false;
    spm_cursor c = all;
    for (spm_field f; spm_next(&c, &f, &damaged);) {
        if (f.wire == 2) {
            n += f.number == 1;
            damaged = (f.number == 2 && !spm_read_trainer(f.bytes, &s)) ||
                      (f.number == 3 && !spm_read_normalizer(f.bytes, &s));
        }
        if (damaged || n > 1u << 24) {
            damaged = true;
            break;
        }
    }
    LB_FAIL_IF(damaged || n == 0, err, LBRT_ERR_FORMAT, "not a SentencePiece model, or damaged");
    LB_FAIL_IF(s.model_type != 2, err, LBRT_ERR_UNSUPPORTED,
               "SentencePiece model type '%s' is not supported, only bpe",
               s.model_type == 1   ? "unigram"
               : s.model_type == 3 ? "word"
               : s.model_type == 4 ? "char"
                                   : "unknown");
    LB_FAIL_IF(s.charsmap_bytes, err, LBRT_ERR_UNSUPPORTED,
               "SentencePiece normalizer '%.*s' is not supported, only identity",
               (int)lb_min((size_t)(s.name.end - s.name.p), 60), (const char *)s.name.p);
    LB_FAIL_IF(s.suffix, err, LBRT_ERR_UNSUPPORTED,
               "SentencePiece models with white space as a suffix are not supported");
    lb_tokdata *t;
    LB_TRY(lb_tokdata_new(n, a, &t, err));
    t->model = LB_TOK_SPM;
    t->flags = LB_TOK_ADD_BOS | (s.dummy_prefix ? LB_TOK_SPACE_PREFIX : 0u) |
               (s.collapse ? LB_TOK_COLLAPSE_SPACES : 0u);
    t->unk = spm_id(t, s.unk);
    t->bos = spm_id(t, s.bos);
    t->eos = spm_id(t, s.eos);
    t->pad = spm_id(t, s.pad);
    lbrt_status status = LBRT_OK;
    uint32_t id = 0;
    c = all;
    for (spm_field f; status == LBRT_OK && spm_next(&c, &f, &damaged);) {
        if (f.wire == 2 && f.number == 1) {
            status = spm_read_piece(t, id++, f.bytes, err);
        }
    }
    if (status != LBRT_OK) {
        lb_tokdata_free(t);
        return status;
    }
    lb_tokdata_add_end(t, t->eos);
    lb_tokdata_add_usual_ends(t);
    *out = t;
    return LBRT_OK;
}
