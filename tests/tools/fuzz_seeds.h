/* What the files of tests/tools/fuzz_seeds*.c share. */
#ifndef FUZZ_SEEDS_H
#define FUZZ_SEEDS_H

#include <stddef.h>

/* Writes FOLDER/target/name: a byte (if first is not below 0), then the data. */
void put(const char *target, const char *name, int first, const void *data, size_t bytes);

void seeds_container(void);
void seeds_gguf(void);
void seeds_safetensors(void);

#endif /* FUZZ_SEEDS_H */
