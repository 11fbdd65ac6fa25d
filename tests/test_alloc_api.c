/*
 * Every function of lbrt.h with memory that fails: those that allocate, at every allocation; the others with none at all, as they promise. A
 * function that the header has and this table lacks is a failure.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../formats/pack/lb_convert_adapter.h"
#include "fail_alloc.h"
#include "lb_test.h"
#include "make_models.h"
#include "small_models.h"

/* Made without failures, for all cases. */
static struct {
    char model_path[512], adapter_path[512];
    unsigned char *file, *adapter_file, *state;
    size_t bytes, adapter_bytes, state_bytes, state_cap;
    int fd; /* the model behind 3 bytes */
    lbrt_model *model;
    lbrt_session *s, *other;
    lbrt_adapter *adapter;
    float rows[2 * 40];
} aa;

static const lbrt_token aa_ids[] = { 1, 5, 9, 77, 280 };

static lbrt_model_options aa_options(void)
{
    lbrt_model_options o = LBRT_MODEL_OPTIONS_INIT;
    o.allocator = &allo_allocator;
    o.verify = true;
    return o;
}

static lbrt_session_options aa_session_options(void)
{
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = 200;
    o.n_threads = 2;
    o.n_embeddings = 4;
    o.n_hidden = 2;
    o.kv_key = LBRT_KV_Q4;
    return o;
}

/* What is opened is closed, what failed is NULL. */
static lbrt_status aa_opened(lbrt_status s, lbrt_model *m)
{
    LB_CHECK((s == LBRT_OK) == (m != NULL), "status and model disagree");
    lbrt_model_close(m);
    return s;
}

static int64_t aa_read(void *user, uint64_t offset, void *buffer, size_t bytes)
{
    (void)user;
    const size_t n = bytes < 5000 ? bytes : 5000;
    memcpy(buffer, aa.file + offset, n);
    return (int64_t)n;
}

static lbrt_source aa_source(lbrt_source_kind kind)
{
    lbrt_source from = LBRT_SOURCE_INIT;
    from.kind = kind;
    from.path = aa.model_path;
    from.fd = aa.fd;
    from.offset = kind == LBRT_SOURCE_FD ? 3 : 0;
    from.memory = aa.file;
    from.bytes = aa.bytes;
    from.read = aa_read;
    return from;
}

/* ---- functions that allocate ---- */

static lbrt_status aa_model_open(const allo_case *c, lbrt_error *err)
{
    const lbrt_model_options o = aa_options();
    lbrt_model *m = (lbrt_model *)(uintptr_t)1;
    (void)c;
    const lbrt_status s = lbrt_model_open(aa.model_path, &o, &m, err);
    return aa_opened(s, m);
}

static lbrt_status aa_model_open_memory(const allo_case *c, lbrt_error *err)
{
    const lbrt_model_options o = aa_options();
    lbrt_model *m = (lbrt_model *)(uintptr_t)1;
    (void)c;
    const lbrt_status s = lbrt_model_open_memory(aa.file, aa.bytes, &o, &m, err);
    return aa_opened(s, m);
}

static lbrt_status aa_model_open_source(const allo_case *c, lbrt_error *err)
{
    const lbrt_model_options o = aa_options();
    for (unsigned kind = LBRT_SOURCE_PATH; kind <= LBRT_SOURCE_READ; kind++) {
        const lbrt_source from = aa_source((lbrt_source_kind)kind);
        lbrt_model *m = (lbrt_model *)(uintptr_t)1;
        (void)c;
        const lbrt_status s = lbrt_model_open_source(&from, &o, &m, err);
        if (aa_opened(s, m) != LBRT_OK) {
            return s;
        }
    }
    return LBRT_OK;
}

static lbrt_status aa_model_plan(const allo_case *c, lbrt_error *err)
{
    const lbrt_model_options o = aa_options();
    const lbrt_session_options so = aa_session_options();
    for (unsigned kind = LBRT_SOURCE_PATH; kind <= LBRT_SOURCE_READ; kind++) {
        const lbrt_source from = aa_source((lbrt_source_kind)kind);
        lbrt_memory_plan plan = LBRT_MEMORY_PLAN_INIT;
        (void)c;
        const lbrt_status s = lbrt_model_plan(&from, &o, &so, &plan, err);
        if (s != LBRT_OK) {
            LB_CHECK(plan.model_bytes == 0 && plan.session_bytes == 0, "a plan that failed");
            return s;
        }
    }
    return LBRT_OK;
}

