/*
 * Seeds of the fuzz target container: its short form (tests/fuzz/fuzz_container.c), which has no weights. Small models, one for each thing that
 * a .lbrt file can say: formats, kinds of terms, layers that differ, tokenizers; and adapters.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../formats/container/lb_wformat.h"
#include "../../formats/import/lb_tokdata.h"
#include "../../formats/pack/lb_writer.h"
#include "../fuzz/lb_fuzz.h"
#include "../hand_file.h"
#include "../lb_test.h"
#include "../make_models.h"
#include "fuzz_seeds.h"

enum { SEED_LINE = 64, SEED_HEAD = 256 };
enum { REPAIR = 1, ADAPTER = 2, VERIFY = 4, TOKENIZER = 8, SHORT = 16, OUTLIERS = 32, BYTE_TABLES = 64, SCALAR = 128 };

/* Terms of a tensor: sizes of 0 mean all that is left. */
typedef struct seed_term {
    lb_term_kind kind;
    lb_wformat format;
    unsigned row0, n_rows, col0, n_cols;
    unsigned inner; /* of a chain: its inner width; of terms without a format: lines of a tile */
    bool rotated;
} seed_term;

/* Tensors that are not one packed term of the model's format. */
typedef struct seed_special {
    const char *name;
    seed_term terms[4];
} seed_special;

typedef struct seed_model {
    lb_writer w;
    lb_hparams h;
    lb_wformat format;
    const seed_special *special; /* the last has no name; NULL: none */
    lb_writer_transform rotation;
    unsigned char line[SEED_LINE];
    void *tokenizer;
    size_t tokenizer_bytes;
} seed_model;

static void ok(lbrt_status s)
{
    lb_fuzz_check(s == LBRT_OK, "a seed that cannot be written");
}

/* A line of weights is 16 floats, unless a text is given. */
static void begin(seed_model *m, lb_wformat format, const char *text)
{
    memset(m, 0, sizeof *m);
    static const float weights[16] = { 8.0f, 2.0f, -1.0f, 0.5f, 4.0f, -2.0f, 1.0f, 8.0f, -0.5f, 2.0f, 1.0f, -4.0f, 0.25f, 1.0f, -8.0f, 3.0f };
    memcpy(m->line, weights, SEED_LINE);
    if (text) {
        memset(m->line, ' ', SEED_LINE);
        memcpy(m->line, text, lb_min(strlen(text), SEED_LINE));
    }
    m->format = format;
    m->h = (lb_hparams){ .n_vocab = 64, .n_layers = 1, .dim = 64, .n_heads = 4, .n_kv_heads = 2, .head_dim = 16, .ffn_dim = 64, .n_context = 100,
                         .norm_eps = 1e-5f, .rope_dim = 16, .rope_theta = 1e4f };
    lb_format(m->h.architecture, sizeof m->h.architecture, "llama");
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    ok(lb_writer_open(&m->w, lb_test_temp("seed.lbrt"), &a, NULL));
}

/* The line over and over, as the target makes it: checksums are right. */
static void part(seed_model *m, lb_wformat format, size_t rows, size_t cols, size_t tile_bytes)
{
    ok(lb_writer_part(&m->w, format, rows, cols));
    const lb_wformat_info *info = lb_wformat_find((uint32_t)format);
    const size_t tile = info ? info->tile_bytes(cols) : tile_bytes;
    for (size_t at = 0; at < (rows + LB_TILE_ROWS - 1) / LB_TILE_ROWS * tile; at += SEED_LINE) {
        ok(lb_writer_data(&m->w, m->line, SEED_LINE));
    }
    ok(lb_writer_part_end(&m->w));
}

static void terms(seed_model *m, const char *name, size_t rows, size_t cols, const seed_term *t, unsigned n)
{
    ok(lb_writer_tensor(&m->w, name, rows, cols, n));
    for (unsigned i = 0; i < n; i++, t++) {
        const size_t n_rows = t->n_rows ? t->n_rows : rows - t->row0, n_cols = t->n_cols ? t->n_cols : cols - t->col0;
        const size_t inputs = t->rotated ? lb_round_up(n_cols, LB_K_ALIGN) : n_cols;
        ok(lb_writer_term(&m->w, t->kind, t->rotated ? &m->rotation : NULL, t->row0, n_rows, t->col0, n_cols));
        part(m, t->format, n_rows, t->kind == LB_TERM_CHAIN ? t->inner : inputs, t->inner * (size_t)64);
        if (t->kind == LB_TERM_CHAIN) {
            part(m, t->format, t->inner, inputs, 0);
        }
    }
}

