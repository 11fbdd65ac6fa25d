/*
 * lbrt.h stands alone (it is the first thing included here, twice) and does not change what compiled programs
 * rely on: the order and the types of fields, the numbers of enumerators. A field that is added at the end of
 * a struct needs a line here and nothing else.
 */
#include "../include/lbrt.h"
#include "../include/lbrt.h"

#include "lb_test.h"

/* Fields in order, each behind the one before it: a field moved, removed or retyped does not compile. */
#define HEADER_FIRST(type) \
    _Static_assert(offsetof(type, size) == 0 && sizeof(((type *)0)->size) == sizeof(size_t), #type)
#define HEADER_AFTER(type, before, field)                                                                \
    _Static_assert(offsetof(type, field) >= offsetof(type, before) + sizeof(((type *)0)->before) &&      \
                       offsetof(type, field) < offsetof(type, before) + sizeof(((type *)0)->before) + 8, \
                   #type "." #field)
#define HEADER_TYPE(type, field, field_type)                                  \
    _Static_assert(_Generic(((type *)0)->field, field_type : 1, default : 0), \
                   #type "." #field " is a " #field_type)

HEADER_FIRST(lbrt_model_options);
HEADER_AFTER(lbrt_model_options, size, allocator);
HEADER_AFTER(lbrt_model_options, allocator, log);
HEADER_AFTER(lbrt_model_options, log, log_user);
HEADER_AFTER(lbrt_model_options, log_user, isa);
HEADER_AFTER(lbrt_model_options, isa, verify);
HEADER_AFTER(lbrt_model_options, verify, outlier_threshold);
HEADER_AFTER(lbrt_model_options, outlier_threshold, progress);
HEADER_AFTER(lbrt_model_options, progress, progress_user);
HEADER_AFTER(lbrt_model_options, progress_user, byte_tables);

HEADER_FIRST(lbrt_source);
HEADER_AFTER(lbrt_source, size, kind);
HEADER_AFTER(lbrt_source, kind, fd);
HEADER_AFTER(lbrt_source, fd, path);
HEADER_AFTER(lbrt_source, path, memory);
HEADER_AFTER(lbrt_source, memory, offset);
HEADER_AFTER(lbrt_source, offset, bytes);
HEADER_AFTER(lbrt_source, bytes, read);
HEADER_AFTER(lbrt_source, read, read_user);

HEADER_FIRST(lbrt_memory_plan);
HEADER_AFTER(lbrt_memory_plan, size, mapped_bytes);
HEADER_AFTER(lbrt_memory_plan, mapped_bytes, model_bytes);
HEADER_AFTER(lbrt_memory_plan, model_bytes, opening_bytes);
HEADER_AFTER(lbrt_memory_plan, opening_bytes, session_bytes);

HEADER_FIRST(lbrt_model_info);
HEADER_AFTER(lbrt_model_info, size, name);
HEADER_AFTER(lbrt_model_info, name, architecture);
HEADER_AFTER(lbrt_model_info, architecture, isa);
HEADER_AFTER(lbrt_model_info, isa, parameters);
HEADER_AFTER(lbrt_model_info, parameters, file_bytes);
HEADER_AFTER(lbrt_model_info, file_bytes, weight_bytes);
HEADER_AFTER(lbrt_model_info, weight_bytes, token_bytes);
HEADER_AFTER(lbrt_model_info, token_bytes, bits_per_weight);
HEADER_AFTER(lbrt_model_info, bits_per_weight, n_vocab);
HEADER_AFTER(lbrt_model_info, n_vocab, n_layers);
HEADER_AFTER(lbrt_model_info, n_layers, dim);
HEADER_AFTER(lbrt_model_info, dim, n_context);
HEADER_AFTER(lbrt_model_info, n_context, bos);
HEADER_AFTER(lbrt_model_info, bos, eos);
HEADER_AFTER(lbrt_model_info, eos, adds_bos);
HEADER_AFTER(lbrt_model_info, adds_bos, has_chat_template);
HEADER_TYPE(lbrt_model_info, parameters, uint64_t);
HEADER_TYPE(lbrt_model_info, n_vocab, uint32_t);
HEADER_TYPE(lbrt_model_info, bos, int32_t);

HEADER_FIRST(lbrt_session_options);
HEADER_AFTER(lbrt_session_options, size, allocator);
HEADER_AFTER(lbrt_session_options, allocator, n_context);
HEADER_AFTER(lbrt_session_options, n_context, n_batch);
HEADER_AFTER(lbrt_session_options, n_batch, n_threads);
HEADER_AFTER(lbrt_session_options, n_threads, n_logits);
HEADER_AFTER(lbrt_session_options, n_logits, kv_key);
HEADER_AFTER(lbrt_session_options, kv_key, kv_value);
HEADER_AFTER(lbrt_session_options, kv_value, n_hidden);
HEADER_AFTER(lbrt_session_options, n_hidden, n_embeddings);
HEADER_AFTER(lbrt_session_options, n_embeddings, progress);
HEADER_AFTER(lbrt_session_options, progress, progress_user);
HEADER_AFTER(lbrt_session_options, progress_user, parallel);
HEADER_AFTER(lbrt_session_options, parallel, parallel_user);
HEADER_TYPE(lbrt_session_options, n_context, uint32_t);

HEADER_FIRST(lbrt_sampling);
HEADER_AFTER(lbrt_sampling, size, temperature);
HEADER_AFTER(lbrt_sampling, temperature, top_p);
HEADER_AFTER(lbrt_sampling, top_p, min_p);
HEADER_AFTER(lbrt_sampling, min_p, top_k);
HEADER_AFTER(lbrt_sampling, top_k, repeat_penalty);
HEADER_AFTER(lbrt_sampling, repeat_penalty, repeat_last);
HEADER_AFTER(lbrt_sampling, repeat_last, seed);
HEADER_AFTER(lbrt_sampling, seed, logits);
HEADER_AFTER(lbrt_sampling, logits, logits_user);
HEADER_TYPE(lbrt_sampling, temperature, float);
HEADER_TYPE(lbrt_sampling, seed, uint64_t);

HEADER_FIRST(lbrt_generation);
HEADER_AFTER(lbrt_generation, size, sampling);
HEADER_AFTER(lbrt_generation, sampling, max_tokens);
HEADER_AFTER(lbrt_generation, max_tokens, ignore_end);
HEADER_AFTER(lbrt_generation, ignore_end, n_generated);

_Static_assert(sizeof(lbrt_error) == 256 && sizeof(lbrt_token) == 4 && sizeof(lbrt_utf8) == 8,
               "sizes that callers depend on");
_Static_assert(LBRT_OK == 0 && LBRT_CANCELLED == 1 && LBRT_ERR_ARGUMENT == 10 && LBRT_ERR_STATE == 11 && LBRT_ERR_BUFFER == 12 &&
                   LBRT_ERR_MEMORY == 20 && LBRT_ERR_IO == 21 && LBRT_ERR_THREAD == 22 && LBRT_ERR_FORMAT == 30 &&
                   LBRT_ERR_UNSUPPORTED == 31 && LBRT_ERR_CHECKSUM == 32 && LBRT_ERR_CONTEXT_FULL == 40 && LBRT_ERR_NUMERIC == 41,
               "statuses are pinned");
#if LBRT_VERSION < 100 || LBRT_VERSION != LBRT_VERSION_MAJOR * 10000 + LBRT_VERSION_MINOR * 100 + LBRT_VERSION_PATCH
#error "versions are compared by the preprocessor, too"
#endif
_Static_assert(LBRT_SOURCE_PATH == 0 && LBRT_SOURCE_MEMORY == 1 && LBRT_SOURCE_FD == 2 && LBRT_SOURCE_READ == 3, "sources are pinned");
_Static_assert(LBRT_KV_DEFAULT == 0 && LBRT_KV_F32 == 1 && LBRT_KV_F16 == 2 && LBRT_KV_Q8 == 3 &&
                   LBRT_KV_Q4 == 4 && LBRT_KV_Q2 == 5,
               "KV formats");
_Static_assert(LBRT_TOKENIZE_BOS == 1 && LBRT_TOKENIZE_SPECIAL == 2, "flags");

void test_header(void)
{
    lb_test_case("the INIT macros set the size and leave the rest at its default");
    lbrt_model_options m = LBRT_MODEL_OPTIONS_INIT;
    lbrt_session_options s = LBRT_SESSION_OPTIONS_INIT;
    lbrt_sampling p = LBRT_SAMPLING_INIT;
    lbrt_generation g = LBRT_GENERATION_INIT;
    lbrt_model_info i = LBRT_MODEL_INFO_INIT;
    LB_CHECK(m.size == sizeof m && !m.allocator && !m.log && !m.isa && !m.verify, "model");
    LB_CHECK(s.size == sizeof s && !s.allocator && !s.n_context && !s.n_batch && !s.n_threads &&
                 !s.n_logits && !s.kv_key,
             "session");
    LB_CHECK(p.size == sizeof p && p.temperature == 0.0f && p.top_p == 0.0f && !p.top_k && !p.seed,
             "sampling");
    LB_CHECK(g.size == sizeof g && !g.sampling && !g.max_tokens && !g.ignore_end, "generation");
    LB_CHECK(i.size == sizeof i && !i.name && !i.n_vocab, "info");
    LB_CHECK(LBRT_VERSION == LBRT_VERSION_MAJOR * 10000 + LBRT_VERSION_MINOR * 100 + LBRT_VERSION_PATCH,
             "version");
    lb_test_case("the levels of this build: the lowest runs anywhere, the best is among them");
    bool usable = false, found = false;
    LB_CHECK(lbrt_isa_name(0, &usable) && usable, "the lowest level is not usable");
    const char *best = lbrt_cpu_isa(), *name;
    for (size_t k = 0; (name = lbrt_isa_name(k, NULL)) != NULL; k++) {
        bool runs;
        lbrt_isa_name(k, &runs);
        found |= best && __builtin_strcmp(name, best) == 0 && runs;
        LB_CHECK(k < 64, "no end");
    }
    LB_CHECK(found, "the best level is none of them");
}
