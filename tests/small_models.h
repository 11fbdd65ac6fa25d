/*
 * Small .lbrt files of random weights for the tests of the reader, the engine and the sessions.
 *
 *   micro  288 tokens with a tokenizer and a chat template, 2 layers, shapes that are multiples of nothing:
 * width 40, 4 heads of 10 on 2 KV heads, 8 rotated dimensions, feed-forward 72; biases and norms on queries
 * and keys bits   BitNet's form: sub-norms, squared ReLU, tied head, Llama 3's rotary rule, rotation of pairs
 * (2 i, 2 i + 1) tiny   lb_source_open_synth("tiny"): 512 tokens, 3 layers, width 128
 */
#ifndef SMALL_MODELS_H
#define SMALL_MODELS_H

#include "../formats/pack/lb_convert.h"

/* Opens the source of a shape; NULL after a failed check. */
lb_source *sm_source(const char *shape);

/* The path of a shape converted to a weight format, made once per run; NULL after a failed check. Static
 * storage. */
const char *sm_file(const char *shape, const char *format);

/* A file in 64-byte aligned memory, to be freed; NULL after a failed check. */
unsigned char *sm_load(const char *path, size_t *bytes);

/* An opened model; isa may be NULL. NULL after a failed check. */
lbrt_model *sm_model(const char *shape, const char *format, const char *isa);

/* n tokens below n_vocab that depend on nothing but n_vocab, salt and their place. */
void sm_tokens(lbrt_token *out, size_t n, uint32_t n_vocab, uint32_t salt);

/*
 * The logits of n tokens (of sm_tokens, n at most SM_MAX_LOGITS) on a file, n rows of its vocabulary, fed in batches, on a level. False and zeros
 * after a failed check.
 */
enum { SM_MAX_LOGITS = 32 };
bool sm_logits(const char *path, const char *isa, uint32_t batch, uint32_t threads, size_t n, float *out);

#endif /* SMALL_MODELS_H */
