/*
 * What the fuzz targets share. A target tests/fuzz/fuzz_NAME.c is one function, lb_fuzz_NAME: with LB_FUZZER defined it is libFuzzer's
 * entry too (make fuzz-NAME, needs clang); else tests/test_fuzz.c calls it for every file of tests/fuzz/corpus/NAME, and for simple
 * mutations of them, with nothing but a C compiler.
 */
#ifndef LB_FUZZ_H
#define LB_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../include/lbrt.h"

#ifdef LB_FUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
#define LB_FUZZ_TARGET(name)                                     \
    int lb_fuzz_##name(const uint8_t *data, size_t bytes);       \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) \
    {                                                            \
        return lb_fuzz_##name(data, bytes);                      \
    }                                                            \
    int lb_fuzz_##name(const uint8_t *data, size_t bytes)
#else
#define LB_FUZZ_TARGET(name)                               \
    int lb_fuzz_##name(const uint8_t *data, size_t bytes); \
    int lb_fuzz_##name(const uint8_t *data, size_t bytes)
#endif

/* Ends the process with a message: a finding. */
void lb_fuzz_check(bool ok, const char *what);

/* An allocator that has 64 MB, knows what is alive, and fails the n-th allocation from now on (0: never). */
const lbrt_allocator *lb_fuzz_allocator(uint64_t fail_at);
size_t lb_fuzz_alive(void);

/* A failure has a sentence; a success has none. */
void lb_fuzz_error(lbrt_status status, const lbrt_error *err);

/* The input as a file: its path, until the next call. NULL if the system has no place for it. */
const char *lb_fuzz_file(const uint8_t *data, size_t bytes);

/* A copy, 64-byte aligned, to be freed. At least one byte is allocated. */
unsigned char *lb_fuzz_copy(const uint8_t *data, size_t bytes);

/* A NUL-terminated copy, to be freed. */
char *lb_fuzz_text(const uint8_t *data, size_t bytes);

/* The same sequence of numbers for the same seed, which it moves on. */
uint64_t lb_fuzz_random(uint64_t *seed);

/* A program of calls for the target api in which most calls make sense; returns its bytes, at most cap (at least 64). */
enum { LB_FUZZ_PROGRAM = 300 };
size_t lb_fuzz_api_program(uint64_t *seed, uint8_t *out, size_t cap);

#endif /* LB_FUZZ_H */
