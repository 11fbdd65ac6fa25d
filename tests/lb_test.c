/* The test runner: `lbrt-test [NAME...]` runs the named test files, or all. LB_TEST_SEED=N: with other random numbers. */
#include "lb_test.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LB_TEST_ENTRY(name) void test_##name(void);
#include "test_list.inc"
#undef LB_TEST_ENTRY

static struct {
    char name[256];
    bool open, failed, skipped;
    unsigned passed, failures, skips;
    uint64_t random;
    char temp_dir[64];
} state;

static void end_case(void)
{
    if (!state.open) {
        return;
    }
    state.open = false;
    if (state.failed) {
        state.failures++;
    } else if (state.skipped) {
        state.skips++;
    } else {
        state.passed++;
    }
}

void lb_test_case(const char *fmt, ...)
{
    end_case();
    va_list args;
    va_start(args, fmt);
    vsnprintf(state.name, sizeof state.name, fmt, args);
    va_end(args);
    state.open = true;
    state.failed = state.skipped = false;
}

void lb_test_skip(const char *fmt, ...)
{
    state.skipped = true;
    printf("SKIP %s: ", state.name);
    va_list args;
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
}

bool lb_test_check(bool ok, const char *file, int line, const char *fmt, ...)
{
    if (!ok) {
        state.failed = true;
        printf("FAIL %s\n     %s:%d: ", state.name, file, line);
        va_list args;
        va_start(args, fmt);
        vprintf(fmt, args);
        va_end(args);
        printf("  [random state %016llx]\n", (unsigned long long)state.random);
        fflush(stdout);
    }
    return ok;
}

const char *lb_test_shared(const char *relative)
{
    static char path[4096];
    const char *root = getenv("LBRT_SHARED");
    snprintf(path, sizeof path, "%s/%s", root ? root : "../shared", relative);
    return access(path, R_OK) == 0 ? path : NULL;
}

const char *lb_test_temp(const char *name)
{
    static char path[4][256];
    static unsigned turn;
    if (!state.temp_dir[0]) {
        snprintf(state.temp_dir, sizeof state.temp_dir, "/tmp/lbrt-test-XXXXXX");
        if (!mkdtemp(state.temp_dir)) {
            perror("mkdtemp");
            exit(1);
        }
    }
    char *p = path[turn++ % 4];
    snprintf(p, 256, "%s/%s", state.temp_dir, name);
    return p;
}

char *lb_test_read(const char *path, size_t *bytes)
{
    FILE *f = path ? fopen(path, "rb") : NULL;
    if (!f) {
        return NULL;
    }
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *data = n < 0 ? NULL : malloc((size_t)n + 1);
    if (data && fread(data, 1, (size_t)n, f) != (size_t)n) {
        free(data);
        data = NULL;
    }
    fclose(f);
    if (data) {
        data[n] = 0;
        if (bytes) {
            *bytes = (size_t)n;
        }
    }
    return data;
}

uint64_t lb_test_random(void) /* xorshift64* */
{
    uint64_t x = state.random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    state.random = x;
    return x * 0x2545f4914f6cdd1dull;
}

float lb_test_gauss(void)
{
    double u = ((double)(lb_test_random() >> 11) + 1.0) * 0x1p-53;
    double v = (double)(lb_test_random() >> 11) * 0x1p-53;
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}

/* ---- allocator ---- */

static struct {
    uint64_t count, fail_at;
    size_t alive;
} heap;

static void *heap_alloc(void *user, size_t bytes, size_t align)
{
    (void)user;
    uint64_t n = __atomic_add_fetch(&heap.count, 1, __ATOMIC_RELAXED);
    if (heap.fail_at && n >= heap.fail_at) {
        return NULL;
    }
    void *p = NULL;
    if (posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, bytes) != 0) {
        return NULL;
    }
    __atomic_add_fetch(&heap.alive, bytes, __ATOMIC_RELAXED);
    return p;
}

static void heap_free(void *user, void *ptr, size_t bytes, size_t align)
{
    (void)user;
    (void)align;
    __atomic_sub_fetch(&heap.alive, bytes, __ATOMIC_RELAXED);
    free(ptr);
}

const lbrt_allocator *lb_test_allocator(uint64_t fail_at)
{
    static const lbrt_allocator a = { heap_alloc, heap_free, NULL };
    heap.count = 0;
    heap.fail_at = fail_at;
    return &a;
}

uint64_t lb_test_alloc_count(void)
{
    return heap.count;
}

size_t lb_test_alloc_alive(void)
{
    return heap.alive;
}

/* ---- guard pages ---- */

static struct guard {
    void *user, *base;
    size_t bytes;
} guards[64];

void *lb_test_guard(size_t n, bool at_start)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t body = (n + page - 1) / page * page;
    size_t total = body + 2 * page;
    char *base = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    memset(base + page, 0xa5, body);
    mprotect(base, page, PROT_NONE);
    mprotect(base + page + body, page, PROT_NONE);
    char *user = at_start ? base + page : base + page + body - n;
    for (size_t i = 0; i < sizeof guards / sizeof guards[0]; i++) {
        if (!guards[i].base) {
            guards[i] = (struct guard){ user, base, total };
            return user;
        }
    }
    fprintf(stderr, "too many guard blocks\n");
    exit(1);
}

void lb_test_guard_free(void *p)
{
    for (size_t i = 0; i < sizeof guards / sizeof guards[0]; i++) {
        if (guards[i].base && guards[i].user == p) {
            munmap(guards[i].base, guards[i].bytes);
            guards[i] = (struct guard){ NULL, NULL, 0 };
            return;
        }
    }
}

/* Each file has random numbers of its own (FNV-1a of its name): what others draw does not change its data. */
static uint64_t first_random(const char *name)
{
    const char *seed = getenv("LB_TEST_SEED");
    uint64_t hash = 0xcbf29ce484222325u ^ (seed ? strtoull(seed, NULL, 0) * 0x9e3779b97f4a7c15u : 0);
    for (; *name; name++) {
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    }
    return hash ? hash : 1;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    static const struct {
        const char *name;
        void (*fn)(void);
    } tests[] = {
#define LB_TEST_ENTRY(name) { #name, test_##name },
#include "test_list.inc"
    };
    for (int j = 1; j < argc; j++) { /* a name that nobody has would be passed by all of its checks */
        bool known = false;
        for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
            known |= strcmp(argv[j], tests[i].name) == 0;
        }
        if (!known) {
            fprintf(stderr, "there is no test %s\n", argv[j]);
            return 2;
        }
    }
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        bool wanted = argc < 2;
        for (int j = 1; j < argc; j++) {
            wanted |= strcmp(argv[j], tests[i].name) == 0;
        }
        if (wanted) {
            printf("== %s\n", tests[i].name);
            state.random = first_random(tests[i].name);
            tests[i].fn();
            end_case();
        }
    }
    if (state.temp_dir[0]) {
        char command[128];
        snprintf(command, sizeof command, "rm -rf '%s'", state.temp_dir);
        if (system(command) != 0) {
            fprintf(stderr, "could not remove %s\n", state.temp_dir);
        }
    }
    printf("%u passed, %u failed", state.passed, state.failures);
    if (state.skips) {
        printf(", %u skipped", state.skips);
    }
    printf("\n");
    return state.failures ? 1 : state.passed ? 0 : 1;
}
