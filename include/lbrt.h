/*
 * lbrt: the low-bit runtime. Runs transformer language models on the CPU.
 *
 * This header is the whole interface; what is not written here is not promised.
 *
 * Objects     lbrt_model    an opened .lbrt file: read-only, shared by any number of sessions.
 *             lbrt_session  one conversation: KV cache, scratch memory and worker threads.
 * Threads     A model may be used from any thread at any time until it is closed. A session is used
 *             by one thread at a time; different sessions run in parallel. lbrt_cancel() is the one
 *             call that another thread may make on a busy session. Any other call that would change it,
 *             from another thread or from inside its own callback, returns STATE and touches nothing.
 * Errors      Every call that can fail returns lbrt_status. Calls that take `lbrt_error *err` write a
 *             sentence there (err may be NULL); calls on a session keep theirs in the session, see
 *             lbrt_session_error(). On failure output pointers are NULL and nothing is leaked. The
 *             library never prints, aborts or exits, and treats every file as hostile.
 * Memory      A session allocates when it is created and never again; lbrt_session_bytes() says how
 *             much beforehand. Both objects use the caller's allocator if one is given.
 * Options     Option structs begin with their size. Set it with the LBRT_..._INIT macro; a field
 *             left at zero means the default.
 * Same bits   The same file, tokens, options and seed give the same logits and tokens, bit for bit, on
 *             every instruction set, number of threads, and split of the prompt into calls.
 */
#ifndef LBRT_H
#define LBRT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(LBRT_STATIC)
#define LBRT_API static
#elif defined(__GNUC__)
#define LBRT_API __attribute__((visibility("default")))
#else
#define LBRT_API
#endif

/* ---------------------------------------------------------------- versions and status */

#define LBRT_VERSION_MAJOR 0
#define LBRT_VERSION_MINOR 1
#define LBRT_VERSION_PATCH 0
#define LBRT_VERSION (LBRT_VERSION_MAJOR * 10000 + LBRT_VERSION_MINOR * 100 + LBRT_VERSION_PATCH)

/* The LBRT_VERSION that the library was built with. */
LBRT_API int lbrt_version(void);

/* Values are pinned: a number never changes its meaning. */
typedef enum lbrt_status {
    LBRT_OK = 0,
    LBRT_CANCELLED = 1, /* lbrt_cancel() was called, or a callback asked to stop */

    LBRT_ERR_ARGUMENT = 10, /* a parameter is out of its documented range */
    LBRT_ERR_STATE = 11,    /* the object is not in a state that allows this call */
    LBRT_ERR_BUFFER = 12,   /* the caller's buffer is too small; the size needed was written */

    LBRT_ERR_MEMORY = 20, /* an allocation failed */
    LBRT_ERR_IO = 21,     /* a file could not be opened, read or mapped */
    LBRT_ERR_THREAD = 22, /* a thread could not be started */

    LBRT_ERR_FORMAT = 30,      /* not a file of this kind, or damaged */
    LBRT_ERR_UNSUPPORTED = 31, /* well formed, but needs something this version lacks; named in the text */
    LBRT_ERR_CHECKSUM = 32,    /* a checksum does not match */

    LBRT_ERR_CONTEXT_FULL = 40, /* the session's context cannot hold the tokens */
    LBRT_ERR_NUMERIC = 41       /* the model produced no finite logits */
} lbrt_status;

/* A short English name of a status, static storage. */
LBRT_API const char *lbrt_status_name(lbrt_status status);

/* Where a failing call that has no session to keep it leaves its sentence. */
typedef struct lbrt_error {
    lbrt_status status;
    char text[252]; /* one line of UTF-8, NUL-terminated */
} lbrt_error;

/* ---------------------------------------------------------------- what the host may supply */

/*
 * alloc returns `bytes` bytes aligned to `align` (a power of two, at most 4096) or NULL. free gets the
 * same bytes and align back; ptr is never NULL. Both may be called from the thread that makes the call into lbrt only.
 */
