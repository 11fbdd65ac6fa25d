/* What the files of the kernel tests share. */
#ifndef TEST_KERNELS_H
#define TEST_KERNELS_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/container/lb_wformat.h"
#include "../formats/pack/lb_pack.h"
#include "../kernels/lb_kernels.h"
#include "../kernels/lb_layout.h"
#include "../kernels/lb_math.h"
#include "level_kernels.h"
#include "lb_test.h"

/* Calls `test` for every level of this CPU but the reference itself; the others are reported as skipped. */
static inline void test_each_level(const char *what, void (*test)(const lb_kernels *ref, const lb_kernels *k))
{
    const char *name;
    bool usable = false;
    for (size_t i = 1; (name = lb_isa_level(i, &usable)) != NULL; i++) {
        if (usable) {
            test(lb_kernels_for("scalar"), lb_kernels_for(name));
        } else {
            lb_test_case("%s %s", name, what);
            lb_test_skip("this CPU lacks the level");
        }
    }
}

/* Equal bits, or both NaN (whose sign and payload differ between CPUs). */
static inline bool test_same(float a, float b)
{
    return lb_f32_bits(a) == lb_f32_bits(b) || (a != a && b != b);
}

/* The first index where a and b differ, n if none */
static inline size_t test_differ(const float *a, const float *b, size_t n)
{
    size_t i = 0;
    while (i < n && test_same(a[i], b[i])) {
        i++;
    }
    return i;
}

static inline size_t test_below(size_t n)
{
    return (size_t)(lb_test_random() % n);
}

/* Floats that are mostly ordinary, now and then zero, tiny, huge or (if `wild`) denormal, infinite, NaN */
static inline float test_float(bool wild)
{
    static const uint32_t odd[] = {0,          0x80000000, 1,          0x807fffff, 0x00800000,
                                   0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff, 0x7fa00001};
    size_t kind = test_below(64);
    if (kind < 2) {
        return 0.0f;
    }
    if (kind < 4) {
        return lb_test_gauss() * 1e-20f;
    }
    if (kind < 6) {
        return lb_test_gauss() * 1e10f;
    }
    if (wild && kind < 8) {
        return lb_bits_f32(odd[test_below(sizeof odd / sizeof odd[0])]);
    }
    return lb_test_gauss();
}

static inline float *test_floats(size_t n, bool at_start, bool wild)
{
    float *p = lb_test_guard(n * sizeof(float), at_start);
    for (size_t i = 0; i < n; i++) {
        p[i] = test_float(wild);
    }
    return p;
}

#endif /* TEST_KERNELS_H */
