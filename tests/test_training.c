/* test_training.c - training_info: models that say how they are trained against the reference in
 * tests/golden/training; what export writes, read again; algorithms that must be refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/onnxtrain.h"
#include "tests/counter.h"
#include "tests/export_case.h"
#include "tests/networks.h"

static const ot_options reading = {.threads = 2, .training_info = 1};

static void check(ot_status status, const ot_error *err) {
    if (status) fail_msg("%s: %s", ot_status_name(status), err->message);
}

/* Loss, optimizer and state as the model says. */
static void obey(ot_session *s) {
    ot_loss_options loss = {0};
    ot_optimizer_options optimizer = {0};
    ot_error err = {0};
    check(ot_get_training_info(s, &loss, &optimizer, &err), &err);
    check(ot_set_loss(s, &loss, &err), &err);
    check(ot_set_optimizer(s, &optimizer, &err), &err);
    check(ot_take_training_state(s, &err), &err);
}

static uint64_t masks(const ot_session *s) {
    uint64_t hash = 0;
    for (int i = 0; i < ot_parameter_count(s); i++) {
        ot_parameter_info info;
        check(ot_get_parameter(s, i, &info, NULL), NULL);
        hash = hash * 31 + info.mask_hash;
    }
    return hash;
}

/* ---- against the reference ---- */

enum { STEPS = 10, SAMPLES = 8, IN = 12, OUT = 4 };

static void *read_npy(const char *name, size_t *bytes) {
    char path[1024];
    snprintf(path, sizeof path, "%s/golden/training/%s.npy", OT_TESTS_DIR, name);
    struct bytes b = slurp(path);
    const size_t start = 10 + b.data[8] + 256u * b.data[9];
    *bytes = b.size - start;
    memmove(b.data, b.data + start, *bytes);
    return b.data;
}

static void compare_weights(const ot_session *s, const double *expected, size_t n) {
    static const char *const order[] = {"f1", "b1", "f2", "b2"};
    size_t at = 0;
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < ot_parameter_count(s); i++) {
            ot_parameter_info info;
            float w[256];
            check(ot_get_parameter(s, i, &info, NULL), NULL);
            if (strcmp(info.name, order[k]) != 0) continue;
            check(ot_read_parameter(s, i, w, NULL), NULL);
            for (int64_t j = 0; j < info.elements; j++, at++)
                if (!(fabs(w[j] - expected[at]) <= 1e-5 + 1e-5 * fabs(expected[at])))
                    fail_msg("%s[%d] is %g, not %g", info.name, (int)j, (double)w[j], expected[at]);
        }
    assert_int_equal(at, n);
}

static void train_like_reference(void **state) {
    const char *name = *state;
    char path[1024];
    size_t bytes, ignored;
    ot_error err = {0};
    ot_session *s = NULL;
    snprintf(path, sizeof path, "%s/golden/training/%s.onnx", OT_TESTS_DIR, name);
    check(ot_open(path, &reading, &s, &err), &err);
    obey(s);
    double *expected = read_npy(name, &bytes);
    char *x = read_npy("x", &ignored), *y = read_npy("y", &ignored), *t = read_npy("t", &ignored);
    ot_loss_options loss = {0};
    check(ot_get_training_info(s, &loss, NULL, &err), &err);
    const bool classes = loss.kind == OT_LOSS_CROSS_ENTROPY;
    const uint64_t mask = masks(s);
    for (int k = 0; k < STEPS; k++) {
        ot_result r;
        const ot_tensor in = {
            .type = OT_FLOAT, .rank = 2, .dim = {SAMPLES, IN}, .data = x + k * SAMPLES * IN * 4};
        ot_tensor target = {
            .type = OT_FLOAT, .rank = 2, .dim = {SAMPLES, OUT}, .data = t + k * SAMPLES * OUT * 4};
        if (classes)
            target = (ot_tensor){
                .type = OT_INT64, .rank = 1, .dim = {SAMPLES}, .data = y + k * SAMPLES * 8};
        check(ot_train_step(s, &in, 1, &target, &r, &err), &err);
        check(ot_optimizer_step(s, &err), &err);
        if (!(fabs(r.loss - expected[k]) <= 2e-5 * expected[k]))
            fail_msg("%s: loss %.9g in step %d, not %.9g", name, r.loss, k, expected[k]);
    }
    compare_weights(s, expected + STEPS, bytes / sizeof *expected - STEPS);
    assert_true(masks(s) == mask);
    ot_close(s);
    free(expected);
    free(x);
    free(y);
    free(t);
}

