#include "level_kernels.h"

#include <string.h>

const lb_kernels *lb_kernels_for(const char *isa)
{
    static lb_kernels tables[8];
    const char *name, *wanted = isa ? isa : lb_isa_best();
    for (size_t i = 0; i < sizeof tables / sizeof tables[0] && (name = lb_isa_level(i, NULL)) != NULL; i++) {
        if (strcmp(name, wanted) == 0) {
            return tables[i].isa || lb_kernels_get(&tables[i], name) ? &tables[i] : NULL;
        }
    }
    return NULL;
}
