/*
 * A small JSON reader (RFC 8259) for tokenizer.json, config.json and safetensors headers. Hostile-input safe:
 * depth and size are bounded, memory is proportional to the text.
 *
 * Strict: UTF-8 only (a byte-order mark at the start is skipped), no comments, no trailing commas, no NaN,
 * nothing after the value. At most LB_JSON_MAX_DEPTH containers inside each other. Numbers of up to 15 digits
 * with a power of ten within +-22 are correctly rounded whatever the locale, others are off by an ulp at
 * most; one that is too large is infinite.
 */
#ifndef LB_JSON_H
#define LB_JSON_H

#include "../../runtime/base/lb_base.h"

#define LB_JSON_MAX_DEPTH 64u

typedef enum lb_json_type {
    LB_JSON_NULL,
    LB_JSON_BOOL,
    LB_JSON_NUMBER,
    LB_JSON_STRING,
    LB_JSON_ARRAY,
    LB_JSON_OBJECT
} lb_json_type;

/*
 * Nodes live as long as their document; a container's children are linked by `next`, in the order of the
 * text.
 */
typedef struct lb_json {
    lb_json_type type;
    bool boolean;
    double number;
    const char *text;         /* strings: unescaped UTF-8, NUL-terminated (may contain NULs too; lone
                                 surrogates become U+FFFD) */
    size_t bytes;
    const char *key;          /* of an object's member, NUL-terminated; else NULL */
    size_t key_bytes;
    size_t n_children;
    const struct lb_json *child; /* first child, or NULL */
    const struct lb_json *next;  /* next sibling, or NULL */
} lb_json;

typedef struct lb_json_doc lb_json_doc;

/* text may be freed afterwards. Errors: FORMAT (the sentence says at which byte), MEMORY. */
lbrt_status lb_json_parse(const char *text, size_t bytes, const lbrt_allocator *a, lb_json_doc **out,
                          lbrt_error *err);
void lb_json_free(lb_json_doc *doc); /* NULL is allowed */
const lb_json *lb_json_root(const lb_json_doc *doc);

/*
 * Member of an object by name, NULL if absent or if node is NULL or no object. Linear in the number of
 * members. Of members with the same name it is the first.
 */
const lb_json *lb_json_get(const lb_json *node, const char *key);

/* Convenience, with a default where the node is NULL or of another type. */
double lb_json_number(const lb_json *node, double otherwise);
bool lb_json_bool(const lb_json *node, bool otherwise);
bool lb_json_is(const lb_json *node, const char *text); /* a string equal to text */

/* True if node is a whole number of 0 .. max, which it then writes to *out. */
bool lb_json_uint(const lb_json *node, uint64_t max, uint64_t *out);

#endif /* LB_JSON_H */
