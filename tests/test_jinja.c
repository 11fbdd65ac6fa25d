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
        { "{{ 'abc'.strip('\xc3\xa8') }}", NOT_HERE },
        { "{{ 'abc'.startswith(('a', 'b')) }}", NOT_HERE },
        { "{{ unk_token }}", NOT_HERE },
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
        { "{{ 1 < 2 < 3 }}{{ 2 == 2 == 2 }}{{ 1 == 1 == true }}{{ 3 > 2 > 2 }}{{ 'a' in 'ab' in ['ab'] }}{{ 1 < 2 == 2 }}", "TrueTrueTrueFalseTrueTrue", LBRT_OK },
        { "{{ 2 < 1 < foo.bar.baz }}{{ 2 < 1 < 'x' == 1 }}", "FalseFalse", LBRT_OK },
        { "{{ 1 < 2 < foo.bar.baz }}", BAD },
        { "{{ true is number }}{{ true is integer }}{{ messages[0]|length }}", "TrueFalse2", LBRT_OK },
        { "{{ -1|string }}{{ --2 }}{{ - 3 - -3 }}{{ -1 is number }}", "-120True", LBRT_OK },
        { "{{ -'a' }}", BAD },
        { "{{ 'a' in ('a', 'b') }}{{ 'c' in ('a', 'b',) }}{{ ('a',)|length }}{{ ('a') }}{{ ('x', 'y')[1] }}{{ []|length }}", "TrueFalse1ay0", LBRT_OK },
        { "{{ ('a', 'b' }}", NOT_HERE },
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

static void test_loops(void)
{
    static const jinja_case cases[] = {
        { "{% for m in messages if m.role != 'system' %}{{ loop.index }}/{{ loop.length }}{{ m.role }}{{ loop.last }};{% endfor %}",
          "1/3userFalse;2/3assistantFalse;3/3userTrue;", LBRT_OK },
        { "{% for m in messages if m.role == 'user' %}{{ loop.previtem.content }}<{{ m.content }}>{{ loop.nextitem.content if not loop.last }}{% endfor %}",
          BAD },
        { "{% for m in messages if m.role == 'user' %}{{ m.content }}>{{ loop.nextitem.content if not loop.last }}{% endfor %}", "Hi>QQ>", LBRT_OK },
        { "{% for m in messages if m.role == 'x' or (m.content == 'Q' if true else false) %}{{ loop.first }}{{ m.content }}{% endfor %}", "TrueQ", LBRT_OK },
        { "{% for m in (messages if true else []) %}{{ m.content }}{% endfor %}{% for m in messages if false %}x{% endfor %}", "Be kind.HiyoQ", LBRT_OK },
        { "{% for a in [1, 2, 3] %}{% for b in [1, 2, 3] if b != loop.index %}{{ a }}{{ b }}.{{ loop.index }} {% endfor %}{% endfor %}",
          "12.1 13.2 21.1 23.2 31.1 32.2 ", LBRT_OK },
        { "{% set m = 'm' %}{% for m in messages if m.role == 'user' %}{% endfor %}{{ m }}{% for x in foo if x.y.z %}x{% endfor %}", "m", LBRT_OK },
        { "{% for m in messages if m.x.y %}{% endfor %}", BAD },
        { "{% for m in messages if true else [] %}{% endfor %}", NOT_HERE },
        { "{% for m in messages if %}{% endfor %}", NOT_HERE },
    };
    CHECK("loops over some of the items", cases);
    static const jinja_case outer[] = {
        { "{% for m in messages %}{% set o = loop %}{% for x in [1, 2] %}{{ o.index0 }}{{ loop.index0 }} {% endfor %}{% endfor %}",
          "00 01 10 11 20 21 30 31 ", LBRT_OK },
        { "{% for m in messages %}{% set outer = loop %}{% for x in [1, 2] %}{{ 'F' if outer.first }}{{ 'L' if outer.last and loop.last }}{% endfor %}{% endfor %}",
          "FFL", LBRT_OK },
        { "{% set n = namespace() %}{% for m in messages %}{% set n.l = loop %}{% endfor %}{{ n.l.index }}{{ n.l.last }}", "4True", LBRT_OK },
        { "{{ loop is defined }}{% for a in [1] %}{{ loop is defined }}{% endfor %}{{ loop is defined }}", "FalseTrueFalse", LBRT_OK },
        { "{{ loop.index }}", BAD },
    };
    CHECK("a loop in a variable", outer);
}

static void test_text(void)
{
    static const jinja_case cases[] = {
        { "{{ \"it's me\"|title }} {{ \"it's me\".title() }}", "It's Me It'S Me", LBRT_OK },
        { "{{ 'a-b (c [d {e <f /g 3h \\n\\ti _J'|title }}", "A-B (C [D {E <F /g 3h \n\tI _j", LBRT_OK },
        { "X\xc2\xa0{%- if true -%}\xe2\x80\x83\n Y{% endif -%}\xe3\x80\x80Z{{- '' -}}\x1c .", "XYZ.", LBRT_OK },
        { "a\n\xc2\xa0\v {% if true %}b{% endif %}\n\xc2\xa0{# c #}d", "a\nbd", LBRT_OK },
        { "[{{ '\xc2\xa0x\xe3\x80\x80'|trim }}{{ '\xc2\xa0y '.lstrip() }}{{ ' z\xc2\xa0'.rstrip() }}]", "[xy  z]", LBRT_OK },
        { "a\r\n{% if true %}\r\nb\r{% endif %}\r\n\r\nc{{ '1\r\n2\\r\\n' }}\r\n", "a\nb\n\nc1\n2\r\n", LBRT_OK },
        { "a\r\r\n\n", "a\n\n", LBRT_OK },
        { "{% if true %}\r  {% if true %}\rx\r", NOT_HERE },
    };
    CHECK("white space, lines and words", cases);
}

void test_jinja(void)
{
    test_text();
    test_undefined();
    test_operators();
    test_loops();
}
