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

/* Searches a row's codes for a scale, stores them if `tile`, and returns the best scale for them. */
static double lb_tcq_pass(lb_wformat format, const float *point, const lb_tcq_row *row, double scale,
                          void *tile, size_t r)
{
    float x[LB_TCQ_BLOCK + LB_TCQ_AHEAD], h[LB_TCQ_BLOCK + LB_TCQ_AHEAD];
    uint8_t window[LB_TCQ_BLOCK], state[4], begin[4];
    const size_t k = lb_round_up64(row->k);
    const float inverse = (float)(1.0 / scale);
    double wx = 0.0, ww = 0.0;
    lb_tcq_load(row, k - 64, 64, inverse, x, h);
    lb_tcq_load(row, 0, 64, inverse, x + 64, h + 64);
    lb_tcq_begin(format, point, x, h, state);
    memcpy(begin, state, sizeof begin);
    for (size_t c = 0; c < k; c += LB_TCQ_BLOCK) {
        const size_t n = k - c < LB_TCQ_BLOCK ? k - c : LB_TCQ_BLOCK;
        const size_t want = tile ? LB_TCQ_AHEAD : LB_TCQ_AHEAD / 4; /* less is good enough for the scale */
        const size_t ahead = k - c - n < want ? k - c - n : want;
        lb_tcq_load(row, c, n + ahead, inverse, x, h);
        lb_tcq_search(format, point, x, h, n, ahead, state, c + n + ahead == k ? begin : NULL, window);
        for (size_t i = 0; i < n; i++) {
            const double w = (double)point[window[i]], hw = (double)h[i] * w;
            wx += hw * (double)x[i];
            ww += hw * w;
        }
        if (tile) {
            lb_tcq_store(format, tile, r, c, n, window);
        }
    }
    return wx > 0.0 ? scale * (wx / ww) : scale;
}

static void lb_pack_tcq(lb_wformat format, size_t bits, const float *rows, size_t stride, size_t n_rows,
                        size_t k,
                        const float *importance, void *tile)
{
    float point[256], largest = 0.0f, *row_scale = tile;
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
        double scale = sqrt(sum / all) / (double)lb_tcq_sigma(format);
        if (!(scale >= LB_TCQ_TINY)) {
            continue;
        }
        for (int pass = 1; pass < LB_TCQ_PASSES; pass++) {
            scale = lb_tcq_pass(format, point, &row, scale, NULL, 0);
        }
        row_scale[r] = (float)lb_tcq_pass(format, point, &row, scale, tile, r);
    }
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
