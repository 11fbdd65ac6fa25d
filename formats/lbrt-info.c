/* lbrt-info: what is inside a .lbrt file. */
#include <inttypes.h>

#include "../runtime/base/lb_utf8.h"
#include "../runtime/engine/lb_model.h"
#include "../runtime/lb_args.h"

static const char program[] = "lbrt-info";

enum { INFO_NAME = 256 };

static uint64_t tensor_bytes(const lb_tensor *t)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < t->n_terms; i++) {
        for (unsigned j = 0; j < t->terms[i].n_parts; j++) {
            bytes += t->terms[i].parts[j].bytes;
        }
    }
    return bytes;
}

/* As a file has it, so that it may be shown */
static const char *tensor_name(const lb_tensor *t, char *out)
{
    const size_t n = lb_min(t->name_bytes, INFO_NAME - 1);
    memcpy(out, t->name, n);
    out[n] = 0;
    lb_utf8_clean(out, n);
    return out;
}

/* What a term's numbers are */
static const char *part_format(lb_term_kind kind, const lb_part *p)
{
    const lb_wformat_info *f = lb_wformat_find((uint32_t)p->format);
    return f ? f->name : kind == LB_TERM_MASKED ? "q8" : "f16";
}

static const char *term_kind(lb_term_kind k)
{
    static const char *const names[] = { "", "packed", "chain", "vector", "sparse", "masked" };
    return names[k];
}

static void print_json(const lb_container *c, const lb_hparams *h, const lbrt_model_info *info)
{
    printf("{\"architecture\":");
    lb_json_print(stdout, h->architecture);
    printf(",\"name\":");
    lb_json_print(stdout, h->name);
    printf(",\"parameters\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"bits_per_weight\":%.6g,\"metadata\":{", info->parameters,
           info->file_bytes, info->bits_per_weight);
    lb_meta_value values[LB_HPARAMS_KEYS];
    size_t n = lb_hparams_list(h, values, LB_HPARAMS_KEYS);
    for (size_t i = 0; i < n; i++) {
        printf("%s\"%s\":", i ? "," : "", values[i].key);
        switch (values[i].type) {
        case LB_META_STRING: lb_json_print(stdout, values[i].s); break;
        case LB_META_F64: printf("%.9g", values[i].f); break;
        case LB_META_BOOL: printf("%s", values[i].u ? "true" : "false"); break;
        default: printf("%" PRIu64, values[i].u); break;
        }
    }
    printf("},\"tensors\":[");
    for (size_t i = 0; i < c->n_tensors; i++) {
        const lb_tensor *t = &c->tensors[i];
        char name[INFO_NAME];
        printf("%s{\"name\":", i ? "," : "");
        lb_json_print(stdout, tensor_name(t, name));
        printf(",\"shape\":[%" PRIu64 ",%" PRIu64 "],\"bytes\":%" PRIu64 ",\"terms\":[", t->rows, t->cols, tensor_bytes(t));
        for (unsigned j = 0; j < t->n_terms; j++) {
            const lb_term *m = &t->terms[j];
            printf("%s{\"kind\":\"%s\",\"rows\":[%" PRIu64 ",%" PRIu64 "],\"cols\":[%" PRIu64 ",%" PRIu64 "],\"parts\":[", j ? "," : "",
                   term_kind(m->kind), m->row0, m->n_rows, m->col0, m->n_cols);
            for (unsigned k = 0; k < m->n_parts; k++) {
                const lb_part *p = &m->parts[k];
                printf("%s{\"format\":\"%s\",\"shape\":[%" PRIu64 ",%" PRIu64 "],\"bytes\":%" PRIu64 ",\"checksum\":\"%016" PRIx64 "\"}",
                       k ? "," : "", part_format(m->kind, p), p->rows, p->cols, p->bytes, p->checksum);
            }
            printf("]}");
        }
        printf("]}");
    }
    printf("]}\n");
}