static void matrix(seed_model *m, int layer, const char *what, size_t rows, size_t cols)
{
    char name[64];
    lb_format(name, sizeof name, layer < 0 ? "%s%s" : "layers.%s%s", layer < 0 ? "" : layer ? "1." : "0.", what);
    for (const seed_special *s = m->special; s && s->name; s++) {
        if (strcmp(s->name, name) == 0) {
            unsigned n = 1;
            while (n < 4 && s->terms[n].kind) {
                n++;
            }
            terms(m, name, rows, cols, s->terms, n);
            return;
        }
    }
    const seed_term packed = { .kind = LB_TERM_PACKED, .format = m->format };
    terms(m, name, rows, cols, &packed, 1);
}

static void vector(seed_model *m, int layer, const char *what, size_t n)
{
    char name[64];
    lb_format(name, sizeof name, layer < 0 ? "%s%s" : "layers.%s%s", layer < 0 ? "" : layer ? "1." : "0.", what);
    float x[2048];
    for (size_t i = 0; i < n; i++) {
        memcpy(&x[i], m->line + 4 * i % SEED_LINE, 4);
    }
    ok(lb_writer_vector(&m->w, name, x, n));
}

/* Heads and widths of one layer. */
typedef struct seed_layer {
    unsigned in, mid, out, ffn, heads, k_heads, v_heads;
} seed_layer;

static void layer(seed_model *m, int i, const seed_layer *l)
{
    const unsigned d = m->h.head_dim, v = m->h.v_head_dim ? m->h.v_head_dim : d;
    vector(m, i, "attn_norm", l->in);
    matrix(m, i, "attn_q", l->heads * d, l->in);
    matrix(m, i, "attn_k", l->k_heads * d, l->in);
    matrix(m, i, "attn_v", l->v_heads * v, l->in);
    matrix(m, i, "attn_o", l->mid, l->heads * v);
    vector(m, i, "ffn_norm", l->mid);
    matrix(m, i, "ffn_gate", l->ffn, l->mid);
    matrix(m, i, "ffn_up", l->ffn, l->mid);
    matrix(m, i, "ffn_down", l->out, l->ffn);
}

/* A layer as the model's numbers say. */
static void plain_layer(seed_model *m, int i)
{
    const lb_hparams *h = &m->h;
    layer(m, i, &(seed_layer){ h->dim, h->dim, h->dim, h->ffn_dim, h->n_heads, h->n_kv_heads, h->n_v_heads ? h->n_v_heads : h->n_kv_heads });
}

/* The file without what lies between its head and the end of DATA, its first section. */
static void end(seed_model *m, const char *name, int how)
{
    size_t n = 0;
    const lb_hparams *h = m->h.n_layers ? &m->h : NULL;
    ok(lb_writer_commit(&m->w, h, m->tokenizer, m->tokenizer_bytes));
    lb_writer_abort(&m->w);
    const lbrt_allocator a = lb_allocator_or_default(NULL);
    lb_free(&a, m->tokenizer, m->tokenizer_bytes);
    char *file = lb_test_read(lb_test_temp("seed.lbrt"), &n);
    lb_fuzz_check(file != NULL, "a seed that cannot be read");
    const size_t data_end = (size_t)(lb_load_u64(file + 72) + lb_load_u64(file + 80));
    mk_blob b = { NULL, 0, 0 };
    mk_put(&b, m->line, SEED_LINE);
    mk_put(&b, file, SEED_HEAD);
    mk_put(&b, file + data_end, n - data_end);
    put("container", name, how | SHORT, b.data, b.n);
    mk_free(&b);
    free(file);
}

