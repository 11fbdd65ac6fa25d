/* Calls that need no session: text and tokens, models opened in every way, adapters. */
#include "lb_fuzz_api.h"

#include <fcntl.h>
#include <unistd.h>

/* ---- text ---- */

void api_call_text(api *a)
{
    const unsigned flags = api_next(a) % 4, n = api_next(a);
    const size_t bytes = n < (size_t)(a->end - a->p) ? n : (size_t)(a->end - a->p);
    const lbrt_model *m = api_models[0].model;
    char *text = lb_fuzz_text(a->p, bytes), out[2048], *gate_out = malloc(3 * (bytes + 4));
    lb_fuzz_check(gate_out != NULL, "out of memory");
    a->p += bytes;
    lbrt_token ids[512];
    size_t count = 0, need = 0, sum = 0;
    lbrt_error err = { LBRT_OK, "" };
    lb_fuzz_check(lbrt_tokenize(m, text, bytes, flags, ids, 512, &count, &err) == LBRT_OK, err.text);
    lb_fuzz_check(lbrt_tokenize(m, text, bytes, flags, NULL, 0, &need, &err) == (count ? LBRT_ERR_BUFFER : LBRT_OK) && need == count,
                  "another number of tokens without a place for them");
    lb_fuzz_check(lbrt_detokenize(m, ids, count, out, sizeof out, &need, &err) == LBRT_OK, err.text);
    if (!(flags & LBRT_TOKENIZE_SPECIAL)) {
        lb_fuzz_check(need == bytes && memcmp(out, text, bytes) == 0, "a text that does not come back");
    }
    lb_fuzz_check(need == 0 || (lbrt_detokenize(m, ids, count, out, need - 1, &sum, &err) == LBRT_ERR_BUFFER && sum == need), "a text in too little room");
    for (size_t i = 0; i < count; i++) {
        const char *piece = NULL;
        size_t length = 0;
        lb_fuzz_check(lbrt_token_text(m, ids[i], flags & 1, &piece, &length) == LBRT_OK && (piece || !length), "a token without a text");
        lb_fuzz_check(!lbrt_token_ends(m, ids[i]) || ids[i] == 2 || ids[i] == API_VOCAB - 1 || length == 0 || (flags & LBRT_TOKENIZE_SPECIAL),
                      "an end inside a text");
    }
    const lbrt_token no = (lbrt_token)n - 300;
    const char *piece = NULL;
    size_t length = 0;
    lb_fuzz_check(lbrt_token_text(m, no, true, &piece, &length) == LBRT_ERR_ARGUMENT && !lbrt_token_ends(m, no), "a token that is none");
    lb_fuzz_check(lbrt_detokenize(m, &no, 1, out, sizeof out, &need, &err) != LBRT_OK, "the text of a token that is none");
    /* The gate gives the same however the bytes come. */
    lbrt_utf8 gate = { { 0 }, 0 };
    char *other = malloc(3 * (bytes + 4));
    lb_fuzz_check(other != NULL, "out of memory");
    size_t got = lbrt_utf8_push(&gate, text, bytes, gate_out);
    lb_fuzz_check(got <= 3 * (bytes + 4), "more than there is room for");
    length = lbrt_utf8_push(&gate, NULL, 0, out);
    lb_fuzz_check(length <= 12, "more than there is room for");
    sum = 0;
    for (size_t i = 0; i < bytes; i++) {
        sum += lbrt_utf8_push(&gate, text + i, 1, other + sum);
    }
    lb_fuzz_check(sum == got && memcmp(other, gate_out, got) == 0, "other text byte by byte");
    lb_fuzz_check(lbrt_utf8_push(&gate, NULL, 0, other) == length && memcmp(other, out, length) == 0, "another end byte by byte");
    const lbrt_message talk[2] = { { n & 1 ? "user" : "system", text }, { n & 2 ? "assistant" : "user", "x" } };
    lbrt_status s = lbrt_chat_format(m, talk, 1 + (n >> 2 & 1), n & 8, out, sizeof out, &need, &err);
    lb_fuzz_error(s, &err);
    if (s == LBRT_OK) {
        lb_fuzz_check(lbrt_chat_format(m, talk, 1 + (n >> 2 & 1), n & 8, NULL, 0, &sum, &err) == LBRT_ERR_BUFFER && sum == need, "a talk of another size");
    }
    free(other);
    free(gate_out);
    free(text);
}

