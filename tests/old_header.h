/* A program compiled with the public header of version 0.1 and linked to this library: see old_header.c. */
#ifndef OLD_HEADER_H
#define OLD_HEADER_H

#include <stddef.h>
#include <stdint.h>

/* A field, a type, or an enumerator (offset holds its number), as a header has it. */
typedef struct header_entry {
    const char *name;
    size_t offset, size;
    int kind; /* of a field: HEADER_KIND */
} header_entry;

/* What a compiled program knows of a field beside its place; pointers and enumerations are told by their size. */
#define HEADER_KIND(x)                                                                                                             \
    _Generic((x), bool: 1, int: 2, uint32_t: 3, uint64_t: 4, float: 5, double: 6, char *: 7, const char *: 8, unsigned char *: 9, \
             const void *: 10, void *: 11, default: 0)
#define HEADER_FIELD(type, field) { #type "." #field, offsetof(type, field), sizeof(((type *)0)->field), HEADER_KIND(((type *)0)->field) },
#define HEADER_SIZE(type) { #type, 0, sizeof(type), 0 },
#define HEADER_NUMBER(name) { #name, (size_t)(name), sizeof(int), 0 },

extern const header_entry old_entries[];

/* Opens a model, generates n tokens from a prompt of three, in every way that 0.1 had; NULL, or what went wrong. */
const char *old_program(const char *path, int32_t *tokens, size_t n);

#endif /* OLD_HEADER_H */
