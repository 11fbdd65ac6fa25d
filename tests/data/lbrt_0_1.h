/* include/lbrt.h of version 0.1, without its comments. Frozen: see tests/old_header.c. */
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

#define LBRT_VERSION_MAJOR 0
#define LBRT_VERSION_MINOR 1
#define LBRT_VERSION_PATCH 0
#define LBRT_VERSION (LBRT_VERSION_MAJOR * 10000 + LBRT_VERSION_MINOR * 100 + LBRT_VERSION_PATCH)

LBRT_API int lbrt_version(void);

typedef enum lbrt_status {
    LBRT_OK = 0,
    LBRT_CANCELLED = 1,

    LBRT_ERR_ARGUMENT = 10,
    LBRT_ERR_STATE = 11,
    LBRT_ERR_BUFFER = 12,

    LBRT_ERR_MEMORY = 20,
    LBRT_ERR_IO = 21,
    LBRT_ERR_THREAD = 22,

    LBRT_ERR_FORMAT = 30,
    LBRT_ERR_UNSUPPORTED = 31,
    LBRT_ERR_CHECKSUM = 32,

    LBRT_ERR_CONTEXT_FULL = 40,
    LBRT_ERR_NUMERIC = 41
} lbrt_status;

LBRT_API const char *lbrt_status_name(lbrt_status status);

typedef struct lbrt_error {
    lbrt_status status;
    char text[252];
} lbrt_error;

typedef struct lbrt_allocator {
    void *(*alloc)(void *user, size_t bytes, size_t align);
    void (*free)(void *user, void *ptr, size_t bytes, size_t align);
    void *user;
} lbrt_allocator;

typedef void (*lbrt_log_fn)(void *user, const char *line);

typedef bool (*lbrt_progress_fn)(void *user, uint64_t done, uint64_t total);

typedef void (*lbrt_task_fn)(void *context, size_t i);
typedef void (*lbrt_parallel_fn)(void *user, size_t n, lbrt_task_fn task, void *context);

typedef int64_t (*lbrt_read_fn)(void *user, uint64_t offset, void *buffer, size_t bytes);

typedef struct lbrt_model lbrt_model;

typedef struct lbrt_model_options {
    size_t size;
    const lbrt_allocator *allocator;
    lbrt_log_fn log;
    void *log_user;
    const char *isa;
    bool verify;

    float outlier_threshold;

    lbrt_progress_fn progress;
    void *progress_user;

    bool byte_tables;
} lbrt_model_options;
#define LBRT_MODEL_OPTIONS_INIT { sizeof(lbrt_model_options), NULL, NULL, NULL, NULL, false, 0.0f, NULL, NULL, false }

LBRT_API lbrt_status lbrt_model_open(const char *path, const lbrt_model_options *options,
                                     lbrt_model **out, lbrt_error *err);

LBRT_API lbrt_status lbrt_model_open_memory(const void *data, size_t bytes,
                                            const lbrt_model_options *options, lbrt_model **out,
                                            lbrt_error *err);

typedef enum lbrt_source_kind {
    LBRT_SOURCE_PATH = 0,
    LBRT_SOURCE_MEMORY = 1,
    LBRT_SOURCE_FD = 2,
    LBRT_SOURCE_READ = 3
} lbrt_source_kind;

typedef struct lbrt_source {
    size_t size;
    lbrt_source_kind kind;
    int fd;
    const char *path;
    const void *memory;
    uint64_t offset;
    uint64_t bytes;
    lbrt_read_fn read;
    void *read_user;
} lbrt_source;
#define LBRT_SOURCE_INIT { sizeof(lbrt_source), LBRT_SOURCE_PATH, -1, NULL, NULL, 0, 0, NULL, NULL }

LBRT_API lbrt_status lbrt_model_open_source(const lbrt_source *source, const lbrt_model_options *options, lbrt_model **out,
                                            lbrt_error *err);

LBRT_API void lbrt_model_close(lbrt_model *model);

