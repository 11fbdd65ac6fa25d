/* The tensor types of GGUF against ggml's own reference, bit for bit. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/import/lb_ggml_types.h"
#include "lb_test.h"

#include "data/ggml_vectors.inc"

#define VEC_BLOCKS 4000u

static void check_vector(const vec_case *c)
{
    const lb_ggml_type *type = lb_ggml_type_find(c->id);
    lb_test_case("ggml type %u (%s)", (unsigned)c->id, type != NULL ? type->name : "unknown");
    if (!LB_CHECK(type != NULL && type->dequantize != NULL, "type %u is there", (unsigned)c->id) ||
        !LB_CHECK(type->block == c->block && type->bytes == c->bytes, "block of %u weights in %u bytes",
                  (unsigned)type->block, (unsigned)type->bytes)) {
        return;
    }
    float out[256];
    type->dequantize(c->src, out, 1);
    size_t wrong = 0;
    for (size_t i = 0; i < c->block; i++) {
        uint32_t bits;
        memcpy(&bits, out + i, 4);
        wrong += bits != c->out[i];
    }
    LB_CHECK(wrong == 0, "%zu of %u floats differ from ggml's", wrong, (unsigned)c->block);

    unsigned char *src = malloc((size_t)VEC_BLOCKS * c->bytes);
    float *many = malloc((size_t)VEC_BLOCKS * c->block * sizeof *many);
    if (LB_CHECK(src != NULL && many != NULL, "memory")) {
        uint64_t state = 12345u + c->id; /* the generator that made the reference's blocks */
        for (size_t i = 0; i < (size_t)VEC_BLOCKS * c->bytes; i++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            src[i] = (unsigned char)(state >> 56);
        }
        type->dequantize(src, many, VEC_BLOCKS);
        for (size_t i = 0; i < (size_t)VEC_BLOCKS * c->block; i++) {
            uint32_t bits;
            memcpy(&bits, many + i, 4);
            lb_store_u32(many + i, isnan(many[i]) ? 0x7fc00000u : bits);
        }
        uint64_t hash = lb_hash64(many, (size_t)VEC_BLOCKS * c->block * 4);
        LB_CHECK(hash == c->hash, "hash %016llx of random blocks", (unsigned long long)hash);
    }
    free(many);
    free(src);
}

static void check_plain(void)
{
    static const unsigned char f32[] = { 0x00, 0x00, 0xc0, 0xbf };
    static const unsigned char f16[] = { 0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00, 0xff, 0x7b };
    static const unsigned char bf16[] = { 0x80, 0x3f, 0x20, 0xc1 };
    static const unsigned char f64[] = { 0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f, /* 0.1 */
                                         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xef, 0x7f };
    float out[4];
    lb_test_case("ggml plain types");
    lb_ggml_type_find(LB_GGML_F32)->dequantize(f32, out, 1);
    LB_CHECK(out[0] == -1.5f, "f32 %g", (double)out[0]);
    lb_ggml_type_find(LB_GGML_F16)->dequantize(f16, out, 4);
    LB_CHECK(out[0] == 1.0f && out[1] == -2.0f && out[2] == 0x1p-24f && out[3] == 65504.0f, "f16 %g",
             (double)out[2]);
    lb_ggml_type_find(LB_GGML_BF16)->dequantize(bf16, out, 2);
    LB_CHECK(out[0] == 1.0f && out[1] == -10.0f, "bf16 %g %g", (double)out[0], (double)out[1]);
    lb_ggml_type_find(LB_GGML_F64)->dequantize(f64, out, 2);
    LB_CHECK(out[0] == 0.1f && isinf(out[1]), "f64 %g %g", (double)out[0], (double)out[1]);
}

static void check_names(void)
{
    lb_test_case("ggml types known by name only");
    static const struct {
        uint32_t id;
        const char *name;
    } known[] = { { 4, "q4_2" }, { 9, "q8_1" },   { 15, "q8_k" }, { 24, "i8" },  { 27, "i64" },
                  { 38, "tl1" } };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const lb_ggml_type *type = lb_ggml_type_find(known[i].id);
        LB_CHECK(type != NULL && strcmp(type->name, known[i].name) == 0 && type->dequantize == NULL, "%s",
                 known[i].name);
    }
    LB_CHECK(lb_ggml_type_find(43) == NULL && lb_ggml_type_find(UINT32_MAX) == NULL, "no such type");
}

static void check_one_scale(void)
{
    lb_test_case("one scale for a ternary tensor");
    const lb_ggml_type *type = lb_ggml_type_find(LB_GGML_TQ2_0);
    unsigned char src[3 * 66];
    float scale;
    memset(src, 0x55, sizeof src); /* all zero */
    for (size_t b = 0; b < 3; b++) {
        lb_store_u16(src + 66 * b + 64, b == 1 ? 0 : 0x3800); /* 0.5, and no scale for the block of zeros */
    }
    src[0] = 0x64; /* 0, 1, 2, 1: one weight -1, one 1 */
    src[2 * 66 + 9] = 0x51;
    LB_CHECK(lb_ggml_one_scale(type, src, 3, &scale) && scale == 0.5f, "scale %g", (double)scale);
    src[66 + 3] = 0x54;
    lb_store_u16(src + 66 + 64, 0x3801);
    LB_CHECK(!lb_ggml_one_scale(type, src, 3, &scale), "two scales");
    lb_store_u16(src + 66 + 64, 0x3800);
    LB_CHECK(lb_ggml_one_scale(type, src, 3, &scale), "one again");
    src[66 + 3] = 0x57; /* the fourth code stands for 2 */
    LB_CHECK(!lb_ggml_one_scale(type, src, 3, &scale), "a code that is not ternary");
    LB_CHECK(!lb_ggml_one_scale(lb_ggml_type_find(8), src, 3, &scale), "no ternary type");
    float w[1000] = { 0 };
    type = lb_ggml_type_find(LB_GGML_F32);
    LB_CHECK(!lb_ggml_one_scale(type, (unsigned char *)w, 1000, &scale), "only zeros");
    w[3] = -0.75f;
    w[998] = 0.75f;
    LB_CHECK(lb_ggml_one_scale(type, (unsigned char *)w, 1000, &scale) && scale == 0.75f, "floats");
    w[999] = NAN;
    LB_CHECK(!lb_ggml_one_scale(type, (unsigned char *)w, 1000, &scale), "not a number");
    w[999] = INFINITY;
    LB_CHECK(!lb_ggml_one_scale(type, (unsigned char *)w, 1000, &scale), "infinity");
    w[999] = 0.5f;
    LB_CHECK(!lb_ggml_one_scale(type, (unsigned char *)w, 1000, &scale), "another size");
}

void test_ggml_types(void)
{
    for (size_t i = 0; i < sizeof vec_cases / sizeof vec_cases[0]; i++) {
        check_vector(&vec_cases[i]);
    }
    check_plain();
    check_names();
    check_one_scale();
}
