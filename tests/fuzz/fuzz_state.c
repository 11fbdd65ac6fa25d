/*
 * A saved session. The first byte: bit 0 the checksum and the fingerprint are put right, bits 1 to 3 choose the formats of keys and values,
 * which bit 4 also puts right in the header, bit 5 a window. What has been restored can be gone on with.
 */
#include "../../runtime/api/lb_session_api.h"
#include "../hand_file.h"
#include "lb_fuzz.h"

static struct {
    lbrt_model *model;
    lbrt_session *sessions[16];
} fuzz;

static const lbrt_kv_format fuzz_formats[8][2] = { { LBRT_KV_F16, LBRT_KV_F16 }, { LBRT_KV_F32, LBRT_KV_F32 }, { LBRT_KV_Q8, LBRT_KV_Q8 },
                                                   { LBRT_KV_Q4, LBRT_KV_Q4 },   { LBRT_KV_Q2, LBRT_KV_Q2 },   { LBRT_KV_Q8, LBRT_KV_Q4 },
                                                   { LBRT_KV_F16, LBRT_KV_Q2 },  { LBRT_KV_Q4, LBRT_KV_F32 } };

static lbrt_session *fuzz_session(unsigned i)
{
    if (!fuzz.model) {
        static hand_file file; /* the model reads from it as long as the process lives */
        lbrt_error err = { LBRT_OK, "" };
        hand_make(&file);
        lb_fuzz_check(lbrt_model_open_memory(file.data, file.bytes, NULL, &fuzz.model, &err) == LBRT_OK, err.text);
    }
    if (!fuzz.sessions[i]) {
        lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
        o.n_context = 640;
        o.n_threads = 1;
        o.kv_key = fuzz_formats[i % 8][0];
        o.kv_value = fuzz_formats[i % 8][1];
        o.n_faint = i < 8 && o.kv_key >= LBRT_KV_Q8 && o.kv_value >= LBRT_KV_Q8 ? 512 : 0;
        if (i >= 8) { /* in which a text of 1100 tokens has lost pages */
            o.n_context = 1200;
            o.n_batch = 8;
            o.window = 40;
        }
        lb_fuzz_check(lbrt_session_create(fuzz.model, &o, &fuzz.sessions[i], NULL) == LBRT_OK, "a session");
    }
    return fuzz.sessions[i];
}

LB_FUZZ_TARGET(state)
{
    if (bytes == 0) {
        return 0;
    }
    lbrt_session *s = fuzz_session((data[0] >> 1 & 7) + (data[0] >> 2 & 8));
    unsigned char *state = lb_fuzz_copy(data + 1, bytes - 1), own[LB_STATE_HEADER];
    size_t n = 0;
    if ((data[0] & 1) && bytes - 1 >= LB_STATE_HEADER) {
        lb_fuzz_check(lbrt_rewind(s, 0) == LBRT_OK && lbrt_state_save(s, own, sizeof own, &n) == LBRT_OK, "an empty state");
        memcpy(state, own, data[0] & 16 ? 24 : 16);
        lb_state_seal(state, bytes - 1);
    }
    const lbrt_token before[] = { 3, 4 };
    lb_fuzz_check(lbrt_rewind(s, 0) == LBRT_OK && lbrt_feed(s, before, 2) == LBRT_OK, "a fresh beginning");
    float logits[HAND_VOCAB];
    memcpy(logits, lbrt_logits(s, 0), sizeof logits);
    const lbrt_status status = lbrt_state_restore(s, state, bytes - 1);
    if (status == LBRT_OK) {
        const size_t length = lbrt_session_length(s);
        const size_t held = lbrt_session_held(s); /* fewer than its text has, if it was compressed */
        lb_fuzz_check(held <= lbrt_session_capacity(s) && held <= length, "longer than the session");
        const size_t used = data[0] & 32 ? length : held;
        lb_fuzz_check(used + 2 > lbrt_session_capacity(s) || (lbrt_feed(s, before, 2) == LBRT_OK && lbrt_session_length(s) == length + 2),
                      "a restored session cannot go on");
        lbrt_token out;
        (void)lbrt_sample(s, NULL, &out);
        const size_t need = lbrt_state_bytes(s);
        unsigned char *again = malloc(need);
        lb_fuzz_check(again && lbrt_state_save(s, again, need, &n) == LBRT_OK && n == need, "a restored session cannot be saved");
        free(again);
    } else {
        lb_fuzz_check(lbrt_session_error(s)[0] != 0, "a failure without a sentence");
        lb_fuzz_check(lbrt_session_length(s) == 2 && lbrt_logits(s, 0) && memcmp(logits, lbrt_logits(s, 0), sizeof logits) == 0,
                      "a refused state changed the session");
    }
    free(state);
    return 0;
}
