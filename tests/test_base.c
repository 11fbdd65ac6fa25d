/* The ground floor: messages, checksums, buffers, files, threads. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../runtime/base/lb_arena.h"
#include "../runtime/base/lb_buffer.h"
#include "../runtime/base/lb_os.h"
#include "../runtime/base/lb_threads.h"
#include "lb_test.h"

#if defined(__has_feature)
#define BASE_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define BASE_SANITIZED 1
#else
#define BASE_SANITIZED 0
#endif

/* ---- messages ---- */

#define FORMAT_CASE(...)                                                                               \
    do {                                                                                               \
        char expected[256], got[256];                                                                  \
        int n = snprintf(expected, sizeof expected, __VA_ARGS__);                                      \
        size_t m = lb_format(got, sizeof got, __VA_ARGS__);                                            \
        LB_CHECK(m == (size_t)n && strcmp(got, expected) == 0, "'%s' instead of '%s'", got, expected); \
    } while (0)

static void base_format(void)
{
    lb_test_case("lb_format prints what printf prints");
    FORMAT_CASE("plain, 100%% of it");
    FORMAT_CASE("%d %d %d", 0, INT_MIN, INT_MAX);
    FORMAT_CASE("%u %u", 0u, UINT_MAX);
    FORMAT_CASE("%ld %ld %lu", LONG_MIN, LONG_MAX, ULONG_MAX);
    FORMAT_CASE("%lld %lld %llu", LLONG_MIN, LLONG_MAX, ULLONG_MAX);
    FORMAT_CASE("%zu %zu", (size_t)0, SIZE_MAX);
    FORMAT_CASE("%x %x %llx", 0u, 0xdeadbeefu, 0x123456789abcdefull);
    FORMAT_CASE("%s|%s|%c", "", "text", 'z');
    FORMAT_CASE("%.*s|%.*s|%.*s", 3, "abcdef", 0, "abc", 9, "abc");

    lb_test_case("lb_format: no string, odd conversions, control characters");
    const char *volatile nothing = NULL;
    const char *volatile odd = "%q %d %";
    char out[64];
    lb_format(out, sizeof out, "[%s][%.*s]", nothing, -1, "abc");
    LB_CHECK(strcmp(out, "[][]") == 0, "'%s'", out);
    lb_format(out, sizeof out, "%s", "a\nb\tc\x1b[31m\x7f");
    LB_CHECK(strcmp(out, "a?b?c?[31m?") == 0, "'%s'", out);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    lb_format(out, sizeof out, odd, 7);
#pragma GCC diagnostic pop
    LB_CHECK(strncmp(out, "? 7 ", 4) == 0, "'%s'", out);

    lb_test_case("lb_format never writes past its room, always terminates");
    for (size_t cap = 0; cap <= 12; cap++) {
        char *room = lb_test_guard(cap ? cap : 1, false);
        room[0] = 'x';
        size_t n = lb_format(room, cap, "%s-%d", "abcde", 1234); /* 10 characters */
        size_t fits = cap > 10 ? 10 : cap ? cap - 1 : 0;
        LB_CHECK(n == fits, "cap %zu: %zu", cap, n);
        LB_CHECK(cap == 0 ? room[0] == 'x' : room[n] == 0 && memcmp(room, "abcde-1234", n) == 0, "cap %zu",
                 cap);
        lb_test_guard_free(room);
    }

    lb_test_case("lb_fail");
    lbrt_error err = { LBRT_OK, "" };
    char text[400];
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = 0;
    LB_CHECK(lb_fail(NULL, LBRT_ERR_IO, "%s", "ignored") == LBRT_ERR_IO, "status");
    LB_CHECK(lb_fail(&err, LBRT_ERR_FORMAT, "tensor %s", "q") == LBRT_ERR_FORMAT &&
                 err.status == LBRT_ERR_FORMAT && strcmp(err.text, "tensor q") == 0,
             "'%s'", err.text);
    lb_fail(&err, LBRT_ERR_IO, "%s", text);
    LB_CHECK(strlen(err.text) == sizeof err.text - 1, "%zu", strlen(err.text));

    lb_test_case("lb_fail: one line of UTF-8 whatever the strings are, and where it cuts them");
    lb_fail(&err, LBRT_ERR_IO, "%s: %.*s", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x88", 3, "a\xe2\x82\xac");
    LB_CHECK(strcmp(err.text, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x88: a??") == 0, "'%s'", err.text);
    lb_fail(&err, LBRT_ERR_IO, "%s", "\xff\xc0\x80 \xed\xa0\x80 \xf4\x90\x80\x80 \xc2\x9b\x1b\n\x7f|");
    LB_CHECK(strcmp(err.text, "??? ??? ???? ?????|") == 0, "'%s'", err.text);
    for (size_t shift = 0; shift < 3; shift++) {
        for (size_t i = 0; i < sizeof text - 1; i++) {
            text[i] = i < shift ? 'a' : "\xe2\x82\xac"[(i - shift) % 3];
        }
        lb_fail(&err, LBRT_ERR_IO, "%s", text);
        const size_t whole = shift + (sizeof err.text - 1 - shift) / 3 * 3;
        LB_CHECK(strlen(err.text) == sizeof err.text - 1 && memcmp(err.text, text, whole) == 0 &&
                     strspn(err.text + whole, "?") == sizeof err.text - 1 - whole,
                 "%zu: '%s'", shift, err.text);
    }

    lb_test_case("every status has a name of its own, and its pinned number");
    static const struct {
        lbrt_status s;
        int n;
    } pinned[] = {
        { LBRT_OK, 0 },
        { LBRT_CANCELLED, 1 },
        { LBRT_ERR_ARGUMENT, 10 },
        { LBRT_ERR_STATE, 11 },
        { LBRT_ERR_BUFFER, 12 },
        { LBRT_ERR_MEMORY, 20 },
        { LBRT_ERR_IO, 21 },
        { LBRT_ERR_THREAD, 22 },
        { LBRT_ERR_FORMAT, 30 },
        { LBRT_ERR_UNSUPPORTED, 31 },
        { LBRT_ERR_CHECKSUM, 32 },
        { LBRT_ERR_CONTEXT_FULL, 40 },
        { LBRT_ERR_NUMERIC, 41 },
    };
    enum { N_PINNED = sizeof pinned / sizeof pinned[0] };
    for (size_t i = 0; i < N_PINNED; i++) {
        LB_CHECK((int)pinned[i].s == pinned[i].n, "number %d became %d", pinned[i].n, (int)pinned[i].s);
        for (size_t j = 0; j < i; j++) {
            LB_CHECK(strcmp(lbrt_status_name(pinned[i].s), lbrt_status_name(pinned[j].s)) != 0, "%zu %zu", i,
                     j);
        }
    }
    LB_CHECK(lbrt_status_name((lbrt_status)12345) != NULL, "an unknown status has a name too");
    LB_CHECK(lbrt_version() == LBRT_VERSION, "%d", lbrt_version());
}

/* ---- XXH64: vectors published with the algorithm ---- */

static void base_hash(void)
{
    static const struct {
        const char *text;
        uint64_t hash;
    } texts[] = {
        { "", 0xef46db3751d8e999ull },
        { "a", 0xd24ec4f1a98c6e5bull },
        { "abc", 0x44bc2cf5ad770999ull },
        { "asdf", 0x415872f599cea71eull },
        { "Call me Ishmael. Some years ago--never mind how long precisely-", 0x02a2e85470d6fd96ull },
    };
    lb_test_case("XXH64 of published texts");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        uint64_t h = lb_hash64(texts[i].text, strlen(texts[i].text));
        LB_CHECK(h == texts[i].hash, "'%s': %016llx", texts[i].text, (unsigned long long)h);
    }
    unsigned char buffer[260];
    uint64_t gen = 2654435761u;
    for (size_t i = 0; i < sizeof buffer; i++, gen *= 11400714785074694797ull) {
        buffer[i] = (unsigned char)(gen >> 56);
    }
    static const struct {
        size_t n;
        uint64_t hash;
    } sanity[] = {
        { 0, 0xef46db3751d8e999ull },  { 1, 0xe934a84adb052768ull },   { 4, 0x9136a0dca57457eeull },
        { 14, 0x8282dcc4994e35c8ull }, { 222, 0xb641ae8cb691c174ull },
    };
    lb_test_case("XXH64 of the reference implementation's own test buffer");
    for (size_t i = 0; i < sizeof sanity / sizeof sanity[0]; i++) {
        uint64_t h = lb_hash64(buffer, sanity[i].n);
        LB_CHECK(h == sanity[i].hash, "%zu bytes: %016llx", sanity[i].n, (unsigned long long)h);
    }
    lb_test_case("XXH64 in pieces equals XXH64 at once, for every split in two and random splits");
    for (size_t n = 0; n <= 130; n++) {
        uint64_t whole = lb_hash64(buffer, n);
        for (size_t i = 0; i <= n; i++) {
            lb_hash h;
            lb_hash_begin(&h);
            lb_hash_add(&h, buffer, i);
            lb_hash_add(&h, buffer + i, n - i);
            LB_CHECK(lb_hash_end(&h) == whole, "%zu bytes cut at %zu", n, i);
        }
    }
    for (unsigned round = 0; round < 500; round++) {
        size_t n = lb_test_random() % sizeof buffer, at = 0;
        lb_hash h;
        lb_hash_begin(&h);
        while (at < n) {
            size_t piece = lb_test_random() % 70;
            piece = piece < n - at ? piece : n - at;
            lb_hash_add(&h, buffer + at, piece);
            at += piece;
        }
        LB_CHECK(lb_hash_end(&h) == lb_hash64(buffer, n), "%zu bytes in pieces", n);
    }
}

/* ---- memory ---- */

static void base_memory(void)
{
    lb_test_case("lb_alloc: alignment, zero, overflow");
    const lbrt_allocator *a = lb_test_allocator(0);
    size_t alive = lb_test_alloc_alive();
    for (size_t n = 1; n < 300; n += 37) {
        unsigned char *p = lb_alloc_zero(a, n, 3);
        LB_CHECK(p && (uintptr_t)p % 64 == 0, "%zu", n);
        for (size_t i = 0; p && i < 3 * n; i++) {
            LB_CHECK(p[i] == 0, "byte %zu of %zu", i, n);
        }
        lb_free(a, p, 3 * n);
    }
    LB_CHECK(lb_alloc(a, 0) == NULL, "nothing for nothing");
    LB_CHECK(lb_alloc_zero(a, SIZE_MAX / 2, 3) == NULL, "overflow");
    lb_free(a, NULL, 7);
    LB_CHECK(lb_test_alloc_alive() == alive, "a leak");

    lb_test_case("lb_arena counts as it gives, and notices overflow");
    unsigned char slab[1024];
    lb_arena count = { NULL, 0, false }, give = { slab, 0, false };
    for (size_t n = 0; n < 10; n++) {
        LB_CHECK(lb_arena_take(&count, n, 7) == NULL, "while counting");
        unsigned char *p = lb_arena_take(&give, n, 7);
        LB_CHECK(p >= slab && (size_t)(p - slab) % 64 == 0 && p + 7 * n <= slab + give.bytes, "%zu", n);
    }
    LB_CHECK(count.bytes == give.bytes && count.bytes % 64 == 0 && !count.overflow, "%zu %zu", count.bytes,
             give.bytes);
    lb_arena_take(&count, SIZE_MAX - 10, 1);
    LB_CHECK(count.overflow, "rounding up overflows");

    lb_test_case("lb_buffer grows, aligns, and stays failed");
    lb_buffer b = lb_buffer_new(lb_test_allocator(0));
    for (uint32_t i = 0; i < 2000; i++) {
        lb_buffer_u8(&b, (uint8_t)i);
        lb_buffer_u16(&b, (uint16_t)(i * 3));
        lb_buffer_u32(&b, i * 7u);
        lb_buffer_u64(&b, i * 0x100000001ull);
        lb_buffer_put(&b, NULL, 0);
    }
    LB_CHECK(!b.failed && b.bytes == 2000 * 15, "%zu", b.bytes);
    for (uint32_t i = 0; i < 2000; i++) {
        const unsigned char *p = b.data + (size_t)15 * i;
        LB_CHECK(p[0] == (uint8_t)i && lb_load_u16(p + 1) == (uint16_t)(i * 3) &&
                     lb_load_u32(p + 3) == i * 7u && lb_load_u64(p + 7) == i * 0x100000001ull,
                 "record %u", i);
    }
    lb_buffer_u8(&b, 1);
    lb_buffer_align(&b, 64);
    LB_CHECK(b.bytes % 64 == 0 && b.data[b.bytes - 1] == 0, "%zu", b.bytes);
    lb_buffer_free(&b);
    LB_CHECK(lb_test_alloc_alive() == alive, "a leak");
    b = lb_buffer_new(lb_test_allocator(2));
    unsigned char block[200] = { 0 };
    for (unsigned i = 0; i < 10; i++) {
        lb_buffer_put(&b, block, sizeof block);
    }
    LB_CHECK(b.failed && b.bytes == 200, "%zu", b.bytes);
    lb_test_allocator(0);
    lb_buffer_put(&b, block, 1);
    LB_CHECK(b.failed && b.bytes == 200, "it recovered: %zu", b.bytes);
    lb_buffer_align(&b, 64);
    lb_buffer_free(&b);
    LB_CHECK(lb_test_alloc_alive() == alive, "a leak");
}

/* ---- files ---- */

/* How many entries a folder has, and whether one of them is `name`. */
static size_t base_list(const char *dir, const char *name, bool *there)
{
    size_t n = 0;
    *there = false;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            n++;
            *there |= strcmp(e->d_name, name) == 0;
        }
    }
    if (d) {
        closedir(d);
    }
    return n;
}