/* ---- models ---- */

typedef struct api_reader {
    const api_model *m;
    unsigned step, fail_at, stop_at; /* the how-manieth call fails, or progress says no; 0: none */
    bool stopped;
    uint64_t done;
    size_t lines;
} api_reader;

static int64_t api_read(void *user, uint64_t offset, void *buffer, size_t bytes)
{
    api_reader *r = (api_reader *)user;
    lb_fuzz_check(bytes > 0 && offset <= r->m->bytes, "a read of nothing, or behind the end");
    if (r->fail_at && --r->fail_at == 0) {
        return -1;
    }
    size_t n = r->m->bytes - (size_t)offset;
    n = n < bytes ? n : bytes;
    n = r->step && n > r->step * 512u ? r->step * 512u : n;
    memcpy(buffer, r->m->data + offset, n);
    return (int64_t)n;
}

static bool api_read_progress(void *user, uint64_t done, uint64_t total)
{
    api_reader *r = (api_reader *)user;
    lb_fuzz_check(done <= total, "more than all is done");
    r->done = done;
    r->stopped = r->stopped || (r->stop_at && --r->stop_at == 0);
    return !r->stopped;
}

static void api_log(void *user, const char *line)
{
    api_reader *r = (api_reader *)user;
    r->lines += line[0] != 0;
}

static void api_use(const lbrt_model *m, const lbrt_session_options *o, uint64_t bytes)
{
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    lb_fuzz_check(lbrt_model_describe(m, &info) == LBRT_OK && info.n_vocab == API_VOCAB && info.dim == API_DIM && info.name && info.architecture &&
                      info.isa && info.has_chat_template && info.bits_per_weight > 1.0,
                  "another model than was opened");
    lbrt_session *s = NULL;
    lbrt_error err = { LBRT_OK, "" };
    const size_t alive = lb_fuzz_alive();
    lb_fuzz_check(lbrt_session_create(m, o, &s, &err) == LBRT_OK, err.text);
    lb_fuzz_check(lb_fuzz_alive() - alive == bytes, "a session of another size than planned");
    const lbrt_token ids[3] = { 1, 77, 260 };
    lb_fuzz_check(lbrt_feed(s, ids, 3) == LBRT_OK && lbrt_logits(s, 0), lbrt_session_error(s));
    lbrt_session_free(s);
}

