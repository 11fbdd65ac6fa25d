/*
 * The expressions of Jinja, by recursive descent. `dead` ones (short circuits, branches not taken) are
 * parsed but not evaluated. All values live in an arena that the rendering frees.
 */
#include "lb_jinja_internal.h"

static const jinja_value jinja_undefined = { JINJA_UNDEFINED, 0, NULL, 0, NULL, NULL };

jinja_value lb_jinja_fail(jinja *j, lbrt_status status, const char *what)
{
    if (j->status == LBRT_OK) {
        j->status = lb_fail(j->err, status, "chat template: %s", what);
    }
    return jinja_undefined;
}

static jinja_value jinja_no(jinja *j, const char *what)
{
    return lb_jinja_fail(j, LBRT_ERR_UNSUPPORTED, what);
}

/* An operation that Jinja itself would refuse. */
static jinja_value jinja_bad(jinja *j, const char *what)
{
    return lb_jinja_fail(j, LBRT_ERR_FORMAT, what);
}

void *lb_jinja_alloc(jinja *j, size_t bytes)
{
    if (bytes > JINJA_MAX_BYTES || j->used + bytes > JINJA_MAX_BYTES) {
        jinja_no(j, "it needs too much memory");
        return NULL;
    }
    jinja_block *block = lb_alloc(j->a, sizeof *block + bytes);
    if (!block) {
        lb_jinja_fail(j, LBRT_ERR_MEMORY, "out of memory");
        return NULL;
    }
    block->next = j->blocks;
    block->bytes = bytes;
    j->blocks = block;
    j->used += bytes + sizeof *block;
    return block + 1;
}

/* ---------------------------------------------------------------- values */

static jinja_value jinja_bool(bool b)
{
    jinja_value v = jinja_undefined;
    v.type = JINJA_BOOL;
    v.i = b;
    return v;
}

static jinja_value jinja_int(int64_t i)
{
    jinja_value v = jinja_undefined;
    v.type = JINJA_INT;
    v.i = i;
    return v;
}

static jinja_value jinja_string(const char *text, size_t bytes)
{
    jinja_value v = jinja_undefined;
    v.type = JINJA_STRING;
    v.text = text;
    v.bytes = bytes;
    return v;
}

static jinja_value jinja_list(const jinja_value *items, size_t n)
{
    jinja_value v = jinja_undefined;
    v.type = JINJA_LIST;
    v.items = items;
    v.i = (int64_t)n;
    return v;
}

bool lb_jinja_true(const jinja_value *v)
{
    switch (v->type) {
    case JINJA_UNDEFINED:
    case JINJA_NONE: return false;
    case JINJA_BOOL:
    case JINJA_INT:
    case JINJA_LIST: return v->i != 0;
    case JINJA_STRING: return v->bytes != 0;
    default: return true;
    }
}

static bool jinja_equal(const jinja_value *a, const jinja_value *b)
{
    const bool numbers =
        (a->type == JINJA_BOOL || a->type == JINJA_INT) && (b->type == JINJA_BOOL || b->type == JINJA_INT);
    if (numbers) {
        return a->i == b->i;
    }
    if (a->type != b->type) {
        return false;
    }
    if (a->type == JINJA_STRING) {
        return a->bytes == b->bytes && (!a->bytes || memcmp(a->text, b->text, a->bytes) == 0);
    }
    if (a->type == JINJA_LIST) {
        bool same = a->i == b->i;
        for (int64_t i = 0; same && i < a->i; i++) {
            same = a->items[i].type != JINJA_LIST && jinja_equal(&a->items[i], &b->items[i]);
        }
        return same;
    }
    return a->type == JINJA_MESSAGE ? a->i == b->i : a->type == JINJA_NONE || a->type == JINJA_UNDEFINED;
}

static bool jinja_is(const jinja_value *v, const char *text)
{
    return v->type == JINJA_STRING && v->bytes == strlen(text) && memcmp(v->text, text, v->bytes) == 0;
}

static const char *jinja_find_text(const char *text, size_t bytes, const char *what, size_t n)
{
    for (size_t i = 0; n <= bytes && i <= bytes - n; i++) {
        if (memcmp(text + i, what, n) == 0) {
            return text + i;
        }
    }
    return NULL;
}

