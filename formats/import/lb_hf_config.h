/* config.json of a Hugging Face model: hyperparameters, and what tensors to expect. */
#ifndef LB_HF_CONFIG_H
#define LB_HF_CONFIG_H

#include "lb_hf_parts.h"
#include "lb_import_yarn.h"
#include "lb_json.h"

/* How a checkpoint stores its linear layers. */
typedef enum lb_hf_linear {
    LB_HF_LINEAR_FLOAT,
    LB_HF_LINEAR_TERNARY_MULTIPLY, /* uint8 codes; the weight is code times weight_scale ("autobitlinear") */
    LB_HF_LINEAR_TERNARY_DIVIDE,   /* uint8 codes; the weight is code divided by weight_scale ("bitlinear") */
    LB_HF_LINEAR_MASTER            /* floats that the model rounds to ternary when it runs */
} lb_hf_linear;

typedef struct lb_hf_config {
    lb_hparams hparams;
    lb_rule rules[LB_FEATURE_COUNT];
    lb_hf_linear linear;
    const lb_json *unrounded; /* BitNet: names of modules, or parts of names, whose linear layers are floats; NULL: none. Of the JSON that was read */
    lb_yarn yarn;
    lb_hf_codes codes;
    bool tied, tied_is_said; /* tie_word_embeddings, and whether config.json has it */
} lb_hf_config;

/*
 * An architecture, activation, scaling, window or quantization that lbrt lacks is UNSUPPORTED, by name. older: what quantize_config.json or quant_config.json says, for a
 * config.json without quantization_config; may be NULL.
 */
lbrt_status lb_hf_config_read(const lb_json *root, const lb_json *older, lb_hf_config *out, lbrt_error *err);

/* What its quantization_config says, as part of that: linear, unrounded and codes (lb_hf_quantization.c). */
lbrt_status lb_hf_quantization_read(const lb_json *root, const lb_json *older, bool bitnet, lb_hf_config *out, lbrt_error *err);

/* Lists with a number for each layer, of a config that was read: FORMAT where the layer's tensors (before lb_import_finish) say otherwise. */
lbrt_status lb_hf_config_check(const lb_json *root, const lb_import *im, lbrt_error *err);

static inline bool hf_is_null(const lb_json *node)
{
    return node == NULL || node->type == LB_JSON_NULL;
}

/* How much of a text a sentence shows */
static inline int hf_shown(const lb_json *node)
{
    return (int)lb_min(node->bytes, 60);
}

#endif /* LB_HF_CONFIG_H */