typedef struct lbrt_allocator {
    void *(*alloc)(void *user, size_t bytes, size_t align);
    void (*free)(void *user, void *ptr, size_t bytes, size_t align);
    void *user;
} lbrt_allocator;

/* Receives one line of text without newline; called on the thread that makes the call into lbrt. */
typedef void (*lbrt_log_fn)(void *user, const char *line);

/*
 * Told how far a long call is: `done` of `total`, rising, the last time with done == total. Bytes while a model is read or verified; tokens in a
 * prompt of several. Called on the thread that makes the call into lbrt. Return false to stop: the call then returns CANCELLED.
 */
typedef bool (*lbrt_progress_fn)(void *user, uint64_t done, uint64_t total);

/*
 * The host's threads instead of a session's own: calls task(context, i) once for every i of 0 .. n - 1, on any threads, at the same time or
 * one after the other, and returns when all have returned (with the usual ordering of memory: what they wrote is seen by the caller, what the
 * caller wrote before by them). Called on the thread that makes the call into lbrt, some ten times per layer; what it leaves
 * out is done by the caller. The bits of results do not depend on it.
 */
typedef void (*lbrt_task_fn)(void *context, size_t i);
typedef void (*lbrt_parallel_fn)(void *user, size_t n, lbrt_task_fn task, void *context);

/*
 * Reads at most `bytes` bytes (never 0) at `offset` of a model into buffer and returns how many, fewer if it likes; 0 at the end, below 0 for an
 * error. Called on the thread that makes the call into lbrt, with rising offsets; by lbrt_model_plan in any order, and for some bytes more than once.
 */
typedef int64_t (*lbrt_read_fn)(void *user, uint64_t offset, void *buffer, size_t bytes);

/* ---------------------------------------------------------------- models */

typedef struct lbrt_model lbrt_model;

typedef struct lbrt_model_options {
    size_t size;                     /* sizeof(lbrt_model_options) */
    const lbrt_allocator *allocator; /* copied; NULL: malloc and free */
    lbrt_log_fn log;                 /* NULL: silent */
    void *log_user;
    const char *isa; /* force an instruction-set level by name ("scalar", "avx2", ...); NULL: the environment
                        variable LBRT_ISA if set, else the best this CPU has */
    bool verify;     /* check every tensor's checksum now (reads the whole file) */

    /*
     * LLM.int8() (arXiv 2208.07339): activations x with |x| >= threshold are multiplied in float, token by token, while all others become
     * int8. 0: at 6.0 in layers of format int8, nowhere else; above 0: at this threshold in all layers that take int8
     * activations, but those on rotated inputs (tcq formats); below 0: nowhere. Part of the arithmetic: it changes the bits of logits.
     */
    float outlier_threshold;

    lbrt_progress_fn progress; /* of reading (LBRT_SOURCE_READ, or a file that cannot be mapped), then of verifying; NULL: none */
    void *progress_user;

    /*
     * T-MAC (arXiv 2407.00088): layers of the formats lut4 .. lut1 look up sums of four activations that are rounded to bytes, with a scale
     * per 32 activations, instead of exact sums of int8 activations. Faster where the CPU has no VNNI. Part of the arithmetic as well.
     */
    bool byte_tables;
} lbrt_model_options;
#define LBRT_MODEL_OPTIONS_INIT { sizeof(lbrt_model_options), NULL, NULL, NULL, NULL, false, 0.0f, NULL, NULL, false }

/*
 * Opens a .lbrt file by mapping it. options and err may be NULL. Errors: IO, FORMAT, UNSUPPORTED, CHECKSUM, MEMORY.
 * The file must not be changed while the model is open.
 */
LBRT_API lbrt_status lbrt_model_open(const char *path, const lbrt_model_options *options,
                                     lbrt_model **out, lbrt_error *err);

