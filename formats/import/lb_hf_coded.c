/*
 * Matrices of codes in Hugging Face folders, by the names of their tensors (NAME.weight is the matrix):
 *   GPTQ, AWQ           NAME.qweight, .scales, .qzeros, .g_idx (GPTQ alone)
 *   compressed-tensors  NAME.weight_packed, .weight_scale, .weight_shape, .weight_zero_point, .weight_g_idx (pack-quantized); int8 with zero points or columns in another
 *                       order: NAME.weight, .weight_scale, .weight_zero_point, .weight_g_idx (int-quantized, naive-quantized)
 *   bitsandbytes        NAME.weight, .weight.absmax, .quant_map, .quant_state.bitsandbytes__nf4 or __fp4, .nested_absmax, .nested_quant_map
 *   AQLM                NAME.codes, .codebooks, .scales
 *   compressed-tensors  NAME.weight_packed, .weight_scale, .weight_global_scale (nvfp4-pack-quantized; without the last, mxfp4-pack-quantized)
 *   ModelOpt            NAME.weight, .weight_scale, .weight_scale_2 (NVFP4)
 *   HQQ                 NAME.W_q, .scale, .zero, .shape, .axis, .packing (and more that repeats those)
 *   VPTQ                NAME.indices, .centroids.weight, .res_indices, .res_centroids.weight, .outlier_indices, .outlier_centroids.weight, .perm, .weight_scale, .weight_bias
 * lb_codes.h has the layouts.
 */
#include "lb_hf_parts.h"
#include "lb_json.h"

#define CODED_FAIL_IF(cond, t, text) LB_FAIL_IF(cond, err, LBRT_ERR_FORMAT, "tensor %.*s " text, lb_safetensor_shown(t), (t)->name)

static bool coded_is(const lb_safetensor *t, const char *dtype, uint64_t rows, uint64_t cols)
{
    return strcmp(t->dtype, dtype) == 0 && t->n_dims == 2 && t->shape[0] == rows && t->shape[1] == cols;
}

/* The slot's codes, to be filled; NULL: no memory */
static lb_codes *coded_new(lb_import *im, size_t slot)
{
    if (!im->codes) {
        im->codes = (lb_codes *)lb_alloc_zero(&im->a, im->n_slots, sizeof *im->codes);
        im->n_codes = im->codes ? im->n_slots : 0;
    }
    return im->codes ? &im->codes[slot] : NULL;
}

static lbrt_status coded_place(lb_import *im, size_t slot, const lb_codes *c, const lb_safetensor *t, const char *type_name, lbrt_error *err)
{
    const lb_place p = { .kind = LB_PLACE_CODES, .type_name = type_name, .data = c->words, .scale = 1.0f, .codes = c };
    return lb_import_put(im, slot, t->name, t->name_bytes, c->rows, c->cols, &p, err);
}

/*
 * Columns' groups: every one must be there. Without a list those of compressed-tensors divide the columns, as its quantizer insists: layers may have others than
 * config.json's first group says. Elsewhere they are as wide as config.json says, and the last one may be narrower; where that does not explain their number, a layer
 * has others than most: as wide as a power of two.
 */
static lbrt_status coded_groups(const lb_safetensor *t, const lb_safetensor *scales, const lb_hf_codes *how, lb_codes *c, lbrt_error *err)
{
    CODED_FAIL_IF(t && (strcmp(t->dtype, "I32") != 0 || lb_safetensor_count(t) != c->cols), t, "does not have a number for each column");
    for (uint64_t i = 0; t && c->kind == LB_CODES_PACKED && i < c->cols; i++) {
        if (lb_load_u32(t->data + 4 * i) == UINT32_MAX) { /* -1: compressed-tensors' way to say that there is no list */
            t = NULL;
        }
    }
    if (!t) {
        const bool even = c->kind == LB_CODES_PACKED && c->cols % c->n_groups == 0;
        const bool said = !even && how->group && (c->cols + how->group - 1) / how->group == c->n_groups;
        c->width = said ? how->group : c->cols / c->n_groups;
        CODED_FAIL_IF(!said && !even && (c->cols % c->n_groups != 0 || (c->n_groups > 1 && (c->width & (c->width - 1)) != 0)), scales,
                      "has groups of columns that config.json does not explain");
        return LBRT_OK;
    }
    for (uint64_t i = 0; i < c->cols; i++) {
        CODED_FAIL_IF(lb_load_u32(t->data + 4 * i) >= c->n_groups, t, "names a group that is not there");
    }
    c->groups = t->data;
    return LBRT_OK;
}