/* As Jinja prints it. */
jinja_value lb_jinja_to_string(jinja *j, const jinja_value *v)
{
    switch (v->type) {
    case JINJA_STRING: return *v;
    case JINJA_UNDEFINED: return jinja_string("", 0);
    case JINJA_NONE: return jinja_string("None", 4);
    case JINJA_BOOL: return v->i ? jinja_string("True", 4) : jinja_string("False", 5);
    case JINJA_INT: {
        char *text = lb_jinja_alloc(j, 24);
        return text ? jinja_string(text, lb_format(text, 24, "%lld", (long long)v->i)) : jinja_undefined;
    }
    default: return jinja_no(j, "it prints something that is not text");
    }
}

static jinja_value jinja_concat(jinja *j, const jinja_value *a, const jinja_value *b)
{
    char *text = lb_jinja_alloc(j, a->bytes + b->bytes + 1);
    if (!text) {
        return jinja_undefined;
    }
    memcpy(text, a->text, a->bytes);
    memcpy(text + a->bytes, b->text, b->bytes);
    return jinja_string(text, a->bytes + b->bytes);
}

/* ---------------------------------------------------------------- scanning expressions */

static bool jinja_is_name(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

static void jinja_space(jinja *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\t' || *j->p == '\r')) {
        j->p++;
    }
}

/* Takes a sign such as "==" if it comes next. */
bool lb_jinja_take(jinja *j, const char *sign)
{
    jinja_space(j);
    const size_t n = strlen(sign);
    if ((size_t)(j->end - j->p) < n || memcmp(j->p, sign, n) != 0) {
        return false;
    }
    if (n == 1 && (sign[0] == '<' || sign[0] == '>' || sign[0] == '=') && j->end - j->p > 1 &&
        j->p[1] == '=') {
        return false;
    }
    j->p += n;
    return true;
}

size_t lb_jinja_name_length(jinja *j)
{
    jinja_space(j);
    size_t n = 0;
    while (j->p + n < j->end && jinja_is_name(j->p[n], n == 0)) {
        n++;
    }
    return n;
}

bool lb_jinja_take_word(jinja *j, const char *word)
{
    const size_t n = lb_jinja_name_length(j);
    if (n != strlen(word) || memcmp(j->p, word, n) != 0) {
        return false;
    }
    j->p += n;
    return true;
}

static void jinja_want(jinja *j, const char *sign)
{
    if (!lb_jinja_take(j, sign)) {
        jinja_no(j, "its syntax is not understood");
    }
}

/* ---------------------------------------------------------------- expressions */

jinja_var *lb_jinja_find_var(jinja *j, const char *name, size_t bytes, size_t from)
{
    for (size_t i = j->n_vars; i > from; i--) {
        if (j->vars[i - 1].bytes == bytes && memcmp(j->vars[i - 1].name, name, bytes) == 0) {
            return &j->vars[i - 1];
        }
    }
    return NULL;
}

void lb_jinja_set(jinja *j, const char *name, size_t bytes, jinja_value value)
{
    jinja_var *var = lb_jinja_find_var(j, name, bytes, j->frame);
    if (!var) {
        if (j->n_vars == JINJA_MAX_VARS) {
            jinja_no(j, "it has too many variables");
            return;
        }
        var = &j->vars[j->n_vars++];
        var->name = name;
        var->bytes = bytes;
    }
    var->value = value;
}

enum { JINJA_RAISE = 1, JINJA_RANGE, JINJA_MAKE_NAMESPACE };

static bool jinja_name_is(const char *name, size_t bytes, const char *word)
{
    return bytes == strlen(word) && memcmp(name, word, bytes) == 0;
}

