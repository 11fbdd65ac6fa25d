/* Open hashing of a vocabulary's tokens and merges, as lb_tokenizer.h specifies it. */
#include "lb_tokdata_index.h"

#include "../../runtime/text/lb_tok_section.h"

uint32_t lb_tokdata_slots(uint32_t n)
{
    uint32_t slots = n ? 4 : 0;
    while (slots && slots < n + n / 2) {
        slots *= 2;
    }
    return slots;
}

bool lb_tokdata_is_in_index(const lb_tokdata_token *token)
{
    return token->bytes &&
           (token->type == LB_TOKEN_NORMAL || token->type == LB_TOKEN_USER || token->type == LB_TOKEN_UNUSED);
}

bool lb_tokdata_enter_token(const lb_tokdata *t, uint32_t *index, uint32_t slots, uint32_t id)
{
    const lb_tokdata_token *token = &t->tokens[id];
    uint32_t run = 0;
    for (uint32_t slot = lb_tok_hash_text(token->text, token->bytes) & (slots - 1);;
         slot = (slot + 1) & (slots - 1)) {
        if (!index[slot]) {
            index[slot] = id + 1;
            return true;
        }
        const lb_tokdata_token *other = &t->tokens[index[slot] - 1];
        if (other->bytes == token->bytes && memcmp(other->text, token->text, token->bytes) == 0) {
            return true;
        }
        if (++run > LB_TOK_MAX_RUN) {
            return false;
        }
    }
}

bool lb_tokdata_enter_merge(const lb_tokdata *t, uint32_t *index, uint32_t slots, uint32_t rank)
{
    const lb_tokdata_merge *m = &t->merges[rank];
    uint32_t run = 0;
    for (uint32_t slot = lb_tok_hash_pair((uint32_t)m->left, (uint32_t)m->right) & (slots - 1);;
         slot = (slot + 1) & (slots - 1)) {
        if (!index[slot]) {
            index[slot] = rank + 1;
            return true;
        }
        const lb_tokdata_merge *other = &t->merges[index[slot] - 1];
        if (other->left == m->left && other->right == m->right) {
            return true;
        }
        if (++run > LB_TOK_MAX_RUN) {
            return false;
        }
    }
}

int32_t lb_tokdata_look_up(const lb_tokdata *t, const uint32_t *index, uint32_t slots, const char *text,
                           size_t bytes)
{
    for (uint32_t slot = lb_tok_hash_text(text, bytes) & (slots - 1); index[slot];
         slot = (slot + 1) & (slots - 1)) {
        const lb_tokdata_token *token = &t->tokens[index[slot] - 1];
        if (token->bytes == bytes && memcmp(token->text, text, bytes) == 0) {
            return (int32_t)(index[slot] - 1);
        }
    }
    return -1;
}
