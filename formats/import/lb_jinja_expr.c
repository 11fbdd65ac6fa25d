/*
 * The expressions of Jinja, by recursive descent. `dead` ones (short circuits, branches not taken) are
 * parsed but not evaluated.
 */
#include "lb_jinja_internal.h"

/* Arguments up to the closing bracket; name = value pairs go into `into` if it is there. */
static size_t jinja_arguments(jinja *j, jinja_value args[8], jinja_var *into, bool dead)
{
    size_t n = 0;
    while (j->status == LBRT_OK && !lb_jinja_take(j, ")")) {
        const char *start = j->p;
        const size_t name_bytes = lb_jinja_name_length(j);
        const char *name = j->p;
        j->p += name_bytes;
        const bool named = name_bytes && lb_jinja_take(j, "=");
        if (!named) {
            j->p = start;
        }
        const jinja_value v = lb_jinja_expression(j, dead);
        if (named && into && !dead) {
            jinja_var *var = lb_jinja_alloc(j, sizeof *var);
            if (var) {
                var->name = name;
                var->bytes = name_bytes;
                var->value = v;
                var->next = into->next;
                into->next = var;
            }
        } else if (!named && n < 8) {
            args[n++] = v;
        } else if (!dead) {
            lb_jinja_no(j, "arguments of a call are not known");
        }
        if (!lb_jinja_take(j, ",")) {
            lb_jinja_want(j, ")");
            break;
        }
    }
    return n;
}

/* What follows the first of several values up to the bracket; `first` is NULL if it is still to come. */
static jinja_value jinja_items(jinja *j, const jinja_value *first, const char *close, bool dead)
{
    jinja_value items[16];
    size_t n = 0;
    if (first) {
        items[n++] = *first;
    }
    while (j->status == LBRT_OK && !lb_jinja_take(j, close)) {
        const jinja_value v = lb_jinja_expression(j, dead);
        if (n == 16) {
            return lb_jinja_no(j, "a long list");
        }
        items[n++] = v;
        if (!lb_jinja_take(j, ",")) {
            lb_jinja_want(j, close);
            break;
        }
    }
    jinja_value *copy = lb_jinja_alloc(j, (n + 1) * sizeof *copy);
    if (copy && n) {
        memcpy(copy, items, n * sizeof *copy);
    }
    return copy ? lb_jinja_list(copy, n) : lb_jinja_undefined;
}

static jinja_value jinja_primary(jinja *j, bool dead)
{
    lb_jinja_space(j);
    if (j->p >= j->end) {
        return lb_jinja_no(j, "an expression is missing");
    }
    if (*j->p == '\'' || *j->p == '"') {
        return lb_jinja_literal(j);
    }
    if (*j->p >= '0' && *j->p <= '9') {
        int64_t v = 0;
        while (j->p < j->end && *j->p >= '0' && *j->p <= '9') {
            v = v * 10 + (*j->p++ - '0');
            if (v > JINJA_MAX_NUMBER) {
                return lb_jinja_no(j, "a large number");
            }
        }
        return lb_jinja_int(v);
    }
    if (lb_jinja_take(j, "(")) {
        const jinja_value v = lb_jinja_expression(j, dead);
        if (lb_jinja_take(j, ",")) { // a tuple, which is a list to all that is here
            return jinja_items(j, &v, ")", dead);
        }
        lb_jinja_want(j, ")");
        return v;
    }
    if (lb_jinja_take(j, "[")) {
        return jinja_items(j, NULL, "]", dead);
    }
    const size_t n = lb_jinja_name_length(j);
    if (!n) {
        return lb_jinja_no(j, "an expression is not understood");
    }
    const char *name = j->p;
    j->p += n;
    if (lb_jinja_name_is(name, n, "true") || lb_jinja_name_is(name, n, "True")) {
        return lb_jinja_bool(true);
    }
    if (lb_jinja_name_is(name, n, "false") || lb_jinja_name_is(name, n, "False")) {
        return lb_jinja_bool(false);
    }
    if (lb_jinja_name_is(name, n, "none") || lb_jinja_name_is(name, n, "None")) {
        jinja_value v = lb_jinja_undefined;
        v.type = JINJA_NONE;
        return v;
    }
    return dead ? lb_jinja_undefined : lb_jinja_lookup(j, name, n);
}

