/*
 * The statements of Jinja: the template is cut into pieces of text, expressions and statements, which are
 * then executed in place.
 */
#include "../../runtime/text/lb_unicode.h"
#include "lb_jinja_internal.h"

typedef enum jinja_kind { JINJA_TEXT, JINJA_PRINT, JINJA_STATEMENT } jinja_kind;

typedef struct jinja_piece {
    jinja_kind kind;
    const char *from, *to;
} jinja_piece;

/* ---------------------------------------------------------------- cutting */

/* The template with \n alone at the ends of its lines, as Jinja reads it; the same text if it is so already. */
static const char *jinja_lines(jinja *j, const char *source, size_t *bytes)
{
    const size_t n = *bytes;
    if (!memchr(source, '\r', n)) {
        return source;
    }
    char *copy = lb_jinja_alloc(j, n + 1);
    size_t to = 0;
    for (size_t i = 0; copy && i < n; i++) {
        const bool cr = source[i] == '\r';
        i += cr && i + 1 < n && source[i + 1] == '\n';
        copy[to++] = cr ? '\n' : source[i];
    }
    *bytes = to;
    return copy;
}

/* The end of a tag's inside: where `close` begins, outside of strings; NULL if there is none. */
static const char *jinja_tag_end(const char *p, const char *end, char close, bool comment)
{
    char quote = 0;
    for (; p + 1 < end; p++) {
        if (quote) {
            if (*p == '\\') {
                p++;
            } else if (*p == quote) {
                quote = 0;
            }
        } else if (*p == close && p[1] == '}') {
            return p;
        } else if (!comment && (*p == '\'' || *p == '"')) {
            quote = *p;
        }
    }
    return NULL;
}

/*
 * Cuts the source. White space as Hugging Face sets it: a line break behind a statement and blanks before
 * one at the beginning of a line go (trim_blocks, lstrip_blocks), a minus sign takes all white space on its
 * side, the last line break of the file goes.
 */
static jinja_piece *jinja_cut(jinja *j, const char *p, size_t bytes, size_t *n_pieces)
{
    const char *end = p + bytes;
    if (bytes && end[-1] == '\n') {
        end--;
    }
    size_t most = 2;
    for (const char *q = p; q < end; q++) {
        most += *q == '{' ? 2 : 0;
    }
    jinja_piece *pieces = lb_jinja_alloc(j, most * sizeof *pieces);
    size_t n = 0;
    bool line_start = true;
    while (pieces && p < end) {
        const char *tag = p;
        while (tag + 1 < end && !(*tag == '{' && (tag[1] == '{' || tag[1] == '%' || tag[1] == '#'))) {
            tag++;
        }
        const bool found = tag + 1 < end;
        const char *text_end = found ? tag : end;
        const char sign = found && tag + 2 < end ? tag[2] : 0;
        if (found && sign == '-') {
            text_end -= lb_unicode_space_run(p, (size_t)(text_end - p), true, LB_SPACE_PYTHON);
        } else if (found && tag[1] != '{' && sign != '+') {
            const char *line = text_end;
            while (line > p && line[-1] != '\n') {
                line--;
            }
            const size_t bytes_before = (size_t)(text_end - line);
            if ((line > p || line_start) && lb_unicode_space_run(line, bytes_before, false, LB_SPACE_PYTHON) == bytes_before) {
                text_end = line;
            }
        }
        if (text_end > p) {
            const jinja_piece piece = { JINJA_TEXT, p, text_end };
            pieces[n++] = piece;
        }
        if (!found) {
            break;
        }
        const char open = tag[1], close = open == '{' ? '}' : open;
        const char *from = tag + 2 + (sign == '-' || sign == '+'),
                   *to = jinja_tag_end(from, end, close, open == '#');
        if (!to) {
            lb_jinja_no(j, "a tag does not end");
            return NULL;
        }
        p = to + 2;
        const char last = to > from ? to[-1] : 0;
        if (last == '-' || (last == '+' && open != '{')) {
            to--;
        }
        if (open != '#') {
            const jinja_piece piece = { open == '{' ? JINJA_PRINT : JINJA_STATEMENT, from, to };
            pieces[n++] = piece;
        }
        line_start = false;
        if (last == '-') {
            const size_t spaces = lb_unicode_space_run(p, (size_t)(end - p), false, LB_SPACE_PYTHON);
            p += spaces;
            line_start = spaces && p[-1] == '\n';
        } else if (open != '{' && last != '+' && p < end && *p == '\n') {
            p++;
            line_start = true;
        }
    }
    *n_pieces = n;
    return pieces;
}

