/*
 * VPTQ's matrices in a Hugging Face folder (formats/import/lb_codes.h): vectors down the rows, cut off at the end or not, groups of columns, codes in streams and in 16 bits, residual
 * books, outliers, orders, scales and offsets of columns. One matrix of a tiny model is made here by the format's definition; the source must give the same numbers.
 */
#include <stdio.h>
#include <string.h>

#include "../kernels/lb_math.h"
#include "import_matrix.h"
#include "lb_test.h"

void test_import_vptq(void);

typedef struct vq_kind {
    const char *name;
    unsigned width, bits, more_bits, groups, outliers;
    bool streams, norm;
    unsigned order_bytes;
} vq_kind;

enum { VQ_MAX_BITS = 10, VQ_MAX_WIDTH = 12, VQ_OUTLIER_WIDTH = 4, VQ_OUTLIER_BITS = 3 };

static const vq_kind vq_kinds[] = {
    { "streams of 8 bits, an order", 8, 8, 0, 1, 0, true, true, 2 },
    { "streams of 10 and 5 bits", 8, 10, 5, 1, 0, true, false, 0 },
    { "streams of 7 and 6 bits, cut off vectors, groups", 6, 7, 6, 4, 0, true, true, 2 },
    { "streams of 9 bits, vectors that the rows do not tell", 12, 9, 0, 2, 0, true, true, 0 },
    { "16 bits, a residual, an order in 64 bits", 8, 6, 4, 2, 0, false, true, 8 },
    { "16 bits, outliers", 8, 5, 0, 2, 6, false, true, 2 },
    { "streams and outliers", 4, 4, 3, 1, 8, true, false, 2 },
};

static struct {
    vq_kind k;
    unsigned cols, down;
    uint16_t books[4][1 << VQ_MAX_BITS][VQ_MAX_WIDTH], more_books[4][1 << VQ_MAX_BITS][VQ_MAX_WIDTH], outlier_books[1 << VQ_OUTLIER_BITS][VQ_OUTLIER_WIDTH];
    uint16_t codes[4][IP_ROWS][IP_COLS], more[4][IP_ROWS][IP_COLS], outliers[IP_ROWS][IP_COLS], scales[IP_COLS], offsets[IP_COLS], order[IP_COLS];
    float want[IP_ROWS * IP_COLS];
} vq;

static void vq_numbers(uint16_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = lb_f32_to_f16((float)(lb_test_random() % 512) / 64.0f - 4.0f);
    }
}

static void vq_make(const vq_kind *k)
{
    vq.k = *k;
    vq.cols = (IP_COLS - k->outliers) / k->groups;
    vq.down = (IP_ROWS + k->width - 1) / k->width;
    vq_numbers(&vq.books[0][0][0], sizeof vq.books / 2);
    vq_numbers(&vq.more_books[0][0][0], sizeof vq.more_books / 2);
    vq_numbers(&vq.outlier_books[0][0], sizeof vq.outlier_books / 2);
    vq_numbers(vq.scales, IP_COLS);
    vq_numbers(vq.offsets, IP_COLS);
    for (unsigned i = 0; i < IP_COLS; i++) {
        vq.order[i] = (uint16_t)i;
    }
    for (unsigned i = IP_COLS; k->order_bytes && i-- > 1;) {
        const unsigned j = (unsigned)(lb_test_random() % (i + 1));
        const uint16_t t = vq.order[i];
        vq.order[i] = vq.order[j];
        vq.order[j] = t;
    }
    for (unsigned i = 0; i < IP_COLS; i++) { /* in the order of the file */
        const bool outlier = i < k->outliers;
        const unsigned g = outlier ? 0 : (i - k->outliers) / vq.cols, c = outlier ? i : (i - k->outliers) % vq.cols, to = vq.order[i];
        for (unsigned r = 0; r < IP_ROWS; r++) {
            const unsigned width = outlier ? VQ_OUTLIER_WIDTH : k->width, line = r / width;
            uint16_t *code = outlier ? &vq.outliers[line][c] : &vq.codes[g][line][c], *more = &vq.more[g][line][c];
            if (r % width == 0) {
                *code = (uint16_t)(lb_test_random() % (1u << (outlier ? VQ_OUTLIER_BITS : k->bits)));
                if (!outlier) {
                    *more = (uint16_t)(lb_test_random() % (1u << k->more_bits));
                }
            }
            float x = lb_f16_to_f32(outlier ? vq.outlier_books[*code][r % width] : vq.books[g][*code][r % width]);
            x += !outlier && k->more_bits ? lb_f16_to_f32(vq.more_books[g][*more][r % width]) : 0.0f;
            vq.want[r * IP_COLS + to] = k->norm ? x * lb_f16_to_f32(vq.scales[to]) + lb_f16_to_f32(vq.offsets[to]) : x;
        }
    }
}

