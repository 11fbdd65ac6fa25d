/*
 * Running the programs, which lie beside the runner (build/lbrt-test). $LBRT_TEST_RUN is put in front of each command, for runs under an
 * emulator.
 */
#ifndef RUN_PROGRAM_H
#define RUN_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct prog_result {
    int code;
    char *out, *err; /* until the next run */
    size_t out_bytes;
} prog_result;

/* Finds the programs: before anything else, once per test file. */
bool prog_find(void);

/* Whether they run here; else the current case is marked as skipped. */
bool prog_runs(void);

/* Where a program is: "DIR/NAME". Static storage. */
const char *prog_path(const char *name);

/* Runs "NAME arguments" in the shell, with `env` (may be "") in front; standard input is empty unless the arguments have a "<", and a ">" in them takes the output. */
const prog_result *prog_run(const char *env, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Frees what the last run left. */
void prog_forget(void);

/* A program that runs at the same time: what it is told and what it says. Standard error is thrown away. */
typedef struct prog_talk {
    pid_t pid;
    int in, out;
} prog_talk;
bool prog_start(prog_talk *t, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Runs "NAME arguments" with a terminal (that changes nothing) for its standard output and returns what came, to be freed, and its length; NULL: there are none. */
char *prog_on_terminal(size_t *bytes, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Ends it with a signal (0: waits until it ends by itself) and returns its exit status, or -1 if a signal ended it. */
int prog_end(prog_talk *t, int signal_number);

bool prog_one_line(const char *text);

#endif /* RUN_PROGRAM_H */
