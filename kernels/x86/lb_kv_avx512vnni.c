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
#define LB_T_OWN_QUANTIZE
#include "../tmpl/lb_t_kv.h"
#undef LB_KV_CRUMB_avx512vnni

/*
 * Four rows at a time, which go on side by side: their maxima and sums are folded together, and their bytes come out in the order wanted.
 * Rows that are not there are the last one again.
 */
LB_TARGET_AVX512VNNI void lb_kv_quantize_avx512vnni(const float *x, size_t stride, size_t n_rows, const uint16_t *w, size_t n,
                                                    const lb_kv_codes *to, lb_fetch *fetch)
{
    for (size_t r = 0; r < n_rows; r += 4) {
        const float *row[4];
        LB_UNROLL
        for (size_t b = 0; b < 4; b++) {
            row[b] = x + (r + b < n_rows ? r + b : n_rows - 1) * stride;
        }
        const uint16_t *factor = w ? w : lb_kv_ones;
        for (size_t i = 0; i < n; i += LB_KV_GROUP) {
            __m512 v[4][4];
            __m512i m[4], sum = _mm512_setzero_si512();
            lb_fetch_piece(fetch);
            LB_UNROLL
            for (size_t j = 0; j < 4; j++) {
                const __m512 f = lb_v_avx512_load_bf16(factor);
                factor += w ? 16 : 0;
                LB_UNROLL
                for (size_t b = 0; b < 4; b++) {
                    v[b][j] = _mm512_mul_ps(_mm512_loadu_ps(row[b] + i + 16 * j), f);
                    const __m512i a = _mm512_and_si512(_mm512_castps_si512(v[b][j]), _mm512_set1_epi32(0x7fffffff));
                    m[b] = j ? _mm512_max_epi32(m[b], a) : a;
                }
            }
            __m512i a = _mm512_max_epi32(_mm512_unpacklo_epi32(m[0], m[1]), _mm512_unpackhi_epi32(m[0], m[1]));
            __m512i b = _mm512_max_epi32(_mm512_unpacklo_epi32(m[2], m[3]), _mm512_unpackhi_epi32(m[2], m[3]));
            a = _mm512_max_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
            a = _mm512_max_epi32(a, _mm512_shuffle_i64x2(a, a, 0x4e));
            const __m128i bits = _mm512_castsi512_si128(_mm512_max_epi32(a, _mm512_shuffle_i64x2(a, a, 0xb1)));
            const __m128 amax = _mm_castsi128_ps(bits);
            __m128 inverse = _mm_div_ps(_mm_set1_ps(127.0f), amax), scale = _mm_mul_ps(amax, _mm_set1_ps(1.0f / 127.0f));
            const __mmask8 finite = _mm_cmplt_epi32_mask(bits, _mm_set1_epi32(0x7f800000));
            const __mmask8 any = _mm_mask_cmp_ps_mask(finite, amax, _mm_set1_ps(LB_A8_TINY), _CMP_GE_OQ);
            if (LB_UNLIKELY(any != 15)) {
                scale = _mm_mask_mov_ps(_mm_maskz_mov_ps((__mmask8)~finite, _mm_set1_ps(NAN)), any, scale);
                inverse = _mm_maskz_mov_ps(any, inverse);
                LB_UNROLL
                for (size_t k = 0; k < 4; k++) {
                    LB_UNROLL
                    for (size_t j = 0; j < 4; j++) {
                        v[k][j] = _mm512_maskz_mov_ps((__mmask16)-(any >> k & 1), v[k][j]);
                    }
                }
            }
            _mm_storeu_ps(to->scale + r * to->group_stride + i / LB_KV_GROUP * 4, scale);
            const __m512 inverses = _mm512_broadcast_f32x4(inverse);
            const __m512 by[4] = {_mm512_permute_ps(inverses, 0x00), _mm512_permute_ps(inverses, 0x55), _mm512_permute_ps(inverses, 0xaa),
                                  _mm512_permute_ps(inverses, 0xff)};
            LB_UNROLL
            for (size_t j = 0; j < 4; j++) {
                __m512i c[4];
                LB_UNROLL
                for (size_t k = 0; k < 4; k++) {
                    c[k] = _mm512_cvtps_epi32(_mm512_mul_ps(v[k][j], by[k]));
                }
                const __m512i bytes = _mm512_packs_epi16(_mm512_packs_epi32(c[0], c[1]), _mm512_packs_epi32(c[2], c[3]));
                _mm512_storeu_si512(to->q + r * to->q_stride + 4 * (i + 16 * j), bytes);
                sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(1), bytes);
            }
            sum = _mm512_add_epi32(sum, _mm512_shuffle_i64x2(sum, sum, 0x4e));
            sum = _mm512_add_epi32(sum, _mm512_shuffle_i64x2(sum, sum, 0xb1));
            _mm_storeu_si128((__m128i *)(void *)(to->sum + r * to->group_stride + i / LB_KV_GROUP * 4), _mm512_castsi512_si128(sum));
        }
    }
}
#endif
