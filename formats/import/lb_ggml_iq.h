/* The types of ggml whose weights are vectors of a fixed grid (IQ1 to IQ3); lb_ggml_types.c lists them. */
#ifndef LB_GGML_IQ_H
#define LB_GGML_IQ_H

#include <stddef.h>

/* As lb_ggml_type.dequantize; a block has 256 weights. */
void lb_ggml_rows_iq2_xxs(const unsigned char *src, float *out, size_t blocks);
void lb_ggml_rows_iq2_xs(const unsigned char *src, float *out, size_t blocks);
void lb_ggml_rows_iq2_s(const unsigned char *src, float *out, size_t blocks);
void lb_ggml_rows_iq3_xxs(const unsigned char *src, float *out, size_t blocks);
void lb_ggml_rows_iq3_s(const unsigned char *src, float *out, size_t blocks);
void lb_ggml_rows_iq1_s(const unsigned char *src, float *out, size_t blocks);
void lb_ggml_rows_iq1_m(const unsigned char *src, float *out, size_t blocks);

#endif /* LB_GGML_IQ_H */
