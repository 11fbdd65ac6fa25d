/*
 * Every allocation fails once, of opening, converting and importing: the n-th alone, and the n-th with all after it, for every n. The call then
 * says MEMORY, its out pointers are NULL, nothing is leaked or left behind. The calls of lbrt.h, one by one: test_alloc_api.c.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail_alloc.h"
#include "lb_test.h"
#include "make_models.h"
#include "small_models.h"

/* ---- what is done with failing memory ---- */

static const char *const allo_text = "the end and the rest of it: \xc3\xa9\xf0\x9f\x98\x80 <s>";

static lbrt_status allo_use(const lbrt_model *m, lbrt_error *err)
{
    lbrt_token ids[128];
    char text[512];
    size_t n = 0, bytes = 0;
    LB_TRY(lbrt_tokenize(m, allo_text, strlen(allo_text), LBRT_TOKENIZE_BOS | LBRT_TOKENIZE_SPECIAL, ids, 128,
                         &n, err));
    LB_TRY(lbrt_detokenize(m, ids, n, text, sizeof text, &bytes, err));
    const lbrt_message messages[] = {
        { "system", "be" }, { "user", "hello" }, { "assistant", "yes" }, { "user", "and" }
    };
    LB_TRY(lbrt_chat_format(m, messages, 4, true, text, sizeof text, &bytes, err));
    lbrt_session_options o = LBRT_SESSION_OPTIONS_INIT;
    o.n_context = 128;
    o.n_threads = 2;
    lbrt_session *s = (lbrt_session *)(uintptr_t)1;
    lbrt_status status = lbrt_session_create(m, &o, &s, err);
    if (status != LBRT_OK) {
        LB_CHECK(s == NULL, "the session is not NULL");
        return status;
    }
    lbrt_generation g = LBRT_GENERATION_INIT;
    g.max_tokens = 3;
    static unsigned char state[1 << 17];
    status = lbrt_generate(s, ids, n, &g, NULL, NULL);
    status = status == LBRT_OK ? lbrt_state_save(s, state, sizeof state, &bytes) : status;
    status = status == LBRT_OK ? lbrt_state_restore(s, state, bytes) : status;
    LB_CHECK(status == LBRT_OK, "nothing here may need memory: %s", lbrt_session_error(s));
    lbrt_session_free(s);
    return status;
}

static lbrt_status allo_model(const allo_case *c, lbrt_error *err)
{
    lbrt_model_options o = LBRT_MODEL_OPTIONS_INIT;
    o.allocator = &allo_allocator;
    lbrt_model *m = (lbrt_model *)(uintptr_t)1;
    lbrt_status s = lbrt_model_open(c->path, &o, &m, err);
    LB_CHECK(s == LBRT_OK || m == NULL, "the model is not NULL");
    s = s == LBRT_OK ? allo_use(m, err) : s;
    lbrt_model_close(m);
    return s;
}

static lbrt_status allo_memory(const allo_case *c, lbrt_error *err)
{
    size_t bytes;
    unsigned char *data = sm_load(c->path, &bytes);
    lbrt_model_options o = LBRT_MODEL_OPTIONS_INIT;
    o.allocator = &allo_allocator;
    o.verify = true;
    lbrt_model *m = (lbrt_model *)(uintptr_t)1;
    lbrt_status s = lbrt_model_open_memory(data, bytes, &o, &m, err);
    LB_CHECK(s == LBRT_OK || m == NULL, "the model is not NULL");
    lbrt_model_close(m);
    free(data);
    return s;
}

static char allo_folder[256];

/* Files in the output folder; none may be left there but the finished one. */
static size_t allo_files(void)
{
    size_t n = 0;
    DIR *d = opendir(allo_folder);
    while (d && readdir(d)) {
        n++;
    }
    if (d) {
        closedir(d);
    }
    return n < 2 ? 0 : n - 2;
}

