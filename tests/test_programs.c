/* The programs, run through the shell: exit status, standard error, JSON, files. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../formats/container/lb_container.h"
#include "../formats/import/lb_json.h"
#include "hand_file.h"
#include "lb_test.h"
#include "make_adapter.h"
#include "run_program.h"
#include "small_models.h"

static char prog_folder[256];

static const char *const prog_names[] = { "chat", "lbrt-convert", "lbrt-info", "lbrt-bench", "lbrt-eval", "lbrt-needle" };
enum { PROGRAMS = sizeof prog_names / sizeof prog_names[0] };

static void prog_usage(const char *model)
{
    for (size_t i = 0; i < PROGRAMS; i++) {
        lb_test_case("%s --help, and wrong usage", prog_names[i]);
        const char *const helps[] = { "--help", "-h", "one --help" };
        for (size_t j = 0; j < 3; j++) {
            const prog_result *r = prog_run("", prog_names[i], "%s", helps[j]);
            char start[64];
            snprintf(start, sizeof start, "usage: %s ", prog_names[i]);
            LB_CHECK(r->code == 0 && strncmp(r->out, start, strlen(start)) == 0 && r->err[0] == 0,
                     "%s: %d, '%s'", helps[j], r->code, r->err);
        }
        const char *const wrong[] = { "--no-such-option x", "a b c",           "", "-t", "-t x y",
                                      "--threads=two x",    "-t 99999999999 x" };
        for (size_t j = 0; j < sizeof wrong / sizeof wrong[0]; j++) {
            if (strcmp(prog_names[i], "lbrt-info") == 0 && strstr(wrong[j], "-t")) {
                continue; /* there it is an unknown option, as the first */
            }
            if (strcmp(prog_names[i], "chat") == 0 && wrong[j][0] == 0) {
                continue; /* chat alone talks to the demo model: test_demo */
            }
            const prog_result *r = prog_run("", prog_names[i], "%s", wrong[j]);
            LB_CHECK(r->code == 2 && r->out[0] == 0 && prog_one_line(r->err) &&
                         strncmp(r->err, prog_names[i], strlen(prog_names[i])) == 0,
                     "'%s': %d, '%s'", wrong[j], r->code, r->err);
        }
    }
    static const struct {
        const char *name, *arguments;
    } more[] = {
        { "chat", "--temp warm %s" },
        { "chat", "--kv f17 %s" },
        { "chat", "--stats=1 %s" },
        { "lbrt-convert", "--format q99 %s out" },
        { "lbrt-convert", "--synth tiny a b" },
        { "lbrt-convert", "--tensor x %s out" },
        { "lbrt-convert", "--tensor '*=q99' %s out" },
        { "lbrt-bench", "-p 8,x %s" },
        { "lbrt-bench", "-t 0 %s" },
        { "lbrt-bench", "--kernels --format q99" },
        { "lbrt-bench", "-t 2,257 %s" },
        { "lbrt-bench", "-r 0 %s" },
        { "lbrt-bench", "--kv f17 %s" },
        { "lbrt-eval", "%s" },
        { "lbrt-eval", "--text a --tokens b %s" },
        { "lbrt-eval", "--tokens a --ctx 2 %s" },
        { "lbrt-needle", "%s" },
        { "lbrt-needle", "--text a --kv f16,f17 %s" },
        { "lbrt-needle", "--text a --cue 24 %s" },
    };
    lb_test_case("wrong values of options");
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        char arguments[512];
        const char *at = strstr(more[i].arguments, "%s");
        const size_t n = at ? (size_t)(at - more[i].arguments) : strlen(more[i].arguments);
        snprintf(arguments, sizeof arguments, "%.*s%s%s", (int)n, more[i].arguments, at ? model : "",
                 at ? at + 2 : "");
        const prog_result *r = prog_run("", more[i].name, "%s", arguments);
        LB_CHECK(r->code == 2 && r->out[0] == 0 && prog_one_line(r->err), "%s %s: %d, '%s'", more[i].name,
                 more[i].arguments, r->code, r->err);
    }
}

