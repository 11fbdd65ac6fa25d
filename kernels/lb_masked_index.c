#include "lb_kernel_names.h"

/* For each byte of a mask 8 indices: i-th set bit -> i, other bits -> 0x80. In 64-bit arithmetic: bits spread to bytes, prefix sums */
#define LB_MASKED_SPREAD(m) (((((m) * 0x0101010101010101ull & 0x8040201008040201ull) + 0x7f7f7f7f7f7f7f7full) >> 7) & 0x0101010101010101ull)
#define LB_MASKED_INDEX(m)                                                                                            \
    ((LB_MASKED_SPREAD(m) * 0x0101010101010101ull - LB_MASKED_SPREAD(m)) & LB_MASKED_SPREAD(m) * 0xffull) |           \
        ((LB_MASKED_SPREAD(m) ^ 0x0101010101010101ull) << 7)
#define LB_MASKED_4(m) LB_MASKED_INDEX((m) + 0ull), LB_MASKED_INDEX((m) + 1ull), LB_MASKED_INDEX((m) + 2ull), LB_MASKED_INDEX((m) + 3ull)
#define LB_MASKED_16(m) LB_MASKED_4(m), LB_MASKED_4((m) + 4), LB_MASKED_4((m) + 8), LB_MASKED_4((m) + 12)
#define LB_MASKED_64(m) LB_MASKED_16(m), LB_MASKED_16((m) + 16), LB_MASKED_16((m) + 32), LB_MASKED_16((m) + 48)

const uint64_t lb_masked_index[256] = {LB_MASKED_64(0), LB_MASKED_64(64), LB_MASKED_64(128), LB_MASKED_64(192)};

#undef LB_MASKED_SPREAD
#undef LB_MASKED_INDEX
#undef LB_MASKED_4
#undef LB_MASKED_16
#undef LB_MASKED_64
