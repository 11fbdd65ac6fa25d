/*
 * Calibration: the model is run on a text, layer by layer with all tokens, twice side by side: as it is, and as far as it is packed
 * already. What the linear layers of the second read is what their quantization is fitted to (lb_moments.h).
 *
 * This folder may use the engine, and is used by lbrt-convert only.
 */
#ifndef LB_CALIB_H
#define LB_CALIB_H

#include "../pack/lb_convert.h"

typedef struct lb_calib_options {
    const char *text;
    size_t text_bytes;
    uint32_t n_tokens; /* at most, of the text's beginning (0: LB_CALIB_TOKENS) */
    uint32_t n_context; /* tokens of one chunk (0: 512, or what the model was trained for if that is less) */
    double damping, shift; /* lb_moments.h; negative: what measured best */

    /* What the result may have, at most: then formats are chosen by lb_budget.h, for all matrices without a rule. 0 and 0: no limit */
    uint64_t budget_bytes; /* of the file */
    double budget_bits;    /* per weight */
} lb_calib_options;

enum { LB_CALIB_TOKENS = 65536, LB_BUDGET_TOKENS = 16384 /* to choose formats by */ };

typedef struct lb_calib_report {
    uint64_t tokens, text_tokens; /* that moments are made of; of the whole text */
    uint64_t scored;              /* tokens held out, on which KL was measured */
    double kl;                    /* mean divergence of the packed model from the original on those, in nats; NaN: none */
    double seconds;               /* that running the model took */
    double predicted;             /* with a budget: the divergence that was expected of the choice; else NaN */
    double budget_seconds;
} lb_calib_report;

/*
 * lb_convert with calibration (options->calib is ignored). Beside `path` a copy of the input in f16 is written first, to be mapped; it
 * has no name once it is complete. Memory: two streams of n_tokens * dim floats, and for the widest input of n columns
 * about 40 n^2 bytes.
 */
lbrt_status lb_convert_calibrated(const lb_source *source, const char *path, const lb_convert_options *options,
                                  const lb_calib_options *how, const lbrt_allocator *a, lb_calib_report *report, lbrt_error *err);

#endif /* LB_CALIB_H */
