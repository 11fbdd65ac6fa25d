/* What conversion and measuring refuse or say: outputs that are no models, budgets with other terms, numbers that are not finite, ids that no model has. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/pack/lb_convert.h"
#include "lb_test.h"
#include "run_program.h"
#include "small_models.h"

void test_convert_refuses(void);

static lb_source *cr_base;
static const char *cr_where; /* the tensor whose first number is none */

static lbrt_status cr_read(const lb_source *s, size_t i, uint64_t row, uint64_t n, float *out, lbrt_error *err)
{
    LB_TRY(cr_base->read_rows(cr_base, i, row, n, out, err));
    if (row == 0 && strcmp(s->tensors[i].name, cr_where) == 0) {
        out[0] = NAN;
    }
    return LBRT_OK;
}

static void cr_tensor(void *user, const lb_convert_tensor_report *r)
{
    *(bool *)user |= r->warning && strstr(r->warning, "no finite numbers") && strcmp(r->name, cr_where) == 0;
}

static void cr_not_finite(void)
{
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    static const struct {
        const char *where;
        lb_wformat format;
        uint32_t rank;
    } cases[] = { { "layers.0.attn_q", LB_W_Q4, 0 }, { "layers.0.attn_q", LB_W_TCQ3, 0 }, { "layers.0.attn_q", LB_W_Q3, 8 }, { "layers.1.ffn_norm", LB_W_Q4, 0 } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lb_test_case("a number that is none in %s, format %d, rank %u", cases[i].where, (int)cases[i].format, cases[i].rank);
        cr_base = sm_source("micro");
        cr_where = cases[i].where;
        lb_source s = *cr_base;
        s.read_rows = cr_read;
        bool said = false;
        lbrt_error err = { LBRT_OK, "" };
        const lb_convert_options how = { .format = cases[i].format, .threads = 1, .lowrank = cases[i].rank, .tensor = cr_tensor, .user = &said };
        const lbrt_status got = lb_convert(&s, lb_test_temp("finite.lbrt"), &how, &a, &err);
        if (strstr(cr_where, "norm")) {
            LB_CHECK(got == LBRT_ERR_FORMAT && strstr(err.text, "not finite"), "%d %s", (int)got, err.text);
        } else {
            LB_CHECK(got == LBRT_OK && said, "%d %s, said: %d", (int)got, err.text, said);
        }
        cr_base->close(cr_base);
    }
}

static void cr_programs(void)
{
    if (!prog_find() || !prog_runs()) {
        return;
    }
    char other[300], tiny[300];
    snprintf(other, sizeof other, "%s", lb_test_temp("other.txt"));
    snprintf(tiny, sizeof tiny, "%s", sm_file("tiny", "q4"));
    FILE *f = fopen(other, "w");
    LB_CHECK(f && fputs("70000 1 2 3 4 5 6 7 8 9", f) >= 0 && fclose(f) == 0, "write");
    lb_test_case("lbrt-convert writes over no other file");
    const prog_result *r = prog_run("", "lbrt-convert", "-q --synth tiny '%s'", other);
    size_t bytes = 0;
    char *text = lb_test_read(other, &bytes);
    LB_CHECK(r->code == 1 && prog_one_line(r->err) && text && strncmp(text, "70000", 5) == 0, "%d '%s'", r->code, r->err);
    free(text);
    lb_test_case("--budget with other terms, terms that a format does not take");
    r = prog_run("", "lbrt-convert", "--calib '%s' --budget 4bpw --outliers 1 in out", other);
    LB_CHECK(r->code == 2 && strstr(r->err, "--budget"), "%d '%s'", r->code, r->err);
    r = prog_run("", "lbrt-convert", "--calib '%s' --budget 0.0000001MB in out", other);
    LB_CHECK(r->code == 2, "%d '%s'", r->code, r->err);
    r = prog_run("", "lbrt-convert", "--synth tiny --format tcq2 --outliers 1 out");
    LB_CHECK(r->code == 2 && strstr(r->err, "tcq2"), "%d '%s'", r->code, r->err);
    lb_test_case("lbrt-eval: an id that the model does not have");
    r = prog_run("", "lbrt-eval", "--ctx 8 --tokens '%s' '%s'", other, tiny);
    LB_CHECK(r->code == 1 && prog_one_line(r->err) && strstr(r->err, "no token of this model"), "%d '%s'", r->code, r->err);
    lb_test_case("lbrt-bench: shares are 0 where there is no yardstick");
    r = prog_run("", "lbrt-bench", "-p 8 -n 0 -r 1 -t 1 --isa scalar --json '%s'", tiny);
    LB_CHECK(r->code == 0 && strstr(r->out, "\"int8_share\":0,") && !strstr(r->out, "inf") && !strstr(r->out, "nan"), "%d '%s'", r->code, r->out);
}

void test_convert_refuses(void)
{
    cr_not_finite();
    cr_programs();
}
