/*
 * Writes the first corpus of the fuzz targets: small valid inputs, made by the same code that makes the tests' models.
 *     make fuzz-seeds     (fuzz_seeds FOLDER; existing files are replaced)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../../formats/import/lb_hf_config.h"
#include "../../formats/import/lb_tokdata.h"
#include "../fuzz/lb_fuzz.h"
#include "../hand_file.h"
#include "../make_models.h"
#include "fuzz_seeds.h"

static const char *seed_root;

void put(const char *target, const char *name, int first, const void *data, size_t bytes)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", seed_root, target);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", seed_root, target, name);
    mk_blob b = { NULL, 0, 0 };
    if (first >= 0) {
        const unsigned char c = (unsigned char)first;
        mk_put(&b, &c, 1);
    }
    mk_put(&b, data, bytes);
    remove(path);
    mk_write(path, b.data, b.n);
    mk_free(&b);
}

static void seeds_tokenizer(void)
{
    put("tokenizer", "json", 0, mk_tokenizer_json, strlen(mk_tokenizer_json));
    static const char bpe[] =
        "{\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"decoder\":{\"type\":\"ByteLevel\"},"
        "\"added_tokens\":[{\"id\":5,\"content\":\"<|end|>\",\"special\":true,\"lstrip\":false,\"rstrip\":true}],"
        "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"\xc4\xa0\":2,\"ab\":3,\"\xc4\xa0" "ab\":4},\"merges\":[\"a b\",[\"\xc4\xa0\",\"ab\"]]}}";
    put("tokenizer", "byte-level", 0, bpe, sizeof bpe - 1);
    static const char split[] =
        "{\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true},{\"id\":9,\"content\":\"<t>\",\"special\":false,\"lstrip\":true}],"
        "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
        "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},"
        "\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]},"
        "\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},{\"type\":\"TemplateProcessing\",\"single\":["
        "{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}},{\"SpecialToken\":{\"id\":\"<t>\"}}]}]},"
        "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteLevel\"}]},\"model\":{\"type\":\"BPE\",\"ignore_merges\":true,"
        "\"vocab\":{\"<s>\":0,\"a\":1,\"b\":2,\"ab\":3},\"merges\":[\"a b\"]}}";
    put("tokenizer", "split", 0, split, sizeof split - 1);
    static const char metaspace[] =
        "{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\",\"prepend_scheme\":\"first\",\"split\":false},\"decoder\":"
        "{\"type\":\"Metaspace\"},\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"unk_token\":\"<unk>\",\"vocab\":{\"<unk>\":0,\"<0x0A>\":1,"
        "\"\xe2\x96\x81\":2,\"a\":3,\"\xe2\x96\x81" "a\":4},\"merges\":[[\"\xe2\x96\x81\",\"a\"]]}}";
    put("tokenizer", "metaspace", 0, metaspace, sizeof metaspace - 1);
    static const char config[] = "{\"add_bos_token\":true,\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"},\"chat_template\":"
                                 "\"{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}\",\"added_tokens_decoder\":{\"7\":{\"content\":\"<x>\",\"special\":true}}}";
    put("tokenizer", "config", 1, config, sizeof config - 1);
    static const char generation[] = "{\"eos_token_id\":[2,3],\"bos_token_id\":1}";
    put("tokenizer", "generation", 2, generation, sizeof generation - 1);
    mk_blob b = { NULL, 0, 0 };
    static const char *const configs[][3] = {
        { "model-config", "LlamaForCausalLM", "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
          "\"original_max_position_embeddings\":8192}" },
        { "model-unequal", "LlamaForCausalLM", "\"num_key_value_heads_per_layer\":[1],\"num_value_heads\":[1],\"rope_parameters\":{\"rope_theta\":1e4,\"rope_type\":"
          "\"linear\",\"factor\":2.0}" },
        { "model-yarn", "LlamaForCausalLM", "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"attention_factor\":1.1,\"truncate\":true}" },
        { "model-windows", "Qwen2ForCausalLM", "\"sliding_window\":8,\"use_sliding_window\":true,\"max_window_layers\":0,\"layer_types\":[\"sliding_attention\"]" },
        { "model-window", "Qwen2ForCausalLM", "\"sliding_window\":8,\"use_sliding_window\":true,\"max_window_layers\":0" },
        { "model-parts", "LlamaForCausalLM", "\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"int-quantized\",\"sparsity_config\":"
          "{\"format\":\"sparse-24-bitmask\"}}" },
        { "model-spqr", "MistralForCausalLM", "\"quantization_config\":{\"quant_method\":\"spqr\",\"bits\":3,\"beta1\":16,\"beta2\":16}" },
        { "model-bitnet", "BitNetForCausalLM", "\"quantization_config\":{\"quant_method\":\"bitnet\",\"quantization_mode\":\"offline\"},\"hidden_act\":\"relu2\"" },
    };
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        lb_json_doc *doc = NULL;
        lbrt_error err = { LBRT_OK, "" };
        lb_hf_config read;
        mk_config(configs[i][1], configs[i][2], &b);
        lb_fuzz_check(lb_json_parse((const char *)b.data, b.n, NULL, &doc, &err) == LBRT_OK && lb_hf_config_read(lb_json_root(doc), NULL, &read, &err) == LBRT_OK, err.text);
        lb_json_free(doc);
        put("tokenizer", configs[i][0], 6, b.data, b.n);
        mk_free(&b);
    }
    static const char ids[] = "{\"bos_token_id\":1,\"eos_token_id\":[2,0]}";
    put("tokenizer", "model-config-ids", 3, ids, sizeof ids - 1);
    static const char added[] = "{\"legacy\":false,\"add_eos_token\":true,\"pad_token\":\"<p>\",\"added_tokens_decoder\":{\"8\":{\"content\":\"<p>\",\"special\":true,"
                                "\"lstrip\":true},\"3\":{\"content\":\"<q>\",\"special\":false}},\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"\"},"
                                "{\"name\":\"default\",\"template\":\"{{ bos_token }}{% for m in messages %}{{ m.role + m.content }}{% endfor %}\"}]}";
    put("tokenizer", "config-added", 1 | 8, added, sizeof added - 1);
    /* ModelProto: pieces { piece = 1, score = 2, type = 3 }, trainer_spec { model_type = 3 (BPE), unk_id, bos_id, eos_id, pad_id = 40 to 43 }, normalizer_spec */
    static const unsigned char spm[] = { 0x0a, 0x0e, 0x0a, 0x05, '<', 'u', 'n', 'k', '>', 0x15, 0, 0, 0, 0, 0x18, 2,
                                         0x0a, 0x0c, 0x0a, 0x03, '<', 's', '>', 0x15, 0, 0, 0, 0, 0x18, 3,
                                         0x0a, 0x0d, 0x0a, 0x04, '<', '/', 's', '>', 0x15, 0, 0, 0, 0, 0x18, 3,
                                         0x0a, 0x0f, 0x0a, 0x06, '<', '0', 'x', '0', 'A', '>', 0x15, 0, 0, 0, 0, 0x18, 6,
                                         0x0a, 0x0b, 0x0a, 0x04, 0xe2, 0x96, 0x81, 'a', 0x15, 0, 0, 0x80, 0xbf,
                                         0x12, 0x11, 0x18, 0x02, 0xc0, 0x01, 0, 0xc0, 0x02, 0, 0xc8, 0x02, 1, 0xd0, 0x02, 2, 0xd8, 0x02, 0,
                                         0x1a, 0x0e, 0x0a, 0x08, 'i', 'd', 'e', 'n', 't', 'i', 't', 'y', 0x18, 1, 0x20, 0 };
    lb_tokdata *t = NULL;
    lbrt_error read_error = { LBRT_OK, "" };
    lb_fuzz_check(lb_tokdata_from_sentencepiece(spm, sizeof spm, NULL, &t, &read_error) == LBRT_OK && t->n_tokens == 5, read_error.text);
    lb_tokdata_free(t);
    put("tokenizer", "sentencepiece", 4, spm, sizeof spm);
    mk_u32(&b, 3);
    for (unsigned i = 0; i < 8; i++) {
        mk_u32(&b, 0);
        mk_u32(&b, 1 + i % 3);
        mk_put(&b, &"abcdefghij"[i], 1 + i % 3);
    }
    put("tokenizer", "llama2c", 5, b.data, b.n);
    mk_free(&b);
    put("tokenizer", "file-json", 5, mk_tokenizer_json, strlen(mk_tokenizer_json));
    put("tokenizer", "file-sentencepiece", 5, spm, sizeof spm);
    mk_gguf g;
    memset(&g, 0, sizeof g);
    mk_gguf_numbers(&g, "llama");
    mk_gguf_vocabulary(&g);
    mk_gguf_end(&g, &b);
    put("tokenizer", "file-gguf", 5, b.data, b.n);
    mk_free(&b);
    /* Texts; the byte before each chooses the vocabulary. */
    static const char *const texts[] = {
        "\x01" "The 12345 theatre's tall: it'LL  be\n\n\n  caf\xc3\xa9 e\xcc\x81 \xe4\xb8\xad\xe6\x96\x87, \xf0\x9f\x98\x80\xff\xc3 \t\r\n aaaaaaa.\n",
        "\x02" "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab a\xcc\xa3\xcc\x82 \xe2\x84\xab \xd9\xa3\xe0\xa5\xa9 \xef\xac\x81 \xcd\xbe'S'tX\xc2\xa0\xe3\x80\x80 \xd0\x96\xd0\xb8",
        "\x05" "a <tool>  the<t<tool> <to \xe2\x80\x83<|end|> \n<s><b>  x<unk><b>  ",
        "\x0c" " unknown \xef\xbf\xbd \xff the \xe4\xb8\xad <s>",
        "\x0d" "abc \xef\xbf\xbd\xff\xe4 xyz",
        "\x0e" "the \xc3\xa9 \x01\xff",
        "\x08" " the  hello\xe2\x96\x81the\xf0\x9f\x98\x80\xed\xa0\x80 <s>\r the\x0d\x1d",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char name[8] = { 't', 'e', 'x', 't', (char)('0' + i) };
        put("tokenizer", name, i % 3 == 2 ? 7 | 8 : 7, texts[i], strlen(texts[i]));
    }
}

