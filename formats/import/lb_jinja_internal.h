/*
 * What the files of the Jinja interpreter share. Each uses only those before it: values, scanning, variables,
 * what can be applied to a value, expressions, statements (lb_jinja.c).
 */
#ifndef LB_JINJA_INTERNAL_H
#define LB_JINJA_INTERNAL_H

#include "lb_jinja.h"

enum { JINJA_MAX_STEPS = 200000, JINJA_MAX_BYTES = 4 << 20, JINJA_MAX_DEPTH = 48, JINJA_MAX_VARS = 256, JINJA_MAX_NUMBER = 1000000000 };

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

/* Number in `i` of a JINJA_FUNCTION. */
enum { JINJA_RAISE = 1, JINJA_RANGE, JINJA_MAKE_NAMESPACE, JINJA_NOW };

typedef struct jinja_value jinja_value;
struct jinja_value {
    jinja_type type;
    int64_t i;        /* BOOL, INT (never beyond JINJA_MAX_NUMBER, so that two of them can be multiplied); LIST: number of items; MESSAGE: index; FUNCTION: which */
    const char *text; /* STRING */
    size_t bytes;
    const jinja_value *items; /* LIST */
    struct jinja_var *vars;   /* NAMESPACE */
    const struct jinja_loop *loop; /* LOOP */
};

typedef struct jinja_var {
    const char *name;
    size_t bytes;
    jinja_value value;
    struct jinja_var *next; /* in a namespace */
} jinja_var;

typedef struct jinja_loop {
    int64_t index, count;
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
    const jinja_loop *loop; /* the innermost; from the arena, as a variable may keep it */
    char *out;
    size_t out_bytes, out_cap;
} jinja;

/* ---- lb_jinja_value.c ---- */

extern const jinja_value lb_jinja_undefined;

/*
 * Sets j->status and the message unless something failed before; returns the undefined value. no: what is not
 * here (UNSUPPORTED); bad: what Jinja itself would refuse (FORMAT).
 */
jinja_value lb_jinja_fail(jinja *j, lbrt_status status, const char *what);
jinja_value lb_jinja_no(jinja *j, const char *what);
jinja_value lb_jinja_bad(jinja *j, const char *what);

/* From the rendering's arena; NULL (and a failure) if there is no memory. */
void *lb_jinja_alloc(jinja *j, size_t bytes);

/* text and items are not copied. */
jinja_value lb_jinja_bool(bool b);
jinja_value lb_jinja_int(int64_t i);
jinja_value lb_jinja_string(const char *text, size_t bytes);
jinja_value lb_jinja_list(const jinja_value *items, size_t n);

bool lb_jinja_true(const jinja_value *v);
bool lb_jinja_equal(const jinja_value *a, const jinja_value *b);
/* Counts what goes through a text: a long one, over and over, takes as long as many steps. */
void lb_jinja_work(jinja *j, const jinja_value *v);
bool lb_jinja_contains(jinja *j, const jinja_value *item, const jinja_value *in);
jinja_value lb_jinja_to_string(jinja *j, const jinja_value *v);                    /* as Jinja prints it */
jinja_value lb_jinja_concat(jinja *j, const jinja_value *a, const jinja_value *b); /* of two strings */

/* The first `what` (n bytes) in text, or NULL. */
const char *lb_jinja_find_text(const char *text, size_t bytes, const char *what, size_t n);

/* ---- lb_jinja_scan.c: what takes or measures skips white space first ---- */

void lb_jinja_space(jinja *j);

/* Takes a sign or a word if it comes next; want: fails if it does not. */
bool lb_jinja_take(jinja *j, const char *sign);
bool lb_jinja_take_word(jinja *j, const char *word);
void lb_jinja_want(jinja *j, const char *sign);

/* The length of the name at the cursor, which stays; 0: there is none. */
size_t lb_jinja_name_length(jinja *j);
bool lb_jinja_name_is(const char *name, size_t bytes, const char *word);

/* The string whose quotation mark is at the cursor. */
jinja_value lb_jinja_literal(jinja *j);

/* ---- lb_jinja_vars.c ---- */

/* A variable of the innermost scope. */
void lb_jinja_set(jinja *j, const char *name, size_t bytes, jinja_value value);

/* The latest variable of that name, of those from `from` on; NULL if there is none. */
jinja_var *lb_jinja_find_var(jinja *j, const char *name, size_t bytes, size_t from);

/* What a name stands for: a variable, or what every template has; else undefined. */
jinja_value lb_jinja_lookup(jinja *j, const char *name, size_t bytes);

jinja_value lb_jinja_message_field(const jinja *j, int64_t message, const char *name, size_t bytes);
jinja_value lb_jinja_field(jinja *j, const jinja_value *v, const char *name, size_t bytes);

/* ---- lb_jinja_apply.c ---- */

/* A method of a string; a filter; a test ("is ..."); a call of a JINJA_FUNCTION. */
jinja_value lb_jinja_apply(jinja *j, const char *name, size_t bytes, const jinja_value *v,
                           const jinja_value *args, size_t n_args);
jinja_value lb_jinja_filter(jinja *j, const char *name, size_t bytes, const jinja_value *v,
                            const jinja_value *args, size_t n_args);
bool lb_jinja_test(jinja *j, const char *name, size_t bytes, const jinja_value *v);
jinja_value lb_jinja_call(jinja *j, const jinja_value *f, const jinja_value *args, size_t n_args);

/* ---- lb_jinja_expr.c ---- */

/* Evaluates the expression at j->p, up to what does not belong to it. dead: parses it only. */
jinja_value lb_jinja_expression(jinja *j, bool dead);

/* The same without "a if b else c" on its outside, as in "for x in list if condition". */
jinja_value lb_jinja_unconditional(jinja *j, bool dead);

#endif /* LB_JINJA_INTERNAL_H */