static jinja_value jinja_lookup(jinja *j, const char *name, size_t bytes)
{
    const jinja_var *var = lb_jinja_find_var(j, name, bytes, 0);
    if (var) {
        return var->value;
    }
    jinja_value v = jinja_undefined;
    if (jinja_name_is(name, bytes, "messages")) {
        jinja_value *items = lb_jinja_alloc(j, (j->in->n + 1) * sizeof *items);
        for (size_t i = 0; items && i < j->in->n; i++) {
            items[i] = jinja_undefined;
            items[i].type = JINJA_MESSAGE;
            items[i].i = (int64_t)i;
        }
        return items ? jinja_list(items, j->in->n) : v;
    }
    if (jinja_name_is(name, bytes, "add_generation_prompt")) {
        return jinja_bool(j->in->add_generation_prompt);
    }
    if (jinja_name_is(name, bytes, "bos_token") && j->in->bos) {
        return jinja_string(j->in->bos, strlen(j->in->bos));
    }
    if (jinja_name_is(name, bytes, "eos_token") && j->in->eos) {
        return jinja_string(j->in->eos, strlen(j->in->eos));
    }
    if (jinja_name_is(name, bytes, "loop") && j->loop) {
        v.type = JINJA_LOOP;
    } else if (jinja_name_is(name, bytes, "tools") || jinja_name_is(name, bytes, "documents")) {
        v.type = JINJA_NONE; // defined, and there are none
    } else if (jinja_name_is(name, bytes, "raise_exception") || jinja_name_is(name, bytes, "range") ||
               jinja_name_is(name, bytes, "namespace")) {
        v.type = JINJA_FUNCTION;
        v.i = name[1] == 'a' ? (name[2] == 'i'   ? JINJA_RAISE
                                : name[2] == 'n' ? JINJA_RANGE
                                                 : JINJA_MAKE_NAMESPACE)
                             : 0;
    }
    return v;
}

static jinja_value jinja_literal(jinja *j)
{
    const char quote = *j->p++;
    const char *from = j->p;
    size_t n = 0;
    while (j->p < j->end && *j->p != quote) {
        j->p += *j->p == '\\' && j->p + 1 < j->end ? 2 : 1;
    }
    if (j->p >= j->end) {
        return jinja_no(j, "a string does not end");
    }
    const char *to = j->p++;
    char *text = lb_jinja_alloc(j, (size_t)(to - from) + 1);
    for (const char *q = from; text && q < to; q++) {
        char c = *q;
        if (c == '\\' && q + 1 < to) {
            c = *++q;
            switch (c) {
            case 'n': c = '\n'; break;
            case 't': c = '\t'; break;
            case 'r': c = '\r'; break;
            case '\\':
            case '\'':
            case '"': break;
            default: return jinja_no(j, "an escape sequence in a string is not known");
            }
        }
        text[n++] = c;
    }
    return text ? jinja_string(text, n) : jinja_undefined;
}

static jinja_value jinja_message_field(const jinja *j, int64_t message, const char *name, size_t bytes)
{
    const lbrt_message *m = &j->in->messages[message];
    if (jinja_name_is(name, bytes, "role")) {
        return jinja_string(m->role, strlen(m->role));
    }
    return jinja_name_is(name, bytes, "content") ? jinja_string(m->content, strlen(m->content))
                                                 : jinja_undefined;
}

static jinja_value jinja_loop_field(jinja *j, const char *name, size_t bytes)
{
    const jinja_loop *l = j->loop;
    if (!l) {
        return jinja_bad(j, "loop outside of a loop");
    }
    if (jinja_name_is(name, bytes, "index0")) {
        return jinja_int(l->index);
    }
    if (jinja_name_is(name, bytes, "index")) {
        return jinja_int(l->index + 1);
    }
    if (jinja_name_is(name, bytes, "first")) {
        return jinja_bool(l->index == 0);
    }
    if (jinja_name_is(name, bytes, "last")) {
        return jinja_bool(l->index == l->count - 1);
    }
    if (jinja_name_is(name, bytes, "length")) {
        return jinja_int(l->count);
    }
    if (jinja_name_is(name, bytes, "revindex0")) {
        return jinja_int(l->count - 1 - l->index);
    }
    if (jinja_name_is(name, bytes, "revindex")) {
        return jinja_int(l->count - l->index);
    }
    if (jinja_name_is(name, bytes, "previtem")) {
        return l->index > 0 ? l->items[l->index - 1] : jinja_undefined;
    }
    if (jinja_name_is(name, bytes, "nextitem")) {
        return l->index + 1 < l->count ? l->items[l->index + 1] : jinja_undefined;
    }
    return jinja_no(j, "a field of loop is not known");
}

