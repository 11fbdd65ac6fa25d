/* What the two files of the Jinja interpreter share. */
#ifndef LB_JINJA_INTERNAL_H
#define LB_JINJA_INTERNAL_H

#include "lb_jinja.h"

enum { JINJA_MAX_STEPS = 200000, JINJA_MAX_BYTES = 4 << 20, JINJA_MAX_DEPTH = 48, JINJA_MAX_VARS = 256 };

typedef enum jinja_type {
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_MESSAGE,
    JINJA_NAMESPACE,
    JINJA_LOOP,
    JINJA_FUNCTION
} jinja_type;

typedef struct jinja_value jinja_value;
struct jinja_value {
    jinja_type type;
    int64_t i;        /* BOOL, INT; LIST: number of items; MESSAGE: index; FUNCTION: which */
    const char *text; /* STRING */
    size_t bytes;
    const jinja_value *items; /* LIST */
    struct jinja_var *vars;   /* NAMESPACE */
};

typedef struct jinja_var {
    const char *name;
    size_t bytes;
    jinja_value value;
    struct jinja_var *next; /* in a namespace */
} jinja_var;

typedef struct jinja_loop {
    int64_t index, count;
    struct jinja_loop *outer;
    const jinja_value *items;
} jinja_loop;

typedef struct jinja_block {
    struct jinja_block *next;
    size_t bytes;
    size_t filling; /* keeps what follows aligned to 16 */
    size_t filling2;
} jinja_block;

typedef struct jinja {
    const lb_jinja_input *in;
    const lbrt_allocator *a;
    lbrt_error *err;
    lbrt_status status;
    jinja_block *blocks;
    size_t used;
    uint32_t steps, depth;
    const char *p, *end; /* of the expression */
    jinja_var vars[JINJA_MAX_VARS];
    size_t n_vars, frame; /* frame: first variable of the innermost loop */
    jinja_loop *loop;
    char *out;
    size_t out_bytes, out_cap;
} jinja;

/* Sets j->status and the message unless something failed before; returns the undefined value. */
jinja_value lb_jinja_fail(jinja *j, lbrt_status status, const char *what);

/* From the rendering's arena; NULL (and a failure) if there is no memory. */
void *lb_jinja_alloc(jinja *j, size_t bytes);

/* Evaluates the expression at j->p, up to what does not belong to it. dead: parses it only. */
jinja_value lb_jinja_expression(jinja *j, bool dead);

bool lb_jinja_true(const jinja_value *v);
jinja_value lb_jinja_to_string(jinja *j, const jinja_value *v);

/* Takes a sign or a word if it comes next. */
bool lb_jinja_take(jinja *j, const char *sign);
bool lb_jinja_take_word(jinja *j, const char *word);
size_t lb_jinja_name_length(jinja *j);

/* A variable of the innermost scope. */
void lb_jinja_set(jinja *j, const char *name, size_t bytes, jinja_value value);
jinja_var *lb_jinja_find_var(jinja *j, const char *name, size_t bytes, size_t from);

#endif /* LB_JINJA_INTERNAL_H */