static void prog_failures(const char *model, const char *tiny)
{
    char bad[8][300];
    size_t bytes, n = 0;
    char *data = lb_test_read(model, &bytes);
    const struct {
        const char *name;
        size_t bytes;
    } cut[] = {
        { "empty", 0 }, { "magic", 8 }, { "header", 64 }, { "half", bytes / 2 }, { "short", bytes - 1 }
    };
    for (; n < 5; n++) {
        snprintf(bad[n], sizeof bad[n], "%s/%s.lbrt", prog_folder, cut[n].name);
        FILE *f = fopen(bad[n], "wb");
        LB_CHECK(f && fwrite(data, 1, cut[n].bytes, f) == cut[n].bytes, "write");
        if (f) {
            fclose(f);
        }
    }
    snprintf(bad[n++], sizeof bad[0], "/nonexistent/model.lbrt");
    snprintf(bad[n++], sizeof bad[0], "%s", prog_folder);
    snprintf(bad[n++], sizeof bad[0], "/dev/null");
    free(data);
    for (size_t i = 0; i < PROGRAMS; i++) {
        lb_test_case("%s says in one line what is wrong with a file", prog_names[i]);
        for (size_t j = 0; j < n; j++) {
            const bool convert = strcmp(prog_names[i], "lbrt-convert") == 0,
                       eval = strcmp(prog_names[i], "lbrt-eval") == 0, needle = strcmp(prog_names[i], "lbrt-needle") == 0;
            const prog_result *r =
                prog_run("", prog_names[i], "%s '%s' %s%s%s", eval ? "--tokens /dev/null" : needle ? "--text /dev/null" : "", bad[j],
                         convert ? "'" : "", convert ? prog_folder : "", convert ? "/x.lbrt'" : "");
            LB_CHECK(r->code == 1 && r->out[0] == 0 && prog_one_line(r->err), "%s: %d, '%s'", bad[j], r->code,
                     r->err);
        }
    }
    lb_test_case(
        "other failures: no tokenizer, too little text, a level that is not there, an output that cannot be");
    const prog_result *r = prog_run("", "chat", "-p hello '%s'", tiny);
    LB_CHECK(r->code == 1 && prog_one_line(r->err) && strstr(r->err, "tokenizer"), "%d, '%s'", r->code,
             r->err);
    r = prog_run("", "lbrt-eval", "--text '%s' '%s'", tiny, tiny);
    LB_CHECK(r->code == 1 && prog_one_line(r->err) && strstr(r->err, "tokenizer"), "%d, '%s'", r->code,
             r->err);
    r = prog_run("", "lbrt-eval", "--tokens /dev/null '%s'", tiny);
    LB_CHECK(r->code == 1 && prog_one_line(r->err), "%d, '%s'", r->code, r->err);
    r = prog_run("", "lbrt-eval", "--text /nonexistent '%s'", model);
    LB_CHECK(r->code == 1 && prog_one_line(r->err) && strstr(r->err, "/nonexistent"), "%d, '%s'", r->code,
             r->err);
    char ids[300];
    snprintf(ids, sizeof ids, "%s/ids", prog_folder);
    FILE *f = fopen(ids, "w");
    LB_CHECK(f && fputs("[1, 2,\n3 -4]", f) >= 0 && fclose(f) == 0, "write");
    r = prog_run("", "lbrt-eval", "--ctx 4 --tokens '%s' '%s'", ids, tiny);
    LB_CHECK(r->code == 1 && prog_one_line(r->err) && strstr(r->err, "'-4]' at byte 9"), "%d, '%s'", r->code, r->err);
    for (size_t i = 0; i < 2; i++) { /* a folder can be opened, but not read */
        r = prog_run("", i ? "lbrt-needle" : "lbrt-eval", "--text '%s' '%s'", prog_folder, model);
        LB_CHECK(r->code == 1 && prog_one_line(r->err) && strstr(r->err, "cannot read"), "%d, '%s'", r->code, r->err);
    }
    r = prog_run("", "chat", "-p hello '%s'", ids);
    LB_CHECK(r->code == 1 && prog_one_line(r->err) && strstr(r->err, "lbrt-convert"), "%d, '%s'", r->code, r->err);
    r = prog_run("", "lbrt-bench", "--kernels --isa z80");
    LB_CHECK(r->code == 1 && prog_one_line(r->err) && strstr(r->err, "z80"), "%d, '%s'", r->code, r->err);
    r = prog_run("LBRT_ISA=z80", "chat", "-p hello '%s'", model);
    LB_CHECK(r->code == 1 && prog_one_line(r->err) && strstr(r->err, "z80"), "%d, '%s'", r->code, r->err);
    r = prog_run("", "lbrt-bench", "--isa z80 '%s'", model);
    LB_CHECK(r->code == 1 && prog_one_line(r->err) && strstr(r->err, "z80"), "%d, '%s'", r->code, r->err);
    r = prog_run("", "chat", "-p hello -c 4 -n 3 '%s'", model);
    LB_CHECK(r->code == 1 && r->err[0], "a prompt longer than the context: %d, '%s'", r->code, r->err);
    r = prog_run("", "lbrt-convert", "--synth no-such-shape '%s/x.lbrt'", prog_folder);
    LB_CHECK(r->code == 1 && prog_one_line(r->err) && strstr(r->err, "no-such-shape"), "%d, '%s'", r->code,
             r->err);
    r = prog_run("", "lbrt-convert", "--synth tiny /nonexistent/folder/x.lbrt");
    LB_CHECK(r->code == 1 && prog_one_line(r->err), "%d, '%s'", r->code, r->err);
}

