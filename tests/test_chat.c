/* Chat templates: published ones against what Jinja2 makes of them (tests/data/chat.json, written by tests/gen_chat.py). */
#include "lb_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../formats/import/lb_jinja.h"
#include "../formats/import/lb_json.h"
#include "../formats/import/lb_tokdata.h"

/* A tokenizer of three tokens with that chat template; NULL if something fails. *section is to be freed by free_tokenizer. */
static lb_tokenizer *chat_tokenizer(const char *template, const char *bos, const char *eos, uint32_t flags,
                                    const lbrt_allocator *a, void **section, size_t *bytes,
                                    lbrt_status *status)
{
    lbrt_error err;
    lb_tokdata *t;
    lb_tokenizer *tokenizer = NULL;
    *section = NULL;
    *status = lb_tokdata_new(3, a, &t, &err);
    if (*status != LBRT_OK) {
        return NULL;
    }
    t->model = LB_TOK_SPM;
    t->flags = flags;
    const char *const names[3] = { bos, eos, "x" };
    for (uint32_t i = 0; i < 3 && *status == LBRT_OK; i++) {
        *status = lb_tokdata_set(t, i, names[i], strlen(names[i]), 0,
                                 i < 2 ? LB_TOKEN_CONTROL : LB_TOKEN_NORMAL, &err);
    }
    t->bos = *bos ? 0 : -1;
    t->eos = 1;
    t->chat_template = *status == LBRT_OK ? lb_alloc(&t->allocator, strlen(template) + 1) : NULL;
    if (t->chat_template) {
        strcpy(t->chat_template, template);
        *status = lb_tokdata_write(t, a, section, bytes, &err);
    } else {
        *status = LBRT_ERR_MEMORY;
    }
    if (*status == LBRT_OK) {
        *status = lb_tokenizer_open(*section, *bytes, a, &tokenizer, &err);
    }
    lb_tokdata_free(t);
    return tokenizer;
}

static void free_tokenizer(lb_tokenizer *t, const lbrt_allocator *a, void *section, size_t bytes)
{
    const lbrt_allocator allocator = lb_allocator_or_default(a);
    lb_tokenizer_close(t);
    lb_free(&allocator, section, bytes);
}

static void check_case(const lb_tokenizer *t, const char *bos, const lb_json *c, bool system)
{
    lbrt_message messages[16];
    size_t n = 0;
    for (const lb_json *m = lb_json_get(c, "messages")->child; m && n < 16; m = m->next, n++) {
        messages[n].role = lb_json_get(m, "role")->text;
        messages[n].content = lb_json_get(m, "content")->text;
    }
    const bool answer = lb_json_bool(lb_json_get(c, "answer"), false);
    const lb_json *want = lb_json_get(c, "text");
    static char text[65536];
    size_t bytes;
    lbrt_error err = { 0 };
    const lbrt_status status =
        lb_tokenizer_chat_format(t, messages, n, answer, text, sizeof text, &bytes, &err);
    const bool must = lb_json_bool(lb_json_get(c, "usual"), false) ||
                      (system && lb_json_bool(lb_json_get(c, "usual_system"), false));
    if (want->type != LB_JSON_STRING) {
        LB_CHECK(status == LBRT_ERR_ARGUMENT, "%zu messages: refused by the template, %s here", n,
                 lbrt_status_name(status));
    } else if (status == LBRT_ERR_ARGUMENT) {
        LB_CHECK(!must, "%zu messages: %s", n, err.text);
    } else {
        LB_CHECK(status == LBRT_OK && bytes == want->bytes && memcmp(text, want->text, bytes) == 0,
                 "%zu messages, answer %d: %s\n got [%.*s]\nwant [%.*s]", n, answer, lbrt_status_name(status),
                 (int)bytes, text, (int)want->bytes, want->text);
        if (status == LBRT_OK && bytes > 0) { // the size alone; too small a buffer
            size_t need = 0;
            LB_CHECK(lb_tokenizer_chat_format(t, messages, n, answer, NULL, 0, &need, NULL) ==
                             LBRT_ERR_BUFFER &&
                         need == bytes,
                     "size");
            text[bytes - 1] = '#';
            LB_CHECK(lb_tokenizer_chat_format(t, messages, n, answer, text, bytes - 1, &need, NULL) ==
                             LBRT_ERR_BUFFER &&
                         text[bytes - 1] == '#',
                     "wrote behind the buffer");
        }
    }
    (void)bos;
}

