/* Reading the text of an expression: signs, names, words and strings, from the cursor j->p on. */
#include "lb_jinja_internal.h"

static bool jinja_is_name(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

void lb_jinja_space(jinja *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\t' || *j->p == '\r')) {
        j->p++;
    }
}

/* Takes a sign such as "==" if it comes next. */
bool lb_jinja_take(jinja *j, const char *sign)
{
    lb_jinja_space(j);
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
    lb_jinja_space(j);
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

void lb_jinja_want(jinja *j, const char *sign)
{
    if (!lb_jinja_take(j, sign)) {
        lb_jinja_no(j, "its syntax is not understood");
    }
}

bool lb_jinja_name_is(const char *name, size_t bytes, const char *word)
{
    return bytes == strlen(word) && memcmp(name, word, bytes) == 0;
}

jinja_value lb_jinja_literal(jinja *j)
{
    const char quote = *j->p++;
    const char *from = j->p;
    size_t n = 0;
    while (j->p < j->end && *j->p != quote) {
        j->p += *j->p == '\\' && j->p + 1 < j->end ? 2 : 1;
    }
    if (j->p >= j->end) {
        return lb_jinja_no(j, "a string does not end");
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
            default: return lb_jinja_no(j, "an escape sequence in a string is not known");
            }
        }
        text[n++] = c;
    }
    return text ? lb_jinja_string(text, n) : lb_jinja_undefined;
}
