/* test_export.c - what is imported and written back: the same model, or the one asked for. */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/half.h"
#include "runtime/base/pattern.h"
#include "tests/export_case.h"
#include "tests/counter.h"

/* ---- the sample: every spelling and type of a weight ---- */

static const float w_dense[12] = {1, 0, -2, 0, 0.5f, 0, 0, -0.0f, 3e-40f, 0, 7, 0}; /* [3,4] */
static const float w_values[4] = {1.5f, 0, -3, 4};                                  /* [4,3] */
static const int64_t w_linear[4] = {0, 4, 5, 11};
static const int64_t w_coo[8] = {0, 0, 1, 1, 1, 2, 3, 2};
static const uint16_t w_half[12] = {0x3c00, 0, 1, 0xfbff, 0, 0x8001, 0x7bff, 0, 0x3555, 0, 0, 1};
static const double w_double[12] = {0.1, 0, 1.0 / 3, 0, 1e-300, 0, 2, 0, 0, 0, 0, -5};

static void add_constants(Onnx__ModelProto *m) {
    Onnx__NodeProto *node = add_node(m, "Constant", "", "c_sparse");
    Onnx__AttributeProto *a =
        add_attribute(node, "sparse_value", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSOR);
    a->sparse_tensor = zeroed(1, sizeof *a->sparse_tensor);
    onnx__sparse_tensor_proto__init(a->sparse_tensor);
    set_sparse(a->sparse_tensor, 4, 3, w_values, w_linear, 4, false);
    node = add_node(m, "Constant", "", "c_dense");
    a = add_attribute(node, "value", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR);
    a->t = zeroed(1, sizeof *a->t);
    onnx__tensor_proto__init(a->t);
    set_dims(a->t, 3, 4);
    set_raw(a->t, OT_FLOAT, w_dense, sizeof w_dense);
    node = add_node(m, "Constant", "", "c_float");
    a = add_attribute(node, "value_float", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    a->has_f = 1;
    a->f = 2.5f;
}

/* x [N,4] -> seven matrix products in a row -> y [N,3] */
static Onnx__ModelProto *sample_model(void) {
    static const float bias[3] = {1, 0, -0.0f};
    Onnx__ModelProto *m = new_model(7, 13);
    add_input(m, "x", -1, 4);
    add_output(m, "y", -1, 3);
    add_constants(m);
    add_raw(m, "w_raw", OT_FLOAT, 3, 4, w_dense, sizeof w_dense);
    add_raw(m, "w_half", OT_FLOAT16, 3, 4, w_half, sizeof w_half);
    add_raw(m, "w_double", OT_DOUBLE, 3, 4, w_double, sizeof w_double);
    Onnx__TensorProto *t = add_initializer(m, "bias");
    set_dims(t, 3, 0);
    t->has_data_type = 1;
    t->data_type = OT_FLOAT;
    t->n_float_data = 3;
    t->float_data = zeroed(3, sizeof(float));
    memcpy(t->float_data, bias, sizeof bias);
    add_sparse(m, "w_linear", 4, 3, w_values, w_linear, 4, false);
    add_sparse(m, "w_coo", 4, 3, w_values, w_coo, 4, true);
    add_int(add_node(m, "Gemm", "x w_raw bias", "a"), "transB", 1); /* [N,3] */
    add_int(add_node(m, "Gemm", "a w_half", "b"), "transA", 0);     /* [N,4] */
    add_node(m, "MatMul", "b w_linear", "c");                       /* [N,3] */
    add_node(m, "MatMul", "c c_dense", "d");                        /* [N,4] */
    add_node(m, "MatMul", "d w_coo", "e");                          /* [N,3] */
    add_node(m, "MatMul", "e w_double", "f");                       /* [N,4] */
    add_node(m, "MatMul", "f c_sparse", "h");                       /* [N,3] */
    add_node(m, "Mul", "h c_float", "y");
    add_hint(m, "a", -1, 3);
    add_hint(m, "h", -1, 3);
    add_metadata(m, "author", "\xc3\xa9");
    m->producer_name = text("tests");
    m->doc_string = text("line\nline");
    return m;
}

/* ---- as it is ---- */

static void an_untouched_model_comes_back_bit_for_bit(void **state) {
    (void)state;
    Onnx__ModelProto *m = sample_model();
    add_unknown(&m->base);
    add_unknown(&m->graph->base);
    add_unknown(&m->graph->node[3]->base);
    add_unknown(&m->graph->initializer[0]->base);
    struct bytes in = pack_built(m);
    struct bytes out = export_bytes(in, OT_EXPORT_SPARSE_AS_IS, OT_EXPORT_FORM_AS_IS);
    assert_same(out, in, "sample");
    free(out.data);
    free(in.data);
}

static void the_same_weights_give_the_same_bytes(void **state) {
    (void)state;
    struct bytes in = pack_built(sample_model());
    struct bytes a = export_bytes(in, OT_EXPORT_SPARSE_INITIALIZER, OT_EXPORT_FORM_AS_IS);
    struct bytes b = export_bytes(in, OT_EXPORT_SPARSE_INITIALIZER, OT_EXPORT_FORM_AS_IS);
    assert_same(a, b, "sample");
    free(a.data);
    free(b.data);
    free(in.data);
}

/* A copy of a constant with other values; the pattern is shared. */
static struct tensor *changed_copy(const struct tensor *t, float scale, float offset) {
    struct tensor *copy = zeroed(1, sizeof *copy);
    float *data = zeroed((size_t)ot_count(t), sizeof *data);
    const float *from = t->data;
    for (int64_t i = 0; i < ot_count(t); i++) data[i] = from[i] * scale + offset;
    *copy = *t;
    copy->data = data;
    return copy;
}

static const char *const weights[] = {"w_raw",    "w_half",  "w_double", "w_linear", "w_coo",
                                      "c_sparse", "c_dense", "bias",     "c_float"};
enum { WEIGHTS = sizeof weights / sizeof *weights };

/* Slots and values are there after an export with values scale * x + even, or + odd, by the number
 * of the weight; a value may be off by `near`, in float16 by half a unit too. */
static void check_slots(float scale, float even, float odd, float near) {
    for (int mode = OT_EXPORT_SPARSE_AS_IS; mode <= OT_EXPORT_SPARSE_DENSE; mode++) {
        struct bytes in = pack_built(sample_model());
        struct graph *g = import_bytes(in), *h;
        const struct tensor **present = zeroed((size_t)g->n_values, sizeof *present);
        for (int i = 0; i < WEIGHTS; i++) {
            const int v = value_named(g, weights[i]);
            present[v] = changed_copy(g->value[v].constant, scale, i % 2 ? odd : even);
        }
        struct export_request r = {.present = present, .options.sparse = (ot_export_sparse)mode};
        struct bytes out = export_graph(g, &r);
        h = import_bytes(out);
        for (int i = 0; i < WEIGHTS; i++) {
            const struct tensor *a = present[value_named(g, weights[i])];
            const struct tensor *b = h->value[value_named(h, weights[i])].constant;
            const bool half = !strcmp(weights[i], "w_half");
            assert_int_equal(!a->pattern, !b->pattern);
            if (a->pattern) assert_true(ot_pattern_equal(a->pattern, b->pattern));
            for (int64_t k = 0; k < ot_count(a); k++) {
                const float x = ((const float *)a->data)[k], y = ((const float *)b->data)[k];
                assert_true(fabsf(x - y) <= near + (half ? fabsf(x) / 2048 : 0));
            }
            free(a->data);
            free((void *)(uintptr_t)a);
        }
        ot_graph_free(h);
        ot_graph_free(g);
        free(present);
        free(out.data);
        free(in.data);
    }
}

static void new_values_come_back_in_their_slots(void **state) {
    (void)state;
    check_slots(0.5f, 2, 2, 0);
}

/* A dense file says by its zeros what is pruned: 0, and what float16 rounds to it. */
static void a_value_that_became_zero_keeps_its_slot(void **state) {
    (void)state;
    check_slots(0, 0, -1e-9f, 6e-8f);
}

/* ---- spelling ---- */

static void sparse_initializers_on_request(void **state) {
    (void)state;
    static const int64_t slots[] = {0, 2, 4, 8, 10};
    Onnx__ModelProto *m = sample_model();
    m->ir_version = 4;
    struct bytes in = pack_built(m);
    struct bytes out = export_bytes(in, OT_EXPORT_SPARSE_INITIALIZER, OT_EXPORT_FORM_AS_IS);
    m = unpack(out);
    assert_int_equal(m->ir_version, 6);
    assert_null(initializer(m, "w_raw"));
    assert_non_null(initializer(m, "bias"));
    const Onnx__SparseTensorProto *s = sparse_initializer(m, "w_raw");
    assert_non_null(s);
    assert_int_equal(s->n_dims, 2);
    assert_int_equal(s->dims[0], 3);
    assert_int_equal(s->dims[1], 4);
    assert_int_equal(s->indices->data_type, OT_INT64);
    assert_int_equal(s->indices->n_dims, 1);
    assert_int_equal(s->indices->raw_data.len, sizeof slots);
    assert_memory_equal(s->indices->raw_data.data, slots, sizeof slots);
    for (size_t i = 0; i < 5; i++)
        assert_memory_equal(s->values->raw_data.data + 4 * i, &w_dense[slots[i]], 4);
    s = sparse_initializer(m, "w_coo"); /* what was sparse keeps its indices */
    assert_int_equal(s->indices->n_dims, 2);
    assert_memory_equal(s->indices->raw_data.data, w_coo, sizeof w_coo);
    const Onnx__NodeProto *c = m->graph->node[1];
    assert_string_equal(c->attribute[0]->name, "sparse_value");
    assert_non_null(c->attribute[0]->sparse_tensor);
    assert_null(c->attribute[0]->t);
    onnx__model_proto__free_unpacked(m, NULL);
    free(out.data);
    free(in.data);
}

static void dense_initializers_on_request(void **state) {
    (void)state;
    struct bytes in = pack_built(sample_model());
    struct bytes out = export_bytes(in, OT_EXPORT_SPARSE_DENSE, OT_EXPORT_FORM_AS_IS);
    Onnx__ModelProto *m = unpack(out);
    assert_int_equal(m->graph->n_sparse_initializer, 0);
    const char *const names[] = {"w_linear", "w_coo"};
    for (int k = 0; k < 2; k++) {
        const Onnx__TensorProto *t = initializer(m, names[k]);
        float expected[12] = {0};
        for (int i = 0; i < 4; i++) expected[w_linear[i]] = w_values[i];
        expected[w_linear[1]] = 0x1p-149f; /* a 0 that is not pruned */
        assert_int_equal(t->n_dims, 2);
        assert_int_equal(t->raw_data.len, sizeof expected);
        assert_memory_equal(t->raw_data.data, expected, sizeof expected);
    }
    assert_string_equal(m->graph->node[0]->attribute[0]->name, "value");
    assert_int_equal(m->graph->node[0]->attribute[0]->t->raw_data.len, 48);
    onnx__model_proto__free_unpacked(m, NULL);
    free(out.data);
    free(in.data);
}

static void sparse_and_back_is_the_same_weight(void **state) {
    (void)state;
    struct bytes in = pack_built(sample_model());
    struct bytes sparse = export_bytes(in, OT_EXPORT_SPARSE_INITIALIZER, OT_EXPORT_FORM_AS_IS);
    struct bytes back = export_bytes(sparse, OT_EXPORT_SPARSE_DENSE, OT_EXPORT_FORM_AS_IS);
    Onnx__ModelProto *m = unpack(back);
    const Onnx__TensorProto *half = initializer(m, "w_half");
    assert_int_equal(half->data_type, OT_FLOAT16);
    assert_memory_equal(half->raw_data.data, w_half, sizeof w_half);
    onnx__model_proto__free_unpacked(m, NULL);
    free(back.data);
    free(sparse.data);
    free(in.data);
}

static void sixteen_bits_there_and_back(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        assert_int_equal(ot_float16_of_float(ot_float16_to_float((uint16_t)h)), h);
        assert_int_equal(ot_bfloat16_of_float(ot_bfloat16_to_float((uint16_t)h)), h);
    }
    static const struct {
        float f;
        uint16_t half;
    } cases[] = {
        {2049, 0x6800},        {2051, 0x6802},       {65519, 0x7bff},     {65520, 0x7c00},
        {0x1p-25f, 0},         {0x1.000002p-25f, 1}, {0x1.8p-24f, 2},     {0x1.7ffffep-24f, 1},
        {0x1.ffcp-15f, 0x400}, {-1e-30f, 0x8000},    {-INFINITY, 0xfc00}, {0x1.ff8p-15f, 0x3ff},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(ot_float16_of_float(cases[i].f), cases[i].half);
    assert_int_equal(ot_bfloat16_of_float(0x1.01p0f), 0x3f80); /* ties to even, down and up */
    assert_int_equal(ot_bfloat16_of_float(0x1.03p0f), 0x3f82);
}

/* ---- a new head ---- */

static void a_new_head_changes_shapes(void **state) {
    (void)state;
    static const float w[6] = {1, 2, 3, 4, 5, 6};
    Onnx__ModelProto *m = new_model(3, 8); /* initializers are inputs, too */
    add_input(m, "x", -1, 3);
    add_input(m, "w", 3, 2);
    add_output(m, "y", -1, 2);
    add_output(m, "z", -1, 2);
    add_output(m, "x2", -1, 3);
    add_raw(m, "w", OT_FLOAT, 3, 2, w, sizeof w);
    add_node(m, "Relu", "x", "x2");
    add_node(m, "MatMul", "x2 w", "h");
    add_node(m, "Relu", "h", "y");
    add_node(m, "Softmax", "h", "z");
    add_hint(m, "h", -1, 2);
    add_hint(m, "x2", -1, 3);
    struct bytes in = pack_built(m);
    struct graph *g = import_bytes(in);
    float fresh[15] = {0};
    struct tensor t = {.type = OT_FLOAT, .rank = 2, .dim = {3, 5}, .data = fresh};
    const struct tensor **present = zeroed((size_t)g->n_values, sizeof *present);
    present[value_named(g, "w")] = &t;
    struct export_request r = {.present = present, .head_classes = 5};
    struct bytes out = export_graph(g, &r);
    m = unpack(out);
    assert_int_equal(initializer(m, "w")->dims[1], 5);
    assert_int_equal(initializer(m, "w")->raw_data.len, sizeof fresh);
    assert_int_equal(m->graph->input[1]->type->tensor_type->shape->dim[1]->dim_value, 5);
    assert_int_equal(m->graph->output[0]->type->tensor_type->shape->dim[1]->dim_value, 5);
    assert_int_equal(m->graph->output[1]->type->tensor_type->shape->dim[1]->dim_value, 5);
    assert_int_equal(m->graph->output[2]->type->tensor_type->shape->dim[1]->dim_value, 3);
    assert_int_equal(m->graph->n_value_info, 1);
    assert_string_equal(m->graph->value_info[0]->name, "x2");
    onnx__model_proto__free_unpacked(m, NULL);
    free(present);
    ot_graph_free(g);
    free(out.data);
    free(in.data);
}

/* ---- failures ---- */

static void targets_that_cannot_be_written(void **state) {
    (void)state;
    char paths[4][160], link[160];
    struct bytes in = pack_built(sample_model());
    struct export_request r = {0};
    snprintf(paths[0], sizeof paths[0], "%s", test_folder());               /* a directory */
    snprintf(paths[1], sizeof paths[1], "%s/none/out.onnx", test_folder()); /* no such folder */
    snprintf(paths[2], sizeof paths[2], "%s/loop", test_folder());          /* a loop of links */
    snprintf(paths[3], sizeof paths[3], "%s", "");
    snprintf(link, sizeof link, "%s/loop", test_folder());
    assert_int_equal(symlink("loop", link), 0);
    for (int i = 0; i < 4; i++) {
        ot_error err = {0};
        assert_int_not_equal(try_export(in, &r, paths[i], &err), OT_OK);
        assert_true(err.message[0]);
    }
    unlink(link);
    if (geteuid()) { /* root writes anywhere */
        ot_error err = {0};
        assert_int_equal(chmod(test_folder(), 0500), 0);
        assert_int_equal(try_export(in, &r, target(), &err), OT_ERROR_IO);
        assert_int_equal(chmod(test_folder(), 0700), 0);
    }
    free(in.data);
}

/* The disk is full after k bytes: the old file stays. */
static void a_full_disk_leaves_the_old_file(void **state) {
    (void)state;
    struct bytes in = pack_built(sample_model());
    struct export_request r = {0};
    struct rlimit before, limit;
    ot_error err = {0};
    assert_int_equal(try_export(in, &r, target(), &err), OT_OK);
    struct bytes old = slurp(target());
    struct graph *g = import_bytes(in);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (size_t k = 0; k < in.size; k += 97) {
        limit = before;
        limit.rlim_cur = k;
        setrlimit(RLIMIT_FSIZE, &limit);
        ot_status status = ot_export_file(g, &r, target(), &err);
        setrlimit(RLIMIT_FSIZE, &before);
        assert_int_equal(status, OT_ERROR_IO);
    }
    ot_graph_free(g);
    struct bytes now = slurp(target());
    assert_same(now, old, "the old file");
    unlink(target());
    free(now.data);
    free(old.data);
    free(in.data);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    struct counter f = {0};
    struct bytes in = pack_built(sample_model());
    struct graph *g = import_with(in, counting_allocator(&f));
    struct export_request r = {
        .options = {.sparse = OT_EXPORT_SPARSE_INITIALIZER, .form = OT_EXPORT_FORM_TRAINING}};
    long live = f.live;
    ot_status status = OT_ERROR_NO_MEMORY;
    for (int k = 0; status; k++) {
        ot_error err = {0};
        f.fail_at = f.requests + k + 1;
        status = ot_export_file(g, &r, target(), &err);
        assert_int_equal(f.live, live);
        if (status) assert_int_equal(status, OT_ERROR_NO_MEMORY);
        if (status) assert_int_not_equal(access(target(), F_OK), 0);
        assert_true(k < 1000);
    }
    f.fail_at = 0;
    unlink(target());
    ot_graph_free(g);
    free(in.data);
}

/* 2.4 GB as a dense tensor: they can stand in a data file, but not in a field of numbers. */
static void a_weight_that_no_file_holds_is_refused(void **state) {
    (void)state;
    static const float value[2] = {1, 2};
    static const int64_t index[2] = {7, 599999999};
    for (int typed = 0; typed < 2; typed++) {
        Onnx__ModelProto *m = new_model(7, 13);
        add_input(m, "x", -1, 30000);
        add_output(m, "y", -1, 20000);
        Onnx__SparseTensorProto *s = add_sparse(m, "w", 30000, 20000, value, index, 2, false);
        if (typed) {
            free(s->values->raw_data.data);
            s->values->raw_data = (ProtobufCBinaryData){0};
            s->values->has_raw_data = 0;
            s->values->n_float_data = 2;
            s->values->float_data = zeroed(2, sizeof(float));
            memcpy(s->values->float_data, value, sizeof value);
        }
        add_node(m, "MatMul", "x w", "y");
        struct bytes in = pack_built(m);
        struct graph *g = import_bytes(in);
        struct export_request r = {.options.sparse = OT_EXPORT_SPARSE_DENSE};
        ot_error err = {0};
        assert_int_equal(ot_export_check(g, &r, &err), typed ? OT_ERROR_LIMIT : OT_OK);
        if (typed) assert_non_null(strstr(err.message, "'w'"));
        struct bytes out = export_bytes(in, OT_EXPORT_SPARSE_AS_IS, OT_EXPORT_FORM_AS_IS);
        assert_same(out, in, "sparse");
        free(out.data);
        ot_graph_free(g);
        free(in.data);
    }
}

static void bad_arguments(void **state) {
    (void)state;
    struct bytes in = pack_built(sample_model());
    struct export_request r = {0};
    ot_error err;
    assert_int_equal(try_export(in, &r, NULL, &err), OT_ERROR_ARGUMENT);
    r.options.sparse = (ot_export_sparse)4;
    assert_int_equal(try_export(in, &r, target(), &err), OT_ERROR_ARGUMENT);
    r.options = (ot_export_options){.form = (ot_export_form)-1};
    assert_int_equal(try_export(in, &r, target(), &err), OT_ERROR_ARGUMENT);
    free(in.data);
}

/* ---- real models ---- */

static void compare_real(const char *path) {
    struct bytes in = slurp(path);
    Onnx__ModelProto *m = unpack(in);
    struct bytes canonical = pack(m);
    onnx__model_proto__free_unpacked(m, NULL);
    struct bytes out = export_bytes(in, OT_EXPORT_SPARSE_AS_IS, OT_EXPORT_FORM_AS_IS);
    assert_same(out, canonical, path);
    free(out.data);
    free(canonical.data);
    free(in.data);
}

static void real_models_come_back_bit_for_bit(void **state) {
    (void)state;
    static const char *const sets[] = {"made", "pruned", "dense", "imagenet"};
    const char *shared = getenv("OT_SHARED");
    if (!shared || !*shared) {
        print_message("OT_SHARED is not set: real models are skipped\n");
        skip();
    }
    for (int i = 0; i < 4; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/models/%s", shared, sets[i]);
        DIR *d = opendir(path);
        assert_non_null(d);
        for (struct dirent *e = readdir(d); e; e = readdir(d)) {
            size_t n = strlen(e->d_name);
            if (n < 5 || strcmp(e->d_name + n - 5, ".onnx")) continue;
            snprintf(path, sizeof path, "%s/models/%s/%s", shared, sets[i], e->d_name);
            compare_real(path);
        }
        closedir(d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_untouched_model_comes_back_bit_for_bit),
        cmocka_unit_test(the_same_weights_give_the_same_bytes),
        cmocka_unit_test(new_values_come_back_in_their_slots),
        cmocka_unit_test(a_value_that_became_zero_keeps_its_slot),
        cmocka_unit_test(sparse_initializers_on_request),
        cmocka_unit_test(dense_initializers_on_request),
        cmocka_unit_test(sparse_and_back_is_the_same_weight),
        cmocka_unit_test(sixteen_bits_there_and_back),
        cmocka_unit_test(a_new_head_changes_shapes),
        cmocka_unit_test(targets_that_cannot_be_written),
        cmocka_unit_test(a_full_disk_leaves_the_old_file),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(a_weight_that_no_file_holds_is_refused),
        cmocka_unit_test(bad_arguments),
        cmocka_unit_test(real_models_come_back_bit_for_bit),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
