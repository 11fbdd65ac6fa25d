/*
 * The .lbrt file, version 1: a specification, and the reader of it.
 *
 * All numbers are little-endian. "Aligned" means: at a multiple of that many bytes from the start of the file; bytes skipped for
 * alignment are zero. XXH64 is the published hash, seed 0.
 *
 *   HEADER, 64 bytes at 0
 *     0   8 bytes  'l' 'b' 'r' 't' 0x0d 0x0a 0x1a 0x0a
 *     8   u32      version: 1. A reader of version n reads every version <= n and refuses later ones.
 *     12  u32      n_sections, 1..64
 *     16  u64      bytes of the whole file
 *     24  u64      XXH64 of the section table: also the model's fingerprint, as it covers every other checksum
 *     32  32 bytes zero
 *   SECTION TABLE at 64: n_sections records of 40 bytes
 *     u32 kind; u32 flags (bit 0: a reader that does not know the kind must refuse the file); u64 offset; u64 bytes;
 *     u64 XXH64 of the section's bytes (0 for DATA, whose tensors carry their own); u64 zero
 *   Sections may be in any order, one of each kind, behind the section table and without overlap:
 *     1 META       u32 count, then entries: u16 key_bytes; u8 type; u8 flags (bit 0: a reader that does not know the key must
 *                  refuse the file); u32 value_bytes; key; value. Types: 1 u64, 2 f64, 3 string (UTF-8), 4 bool (one byte), 5 bytes.
 *                  Keys are listed in lb_hparams.c.
 *     2 TOKENIZER  see runtime/text/lb_tokenizer.h. Optional: a model without one takes token ids only.
 *     3 TENSORS    the term table, see below
 *     4 DATA       aligned to 4096: the bytes that the term table points to
 *
 *   TERM TABLE. A tensor is a matrix of `rows` outputs and `cols` inputs, or a vector. A matrix is a sum of terms, each a piece
 *   of the sum on its own range of rows and columns: y[row0 ..] += M * T(x[col0 ..]).
 *     u32 n_tensors; u32 zero; then per tensor, each record beginning at a multiple of 8 bytes from the section's start:
 *       u16 name_bytes (1..255); u16 n_terms (1..255); u32 zero; u64 rows; u64 cols; name; zeros to a multiple of 8
 *       then per term, 72 bytes:
 *         u16 kind: 1 packed: M is parts[0].   2 chain: M = parts[0] * parts[1] (low rank: y = A (B x)).
 *                   4 sparse: M is parts[0], tiles of one size, whole lines of 64 bytes: u16 column[16], f16 value[16], one number of
 *                     each row; of equal columns all count. Its format is 0. n_cols is at most 65536; no transform.
 *                   5 masked: M is parts[0], a mask and the values it marks (lb_kernels.h), tiles of one size, whole lines of 64 bytes. Its
 *                     format is 0; no transform.
 *                   3 vector: rows == 1, parts[0] is `cols` plain f32 numbers, one term, no ranges.
 *         u16 transform: 0 none, 1 Hadamard; u16 n_parts; u16 zero
 *         u64 row0; u64 n_rows; u64 col0; u64 n_cols   row0 and col0 multiples of 64 (matrices); the range lies inside the tensor;
 *                   n_rows and n_cols are multiples of 64 unless the range ends where the tensor ends
 *         u64 transform_offset; u64 transform_bytes; u64 transform XXH64; u64 zero (all 0 without a transform)
 *         then n_parts records of 48 bytes:
 *           u32 format (a number of lb_wformat); u32 zero; u64 rows; u64 cols; u64 offset in DATA, aligned to 64;
 *           u64 bytes; u64 XXH64 of them
 *   TRANSFORM 1, the randomized block Hadamard transform (QuIP#, arXiv 2402.04396): T(x) = H (sign * x) / sqrt(block) in blocks of `block`
 *   columns. It works on the term's columns filled up with zeros to n = n_cols rounded up to 64; parts[0] (packed) or parts[1] (chain)
 *   has n columns. In DATA, aligned to 64: u32 block (a power of two, 64..65536, that divides n); u32 n; n bits, the first in bit 0 of
 *   byte 0, padded to a byte: 1 for sign -1. Terms that share an input may share one transform by pointing to the same bytes.
 *
 *   AN ADAPTER (low-rank changes of a model, LoRA) is such a file without hyper-parameters and with the required key "adapter", a
 *   string that names its kind, "lora". Its tensors have the names and shapes of the model's matrices they change and one term each, a
 *   chain; the bool "adapter.rope_interleaved" says in which order the rows of attn_q and attn_k are.
 *
 *   A packed part is ceil(rows / 16) tiles; kernels/lb_kernels.h describes the tile of each format.
 *
 * A term kind, transform or format that a reader does not know is refused by name or number.
 */
#ifndef LB_CONTAINER_H
#define LB_CONTAINER_H

#include "../../kernels/lb_kernels.h"
#include "../../runtime/base/lb_base.h"
#include "lb_hparams.h"

#define LB_FILE_VERSION 1u
#define LB_FILE_HEADER_BYTES 64u
#define LB_FILE_SECTION_BYTES 40u
#define LB_FILE_TERM_BYTES 72u
#define LB_FILE_PART_BYTES 48u
#define LB_FILE_DATA_ALIGN 4096u
#define LB_FILE_PART_ALIGN 64u
#define LB_MAX_TERMS 255u
extern const unsigned char lb_file_magic[8];

