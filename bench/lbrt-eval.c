/*
 * lbrt-eval: perplexity of a text, and the KL divergence from another model.
 *
 * The definition is llama.cpp's: the text is tokenized once (with bos if the model adds one) and cut into chunks of ctx tokens; the first
 * token of each chunk is replaced by bos (if the model adds one); each chunk starts from an empty cache; the predictions made at positions
 * ctx / 2 .. ctx - 2 are scored.
 */
#include <unistd.h>

#include "../include/lbrt.h"
#include "../runtime/lb_args.h"

static const char program[] = "lbrt-eval";

typedef struct eval_model {
    lbrt_model *model;
    lbrt_session *session;
    lbrt_model_info info;
} eval_model;

static void *need(void *p)
{
    if (!p) {
        lb_program_fail(program, "out of memory");
    }
    return p;
}

static eval_model open_model(const char *path, const lbrt_session_options *so, float split, bool byte_tables)
{
    lbrt_model_options mo = LBRT_MODEL_OPTIONS_INIT;
    mo.outlier_threshold = split;
    mo.byte_tables = byte_tables;
    eval_model m = { .info = LBRT_MODEL_INFO_INIT };
    lbrt_error err;
    if (lbrt_model_open(path, &mo, &m.model, &err) != LBRT_OK) {
        lb_program_fail_model(program, path, &err);
    }
    if (lbrt_session_create(m.model, so, &m.session, &err) != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    lbrt_model_describe(m.model, &m.info);
    return m;
}

static char *read_all(const char *path, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        lb_program_fail(program, "cannot open %s: %s", path, strerror(errno));
    }
    size_t cap = 1 << 16, n = 0, got;
    char *data = (char *)need(malloc(cap + 1));
    while ((got = fread(data + n, 1, cap - n, f)) > 0) {
        n += got;
        if (n == cap) {
            data = (char *)need(realloc(data, (cap *= 2) + 1));
        }
    }
    const int why = ferror(f) ? errno : 0;
    fclose(f);
    if (why) {
        free(data);
        lb_program_fail(program, "cannot read %s: %s", path, strerror(why));
    }
    data[n] = 0;
    *bytes = n;
    return data;
}

/* Ids, separated by white space, commas or brackets. */
static lbrt_token *parse_ids(const char *path, size_t *n)
{
    size_t bytes;
    char *all = read_all(path, &bytes);
    const char *text = all;
    size_t cap = 1024;
    lbrt_token *ids = (lbrt_token *)need(malloc(cap * sizeof *ids));
    *n = 0;
    while (*text) {
        if (strchr(" \t\r\n,[]", *text)) {
            text++;
            continue;
        }
        if (*text < '0' || *text > '9') {
            char wrong[9];
            const size_t at = (size_t)(text - all);
            snprintf(wrong, sizeof wrong, "%s", text);
            free(all);
            free(ids);
            lb_program_fail(program, "%s: '%s' at byte %zu is no token id", path, wrong, at);
        }
        char *end;
        unsigned long v = strtoul(text, &end, 10);
        if (*n == cap) {
            ids = (lbrt_token *)need(realloc(ids, (cap *= 2) * sizeof *ids));
        }
        ids[(*n)++] = (lbrt_token)(v < INT32_MAX ? v : INT32_MAX);
        text = end;
    }
    free(all);
    return ids;
}

static lbrt_token *tokenize_file(const eval_model *m, const char *path, size_t *n)
{
    size_t bytes;
    lbrt_error err;
    char *text = read_all(path, &bytes);
    lbrt_token *ids = NULL;
    lbrt_status s = lbrt_tokenize(m->model, text, bytes, LBRT_TOKENIZE_BOS, NULL, 0, n, &err);
    if (s == LBRT_ERR_BUFFER) {
        ids = (lbrt_token *)need(malloc(*n * sizeof *ids));
        s = lbrt_tokenize(m->model, text, bytes, LBRT_TOKENIZE_BOS, ids, *n, n, &err);
    }
    if (s != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    free(text);
    return ids;
}

/* log of the sum of exponentials, and where the maximum is */
static double log_sum_exp(const float *logits, size_t n, size_t *best)
{
    *best = 0;
    for (size_t i = 1; i < n; i++) {
        if (logits[i] > logits[*best]) {
            *best = i;
        }
    }
    double sum = 0, top = (double)logits[*best];
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)logits[i] - top);
    }
    return top + log(sum);
}

typedef struct eval_result {
    size_t n;
    double nll, nll2; /* sums of the negative log likelihood and its square */
    size_t n_kl, same_top;
    double kl, base_nll;
    float *kls;
} eval_result;

