/* 2:4 sparsity: where positions and values are, packing with and without loss, what is pruned, products of unpacked weights. */
#include "test_kernels.h"

void test_kernels_s24(void);

static const struct {
    lb_wformat id;
    size_t lines;
    double exact; /* bound of the normalised squared error of kept weights that are N(0, 1) */
} s24_cases[] = {{LB_W_S24Q8, LB_S24Q8_LINES, 3.8e-5}, {LB_W_S24Q4, LB_S24Q4_LINES, 0.0098}};

/* Two random columns of each quad */
static void s24_row(float *row, size_t k)
{
    for (size_t c = 0; c < k; c += 4) {
        const size_t a = test_below(4), b = (a + 1 + test_below(3)) % 4;
        for (size_t i = 0; i < 4 && c + i < k; i++) {
            row[c + i] = i == a || i == b ? lb_test_gauss() : 0.0f;
        }
    }
}

/* The layout as lb_kernels.h describes it, byte by byte, against lb_s24_weight_at */
static void s24_places(lb_wformat id, size_t lines)
{
    enum { K = 192 };
    const lb_wformat_info *f = lb_wformat_find((uint32_t)id);
    lb_test_case("%s: where positions and values are", f->name);
    uint8_t *tile = lb_test_guard(f->tile_bytes(K), false);
    size_t bad = 0;
    for (size_t run = 0; run < 2000; run++) {
        memset(tile, 0, f->tile_bytes(K));
        const size_t g = test_below(K / 32), j = test_below(4), r = test_below(16), half = test_below(2);
        const size_t a = test_below(3), b = a + 1 + test_below(3 - a);
        uint8_t *group = tile + 64 + 64 + g * (64 + 64 * lines); /* 3 scales of 16 bytes, to a multiple of 64 */
        for (size_t i = 0; i < 64; i++) { /* all positions are valid: 0 and 1 */
            group[i] = i % 2 ? 0x55 : 0;
        }
        memset(group + 64, lines == 4 ? 128 : 0x88, 64 * lines);
        const size_t at = r * 4 + 2 * half;
        group[at] = (uint8_t)(group[at] & ~(3u << 2 * j)) | (uint8_t)(a << 2 * j);
        group[at + 1] = (uint8_t)(group[at + 1] & ~(3u << 2 * j)) | (uint8_t)(b << 2 * j);
        if (lines == 4) {
            group[64 + 64 * j + at] = 131;
            group[64 + 64 * j + at + 1] = 3;
        } else {
            const unsigned shift = j % 2 * 4;
            uint8_t *line = group + 64 + 64 * (j / 2);
            line[at] = (uint8_t)((line[at] & 0xf0u >> shift) | 11u << shift);
            line[at + 1] = (uint8_t)((line[at + 1] & 0xf0u >> shift) | 1u << shift);
        }
        for (size_t c = 0; c < 32; c++) {
            const size_t quad = 8 * j + 4 * half;
            const int want = c == quad + a ? 3 : c == quad + b ? (lines == 4 ? -125 : -7) : 0;
            bad += lb_s24_weight_at(tile, K, lines, r, 32 * g + c) != want;
        }
    }
    LB_CHECK(bad == 0, "%zu wrong", bad);
    lb_test_guard_free(tile);
}

/* Rows that are 2:4 keep their pattern: no weight is lost, and errors are those of rounding; zeros stay zeros. */
static void s24_exact(lb_wformat id, double bound)
{
    const lb_wformat_info *f = lb_wformat_find((uint32_t)id);
    lb_test_case("%s: rows that are 2:4 already keep their pattern", f->name);
    for (size_t k = 1; k < 1200; k += 1 + test_below(150)) {
        const size_t n = 1 + test_below(16), stride = k + 3;
        float *x = malloc(n * stride * sizeof(float)), *out = malloc(k * sizeof(float));
        void *tile = lb_test_guard(f->tile_bytes(k), k % 2 == 0);
        memset(tile, 0xa5, f->tile_bytes(k));
        for (size_t r = 0; r < n; r++) {
            s24_row(x + r * stride, k);
        }
        lb_packer(id)(x, stride, n, k, NULL, tile);
        size_t bad = 0;
        double error = 0.0, all = 0.0;
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            f->unpack(tile, k, r, out);
            for (size_t c = 0; c < k; c++) {
                const double want = r < n ? (double)x[r * stride + c] : 0.0;
                bad += want == 0.0 && out[c] != 0.0f;
                error += ((double)out[c] - want) * ((double)out[c] - want);
                all += want * want;
            }
        }
        const double allowed = k >= 256 ? bound : 2.0 * bound; /* few weights: the draw matters */
        LB_CHECK(bad == 0 && error <= allowed * all, "k %zu: %zu zeros lost, error %.7f", k, bad, error / all);
        const uint8_t *groups = (const uint8_t *)tile + lb_s24_codes_at(k);
        const size_t bytes = lb_s24_group_bytes(id == LB_W_S24Q8 ? LB_S24Q8_LINES : LB_S24Q4_LINES);
        bad = 0;
        for (size_t g = 0; g < lb_round_up64(k) / 32; g++) {
            for (size_t i = 0; i < 64 * 4; i += 2) {
                const uint8_t *p = groups + g * bytes + i % 64;
                const unsigned shift = (unsigned)(i / 64 * 2);
                bad += (p[0] >> shift & 3) >= (p[1] >> shift & 3);
            }
        }
        LB_CHECK(bad == 0, "k %zu: %zu pairs of positions do not rise", k, bad);
        lb_test_guard_free(tile);
        free(x);
        free(out);
    }
}

