#include "lb_outliers.h"

#include <math.h>
#include <string.h>

#include "../../kernels/lb_math.h"
#include "lb_pack.h"

/* Columns of the `lines` largest of error[0..k-1] to line after line of row r, rising. Spoils error. */
static void choose_outliers(float *error, size_t k, size_t lines, uint8_t *sparse, size_t r)
{
    for (size_t j = 0; j < lines; j++) {
        size_t best = 0;
        for (size_t c = 1; c < k; c++) {
            best = error[c] > error[best] ? c : best;
        }
        error[best] = -2.0f;
    }
    for (size_t c = 0, j = 0; c < k; c++) {
        if (error[c] == -2.0f) {
            ((uint16_t *)(void *)(sparse + 64 * j++))[r] = (uint16_t)c;
        }
    }
}

double lb_pack_outliers(const lb_wformat_info *f, const float *rows, size_t n, size_t k, size_t lines, float *temp, void *tile,
                        uint8_t *sparse, double *squares)
{
    lb_pack_fn *pack = lb_packer(f->id);
    memset(sparse, 0, 64 * lines);
    pack(rows, k, n, k, NULL, tile);
    for (size_t r = 0; r < n; r++) {
        float *error = temp + r * k;
        f->unpack(tile, k, r, error);
        for (size_t c = 0; c < k; c++) {
            const float d = rows[r * k + c] - error[c], e = d * d;
            error[c] = e >= 0.0f ? e : -1.0f; /* not finite: no outlier, packed as 0 */
        }
        choose_outliers(error, k, lines, sparse, r);
    }
    memcpy(temp, rows, n * k * sizeof *temp);
    for (size_t r = 0; r < n; r++) {
        for (size_t j = 0; j < lines; j++) {
            temp[r * k + ((const uint16_t *)(const void *)(sparse + 64 * j))[r]] = 0.0f;
        }
    }
    pack(temp, k, n, k, NULL, tile);
    double errors = 0.0;
    *squares = 0.0;
    for (size_t r = 0; r < n; r++) {
        float *q = temp + r * k;
        f->unpack(tile, k, r, q);
        for (size_t j = 0; j < lines; j++) {
            uint16_t *line = (uint16_t *)(void *)(sparse + 64 * j);
            const float lacks = rows[r * k + line[r]] - q[line[r]];
            line[LB_TILE_ROWS + r] = lb_f32_to_f16(fmaxf(fminf(lacks, 65504.0f), -65504.0f));
            q[line[r]] += lb_f16_to_f32(line[LB_TILE_ROWS + r]);
        }
        for (size_t c = 0; c < k; c++) {
            const double w = (double)rows[r * k + c], d = w - (double)q[c];
            errors += d * d;
            *squares += w * w;
        }
    }
    return errors;
}

void lb_take_outliers(const lb_wformat_info *f, float *rows, size_t stride, size_t n, size_t k, const float *importance, size_t lines,
                      float *temp, void *tile, uint8_t *sparse)
{
    memset(sparse, 0, 64 * lines);
    lb_packer(f->id)(rows, stride, n, k, importance, tile);
    for (size_t r = 0; r < n; r++) {
        float *error = temp + r * k, *row = rows + r * stride;
        f->unpack(tile, k, r, error);
        for (size_t c = 0; c < k; c++) {
            const float d = row[c] - error[c], e = d * d * (importance ? importance[c] : 1.0f);
            error[c] = e >= 0.0f ? e : -1.0f;
        }
        choose_outliers(error, k, lines, sparse, r);
        for (size_t j = 0; j < lines; j++) {
            uint16_t *line = (uint16_t *)(void *)(sparse + 64 * j);
            line[LB_TILE_ROWS + r] = lb_f32_to_f16(fmaxf(fminf(row[line[r]], 65504.0f), -65504.0f));
            row[line[r]] -= lb_f16_to_f32(line[LB_TILE_ROWS + r]);
        }
    }
}
