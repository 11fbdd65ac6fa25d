#include "import_checks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/container/lb_wformat.h"
#include "../formats/pack/lb_pack.h"
#include "../kernels/lb_layout.h"
#include "lb_test.h"
#include "make_models.h"

size_t import_find(const lb_source *s, const char *name)
{
    size_t i = 0;
    while (i < s->n_tensors && strcmp(s->tensors[i].name, name) != 0) {
        i++;
    }
    return i;
}

float *import_read(const lb_source *s, const char *name)
{
    size_t i = import_find(s, name);
    if (!LB_CHECK(i < s->n_tensors, "the source has %s", name)) {
        return NULL;
    }
    const lb_source_tensor *t = &s->tensors[i];
    float *w = malloc((size_t)(t->rows * t->cols) * sizeof *w);
    lbrt_error err = { 0 };
    if (w != NULL &&
        !LB_CHECK(s->read_rows(s, i, 0, t->rows, w, &err) == LBRT_OK, "%s: %s", name, err.text)) {
        free(w);
        return NULL;
    }
    return w;
}

void import_check_weights(const lb_source *s, bool linear)
{
    for (size_t i = 0; i < mk_n_tensors; i++) {
        const mk_tensor *t = &mk_tensors[i];
        if (t->linear && !linear) {
            continue;
        }
        float *w = import_read(s, t->name);
        if (w == NULL) {
            continue;
        }
        size_t wrong = 0;
        for (size_t k = 0; k < (size_t)t->rows * t->cols; k++) {
            wrong += w[k] != mk_weight(t->name, k);
        }
        LB_CHECK(wrong == 0, "%zu weights of %s are wrong", wrong, t->name);
        free(w);
    }
}

void import_check_tiny(const lb_source *s, size_t n_tensors, bool interleaved)
{
    const lb_hparams *h = &s->hparams;
    LB_CHECK(h->n_vocab == MK_VOCAB && h->n_layers == 1 && h->dim == MK_DIM && h->n_heads == 2 &&
                 h->n_kv_heads == 1,
             "hyperparameters");
    LB_CHECK(h->head_dim == 16 && h->rope_dim == 16 && h->ffn_dim == MK_FFN && h->n_context == MK_CONTEXT,
             "sizes");
    LB_CHECK(h->rope_interleaved == interleaved && h->rope_theta == 10000.0f &&
                 h->rope_scaling == LB_ROPE_NONE,
             "rope");
    LB_CHECK(s->n_tensors == n_tensors, "%zu tensors", s->n_tensors);
}

void import_check_packs(const float *w, size_t rows, size_t cols)
{
    enum { CAP = 2048 };
    static LB_ALIGNED(64) unsigned char tile[CAP];
    float row[MK_FFN];
    size_t wrong = 0;
    if (!LB_CHECK(cols <= MK_FFN && lb_tern_tile_bytes(cols) <= CAP, "%zu columns", cols)) {
        return;
    }
    for (size_t r = 0; w != NULL && r < rows; r += LB_TILE_ROWS) {
        const size_t n = rows - r < LB_TILE_ROWS ? rows - r : LB_TILE_ROWS;
        lb_pack_tern(w + r * cols, cols, n, cols, NULL, tile);
        for (size_t i = 0; i < n; i++) {
            lb_wformat_find(LB_W_TERN)->unpack(tile, cols, i, row);
            for (size_t c = 0; c < cols; c++) {
                wrong += row[c] != w[(r + i) * cols + c];
            }
        }
    }
    LB_CHECK(wrong == 0, "%zu packed weights", wrong);
}

void import_check_yarn(const lb_source *s, double attention)
{
    /* pairs 2.618 and 5.633 turn 32 times and once in 4096 tokens: between 2 and 6 a ramp from 1 to 1 / 4 */
    static const double divisors[8] = { 1, 1, 1, 1 / 0.8125, 1 / 0.625, 1 / 0.4375, 4, 4 };
    float *factors = import_read(s, "rope_factors"), *x = import_read(s, "layers.0.attn_q");
    for (size_t i = 0; i < 8; i++) {
        LB_CHECK(factors && fabs((double)factors[i] - divisors[i]) < 1e-6, "pair %zu: divided by %g", i, factors ? (double)factors[i] : 0.0);
    }
    for (size_t i = 0; i < 16; i++) {
        LB_CHECK(x && x[i] == mk_weight("layers.0.attn_q", i), "query weight %zu: %g", i, x ? (double)x[i] : 0.0);
    }
    const double square = attention * attention, has = (double)s->hparams.attn_factor;
    LB_CHECK(square == 1.0 ? has == 0.0 : fabs(has - square) < 1e-6 * square, "scores times %g instead of %g", has, square);
    LB_CHECK(s->hparams.n_context == 16384 && s->hparams.rope_scaling == LB_ROPE_NONE, "a context of %u", s->hparams.n_context);
    free(factors);
    free(x);
}