/* v[from:to:step] or v[index], behind the bracket. */
static jinja_value jinja_subscript(jinja *j, const jinja_value *v, bool dead)
{
    jinja_value part[3] = { lb_jinja_undefined, lb_jinja_undefined, lb_jinja_undefined };
    int at = 0;
    bool slice = false;
    while (j->status == LBRT_OK && !lb_jinja_take(j, "]")) {
        if (lb_jinja_take(j, ":")) {
            slice = true;
            if (++at > 2) {
                return lb_jinja_no(j, "a slice");
            }
            continue;
        }
        part[at] = lb_jinja_expression(j, dead);
    }
    if (dead || j->status != LBRT_OK) {
        return lb_jinja_undefined;
    }
    const int64_t n = v->type == JINJA_LIST ? v->i : v->type == JINJA_STRING ? (int64_t)v->bytes : 0;
    if (!slice) {
        if (part[0].type == JINJA_STRING) {
            return lb_jinja_field(j, v, part[0].text, part[0].bytes);
        }
        if (v->type == JINJA_UNDEFINED) {
            return lb_jinja_bad(j, "an index of something undefined");
        }
        if (part[0].type != JINJA_INT || v->type == JINJA_STRING) {
            return lb_jinja_no(j, "an index");
        }
        if (v->type != JINJA_LIST) {
            return lb_jinja_undefined;
        }
        const int64_t i = part[0].i < 0 ? part[0].i + n : part[0].i;
        return i >= 0 && i < n ? v->items[i] : lb_jinja_undefined;
    }
    const int64_t step = part[2].type == JINJA_INT ? part[2].i : 1;
    if (v->type != JINJA_LIST || (step != 1 && step != -1) ||
        (step == -1 && (part[0].type == JINJA_INT || part[1].type == JINJA_INT))) {
        return lb_jinja_no(j, "a slice");
    }
    int64_t from = part[0].type == JINJA_INT ? part[0].i : 0, to = part[1].type == JINJA_INT ? part[1].i : n;
    from = from < 0 ? (from + n < 0 ? 0 : from + n) : from > n ? n : from;
    to = to < 0 ? to + n : to > n ? n : to;
    const int64_t count = to > from ? to - from : 0;
    jinja_value *items = lb_jinja_alloc(j, ((size_t)count + 1) * sizeof *items);
    for (int64_t i = 0; items && i < count; i++) {
        items[i] = v->items[step == 1 ? from + i : n - 1 - i];
    }
    return items ? lb_jinja_list(items, (size_t)count) : lb_jinja_undefined;
}

/* .name, .method(...), [index], (...) */
static jinja_value jinja_postfix(jinja *j, bool dead)
{
    jinja_value v = jinja_primary(j, dead);
    jinja_value args[8];
    while (j->status == LBRT_OK) {
        if (lb_jinja_take(j, ".")) {
            const size_t n = lb_jinja_name_length(j);
            const char *name = j->p;
            j->p += n;
            if (!n) {
                return lb_jinja_no(j, "a field has no name");
            }
            if (!lb_jinja_take(j, "(")) {
                v = dead ? lb_jinja_undefined : lb_jinja_field(j, &v, name, n);
                continue;
            }
            const size_t n_args = jinja_arguments(j, args, NULL, dead);
            if (!dead && j->status == LBRT_OK) {
                const bool get = v.type == JINJA_MESSAGE && lb_jinja_name_is(name, n, "get") && n_args &&
                                 args[0].type == JINJA_STRING;
                if (get) {
                    v = lb_jinja_message_field(j, v.i, args[0].text, args[0].bytes);
                    if (v.type == JINJA_UNDEFINED && n_args > 1) {
                        v = args[1];
                    } else if (v.type == JINJA_UNDEFINED) {
                        v.type = JINJA_NONE;
                    }
                } else {
                    v = lb_jinja_apply(j, name, n, &v, args, n_args);
                }
            }
        } else if (lb_jinja_take(j, "[")) {
            v = jinja_subscript(j, &v, dead);
        } else if (lb_jinja_take(j, "(")) {
            jinja_var *into = !dead && v.type == JINJA_FUNCTION && v.i == JINJA_MAKE_NAMESPACE
                                  ? lb_jinja_alloc(j, sizeof *into)
                                  : NULL;
            if (into) {
                memset(into, 0, sizeof *into);
            }
            const size_t n_args = jinja_arguments(j, args, into, dead);
            if (into) {
                v = lb_jinja_undefined;
                v.type = JINJA_NAMESPACE;
                v.vars = into;
            } else if (!dead && j->status == LBRT_OK) {
                v = lb_jinja_call(j, &v, args, n_args);
            }
        } else {
            break;
        }
    }
    return v;
}