/* All weight formats, each with 64 rows of the embedding, which is the head too. */
static void seed_formats(const char *name, int how)
{
    enum { MOST = 32 };
    static const seed_special special[] = {
        { "layers.0.ffn_gate", { { .kind = LB_TERM_PACKED, .format = LB_W_F32 } } },
        { "layers.0.ffn_down", { { .kind = LB_TERM_PACKED, .format = LB_W_Q8, .n_cols = 64 }, { .kind = LB_TERM_PACKED, .format = LB_W_LUT4, .col0 = 64 } } },
        { NULL, { { .kind = LB_TERM_PACKED } } },
    };
    seed_model m;
    begin(&m, LB_W_Q8, NULL);
    m.special = special;
    m.h.ffn_dim = 128;
    seed_term all[MOST] = { { .kind = LB_TERM_PACKED } };
    const lb_wformat_info *f;
    unsigned n = 0;
    for (; n < MOST && (f = lb_wformat_at(n)) != NULL; n++) {
        all[n] = (seed_term){ .kind = LB_TERM_PACKED, .format = f->id, .row0 = 64 * n, .n_rows = 64 };
    }
    m.h.n_vocab = 64 * n;
    terms(&m, "tok_embed", m.h.n_vocab, m.h.dim, all, n);
    vector(&m, -1, "out_norm", m.h.dim);
    plain_layer(&m, 0);
    end(&m, name, how);
}

/* Every kind of term, transforms, biases and the norms of single heads. */
static void seed_terms(const char *name, int how)
{
    static const seed_special special[] = {
        { "layers.0.attn_q", { { .kind = LB_TERM_PACKED, .format = LB_W_TCQ2, .rotated = true } } },
        { "layers.0.attn_k", { { .kind = LB_TERM_PACKED, .format = LB_W_Q4 }, { .kind = LB_TERM_CHAIN, .format = LB_W_Q8, .inner = 16, .rotated = true } } },
        { "layers.0.attn_v", { { .kind = LB_TERM_CHAIN, .format = LB_W_F16, .inner = 8 }, { .kind = LB_TERM_CHAIN, .format = LB_W_INT8, .inner = 70 } } },
        { "layers.0.attn_o", { { .kind = LB_TERM_PACKED, .format = LB_W_LUT2 }, { .kind = LB_TERM_MASKED, .inner = 5 } } },
        { "layers.0.ffn_gate", { { .kind = LB_TERM_MASKED, .inner = 9 }, { .kind = LB_TERM_PACKED, .format = LB_W_Q3, .row0 = 64, .n_rows = 64 } } },
        { "layers.0.ffn_down", { { .kind = LB_TERM_PACKED, .format = LB_W_F32, .n_cols = 64 }, { .kind = LB_TERM_SPARSE, .inner = 2 },
                                 { .kind = LB_TERM_PACKED, .format = LB_W_LUT4, .col0 = 64 },
                                 { .kind = LB_TERM_CHAIN, .format = LB_W_LUT1, .inner = 16, .col0 = 64 } } },
        { NULL, { { .kind = LB_TERM_PACKED } } },
    };
    seed_model m;
    begin(&m, LB_W_Q4, NULL);
    m.special = special;
    m.h.ffn_dim = 136;
    /* Block and columns of the transform, its signs, which are columns below 136 of a sparse term too, and values. */
    for (unsigned i = 0; i < 16; i++) {
        hand_u16(m.line + 2 * i, i == 0 || i == 2 ? 64 : i < 4 ? 0 : i * 37 % 136);
        hand_u16(m.line + 32 + 2 * i, i % 2 ? 0x4100 + i : 0x3c00); /* two are about 8.0 as f32 */
    }
    ok(lb_writer_hadamard(&m.w, 64, 64, m.line + 8, &m.rotation));
    matrix(&m, -1, "tok_embed", m.h.n_vocab, m.h.dim);
    plain_layer(&m, 0);
    static const char *const biases[] = { "attn_q_bias", "attn_k_bias", "attn_v_bias", "attn_o_bias", "ffn_gate_bias", "ffn_up_bias", "ffn_down_bias" };
    const unsigned rows[] = { 64, 32, 32, 64, 136, 136, 64 };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        vector(&m, 0, biases[i], rows[i]);
    }
    vector(&m, 0, "attn_q_norm", 16);
    vector(&m, 0, "attn_k_norm", 16);
    vector(&m, -1, "out_norm", m.h.dim);
    matrix(&m, -1, "out_head", m.h.n_vocab, m.h.dim);
    end(&m, name, how);
}

