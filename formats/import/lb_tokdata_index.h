/*
 * Indices of a vocabulary's tokens by text and of its merges by pair: while merges are resolved, and in the
 * section. A slot is 0 or 1 + the number of a token (merge); slots are a power of two, some of them empty.
 */
#ifndef LB_TOKDATA_INDEX_H
#define LB_TOKDATA_INDEX_H

#include "lb_tokdata.h"

/* A power of two of slots for n entries, one and a half times as many at least. */
uint32_t lb_tokdata_slots(uint32_t n);

/* True for tokens that are found by their text. */
bool lb_tokdata_is_in_index(const lb_tokdata_token *token);

/* Enters a token unless its text is there, a merge unless its pair is. False if it would be farther from its place than the format allows. */
bool lb_tokdata_enter_token(const lb_tokdata *t, uint32_t *index, uint32_t slots, uint32_t id);
bool lb_tokdata_enter_merge(const lb_tokdata *t, uint32_t *index, uint32_t slots, uint32_t rank);

/* Id of the token with that text, or -1. */
int32_t lb_tokdata_look_up(const lb_tokdata *t, const uint32_t *index, uint32_t slots, const char *text,
                           size_t bytes);

#endif /* LB_TOKDATA_INDEX_H */
