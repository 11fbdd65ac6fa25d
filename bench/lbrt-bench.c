/*
 * lbrt-bench: tokens per second of a model, beside what this machine's memory and integer units can do, measured in the same run.
 *
 * bandwidth_share = bytes read per decoded token * tokens/s, over the speed of a streaming read with as many threads.
 * int8_share = 2 * multiply-adds of the linear layers per token * tokens/s, over the speed of an unrolled integer dot product on registers.
 */
#include <inttypes.h>
#include <sys/resource.h>

#include "../runtime/engine/lb_session.h"
#include "../runtime/lb_args.h"
#include "lb_kernel_bench.h"
#include "lb_machine.h"

static const char program[] = "lbrt-bench";
enum { MAX_REPEATS = 100, MAX_LIST = 16, SLICE = 16 };

/* What the machine can do with a number of threads: reads of `data`, which is the model itself if that is large enough. */
typedef struct bench_machine {
    unsigned threads;
    const void *data;
    size_t bytes;
    lb_series read_gbs, int8_gops;
} bench_machine;

typedef struct bench_run {
    bool prefill;
    uint32_t n, depth, threads;
    const char *kv;
    double median, min, max; /* tokens per second */
    double bytes_per_token, gbs, bandwidth_share, int8_share, read_gbs, int8_gops;
    size_t session_bytes;
} bench_run;

typedef struct bench_options {
    const char *kv, *isa;
    float split; /* outlier threshold */
    bool byte_tables;
    uint32_t repeats;
    lbrt_kv_format key, value;
} bench_options;

static uint32_t parse_list(const lb_usage *u, const char *name, const char *text, unsigned long least, unsigned long most, uint32_t *out)
{
    uint32_t n = 0;
    while (*text) {
        char *end;
        unsigned long v = strtoul(text, &end, 10);
        if (end == text || v < least || v > most || n == MAX_LIST || (*end && *end != ',')) {
            lb_usage_fail(u, "%s needs at most %d numbers from %lu to %lu, separated by commas", name, (int)MAX_LIST, least, most);
        }
        out[n++] = (uint32_t)v;
        text = *end ? end + 1 : end;
    }
    return n;
}

/* Multiply-adds of the layers' matrices for one token, the head aside. */
static double layer_macs(const lbrt_model *m)
{
    double macs = 0;
    for (uint32_t i = 0; i < m->hparams.n_layers; i++) {
        const lb_layer *l = &m->layers[i];
        const lb_linear *all[] = { &l->attn_q, &l->attn_k, &l->attn_v, &l->attn_o, &l->ffn_gate, &l->ffn_up, &l->ffn_down };
        for (size_t j = 0; j < sizeof all / sizeof all[0]; j++) {
            macs += (double)all[j]->rows * (double)all[j]->cols;
        }
    }
    return macs;
}

static void feed(lbrt_session *s, const lbrt_token *tokens, size_t n)
{
    if (lbrt_feed(s, tokens, n) != LBRT_OK) {
        lb_program_fail(program, "%s", lbrt_session_error(s));
    }
}

/*
 * A context of `depth` tokens without computing it all: the first chunks are fed, and the rest of the cache repeats the last of them. Every
 * byte is there and is read; only what it says is not what a prompt would give.
 */
enum { FED = 3 * LB_KV_CHUNK };

static void fill(lbrt_session *s, const lbrt_token *tokens, size_t depth)
{
    feed(s, tokens, lb_min(depth, FED));
    lb_kv *kv = &s->kv;
    if (depth <= FED) {
        return;
    }
    for (size_t c = FED / LB_KV_CHUNK; c < (depth + LB_KV_CHUNK - 1) / LB_KV_CHUNK; c++) {
        memcpy(kv->pages[c]->data, kv->pages[FED / LB_KV_CHUNK - 1]->data, kv->page_bytes[0]);
    }
    memcpy(s->tokens, tokens, depth * sizeof *tokens);
    s->length = depth;
    kv->open_block = depth / LB_KV_BLOCK;
}

static void yardsticks(bench_machine *machine, const char *isa)
{
    lb_series_add(&machine->read_gbs, lb_bench_read_gbs(machine->data, machine->bytes, machine->threads));
    lb_series_add(&machine->int8_gops, lb_bench_int8_gops(isa, machine->threads));
}

