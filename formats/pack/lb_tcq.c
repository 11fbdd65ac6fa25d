#include "lb_tcq_trellis.h"

#include <string.h>

#include "../../kernels/lb_tcq_code.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* The four streams of a row are the lanes. */
typedef float lb_tcq_v LB_VECTOR(16);
typedef int32_t lb_tcq_m LB_VECTOR(16);

LB_ALWAYS_INLINE lb_tcq_v lb_tcq_min(lb_tcq_v a, lb_tcq_v b)
{
#if defined(__SSE2__)
    return (lb_tcq_v)_mm_min_ps((__m128)a, (__m128)b);
#else
    const lb_tcq_m less = a < b;
    return (lb_tcq_v)((less & (lb_tcq_m)a) | (~less & (lb_tcq_m)b));
#endif
}

/* ---------------------------------------------------------------- the search of one row; `bits` is a constant */

/*
 * The lowest `bits` bits of a cost are the choice that led to it, so that a minimum carries its own argument:
 * relative precision is 2^-19 at least. Choices of one step are packed: `per` states to a word.
 */
LB_ALWAYS_INLINE void lb_tcq_viterbi(const unsigned bits, const float *point, const float *x, const float *h,
                                     size_t n, size_t all, uint8_t *state, const uint8_t *end, uint8_t *window)
{
    const unsigned n_states = 256u >> bits, choices = 1u << bits, per = bits == 2 ? 16 : 8;
    const size_t words = n_states / per;
    lb_tcq_v points[256], costs[2][64];
    uint32_t chosen[LB_TCQ_MAX_STEPS][4][4]; /* step, word, lane */
    for (unsigned v = 0; v < 256; v++) {
        points[v] = (lb_tcq_v){point[v], point[v], point[v], point[v]};
    }
    for (unsigned s = 0; s < n_states; s++) {
        for (unsigned lane = 0; lane < 4; lane++) {
            costs[0][s][lane] = state[lane] == LB_TCQ_ANY || state[lane] == s ? 0.0f : LB_TCQ_FAR;
        }
    }
    const int32_t clear = ~((1 << bits) - 1);
    const lb_tcq_m keep = {clear, clear, clear, clear};
    for (size_t t = 0; t < all; t++) {
        const lb_tcq_v *from = costs[t % 2];
        lb_tcq_v *to = costs[(t + 1) % 2], xt, ht;
        memcpy(&xt, x + 4 * t, sizeof xt);
        memcpy(&ht, h + 4 * t, sizeof ht);
        for (unsigned word = 0; word < words; word++) {
            lb_tcq_m packed = {0, 0, 0, 0};
            for (unsigned i = 0; i < per; i++) {
                const unsigned s = word * per + i;
                lb_tcq_v best = {0};
                LB_UNROLL
                for (unsigned e = 0; e < choices; e++) {
                    const unsigned v = lb_tcq_window(bits, s, e);
                    const lb_tcq_v d = xt - points[v];
                    const lb_tcq_v cost = from[lb_tcq_before(bits, v)] + d * d * ht;
                    const int32_t tag = (int32_t)e;
                    const lb_tcq_m tags = {tag, tag, tag, tag};
                    const lb_tcq_v tagged = (lb_tcq_v)(((lb_tcq_m)cost & keep) | tags);
                    best = e == 0 ? tagged : lb_tcq_min(best, tagged);
                }
                to[s] = best;
                /* state i of the word ends up at bit bits * (per - 1 - i) */
                packed = packed << bits | ((lb_tcq_m)best & ~keep);
            }
            memcpy(chosen[t][word], &packed, sizeof packed);
        }
    }
    for (unsigned lane = 0; lane < 4; lane++) {
        const lb_tcq_v *last = costs[all % 2];
        unsigned s = 0;
        for (unsigned i = 1; i < n_states; i++) {
            s = last[i][lane] < last[s][lane] ? i : s;
        }
        if (end) {
            s = end[lane];
        }
        for (size_t t = all; t-- > 0;) {
            const unsigned e = chosen[t][s / per][lane] >> bits * (per - 1 - s % per) & (choices - 1);
            const unsigned v = lb_tcq_window(bits, s, e);
            if (t < n) {
                window[4 * t + lane] = (uint8_t)v;
            }
            if (t + 1 == n) {
                state[lane] = (uint8_t)s;
            }
            s = lb_tcq_before(bits, v);
        }
    }
}

