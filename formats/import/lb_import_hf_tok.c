/*
 * Tokenizers of Hugging Face folders: tokenizer.json (model BPE, byte-level or with byte fallback), and what
 * tokenizer_config.json, generation_config.json and config.json say about special tokens.
 */
#include "lb_json.h"
#include "lb_tokdata.h"

static const char *hf_tok_type(const lb_json *node)
{
    const lb_json *type = lb_json_get(node, "type");
    return type && type->type == LB_JSON_STRING ? type->text : "?";
}

static bool hf_tok_absent(const lb_json *node)
{
    return !node || node->type == LB_JSON_NULL;
}

/* An id that a JSON number can be; -1 if it is none. */
static int64_t hf_tok_id(const lb_json *node)
{
    const double v = lb_json_number(node, -1);
    return v >= 0 && v < (double)(1 << 24) && v == (double)(int64_t)v ? (int64_t)v : -1;
}

/*
 * ---------------------------------------------------------------- tokenizer.json: how the text is prepared
 */

static lbrt_status hf_tok_normalizer(lb_tokdata *t, const lb_json *node, bool *replaces, lbrt_error *err)
{
    if (hf_tok_absent(node)) {
        return LBRT_OK;
    }
    const lb_json *type = lb_json_get(node, "type");
    if (lb_json_is(type, "Sequence")) {
        const lb_json *list = lb_json_get(node, "normalizers");
        for (const lb_json *n = list ? list->child : NULL; n; n = n->next) {
            LB_FAIL_IF(lb_json_is(lb_json_get(n, "type"), "Sequence"), err, LBRT_ERR_UNSUPPORTED,
                       "tokenizer.json: nested normalizers");
            LB_TRY(hf_tok_normalizer(t, n, replaces, err));
        }
        return LBRT_OK;
    }
    if (lb_json_is(type, "NFC")) {
        t->flags |= LB_TOK_NFC;
        return LBRT_OK;
    }
    if (lb_json_is(type, "Prepend") && lb_json_is(lb_json_get(node, "prepend"), "\xe2\x96\x81")) {
        t->flags |= LB_TOK_SPACE_PREFIX;
        return LBRT_OK;
    }
    if (lb_json_is(type, "Replace") && lb_json_is(lb_json_get(lb_json_get(node, "pattern"), "String"), " ") &&
        lb_json_is(lb_json_get(node, "content"), "\xe2\x96\x81")) {
        *replaces = true;
        return LBRT_OK;
    }
    return lb_fail(err, LBRT_ERR_UNSUPPORTED, "tokenizer.json: normalizer '%s' is not supported",
                   hf_tok_type(node));
}

/* The published patterns, as they stand in tokenizer.json files. */
static const struct {
    const char *pattern;
    lb_pretokenizer kind;
} hf_tok_patterns[] = {
    { "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", LB_PRETOK_GPT2 },
    { "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", LB_PRETOK_GPT2 },
    { "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
      "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
      LB_PRETOK_LLAMA3 },
    { "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
      "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
      LB_PRETOK_QWEN2 },
    { "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|"
      "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|"
      "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
      LB_PRETOK_TEKKEN },
};

static lbrt_status hf_tok_split(lb_tokdata *t, const lb_json *node, lbrt_error *err)
{
    const lb_json *pattern = lb_json_get(lb_json_get(node, "pattern"), "Regex");
    const bool whole = lb_json_is(lb_json_get(node, "behavior"), "Isolated") &&
                       !lb_json_bool(lb_json_get(node, "invert"), false);
    for (size_t i = 0; whole && i < sizeof hf_tok_patterns / sizeof *hf_tok_patterns; i++) {
        if (lb_json_is(pattern, hf_tok_patterns[i].pattern) && t->pretokenizer == LB_PRETOK_NONE) {
            t->pretokenizer = hf_tok_patterns[i].kind;
            return LBRT_OK;
        }
    }
    return lb_fail(err, LBRT_ERR_UNSUPPORTED,
                   "tokenizer.json: the pre-tokenizer's pattern is not known: %.*s", 120,
                   pattern && pattern->type == LB_JSON_STRING ? pattern->text : "(none)");
}

/* What the pre-tokenizers do: bytes as characters, spaces as U+2581, digits cut out before anything else */
typedef struct hf_tok_pre {
    bool byte_level, replaces, digits;
} hf_tok_pre;

