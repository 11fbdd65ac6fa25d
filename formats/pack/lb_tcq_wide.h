/*
 * Template (kernels/tmpl/README): the search of lb_tcq.c for four rows at once. Parameters: LB_T, LB_TV, LB_T_TARGET.
 *
 * A vector has a lane for each stream of each row, 4 r + stream. Each lane does what the search of one row does, in the same order: the
 * results are the same. Weights of windows, which all lanes share, are broadcast from memory.
 */
#define LB_V(op) LB_CAT4(lb_v_, LB_TV, _, op)
#define LB_N(name) LB_CAT2(name, LB_T)
#define LB_F LB_V(f)
#define LB_I LB_V(i)

enum { LB_N(LB_TCQ_LANES_) = 4 * LB_TCQ_ROWS };

/* Costs before the first step */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_tcq_start_)(const unsigned n_states, uint8_t (*state)[4], float (*cost)[16])
{
    for (unsigned s = 0; s < n_states; s++) {
        LB_V(store)(cost[s], LB_V(set1)(LB_TCQ_FAR));
    }
    for (unsigned lane = 0; lane < LB_N(LB_TCQ_LANES_); lane++) {
        const unsigned own = state[lane / 4][lane % 4];
        for (unsigned s = 0; s < n_states && own == LB_TCQ_ANY; s++) {
            cost[s][lane] = 0.0f;
        }
        if (own != LB_TCQ_ANY) {
            cost[own][lane] = 0.0f;
        }
    }
}

/* The first of the states with the least cost, per lane */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_tcq_least_)(const unsigned n_states, const float (*cost)[16], unsigned *state)
{
    float number[16];
    LB_F best = LB_V(load)(cost[0]), at = LB_V(set1)(0.0f);
    for (unsigned s = 1; s < n_states; s++) {
        const LB_F c = LB_V(load)(cost[s]), own = LB_V(set1)((float)s);
        at = LB_V(add)(LB_V(zero_if_less)(c, best, at), LB_V(sub)(own, LB_V(zero_if_less)(c, best, own)));
        best = LB_V(min)(c, best);
    }
    LB_V(store)(number, at);
    for (unsigned lane = 0; lane < LB_N(LB_TCQ_LANES_); lane++) {
        state[lane] = (unsigned)number[lane];
    }
}

LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_tcq_viterbi_)(const unsigned bits, const float *point, const float *x, size_t stride,
                                                        const float *h, size_t n, size_t all, uint8_t (*state)[4],
                                                        const uint8_t (*end)[4], uint8_t *window)
{
    const unsigned n_states = 256u >> bits, choices = 1u << bits, per = bits == 2 ? 16 : 8, words = n_states / per;
    float costs[2][64][16] LB_ALIGNED(64);
    int32_t chosen[LB_TCQ_MAX_STEPS][4][16] LB_ALIGNED(64); /* step, word, lane */
    const LB_I low = LB_V(set1_i)((1 << bits) - 1), keep = LB_V(set1_i)(~((1 << bits) - 1));
    LB_N(lb_tcq_start_)(n_states, state, costs[0]);
    for (size_t t = 0; t < all; t++) {
        const float(*from)[16] = (const float(*)[16])costs[t % 2];
        float(*to)[16] = costs[(t + 1) % 2], xs[16], hs[16];
        for (size_t r = 0; r < LB_TCQ_ROWS; r++) {
            memcpy(xs + 4 * r, x + r * stride + 4 * t, 4 * sizeof(float));
            memcpy(hs + 4 * r, h + 4 * t, 4 * sizeof(float));
        }
        const LB_F xt = LB_V(load)(xs), ht = LB_V(load)(hs);
        for (unsigned word = 0; word < words; word++) {
            LB_I packed = LB_V(set1_i)(0);
            for (unsigned i = 0; i < per; i++) {
                const unsigned s = word * per + i;
                LB_F best = LB_V(set1)(0.0f);
                LB_UNROLL
                for (unsigned e = 0; e < choices; e++) {
                    const unsigned v = lb_tcq_window(bits, s, e);
                    const LB_F d = LB_V(sub)(xt, LB_V(set1)(point[v]));
                    const LB_F cost = LB_V(add)(LB_V(load)(from[lb_tcq_before(bits, v)]), LB_V(mul)(LB_V(mul)(d, d), ht));
                    const LB_F tagged = LB_V(from_bits)(LB_V(or_and_b)(LB_V(set1_i)((int32_t)e), LB_V(bits)(cost), keep));
                    best = e == 0 ? tagged : LB_V(min)(best, tagged);
                }
                LB_V(store)(to[s], best);
                packed = LB_V(or_and_b)(LB_V(sll_by)(packed, (int)bits), LB_V(bits)(best), low);
            }
            LB_V(store_i)(chosen[t][word], packed);
        }
    }
    unsigned now[16];
    if (end) {
        for (unsigned lane = 0; lane < LB_N(LB_TCQ_LANES_); lane++) {
            now[lane] = end[lane / 4][lane % 4];
        }
    } else {
        LB_N(lb_tcq_least_)(n_states, (const float(*)[16])costs[all % 2], now);
    }
    for (size_t t = all; t-- > 0;) { /* backwards, all lanes at once: each step of a lane waits for the one before */
        for (unsigned lane = 0; lane < LB_N(LB_TCQ_LANES_); lane++) {
            const unsigned s = now[lane];
            const unsigned e = (unsigned)chosen[t][s / per][lane] >> bits * (per - 1 - s % per) & (choices - 1);
            const unsigned v = lb_tcq_window(bits, s, e);
            if (t < n) {
                window[lane / 4 * 4 * n + 4 * t + lane % 4] = (uint8_t)v;
            }
            if (t + 1 == n) {
                state[lane / 4][lane % 4] = (uint8_t)s;
            }
            now[lane] = lb_tcq_before(bits, v);
        }
    }
}

LB_T_TARGET void LB_N(lb_tcq_wide_)(lb_wformat format, const float *point, const float *x, size_t stride, const float *h, size_t n,
                                    size_t all, uint8_t (*state)[4], const uint8_t (*end)[4], uint8_t *window)
{
    if (format == LB_W_TCQ2) {
        LB_N(lb_tcq_viterbi_)(2, point, x, stride, h, n, all, state, end, window);
    } else if (format == LB_W_TCQ3) {
        LB_N(lb_tcq_viterbi_)(3, point, x, stride, h, n, all, state, end, window);
    } else {
        LB_N(lb_tcq_viterbi_)(4, point, x, stride, h, n, all, state, end, window);
    }
}

#undef LB_V
#undef LB_N
#undef LB_F
#undef LB_I
#undef LB_T
#undef LB_TV
#undef LB_T_TARGET