/* ---------------------------------------------------------------- executing */

static void jinja_print(jinja *j, const char *text, size_t bytes)
{
    if (j->out_bytes + bytes > j->out_cap) {
        const size_t cap = (j->out_bytes + bytes) * 2 + 256;
        if (cap > JINJA_MAX_BYTES) {
            lb_jinja_no(j, "it writes too much");
            return;
        }
        char *out = lb_alloc(j->a, cap);
        if (!out) {
            lb_jinja_fail(j, LBRT_ERR_MEMORY, "out of memory");
            return;
        }
        if (j->out_bytes) {
            memcpy(out, j->out, j->out_bytes);
        }
        lb_free(j->a, j->out, j->out_cap);
        j->out = out;
        j->out_cap = cap;
    }
    if (bytes) {
        memcpy(j->out + j->out_bytes, text, bytes);
    }
    j->out_bytes += bytes;
}

/* Puts the cursor into a piece and takes its first word if it is `word`. */
static bool jinja_piece_is(jinja *j, const jinja_piece *piece, const char *word)
{
    j->p = piece->from;
    j->end = piece->to;
    return piece->kind == JINJA_STATEMENT && lb_jinja_take_word(j, word);
}

/* From piece `at` on, the first else, elif or end on the same level; `to` if there is none. */
static size_t jinja_find_end(jinja *j, const jinja_piece *pieces, size_t at, size_t to)
{
    int level = 0;
    for (; at < to; at++) {
        j->steps++;
        const jinja_piece *piece = &pieces[at];
        if (jinja_piece_is(j, piece, "for") || jinja_piece_is(j, piece, "if") ||
            jinja_piece_is(j, piece, "macro")) {
            level++;
        } else if (jinja_piece_is(j, piece, "endfor") || jinja_piece_is(j, piece, "endif") ||
                   jinja_piece_is(j, piece, "endmacro")) {
            if (level-- == 0) {
                break;
            }
        } else if (level == 0 && (jinja_piece_is(j, piece, "else") || jinja_piece_is(j, piece, "elif"))) {
            break;
        }
    }
    return at;
}

static void jinja_execute(jinja *j, const jinja_piece *pieces, size_t at, size_t to);

static void jinja_expect_end(jinja *j)
{
    (void)lb_jinja_take(j, ""); // skips white space
    if (j->status == LBRT_OK && j->p != j->end) {
        lb_jinja_no(j, "its syntax is not understood");
    }
}

/* The cursor is behind "if"; returns the piece behind endif. */
static size_t jinja_execute_if(jinja *j, const jinja_piece *pieces, size_t at, size_t to)
{
    jinja_value condition = lb_jinja_expression(j, false);
    jinja_expect_end(j);
    bool taken = false;
    for (;;) {
        const bool yes = !taken && j->status == LBRT_OK && lb_jinja_true(&condition);
        const size_t next = jinja_find_end(j, pieces, at, to);
        if (next == to) {
            lb_jinja_no(j, "an if does not end");
        }
        if (yes) {
            taken = true;
            jinja_execute(j, pieces, at, next);
        }
        if (j->status != LBRT_OK) {
            return to;
        }
        at = next + 1;
        if (jinja_piece_is(j, &pieces[next], "endif")) {
            return at;
        }
        if (jinja_piece_is(j, &pieces[next], "elif")) {
            condition = lb_jinja_expression(j, taken);
            jinja_expect_end(j);
        } else if (jinja_piece_is(j, &pieces[next], "else")) {
            condition.type = JINJA_BOOL;
            condition.i = true;
        } else {
            lb_jinja_no(j, "an if does not end");
        }
    }
}

