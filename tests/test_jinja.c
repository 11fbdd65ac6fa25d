/* Templates by themselves: what stands here is what Jinja2 3.1 makes of them, set up as Hugging Face does. */
#include "lb_test.h"

#include <stdio.h>
#include <string.h>

#include "../formats/import/lb_jinja.h"

typedef struct jinja_case {
    const char *source, *want; /* want: NULL if it is refused */
    lbrt_status status;
} jinja_case;

static void check_cases(const char *what, const jinja_case *cases, size_t n_cases)
{
    static const lbrt_message messages[] = { { "system", "Be kind." }, { "user", "Hi" }, { "assistant", "yo" }, { "user", "Q" } };
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lb_test_case("jinja: %s", what);
    for (size_t i = 0; i < n_cases; i++) {
        const lb_jinja_input in = { messages, 4, true, "<s>", "</s>", 1764460800 };
        const jinja_case *c = &cases[i];
        char *out = NULL;
        size_t n = 0, cap = 0;
        lbrt_error err = { LBRT_OK, "" };
        const lbrt_status status = lb_jinja_render(c->source, &in, &a, &out, &n, &cap, &err);
        if (c->want) {
            LB_CHECK(status == LBRT_OK && n == strlen(c->want) && (!n || memcmp(out, c->want, n) == 0),
                     "%s\n got [%.*s] %s %s\nwant [%s]", c->source, (int)n, out ? out : "", lbrt_status_name(status), err.text, c->want);
        } else {
            LB_CHECK(status == c->status && err.text[0], "%s: %s %s", c->source, lbrt_status_name(status), err.text);
        }
        lb_free(&a, out, cap);
    }
}

#define CHECK(what, cases) check_cases(what, cases, sizeof(cases) / sizeof *(cases))
#define BAD NULL, LBRT_ERR_FORMAT
#define NOT_HERE NULL, LBRT_ERR_UNSUPPORTED

static void test_undefined(void)
{
    static const jinja_case cases[] = {
        { "{{ 'x' in foo }}{{ 'x' not in foo }}{{ 1 in foo }}", "FalseTrueFalse", LBRT_OK },
        { "{{ foo|length }}[{{ foo|trim }}{{ foo|upper }}{{ foo|title }}{{ foo|replace('a', 'b') }}]{{ (foo|list)|length }}", "0[]0", LBRT_OK },
        { "[{{ foo|first }}{{ foo|last }}{% for x in foo|list %}x{% endfor %}{{ foo|selectattr('role')|list|length }}]", "[0]", LBRT_OK },
        { "{{ none[0] is defined }}{{ tools[0] is defined }}{{ messages['x'] is defined }}{{ messages[0][0] is defined }}", "FalseFalseFalseFalse", LBRT_OK },
        { "{{ none|trim }}{{ 12|trim }}{{ true|upper }}", "None12TRUE", LBRT_OK },
        { "{{ foo.bar }}", BAD },
        { "{{ foo[0] }}", BAD },
        { "{{ foo['bar'] }}", BAD },
        { "{{ foo.strip() }}", BAD },
        { "{{ none.strip() }}", BAD },
        { "{{ foo + 'x' }}", BAD },
        { "{{ foo < 1 }}", BAD },
        { "{{ 'x' in none }}", BAD },
        { "{{ none|length }}", BAD },
        { "{{ 'x'|strip }}", NOT_HERE },
    };
    CHECK("what is undefined", cases);
}

static void test_operators(void)
{
    static const jinja_case cases[] = {
        { "{{ 'a' < 'b' }}{{ 'a' > 'b' }}{{ 'a' <= 'a' }}{{ 'ab' < 'a' }}{{ '' < 'a' }}{{ 'z' < '\xc3\xa9' }}", "TrueFalseTrueFalseTrueTrue", LBRT_OK },
        { "{{ '=' * 3 }}{{ 2 * 'ab' }}[{{ 'x' * 0 }}{{ 'x' * (0 - 1) }}{{ '' * 1000000000 }}]", "===abab[]", LBRT_OK },
        { "{{ (0 - 7) % 3 }} {{ (0 - 7) // 3 }} {{ 7 % (0 - 3) }} {{ 7 // (0 - 3) }} {{ 6 // (0 - 3) }} {{ true + 1 }}", "2 -3 -2 -3 -2 2", LBRT_OK },
        { "{{ 'a' < 1 }}", BAD },
        { "{{ 'a' + 1 }}", BAD },
        { "{{ 1 % 0 }}", BAD },
        { "{{ [1] < [2] }}", NOT_HERE },
        { "{{ '%d' % 1 }}", NOT_HERE },
        { "{{ 'ab' * 1000000000 }}", NOT_HERE },
    };
    CHECK("operators", cases);
    /* a number that grew without end would overflow */
    static const jinja_case large[] = {
        { "{{ 1000000000 - 1 }} {{ 0 - 1000000000 }}", "999999999 -1000000000", LBRT_OK },
        { "{{ 1000000001 }}", NOT_HERE },
        { "{{ 1000000000 + 1 }}", NOT_HERE },
        { "{{ 0 - 1000000000 - 1 }}", NOT_HERE },
        { "{{ 1000000000 * 1000000000 }}", NOT_HERE },
        { "{{ (0 - 1000000000) * 1000000000 * 1000000000 }}", NOT_HERE },
        { "{% set n = namespace(x=0 - 1000000000) %}{% for i in range(4000) %}{% set n.x = n.x + n.x %}{% endfor %}", NOT_HERE },
        { "{% for i in range(0 - 1000000000, 1000000000) %}{% endfor %}", NOT_HERE },
        { "{% for i in range(1000000000, 0 - 1000000000, 0 - 1) %}{% endfor %}", NOT_HERE },
        { "[{% for i in range(1000000000, 0 - 1000000000) %}{% endfor %}]", "[]", LBRT_OK },
    };
    CHECK("large numbers", large);
}

void test_jinja(void)
{
    test_undefined();
    test_operators();
}