static void seeds_template(void)
{
    static const char *const texts[] = {
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
        "{{ bos_token }}{%- for m in messages %}{%- if loop.first and m.role == 'system' -%}[S]{{ m.content | trim }}[/S]{%- elif m['role'] == \"user\" %}"
        "[I]{{ m.content.strip() }}[/I]{%- else %}{{ m.content ~ eos_token }}{%- endif %}{%- endfor %}",
        "{%- set ns = namespace(found=false) -%}{% if messages[0]['role'] == 'system' %}{% set sys = messages[0]['content'] %}{% set rest = messages[1:] %}"
        "{% else %}{% set sys = '' %}{% set rest = messages %}{% endif %}{% for m in rest %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('order') }}{% endif %}{% set ns.found = true %}{{ m.content | upper }}{% endfor %}",
        "{# a comment #}{% for i in range(3) %}{{ i + 1 }}{% if not loop.last %}, {% endif %}{% endfor %}"
        "{{ 'a,b'.split(',')[-1] if messages is defined and messages | length > 1 else 'x' }}{% macro %}",
        "{% for m in messages %}{% if m.content.startswith('be') or m['content'].endswith('f') %}{{ m.content.replace('be', 'is') | replace('i', 'o') | lower }}"
        "{% else %}{{ loop.revindex ~ loop.revindex0 ~ loop.previtem.role ~ m.get('name', 'no') ~ m.get('content') }}{% endif %}{% endfor %}",
        "{{ (messages | first).role ~ (messages | last).content | string | safe }}{% if m is undefined and 'x' is string and messages[0] is mapping and messages is "
        "sequence and true is boolean and 1 is number and none is none and false is false %}{{ [1, 2] == [1, 2] }}{{ 1 + 2 * 3 - 4 // 2 % 3 }}{% endif %}",
        "{%- set x = messages | list -%}{{ x | length ~ nothing | default('d') ~ (x[:1] | length) ~ ' a '.lstrip() ~ ' b '.rstrip('b ') ~ 'title it' | title }}"
        "{% for i in range(1, 4) %}{% for m in messages %}{{ loop.nextitem.role if not loop.last }}{% if loop.index > 1 %}{% break %}{% endif %}{% endfor %}{% endfor %}",
        "{%- set ns = namespace(last=0) %}{%- for m in messages[::-1] %}{%- if m.role == 'user' and not ns.last %}{%- set ns.last = (messages|length - 1) - loop.index0 %}"
        "{%- endif %}{%- endfor %}{%- for m in messages %}{%- set c = m.content %}{%- if m.role == 'assistant' and '</think>' in c %}{%- set c = "
        "c.split('</think>')[-1].lstrip('\\n') %}{%- endif %}{%- if m.role == 'assistant' and loop.index0 > ns.last and loop.last %}{{- '<think>\\n' }}{%- endif %}"
        "{{- '<' + m.role + '>' + c }}{%- endfor %}{%- if add_generation_prompt %}{{- '<assistant>' }}{%- endif %}",
        "{%- set users = messages | selectattr('role', 'equalto', 'user') | list %}{%- set others = messages | rejectattr('role', 'eq', 'user') | list %}"
        "{%- for i in range(messages|length - 1, -1, -1) %}{{ (users + others)[i].content if messages[i] == users[-1] or messages | selectattr('content') else i }}{% endfor %}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char name[8] = { 't', (char)('0' + i) };
        put("template", name, 8 | 16 | 3, texts[i], strlen(texts[i]));
    }
}

