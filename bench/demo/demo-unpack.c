/*
 * demo-unpack: the weights of an .lbrt file as plain float32, for train_demo.py --init, which goes on training from a packed model.
 *
 * The output: per tensor a line "NAME ROWS COLUMNS\n" and ROWS * COLUMNS little-endian floats. Only tensors of one packed term without an
 * input transform, and vectors: what lbrt-convert makes of the demo model in every format that it was measured in but tcq.
 */
#include "../../formats/container/lb_container.h"
#include "../../formats/container/lb_wformat.h"
#include "../../runtime/base/lb_os.h"
#include "../../runtime/lb_args.h"

static const char program[] = "demo-unpack";

static void unpack_tensor(const lb_tensor *t, FILE *out)
{
    const lb_term *term = &t->terms[0];
    const bool vector = term->kind == LB_TERM_VECTOR;
    if (t->n_terms != 1 || (!vector && term->kind != LB_TERM_PACKED) || term->transform.kind != LB_TRANSFORM_NONE) {
        lb_program_fail(program, "%.*s is a sum of terms or reads a transformed input", (int)t->name_bytes, t->name);
    }
    const lb_part *p = &term->parts[0];
    fprintf(out, "%.*s %llu %llu\n", (int)t->name_bytes, t->name, (unsigned long long)t->rows, (unsigned long long)t->cols);
    if (vector) {
        fwrite(p->data, sizeof(float), (size_t)t->cols, out);
        return;
    }
    const lb_wformat_info *f = lb_wformat_find(p->format);
    float *row = (float *)malloc((size_t)t->cols * sizeof *row);
    if (!f || !row) {
        lb_program_fail(program, "out of memory");
    }
    for (size_t r = 0; r < t->rows; r++) {
        f->unpack(p->data + r / LB_TILE_ROWS * p->tile_bytes, (size_t)t->cols, r % LB_TILE_ROWS, row);
        fwrite(row, sizeof *row, (size_t)t->cols, out);
    }
    free(row);
}

int main(int argc, char **argv)
{
    const lb_usage usage = { program, "MODEL.lbrt OUT", "Writes a model's weights as float32.", NULL, 0, 2, 2 };
    const char *words[2];
    lb_args_parse(&usage, argc, argv, words);
    lb_map map;
    lb_container c;
    lbrt_error err;
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    if (lb_map_open(words[0], &map, &err) != LBRT_OK || lb_container_open(&c, map.data, map.bytes, &a, &err) != LBRT_OK ||
        lb_container_verify(&c, NULL, NULL, &err) != LBRT_OK) {
        lb_program_fail(program, "%s: %s", words[0], err.text);
    }
    FILE *out = fopen(words[1], "wb");
    for (size_t i = 0; out && i < c.n_tensors; i++) {
        unpack_tensor(&c.tensors[i], out);
    }
    if (!out || ferror(out) || fclose(out) != 0) {
        lb_program_fail(program, "cannot write %s", words[1]);
    }
    lb_container_close(&c);
    lb_map_close(&map);
    return 0;
}
