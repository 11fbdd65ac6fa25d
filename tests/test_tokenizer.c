/* Tokenizers: small vocabularies made here, hostile input, failing memory. tests/test_tokenizer_real.c has real ones. */
#include "lb_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "open_tokens.h"

/* ---------------------------------------------------------------- small vocabularies */

/* A SentencePiece model file with a few tokens: all bytes, some words, a user-defined and an unused token. */
static size_t make_spm(unsigned char *out, bool collapse)
{
    static const struct {
        const char *text;
        float score;
        int type;
    } pieces[] = {
        { "<unk>", 0, 2 },
        { "<s>", 0, 3 },
        { "</s>", 0, 3 },
        { "\xe2\x96\x81", -10, 1 },
        { "h", -11, 1 },
        { "e", -12, 1 },
        { "l", -13, 1 },
        { "o", -14, 1 },
        { "he", -1, 1 },
        { "ll", -2, 1 },
        { "hell", -3, 5 },
        { "hello", -4, 1 },
        { "\xe2\x96\x81h", -5, 1 },
        { "\xe2\x96\x81hello", -6, 1 },
        { "<user>", 0, 4 },
        { "\xe2\x96\x81\xe2\x96\x81", -7, 1 },
        { "\xc3\xa9", -15, 1 },
        { "o\xe2\x96\x81", -20, 1 },
    };
    size_t n = 0;
    for (int i = 0; i < (int)(sizeof pieces / sizeof *pieces) + 256; i++) {
        char byte[8];
        const bool is_byte = i >= 3 && i < 259;
        const int k = i < 3 ? i : i - 256;
        snprintf(byte, sizeof byte, "<0x%02X>", is_byte ? i - 3 : 0);
        const char *text = is_byte ? byte : pieces[k].text;
        const float score = is_byte ? 0 : pieces[k].score;
        const size_t length = strlen(text);
        out[n++] = 0x0a;
        out[n++] = (unsigned char)(2 + length + 5 + 2);
        out[n++] = 0x0a;
        out[n++] = (unsigned char)length;
        memcpy(out + n, text, length);
        n += length;
        out[n++] = 0x15;
        memcpy(out + n, &score, 4);
        n += 4;
        out[n++] = 0x18;
        out[n++] = (unsigned char)(is_byte ? 6 : pieces[k].type);
    }
    const unsigned char specs[] = { 0x12, 2, 0x18, 2, 0x1a, 2, 0x20, collapse };
    memcpy(out + n, specs, sizeof specs);
    return n + sizeof specs;
}

static const char small_json[] =
    "{\"added_tokens\":[{\"id\":20,\"content\":\"<|end|>\",\"special\":true,\"rstrip\":true},"
    "{\"id\":21,\"content\":\"<|e\",\"special\":false},{\"id\":22,\"content\":\"<tool>\",\"special\":false,"
    "\"lstrip\":true}],"
    "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":"
    "true},"
    "\"decoder\":{\"type\":\"ByteLevel\"},\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{"
    "\"SpecialToken\":{\"id\":\"<|end|>\"}},"
    "{\"Sequence\":{\"id\":\"A\"}}]},"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"\\u0120\":3,\"ab\":4,\"abc\":5,"
    "\"\\u0120a\":6,\"bc\":7,\"\\u00c3\":8,"
    "\"\\u00a9\":9,\"\\u00c3\\u00a9\":10,\"<\":11,\"|\":12,\"e\":13},"
    "\"merges\":[\"a b\",\"\\u0120 a\",\"b c\",[\"ab\",\"c\"],\"\\u00c3 \\u00a9\"]}}";

/* JSON with merges all as strings or all as pairs. */
static void make_json(char *out, bool pairs)
{
    strcpy(out, small_json);
    char *merges = strstr(out, "\"merges\":");
    strcpy(merges, pairs ? "\"merges\":[[\"a\",\"b\"],[\"\\u0120\",\"a\"],[\"b\",\"c\"],[\"ab\",\"c\"],["
                           "\"\\u00c3\",\"\\u00a9\"]]}}"
                         : "\"merges\":[\"a b\",\"\\u0120 a\",\"b c\",\"ab c\",\"\\u00c3 \\u00a9\"]}}");
}

