/* test_architectures.c - one step of whole architectures, as PyTorch's exporters write them,
 * against PyTorch in float64: the loss, and the gradient of every parameter; and which operators
 * stand for several nodes in the plan of each. The archives in tests/golden were made by
 * tests/golden/make_architectures.py, which says what they hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/data/data.h"
#include "tools/data/zip.h"

/* Gradients are measured by the largest element of their tensor, or by LEAST of the largest of all
 * where one is zero but for rounding. */
static const double LOSS_LIMIT = 1e-4, GRADIENT_LIMIT = 1e-3, LEAST = 1e-3;

/* What is spelled as several nodes: operators, and rotary embeddings within attention. */
enum kind {
    ATTENTION,
    LAYER_NORM,
    RMS_NORM,
    GELU,
    SWISH,
    HARD_SWISH,
    SWIGLU,
    GATE,
    LINEAR,
    ROTARY,
    KINDS
};
static const char *const kind_names[KINDS] = {[ATTENTION] = "ScaledAttention",
                                              [LAYER_NORM] = "LayerNormalization",
                                              [RMS_NORM] = "RMSNormalization",
                                              [GELU] = "Gelu",
                                              [SWISH] = "Swish",
                                              [HARD_SWISH] = "HardSwish",
                                              [SWIGLU] = "SwiGLU",
                                              [GATE] = "Gate",
                                              [LINEAR] = "Linear",
                                              [ROTARY] = "rotary embeddings"};

/* An architecture, and how many of each kind run forward in its plan. An activation that runs with
 * the BatchNormalization before it counts too. */
struct architecture {
    const char *name;
    int count[KINDS];
};

/* An archive, and a way to run what it holds. */
struct golden {
    const char *name, *mode, *isa;
    ot_sparse_mode sparse;
    const int *kinds;
    struct zip *zip;
    ot_session *session;
};

