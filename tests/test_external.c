/* test_external.c - models whose data stand in another file go out as a pair of files, which a
 * crash between any two steps leaves whole. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "onnx/import.h"
#include "runtime/base/pattern.h"
#include "tests/export_case.h"

/* ---- the process is killed in place of the n-th call that changes a name ---- */

static int calls, kill_at, fail_at;

static bool is_refused(void) {
    if (++calls == kill_at) kill(getpid(), SIGKILL);
    return calls == fail_at;
}

/* In place of the C library's. */
int rename(const char *from, const char *to) {
    return is_refused() ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path) {
    return is_refused() ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* ---- a model with data in "weights.bin" ---- */

static const float dense[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
static const float pruned[12] = {1, 0, -2, 0, 0.5f, 0, 0, -0.0f, 3e-40f, 0, 7, 0};
static const uint16_t half[12] = {0x3c00, 0, 1, 0xfbff, 0, 0x8001, 0x7bff, 0, 0x3555, 0, 0, 1};
static const double wide[12] = {0.1, 0, 1.0 / 3, 0, 1e-300, 0, 2, 0, 0, 0, 0, -5};
static const int64_t shape[2] = {-1, 3};

static struct {
    const char *name;
    int type;
    int64_t rows, cols;
    const void *bytes;
    size_t size;
} const tensors[] = {
    {"w_dense", OT_FLOAT, 4, 3, dense, sizeof dense},
    {"w_pruned", OT_FLOAT, 3, 4, pruned, sizeof pruned},
    {"w_half", OT_FLOAT16, 4, 3, half, sizeof half},
    {"w_double", OT_DOUBLE, 3, 4, wide, sizeof wide},
    {"shape", OT_INT64, 2, 0, shape, sizeof shape},
};
enum { TENSORS = sizeof tensors / sizeof *tensors };

static void add_entry(Onnx__TensorProto *t, int i, const char *key, const char *value) {
    t->external_data[i] = zeroed(1, sizeof **t->external_data);
    onnx__string_string_entry_proto__init(t->external_data[i]);
    t->external_data[i]->key = text(key);
    t->external_data[i]->value = text(value);
}

static const char *path_of(const char *name) {
    static char path[2][512];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", test_folder(), name);
    return path[turn];
}

static void write_file(const char *path, const void *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* x [N,4] -> y [N,3], in in.onnx and weights.bin */
static void write_sample(void) {
    Onnx__ModelProto *m = new_model(8, 13);
    char data[512] = {0}, number[24];
    size_t at = 0;
    add_input(m, "x", -1, 4);
    add_output(m, "y", -1, 3);
    for (int i = 0; i < TENSORS; i++) {
        Onnx__TensorProto *t = add_initializer(m, tensors[i].name);
        set_dims(t, tensors[i].rows, tensors[i].cols);
        t->has_data_type = t->has_data_location = 1;
        t->data_type = tensors[i].type;
        t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
        t->external_data = zeroed(3, sizeof *t->external_data);
        t->n_external_data = 3;
        add_entry(t, 0, "location", "weights.bin");
        snprintf(number, sizeof number, "%zu", at);
        add_entry(t, 1, "offset", number);
        snprintf(number, sizeof number, "%zu", tensors[i].size);
        add_entry(t, 2, "length", number);
        memcpy(data + at, tensors[i].bytes, tensors[i].size);
        at += tensors[i].size;
    }
    add_raw(m, "inside", OT_FLOAT, 3, 0, dense, 12);
    add_node(m, "MatMul", "x w_dense", "a");
    add_node(m, "MatMul", "a w_pruned", "b");
    add_node(m, "MatMul", "b w_half", "c");
    add_node(m, "MatMul", "c w_double", "d");
    add_node(m, "MatMul", "d w_dense", "e");
    add_node(m, "Reshape", "e shape", "f");
    add_node(m, "Add", "f inside", "y");
    struct bytes b = pack_built(m);
    write_file(path_of("in.onnx"), b.data, b.size);
    write_file(path_of("weights.bin"), data, at);
    free(b.data);
}

static struct graph *import_path(const char *path) {
    struct import_options o = {.limits = {INT32_MAX, 1000, (uint64_t)1 << 40, (uint64_t)1 << 34}};
    struct graph *g = NULL;
    ot_error err = {0};
    if (ot_import_file(path, &o, &g, &err)) fail_msg("%s: %s", path, err.message);
    return g;
}

static struct graph *sample_graph(void) {
    write_sample();
    struct graph *g = import_path(path_of("in.onnx"));
    remove(path_of("in.onnx"));
    remove(path_of("weights.bin"));
    return g;
}

static const struct tensor *constant(const struct graph *g, const char *name) {
    return g->value[value_named(g, name)].constant;
}

/* Names in the folder that contain `part`; the last of them in *found. */
static int count_files(const char *part, char found[256]) {
    int n = 0;
    DIR *d = opendir(test_folder());
    for (const struct dirent *e; (e = readdir(d));) {
        if (*e->d_name == '.' || !strstr(e->d_name, part)) continue;
        if (found) snprintf(found, 256, "%s", e->d_name);
        n++;
    }
    closedir(d);
    return n;
}

static void clear_folder(void) {
    char name[256];
    while (count_files("", name)) assert_int_equal(remove(path_of(name)), 0);
}

static uint64_t entry(const Onnx__TensorProto *t, const char *key) {
    for (size_t i = 0; i < t->n_external_data; i++)
        if (!strcmp(t->external_data[i]->key, key))
            return strtoull(t->external_data[i]->value, NULL, 10);
    fail_msg("%s has no %s", t->name, key);
    return 0;
}

/* ---- what is written ---- */

static void what_was_outside_is_outside_again(void **state) {
    (void)state;
    struct graph *g = sample_graph();
    struct export_request r = {0};
    ot_error err = {0};
    char name[256];
    if (ot_export_file(g, &r, target(), &err)) fail_msg("%s", err.message);
    assert_int_equal(count_files("", NULL), 2);
    assert_int_equal(count_files(".data", name), 1);
    struct bytes b = slurp(target()), data = slurp(path_of(name));
    Onnx__ModelProto *m = unpack(b);
    for (int i = 0; i < TENSORS; i++) {
        const Onnx__TensorProto *t = initializer(m, tensors[i].name);
        assert_int_equal(t->data_location, ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL);
        assert_string_equal(t->external_data[0]->value, name);
        assert_false(t->has_raw_data);
        assert_int_equal(entry(t, "length"), tensors[i].size);
        assert_int_equal(entry(t, "offset") % 64, 0);
        assert_memory_equal(data.data + entry(t, "offset"), tensors[i].bytes, tensors[i].size);
    }
    assert_true(initializer(m, "inside")->has_raw_data);
    onnx__model_proto__free_unpacked(m, NULL);
    struct graph *h = import_path(target());
    ot_graph_free(h);
    ot_graph_free(g);
    free(b.data);
    free(data.data);
    clear_folder();
}

/* A pattern becomes dense bytes in pieces, in both orientations; rows longer than a piece, too. */
static void patterns_come_out_in_pieces(void **state) {
    (void)state;
    static const int64_t sizes[][2] = {{3000, 700}, {700, 3000}, {2, 1300000}, {1300000, 2}};
    for (int i = 0; i < 8; i++) {
        const int64_t rows = sizes[i / 2][0], cols = sizes[i / 2][1];
        float *w = zeroed((size_t)(rows * cols), sizeof *w);
        for (int64_t k = 0; k < rows * cols; k += 1 + k % 37) w[k] = (float)(k % 1000) - 500;
        Onnx__ModelProto *m = new_model(8, 13);
        add_input(m, "x", -1, i % 2 ? rows : cols);
        add_output(m, "y", -1, i % 2 ? cols : rows);
        add_raw(m, "w", OT_FLOAT, rows, cols, w, (size_t)(rows * cols) * sizeof *w);
        add_int(add_node(m, "Gemm", "x w", "y"), "transB", !(i % 2));
        struct bytes in = pack_built(m);
        struct graph *g = import_bytes(in);
        const struct tensor *t = constant(g, "w");
        assert_non_null(t->pattern);
        assert_int_equal(t->pattern->transposed, i % 2);
        struct export_request r = {0};
        struct bytes out = export_graph(g, &r);
        assert_same(out, in, "pieces");
        free(out.data);
        ot_graph_free(g);
        free(in.data);
        free(w);
    }
}

/* ---- a crash ---- */

/* The value of w_dense[0] that the model at the path has, all of it readable. */
static float served(void) {
    struct graph *g = import_path(target());
    const float value = *(const float *)constant(g, "w_dense")->data;
    assert_non_null(constant(g, "w_pruned")->pattern);
    ot_graph_free(g);
    return value;
}

static ot_status export_with(struct graph *g, float first, ot_error *err) {
    const int v = value_named(g, "w_dense");
    const struct tensor **present = zeroed((size_t)g->n_values, sizeof *present);
    struct tensor t = *g->value[v].constant;
    float value[12];
    memcpy(value, t.data, sizeof value);
    value[0] = first;
    t.data = value;
    present[v] = &t;
    struct export_request r = {.present = present};
    const ot_status status = ot_export_file(g, &r, target(), err);
    free(present);
    return status;
}

/* Of the names that change (data file, model, old data file), none does, one, two, or all. */
static void a_crash_leaves_the_old_pair_or_the_new_one(void **state) {
    (void)state;
    struct graph *g = sample_graph();
    ot_error err = {0};
    for (int n = 1; n <= 4; n++) {
        assert_int_equal(export_with(g, 100, &err), OT_OK);
        const pid_t child = fork();
        if (!child) {
            calls = 0;
            kill_at = n;
            _exit(export_with(g, 200, &err) ? 1 : 0);
        }
        int how;
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_int_equal(WIFSIGNALED(how), n < 4);
        assert_true(served() == (n < 3 ? 100 : 200));
        assert_int_equal(export_with(g, 300, &err), OT_OK);
        assert_true(served() == 300);
        clear_folder();
    }
    ot_graph_free(g);
}

static void the_old_data_file_goes_with_the_old_model(void **state) {
    (void)state;
    struct graph *g = sample_graph();
    ot_error err = {0};
    write_file(path_of("out.onnx.data"), "x", 1);                  /* not ours */
    write_file(path_of("out.onnx.00000000000000ff.data"), "x", 1); /* of no model that we know */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(export_with(g, (float)i + 1, &err), OT_OK);
        assert_int_equal(count_files("", NULL), 4);
        assert_true(served() == (float)i + 1);
    }
    assert_int_equal(export_with(g, 3, &err), OT_OK); /* the same again: the same name */
    assert_int_equal(count_files("", NULL), 4);
    clear_folder();
    ot_graph_free(g);
}

/* A rename that fails leaves the old pair, and nothing else. */
static void a_failure_leaves_the_old_pair(void **state) {
    (void)state;
    struct graph *g = sample_graph();
    ot_error err = {0};
    for (int n = 1; n <= 2; n++) {
        assert_int_equal(export_with(g, 100, &err), OT_OK);
        calls = 0;
        fail_at = n;
        assert_int_equal(export_with(g, 200, &err), OT_ERROR_IO);
        fail_at = 0;
        assert_int_equal(count_files("", NULL), 2);
        assert_true(served() == 100);
        clear_folder();
    }
    ot_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_outside_is_outside_again),
        cmocka_unit_test(patterns_come_out_in_pieces),
        cmocka_unit_test(a_crash_leaves_the_old_pair_or_the_new_one),
        cmocka_unit_test(the_old_data_file_goes_with_the_old_model),
        cmocka_unit_test(a_failure_leaves_the_old_pair),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
