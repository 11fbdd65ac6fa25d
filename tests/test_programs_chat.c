/* Conversations with chat: turns that fail leave them as they were, files keep them, and what cannot be done is said. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../formats/pack/lb_convert.h"
#include "lb_test.h"
#include "run_program.h"
#include "small_models.h"

void test_programs_chat(void);

static char talk_in[300], talk_state[300], talk_micro[300];

/* The lines that chat is told; `n` bytes if it is not 0 */
static void talk_lines(const char *text, size_t n)
{
    FILE *f = fopen(talk_in, "wb");
    n = n ? n : strlen(text);
    LB_CHECK(f && fwrite(text, 1, n, f) == n && fclose(f) == 0, "write");
}

static bool talk_saved(const char *text)
{
    size_t bytes = 0, at = 0;
    char *saved = lb_test_read(talk_state, &bytes);
    const size_t n = strlen(text);
    while (saved && at + n <= bytes && memcmp(saved + at, text, n) != 0) {
        at++;
    }
    const bool found = saved && at + n <= bytes;
    free(saved);
    return found;
}

static void talk_failed_turns(void)
{
    lb_test_case("chat: a turn that does not fit leaves the conversation as it was");
    enum { WORDS = 700 };
    char lines[WORDS * 5 + 100];
    size_t n = (size_t)snprintf(lines, sizeof lines, "My name is Tom.\n");
    for (int i = 0; i < WORDS; i++) {
        n += (size_t)snprintf(lines + n, sizeof lines - n, "word ");
    }
    snprintf(lines + n, sizeof lines - n, "\nWhat is my name?\n");
    talk_lines(lines, 0);
    for (int with_state = 0; with_state < 2; with_state++) {
        remove(talk_state);
        const prog_result *r = prog_run("", "chat", "--temp 0 %s%s <'%s'", with_state ? "--state " : "", with_state ? talk_state : "", talk_in);
        LB_CHECK(r->code == 1 && prog_one_line(r->err) && strstr(r->err, "do not fit"), "%d '%s'", r->code, r->err);
        LB_CHECK(strstr(r->out, "\n\nYour name is Tom.\n"), "'%s'", r->out);
    }
    lines[n] = 0;
    size_t before_bytes = 0, after_bytes = 0;
    char *before = lb_test_read(talk_state, &before_bytes);
    const prog_result *r = prog_run("", "chat", "--temp 0 --state '%s' -p \"$(tail -n 2 '%s' | head -n 1)\"", talk_state, talk_in);
    LB_CHECK(r->code == 1 && prog_one_line(r->err) && r->out[0] == 0, "%d '%s' '%s'", r->code, r->err, r->out);
    char *after = lb_test_read(talk_state, &after_bytes);
    LB_CHECK(before && after && before_bytes == after_bytes && memcmp(before, after, after_bytes) == 0, "the file has changed");
    free(before);
    free(after);
}

static void talk_stopped(void)
{
    lb_test_case("chat: an answer that Ctrl-C stopped is kept in the file, from a pipe and with -p");
    static const char *const ways[] = { "", "-p aaa" };
    for (size_t i = 0; i < 2; i++) {
        prog_talk t; /* this answer goes on until the context is full, for many seconds */
        char c = 0;
        size_t messages = 0;
        remove(talk_state);
        LB_CHECK(prog_start(&t, "chat", "-c 60000 --temp 0 %s --state '%s' '%s'", ways[i], talk_state, talk_micro), "start");
        LB_CHECK((i || write(t.in, "aaa\n", 4) == 4) && read(t.out, &c, 1) == 1, "no answer");
        LB_CHECK(prog_end(&t, SIGINT) == 0, "%s: the program failed", ways[i]);
        char *saved = lb_test_read(talk_state, NULL);
        LB_CHECK(saved && sscanf(saved, "lbrt chat %*d: %zu", &messages) == 1 && messages == 2, "%s: %zu messages were saved", ways[i], messages);
        free(saved);
        const prog_result *r = prog_run("", "chat", "-c 60000 -n 4 --state '%s' -p 'go on' '%s'", talk_state, talk_micro);
        LB_CHECK(r->code == 0 && r->err[0] == 0, "%d '%s'", r->code, r->err);
    }
}

