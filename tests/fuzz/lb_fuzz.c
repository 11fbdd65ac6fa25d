#include "lb_fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

void lb_fuzz_check(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "fuzz: %s\n", what);
        abort();
    }
}

uint64_t lb_fuzz_random(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

enum { FUZZ_MEMORY = 64 << 20 };

static struct {
    size_t alive;
    uint64_t fail_at;
} memory;

static void *fuzz_alloc(void *user, size_t bytes, size_t align)
{
    (void)user;
    void *p = NULL;
    if ((memory.fail_at && --memory.fail_at == 0) || bytes > FUZZ_MEMORY - memory.alive ||
        posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, bytes) != 0) {
        return NULL;
    }
    memory.alive += bytes;
    return p;
}

static void fuzz_free(void *user, void *p, size_t bytes, size_t align)
{
    (void)user;
    (void)align;
    memory.alive -= bytes;
    free(p);
}

const lbrt_allocator *lb_fuzz_allocator(uint64_t fail_at)
{
    static const lbrt_allocator a = { fuzz_alloc, fuzz_free, NULL };
    memory.fail_at = fail_at;
    return &a;
}

size_t lb_fuzz_alive(void)
{
    return memory.alive;
}

void lb_fuzz_error(lbrt_status status, const lbrt_error *err)
{
    if (status != LBRT_OK) {
        lb_fuzz_check(err->text[0] != 0 && err->status == status, "a failure without a sentence");
    }
}

const char *lb_fuzz_file(const uint8_t *data, size_t bytes)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
#if defined(__linux__)
        fd = memfd_create("lbrt-fuzz", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
#endif
    }
    if (fd < 0 || access(path, R_OK) != 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, bytes, 0) != (ssize_t)bytes) {
        return NULL;
    }
    return path;
}

unsigned char *lb_fuzz_copy(const uint8_t *data, size_t bytes)
{
    void *p = NULL;
    lb_fuzz_check(posix_memalign(&p, 64, bytes ? bytes : 1) == 0, "out of memory");
    if (bytes) {
        memcpy(p, data, bytes);
    }
    return (unsigned char *)p;
}

char *lb_fuzz_text(const uint8_t *data, size_t bytes)
{
    char *p = malloc(bytes + 1);
    lb_fuzz_check(p != NULL, "out of memory");
    if (bytes) {
        memcpy(p, data, bytes);
    }
    p[bytes] = 0;
    return p;
}

#ifdef LB_FUZZER
/* What the tests' model makers ask of the test runner, which a fuzzer does not have. */
#include <stdarg.h>

#include "../lb_test.h"

bool lb_test_check(bool ok, const char *file, int line, const char *fmt, ...)
{
    (void)file;
    (void)line;
    lb_fuzz_check(ok, fmt);
    return ok;
}

const char *lb_test_temp(const char *name)
{
    static char dir[64], path[4][256];
    static unsigned turn;
    if (!dir[0]) {
        snprintf(dir, sizeof dir, "/tmp/lbrt-fuzz-XXXXXX");
        lb_fuzz_check(mkdtemp(dir) != NULL, "no temporary folder");
    }
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

char *lb_test_read(const char *path, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    char *data = malloc(1 << 22);
    lb_fuzz_check(f && data, "cannot read a model of our own");
    *bytes = fread(data, 1, 1 << 22, f);
    fclose(f);
    return data;
}
#endif
