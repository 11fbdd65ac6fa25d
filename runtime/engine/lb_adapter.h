/* Low-rank adapters: a file of chains bound to the shapes of a model. Immutable after opening; sessions attach it. */
#ifndef LB_ADAPTER_H
#define LB_ADAPTER_H

#include "lb_model.h"

struct lbrt_adapter {
    lbrt_allocator allocator;
    const lbrt_model *model;
    lb_map map; /* empty if it was opened from memory */
    lb_container file;
    lb_chain *chains; /* [layers * LB_SLOTS], in the order of slots; down.rows == 0 where the adapter changes nothing */
    size_t n_chains, mid_stride;
};

/* map (may be NULL) is closed with the adapter, on failure too. */
lbrt_status lb_adapter_build(const lbrt_model *m, const unsigned char *data, size_t bytes, lb_map *map, lbrt_adapter **out,
                             lbrt_error *err);

#endif /* LB_ADAPTER_H */
