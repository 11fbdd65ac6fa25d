/*
 * The demo model that lies in the repository (bench/demo): golden tokens at temperature 0 at every instruction-set level and with one and
 * two threads, the shares of held-out prompts that it must answer, and chat, which takes it when no model is named. It is never absent.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../formats/import/lb_json.h"
#include "../runtime/base/lb_base.h"
#include "lb_test.h"

enum { DEMO_EXCHANGES = 4, DEMO_TEXT = 8192 };

/* A conversation whose answers are recorded: the tokens, as a hash, and what they say. */
typedef struct demo_golden {
    const char *asked[DEMO_EXCHANGES];
    const char *answers[DEMO_EXCHANGES];
    uint64_t tokens;
} demo_golden;

static const demo_golden demo_goldens[] = {
    { { "Hello!", "Tell me a story about a fox and a red kite.", "What was the name of the fox?", "Where did the fox live?" },
      { "Hello! What would you like? A story, a sum, or something about lbrt?",
        "Once upon a time, in a valley, there lived a friendly fox named Mata. One day Mata went to the market with a red kite. "
        "There he met a giraffe named Mata, who had a red kite and nobody to play with. They traded: the kite for the kite. "
        "And they played until night. So Mata learned that it pays to try again, and felt thankful.",
        "The fox was named Mata.",
        "Mata lived in a valley." },
      0xe3852123a9197493ull },
    { { "What is 7 + 5?", "12 - 5", "What is lbrt?", "What is the capital of France?" },
      { "7 + 5 = 12.",
        "12 - 5 = 7.",
        "lbrt is a C library that runs large language models on the CPU, with weights of a few bits each.",
        "I do not know that. I can tell a story, do sums to twenty, or talk about lbrt." },
      0xe97605c615d7c14bull },
    { { "My name is Mira.", "How do I convert a model?", "What is my name?", NULL },
      { "Hello, Mira! What would you like to hear?",
        "Type build/lbrt-convert MODEL OUT.lbrt. MODEL is a GGUF file, a Hugging Face folder or a llama2.c file.",
        "Your name is Mira.",
        NULL },
      0x0835a27a178ceb72ull },
};

static char demo_dir[512]; /* of the programs */

static const char *demo_path(const char *name)
{
    static char path[700];
    snprintf(path, sizeof path, "%s/../bench/demo/%s", demo_dir, name);
    return path;
}

typedef struct demo_answer {
    char text[DEMO_TEXT];
    size_t bytes, tokens;
    lb_hash *hash;
} demo_answer;

static bool demo_on_token(void *user, lbrt_token token, const char *text, size_t bytes)
{
    demo_answer *a = (demo_answer *)user;
    lb_hash_add(a->hash, &token, sizeof token);
    a->tokens++;
    if (bytes && a->bytes + bytes < sizeof a->text) {
        memcpy(a->text + a->bytes, text, bytes);
        a->bytes += bytes;
        a->text[a->bytes] = 0;
    }
    return true;
}

/* Holds the whole conversation, each turn from an empty session in prefill pieces of `batch`. */
static void demo_converse(const lbrt_model *m, const demo_golden *g, uint32_t threads, uint32_t batch, const char *level)
{
    static demo_answer answers[DEMO_EXCHANGES];
    lbrt_message messages[2 * DEMO_EXCHANGES];
    lb_hash hash;
    lb_hash_begin(&hash);
    lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
    so.n_threads = threads;
    so.n_batch = batch;
    lbrt_session *s = NULL;
    if (!LB_CHECK(lbrt_session_create(m, &so, &s, NULL) == LBRT_OK, "no session")) {
        return;
    }
    for (size_t i = 0; i < DEMO_EXCHANGES && g->asked[i]; i++) {
        char text[DEMO_TEXT];
        lbrt_token tokens[512];
        size_t bytes = 0, n = 0;
        messages[2 * i] = (lbrt_message){ "user", g->asked[i] };
        demo_answer *a = &answers[i];
        *a = (demo_answer){ .hash = &hash };
        lbrt_generation how = LBRT_GENERATION_INIT;
        how.max_tokens = 200;
        bool ok = lbrt_chat_format(m, messages, 2 * i + 1, true, text, sizeof text, &bytes, NULL) == LBRT_OK &&
                  lbrt_tokenize(m, text, bytes, LBRT_TOKENIZE_BOS | LBRT_TOKENIZE_SPECIAL, tokens, 512, &n, NULL) == LBRT_OK &&
                  lbrt_rewind(s, 0) == LBRT_OK && lbrt_generate(s, tokens, n, &how, demo_on_token, a) == LBRT_OK;
        LB_CHECK(ok, "%s: %s", g->asked[i], lbrt_session_error(s));
        LB_CHECK(strcmp(a->text, g->answers[i]) == 0, "%s, %u threads: %s\n  gives    %s\n  recorded %s", level, threads, g->asked[i],
                 a->text, g->answers[i]);
        messages[2 * i + 1] = (lbrt_message){ "assistant", a->text };
    }
    uint64_t got = lb_hash_end(&hash);
    LB_CHECK(got == g->tokens, "%s, %u threads: tokens 0x%016llxull instead of 0x%016llxull", level, threads, (unsigned long long)got,
             (unsigned long long)g->tokens);
    lbrt_session_free(s);
}

