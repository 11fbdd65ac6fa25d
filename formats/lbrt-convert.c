/* lbrt-convert: other people's model files, or random weights, to .lbrt. */
#include <limits.h>
#include <unistd.h>

#include "../runtime/base/lb_os.h"
#include "../runtime/lb_args.h"
#include "container/lb_container.h"
#include "lb_convert_report.h"
#include "pack/lb_convert_adapter.h"
#include "pack/lb_feedback.h"
#include "pack/lb_pack.h"

static const char program[] = "lbrt-convert";

static int list_formats(void)
{
    const lb_wformat_info *f;
    printf("format  bits per weight\n");
    for (size_t i = 0; (f = lb_wformat_at(i)) != NULL; i++) {
        if (lb_packer(f->id)) {
            printf("%-6s  %.4g\n", f->name, f->bits);
        }
    }
    return lb_program_end(program, 0);
}

static int list_shapes(void)
{
    const char *name;
    for (size_t i = 0; (name = lb_synth_shape(i)) != NULL; i++) {
        printf("%s\n", name);
    }
    return lb_program_end(program, 0);
}

/* A template that lbrt cannot follow is left out of the file: say so, and why; or what of it is lost. */
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
    } else {
        char note[LB_CHAT_NOTE];
        if (lb_tokdata_chat_differs(source->tokens, form, a, note, &err) == LBRT_OK && *note) {
            fprintf(stderr, "%s: note: the chat template treats messages with these texts in a way of their own, lbrt as any other: %s\n", program, note);
        }
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

static int convert_adapter(const char *in, const char *out, lb_wformat format, bool quiet, bool json)
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
    if (json) {
        printf("{\"file\":");
        lb_json_print(stdout, out);
        printf(",\"adapter\":true,\"format\":\"%s\",\"matrices\":%zu}\n", lb_wformat_find((uint32_t)format)->name, n);
    } else if (!quiet) {
        printf("%s: an adapter of %zu matrices\n", out, n);
    }
    return lb_program_end(program, 0);
}

/* Where the last component of a path begins, and its bytes; slashes at the end do not count ("/" is its own name). */
static const char *last_name(const char *path, size_t *bytes)
{
    size_t end = strlen(path), begin;
    while (end > 1 && path[end - 1] == '/') {
        end--;
    }
    for (begin = end; begin > 0 && path[begin - 1] != '/'; begin--) {
    }
    begin -= begin == end && end > 0;
    *bytes = end - begin;
    return path + begin;
}

/* "2.5bpw", "700MB", "1.2GB" */
static bool parse_budget(const char *text, lb_calib_options *how)
{
    char *unit;
    const double x = strtod(text, &unit);
    if (!(x > 0.0) || x > 1e6) {
        return false;
    }
    if (strcmp(unit, "bpw") == 0) {
        how->budget_bits = x;
        return true;
    }
    const double bytes = strcmp(unit, "MB") == 0 ? x * 1e6 : strcmp(unit, "GB") == 0 ? x * 1e9 : 0.0;
    how->budget_bytes = (uint64_t)bytes;
    return bytes >= 1.0;
}

/* What is there already must be what this program writes: a slip of the arguments would else put a model over its own source. */
static void check_output(const char *path)
{
    unsigned char begin[sizeof lb_file_magic];
    FILE *f = fopen(path, "rb");
    const size_t n = f ? fread(begin, 1, sizeof begin, f) : 0;
    const bool other = f && !ferror(f) && n > 0 && (n < sizeof begin || memcmp(begin, lb_file_magic, sizeof begin) != 0);
    if (f) {
        fclose(f);
    }
    if (other) {
        lb_program_fail(program, "%s is there already, and no .lbrt file: nothing is written over it", path);
    }
}

