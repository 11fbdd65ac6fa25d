/*
 * Byte-pair encoding proper: joins neighbouring symbols, best rank first, leftmost first among equals,
 * until nothing joins. Short texts (words) look for the best pair by scanning; long ones keep the
 * candidates in a heap, which makes them O(n log n).
 */
#include "lb_tok_internal.h"

enum { MERGE_SHORT = 24 };

/* A finite score as a rank: the greater the score, the smaller; never UINT32_MAX. */
static uint32_t merge_rank_of_score(const unsigned char *score)
{
    uint32_t u = lb_load_u32(score);
    u = u == 0x80000000u ? 0 : u; // -0 is 0
    return ~(u & 0x80000000u ? ~u : u | 0x80000000u);
}

/* What two neighbouring symbols give, or -1. */
static int32_t merge_find(const lb_tokenizer *t, const char *text, const lb_tok_symbol *l,
                          const lb_tok_symbol *r, uint32_t not_whole, uint32_t *rank)
{
    if (l->bytes + r->bytes == not_whole) {
        return -1;
    }
    if (t->model != LB_TOK_SPM) {
        return lb_tok_find_merge(t, l->id, r->id, rank);
    }
    const int32_t id = lb_tok_find(t, text + l->at, l->bytes + r->bytes);
    if (id < 0 || lb_tok_type(t, (uint32_t)id) == LB_TOKEN_USER) { // those are matched as a whole only
        return -1;
    }
    *rank = merge_rank_of_score(t->scores + (size_t)id * 4);
    return id;
}

static uint32_t merge_short(lb_tok_run *run, const char *text, uint32_t n, uint32_t not_whole)
{
    lb_tok_symbol *s = run->symbols;
    uint32_t rank[MERGE_SHORT];
    int32_t id[MERGE_SHORT];
    for (uint32_t i = 0; i + 1 < n; i++) {
        id[i] = merge_find(run->t, text, &s[i], &s[i + 1], not_whole, &rank[i]);
    }
    for (;;) {
        uint32_t best = UINT32_MAX;
        for (uint32_t i = 0; i + 1 < n; i++) {
            if (id[i] >= 0 && (best == UINT32_MAX || rank[i] < rank[best])) {
                best = i;
            }
        }
        if (best == UINT32_MAX) {
            return n;
        }
        s[best].bytes += s[best + 1].bytes;
        s[best].id = id[best];
        n--;
        for (uint32_t i = best + 1; i < n; i++) {
            s[i] = s[i + 1];
            id[i - 1] = id[i];
            rank[i - 1] = rank[i];
        }
        if (best > 0) {
            id[best - 1] = merge_find(run->t, text, &s[best - 1], &s[best], not_whole, &rank[best - 1]);
        }
        if (best + 1 < n) {
            id[best] = merge_find(run->t, text, &s[best], &s[best + 1], not_whole, &rank[best]);
        }
    }
}

static void merge_push(lb_tok_candidate *heap, size_t *n, const lb_tok_candidate *c)
{
    size_t i = (*n)++;
    while (i > 0 && c->key < heap[(i - 1) / 2].key) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = *c;
}

static lb_tok_candidate merge_pop(lb_tok_candidate *heap, size_t *n)
{
    const lb_tok_candidate top = heap[0], last = heap[--*n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < *n; i = child) {
        if (child + 1 < *n && heap[child + 1].key < heap[child].key) {
            child++;
        }
        if (last.key <= heap[child].key) {
            break;
        }
        heap[i] = heap[child];
    }
    heap[i] = last;
    return top;
}

static void merge_consider(lb_tok_run *run, const char *text, uint32_t left, uint32_t right,
                           uint32_t not_whole, size_t *n_heap)
{
    const lb_tok_symbol *s = run->symbols;
    if (left == UINT32_MAX || right == UINT32_MAX) {
        return;
    }
    uint32_t rank;
    const int32_t id = merge_find(run->t, text, &s[left], &s[right], not_whole, &rank);
    if (id >= 0) {
        const lb_tok_candidate c = { (uint64_t)rank << 32 | left, right, s[left].bytes + s[right].bytes, id };
        merge_push(run->heap, n_heap, &c);
    }
}

static lbrt_status merge_long(lb_tok_run *run, const char *text, uint32_t *n, uint32_t not_whole)
{
    // n - 1 candidates at first; a join takes one off and adds at most two; at most n - 1 joins.
    const size_t need = (size_t)*n * 2;
    if (need > run->heap_cap) {
        const lbrt_allocator *a = &run->t->allocator;
        size_t bytes;
        lb_tok_candidate *heap = lb_mul_size(need, sizeof *heap, &bytes) ? lb_alloc(a, bytes) : NULL;
        LB_FAIL_IF(!heap, run->err, LBRT_ERR_MEMORY, "out of memory");
        lb_free(a, run->heap, run->heap_cap * sizeof *heap);
        run->heap = heap;
        run->heap_cap = need;
    }
    lb_tok_symbol *s = run->symbols;
    size_t n_heap = 0;
    for (uint32_t i = 0; i < *n; i++) {
        s[i].prev = i ? i - 1 : UINT32_MAX;
        s[i].next = i + 1 < *n ? i + 1 : UINT32_MAX;
    }
    for (uint32_t i = 0; i + 1 < *n; i++) {
        merge_consider(run, text, i, i + 1, not_whole, &n_heap);
    }
    while (n_heap) {
        const lb_tok_candidate c = merge_pop(run->heap, &n_heap);
        const uint32_t l = (uint32_t)c.key, r = c.right;
        // Symbols only grow or vanish: both alive and as long together as they were means that neither
        // changed.
        if (!s[l].bytes || !s[r].bytes || s[l].bytes + s[r].bytes != c.bytes || s[l].next != r) {
            continue;
        }
        s[l].bytes = c.bytes;
        s[l].id = c.id;
        s[l].next = s[r].next;
        s[r].bytes = 0;
        if (s[l].next != UINT32_MAX) {
            s[s[l].next].prev = l;
        }
        merge_consider(run, text, s[l].prev, l, not_whole, &n_heap);
        merge_consider(run, text, l, s[l].next, not_whole, &n_heap);
    }
    uint32_t left = 0;
    for (uint32_t i = 0; i < *n; i++) {
        if (s[i].bytes) {
            s[left++] = s[i];
        }
    }
    *n = left;
    return LBRT_OK;
}

lbrt_status lb_tok_merge(lb_tok_run *run, const char *text, uint32_t *n, uint32_t not_whole)
{
    if (*n > MERGE_SHORT) {
        return merge_long(run, text, n, not_whole);
    }
    *n = merge_short(run, text, *n, not_whole);
    return LBRT_OK;
}
