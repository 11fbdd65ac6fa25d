/*
 * Template: matrix products of ternary weights (tern). Parameters, besides those of README:
 *     LB_T_GTILES  tiles (2 or 1) of the register block for many tokens, and
 *     LB_T_TOKENS  its tokens: 6, 4 or 2
 *     LB_T_QUADS   quads of columns that a `small` accumulator takes. Digits are 0..2 and |x| <= 127, so a pair
 *                  of products is at most 508: 64 of them fit 16 bits (32512)
 *     LB_T_OWN_TILE  defined: lb_t_tern_own_tile_LEVEL, for all tokens of a panel, is there already (GTILES is 1)
 *     LB_T_AHEAD   bytes of software prefetch in gemv
 *     LB_T_DIRECT  products with this many tokens or fewer go through gemv
 * and two functions, before this file is included:
 *     lb_v_LEVEL_tern_dot(codes, q, n, ahead)  int32 sums of digit * x over n lines of 64 code bytes, 20 n columns
 *     lb_v_LEVEL_tern_digits(line, out)   one line as 5 vectors of 64 bytes: out + 64 j, the digits of quad j
 *
 * Sums are exact integers over all columns: digit - 1 is the weight, so the sum of a token's codes is taken off
 * at the end. Where sums of digits pass 32 bits (beyond 2^23 columns) they wrap around, and the difference is
 * right again.
 *
 * One token (gemv): the level's tern_dot, whose decoding need not make digits at all.
 * Many tokens (gemm): LB_TERN_PANEL_LINES lines become digits once, u8 panel[quad][16][4], and are multiplied
 * with blocks of tokens; int32 sums wait in `scratch` between panels.
 */
#define LB_V(op) LB_CAT4(lb_v_, LB_TV, _, op)
#define LB_D(op) LB_CAT4(lb_v_, LB_TD, _, op)
#define LB_L(op) LB_CAT4(lb_v_, LB_T, _, op)
#define LB_N(name) LB_CAT2(name, LB_T)
#define LB_F LB_V(f)
#define LB_I LB_V(i)
#define LB_B LB_V(b)

#ifndef LB_TERN_PANEL_LINES
#define LB_TERN_PANEL_LINES ((size_t)32)
#define LB_TERN_PANEL_BYTES (LB_TERN_PANEL_LINES * 5 * 64)
typedef struct lb_tern_panel { /* of one or two tiles */
    uint8_t digits[2 * LB_TERN_PANEL_BYTES];
    int32_t acc[2 * LB_MM_MAX_N * LB_TILE_ROWS];
} lb_tern_panel;
_Static_assert(sizeof(lb_tern_panel) <= LB_MM_SCRATCH, "LB_MM_SCRATCH is too small");
#endif

LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_tern_finish_)(LB_I digit_sum, const void *tile, const lb_input *x,
                                                          size_t token, float *y, bool add)
{
    const LB_I sum = LB_V(sub_i)(digit_sum, LB_V(set1_i)(x->token_sum[token]));
    const LB_F scale = LB_V(mul)(LB_V(load)((const float *)tile), LB_V(set1)(x->token_scale[token]));
    const LB_F v = LB_V(mul)(LB_V(to_float)(sum), scale);
    LB_V(store)(y, add ? LB_V(add)(LB_V(load)(y), v) : v);
}

/* One tile and one token; `rest` are the activations of the last, partial line, filled up with zeros */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_tern_row_)(const uint8_t *tile, size_t k, const lb_input *x,
                                                       size_t token, const int8_t *rest, float *y, bool add, lb_ahead *ahead)
{
    const size_t full = lb_round_up64(k) / LB_TERN_COLUMNS;
    const uint8_t *codes = tile + LB_TERN_CODES_AT;
    ahead->until = codes + LB_T_AHEAD;
    LB_I sum = LB_L(tern_dot)(codes, x->tq + token * x->tq_stride, full, ahead);
    if (full < lb_tern_lines(k)) {
        sum = LB_V(add_i)(sum, LB_L(tern_dot)(codes + full * 64, rest, 1, ahead));
    }
    LB_N(lb_t_tern_finish_)(sum, tile, x, token, y, add);
}

