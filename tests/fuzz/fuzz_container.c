/*
 * A .lbrt file. The first byte says what is done with the rest: bit 0 its size and its checksums are put right, so that mutations reach what
 * is behind them; bit 1 it is opened as an adapter of a model of ours too; bit 2 every checksum is verified; bit 3 the tokenizer is used;
 * bit 4 the input is short; bit 5 activations from FUZZ_THRESHOLD on are outliers in all layers; bit 6 lookup formats take tables of bytes;
 * bit 7 the kernels without vectors. Every fourth length is opened once more, and one allocation fails.
 *
 * Weights are not worth mutating, so a short input has none: a line of FUZZ_LINE bytes, the file's first FUZZ_HEAD bytes (header and section
 * table), then what follows the section DATA. What is between is that line over and over (tests/tools/fuzz_seeds_container.c chooses it so
 * that a transform may begin with it); with bit 3 it is text as well.
 */
#include "lb_fuzz.h"

#include "../hand_file.h"

enum { FUZZ_LINE = 64, FUZZ_HEAD = 256, FUZZ_MOST = 1 << 19, FUZZ_TOKENS = 66, FUZZ_CONTEXT = 72 };
#define FUZZ_THRESHOLD 4.0f

static uint64_t fuzz_get(const unsigned char *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = bytes; i > 0; i--) {
        v = v << 8 | p[i - 1];
    }
    return v;
}

/* Record i of the section table, NULL if there is none that fits the head. */
static unsigned char *fuzz_section(unsigned char *head, unsigned i)
{
    return i < fuzz_get(head + 12, 4) && 64 + 40 * (i + 1) <= FUZZ_HEAD ? head + 64 + 40 * i : NULL;
}

/* Where DATA ends, by the section table; no gap for what is larger than we want to fill. */
static size_t fuzz_gap_end(unsigned char *head)
{
    const unsigned char *r;
    for (unsigned i = 0; (r = fuzz_section(head, i)) != NULL; i++) {
        const uint64_t offset = fuzz_get(r + 8, 8), n = fuzz_get(r + 16, 8);
        if (fuzz_get(r, 4) == 4 && offset >= FUZZ_HEAD && offset <= FUZZ_MOST && n <= FUZZ_MOST - offset) {
            return (size_t)(offset + n);
        }
    }
    return FUZZ_HEAD;
}

static unsigned char *fuzz_file(const uint8_t *data, size_t *bytes, bool is_short)
{
    if (!is_short || *bytes < FUZZ_LINE + FUZZ_HEAD) {
        return lb_fuzz_copy(data, *bytes);
    }
    unsigned char head[FUZZ_HEAD];
    memcpy(head, data + FUZZ_LINE, FUZZ_HEAD);
    const size_t gap_end = fuzz_gap_end(head), rest = *bytes - FUZZ_LINE - FUZZ_HEAD;
    void *p = NULL;
    lb_fuzz_check(posix_memalign(&p, 64, gap_end + rest) == 0, "out of memory");
    unsigned char *file = (unsigned char *)p;
    memcpy(file, head, FUZZ_HEAD);
    for (size_t at = FUZZ_HEAD; at < gap_end; at += FUZZ_LINE) {
        memcpy(file + at, data, gap_end - at < FUZZ_LINE ? gap_end - at : FUZZ_LINE);
    }
    memcpy(file + gap_end, data + FUZZ_LINE + FUZZ_HEAD, rest);
    *bytes = gap_end + rest;
    return file;
}

/* Bytes may have been put in or taken out: the last section ends with the file, which is as long as it is. */
static void fuzz_repair(unsigned char *file, size_t n)
{
    if (n >= FUZZ_HEAD) {
        unsigned char *last = NULL, *r;
        for (unsigned i = 0; (r = fuzz_section(file, i)) != NULL; i++) {
            last = !last || fuzz_get(r + 8, 8) > fuzz_get(last + 8, 8) ? r : last;
        }
        if (last && fuzz_get(last + 8, 8) < n) {
            hand_u64(last + 16, n - fuzz_get(last + 8, 8));
        }
        hand_u64(file + 16, n);
    }
    hand_repair(file, n);
}

