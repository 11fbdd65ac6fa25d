/*
 * A small JSON reader (RFC 8259) for tokenizer.json, config.json and safetensors headers. Hostile-input safe: depth and size are
 * bounded, memory is proportional to the text.
 */
#ifndef LB_JSON_H
#define LB_JSON_H

#include "../../runtime/base/lb_base.h"

typedef enum lb_json_type {
    LB_JSON_NULL,
    LB_JSON_BOOL,
    LB_JSON_NUMBER,
    LB_JSON_STRING,
    LB_JSON_ARRAY,
    LB_JSON_OBJECT
} lb_json_type;

/* Nodes are stored in document order in one array; a container's children follow it, linked by `next`. */
typedef struct lb_json {
    lb_json_type type;
    bool boolean;
    double number;
    const char *text;         /* strings: unescaped UTF-8, NUL-terminated (may contain NULs too; lone surrogates become U+FFFD) */
    size_t bytes;
    const char *key;          /* of an object's member, NUL-terminated; else NULL */
    size_t key_bytes;
    size_t n_children;
    const struct lb_json *child; /* first child, or NULL */
    const struct lb_json *next;  /* next sibling, or NULL */
} lb_json;

typedef struct lb_json_doc lb_json_doc;

lbrt_status lb_json_parse(const char *text, size_t bytes, const lbrt_allocator *a, lb_json_doc **out, lbrt_error *err);
void lb_json_free(lb_json_doc *doc); /* NULL is allowed */
const lb_json *lb_json_root(const lb_json_doc *doc);

/* Member of an object by name, NULL if absent or if node is NULL or no object. Linear in the number of members. */
const lb_json *lb_json_get(const lb_json *node, const char *key);

/* Convenience, with a default where the node is NULL or of another type. */
double lb_json_number(const lb_json *node, double otherwise);
bool lb_json_bool(const lb_json *node, bool otherwise);
bool lb_json_is(const lb_json *node, const char *text); /* a string equal to text */

#endif /* LB_JSON_H */