static LB_T_TARGET void LB_N(lb_t_tern_direct_)(const uint8_t *w, size_t tile_bytes, size_t n_tiles, size_t k,
                                                const lb_input *x, float *y, size_t y_stride, bool add)
{
    const size_t k_pad = lb_round_up64(k), full = k_pad / LB_TERN_COLUMNS * LB_TERN_COLUMNS;
    int8_t rest[LB_T_DIRECT][LB_TERN_COLUMNS] = {{0}};
    for (size_t t = 0; t < x->n; t++) {
        memcpy(rest[t], x->tq + t * x->tq_stride + full, k_pad - full);
    }
    lb_ahead ahead = lb_ahead_of(w + LB_TERN_CODES_AT, LB_T_AHEAD);
    for (size_t i = 0; i < n_tiles; i++) {
        lb_ahead next = ahead;
        for (size_t t = 0; t < x->n; t++) { /* a tile stays cached for all tokens */
            float *out = y + t * y_stride + i * LB_TILE_ROWS;
            next = ahead;
            LB_N(lb_t_tern_row_)(w + i * tile_bytes, k, x, t, rest[t], out, add, &next);
        }
        ahead = next;
    }
}

LB_T_TARGET void LB_N(lb_gemv_tern_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k,
                                     const lb_input *x, float *y, size_t y_stride, bool add, void *scratch)
{
    (void)scratch;
    LB_N(lb_t_tern_direct_)(w, tile_bytes, n_tiles, k, x, y, y_stride, add);
}

/*
 * acc[tile][token][16] += digits x tokens, for n_quads quads of columns from `first` on. `tiles` and `tokens`
 * are constants.
 */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_tern_block_)(const uint8_t *digits, size_t n_quads, size_t first,
                                                         const lb_input *x, size_t token, int32_t *acc,
                                                         const size_t tiles, const size_t tokens)
{
    const int8_t *q0 = x->tq + token * x->tq_stride + 4 * first, *q3 = q0 + 3 * x->tq_stride;
    LB_I sum[2][6];
    LB_UNROLL
    for (size_t i = 0; i < tiles; i++) {
        LB_UNROLL
        for (size_t t = 0; t < tokens; t++) {
            sum[i][t] = first == 0 ? LB_V(set1_i)(0) : LB_V(load_i)(acc + (i * LB_MM_MAX_N + t) * LB_TILE_ROWS);
        }
    }
    for (size_t j = 0; j < n_quads;) {
        const size_t end = n_quads - j < LB_T_QUADS ? n_quads : j + LB_T_QUADS;
        LB_D(small) a[2][6];
        LB_UNROLL
        for (size_t t = 0; t < tokens; t++) {
            a[0][t] = a[1][t] = LB_D(small_zero)();
        }
        for (; j < end; j++) {
            const LB_B w0 = LB_V(load_b)(digits + 64 * j);
            const LB_B w1 = tiles == 2 ? LB_V(load_b)(digits + LB_TERN_PANEL_BYTES + 64 * j) : w0;
            LB_UNROLL
            for (size_t t = 0; t < tokens; t++) {
                const LB_B b = LB_V(quad)((t < 3 ? q0 : q3) + t % 3 * x->tq_stride);
                a[0][t] = LB_D(small_dot)(a[0][t], w0, b);
                if (tiles == 2) {
                    a[1][t] = LB_D(small_dot)(a[1][t], w1, b);
                }
            }
            q0 += 4;
            q3 += 4;
        }
        LB_UNROLL
        for (size_t i = 0; i < tiles; i++) {
            LB_UNROLL
            for (size_t t = 0; t < tokens; t++) {
                sum[i][t] = LB_V(add_i)(sum[i][t], LB_D(small_sum)(a[i][t], LB_D(small_zero)()));
            }
        }
    }
    LB_UNROLL
    for (size_t i = 0; i < tiles; i++) {
        LB_UNROLL
        for (size_t t = 0; t < tokens; t++) {
            LB_V(store_i)(acc + (i * LB_MM_MAX_N + t) * LB_TILE_ROWS, sum[i][t]);
        }
    }
}

/* Behind a block of n tokens: their complete sums are finished while they are cached */
static LB_SHARED LB_T_TARGET void LB_N(lb_t_tern_finish_some_)(lb_tile_job *job, const lb_input *x, const int32_t *acc, size_t t,
                                                               size_t n, size_t tiles)
{
    lb_tile_job_fetch(job);
    for (size_t i = 0; job->last && i < n; i++) {
        float *y = job->y + (t + i) * job->y_stride;
        for (size_t h = 0; h < tiles; h++) {
            __builtin_prefetch(y + n * job->y_stride + h * LB_TILE_ROWS, 1); /* rows are far apart: the next tokens' */
            const LB_I sum = LB_V(load_i)(acc + (h * LB_MM_MAX_N + t + i) * LB_TILE_ROWS);
            LB_N(lb_t_tern_finish_)(sum, job->tile + h * job->tile_bytes, x, t + i, y + h * LB_TILE_ROWS, job->add);
        }
    }
}

