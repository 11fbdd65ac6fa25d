/*
 * From a source of named tensors to a .lbrt file: which format each tensor gets, and the streaming, threaded packing.
 */
#ifndef LB_CONVERT_H
#define LB_CONVERT_H

#include "../container/lb_wformat.h"
#include "../import/lb_source.h"
#include "lb_moments.h"

typedef struct lb_convert_rule {
    const char *glob; /* over canonical tensor names; * matches anything, ? one character */
    lb_wformat format;
} lb_convert_rule;

typedef struct lb_convert_tensor_report {
    const char *name;
    const char *format;
    uint64_t weights, bytes;
    double relative_error; /* mean squared error over mean square, of the tensor as packed; matrices only */
    double output_error;   /* the same of what the layer computes on the calibration text; -1: not calibrated */
    double seconds;
    const char *warning;   /* NULL, or what people ought to know about this tensor's format */
} lb_convert_tensor_report;

/*
 * Calibration as conversion sees it. Matrices then come in the order in which a token meets them, embedding first. Before one is
 * packed, `factor` is asked for the second moments of its input, in a basis (lb_factor_options: signs, block and sort are
 * filled in); *out NULL: pack it without. The factor lives until a tensor with another input is asked for. Afterwards `packed` takes
 * the whole tensor over: its tiles, terms->parts->data, are then the callee's, to be freed with the conversion's allocator;
 * the bytes of its transform live as long as the conversion. `done` is called when the file is complete: the last moment at which
 * packed tensors with transforms may be used.
 */
struct lb_tensor;
typedef struct lb_convert_calib {
    lbrt_status (*factor)(void *user, const char *tensor, const lb_factor_options *basis, const lb_factor **out, lbrt_error *err);
    lbrt_status (*packed)(void *user, const char *name, const struct lb_tensor *tensor, lbrt_error *err);
    void (*done)(void *user);
    void *user;
} lb_convert_calib;

typedef struct lb_convert_options {
    lb_wformat format;            /* of the linear layers */
    const lb_convert_rule *rules; /* the last that matches wins */
    size_t n_rules;
    unsigned threads;             /* 0: all */
    float salient_rows;           /* percent of each layer's rows, those that its format hurts most, become q8 (after MixLLM, arXiv 2412.14590) */
    float outliers;               /* percent of each row's weights, those that the format hurts most, are kept as f16 (after SpQR, arXiv 2306.03078) */
    size_t lowrank;               /* above 0: layers get a low-rank term of this rank beside their format (lb_lowrank.h) */
    bool sparse;                  /* layers that are 2:4 become s24q8 or s24q4, those of which more than half is zero masks and values */
    const lb_convert_calib *calib; /* NULL: none */
    const char *origin;           /* recorded in the file: what it was made from; may be NULL */
    /* Called now and then with the share that is done, and once per tensor with its report. May be NULL. */
    void (*progress)(void *user, double done, const char *tensor);
    void (*tensor)(void *user, const lb_convert_tensor_report *report);
    void *user;
} lb_convert_options;

lbrt_status lb_convert(const lb_source *source, const char *path, const lb_convert_options *options,
                       const lbrt_allocator *a, lbrt_error *err);

/*
 * The format that a matrix gets under these options: that of the last rule that matches; else tern for matrices that are
 * ternary already, as any other format only adds bits or error; else options' format, or q8 for embedding and head.
 */
lb_wformat lb_convert_format(const lb_convert_options *o, const lb_source_tensor *tensor);

/* True if a name is that of a vector (norms, biases). */
bool lb_convert_is_vector(const char *name);

/*
 * The rotation of the input of n columns (a multiple of 64) that a tensor reads, as the file has it: n / 8 + LB_ROTATION_HEAD bytes, made
 * from the input's name alone. Returns the size of its blocks.
 */
enum { LB_ROTATION_HEAD = 8 };
uint32_t lb_convert_rotation(const char *tensor, uint32_t n, unsigned char *bytes);

bool lb_glob_match(const char *glob, const char *text);

/* Random weights at the shape of a real model; seed is fixed, so a shape always gives the same file. */
lbrt_status lb_source_open_synth(const char *shape, const lbrt_allocator *a, lb_source **out, lbrt_error *err);

/* Shape i's name, NULL past the end. */
const char *lb_synth_shape(size_t i);

#endif /* LB_CONVERT_H */
