/* .lbrt files that are hostile: made by hand, absurd in one field, cut off, damaged at random. What opens must be usable. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/container/lb_container.h"
#include "../formats/pack/lb_pack.h"
#include "hand_file.h"
#include "lb_test.h"
#include "small_models.h"

void test_container_hostile(void);

/* ---- an allocator for hostile files: nothing above 256 MB in all, and it counts ---- */

static struct {
    size_t alive, most;
} cont_heap;

static void *cont_alloc(void *user, size_t bytes, size_t align)
{
    (void)user;
    void *p = NULL;
    if (bytes > ((size_t)256 << 20) - cont_heap.alive || posix_memalign(&p, align, bytes) != 0) {
        return NULL;
    }
    cont_heap.alive += bytes;
    cont_heap.most = cont_heap.alive > cont_heap.most ? cont_heap.alive : cont_heap.most;
    return p;
}

static void cont_free(void *user, void *p, size_t bytes, size_t align)
{
    (void)user;
    (void)align;
    cont_heap.alive -= bytes;
    free(p);
}

static const lbrt_allocator cont_allocator = { cont_alloc, cont_free, NULL };

static lbrt_status cont_open(const void *data, size_t bytes, bool verify, lbrt_model **m, lbrt_error *err)
{
    lbrt_model_options o = LBRT_MODEL_OPTIONS_INIT;
    o.allocator = &cont_allocator;
    o.verify = verify;
    *m = (lbrt_model *)(uintptr_t)1;
    return lbrt_model_open_memory(data, bytes, &o, m, err);
}

/* ---- a file made by hand ---- */

static void cont_hand(void)
{
    lb_test_case("a file written byte by byte from the specification opens and computes what it must");
    hand_file f;
    hand_make(&f);
    lbrt_model *m;
    lbrt_error err = { LBRT_OK, "" };
    if (LB_CHECK(cont_open(f.data, f.bytes, true, &m, &err) == LBRT_OK, "%s", err.text)) {
        lbrt_model_info info = LBRT_MODEL_INFO_INIT;
        lbrt_model_describe(m, &info);
        LB_CHECK(info.n_vocab == HAND_VOCAB && info.dim == HAND_DIM && info.n_layers == 1 &&
                     info.n_context == 64 && strcmp(info.architecture, "llama") == 0 && info.bos == -1 &&
                     !info.has_chat_template,
                 "its description");
        LB_CHECK(info.parameters == 32 * 16 + 5 * 256 + 2 * 128 + 3 * 16 && info.file_bytes == f.bytes,
                 "%llu parameters", (unsigned long long)info.parameters);
        lbrt_session *s = NULL;
        LB_CHECK(lbrt_session_create(m, NULL, &s, &err) == LBRT_OK, "%s", err.text);
        const lbrt_token ids[] = { 3, 31, 0, 17 };
        for (size_t i = 0; s && i < 4; i++) {
            LB_CHECK(lbrt_feed(s, &ids[i], 1) == LBRT_OK, "%s", lbrt_session_error(s));
            const float *logits = lbrt_logits(s, 0);
            double ss = 0, worst = 0;
            for (size_t c = 0; c < 16; c++) {
                ss += pow((double)hand_embed((size_t)ids[i], c), 2);
            }
            for (size_t v = 0; v < HAND_VOCAB; v++) {
                double y = 0;
                for (size_t c = 0; c < 16; c++) {
                    y += (double)hand_embed(v, c) * (double)hand_embed((size_t)ids[i], c) /
                         sqrt(ss / 16 + 1e-5);
                }
                worst = fmax(worst, fabs(y - (double)logits[v]));
            }
            LB_CHECK(worst < 1e-5, "token %d: off by %g", (int)ids[i], worst);
        }
        lbrt_session_free(s);
        lbrt_model_close(m);
    }
    LB_CHECK(cont_heap.alive == 0, "a leak");

    lb_test_case("every byte of the tensors is covered by a checksum, and the text names the tensor");
    for (size_t i = 0; i < 300; i++) {
        size_t at = 4096 + lb_test_random() % (HAND_VOCAB / 16 * 4096); /* within tok_embed */
        f.data[at] ^= 0x10;
        LB_CHECK(cont_open(f.data, f.bytes, true, &m, &err) == LBRT_ERR_CHECKSUM && !m &&
                     strstr(err.text, "tok_embed"),
                 "%s", err.text);
        f.data[at] ^= 0x10;
    }
    hand_free(&f);

    lb_test_case("memory that is not aligned, too short, or nothing");
    hand_make(&f);
    LB_CHECK(cont_open(f.data + 8, f.bytes - 8, false, &m, &err) == LBRT_ERR_ARGUMENT && !m, "%s", err.text);
    LB_CHECK(cont_open(NULL, 0, false, &m, &err) == LBRT_ERR_ARGUMENT && !m, "%s", err.text);
    LB_CHECK(cont_open(f.data, 0, false, &m, &err) == LBRT_ERR_FORMAT && !m, "%s", err.text);
    LB_CHECK(lbrt_model_open("/nonexistent/model.lbrt", NULL, &m, &err) == LBRT_ERR_IO && !m &&
                 strstr(err.text, "model.lbrt"),
             "%s", err.text);
    lbrt_model_options o = LBRT_MODEL_OPTIONS_INIT;
    o.isa = "z80";
    LB_CHECK(lbrt_model_open_memory(f.data, f.bytes, &o, &m, &err) == LBRT_ERR_UNSUPPORTED && !m &&
                 strstr(err.text, "z80"),
             "%s", err.text);
    o = (lbrt_model_options){ .size = 0 };
    LB_CHECK(lbrt_model_open_memory(f.data, f.bytes, &o, &m, &err) == LBRT_ERR_ARGUMENT && !m, "%s",
             err.text);
    hand_free(&f);
}

