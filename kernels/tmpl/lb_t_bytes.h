/*
 * Template: lut4 .. lut1 by lookup in tables of bytes, T-MAC's own (lb_kernels.h defines the arithmetic). A part of lb_t_bits.h.
 * LB_T_BYTES is 2, or 1 to do without loops of their own for many tokens, which lut1 and lut2 have.
 *
 * One lookup for what takes two with exact tables, and lookups are added in pairs before they are widened to 16 bits. LB_V(planes) does the
 * rest: sum over b of (sum of the four pieces of v[b]) * (weight << b), + base - zeros[group & 15] * sum, 16 rows as int32. All of it, and
 * each part of it modulo 2^16, is in 16 bits.
 *
 * Many tokens: of a block of tiles and a chunk of columns, indices, scales and zero points are unpacked once; they (20 KB for 4 bits) and the
 * tables of one token and chunk (1 KB) stay in the first-level cache, partial sums wait in scratch.
 */
#ifndef LB_BYTES_TILES
#define LB_BYTES_TILES ((size_t)4)
#define LB_BYTES_CHUNK ((size_t)8) /* groups */
typedef struct lb_bytes_panel { /* a group of a tile, unpacked */
    uint8_t index[4][2][64]; /* of planes: low nibbles, high nibbles */
    float scale[LB_TILE_ROWS];
    uint8_t zero[LB_TILE_ROWS];
} lb_bytes_panel;
typedef struct lb_bytes_scratch {
    float acc[LB_MM_MAX_N * LB_BYTES_TILES][LB_TILE_ROWS];
    lb_bytes_panel panel[LB_BYTES_TILES][LB_BYTES_CHUNK];
} lb_bytes_scratch;
_Static_assert(sizeof(lb_bytes_scratch) <= LB_MM_SCRATCH, "LB_MM_SCRATCH is too small");
#endif

/* acc + one group: v[b] are the lookups of plane b, added in pairs */
LB_ALWAYS_INLINE LB_T_TARGET LB_F LB_N(lb_t_bytes_add_)(LB_F acc, const LB_B *v, LB_V(z) zero, LB_F row_scale, const int shift,
                                                        const int bits, float scale, int sum)
{
    const int weight = 1 << (shift - 1), centre = ((1 << bits) - 1) * weight;
    const LB_I isum = LB_V(planes)(v, bits, weight, zero, centre * (sum - 8 * 64), sum);
    return LB_V(fma)(LB_V(mul)(row_scale, LB_V(set1)(scale)), LB_V(to_float)(isum), acc);
}

/* One token; bits and shift are constants but where nothing is unrolled. */
#if LB_T_SHARE
static LB_NOINLINE
#else
LB_ALWAYS_INLINE
#endif
    LB_T_TARGET void LB_N(lb_t_bytes_one_)(const uint8_t *zeros, const int shift, const int bits, const void *w,
                                                        size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                                                        bool add)
{
    const size_t n_groups = lb_round_up64(k) / LB_GROUP, step = tile_bytes / n_groups;
    lb_ahead ahead = lb_ahead_of((const uint8_t *)w + lb_bits_codes_at(k), LB_T_AHEAD);
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *tile = (const uint8_t *)w + i * tile_bytes;
        const uint8_t *group = tile + LB_Q_SCALES_AT, *codes = tile + lb_bits_codes_at(k), *tables = x->bytes;
        ahead.until = codes + LB_T_AHEAD;
        LB_F acc = LB_V(set1)(0.0f);
        for (size_t g = 0; g < n_groups; g++) {
#if LB_T_SHARE
            lb_ahead_lines(&ahead, step, (size_t)bits);
#else
            lb_ahead_step(&ahead, step, (size_t)bits);
#endif
            const LB_B even = LB_V(load_b)(tables), odd = LB_V(load_b)(tables + 64);
            LB_B v[4];
            LB_UNROLL
            for (int b = 0; b < bits; b++) {
                const LB_B c = LB_V(load_b)(codes + 64 * b);
                v[b] = LB_V(add_b)(LB_V(lookup_b)(even, LB_V(low_nibbles)(c)), LB_V(lookup_b)(odd, LB_V(high_nibbles)(c)));
            }
            acc = LB_N(lb_t_bytes_add_)(acc, v, LB_V(lookup_z)(group, zeros), LB_N(lb_t_group_scale_)(group), shift, bits,
                                        x->bytes_scale[g], x->bytes_sum[g]);
            group += LB_TILE_ROWS;
            codes += 64 * bits;
            tables += LB_BYTES_GROUP;
        }
        LB_N(lb_t_finish_)(acc, tile, y + i * LB_TILE_ROWS, add);
    }
}