/* The text of tokens, one by one and together, and through the gate for whole code points. */
static void fuzz_detokenize(const lbrt_model *m, const lbrt_token *ids, size_t n)
{
    enum { PIECE = 1024 };
    size_t sum = 0, bytes = 0, again = 0;
    lbrt_utf8 gate = { { 0 }, 0 };
    char whole[3 * (PIECE + 4)];
    for (size_t i = 0; i < n; i++) {
        const char *text;
        lb_fuzz_check(lbrt_token_text(m, ids[i], false, &text, &bytes) == LBRT_OK, "a token without text");
        sum += bytes;
        const size_t out = lbrt_utf8_push(&gate, text, bytes < PIECE ? bytes : PIECE, whole);
        lb_fuzz_check(out <= sizeof whole && gate.n_held < 4, "the gate holds or gives too much");
        (void)lbrt_token_ends(m, ids[i]);
    }
    lb_fuzz_check(lbrt_utf8_push(&gate, NULL, 0, whole) <= 12 && gate.n_held == 0, "the gate is not flushed");
    lbrt_error err = { LBRT_OK, "" };
    lbrt_status s = lbrt_detokenize(m, ids, n, NULL, 0, &bytes, &err);
    lb_fuzz_error(s, &err);
    lb_fuzz_check(s == (bytes ? LBRT_ERR_BUFFER : LBRT_OK) && (bytes == sum || bytes + 1 == sum), "tokens that have other text together");
    char *text = (char *)malloc(bytes + 1); /* no larger, so that a byte too much is seen */
    lb_fuzz_check(text != NULL && lbrt_detokenize(m, ids, n, text, bytes, &again, &err) == LBRT_OK && again == bytes, "another size than asked for");
    free(text);
}

static void fuzz_text(const lbrt_model *m, uint32_t n_vocab, const char *text, size_t bytes, unsigned flags)
{
    enum { CAP = 1024 };
    lbrt_token ids[CAP];
    size_t n = 0, needed = 0;
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_status s = lbrt_tokenize(m, text, bytes, flags, ids, CAP, &n, &err);
    lb_fuzz_error(s, &err);
    if (s != LBRT_OK) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        lb_fuzz_check(ids[i] >= 0 && (uint32_t)ids[i] < n_vocab, "a token outside the vocabulary");
    }
    lb_fuzz_check(lbrt_tokenize(m, text, bytes, flags, NULL, 0, &needed, &err) == (n ? LBRT_ERR_BUFFER : LBRT_OK) && needed == n,
                  "another number of tokens than before");
    fuzz_detokenize(m, ids, n);
}

#define MARKS "\xcd\x84\xcd\x84\xcd\x84\xcd\x84\xcd\x84\xcd\x84\xcd\x84\xcd\x84" /* two each when taken apart */

