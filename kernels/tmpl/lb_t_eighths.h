/*
 * Template: products of many tokens with panels of two tiles, without multiplying scales. A part of lb_t_int.h, which includes it for
 * levels with LB_T_EIGHTHS and whose parameters and names it uses.
 *
 * AVX-512 VNNI on Zen 5 has two units for dot products and for all multiplications. Per group of 32 columns, 2 tiles and 6 tokens lb_t_panel_
 * gives them 96 dot products, 12 fused multiply-adds of sums, and 12 products of a group scale and an activation's scale: a tenth of
 * the time for the last. Here they come from a table. An activation's scale is a power of 2 times one of eight significands
 * (quantize_a8), so for each tile, group and significand 8/8 .. 15/8 the table has
 *     f32 eighths[tile][group][8][16]
 * group scales times it, which is exact, and adding the bits of the activation's scale to those of a number gives the product.
 */
#define LB_EIGHTHS_FROM 24 /* tokens that pay for the table */

/* The bits of an activation's scale bring a bias of exponents and the significand j, which is in the number already. */
static LB_SHARED LB_T_TARGET void LB_N(lb_t_eighths_)(lb_panel *panel, size_t n_groups)
{
    for (size_t i = 0; i < 2; i++) {
        const float *scale = panel->scale + i * LB_PANEL_GROUPS * LB_TILE_ROWS;
        float *out = panel->eighths + i * LB_PANEL_GROUPS * 8 * LB_TILE_ROWS;
        for (size_t g = 0; g < n_groups; g++, scale += LB_TILE_ROWS) {
            for (uint32_t j = 0; j < 8; j++, out += LB_TILE_ROWS) {
                const LB_F s = LB_V(mul)(LB_V(load)(scale), LB_V(set1)(1.0f + 0.125f * (float)j));
                LB_V(store)(out, LB_V(from_bits)(LB_V(sub_i)(LB_V(bits)(s), LB_V(set1_i)((int32_t)(127u << 23 | j << 20)))));
            }
        }
    }
}

/* Sums of tokens of which a scale is not a number become that, too: adding bits does not see to it. */
static LB_NOINLINE void LB_N(lb_t_not_finite_)(const lb_input *x, size_t token, size_t first, size_t n_groups, float *acc)
{
    for (size_t t = token; t < token + LB_T_TOKENS; t++, acc += LB_TILE_ROWS) {
        for (size_t g = first; g < first + n_groups; g++) {
            if (x->scale[t * x->group_stride + g] != x->scale[t * x->group_stride + g]) {
                for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                    acc[r] = acc[LB_MM_MAX_N * LB_TILE_ROWS + r] = NAN;
                }
            }
        }
    }
}

