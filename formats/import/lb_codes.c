#include "lb_codes.h"

#include <math.h>

enum { CODES_ROWS = 16 };

/* Code i of a stream whose words are `stride` bytes apart */
static uint32_t code_at(const unsigned char *words, uint64_t stride, uint64_t i, unsigned bits)
{
    const uint64_t at = i * bits;
    const unsigned shift = at % 32;
    uint32_t v = lb_load_u32(words + at / 32 * stride) >> shift;
    if (shift + bits > 32) {
        v |= lb_load_u32(words + (at / 32 + 1) * stride) << (32 - shift);
    }
    return v & ((1u << bits) - 1);
}

/* The same where 32 codes are in planes */
static uint32_t code_in_planes(const unsigned char *words, uint64_t stride, uint64_t i, unsigned bits)
{
    uint64_t at = i / 32 * bits;
    uint32_t v = 0;
    for (unsigned width = 8, low = 0; width > 0; width /= 2) {
        if (bits & width) {
            const unsigned bit = (unsigned)(i % 32) * width;
            v |= (lb_load_u32(words + (at + bit / 32) * stride) >> bit % 32 & ((1u << width) - 1)) << low;
            at += width;
            low += width;
        }
    }
    return v;
}

/* Row r of `rows` in a line of AWQ's words */
static uint32_t awq_at(const unsigned char *line, uint64_t r)
{
    static const unsigned char nibble[8] = { 0, 4, 1, 5, 2, 6, 3, 7 };
    return lb_load_u32(line + r / 8 * 4) >> 4 * nibble[r % 8] & 15;
}

/* Four rows are together, 64 columns of each after the other; of 32 columns, number 8 a + 2 b + c is nibble 8 b + 4 c + a. */
static uint32_t fast_at(const unsigned char *words, uint64_t cols, uint64_t r, uint64_t col)
{
    const uint64_t nibble = col % 64 / 32 * 32 + col % 8 / 2 * 8 + col % 2 * 4 + col % 32 / 8;
    return (uint32_t)lb_load_u16(words + 2 * (r / 4 * cols + col / 64 * 64 + r % 4 * 16 + nibble / 4)) >> 4 * (nibble % 4) & 15;
}

/*
 * GPTQModel before 6.1 took ones from whole words of 3-bit zeros too, but not from where codes begin: from the first and the last of three words what
 * was the other's. It added the same again, so that its models were right; nothing else reads them.
 */
static uint32_t codes_odd_zero(const unsigned char *line, uint64_t r)
{
    static const uint32_t taken[3] = { 0x24924924u, 0x92492492u, 0x49249249u };
    const uint64_t w = r * 3 / 32;
    const unsigned shift = r * 3 % 32;
    uint32_t v = (lb_load_u32(line + 4 * w) + taken[w % 3]) >> shift;
    if (shift > 29) {
        v |= (lb_load_u32(line + 4 * (w + 1)) + taken[(w + 1) % 3]) << (32 - shift);
    }
    return v & 7;
}

static float codes_zero(const lb_codes *c, uint64_t g, uint64_t r)
{
    const unsigned per = 32 / c->bits;
    const uint32_t middle = 1u << (c->bits - 1), mask = (1u << c->bits) - 1;
    uint32_t z = middle;
    if (c->zeros && c->byte_zeros) {
        return (float)((int)middle + (int8_t)c->zeros[c->one ? 0 : r * c->n_groups + g]);
    }
    if (c->kind == LB_CODES_FAST) {
        float v;
        c->zero_type->dequantize(c->zeros + (g * c->rows + r) * c->zero_type->bytes, &v, 1);
        return v;
    }
    if (c->kind == LB_CODES_GEMV) {
        return (float)code_at(c->zeros + r * (c->line / 8 * 4), 4, g, 4);
    }
    const unsigned char *line = c->kind == LB_CODES_GPTQ ? c->zeros + g * (c->rows * c->bits / 32 * 4) : NULL;
    if (c->borrows && c->odd_threes && c->bits == 3) {
        return (float)codes_odd_zero(line, r);
    }
    if (c->borrows && 32 % c->bits == 0) {
        return (float)((lb_load_u32(line + r / per * 4) + UINT32_MAX / mask) >> c->bits * (r % per) & mask); /* a one in each of the word's places */
    }
    if (c->zeros && c->kind == LB_CODES_GPTQ) {
        z = (c->planes ? code_in_planes : code_at)(line, 4, r, c->bits);
    } else if (c->zeros && c->kind == LB_CODES_AWQ) {
        z = awq_at(c->zeros + g * (c->rows / 8 * 4), r);
    } else if (c->zeros && c->stream) {
        z = code_at(c->zeros + 4 * g, 4 * c->n_groups, r, c->bits);
    } else if (c->zeros) {
        z = lb_load_u32(c->zeros + (r / per * c->n_groups + g) * 4) >> c->bits * (r % per) & mask;
    }
    return (float)(c->one_less && c->zeros ? (z + 1) & mask : z);
}

