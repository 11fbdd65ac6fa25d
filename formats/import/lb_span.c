#include "lb_span.h"

static bool span_less(const lb_span *a, const lb_span *b)
{
    return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
}

static void span_sift(lb_span *spans, size_t root, size_t n)
{
    lb_span moving = spans[root];
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= n) {
            break;
        }
        child += child + 1 < n && span_less(&spans[child], &spans[child + 1]);
        if (!span_less(&moving, &spans[child])) {
            break;
        }
        spans[root] = spans[child];
        root = child;
    }
    spans[root] = moving;
}

/* Heap sort: the C library's qsort may allocate, and may be quadratic. */
void lb_span_sort(lb_span *spans, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) {
        span_sift(spans, i, n);
    }
    for (size_t i = n; i-- > 1;) {
        lb_span top = spans[0];
        spans[0] = spans[i];
        spans[i] = top;
        span_sift(spans, 0, i);
    }
}