typedef struct lbrt_model_info {
    size_t size;
    const char *name;
    const char *architecture;
    const char *isa;
    uint64_t parameters;
    uint64_t file_bytes;
    uint64_t weight_bytes;
    uint64_t token_bytes;
    double bits_per_weight;
    uint32_t n_vocab, n_layers, dim;
    uint32_t n_context;
    int32_t bos, eos;
    bool adds_bos;
    bool has_chat_template;
} lbrt_model_info;
#define LBRT_MODEL_INFO_INIT \
    { sizeof(lbrt_model_info), NULL, NULL, NULL, 0, 0, 0, 0, 0.0, 0, 0, 0, 0, 0, 0, false, false }

LBRT_API lbrt_status lbrt_model_describe(const lbrt_model *model, lbrt_model_info *info);

typedef int32_t lbrt_token;

enum {
    LBRT_TOKENIZE_BOS = 1,
    LBRT_TOKENIZE_SPECIAL = 2
};

LBRT_API lbrt_status lbrt_tokenize(const lbrt_model *model, const char *text, size_t bytes,
                                   unsigned flags, lbrt_token *tokens, size_t cap, size_t *n,
                                   lbrt_error *err);

LBRT_API lbrt_status lbrt_token_text(const lbrt_model *model, lbrt_token id, bool special,
                                     const char **text, size_t *bytes);

LBRT_API lbrt_status lbrt_detokenize(const lbrt_model *model, const lbrt_token *tokens, size_t n,
                                     char *text, size_t cap, size_t *bytes, lbrt_error *err);

LBRT_API bool lbrt_token_ends(const lbrt_model *model, lbrt_token id);

typedef struct lbrt_utf8 {
    unsigned char held[4];
    uint32_t n_held;
} lbrt_utf8;

LBRT_API size_t lbrt_utf8_push(lbrt_utf8 *gate, const char *bytes, size_t n, char *out);

typedef struct lbrt_message {
    const char *role;
    const char *content;
} lbrt_message;

LBRT_API lbrt_status lbrt_chat_format(const lbrt_model *model, const lbrt_message *messages, size_t n,
                                      bool answer, char *text, size_t cap, size_t *bytes,
                                      lbrt_error *err);

typedef struct lbrt_session lbrt_session;

typedef enum lbrt_kv_format {
    LBRT_KV_DEFAULT = 0,
    LBRT_KV_F32 = 1,
    LBRT_KV_F16 = 2,
    LBRT_KV_Q8 = 3,
    LBRT_KV_Q4 = 4,
    LBRT_KV_Q2 = 5
} lbrt_kv_format;

typedef struct lbrt_session_options {
    size_t size;
    const lbrt_allocator *allocator;
    uint32_t n_context;
    uint32_t n_batch;
    uint32_t n_threads;
    uint32_t n_logits;
    lbrt_kv_format kv_key, kv_value;

    uint32_t n_hidden;
    uint32_t n_embeddings;
    lbrt_progress_fn progress;
    void *progress_user;
    lbrt_parallel_fn parallel;
    void *parallel_user;

    uint32_t window, sinks;
} lbrt_session_options;
#define LBRT_SESSION_OPTIONS_INIT \
    { sizeof(lbrt_session_options), NULL, 0, 0, 0, 0, LBRT_KV_DEFAULT, LBRT_KV_DEFAULT, 0, 0, NULL, NULL, NULL, NULL, 0, 0 }

LBRT_API lbrt_status lbrt_session_bytes(const lbrt_model *model, const lbrt_session_options *options,
                                        size_t *bytes, lbrt_error *err);

typedef struct lbrt_memory_plan {
    size_t size;
    uint64_t mapped_bytes;
    uint64_t model_bytes;
    uint64_t opening_bytes;
    uint64_t session_bytes;
} lbrt_memory_plan;
#define LBRT_MEMORY_PLAN_INIT { sizeof(lbrt_memory_plan), 0, 0, 0, 0 }

LBRT_API lbrt_status lbrt_model_plan(const lbrt_source *source, const lbrt_model_options *model, const lbrt_session_options *session,
                                     lbrt_memory_plan *plan, lbrt_error *err);

