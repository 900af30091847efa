/* test_gradient.c - the operator Gradient in a model: against differences, with weights as
 * initializers and as inputs; forms that are refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/rng.h"
#include "runtime/onnxtrain.h"
#include "tests/export_case.h"

enum { N = 3, IN = 4, OUT = 5, W = OUT * IN, X = N * IN };

static float w[W], b[OUT], x[X];

static int make_numbers(void **state) {
    (void)state;
    for (int i = 0; i < W; i++) w[i] = i % 3 ? ot_random_normal(1, 1, (uint64_t)i) : 0;
    for (int i = 0; i < OUT; i++) b[i] = ot_random_normal(1, 2, (uint64_t)i);
    for (int i = 0; i < X; i++) x[i] = ot_random_normal(1, 3, (uint64_t)i);
    return 0;
}

static void import_domain(Onnx__ModelProto *m) {
    Onnx__OperatorSetIdProto *id = zeroed(1, sizeof *id);
    onnx__operator_set_id_proto__init(id);
    id->domain = text("ai.onnx.preview.training");
    id->has_version = 1;
    id->version = 1;
    m->opset_import = realloc(m->opset_import, (m->n_opset_import + 1) * sizeof *m->opset_import);
    m->opset_import[m->n_opset_import++] = id;
}

static void add_names(Onnx__NodeProto *n, const char *name, const char *names) {
    Onnx__AttributeProto *a =
        add_attribute(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS);
    a->strings = zeroed(4, sizeof *a->strings);
    for (const char *at = names; *at; at += strspn(at, " ")) {
        const size_t size = strcspn(at, " ");
        ProtobufCBinaryData *s = &a->strings[a->n_strings++];
        s->data = (uint8_t *)text(at);
        s->len = size;
        at += size;
    }
}

static void add_gradient(Onnx__ModelProto *m, const char *xs, const char *zs, const char *y,
                         const char *inputs, const char *outputs) {
    Onnx__NodeProto *n = add_node(m, "Gradient", inputs, outputs);
    n->domain = text("ai.onnx.preview.training");
    add_names(n, "xs", xs);
    if (*zs) add_names(n, "zs", zs);
    Onnx__AttributeProto *a = add_attribute(n, "y", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    a->has_s = 1;
    a->s.data = (uint8_t *)text(y);
    a->s.len = strlen(y);
}

/* y = mean of tanh(x w' + b) squared; x has two consumers. Without Gradient. */
static Onnx__ModelProto *network(bool weight_is_input) {
    Onnx__ModelProto *m = new_model(8, 13);
    import_domain(m);
    add_input(m, "x", -1, IN);
    if (weight_is_input)
        add_input(m, "w", OUT, IN);
    else
        add_raw(m, "w", OT_FLOAT, OUT, IN, w, sizeof w);
    add_raw(m, "b", OT_FLOAT, OUT, 0, b, sizeof b);
    add_int(add_node(m, "Gemm", "x w b", "h"), "transB", 1);
    add_node(m, "Tanh", "h", "a");
    add_node(m, "Mul", "a a", "s");
    add_int(add_node(m, "ReduceMean", "s", "p"), "keepdims", 0);
    add_int(add_node(m, "ReduceMean", "x", "q"), "keepdims", 0);
    add_node(m, "Add", "p q", "y");
    add_output(m, "y", -2, 0);
    return m;
}

static ot_session *open_model(Onnx__ModelProto *m) {
    struct bytes file = pack_built(m);
    ot_session *s = NULL;
    ot_error err = {0};
    if (ot_open_buffer(file.data, file.size, NULL, &s, &err)) fail_msg("%s", err.message);
    free(file.data);
    return s;
}

static void run(ot_session *s, ot_tensor *y, int n) {
    const ot_tensor in[] = {{.type = OT_FLOAT, .rank = 2, .dim = {N, IN}, .data = x},
                            {.type = OT_FLOAT, .rank = 2, .dim = {OUT, IN}, .data = w}};
    ot_error err = {0};
    if (ot_run(s, in, ot_input_count(s), y, n, &err)) fail_msg("%s", err.message);
}

/* Of element `at`, by moving it. */
static double difference(ot_session *s, float *at) {
    const float h = 1.0f / 64, before = *at;
    ot_tensor y;
    double value[2];
    for (int i = 0; i < 2; i++) {
        *at = before + (i ? h : -h);
        run(s, &y, 1);
        value[i] = *(const float *)y.data;
    }
    *at = before;
    return (value[1] - value[0]) / (2 * (double)h);
}

static void compare(ot_session *s, const ot_tensor *g, float *of, int n) {
    float got[W > X ? W : X];
    memcpy(got, g->data, (size_t)n * sizeof *got);
    for (int i = 0; i < n; i++) {
        const double want = difference(s, of + i);
        if (!(fabs(got[i] - want) <= 2e-3 * fmax(fabs(want), 0.1)))
            fail_msg("element %d: %g, by difference %g", i, (double)got[i], want);
    }
}

static void add_both(Onnx__ModelProto *m) {
    add_gradient(m, "w x", "b", "y", "w x b", "gw gx");
    add_output(m, "gw", OUT, IN);
    add_output(m, "gx", -1, IN);
}

