/* From an adapter's file to chains: which matrices of the model it changes, and whether it was made for such a model at all. */
#include "lb_adapter.h"

/* The slot of a tensor's name, "layers.N.WHICH"; 0 if there is none in a model of that many layers. */
static size_t slot_of(const lbrt_model *m, const lb_tensor *t, const lb_linear **linear)
{
    static const char *const names[LB_SLOTS] = { "attn_q", "attn_k", "attn_v", "attn_o", "ffn_gate", "ffn_up", "ffn_down" };
    const char prefix[] = "layers.", *p = t->name, *end = t->name + t->name_bytes;
    if (t->name_bytes < sizeof prefix || memcmp(p, prefix, sizeof prefix - 1) != 0) {
        return 0;
    }
    uint32_t layer = 0;
    for (p += sizeof prefix - 1; p < end && *p >= '0' && *p <= '9' && layer < 1u << 20; p++) {
        layer = layer * 10 + (uint32_t)(*p - '0');
    }
    for (unsigned i = 0; p < end && *p == '.' && layer < m->hparams.n_layers && i < LB_SLOTS; i++) {
        if (strlen(names[i]) == (size_t)(end - p - 1) && memcmp(p + 1, names[i], (size_t)(end - p - 1)) == 0) {
            const lb_layer *l = &m->layers[layer];
            const lb_linear *all[LB_SLOTS] = { &l->attn_q,   &l->attn_k, &l->attn_v,  &l->attn_o,
                                               &l->ffn_gate, &l->ffn_up, &l->ffn_down };
            *linear = all[i];
            return lb_slot(layer, i);
        }
    }
    return 0;
}

static lbrt_status bind_tensor(lbrt_adapter *a, const lb_tensor *t, lbrt_error *err)
{
    const int n = (int)t->name_bytes;
    const lb_linear *linear = NULL;
    size_t slot = slot_of(a->model, t, &linear);
    LB_FAIL_IF(slot == 0, err, LBRT_ERR_UNSUPPORTED, "the adapter was made for another model: this one has no %.*s to change", n, t->name);
    LB_FAIL_IF(t->rows != linear->rows || t->cols != linear->cols, err, LBRT_ERR_UNSUPPORTED,
               "the adapter was made for another model: %.*s is %llu x %llu there and %zu x %zu here", n, t->name,
               (unsigned long long)t->rows, (unsigned long long)t->cols, linear->rows, linear->cols);
    LB_FAIL_IF(t->n_terms != 1 || t->terms[0].kind != LB_TERM_CHAIN || t->terms[0].transform.kind != LB_TRANSFORM_NONE, err,
               LBRT_ERR_UNSUPPORTED, "the adapter's %.*s is no low-rank term", n, t->name);
    bool interleaved = false, rotates = slot % LB_SLOTS == 1 + LB_SLOT_Q || slot % LB_SLOTS == 1 + LB_SLOT_K;
    (void)lb_meta_bool(&a->file, "adapter.rope_interleaved", &interleaved);
    LB_FAIL_IF(rotates && a->model->hparams.rope_dim && interleaved != a->model->hparams.rope_interleaved, err, LBRT_ERR_UNSUPPORTED,
               "the rows of %.*s are in another order in this model: convert model and adapter from the same kind of file", n, t->name);
    lb_linear unused;
    lb_chain *chain = &a->chains[slot - 1];
    const lb_linear_rules rules = { .k = &a->model->kernels, .threshold = -1.0f };
    LB_TRY(lb_linear_bind(&unused, t, &rules, NULL, chain, err));
    for (int i = 0; i < 2; i++) {
        const lb_wformat_info *f = i ? chain->up_term.format : chain->down_term.format;
        LB_FAIL_IF(f->reads != LB_READS_F32, err, LBRT_ERR_UNSUPPORTED, "the adapter's %.*s has format %s; adapters are f32, f16 or bf16", n,
                   t->name, f->name);
    }
    a->mid_stride = lb_max(a->mid_stride, lb_chain_stride(chain));
    return LBRT_OK;
}

static lbrt_status bind_adapter(lbrt_adapter *a, lbrt_error *err)
{
    char kind[16];
    LB_FAIL_IF(!lb_meta_string(&a->file, "adapter", kind, sizeof kind), err, LBRT_ERR_FORMAT, "the file is no adapter");
    LB_FAIL_IF(strcmp(kind, "lora") != 0, err, LBRT_ERR_UNSUPPORTED, "the file is an adapter of kind '%s', unknown to this version", kind);
    a->n_chains = (size_t)a->model->hparams.n_layers * LB_SLOTS;
    a->chains = (lb_chain *)lb_alloc_zero(&a->allocator, a->n_chains, sizeof *a->chains);
    LB_FAIL_IF(!a->chains, err, LBRT_ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < a->file.n_tensors; i++) {
        LB_TRY(bind_tensor(a, &a->file.tensors[i], err));
    }
    return LBRT_OK;
}

lbrt_status lb_adapter_build(const lbrt_model *m, const unsigned char *data, size_t bytes, lb_map *map, lbrt_adapter **out,
                             lbrt_error *err)
{
    lbrt_adapter *a = (lbrt_adapter *)lb_alloc_zero(&m->allocator, 1, sizeof *a);
    if (!a) {
        if (map) {
            lb_map_close(map);
        }
        return lb_fail(err, LBRT_ERR_MEMORY, "out of memory");
    }
    a->allocator = m->allocator;
    a->model = m;
    if (map) {
        a->map = *map;
    }
    lbrt_status s = lb_container_open(&a->file, data, bytes, &a->allocator, err);
    s = s == LBRT_OK ? bind_adapter(a, err) : s;
    if (s != LBRT_OK) {
        lbrt_adapter_close(a);
        return s;
    }
    *out = a;
    return LBRT_OK;
}

void lbrt_adapter_close(lbrt_adapter *a)
{
    if (a) {
        lbrt_allocator allocator = a->allocator;
        lb_free(&allocator, a->chains, a->n_chains * sizeof *a->chains);
        lb_container_close(&a->file);
        lb_map_close(&a->map);
        lb_free(&allocator, a, sizeof *a);
    }
}
