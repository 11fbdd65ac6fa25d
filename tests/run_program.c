#include "run_program.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "lb_test.h"

static char prog_dir[512], prog_out[256], prog_err[256];
static prog_result prog_last;

bool prog_find(void)
{
    ssize_t n = readlink("/proc/self/exe", prog_dir, sizeof prog_dir - 1);
    if (n <= 0) {
        return false;
    }
    prog_dir[n] = 0;
    char *slash = strrchr(prog_dir, '/');
    *slash = 0;
    snprintf(prog_out, sizeof prog_out, "%s", lb_test_temp("program.out"));
    snprintf(prog_err, sizeof prog_err, "%s", lb_test_temp("program.err"));
    return true;
}

bool prog_runs(void)
{
    const bool runs = prog_run("", "lbrt-info", "--help")->code != 126;
    if (!runs) {
        lb_test_skip("the programs are for another processor: set LBRT_TEST_RUN to its emulator");
    }
    return runs;
}

const char *prog_path(const char *name)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", prog_dir, name);
    return path;
}

static const char *prog_emulator(void)
{
    const char *run = getenv("LBRT_TEST_RUN");
    return run ? run : "";
}

const prog_result *prog_run(const char *env, const char *name, const char *fmt, ...)
{
    char arguments[2048], command[4096];
    va_list args;
    va_start(args, fmt);
    vsnprintf(arguments, sizeof arguments, fmt, args);
    va_end(args);
    const char *in = strchr(arguments, '<') ? "" : "</dev/null";
    snprintf(command, sizeof command, "%s >'%s' 2>'%s' %s '%s/%s' %s %s", env, prog_out, prog_err, prog_emulator(), prog_dir, name, arguments, in);
    fflush(stdout);
    int status = system(command);
    prog_forget();
    prog_last.code = status != -1 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    prog_last.out = lb_test_read(prog_out, &prog_last.out_bytes);
    prog_last.err = lb_test_read(prog_err, NULL);
    if (!prog_last.out || !prog_last.err) {
        LB_CHECK(false, "%s left no output", command);
        prog_last.code = -1;
        prog_last.out = prog_last.out ? prog_last.out : calloc(1, 1);
        prog_last.err = prog_last.err ? prog_last.err : calloc(1, 1);
    }
    return &prog_last;
}

void prog_forget(void)
{
    free(prog_last.out);
    free(prog_last.err);
    prog_last.out = prog_last.err = NULL;
}

static void prog_command(char *command, size_t cap, const char *name, const char *fmt, va_list args)
{
    char arguments[2048];
    vsnprintf(arguments, sizeof arguments, fmt, args);
    snprintf(command, cap, "exec %s '%s/%s' %s 2>/dev/null", prog_emulator(), prog_dir, name, arguments);
}

char *prog_on_terminal(size_t *bytes, const char *name, const char *fmt, ...)
{
    char command[4096], *got = NULL;
    va_list args;
    va_start(args, fmt);
    prog_command(command, sizeof command, name, fmt, args);
    va_end(args);
    const int ours = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    const char *path = ours >= 0 && grantpt(ours) == 0 && unlockpt(ours) == 0 ? ptsname(ours) : NULL;
    const int theirs = path ? open(path, O_RDWR | O_NOCTTY) : -1;
    struct termios t;
    if (theirs < 0 || tcgetattr(theirs, &t) != 0) {
        close(theirs), close(ours);
        return NULL;
    }
    cfmakeraw(&t);
    tcsetattr(theirs, TCSANOW, &t);
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(theirs, 1);
        close(theirs);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(theirs);
    size_t n = 0;
    ssize_t more = pid > 0;
    while (more > 0) { /* ends with EIO when nobody holds the other side */
        got = realloc(got, n + 4097);
        more = read(ours, got + n, 4096);
        n += more > 0 ? (size_t)more : 0;
        got[n] = 0;
    }
    close(ours);
    waitpid(pid, NULL, 0);
    *bytes = n;
    return got;
}

bool prog_start(prog_talk *t, const char *name, const char *fmt, ...)
{
    char command[4096];
    va_list args;
    va_start(args, fmt);
    prog_command(command, sizeof command, name, fmt, args);
    va_end(args);
    int in[2], out[2];
    if (pipe(in) != 0 || pipe(out) != 0) {
        return false;
    }
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[0]), close(in[1]), close(out[0]), close(out[1]);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    fcntl(in[1], F_SETFD, FD_CLOEXEC);
    fcntl(out[0], F_SETFD, FD_CLOEXEC);
    *t = (prog_talk){ .pid = pid, .in = in[1], .out = out[0] };
    return pid > 0;
}

int prog_end(prog_talk *t, int signal_number)
{
    int status = -1;
    if (signal_number) {
        kill(t->pid, signal_number);
    }
    close(t->in);
    waitpid(t->pid, &status, 0);
    close(t->out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool prog_one_line(const char *text)
{
    const char *end = strchr(text, '\n');
    return end && end != text && end[1] == 0;
}
