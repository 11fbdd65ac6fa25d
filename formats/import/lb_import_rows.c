/*
 * Reading rows of a source's tensors: pure functions of the map, so any number of threads may do it at once.
 */
#include "lb_import.h"

/*
 * I2_S: 128 consecutive weights in 32 bytes; byte p holds weights p, p + 32, p + 64, p + 96 from its high
 * bits down. The order is flat over the tensor, so rows need not begin with a block.
 */
static lbrt_status rows_i2_s(const lb_place *p, uint64_t first, uint64_t n, float *out, const char *name,
                             lbrt_error *err)
{
    for (uint64_t i = 0; i < n; i++) {
        uint64_t k = first + i;
        unsigned code = (unsigned)p->data[k / 128 * 32 + k % 32] >> (6 - 2 * (k % 128 / 32)) & 3u;
        LB_FAIL_IF(code == 3, err, LBRT_ERR_FORMAT, "%s has a code that stands for no ternary weight", name);
        out[i] = (float)((int)code - 1) * p->scale;
    }
    return LBRT_OK;
}

/* Hugging Face BitNet: row r is bits 2 * (r / quarter) of the bytes of packed row r % quarter. */
static lbrt_status rows_u8_x4(const lb_place *p, const lb_source_tensor *t, uint64_t row, uint64_t n,
                              float *out, lbrt_error *err)
{
    uint64_t quarter = t->rows / 4;
    for (uint64_t r = row; r < row + n; r++, out += t->cols) {
        const unsigned char *src = p->data + r % quarter * t->cols;
        unsigned shift = (unsigned)(r / quarter) * 2;
        for (uint64_t c = 0; c < t->cols; c++) {
            unsigned code = (unsigned)src[c] >> shift & 3u;
            LB_FAIL_IF(code == 3, err, LBRT_ERR_FORMAT, "%s has a code that stands for no ternary weight",
                       t->name);
            out[c] = (float)((int)code - 1) * p->scale;
        }
    }
    return LBRT_OK;
}

lbrt_status lb_import_read_rows(const lb_source *s, size_t i, uint64_t row, uint64_t n, float *out, lbrt_error *err)
{
    const lb_import *im = (const lb_import *)s;
    LB_FAIL_IF(i >= im->n_tensors, err, LBRT_ERR_ARGUMENT, "the source has no tensor %zu", i);
    const lb_source_tensor *t = &im->tensors[i];
    const lb_place *p = &im->places[i];
    LB_FAIL_IF(row > t->rows || n > t->rows - row, err, LBRT_ERR_ARGUMENT, "%s has no row %llu", t->name,
               (unsigned long long)(row + n - 1));
    /* The tensor lies in the map as a whole, so none of these products overflows. */
    uint64_t count = n * t->cols;
    switch (p->kind) {
    case LB_PLACE_I2_S: return rows_i2_s(p, row * t->cols, count, out, t->name, err);
    case LB_PLACE_U8_X4: return rows_u8_x4(p, t, row, n, out, err);
    case LB_PLACE_TURNED:
        for (uint64_t c = 0; c < count; c++) {
            p->type->dequantize(p->data + (c % t->cols * t->rows + row + c / t->cols) * p->type->bytes, out + c, 1);
        }
        return LBRT_OK;
    case LB_PLACE_ONES:
        for (uint64_t c = 0; c < count; c++) {
            out[c] = p->scale;
        }
        return LBRT_OK;
    case LB_PLACE_CODES: lb_codes_rows(p->codes, row, n, out); return LBRT_OK;
    case LB_PLACE_MASKED:
    case LB_PLACE_SPQR:
    case LB_PLACE_CHAIN:
        lb_import_part_rows(p, t, row, n, out);
        return LBRT_OK;
    case LB_PLACE_ROWS:
    case LB_PLACE_ROUND: break;
    }
    p->type->dequantize(p->data + row * (t->cols / p->type->block) * p->type->bytes, out,
                        (size_t)(count / p->type->block));
    if (p->kind == LB_PLACE_ROUND) {
        /*
         * round(w * (1 / scale)), ties to even: as the BitNet quantizer multiplies by the inverse. A half
         * rounds to 0.
         */
        float inverse = 1.0f / p->scale;
        for (uint64_t c = 0; c < count; c++) {
            float q = out[c] * inverse;
            out[c] = q > 0.5f ? p->scale : q < -0.5f ? -p->scale : 0.0f;
        }
    } else if (p->scale != 1.0f) {
        for (uint64_t c = 0; c < count; c++) {
            out[c] *= p->scale;
        }
    }
    lb_import_scale_rows(p, t, row, n, out);
    return LBRT_OK;
}