/* Layers with heads and widths of their own; fewer key than value heads, a window, sub-norms, squared ReLU, Llama 3's rotary rule. */
static void seed_unequal(void)
{
    seed_model m;
    begin(&m, LB_W_TERN, NULL);
    m.h.n_layers = 2;
    m.h.unequal = true;
    m.h.n_v_heads = 4;
    m.h.v_head_dim = 8;
    m.h.window = 5;
    m.h.window_from = 1;
    m.h.attn_factor = 1.5f;
    m.h.activation = LB_ACT_RELU2;
    m.h.rope_interleaved = true;
    m.h.rope_scaling = LB_ROPE_LLAMA3;
    m.h.rope_factor = 8;
    m.h.rope_low_freq = 1;
    m.h.rope_high_freq = 4;
    m.h.rope_original_context = 64;
    matrix(&m, -1, "tok_embed", m.h.n_vocab, m.h.dim);
    layer(&m, 0, &(seed_layer){ 64, 64, 64, 64, 4, 2, 4 });
    layer(&m, 1, &(seed_layer){ 64, 64, 64, 24, 2, 1, 1 });
    vector(&m, 0, "attn_sub_norm", 32);
    vector(&m, 0, "ffn_sub_norm", 64);
    vector(&m, 1, "ffn_sub_norm", 24);
    vector(&m, -1, "rope_factors", 8);
    vector(&m, -1, "out_norm", m.h.dim);
    end(&m, "unequal", REPAIR | VERIFY);
}

/* Widths that change within layers, with shortcuts. */
static void seed_widths(void)
{
    seed_model m;
    begin(&m, LB_W_S24Q4, NULL);
    m.h.n_layers = 2;
    m.h.norm_width = 64;
    m.h.rope_scaling = LB_ROPE_LINEAR;
    m.h.rope_factor = 2;
    matrix(&m, -1, "tok_embed", m.h.n_vocab, m.h.dim);
    layer(&m, 0, &(seed_layer){ 64, 48, 40, 56, 4, 2, 2 });
    matrix(&m, 0, "attn_shortcut", 48, 64);
    matrix(&m, 0, "ffn_shortcut", 40, 48);
    layer(&m, 1, &(seed_layer){ 40, 40, 80, 64, 4, 2, 2 });
    matrix(&m, 1, "ffn_shortcut", 80, 40);
    vector(&m, -1, "out_norm", 80);
    matrix(&m, -1, "out_head", m.h.n_vocab, 80);
    end(&m, "widths", REPAIR);
}

/* Low-rank changes of the model of hand_file.h. */
static void seed_lora(const char *name, const char *kind, int how)
{
    seed_model m;
    begin(&m, LB_W_F32, NULL);
    m.h.n_layers = 0; /* no numbers */
    static const seed_term chains[] = { { .kind = LB_TERM_CHAIN, .format = LB_W_F32, .inner = 4 },
                                        { .kind = LB_TERM_CHAIN, .format = LB_W_BF16, .inner = 70 } };
    terms(&m, "layers.0.attn_q", 16, 16, &chains[0], 1);
    terms(&m, "layers.0.attn_o", 16, 16, &chains[1], 1);
    terms(&m, "layers.0.ffn_down", 16, 16, &chains[0], 1);
    ok(lb_writer_meta(&m.w, &(lb_meta_value){ .key = "adapter", .type = LB_META_STRING, .s = kind }, true));
    ok(lb_writer_meta(&m.w, &(lb_meta_value){ .key = "adapter.rope_interleaved", .type = LB_META_BOOL, .u = 1 }, false));
    end(&m, name, how);
}

/* ---- tokenizers ---- */

