/* A bounded reader: nothing is read that is not there, and a failed read leaves the cursor where it was. */
#ifndef LB_CURSOR_H
#define LB_CURSOR_H

#include "../../runtime/base/lb_base.h"

typedef struct lb_cursor {
    const unsigned char *base, *pos, *end;
} lb_cursor;

/* data may be NULL where bytes is 0 */
static inline lb_cursor lb_cursor_of(const void *data, size_t bytes)
{
    const unsigned char *p = data ? (const unsigned char *)data : (const unsigned char *)"";
    return (lb_cursor){ p, p, p + bytes };
}

static inline size_t lb_cursor_left(const lb_cursor *c)
{
    return (size_t)(c->end - c->pos);
}

/* The next n bytes, or NULL. */
static inline const unsigned char *lb_cursor_take(lb_cursor *c, uint64_t n)
{
    if (n > lb_cursor_left(c)) {
        return NULL;
    }
    const unsigned char *p = c->pos;
    c->pos += n;
    return p;
}

static inline bool lb_read_u8(lb_cursor *c, uint8_t *out)
{
    const unsigned char *p = lb_cursor_take(c, 1);
    if (p) {
        *out = *p;
    }
    return p != NULL;
}

static inline bool lb_read_u16(lb_cursor *c, uint16_t *out)
{
    const unsigned char *p = lb_cursor_take(c, 2);
    if (p) {
        *out = lb_load_u16(p);
    }
    return p != NULL;
}

static inline bool lb_read_u32(lb_cursor *c, uint32_t *out)
{
    const unsigned char *p = lb_cursor_take(c, 4);
    if (p) {
        *out = lb_load_u32(p);
    }
    return p != NULL;
}

static inline bool lb_read_u64(lb_cursor *c, uint64_t *out)
{
    const unsigned char *p = lb_cursor_take(c, 8);
    if (p) {
        *out = lb_load_u64(p);
    }
    return p != NULL;
}

/* Skips to a multiple of the power of two `align`, counted from the beginning. */
static inline bool lb_cursor_align(lb_cursor *c, size_t align)
{
    size_t at = (size_t)(c->pos - c->base);
    return lb_cursor_take(c, lb_round_up(at, align) - at) != NULL;
}

#endif /* LB_CURSOR_H */