static lbrt_status hf_tok_pretokenizer(lb_tokdata *t, const lb_json *node, hf_tok_pre *pre, lbrt_error *err)
{
    if (hf_tok_absent(node)) {
        return LBRT_OK;
    }
    const lb_json *type = lb_json_get(node, "type");
    if (lb_json_is(type, "Sequence")) {
        const lb_json *list = lb_json_get(node, "pretokenizers");
        for (const lb_json *n = list ? list->child : NULL; n; n = n->next) {
            LB_FAIL_IF(lb_json_is(lb_json_get(n, "type"), "Sequence"), err, LBRT_ERR_UNSUPPORTED,
                       "tokenizer.json: nested pre-tokenizers");
            LB_TRY(hf_tok_pretokenizer(t, n, pre, err));
        }
        return LBRT_OK;
    }
    if (lb_json_is(type, "ByteLevel")) {
        LB_FAIL_IF(lb_json_bool(lb_json_get(node, "add_prefix_space"), true), err, LBRT_ERR_UNSUPPORTED,
                   "tokenizer.json: ByteLevel with add_prefix_space is not supported");
        if (lb_json_bool(lb_json_get(node, "use_regex"), true)) {
            LB_FAIL_IF(t->pretokenizer != LB_PRETOK_NONE, err, LBRT_ERR_UNSUPPORTED,
                       "tokenizer.json: ByteLevel with a pattern of its own behind another is not supported");
            t->pretokenizer = pre->digits ? LB_PRETOK_SMOLLM : LB_PRETOK_GPT2;
        }
        pre->byte_level = true;
        return LBRT_OK;
    }
    if (lb_json_is(type, "Digits")) {
        LB_FAIL_IF(!lb_json_bool(lb_json_get(node, "individual_digits"), false) || pre->byte_level || t->pretokenizer != LB_PRETOK_NONE, err,
                   LBRT_ERR_UNSUPPORTED, "tokenizer.json: Digits together, or behind a pattern, is not supported");
        pre->digits = true;
        return LBRT_OK;
    }
    if (lb_json_is(type, "Split")) {
        LB_FAIL_IF(pre->byte_level, err, LBRT_ERR_UNSUPPORTED, "tokenizer.json: Split behind ByteLevel is not supported");
        return hf_tok_split(t, node, err);
    }
    if (lb_json_is(type, "Metaspace") && lb_json_is(lb_json_get(node, "replacement"), "\xe2\x96\x81")) {
        LB_FAIL_IF(lb_json_bool(lb_json_get(node, "split"), true), err, LBRT_ERR_UNSUPPORTED,
                   "tokenizer.json: Metaspace that splits is not supported");
        const lb_json *scheme = lb_json_get(node, "prepend_scheme");
        const bool first = lb_json_is(scheme, "first"), never = lb_json_is(scheme, "never");
        t->flags |= never ? 0u : LB_TOK_SPACE_PREFIX | LB_TOK_PREFIX_UNLESS_SPACE | (first ? LB_TOK_PREFIX_FIRST : 0u);
        pre->replaces = true;
        return LBRT_OK;
    }
    return lb_fail(err, LBRT_ERR_UNSUPPORTED, "tokenizer.json: pre-tokenizer '%s' is not supported",
                   hf_tok_type(node));
}

static lbrt_status hf_tok_decoder(const lb_json *node, lbrt_error *err)
{
    static const char *const known[] = {
        "ByteLevel", "Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"
    };
    if (hf_tok_absent(node)) {
        return LBRT_OK;
    }
    const lb_json *type = lb_json_get(node, "type"), *list = lb_json_get(node, "decoders");
    if (lb_json_is(type, "Sequence")) {
        for (const lb_json *n = list ? list->child : NULL; n; n = n->next) {
            LB_FAIL_IF(lb_json_is(lb_json_get(n, "type"), "Sequence"), err, LBRT_ERR_UNSUPPORTED,
                       "tokenizer.json: nested decoders");
            LB_TRY(hf_tok_decoder(n, err));
        }
        return LBRT_OK;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (lb_json_is(type, known[i])) {
            return LBRT_OK;
        }
    }
    return lb_fail(err, LBRT_ERR_UNSUPPORTED, "tokenizer.json: decoder '%s' is not supported",
                   hf_tok_type(node));
}

