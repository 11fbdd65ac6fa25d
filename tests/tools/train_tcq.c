/*
 * Trains the tables of the trellis formats: alternates Viterbi searches of Gaussian samples and least squares
 * of the 2 x 16 table entries, from many random beginnings, then hops away from the best; rounds to integers
 * and improves single entries. Not part of any build:
 *     cc -O2 -D_GNU_SOURCE -ffp-contract=off tests/tools/train_tcq.c formats/pack/lb_tcq.c -lm -o train_tcq
 *     ./train_tcq BITS LIMIT SEED RESTARTS
 * LIMIT is the largest |A + B|. Prints the best tables, the sigma they are for, and their mean squared error.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../formats/pack/lb_tcq.h"

static uint64_t train_seed;

static uint64_t train_random(void)
{
    uint64_t z = train_seed += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static float train_gauss(void)
{
    const double u = ((double)(train_random() >> 11) + 0.5) * 0x1p-53,
        v = (double)(train_random() >> 11) * 0x1p-53;
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}

typedef struct train_tables {
    double a[16], b[16]; /* a window v is a[v & 15] + b[v >> 4] */
} train_tables;

typedef struct train_stats {
    double n[256], sum[256]; /* per window */
    double error, gain;      /* normalised squared error at the best scale; that scale */
} train_stats;

static lb_wformat train_format;

/* Searches n samples (a multiple of LB_TCQ_BLOCK), scaled by `unit`. */
static void train_run(const train_tables *t, const float *x, size_t n, double unit, train_stats *s)
{
    static float xs[LB_TCQ_BLOCK + LB_TCQ_AHEAD], h[LB_TCQ_BLOCK + LB_TCQ_AHEAD];
    float point[256];
    uint8_t window[LB_TCQ_BLOCK], state[4] = {0};
    double wx = 0, ww = 0, xx = 0;
    memset(s, 0, sizeof *s);
    for (int v = 0; v < 256; v++) {
        point[v] = (float)(t->a[v & 15] + t->b[v >> 4]);
    }
    for (size_t i = 0; i < LB_TCQ_BLOCK + LB_TCQ_AHEAD; i++) {
        h[i] = 1.0f;
    }
    for (size_t i = 0; i < n; i += LB_TCQ_BLOCK) {
        const size_t ahead = n - i > LB_TCQ_BLOCK ? LB_TCQ_AHEAD : 0;
        for (size_t j = 0; j < LB_TCQ_BLOCK + ahead; j++) {
            xs[j] = x[i + j] * (float)unit;
        }
        lb_tcq_search(train_format, point, xs, h, LB_TCQ_BLOCK, ahead, state, NULL, window);
        for (size_t j = 0; j < LB_TCQ_BLOCK; j++) {
            const double w = (double)point[window[j]], y = (double)xs[j];
            s->n[window[j]] += 1;
            s->sum[window[j]] += y;
            wx += w * y;
            ww += w * w;
            xx += y * y;
        }
    }
    s->error = 1.0 - wx * wx / (ww * xx);
    s->gain = wx / ww;
}

static void train_fit(train_tables *t, const train_stats *s)
{
    for (int sweep = 0; sweep < 10; sweep++) {
        for (int half = 0; half < 2; half++) {
            for (int i = 0; i < 16; i++) {
                double n = 0, sum = 0;
                for (int j = 0; j < 16; j++) {
                    const int v = half ? i << 4 | j : j << 4 | i;
                    n += s->n[v];
                    sum += s->sum[v] - s->n[v] * (half ? t->a[j] : t->b[j]);
                }
                if (n > 0) {
                    (half ? t->b : t->a)[i] = sum / n;
                }
            }
        }
    }
    double mean = 0;
    for (int i = 0; i < 16; i++) {
        mean += (t->a[i] - t->b[i]) / 32;
    }
    for (int i = 0; i < 16; i++) {
        t->a[i] -= mean;
        t->b[i] += mean;
    }
}

static double train_peak(const train_tables *t)
{
    double lo_a = 1e9, hi_a = -1e9, lo_b = 1e9, hi_b = -1e9;
    for (int i = 0; i < 16; i++) {
        lo_a = fmin(lo_a, t->a[i]);
        hi_a = fmax(hi_a, t->a[i]);
        lo_b = fmin(lo_b, t->b[i]);
        hi_b = fmax(hi_b, t->b[i]);
    }
    return fmax(hi_a + hi_b, -(lo_a + lo_b));
}

