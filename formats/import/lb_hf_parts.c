#include "lb_hf_parts.h"

#include "../../kernels/lb_math.h"

/* What a part's name ends with, and what its matrix's name has there instead */
static const struct {
    const char *end, *instead;
    lb_hf_part part;
} part_names[] = {
    { ".weight.compressed", ".weight", LB_HF_VALUES }, { ".compressed", ".weight", LB_HF_VALUES },
    { ".weight.bitmask", ".weight", LB_HF_MASK },      { ".bitmask", ".weight", LB_HF_MASK },
    { ".weight.shape", ".weight", LB_HF_SHAPE },       { ".shape", ".weight", LB_HF_SHAPE },
    { ".weight.row_offsets", ".weight", LB_HF_OFFSETS }, { ".row_offsets", ".weight", LB_HF_OFFSETS },
    { ".dense_weights", ".weight", LB_HF_TILES },      { ".col_vals", ".weight", LB_HF_OUTLIERS },
    { ".in_perm", ".weight", LB_HF_ORDER },            { ".ALinear.weight", ".weight", LB_HF_OUTER },
    { ".BLinear.weight", ".weight", LB_HF_INNER },     { ".1.weight", ".weight", LB_HF_OUTER },
    { ".0.weight", ".weight", LB_HF_INNER },           { "_u_proj.weight", "_proj.weight", LB_HF_OUTER },
    { "_v_proj.weight", "_proj.weight", LB_HF_INNER }, { ".weight_scale", ".weight", LB_HF_SCALE },
    { ".qweight", ".weight", LB_HF_WORDS },            { ".qzeros", ".weight", LB_HF_ZEROS },
    { ".scales", ".weight", LB_HF_SCALES },            { ".g_idx", ".weight", LB_HF_GROUPS },
    { ".weight_packed", ".weight", LB_HF_PACKED },     { ".weight_zero_point", ".weight", LB_HF_PACKED_ZEROS },
    { ".weight_g_idx", ".weight", LB_HF_GROUPS },      { ".weight_shape", ".weight", LB_HF_SHAPE },
    { ".weight.absmax", ".weight", LB_HF_SIZES },      { ".weight.quant_map", ".weight", LB_HF_TABLE },
    { ".weight.nested_absmax", ".weight", LB_HF_SIZES_OF_SIZES }, { ".weight.nested_quant_map", ".weight", LB_HF_SECOND },
    { ".weight.quant_state.bitsandbytes__nf4", ".weight", LB_HF_STATE }, { ".weight.quant_state.bitsandbytes__fp4", ".weight", LB_HF_STATE },
    { ".codes", ".weight", LB_HF_BOOK_CODES },         { ".codebooks", ".weight", LB_HF_BOOKS },
    { ".weight_global_scale", ".weight", LB_HF_DIVISOR }, { ".weight_scale_2", ".weight", LB_HF_FACTOR },
    { ".W_q", ".weight", LB_HF_HQQ_WORDS },            { ".scale", ".weight", LB_HF_HQQ_SCALES },
    { ".zero", ".weight", LB_HF_HQQ_ZEROS },           { ".axis", ".weight", LB_HF_HQQ_AXIS },
    { ".packing", ".weight", LB_HF_HQQ_PACKING },
    { ".indices", ".weight", LB_HF_VQ_CODES },         { ".centroids.weight", ".weight", LB_HF_VQ_BOOKS },
    { ".res_indices", ".weight", LB_HF_VQ_MORE },      { ".res_centroids.weight", ".weight", LB_HF_VQ_MORE_BOOKS },
    { ".outlier_indices", ".weight", LB_HF_VQ_OUTLIERS }, { ".outlier_centroids.weight", ".weight", LB_HF_VQ_OUTLIER_BOOKS },
    { ".perm", ".weight", LB_HF_VQ_ORDER },            { ".weight_bias", ".weight", LB_HF_VQ_OFFSETS },
    { ".SCB", ".weight", LB_HF_ROW_SIZES },            { ".weight_scale_inv", ".weight", LB_HF_BLOCKS },
};

