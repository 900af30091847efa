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

static void outputs_that_are_used_are_not_dropped(void **state) {
    (void)state;
    Onnx__ModelProto *m = form_model(14, true);
    add_output(m, "mm", 3, 1);
    add_node(m, "Relu", "m", "mm");
    struct bytes in = pack_built(m);
    struct export_request r = {.options.form = OT_EXPORT_FORM_INFERENCE};
    ot_error err = {0};
    assert_int_equal(try_export(in, &r, target(), &err), OT_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "'m'"));
    assert_int_not_equal(access(target(), F_OK), 0);
    free(in.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_of_every_opset),
        cmocka_unit_test(fresh_names_avoid_those_that_are_there),
        cmocka_unit_test(outputs_that_are_used_are_not_dropped),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
