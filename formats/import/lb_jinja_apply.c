/* What can be done to a value by name: the methods of strings, filters, tests and functions. */
#include "../../runtime/text/lb_unicode.h"
#include "lb_jinja_internal.h"

#include <time.h>

static jinja_value jinja_strip(const jinja_value *v, const char *set, size_t n_set, bool left, bool right)
{
    size_t from = 0, to = v->bytes;
    while (left && from < to && memchr(set, v->text[from], n_set)) {
        from++;
    }
    while (right && to > from && memchr(set, v->text[to - 1], n_set)) {
        to--;
    }
    return lb_jinja_string(v->text + from, to - from);
}

static const char jinja_white[] = " \t\n\r\v\f\x1c\x1d\x1e\x1f";

/*
 * mode: 'u' upper, 'l' lower, 'c' first upper and the rest lower, 't' the same for each word, which begins where
 * no letter was before; 'w' the same, but words begin behind white space, some brackets and "-"
 */
static jinja_value jinja_case(jinja *j, const jinja_value *v, char mode)
{
    char *text = lb_jinja_alloc(j, v->bytes + 1);
    bool begins = true;
    for (size_t i = 0; text && i < v->bytes; i++) {
        char c = v->text[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        const bool upper = mode == 'u' || ((mode == 'c' || mode == 't' || mode == 'w') && begins);
        if (letter) {
            c = (char)(upper ? c & ~0x20 : c | 0x20);
        } else if (c & 0x80) {
            return lb_jinja_no(j, "upper and lower case of text that is not ASCII");
        }
        begins = mode == 't' ? !letter : mode == 'w' && (memchr(jinja_white, c, sizeof jinja_white - 1) || memchr("-({[<", c, 5));
        text[i] = c;
    }
    return text ? lb_jinja_string(text, v->bytes) : lb_jinja_undefined;
}

static jinja_value jinja_replace(jinja *j, const jinja_value *v, const jinja_value *what,
                                 const jinja_value *with)
{
    if (what->type != JINJA_STRING || with->type != JINJA_STRING || !what->bytes) {
        return lb_jinja_no(j, "replace() of something that is not text");
    }
    jinja_value result = lb_jinja_string("", 0);
    const char *p = v->text;
    const char *const end = v->text + v->bytes;
    for (const char *hit;
         (hit = lb_jinja_find_text(p, (size_t)(end - p), what->text, what->bytes)) != NULL;) {
        const jinja_value head = lb_jinja_string(p, (size_t)(hit - p)),
                          joined = lb_jinja_concat(j, &result, &head);
        if (j->status != LBRT_OK) {
            return lb_jinja_undefined;
        }
        result = lb_jinja_concat(j, &joined, with);
        if (j->status != LBRT_OK) {
            return lb_jinja_undefined;
        }
        p = hit + what->bytes;
    }
    const jinja_value tail = lb_jinja_string(p, (size_t)(end - p));
    return lb_jinja_concat(j, &result, &tail);
}

static jinja_value jinja_split(jinja *j, const jinja_value *v, const jinja_value *by)
{
    if (by->type != JINJA_STRING || !by->bytes) {
        return lb_jinja_no(j, "split() without a separator");
    }
    jinja_value *items = lb_jinja_alloc(j, (v->bytes / by->bytes + 1) * sizeof *items);
    if (!items) {
        return lb_jinja_undefined;
    }
    size_t n = 0;
    const char *p = v->text;
    const char *const end = v->text + v->bytes;
    for (const char *hit; (hit = lb_jinja_find_text(p, (size_t)(end - p), by->text, by->bytes)) != NULL;
         p = hit + by->bytes) {
        items[n++] = lb_jinja_string(p, (size_t)(hit - p));
    }
    items[n++] = lb_jinja_string(p, (size_t)(end - p));
    return lb_jinja_list(items, n);
}

/* Methods of strings; the filters that mean the same come here too. */
jinja_value lb_jinja_apply(jinja *j, const char *name, size_t bytes, const jinja_value *v,
                           const jinja_value *args, size_t n_args)
{
    lb_jinja_work(j, v);
    if (v->type == JINJA_UNDEFINED || v->type == JINJA_NONE) {
        return lb_jinja_bad(j, "an operation on something undefined");
    }
    if (v->type != JINJA_STRING) {
        return lb_jinja_no(j, "an operation on something that is not text");
    }
    const bool left = lb_jinja_name_is(name, bytes, "lstrip"),
               right = lb_jinja_name_is(name, bytes, "rstrip");
    if (left || right || lb_jinja_name_is(name, bytes, "strip") || lb_jinja_name_is(name, bytes, "trim")) {
        bool plain = n_args == 0 || args[0].type == JINJA_STRING;
        for (size_t i = 0; n_args && plain && i < args[0].bytes; i++) {
            plain = (args[0].text[i] & 0x80) == 0; // else code points would have to go as wholes
        }
        if (!plain) {
            return lb_jinja_no(j, "strip() of something that is not plain text");
        }
        if (n_args) {
            return jinja_strip(v, args[0].text, args[0].bytes, !right, !left);
        }
        const size_t from = right ? 0 : lb_unicode_space_run(v->text, v->bytes, false, LB_SPACE_PYTHON);
        const size_t n = v->bytes - from;
        return lb_jinja_string(v->text + from, n - (left ? 0 : lb_unicode_space_run(v->text + from, n, true, LB_SPACE_PYTHON)));
    }
    static const char *const cases[] = { "upper", "lower", "capitalize", "title" };
    for (size_t i = 0; i < 4; i++) {
        if (lb_jinja_name_is(name, bytes, cases[i])) {
            return jinja_case(j, v, cases[i][0]);
        }
    }
    if (n_args == 1 && args[0].type == JINJA_STRING && args[0].bytes <= v->bytes &&
        lb_jinja_name_is(name, bytes, "startswith")) {
        return lb_jinja_bool(memcmp(v->text, args[0].text, args[0].bytes) == 0);
    }
    if (n_args == 1 && args[0].type == JINJA_STRING && args[0].bytes <= v->bytes &&
        lb_jinja_name_is(name, bytes, "endswith")) {
        return lb_jinja_bool(memcmp(v->text + v->bytes - args[0].bytes, args[0].text, args[0].bytes) == 0);
    }
    if (n_args == 1 && args[0].type == JINJA_STRING &&
        (lb_jinja_name_is(name, bytes, "startswith") || lb_jinja_name_is(name, bytes, "endswith"))) {
        return lb_jinja_bool(false);
    }
    if (n_args == 2 && lb_jinja_name_is(name, bytes, "replace")) {
        return jinja_replace(j, v, &args[0], &args[1]);
    }
    if (n_args == 1 && lb_jinja_name_is(name, bytes, "split")) {
        return jinja_split(j, v, &args[0]);
    }
    return lb_jinja_no(j, "a method is not known");
}

/* selectattr(field, "equalto", value) and the like; of a field alone: that it is true */
static jinja_value jinja_select(jinja *j, const jinja_value *v, const jinja_value *args, size_t n_args, bool select)
{
    const bool equals = n_args == 3 && args[1].type == JINJA_STRING &&
                        (lb_jinja_name_is(args[1].text, args[1].bytes, "equalto") || lb_jinja_name_is(args[1].text, args[1].bytes, "eq") ||
                         lb_jinja_name_is(args[1].text, args[1].bytes, "=="));
    const bool known = (n_args == 1 || equals) && args[0].type == JINJA_STRING;
    if (!known) {
        return lb_jinja_no(j, "a filter of fields is not known");
    }
    jinja_value *items = lb_jinja_alloc(j, ((size_t)v->i + 1) * sizeof *items);
    size_t n = 0;
    for (int64_t i = 0; items && i < v->i && j->status == LBRT_OK; i++) {
        const jinja_value field = lb_jinja_field(j, &v->items[i], args[0].text, args[0].bytes);
        if ((equals ? lb_jinja_equal(&field, &args[2]) : lb_jinja_true(&field)) == select) {
            items[n++] = v->items[i];
        }
    }
    return items ? lb_jinja_list(items, n) : lb_jinja_undefined;
}

jinja_value lb_jinja_filter(jinja *j, const char *name, size_t bytes, const jinja_value *v,
                            const jinja_value *args, size_t n_args)
{
    if (lb_jinja_name_is(name, bytes, "default") || lb_jinja_name_is(name, bytes, "d")) {
        const bool empty =
            v->type == JINJA_UNDEFINED || (n_args > 1 && lb_jinja_true(&args[1]) && !lb_jinja_true(v));
        return empty ? (n_args ? args[0] : lb_jinja_string("", 0)) : *v;
    }
    if (lb_jinja_name_is(name, bytes, "length") || lb_jinja_name_is(name, bytes, "count")) {
        if (v->type == JINJA_STRING) { // code points
            int64_t n = 0;
            for (size_t i = 0; i < v->bytes; i++) {
                n += ((unsigned char)v->text[i] & 0xc0) != 0x80;
            }
            return lb_jinja_int(n);
        }
        return v->type == JINJA_LIST        ? lb_jinja_int(v->i)
               : v->type == JINJA_UNDEFINED ? lb_jinja_int(0)
               : v->type == JINJA_MESSAGE   ? lb_jinja_int(2)
                                            : lb_jinja_bad(j, "the length of something without one");
    }
    if (lb_jinja_name_is(name, bytes, "string")) {
        return lb_jinja_to_string(j, v);
    }
    if (lb_jinja_name_is(name, bytes, "safe")) {
        return *v;
    }
    // What is undefined is an empty list, and an empty text, to those that take it.
    const jinja_value list = v->type == JINJA_UNDEFINED ? lb_jinja_list(NULL, 0) : *v;
    if (list.type == JINJA_LIST && lb_jinja_name_is(name, bytes, "list")) {
        return list;
    }
    if (list.type == JINJA_LIST && lb_jinja_name_is(name, bytes, "first")) {
        return list.i ? list.items[0] : lb_jinja_undefined;
    }
    if (list.type == JINJA_LIST && lb_jinja_name_is(name, bytes, "last")) {
        return list.i ? list.items[list.i - 1] : lb_jinja_undefined;
    }
    const bool select = lb_jinja_name_is(name, bytes, "selectattr");
    if (list.type == JINJA_LIST && (select || lb_jinja_name_is(name, bytes, "rejectattr"))) {
        return jinja_select(j, &list, args, n_args, select);
    }
    static const char *const of_text[] = { "trim", "upper", "lower", "capitalize", "title", "replace" };
    for (size_t i = 0; i < sizeof of_text / sizeof *of_text; i++) {
        if (lb_jinja_name_is(name, bytes, of_text[i])) {
            const jinja_value text = lb_jinja_to_string(j, v);
            if (j->status == LBRT_OK && lb_jinja_name_is(name, bytes, "title")) { // not quite the method of that name
                return jinja_case(j, &text, 'w');
            }
            return j->status == LBRT_OK ? lb_jinja_apply(j, name, bytes, &text, args, n_args) : text;
        }
    }
    return lb_jinja_no(j, "a filter is not known");
}

static jinja_value jinja_range(jinja *j, const jinja_value *args, size_t n_args)
{
    for (size_t i = 0; i < n_args; i++) {
        if (args[i].type != JINJA_INT) {
            return lb_jinja_bad(j, "range() of something that is no number");
        }
    }
    const int64_t from = n_args > 1 ? args[0].i : 0, to = args[n_args > 1].i, step = n_args > 2 ? args[2].i : 1;
    if (step != 1 && step != -1) {
        return lb_jinja_no(j, "range() with a step other than 1 and -1");
    }
    const int64_t n = (to - from) * step > 0 ? (to - from) * step : 0;
    if (n > 4096) {
        return lb_jinja_no(j, "range() is too long");
    }
    jinja_value *items = lb_jinja_alloc(j, ((size_t)n + 1) * sizeof *items);
    for (int64_t i = 0; items && i < n; i++) {
        items[i] = lb_jinja_int(from + i * step);
    }
    return items ? lb_jinja_list(items, (size_t)n) : lb_jinja_undefined;
}

/* strftime_now(format): the day and hour in UTC */
static jinja_value jinja_now(jinja *j, const jinja_value *format)
{
    enum { MOST = 64, ROOM = 256 };
    char copy[MOST];
    struct tm day;
    const time_t now = (time_t)j->in->now;
    bool known = format->bytes < MOST && gmtime_r(&now, &day);
    for (size_t i = 0; known && i < format->bytes; i++) {
        const bool form = format->text[i] == '%';
        i += form;
        const char c = i < format->bytes ? format->text[i] : 0;
        known = c != 0 && (!form || c == '%' || strchr("YmdBbyAajHMSpI", c));
    }
    char *text = known ? (char *)lb_jinja_alloc(j, ROOM) : NULL;
    if (!text) {
        return lb_jinja_no(j, "a form of the date is not known");
    }
    memcpy(copy, format->text, format->bytes);
    copy[format->bytes] = 0;
    return lb_jinja_string(text, strftime(text, ROOM, copy, &day));
}

jinja_value lb_jinja_call(jinja *j, const jinja_value *f, const jinja_value *args, size_t n_args)
{
    if (f->type != JINJA_FUNCTION) {
        return lb_jinja_no(j, "it calls a function that is not known");
    }
    if (f->i == JINJA_RAISE) {
        char text[160];
        lb_format(text, sizeof text, "%.*s",
                  n_args && args[0].type == JINJA_STRING ? (int)lb_min(args[0].bytes, 140) : 0,
                  n_args && args[0].type == JINJA_STRING ? args[0].text : "");
        return lb_jinja_bad(j, text);
    }
    if (f->i == JINJA_RANGE && n_args >= 1 && n_args <= 3) {
        return jinja_range(j, args, n_args);
    }
    if (f->i == JINJA_NOW && n_args == 1 && args[0].type == JINJA_STRING) {
        return jinja_now(j, &args[0]);
    }
    return lb_jinja_no(j, "it calls a function that is not known");
}

bool lb_jinja_test(jinja *j, const char *name, size_t n, const jinja_value *v)
{
    const jinja_type type = v->type;
    const bool defined = type != JINJA_UNDEFINED && !(type == JINJA_FUNCTION && v->i == JINJA_NOW);
    if (lb_jinja_name_is(name, n, "defined") || lb_jinja_name_is(name, n, "undefined")) {
        return defined == (name[0] == 'd');
    }
    if (lb_jinja_name_is(name, n, "none") || lb_jinja_name_is(name, n, "None")) {
        return type == JINJA_NONE;
    }
    if (lb_jinja_name_is(name, n, "string")) {
        return type == JINJA_STRING;
    }
    if (lb_jinja_name_is(name, n, "mapping")) {
        return type == JINJA_MESSAGE;
    }
    if (lb_jinja_name_is(name, n, "iterable") || lb_jinja_name_is(name, n, "sequence")) {
        return type == JINJA_STRING || type == JINJA_LIST || type == JINJA_MESSAGE || type == JINJA_UNDEFINED;
    }
    if (lb_jinja_name_is(name, n, "true") || lb_jinja_name_is(name, n, "false")) {
        return type == JINJA_BOOL && v->i == (name[0] == 't');
    }
    if (lb_jinja_name_is(name, n, "boolean")) {
        return type == JINJA_BOOL;
    }
    if (lb_jinja_name_is(name, n, "number") || lb_jinja_name_is(name, n, "integer")) {
        return type == JINJA_INT || (type == JINJA_BOOL && name[0] == 'n');
    }
    lb_jinja_no(j, "a test is not known");
    return false;
}