/* What survives are the two of each quad with the largest magnitude, or magnitude times root of importance. */
static void s24_pruned(lb_wformat id)
{
    enum { K = 512 };
    const lb_wformat_info *f = lb_wformat_find((uint32_t)id);
    lb_test_case("%s: pruning by magnitude and by importance", f->name);
    float *x = malloc(16 * K * sizeof(float)), h[K], out[K];
    void *tile = lb_test_guard(f->tile_bytes(K), true);
    for (int important = 0; important < 2; important++) {
        for (size_t i = 0; i < 16 * K; i++) {
            x[i] = lb_test_gauss();
            h[i % K] = expf(2.0f * lb_test_gauss());
        }
        lb_packer(id)(x, K, 16, K, important ? h : NULL, tile);
        size_t bad = 0;
        double lost = 0.0, all = 0.0;
        for (size_t r = 0; r < 16; r++) {
            f->unpack(tile, K, r, out);
            for (size_t c = 0; c < K; c++) {
                size_t larger = 0;
                for (size_t d = c / 4 * 4; d < c / 4 * 4 + 4; d++) {
                    const float mine = fabsf(x[r * K + c]) * (important ? sqrtf(h[c]) : 1.0f);
                    larger += fabsf(x[r * K + d]) * (important ? sqrtf(h[d]) : 1.0f) > mine;
                }
                const double w = important ? (double)h[c] : 1.0, v = (double)x[r * K + c], d = (double)out[c] - v;
                bad += larger >= 2 && out[c] != 0.0f;
                /* a kept weight is where it was; small ones may round to zero */
                bad += larger < 2 && fabs(d) > 0.5 * fabs(v) + 0.25;
                lost += w * d * d;
                all += w * v * v;
            }
        }
        LB_CHECK(bad == 0, "%zu weights", bad);
        LB_CHECK(important || fabs(lost / all - (id == LB_W_S24Q8 ? 0.1325 : 0.139)) < 0.008,
                 "2:4 by magnitude loses 13.25 %% of the energy of N(0, 1): %.4f", lost / all);
    }
    lb_test_guard_free(tile);
    free(x);
}

/* The product of the reference is that of the unpacked weights. */
static void s24_meaning(lb_wformat id)
{
    enum { K = 320 };
    const lb_wformat_info *f = lb_wformat_find((uint32_t)id);
    lb_test_case("%s: the product is that of the unpacked weights", f->name);
    uint8_t *tile = lb_test_guard(f->tile_bytes(K), false);
    int8_t *q = lb_test_guard(K, false);
    float x[16 * K], row[K], scale[K / 32], y[LB_TILE_ROWS];
    int32_t sum[K / 32], start[K / 32];
    for (size_t i = 0; i < 16 * K; i++) {
        x[i] = lb_test_gauss();
    }
    lb_packer(id)(x, K, 16, K, NULL, tile);
    const lb_kernels *ref = lb_kernels_for("scalar");
    ref->quantize_a8(x, K, q, scale, sum, start);
    const lb_input in = {.n = 1, .q = q, .q_stride = K, .scale = scale, .sum = sum, .start = start, .group_stride = K / 32};
    ref->gemv[id](tile, f->tile_bytes(K), 1, K, &in, y, LB_TILE_ROWS, false, NULL);
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        double want = 0.0, size = 0.0;
        f->unpack(tile, K, r, row);
        for (size_t c = 0; c < K; c++) {
            const double p = (double)row[c] * (double)scale[c / 32] * (double)q[c];
            want += p;
            size += fabs(p);
        }
        LB_CHECK(fabs((double)y[r] - want) <= 1e-6 * size, "row %zu: %g, %g", r, (double)y[r], want);
    }
    lb_test_guard_free(tile);
    lb_test_guard_free(q);
}

void test_kernels_s24(void)
{
    for (size_t i = 0; i < sizeof s24_cases / sizeof s24_cases[0]; i++) {
        s24_places(s24_cases[i].id, s24_cases[i].lines);
        s24_exact(s24_cases[i].id, s24_cases[i].exact);
        s24_pruned(s24_cases[i].id);
        s24_meaning(s24_cases[i].id);
    }
}
