/*
 * Template: everything on plain vectors of floats. Parameters: LB_T, LB_TV, LB_T_TARGET (README), and
 *     LB_T_EXP     how exp is called: LB_ALWAYS_INLINE, or static LB_SHARED where it is long
 * Lanes of a vector are the virtual lanes of lb_kernels.h; the last, partial vector is filled up with zeros, which change
 * no sum (a lane's sum is never -0) and are not stored.
 */
#define LB_V(op) LB_CAT4(lb_v_, LB_TV, _, op)
#define LB_N(name) LB_CAT2(name, LB_T)
#define LB_F LB_V(f)
#define LB_I LB_V(i)

LB_T_EXP LB_T_TARGET LB_F LB_N(lb_t_exp_)(LB_F x)
{
    LB_F c = LB_V(min)(LB_V(set1)(LB_EXP_HI), x); /* NaN stays */
    LB_F t = LB_V(fma)(c, LB_V(set1)(LB_EXP_LOG2E), LB_V(set1)(LB_EXP_MAGIC));
    LB_F n = LB_V(sub)(t, LB_V(set1)(LB_EXP_MAGIC));
    LB_F r = LB_V(fma)(n, LB_V(set1)(-LB_EXP_LN2_HI), c);
    r = LB_V(fma)(n, LB_V(set1)(-LB_EXP_LN2_LO), r);
    LB_F p = LB_V(set1)(LB_EXP_C6);
    p = LB_V(fma)(p, r, LB_V(set1)(LB_EXP_C5));
    p = LB_V(fma)(p, r, LB_V(set1)(LB_EXP_C4));
    p = LB_V(fma)(p, r, LB_V(set1)(LB_EXP_C3));
    p = LB_V(fma)(p, r, LB_V(set1)(LB_EXP_C2));
    p = LB_V(fma)(p, r, LB_V(set1)(1.0f));
    p = LB_V(fma)(p, r, LB_V(set1)(1.0f));
    LB_I e = LB_V(add_i)(LB_V(sll_i)(LB_V(bits)(t), 23), LB_V(set1_i)(127 << 23));
    return LB_V(zero_if_less)(x, LB_V(set1)(LB_EXP_LO), LB_V(mul)(p, LB_V(from_bits)(e)));
}

LB_T_EXP LB_T_TARGET LB_F LB_N(lb_t_exp_down_)(LB_F x)
{
    const LB_F log2e = LB_V(set1)(LB_EXP_LOG2E), t = LB_V(fma)(x, log2e, LB_V(set1)(LB_EXP2_MAGIC));
    const LB_F minus_n = LB_V(sub)(LB_V(set1)(LB_EXP2_MAGIC), t);
    const LB_F r = LB_V(fma)(x, LB_V(set1)(LB_EXP2_LOG2E_LO), LB_V(fma)(x, log2e, minus_n));
    LB_F p = LB_V(fma)(LB_V(set1)(LB_EXP2_C5), r, LB_V(set1)(LB_EXP2_C4));
    p = LB_V(fma)(p, r, LB_V(set1)(LB_EXP2_C3));
    p = LB_V(fma)(p, r, LB_V(set1)(LB_EXP2_C2));
    p = LB_V(fma)(p, r, LB_V(set1)(LB_EXP2_C1));
    p = LB_V(fma)(p, r, LB_V(set1)(1.0f));
    return LB_V(zero_if_less)(x, LB_V(set1)(LB_EXP_LO), LB_V(mul)(p, LB_V(from_bits)(LB_V(sll_i)(LB_V(bits)(t), 23))));
}

