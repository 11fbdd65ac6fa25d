/* What programs print and cannot: a full disk, a closed standard output. And what must not be passed over in silence. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lb_test.h"
#include "make_models.h"
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

/* What lbrt-info says of a model */
static void out_named(const char *made, const char *name)
{
    char line[600];
    snprintf(line, sizeof line, "  made from        %s\n", name);
    const prog_result *r = prog_run("", "lbrt-info", "'%s'", made);
    LB_CHECK(r->code == 0 && strncmp(r->out, name, strlen(name)) == 0 && r->out[strlen(name)] == ' ' && strstr(r->out, line), "not '%s': %d '%s' '%s'", name,
             r->code, r->out, r->err);
}

static void out_names(void)
{
    lb_test_case("lbrt-convert: a model is called what its folder is called, however that is named");
    mk_safetensors st = { { NULL, 0, 0 }, { NULL, 0, 0 } };
    mk_blob config = { NULL, 0, 0 }, weights = { NULL, 0, 0 };
    mk_st_weights(&st, "F32", NULL, true);
    mk_st_end(&st, &weights);
    mk_config("LlamaForCausalLM", "", &config);
    char folder[300], made[300], deep[700], within[320];
    snprintf(folder, sizeof folder, "%s", mk_folder("named", &config, &weights));
    snprintf(made, sizeof made, "%s", lb_test_temp("named.lbrt"));
    snprintf(within, sizeof within, "%s/within", folder);
    LB_CHECK(mkdir(within, 0777) == 0, "mkdir");
    static const struct {
        const char *from, *input; /* the folder that the program is started in, seen from the model's */
    } ways[] = { { ".", "." }, { ".", "./" }, { ".", ".//" }, { ".", "within/.." }, { ".", "within/..//" }, { "within", ".." }, { "within", "../" },
                 { "..", "named" }, { "..", "named//" }, { "..", "./named/./" } };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        char from[400];
        snprintf(from, sizeof from, "cd '%s/%s';", folder, ways[i].from);
        remove(made);
        const prog_result *r = prog_run(from, "lbrt-convert", "-q --format f32 %s '%s'", ways[i].input, made);
        LB_CHECK(r->code == 0 && r->err[0] == 0, "%s: %d '%s'", ways[i].input, r->code, r->err);
        out_named(made, "named");
    }
    size_t n = (size_t)snprintf(deep, sizeof deep, "%s", folder); /* a path of more than 256 bytes */
    while (n < 400) {
        n += (size_t)snprintf(deep + n, sizeof deep - n, "/within/..");
    }
    snprintf(deep + n, sizeof deep - n, "/../named//");
    const prog_result *r = prog_run("", "lbrt-convert", "-q --format f32 '%s' '%s'", deep, made);
    LB_CHECK(r->code == 0 && r->err[0] == 0, "%d '%s'", r->code, r->err);
    out_named(made, "named");
    mk_free(&config);
    mk_free(&weights);
}

static void out_bench(const char *tiny)
{
    lb_test_case("lbrt-bench refuses what it would not measure, and more than the model's context");
    static const struct {
        const char *options, *said;
    } wrong[] = { { "--format q4", "--kernels" }, { "-p 0 -n 0", "nothing to measure" }, { "-p '' -n 0,0", "nothing to measure" },
                  { "-t ''", "nothing to measure" }, { "-d ''", "nothing to measure" }, { "-d 0,999999", "-d 999999" },
                  { "-p 999999", "-p 999999" }, { "-n 8,999999 -p 0", "-n 999999" } };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const prog_result *r = prog_run("", "lbrt-bench", "%s '%s'", wrong[i].options, tiny);
        LB_CHECK(r->code == 2 && r->out[0] == 0 && prog_one_line(r->err) && strstr(r->err, wrong[i].said), "%s: %d '%s'", wrong[i].options, r->code, r->err);
    }
}

static void out_tokenizers(void)
{
    lb_test_case("lbrt-eval --base says that the tokenizers differ");
    char made[2][300], ids[300], in[300];
    snprintf(in, sizeof in, "%s", lb_test_temp("tokens.gguf"));
    snprintf(ids, sizeof ids, "%s", lb_test_temp("tokens.txt"));
    mk_write(ids, "5 6 7 5 6 7 5 6 ", 16);
    for (int i = 0; i < 2; i++) {
        mk_blob gguf = { NULL, 0, 0 };
        mk_gguf_model("llama", 0, &gguf);
        for (size_t at = 0; i && at + 10 <= gguf.n; at++) {
            if (memcmp(gguf.data + at, "\2\0\0\0\0\0\0\0ab", 10) == 0) { /* the last token, behind its length */
                gguf.data[at + 9] = 'a';
            }
        }
        mk_write(in, gguf.data, gguf.n);
        mk_free(&gguf);
        snprintf(made[i], sizeof made[i], "%s", lb_test_temp(i ? "tokens1.lbrt" : "tokens0.lbrt"));
        const prog_result *r = prog_run("", "lbrt-convert", "-q --format f32 '%s' '%s'", in, made[i]);
        LB_CHECK(r->code == 0 && r->err[0] == 0, "%d '%s'", r->code, r->err);
    }
    for (int i = 0; i < 2; i++) {
        const prog_result *r = prog_run("", "lbrt-eval", "-c 8 --tokens '%s' --base '%s' '%s'", ids, made[i], made[0]);
        LB_CHECK(r->code == 0 && (i ? prog_one_line(r->err) && strstr(r->err, "differ in 1 of 8 tokens, first in 7") : r->err[0] == 0), "%d: %d '%s'", i,
                 r->code, r->err);
    }
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
    out_names();
    out_bench(tiny);
    out_tokenizers();
    prog_forget();
}
