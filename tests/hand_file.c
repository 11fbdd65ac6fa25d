#include "hand_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../runtime/base/lb_base.h"

void hand_u16(unsigned char *p, unsigned v)
{
    p[0] = (unsigned char)(v & 0xff);
    p[1] = (unsigned char)(v >> 8 & 0xff);
}

void hand_u32(unsigned char *p, uint32_t v)
{
    hand_u16(p, v & 0xffff);
    hand_u16(p + 2, v >> 16);
}

void hand_u64(unsigned char *p, uint64_t v)
{
    hand_u32(p, (uint32_t)v);
    hand_u32(p + 4, (uint32_t)(v >> 32));
}

static uint32_t hand_get32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t hand_get64(const unsigned char *p)
{
    return hand_get32(p) | (uint64_t)hand_get32(p + 4) << 32;
}

float hand_embed(size_t r, size_t c)
{
    return (float)((int)((r * 37 + c * 11 + r * c) % 64) - 32) / 32.0f;
}

/* ---- a growing file ---- */

static unsigned char *hand_room(hand_file *f, size_t n)
{
    if (f->bytes + n > f->cap) { /* the one allocation is larger than any file made here */
        fprintf(stderr, "hand-made file too large\n");
        exit(1);
    }
    unsigned char *p = f->data + f->bytes;
    memset(p, 0, n);
    f->bytes += n;
    return p;
}

static void hand_align(hand_file *f, size_t to, size_t from)
{
    while ((f->bytes - from) % to) {
        hand_room(f, 1);
    }
}

static void hand_meta(hand_file *f, const char *key, unsigned type, unsigned flags, const void *value,
                      size_t bytes)
{
    size_t n = strlen(key);
    unsigned char *p = hand_room(f, 8 + n + bytes);
    hand_u16(p, (unsigned)n);
    p[2] = (unsigned char)type;
    p[3] = (unsigned char)flags;
    hand_u32(p + 4, (uint32_t)bytes);
    memcpy(p + 8, key, n);
    memcpy(p + 8 + n, value, bytes);
    hand_u32(f->data + f->meta, hand_get32(f->data + f->meta) + 1);
}

static void hand_meta_u64(hand_file *f, const char *key, uint64_t v)
{
    unsigned char raw[8];
    hand_u64(raw, v);
    hand_meta(f, key, 1, 0, raw, 8);
}

static void hand_meta_f64(hand_file *f, const char *key, double v)
{
    uint64_t u;
    memcpy(&u, &v, 8);
    unsigned char raw[8];
    hand_u64(raw, u);
    hand_meta(f, key, 2, 0, raw, 8);
}

static const struct {
    const char *name;
    unsigned rows, cols; /* rows 0: a vector */
} hand_tensors[HAND_TENSORS] = {
    { "tok_embed", HAND_VOCAB, 16 }, { "out_norm", 0, 16 },           { "layers.0.attn_norm", 0, 16 },
    { "layers.0.attn_q", 16, 16 },   { "layers.0.attn_k", 8, 16 },    { "layers.0.attn_v", 8, 16 },
    { "layers.0.attn_o", 16, 16 },   { "layers.0.ffn_norm", 0, 16 },  { "layers.0.ffn_gate", 16, 16 },
    { "layers.0.ffn_up", 16, 16 },   { "layers.0.ffn_down", 16, 16 },
};

/* A tensor's data at the end of the file; returns its bytes. An f32 tile: value (k, r) at k * 16 + r, k
 * filled up to 64. */
static size_t hand_weights(hand_file *f, size_t i)
{
    const unsigned rows = hand_tensors[i].rows, cols = hand_tensors[i].cols;
    hand_align(f, 64, 0);
    size_t bytes = rows ? (size_t)(rows + 15) / 16 * 64 * 16 * 4 : (size_t)cols * 4;
    unsigned char *p = hand_room(f, bytes);
    const bool zero = strstr(hand_tensors[i].name, "attn_o") || strstr(hand_tensors[i].name, "ffn_down");
    for (unsigned r = 0; r < (rows ? rows : 1); r++) {
        for (unsigned c = 0; c < cols; c++) {
            float v = rows == 0 ? 1.0f : zero ? 0.0f : hand_embed(r + 5 * i, c);
            uint32_t u;
            memcpy(&u, &v, 4);
            hand_u32(p + (rows ? 4 * ((size_t)r / 16 * 1024 + c * 16 + r % 16) : 4 * (size_t)c), u);
        }
    }
    return bytes;
}

void hand_repair(unsigned char *data, size_t bytes)
{
    if (bytes < 64) {
        return;
    }
    uint64_t n = hand_get32(data + 12);
    if (n > (bytes - 64) / 40) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char *r = data + 64 + 40 * i;
        uint64_t offset = hand_get64(r + 8), length = hand_get64(r + 16);
        if (hand_get32(r) != 4 && offset <= bytes && length <= bytes - offset) {
            hand_u64(r + 24, lb_hash64(data + offset, (size_t)length));
        }
    }
    hand_u64(data + 24, lb_hash64(data + 64, (size_t)(40 * n)));
}

/* Header and section table from what f knows; the sections are META, TENSORS (to the end of the file) and
 * DATA. */