#if LB_T_BYTES == 2
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_bytes_unpack_)(lb_bytes_panel *to, const uint8_t *zeros, const int bits,
                                                           const uint8_t *tile, size_t k, size_t from, size_t n)
{
    const uint8_t *group = tile + LB_Q_SCALES_AT + from * LB_TILE_ROWS, *codes = tile + lb_bits_codes_at(k) + from * 64 * (size_t)bits;
    for (size_t g = 0; g < n; g++, group += LB_TILE_ROWS, codes += 64 * bits) {
        LB_V(store)(to[g].scale, LB_N(lb_t_group_scale_)(group));
        LB_V(store_z)(to[g].zero, LB_V(lookup_z)(group, zeros));
        for (int b = 0; b < bits; b++) {
            const LB_B c = LB_V(load_b)(codes + 64 * b);
            LB_V(store_b)(to[g].index[b][0], LB_V(low_nibbles)(c));
            LB_V(store_b)(to[g].index[b][1], LB_V(high_nibbles)(c));
        }
    }
}

/* Many tokens */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_t_bytes_many_)(const uint8_t *zeros, const int shift, const int bits, const void *w,
                                                         size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                                                         size_t y_stride, bool add, lb_bytes_scratch *scratch)
{
    const size_t n_groups = lb_round_up64(k) / LB_GROUP;
    for (size_t i = 0; i < n_tiles; i += LB_BYTES_TILES) {
        const size_t tiles = n_tiles - i < LB_BYTES_TILES ? n_tiles - i : LB_BYTES_TILES;
        const uint8_t *tile = (const uint8_t *)w + i * tile_bytes;
        for (size_t from = 0; from < n_groups; from += LB_BYTES_CHUNK) {
            const size_t n = n_groups - from < LB_BYTES_CHUNK ? n_groups - from : LB_BYTES_CHUNK;
            for (size_t j = 0; j < tiles; j++) {
                LB_N(lb_t_bytes_unpack_)(scratch->panel[j], zeros, bits, tile + j * tile_bytes, k, from, n);
            }
            for (size_t j = 0; j < x->n * tiles; j++) {
                const size_t t = j / tiles;
                const uint8_t *tables = x->bytes + t * x->bytes_stride + from * LB_BYTES_GROUP;
                const float *scale = x->bytes_scale + t * x->group_stride + from;
                const int32_t *sum = x->bytes_sum + t * x->group_stride + from;
                LB_F acc = from == 0 ? LB_V(set1)(0.0f) : LB_V(load)(scratch->acc[j]);
                for (size_t g = 0; g < n; g++, tables += LB_BYTES_GROUP) {
                    const lb_bytes_panel *p = &scratch->panel[j % tiles][g];
                    const LB_B even = LB_V(load_b)(tables), odd = LB_V(load_b)(tables + 64);
                    LB_B v[4];
                    LB_UNROLL
                    for (int b = 0; b < bits; b++) {
                        v[b] = LB_V(add_b)(LB_V(lookup_b)(even, LB_V(load_b)(p->index[b][0])),
                                           LB_V(lookup_b)(odd, LB_V(load_b)(p->index[b][1])));
                    }
                    acc = LB_N(lb_t_bytes_add_)(acc, v, LB_V(load_z)(p->zero), LB_V(load)(p->scale), shift, bits, scale[g], sum[g]);
                }
                LB_V(store)(scratch->acc[j], acc);
            }
        }
        for (size_t j = 0; j < x->n * tiles; j++) {
            LB_N(lb_t_finish_)(LB_V(load)(scratch->acc[j]), tile + j % tiles * tile_bytes,
                               y + j / tiles * y_stride + (i + j % tiles) * LB_TILE_ROWS, add);
        }
    }
}

#endif

/* Few tokens, and many where a loop of their own is not worth its bytes: tile by tile, which stays cached for all of them */
static LB_NOINLINE LB_T_TARGET void LB_N(lb_t_bytes_few_)(lb_matmul_fn *one, const void *w, size_t tile_bytes, size_t n_tiles, size_t k,
                                                          const lb_input *x, float *y, size_t y_stride, bool add)
{
    for (size_t i = 0; i < n_tiles * x->n; i++) {
        const size_t tile = i / x->n, t = i % x->n;
        const lb_input in = {.n = 1,
                             .bytes = x->bytes + t * x->bytes_stride,
                             .bytes_scale = x->bytes_scale + t * x->group_stride,
                             .bytes_sum = x->bytes_sum + t * x->group_stride};
        one((const uint8_t *)w + tile * tile_bytes, tile_bytes, 1, k, &in, y + t * y_stride + tile * LB_TILE_ROWS, y_stride, add, NULL);
    }
}