/* Behind "is". */
static jinja_value jinja_tested(jinja *j, const jinja_value *v, bool dead)
{
    const bool negate = lb_jinja_take_word(j, "not");
    const size_t n = lb_jinja_name_length(j);
    const char *name = j->p;
    j->p += n;
    const bool yes = lb_jinja_test(j, name, n, v);
    return dead || j->status != LBRT_OK ? lb_jinja_undefined : lb_jinja_bool(yes != negate);
}

/* Filters and tests bind tighter than any operator but a minus sign. */
static jinja_value jinja_filtered(jinja *j, jinja_value v, bool dead)
{
    jinja_value args[8];
    while (j->status == LBRT_OK) {
        if (lb_jinja_take(j, "|")) {
            const size_t n = lb_jinja_name_length(j);
            const char *name = j->p;
            j->p += n;
            const size_t n_args = lb_jinja_take(j, "(") ? jinja_arguments(j, args, NULL, dead) : 0;
            if (!dead && j->status == LBRT_OK) {
                v = lb_jinja_filter(j, name, n, &v, args, n_args);
            }
        } else if (lb_jinja_take_word(j, "is")) {
            v = jinja_tested(j, &v, dead);
        } else {
            break;
        }
    }
    return v;
}

static bool jinja_is_number(const jinja_value *v)
{
    return v->type == JINJA_INT || v->type == JINJA_BOOL;
}

/* The result of arithmetic. */
static jinja_value jinja_number(jinja *j, int64_t i)
{
    return i > JINJA_MAX_NUMBER || i < -(int64_t)JINJA_MAX_NUMBER ? lb_jinja_no(j, "a large number") : lb_jinja_int(i);
}

static jinja_value jinja_repeat(jinja *j, const jinja_value *text, int64_t times)
{
    const size_t n = times > 0 ? (size_t)times : 0;
    if (text->bytes && n > JINJA_MAX_BYTES / text->bytes) {
        return lb_jinja_no(j, "a text repeated too often");
    }
    char *out = lb_jinja_alloc(j, n * text->bytes + 1);
    for (size_t i = 0; out && text->bytes && i < n; i++) {
        memcpy(out + i * text->bytes, text->text, text->bytes);
    }
    return out ? lb_jinja_string(out, n * text->bytes) : lb_jinja_undefined;
}

static jinja_value jinja_unary(jinja *j, bool dead)
{
    bool signs = false, negative = false;
    while (lb_jinja_take(j, "-")) {
        signs = true;
        negative = !negative;
    }
    jinja_value v = jinja_postfix(j, dead);
    if (signs && !dead && j->status == LBRT_OK) {
        v = jinja_is_number(&v) ? lb_jinja_int(negative ? -v.i : v.i) : lb_jinja_bad(j, "minus something that is no number");
    }
    return jinja_filtered(j, v, dead);
}