/* The post-processor says which special token is put before (and behind) a text. */
static lbrt_status hf_tok_post_processor(lb_tokdata *t, const lb_json *node, lbrt_error *err)
{
    if (hf_tok_absent(node)) {
        return LBRT_OK;
    }
    const lb_json *type = lb_json_get(node, "type");
    if (lb_json_is(type, "Sequence")) {
        const lb_json *list = lb_json_get(node, "processors");
        for (const lb_json *n = list ? list->child : NULL; n; n = n->next) {
            LB_FAIL_IF(lb_json_is(lb_json_get(n, "type"), "Sequence"), err, LBRT_ERR_UNSUPPORTED,
                       "tokenizer.json: nested post-processors");
            LB_TRY(hf_tok_post_processor(t, n, err));
        }
        return LBRT_OK;
    }
    if (lb_json_is(type, "ByteLevel")) {
        return LBRT_OK;
    }
    LB_FAIL_IF(!lb_json_is(type, "TemplateProcessing"), err, LBRT_ERR_UNSUPPORTED,
               "tokenizer.json: post-processor '%s' is not supported", hf_tok_type(node));
    bool behind = false;
    const lb_json *single = lb_json_get(node, "single");
    for (const lb_json *n = single ? single->child : NULL; n; n = n->next) {
        const lb_json *special = lb_json_get(n, "SpecialToken");
        if (!special) {
            behind = true;
            continue;
        }
        const lb_json *name = lb_json_get(special, "id");
        const int32_t id =
            name && name->type == LB_JSON_STRING ? lb_tokdata_find(t, name->text, name->bytes) : -1;
        LB_FAIL_IF(id < 0, err, LBRT_ERR_FORMAT,
                   "tokenizer.json: the post-processor adds a token that is not there");
        if (behind) {
            t->eos = id;
            t->flags |= LB_TOK_ADD_EOS;
        } else {
            LB_FAIL_IF(t->flags & LB_TOK_ADD_BOS, err, LBRT_ERR_UNSUPPORTED,
                       "tokenizer.json: two tokens before the text");
            t->bos = id;
            t->flags |= LB_TOK_ADD_BOS;
        }
    }
    return LBRT_OK;
}

/* ---------------------------------------------------------------- tokenizer.json: the vocabulary */

static lbrt_status hf_tok_vocab(lb_tokdata *t, const lb_json *vocab, bool byte_fallback, const lb_json *unk,
                                lbrt_error *err)
{
    for (const lb_json *v = vocab->child; v; v = v->next) {
        const int64_t id = hf_tok_id(v);
        LB_FAIL_IF(id < 0, err, LBRT_ERR_FORMAT, "tokenizer.json: a token without an id");
        lb_token_type type = LB_TOKEN_NORMAL;
        if (unk && unk->type == LB_JSON_STRING && unk->bytes == v->key_bytes &&
            memcmp(unk->text, v->key, v->key_bytes) == 0) {
            type = LB_TOKEN_UNKNOWN;
            t->unk = (int32_t)id;
        } else if (byte_fallback && v->key_bytes == 6 && memcmp(v->key, "<0x", 3) == 0 && v->key[5] == '>') {
            type = LB_TOKEN_BYTE;
        }
        if (t->model == LB_TOK_BPE) {
            LB_TRY(lb_tokdata_set_spm(t, (uint32_t)id, v->key, v->key_bytes, 0, type, err));
        } else {
            LB_TRY(lb_tokdata_set_byte_level(t, (uint32_t)id, v->key, v->key_bytes, type, err));
        }
    }
    return LBRT_OK;
}

/* One added token: of tokenizer.json's added_tokens or of tokenizer_config.json's added_tokens_decoder. */
static lbrt_status hf_tok_added(lb_tokdata *t, int64_t id, const lb_json *node, lbrt_error *err)
{
    const lb_json *content = lb_json_get(node, "content");
    LB_FAIL_IF(id < 0 || !content || content->type != LB_JSON_STRING || !content->bytes, err, LBRT_ERR_FORMAT,
               "tokenizer: an added token without id or text");
    LB_FAIL_IF(lb_json_bool(lb_json_get(node, "single_word"), false), err, LBRT_ERR_UNSUPPORTED,
               "tokenizer: token '%.*s' is matched as a single word, which is not supported", 60, content->text);
    const bool special = lb_json_bool(lb_json_get(node, "special"), false);
    const bool unknown = t->tokens[id].type == LB_TOKEN_UNKNOWN; // which it is t->unk says
    const float score = t->tokens[id].score;
    LB_TRY(lb_tokdata_set(t, (uint32_t)id, content->text, content->bytes, score,
                          special || unknown ? LB_TOKEN_CONTROL : LB_TOKEN_USER,
                          err));
    t->tokens[id].strip = (uint8_t)((lb_json_bool(lb_json_get(node, "lstrip"), false) ? LB_TOK_LSTRIP : 0) |
                                    (lb_json_bool(lb_json_get(node, "rstrip"), false) ? LB_TOK_RSTRIP : 0));
    return LBRT_OK;
}

