/* test_import.c - models that are right: weights and their patterns, constants, local functions,
 * the skeleton for export; and how little stack all of that takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx.pb-c.h"

#include "onnx/skeleton.h"
#include "runtime/base/pattern.h"
#include "tests/wire.h"

#define SHAPE(...)                                                                                 \
    sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]) { __VA_ARGS__ }

static struct counter counter;

static struct graph *import_wire(struct wire *w) {
    const struct import_options options = import_defaults(&counter);
    struct graph *g = NULL;
    ot_error err = {0};
    if (ot_import_buffer(w->p, w->n, &options, &g, &err)) fail_msg("%s", err.message);
    wire_free(w);
    return g;
}

static void release(struct graph *g) {
    ot_graph_free(g);
    assert_int_equal(counter.live, 0);
}

static const struct value *find(const struct graph *g, const char *name) {
    for (int i = 0; i < g->n_values; i++)
        if (!strcmp(g->value[i].name, name)) return &g->value[i];
    fail_msg("no value '%s'", name);
    return NULL;
}

static void finish(struct wire *w) {
    wire_value(w, 11, "x", OT_FLOAT, SHAPE(-1, 3));
    wire_value(w, 12, "y", OT_FLOAT, SHAPE(-1, 2));
    wire_close_model(w);
}

/* y = x * w by `op`, with w [3,2] or transposed [2,3]; one zero and one -0.0 among them. */
static struct graph *linear(const char *op, int trans_b, const float *value) {
    struct wire w = {0};
    wire_open_model(&w);
    wire_open_node(&w, op, "x w", "y");
    if (*op == 'G') wire_attr_int(&w, "transB", trans_b);
    wire_end(&w);
    wire_floats(&w, 5, "w", 2, trans_b ? (int64_t[]){2, 3} : (int64_t[]){3, 2}, value);
    finish(&w);
    return import_wire(&w);
}

static void assert_pattern(const struct tensor *t, bool transposed, const float *file, int64_t n) {
    float dense[64];
    assert_non_null(t->pattern);
    assert_int_equal(t->pattern->transposed, transposed);
    ot_pattern_scatter(t->pattern, t->data, dense);
    for (int64_t i = 0; i < n; i++) assert_true(dense[i] == file[i]);
}

static void test_orientation_of_weights(void **state) {
    (void)state;
    const float value[6] = {1, 0, -3, 4, -0.0f, 6};
    static const struct {
        const char *op;
        int trans_b;
        bool transposed;
    } uses[] = {{"MatMul", 0, true}, {"Gemm", 0, true}, {"Gemm", 1, false}};
    for (size_t i = 0; i < 3; i++) {
        struct graph *g = linear(uses[i].op, uses[i].trans_b, value);
        const struct tensor *t = find(g, "w")->constant;
        assert_pattern(t, uses[i].transposed, value, 6);
        assert_int_equal(t->pattern->nnz, 4);
        assert_int_equal(t->pattern->rows, 2);
        release(g);
    }
}

static void test_weight_without_zeros_is_dense(void **state) {
    (void)state;
    const float value[6] = {1, 2, -3, 4, NAN, 6};
    struct graph *g = linear("MatMul", 0, value);
    const struct tensor *t = find(g, "w")->constant;
    assert_null(t->pattern);
    assert_memory_equal(t->data, value, sizeof value);
    release(g);
}

static void test_convolution_and_shared_weight(void **state) {
    (void)state;
    const float value[8] = {0, 1, 2, 0, 0, 0, 3, 4};
    struct wire w = {0};
    wire_open_model(&w);
    wire_node(&w, "Identity", "w", "v");
    wire_node(&w, "Conv", "x v", "y");
    wire_node(&w, "Conv", "y w", "z");
    wire_floats(&w, 5, "w", SHAPE(2, 2, 2), value);
    finish(&w);
    struct graph *g = import_wire(&w);
    const struct value *v = find(g, "w");
    assert_int_equal(g->n_nodes, 2); /* the Identity is gone */
    assert_int_equal(g->node[0].in[1], (int)(v - g->value));
    assert_int_equal(g->node[1].in[1], (int)(v - g->value));
    assert_int_equal(v->constant->pattern->rows, 2);
    assert_int_equal(v->constant->pattern->cols, 4);
    assert_pattern(v->constant, false, value, 8);
    release(g);
}

