/*
 * Unicode: see lb_unicode.h.
 *
 * The tables (30 KB as plain ones, half of it so). Classes of the scripts with spaces between words are
 * looked up: lb_unicode_class_pages has for every 16 code points which of lb_unicode_class_blocks is theirs,
 * and that has 4 bits for each, the lowest first. Other classes, and combining classes, are runs of equal
 * values. The runs lie in blocks of RUN_BLOCK bytes: _starts has the start << 8 | value of each block's
 * first run, to bisect in; _runs has for each further run the length of the one before << bits | its own
 * value, seven bits to a byte, the lowest first, all but the last byte with 0x80. A zero byte ends a block
 * early.
 *
 * lb_unicode_case_runs are runs of letters, from 0 on, each as length * 5 + kind in bytes of seven bits as above: 0 to 2 the lb_unicode_case of all, 3
 * upper case if even and else lower, 4 the other way round. What is no letter lies in any run, so that there are few.
 *
 * Canonical decompositions are sorted by code point and have an index: lb_unicode_decomposable holds, for
 * each stretch of neighbours that decompose, the start << 12 | the index of its first; the entry after the
 * last has their number. lb_unicode_first has the low 16 bits of the first part, lb_unicode_second where
 * in lb_unicode_seconds the rest is: second part << 2 | plane of the first (second part 0: there is
 * none). Hangul syllables are computed. lb_unicode_compositions holds the indices of those that compose,
 * sorted by (first, second). lb_unicode_backward lists the starters that compose with what stands before
 * them.
 */
#include "lb_unicode.h"

/* The last of n entries with (entry >> shift & mask) <= key; entry 0 is taken for one. */
static uint32_t unicode_bisect(const uint32_t *table, uint32_t n, uint32_t shift, uint32_t mask, uint32_t key)
{
    uint32_t low = 0;
    while (n > 1) {
        const uint32_t half = n / 2;
        low = (table[low + half] >> shift & mask) <= key ? low + half : low;
        n -= half;
    }
    return low;
}

enum { RUN_BLOCK = 16, CLASS_BITS = 3, CCC_BITS = 6 };

#define UNICODE_COUNT(table) ((uint32_t)(sizeof(table) / sizeof *(table)))
#define STRETCHES (UNICODE_COUNT(lb_unicode_decomposable) - 1)

/* The value of the run that cp is in. */
static uint32_t unicode_run_value(const uint32_t *starts, uint32_t n, const uint8_t *runs, uint32_t bits, uint32_t cp)
{
    const uint32_t block = unicode_bisect(starts, n, 8, UINT32_MAX, cp);
    uint32_t left = cp - (starts[block] >> 8), value = starts[block] & 0xff;
    const uint8_t *p = runs + (size_t)block * RUN_BLOCK, *end = p + RUN_BLOCK;
    while (p < end) {
        uint32_t token = *p & 0x7f;
        for (uint32_t shift = 7; *p++ & 0x80; shift += 7) {
            token |= (*p & 0x7fu) << shift;
        }
        if (!token || left < token >> bits) {
            break;
        }
        left -= token >> bits;
        value = token & ((1u << bits) - 1);
    }
    return value;
}

lb_unicode_class lb_unicode_class_of(uint32_t cp)
{
    if (cp / 16 < UNICODE_COUNT(lb_unicode_class_pages)) {
        return (lb_unicode_class)(lb_unicode_class_blocks[lb_unicode_class_pages[cp / 16]] >> cp % 16 * 4 & 15);
    }
    if ((cp >= 0x4e00 && cp <= 0x9ffc) || (cp >= 0xac00 && cp <= 0xd7a3)) {
        return LB_UC_LETTER; // ideographs and Hangul syllables
    }
    if (cp >= LB_UTF8_INVALID) {
        return LB_UC_OTHER;
    }
    return (lb_unicode_class)unicode_run_value(lb_unicode_class_starts, UNICODE_COUNT(lb_unicode_class_starts),
                                               lb_unicode_class_runs, CLASS_BITS, cp);
}

lb_unicode_case lb_unicode_case_of(uint32_t letter)
{
    uint32_t end = 0;
    for (const uint8_t *p = lb_unicode_case_runs;;) {
        uint32_t run = 0;
        for (unsigned shift = 0;; shift += 7) {
            run |= (*p & 127u) << shift;
            if (!(*p++ & 128)) {
                break;
            }
        }
        end += run / 5;
        if (letter < end) {
            const uint32_t kind = run % 5;
            return (lb_unicode_case)(kind < 3 ? kind : kind == 3 ? 1 + letter % 2 : 2 - letter % 2);
        }
    }
}