static lbrt_status hf_tok_merges(lb_tokdata *t, const lb_json *merges, lbrt_error *err)
{
    if (!merges || !merges->n_children) {
        return LBRT_OK;
    }
    const size_t n = merges->n_children;
    lb_tokdata_string *strings = lb_alloc_zero(&t->allocator, n, 2 * sizeof *strings);
    LB_FAIL_IF(!strings, err, LBRT_ERR_MEMORY, "out of memory");
    const bool pairs = merges->child->type == LB_JSON_ARRAY; // ["a", "b"], else "a b"
    lbrt_status status = LBRT_OK;
    size_t i = 0;
    for (const lb_json *m = merges->child; m; m = m->next, i++) {
        const lb_json *left = pairs ? m->child : m, *right = pairs && left ? left->next : m;
        if ((m->type == LB_JSON_ARRAY) != pairs || !left || !right || left->type != LB_JSON_STRING ||
            right->type != LB_JSON_STRING || (pairs && right->next)) {
            status = lb_fail(err, LBRT_ERR_FORMAT, "tokenizer.json: merge %zu is not two strings", i);
            break;
        }
        strings[i].text = left->text;
        strings[i].bytes = left->bytes;
        strings[n + i].text = right->text;
        strings[n + i].bytes = right->bytes;
    }
    if (status == LBRT_OK) {
        status = lb_tokdata_resolve_merges(t, strings, pairs ? strings + n : NULL, n,
                                           t->model == LB_TOK_BPE ? LB_SPELL_SPM : LB_SPELL_BYTE_LEVEL, err);
    }
    lb_free(&t->allocator, strings, n * 2 * sizeof *strings);
    return status;
}

static lbrt_status hf_tok_fill(lb_tokdata *t, const lb_json *root, lbrt_error *err)
{
    const lb_json *model = lb_json_get(root, "model");
    hf_tok_pre pre = { false, false, false };
    LB_TRY(hf_tok_normalizer(t, lb_json_get(root, "normalizer"), &pre.replaces, err));
    LB_TRY(hf_tok_pretokenizer(t, lb_json_get(root, "pre_tokenizer"), &pre, err));
    LB_FAIL_IF(pre.digits && t->pretokenizer != LB_PRETOK_SMOLLM, err, LBRT_ERR_UNSUPPORTED,
               "tokenizer.json: Digits before anything but ByteLevel with its pattern is not supported");
    const bool byte_level = pre.byte_level, replaces = pre.replaces;
    LB_TRY(hf_tok_decoder(lb_json_get(root, "decoder"), err));
    static const char *const affixes[] = { "continuing_subword_prefix", "end_of_word_suffix" };
    for (size_t i = 0; i < 2; i++) {
        const lb_json *affix = lb_json_get(model, affixes[i]);
        LB_FAIL_IF(!hf_tok_absent(affix) && !lb_json_is(affix, ""), err, LBRT_ERR_UNSUPPORTED,
                   "tokenizer.json: %s is not supported", affixes[i]);
    }
    const bool byte_fallback = lb_json_bool(lb_json_get(model, "byte_fallback"), false);
    LB_FAIL_IF(
        byte_level == replaces || (!byte_level && (!byte_fallback || t->pretokenizer != LB_PRETOK_NONE)) ||
            (byte_level && (t->flags & LB_TOK_SPACE_PREFIX)) || (!byte_level && (t->flags & LB_TOK_NFC)) ||
            (byte_level && t->pretokenizer == LB_PRETOK_NONE),
        err, LBRT_ERR_UNSUPPORTED,
        "tokenizer.json: neither byte-level BPE nor BPE with byte fallback and spaces as U+2581");
    t->model = byte_level ? LB_TOK_BYTE_BPE : LB_TOK_BPE;
    if (byte_level && lb_json_bool(lb_json_get(model, "ignore_merges"), false)) {
        t->flags |= LB_TOK_IGNORE_MERGES;
    }
    LB_TRY(hf_tok_vocab(t, lb_json_get(model, "vocab"), byte_fallback, lb_json_get(model, "unk_token"), err));
    LB_TRY(hf_tok_merges(t, lb_json_get(model, "merges"),
                         err)); // before special tokens are taken out of the vocabulary
    const lb_json *added = lb_json_get(root, "added_tokens");
    for (const lb_json *n = added ? added->child : NULL; n; n = n->next) {
        LB_TRY(hf_tok_added(t, hf_tok_id(lb_json_get(n, "id")), n, err));
    }
    for (uint32_t i = 0; i < t->n_tokens; i++) { // ids that nothing names
        if (!t->tokens[i].bytes) {
            t->tokens[i].type = LB_TOKEN_UNUSED;
        }
    }
    LB_TRY(hf_tok_post_processor(t, lb_json_get(root, "post_processor"), err));
    lb_tokdata_add_end(t, t->eos);
    lb_tokdata_add_usual_ends(t);
    return LBRT_OK;
}

