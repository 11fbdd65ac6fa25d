/* The JSON reader: what it takes, what it refuses, and that nothing makes it read or write out of bounds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/import/lb_json.h"
#include "lb_test.h"
#include "make_models.h"

static lbrt_status parse(const char *text, lb_json_doc **doc, lbrt_error *err)
{
    return lb_json_parse(text, strlen(text), NULL, doc, err);
}

static void check_values(void)
{
    lb_test_case("json: values");
    lb_json_doc *doc = NULL;
    lbrt_error err = { 0 };
    static const char text[] = "\xef\xbb\xbf { \"a\": [1, -2.5e3, true, false, null, []], \"b\\u00e9\": "
                               "\"x\\n\\ud83d\\ude00\\udc00y\\u0000z\",\r\n\t"
                               "\"c\": {\"d\": {}}, \"a\": 7, \"\": 0 } ";
    if (!LB_CHECK(lb_json_parse(text, sizeof text - 1, NULL, &doc, &err) == LBRT_OK, "%s", err.text)) {
        return;
    }
    const lb_json *root = lb_json_root(doc), *a = lb_json_get(root, "a");
    LB_CHECK(root->type == LB_JSON_OBJECT && root->n_children == 5, "%zu members", root->n_children);
    LB_CHECK(a != NULL && a->type == LB_JSON_ARRAY && a->n_children == 6,
             "the first of two members of the same name");
    const lb_json *n = a->child;
    LB_CHECK(lb_json_number(n, 0) == 1.0 && lb_json_number(n->next, 0) == -2500.0, "numbers");
    LB_CHECK(lb_json_bool(n->next->next, false) && !lb_json_bool(n->next->next->next, true), "booleans");
    LB_CHECK(n->next->next->next->next->type == LB_JSON_NULL, "null");
    LB_CHECK(n->next->next->next->next->next->child == NULL, "an empty array");
    const lb_json *b = lb_json_get(root, "b\xc3\xa9");
    static const char want[] = "x\n\xf0\x9f\x98\x80\xef\xbf\xbdy\0z";
    LB_CHECK(b != NULL && b->bytes == sizeof want - 1 && memcmp(b->text, want, sizeof want) == 0, "escapes");
    LB_CHECK(lb_json_get(lb_json_get(root, "c"), "d")->type == LB_JSON_OBJECT, "nested");
    LB_CHECK(lb_json_get(root, "") != NULL && lb_json_get(root, "zz") == NULL &&
                 lb_json_get(NULL, "a") == NULL,
             "get");
    LB_CHECK(lb_json_number(b, 3.0) == 3.0 && lb_json_bool(NULL, true) && !lb_json_is(n, "1"), "defaults");
    uint64_t u;
    LB_CHECK(lb_json_uint(n, 1, &u) && u == 1 && !lb_json_uint(n, 0, &u) && !lb_json_uint(n->next, 9, &u),
             "uint");
    lb_json_free(doc);
}

static void check_numbers(void)
{
    lb_test_case("json: numbers");
    char text[64];
    unsigned wrong = 0, far = 0;
    for (int i = 0; i < 20000; i++) {
        /* up to 15 digits and an exponent within 22: correctly rounded; else within a unit in the last place
         * or so */
        uint64_t digits = lb_test_random() % (i % 2 == 0 ? UINT64_C(1000000000000000) : UINT64_MAX);
        int exponent = (int)(lb_test_random() % 45) - 22;
        snprintf(text, sizeof text, "%s%llu%s%d", i % 3 == 0 ? "-" : "", (unsigned long long)digits,
                 i % 5 == 0 ? "E" : "e", exponent);
        lb_json_doc *doc = NULL;
        if (parse(text, &doc, NULL) != LBRT_OK) {
            wrong++;
            continue;
        }
        double got = lb_json_root(doc)->number, want = strtod(text, NULL);
        wrong += i % 2 == 0 && got != want;
        far += !(got == want || (got - want) / want < 0x1p-52) ||
               !(got == want || (got - want) / want > -0x1p-52);
        lb_json_free(doc);
    }
    LB_CHECK(wrong == 0, "%u short numbers differ from strtod", wrong);
    LB_CHECK(far == 0, "%u long numbers are off by more than an ulp", far);
    static const struct {
        const char *text;
        double value;
    } some[] = { { "1e-05", 1e-05 },
                 { "0.1", 0.1 },
                 { "1000000000000000019884624838656", 1e30 },
                 { "0", 0.0 },
                 { "-0", 0.0 },
                 { "1e-400", 0.0 },
                 { "0.000000000000000000000000000000000000001", 1e-39 },
                 { "500000.0", 5e5 },
                 { "1e0000000001", 10 } };
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        lb_json_doc *doc = NULL;
        LB_CHECK(parse(some[i].text, &doc, NULL) == LBRT_OK && lb_json_root(doc)->number == some[i].value,
                 "%s", some[i].text);
        lb_json_free(doc);
    }
    lb_json_doc *doc = NULL;
    LB_CHECK(parse("1e99999999999999999999", &doc, NULL) == LBRT_OK && lb_json_root(doc)->number > 1e308,
             "infinity");
    lb_json_free(doc);
}

