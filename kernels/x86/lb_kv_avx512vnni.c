#if defined(__x86_64__)
/* Products over a quantized KV cache, AVX-512 VNNI: 2 tiles x 4 queries. */
#include "../lb_ahead.h"
#include "../lb_kernel_names.h"
#include "lb_v_avx512vnni.h"

LB_DECLARE_KV(avx512vnni);

#define LB_KV_CRUMB_avx512vnni(v, j) lb_v_avx512_and_i(lb_v_avx512_srl_i(v, 2 * (j)), lb_v_avx512_set1_i(0x03030303))

#define LB_T avx512vnni
#define LB_TV avx512
#define LB_TD avx512vnni
#define LB_T_TARGET LB_TARGET_AVX512VNNI
#define LB_T_BIAS LB_DOT_BIAS_avx512vnni
#define LB_T_TILES 2
#define LB_T_TOKENS 4
#define LB_T_CRUMB LB_KV_CRUMB_avx512vnni
#define LB_T_AHEAD 4096
#define LB_T_IN_PLACE 1
#define LB_T_OWN_SOFTMAX
#include "../tmpl/lb_t_kv.h"
#undef LB_KV_CRUMB_avx512vnni

/* The maximum of each of four vectors, as unsigned numbers */
LB_ALWAYS_INLINE LB_TARGET_AVX512VNNI __m128i lb_fold_max(const __m512i m[4])
{
    __m512i a = _mm512_max_epu32(_mm512_unpacklo_epi32(m[0], m[1]), _mm512_unpackhi_epi32(m[0], m[1]));
    const __m512i b = _mm512_max_epu32(_mm512_unpacklo_epi32(m[2], m[3]), _mm512_unpackhi_epi32(m[2], m[3]));
    a = _mm512_max_epu32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    a = _mm512_max_epu32(a, _mm512_shuffle_i64x2(a, a, 0x4e));
    return _mm512_castsi512_si128(_mm512_max_epu32(a, _mm512_shuffle_i64x2(a, a, 0xb1)));
}

/* Of the largest magnitudes of a group of each of four rows, as bits: scales, 127 / magnitude or 0, and which groups have codes that are not 0 */
LB_ALWAYS_INLINE LB_TARGET_AVX512VNNI __m128 lb_scales(__m128i bits, __m128 *inverse, unsigned *any)
{
    const __m128 amax = _mm_castsi128_ps(bits), scale = _mm_mul_ps(amax, _mm_set1_ps(1.0f / 127.0f));
    const __mmask8 finite = _mm_cmplt_epu32_mask(bits, _mm_set1_epi32(0x7f800000));
    const __mmask8 some = _mm_mask_cmp_ps_mask(finite, amax, _mm_set1_ps(LB_KV_TINY), _CMP_GE_OQ);
    *any = some;
    *inverse = _mm_maskz_div_ps(some, _mm_set1_ps(127.0f), amax);
    return _mm_mask_mov_ps(_mm_maskz_mov_ps((__mmask8)~finite, _mm_set1_ps(NAN)), some, scale);
}

/* Of each of four rows its sum, of what the lanes 4 i + row have */
LB_ALWAYS_INLINE LB_TARGET_AVX512VNNI void lb_store_sums(int32_t *to, __m512i sum)
{
    sum = _mm512_add_epi32(sum, _mm512_shuffle_i64x2(sum, sum, 0x4e));
    sum = _mm512_add_epi32(sum, _mm512_shuffle_i64x2(sum, sum, 0xb1));
    _mm_storeu_si128((__m128i *)(void *)to, _mm512_castsi512_si128(sum));
}

/* Compilers that reorder what is here by stages undo what the stages are for: operations that wait for each other far apart. */
#define LB_STAGE(v) __asm__("" : "+v"((v)[0]), "+v"((v)[1]), "+v"((v)[2]), "+v"((v)[3]))
#define LB_ROWS(b)                                                                                                    \
    LB_UNROLL                                                                                                         \
    for (size_t b = 0; b < 4; b++)