/* The matrix's sides, where a tensor says them */
static lbrt_status coded_shape(const lb_safetensor *shape, lb_codes *c, lbrt_error *err)
{
    const bool wide = strcmp(shape->dtype, "I64") == 0;
    CODED_FAIL_IF((!wide && strcmp(shape->dtype, "I32") != 0) || lb_safetensor_count(shape) != 2, shape, "is no shape of a matrix");
    c->rows = wide ? lb_load_u64(shape->data) : lb_load_u32(shape->data);
    c->cols = wide ? lb_load_u64(shape->data + 8) : lb_load_u32(shape->data + 4);
    CODED_FAIL_IF(c->rows == 0 || c->cols == 0 || c->rows > 1u << 28 || c->cols > 1u << 28, shape, "has an impossible shape");
    return LBRT_OK;
}

/* AWQ's layouts for vectors have place for more groups than there are: how many, config.json alone says. */
static lbrt_status put_gemv(lb_import *im, size_t slot, const lb_safetensor *w, const lb_safetensor *zeros, const lb_safetensor *scales, const lb_hf_codes *how,
                            lb_codes *c, lbrt_error *err)
{
    const bool fast = how->kind == LB_CODES_FAST;
    c->bits = 4;
    c->width = how->group ? how->group : c->cols;
    c->n_groups = (c->cols + c->width - 1) / c->width;
    const uint64_t step = c->width >= 128 ? 1 : 128 / c->width, words = ((c->n_groups + 7) / 8 + step - 1) / step * step;
    c->line = 8 * words;
    CODED_FAIL_IF(c->cols % c->width != 0 || (fast ? c->rows % 4 != 0 || c->cols % 64 != 0 || !coded_is(w, "I16", c->rows / 4, c->cols)
                                                   : c->cols % 8 != 0 || !coded_is(w, "I32", c->rows, c->cols / 8)),
                  w, "does not hold the model's matrix in AWQ's layout for vectors");
    CODED_FAIL_IF(!scales->type || scales->type->block != 1 || scales->n_dims != 2 || scales->shape[0] != (fast ? c->line : c->rows) ||
                      scales->shape[1] != (fast ? c->rows : c->line),
                  scales, "does not hold scales of the groups that config.json says");
    CODED_FAIL_IF(fast ? !zeros->type || zeros->type->block != 1 || zeros->n_dims != 2 || zeros->shape[0] != c->line || zeros->shape[1] != c->rows
                       : !coded_is(zeros, "I32", c->rows, words),
                  zeros, "does not hold zeros of the groups that config.json says");
    c->words = w->data;
    c->zeros = zeros->data;
    c->zero_type = zeros->type;
    c->scales = scales->data;
    c->scale_type = scales->type;
    return coded_place(im, slot, c, w, fast ? "awq_gemv_fast" : "awq_gemv", err);
}

/*
 * Which of GPTQ's two formats zeros are in is not always what the config says; of symmetric checkpoints common kernels do not look at them. If those are all what they must be in
 * one of the two, that is the format.
 */
static bool gptq_one_less(const lb_safetensor *zeros, unsigned bits, const lb_hf_codes *how)
{
    const uint32_t each = UINT32_MAX / ((1u << bits) - 1), middle = each << (bits - 1), first = lb_load_u32(zeros->data);
    bool all = how->symmetric && 32 % bits == 0 && (first == middle || first == middle - each);
    for (uint64_t i = 0; i < zeros->bytes && all; i += 4) {
        all = lb_load_u32(zeros->data + i) == first;
    }
    return all ? first != middle : !how->zeros_as_are;
}

