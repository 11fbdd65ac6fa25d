/*
 * chat_history: what was said in a conversation of chat, and the file that keeps it. Part of the program, not of the library.
 */
#ifndef CHAT_HISTORY_H
#define CHAT_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../include/lbrt.h"

/* realloc that ends the program when there is no memory */
void *chat_grow(void *p, size_t bytes);

/* The conversation so far: at most one system message, then questions and answers in turn. */
typedef struct chat_history {
    lbrt_message *messages;
    size_t n;
} chat_history;

void history_add(chat_history *h, const char *role, const char *content);
void history_drop(chat_history *h, size_t at, size_t n);

/* Messages at the beginning that are never forgotten. */
size_t history_kept(const chat_history *h);

/* Makes `text` the system message ("": there is none). True if it was another. */
bool history_set_system(chat_history *h, const char *text);

/* A number that depends on what was answered last. */
uint64_t history_answer_sum(const chat_history *h);

/* Ends the program with a sentence if a conversation could not be kept in `path`: better before the answer than after it. Writes nothing. */
void history_check_file(const char *path);

/* Tokens are those that the session holds; save leaves these in it and no others. Both end the program with a sentence if they cannot. */
void history_save(const char *path, const chat_history *h, lbrt_session *session, const lbrt_token *held, size_t n_held);
void history_load(const char *path, chat_history *h, lbrt_session *session, lbrt_token **held, size_t *n_held);

#endif /* CHAT_HISTORY_H */