LB_T_TARGET void LB_N(lb_quantize_a8_)(const float *x, size_t k, int8_t *q, float *scale, int32_t *sum, int32_t *start)
{
    const size_t n_groups = (k + LB_K_ALIGN - 1) / LB_K_ALIGN * (LB_K_ALIGN / LB_GROUP);
    const LB_I magnitude = LB_V(set1_i)(0x7fffffff);
    for (size_t g = 0; g < n_groups; g++) {
        const size_t at = g * LB_GROUP;
        LB_F a, b;
        if (LB_LIKELY(at + LB_GROUP <= k)) {
            a = LB_V(load)(x + at);
            b = LB_V(load)(x + at + 16);
        } else {
            const size_t n = at < k ? k - at : 0;
            a = LB_V(load_n)(x + (n ? at : 0), n < 16 ? n : 16);
            b = LB_V(load_n)(x + (n > 16 ? at + 16 : 0), n > 16 ? n - 16 : 0);
        }
        LB_I m = LB_V(max_i)(LB_V(and_i)(LB_V(bits)(a), magnitude), LB_V(and_i)(LB_V(bits)(b), magnitude));
        const uint32_t amax_bits = (uint32_t)LB_V(max_all_i)(m);
        const float amax = lb_bits_f32(amax_bits);
        scale[g] = lb_a8_scale(amax);
        if (LB_UNLIKELY(!(amax >= LB_A8_TINY && amax_bits < 0x7f800000))) {
            scale[g] = amax_bits < 0x7f800000 ? LB_A8_ZERO_SCALE : lb_bits_f32(0x7fc00000);
            a = b = LB_V(set1)(0.0f);
        }
        const LB_F f = LB_V(set1)(amax_bits < 0x7f800000 ? 1.0f / scale[g] : 0.0f);
        LB_I ca = LB_V(to_int)(LB_V(mul)(a, f)), cb = LB_V(to_int)(LB_V(mul)(b, f));
        LB_V(store_s8)(q + at, ca);
        LB_V(store_s8)(q + at + 16, cb);
        sum[g] = LB_V(sum_i)(LB_V(add_i)(ca, cb));
        start[g] = -128 * sum[g];
    }
}

LB_T_TARGET void LB_N(lb_quantize_a8_token_)(const float *x, size_t k, int8_t *q, float *scale, int32_t *sum)
{
    const size_t k_pad = (k + LB_K_ALIGN - 1) / LB_K_ALIGN * LB_K_ALIGN;
    const LB_I magnitude = LB_V(set1_i)(0x7fffffff);
    LB_I max = LB_V(bits)(LB_V(set1)(LB_A8_TOKEN_MIN));
    size_t i = 0;
    for (; i + 16 <= k; i += 16) {
        max = LB_V(max_i)(max, LB_V(and_i)(LB_V(bits)(LB_V(load)(x + i)), magnitude));
    }
    if (i < k) {
        max = LB_V(max_i)(max, LB_V(and_i)(LB_V(bits)(LB_V(load_n)(x + i, k - i)), magnitude));
    }
    const uint32_t amax_bits = (uint32_t)LB_V(max_all_i)(max);
    const float amax = lb_bits_f32(amax_bits);
    const bool finite = amax_bits < 0x7f800000;
    *scale = finite ? amax / 127.0f : lb_bits_f32(0x7fc00000);
    const LB_F inverse = LB_V(set1)(127.0f / amax);
    LB_I total = LB_V(set1_i)(0);
    for (i = 0; i < k_pad; i += 16) {
        const size_t n = !finite || i >= k ? 0 : k - i < 16 ? k - i : 16;
        const LB_F v = LB_LIKELY(n == 16) ? LB_V(load)(x + i) : LB_V(load_n)(x + (n ? i : 0), n);
        const LB_I code = n ? LB_V(to_int)(LB_V(mul)(v, inverse)) : LB_V(set1_i)(0);
        LB_V(store_s8)(q + i, code);
        total = LB_V(add_i)(total, code);
    }
    *sum = LB_V(sum_i)(total);
}

LB_T_TARGET void LB_N(lb_rmsnorm_)(float *y, const float *x, const float *w, size_t n, float eps)
{
    LB_F lane = LB_V(set1)(0.0f);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        LB_F v = LB_V(load)(x + i);
        lane = LB_V(fma)(v, v, lane);
    }
    if (i < n) {
        LB_F v = LB_V(load_n)(x + i, n - i);
        lane = LB_V(fma)(v, v, lane);
    }
    const LB_F r = LB_V(set1)(1.0f / sqrtf(LB_V(sum)(lane) / (float)n + eps));
    for (i = 0; i + 16 <= n; i += 16) {
        LB_V(store)(y + i, LB_V(mul)(LB_V(mul)(LB_V(load)(x + i), r), LB_V(load)(w + i)));
    }
    if (i < n) {
        LB_F v = LB_V(mul)(LB_V(mul)(LB_V(load_n)(x + i, n - i), r), LB_V(load_n)(w + i, n - i));
        LB_V(store_n)(y + i, v, n - i);
    }
}