#define FAIL(g, ...)                                                                               \
    do {                                                                                           \
        print_error("%s, %s, %s, sparse mode %d: ", (g)->name, (g)->mode, (g)->isa,                \
                    (int)(g)->sparse);                                                             \
        fail_msg(__VA_ARGS__);                                                                     \
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

static void count_kind(void *context, const ot_profile_step *step) {
    int *count = context;
    const char *plus = strchr(step->op, '+'), *op = plus ? plus + 1 : step->op;
    for (int k = 0; k < KINDS && !strcmp(step->what, "forward"); k++)
        count[k] += !strcmp(op, kind_names[k]);
}

static void count_rotary(void *context, const char *line) {
    int *count = context, n;
    if (strstr(line, kind_names[ROTARY]) && sscanf(line, "recognised: %d", &n) == 1)
        count[ROTARY] += n;
}

static void compare_kinds(const struct golden *g) {
    int count[KINDS] = {0};
    ot_error err;
    check(g, ot_get_profile(g->session, count_kind, count, &err), &err);
    check(g, ot_print_plan(g->session, count_rotary, count, &err), &err);
    for (int k = 0; k < KINDS; k++)
        if (count[k] != g->kinds[k])
            FAIL(g, "the plan has %d %s, not %d", count[k], kind_names[k], g->kinds[k]);
}

/* x.npy, and x2.npy where there are two; returns how many. */
static int read_inputs(const struct golden *g, struct array x[2]) {
    const int n = ot_zip_find(g->zip, "x2.npy") >= 0 ? 2 : 1;
    x[0] = read_array(g, "x.npy");
    x[1] = n > 1 ? read_array(g, "x2.npy") : (struct array){0};
    return n;
}

static void one_step(struct golden *g) {
    const ot_options options = {.threads = 2,
                                .isa = g->isa,
                                .sparse = g->sparse,
                                .bn = strcmp(g->mode, "train") ? OT_BN_AFFINE : OT_BN_TRAIN};
    char member[32];
    size_t size;
    ot_error err;
    ot_result result;
    unsigned char *model = read_member(g, "model.onnx", &size);
    check(g, ot_open_buffer(model, size, &options, &g->session, &err), &err);
    snprintf(member, sizeof member, "%s/summary.npy", g->mode);
    struct array x[2], y = read_array(g, "y.npy"), summary = read_array(g, member);
    const int n_inputs = read_inputs(g, x);
    const float *wanted = summary.data;
    const ot_tensor input[] = {view(&x[0]), view(&x[1])}, target = view(&y);
    const ot_loss_options loss = {.kind = y.type == OT_FLOAT ? OT_LOSS_MSE : OT_LOSS_CROSS_ENTROPY};
    const ot_optimizer_options sgd = {.kind = OT_SGD};
    check(g, ot_set_loss(g->session, &loss, &err), &err);
    check(g, ot_set_optimizer(g->session, &sgd, &err), &err);
    check(g, ot_train_step(g->session, input, n_inputs, &target, &result, &err), &err);
    if (!(fabs(result.loss - wanted[0]) <= LOSS_LIMIT * wanted[0]))
        FAIL(g, "loss %.9g, PyTorch has %.9g", result.loss, wanted[0]);
    compare_gradients(g, (int)wanted[1], wanted[2]);
    compare_kinds(g);
    ot_close(g->session);
    free(summary.data);
    free(y.data);
    free(x[0].data);
    free(x[1].data);
    free(model);
}

static void test_architecture(void **state) {
    const struct architecture *a = *state;
    struct golden g = {.name = a->name, .kinds = a->count};
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

static struct architecture architectures[] = {
    {"resnet_basic", {0}},
    {"resnet_bottleneck", {0}},
    {"densenet", {0}},
    {"mobilenet_v1", {0}},
    {"mobilenet_v2", {0}},
    {"mobilenet_v3", {[HARD_SWISH] = 5, [GATE] = 2}},
    {"efficientnet", {[SWISH] = 10, [GATE] = 3}},
    {"convnext", {[LAYER_NORM] = 5, [GELU] = 2, [LINEAR] = 4}},
    {"vit", {[ATTENTION] = 1, [LAYER_NORM] = 3, [GELU] = 1, [LINEAR] = 3}},
    {"swin", {[ATTENTION] = 2, [LAYER_NORM] = 7, [GELU] = 2, [LINEAR] = 8}},
    {"bert", {[ATTENTION] = 1, [LAYER_NORM] = 3, [GELU] = 1, [LINEAR] = 6}},
    {"distilbert", {[ATTENTION] = 1, [LAYER_NORM] = 3, [GELU] = 1, [LINEAR] = 6}},
    {"roberta", {[ATTENTION] = 1, [LAYER_NORM] = 3, [GELU] = 1, [LINEAR] = 6}},
    {"gpt2", {[ATTENTION] = 1, [LAYER_NORM] = 3, [GELU] = 1}},
    {"t5_encoder", {[ATTENTION] = 1, [RMS_NORM] = 3}},
    {"llama", {[ATTENTION] = 1, [RMS_NORM] = 3, [SWIGLU] = 1, [ROTARY] = 2}},
    {"whisper", {[ATTENTION] = 1, [LAYER_NORM] = 3, [GELU] = 3, [LINEAR] = 5}},
    {"clip_text", {[ATTENTION] = 1, [LAYER_NORM] = 3, [SWISH] = 1, [LINEAR] = 6}},
    {"diffusion", {[ATTENTION] = 2, [LAYER_NORM] = 3, [GATE] = 1, [LINEAR] = 6}},
    {"lstm", {0}},
    {"gru", {0}},
    {"unet", {0}},
    {"yolo", {[SWISH] = 10}},
};

int main(void) {
    enum { COUNT = sizeof architectures / sizeof *architectures };
    struct CMUnitTest tests[COUNT];
    for (int i = 0; i < COUNT; i++)
        tests[i] = (struct CMUnitTest){architectures[i].name, test_architecture, NULL, NULL,
                                       &architectures[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
