/* test_sequence.c - sequences of known length: none is left, and their elements are right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/onnxtrain.h"
#include "tests/model.h"

enum { ROWS = 2, COLUMNS = 5, MOST = 64 };

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

/* nodes: "Op inputs > outputs ; attributes", one a line, from x [2,5] = 0, 1, ... 9 to y. */
struct net {
    const char *nodes;
    const char *fault; /* what the message says; or the shape and elements of y: */
    int rank;
    int64_t dim[3];
    float y[MOST];
};

#define PARTS "SplitToSequence x i23 > s ; axis=1\n"

static const struct net nets[] = {
    {PARTS "SequenceAt s one > y", NULL, 2, {2, 3}, {2, 3, 4, 7, 8, 9}},
    {PARTS "SequenceAt s minus > t\nIdentity t > y", NULL, 2, {2, 3}, {2, 3, 4, 7, 8, 9}},
    {PARTS "Identity s > r\nSequenceAt r zero > y", NULL, 2, {2, 2}, {0, 1, 5, 6}},
    {"SplitToSequence x two > s ; axis=-1\nSequenceAt s minus > y", NULL, 2, {2, 1}, {4, 9}},
    {"SplitToSequence x > s ; axis=1 keepdims=0\nSequenceAt s two > y", NULL, 1, {2}, {2, 7}},
    {"SplitToSequence x > s ; axis=1\nSequenceLength s > n\nCast n > y ; to=1", NULL, 0, {0}, {5}},
    {"Neg x > t\nSplitToSequence t two > s ; axis=1\nSequenceAt s two > y",
     NULL,
     2,
     {2, 1},
     {-4, -9}},
    {PARTS "SequenceAt s zero > t\nSequenceInsert s t > r\nConcatFromSequence r > y ; axis=1",
     NULL,
     2,
     {2, 7},
     {0, 1, 2, 3, 4, 0, 1, 5, 6, 7, 8, 9, 5, 6}},
    {PARTS "SequenceAt s zero > t\nSequenceInsert s t minus > r\nSequenceErase r zero > q\n"
           "ConcatFromSequence q > y ; axis=1",
     NULL,
     2,
     {2, 5},
     {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
    {"SequenceEmpty - > s\nSequenceInsert s x > r\nSequenceErase r > q\nSequenceInsert q x > p\n"
     "SequenceAt p zero > y",
     NULL,
     2,
     {2, 5},
     {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
    {"Neg x > t\nSequenceConstruct t x > s\nConcatFromSequence s > y ; axis=-1 new_axis=1",
     NULL,
     3,
     {2, 5, 2},
     {0, 0, -1, 1, -2, 2, -3, 3, -4, 4, -5, 5, -6, 6, -7, 7, -8, 8, -9, 9}},
    {PARTS "SequenceAt s two > y",
     "position 2 is out of range for a sequence of length 2",
     0,
     {0},
     {0}},
    {PARTS "Relu s > y", "not supported with sequences", 0, {0}, {0}},
    {PARTS "SequenceConstruct s > r\nSequenceAt r zero > y", "'s' is a sequence", 0, {0}, {0}},
    {PARTS "Identity s > y", "it is a sequence", 0, {0}, {0}},
    {"SequenceAt x zero > y", "not a sequence of known length", 0, {0}, {0}},
    {"Cast x > n ; to=7\n" PARTS "SequenceAt s n > y", "'n' is not a constant", 0, {0}, {0}},
    {"Exp x > t\nSplitToSequence t > s\nSequenceAt s one > y", "number of parts", 0, {0}, {0}},
};

static void add_nodes(struct test_model *m, const char *nodes) {
    char buffer[512], *next = NULL;
    strcpy(buffer, nodes);
    for (char *line = strtok_r(buffer, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
        char *in = strchr(line, ' '), *out = strstr(line, " > "), *attributes = strstr(line, " ; ");
        *in++ = *out = 0;
        if (attributes) *attributes = 0;
        model_node(m, line, *in == '-' ? "" : in, out + 3, attributes ? attributes + 3 : "");
    }
}

static unsigned char *model(const struct net *net, size_t *size) {
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(ROWS, COLUMNS));
    model_ints(&m, "i23", 2, DIMS(2, 3));
    model_integer(&m, "zero", 0);
    model_integer(&m, "one", 1);
    model_integer(&m, "two", 2);
    model_integer(&m, "minus", -1);
    const int64_t *known = strstr(net->nodes, "Exp") ? DIMS(-1, COLUMNS) : DIMS(ROWS, COLUMNS);
    model_hint(&m, "t", OT_FLOAT, 2, known);
    add_nodes(&m, net->nodes);
    model_output(&m, "y", OT_FLOAT, -1, NULL);
    return model_finish(&m, size);
}

static void elements(void **state) {
    (void)state;
    float x[ROWS * COLUMNS];
    for (int i = 0; i < ROWS * COLUMNS; i++) x[i] = (float)i;
    const ot_tensor in = {OT_FLOAT, 2, {ROWS, COLUMNS}, x};
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        const struct net *net = &nets[i];
        size_t size, n = 1;
        unsigned char *file = model(net, &size);
        ot_session *s = NULL;
        ot_tensor y;
        ot_error err = {OT_OK, ""};
        ot_status status = ot_open_buffer(file, size, NULL, &s, &err);
        free(file);
        if (net->fault) {
            if (!status || !strstr(err.message, net->fault))
                fail_msg("%s: %s", net->nodes, status ? err.message : "not refused");
            ot_close(s);
            continue;
        }
        if (!status) status = ot_run(s, &in, 1, &y, 1, &err);
        if (status) fail_msg("%s: %s", net->nodes, err.message);
        assert_int_equal(y.rank, net->rank);
        for (int d = 0; d < y.rank; d++) {
            assert_int_equal(y.dim[d], net->dim[d]);
            n *= (size_t)y.dim[d];
        }
        for (size_t k = 0; k < n; k++)
            if (((const float *)y.data)[k] != net->y[k])
                fail_msg("%s: y[%zu] is not %g", net->nodes, k, (double)net->y[k]);
        ot_close(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(elements)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