/* The cursor is behind "for"; returns the piece behind endfor. */
static size_t jinja_execute_for(jinja *j, const jinja_piece *pieces, size_t at, size_t to)
{
    const size_t name_bytes = lb_jinja_name_length(j);
    const char *name = j->p;
    j->p += name_bytes;
    if (!name_bytes || !lb_jinja_take_word(j, "in")) {
        lb_jinja_no(j, "a for loop is not understood");
        return to;
    }
    jinja_value list = lb_jinja_unconditional(j, false);
    const char *condition = lb_jinja_take_word(j, "if") ? j->p : NULL;
    if (condition) {
        (void)lb_jinja_expression(j, true);
    }
    const char *condition_end = j->end;
    jinja_expect_end(j);
    if (j->status == LBRT_OK && list.type != JINJA_LIST) {
        if (list.type == JINJA_UNDEFINED) { // no items
        } else if (list.type == JINJA_NONE || list.type == JINJA_INT || list.type == JINJA_BOOL) {
            lb_jinja_fail(j, LBRT_ERR_FORMAT, "a loop over something that is no list");
        } else {
            lb_jinja_no(j, "a loop over something that is no list");
        }
    }
    const size_t end = jinja_find_end(j, pieces, at, to);
    if (j->status != LBRT_OK || end == to || !jinja_piece_is(j, &pieces[end], "endfor")) {
        lb_jinja_no(j, "a for loop has no plain end");
        return to;
    }
    const size_t frame = j->frame, n_vars = j->n_vars;
    if (condition && list.type == JINJA_LIST) { // chosen before the loop begins, which counts only these
        jinja_value *chosen = lb_jinja_alloc(j, ((size_t)list.i + 1) * sizeof *chosen);
        size_t n = 0;
        for (int64_t i = 0; j->status == LBRT_OK && i < list.i; i++) {
            j->frame = j->n_vars = n_vars;
            lb_jinja_set(j, name, name_bytes, list.items[i]);
            j->p = condition;
            j->end = condition_end;
            const jinja_value yes = lb_jinja_expression(j, false);
            if (lb_jinja_true(&yes)) {
                chosen[n++] = list.items[i];
            }
        }
        list = lb_jinja_list(chosen, n);
    }
    const jinja_loop *outer = j->loop;
    jinja_loop *loop = lb_jinja_alloc(j, sizeof *loop);
    if (loop) {
        loop->count = list.type == JINJA_LIST ? list.i : 0;
        loop->items = list.items;
        j->loop = loop;
    }
    for (int64_t i = 0; j->status == LBRT_OK && i < loop->count; i++) {
        loop->index = i;
        j->frame = j->n_vars = n_vars; // what an iteration sets is gone after it
        lb_jinja_set(j, name, name_bytes, list.items[i]);
        jinja_execute(j, pieces, at, end);
    }
    j->loop = outer;
    j->frame = frame;
    j->n_vars = n_vars;
    return end + 1;
}