static lbrt_status put_words(lb_import *im, size_t slot, const lb_hf_matrix *m, const lb_hf_codes *how, lb_codes *c, lbrt_error *err)
{
    const lb_safetensor *w = m->part[LB_HF_WORDS], *zeros = m->part[LB_HF_ZEROS], *scales = m->part[LB_HF_SCALES], *groups = m->part[LB_HF_GROUPS];
    const lb_safetensor *any = w ? w : zeros ? zeros : scales ? scales : groups;
    LB_FAIL_IF(!w || !scales || !zeros, err, LBRT_ERR_FORMAT, "tensor %.*s lacks its %s", lb_safetensor_shown(any), any->name,
               !w ? "qweight" : !scales ? "scales" : "qzeros");
    LB_FAIL_IF(how->bits == 0, err, LBRT_ERR_FORMAT, "tensor %.*s is of GPTQ or AWQ, of which config.json says nothing", lb_safetensor_shown(w), w->name);
    lb_import_shape(im, slot, &c->rows, &c->cols);
    const bool awq = how->kind == LB_CODES_AWQ;
    c->kind = how->kind;
    if (how->kind == LB_CODES_GEMV || how->kind == LB_CODES_FAST) {
        return put_gemv(im, slot, w, zeros, scales, how, c, err);
    }
    c->bits = awq ? 4 : 0;
    static const unsigned widths[] = { 2, 3, 4, 8, 5, 6, 7 }; /* the last of planes alone */
    for (size_t i = 0; i < (how->planes ? 7 : 4) && c->bits == 0; i++) { /* layers may differ from what config.json says of all */
        c->bits = coded_is(w, "I32", c->cols * widths[i] / 32, c->rows) ? widths[i] : 0;
    }
    c->odd_threes = how->odd_threes;
    c->planes = how->planes;
    CODED_FAIL_IF(scales->n_dims != 2 || !scales->type || scales->type->block != 1 || scales->shape[1] != c->rows || scales->shape[0] == 0 ||
                      scales->shape[0] > c->cols,
                  scales, "does not hold a scale for each row and group");
    c->n_groups = scales->shape[0];
    const uint64_t line = c->rows * c->bits / 32;
    CODED_FAIL_IF(c->bits == 0 || c->rows * c->bits % 32 != 0 || c->cols * c->bits % 32 != 0 || (c->bits == 6 && (c->rows | c->cols) % 32 != 0) ||
                      (awq && !coded_is(w, "I32", c->cols, line)), w,
                  "does not hold the model's matrix in a width that this layout has");
    CODED_FAIL_IF(!coded_is(zeros, "I32", c->n_groups, line), zeros, "does not hold a zero for each row and group");
    c->one_less = c->kind == LB_CODES_GPTQ && gptq_one_less(zeros, c->bits, how);
    c->borrows = c->one_less && how->borrows;
    c->words = w->data;
    c->zeros = zeros->data;
    c->scales = scales->data;
    c->scale_type = scales->type;
    LB_TRY(coded_groups(groups, scales, how, c, err));
    return coded_place(im, slot, c, w, awq ? "awq" : "gptq", err);
}

/*
 * The layout of compressed-tensors' words, by their number: codes are a stream (since its version 0.17), or each word has as many as fit into it (before), which is
 * the same for 1, 2, 4 and 8 bits. 7 bits that do not go on look as 8 do: config.json must name them. Returns how many layouts have as many words.
 */
static unsigned packed_layouts(const lb_safetensor *w, unsigned widths, lb_codes *c)
{
    unsigned found = 0;
    for (unsigned bits = 1; bits <= 8; bits++) {
        const uint64_t per = 32 / bits;
        if (widths && !(widths >> bits & 1)) {
            continue;
        }
        if (coded_is(w, "I32", c->rows, (c->cols * bits + 31) / 32)) {
            found++;
            c->bits = bits;
            c->stream = true;
        }
        if (32 % bits != 0 && (bits != 7 || widths) && coded_is(w, "I32", c->rows, (c->cols + per - 1) / per)) {
            found++;
            c->bits = bits;
            c->stream = false;
        }
    }
    return found;
}

static lbrt_status packed_words(const lb_safetensor *w, const lb_safetensor *shape, const lb_hf_codes *how, lb_codes *c, lbrt_error *err)
{
    LB_TRY(coded_shape(shape, c, err));
    const unsigned layouts = packed_layouts(w, how->widths, c);
    CODED_FAIL_IF(layouts == 0, w, "does not fit the shape");
    CODED_FAIL_IF(layouts > 1, w, "may hold its shape in more than one width");
    return LBRT_OK;
}

