/*
 * Pre-tokenizers: the published patterns as hand-written matchers. Each cuts the text into pieces without
 * gaps.
 *
 *   GPT-2     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *   Llama 3   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
 *   ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 *   Qwen 2    the same with \p{N} for \p{N}{1,3}
 *   SmolLM    \p{N} is cut out first; what is between, by the pattern of GPT-2
 *   Tekken    [^\r\n\p{L}\p{N}]?[U]*[L]+|[^\r\n\p{L}\p{N}]?[U]+[L]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
 *             where U is \p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M} and L is \p{Ll}\p{Lm}\p{Lo}\p{M}
 *   DeepSeek  one after the other, each cutting the pieces of the one before into what matches and what
 *   does not:
 *             [\r\n]   \s?[letters]+   \s?[punctuation]+   \s+$   [U+4E00-U+9FA5 U+0800-U+4E00
 *             U+AC00-U+D7FF]+   \p{N}+
 *             where letters and punctuation are the published lists of ranges: the latter, and what the former lacks, are below.
 *
 * A byte that is not UTF-8 counts as a character that is neither letter, number nor white space.
 */
#include "lb_tok_internal.h"

enum { PRETOK_END = 0, PRETOK_LETTER = 1, PRETOK_NUMBER = 2, PRETOK_SPACE = 4, PRETOK_OTHER = 8 };

typedef struct pretok_char {
    uint32_t cp;
    uint32_t bytes;
    unsigned kind;
} pretok_char;

static pretok_char pretok_look(const char *p, const char *end)
{
    pretok_char c = { 0, 0, PRETOK_END };
    if (p >= end) {
        return c;
    }
    c.bytes = (uint32_t)lb_utf8_decode(p, (size_t)(end - p), &c.cp);
    if (lb_unicode_is_space(c.cp)) {
        c.kind = PRETOK_SPACE;
    } else {
        const lb_unicode_class class = lb_unicode_class_of(c.cp);
        c.kind = class == LB_UC_LETTER ? PRETOK_LETTER : class == LB_UC_NUMBER ? PRETOK_NUMBER : PRETOK_OTHER;
    }
    return c;
}

/* The end of the run of characters of that kind that begins at p. */
static const char *pretok_run(const char *p, const char *end, unsigned kind)
{
    for (pretok_char c; (c = pretok_look(p, end)).kind & kind;) {
        p += c.bytes;
    }
    return p;
}

static bool pretok_is_newline(uint32_t cp)
{
    return cp == '\r' || cp == '\n';
}

/* Bytes of the contraction ('s, 're, ...) at p, which is an apostrophe; 0 if there is none. */
static size_t pretok_contraction(const char *p, const char *end, bool any_case)
{
    const size_t n = (size_t)(end - p);
    if (n < 2) {
        return 0;
    }
    if (any_case && n >= 3 && (unsigned char)p[1] == 0xc5 && (unsigned char)p[2] == 0xbf) {
        return 3; // U+017F, the long s, folds to s
    }
    const char fold = any_case ? 0x20 : 0;
    const char a = (char)(p[1] | fold), b = n >= 3 ? (char)(p[2] | fold) : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') {
        return 2;
    }
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* White space at p that no earlier alternative took: \s+(?!\S)|\s+ */
static const char *pretok_spaces(const char *p, const char *end)
{
    const char *last = p, *q = p;
    for (pretok_char c; (c = pretok_look(q, end)).kind & PRETOK_SPACE;) {
        last = q;
        q += c.bytes;
    }
    return q == end || last == p ? q : last; // leave one for the word that follows
}

static const char *pretok_gpt2(const char *p, const char *end)
{
    const pretok_char c = pretok_look(p, end);
    if (c.cp == '\'') {
        const size_t n = pretok_contraction(p, end, false);
        if (n) {
            return p + n;
        }
    }
    const char *word = p;
    unsigned kind = c.kind;
    if (c.cp == ' ') {
        const unsigned next = pretok_look(p + 1, end).kind;
        if (next & (PRETOK_LETTER | PRETOK_NUMBER | PRETOK_OTHER)) {
            word = p + 1;
            kind = next;
        }
    }
    return kind == PRETOK_SPACE ? pretok_spaces(p, end) : pretok_run(word, end, kind);
}

/* White space: up to its last line break if it has one. */
static const char *pretok_lines(const char *p, const char *end)
{
    const char *after_newline = NULL, *q = p;
    for (pretok_char s; (s = pretok_look(q, end)).kind & PRETOK_SPACE;) {
        q += s.bytes;
        if (pretok_is_newline(s.cp)) {
            after_newline = q;
        }
    }
    return after_newline ? after_newline : pretok_spaces(p, end);
}

