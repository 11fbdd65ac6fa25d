/*
 * chat: talk to a model in a terminal. Uses the public header only; read it, with chat_history.c, as an example of an application.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../include/lbrt.h"
#include "chat_history.h"
#include "lb_args.h"

static const char program[] = "chat";

/* The session that Ctrl-C cancels while an answer is being written; at the prompt Ctrl-C ends the program as usual. */
static lbrt_session *volatile answering;

static void on_interrupt(int signal_number)
{
    lbrt_session *s = answering;
    if (s) {
        lbrt_cancel(s);
    } else {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
    }
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct chat_options {
    const char *prompt, *system, *kv, *state;
    lb_arg_strings adapters;
    uint32_t n, threads, context, window;
    lbrt_sampling sampling;
    bool raw, stats, byte_tables;
} chat_options;

/* An answer on its way to the terminal, kept for the conversation. */
typedef struct chat_answer {
    lbrt_utf8 gate;
    char *text;
    size_t bytes, cap;
    size_t tokens;
    double first; /* when the first token came */
    struct chat_state *c;
} chat_answer;

/* What the session holds, so that a turn feeds only what is new. */
typedef struct chat_state {
    const lbrt_model *model;
    lbrt_session *session;
    const chat_options *o;
    lbrt_token *held;
    size_t n_held;
    uint64_t again; /* how often /again was asked for since the last question */
} chat_state;

static void hold(chat_state *c, const lbrt_token *tokens, size_t n)
{
    c->held = (lbrt_token *)chat_grow(c->held, (c->n_held + n) * sizeof *tokens);
    memcpy(c->held + c->n_held, tokens, n * sizeof *tokens);
    c->n_held += n;
}

/*
 * The model's words (whole code points), on a terminal without what would steer it: escape sequences may be learned, or be what a file is made for. Elsewhere as
 * they are.
 */
static void show(const char *text, size_t n)
{
    const bool terminal = isatty(1);
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)text[i];
        const bool second = c == 0xc2 && i + 1 < n && (unsigned char)text[i + 1] < 0xa0; /* U+0080 to U+009F */
        const bool steers = (c < 32 && c != '\n' && c != '\t') || c == 127 || second;
        putchar(terminal && steers ? '?' : c);
        i += terminal && second;
    }
    fflush(stdout);
}

static bool on_token(void *user, lbrt_token token, const char *text, size_t bytes)
{
    chat_answer *a = (chat_answer *)user;
    if (a->tokens++ == 0) {
        a->first = now();
    }
    hold(a->c, &token, 1);
    char *out = (char *)chat_grow(NULL, 3 * (bytes + 4));
    size_t n = bytes ? lbrt_utf8_push(&a->gate, text, bytes, out) : 0;
    show(out, n);
    if (a->bytes + n + 1 > a->cap) {
        a->cap = 2 * (a->bytes + n + 64);
        a->text = (char *)chat_grow(a->text, a->cap);
    }
    memcpy(a->text + a->bytes, out, n);
    a->bytes += n;
    a->text[a->bytes] = 0;
    free(out);
    return !ferror(stdout); /* what cannot be said need not be computed */
}

