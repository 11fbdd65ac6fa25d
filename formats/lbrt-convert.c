/* lbrt-convert: other people's model files, or random weights, to .lbrt. */
#include <sys/resource.h>
#include <unistd.h>

#include "../runtime/base/lb_os.h"
#include "../runtime/lb_args.h"
#include "pack/lb_convert.h"
#include "pack/lb_convert_adapter.h"
#include "pack/lb_pack.h"

static const char program[] = "lbrt-convert";

typedef struct convert_view {
    bool terminal, verbose;
    double started, shown;
    uint64_t weights, bytes;
    unsigned n_warnings;
    bool quiet;
} convert_view;

static void show_progress(void *user, double done, const char *tensor)
{
    convert_view *v = (convert_view *)user;
    double now = lb_now();
    if (!v->terminal || (now - v->shown < 0.1 && done < 1.0)) {
        return;
    }
    v->shown = now;
    double left = done > 0.01 ? (now - v->started) / done * (1.0 - done) : 0.0;
    int bars = (int)(done * 30.0);
    fprintf(stderr, "\r[%.*s%.*s] %3.0f%%  %4.0f s left  %-28.28s", bars, "##############################", 30 - bars,
            "..............................", done * 100.0, left, tensor);
}

static void show_tensor(void *user, const lb_convert_tensor_report *r)
{
    convert_view *v = (convert_view *)user;
    v->weights += r->weights;
    v->bytes += r->bytes;
    if (r->warning && !v->quiet && (v->n_warnings++ == 0 || v->verbose)) {
        fprintf(stderr, "%swarning: %s %s%s\n", v->terminal ? "\r\033[K" : "", r->name, r->warning,
                v->verbose ? "" : " (and others may follow: -v)");
    }
    if (v->verbose) {
        fprintf(stderr, "%s%-32s %-5s %12llu bytes  error %.3g\n", v->terminal ? "\r\033[K" : "", r->name, r->format,
                (unsigned long long)r->bytes, r->relative_error);
    }
}

static int list_formats(void)
{
    const lb_wformat_info *f;
    printf("format  bits per weight\n");
    for (size_t i = 0; (f = lb_wformat_at(i)) != NULL; i++) {
        if (lb_packer(f->id)) {
            printf("%-6s  %.4g\n", f->name, f->bits);
        }
    }
    return 0;
}

static int list_shapes(void)
{
    const char *name;
    for (size_t i = 0; (name = lb_synth_shape(i)) != NULL; i++) {
        printf("%s\n", name);
    }
    return 0;
}

/* A template that lbrt cannot follow is left out of the file: say so, and why. */
static void note_chat_template(const lb_source *source, const lbrt_allocator *a)
{
    if (!source->tokens || !source->tokens->chat_template) {
        return;
    }
    void *form = NULL;
    size_t bytes = 0;
    lbrt_error err = { LBRT_OK, "" };
    if (lb_tokdata_chat_form(source->tokens, a, &form, &bytes, &err) != LBRT_OK) {
        fprintf(stderr, "%s: note: the chat template is left out, so chat continues plain text: %s\n", program, err.text);
    }
    lb_free(a, form, bytes);
}

static lb_wformat format_named(const lb_usage *usage, const char *name)
{
    const lb_wformat_info *f = lb_wformat_named(name);
    if (!f || !lb_packer(f->id)) {
        lb_usage_fail(usage, "unknown format '%s': see --formats", name);
    }
    return f->id;
}

