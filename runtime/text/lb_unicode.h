/*
 * Unicode as far as tokenizers need it: UTF-8 (lb_utf8.h), the first letter of the general category, white space, NFC.
 * The version of the tables is in lb_unicode_tables.c.
 */
#ifndef LB_UNICODE_H
#define LB_UNICODE_H

#include "../base/lb_utf8.h"

/* First letter of the general category. Invalid values are OTHER. */
typedef enum lb_unicode_class {
    LB_UC_OTHER = 0, /* C: control, format, surrogate, private use, not assigned */
    LB_UC_LETTER = 1,
    LB_UC_MARK = 2,
    LB_UC_NUMBER = 3,
    LB_UC_PUNCTUATION = 4,
    LB_UC_SYMBOL = 5,
    LB_UC_SEPARATOR = 6
} lb_unicode_class;

lb_unicode_class lb_unicode_class_of(uint32_t cp);

/* Of a letter: Lu or Lt, Ll, or neither (Lm, Lo). */
typedef enum lb_unicode_case { LB_CASE_NEITHER = 0, LB_CASE_UPPER = 1, LB_CASE_LOWER = 2 } lb_unicode_case;
lb_unicode_case lb_unicode_case_of(uint32_t letter);

bool lb_unicode_is_space(uint32_t cp); /* the property White_Space: \s of the pre-tokenizers' patterns */

/* Bytes of white space at the beginning of text or, if `at_end`, at its end: White_Space, for Python (its strip()) also U+001C to U+001F. */
typedef enum lb_space { LB_SPACE_UNICODE, LB_SPACE_PYTHON } lb_space;
size_t lb_unicode_space_run(const char *text, size_t bytes, bool at_end, lb_space kind);

/* A growing string; start with { a } and free with lb_text_free. */
typedef struct lb_text {
    const lbrt_allocator *allocator;
    char *data;
    size_t bytes, cap;
} lb_text;

bool lb_text_reserve(lb_text *t, size_t more); /* room for `more` bytes behind the end; false: no memory */
bool lb_text_add(lb_text *t, const char *data, size_t bytes);
void lb_text_free(lb_text *t);

/* True if NFC may change the text (it surely does not if there is nothing above U+02FF). */
bool lb_unicode_needs_nfc(const char *text, size_t bytes);

/* Appends the NFC form of text; bytes that are not UTF-8 pass as they are. False: no memory. */
bool lb_unicode_nfc(const char *text, size_t bytes, lb_text *out);

/* ---- the tables (lb_unicode_tables.c) ---- */

extern const uint8_t lb_unicode_class_pages[784];
extern const uint64_t lb_unicode_class_blocks[246];
extern const uint32_t lb_unicode_class_starts[90], lb_unicode_ccc_starts[53];
extern const uint8_t lb_unicode_class_runs[1440], lb_unicode_ccc_runs[848], lb_unicode_ccc_values[56];
extern const uint32_t lb_unicode_decomposable[232], lb_unicode_seconds[87];
extern const uint16_t lb_unicode_first[2061];
extern const uint8_t lb_unicode_second[2061];
extern const uint16_t lb_unicode_compositions[941];
extern const uint32_t lb_unicode_backward[27];
extern const uint8_t lb_unicode_case_runs[390];

#endif /* LB_UNICODE_H */
