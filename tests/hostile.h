/* hostile.h - what every model that is refused, or only looks dangerous, must satisfy. */
#ifndef OT_TESTS_HOSTILE_H
#define OT_TESTS_HOSTILE_H

#include "tests/wire.h"

struct hostile {
    const char *id;
    ot_status status;
    const char *text; /* part of the message */
    void (*build)(struct wire *w);
};

#define INVALID     OT_ERROR_INVALID
#define PARSE       OT_ERROR_PARSE
#define LIMIT       OT_ERROR_LIMIT
#define UNSUPPORTED OT_ERROR_UNSUPPORTED

/* y = Relu(x), and the end of such a model: its input and output. */
void good(struct wire *w);
void good_end(struct wire *w);

/* Imports the model twice: the same status and text, the expected ones; then once for each
 * allocation with that one failing: the same status or NO_MEMORY. Nothing leaks, and *graph stays
 * untouched by failures. */
void check_hostile(const struct wire *w, ot_status status, const char *text);

/* The same for a struct hostile, as a cmocka test. */
void run_hostile(void **state);

#endif