static const char aa_text[] = "the end of it: \xc3\xa9 <s><|im_end|>";

static lbrt_status aa_tokenize(const allo_case *c, lbrt_error *err)
{
    lbrt_token ids[128];
    size_t n = 0;
    (void)c;
    return lbrt_tokenize(aa.model, aa_text, sizeof aa_text - 1, LBRT_TOKENIZE_BOS | LBRT_TOKENIZE_SPECIAL, ids, 128, &n, err);
}

static lbrt_status aa_session_create(const allo_case *c, lbrt_error *err)
{
    const lbrt_session_options o = aa_session_options();
    lbrt_session *s = (lbrt_session *)(uintptr_t)1;
    (void)c;
    const lbrt_status status = lbrt_session_create(aa.model, &o, &s, err);
    LB_CHECK((status == LBRT_OK) == (s != NULL), "status and session disagree");
    lbrt_session_free(s);
    return status;
}

static lbrt_status aa_adapter_open(const allo_case *c, lbrt_error *err)
{
    lbrt_adapter *a = (lbrt_adapter *)(uintptr_t)1;
    (void)c;
    const lbrt_status s = lbrt_adapter_open(aa.model, aa.adapter_path, &a, err);
    LB_CHECK((s == LBRT_OK) == (a != NULL), "status and adapter disagree");
    lbrt_adapter_close(a);
    return s;
}

static lbrt_status aa_adapter_open_memory(const allo_case *c, lbrt_error *err)
{
    lbrt_adapter *a = (lbrt_adapter *)(uintptr_t)1;
    (void)c;
    const lbrt_status s = lbrt_adapter_open_memory(aa.model, aa.adapter_file, aa.adapter_bytes, &a, err);
    LB_CHECK((s == LBRT_OK) == (a != NULL), "status and adapter disagree");
    lbrt_adapter_close(a);
    return s;
}

/* The only call on a session that may allocate: room for a rank beyond the model's own. */
static lbrt_status aa_adapter_attach(const allo_case *c, lbrt_error *err)
{
    const lbrt_session_options o = aa_session_options();
    lbrt_session *s = NULL;
    (void)c;
    lbrt_status status = lbrt_session_create(aa.model, &o, &s, err);
    if (status == LBRT_OK) {
        status = lbrt_adapter_attach(s, aa.adapter, 0.5f);
        if (status != LBRT_OK) {
            err->status = status;
            lb_format(err->text, sizeof err->text, "%s", lbrt_session_error(s));
            LB_CHECK(lbrt_feed(s, aa_ids, 5) == LBRT_OK, "the session goes on without the adapter: %s", lbrt_session_error(s));
        }
    }
    lbrt_session_free(s);
    return status;
}

static lbrt_status aa_said(lbrt_status s, lbrt_error *err)
{
    err->status = s;
    lb_format(err->text, sizeof err->text, "%s", lbrt_session_error(aa.s));
    return s;
}

static lbrt_status aa_compress(const allo_case *c, lbrt_error *err)
{
    static lbrt_token ids[150];
    (void)c;
    sm_tokens(ids, 150, 288, 1);
    LB_CHECK(lbrt_rewind(aa.s, 0) == LBRT_OK && lbrt_feed(aa.s, ids, 150) == LBRT_OK, "%s", lbrt_session_error(aa.s));
    const lbrt_status s = aa_said(lbrt_compress(aa.s, 128), err);
    LB_CHECK(lbrt_session_held(aa.s) == (s == LBRT_OK ? 128 : 150), "%zu held", lbrt_session_held(aa.s));
    return s;
}

static lbrt_status aa_state_save_file(const allo_case *c, lbrt_error *err)
{
    (void)c;
    return aa_said(lbrt_state_save_file(aa.s, lb_test_temp("aa.state")), err);
}

/* ---- functions that do not ---- */

static lbrt_status aa_of_session(lbrt_status s)
{
    LB_CHECK(s == LBRT_OK, "%s", lbrt_session_error(aa.s));
    return s;
}

#define AA_QUIET(name, ...)                                              \
    static lbrt_status aa_##name(const allo_case *c, lbrt_error *err)    \
    {                                                                    \
        (void)c;                                                         \
        (void)err;                                                       \
        __VA_ARGS__;                                                     \
    }