#if LB_T_BYTES == 2
#define LB_T_BYTES_MANY(name, bits, shift)                                                                            \
    if (bits <= 2 && x->n > 2) {                                                                                      \
        LB_N(lb_t_bytes_many_)(lb_bits_##name.zero, shift, bits, w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch); \
        return;                                                                                                       \
    }
#else
#define LB_T_BYTES_MANY(name, bits, shift)
#endif
#define LB_T_BYTES_FORMAT(name, bits, shift)                                                                          \
    LB_T_TARGET void LB_N(lb_bytes_##name##_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k,             \
                                              const lb_input *x, float *y, size_t y_stride, bool add, void *scratch)  \
    {                                                                                                                 \
        (void)scratch;                                                                                                \
        if (x->n == 1) {                                                                                              \
            LB_N(lb_t_bytes_one_)(lb_bits_##name.zero, shift, bits, w, tile_bytes, n_tiles, k, x, y, add);            \
            return;                                                                                                   \
        }                                                                                                             \
        LB_T_BYTES_MANY(name, bits, shift)                                                                            \
        LB_N(lb_t_bytes_few_)(LB_N(lb_bytes_##name##_), w, tile_bytes, n_tiles, k, x, y, y_stride, add);              \
    }
LB_T_BYTES_FORMAT(lut4, 4, 1)
LB_T_BYTES_FORMAT(lut3, 3, 2)
LB_T_BYTES_FORMAT(lut2, 2, 2)
LB_T_BYTES_FORMAT(lut1, 1, 2)
#undef LB_T_BYTES_FORMAT
#undef LB_T_BYTES_MANY

#if LB_T_BYTE_TABLES
/* The second half of a table is the first one with the other sign, backwards; a vector has both at the price of one. */
LB_T_TARGET void LB_N(lb_byte_tables_)(const float *x, size_t k, uint8_t *tables, float *scale, int32_t *sum)
{
    static const float sign[4][16] = {{-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1},
                                      {-1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1},
                                      {-1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1},
                                      {-1, -1, -1, -1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1}};
    const LB_F s0 = LB_V(load)(sign[0]), s1 = LB_V(load)(sign[1]), s2 = LB_V(load)(sign[2]), s3 = LB_V(load)(sign[3]);
    const LB_I magnitude = LB_V(set1_i)(0x7fffffff);
    for (size_t g = 0; g < lb_round_up64(k) / LB_GROUP; g++, tables += LB_BYTES_GROUP) {
        float v[LB_GROUP] = {0}, f[8][LB_TILE_ROWS];
        int32_t codes[LB_TILE_ROWS];
        const size_t n = g * LB_GROUP >= k ? 0 : k - g * LB_GROUP < LB_GROUP ? k - g * LB_GROUP : LB_GROUP;
        memcpy(v, x + (n ? g * LB_GROUP : 0), n * sizeof(float));
        LB_I max = LB_V(set1_i)(0), total = max;
        for (size_t j = 0; j < 8; j++) {
            const float *q = v + 4 * j;
            const LB_F a = LB_V(add)(LB_V(mul)(LB_V(set1)(q[0]), s0), LB_V(mul)(LB_V(set1)(q[1]), s1));
            const LB_F b = LB_V(add)(LB_V(mul)(LB_V(set1)(q[2]), s2), LB_V(mul)(LB_V(set1)(q[3]), s3));
            const LB_F all = LB_V(add)(a, b);
            LB_V(store)(f[j], all);
            max = LB_V(max_i)(max, LB_V(and_i)(LB_V(bits)(all), magnitude));
        }
        const uint32_t amax_bits = (uint32_t)LB_V(max_all_i)(max);
        const float amax = lb_bits_f32(amax_bits);
        const bool ok = amax >= LB_A8_TINY && amax_bits < 0x7f800000;
        scale[g] = ok ? amax / 63.0f : amax_bits < 0x7f800000 ? 0.0f : lb_bits_f32(0x7fc00000);
        const LB_F inverse = LB_V(set1)(ok ? 63.0f / amax : 0.0f);
        for (size_t j = 0; j < 8; j++) {
            const LB_I t = ok ? LB_V(to_int)(LB_V(mul)(LB_V(load)(f[j]), inverse)) : LB_V(set1_i)(0);
            LB_V(store_s8)((int8_t *)tables + j % 2 * 64 + j / 2 * 16, LB_V(add_i)(t, LB_V(set1_i)(64)));
            total = LB_V(add_i)(total, t);
        }
        LB_V(store_i)(codes, total);
        sum[g] = codes[15];
    }
}
#endif
