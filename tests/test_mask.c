/* test_mask.c - which initializers are trained: what the exporter notes of them, and masks. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/onnxtrain.h"
#include "tests/model.h"

enum { BATCH = 2, ROWS = 3, COLUMNS = 4, MOST = 32 };

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

/* The initializer c is an operand of x [2,3,4]; its elements are a and b in turn. */
static const struct item {
    const char *nodes; /* from x and c to t */
    int rank;
    float a, b;
    const char *note;
    bool trained;
} items[] = {
    {"Add x c t", 1, 0.5f, 2, NULL, true},
    {"Add x c t", 1, 0.5f, 2, "PARAMETER", true},
    {"Add x c t", 1, 0.5f, 2, "BUFFER", false},
    {"Mul x c t", 3, 0.5f, 2, "CONSTANT_TENSOR", false},
    {"Add x c t", 1, 0.5f, 2, "USER_INPUT", true},
    {"Add x c t", 2, 0, -INFINITY, NULL, false},
    {"Add x c t", 2, 0, -100, NULL, false},
    {"Add x c t", 2, 0, -3.4028235e38f, "PARAMETER", true},
    {"Add x c t", 2, 0, -50, NULL, true},
    {"Add x c t", 2, 1, -1e9f, NULL, true},
    {"Add x c u\nSoftmax u t", 1, 0, 0, NULL, true}, /* a bias of classes */
    {"Add x c u\nSoftmax u t", 3, 0, 0, NULL, false},
    {"Add x c u\nSoftmax u t", 3, 0, 0, "PARAMETER", true},
    {"Add x c u\nSoftmax u t", 3, 0, 0.5f, NULL, true},
    {"Add x c u\nAdd u x v\nTranspose v w\nSoftmax w q\nTranspose q t", 3, 0, 0, NULL, false},
    {"Add x c u\nRelu u v\nSoftmax v t", 3, 0, 0, NULL, true},
    {"Add x c t", 3, 0, 0, NULL, true},
};

static void note(struct test_model *m, const char *kind) {
    struct wire *w = &m->wire;
    const char *const entry[][2] = {{"pkg.torch.onnx.original_node_name", "b_c"},
                                    {"pkg.torch.export.graph_signature.InputSpec.kind", kind}};
    wire_begin(w, 13);
    wire_string(w, 1, "c");
    for (int i = 0; i < 2; i++) {
        wire_begin(w, 4);
        wire_string(w, 1, entry[i][0]);
        wire_string(w, 2, entry[i][1]);
        wire_end(w);
    }
    wire_end(w);
}

static void add_nodes(struct test_model *m, const char *nodes) {
    char buffer[256], *next = NULL;
    strcpy(buffer, nodes);
    for (char *line = strtok_r(buffer, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
        char *in = strchr(line, ' '), *out = strrchr(line, ' ');
        *in++ = *out++ = 0;
        model_node(m, line, in, out, "");
    }
}

static ot_session *opened(const struct item *item) {
    static const int64_t dim[] = {BATCH, ROWS, COLUMNS};
    struct test_model m;
    float c[MOST], weight[COLUMNS * COLUMNS];
    ot_session *s = NULL;
    ot_error err = {OT_OK, ""};
    for (int i = 0; i < MOST; i++) c[i] = i % 3 ? item->a : item->b;
    for (int i = 0; i < COLUMNS * COLUMNS; i++) weight[i] = (float)(i % 5) - 1.5f;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 3, dim);
    model_floats(&m, "c", item->rank, dim + 3 - item->rank, c);
    model_floats(&m, "weight", 2, DIMS(COLUMNS, COLUMNS), weight);
    if (item->note) note(&m, item->note);
    add_nodes(&m, item->nodes);
    model_node(&m, "MatMul", "t weight", "y", "");
    model_output(&m, "y", OT_FLOAT, 3, dim);
    if (model_open(&m, NULL, &s, &err)) fail_msg("%s", err.message);
    return s;
}

static int number_of(const ot_session *s, const char *name, ot_parameter_info *info) {
    for (int i = 0; i < ot_parameter_count(s); i++)
        if (!ot_get_parameter(s, i, info, NULL) && !strcmp(info->name, name)) return i;
    fail_msg("'%s' is no weight", name);
    return -1;
}

static void trained_by_default(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        ot_session *s = opened(&items[i]);
        ot_parameter_info info;
        number_of(s, "weight", &info);
        assert_true(info.is_trainable);
        number_of(s, "c", &info);
        if (info.is_trainable != items[i].trained)
            fail_msg("item %zu is %strained", i, info.is_trainable ? "" : "not ");
        ot_close(s);
    }
}

/* A step moves a buffer if somebody wants it to, else not. */
static void trained_on_demand(void **state) {
    (void)state;
    float x[BATCH * ROWS * COLUMNS], before[COLUMNS], after[COLUMNS];
    for (int i = 0; i < BATCH * ROWS * COLUMNS; i++) x[i] = (float)(i % 7) - 3;
    const ot_tensor in = {OT_FLOAT, 3, {BATCH, ROWS, COLUMNS}, x};
    for (int wanted = 0; wanted < 2; wanted++) {
        ot_session *s = opened(&items[2]);
        const ot_loss_options mse = {.kind = OT_LOSS_MSE};
        const ot_optimizer_options sgd = {.lr = 0.1f};
        ot_parameter_info info;
        ot_result result;
        const int c = number_of(s, "c", &info);
        assert_int_equal(ot_set_loss(s, &mse, NULL), OT_OK);
        assert_int_equal(ot_set_optimizer(s, &sgd, NULL), OT_OK);
        if (wanted) assert_int_equal(ot_set_trainable(s, "c", 1, NULL), OT_OK);
        assert_int_equal(ot_read_parameter(s, c, before, NULL), OT_OK);
        assert_int_equal(ot_train_step(s, &in, 1, &in, &result, NULL), OT_OK);
        assert_int_equal(ot_optimizer_step(s, NULL), OT_OK);
        assert_int_equal(ot_read_parameter(s, c, after, NULL), OT_OK);
        assert_int_equal(memcmp(before, after, sizeof before) != 0, wanted);
        ot_close(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trained_by_default),
        cmocka_unit_test(trained_on_demand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