static lbrt_status allo_write(const lb_source *source, lbrt_error *err)
{
    char out[300];
    lb_format(out, sizeof out, "%s/out.lbrt", allo_folder);
    const lb_convert_rule rule = { "*attn_v", LB_W_F16 };
    const lb_convert_options options = {
        .format = LB_W_Q4, .rules = &rule, .n_rules = 1, .threads = 2, .origin = "a test"
    };
    lbrt_status s = lb_convert(source, out, &options, &allo_allocator, err);
    LB_CHECK(allo_files() == (s == LBRT_OK), "%zu files in the folder", allo_files());
    if (s == LBRT_OK) {
        unlink(out);
    }
    return s;
}

static lbrt_status allo_convert(const allo_case *c, lbrt_error *err)
{
    lb_source *source = sm_source(c->path);
    lbrt_status s = allo_write(source, err);
    source->close(source);
    return s;
}

static lbrt_status allo_synth(const allo_case *c, lbrt_error *err)
{
    lb_source *source = (lb_source *)(uintptr_t)1;
    lbrt_status s = lb_source_open_synth(c->path, &allo_allocator, &source, err);
    if (s != LBRT_OK) {
        LB_CHECK(source == NULL, "the source is not NULL");
        return s;
    }
    s = allo_write(source, err);
    source->close(source);
    return s;
}

static lbrt_status allo_import(const allo_case *c, lbrt_error *err)
{
    lb_source *source = (lb_source *)(uintptr_t)1;
    lbrt_status s = lb_source_open(c->path, NULL, &allo_allocator, &source, err);
    if (s != LBRT_OK) {
        LB_CHECK(source == NULL, "the source is not NULL");
        return s;
    }
    s = allo_write(source, err);
    source->close(source);
    return s;
}

static void allo_shared(const char *relative)
{
    const char *path = lb_test_shared(relative);
    if (!path) {
        lb_test_case("every allocation fails: importing %s", relative);
        lb_test_skip("it is not there");
        return;
    }
    const allo_case c = { relative, path, allo_import };
    allo_run(&c);
}

void test_alloc(void)
{
    lb_test_case("a folder for the output");
    lb_format(allo_folder, sizeof allo_folder, "%s", lb_test_temp("alloc"));
    const char *file = sm_file("micro", "q4");
    if (!LB_CHECK(mkdir(allo_folder, 0777) == 0 && file, "mkdir")) {
        return;
    }
    char path[512];
    lb_format(path, sizeof path, "%s", file);
    const allo_case cases[] = {
        { "open, tokenize, format, generate, save, restore", path, allo_model },
        { "open from memory, verified", path, allo_memory },
        { "convert", "micro", allo_convert },
        { "convert a synthetic model", "tiny", allo_synth },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        allo_run(&cases[i]);
    }

    mk_blob blob = { NULL, 0, 0 };
    mk_gguf_model("llama", 0, &blob);
    lb_format(path, sizeof path, "%s", lb_test_temp("alloc.gguf"));
    mk_write(path, blob.data, blob.n);
    mk_free(&blob);
    const allo_case gguf = { "import a GGUF file", path, allo_import };
    allo_run(&gguf);

    mk_blob config = { NULL, 0, 0 }, weights = { NULL, 0, 0 };
    mk_safetensors st = { { NULL, 0, 0 }, { NULL, 0, 0 } };
    mk_config("LlamaForCausalLM", "", &config);
    mk_st_weights(&st, "F32", NULL, true);
    mk_st_end(&st, &weights);
    lb_format(path, sizeof path, "%s", mk_folder("alloc-hf", &config, &weights));
    mk_free(&config);
    mk_free(&weights);
    const allo_case hf = { "import a Hugging Face folder", path, allo_import };
    allo_run(&hf);

    blob = (mk_blob){ NULL, 0, 0 };
    mk_llama2c(true, false, &blob);
    lb_format(path, sizeof path, "%s", lb_test_temp("alloc.bin"));
    mk_write(path, blob.data, blob.n);
    mk_free(&blob);
    const allo_case llama2c = { "import a llama2.c file", path, allo_import };
    allo_run(&llama2c);

    allo_shared("models/stories260K/stories260K.bin");
    allo_shared("models/stories260K/stories260Ktok512.gguf");
    allo_shared("models/TinyStories-656K");
}
