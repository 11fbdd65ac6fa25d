/*
 * Tokenizers and the JSON around them, and texts. The first byte, bits 0 to 2: 0 a tokenizer.json; 1, 2, 3 a tokenizer_config.json,
 * generation_config.json or config.json for a small vocabulary, of SentencePiece's kind if bit 3 is set; 4 a SentencePiece model; 5 a file
 * that holds a tokenizer of any kind, llama2.c's tokenizer.bin too; 6 the config.json that describes a model; 7 a text, in which bit 3
 * recognises control tokens, for the tokenizer that the second byte, modulo 64, chooses; its bit 6 asks for bos. Bits 4 to 7: which allocation fails, if any.
 */
#include "../make_models.h"
#include "fuzz_source.h"
#include "fuzz_text.h"

#include "../../formats/import/lb_hf_config.h"
#include "../../formats/import/lb_import.h"

static void fuzz_config(unsigned which, bool spm, uint64_t fail_at, const char *text, size_t bytes)
{
    lb_tokdata *t = NULL;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_status s = lb_tokdata_from_hf_json(mk_tokenizer_json, strlen(mk_tokenizer_json), lb_fuzz_allocator(0), &t, &err);
    lb_fuzz_check(s == LBRT_OK, err.text);
    if (spm) { /* as if it came from a tokenizer.model; a tokenizer.json says itself what a configuration adds to that */
        lb_free(&t->allocator, t->merges, t->n_merges * sizeof *t->merges);
        t->merges = NULL;
        t->n_merges = 0;
        t->model = LB_TOK_SPM;
    }
    (void)lb_fuzz_allocator(fail_at);
    s = lb_tokdata_apply_hf_config(t, which == 1 ? text : NULL, which == 1 ? bytes : 0, which == 2 ? text : NULL, which == 2 ? bytes : 0,
                                   which == 3 ? text : NULL, which == 3 ? bytes : 0, &err);
    lb_fuzz_error(s, &err);
    if (s == LBRT_OK) {
        fuzz_tokens(t);
    }
    lb_tokdata_free(t);
}

static lbrt_status fuzz_model_config(const char *text, size_t bytes, const lbrt_allocator *a, lbrt_error *err)
{
    lb_json_doc *doc = NULL;
    lbrt_status s = lb_json_parse(text, bytes, a, &doc, err);
    if (s == LBRT_OK) {
        lb_hf_config config;
        s = lb_hf_config_read(lb_json_root(doc), NULL, &config, err);
        lb_json_free(doc);
    }
    return s;
}

LB_FUZZ_TARGET(tokenizer)
{
    if (bytes == 0) {
        return 0;
    }
    const unsigned which = data[0] & 7;
    const uint64_t fail_at = data[0] >> 4;
    const fuzz_vocabulary *v = fuzz_vocabulary_get(bytes > 1 ? data[1] % 64 : 0);
    const size_t alive = lb_fuzz_alive();
    const lbrt_allocator *a = lb_fuzz_allocator(fail_at);
    char *text = lb_fuzz_text(data + 1, bytes - 1);
    const char *path = which == 5 ? lb_fuzz_file(data + 1, bytes - 1) : NULL;
    lb_tokdata *t = NULL;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_status s = LBRT_OK;
    switch (which) {
    case 0: s = lb_tokdata_from_hf_json(text, bytes - 1, a, &t, &err); break;
    case 4: s = lb_tokdata_from_sentencepiece(text, bytes - 1, a, &t, &err); break;
    case 5: s = path ? lb_import_load_tokens(path, 8, a, &t, &err) : LBRT_OK; break;
    case 6: s = fuzz_model_config(text, bytes - 1, a, &err); break;
    case 7:
        if (bytes > 1) { /* what a longer text could show a short one does, too, and faster */
            const unsigned flags = (data[1] & 64 ? LBRT_TOKENIZE_BOS : 0u) | (data[0] & 8 ? LBRT_TOKENIZE_SPECIAL : 0u);
            fuzz_text(v, text + 1, lb_min(bytes - 2, 400), flags, fail_at);
        }
        break;
    default: fuzz_config(which, data[0] & 8, fail_at, text, bytes - 1); break;
    }
    lb_fuzz_error(s, &err);
    lb_fuzz_check(s == LBRT_OK || t == NULL, "a tokenizer beside a failure");
    if (t) {
        fuzz_tokens(t);
    }
    lb_tokdata_free(t);
    free(text);
    lb_fuzz_check(lb_fuzz_alive() == alive, "a leak");
    return 0;
}
