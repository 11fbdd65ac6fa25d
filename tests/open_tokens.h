/* A tokenizer for tests, from what an importer read: written to a section, and opened. */
#ifndef OPEN_TOKENS_H
#define OPEN_TOKENS_H

#include "../formats/import/lb_tokdata.h"

typedef struct opened {
    lb_tokenizer *t;
    void *section;
    size_t bytes;
} opened;

/* Writes and opens; takes the data. t is NULL after a failed check. */
opened open_data(lb_tokdata *data, lbrt_status status, const char *what);

void close_opened(opened *o);

#endif /* OPEN_TOKENS_H */
