/* Code points to and from UTF-8, and texts that may be shown. */
#include "lb_utf8.h"

size_t lb_utf8_decode(const char *s, size_t n, uint32_t *cp)
{
    const unsigned char *p = (const unsigned char *)s;
    const uint32_t c = p[0];
    if (c < 0x80) {
        *cp = c;
        return 1;
    }
    if (c >= 0xc2 && c < 0xe0 && n >= 2 && (p[1] & 0xc0) == 0x80) {
        *cp = (c & 31) << 6 | (p[1] & 63u);
        return 2;
    }
    if (c >= 0xe0 && c < 0xf0 && n >= 3 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80) {
        *cp = (c & 15) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u);
        if (*cp >= 0x800 && (*cp < 0xd800 || *cp > 0xdfff)) {
            return 3;
        }
    } else if (c >= 0xf0 && c < 0xf5 && n >= 4 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80 &&
               (p[3] & 0xc0) == 0x80) {
        *cp = (c & 7) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u);
        if (*cp >= 0x10000 && *cp < 0x110000) {
            return 4;
        }
    }
    *cp = LB_UTF8_INVALID;
    return 1;
}

size_t lb_utf8_encode(uint32_t cp, char *out)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 63));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 63));
        out[2] = (char)(0x80 | (cp & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 63));
    out[2] = (char)(0x80 | (cp >> 6 & 63));
    out[3] = (char)(0x80 | (cp & 63));
    return 4;
}

void lb_utf8_clean(char *text, size_t bytes)
{
    uint32_t cp;
    for (size_t i = 0, n; i < bytes; i += n) {
        n = lb_utf8_decode(text + i, bytes - i, &cp);
        if (cp == LB_UTF8_INVALID || cp < 32 || (cp >= 127 && cp < 160)) {
            memset(text + i, '?', n);
        }
    }
}
