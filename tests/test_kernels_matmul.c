/* Matrix products of every level and format against the scalar reference, bit for bit, with guard pages. */
#include "test_kernels.h"

void test_kernels_matmul(void);

typedef enum mm_data { MM_RANDOM, MM_MAX, MM_MIN, MM_ALTERNATING, MM_ZERO, MM_WILD } mm_data; /* wild: every third token, another third has groups of zeros */

static const char *const mm_data_names[] = {"random", "max", "min", "alternating", "zero", "wild"};

typedef struct mm_case {
    lb_wformat format;
    size_t k, n_tiles, n, padding; /* padding: extra columns of the strides */
    mm_data data;
    bool at_start; /* guard pages before the buffers instead of behind them */
} mm_case;

/* Bytes of tiles at the edge of what the format allows */
static void fill_weights(const mm_case *c, const lb_wformat_info *f, uint8_t *w)
{
    const size_t bytes = f->tile_bytes(c->k);
    const bool trellis = c->format >= LB_W_TCQ2 && c->format <= LB_W_TCQ4;
    const bool sparse = c->format == LB_W_S24Q8 || c->format == LB_W_S24Q4;
    const size_t lines = c->format == LB_W_S24Q8 ? LB_S24Q8_LINES : LB_S24Q4_LINES;
    const size_t codes = trellis                ? LB_TCQ_CODES_AT
                         : c->format == LB_W_TERN ? LB_TERN_CODES_AT
                         : c->format == LB_W_INT8 ? LB_INT8_CODES_AT
                         : c->format == LB_W_Q4 ? lb_q4_codes_at(c->k)
                         : sparse                ? lb_s24_codes_at(c->k)
                                                : lb_q8_codes_at(c->k);
    for (size_t i = 0; i < c->n_tiles * bytes; i += 8) {
        const uint64_t r = lb_test_random();
        memcpy(w + i, &r, 8);
    }
    for (size_t t = 0; t < c->n_tiles; t++) {
        uint8_t *tile = w + t * bytes;
        if (f->reads == LB_READS_F32) {
            for (size_t i = 0; i < bytes / (c->format == LB_W_F32 ? 4 : 2); i++) {
                const float x = c->data == MM_ZERO ? 0.0f : test_float(c->data == MM_WILD);
                if (c->format == LB_W_F32) {
                    ((float *)(void *)tile)[i] = x;
                } else {
                    ((uint16_t *)(void *)tile)[i] = c->format == LB_W_F16 ? lb_f32_to_f16(x) : lb_f32_to_bf16(x);
                }
            }
            continue;
        }
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            ((float *)(void *)tile)[r] = c->data == MM_ZERO ? 0.0f : lb_test_gauss();
        }
        for (size_t i = codes; i < bytes; i++) {
            const bool high = c->data == MM_MAX || (c->data == MM_ALTERNATING && i / 64 % 2 != 0);
            const bool low = c->data == MM_MIN || (c->data == MM_ALTERNATING && i / 64 % 2 == 0);
            if (sparse && (i - codes) % lb_s24_group_bytes(lines) < 64) { /* positions: the first of two is smaller, but in wild data */
                static const uint8_t pairs[6][2] = {{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}};
                for (size_t j = 0; c->data != MM_WILD && i % 2 == 0 && j < 4; j++) {
                    const uint8_t *pair = pairs[test_below(6)];
                    for (size_t h = 0; h < 2; h++) {
                        tile[i + h] = (uint8_t)((j == 0 ? 0 : tile[i + h]) | pair[h] << (2 * j));
                    }
                }
            } else if (c->format == LB_W_Q8 || c->format == LB_W_S24Q8 || c->format == LB_W_INT8) {
                tile[i] = high ? 255 : low ? 1 : tile[i] == 0 ? 128 : tile[i];
            } else {
                tile[i] = high ? 0xff : low ? 0x00 : tile[i];
            }
        }
        if (c->format == LB_W_Q4 && c->data != MM_RANDOM) { /* zero points against the codes */
            memset(tile + lb_q4_zeros_at(c->k), c->data == MM_MIN ? 0xff : 0, lb_round_up64(c->k) / 64 * 16);
        }
    }
}

