/*
 * demo-score: asks a model the prompts of bench/demo/heldout.txt at temperature 0 and counts the right answers.
 *
 * The file is blocks of lines, a block ends at an empty line: "# KIND", any number of earlier exchanges "U text" and "A text", the prompt
 * "U text", and "E text", what is expected. An answer is right if it is the expected text, byte for byte. Stories have many right answers:
 * for the kind "story" the perplexity of the expected one is measured instead, over its tokens and the one that ends it.
 */
#include "../../include/lbrt.h"
#include "../../runtime/lb_args.h"

static const char program[] = "demo-score";

enum { SCORE_MESSAGES = 16, SCORE_KINDS = 32, SCORE_TOKENS = 1024 };

typedef struct score_kind {
    char name[32];
    unsigned asked, right;
    size_t tokens;
    double nll;
} score_kind;

typedef struct score_run {
    lbrt_model *model;
    lbrt_session *session;
    bool verbose;
    score_kind kinds[SCORE_KINDS];
    unsigned n_kinds;
} score_run;

/* One block; the strings point into the file's text. */
typedef struct score_block {
    const char *kind, *expected;
    lbrt_message messages[SCORE_MESSAGES];
    size_t n;
} score_block;

static char *score_read(const char *path)
{
    FILE *f = fopen(path, "rb");
    long bytes = -1;
    if (f && fseek(f, 0, SEEK_END) == 0) {
        bytes = ftell(f);
        rewind(f);
    }
    char *text = bytes >= 0 ? (char *)malloc((size_t)bytes + 1) : NULL;
    if (!text || fread(text, 1, (size_t)bytes, f) != (size_t)bytes) {
        lb_program_fail(program, "cannot read %s", path);
    }
    text[bytes] = 0;
    fclose(f);
    return text;
}

/* Reads the next block at *at; false at the end of the text. */
static bool score_next(char **at, const char *path, score_block *b)
{
    memset(b, 0, sizeof *b);
    while (**at) {
        char *line = *at, *end = strchr(line, '\n');
        *at = end ? end + 1 : line + strlen(line);
        if (end) {
            *end = 0;
        }
        if (!*line) {
            if (b->kind) {
                break;
            }
            continue;
        }
        const bool form = line[1] == ' ' && strchr("#UAE", line[0]);
        if (!form || (line[0] != '#' && !b->kind) || (b->expected && line[0] != '#') || b->n == SCORE_MESSAGES) {
            lb_program_fail(program, "%s: not a line of a block: %.60s", path, line);
        }
        if (line[0] == '#') {
            b->kind = line + 2;
        } else if (line[0] == 'E') {
            b->expected = line + 2;
        } else {
            b->messages[b->n++] = (lbrt_message){ line[0] == 'U' ? "user" : "assistant", line + 2 };
        }
    }
    if (b->kind && (!b->expected || b->n == 0)) {
        lb_program_fail(program, "%s: a block '%s' without a prompt or an expected answer", path, b->kind);
    }
    return b->kind != NULL;
}

static score_kind *score_find(score_run *r, const char *name)
{
    for (unsigned i = 0; i < r->n_kinds; i++) {
        if (strcmp(r->kinds[i].name, name) == 0) {
            return &r->kinds[i];
        }
    }
    if (r->n_kinds == SCORE_KINDS || strlen(name) >= sizeof r->kinds[0].name) {
        lb_program_fail(program, "too many kinds, or a long name: %s", name);
    }
    score_kind *k = &r->kinds[r->n_kinds++];
    strcpy(k->name, name);
    return k;
}

