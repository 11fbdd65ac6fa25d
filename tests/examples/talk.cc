// lbrt from C++11: handles in unique_ptr, errors as exceptions of the host's own, a lambda for the tokens.
// No exception crosses a callback: lbrt is C.
//
//     talk MODEL.lbrt QUESTION
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "lbrt.h"

struct Close {
    void operator()(lbrt_model *m) const { lbrt_model_close(m); }
    void operator()(lbrt_session *s) const { lbrt_session_free(s); }
};
using Model = std::unique_ptr<lbrt_model, Close>;
using Session = std::unique_ptr<lbrt_session, Close>;

static void check(lbrt_status status, const char *text)
{
    if (status != LBRT_OK) {
        throw std::runtime_error(std::string(lbrt_status_name(status)) + ": " + text);
    }
}

static Model open(const char *path)
{
    lbrt_error err{};
    lbrt_model *m = nullptr;
    check(lbrt_model_open(path, nullptr, &m, &err), err.text);
    return Model(m);
}

static Session session_of(const Model &model)
{
    lbrt_error err{};
    lbrt_session *s = nullptr;
    lbrt_session_options options = LBRT_SESSION_OPTIONS_INIT;
    options.n_context = 512;
    check(lbrt_session_create(model.get(), &options, &s, &err), err.text);
    return Session(s);
}

static std::vector<lbrt_token> format(const Model &model, const std::string &question)
{
    lbrt_error err{};
    lbrt_message message{"user", question.c_str()};
    size_t bytes = 0, n = 0;
    lbrt_status s = lbrt_chat_format(model.get(), &message, 1, true, nullptr, 0, &bytes, &err); // how much room?
    check(s == LBRT_ERR_BUFFER ? LBRT_OK : s, err.text);
    std::string text(bytes, 0);
    check(lbrt_chat_format(model.get(), &message, 1, true, &text[0], bytes, &bytes, &err), err.text);
    std::vector<lbrt_token> tokens(bytes + 8);
    check(lbrt_tokenize(model.get(), text.data(), bytes, LBRT_TOKENIZE_BOS | LBRT_TOKENIZE_SPECIAL, tokens.data(), tokens.size(), &n, &err),
          err.text);
    tokens.resize(n);
    return tokens;
}

int main(int argc, char **argv)
try {
    if (argc != 3) {
        throw std::runtime_error("usage: talk MODEL.lbrt QUESTION");
    }
    const Model model = open(argv[1]);
    const Session session = session_of(model); // freed before the model
    const std::vector<lbrt_token> prompt = format(model, argv[2]);
    std::string answer;
    lbrt_generation how = LBRT_GENERATION_INIT;
    how.max_tokens = 64;
    check(lbrt_generate(session.get(), prompt.data(), prompt.size(), &how,
                        [](void *user, lbrt_token, const char *text, size_t bytes) -> bool {
                            static_cast<std::string *>(user)->append(text, bytes);
                            return true;
                        },
                        &answer),
          lbrt_session_error(session.get()));
    std::printf("%s\n", answer.c_str());
    return answer.empty() ? 1 : 0;
} catch (const std::exception &e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