static lbrt_status put_packed(lb_import *im, size_t slot, const lb_hf_matrix *m, const lb_hf_codes *how, lb_codes *c, lbrt_error *err)
{
    const lb_safetensor *w = m->part[LB_HF_PACKED], *scales = m->part[LB_HF_SCALE], *shape = m->part[LB_HF_SHAPE], *zeros = m->part[LB_HF_PACKED_ZEROS];
    const lb_safetensor *bytes = w ? NULL : m->part[LB_HF_WEIGHT], *any = w ? w : bytes ? bytes : zeros ? zeros : m->part[LB_HF_GROUPS];
    LB_FAIL_IF((!w && !bytes) || !scales || (w && !shape), err, LBRT_ERR_FORMAT, "tensor %.*s lacks its %s", lb_safetensor_shown(any), any->name,
               !w && !bytes ? "weight_packed" : !scales ? "weight_scale" : "weight_shape");
    LB_FAIL_IF(bytes && (strcmp(bytes->dtype, "I8") != 0 || bytes->n_dims != 2), err, LBRT_ERR_UNSUPPORTED,
               "zero points and orders of columns of other numbers than int8 are not supported (tensor %.*s)", lb_safetensor_shown(bytes), bytes->name);
    c->kind = LB_CODES_PACKED;
    if (bytes) {
        c->bits = 8;
        c->byte_codes = true;
        c->rows = bytes->shape[0];
        c->cols = bytes->shape[1];
    } else {
        LB_TRY(packed_words(w, shape, how, c, err));
    }
    c->one = lb_safetensor_count(scales) == 1;
    CODED_FAIL_IF(!scales->type || scales->type->block != 1 || (!c->one && (scales->n_dims > 2 || scales->shape[0] != c->rows || scales->shape[1] > c->cols)), scales,
                  "does not hold a scale for each row and group");
    c->n_groups = c->one ? 1 : scales->shape[1];
    c->words = any->data;
    c->scales = scales->data;
    c->scale_type = scales->type;
    if (zeros) {
        const uint64_t per = 32 / c->bits, line = c->stream ? (c->rows * c->bits + 31) / 32 : (c->rows + per - 1) / per;
        c->byte_zeros = strcmp(zeros->dtype, "I8") == 0;
        CODED_FAIL_IF(!c->byte_zeros ? bytes || c->one || !coded_is(zeros, "I32", line, c->n_groups)
                      : c->one ? lb_safetensor_count(zeros) != 1
                      : zeros->n_dims > 2 || zeros->shape[0] != c->rows || zeros->shape[1] != c->n_groups,
                      zeros, "does not hold a zero for each row and group");
        c->zeros = zeros->data;
    }
    LB_TRY(coded_groups(m->part[LB_HF_GROUPS], scales, how, c, err));
    return coded_place(im, slot, c, any, bytes ? "int8" : "packed", err);
}

/* What the JSON says: {"quant_type", "blocksize", "shape", and of nested ones "nested_blocksize", "nested_offset"} */
static lbrt_status read_state(lb_import *im, const lb_safetensor *t, lb_codes *c, lbrt_error *err)
{
    lb_json_doc *doc = NULL;
    CODED_FAIL_IF(strcmp(t->dtype, "U8") != 0, t, "is no text");
    LB_TRY(lb_json_parse((const char *)t->data, (size_t)t->bytes, &im->a, &doc, err));
    const lb_json *root = lb_json_root(doc), *shape = lb_json_get(root, "shape");
    const bool good = lb_json_uint(lb_json_get(root, "blocksize"), 1u << 20, &c->block) && c->block > 0 && shape && shape->type == LB_JSON_ARRAY && shape->child &&
                      lb_json_uint(shape->child, 1u << 28, &c->rows) && c->rows > 0 && lb_json_uint(shape->child->next, 1u << 28, &c->cols) && c->cols > 0 &&
                      (!c->second || (lb_json_uint(lb_json_get(root, "nested_blocksize"), 1u << 20, &c->size_block) && c->size_block > 0 &&
                                      fabs(lb_json_number(lb_json_get(root, "nested_offset"), HUGE_VAL)) < 1e30));
    c->offset = good && c->second ? (float)lb_json_number(lb_json_get(root, "nested_offset"), 0.0) : 0.0f;
    lb_json_free(doc);
    CODED_FAIL_IF(!good, t, "does not say shape and blocks");
    return LBRT_OK;
}

