/* LoRA adapters to .lbrt (lb_container.h says what an adapter's file has). */
#ifndef LB_CONVERT_ADAPTER_H
#define LB_CONVERT_ADAPTER_H

#include "../container/lb_wformat.h"
#include "../import/lb_lora.h"

/* format: f32, f16 or bf16 */
lbrt_status lb_convert_adapter(const lb_lora *l, const char *path, lb_wformat format, const lbrt_allocator *a, lbrt_error *err);

#endif /* LB_CONVERT_ADAPTER_H */