AA_QUIET(version, return lbrt_version() == LBRT_VERSION ? LBRT_OK : LBRT_ERR_STATE)
AA_QUIET(status_name, return lbrt_status_name(LBRT_ERR_IO)[0] ? LBRT_OK : LBRT_ERR_STATE)
AA_QUIET(model_close, lbrt_model_close(NULL); return LBRT_OK) /* else: with every model that is opened here */
AA_QUIET(model_describe, lbrt_model_info info = LBRT_MODEL_INFO_INIT; return lbrt_model_describe(aa.model, &info))
AA_QUIET(token_text, const char *text; size_t n; return lbrt_token_text(aa.model, 5, true, &text, &n))
AA_QUIET(detokenize, char text[64]; size_t n = 0; return lbrt_detokenize(aa.model, aa_ids, 5, text, sizeof text, &n, err))
AA_QUIET(token_ends, return lbrt_token_ends(aa.model, 2) ? LBRT_OK : LBRT_ERR_STATE)
AA_QUIET(utf8_push, lbrt_utf8 g = { { 0 }, 0 }; char out[64]; return lbrt_utf8_push(&g, "a\xc3", 2, out) == 1 ? LBRT_OK : LBRT_ERR_STATE)
AA_QUIET(chat_format, const lbrt_message m = { "user", "hello" }; char text[256]; size_t n = 0;
         return lbrt_chat_format(aa.model, &m, 1, true, text, sizeof text, &n, err))
AA_QUIET(session_bytes, const lbrt_session_options o = aa_session_options(); size_t n = 0; return lbrt_session_bytes(aa.model, &o, &n, err))
AA_QUIET(session_free, lbrt_session_free(NULL); return LBRT_OK)
AA_QUIET(session_error, return lbrt_session_error(aa.s) ? LBRT_OK : LBRT_ERR_STATE)
AA_QUIET(session_length, return lbrt_session_length(aa.s) <= 200 ? LBRT_OK : LBRT_ERR_STATE)
AA_QUIET(session_held, return lbrt_session_held(aa.s) <= 200 ? LBRT_OK : LBRT_ERR_STATE)
AA_QUIET(session_capacity, return lbrt_session_capacity(aa.s) == 200 ? LBRT_OK : LBRT_ERR_STATE)
AA_QUIET(feed, static lbrt_token ids[150]; sm_tokens(ids, 150, 288, 1); return aa_of_session(lbrt_rewind(aa.s, 0) ? LBRT_ERR_STATE : lbrt_feed(aa.s, ids, 150)))
AA_QUIET(feed_embeddings, return aa_of_session(lbrt_feed_embeddings(aa.s, aa.rows, 2)))
AA_QUIET(logits, return lbrt_logits(aa.s, 0) ? LBRT_OK : LBRT_ERR_STATE)
AA_QUIET(hidden, return lbrt_hidden(aa.s, 0) ? LBRT_OK : LBRT_ERR_STATE)
AA_QUIET(rewind, if (lbrt_rewind(aa.s, 130)) { return LBRT_ERR_STATE; } return aa_of_session(lbrt_feed(aa.s, aa_ids, 5)))
AA_QUIET(cancel, lbrt_cancel(aa.other); return lbrt_feed(aa.other, aa_ids, 1) == LBRT_CANCELLED ? LBRT_OK : LBRT_ERR_STATE)
AA_QUIET(fork, const lbrt_status s = lbrt_fork(aa.other, aa.s, lbrt_session_length(aa.s)); return s ? s : lbrt_feed(aa.other, aa_ids, 1))
AA_QUIET(state_restore_file, return aa_of_session(lbrt_state_restore_file(aa.s, lb_test_temp("aa.state"))))
AA_QUIET(adapter_close, lbrt_adapter_close(NULL); return LBRT_OK)
AA_QUIET(adapter_detach, return lbrt_adapter_detach(aa.other, aa.adapter) == LBRT_ERR_STATE ? LBRT_OK : LBRT_ERR_STATE)
AA_QUIET(sample, lbrt_token id; return aa_of_session(lbrt_sample(aa.s, NULL, &id)))
AA_QUIET(generate, lbrt_generation g = LBRT_GENERATION_INIT; g.max_tokens = 4; return aa_of_session(lbrt_generate(aa.s, aa_ids, 5, &g, NULL, NULL)))
AA_QUIET(state_bytes, return lbrt_state_bytes(aa.s) <= aa.state_cap ? LBRT_OK : LBRT_ERR_STATE)
AA_QUIET(state_save, return aa_of_session(lbrt_state_save(aa.s, aa.state, aa.state_cap, &aa.state_bytes)))
AA_QUIET(state_restore, const lbrt_status s = lbrt_state_restore(aa.s, aa.state, aa.state_bytes); return s ? s : aa_of_session(lbrt_feed(aa.s, aa_ids, 1)))
AA_QUIET(cpu_isa, return lbrt_cpu_isa()[0] ? LBRT_OK : LBRT_ERR_STATE)
AA_QUIET(isa_name, bool usable; return lbrt_isa_name(0, &usable) ? LBRT_OK : LBRT_ERR_STATE)