static bool ids_are(const opened *o, const char *text, unsigned flags, const char *want)
{
    lbrt_token ids[256];
    size_t n = 0;
    lbrt_error err = { 0 };
    const lbrt_status status = lb_tokenizer_encode(o->t, text, strlen(text), flags, ids, 256, &n, &err);
    char got[2048];
    size_t at = 0;
    got[0] = 0;
    for (size_t i = 0; i < n && status == LBRT_OK; i++) {
        at += (size_t)snprintf(got + at, sizeof got - at, "%s%d", i ? " " : "", ids[i]);
    }
    return LB_CHECK(status == LBRT_OK && strcmp(got, want) == 0, "[%s]: %s, wanted %s %s", text, got, want,
                    err.text);
}

static void test_small_spm(void)
{
    unsigned char file[8192];
    lb_tokdata *data = NULL;
    lbrt_error err = { 0 };
    lb_test_case("tokenizer: a small SentencePiece model");
    const lbrt_status status = lb_tokdata_from_sentencepiece(file, make_spm(file, false), NULL, &data, &err);
    LB_CHECK(status == LBRT_OK, "%s", err.text);
    opened o = open_data(data, status, "spm");
    if (o.t) {
        // ids: 259 space, 260 h, 261 e, 262 l, 263 o, 264 he, 265 ll, 266 hell (unused), 267 hello, 268 " h", 269 " hello"
        ids_are(&o, "", LBRT_TOKENIZE_BOS, "1");
        ids_are(&o, "he", LBRT_TOKENIZE_BOS, "1 259 264"); // "he" joins before " h": -1 beats -5
        ids_are(&o, "hell", 0, "259 264 265");             // "hell" is unused: given out as its parts
        ids_are(&o, "hello", 0, "269");
        ids_are(&o, "\xe2\x96\x81hello", 0, "259 269");
        ids_are(&o, "<user>he<user>he", 0, "259 270 264 270 264");
        ids_are(&o, "<s>", 0, "259 63 118 65");
        ids_are(&o, "<s>he</s>he", LBRT_TOKENIZE_SPECIAL, "1 259 264 2 259 264");
        ids_are(&o, "x\xff", 0, "259 123 258");
        ids_are(&o, "\xc3\xa9\xc3\xaa", 0, "259 272 198 173");
        ids_are(&o, "o o", 0, "259 273 263"); // a token with a space behind: words are not cut
        lbrt_token ids[16] = { 1, 269, 259, 264 };
        char text[64];
        size_t n;
        LB_CHECK(lb_tokenizer_decode(o.t, ids, 4, text, sizeof text, &n, &err) == LBRT_OK && n == 8 &&
                     memcmp(text, "hello he", 8) == 0,
                 "decode: [%.*s]", (int)n, text);
        LB_CHECK(lb_tokenizer_decode(o.t, ids, 4, NULL, 0, &n, &err) == LBRT_ERR_BUFFER && n == 8,
                 "size of a text");
        ids[1] = 9999;
        LB_CHECK(lb_tokenizer_decode(o.t, ids, 4, text, sizeof text, &n, &err) == LBRT_ERR_ARGUMENT,
                 "a token that is none");
        const char *piece;
        LB_CHECK(lb_tokenizer_token_text(o.t, 1, false, &piece, &n) == LBRT_OK && n == 0,
                 "control tokens have no text");
        LB_CHECK(lb_tokenizer_token_text(o.t, 1, true, &piece, &n) == LBRT_OK && n == 3 &&
                     memcmp(piece, "<s>", 3) == 0,
                 "but a name");
        LB_CHECK(lb_tokenizer_token_text(o.t, 259, false, &piece, &n) == LBRT_OK && n == 1 && piece[0] == ' ',
                 "space");
        LB_CHECK(lb_tokenizer_token_text(o.t, 13, false, &piece, &n) == LBRT_OK && n == 1 && piece[0] == '\n',
                 "byte");
        LB_CHECK(lb_tokenizer_token_text(o.t, -1, false, &piece, &n) == LBRT_ERR_ARGUMENT, "-1");
        LB_CHECK(lb_tokenizer_ends(o.t, 2) && !lb_tokenizer_ends(o.t, 1) && !lb_tokenizer_ends(o.t, -1),
                 "ends");
        LB_CHECK(!lb_tokenizer_has_chat(o.t) &&
                     lb_tokenizer_chat_format(o.t, NULL, 0, true, NULL, 0, &n, &err) == LBRT_ERR_UNSUPPORTED,
                 "chat without a template");
    }
    close_opened(&o);
    lb_test_case("tokenizer: SentencePiece's remove_extra_whitespaces");
    const lbrt_status again = lb_tokdata_from_sentencepiece(file, make_spm(file, true), NULL, &data, &err);
    o = open_data(data, again, "spm");
    if (o.t) {
        ids_are(&o, "  hello   hello  ", 0, "269 269");
        ids_are(&o, "   ", 0, "");
    }
    close_opened(&o);
}

