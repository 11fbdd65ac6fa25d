/*
 * Calibrated conversion: that it helps, that the file does not depend on threads, that every input is seen by the right tensors, and
 * that nothing is left behind by a conversion that fails or is killed.
 */
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../formats/calib/lb_budget.h"
#include "../formats/calib/lb_calib.h"
#include "../formats/calib/lb_keep.h"
#include "../formats/calib/lb_stream.h"
#include "lb_test.h"
#include "small_models.h"

void test_calib(void);

enum { CAL_CONTEXT = 24 };

static const char *cal_text(void)
{
    static const char *const words[] = { "the ", "and ", "is ", "on ", "he ", "in a ", "the hand ", "is there. " };
    static char text[4096];
    uint32_t z = 7;
    for (size_t n = 0; text[0] == 0 || n < 1600;) {
        z = z * 1664525u + 1013904223u;
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", words[z >> 29]);
    }
    return text;
}

static lb_calib_options cal_options(uint32_t tokens)
{
    return (lb_calib_options){ .text = cal_text(),
                               .text_bytes = strlen(cal_text()),
                               .n_tokens = tokens,
                               .n_context = CAL_CONTEXT,
                               .damping = -1.0,
                               .shift = -1.0 };
}

/* Files in a folder other than . and .. */
static size_t cal_files(const char *folder)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    }
    if (dir) {
        closedir(dir);
    }
    return n;
}

static void cal_test_threads(const char *format, float outliers, float salient, size_t lowrank)
{
    lb_test_case("calibrated %s%s%s: the same file for any number of threads", format,
                 outliers > 0.0f ? " with outliers" : salient > 0.0f ? " with salient rows" : "", lowrank ? " with a low-rank term" : "");
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    char path[2][256];
    size_t bytes[2] = { 0, 0 };
    char *data[2];
    for (unsigned i = 0; i < 2; i++) {
        lb_source *source = sm_source("micro");
        lb_calib_report report;
        lbrt_error err = { LBRT_OK, "" };
        const lb_convert_options o = { .format = lb_wformat_named(format)->id, .threads = i ? 3 : 1, .outliers = outliers,
                                       .salient_rows = salient, .lowrank = lowrank };
        const lb_calib_options how = cal_options(0);
        snprintf(path[i], sizeof path[i], "%s", lb_test_temp(i ? "cal-3.lbrt" : "cal-1.lbrt"));
        LB_CHECK(lb_convert_calibrated(source, path[i], &o, &how, &a, &report, &err) == LBRT_OK, "%s: %s", format, err.text);
        LB_CHECK(report.tokens > 0 && report.scored > 0 && report.kl >= 0.0 && report.kl < 1.0, "%llu tokens, %llu scored, KL %g",
                 (unsigned long long)report.tokens, (unsigned long long)report.scored, report.kl);
        source->close(source);
        data[i] = lb_test_read(path[i], &bytes[i]);
    }
    LB_CHECK(data[0] && data[1] && bytes[0] == bytes[1] && memcmp(data[0], data[1], bytes[0]) == 0, "%s: %zu and %zu bytes", format,
             bytes[0], bytes[1]);
    free(data[0]);
    free(data[1]);
}

/* Squared distance of a model's logits on the calibration text from those of f32 */
static double cal_distance(const char *path)
{
    enum { N = 200, VOCAB = 288 };
    static float logits[2][N * VOCAB];
    const char *paths[2] = { sm_file("micro", "f32"), path };
    double off = 0.0;
    for (size_t i = 0; i < 2; i++) {
        lbrt_error err = { LBRT_OK, "" };
        lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
        o.n_context = o.n_logits = N;
        lbrt_model *m = NULL;
        lbrt_session *s = NULL;
        static lbrt_token ids[8192];
        size_t n = 0;
        if (LB_CHECK(lbrt_model_open(paths[i], NULL, &m, &err) == LBRT_OK && lbrt_session_create(m, &o, &s, &err) == LBRT_OK &&
                         lbrt_tokenize(m, cal_text(), strlen(cal_text()), 0, ids, 8192, &n, &err) == LBRT_OK && n >= N &&
                         lbrt_feed(s, ids, N) == LBRT_OK,
                     "%s", err.text)) {
            for (size_t t = 0; t < N; t++) {
                memcpy(logits[i] + t * VOCAB, lbrt_logits(s, t), VOCAB * sizeof(float));
            }
        }
        lbrt_session_free(s);
        lbrt_model_close(m);
    }
    for (size_t i = 0; i < N * VOCAB; i++) {
        off += ((double)logits[0][i] - (double)logits[1][i]) * ((double)logits[0][i] - (double)logits[1][i]);
    }
    return off;
}