static void hand_head(hand_file *f, size_t meta_bytes, size_t tensors_bytes, size_t data_bytes)
{
    static const unsigned char magic[8] = { 0x6c, 0x62, 0x72, 0x74, 0x0d, 0x0a, 0x1a, 0x0a };
    unsigned char *p = f->data;
    memcpy(p, magic, 8);
    hand_u32(p + 8, 1);
    hand_u32(p + 12, HAND_SECTIONS);
    hand_u64(p + 16, f->bytes);
    const uint64_t s[HAND_SECTIONS][3] = { { 1, f->meta, meta_bytes },
                                           { 3, f->tensors, tensors_bytes },
                                           { 4, 4096, data_bytes } };
    for (size_t i = 0; i < HAND_SECTIONS; i++) {
        f->section[i] = 64 + 40 * i;
        hand_u32(p + f->section[i], (uint32_t)s[i][0]);
        hand_u32(p + f->section[i] + 4, 1);
        hand_u64(p + f->section[i] + 8, s[i][1]);
        hand_u64(p + f->section[i] + 16, s[i][2]);
    }
    hand_repair(p, f->bytes);
}

void hand_make(hand_file *f)
{
    memset(f, 0, sizeof *f);
    f->cap = 1 << 18;
    void *aligned;
    if (posix_memalign(&aligned, 64, f->cap) != 0) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    f->data = (unsigned char *)aligned;
    hand_room(f, 4096);
    size_t at[HAND_TENSORS], bytes[HAND_TENSORS];
    for (size_t i = 0; i < HAND_TENSORS; i++) {
        bytes[i] = hand_weights(f, i);
        at[i] = f->bytes - bytes[i] - 4096;
    }
    const size_t data_bytes = f->bytes - 4096;

    hand_align(f, 8, 0);
    f->tensors = f->bytes;
    hand_u32(hand_room(f, 8), HAND_TENSORS);
    for (size_t i = 0; i < HAND_TENSORS; i++) {
        const unsigned rows = hand_tensors[i].rows ? hand_tensors[i].rows : 1, cols = hand_tensors[i].cols;
        size_t n = strlen(hand_tensors[i].name);
        hand_align(f, 8, f->tensors);
        f->record[i] = f->bytes;
        unsigned char *p = hand_room(f, 24);
        hand_u16(p, (unsigned)n);
        hand_u16(p + 2, 1);
        hand_u64(p + 8, rows);
        hand_u64(p + 16, cols);
        memcpy(hand_room(f, n), hand_tensors[i].name, n);
        hand_align(f, 8, f->tensors);
        f->term[i] = f->bytes;
        p = hand_room(f, 72);
        hand_u16(p, hand_tensors[i].rows ? 1 : 3);
        hand_u16(p + 4, 1);
        hand_u64(p + 16, rows);
        hand_u64(p + 32, cols);
        f->part[i] = f->bytes;
        p = hand_room(f, 48);
        hand_u32(p, 1); /* f32 */
        hand_u64(p + 8, rows);
        hand_u64(p + 16, cols);
        hand_u64(p + 24, at[i]);
        hand_u64(p + 32, bytes[i]);
        hand_u64(p + 40, lb_hash64(f->data + 4096 + at[i], bytes[i]));
    }
    const size_t tensors_bytes = f->bytes - f->tensors;

    hand_align(f, 8, 0);
    f->meta = f->bytes;
    hand_room(f, 4);
    hand_meta(f, "model.architecture", 3, 0, "llama", 5);
    hand_meta_u64(f, "model.n_vocab", HAND_VOCAB);
    hand_meta_u64(f, "model.n_layers", 1);
    hand_meta_u64(f, "model.dim", 16);
    hand_meta_u64(f, "model.n_heads", 2);
    hand_meta_u64(f, "model.n_kv_heads", 1);
    hand_meta_u64(f, "model.head_dim", 8);
    hand_meta_u64(f, "model.ffn_dim", 16);
    hand_meta_u64(f, "model.n_context", 64);
    hand_meta_f64(f, "model.norm_eps", 1e-5);
    hand_meta_u64(f, "rope.dim", 8);
    hand_meta(f, "rope.interleaved", 4, 0, "\1", 1);
    hand_meta_f64(f, "rope.theta", 10000.0);
    hand_head(f, f->bytes - f->meta, tensors_bytes, data_bytes);
}

void hand_free(hand_file *f)
{
    free(f->data);
    f->data = NULL;
}

void hand_add_meta(hand_file *f, const char *key, unsigned type, unsigned flags, const void *value,
                   size_t bytes)
{
    hand_meta(f, key, type, flags, value, bytes); /* META is the last section */
    hand_u64(f->data + f->section[0] + 16, f->bytes - f->meta);
    hand_u64(f->data + 16, f->bytes);
    hand_repair(f->data, f->bytes);
}

void hand_add_section(hand_file *f, uint32_t kind, uint32_t flags)
{
    uint32_t n = hand_get32(f->data + 12);
    unsigned char *p = f->data + 64 + 40 * n;
    hand_u32(p, kind);
    hand_u32(p + 4, flags);
    hand_u64(p + 8, 4096);
    hand_u32(f->data + 12, n + 1);
    hand_repair(f->data, f->bytes);
}
