/* LoRA adapters to .lbrt: each changed matrix is one chain term, up = scale * B, down = A. */
#include "lb_convert_adapter.h"

#include "lb_pack.h"
#include "lb_writer.h"

/* One factor, 16 rows at a time; `rows` has room for 16 rows, `tile` for one tile. */
static lbrt_status write_factor(lb_writer *w, const lb_lora_matrix *m, float scale, const lb_wformat_info *f, float *rows, void *tile)
{
    const size_t cols = (size_t)m->cols;
    LB_TRY(lb_writer_part(w, f->id, m->rows, m->cols));
    for (uint64_t row = 0; row < m->rows; row += LB_TILE_ROWS) {
        const size_t n = (size_t)(m->rows - row < LB_TILE_ROWS ? m->rows - row : LB_TILE_ROWS);
        for (size_t r = 0; r < n; r++) {
            lb_lora_row(m, row + r, rows + r * cols);
            for (size_t c = 0; c < cols; c++) {
                rows[r * cols + c] *= scale;
            }
        }
        lb_packer(f->id)(rows, cols, n, cols, NULL, tile);
        LB_TRY(lb_writer_data(w, tile, f->tile_bytes(cols)));
    }
    return lb_writer_part_end(w);
}

static lbrt_status write_pair(lb_writer *w, const lb_lora_pair *p, const lb_wformat_info *f, const lbrt_allocator *a, lbrt_error *err)
{
    const size_t k = (size_t)(p->a.cols > p->b.cols ? p->a.cols : p->b.cols);
    LB_FAIL_IF(k > LB_MAX_K, err, LBRT_ERR_UNSUPPORTED, "%s has too many columns", p->name);
    const size_t rows_bytes = LB_TILE_ROWS * k * sizeof(float), tile_bytes = f->tile_bytes(k);
    float *rows = (float *)lb_alloc(a, rows_bytes);
    void *tile = lb_alloc(a, tile_bytes);
    lbrt_status s = LBRT_OK;
    if (!rows || !tile) {
        s = lb_fail(err, LBRT_ERR_MEMORY, "out of memory");
    } else {
        lb_writer_tensor(w, p->name, p->b.rows, p->a.cols, 1);
        lb_writer_term(w, LB_TERM_CHAIN, NULL, 0, p->b.rows, 0, p->a.cols);
        s = write_factor(w, &p->b, p->scale, f, rows, tile);
        s = s == LBRT_OK ? write_factor(w, &p->a, 1.0f, f, rows, tile) : s;
    }
    lb_free(a, rows, rows_bytes);
    lb_free(a, tile, tile_bytes);
    return s;
}

lbrt_status lb_convert_adapter(const lb_lora *l, const char *path, lb_wformat format, const lbrt_allocator *a, lbrt_error *err)
{
    const lb_wformat_info *f = lb_wformat_find((uint32_t)format);
    LB_FAIL_IF(!f || f->reads != LB_READS_F32, err, LBRT_ERR_UNSUPPORTED, "adapters are f32, f16 or bf16");
    lb_writer w;
    LB_TRY(lb_writer_open(&w, path, a, err));
    const lb_meta_value kind = { .key = "adapter", .type = LB_META_STRING, .s = "lora" };
    const lb_meta_value order = { .key = "adapter.rope_interleaved", .type = LB_META_BOOL, .u = l->interleaved };
    lbrt_status s = lb_writer_meta(&w, &kind, true);
    s = s == LBRT_OK ? lb_writer_meta(&w, &order, false) : s;
    for (size_t i = 0; i < l->n_pairs && s == LBRT_OK; i++) {
        s = l->pairs[i].a.data ? write_pair(&w, &l->pairs[i], f, a, err) : LBRT_OK;
    }
    s = s == LBRT_OK ? lb_writer_commit(&w, NULL, NULL, 0) : s;
    lb_writer_abort(&w);
    return s;
}