static const char *pretok_llama3(const char *p, const char *end, unsigned most_digits)
{
    const pretok_char c = pretok_look(p, end);
    if (c.cp == '\'') {
        const size_t n = pretok_contraction(p, end, true);
        if (n) {
            return p + n;
        }
    }
    if (c.kind == PRETOK_LETTER) {
        return pretok_run(p, end, PRETOK_LETTER);
    }
    if (c.kind == PRETOK_NUMBER) {
        const char *q = p + c.bytes;
        for (unsigned i = 1; i < most_digits; i++) {
            const pretok_char d = pretok_look(q, end);
            if (d.kind != PRETOK_NUMBER) {
                break;
            }
            q += d.bytes;
        }
        return q;
    }
    const pretok_char next = pretok_look(p + c.bytes, end);
    if (next.kind == PRETOK_LETTER && !pretok_is_newline(c.cp)) {
        return pretok_run(p + c.bytes, end, PRETOK_LETTER);
    }
    if (c.kind == PRETOK_OTHER || (c.cp == ' ' && next.kind == PRETOK_OTHER)) {
        const char *q = pretok_run(p + c.bytes, end, PRETOK_OTHER);
        while (q < end && pretok_is_newline((unsigned char)*q)) {
            q++;
        }
        return q;
    }
    return pretok_lines(p, end);
}

/* ---- Tekken ---- */

/* Bit 0: a letter that begins a word, bit 1: one that goes on with it. Both: what has no case, and marks. */
static unsigned pretok_case(const pretok_char *c)
{
    static const unsigned of[] = { 3, 1, 2 };
    return c->kind == PRETOK_LETTER ? of[lb_unicode_case_of(c->cp)] : c->bytes && lb_unicode_class_of(c->cp) == LB_UC_MARK ? 3 : 0;
}

/* [U]*[L]+ at p, the longest that backtracking leaves; without `lower` [U]+. NULL if there is none. */
static const char *pretok_word(const char *p, const char *end, bool lower)
{
    const char *q = p, *both = NULL; /* behind the last that is U and L */
    pretok_char c = pretok_look(q, end);
    unsigned kind = pretok_case(&c);
    for (; kind & 1; kind = pretok_case(&c)) {
        q += c.bytes;
        both = kind == 3 ? q : both;
        c = pretok_look(q, end);
    }
    if (!lower) {
        return q > p ? q : NULL;
    }
    if (!(kind & 2)) {
        return both;
    }
    for (; kind & 2; kind = pretok_case(&c)) {
        q += c.bytes;
        c = pretok_look(q, end);
    }
    return q;
}

static const char *pretok_tekken(const char *p, const char *end)
{
    const pretok_char c = pretok_look(p, end);
    const bool before = c.kind != PRETOK_LETTER && c.kind != PRETOK_NUMBER && !pretok_is_newline(c.cp);
    for (int lower = 1; lower >= 0; lower--) {
        const char *q = before ? pretok_word(p + c.bytes, end, lower) : NULL;
        q = q ? q : pretok_word(p, end, lower);
        if (q) {
            return q;
        }
    }
    if (c.kind == PRETOK_NUMBER) {
        return p + c.bytes;
    }
    const char *q = p + c.bytes;
    if (c.kind == PRETOK_OTHER || (c.cp == ' ' && pretok_look(q, end).kind == PRETOK_OTHER)) {
        q = pretok_run(q, end, PRETOK_OTHER);
        while (q < end && (pretok_is_newline((unsigned char)*q) || *q == '/')) {
            q++;
        }
        return q;
    }
    return pretok_lines(p, end);
}

/* ---- SmolLM ---- */

/* p->stop is where the next number is: looking for it at every piece would take the square of the time. */
static const char *pretok_smollm(lb_pretok *p)
{
    const pretok_char c = pretok_look(p->at, p->end);
    if (c.kind == PRETOK_NUMBER) {
        return p->at + c.bytes;
    }
    if (p->at >= p->stop) {
        p->stop = pretok_run(p->at, p->end, ~(unsigned)PRETOK_NUMBER);
    }
    return pretok_gpt2(p->at, p->stop);
}

/* ---- DeepSeek LLM ---- */

typedef struct pretok_range {
    uint32_t first, last;
} pretok_range;

/* The published list of letters: those with upper and lower case but for these, which its Unicode did not have or it leaves out. */
static const pretok_range pretok_deepseek_not[] = {
    { 0x560, 0x588 },   { 0x10c7, 0x10ff },   { 0x1c80, 0x1c88 },   { 0x2d00, 0x2d2d },
    { 0xa790, 0xab68 }, { 0x10570, 0x105bc }, { 0x16e40, 0x1df1e },
};

