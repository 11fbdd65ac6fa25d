/* The kernels of a level for tests that compare levels: by name, or NULL for the best of this CPU; NULL if this CPU lacks it. Always the same table. */
#ifndef LEVEL_KERNELS_H
#define LEVEL_KERNELS_H

#include "../kernels/lb_kernels.h"

const lb_kernels *lb_kernels_for(const char *isa);

#endif /* LEVEL_KERNELS_H */
