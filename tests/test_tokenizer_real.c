/* Tokenizers of real vocabularies in the shared folder: reference cases, round trips, texts with their ids. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/import/lb_json.h"
#include "../formats/import/lb_source.h"
#include "lb_test.h"
#include "open_tokens.h"

void test_tokenizer_real(void);

static opened open_shared(const char *file)
{
    opened o = { NULL, NULL, 0 };
    const char *path = lb_test_shared(file);
    if (!path) {
        lb_test_skip("no %s", file);
        return o;
    }
    lbrt_error err = { 0 };
    lb_tokdata *data = NULL;
    lbrt_status status;
    if (strstr(file, ".gguf")) {
        lb_source *source = NULL;
        status = lb_source_open_gguf(path, NULL, NULL, &source, &err);
        if (LB_CHECK(status == LBRT_OK && source->tokens, "%s: %s", file, err.text)) {
            data = source->tokens;
            source->tokens = NULL; // taken over
        }
        if (source) {
            source->close(source);
        }
    } else {
        size_t n;
        char *bytes = lb_test_read(path, &n);
        status = strstr(file, ".json")    ? lb_tokdata_from_hf_json(bytes, n, NULL, &data, &err)
                 : strstr(file, ".model") ? lb_tokdata_from_sentencepiece(bytes, n, NULL, &data, &err)
                                          : lb_tokdata_from_llama2c(bytes, n, 512, NULL, &data, &err);
        LB_CHECK(status == LBRT_OK, "%s: %s", file, err.text);
        free(bytes);
    }
    return data ? open_data(data, status, file) : o;
}

static void check_reference(const opened *o, const char *folder)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    char name[256];
    snprintf(name, sizeof name, "tokenizers/%s/cases.inp", folder);
    char *in = lb_test_read(lb_test_shared(name), NULL);
    snprintf(name, sizeof name, "tokenizers/%s/cases.out", folder);
    char *out = lb_test_read(lb_test_shared(name), NULL);
    size_t count = 0;
    const char *line = out;
    for (const char *p = in; p && line && *line;) {
        const char *end = strstr(p, separator);
        const size_t bytes = end ? (size_t)(end - p) : strlen(p);
        lbrt_token ids[4096];
        size_t n = 0, i = 0;
        lbrt_error err = { 0 };
        bool same = lb_tokenizer_encode(o->t, p, bytes, 0, ids, 4096, &n, &err) == LBRT_OK;
        for (; *line && *line != '\n'; i++) {
            char *after;
            const long want = strtol(line, &after, 10);
            if (after == line) {
                break;
            }
            same = same && i < n && ids[i] == want;
            line = after;
        }
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
        LB_CHECK(same && i == n, "case %zu: [%.*s]", count, (int)bytes, p);
        char text[16384];
        size_t back;
        LB_CHECK(lb_tokenizer_decode(o->t, ids, n, text, sizeof text, &back, &err) == LBRT_OK &&
                     back == bytes && memcmp(text, p, bytes) == 0,
                 "case %zu: decoding gives another text", count);
        count++;
        p = end ? end + sizeof separator - 1 : NULL;
    }
    LB_CHECK(count >= 46, "only %zu cases", count);
    free(in);
    free(out);
}

/* Random text that the tokenizer must give back. */
static void check_round_trip(const opened *o, int rounds, bool bytes_too)
{
    static const char *const words[] = {
        " ",     "  ",       "a",   "the",  " the",     "\n",           "\t",
        "1",     "42",       "!",   "'s",   "\xc3\xa9", "\xe4\xb8\xad", "\xf0\x9f\x98\x80",
        "Hello", "\xd0\xb6", "...", "\r\n", "_",        "\xe0\xa4\xb5"
    };
    for (int round = 0; round < rounds; round++) {
        char text[512], back[2048];
        size_t n = 0, n_back, n_ids;
        while (n < 200 && lb_test_random() % 16) {
            if (bytes_too && lb_test_random() % 4 == 0) {
                text[n++] = (char)lb_test_random();
            } else {
                const char *word = words[lb_test_random() % (sizeof words / sizeof *words)];
                memcpy(text + n, word, strlen(word));
                n += strlen(word);
            }
        }
        lbrt_token ids[1024];
        lbrt_error err = { 0 };
        if (!LB_CHECK(lb_tokenizer_encode(o->t, text, n, 0, ids, 1024, &n_ids, &err) == LBRT_OK &&
                          lb_tokenizer_decode(o->t, ids, n_ids, back, sizeof back, &n_back, &err) ==
                              LBRT_OK &&
                          n_back == n && memcmp(back, text, n) == 0,
                      "[%.*s] is not given back", (int)n, text)) {
            break;
        }
    }
}