LB_T_TARGET void LB_N(lb_add_)(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        LB_V(store)(y + i, LB_V(add)(LB_V(load)(y + i), LB_V(load)(x + i)));
    }
    if (i < n) {
        LB_V(store_n)(y + i, LB_V(add)(LB_V(load_n)(y + i, n - i), LB_V(load_n)(x + i, n - i)), n - i);
    }
}

LB_T_TARGET void LB_N(lb_scale_)(float *y, float f, size_t n)
{
    const LB_F v = LB_V(set1)(f);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        LB_V(store)(y + i, LB_V(mul)(LB_V(load)(y + i), v));
    }
    if (i < n) {
        LB_V(store_n)(y + i, LB_V(mul)(LB_V(load_n)(y + i, n - i), v), n - i);
    }
}

LB_ALWAYS_INLINE LB_T_TARGET LB_F LB_N(lb_t_silu_mul_)(LB_F g, LB_F up)
{
    LB_F e = LB_V(add)(LB_V(set1)(1.0f), LB_N(lb_t_exp_)(LB_V(neg)(g)));
    return LB_V(mul)(LB_V(div)(g, e), up);
}

LB_T_TARGET void LB_N(lb_silu_mul_)(float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        LB_V(store)(gate + i, LB_N(lb_t_silu_mul_)(LB_V(load)(gate + i), LB_V(load)(up + i)));
    }
    if (i < n) {
        LB_F v = LB_N(lb_t_silu_mul_)(LB_V(load_n)(gate + i, n - i), LB_V(load_n)(up + i, n - i));
        LB_V(store_n)(gate + i, v, n - i);
    }
}

LB_T_TARGET void LB_N(lb_relu2_mul_)(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        const size_t m = n - i < 16 ? n - i : 16;
        const LB_F r = LB_V(max)(LB_V(load_n)(gate + i, m), LB_V(set1)(0.0f));
        LB_V(store_n)(gate + i, LB_V(mul)(LB_V(mul)(r, r), LB_V(load_n)(up + i, m)), m);
    }
}

LB_T_TARGET void LB_N(lb_axpby_)(float *o, const float *c, float a, float b, size_t n)
{
    const LB_F va = LB_V(set1)(a), vb = LB_V(set1)(b);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        LB_V(store)(o + i, LB_V(fma)(vb, LB_V(load)(c + i), LB_V(mul)(va, LB_V(load)(o + i))));
    }
    if (i < n) {
        LB_F v = LB_V(fma)(vb, LB_V(load_n)(c + i, n - i), LB_V(mul)(va, LB_V(load_n)(o + i, n - i)));
        LB_V(store_n)(o + i, v, n - i);
    }
}

LB_T_TARGET void LB_N(lb_weigh_)(float *o, const float *x, size_t stride, const float *w, size_t n, size_t width)
{
    LB_ROLL
    for (size_t i = 0; i < width; i += 16) {
        LB_F acc = LB_V(set1)(0.0f);
        LB_ROLL
        for (size_t c = 0; c < n; c++) {
            acc = LB_V(fma)(LB_V(set1)(w[c]), LB_V(load)(x + c * stride + i), acc);
        }
        LB_V(store)(o + i, acc);
    }
}