static jinja_value jinja_field(jinja *j, const jinja_value *v, const char *name, size_t bytes)
{
    switch (v->type) {
    case JINJA_MESSAGE: return jinja_message_field(j, v->i, name, bytes);
    case JINJA_LOOP: return jinja_loop_field(j, name, bytes);
    case JINJA_NAMESPACE:
        for (const jinja_var *var = v->vars->next; var; var = var->next) {
            if (var->bytes == bytes && memcmp(var->name, name, bytes) == 0) {
                return var->value;
            }
        }
        return jinja_undefined;
    case JINJA_UNDEFINED: return jinja_bad(j, "a field of something undefined");
    default: return jinja_undefined;
    }
}

static jinja_value jinja_strip(const jinja_value *v, const char *set, size_t n_set, bool left, bool right)
{
    size_t from = 0, to = v->bytes;
    while (left && from < to && memchr(set, v->text[from], n_set)) {
        from++;
    }
    while (right && to > from && memchr(set, v->text[to - 1], n_set)) {
        to--;
    }
    return jinja_string(v->text + from, to - from);
}

/* mode: 'u' upper, 'l' lower, 'c' first upper and the rest lower, 't' the same for each word */
static jinja_value jinja_case(jinja *j, const jinja_value *v, char mode)
{
    char *text = lb_jinja_alloc(j, v->bytes + 1);
    bool begins = true;
    for (size_t i = 0; text && i < v->bytes; i++) {
        char c = v->text[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        const bool upper = mode == 'u' || ((mode == 'c' || mode == 't') && begins);
        if (letter) {
            c = (char)(upper ? c & ~0x20 : c | 0x20);
        } else if (c & 0x80) {
            return jinja_no(j, "upper and lower case of text that is not ASCII");
        }
        begins = mode == 't' ? !letter : false;
        text[i] = c;
    }
    return text ? jinja_string(text, v->bytes) : jinja_undefined;
}

static jinja_value jinja_replace(jinja *j, const jinja_value *v, const jinja_value *what,
                                 const jinja_value *with)
{
    if (what->type != JINJA_STRING || with->type != JINJA_STRING || !what->bytes) {
        return jinja_no(j, "replace() of something that is not text");
    }
    jinja_value result = jinja_string("", 0);
    const char *p = v->text;
    const char *const end = v->text + v->bytes;
    for (const char *hit; (hit = jinja_find_text(p, (size_t)(end - p), what->text, what->bytes)) != NULL;) {
        const jinja_value head = jinja_string(p, (size_t)(hit - p)), joined = jinja_concat(j, &result, &head);
        if (j->status != LBRT_OK) {
            return jinja_undefined;
        }
        result = jinja_concat(j, &joined, with);
        if (j->status != LBRT_OK) {
            return jinja_undefined;
        }
        p = hit + what->bytes;
    }
    const jinja_value tail = jinja_string(p, (size_t)(end - p));
    return jinja_concat(j, &result, &tail);
}

static jinja_value jinja_split(jinja *j, const jinja_value *v, const jinja_value *by)
{
    if (by->type != JINJA_STRING || !by->bytes) {
        return jinja_no(j, "split() without a separator");
    }
    jinja_value *items = lb_jinja_alloc(j, (v->bytes / by->bytes + 1) * sizeof *items);
    if (!items) {
        return jinja_undefined;
    }
    size_t n = 0;
    const char *p = v->text;
    const char *const end = v->text + v->bytes;
    for (const char *hit; (hit = jinja_find_text(p, (size_t)(end - p), by->text, by->bytes)) != NULL;
         p = hit + by->bytes) {
        items[n++] = jinja_string(p, (size_t)(hit - p));
    }
    items[n++] = jinja_string(p, (size_t)(end - p));
    return jinja_list(items, n);
}

static const char jinja_white[] = " \t\n\r\v\f\x1c\x1d\x1e\x1f";

/* Methods of strings and filters, where they mean the same. */
static jinja_value jinja_apply(jinja *j, const char *name, size_t bytes, const jinja_value *v,
                               const jinja_value *args, size_t n_args)
{
    if (v->type == JINJA_UNDEFINED || v->type == JINJA_NONE) {
        return jinja_bad(j, "an operation on something undefined");
    }
    if (v->type != JINJA_STRING) {
        return jinja_no(j, "an operation on something that is not text");
    }
    const bool left = jinja_name_is(name, bytes, "lstrip"), right = jinja_name_is(name, bytes, "rstrip");
    if (left || right || jinja_name_is(name, bytes, "strip") || jinja_name_is(name, bytes, "trim")) {
        if (n_args && args[0].type != JINJA_STRING) {
            return jinja_no(j, "strip() of something that is not text");
        }
        return jinja_strip(v, n_args ? args[0].text : jinja_white,
                           n_args ? args[0].bytes : sizeof jinja_white - 1, !right, !left);
    }
    static const char *const cases[] = { "upper", "lower", "capitalize", "title" };
    for (size_t i = 0; i < 4; i++) {
        if (jinja_name_is(name, bytes, cases[i])) {
            return jinja_case(j, v, cases[i][0]);
        }
    }
    if (n_args == 1 && args[0].type == JINJA_STRING && args[0].bytes <= v->bytes &&
        jinja_name_is(name, bytes, "startswith")) {
        return jinja_bool(memcmp(v->text, args[0].text, args[0].bytes) == 0);
    }
    if (n_args == 1 && args[0].type == JINJA_STRING && args[0].bytes <= v->bytes &&
        jinja_name_is(name, bytes, "endswith")) {
        return jinja_bool(memcmp(v->text + v->bytes - args[0].bytes, args[0].text, args[0].bytes) == 0);
    }
    if (n_args == 1 && (jinja_name_is(name, bytes, "startswith") || jinja_name_is(name, bytes, "endswith"))) {
        return jinja_bool(false);
    }
    if (n_args == 2 && jinja_name_is(name, bytes, "replace")) {
        return jinja_replace(j, v, &args[0], &args[1]);
    }
    if (n_args == 1 && jinja_name_is(name, bytes, "split")) {
        return jinja_split(j, v, &args[0]);
    }
    return jinja_no(j, "a method or filter is not known");
}

static jinja_value jinja_filter(jinja *j, const char *name, size_t bytes, const jinja_value *v,
                                const jinja_value *args, size_t n_args)
{
    if (jinja_name_is(name, bytes, "default") || jinja_name_is(name, bytes, "d")) {
        const bool empty =
            v->type == JINJA_UNDEFINED || (n_args > 1 && lb_jinja_true(&args[1]) && !lb_jinja_true(v));
        return empty ? (n_args ? args[0] : jinja_string("", 0)) : *v;
    }
    if (jinja_name_is(name, bytes, "length") || jinja_name_is(name, bytes, "count")) {
        if (v->type == JINJA_STRING) { // code points
            int64_t n = 0;
            for (size_t i = 0; i < v->bytes; i++) {
                n += ((unsigned char)v->text[i] & 0xc0) != 0x80;
            }
            return jinja_int(n);
        }
        return v->type == JINJA_LIST ? jinja_int(v->i) : jinja_bad(j, "the length of something without one");
    }
    if (jinja_name_is(name, bytes, "string")) {
        return lb_jinja_to_string(j, v);
    }
    if (v->type == JINJA_LIST && jinja_name_is(name, bytes, "list")) {
        return *v;
    }
    if (v->type == JINJA_LIST && jinja_name_is(name, bytes, "first")) {
        return v->i ? v->items[0] : jinja_undefined;
    }
    if (v->type == JINJA_LIST && jinja_name_is(name, bytes, "last")) {
        return v->i ? v->items[v->i - 1] : jinja_undefined;
    }
    if (jinja_name_is(name, bytes, "safe")) {
        return *v;
    }
    return jinja_apply(j, name, bytes, v, args, n_args);
}

static jinja_value jinja_call(jinja *j, const jinja_value *f, const jinja_value *args, size_t n_args)
{
    if (f->type != JINJA_FUNCTION) {
        return jinja_no(j, "it calls a function that is not known");
    }
    if (f->i == JINJA_RAISE) {
        char text[160];
        lb_format(text, sizeof text, "%.*s",
                  n_args && args[0].type == JINJA_STRING ? (int)lb_min(args[0].bytes, 140) : 0,
                  n_args && args[0].type == JINJA_STRING ? args[0].text : "");
        return jinja_bad(j, text);
    }
    if (f->i == JINJA_RANGE && n_args >= 1 && n_args <= 2 && args[0].type == JINJA_INT &&
        args[n_args - 1].type == JINJA_INT) {
        const int64_t from = n_args == 2 ? args[0].i : 0, to = args[n_args - 1].i,
                      n = to > from ? to - from : 0;
        if (n > 4096) {
            return jinja_no(j, "range() is too long");
        }
        jinja_value *items = lb_jinja_alloc(j, ((size_t)n + 1) * sizeof *items);
        for (int64_t i = 0; items && i < n; i++) {
            items[i] = jinja_int(from + i);
        }
        return items ? jinja_list(items, (size_t)n) : jinja_undefined;
    }
    return jinja_no(j, "it calls a function that is not known");
}

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
            jinja_no(j, "arguments of a call are not known");
        }
        if (!lb_jinja_take(j, ",")) {
            jinja_want(j, ")");
            break;
        }
    }
    return n;
}

