/* q6, q5, q3, q2: where their bits are, that packer, unpacker and products agree about them, errors of the packers. */
#include "../kernels/lb_bits.h"
#include "test_kernels.h"

void test_kernels_bits(void);

typedef struct bits_case {
    lb_wformat id;
    const lb_bits_format *f;
    const char *where; /* per quad, from the lowest bit of a code on: vector and bit of each, as in lb_kernels.h */
    double gauss, outliers, one_sided; /* bounds of the normalised squared error */
} bits_case;

static const bits_case bits_cases[] = {
    {LB_W_Q6, &lb_bits_q6,
     "00 01 02 03 04 05|10 11 12 13 14 15|20 21 22 23 24 25|26 27 16 17 06 07|"
     "30 31 32 33 34 35|40 41 42 43 44 45|50 51 52 53 54 55|56 57 46 47 36 37|",
     0.0004, 0.0006, 0.0003},
    {LB_W_Q5, &lb_bits_q5,
     "00 01 02 03 04|10 11 12 13 14|20 21 22 23 24|30 31 32 33 34|40 41 42 43 44|"
     "05 06 07 15 16|25 26 27 35 36|45 46 47 17 37|",
     0.0015, 0.0022, 0.0012},
    {LB_W_Q3, &lb_bits_q3, "00 01 02|03 04 05|10 11 12|13 14 15|20 21 22|23 24 25|06 07 26|16 17 27|", 0.0235, 0.029, 0.018},
    {LB_W_Q2, &lb_bits_q2, "00 01|02 03|04 05|06 07|10 11|12 13|14 15|16 17|", 0.093, 0.1, 0.07},
};

/* One bit of one code at a time: where it goes, and that it is found there */
static void test_places(const bits_case *b)
{
    const size_t bytes = LB_GROUP * LB_TILE_ROWS / 8 * b->f->bits;
    uint8_t *plane = malloc(2 * bytes), code[8][64];
    const char *at = b->where;
    size_t bad = 0;
    for (size_t quad = 0; quad < 8; quad++) {
        for (unsigned bit = 0; bit < b->f->bits; bit++, at += 3) {
            const size_t vector = (size_t)(at[0] - '0'), from = (size_t)(at[1] - '0'), byte = test_below(64);
            const size_t column = LB_GROUP + quad * 4 + byte % 4;
            memset(code, 0, sizeof code);
            memset(plane, 0, bytes);
            memset(plane + bytes, 0xff, bytes); /* the group is overwritten */
            code[quad][byte] = (uint8_t)(1u << bit);
            lb_bits_put_group(b->f, plane, 1, (const uint8_t(*)[64])code);
            for (size_t i = 0; i < 2 * bytes; i++) {
                bad += plane[i] != (i == bytes + vector * 64 + byte ? 1u << from : 0);
            }
            bad += lb_bits_code(b->f, plane, byte / 4, column) != 1u << bit;
        }
    }
    LB_CHECK(bad == 0 && *at == '\0', "%zu wrong", bad);
    for (size_t i = 0; i < sizeof code; i++) {
        code[i / 64][i % 64] = (uint8_t)test_below((size_t)1 << b->f->bits);
    }
    lb_bits_put_group(b->f, plane, 0, (const uint8_t(*)[64])code);
    for (size_t i = 0; i < sizeof code; i++) {
        const size_t byte = i % 64;
        bad += lb_bits_code(b->f, plane, byte / 4, i / 64 * 4 + byte % 4) != code[i / 64][byte];
    }
    LB_CHECK(bad == 0, "%zu wrong of random codes", bad);
    free(plane);
}

static double bits_error(const bits_case *b, const float *x, size_t k, void *tile, float *out)
{
    const lb_wformat_info *f = lb_wformat_find((uint32_t)b->id);
    double error = 0.0, all = 0.0;
    lb_packer(b->id)(x, k, LB_TILE_ROWS, k, NULL, tile);
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        f->unpack(tile, k, r, out);
        for (size_t c = 0; c < k; c++) {
            const double want = (double)x[r * k + c], d = (double)out[c] - want;
            error += d * d;
            all += want * want;
        }
    }
    return error / all;
}

