/* test_export_form.c - BatchNormalization and Dropout between training and inference form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/export_case.h"

static Onnx__ModelProto *form_model(int64_t opset, bool training) {
    static const float ones[3] = {1, 1, 1};
    static const char *const names[] = {"scale", "shift", "mean", "var"};
    Onnx__ModelProto *m = new_model(7, opset);
    add_input(m, "x", -1, 3);
    add_output(m, "y", -1, 3);
    for (int i = 0; i < 4; i++) add_raw(m, names[i], OT_FLOAT, 3, 0, ones, sizeof ones);
    const char *outputs = !training ? "b" : opset >= 14 ? "b m v" : "b m v sm sv";
    Onnx__NodeProto *bn = add_node(m, "BatchNormalization", "x scale shift mean var", outputs);
    if (opset >= 14 && training) add_int(bn, "training_mode", 1);
    if (opset < 7) add_int(bn, "is_test", !training);
    if (training) add_hint(m, "m", 3, 1);
    if (opset >= 12 && training) {
        static const uint8_t yes = 1;
        add_raw(m, "flag", OT_BOOL, 1, 0, &yes, 1)->n_dims = 0;
        add_node(m, "Dropout", "b - flag", "y");
    } else {
        bool mask = training && opset >= 7;
        Onnx__NodeProto *dropout = add_node(m, "Dropout", "b", mask ? "y k" : "y");
        if (opset < 7) add_int(dropout, "is_test", !training);
    }
    return m;
}

static int64_t int_attribute(const Onnx__NodeProto *node, const char *name) {
    for (size_t i = 0; i < node->n_attribute; i++)
        if (!strcmp(node->attribute[i]->name, name)) return node->attribute[i]->i;
    return -1;
}

static const int64_t opsets[] = {6, 7, 9, 12, 13, 14, 15};
enum { OPSETS = sizeof opsets / sizeof *opsets };

static void check_form(int64_t opset, struct bytes b, bool training) {
    Onnx__ModelProto *m = unpack(b);
    const Onnx__NodeProto *bn = m->graph->node[0], *dropout = m->graph->node[1];
    assert_int_equal(bn->n_output, !training ? 1 : opset >= 14 ? 3 : 5);
    assert_int_equal(int_attribute(bn, "training_mode"), training && opset >= 14 ? 1 : -1);
    assert_int_equal(int_attribute(bn, "is_test"), opset >= 7 ? -1 : !training);
    assert_int_equal(dropout->n_input, training && opset >= 12 ? 3 : 1);
    assert_int_equal(dropout->n_output, training && opset >= 7 && opset < 12 ? 2 : 1);
    assert_int_equal(int_attribute(dropout, "is_test"), opset >= 7 ? -1 : !training);
    if (dropout->n_input == 3) {
        const Onnx__TensorProto *flag = initializer(m, dropout->input[2]);
        assert_non_null(flag);
        assert_int_equal(flag->data_type, OT_BOOL);
        assert_int_equal(flag->raw_data.data[0], 1);
    }
    if (!training) {
        assert_null(initializer(m, "flag"));
        assert_int_equal(m->graph->n_value_info, 0);
    }
    for (size_t i = 1; i < bn->n_output; i++)
        for (size_t k = 0; k < i; k++) assert_string_not_equal(bn->output[i], bn->output[k]);
    onnx__model_proto__free_unpacked(m, NULL);
}

static void forms_of_every_opset(void **state) {
    (void)state;
    for (int i = 0; i < OPSETS; i++)
        for (int from = 0; from < 2; from++) {
            struct bytes in = pack_built(form_model(opsets[i], from));
            for (int to = 0; to < 2; to++) {
                struct bytes out =
                    export_bytes(in, OT_EXPORT_SPARSE_AS_IS,
                                 to ? OT_EXPORT_FORM_TRAINING : OT_EXPORT_FORM_INFERENCE);
                check_form(opsets[i], out, to);
                free(out.data);
            }
            struct bytes same = export_bytes(in, OT_EXPORT_SPARSE_AS_IS, OT_EXPORT_FORM_AS_IS);
            assert_same(same, in, "form=as-is");
            free(same.data);
            free(in.data);
        }
}

static void fresh_names_avoid_those_that_are_there(void **state) {
    (void)state;
    Onnx__ModelProto *m = form_model(14, false);
    add_output(m, "b_running_mean", -1, 3);
    add_node(m, "Relu", "x", "b_running_mean");
    struct bytes in = pack_built(m);
    struct bytes out = export_bytes(in, OT_EXPORT_SPARSE_AS_IS, OT_EXPORT_FORM_TRAINING);
    m = unpack(out);
    assert_string_equal(m->graph->node[0]->output[1], "b_running_mean_1");
    assert_string_equal(m->graph->node[0]->output[2], "b_running_var");
    onnx__model_proto__free_unpacked(m, NULL);
    free(out.data);
    free(in.data);
}

static Onnx__ModelProto *exported(Onnx__ModelProto *m, ot_export_form form) {
    struct bytes in = pack_built(m);
    struct bytes out = export_bytes(in, OT_EXPORT_SPARSE_AS_IS, form);
    m = unpack(out);
    free(out.data);
    free(in.data);
    return m;
}

/* Running statistics that are read elsewhere are what they were: outputs of an Identity. */
static void running_statistics_that_are_used_stay(void **state) {
    (void)state;
    static const int64_t from[] = {9, 14};
    for (int i = 0; i < 2; i++) {
        Onnx__ModelProto *m = form_model(from[i], true);
        add_output(m, "mm", 3, 1);
        add_output(m, "v", 3, 1);
        add_node(m, "Relu", "m", "mm");
        m = exported(m, OT_EXPORT_FORM_INFERENCE);
        assert_int_equal(m->graph->n_node, 5);
        assert_int_equal(m->graph->node[0]->n_output, 1);
        for (int k = 0; k < 2; k++) {
            const Onnx__NodeProto *p = m->graph->node[1 + k];
            assert_string_equal(p->op_type, "Identity");
            assert_string_equal(p->input[0], k ? "var" : "mean");
            assert_string_equal(p->output[0], k ? "v" : "m");
        }
        onnx__model_proto__free_unpacked(m, NULL);
    }
}