static void i8_floats(const unsigned char *src, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)(int8_t)src[i];
    }
}

static void f8_floats(const unsigned char *src, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = lb_e4m3_f32(src[i]);
    }
}

/* Exponents of powers of two; 255 is no number */
static void e8_floats(const unsigned char *src, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = src[i] == 255 ? (float)NAN : ldexpf(1.0f, src[i] - 127);
    }
}

static const lb_ggml_type part_i8 = { 0, "i8", 1, 1, i8_floats }, part_f8 = { 0, "f8_e4m3", 1, 1, f8_floats }, part_e8 = { 0, "f8_e8m0", 1, 1, e8_floats };

const lb_ggml_type *lb_hf_type(const lb_safetensor *t)
{
    return t->type ? t->type : strcmp(t->dtype, "I8") == 0 ? &part_i8 : strcmp(t->dtype, "F8_E4M3") == 0 ? &part_f8 : NULL;
}

/* Layers' matrices come in all kinds of parts, the embedding and the output matrix in numbers and codes. */
static bool part_fits(size_t slot, lb_hf_part part)
{
    const bool ends = slot == lb_import_slot("tok_embed", 0) || slot == lb_import_slot("out_head", 0);
    return lb_import_is_linear(slot) || (ends && (part >= LB_HF_WEIGHT || part == LB_HF_SHAPE));
}

bool lb_hf_part_find(const lb_import *im, const lb_safetensor *t, size_t *slot, lb_hf_part *part)
{
    char name[256];
    for (size_t i = 0; i < sizeof part_names / sizeof part_names[0]; i++) {
        const size_t n = strlen(part_names[i].end);
        if (t->name_bytes > n && t->name_bytes < sizeof name - 16 && memcmp(t->name + t->name_bytes - n, part_names[i].end, n) == 0) {
            lb_format(name, sizeof name, "%.*s%s", (int)(t->name_bytes - n), t->name, part_names[i].instead);
            if (lb_import_find(im, LB_DIALECT_HF, name, strlen(name), slot) && part_fits(*slot, part_names[i].part)) {
                *part = part_names[i].part;
                return true;
            }
        }
    }
    *part = LB_HF_WEIGHT;
    return !t->type && (lb_hf_type(t) || strcmp(t->dtype, "U8") == 0) && lb_import_find(im, LB_DIALECT_HF, t->name, t->name_bytes, slot) &&
           part_fits(*slot, LB_HF_WEIGHT);
}

#define PART_FAIL_IF(cond, t, text) LB_FAIL_IF(cond, err, LBRT_ERR_FORMAT, "tensor %.*s " text, lb_safetensor_shown(t), (t)->name)

static lbrt_status put_scales(const lb_safetensor *s, uint64_t rows, uint64_t cols, lb_place *p, lbrt_error *err)
{
    const uint64_t n = lb_safetensor_count(s);
    const bool exponents = p->type == &part_f8 && (strcmp(s->dtype, "U8") == 0 || strcmp(s->dtype, "F8_E8M0") == 0); /* MXFP8 */
    PART_FAIL_IF(!s->type && !exponents, s, "holds no scales");
    p->one_scale = n == 1;
    p->n_scales = p->one_scale ? 1 : n / rows;
    PART_FAIL_IF(!p->one_scale && (s->n_dims > 2 || s->shape[0] != rows || cols % (n / rows) != 0), s, "does not fit its matrix");
    p->scales = s->data;
    p->scale_type = exponents ? &part_e8 : s->type;
    return LBRT_OK;
}

static unsigned bits_of(unsigned char b)
{
    return (unsigned)__builtin_popcount(b);
}