static const struct {
    const char *name;
    lbrt_status (*run)(const allo_case *c, lbrt_error *err);
    bool allocates;
} aa_functions[] = {
#define AA_ALLOCATES(name) { "lbrt_" #name, aa_##name, true }
#define AA_DOES_NOT(name) { "lbrt_" #name, aa_##name, false }
    AA_ALLOCATES(model_open), AA_ALLOCATES(model_open_memory), AA_ALLOCATES(model_open_source), AA_ALLOCATES(model_plan),
    AA_ALLOCATES(tokenize), AA_ALLOCATES(session_create), AA_ALLOCATES(adapter_open), AA_ALLOCATES(adapter_open_memory),
    AA_ALLOCATES(adapter_attach), AA_ALLOCATES(compress), AA_ALLOCATES(state_save_file),
    /* in this order: some go on from what those before have done */
    AA_DOES_NOT(version), AA_DOES_NOT(status_name), AA_DOES_NOT(model_close), AA_DOES_NOT(model_describe), AA_DOES_NOT(token_text),
    AA_DOES_NOT(detokenize), AA_DOES_NOT(token_ends), AA_DOES_NOT(utf8_push), AA_DOES_NOT(chat_format), AA_DOES_NOT(session_bytes),
    AA_DOES_NOT(session_free), AA_DOES_NOT(session_error), AA_DOES_NOT(session_length), AA_DOES_NOT(session_held), AA_DOES_NOT(session_capacity), AA_DOES_NOT(feed),
    AA_DOES_NOT(feed_embeddings), AA_DOES_NOT(logits), AA_DOES_NOT(hidden), AA_DOES_NOT(rewind), AA_DOES_NOT(cancel), AA_DOES_NOT(fork),
    AA_DOES_NOT(adapter_close), AA_DOES_NOT(adapter_detach), AA_DOES_NOT(sample), AA_DOES_NOT(generate), AA_DOES_NOT(state_bytes),
    AA_DOES_NOT(state_save), AA_DOES_NOT(state_restore), AA_DOES_NOT(state_restore_file), AA_DOES_NOT(cpu_isa), AA_DOES_NOT(isa_name),
};
enum { AA_FUNCTIONS = sizeof aa_functions / sizeof aa_functions[0] };

/* Names in the header that a parenthesis follows, types of functions aside. */
static void aa_header(void)
{
    lb_test_case("every function of lbrt.h is in the table of failing memory");
    size_t bytes = 0, found = 0;
    char *text = lb_test_read("include/lbrt.h", &bytes);
    if (!LB_CHECK(text != NULL, "the tests run in the checkout's top folder")) {
        return;
    }
    for (char *at = text; (at = strstr(at, "\nLBRT_API ")) != NULL;) {
        char *name = strstr(at += 10, "lbrt_"), *paren = strchr(at, '(');
        while (name && paren) { /* the last name before the parenthesis */
            char *more = strstr(name + 1, "lbrt_");
            if (!more || more > paren) {
                break;
            }
            name = more;
        }
        if (!LB_CHECK(name && paren && name < paren, "cannot read a declaration")) {
            break;
        }
        *paren = 0;
        size_t i = 0;
        while (i < AA_FUNCTIONS && strcmp(aa_functions[i].name, name) != 0) {
            i++;
        }
        LB_CHECK(i < AA_FUNCTIONS, "%s is not in the table", name);
        *paren = '(';
        found++;
    }
    LB_CHECK(found == AA_FUNCTIONS, "%zu functions in the header, %d in the table", found, (int)AA_FUNCTIONS);
    free(text);
}