static void test_small_bpe(void)
{
    char json[sizeof small_json + 64];
    for (int pairs = 0; pairs < 2; pairs++) {
        lb_test_case("tokenizer: a small tokenizer.json, merges as %s", pairs ? "pairs" : "strings");
        make_json(json, pairs != 0);
        lb_tokdata *data = NULL;
        lbrt_error err = { 0 };
        const lbrt_status status = lb_tokdata_from_hf_json(json, strlen(json), NULL, &data, &err);
        LB_CHECK(status == LBRT_OK, "%s", err.text);
        opened o = open_data(data, status, "json");
        if (o.t) {
            ids_are(&o, "abc", 0, "5");
            ids_are(&o, "abc abc", LBRT_TOKENIZE_BOS, "20 5 3 5"); // "a b" before "\u0120 a"
            ids_are(&o, "\xc3\xa9", 0, "10");
            ids_are(&o, "<|end|>  a", LBRT_TOKENIZE_SPECIAL, "20 0");
            ids_are(&o, "<|end", LBRT_TOKENIZE_SPECIAL,
                    "21"); // a shorter special token inside a longer one; n and d have no token
            ids_are(&o, "<|end|>", 0, "21 12"); // control tokens are text unless asked for
            ids_are(&o, "a  <tool> b", 0, "0 22 3 1");
            LB_CHECK(lb_tokenizer_count(o.t) == 23 && lb_tokenizer_bos(o.t) == 20 &&
                         lb_tokenizer_adds_bos(o.t),
                     "counts");
        }
        close_opened(&o);
    }
    static const char tekken[] = "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]*[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]+|"
                                 "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]+[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]*|"
                                 "\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n/]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+";
    static const char bytes_of[] = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}";
    for (int kind = 0; kind < 2; kind++) {
        lb_test_case("tokenizer: the pre-tokenizer of %s, in tokenizer.json", kind ? "Tekken" : "SmolLM");
        char changed[sizeof small_json + 1024];
        make_json(json, false);
        const char *hit = strstr(json, bytes_of);
        lb_tokdata *data = NULL;
        lbrt_error err = { 0 };
        if (LB_CHECK(hit != NULL, "no ByteLevel")) {
            snprintf(changed, sizeof changed, "%.*s{\"type\":\"Sequence\",\"pretokenizers\":[%s%s%s,%.*s%s}]}%s", (int)(hit - json), json,
                     kind ? "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" : "{\"type\":\"Digits\",\"individual_digits\":true}",
                     kind ? tekken : "", kind ? "\"},\"behavior\":\"Isolated\",\"invert\":false}" : "", (int)sizeof bytes_of - 6, bytes_of,
                     kind ? "false" : "true", hit + sizeof bytes_of - 1);
            const lbrt_status status = lb_tokdata_from_hf_json(changed, strlen(changed), NULL, &data, &err);
            LB_CHECK(status == LBRT_OK && data->pretokenizer == (kind ? LB_PRETOK_TEKKEN : LB_PRETOK_SMOLLM), "%s: %s", err.text, changed);
            lb_tokdata_free(data);
        }
    }
    lb_test_case("tokenizer: what tokenizer.json may not say; messages name it");
    static const char *const wrong[][3] = { /* what, instead of it, in the message */
        { "\"BPE\"", "\"WordPiece\"", "'WordPiece'" },
        { "\"normalizer\":null", "\"normalizer\":{\"type\":\"NFKC\"}", "'NFKC'" },
        { "\"type\":\"ByteLevel\",\"add", "\"type\":\"BertPreTokenizer\",\"add", "'BertPreTokenizer'" },
        { "\"add_prefix_space\":false", "\"add_prefix_space\":true", "add_prefix_space" },
        { "\"TemplateProcessing\"", "\"RobertaProcessing\"", "'RobertaProcessing'" },
        { "\"decoder\":{\"type\":\"ByteLevel\"}", "\"decoder\":{\"type\":\"WordPiece\"}", "'WordPiece'" },
        { "{\"type\":\"ByteLevel\",\"add", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\d+|\\\\D\"},\"behavior\":\"Isolated\",\"add", "not known: \\d+|\\D" },
        { "{\"type\":\"ByteLevel\",\"add", "{\"type\":\"Split\",\"pattern\":{\"String\":\"x\"},\"add", "not known: (none)" },
        { "\"special\":true", "\"special\":true,\"single_word\":true", "'<|end|>'" },
        { "{\"type\":\"ByteLevel\",\"add", "{\"type\":\"Digits\",\"individual_digits\":false,\"add", "Digits" },
        { "{\"type\":\"ByteLevel\",\"add", "{\"type\":\"Digits\",\"individual_digits\":true,\"add", "Digits" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char changed[sizeof small_json + 256];
        make_json(json, false);
        const char *hit = strstr(json, wrong[i][0]);
        if (LB_CHECK(hit != NULL, "case %zu", i)) {
            snprintf(changed, sizeof changed, "%.*s%s%s", (int)(hit - json), json, wrong[i][1],
                     hit + strlen(wrong[i][0]));
            lb_tokdata *data = NULL;
            lbrt_error err = { 0 };
            LB_CHECK(lb_tokdata_from_hf_json(changed, strlen(changed), NULL, &data, &err) ==
                             LBRT_ERR_UNSUPPORTED &&
                         !data && strstr(err.text, wrong[i][2]),
                     "case %zu: %s", i, err.text);
        }
    }
}

