/* What the targets gguf and safetensors do with some of the sources that they have opened. */
#ifndef FUZZ_CONVERT_H
#define FUZZ_CONVERT_H

#include <stdio.h>

#include "../../formats/pack/lb_convert.h"
#include "../lb_test.h"
#include "lb_fuzz.h"

/* What a converter makes of a source is a model that computes. */
static inline void fuzz_convert(const lb_source *source)
{
    const lb_convert_options options = { .format = LB_W_F32, .threads = 1 };
    const lbrt_token ids[2] = { 1, 0 };
    lbrt_error err = { LBRT_OK, "" };
    char path[256];
    uint64_t weights = 0;
    for (size_t i = 0; i < source->n_tensors; i++) {
        weights += source->tensors[i].rows * source->tensors[i].cols;
    }
    if (weights > 1 << 16 || source->hparams.n_vocab < 2 || source->hparams.n_context < 2) {
        return;
    }
    snprintf(path, sizeof path, "%s", lb_test_temp("fuzz.lbrt"));
    lbrt_status s = lb_convert(source, path, &options, lb_fuzz_allocator(0), &err);
    lb_fuzz_error(s, &err);
    if (s != LBRT_OK) {
        return;
    }
    lbrt_model_options mo = LBRT_MODEL_OPTIONS_INIT;
    lbrt_session_options so = LBRT_SESSION_OPTIONS_INIT;
    lbrt_model *model = NULL;
    lbrt_session *session = NULL;
    mo.allocator = lb_fuzz_allocator(0);
    so.n_context = 2;
    so.n_threads = 1;
    s = lbrt_model_open(path, &mo, &model, &err);
    lb_fuzz_check(s == LBRT_OK || s == LBRT_ERR_MEMORY, err.text);
    if (s == LBRT_OK) {
        s = lbrt_session_create(model, &so, &session, &err);
        lb_fuzz_check(s == LBRT_OK || s == LBRT_ERR_MEMORY, err.text);
    }
    lb_fuzz_check(s != LBRT_OK || (lbrt_feed(session, ids, 2) == LBRT_OK && lbrt_logits(session, 0)), "a converted model that does not compute");
    lbrt_session_free(session);
    lbrt_model_close(model);
}

#endif /* FUZZ_CONVERT_H */
