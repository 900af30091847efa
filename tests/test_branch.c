/* test_branch.c - If: the branch that a constant condition takes becomes part of the graph, and its
 * weights go back to where they stood. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/onnxtrain.h"
#include "tests/export_case.h"

static const float w[6] = {1, 0, 2, 3, 0, 4}; /* [2,3] */

static void add_branch(Onnx__NodeProto *node, const char *name, Onnx__ModelProto *m) {
    Onnx__AttributeProto *a =
        add_attribute(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH);
    a->g = m->graph;
    m->graph = NULL;
    onnx__model_proto__free_unpacked(m, NULL);
}

static void add_constant(Onnx__ModelProto *m, const char *name) {
    Onnx__AttributeProto *a = add_attribute(add_node(m, "Constant", "", name), "value",
                                            ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR);
    a->t = zeroed(1, sizeof *a->t);
    onnx__tensor_proto__init(a->t);
    set_dims(a->t, 2, 3);
    set_raw(a->t, OT_FLOAT, w, sizeof w);
}

/* y = [x [N,2] times a weight `w` of the branch, and in `then` Relu of x before, which is `outer`,
 * then a branch of a branch]; the condition is Not(k == 1), or an input where k is negative. */
static struct bytes sample(int64_t k) {
    static const int64_t one = 1;
    static const uint8_t yes = 1;
    Onnx__ModelProto *m = new_model(8, 13);
    add_input(m, "x", -1, 2);
    add_output(m, "y", -1, 3);
    add_raw(m, "one", OT_INT64, 1, 0, &one, sizeof one);
    add_raw(m, "k", OT_INT64, 1, 0, &k, sizeof k);
    add_raw(m, "yes", OT_BOOL, 1, 0, &yes, 1);
    add_node(m, "Relu", "x", "outer");
    add_node(m, "Equal", "one k", "same");
    add_node(m, "Not", "same", "other");
    Onnx__NodeProto *node = add_node(m, "If", k < 0 ? "x" : "other", "y");

    Onnx__ModelProto *inner = new_model(8, 13), *then = new_model(8, 13), *other = new_model(8, 13);
    add_constant(inner, "w");
    add_node(inner, "MatMul", "outer w", "p");
    add_output(inner, "p", -1, 3);
    add_node(other, "Identity", "outer", "unused");
    add_output(other, "unused", -1, 3);
    node->name[0] = 'n';
    Onnx__NodeProto *nested = add_node(then, "If", "yes", "q");
    add_branch(nested, "then_branch", inner);
    add_branch(nested, "else_branch", other);
    add_output(then, "q", -1, 3);
    other = new_model(8, 13);
    add_raw(other, "w", OT_FLOAT, 2, 3, w, sizeof w);
    add_node(other, "MatMul", "x w", "q");
    add_output(other, "q", -1, 3);
    add_branch(node, "then_branch", then);
    add_branch(node, "else_branch", other);
    return pack_built(m);
}

static const Onnx__TensorProto *find_weight(const Onnx__ModelProto *m, bool then) {
    for (size_t i = 0; i < m->graph->n_node; i++) {
        const Onnx__NodeProto *node = m->graph->node[i];
        if (strcmp(node->op_type, "If") != 0) continue;
        if (!then) return node->attribute[1]->g->initializer[0];
        return node->attribute[0]->g->node[0]->attribute[0]->g->node[0]->attribute[0]->t;
    }
    return NULL;
}

static void check(int64_t k, const char *name, const char *input) {
    struct bytes b = sample(k);
    struct graph *g = import_bytes(b);
    const int v = value_named(g, name);
    const struct node *last = &g->node[g->n_nodes - 1];
    assert_string_equal(last->op_type, "MatMul");
    assert_string_equal(g->value[last->in[0]].name, input);
    assert_int_equal(last->in[1], v);
    assert_string_equal(g->value[last->out[0]].name, "y");
    assert_int_equal(last->out[0], g->output[0]);
    for (int i = 0; i < g->n_nodes; i++) assert_string_not_equal(g->node[i].op_type, "If");
    assert_non_null(g->value[v].constant->pattern);

    struct export_request r = {0};
    struct bytes same = export_graph(g, &r);
    assert_same(b, same, "untouched");
    const struct tensor **present = zeroed((size_t)g->n_values, sizeof *present);
    struct tensor t = *g->value[v].constant;
    float data[4] = {10, 20, 30, 40}, whole[6] = {0};
    t.data = data;
    present[v] = &t;
    r.present = present;
    struct bytes trained = export_graph(g, &r);
    Onnx__ModelProto *m = unpack(trained);
    const bool then = k != 1;
    assert_int_equal(find_weight(m, then)->raw_data.len, sizeof whole);
    memcpy(whole, find_weight(m, then)->raw_data.data, sizeof whole);
    for (int i = 0; i < 6; i++) assert_int_equal(whole[i] >= 10, w[i] != 0);
    assert_memory_equal(find_weight(m, !then)->raw_data.data, w, sizeof w);
    onnx__model_proto__free_unpacked(m, NULL);
    free(present);
    free(b.data);
    free(same.data);
    free(trained.data);
    ot_graph_free(g);
}