static int convert_adapter(const char *in, const char *out, lb_wformat format, bool quiet)
{
    lbrt_allocator a = lb_allocator_or_default(NULL);
    lbrt_error err = { LBRT_OK, "" };
    lb_lora lora;
    if (lb_lora_open(in, &a, &lora, &err) != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    lbrt_status s = lb_convert_adapter(&lora, out, format, &a, &err);
    size_t n = 0;
    for (size_t i = 0; i < lora.n_pairs; i++) {
        n += lora.pairs[i].a.data != NULL;
    }
    lb_lora_close(&lora);
    if (s != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    if (!quiet) {
        printf("%s: an adapter of %zu matrices\n", out, n);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *format = NULL, *tokenizer = NULL, *synth = NULL;
    lb_arg_strings tensors = { { NULL }, 0 };
    uint32_t threads = 0, lowrank = 0;
    float salient = 0.0f, outliers = 0.0f;
    bool formats = false, shapes = false, verbose = false, quiet = false;
    const lb_arg args[] = {
        { "--format", "-f", LB_ARG_STRING, &format, "F", "weight format of the linear layers (default q4; f16 for adapters); see --formats" },
        { "--tensor", NULL, LB_ARG_STRINGS, &tensors, "GLOB=F", "format of the tensors whose name matches; repeatable, the last match wins" },
        { "--outliers", NULL, LB_ARG_FLOAT, &outliers, "P", "keep P percent of each row's weights, those that the format hurts most, as f16 (SpQR)" },
        { "--salient-rows", NULL, LB_ARG_FLOAT, &salient, "P", "P percent of each layer's rows, in blocks of 64, that the format hurts most become q8" },
        { "--lowrank", NULL, LB_ARG_UINT, &lowrank, "R", "add a low-rank term of rank R to every layer, fitted in turns with the format (LQ-LoRA)" },
        { "--tokenizer", NULL, LB_ARG_STRING, &tokenizer, "FILE", "take the tokenizer from this file" },
        { "--synth", NULL, LB_ARG_STRING, &synth, "SHAPE", "random weights at a real model's shape instead of an input; see --shapes" },
        { "-t", "--threads", LB_ARG_UINT, &threads, "N", "threads (default: all processors)" },
        { "--formats", NULL, LB_ARG_FLAG, &formats, NULL, "list the weight formats" },
        { "--shapes", NULL, LB_ARG_FLAG, &shapes, NULL, "list the shapes for --synth" },
        { "-v", "--verbose", LB_ARG_FLAG, &verbose, NULL, "one line per tensor: format, bytes, relative squared error" },
        { "-q", "--quiet", LB_ARG_FLAG, &quiet, NULL, "no progress and no summary" },
    };
    const lb_usage usage = { program, "[options] IN OUT.lbrt   |   [options] --synth SHAPE OUT.lbrt",
                             "Converts a model to lbrt's packed format. IN is a .gguf file, a Hugging Face folder (config.json,\n"
                             "*.safetensors, tokenizer files), a llama2.c .bin file, or a LoRA adapter: a PEFT folder (adapter_config.json,\n"
                             "adapter_model.safetensors) or a GGUF file.",
                             args, sizeof args / sizeof args[0], 0, 2 };
    const char *words[2] = { NULL, NULL };
    unsigned n_words = lb_args_parse(&usage, argc, argv, words);
    if (formats) {
        return list_formats();
    }
    if (shapes) {
        return list_shapes();
    }
    if (!(salient >= 0.0f && salient <= 100.0f)) {
        lb_usage_fail(&usage, "--salient-rows is a percentage");
    }
    if (!(outliers >= 0.0f && outliers <= 50.0f)) {
        lb_usage_fail(&usage, "--outliers is a percentage up to 50");
    }
    if ((outliers > 0.0f) + (salient > 0.0f) + (lowrank > 0) > 1) {
        lb_usage_fail(&usage, "--outliers, --salient-rows and --lowrank do not go together");
    }
    if (n_words != (synth ? 1u : 2u)) {
        lb_usage_fail(&usage, synth ? "--synth takes one argument, the output" : "an input and an output are needed");
    }
    const char *out = words[n_words - 1];
    char tensor_globs[LB_ARG_MAX_STRINGS][128];
    lb_convert_rule rules[LB_ARG_MAX_STRINGS];
    for (unsigned i = 0; i < tensors.n; i++) {
        const char *equals = strrchr(tensors.item[i], '=');
        if (!equals || equals == tensors.item[i] || (size_t)(equals - tensors.item[i]) >= sizeof tensor_globs[0]) {
            lb_usage_fail(&usage, "--tensor needs GLOB=FORMAT, not '%s'", tensors.item[i]);
        }
        size_t n = (size_t)(equals - tensors.item[i]);
        memcpy(tensor_globs[i], tensors.item[i], n);
        tensor_globs[i][n] = 0;
        rules[i] = (lb_convert_rule){ tensor_globs[i], format_named(&usage, equals + 1) };
    }

    lbrt_allocator a = lb_allocator_or_default(NULL);
    lbrt_error err = { LBRT_OK, "" };
    if (!synth && lb_lora_is(words[0], &a)) {
        return convert_adapter(words[0], out, format_named(&usage, format ? format : "f16"), quiet);
    }
    const lb_wformat linear = format_named(&usage, format ? format : "q4");
    convert_view view = { .terminal = !quiet && isatty(2), .verbose = verbose, .quiet = quiet, .started = lb_now() };
    lb_source *source;
    lbrt_status s = synth ? lb_source_open_synth(synth, &a, &source, &err) : lb_source_open(words[0], tokenizer, &a, &source, &err);
    if (s != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    if (!quiet) {
        note_chat_template(source, &a);
    }
    /* The input's last name, so that the file does not depend on where the input lay. */
    char origin[256];
    snprintf(origin, sizeof origin, "%s", synth ? source->hparams.name : words[0]);
    for (size_t n = strlen(origin); n > 1 && origin[n - 1] == '/'; n--) {
        origin[n - 1] = 0;
    }
    const char *origin_name = strrchr(origin, '/') && strrchr(origin, '/')[1] ? strrchr(origin, '/') + 1 : origin;
    const lb_convert_options options = { .format = linear,
                                         .rules = rules,
                                         .n_rules = tensors.n,
                                         .threads = threads,
                                         .outliers = outliers,
                                         .salient_rows = salient,
                                         .lowrank = lowrank,
                                         .origin = origin_name,
                                         .progress = show_progress,
                                         .tensor = show_tensor,
                                         .user = &view };
    s = lb_convert(source, out, &options, &a, &err);
    bool tokens = source->tokens != NULL;
    source->close(source);
    if (view.terminal) {
        fprintf(stderr, "\r\033[K");
    }
    if (s != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    if (!quiet) {
        struct rusage use;
        getrusage(RUSAGE_SELF, &use);
        printf("%s: %.4g M weights, %.4g MB, %.3f bits per weight, %.1f s, peak memory %.0f MB%s\n", out,
               (double)view.weights * 1e-6, (double)view.bytes * 1e-6, 8.0 * (double)view.bytes / (double)view.weights,
               lb_now() - view.started, (double)use.ru_maxrss / 1024.0, tokens ? "" : ", no tokenizer");
    }
    return 0;
}