static void demo_check_goldens(void)
{
    bool usable;
    const char *level;
    for (size_t i = 0; (level = lbrt_isa_name(i, &usable)) != NULL; i++) {
        if (!usable) {
            continue;
        }
        lb_test_case("golden tokens of the demo model, %s, 1 and 2 threads", level);
        lbrt_model_options mo = LBRT_MODEL_OPTIONS_INIT;
        mo.isa = level;
        mo.verify = true;
        lbrt_model *m = NULL;
        lbrt_error err = { LBRT_OK, "" };
        if (!LB_CHECK(lbrt_model_open(demo_path("demo.lbrt"), &mo, &m, &err) == LBRT_OK, "%s", err.text)) {
            continue;
        }
        for (size_t j = 0; j < sizeof demo_goldens / sizeof demo_goldens[0]; j++) {
            demo_converse(m, &demo_goldens[j], 1, 256, level);
            demo_converse(m, &demo_goldens[j], 2, 7, level);
        }
        lbrt_model_close(m);
    }
}

/* ---- the programs ---- */

typedef struct demo_run {
    int code;
    char *out, *err;
} demo_run;

/* Runs "DIR/NAME arguments" (with $LBRT_TEST_RUN in front, for an emulator); free out and err. */
static demo_run demo_program(const char *dir, const char *name, const char *arguments)
{
    char command[4096], out[256], err[256];
    snprintf(out, sizeof out, "%s", lb_test_temp("demo.out"));
    snprintf(err, sizeof err, "%s", lb_test_temp("demo.err"));
    const char *run = getenv("LBRT_TEST_RUN");
    snprintf(command, sizeof command, "%s '%s/%s' %s >'%s' 2>'%s'", run ? run : "", dir, name, arguments, out, err);
    fflush(stdout);
    int status = system(command);
    demo_run r = { status != -1 && WIFEXITED(status) ? WEXITSTATUS(status) : -1, lb_test_read(out, NULL), lb_test_read(err, NULL) };
    if (!r.out || !r.err) {
        r.out = r.out ? r.out : calloc(1, 1);
        r.err = r.err ? r.err : calloc(1, 1);
        LB_CHECK(false, "%s left no output", command);
    }
    return r;
}

static void demo_free(demo_run *r)
{
    free(r->out);
    free(r->err);
}