static lbrt_status put_masked(lb_import *im, size_t slot, const lb_hf_matrix *m, lbrt_error *err)
{
    const lb_safetensor *v = m->part[LB_HF_VALUES], *mask = m->part[LB_HF_MASK], *shape = m->part[LB_HF_SHAPE];
    const lb_safetensor *offsets = m->part[LB_HF_OFFSETS], *any = v ? v : mask ? mask : shape;
    LB_FAIL_IF(!v || !mask || !shape, err, LBRT_ERR_FORMAT, "tensor %.*s lacks its %s", lb_safetensor_shown(any), any->name,
               !v ? "values" : !mask ? "bitmask" : "shape");
    const lb_ggml_type *type = lb_hf_type(v);
    PART_FAIL_IF(!type, v, "has a type that holds no weights");
    PART_FAIL_IF(strcmp(shape->dtype, "I64") != 0 || lb_safetensor_count(shape) != 2, shape, "is no shape of a matrix");
    const uint64_t rows = lb_load_u64(shape->data), cols = lb_load_u64(shape->data + 8), n = lb_safetensor_count(v), line = (cols + 7) / 8;
    PART_FAIL_IF(rows == 0 || cols == 0 || rows > 1u << 28 || cols > 1u << 28, shape, "has an impossible shape");
    PART_FAIL_IF(mask->bytes != rows * line || (strcmp(mask->dtype, "U8") != 0 && strcmp(mask->dtype, "I8") != 0), mask,
                 "does not fit the shape");
    PART_FAIL_IF(offsets && (strcmp(offsets->dtype, "I64") != 0 || lb_safetensor_count(offsets) != rows), offsets, "does not fit the shape");
    PART_FAIL_IF(!offsets && (n != rows * (cols / 2) || cols % 4 != 0), v, "does not hold two values of every four columns");
    for (uint64_t r = 0; r < rows; r++) {
        const unsigned char *bits = mask->data + r * line;
        uint64_t set = 0;
        for (uint64_t i = 0; i < line; i++) {
            const unsigned char b = (unsigned char)(bits[i] & (i + 1 == line && cols % 8 ? (1u << cols % 8) - 1 : 0xffu));
            PART_FAIL_IF(!offsets && (bits_of(b & 15) != 2 || (i * 8 + 4 < cols && bits_of(b & 0xf0) != 2)), mask,
                         "is no mask of 2:4 sparsity: two of every four columns");
            PART_FAIL_IF(b != bits[i], mask, "marks columns that are not there");
            set += bits_of(b);
        }
        const uint64_t first = offsets ? lb_load_u64(offsets->data + 8 * r) : 0;
        PART_FAIL_IF(offsets && (first > n || set > n - first), offsets, "points behind the values");
    }
    lb_place p = { .kind = LB_PLACE_MASKED, .type = type, .type_name = type->name, .data = v->data, .scale = 1.0f };
    p.more[0] = mask->data;
    p.more[1] = offsets ? offsets->data : NULL;
    LB_TRY(m->part[LB_HF_SCALE] ? put_scales(m->part[LB_HF_SCALE], rows, cols, &p, err) : LBRT_OK);
    return lb_import_put(im, slot, v->name, v->name_bytes, rows, cols, &p, err);
}

