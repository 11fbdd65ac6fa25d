/* Tokenizers that come from a file of their own, whatever kind it is. */
#include "lb_gguf.h"
#include "lb_import.h"

static lbrt_status import_gguf_tokens(const lb_map *map, const lbrt_allocator *a, lb_tokdata **out,
                                      lbrt_error *err)
{
    lb_gguf g;
    LB_TRY(lb_gguf_read(map->data, map->bytes, a, &g, err));
    lbrt_status status = lb_import_gguf_vocabulary(&g, a, out, err);
    lb_gguf_free(&g);
    return status;
}

/*
 * What a tokenizer file is: GGUF by its magic; JSON by its brace; a SentencePiece model is a protocol
 * buffer whose first field is a piece (tag 10, then a length that is not 0); tokenizer.bin begins with a
 * small number, the length of its longest token.
 */
static lbrt_status import_parse_tokens(const lb_map *map, const char *path, uint32_t n_vocab,
                                       const lbrt_allocator *a, lb_tokdata **out, lbrt_error *err)
{
    size_t at = 0;
    while (at < map->bytes && at < 64 && strchr(" \t\r\n\xef\xbb\xbf", map->data[at]) != NULL &&
           map->data[at] != 0) {
        at++;
    }
    LB_FAIL_IF(map->bytes < 8, err, LBRT_ERR_FORMAT, "%s is no tokenizer", path);
    if (lb_load_u32(map->data) == LB_GGUF_MAGIC) {
        LB_TRY(import_gguf_tokens(map, a, out, err));
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
    lbrt_status status = import_parse_tokens(&map, path, n_vocab, a, out, err);
    lb_map_close(&map);
    return status;
}

lbrt_status lb_import_other_tokens(lb_import *im, const char *path, lbrt_error *err)
{
    lb_tokdata_free(im->source.tokens);
    im->source.tokens = NULL;
    return lb_import_load_tokens(path, im->source.hparams.n_vocab, &im->a, &im->source.tokens, err);
}
