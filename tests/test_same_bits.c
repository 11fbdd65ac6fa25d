/*
 * The same file, tokens, options and seed give the same bits on every CPU: here are the bits, as checksums,
 * recorded once. Whoever changes the arithmetic or a packer on purpose prints and records new ones (the
 * failing checks show them); a CPU, a compiler or a flag may not.
 */
#include <stdlib.h>
#include <string.h>

#include "../formats/container/lb_container.h"
#include "lb_test.h"
#include "small_models.h"

typedef struct bits_case {
    const char *shape, *format;
    uint64_t data, logits, state, draws;
} bits_case;

static const bits_case bits_cases[] = {
    { "micro", "f32", 0xfe08a24939a83fabull, 0x78f744458d76336eull, 0x152dc613538d991dull,
      0xa10943ea29ed0daeull },
    { "micro", "f16", 0xb130d60181218575ull, 0x042296dc3a7069a6ull, 0x0298fe760f4d047aull,
      0xa10943ea29ed0daeull },
    { "micro", "bf16", 0x714144e35c4bb8a6ull, 0x1b6ff2876ed7a855ull, 0x149e0cae642db828ull,
      0xdc3b7b0df824037aull },
    { "micro", "q8", 0x3c980550b0bc4f94ull, 0x2512f4fb9a17ee6aull, 0x37fe05d422623036ull,
      0xcfe14db1510cea17ull },
    { "bits", "f32", 0x7ce1d822f08f1dd6ull, 0x7c184138a7a30125ull, 0x8d157978f43545b8ull,
      0x7d248e24bce530deull },
    { "tiny", "q8", 0xc0aacacebeacf218ull, 0x22d31d9fb91e03fbull, 0xcccc3c961147faceull,
      0xd78a9fd499f489c5ull },
    { "micro", "s24q8", 0x9b2377fa75a7b92full, 0xc161350940c121b4ull, 0xd4c1ccdf0ff49659ull,
      0x43b23b5110b06b6dull },
    { "tiny", "s24q4", 0x2c6ca56c2ec13a0dull, 0xe26d2f2a9a668b40ull, 0x5f00180259e7db7dull,
      0x76bd27f9fa0e8931ull },
};

enum { BITS_N = 61, BITS_DRAWS = 30 };

static void bits_equal(uint64_t got, uint64_t expected, const char *what)
{
    LB_CHECK(got == expected, "%s: 0x%016llxull instead of 0x%016llxull", what, (unsigned long long)got,
             (unsigned long long)expected);
}

static void bits_check(const bits_case *c)
{
    lb_test_case("the recorded bits of %s as %s", c->shape, c->format);
    const char *path = sm_file(c->shape, c->format);
    size_t bytes;
    unsigned char *file = path ? (unsigned char *)lb_test_read(path, &bytes) : NULL;
    if (!LB_CHECK(file != NULL, "no file")) {
        return;
    }
    for (uint32_t i = 0; i < lb_load_u32(file + 12); i++) {
        const unsigned char *section = file + 64 + 40 * i;
        if (lb_load_u32(section) == LB_SECTION_DATA) {
            bits_equal(lb_hash64(file + lb_load_u64(section + 8), (size_t)lb_load_u64(section + 16)), c->data,
                       "data");
        }
    }
    free(file);
    lbrt_model *m = sm_model(c->shape, c->format, NULL);
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = BITS_N + BITS_DRAWS;
    o.n_logits = BITS_N;
    o.n_threads = 2;
    lbrt_session *s = NULL;
    if (!LB_CHECK(m && lbrt_session_create(m, &o, &s, NULL) == LBRT_OK, "no session")) {
        lbrt_model_close(m);
        return;
    }
    lbrt_model_info info = LBRT_MODEL_INFO_INIT;
    lbrt_model_describe(m, &info);
    lbrt_token ids[BITS_N], drawn[BITS_DRAWS];
    sm_tokens(ids, BITS_N, info.n_vocab, 1);
    LB_CHECK(lbrt_feed(s, ids, BITS_N) == LBRT_OK, "%s", lbrt_session_error(s));
    lb_hash h;
    lb_hash_begin(&h);
    for (size_t i = 0; i < BITS_N; i++) {
        const float *logits = lbrt_logits(s, i);
        lb_hash_add(&h, logits, logits ? info.n_vocab * sizeof *logits : 0);
    }
    bits_equal(lb_hash_end(&h), c->logits, "logits");

    lbrt_sampling how = LBRT_SAMPLING_INIT;
    how.temperature = 1.5f;
    how.top_p = 0.97f;
    how.repeat_penalty = 1.1f;
    how.seed = 7;
    for (size_t i = 0; i < BITS_DRAWS; i++) {
        drawn[i] = -1;
        LB_CHECK(lbrt_sample(s, &how, &drawn[i]) == LBRT_OK && lbrt_feed(s, &drawn[i], 1) == LBRT_OK, "%s",
                 lbrt_session_error(s));
    }
    bits_equal(lb_hash64(drawn, sizeof drawn), c->draws, "draws");
    static unsigned char state[1 << 18];
    size_t state_bytes = 0;
    LB_CHECK(lbrt_state_save(s, state, sizeof state, &state_bytes) == LBRT_OK, "%s", lbrt_session_error(s));
    memset(state + 8, 0, 8);  /* the fingerprint covers metadata too, which may grow */
    memset(state + 40, 0, 8); /* the checksum covers the fingerprint */
    bits_equal(lb_hash64(state, state_bytes), c->state, "state");
    lbrt_session_free(s);
    lbrt_model_close(m);
}

void test_same_bits(void)
{
    for (size_t i = 0; i < sizeof bits_cases / sizeof bits_cases[0]; i++) {
        bits_check(&bits_cases[i]);
    }
}