/* All but part `without`, or with something wrong in it; books without what is between their rows here */
static void vq_put(mk_safetensors *s, int without)
{
    static uint16_t flat[2][(1 << VQ_MAX_BITS) * VQ_MAX_WIDTH * 4], halves[2][IP_ROWS * IP_COLS], outliers[IP_ROWS * IP_COLS];
    static uint32_t words[IP_ROWS * IP_COLS];
    static uint64_t wide[IP_COLS];
    const vq_kind *k = &vq.k;
    const unsigned line = vq.cols * (k->bits + k->more_bits), line_words = (line + 31) / 32, downs = (IP_ROWS + VQ_OUTLIER_WIDTH - 1) / VQ_OUTLIER_WIDTH;
    char shapes[5][48];
    size_t n[3] = { 0, 0, 0 };
    memset(words, 0, sizeof words);
    for (unsigned g = 0; g < k->groups; g++) {
        for (unsigned d = 0; d < vq.down; d++) {
            for (unsigned c = 0; c < vq.cols; c++, n[2]++) {
                const uint32_t both = vq.codes[g][d][c] | (uint32_t)vq.more[g][d][c] << k->bits;
                for (unsigned b = 0; b < k->bits + k->more_bits; b++) {
                    const size_t at = c * (k->bits + k->more_bits) + b;
                    words[(g * vq.down + d) * line_words + at / 32] |= (both >> b & 1u) << at % 32;
                }
                halves[0][n[2]] = vq.codes[g][d][c];
                halves[1][n[2]] = vq.more[g][d][c];
            }
        }
        for (unsigned i = 0; i < 1u << k->bits; i++, n[0] += k->width) {
            memcpy(&flat[0][n[0]], vq.books[g][i], k->width * 2);
        }
        for (unsigned i = 0; i < 1u << k->more_bits; i++, n[1] += k->width) {
            memcpy(&flat[1][n[1]], vq.more_books[g][i], k->width * 2);
        }
    }
    for (unsigned i = 0; i < downs * k->outliers; i++) {
        outliers[i] = vq.outliers[i / k->outliers][i % k->outliers];
    }
    for (unsigned i = 0; i < IP_COLS; i++) {
        wide[i] = vq.order[i];
    }
    snprintf(shapes[0], sizeof shapes[0], "%u,%u,%u", k->groups, vq.down, k->streams ? line_words : vq.cols);
    snprintf(shapes[1], sizeof shapes[1], "%u,%u", k->groups, k->width << k->bits);
    snprintf(shapes[2], sizeof shapes[2], "%u,%u", k->groups, k->width << k->more_bits);
    snprintf(shapes[3], sizeof shapes[3], "1,%u,%u", downs, k->outliers);
    snprintf(shapes[4], sizeof shapes[4], "1,%u", (unsigned)VQ_OUTLIER_WIDTH << VQ_OUTLIER_BITS);
    const struct {
        bool there;
        const char *name, *dtype, *shape;
        const void *data;
        size_t bytes;
    } parts[] = { { true, ".indices", k->streams ? "I32" : "I16", shapes[0], k->streams ? (const void *)words : halves[0],
                    k->streams ? (size_t)k->groups * vq.down * line_words * 4 : n[2] * 2 },
                  { true, ".centroids.weight", "F16", shapes[1], flat[0], n[0] * 2 },
                  { k->more_bits != 0 && !k->streams, ".res_indices", "F16", shapes[0], halves[1], n[2] * 2 },
                  { k->more_bits != 0, ".res_centroids.weight", "F16", shapes[2], flat[1], n[1] * 2 },
                  { k->outliers != 0, ".outlier_indices", "I16", shapes[3], outliers, (size_t)downs * k->outliers * 2 },
                  { k->outliers != 0, ".outlier_centroids.weight", "F16", shapes[4], vq.outlier_books, sizeof vq.outlier_books },
                  { k->order_bytes != 0, ".perm", k->order_bytes == 8 ? "I64" : "I16", "64", k->order_bytes == 8 ? (const void *)wide : vq.order, (size_t)k->order_bytes * IP_COLS },
                  { k->norm, ".weight_scale", "F16", "64", vq.scales, sizeof vq.scales },
                  { k->norm, ".weight_bias", "F16", "64", vq.offsets, sizeof vq.offsets } };
    ip_begin(s);
    for (int i = 0; i < (int)(sizeof parts / sizeof parts[0]); i++) {
        if (parts[i].there && i != without) {
            ip_put(s, parts[i].name, parts[i].dtype, parts[i].shape, parts[i].data, parts[i].bytes);
        }
    }
}