static lbrt_status put_table(lb_import *im, size_t slot, const lb_hf_matrix *m, lb_codes *c, lbrt_error *err)
{
    const lb_safetensor *w = m->part[LB_HF_WEIGHT], *sizes = m->part[LB_HF_SIZES], *table = m->part[LB_HF_TABLE], *state = m->part[LB_HF_STATE];
    const lb_safetensor *more = m->part[LB_HF_SIZES_OF_SIZES], *second = m->part[LB_HF_SECOND], *any = w ? w : sizes ? sizes : table ? table : state ? state : more;
    any = any ? any : second;
    LB_FAIL_IF(!w || !sizes || !table || !state || !more != !second, err, LBRT_ERR_FORMAT, "tensor %.*s lacks its %s", lb_safetensor_shown(any), any->name,
               !w ? "weight" : !sizes ? "absmax" : !table ? "quant_map" : !state ? "quant_state" : more ? "nested_quant_map" : "nested_absmax");
    c->kind = LB_CODES_TABLE;
    c->second = second ? second->data : NULL;
    LB_TRY(read_state(im, state, c, err));
    const uint64_t n = c->rows * c->cols, blocks = (n + c->block - 1) / c->block;
    CODED_FAIL_IF(w->bytes != (n + 1) / 2, w, "does not hold so many nibbles");
    CODED_FAIL_IF(strcmp(table->dtype, "F32") != 0 || lb_safetensor_count(table) != 16, table, "is no table of 16 numbers");
    CODED_FAIL_IF(lb_safetensor_count(sizes) != blocks || strcmp(sizes->dtype, second ? "U8" : "F32") != 0, sizes, "does not hold a size for each block");
    CODED_FAIL_IF(second && (strcmp(second->dtype, "F32") != 0 || lb_safetensor_count(second) != 256), second, "is no table of 256 numbers");
    CODED_FAIL_IF(second && (strcmp(more->dtype, "F32") != 0 || lb_safetensor_count(more) != (blocks + c->size_block - 1) / c->size_block), more,
                  "does not hold a size for each block of sizes");
    c->words = w->data;
    c->scales = sizes->data;
    c->table = table->data;
    c->sizes = second ? more->data : NULL;
    return coded_place(im, slot, c, w, "nf4", err);
}

static lbrt_status put_books(lb_import *im, size_t slot, const lb_hf_matrix *m, lb_codes *c, lbrt_error *err)
{
    const lb_safetensor *w = m->part[LB_HF_BOOK_CODES], *books = m->part[LB_HF_BOOKS], *scales = m->part[LB_HF_SCALES], *any = w ? w : books ? books : scales;
    LB_FAIL_IF(!w || !books || !scales, err, LBRT_ERR_FORMAT, "tensor %.*s lacks its %s", lb_safetensor_shown(any), any->name,
               !w ? "codes" : !books ? "codebooks" : "scales");
    CODED_FAIL_IF(books->n_dims != 4 || !books->type || books->type->block != 1, books, "is no table of vectors");
    while (c->bits < 16 && books->shape[1] > 1ull << c->bits) {
        c->bits++;
    }
    CODED_FAIL_IF(books->shape[1] != 1ull << c->bits || c->bits == 0, books, "does not have a power of two of vectors");
    c->kind = LB_CODES_BOOKS;
    c->n_books = books->shape[0];
    c->height = books->shape[2];
    c->width = books->shape[3];
    c->code_bytes = strcmp(w->dtype, "I8") == 0 || strcmp(w->dtype, "U8") == 0 ? 1 : 2;
    CODED_FAIL_IF((c->code_bytes == 2 && strcmp(w->dtype, "I16") != 0 && strcmp(w->dtype, "U16") != 0) || (c->code_bytes == 1 && c->bits > 8), w,
                  "has a type that does not hold such codes");
    CODED_FAIL_IF(w->n_dims != 3 || w->shape[2] != c->n_books || w->shape[1] > (1u << 28) / c->width || w->shape[0] > (1u << 28) / c->height, w, "does not fit the codebooks");
    c->rows = w->shape[0] * c->height;
    c->cols = w->shape[1] * c->width;
    CODED_FAIL_IF(!scales->type || scales->type->block != 1 || lb_safetensor_count(scales) != w->shape[0], scales, "does not hold a scale for each row");
    c->words = w->data;
    c->table = books->data;
    c->table_type = books->type;
    c->scales = scales->data;
    c->scale_type = scales->type;
    return coded_place(im, slot, c, w, "aqlm", err);
}