static const pretok_range pretok_deepseek_marks[] = {
    { 0x21, 0x2f },     { 0x3a, 0x7e },     { 0x2018, 0x201f },
    { 0x3000, 0x3002 }, { 0xff01, 0xff0f }, { 0xff1a, 0xff5e },
};

static bool pretok_in(const pretok_range *ranges, size_t n, uint32_t cp)
{
    size_t low = 0, high = n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (ranges[middle].last < cp) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < n && ranges[low].first <= cp;
}

static bool pretok_is_deepseek_letter(const pretok_char *c)
{
    return c->kind == PRETOK_LETTER && lb_unicode_case_of(c->cp) != LB_CASE_NEITHER &&
           !pretok_in(pretok_deepseek_not, sizeof pretok_deepseek_not / sizeof(pretok_range), c->cp);
}

static bool pretok_is_deepseek_mark(const pretok_char *c)
{
    return c->bytes &&
           pretok_in(pretok_deepseek_marks, sizeof pretok_deepseek_marks / sizeof(pretok_range), c->cp);
}

/*
 * \s?[list]+ cuts the text from p to end into matches and what lies between: the end of the first such
 * part. With newlines, a line break is a part of its own.
 */
static const char *pretok_deepseek_part(const char *p, const char *end, bool newlines,
                                        bool (*in_list)(const pretok_char *))
{
    for (const char *q = p;;) {
        const pretok_char c = pretok_look(q, end);
        if (!c.bytes) {
            return q;
        }
        if (newlines && pretok_is_newline(c.cp)) {
            return q > p ? q : q + 1;
        }
        const char *run = q + c.bytes;
        bool match = in_list(&c);
        if (c.kind == PRETOK_SPACE) {
            const pretok_char next = pretok_look(run, end);
            match = match || in_list(&next);
        }
        if (match) {
            if (q > p) {
                return q;
            }
            for (pretok_char d = pretok_look(run, end); in_list(&d); d = pretok_look(run, end)) {
                run += d.bytes;
            }
            return run;
        }
        q = run;
    }
}

/* Which of the last two patterns a character belongs to: bit 0 the ideographs' ranges, bit 1 \p{N}. */
static unsigned pretok_deepseek_class(const pretok_char *c)
{
    const bool wide = (c->cp >= 0x800 && c->cp <= 0x9fa5) || (c->cp >= 0xac00 && c->cp <= 0xd7ff);
    return (wide ? 1u : 0u) | (c->kind == PRETOK_NUMBER ? 2u : 0u);
}

static const char *pretok_deepseek(lb_pretok *p)
{
    if (p->at == p->outer) {
        p->outer = pretok_deepseek_part(p->at, p->end, true, pretok_is_deepseek_letter);
        p->stop = p->at;
    }
    if (p->at == p->stop) {
        p->stop = pretok_deepseek_part(p->at, p->outer, false, pretok_is_deepseek_mark);
        p->tail = p->stop; // \s+$
        const char *q = p->at;
        bool in_space = false;
        while (q < p->stop) {
            const pretok_char c = pretok_look(q, p->stop);
            if (c.kind != PRETOK_SPACE) {
                in_space = false;
            } else if (!in_space) {
                in_space = true;
                p->tail = q;
            }
            q += c.bytes;
        }
        if (!in_space) {
            p->tail = p->stop;
        }
    }
    const char *limit = p->at < p->tail ? p->tail : p->stop, *q = p->at;
    pretok_char c = pretok_look(q, limit);
    const unsigned class = pretok_deepseek_class(&c);
    do {
        q += c.bytes;
        c = pretok_look(q, limit);
    } while (c.bytes && pretok_deepseek_class(&c) == class);
    return q;
}

size_t lb_pretok_next(lb_pretok *p)
{
    if (p->at >= p->end) {
        return 0;
    }
    const char *end = p->end;
    switch (p->kind) {
    case LB_PRETOK_GPT2: end = pretok_gpt2(p->at, p->end); break;
    case LB_PRETOK_LLAMA3: end = pretok_llama3(p->at, p->end, 3); break;
    case LB_PRETOK_QWEN2: end = pretok_llama3(p->at, p->end, 1); break;
    case LB_PRETOK_DEEPSEEK_LLM: end = pretok_deepseek(p); break;
    case LB_PRETOK_SMOLLM: end = pretok_smollm(p); break;
    case LB_PRETOK_TEKKEN: end = pretok_tekken(p->at, p->end); break;
    case LB_PRETOK_NONE: break;
    }
    const size_t n = (size_t)(end - p->at);
    p->at = end;
    return n;
}