/* 2:4 by Wanda, outliers and low-rank terms: nearer to the model with calibration than without */
static void cal_test_beside(void)
{
    static const struct {
        const char *what;
        lb_wformat format;
        float outliers, salient;
        size_t lowrank;
    } cases[] = { { "2:4", LB_W_S24Q8, 0.0f, 0.0f, 0 },
                  { "outliers", LB_W_Q2, 8.0f, 0.0f, 0 },
                  { "salient rows", LB_W_Q2, 0.0f, 40.0f, 0 },
                  { "low rank", LB_W_Q2, 0.0f, 0.0f, 6 } };
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lb_test_case("%s: calibration brings the model nearer to what it was", cases[i].what);
        const lb_convert_options o = { .format = cases[i].format, .threads = 2, .outliers = cases[i].outliers,
                                       .salient_rows = cases[i].salient, .lowrank = cases[i].lowrank };
        const lb_calib_options how = cal_options(0);
        lb_calib_report report;
        lbrt_error err = { LBRT_OK, "" };
        double off[2];
        for (size_t k = 0; k < 2; k++) {
            char path[300];
            snprintf(path, sizeof path, "%s", lb_test_temp("beside.lbrt"));
            lb_source *source = sm_source("micro");
            LB_CHECK((k ? lb_convert_calibrated(source, path, &o, &how, &a, &report, &err) : lb_convert(source, path, &o, &a, &err)) == LBRT_OK,
                     "%s", err.text);
            source->close(source);
            off[k] = cal_distance(path);
        }
        LB_CHECK(off[1] < 0.9 * off[0], "%g with, %g without", off[1], off[0]);
    }
}

/* ---------------------------------------------------------------- streams against the forward pass */

typedef struct cal_seen {
    double squares[4][2]; /* place, layer: sum of squares of what was read */
    size_t n[4][2];
} cal_seen;

static bool cal_tap(void *user, uint32_t layer, lb_tap_place place, const float *x, size_t stride, size_t n)
{
    static const size_t cols[LB_TAP_PLACES] = { 40, 40, 40, 72 };
    cal_seen *seen = (cal_seen *)user;
    for (size_t t = 0; t < n; t++) {
        for (size_t c = 0; c < cols[place]; c++) {
            seen->squares[place][layer] += (double)x[t * stride + c] * (double)x[t * stride + c];
        }
    }
    seen->n[place][layer] += n;
    return true;
}