int main(int argc, char **argv)
{
    const char *format = NULL, *tokenizer = NULL, *synth = NULL;
    lb_arg_strings tensors = { { NULL }, 0 };
    uint32_t threads = 0, lowrank = 0;
    float salient = 0.0f, outliers = 0.0f;
    uint32_t calib_tokens = 0;
    const char *calib = NULL, *budget = NULL;
    bool sparse = false, balance = false, formats = false, shapes = false, verbose = false, quiet = false, json = false;
    const lb_arg args[] = {
        { "--format", "-f", LB_ARG_STRING, &format, "F", "weight format of the linear layers (default q4; f16 for adapters); see --formats" },
        { "--tensor", NULL, LB_ARG_STRINGS, &tensors, "GLOB=F", "format of the tensors whose name matches; repeatable, the last match wins" },
        { "--outliers", NULL, LB_ARG_FLOAT, &outliers, "P", "keep P percent of each row's weights, those that the format hurts most, as f16 (SpQR)" },
        { "--salient-rows", NULL, LB_ARG_FLOAT, &salient, "P", "P percent of each layer's rows, in blocks of 64, that the format hurts most become q8" },
        { "--lowrank", NULL, LB_ARG_UINT, &lowrank, "R", "add a low-rank term of rank R to every layer, fitted in turns with the format (LQ-LoRA)" },
        { "--sparse", NULL, LB_ARG_FLAG, &sparse, NULL, "keep zeros: 2:4 layers as s24q8 or s24q4, others of which more than half is zero as masks and values" },
        { "--kv-balance", NULL, LB_ARG_FLAG, &balance, NULL, "even out keys by powers of two for q4 and q2 KV caches: the same function; not for use with adapters" },
        { "--tokenizer", NULL, LB_ARG_STRING, &tokenizer, "FILE", "take the tokenizer from this file" },
        { "--synth", NULL, LB_ARG_STRING, &synth, "SHAPE", "random weights at a real model's shape instead of an input; see --shapes" },
        { "--calib", NULL, LB_ARG_STRING, &calib, "TEXT", "run the model on this text and quantize for what its layers read there" },
        { "--budget", NULL, LB_ARG_STRING, &budget, "SIZE", "with --calib: the best format for each tensor within 2.5bpw (bits per weight) or 700MB" },
        { "--calib-tokens", NULL, LB_ARG_UINT, &calib_tokens, "N", "of the text's beginning (default 65536)" },
        { "-t", "--threads", LB_ARG_UINT, &threads, "N", "threads (default: all processors)" },
        { "--formats", NULL, LB_ARG_FLAG, &formats, NULL, "list the weight formats" },
        { "--shapes", NULL, LB_ARG_FLAG, &shapes, NULL, "list the shapes for --synth" },
        { "-v", "--verbose", LB_ARG_FLAG, &verbose, NULL, "one line per tensor: format, bytes, relative squared error" },
        { "-q", "--quiet", LB_ARG_FLAG, &quiet, NULL, "no progress and no summary" },
        { "--json", NULL, LB_ARG_FLAG, &json, NULL, "the report as one JSON object on standard output" },
    };
    const lb_usage usage = { program, "[options] IN OUT.lbrt   |   [options] --synth SHAPE OUT.lbrt",
                             "Converts a model to lbrt's packed format. IN is a .gguf file (the first, if it is in parts), a Hugging Face\n"
                             "folder (config.json, *.safetensors, tokenizer files), a llama2.c .bin file, or a LoRA adapter: a PEFT folder (adapter_config.json,\n"
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
    if (synth && calib) {
        lb_usage_fail(&usage, "random weights cannot be calibrated");
    }
    if (calib_tokens && !calib) {
        lb_usage_fail(&usage, "--calib-tokens needs --calib");
    }
    if (n_words != (synth ? 1u : 2u)) {
        lb_usage_fail(&usage, synth ? "--synth takes one argument, the output" : "an input and an output are needed");
    }
    lb_calib_options how = { .n_tokens = calib_tokens, .damping = -1.0, .shift = -1.0 };
    if (budget && (!calib || !parse_budget(budget, &how))) {
        lb_usage_fail(&usage, calib ? "--budget takes a size such as 2.5bpw or 700MB" : "--budget needs --calib");
    }
    if (budget && (outliers > 0.0f || salient > 0.0f || lowrank || sparse)) {
        lb_usage_fail(&usage, "--budget chooses formats alone: not with --outliers, --salient-rows, --lowrank or --sparse");
    }
    const char *out = words[n_words - 1];
    check_output(out);
    char here[PATH_MAX];
    size_t last_bytes;
    const char *last = last_name(words[0], &last_bytes);
    if (!synth && last_bytes <= 2 && strncmp(last, "..", last_bytes) == 0 && realpath(words[0], here)) {
        words[0] = here; /* a model is called what its folder is called */
    }
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
        if (tensors.n || calib || tokenizer || outliers > 0.0f || salient > 0.0f || lowrank || sparse || balance) {
            lb_usage_fail(&usage, "%s is an adapter, which takes --format alone", words[0]);
        }
        return convert_adapter(words[0], out, format_named(&usage, format ? format : "f16"), quiet, json);
    }
    const lb_wformat linear = format_named(&usage, format ? format : "q4");
    const lb_wformat_info *info = lb_wformat_find((uint32_t)linear);
    if (!tensors.n && ((outliers > 0.0f || salient > 0.0f || lowrank) && (info->rotate || info->reads == LB_READS_F32 || (salient > 0.0f && info->bits >= 8.0)))) {
        lb_usage_fail(&usage, "format %s takes no %s", info->name, outliers > 0.0f ? "--outliers" : lowrank ? "--lowrank" : "--salient-rows");
    }
    lb_convert_view view = { .terminal = !quiet && isatty(2), .verbose = verbose, .quiet = quiet, .started = lb_now() };
    lb_source *source;
    lbrt_status s = synth ? lb_source_open_synth(synth, &a, &source, &err) : lb_source_open(words[0], tokenizer, &a, &source, &err);
    if (s != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    for (unsigned i = 0; i < tensors.n && !quiet; i++) {
        bool found = false;
        for (size_t t = 0; t < source->n_tensors && !found; t++) {
            found = lb_glob_match(rules[i].glob, source->tensors[t].name) && !lb_convert_is_vector(source->tensors[t].name);
        }
        if (!found) {
            fprintf(stderr, "%s: note: no matrix of this model matches '%s'\n", program, rules[i].glob);
        }
    }
    size_t balanced = 0;
    if (balance && lb_source_balance(&source, &a, &balanced, &err) != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    if (balance && !quiet) {
        fprintf(stderr, "%zu channels of keys balanced\n", balanced);
    }
    if (!quiet) {
        note_chat_template(source, &a);
    }
    view.hint = !synth && !calib && source->tokens && lb_feedback_can(linear);
    view.max_lines = source->n_tensors;
    view.lines = (lb_report_line *)calloc(view.max_lines, sizeof *view.lines);
    if (!view.lines) {
        lb_program_fail(program, "out of memory");
    }
    /* The input's last name, so that the file does not depend on where the input lay. */
    char origin[256];
    last = synth ? source->hparams.name : last_name(words[0], &last_bytes);
    last_bytes = synth ? strlen(last) : last_bytes;
    snprintf(origin, sizeof origin, "%.*s", (int)lb_min(last_bytes, sizeof origin - 1), last);
    const lb_convert_options options = { .format = linear,
                                         .rules = rules,
                                         .n_rules = tensors.n,
                                         .threads = threads,
                                         .outliers = outliers,
                                         .salient_rows = salient,
                                         .lowrank = lowrank,
                                         .sparse = sparse,
                                         .origin = origin,
                                         .progress = lb_view_progress,
                                         .tensor = lb_view_tensor,
                                         .user = &view };
    lb_calib_report report;
    if (calib) {
        lb_map text = { NULL, 0 };
        s = lb_map_open(calib, &text, &err);
        if (s == LBRT_OK) {
            how.text = (const char *)text.data;
            how.text_bytes = text.bytes;
            s = lb_convert_calibrated(source, out, &options, &how, &a, &report, &err);
        }
        lb_map_close(&text);
    } else {
        s = lb_convert(source, out, &options, &a, &err);
    }
    bool tokens = source->tokens != NULL;
    source->close(source);
    if (view.terminal) {
        fprintf(stderr, "\r\033[K");
    }
    if (s != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    if (json) {
        lb_view_json(&view, out, calib ? &report : NULL);
    } else if (!quiet) {
        lb_view_summary(&view, out, tokens, calib ? &report : NULL);
    }
    free(view.lines);
    return lb_program_end(program, 0);
}
