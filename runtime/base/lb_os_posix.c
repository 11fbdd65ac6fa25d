/* The operating system by POSIX, with Linux's processor affinity where there is one. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* O_TMPFILE, when compiled without the Makefile's flags */
#endif
#include "lb_os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

lbrt_status lb_file_open(const char *path, int *fd, lbrt_error *err)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    LB_FAIL_IF(*fd < 0, err, LBRT_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    return LBRT_OK;
}

lbrt_status lb_file_range(int fd, const char *name, uint64_t offset, uint64_t *bytes, lbrt_error *err)
{
    struct stat st;
    LB_FAIL_IF(fstat(fd, &st) != 0 || !S_ISREG(st.st_mode), err, LBRT_ERR_IO, "%s is not a regular file", name);
    const uint64_t all = (uint64_t)st.st_size;
    LB_FAIL_IF(offset > all || *bytes > all - offset, err, LBRT_ERR_IO, "%s has %llu bytes: the range asked for lies behind its end", name,
               (unsigned long long)all);
    *bytes = *bytes ? *bytes : all - offset;
    LB_FAIL_IF(*bytes > SIZE_MAX / 2, err, LBRT_ERR_IO, "%s is too large for this machine's addresses", name);
    return LBRT_OK;
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

lbrt_status lb_file_map(int fd, const char *name, uint64_t offset, size_t bytes, lb_map *out, lbrt_error *err)
{
    *out = (lb_map){ NULL, 0 };
    if (bytes == 0) {
        return LBRT_OK;
    }
    const size_t before = (size_t)(offset % page_bytes());
    void *p = mmap(NULL, before + bytes, PROT_READ, MAP_SHARED, fd, (off_t)(offset - before));
    LB_FAIL_IF(p == MAP_FAILED, err, LBRT_ERR_IO, "cannot map %s: %s", name, strerror(errno));
    *out = (lb_map){ (const unsigned char *)p + before, bytes };
    return LBRT_OK;
}

int64_t lb_file_read(int fd, uint64_t offset, void *buffer, size_t bytes)
{
    for (;;) {
        const ssize_t n = pread(fd, buffer, lb_min(bytes, 1u << 30), (off_t)offset);
        if (n >= 0 || errno != EINTR) {
            return n;
        }
    }
}

void lb_file_close(int fd)
{
    close(fd);
}

lbrt_status lb_map_open(const char *path, lb_map *out, lbrt_error *err)
{
    *out = (lb_map){ NULL, 0 };
    int fd;
    uint64_t bytes = 0;
    LB_TRY(lb_file_open(path, &fd, err));
    lbrt_status s = lb_file_range(fd, path, 0, &bytes, err);
    s = s == LBRT_OK ? lb_file_map(fd, path, 0, (size_t)bytes, out, err) : s;
    close(fd);
    return s;
}

lbrt_status lb_map_reserve(size_t bytes, lb_map *out, lbrt_error *err)
{
    *out = (lb_map){ NULL, 0 };
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    LB_FAIL_IF(p == MAP_FAILED, err, LBRT_ERR_MEMORY, "no room for %zu bytes of addresses", bytes);
    *out = (lb_map){ (const unsigned char *)p, bytes };
    return LBRT_OK;
}

void lb_map_close(lb_map *map)
{
    if (map->data) {
        const size_t before = (uintptr_t)map->data % page_bytes();
        munmap((void *)((uintptr_t)map->data - before), before + map->bytes);
    }
    *map = (lb_map){ NULL, 0 };
}

static void map_advise(const lb_map *map, size_t offset, size_t bytes, int advice)
{
    if (!map->data || offset >= map->bytes) {
        return;
    }
    const uintptr_t from = ((uintptr_t)map->data + offset) / page_bytes() * page_bytes();
    const uintptr_t to = (uintptr_t)map->data + offset + lb_min(bytes, map->bytes - offset);
    (void)madvise((void *)from, to - from, advice);
}

void lb_map_will_need(const lb_map *map, size_t offset, size_t bytes)
{
    map_advise(map, offset, bytes, MADV_WILLNEED);
}

void lb_map_dont_need(const lb_map *map, size_t offset, size_t bytes)
{
    map_advise(map, offset, bytes, MADV_DONTNEED);
}

bool lb_path_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool lb_path_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool lb_path_join(char *out, size_t cap, const char *dir, const char *name)
{
    size_t n = strlen(dir), m = strlen(name);
    while (n > 1 && dir[n - 1] == '/') {
        n--;
    }
    if (n >= cap || m >= cap || n + m + 2 > cap) {
        return false;
    }
    memcpy(out, dir, n);
    out[n] = '/';
    memcpy(out + n + 1, name, m + 1);
    return true;
}

/* ---- files being written ---- */

static const char outfile_suffix[] = ".part-XXXXXX";

/*
 * A file of a name that nobody has, in place of the six last letters of temp; -1 and errno. As mkstemp, but with the permissions that the process gives new
 * files: to ask for these it would have to change them for a moment, for all threads.
 */
static int outfile_create(char *temp)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t x = (uint64_t)t.tv_nsec << 32 ^ (uint64_t)getpid() << 16 ^ (uintptr_t)temp;
    char *letters = temp + strlen(temp) - 6;
    for (int i = 0; i < 1000; i++) {
        for (int k = 0; k < 6; k++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            letters[k] = (char)('a' + (x >> 33) % 26);
        }
        const int fd = open(temp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) {
            return fd;
        }
    }
    return -1;
}