/* Numbers at.. of four rows times by[row], as codes */
LB_ALWAYS_INLINE LB_TARGET_AVX512VNNI void lb_store_codes(float (*y)[LB_KV_CHUNK], size_t at, const __m512 by[4], int8_t *q, int32_t *sum)
{
    __m512i total = _mm512_setzero_si512();
    LB_UNROLL
    for (size_t j = 0; j < 4; j++) {
        __m512i c[4];
        LB_ROWS(b) c[b] = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_load_ps(&y[b][at + 16 * j]), by[b]));
        const __m512i bytes = _mm512_packs_epi16(_mm512_packs_epi32(c[0], c[1]), _mm512_packs_epi32(c[2], c[3]));
        _mm512_storeu_si512(q + 64 * j, bytes);
        total = _mm512_dpbusd_epi32(total, _mm512_set1_epi8(1), bytes);
    }
    lb_store_sums(sum, total);
}

/*
 * Four rows at a time: their maxima, then group by group the exponentials times w, with the codes of the group before, whose scales are there by then.
 * Exponentials go in two stages: while those of 16 positions are multiplied out (p, v) the exponents and fractions (t, f) of the next 16 are made, so that
 * what waits is never more than the processor can look ahead (490 cycles for four rows; one after the other 540).
 */
LB_TARGET_AVX512VNNI void lb_kv_softmax_avx512vnni(float *s, size_t stride, size_t n_rows, const uint16_t *w, const lb_kv_codes *to, float *max,
                                                   float *sum, lb_fetch *fetch)
{
    const __m512 log2e = _mm512_set1_ps(LB_EXP_LOG2E), magic = _mm512_set1_ps(LB_EXP2_MAGIC);
    for (size_t r = 0; r < n_rows; r += 4) {
        LB_ALIGNED(64) float y[4][LB_KV_CHUNK];
        const size_t rows = n_rows - r < 4 ? n_rows - r : 4;
        const size_t steps = LB_KV_CHUNK / LB_KV_GROUP + 1;
        lb_fetch part = {.at = fetch ? fetch->at : (const uint8_t *)s, .piece = fetch ? (2 * fetch->piece * rows / steps + 63) / 64 * 64 : 0};
        const float *row[4];
        __m512 top[4], lane[4];
        LB_ROWS(b)
        {
            row[b] = s + (r + (b < rows ? b : rows - 1)) * stride;
            top[b] = _mm512_set1_ps(-INFINITY);
            lane[b] = _mm512_setzero_ps();
        }
        LB_ROLL
        for (size_t i = 0; i < LB_KV_CHUNK; i += 16) {
            LB_ROWS(b)
            {
                top[b] = _mm512_max_ps(_mm512_loadu_ps(row[b] + i), top[b]);
            }
        }
        LB_ROWS(b)
        {
            const float m = lb_v_avx512_max_all(top[b]);
            top[b] = _mm512_set1_ps(m);
            max[r + (b < rows ? b : rows - 1)] = m;
        }
        __m128 inverse = _mm_setzero_ps();
        __m512 f[4], t[4];
        LB_ROWS(b)
        {
            const __m512 x = _mm512_max_ps(_mm512_set1_ps(LB_EXP_CODE_LO), _mm512_sub_ps(_mm512_loadu_ps(row[b]), top[b]));
            t[b] = _mm512_fmadd_ps(x, log2e, magic);
            f[b] = _mm512_fmadd_ps(x, log2e, _mm512_sub_ps(magic, t[b]));
            t[b] = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(t[b]), 23));
        }
        LB_ROLL
        for (size_t g = 0; g <= LB_KV_CHUNK; g += LB_KV_GROUP) {
            lb_fetch_piece(&part);
            __m128 next = _mm_setzero_ps();
            if (g < LB_KV_CHUNK) {
                __m512i m[4];
                LB_UNROLL
                for (size_t j = 0; j < 4; j++) {
                    const size_t i = g + 16 * j;
                    const __m512 factor = lb_v_avx512_load_bf16(w + i);
                    const size_t ahead = i + 16 < LB_KV_CHUNK ? i + 16 : i;
                    __m512 x[4], f1[4], t1[4], p[4], v[4];
                    LB_ROWS(b) p[b] = _mm512_fmadd_ps(_mm512_set1_ps(LB_EXP_CODE_C3), f[b], _mm512_set1_ps(LB_EXP_CODE_C2));
                    LB_ROWS(b) x[b] = _mm512_sub_ps(_mm512_loadu_ps(row[b] + ahead), top[b]);
                    LB_STAGE(p);
                    LB_STAGE(x);
                    LB_ROWS(b) p[b] = _mm512_fmadd_ps(p[b], f[b], _mm512_set1_ps(LB_EXP_CODE_C1));
                    LB_ROWS(b) x[b] = _mm512_max_ps(_mm512_set1_ps(LB_EXP_CODE_LO), x[b]);
                    LB_STAGE(p);
                    LB_STAGE(x);
                    LB_ROWS(b) p[b] = _mm512_fmadd_ps(p[b], f[b], _mm512_set1_ps(1.0f));
                    LB_ROWS(b) t1[b] = _mm512_fmadd_ps(x[b], log2e, magic);
                    LB_STAGE(p);
                    LB_STAGE(t1);
                    LB_ROWS(b) p[b] = _mm512_mul_ps(p[b], t[b]);
                    LB_ROWS(b) f1[b] = _mm512_sub_ps(magic, t1[b]);
                    LB_STAGE(p);
                    LB_STAGE(f1);
                    LB_ROWS(b) v[b] = _mm512_mul_ps(p[b], factor);
                    LB_ROWS(b) f[b] = _mm512_fmadd_ps(x[b], log2e, f1[b]);
                    LB_STAGE(f);
                    LB_ROWS(b) t[b] = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(t1[b]), 23));
                    LB_ROWS(b) lane[b] = _mm512_add_ps(lane[b], p[b]);
                    LB_STAGE(t);
                    LB_ROWS(b) _mm512_store_ps(&y[b][i], v[b]);
                    LB_ROWS(b) m[b] = j == 0 ? _mm512_castps_si512(v[b]) : _mm512_max_epu32(m[b], _mm512_castps_si512(v[b]));
                }
                unsigned any;
                const __m128 scale = lb_scales(lb_fold_max(m), &next, &any);
                for (size_t b = 0; LB_UNLIKELY(any != 15) && b < 4; b++) {
                    if (!(any >> b & 1)) {
                        memset(&y[b][g], 0, LB_KV_GROUP * sizeof(float));
                    }
                }
                _mm_storeu_ps(to->scale + r * to->group_stride + g / 16, scale);
            }
            if (g > 0) { /* the codes of the group before */
                const size_t at = g - LB_KV_GROUP;
                const __m512 inverses = _mm512_broadcast_f32x4(inverse);
                const __m512 by[4] = {_mm512_permute_ps(inverses, 0x00), _mm512_permute_ps(inverses, 0x55), _mm512_permute_ps(inverses, 0xaa),
                                      _mm512_permute_ps(inverses, 0xff)};
                lb_store_codes(y, at, by, to->q + r * to->q_stride + 4 * at, to->sum + r * to->group_stride + at / 16);
            }
            inverse = next;
        }
        LB_ROWS(b)
        {
            sum[r + (b < rows ? b : rows - 1)] = lb_v_avx512_sum(lane[b]);
        }
        if (fetch) {
            fetch->at = part.at;
        }
    }
}
#undef LB_STAGE
#undef LB_ROWS
#endif