/* ---- JSON ---- */

static lb_json_doc *prog_json(const prog_result *r)
{
    lb_json_doc *doc = NULL;
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    LB_CHECK(r->code == 0 && r->err[0] == 0, "%d, '%s'", r->code, r->err);
    LB_CHECK(lb_json_parse(r->out, r->out_bytes, &a, &doc, &err) == LBRT_OK, "%s in '%.200s'", err.text,
             r->out);
    return doc;
}

/* Every key of the list is there, as a number. */
static void prog_numbers(const lb_json *node, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const lb_json *v = lb_json_get(node, keys[i]);
        LB_CHECK(v && v->type == LB_JSON_NUMBER, "%s is missing or no number", keys[i]);
    }
}

#define PROG_NUMBERS(node, ...)                                      \
    do {                                                             \
        static const char *const keys_[] = { __VA_ARGS__ };          \
        prog_numbers((node), keys_, sizeof keys_ / sizeof keys_[0]); \
    } while (0)

static bool prog_is(const lb_json *node, const char *key, lb_json_type type)
{
    const lb_json *v = lb_json_get(node, key);
    return LB_CHECK(v && v->type == type, "%s is missing or of another type", key);
}

static void prog_info_json(const char *tiny)
{
    lb_test_case("lbrt-info --json");
    lb_json_doc *doc = prog_json(prog_run("", "lbrt-info", "--json '%s'", tiny));
    const lb_json *root = doc ? lb_json_root(doc) : NULL;
    PROG_NUMBERS(root, "parameters", "bytes", "bits_per_weight");
    struct stat st;
    LB_CHECK(stat(tiny, &st) == 0 && lb_json_number(lb_json_get(root, "bytes"), -1) == (double)st.st_size,
             "bytes");
    if (prog_is(root, "architecture", LB_JSON_STRING) && prog_is(root, "tensors", LB_JSON_ARRAY)) {
        const lb_json *tensors = lb_json_get(root, "tensors");
        LB_CHECK(tensors->n_children == 39, "%zu tensors", tensors->n_children);
        double parameters = 0;
        for (const lb_json *t = tensors->child; t; t = t->next) {
            PROG_NUMBERS(t, "bytes");
            const lb_json *shape = lb_json_get(t, "shape"), *terms = lb_json_get(t, "terms");
            if (prog_is(t, "name", LB_JSON_STRING) && LB_CHECK(shape && shape->n_children == 2, "shape") &&
                LB_CHECK(terms && terms->n_children == 1, "terms")) {
                parameters += shape->child->number * shape->child->next->number;
                LB_CHECK(prog_is(terms->child, "kind", LB_JSON_STRING) &&
                             prog_is(terms->child, "parts", LB_JSON_ARRAY),
                         "a term");
            }
        }
        LB_CHECK(parameters == lb_json_number(lb_json_get(root, "parameters"), -1), "%g parameters",
                 parameters);
    }
    lb_json_free(doc);
    lb_test_case("lbrt-info for people, --tensors, --verify");
    const prog_result *r = prog_run("", "lbrt-info", "--tensors --verify '%s'", tiny);
    LB_CHECK(r->code == 0 && r->err[0] == 0 && strstr(r->out, "layers.2.ffn_down") && strstr(r->out, "q4") &&
                 strstr(r->out, "checksums"),
             "%s", r->out);
    size_t bytes;
    char broken[300], *data = lb_test_read(tiny, &bytes);
    snprintf(broken, sizeof broken, "%s/broken.lbrt", prog_folder);
    data[5000] ^= 1;
    FILE *f = fopen(broken, "wb");
    LB_CHECK(f && fwrite(data, 1, bytes, f) == bytes && fclose(f) == 0, "write");
    free(data);
    LB_CHECK(prog_run("", "lbrt-info", "'%s'", broken)->code == 0, "without --verify the data is not read");
    r = prog_run("", "lbrt-info", "--verify '%s'", broken);
    LB_CHECK(r->code == 1 && r->out[0] == 0 && prog_one_line(r->err) && strstr(r->err, "tok_embed"),
             "%d, '%s'", r->code, r->err);
}

