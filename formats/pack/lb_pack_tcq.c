/*
 * Packing into tcq2, tcq3, tcq4. The rows are expected to be rotated, so that their weights look Gaussian;
 * others are packed as well as one scale per row allows. The scale begins where a Gaussian row wants it; each
 * search of the best codes then gives a better one by least squares, and the last refines the scale alone.
 */
#include <math.h>
#include <string.h>

#include "lb_pack.h"
#include "lb_tcq.h"
#include "../../kernels/lb_layout.h"
#include "../../kernels/lb_math.h"

#define LB_TCQ_PASSES 2 /* more gain nothing on Gaussian rows */
#define LB_TCQ_TINY 1e-30 /* a row whose scale is below is a zero row */

typedef struct lb_tcq_row {
    const float *x, *h; /* k weights; importance or NULL */
    size_t k;
    float h_unit;       /* brings the importance to 1 at most */
} lb_tcq_row;

static float lb_tcq_finite(float x)
{
    return (lb_f32_bits(x) & 0x7f800000) == 0x7f800000 ? 0.0f : x;
}

/* n columns from `first` on in the unit of integer weights; past the true ones nothing counts */
static void lb_tcq_load(const lb_tcq_row *row, size_t first, size_t n, float inverse, float *x, float *h)
{
    for (size_t i = 0; i < n; i++) {
        const bool inside = first + i < row->k;
        x[i] = inside ? lb_tcq_finite(row->x[first + i]) * inverse : 0.0f;
        h[i] = !inside ? 0.0f : row->h ? row->h[first + i] * row->h_unit : 1.0f;
    }
}

/* Rows of a tile that are searched side by side: they share importance and width */
typedef struct lb_tcq_rows {
    lb_tcq_row row[LB_TCQ_ROWS];
    size_t r[LB_TCQ_ROWS], n; /* places in the tile; how many */
    double scale[LB_TCQ_ROWS];
} lb_tcq_rows;

/* Searches the rows' codes for their scales, stores them if `tile`, and puts the best scales for them in place of those. */
static void lb_tcq_pass(const lb_kernels *kernels, lb_wformat format, const float *point, lb_tcq_rows *rows, void *tile)
{
    enum { MOST = LB_TCQ_BLOCK + LB_TCQ_AHEAD };
    float x[LB_TCQ_ROWS * MOST], h[MOST];
    uint8_t window[LB_TCQ_ROWS * LB_TCQ_BLOCK], state[LB_TCQ_ROWS][4], begin[LB_TCQ_ROWS][4];
    const size_t true_k = rows->row[0].k, k = lb_round_up64(true_k);
    double wx[LB_TCQ_ROWS] = {0.0}, ww[LB_TCQ_ROWS] = {0.0};
    for (size_t i = 0; i < rows->n; i++) {
        const float inverse = (float)(1.0 / rows->scale[i]);
        lb_tcq_load(&rows->row[i], k - 64, 64, inverse, x + i * MOST, h);
        lb_tcq_load(&rows->row[i], 0, 64, inverse, x + i * MOST + 64, h + 64);
    }
    lb_tcq_begin(kernels, format, point, rows->n, x, MOST, h, state);
    memcpy(begin, state, sizeof begin);
    for (size_t c = 0; c < k; c += LB_TCQ_BLOCK) {
        const size_t n = k - c < LB_TCQ_BLOCK ? k - c : LB_TCQ_BLOCK;
        const size_t want = tile ? LB_TCQ_AHEAD : LB_TCQ_AHEAD / 4; /* less is good enough for the scale */
        const size_t ahead = k - c - n < want ? k - c - n : want;
        for (size_t i = 0; i < rows->n; i++) {
            lb_tcq_load(&rows->row[i], c, n + ahead, (float)(1.0 / rows->scale[i]), x + i * MOST, h);
        }
        lb_tcq_search_rows(kernels, format, point, rows->n, x, MOST, h, n, ahead, state,
                           c + n + ahead == k ? (const uint8_t(*)[4])begin : NULL, window);
        for (size_t i = 0; i < rows->n; i++) {
            for (size_t l = 0; l < n; l++) {
                const double w = (double)point[window[i * n + l]], hw = (double)h[l] * w;
                wx[i] += hw * (double)x[i * MOST + l];
                ww[i] += hw * w;
            }
            if (tile) {
                lb_tcq_store(format, tile, rows->r[i], c, n, window + i * n);
            }
        }
    }
    for (size_t i = 0; i < rows->n; i++) {
        rows->scale[i] = wx[i] > 0.0 ? rows->scale[i] * (wx[i] / ww[i]) : rows->scale[i];
    }
}

static void lb_tcq_pack_rows(const lb_kernels *kernels, lb_wformat format, const float *point, lb_tcq_rows *rows, void *tile)
{
    float *row_scale = tile;
    if (rows->n > 0) {
        for (int pass = 1; pass < LB_TCQ_PASSES; pass++) {
            lb_tcq_pass(kernels, format, point, rows, NULL);
        }
        lb_tcq_pass(kernels, format, point, rows, tile);
    }
    for (size_t i = 0; i < rows->n; i++) {
        row_scale[rows->r[i]] = (float)rows->scale[i];
    }
    rows->n = 0;
}

static void lb_pack_tcq(lb_wformat format, size_t bits, const float *rows, size_t stride, size_t n_rows, size_t k,
                        const float *importance, void *tile)
{
    lb_kernels kernels;
    lb_kernels_get(&kernels, NULL);
    float point[256], largest = 0.0f;
    lb_tcq_rows group = {.n = 0};
    memset(tile, 0, lb_tcq_tile_bytes(bits, k));
    lb_tcq_points(format, point);
    for (size_t c = 0; importance && c < k; c++) {
        largest = importance[c] > largest ? importance[c] : largest;
    }
    const bool weighted = largest > 1e-30f && largest < 1e30f;
    for (size_t r = 0; r < n_rows; r++) {
        const lb_tcq_row row = {rows + r * stride, weighted ? importance : NULL, k,
                                weighted ? 1.0f / largest : 1.0f};
        double sum = 0.0, all = 0.0;
        for (size_t c = 0; c < k; c++) {
            const double x = (double)lb_tcq_finite(row.x[c]), h = row.h ? (double)row.h[c] : 1.0;
            sum += h * x * x;
            all += h;
        }
        const double scale = sqrt(sum / all) / (double)lb_tcq_sigma(format);
        if (scale >= LB_TCQ_TINY) {
            group.row[group.n] = row;
            group.r[group.n] = r;
            group.scale[group.n++] = scale;
        }
        if (group.n == LB_TCQ_ROWS) {
            lb_tcq_pack_rows(&kernels, format, point, &group, tile);
        }
    }
    lb_tcq_pack_rows(&kernels, format, point, &group, tile);
}

void lb_pack_tcq2(const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance,
                  void *tile)
{
    lb_pack_tcq(LB_W_TCQ2, 2, rows, stride, n_rows, k, importance, tile);
}

void lb_pack_tcq3(const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance,
                  void *tile)
{
    lb_pack_tcq(LB_W_TCQ3, 3, rows, stride, n_rows, k, importance, tile);
}

void lb_pack_tcq4(const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance,
                  void *tile)
{
    lb_pack_tcq(LB_W_TCQ4, 4, rows, stride, n_rows, k, importance, tile);
}