static lbrt_status put_fp4(lb_import *im, size_t slot, const lb_hf_matrix *m, lb_codes *c, lbrt_error *err)
{
    const lb_safetensor *w = m->part[LB_HF_PACKED] ? m->part[LB_HF_PACKED] : m->part[LB_HF_WEIGHT], *scales = m->part[LB_HF_SCALE];
    const lb_safetensor *divisor = m->part[LB_HF_DIVISOR], *factor = m->part[LB_HF_FACTOR], *all = divisor ? divisor : factor, *any = w ? w : all;
    LB_FAIL_IF(!w || !scales, err, LBRT_ERR_FORMAT, "tensor %.*s lacks its %s", lb_safetensor_shown(any), any->name, !w ? "weight" : "weight_scale");
    CODED_FAIL_IF(strcmp(w->dtype, "U8") != 0 || w->n_dims != 2 || w->shape[1] > 1u << 27, w, "is no matrix of nibbles");
    const bool exponents = strcmp(scales->dtype, "U8") == 0 || strcmp(scales->dtype, "F8_E8M0") == 0;
    CODED_FAIL_IF(exponents && all, all, "multiplies scales that are exponents");
    CODED_FAIL_IF(!exponents && (!all || (divisor && factor)), scales, "goes with one scale of all, weight_global_scale or weight_scale_2");
    c->kind = LB_CODES_FP4;
    c->rows = w->shape[0];
    c->cols = 2 * w->shape[1];
    c->scale_type = exponents ? NULL : lb_hf_type(scales);
    CODED_FAIL_IF((!exponents && (!c->scale_type || c->scale_type->block != 1)) || scales->n_dims != 2 || scales->shape[0] != c->rows || c->cols % scales->shape[1] != 0,
                  scales, "does not hold a scale for each row and group");
    c->n_groups = scales->shape[1];
    c->width = c->cols / c->n_groups;
    c->factor = 1.0f;
    if (all) {
        CODED_FAIL_IF(strcmp(all->dtype, "F32") != 0 || lb_safetensor_count(all) != 1, all, "is no single number");
        const float v = lb_load_f32(all->data);
        c->factor = divisor ? 1.0f / v : v;
        CODED_FAIL_IF(!isfinite(v) || !isfinite(c->factor), all, "is no scale");
    }
    c->words = w->data;
    c->scales = scales->data;
    return coded_place(im, slot, c, w, exponents ? "mxfp4" : "nvfp4", err);
}

static lbrt_status put_hqq(lb_import *im, size_t slot, const lb_hf_matrix *m, lb_codes *c, lbrt_error *err)
{
    static const struct {
        const char *packing;
        unsigned bits, per;
    } packings[] = { { "8bit_u8", 8, 1 }, { "4bit_u8", 4, 2 }, { "3bit_32", 3, 10 }, { "2bit_u8", 2, 4 }, { "1bit_u8", 1, 8 } };
    static const lb_hf_part parts[] = { LB_HF_HQQ_WORDS, LB_HF_HQQ_SCALES, LB_HF_HQQ_ZEROS, LB_HF_SHAPE, LB_HF_HQQ_AXIS, LB_HF_HQQ_PACKING };
    static const char *const names[] = { "W_q", "scale", "zero", "shape", "axis", "packing" };
    const lb_safetensor *t[6], *any = NULL;
    for (size_t i = 0; i < 6; i++) {
        t[i] = m->part[parts[i]];
        any = any ? any : t[i];
    }
    for (size_t i = 0; i < 6; i++) {
        LB_FAIL_IF(!t[i], err, LBRT_ERR_FORMAT, "tensor %.*s lacks its %s", lb_safetensor_shown(any), any->name, names[i]);
    }
    for (size_t i = 0; i < sizeof packings / sizeof packings[0] && c->bits == 0; i++) {
        if (strcmp(t[5]->dtype, "U8") == 0 && t[5]->bytes == 7 && memcmp(t[5]->data, packings[i].packing, 7) == 0) {
            c->bits = packings[i].bits;
            c->per = packings[i].per;
        }
    }
    CODED_FAIL_IF(c->bits == 0, t[5], "names no packing of 1, 2, 3, 4 or 8 bits");
    LB_TRY(coded_shape(t[3], c, err));
    CODED_FAIL_IF(t[4]->bytes < 4 || strcmp(t[4]->dtype, "I32") != 0 || lb_load_u32(t[4]->data) > 1, t[4], "is neither 0 nor 1");
    const uint64_t n = c->rows * c->cols;
    c->kind = LB_CODES_HQQ;
    c->n_groups = lb_safetensor_count(t[1]);
    CODED_FAIL_IF(!t[1]->type || t[1]->type->block != 1 || n % c->n_groups != 0, t[1], "does not hold a scale for each group");
    CODED_FAIL_IF(!t[2]->type || t[2]->type->block != 1 || lb_safetensor_count(t[2]) != c->n_groups, t[2], "does not hold a zero for each group");
    c->turned = lb_load_u32(t[4]->data) == 0;
    c->width = c->turned ? c->n_groups : n / c->n_groups;
    c->lines = (n / c->width + c->per - 1) / c->per;
    CODED_FAIL_IF(t[0]->bytes != c->lines * c->width * (c->bits == 3 ? 4 : 1), t[0], "does not hold the codes of the shape");
    c->words = t[0]->data; /* of any type: they may be written as floats of the same bytes */
    c->scales = t[1]->data;
    c->scale_type = t[1]->type;
    c->zeros = t[2]->data;
    c->zero_type = t[2]->type;
    return coded_place(im, slot, c, t[0], "hqq", err);
}

