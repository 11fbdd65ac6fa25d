/*
 * Command lines of the programs: a table of options gives parsing and --help. Not part of the library.
 * Exit status: 0 done, 1 failed (one line on standard error; also if standard output could not be written), 2 wrong usage.
 */
#ifndef LB_ARGS_H
#define LB_ARGS_H

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../include/lbrt.h"

typedef enum lb_arg_type { LB_ARG_FLAG, LB_ARG_STRING, LB_ARG_UINT, LB_ARG_U64, LB_ARG_FLOAT, LB_ARG_STRINGS } lb_arg_type;

enum { LB_ARG_MAX_STRINGS = 64 };

typedef struct lb_arg_strings {
    const char *item[LB_ARG_MAX_STRINGS];
    unsigned n;
} lb_arg_strings;

typedef struct lb_arg {
    const char *name;  /* "-n" or "--temp" */
    const char *also;  /* another spelling, or NULL */
    lb_arg_type type;
    void *target;      /* bool, const char *, uint32_t, uint64_t, float, lb_arg_strings */
    const char *value; /* what to call the value in the help */
    const char *help;
} lb_arg;

typedef struct lb_usage {
    const char *program, *synopsis, *about;
    const lb_arg *args;
    size_t n_args;
    unsigned min_words, max_words; /* arguments that are not options */
} lb_usage;

static inline void lb_usage_print(const lb_usage *u, FILE *to)
{
    fprintf(to, "usage: %s %s\n%s\n", u->program, u->synopsis, u->about);
    for (size_t i = 0; i < u->n_args; i++) {
        const lb_arg *a = &u->args[i];
        char left[64];
        snprintf(left, sizeof left, "%s%s%s%s%s", a->name, a->also ? ", " : "", a->also ? a->also : "", a->value ? " " : "",
                 a->value ? a->value : "");
        fprintf(to, "  %-24s %s\n", left, a->help);
    }
    fprintf(to, "  %-24s %s\n", "-h, --help", "this text");
}

/*
 * The end of every program: its exit status, which is 1, with a sentence, if what it printed did not all get out (a full disk, a closed
 * standard output).
 */
static inline int lb_program_end(const char *program, int status)
{
    errno = 0;
    const int failed = fflush(stdout), why = errno;
    if (failed || ferror(stdout)) { /* an error of earlier has left no reason */
        fprintf(stderr, "%s: cannot write to standard output%s%s\n", program, failed && why ? ": " : "", failed && why ? strerror(why) : "");
        return 1;
    }
    return status;
}

/* Standard files that are closed stay unusable: no file that is opened later gets their numbers, and what is printed is not written into it. */
static inline void lb_program_begin(void)
{
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0) {
            exit(1);
        }
    }
}

__attribute__((noreturn, format(printf, 2, 3))) static inline void lb_usage_fail(const lb_usage *u, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "%s: ", u->program);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, " (try %s --help)\n", u->program);
    va_end(args);
    exit(2);
}

static inline void lb_arg_set(const lb_usage *u, const lb_arg *a, const char *text)
{
    char *end = NULL;
    errno = 0;
    bool ok = true;
    switch (a->type) {
    case LB_ARG_FLAG: *(bool *)a->target = true; break;
    case LB_ARG_STRING: *(const char **)a->target = text; break;
    case LB_ARG_UINT: {
        unsigned long v = strtoul(text, &end, 10);
        ok = *text >= '0' && *text <= '9' && *end == 0 && errno == 0 && v <= UINT32_MAX;
        *(uint32_t *)a->target = (uint32_t)v;
        break;
    }
    case LB_ARG_U64: {
        unsigned long long v = strtoull(text, &end, 10);
        ok = *text >= '0' && *text <= '9' && *end == 0 && errno == 0;
        *(uint64_t *)a->target = v;
        break;
    }
    case LB_ARG_FLOAT: {
        float v = strtof(text, &end);
        ok = *text && *end == 0 && isfinite(v);
        *(float *)a->target = v;
        break;
    }
    case LB_ARG_STRINGS: {
        lb_arg_strings *list = (lb_arg_strings *)a->target;
        if (list->n == LB_ARG_MAX_STRINGS) {
            lb_usage_fail(u, "%s is given more than %d times", a->name, LB_ARG_MAX_STRINGS);
        }
        list->item[list->n++] = text;
        break;
    }
    }
    if (!ok) {
        lb_usage_fail(u, "%s needs a number, not '%s'", a->name, text);
    }
}

