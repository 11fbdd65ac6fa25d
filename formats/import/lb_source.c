/* Finding out what an input is, from its content, and calling its importer. */
#include "lb_source.h"

#include "../../runtime/base/lb_os.h"
#include "../container/lb_container.h"
#include "lb_gguf.h"

#define SOURCE_MAGIC_LLAMA2C 0x616b3432u /* "ak42" read as one number: version 1 and later */

static bool source_ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && memcmp(s + n - m, end, m) == 0;
}

lbrt_status lb_source_open(const char *path, const char *tokenizer_path, const lbrt_allocator *a,
                           lb_source **out, lbrt_error *err)
{
    *out = NULL;
    if (lb_path_is_dir(path)) {
        return lb_source_open_hf(path, tokenizer_path, a, out, err);
    }
    lb_map map;
    LB_TRY(lb_map_open(path, &map, err));
    size_t bytes = map.bytes;
    uint32_t magic = bytes >= 8 ? lb_load_u32(map.data) : 0;
    /* A llama2.c file without magic begins with the model's width; other files do not look like one. */
    bool may_be_legacy = bytes >= 28 && magic > 0 && magic < (1u << 20);
    bool is_safetensors = bytes >= 9 && map.data[8] == '{' && lb_load_u64(map.data) < bytes;
    bool is_zip = bytes >= 8 && (magic & 0xffffu) == 0x4b50;
    bool is_lbrt = bytes >= 8 && memcmp(map.data, lb_file_magic, sizeof lb_file_magic) == 0;
    lb_map_close(&map);
    if (magic == LB_GGUF_MAGIC) {
        return lb_source_open_gguf(path, tokenizer_path, a, out, err);
    }
    LB_FAIL_IF(is_safetensors || source_ends_with(path, ".json"), err, LBRT_ERR_UNSUPPORTED,
               "%s is part of a Hugging Face model: give the folder", path);
    if (magic == SOURCE_MAGIC_LLAMA2C || may_be_legacy) {
        return lb_source_open_llama2c(path, tokenizer_path, a, out, err);
    }
    LB_FAIL_IF(is_zip, err, LBRT_ERR_UNSUPPORTED, "%s is a PyTorch archive; convert it to safetensors first",
               path);
    LB_FAIL_IF(is_lbrt, err, LBRT_ERR_UNSUPPORTED, "%s is a .lbrt file already: convert what it was made from", path);
    return lb_fail(err, LBRT_ERR_FORMAT,
                   "%s is neither a GGUF file, nor a Hugging Face folder, nor a llama2.c model", path);
}
