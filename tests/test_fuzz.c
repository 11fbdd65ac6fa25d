/*
 * The fuzz targets of tests/fuzz on their corpus, and on simple mutations of it that are the same in every run. make fuzz-NAME looks for new
 * inputs; what it finds belongs into tests/fuzz/corpus/NAME. LBRT_FUZZ_MUTATIONS=100000 in the environment is a fuzzer of a kind where there is
 * no clang; an input that ends the process is then left in ./fuzz-crash.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/lb_fuzz.h"
#include "lb_test.h"

enum { FUZZ_MUTATIONS = 40, FUZZ_FILES = 256 };

#define FUZZ_TARGET(name) int lb_fuzz_##name(const uint8_t *data, size_t bytes);
#define FUZZ_TARGETS                                                                                        \
    FUZZ_TARGET(container) FUZZ_TARGET(gguf) FUZZ_TARGET(safetensors) FUZZ_TARGET(tokenizer) FUZZ_TARGET(template) FUZZ_TARGET(state) \
        FUZZ_TARGET(api)
FUZZ_TARGETS
#undef FUZZ_TARGET
#define FUZZ_TARGET(name) { #name, lb_fuzz_##name },
static const struct {
    const char *name;
    int (*run)(const uint8_t *data, size_t bytes);
} fuzz_targets[] = { FUZZ_TARGETS };

static int fuzz_by_name(const void *a, const void *b)
{
    return strcmp((const char *)a, (const char *)b);
}

static struct {
    const uint8_t *data;
    size_t bytes;
} fuzz_now;

static void fuzz_crash(int sig)
{
    const int fd = open("fuzz-crash", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd >= 0 && write(fd, fuzz_now.data, fuzz_now.bytes) == (ssize_t)fuzz_now.bytes) {
        close(fd);
    }
    signal(sig, SIG_DFL);
    raise(sig);
}

static void fuzz_mutations(size_t target, const uint8_t *data, size_t bytes)
{
    uint64_t seed = bytes * 64 + target; /* the same sequence of mutations for the same file, whatever ran before */
    enum { LEAST = LB_FUZZ_PROGRAM };
    uint8_t *copy = malloc(bytes + LEAST);
    const char *more = getenv("LBRT_FUZZ_MUTATIONS");
    const unsigned long all = more ? strtoul(more, NULL, 10) : FUZZ_MUTATIONS;
    for (unsigned long i = 0; copy && i < all; i++) {
        size_t n = bytes;
        memcpy(copy, data, bytes);
        if (i % 4 == 3 && strcmp(fuzz_targets[target].name, "api") == 0) {
            n = lb_fuzz_api_program(&seed, copy, LEAST);
        } else if (i % 4 == 3) { /* for those to whom every byte means something */
            for (n = 0; n < LEAST; n++) {
                copy[n] = (uint8_t)lb_fuzz_random(&seed);
            }
        }
        for (uint64_t changes = 1 + lb_fuzz_random(&seed) % 4; changes && n > 1; changes--) {
            /* what matters stands in front: half of the changes go there */
            const size_t at = (size_t)(lb_fuzz_random(&seed) % (lb_fuzz_random(&seed) % 2 && n > 600 ? 600 : n));
            switch (lb_fuzz_random(&seed) % 5) {
            case 0: copy[at] ^= (uint8_t)(1u << lb_fuzz_random(&seed) % 8); break;
            case 1: copy[at] = (uint8_t)lb_fuzz_random(&seed); break;
            case 2: copy[at] = lb_fuzz_random(&seed) % 2 ? 0xff : 0; break;
            case 3: n = at + 1; break;
            default: {
                const size_t from = (size_t)(lb_fuzz_random(&seed) % n), most = n - (at > from ? at : from);
                memmove(copy + at, copy + from, most < 16 ? most : 16);
                break;
            }
            }
        }
        fuzz_now.data = copy;
        fuzz_now.bytes = n;
        fuzz_targets[target].run(copy, n);
    }
    free(copy);
}

void test_fuzz(void)
{
    static char names[FUZZ_FILES][256];
    if (getenv("LBRT_FUZZ_MUTATIONS")) {
        signal(SIGABRT, fuzz_crash);
        signal(SIGSEGV, fuzz_crash);
    }
    for (size_t t = 0; t < sizeof fuzz_targets / sizeof fuzz_targets[0]; t++) {
        lb_test_case("corpus of %s", fuzz_targets[t].name);
        char path[1024];
        snprintf(path, sizeof path, "tests/fuzz/corpus/%s", fuzz_targets[t].name);
        DIR *d = opendir(path);
        size_t n = 0;
        for (struct dirent *e; d && (e = readdir(d)) && n < FUZZ_FILES;) {
            if (e->d_name[0] != '.') {
                snprintf(names[n++], sizeof names[0], "%s", e->d_name);
            }
        }
        if (d) {
            closedir(d);
        }
        LB_CHECK(n > 0 && n < FUZZ_FILES, "%zu files in %s (the tests run in the checkout's top folder)", n, path);
        qsort(names, n, sizeof names[0], fuzz_by_name);
        for (size_t i = 0; i < n; i++) {
            snprintf(path, sizeof path, "tests/fuzz/corpus/%s/%.255s", fuzz_targets[t].name, names[i]);
            size_t bytes = 0;
            char *data = lb_test_read(path, &bytes);
            if (LB_CHECK(data != NULL, "%s", path)) {
                fuzz_targets[t].run((const uint8_t *)data, bytes);
                fuzz_mutations(t, (const uint8_t *)data, bytes);
            }
            free(data);
        }
        fuzz_targets[t].run(NULL, 0);
    }
}