/* Zeros of a weight have derivatives too, initializer or not. */
static void gradients_are_differences(void **state) {
    (void)state;
    ot_tensor y[3];
    Onnx__ModelProto *m = network(true), *fixed = network(false);
    add_both(m);
    add_both(fixed);
    ot_session *s = open_model(m), *t = open_model(fixed);
    float gw[W], gx[X];
    run(t, y, 3);
    assert_int_equal(y[1].dim[0], OUT);
    assert_int_equal(y[2].dim[0], N);
    memcpy(gw, y[1].data, sizeof gw);
    memcpy(gx, y[2].data, sizeof gx);
    run(s, y, 3);
    for (int i = 0; i < W; i++) assert_true(fabsf(gw[i] - ((const float *)y[1].data)[i]) < 1e-6f);
    for (int i = 0; i < X; i++) assert_true(fabsf(gx[i] - ((const float *)y[2].data)[i]) < 1e-6f);
    compare(s, &y[1], w, W);
    run(s, y, 3);
    compare(s, &y[2], x, X);
    ot_close(s);
    ot_close(t);
}

/* Named twice; absent; without any influence on y. */
static void outputs_may_be_odd(void **state) {
    (void)state;
    ot_tensor y[4];
    Onnx__ModelProto *m = network(false);
    const float c[2] = {1, 2};
    add_raw(m, "c", OT_FLOAT, 2, 0, c, sizeof c);
    add_gradient(m, "x c x b", "", "y", "x c x b", "g1 gc g2 -");
    add_output(m, "g1", -1, IN);
    add_output(m, "gc", 2, 0);
    add_output(m, "g2", -1, IN);
    ot_session *s = open_model(m);
    run(s, y, 4);
    assert_memory_equal(y[1].data, y[3].data, X * sizeof(float));
    assert_true(((const float *)y[2].data)[0] == 0 && ((const float *)y[2].data)[1] == 0);
    compare(s, &y[1], x, X);
    ot_close(s);
}

static void twice(Onnx__ModelProto *m) {
    add_gradient(m, "w", "x", "y", "w x", "gw");
    add_gradient(m, "x", "w", "y", "x w", "gx");
    add_output(m, "gx", -1, IN);
}
static void used(Onnx__ModelProto *m) {
    add_gradient(m, "w", "x", "y", "w x", "gw");
    add_node(m, "Neg", "gw", "z");
    add_output(m, "z", OUT, IN);
}
static void inner(Onnx__ModelProto *m) { add_gradient(m, "a", "x", "y", "a x", "gw"); }
static void vector(Onnx__ModelProto *m) { add_gradient(m, "w", "x", "s", "w x", "gw"); }
static void swapped(Onnx__ModelProto *m) { add_gradient(m, "w", "x", "y", "x w", "gw"); }
static void fewer(Onnx__ModelProto *m) { add_gradient(m, "w", "x", "y", "w", "gw"); }
static void unknown(Onnx__ModelProto *m) { add_gradient(m, "w", "x", "v", "w x", "gw"); }
static void of_input(Onnx__ModelProto *m) { add_gradient(m, "w", "x", "x", "w x", "gw"); }
static void of_itself(Onnx__ModelProto *m) { add_gradient(m, "w", "x", "gw", "w x", "gw"); }
static void more(Onnx__ModelProto *m) { add_gradient(m, "w", "x", "y", "w x", "gw gx"); }

static const struct refused {
    const char *id;
    void (*add)(Onnx__ModelProto *m);
    const char *text;
} refused[] = {
    {"two nodes", twice, "two Gradient nodes"},
    {"used", used, "only be outputs of the graph"},
    {"inner value", inner, "xs names a value that a node computes"},
    {"y has many", vector, "'y' names a value that is not a single float"},
    {"swapped", swapped, "not those of xs and zs"},
    {"fewer", fewer, "fewer inputs than xs and zs"},
    {"unknown y", unknown, "'y' names no value"},
    {"y is input", of_input, "'y' names no output of a node"},
    {"y is its own", of_itself, "names its own output"},
    {"more outputs", more, "more outputs than xs"},
};

static void is_refused(void **state) {
    const struct refused *c = *state;
    Onnx__ModelProto *m = network(false);
    c->add(m);
    add_output(m, "gw", OUT, IN);
    ot_session *s = open_model(m);
    const ot_tensor in = {.type = OT_FLOAT, .rank = 2, .dim = {N, IN}, .data = x};
    ot_tensor y[3];
    ot_error err = {0};
    assert_int_equal(ot_run(s, &in, 1, y, 2, &err), OT_ERROR_UNSUPPORTED);
    if (!strstr(err.message, c->text)) fail_msg("%s", err.message);
    assert_int_equal(ot_forward(s, &in, 1, y, 2, &err), OT_ERROR_UNSUPPORTED);
    if (!strstr(err.message, "second derivatives")) fail_msg("%s", err.message);
    ot_close(s);
}

int main(void) {
    enum { REFUSED = sizeof refused / sizeof *refused };
    struct CMUnitTest tests[REFUSED + 2] = {cmocka_unit_test(gradients_are_differences),
                                            cmocka_unit_test(outputs_may_be_odd)};
    for (int i = 0; i < REFUSED; i++)
        tests[i + 2] = (struct CMUnitTest){refused[i].id, is_refused, NULL, NULL,
                                           (void *)(uintptr_t)&refused[i]};
    return cmocka_run_group_tests(tests, make_numbers, NULL);
}