static uint32_t codes_code(const lb_codes *c, uint64_t r, uint64_t col)
{
    const unsigned per = 32 / c->bits;
    if (c->byte_codes) {
        return (uint32_t)((int8_t)c->words[r * c->cols + col] + 128);
    }
    if (c->stream) {
        return code_at(c->words + r * ((c->cols * c->bits + 31) / 32 * 4), 4, col, c->bits);
    }
    switch (c->kind) {
    case LB_CODES_GPTQ: return (c->planes ? code_in_planes : code_at)(c->words + 4 * r, 4 * c->rows, col, c->bits);
    case LB_CODES_AWQ: return awq_at(c->words + col * (c->rows / 8 * 4), r);
    case LB_CODES_FAST: return fast_at(c->words, c->cols, r, col);
    default: return lb_load_u32(c->words + (r * ((c->cols + per - 1) / per) + col / per) * 4) >> c->bits * (col % per) & ((1u << c->bits) - 1);
    }
}

/* Columns outside: in most of these kinds rows lie beside each other. */
static void codes_grouped(const lb_codes *c, uint64_t row, uint64_t n, float *out)
{
    float scale[CODES_ROWS], zero[CODES_ROWS];
    uint64_t known = UINT64_MAX;
    for (uint64_t col = 0; col < c->cols; col++) {
        const uint64_t g = c->groups ? lb_load_u32(c->groups + 4 * col) : col / c->width;
        for (uint64_t r = 0; r < n && g != known; r++) {
            const uint64_t by_row = c->kind == LB_CODES_PACKED ? c->n_groups : c->kind == LB_CODES_GEMV ? c->line : 0; /* else groups come first */
            const uint64_t at = c->one ? 0 : by_row ? (row + r) * by_row + g : g * c->rows + row + r;
            c->scale_type->dequantize(c->scales + at * c->scale_type->bytes, &scale[r], 1);
            zero[r] = codes_zero(c, g, row + r);
        }
        known = g;
        for (uint64_t r = 0; r < n; r++) {
            const float code = (float)codes_code(c, row + r, col);
            out[r * c->cols + col] = c->kind == LB_CODES_FAST ? scale[r] * code + zero[r] : scale[r] * (code - zero[r]);
        }
    }
}

static void codes_table(const lb_codes *c, uint64_t first, uint64_t n, float *out)
{
    float size = 0.0f;
    for (uint64_t i = first; i < first + n; i++) {
        const uint64_t b = i / c->block;
        if (i == first || i % c->block == 0) {
            size = c->second ? lb_load_f32(c->second + 4 * c->scales[b]) * lb_load_f32(c->sizes + 4 * (b / c->size_block)) + c->offset
                             : lb_load_f32(c->scales + 4 * b);
        }
        const unsigned code = i % 2 ? c->words[i / 2] & 15u : c->words[i / 2] >> 4;
        out[i - first] = lb_load_f32(c->table + 4 * code) * size;
    }
}

static void codes_books(const lb_codes *c, uint64_t row, float *out)
{
    float scale, part;
    const uint64_t line = row / c->height, down = row % c->height;
    c->scale_type->dequantize(c->scales + line * c->scale_type->bytes, &scale, 1);
    const unsigned char *code = c->words + line * (c->cols / c->width) * c->n_books * c->code_bytes;
    for (uint64_t at = 0; at < c->cols; at += c->width) {
        memset(out + at, 0, (size_t)c->width * sizeof *out);
        for (uint64_t b = 0; b < c->n_books; b++, code += c->code_bytes) {
            const uint64_t v = (c->code_bytes == 1 ? code[0] : lb_load_u16(code)) & ((1u << c->bits) - 1);
            for (uint64_t i = 0; i < c->width; i++) {
                c->table_type->dequantize(c->table + ((((b << c->bits) + v) * c->height + down) * c->width + i) * c->table_type->bytes, &part, 1);
                out[at + i] += part;
            }
        }
        for (uint64_t i = 0; i < c->width; i++) {
            out[at + i] *= scale;
        }
    }
}

static void codes_fp4(const lb_codes *c, uint64_t row, float *out)
{
    const unsigned char *codes = c->words + row * (c->cols / 2);
    for (uint64_t g = 0; g < c->n_groups; g++) {
        const uint64_t at = row * c->n_groups + g;
        float scale = c->scale_type ? 0.0f : c->scales[at] == 255 ? (float)NAN : ldexpf(1.0f, c->scales[at] - 127);
        if (c->scale_type) {
            c->scale_type->dequantize(c->scales + at * c->scale_type->bytes, &scale, 1);
        }
        scale *= c->factor;
        for (uint64_t i = g * c->width; i < (g + 1) * c->width; i++) {
            out[i] = 0.5f * (float)lb_e2m1_twice[codes[i / 2] >> (i % 2 * 4) & 15] * scale;
        }
    }
}