/* ---- one absurd field ---- */

enum cont_place {
    AT_HEADER,
    AT_SECTION,
    AT_META,
    AT_META_KEY,
    AT_TENSORS,
    AT_TENSOR,
    AT_TERM,
    AT_PART,
    AT_NAME
};

typedef struct cont_absurd {
    const char *what;
    enum cont_place place;
    size_t index;    /* of the section record or tensor */
    const char *key; /* AT_META_KEY: at counts from its value; -1 - n: n bytes before it */
    int at;
    unsigned width; /* bytes of the field */
    uint64_t value;
    bool raw; /* checksums stay as they were */
    lbrt_status status;
    const char *text; /* must be in the message */
} cont_absurd;

#define HUGE_U64 0xffffffffffffffc0ull
#define NAN_BITS 0x7ff8000000000000ull

static const cont_absurd cont_absurds[] = {
    { "magic", AT_HEADER, 0, NULL, 0, 1, 'L', false, LBRT_ERR_FORMAT, "not an lbrt file" },
    { "a line end that was translated", AT_HEADER, 0, NULL, 4, 1, '\n', false, LBRT_ERR_FORMAT,
      "not an lbrt file" },
    { "version 2", AT_HEADER, 0, NULL, 8, 4, 2, false, LBRT_ERR_UNSUPPORTED, "version 2" },
    { "version 0", AT_HEADER, 0, NULL, 8, 4, 0, false, LBRT_ERR_UNSUPPORTED, "version 0" },
    { "no sections", AT_HEADER, 0, NULL, 12, 4, 0, false, LBRT_ERR_FORMAT, "sections" },
    { "65 sections", AT_HEADER, 0, NULL, 12, 4, 65, false, LBRT_ERR_FORMAT, "65" },
    { "4294967295 sections", AT_HEADER, 0, NULL, 12, 4, 0xffffffff, false, LBRT_ERR_FORMAT, "sections" },
    { "two of three sections", AT_HEADER, 0, NULL, 12, 4, 2, false, LBRT_ERR_FORMAT, "lacks" },
    { "file size 0", AT_HEADER, 0, NULL, 16, 8, 0, false, LBRT_ERR_FORMAT, "cut off" },
    { "a huge file size", AT_HEADER, 0, NULL, 16, 8, HUGE_U64, false, LBRT_ERR_FORMAT, "cut off" },
    { "a wrong table checksum", AT_HEADER, 0, NULL, 24, 8, 1, true, LBRT_ERR_CHECKSUM, "section table" },

    { "an unknown required section", AT_SECTION, 0, NULL, 0, 4, 99, false, LBRT_ERR_UNSUPPORTED, "99" },
    { "no metadata", AT_SECTION, 0, NULL, 0, 8, 99, false, LBRT_ERR_FORMAT, "lacks" },
    { "no tensor table", AT_SECTION, 1, NULL, 0, 8, 4000000000u, false, LBRT_ERR_FORMAT, "lacks" },
    { "no data", AT_SECTION, 2, NULL, 0, 8, 99, false, LBRT_ERR_FORMAT, "lacks" },
    { "two tensor tables", AT_SECTION, 0, NULL, 0, 4, 3, false, LBRT_ERR_FORMAT, "twice" },
    { "section kind 0", AT_SECTION, 0, NULL, 0, 4, 0, false, LBRT_ERR_UNSUPPORTED, "0" },
    { "metadata outside the file", AT_SECTION, 0, NULL, 8, 8, 1ull << 40, false, LBRT_ERR_FORMAT, "outside" },
    { "an offset that overflows", AT_SECTION, 0, NULL, 8, 8, HUGE_U64, false, LBRT_ERR_FORMAT, "outside" },
    { "a size that overflows", AT_SECTION, 2, NULL, 16, 8, HUGE_U64, false, LBRT_ERR_FORMAT, "outside" },
    { "data not at a page", AT_SECTION, 2, NULL, 8, 8, 4096 + 64, false, LBRT_ERR_FORMAT, "overlap" },
    { "metadata that is not aligned", AT_SECTION, 0, NULL, 8, 1, 1, false, LBRT_ERR_FORMAT, "aligned" },
    { "data upon the header", AT_SECTION, 2, NULL, 8, 8, 0, false, LBRT_ERR_FORMAT, "section table" },
    { "metadata upon the header", AT_SECTION, 0, NULL, 8, 8, 64, false, LBRT_ERR_FORMAT, "section table" },
    { "metadata upon the data", AT_SECTION, 0, NULL, 8, 8, 4096, false, LBRT_ERR_FORMAT, "overlap" },
    { "empty metadata", AT_SECTION, 0, NULL, 16, 8, 0, false, LBRT_ERR_FORMAT, "metadata" },
    { "empty data", AT_SECTION, 2, NULL, 16, 8, 0, false, LBRT_ERR_FORMAT, "outside" },
    { "a wrong section checksum", AT_SECTION, 0, NULL, 24, 8, 1, true, LBRT_ERR_CHECKSUM, "" },

    { "no metadata entries", AT_META, 0, NULL, 0, 4, 0, false, LBRT_ERR_FORMAT, "model.architecture" },
    { "more entries than there are", AT_META, 0, NULL, 0, 4, 14, false, LBRT_ERR_FORMAT, "cut off" },
    { "4294967295 entries", AT_META, 0, NULL, 0, 4, 0xffffffff, false, LBRT_ERR_FORMAT, "cut off" },
    { "a key longer than the section", AT_META, 0, NULL, 4, 2, 65535, false, LBRT_ERR_FORMAT, "" },
    { "a value longer than the section", AT_META, 0, NULL, 8, 4, 0xffffffff, false, LBRT_ERR_FORMAT,
      "cut off" },
    { "a number of another type", AT_META_KEY, 0, "model.dim", -1 - 15, 1, 3, false, LBRT_ERR_FORMAT,
      "model.dim" },
    { "n_vocab 0", AT_META_KEY, 0, "model.n_vocab", 0, 8, 0, false, LBRT_ERR_FORMAT, "model.n_vocab" },
    { "n_vocab beyond 32 bits", AT_META_KEY, 0, "model.n_vocab", 0, 8, 0x100000020ull, false, LBRT_ERR_FORMAT,
      "model.n_vocab" },
    { "n_vocab of another shape", AT_META_KEY, 0, "model.n_vocab", 0, 8, 33, false, LBRT_ERR_FORMAT,
      "tok_embed" },
    { "no layers", AT_META_KEY, 0, "model.n_layers", 0, 8, 0, false, LBRT_ERR_FORMAT, "model.n_layers" },
    { "1024 layers", AT_META_KEY, 0, "model.n_layers", 0, 8, 1024, false, LBRT_ERR_FORMAT, "layers" },
    { "2 layers", AT_META_KEY, 0, "model.n_layers", 0, 8, 2, false, LBRT_ERR_FORMAT, "layers" },
    { "4294967295 layers", AT_META_KEY, 0, "model.n_layers", 0, 8, 0xffffffff, false, LBRT_ERR_FORMAT,
      "model.n_layers" },
    { "dim 0", AT_META_KEY, 0, "model.dim", 0, 8, 0, false, LBRT_ERR_FORMAT, "model.dim" },
    { "dim 2^20", AT_META_KEY, 0, "model.dim", 0, 8, 1 << 20, false, LBRT_ERR_FORMAT, "tok_embed" },
    { "n_heads 0", AT_META_KEY, 0, "model.n_heads", 0, 8, 0, false, LBRT_ERR_FORMAT, "model.n_heads" },
    { "n_kv_heads 0", AT_META_KEY, 0, "model.n_kv_heads", 0, 8, 0, false, LBRT_ERR_FORMAT,
      "model.n_kv_heads" },
    { "n_kv_heads that do not divide", AT_META_KEY, 0, "model.n_kv_heads", 0, 8, 3, false, LBRT_ERR_FORMAT,
      "KV heads" },
    { "more KV heads than heads", AT_META_KEY, 0, "model.n_kv_heads", 0, 8, 4, false, LBRT_ERR_FORMAT,
      "KV heads" },
    { "4096 heads on one KV head", AT_META_KEY, 0, "model.n_heads", 0, 8, 4096, false, LBRT_ERR_UNSUPPORTED,
      "KV head" },
    { "head_dim odd", AT_META_KEY, 0, "model.head_dim", 0, 8, 9, false, LBRT_ERR_FORMAT, "head_dim" },
    { "head_dim 2 below rope.dim", AT_META_KEY, 0, "model.head_dim", 0, 8, 2, false, LBRT_ERR_FORMAT,
      "rope" },
    { "ffn_dim 0", AT_META_KEY, 0, "model.ffn_dim", 0, 8, 0, false, LBRT_ERR_FORMAT, "model.ffn_dim" },
    { "n_context 0", AT_META_KEY, 0, "model.n_context", 0, 8, 0, false, LBRT_ERR_FORMAT, "model.n_context" },
    { "n_context huge", AT_META_KEY, 0, "model.n_context", 0, 8, HUGE_U64, false, LBRT_ERR_FORMAT,
      "model.n_context" },
    { "norm_eps NaN", AT_META_KEY, 0, "model.norm_eps", 0, 8, NAN_BITS, false, LBRT_ERR_FORMAT,
      "model.norm_eps" },
    { "norm_eps 1e300", AT_META_KEY, 0, "model.norm_eps", 0, 8, 0x7e37e43c8800759cull, false, LBRT_ERR_FORMAT,
      "model.norm_eps" },
    { "rope.dim odd", AT_META_KEY, 0, "rope.dim", 0, 8, 7, false, LBRT_ERR_FORMAT, "rope" },
    { "rope.dim above head_dim", AT_META_KEY, 0, "rope.dim", 0, 8, 10, false, LBRT_ERR_FORMAT, "rope" },
    { "rope.theta infinite", AT_META_KEY, 0, "rope.theta", 0, 8, 0x7ff0000000000000ull, false,
      LBRT_ERR_FORMAT, "rope.theta" },
    { "rope.theta 0", AT_META_KEY, 0, "rope.theta", 0, 8, 0, false, LBRT_ERR_FORMAT, "rope.theta" },
    { "a bool of 2", AT_META_KEY, 0, "rope.interleaved", 0, 1, 2, false, LBRT_ERR_FORMAT,
      "rope.interleaved" },

    { "no tensors", AT_TENSORS, 0, NULL, 0, 4, 0, false, LBRT_ERR_FORMAT, "tensors" },
    { "4294967295 tensors", AT_TENSORS, 0, NULL, 0, 4, 0xffffffff, false, LBRT_ERR_FORMAT, "tensors" },
    { "one tensor more", AT_TENSORS, 0, NULL, 0, 4, HAND_TENSORS + 1, false, LBRT_ERR_FORMAT, "" },
    { "one tensor less", AT_TENSORS, 0, NULL, 0, 4, HAND_TENSORS - 1, false, LBRT_ERR_FORMAT, "ffn_down" },
    { "a name of no bytes", AT_TENSOR, 3, NULL, 0, 2, 0, false, LBRT_ERR_FORMAT, "" },
    { "a name of 256 bytes", AT_TENSOR, 3, NULL, 0, 2, 256, false, LBRT_ERR_FORMAT, "" },
    { "a name of 65535 bytes", AT_TENSOR, HAND_TENSORS - 1, NULL, 0, 2, 65535, false, LBRT_ERR_FORMAT,
      "cut off" },
    { "no terms", AT_TENSOR, 3, NULL, 2, 2, 0, false, LBRT_ERR_FORMAT, "terms" },
    { "65535 terms", AT_TENSOR, 3, NULL, 2, 2, 65535, false, LBRT_ERR_FORMAT, "terms" },
    { "a second term that is not there", AT_TENSOR, HAND_TENSORS - 1, NULL, 2, 2, 2, false, LBRT_ERR_FORMAT,
      "" },
    { "rows 0", AT_TENSOR, 3, NULL, 8, 8, 0, false, LBRT_ERR_FORMAT, "layers.0.attn_q" },
    { "rows huge", AT_TENSOR, 3, NULL, 8, 8, HUGE_U64, false, LBRT_ERR_FORMAT, "layers.0.attn_q" },
    { "rows 2^31 + 1", AT_TENSOR, 3, NULL, 8, 8, 0x80000001u, false, LBRT_ERR_FORMAT, "layers.0.attn_q" },
    { "rows more than the term", AT_TENSOR, 3, NULL, 8, 8, 17, false, LBRT_ERR_FORMAT, "layers.0.attn_q" },
    { "cols 0", AT_TENSOR, 3, NULL, 16, 8, 0, false, LBRT_ERR_FORMAT, "layers.0.attn_q" },
    { "cols huge", AT_TENSOR, 3, NULL, 16, 8, HUGE_U64, false, LBRT_ERR_FORMAT, "layers.0.attn_q" },
    { "a vector of two rows", AT_TENSOR, 2, NULL, 8, 8, 2, false, LBRT_ERR_FORMAT, "layers.0.attn_norm" },
    { "a missing tensor", AT_NAME, 4, NULL, 14, 1, 'K', false, LBRT_ERR_FORMAT, "layers.0.attn_k" },
    { "two tensors of one name", AT_NAME, 4, NULL, 14, 1, 'q', false, LBRT_ERR_FORMAT,
      "layers.0.attn_q appears twice" },
    { "an unknown term kind", AT_TERM, 3, NULL, 0, 2, 9, false, LBRT_ERR_UNSUPPORTED, "kind 9" },
    { "a vector where a matrix is needed", AT_TERM, 3, NULL, 0, 2, 3, false, LBRT_ERR_UNSUPPORTED,
      "layers.0.attn_q" },
    { "a matrix where a vector is needed", AT_TERM, 2, NULL, 0, 2, 1, false, LBRT_ERR_FORMAT,
      "layers.0.attn_norm" },
    { "an unknown transform", AT_TERM, 3, NULL, 2, 2, 7, false, LBRT_ERR_UNSUPPORTED, "transform 7" },
    { "no parts", AT_TERM, 3, NULL, 4, 2, 0, false, LBRT_ERR_FORMAT, "0 parts" },
    { "two parts of a packed term", AT_TERM, 3, NULL, 4, 2, 2, false, LBRT_ERR_FORMAT, "2 parts" },
    { "row0 beyond the tensor", AT_TERM, 3, NULL, 8, 8, 64, false, LBRT_ERR_FORMAT, "do not fit" },
    { "row0 that overflows", AT_TERM, 3, NULL, 8, 8, HUGE_U64, false, LBRT_ERR_FORMAT, "do not fit" },
    { "row0 not a multiple", AT_TERM, 3, NULL, 8, 8, 1, false, LBRT_ERR_FORMAT, "do not fit" },
    { "a term of no rows", AT_TERM, 3, NULL, 16, 8, 0, false, LBRT_ERR_FORMAT, "do not fit" },
    { "a term of other rows than its part", AT_TERM, 3, NULL, 16, 8, 15, false, LBRT_ERR_FORMAT,
      "do not fit" },
    { "col0 beyond the tensor", AT_TERM, 3, NULL, 24, 8, 64, false, LBRT_ERR_FORMAT, "do not fit" },
    { "col0 that overflows", AT_TERM, 3, NULL, 24, 8, HUGE_U64, false, LBRT_ERR_FORMAT, "do not fit" },
    { "a term of no columns", AT_TERM, 3, NULL, 32, 8, 0, false, LBRT_ERR_FORMAT, "do not fit" },
    { "a vector with a range", AT_TERM, 2, NULL, 24, 8, 64, false, LBRT_ERR_FORMAT, "do not fit" },
    { "weight format 0", AT_PART, 3, NULL, 0, 4, 0, false, LBRT_ERR_UNSUPPORTED, "format 0" },
    { "weight format 63", AT_PART, 3, NULL, 0, 4, 63, false, LBRT_ERR_UNSUPPORTED, "format 63" },
    { "weight format 4294967295", AT_PART, 3, NULL, 0, 4, 0xffffffff, false, LBRT_ERR_UNSUPPORTED,
      "format 4294967295" },
    { "a vector in f16", AT_PART, 2, NULL, 0, 4, 2, false, LBRT_ERR_UNSUPPORTED, "layers.0.attn_norm" },
    { "a matrix in f16 with the bytes of f32", AT_PART, 3, NULL, 0, 4, 2, false, LBRT_ERR_FORMAT, "2048" },
    { "part rows 0", AT_PART, 3, NULL, 8, 8, 0, false, LBRT_ERR_FORMAT, "shape" },
    { "part rows huge", AT_PART, 3, NULL, 8, 8, HUGE_U64, false, LBRT_ERR_FORMAT, "shape" },
    { "part rows 2^31", AT_PART, 3, NULL, 8, 8, 1ull << 31, false, LBRT_ERR_FORMAT, "bytes" },
    { "part cols 0", AT_PART, 3, NULL, 16, 8, 0, false, LBRT_ERR_FORMAT, "shape" },
    { "part cols 2^31", AT_PART, 3, NULL, 16, 8, 1ull << 31, false, LBRT_ERR_FORMAT, "columns" },
    { "part cols 2^24", AT_PART, 3, NULL, 16, 8, 1 << 24, false, LBRT_ERR_FORMAT, "bytes" },
    { "vector cols 2^31", AT_PART, 2, NULL, 16, 8, 1ull << 31, false, LBRT_ERR_FORMAT, "bytes" },
    { "part cols 15", AT_PART, 3, NULL, 16, 8, 15, false, LBRT_ERR_FORMAT, "do not fit" },
    { "an offset that is not aligned", AT_PART, 3, NULL, 24, 8, 32, false, LBRT_ERR_FORMAT,
      "layers.0.attn_q" },
    { "an offset outside the data", AT_PART, 3, NULL, 24, 8, 1 << 20, false, LBRT_ERR_FORMAT, "outside" },
    { "an offset that overflows", AT_PART, 3, NULL, 24, 8, HUGE_U64, false, LBRT_ERR_FORMAT, "outside" },
    { "no bytes", AT_PART, 3, NULL, 32, 8, 0, false, LBRT_ERR_FORMAT, "0 bytes" },
    { "a byte more", AT_PART, 3, NULL, 32, 8, 4097, false, LBRT_ERR_FORMAT, "4097" },
    { "huge bytes", AT_PART, 3, NULL, 32, 8, HUGE_U64, false, LBRT_ERR_FORMAT, "outside" },
};