static void print_summary(const lb_container *c, const lb_hparams *h, const lbrt_model_info *info)
{
    printf("%s (%s)\n", h->name, h->architecture);
    printf("  parameters       %" PRIu64 " (%.3f bits per weight)\n", info->parameters, info->bits_per_weight);
    printf("  file             %.2f MB, %zu tensors, fingerprint %016" PRIx64 "\n", (double)info->file_bytes * 1e-6, c->n_tensors,
           c->fingerprint);
    printf("  read per token   %.2f MB\n", (double)info->token_bytes * 1e-6);
    printf("  layers           %u of width %u, feed-forward %u%s\n", h->n_layers, h->dim, h->ffn_dim,
           h->activation == LB_ACT_RELU2 ? " (squared ReLU)" : "");
    printf("  attention        %u heads, %u KV heads, head width %u, rotary %u (theta %g%s)\n", h->n_heads, h->n_kv_heads,
           h->head_dim, h->rope_dim, (double)h->rope_theta, h->rope_interleaved ? ", interleaved" : "");
    printf("  context          %u tokens\n", h->n_context);
    printf("  vocabulary       %u%s%s\n", h->n_vocab, c->tokenizer.data ? "" : ", no tokenizer",
           info->has_chat_template ? ", chat template" : "");
    char origin[512];
    if (lb_meta_string(c, "origin", origin, sizeof origin)) {
        printf("  made from        %s\n", origin);
    }
    printf("  formats         ");
    for (uint32_t f = 0; f < LB_W_COUNT; f++) { /* 0: sparse and masked terms */
        uint64_t bytes = 0;
        for (size_t i = 0; i < c->n_tensors; i++) {
            for (unsigned j = 0; j < c->tensors[i].n_terms; j++) {
                for (unsigned k = 0; k < c->tensors[i].terms[j].n_parts; k++) {
                    const lb_part *p = &c->tensors[i].terms[j].parts[k];
                    bytes += (uint32_t)p->format == f ? p->bytes : 0;
                }
            }
        }
        if (bytes) {
            printf(" %s %.2f MB", f ? lb_wformat_find(f)->name : "sparse", (double)bytes * 1e-6);
        }
    }
    printf("\n");
}

static void print_tensors(const lb_container *c)
{
    for (size_t i = 0; i < c->n_tensors; i++) {
        const lb_tensor *t = &c->tensors[i];
        char name[INFO_NAME];
        printf("%-28s %8" PRIu64 " x %-8" PRIu64 " %12" PRIu64 " bytes ", tensor_name(t, name), t->rows, t->cols, tensor_bytes(t));
        for (unsigned j = 0; j < t->n_terms; j++) {
            const lb_term *m = &t->terms[j];
            printf("%s%s %s", j ? " + " : " ", term_kind(m->kind), part_format(m->kind, &m->parts[0]));
            if (m->kind == LB_TERM_CHAIN) {
                printf("*%s (rank %" PRIu64 ")", part_format(m->kind, &m->parts[1]), m->parts[0].cols);
            }
            if (m->n_rows != t->rows) {
                printf(" rows %" PRIu64 "..%" PRIu64, m->row0, m->row0 + m->n_rows - 1);
            }
            if (t->n_terms > 1) {
                printf(" %" PRIu64 " bytes", m->parts[0].bytes + (m->n_parts > 1 ? m->parts[1].bytes : 0));
            }
        }
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    bool verify = false, tensors = false, json = false;
    const lb_arg args[] = {
        { "--verify", NULL, LB_ARG_FLAG, &verify, NULL, "check every checksum" },
        { "--tensors", NULL, LB_ARG_FLAG, &tensors, NULL, "list every tensor: shape, bytes, terms and their formats" },
        { "--json", NULL, LB_ARG_FLAG, &json, NULL, "everything as one JSON object" },
    };
    const lb_usage usage = { program, "[options] MODEL.lbrt", "Shows what is inside a model file.", args, sizeof args / sizeof args[0], 1, 1 };
    const char *path;
    lb_args_parse(&usage, argc, argv, &path);
    lbrt_error err;
    lbrt_model *model;
    lbrt_model_options options = LBRT_MODEL_OPTIONS_INIT;
    options.verify = verify;
    if (lbrt_model_open(path, &options, &model, &err) != LBRT_OK) {
        lb_program_fail_model(program, path, &err);
    }
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    lbrt_model_describe(model, &info);
    if (json) {
        print_json(&model->file, &model->hparams, &info);
    } else {
        print_summary(&model->file, &model->hparams, &info);
        if (tensors) {
            print_tensors(&model->file);
        }
        if (verify) {
            printf("  checksums        all right\n");
        }
    }
    lbrt_model_close(model);
    return lb_program_end(program, 0);
}