/* Fills the targets and words (max_words of them); returns how many words there were. Ends the program on --help and on errors. */
static inline unsigned lb_args_parse(const lb_usage *u, int argc, char **argv, const char **words)
{
    unsigned n_words = 0;
    lb_program_begin();
    for (int i = 1; i < argc; i++) {
        const char *text = argv[i];
        if (strcmp(text, "-h") == 0 || strcmp(text, "--help") == 0) {
            lb_usage_print(u, stdout);
            exit(lb_program_end(u->program, 0));
        }
        if (text[0] != '-' || text[1] == 0) {
            if (n_words == u->max_words) {
                lb_usage_fail(u, "one argument too many: '%s'", text);
            }
            words[n_words++] = text;
            continue;
        }
        const lb_arg *a = NULL;
        const char *value = NULL;
        for (size_t j = 0; j < u->n_args && !a; j++) {
            const char *names[] = { u->args[j].name, u->args[j].also };
            for (size_t k = 0; k < 2 && !a; k++) {
                size_t n = names[k] ? strlen(names[k]) : 0;
                if (n && strcmp(text, names[k]) == 0) {
                    a = &u->args[j];
                } else if (n > 2 && strncmp(text, names[k], n) == 0 && text[n] == '=') {
                    a = &u->args[j];
                    value = text + n + 1;
                }
            }
        }
        if (!a) {
            lb_usage_fail(u, "unknown option %s", text);
        }
        if (a->type == LB_ARG_FLAG && value) {
            lb_usage_fail(u, "%s takes no value", a->name);
        }
        if (a->type != LB_ARG_FLAG && !value) {
            if (++i >= argc) {
                lb_usage_fail(u, "%s needs a value", a->name);
            }
            value = argv[i];
        }
        lb_arg_set(u, a, value);
    }
    if (n_words < u->min_words) {
        lb_usage_fail(u, "an argument is missing");
    }
    return n_words;
}

/* Prints "program: text" and ends with status 1. */
__attribute__((noreturn, format(printf, 2, 3))) static inline void lb_program_fail(const char *program, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fflush(stdout);
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

/* What is wrong with a file; many sentences name it themselves. */
__attribute__((noreturn)) static inline void lb_program_fail_file(const char *program, const char *path, const char *text)
{
    if (strstr(text, path)) {
        lb_program_fail(program, "%s", text);
    }
    lb_program_fail(program, "%s: %s", path, text);
}

/* What is wrong with a model; who gives a program another kind of file is told what to do with it. */
__attribute__((noreturn)) static inline void lb_program_fail_model(const char *program, const char *path, const lbrt_error *err)
{
    char text[400];
    const bool other = strcmp(err->text, "not an lbrt file") == 0 || strstr(err->text, "is not a regular file");
    snprintf(text, sizeof text, "%s%s", err->text, other ? "; lbrt-convert makes one of a GGUF file, a Hugging Face folder or a llama2.c file" : "");
    lb_program_fail_file(program, path, text);
}

#define LB_ARG_KV "f32, f16, q8, q4, q2, or KEYS/VALUES as in q8/q4"

/* "q8" or "q8/q4" to KV formats, numbered as lbrt_kv_format; false if unknown. */
static inline bool lb_arg_kv(const char *text, int *key, int *value)
{
    static const char *const names[] = { "", "f32", "f16", "q8", "q4", "q2" };
    int found[2] = { -1, -1 };
    const char *slash = strchr(text, '/');
    for (int i = 1; i < 6; i++) {
        size_t n = strlen(names[i]);
        size_t key_bytes = slash ? (size_t)(slash - text) : strlen(text);
        if (key_bytes == n && memcmp(text, names[i], n) == 0) {
            found[0] = i;
        }
        if (strcmp(slash ? slash + 1 : text, names[i]) == 0) {
            found[1] = i;
        }
    }
    *key = found[0];
    *value = found[1];
    return found[0] > 0 && found[1] > 0;
}

/* A string as JSON, with its quotes. */
static inline void lb_json_print(FILE *to, const char *s)
{
    lbrt_utf8 gate = { 0 }; /* a path may be no UTF-8, which JSON is */
    char whole[16];
    fputc('"', to);
    for (bool more = true; more; s++) {
        more = *s != 0;
        const size_t n = lbrt_utf8_push(&gate, s, more, whole);
        for (size_t i = 0; i < n; i++) {
            const unsigned char c = (unsigned char)whole[i];
            if (c == '"' || c == '\\') {
                fprintf(to, "\\%c", c);
            } else if (c < 32) {
                fprintf(to, "\\u%04x", (unsigned)c);
            } else {
                fputc(c, to);
            }
        }
    }
    fputc('"', to);
}

#endif /* LB_ARGS_H */