static unsigned char *cont_find_key(hand_file *f, const char *key)
{
    const size_t n = strlen(key);
    for (size_t i = f->meta; i + n <= f->bytes; i++) {
        if (memcmp(f->data + i, key, n) == 0) {
            return f->data + i + n;
        }
    }
    LB_CHECK(false, "no key %s", key);
    return f->data;
}

static unsigned char *cont_field(hand_file *f, const cont_absurd *c)
{
    switch (c->place) {
    case AT_HEADER: return f->data + c->at;
    case AT_SECTION: return f->data + f->section[c->index] + c->at;
    case AT_META: return f->data + f->meta + c->at;
    case AT_META_KEY: return cont_find_key(f, c->key) + (c->at < 0 ? c->at + 1 : c->at);
    case AT_TENSORS: return f->data + f->tensors + c->at;
    case AT_TENSOR: return f->data + f->record[c->index] + c->at;
    case AT_TERM: return f->data + f->term[c->index] + c->at;
    case AT_PART: return f->data + f->part[c->index] + c->at;
    default: return f->data + f->record[c->index] + 24 + c->at;
    }
}

static void cont_absurdities(void)
{
    for (size_t i = 0; i < sizeof cont_absurds / sizeof cont_absurds[0]; i++) {
        const cont_absurd *c = &cont_absurds[i];
        lb_test_case("a file with %s", c->what);
        hand_file f;
        hand_make(&f);
        unsigned char *p = cont_field(&f, c);
        for (unsigned j = 0; j < c->width; j++) {
            p[j] = (unsigned char)(c->value >> 8 * j);
        }
        if (!c->raw) {
            hand_repair(f.data, f.bytes);
        }
        lbrt_model *m;
        lbrt_error err = { LBRT_OK, "" };
        lbrt_status s = cont_open(f.data, f.bytes, false, &m, &err);
        LB_CHECK(s == c->status && !m && err.status == s && err.text[0] && strstr(err.text, c->text),
                 "%s: %s", lbrt_status_name(s), err.text);
        LB_CHECK(cont_heap.alive == 0, "a leak");
        if (s == LBRT_OK) {
            lbrt_model_close(m);
        }
        hand_free(&f);
    }

    lb_test_case("unknown metadata: skipped if optional, refused by name if required");
    hand_file f;
    lbrt_model *m;
    lbrt_error err = { LBRT_OK, "" };
    hand_make(&f);
    hand_add_meta(&f, "model.flux", 5, 0, "\1\2\3", 3);
    hand_add_section(&f, 99, 0);
    LB_CHECK(cont_open(f.data, f.bytes, false, &m, &err) == LBRT_OK, "%s", err.text);
    lbrt_model_close(m);
    hand_free(&f);
    static const struct {
        const char *key, *said;
    } required[] = { { "model.warp_drive", "model.warp_drive" }, { "bad\nkey", "bad" } };
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        hand_make(&f);
        hand_add_meta(&f, required[i].key, 1, 1, "\1\0\0\0\0\0\0", 8);
        LB_CHECK(cont_open(f.data, f.bytes, false, &m, &err) == LBRT_ERR_UNSUPPORTED && strstr(err.text, required[i].said) &&
                     !strchr(err.text, '\n'),
                 "%s", err.text);
        hand_free(&f);
    }
    for (unsigned type = 1; type <= 5; type++) { /* what must be known must be understood: 1.5 as a number with a fraction alone */
        hand_make(&f);
        hand_add_meta(&f, "attention.factor", type, 1, "\0\0\0\0\0\0\xf8\x3f", 8);
        const lbrt_status got = cont_open(f.data, f.bytes, false, &m, &err);
        LB_CHECK(got == (type == 2 ? LBRT_OK : LBRT_ERR_FORMAT) && (type == 2 || strstr(err.text, "attention.factor")), "type %u: %d %s", type, (int)got, err.text);
        lbrt_model_close(m);
        hand_free(&f);
    }

    hand_make(&f);
    hand_u64(f.data + f.section[2] + 8, 4096 + 64);
    hand_u64(f.data + f.section[2] + 16, 64);
    hand_repair(f.data, f.bytes);
    LB_CHECK(cont_open(f.data, f.bytes, false, &m, &err) == LBRT_ERR_FORMAT && strstr(err.text, "aligned"),
             "%s", err.text);
    hand_free(&f);

    lb_test_case("each number that a model needs is missed by its name");
    static const char *const needed[] = { "model.architecture", "model.n_vocab", "model.n_layers",
                                          "model.dim",          "model.n_heads", "model.n_kv_heads",
                                          "model.head_dim",     "model.ffn_dim", "model.n_context",
                                          "model.norm_eps",     "rope.dim",      "rope.interleaved",
                                          "rope.theta" };
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        hand_make(&f);
        cont_find_key(&f, needed[i])[-1] = '~';
        hand_repair(f.data, f.bytes);
        LB_CHECK(cont_open(f.data, f.bytes, false, &m, &err) == LBRT_ERR_FORMAT &&
                     strstr(err.text, needed[i]),
                 "%s: %s", needed[i], err.text);
        hand_free(&f);
    }
    LB_CHECK(cont_heap.alive == 0, "a leak");
}

