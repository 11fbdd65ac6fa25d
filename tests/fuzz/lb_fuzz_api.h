/*
 * The API as a state machine (fuzz_api.c): the input is a program of calls on four sessions. Each session has beside it a plain list of what
 * was fed, and what each call must return and leave is known from that list.
 *
 *   lb_fuzz_api.c        the two models, their adapters, the list, and a fresh session that is fed it in one go
 *   lb_fuzz_api_calls.c  calls that need no session: text, and models opened in every way
 *   fuzz_api.c           calls on sessions
 */
#ifndef LB_FUZZ_API_H
#define LB_FUZZ_API_H

#include "lb_fuzz.h"

enum {
    API_SESSIONS = 4,
    API_STATES = 2,
    API_MODELS = 2,   /* of one shape, but different weights */
    API_ADAPTERS = 2, /* for each of the models; the second has the larger rank, so that sessions must grow */
    API_ATTACHED = 2,
    API_VOCAB = 288,
    API_DIM = 40,
    API_ROWS = 8,     /* embeddings */
    API_WORK = 2600,  /* tokens computed at most for one input, which bounds its time */
    API_TEXT = 1400,  /* the longest text of a session */
    API_WINDOWS = 4,
    API_FAINT = 512,  /* room for faint tokens, if a session has any */
    API_UNKNOWN = 1 << 14 /* an item: the token that ended an answer, whose id nobody was told */
};

/* What is attached: of each, in this order, adapter * 4 + index of its scale, + 1; 0: nothing. */
typedef struct api_attached {
    uint8_t with[API_ATTACHED];
} api_attached;

typedef struct api_item {
    int16_t id; /* a token, or -1 - i for row i of the table of embeddings */
    api_attached attached;
} api_item;

/* A text: what was fed under which adapters, and where it was compressed. */
typedef struct api_history {
    size_t n, n_compressed, evicted, faint; /* faint: those in the cache that are kept in 2 bits */
    struct {
        size_t at, keep, room; /* with room for so many faint tokens */
        api_attached attached;
    } compressed[4];
    size_t safe; /* with a window: from here on a rewind must work */
    bool exact;  /* false: what must come of it depends on more than what is listed here */
    api_item item[API_TEXT];
} api_history;

/* What makes sessions alike: those that differ here cannot share states. */
typedef struct api_kind {
    unsigned model, key, value, window; /* formats as lbrt_kv_format, window an index of api_windows */
} api_kind;

typedef struct api_slot {
    lbrt_session *s;
    api_kind kind;
    size_t cap, batch, faint_room, most_rows, n_logits, n_hidden;
    bool logits, hidden; /* there are some */
    bool cancelled;      /* the next call that looks must say so */
    bool moved;          /* rewound or restored since the text was empty: caches of codes compute tokens again */
    api_attached attached;
    api_history h;
    /* What callbacks do during the call that runs: */
    unsigned stop_at, cancel_at, enter_at; /* the how-manieth of them says no, cancels, calls what it may not; 0: none */
    bool stopped;
    uint64_t done;
    struct api *all;
} api_slot;

typedef struct api_state {
    unsigned char *data;
    size_t bytes;
    api_kind kind;
    bool logits;
    api_history h;
} api_state;

typedef struct api {
    const uint8_t *p, *end;
    size_t work; /* tokens computed */
    api_slot slots[API_SESSIONS];
    api_state states[API_STATES];
} api;

typedef struct api_model {
    unsigned char *data;
    size_t bytes;
    lbrt_model *model;
    lbrt_adapter *adapter[API_ADAPTERS];
    unsigned char *adapter_data[API_ADAPTERS];
    size_t adapter_bytes[API_ADAPTERS];
} api_model;

extern api_model api_models[API_MODELS];
extern float api_rows[API_ROWS][API_DIM];
extern const uint32_t api_windows[API_WINDOWS][2]; /* window, sinks as asked for */
extern const float api_scales[4];

void api_open(void); /* once */
unsigned api_next(api *a);

/* Whether a session has the room, and this input the time, for n tokens more; counts them. */
bool api_affords(api *a, const api_slot *slot, size_t n);

size_t api_rows_of(const api_history *h, size_t n); /* embeddings among the first n */
size_t api_held(const api_slot *slot);               /* what lbrt_session_held must say */
size_t api_in_cache(const api_history *h);
size_t api_room(const api_slot *slot);               /* positions that its cache can have now: what lbrt_session_capacity must say */
bool api_codes(const api_kind *k);
bool api_same_kind(const api_kind *a, const api_kind *b);
void api_add(api_slot *slot, int id);                /* one item, under what is attached */
void api_cut(api_slot *slot, size_t n);              /* a rewind */

/* The session against a fresh one that is fed the list: lengths, logits, hidden states, and the bytes that it saves. */
void api_verify(api *a, const api_slot *slot);

void api_expect(const api_slot *slot, lbrt_status got, lbrt_status want);

void api_call_text(api *a);
void api_call_model(api *a);
void api_call_adapter(api *a);

#endif /* LB_FUZZ_API_H */
