/*
 * The ground floor: compiler facts, status and messages, checked arithmetic, bytes.
 * Every other internal header may include this one; it includes only the public header.
 */
#ifndef LB_BASE_H
#define LB_BASE_H

#include "../../include/lbrt.h"

#include <string.h>

#include "../../kernels/lb_compiler.h"

/* ---- status and messages. lb_error is lbrt_error: the caller's, may be NULL. ---- */

/* Formats a sentence, one line of UTF-8 whatever is put into it, into err and returns status. Knows only %s %.*s %d %u %lld %llu %zu %c %x %%. */
lbrt_status lb_fail(lbrt_error *err, lbrt_status status, const char *fmt, ...) LB_PRINTF(3, 4);

/* The same small printf into a buffer; always terminates; returns the length that was written. */
size_t lb_format(char *out, size_t cap, const char *fmt, ...) LB_PRINTF(3, 4);

/* The only two error idioms of the library. */
#define LB_TRY(expr)                             \
    do {                                         \
        lbrt_status lb_try_status_ = (expr);     \
        if (lb_try_status_ != LBRT_OK) {         \
            return lb_try_status_;               \
        }                                        \
    } while (0)
#define LB_FAIL_IF(cond, err, status, ...)             \
    do {                                               \
        if (cond) {                                    \
            return lb_fail((err), (status), __VA_ARGS__); \
        }                                              \
    } while (0)

/* ---- sizes ---- */

static inline bool lb_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool lb_add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool lb_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool lb_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* Rounds n up to a multiple of the power of two `to`; the caller knows that it does not overflow. */
static inline size_t lb_round_up(size_t n, size_t to)
{
    return (n + to - 1) & ~(to - 1);
}

static inline size_t lb_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t lb_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* ---- little-endian loads and stores from any address ---- */

static inline uint16_t lb_load_u16(const void *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t lb_load_u32(const void *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t lb_load_u64(const void *p)
{
    return (uint64_t)lb_load_u32(p) | (uint64_t)lb_load_u32((const unsigned char *)p + 4) << 32;
}

static inline float lb_load_f32(const void *p)
{
    uint32_t u = lb_load_u32(p);
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline void lb_store_u16(void *p, uint16_t v)
{
    unsigned char *b = (unsigned char *)p;
    b[0] = (unsigned char)v;
    b[1] = (unsigned char)(v >> 8);
}

static inline void lb_store_u32(void *p, uint32_t v)
{
    lb_store_u16(p, (uint16_t)v);
    lb_store_u16((unsigned char *)p + 2, (uint16_t)(v >> 16));
}

static inline void lb_store_u64(void *p, uint64_t v)
{
    lb_store_u32(p, (uint32_t)v);
    lb_store_u32((unsigned char *)p + 4, (uint32_t)(v >> 32));
}

/* ---- memory: every allocation goes through an allocator, so that every one can be made to fail ---- */

/* `in` or, if NULL, malloc and free. */
lbrt_allocator lb_allocator_or_default(const lbrt_allocator *in);

/* NULL when it fails or when bytes is 0. 64-byte aligned, not cleared. */
void *lb_alloc(const lbrt_allocator *a, size_t bytes);

/* n * each bytes, cleared; NULL on overflow too. */
void *lb_alloc_zero(const lbrt_allocator *a, size_t n, size_t each);

/* ptr may be NULL; bytes as allocated. */
void lb_free(const lbrt_allocator *a, void *ptr, size_t bytes);

/* XXH64 (the published algorithm, seed 0): the checksum of the container and of saved states. */
uint64_t lb_hash64(const void *data, size_t bytes);

/* The same in pieces. */
typedef struct lb_hash {
    uint64_t acc[4];
    uint64_t total;
    unsigned char held[32]; /* total % 32 bytes not yet taken in */
} lb_hash;

void lb_hash_begin(lb_hash *h);
void lb_hash_add(lb_hash *h, const void *data, size_t bytes);
uint64_t lb_hash_end(const lb_hash *h);

#endif /* LB_BASE_H */