static void test_published(void)
{
    size_t bytes;
    char *data = lb_test_read("tests/data/chat.json", &bytes);
    lb_test_case("chat: published templates");
    if (!LB_CHECK(data != NULL, "tests/data/chat.json is missing")) {
        return;
    }
    lb_json_doc *doc;
    lbrt_error err;
    if (!LB_CHECK(lb_json_parse(data, bytes, NULL, &doc, &err) == LBRT_OK, "chat.json: %s", err.text)) {
        free(data);
        return;
    }
    for (const lb_json *e = lb_json_root(doc)->child; e; e = e->next) {
        lb_test_case("chat: %s", lb_json_get(e, "name")->text);
        const lb_json *template = lb_json_get(e, "template"), *file = lb_json_get(e, "file");
        char *file_data = NULL;
        lb_json_doc *file_doc = NULL;
        if (file) {
            size_t n;
            file_data = lb_test_read(lb_test_shared(file->text), &n);
            if (!file_data || lb_json_parse(file_data, n, NULL, &file_doc, &err) != LBRT_OK) {
                lb_test_skip("no %s", file->text);
                free(file_data);
                continue;
            }
            template = lb_json_get(lb_json_root(file_doc), "chat_template");
        }
        const char *bos = lb_json_get(e, "bos")->text, *eos = lb_json_get(e, "eos")->text;
        void *section;
        size_t section_bytes;
        lbrt_status status;
        lb_tokenizer *t =
            chat_tokenizer(template->text, bos, eos, 0, NULL, &section, &section_bytes, &status);
        if (LB_CHECK(t != NULL, "%s", lbrt_status_name(status))) {
            const bool known = lb_json_bool(lb_json_get(e, "known"), false);
            LB_CHECK(lb_tokenizer_has_chat(t) == known, "has_chat");
            for (const lb_json *c = known ? lb_json_get(e, "cases")->child : NULL; c; c = c->next) {
                check_case(t, bos, c, lb_json_bool(lb_json_get(e, "system"), false));
            }
            free_tokenizer(t, NULL, section, section_bytes);
        }
        lb_json_free(file_doc);
        free(file_data);
    }
    lb_json_free(doc);
    free(data);
}

static const char plain_template[] = "{{ bos_token }}{% for message in messages %}{{ '<' ~ message.role ~ "
                                     "'>' ~ (message.content | trim) ~ eos_token }}{% endfor %}"
                                     "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";

static void test_bos_and_errors(void)
{
    lb_test_case("chat: bos is left out if the tokenizer adds it");
    void *section;
    size_t bytes, n;
    lbrt_status status;
    char text[256];
    lbrt_error err;
    const lbrt_message messages[] = { { "user", " a " }, { "assistant", "b" } };
    for (uint32_t add = 0; add < 2; add++) {
        lb_tokenizer *t = chat_tokenizer(plain_template, "<s>", "</s>", add ? LB_TOK_ADD_BOS : 0, NULL,
                                         &section, &bytes, &status);
        const char *want = &"<s><user>a</s><assistant>b</s>"[3 * add];
        LB_CHECK(
            t && lb_tokenizer_chat_format(t, messages, 2, false, text, sizeof text, &n, &err) == LBRT_OK &&
                n == strlen(want) && memcmp(text, want, n) == 0,
            "got [%.*s]", (int)n, text);
        lb_test_case("chat: wrong messages");
        const lbrt_message wrong[] = { { "tool", "x" }, { NULL, "x" }, { "user", NULL } };
        for (int i = 0; i < 3; i++) {
            LB_CHECK(lb_tokenizer_chat_format(t, &wrong[i], 1, true, text, sizeof text, &n, &err) ==
                         LBRT_ERR_ARGUMENT,
                     "case %d", i);
        }
        LB_CHECK(lb_tokenizer_chat_format(t, wrong, 0, true, text, sizeof text, &n, &err) ==
                     LBRT_ERR_ARGUMENT,
                 "no messages");
        free_tokenizer(t, NULL, section, bytes);
    }
}