/* Seconds of one run, in slices with the yardsticks between them */
static double one_run(lbrt_session *s, bench_machine *machine, const char *isa, bool prefill, const lbrt_token *tokens, uint32_t n)
{
    double seconds = 0;
    for (uint32_t i = 0; i < n;) {
        const uint32_t slice = prefill ? n : (uint32_t)lb_min(n - i, SLICE), step = prefill ? n : 1;
        const double t = lb_bench_now();
        for (uint32_t j = 0; j < slice; j += step) {
            feed(s, tokens + i + j, step);
        }
        seconds += lb_bench_now() - t;
        i += slice;
        yardsticks(machine, isa);
    }
    return seconds;
}

/* 0 where there is no yardstick: scalar code has no instruction whose peak could be measured. */
static double share_of(double value, double whole)
{
    return whole > 0.0 ? value / whole : 0.0;
}

static bench_run measure(const lbrt_model *m, const bench_options *o, bench_machine *machine, bool prefill, uint32_t n, uint32_t depth)
{
    lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
    so.n_context = depth + n + 1;
    so.n_threads = machine->threads;
    so.kv_key = o->key;
    so.kv_value = o->value;
    bench_run r = { .prefill = prefill, .n = n, .depth = depth, .threads = machine->threads, .kv = o->kv };
    lbrt_session *s;
    lbrt_error err;
    if (lbrt_session_create(m, &so, &s, &err) != LBRT_OK || lbrt_session_bytes(m, &so, &r.session_bytes, &err) != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    lbrt_token *tokens = (lbrt_token *)malloc((depth + n) * sizeof *tokens);
    if (!tokens) {
        lb_program_fail(program, "out of memory");
    }
    for (size_t i = 0; i < depth + n; i++) {
        tokens[i] = (lbrt_token)((i * 7919 + 13) % m->hparams.n_vocab);
    }
    if (depth) {
        fill(s, tokens, depth);
    }
    lb_series speeds = { .n = 0 };
    for (uint32_t i = 0; i <= o->repeats; i++) { /* the first is a warm-up */
        lbrt_rewind(s, depth);
        if (i == 1) { /* the yardsticks of this run only */
            machine->read_gbs.n = machine->int8_gops.n = 0;
        }
        const double t = one_run(s, machine, m->kernels.isa, prefill, tokens + depth, n);
        if (i) {
            lb_series_add(&speeds, n / t);
        }
    }
    r.median = lb_series_median(&speeds);
    r.min = lb_series_at(&speeds, false);
    r.max = lb_series_at(&speeds, true);
    r.read_gbs = lb_series_median(&machine->read_gbs);
    r.int8_gops = lb_series_median(&machine->int8_gops);
    double kv = (double)lb_kv_read_bytes(&s->kv, depth + n / 2);
    const size_t passes = (n + s->n_batch - 1) / s->n_batch; /* of a prompt: each reads all weights */
    r.bytes_per_token = prefill ? (double)m->token_bytes * (double)passes / n : (double)m->token_bytes + kv;
    r.gbs = r.bytes_per_token * r.median * 1e-9;
    r.bandwidth_share = share_of(r.gbs, r.read_gbs);
    r.int8_share = share_of(2e-9 * (layer_macs(m) + (prefill ? 0.0 : (double)m->head.rows * (double)m->head.cols)) * r.median, r.int8_gops);
    free(tokens);
    lbrt_session_free(s);
    return r;
}

static void cpu_name(char *out, size_t cap)
{
    snprintf(out, cap, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "model name", 10) == 0 || strncmp(line, "Model", 5) == 0) {
            const char *colon = strchr(line, ':');
            if (colon) {
                snprintf(out, cap, "%s", colon + 2);
                out[strcspn(out, "\n")] = 0;
                break;
            }
        }
    }
    if (f) {
        fclose(f);
    }
}

static double peak_bytes(void)
{
    struct rusage use;
    return getrusage(RUSAGE_SELF, &use) == 0 ? 1024.0 * (double)use.ru_maxrss : 0.0;
}

