/*
 * lbrt-needle: does a model still copy what is far back, with a small cache?
 *
 * A passage of the text is repeated until it fills the context; somewhere in it stands a needle, some tokens of another place of the text; at
 * the end come its first tokens again, the cue. The tokens that follow the cue in the needle are to be said. A token counts as copied if
 * it is the likeliest after those before it; a needle is whole if all are, which is when the model would write it out by itself. The same
 * needles are looked for with every cache format, with everything kept, within a window, and after lbrt_compress.
 */
#include "../include/lbrt.h"
#include "../runtime/lb_args.h"

static const char program[] = "lbrt-needle";

enum { DEPTHS = 5, MOST_FORMATS = 16 };

/* Ways of keeping the cache: all, and then compressed; compressed with faint tokens; a window; all, but there is no needle. */
typedef enum needle_way { WAY_ALL, WAY_FAINT, WAY_WINDOW, WAY_NO_NEEDLE, WAYS } needle_way;

typedef struct needle_options {
    const char *text, *formats;
    uint32_t needles, length, cue, passage, ctx, window, keep, faint, threads;
    uint64_t seed;
    bool json;
} needle_options;

/* What one way of keeping the cache has copied. */
typedef struct needle_row {
    const char *kv, *way;
    size_t held;
    size_t copied[DEPTHS], of[DEPTHS], whole;
} needle_row;

static void *need(void *p)
{
    if (!p) {
        lb_program_fail(program, "out of memory");
    }
    return p;
}

static uint64_t next_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static lbrt_token *tokenize_file(const lbrt_model *model, const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        lb_program_fail(program, "cannot open %s: %s", path, strerror(errno));
    }
    enum { MOST = 1 << 24 }; /* bytes: more text than needles are taken from */
    char *text = (char *)need(malloc(MOST));
    const size_t bytes = fread(text, 1, MOST, f);
    const int why = ferror(f) ? errno : 0;
    fclose(f);
    if (why) {
        free(text);
        lb_program_fail(program, "cannot read %s: %s", path, strerror(why));
    }
    lbrt_error err;
    lbrt_token *ids = NULL;
    lbrt_status s = lbrt_tokenize(model, text, bytes, 0, NULL, 0, n, &err);
    if (s == LBRT_ERR_BUFFER) {
        ids = (lbrt_token *)need(malloc(*n * sizeof *ids));
        s = lbrt_tokenize(model, text, bytes, 0, ids, *n, n, &err);
    }
    if (s != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    free(text);
    return ids;
}

/* Needle i: ctx tokens, of which the last length - cue are the answer. Without a needle if `absent`, but the same otherwise. */
static void make_needle(const needle_options *o, const lbrt_model_info *info, const lbrt_token *text, size_t n_text, uint32_t i, bool absent,
                        lbrt_token *out)
{
    uint64_t state = o->seed * 1000003u + i;
    const lbrt_token *passage = text + next_random(&state) % (n_text - o->passage), *needle = text + next_random(&state) % (n_text - o->length);
    const size_t first = info->adds_bos ? 1 : 0, end = o->ctx - o->length;
    const size_t at = first + (size_t)((double)(end - first - o->length) * (2 * (i % DEPTHS) + 1) / (2.0 * DEPTHS));
    out[0] = info->bos;
    for (size_t j = first, from = 0; j < end; j++) {
        const bool inside = !absent && j >= at && j < at + o->length;
        out[j] = inside ? needle[j - at] : passage[from++ % o->passage];
    }
    memcpy(out + end, needle, o->length * sizeof *out);
}

static void must(lbrt_session *s, lbrt_status status)
{
    if (status != LBRT_OK) {
        lb_program_fail(program, "%s", lbrt_session_error(s));
    }
}

/* Feeds what is left of the prompt and the answer but for its last token, and counts what was said right. */
static void count_copied(const needle_options *o, lbrt_session *s, uint32_t n_vocab, const lbrt_token *tokens, uint32_t i, needle_row *row)
{
    const size_t answer = o->length - o->cue, from = o->ctx - answer - 1;
    must(s, lbrt_feed(s, tokens + from, answer));
    size_t right = 0;
    for (size_t j = 0; j < answer; j++) {
        const float *logits = lbrt_logits(s, answer - 1 - j);
        size_t best = 0;
        for (size_t v = 1; v < n_vocab; v++) {
            best = logits[v] > logits[best] ? v : best;
        }
        right += (lbrt_token)best == tokens[from + 1 + j];
    }
    row->copied[i % DEPTHS] += right;
    row->of[i % DEPTHS] += answer;
    row->whole += right == answer;
    row->held = lbrt_session_held(s);
}