enum { LB_SECTION_META = 1, LB_SECTION_TOKENIZER = 2, LB_SECTION_TENSORS = 3, LB_SECTION_DATA = 4 };
enum { LB_META_U64 = 1, LB_META_F64 = 2, LB_META_STRING = 3, LB_META_BOOL = 4, LB_META_BYTES = 5 };
typedef enum lb_term_kind { LB_TERM_PACKED = 1, LB_TERM_CHAIN = 2, LB_TERM_VECTOR = 3, LB_TERM_SPARSE = 4, LB_TERM_MASKED = 5 } lb_term_kind;

typedef struct lb_part {
    lb_wformat format; /* LB_W_NONE: sparse, masked */
    uint64_t rows, cols;
    const unsigned char *data; /* in the file */
    uint64_t bytes, checksum;
    size_t tile_bytes;         /* 0 for a vector */
} lb_part;

typedef enum lb_transform_kind { LB_TRANSFORM_NONE = 0, LB_TRANSFORM_HADAMARD = 1 } lb_transform_kind;

/* What a term does to its input first. */
typedef struct lb_transform_ref {
    lb_transform_kind kind;
    uint32_t block, n;
    const unsigned char *data; /* in the file: identifies the transform */
    uint64_t bytes, checksum;
} lb_transform_ref;
enum { LB_TRANSFORM_MIN_BLOCK = 64, LB_TRANSFORM_MAX_BLOCK = 65536 };

typedef struct lb_term {
    lb_term_kind kind;
    lb_transform_ref transform;
    uint64_t row0, n_rows, col0, n_cols;
    unsigned n_parts;
    lb_part parts[2];
} lb_term;

typedef struct lb_tensor {
    const char *name; /* not NUL-terminated */
    unsigned name_bytes;
    unsigned n_terms;
    uint64_t rows, cols;
    const lb_term *terms;
} lb_tensor;

typedef struct lb_section {
    const unsigned char *data;
    size_t bytes;
} lb_section;

typedef struct lb_container {
    lbrt_allocator allocator;
    const unsigned char *file;
    size_t bytes;
    uint64_t fingerprint;
    lb_section meta, tokenizer, tensors_raw, data;
    size_t n_tensors;
    lb_tensor *tensors;
    size_t n_terms;
    lb_term *terms;
    uint32_t *index; /* hash table of tensor numbers + 1 */
    size_t index_size;
} lb_container;

/* Reads and checks everything but the checksums of DATA. `data` (64-byte aligned) outlives the container. */
lbrt_status lb_container_open(lb_container *c, const void *data, size_t bytes, const lbrt_allocator *a, lbrt_error *err);
void lb_container_close(lb_container *c);

/* Checks every checksum of DATA; the text names the first tensor that does not match. progress (may be NULL) counts bytes. */
lbrt_status lb_container_verify(const lb_container *c, lbrt_progress_fn progress, void *user, lbrt_error *err);

/*
 * For those who read a file only as far as opening it needs, weights aside: reports the ranges of a file of `bytes` bytes that lb_container_open
 * and binding look at (columns of sparse terms aside), and whose bytes are there at `file` when `want` has returned true. Stops at anything
 * impossible, which lb_container_open will name. False: want returned false.
 */
typedef bool lb_want_fn(void *user, uint64_t offset, size_t bytes);
bool lb_container_skim(const unsigned char *file, size_t bytes, lb_want_fn *want, void *user);

/* NULL if there is no tensor of that name. */
const lb_tensor *lb_container_find(const lb_container *c, const char *name);

/* A metadata value by key: false if absent or of another type or size. Strings are not NUL-terminated. */
bool lb_meta_find(const lb_container *c, const char *key, unsigned type, const unsigned char **value, size_t *bytes);
bool lb_meta_u64(const lb_container *c, const char *key, uint64_t *out);
bool lb_meta_f64(const lb_container *c, const char *key, double *out);
bool lb_meta_bool(const lb_container *c, const char *key, bool *out);
bool lb_meta_string(const lb_container *c, const char *key, char *out, size_t cap); /* at most cap - 1 bytes, cleaned (lb_utf8_clean) */

/* The model's numbers from META, checked for sanity (sizes that multiply without overflow, divisibility, known enumerators). */
lbrt_status lb_hparams_read(const lb_container *c, lb_hparams *out, lbrt_error *err);

/* The same checks on numbers from anywhere: converters call it before writing. */
lbrt_status lb_hparams_check(const lb_hparams *h, lbrt_error *err);

/* Of them, those of one layer: query, key and value heads fit each other. */
lbrt_status lb_heads_check(uint32_t n_heads, uint32_t n_k, uint32_t n_v, lbrt_error *err);

/* The keys: calls `put` for each number of h, in a fixed order. Shared by the writer and by lbrt-info. */
typedef struct lb_meta_value {
    const char *key;
    unsigned type; /* LB_META_... */
    uint64_t u;
    double f;
    const char *s;
    bool required; /* a reader that does not know the key must refuse the file */
} lb_meta_value;
size_t lb_hparams_list(const lb_hparams *h, lb_meta_value *out, size_t cap); /* at most LB_HPARAMS_KEYS */
enum { LB_HPARAMS_KEYS = 32 };

/* True for metadata keys that this version understands (a required key that is not among them is refused). */
bool lb_meta_known(const char *key, size_t key_bytes);

#endif /* LB_CONTAINER_H */
