/* XXH64 by its published specification, seed 0. Reads about as fast as memory delivers. */
#include "lb_base.h"

#define XXH_P1 0x9e3779b185ebca87ull
#define XXH_P2 0xc2b2ae3d27d4eb4full
#define XXH_P3 0x165667b19e3779f9ull
#define XXH_P4 0x85ebca77c2b2ae63ull
#define XXH_P5 0x27d4eb2f165667c5ull

static inline uint64_t xxh_rotl(uint64_t x, unsigned r)
{
    return x << r | x >> (64 - r);
}

static inline uint64_t xxh_round(uint64_t acc, uint64_t lane)
{
    return xxh_rotl(acc + lane * XXH_P2, 31) * XXH_P1;
}

static const unsigned char *xxh_stripes(uint64_t acc[4], const unsigned char *p, size_t n)
{
    for (; n; n--, p += 32) {
        for (unsigned i = 0; i < 4; i++) {
            acc[i] = xxh_round(acc[i], lb_load_u64(p + 8 * i));
        }
    }
    return p;
}

void lb_hash_begin(lb_hash *h)
{
    *h = (lb_hash){ .acc = { XXH_P1 + XXH_P2, XXH_P2, 0, 0 - XXH_P1 } };
}

void lb_hash_add(lb_hash *h, const void *data, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    size_t held = (size_t)(h->total % 32);
    h->total += bytes;
    if (held) {
        size_t n = lb_min(bytes, 32 - held);
        memcpy(h->held + held, p, n);
        p += n;
        bytes -= n;
        if (held + n < 32) {
            return;
        }
        xxh_stripes(h->acc, h->held, 1);
    }
    p = xxh_stripes(h->acc, p, bytes / 32);
    if (bytes % 32) {
        memcpy(h->held, p, bytes % 32);
    }
}

uint64_t lb_hash_end(const lb_hash *state)
{
    const uint64_t *acc = state->acc;
    uint64_t h = XXH_P5;
    if (state->total >= 32) {
        h = xxh_rotl(acc[0], 1) + xxh_rotl(acc[1], 7) + xxh_rotl(acc[2], 12) + xxh_rotl(acc[3], 18);
        for (unsigned i = 0; i < 4; i++) {
            h = (h ^ xxh_round(0, acc[i])) * XXH_P1 + XXH_P4;
        }
    }
    h += state->total;
    const unsigned char *p = state->held;
    size_t left = (size_t)(state->total % 32);
    for (; left >= 8; left -= 8, p += 8) {
        h = xxh_rotl(h ^ xxh_round(0, lb_load_u64(p)), 27) * XXH_P1 + XXH_P4;
    }
    if (left >= 4) {
        h = xxh_rotl(h ^ lb_load_u32(p) * XXH_P1, 23) * XXH_P2 + XXH_P3;
        p += 4;
        left -= 4;
    }
    for (; left; left--, p++) {
        h = xxh_rotl(h ^ *p * XXH_P5, 11) * XXH_P1;
    }
    h = (h ^ h >> 33) * XXH_P2;
    h = (h ^ h >> 29) * XXH_P3;
    return h ^ h >> 32;
}

uint64_t lb_hash64(const void *data, size_t bytes)
{
    lb_hash h;
    lb_hash_begin(&h);
    lb_hash_add(&h, data, bytes);
    return lb_hash_end(&h);
}