/* The same from memory that the caller keeps alive and unchanged until lbrt_model_close; data must be 64-byte aligned. */
LBRT_API lbrt_status lbrt_model_open_memory(const void *data, size_t bytes,
                                            const lbrt_model_options *options, lbrt_model **out,
                                            lbrt_error *err);

/* Where a model is, for lbrt_model_open_source and lbrt_model_plan. */
typedef enum lbrt_source_kind {
    LBRT_SOURCE_PATH = 0,   /* a file by name: path, offset, bytes */
    LBRT_SOURCE_MEMORY = 1, /* memory, bytes: as lbrt_model_open_memory */
    LBRT_SOURCE_FD = 2,     /* an open regular file: fd, offset, bytes. It stays the caller's, and may be closed after the call */
    LBRT_SOURCE_READ = 3    /* read, read_user, bytes: copied into memory of the allocator, once and in order */
} lbrt_source_kind;

typedef struct lbrt_source {
    size_t size; /* sizeof(lbrt_source) */
    lbrt_source_kind kind;
    int fd;
    const char *path;
    const void *memory;
    uint64_t offset; /* where in the file the model begins. Mapped if this is a multiple of 64, else copied into memory */
    uint64_t bytes;  /* of the model; for files 0: up to the file's end */
    lbrt_read_fn read;
    void *read_user;
} lbrt_source;
#define LBRT_SOURCE_INIT { sizeof(lbrt_source), LBRT_SOURCE_PATH, -1, NULL, NULL, 0, 0, NULL, NULL }

/* lbrt_model_open from anywhere. Further errors: CANCELLED, by the progress callback. */
LBRT_API lbrt_status lbrt_model_open_source(const lbrt_source *source, const lbrt_model_options *options, lbrt_model **out,
                                            lbrt_error *err);

/* Closes a model. All of its sessions must have been freed. NULL is allowed. */
LBRT_API void lbrt_model_close(lbrt_model *model);

typedef struct lbrt_model_info {
    size_t size;              /* in: sizeof(lbrt_model_info) */
    const char *name;         /* one line of UTF-8; strings live as long as the model */
    const char *architecture; /* "llama", ... */
    const char *isa;          /* the instruction-set level in use */
    uint64_t parameters;      /* number of weights, before packing */
    uint64_t file_bytes;
    uint64_t weight_bytes; /* bytes of all tensors */
    uint64_t token_bytes;  /* bytes of weights read to decode one token */
    double bits_per_weight;
    uint32_t n_vocab, n_layers, dim;
    uint32_t n_context;      /* the context length that the model was trained for */
    int32_t bos, eos;        /* token ids, -1 if there is none */
    bool adds_bos;           /* prompts begin with bos */
    bool has_chat_template;
} lbrt_model_info;
#define LBRT_MODEL_INFO_INIT \
    { sizeof(lbrt_model_info), NULL, NULL, NULL, 0, 0, 0, 0, 0.0, 0, 0, 0, 0, 0, 0, false, false }

LBRT_API lbrt_status lbrt_model_describe(const lbrt_model *model, lbrt_model_info *info);

/* ---------------------------------------------------------------- text and tokens */

typedef int32_t lbrt_token;

enum {
    LBRT_TOKENIZE_BOS = 1,    /* put bos first if the model adds one (a token behind a text is never added: that is the caller's) */
    LBRT_TOKENIZE_SPECIAL = 2 /* recognise control tokens such as <|eot|> written in the text; leave
                                 this out for text that comes from a user */
};

/*
 * Splits UTF-8 text into token ids. Writes at most `cap` ids to tokens and the number needed to *n;
 * BUFFER if cap is too small (tokens may be NULL when cap is 0). Bytes that are not UTF-8 are
 * tokenized as bytes where the vocabulary has them, else as U+FFFD. Errors: BUFFER, MEMORY, UNSUPPORTED.
 */
LBRT_API lbrt_status lbrt_tokenize(const lbrt_model *model, const char *text, size_t bytes,
                                   unsigned flags, lbrt_token *tokens, size_t cap, size_t *n,
                                   lbrt_error *err);

