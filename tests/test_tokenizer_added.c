/* Tokens beside a vocabulary, and the space before a text: as llama.cpp and transformers have them, in small vocabularies. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb_test.h"
#include "open_tokens.h"

void test_tokenizer_added(void);

#define SPACE "\xe2\x96\x81"

static void added_ids(const opened *o, const char *text, unsigned flags, const char *want)
{
    lbrt_token ids[64];
    size_t n = 0, at = 0;
    char got[512] = "";
    lbrt_error err = { LBRT_OK, "" };
    const lbrt_status status = lb_tokenizer_encode(o->t, text, strlen(text), flags, ids, 64, &n, &err);
    for (size_t i = 0; i < n && status == LBRT_OK; i++) {
        at += (size_t)snprintf(got + at, sizeof got - at, i ? " %d" : "%d", ids[i]);
    }
    LB_CHECK(status == LBRT_OK && strcmp(got, want) == 0, "[%s]: %s instead of %s %s", text, got, want, err.text);
}

/* A SentencePiece vocabulary of a GGUF file: 0 <unk>, 1 <s>, 2 </s>, 3 <|im_start|>, 4 <|im_end|>, 5.. bytes, 261 a space, 262 a, 263 " a" */
static lbrt_status added_ggml(lb_tokdata **out, lbrt_error *err)
{
    enum { N = 264 };
    static char names[256][8];
    static lb_tokdata_string tokens[N];
    static float scores[N];
    static int32_t types[N];
    static const struct {
        const char *text;
        int32_t type;
    } first[] = { { "<unk>", 2 }, { "<s>", 3 }, { "</s>", 3 }, { "<|im_start|>", 4 }, { "<|im_end|>", 4 } }, last[] = { { SPACE, 1 }, { "a", 1 }, { SPACE "a", 1 } };
    for (int i = 0; i < N; i++) {
        const char *text = i < 5 ? first[i].text : i < 261 ? names[i - 5] : last[i - 261].text;
        if (i >= 5 && i < 261) {
            snprintf(names[i - 5], sizeof names[0], "<0x%02X>", (unsigned)(i - 5));
        }
        tokens[i] = (lb_tokdata_string){ text, strlen(text) };
        types[i] = i < 5 ? first[i].type : i < 261 ? 6 : last[i - 261].type;
        scores[i] = -(float)i;
    }
    lb_tokdata_ggml in = LB_TOKDATA_GGML_INIT;
    in.model = (lb_tokdata_string){ "llama", 5 };
    in.tokens = tokens;
    in.n_tokens = N;
    in.scores = scores;
    in.types = types;
    return lb_tokdata_from_ggml(&in, NULL, out, err);
}

static void added_to_sentencepiece(void)
{
    lb_tokdata *data = NULL;
    lbrt_error err = { LBRT_OK, "" };
    lb_test_case("GGUF, SentencePiece: a text begins anew behind user-defined tokens, which may end answers; ids that the file does not have");
    lbrt_status status = added_ggml(&data, &err);
    opened o = open_data(data, status, "ggml");
    if (o.t) {
        added_ids(&o, "a", LBRT_TOKENIZE_BOS, "1 263");
        added_ids(&o, "<|im_start|>a<|im_end|>", 0, "3 263 4");
        added_ids(&o, "a<unk>a", LBRT_TOKENIZE_SPECIAL, "263 0 263");
        LB_CHECK(lb_tokenizer_ends(o.t, 2) && lb_tokenizer_ends(o.t, 4) && !lb_tokenizer_ends(o.t, 3), "ends");
    }
    close_opened(&o);
    lb_test_case("added_tokens.json");
    data = NULL;
    status = added_ggml(&data, &err);
    static const char list[] = "{\"<|end|>\":264,\"<|user|>\":266,\"a\":262}";
    status = status == LBRT_OK ? lb_tokdata_apply_hf_added(data, list, sizeof list - 1, &err) : status;
    static const char config[] = "{\"eos_token\":\"<|end|>\",\"add_prefix_space\":false}";
    status = status == LBRT_OK ? lb_tokdata_apply_hf_config(data, config, sizeof config - 1, NULL, 0, NULL, 0, &err) : status;
    LB_CHECK(status == LBRT_OK, "%s", err.text);
    o = open_data(data, status, "added");
    if (o.t) {
        added_ids(&o, "<|user|>a<|end|>", 0, "266 262 264");
        LB_CHECK(lb_tokenizer_ends(o.t, 264), "the end of answers");
    }
    close_opened(&o);
    static const char *const wrong[] = { "[]", "{\"x\":-1}", "{\"x\":99999999}", "{\"\":264}", "{\"x\":\"y\"}", "{" };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        data = NULL;
        LB_CHECK(added_ggml(&data, &err) == LBRT_OK && lb_tokdata_apply_hf_added(data, wrong[i], strlen(wrong[i]), &err) == LBRT_ERR_FORMAT, "%s: %s", wrong[i], err.text);
        lb_tokdata_free(data);
    }
}