/* The batch's own statistics are nothing that inference has. */
static void outputs_that_are_used_are_not_dropped(void **state) {
    (void)state;
    Onnx__ModelProto *m = form_model(9, true);
    add_output(m, "mm", 3, 1);
    add_node(m, "Relu", "sm", "mm");
    struct bytes in = pack_built(m);
    struct export_request r = {.options.form = OT_EXPORT_FORM_INFERENCE};
    ot_error err = {0};
    assert_int_equal(try_export(in, &r, target(), &err), OT_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "'sm'"));
    assert_int_not_equal(access(target(), F_OK), 0);
    free(in.data);
}

/* A mask that somebody reads says nothing of training before opset 12: runtimes that only infer
 * make it all true. */
static void masks_that_are_used_stay(void **state) {
    (void)state;
    Onnx__ModelProto *m = form_model(10, true);
    add_output(m, "kk", -1, 3);
    add_node(m, "Identity", "k", "kk");
    m = exported(m, OT_EXPORT_FORM_INFERENCE);
    assert_int_equal(m->graph->node[0]->n_output, 1);
    assert_int_equal(m->graph->node[1]->n_output, 2);
    onnx__model_proto__free_unpacked(m, NULL);
}

/* The switch of a Dropout may come through other nodes; one that is off stays as it stands. */
static void switches_behind_other_nodes(void **state) {
    (void)state;
    static const uint8_t off = 0;
    Onnx__ModelProto *m = form_model(14, true);
    add_raw(m, "off", OT_BOOL, 1, 0, &off, 1)->n_dims = 0;
    add_output(m, "z", -1, 3);
    add_node(m, "Identity", "flag", "flag2");
    add_node(m, "Dropout", "x - flag2", "p");
    add_node(m, "Dropout", "p - off", "z");
    m = exported(m, OT_EXPORT_FORM_INFERENCE);
    assert_int_equal(m->graph->node[3]->n_input, 1);
    assert_int_equal(m->graph->node[4]->n_input, 3);
    assert_non_null(initializer(m, "flag")); /* the Identity reads it */
    onnx__model_proto__free_unpacked(m, NULL);
}