/* ---- cut off ---- */

static void cont_truncated(void)
{
    lb_test_case("a file cut off at any length is refused, also with its checksums put right");
    hand_file f;
    hand_make(&f);
    unsigned opened = 0, leaks = 0;
    const size_t tables = f.tensors;
    for (size_t n = 0; n<f.bytes; n += n> 4200 && n + 61 < tables ? 61 : 1) {
        void *aligned = NULL;
        if (posix_memalign(&aligned, 64, n ? n : 1) != 0) {
            break;
        }
        unsigned char *data = (unsigned char *)aligned;
        memcpy(data, f.data, n);
        lbrt_model *m;
        lbrt_error err = { LBRT_OK, "" };
        for (unsigned repaired = 0; repaired < 3; repaired++) {
            if (repaired == 1 && n >= 24) {
                hand_u64(data + 16, n);
            }
            if (repaired == 2 && n >= 64 + 40) { /* the last section, META, as far as it is there */
                hand_u64(data + 64 + 16, n > f.meta ? n - f.meta : 0);
                hand_repair(data, n);
            }
            lbrt_status s = cont_open(data, n, false, &m, &err);
            opened += s == LBRT_OK;
            leaks += cont_heap.alive != 0 && s != LBRT_OK;
            lbrt_model_close(m);
        }
        free(aligned);
    }
    LB_CHECK(opened == 0 && leaks == 0, "%u opened, %u leaks", opened, leaks);
    hand_free(&f);
}

