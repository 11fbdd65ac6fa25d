/*
 * A conversation in a file, and the process that holds it killed: a new process goes on as if nothing had been, bit for bit. Files that are
 * damaged, or of something else, are refused by the program with one line and status 1.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lb_test.h"
#include "run_program.h"
#include "small_models.h"

void test_killed(void);

static char killed_model[300], killed_other[300], killed_state[300], killed_in[300];

static const char *const killed_lines[] = { "hello there\n", "and what then?\n", "go on\n", "more of it\n" };
enum { KILLED_LINES = sizeof killed_lines / sizeof killed_lines[0] };

static void killed_input(size_t from, size_t to)
{
    FILE *f = fopen(killed_in, "w");
    for (size_t i = from; f && i < to; i++) {
        fputs(killed_lines[i], f);
    }
    LB_CHECK(f && fclose(f) == 0, "write");
}

static void killed_write(const char *path, const char *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    LB_CHECK(f && fwrite(data, 1, n, f) == n, "write");
    if (f) {
        fclose(f);
    }
}

static bool killed_say(const prog_talk *t, const char *line)
{
    const size_t n = strlen(line);
    return write(t->in, line, n) == (ssize_t)n;
}

/* Waits for a byte of what the program says, or until it has said nothing for a minute. */
static bool killed_hear(const prog_talk *t, char *c)
{
    struct pollfd p = { .fd = t->out, .events = POLLIN };
    return poll(&p, 1, 60000) == 1 && read(t->out, c, 1) == 1;
}

static bool killed_wait_file(const char *path)
{
    for (unsigned i = 0; i < 60000; i++) {
        if (access(path, R_OK) == 0) {
            return true;
        }
        usleep(1000);
    }
    return false;
}

/* Says all lines in one process, then the same with a process that is killed while it answers the second and another that goes on. */
static void killed_continue(const char *options)
{
    lb_test_case("save, SIGKILL, restore, go on: chat %s", options);
    remove(killed_state);
    killed_input(0, KILLED_LINES);
    const prog_result *r = prog_run("", "chat", "%s --state '%s' '%s' <'%s'", options, killed_state, killed_model, killed_in);
    LB_CHECK(r->code == 0 && r->err[0] == 0, "%d '%s'", r->code, r->err);
    char *all = strdup(r->out);
    size_t whole_bytes = 0, bytes = 0, messages = 0;
    char *whole = lb_test_read(killed_state, &whole_bytes);

    remove(killed_state);
    prog_talk t;
    char c = 0;
    LB_CHECK(prog_start(&t, "chat", "%s --state '%s' '%s'", options, killed_state, killed_model) && killed_say(&t, killed_lines[0]) &&
                 killed_hear(&t, &c) && c == all[0] && killed_wait_file(killed_state), "the first answer was not saved");
    LB_CHECK(killed_say(&t, killed_lines[1]), "the second line was not heard");
    LB_CHECK(prog_end(&t, SIGKILL) == -1, "the process ended by itself");

    /* The answer that was under way is as if never begun, or it was over before the signal came. */
    char *saved = lb_test_read(killed_state, &bytes);
    LB_CHECK(saved && sscanf(saved, "lbrt chat %*d: %zu", &messages) == 1 && (messages == 2 || messages == 4), "%zu messages were saved", messages);
    free(saved);
    killed_input(messages / 2, KILLED_LINES);
    r = prog_run("", "chat", "%s --state '%s' '%s' <'%s'", options, killed_state, killed_model, killed_in);
    LB_CHECK(r->code == 0 && r->err[0] == 0 && r->out_bytes > 2 && r->out_bytes < strlen(all) &&
                 strcmp(all + strlen(all) - r->out_bytes, r->out) == 0, "%d '%s': '%s' is not the end of '%s'", r->code, r->err, r->out, all);
    char *after = lb_test_read(killed_state, &bytes);
    LB_CHECK(after && whole && bytes == whole_bytes && memcmp(after, whole, bytes) == 0, "keys, values or tokens differ: files of %zu and %zu bytes", bytes,
             whole_bytes);
    free(after);

    remove(killed_state);
    size_t said = 0;
    for (size_t i = 0; i < KILLED_LINES; i++) { /* a process for each turn, the line without its end */
        r = prog_run("", "chat", "%s --state '%s' '%s' -p '%.*s'", options, killed_state, killed_model, (int)strcspn(killed_lines[i], "\n"),
                     killed_lines[i]);
        LB_CHECK(r->code == 0 && r->err[0] == 0 && strncmp(all + said, r->out, r->out_bytes) == 0, "-p %zu: %d '%s': '%s'", i, r->code, r->err, r->out);
        said += r->out_bytes;
    }
    after = lb_test_read(killed_state, &bytes);
    LB_CHECK(said == strlen(all) && after && bytes == whole_bytes && memcmp(after, whole, bytes) == 0, "-p: files of %zu and %zu bytes", bytes,
             whole_bytes);
    free(all);
    free(whole);
    free(after);
}

