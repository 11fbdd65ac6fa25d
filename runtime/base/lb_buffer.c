/* Bytes that grow. */
#include "lb_buffer.h"

void lb_buffer_free(lb_buffer *b)
{
    lb_free(&b->a, b->data, b->cap);
    b->data = NULL;
    b->bytes = b->cap = 0;
}

void lb_buffer_put(lb_buffer *b, const void *data, size_t bytes)
{
    size_t needed;
    if (b->failed || !lb_add_size(b->bytes, bytes, &needed)) {
        b->failed = true;
        return;
    }
    if (needed > b->cap) {
        size_t cap = lb_max(lb_max(needed, b->cap + b->cap / 2), 256);
        unsigned char *grown = (unsigned char *)lb_alloc(&b->a, cap);
        if (!grown) {
            b->failed = true;
            return;
        }
        if (b->bytes) {
            memcpy(grown, b->data, b->bytes);
        }
        lb_free(&b->a, b->data, b->cap);
        b->data = grown;
        b->cap = cap;
    }
    if (bytes) {
        memcpy(b->data + b->bytes, data, bytes);
    }
    b->bytes = needed;
}

void lb_buffer_u8(lb_buffer *b, uint8_t v)
{
    lb_buffer_put(b, &v, 1);
}

void lb_buffer_u16(lb_buffer *b, uint16_t v)
{
    unsigned char raw[2];
    lb_store_u16(raw, v);
    lb_buffer_put(b, raw, sizeof raw);
}

void lb_buffer_u32(lb_buffer *b, uint32_t v)
{
    unsigned char raw[4];
    lb_store_u32(raw, v);
    lb_buffer_put(b, raw, sizeof raw);
}

void lb_buffer_u64(lb_buffer *b, uint64_t v)
{
    unsigned char raw[8];
    lb_store_u64(raw, v);
    lb_buffer_put(b, raw, sizeof raw);
}

void lb_buffer_align(lb_buffer *b, size_t align)
{
    while (b->bytes % align && !b->failed) {
        lb_buffer_u8(b, 0);
    }
}
