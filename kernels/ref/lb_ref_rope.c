/* Reference: rotary position embedding. */
#include "../lb_kernel_names.h"
#include "../lb_math.h"

void lb_rope_ref(float *x, const float *cs, size_t n_heads, size_t head_dim, size_t rot_dim, bool interleaved)
{
    for (size_t h = 0; h < n_heads; h++, x += head_dim) {
        for (size_t i = 0; i < rot_dim / 2; i++) {
            float *pa = interleaved ? x + 2 * i : x + i;
            float *pb = interleaved ? x + 2 * i + 1 : x + i + rot_dim / 2;
            const float a = *pa, b = *pb, c = cs[2 * i], s = cs[2 * i + 1];
            *pa = lb_fma(a, c, -(b * s));
            *pb = lb_fma(a, s, b * c);
        }
    }
}
