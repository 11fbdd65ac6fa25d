/*
 * The JSON reader: one pass, no recursion. Nodes come from blocks that never move, so that links are plain
 * pointers; strings go to one buffer of the text's size, which suffices because an unescaped string and its
 * NUL are shorter than what was quoted.
 */
#include "lb_json.h"

#include "../../runtime/base/lb_utf8.h"

#include <math.h>

/*
 * Blocks of nodes double up to this many, so that neither a config of 20 values nor a vocabulary of 150,000
 * is wasteful.
 */
#define JSON_BLOCK_MIN 32u
#define JSON_BLOCK_MAX 16384u

typedef struct json_block {
    struct json_block *before;
    size_t bytes;
    size_t n, cap;
    lb_json nodes[];
} json_block;

struct lb_json_doc {
    lbrt_allocator a;
    json_block *blocks;
    char *strings;
    size_t strings_bytes;
    lb_json *root;
};

typedef struct json_reader {
    const unsigned char *text;
    size_t bytes, pos;
    lb_json_doc *doc;
    char *strings; /* where the next string goes */
    lbrt_error *err;
} json_reader;

static lbrt_status json_fail(const json_reader *r, const char *what)
{
    return lb_fail(r->err, LBRT_ERR_FORMAT, "JSON: %s at byte %zu", what, r->pos);
}

static lb_json *json_new_node(lb_json_doc *doc)
{
    json_block *b = doc->blocks;
    if (b == NULL || b->n == b->cap) {
        size_t cap = b == NULL ? JSON_BLOCK_MIN : lb_min(b->cap * 2, JSON_BLOCK_MAX);
        size_t bytes = sizeof(json_block) + cap * sizeof(lb_json);
        json_block *fresh = lb_alloc(&doc->a, bytes);
        if (fresh == NULL) {
            return NULL;
        }
        fresh->before = b;
        fresh->bytes = bytes;
        fresh->n = 0;
        fresh->cap = cap;
        doc->blocks = b = fresh;
    }
    lb_json *node = &b->nodes[b->n++];
    memset(node, 0, sizeof *node);
    return node;
}

static void json_skip_space(json_reader *r)
{
    while (r->pos < r->bytes) {
        unsigned char c = r->text[r->pos];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
            return;
        }
        r->pos++;
    }
}

/* The next byte, or 0 at the end (a NUL in the text is no valid token either). */
static unsigned char json_peek(const json_reader *r)
{
    return r->pos < r->bytes ? r->text[r->pos] : 0;
}

static bool json_hex4(const unsigned char *p, uint32_t *out)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = p[i];
        uint32_t digit;
        if (c >= '0' && c <= '9') {
            digit = (uint32_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            digit = (uint32_t)(c - 'a') + 10;
        } else if (c >= 'A' && c <= 'F') {
            digit = (uint32_t)(c - 'A') + 10;
        } else {
            return false;
        }
        v = v << 4 | digit;
    }
    *out = v;
    return true;
}

/* An escape; pos is behind the backslash. */
static lbrt_status json_read_escape(json_reader *r, char **out)
{
    unsigned char c = json_peek(r);
    r->pos++;
    switch (c) {
    case '"': case '\\': case '/': *(*out)++ = (char)c; return LBRT_OK;
    case 'b': *(*out)++ = '\b'; return LBRT_OK;
    case 'f': *(*out)++ = '\f'; return LBRT_OK;
    case 'n': *(*out)++ = '\n'; return LBRT_OK;
    case 'r': *(*out)++ = '\r'; return LBRT_OK;
    case 't': *(*out)++ = '\t'; return LBRT_OK;
    case 'u': break;
    default: r->pos--; return json_fail(r, "a bad escape");
    }
    uint32_t u, low;
    if (r->bytes - r->pos < 4 || !json_hex4(r->text + r->pos, &u)) {
        return json_fail(r, "a bad \\u escape");
    }
    r->pos += 4;
    if (u >= 0xd800 && u <= 0xdbff && r->bytes - r->pos >= 6 && r->text[r->pos] == '\\' &&
        r->text[r->pos + 1] == 'u' && json_hex4(r->text + r->pos + 2, &low) &&
        low >= 0xdc00 && low <= 0xdfff) {
        r->pos += 6;
        u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
    } else if (u >= 0xd800 && u <= 0xdfff) {
        u = 0xfffd;
    }
    *out += lb_utf8_encode(u, *out);
    return LBRT_OK;
}

/* A string; pos is at its quote. */
static lbrt_status json_read_string(json_reader *r, const char **text, size_t *bytes)
{
    char *out = r->strings;
    *text = out;
    r->pos++;
    for (;;) {
        if (r->pos >= r->bytes) {
            return json_fail(r, "a string without end");
        }
        unsigned char c = r->text[r->pos];
        if (c == '"') {
            break;
        }
        if (c < 0x20) {
            return json_fail(r, "a control character in a string");
        }
        if (c == '\\') {
            r->pos++;
            LB_TRY(json_read_escape(r, &out));
        } else if (c < 0x80) {
            *out++ = (char)c;
            r->pos++;
        } else {
            uint32_t cp;
            const size_t len = lb_utf8_decode((const char *)r->text + r->pos, r->bytes - r->pos, &cp);
            if (cp == LB_UTF8_INVALID) {
                return json_fail(r, "bytes that are not UTF-8");
            }
            memcpy(out, r->text + r->pos, len);
            out += len;
            r->pos += len;
        }
    }
    r->pos++;
    *bytes = (size_t)(out - *text);
    *out++ = '\0';
    r->strings = out;
    return LBRT_OK;
}