static void base_files(void)
{
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_allocator *a = lb_test_allocator(0);
    const size_t alive = lb_test_alloc_alive();
    char dir[300], path[400];
    snprintf(dir, sizeof dir, "%s", lb_test_temp("files"));
    LB_CHECK(mkdir(dir, 0777) == 0, "mkdir");
    LB_CHECK(lb_path_join(path, sizeof path, dir, "out"), "join");
    bool there;
    lb_outfile f;

    lb_test_case("an output file appears on commit, whole, with the permissions of any new file");
    LB_CHECK(lb_outfile_open(&f, path, a, &err) == LBRT_OK, "%s", err.text);
    LB_CHECK(lb_outfile_write(&f, "abcdef", 6, &err) == LBRT_OK &&
                 lb_outfile_write_at(&f, 1, "BC", 2, &err) == LBRT_OK &&
                 lb_outfile_write(&f, "ghi", 3, &err) == LBRT_OK,
             "%s", err.text);
    base_list(dir, "out", &there);
    LB_CHECK(!there, "it is there before the commit");
    LB_CHECK(lb_outfile_commit(&f, &err) == LBRT_OK, "%s", err.text);
    lb_outfile_abort(&f);
    LB_CHECK(base_list(dir, "out", &there) == 1 && there, "not alone");
    size_t bytes = 0;
    char *text = lb_test_read(path, &bytes);
    LB_CHECK(text && bytes == 9 && memcmp(text, "aBCdefghi", 9) == 0, "content");
    free(text);
    struct stat st;
    mode_t mask = umask(0);
    umask(mask);
    LB_CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == (0666 & ~mask), "mode %o", (unsigned)st.st_mode);

    lb_test_case("an aborted output file leaves what was there");
    LB_CHECK(lb_outfile_open(&f, path, a, &err) == LBRT_OK && lb_outfile_write(&f, "new", 3, &err) == LBRT_OK,
             "%s", err.text);
    lb_outfile_abort(&f);
    lb_outfile_abort(&f);
    text = lb_test_read(path, &bytes);
    LB_CHECK(base_list(dir, "out", &there) == 1 && text && bytes == 9, "%zu bytes", bytes);
    free(text);

    lb_test_case("a failing write, in a process that may write 4096 bytes: an error, and nothing is left");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        const struct rlimit limit = { 4096, 4096 };
        setrlimit(RLIMIT_FSIZE, &limit);
        unsigned char block[1024] = { 0 };
        lbrt_status s = lb_outfile_open(&f, path, a, &err);
        for (unsigned i = 0; i < 8 && s == LBRT_OK; i++) {
            s = lb_outfile_write(&f, block, sizeof block, &err);
        }
        lb_outfile_abort(&f);
        _exit(s == LBRT_ERR_IO && strstr(err.text, path) ? 0 : 1);
    }
    int code = -1;
    LB_CHECK(child > 0 && waitpid(child, &code, 0) == child && WIFEXITED(code) && WEXITSTATUS(code) == 0,
             "%d", code);
    text = lb_test_read(path, &bytes);
    LB_CHECK(base_list(dir, "out", &there) == 1 && text && bytes == 9, "%zu bytes", bytes);
    free(text);

    lb_test_case("what is no regular file is not written over, and a commit onto a folder leaves nothing");
    char folder[400];
    lb_path_join(folder, sizeof folder, dir, "folder");
    LB_CHECK(lb_outfile_open(&f, "/dev/null", a, &err) == LBRT_ERR_IO && strstr(err.text, "no regular file"), "%s", err.text);
    LB_CHECK(lb_outfile_open(&f, dir, a, &err) == LBRT_ERR_IO, "%s", err.text);
    LB_CHECK(lb_outfile_open(&f, folder, a, &err) == LBRT_OK && mkdir(folder, 0777) == 0 && lb_outfile_write(&f, "x", 1, &err) == LBRT_OK,
             "%s", err.text);
    LB_CHECK(lb_outfile_commit(&f, &err) == LBRT_ERR_IO, "%s", err.text);
    lb_outfile_abort(&f);
    LB_CHECK(base_list(dir, "folder", &there) == 2 && there, "left over");

    lb_test_case("no folder, no path, no memory");
    LB_CHECK(lb_outfile_open(&f, "/nonexistent/folder/out", a, &err) == LBRT_ERR_IO, "%s", err.text);
    lb_outfile_abort(&f);
    LB_CHECK(lb_outfile_open(&f, "", a, &err) == LBRT_ERR_ARGUMENT, "%s", err.text);
    for (uint64_t n = 1; n <= 2; n++) {
        LB_CHECK(lb_outfile_open(&f, path, lb_test_allocator(n), &err) == LBRT_ERR_MEMORY, "%s", err.text);
        lb_outfile_abort(&f);
    }
    lb_test_allocator(0);
    LB_CHECK(base_list(dir, "out", &there) == 2, "left over");
    LB_CHECK(lb_test_alloc_alive() == alive, "a leak");

    lb_test_case("mapping files: missing, a folder, empty, whole");
    lb_map map;
    LB_CHECK(lb_map_open("/nonexistent", &map, &err) == LBRT_ERR_IO && !map.data &&
                 strstr(err.text, "/nonexistent"),
             "%s", err.text);
    LB_CHECK(lb_map_open(dir, &map, &err) == LBRT_ERR_IO && !map.data, "%s", err.text);
    LB_CHECK(lb_map_open(path, &map, &err) == LBRT_OK && map.bytes == 9 && memcmp(map.data, "aBC", 3) == 0,
             "%s", err.text);
    lb_map_will_need(&map, 3, 1000);
    lb_map_dont_need(&map, 100, 1);
    lb_map_close(&map);
    lb_map_close(&map);
    LB_CHECK(truncate(path, 0) == 0 && lb_map_open(path, &map, &err) == LBRT_OK && map.bytes == 0 &&
                 !map.data,
             "%s", err.text);
    lb_map_close(&map);

    lb_test_case("paths");
    char *room = lb_test_guard(8, false);
    LB_CHECK(lb_path_join(room, 8, "ab//", "cdef") && strcmp(room, "ab/cdef") == 0, "%s", room);
    LB_CHECK(!lb_path_join(room, 8, "ab", "cdefg"), "does not fit");
    LB_CHECK(!lb_path_join(room, 8, "a very long folder", "x"), "does not fit");
    lb_test_guard_free(room);
    LB_CHECK(lb_path_is_dir(dir) && !lb_path_is_dir(path) && lb_path_exists(path) &&
                 !lb_path_exists("/nonexistent"),
             "kinds");
    LB_CHECK(lb_cpu_count() >= 1 && lb_now() <= lb_now(), "processors and time");
}