/* ---- damaged at random ---- */

enum { MUTATION_RANGES = 4, MUTATION_BYTES = 16 };

typedef struct cont_victim {
    unsigned char *data, *good;
    size_t bytes;
    size_t tables; /* where the data ends and the tables begin */
    unsigned opened, generated, refused[64];
} cont_victim;

static void cont_mutate(cont_victim *v, size_t at[MUTATION_RANGES], unsigned n)
{
    static const uint64_t odd[] = { 0,
                                    1,
                                    2,
                                    63,
                                    64,
                                    65,
                                    127,
                                    128,
                                    255,
                                    256,
                                    32767,
                                    65535,
                                    0x7fffffff,
                                    0x80000000u,
                                    0xffffffffu,
                                    0x100000000ull,
                                    0x7fffffffffffffffull,
                                    0x8000000000000000ull,
                                    HUGE_U64,
                                    UINT64_MAX };
    for (unsigned i = 0; i < n; i++) {
        const uint64_t r = lb_test_random();
        const size_t tables = v->bytes - v->tables;
        /* mostly the tables: what the data says is only numbers */
        size_t where = r % 16 == 0   ? 4096 + (r >> 8) % (v->tables - 4096)
                       : r % 16 == 1 ? (r >> 8) % 232
                                     : v->tables + (r >> 8) % tables;
        if (r >> 60 & 1) {
            where &= ~(size_t)3;
        }
        where = where + MUTATION_BYTES > v->bytes ? v->bytes - MUTATION_BYTES : where;
        at[i] = where;
        unsigned char *p = v->data + where;
        const uint64_t value = odd[(r >> 32) % (sizeof odd / sizeof odd[0])];
        switch (r >> 40 & 7) {
        case 0: *p ^= (unsigned char)(1u << (r >> 48 & 7)); break;
        case 1: *p = (unsigned char)(r >> 48); break;
        case 2: hand_u16(p, (unsigned)value); break;
        case 3: hand_u32(p, (uint32_t)value); break;
        case 4: hand_u64(p, value); break;
        case 5: hand_u32(p, lb_load_u32(p) + ((r >> 48 & 1) ? 1u : 0u - 1u)); break;
        case 6: memset(p, (int)(r >> 48 & 0xff), MUTATION_BYTES); break;
        default: memcpy(p, v->good + (r >> 41) % (v->bytes - MUTATION_BYTES), MUTATION_BYTES); break;
        }
    }
}

