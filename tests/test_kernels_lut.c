/* lut4 .. lut1: where their bits are, tables, that lookups compute what dot products compute, errors of the packer. */
#include "../kernels/lb_bits.h"
#include "test_kernels.h"

void test_kernels_lut(void);

typedef struct lut_case {
    lb_wformat id, twin; /* twin: the same weights with their bits in other places */
    const lb_bits_format *f, *twin_f;
    double gauss, one_sided; /* bounds of the normalised squared error */
} lut_case;

static const lut_case lut_cases[] = {
    {LB_W_LUT4, LB_W_NONE, &lb_bits_lut4, NULL, 0.0062, 0.006},
    {LB_W_LUT3, LB_W_Q3, &lb_bits_lut3, &lb_bits_q3, 0.0235, 0.018},
    {LB_W_LUT2, LB_W_Q2, &lb_bits_lut2, &lb_bits_q2, 0.093, 0.07},
    {LB_W_LUT1, LB_W_NONE, &lb_bits_lut1, NULL, 0.37, 0.37},
};

/* One bit of one code at a time, against the words of lb_kernels.h */
static void test_places(const lut_case *c)
{
    const size_t bytes = 64u * c->f->bits;
    uint8_t *plane = malloc(2 * bytes), code[8][64];
    size_t bad = 0;
    for (size_t row = 0; row < LB_TILE_ROWS; row++) {
        for (size_t column = 0; column < LB_GROUP; column++) {
            const unsigned bit = (unsigned)test_below(c->f->bits);
            memset(code, 0, sizeof code);
            memset(plane, 0, bytes);
            memset(plane + bytes, 0xff, bytes); /* the group is overwritten */
            code[column / 4][row * 4 + column % 4] = (uint8_t)(1u << bit);
            lb_bits_put_group(c->f, plane, 1, (const uint8_t(*)[64])code);
            for (size_t i = 0; i < 2 * bytes; i++) {
                bad += plane[i] != (i == bytes + 64 * bit + column / 8 * 16 + row ? 1u << column % 8 : 0);
            }
            bad += lb_bits_code(c->f, plane, row, LB_GROUP + column) != 1u << bit;
        }
    }
    LB_CHECK(bad == 0, "%zu wrong", bad);
    free(plane);
}

static void test_tables(const lb_kernels *ref, const lb_kernels *k)
{
    lb_test_case("%s: tables", k->isa);
    for (size_t columns = 64; columns <= 640; columns += 64) {
        const size_t bytes = columns / LB_GROUP * LB_LUT_GROUP_BYTES;
        int8_t *q = lb_test_guard(columns, false);
        uint8_t *want = lb_test_guard(bytes, false), *got = lb_test_guard(bytes, columns % 128 == 0);
        for (size_t i = 0; i < columns; i++) {
            q[i] = (int8_t)(columns == 64 ? -127 : columns == 128 ? 127 : (int)test_below(255) - 127);
        }
        ref->lut_tables(q, columns, want);
        k->lut_tables(q, columns, got);
        LB_CHECK(memcmp(want, got, bytes) == 0, "%zu columns", columns);
        for (int i = 0; i < 100; i++) { /* the reference itself */
            const size_t j = test_below(columns / 4), m = test_below(16);
            int sum = 0;
            for (size_t b = 0; b < 4; b++) {
                sum += m >> b & 1 ? q[4 * j + b] : 0;
            }
            const uint8_t *at = want + j / 8 * 256 + j % 2 * 128 + j / 2 % 4 * 16 + m;
            LB_CHECK(at[0] + 256 * (int8_t)at[64] == sum, "quad %zu entry %zu", j, m);
        }
        lb_test_guard_free(got);
        lb_test_guard_free(want);
        lb_test_guard_free(q);
    }
}