static void demo_check_chat(void)
{
    lb_test_case("chat without a model takes the demo model");
    demo_run r = demo_program(demo_dir, "chat", "--temp 0 -p 'What is 2 + 2?' </dev/null");
    LB_CHECK(r.code == 0 && strcmp(r.out, "2 + 2 = 4.\n") == 0 && r.err[0] == 0, "%d, '%s', '%s'", r.code, r.out, r.err);
    demo_free(&r);

    lb_test_case("chat answers a pipe line by line and ends");
    const char *text = lb_test_temp("demo.in");
    FILE *f = fopen(text, "w");
    LB_CHECK(f && fputs("What is 2 + 2?\n\nWhat is 9 - 4?\n", f) >= 0 && fclose(f) == 0, "write");
    char arguments[512];
    snprintf(arguments, sizeof arguments, "--temp 0 <'%s'", text);
    r = demo_program(demo_dir, "chat", arguments);
    LB_CHECK(r.code == 0 && strcmp(r.out, "2 + 2 = 4.\n9 - 4 = 5.\n") == 0 && r.err[0] == 0, "%d, '%s', '%s'", r.code, r.out, r.err);
    demo_free(&r);

    lb_test_case("a conversation longer than the context goes on, the oldest exchanges are forgotten");
    text = lb_test_temp("demo.in");
    f = fopen(text, "w");
    for (int i = 0; f && i < 12; i++) {
        fputs("Tell me a story about a fox.\n", f);
    }
    LB_CHECK(f && fputs("What is 2 + 2?\n", f) >= 0 && fclose(f) == 0, "write");
    snprintf(arguments, sizeof arguments, "--temp 0 <'%s'", text);
    r = demo_program(demo_dir, "chat", arguments);
    size_t lines = 0, bytes = strlen(r.out);
    for (const char *p = r.out; (p = strchr(p, '\n')) != NULL; p++) {
        lines++;
    }
    const char *last = "\n2 + 2 = 4.\n";
    LB_CHECK(r.code == 0 && lines == 13 && r.err[0] == 0 && bytes > strlen(last) && strcmp(r.out + bytes - strlen(last), last) == 0,
             "%d, %zu lines, '%s', '%s'", r.code, lines, r.out, r.err);
    demo_free(&r);

    lb_test_case("chat alone in a folder, without the demo model, says that it needs a model");
    char folder[300], program[700];
    snprintf(folder, sizeof folder, "%s", lb_test_temp("demo-folder"));
    snprintf(program, sizeof program, "%s/bin", folder);
    LB_CHECK(mkdir(folder, 0777) == 0 && mkdir(program, 0777) == 0, "mkdir");
    snprintf(program, sizeof program, "%s/chat", demo_dir);
    size_t size;
    char *data = lb_test_read(program, &size);
    snprintf(program, sizeof program, "%s/bin/chat", folder);
    f = fopen(program, "wb");
    LB_CHECK(f && data && fwrite(data, 1, size, f) == size && fclose(f) == 0 && chmod(program, 0755) == 0, "write %s", program);
    free(data);
    snprintf(arguments, sizeof arguments, "%s/bin", folder);
    r = demo_program(arguments, "chat", "-p hello </dev/null");
    LB_CHECK(r.code == 2 && r.out[0] == 0 && strstr(r.err, "no model is given"), "%d, '%s', '%s'", r.code, r.out, r.err);
    demo_free(&r);

    lb_test_case("chat finds the demo model where make install puts it");
    char share[700];
    snprintf(share, sizeof share, "%s/share", folder);
    LB_CHECK(mkdir(share, 0777) == 0, "mkdir");
    snprintf(share, sizeof share, "%s/share/lbrt", folder);
    char real[PATH_MAX], demo[1100];
    LB_CHECK(mkdir(share, 0777) == 0 && realpath(demo_path("demo.lbrt"), real) != NULL, "mkdir");
    snprintf(demo, sizeof demo, "%s/demo.lbrt", share);
    LB_CHECK(symlink(real, demo) == 0, "symlink");
    r = demo_program(arguments, "chat", "--temp 0 -p 'What is 2 + 2?' </dev/null");
    LB_CHECK(r.code == 0 && strcmp(r.out, "2 + 2 = 4.\n") == 0, "%d, '%s', '%s'", r.code, r.out, r.err);
    demo_free(&r);
}

static double demo_share(const lb_json *root, const char *kind, const char *what)
{
    return lb_json_number(lb_json_get(lb_json_get(root, kind), what), -1);
}

static void demo_check_score(void)
{
    lb_test_case("held-out prompts: sums, story questions, facts, what it does not know");
    char arguments[1400];
    snprintf(arguments, sizeof arguments, "--json --prompts '%s' '%s/../bench/demo/demo.lbrt'", demo_path("heldout.txt"), demo_dir);
    demo_run r = demo_program(demo_dir, "demo-score", arguments);
    lb_json_doc *doc = NULL;
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    LB_CHECK(r.code == 0 && r.err[0] == 0 && lb_json_parse(r.out, strlen(r.out), &a, &doc, &err) == LBRT_OK, "%d, '%s', %s", r.code, r.err,
             err.text);
    if (doc) {
        const lb_json *root = lb_json_root(doc);
        static const struct {
            const char *kind;
            double least;
        } need[] = {
            { "sum", 95 },   { "difference", 85 }, { "question", 85 }, { "question-new-words", 75 }, { "not-in-story", 75 }, { "memory", 90 },
            { "fact", 85 },  { "outside", 90 },    { "too-hard", 85 }, { "talk", 85 },
        };
        for (size_t i = 0; i < sizeof need / sizeof need[0]; i++) {
            double got = demo_share(root, need[i].kind, "percent");
            LB_CHECK(got >= need[i].least, "%s: %.1f%%, less than %.1f%%", need[i].kind, got, need[i].least);
        }
        double perplexity = demo_share(root, "story", "perplexity");
        LB_CHECK(perplexity > 1.0 && perplexity < 2.0, "stories: perplexity %g", perplexity);
    }
    lb_json_free(doc);
    demo_free(&r);
}

void test_demo(void)
{
#if defined(LB_TEST_DEMO_ALONE) /* no programs beside: WebAssembly. From the top folder of the checkout */
    snprintf(demo_dir, sizeof demo_dir, "build");
    demo_check_goldens();
    return;
#endif
    ssize_t n = readlink("/proc/self/exe", demo_dir, sizeof demo_dir - 1);
    if (!LB_CHECK(n > 0, "where is this program?")) {
        return;
    }
    demo_dir[n] = 0;
    *strrchr(demo_dir, '/') = 0;
    demo_check_goldens();
    demo_check_chat();
    demo_check_score();
}
