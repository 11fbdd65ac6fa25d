#if defined(__x86_64__)
/* Products of a mask and values, AVX-512 VBMI2: a quad of 16 rows in one instruction. The rest is that of avx512vnni. */
#include "../lb_kernel_names.h"
#include "lb_v_avx512vbmi.h"

LB_DECLARE_MASKED(avx512vnni);
LB_DECLARE_MASKED_ONE(avx512vbmi);

static LB_TARGET_AVX512VBMI void lb_masked_expand_avx512vbmi(uint8_t *codes, const uint8_t *masks, size_t n, const uint8_t *values,
                                                             size_t n_values, size_t *at)
{
    const uint8_t *from = values + *at, *last = values + n_values - 64;
    for (size_t j = 0; j < n; j++) {
        uint64_t m;
        memcpy(&m, masks + 8 * j, sizeof m);
        lb_v_avx512_store_b(codes + 64 * j, lb_v_avx512vbmi_expand(m, lb_v_avx512_load_b(from)));
        from += _mm_popcnt_u64(m);
        from = from < last ? from : last;
    }
    *at = (size_t)(from - values);
}

LB_TARGET_AVX512VBMI void lb_masked_avx512vbmi(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                                               size_t y_stride, bool add, void *scratch)
{
    lb_masked_with_avx512vnni(lb_masked_expand_avx512vbmi, w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch);
}
#endif
