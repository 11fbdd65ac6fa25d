/* Finding out what an input is, from its content; and tokenizers that come from a file of their own. */
#include "lb_source.h"

#include "lb_import.h"

#define SOURCE_MAGIC_GGUF    0x46554747u
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
    /* A llama2.c file without magic begins with the model's width; a file of another kind does not look like
     * a width. */
    bool may_be_legacy = bytes >= 28 && magic > 0 && magic < (1u << 20);
    bool is_safetensors = bytes >= 9 && map.data[8] == '{' && lb_load_u64(map.data) < bytes;
    bool is_zip = bytes >= 8 && (magic & 0xffffu) == 0x4b50;
    lb_map_close(&map);
    if (magic == SOURCE_MAGIC_GGUF) {
        return lb_source_open_gguf(path, tokenizer_path, a, out, err);
    }
    LB_FAIL_IF(is_safetensors || source_ends_with(path, ".json"), err, LBRT_ERR_UNSUPPORTED,
               "%s is part of a Hugging Face model: give the folder", path);
    if (magic == SOURCE_MAGIC_LLAMA2C || may_be_legacy) {
        return lb_source_open_llama2c(path, tokenizer_path, a, out, err);
    }
    LB_FAIL_IF(is_zip, err, LBRT_ERR_UNSUPPORTED, "%s is a PyTorch archive; convert it to safetensors first",
               path);
    return lb_fail(err, LBRT_ERR_FORMAT,
                   "%s is neither a GGUF file, nor a Hugging Face folder, nor a llama2.c model", path);
}

/*
 * What a tokenizer file is: GGUF by its magic; JSON by its brace; a SentencePiece model is a protocol
 * buffer whose first field is a piece (tag 10, then a length that is not 0); tokenizer.bin begins with a
 * small number, the length of its longest token.
 */
static lbrt_status source_parse_tokens(const lb_map *map, const char *path, uint32_t n_vocab,
                                       const lbrt_allocator *a, lb_tokdata **out, lbrt_error *err)
{
    size_t at = 0;
    while (at < map->bytes && at < 64 && strchr(" \t\r\n\xef\xbb\xbf", map->data[at]) != NULL &&
           map->data[at] != 0) {
        at++;
    }
    LB_FAIL_IF(map->bytes < 8, err, LBRT_ERR_FORMAT, "%s is no tokenizer", path);
    if (lb_load_u32(map->data) == SOURCE_MAGIC_GGUF) {
        LB_TRY(lb_import_gguf_tokens(map, a, out, err));
        LB_FAIL_IF(*out == NULL, err, LBRT_ERR_FORMAT, "%s has no tokenizer", path);
        return LBRT_OK;
    }
    if (at < map->bytes && map->data[at] == '{') {
        return lb_tokdata_from_hf_json((const char *)map->data, map->bytes, a, out, err);
    }
    if (map->data[0] == 10 && map->data[1] != 0) {
        return lb_tokdata_from_sentencepiece(map->data, map->bytes, a, out, err);
    }
    return lb_tokdata_from_llama2c(map->data, map->bytes, n_vocab, a, out, err);
}

lbrt_status lb_import_load_tokens(const char *path, uint32_t n_vocab, const lbrt_allocator *a,
                                  lb_tokdata **out, lbrt_error *err)
{
    *out = NULL;
    lb_map map;
    LB_TRY(lb_map_open(path, &map, err));
    lbrt_status status = source_parse_tokens(&map, path, n_vocab, a, out, err);
    lb_map_close(&map);
    return status;
}

lbrt_status lb_import_other_tokens(lb_import *im, const char *path, lbrt_error *err)
{
    lb_tokdata_free(im->source.tokens);
    im->source.tokens = NULL;
    return lb_import_load_tokens(path, im->source.hparams.n_vocab, &im->a, &im->source.tokens, err);
}