static lbrt_status hf_tok_from_root(const lb_json *root, const lbrt_allocator *a, lb_tokdata **out,
                                    lbrt_error *err)
{
    const lb_json *model = lb_json_get(root, "model"), *vocab = lb_json_get(model, "vocab"),
                  *type = lb_json_get(model, "type");
    LB_FAIL_IF(!model || model->type != LB_JSON_OBJECT, err, LBRT_ERR_FORMAT, "tokenizer.json: no model");
    LB_FAIL_IF(type && !lb_json_is(type, "BPE"), err, LBRT_ERR_UNSUPPORTED,
               "tokenizer.json: model type '%s' is not supported", hf_tok_type(model));
    LB_FAIL_IF(!vocab || vocab->type != LB_JSON_OBJECT || !vocab->n_children, err, LBRT_ERR_FORMAT,
               "tokenizer.json: no vocabulary");
    const lb_json *added = lb_json_get(root, "added_tokens");
    int64_t last = -1;
    for (const lb_json *v = vocab->child; v; v = v->next) {
        last = hf_tok_id(v) > last ? hf_tok_id(v) : last;
    }
    for (const lb_json *v = added ? added->child : NULL; v; v = v->next) {
        const int64_t id = hf_tok_id(lb_json_get(v, "id"));
        last = id > last ? id : last;
    }
    // Holes are allowed, but memory stays in proportion to the file.
    const size_t listed = vocab->n_children + (added ? added->n_children : 0);
    LB_FAIL_IF(last < 0 || (uint64_t)last > (uint64_t)listed * 4 + 4096, err, LBRT_ERR_FORMAT,
               "tokenizer.json: token ids do not fit the size of the vocabulary");
    lb_tokdata *t;
    LB_TRY(lb_tokdata_new((uint32_t)last + 1, a, &t, err));
    const lbrt_status status = hf_tok_fill(t, root, err);
    if (status != LBRT_OK) {
        lb_tokdata_free(t);
        return status;
    }
    *out = t;
    return LBRT_OK;
}

lbrt_status lb_tokdata_from_hf_json(const char *json, size_t bytes, const lbrt_allocator *a, lb_tokdata **out,
                                    lbrt_error *err)
{
    *out = NULL;
    lb_json_doc *doc;
    LB_TRY(lb_json_parse(json, bytes, a, &doc, err));
    const lbrt_status status = hf_tok_from_root(lb_json_root(doc), a, out, err);
    lb_json_free(doc);
    return status;
}

/* ---------------------------------------------------------------- the configuration files */

/* "<s>" or { "content": "<s>" } as an id, which is special then; *id stays if it is absent, null or unknown. */
static void hf_tok_named_id(lb_tokdata *t, const lb_json *node, int32_t *id)
{
    if (node && node->type == LB_JSON_OBJECT) {
        node = lb_json_get(node, "content");
    }
    if (node && node->type == LB_JSON_STRING) {
        const int32_t found = lb_tokdata_find(t, node->text, node->bytes);
        *id = found >= 0 ? found : *id;
        if (found >= 0 && t->tokens[found].type == LB_TOKEN_NORMAL) {
            t->tokens[found].type = LB_TOKEN_CONTROL;
        }
    }
}