static void cont_use(cont_victim *v, const lbrt_model *m)
{
    lbrt_error err = { LBRT_OK, "" };
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    lbrt_model_describe(m, &info);
    lbrt_token ids[64] = { 1, 5 };
    char text[512];
    size_t n = 0, bytes = 0;
    lbrt_status s = lbrt_tokenize(m, "the end \xff and", 13, LBRT_TOKENIZE_BOS | LBRT_TOKENIZE_SPECIAL, ids,
                                  64, &n, &err);
    if (s == LBRT_OK) {
        lbrt_detokenize(m, ids, n, text, sizeof text, &bytes, &err);
    }
    const lbrt_message messages[] = { { "system", "be" }, { "user", "hello" } };
    lbrt_chat_format(m, messages, 2, true, text, sizeof text, &bytes, &err);
    for (lbrt_token id = -1; id < 300; id += 43) {
        const char *piece;
        lbrt_token_text(m, id, true, &piece, &bytes);
    }
    lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
    so.n_context = 12;
    so.n_batch = 4;
    so.n_threads = 1;
    lbrt_session *session = NULL;
    if (lbrt_session_create(m, &so, &session, &err) == LBRT_OK) {
        ids[0] = 0;
        ids[1] = (lbrt_token)(info.n_vocab - 1);
        lbrt_generation how = LBRT_GENERATION_INIT;
        how.max_tokens = 2;
        s = lbrt_generate(session, ids, 2, &how, NULL, NULL);
        v->generated += s == LBRT_OK;
        lbrt_session_free(session);
    }
}