static void test_bos_null(void)
{
    static const char config[] = "{\"bos_token_id\":0,\"eos_token_id\":1}", null[] = "{\"bos_token\":null}";
    static const char *const names[] = { "<s>", "</s>", "x" };
    const lbrt_message message = { "user", "a" };
    for (int says = 0; says < 2; says++) {
        lb_test_case("chat: %s", says ? "no bos_token, though config.json has an id for one" : "bos_token of config.json's id");
        lbrt_error err = { LBRT_OK, "" };
        lb_tokdata *t = NULL;
        lb_tokenizer *tokenizer = NULL;
        void *section = NULL;
        size_t bytes = 0, n = 0;
        char text[64] = "";
        LB_CHECK(lb_tokdata_new(3, NULL, &t, &err) == LBRT_OK, "%s", err.text);
        t->model = LB_TOK_SPM;
        for (uint32_t i = 0; i < 3; i++) {
            LB_CHECK(lb_tokdata_set(t, i, names[i], strlen(names[i]), 0, i < 2 ? LB_TOKEN_CONTROL : LB_TOKEN_NORMAL, &err) == LBRT_OK, "%s", err.text);
        }
        t->bos = t->eos = -1;
        LB_CHECK(lb_tokdata_apply_hf_config(t, says ? null : NULL, says ? sizeof null - 1 : 0, NULL, 0, config, sizeof config - 1, &err) == LBRT_OK, "%s", err.text);
        LB_CHECK(lb_tokdata_set_template(t, plain_template, sizeof plain_template - 1, &err) == LBRT_OK, "%s", err.text);
        LB_CHECK(lb_tokdata_write(t, NULL, &section, &bytes, &err) == LBRT_OK && lb_tokenizer_open(section, bytes, NULL, &tokenizer, &err) == LBRT_OK, "%s", err.text);
        LB_CHECK(tokenizer && lb_tokenizer_chat_format(tokenizer, &message, 1, false, text, sizeof text, &n, &err) == LBRT_OK &&
                     strcmp(text, says ? "<user>a</s>" : "<s><user>a</s>") == 0,
                 "%s %s", text, err.text);
        lb_tokdata_free(t);
        free_tokenizer(tokenizer, NULL, section, bytes);
    }
}

static void test_date(void)
{
    lb_test_case("chat: today's date, for templates that cannot do without");
    static const char template[] = "{{ '[' ~ strftime_now('%d %B %Y, 100%%') ~ ('|' ~ strftime_now('%H') if strftime_now is defined) ~ ']' }}"
                                   "{% for message in messages %}{{ message.role[0] if false }}{{ message.content ~ ';' }}{% endfor %}";
    char day[2][64], text[256];
    void *section;
    size_t bytes, n = 0;
    lbrt_status status;
    for (int i = 0; i < 2; i++) { /* before and after: a test may run at midnight */
        const time_t now = time(NULL);
        struct tm tm;
        gmtime_r(&now, &tm);
        strftime(day[i], sizeof day[i], "[%d %B %Y, 100%%]hi;", &tm);
        if (i == 0) {
            lb_tokenizer *t = chat_tokenizer(template, "<s>", "</s>", 0, NULL, &section, &bytes, &status);
            const lbrt_message message = { "user", "hi" };
            lbrt_error err = { LBRT_OK, "" };
            LB_CHECK(t && lb_tokenizer_chat_format(t, &message, 1, true, text, sizeof text - 1, &n, &err) == LBRT_OK, "%s", err.text);
            text[n] = 0;
            free_tokenizer(t, NULL, section, bytes);
        }
    }
    LB_CHECK(strcmp(text, day[0]) == 0 || strcmp(text, day[1]) == 0, "'%s' instead of '%s'", text, day[0]);
    lb_test_case("chat: forms of the date that are not known");
    static const char *const wrong[] = { "'%q'", "'%'", "'%-d'", "1", "'%Y', 'x'", "", "'0123456789012345678901234567890123456789012345678901234567890123'" };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char one[256];
        snprintf(one, sizeof one, "{{ strftime_now(%s) }}{%% for message in messages %%}{{ message.content }}{%% endfor %%}", wrong[i]);
        lb_tokenizer *t = chat_tokenizer(one, "<s>", "</s>", 0, NULL, &section, &bytes, &status);
        LB_CHECK(t && !lb_tokenizer_has_chat(t), "%s", wrong[i]);
        free_tokenizer(t, NULL, section, bytes);
    }
}