/* A vocabulary of what is needed: special tokens, single bytes, and what a few merges make. */
static lb_tokdata *vocabulary(lb_tok_model model, lb_pretokenizer pre, unsigned flags, unsigned n_bytes)
{
    static const char *const merged[][2] = { { "t", "h" }, { "th", "e" }, { " ", "t" }, { " ", "the" }, { "1", "2" }, { "12", "3" }, { "\n", "\n" },
                                             { " ", " " }, { "e", "n" }, { "en", "d" }, { "'", "s" }, { "\r", "\n" },
                                             { "\xef", "\xbf\xbd" }, { "e", " t" } };
    static const struct {
        const char *text;
        lb_token_type type;
        uint8_t strip;
    } special[] = { { "<unk>", LB_TOKEN_UNKNOWN, 0 }, { "<s>", LB_TOKEN_CONTROL, LB_TOK_LSTRIP | LB_TOK_RSTRIP }, { "</s>", LB_TOKEN_CONTROL, 0 },
                    { "<|im_start|>", LB_TOKEN_CONTROL, LB_TOK_LSTRIP }, { "<|im_end|>", LB_TOKEN_CONTROL, LB_TOK_RSTRIP },
                    { "<|x|>", LB_TOKEN_USER, LB_TOK_RSTRIP }, { "<|x", LB_TOKEN_USER, 0 }, { "unused", LB_TOKEN_UNUSED, 0 } };
    enum { N_SPECIAL = sizeof special / sizeof special[0], ALL_MERGED = sizeof merged / sizeof merged[0] };
    /* The last two, U+FFFD and a space that does not lead, only where bytes are missing. */
    const unsigned n_merged = n_bytes < 200 ? ALL_MERGED : ALL_MERGED - 2;
    lb_tokdata *t = NULL;
    /* With all bytes, printable characters are there once more, as SentencePiece's vocabularies are of characters. */
    const bool both = model != LB_TOK_BYTE_BPE && n_bytes == 256;
    const unsigned first = N_SPECIAL + n_bytes, from = both ? 95 : 0;
    ok(lb_tokdata_new(first + from + n_merged, NULL, &t, NULL));
    t->model = model;
    t->pretokenizer = pre;
    t->flags = flags;
    t->unk = 0;
    t->bos = 1;
    t->eos = 2;
    lb_tokdata_add_end(t, 4);
    for (unsigned i = 0; i < N_SPECIAL; i++) {
        ok(lb_tokdata_set(t, i, special[i].text, strlen(special[i].text), 0, special[i].type, NULL));
        t->tokens[i].strip = special[i].strip;
    }
    for (unsigned i = 0; i < n_bytes; i++) { /* fewer than 256: from the line feed on */
        const char byte = (char)(unsigned char)(n_bytes == 256 ? i : i + 10);
        ok(lb_tokdata_set(t, N_SPECIAL + i, &byte, 1, -30.0f, model == LB_TOK_BYTE_BPE || !both ? LB_TOKEN_NORMAL : LB_TOKEN_BYTE, NULL));
    }
    for (unsigned i = 0; i < from; i++) {
        const char c = (char)(32 + i);
        ok(lb_tokdata_set(t, first + i, &c, 1, -20.0f, LB_TOKEN_NORMAL, NULL));
    }
    for (unsigned i = 0; i < n_merged; i++) {
        char text[8];
        lb_format(text, sizeof text, "%s%s", merged[i][0], merged[i][1]);
        const bool unused = model == LB_TOK_SPM && strcmp(text, "end") == 0;
        ok(lb_tokdata_set(t, first + from + i, text, strlen(text), -(float)i, unused ? LB_TOKEN_UNUSED : LB_TOKEN_NORMAL, NULL));
    }
    if (model != LB_TOK_SPM) {
        t->merges = (lb_tokdata_merge *)lb_alloc(&t->allocator, n_merged * sizeof *t->merges);
        lb_fuzz_check(t->merges != NULL, "out of memory");
        for (unsigned i = 0; i < n_merged; i++) {
            const int32_t l = lb_tokdata_find(t, merged[i][0], strlen(merged[i][0])), r = lb_tokdata_find(t, merged[i][1], strlen(merged[i][1]));
            if (l >= 0 && r >= 0) {
                t->merges[t->n_merges++] = (lb_tokdata_merge){ l, r, (int32_t)(first + from + i) };
            }
        }
    }
    return t;
}

static void seed_tokens(const char *name, const char *text, lb_tok_model model, lb_pretokenizer pre, unsigned flags, unsigned n_bytes)
{
    static const char chat[] = "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] | trim + '<|im_end|>' }}{% endfor %}"
                               "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
    seed_model m;
    begin(&m, LB_W_F32, text);
    lb_tokdata *t = vocabulary(model, pre, flags, n_bytes);
    ok(lb_tokdata_set_template(t, chat, sizeof chat - 1, NULL));
    ok(lb_tokdata_write(t, NULL, &m.tokenizer, &m.tokenizer_bytes, NULL));
    m.h.n_vocab = n_bytes < 100 ? t->n_tokens - 1 : t->n_tokens; /* refused */
    m.h.dim = m.h.ffn_dim = 16;
    m.h.n_heads = m.h.n_kv_heads = 1;
    lb_tokdata_free(t);
    matrix(&m, -1, "tok_embed", m.h.n_vocab, m.h.dim);
    vector(&m, -1, "out_norm", m.h.dim);
    plain_layer(&m, 0);
    end(&m, name, REPAIR | TOKENIZER);
}

