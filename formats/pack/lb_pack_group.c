/* Formats with groups of 32 columns: what they share, and packing without feedback. */
#include <string.h>

#include "lb_pack_group.h"

void lb_group_range(const lb_pack_cols *in, lb_pack_lanes *min, lb_pack_lanes *max)
{
    for (size_t b = 0; b < 4; b++) {
        lb_pack_v lo = lb_pack_all(0.0f), hi = lo;
        for (size_t c = 0; c < LB_GROUP; c++) {
            lo = lb_pack_min(in->x[c].v[b], lo);
            hi = lb_pack_max(in->x[c].v[b], hi);
        }
        min->v[b] = lo;
        max->v[b] = hi;
    }
}

void lb_group_error(const lb_pack_cols *in, const lb_group_code *code, float least, float most, lb_pack_lanes *error)
{
    for (size_t b = 0; b < 4; b++) {
        const lb_pack_v s = code->step.v[b], i = code->inverse.v[b], z = code->zero.v[b];
        lb_pack_v e = lb_pack_all(0.0f);
        for (size_t c = 0; c < LB_GROUP; c++) {
            const lb_pack_v d = in->x[c].v[b] - s * (lb_group_round(in->x[c].v[b], i, z, least, most) - z);
            e += in->h[c] * d * d;
        }
        error->v[b] = e;
    }
}

const lb_group_format *lb_group_format_of(lb_wformat format)
{
    switch (format) {
    case LB_W_Q8: return &lb_group_q8;
    case LB_W_Q6: return &lb_group_q6;
    case LB_W_Q5: return &lb_group_q5;
    case LB_W_Q4: return &lb_group_q4;
    case LB_W_Q3: return &lb_group_q3;
    case LB_W_Q2: return &lb_group_q2;
    case LB_W_LUT4: return &lb_group_lut4;
    case LB_W_LUT3: return &lb_group_lut3;
    case LB_W_LUT2: return &lb_group_lut2;
    case LB_W_LUT1: return &lb_group_lut1;
    default: return NULL;
    }
}

void lb_group_begin(const lb_group_format *f, const float *rows, size_t stride, size_t n_rows, size_t k,
                    float row_step[LB_TILE_ROWS], void *tile)
{
    lb_pack_cols in;
    lb_pack_lanes min, max;
    memset(row_step, 0, LB_TILE_ROWS * sizeof *row_step);
    for (size_t g = 0; g < lb_round_up64(k) / LB_GROUP; g++) {
        lb_pack_load(&in, rows, stride, n_rows, k, NULL, g);
        lb_group_range(&in, &min, &max);
        for (size_t r = 0; r < LB_TILE_ROWS; r++) {
            const float step = f->need(f, min.f[r], max.f[r]);
            row_step[r] = step > row_step[r] ? step : row_step[r];
        }
    }
    f->begin(f, row_step, tile, k);
}

void lb_group_pack(const lb_group_format *f, const float *rows, size_t stride, size_t n_rows, size_t k, const float *importance,
                   void *tile)
{
    lb_pack_cols in;
    lb_group_code code;
    lb_pack_lanes q[LB_GROUP];
    float row_step[LB_TILE_ROWS];
    lb_group_begin(f, rows, stride, n_rows, k, row_step, tile);
    for (size_t g = 0; g < lb_round_up64(k) / LB_GROUP; g++) {
        lb_pack_load(&in, rows, stride, n_rows, k, importance, g);
        f->choose(f, row_step, &in, tile, k, g, &code);
        for (size_t c = 0; c < LB_GROUP; c++) {
            for (size_t b = 0; b < 4; b++) {
                q[c].v[b] = lb_group_round(in.x[c].v[b], code.inverse.v[b], code.zero.v[b], f->least, f->most);
            }
        }
        f->store(f, tile, k, g, (const float(*)[LB_TILE_ROWS])(const void *)q);
    }
}
