/* The public calls on adapters. */
#include "../engine/lb_adapter.h"
#include "lb_session_api.h"

#include <math.h>

lbrt_status lbrt_adapter_open(const lbrt_model *m, const char *path, lbrt_adapter **out, lbrt_error *err)
{
    if (err) {
        *err = (lbrt_error){ LBRT_OK, "" };
    }
    LB_FAIL_IF(!out, err, LBRT_ERR_ARGUMENT, "no place for the adapter");
    *out = NULL;
    LB_FAIL_IF(!m || !path, err, LBRT_ERR_ARGUMENT, "a pointer is missing");
    lb_map map;
    LB_TRY(lb_map_open(path, &map, err));
    return lb_adapter_build(m, map.data, map.bytes, &map, out, err);
}

lbrt_status lbrt_adapter_open_memory(const lbrt_model *m, const void *data, size_t bytes, lbrt_adapter **out, lbrt_error *err)
{
    if (err) {
        *err = (lbrt_error){ LBRT_OK, "" };
    }
    LB_FAIL_IF(!out, err, LBRT_ERR_ARGUMENT, "no place for the adapter");
    *out = NULL;
    LB_FAIL_IF(!m || !data, err, LBRT_ERR_ARGUMENT, "a pointer is missing");
    return lb_adapter_build(m, (const unsigned char *)data, bytes, NULL, out, err);
}

/* Room between the factors of chains: the session's slab has what the model needs, an adapter may need more. */
static lbrt_status grow_mid(lbrt_session *s, size_t stride)
{
    size_t room, floats, bytes;
    if (!lb_mul_size(s->n_batch, stride, &room) || !lb_mul_size(room, LB_MAX_PRODUCTS, &floats) ||
        !lb_mul_size(floats, sizeof(float), &bytes)) {
        return lb_fail(&s->error, LBRT_ERR_MEMORY, "the adapter's rank is too large");
    }
    if (room <= s->exec.mid_room) {
        return LBRT_OK;
    }
    float *mid = (float *)lb_alloc(&s->allocator, bytes);
    LB_FAIL_IF(!mid, &s->error, LBRT_ERR_MEMORY, "out of memory");
    lb_free(&s->allocator, s->mid, s->mid_bytes);
    s->mid = mid;
    s->mid_bytes = bytes;
    s->exec.mid = mid;
    s->exec.mid_room = room;
    return LBRT_OK;
}

lbrt_status lbrt_adapter_attach(lbrt_session *s, const lbrt_adapter *a, float scale)
{
    LB_ENTER(s);
    LB_FAIL_IF(!a, &s->error, LBRT_ERR_ARGUMENT, "no adapter");
    LB_FAIL_IF(a->model != s->model, &s->error, LBRT_ERR_ARGUMENT, "the adapter was opened for another model");
    LB_FAIL_IF(!isfinite(scale), &s->error, LBRT_ERR_ARGUMENT, "the adapter's scale is not finite");
    unsigned i = 0;
    while (i < s->exec.n_attached && s->attached[i].owner != a) {
        i++;
    }
    LB_FAIL_IF(i == LB_MAX_ATTACHED, &s->error, LBRT_ERR_STATE, "%d adapters are attached, there cannot be more", (int)LB_MAX_ATTACHED);
    LB_TRY(grow_mid(s, a->mid_stride));
    s->attached[i] = (lb_attached){ a->chains, a, scale };
    s->exec.attached = s->attached;
    s->exec.n_attached = (unsigned)lb_max(s->exec.n_attached, i + 1);
    return LBRT_OK;
}

lbrt_status lbrt_adapter_detach(lbrt_session *s, const lbrt_adapter *a)
{
    LB_ENTER(s);
    unsigned i = 0;
    while (i < s->exec.n_attached && s->attached[i].owner != a) {
        i++;
    }
    LB_FAIL_IF(i == s->exec.n_attached, &s->error, LBRT_ERR_STATE, "the adapter is not attached");
    for (; i + 1 < s->exec.n_attached; i++) {
        s->attached[i] = s->attached[i + 1];
    }
    s->exec.n_attached--;
    return LBRT_OK;
}