static void prog_bench_json(const char *tiny)
{
    lb_test_case("lbrt-bench --json");
    lb_json_doc *doc =
        prog_json(prog_run("", "lbrt-bench", "-r 1 -n 2 -p 8 -d 0,4 -t 1 --kv f16/f32 --json '%s'", tiny));
    const lb_json *root = doc ? lb_json_root(doc) : NULL, *machine = lb_json_get(root, "machine"),
                  *model = lb_json_get(root, "model");
    LB_CHECK(prog_is(machine, "cpu", LB_JSON_STRING) && prog_is(machine, "isa", LB_JSON_STRING),
             "the machine");
    PROG_NUMBERS(lb_json_get(machine, "read_gbs"), "1");
    PROG_NUMBERS(lb_json_get(machine, "int8_gops"), "1");
    PROG_NUMBERS(model, "bytes", "bits_per_weight");
    prog_is(model, "name", LB_JSON_STRING);
    const lb_json *runs = lb_json_get(root, "runs");
    LB_CHECK(runs && runs->n_children == 4, "%zu runs", runs ? runs->n_children : 0);
    unsigned prefill = 0, decode = 0;
    for (const lb_json *r = runs ? runs->child : NULL; r; r = r->next) {
        PROG_NUMBERS(r, "n", "depth", "threads", "bytes_per_token", "gbs", "bandwidth_share", "int8_share");
        PROG_NUMBERS(lb_json_get(r, "tps"), "median", "min", "max");
        const lb_json *tps = lb_json_get(r, "tps");
        const double low = lb_json_number(lb_json_get(tps, "min"), -1),
                     mid = lb_json_number(lb_json_get(tps, "median"), -1);
        LB_CHECK(low > 0 && mid >= low && lb_json_number(lb_json_get(tps, "max"), -1) >= mid,
                 "tokens per second");
        LB_CHECK(lb_json_is(lb_json_get(r, "kv"), "f16/f32"), "kv");
        prefill += lb_json_is(lb_json_get(r, "kind"), "prefill");
        decode += lb_json_is(lb_json_get(r, "kind"), "decode");
    }
    LB_CHECK(prefill == 2 && decode == 2, "%u and %u", prefill, decode);
    lb_json_free(doc);
}

static void prog_eval_json(const char *tiny, const char *finer)
{
    lb_test_case("lbrt-eval --json, alone and against another model; any batch and thread count gives the "
                 "same digits");
    char ids[300];
    snprintf(ids, sizeof ids, "%s/ids", prog_folder);
    FILE *f = fopen(ids, "w");
    lbrt_token tokens[200];
    sm_tokens(tokens, 200, 512, 9);
    for (size_t i = 0; f && i < 200; i++) {
        fprintf(f, "%d%s", (int)tokens[i], i % 10 == 9 ? "\n" : ", ");
    }
    LB_CHECK(f && fclose(f) == 0, "write");
    double first = 0;
    static const char *const ways[] = { "-t 1", "-t 2 -b 7", "-t 1 -b 1" };
    for (size_t i = 0; i < 3; i++) {
        lb_json_doc *doc =
            prog_json(prog_run("", "lbrt-eval", "--tokens '%s' --ctx 64 %s --json '%s'", ids, ways[i], tiny));
        const lb_json *root = doc ? lb_json_root(doc) : NULL;
        PROG_NUMBERS(root, "tokens", "perplexity", "stderr");
        LB_CHECK(lb_json_number(lb_json_get(root, "tokens"), 0) == 3 * 31, "tokens scored");
        const double p = lb_json_number(lb_json_get(root, "perplexity"), -1);
        first = i ? first : p;
        LB_CHECK(p > 1 && p == first, "%s: %.9g, not %.9g", ways[i], p, first);
        lb_json_free(doc);
    }
    for (size_t i = 0; i < 2; i++) {
        lb_json_doc *doc = prog_json(prog_run(
            "", "lbrt-eval", "--tokens '%s' --ctx 64 --base '%s' --json '%s'", ids, i ? tiny : finer, tiny));
        const lb_json *root = doc ? lb_json_root(doc) : NULL;
        PROG_NUMBERS(root, "tokens", "perplexity", "stderr", "kl_mean", "kl_p99", "top1");
        const double kl = lb_json_number(lb_json_get(root, "kl_mean"), -1),
                     top = lb_json_number(lb_json_get(root, "top1"), -1);
        LB_CHECK(i ? kl == 0 && top == 1 : kl > 0 && kl < 1 && top > 0.3 && top <= 1, "KL %g, top %g", kl,
                 top);
        lb_json_free(doc);
    }
}

/* ---- converting ---- */

static size_t prog_files(const char *folder)
{
    size_t n = 0;
    DIR *d = opendir(folder);
    while (d && readdir(d)) {
        n++;
    }
    if (d) {
        closedir(d);
    }
    return n - 2;
}