static lbrt_session *make_session(const needle_options *o, lbrt_model *model, const char *kv, needle_way way)
{
    lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
    int key = 0, value = 0;
    if (!lb_arg_kv(kv, &key, &value)) {
        lb_program_fail(program, "unknown KV format '%s': " LB_ARG_KV, kv);
    }
    so.kv_key = (lbrt_kv_format)key;
    so.kv_value = (lbrt_kv_format)value;
    so.n_context = o->ctx;
    so.n_threads = o->threads;
    so.n_logits = o->length - o->cue;
    so.window = way == WAY_WINDOW ? o->window : 0;
    so.n_faint = way == WAY_FAINT ? o->faint : 0;
    lbrt_session *s;
    lbrt_error err;
    if (lbrt_session_create(model, &so, &s, &err) != LBRT_OK) {
        lb_program_fail(program, "%s", err.text);
    }
    return s;
}

/* All needles with one format. Returns how many rows were filled. */
static size_t run_needles(const needle_options *o, lbrt_model *model, const lbrt_token *text, size_t n_text, const char *kv, needle_way way,
                          needle_row *rows)
{
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    lbrt_model_describe(model, &info);
    lbrt_session *s = make_session(o, model, kv, way);
    const size_t before = o->ctx - (o->length - o->cue) - 1;
    const bool all = way != WAY_FAINT, compress = o->keep && (way == WAY_ALL || way == WAY_FAINT);
    lbrt_token *tokens = (lbrt_token *)need(malloc(o->ctx * sizeof *tokens));
    static const char *const names[WAYS] = { "all", "faint", "window", "no needle" };
    rows[0] = (needle_row){ .kv = kv, .way = names[way] };
    rows[1] = (needle_row){ .kv = kv, .way = "compressed" };
    for (uint32_t i = 0; i < o->needles; i++) {
        make_needle(o, &info, text, n_text, i, way == WAY_NO_NEEDLE, tokens);
        must(s, lbrt_rewind(s, 0));
        must(s, lbrt_feed(s, tokens, before));
        if (all) {
            count_copied(o, s, info.n_vocab, tokens, i, &rows[0]);
            must(s, lbrt_rewind(s, before));
        }
        if (compress) {
            must(s, lbrt_compress(s, o->keep));
            count_copied(o, s, info.n_vocab, tokens, i, &rows[all]);
        }
    }
    free(tokens);
    lbrt_session_free(s);
    return all + compress;
}

