/*
 * The tensor types of GGUF files: their blocks, and how a block becomes floats.
 *
 * The floats are those of ggml's own dequantize_row_* reference functions, bit for bit: the same operations
 * on floats in the same order. Signalling NaNs are the exception (the half-precision conversions of lb_math.h
 * make them quiet).
 */
#ifndef LB_GGML_TYPES_H
#define LB_GGML_TYPES_H

#include <math.h>

#include "../../runtime/base/lb_base.h"

enum {
    LB_GGML_F32 = 0,
    LB_GGML_F16 = 1,
    LB_GGML_F64 = 28,
    LB_GGML_BF16 = 30,
    LB_GGML_TQ1_0 = 34,
    LB_GGML_TQ2_0 = 35,
    LB_GGML_I2_S = 36 /* in files of the BitNet fork; elsewhere the number of a type that was withdrawn */
};

typedef struct lb_ggml_type {
    uint32_t id;
    const char *name;
    uint32_t block; /* weights in a block; a row is a whole number of blocks */
    uint32_t bytes; /* of a block */
    /* Writes blocks * block floats; NULL if lbrt knows this type by its name only. src needs no alignment. */
    void (*dequantize)(const unsigned char *src, float *out, size_t blocks);
} lb_ggml_type;

/*
 * NULL if the number means nothing to lbrt. I2_S has no dequantize function here: its scale belongs to the
 * whole tensor.
 */
const lb_ggml_type *lb_ggml_type_find(uint32_t id);

/*
 * True if all weights of a TQ1_0, TQ2_0, F32, F16 or BF16 tensor are -1, 0 or 1 times one number, written to
 * *scale: a positive and finite one. Reads on while that holds, so the whole tensor if it is true and hardly
 * any of it if it is not.
 */
bool lb_ggml_one_scale(const lb_ggml_type *type, const unsigned char *src, uint64_t blocks, float *scale);

/* Twice the numbers of 4 bits, the highest the sign (OCP's E2M1). */
extern const int8_t lb_e2m1_twice[16];

/* A number of 8 bits with 4 of exponent: no infinities, all ones is none (OCP's E4M3). */
float lb_e4m3_f32(unsigned char b);

/* A double as a float; infinite beyond the range of floats, where C leaves the conversion undefined. */
static inline float lb_import_f32(double v)
{
    return v > 0x1.fffffefffffffp127 ? HUGE_VALF : v < -0x1.fffffefffffffp127 ? -HUGE_VALF : (float)v;
}

#endif /* LB_GGML_TYPES_H */