static void test_errors(const bits_case *b)
{
    const size_t k = 2048, n = LB_TILE_ROWS * k;
    float *x = malloc(n * sizeof(float)), *out = malloc(k * sizeof(float));
    void *tile = lb_test_guard(lb_bits_tile_bytes(k, b->f->bits), false);
    for (size_t i = 0; i < n; i++) {
        x[i] = lb_test_gauss();
    }
    double e = bits_error(b, x, k, tile, out);
    LB_CHECK(e <= 1.02 * b->gauss, "N(0,1): %.6f", e);
    for (size_t i = 0; i < n; i++) {
        x[i] = lb_test_gauss() * 0.001f * (test_below(2000) == 0 ? 15.0f : 1.0f);
    }
    e = bits_error(b, x, k, tile, out);
    LB_CHECK(e <= 1.5 * b->outliers, /* few outliers: the draw matters */
             "one weight of 2000 is 15 times larger: %.6f", e);
    for (size_t i = 0; i < n; i++) {
        x[i] = fabsf(lb_test_gauss()) * (i / k % 2 ? -1e6f : 1e6f);
    }
    e = bits_error(b, x, k, tile, out);
    LB_CHECK(e <= b->one_sided, "weights of one sign: %.6f", e);
    lb_test_guard_free(tile);
    free(x);
    free(out);
}

/* The product of the reference is that of the unpacked weights. */
static void test_meaning(const bits_case *b)
{
    const size_t k = 320;
    const lb_wformat_info *f = lb_wformat_find((uint32_t)b->id);
    uint8_t *tile = lb_test_guard(f->tile_bytes(k), false);
    int8_t *q = lb_test_guard(k, false);
    float x[320], row[320], scale[10], y[LB_TILE_ROWS];
    int32_t sum[10], start[10];
    for (size_t i = 0; i < f->tile_bytes(k); i++) {
        tile[i] = (uint8_t)lb_test_random();
    }
    for (size_t i = 0; i < k; i++) {
        x[i] = lb_test_gauss();
    }
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        ((float *)(void *)tile)[r] = lb_test_gauss();
    }
    const lb_kernels *ref = lb_kernels_for("scalar");
    ref->quantize_a8(x, k, q, scale, sum, start);
    const lb_input in = { .n = 1, .q = q, .q_stride = k, .scale = scale, .sum = sum, .start = start, .group_stride = 10 };
    ref->gemv[b->id](tile, f->tile_bytes(k), 1, k, &in, y, LB_TILE_ROWS, false, NULL);
    double worst = 0.0;
    for (size_t r = 0; r < LB_TILE_ROWS; r++) {
        double want = 0.0, size = 0.0;
        f->unpack(tile, k, r, row);
        for (size_t c = 0; c < k; c++) {
            const double p = (double)row[c] * q[c] * (double)scale[c / LB_GROUP];
            want += p;
            size += fabs(p);
        }
        worst = fmax(worst, fabs(want - (double)y[r]) / size);
    }
    LB_CHECK(worst < 1e-6, "%g", worst);
    lb_test_guard_free(q);
    lb_test_guard_free(tile);
}

void test_kernels_bits(void)
{
    for (size_t i = 0; i < sizeof bits_cases / sizeof bits_cases[0]; i++) {
        const bits_case *b = &bits_cases[i];
        const char *name = lb_wformat_find((uint32_t)b->id)->name;
        lb_test_case("%s: places of the bits", name);
        test_places(b);
        lb_test_case("%s: errors of the packer", name);
        test_errors(b);
        lb_test_case("%s: products mean the unpacked weights", name);
        test_meaning(b);
    }
    lb_test_case("group scales");
    LB_CHECK(lb_bits_scale(0) == 0.125f && lb_bits_scale(255) == 1.984375f && lb_bits_scale(0xc0) == 1.0f, "scale");
}