static void seeds_state(void)
{
    static const lbrt_kv_format formats[8][2] = { { LBRT_KV_F16, LBRT_KV_F16 }, { LBRT_KV_F32, LBRT_KV_F32 }, { LBRT_KV_Q8, LBRT_KV_Q8 },
                                                  { LBRT_KV_Q4, LBRT_KV_Q4 },   { LBRT_KV_Q2, LBRT_KV_Q2 } };
    hand_file f;
    hand_make(&f);
    lbrt_model *m = NULL;
    lb_fuzz_check(lbrt_model_open_memory(f.data, f.bytes, NULL, &m, NULL) == LBRT_OK, "the model");
    static lbrt_token ids[1100];
    for (unsigned j = 0; j < 1100; j++) {
        ids[j] = (lbrt_token)(j * 7 % HAND_VOCAB);
    }
    for (unsigned i = 0; i < 8; i++) { /* 5: with faint tokens; 6, 7: with a window */
        lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
        const unsigned format = i < 5 ? i : i == 6 ? 0 : 3;
        o.n_context = i < 6 ? 640 : 1200;
        o.n_batch = i < 6 ? 0 : 8;
        o.window = i < 6 ? 0 : 40;
        o.n_faint = i == 5 ? 512 : 0;
        o.kv_key = formats[format][0];
        o.kv_value = formats[format][1];
        lbrt_session *s = NULL;
        lb_fuzz_check(lbrt_session_create(m, &o, &s, NULL) == LBRT_OK, "a session");
        lb_fuzz_check(lbrt_feed(s, ids, i < 2 ? 5 : i < 5 ? 150 : i == 5 ? 600 : 1100) == LBRT_OK, "feed");
        lb_fuzz_check(i != 5 || (lbrt_compress(s, 256) == LBRT_OK && lbrt_session_held(s) == 512), "compress");
        size_t n = lbrt_state_bytes(s);
        unsigned char *state = malloc(n);
        lb_fuzz_check(state && lbrt_state_save(s, state, n, &n) == LBRT_OK, "save");
        static const char *const names[] = { "s0", "s1", "s2", "s3", "s4", "faint", "window", "window-codes" };
        put("state", names[i], (int)(1 | format << 1 | 16 | (i < 6 ? 0u : 32u)), state, n);
        free(state);
        lbrt_session_free(s);
    }
    lbrt_model_close(m);
    hand_free(&f);
}