/*
 * The raw bytes of one token: *text points into the model and is not NUL-terminated. They may be part of a UTF-8
 * sequence: see lbrt_utf8_push. Control tokens give their name if `special`, else no bytes. ARGUMENT if id is not a token.
 */
LBRT_API lbrt_status lbrt_token_text(const lbrt_model *model, lbrt_token id, bool special,
                                     const char **text, size_t *bytes);

/*
 * The text of many tokens, without the space that the tokenizer puts in front of a text. Writes at most cap bytes (no NUL)
 * and the number needed to *bytes; BUFFER if cap is too small.
 */
LBRT_API lbrt_status lbrt_detokenize(const lbrt_model *model, const lbrt_token *tokens, size_t n,
                                     char *text, size_t cap, size_t *bytes, lbrt_error *err);

/* True for the tokens that end an answer (eos, end of turn). */
LBRT_API bool lbrt_token_ends(const lbrt_model *model, lbrt_token id);

/* A gate that lets only whole UTF-8 code points through, for streaming. Start with all zero. */
typedef struct lbrt_utf8 {
    unsigned char held[4];
    uint32_t n_held;
} lbrt_utf8;

/*
 * Takes n bytes and writes what is complete to out, which must have room for 3 * (n + 4) bytes; returns the
 * number written. Bytes that can never become valid are replaced by U+FFFD. n == 0 flushes what is held.
 */
LBRT_API size_t lbrt_utf8_push(lbrt_utf8 *gate, const char *bytes, size_t n, char *out);

typedef struct lbrt_message {
    const char *role; /* "system", "user" or "assistant" */
    const char *content;
} lbrt_message;

/*
 * Formats a conversation the way the model was trained for; with `answer` also the opening of the assistant's
 * next turn. Tokenize the result with LBRT_TOKENIZE_BOS | LBRT_TOKENIZE_SPECIAL. Writes at most cap bytes (no NUL) and
 * the number needed to *bytes. UNSUPPORTED if the model has no chat template or one that lbrt does not know.
 */
LBRT_API lbrt_status lbrt_chat_format(const lbrt_model *model, const lbrt_message *messages, size_t n,
                                      bool answer, char *text, size_t cap, size_t *bytes,
                                      lbrt_error *err);

/* ---------------------------------------------------------------- sessions */

typedef struct lbrt_session lbrt_session;

/*
 * How keys and values are kept. q8, q4 and q2 quantize blocks of 64 positions when they are full: each token sees its own block (the
 * newest 1 to 64 positions) and the first 64 positions as f16, everything between in 8, 4 or 2 bits and a scale per position and head, after
 * a Hadamard rotation per head (as in QuaRot, arXiv 2404.00456) and for keys less the block's mean (after KIVI, arXiv 2402.02750). Bytes
 * per position, layer and head of width 64, keys and values together: f32 512, f16 256, q8 134, q4 70, q2 38. q8 and q4 are
 * close to f16 (README has figures), q2 is not for every model. Rewinding a session of these to a length that is no multiple of 64
 * makes the next lbrt_feed compute up to 63 tokens again; so does continuing a restored one.
 */
typedef enum lbrt_kv_format {
    LBRT_KV_DEFAULT = 0, /* f16 */
    LBRT_KV_F32 = 1,
    LBRT_KV_F16 = 2,
    LBRT_KV_Q8 = 3,
    LBRT_KV_Q4 = 4,
    LBRT_KV_Q2 = 5
} lbrt_kv_format;

