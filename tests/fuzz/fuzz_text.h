/* Text through tokenizers of ours: what a user types is as hostile as a file. For the target tokenizer. */
#ifndef FUZZ_TEXT_H
#define FUZZ_TEXT_H

#include "../../formats/import/lb_tokdata.h"
#include "lb_fuzz.h"

enum { FUZZ_VOCABULARIES = 17 };

typedef struct fuzz_vocabulary {
    lb_tok_model model;
    lb_pretokenizer pretokenizer;
    uint32_t flags;
    bool users; /* user-defined tokens, which are found in every text and swallow white space beside them */
    bool unknown; /* not all bytes have a token: there is one for what is unknown */
    lb_tokenizer *tokenizer;
} fuzz_vocabulary;

/* Number i of them, made at its first use and kept. They take their memory from lb_fuzz_allocator. */
const fuzz_vocabulary *fuzz_vocabulary_get(unsigned i);

/*
 * Encodes a text (flags of LBRT_TOKENIZE_...) and decodes it: what must hold for every text. With fail_at, once more before with that allocation
 * failing.
 */
void fuzz_text(const fuzz_vocabulary *v, const char *text, size_t bytes, unsigned flags, uint64_t fail_at);

#endif /* FUZZ_TEXT_H */
