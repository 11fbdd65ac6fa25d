/* Attention's room of each thread, and queries made ready for it: as numbers, as codes, and as the lanes that the means of keys are multiplied with. */
#include "../../kernels/lb_math.h"
#include "lb_session.h"

LB_NOINLINE lb_attn_queries lb_attn_queries_take(lb_arena *a, size_t width, size_t rows)
{
    const size_t codes = lb_attn_codes(width);
    lb_attn_queries q;
    q.f32 = (float *)lb_arena_take(a, rows * codes, sizeof(float));
    q.q = (int8_t *)lb_arena_take(a, 4 * rows, codes);
    q.scale = (float *)lb_arena_take(a, 4 * rows * (codes / LB_KV_GROUP), sizeof(float));
    q.sum = (int32_t *)lb_arena_take(a, 4 * rows * (codes / LB_KV_GROUP), sizeof(int32_t));
    q.lanes = (float *)lb_arena_take(a, rows * lb_attn_width(width), 4 * sizeof(float));
    return q;
}

static LB_NOINLINE void attn_layout(lb_attn_scratch *s, lb_arena *a, const lbrt_model *m, size_t rows)
{
    const size_t vp = lb_attn_width(m->v_width), p_groups = LB_KV_CHUNK / LB_KV_GROUP;
    s->q = lb_attn_queries_take(a, m->hparams.head_dim, rows);
    s->scores = (float *)lb_arena_take(a, rows * LB_KV_CHUNK, sizeof(float));
    s->out = (float *)lb_arena_take(a, rows * vp, sizeof(float));
    s->max = (float *)lb_arena_take(a, rows, sizeof(float));
    s->sum = (float *)lb_arena_take(a, rows, sizeof(float));
    s->parts = (float *)lb_arena_take(a, rows * lb_attn_part(m->v_width), sizeof(float));
    s->base = (float *)lb_arena_take(a, rows * LB_KV_CHUNK_BLOCKS, sizeof(float));
    rows = lb_round_up(rows, 4);
    s->p8 = (int8_t *)lb_arena_take(a, rows, LB_KV_CHUNK);
    s->p8_scale = (float *)lb_arena_take(a, rows * p_groups, sizeof(float));
    s->p8_sum = (int32_t *)lb_arena_take(a, rows * p_groups, sizeof(int32_t));
}

size_t lb_attn_scratch_bytes(const lbrt_model *m, size_t rows)
{
    lb_attn_scratch s;
    lb_arena count = { 0 };
    attn_layout(&s, &count, m, rows);
    return count.bytes;
}

LB_NOINLINE lb_attn_scratch lb_attn_scratch_of(const lbrt_session *s, unsigned thread)
{
    lb_attn_scratch a;
    lb_arena arena = { .base = (unsigned char *)lb_exec_scratch(&s->exec, thread) + s->attn_scratch_at };
    attn_layout(&a, &arena, s->model, s->attn_rows);
    a.key_input = (lb_input){ 0 };
    a.value_input = (lb_input){ .f32_stride = LB_KV_CHUNK, .q = a.p8, .q_stride = LB_KV_CHUNK, .scale = a.p8_scale, .sum = a.p8_sum,
                                .group_stride = LB_KV_CHUNK / LB_KV_GROUP };
    return a;
}

typedef float four_floats LB_VECTOR(16);

void lb_attn_query(const lbrt_session *s, lb_attn_queries *to, size_t row, const float *q)
{
    const lb_kv_side *side = &s->kv.side[LB_KV_KEY];
    const size_t width = side->width, stride = lb_attn_width(width), codes = lb_attn_codes(width);
    float *f = to->f32 + row * codes;
    memcpy(f, q, width * sizeof *q);
    memset(f + width, 0, (codes - width) * sizeof *q);
    if (side->room->bits) {
        for (size_t j = 0; j < 4; j++) { /* column c of quarter j: four times, for four blocks */
            float *lanes = to->lanes + 4 * row * stride + 4 * j;
            for (size_t c = 0; c < stride / 4; c++, f++, lanes += LB_TILE_ROWS) {
                const four_floats v = { *f, *f, *f, *f };
                memcpy(lanes, &v, sizeof v);
            }
        }
    }
}

void lb_attn_queries_ready(const lbrt_session *s, lb_attn_queries *to, size_t rows, size_t heads)
{
    const size_t codes = lb_attn_codes(s->kv.side[LB_KV_KEY].width), groups = codes / LB_KV_GROUP;
    to->per_head = rows / heads;
    for (size_t i = 0; s->kv.side[LB_KV_KEY].room->bits && i < heads; i++) { /* fours begin with a head */
        const size_t at = i * lb_round_up(to->per_head, 4);
        const lb_kv_codes c8 = { .q = to->q + at * codes, .q_stride = codes, .scale = to->scale + at * groups, .sum = to->sum + at * groups,
                                 .group_stride = groups };
        s->exec.k->kv_quantize(to->f32 + i * to->per_head * codes, codes, to->per_head, NULL, codes, &c8, NULL);
    }
}
