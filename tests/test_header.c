/*
 * lbrt.h stands alone (it is the first thing included here, twice) and does not change what compiled programs rely on: fields and
 * enumerators are those of the frozen header tests/data/lbrt_0_1.h, and a program compiled with that (old_header.c) gets from this library what
 * one compiled with lbrt.h gets. Of a struct the library reads and writes as many bytes as its size says.
 */
#include "../include/lbrt.h"
#include "../include/lbrt.h"

#include <string.h>

#include "lb_test.h"
#include "old_header.h"
#include "small_models.h"

void test_header(void);

_Static_assert(sizeof(lbrt_error) == 256 && sizeof(lbrt_token) == 4 && sizeof(lbrt_utf8) == 8, "sizes that callers depend on");
#if LBRT_VERSION < 100 || LBRT_VERSION != LBRT_VERSION_MAJOR * 10000 + LBRT_VERSION_MINOR * 100 + LBRT_VERSION_PATCH
#error "versions are compared by the preprocessor, too"
#endif

static const header_entry header_entries[] = {
#include "data/lbrt_0_1.inc"
};
enum { HEADER_ENTRIES = sizeof header_entries / sizeof header_entries[0] };

/* Structs that begin with their size may grow. */
static bool header_may_grow(const char *type)
{
    char first[64];
    lb_format(first, sizeof first, "%s.size", type);
    for (size_t i = 0; i < HEADER_ENTRIES; i++) {
        if (strcmp(header_entries[i].name, first) == 0) {
            return true;
        }
    }
    return false;
}

static void test_old_numbers(void)
{
    lb_test_case("fields and enumerators are where version 0.1 had them");
    for (size_t i = 0; i < HEADER_ENTRIES; i++) {
        const header_entry *now = &header_entries[i], *then = &old_entries[i];
        LB_CHECK(now->offset == then->offset && now->kind == then->kind, "%s: offset or number %zu, kind %d, in 0.1 %zu, %d", now->name, now->offset,
                 now->kind, then->offset, then->kind);
        LB_CHECK(now->size == then->size || (now->size > then->size && !strchr(now->name, '.') && header_may_grow(now->name)), "%s: %zu bytes, in 0.1 %zu",
                 now->name, now->size, then->size);
    }
}

static bool header_token(void *user, lbrt_token token, const char *text, size_t bytes)
{
    lbrt_token **at = (lbrt_token **)user;
    (void)text;
    (void)bytes;
    *(*at)++ = token;
    return true;
}

static void test_old_program(void)
{
    enum { N = 30 };
    lb_test_case("a program compiled with 0.1");
    lbrt_token then[N] = { 0 }, now[N] = { 0 }, *at = now;
    const char *wrong = old_program(sm_file("micro", "q4"), then, N);
    LB_CHECK(!wrong, "%s", wrong ? wrong : "");
    lbrt_model *m = sm_model("micro", "q4", NULL);
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = N + 10;
    o.kv_key = o.kv_value = LBRT_KV_Q8;
    o.window = N;
    o.sinks = 2;
    lbrt_generation how = LBRT_GENERATION_INIT;
    how.max_tokens = N - 1;
    how.ignore_end = true;
    const lbrt_token prompt[3] = { 1, 70, 41 };
    lbrt_session *s = NULL;
    LB_CHECK(lbrt_session_create(m, &o, &s, NULL) == LBRT_OK && lbrt_generate(s, prompt, 3, &how, header_token, &at) == LBRT_OK, "%s", lbrt_session_error(s));
    now[N - 1] = N + 2;
    LB_CHECK(memcmp(now, then, sizeof now) == 0, "other tokens than one compiled with this header");
    lbrt_session_free(s);
    lbrt_model_close(m);
}

/* The first `cut` bytes of a struct, right before an inaccessible page, with that as its size. */
static void *header_cut(const void *all, size_t cut)
{
    unsigned char *p = lb_test_guard(cut, false);
    memcpy(p, all, cut);
    memcpy(p, &cut, sizeof cut);
    return p;
}

/* One call for each struct that has a size, with `cut` bytes of it. */
static lbrt_status header_call(unsigned which, void *p, const lbrt_model *m, lbrt_session *s, lbrt_source *source)
{
    lbrt_model *opened = NULL;
    lbrt_session *made = NULL;
    lbrt_memory_plan plan = LBRT_MEMORY_PLAN_INIT;
    lbrt_token id = 5;
    lbrt_status status = LBRT_OK;
    switch (which) {
    case 0: status = lbrt_model_open_source(source, (lbrt_model_options *)p, &opened, NULL); break;
    case 1: status = lbrt_session_create(m, (lbrt_session_options *)p, &made, NULL); break;
    case 2: status = lbrt_model_plan((lbrt_source *)p, NULL, NULL, &plan, NULL); break;
    case 3: status = lbrt_model_plan(source, NULL, NULL, (lbrt_memory_plan *)p, NULL); break;
    case 4: status = lbrt_model_describe(m, (lbrt_model_info *)p); break;
    case 5: status = lbrt_sample(s, (lbrt_sampling *)p, &id); break;
    default:
        status = lbrt_rewind(s, 0);
        status = status == LBRT_OK ? lbrt_generate(s, &id, 1, (lbrt_generation *)p, NULL, NULL) : status;
        break;
    }
    lbrt_session_free(made);
    lbrt_model_close(opened);
    return status;
}

