/*
 * Software prefetch of weights that are read once, front to back. It runs strictly in order and touches each line once: a
 * hardware prefetcher that sees lines twice or out of order takes the stream for noise. Measured on Zen 4, one thread, q4:
 * lines in order 98% of a plain read's speed, the same with some lines twice 88%, one line of nine out of turn 55%, none 48%.
 */
#ifndef LB_AHEAD_H
#define LB_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lb_kernels.h"

/* Compilers may swap two builtins; they may not swap these. */
#if defined(__x86_64__)
#define LB_PREFETCH(p) __asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)(p)))
#elif defined(__aarch64__)
#define LB_PREFETCH(p) __asm__ volatile("prfm pldl1strm, %0" : : "Q"(*(const char *)(p)))
#else
#define LB_PREFETCH(p) __builtin_prefetch(p)
#endif

LB_ALWAYS_INLINE void lb_fetch_until(lb_fetch *f, const uint8_t *end)
{
    for (; f->at < end; f->at += 64) {
        LB_PREFETCH(f->at);
    }
}

LB_ALWAYS_INLINE void lb_fetch_piece(lb_fetch *f)
{
    if (f) {
        lb_fetch_until(f, f->at + f->piece);
    }
}

typedef struct lb_ahead {
    const uint8_t *at;    /* the next line to prefetch */
    const uint8_t *until; /* where it should be by now */
} lb_ahead;

/* `first` is on a line of 64 bytes; prefetching begins `distance` bytes behind it. */
LB_ALWAYS_INLINE lb_ahead lb_ahead_of(const uint8_t *first, size_t distance)
{
    return (lb_ahead){first + distance, first + distance};
}

/* The reader goes on by `bytes`, which are `lines` whole lines (a constant) and less than one more. */
LB_ALWAYS_INLINE void lb_ahead_step(lb_ahead *a, size_t bytes, const size_t lines)
{
    LB_UNROLL
    for (size_t j = 0; j < lines; j++) {
        LB_PREFETCH(a->at + 64 * j);
    }
    a->at += 64 * lines;
    a->until += bytes;
    if (a->at < a->until) {
        LB_PREFETCH(a->at);
        a->at += 64;
    }
}

/* The same for a number of lines that is no constant */
LB_ALWAYS_INLINE void lb_ahead_lines(lb_ahead *a, size_t bytes, size_t lines)
{
    LB_ROLL
    for (size_t j = 0; j < lines; j++) {
        LB_PREFETCH(a->at + 64 * j);
    }
    a->at += 64 * lines;
    lb_ahead_step(a, bytes, 0);
}

/* A product of one or two tiles with many tokens: where it goes, and the tiles after it, fetched while it is computed */
typedef struct lb_tile_job {
    const uint8_t *tile;
    size_t tile_bytes;
    float *y;
    size_t y_stride;
    bool add;
    bool last;   /* panel: sums are complete */
    size_t step; /* bytes to fetch per block of tokens */
    lb_ahead ahead;
} lb_tile_job;

/* `blocks` of tokens in each of `panels` */
LB_ALWAYS_INLINE lb_tile_job lb_tile_job_of(const uint8_t *tile, size_t tile_bytes, size_t tiles, size_t blocks, size_t panels, float *y,
                                            size_t y_stride, bool add)
{
    const size_t bytes = tiles * tile_bytes;
    return (lb_tile_job){.tile = tile, .tile_bytes = tile_bytes, .y = y, .y_stride = y_stride, .add = add,
                         .step = bytes / (blocks * panels) + 1, .ahead = lb_ahead_of(tile, bytes)};
}

/* Behind a block of tokens */
LB_ALWAYS_INLINE void lb_tile_job_fetch(lb_tile_job *job)
{
    job->ahead.until += job->step;
    for (; job->ahead.at < job->ahead.until; job->ahead.at += 64) {
        LB_PREFETCH(job->ahead.at);
    }
}

#endif /* LB_AHEAD_H */