static void codes_hqq(const lb_codes *c, uint64_t first, uint64_t n, float *out)
{
    float scale = 0.0f, zero = 0.0f;
    uint64_t known = UINT64_MAX;
    for (uint64_t i = first; i < first + n; i++) {
        const uint64_t row = i / c->width, col = i % c->width, g = c->turned ? col : row, at = row % c->lines * c->width + col;
        if (g != known) {
            c->scale_type->dequantize(c->scales + g * c->scale_type->bytes, &scale, 1);
            c->zero_type->dequantize(c->zeros + g * c->zero_type->bytes, &zero, 1);
            known = g;
        }
        const uint32_t word = c->bits == 3 ? lb_load_u32(c->words + 4 * at) : c->words[at];
        const uint32_t code = word >> c->bits * (c->per - 1 - (unsigned)(row / c->lines)) & ((1u << c->bits) - 1);
        out[i - first] = ((float)code - zero) * scale;
    }
}

static float vector_number(const lb_codes *c, const unsigned char *books, uint64_t i)
{
    float v;
    c->table_type->dequantize(books + i * c->table_type->bytes, &v, 1);
    return v;
}

/* The row's numbers of some columns, in the order that they have there, the first of which is `at` */
static void codes_vectors(const lb_codes *c, const lb_codes_vectors *v, uint64_t row, uint64_t at, float *out)
{
    const uint64_t all = v->bits + v->more_bits, words = (v->cols * all + 31) / 32;
    for (uint64_t g = 0; g < v->groups; g++) {
        const uint64_t line = g * v->down + row / v->width, place = row % v->width;
        for (uint64_t k = 0; k < v->cols; k++, at++) {
            uint64_t code, more = 0;
            if (v->streams) {
                const unsigned char *word = v->codes + (line * words + k * all / 32) * 4;
                const unsigned shift = (unsigned)(k * all % 32);
                code = (lb_load_u32(word) | (shift + all > 32 ? (uint64_t)lb_load_u32(word + 4) << 32 : 0)) >> shift;
                more = code >> v->bits & ((1u << v->more_bits) - 1);
            } else {
                code = lb_load_u16(v->codes + (line * v->cols + k) * 2);
                more = v->more ? lb_load_u16(v->more + (line * v->cols + k) * 2) & ((1u << v->more_bits) - 1) : 0;
            }
            float sum = vector_number(c, v->books, ((g << v->bits) + (code & ((1u << v->bits) - 1))) * v->width + place);
            sum += v->more_books ? vector_number(c, v->more_books, ((g << v->more_bits) + more) * v->width + place) : 0.0f;
            out[!c->order ? at : c->order_bytes == 2 ? lb_load_u16(c->order + 2 * at) : lb_load_u64(c->order + 8 * at)] = sum;
        }
    }
}

static void codes_vptq(const lb_codes *c, uint64_t row, float *out)
{
    memset(out, 0, (size_t)c->cols * sizeof *out); /* an order may leave columns out */
    codes_vectors(c, &c->vectors[0], row, 0, out);
    codes_vectors(c, &c->vectors[1], row, c->vectors[0].groups * c->vectors[0].cols, out);
    for (uint64_t i = 0; i < c->cols && c->scales; i++) {
        float scale, offset;
        c->scale_type->dequantize(c->scales + i * c->scale_type->bytes, &scale, 1);
        c->zero_type->dequantize(c->zeros + i * c->zero_type->bytes, &offset, 1);
        out[i] = out[i] * scale + offset;
    }
}

void lb_codes_rows(const lb_codes *c, uint64_t row, uint64_t n, float *out)
{
    if (c->kind == LB_CODES_TABLE) {
        codes_table(c, row * c->cols, n * c->cols, out);
        return;
    }
    if (c->kind == LB_CODES_HQQ) {
        codes_hqq(c, row * c->cols, n * c->cols, out);
        return;
    }
    for (uint64_t r = 0, step; r < n; r += step) {
        float *to = out + r * c->cols;
        step = 1;
        switch (c->kind) {
        case LB_CODES_BOOKS: codes_books(c, row + r, to); break;
        case LB_CODES_FP4: codes_fp4(c, row + r, to); break;
        case LB_CODES_VPTQ: codes_vptq(c, row + r, to); break;
        default:
            step = lb_min(n - r, CODES_ROWS);
            codes_grouped(c, row + r, step, to);
            break;
        }
    }
}