/* Layer by layer all tokens see what they see token by token, and end with the same logits. */
static void cal_test_streams(void)
{
    lb_test_case("layer by layer the model reads what it reads in one go");
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lbrt_model *m = sm_model("micro", "f16", NULL);
    lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
    lbrt_session *session = NULL;
    lbrt_token tokens[3 * CAL_CONTEXT];
    cal_seen seen = { .n = { { 0 } } };
    lb_streams s;
    sm_tokens(tokens, 3 * CAL_CONTEXT, 288, 4);
    for (size_t i = 0; i < 3; i++) {
        tokens[i * CAL_CONTEXT] = 1;
    }
    so.n_context = CAL_CONTEXT;
    if (!LB_CHECK(m && lbrt_session_create(m, &so, &session, NULL) == LBRT_OK, "no session") ||
        !LB_CHECK(lb_streams_open(&s, m, false, 2, tokens, 3 * CAL_CONTEXT, CAL_CONTEXT, &a, NULL) == LBRT_OK, "no streams")) {
        return;
    }
    session->tap = cal_tap;
    session->tap_user = &seen;
    for (size_t i = 0; i < 3; i++) {
        lbrt_rewind(session, 0);
        LB_CHECK(lbrt_feed(session, tokens + i * CAL_CONTEXT, CAL_CONTEXT) == LBRT_OK, "feeding");
    }
    LB_CHECK(lbrt_logits(session, 0) != NULL, "no logits");
    for (uint32_t layer = 0; layer < 2; layer++) {
        for (int place = 0; place < LB_TAP_PLACES; place++) {
            lb_moments moments;
            lb_streams_go_to(&s, layer, place >= LB_TAP_FFN);
            LB_CHECK(lb_streams_collect(&s, (lb_tap_place)place, true, &moments, NULL) == LBRT_OK, "moments");
            double trace = 0.0, cross = 0.0;
            for (size_t i = 0; i < moments.n; i++) {
                trace += moments.h[i * (moments.n + 1)];
                cross += moments.c[i * (moments.n + 1)];
            }
            const double want = seen.squares[place][layer];
            LB_CHECK(seen.n[place][layer] == 3 * CAL_CONTEXT && moments.tokens == 3 * CAL_CONTEXT, "tokens");
            LB_CHECK(fabs(trace - want) < 1e-5 * want && fabs(cross - want) < 1e-5 * want, "layer %u place %d: %g %g, %g", layer, place,
                     trace, cross, want);
            lb_moments_close(&moments);
        }
    }
    double kl = 1.0;
    uint64_t scored = 0;
    lb_streams_go_to(&s, 2, false);
    const float *last = s.original.x + (3 * CAL_CONTEXT - 1) * s.stride;
    LB_CHECK(memcmp(last, s.packed.x + (3 * CAL_CONTEXT - 1) * s.stride, 40 * sizeof(float)) == 0, "the copy is the original");
    LB_CHECK(memcmp(last, session->x + (CAL_CONTEXT - 1) * session->x_stride, 40 * sizeof(float)) == 0, "the last layer's outputs");
    lb_streams_divergence(&s, &kl, &scored);
    LB_CHECK(scored == 0 && isnan(kl), "three chunks: none is held out");
    lb_streams_close(&s);
    lbrt_session_free(session);
    lbrt_model_close(m);
}

/* ---------------------------------------------------------------- budgets */

static void cal_test_knapsack(void)
{
    enum { N = 6, M = 4 };
    lb_test_case("formats for a budget: within it, and nearly as good as any choice");
    for (int run = 0; run < 200; run++) {
        double loss[N * M], best = 1e9, got = 0.0;
        uint64_t bytes[N * M], least = 0, most = 0, used = 0;
        uint8_t choice[N];
        for (size_t i = 0; i < N; i++) {
            const double scale = 0.1 + (double)(lb_test_random() % 1000) * 0.01;
            const uint64_t size = 10 + lb_test_random() % 90;
            for (size_t f = 0; f < M; f++) { /* two bits more are 1/16 of the error, or so */
                loss[i * M + f] = scale / (double)(1u << 2 * f) * (0.9 + 0.2 * (double)(lb_test_random() % 100) * 0.01);
                bytes[i * M + f] = size * (2 + f);
            }
            least += size * 2;
            most += size * (M + 1);
        }
        const uint64_t limit = least + (most - least) * (uint64_t)(run % 11) / 10;
        LB_CHECK(lb_budget_knapsack(loss, bytes, N, M, limit, choice), "run %d: possible", run);
        for (size_t i = 0; i < N; i++) {
            got += loss[i * M + choice[i]];
            used += bytes[i * M + choice[i]];
        }
        for (size_t all = 0; all < 4096; all++) {
            double sum = 0.0;
            uint64_t size = 0;
            for (size_t i = 0; i < N; i++) {
                sum += loss[i * M + (all >> 2 * i & 3)];
                size += bytes[i * M + (all >> 2 * i & 3)];
            }
            best = size <= limit && sum < best ? sum : best;
        }
        LB_CHECK(used <= limit && got >= best - 1e-9, "run %d: %llu of %llu bytes", run, (unsigned long long)used,
                 (unsigned long long)limit);
        LB_CHECK(got <= 1.6 * best, "run %d: loss %g, %g is possible", run, got, best);
        LB_CHECK(run % 11 != 10 || got <= best + 1e-9, "run %d: all fit", run);
        LB_CHECK(!lb_budget_knapsack(loss, bytes, N, M, least - 1, choice), "run %d: impossible", run);
    }
}

