/*
 * The part of the template language Jinja that chat templates are written in: enough to render a
 * conversation of plain messages, as Hugging Face's apply_chat_template does (trim_blocks and lstrip_blocks
 * on). The converter asks it what a template does; an application never sees it.
 */
#ifndef LB_JINJA_H
#define LB_JINJA_H

#include "../../runtime/base/lb_base.h"

typedef struct lb_jinja_input {
    const lbrt_message *messages;
    size_t n;
    bool add_generation_prompt;
    const char *bos, *eos; /* texts of the tokens; NULL: not defined */
    int64_t now;           /* seconds since 1970 for strftime_now, which templates that ask find undefined, so that those that can do without it do */
} lb_jinja_input;

/*
 * Renders; *out is a's, *bytes long, *cap bytes large. FORMAT: the template refuses these messages
 * (raise_exception, or an operation that is an error in Jinja). UNSUPPORTED: it uses what is not here, or
 * does not end. MEMORY.
 */
lbrt_status lb_jinja_render(const char *source, const lb_jinja_input *in, const lbrt_allocator *a, char **out,
                            size_t *bytes, size_t *cap, lbrt_error *err);

#endif /* LB_JINJA_H */