static void check_case(const lb_kernels *ref, const lb_kernels *k, const mm_case *c)
{
    const lb_wformat_info *f = lb_wformat_find((uint32_t)c->format);
    const size_t bytes = f->tile_bytes(c->k), k_pad = lb_round_up64(c->k), groups = k_pad / LB_GROUP;
    const size_t xs = c->k + c->padding, qs = k_pad + 64 * c->padding, gs = groups + c->padding;
    const size_t ys = c->n_tiles * LB_TILE_ROWS + c->padding, ny = (c->n - 1) * ys + c->n_tiles * LB_TILE_ROWS;
    uint8_t *w = lb_test_guard(c->n_tiles * bytes, c->at_start);
    fill_weights(c, f, w);
    float *x = lb_test_guard(((c->n - 1) * xs + c->k) * sizeof(float), c->at_start);
    int8_t *q = lb_test_guard((c->n - 1) * qs + k_pad, c->at_start);
    float *scale = lb_test_guard(((c->n - 1) * gs + groups) * sizeof(float), c->at_start);
    int32_t *sum = lb_test_guard(((c->n - 1) * gs + groups) * sizeof(int32_t), c->at_start);
    int32_t *start = lb_test_guard(((c->n - 1) * gs + groups) * sizeof(int32_t), c->at_start);
    int8_t *tq = lb_test_guard((c->n - 1) * qs + k_pad, c->at_start);
    const size_t ls = groups * LB_LUT_GROUP_BYTES, n_lut = c->n < LB_LUT_TOKENS ? c->n : LB_LUT_TOKENS;
    uint8_t *lut = lb_test_guard(n_lut * ls, c->at_start);
    float *token_scale = lb_test_guard(c->n * sizeof(float), c->at_start);
    int32_t *token_sum = lb_test_guard(c->n * sizeof(int32_t), c->at_start);
    for (size_t t = 0; t < c->n; t++) {
        for (size_t i = 0; i < c->k; i++) {
            const float sign = c->data == MM_ALTERNATING && i / 4 % 2 == 0 ? -1.0f : c->data == MM_MIN ? -1.0f : 1.0f;
            x[t * xs + i] = c->data == MM_WILD && t % 3 == 2 && i < c->k / 2 ? 0.0f
                            : c->data == MM_RANDOM || c->data == MM_WILD ? test_float(c->data == MM_WILD && t % 3 == 1)
                                                                         : sign;
        }
        ref->quantize_a8(x + t * xs, c->k, q + t * qs, scale + t * gs, sum + t * gs, start + t * gs);
        if (t < n_lut) {
            ref->lut_tables(q + t * qs, k_pad, lut + t * ls);
        }
        ref->quantize_a8_token(x + t * xs, c->k, tq + t * qs, token_scale + t, token_sum + t);
    }
    const lb_input in = {c->n, x, xs, q, qs, scale, sum, start, gs, tq, qs, token_scale, token_sum, c->n <= LB_LUT_TOKENS ? lut : NULL, ls, NULL, 0, NULL, NULL, NULL};
    float *want = malloc(ny * sizeof(float)), *one = malloc(ny * sizeof(float));
    float *y = lb_test_guard(ny * sizeof(float), c->at_start);
    void *scratch = lb_test_guard(LB_MM_SCRATCH, c->at_start);
    for (int add = 0; add < 2; add++) {
        for (size_t i = 0; i < ny; i++) {
            want[i] = one[i] = y[i] = lb_test_gauss();
        }
        ref->gemm[c->format](w, bytes, c->n_tiles, c->k, &in, want, ys, add, scratch);
        memset(scratch, 0xff, LB_MM_SCRATCH);
        k->gemm[c->format](w, bytes, c->n_tiles, c->k, &in, y, ys, add, scratch);
        size_t i = test_differ(y, want, ny); /* the padding between rows of y is compared as well */
        LB_CHECK(i == ny, "gemm %s k %zu tiles %zu n %zu add %d %s: at token %zu row %zu: %a, reference %a", f->name, c->k,
                 c->n_tiles, c->n, add, mm_data_names[c->data], i / ys, i % ys, (double)y[i % ny], (double)want[i % ny]);
        for (size_t t = 0; t < c->n && t < 4; t++) {
            const lb_input token = {1, x + t * xs, xs, q + t * qs, qs, scale + t * gs, sum + t * gs, start + t * gs, gs,
                                    tq + t * qs, qs, token_scale + t, token_sum + t, t % 3 == 2 ? NULL : lut + t * ls, ls, NULL, 0, NULL, NULL, NULL};
            k->gemv[c->format](w, bytes, c->n_tiles, c->k, &token, one + t * ys, ys, add, scratch);
            i = test_differ(one + t * ys, want + t * ys, c->n_tiles * LB_TILE_ROWS);
            LB_CHECK(i == c->n_tiles * LB_TILE_ROWS, "gemv %s k %zu tiles %zu add %d %s: at row %zu", f->name, c->k,
                     c->n_tiles, add, mm_data_names[c->data], i);
        }
    }
    free(want);
    free(one);
    lb_test_guard_free(scratch);
    lb_test_guard_free(y);
    lb_test_guard_free(token_sum);
    lb_test_guard_free(lut);
    lb_test_guard_free(token_scale);
    lb_test_guard_free(tq);
    lb_test_guard_free(sum);
    lb_test_guard_free(start);
    lb_test_guard_free(scale);
    lb_test_guard_free(q);
    lb_test_guard_free(x);
    lb_test_guard_free(w);
}