/* Programs of calls, see tests/fuzz/fuzz_api.c: op + 32 * session, then the bytes that the call takes. */
enum {
    CREATE = 0, TEXT, MODEL, ADAPTER, REWIND, FORK, SAVE, RESTORE, SAMPLE, GENERATE, EMBED = 11, CANCELLED = 13, STOPPED, CANCEL, COMPRESS,
    ATTACH = 18, VERIFY = 20, PENDING = 22, FREE, FEED,
    S1 = 32, S2 = 64, S3 = 96,                              /* sessions */
    SHORT = 2, LONG = 3, BATCH33 = 8, BATCH64 = 12, HOST = 16, ROWS = 32, HIDDEN = 64, LOGITS = 128, /* to create */
    Q8 = 12, Q4 = 18, Q2_F16 = 4, OTHER = 225,              /* formats, another model */
    F64 = 128, F320 = 255, KEEP128 = 128, ALL = 255, DETACH = 16
};
#define PROGRAM(name, ...)                                    \
    do {                                                      \
        static const unsigned char bytes[] = { __VA_ARGS__ }; \
        put("api", name, -1, bytes, sizeof bytes);            \
    } while (0)

static void seeds_api(void)
{
    PROGRAM("life", CREATE, LONG | HIDDEN, Q4, 0, FEED, F64, 9, EMBED, 1, 2, VERIFY, REWIND, 100, 0, FEED, 3, 7, VERIFY, SAVE, 0, CREATE | S1, LONG | HIDDEN, Q4, 0,
            RESTORE | S1, 0, 99, VERIFY | S1, REWIND | S1, 40, 0, SAMPLE | S1, 3, FEED | S1, 200, 5, VERIFY | S1, FORK | S1, 0, ALL, GENERATE | S1, 1, 6,
            VERIFY | S1, FREE, GENERATE | S1, 3, 32 + 7, VERIFY | S1);
    PROGRAM("embeddings", CREATE, LONG | ROWS | LOGITS | HIDDEN, Q2_F16, 0, EMBED, 1, 2, FEED, F64, 1, EMBED, 4, 1, VERIFY, EMBED, 3, 251, SAVE, 1, CREATE | S1,
            LONG | ROWS | HOST, Q2_F16, 0, RESTORE | S1, 1, 201, REWIND | S1, 2, 0, VERIFY | S1, FORK | S1, 0, ALL, FEED | S1, 5, 5, VERIFY | S1, EMBED | S1, 0, 2);
    PROGRAM("compress", CREATE, LONG | BATCH64, 0, 0, FEED, F320, 5, VERIFY, COMPRESS, KEEP128, VERIFY, FEED, F64 + 9, 8, COMPRESS, KEEP128 + 4, VERIFY, REWIND, 20, 8,
            VERIFY, FEED, 4, 4, VERIFY, SAVE, 0, CREATE | S1, SHORT, 0, 0, RESTORE | S1, 0, 80, VERIFY | S1, FEED | S1, F64, 77, VERIFY | S1, FORK, 1, ALL, GENERATE, 40, 5,
            VERIFY, REWIND, 0, 0, FEED, 3, 3, VERIFY);
    PROGRAM("compress-codes", CREATE, LONG | BATCH33, Q8, 0, FEED, F320, 5, COMPRESS, KEEP128, VERIFY, FEED, 10, 3, COMPRESS, KEEP128, VERIFY, FEED, F64, 9, COMPRESS,
            KEEP128 + 4, FEED, 5, 5, VERIFY, SAVE, 0, CREATE | S1, LONG | HOST, Q8, 0, RESTORE | S1, 0, 80, FEED | S1, 9, 9, VERIFY | S1, COMPRESS | S1, KEEP128 + 32 + 3,
            COMPRESS | S1, KEEP128 + 64, COMPRESS | S1, 100, VERIFY | S1);
    PROGRAM("faint", CREATE, LONG | BATCH64, Q4, 4, FEED, F320, 5, FEED, F320, 6, COMPRESS, KEEP128 + 8, VERIFY, FEED, F64, 9, VERIFY, FEED, F320, 8, COMPRESS, KEEP128 + 9,
            VERIFY, SAVE, 0, CREATE | S1, SHORT, Q4, 5, RESTORE | S1, 0, 80, VERIFY | S1, FEED | S1, 9, 9, REWIND | S1, 3, 8, FEED | S1, 5, 5, VERIFY | S1, CREATE | S2, LONG, Q4, 0,
            RESTORE | S2, 0, 80, FORK | S2, 0, ALL, FORK, 1, ALL, GENERATE, 1, 7, VERIFY, REWIND | S1, 0, 0, FEED | S1, F64, 3, VERIFY | S1, COMPRESS | S1, KEEP128);
    PROGRAM("window", CREATE, LONG | BATCH64, 0, 1, FEED, F320, 5, FEED, F320, 6, FEED, F320, 7, VERIFY, REWIND, 60, 8, FEED, 5, 5, VERIFY, SAVE, 0, CREATE | S1,
            LONG | BATCH64, 0, 1, RESTORE | S1, 0, 90, VERIFY | S1, FEED | S1, F64, 1, STOPPED | S1, F320, 2, 3, VERIFY | S1, FORK | S1, 0, ALL, VERIFY | S1, COMPRESS, KEEP128,
            REWIND, 9, 0, FEED, 2, 2, VERIFY, CREATE | S2, LONG | BATCH33, Q4, 2, FEED | S2, F320, 4, FEED | S2, F320, 4, VERIFY | S2, REWIND | S2, 3, 8, GENERATE | S2, 1, 7,
            VERIFY | S2);
    PROGRAM("adapters", CREATE, LONG | HOST, 0, 0, ATTACH, 0, FEED, 7, 7, VERIFY, ATTACH, 1 + 2, FEED, F64, 8, VERIFY, ATTACH, DETACH, FEED, 3, 2, VERIFY, SAVE, 0, FORK, 0, 2,
            FEED, 2, 2, VERIFY, CREATE | S1, LONG, OTHER, 0, ATTACH | S1, 8, ATTACH | S1, 1 + 32, ATTACH | S1, 64, FEED | S1, 5, 5, VERIFY | S1, RESTORE | S1, 0, 70,
            ATTACH | S1, DETACH | 1, ATTACH | S1, DETACH | 1, FEED | S1, 4, 4, VERIFY | S1);
    PROGRAM("cancel", CREATE, LONG | BATCH33 | HOST, Q8, 0, CANCELLED, 5, 5, FEED, F64, 1, STOPPED, F320, 2, 2 + 8, VERIFY, CANCEL, F64, 3, 60, FEED, 1, 1, VERIFY, PENDING,
            GENERATE, 0, 7, GENERATE, 32, 64 + 5, FEED, 2, 2, GENERATE, 33, 128 + 3, VERIFY, PENDING, COMPRESS, KEEP128, FEED, 2, 9, COMPRESS, KEEP128 + 32 + 9, VERIFY);
    PROGRAM("models", MODEL, 0, 0, 0, MODEL, 2 + 16, 0, 5, MODEL, 4 + 32, 0, 64, MODEL, 1 + 48, 0, 3, MODEL, 49, 3, 1, MODEL, 48, 128 + 2, 2, MODEL, 50, 192 + 2, 2, MODEL, 8, 0,
            192, ADAPTER, 0, 0, ADAPTER, 9, 0, ADAPTER, 2 + 4, 33, ADAPTER, 4 + 128, 200);
    PROGRAM("text", TEXT, 1, 30, 't', 'h', 'e', ' ', 0xc3, 0xa9, 0xf0, 0x9f, 0x98, 0x80, 0xff, '<', 's', '>', '<', '|', 'i', 'm', '_', 's', 't', 'a', 'r', 't', '|', '>', 0,
            '\n', ' ', 'x', 0, 0, CREATE, 0, 0, 251, CREATE, 1, 0, 0, FEED, 77, 3, RESTORE, 0, 99, TEXT, 2, 9, 'a', 'n', 'd');
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: fuzz_seeds FOLDER\n");
        return 2;
    }
    seed_root = argv[1];
    mkdir(seed_root, 0777);
    seeds_container();
    seeds_gguf();
    seeds_safetensors();
    seeds_tokenizer();
    seeds_template();
    seeds_state();
    seeds_api();
    return 0;
}