static void test_reference_cases(void)
{
    static const char *const files[][2] = { { "gpt-2", "vocab.gguf" },
                                            { "llama-bpe", "tokenizer.json" },
                                            { "qwen2", "tokenizer.json" },
                                            { "deepseek-llm", "vocab.gguf" },
                                            { "llama-spm", "vocab.gguf" } };
    for (size_t i = 0; i < 5; i++) {
        char name[128];
        lb_test_case("tokenizer: reference cases of %s", files[i][0]);
        snprintf(name, sizeof name, "tokenizers/%s/%s", files[i][0], files[i][1]);
        opened o = open_shared(name);
        if (o.t) {
            check_reference(&o, files[i][0]);
            // Not random bytes where NFC changes some or (DeepSeek) the vocabulary has not all.
            check_round_trip(&o, 1000,
                             strcmp(files[i][0], "qwen2") != 0 && strcmp(files[i][0], "deepseek-llm") != 0);
            if (strcmp(files[i][0], "deepseek-llm") == 0) {
                lbrt_token ids[8];
                size_t n, bytes;
                char text[16];
                LB_CHECK(lb_tokenizer_encode(o.t, "a\xff", 2, 0, ids, 8, &n, NULL) == LBRT_OK &&
                             lb_tokenizer_decode(o.t, ids, n, text, sizeof text, &bytes, NULL) == LBRT_OK &&
                             bytes == 4 && memcmp(text, "a\xef\xbf\xbd", 4) == 0,
                         "a byte that the vocabulary lacks");
            }
            lb_test_case("tokenizer: a long text without spaces, %s", files[i][0]);
            const size_t n = 300000;
            char *text = malloc(n);
            lbrt_token *ids = malloc(n * sizeof *ids);
            for (size_t k = 0; k < n; k++) {
                text[k] = (char)('a' + lb_test_random() % 26);
            }
            size_t n_ids, n_back;
            char *back = malloc(n);
            lbrt_error err = { 0 };
            LB_CHECK(lb_tokenizer_encode(o.t, text, n, 0, ids, n, &n_ids, &err) == LBRT_OK &&
                         lb_tokenizer_decode(o.t, ids, n_ids, back, n, &n_back, &err) == LBRT_OK &&
                         n_back == n && memcmp(text, back, n) == 0,
                     "%s", err.text);
            free(text);
            free(ids);
            free(back);
        }
        close_opened(&o);
    }
}

/* Arrays of ids beside texts in the models' reference.json files. */
static void check_ids(const opened *o, const char *text, size_t bytes, const lb_json *want, bool prefix)
{
    lbrt_token *ids = malloc((bytes + 8) * sizeof *ids);
    size_t n = 0, i = 0;
    lbrt_error err = { 0 };
    bool same = want && lb_tokenizer_encode(o->t, text, bytes, LBRT_TOKENIZE_BOS, ids, bytes + 8, &n, &err) ==
                            LBRT_OK;
    for (const lb_json *w = want ? want->child : NULL; w; w = w->next, i++) {
        same = same && i < n && ids[i] == (lbrt_token)lb_json_number(w, -1);
    }
    LB_CHECK(same && (prefix ? i <= n : i == n) && i > 0, "ids of [%.*s]", (int)lb_min(bytes, 60), text);
    free(ids);
}

static void test_models(void)
{
    static const char *const models[][3] = {
        { "stories260K", "tok512.model", "reference.json" },
        { "stories260K", "tok512.bin", "reference.json" },
        { "stories260K", "stories260Ktok512.gguf", "reference.json" },
        { "TinyStories-656K", "tokenizer.json", "reference.json" },
        { "bitstories-3M", "tokenizer.model", "reference.json" },
        { "lab", "tokenizer.model", "reference_prompts.json" },
        { "lab", "model-f16.gguf", "reference_prompts.json" },
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char name[256];
        lb_test_case("tokenizer: ids of %s with %s", models[i][0], models[i][1]);
        snprintf(name, sizeof name, "models/%s/%s", models[i][0], models[i][1]);
        opened o = open_shared(name);
        snprintf(name, sizeof name, "models/%s/%s", models[i][0], models[i][2]);
        size_t bytes;
        char *json = lb_test_read(lb_test_shared(name), &bytes);
        lb_json_doc *doc = NULL;
        if (o.t && LB_CHECK(json && lb_json_parse(json, bytes, NULL, &doc, NULL) == LBRT_OK, "%s", name)) {
            const lb_json *prompts = lb_json_get(lb_json_root(doc), "prompts");
            LB_CHECK(prompts && prompts->n_children == 3, "prompts");
            for (const lb_json *p = prompts ? prompts->child : NULL; p; p = p->next) {
                const lb_json *text = lb_json_get(p, "prompt"), *ids = lb_json_get(p, "ids");
                check_ids(&o, text->text, text->bytes, ids ? ids : lb_json_get(p, "prompt_tokens"), false);
            }
            const lb_json *first = lb_json_get(lb_json_root(doc), "first_ids_of_text");
            char *stories = first ? lb_test_read(lb_test_shared("eval/stories.txt"), &bytes) : NULL;
            if (stories) {
                check_ids(&o, stories, bytes, first, true);
            }
            free(stories);
        }
        lb_json_free(doc);
        free(json);
        close_opened(&o);
    }
}

void test_tokenizer_real(void)
{
    test_reference_cases();
    test_models();
}