/* Error of integer tables at the best of a few units around `unit`, which is updated */
static double train_at_best_unit(const train_tables *t, const float *x, size_t n, double *unit)
{
    train_stats s;
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        train_run(t, x, n, *unit, &s);
        best = fmin(best, s.error);
        *unit /= s.gain;
    }
    return best;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        return 2;
    }
    const int bits = atoi(argv[1]), limit = atoi(argv[2]), restarts = atoi(argv[4]);
    train_seed = strtoull(argv[3], NULL, 10);
    train_format = bits == 2 ? LB_W_TCQ2 : bits == 3 ? LB_W_TCQ3 : LB_W_TCQ4;
    const size_t small = 1 << 14, large = 1 << 18, huge = 1 << 20, check = 1 << 22;
    float *x = malloc(check * sizeof *x);
    for (size_t i = 0; i < check; i++) {
        x[i] = train_gauss();
    }
    train_tables best = {{0}, {0}};
    train_stats s;
    double best_error = 1e9;
    for (int r = 0; r < restarts; r++) {
        train_tables t;
        for (int i = 0; i < 16; i++) {
            t.a[i] = (double)train_gauss() * 0.7;
            t.b[i] = (double)train_gauss() * 0.7;
        }
        for (int i = 0; i < 25; i++) {
            train_run(&t, x, small, 1.0, &s);
            train_fit(&t, &s);
        }
        if (s.error > best_error * 1.04) {
            continue; /* hopeless */
        }
        for (int i = 0; i < 30; i++) {
            train_run(&t, x, large / 2, 1.0, &s);
            train_fit(&t, &s);
        }
        if (s.error < best_error) {
            best_error = s.error;
            best = t;
            fprintf(stderr, "restart %d: %.5f\n", r, best_error);
        }
    }
    train_run(&best, x + large, huge, 1.0, &s);
    best_error = s.error;
    for (int r = 0; r < restarts; r++) { /* hops away from the best: noise on all entries, or two exchanged */
        train_tables t = best;
        double *half = r & 1 ? t.a : t.b;
        if (r % 4 < 2) {
            for (int i = 0; i < 16; i++) {
                t.a[i] += (double)train_gauss() * 0.12;
                t.b[i] += (double)train_gauss() * 0.12;
            }
        } else {
            const size_t i = train_random() % 16, j = train_random() % 16;
            const double swap = half[i];
            half[i] = half[j];
            half[j] = swap;
        }
        for (int i = 0; i < 26; i++) {
            train_run(&t, x + large, i < 10 ? 2 * small : i < 20 ? large / 2 : huge, 1.0, &s);
            train_fit(&t, &s);
            if ((i == 9 && s.error > best_error * 1.02) || (i == 19 && s.error > best_error * 1.005)) {
                s.error = 1.0; /* not worth the rest */
                break;
            }
        }
        if (s.error < best_error) {
            best_error = s.error;
            best = t;
            fprintf(stderr, "hop %d: %.5f\n", r, best_error);
        }
    }
    for (int i = 0; i < 10; i++) {
        train_run(&best, x + large, huge, 1.0, &s);
        train_fit(&best, &s);
    }
    train_run(&best, x + large + huge, huge, 1.0, &s);
    printf("float tables: %.5f\n", s.error);
    const double peak = train_peak(&best);
    train_tables whole = {{0}, {0}}, t;
    double whole_error = 1e9, whole_unit = 0;
    for (int i = 0; i < 12; i++) { /* sweep the scale of the rounding,
                                  and the share of A in the common offset */
        const double unit = ((double)limit + 0.49) / peak * (1.0 - 0.02 * (i % 6)), shift = i / 6 * 0.5;
        for (int j = 0; j < 16; j++) {
            t.a[j] = rint(best.a[j] * unit + shift);
            t.b[j] = rint(best.b[j] * unit - shift);
        }
        if (train_peak(&t) > limit) {
            continue;
        }
        double u = unit;
        const double e = train_at_best_unit(&t, x + large, huge, &u);
        fprintf(stderr, "unit %.3f: %.5f\n", u, e);
        if (e < whole_error) {
            whole_error = e;
            whole = t;
            whole_unit = u;
        }
    }
    for (int changed = 1, turn = 0; changed && turn < 4; turn++) { /* single entries by one */
        changed = 0;
        for (int j = 0; j < 64; j++) {
            t = whole;
            (j & 32 ? t.b : t.a)[j >> 1 & 15] += j & 1 ? 1 : -1;
            if (train_peak(&t) > limit) {
                continue;
            }
            train_run(&t, x + large, huge, whole_unit, &s);
            if (s.error < whole_error - 1e-7) {
                whole_error = s.error;
                whole = t;
                whole_unit /= s.gain;
                changed = 1;
            }
        }
        fprintf(stderr, "turn %d: %.5f\n", turn, whole_error);
    }
    train_run(&whole, x + large + huge, check - large - huge, whole_unit, &s);
    printf("bits %d limit %d seed %s: error %.5f on other samples, sigma %.3f\n", bits, limit, argv[3],
           s.error, whole_unit);
    for (int half = 0; half < 2; half++) {
        printf("    {");
        for (int i = 0; i < 16; i++) {
            printf("%s%.0f", i ? ", " : "", (half ? whole.b : whole.a)[i]);
        }
        printf("}\n");
    }
    return 0;
}