LBRT_API lbrt_status lbrt_session_create(const lbrt_model *model, const lbrt_session_options *options,
                                         lbrt_session **out, lbrt_error *err);
LBRT_API void lbrt_session_free(lbrt_session *session);

LBRT_API const char *lbrt_session_error(const lbrt_session *session);

LBRT_API size_t lbrt_session_length(const lbrt_session *session);
LBRT_API size_t lbrt_session_held(const lbrt_session *session);
LBRT_API size_t lbrt_session_capacity(const lbrt_session *session);

LBRT_API lbrt_status lbrt_feed(lbrt_session *session, const lbrt_token *tokens, size_t n);

LBRT_API lbrt_status lbrt_feed_embeddings(lbrt_session *session, const float *rows, size_t n);

LBRT_API const float *lbrt_logits(const lbrt_session *session, size_t back);

LBRT_API const float *lbrt_hidden(const lbrt_session *session, size_t back);

LBRT_API lbrt_status lbrt_rewind(lbrt_session *session, size_t length);

LBRT_API lbrt_status lbrt_fork(lbrt_session *session, const lbrt_session *from, size_t length);

LBRT_API lbrt_status lbrt_compress(lbrt_session *session, size_t n_keep);

LBRT_API void lbrt_cancel(lbrt_session *session);

typedef struct lbrt_adapter lbrt_adapter;

LBRT_API lbrt_status lbrt_adapter_open(const lbrt_model *model, const char *path, lbrt_adapter **out, lbrt_error *err);

LBRT_API lbrt_status lbrt_adapter_open_memory(const lbrt_model *model, const void *data, size_t bytes, lbrt_adapter **out,
                                              lbrt_error *err);

LBRT_API void lbrt_adapter_close(lbrt_adapter *adapter);

LBRT_API lbrt_status lbrt_adapter_attach(lbrt_session *session, const lbrt_adapter *adapter, float scale);

LBRT_API lbrt_status lbrt_adapter_detach(lbrt_session *session, const lbrt_adapter *adapter);

typedef bool (*lbrt_logits_fn)(void *user, float *logits, size_t n_vocab, const lbrt_token *tokens, size_t n_tokens);

typedef struct lbrt_sampling {
    size_t size;
    float temperature;
    float top_p;
    float min_p;
    uint32_t top_k;
    float repeat_penalty;
    uint32_t repeat_last;
    uint64_t seed;
    lbrt_logits_fn logits;
    void *logits_user;
} lbrt_sampling;
#define LBRT_SAMPLING_INIT { sizeof(lbrt_sampling), 0.0f, 0.0f, 0.0f, 0, 0.0f, 0, 0, NULL, NULL }

LBRT_API lbrt_status lbrt_sample(lbrt_session *session, const lbrt_sampling *sampling, lbrt_token *out);

typedef bool (*lbrt_token_fn)(void *user, lbrt_token token, const char *text, size_t bytes);

typedef struct lbrt_generation {
    size_t size;
    const lbrt_sampling *sampling;
    size_t max_tokens;
    bool ignore_end;
    size_t n_generated;
} lbrt_generation;
#define LBRT_GENERATION_INIT { sizeof(lbrt_generation), NULL, 0, false, 0 }

LBRT_API lbrt_status lbrt_generate(lbrt_session *session, const lbrt_token *prompt, size_t n,
                                   lbrt_generation *how, lbrt_token_fn callback, void *user);

LBRT_API size_t lbrt_state_bytes(const lbrt_session *session);

LBRT_API lbrt_status lbrt_state_save(lbrt_session *session, void *buffer, size_t cap, size_t *bytes);

LBRT_API lbrt_status lbrt_state_restore(lbrt_session *session, const void *buffer, size_t bytes);

LBRT_API lbrt_status lbrt_state_save_file(lbrt_session *session, const char *path);
LBRT_API lbrt_status lbrt_state_restore_file(lbrt_session *session, const char *path);

LBRT_API const char *lbrt_cpu_isa(void);
LBRT_API const char *lbrt_isa_name(size_t i, bool *usable);

#ifdef __cplusplus
}
#endif
#endif