static lbrt_status hf_tok_grow(lb_tokdata *t, uint32_t n, lbrt_error *err)
{
    lb_tokdata_token *tokens = lb_alloc_zero(&t->allocator, n, sizeof *tokens);
    LB_FAIL_IF(!tokens, err, LBRT_ERR_MEMORY, "out of memory");
    memcpy(tokens, t->tokens, t->n_tokens * sizeof *tokens);
    for (uint32_t i = t->n_tokens; i < n; i++) {
        tokens[i].type = LB_TOKEN_UNUSED;
    }
    lb_free(&t->allocator, t->tokens, t->n_tokens * sizeof *tokens);
    t->tokens = tokens;
    t->n_tokens = n;
    return LBRT_OK;
}

/* Whether a token of that text may have that id: it has, or nothing has either of them. */
static bool hf_tok_may_be(const lb_tokdata *t, int64_t id, const lb_json *node)
{
    const lb_json *content = lb_json_get(node, "content");
    if (t->model == LB_TOK_SPM || !content || content->type != LB_JSON_STRING) {
        return true;
    }
    const int32_t found = lb_tokdata_find(t, content->text, content->bytes);
    return found == id || (found < 0 && (id >= t->n_tokens || t->tokens[id].type == LB_TOKEN_UNUSED));
}

/* Special tokens that a SentencePiece file, or a tokenizer.json, does not know, or knows as something else. */
static lbrt_status hf_tok_added_decoder(lb_tokdata *t, const lb_json *list, lbrt_error *err)
{
    int64_t last = -1;
    for (int pass = 0; pass < 2; pass++) {
        for (const lb_json *n = list ? list->child : NULL; n; n = n->next) {
            int64_t id = n->key_bytes && n->key_bytes < 9 ? 0 : -1;
            for (size_t i = 0; id >= 0 && i < n->key_bytes; i++) {
                id = n->key[i] >= '0' && n->key[i] <= '9' ? id * 10 + (n->key[i] - '0') : -1;
            }
            LB_FAIL_IF(id < 0 || id >= (int64_t)t->n_tokens * 4 + 4096 + (int64_t)list->n_children, err,
                       LBRT_ERR_FORMAT, "tokenizer_config.json: an added token with an impossible id");
            last = id > last && hf_tok_may_be(t, id, n) ? id : last;
            if (pass && hf_tok_may_be(t, id, n)) {
                LB_TRY(hf_tok_added(t, id, n, err));
            }
        }
        if (!pass && last >= t->n_tokens) {
            LB_TRY(hf_tok_grow(t, (uint32_t)last + 1, err));
        }
    }
    return LBRT_OK;
}

static lbrt_status hf_tok_added_list(lb_tokdata *t, const lb_json *list, lbrt_error *err)
{
    int64_t last = -1;
    LB_FAIL_IF(list->type != LB_JSON_OBJECT, err, LBRT_ERR_FORMAT, "added_tokens.json is no object");
    for (const lb_json *n = list->child; n; n = n->next) {
        const int64_t id = hf_tok_id(n);
        LB_FAIL_IF(id < 0 || id >= (int64_t)t->n_tokens + 4096 + (int64_t)list->n_children || !n->key_bytes, err, LBRT_ERR_FORMAT,
                   "added_tokens.json: an added token with an impossible id, or without text");
        last = id > last ? id : last;
    }
    LB_TRY(last >= t->n_tokens ? hf_tok_grow(t, (uint32_t)last + 1, err) : LBRT_OK);
    for (const lb_json *n = list->child; n; n = n->next) {
        const uint32_t id = (uint32_t)hf_tok_id(n);
        if (t->tokens[id].type == LB_TOKEN_UNUSED) {
            LB_TRY(lb_tokdata_set(t, id, n->key, n->key_bytes, 0.0f, LB_TOKEN_USER, err));
        }
    }
    return LBRT_OK;
}

lbrt_status lb_tokdata_apply_hf_added(lb_tokdata *t, const char *json, size_t bytes, lbrt_error *err)
{
    lb_json_doc *doc;
    LB_TRY(lb_json_parse(json, bytes, &t->allocator, &doc, err));
    const lbrt_status status = hf_tok_added_list(t, lb_json_root(doc), err);
    lb_json_free(doc);
    return status;
}