static jinja_value jinja_product(jinja *j, bool dead)
{
    jinja_value v = jinja_unary(j, dead);
    while (j->status == LBRT_OK) {
        const bool modulo = lb_jinja_take(j, "%"), times = !modulo && lb_jinja_take(j, "*"),
                   over = !modulo && !times && lb_jinja_take(j, "//");
        if (!modulo && !times && !over) {
            break;
        }
        const jinja_value b = jinja_unary(j, dead);
        if (dead || j->status != LBRT_OK) {
            continue;
        }
        const bool first = v.type == JINJA_STRING && jinja_is_number(&b), second = b.type == JINJA_STRING && jinja_is_number(&v);
        if (times && (first || second)) {
            v = jinja_repeat(j, first ? &v : &b, first ? b.i : v.i);
            continue;
        }
        if ((times && (v.type == JINJA_LIST || b.type == JINJA_LIST)) || (modulo && v.type == JINJA_STRING)) {
            return lb_jinja_no(j, "a list that is repeated, or a text that is a format");
        }
        if (!jinja_is_number(&v) || !jinja_is_number(&b) || (!times && b.i == 0)) {
            return lb_jinja_bad(j, "arithmetic of something that is no number");
        }
        if (times) {
            v = jinja_number(j, v.i * b.i);
        } else { // rounded down, as Python does
            const int64_t rest = v.i % b.i, down = rest != 0 && (rest < 0) != (b.i < 0);
            v = lb_jinja_int(modulo ? rest + down * b.i : v.i / b.i - down);
        }
    }
    return v;
}

static jinja_value jinja_tilde(jinja *j, bool dead)
{
    jinja_value v = jinja_product(j, dead);
    while (j->status == LBRT_OK && lb_jinja_take(j, "~")) {
        const jinja_value b = jinja_product(j, dead);
        if (!dead && j->status == LBRT_OK) {
            const jinja_value x = lb_jinja_to_string(j, &v), y = lb_jinja_to_string(j, &b);
            v = j->status == LBRT_OK ? lb_jinja_concat(j, &x, &y) : lb_jinja_undefined;
        }
    }
    return v;
}

static jinja_value jinja_sum(jinja *j, bool dead)
{
    jinja_value v = jinja_tilde(j, dead);
    while (j->status == LBRT_OK) {
        const bool plus = lb_jinja_take(j, "+"), minus = !plus && lb_jinja_take(j, "-");
        if (!plus && !minus) {
            break;
        }
        const jinja_value b = jinja_tilde(j, dead);
        if (dead || j->status != LBRT_OK) {
            continue;
        }
        if (plus && v.type == JINJA_STRING && b.type == JINJA_STRING) {
            v = lb_jinja_concat(j, &v, &b);
        } else if (plus && v.type == JINJA_LIST && b.type == JINJA_LIST) {
            const size_t n = (size_t)v.i, m = (size_t)b.i;
            jinja_value *items = lb_jinja_alloc(j, (n + m + 1) * sizeof *items);
            if (!items) {
                return lb_jinja_undefined;
            }
            if (n) {
                memcpy(items, v.items, n * sizeof *items);
            }
            if (m) {
                memcpy(items + n, b.items, m * sizeof *items);
            }
            v = lb_jinja_list(items, n + m);
        } else if (jinja_is_number(&v) && jinja_is_number(&b)) {
            v = jinja_number(j, plus ? v.i + b.i : v.i - b.i);
        } else {
            return lb_jinja_bad(j, "a sum of things that do not add");
        }
    }
    return v;
}

/* Which of two comes first: below, above or 0. Texts go by code points, whose order is that of their UTF-8. */
static int jinja_order(jinja *j, const jinja_value *a, const jinja_value *b)
{
    if (jinja_is_number(a) && jinja_is_number(b)) {
        return (a->i > b->i) - (a->i < b->i);
    }
    if (a->type == JINJA_STRING && b->type == JINJA_STRING) {
        const size_t n = lb_min(a->bytes, b->bytes);
        const int order = n ? memcmp(a->text, b->text, n) : 0;
        return order ? order : (a->bytes > b->bytes) - (a->bytes < b->bytes);
    }
    if (a->type == JINJA_LIST && b->type == JINJA_LIST) {
        lb_jinja_no(j, "the order of lists");
    } else {
        lb_jinja_bad(j, "a comparison of things without order");
    }
    return 0;
}