/* S11: the slot of an explicit zero stays. */
static void put_sparse(struct wire *w, unsigned field, bool coordinates) {
    static const int64_t linear_index[3] = {1, 2, 5}, coo[6] = {0, 1, 1, 0, 2, 1};
    const float value[3] = {7, 0, 9};
    wire_begin(w, field);
    wire_floats(w, 1, "w", SHAPE(3), value);
    wire_open_tensor(w, 2, NULL, OT_INT64, coordinates ? 2 : 1, (int64_t[]){3, 2});
    if (coordinates)
        wire_bytes(w, 9, coo, sizeof coo);
    else
        wire_bytes(w, 9, linear_index, sizeof linear_index);
    wire_end(w);
    wire_int(w, 3, 3);
    wire_int(w, 3, 2);
    wire_end(w);
}

static void check_sparse(struct wire *w, enum value_spelling spelling, enum value_kind kind) {
    struct graph *g = import_wire(w);
    const struct value *v = find(g, "w");
    assert_int_equal(v->spelling, spelling);
    assert_int_equal(v->kind, kind);
    assert_true(v->exportable);
    assert_int_equal(v->constant->pattern->nnz, 3);
    assert_pattern(v->constant, true, (float[]){0, 7, 0, 0, 0, 9}, 6);
    release(g);
}

static void test_sparse_initializer_linear_and_coo(void **state) {
    (void)state;
    for (int coo = 0; coo < 2; coo++) {
        struct wire w = {0};
        wire_open_model(&w);
        put_sparse(&w, 15, coo);
        wire_node(&w, "MatMul", "x w", "y");
        finish(&w);
        check_sparse(&w, coo ? OT_SPELL_SPARSE_COO : OT_SPELL_SPARSE_LINEAR, OT_VALUE_INITIALIZER);
    }
}

static void test_constant_sparse_value(void **state) {
    (void)state;
    struct wire w = {0};
    wire_open_model(&w);
    wire_open_node(&w, "Constant", "", "w");
    wire_begin(&w, 5);
    wire_string(&w, 1, "sparse_value");
    put_sparse(&w, 22, false);
    wire_int(&w, 20, 11);
    wire_end(&w);
    wire_end(&w);
    wire_node(&w, "MatMul", "x w", "y");
    finish(&w);
    check_sparse(&w, OT_SPELL_SPARSE_LINEAR, OT_VALUE_CONSTANT);
}

/* S10: where no weight is asked for the tensor becomes dense. */
static void test_sparse_tensor_that_is_no_weight(void **state) {
    (void)state;
    struct wire w = {0};
    wire_open_model(&w);
    put_sparse(&w, 15, false);
    wire_node(&w, "Add", "x w", "y");
    finish(&w);
    struct graph *g = import_wire(&w);
    const struct tensor *t = find(g, "w")->constant;
    assert_null(t->pattern);
    assert_memory_equal(t->data, ((float[]){0, 7, 0, 0, 0, 9}), 6 * sizeof(float));
    release(g);
}

static void attr_float(struct wire *w, const char *name, float f) {
    wire_begin(w, 5);
    wire_string(w, 1, name);
    wire_float(w, 2, f);
    wire_int(w, 20, 1);
    wire_end(w);
}

static void test_constants_by_attribute(void **state) {
    (void)state;
    struct wire w = {0};
    wire_open_model(&w);
    wire_open_node(&w, "Constant", "", "f");
    attr_float(&w, "value_float", 2.5f);
    wire_end(&w);
    wire_open_node(&w, "Constant", "", "i");
    wire_attr_int(&w, "value_int", -7);
    wire_end(&w);
    wire_node(&w, "Op", "x f i", "y");
    finish(&w);
    struct graph *g = import_wire(&w);
    assert_int_equal(g->n_nodes, 1);
    assert_int_equal(g->file_nodes, 3);
    assert_int_equal(find(g, "f")->kind, OT_VALUE_CONSTANT);
    assert_int_equal(find(g, "f")->constant->rank, 0);
    assert_true(*(const float *)find(g, "f")->constant->data == 2.5f);
    assert_int_equal(*(const int64_t *)find(g, "i")->constant->data, -7);
    release(g);
}

