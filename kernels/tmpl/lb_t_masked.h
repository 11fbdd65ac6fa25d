/*
 * Template: the product of a matrix that is a mask and the values it marks: loaded as sparse, computed as dense. A part of lb_t_int.h,
 * which includes it and whose parameters and names it uses. A chunk of codes is expanded into the panel and multiplied as that of
 * q8, with one token too: what is saved is bytes.
 *
 * Expanding is a function apart, so that a level that can do it better shares all the rest.
 */
static LB_T_TARGET void LB_N(lb_t_masked_expand_)(uint8_t *codes, const uint8_t *masks, size_t n, const uint8_t *values, size_t n_values,
                                                  size_t *at)
{
    const uint8_t *from = values + *at, *last = values + n_values - 64;
    for (size_t j = 0; j < n; j++) {
        LB_UNROLL
        for (size_t b = 0; b < 8; b++) {
            const unsigned m = masks[8 * j + b];
            const uint64_t v = LB_V(lookup8)(from, lb_masked_index[m]) | (lb_masked_index[m] & 0x8080808080808080ull);
            memcpy(codes + 64 * j + 8 * b, &v, sizeof v);
            from += __builtin_popcount(m);
        }
        from = from < last ? from : last;
    }
    *at = (size_t)(from - values);
}

LB_T_TARGET void LB_N(lb_masked_with_)(lb_masked_expand_fn *expand, const void *w, size_t tile_bytes, size_t n_tiles, size_t k,
                                       const lb_input *x, float *y, size_t y_stride, bool add, void *scratch)
{
    lb_panel *panel = scratch;
    const size_t n_groups = lb_round_up64(k) / LB_GROUP;
    for (size_t i = 0; i < n_tiles;) {
        const uint8_t *tile = (const uint8_t *)w + i * tile_bytes;
        const size_t tiles = LB_T_GTILES == 2 && i + 2 <= n_tiles ? 2 : 1;
        lb_tile_job job = lb_tile_job_of(tile, tile_bytes, tiles, (x->n + LB_T_TOKENS - 1) / LB_T_TOKENS, (n_groups + LB_PANEL_GROUPS - 1) / LB_PANEL_GROUPS,
                                         y + i * LB_TILE_ROWS, y_stride, add);
        for (size_t j = 0; j < tiles; j++) {
            panel->at[j] = 0;
        }
        for (size_t g = 0; g < n_groups; g += LB_PANEL_GROUPS) {
            const size_t n = n_groups - g < LB_PANEL_GROUPS ? n_groups - g : LB_PANEL_GROUPS;
            job.last = g + n == n_groups;
            for (size_t j = 0; j < tiles; j++) {
                const uint8_t *from = tile + j * tile_bytes;
                LB_N(lb_t_scales_)(panel->scale + j * LB_PANEL_GROUPS * LB_TILE_ROWS, from + LB_Q_SCALES_AT, g, n);
                expand(panel->code + j * LB_PANEL_BYTES, from + lb_masked_masks_at(k) + g * 64, n * 8, from + lb_masked_values_at(k),
                       tile_bytes - lb_masked_values_at(k), &panel->at[j]);
            }
#if LB_T_GTILES == 2
            if (tiles == 2) {
                LB_N(lb_t_two_tiles_)(panel->code, LB_PANEL_BYTES, panel, n, g, x, &job);
                continue;
            }
#endif
            LB_N(lb_t_one_tile_)(panel->code, LB_PANEL_BYTES, panel->scale, n, g, x, panel->acc, &job);
        }
        i += tiles;
    }
}

LB_T_TARGET void LB_N(lb_masked_)(const void *w, size_t tile_bytes, size_t n_tiles, size_t k, const lb_input *x, float *y,
                                  size_t y_stride, bool add, void *scratch)
{
    LB_N(lb_masked_with_)(LB_N(lb_t_masked_expand_), w, tile_bytes, n_tiles, k, x, y, y_stride, add, scratch);
}
