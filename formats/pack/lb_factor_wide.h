/*
 * Template: what a block of columns of R takes from the rest of H (lb_factor.c). Parameters: LB_T, a suffix; LB_T_TARGET, an attribute;
 * LB_T_BYTES, of a vector: 32 or 64.
 *
 * A product of two rows is summed in two halves, even and odd columns, each multiplication and addition rounding: a pair of lanes of a vector,
 * which so holds a row of the left with LB_T_BYTES / 16 rows of the right. The latter are laid out in that order first ("panel"). 8 rows of the
 * left times two vectors are in flight.
 */
#define LB_N(name) LB_CAT2(name, LB_T)
enum { LB_N(LB_FACTOR_ROWS_) = LB_T_BYTES / 16 }; /* of the right, in a vector */
typedef double LB_N(lb_factor_v_) LB_VECTOR(LB_T_BYTES);

enum { LB_N(LB_FACTOR_STRIP_) = 2 * LB_N(LB_FACTOR_ROWS_) };

/* 8 rows of h from row j on, 64 columns from `at` on, to panel + 64 j: in strips, each [32 pairs of columns][rows of the strip][2] */
LB_T_TARGET void LB_N(lb_factor_lay_out_)(const double *h, size_t n, size_t at, size_t j, double *panel)
{
    for (size_t strip = j; strip < j + 8; strip += LB_N(LB_FACTOR_STRIP_)) {
        double *to = panel + strip * LB_FACTOR_BLOCK;
        for (size_t l = 0; l < LB_FACTOR_BLOCK / 2; l++) {
            for (size_t r = 0; r < LB_N(LB_FACTOR_STRIP_); r++, to += 2) {
                memcpy(to, h + (strip + r) * n + at + 2 * l, 2 * sizeof(double));
            }
        }
    }
}

/* h[i + r][j ..] -= rows i + r times the panel, which is rows j .. */
LB_ALWAYS_INLINE LB_T_TARGET void LB_N(lb_factor_block_)(double *h, size_t n, size_t i, size_t j, size_t at, const double *panel)
{
    LB_N(lb_factor_v_) s[8][2];
    LB_UNROLL
    for (size_t r = 0; r < 8; r++) {
        s[r][0] = s[r][1] = (LB_N(lb_factor_v_)){0.0};
    }
    for (size_t l = 0; l < LB_FACTOR_BLOCK / 2; l++) {
        LB_N(lb_factor_v_) b0, b1;
        memcpy(&b0, panel + l * LB_T_BYTES / 4, sizeof b0);
        memcpy(&b1, panel + l * LB_T_BYTES / 4 + LB_T_BYTES / 8, sizeof b1);
        LB_UNROLL
        for (size_t r = 0; r < 8; r++) {
            const double *left = h + (i + r) * n + at + 2 * l;
#if LB_T_BYTES == 64
            const LB_N(lb_factor_v_) a = (LB_N(lb_factor_v_))_mm512_broadcast_f64x2(_mm_loadu_pd(left));
#else
            const LB_N(lb_factor_v_) a = (LB_N(lb_factor_v_))_mm256_broadcast_pd((const __m128d *)(const void *)left);
#endif
            s[r][0] += a * b0;
            s[r][1] += a * b1;
        }
    }
    for (size_t r = 0; r < 8; r++) {
        double *to = h + (i + r) * n + j;
        for (size_t v = 0; v < 2; v++) {
            for (size_t k = 0; k < LB_N(LB_FACTOR_ROWS_); k++) {
                to[v * LB_N(LB_FACTOR_ROWS_) + k] -= s[r][v][2 * k] + s[r][v][2 * k + 1];
            }
        }
    }
}

LB_T_TARGET void LB_N(lb_factor_update_)(double *h, size_t n, size_t at, size_t row, const double *panel)
{
    for (size_t j = row; j < at; j += LB_N(LB_FACTOR_STRIP_)) {
        for (size_t i = row; i < row + LB_FACTOR_BLOCK; i += 8) {
            LB_N(lb_factor_block_)(h, n, i, j, at, panel + j * LB_FACTOR_BLOCK);
        }
    }
}

#undef LB_N
#undef LB_T
#undef LB_T_TARGET
#undef LB_T_BYTES
