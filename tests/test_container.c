/* The .lbrt file: written and read back, tensors in pieces. tests/test_container_hostile.c has files that are wrong. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/pack/lb_pack.h"
#include "../formats/pack/lb_writer.h"
#include "lb_test.h"
#include "small_models.h"

/* ---- writer to reader ---- */

static void cont_round_trip(void)
{
    lb_test_case("what the writer wrote, the reader reads");
    const char *path = lb_test_temp("round.lbrt");
    const lbrt_allocator *a = lb_test_allocator(0);
    const size_t alive = lb_test_alloc_alive();
    lbrt_error err = { LBRT_OK, "" };
    lb_writer w;
    float vector[300];
    unsigned char tile[16384];
    for (size_t i = 0; i < 300; i++) {
        vector[i] = lb_test_gauss();
    }
    for (size_t i = 0; i < sizeof tile; i++) {
        tile[i] = (unsigned char)lb_test_random();
    }
    const size_t q8 = lb_wformat_find(LB_W_Q8)->tile_bytes(64),
                 f16 = lb_wformat_find(LB_W_F16)->tile_bytes(36);
    const size_t f32 = lb_wformat_find(LB_W_F32)->tile_bytes(5),
                 q4 = lb_wformat_find(LB_W_Q4)->tile_bytes(100);
    LB_CHECK(lb_writer_open(&w, path, a, &err) == LBRT_OK, "%s", err.text);
    lb_writer_vector(&w, "v", vector, 300);
    /* 100 x 100 as four terms of other formats, one of them of low rank; the data in pieces of any length */
    lb_writer_tensor(&w, "m", 100, 100, 3);
    lb_writer_term(&w, LB_TERM_PACKED, NULL, 0, 64, 0, 64);
    lb_writer_part(&w, LB_W_Q8, 64, 64);
    for (size_t i = 0; i < 4 * q8; i += 1000) {
        lb_writer_data(&w, tile, 4 * q8 - i < 1000 ? 4 * q8 - i : 1000);
    }
    lb_writer_part_end(&w);
    lb_writer_term(&w, LB_TERM_PACKED, NULL, 64, 36, 0, 100);
    lb_writer_part(&w, LB_W_Q4, 36, 100);
    lb_writer_data(&w, tile, 3 * q4);
    lb_writer_part_end(&w);
    lb_writer_term(&w, LB_TERM_CHAIN, NULL, 64, 36, 64, 36);
    lb_writer_part(&w, LB_W_F32, 36, 5);
    for (unsigned i = 0; i < 3; i++) {
        lb_writer_data(&w, tile, f32);
    }
    lb_writer_part_end(&w);
    lb_writer_part(&w, LB_W_F16, 5, 36);
    lb_writer_data(&w, tile, f16);
    lb_writer_part_end(&w);
    const lb_meta_value extra[] = { { "note", LB_META_STRING, 0, 0, "text", false },
                                    { "half", LB_META_F64, 0, 0.5, NULL, false },
                                    { "yes", LB_META_BOOL, 1, 0, NULL, false },
                                    { "big", LB_META_U64, 1ull << 60, 0, NULL, false } };
    for (size_t i = 0; i < 4; i++) {
        lb_writer_meta(&w, &extra[i], false);
    }
    lb_source *micro = sm_source("micro");
    LB_CHECK(lb_writer_commit(&w, &micro->hparams, "tokenizer", 9) == LBRT_OK, "%s", err.text);
    lb_writer_abort(&w);
    LB_CHECK(lb_test_alloc_alive() == alive, "the writer leaks");

    size_t bytes;
    unsigned char *data = sm_load(path, &bytes);
    lb_container c;
    if (data && LB_CHECK(lb_container_open(&c, data, bytes, a, &err) == LBRT_OK, "%s", err.text)) {
        const lb_tensor *v = lb_container_find(&c, "v"), *m = lb_container_find(&c, "m");
        LB_CHECK(lb_container_verify(&c, NULL, NULL, &err) == LBRT_OK, "%s", err.text);
        LB_CHECK(c.n_tensors == 2 && v && m && !lb_container_find(&c, "x") && !lb_container_find(&c, ""),
                 "tensors");
        LB_CHECK(v && v->rows == 1 && v->cols == 300 && v->n_terms == 1 &&
                     v->terms[0].kind == LB_TERM_VECTOR &&
                     memcmp(v->terms[0].parts[0].data, vector, sizeof vector) == 0,
                 "the vector");
        if (m && LB_CHECK(m->n_terms == 3 && m->rows == 100 && m->cols == 100, "the matrix")) {
            const lb_term *t = m->terms;
            LB_CHECK(t[0].row0 == 0 && t[0].n_rows == 64 && t[0].n_cols == 64 &&
                         t[0].parts[0].format == LB_W_Q8 && t[0].parts[0].bytes == 4 * q8 &&
                         t[0].parts[0].tile_bytes == q8 && memcmp(t[0].parts[0].data, tile, 1000) == 0,
                     "term 0");
            LB_CHECK(t[1].row0 == 64 && t[1].n_rows == 36 && t[1].n_cols == 100 &&
                         t[1].parts[0].format == LB_W_Q4 && memcmp(t[1].parts[0].data, tile, 3 * q4) == 0,
                     "term 1");
            LB_CHECK(t[2].kind == LB_TERM_CHAIN && t[2].col0 == 64 && t[2].n_parts == 2 &&
                         t[2].parts[0].cols == 5 && t[2].parts[1].rows == 5 &&
                         t[2].parts[1].format == LB_W_F16,
                     "term 2");
            LB_CHECK((uintptr_t)t[1].parts[0].data % 64 == 0 && (uintptr_t)t[2].parts[1].data % 64 == 0,
                     "alignment");
        }
        char text[3];
        double d = 0;
        bool b = false;
        uint64_t u = 0;
        LB_CHECK(lb_meta_string(&c, "note", text, sizeof text) && strcmp(text, "te") == 0,
                 "a string, cut to its room");
        LB_CHECK(lb_meta_f64(&c, "half", &d) && d == 0.5 && lb_meta_bool(&c, "yes", &b) && b, "numbers");
        LB_CHECK(lb_meta_u64(&c, "big", &u) && u == 1ull << 60 && !lb_meta_u64(&c, "half", &u) &&
                     !lb_meta_bool(&c, "none", &b),
                 "types");
        LB_CHECK(c.tokenizer.bytes == 9 && memcmp(c.tokenizer.data, "tokenizer", 9) == 0,
                 "the tokenizer section");
        lb_hparams h;
        LB_CHECK(lb_hparams_read(&c, &h, &err) == LBRT_OK, "%s", err.text);
        LB_CHECK(strcmp(h.name, "micro") == 0 && h.head_dim == 10 && h.rope_dim == 8 && h.norm_eps == 1e-5f,
                 "hparams");
        lb_container_close(&c);
    }
    free(data);
    micro->close(micro);
    LB_CHECK(lb_test_alloc_alive() == alive, "a leak");

    lb_test_case("a writer that failed says so at every later call, and leaves nothing");
    path = lb_test_temp("failed.lbrt");
    LB_CHECK(lb_writer_open(&w, path, a, &err) == LBRT_OK, "%s", err.text);
    LB_CHECK(lb_writer_tensor(&w, "", 1, 1, 1) == LBRT_ERR_ARGUMENT, "no name");
    LB_CHECK(lb_writer_tensor(&w, "x", 1, 1, 1) == LBRT_ERR_ARGUMENT &&
                 lb_writer_part(&w, LB_W_F32, 1, 1) == LBRT_ERR_ARGUMENT,
             "sticky");
    LB_CHECK(lb_writer_data(&w, tile, 1) == LBRT_ERR_ARGUMENT && lb_writer_part_end(&w) == LBRT_ERR_ARGUMENT,
             "sticky");
    lb_hparams none = { .n_vocab = 1 };
    LB_CHECK(lb_writer_commit(&w, &none, NULL, 0) == LBRT_ERR_ARGUMENT, "sticky");
    lb_writer_abort(&w);
    lb_writer_abort(&w);
    LB_CHECK(!lb_path_exists(path) && lb_test_alloc_alive() == alive, "left over");
}