/* 16 pairs at a time; the rest one by one */
LB_T_TARGET void LB_N(lb_rope_)(float *x, const float *cs, size_t n_heads, size_t head_dim, size_t rot_dim, bool interleaved)
{
    const size_t half = rot_dim / 2;
    for (size_t h = 0; h < n_heads; h++, x += head_dim) {
        size_t i = 0;
        for (; i + 16 <= half; i += 16) {
            LB_F a, b, c, s;
            LB_V(load_pairs)(cs + 2 * i, &c, &s);
            if (interleaved) {
                LB_V(load_pairs)(x + 2 * i, &a, &b);
            } else {
                a = LB_V(load)(x + i);
                b = LB_V(load)(x + i + half);
            }
            LB_F ra = LB_V(fma)(a, c, LB_V(neg)(LB_V(mul)(b, s)));
            LB_F rb = LB_V(fma)(a, s, LB_V(mul)(b, c));
            if (interleaved) {
                LB_V(store_pairs)(x + 2 * i, ra, rb);
            } else {
                LB_V(store)(x + i, ra);
                LB_V(store)(x + i + half, rb);
            }
        }
        for (; i < half; i++) {
            float *pa = interleaved ? x + 2 * i : x + i;
            float *pb = interleaved ? x + 2 * i + 1 : x + i + half;
            const float a = *pa, b = *pb, c = cs[2 * i], s = cs[2 * i + 1];
            *pa = lb_fma(a, c, -(b * s));
            *pb = lb_fma(a, s, b * c);
        }
    }
}

/* First all maxima, then all exponentials: what a row waits for is hidden by the others. */
LB_T_TARGET void LB_N(lb_softmax_chunk_)(float *p, size_t stride, size_t n_rows, size_t n, float *max, float *sum, lb_fetch *fetch)
{
    const size_t end = (n + 15) / 16 * 16;
    for (size_t r = 0; r < n_rows; r++) {
        float *s = p + r * stride;
        LB_F m = LB_V(set1)(-INFINITY);
        LB_ROLL
        for (size_t i = n; i < end; i++) {
            s[i] = -INFINITY;
        }
        for (size_t i = 0; i < end; i += 16) {
            m = LB_V(max)(LB_V(load)(s + i), m);
        }
        max[r] = LB_V(max_all)(m);
    }
    for (size_t r = 0; r < n_rows; r++) {
        float *s = p + r * stride;
        const LB_F top = LB_V(set1)(max[r]);
        LB_F lane = LB_V(set1)(0.0f);
        lb_fetch_piece(fetch);
        for (size_t i = 0; i < end; i += 16) {
            LB_F e = LB_N(lb_t_exp_down_)(LB_V(sub)(LB_V(load)(s + i), top));
            LB_V(store)(s + i, e);
            lane = LB_V(add)(lane, e);
        }
        sum[r] = LB_V(sum)(lane);
        LB_ROLL
        for (size_t i = n; i < end; i++) { /* not 0 yet if the maximum is -inf: then the sum is NaN in any case */
            s[i] = 0.0f;
        }
    }
}

LB_T_TARGET void LB_N(lb_f32_to_f16_)(uint16_t *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        LB_V(store_f16)(y + i, LB_V(load)(x + i));
    }
    for (; i < n; i++) {
        y[i] = lb_f32_to_f16(x[i]);
    }
}

LB_T_TARGET void LB_N(lb_f16_to_f32_)(float *y, const uint16_t *x, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        LB_V(store)(y + i, LB_V(load_f16)(x + i));
    }
    for (; i < n; i++) {
        y[i] = lb_f16_to_f32(x[i]);
    }
}

/* First the largest value, then its first place: two passes, of which the second stops early and reads cached memory. */
LB_T_TARGET size_t LB_N(lb_argmax_)(const float *x, size_t n)
{
    LB_F a = LB_V(set1)(-INFINITY), b = a;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        a = LB_V(max)(LB_V(load)(x + i), a);
        b = LB_V(max)(LB_V(load)(x + i + 16), b);
    }
    float top = LB_V(max_all)(LB_V(max)(a, b));
    for (; i < n; i++) {
        top = lb_fmax(x[i], top);
    }
    if (top == -INFINITY) {
        return n;
    }
    for (i = 0; i < n && x[i] != top; i++) {
    }
    return i;
}

#undef LB_V
#undef LB_N
#undef LB_F
#undef LB_I
#undef LB_T
#undef LB_TV
#undef LB_T_TARGET
#undef LB_T_EXP
