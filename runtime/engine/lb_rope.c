/* Rotary angles. frexp, ldexp and rint are exact, everything else is plain double arithmetic without contraction. */
#include "lb_rope.h"

#include <math.h>

#include "../../kernels/lb_compiler.h"

#define LN2_HI 0x1.62e42fefa38p-1     /* ln 2 in two pieces; the first has trailing zeros, so n * LN2_HI is exact */
#define LN2_LO 0x1.ef35793c7673p-45
#define PIO2_1 0x1.921fb544p+0        /* pi / 2 in three pieces of 33 bits */
#define PIO2_2 0x1.0b4611a6p-34
#define PIO2_3 0x1.3198a2e037073p-69

/* ln x for x > 0: x = m 2^e with m in [sqrt(1/2), sqrt(2)), ln m = 2 atanh((m - 1) / (m + 1)) */
static double rope_log(double x)
{
    int e;
    double m = frexp(x, &e);
    if (m < 0.70710678118654752) {
        m *= 2;
        e--;
    }
    double z = (m - 1) / (m + 1), zz = z * z, sum = 0;
    for (int i = 27; i >= 3; i -= 2) {
        sum = (sum + 1.0 / i) * zz;
    }
    return e * LN2_HI + (e * LN2_LO + (2 * z + 2 * z * sum));
}

/* e^x by reduction to |r| <= ln(2) / 2 and the Taylor series */
static double rope_exp(double x)
{
    double n = rint(x / 0x1.62e42fefa39efp-1);
    double r = x - n * LN2_HI - n * LN2_LO, sum = 1;
    for (int i = 20; i >= 1; i--) {
        sum = 1 + sum * r / i;
    }
    return ldexp(sum, (int)n);
}

/* cos and sin of x, |x| below about 2^31, by quadrant and Taylor series on |r| <= pi / 4 */
static void rope_cos_sin(double x, float *cosine, float *sine)
{
    double n = rint(x / 0x1.921fb54442d18p+0);
    double r = x - n * PIO2_1;
    r -= n * PIO2_2;
    r -= n * PIO2_3;
    double rr = r * r, c = 1, s = 1;
    for (int i = 20; i >= 2; i -= 2) {
        c = 1 - c * rr / (i * (i - 1));
        s = 1 - s * rr / (i * (i + 1));
    }
    s *= r;
    switch ((unsigned)(long long)n & 3u) {
    case 0: *cosine = (float)c, *sine = (float)s; break;
    case 1: *cosine = (float)-s, *sine = (float)c; break;
    case 2: *cosine = (float)-c, *sine = (float)-s; break;
    default: *cosine = (float)s, *sine = (float)-c; break;
    }
}

void lb_rope_frequencies(const lb_hparams *h, const float *factors, double *out)
{
    const double two_pi = 6.283185307179586, log_theta = rope_log((double)h->rope_theta);
    for (uint32_t i = 0; i < h->rope_dim / 2; i++) {
        double f = rope_exp(-2.0 * i / h->rope_dim * log_theta);
        if (h->rope_scaling == LB_ROPE_LINEAR) {
            f /= (double)h->rope_factor;
        } else if (h->rope_scaling == LB_ROPE_LLAMA3) {
            double turns = (double)h->rope_original_context * f / two_pi; /* in the original context */
            double low = (double)h->rope_low_freq, high = (double)h->rope_high_freq;
            if (turns < low) {
                f /= (double)h->rope_factor;
            } else if (turns <= high) {
                double smooth = (turns - low) / (high - low);
                f = (1 - smooth) * f / (double)h->rope_factor + smooth * f;
            }
        }
        out[i] = factors ? f / (double)factors[i] : f;
    }
}

void lb_rope_angles(const double *frequency, uint32_t n_pairs, uint64_t position, float *cs)
{
    for (uint32_t i = 0; i < n_pairs; i++) {
        rope_cos_sin((double)position * frequency[i], &cs[2 * i], &cs[2 * i + 1]);
    }
}