/* The same codes in the twin's places: lookups and dot products agree to the last bit. */
static void test_twin(const lut_case *c)
{
    const size_t k = 448, groups = k / LB_GROUP;
    const lb_wformat_info *f = lb_wformat_find((uint32_t)c->id), *twin = lb_wformat_find((uint32_t)c->twin);
    uint8_t *w = lb_test_guard(f->tile_bytes(k), false), *v = lb_test_guard(twin->tile_bytes(k), false);
    int8_t *q = lb_test_guard(k, false);
    uint8_t *lut = lb_test_guard(groups * LB_LUT_GROUP_BYTES, false);
    float x[448], scale[14], y[LB_TILE_ROWS], z[LB_TILE_ROWS];
    int32_t sum[14], start[14];
    for (size_t i = 0; i < lb_bits_codes_at(k); i++) {
        w[i] = v[i] = (uint8_t)lb_test_random();
    }
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        ((float *)(void *)w)[r] = ((float *)(void *)v)[r] = lb_test_gauss();
    }
    for (size_t g = 0; g < groups; g++) {
        uint8_t code[8][64];
        for (size_t i = 0; i < sizeof code; i++) {
            code[i / 64][i % 64] = (uint8_t)test_below((size_t)1 << c->f->bits);
        }
        lb_bits_put_group(c->f, w + lb_bits_codes_at(k), g, (const uint8_t(*)[64])code);
        lb_bits_put_group(c->twin_f, v + lb_bits_codes_at(k), g, (const uint8_t(*)[64])code);
    }
    for (size_t i = 0; i < k; i++) {
        x[i] = lb_test_gauss();
    }
    const lb_kernels *best = lb_kernels_for(NULL);
    best->quantize_a8(x, k, q, scale, sum, start);
    best->lut_tables(q, k, lut);
    const lb_input in = {.n = 1, .q = q, .q_stride = k, .scale = scale, .sum = sum, .start = start, .group_stride = groups, .lut = lut};
    best->gemv[c->id](w, f->tile_bytes(k), 1, k, &in, y, LB_TILE_ROWS, false, NULL);
    best->gemv[c->twin](v, twin->tile_bytes(k), 1, k, &in, z, LB_TILE_ROWS, false, NULL);
    LB_CHECK(test_differ(y, z, LB_TILE_ROWS) == LB_TILE_ROWS, "row %zu", test_differ(y, z, LB_TILE_ROWS));
    lb_test_guard_free(lut);
    lb_test_guard_free(q);
    lb_test_guard_free(v);
    lb_test_guard_free(w);
}

static void test_errors(const lut_case *c)
{
    const size_t k = 2048;
    const lb_wformat_info *f = lb_wformat_find((uint32_t)c->id);
    float *x = malloc(LB_TILE_ROWS * k * sizeof(float)), *out = malloc(k * sizeof(float));
    void *tile = lb_test_guard(f->tile_bytes(k), false);
    for (int one_sided = 0; one_sided < 2; one_sided++) {
        double error = 0.0, all = 0.0;
        for (size_t i = 0; i < LB_TILE_ROWS * k; i++) {
            const float v = lb_test_gauss();
            x[i] = one_sided ? fabsf(v) * (i / k % 2 ? -1e6f : 1e6f) : v;
        }
        lb_packer(c->id)(x, k, LB_TILE_ROWS, k, NULL, tile);
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            f->unpack(tile, k, r, out);
            for (size_t i = 0; i < k; i++) {
                const double want = (double)x[r * k + i], d = (double)out[i] - want;
                error += d * d;
                all += want * want;
            }
        }
        LB_CHECK(error / all <= (one_sided ? c->one_sided : c->gauss), "%s: %.5f", one_sided ? "one sign" : "N(0,1)", error / all);
    }
    lb_test_guard_free(tile);
    free(x);
    free(out);
}

void test_kernels_lut(void)
{
    for (size_t i = 0; i < sizeof lut_cases / sizeof lut_cases[0]; i++) {
        const lut_case *c = &lut_cases[i];
        lb_test_case("lut%d: places of the bits, errors of the packer", c->f->bits);
        test_places(c);
        test_errors(c);
        if (c->twin != LB_W_NONE) {
            lb_test_case("lut%d and its twin give the same bits", c->f->bits);
            test_twin(c);
        }
    }
    test_each_level("tables", test_tables);
}
