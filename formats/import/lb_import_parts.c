/* Reading rows of matrices that are stored in parts (lb_hf_parts.h). All was checked when they were put. */
#include "lb_import.h"

#include "../../kernels/lb_math.h"

/* The values of a row are read to the row's end and go to their places from the front: none is met before it was moved. */
static void masked_row(const lb_place *p, uint64_t row, size_t cols, float *out)
{
    const size_t line = (cols + 7) / 8;
    const unsigned char *bits = p->more[0] + row * line;
    size_t n = 0;
    for (size_t i = 0; i < line; i++) {
        n += (size_t)__builtin_popcount(bits[i]);
    }
    const uint64_t first = p->more[1] ? lb_load_u64(p->more[1] + 8 * row) : row * (cols / 2);
    p->type->dequantize(p->data + first * p->type->bytes, out + cols - n, n);
    for (size_t c = 0, next = cols - n; c < cols; c++) {
        out[c] = bits[c / 8] >> c % 8 & 1 ? out[next++] : 0.0f;
    }
}

/*
 * A row of a tile is 64 bits: scale and zero point in 3 bits each, 16 codes of 3 bits, 8 bits of what the tile's scales and zero points
 * are made of, a byte for two rows: f16 SS, ZS, SZ, ZZ; scale = SS (code - SZ), zero point = ZS (code - ZZ).
 */
static void spqr_row(const lb_place *p, uint64_t row, size_t cols, float *out)
{
    const unsigned char *tiles = p->data + row / 16 * cols * 8;
    const size_t r = row % 16;
    memset(out, 0, cols * sizeof *out); /* an order that leaves columns out leaves zeros */
    for (size_t j = 0; j < cols / 16; j++) {
        const unsigned char *tile = tiles + j * 128;
        const uint64_t v = lb_load_u64(tile + 8 * r);
        float made[4];
        for (size_t i = 0; i < 4; i++) {
            const uint64_t low = lb_load_u64(tile + 8 * (4 * i + r % 2)) >> 54 & 255, high = lb_load_u64(tile + 8 * (4 * i + 2 + r % 2)) >> 54 & 255;
            made[i] = lb_f16_to_f32((uint16_t)(low | high << 8));
        }
        const float scale = made[0] * ((float)(v & 7) - made[2]), zero = made[1] * ((float)(v >> 3 & 7) - made[3]);
        for (size_t i = 0; i < 16; i++) {
            const size_t c = p->scales ? lb_load_u16(p->scales + 2 * (16 * j + i)) : 16 * j + i;
            out[c] = scale * ((float)(v >> (6 + 3 * i) & 7) - zero);
        }
    }
    const size_t step = p->n ? 16 : 1;
    const unsigned char *offsets = p->more[0] + 4 * (p->n ? row / 16 : row);
    for (uint32_t i = lb_load_u32(offsets) + (uint32_t)(p->n ? r : 0); i < lb_load_u32(offsets + 4); i += (uint32_t)step) {
        const size_t c = lb_load_u16(p->more[1] + 4 * (size_t)i);
        out[p->scales ? lb_load_u16(p->scales + 2 * c) : c] += lb_f16_to_f32(lb_load_u16(p->more[1] + 4 * (size_t)i + 2));
    }
}

/* Columns in blocks: an inner row's part is read once for all rows. */
static void chain_rows(const lb_place *p, uint64_t row, uint64_t n, size_t cols, float *out)
{
    enum { BLOCK = 256 };
    float inner[BLOCK];
    memset(out, 0, (size_t)n * cols * sizeof *out);
    for (size_t c = 0; c < cols; c += BLOCK) {
        const size_t m = lb_min(BLOCK, cols - c);
        for (uint64_t i = 0; i < p->n; i++) {
            p->more_type->dequantize(p->more[0] + (i * cols + c) * p->more_type->bytes, inner, m);
            for (uint64_t r = 0; r < n; r++) {
                float w;
                p->type->dequantize(p->data + ((row + r) * p->n + i) * p->type->bytes, &w, 1);
                for (size_t j = 0; j < m; j++) {
                    out[r * cols + c + j] += w * inner[j];
                }
            }
        }
    }
}

void lb_import_scale_rows(const lb_place *p, const lb_source_tensor *t, uint64_t row, uint64_t n, float *out)
{
    for (uint64_t r = 0; p->scale_type && r < n; r++) {
        const uint64_t width = p->scale_rows ? p->scale_cols : t->cols / p->n_scales, line = p->one_scale ? 0 : p->scale_rows ? (row + r) / p->scale_rows : row + r;
        for (uint64_t g = 0; g < p->n_scales; g++) {
            float scale;
            p->scale_type->dequantize(p->scales + (line * p->n_scales + g) * p->scale_type->bytes, &scale, 1);
            for (uint64_t c = g * width; c < t->cols && c < (g + 1) * width; c++) {
                out[r * t->cols + c] *= scale;
            }
        }
    }
}

void lb_import_part_rows(const lb_place *p, const lb_source_tensor *t, uint64_t row, uint64_t n, float *out)
{
    const size_t cols = (size_t)t->cols;
    if (p->kind == LB_PLACE_CHAIN) {
        chain_rows(p, row, n, cols, out);
        return;
    }
    for (uint64_t r = 0; r < n; r++) {
        if (p->kind == LB_PLACE_SPQR) {
            spqr_row(p, row + r, cols, out + r * cols);
        } else {
            masked_row(p, row + r, cols, out + r * cols);
        }
    }
    lb_import_scale_rows(p, t, row, n, out);
}

lbrt_status lb_import_read_factor(const lb_source *s, size_t i, bool outer, uint64_t row, uint64_t n, float *out, lbrt_error *err)
{
    const lb_import *im = (const lb_import *)s;
    LB_FAIL_IF(i >= im->n_tensors || im->places[i].kind != LB_PLACE_CHAIN, err, LBRT_ERR_ARGUMENT, "the source has no factors %zu", i);
    const lb_place *p = &im->places[i];
    const uint64_t rows = outer ? im->tensors[i].rows : p->n, cols = outer ? p->n : im->tensors[i].cols;
    LB_FAIL_IF(row > rows || n > rows - row, err, LBRT_ERR_ARGUMENT, "a factor of %s has no row %llu", im->tensors[i].name,
               (unsigned long long)(row + n - 1));
    const lb_ggml_type *type = outer ? p->type : p->more_type;
    type->dequantize((outer ? p->data : p->more[0]) + row * cols * type->bytes, out, (size_t)(n * cols));
    return LBRT_OK;
}
