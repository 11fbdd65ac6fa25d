/*
 * Tokenizers and the JSON around them. The first byte, modulo 7: 0 a tokenizer.json; 1, 2, 3 a tokenizer_config.json,
 * generation_config.json or config.json for a small vocabulary; 4 a SentencePiece model; 5 a tokenizer.bin of llama2.c;
 * 6 the config.json that describes a model.
 */
#include "../make_models.h"
#include "fuzz_source.h"

#include "../../formats/import/lb_hf_config.h"

static void fuzz_config(unsigned which, const char *text, size_t bytes)
{
    lb_tokdata *t = NULL;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_status s = lb_tokdata_from_hf_json(mk_tokenizer_json, strlen(mk_tokenizer_json), lb_fuzz_allocator(0), &t, &err);
    lb_fuzz_check(s == LBRT_OK, err.text);
    s = lb_tokdata_apply_hf_config(t, which == 1 ? text : NULL, which == 1 ? bytes : 0, which == 2 ? text : NULL, which == 2 ? bytes : 0,
                                   which == 3 ? text : NULL, which == 3 ? bytes : 0, &err);
    lb_fuzz_error(s, &err);
    if (s == LBRT_OK) {
        fuzz_tokens(t);
    }
    lb_tokdata_free(t);
}

LB_FUZZ_TARGET(tokenizer)
{
    if (bytes == 0) {
        return 0;
    }
    const size_t alive = lb_fuzz_alive();
    const lbrt_allocator *a = lb_fuzz_allocator(0);
    const unsigned which = data[0] % 7;
    char *text = lb_fuzz_text(data + 1, bytes - 1);
    lb_tokdata *t = NULL;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_status s = LBRT_OK;
    switch (which) {
    case 0: s = lb_tokdata_from_hf_json(text, bytes - 1, a, &t, &err); break;
    case 4: s = lb_tokdata_from_sentencepiece(text, bytes - 1, a, &t, &err); break;
    case 5: s = lb_tokdata_from_llama2c(text, bytes - 1, 8, a, &t, &err); break;
    case 6: {
        lb_json_doc *doc = NULL;
        s = lb_json_parse(text, bytes - 1, a, &doc, &err);
        if (s == LBRT_OK) {
            lb_hf_config config;
            s = lb_hf_config_read(lb_json_root(doc), &config, &err);
            lb_json_free(doc);
        }
        break;
    }
    default: fuzz_config(which, text, bytes - 1); break;
    }
    lb_fuzz_error(s, &err);
    if (t) {
        fuzz_tokens(t);
    }
    lb_tokdata_free(t);
    free(text);
    lb_fuzz_check(lb_fuzz_alive() == alive, "a leak");
    return 0;
}