/* ---- threads ---- */

enum { POOL_ITEMS = 1000 };

typedef struct pool_job {
    _Atomic uint32_t ran[POOL_ITEMS];
    _Atomic uint32_t bad_thread, outside;
    uint64_t plain[POOL_ITEMS]; /* written without synchronisation: the pool itself must order it */
    unsigned n_threads;
    size_t n;
    pthread_t caller;
} pool_job;

static void pool_task(void *context, size_t item, unsigned thread)
{
    pool_job *job = (pool_job *)context;
    if (item >= job->n) {
        atomic_fetch_add(&job->outside, 1);
        return;
    }
    if (thread >= job->n_threads || (thread == 0) != (pthread_equal(pthread_self(), job->caller) != 0)) {
        atomic_fetch_add(&job->bad_thread, 1);
    }
    atomic_fetch_add(&job->ran[item], 1);
    job->plain[item] += item + 1;
}

static size_t count_threads(void)
{
    bool there;
    return base_list("/proc/self/task", "", &there);
}

static void base_pool(void)
{
    static const size_t sizes[] = { 0, 1, 2, 3, 5, 8, 17, 100, POOL_ITEMS };
    static pool_job job;
    job.caller = pthread_self();
    for (unsigned n = 1; n <= 8; n++) {
        lb_test_case("a pool of %u runs every item once, job after job", n);
        lb_pool *pool = NULL;
        lbrt_error err = { LBRT_OK, "" };
        if (!LB_CHECK(posix_memalign((void **)&pool, 64, lb_pool_bytes(n)) == 0, "memory") ||
            !LB_CHECK(lb_pool_start(pool, n, &err) == LBRT_OK, "%s", err.text)) {
            free(pool);
            return;
        }
        LB_CHECK(lb_pool_threads(pool) == n, "%u", lb_pool_threads(pool));
        unsigned wrong = 0;
        for (unsigned round = 0; round < 400; round++) {
            job.n = sizes[lb_test_random() % (sizeof sizes / sizeof sizes[0])];
            job.n_threads = n;
            memset(job.plain, 0, sizeof job.plain);
            for (size_t i = 0; i < POOL_ITEMS; i++) {
                atomic_store_explicit(&job.ran[i], 0, memory_order_relaxed);
            }
            lb_pool_run(pool, pool_task, &job, job.n);
            for (size_t i = 0; i < POOL_ITEMS; i++) {
                wrong += atomic_load_explicit(&job.ran[i], memory_order_relaxed) != (i < job.n);
                wrong += job.plain[i] != (i < job.n ? i + 1 : 0);
            }
            if (round % 50 == 49) {
                usleep(2000); /* long enough that the workers go to sleep */
            }
        }
        LB_CHECK(wrong == 0 && job.bad_thread == 0 && job.outside == 0,
                 "%u wrong counts, %u wrong thread numbers, %u items too many", wrong,
                 (unsigned)job.bad_thread, (unsigned)job.outside);
        lb_pool_stop(pool);
        free(pool);
    }
    lb_test_case("pools that are never used, stopped at once");
    for (unsigned round = 0; round < 20; round++) {
        lb_pool *pool = NULL;
        LB_CHECK(posix_memalign((void **)&pool, 64, lb_pool_bytes(4)) == 0 &&
                     lb_pool_start(pool, 4, NULL) == LBRT_OK,
                 "start");
        lb_pool_stop(pool);
        free(pool);
    }
}

