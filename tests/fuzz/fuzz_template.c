/*
 * A chat template. The first byte: bits 0 to 2 the number of messages, bit 3 an answer is asked for, bit 4 the tokens bos and eos
 * are known, bits 5 to 7 which allocation of rendering fails, if any. The rest is the template: rendered, and turned into a table of gaps that is
 * opened and used.
 */
#include "../../formats/import/lb_jinja.h"
#include "../make_models.h"
#include "fuzz_source.h"

LB_FUZZ_TARGET(template)
{
    if (bytes == 0) {
        return 0;
    }
    static const lbrt_message messages[7] = { { "system", "be brief" },   { "user", " hi {{ x }} " }, { "assistant", "<s>a</think>\n b" },
                                              { "user", "\xc3\xa9'\"\n" }, { "assistant", "" },        { "tool", "[1, 2]" },
                                              { "user", "done" } };
    const size_t alive = lb_fuzz_alive();
    const lbrt_allocator *a = lb_fuzz_allocator(data[0] >> 5);
    char *text = lb_fuzz_text(data + 1, bytes - 1);
    const bool names = data[0] & 16;
    const lb_jinja_input in = { messages, data[0] & 7, data[0] & 8, names ? "<s>" : NULL, names ? "</s>" : NULL, 1764460800 };
    char *out = NULL;
    size_t n = 0, cap = 0;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_status s = lb_jinja_render(text, &in, a, &out, &n, &cap, &err);
    lb_fuzz_error(s, &err);
    if (s == LBRT_OK) {
        lb_fuzz_check(n <= cap, "more text than room");
        lb_free(a, out, cap);
    }
    lb_tokdata *t = NULL;
    (void)lb_fuzz_allocator(0);
    lb_fuzz_check(lb_tokdata_from_hf_json(mk_tokenizer_json, strlen(mk_tokenizer_json), a, &t, &err) == LBRT_OK, err.text);
    if (lb_tokdata_set_template(t, text, bytes - 1, &err) == LBRT_OK) {
        fuzz_tokens(t);
    }
    lb_tokdata_free(t);
    free(text);
    lb_fuzz_check(lb_fuzz_alive() == alive, "a leak");
    return 0;
}
