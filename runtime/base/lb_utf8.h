/* UTF-8, as the Unicode Standard's table of well-formed byte sequences has it. */
#ifndef LB_UTF8_H
#define LB_UTF8_H

#include "lb_base.h"

/* What lb_utf8_decode gives for a byte that does not belong to valid UTF-8. */
#define LB_UTF8_INVALID 0x110000u

/*
 * Decodes one code point of s (n >= 1 bytes) and returns its length in bytes. Overlong forms, surrogates,
 * values above U+10FFFF and cut sequences are invalid: then the length is 1 and *cp LB_UTF8_INVALID. Reads
 * at most n bytes.
 */
size_t lb_utf8_decode(const char *s, size_t n, uint32_t *cp);

/* Writes cp (at most U+10FFFF) and returns the number of bytes, at most 4. */
size_t lb_utf8_encode(uint32_t cp, char *out);

/* For texts out of files that people or other programs are to see: what is no UTF-8, and every control code, becomes '?', a byte for a byte. */
void lb_utf8_clean(char *text, size_t bytes);

#endif /* LB_UTF8_H */
