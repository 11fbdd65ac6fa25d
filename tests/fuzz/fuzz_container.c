/*
 * A .lbrt file. The first byte says what is done with the rest: bit 0 its checksums are put right, so that mutations reach what is behind
 * them; bit 1 it is opened as an adapter of a model of ours too; bit 2 every checksum is verified; bit 3 the tokenizer is used;
 * bit 4 the input is short: 256 bytes (header and section table), then what follows a gap of FUZZ_GAP bytes with weights, which are not
 * worth mutating.
 */
#include "lb_fuzz.h"

#include "../hand_file.h"

enum { FUZZ_HEAD = 256, FUZZ_GAP = 4096 - FUZZ_HEAD + 9 * 4096 };

static unsigned char *fuzz_file(const uint8_t *data, size_t *bytes, bool is_short)
{
    if (!is_short || *bytes < FUZZ_HEAD) {
        return lb_fuzz_copy(data, *bytes);
    }
    void *p = NULL;
    lb_fuzz_check(posix_memalign(&p, 64, *bytes + FUZZ_GAP) == 0, "out of memory");
    unsigned char *file = (unsigned char *)p;
    memcpy(file, data, FUZZ_HEAD);
    memset(file + FUZZ_HEAD, 0x3c, FUZZ_GAP);
    memcpy(file + FUZZ_HEAD + FUZZ_GAP, data + FUZZ_HEAD, *bytes - FUZZ_HEAD);
    *bytes += FUZZ_GAP;
    return file;
}

static void fuzz_tokenizer(const lbrt_model *m, uint32_t n_vocab)
{
    static const char text[] = "the end\n of 12345 it's <s> \xc3\xa9\xf0\x9f\x98\x80\xff <|im_start|>";
    lbrt_token ids[256];
    char out[1024];
    size_t n = 0, bytes = 0;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_status s = lbrt_tokenize(m, text, sizeof text - 1, LBRT_TOKENIZE_BOS | LBRT_TOKENIZE_SPECIAL, ids, 256, &n, &err);
    lb_fuzz_error(s, &err);
    if (s == LBRT_OK) {
        for (size_t i = 0; i < n; i++) {
            lb_fuzz_check(ids[i] >= 0 && (uint32_t)ids[i] < n_vocab, "a token outside the vocabulary");
        }
        s = lbrt_detokenize(m, ids, n, out, sizeof out, &bytes, &err);
        lb_fuzz_error(s, &err);
    }
    const lbrt_message messages[] = { { "system", "a" }, { "user", " b " }, { "assistant", "" }, { "user", "\n" } };
    lb_fuzz_error(lbrt_chat_format(m, messages, 4, true, out, sizeof out, &bytes, &err), &err);
}

static void fuzz_model(const lbrt_model *m, bool tokenizer)
{
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    lb_fuzz_check(lbrt_model_describe(m, &info) == LBRT_OK && info.n_vocab > 0 && info.dim > 0, "a model that cannot be described");
    if (tokenizer) {
        fuzz_tokenizer(m, info.n_vocab);
    }
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = 8;
    o.n_threads = 1;
    lbrt_session *s = NULL;
    lbrt_error err = { LBRT_OK, "" };
    size_t bytes = 0;
    if (lbrt_session_bytes(m, &o, &bytes, &err) == LBRT_OK && bytes < 16u << 20 && lbrt_session_create(m, &o, &s, &err) == LBRT_OK) {
        const lbrt_token ids[] = { 0, (lbrt_token)info.n_vocab - 1, 0 };
        lb_fuzz_check(lbrt_feed(s, ids, 3) == LBRT_OK, "a model that cannot be fed");
        lbrt_token out;
        (void)lbrt_sample(s, NULL, &out); /* NUMERIC is allowed: weights may be anything */
    }
    lbrt_session_free(s);
}

typedef struct fuzz_bytes {
    const unsigned char *data;
    size_t n;
} fuzz_bytes;

static int64_t fuzz_read(void *user, uint64_t offset, void *buffer, size_t bytes)
{
    const fuzz_bytes *b = (const fuzz_bytes *)user;
    lb_fuzz_check(bytes > 0 && offset <= b->n && bytes <= b->n - offset, "a read outside the model");
    memcpy(buffer, b->data + offset, bytes);
    return (int64_t)bytes;
}

/* A plan, which reads no weights, says of every file what opening says, and what that takes. */
static void fuzz_plan(const unsigned char *file, size_t n, const lbrt_model_options *o, lbrt_status opened, size_t taken)
{
    fuzz_bytes b = { file, n };
    lbrt_source from = LBRT_SOURCE_INIT;
    from.kind = LBRT_SOURCE_READ;
    from.bytes = n;
    from.read = fuzz_read;
    from.read_user = &b;
    lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
    so.n_context = 8;
    lbrt_memory_plan plan = LBRT_MEMORY_PLAN_INIT;
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_status s = lbrt_model_plan(&from, o, &so, &plan, &err);
    lb_fuzz_error(s, &err);
    lb_fuzz_check(s == opened || (opened == LBRT_OK && s == LBRT_ERR_MEMORY), "a plan that differs from opening");
    lb_fuzz_check(s != LBRT_OK || plan.model_bytes == taken + n, "another size than planned");
}

LB_FUZZ_TARGET(container)
{
    if (bytes == 0) {
        return 0;
    }
    const unsigned how = data[0];
    const size_t alive = lb_fuzz_alive();
    size_t n = bytes - 1;
    unsigned char *file = fuzz_file(data + 1, &n, how & 16);
    if (how & 1) {
        hand_repair(file, n);
    }
    lbrt_model_options o = LBRT_MODEL_OPTIONS_INIT;
    o.allocator = lb_fuzz_allocator(0);
    o.verify = how & 4;
    lbrt_model *m = NULL;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_status s = lbrt_model_open_memory(file, n, &o, &m, &err);
    lb_fuzz_error(s, &err);
    lb_fuzz_check((s == LBRT_OK) == (m != NULL), "status and model disagree");
    if (!o.verify && n) {
        fuzz_plan(file, n, &o, s, lb_fuzz_alive() - alive);
    }
    if (m) {
        fuzz_model(m, how & 8);
    }
    lbrt_model_close(m);
    if (how & 2) {
        hand_file base;
        hand_make(&base);
        o.verify = false;
        lb_fuzz_check(lbrt_model_open_memory(base.data, base.bytes, &o, &m, &err) == LBRT_OK, err.text);
        lbrt_adapter *a = NULL;
        s = lbrt_adapter_open_memory(m, file, n, &a, &err);
        lb_fuzz_error(s, &err);
        lbrt_adapter_close(a);
        lbrt_model_close(m);
        hand_free(&base);
    }
    free(file);
    lb_fuzz_check(lb_fuzz_alive() == alive, "a leak");
    return 0;
}