/* lb_t_panel_ for two tiles, LB_T_TOKENS tokens and the panel's table. acc: of the first token */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_eighths_panel_)(const uint8_t *codes, size_t code_stride, const lb_panel *panel, size_t n_groups,
                                                            size_t first, const lb_input *x, size_t token, float *acc)
{
    const size_t second = LB_PANEL_GROUPS * 8 * LB_TILE_ROWS;
    const float *scale = x->scale + token * x->group_stride + first, *scale3 = scale + 3 * x->group_stride;
    const int32_t *start = x->start + token * x->group_stride + first, *start3 = start + 3 * x->group_stride;
    const int8_t *q0 = x->q + token * x->q_stride + first * LB_GROUP, *q3 = q0 + 3 * x->q_stride;
    LB_F f[2][LB_T_TOKENS];
    LB_UNROLL
    for (size_t t = 0; t < LB_T_TOKENS; t++) {
        f[0][t] = f[1][t] = LB_V(set1)(0.0f);
    }
    if (first > 0) {
        LB_UNROLL
        for (size_t t = 0; t < LB_T_TOKENS; t++) {
            f[0][t] = LB_V(load)(acc + t * LB_TILE_ROWS);
            f[1][t] = LB_V(load)(acc + (LB_MM_MAX_N + t) * LB_TILE_ROWS);
        }
    }
    for (size_t g = 0; g < n_groups; g++) {
        /* Opaque here, so that tokens are addressed from 2 pointers and this stride instead of pointers on the stack */
        size_t q_stride = x->q_stride, stride = x->group_stride;
        __asm__("" : "+r"(q_stride), "+r"(stride));
        LB_I a[2][LB_T_TOKENS];
        LB_UNROLL
        for (size_t t = 0; t < LB_T_TOKENS; t++) {
            a[0][t] = a[1][t] = LB_V(set1_i)((t < 3 ? start : start3)[t % 3 * stride + g]);
        }
        LB_UNROLL
        for (size_t j = 0; j < 8; j++) {
            const LB_B w0 = LB_V(load_b)(codes + 64 * j), w1 = LB_V(load_b)(codes + code_stride + 64 * j);
            LB_UNROLL
            for (size_t t = 0; t < LB_T_TOKENS; t++) {
                const LB_B b = LB_V(quad)((t < 3 ? q0 : q3) + t % 3 * q_stride + 4 * j);
                a[0][t] = LB_D(dot)(a[0][t], w0, b);
                a[1][t] = LB_D(dot)(a[1][t], w1, b);
            }
        }
        const float *table = panel->eighths + g * 8 * LB_TILE_ROWS;
        LB_UNROLL
        for (size_t t = 0; t < LB_T_TOKENS; t++) {
            const uint32_t bits = lb_f32_bits((t < 3 ? scale : scale3)[t % 3 * stride + g]);
            const float *s = table + (bits >> 16 & 7 * LB_TILE_ROWS); /* the place of its significand */
            const LB_I x_scale = LB_V(set1_i)((int32_t)bits);
            const LB_F s0 = LB_V(from_bits)(LB_V(add_i)(LB_V(bits)(LB_V(load)(s)), x_scale));
            const LB_F s1 = LB_V(from_bits)(LB_V(add_i)(LB_V(bits)(LB_V(load)(s + second)), x_scale));
            f[0][t] = LB_V(fma)(s0, LB_V(to_float)(a[0][t]), f[0][t]);
            f[1][t] = LB_V(fma)(s1, LB_V(to_float)(a[1][t]), f[1][t]);
        }
        codes += 512;
        q0 += LB_GROUP;
        q3 += LB_GROUP;
    }
    LB_UNROLL
    for (size_t t = 0; t < LB_T_TOKENS; t++) {
        LB_V(store)(acc + t * LB_TILE_ROWS, f[0][t]);
        LB_V(store)(acc + (LB_MM_MAX_N + t) * LB_TILE_ROWS, f[1][t]);
    }
    LB_I largest = LB_V(set1_i)(0);
    LB_UNROLL
    for (size_t t = 0; t < LB_T_TOKENS; t++) {
        largest = LB_V(max_i)(largest, LB_V(bits)(LB_V(load_n)(scale + t * x->group_stride, n_groups)));
    }
    if (LB_UNLIKELY(LB_V(max_all_i)(largest) >= 0x7f800000)) {
        LB_N(lb_t_not_finite_)(x, token, first, n_groups, acc);
    }
}

/* All whole blocks; returns how many tokens these are. */
LB_ALWAYS_INLINE LB_T_TARGET size_t LB_N(lb_t_eighths_blocks_)(const uint8_t *codes, size_t code_stride, lb_panel *panel, size_t n_groups,
                                                               size_t first, const lb_input *x, lb_tile_job *job)
{
    size_t t = 0;
    LB_N(lb_t_eighths_)(panel, n_groups);
    for (; t + LB_T_TOKENS <= x->n; t += LB_T_TOKENS) {
        LB_N(lb_t_eighths_panel_)(codes, code_stride, panel, n_groups, first, x, t, panel->acc + t * LB_TILE_ROWS);
        LB_N(lb_t_finish_some_)(job, panel->acc, t, LB_T_TOKENS, 2);
    }
    return t;
}