/* ---- there and back ---- */

static const struct {
    ot_loss_options loss;
    ot_optimizer_options optimizer;
} runs[] = {
    {{.kind = OT_LOSS_CROSS_ENTROPY}, {.lr = 0.1f}},
    {{.kind = OT_LOSS_MSE}, {.lr = 0.1f, .weight_decay = 0.01f}},
    {{.kind = OT_LOSS_CROSS_ENTROPY, .label_smoothing = 0.1f}, {.lr = 0.1f, .momentum = 0.9f}},
    {{.kind = OT_LOSS_L1},
     {.lr = 0.1f, .momentum = 0.9f, .dampening = 0.3f, .weight_decay = 0.01f}},
    {{.kind = OT_LOSS_HUBER, .huber_delta = 0.3f}, {.lr = 0.1f, .momentum = 0.9f, .nesterov = 1}},
    {{.kind = OT_LOSS_BCE}, {.kind = OT_ADAM, .lr = 0.01f}},
    {{.kind = OT_LOSS_CROSS_ENTROPY, .use_ignore_index = 1, .ignore_index = 2},
     {.kind = OT_ADAM, .lr = 0.01f, .weight_decay = 0.1f, .beta1 = 0.8f}},
    {{.kind = OT_LOSS_CROSS_ENTROPY}, {.kind = OT_ADAMW, .lr = 0.01f, .weight_decay = 0.1f}},
    {{.kind = OT_LOSS_CROSS_ENTROPY}, {.kind = OT_ADAGRAD, .lr = 0.1f, .lr_decay = 0.1f}},
    {{.kind = OT_LOSS_CROSS_ENTROPY},
     {.kind = OT_ADAM_ONNX, .lr = 0.01f, .post_decay = 0.01f, .weight_decay = 0.02f}},
    {{.kind = OT_LOSS_MSE},
     {.kind = OT_ADAM, .lr = 0.01f, .beta2 = 0.9f, .eps = 1e-3f, .exact = 1}},
    {{.kind = OT_LOSS_MSE}, {.kind = OT_ADAM_ONNX, .lr = 0.01f, .eps = 1e-3f, .exact = 1}},
};
enum { DAMPED = 3, CROSS = 6, RUNS = sizeof runs / sizeof *runs };

static void step(struct fixture *f, ot_loss_kind kind) {
    static float t[MOST_BATCH * CLASSES];
    ot_error err = {0};
    if (kind != OT_LOSS_CROSS_ENTROPY) {
        network_floats(t, BATCH * CLASSES, 5, 1);
        f->target = (ot_tensor){.type = OT_FLOAT, .rank = 2, .dim = {BATCH, CLASSES}, .data = t};
    }
    fixture_train(f);
    check(ot_optimizer_step(f->s, &err), &err);
}

static void assert_equal_weights(const ot_session *a, const ot_session *b) {
    assert_int_equal(ot_parameter_count(a), ot_parameter_count(b));
    for (int i = 0; i < ot_parameter_count(a); i++) {
        ot_parameter_info info;
        static float x[4096], y[4096];
        check(ot_get_parameter(a, i, &info, NULL), NULL);
        check(ot_read_parameter(a, i, x, NULL), NULL);
        check(ot_read_parameter(b, i, y, NULL), NULL);
        if (memcmp(x, y, (size_t)info.elements * sizeof *x))
            fail_msg("'%s' went another way", info.name);
    }
}

/* A copy of the session that goes on from what this one writes. */
static void reopen(struct fixture *copy, const struct fixture *f, ot_export_sparse sparse) {
    ot_error err = {0};
    const ot_export_options options = {.sparse = sparse, .training_info = 1};
    check(ot_export_onnx(f->s, target(), &options, &err), &err);
    *copy = *f;
    copy->in.data = copy->x;
    copy->target.data = copy->label;
    check(ot_open(target(), &reading, &copy->s, &err), &err);
    unlink(target());
    obey(copy->s);
    assert_true(masks(f->s) == masks(copy->s));
    assert_equal_weights(f->s, copy->s);
}

/* Trains a few steps, writes the model; both go on, and stay the same bit for bit. So does a copy
 * of the copy. */