static void jinja_execute_set(jinja *j)
{
    const size_t n = lb_jinja_name_length(j);
    const char *name = j->p;
    j->p += n;
    const char *field = NULL;
    size_t n_field = 0;
    if (lb_jinja_take(j, ".")) {
        n_field = lb_jinja_name_length(j);
        field = j->p;
        j->p += n_field;
    }
    if (!n || !lb_jinja_take(j, "=")) {
        lb_jinja_no(j, "a set is not understood");
        return;
    }
    const jinja_value v = lb_jinja_expression(j, false);
    jinja_expect_end(j);
    if (j->status != LBRT_OK) {
        return;
    }
    if (!field) {
        lb_jinja_set(j, name, n, v);
        return;
    }
    const jinja_var *space = lb_jinja_find_var(j, name, n, 0);
    if (!space || space->value.type != JINJA_NAMESPACE) {
        lb_jinja_no(j, "a set of a field of something that is no namespace");
        return;
    }
    jinja_var *head = space->value.vars;
    for (jinja_var *var = head->next; var; var = var->next) {
        if (var->bytes == n_field && memcmp(var->name, field, n_field) == 0) {
            var->value = v;
            return;
        }
    }
    jinja_var *var = lb_jinja_alloc(j, sizeof *var);
    if (var) {
        var->name = field;
        var->bytes = n_field;
        var->value = v;
        var->next = head->next;
        head->next = var;
    }
}

static void jinja_execute(jinja *j, const jinja_piece *pieces, size_t at, size_t to)
{
    if (++j->depth > JINJA_MAX_DEPTH) {
        lb_jinja_no(j, "it is too deep");
    }
    while (at < to && j->status == LBRT_OK) {
        if (++j->steps > JINJA_MAX_STEPS) {
            lb_jinja_no(j, "it takes too long");
            break;
        }
        const jinja_piece *piece = &pieces[at++];
        if (piece->kind == JINJA_TEXT) {
            jinja_print(j, piece->from, (size_t)(piece->to - piece->from));
        } else if (piece->kind == JINJA_PRINT) {
            j->p = piece->from;
            j->end = piece->to;
            const jinja_value v = lb_jinja_expression(j, false);
            jinja_expect_end(j);
            const jinja_value text = j->status == LBRT_OK ? lb_jinja_to_string(j, &v) : v;
            if (j->status == LBRT_OK) {
                jinja_print(j, text.text, text.bytes);
            }
        } else if (jinja_piece_is(j, piece, "if")) {
            at = jinja_execute_if(j, pieces, at, to);
        } else if (jinja_piece_is(j, piece, "for")) {
            at = jinja_execute_for(j, pieces, at, to);
        } else if (jinja_piece_is(j, piece, "set")) {
            jinja_execute_set(j);
        } else if (jinja_piece_is(j, piece, "macro")) { // calling it is not supported; having it is
            at = jinja_find_end(j, pieces, at, to) + 1;
        } else if (!jinja_piece_is(j, piece, "generation") && !jinja_piece_is(j, piece, "endgeneration")) {
            lb_jinja_no(j, "a statement is not known");
        }
    }
    j->depth--;
}

lbrt_status lb_jinja_render(const char *source, const lb_jinja_input *in, const lbrt_allocator *a, char **out,
                            size_t *bytes, size_t *cap, lbrt_error *err)
{
    *out = NULL;
    *bytes = *cap = 0;
    jinja *j = lb_alloc_zero(a, 1, sizeof *j);
    LB_FAIL_IF(!j, err, LBRT_ERR_MEMORY, "out of memory");
    j->in = in;
    j->a = a;
    j->err = err;
    size_t n = 0;
    size_t source_bytes = strlen(source);
    source = jinja_lines(j, source, &source_bytes);
    const jinja_piece *pieces = source ? jinja_cut(j, source, source_bytes, &n) : NULL;
    if (pieces) {
        jinja_execute(j, pieces, 0, n);
    }
    const lbrt_status status = j->status;
    if (status == LBRT_OK) {
        *out = j->out;
        *bytes = j->out_bytes;
        *cap = j->out_cap;
    } else {
        lb_free(a, j->out, j->out_cap);
    }
    for (jinja_block *b = j->blocks, *next; b; b = next) {
        next = b->next;
        lb_free(a, b, sizeof *b + b->bytes);
    }
    lb_free(a, j, sizeof *j);
    return status;
}