void lb_tcq_search(lb_wformat format, const float point[256], const float *x, const float *h, size_t n,
                   size_t ahead,
                   uint8_t state[4], const uint8_t *end, uint8_t *window)
{
    LB_ASSERT(n % 4 == 0 && n <= LB_TCQ_BLOCK && ahead % 4 == 0 && ahead <= LB_TCQ_AHEAD);
    const size_t steps = n / 4, all = (n + ahead) / 4;
    if (format == LB_W_TCQ2) {
        lb_tcq_viterbi(2, point, x, h, steps, all, state, end, window);
    } else if (format == LB_W_TCQ3) {
        lb_tcq_viterbi(3, point, x, h, steps, all, state, end, window);
    } else {
        lb_tcq_viterbi(4, point, x, h, steps, all, state, end, window);
    }
}

static lb_tcq_wide_fn *tcq_wide(const lb_kernels *k)
{
#if defined(__x86_64__)
    return strncmp(k->isa, "avx512", 6) == 0 ? lb_tcq_wide_avx512 : strcmp(k->isa, "avx2") == 0 ? lb_tcq_wide_avx2 : NULL;
#else
    (void)k;
    return NULL;
#endif
}

void lb_tcq_search_rows(const lb_kernels *k, lb_wformat format, const float point[256], size_t n_rows, const float *x, size_t stride,
                        const float *h, size_t n, size_t ahead, uint8_t (*state)[4], const uint8_t (*end)[4], uint8_t *window)
{
    lb_tcq_wide_fn *wide = tcq_wide(k);
    size_t r = 0;
    LB_ASSERT(n % 4 == 0 && n <= LB_TCQ_BLOCK && ahead % 4 == 0 && ahead <= LB_TCQ_AHEAD);
    for (; wide && r + LB_TCQ_ROWS <= n_rows; r += LB_TCQ_ROWS) {
        wide(format, point, x + r * stride, stride, h, n / 4, (n + ahead) / 4, state + r, end ? end + r : NULL, window + r * n);
    }
    for (; r < n_rows; r++) {
        lb_tcq_search(format, point, x + r * stride, h, n, ahead, state[r], end ? end[r] : NULL, window + r * n);
    }
}

void lb_tcq_begin(const lb_kernels *k, lb_wformat format, const float point[256], size_t n_rows, const float *x, size_t stride,
                  const float h[128], uint8_t (*state)[4])
{
    uint8_t window[64 * LB_TCQ_ROWS];
    memset(state, LB_TCQ_ANY, n_rows * sizeof *state);
    for (size_t r = 0; r < n_rows; r += LB_TCQ_ROWS) {
        lb_tcq_search_rows(k, format, point, n_rows - r < LB_TCQ_ROWS ? n_rows - r : LB_TCQ_ROWS, x + r * stride, stride, h, 64, 64,
                           state + r, NULL, window);
    }
}

/* ---------------------------------------------------------------- codes */

static unsigned lb_tcq_bits_of(lb_wformat format)
{
    return format == LB_W_TCQ2 ? 2 : format == LB_W_TCQ3 ? 3 : 4;
}

void lb_tcq_points(lb_wformat format, float point[256])
{
    for (unsigned v = 0; v < 256; v++) {
        point[v] = (float)lb_tcq_weight(lb_tcq_bits_of(format), v);
    }
}

float lb_tcq_sigma(lb_wformat format)
{
    return format == LB_W_TCQ2 ? LB_TCQ2_SIGMA : format == LB_W_TCQ3 ? LB_TCQ3_SIGMA : LB_TCQ4_SIGMA;
}

void lb_tcq_store(lb_wformat format, void *tile, size_t r, size_t first, size_t n, const uint8_t *window)
{
    const unsigned bits = lb_tcq_bits_of(format);
    uint8_t *codes = (uint8_t *)tile + LB_TCQ_CODES_AT;
    for (size_t i = 0; i < n; i++) {
        const size_t lane = 4 * r + i % 4, step = (first + i) / 4;
        const lb_tcq_place p = lb_tcq_place_of(bits, lane, step);
        if (bits == 3) {
            const lb_tcq_place high = lb_tcq3_place_of_high(lane, step);
            codes[p.at] |= (uint8_t)((window[i] >> 2 & 3) << p.bit);
            codes[high.at] |= (uint8_t)(window[i] >> 7 << high.bit);
        } else {
            codes[p.at] |= (uint8_t)(window[i] >> (8 - bits) << p.bit);
        }
    }
}