static void print_row(const needle_options *o, const needle_row *r, bool first)
{
    size_t copied = 0, of = 0;
    for (size_t d = 0; d < DEPTHS; d++) {
        copied += r->copied[d];
        of += r->of[d];
    }
    if (o->json) {
        printf("%s{\"kv\":\"%s\",\"way\":\"%s\",\"held\":%zu,\"copied\":%zu,\"of\":%zu,\"whole\":%zu,\"depths\":[", first ? "" : ",", r->kv, r->way,
               r->held, copied, of, r->whole);
    } else {
        printf("%-7s %-11s %5zu %6zu of %-6zu %5zu   ", r->kv, r->way, r->held, copied, of, r->whole);
    }
    for (size_t d = 0; d < DEPTHS; d++) {
        printf(o->json ? "%s%.4g" : "%s%5.1f%%", d && o->json ? "," : " ", (o->json ? 1.0 : 100.0) * (double)r->copied[d] / (double)r->of[d]);
    }
    fputs(o->json ? "]}" : "\n", stdout);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    needle_options o = { .formats = "f32,f16,q8,q4,q2", .needles = 60, .length = 24, .cue = 10, .passage = 44, .window = UINT32_MAX,
                         .keep = UINT32_MAX, .seed = 1 };
    const lb_arg args[] = {
        { "--text", "-f", LB_ARG_STRING, &o.text, "FILE", "the text that passages and needles are taken from" },
        { "--kv", NULL, LB_ARG_STRING, &o.formats, "F,F", "KV cache formats (default f32,f16,q8,q4,q2)" },
        { "--needles", NULL, LB_ARG_UINT, &o.needles, "N", "how many, at five depths in turn (default 60)" },
        { "--length", NULL, LB_ARG_UINT, &o.length, "N", "tokens of a needle (default 24)" },
        { "--cue", NULL, LB_ARG_UINT, &o.cue, "N", "of these, how many are given at the end (default 10)" },
        { "--passage", NULL, LB_ARG_UINT, &o.passage, "N", "tokens of what is repeated around it (default 44)" },
        { "--ctx", "-c", LB_ARG_UINT, &o.ctx, "N", "tokens of everything (default: the model's context)" },
        { "--window", NULL, LB_ARG_UINT, &o.window, "N", "also with this window (default: a quarter of --ctx; 0: not)" },
        { "--keep", NULL, LB_ARG_UINT, &o.keep, "N", "also compressed to N tokens before the last of the cue (default: a quarter; 0: not)" },
        { "--faint", NULL, LB_ARG_UINT, &o.faint, "N", "also compressed with room for N of the others in 2 bits (256, ...; --keep 256 at least)" },
        { "--seed", NULL, LB_ARG_U64, &o.seed, "S", "which needles (default 1)" },
        { "-t", "--threads", LB_ARG_UINT, &o.threads, "N", "threads (default: all processors)" },
        { "--json", NULL, LB_ARG_FLAG, &o.json, NULL, "one JSON object on standard output" },
    };
    const lb_usage usage = { program, "[options] --text FILE MODEL.lbrt",
                             "Counts how many tokens of needles in a repetitive text a model copies, with each KV cache format.", args,
                             sizeof args / sizeof args[0], 1, 1 };
    const char *path = NULL;
    lb_args_parse(&usage, argc, argv, &path);
    if (!o.text) {
        lb_usage_fail(&usage, "--text is needed");
    }
    char formats[128], *kv[MOST_FORMATS], *save = NULL;
    size_t n_formats = 0, n_rows = 0, n_text;
    snprintf(formats, sizeof formats, "%s", o.formats);
    char *f = strtok_r(formats, ",", &save);
    for (; f && n_formats < MOST_FORMATS; f = strtok_r(NULL, ",", &save)) {
        int key, value;
        if (!lb_arg_kv(f, &key, &value)) {
            lb_usage_fail(&usage, "unknown KV format '%s': " LB_ARG_KV, f);
        }
        kv[n_formats++] = f;
    }
    if (strlen(o.formats) >= sizeof formats || f) {
        lb_usage_fail(&usage, "--kv takes at most %d formats", (int)MOST_FORMATS);
    }
    if (o.cue == 0 || o.cue >= o.length || o.passage == 0 || o.needles < DEPTHS || n_formats == 0) {
        lb_usage_fail(&usage, "needs --cue below --length, %d needles at least, and a passage", (int)DEPTHS);
    }
    lbrt_model *model;
    lbrt_error err;
    if (lbrt_model_open(path, NULL, &model, &err) != LBRT_OK) {
        lb_program_fail_model(program, path, &err);
    }
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    lbrt_model_describe(model, &info);
    o.ctx = o.ctx ? o.ctx : info.n_context;
    if (o.ctx > 1u << 20 || o.length > 1u << 20 || o.ctx < 3 * o.length) {
        lb_usage_fail(&usage, "a needle of %u tokens in a context of %u", o.length, o.ctx);
    }
    o.window = o.window == UINT32_MAX ? o.ctx / 4 : o.window;
    o.keep = o.keep == UINT32_MAX ? o.ctx / 4 : o.keep;
    lbrt_token *text = tokenize_file(model, o.text, &n_text);
    if (n_text <= o.length || n_text <= o.passage) {
        lb_program_fail(program, "the text has only %zu tokens", n_text);
    }

    if (o.json) {
        printf("{\"ctx\":%u,\"needles\":%u,\"length\":%u,\"cue\":%u,\"passage\":%u,\"seed\":%llu,\"rows\":[", o.ctx, o.needles, o.length, o.cue, o.passage,
               (unsigned long long)o.seed);
    } else {
        printf("%u needles of %u tokens, cue %u, in %u tokens, seed %llu\n%-7s %-11s %5s %16s %5s    at depth 10%%, 30%%, 50%%, 70%%, 90%%\n", o.needles, o.length,
               o.cue, o.ctx, (unsigned long long)o.seed, "cache", "kept", "held", "tokens copied", "whole");
    }
    for (size_t i = 0; i < n_formats; i++) {
        for (needle_way way = WAY_ALL; way < WAYS; way++) {
            needle_row rows[2];
            if ((way == WAY_FAINT && (!o.faint || !o.keep || strchr(kv[i], 'f'))) || (way == WAY_WINDOW && !o.window) ||
                (way == WAY_NO_NEEDLE && i > 0)) { /* what is guessed without a needle depends little on the format */
                continue;
            }
            const size_t n = run_needles(&o, model, text, n_text, kv[i], way, rows);
            for (size_t j = 0; j < n; j++) {
                print_row(&o, &rows[j], n_rows++ == 0);
            }
        }
    }
    fputs(o.json ? "]}\n" : "", stdout);
    free(text);
    lbrt_model_close(model);
    return lb_program_end(program, 0);
}