static void prog_convert(void)
{
    char folder[300], a[400], b[400];
    snprintf(folder, sizeof folder, "%s/convert", prog_folder);
    snprintf(a, sizeof a, "%s/a.lbrt", folder);
    snprintf(b, sizeof b, "%s/b.lbrt", folder);
    LB_CHECK(mkdir(folder, 0777) == 0, "mkdir");

    lb_test_case("converting twice, with one thread and with two, gives the same bytes");
    const prog_result *r =
        prog_run("", "lbrt-convert", "-q -t 1 --format q4 --tensor '*ffn*=q8' --synth tiny '%s'", a);
    LB_CHECK(r->code == 0 && r->out[0] == 0 && r->err[0] == 0, "-q is quiet: %d, '%s%s'", r->code, r->out,
             r->err);
    r = prog_run("", "lbrt-convert", "-t 2 --format q4 --tensor '*ffn*=q8' --synth tiny '%s'", b);
    LB_CHECK(r->code == 0 && prog_one_line(r->out) && r->err[0] == 0, "%d, '%s%s'", r->code, r->out, r->err);
    size_t a_bytes = 0, b_bytes = 0;
    char *x = lb_test_read(a, &a_bytes), *y = lb_test_read(b, &b_bytes);
    LB_CHECK(x && y && a_bytes == b_bytes && memcmp(x, y, a_bytes) == 0, "%zu and %zu bytes", a_bytes,
             b_bytes);
    free(y);
    LB_CHECK(prog_files(folder) == 2, "%zu files", prog_files(folder));

    lb_test_case("a conversion that fails leaves the old file, and nothing beside it");
    const char *const inputs[] = { "models/stories260K/stories260K.bin",
                                   "models/stories260K/stories260Ktok512.gguf" };
    for (size_t i = 0; i < 2; i++) {
        size_t bytes;
        char broken[400], *data = lb_test_read(lb_test_shared(inputs[i]), &bytes);
        if (!data) {
            lb_test_skip("%s is not there", inputs[i]);
            continue;
        }
        snprintf(broken, sizeof broken, "%s/broken", prog_folder);
        FILE *f = fopen(broken, "wb");
        LB_CHECK(f && fwrite(data, 1, bytes * 2 / 3, f) == bytes * 2 / 3 && fclose(f) == 0, "write");
        free(data);
        r = prog_run("", "lbrt-convert", "'%s' '%s'", broken, a);
        LB_CHECK(r->code == 1 && r->out[0] == 0 && prog_one_line(r->err), "%d, '%s'", r->code, r->err);
    }
    /* a disk that fills up while the tensors are written; 32 blocks of 512 or 1024 bytes */
    char limited[1024];
    snprintf(limited, sizeof limited, "trap '' XFSZ; ulimit -f 32; exec");
    r = prog_run(limited, "lbrt-convert", "--synth tiny '%s'", a);
    LB_CHECK(r->code == 1 && prog_one_line(r->err), "a full disk: %d, '%s'", r->code, r->err);
    y = lb_test_read(a, &b_bytes);
    LB_CHECK(x && y && a_bytes == b_bytes && memcmp(x, y, a_bytes) == 0, "the old file has changed");
    LB_CHECK(prog_files(folder) == 2, "%zu files", prog_files(folder));
    free(x);
    free(y);

    lb_test_case("the lists of formats and shapes; every format converts");
    r = prog_run("", "lbrt-convert", "--shapes");
    LB_CHECK(r->code == 0 && strstr(r->out, "tinyllama-1.1b\n") && strstr(r->out, "tiny\n"), "%s", r->out);
    r = prog_run("", "lbrt-convert", "--formats");
    LB_CHECK(r->code == 0 && strstr(r->out, "f32 ") && strstr(r->out, "q4 "), "%s", r->out);
    char *list = strdup(r->out), *save = NULL;
    strtok_r(list, "\n", &save); /* the head of the table */
    for (char *line; (line = strtok_r(NULL, "\n", &save)) != NULL;) {
        line[strcspn(line, " ")] = 0;
        r = prog_run("", "lbrt-convert", "-q --format %s --synth tiny '%s'", line, a);
        LB_CHECK(r->code == 0, "%s: '%s'", line, r->err);
        r = prog_run("", "lbrt-info", "--verify '%s'", a);
        LB_CHECK(r->code == 0 && strstr(r->out, line), "%s: '%s%s'", line, r->out, r->err);
    }
    free(list);

    lb_test_case("lbrt-convert says what it cannot do with its input, and what had no effect");
    r = prog_run("", "lbrt-convert", "'%s' '%s'", b, a);
    LB_CHECK(r->code == 1 && prog_one_line(r->err) && strstr(r->err, "already"), "a .lbrt file: %d, '%s'", r->code, r->err);
    r = prog_run("", "lbrt-convert", "--tensor 'wk=q8' --tensor '*.attn_k=q8' --synth tiny '%s'", a);
    LB_CHECK(r->code == 0 && prog_one_line(r->err) && strstr(r->err, "'wk'"), "%d, '%s'", r->code, r->err);
    const char *adapter = ad_peft("prog-adapter", "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8}", 1, 4, NULL, NULL);
    char peft[300];
    snprintf(peft, sizeof peft, "%s", adapter);
    lb_json_doc *doc = prog_json(prog_run("", "lbrt-convert", "--json '%s' '%s'", peft, a));
    uint64_t matrices = 0;
    LB_CHECK(doc && lb_json_uint(lb_json_get(lb_json_root(doc), "matrices"), 99, &matrices) && matrices == AD_MATRICES, "an adapter's JSON");
    lb_json_free(doc);
    r = prog_run("", "lbrt-convert", "--outliers 2 '%s' '%s'", peft, a);
    LB_CHECK(r->code == 2 && prog_one_line(r->err), "%d, '%s'", r->code, r->err);
    r = prog_run("", "lbrt-convert", "--calib-tokens 99 --synth tiny '%s'", a);
    LB_CHECK(r->code == 2 && prog_one_line(r->err), "%d, '%s'", r->code, r->err);

    r = prog_run("cd /; ", "lbrt-convert", "-q . '%s'", a);
    LB_CHECK(r->code == 1 && prog_one_line(r->err), "%d, '%s'", r->code, r->err);

    lb_test_case("a path that is no UTF-8, in JSON");
    doc = prog_json(prog_run("", "lbrt-convert", "--json --synth tiny '%s/\xff\"\xc3\xa9\x01.lbrt'", folder));
    const lb_json *file = doc ? lb_json_get(lb_json_root(doc), "file") : NULL;
    LB_CHECK(file && strcmp(file->text + strlen(folder) + 1, "\xef\xbf\xbd\"\xc3\xa9\x01.lbrt") == 0, "'%s'", file ? file->text : "");
    lb_json_free(doc);

    lb_test_case("layers of several terms in every program");
    static const struct {
        const char *options, *shown;
    } sums[] = { { "--format q3 --outliers 2", "packed q3" }, { "--format q3 --lowrank 8", "chain f16*f16 (rank 8)" },
                 { "--format q2 --salient-rows 30", "packed q8 rows" }, { "-q --format s24q8", "packed s24q8" } };
    for (size_t i = 0; i < sizeof sums / sizeof sums[0]; i++) {
        char ids[300];
        snprintf(ids, sizeof ids, "%s", lb_test_temp("ids.txt"));
        FILE *f = fopen(ids, "w");
        for (int t = 1; f && t < 70; t++) {
            fprintf(f, "%d\n", t);
        }
        fclose(f);
        r = prog_run("", "lbrt-convert", "-q %s --synth tiny '%s'", sums[i].options, a);
        LB_CHECK(r->code == 0, "%s: '%s'", sums[i].options, r->err);
        r = prog_run("", "lbrt-info", "--tensors '%s'", a);
        LB_CHECK(r->code == 0 && strstr(r->out, sums[i].shown), "%s: '%s%s'", sums[i].options, r->out, r->err);
        r = prog_run("", "lbrt-bench", "-p 8 -n 4 -r 1 -t 1 --json '%s'", a);
        LB_CHECK(r->code == 0 && strstr(r->out, "\"decode\""), "%s: '%s%s'", sums[i].options, r->out, r->err);
        r = prog_run("", "lbrt-eval", "-q --tokens '%s' --ctx 32 '%s'", ids, a);
        LB_CHECK(r->code == 0, "%s: '%s%s'", sums[i].options, r->out, r->err);
    }

    lb_test_case("pruning what was not 2:4 sparse is worth a warning");
    r = prog_run("", "lbrt-convert", "--format s24q4 --synth tiny '%s'", a);
    LB_CHECK(r->code == 0 && strstr(r->err, "2:4") && prog_one_line(r->err), "%d, '%s'", r->code, r->err);
}