typedef struct lbrt_session_options {
    size_t size;                     /* sizeof(lbrt_session_options) */
    const lbrt_allocator *allocator; /* NULL: the model's */
    uint32_t n_context;              /* tokens that the session can hold; 0: the model's, at most 4096 */
    uint32_t n_batch;                /* tokens computed at once in a prompt; 0: 256; at most 4096 */
    uint32_t n_threads;              /* 0: 16; at most 256, and never more than the processors that this process may run on */
    uint32_t n_logits;               /* how many positions of one lbrt_feed keep their logits; 0: 1 */
    lbrt_kv_format kv_key, kv_value;

    uint32_t n_hidden;     /* how many positions of one feed keep their hidden state (lbrt_hidden); 0: none */
    uint32_t n_embeddings; /* how many of the positions held may be embeddings (lbrt_feed_embeddings); 0: none */
    lbrt_progress_fn progress; /* of feeding two tokens or more; NULL: none */
    void *progress_user;
    lbrt_parallel_fn parallel; /* computes in the host's threads, in n_threads tasks at most (then not limited by the processors, if
                                  given); no thread is started. NULL: threads of the session's own */
    void *parallel_user;

    /*
     * window > 0: a token sees itself, the window - 1 tokens before it, and the first `sinks` of all (0: 4; at most 256), after StreamingLLM
     * (arXiv 2309.17453); all keep their places in the text. Memory for keys and values is then that of 3 * 256 + window + n_batch tokens at
     * most (with kv formats of q8, q4 or q2 63 more), whatever n_context. 0: a token sees all before it.
     */
    uint32_t window, sinks;

    /*
     * Room for so many of the tokens that lbrt_compress does not choose, rounded up to a multiple of 256: they are kept in 2 bits instead of being
     * dropped (after MiKV, arXiv 2402.18096). Beside n_context; for kv formats q8, q4 and q2, without a window.
     */
    uint32_t n_faint;
} lbrt_session_options;
#define LBRT_SESSION_OPTIONS_INIT \
    { sizeof(lbrt_session_options), NULL, 0, 0, 0, 0, LBRT_KV_DEFAULT, LBRT_KV_DEFAULT, 0, 0, NULL, NULL, NULL, NULL, 0, 0, 0 }

/*
 * The exact number of bytes that a session of these options allocates (thread stacks aside). For n_context n, a multiple of 4096, without
 * a window it is A + n * (B + 4 + 3/16 + heads * (width + 2) / 64): A depends on the other options and the model, heads are the query heads, width
 * is that of a value head rounded up to 16, and B is the sum over layers and KV heads of the bytes per position that lbrt_kv_format lists for
 * a width w of 64, and which are for keys and values together f32 8 w, f16 4 w, and for b bits w b / 4 + 4 + w / 32 (w a multiple of 32). n_faint more tokens, a multiple of 4096, take as much with B for 2 bits.
 */
LBRT_API lbrt_status lbrt_session_bytes(const lbrt_model *model, const lbrt_session_options *options,
                                        size_t *bytes, lbrt_error *err);

typedef struct lbrt_memory_plan {
    size_t size;            /* in: sizeof(lbrt_memory_plan) */
    uint64_t mapped_bytes;  /* of the file, mapped: shared between processes, and the system may drop and read them again */
    uint64_t model_bytes;   /* taken from the model's allocator while the model is open; with a copied model the copy too */
    uint64_t opening_bytes; /* the most that is taken from it at any time while the model is opened, model_bytes included */
    uint64_t session_bytes; /* taken from the session's allocator by each session of these options (thread stacks aside) */
} lbrt_memory_plan;
#define LBRT_MEMORY_PLAN_INIT { sizeof(lbrt_memory_plan), 0, 0, 0, 0 }

/*
 * What a model and a session will take, exactly, before any weight is read: only the tables in front of the weights are looked at (so the
 * columns of sparse terms, which are checked when a model is opened, are not). Either options may be NULL. Takes at most opening_bytes
 * (less the copy) from the allocator meanwhile and gives all back. Errors: as lbrt_model_open_source and lbrt_session_create.
 */
LBRT_API lbrt_status lbrt_model_plan(const lbrt_source *source, const lbrt_model_options *model, const lbrt_session_options *session,
                                     lbrt_memory_plan *plan, lbrt_error *err);

