/* Template: lb_t_float.h for all float formats. Parameters: those of lb_t_float.h but LB_T_W, LB_T_WTYPE, LB_T_LOADW. */
#define LB_T_W f32
#define LB_T_WTYPE float
#define LB_T_LOADW load
#include "lb_t_float.h"

#define LB_T_W f16
#define LB_T_WTYPE uint16_t
#define LB_T_LOADW load_f16
#include "lb_t_float.h"

#define LB_T_W bf16
#define LB_T_WTYPE uint16_t
#define LB_T_LOADW load_bf16
#include "lb_t_float.h"

#include "lb_t_sparse.h"

#undef LB_T
#undef LB_TV
#undef LB_T_TARGET
#undef LB_T_TILES
#undef LB_T_GTILES
#undef LB_T_TOKENS