bool lb_unicode_is_space(uint32_t cp)
{
    if (cp < 0x80) {
        return cp == ' ' || (cp >= 9 && cp <= 13);
    }
    return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 ||
           cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

size_t lb_unicode_space_run(const char *text, size_t bytes, bool at_end, lb_space kind)
{
    size_t run = 0;
    for (size_t i = 0; i < bytes;) {
        uint32_t cp;
        const size_t n = lb_utf8_decode(text + i, bytes - i, &cp);
        if (lb_unicode_is_space(cp) || (kind == LB_SPACE_PYTHON && cp >= 0x1c && cp <= 0x1f)) {
            run += n;
        } else if (at_end) {
            run = 0;
        } else {
            break;
        }
        i += n;
    }
    return run;
}

/* ---- growing text ---- */

bool lb_text_reserve(lb_text *t, size_t more)
{
    if (t->cap - t->bytes >= more) {
        return true;
    }
    size_t cap;
    if (!lb_add_size(t->bytes, more, &cap) || !lb_add_size(cap, cap / 2 + 64, &cap)) {
        return false;
    }
    char *data = lb_alloc(t->allocator, cap);
    if (!data) {
        return false;
    }
    if (t->bytes) {
        memcpy(data, t->data, t->bytes);
    }
    lb_free(t->allocator, t->data, t->cap);
    t->data = data;
    t->cap = cap;
    return true;
}

bool lb_text_add(lb_text *t, const char *data, size_t bytes)
{
    if (!lb_text_reserve(t, bytes)) {
        return false;
    }
    if (bytes) {
        memcpy(t->data + t->bytes, data, bytes);
    }
    t->bytes += bytes;
    return true;
}

void lb_text_free(lb_text *t)
{
    lb_free(t->allocator, t->data, t->cap);
    t->data = NULL;
    t->bytes = t->cap = 0;
}

/* ---- NFC (Unicode Standard Annex 15) ---- */

enum { HANGUL_S = 0xac00, HANGUL_L = 0x1100, HANGUL_V = 0x1161, HANGUL_T = 0x11a7, HANGUL_SN = 11172 };

static uint32_t unicode_ccc(uint32_t cp)
{
    if (cp < 0x300 || lb_unicode_class_of(cp) != LB_UC_MARK) {
        return 0;
    }
    return lb_unicode_ccc_values[unicode_run_value(lb_unicode_ccc_starts, UNICODE_COUNT(lb_unicode_ccc_starts),
                                                   lb_unicode_ccc_runs, CCC_BITS, cp)];
}

/* Index of cp's decomposition, or -1. */
static int32_t unicode_find_decomposition(uint32_t cp)
{
    if (cp < lb_unicode_decomposable[0] >> 12) {
        return -1;
    }
    const uint32_t *at = lb_unicode_decomposable + unicode_bisect(lb_unicode_decomposable, STRETCHES, 12, UINT32_MAX, cp);
    const uint32_t index = (at[0] & 0xfff) + (cp - (at[0] >> 12));
    return index < (at[1] & 0xfff) ? (int32_t)index : -1;
}

/* Both parts of decomposition i as first << 21 | second. */
static uint64_t unicode_parts(uint32_t i)
{
    const uint32_t rest = lb_unicode_seconds[lb_unicode_second[i]];
    return (uint64_t)((rest & 3) << 16 | lb_unicode_first[i]) << 21 | rest >> 2;
}

/* The primary composite of a and b, or 0. */
static uint32_t unicode_compose(uint32_t a, uint32_t b)
{
    if (a - HANGUL_L < 19u && b - HANGUL_V < 21u) {
        return HANGUL_S + ((a - HANGUL_L) * 21 + (b - HANGUL_V)) * 28;
    }
    if (a - HANGUL_S < (uint32_t)HANGUL_SN && (a - HANGUL_S) % 28 == 0 && b - (HANGUL_T + 1) < 27u) {
        return a + (b - HANGUL_T);
    }
    const uint64_t key = (uint64_t)a << 21 | b;
    uint32_t low = 0, high = UNICODE_COUNT(lb_unicode_compositions);
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2, i = lb_unicode_compositions[middle];
        const uint64_t parts = unicode_parts(i);
        if (parts == key) {
            const uint32_t at = lb_unicode_decomposable[unicode_bisect(lb_unicode_decomposable, STRETCHES, 0, 0xfff, i)];
            return (at >> 12) + i - (at & 0xfff);
        }
        if (parts < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return 0;
}

/* Writes the full canonical decomposition of cp, at most 4 code points. */
static size_t unicode_decompose(uint32_t cp, uint32_t out[4])
{
    if (cp - HANGUL_S < (uint32_t)HANGUL_SN) {
        const uint32_t s = cp - HANGUL_S;
        out[0] = HANGUL_L + s / (21 * 28);
        out[1] = HANGUL_V + s / 28 % 21;
        out[2] = HANGUL_T + s % 28;
        return s % 28 ? 3 : 2;
    }
    // The first part may decompose again, the second never has a decomposition that matters after it:
    // collect from the end.
    uint32_t tail[4];
    size_t n_tail = 0;
    for (int32_t i; n_tail < 3 && (i = unicode_find_decomposition(cp)) >= 0;) {
        const uint64_t parts = unicode_parts((uint32_t)i);
        const uint32_t second = (uint32_t)(parts & 0x1fffff);
        if (second) {
            tail[n_tail++] = second;
        }
        cp = (uint32_t)(parts >> 21);
    }
    size_t n = 0;
    out[n++] = cp;
    while (n_tail) {
        out[n++] = tail[--n_tail];
    }
    return n;
}

/* True if the text may be cut before cp: nothing before it can change it or be changed by it. */
static bool unicode_is_boundary(uint32_t cp)
{
    if (cp < 0x300 || cp >= LB_UTF8_INVALID) {
        return true;
    }
    if (cp - HANGUL_V < 21u || cp - (HANGUL_T + 1) < 27u || unicode_ccc(cp)) {
        return false;
    }
    for (uint32_t i = 0; i < UNICODE_COUNT(lb_unicode_backward) && lb_unicode_backward[i] <= cp; i++) { // a short list
        if (lb_unicode_backward[i] == cp) {
            return false;
        }
    }
    return true;
}

bool lb_unicode_needs_nfc(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if ((unsigned char)text[i] >= 0xcc) { // lead bytes of U+0300 and above
            return true;
        }
    }
    return false;
}

/*
 * One stretch between two boundaries: code points from index 0 to n of cps, in place. Returns how many
 * remain.
 */
static size_t unicode_compose_stretch(uint32_t *cps, size_t n, uint32_t *scratch)
{
    // Canonical order: runs of marks are sorted by class, stably. A counting sort keeps long hostile runs
    // linear.
    for (size_t i = 0; i < n;) {
        if (!unicode_ccc(cps[i])) {
            i++;
            continue;
        }
        size_t end = i;
        bool sorted = true;
        uint32_t last = 0;
        for (uint32_t c; end < n && (c = unicode_ccc(cps[end])) != 0; end++) {
            sorted = sorted && c >= last;
            last = c;
        }
        if (!sorted) {
            size_t start[257] = { 0 };
            for (size_t k = i; k < end; k++) {
                start[unicode_ccc(cps[k]) + 1]++;
            }
            for (size_t k = 1; k < 257; k++) {
                start[k] += start[k - 1];
            }
            for (size_t k = i; k < end; k++) {
                scratch[start[unicode_ccc(cps[k])]++] = cps[k];
            }
            memcpy(cps + i, scratch, (end - i) * sizeof *cps);
        }
        i = end;
    }
    // Composition: a character joins the last starter if nothing between them blocks it.
    size_t out = 0, starter = SIZE_MAX;
    uint32_t last_ccc = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t cp = cps[i], ccc = unicode_ccc(cp);
        if (starter != SIZE_MAX && (out == starter + 1 || (last_ccc != 0 && last_ccc < ccc))) {
            const uint32_t joined = unicode_compose(cps[starter], cp);
            if (joined) {
                cps[starter] = joined;
                continue;
            }
        }
        if (!ccc) {
            starter = out;
        }
        last_ccc = ccc;
        cps[out++] = cp;
    }
    return out;
}

