/* test_readback.c - what was written is compared with what was meant, whatever its spelling. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "onnx/export/readback.h"
#include "onnx/import.h"
#include "runtime/base/pattern.h"
#include "tests/export_case.h"

static const float w_dense[12] = {1, 0, -2, 0, 0.5f, 0, 0, -0.0f, 3e-40f, 0, 7, 0}; /* [3,4] */
static const float w_full[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
static const float w_values[4] = {1.5f, 0, -3, 4}; /* [4,3] */
static const int64_t w_linear[4] = {0, 4, 5, 11};
static const int64_t w_coo[8] = {0, 0, 1, 1, 1, 2, 3, 2};
static const uint16_t w_half[12] = {0x3c00, 0, 1, 0xfbff, 0, 0x8001, 0x7bff, 0, 0x3555, 0, 0, 1};
static const double w_double[12] = {0.1, 0, 1.0 / 3, 0, 1e-300, 0, 2, 0, 0, 0, 0, -5};

static const char *const weights[] = {"w_rows",   "w_columns", "w_full",  "w_half", "w_double",
                                      "w_linear", "w_coo",     "c_value", "bias"};
enum { WEIGHTS = sizeof weights / sizeof *weights };

/* A Constant whose `value` is a sparse tensor: some writers spell sparse_value so. */
static void add_sparse_value(Onnx__ModelProto *m, const char *name) {
    Onnx__AttributeProto *a = add_attribute(add_node(m, "Constant", "", "c_value"), name,
                                            ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSOR);
    a->sparse_tensor = zeroed(1, sizeof *a->sparse_tensor);
    onnx__sparse_tensor_proto__init(a->sparse_tensor);
    set_sparse(a->sparse_tensor, 4, 3, w_values, w_linear, 4, false);
}

/* x [N,4] -> products with weights of every spelling -> y [N,3] */
static Onnx__ModelProto *sample_model(const char *constant) {
    static const float bias[3] = {1, 0, -0.0f};
    Onnx__ModelProto *m = new_model(7, 13);
    add_input(m, "x", -1, 4);
    add_output(m, "y", -1, 3);
    add_raw(m, "w_rows", OT_FLOAT, 3, 4, w_dense, sizeof w_dense);
    add_raw(m, "w_columns", OT_FLOAT, 3, 4, w_dense, sizeof w_dense);
    add_raw(m, "w_full", OT_FLOAT, 4, 3, w_full, sizeof w_full);
    add_raw(m, "w_half", OT_FLOAT16, 3, 4, w_half, sizeof w_half);
    add_raw(m, "w_double", OT_DOUBLE, 3, 4, w_double, sizeof w_double);
    add_raw(m, "bias", OT_FLOAT, 3, 0, bias, sizeof bias);
    add_sparse(m, "w_linear", 4, 3, w_values, w_linear, 4, false);
    add_sparse(m, "w_coo", 4, 3, w_values, w_coo, 4, true);
    add_sparse_value(m, constant);
    add_int(add_node(m, "Gemm", "x w_rows bias", "a"), "transB", 1);
    add_node(m, "MatMul", "a w_columns", "b");
    add_node(m, "MatMul", "b w_linear", "c");
    add_int(add_node(m, "Gemm", "c w_half", "d"), "transA", 0);
    add_node(m, "MatMul", "d w_coo", "e");
    add_node(m, "MatMul", "e w_double", "f");
    add_node(m, "MatMul", "f c_value", "g");
    add_int(add_node(m, "Gemm", "g w_full", "h"), "transB", 1);
    add_node(m, "MatMul", "h w_linear", "y");
    return m;
}

static ot_status read_back(const struct graph *g, const struct export_request *r, ot_error *err) {
    struct arena arena;
    ot_arena_init(&arena, NULL, 0);
    struct small_alloc bump = {.arena = &arena};
    ot_status status = ot_readback(g, r, target(), NULL, NULL, &bump, err);
    ot_arena_free(&arena);
    return status;
}

/* Every value of every weight is looked at: a request that differs from the file in one of them
 * does not read back, and the message names the weight. */
static void a_value_that_differs_is_named(void **state) {
    (void)state;
    for (int mode = OT_EXPORT_SPARSE_AS_IS; mode <= OT_EXPORT_SPARSE_DENSE; mode++) {
        struct bytes in = pack_built(sample_model("sparse_value"));
        struct graph *g = import_bytes(in);
        const struct tensor **present = zeroed((size_t)g->n_values, sizeof *present);
        struct export_request r = {.present = present, .options.sparse = (ot_export_sparse)mode};
        ot_error err = {0};
        assert_int_equal(ot_export_file(g, &r, target(), &err), OT_OK);
        assert_int_equal(read_back(g, &r, &err), OT_OK);
        for (int i = 0; i < WEIGHTS; i++) {
            const int v = value_named(g, weights[i]);
            struct tensor t = *g->value[v].constant;
            float value[12];
            t.data = value;
            for (int64_t k = 0; k < ot_count(&t); k++) {
                memcpy(value, g->value[v].constant->data, ot_bytes(&t));
                value[k] = value[k] ? -value[k] : 1;
                present[v] = &t;
                assert_int_equal(read_back(g, &r, &err), OT_ERROR_IO);
                if (!strstr(err.message, weights[i]) || !strstr(err.message, "reads back"))
                    fail_msg("%s[%d]: %s", weights[i], (int)k, err.message);
            }
            present[v] = NULL;
        }
        free(present);
        ot_graph_free(g);
        free(in.data);
        unlink(target());
    }
}

static void a_sparse_value_by_the_name_of_value_comes_back(void **state) {
    (void)state;
    static const char *const names[] = {"value", "sparse_value"};
    for (int i = 0; i < 2; i++)
        for (int mode = OT_EXPORT_SPARSE_AS_IS; mode <= OT_EXPORT_SPARSE_DENSE; mode++) {
            struct bytes in = pack_built(sample_model(names[i]));
            struct bytes out = export_bytes(in, (ot_export_sparse)mode, OT_EXPORT_FORM_AS_IS);
            struct graph *g = import_bytes(out);
            const struct tensor *t = g->value[value_named(g, "c_value")].constant;
            float dense[12] = {0};
            if (t->pattern)
                ot_pattern_scatter(t->pattern, t->data, dense);
            else
                memcpy(dense, t->data, sizeof dense);
            for (int k = 0; k < 4; k++) /* one is 0, which a dense file does not hold */
                assert_true(fabsf(dense[w_linear[k]] - w_values[k]) <= 0x1p-149f);
            if (mode == OT_EXPORT_SPARSE_AS_IS) assert_same(out, in, names[i]);
            ot_graph_free(g);
            free(out.data);
            free(in.data);
        }
}

/* What import would refuse is not left under the target's name. */
static void a_file_that_is_no_model_is_not_renamed(void **state) {
    (void)state;
    struct bytes in = pack_built(sample_model("sparse_value"));
    struct graph *g = import_bytes(in);
    struct import_options strict = {.limits = {INT32_MAX, 3, 1000, INT32_MAX}}; /* 3 nodes */
    struct export_request r = {.import = &strict};
    ot_error err = {0};
    FILE *f = fopen(target(), "wb");
    assert_non_null(f);
    fputs("old", f);
    fclose(f);
    assert_int_not_equal(ot_export_file(g, &r, target(), &err), OT_OK);
    assert_non_null(strstr(err.message, "does not read back"));
    struct bytes old = slurp(target());
    assert_int_equal(old.size, 3);
    free(old.data);
    unlink(target()); /* the folder is empty now: remove_folder sees to it */
    ot_graph_free(g);
    free(in.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_that_differs_is_named),
        cmocka_unit_test(a_sparse_value_by_the_name_of_value_comes_back),
        cmocka_unit_test(a_file_that_is_no_model_is_not_renamed),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
