/*
 * Quantized matrices as the code of their makers packs them, and as it decodes them (tests/data/makers, by tests/gen_makers.py): the source must give the same numbers. The other
 * tests of these formats pack by our own understanding of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../formats/import/lb_safetensors.h"
#include "import_matrix.h"
#include "lb_test.h"

void test_import_makers(void);

static void im_compare(const char *name)
{
    lb_test_case("as packed by its makers: %s", name);
    char path[128];
    snprintf(path, sizeof path, "tests/data/makers/%s.safetensors", name);
    size_t bytes = 0;
    char *data = lb_test_read(path, &bytes);
    lb_safetensors file;
    lbrt_error err = { LBRT_OK, "" };
    if (!LB_CHECK(data && lb_safetensors_read(data, bytes, NULL, &file, &err) == LBRT_OK, "%s: %s", path, err.text)) {
        free(data);
        return;
    }
    const lb_json *quantization = lb_json_get(lb_json_get(lb_json_root(file.header), "__metadata__"), "quantization_config");
    char config[2048];
    snprintf(config, sizeof config, "\"quantization_config\":%s", quantization ? quantization->text : "null");
    static float want[IP_ROWS * IP_COLS];
    mk_safetensors s;
    ip_begin(&s);
    for (size_t i = 0; i < file.n; i++) {
        const lb_safetensor *t = &file.tensors[i];
        if (strcmp(t->name, "want") == 0 && t->bytes == sizeof want) {
            memcpy(want, t->data, sizeof want);
            continue;
        }
        char shape[80] = "";
        for (uint32_t k = 0; k < t->n_dims; k++) {
            snprintf(shape + strlen(shape), sizeof shape - strlen(shape), k ? ",%llu" : "%llu", (unsigned long long)t->shape[k]);
        }
        ip_put(&s, t->name, t->dtype, shape, t->data, (size_t)t->bytes);
    }
    ip_compare(&s, config, want, 1e-6f);
    lb_safetensors_free(&file);
    free(data);
}

void test_import_makers(void)
{
    static const char *const names[] = { "gptq-3",    "gptq-4",       "gptq_v2-2",    "gptq_v2-8",     "gptq_p-5",    "awq-gemm",        "awq-gemv",
                                         "awq-gemv_fast", "packed-3",  "packed-4",     "packed-7",      "aqlm",        "aqlm-rectangles", "hqq-1",
                                         "hqq-3-across",  "hqq-4",     "vptq-packed",  "vptq-outliers", "bitsandbytes-nf4", "bitsandbytes-fp4" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        im_compare(names[i]);
    }
}