/* Where the system can: a file without a name until it is complete, of which nothing is left whatever ends this process. */
static bool outfile_open_unnamed(lb_outfile *f)
{
#if defined(O_TMPFILE)
    const char *slash = strrchr(f->path, '/');
    const size_t n = slash ? (size_t)(slash - f->path) : 0;
    if (access("/proc/self/fd", X_OK) != 0) { /* by which it gets its name */
        return false;
    }
    memcpy(f->temp, slash ? f->path : ".", slash ? n : 1);
    f->temp[slash ? n : 1] = 0;
    f->fd = open(slash && n == 0 ? "/" : f->temp, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    memcpy(f->temp, f->path, strlen(f->path));
    memcpy(f->temp + strlen(f->path), outfile_suffix, sizeof outfile_suffix);
    f->unnamed = f->fd >= 0;
    return f->unnamed;
#else
    (void)f;
    return false;
#endif
}

/* Names it beside its place, so that the rename that follows can take the place of an older file. */
static bool outfile_name(lb_outfile *f)
{
    char from[40];
    lb_format(from, sizeof from, "/proc/self/fd/%d", f->fd);
    for (int i = 0; i < 100; i++) {
        int taken = outfile_create(f->temp); /* a name that nobody has */
        if (taken < 0) {
            return false;
        }
        close(taken);
        unlink(f->temp);
        if (linkat(AT_FDCWD, from, AT_FDCWD, f->temp, AT_SYMLINK_FOLLOW) == 0) {
            f->unnamed = false;
            return true;
        }
        if (errno != EEXIST) {
            return false;
        }
        memcpy(f->temp + strlen(f->path), outfile_suffix, sizeof outfile_suffix);
    }
    return false;
}

lbrt_status lb_outfile_open(lb_outfile *f, const char *path, const lbrt_allocator *a, lbrt_error *err)
{
    *f = (lb_outfile){ .fd = -1, .a = *a };
    size_t n = strlen(path);
    LB_FAIL_IF(n == 0 || n > 1u << 20, err, LBRT_ERR_ARGUMENT, "the output path is empty or too long");
    struct stat there;
    LB_FAIL_IF(stat(path, &there) == 0 && !S_ISREG(there.st_mode), err, LBRT_ERR_IO, "%s is no regular file", path); /* the file would take a device's place */
    f->path_bytes = n + sizeof outfile_suffix;
    f->path = (char *)lb_alloc(a, f->path_bytes);
    f->temp = (char *)lb_alloc(a, f->path_bytes);
    if (!f->path || !f->temp) {
        lb_outfile_abort(f);
        return lb_fail(err, LBRT_ERR_MEMORY, "out of memory");
    }
    memcpy(f->path, path, n + 1);
    memcpy(f->temp, path, n);
    memcpy(f->temp + n, outfile_suffix, sizeof outfile_suffix);
    if (outfile_open_unnamed(f)) {
        return LBRT_OK;
    }
    f->fd = outfile_create(f->temp);
    if (f->fd < 0) {
        int why = errno;
        f->temp[0] = 0;
        lb_outfile_abort(f);
        return lb_fail(err, LBRT_ERR_IO, "cannot create a file beside %s: %s", path, strerror(why));
    }
    return LBRT_OK;
}

lbrt_status lb_outfile_write_at(lb_outfile *f, uint64_t offset, const void *data, size_t bytes, lbrt_error *err)
{
    const unsigned char *p = (const unsigned char *)data;
    while (bytes) {
        ssize_t n = pwrite(f->fd, p, lb_min(bytes, 1u << 30), (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        LB_FAIL_IF(n <= 0, err, LBRT_ERR_IO, "cannot write %s: %s", f->path, strerror(errno));
        p += n;
        bytes -= (size_t)n;
        offset += (uint64_t)n;
    }
    return LBRT_OK;
}

lbrt_status lb_outfile_write(lb_outfile *f, const void *data, size_t bytes, lbrt_error *err)
{
    LB_TRY(lb_outfile_write_at(f, f->offset, data, bytes, err));
    f->offset += bytes;
    return LBRT_OK;
}

lbrt_status lb_outfile_commit(lb_outfile *f, lbrt_error *err)
{
    int failed = fsync(f->fd) != 0 || (f->unnamed && !outfile_name(f));
    int why = errno;
    failed |= close(f->fd) != 0;
    f->fd = -1;
    LB_FAIL_IF(failed, err, LBRT_ERR_IO, "cannot finish %s: %s", f->path, strerror(why));
    LB_FAIL_IF(rename(f->temp, f->path) != 0, err, LBRT_ERR_IO, "cannot rename to %s: %s", f->path, strerror(errno));
    f->temp[0] = 0;
    return LBRT_OK;
}

void lb_outfile_abort(lb_outfile *f)
{
    if (f->fd >= 0) {
        close(f->fd);
    }
    if (f->temp && f->temp[0] && !f->unnamed) {
        unlink(f->temp);
    }
    lb_free(&f->a, f->temp, f->path_bytes);
    lb_free(&f->a, f->path, f->path_bytes);
    f->fd = -1;
    f->temp = f->path = NULL;
}

void lb_memory_huge(void *p, size_t bytes)
{
#if defined(MADV_HUGEPAGE)
    (void)madvise(p, bytes, MADV_HUGEPAGE);
#else
    (void)p;
    (void)bytes;
#endif
}

double lb_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

unsigned lb_cpu_count(void)
{
#if defined(LBRT_NO_PTHREADS)
    return 1;
#else
#if defined(__linux__)
    /* The call itself: the C library's function, and its sets, are there for _GNU_SOURCE only. */
    unsigned long set[1024 / sizeof(unsigned long)];
    const long bytes = syscall(SYS_sched_getaffinity, 0, sizeof set, set);
    unsigned count = 0;
    for (size_t i = 0; bytes > 0 && i < (size_t)bytes / sizeof set[0]; i++) {
        count += (unsigned)__builtin_popcountl(set[i]);
    }
    if (count > 0) {
        return count;
    }
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
#endif
}