static bool is_power_of_two(uint64_t n, uint64_t width)
{
    const uint64_t vectors = n / width;
    return n % width == 0 && vectors > 0 && (vectors & (vectors - 1)) == 0;
}

/* Some columns of VPTQ, whose codes are `w` and, of what is added, `more` */
static lbrt_status put_vectors(const lb_safetensor *w, const lb_safetensor *books, const lb_safetensor *more, const lb_safetensor *more_books, uint64_t cols, lb_codes *c,
                               lb_codes_vectors *v, lbrt_error *err)
{
    CODED_FAIL_IF(w->n_dims != 3 || w->shape[1] > c->rows, w, "does not hold codes of vectors down the rows");
    v->groups = w->shape[0];
    v->down = w->shape[1];
    v->width = (c->rows + v->down - 1) / v->down; /* or more, if the last vector may be cut off by more: the books tell */
    while (!is_power_of_two(books->shape[1], v->width) && v->width < 256 && (c->rows + v->width) / (v->width + 1) == v->down) {
        v->width++;
    }
    v->cols = cols / v->groups;
    v->streams = strcmp(w->dtype, "I32") == 0;
    CODED_FAIL_IF(v->cols * v->groups != cols || (c->rows + v->width - 1) / v->width != v->down, w, "does not fit the model's matrix");
    const lb_safetensor *const both[2] = { books, more_books };
    for (int i = 0; i < 2 && both[i]; i++) {
        unsigned bits = 0;
        const uint64_t n = both[i]->shape[1] / v->width;
        while (bits < 16 && n > 1ull << bits) {
            bits++;
        }
        CODED_FAIL_IF(!both[i]->type || both[i]->type != books->type || both[i]->type->block != 1 || both[i]->n_dims != 2 || both[i]->shape[0] != v->groups ||
                          !is_power_of_two(both[i]->shape[1], v->width) || n > 1ull << bits,
                      both[i], "does not have a power of two of vectors for each group of columns");
        *(i ? &v->more_bits : &v->bits) = bits;
    }
    const bool halves = strcmp(w->dtype, "I16") == 0 || strcmp(w->dtype, "U16") == 0 || strcmp(w->dtype, "F16") == 0; /* any of these hold the bits of u16 */
    CODED_FAIL_IF(!(v->streams && !more ? v->bits + v->more_bits > 0 && w->shape[2] == (v->cols * (v->bits + v->more_bits) + 31) / 32 : halves && w->shape[2] == v->cols), w,
                  "does not hold a code for each column and vector");
    CODED_FAIL_IF(more && (more->bytes != w->bytes || !more_books), more, "does not fit the other codes");
    CODED_FAIL_IF(more_books && !more && !v->streams, more_books, "has no codes");
    v->codes = w->data;
    v->more = more ? more->data : NULL;
    v->books = books->data;
    v->more_books = more_books ? more_books->data : NULL;
    return LBRT_OK;
}