/* ---------------------------------------------------------------- hostile input and failing memory */

/* Opens a section that may be damaged and, if it opens, uses everything once. */
static void use_section(const void *section, size_t bytes)
{
    lb_tokenizer *t = NULL;
    lbrt_error err = { 0 };
    if (lb_tokenizer_open(section, bytes, NULL, &t, &err) != LBRT_OK) {
        LB_CHECK(t == NULL && err.text[0], "an error without a sentence");
        return;
    }
    static const char text[] = "hello  <user>hell abc<|end|> \xc3\xa9\xff '\xe2\x96\x81ll o o <s> <tool> 12";
    lbrt_token ids[256];
    char out[512];
    size_t n;
    for (unsigned flags = 0; flags < 4; flags++) {
        (void)lb_tokenizer_encode(t, text, sizeof text, flags, ids, 256, &n, &err);
    }
    for (uint32_t id = 0; id < lb_tokenizer_count(t) && id < 300; id++) {
        const lbrt_token one = (lbrt_token)id;
        (void)lb_tokenizer_decode(t, &one, 1, out, sizeof out, &n, &err);
    }
    const lbrt_message messages[] = { { "system", " s " }, { "user", "u" }, { "assistant", "a" } };
    (void)lb_tokenizer_chat_format(t, messages, 3, true, out, sizeof out, &n, &err);
    lb_tokenizer_close(t);
}

static lbrt_status import_small(int kind, const char *file, size_t bytes, const lbrt_allocator *a,
                                lb_tokdata **out)
{
    lbrt_error err = { 0 };
    return kind == 0 ? lb_tokdata_from_sentencepiece(file, bytes, a, out, &err)
                     : lb_tokdata_from_hf_json(file, bytes, a, out, &err);
}