/* Errors: ARGUMENT, MEMORY, THREAD, UNSUPPORTED (a KV format this version lacks). options may be NULL. */
LBRT_API lbrt_status lbrt_session_create(const lbrt_model *model, const lbrt_session_options *options,
                                         lbrt_session **out, lbrt_error *err);
LBRT_API void lbrt_session_free(lbrt_session *session); /* NULL is allowed */

/* The sentence of the last call on this session that failed; "" if none did. Valid until the next call. */
LBRT_API const char *lbrt_session_error(const lbrt_session *session);

/*
 * How many tokens the session's text has; of how many of them keys and values are there for the next token to see, which is fewer with a
 * window or after lbrt_compress; and how many it can hold: capacity - held more fit, with a window capacity - length.
 */
LBRT_API size_t lbrt_session_length(const lbrt_session *session);
LBRT_API size_t lbrt_session_held(const lbrt_session *session);
LBRT_API size_t lbrt_session_capacity(const lbrt_session *session);

/*
 * Appends n tokens (n >= 1) and computes the logits of the last n_logits of them (fewer if n is smaller). On any error
 * the session holds the tokens it held before (with a window, after CANCELLED, also those of whole batches that were done); after CANCELLED
 * its logits are gone. Errors: ARGUMENT (a token outside the vocabulary), CONTEXT_FULL, CANCELLED.
 */
LBRT_API lbrt_status lbrt_feed(lbrt_session *session, const lbrt_token *tokens, size_t n);

/*
 * The same with n embeddings in place of tokens: n rows of dim floats, which go where a token's row of the embedding matrix would (soft prompts,
 * other modalities). Feeding a token's own row gives the same bits as feeding the token. The session keeps them, in room that n_embeddings of its
 * options gives, and uses them again where a cache of codes must compute tokens again; rewind, fork, save and restore know them. A repeat
 * penalty does not concern them. Errors: as lbrt_feed, STATE (more than n_embeddings), ARGUMENT (a number that is not finite).
 */
LBRT_API lbrt_status lbrt_feed_embeddings(lbrt_session *session, const float *rows, size_t n);

/*
 * The logits of a position of the last lbrt_feed, n_vocab floats: back 0 is its last token, 1 the one before. NULL if
 * there are none. They belong to the session; the next lbrt_feed, rewind or restore ends them.
 */
LBRT_API const float *lbrt_logits(const lbrt_session *session, size_t back);

/*
 * The hidden state of a position of the last feed, dim floats: what the head turns into logits, after the last norm. As lbrt_logits, for the
 * last n_hidden positions, but neither saved nor forked.
 */
LBRT_API const float *lbrt_hidden(const lbrt_session *session, size_t back);

/*
 * Forgets all tokens after the first `length`. Logits are gone until the next feed. STATE if the text has fewer, or if keys and values that the
 * next token would see are gone: tokens that lbrt_compress chose from; with a window, what is more than n_batch before the most tokens that the
 * text (of the session that it was forked from, too) has had, or before the place where it was restored. 0 always works.
 */
LBRT_API lbrt_status lbrt_rewind(lbrt_session *session, size_t length);

/*
 * Replaces the session's content by the first `length` tokens of `from`, a session of the same model, KV formats and window, and its logits too
 * if that is all of them. Keys and values are shared, not copied, in pages of 256 tokens; a session that writes into a page which others
 * share copies it first, into memory that one of the sharers had for its own, so nothing is allocated and every session may do and
 * be freed at any time, in any thread. Memory of a freed session is given back when no other shares pages in it, by the thread that
 * frees that other. Several sessions may be forked from one at the same time. Errors: ARGUMENT (other model, formats or window; with a
 * window also another number of pages for it, which n_batch and n_context decide: give both sessions the same), STATE (as lbrt_rewind of
 * `from`, and if another call is working on that; a call that begins while it is forked from returns STATE, too), CONTEXT_FULL; the session is then
 * as before.
 */
LBRT_API lbrt_status lbrt_fork(lbrt_session *session, const lbrt_session *from, size_t length);

