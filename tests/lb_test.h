/*
 * The test runner's side of a test file. tests/test_NAME.c defines `void test_NAME(void)`; the Makefile makes the list.
 * A check that fails prints its place and goes on. One LB_TEST is one line in the count.
 */
#ifndef LB_TEST_H
#define LB_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../include/lbrt.h"

/* Starts a named test case; the one before ends. */
void lb_test_case(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Marks the current case as skipped, visibly, with the reason. */
void lb_test_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

bool lb_test_check(bool ok, const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* LB_CHECK(condition, "printf text with values", ...): true if it held. */
#define LB_CHECK(cond, ...) lb_test_check((cond), __FILE__, __LINE__, __VA_ARGS__)

/* Path of a file in the shared folder beside the checkout (or under $LBRT_SHARED), NULL if it is absent. Static storage. */
const char *lb_test_shared(const char *relative);

/* Path of a fresh file in the test's temporary folder, removed at the end. Static storage (4 in turn). */
const char *lb_test_temp(const char *name);

/* A whole file in malloc'ed memory with a NUL behind it; NULL if it cannot be read. */
char *lb_test_read(const char *path, size_t *bytes);

/* Random numbers, the same in every run; the state is printed when a check fails. */
uint64_t lb_test_random(void);
float lb_test_gauss(void);

/* An allocator that fails the n-th allocation from now on (0: never) and counts what is alive. */
const lbrt_allocator *lb_test_allocator(uint64_t fail_at);
uint64_t lb_test_alloc_count(void);
size_t lb_test_alloc_alive(void);

/*
 * n usable bytes that end (or, if at_start, begin) exactly at an inaccessible page, so that one byte too far is a crash. align: the
 * alignment of the block when it ends at the page is what n allows; ask for n as a multiple of it. Free with lb_test_guard_free.
 */
void *lb_test_guard(size_t n, bool at_start);
void lb_test_guard_free(void *p);

#endif /* LB_TEST_H */
