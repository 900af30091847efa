/* test_architectures.c - one step of whole architectures, as PyTorch's exporters write them,
 * against PyTorch in float64: the loss, and the gradient of every parameter. The archives in
 * tests/golden were made by tests/golden/make_architectures.py, which says what they hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/data.h"
#include "tools/zip.h"

/* Gradients are measured by the largest element of their tensor, or by LEAST of the largest of all
 * where one is zero but for rounding. */
static const double LOSS_LIMIT = 1e-4, GRADIENT_LIMIT = 1e-3, LEAST = 1e-3;

/* An archive, and a way to run what it holds. */
struct golden {
    const char *name, *mode, *isa;
    ot_sparse_mode sparse;
    struct zip *zip;
    ot_session *session;
};

#define FAIL(g, ...)                                                                              \
    do {                                                                                          \
        print_error("%s, %s, %s, sparse mode %d: ", (g)->name, (g)->mode, (g)->isa,               \
                    (int)(g)->sparse);                                                            \
        fail_msg(__VA_ARGS__);                                                                    \
    } while (0)

static void check(const struct golden *g, ot_status status, const ot_error *err) {
    if (status) FAIL(g, "%s: %s", ot_status_name(status), err->message);
}

static unsigned char *read_member(const struct golden *g, const char *member, size_t *size) {
    struct failure f;
    unsigned char *bytes = NULL;
    const int k = ot_zip_find(g->zip, member);
    if (k < 0) FAIL(g, "there is no %s", member);
    if (ot_zip_read(g->zip, k, &bytes, size, &f)) FAIL(g, "%s", f.text);
    return bytes;
}

static struct array read_array(const struct golden *g, const char *member) {
    struct failure f;
    struct array a = {0};
    size_t size;
    unsigned char *bytes = read_member(g, member, &size);
    if (ot_npy_parse(bytes, size, member, &a, &f)) FAIL(g, "%s", f.text);
    free(bytes);
    return a;
}

static ot_tensor view(const struct array *a) {
    ot_tensor t = {.type = a->type, .rank = a->rank, .data = a->data};
    memcpy(t.dim, a->dim, sizeof t.dim);
    return t;
}

static float *read_floats(const struct golden *g, int i, int64_t n,
                          ot_status (*read)(const ot_session *, int, float *, ot_error *)) {
    ot_error err;
    float *v = malloc((size_t)n * sizeof *v);
    assert_non_null(v);
    check(g, read(g->session, i, v, &err), &err);
    return v;
}

/* Zeros that are structure have no gradient. */
static void compare_gradient(const struct golden *g, int i, const ot_parameter_info *info,
                             const float *wanted, double largest) {
    float *got = read_floats(g, i, info->elements, ot_get_gradient);
    float *value = read_floats(g, i, info->elements, ot_read_parameter);
    double scale = LEAST * largest, worst = 0;
    for (int64_t k = 0; k < info->elements; k++) {
        const bool slot = !info->has_pattern || value[k] != 0;
        const double error = fabs(got[k] - (slot ? wanted[k] : 0.0));
        scale = fmax(scale, fabs(wanted[k]));
        worst = error <= worst ? worst : error; /* NaN is worse than all */
    }
    if (!(worst <= GRADIENT_LIMIT * scale))
        FAIL(g, "gradient of %s is off by %g of %g", info->name, worst, scale);
    free(value);
    free(got);
}

/* What the file holds beyond PyTorch's parameters, exporters have computed. Sparse kernels run
 * where they are asked for, and only there. */
static void compare_gradients(const struct golden *g, int wanted, double largest) {
    int found = 0, sparse = 0;
    for (int i = 0; i < ot_parameter_count(g->session); i++) {
        char member[256];
        ot_parameter_info info;
        ot_error err;
        check(g, ot_get_parameter(g->session, i, &info, &err), &err);
        snprintf(member, sizeof member, "%s/gradient/%s.npy", g->mode, info.name);
        if (ot_zip_find(g->zip, member) < 0) continue;
        struct array a = read_array(g, member);
        assert_int_equal(a.rank, info.rank);
        assert_memory_equal(a.dim, info.dim, (size_t)a.rank * sizeof *a.dim);
        compare_gradient(g, i, &info, a.data, largest);
        free(a.data);
        sparse += info.is_sparse != 0;
        found++;
    }
    if (found != wanted) FAIL(g, "%d parameters, not %d", found, wanted);
    if (g->sparse != OT_SPARSE_AUTO && !sparse != (g->sparse == OT_SPARSE_NEVER))
        FAIL(g, "%d weights with sparse kernels", sparse);
}

static void one_step(struct golden *g) {
    const ot_options options = {.threads = 2, .isa = g->isa, .sparse = g->sparse,
                                .bn = strcmp(g->mode, "train") ? OT_BN_AFFINE : OT_BN_TRAIN};
    char member[32];
    size_t size;
    ot_error err;
    ot_result result;
    unsigned char *model = read_member(g, "model.onnx", &size);
    check(g, ot_open_buffer(model, size, &options, &g->session, &err), &err);
    snprintf(member, sizeof member, "%s/summary.npy", g->mode);
    struct array x = read_array(g, "x.npy"), y = read_array(g, "y.npy");
    struct array summary = read_array(g, member);
    const float *wanted = summary.data;
    const ot_tensor input = view(&x), target = view(&y);
    const ot_loss_options loss = {.kind = y.type == OT_FLOAT ? OT_LOSS_MSE
                                                             : OT_LOSS_CROSS_ENTROPY};
    const ot_optimizer_options sgd = {.kind = OT_SGD};
    check(g, ot_set_loss(g->session, &loss, &err), &err);
    check(g, ot_set_optimizer(g->session, &sgd, &err), &err);
    check(g, ot_train_step(g->session, &input, 1, &target, &result, &err), &err);
    if (!(fabs(result.loss - wanted[0]) <= LOSS_LIMIT * wanted[0]))
        FAIL(g, "loss %.9g, PyTorch has %.9g", result.loss, wanted[0]);
    compare_gradients(g, (int)wanted[1], wanted[2]);
    ot_close(g->session);
    free(summary.data);
    free(y.data);
    free(x.data);
    free(model);
}

static void test_architecture(void **state) {
    struct golden g = {.name = *state};
    struct failure f;
    char path[1024];
    snprintf(path, sizeof path, "%s/golden/%s.zip", OT_TESTS_DIR, g.name);
    if (ot_zip_open(path, &g.zip, &f)) fail_msg("%s", f.text);
    const bool has_bn = ot_zip_find(g.zip, "train/summary.npy") >= 0;
    for (int i = 0; (g.isa = ot_isa_name(i)); i++)
        for (int sparse = OT_SPARSE_AUTO; sparse <= OT_SPARSE_NEVER; sparse++) {
            g.sparse = (ot_sparse_mode)sparse;
            g.mode = "affine";
            one_step(&g);
            g.mode = "train";
            if (has_bn) one_step(&g);
        }
    ot_zip_close(g.zip);
}

int main(void) {
    static char *const names[] = {
        "resnet_basic", "resnet_bottleneck", "densenet", "mobilenet_v1", "mobilenet_v2",
        "mobilenet_v3", "efficientnet", "convnext", "vit", "swin", "bert", "distilbert", "roberta",
        "gpt2", "t5_encoder", "lstm", "gru", "unet", "yolo"};
    enum { COUNT = sizeof names / sizeof *names };
    struct CMUnitTest tests[COUNT];
    for (int i = 0; i < COUNT; i++)
        tests[i] = (struct CMUnitTest){names[i], test_architecture, NULL, NULL, names[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