/* A file's names are its maker's: they must not steer the terminal that shows them, nor break what reads JSON. */
static void prog_hostile_names(void)
{
    lb_test_case("lbrt-info: names with control codes and bytes that are no UTF-8");
    static const char evil[] = "a\x1b[2J\xff \xc2\x9b \xc3\xa9 \xe2\x82", shown[] = "a?[2J? ?? \xc3\xa9 ??";
    char path[300];
    snprintf(path, sizeof path, "%s/evil.lbrt", prog_folder);
    hand_file f;
    hand_make(&f);
    hand_add_meta(&f, "model.name", LB_META_STRING, 0, evil, sizeof evil - 1);
    hand_add_meta(&f, "origin", LB_META_STRING, 0, evil, sizeof evil - 1);
    FILE *out = fopen(path, "wb");
    LB_CHECK(out && fwrite(f.data, 1, f.bytes, out) == f.bytes && fclose(out) == 0, "write");
    hand_free(&f);
    const prog_result *r = prog_run("", "lbrt-info", "--tensors '%s'", path);
    const char *first = r->code == 0 ? strstr(r->out, shown) : NULL;
    LB_CHECK(first && strstr(first + 1, shown) && !strchr(r->out, 27), "%d, '%s%s'", r->code, r->out, r->err);
    lb_json_doc *doc = prog_json(prog_run("", "lbrt-info", "--json '%s'", path));
    LB_CHECK(doc && lb_json_is(lb_json_get(lb_json_root(doc), "name"), shown), "the name in JSON");
    lb_json_free(doc);
}