void test_import_vptq(void)
{
    static const char config[] = "\"quantization_config\":{\"quant_method\":\"vptq\",\"config_for_layers\":{}}";
    mk_safetensors s;
    for (size_t i = 0; i < sizeof vq_kinds / sizeof vq_kinds[0]; i++) {
        lb_test_case("VPTQ: %s", vq_kinds[i].name);
        vq_make(&vq_kinds[i]);
        vq_put(&s, -1);
        ip_compare(&s, config, vq.want, 0.0f);
    }
    static const uint16_t zeros[4096];
    const struct {
        size_t kind;
        int without; /* this part, in place of which is */
        const char *name, *dtype, *shape;
        size_t bytes;
        const char *said;
    } wrong[] = {
        { 0, 0, NULL, NULL, NULL, 0, "lacks its indices" },
        { 0, 1, NULL, NULL, NULL, 0, "lacks its centroids" },
        { 5, 5, NULL, NULL, NULL, 0, "lacks its outliers' indices or centroids" },
        { 0, 7, NULL, NULL, NULL, 0, "lacks its weight_scale or weight_bias" },
        { 4, 2, NULL, NULL, NULL, 0, "has no codes" },
        { 0, 0, ".indices", "I32", "1,4,15", 240, "a code for each column and vector" },
        { 4, 0, ".indices", "U8", "2,4,32", 256, "a code for each column and vector" },
        { 0, 0, ".indices", "I32", "3,4,16", 768, "does not fit the model's matrix" },
        { 0, 0, ".indices", "I32", "64,16", 4096, "codes of vectors down the rows" },
        { 0, 1, ".centroids.weight", "F16", "1,2000", 4000, "a power of two of vectors" },
        { 4, 3, ".res_centroids.weight", "F16", "1,128", 256, "a power of two of vectors" },
        { 4, 2, ".res_indices", "I16", "2,4,16", 256, "does not fit the other codes" },
        { 5, 4, ".outlier_indices", "I32", "1,8,6", 192, "the codes of some columns" },
        { 5, 4, ".outlier_indices", "I16", "2,8,6", 192, "the codes of some columns" },
        { 0, 6, ".perm", "I16", "63", 126, "a number for each column" },
        { 0, 7, ".weight_scale", "F16", "32", 64, "a number for each column" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        lb_test_case("VPTQ: what is wrong, %zu: %s", i, wrong[i].said);
        vq_make(&vq_kinds[wrong[i].kind]);
        vq_put(&s, wrong[i].without);
        if (wrong[i].name) {
            ip_put(&s, wrong[i].name, wrong[i].dtype, wrong[i].shape, zeros, wrong[i].bytes);
        }
        ip_refused(&s, config, wrong[i].said);
    }
    lb_test_case("VPTQ: scales of rows");
    vq_make(&vq_kinds[0]);
    vq_put(&s, -1);
    ip_refused(&s, "\"quantization_config\":{\"quant_method\":\"vptq\",\"config_for_layers\":{\"a\":{\"norm_dim\":0},\"b\":{\"norm_dim\":1}}}", "norm_dim");
    lb_test_case("VPTQ: an order that leaves the matrix");
    vq_make(&vq_kinds[0]);
    vq.order[5] = IP_COLS;
    vq_put(&s, -1);
    ip_refused(&s, config, "names a column that is not there");
}