static void test_hostile_templates(void)
{
    lb_test_case("chat: templates that do not end, and mutated ones");
    static const char *const bombs[] = {
        "{% for a in range(4000) %}{% for b in range(4000) %}{% for c in range(4000) %}x{% endfor %}{% "
        "endfor %}{% endfor %}",
        "{% set x = 'aaaaaaaaaaaaaaaa' %}{% for i in range(100) %}{% set x = x + x %}{{ x }}{% endfor %}",
        "{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x "
        "%}{% endfor %}",
        "{{ ((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1",
        "{{ not not not",
        "{{ - - -1 }}",
        "{% if",
        "{%",
        "{",
        "",
        "{{ messages[",
        "{{ 'abc",
        "{% for",
        "{% set",
        "{{ a.b.c }}",
        "{{ messages[0][0][0] }}",
        "{{ 1 // 0 }}",
        "{{ loop.index }}",
    };
    void *section;
    size_t bytes;
    lbrt_status status;
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        lb_tokenizer *t = chat_tokenizer(bombs[i], "<s>", "</s>", 0, NULL, &section, &bytes, &status);
        LB_CHECK(t && !lb_tokenizer_has_chat(t), "template %zu: %s", i, lbrt_status_name(status));
        free_tokenizer(t, NULL, section, bytes);
    }
    char mutated[sizeof plain_template];
    for (int i = 0; i < 3000; i++) {
        memcpy(mutated, plain_template, sizeof mutated);
        for (uint64_t k = lb_test_random() % 4 + 1; k > 0; k--) {
            static const char signs[] = "{}%'|~.[]() n\n-+#\\";
            mutated[lb_test_random() % (sizeof mutated - 1)] = signs[lb_test_random() % (sizeof signs - 1)];
        }
        lb_tokenizer *t = chat_tokenizer(mutated, "<s>", "</s>", 0, NULL, &section, &bytes, &status);
        LB_CHECK(t != NULL, "%s: [%s]", lbrt_status_name(status), mutated);
        free_tokenizer(t, NULL, section, bytes);
    }
}

/* What lb_tokdata_chat_differs says of a template that has a form. */
static lbrt_status chat_differs(const char *template, const lbrt_allocator *a, char note[LB_CHAT_NOTE], lbrt_error *err)
{
    lb_tokdata *t = NULL;
    void *form = NULL;
    size_t bytes = 0;
    *note = 0;
    lbrt_status status = lb_tokdata_new(1, a, &t, err);
    if (status == LBRT_OK) {
        status = lb_tokdata_set_template(t, template, strlen(template), err);
        if (status == LBRT_OK) {
            status = lb_tokdata_chat_form(t, a, &form, &bytes, err);
        }
        if (status == LBRT_OK) {
            status = lb_tokdata_chat_differs(t, form, a, note, err);
        }
        const lbrt_allocator allocator = lb_allocator_or_default(a);
        lb_free(&allocator, form, bytes);
        lb_tokdata_free(t);
    }
    return status;
}

#define CHAT_LOOK(before) "{% for m in messages %}{% set c = m.content %}" before "{{ '<' + m.role + '>' + c }}{% endfor %}{{ '<assistant>' if add_generation_prompt }}"
static const char looking[] = CHAT_LOOK("{% if m.role != 'user' and '</thought>' in c %}{% set c = c.split( '</thought>')[-1].lstrip('\\n') %}{% endif %}");