static void the_taken_branch_is_part_of_the_graph(void **state) {
    (void)state;
    check(2, "y/then_branch/q/then_branch/w", "outer");
    check(1, "y/else_branch/w", "x");
}

/* Numbers 0 to 4 are constants of these names; list has three elements. */
static void what_constants_decide(void **state) {
    (void)state;
    static const struct {
        const char *op, *inputs;
        int64_t to;
        bool then;
    } rows[] = {{"Equal", "n2 n2", 0, true},
                {"Equal", "n2 n1", 0, false},
                {"Less", "n1 n2", 0, true},
                {"Less", "n2 n2", 0, false},
                {"LessOrEqual", "n2 n2", 0, true},
                {"LessOrEqual", "n2 n1", 0, false},
                {"Greater", "n2 n1", 0, true},
                {"Greater", "n2 n2", 0, false},
                {"GreaterOrEqual", "n2 n2", 0, true},
                {"GreaterOrEqual", "n1 n2", 0, false},
                {"And", "n1 n2", 0, true},
                {"And", "n1 n0", 0, false},
                {"Or", "n0 n2", 0, true},
                {"Or", "n0 n0", 0, false},
                {"Xor", "n1 n2", 0, false},
                {"Xor", "n1 n0", 0, true},
                {"Not", "n0", 0, true},
                {"Identity", "n0", 0, false},
                {"Cast", "n2", OT_BOOL, true},
                {"Cast", "n0", OT_INT32, false},
                {"Size", "list", 0, true},
                {"Size", "empty", 0, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static const int64_t list[3] = {7, 8, 9};
        Onnx__ModelProto *m = new_model(8, 13), *branch[2];
        add_input(m, "x", -1, 2);
        add_output(m, "y", -1, 2);
        for (int64_t k = 0; k < 3; k++)
            add_raw(m, (const char *[]){"n0", "n1", "n2"}[k], OT_INT64, 1, 0, &k, sizeof k);
        add_raw(m, "list", OT_INT64, 3, 0, list, sizeof list);
        add_raw(m, "empty", OT_FLOAT, 0, 3, NULL, 0);
        Onnx__NodeProto *node = add_node(m, rows[i].op, rows[i].inputs, "decision");
        if (rows[i].to) add_int(node, "to", rows[i].to);
        node = add_node(m, "If", "decision", "y");
        for (int k = 0; k < 2; k++) {
            branch[k] = new_model(8, 13);
            add_node(branch[k], k ? "Neg" : "Relu", "x", "z");
            add_output(branch[k], "z", -1, 2);
            add_branch(node, k ? "else_branch" : "then_branch", branch[k]);
        }
        struct bytes b = pack_built(m);
        struct graph *g = import_bytes(b);
        const char *op = g->node[g->n_nodes - 1].op_type;
        if (strcmp(op, rows[i].then ? "Relu" : "Neg"))
            fail_msg("%s of %s: %s", rows[i].op, rows[i].inputs, op);
        ot_graph_free(g);
        free(b.data);
    }
}

static void a_condition_of_data_is_refused(void **state) {
    (void)state;
    struct bytes b = sample(-1);
    ot_session *s = NULL;
    ot_error err = {0};
    assert_int_equal(ot_open_buffer(b.data, b.size, NULL, &s, &err), OT_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "If opset 13: its condition is not a constant"));
    free(b.data);
}

/* The sample whose `k` is an input of one int64. */
static struct bytes sample_with_input(void) {
    struct bytes b = sample(2);
    Onnx__ModelProto *m = unpack(b);
    free(b.data);
    Onnx__TensorProto **k = &m->graph->initializer[1];
    assert_string_equal((*k)->name, "k");
    onnx__tensor_proto__free_unpacked(*k, NULL);
    *k = m->graph->initializer[--m->graph->n_initializer];
    Onnx__TypeProto__Tensor *type = add_input(m, "k", 1, 1)->type->tensor_type;
    type->elem_type = OT_INT64;
    free(type->shape->dim[--type->shape->n_dim]); /* of a number: nothing hangs on it */
    return pack_built(m);
}

static ot_status open_fixed(struct bytes b, const char *fix, ot_session **s, ot_error *err) {
    return ot_open_buffer(b.data, b.size, &(ot_options){.threads = 1, .fix = fix}, s, err);
}

static void train_once(ot_session *s) {
    static const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, zero[12];
    const ot_tensor in = {OT_FLOAT, 2, {4, 2}, x}, y = {OT_FLOAT, 2, {4, 3}, zero};
    ot_result r;
    ot_error err;
    assert_int_equal(ot_set_loss(s, &(ot_loss_options){.kind = OT_LOSS_MSE}, &err), OT_OK);
    assert_int_equal(ot_set_optimizer(s, &(ot_optimizer_options){.lr = 0.01f}, &err), OT_OK);
    assert_int_equal(ot_train_step(s, &in, 1, &y, &r, &err), OT_OK);
    assert_int_equal(ot_optimizer_step(s, &err), OT_OK);
}