/* m * 10^e. Exact operands and one rounding in the common case; else in long double, where that is longer. */
static double json_scale(uint64_t m, int64_t e)
{
    static const double tens[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
    if (m == 0) {
        return 0.0;
    }
    if (m <= UINT64_C(1) << 53 && e >= -22 && e <= 22) {
        return e < 0 ? (double)m / tens[-e] : (double)m * tens[e];
    }
    if (e > 400) {
        return HUGE_VAL;
    }
    if (e < -400) {
        return 0.0;
    }
    long double v = (long double)m, ten = 10.0L, power = 1.0L;
    for (int64_t n = e < 0 ? -e : e; n > 0; n >>= 1) {
        if (n & 1) {
            power *= ten;
        }
        ten *= ten;
    }
    return (double)(e < 0 ? v / power : v * power);
}

static bool json_is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static lbrt_status json_read_number(json_reader *r, double *out)
{
    bool negative = json_peek(r) == '-';
    r->pos += negative;
    if (!json_is_digit(json_peek(r))) {
        return json_fail(r, "a value that is none");
    }
    if (json_peek(r) == '0' && r->pos + 1 < r->bytes && json_is_digit(r->text[r->pos + 1])) {
        return json_fail(r, "a number with a leading zero");
    }
    uint64_t m = 0;
    int64_t e = 0;
    bool fraction = false;
    for (;; r->pos++) {
        unsigned char c = json_peek(r);
        if (c == '.' && !fraction) {
            fraction = true;
            if (r->pos + 1 >= r->bytes || !json_is_digit(r->text[r->pos + 1])) {
                return json_fail(r, "a number without digits after its point");
            }
        } else if (json_is_digit(c)) {
            if (m < UINT64_C(1000000000000000000)) { /* 18 digits, one more fits; further ones do not change a
                                                        double */
                m = m * 10 + (uint64_t)(c - '0');
                e -= fraction;
            } else {
                e += !fraction;
            }
        } else {
            break;
        }
    }
    if ((json_peek(r) | 0x20) == 'e') {
        r->pos++;
        bool minus = json_peek(r) == '-';
        r->pos += minus || json_peek(r) == '+';
        if (!json_is_digit(json_peek(r))) {
            return json_fail(r, "a number without digits in its exponent");
        }
        int64_t x = 0;
        for (; json_is_digit(json_peek(r)); r->pos++) {
            x = x < 100000000 ? x * 10 + (json_peek(r) - '0') : x;
        }
        e += minus ? -x : x;
    }
    double v = json_scale(m, e);
    *out = negative ? -v : v;
    return LBRT_OK;
}

static bool json_take_word(json_reader *r, const char *word, size_t n)
{
    if (r->bytes - r->pos < n || memcmp(r->text + r->pos, word, n) != 0) {
        return false;
    }
    r->pos += n;
    return true;
}

/*
 * Everything but a container's content; pos is at its first byte, and behind the opening bracket of a
 * container afterwards.
 */
static lbrt_status json_read_value(json_reader *r, lb_json *node)
{
    switch (json_peek(r)) {
    case '{':
        node->type = LB_JSON_OBJECT;
        r->pos++;
        return LBRT_OK;
    case '[':
        node->type = LB_JSON_ARRAY;
        r->pos++;
        return LBRT_OK;
    case '"':
        node->type = LB_JSON_STRING;
        return json_read_string(r, &node->text, &node->bytes);
    case 't':
        node->type = LB_JSON_BOOL;
        node->boolean = true;
        return json_take_word(r, "true", 4) ? LBRT_OK : json_fail(r, "a value that is none");
    case 'f':
        node->type = LB_JSON_BOOL;
        return json_take_word(r, "false", 5) ? LBRT_OK : json_fail(r, "a value that is none");
    case 'n':
        return json_take_word(r, "null", 4) ? LBRT_OK : json_fail(r, "a value that is none");
    default:
        node->type = LB_JSON_NUMBER;
        return json_read_number(r, &node->number);
    }
}

static lbrt_status json_read_key(json_reader *r, lb_json *node)
{
    if (json_peek(r) != '"') {
        return json_fail(r, "a member without a name");
    }
    LB_TRY(json_read_string(r, &node->key, &node->key_bytes));
    json_skip_space(r);
    if (json_peek(r) != ':') {
        return json_fail(r, "a member without a colon");
    }
    r->pos++;
    json_skip_space(r);
    return LBRT_OK;
}

static lbrt_status json_read_document(json_reader *r)
{
    lb_json *open[LB_JSON_MAX_DEPTH]; /* the containers around pos */
    lb_json *last[LB_JSON_MAX_DEPTH]; /* and the latest child of each */
    size_t depth = 0;

    json_skip_space(r);
    for (;;) {
        /* A value follows, or the end of a container that is still empty. */
        lb_json *parent = depth > 0 ? open[depth - 1] : NULL;
        unsigned char end = parent == NULL ? 0 : parent->type == LB_JSON_OBJECT ? '}' : ']';
        if (parent == NULL || last[depth - 1] != NULL || json_peek(r) != end) {
            lb_json *node = json_new_node(r->doc);
            LB_FAIL_IF(node == NULL, r->err, LBRT_ERR_MEMORY, "JSON: out of memory");
            if (parent == NULL) {
                r->doc->root = node;
            } else {
                if (last[depth - 1] == NULL) {
                    parent->child = node;
                } else {
                    last[depth - 1]->next = node;
                }
                last[depth - 1] = node;
                parent->n_children++;
                if (parent->type == LB_JSON_OBJECT) {
                    LB_TRY(json_read_key(r, node));
                }
            }
            LB_TRY(json_read_value(r, node));
            json_skip_space(r);
            if (node->type == LB_JSON_ARRAY || node->type == LB_JSON_OBJECT) {
                if (depth == LB_JSON_MAX_DEPTH) {
                    return json_fail(r, "too many brackets inside each other");
                }
                open[depth] = node;
                last[depth++] = NULL;
                continue;
            }
        }
        /* A value has ended: close what ends here, until a comma asks for another one. */
        for (;;) {
            if (depth == 0) {
                return r->pos == r->bytes ? LBRT_OK : json_fail(r, "something behind the value");
            }
            unsigned char c = json_peek(r);
            if (c == ',' && last[depth - 1] != NULL) {
                r->pos++;
                json_skip_space(r);
                break;
            }
            if (c != (open[depth - 1]->type == LB_JSON_OBJECT ? '}' : ']')) {
                return json_fail(r, "no comma or closing bracket");
            }
            r->pos++;
            json_skip_space(r);
            depth--;
        }
    }
}

lbrt_status lb_json_parse(const char *text, size_t bytes, const lbrt_allocator *a, lb_json_doc **out,
                          lbrt_error *err)
{
    *out = NULL;
    lbrt_allocator host = lb_allocator_or_default(a);
    lb_json_doc *doc = lb_alloc_zero(&host, 1, sizeof *doc);
    LB_FAIL_IF(doc == NULL, err, LBRT_ERR_MEMORY, "JSON: out of memory");
    doc->a = host;
    if (bytes > 0) {
        doc->strings = lb_alloc(&host, bytes);
        if (doc->strings == NULL) {
            lb_json_free(doc);
            return lb_fail(err, LBRT_ERR_MEMORY, "JSON: out of memory");
        }
        doc->strings_bytes = bytes;
    }
    json_reader r = { (const unsigned char *)text, bytes, 0, doc, doc->strings, err };
    if (bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        r.pos = 3;
    }
    lbrt_status status = json_read_document(&r);
    if (status != LBRT_OK) {
        lb_json_free(doc);
        return status;
    }
    *out = doc;
    return LBRT_OK;
}

void lb_json_free(lb_json_doc *doc)
{
    if (doc == NULL) {
        return;
    }
    lbrt_allocator a = doc->a;
    json_block *b = doc->blocks;
    while (b != NULL) {
        json_block *before = b->before;
        lb_free(&a, b, b->bytes);
        b = before;
    }
    lb_free(&a, doc->strings, doc->strings_bytes);
    lb_free(&a, doc, sizeof *doc);
}

const lb_json *lb_json_root(const lb_json_doc *doc)
{
    return doc == NULL ? NULL : doc->root;
}

const lb_json *lb_json_get(const lb_json *node, const char *key)
{
    if (node == NULL || node->type != LB_JSON_OBJECT) {
        return NULL;
    }
    size_t n = strlen(key);
    for (const lb_json *c = node->child; c != NULL; c = c->next) {
        if (c->key_bytes == n && memcmp(c->key, key, n) == 0) {
            return c;
        }
    }
    return NULL;
}

double lb_json_number(const lb_json *node, double otherwise)
{
    return node != NULL && node->type == LB_JSON_NUMBER ? node->number : otherwise;
}

bool lb_json_bool(const lb_json *node, bool otherwise)
{
    return node != NULL && node->type == LB_JSON_BOOL ? node->boolean : otherwise;
}

bool lb_json_is(const lb_json *node, const char *text)
{
    return node != NULL && node->type == LB_JSON_STRING && node->bytes == strlen(text) &&
           memcmp(node->text, text, node->bytes) == 0;
}

bool lb_json_uint(const lb_json *node, uint64_t max, uint64_t *out)
{
    /* Beyond 2^53 a double does not tell whole numbers apart. */
    if (node == NULL || node->type != LB_JSON_NUMBER || !(node->number >= 0.0) || node->number > 0x1p53) {
        return false;
    }
    uint64_t v = (uint64_t)node->number;
    if ((double)v != node->number || v > max) {
        return false;
    }
    *out = v;
    return true;
}