static void talk_system(void)
{
    lb_test_case("chat --system with a conversation that has begun replaces its system message");
    static const struct {
        const char *options, *message; /* what is then in the file */
        bool note;
    } steps[] = { { "--system 'Be brief.'", "system 9\nBe brief.", false }, { "", "system 9\nBe brief.", false },
                  { "--system 'Be brief.'", "system 9\nBe brief.", false }, { "--system 'Be long!'", "system 8\nBe long!", true },
                  { "--system ''", NULL, true },                            { "--system ''", NULL, false },
                  { "--system Again", "system 5\nAgain", true } };
    remove(talk_state);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        const prog_result *r = prog_run("", "chat", "-n 3 --temp 0 -p hello --state '%s' %s '%s'", talk_state, steps[i].options, talk_micro);
        LB_CHECK(r->code == 0 && (steps[i].note ? prog_one_line(r->err) && strstr(r->err, "system message") : r->err[0] == 0), "%zu: %d '%s'", i, r->code,
                 r->err);
        LB_CHECK(steps[i].message ? talk_saved(steps[i].message) : !talk_saved("system "), "%zu: another system message was saved", i);
        char messages[40];
        snprintf(messages, sizeof messages, ": %zu messages", 2 * (i + 1) + (steps[i].message ? 1 : 0));
        LB_CHECK(talk_saved(messages), "%zu: not%s", i, messages);
    }
    char *none = strdup(prog_run("", "chat", "-n 20 --temp 0 -p hello '%s'", talk_micro)->out);
    const prog_result *r = prog_run("", "chat", "-n 20 --temp 0 -p hello --system '' '%s'", talk_micro);
    LB_CHECK(r->code == 0 && strcmp(r->out, none) == 0, "an empty system message is none: '%s' '%s'", r->out, none);
    free(none);
}

/* A message that nobody would see */
static void talk_nowhere(void)
{
    lb_test_case("chat --system is refused where it would go nowhere: with --raw, and without a template");
    const prog_result *r = prog_run("", "chat", "--raw --system brief -p hello");
    LB_CHECK(r->code == 2 && r->out[0] == 0 && strstr(r->err, "--raw"), "%d '%s' '%s'", r->code, r->out, r->err);
    lb_source *source = sm_source("micro");
    source->tokens->chat_template[0] = 0;
    const char *plain = lb_test_temp("plain.lbrt");
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    const lb_convert_options how = { .format = LB_W_Q8, .threads = 1 };
    lbrt_error err = { LBRT_OK, "" };
    LB_CHECK(lb_convert(source, plain, &how, &a, &err) == LBRT_OK, "%s", err.text);
    source->close(source);
    r = prog_run("", "chat", "--system brief -p hello '%s'", plain);
    LB_CHECK(r->code == 1 && r->out[0] == 0 && prog_one_line(r->err) && strstr(r->err, "no chat template"), "%d '%s' '%s'", r->code, r->out, r->err);
    r = prog_run("", "chat", "--system '' -n 1 --temp 0 -p hello '%s'", plain);
    LB_CHECK(r->code == 0 && r->err[0] == 0, "%d '%s'", r->code, r->err);
}

