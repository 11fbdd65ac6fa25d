/* What lbrt-convert tells of a conversion: progress, a line per tensor, a summary, JSON. */
#ifndef LB_CONVERT_REPORT_H
#define LB_CONVERT_REPORT_H

#include "calib/lb_calib.h"

typedef struct lb_report_line {
    char name[64], format[8];
    uint64_t weights, bytes;
    double relative_error, output_error, seconds;
} lb_report_line;

typedef struct lb_convert_view {
    bool terminal, verbose, quiet;
    bool hint; /* a text to calibrate with would have helped */
    double started, shown;
    uint64_t weights, bytes;
    unsigned n_warnings;
    lb_report_line *lines; /* NULL: they are not kept */
    size_t n_lines, max_lines;
} lb_convert_view;

/* Callbacks of lb_convert; user is the view. */
void lb_view_progress(void *user, double done, const char *tensor);
void lb_view_tensor(void *user, const lb_convert_tensor_report *report);

/* calib: NULL if there was none */
void lb_view_summary(const lb_convert_view *v, const char *path, bool tokenizer, const lb_calib_report *calib);
void lb_view_json(const lb_convert_view *v, const char *path, const lb_calib_report *calib);

#endif /* LB_CONVERT_REPORT_H */