/* ---- chat ---- */

/* The model draws from bytes nearly at random; what it says must be the same but for what steers a terminal. */
static void prog_chat_terminal(const char *micro)
{
    lb_test_case("chat on a terminal: the model's control codes are '?'; elsewhere they are what they are");
    bool escapes = false;
    for (int seed = 1; seed <= 6; seed++) {
        char arguments[400];
        snprintf(arguments, sizeof arguments, "-p hello -n 300 --temp 4 --top-p 1 --top-k 0 --seed %d '%s'", seed, micro);
        const prog_result *r = prog_run("", "chat", "%s", arguments);
        size_t n = r->out_bytes, bytes = 0, m = 0;
        char *expected = malloc(n + 1);
        for (size_t i = 0; i < n; i++) {
            const unsigned char c = (unsigned char)r->out[i];
            const bool second = c == 0xc2 && (unsigned char)r->out[i + 1] < 0xa0;
            expected[m++] = second || (c < 32 && c != '\n' && c != '\t') || c == 127 ? '?' : (char)c;
            escapes = escapes || c == 27;
            i += second;
        }
        LB_CHECK(r->code == 0, "%d: '%s'", r->code, r->err);
        char *got = prog_on_terminal(&bytes, "chat", "%s", arguments);
        if (!got) {
            free(expected);
            lb_test_skip("no terminals here");
            return;
        }
        LB_CHECK(bytes == m && memcmp(got, expected, m) == 0, "seed %d: %zu of %zu bytes: '%s'", seed, bytes, m, got);
        free(got);
        free(expected);
    }
    LB_CHECK(escapes, "the model said no escape in any answer");
}

static void prog_chat_same(const char *path, const char *arguments, const char *expected)
{
    char *first = expected ? strdup(expected) : NULL;
    bool usable;
    const char *isa;
    for (size_t i = 0; (isa = lbrt_isa_name(i, &usable)) != NULL; i++) {
        for (unsigned t = 1; usable && t <= 2; t++) {
            char env[64];
            snprintf(env, sizeof env, "LBRT_ISA=%s", isa);
            const prog_result *r = prog_run(env, "chat", "%s -t %u '%s'", arguments, t, path);
            LB_CHECK(r->code == 0 && r->err[0] == 0, "%s, %u threads: %d, '%s'", isa, t, r->code, r->err);
            if (!first) {
                first = strdup(r->out);
            }
            LB_CHECK(strcmp(r->out, first) == 0, "%s, %u threads: '%s' instead of '%s'", isa, t, r->out,
                     first);
        }
    }
    LB_CHECK(first && strlen(first) > 10, "no text");
    free(first);
}

/* What chat feeds in each turn of a conversation that is longer than its context, by --stats. */
static void prog_chat_forgets(void)
{
    lb_test_case("chat: what is kept when the oldest exchanges are forgotten is fed once, the system message not at all");
    enum { TURNS = 14, ROOM = 160, NEW = 20 };
    char in[300];
    snprintf(in, sizeof in, "%s/in", prog_folder);
    FILE *f = fopen(in, "w");
    for (int i = 1; f && i <= TURNS; i++) {
        fprintf(f, "What is %d + 3?\n", i);
    }
    LB_CHECK(f && fclose(f) == 0, "write");
    const prog_result *r = prog_run("", "chat", "--stats --temp 0 -c %d --system 'Be brief.' <'%s'", (int)ROOM, in);
    size_t turns = 0, again = 0, fed, held, last = 0, first = 0;
    for (const char *at = r->err; (at = strstr(at, "[prompt ")) != NULL; at++, turns++) {
        const char *context = strstr(at, "context ");
        if (!LB_CHECK(sscanf(at, "[prompt %zu", &fed) == 1 && context && sscanf(context, "context %zu", &held) == 1 && held <= ROOM, "'%s'", at)) {
            return;
        }
        if (turns == 0) {
            first = fed;
        } else if (fed > NEW) {
            again++;
            LB_CHECK(last <= NEW && fed + (first - NEW / 2) < held && held <= ROOM / 2 + NEW, "turn %zu: %zu tokens fed, %zu held", turns, fed, held);
        }
        last = fed;
    }
    LB_CHECK(r->code == 0 && turns == TURNS && again >= 2 && again <= 4, "%zu turns, kept tokens fed again in %zu: %s", turns, again, r->err);
}