typedef struct cal_sizes {
    uint64_t weights, bytes;
    char kept[8];
} cal_sizes;

static void cal_add(void *user, const lb_convert_tensor_report *report)
{
    cal_sizes *sizes = (cal_sizes *)user;
    sizes->weights += report->weights;
    sizes->bytes += report->bytes;
    if (strcmp(report->name, "layers.0.attn_o") == 0) {
        snprintf(sizes->kept, sizeof sizes->kept, "%s", report->format);
    }
}

static void cal_test_budget(void)
{
    lb_test_case("--budget: kept to, given as bits or as bytes; rules are followed; the same choice with any number of threads");
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    const lb_convert_rule rule = { "layers.0.attn_o", LB_W_Q6 };
    char path[256], first[256];
    snprintf(path, sizeof path, "%s", lb_test_temp("budget.lbrt"));
    snprintf(first, sizeof first, "%s", lb_test_temp("budget-1.lbrt"));
    double kl[2] = { 0.0, 0.0 };
    for (int i = 0; i < 4; i++) { /* 6.5 bits, the same with one thread, 8 bits, bytes */
        lb_source *source = sm_source("micro");
        cal_sizes sizes = { .weights = 0 };
        lb_calib_report report;
        lbrt_error err = { LBRT_OK, "" };
        const lb_convert_options o = { .format = LB_W_Q4, .rules = &rule, .n_rules = 1, .threads = i == 1 ? 1 : 2, .tensor = cal_add,
                                       .user = &sizes };
        lb_calib_options how = cal_options(0);
        how.budget_bits = i < 2 ? 6.5 : i == 2 ? 9.0 : 0.0;
        how.budget_bytes = i == 3 ? 90000 : 0;
        const lbrt_status s = lb_convert_calibrated(source, i == 1 ? first : path, &o, &how, &a, &report, &err);
        struct stat st = { .st_size = 0 };
        LB_CHECK(s == LBRT_OK && stat(i == 1 ? first : path, &st) == 0, "%d: %s", i, err.text);
        LB_CHECK(i == 3 || (double)sizes.bytes * 8.0 <= how.budget_bits * (double)sizes.weights, "%d: %g bits per weight", i,
                 8.0 * (double)sizes.bytes / (double)sizes.weights);
        LB_CHECK(i != 3 || st.st_size <= 90000, "%lld bytes", (long long)st.st_size);
        LB_CHECK(strcmp(sizes.kept, "q6") == 0, "layers.0.attn_o is %s", sizes.kept);
        LB_CHECK(report.predicted > 0.0 && report.kl > 0.0, "expected %g, measured %g", report.predicted, report.kl);
        if (i == 0 || i == 2) {
            kl[i / 2] = report.kl;
        }
        if (i == 1) {
            size_t bytes[2];
            char *x = lb_test_read(path, &bytes[0]), *y = lb_test_read(first, &bytes[1]);
            LB_CHECK(x && y && bytes[0] == bytes[1] && memcmp(x, y, bytes[0]) == 0, "files differ");
            free(x);
            free(y);
        }
        source->close(source);
    }
    LB_CHECK(kl[1] < kl[0], "KL %g with 6.5 bits, %g with 9", kl[0], kl[1]);
    lb_source *source = sm_source("micro");
    const lb_convert_options o = { .format = LB_W_Q4, .threads = 2 };
    lb_calib_options how = cal_options(0);
    lb_calib_report report;
    lbrt_error err = { LBRT_OK, "" };
    how.budget_bits = 1.0;
    unlink(path);
    LB_CHECK(lb_convert_calibrated(source, path, &o, &how, &a, &report, &err) == LBRT_ERR_ARGUMENT && access(path, F_OK) != 0 &&
                 strstr(err.text, "too small"), "one bit: %s", err.text);
    double bits = 0.0;
    LB_CHECK(sscanf(err.text, "the budget is too small: the smallest formats take %lf bits", &bits) == 1, "'%s'", err.text);
    how.budget_bits = 0.0;
    how.budget_bytes = 1000;
    unsigned long long least = 0;
    LB_CHECK(lb_convert_calibrated(source, path, &o, &how, &a, &report, &err) == LBRT_ERR_ARGUMENT &&
                 sscanf(err.text, "a budget of 1000 bytes is too small: the smallest formats make a file of %llu", &least) == 1,
             "'%s'", err.text);
    source->close(source);
    for (int i = 0; i < 4; i++) { /* what the messages say is the limit */
        source = sm_source("micro");
        how.budget_bits = i < 2 ? 0.0 : bits - 0.02 * (i == 3);
        how.budget_bytes = i < 2 ? least - (unsigned)i : 0;
        const lbrt_status s = lb_convert_calibrated(source, path, &o, &how, &a, &report, &err);
        struct stat st = { .st_size = 0 };
        LB_CHECK(s == (i % 2 ? LBRT_ERR_ARGUMENT : LBRT_OK), "%d: %llu bytes, %g bits: %s", i, least, bits, err.text);
        LB_CHECK(i != 0 || (stat(path, &st) == 0 && (unsigned long long)st.st_size <= least), "%lld bytes of %llu", (long long)st.st_size, least);
        source->close(source);
    }
}

