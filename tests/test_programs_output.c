/* What programs print and cannot: a full disk, a closed standard output. And options that had no effect. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lb_test.h"
#include "run_program.h"
#include "small_models.h"

void test_programs_output(void);

static void out_unwritable(const char *micro, const char *tiny)
{
    char text[300], made[300];
    snprintf(text, sizeof text, "%s", lb_test_temp("output.txt"));
    snprintf(made, sizeof made, "%s", lb_test_temp("output.lbrt"));
    FILE *f = fopen(text, "w");
    for (int i = 0; f && i < 200; i++) {
        fprintf(f, "%d ", 3 + i % 90);
    }
    LB_CHECK(f && fclose(f) == 0, "write");
    const struct {
        const char *name, *options, *file;
    } runs[] = {
        { "chat", "--help", "" },         { "chat", "-n 3 -p hi", micro },   { "chat", "-n 3", micro },
        { "lbrt-info", "--help", "" },    { "lbrt-info", "", tiny },         { "lbrt-info", "--json --verify", tiny },
        { "lbrt-convert", "--help", "" }, { "lbrt-convert", "--shapes", "" }, { "lbrt-convert", "--formats", "" },
        { "lbrt-convert", "--json --synth tiny", made },                     { "lbrt-convert", "--synth tiny", made },
        { "lbrt-bench", "--help", "" },   { "lbrt-bench", "-p 8 -n 0 -r 1 -t 1", tiny },
        { "lbrt-eval", "--help", "" },
        { "lbrt-eval", "-c 64 --tokens", "" }, { "lbrt-eval", "-c 64 --json --tokens", "" },
        { "lbrt-needle", "--help", "" },  { "lbrt-needle", "--needles 5 --length 4 --cue 2 --passage 8 -c 32 --kv f32 --window 0 --keep 0 --text", "" },
    };
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        lb_test_case("%s %s with an output that cannot be written", runs[i].name, runs[i].options);
        char arguments[1200];
        const bool reads = strstr(runs[i].options, "--tokens") || strstr(runs[i].options, "--text");
        snprintf(arguments, sizeof arguments, "%s%s%s '%s'", runs[i].options, reads ? " " : "", reads ? text : "", reads ? micro : runs[i].file);
        if (strstr(arguments, "--help")) {
            snprintf(arguments, sizeof arguments, "--help");
        }
        const bool pipe = strcmp(runs[i].name, "chat") == 0 && !strstr(arguments, "-p");
        snprintf(arguments + strlen(arguments), sizeof arguments - strlen(arguments), "%s%s", pipe ? " <" : "", pipe ? text : "");
        const prog_result *r = prog_run("", runs[i].name, "%s", arguments);
        LB_CHECK(r->code == 0 && r->out[0], "%d '%s'", r->code, r->err);
        static const char *const ways[] = { ">/dev/full", ">&-" };
        for (size_t j = 0; j < 2; j++) {
            r = prog_run("", runs[i].name, "%s %s", arguments, ways[j]);
            LB_CHECK(r->code == 1 && prog_one_line(r->err) && strstr(r->err, "standard output"), "%s: %d '%s'", ways[j], r->code, r->err);
        }
    }
    const prog_result *r = prog_run("", "lbrt-convert", "-q --synth tiny '%s' >&-", made);
    LB_CHECK(r->code == 0 && r->err[0] == 0 && prog_run("", "lbrt-info", "--verify '%s'", made)->code == 0, "nothing is printed, and nothing fails");
    r = prog_run("", "lbrt-convert", "--synth tiny '%s' >&-", made);
    LB_CHECK(r->code == 1 && prog_run("", "lbrt-info", "--verify '%s'", made)->code == 0, "the report is not in the file that was made");
}

static void out_nobody_hears(const char *micro)
{
    lb_test_case("chat: an answer that could not be printed is not in the conversation");
    char state[300];
    snprintf(state, sizeof state, "%s", lb_test_temp("output.state"));
    const prog_result *r = prog_run("", "chat", "-p hello --state '%s' '%s' >/dev/full", state, micro);
    LB_CHECK(r->code == 1 && access(state, F_OK) != 0, "%d '%s'", r->code, r->err);
}

void test_programs_output(void)
{
    lb_test_case("programs and models");
    char micro[300], tiny[300];
    const char *file = sm_file("micro", "q8");
    snprintf(micro, sizeof micro, "%s", file ? file : "");
    file = file ? sm_file("tiny", "q4") : NULL;
    snprintf(tiny, sizeof tiny, "%s", file ? file : "");
    if (!LB_CHECK(file && prog_find(), "no model") || !prog_runs()) {
        return;
    }
    out_unwritable(micro, tiny);
    out_nobody_hears(micro);
    prog_forget();
}