/* The session has no such input, the file that is written has it. */
static void a_fixed_input_decides(void **state) {
    (void)state;
    struct bytes b = sample_with_input();
    ot_session *s = NULL, *other = NULL;
    ot_parameter_info info;
    ot_error err;
    float trained[6];
    assert_int_equal(open_fixed(b, NULL, &s, &err), OT_ERROR_UNSUPPORTED);
    assert_int_equal(open_fixed(b, "k=1,k=2", &s, &err), OT_OK);
    assert_int_equal(ot_input_count(s), 1);
    assert_int_equal(ot_get_parameter(s, 0, &info, NULL), OT_OK);
    assert_string_equal(info.name, "y/then_branch/q/then_branch/w");
    train_once(s);
    assert_int_equal(ot_read_parameter(s, 0, trained, NULL), OT_OK);
    assert_memory_not_equal(trained, w, sizeof w);
    assert_int_equal(ot_export_onnx(s, target(), &(ot_export_options){0}, &err), OT_OK);
    ot_close(s);
    free(b.data);
    b = slurp(target());
    Onnx__ModelProto *m = unpack(b);
    assert_int_equal(m->graph->n_input, 2);
    assert_memory_equal(find_weight(m, true)->raw_data.data, trained, sizeof trained);
    assert_memory_equal(find_weight(m, false)->raw_data.data, w, sizeof w);
    onnx__model_proto__free_unpacked(m, NULL);
    assert_int_equal(open_fixed(b, "k=1", &other, &err), OT_OK);
    assert_int_equal(ot_get_parameter(other, 0, &info, NULL), OT_OK);
    assert_string_equal(info.name, "y/else_branch/w");
    ot_close(other);
    free(b.data);
    remove(target());
}

static void what_cannot_be_fixed_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *fix, *message;
    } faults[] = {{"q=1", "fix: the model has no input 'q'"},
                  {"k", "fix: '' is not a value of type int64"},
                  {"k=1.5", "input[1] 'k': fix: '1.5' is not a value of type int64"},
                  {"k=99999999999999999999", "is not a value of type int64"},
                  {"x=1", "input[0] 'x': fix: dimension 0 is free"}};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct bytes b = sample_with_input();
        ot_session *s = NULL;
        ot_error err;
        assert_int_equal(open_fixed(b, faults[i].fix, &s, &err), OT_ERROR_ARGUMENT);
        if (!strstr(err.message, faults[i].message))
            fail_msg("'%s' lacks '%s'", err.message, faults[i].message);
        free(b.data);
    }
}

static void rename_to(char **name, const char *other) {
    free(*name);
    *name = text(other);
}

static void expect_invalid(Onnx__ModelProto *m, const char *message) {
    struct bytes b = pack(m);
    ot_session *s = NULL;
    ot_error err = {0};
    assert_int_equal(ot_open_buffer(b.data, b.size, NULL, &s, &err), OT_ERROR_INVALID);
    if (!strstr(err.message, message)) fail_msg("'%s' lacks '%s'", err.message, message);
    onnx__model_proto__free_unpacked(m, NULL);
    free(b.data);
}

/* The model whose If takes the branch without an If; *branch is that attribute. */
static Onnx__ModelProto *simple(Onnx__AttributeProto **branch) {
    struct bytes b = sample(1);
    Onnx__ModelProto *m = unpack(b);
    free(b.data);
    *branch = m->graph->node[3]->attribute[1];
    return m;
}

static void faulty_branches_are_refused(void **state) {
    (void)state;
    Onnx__AttributeProto *a;
    Onnx__ModelProto *m = simple(&a);
    rename_to(&a->name, "other");
    expect_invalid(m, "'else_branch' is missing");
    m = simple(&a);
    rename_to(&a->g->output[0]->name, "nothing");
    expect_invalid(m, "'nothing' is not defined");
    m = simple(&a);
    rename_to(&a->g->node[0]->input[0], "q");
    expect_invalid(m, "'q' comes from this node or a later one");
    m = simple(&a);
    rename_to(&a->g->initializer[0]->name, "q");
    rename_to(&a->g->node[0]->input[1], "q");
    expect_invalid(m, "'q' has a name that is already used");
    m = simple(&a);
    rename_to(&m->graph->initializer[0]->name, "y/else_branch/w");
    rename_to(&m->graph->node[1]->input[0], "y/else_branch/w");
    expect_invalid(m, "the name 'y/else_branch/w' is already used");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_taken_branch_is_part_of_the_graph),
        cmocka_unit_test(what_constants_decide),
        cmocka_unit_test(a_condition_of_data_is_refused),
        cmocka_unit_test(a_fixed_input_decides),
        cmocka_unit_test(what_cannot_be_fixed_is_refused),
        cmocka_unit_test(faulty_branches_are_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
