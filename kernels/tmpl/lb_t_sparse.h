/*
 * Template: the product of a sparse matrix with many tokens. A line of 64 bytes is one number of each of 16 rows: u16 column[16], f16
 * value[16]. Columns are gathered one by one: on the CPUs we know a gather instruction is no faster. Parameters: LB_T, LB_TV,
 * LB_T_TARGET of README; it undefines none, as lb_t_float_all.h does.
 */
LB_T_TARGET void LB_CAT2(lb_sparse_, LB_T)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                                           size_t y_stride, bool add, void *scratch)
{
    (void)k;
    (void)scratch;
    for (size_t i = 0; i < n_tiles; i++) {
        for (size_t t = 0; t < x->n; t++) {
            const uint8_t *line = (const uint8_t *)w + i * tile_bytes;
            const float *in = x->f32 + t * x->f32_stride;
            float *out = y + t * y_stride + i * LB_TILE_ROWS;
            LB_CAT4(lb_v_, LB_TV, _, f) acc = LB_CAT4(lb_v_, LB_TV, _, set1)(0.0f);
            for (size_t j = 0; j < tile_bytes; j += 64, line += 64) {
                const uint16_t *column = (const uint16_t *)(const void *)line;
                float picked[LB_TILE_ROWS];
                LB_UNROLL
                for (size_t r = 0; r < LB_TILE_ROWS; r++) {
                    picked[r] = in[column[r]];
                }
                acc = LB_CAT4(lb_v_, LB_TV, _, fma)(LB_CAT4(lb_v_, LB_TV, _, load_f16)(column + LB_TILE_ROWS),
                                                    LB_CAT4(lb_v_, LB_TV, _, load)(picked), acc);
            }
            LB_CAT4(lb_v_, LB_TV, _, store)(out, add ? LB_CAT4(lb_v_, LB_TV, _, add)(LB_CAT4(lb_v_, LB_TV, _, load)(out), acc) : acc);
        }
    }
}