static void print_json(const lbrt_model *m, const bench_machine *machines, size_t n_machines, const bench_run *runs, size_t n_runs)
{
    char cpu[256];
    cpu_name(cpu, sizeof cpu);
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    lbrt_model_describe(m, &info);
    printf("{\"machine\":{\"cpu\":");
    lb_json_print(stdout, cpu);
    printf(",\"isa\":\"%s\",\"read_gbs\":{", info.isa);
    for (size_t i = 0; i < n_machines; i++) {
        printf("%s\"%u\":%.4g", i ? "," : "", machines[i].threads, lb_series_median(&machines[i].read_gbs));
    }
    printf("},\"int8_gops\":{");
    for (size_t i = 0; i < n_machines; i++) {
        printf("%s\"%u\":%.5g", i ? "," : "", machines[i].threads, lb_series_median(&machines[i].int8_gops));
    }
    printf("}},\"model\":{\"name\":");
    lb_json_print(stdout, info.name);
    printf(",\"bytes\":%" PRIu64 ",\"bits_per_weight\":%.5g},\"runs\":[", info.file_bytes, info.bits_per_weight);
    for (size_t i = 0; i < n_runs; i++) {
        const bench_run *r = &runs[i];
        printf("%s{\"kind\":\"%s\",\"n\":%u,\"depth\":%u,\"threads\":%u,\"kv\":\"%s\",\"tps\":{\"median\":%.5g,\"min\":%.5g,\"max\":%.5g},"
               "\"bytes_per_token\":%.6g,\"gbs\":%.4g,\"bandwidth_share\":%.4g,\"int8_share\":%.4g,\"read_gbs\":%.4g,\"int8_gops\":%.5g,"
               "\"session_bytes\":%zu}",
               i ? "," : "", r->prefill ? "prefill" : "decode", r->n, r->depth, r->threads, r->kv, r->median, r->min, r->max,
               r->bytes_per_token, r->gbs, r->bandwidth_share, r->int8_share, r->read_gbs, r->int8_gops, r->session_bytes);
    }
    printf("],\"peak_bytes\":%.0f}\n", peak_bytes());
}

static void print_run(const bench_run *r)
{
    printf("%-8s %5u  depth %6u  threads %2u  kv %-7s %9.2f t/s (%.2f..%.2f)  %6.2f GB/s  memory %3.0f%%  int8 %3.0f%%\n",
           r->prefill ? "prefill" : "decode", r->n, r->depth, r->threads, r->kv, r->median, r->min, r->max, r->gbs,
           100.0 * r->bandwidth_share, 100.0 * r->int8_share);
    fflush(stdout);
}

typedef struct kernel_report {
    bool json;
    size_t n;
} kernel_report;

static void print_kernel(void *user, const lb_bench_result *r)
{
    kernel_report *k = (kernel_report *)user;
    if (k->json) {
        printf("%s{\"isa\":\"%s\",\"format\":\"%s\",\"kernel\":\"%s\",\"rows\":%zu,\"k\":%zu,\"n\":%zu,\"threads\":%u,"
               "\"gbs\":%.4g,\"gweights\":%.4g,\"bandwidth_share\":%.4g,\"int8_share\":%.4g}",
               k->n ? "," : "", r->isa, r->format, r->kernel, r->rows, r->k, r->n, r->threads, r->gbs, r->gweights,
               r->bandwidth_share, r->int8_share);
    } else {
        printf("%-11s %-5s %-6s %6zu x %-6zu n %3zu  threads %2u  %7.2f GB/s  %7.1f Gweights/s  memory %3.0f%%  int8 %3.0f%%\n", r->isa,
               r->format, r->kernel, r->rows, r->k, r->n, r->threads, r->gbs, r->gweights, 100.0 * r->bandwidth_share,
               100.0 * r->int8_share);
    }
    fflush(stdout);
    k->n++;
}

static int bench_kernels(const char *isa, const char *format, const uint32_t *threads, uint32_t n_threads, bool json)
{
    kernel_report report = { .json = json };
    bool ok = true;
    printf(json ? "{\"kernels\":[" : "");
    for (uint32_t i = 0; i < n_threads && ok; i++) {
        ok = lb_bench_kernels(isa, format, threads[i], print_kernel, &report);
    }
    printf(json ? "]}\n" : "");
    if (!ok) {
        lb_program_fail(program, "the kernels could not be measured: there is not enough memory");
    }
    return lb_program_end(program, 0);
}

