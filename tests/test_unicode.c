/* UTF-8, Unicode classes, NFC, the gate, and the pre-tokenizers' matchers (tests/data/unicode.txt, by tests/gen_unicode_cases.py). */
#include "lb_test.h"

#include <stdlib.h>
#include <string.h>

#include "../runtime/text/lb_tok_internal.h"

static void test_utf8_decode(void)
{
    lb_test_case("utf8: every code point there and back");
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        char text[4];
        uint32_t back;
        const size_t n = lb_utf8_encode(cp, text);
        const size_t got = lb_utf8_decode(text, n, &back);
        const bool surrogate = cp >= 0xd800 && cp < 0xe000;
        if (!(surrogate ? got == 1 && back == LB_UTF8_INVALID : got == n && back == cp)) {
            LB_CHECK(false, "U+%04X", cp);
            break;
        }
        if (n > 1 && !(lb_utf8_decode(text, n - 1, &back) == 1 && back == LB_UTF8_INVALID)) {
            LB_CHECK(false, "U+%04X cut", cp);
            break;
        }
    }
    lb_test_case("utf8: invalid bytes, at a guarded end");
    static const char *const bad[] = { "\x80",
                                       "\xbf",
                                       "\xc0\x80",
                                       "\xc1\xbf",
                                       "\xe0\x80\x80",
                                       "\xe0\x9f\xbf",
                                       "\xed\xa0\x80",
                                       "\xf0\x80\x80\x80",
                                       "\xf0\x8f\xbf\xbf",
                                       "\xf4\x90\x80\x80",
                                       "\xf5\x80\x80\x80",
                                       "\xff",
                                       "\xe2\x82",
                                       "\xf0\x9f\x98",
                                       "\xc3" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const size_t n = strlen(bad[i]);
        char *p = lb_test_guard(n, false);
        memcpy(p, bad[i], n);
        uint32_t cp;
        LB_CHECK(lb_utf8_decode(p, n, &cp) == 1 && cp == LB_UTF8_INVALID, "case %zu", i);
        lb_test_guard_free(p);
    }
}

/* The same with the definition of "maximal subpart" that Python's errors='replace' follows too. */
static void test_utf8_gate(void)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "abc", "abc" },
        { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
        { "\xf0\x9f\x98", "\xef\xbf\xbd" },
        { "\xf0\x9f\x98x", "\xef\xbf\xbdx" },
        { "\x80\xff", "\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xe0\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xf0\x9f\xe2\x82\xac", "\xef\xbf\xbd\xe2\x82\xac" },
        { "\xe2\x82\xc3\xa9", "\xef\xbf\xbd\xc3\xa9" },
        { "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
    };
    lb_test_case("utf8 gate: every way of cutting the input");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t n = strlen(cases[i].in);
        for (size_t cuts = 0; cuts < (size_t)1 << (n - 1); cuts++) {
            lbrt_utf8 gate = { { 0 }, 0 };
            char out[256];
            size_t written = 0, from = 0;
            for (size_t k = 1; k <= n; k++) {
                if (k == n || (cuts >> (k - 1) & 1)) {
                    written += lbrt_utf8_push(&gate, cases[i].in + from, k - from, out + written);
                    from = k;
                }
            }
            written += lbrt_utf8_push(&gate, NULL, 0, out + written);
            if (!LB_CHECK(written == strlen(cases[i].out) && memcmp(out, cases[i].out, written) == 0,
                          "case %zu cut %zx", i, cuts)) {
                break;
            }
        }
    }
    lb_test_case("utf8 gate: random bytes give valid text within the promised room");
    for (int round = 0; round < 20000; round++) {
        lbrt_utf8 gate = { { 0 }, 0 };
        for (int step = 0; step < 4; step++) {
            const size_t n = lb_test_random() % 6;
            char in[8], *out = malloc(3 * (n + 4));
            for (size_t k = 0; k < n; k++) {
                in[k] = (char)(lb_test_random() % 3 ? 0x80 + lb_test_random() % 128 : lb_test_random() % 256);
            }
            const size_t written = lbrt_utf8_push(&gate, in, n, out);
            bool valid = written <= 3 * (n + 4);
            for (size_t k = 0; valid && k < written;) {
                uint32_t cp;
                k += lb_utf8_decode(out + k, written - k, &cp);
                valid = cp != LB_UTF8_INVALID;
            }
            LB_CHECK(valid, "round %d", round);
            free(out);
        }
    }
}

static size_t from_hex(const char *hex, char *out)
{
    size_t n = 0;
    for (; hex[0] && hex[1] && hex[0] != ' ' && hex[0] != '-' && hex[0] != '\n'; hex += 2) {
        const char pair[3] = { hex[0], hex[1], 0 };
        out[n++] = (char)strtoul(pair, NULL, 16);
    }
    return n;
}

static void check_pieces(lb_pretokenizer kind, const char *text, size_t bytes, const char *lengths)
{
    lb_pretok p = lb_pretok_start(kind, text, bytes);
    char *at = (char *)lengths;
    for (size_t got; (got = lb_pretok_next(&p)) > 0;) {
        const size_t want = strtoul(at, &at, 10);
        if (!LB_CHECK(got == want, "%.*s: a piece of %zu bytes, not %zu", (int)bytes, text, got, want)) {
            return;
        }
    }
    LB_CHECK(*at == '\n' || !*at, "%.*s: pieces are missing", (int)bytes, text);
}