static void check_refused(void)
{
    lb_test_case("json: refused");
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\":1,}",
        "{\"a\"}",
        "{a:1}",
        "{1:2}",
        "{\"a\" 1}",
        "[1}",
        "{\"a\":1]",
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "1e",
        "1e+",
        "--1",
        "nul",
        "tru",
        "NaN",
        "Infinity",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "\"\xff\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "1 1",
        "[] []",
        "// x\n1",
        "[1]x",
        "\"a\" \"b\"",
        "{\"a\":1 \"b\":2}",
        "[\"a\":1]",
        "{,}",
        "0x10",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        lb_json_doc *doc = (lb_json_doc *)&doc;
        lbrt_error err = { 0 };
        LB_CHECK(parse(bad[i], &doc, &err) == LBRT_ERR_FORMAT && doc == NULL && err.text[0] != '\0', "'%s'",
                 bad[i]);
    }
    char deep[4096];
    for (size_t n = LB_JSON_MAX_DEPTH; n <= LB_JSON_MAX_DEPTH + 1; n++) {
        memset(deep, '[', n);
        memset(deep + n, ']', n);
        lb_json_doc *doc = NULL;
        LB_CHECK((lb_json_parse(deep, 2 * n, NULL, &doc, NULL) == LBRT_OK) == (n == LB_JSON_MAX_DEPTH),
                 "depth %zu", n);
        lb_json_free(doc);
    }
    memset(deep, '[', sizeof deep);
    lb_json_doc *doc = NULL;
    LB_CHECK(lb_json_parse(deep, sizeof deep, NULL, &doc, NULL) == LBRT_ERR_FORMAT, "only brackets");
}

/* In a block that ends at an inaccessible page, so that a byte too far is a crash. */
static void check_mutations(void)
{
    lb_test_case("json: mutations and truncations");
    size_t n = strlen(mk_tokenizer_json), good = 0;
    char *page = lb_test_guard(n, false);
    static const char spice[] = "{}[]\",:\\u0e1-.tfn \x80\xf0\xe2";
    for (int i = 0; i < 20000; i++) {
        memcpy(page, mk_tokenizer_json, n);
        for (uint64_t k = lb_test_random() % 4 + 1; k > 0; k--) {
            size_t at = (size_t)(lb_test_random() % n);
            page[at] = i % 2 == 0 ? (char)lb_test_random() : spice[lb_test_random() % (sizeof spice - 1)];
        }
        lb_json_doc *doc;
        good += lb_json_parse(page, n, NULL, &doc, NULL) == LBRT_OK;
        lb_json_free(doc);
    }
    LB_CHECK(good > 0 && good < 20000, "%zu of 20000 parse", good);
    good = 0;
    for (size_t cut = 0; cut + 2 < n; cut++) {
        lb_json_doc *doc;
        memcpy(page + n - cut, mk_tokenizer_json, cut); /* so that it ends at the page */
        good += lb_json_parse(page + n - cut, cut, NULL, &doc, NULL) == LBRT_OK;
        lb_json_free(doc);
    }
    LB_CHECK(good == 0, "%zu truncated texts parse", good);
    lb_test_guard_free(page);
}

static void check_memory(void)
{
    lb_test_case("json: failing allocations");
    size_t before = lb_test_alloc_alive(), n = strlen(mk_tokenizer_json);
    lb_json_doc *doc = NULL;
    for (uint64_t fail = 1; fail < 20; fail++) {
        lbrt_status status = lb_json_parse(mk_tokenizer_json, n, lb_test_allocator(fail), &doc, NULL);
        lb_json_free(doc);
        LB_CHECK(lb_test_alloc_alive() == before, "leak when allocation %llu fails",
                 (unsigned long long)fail);
        if (status == LBRT_OK) {
            LB_CHECK(fail > 3, "only %llu allocations", (unsigned long long)fail);
            return;
        }
        LB_CHECK(status == LBRT_ERR_MEMORY && doc == NULL, "status %s", lbrt_status_name(status));
    }
    LB_CHECK(false, "too many allocations");
}

void test_json(void)
{
    check_values();
    check_numbers();
    check_refused();
    check_mutations();
    check_memory();
}
