#include "import_matrix.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lb_test.h"

void ip_put(mk_safetensors *s, const char *suffix, const char *dtype, const char *shape, const void *data, size_t bytes)
{
    char name[128];
    snprintf(name, sizeof name, "%s%s", IP_NAME, suffix);
    mk_st_tensor(s, name, dtype, shape, data, bytes);
}

void ip_begin(mk_safetensors *s)
{
    *s = (mk_safetensors){ { NULL, 0, 0 }, { NULL, 0, 0 } };
    mk_st_weights(s, "F32", IP_NAME ".weight", true);
}

lb_source *ip_open(mk_safetensors *s, const char *more, lbrt_error *err)
{
    mk_blob config = { NULL, 0, 0 }, weights = { NULL, 0, 0 };
    lb_source *source = NULL;
    mk_config("LlamaForCausalLM", more, &config);
    mk_st_end(s, &weights);
    *err = (lbrt_error){ LBRT_OK, "" };
    (void)lb_source_open(mk_folder("parts", &config, &weights), NULL, NULL, &source, err);
    mk_free(&config);
    mk_free(&weights);
    return source;
}

void ip_compare(mk_safetensors *s, const char *more, const float *want, float tolerance)
{
    lbrt_error err;
    lb_source *source = ip_open(s, more, &err);
    if (!LB_CHECK(source, "%s", err.text)) {
        return;
    }
    bool found = false;
    for (size_t i = 0; i < source->n_tensors; i++) {
        if (strcmp(source->tensors[i].name, "layers.0.ffn_down") == 0) {
            float got[IP_ROWS * IP_COLS];
            found = true;
            for (uint64_t r = 0; r < IP_ROWS; r += 5) {
                const uint64_t n = IP_ROWS - r < 5 ? IP_ROWS - r : 5;
                LB_CHECK(source->read_rows(source, i, r, n, got + r * IP_COLS, &err) == LBRT_OK, "%s", err.text);
            }
            size_t bad = 0;
            for (size_t j = 0; j < IP_ROWS * IP_COLS; j++) {
                bad += !(fabsf(got[j] - want[j]) <= tolerance * fabsf(want[j]));
            }
            LB_CHECK(bad == 0, "%zu weights differ", bad);
        }
    }
    LB_CHECK(found, "no such matrix");
    source->close(source);
}

void ip_refused(mk_safetensors *s, const char *more, const char *why)
{
    lbrt_error err;
    lb_source *source = ip_open(s, more, &err);
    if (!LB_CHECK(!source && strstr(err.text, why), "'%s' instead of '...%s...'", err.text, why) && source) {
        source->close(source);
    }
}