static void test_cuts(void)
{
    const lbrt_model_options mo = LBRT_MODEL_OPTIONS_INIT;
    const lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
    lbrt_source source = LBRT_SOURCE_INIT;
    const lbrt_memory_plan plan = LBRT_MEMORY_PLAN_INIT;
    const lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    const lbrt_sampling sampling = LBRT_SAMPLING_INIT;
    const lbrt_generation how = LBRT_GENERATION_INIT;
    const struct {
        const char *name;
        const void *all;
        size_t bytes, least; /* from `least` bytes on the call can succeed */
    } structs[] = { { "lbrt_model_options", &mo, sizeof mo, sizeof(size_t) },
                    { "lbrt_session_options", &so, sizeof so, sizeof(size_t) },
                    { "lbrt_source", &source, sizeof source, offsetof(lbrt_source, path) + sizeof source.path },
                    { "lbrt_memory_plan", &plan, sizeof plan, sizeof(size_t) },
                    { "lbrt_model_info", &info, sizeof info, sizeof(size_t) },
                    { "lbrt_sampling", &sampling, sizeof sampling, sizeof(size_t) },
                    { "lbrt_generation", &how, sizeof how, sizeof(size_t) } };
    lbrt_model *m = sm_model("micro", "q4", NULL);
    source.path = sm_file("micro", "q4");
    lbrt_session_options small = LBRT_SESSION_OPTIONS_INIT;
    small.n_context = 6;
    small.n_threads = 1;
    lbrt_session *s = NULL;
    const lbrt_token id = 5;
    LB_CHECK(lbrt_session_create(m, &small, &s, NULL) == LBRT_OK && lbrt_feed(s, &id, 1) == LBRT_OK, "%s", lbrt_session_error(s));
    for (unsigned i = 0; i < sizeof structs / sizeof structs[0]; i++) {
        lb_test_case("%s of every size: nothing behind it is touched", structs[i].name);
        for (size_t cut = sizeof(size_t); cut <= structs[i].bytes; cut += sizeof(size_t)) { /* sizes are multiples of the alignment */
            void *p = header_cut(structs[i].all, cut);
            const lbrt_status status = header_call(i, p, m, s, &source);
            LB_CHECK((status == LBRT_OK) == (cut >= structs[i].least), "%zu bytes: %s", cut, lbrt_status_name(status));
            lb_test_guard_free(p);
        }
    }
    lbrt_session_free(s);
    lbrt_model_close(m);
}

void test_header(void)
{
    test_old_numbers();
    test_old_program();
    test_cuts();
    lb_test_case("the INIT macros set the size and leave the rest at its default");
    lbrt_model_options m = LBRT_MODEL_OPTIONS_INIT;
    lbrt_session_options s = LBRT_SESSION_OPTIONS_INIT;
    lbrt_sampling p = LBRT_SAMPLING_INIT;
    lbrt_generation g = LBRT_GENERATION_INIT;
    lbrt_model_info i = LBRT_MODEL_INFO_INIT;
    LB_CHECK(m.size == sizeof m && !m.allocator && !m.log && !m.isa && !m.verify, "model");
    LB_CHECK(s.size == sizeof s && !s.allocator && !s.n_context && !s.n_batch && !s.n_threads && !s.n_logits && !s.kv_key, "session");
    LB_CHECK(p.size == sizeof p && p.temperature == 0.0f && p.top_p == 0.0f && !p.top_k && !p.seed, "sampling");
    LB_CHECK(g.size == sizeof g && !g.sampling && !g.max_tokens && !g.ignore_end, "generation");
    LB_CHECK(i.size == sizeof i && !i.name && !i.n_vocab, "info");
    LB_CHECK(LBRT_VERSION == LBRT_VERSION_MAJOR * 10000 + LBRT_VERSION_MINOR * 100 + LBRT_VERSION_PATCH,
             "version");
    lb_test_case("the levels of this build: the lowest runs anywhere, the best is among them");
    bool usable = false, found = false;
    LB_CHECK(lbrt_isa_name(0, &usable) && usable, "the lowest level is not usable");
    const char *best = lbrt_cpu_isa(), *name;
    for (size_t k = 0; (name = lbrt_isa_name(k, NULL)) != NULL; k++) {
        bool runs;
        lbrt_isa_name(k, &runs);
        found |= best && __builtin_strcmp(name, best) == 0 && runs;
        LB_CHECK(k < 64, "no end");
    }
    LB_CHECK(found, "the best level is none of them");
}