void api_call_model(api *a)
{
    static const char *const levels[] = { NULL, "scalar", "sse", "avx2", "no such level" };
    const unsigned how = api_next(a), fail = api_next(a), step = api_next(a);
    api_reader r = { .m = &api_models[how & 1], .step = step % 64 };
    lbrt_model_options mo = LBRT_MODEL_OPTIONS_INIT;
    lbrt_source from = LBRT_SOURCE_INIT;
    mo.verify = how & 2;
    mo.byte_tables = how & 4;
    mo.outlier_threshold = how & 8 ? -1.0f : 0.0f;
    mo.isa = levels[step / 64 + (how & 8 ? 1 : 0)];
    mo.log = api_log;
    mo.log_user = mo.progress_user = from.read_user = &r;
    mo.progress = api_read_progress;
    from.kind = (lbrt_source_kind)(how >> 4 & 3);
    from.bytes = r.m->bytes;
    from.memory = r.m->data;
    from.read = api_read;
    from.path = lb_fuzz_file(r.m->data, r.m->bytes);
    from.fd = from.path ? open(from.path, O_RDONLY) : -1;
    if (fail & 128) {
        r.fail_at = fail & 64 ? fail % 8 : 0;
        r.stop_at = fail & 64 ? 0 : fail % 8;
    }
    lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
    so.n_context = 16 + (step & 15);
    so.n_threads = 1;
    const size_t alive = lb_fuzz_alive();
    api_reader planned = r;
    mo.allocator = lb_fuzz_allocator(0);
    lbrt_memory_plan plan = LBRT_MEMORY_PLAN_INIT;
    lbrt_error err = { LBRT_OK, "" };
    mo.progress = NULL;
    r.fail_at = r.stop_at = 0;
    const lbrt_status p = lbrt_model_plan(&from, &mo, &so, &plan, &err);
    lb_fuzz_error(p, &err);
    lb_fuzz_check(lb_fuzz_alive() == alive, "a plan that keeps memory");
    r = planned;
    mo.progress = api_read_progress;
    lbrt_model *m = NULL;
    lb_fuzz_allocator(fail < 64 ? fail : 0);
    const lbrt_status s = lbrt_model_open_source(&from, &mo, &m, &err);
    lb_fuzz_allocator(0);
    lb_fuzz_error(s, &err);
    lb_fuzz_check((s == LBRT_OK) == (m != NULL), "a model in spite of a failure, or none");
    if (s == LBRT_OK) {
        lb_fuzz_check(p == LBRT_OK && lb_fuzz_alive() - alive == plan.model_bytes, "a model of another size than planned");
        lb_fuzz_check(!r.stopped, "a progress function that nobody hears");
        api_use(m, &so, plan.session_bytes);
        lbrt_model_close(m);
    } else {
        lb_fuzz_check((s == LBRT_CANCELLED) == r.stopped, "cancelled without a reason, or not in spite of one");
        lb_fuzz_check(p != LBRT_OK || s == LBRT_CANCELLED || s == LBRT_ERR_MEMORY || s == LBRT_ERR_IO, "a failure that the plan did not see");
    }
    lb_fuzz_check(lb_fuzz_alive() == alive, "a model that leaves memory");
    if (from.fd >= 0) {
        close(from.fd);
    }
}

/* ---- adapters ---- */

void api_call_adapter(api *a)
{
    const unsigned how = api_next(a), at = api_next(a);
    const api_model *m = &api_models[how & 1];
    const unsigned which = how >> 1 & 1;
    unsigned char *data = m->adapter_data[which];
    size_t bytes = m->adapter_bytes[which];
    lbrt_adapter *out = NULL;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_status s;
    if (how & 4) { /* one bit of it wrong, or too short: refused or taken, but not more */
        const size_t where = how & 8 ? at : (at * 2654435761u + how) % bytes;
        data[where] ^= (unsigned char)(1u << (how >> 4 & 7));
        bytes -= how & 128 ? at : 0;
        s = lbrt_adapter_open_memory(m->model, data, bytes, &out, &err);
        lb_fuzz_error(s, &err);
        lb_fuzz_check((s == LBRT_OK) == (out != NULL), "an adapter in spite of a failure, or none");
        lbrt_adapter_close(out);
        data[where] ^= (unsigned char)(1u << (how >> 4 & 7));
        return;
    }
    const char *path = lb_fuzz_file(data, bytes);
    s = path && how & 8 ? lbrt_adapter_open(m->model, path, &out, &err) : lbrt_adapter_open_memory(m->model, data, bytes, &out, &err);
    lb_fuzz_check(s == LBRT_OK && out, err.text);
    lbrt_adapter_close(out);
    s = lbrt_adapter_open_memory(m->model, m->data, m->bytes, &out, &err);
    lb_fuzz_check(s != LBRT_OK && !out, "a model taken for an adapter");
    s = lbrt_model_open_memory(data, bytes, NULL, (lbrt_model **)(void *)&out, &err);
    lb_fuzz_check(s != LBRT_OK && !out, "an adapter taken for a model");
}
