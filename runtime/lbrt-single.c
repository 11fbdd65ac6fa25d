/*
 * lbrt-single: writes the whole runtime as one header. `make single` calls it; building and using lbrt never does.
 *
 *     lbrt-single include/lbrt.h SOURCE.c... >lbrt_single.h
 *
 * What it does: the public header first, and below it, for LBRT_IMPLEMENTATION, the sources in the order given, each with what it includes
 * in its place. A header with an include guard appears once, before the source that needs it first; one without is a template and
 * is expanded wherever it is included. What several files share, and is therefore declared in a header, gets LB_LINK in front,
 * which makes it static: in C the first declaration decides. The output depends on nothing but the sources.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../include/lbrt.h"
#include "base/lb_base.h"

enum { MAX_PATH = 512, MAX_FILES = 512, MAX_DEPTH = 16 };

typedef struct lb_source_file {
    char path[MAX_PATH];
    char *text;
    bool guarded, arch, written; /* arch: belongs to one architecture, whose sources are within #if */
    unsigned expanded;
} lb_source_file;

static lb_source_file *files[MAX_FILES];
static size_t n_files;
static lb_hash sources;

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "lbrt-single: %s: %s\n", path, what);
    exit(1);
}

static char *read_whole(const char *path)
{
    FILE *f = fopen(path, "rb");
    long bytes = -1;
    char *text = NULL;
    if (f && fseek(f, 0, SEEK_END) == 0 && (bytes = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0) {
        text = (char *)malloc((size_t)bytes + 1);
    }
    if (!text || fread(text, 1, (size_t)bytes, f) != (size_t)bytes) {
        fail("cannot be read", path);
    } else {
        text[bytes] = 0;
    }
    fclose(f);
    return text;
}

/* Guarded: its first two directives are #ifndef X and #define X, without a value. */
static bool is_guarded(const char *text)
{
    char name[128];
    const char *p = strstr(text, "\n#"), *first = text[0] == '#' ? text : p ? p + 1 : "";
    if (sscanf(first, "#ifndef %127s", name) != 1 || !(p = strchr(first, '\n'))) {
        return false;
    }
    const size_t n = strlen(name);
    return strncmp(p + 1, "#define ", 8) == 0 && strncmp(p + 9, name, n) == 0 && p[9 + n] == '\n';
}

static lb_source_file *file_at(const char *path)
{
    for (size_t i = 0; i < n_files; i++) {
        if (strcmp(files[i]->path, path) == 0) {
            return files[i];
        }
    }
    lb_source_file *f = (lb_source_file *)calloc(1, sizeof *f);
    if (!f || n_files == MAX_FILES || strlen(path) >= sizeof f->path) {
        fail("too many files, or too long a name", path);
        return NULL;
    }
    strcpy(f->path, path);
    f->text = read_whole(path);
    f->guarded = is_guarded(f->text);
    f->arch = strncmp(path, "kernels/", 8) == 0 && strncmp(path, "kernels/tmpl/", 13) != 0 && strchr(path + 8, '/');
    lb_hash_add(&sources, path, strlen(path));
    lb_hash_add(&sources, f->text, strlen(f->text));
    return files[n_files++] = f;
}

/* The file that a line of `from` includes: #include "NAME", relative to where `from` lies. NULL: this line includes nothing of ours. */
static lb_source_file *included(const lb_source_file *from, const char *line)
{
    char name[MAX_PATH], path[2 * MAX_PATH];
    if (sscanf(line, "#include \"%511[^\"\n]\"", name) != 1) {
        return NULL;
    }
    const char *slash = strrchr(from->path, '/'), *rest = name;
    size_t dir = slash ? (size_t)(slash - from->path) + 1 : 0; /* with its slash */
    while (strncmp(rest, "../", 3) == 0 && dir > 0) {
        rest += 3;
        for (dir--; dir > 0 && from->path[dir - 1] != '/'; dir--) {
        }
    }
    snprintf(path, sizeof path, "%.*s%s", (int)dir, from->path, rest);
    return file_at(path);
}

static const char *line_end(const char *p)
{
    const char *end = strchr(p, '\n');
    return end ? end + 1 : p + strlen(p);
}

/* A line at the left margin that declares a function of ours and lets other files see it. */
static bool declares_function(const char *line, size_t n)
{
    static const char *const not[] = {"static ", "typedef ", "extern "};
    char word[256];
    if (n >= sizeof word || line[0] < 'a' || line[0] > 'z') {
        return false;
    }
    for (size_t i = 0; i < sizeof not / sizeof not[0]; i++) {
        if (strncmp(line, not[i], strlen(not[i])) == 0) {
            return false;
        }
    }
    memcpy(word, line, n);
    word[n] = 0;
    const char *name = strstr(word, "lb_"), *paren = strchr(word, '(');
    for (; name && paren && name < paren; name = strstr(name + 1, "lb_")) {
        const char *end = name + strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
        if (end == paren && name > word && (name[-1] == ' ' || name[-1] == '*')) {
            return true;
        }
    }
    return false;
}

static void write_line(const lb_source_file *f, const char *line, size_t n)
{
    if (f->guarded && declares_function(line, n)) {
        fputs("LB_LINK ", stdout);
    } else if (f->guarded && strncmp(line, "extern const ", 13) == 0) {
        fputs("LB_LINK_DATA", stdout);
        line += 6;
        n -= 6;
    } else if (!f->guarded && strncmp(line, "const ", 6) == 0 && memchr(line, '=', n) && !memchr(line, '(', (size_t)((const char *)memchr(line, '=', n) - line))) {
        fputs("LB_LINK ", stdout);
    }
    fwrite(line, 1, n, stdout);
}

/* A comment that has its lines to itself is left out of all expansions of a template but the first. */
static const char *skip_comment(const char *line)
{
    const char *p = line + strspn(line, " "), *end;
    if (strncmp(p, "/*", 2) == 0 && (end = strstr(p, "*/")) && end[2] == '\n') {
        return end + 3;
    }
    return line;
}

static void write_file(lb_source_file *f, unsigned depth);

/* Writes the shared headers that a file leads to, outside of its #if. */
static void write_headers(lb_source_file *f, unsigned depth)
{
    if (depth > MAX_DEPTH) {
        fail("includes itself", f->path);
    }
    for (const char *p = f->text; *p; p = line_end(p)) {
        lb_source_file *g = included(f, p);
        if (g && !g->written) {
            write_headers(g, depth + 1);
            if (g->guarded && !g->arch) {
                write_file(g, depth + 1);
            }
        }
    }
}

static void write_file(lb_source_file *f, unsigned depth)
{
    if (depth > MAX_DEPTH) {
        fail("includes itself", f->path);
    }
    f->written = f->guarded;
    printf("\n/* ---- %s ---- */\n", f->path);
    const bool again = f->expanded++ > 0;
    for (const char *p = f->text; *p;) {
        const char *end = line_end(p), *code = again ? skip_comment(p) : p;
        if (code != p) {
            p = code;
            continue;
        }
        lb_source_file *g = included(f, p);
        if (!g) {
            write_line(f, p, (size_t)(end - p));
        } else if (!g->written) {
            write_file(g, depth + 1);
        }
        p = end;
    }
}

static void write_text(const char *const *lines)
{
    for (; *lines; lines++) {
        puts(*lines);
    }
}

static const char *const head[] = {
    " *",
    " * The whole runtime in one header. In one C file of your program:",
    " *",
    " *     #define LBRT_IMPLEMENTATION",
    " *     #include \"lbrt_single.h\"",
    " *",
    " * and in all others, C or C++, only the second line. Build with `cc app.c -pthread -lm`: no other flag is needed. Every instruction-set",
    " * level of x86-64 and aarch64 is in it and chosen at run time. gcc optimises this file at -O2 even if asked for nothing;",
    " * clang cannot be told to in a file: give it -O2. Options, each before the include:",
    " *",
    " *     #define LBRT_STATIC         the functions of lbrt are static too: for one C file that is all that uses them",
    " *     #define LBRT_NO_PTHREADS    no threads: what a session computes, it computes in the thread that calls",
    " */",
    NULL,
};

static const char *const before[] = {
    "",
    "#if defined(LBRT_IMPLEMENTATION) && !defined(LBRT_IMPLEMENTATION_DONE)",
    "#define LBRT_IMPLEMENTATION_DONE",
    "",
    "#if defined(__cplusplus)",
    "#error \"lbrt_single.h: define LBRT_IMPLEMENTATION in a C file; C++ files include this header without it\"",
    "#elif !defined(__GNUC__)",
    "#error \"lbrt_single.h: lbrt needs gcc or clang\"",
    "#elif defined(__FAST_MATH__)",
    "#error \"lbrt_single.h: compile this file without -ffast-math, which takes away NaN and the same bits everywhere\"",
    "#endif",
    "#if defined(__GLIBC__) && !defined(__USE_GNU)",
    "#if !defined(__USE_MISC)",
    "#error \"lbrt_single.h: include it before all other headers, or compile with -D_GNU_SOURCE (or without -std=c11)\"",
    "#endif",
    "#endif",
    "",
    "/* Nothing here reaches the code behind this header. */",
    "#if defined(__clang__)",
    "#pragma clang diagnostic push",
    "#pragma clang diagnostic ignored \"-Wignored-pragmas\"", /* not all targets know float_control */
    "#pragma float_control(push)",
    "#pragma clang diagnostic ignored \"-Wunused-function\"",
    "#pragma clang diagnostic ignored \"-Wunused-const-variable\"",
    "#pragma clang diagnostic ignored \"-Wundefined-internal\"",
    "#else",
    "#pragma GCC push_options",
    "#if !defined(__OPTIMIZE__)",
    "#pragma GCC optimize(\"O2\")",
    "#endif",
    "#pragma GCC optimize(\"no-math-errno\")",
    "#pragma GCC diagnostic push",
    "#pragma GCC diagnostic ignored \"-Wunused-function\"",
    "#pragma GCC diagnostic ignored \"-Wunused-const-variable\"",
    "#endif",
    "",
    "/* What the files of lbrt share among themselves is static. Its tests, which look inside, define LBRT_LINK_VISIBLE. */",
    "#if defined(LBRT_LINK_VISIBLE)",
    "#define LB_LINK __attribute__((visibility(\"hidden\")))",
    "#define LB_LINK_DATA extern __attribute__((visibility(\"hidden\")))",
    "#else",
    "#define LB_LINK static",
    "#define LB_LINK_DATA static",
    "#endif",
    NULL,
};

static const char *const after[] = {
    "",
    "#if defined(__clang__)",
    "#pragma float_control(pop)",
    "#pragma clang diagnostic pop",
    "#else",
    "#pragma GCC diagnostic pop",
    "#pragma GCC pop_options",
    "#endif",
    "#endif /* LBRT_IMPLEMENTATION */",
    NULL,
};

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("usage: lbrt-single include/lbrt.h SOURCE.c... >lbrt_single.h\n", stderr);
        return 2;
    }
    /* All files are read before anything is written: the hash of the sources stands on top. */
    lb_hash_begin(&sources);
    for (int i = 1; i < argc; i++) {
        file_at(argv[i]);
    }
    for (size_t i = 0; i < n_files; i++) { // n_files grows meanwhile
        for (const char *p = files[i]->text; *p; p = line_end(p)) {
            included(files[i], p);
        }
    }
    const unsigned long long hash = (unsigned long long)lb_hash_end(&sources);
    printf("/*\n * lbrt %d.%d.%d in a single file, made by `make single` from sources whose hash is %016llx. Do not edit.\n", LBRT_VERSION_MAJOR,
           LBRT_VERSION_MINOR, LBRT_VERSION_PATCH, hash);
    write_text(head);
    puts("#if defined(LBRT_IMPLEMENTATION) && !defined(_GNU_SOURCE)\n#define _GNU_SOURCE /* sched_getaffinity and what POSIX has */\n#endif");
    lb_source_file *header = file_at(argv[1]);
    write_file(header, 0);
    printf("\n#ifndef LBRT_SOURCE_HASH\n#define LBRT_SOURCE_HASH \"%016llx\"\n#endif\n", hash);
    write_text(before);
    for (int i = 2; i < argc; i++) {
        write_headers(file_at(argv[i]), 0);
        write_file(file_at(argv[i]), 0);
    }
    write_text(after);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fail("cannot be written", "standard output");
    }
    return 0;
}