/* An output that folding would take its name from keeps it. */
static void test_identity_of_a_weight_as_output(void **state) {
    (void)state;
    struct wire w = {0};
    wire_open_model(&w);
    wire_node(&w, "Identity", "w", "y");
    wire_floats(&w, 5, "w", SHAPE(2), (float[]){1, 2});
    finish(&w);
    struct graph *g = import_wire(&w);
    assert_int_equal(g->n_nodes, 1);
    assert_string_equal(g->value[g->output[0]].name, "y");
    assert_string_equal(g->value[g->node[0].in[0]].name, "w");
    release(g);
}

static void test_narrow_floats(void **state) {
    (void)state;
    static const uint16_t half[4] = {0x3c00, 0xc000, 0x0001, 0x7c00}; /* 1, -2, 2^-24, inf */
    static const uint16_t brain[4] = {0x3f80, 0xc000, 0x0000, 0x7f80};
    struct wire w = {0};
    wire_open_model(&w);
    wire_open_tensor(&w, 5, "h", OT_FLOAT16, SHAPE(4));
    wire_bytes(&w, 9, half, sizeof half);
    wire_end(&w);
    wire_open_tensor(&w, 5, "b", OT_BFLOAT16, SHAPE(4));
    for (int i = 0; i < 4; i++) wire_int(&w, 5, brain[i]); /* W15: unpacked */
    wire_end(&w);
    wire_node(&w, "Op", "x h b", "y");
    finish(&w);
    struct graph *g = import_wire(&w);
    const float *h = find(g, "h")->constant->data, *b = find(g, "b")->constant->data;
    assert_int_equal(find(g, "h")->type, OT_FLOAT16);
    assert_int_equal(find(g, "h")->constant->type, OT_FLOAT);
    assert_true(h[0] == 1 && h[1] == -2 && h[2] == 0x1p-24f && isinf(h[3]));
    assert_true(b[0] == 1 && b[1] == -2 && b[2] == 0 && isinf(b[3]));
    release(g);
}

/* ---- local functions ---- */

static void function_header(struct wire *w, const char *name) {
    wire_begin(w, 25);
    wire_string(w, 1, name);
    wire_string(w, 4, "a");
    wire_string(w, 5, "b");
    wire_string(w, 10, "f");
    for (int i = 0; i < 2; i++) {
        wire_begin(w, 9);
        if (i) wire_string(w, 1, "f");
        wire_int(w, 2, i ? 1 : 13);
        wire_end(w);
    }
}

static void body_node(struct wire *w, const char *domain, const char *op, const char *in,
                      const char *out) {
    wire_begin(w, 7);
    wire_string(w, 1, in);
    wire_string(w, 2, out);
    wire_string(w, 4, op);
    wire_string(w, 7, domain);
}

static void call(struct wire *w, const char *op, const char *in, const char *out, float alpha) {
    wire_open_node(w, op, in, out);
    wire_string(w, 7, "f");
    if (alpha != 0) attr_float(w, "slope", alpha);
    wire_end(w);
}