static void there_and_back(make_fn *make, int run, ot_export_sparse sparse) {
    static struct fixture f[3];
    ot_error err = {0};
    fixture_open(&f[0], make, &(ot_options){0});
    check(ot_set_loss(f[0].s, &runs[run].loss, &err), &err);
    check(ot_set_optimizer(f[0].s, &runs[run].optimizer, &err), &err);
    for (int k = 0; k < 3; k++) step(&f[0], runs[run].loss.kind);
    for (int i = 1; i < 3; i++) {
        reopen(&f[i], &f[i - 1], sparse);
        for (int k = 0; k < 4; k++)
            for (int j = 0; j <= i; j++) step(&f[j], runs[run].loss.kind);
        for (int j = 0; j < i; j++) assert_equal_weights(f[j].s, f[i].s);
    }
    for (int i = 0; i < 3; i++) ot_close(f[i].s);
}

static void goes_on_as_before(void **state) {
    (void)state;
    for (int run = 0; run < RUNS; run++) {
        there_and_back(network_mlp, run, OT_EXPORT_SPARSE_AS_IS);
        there_and_back(network_mlp, run, OT_EXPORT_SPARSE_INITIALIZER);
        there_and_back(network_cnn, run, OT_EXPORT_SPARSE_AS_IS);
    }
}

