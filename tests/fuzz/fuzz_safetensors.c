/* A safetensors file: its table, and a Hugging Face folder that has it as its weights. */
#include "../../formats/import/lb_safetensors.h"
#include "fuzz_source.h"

#include <stdio.h>
#include <unistd.h>

#include "../lb_test.h"
#include "../make_models.h"

static const char *folder(const uint8_t *data, size_t bytes)
{
    static char dir[256], weights[300];
    if (!dir[0]) {
        mk_blob config = { NULL, 0, 0 };
        mk_config("LlamaForCausalLM", "", &config);
        snprintf(dir, sizeof dir, "%s", mk_folder("fuzz-hf", &config, NULL));
        snprintf(weights, sizeof weights, "%s/model.safetensors", dir);
        mk_free(&config);
    }
    mk_write(weights, data, bytes);
    return dir;
}

LB_FUZZ_TARGET(safetensors)
{
    const size_t alive = lb_fuzz_alive();
    const lbrt_allocator *a = lb_fuzz_allocator(0);
    lbrt_error err = { LBRT_OK, "" };
    unsigned char *file = lb_fuzz_copy(data, bytes);
    lb_safetensors t;
    lbrt_status s = lb_safetensors_read(file, bytes, a, &t, &err);
    lb_fuzz_error(s, &err);
    if (s == LBRT_OK) {
        for (size_t i = 0; i < t.n; i++) {
            lb_fuzz_check(t.tensors[i].data >= file && t.tensors[i].bytes <= (size_t)(file + bytes - t.tensors[i].data), "a tensor outside");
        }
        lb_safetensors_free(&t);
        lb_source *source = NULL;
        s = lb_source_open_hf(folder(data, bytes), NULL, a, &source, &err);
        lb_fuzz_error(s, &err);
        if (s == LBRT_OK) {
            fuzz_source(source);
        }
    }
    free(file);
    lb_fuzz_check(lb_fuzz_alive() == alive, "a leak");
    return 0;
}