/* a < b == c is true if both are; c is not evaluated if a < b is false. */
static jinja_value jinja_comparison(jinja *j, bool dead)
{
    static const char *const signs[] = { "==", "!=", "<=", ">=", "<", ">" };
    jinja_value left = jinja_sum(j, dead), v = left;
    while (j->status == LBRT_OK) {
        int op = -1;
        for (int i = 0; op < 0 && i < 6; i++) {
            op = lb_jinja_take(j, signs[i]) ? i : -1;
        }
        if (op < 0 && lb_jinja_take_word(j, "in")) {
            op = 6;
        } else if (op < 0) {
            const char *start = j->p;
            if (lb_jinja_take_word(j, "not") && lb_jinja_take_word(j, "in")) {
                op = 7;
            } else {
                j->p = start;
                break;
            }
        }
        const jinja_value b = jinja_sum(j, dead);
        if (dead || j->status != LBRT_OK) {
            continue;
        }
        if (op <= 1) {
            v = lb_jinja_bool(lb_jinja_equal(&left, &b) == (op == 0));
        } else if (op >= 6) {
            v = lb_jinja_bool(lb_jinja_contains(j, &left, &b) == (op == 6));
        } else {
            const int order = jinja_order(j, &left, &b);
            v = lb_jinja_bool(op == 2 ? order <= 0 : op == 3 ? order >= 0 : op == 4 ? order < 0 : order > 0);
        }
        left = b;
        dead = dead || !lb_jinja_true(&v);
    }
    return v;
}

static jinja_value jinja_not(jinja *j, bool dead)
{
    bool negate = false, any = false;
    while (lb_jinja_take_word(j, "not")) {
        negate = !negate;
        any = true;
    }
    const jinja_value v = jinja_comparison(j, dead);
    return any ? lb_jinja_bool(lb_jinja_true(&v) != negate) : v;
}

static jinja_value jinja_and(jinja *j, bool dead)
{
    jinja_value v = jinja_not(j, dead);
    while (j->status == LBRT_OK && lb_jinja_take_word(j, "and")) {
        const bool skip = !lb_jinja_true(&v);
        const jinja_value b = jinja_not(j, dead || skip);
        v = skip ? v : b;
    }
    return v;
}

jinja_value lb_jinja_unconditional(jinja *j, bool dead)
{
    jinja_value v = jinja_and(j, dead);
    while (j->status == LBRT_OK && lb_jinja_take_word(j, "or")) {
        const bool skip = lb_jinja_true(&v);
        const jinja_value b = jinja_and(j, dead || skip);
        v = skip ? v : b;
    }
    return v;
}

jinja_value lb_jinja_expression(jinja *j, bool dead)
{
    if (++j->depth > JINJA_MAX_DEPTH || ++j->steps > JINJA_MAX_STEPS) {
        j->depth--;
        return lb_jinja_no(j, "it is too deep or too long");
    }
    // "a if condition else b": a is parsed before the condition is known, and again if it holds.
    const char *start = j->p;
    jinja_value v = lb_jinja_unconditional(j, true);
    if (j->status == LBRT_OK && lb_jinja_take_word(j, "if")) {
        const jinja_value condition = lb_jinja_unconditional(j, dead);
        const bool yes = lb_jinja_true(&condition);
        jinja_value otherwise = lb_jinja_undefined;
        if (lb_jinja_take_word(j, "else")) {
            otherwise = lb_jinja_expression(j, dead || yes);
        }
        const char *behind = j->p;
        if (yes && !dead && j->status == LBRT_OK) {
            j->p = start;
            v = lb_jinja_unconditional(j, false);
            j->p = behind;
        } else {
            v = otherwise;
        }
    } else if (!dead && j->status == LBRT_OK) {
        j->p = start;
        v = lb_jinja_unconditional(j, false);
    }
    j->depth--;
    return v;
}