static void talk_again(void)
{
    lb_test_case("chat /again: nothing to repeat is said, and a new process draws anew");
    const prog_result *r = prog_run("", "chat", "-p /again '%s'", talk_micro);
    LB_CHECK(r->code == 1 && r->out[0] == 0 && prog_one_line(r->err) && strstr(r->err, "/again"), "%d '%s' '%s'", r->code, r->out, r->err);
    r = prog_run("", "chat", "--raw -p /again '%s'", talk_micro);
    LB_CHECK(r->code == 1 && r->out[0] == 0 && prog_one_line(r->err), "%d '%s' '%s'", r->code, r->out, r->err);
    talk_lines("/again\nhello\n", 0);
    r = prog_run("", "chat", "-n 5 --system brief '%s' <'%s'", talk_micro, talk_in);
    LB_CHECK(r->code == 1 && r->out[0] == '\n' && r->out_bytes > 2 && prog_one_line(r->err), "%d '%s' '%s'", r->code, r->out, r->err);
    talk_lines("hello\n/again\n/again\n", 0);
    r = prog_run("", "chat", "-n 12 --seed 3 '%s' <'%s'", talk_micro, talk_in);
    char *three = strdup(r->out), *said[3];
    remove(talk_state);
    for (size_t i = 0; i < 3; i++) {
        r = prog_run("", "chat", "-n 12 --seed 3 --state '%s' -p %s '%s'", talk_state, i ? "/again" : "hello", talk_micro);
        LB_CHECK(r->code == 0 && r->err[0] == 0, "%d '%s'", r->code, r->err);
        said[i] = strdup(r->out);
    }
    LB_CHECK(strcmp(said[0], said[1]) != 0 && strcmp(said[1], said[2]) != 0 && strcmp(said[0], said[2]) != 0, "'%s' '%s' '%s'", said[0], said[1], said[2]);
    LB_CHECK(strncmp(three, said[0], strlen(said[0])) == 0 && strncmp(three + strlen(said[0]), said[1], strlen(said[1])) == 0,
             "one process: '%s', three: '%s' '%s'", three, said[0], said[1]);
    LB_CHECK(talk_saved(": 2 messages"), "/again adds no question");
    for (size_t i = 0; i < 3; i++) {
        free(said[i]);
    }
    free(three);
}

static void talk_refused(void)
{
    lb_test_case("chat --state that cannot be written is refused before anything is computed");
    char folder[300], none[400];
    snprintf(folder, sizeof folder, "%s", lb_test_temp("talk.folder"));
    snprintf(none, sizeof none, "%s/none/x", folder);
    const prog_result *r = prog_run("", "chat", "--state '%s' -p hi /nonexistent/model", none); /* the model was not looked at */
    LB_CHECK(r->code == 1 && r->out[0] == 0 && prog_one_line(r->err) && strstr(r->err, none), "%d '%s'", r->code, r->err);
    r = prog_run("", "chat", "--state '%s/x' -p hi /nonexistent/model", talk_micro);
    LB_CHECK(r->code == 1 && prog_one_line(r->err) && strstr(r->err, talk_micro), "%d '%s'", r->code, r->err);
    r = prog_run("", "chat", "--state %0300d -p hi /nonexistent/model", 1);
    LB_CHECK(r->code == 1 && prog_one_line(r->err) && strstr(r->err, "00001: "), "%d '%s'", r->code, r->err);
    r = prog_run("", "chat", "--state '' -p hi '%s'", talk_micro);
    LB_CHECK(r->code == 2 && prog_one_line(r->err) && strstr(r->err, "--state"), "%d '%s'", r->code, r->err);
    remove(talk_state);
    r = prog_run("", "chat", "--state '%s' -p hi /nonexistent/model", talk_state);
    char temp[310];
    snprintf(temp, sizeof temp, "%s.new", talk_state);
    LB_CHECK(r->code == 1 && access(talk_state, F_OK) != 0 && access(temp, F_OK) != 0, "%d: a file is left", r->code);

    lb_test_case("chat: a line with a NUL byte is refused, the others are answered");
    static const char lines[] = "hello\nhel\0lo\nhello\n";
    talk_lines(lines, sizeof lines - 1);
    r = prog_run("", "chat", "-n 6 --state '%s' '%s' <'%s'", talk_state, talk_micro, talk_in);
    LB_CHECK(r->code == 1 && prog_one_line(r->err) && strstr(r->err, "NUL byte, at byte 3"), "%d '%s'", r->code, r->err);
    LB_CHECK(talk_saved(": 4 messages") && !talk_saved("user 3\n"), "the line was taken");
}

void test_programs_chat(void)
{
    lb_test_case("programs and models");
    snprintf(talk_in, sizeof talk_in, "%s", lb_test_temp("talk.in"));
    snprintf(talk_state, sizeof talk_state, "%s", lb_test_temp("talk.state"));
    const char *micro = sm_file("micro", "q8");
    if (!LB_CHECK(micro && prog_find(), "no model") || !prog_runs()) {
        return;
    }
    snprintf(talk_micro, sizeof talk_micro, "%s", micro);
    talk_failed_turns();
    talk_stopped();
    talk_system();
    talk_nowhere();
    talk_again();
    talk_refused();
    remove(talk_state);
    prog_forget();
}