/*
 * Keeps n_keep (at least 128, rounded down to a multiple of 64) of the tokens in the cache, per layer and KV head those that the newest 32
 * look at most, and these (SnapKV, arXiv 2404.14469). Kept tokens keep their places in the text, so does the next one; lbrt_session_length stays,
 * lbrt_session_held becomes n_keep, and so much room is free again: prompts of any length can be fed in pieces through a session of fixed
 * size. Nothing happens if fewer are held. With n_faint in the session's options n_keep is at least 256, and of the others as many multiples of 256 as
 * that has room for, those looked at most, are kept in 2 bits: held and capacity are larger by these. What is faint stays so. Costs as much as 32 tokens, which are computed once more, and memory from the allocator while it works.
 * Errors: ARGUMENT, MEMORY, CANCELLED, STATE (fewer than 32 tokens fed since the last time), UNSUPPORTED (a window, embeddings, or n_batch below
 * 32); the session is then as before, but for the logits after CANCELLED.
 */
LBRT_API lbrt_status lbrt_compress(lbrt_session *session, size_t n_keep);

/* From any thread: the running or the next lbrt_feed or lbrt_generate returns CANCELLED soon; the session stays usable. */
LBRT_API void lbrt_cancel(lbrt_session *session);

/* ---------------------------------------------------------------- adapters */

typedef struct lbrt_adapter lbrt_adapter;

/*
 * Opens a low-rank adapter (LoRA, arXiv 2106.09685) for a model: a .lbrt file that lbrt-convert made of a PEFT folder. It must have been
 * made for a model of this shape: UNSUPPORTED otherwise. Other errors: IO, FORMAT, MEMORY. Any number of adapters and sessions may be open;
 * an adapter must be closed before its model, and outlives the sessions that it is attached to.
 */
LBRT_API lbrt_status lbrt_adapter_open(const lbrt_model *model, const char *path, lbrt_adapter **out, lbrt_error *err);

/* The same from memory, as lbrt_model_open_memory. */
LBRT_API lbrt_status lbrt_adapter_open_memory(const lbrt_model *model, const void *data, size_t bytes, lbrt_adapter **out,
                                              lbrt_error *err);

/* Closes an adapter that no session has attached. NULL is allowed. */
LBRT_API void lbrt_adapter_close(lbrt_adapter *adapter);

/*
 * From the next token on the session's layers compute W x + scale * B (A x); scale is on top of the adapter's own alpha / rank. Up to 16
 * adapters add up, in the order of attaching; attaching one again changes its scale. Costs no reload, and memory at most once
 * per session. Tokens that the session holds stay as they were computed (lbrt_rewind to 0 and feed them again to change them), but for those that
 * are computed once more: the newest 32 and up to 63 before them by lbrt_compress, and with kv formats of q8, q4 and q2 up to 63 after a rewind,
 * fork, restore or CANCELLED. Have attached then what they were fed with.
 * Errors: ARGUMENT, STATE (too many), MEMORY; nothing is attached then.
 */
LBRT_API lbrt_status lbrt_adapter_attach(lbrt_session *session, const lbrt_adapter *adapter, float scale);

/* The model is again as without the adapter, bit for bit. STATE if it is not attached. */
LBRT_API lbrt_status lbrt_adapter_detach(lbrt_session *session, const lbrt_adapter *adapter);

/* ---------------------------------------------------------------- sampling and generation */

/*
 * May change a copy of the logits (n_vocab floats, -INFINITY forbids a token) before a token is drawn, for constrained output; tokens are all that the
 * session holds, in place of an embedding -1 or less. Called on the thread that makes the call into lbrt. False: the call returns
 * CANCELLED. If no finite logit is left, it returns NUMERIC.
 */
typedef bool (*lbrt_logits_fn)(void *user, float *logits, size_t n_vocab, const lbrt_token *tokens, size_t n_tokens);