static void fuzz_tokenizer(const lbrt_model *m, uint32_t n_vocab, const char *tail, size_t tail_bytes)
{
    /* Contractions, numbers, runs of spaces and lines; special tokens among white space; what is not composed: marks in either order, Hangul,
       an Angstrom, one that must not be composed, a Bengali vowel, a letter with many marks; scripts; surrogates, what is cut off, and what no UTF-8 has. */
    static const char text[] = "the end\n of 12345 it's we'LL HE'D \r\n\n\t  x  <s>  \xc3\xa9 <|x|> \n<|im_start|>  user\xe3\x80\x80<|im_end|>"
                               "e\xcc\x81\xcc\xa3" "a\xcc\xa3\xcc\x81 \xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8 \xea\xb0\x80\xe1\x86\xa8 \xe2\x84\xab \xe0\xa5\x98 "
                               "\xe0\xa7\x87\xe0\xa6\xbe o" MARKS MARKS MARKS MARKS MARKS MARKS MARKS MARKS
                               "\xe4\xb8\xad\xe6\x96\x87\xef\xbc\x81 \xd8\xa7\xd9\x84\xd9\xa3 \xd0\xaf\xd0\xb0 \xc4\xb0'\xc5\xbf "
                               "\xc2\xbd\xc2\xa0\xf0\x9f\x98\x80"
                               "!?...\n\n (a)/b\n\n  c\xff\xed\xa0\x80\xf4\x90\x80\x80\xc0\x80 <unk> \xe2\x96\x81 7\n \xe4\xb8'";
    fuzz_text(m, n_vocab, text, sizeof text - 1, LBRT_TOKENIZE_BOS | LBRT_TOKENIZE_SPECIAL);
    fuzz_text(m, n_vocab, tail, tail_bytes, 0);
    fuzz_text(m, n_vocab, tail, tail_bytes, LBRT_TOKENIZE_SPECIAL);
    const char *name;
    size_t bytes = 0;
    volatile char touched = 0;
    for (lbrt_token i = 0; i < 512 && lbrt_token_text(m, i, true, &name, &bytes) == LBRT_OK; i++) {
        lb_fuzz_check((uint32_t)i < n_vocab, "more tokens than the model has");
        touched = bytes ? (char)(name[0] ^ name[bytes - 1]) : touched;
    }
    const bool has_tokens = lbrt_token_text(m, 0, true, &name, &bytes) == LBRT_OK;
    lb_fuzz_check(lbrt_token_text(m, -1, true, &name, &bytes) == (has_tokens ? LBRT_ERR_ARGUMENT : LBRT_ERR_UNSUPPORTED), "a token of number -1");
    const lbrt_message messages[] = { { "system", "a" }, { "user", " b " }, { "assistant", "" }, { "user", "\n" } };
    char out[2048];
    lbrt_error err = { LBRT_OK, "" };
    for (size_t n = 1; n <= 4; n += 3) {
        const lbrt_status s = lbrt_chat_format(m, messages, n, n > 1, out, sizeof out, &bytes, &err);
        lb_fuzz_error(s, &err);
        if (s == LBRT_OK) {
            fuzz_text(m, n_vocab, out, bytes, LBRT_TOKENIZE_BOS | LBRT_TOKENIZE_SPECIAL);
        }
    }
}

/* Tokens from all parts of the vocabulary, in a batch and alone. a may be NULL. */
static void fuzz_session(const lbrt_model *m, uint32_t n_vocab, const lbrt_adapter *a)
{
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = FUZZ_CONTEXT;
    o.n_threads = 1;
    o.n_logits = 2;
    lbrt_session *s = NULL;
    lbrt_error err = { LBRT_OK, "" };
    size_t bytes = 0;
    if (lbrt_session_bytes(m, &o, &bytes, &err) == LBRT_OK && bytes < 16u << 20 && lbrt_session_create(m, &o, &s, &err) == LBRT_OK) {
        lb_fuzz_check(!a || lbrt_adapter_attach(s, a, 0.5f) == LBRT_OK, "an adapter that cannot be attached");
        lbrt_token ids[FUZZ_TOKENS];
        for (size_t i = 0; i < FUZZ_TOKENS; i++) {
            ids[i] = (lbrt_token)((uint64_t)(n_vocab - 1) * i / (FUZZ_TOKENS - 1));
        }
        lb_fuzz_check(lbrt_feed(s, ids, FUZZ_TOKENS) == LBRT_OK && lbrt_feed(s, ids + FUZZ_TOKENS - 1, 1) == LBRT_OK, "a model that cannot be fed");
        lb_fuzz_check(!a || lbrt_adapter_detach(s, a) == LBRT_OK, "an adapter that cannot be detached");
        lbrt_token out;
        const lbrt_status sampled = lbrt_sample(s, NULL, &out); /* NUMERIC is allowed: weights may be anything */
        lb_fuzz_check(sampled == LBRT_ERR_NUMERIC || (sampled == LBRT_OK && out >= 0 && (uint32_t)out < n_vocab), "a token that cannot be chosen");
    }
    lbrt_session_free(s);
}