static void cont_fuzz(const char *shape, const char *format, unsigned rounds)
{
    lb_test_case("%u random mutations of %s as %s: error or success", rounds, shape, format);
    cont_victim v = { .data = NULL };
    const char *path = sm_file(shape, format);
    v.data = path ? sm_load(path, &v.bytes) : NULL;
    if (!v.data) {
        return;
    }
    v.good = malloc(v.bytes);
    memcpy(v.good, v.data, v.bytes);
    v.tables = v.bytes;
    for (uint32_t i = 0; i < lb_load_u32(v.data + 12); i++) {
        const unsigned char *r = v.data + 64 + 40 * i;
        if (lb_load_u32(r) != LB_SECTION_DATA) {
            v.tables = lb_min(v.tables, (size_t)lb_load_u64(r + 8));
        }
    }
    cont_heap.most = 0;
    for (unsigned i = 0; i < rounds; i++) {
        size_t at[MUTATION_RANGES];
        const unsigned n = 1 + (unsigned)(lb_test_random() % MUTATION_RANGES);
        cont_mutate(&v, at, n);
        if (i % 8) {
            hand_repair(v.data, v.bytes);
        }
        lbrt_model *m;
        lbrt_error err = { LBRT_OK, "" };
        lbrt_status s = cont_open(v.data, v.bytes, i % 16 == 1, &m, &err);
        if (s == LBRT_OK) {
            v.opened++;
            cont_use(&v, m);
            lbrt_model_close(m);
        } else {
            v.refused[(unsigned)s % 64]++;
            LB_CHECK(m == NULL && err.status == s && err.text[0] && !strchr(err.text, '\n'), "%d: %s", (int)s,
                     err.text);
        }
        LB_CHECK(cont_heap.alive == 0, "a leak of %zu bytes after %s", cont_heap.alive, err.text);
        for (unsigned j = 0; j < n; j++) {
            memcpy(v.data + at[j], v.good + at[j], MUTATION_BYTES);
        }
        memcpy(v.data, v.good, 4096);
    }
    /* Were none of these reached, the mutations would test nothing. */
    LB_CHECK(v.opened > rounds / 50 && v.generated > rounds / 50, "%u opened, %u generated", v.opened,
             v.generated);
    LB_CHECK(v.refused[LBRT_ERR_FORMAT] > rounds / 10 && v.refused[LBRT_ERR_CHECKSUM] > 0 &&
                 v.refused[LBRT_ERR_UNSUPPORTED] > 0,
             "%u format, %u checksum, %u unsupported", v.refused[LBRT_ERR_FORMAT],
             v.refused[LBRT_ERR_CHECKSUM], v.refused[LBRT_ERR_UNSUPPORTED]);
    /* Opening costs about what the file is large: no number in it may make it cost more. */
    LB_CHECK(cont_heap.most < 64 * v.bytes + (4 << 20), "%zu bytes at once", cont_heap.most);
    free(v.good);
    free(v.data);
}

void test_container_hostile(void)
{
    const lb_wformat_info *info;
    cont_hand();
    cont_absurdities();
    cont_truncated();
    for (size_t i = 0; (info = lb_wformat_at(i)) != NULL; i++) {
        const bool usual =
            info->id == LB_W_F32 || info->id == LB_W_F16 || info->id == LB_W_Q8 || info->id == LB_W_Q4;
        if (lb_packer(info->id)) {
            cont_fuzz("micro", info->name, usual ? 4000 : 800);
            cont_fuzz("tiny", info->name, 200);
        }
    }
}