typedef struct lbrt_sampling {
    size_t size;       /* sizeof(lbrt_sampling) */
    float temperature; /* 0: the most likely token, ties to the lower id */
    float top_p;       /* keep the smallest set of tokens with this probability; 0 or 1: all */
    float min_p;       /* drop tokens less likely than this times the likeliest; 0: none */
    uint32_t top_k;    /* keep this many; 0: all */
    float repeat_penalty; /* divides (multiplies) positive (negative) logits of recent tokens; 0 or 1: off */
    uint32_t repeat_last; /* how many recent tokens that concerns; 0: 64 */
    uint64_t seed;        /* the same seed at the same position draws the same number */
    lbrt_logits_fn logits; /* NULL: they stay as they are */
    void *logits_user;
} lbrt_sampling;
#define LBRT_SAMPLING_INIT { sizeof(lbrt_sampling), 0.0f, 0.0f, 0.0f, 0, 0.0f, 0, 0, NULL, NULL }

/* Draws a token from the session's last logits. NULL sampling: greedy. Errors: STATE (no logits), NUMERIC, ARGUMENT. */
LBRT_API lbrt_status lbrt_sample(lbrt_session *session, const lbrt_sampling *sampling, lbrt_token *out);

/* Called once per token in the caller's thread; text is its raw bytes. Return false to stop (generate then returns OK). */
typedef bool (*lbrt_token_fn)(void *user, lbrt_token token, const char *text, size_t bytes);

typedef struct lbrt_generation {
    size_t size;                   /* sizeof(lbrt_generation) */
    const lbrt_sampling *sampling; /* NULL: greedy */
    size_t max_tokens;             /* 0: until the context is full */
    bool ignore_end;               /* go on after tokens that end an answer */
    size_t n_generated;            /* out */
} lbrt_generation;
#define LBRT_GENERATION_INIT { sizeof(lbrt_generation), NULL, 0, false, 0 }

/*
 * Feeds the prompt (n may be 0 if logits are there), then samples and feeds until a token that ends the answer (which is
 * fed, so that the conversation can go on, but not reported), max_tokens, a full context, or a false from the callback.
 * The last token reported has been fed as well. Errors: as lbrt_feed and lbrt_sample.
 */
LBRT_API lbrt_status lbrt_generate(lbrt_session *session, const lbrt_token *prompt, size_t n,
                                   lbrt_generation *how, lbrt_token_fn callback, void *user);

/* ---------------------------------------------------------------- saved state */

/* Bytes that lbrt_state_save needs now. */
LBRT_API size_t lbrt_state_bytes(const lbrt_session *session);

/*
 * Writes the session's tokens and KV cache, with the model's fingerprint and a checksum. BUFFER if cap is too small. The bytes depend on
 * the model, options, tokens and whether there are logits, not on how they were computed.
 */
LBRT_API lbrt_status lbrt_state_save(lbrt_session *session, void *buffer, size_t cap, size_t *bytes);

/*
 * Replaces the session's content. Refused if the state is damaged (FORMAT, CHECKSUM), of another model or KV format
 * (UNSUPPORTED), or too long (CONTEXT_FULL); the session is then as before. Logits are those after the last token saved.
 */
LBRT_API lbrt_status lbrt_state_restore(lbrt_session *session, const void *buffer, size_t bytes);

/* The same to a file, which is replaced as a whole or not at all, and from one. Also IO, MEMORY. */
LBRT_API lbrt_status lbrt_state_save_file(lbrt_session *session, const char *path);
LBRT_API lbrt_status lbrt_state_restore_file(lbrt_session *session, const char *path);

/* ---------------------------------------------------------------- the CPU */

/* Name of the best instruction-set level of this CPU, and of level i of those that this build knows (NULL past the end);
 * *usable says whether this CPU runs it. */
LBRT_API const char *lbrt_cpu_isa(void);
LBRT_API const char *lbrt_isa_name(size_t i, bool *usable);

#ifdef __cplusplus
}
#endif
#endif /* LBRT_H */