static void test_local_functions_are_inlined(void **state) {
    (void)state;
    struct wire w = {0};
    wire_begin(&w, 8);
    wire_string(&w, 1, "f");
    wire_int(&w, 2, 1);
    wire_end(&w);
    wire_open_model(&w);
    call(&w, "outer", "x", "m", 0.25f);
    call(&w, "outer", "m", "y", 0); /* the preset holds */
    finish(&w);
    function_header(&w, "outer"); /* b = Relu(inner(a)) with slope handed on */
    wire_begin(&w, 11);
    wire_string(&w, 1, "slope");
    wire_float(&w, 2, 0.5f);
    wire_int(&w, 20, 1);
    wire_end(&w);
    body_node(&w, "f", "inner", "a", "t");
    wire_begin(&w, 5);
    wire_string(&w, 1, "slope");
    wire_string(&w, 21, "slope");
    wire_int(&w, 20, 1);
    wire_end(&w);
    wire_end(&w);
    body_node(&w, "", "Relu", "t", "b");
    wire_end(&w);
    wire_end(&w);
    function_header(&w, "inner"); /* b = LeakyRelu(a), alpha = slope */
    wire_string(&w, 6, "slope");
    body_node(&w, "", "LeakyRelu", "a", "b");
    wire_begin(&w, 5);
    wire_string(&w, 1, "alpha");
    wire_string(&w, 21, "slope");
    wire_int(&w, 20, 1);
    wire_end(&w);
    wire_end(&w);
    wire_end(&w);
    struct graph *g = import_wire(&w);
    assert_int_equal(g->n_nodes, 4);
    static const char *const ops[] = {"LeakyRelu", "Relu", "LeakyRelu", "Relu"};
    for (int i = 0; i < 4; i++) {
        assert_string_equal(g->node[i].op_type, ops[i]);
        assert_int_equal(g->node[i].opset, 13);
        assert_int_equal(g->node[i].in[0], i ? g->node[i - 1].out[0] : g->input[0]);
    }
    assert_true(ot_attr_float(&g->node[0], "alpha", 0) == 0.25f);
    assert_true(ot_attr_float(&g->node[2], "alpha", 0) == 0.5f);
    assert_string_equal(g->value[g->node[1].out[0]].name, "m");
    assert_int_equal(g->node[3].out[0], g->output[0]);
    release(g);
}

/* ---- skeleton ---- */

static void test_skeleton(void **state) {
    (void)state;
    struct wire w = {0};
    wire_open_model(&w);
    wire_floats(&w, 5, "raw", SHAPE(2), (float[]){1, 2});
    wire_open_tensor(&w, 5, "typed", OT_FLOAT, SHAPE(1));
    wire_float(&w, 4, 3);
    wire_end(&w);
    wire_floats(&w, 5, "negative", SHAPE(3, 2), (float[]){1, -0.0f, 0, 4, 5, 6});
    wire_open_tensor(&w, 5, "shape", OT_INT64, SHAPE(1));
    wire_int(&w, 7, 5);
    wire_end(&w);
    wire_node(&w, "MatMul", "x negative", "y");
    finish(&w);
    wire_string(&w, 77, "a field from the future");
    struct graph *g = import_wire(&w);
    Onnx__ModelProto *m = onnx__model_proto__unpack(NULL, g->skeleton_bytes, g->skeleton);
    assert_non_null(m);
    assert_int_equal(m->base.n_unknown_fields, 1);
    Onnx__TensorProto *const *t = m->graph->initializer;
    assert_int_equal(t[0]->raw_data.len, 0);
    assert_string_equal(t[0]->external_data[0]->key, OT_CUT_KEY);
    assert_string_equal(t[0]->external_data[0]->value, "raw_data");
    assert_int_equal(t[1]->n_float_data, 0);
    assert_string_equal(t[1]->external_data[0]->value, "float_data");
    assert_int_equal(t[2]->raw_data.len, 0);
    for (int i = 0; i < g->n_values; i++) {
        const bool it = !strcmp(g->value[i].name, "negative");
        assert_int_equal(it, g->value[i].negative_zeros != NULL);
        if (it) assert_int_equal(*g->value[i].negative_zeros, 2); /* element 1 */
    }
    assert_int_equal(t[3]->n_int64_data, 1);
    onnx__model_proto__free_unpacked(m, NULL);
    release(g);
}

/* ---- truncation, stack, real models ---- */

static void test_W02_truncated_at_every_byte(void **state) {
    (void)state;
    struct wire w = {0};
    wire_open_model(&w);
    put_sparse(&w, 15, true);
    wire_open_node(&w, "MatMul", "x w", "y");
    wire_attr_int(&w, "a", 300);
    wire_end(&w);
    finish(&w);
    const struct import_options options = import_defaults(&counter);
    for (size_t n = 0; n < w.n; n++) {
        struct graph *g;
        ot_error err;
        uint8_t *cut = malloc(n ? n : 1);
        assert_non_null(cut);
        memcpy(cut, w.p, n);
        ot_status status = ot_import_buffer(cut, n, &options, &g, &err);
        assert_true(status == OT_ERROR_PARSE || status == OT_ERROR_INVALID);
        free(cut);
    }
    assert_int_equal(counter.live, 0);
    wire_free(&w);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STACK = 512 * 1024 }; /* sanitizers make frames several times larger */
