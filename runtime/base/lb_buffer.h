/* Bytes that grow. After a failed allocation a buffer stays failed, so that callers may check once at the end. */
#ifndef LB_BUFFER_H
#define LB_BUFFER_H

#include "lb_base.h"

typedef struct lb_buffer {
    lbrt_allocator a;
    unsigned char *data;
    size_t bytes, cap;
    bool failed;
} lb_buffer;

static inline lb_buffer lb_buffer_new(const lbrt_allocator *a)
{
    return (lb_buffer){ *a, NULL, 0, 0, false };
}

void lb_buffer_free(lb_buffer *b);
void lb_buffer_put(lb_buffer *b, const void *data, size_t bytes);
void lb_buffer_u8(lb_buffer *b, uint8_t v);
void lb_buffer_u16(lb_buffer *b, uint16_t v);
void lb_buffer_u32(lb_buffer *b, uint32_t v);
void lb_buffer_u64(lb_buffer *b, uint64_t v);
void lb_buffer_align(lb_buffer *b, size_t align); /* zeros up to a multiple of the power of two */

#endif /* LB_BUFFER_H */
