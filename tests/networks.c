/* networks.c - two small networks, and sessions that train them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/rng.h"
#include "tests/networks.h"

void network_floats(float *v, size_t n, uint64_t stream, double density) {
    for (size_t i = 0; i < n; i++) {
        bool kept = ot_random_float(3, stream, i) < density;
        v[i] = kept ? 0.3f * ot_random_normal(4, stream, i) : 0;
    }
}

void network_weight(struct test_model *m, const char *name, int rank, const int64_t *dim,
                    double density) {
    float v[4096];
    size_t n = 1;
    for (int i = 0; i < rank; i++) n *= (size_t)dim[i];
    network_floats(v, n, strlen(name) * 131u + (uint64_t)name[0] + (uint64_t)name[1] * 7, density);
    model_floats(m, name, rank, dim, v);
}

unsigned char *network_mlp(size_t *size) {
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 12));
    network_weight(&m, "w1", 2, DIMS(20, 12), 0.2);
    network_weight(&m, "b1", 1, DIMS(20), 1);
    network_weight(&m, "w2", 2, DIMS(20, 20), 0.15);
    network_weight(&m, "w3", 2, DIMS(20, CLASSES), 0.3);
    network_weight(&m, "b3", 1, DIMS(CLASSES), 1);
    model_node(&m, "Gemm", "x w1 b1", "h1", "transB=1");
    model_node(&m, "Tanh", "h1", "a1", "");
    model_node(&m, "MatMul", "a1 w2", "h2", "");
    model_node(&m, "MatMul", "h2 w2", "h3", "");
    model_node(&m, "Add", "h3 a1", "s", "");
    model_node(&m, "Sigmoid", "s", "a3", "");
    model_node(&m, "Gemm", "a3 w3 b3", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, CLASSES));
    return model_finish(&m, size);
}

unsigned char *network_cnn(size_t *size) {
    struct test_model m;
    model_begin(&m, 15);
    model_input(&m, "x", OT_FLOAT, 4, DIMS(-1, 3, 8, 8));
    network_weight(&m, "c1", 4, DIMS(8, 3, 3, 3), 1);
    network_weight(&m, "c2", 4, DIMS(8, 8, 3, 3), 0.2);
    network_weight(&m, "c3", 4, DIMS(8, 8, 3, 3), 0.2);
    network_weight(&m, "fc", 2, DIMS(CLASSES, 8), 1);
    network_weight(&m, "fb", 1, DIMS(CLASSES), 1);
    const float one[8] = {1, 1, 1, 1, 1, 1, 1, 1}, zero[8] = {0};
    const char *const stats[] = {"g1", "v1", "g2", "v2", "z1", "m1", "z2", "m2"};
    for (int i = 0; i < 8; i++) model_floats(&m, stats[i], 1, DIMS(8), i < 4 ? one : zero);
    model_node(&m, "Conv", "x c1", "h1", "kernel_shape=3,3 pads=1,1,1,1");
    model_node(&m, "BatchNormalization", "h1 g1 z1 m1 v1", "n1 nm1 nv1", "training_mode=1");
    model_node(&m, "Relu", "n1", "a1", "");
    model_node(&m, "Conv", "a1 c2", "h2", "kernel_shape=3,3 pads=1,1,1,1");
    model_node(&m, "BatchNormalization", "h2 g2 z2 m2 v2", "n2 nm2 nv2", "training_mode=1");
    model_node(&m, "Add", "n2 a1", "s", "");
    model_node(&m, "Conv", "s c3", "h3", "kernel_shape=3,3 pads=1,1,1,1 strides=2,2");
    model_node(&m, "GlobalAveragePool", "h3", "p", "");
    model_node(&m, "Flatten", "p", "f", "");
    model_node(&m, "Gemm", "f fc fb", "y", "transB=1");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, CLASSES));
    return model_finish(&m, size);
}

ot_status fixture_try(struct fixture *f, make_fn *make, const ot_options *o, ot_error *err) {
    size_t size;
    unsigned char *file = make(&size);
    ot_status status = ot_open_buffer(file, size, o, &f->s, err);
    free(file);
    if (status) return status;
    ot_value_info info;
    ot_get_input(f->s, 0, &info, NULL);
    f->in = (ot_tensor){.type = OT_FLOAT, .rank = info.rank, .data = f->x};
    memcpy(f->in.dim, info.dim, sizeof f->in.dim);
    f->in.dim[0] = BATCH;
    f->target = (ot_tensor){.type = OT_INT64, .rank = 1, .dim = {BATCH}, .data = f->label};
    network_floats(f->x, sizeof f->x / sizeof *f->x, 99, 1);
    for (int i = 0; i < MOST_BATCH; i++) f->label[i] = i * 3 % CLASSES;
    return OT_OK;
}

void fixture_open(struct fixture *f, make_fn *make, const ot_options *o) {
    ot_error err = {OT_OK, ""};
    if (fixture_try(f, make, o, &err)) fail_msg("%s", err.message);
    const ot_optimizer_options sgd = {.lr = 0.05f, .momentum = 0.9f};
    assert_int_equal(ot_set_optimizer(f->s, &sgd, NULL), OT_OK);
}

double fixture_train(struct fixture *f) {
    ot_error err = {OT_OK, ""};
    ot_result r;
    if (ot_train_step(f->s, &f->in, 1, &f->target, &r, &err)) fail_msg("%s", err.message);
    return r.loss;
}