/* ---------------------------------------------------------------- what is left behind */

static lbrt_status cal_convert(const char *path, const lbrt_allocator *a, void (*tensor)(void *, const lb_convert_tensor_report *))
{
    lb_source *source = sm_source("micro");
    const lb_convert_options o = { .format = LB_W_Q3, .threads = 2, .tensor = tensor, .outliers = 5.0f };
    const lb_calib_options how = cal_options(CAL_CONTEXT * 5);
    lb_calib_report report;
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_status s = lb_convert_calibrated(source, path, &o, &how, a, &report, &err);
    LB_CHECK((s == LBRT_OK) == (err.status == LBRT_OK) && (s == LBRT_OK || err.text[0]), "status %d: %s", (int)s, err.text);
    source->close(source);
    return s;
}

static void cal_test_memory(const char *folder)
{
    lb_test_case("calibrated conversion: any allocation may fail; no file and no memory is left");
    char path[512];
    snprintf(path, sizeof path, "%s/out.lbrt", folder);
    LB_CHECK(cal_convert(path, lb_test_allocator(0), NULL) == LBRT_OK, "without a failure");
    const uint64_t n = lb_test_alloc_count();
    LB_CHECK(cal_files(folder) == 1 && lb_test_alloc_alive() == 0, "%zu files, %zu blocks", cal_files(folder), lb_test_alloc_alive());
    unlink(path);
    for (uint64_t i = 1; i <= n; i += i < 30 ? 1 : 1 + i / 5) {
        const lbrt_status s = cal_convert(path, lb_test_allocator(i), NULL);
        LB_CHECK(s == LBRT_ERR_MEMORY && cal_files(folder) == 0 && lb_test_alloc_alive() == 0,
                 "allocation %llu of %llu: %s, %zu files, %zu blocks", (unsigned long long)i, (unsigned long long)n, lbrt_status_name(s), cal_files(folder), lb_test_alloc_alive());
    }
}

static void cal_die(void *user, const lb_convert_tensor_report *report)
{
    (void)user;
    if (strcmp(report->name, "layers.1.attn_q") == 0) {
        kill(getpid(), SIGKILL);
    }
}

static void cal_test_killed(const char *folder)
{
    lb_test_case("a conversion that is killed leaves nothing");
    char path[512];
    snprintf(path, sizeof path, "%s/out.lbrt", folder);
    const int null = open("/proc/self/fd", 0);
    if (null < 0) {
        lb_test_skip("files without names need /proc");
        return;
    }
    close(null);
    const pid_t child = fork();
    if (child == 0) {
        const lbrt_allocator a = lb_allocator_or_default(NULL);
        (void)cal_convert(path, &a, cal_die);
        _exit(0);
    }
    int status = 0;
    LB_CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status), "it was not killed: %x", (unsigned)status);
    LB_CHECK(cal_files(folder) == 0, "%zu files", cal_files(folder));
}

/* ---------------------------------------------------------------- a real model */