static opened added_json(const char *scheme, const char *config)
{
    char json[1200];
    snprintf(json, sizeof json,
             "{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" SPACE "\",\"prepend_scheme\":\"%s\",\"split\":false},\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\","
             "\"special\":true},{\"id\":1,\"content\":\"<s>\",\"special\":true}],\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"unk_token\":\"<unk>\",\"vocab\":{\"<unk>\":0,"
             "\"<s>\":1,\"</s>\":2,\"" SPACE "\":3,\"a\":4,\"" SPACE "a\":5,\"<\":6,\"/\":7,\"s\":8,\">\":9},\"merges\":[\"" SPACE " a\"]}}",
             scheme);
    lb_tokdata *data = NULL;
    lbrt_error err = { LBRT_OK, "" };
    lbrt_status status = lb_tokdata_from_hf_json(json, strlen(json), NULL, &data, &err);
    status = status == LBRT_OK && config ? lb_tokdata_apply_hf_config(data, config, strlen(config), NULL, 0, NULL, 0, &err) : status;
    LB_CHECK(status == LBRT_OK, "%s", err.text);
    return open_data(data, status, scheme);
}

static void added_to_json(void)
{
    lb_test_case("tokenizer.json: Metaspace puts no space before one");
    opened o = added_json("first", NULL);
    if (o.t) {
        added_ids(&o, "a", 0, "5");
        added_ids(&o, " a", 0, "5");
        added_ids(&o, SPACE "a", 0, "5");
        added_ids(&o, "  a", 0, "3 5");
        added_ids(&o, "a<s>a<s> a", LBRT_TOKENIZE_SPECIAL, "5 1 4 1 5");
        added_ids(&o, "a<unk>", LBRT_TOKENIZE_SPECIAL, "5 0");
        added_ids(&o, "</s>", LBRT_TOKENIZE_SPECIAL, "3 6 7 8 9");
    }
    close_opened(&o);
    o = added_json("always", NULL);
    if (o.t) {
        added_ids(&o, "<s>a<s> a", LBRT_TOKENIZE_SPECIAL, "1 5 1 5");
    }
    close_opened(&o);
    lb_test_case("tokenizer_config.json beside it: tokens that only that has, or calls special");
    o = added_json("first", "{\"eos_token\":\"</s>\",\"added_tokens_decoder\":{\"10\":{\"content\":\"<tool>\",\"special\":true,\"rstrip\":true},"
                            "\"4\":{\"content\":\"<other>\",\"special\":true},\"12\":{\"content\":\"a\",\"special\":true}}}");
    if (o.t) {
        added_ids(&o, "<tool>  a</s>", LBRT_TOKENIZE_SPECIAL, "10 4 2"); /* 4 stays a, and a stays 4 */
        LB_CHECK(lb_tokenizer_ends(o.t, 2), "the end of answers");
    }
    close_opened(&o);
    lb_test_case("tokenizer.json: a pattern behind ByteLevel is refused");
    static const char behind[] = "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false},{\"type\":\"Split\","
                                 "\"pattern\":{\"Regex\":\"x\"}}]},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}";
    lb_tokdata *data = NULL;
    lbrt_error err = { LBRT_OK, "" };
    LB_CHECK(lb_tokdata_from_hf_json(behind, sizeof behind - 1, NULL, &data, &err) == LBRT_ERR_UNSUPPORTED && strstr(err.text, "behind ByteLevel"), "%s", err.text);
    lb_tokdata_free(data);
}

void test_tokenizer_added(void)
{
    added_to_sentencepiece();
    added_to_json();
}