static uint32_t fuzz_n_vocab(const lbrt_model *m)
{
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    lb_fuzz_check(lbrt_model_describe(m, &info) == LBRT_OK && info.n_vocab > 0 && info.dim > 0, "a model that cannot be described");
    return info.n_vocab;
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

/*
 * A plan, which reads no weights, says of every file what opening says, and what that takes. Columns of sparse terms lie among the weights:
 * of a file that is refused for them it may say anything.
 */
static void fuzz_plan(const unsigned char *file, size_t n, const lbrt_model_options *o, const lbrt_error *opened, size_t taken)
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
    if (strstr(opened->text, "names a column that it has not")) {
        return;
    }
    lb_fuzz_check(s == opened->status || (opened->status == LBRT_OK && s == LBRT_ERR_MEMORY), "a plan that differs from opening");
    lb_fuzz_check(s != LBRT_OK || plan.model_bytes == taken + n, "another size than planned");
}

/* Opens it with the fail_at-th allocation failing; `opened` is how it was with all of them. */
static void fuzz_without_memory(const unsigned char *file, size_t n, const lbrt_model_options *o, lbrt_status opened, uint64_t fail_at)
{
    const size_t alive = lb_fuzz_alive();
    lbrt_model *m = NULL;
    lbrt_error err = { LBRT_OK, "" };
    (void)lb_fuzz_allocator(fail_at);
    const lbrt_status s = lbrt_model_open_memory(file, n, o, &m, &err);
    lb_fuzz_error(s, &err);
    lb_fuzz_check((s == LBRT_OK) == (m != NULL) && (s == opened || s == LBRT_ERR_MEMORY), "another failure than of memory");
    (void)lb_fuzz_allocator(0);
    lbrt_model_close(m);
    lb_fuzz_check(lb_fuzz_alive() == alive, "a leak without memory");
}

/* As an adapter of the model that hand_file.h describes; true if it is one. */
static bool fuzz_adapter(const unsigned char *file, size_t n, lbrt_model_options *o)
{
    static hand_file base;
    if (!base.data) {
        hand_make(&base);
    }
    o->verify = false;
    lbrt_model *m = NULL;
    lbrt_error err = { LBRT_OK, "" };
    lb_fuzz_check(lbrt_model_open_memory(base.data, base.bytes, o, &m, &err) == LBRT_OK, err.text);
    lbrt_adapter *a = NULL;
    const lbrt_status s = lbrt_adapter_open_memory(m, file, n, &a, &err);
    lb_fuzz_error(s, &err);
    lb_fuzz_check((s == LBRT_OK) == (a != NULL), "status and adapter disagree");
    if (a) {
        fuzz_session(m, HAND_VOCAB, a);
    }
    lbrt_adapter_close(a);
    lbrt_model_close(m);
    return s == LBRT_OK;
}

#ifdef LB_FUZZER
/* Inputs that could be opened, the first FUZZ_KEEP for good: of what libFuzzer keeps, most was refused in a way that was new. */
enum { FUZZ_OPENED = 256, FUZZ_KEEP = 32, FUZZ_BYTES = 12288 };
static struct {
    size_t bytes;
    uint8_t data[FUZZ_BYTES]; /* not allocated: libFuzzer would look for leaks whenever one is */
} fuzz_opened[FUZZ_OPENED];
static size_t fuzz_n_opened;

static void fuzz_remember(const uint8_t *data, size_t bytes)
{
    static uint64_t random = 1;
    if (bytes <= FUZZ_BYTES) {
        const size_t any = FUZZ_KEEP + (size_t)(lb_fuzz_random(&random) % (FUZZ_OPENED - FUZZ_KEEP));
        const size_t i = fuzz_n_opened < FUZZ_OPENED ? fuzz_n_opened++ : any;
        fuzz_opened[i].bytes = bytes;
        memcpy(fuzz_opened[i].data, data, bytes);
    }
}

