/*
 * lbrt-needle: its output, and that a model that can copy copies the same with a cache of 8 and of 4 bits. The tolerance: 3 of 100 tokens
 * fewer than with f16; bench/KV.md has the figures of many more needles.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/import/lb_json.h"
#include "../runtime/base/lb_base.h"
#include "lb_test.h"
#include "run_program.h"
#include "small_models.h"

void test_needle(void);

static const lb_json *needle_row(const lb_json *root, const char *kv, const char *way)
{
    const lb_json *rows = lb_json_get(root, "rows");
    for (const lb_json *r = rows ? rows->child : NULL; r; r = r->next) {
        if (lb_json_is(lb_json_get(r, "kv"), kv) && lb_json_is(lb_json_get(r, "way"), way)) {
            return r;
        }
    }
    LB_CHECK(false, "no row %s, %s", kv, way);
    return NULL;
}

static double needle_number(const lb_json *row, const char *key)
{
    return lb_json_number(lb_json_get(row, key), -1);
}

static lb_json_doc *needle_parse(const char *text)
{
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lb_json_doc *doc = NULL;
    lbrt_error err = { LBRT_OK, "" };
    LB_CHECK(lb_json_parse(text, strlen(text), &a, &doc, &err) == LBRT_OK, "%s: %s", err.text, text);
    return doc;
}

void test_needle(void)
{
    lb_test_case("lbrt-needle: every way of keeping the cache, the same for the same seed");
    char text[300], model[300];
    snprintf(text, sizeof text, "%s", lb_test_temp("needle.txt"));
    FILE *f = fopen(text, "w");
    for (unsigned i = 0; f && i < 400; i++) {
        fprintf(f, "%u and %u are many. ", i * i, i * 7919 % 1000);
    }
    const char *micro = sm_file("micro", "q8");
    if (!LB_CHECK(f && fclose(f) == 0 && micro && prog_find(), "files") || !prog_runs()) {
        return;
    }
    snprintf(model, sizeof model, "%s", micro);
    static const char arguments[] = "--json --needles 5 --ctx 540 --window 70 --keep 256 --faint 256 --kv q4,f16 --seed 3 -t %u --text '%s' '%s'";
    char *first = strdup(prog_run("", "lbrt-needle", arguments, 1u, text, model)->out);
    const prog_result *r = prog_run("", "lbrt-needle", arguments, 2u, text, model);
    LB_CHECK(r->code == 0 && strcmp(first, r->out) == 0, "%d: '%s' and '%s' %s", r->code, first, r->out, r->err);
    lb_json_doc *doc = needle_parse(first);
    free(first);
    const lb_json *root = doc ? lb_json_root(doc) : NULL;
    static const struct {
        const char *kv, *way;
        double held;
    } rows[] = { { "q4", "all", 539 }, { "q4", "compressed", 270 }, { "q4", "window", 74 }, { "q4", "no needle", 539 }, { "f16", "all", 539 },
                 { "q4", "faint", 526 }, { "f16", "compressed", 270 }, { "f16", "window", 74 } };
    for (size_t i = 0; doc && i < sizeof rows / sizeof rows[0]; i++) {
        const lb_json *row = needle_row(root, rows[i].kv, rows[i].way);
        LB_CHECK(needle_number(row, "held") == rows[i].held && needle_number(row, "of") == 70 && needle_number(row, "copied") >= 0, "%s, %s: held %g",
                 rows[i].kv, rows[i].way, needle_number(row, "held"));
    }
    lb_json_free(doc);
    r = prog_run("", "lbrt-needle", "--ctx 99999 --keep 0 --window 0 --needles 5 --length 40000 --text '%s' '%s'", text, model);
    LB_CHECK(r->code != 0 && r->out[0] == 0 && prog_one_line(r->err), "needles longer than the text: %d '%s'", r->code, r->err);

    lb_test_case("needles in a cache of 8 and of 4 bits: the lab model");
    const char *lab = lb_test_shared("models/lab");
    if (!lab) {
        lb_test_skip("the lab model is absent");
        return;
    }
    snprintf(model, sizeof model, "%s", lb_test_temp("needle.lbrt"));
    r = prog_run("", "lbrt-convert", "-q -f f16 '%s' '%s'", lab, model);
    LB_CHECK(r->code == 0, "%s", r->err);
    r = prog_run("", "lbrt-needle", "--json --needles 10 --window 0 --keep 0 --kv f16,q8,q4 --text '%s' '%s'", lb_test_shared("models/lab/test150k.txt"), model);
    doc = needle_parse(r->out);
    root = doc ? lb_json_root(doc) : NULL;
    if (root) {
        const double exact = needle_number(needle_row(root, "f16", "all"), "copied"), none = needle_number(needle_row(root, "f16", "no needle"), "copied");
        LB_CHECK(exact > 1.5 * none && exact > 55, "the model copies %g of 140, and guesses %g", exact, none);
        for (size_t i = 0; i < 2; i++) {
            const char *kv = i ? "q4" : "q8";
            const double copied = needle_number(needle_row(root, kv, "all"), "copied");
            LB_CHECK(copied >= exact - 0.03 * 140, "%s copies %g, f16 %g", kv, copied, exact);
        }
    }
    lb_json_free(doc);
    prog_forget();
}