static void test_hostile(void)
{
    static char file[8192];
    static const char template[] =
        "{% for message in messages %}{{ '<' ~ message.role ~ '>' ~ message.content | trim }}{% endfor %}";
    const lbrt_allocator plain = lb_allocator_or_default(NULL);
    for (int kind = 0; kind < 2; kind++) {
        size_t bytes;
        if (kind == 0) {
            bytes = make_spm((unsigned char *)file, false);
        } else {
            make_json(file, false);
            bytes = strlen(file);
        }
        lb_tokdata *data = NULL;
        lb_test_case("tokenizer: damaged sections, %s", kind ? "byte-level" : "SentencePiece");
        if (!LB_CHECK(import_small(kind, file, bytes, NULL, &data) == LBRT_OK, "import")) {
            return;
        }
        data->chat_template = lb_alloc(&data->allocator, sizeof template);
        memcpy(data->chat_template, template, sizeof template);
        opened o = open_data(data, LBRT_OK, "small");
        LB_CHECK(o.t && lb_tokenizer_has_chat(o.t), "chat form");
        for (size_t n = 0; n <= o.bytes; n++) {
            unsigned char *guarded = lb_test_guard(n ? n : 1, false);
            memcpy(guarded, o.section, n);
            use_section(guarded, n);
            lb_test_guard_free(guarded);
        }
        unsigned char *guarded = lb_test_guard(o.bytes, false);
        for (int round = 0; round < 20000; round++) {
            memcpy(guarded, o.section, o.bytes);
            for (uint64_t k = lb_test_random() % 4 + 1; k > 0; k--) {
                const size_t limit = lb_test_random() % 3 ? o.bytes : 160; // the header is where it hurts
                const size_t at = lb_test_random() % limit;
                const bool any = lb_test_random() % 2;
                guarded[at] =
                    (unsigned char)(any ? lb_test_random() : guarded[at] ^ 1u << lb_test_random() % 8);
            }
            use_section(guarded, o.bytes);
        }
        lb_test_guard_free(guarded);
        close_opened(&o);

        lb_test_case("tokenizer: damaged %s", kind ? "tokenizer.json" : "SentencePiece models");
        char *copy = malloc(bytes + 1);
        for (int round = 0; round < 10000 + (int)bytes; round++) {
            size_t n = bytes;
            memcpy(copy, file, bytes);
            if (round < (int)bytes) {
                n = (size_t)round;
            } else {
                for (uint64_t k = lb_test_random() % 3 + 1; k > 0; k--) {
                    static const char signs[] = "{}[]\",:0123456789aelntrufs\\ ";
                    copy[lb_test_random() % bytes] = kind && lb_test_random() % 2
                                                         ? signs[lb_test_random() % (sizeof signs - 1)]
                                                         : (char)lb_test_random();
                }
            }
            char *exact = malloc(n ? n : 1);
            memcpy(exact, copy, n);
            lb_tokdata *t = NULL;
            const lbrt_status status = import_small(kind, exact, n, NULL, &t);
            LB_CHECK((status == LBRT_OK) == (t != NULL), "status %d", status);
            if (t) {
                void *section = NULL;
                size_t section_bytes;
                if (lb_tokdata_write(t, NULL, &section, &section_bytes, NULL) == LBRT_OK) {
                    use_section(section, section_bytes);
                    lb_free(&plain, section, section_bytes);
                }
            }
            lb_tokdata_free(t);
            free(exact);
        }
        free(copy);

        lb_test_case("tokenizer: every allocation fails once, %s", kind ? "byte-level" : "SentencePiece");
        bool done = false;
        for (uint64_t fail = 1; !done && LB_CHECK(fail < 100000, "never succeeds"); fail++) {
            const lbrt_allocator *a = lb_test_allocator(fail);
            lb_tokdata *t = NULL;
            void *section = NULL;
            size_t section_bytes = 0, n;
            lb_tokenizer *tokenizer = NULL;
            lbrt_token ids[256];
            char long_text[200];
            memset(long_text, 'e', sizeof long_text);
            lbrt_error err;
            lbrt_status status = import_small(kind, file, bytes, a, &t);
            if (status == LBRT_OK) {
                status = lb_tokdata_write(t, a, &section, &section_bytes, &err);
            }
            if (status == LBRT_OK) {
                status = lb_tokenizer_open(section, section_bytes, a, &tokenizer, &err);
            }
            if (status == LBRT_OK) {
                status = lb_tokenizer_encode(tokenizer, "hell hell abc abc <|end|>", 25,
                                             LBRT_TOKENIZE_SPECIAL, ids, 256, &n, &err);
            }
            if (status == LBRT_OK) {
                status = lb_tokenizer_encode(tokenizer, long_text, sizeof long_text, 0, ids, 256, &n, &err);
            }
            done = status == LBRT_OK;
            LB_CHECK(done || status == LBRT_ERR_MEMORY, "allocation %llu: %s", (unsigned long long)fail,
                     lbrt_status_name(status));
            lb_tokenizer_close(tokenizer);
            lb_free(a, section, section_bytes);
            lb_tokdata_free(t);
            LB_CHECK(lb_test_alloc_alive() == 0, "allocation %llu leaks", (unsigned long long)fail);
        }
        lb_test_allocator(0);
    }
}