static jinja_value jinja_primary(jinja *j, bool dead)
{
    jinja_space(j);
    if (j->p >= j->end) {
        return jinja_no(j, "an expression is missing");
    }
    if (*j->p == '\'' || *j->p == '"') {
        return jinja_literal(j);
    }
    if (*j->p >= '0' && *j->p <= '9') {
        int64_t v = 0;
        while (j->p < j->end && *j->p >= '0' && *j->p <= '9') {
            v = v * 10 + (*j->p++ - '0');
            if (v > 1000000000) {
                return jinja_no(j, "a large number");
            }
        }
        return jinja_int(v);
    }
    if (lb_jinja_take(j, "(")) {
        const jinja_value v = lb_jinja_expression(j, dead);
        jinja_want(j, ")");
        return v;
    }
    if (lb_jinja_take(j, "[")) {
        jinja_value items[16];
        size_t n = 0;
        while (j->status == LBRT_OK && !lb_jinja_take(j, "]")) {
            const jinja_value v = lb_jinja_expression(j, dead);
            if (n == 16) {
                return jinja_no(j, "a long list");
            }
            items[n++] = v;
            if (!lb_jinja_take(j, ",")) {
                jinja_want(j, "]");
                break;
            }
        }
        jinja_value *copy = lb_jinja_alloc(j, (n + 1) * sizeof *copy);
        if (copy && n) {
            memcpy(copy, items, n * sizeof *copy);
        }
        return copy ? jinja_list(copy, n) : jinja_undefined;
    }
    const size_t n = lb_jinja_name_length(j);
    if (!n) {
        return jinja_no(j, "an expression is not understood");
    }
    const char *name = j->p;
    j->p += n;
    if (jinja_name_is(name, n, "true") || jinja_name_is(name, n, "True")) {
        return jinja_bool(true);
    }
    if (jinja_name_is(name, n, "false") || jinja_name_is(name, n, "False")) {
        return jinja_bool(false);
    }
    if (jinja_name_is(name, n, "none") || jinja_name_is(name, n, "None")) {
        jinja_value v = jinja_undefined;
        v.type = JINJA_NONE;
        return v;
    }
    return dead ? jinja_undefined : jinja_lookup(j, name, n);
}