static void prog_chat(const char *micro)
{
    lb_test_case("chat -p: the same text at every level and with one thread or two");
    prog_chat_same(micro, "-p 'hello there' -n 40 --temp 0", NULL);
    prog_chat_same(
        micro, "-p 'hello there' -n 40 --seed 5 --top-k 20 --system 'be brief' --repeat-penalty 1.2", NULL);
    prog_chat_same(micro, "-p 'hello there' -n 40 --seed 5 --raw --min-p 0.02 --top-p 1 --kv f32", NULL);

    lb_test_case("chat from standard input: /new starts over, the same seed answers the same");
    char in[300];
    snprintf(in, sizeof in, "%s/in", prog_folder);
    FILE *f = fopen(in, "w");
    LB_CHECK(f && fputs("hello\n\n/new\nhello\n", f) >= 0 && fclose(f) == 0, "write");
    const prog_result *r = prog_run("", "chat", "-n 12 --seed 3 '%s' <'%s'", micro, in);
    const size_t half = r->out_bytes / 2;
    LB_CHECK(r->code == 0 && half > 4 && r->out_bytes % 2 == 0 && memcmp(r->out, r->out + half, half) == 0,
             "%d: '%s' '%s'", r->code, r->out, r->err);
    r = prog_run("", "chat", "-n 5 --stats -p hello '%s'", micro);
    LB_CHECK(r->code == 0 && strstr(r->err, "tokens"), "--stats: '%s'", r->err);

    static const struct {
        const char *input, *reference;
    } models[] = {
        { "models/stories260K/stories260K.bin", "models/stories260K/reference.json" },
        { "models/stories260K/stories260Ktok512.gguf", "models/stories260K/reference.json" },
        { "models/TinyStories-656K", "models/TinyStories-656K/reference.json" },
    };
    for (size_t i = 0; i < 3; i++) {
        lb_test_case("chat continues as recorded: %s", models[i].input);
        const char *input = lb_test_shared(models[i].input);
        if (!input) {
            lb_test_skip("it is not there");
            continue;
        }
        char out[300];
        snprintf(out, sizeof out, "%s/shared.lbrt", prog_folder);
        r = prog_run("", "lbrt-convert", "-q -f f32 '%s' '%s'", input, out);
        LB_CHECK(r->code == 0, "%s", r->err);
        size_t bytes;
        char *text = lb_test_read(lb_test_shared(models[i].reference), &bytes);
        const lbrt_allocator a = lb_allocator_or_default(NULL);
        lb_json_doc *doc = NULL;
        if (!LB_CHECK(text && lb_json_parse(text, bytes, &a, &doc, NULL) == LBRT_OK, "no reference")) {
            free(text);
            continue;
        }
        unsigned checked = 0;
        const lb_json *prompts = lb_json_get(lb_json_root(doc), "prompts");
        for (const lb_json *p = prompts ? prompts->child : NULL; p; p = p->next) {
            const lb_json *prompt = lb_json_get(p, "prompt"), *greedy = lb_json_get(p, "greedy_text"),
                          *ids = lb_json_get(p, "greedy_ids");
            if (!prompt || !greedy || !ids || strpbrk(prompt->text, "'<")) {
                continue; /* no text to quote for the shell */
            }
            char arguments[1024], *expected = malloc(greedy->bytes + 2);
            memcpy(expected, greedy->text, greedy->bytes);
            memcpy(expected + greedy->bytes, "\n", 2);
            snprintf(arguments, sizeof arguments, "-p '%s' --raw --temp 0 --kv f32 -n %zu", prompt->text,
                     ids->n_children);
            prog_chat_same(out, arguments, expected);
            free(expected);
            checked++;
        }
        LB_CHECK(checked > 0, "no prompt was checked");
        lb_json_free(doc);
        free(text);
    }
}

void test_programs(void)
{
    lb_test_case("the programs are beside the runner");
    snprintf(prog_folder, sizeof prog_folder, "%s", lb_test_temp("programs"));
    if (!LB_CHECK(prog_find() && mkdir(prog_folder, 0777) == 0, "no folder")) {
        return;
    }
    char tiny[256], finer[256], micro[256];
    for (size_t i = 0; i < PROGRAMS; i++) {
        LB_CHECK(access(prog_path(prog_names[i]), X_OK) == 0, "%s is not there", prog_names[i]);
    }
    if (!prog_runs()) {
        return;
    }
    const char *files[] = { sm_file("tiny", "q4"), sm_file("tiny", "f32"), sm_file("micro", "q8") };
    if (!files[0] || !files[1] || !files[2]) {
        return;
    }
    snprintf(tiny, sizeof tiny, "%s", files[0]);
    snprintf(finer, sizeof finer, "%s", files[1]);
    snprintf(micro, sizeof micro, "%s", files[2]);
    prog_usage(micro);
    prog_failures(micro, tiny);
    prog_info_json(tiny);
    prog_bench_json(tiny);
    prog_eval_json(tiny, finer);
    prog_convert();
    prog_hostile_names();
    prog_chat(micro);
    prog_chat_terminal(micro);
    prog_chat_forgets();
    prog_forget();
}
