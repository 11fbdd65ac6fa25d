/* The first inputs of the fuzz targets gguf and safetensors, for fuzz_seeds.c. */
#ifndef FUZZ_SEEDS_IMPORT_H
#define FUZZ_SEEDS_IMPORT_H

#include <stddef.h>

/* As put of fuzz_seeds.c: a file of a target's corpus, its first byte (below 0: none) and its data. */
typedef void (*fuzz_seeds_put)(const char *target, const char *name, int first, const void *data, size_t bytes);

void fuzz_seeds_gguf(fuzz_seeds_put put);
void fuzz_seeds_safetensors(fuzz_seeds_put put);

#endif /* FUZZ_SEEDS_IMPORT_H */
