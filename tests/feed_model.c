/* feed_model.c - the models of test_feed.c. */
#include "tests/feed_model.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/base/rng.h"
#include "tests/model.h"

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})
enum { MOST = 64 };

static void weight(struct test_model *m, const char *name, int64_t rows, int64_t columns) {
    float w[MOST];
    for (int64_t i = 0; i < rows * columns; i++) w[i] = ot_random_normal(7, 1, (uint64_t)i);
    model_floats(m, name, 2, DIMS(rows, columns), w);
}

static void finish(struct test_model *m, const char *path) {
    size_t size;
    unsigned char *bytes = model_finish(m, &size);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) abort();
    free(bytes);
}

void feed_model(const char *path, int64_t classes, const char *tail) {
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, FEED_IN));
    weight(&m, "w", FEED_IN, classes);
    model_node(&m, "MatMul", "x w", *tail ? "z" : "y", "");
    if (*tail) model_node(&m, tail, "z", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, classes));
    finish(&m, path);
}

void feed_language_model(const char *path, int64_t words) {
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_INT64, 2, DIMS(-1, -1));
    weight(&m, "table", words, FEED_IN);
    weight(&m, "head", FEED_IN, words);
    model_node(&m, "Gather", "table x", "e", "");
    model_node(&m, "MatMul", "e head", "y", "");
    model_output(&m, "y", OT_FLOAT, 3, DIMS(-1, -1, words));
    finish(&m, path);
}