static void test_level(const lb_kernels *ref, const lb_kernels *k)
{
    const lb_wformat_info *f;
    for (size_t i = 0; (f = lb_wformat_at(i)) != NULL; i++) {
        lb_test_case("%s %s: tokens 1..40, 256", k->isa, f->name);
        for (size_t n = 1; n <= 41; n++) {
            const mm_case c = {f->id, 64 + 64 * test_below(12), 1 + test_below(3), n == 41 ? 256 : n, test_below(3), MM_RANDOM,
                               n % 2 == 0};
            check_case(ref, k, &c);
        }
        lb_test_case("%s %s: tiles 1..19", k->isa, f->name);
        for (size_t tiles = 1; tiles <= 19; tiles++) {
            const mm_case c = {f->id, 64 + 64 * test_below(3), tiles, 1 + test_below(9), 1, MM_RANDOM, tiles % 2 == 0};
            check_case(ref, k, &c);
        }
        lb_test_case("%s %s: columns", k->isa, f->name);
        for (size_t j = 0; j < 40; j++) {
            const size_t kk = f->reads != LB_READS_F32 ? 64 + 64 * j : j < 20 ? 1 + j : 1 + test_below(700);
            const mm_case c = {f->id, kk, 1 + test_below(9), 1 + test_below(14), test_below(2), MM_RANDOM, j % 2 == 0};
            check_case(ref, k, &c);
        }
        for (mm_data data = MM_MAX; data <= MM_WILD; data++) {
            lb_test_case("%s %s: %s", k->isa, f->name, mm_data_names[data]);
            for (size_t j = 0; j < 4; j++) {
                const mm_case c = {f->id, 512 * (j + 1), 2, 1 + 9 * j, 0, data, j % 2 == 0};
                check_case(ref, k, &c);
            }
        }
    }
}

void test_kernels_matmul(void)
{
    test_each_level("matrix products", test_level);
}
