/* Ranges of bytes, to find out whether the tensors of a file overlap. */
#ifndef LB_SPAN_H
#define LB_SPAN_H

#include "../../runtime/base/lb_base.h"

typedef struct lb_span {
    uint64_t begin, end;
    size_t index; /* the caller's */
} lb_span;

/* Sorts by begin, then end: in place, in n log n whatever the order was. */
void lb_span_sort(lb_span *spans, size_t n);

#endif /* LB_SPAN_H */
