/* The public calls on opened models and text. Arguments are checked here, once. */
#include "../engine/lb_model.h"

static void start_error(lbrt_error *err)
{
    if (err) {
        *err = (lbrt_error){ LBRT_OK, "" };
    }
}

lbrt_status lbrt_model_describe(const lbrt_model *m, lbrt_model_info *info)
{
    if (!m || !info || info->size == 0) {
        return LBRT_ERR_ARGUMENT;
    }
    const lb_hparams *h = &m->hparams;
    lbrt_model_info all = {
        .size = info->size,
        .name = h->name,
        .architecture = h->architecture,
        .isa = m->kernels.isa,
        .parameters = m->parameters,
        .file_bytes = m->file.bytes,
        .weight_bytes = m->weight_bytes,
        .token_bytes = m->token_bytes,
        .bits_per_weight = 8.0 * (double)m->weight_bytes / (double)m->parameters,
        .n_vocab = h->n_vocab,
        .n_layers = h->n_layers,
        .dim = h->dim,
        .n_context = h->n_context,
        .bos = m->tokenizer ? lb_tokenizer_bos(m->tokenizer) : -1,
        .eos = m->tokenizer ? lb_tokenizer_eos(m->tokenizer) : -1,
        .adds_bos = m->tokenizer && lb_tokenizer_adds_bos(m->tokenizer),
        .has_chat_template = m->tokenizer && lb_tokenizer_has_chat(m->tokenizer),
    };
    memcpy(info, &all, lb_min(info->size, sizeof all));
    return LBRT_OK;
}

static lbrt_status need_tokenizer(const lbrt_model *m, lbrt_error *err)
{
    start_error(err);
    LB_FAIL_IF(!m, err, LBRT_ERR_ARGUMENT, "no model");
    LB_FAIL_IF(!m->tokenizer, err, LBRT_ERR_UNSUPPORTED, "the model has no tokenizer: it takes token ids only");
    return LBRT_OK;
}

lbrt_status lbrt_tokenize(const lbrt_model *m, const char *text, size_t bytes, unsigned flags, lbrt_token *tokens, size_t cap,
                          size_t *n, lbrt_error *err)
{
    LB_TRY(need_tokenizer(m, err));
    LB_FAIL_IF(!n || (!text && bytes) || (!tokens && cap), err, LBRT_ERR_ARGUMENT, "a pointer is missing");
    LB_FAIL_IF(flags & ~(unsigned)(LBRT_TOKENIZE_BOS | LBRT_TOKENIZE_SPECIAL), err, LBRT_ERR_ARGUMENT, "unknown flags %u", flags);
    return lb_tokenizer_encode(m->tokenizer, text, bytes, flags, tokens, cap, n, err);
}

lbrt_status lbrt_token_text(const lbrt_model *m, lbrt_token id, bool special, const char **text, size_t *bytes)
{
    if (!text || !bytes) {
        return LBRT_ERR_ARGUMENT;
    }
    *text = NULL;
    *bytes = 0;
    LB_TRY(need_tokenizer(m, NULL));
    if (id >= 0 && (uint32_t)id >= lb_tokenizer_count(m->tokenizer) && (uint32_t)id < m->hparams.n_vocab) {
        *text = ""; /* a row of the embedding that pads the vocabulary */
        return LBRT_OK;
    }
    lbrt_status s = lb_tokenizer_token_text(m->tokenizer, id, special, text, bytes);
    if (s != LBRT_OK) {
        *text = NULL;
    }
    return s;
}

lbrt_status lbrt_detokenize(const lbrt_model *m, const lbrt_token *tokens, size_t n, char *text, size_t cap, size_t *bytes,
                            lbrt_error *err)
{
    LB_TRY(need_tokenizer(m, err));
    LB_FAIL_IF(!bytes || (!tokens && n) || (!text && cap), err, LBRT_ERR_ARGUMENT, "a pointer is missing");
    return lb_tokenizer_decode(m->tokenizer, tokens, n, text, cap, bytes, err);
}

bool lbrt_token_ends(const lbrt_model *m, lbrt_token id)
{
    return m && m->tokenizer && lb_tokenizer_ends(m->tokenizer, id);
}

lbrt_status lbrt_chat_format(const lbrt_model *m, const lbrt_message *messages, size_t n, bool answer, char *text, size_t cap,
                             size_t *bytes, lbrt_error *err)
{
    LB_TRY(need_tokenizer(m, err));
    LB_FAIL_IF(!bytes || (!messages && n) || (!text && cap), err, LBRT_ERR_ARGUMENT, "a pointer is missing");
    for (size_t i = 0; i < n; i++) {
        LB_FAIL_IF(!messages[i].role || !messages[i].content, err, LBRT_ERR_ARGUMENT, "message %zu lacks its role or content", i);
    }
    return lb_tokenizer_chat_format(m->tokenizer, messages, n, answer, text, cap, bytes, err);
}

const char *lbrt_cpu_isa(void)
{
    return lb_isa_best();
}

const char *lbrt_isa_name(size_t i, bool *usable)
{
    bool ignored;
    return lb_isa_level(i, usable ? usable : &ignored);
}
