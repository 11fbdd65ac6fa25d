/* A GGUF file: its tables, and all that the importer makes of it. */
#include "../../formats/import/lb_gguf.h"
#include "fuzz_source.h"

LB_FUZZ_TARGET(gguf)
{
    const size_t alive = lb_fuzz_alive();
    const lbrt_allocator *a = lb_fuzz_allocator(0);
    lbrt_error err = { LBRT_OK, "" };
    unsigned char *file = lb_fuzz_copy(data, bytes);
    lb_gguf g;
    lbrt_status s = lb_gguf_read(file, bytes, a, &g, &err);
    lb_fuzz_error(s, &err);
    if (s == LBRT_OK) {
        for (size_t i = 0; i < g.n_tensors; i++) {
            lb_fuzz_check(g.tensors[i].data >= file && g.tensors[i].bytes <= (size_t)(file + bytes - g.tensors[i].data), "a tensor outside");
        }
        lb_gguf_free(&g);
    }
    free(file);
    const char *path = lb_fuzz_file(data, bytes);
    lb_source *source = NULL;
    if (path) {
        s = lb_source_open_gguf(path, NULL, a, &source, &err);
        lb_fuzz_error(s, &err);
        if (s == LBRT_OK) {
            fuzz_source(source);
        }
    }
    lb_fuzz_check(lb_fuzz_alive() == alive, "a leak");
    return 0;
}
