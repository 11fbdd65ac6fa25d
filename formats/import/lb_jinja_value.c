/*
 * The values of Jinja: making, comparing, joining and printing them; the arena that they live in, which the
 * rendering frees; and how a rendering fails.
 */
#include "lb_jinja_internal.h"

const jinja_value lb_jinja_undefined = { JINJA_UNDEFINED, 0, NULL, 0, NULL, NULL, NULL };

jinja_value lb_jinja_fail(jinja *j, lbrt_status status, const char *what)
{
    if (j->status == LBRT_OK) {
        j->status = lb_fail(j->err, status, "chat template: %s", what);
    }
    return lb_jinja_undefined;
}

jinja_value lb_jinja_no(jinja *j, const char *what)
{
    return lb_jinja_fail(j, LBRT_ERR_UNSUPPORTED, what);
}

/* An operation that Jinja itself would refuse. */
jinja_value lb_jinja_bad(jinja *j, const char *what)
{
    return lb_jinja_fail(j, LBRT_ERR_FORMAT, what);
}

void *lb_jinja_alloc(jinja *j, size_t bytes)
{
    if (bytes > JINJA_MAX_BYTES || j->used + bytes > JINJA_MAX_BYTES) {
        lb_jinja_no(j, "it needs too much memory");
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

jinja_value lb_jinja_bool(bool b)
{
    jinja_value v = lb_jinja_undefined;
    v.type = JINJA_BOOL;
    v.i = b;
    return v;
}

jinja_value lb_jinja_int(int64_t i)
{
    jinja_value v = lb_jinja_undefined;
    v.type = JINJA_INT;
    v.i = i;
    return v;
}

jinja_value lb_jinja_string(const char *text, size_t bytes)
{
    jinja_value v = lb_jinja_undefined;
    v.type = JINJA_STRING;
    v.text = text;
    v.bytes = bytes;
    return v;
}

jinja_value lb_jinja_list(const jinja_value *items, size_t n)
{
    jinja_value v = lb_jinja_undefined;
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

bool lb_jinja_equal(const jinja_value *a, const jinja_value *b)
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
            same = a->items[i].type != JINJA_LIST && lb_jinja_equal(&a->items[i], &b->items[i]);
        }
        return same;
    }
    return a->type == JINJA_MESSAGE ? a->i == b->i : a->type == JINJA_NONE || a->type == JINJA_UNDEFINED;
}

static bool jinja_is(const jinja_value *v, const char *text)
{
    return v->type == JINJA_STRING && v->bytes == strlen(text) && memcmp(v->text, text, v->bytes) == 0;
}

const char *lb_jinja_find_text(const char *text, size_t bytes, const char *what, size_t n)
{
    for (size_t i = 0; n <= bytes && i <= bytes - n; i++) {
        if (memcmp(text + i, what, n) == 0) {
            return text + i;
        }
    }
    return NULL;
}

void lb_jinja_work(jinja *j, const jinja_value *v)
{
    j->steps += v->type == JINJA_STRING ? (uint32_t)(v->bytes >> 8) : 0;
}

bool lb_jinja_contains(jinja *j, const jinja_value *item, const jinja_value *in)
{
    lb_jinja_work(j, in);
    if (in->type == JINJA_STRING && item->type == JINJA_STRING) {
        return lb_jinja_find_text(in->text, in->bytes, item->text, item->bytes) != NULL;
    }
    if (in->type == JINJA_LIST) {
        for (int64_t i = 0; i < in->i; i++) {
            if (lb_jinja_equal(item, &in->items[i])) {
                return true;
            }
        }
        return false;
    }
    if (in->type == JINJA_MESSAGE) {
        return jinja_is(item, "role") || jinja_is(item, "content");
    }
    if (in->type == JINJA_UNDEFINED) {
        return false;
    }
    lb_jinja_bad(j, "'in' something that holds nothing");
    return false;
}

/* As Jinja prints it. */
jinja_value lb_jinja_to_string(jinja *j, const jinja_value *v)
{
    switch (v->type) {
    case JINJA_STRING: return *v;
    case JINJA_UNDEFINED: return lb_jinja_string("", 0);
    case JINJA_NONE: return lb_jinja_string("None", 4);
    case JINJA_BOOL: return v->i ? lb_jinja_string("True", 4) : lb_jinja_string("False", 5);
    case JINJA_INT: {
        char *text = lb_jinja_alloc(j, 24);
        return text ? lb_jinja_string(text, lb_format(text, 24, "%lld", (long long)v->i))
                    : lb_jinja_undefined;
    }
    default: return lb_jinja_no(j, "it prints something that is not text");
    }
}

jinja_value lb_jinja_concat(jinja *j, const jinja_value *a, const jinja_value *b)
{
    char *text = lb_jinja_alloc(j, a->bytes + b->bytes + 1);
    if (!text) {
        return lb_jinja_undefined;
    }
    memcpy(text, a->text, a->bytes);
    memcpy(text + a->bytes, b->text, b->bytes);
    return lb_jinja_string(text, a->bytes + b->bytes);
}