/* v[from:to:step] or v[index], behind the bracket. */
static jinja_value jinja_subscript(jinja *j, const jinja_value *v, bool dead)
{
    jinja_value part[3] = { jinja_undefined, jinja_undefined, jinja_undefined };
    int at = 0;
    bool slice = false;
    while (j->status == LBRT_OK && !lb_jinja_take(j, "]")) {
        if (lb_jinja_take(j, ":")) {
            slice = true;
            if (++at > 2) {
                return jinja_no(j, "a slice");
            }
            continue;
        }
        part[at] = lb_jinja_expression(j, dead);
    }
    if (dead || j->status != LBRT_OK) {
        return jinja_undefined;
    }
    const int64_t n = v->type == JINJA_LIST ? v->i : v->type == JINJA_STRING ? (int64_t)v->bytes : 0;
    if (!slice) {
        if (part[0].type == JINJA_STRING) {
            return jinja_field(j, v, part[0].text, part[0].bytes);
        }
        if (part[0].type != JINJA_INT || v->type == JINJA_STRING) {
            return jinja_no(j, "an index");
        }
        if (v->type != JINJA_LIST) {
            return jinja_bad(j, "an index of something that is no list");
        }
        const int64_t i = part[0].i < 0 ? part[0].i + n : part[0].i;
        return i >= 0 && i < n ? v->items[i] : jinja_undefined;
    }
    const int64_t step = part[2].type == JINJA_INT ? part[2].i : 1;
    if (v->type != JINJA_LIST || (step != 1 && step != -1) ||
        (step == -1 && (part[0].type == JINJA_INT || part[1].type == JINJA_INT))) {
        return jinja_no(j, "a slice");
    }
    int64_t from = part[0].type == JINJA_INT ? part[0].i : 0, to = part[1].type == JINJA_INT ? part[1].i : n;
    from = from < 0 ? (from + n < 0 ? 0 : from + n) : from > n ? n : from;
    to = to < 0 ? to + n : to > n ? n : to;
    const int64_t count = to > from ? to - from : 0;
    jinja_value *items = lb_jinja_alloc(j, ((size_t)count + 1) * sizeof *items);
    for (int64_t i = 0; items && i < count; i++) {
        items[i] = v->items[step == 1 ? from + i : n - 1 - i];
    }
    return items ? jinja_list(items, (size_t)count) : jinja_undefined;
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
                return jinja_no(j, "a field has no name");
            }
            if (!lb_jinja_take(j, "(")) {
                v = dead ? jinja_undefined : jinja_field(j, &v, name, n);
                continue;
            }
            const size_t n_args = jinja_arguments(j, args, NULL, dead);
            if (!dead && j->status == LBRT_OK) {
                const bool get = v.type == JINJA_MESSAGE && jinja_name_is(name, n, "get") && n_args &&
                                 args[0].type == JINJA_STRING;
                if (get) {
                    v = jinja_message_field(j, v.i, args[0].text, args[0].bytes);
                    if (v.type == JINJA_UNDEFINED && n_args > 1) {
                        v = args[1];
                    } else if (v.type == JINJA_UNDEFINED) {
                        v.type = JINJA_NONE;
                    }
                } else {
                    v = jinja_apply(j, name, n, &v, args, n_args);
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
                v = jinja_undefined;
                v.type = JINJA_NAMESPACE;
                v.vars = into;
            } else if (!dead && j->status == LBRT_OK) {
                v = jinja_call(j, &v, args, n_args);
            }
        } else {
            break;
        }
    }
    return v;
}

