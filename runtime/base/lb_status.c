/* Status names, messages, and the small formatter behind them (no locale, no stdio). */
#include "lb_utf8.h"

#include <stdarg.h>

int lbrt_version(void)
{
    return LBRT_VERSION;
}

const char *lbrt_status_name(lbrt_status status)
{
    switch (status) {
    case LBRT_OK: return "ok";
    case LBRT_CANCELLED: return "cancelled";
    case LBRT_ERR_ARGUMENT: return "invalid argument";
    case LBRT_ERR_STATE: return "invalid state";
    case LBRT_ERR_BUFFER: return "buffer too small";
    case LBRT_ERR_MEMORY: return "out of memory";
    case LBRT_ERR_IO: return "input/output error";
    case LBRT_ERR_THREAD: return "thread could not be started";
    case LBRT_ERR_FORMAT: return "malformed data";
    case LBRT_ERR_UNSUPPORTED: return "unsupported";
    case LBRT_ERR_CHECKSUM: return "checksum mismatch";
    case LBRT_ERR_CONTEXT_FULL: return "context is full";
    case LBRT_ERR_NUMERIC: return "no finite logits";
    }
    return "unknown status";
}

typedef struct lb_text_out {
    char *out;
    size_t cap, n;
} lb_text_out;

static void text_put(lb_text_out *t, char c)
{
    if (t->n + 1 < t->cap) {
        t->out[t->n++] = c;
    }
}

static void text_put_number(lb_text_out *t, uint64_t v, bool negative, unsigned base)
{
    char digits[24];
    size_t n = 0;
    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    if (negative) {
        text_put(t, '-');
    }
    while (n) {
        text_put(t, digits[--n]);
    }
}

static void text_put_signed(lb_text_out *t, long long v)
{
    text_put_number(t, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0, 10);
}

/* A string from a file may hold anything: control bytes become '?' so that a message stays one line. */
static void text_put_string(lb_text_out *t, const char *s, size_t max)
{
    for (size_t i = 0; s && i < max && s[i]; i++) {
        text_put(t, (unsigned char)s[i] < 32 || s[i] == 127 ? '?' : s[i]);
    }
}

static size_t text_format(char *out, size_t cap, const char *fmt, va_list args)
{
    lb_text_out t = { out, cap, 0 };
    for (; *fmt; fmt++) {
        if (*fmt != '%') {
            text_put(&t, *fmt);
            continue;
        }
        fmt++;
        size_t max = SIZE_MAX;
        if (fmt[0] == '.' && fmt[1] == '*') {
            int n = va_arg(args, int);
            max = n < 0 ? 0 : (size_t)n;
            fmt += 2;
        }
        unsigned longs = 0;
        bool is_size = false;
        for (;; fmt++) {
            if (*fmt == 'l') {
                longs++;
            } else if (*fmt == 'z') {
                is_size = true;
            } else {
                break;
            }
        }
        switch (*fmt) {
        case 's': text_put_string(&t, va_arg(args, const char *), max); break;
        case 'c': text_put(&t, (char)va_arg(args, int)); break;
        case '%': text_put(&t, '%'); break;
        case 'd':
            text_put_signed(&t, longs == 2 ? va_arg(args, long long) : longs ? va_arg(args, long) : va_arg(args, int));
            break;
        case 'u':
        case 'x': {
            uint64_t v = is_size      ? va_arg(args, size_t)
                         : longs == 2 ? va_arg(args, unsigned long long)
                         : longs      ? va_arg(args, unsigned long)
                                      : va_arg(args, unsigned);
            text_put_number(&t, v, false, *fmt == 'x' ? 16 : 10);
            break;
        }
        case 0: fmt--; break;
        default: text_put(&t, '?'); break;
        }
    }
    if (cap) {
        out[t.n] = 0;
    }
    return t.n;
}

size_t lb_format(char *out, size_t cap, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    size_t n = text_format(out, cap, fmt, args);
    va_end(args);
    return n;
}

lbrt_status lb_fail(lbrt_error *err, lbrt_status status, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        err->status = status;
        lb_utf8_clean(err->text, text_format(err->text, sizeof err->text, fmt, args)); /* what a file said, or a last character that was cut */
        va_end(args);
    }
    return status;
}