static lbrt_status put_spqr(lb_import *im, size_t slot, const lb_hf_matrix *m, lbrt_error *err)
{
    const lb_safetensor *t = m->part[LB_HF_TILES], *offsets = m->part[LB_HF_OFFSETS], *outliers = m->part[LB_HF_OUTLIERS];
    const lb_safetensor *order = m->part[LB_HF_ORDER], *any = t ? t : outliers ? outliers : order ? order : offsets;
    LB_FAIL_IF(!t || !offsets, err, LBRT_ERR_FORMAT, "tensor %.*s lacks its %s", lb_safetensor_shown(any), any->name, !t ? "dense_weights" : "row_offsets");
    uint64_t rows, cols;
    lb_import_shape(im, slot, &rows, &cols);
    PART_FAIL_IF(strcmp(t->dtype, "I64") != 0 || rows % 16 != 0 || cols % 16 != 0 || cols > 65536 || lb_safetensor_count(t) != rows * cols / 16, t,
                 "does not hold the matrix's tiles of 16 x 16");
    PART_FAIL_IF(outliers && strcmp(outliers->dtype, "I32") != 0, outliers, "has another type than int32");
    const bool turns = lb_safetensor_count(offsets) == rows / 16 + 1;
    PART_FAIL_IF(strcmp(offsets->dtype, "I32") != 0 || (!turns && lb_safetensor_count(offsets) != rows + 1), offsets, "does not fit the rows");
    const uint64_t n = outliers ? lb_safetensor_count(outliers) : 0, n_offsets = lb_safetensor_count(offsets);
    for (uint64_t i = 0; i < n_offsets; i++) {
        const uint32_t at = lb_load_u32(offsets->data + 4 * i), before = i ? lb_load_u32(offsets->data + 4 * (i - 1)) : 0;
        PART_FAIL_IF(at < before || at > n || (turns && at % 16 != 0), offsets, "does not rise, or points behind col_vals");
    }
    for (uint64_t i = 0; i < n; i++) {
        PART_FAIL_IF(lb_load_u16(outliers->data + 4 * i) >= cols, outliers, "names a column that is not there");
    }
    for (uint64_t i = 0; order && i < cols; i++) {
        PART_FAIL_IF(strcmp(order->dtype, "I32") != 0 || lb_safetensor_count(order) * 2 != cols || lb_load_u16(order->data + 2 * i) >= cols, order,
                     "is no order of the columns");
    }
    lb_place p = { .kind = LB_PLACE_SPQR, .type_name = "spqr", .data = t->data, .scale = 1.0f, .n = turns };
    p.more[0] = offsets->data;
    p.more[1] = outliers ? outliers->data : NULL; /* NULL: no row has any */
    p.scales = order ? order->data : NULL;
    return lb_import_put(im, slot, t->name, t->name_bytes, rows, cols, &p, err);
}

static lbrt_status put_chain(lb_import *im, size_t slot, const lb_hf_matrix *m, lbrt_error *err)
{
    const lb_safetensor *a = m->part[LB_HF_OUTER], *b = m->part[LB_HF_INNER], *any = a ? a : b;
    LB_FAIL_IF(!a || !b, err, LBRT_ERR_FORMAT, "tensor %.*s lacks the other factor", lb_safetensor_shown(any), any->name);
    PART_FAIL_IF(!a->type || !b->type || a->type->block != 1 || b->type->block != 1 || a->n_dims != 2 || b->n_dims != 2, a,
                 "and the other factor are no matrices of floats");
    LB_FAIL_IF(a->shape[1] != b->shape[0], err, LBRT_ERR_FORMAT, "tensor %.*s is %llu x %llu, the other factor %llu x %llu", lb_safetensor_shown(a),
               a->name, (unsigned long long)a->shape[0], (unsigned long long)a->shape[1], (unsigned long long)b->shape[0],
               (unsigned long long)b->shape[1]);
    lb_place p = { .kind = LB_PLACE_CHAIN, .type = a->type, .type_name = "factors", .data = a->data, .scale = 1.0f, .n = a->shape[1] };
    p.more[0] = b->data;
    p.more_type = b->type;
    return lb_import_put(im, slot, a->name, a->name_bytes, a->shape[0], b->shape[1], &p, err);
}