static void test_cases(void)
{
    static const char *const names[] = { "nfc", "gpt2", "llama3", "qwen2", "deepseek", "smollm", "tekken" };
    static const lb_pretokenizer kinds[] = { LB_PRETOK_NONE, LB_PRETOK_GPT2, LB_PRETOK_LLAMA3,
                                             LB_PRETOK_QWEN2, LB_PRETOK_DEEPSEEK_LLM, LB_PRETOK_SMOLLM, LB_PRETOK_TEKKEN };
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        lb_test_case("unicode: %s", names[k]);
        char *data = lb_test_read("tests/data/unicode.txt", NULL);
        if (!LB_CHECK(data != NULL, "tests/data/unicode.txt is missing")) {
            return;
        }
        size_t count = 0;
        const size_t n_name = strlen(names[k]);
        for (char *line = data; *line;) {
            char *end = strchr(line, '\n'), *next = end ? end + 1 : line + strlen(line);
            if (strncmp(line, names[k], n_name) == 0 && line[n_name] == ' ') {
                static char text[4096], form[4096];
                if (end) {
                    *end = 0;
                }
                char *second = strchr(line + n_name + 1, ' ');
                const size_t n = from_hex(line + n_name + 1, text);
                char *guarded = lb_test_guard(n, false);
                memcpy(guarded, text, n);
                if (k) {
                    check_pieces(kinds[k], guarded, n, second);
                } else {
                    const size_t n_form = from_hex(second + 1, form);
                    const lbrt_allocator a = lb_allocator_or_default(NULL);
                    lb_text out = { &a, NULL, 0, 0 };
                    LB_CHECK(lb_unicode_nfc(guarded, n, &out) && out.bytes == n_form &&
                                 memcmp(out.data, form, n_form) == 0,
                             "%s", line);
                    LB_CHECK(lb_unicode_needs_nfc(guarded, n) || (n == n_form && memcmp(text, form, n) == 0),
                             "not needed: %s", line);
                    lb_text_free(&out);
                }
                lb_test_guard_free(guarded);
                count++;
            }
            line = next;
        }
        LB_CHECK(count >= 900, "only %zu cases", count);
        free(data);
    }
}

static void test_random_bytes(void)
{
    lb_test_case("unicode: random bytes through NFC and the matchers");
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    for (int round = 0; round < 20000; round++) {
        const size_t n = 1 + lb_test_random() % 24;
        char *p = lb_test_guard(n, false);
        for (size_t i = 0; i < n; i++) {
            p[i] = lb_test_random() % 4 ? (char)(lb_test_random() % 256) : " \n'a1"[lb_test_random() % 5];
        }
        lb_text out = { &a, NULL, 0, 0 }, twice = { &a, NULL, 0, 0 };
        LB_CHECK(lb_unicode_nfc(p, n, &out) && lb_unicode_nfc(out.data, out.bytes, &twice) &&
                     out.bytes == twice.bytes && memcmp(out.data, twice.data, out.bytes) == 0,
                 "NFC twice is not NFC once");
        lb_text_free(&out);
        lb_text_free(&twice);
        for (int kind = LB_PRETOK_NONE; kind <= LB_PRETOK_LAST; kind++) {
            lb_pretok pre = lb_pretok_start((lb_pretokenizer)kind, p, n);
            size_t total = 0;
            for (size_t piece; (piece = lb_pretok_next(&pre)) > 0;) {
                total += piece;
            }
            LB_CHECK(total == n, "pre-tokenizer %d: %zu bytes of %zu", kind, total, n);
        }
        lb_test_guard_free(p);
    }
    lb_test_case("unicode: a million combining marks");
    lb_text in = { &a, NULL, 0, 0 }, out = { &a, NULL, 0, 0 };
    lb_text_add(&in, "a", 1);
    for (int i = 0; i < 250000; i++) {
        lb_text_add(&in, i & 1 ? "\xcc\x81" : "\xcc\xa3", 2);
    }
    LB_CHECK(lb_unicode_nfc(in.data, in.bytes, &out) && out.bytes == in.bytes &&
                 memcmp(out.data, "\xe1\xba\xa1", 3) == 0,
             "wrong form");
    lb_text_free(&in);
    lb_text_free(&out);
}

/* Time that grew with the square of a text's length would not end here. */
static void test_long_texts(void)
{
    static const char *const parts[] = { "hello world, ", "word", "  ", "12,", " \n", "'s", "\xe4\xbd\xa0\xe5\xa5\xbd, ", "Aa", "!/\n" };
    enum { BYTES = 1 << 20 };
    char *text = malloc(BYTES);
    for (size_t i = 0; text && i < sizeof parts / sizeof parts[0]; i++) {
        lb_test_case("unicode: a million bytes of \"%s\"", parts[i][0] > ' ' ? parts[i] : "space");
        for (size_t at = 0; at < BYTES; at++) {
            text[at] = parts[i][at % strlen(parts[i])];
        }
        for (int kind = LB_PRETOK_NONE; kind <= LB_PRETOK_LAST; kind++) {
            lb_pretok pre = lb_pretok_start((lb_pretokenizer)kind, text, BYTES);
            size_t total = 0;
            for (size_t piece; (piece = lb_pretok_next(&pre)) > 0;) {
                total += piece;
            }
            LB_CHECK(total == BYTES, "pre-tokenizer %d: %zu bytes", kind, total);
        }
    }
    free(text);
}

void test_unicode(void)
{
    test_utf8_decode();
    test_utf8_gate();
    test_cases();
    test_random_bytes();
    test_long_texts();
}