static void score(eval_result *r, const float *logits, const float *base, size_t n_vocab, lbrt_token next)
{
    size_t best, base_best;
    double lse = log_sum_exp(logits, n_vocab, &best);
    double nll = lse - (double)logits[next];
    r->n++;
    r->nll += nll;
    r->nll2 += nll * nll;
    if (base) {
        double base_lse = log_sum_exp(base, n_vocab, &base_best), kl = 0;
        for (size_t i = 0; i < n_vocab; i++) {
            double lp = (double)base[i] - base_lse;
            kl += exp(lp) * (lp - ((double)logits[i] - lse));
        }
        r->base_nll += base_lse - (double)base[next];
        r->kl += kl;
        r->kls[r->n_kl++] = (float)kl;
        r->same_top += best == base_best;
    }
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Predictions of tokens that mean something else cannot be compared; as a base model may lack some of its child's, that is only said. */
static void compare_tokens(const lbrt_model *m, const lbrt_model *base, uint32_t n_vocab)
{
    uint32_t differ = 0, first = 0;
    for (uint32_t i = 0; i < n_vocab; i++) {
        const char *text[2];
        size_t bytes[2];
        if (lbrt_token_text(m, (lbrt_token)i, true, &text[0], &bytes[0]) != LBRT_OK ||
            lbrt_token_text(base, (lbrt_token)i, true, &text[1], &bytes[1]) != LBRT_OK) {
            return; /* a model without a tokenizer */
        }
        if (bytes[0] != bytes[1] || memcmp(text[0], text[1], bytes[0]) != 0) {
            first = differ++ ? first : i;
        }
    }
    if (differ) {
        fprintf(stderr, "%s: note: the models' tokenizers differ in %u of %u tokens, first in %u: the divergence is not that of one text\n", program, differ,
                n_vocab, first);
    }
}

static void feed(const eval_model *m, const lbrt_token *tokens, size_t n)
{
    if (lbrt_feed(m->session, tokens, n) != LBRT_OK) {
        lb_program_fail(program, "%s", lbrt_session_error(m->session));
    }
}

int main(int argc, char **argv)
{
    const char *text = NULL, *ids_file = NULL, *base_path = NULL, *kv = NULL;
    uint32_t ctx = 512, chunks = 0, threads = 0, batch = 128;
    float split = 0.0f;
    bool json = false, quiet = false, byte_tables = false;
    const lb_arg args[] = {
        { "--text", "-f", LB_ARG_STRING, &text, "FILE", "the text" },
        { "--tokens", NULL, LB_ARG_STRING, &ids_file, "FILE", "token ids instead of a text" },
        { "--ctx", "-c", LB_ARG_UINT, &ctx, "N", "tokens per chunk (default 512)" },
        { "--chunks", NULL, LB_ARG_UINT, &chunks, "N", "only the first N chunks" },
        { "--base", NULL, LB_ARG_STRING, &base_path, "MODEL", "also the KL divergence and top-1 agreement against this model" },
        { "--kv", NULL, LB_ARG_STRING, &kv, "F", "KV cache: " LB_ARG_KV " (default f16); the base model keeps f16" },
        { "--split", NULL, LB_ARG_FLOAT, &split, "T", "activations |x| >= T in float, LLM.int8() (default: 6 for int8; negative: none)" },
        { "--byte-tables", NULL, LB_ARG_FLAG, &byte_tables, NULL, "T-MAC's rounded tables in lut4 .. lut1 (not in the base model)" },
        { "-t", "--threads", LB_ARG_UINT, &threads, "N", "threads (default: all processors)" },
        { "-b", "--batch", LB_ARG_UINT, &batch, "N", "tokens computed at once (default 128; any value gives the same digits)" },
        { "--json", NULL, LB_ARG_FLAG, &json, NULL, "one JSON object on standard output" },
        { "-q", "--quiet", LB_ARG_FLAG, &quiet, NULL, "no progress" },
    };
    const lb_usage usage = { program, "[options] --text FILE MODEL.lbrt",
                             "Measures perplexity (llama.cpp's definition: predictions of the second half of each chunk).", args,
                             sizeof args / sizeof args[0], 1, 1 };
    const char *path;
    lb_args_parse(&usage, argc, argv, &path);
    if (!text == !ids_file) {
        lb_usage_fail(&usage, "either --text or --tokens is needed");
    }
    if (ctx < 4 || ctx > 1 << 20 || batch == 0) {
        lb_usage_fail(&usage, "--ctx must be from 4 to %d, --batch at least 1", 1 << 20);
    }
    lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
    so.n_context = ctx;
    so.n_batch = batch < ctx ? batch : ctx;
    so.n_threads = threads;
    so.n_logits = so.n_batch;
    lbrt_session_options base_options = so;
    int key = 0, value = 0;
    if (kv && !lb_arg_kv(kv, &key, &value)) {
        lb_usage_fail(&usage, "unknown KV format '%s': " LB_ARG_KV, kv);
    }
    so.kv_key = (lbrt_kv_format)key;
    so.kv_value = (lbrt_kv_format)value;
    eval_model m = open_model(path, &so, split, byte_tables), base = { .model = NULL };
    if (base_path) {
        base = open_model(base_path, &base_options, 0.0f, false);
        if (base.info.n_vocab != m.info.n_vocab) {
            lb_program_fail(program, "the models have %u and %u tokens", m.info.n_vocab, base.info.n_vocab);
        }
        compare_tokens(m.model, base.model, m.info.n_vocab);
    }
    size_t n_tokens;
    lbrt_token *tokens;
    if (ids_file) {
        tokens = parse_ids(ids_file, &n_tokens);
    } else {
        tokens = tokenize_file(&m, text, &n_tokens);
    }
    size_t n_chunks = n_tokens / ctx;
    n_chunks = chunks && chunks < n_chunks ? chunks : n_chunks;
    if (n_chunks == 0) {
        lb_program_fail(program, "the text has only %zu tokens, less than one chunk of %u", n_tokens, ctx);
    }

    for (size_t i = 0; i < n_chunks * ctx; i++) {
        if (tokens[i] < 0 || (uint32_t)tokens[i] >= m.info.n_vocab) {
            lb_program_fail(program, "number %zu, %d, is no token of this model", i + 1, (int)tokens[i]);
        }
    }

    eval_result r = { .n = 0 };
    size_t scored = n_chunks * (ctx - 1 - ctx / 2);
    r.kls = (float *)need(malloc(scored * sizeof *r.kls));
    bool progress = !quiet && isatty(2);
    for (size_t c = 0; c < n_chunks; c++) {
        lbrt_token *chunk = tokens + c * ctx;
        if (m.info.adds_bos && m.info.bos >= 0) {
            chunk[0] = m.info.bos;
        }
        lbrt_rewind(m.session, 0);
        if (base.model) {
            lbrt_rewind(base.session, 0);
        }
        for (size_t at = 0; at < ctx; at += so.n_batch) {
            size_t n = ctx - at < so.n_batch ? ctx - at : so.n_batch;
            feed(&m, chunk + at, n);
            if (base.model) {
                feed(&base, chunk + at, n);
            }
            for (size_t i = 0; i < n; i++) {
                if (at + i >= ctx / 2 && at + i + 1 < ctx) {
                    score(&r, lbrt_logits(m.session, n - 1 - i), base.model ? lbrt_logits(base.session, n - 1 - i) : NULL,
                          m.info.n_vocab, chunk[at + i + 1]);
                }
            }
        }
        if (progress) {
            fprintf(stderr, "\rchunk %zu of %zu: perplexity %.4f ", c + 1, n_chunks, exp(r.nll / (double)r.n));
        }
    }
    if (progress) {
        fprintf(stderr, "\r\033[K");
    }
    double mean = r.nll / (double)r.n, var = r.nll2 / (double)r.n - mean * mean;
    double perplexity = exp(mean), error = r.n > 1 && var > 0 ? perplexity * sqrt(var / (double)(r.n - 1)) : 0;
    if (!isfinite(perplexity) || !isfinite(r.kl) || !isfinite(r.base_nll)) {
        lb_program_fail(program, "the model's predictions are no finite numbers");
    }
    if (json) {
        printf("{\"tokens\":%zu,\"perplexity\":%.9g,\"stderr\":%.6g", r.n, perplexity, error);
    } else {
        printf("perplexity %.6f +- %.6f (%zu tokens scored, %zu chunks of %u)\n", perplexity, error, r.n, n_chunks, ctx);
    }
    if (base.model) {
        qsort(r.kls, r.n_kl, sizeof *r.kls, compare_floats);
        double p99 = (double)r.kls[(size_t)((double)(r.n_kl - 1) * 0.99)];
        double kl = r.kl / (double)r.n_kl, top = (double)r.same_top / (double)r.n_kl, base_ppl = exp(r.base_nll / (double)r.n_kl);
        if (json) {
            printf(",\"base_perplexity\":%.9g,\"kl_mean\":%.6g,\"kl_p99\":%.6g,\"top1\":%.6g", base_ppl, kl, p99, top);
        } else {
            printf("base       %.6f\nKL mean %.6f, 99%% %.6f, same top token %.3f%%\n", base_ppl, kl, p99, 100.0 * top);
        }
    }
    printf(json ? "}\n" : "");
    free(r.kls);
    free(tokens);
    lbrt_session_free(m.session);
    lbrt_model_close(m.model);
    lbrt_session_free(base.session);
    lbrt_model_close(base.model);
    return lb_program_end(program, 0);
}