static lbrt_status put_vptq(lb_import *im, size_t slot, const lb_hf_matrix *m, lb_codes *c, lbrt_error *err)
{
    const lb_safetensor *w = m->part[LB_HF_VQ_CODES], *books = m->part[LB_HF_VQ_BOOKS], *outliers = m->part[LB_HF_VQ_OUTLIERS], *any = w ? w : books ? books : outliers;
    const lb_safetensor *outlier_books = m->part[LB_HF_VQ_OUTLIER_BOOKS], *order = m->part[LB_HF_VQ_ORDER], *scales = m->part[LB_HF_SCALE], *offsets = m->part[LB_HF_VQ_OFFSETS];
    for (lb_hf_part i = LB_HF_VQ_MORE; i <= LB_HF_VQ_OFFSETS && !any; i++) {
        any = m->part[i];
    }
    LB_FAIL_IF(!w || !books || !outliers != !outlier_books || !scales != !offsets, err, LBRT_ERR_FORMAT, "tensor %.*s lacks its %s", lb_safetensor_shown(any), any->name,
               !w ? "indices" : !books ? "centroids" : !outliers != !outlier_books ? "outliers' indices or centroids" : "weight_scale or weight_bias");
    c->kind = LB_CODES_VPTQ;
    lb_import_shape(im, slot, &c->rows, &c->cols);
    const uint64_t n_outliers = outliers ? outliers->shape[2] : 0;
    CODED_FAIL_IF(outliers && (outliers->n_dims != 3 || outliers->shape[0] != 1 || n_outliers >= c->cols || strcmp(outliers->dtype, "I32") == 0 || outlier_books->type != books->type),
                  outliers, "does not hold the codes of some columns");
    if (outliers) {
        LB_TRY(put_vectors(outliers, outlier_books, NULL, NULL, n_outliers, c, &c->vectors[0], err));
    }
    LB_TRY(put_vectors(w, books, m->part[LB_HF_VQ_MORE], m->part[LB_HF_VQ_MORE_BOOKS], c->cols - n_outliers, c, &c->vectors[1], err));
    if (order) {
        c->order_bytes = strcmp(order->dtype, "I64") == 0 ? 8 : 2;
        CODED_FAIL_IF(lb_safetensor_count(order) != c->cols || order->bytes != c->cols * c->order_bytes, order, "does not have a number for each column");
        for (uint64_t i = 0; i < c->cols; i++) {
            CODED_FAIL_IF((c->order_bytes == 2 ? lb_load_u16(order->data + 2 * i) : lb_load_u64(order->data + 8 * i)) >= c->cols, order, "names a column that is not there");
        }
        c->order = order->data;
    }
    for (int i = 0; i < 2 && scales; i++) {
        const lb_safetensor *t = i ? offsets : scales;
        CODED_FAIL_IF(!t->type || t->type->block != 1 || lb_safetensor_count(t) != c->cols, t, "does not have a number for each column");
        *(i ? &c->zero_type : &c->scale_type) = t->type;
        *(i ? &c->zeros : &c->scales) = t->data;
    }
    c->words = w->data;
    c->table_type = books->type;
    return coded_place(im, slot, c, w, "vptq", err);
}

lbrt_status lb_hf_coded_put(lb_import *im, size_t slot, const lb_hf_matrix *m, const lb_hf_codes *codes, lbrt_error *err)
{
    lb_codes *c = coded_new(im, slot);
    LB_FAIL_IF(!c, err, LBRT_ERR_MEMORY, "out of memory");
    if (m->part[LB_HF_DIVISOR] || m->part[LB_HF_FACTOR] || (m->part[LB_HF_PACKED] && strcmp(m->part[LB_HF_PACKED]->dtype, "U8") == 0)) {
        return put_fp4(im, slot, m, c, err);
    }
    if (m->part[LB_HF_HQQ_WORDS] || m->part[LB_HF_HQQ_SCALES] || m->part[LB_HF_HQQ_ZEROS] || m->part[LB_HF_HQQ_AXIS] || m->part[LB_HF_HQQ_PACKING]) {
        return put_hqq(im, slot, m, c, err);
    }
    for (lb_hf_part i = LB_HF_VQ_CODES; i <= LB_HF_VQ_OFFSETS; i++) {
        if (m->part[i]) {
            return put_vptq(im, slot, m, c, err);
        }
    }
    if (m->part[LB_HF_BOOK_CODES] || m->part[LB_HF_BOOKS]) {
        return put_books(im, slot, m, c, err);
    }
    if (m->part[LB_HF_WORDS] || m->part[LB_HF_ZEROS] || m->part[LB_HF_SCALES]) {
        return put_words(im, slot, m, codes, c, err);
    }
    if (m->part[LB_HF_PACKED] || m->part[LB_HF_PACKED_ZEROS] || m->part[LB_HF_GROUPS]) {
        return put_packed(im, slot, m, codes, c, err);
    }
    return put_table(im, slot, m, c, err);
}