/* Threads whose stacks do not fit the address space cannot be made: the first few can, then the start must
 * fail and undo itself. */
static void base_pool_failure(void)
{
    lb_test_case("a pool whose threads cannot all be started starts none");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        pthread_attr_t attr;
#if BASE_SANITIZED || !defined(__x86_64__)
        const size_t stack = (size_t)1
                             << 58; /* not one fits: sanitizers and emulators keep books of stacks */
#else
        const size_t stack = (size_t)40 << 40; /* some fit */
#endif
        lb_pool *pool = NULL;
        if (pthread_attr_init(&attr) != 0 || pthread_attr_setstacksize(&attr, stack) != 0 ||
            pthread_setattr_default_np(&attr) != 0 ||
            posix_memalign((void **)&pool, 64, lb_pool_bytes(16)) != 0) {
            _exit(2);
        }
        lbrt_error err = { LBRT_OK, "" };
        const size_t threads = count_threads();
        lbrt_status s = lb_pool_start(pool, 16, &err);
        for (unsigned i = 0; i < 1000 && count_threads() != threads; i++) {
            usleep(1000); /* a joined thread is listed a moment longer */
        }
        _exit(s == LBRT_ERR_THREAD && err.status == s && strstr(err.text, "thread") &&
                      count_threads() == threads
                  ? 0
                  : 1);
    }
    int code = -1;
    LB_CHECK(child > 0 && waitpid(child, &code, 0) == child && WIFEXITED(code), "%d", code);
    if (WEXITSTATUS(code) == 2) {
        lb_test_skip("this C library has no default stack size to set");
    } else {
        LB_CHECK(WEXITSTATUS(code) == 0, "exit status %d", WEXITSTATUS(code));
    }
}

void test_base(void)
{
    base_format();
    base_hash();
    base_memory();
    base_files();
    base_pool();
    base_pool_failure();
}