/* 0.2008 without calibration (lbrt-eval on other text) */
static void cal_test_lab(void)
{
    lb_test_case("calibrated tcq2 of the lab model");
    const char *shared = lb_test_shared("models/lab");
    char model[512], text[512];
    snprintf(model, sizeof model, "%s", shared ? shared : "");
    shared = lb_test_shared("text/calib.txt");
    snprintf(text, sizeof text, "%s", shared ? shared : "");
    if (!model[0] || !text[0]) {
        lb_test_skip("the lab model or the calibration text is absent");
        return;
    }
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lb_source *source = NULL;
    lbrt_error err = { LBRT_OK, "" };
    lb_calib_report report = { .kl = NAN };
    size_t bytes;
    char *words = lb_test_read(text, &bytes);
    const lb_convert_options o = { .format = LB_W_TCQ2 };
    const lb_calib_options how = { .text = words, .text_bytes = bytes, .n_tokens = 6144, .damping = -1.0, .shift = -1.0 };
    LB_CHECK(lb_source_open(model, NULL, &a, &source, &err) == LBRT_OK, "%s", err.text);
    LB_CHECK(source && lb_convert_calibrated(source, lb_test_temp("lab-tcq2.lbrt"), &o, &how, &a, &report, &err) == LBRT_OK, "%s",
             err.text);
    LB_CHECK(report.scored == 256 && report.kl < 0.12, "KL %g of %llu tokens", report.kl, (unsigned long long)report.scored);
    if (source) {
        source->close(source);
    }
    free(words);
}

typedef struct cal_count {
    lbrt_allocator a;
    size_t allocs, bytes, most;
} cal_count;

static void *cal_count_alloc(void *user, size_t bytes, size_t align)
{
    cal_count *c = user;
    c->allocs++;
    c->bytes += bytes;
    c->most = lb_max(c->most, c->bytes);
    return c->a.alloc(c->a.user, bytes, align);
}

static void cal_count_free(void *user, void *p, size_t bytes, size_t align)
{
    cal_count *c = user;
    c->bytes -= bytes;
    c->a.free(c->a.user, p, bytes, align);
}

static void cal_test_keep(void)
{
    lb_test_case("large blocks are kept for the next of their size, and let go for others");
    cal_count c = { .a = lb_allocator_or_default(NULL) };
    const lbrt_allocator base = { cal_count_alloc, cal_count_free, &c };
    lb_keep keep;
    const lbrt_allocator a = lb_keep_open(&keep, &base, 1000);
    char *x = lb_alloc(&a, 5000), *y = lb_alloc(&a, 5000), *small = lb_alloc(&a, 100);
    memset(x, 1, 5000);
    lb_free(&a, x, 5000);
    lb_free(&a, y, 5000);
    lb_free(&a, small, 100);
    LB_CHECK(c.bytes == 10000, "%zu bytes are kept", c.bytes);
    x = lb_alloc(&a, 5000);
    y = lb_alloc(&a, 5000);
    LB_CHECK(c.allocs == 3 && x != y, "%zu allocations", c.allocs);
    lb_free(&a, x, 5000);
    x = lb_alloc(&a, 6000);
    LB_CHECK(c.bytes == 11000 && c.most == 11000, "%zu bytes, at most %zu", c.bytes, c.most);
    lb_free(&a, x, 6000);
    lb_free(&a, y, 5000);
    lb_keep_close(&keep);
    LB_CHECK(c.bytes == 0, "%zu bytes are left", c.bytes);
}

void test_calib(void)
{
    cal_test_keep();
    char folder[300];
    cal_test_streams();
    cal_test_threads("q4", 0.0f, 0.0f, 0);
    cal_test_threads("tcq2", 0.0f, 0.0f, 0);
    cal_test_threads("s24q8", 0.0f, 0.0f, 0);
    cal_test_threads("q3", 5.0f, 0.0f, 0);
    cal_test_threads("q2", 0.0f, 0.0f, 6);
    cal_test_threads("q2", 0.0f, 40.0f, 0);
    cal_test_beside();
    cal_test_knapsack();
    cal_test_budget();
    snprintf(folder, sizeof folder, "%s", lb_test_temp("calib-folder"));
    LB_CHECK(mkdir(folder, 0700) == 0, "mkdir %s", folder);
    cal_test_memory(folder);
    cal_test_killed(folder);
    rmdir(folder);
    cal_test_lab();
}