static lbrt_token *tokenize(const lbrt_model *model, const char *text, unsigned flags, size_t *n)
{
    lbrt_error err;
    lbrt_token *tokens = NULL;
    lbrt_status s = lbrt_tokenize(model, text, strlen(text), flags, NULL, 0, n, &err);
    if (s == LBRT_ERR_BUFFER || s == LBRT_OK) {
        tokens = (lbrt_token *)chat_grow(NULL, *n * sizeof *tokens);
        s = lbrt_tokenize(model, text, strlen(text), flags, tokens, *n, n, &err);
    }
    if (s != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    return tokens;
}

static void print_stats(size_t prompt, double t0, const chat_answer *a, size_t held, size_t room)
{
    double end = now();
    double prefill = (a->tokens ? a->first : end) - t0, decode = a->tokens > 1 ? end - a->first : 0;
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    fprintf(stderr, "\n[prompt %zu tokens in %.2f s, %.1f/s; answer %zu tokens, %.1f/s; context %zu of %zu; peak memory %.0f MB]\n",
            prompt, prefill, prefill > 0 ? (double)prompt / prefill : 0.0, a->tokens,
            decode > 0 ? (double)(a->tokens - 1) / decode : 0.0, held, room, (double)use.ru_maxrss / 1024.0);
}

/* Makes the session hold `tokens` (reusing the common beginning) and generates, with `draw` added to the seed. The answer's text is the caller's. */
static lbrt_status answer(chat_state *c, const lbrt_token *tokens, size_t n, uint64_t draw, chat_answer *a)
{
    size_t same = 0, most = lbrt_session_length(c->session);
    most = most < c->n_held ? most : c->n_held;
    while (same < most && same + 1 < n && c->held[same] == tokens[same]) {
        same++;
    }
    lbrt_status s = lbrt_rewind(c->session, same);
    if (s == LBRT_ERR_STATE) { /* with a window: what was there is gone */
        same = 0;
        s = lbrt_rewind(c->session, 0);
    }
    c->n_held = same;
    hold(c, tokens + same, n - same);
    a->c = c;
    lbrt_generation how = LBRT_GENERATION_INIT;
    lbrt_sampling sampling = c->o->sampling;
    sampling.seed += draw;
    how.sampling = &sampling;
    how.max_tokens = c->o->n;
    double t0 = now();
    if (s == LBRT_OK) {
        answering = c->session;
        s = lbrt_generate(c->session, tokens + same, n - same, &how, on_token, a);
        answering = NULL;
    }
    char rest[64];
    size_t m = lbrt_utf8_push(&a->gate, NULL, 0, rest);
    show(rest, m);
    if (c->o->stats) {
        print_stats(n - same, t0, a, lbrt_session_length(c->session), lbrt_session_capacity(c->session));
    }
    if (s != LBRT_OK && s != LBRT_CANCELLED) {
        fprintf(stderr, "\n%s: %s\n", program, lbrt_session_error(c->session));
    }
    return s;
}

/* The first n messages as tokens, without `forgotten` of them behind the system message. */
static lbrt_token *format_history(const chat_state *c, const chat_history *h, size_t n, size_t forgotten, size_t *n_tokens)
{
    const size_t keep = history_kept(h), left = n - forgotten;
    lbrt_message *messages = (lbrt_message *)chat_grow(NULL, left * sizeof *messages);
    for (size_t i = 0; i < left; i++) {
        messages[i] = h->messages[i < keep ? i : i + forgotten];
    }
    lbrt_error err;
    size_t bytes;
    char *text = NULL;
    lbrt_status s = lbrt_chat_format(c->model, messages, left, true, NULL, 0, &bytes, &err);
    if (s == LBRT_ERR_BUFFER || s == LBRT_OK) { /* OK: no byte at all */
        text = (char *)chat_grow(NULL, bytes + 1);
        s = lbrt_chat_format(c->model, messages, left, true, text, bytes, &bytes, &err);
    }
    if (s != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    text[bytes] = 0;
    lbrt_token *tokens = tokenize(c->model, text, LBRT_TOKENIZE_BOS | LBRT_TOKENIZE_SPECIAL, n_tokens);
    free(text);
    free(messages);
    return tokens;
}

/*
 * The conversation (its first n messages) as tokens. If it leaves less than a quarter of the context for the answer, the oldest exchanges are
 * left out. What is behind them is then at other places in the text, so all but the system message must be computed anew: therefore more is
 * left out than would have to be, until half of the context is free, and the turns that follow feed only what is new. How many messages that
 * were is told in *forgotten; they go from the history only with a turn that came to something.
 */
static lbrt_token *fit_history(const chat_state *c, const chat_history *h, size_t n, size_t *forgotten, size_t *n_tokens)
{
    const size_t room = lbrt_session_capacity(c->session), keep = history_kept(h);
    *forgotten = 0;
    lbrt_token *tokens = format_history(c, h, n, 0, n_tokens);
    const size_t most = *n_tokens + room / 4 > room ? room / 2 : room;
    while (*n_tokens > most && n - *forgotten >= keep + 3) {
        *forgotten += 2;
        free(tokens);
        tokens = format_history(c, h, n, *forgotten, n_tokens);
    }
    return tokens;
}

/* A line that is not answered: why, and the end of the line that whoever reads a pipe waits for. */
__attribute__((format(printf, 3, 4))) static lbrt_status refuse(const chat_state *c, lbrt_status s, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
    if (!c->o->prompt) {
        putchar('\n');
        fflush(stdout);
    }
    return s;
}

/*
 * A line of the user's, or (line == NULL) the last question once more. The history gets the answer, also one that was stopped; if there is none it is
 * as it was.
 */
static lbrt_status take_question(chat_state *c, chat_history *h, const char *line, bool formatted)
{
    uint64_t draw = 0;
    if (line) {
        c->again = 0;
        if (formatted) {
            history_add(h, "user", line);
        }
    } else { /* the answer that is replaced has its part in the draw, as a new process counts from 1 */
        draw = history_answer_sum(h) + ++c->again;
    }
    const size_t asked = h->n - (line ? 0 : 1), room = lbrt_session_capacity(c->session);
    size_t n, forgotten = 0;
    lbrt_token *tokens = formatted ? fit_history(c, h, asked, &forgotten, &n) : tokenize(c->model, line, LBRT_TOKENIZE_BOS, &n);
    lbrt_status s;
    chat_answer a = { .tokens = 0 };
    if (n == 0) {
        s = refuse(c, LBRT_ERR_ARGUMENT, "there is nothing to continue");
    } else if (n > room) { /* known before the session is touched */
        s = refuse(c, LBRT_ERR_CONTEXT_FULL, "%zu tokens do not fit: the context has %zu", n, room);
    } else {
        s = answer(c, tokens, n, draw, &a);
        putchar('\n');
        fflush(stdout); /* whoever reads a pipe waits for it */
        s = ferror(stdout) ? LBRT_ERR_IO : s;
    }
    if (s == LBRT_OK || s == LBRT_CANCELLED) {
        history_drop(h, asked, h->n - asked);
        history_drop(h, history_kept(h), forgotten);
        if (formatted) {
            history_add(h, "assistant", a.text ? a.text : "");
        }
    } else if (formatted && line) {
        history_drop(h, h->n - 1, 1); /* the turn did not happen */
    }
    free(tokens);
    free(a.text);
    return s;
}

/* One line of the user's: a command, or something to answer. A file that keeps the conversation has the turn when this returns. */
static lbrt_status take_turn(chat_state *c, chat_history *h, const char *line, bool formatted)
{
    lbrt_status s = LBRT_OK;
    const bool again = strcmp(line, "/again") == 0;
    if (strcmp(line, "/new") == 0) {
        history_drop(h, history_kept(h), h->n - history_kept(h));
        c->n_held = 0;
        c->again = 0;
    } else if (again && (!formatted || h->n < history_kept(h) + 2)) {
        s = refuse(c, LBRT_ERR_STATE, "/again: there is no answer to repeat");
    } else { /* after /again the question is still in the session: only the answer is new */
        s = take_question(c, h, again ? NULL : line, formatted);
    }
    if (c->o->state && (s == LBRT_OK || s == LBRT_CANCELLED)) {
        history_save(c->o->state, h, c->session, c->held, c->n_held);
    }
    return s;
}

/* Turns of a person or of what writes to a pipe, until there are no more. The status is that of the last turn that failed. */
static lbrt_status converse(chat_state *c, chat_history *h, const lbrt_model_info *info, bool formatted)
{
    const bool terminal = isatty(0);
    if (terminal) {
        fprintf(stderr, "%s (%s, %.1f MB, %s). %s /again answers anew, /new starts over, Ctrl-C stops an answer, Ctrl-D ends.\n", info->name, info->architecture,
                (double)info->file_bytes * 1e-6, info->isa,
                formatted ? "Ask something." : "This model has no chat template: it continues what you write.");
    }
    char *line = NULL;
    size_t cap = 0;
    lbrt_status failed = LBRT_OK;
    for (;;) {
        if (terminal) {
            fprintf(stderr, "\n> ");
        }
        ssize_t got = getline(&line, &cap, stdin);
        if (got < 0) {
            break;
        }
        while (got > 0 && (line[got - 1] == '\n' || line[got - 1] == '\r')) {
            line[--got] = 0;
        }
        if (got > 0) {
            const bool text = strlen(line) == (size_t)got;
            const lbrt_status s = text ? take_turn(c, h, line, formatted)
                                       : refuse(c, LBRT_ERR_ARGUMENT, "a line with a NUL byte, at byte %zu, is no text", strlen(line));
            failed = s == LBRT_OK || s == LBRT_CANCELLED ? failed : s;
        }
        if (ferror(stdout)) { /* nobody hears the rest */
            break;
        }
    }
    free(line);
    return failed;
}

static lbrt_status talk(chat_state *c, const lbrt_model_info *info)
{
    const bool formatted = info->has_chat_template && !c->o->raw;
    chat_history h = { NULL, 0 };
    if (c->o->state) {
        history_load(c->o->state, &h, c->session, &c->held, &c->n_held);
    }
    const bool begun = h.n > 0;
    if (formatted && c->o->system && history_set_system(&h, c->o->system) && begun) {
        fprintf(stderr, "%s: note: the conversation in %s goes on %s\n", program, c->o->state,
                *c->o->system ? "with this system message, which is another than it had" : "without a system message");
    }
    if (c->o->prompt && !formatted && strcmp(c->o->prompt, "/new") != 0 && strcmp(c->o->prompt, "/again") != 0) {
        fputs(c->o->prompt, stdout); /* a continuation reads on from its beginning */
    }
    const lbrt_status s = c->o->prompt ? take_turn(c, &h, c->o->prompt, formatted) : converse(c, &h, info, formatted);
    history_drop(&h, 0, h.n);
    free(h.messages);
    return s;
}

/* FILE or FILE:SCALE; a colon that no number follows belongs to the name */
static lbrt_adapter *attach_adapter(const lbrt_model *model, lbrt_session *session, const char *text)
{
    char path[4096];
    float scale = 1.0f;
    snprintf(path, sizeof path, "%s", text);
    char *colon = strrchr(path, ':'), *end;
    if (colon && colon[1]) {
        const float value = strtof(colon + 1, &end);
        if (*end == 0) {
            scale = value;
            *colon = 0;
        }
    }
    lbrt_adapter *a;
    lbrt_error err;
    if (lbrt_adapter_open(model, path, &a, &err) != LBRT_OK) {
        lb_program_fail_file(program, path, err.text);
    }
    if (lbrt_adapter_attach(session, a, scale) != LBRT_OK) {
        lb_program_fail_file(program, path, lbrt_session_error(session));
    }
    return a;
}

/*
 * The demo model, for a chat that is given none: beside the sources that this program was built from (BUILD/chat, bench/demo/demo.lbrt),
 * or where `make install` put both (PREFIX/bin/chat, PREFIX/share/lbrt/demo.lbrt). NULL if it is in neither place.
 */
static const char *find_demo(const char *argv0, char *path, size_t cap)
{
    static const char *const places[] = { "../bench/demo/demo.lbrt", "../share/lbrt/demo.lbrt" };
    char folder[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1); /* Linux; elsewhere the name that it was called by */
    snprintf(folder + (n > 0 ? n : 0), sizeof folder - (size_t)(n > 0 ? n : 0), "%s", n > 0 ? "" : argv0);
    char *slash = strrchr(folder, '/');
    for (size_t i = 0; slash && i < sizeof places / sizeof places[0]; i++) {
        slash[1] = 0;
        int length = snprintf(path, cap, "%s%s", folder, places[i]);
        if (length > 0 && (size_t)length < cap && access(path, R_OK) == 0) {
            return path;
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    chat_options o = { .sampling = LBRT_SAMPLING_INIT };
    o.sampling.temperature = 0.8f;
    o.sampling.top_p = 0.95f;
    o.sampling.top_k = 40;
    uint64_t seed = (uint64_t)time(NULL);
    const lb_arg args[] = {
        { "-p", "--prompt", LB_ARG_STRING, &o.prompt, "TEXT", "answer this and end; with --state this is one more turn" },
        { "-n", "--tokens", LB_ARG_UINT, &o.n, "N", "at most N tokens per answer (default: until it ends)" },
        { "-t", "--threads", LB_ARG_UINT, &o.threads, "N", "threads (default: all processors, at most 16)" },
        { "-c", "--context", LB_ARG_UINT, &o.context, "N", "context length in tokens (default: the model's, at most 4096); when less\n"
          "                           than a quarter is left the oldest exchanges are forgotten, until half is free" },
        { "--temp", NULL, LB_ARG_FLOAT, &o.sampling.temperature, "T", "temperature (default 0.8); 0: always the likeliest token" },
        { "--top-p", NULL, LB_ARG_FLOAT, &o.sampling.top_p, "P", "nucleus sampling (default 0.95)" },
        { "--top-k", NULL, LB_ARG_UINT, &o.sampling.top_k, "K", "sample among the K likeliest (default 40; 0: all)" },
        { "--min-p", NULL, LB_ARG_FLOAT, &o.sampling.min_p, "P", "drop tokens less likely than P times the likeliest" },
        { "--repeat-penalty", NULL, LB_ARG_FLOAT, &o.sampling.repeat_penalty, "R", "make recent tokens less likely (1.1 is usual)" },
        { "--seed", NULL, LB_ARG_U64, &seed, "S", "seed of the random numbers (default: the time)" },
        { "--system", NULL, LB_ARG_STRING, &o.system, "TEXT", "system message; in a conversation that has another (--state) it replaces that. \"\": none" },
        { "--raw", NULL, LB_ARG_FLAG, &o.raw, NULL, "continue the text as it is, without a chat template" },
        { "--kv", NULL, LB_ARG_STRING, &o.kv, "F", "KV cache: " LB_ARG_KV " (default f16)" },
        { "--window", NULL, LB_ARG_UINT, &o.window, "N", "see the newest N tokens and the first 4 only; memory stays that of N" },
        { "--state", NULL, LB_ARG_STRING, &o.state, "FILE", "go on with the conversation in FILE, and keep it there" },
        { "--lora", NULL, LB_ARG_STRINGS, &o.adapters, "FILE[:S]", "attach an adapter (.lbrt), scaled by S (default 1); repeatable" },
        { "--byte-tables", NULL, LB_ARG_FLAG, &o.byte_tables, NULL, "T-MAC's rounded tables in layers of lut4 .. lut1" },
        { "--stats", NULL, LB_ARG_FLAG, &o.stats, NULL, "show speed and memory after each answer" },
    };
    const lb_usage usage = { program, "[options] [MODEL.lbrt]",
                             "Talks to a language model. Without MODEL: to the demo model of lbrt, bench/demo/demo.lbrt.", args,
                             sizeof args / sizeof args[0], 0, 1 };
    char demo[PATH_MAX + 64];
    const char *path;
    if (lb_args_parse(&usage, argc, argv, &path) == 0) {
        path = find_demo(argv[0], demo, sizeof demo);
        if (!path) {
            lb_usage_fail(&usage, "no model is given, and the demo model is not beside this program");
        }
    }
    if (o.raw && o.system && *o.system) {
        lb_usage_fail(&usage, "--system goes through the chat template, which --raw leaves out");
    }
    if (o.state && !*o.state) {
        lb_usage_fail(&usage, "--state needs the name of a file");
    }
    if (o.state) {
        history_check_file(o.state);
    }
    o.sampling.seed = seed;

    lbrt_error err;
    lbrt_model *model;
    lbrt_model_options options = LBRT_MODEL_OPTIONS_INIT;
    options.byte_tables = o.byte_tables;
    if (lbrt_model_open(path, &options, &model, &err) != LBRT_OK) {
        lb_program_fail_model(program, path, &err);
    }
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    lbrt_model_describe(model, &info);
    if (o.system && *o.system && !info.has_chat_template) {
        lb_program_fail(program, "%s has no chat template that --system could go through", path);
    }
    lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
    so.n_context = o.context;
    so.n_threads = o.threads;
    so.window = o.window;
    int key = 0, value = 0;
    if (o.kv && !lb_arg_kv(o.kv, &key, &value)) {
        lb_usage_fail(&usage, "unknown KV format '%s': " LB_ARG_KV, o.kv);
    }
    so.kv_key = (lbrt_kv_format)key;
    so.kv_value = (lbrt_kv_format)value;
    lbrt_session *session;
    if (lbrt_session_create(model, &so, &session, &err) != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    lbrt_adapter *adapters[LB_ARG_MAX_STRINGS] = { NULL };
    for (unsigned i = 0; i < o.adapters.n; i++) {
        adapters[i] = attach_adapter(model, session, o.adapters.item[i]);
    }
    struct sigaction interrupt = { .sa_handler = on_interrupt, .sa_flags = SA_RESTART };
    sigaction(SIGINT, &interrupt, NULL);

    chat_state c = { .model = model, .session = session, .o = &o };
    const lbrt_status s = talk(&c, &info);
    free(c.held);
    lbrt_session_free(session);
    for (unsigned i = 0; i < o.adapters.n; i++) {
        lbrt_adapter_close(adapters[i]);
    }
    lbrt_model_close(model);
    return lb_program_end(program, s == LBRT_OK || s == LBRT_CANCELLED ? 0 : 1);
}
