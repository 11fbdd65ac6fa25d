/*
 * A quantized matrix and a low-rank one whose sum is near W, in turns (LQ-LoRA, arXiv 2311.12023): Q = pack(W - A B); A B = the rank-R
 * part of W - Q that matters most, until the error no longer falls.
 */
#ifndef LB_LOWRANK_H
#define LB_LOWRANK_H

#include "../../runtime/base/lb_threads.h"
#include "../container/lb_wformat.h"

typedef struct lb_lowrank {
    const lb_wformat_info *format;
    size_t rows, cols, rank;
    lb_pool *pool;
    unsigned threads;
    lbrt_allocator allocator;
    float *w;             /* [rows][cols]: the caller fills it in after begin */
    /* the result */
    unsigned char *tiles; /* of Q, all of them */
    float *a, *b;         /* [rows][rank], orthonormal columns; [cols][rank], transposed */
    double error;         /* of Q + A B, relative to the square of W */
    /* work */
    float *rest;          /* [rows][cols] W - Q */
    float *thread_rows;   /* per thread [17][cols] */
    unsigned char *next_tiles;
    float *next_a, *next_b;
} lb_lowrank;

/* rank is below rows and cols. On failure nothing is to be freed. */
lbrt_status lb_lowrank_begin(lb_lowrank *l, lbrt_error *err);

/* The same result with any number of threads. */
void lb_lowrank_fit(lb_lowrank *l);

void lb_lowrank_end(lb_lowrank *l);

#endif /* LB_LOWRANK_H */
