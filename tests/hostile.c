/* hostile.c - imports a model again and again, and looks at what it leaves behind. */
#include "tests/hostile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

/* Larger cases, and those that allocate more, are not run once an allocation. */
enum { MOST_FAILURES = 400, MOST_BYTES = 65536 };

void good_end(struct wire *w) {
    wire_value(w, 11, "x", OT_FLOAT, 1, (int64_t[]){4});
    wire_value(w, 12, "y", OT_FLOAT, 1, (int64_t[]){4});
    wire_close_model(w);
}

void good(struct wire *w) {
    wire_open_model(w);
    wire_node(w, "Relu", "x", "y");
    good_end(w);
}

static ot_status attempt(const void *bytes, size_t n, struct counter *c, ot_error *err) {
    struct graph *const untouched = (struct graph *)err;
    struct graph *g = untouched;
    const struct import_options options = import_defaults(c);
    memset(err, 0, sizeof *err);
    ot_status status = ot_import_buffer(bytes, n, &options, &g, err);
    assert_int_equal(status, err->status);
    if (status)
        assert_ptr_equal(g, untouched);
    else
        ot_graph_free(g);
    assert_int_equal(c->live, 0);
    return status;
}

void check_hostile(const struct wire *w, ot_status status, const char *text) {
    ot_error first, again;
    struct counter c = {0};
    uint8_t *bytes = malloc(w->n ? w->n : 1); /* of the exact size, so that ASan sees its end */
    assert_non_null(bytes);
    if (w->n) memcpy(bytes, w->p, w->n);
    ot_status found = attempt(bytes, w->n, &c, &first);
    if (found != status || !strstr(first.message, text)) print_error("%s\n", first.message);
    assert_int_equal(found, status);
    assert_non_null(strstr(first.message, text));
    const long requests = c.requests;
    c = (struct counter){0};
    assert_int_equal(attempt(bytes, w->n, &c, &again), status);
    assert_string_equal(again.message, first.message);
    const bool thorough = requests <= MOST_FAILURES && w->n <= MOST_BYTES;
    for (long k = 1; k <= requests && thorough; k++) {
        c = (struct counter){.fail_at = k};
        found = attempt(bytes, w->n, &c, &again);
        if (found != status) assert_int_equal(found, OT_ERROR_NO_MEMORY);
    }
    free(bytes);
}

void run_hostile(void **state) {
    const struct hostile *h = *state;
    struct wire w = {0};
    h->build(&w);
    check_hostile(&w, h->status, h->text);
    wire_free(&w);
}
