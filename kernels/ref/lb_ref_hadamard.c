/* Reference: the block Hadamard transform with random signs. */
#include <math.h>

#include "../lb_kernel_names.h"
#include "../lb_math.h"

void lb_hadamard_ref(float *y, const float *x, const uint8_t *signs, size_t n, size_t block)
{
    const float unit = 1.0f / sqrtf((float)block);
    for (size_t i = 0; i < n; i++) {
        y[i] = signs[i / 8] >> i % 8 & 1 ? -x[i] : x[i];
    }
    for (size_t at = 0; at < n; at += block) {
        float *b = y + at;
        for (size_t h = 1; h < block; h *= 2) {
            for (size_t i = 0; i < block; i++) {
                if (!(i & h)) {
                    const float u = b[i], v = b[i + h];
                    b[i] = u + v;
                    b[i + h] = u - v;
                }
            }
        }
        for (size_t i = 0; i < block; i++) {
            b[i] = b[i] * unit;
        }
    }
}