/* Moves all nodes of the model but the first into the branch of an If that is taken. */
static void move_into_branch(Onnx__ModelProto *m) {
    static const uint8_t yes = 1;
    add_raw(m, "yes", OT_BOOL, 1, 0, &yes, 1)->n_dims = 0;
    Onnx__GraphProto *branch[2];
    const size_t n = m->graph->n_node;
    Onnx__NodeProto **node = m->graph->node;
    m->graph->n_node = 0;
    m->graph->node = NULL;
    Onnx__NodeProto *p = add_node(m, "If", "yes", "y");
    for (int i = 0; i < 2; i++) {
        Onnx__AttributeProto *a = add_attribute(p, i ? "else_branch" : "then_branch",
                                                ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH);
        a->g = branch[i] = zeroed(1, sizeof *a->g);
        onnx__graph_proto__init(a->g);
        a->g->name = text(i ? "no" : "yes");
    }
    branch[0]->node = node;
    branch[0]->n_node = n;
    Onnx__ModelProto *other = new_model(7, 14);
    add_output(other, "r", -1, 3);
    add_node(other, "Relu", "x", "r");
    branch[1]->node = other->graph->node;
    branch[1]->n_node = 1;
    branch[1]->output = other->graph->output;
    branch[1]->n_output = 1;
    other->graph->n_node = other->graph->n_output = 0;
    other->graph->node = NULL;
    other->graph->output = NULL;
    onnx__model_proto__free_unpacked(other, NULL);
    branch[0]->n_output = 1;
    branch[0]->output = zeroed(1, sizeof *branch[0]->output);
    branch[0]->output[0] = zeroed(1, sizeof **branch[0]->output);
    onnx__value_info_proto__init(branch[0]->output[0]);
    free(node[n - 1]->output[0]);
    node[n - 1]->output[0] = text("t");
    branch[0]->output[0]->name = text("t");
}

static void branches_take_the_form_too(void **state) {
    (void)state;
    Onnx__ModelProto *m = form_model(14, true);
    move_into_branch(m);
    m = exported(m, OT_EXPORT_FORM_INFERENCE);
    const Onnx__GraphProto *branch = m->graph->node[0]->attribute[0]->g;
    assert_int_equal(branch->node[0]->n_output, 1);
    assert_int_equal(int_attribute(branch->node[0], "training_mode"), -1);
    assert_int_equal(branch->node[1]->n_input, 1);
    assert_null(initializer(m, "flag"));
    onnx__model_proto__free_unpacked(m, NULL);
}

/* Moves all nodes of the model into a local function of opset 14 that one node calls. */
static void move_into_function(Onnx__ModelProto *m) {
    static const char *const inputs[] = {"x", "scale", "shift", "mean", "var", "flag"};
    Onnx__FunctionProto *p = zeroed(1, sizeof *p);
    onnx__function_proto__init(p);
    p->name = text("Layer");
    p->domain = text("local");
    p->node = m->graph->node;
    p->n_node = m->graph->n_node;
    m->graph->n_node = 0;
    m->graph->node = NULL;
    p->input = zeroed(6, sizeof *p->input);
    for (p->n_input = 0; p->n_input < 6; p->n_input++)
        p->input[p->n_input] = text(inputs[p->n_input]);
    p->output = zeroed(1, sizeof *p->output);
    p->output[p->n_output++] = text("y");
    p->opset_import = zeroed(1, sizeof *p->opset_import);
    p->n_opset_import = 1;
    p->opset_import[0] = zeroed(1, sizeof **p->opset_import);
    onnx__operator_set_id_proto__init(p->opset_import[0]);
    p->opset_import[0]->has_version = 1;
    p->opset_import[0]->version = 14;
    m->functions = zeroed(1, sizeof *m->functions);
    m->functions[m->n_functions++] = p;
    Onnx__OperatorSetIdProto **list = zeroed(2, sizeof *list);
    list[0] = m->opset_import[0];
    list[1] = zeroed(1, sizeof **list);
    onnx__operator_set_id_proto__init(list[1]);
    list[1]->domain = text("local");
    list[1]->has_version = 1;
    list[1]->version = 1;
    free(m->opset_import);
    m->opset_import = list;
    m->n_opset_import = 2;
    add_node(m, "Layer", "x scale shift mean var flag", "y")->domain = text("local");
}

static void functions_take_the_form_too(void **state) {
    (void)state;
    Onnx__ModelProto *m = form_model(14, true);
    m->ir_version = 8;
    move_into_function(m);
    m = exported(m, OT_EXPORT_FORM_INFERENCE);
    const Onnx__FunctionProto *p = m->functions[0];
    assert_int_equal(p->node[0]->n_output, 1);
    assert_int_equal(int_attribute(p->node[0], "training_mode"), -1);
    assert_int_equal(p->node[1]->n_input, 1);
    assert_non_null(initializer(m, "flag")); /* the call passes it */
    onnx__model_proto__free_unpacked(m, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_of_every_opset),
        cmocka_unit_test(fresh_names_avoid_those_that_are_there),
        cmocka_unit_test(running_statistics_that_are_used_stay),
        cmocka_unit_test(outputs_that_are_used_are_not_dropped),
        cmocka_unit_test(masks_that_are_used_stay),
        cmocka_unit_test(switches_behind_other_nodes),
        cmocka_unit_test(branches_take_the_form_too),
        cmocka_unit_test(functions_take_the_form_too),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