static size_t score_tokenize(const score_run *r, const char *text, size_t bytes, unsigned flags, lbrt_token *tokens)
{
    size_t n;
    lbrt_error err;
    if (lbrt_tokenize(r->model, text, bytes, flags, tokens, SCORE_TOKENS, &n, &err) != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    return n;
}

/* -log p of the expected answer and its end, behind the prompt. */
static void score_perplexity(score_run *r, score_kind *k, const lbrt_token *prompt, size_t n, const char *expected)
{
    lbrt_token tokens[SCORE_TOKENS + 1];
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    lbrt_model_describe(r->model, &info);
    size_t m = score_tokenize(r, expected, strlen(expected), 0, tokens);
    tokens[m++] = info.eos;
    lbrt_status s = lbrt_feed(r->session, prompt, n);
    for (size_t i = 0; i < m && s == LBRT_OK; i++) {
        const float *logits = lbrt_logits(r->session, 0);
        double top = (double)logits[0], sum = 0;
        for (uint32_t j = 1; j < info.n_vocab; j++) {
            top = (double)logits[j] > top ? (double)logits[j] : top;
        }
        for (uint32_t j = 0; j < info.n_vocab; j++) {
            sum += exp((double)logits[j] - top);
        }
        k->nll += top + log(sum) - (double)logits[tokens[i]];
        s = lbrt_feed(r->session, &tokens[i], 1);
    }
    if (s != LBRT_OK) {
        lb_program_fail(program, "%s", lbrt_session_error(r->session));
    }
    k->tokens += m;
}

typedef struct score_answer {
    char text[4096];
    size_t bytes;
} score_answer;

static bool score_on_token(void *user, lbrt_token token, const char *text, size_t bytes)
{
    score_answer *a = (score_answer *)user;
    (void)token;
    if (bytes && a->bytes + bytes < sizeof a->text) {
        memcpy(a->text + a->bytes, text, bytes);
        a->bytes += bytes;
        a->text[a->bytes] = 0;
    }
    return true;
}

static void score_one(score_run *r, const score_block *b)
{
    char text[16384];
    size_t bytes;
    lbrt_token tokens[SCORE_TOKENS];
    lbrt_error err;
    if (lbrt_chat_format(r->model, b->messages, b->n, true, text, sizeof text, &bytes, &err) != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    size_t n = score_tokenize(r, text, bytes, LBRT_TOKENIZE_BOS | LBRT_TOKENIZE_SPECIAL, tokens);
    score_kind *k = score_find(r, b->kind);
    k->asked++;
    lbrt_rewind(r->session, 0);
    if (strcmp(b->kind, "story") == 0) {
        score_perplexity(r, k, tokens, n, b->expected);
        return;
    }
    score_answer a = { .bytes = 0 };
    lbrt_generation how = LBRT_GENERATION_INIT;
    how.max_tokens = 150;
    if (lbrt_generate(r->session, tokens, n, &how, score_on_token, &a) != LBRT_OK) {
        lb_program_fail(program, "%s", lbrt_session_error(r->session));
    }
    const bool right = strcmp(a.text, b->expected) == 0;
    k->right += right;
    if (r->verbose && !right) {
        printf("%s: %s\n  expected %s\n  answered %s\n", b->kind, b->messages[b->n - 1].content, b->expected, a.text);
    }
}

int main(int argc, char **argv)
{
    const char *prompts = "bench/demo/heldout.txt", *path;
    uint32_t threads = 0;
    bool json = false;
    score_run r = { .model = NULL };
    const lb_arg args[] = {
        { "--prompts", NULL, LB_ARG_STRING, &prompts, "FILE", "the prompts (default bench/demo/heldout.txt)" },
        { "-t", "--threads", LB_ARG_UINT, &threads, "N", "threads (default: all processors)" },
        { "-v", "--verbose", LB_ARG_FLAG, &r.verbose, NULL, "show each wrong answer" },
        { "--json", NULL, LB_ARG_FLAG, &json, NULL, "one JSON object on standard output" },
    };
    const lb_usage usage = { program, "[options] MODEL.lbrt", "Scores a model on held-out prompts.", args, sizeof args / sizeof args[0], 1, 1 };
    lb_args_parse(&usage, argc, argv, &path);
    lbrt_error err;
    if (lbrt_model_open(path, NULL, &r.model, &err) != LBRT_OK) {
        lb_program_fail(program, "%s: %s", path, err.text);
    }
    lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
    so.n_threads = threads;
    if (lbrt_session_create(r.model, &so, &r.session, &err) != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    char *text = score_read(prompts), *at = text;
    for (score_block b; score_next(&at, prompts, &b);) {
        score_one(&r, &b);
    }
    for (unsigned i = 0; i < r.n_kinds; i++) {
        const score_kind *k = &r.kinds[i];
        const bool story = k->tokens != 0;
        const double value = story ? exp(k->nll / (double)k->tokens) : 100.0 * k->right / k->asked;
        if (json) {
            printf("%s\"%s\":{\"asked\":%u,\"%s\":%.6g}", i ? "," : "{", k->name, k->asked, story ? "perplexity" : "percent", value);
        } else if (story) {
            printf("%-20s perplexity %.4f (%zu tokens of %u stories)\n", k->name, value, k->tokens, k->asked);
        } else {
            printf("%-20s %3u of %3u right, %.1f%%\n", k->name, k->right, k->asked, value);
        }
    }
    printf(json ? "}\n" : "");
    free(text);
    lbrt_session_free(r.session);
    lbrt_model_close(r.model);
    return lb_program_end(program, 0);
}