/* Killed at any moment, also while it writes: the file is that of a conversation. */
static void killed_anywhere(void)
{
    lb_test_case("SIGKILL at any moment leaves a conversation");
    for (unsigned i = 0; i < 8; i++) {
        prog_talk t;
        remove(killed_state);
        if (!LB_CHECK(prog_start(&t, "chat", "-n 6 --temp 0 --state '%s' '%s'", killed_state, killed_model), "start")) {
            return;
        }
        LB_CHECK(killed_say(&t, "one\n") && killed_wait_file(killed_state), "the first answer was not saved");
        for (unsigned j = 0; j < 6; j++) {
            killed_say(&t, "two\n");
        }
        usleep((useconds_t)(lb_test_random() % 8000));
        prog_end(&t, SIGKILL);
        const prog_result *r = prog_run("", "chat", "-n 6 --temp 0 --state '%s' '%s'", killed_state, killed_model);
        LB_CHECK(r->code == 0 && r->err[0] == 0, "%d '%s'", r->code, r->err);
    }
}

static void killed_refused(const char *options, const char *model, const char *what, const char *said)
{
    const prog_result *r = prog_run("", "chat", "%s --state '%s' '%s'", options, killed_state, model);
    LB_CHECK(r->code == 1 && r->out[0] == 0 && prog_one_line(r->err) && strstr(r->err, said), "%s: %d '%s' '%s'", what, r->code, r->out, r->err);
}

static void killed_damaged(void)
{
    lb_test_case("a damaged or foreign file is refused by chat");
    remove(killed_state);
    killed_input(0, 2);
    const prog_result *r = prog_run("", "chat", "-n 80 --kv q4 --temp 0 --state '%s' '%s' <'%s'", killed_state, killed_model, killed_in);
    LB_CHECK(r->code == 0, "%d '%s'", r->code, r->err);
    killed_refused("--kv q4", killed_other, "another model", "model");
    killed_refused("", killed_model, "another KV format", "KV format");
    killed_refused("--kv q4 --window 100", killed_model, "another window", "window");
    killed_refused("--kv q4 -c 64", killed_model, "a smaller context", "context");
    size_t bytes = 0;
    char *data = lb_test_read(killed_state, &bytes);
    if (!LB_CHECK(data && bytes > 1000, "%zu bytes", bytes)) {
        return;
    }
    for (unsigned i = 0; i < 60; i++) { /* every byte of the beginning counts; then bytes anywhere, cut off and longer files */
        const size_t at = i < 40 ? 3 * i : (size_t)(lb_test_random() % bytes);
        const char old = data[at];
        data[at] = (char)(data[at] ^ (1 << lb_test_random() % 8));
        killed_write(killed_state, data, bytes);
        data[at] = old;
        char what[40];
        snprintf(what, sizeof what, "byte %zu", at);
        killed_refused("--kv q4", killed_model, what, killed_state);
    }
    const size_t lengths[] = { 0, 1, 30, bytes / 3, bytes / 2, bytes - 1 };
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        killed_write(killed_state, data, lengths[i]);
        killed_refused("--kv q4", killed_model, "cut off", killed_state);
    }
    killed_write(killed_state, data, bytes + 1); /* with the NUL behind it */
    killed_refused("--kv q4", killed_model, "longer", killed_state);
    killed_write(killed_state, data, bytes);
    r = prog_run("", "chat", "--kv q4 --state '%s' '%s'", killed_state, killed_model);
    LB_CHECK(r->code == 0 && r->err[0] == 0, "the file itself: %d '%s'", r->code, r->err);
    free(data);
}

void test_killed(void)
{
    lb_test_case("programs and models");
    const char *model = sm_file("micro", "q8");
    snprintf(killed_model, sizeof killed_model, "%s", model ? model : "");
    const char *other = sm_file("micro", "f32");
    snprintf(killed_other, sizeof killed_other, "%s", other ? other : "");
    snprintf(killed_state, sizeof killed_state, "%s", lb_test_temp("killed.state"));
    snprintf(killed_in, sizeof killed_in, "%s", lb_test_temp("killed.in"));
    if (!LB_CHECK(model && other && prog_find(), "no model") || !prog_runs()) {
        return;
    }
    killed_continue("-n 90 --seed 4");
    killed_continue("-n 90 --seed 4 --kv q4 -t 2");
    killed_continue("-n 60 --temp 0 --kv q8/q2 --window 80");
    killed_anywhere();
    killed_damaged();
    remove(killed_state);
    prog_forget();
}