/* ---- a tensor in pieces: rows (bit for bit the same) or columns (the same but for rounding) as terms of
 * their own ---- */

static lbrt_status cont_piece(lb_writer *w, const lb_source *s, size_t i, lb_wformat f, uint64_t row0,
                              uint64_t rows, uint64_t col0, uint64_t cols)
{
    const lb_source_tensor *t = &s->tensors[i];
    static float x[16 * 1024];
    static unsigned char tile[1 << 17];
    lb_writer_term(w, LB_TERM_PACKED, NULL, row0, rows, col0, cols);
    lb_writer_part(w, f, rows, cols);
    for (uint64_t r = 0; r < rows; r += 16) {
        uint64_t n = rows - r < 16 ? rows - r : 16;
        LB_TRY(s->read_rows(s, i, row0 + r, n, x, NULL));
        lb_packer(f)(x + col0, (size_t)t->cols, (size_t)n, (size_t)cols, NULL, tile);
        LB_TRY(lb_writer_data(w, tile, lb_wformat_find((uint32_t)f)->tile_bytes((size_t)cols)));
    }
    return lb_writer_part_end(w);
}

static bool cont_write_pieces(const char *path, lb_wformat f, bool by_rows)
{
    lb_source *s = sm_source("tiny");
    lbrt_allocator a = lb_allocator_or_default(NULL);
    lbrt_error err = { LBRT_OK, "" };
    lb_writer w;
    lb_writer_open(&w, path, &a, &err);
    for (size_t i = 0; i < s->n_tensors; i++) {
        const lb_source_tensor *t = &s->tensors[i];
        static float x[1024];
        if (lb_convert_is_vector(t->name)) {
            s->read_rows(s, i, 0, 1, x, NULL);
            lb_writer_vector(&w, t->name, x, t->cols);
            continue;
        }
        const uint64_t whole = by_rows ? t->rows : t->cols;
        const uint64_t first = whole > 64 ? (whole / 3 + 63) / 64 * 64 : whole;
        lb_writer_tensor(&w, t->name, t->rows, t->cols, first < whole ? 2 : 1);
        if (by_rows) {
            /* the later rows first, so that no term covers them all */
            if (first < whole) {
                cont_piece(&w, s, i, f, first, whole - first, 0, t->cols);
            }
            cont_piece(&w, s, i, f, 0, first, 0, t->cols);
        } else {
            cont_piece(&w, s, i, f, 0, t->rows, 0, first);
            if (first < whole) {
                cont_piece(&w, s, i, f, 0, t->rows, first, whole - first);
            }
        }
    }
    lbrt_status status = lb_writer_commit(&w, &s->hparams, NULL, 0);
    lb_writer_abort(&w);
    s->close(s);
    return LB_CHECK(status == LBRT_OK, "%s", err.text);
}