static void what_cannot_be_written_is_refused(void **state) {
    (void)state;
    const struct {
        ot_optimizer_options optimizer;
        ot_export_form form; /* the CNN's BatchNormalization is in training form */
        const char *text;
    } cases[] = {
        {{.lr = 0.1f, .clip_norm = 1}, OT_EXPORT_FORM_AS_IS, "clip_norm"},
        {{.lr = 0.1f, .schedule = OT_SCHEDULE_COSINE, .total_steps = 9},
         OT_EXPORT_FORM_AS_IS,
         "the learning rate changes"},
        {{.lr = 0.1f}, OT_EXPORT_FORM_INFERENCE, "together with another form"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        ot_error err = {0};
        fixture_open(&f, network_cnn, &(ot_options){0});
        check(ot_set_optimizer(f.s, &cases[i].optimizer, &err), &err);
        const ot_export_options o = {.form = cases[i].form, .training_info = 1};
        assert_int_not_equal(ot_export_onnx(f.s, target(), &o, &err), OT_OK);
        if (!strstr(err.message, cases[i].text)) fail_msg("%s", err.message);
        ot_close(f.s);
    }
}

/* ---- what must be refused ---- */

/* A model with the training_info of this run. */
static Onnx__ModelProto *exported(int run) {
    struct fixture f;
    ot_error err = {0};
    const ot_export_options options = {.training_info = 1};
    fixture_open(&f, network_mlp, &(ot_options){0});
    check(ot_set_loss(f.s, &runs[run].loss, &err), &err);
    check(ot_set_optimizer(f.s, &runs[run].optimizer, &err), &err);
    check(ot_export_onnx(f.s, target(), &options, &err), &err);
    ot_close(f.s);
    struct bytes b = slurp(target());
    unlink(target());
    Onnx__ModelProto *m = unpack(b);
    free(b.data);
    return m;
}

static void rename_to(char **name, const char *to) {
    free(*name);
    *name = text(to);
}

static Onnx__NodeProto *node_of(Onnx__ModelProto *m, const char *op) {
    const Onnx__GraphProto *g = m->training_info[0]->algorithm;
    for (size_t i = 0; i < g->n_node; i++)
        if (!strcmp(g->node[i]->op_type, op)) return g->node[i];
    fail_msg("no %s", op);
    return NULL;
}

static Onnx__AttributeProto *attribute_of(Onnx__NodeProto *n, const char *name) {
    for (size_t i = 0; i < n->n_attribute; i++)
        if (!strcmp(n->attribute[i]->name, name)) return n->attribute[i];
    fail_msg("no attribute %s", name);
    return NULL;
}

static Onnx__StringStringEntryProto *binding(Onnx__ModelProto *m, size_t i) {
    assert_true(i < m->training_info[0]->n_update_binding);
    return m->training_info[0]->update_binding[i];
}

static Onnx__TensorProto *tensor_of(Onnx__ModelProto *m, const char *name) {
    const Onnx__GraphProto *g = m->training_info[0]->algorithm;
    for (size_t i = 0; i < g->n_initializer; i++)
        if (!strcmp(g->initializer[i]->name, name)) return g->initializer[i];
    fail_msg("no initializer %s", name);
    return NULL;
}

static void no_key(Onnx__ModelProto *m) { rename_to(&binding(m, 0)->key, "nothing"); }
static void no_value(Onnx__ModelProto *m) { rename_to(&binding(m, 0)->value, "nothing"); }
static void key_is_input(Onnx__ModelProto *m) { rename_to(&binding(m, 0)->key, "x"); }
static void key_twice(Onnx__ModelProto *m) { rename_to(&binding(m, 0)->key, binding(m, 1)->key); }
static void crossed(Onnx__ModelProto *m) {
    char *value = binding(m, 1)->value;
    binding(m, 1)->value = binding(m, 3)->value;
    binding(m, 3)->value = value;
}
static void cycle(Onnx__ModelProto *m) {
    Onnx__NodeProto *n = node_of(m, "Gradient");
    rename_to(&n->input[0], m->training_info[0]->algorithm->node[4]->output[0]);
}
static void count_is_float(Onnx__ModelProto *m) {
    Onnx__TensorProto *t = tensor_of(m, "training/steps");
    t->data_type = OT_FLOAT;
    t->raw_data.len = 4;
}
static void count_is_negative(Onnx__ModelProto *m) {
    memset(tensor_of(m, "training/steps")->raw_data.data, 255, 8);
}
static void count_grows_by_two(Onnx__ModelProto *m) {
    tensor_of(m, "training/one_step")->raw_data.data[0] = 2;
}
static void rate_has_two(Onnx__ModelProto *m) {
    Onnx__TensorProto *t = tensor_of(m, "training/rate");
    set_dims(t, 2, 0);
    t->raw_data.data = realloc(t->raw_data.data, 8);
    memset(t->raw_data.data, 0, 8);
    t->raw_data.len = 8;
}
static void mask_of_zeros(Onnx__ModelProto *m) {
    Onnx__NodeProto *n = node_of(m, "Mul");
    Onnx__TensorProto *t = tensor_of(m, n->input[1]);
    memset(t->raw_data.data, 0, t->raw_data.len);
}
static void other_mode(Onnx__ModelProto *m) {
    attribute_of(node_of(m, "Momentum"), "mode")->s.data[0] = 'x';
}
static void alpha_is_large(Onnx__ModelProto *m) {
    attribute_of(node_of(m, "Momentum"), "alpha")->f = 3;
}
static void alpha_is_nan(Onnx__ModelProto *m) {
    attribute_of(node_of(m, "Momentum"), "alpha")->f = NAN;
}
static void other_gradient(Onnx__ModelProto *m) {
    attribute_of(node_of(m, "Gradient"), "xs")->strings[0].data[0] ^= 1;
}
static void y_is_nothing(Onnx__ModelProto *m) {
    attribute_of(node_of(m, "Gradient"), "y")->s.data[0] ^= 1;
}
static void y_is_input(Onnx__ModelProto *m) {
    ProtobufCBinaryData *s = &attribute_of(node_of(m, "Gradient"), "y")->s;
    s->data[0] = 'x';
    s->len = 1;
}
static void y_is_integer(Onnx__ModelProto *m) {
    Onnx__AttributeProto *a = attribute_of(node_of(m, "Gradient"), "y");
    a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    a->has_s = 0;
    a->has_i = 1;
}
static void gradient_of_more(Onnx__ModelProto *m) {
    node_of(m, "Gradient")->n_input--;
    free(node_of(m, "Gradient")->input[node_of(m, "Gradient")->n_input]);
}
static void summed_loss(Onnx__ModelProto *m) {
    Onnx__AttributeProto *a = add_attribute(node_of(m, "SoftmaxCrossEntropyLoss"), "reduction",
                                            ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    a->has_s = 1;
    a->s.data = (uint8_t *)text("sum");
    a->s.len = 3;
}
static void loss_elsewhere(Onnx__ModelProto *m) {
    rename_to(&node_of(m, "SoftmaxCrossEntropyLoss")->input[0], "a3");
}
static void target_elsewhere(Onnx__ModelProto *m) {
    rename_to(&node_of(m, "SoftmaxCrossEntropyLoss")->input[1], "x");
}
static void unknown_rule(Onnx__ModelProto *m) {
    Onnx__NodeProto *n = node_of(m, "Momentum");
    rename_to(&n->op_type, "Lion");
}
static void two_steps(Onnx__ModelProto *m) {
    Onnx__TrainingInfoProto *t = zeroed(1, sizeof *t);
    onnx__training_info_proto__init(t);
    m->training_info = realloc(m->training_info, 2 * sizeof *m->training_info);
    m->training_info[m->n_training_info++] = t;
}
static void no_initialization(Onnx__ModelProto *m) {
    Onnx__TrainingInfoProto *t = m->training_info[0];
    t->initialization_binding = zeroed(1, sizeof *t->initialization_binding);
    t->initialization_binding[0] = zeroed(1, sizeof **t->initialization_binding);
    onnx__string_string_entry_proto__init(t->initialization_binding[0]);
    t->initialization_binding[0]->key = text("w1");
    t->initialization_binding[0]->value = text("nothing");
    t->n_initialization_binding = 1;
}
static void nothing_updated(Onnx__ModelProto *m) {
    Onnx__TrainingInfoProto *t = m->training_info[0];
    while (t->n_update_binding)
        onnx__string_string_entry_proto__free_unpacked(t->update_binding[--t->n_update_binding],
                                                       NULL);
}
static void name_taken(Onnx__ModelProto *m) {
    rename_to(&tensor_of(m, "training/rate")->name, "w1");
}

static const struct refused {
    const char *id;
    void (*spoil)(Onnx__ModelProto *m);
    ot_status status;
    const char *text;
    int run; /* that it spoils */
} refused[] = {
    {"no key", no_key, OT_ERROR_INVALID, "'nothing': there is no such initializer", DAMPED},
    {"no value", no_value, OT_ERROR_INVALID, "its value is not an output", DAMPED},
    {"key is input", key_is_input, OT_ERROR_INVALID, "'x': there is no such initializer", DAMPED},
    {"key twice", key_twice, OT_ERROR_INVALID, "it occurs twice", DAMPED},
    {"crossed", crossed, OT_ERROR_UNSUPPORTED, "it updates another weight", DAMPED},
    {"cycle", cycle, OT_ERROR_INVALID, "cycles", DAMPED},
    {"count is float", count_is_float, OT_ERROR_UNSUPPORTED, "its count of steps is no", DAMPED},
    {"count is negative", count_is_negative, OT_ERROR_UNSUPPORTED, "its count of steps", DAMPED},
    {"count by two", count_grows_by_two, OT_ERROR_UNSUPPORTED, "does not grow by 1", DAMPED},
    {"rate has two", rate_has_two, OT_ERROR_UNSUPPORTED, "its learning rate is not a constant",
     DAMPED},
    {"mask of zeros", mask_of_zeros, OT_ERROR_UNSUPPORTED, "it changes gradients of", DAMPED},
    {"mode", other_mode, OT_ERROR_UNSUPPORTED, "(Momentum): attribute 'mode'", DAMPED},
    {"alpha 3", alpha_is_large, OT_ERROR_UNSUPPORTED, "momentum is 3", DAMPED},
    {"alpha nan", alpha_is_nan, OT_ERROR_UNSUPPORTED, "'alpha' is not positive", DAMPED},
    {"other xs", other_gradient, OT_ERROR_UNSUPPORTED, "(Gradient): its inputs are", DAMPED},
    {"no y", y_is_nothing, OT_ERROR_UNSUPPORTED, "'y' names no value", DAMPED},
    {"y is x", y_is_input, OT_ERROR_UNSUPPORTED, "'y' names no output of a node", DAMPED},
    {"y integer", y_is_integer, OT_ERROR_UNSUPPORTED, "does not come from a Gradient", DAMPED},
    {"too few", gradient_of_more, OT_ERROR_UNSUPPORTED, "it has fewer inputs", DAMPED},
    {"sum", summed_loss, OT_ERROR_UNSUPPORTED, "EntropyLoss): it is not a loss", CROSS},
    {"other output", loss_elsewhere, OT_ERROR_UNSUPPORTED, "not an output of the model", CROSS},
    {"other target", target_elsewhere, OT_ERROR_UNSUPPORTED, "its target is not an input", CROSS},
    {"rule", unknown_rule, OT_ERROR_UNSUPPORTED, "(Lion)", DAMPED},
    {"two steps", two_steps, OT_ERROR_UNSUPPORTED, "2 steps", DAMPED},
    {"initialization", no_initialization, OT_ERROR_INVALID, "output of initialization", DAMPED},
    {"nothing", nothing_updated, OT_ERROR_UNSUPPORTED, "updates no weight", DAMPED},
    {"name taken", name_taken, OT_ERROR_INVALID, "occurs twice", DAMPED},
};

static void is_refused(void **state) {
    const struct refused *c = *state;
    Onnx__ModelProto *m = exported(c->run);
    c->spoil(m);
    struct bytes b = pack_built(m);
    ot_session *s = NULL;
    ot_error err = {0};
    assert_int_equal(ot_open_buffer(b.data, b.size, &reading, &s, &err), c->status);
    assert_null(s);
    if (!strstr(err.message, c->text)) fail_msg("%s", err.message);
    check(ot_open_buffer(b.data, b.size, &(ot_options){0}, &s, &err), &err); /* not looked at */
    ot_close(s);
    free(b.data);
}

/* ---- the rest ---- */

static ot_status read_and_write(struct bytes b, struct counter *c, ot_error *err) {
    const ot_options o = {.threads = 1, .training_info = 1, .allocator = counting_allocator(c)};
    const ot_export_options export = {.training_info = 1};
    ot_session *s = NULL;
    ot_loss_options loss = {0};
    ot_optimizer_options optimizer = {0};
    ot_status status = ot_open_buffer(b.data, b.size, &o, &s, err);
    if (!status) status = ot_get_training_info(s, &loss, &optimizer, err);
    if (!status) status = ot_set_loss(s, &loss, err);
    if (!status) status = ot_set_optimizer(s, &optimizer, err);
    if (!status) status = ot_take_training_state(s, err);
    if (!status) status = ot_export_onnx(s, target(), &export, err);
    ot_close(s);
    return status;
}

static void any_allocation_may_fail(void **state) {
    (void)state;
    for (int run = DAMPED; run < RUNS; run += 2) {
        struct bytes b = pack_built(exported(run));
        ot_status status = OT_ERROR_NO_MEMORY;
        for (long n = 1; status; n++) {
            struct counter c = {.fail_at = n};
            ot_error err = {0};
            status = read_and_write(b, &c, &err);
            assert_int_equal(c.live, 0);
            if (status && status != OT_ERROR_NO_MEMORY) fail_msg("%ld: %s", n, err.message);
        }
        unlink(target());
        free(b.data);
    }
}

static void state_needs_its_optimizer(void **state) {
    (void)state;
    Onnx__ModelProto *m = exported(5);
    struct bytes b = pack_built(m);
    ot_session *s = NULL;
    ot_error err = {0};
    const ot_optimizer_options sgd = {.lr = 0.1f};
    ot_model_info info;
    check(ot_open_buffer(b.data, b.size, &reading, &s, &err), &err);
    ot_get_model_info(s, &info);
    assert_int_equal(info.training_info, 1);
    assert_int_equal(ot_take_training_state(s, &err), OT_ERROR_STATE);
    check(ot_set_optimizer(s, &sgd, &err), &err);
    assert_int_equal(ot_take_training_state(s, &err), OT_ERROR_STATE);
    ot_close(s);
    check(ot_open_buffer(b.data, b.size, &(ot_options){0}, &s, &err), &err);
    assert_int_equal(ot_get_training_info(s, NULL, NULL, &err), OT_ERROR_STATE);
    ot_close(s);
    free(b.data);
}

int main(void) {
    static const char *const golden[] = {"sgd",     "decay", "momentum", "nesterov",
                                         "adagrad", "adam",  "adam_late"};
    enum { GOLDEN = sizeof golden / sizeof *golden, REFUSED = sizeof refused / sizeof *refused };
    struct CMUnitTest tests[GOLDEN + REFUSED + 4] = {
        cmocka_unit_test(goes_on_as_before), cmocka_unit_test(what_cannot_be_written_is_refused),
        cmocka_unit_test(state_needs_its_optimizer), cmocka_unit_test(any_allocation_may_fail)};
    int n = 4;
    for (int i = 0; i < GOLDEN; i++)
        tests[n++] = (struct CMUnitTest){golden[i], train_like_reference, NULL, NULL,
                                         (void *)(uintptr_t)golden[i]};
    for (int i = 0; i < REFUSED; i++)
        tests[n++] = (struct CMUnitTest){refused[i].id, is_refused, NULL, NULL,
                                         (void *)(uintptr_t)&refused[i]};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