/*
 * Every other mutation is one of such an input. And as what is put in or taken out moves all tables behind it, three of four leave everything in its
 * place: they change a number, or copy a record over another.
 */
size_t LLVMFuzzerMutate(uint8_t *data, size_t bytes, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t most, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t most, unsigned seed)
{
    enum { FIRST = 1 + FUZZ_LINE };
    uint64_t random = seed;
    if (fuzz_n_opened && lb_fuzz_random(&random) % 2) {
        const size_t i = (size_t)(lb_fuzz_random(&random) % fuzz_n_opened);
        if (fuzz_opened[i].bytes <= most) {
            bytes = fuzz_opened[i].bytes;
            memcpy(data, fuzz_opened[i].data, bytes);
        }
    }
    if (bytes < FIRST + FUZZ_HEAD || lb_fuzz_random(&random) % 4 == 0) {
        return LLVMFuzzerMutate(data, bytes, most);
    }
    for (uint64_t changes = 1 + lb_fuzz_random(&random) % 3; changes > 0; changes--) {
        static const uint8_t sizes[] = { 1, 2, 4, 8, 8, 48, 120 };
        const size_t n = sizes[lb_fuzz_random(&random) % sizeof sizes], unit = lb_fuzz_random(&random) % 2 ? 8 : 1;
        const size_t places = (bytes - FIRST - n) / unit, at = FIRST + (size_t)(lb_fuzz_random(&random) % places) * unit;
        if (n > 8 || lb_fuzz_random(&random) % 8 == 0) {
            memmove(data + at, data + FIRST + (size_t)(lb_fuzz_random(&random) % places) * unit, n);
        } else { /* or of what is in front, the first byte and the line */
            (void)LLVMFuzzerMutate(data + (lb_fuzz_random(&random) % 8 ? at : at % (FIRST - n)), n, n);
        }
    }
    return bytes;
}
#endif

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
        fuzz_repair(file, n);
    }
    lbrt_model_options o = LBRT_MODEL_OPTIONS_INIT;
    o.allocator = lb_fuzz_allocator(0);
    o.verify = how & 4;
    o.outlier_threshold = how & 32 ? FUZZ_THRESHOLD : 0.0f;
    o.byte_tables = how & 64;
    o.isa = how & 128 ? "scalar" : NULL;
    lbrt_model *m = NULL;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_status s = lbrt_model_open_memory(file, n, &o, &m, &err);
    lb_fuzz_error(s, &err);
    lb_fuzz_check((s == LBRT_OK) == (m != NULL), "status and model disagree");
    if (!o.verify && n) {
        fuzz_plan(file, n, &o, &err, lb_fuzz_alive() - alive);
    }
    bool opened = m != NULL;
    if (m) {
        const uint32_t n_vocab = fuzz_n_vocab(m);
        if (how & 8) {
            const size_t tail = n < FUZZ_LINE ? n : FUZZ_LINE;
            const bool line = (how & 16) && bytes > FUZZ_LINE;
            fuzz_tokenizer(m, n_vocab, (const char *)(line ? data + 1 : file + n - tail), tail);
        }
        fuzz_session(m, n_vocab, NULL);
    }
    lbrt_model_close(m);
    if (bytes % 4 == 3) {
        fuzz_without_memory(file, n, &o, s, 1 + bytes / 4 % 48);
    }
    if (how & 2) {
        opened = fuzz_adapter(file, n, &o) || opened;
    }
    free(file);
    lb_fuzz_check(lb_fuzz_alive() == alive, "a leak");
#ifdef LB_FUZZER
    if (opened) {
        fuzz_remember(data, bytes);
    }
#else
    (void)opened;
#endif
    return 0;
}