static lbrt_status hf_tok_template(lb_tokdata *t, const lb_json *node, lbrt_error *err)
{
    if (node && node->type == LB_JSON_ARRAY) { // several by name
        const lb_json *found = NULL;
        for (const lb_json *n = node->child; n; n = n->next) {
            if (lb_json_is(lb_json_get(n, "name"), "default")) {
                found = lb_json_get(n, "template");
            }
        }
        node = found;
    }
    return node && node->type == LB_JSON_STRING ? lb_tokdata_set_template(t, node->text, node->bytes, err)
                                                : LBRT_OK;
}

static lbrt_status hf_tok_apply_tokenizer_config(lb_tokdata *t, const lb_json *root, lbrt_error *err)
{
    LB_TRY(hf_tok_added_decoder(t, lb_json_get(root, "added_tokens_decoder"), err));
    if (t->model == LB_TOK_SPM) { // what transformers makes of it is a tokenizer.json, which has these itself
        t->flags |= LB_TOK_PREFIX_BEHIND_USER;
        t->flags |= lb_json_bool(lb_json_get(root, "legacy"), true) ? 0u : LB_TOK_PREFIX_FIRST | LB_TOK_PREFIX_UNLESS_SPACE;
        t->flags &= lb_json_bool(lb_json_get(root, "add_prefix_space"), true) ? LB_TOK_ALL_FLAGS : ~(uint32_t)LB_TOK_SPACE_PREFIX;
    }
    const lb_json *bos = lb_json_get(root, "bos_token");
    t->bos_unnamed = bos && bos->type == LB_JSON_NULL;
    hf_tok_named_id(t, bos, &t->bos);
    hf_tok_named_id(t, lb_json_get(root, "eos_token"), &t->eos);
    hf_tok_named_id(t, lb_json_get(root, "unk_token"), &t->unk);
    hf_tok_named_id(t, lb_json_get(root, "pad_token"), &t->pad);
    const lb_json *add_bos = lb_json_get(root, "add_bos_token"),
                  *add_eos = lb_json_get(root, "add_eos_token");
    if (add_bos && add_bos->type == LB_JSON_BOOL) {
        t->flags = add_bos->boolean ? t->flags | LB_TOK_ADD_BOS : t->flags & ~(uint32_t)LB_TOK_ADD_BOS;
    }
    if (add_eos && add_eos->type == LB_JSON_BOOL) {
        t->flags = add_eos->boolean ? t->flags | LB_TOK_ADD_EOS : t->flags & ~(uint32_t)LB_TOK_ADD_EOS;
    }
    return hf_tok_template(t, lb_json_get(root, "chat_template"), err);
}

/* generation_config.json or config.json. */
static void hf_tok_apply_ids(lb_tokdata *t, const lb_json *root)
{
    const lb_json *eos = lb_json_get(root, "eos_token_id");
    const lb_json *one = eos && eos->type == LB_JSON_ARRAY ? eos->child : eos;
    for (const lb_json *n = one; n; n = eos->type == LB_JSON_ARRAY ? n->next : NULL) {
        const int64_t id = hf_tok_id(n);
        if (id >= 0 && id < t->n_tokens) {
            lb_tokdata_add_end(t, (int32_t)id);
            t->eos = t->eos < 0 ? (int32_t)id : t->eos;
        }
    }
    const int64_t bos = hf_tok_id(lb_json_get(root, "bos_token_id"));
    if (t->bos < 0 && bos >= 0 && bos < t->n_tokens) {
        t->bos = (int32_t)bos;
    }
}

lbrt_status lb_tokdata_apply_hf_config(lb_tokdata *t, const char *tokenizer_config,
                                       size_t tokenizer_config_bytes, const char *generation_config,
                                       size_t generation_config_bytes, const char *config,
                                       size_t config_bytes, lbrt_error *err)
{
    const char *const texts[3] = { tokenizer_config, generation_config, config };
    const size_t sizes[3] = { tokenizer_config_bytes, generation_config_bytes, config_bytes };
    for (int i = 0; i < 3; i++) {
        if (!texts[i]) {
            continue;
        }
        lb_json_doc *doc;
        LB_TRY(lb_json_parse(texts[i], sizes[i], &t->allocator, &doc, err));
        lbrt_status status = LBRT_OK;
        if (i == 0) {
            status = hf_tok_apply_tokenizer_config(t, lb_json_root(doc), err);
        } else {
            hf_tok_apply_ids(t, lb_json_root(doc));
        }
        lb_json_free(doc);
        LB_TRY(status);
    }
    lb_tokdata_add_end(t, t->eos);
    lb_tokdata_add_usual_ends(t);
    return LBRT_OK;
}
