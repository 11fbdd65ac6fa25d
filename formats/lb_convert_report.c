#include "lb_convert_report.h"

#include <math.h>
#include <stdio.h>
#include <sys/resource.h>

#include "../runtime/base/lb_os.h"
#include "../runtime/lb_args.h"

void lb_view_progress(void *user, double done, const char *tensor)
{
    lb_convert_view *v = (lb_convert_view *)user;
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

static void print_line(FILE *to, const char *name, const char *format, uint64_t bytes, double error, double output)
{
    fprintf(to, "%-32s %-5s %12llu bytes  error %.3g", name, format, (unsigned long long)bytes, error);
    if (output >= 0.0) {
        fprintf(to, ", of the output %.3g", output);
    }
    fputc('\n', to);
}

void lb_view_tensor(void *user, const lb_convert_tensor_report *r)
{
    lb_convert_view *v = (lb_convert_view *)user;
    v->weights += r->weights;
    v->bytes += r->bytes;
    if (r->warning && !v->quiet && (v->n_warnings++ == 0 || v->verbose)) {
        fprintf(stderr, "%swarning: %s %s%s\n", v->terminal ? "\r\033[K" : "", r->name, r->warning,
                v->verbose ? "" : " (and others may follow: -v)");
    }
    if (v->verbose) {
        fputs(v->terminal ? "\r\033[K" : "", stderr);
        print_line(stderr, r->name, r->format, r->bytes, r->relative_error, r->output_error);
    }
    if (v->n_lines < v->max_lines) {
        lb_report_line *line = &v->lines[v->n_lines++];
        *line = (lb_report_line){ .weights = r->weights,
                                  .bytes = r->bytes,
                                  .relative_error = r->relative_error,
                                  .output_error = r->output_error,
                                  .seconds = r->seconds };
        snprintf(line->name, sizeof line->name, "%s", r->name);
        snprintf(line->format, sizeof line->format, "%s", r->format);
    }
}

static double bits_per_weight(const lb_convert_view *v)
{
    return 8.0 * (double)v->bytes / (double)v->weights;
}

static double peak_bytes(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)use.ru_maxrss * 1024.0;
}

/* The layer that a tensor belongs to; -1: none */
static long layer_of(const char *name)
{
    unsigned layer;
    return sscanf(name, "layers.%u.", &layer) == 1 ? (long)layer : -1;
}

/* One line per layer: formats, bytes, and how far what it computes is off */
static void print_layers(const lb_convert_view *v)
{
    for (size_t i = 0; i < v->n_lines;) {
        const long layer = layer_of(v->lines[i].name);
        uint64_t bytes = 0, weights = 0;
        if (layer < 0) {
            fputs(v->lines[i].name, stdout);
        } else {
            printf("layer %ld", layer);
        }
        do {
            const lb_report_line *l = &v->lines[i++];
            const char *dot = strrchr(l->name, '.');
            bytes += l->bytes;
            weights += l->weights;
            if (layer < 0) {
                printf(" %s", l->format);
            } else if (l->output_error >= 0.0) {
                printf("  %s %s %.3g", dot + 1, l->format, l->output_error);
            }
        } while (layer >= 0 && i < v->n_lines && layer_of(v->lines[i].name) == layer);
        printf("  %.3f bits per weight\n", 8.0 * (double)bytes / (double)weights);
    }
}

void lb_view_summary(const lb_convert_view *v, const char *path, bool tokenizer, const lb_calib_report *calib)
{
    if (calib) {
        printf("error of each layer's outputs on the calibration text, relative:\n");
        print_layers(v);
    }
    printf("%s: %.4g M weights, %.4g MB, %.3f bits per weight, %.1f s, peak memory %.0f MB%s\n", path, (double)v->weights * 1e-6,
           (double)v->bytes * 1e-6, bits_per_weight(v), lb_now() - v->started, peak_bytes() / 1048576.0,
           tokenizer ? "" : ", no tokenizer");
    if (v->hint) {
        printf("packed without a text: --calib TEXT makes the loss several times smaller\n");
    }
    if (calib) {
        printf("calibrated with %llu of the text's %llu tokens (%.1f s of running the model)", (unsigned long long)calib->tokens,
               (unsigned long long)calib->text_tokens, calib->seconds);
        if (calib->scored) {
            printf("; KL divergence on %llu others: %.5f", (unsigned long long)calib->scored, calib->kl);
        }
        if (!isnan(calib->predicted)) {
            printf("; %.5f was expected of these formats (chosen in %.1f s)", calib->predicted, calib->budget_seconds);
        }
        printf("\n");
    }
}

static void json_number(const char *key, double x)
{
    if (isfinite(x)) {
        printf(",\"%s\":%.6g", key, x);
    } else {
        printf(",\"%s\":null", key);
    }
}

void lb_view_json(const lb_convert_view *v, const char *path, const lb_calib_report *calib)
{
    printf("{\"file\":");
    lb_json_print(stdout, path);
    printf(",\"weights\":%llu,\"bytes\":%llu", (unsigned long long)v->weights, (unsigned long long)v->bytes);
    json_number("bits_per_weight", bits_per_weight(v));
    json_number("seconds", lb_now() - v->started);
    json_number("peak_bytes", peak_bytes());
    if (calib) {
        printf(",\"calibration\":{\"tokens\":%llu,\"scored\":%llu", (unsigned long long)calib->tokens,
               (unsigned long long)calib->scored);
        json_number("kl_mean", calib->kl);
        json_number("kl_predicted", calib->predicted);
        json_number("seconds", calib->seconds);
        json_number("budget_seconds", isnan(calib->predicted) ? NAN : calib->budget_seconds);
        printf("}");
    }
    printf(",\"tensors\":[");
    for (size_t i = 0; i < v->n_lines; i++) {
        const lb_report_line *l = &v->lines[i];
        printf("%s{\"name\":\"%s\",\"format\":\"%s\",\"weights\":%llu,\"bytes\":%llu", i ? "," : "", l->name, l->format,
               (unsigned long long)l->weights, (unsigned long long)l->bytes);
        json_number("error", l->relative_error);
        json_number("output_error", l->output_error >= 0.0 ? l->output_error : NAN);
        json_number("seconds", l->seconds);
        printf("}");
    }
    printf("]}\n");
}
