/* What a session's memory is, and options: out of range, and structs of an older or newer header. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "../include/lbrt.h"
#include "lb_test.h"
#include "small_models.h"

void test_session_options(void);

#define OPTIONS_OF(bytes, context, batch, threads, logits, key, value)                                                 \
    {                                                                                                                     \
        .size = (bytes), .n_context = (context), .n_batch = (batch), .n_threads = (threads), .n_logits = (logits),        \
        .kv_key = (key), .kv_value = (value)                                                                              \
    }

enum { OPTIONS_VOCAB = 288 };

static void options_memory(void)
{
    static const lbrt_session_options options[] = {
        OPTIONS_OF(sizeof(lbrt_session_options), 0, 0, 0, 0, LBRT_KV_DEFAULT, LBRT_KV_DEFAULT),
        OPTIONS_OF(sizeof(lbrt_session_options), 1, 0, 1, 0, LBRT_KV_F32, LBRT_KV_F16),
        OPTIONS_OF(sizeof(lbrt_session_options), 255, 1, 2, 255, LBRT_KV_F16, LBRT_KV_F32),
        OPTIONS_OF(sizeof(lbrt_session_options), 257, 300, 8, 3, LBRT_KV_F16, LBRT_KV_F16),
        OPTIONS_OF(sizeof(lbrt_session_options), 1000, 4096, 3, 40, LBRT_KV_F32, LBRT_KV_F32),
    };
    const lbrt_allocator *a = lb_test_allocator(0);
    const size_t before = lb_test_alloc_alive();
    lbrt_model_options mo = LBRT_MODEL_OPTIONS_INIT;
    mo.allocator = a;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_model *m = NULL;
    const char *path = sm_file("micro", "q4");
    lb_test_case("a session allocates what lbrt_session_bytes says, once, when it is made");
    if (!path || !LB_CHECK(lbrt_model_open(path, &mo, &m, &err) == LBRT_OK, "%s", err.text)) {
        return;
    }
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        size_t bytes = 0;
        const size_t alive = lb_test_alloc_alive();
        LB_CHECK(lbrt_session_bytes(m, &options[i], &bytes, &err) == LBRT_OK, "%s", err.text);
        lb_test_allocator(0);
        lbrt_session *s = NULL;
        LB_CHECK(lbrt_session_create(m, &options[i], &s, &err) == LBRT_OK, "%s", err.text);
        LB_CHECK(lb_test_alloc_alive() - alive == bytes && lb_test_alloc_count() == 1,
                 "%zu bytes instead of %zu, %llu allocations", lb_test_alloc_alive() - alive, bytes,
                 (unsigned long long)lb_test_alloc_count());
        lbrt_token ids[64];
        sm_tokens(ids, 64, OPTIONS_VOCAB, 7);
        const size_t n = options[i].n_context == 1 ? 1 : 40;
        LB_CHECK(lbrt_feed(s, ids, n) == LBRT_OK, "%s", lbrt_session_error(s));
        lbrt_sampling how = LBRT_SAMPLING_INIT;
        how.temperature = 0.7f;
        how.top_p = 0.9f;
        how.repeat_penalty = 1.1f;
        lbrt_generation g = LBRT_GENERATION_INIT;
        g.sampling = &how;
        g.max_tokens = 20;
        lbrt_token id;
        unsigned char *state = malloc(lbrt_state_bytes(s) + 100000);
        size_t state_bytes = 0;
        LB_CHECK(lbrt_sample(s, &how, &id) == LBRT_OK && lbrt_generate(s, NULL, 0, &g, NULL, NULL) == LBRT_OK,
                 "%s", lbrt_session_error(s));
        LB_CHECK(lbrt_state_save(s, state, lbrt_state_bytes(s), &state_bytes) == LBRT_OK &&
                     lbrt_rewind(s, 0) == LBRT_OK && lbrt_state_restore(s, state, state_bytes) == LBRT_OK,
                 "%s", lbrt_session_error(s));
        LB_CHECK(lbrt_feed(s, ids, 4096) == LBRT_ERR_CONTEXT_FULL, "an error");
        LB_CHECK(lb_test_alloc_count() == 1, "%llu allocations", (unsigned long long)lb_test_alloc_count());
        free(state);
        lbrt_session_free(s);
        LB_CHECK(lb_test_alloc_alive() == alive, "a leak");
    }
    lb_test_case("options out of range, or not there yet");
    static const struct {
        lbrt_session_options o;
        lbrt_status status;
    } bad[] = {
        { OPTIONS_OF(0, 0, 0, 0, 0, LBRT_KV_DEFAULT, LBRT_KV_DEFAULT), LBRT_ERR_ARGUMENT },
        { OPTIONS_OF(sizeof(lbrt_session_options), 0, 4097, 0, 0, LBRT_KV_DEFAULT, LBRT_KV_DEFAULT),
          LBRT_ERR_ARGUMENT },
        { OPTIONS_OF(sizeof(lbrt_session_options), 0, 0, 257, 0, LBRT_KV_DEFAULT, LBRT_KV_DEFAULT),
          LBRT_ERR_ARGUMENT },
        { OPTIONS_OF(sizeof(lbrt_session_options), 0, 0, UINT32_MAX, 0, LBRT_KV_DEFAULT, LBRT_KV_DEFAULT),
          LBRT_ERR_ARGUMENT },
        { OPTIONS_OF(sizeof(lbrt_session_options), 10, 0, 0, 11, LBRT_KV_DEFAULT, LBRT_KV_DEFAULT),
          LBRT_ERR_ARGUMENT },
        { OPTIONS_OF(sizeof(lbrt_session_options), UINT32_MAX, 0, 0, 0, LBRT_KV_DEFAULT, LBRT_KV_DEFAULT),
          LBRT_ERR_ARGUMENT },
        { OPTIONS_OF(sizeof(lbrt_session_options), 0, 0, 0, 0, (lbrt_kv_format)77, LBRT_KV_DEFAULT),
          LBRT_ERR_UNSUPPORTED },
        { OPTIONS_OF(sizeof(lbrt_session_options), 0, 0, 0, 0, LBRT_KV_DEFAULT, (lbrt_kv_format)-1),
          LBRT_ERR_UNSUPPORTED },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        lbrt_session *s = (lbrt_session *)(uintptr_t)1;
        size_t bytes = 5;
        lbrt_status status = lbrt_session_create(m, &bad[i].o, &s, &err);
        LB_CHECK(status == bad[i].status && !s && err.text[0] && err.status == status, "%zu: %s", i,
                 err.text);
        LB_CHECK(lbrt_session_bytes(m, &bad[i].o, &bytes, &err) == bad[i].status && bytes == 0, "%zu: %s", i,
                 err.text);
    }
    lbrt_model_close(m);
    LB_CHECK(lb_test_alloc_alive() == before, "a leak");
}

static void *options_poison_alloc(void *user, size_t bytes, size_t align)
{
    (void)bytes;
    (void)align;
    *(bool *)user = true;
    return NULL;
}

static void options_poison_free(void *user, void *p, size_t bytes, size_t align)
{
    (void)p;
    (void)bytes;
    (void)align;
    *(bool *)user = true;
}

static void options_sizes(const lbrt_model *m)
{
    lb_test_case("option structs of an older, shorter header: what lies behind their size is not read");
    bool used = false;
    const lbrt_allocator poison = { options_poison_alloc, options_poison_free, &used };
    lbrt_session_options o =
        OPTIONS_OF(offsetof(lbrt_session_options, n_threads), 50, 7, 9999, 9999, (lbrt_kv_format)99, (lbrt_kv_format)99);
    lbrt_error err = { LBRT_OK, "" };
    lbrt_session *s = NULL;
    LB_CHECK(lbrt_session_create(m, &o, &s, &err) == LBRT_OK && lbrt_session_capacity(s) == 50, "%s",
             err.text);
    lbrt_session_free(s);
    o.size = sizeof(size_t);
    o.allocator = &poison;
    LB_CHECK(lbrt_session_create(m, &o, &s, &err) == LBRT_OK && lbrt_session_capacity(s) == 1000 && !used,
             "%s", err.text);
    lbrt_token ids[10];
    sm_tokens(ids, 10, OPTIONS_VOCAB, 8);
    LB_CHECK(lbrt_feed(s, ids, 10) == LBRT_OK, "%s", lbrt_session_error(s));
    lbrt_token greedy = -1, id = -2;
    lbrt_sampling how = { .size = offsetof(lbrt_sampling, top_p), .top_p = 7.0f, .min_p = 7.0f, .top_k = 7, .repeat_penalty = -7.0f };
    LB_CHECK(lbrt_sample(s, NULL, &greedy) == LBRT_OK && lbrt_sample(s, &how, &id) == LBRT_OK && id == greedy,
             "%s", lbrt_session_error(s));
    lbrt_generation g = { offsetof(lbrt_generation, ignore_end), NULL, 3, true, 12345 };
    LB_CHECK(lbrt_generate(s, NULL, 0, &g, NULL, NULL) == LBRT_OK && g.n_generated == 12345, "%zu",
             g.n_generated);
    lbrt_session_free(s);
    lbrt_model_info info = { .size = offsetof(lbrt_model_info, parameters), .parameters = 77, .n_vocab = 78 };
    LB_CHECK(lbrt_model_describe(m, &info) == LBRT_OK && strcmp(info.name, "micro") == 0 &&
                 info.parameters == 77 && info.n_vocab == 78 &&
                 info.size == offsetof(lbrt_model_info, parameters),
             "the description");
    info = (lbrt_model_info){ .size = 0 };
    LB_CHECK(lbrt_model_describe(m, &info) == LBRT_ERR_ARGUMENT, "no size");
    lbrt_model_options mo = { .size = offsetof(lbrt_model_options, isa), .isa = "no such level", .verify = true };
    lbrt_model *other = NULL;
    LB_CHECK(lbrt_model_open(sm_file("micro", "q8"), &mo, &other, &err) == LBRT_OK, "%s", err.text);
    lbrt_model_close(other);

    lb_test_case("option structs of a newer, longer header: what this version does not know is left alone");
    struct {
        lbrt_session_options o;
        uint64_t future[8];
    } session = { LBRT_SESSION_OPTIONS_INIT, { 1, 2, 3 } };
    session.o.size = sizeof session;
    session.o.n_context = 33;
    LB_CHECK(lbrt_session_create(m, &session.o, &s, &err) == LBRT_OK && lbrt_session_capacity(s) == 33, "%s",
             err.text);
    lbrt_session_free(s);
    struct {
        lbrt_model_info i;
        uint64_t future;
    } longer = { .i = LBRT_MODEL_INFO_INIT, .future = 99 };
    longer.i.size = sizeof longer;
    LB_CHECK(lbrt_model_describe(m, &longer.i) == LBRT_OK && longer.i.n_vocab == OPTIONS_VOCAB &&
                 longer.future == 99,
             "%u", longer.i.n_vocab);
}

void test_session_options(void)
{
    options_memory();
    lbrt_model *m = sm_model("micro", "q8", NULL);
    if (LB_CHECK(m != NULL, "a model")) {
        options_sizes(m);
    }
    lbrt_model_close(m);
}