static void cont_logits(const char *path, float *out, uint32_t threads)
{
    lbrt_model *m = NULL;
    lbrt_session *s = NULL;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
    so.n_context = 40;
    so.n_threads = threads;
    lbrt_token ids[21];
    sm_tokens(ids, 21, 512, 1);
    memset(out, 0, 512 * sizeof *out);
    if (LB_CHECK(lbrt_model_open(path, NULL, &m, &err) == LBRT_OK &&
                     lbrt_session_create(m, &so, &s, &err) == LBRT_OK,
                 "%s", err.text) &&
        LB_CHECK(lbrt_feed(s, ids, 20) == LBRT_OK && lbrt_feed(s, ids + 20, 1) == LBRT_OK, "%s",
                 lbrt_session_error(s))) {
        memcpy(out, lbrt_logits(s, 0), 512 * sizeof *out);
    }
    lbrt_session_free(s);
    lbrt_model_close(m);
}

/* Not fmax: of that gcc 12 for aarch64 makes a reduction that it then fails to compile. */
static double cont_distance(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= worst)) {
            worst = d;
        }
    }
    return worst;
}

static void cont_pieces(void)
{
    static const char *const formats[] = { "f32", "q8" };
    for (size_t i = 0; i < 2; i++) {
        const char *file = sm_file("tiny", formats[i]);
        const lb_wformat f = lb_wformat_named(formats[i])->id;
        float whole[512], pieces[512];
        const char *path = lb_test_temp("pieces.lbrt");
        if (!file) {
            return;
        }
        cont_logits(file, whole, 1);
        lb_test_case("tensors as terms of rows: the same bits (%s)", formats[i]);
        for (uint32_t threads = 1; threads <= 2 && cont_write_pieces(path, f, true); threads++) {
            cont_logits(path, pieces, threads);
            LB_CHECK(memcmp(whole, pieces, sizeof whole) == 0, "%u threads: %g %g", threads, (double)whole[0],
                     (double)pieces[0]);
        }
        lb_test_case("tensors as terms of columns: the same numbers (%s)", formats[i]);
        if (cont_write_pieces(path, f, false)) {
            cont_logits(path, pieces, 1);
            const double worst = cont_distance(whole, pieces, 512);
            /* Sums in another order, and keys and values rounded to f16. q8 has a row scale per term, so its
             * codes are others. */
            LB_CHECK(worst < (f == LB_W_F32 ? 2e-3 : 0.2) && worst > 0, "%g", worst);
        }
    }
}

void test_container(void)
{
    cont_round_trip();
    cont_pieces();
}