static lbrt_status put_scaled(lb_import *im, size_t slot, const lb_hf_matrix *m, const lb_hf_codes *codes, lbrt_error *err)
{
    const lb_safetensor *t = m->part[LB_HF_WEIGHT], *rows = m->part[LB_HF_ROW_SIZES], *blocks = m->part[LB_HF_BLOCKS];
    const lb_safetensor *scale = rows ? rows : blocks ? blocks : m->part[LB_HF_SCALE], *any = t ? t : scale;
    const uint64_t side = codes->block ? codes->block : 128, width = codes->block_cols ? codes->block_cols : 128;
    LB_FAIL_IF(t && !lb_hf_type(t), err, LBRT_ERR_UNSUPPORTED, "tensor %.*s has type %s, which holds no weights", lb_safetensor_shown(t), t->name, t->dtype);
    LB_FAIL_IF(!t || !scale, err, LBRT_ERR_FORMAT, "tensor %.*s lacks its %s", lb_safetensor_shown(any), any->name, t ? "weight_scale" : "weight");
    PART_FAIL_IF(t->n_dims != 2, t, "is no matrix");
    lb_place p = { .kind = LB_PLACE_ROWS, .type = lb_hf_type(t), .type_name = lb_hf_type(t)->name, .data = t->data, .scale = rows ? 1.0f / 127.0f : 1.0f };
    const bool four = scale->n_dims == 4 && scale->shape[1] == 1 && scale->shape[3] == 1; /* ModelOpt's [down][1][across][1] */
    if (!blocks && !rows && (four || (scale->n_dims == 2 && scale->shape[0] != t->shape[0]))) { /* compressed-tensors' name for scales of squares, be they in one row */
        blocks = scale;
    }
    if (blocks && (lb_safetensor_count(blocks) > 1 || !blocks->type)) {
        p.scale_type = strcmp(blocks->dtype, "F8_E8M0") == 0 ? &part_e8 : blocks->type;
        p.n_scales = (t->shape[1] + width - 1) / width;
        PART_FAIL_IF(!p.scale_type || p.scale_type->block != 1 || (blocks->n_dims != 2 && !four) || blocks->shape[0] != (t->shape[0] + side - 1) / side ||
                         blocks->shape[four ? 2 : 1] != p.n_scales,
                     blocks, "does not hold a scale for each square");
        p.scales = blocks->data;
        p.scale_rows = side;
        p.scale_cols = width;
        return lb_import_put(im, slot, t->name, t->name_bytes, t->shape[0], t->shape[1], &p, err);
    }
    LB_TRY(put_scales(scale, t->shape[0], t->shape[1], &p, err));
    return lb_import_put(im, slot, t->name, t->name_bytes, t->shape[0], t->shape[1], &p, err);
}

lbrt_status lb_hf_matrix_put(lb_import *im, size_t slot, const lb_hf_matrix *m, const lb_hf_codes *codes, lbrt_error *err)
{
    const lb_safetensor *const *part = m->part;
    const bool rest = !part[LB_HF_WEIGHT] && (part[LB_HF_SCALE] || part[LB_HF_PACKED_ZEROS] || part[LB_HF_GROUPS]) && !part[LB_HF_PACKED] && !part[LB_HF_WORDS];
    if (rest && codes->uncompressed && im->slots[slot].place.data) {
        return LBRT_OK; /* what compressed-tensors leaves beside floats that were not compressed yet */
    }
    for (lb_hf_part i = LB_HF_WORDS; i <= LB_HF_STATE; i++) {
        if (part[i]) {
            return lb_hf_coded_put(im, slot, m, codes, err);
        }
    }
    if (part[LB_HF_VALUES] || part[LB_HF_MASK] || part[LB_HF_SHAPE]) {
        return put_masked(im, slot, m, err);
    }
    if (part[LB_HF_TILES] || part[LB_HF_OFFSETS] || part[LB_HF_OUTLIERS] || part[LB_HF_ORDER]) {
        return put_spqr(im, slot, m, err);
    }
    if (part[LB_HF_OUTER] || part[LB_HF_INNER]) {
        return put_chain(im, slot, m, err);
    }
    return part[LB_HF_WEIGHT] || part[LB_HF_SCALE] || part[LB_HF_ROW_SIZES] || part[LB_HF_BLOCKS] ? put_scaled(im, slot, m, codes, err) : LBRT_OK;
}