static void test_looking(void)
{
    lb_test_case("chat: what a form does not see of the contents");
    static const struct {
        const char *template, *note;
    } cases[] = {
        { CHAT_LOOK(""), "" },
        { CHAT_LOOK("{% if 'tool_calls' in m or c.startswith('-') and false %}x{% endif %}"), "" },
        { looking, "'</thought>' (system, assistant)" },
        { CHAT_LOOK("{% if m.role == 'assistant' and '</think>' in c %}{% set c = c.split('</think>')[-1] %}{% endif %}"), "" }, /* the form knows these */
        { CHAT_LOOK("{% if '<answer>' in c and \"</answer>\" in c %}{% set c = c.split('<answer>')[-1].split('</answer>')[0] %}{% endif %}"),
          "'<answer>' (system, user, assistant)" },
        { CHAT_LOOK("{% if m.role == 'system' %}{% set c = c.replace( \"/no_think\", '') %}{% endif %}"), "'/no_think' (system)" },
        { CHAT_LOOK("{% if m.role == 'user' and c.startswith('\\'\\t') %}{{ 'Q' }}{% endif %}"), "''\\t' (user)" },
        { CHAT_LOOK("{% if '!' not in c and m.role == 'user' %}{% endif %}{% if c.endswith(\"?\") and loop.last %}{{ raise_exception('no') }}{% endif %}"),
          "'?' (user)" },
        { CHAT_LOOK("{% if m.role == 'user' %}{% set c = c.split('\\n')[0] %}{% endif %}"), NULL }, /* a form that is refused */
        { CHAT_LOOK("{% if m.role == 'user' and not loop.first %}{% set c = c.replace('o\\n', '') %}{% endif %}"), "'o\\n' (user)" },
        { CHAT_LOOK("{% set c = c if c else 'nothing' %}"), "an empty text (user, assistant)" },
        { CHAT_LOOK("{% if c or m.role != 'system' %}{{ '' }}{% else %}{{ 'none' }}{% endif %}"), "" }, /* chat leaves it out */
    };
    char note[LB_CHAT_NOTE];
    lbrt_error err = { LBRT_OK, "" };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const lbrt_status status = chat_differs(cases[i].template, NULL, note, &err);
        LB_CHECK(cases[i].note ? status == LBRT_OK && strcmp(note, cases[i].note) == 0 : status == LBRT_ERR_UNSUPPORTED, "%s: %s [%s]", cases[i].template, lbrt_status_name(status), note);
    }
    lb_test_case("chat: a note that is too long, literals that do not end");
    char many[4096] = "{% for m in messages %}{% set c = m.content %}{% if m.role == 'user' %}";
    for (int i = 0; i < 40; i++) {
        const size_t n = strlen(many);
        snprintf(many + n, sizeof many - n, "{%% set c = c.replace('a long text to be found, %d', 'x') %%}", i);
    }
    strcat(many, "{% endif %}{{ '<' + m.role + '>' + c }}{% endfor %}{{ '<assistant>' if add_generation_prompt }}");
    const lbrt_status status = chat_differs(many, NULL, note, &err);
    static const char more[] = "(user), and more";
    const size_t n = strlen(note);
    LB_CHECK(status == LBRT_OK && n > 200 && n < LB_CHAT_NOTE && strcmp(note + n - strlen(more), more) == 0, "%s: [%s]", lbrt_status_name(status), note);
    static const char *const ends[] = { "split(", "split('", "split('\\", "in ", "' in ", "'' in '", "strip(\"a\\\"" };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) { /* as text at the beginning and alone, which nothing depends on */
        char text[512];
        const int bytes = snprintf(text, sizeof text, "%s%s{# %s", ends[i], CHAT_LOOK(""), ends[i]);
        LB_CHECK(bytes < (int)sizeof text && chat_differs(text, NULL, note, &err) == LBRT_ERR_UNSUPPORTED, "%s", text); /* a comment without end */
        text[strlen(text) - strlen(ends[i]) - 3] = 0;
        LB_CHECK(chat_differs(text, NULL, note, &err) == LBRT_OK && !*note, "%s [%s] %s", text, note, err.text);
        snprintf(text, sizeof text, "%s{#%s#}", CHAT_LOOK(""), ends[i]);
        LB_CHECK(chat_differs(text, NULL, note, &err) == LBRT_OK && !*note, "%s [%s] %s", text, note, err.text);
    }
    lb_test_case("chat: an allocation of looking fails");
    lbrt_status failing = LBRT_ERR_MEMORY;
    for (uint64_t fail = 1; failing == LBRT_ERR_MEMORY && fail < 1000000; fail += fail / 16 + 1) {
        failing = chat_differs(looking, lb_test_allocator(fail), note, &err);
        LB_CHECK(lb_test_alloc_alive() == 0, "allocation %llu leaks", (unsigned long long)fail);
    }
    LB_CHECK(failing == LBRT_OK, "%s", lbrt_status_name(failing));
    lb_test_allocator(0);
}

static void test_chat_memory(void)
{
    lb_test_case("chat: every allocation fails once");
    lbrt_status status = LBRT_ERR_MEMORY;
    for (uint64_t fail = 1; status != LBRT_OK; fail++) {
        const lbrt_allocator *a = lb_test_allocator(fail);
        void *section;
        size_t bytes = 0;
        lb_tokenizer *t = chat_tokenizer(plain_template, "<s>", "</s>", 0, a, &section, &bytes, &status);
        LB_CHECK(status == LBRT_OK || (status == LBRT_ERR_MEMORY && !t), "allocation %llu: %s",
                 (unsigned long long)fail, lbrt_status_name(status));
        free_tokenizer(t, a, section, bytes);
        LB_CHECK(lb_test_alloc_alive() == 0, "allocation %llu leaks", (unsigned long long)fail);
        if (fail > 100000) {
            LB_CHECK(false, "never succeeds");
            break;
        }
    }
    lb_test_allocator(0);
}

void test_chat(void)
{
    test_published();
    test_bos_and_errors();
    test_bos_null();
    test_date();
    test_hostile_templates();
    test_looking();
    test_chat_memory();
}
