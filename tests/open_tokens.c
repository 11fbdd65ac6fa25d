#include "open_tokens.h"

#include "lb_test.h"

opened open_data(lb_tokdata *data, lbrt_status status, const char *what)
{
    opened o = { NULL, NULL, 0 };
    lbrt_error err = { 0 };
    if (status == LBRT_OK) {
        status = lb_tokdata_write(data, NULL, &o.section, &o.bytes, &err);
        LB_CHECK(status == LBRT_OK, "%s: %s", what, err.text);
    }
    if (status == LBRT_OK) {
        status = lb_tokenizer_open(o.section, o.bytes, NULL, &o.t, &err);
        LB_CHECK(status == LBRT_OK, "%s: %s", what, err.text);
    }
    lb_tokdata_free(data);
    return o;
}

void close_opened(opened *o)
{
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lb_tokenizer_close(o->t);
    lb_free(&a, o->section, o->bytes);
}