int main(int argc, char **argv)
{
    const char *prefill = NULL, *decode = NULL, *depths = "0", *threads = NULL, *format = NULL;
    bench_options o = { .kv = "f16", .repeats = 5 };
    bool json = false, kernels = false;
    const lb_arg args[] = {
        { "-p", "--prefill", LB_ARG_STRING, &prefill, "N,..", "prompt lengths to measure (default 512, in a shorter context as many as it has; 0: none)" },
        { "-n", "--decode", LB_ARG_STRING, &decode, "N,..", "numbers of decoded tokens (default 64; 0: none); none of -d, -p, -n above the model's context" },
        { "-d", "--depth", LB_ARG_STRING, &depths, "N,..", "tokens already in the context (default 0)" },
        { "-t", "--threads", LB_ARG_STRING, &threads, "N,..", "numbers of threads (default: 1 and all processors)" },
        { "-r", "--repeats", LB_ARG_UINT, &o.repeats, "N", "counted runs of each, after a warm-up (default 5)" },
        { "--isa", NULL, LB_ARG_STRING, &o.isa, "LEVEL", "instruction-set level (default: the best)" },
        { "--kv", NULL, LB_ARG_STRING, &o.kv, "F", "KV cache: " LB_ARG_KV " (default f16)" },
        { "--split", NULL, LB_ARG_FLOAT, &o.split, "T", "activations |x| >= T in float, LLM.int8() (default: 6 for int8; negative: none)" },
        { "--byte-tables", NULL, LB_ARG_FLAG, &o.byte_tables, NULL, "T-MAC's rounded tables in lut4 .. lut1 instead of exact ones" },
        { "--kernels", NULL, LB_ARG_FLAG, &kernels, NULL, "measure each kernel alone, for every level; needs no model" },
        { "--format", NULL, LB_ARG_STRING, &format, "F", "with --kernels: this weight format only" },
        { "--json", NULL, LB_ARG_FLAG, &json, NULL, "one JSON object on standard output" },
    };
    const lb_usage usage = { program, "[options] MODEL.lbrt   |   --kernels", "Measures speed, beside what the machine can do.", args,
                             sizeof args / sizeof args[0], 0, 1 };
    const char *path = NULL;
    unsigned n_words = lb_args_parse(&usage, argc, argv, &path);
    uint32_t list[4][MAX_LIST], n_list[4];
    char default_threads[32];
    if (!threads) {
        const unsigned all = (unsigned)lb_min(lb_cpu_count(), LB_BENCH_MAX_THREADS);
        snprintf(default_threads, sizeof default_threads, all > 1 ? "1,%u" : "%u", all);
        threads = default_threads;
    }
    const bool given[4] = { true, true, prefill != NULL, decode != NULL };
    n_list[0] = parse_list(&usage, "-t", threads, 1, LB_BENCH_MAX_THREADS, list[0]);
    n_list[1] = parse_list(&usage, "-d", depths, 0, 1ul << 24, list[1]);
    n_list[2] = parse_list(&usage, "-p", prefill ? prefill : "512", 0, 1ul << 24, list[2]);
    n_list[3] = parse_list(&usage, "-n", decode ? decode : "64", 0, 1ul << 24, list[3]);
    int key, value;
    if (!lb_arg_kv(o.kv, &key, &value)) {
        lb_usage_fail(&usage, "unknown KV format '%s': " LB_ARG_KV, o.kv);
    }
    o.key = (lbrt_kv_format)key;
    o.value = (lbrt_kv_format)value;
    if (o.repeats == 0 || o.repeats > MAX_REPEATS) {
        lb_usage_fail(&usage, "-r must be 1..%d", (int)MAX_REPEATS);
    }
    if (kernels) {
        const lb_wformat_info *f = format ? lb_wformat_named(format) : NULL;
        lb_kernels k;
        if (format && !f) {
            lb_usage_fail(&usage, "unknown format '%s': see lbrt-convert --formats", format);
        }
        if (!lb_kernels_get(&k, o.isa)) {
            lb_program_fail(program, "instruction-set level '%s' is unknown, or this CPU lacks it", o.isa);
        }
        return bench_kernels(o.isa, format, list[0], n_list[0], json);
    }
    if (n_words != 1) {
        lb_usage_fail(&usage, "a model is needed");
    }
    if (format) {
        lb_usage_fail(&usage, "--format goes with --kernels: a model has the formats that it was converted to");
    }
    for (uint32_t i = 0; i < n_list[0]; i++) {
        if (list[0][i] > lb_cpu_count()) {
            fprintf(stderr, "%s: note: -t %u: a session takes no more threads than there are processors, %u\n", program, list[0][i], lb_cpu_count());
            list[0][i] = lb_cpu_count();
        }
    }
    uint32_t longest[4] = { 0 }; /* as list */
    for (size_t i = 0; i < 4; i++) {
        for (uint32_t j = 0; j < n_list[i]; j++) {
            longest[i] = (uint32_t)lb_max(longest[i], list[i][j]);
        }
    }
    if (n_list[0] == 0 || n_list[1] == 0 || (longest[2] == 0 && longest[3] == 0)) {
        lb_usage_fail(&usage, "there is nothing to measure");
    }

    lbrt_model_options mo = LBRT_MODEL_OPTIONS_INIT;
    mo.isa = o.isa;
    mo.outlier_threshold = o.split;
    mo.byte_tables = o.byte_tables;
    lbrt_model *m;
    lbrt_error err;
    if (lbrt_model_open(path, &mo, &m, &err) != LBRT_OK) {
        lb_program_fail_model(program, path, &err);
    }
    for (size_t i = 1; i < 4; i++) {
        static const char *const names[] = { "-t", "-d", "-p", "-n" };
        const uint32_t context = m->hparams.n_context;
        if (longest[i] > context && given[i]) {
            lb_usage_fail(&usage, "%s %u is more than the model's context, %u tokens", names[i], longest[i], context);
        }
        list[i][0] = n_list[i] ? (uint32_t)lb_min(list[i][0], context) : 0; /* the default */
    }
    bench_machine *machines = (bench_machine *)calloc(n_list[0] ? n_list[0] : 1, sizeof *machines);
    bench_run *runs = (bench_run *)calloc(4 * MAX_LIST * MAX_LIST * MAX_LIST, sizeof *runs);
    if (!machines || !runs) {
        lb_program_fail(program, "out of memory");
    }
    size_t n_runs = 0;
    uint8_t *buffer = NULL; /* to read from, if the model is so small that caches hold much of it */
    if (m->file.bytes < LB_BENCH_READ_BYTES / 2 && !(buffer = lb_bench_alloc(LB_BENCH_READ_BYTES))) {
        lb_program_fail(program, "out of memory");
    }
    for (uint32_t t = 0; t < n_list[0]; t++) {
        bench_machine *machine = &machines[t];
        machine->threads = list[0][t];
        machine->data = buffer ? buffer : m->file.file;
        machine->bytes = buffer ? LB_BENCH_READ_BYTES : lb_min(m->file.bytes, LB_BENCH_READ_BYTES);
        for (uint32_t kind = 2; kind < 4; kind++) {
            for (uint32_t d = 0; d < n_list[1]; d++) {
                for (uint32_t i = 0; i < n_list[kind]; i++) {
                    if (list[kind][i] == 0) {
                        continue;
                    }
                    runs[n_runs] = measure(m, &o, machine, kind == 2, list[kind][i], list[1][d]);
                    if (!json) {
                        print_run(&runs[n_runs]);
                    }
                    n_runs++;
                }
            }
        }
        if (!json) {
            printf("machine with %u thread%s: reads %.1f GB/s, int8 %.0f Gop/s (%s)\n", machine->threads, machine->threads == 1 ? "" : "s",
                   lb_series_median(&machine->read_gbs), lb_series_median(&machine->int8_gops), m->kernels.isa);
        }
    }
    if (json) {
        print_json(m, machines, n_list[0], runs, n_runs);
    } else {
        size_t session = 0;
        for (size_t i = 0; i < n_runs; i++) {
            session = lb_max(session, runs[i].session_bytes);
        }
        printf("peak memory %.0f MB: file %.0f MB, %slargest session %.0f MB, all else %.0f MB\n", 1e-6 * peak_bytes(),
               1e-6 * (double)m->file.bytes, buffer ? "read buffer 537 MB, " : "", 1e-6 * (double)session,
               1e-6 * fmax(0.0, peak_bytes() - (double)m->file.bytes - (double)session - (buffer ? (double)LB_BENCH_READ_BYTES : 0)));
    }
    free(buffer);
    free(machines);
    free(runs);
    lbrt_model_close(m);
    return lb_program_end(program, 0);
}