#define HAN "\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad" /* what does not fit the line is cut off within a character */

void seeds_container(void)
{
    char marks[SEED_LINE + 1] = "e"; /* a long stretch to compose */
    for (size_t i = 1; i + 2 < sizeof marks; i += 2) {
        memcpy(marks + i, "\xcd\x84", 2); /* two marks in one */
    }
    hand_file f;
    hand_make(&f);
    lb_fuzz_check(lb_load_u32(f.data + f.section[2]) == 4, "the hand-made file has other sections");
    const size_t data_end = (size_t)(lb_load_u64(f.data + f.section[2] + 8) + lb_load_u64(f.data + f.section[2] + 16));
    mk_blob b = { NULL, 0, 0 };
    mk_put(&b, f.data + 4096, SEED_LINE);
    mk_put(&b, f.data, SEED_HEAD);
    mk_put(&b, f.data + data_end, f.bytes - data_end);
    put("container", "hand", REPAIR | SHORT | SCALAR, b.data, b.n);
    mk_free(&b);
    hand_free(&f);
    seed_formats("formats", REPAIR | VERIFY);
    seed_formats("formats-outliers", REPAIR | OUTLIERS);
    seed_formats("formats-bytes", REPAIR | BYTE_TABLES);
    seed_terms("terms", REPAIR);
    seed_terms("terms-bytes", REPAIR | BYTE_TABLES | OUTLIERS);
    seed_unequal();
    seed_widths();
    seed_lora("lora", "lora", REPAIR | ADAPTER);
    seed_lora("lora-unknown", "ia3", REPAIR | ADAPTER);
    seed_tokens("gpt2", "I'm 12345 \xc3\xa9t\xc3\xa9  \n\n<s>  ab" HAN HAN HAN HAN HAN, LB_TOK_BYTE_BPE, LB_PRETOK_GPT2, LB_TOK_ADD_BOS, 240);
    seed_tokens("llama3", "WE'LL see 1234567\r\n\r\n (x) \xd0\xaf", LB_TOK_BYTE_BPE, LB_PRETOK_LLAMA3, LB_TOK_IGNORE_MERGES, 117);
    seed_tokens("qwen2", marks, LB_TOK_BYTE_BPE, LB_PRETOK_QWEN2, LB_TOK_NFC, 117);
    seed_tokens("deepseek", "\xe4\xb8\xad\xe6\x96\x87 12\n a-b_c \xef\xbc\x81", LB_TOK_BYTE_BPE, LB_PRETOK_DEEPSEEK_LLM, LB_TOK_ADD_EOS, 117);
    seed_tokens("bytes", "the end 12312", LB_TOK_BYTE_BPE, LB_PRETOK_NONE, LB_TOK_IGNORE_MERGES | LB_TOK_NFC, 117);
    seed_tokens("spm", "<|x|>  the  end  \xf0\x9f\x98\x80 then", LB_TOK_SPM, LB_PRETOK_NONE,
                LB_TOK_ADD_BOS | LB_TOK_SPACE_PREFIX | LB_TOK_COLLAPSE_SPACES, 256);
    seed_tokens("spm-no-bytes", " the<s> end\xe4\xb8\xad", LB_TOK_SPM, LB_PRETOK_NONE, LB_TOK_SPACE_PREFIX | LB_TOK_PREFIX_FIRST | LB_TOK_ADD_EOS, 117);
    seed_tokens("bpe-no-bytes", "the end\xc3\xa9 <|x the", LB_TOK_BPE, LB_PRETOK_NONE, LB_TOK_ADD_BOS | LB_TOK_SPACE_PREFIX, 117);
    seed_tokens("too-many-tokens", "the end", LB_TOK_SPM, LB_PRETOK_NONE, 0, 10);
    seed_tokens("bpe", "the end  \xc3\xa9 <|x the", LB_TOK_BPE, LB_PRETOK_NONE, LB_TOK_ADD_BOS | LB_TOK_SPACE_PREFIX | LB_TOK_PREFIX_FIRST, 256);
}