/* A llama2.c file that is cut short, and merges that are not in the vocabulary. */
static void test_other_importers(void)
{
    lb_test_case("tokenizer: importers refuse what is damaged");
    static const unsigned char bin[] = { 4,   0, 0, 0, 0, 0, 0,   0, 1, 0,   0,   0,   'u', 0,   0,
                                         0,   0, 1, 0, 0, 0, 's', 0, 0, 0,   0,   1,   0,   0,   0,
                                         'e', 0, 0, 0, 0, 6, 0,   0, 0, '<', '0', 'x', '4', '1', '>' };
    lb_tokdata *t = NULL;
    lbrt_error err;
    for (size_t n = 0; n <= sizeof bin; n++) {
        const lbrt_status status = lb_tokdata_from_llama2c(bin, n, 4, NULL, &t, &err);
        LB_CHECK(status == (n == sizeof bin ? LBRT_OK : LBRT_ERR_FORMAT), "%zu bytes: %s", n, err.text);
        lb_tokdata_free(t);
        t = NULL;
    }
    lb_tokdata_ggml in = LB_TOKDATA_GGML_INIT;
    const lb_tokdata_string tokens[] = { { "a", 1 }, { "b", 1 }, { "ab", 2 } },
                            merges[] = { { "a b", 3 }, { "b a", 3 } };
    in.tokens = tokens;
    in.n_tokens = 3;
    in.merges = merges;
    in.n_merges = 1;
    in.model.text = "gpt2";
    in.model.bytes = 4;
    LB_CHECK(lb_tokdata_from_ggml(&in, NULL, &t, &err) == LBRT_ERR_UNSUPPORTED && !t, "no pre-tokenizer");
    in.pre.text = "chameleon";
    in.pre.bytes = 9;
    LB_CHECK(lb_tokdata_from_ggml(&in, NULL, &t, &err) == LBRT_ERR_UNSUPPORTED &&
                 strstr(err.text, "chameleon"),
             "%s", err.text);
    in.pre.text = "llama-bpe";
    LB_CHECK(lb_tokdata_from_ggml(&in, NULL, &t, &err) == LBRT_OK && t->pretokenizer == LB_PRETOK_LLAMA3,
             "%s", err.text);
    lb_tokdata_free(t);
    in.pre.text = "tekken";
    in.pre.bytes = 6;
    LB_CHECK(lb_tokdata_from_ggml(&in, NULL, &t, &err) == LBRT_OK && t->pretokenizer == LB_PRETOK_TEKKEN &&
                 t->flags == (LB_TOK_IGNORE_MERGES | LB_TOK_ADD_BOS),
             "%s", err.text);
    lb_tokdata_free(t);
    in.pre.text = "smollm";
    LB_CHECK(lb_tokdata_from_ggml(&in, NULL, &t, &err) == LBRT_OK && t->pretokenizer == LB_PRETOK_SMOLLM && t->flags == 0, "%s", err.text);
    lb_tokdata_free(t);
    in.n_merges = 2;
    LB_CHECK(lb_tokdata_from_ggml(&in, NULL, &t, &err) == LBRT_ERR_FORMAT && !t, "a merge without result");
    in.n_merges = 0;
    in.eos = 3;
    LB_CHECK(lb_tokdata_from_ggml(&in, NULL, &t, &err) == LBRT_ERR_FORMAT && !t,
             "eos outside of the vocabulary");
    in.eos = -1;
    in.model.text = "bert";
    LB_CHECK(lb_tokdata_from_ggml(&in, NULL, &t, &err) == LBRT_ERR_UNSUPPORTED && strstr(err.text, "bert"),
             "%s", err.text);
    const float scores[] = { 0, INFINITY, 0 };
    in.model.text = "llama";
    in.model.bytes = 5;
    in.scores = scores;
    if (LB_CHECK(lb_tokdata_from_ggml(&in, NULL, &t, &err) == LBRT_OK, "%s", err.text)) {
        void *section;
        size_t n;
        LB_CHECK(lb_tokdata_write(t, NULL, &section, &n, &err) == LBRT_ERR_FORMAT && !section,
                 "an infinite score");
        lb_tokdata_free(t);
    }
}

void test_tokenizer(void)
{
    test_small_spm();
    test_small_bpe();
    test_other_importers();
    test_hostile();
}