static jinja_value jinja_test(jinja *j, const jinja_value *v, bool dead)
{
    const bool negate = lb_jinja_take_word(j, "not");
    const size_t n = lb_jinja_name_length(j);
    const char *name = j->p;
    j->p += n;
    const jinja_type type = v->type;
    bool yes;
    if (jinja_name_is(name, n, "defined")) {
        yes = type != JINJA_UNDEFINED;
    } else if (jinja_name_is(name, n, "undefined")) {
        yes = type == JINJA_UNDEFINED;
    } else if (jinja_name_is(name, n, "none") || jinja_name_is(name, n, "None")) {
        yes = type == JINJA_NONE;
    } else if (jinja_name_is(name, n, "string")) {
        yes = type == JINJA_STRING;
    } else if (jinja_name_is(name, n, "mapping")) {
        yes = type == JINJA_MESSAGE;
    } else if (jinja_name_is(name, n, "iterable") || jinja_name_is(name, n, "sequence")) {
        yes = type == JINJA_STRING || type == JINJA_LIST || type == JINJA_MESSAGE || type == JINJA_UNDEFINED;
    } else if (jinja_name_is(name, n, "true") || jinja_name_is(name, n, "false")) {
        yes = type == JINJA_BOOL && v->i == (name[0] == 't');
    } else if (jinja_name_is(name, n, "boolean")) {
        yes = type == JINJA_BOOL;
    } else if (jinja_name_is(name, n, "number") || jinja_name_is(name, n, "integer")) {
        yes = type == JINJA_INT;
    } else {
        return jinja_no(j, "a test is not known");
    }
    return dead ? jinja_undefined : jinja_bool(yes != negate);
}