bool lb_unicode_nfc(const char *text, size_t bytes, lb_text *out)
{
    const lbrt_allocator *a = out->allocator;
    uint32_t on_stack[2 * 64], *cps = on_stack;
    size_t cap = 64; // cps has room for 2 * cap: the second half is scratch for sorting
    bool ok = lb_text_reserve(out, bytes);
    for (size_t i = 0; ok && i < bytes;) {
        // Plain text is copied.
        size_t plain = i;
        while (plain < bytes && (unsigned char)text[plain] < 0xcc) {
            plain++;
        }
        // The character before a mark belongs to the stretch: step back over it.
        size_t from = plain;
        while (plain < bytes && from > i && ((unsigned char)text[from - 1] & 0xc0) == 0x80) {
            from--;
        }
        if (plain < bytes && from > i) {
            from--;
        }
        ok = lb_text_add(out, text + i, from - i);
        i = from;
        // One stretch: a boundary character and what follows up to the next one.
        size_t n = 0;
        bool first = true;
        while (ok && i < bytes) {
            uint32_t cp;
            const size_t length = lb_utf8_decode(text + i, bytes - i, &cp);
            if (!first && unicode_is_boundary(cp)) {
                break;
            }
            if (cp == LB_UTF8_INVALID) { // only as the first
                ok = lb_text_add(out, text + i, length);
                i += length;
                break;
            }
            first = false;
            i += length;
            if (n + 4 > cap) {
                uint32_t *more = lb_alloc(a, cap * 4 * sizeof *cps);
                if (!more) {
                    ok = false;
                    break;
                }
                memcpy(more, cps, n * sizeof *cps);
                if (cps != on_stack) {
                    lb_free(a, cps, cap * 2 * sizeof *cps);
                }
                cps = more;
                cap *= 2;
            }
            n += unicode_decompose(cp, cps + n);
        }
        if (ok && n) {
            n = unicode_compose_stretch(cps, n, cps + cap);
            ok = lb_text_reserve(out, n * 4);
            for (size_t k = 0; ok && k < n; k++) {
                out->bytes += lb_utf8_encode(cps[k], out->data + out->bytes);
            }
        }
    }
    if (cps != on_stack) {
        lb_free(a, cps, cap * 2 * sizeof *cps);
    }
    return ok;
}