#define LB_T_RUN(N, TILES)                                                                      \
    for (; t + N <= x->n; t += N) {                                                             \
        LB_N(lb_t_tern_block_)(digits, n_quads, first, x, t, acc + t * LB_TILE_ROWS, TILES, N); \
        LB_N(lb_t_tern_finish_some_)(job, x, acc, t, N, TILES);                                 \
    }

#ifdef LB_T_OWN_TILE
static LB_T_TARGET void LB_N(lb_t_tern_one_tile_)(const uint8_t *digits, size_t n_quads, size_t first,
                                                  const lb_input *x, int32_t *acc, lb_tile_job *job)
{
    if (first == 0) {
        memset(acc, 0, x->n * LB_TILE_ROWS * sizeof *acc);
    }
    LB_N(lb_t_tern_own_tile_)(digits, n_quads, first, x, acc);
    LB_N(lb_t_tern_finish_some_)(job, x, acc, 0, x->n, 1);
}
#else
static LB_T_TARGET void LB_N(lb_t_tern_one_tile_)(const uint8_t *digits, size_t n_quads, size_t first,
                                                  const lb_input *x, int32_t *acc, lb_tile_job *job)
{
    size_t t = 0;
#if LB_T_GTILES == 1
    LB_T_RUN(LB_T_TOKENS, 1)
#endif
#if LB_T_GTILES == 2 || LB_T_TOKENS > 2 /* two tiles: the last of an odd number */
    LB_T_RUN(2, 1)
#endif
    LB_T_RUN(1, 1)
}
#endif

#if LB_T_GTILES == 2
static LB_T_TARGET void LB_N(lb_t_tern_two_tiles_)(const uint8_t *digits, size_t n_quads, size_t first,
                                                   const lb_input *x, int32_t *acc, lb_tile_job *job)
{
    size_t t = 0;
    LB_T_RUN(LB_T_TOKENS, 2)
    LB_T_RUN(4, 2)
    LB_T_RUN(2, 2)
    LB_T_RUN(1, 2)
}
#endif
#undef LB_T_RUN

LB_T_TARGET void LB_N(lb_gemm_tern_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k,
                                     const lb_input *x, float *y, size_t y_stride, bool add, void *scratch)
{
    if (x->n <= LB_T_DIRECT) { /* too few tokens to pay for a panel */
        LB_N(lb_t_tern_direct_)(w, tile_bytes, n_tiles, k, x, y, y_stride, add);
        return;
    }
    lb_tern_panel *panel = scratch;
    const size_t n_lines = lb_tern_lines(k), all_quads = lb_round_up64(k) / 4;
    for (size_t i = 0; i < n_tiles;) {
        const uint8_t *tile = (const uint8_t *)w + i * tile_bytes;
        const size_t tiles = LB_T_GTILES == 2 && i + 2 <= n_tiles ? 2 : 1;
        lb_tile_job job = lb_tile_job_of(tile, tile_bytes, tiles, (x->n + LB_T_TOKENS - 1) / LB_T_TOKENS,
                                         (n_lines + LB_TERN_PANEL_LINES - 1) / LB_TERN_PANEL_LINES, y + i * LB_TILE_ROWS, y_stride, add);
        for (size_t l = 0; l < n_lines; l += LB_TERN_PANEL_LINES) {
            const size_t end = n_lines - l < LB_TERN_PANEL_LINES ? n_lines : l + LB_TERN_PANEL_LINES;
            for (size_t h = 0; h < tiles; h++) {
                const uint8_t *codes = tile + h * tile_bytes + LB_TERN_CODES_AT;
                uint8_t *digits = panel->digits + h * LB_TERN_PANEL_BYTES;
                for (size_t j = l; j < end; j++) {
                    LB_L(tern_digits)(codes + 64 * j, digits + (j - l) * 5 * 64);
                }
            }
            job.last = end == n_lines;
            const size_t n_quads = (end * 5 < all_quads ? end * 5 : all_quads) - l * 5;
#if LB_T_GTILES == 2
            if (tiles == 2) {
                LB_N(lb_t_tern_two_tiles_)(panel->digits, n_quads, l * 5, x, panel->acc, &job);
                continue;
            }
#endif
            LB_N(lb_t_tern_one_tile_)(panel->digits, n_quads, l * 5, x, panel->acc, &job);
        }
        i += tiles;
    }
}

#undef LB_V
#undef LB_D
#undef LB_L
#undef LB_N
#undef LB_F
#undef LB_I
#undef LB_B
#undef LB_T
#undef LB_TV
#undef LB_TD
#undef LB_T_TARGET
#undef LB_T_GTILES
#undef LB_T_TOKENS
#undef LB_T_QUADS
#undef LB_T_AHEAD
#undef LB_T_OWN_TILE
#undef LB_T_DIRECT
