/* suite_case.c - writes cases of a backend test suite. */
#include "tests/suite_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/half.h"
#include "tests/model.h"

enum { MOST = 8, LINE = 256 };

static void write_file(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_true(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

/* A TensorProto of shape [1, n, parts], in floats or halves. */
static void write_tensor(const char *path, int type, int n, int parts, const float *values) {
    struct wire w = {0};
    uint16_t half[MOST];
    const int count = n * parts;
    for (int i = 0; i < count; i++)
        half[i] =
            type == OT_FLOAT16 ? ot_float16_of_float(values[i]) : ot_bfloat16_of_float(values[i]);
    wire_int(&w, 1, 1);
    wire_int(&w, 1, n);
    wire_int(&w, 1, parts);
    wire_int(&w, 2, type);
    if (type == OT_FLOAT)
        wire_bytes(&w, 9, values, (size_t)count * sizeof *values);
    else
        wire_bytes(&w, 9, half, (size_t)count * sizeof *half);
    write_file(path, w.p, w.n);
    wire_free(&w);
}

/* nodes: "Op|inputs|outputs|attributes", separated by ';', from x to y. */
static void write_model(const char *path, int type, int n, const char *nodes) {
    const int64_t dim[] = {1, n, 1};
    char copy[LINE], *rest = NULL;
    struct test_model m;
    size_t size;
    model_begin(&m, 24);
    model_input(&m, "x", type, 3, dim);
    model_output(&m, "y", type, -1, NULL);
    snprintf(copy, sizeof copy, "%s", nodes);
    for (char *s = strtok_r(copy, ";", &rest); s; s = strtok_r(NULL, ";", &rest)) {
        char *part[4], *more = NULL;
        for (int i = 0; i < 4; i++) part[i] = strtok_r(i ? NULL : s, "|", &more);
        model_node(&m, part[0], part[1], part[2], part[3] ? part[3] : "");
    }
    unsigned char *bytes = model_finish(&m, &size);
    write_file(path, bytes, size);
    free(bytes);
}

static const char *const files[] = {"model.onnx", "test_data_set_0/input_0.pb",
                                    "test_data_set_0/output_0.pb"};
enum { MODEL, INPUT, OUTPUT, FILES };

void suite_case_write(const char *folder, const char *nodes, int type, int n, const float *x,
                      int parts, const float *y) {
    char path[FILES][LINE], set[LINE];
    snprintf(set, sizeof set, "%s/test_data_set_0", folder);
    assert_int_equal(mkdir(set, 0700), 0);
    for (int i = 0; i < FILES; i++) snprintf(path[i], sizeof path[i], "%s/%s", folder, files[i]);
    write_model(path[MODEL], type, n, nodes);
    write_tensor(path[INPUT], type, n, 1, x);
    write_tensor(path[OUTPUT], type, n, parts, y);
}

void suite_case_remove(const char *folder) {
    char path[LINE];
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/test_data_set_0", folder);
    rmdir(path);
}
