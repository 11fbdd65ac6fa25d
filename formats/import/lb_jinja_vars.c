/* What a name stands for: variables and their scopes, the conversation, the loop, and the fields of all of
 * them. */
#include "lb_jinja_internal.h"

jinja_var *lb_jinja_find_var(jinja *j, const char *name, size_t bytes, size_t from)
{
    for (size_t i = j->n_vars; i > from; i--) {
        if (j->vars[i - 1].bytes == bytes && memcmp(j->vars[i - 1].name, name, bytes) == 0) {
            return &j->vars[i - 1];
        }
    }
    return NULL;
}

void lb_jinja_set(jinja *j, const char *name, size_t bytes, jinja_value value)
{
    jinja_var *var = lb_jinja_find_var(j, name, bytes, j->frame);
    if (!var) {
        if (j->n_vars == JINJA_MAX_VARS) {
            lb_jinja_no(j, "it has too many variables");
            return;
        }
        var = &j->vars[j->n_vars++];
        var->name = name;
        var->bytes = bytes;
    }
    var->value = value;
}

jinja_value lb_jinja_lookup(jinja *j, const char *name, size_t bytes)
{
    const jinja_var *var = lb_jinja_find_var(j, name, bytes, 0);
    if (var) {
        return var->value;
    }
    jinja_value v = lb_jinja_undefined;
    if (lb_jinja_name_is(name, bytes, "messages")) {
        jinja_value *items = lb_jinja_alloc(j, (j->in->n + 1) * sizeof *items);
        for (size_t i = 0; items && i < j->in->n; i++) {
            items[i] = lb_jinja_undefined;
            items[i].type = JINJA_MESSAGE;
            items[i].i = (int64_t)i;
        }
        return items ? lb_jinja_list(items, j->in->n) : v;
    }
    if (lb_jinja_name_is(name, bytes, "add_generation_prompt")) {
        return lb_jinja_bool(j->in->add_generation_prompt);
    }
    if (lb_jinja_name_is(name, bytes, "bos_token") && j->in->bos) {
        return lb_jinja_string(j->in->bos, strlen(j->in->bos));
    }
    if (lb_jinja_name_is(name, bytes, "eos_token") && j->in->eos) {
        return lb_jinja_string(j->in->eos, strlen(j->in->eos));
    }
    static const char *const others[] = { "unk_token", "pad_token", "additional_special_tokens" };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) { // transformers passes them
        if (lb_jinja_name_is(name, bytes, others[i])) {
            return lb_jinja_no(j, "a special token that is not passed");
        }
    }
    if (lb_jinja_name_is(name, bytes, "loop") && j->loop) {
        v.type = JINJA_LOOP;
        v.loop = j->loop;
    } else if (lb_jinja_name_is(name, bytes, "tools") || lb_jinja_name_is(name, bytes, "documents")) {
        v.type = JINJA_NONE; // defined, and there are none
    }
    static const char *const functions[] = { "raise_exception", "range", "namespace", "strftime_now" };
    for (int i = 0; i < 4; i++) {
        if (lb_jinja_name_is(name, bytes, functions[i])) {
            v.type = JINJA_FUNCTION;
            v.i = JINJA_RAISE + i;
        }
    }
    return v;
}

jinja_value lb_jinja_message_field(const jinja *j, int64_t message, const char *name, size_t bytes)
{
    const lbrt_message *m = &j->in->messages[message];
    if (lb_jinja_name_is(name, bytes, "role")) {
        return lb_jinja_string(m->role, strlen(m->role));
    }
    return lb_jinja_name_is(name, bytes, "content") ? lb_jinja_string(m->content, strlen(m->content))
                                                    : lb_jinja_undefined;
}

static jinja_value jinja_loop_field(jinja *j, const jinja_loop *l, const char *name, size_t bytes)
{
    if (lb_jinja_name_is(name, bytes, "index0")) {
        return lb_jinja_int(l->index);
    }
    if (lb_jinja_name_is(name, bytes, "index")) {
        return lb_jinja_int(l->index + 1);
    }
    if (lb_jinja_name_is(name, bytes, "first")) {
        return lb_jinja_bool(l->index == 0);
    }
    if (lb_jinja_name_is(name, bytes, "last")) {
        return lb_jinja_bool(l->index == l->count - 1);
    }
    if (lb_jinja_name_is(name, bytes, "length")) {
        return lb_jinja_int(l->count);
    }
    if (lb_jinja_name_is(name, bytes, "revindex0")) {
        return lb_jinja_int(l->count - 1 - l->index);
    }
    if (lb_jinja_name_is(name, bytes, "revindex")) {
        return lb_jinja_int(l->count - l->index);
    }
    if (lb_jinja_name_is(name, bytes, "previtem")) {
        return l->index > 0 ? l->items[l->index - 1] : lb_jinja_undefined;
    }
    if (lb_jinja_name_is(name, bytes, "nextitem")) {
        return l->index + 1 < l->count ? l->items[l->index + 1] : lb_jinja_undefined;
    }
    return lb_jinja_no(j, "a field of loop is not known");
}

jinja_value lb_jinja_field(jinja *j, const jinja_value *v, const char *name, size_t bytes)
{
    switch (v->type) {
    case JINJA_MESSAGE: return lb_jinja_message_field(j, v->i, name, bytes);
    case JINJA_LOOP: return jinja_loop_field(j, v->loop, name, bytes);
    case JINJA_NAMESPACE:
        for (const jinja_var *var = v->vars->next; var; var = var->next) {
            if (var->bytes == bytes && memcmp(var->name, name, bytes) == 0) {
                return var->value;
            }
        }
        return lb_jinja_undefined;
    case JINJA_UNDEFINED: return lb_jinja_bad(j, "a field of something undefined");
    default: return lb_jinja_undefined;
    }
}