/* An adapter of rank 70, which needs more room between its factors than the model. */
static bool aa_make_adapter(void)
{
    static float a[70 * 40], b[40 * 70];
    for (size_t i = 0; i < sizeof a / sizeof a[0]; i++) {
        a[i] = (float)(i % 11) / 64.0f;
        b[i] = (float)(i % 7) / 64.0f;
    }
    char folder[512], path[600];
    lb_format(folder, sizeof folder, "%s", lb_test_temp("alloc-peft"));
    lb_format(aa.adapter_path, sizeof aa.adapter_path, "%s", lb_test_temp("alloc-adapter.lbrt"));
    mk_safetensors s = { { NULL, 0, 0 }, { NULL, 0, 0 } };
    mk_blob out = { NULL, 0, 0 };
    mk_st_tensor(&s, "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", "F32", "70,40", a, sizeof a);
    mk_st_tensor(&s, "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", "F32", "40,70", b, sizeof b);
    mk_st_end(&s, &out);
    if (mkdir(folder, 0777) != 0) {
        return false;
    }
    lb_format(path, sizeof path, "%s/adapter_model.safetensors", folder);
    mk_write(path, out.data, out.n);
    mk_free(&out);
    static const char config[] = "{\"peft_type\": \"LORA\", \"lora_alpha\": 70, \"r\": 70}";
    lb_format(path, sizeof path, "%s/adapter_config.json", folder);
    mk_write(path, config, sizeof config - 1);
    lb_lora l;
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_allocator plain = lb_allocator_or_default(NULL);
    if (!LB_CHECK(lb_lora_open(folder, &plain, &l, &err) == LBRT_OK, "%s", err.text)) {
        return false;
    }
    const lbrt_status status = lb_convert_adapter(&l, aa.adapter_path, LB_W_F16, &plain, &err);
    lb_lora_close(&l);
    aa.adapter_file = sm_load(aa.adapter_path, &aa.adapter_bytes);
    return LB_CHECK(status == LBRT_OK && aa.adapter_file, "%s", err.text);
}

static bool aa_prepare(void)
{
    lb_format(aa.model_path, sizeof aa.model_path, "%s", sm_file("micro", "q4"));
    aa.file = sm_load(aa.model_path, &aa.bytes);
    mk_blob shifted = { NULL, 0, 0 };
    mk_put(&shifted, "###", 3);
    mk_put(&shifted, aa.file, aa.bytes);
    const char *path = lb_test_temp("alloc-shifted");
    mk_write(path, shifted.data, shifted.n);
    mk_free(&shifted);
    aa.fd = open(path, O_RDONLY);
    aa.state_cap = 1 << 20;
    aa.state = malloc(aa.state_cap);
    const lbrt_model_options o = aa_options();
    const lbrt_session_options so = aa_session_options();
    lbrt_error err = { LBRT_OK, "" };
    return LB_CHECK(aa.fd >= 0 && aa.state, "files") && aa_make_adapter() &&
           LB_CHECK(lbrt_model_open(aa.model_path, &o, &aa.model, &err) == LBRT_OK &&
                        lbrt_adapter_open(aa.model, aa.adapter_path, &aa.adapter, &err) == LBRT_OK &&
                        lbrt_session_create(aa.model, &so, &aa.s, &err) == LBRT_OK &&
                        lbrt_session_create(aa.model, &so, &aa.other, &err) == LBRT_OK,
                    "%s", err.text);
}

void test_alloc_api(void)
{
    aa_header();
    allo_begin();
    if (!aa_prepare()) {
        return;
    }
    for (size_t i = 0; i < AA_FUNCTIONS; i++) {
        const allo_case c = { aa_functions[i].name, NULL, aa_functions[i].run };
        if (aa_functions[i].allocates) {
            allo_run(&c);
        } else {
            allo_none(&c);
        }
    }
    lb_test_case("all of it is given back");
    lbrt_session_free(aa.s);
    lbrt_session_free(aa.other);
    lbrt_adapter_close(aa.adapter);
    lbrt_model_close(aa.model);
    allo_end();
    close(aa.fd);
    free(aa.file);
    free(aa.adapter_file);
    free(aa.state);
}
