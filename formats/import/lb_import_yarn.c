/* YaRN, see lb_import_yarn.h. */
#include "lb_import_yarn.h"

lb_yarn lb_yarn_default(double factor, double original)
{
    return (lb_yarn){ .factor = factor, .original = original, .fast = 32.0, .slow = 1.0, .attention = factor > 1.0 ? 0.1 * log(factor) + 1.0 : 1.0 };
}

uint32_t lb_yarn_context(const lb_yarn *y, uint32_t context)
{
    const double made = y->factor * y->original;
    return made > (double)context && made <= (double)(1u << 27) ? (uint32_t)made : context;
}

/* The pair whose frequency turns so many times in the original context, as a real number */
static double pair_of(const lb_hparams *h, const lb_yarn *y, double turns)
{
    return (double)h->rope_dim * log(y->original / (turns * 2.0 * 3.14159265358979323846)) / (2.0 * log((double)h->rope_theta));
}

lbrt_status lb_import_yarn(lb_import *im, const lb_yarn *y, lbrt_error *err)
{
    lb_hparams *h = &im->source.hparams;
    const size_t pairs = h->rope_dim / 2;
    lb_slot *s = &im->slots[lb_import_slot("rope_factors", 0)];
    LB_FAIL_IF(!(y->factor >= 1.0 && y->factor <= 1e6 && y->original >= 1.0 && y->original <= 1e9 && y->fast > 0.0 && y->fast <= 1e9 && y->slow > 0.0 &&
                 y->slow <= y->fast && y->attention >= 0.01 && y->attention <= 100.0 && h->rope_theta > 1.0f),
               err, LBRT_ERR_FORMAT, "the numbers of YaRN make no sense");
    LB_FAIL_IF(h->rope_dim != h->head_dim && y->attention != 1.0, err, LBRT_ERR_UNSUPPORTED, "YaRN with a rotary embedding of a part of the head is not supported");
    LB_FAIL_IF(s->place.data, err, LBRT_ERR_FORMAT, "the model has factors of its rotary embedding and YaRN, too");
    im->made = (float *)lb_alloc(&im->a, pairs * sizeof(float));
    LB_FAIL_IF(!im->made, err, LBRT_ERR_MEMORY, "out of memory");
    im->n_made = pairs;
    double low = floor(pair_of(h, y, y->fast)), high = ceil(pair_of(h, y, y->slow));
    low = low > 0.0 ? low : 0.0;
    high = high < (double)(h->rope_dim - 1) ? high : (double)(h->rope_dim - 1);
    high = high > low ? high : low + 0.001;
    for (size_t i = 0; i < pairs; i++) {
        const double at = ((double)i - low) / (high - low), ramp = at < 0.0 ? 0.0 : at > 1.0 ? 1.0 : at;
        im->made[i] = (float)(1.0 / (ramp / y->factor + (1.0 - ramp)));
    }
    *s = (lb_slot){ .rows = 1,
                    .cols = pairs,
                    .place = { .kind = LB_PLACE_ROWS,
                               .type = lb_ggml_type_find(LB_GGML_F32),
                               .type_name = "f32",
                               .data = (const unsigned char *)im->made,
                               .scale = 1.0f } };
    const float square = (float)(y->attention * y->attention); /* of cosines and sines of both sides of a score */
    h->attn_factor = square != 1.0f ? square : 0.0f;
    return LBRT_OK;
}
