/*
 * Random programs of calls for the target api. Mutations of bytes rarely get a long prompt, a compression and a fork between sessions of one kind
 * into one program; these do.
 */
#include "lb_fuzz.h"

/* Of 100 calls on a session so many are of each operation (fuzz_api.c) */
static const struct {
    uint8_t op, often;
} program_calls[] = { { 24, 24 }, /* feed */   { 20, 8 } /* verify */, { 4, 8 } /* rewind */,    { 5, 8 } /* fork */,       { 6, 6 } /* save */,
                      { 7, 8 } /* restore */,  { 9, 6 } /* generate */, { 11, 4 } /* embed */,   { 13, 3 } /* cancelled */, { 14, 4 } /* progress says no */,
                      { 15, 4 } /* cancel */,  { 16, 8 } /* compress */, { 18, 5 } /* attach */, { 8, 2 } /* sample */,     { 22, 1 } /* pending */,
                      { 23, 1 } /* free */ };

static unsigned below(uint64_t *seed, unsigned n)
{
    return (unsigned)(lb_fuzz_random(seed) >> 8) % n;
}

static uint8_t program_op(uint64_t *seed)
{
    unsigned at = below(seed, 100);
    for (size_t i = 0; i < sizeof program_calls / sizeof program_calls[0]; i++) {
        if (at < program_calls[i].often) {
            return program_calls[i].op;
        }
        at -= program_calls[i].often;
    }
    return 24;
}

/* What an operation reads first, where most values would make no sense; the rest of what it reads is the next calls. */
static size_t program_arguments(uint64_t *seed, uint8_t op, uint8_t *out)
{
    size_t n = 0;
    switch (op) {
    case 24:
    case 13:
    case 14:
    case 15: out[n++] = (uint8_t)(below(seed, 3) ? 128 + below(seed, 128) : below(seed, 64)); break; /* how many tokens */
    case 16: out[n++] = (uint8_t)(128 + below(seed, 16) + (below(seed, 6) ? 0 : 32) + (below(seed, 12) ? 0 : 64)); break;
    case 4: /* back by some, more often than to a place */
        out[n++] = (uint8_t)below(seed, 256);
        out[n++] = (uint8_t)(below(seed, 3) ? 8 : below(seed, 8));
        break;
    case 5:
        out[n++] = (uint8_t)below(seed, 4);
        out[n++] = (uint8_t)(below(seed, 2) ? 255 : below(seed, 256));
        break;
    case 7:
        out[n++] = (uint8_t)below(seed, 2);
        out[n++] = (uint8_t)(below(seed, 5) ? 64 + below(seed, 192) : below(seed, 64));
        break;
    default: break;
    }
    return n;
}

size_t lb_fuzz_api_program(uint64_t *seed, uint8_t *out, size_t cap)
{
    static const uint8_t formats[] = { 0, 0, 0, 12, 18, 12, 18, 24, 4, 6 };
    const unsigned sessions = 1 + below(seed, 3), alike = below(seed, 3);
    const uint8_t kind = formats[below(seed, 10)], more = (uint8_t)below(seed, 8);
    size_t n = 0;
    for (unsigned i = 0; i < sessions; i++) { /* of 300 or 1400 tokens, one in three with embeddings */
        const unsigned how = (below(seed, 4) ? 3 : 2) | (below(seed, 256) & (below(seed, 3) ? 0xdcu : 0xfcu));
        out[n++] = (uint8_t)(i << 5);
        out[n++] = (uint8_t)how;
        out[n++] = alike ? kind : formats[below(seed, 10)];
        out[n++] = alike ? more : (uint8_t)below(seed, 8);
    }
    for (unsigned calls = 20 + below(seed, 60); calls > 0 && n + 4 <= cap; calls--) {
        const uint8_t op = program_op(seed);
        out[n++] = (uint8_t)(op | below(seed, sessions) << 5);
        n += program_arguments(seed, op, out + n);
    }
    return n;
}

#ifdef LB_FUZZER
size_t LLVMFuzzerMutate(uint8_t *data, size_t bytes, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t max, unsigned seed);

/* In front of libFuzzer's own mutations; only the target api is linked with this. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t max, unsigned seed)
{
    uint64_t state = seed;
    if (seed % 4 != 0 || max < 64) {
        return LLVMFuzzerMutate(data, bytes, max);
    }
    return lb_fuzz_api_program(&state, data, max < LB_FUZZ_PROGRAM ? max : LB_FUZZ_PROGRAM);
}
#endif
