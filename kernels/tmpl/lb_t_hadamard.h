/*
 * Template: the block Hadamard transform with random signs. Parameters, besides those of README:
 *     LB_T_SWAP(v, h)  the 16 floats of v with lane i and lane i ^ h exchanged; h is 1, 2, 4 or 8
 *     LB_T_FLIP(v, h)  the 16 floats of v, negated in the lanes i with i & h
 *     LB_T_SIGNS(v, b) the 16 floats of v, negated in the lanes i with bit i of b
 *
 * Strides below 16 stay inside a vector: in lanes without the bit, u + v; in lanes with it, u - v = swapped + (-v), which rounds the
 * same. Strides from 16 on pair whole vectors; two of them are done in one pass over the block.
 */
#define LB_V(op) LB_CAT4(lb_v_, LB_TV, _, op)
#define LB_N(name) LB_CAT2(name, LB_T)
#define LB_F LB_V(f)
#define LB_T_STEP(v, h) v = LB_V(add)(LB_T_SWAP(v, h), LB_T_FLIP(v, h))

LB_T_TARGET void LB_N(lb_hadamard_)(float *y, const float *x, const uint8_t *signs, size_t n, size_t block)
{
    const LB_F unit = LB_V(set1)(1.0f / sqrtf((float)block));
    for (size_t at = 0; at < n; at += block) {
        float *b = y + at;
        for (size_t i = 0; i < block; i += 16) {
            const uint8_t *s = signs + (at + i) / 8;
            LB_F v = LB_T_SIGNS(LB_V(load)(x + at + i), (uint32_t)s[0] | (uint32_t)s[1] << 8);
            LB_T_STEP(v, 1);
            LB_T_STEP(v, 2);
            LB_T_STEP(v, 4);
            LB_T_STEP(v, 8);
            LB_V(store)(b + i, v);
        }
        size_t h = 16;
        for (; 4 * h <= block; h *= 4) {
            for (size_t i = 0; i < block; i += 4 * h) {
                for (size_t j = i; j < i + h; j += 16) {
                    const LB_F p = LB_V(load)(b + j), q = LB_V(load)(b + j + h);
                    const LB_F r = LB_V(load)(b + j + 2 * h), s = LB_V(load)(b + j + 3 * h);
                    const LB_F pq = LB_V(add)(p, q), mq = LB_V(sub)(p, q), rs = LB_V(add)(r, s), ms = LB_V(sub)(r, s);
                    LB_V(store)(b + j, LB_V(add)(pq, rs));
                    LB_V(store)(b + j + h, LB_V(add)(mq, ms));
                    LB_V(store)(b + j + 2 * h, LB_V(sub)(pq, rs));
                    LB_V(store)(b + j + 3 * h, LB_V(sub)(mq, ms));
                }
            }
        }
        for (; h < block; h *= 2) {
            for (size_t j = 0; j < block / 2; j += 16) { /* at most one stride is left: half of the block */
                const LB_F p = LB_V(load)(b + j), q = LB_V(load)(b + j + h);
                LB_V(store)(b + j, LB_V(add)(p, q));
                LB_V(store)(b + j + h, LB_V(sub)(p, q));
            }
        }
        for (size_t i = 0; i < block; i += 16) {
            LB_V(store)(b + i, LB_V(mul)(LB_V(load)(b + i), unit));
        }
    }
}

#undef LB_T_STEP
#undef LB_F
#undef LB_N
#undef LB_V
#undef LB_T
#undef LB_TV
#undef LB_T_TARGET
#undef LB_T_SWAP
#undef LB_T_FLIP
#undef LB_T_SIGNS