#else
enum { STACK = 64 * 1024 };
#endif

struct task {
    struct wire wire;
    ot_status status;
};

static void *import_task(void *arg) {
    struct task *t = arg;
    struct counter c = {0};
    const struct import_options options = import_defaults(&c);
    struct graph *g = NULL;
    t->status = ot_import_buffer(t->wire.p, t->wire.n, &options, &g, NULL);
    ot_graph_free(g);
    return NULL;
}

static ot_status import_with_little_stack(struct wire *w) {
    struct task task = {*w, OT_ERROR_STATE};
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    assert_int_equal(pthread_attr_setstacksize(&attr, STACK), 0);
    assert_int_equal(pthread_create(&thread, &attr, import_task, &task), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
    wire_free(w);
    return task.status;
}

/* Subgraphs `levels` deep, in the deepest one an initializer and a nested type. */
static void nest(struct wire *w, int levels) {
    wire_open_model(w);
    wire_open_node(w, "If", "x", "y");
    for (int i = 0; i < levels; i++) {
        wire_begin(w, 5);
        wire_string(w, 1, "then_branch");
        wire_begin(w, 6);
        wire_string(w, 2, "g");
        wire_begin(w, 1);
        wire_string(w, 4, "If");
    }
    for (int i = 0; i < 3 * levels; i++) wire_end(w);
    wire_end(w);
    finish(w);
}

static void test_W07_depth_on_a_stack_of_64_KiB(void **state) {
    (void)state;
    for (int levels = 1; levels < 12; levels++) {
        struct wire w = {0};
        nest(&w, levels);
        assert_int_equal(import_with_little_stack(&w), levels <= 8 ? OT_OK : OT_ERROR_LIMIT);
    }
}

static int import_folder(const char *path) {
    DIR *d = opendir(path);
    int n = 0;
    assert_non_null(d);
    for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
        char file[1024];
        const char *dot = strrchr(e->d_name, '.');
        if (!dot || strcmp(dot, ".onnx") != 0) continue;
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        const struct import_options options = import_defaults(&counter);
        struct graph *g = NULL;
        ot_error err = {0};
        ot_status status = ot_import_file(file, &options, &g, &err);
        const bool refused = !strcmp(e->d_name, "sparse_to_dense_matmul.onnx");
        if (status && !refused) print_error("%s: %s\n", e->d_name, err.message);
        assert_int_equal(status, refused ? OT_ERROR_UNSUPPORTED : OT_OK);
        release(g);
        n++;
    }
    closedir(d);
    return n;
}

static void test_real_models(void **state) {
    (void)state;
    static const char *const folders[] = {"dense", "imagenet", "made", "pruned", "small"};
    const char *shared = getenv("OT_SHARED");
    int n = 0;
    if (!shared) skip();
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/models/%s", shared, folders[i]);
        n += import_folder(path);
    }
    assert_true(n > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orientation_of_weights),
        cmocka_unit_test(test_weight_without_zeros_is_dense),
        cmocka_unit_test(test_convolution_and_shared_weight),
        cmocka_unit_test(test_sparse_initializer_linear_and_coo),
        cmocka_unit_test(test_constant_sparse_value),
        cmocka_unit_test(test_sparse_tensor_that_is_no_weight),
        cmocka_unit_test(test_constants_by_attribute),
        cmocka_unit_test(test_identity_of_a_weight_as_output),
        cmocka_unit_test(test_narrow_floats),
        cmocka_unit_test(test_local_functions_are_inlined),
        cmocka_unit_test(test_skeleton),
        cmocka_unit_test(test_W02_truncated_at_every_byte),
        cmocka_unit_test(test_W07_depth_on_a_stack_of_64_KiB),
        cmocka_unit_test(test_real_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