/* Filters and tests bind tighter than any operator. */
static jinja_value jinja_filtered(jinja *j, bool dead)
{
    jinja_value v = jinja_postfix(j, dead);
    jinja_value args[8];
    while (j->status == LBRT_OK) {
        if (lb_jinja_take(j, "|")) {
            const size_t n = lb_jinja_name_length(j);
            const char *name = j->p;
            j->p += n;
            const size_t n_args = lb_jinja_take(j, "(") ? jinja_arguments(j, args, NULL, dead) : 0;
            if (!dead && j->status == LBRT_OK) {
                v = jinja_filter(j, name, n, &v, args, n_args);
            }
        } else if (lb_jinja_take_word(j, "is")) {
            v = jinja_test(j, &v, dead);
        } else {
            break;
        }
    }
    return v;
}

static jinja_value jinja_unary(jinja *j, bool dead)
{
    if (lb_jinja_take(j, "-")) {
        const jinja_value v = jinja_filtered(j, dead);
        return dead                  ? v
               : v.type == JINJA_INT ? jinja_int(-v.i)
                                     : jinja_bad(j, "minus something that is no number");
    }
    return jinja_filtered(j, dead);
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
        if (v.type != JINJA_INT || b.type != JINJA_INT || (!times && b.i == 0)) {
            return jinja_bad(j, "arithmetic of something that is no number");
        }
        if (v.i < 0 || b.i < 0 || v.i > 1000000000 || b.i > 1000000000) {
            return jinja_no(j, "arithmetic of negative or large numbers");
        }
        v = jinja_int(modulo ? v.i % b.i : times ? v.i * b.i : v.i / b.i);
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
            v = j->status == LBRT_OK ? jinja_concat(j, &x, &y) : jinja_undefined;
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
            v = jinja_concat(j, &v, &b);
        } else if (v.type == JINJA_INT && b.type == JINJA_INT && v.i < 1000000000 && b.i < 1000000000) {
            v = jinja_int(plus ? v.i + b.i : v.i - b.i);
        } else {
            return jinja_bad(j, "a sum of things that do not add");
        }
    }
    return v;
}

static bool jinja_contains(jinja *j, const jinja_value *item, const jinja_value *in)
{
    if (in->type == JINJA_STRING && item->type == JINJA_STRING) {
        return jinja_find_text(in->text, in->bytes, item->text, item->bytes) != NULL;
    }
    if (in->type == JINJA_LIST) {
        for (int64_t i = 0; i < in->i; i++) {
            if (jinja_equal(item, &in->items[i])) {
                return true;
            }
        }
        return false;
    }
    if (in->type == JINJA_MESSAGE) {
        return jinja_is(item, "role") || jinja_is(item, "content");
    }
    jinja_bad(j, "'in' something that holds nothing");
    return false;
}

static jinja_value jinja_comparison(jinja *j, bool dead)
{
    static const char *const signs[] = { "==", "!=", "<=", ">=", "<", ">" };
    jinja_value v = jinja_sum(j, dead);
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
            v = jinja_bool(jinja_equal(&v, &b) == (op == 0));
        } else if (op >= 6) {
            v = jinja_bool(jinja_contains(j, &v, &b) == (op == 6));
        } else if (v.type == JINJA_INT && b.type == JINJA_INT) {
            v = jinja_bool(op == 2 ? v.i <= b.i : op == 3 ? v.i >= b.i : op == 4 ? v.i < b.i : v.i > b.i);
        } else {
            return jinja_bad(j, "a comparison of things without order");
        }
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
    return any ? jinja_bool(lb_jinja_true(&v) != negate) : v;
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

static jinja_value jinja_or(jinja *j, bool dead)
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
        return jinja_no(j, "it is too deep or too long");
    }
    // "a if condition else b": a is parsed before the condition is known, and again if it holds.
    const char *start = j->p;
    jinja_value v = jinja_or(j, true);
    if (j->status == LBRT_OK && lb_jinja_take_word(j, "if")) {
        const jinja_value condition = jinja_or(j, dead);
        const bool yes = lb_jinja_true(&condition);
        jinja_value otherwise = jinja_undefined;
        if (lb_jinja_take_word(j, "else")) {
            otherwise = lb_jinja_expression(j, dead || yes);
        }
        const char *behind = j->p;
        if (yes && !dead && j->status == LBRT_OK) {
            j->p = start;
            v = jinja_or(j, false);
            j->p = behind;
        } else {
            v = otherwise;
        }
    } else if (!dead && j->status == LBRT_OK) {
        j->p = start;
        v = jinja_or(j, false);
    }
    j->depth--;
    return v;
}
