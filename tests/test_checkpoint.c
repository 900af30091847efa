/* test_checkpoint.c - training goes on bit for bit after a checkpoint; files that do not fit are
 * refused and change nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/rng.h"
#include "runtime/base/safetensors.h"
#include "runtime/api/session.h"
#include "tests/model.h"
#include "tests/counter.h"

/* ---- a model: sparse convolution, BatchNormalization in training form, Dropout, sparse Gemm ----
 */

enum { BATCH = 6, CLASSES = 4 };

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

static void weight(struct test_model *m, const char *name, int rank, const int64_t *dim,
                   double density) {
    float v[1024];
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= dim[i];
    for (int64_t i = 0; i < n; i++) {
        bool kept = ot_random_float(3, (uint64_t)name[0], (uint64_t)i) < density;
        v[i] = kept ? 0.3f * ot_random_normal(4, (uint64_t)name[0], (uint64_t)i) : 0;
    }
    model_floats(m, name, rank, dim, v);
}

static ot_session *open_model(int64_t channels, const ot_options *o) {
    static const float one[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, zero[16];
    struct test_model m;
    model_begin(&m, 15);
    model_input(&m, "x", OT_FLOAT, 4, DIMS(-1, 2, 5, 5));
    weight(&m, "c", 4, DIMS(channels, 2, 3, 3), 0.3);
    model_floats(&m, "scale", 1, DIMS(channels), one);
    model_floats(&m, "shift", 1, DIMS(channels), zero);
    model_floats(&m, "mean", 1, DIMS(channels), zero);
    model_floats(&m, "var", 1, DIMS(channels), one);
    weight(&m, "w", 2, DIMS(channels, CLASSES), 0.5);
    weight(&m, "b", 1, DIMS(CLASSES), 1);
    model_ints(&m, "one", 1, DIMS(1));
    model_node(&m, "Squeeze", "one", "scalar", "");
    model_node(&m, "Cast", "scalar", "flag", "to=9");
    model_node(&m, "Conv", "x c", "h", "kernel_shape=3,3 pads=1,1,1,1");
    model_node(&m, "BatchNormalization", "h scale shift mean var", "n rm rv", "training_mode=1");
    model_node(&m, "Relu", "n", "a", "");
    model_node(&m, "GlobalAveragePool", "a", "p", "");
    model_node(&m, "Flatten", "p", "f", "");
    model_node(&m, "Dropout", "f - flag", "d", "");
    model_node(&m, "Gemm", "d w b", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, CLASSES));
    ot_session *s = NULL;
    ot_error err = {0};
    if (model_open(&m, o, &s, &err)) fail_msg("%s", err.message);
    return s;
}

static const ot_optimizer_options optimizers[] = {
    {.lr = 0.1f},
    {.lr = 0.1f, .momentum = 0.9f, .nesterov = 1, .weight_decay = 1e-3f, .clip_norm = 0.5f},
    {.kind = OT_ADAMW,
     .lr = 0.01f,
     .schedule = OT_SCHEDULE_COSINE,
     .warmup_steps = 3,
     .total_steps = 20},
};
enum { OPTIMIZERS = sizeof optimizers / sizeof *optimizers };

static ot_session *open_seeded(int optimizer, uint64_t seed) {
    const ot_options o = {.seed = seed};
    ot_session *s = open_model(8, &o);
    assert_int_equal(ot_set_optimizer(s, &optimizers[optimizer], NULL), OT_OK);
    return s;
}

static ot_session *open_training(int optimizer) { return open_seeded(optimizer, 0); }

/* Micro-batch number k, of its own data; every second one ends with an optimizer step. */
static double train(ot_session *s, int k) {
    float x[BATCH * 50];
    int64_t label[BATCH];
    for (int i = 0; i < BATCH * 50; i++) x[i] = ot_random_normal(9, (uint64_t)k, (uint64_t)i);
    for (int i = 0; i < BATCH; i++) label[i] = (i + k) % CLASSES;
    ot_tensor in = {.type = OT_FLOAT, .rank = 4, .dim = {BATCH, 2, 5, 5}, .data = x};
    ot_tensor target = {.type = OT_INT64, .rank = 1, .dim = {BATCH}, .data = label};
    ot_result r;
    ot_error err = {0};
    if (ot_train_step(s, &in, 1, &target, &r, &err)) fail_msg("%s", err.message);
    if (k % 2 && ot_optimizer_step(s, &err)) fail_msg("%s", err.message);
    return r.loss;
}

/* All weights and statistics, one behind the other; free() it. */
static float *weights_of(const ot_session *s, size_t *n) {
    float *all = calloc(4096, sizeof *all);
    assert_non_null(all);
    *n = 0;
    for (int i = 0; i < ot_parameter_count(s); i++) {
        ot_parameter_info info;
        assert_int_equal(ot_get_parameter(s, i, &info, NULL), OT_OK);
        assert_int_equal(ot_read_parameter(s, i, all + *n, NULL), OT_OK);
        *n += (size_t)info.elements;
    }
    return all;
}

static void assert_same_weights(const ot_session *a, const ot_session *b) {
    size_t n, m;
    float *x = weights_of(a, &n), *y = weights_of(b, &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n * sizeof *x);
    free(x);
    free(y);
}

static char folder[64];

static const char *in_folder(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/checkpoint-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(in_folder("c"));
    return rmdir(folder);
}

static void save(const ot_session *s) {
    static const ot_note notes[] = {{"cursor", "17"}, {"best", "0.25"}};
    ot_error err = {0};
    if (ot_save_checkpoint(s, in_folder("c"), notes, 2, &err)) fail_msg("%s", err.message);
}

/* ---- other options for the same optimizer ---- */

/* The same options change nothing; the kind cannot change; a rate counts from the next step on. */
static void options_change_and_moments_stay(void **state) {
    (void)state;
    for (int i = 0; i < OPTIMIZERS; i++) {
        ot_session *a = open_training(i), *b = open_training(i);
        ot_optimizer_options o = {0}, other;
        ot_error err = {0};
        for (int k = 0; k < 4; k++) train(a, k);
        for (int k = 0; k < 4; k++) train(b, k);
        assert_int_equal(ot_get_optimizer(a, &o, NULL), OT_OK);
        assert_int_equal(ot_change_optimizer(a, &o, NULL), OT_OK);
        for (int k = 4; k < 8; k++) train(a, k);
        for (int k = 4; k < 8; k++) train(b, k);
        assert_same_weights(a, b);
        other = o;
        other.kind = o.kind == OT_ADAMW ? OT_ADAM : OT_ADAMW;
        other.nesterov = 0;
        assert_int_equal(ot_change_optimizer(a, &other, &err), OT_ERROR_STATE);
        assert_non_null(strstr(err.message, "kind"));
        other = o;
        other.lr *= 3;
        other.steps_before = 5; /* stays what it is */
        assert_int_equal(ot_change_optimizer(a, &other, NULL), OT_OK);
        assert_true(ot_step_count(a) == ot_step_count(b));
        assert_float_equal(ot_learning_rate(a) / ot_learning_rate(b), 3, 1e-5);
        assert_int_equal(ot_get_optimizer(a, &o, NULL), OT_OK);
        assert_int_equal(o.steps_before, 0);
        ot_close(a);
        ot_close(b);
    }
}

/* SGD gets momentum, which begins at zero, and loses it. */
static void momentum_comes_and_goes(void **state) {
    (void)state;
    ot_session *a = open_training(0), *b = open_training(0);
    ot_optimizer_options o = {.lr = 0.1f, .momentum = 0.9f};
    for (int k = 0; k < 4; k++) train(a, k);
    for (int k = 0; k < 4; k++) train(b, k);
    assert_int_equal(ot_change_optimizer(a, &o, NULL), OT_OK);
    for (int k = 4; k < 6; k++) train(a, k); /* v = g: as without momentum */
    for (int k = 4; k < 6; k++) train(b, k);
    assert_same_weights(a, b);
    train(a, 6);
    train(a, 7);
    o.momentum = 0;
    assert_int_equal(ot_change_optimizer(a, &o, NULL), OT_OK);
    ot_memory_info memory;
    ot_get_memory_info(a, &memory);
    assert_int_equal(memory.moments, 0);
    train(a, 8);
    train(a, 9);
    ot_session *none = open_model(8, NULL);
    assert_int_equal(ot_change_optimizer(none, &o, NULL), OT_ERROR_STATE);
    assert_int_equal(ot_get_optimizer(none, &o, NULL), OT_ERROR_STATE);
    ot_close(none);
    ot_close(a);
    ot_close(b);
}

/* ---- resuming ---- */

static void resume_at(int optimizer, int at) {
    enum { STEPS = 12 };
    double loss[STEPS];
    ot_session *a = open_training(optimizer), *b = open_seeded(2, 5);
    ot_error err = {0};
    for (int k = 0; k < at; k++) train(a, k);
    save(a);
    for (int k = at; k < STEPS; k++) loss[k] = train(a, k);
    for (int k = 0; k < 5; k++) train(b, 100 + k); /* all that this leaves must go */
    if (ot_load_checkpoint(b, in_folder("c"), NULL, NULL, &err)) fail_msg("%s", err.message);
    for (int k = at; k < STEPS; k++) {
        double resumed = train(b, k);
        assert_memory_equal(&resumed, &loss[k], sizeof resumed);
    }
    assert_same_weights(a, b);
    assert_int_equal(ot_step_count(a), ot_step_count(b));
    assert_true(ot_gradient_norm(a) == ot_gradient_norm(b));
    assert_true(ot_learning_rate(a) == ot_learning_rate(b));
    ot_close(a);
    ot_close(b);
}

static void training_goes_on_bit_for_bit(void **state) {
    (void)state;
    for (int i = 0; i < OPTIMIZERS; i++)
        for (int at = 0; at <= 7; at++) resume_at(i, at); /* odd: between micro-batches */
}

static void the_same_state_gives_the_same_file(void **state) {
    (void)state;
    ot_allocator al = ot_allocator_or_default(NULL);
    ot_session *a = open_training(1), *b = open_training(0);
    struct safetensors x, y;
    for (int k = 0; k < 3; k++) train(a, k);
    save(a);
    assert_int_equal(ot_load_checkpoint(b, in_folder("c"), NULL, NULL, NULL), OT_OK);
    assert_int_equal(ot_safetensors_read(&al, in_folder("c"), 1 << 20, &x, NULL), OT_OK);
    save(b);
    assert_int_equal(ot_safetensors_read(&al, in_folder("c"), 1 << 20, &y, NULL), OT_OK);
    assert_int_equal(x.n, y.n);
    for (int i = 0; i < x.n; i++) assert_string_equal(x.tensor[i].name, y.tensor[i].name);
    ot_safetensors_free(&x);
    ot_safetensors_free(&y);
    ot_close(a);
    ot_close(b);
}

/* ---- notes ---- */

static void count_note(void *context, const char *key, const char *value) {
    int *n = context;
    assert_string_equal(value, !strcmp(key, "cursor") ? "17" : "0.25");
    ++*n;
}

static void notes_come_back(void **state) {
    (void)state;
    static const ot_note bad[][2] = {{{"onnx_train.x", "1"}, {"a", "1"}},
                                     {{"a", "1"}, {"a", "2"}},
                                     {{NULL, "1"}, {"a", "1"}},
                                     {{"a", NULL}, {"b", "1"}},
                                     {{"\xff", "1"}, {"a", "1"}}};
    ot_session *s = open_training(0);
    int n = 0;
    save(s);
    assert_int_equal(ot_load_checkpoint(s, in_folder("c"), count_note, &n, NULL), OT_OK);
    assert_int_equal(n, 2);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(ot_save_checkpoint(s, in_folder("d"), bad[i], 2, NULL), OT_ERROR_ARGUMENT);
    assert_int_equal(ot_save_checkpoint(s, NULL, NULL, 0, NULL), OT_ERROR_ARGUMENT);
    assert_int_equal(ot_load_checkpoint(s, "", NULL, NULL, NULL), OT_ERROR_ARGUMENT);
    assert_int_not_equal(access(in_folder("d"), F_OK), 0);
    ot_close(s);
}

/* ---- what does not fit ---- */

/* A session after two steps that must look the same after a load that fails. */
static void assert_refused(const char *path, ot_status status, const char *word) {
    ot_session *s = open_training(1), *twin = open_training(1);
    ot_error err = {0};
    for (int k = 0; k < 3; k++) train(s, k), train(twin, k);
    ot_status got = ot_load_checkpoint(s, path, NULL, NULL, &err);
    if (got != status) fail_msg("status %d: %s", (int)got, err.message);
    if (!strstr(err.message, word)) fail_msg("no '%s' in: %s", word, err.message);
    assert_same_weights(s, twin);
    for (int k = 3; k < 6; k++) assert_true(train(s, k) == train(twin, k));
    assert_same_weights(s, twin);
    ot_close(s);
    ot_close(twin);
}

static void C05_checkpoints_of_others(void **state) {
    (void)state;
    ot_session *s = open_model(9, NULL);
    save(s);
    ot_close(s);
    assert_refused(in_folder("c"), OT_ERROR_STATE, "SHA-256");
    s = open_training(0);
    assert_int_equal(ot_new_head(s, 3, NULL, NULL), OT_OK);
    save(s);
    ot_session *same = open_training(0);
    assert_int_equal(ot_new_head(same, 3, NULL, NULL), OT_OK);
    assert_int_equal(ot_load_checkpoint(same, in_folder("c"), NULL, NULL, NULL), OT_OK);
    assert_same_weights(s, same);
    ot_close(same);
    ot_close(s);
    assert_refused(in_folder("c"), OT_ERROR_STATE, "head for 3 classes");
    assert_refused(in_folder("none"), OT_ERROR_IO, "none");
    assert_refused(folder, OT_ERROR_IO, "regular");
}

/* The file of a good checkpoint with one tensor or note changed, its checksum made right again. */
static void doctor(const char *name, const void *data, int64_t dim, const char *note,
                   const char *value) {
    ot_allocator al = ot_allocator_or_default(NULL);
    struct safetensors f;
    ot_session *s = open_training(1);
    for (int k = 0; k < 3; k++) train(s, k);
    save(s);
    ot_close(s);
    assert_int_equal(ot_safetensors_read(&al, in_folder("c"), 1 << 20, &f, NULL), OT_OK);
    int found = 0, n = 0;
    for (int i = 0; i < f.n; i++) {
        bool it = !strcmp(f.tensor[i].name, name);
        found += it;
        if (it && !data && !dim) continue; /* left out */
        f.tensor[n] = f.tensor[i];
        if (it && data) f.tensor[n].data = data;
        if (it && dim) f.tensor[n].dim[0] = dim;
        n++;
    }
    for (int i = 0; i < f.n_notes; i++) {
        if (strcmp(f.note[i].key, note)) continue;
        f.note[i].value = value;
        found++;
    }
    assert_int_equal(found, 1);
    ot_error err = {0};
    if (ot_safetensors_write(&al, in_folder("c"), f.tensor, n, f.note, f.n_notes, &err))
        fail_msg("%s", err.message);
    ot_safetensors_free(&f);
}

static void C04_C06_C07_contents_that_do_not_fit(void **state) {
    (void)state;
    static const int32_t col[512], adam = 7;
    static const float nan_rate = -1;
    static const int64_t far = INT64_MAX, negative = -1;
    static const struct {
        const char *name;
        const void *data;
        int64_t dim;
        ot_status status;
        const char *word;
    } cases[] = {
        {"value:c", NULL, 0, OT_ERROR_INVALID, "'value:c' is missing"},
        {"value:b", NULL, 3, OT_ERROR_INVALID, "[3], expected float [4]"},
        {"moment0:b", NULL, 3, OT_ERROR_INVALID, "'moment0:b'"},
        {"col:c", col, 0, OT_ERROR_INVALID, "'col:c': the mask"},
        {"row:w", col, 0, OT_ERROR_INVALID, "'row:w': the mask"},
        {"optimizer.kind", &adam, 0, OT_ERROR_INVALID, "optimizer"},
        {"optimizer.lr", &nan_rate, 0, OT_ERROR_INVALID, "lr is -1"},
        {"optimizer.lr", NULL, 0, OT_ERROR_INVALID, "'optimizer.lr'"},
        {"optimizer.steps", &far, 0, OT_ERROR_INVALID, "counter"},
        {"session.accumulated", &negative, 0, OT_ERROR_INVALID, "counter"},
        {"session.step", &negative, 0, OT_ERROR_INVALID, "counter"},
        {"schedule.total_steps", &negative, 0, OT_ERROR_INVALID, "negative"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        doctor(cases[i].name, cases[i].data, cases[i].dim, "", "");
        assert_refused(in_folder("c"), cases[i].status, cases[i].word);
    }
    doctor("", NULL, 0, "onnx_train.format", "onnx-train checkpoint 2");
    assert_refused(in_folder("c"), OT_ERROR_UNSUPPORTED, "checkpoint 2");
    doctor("", NULL, 0, "onnx_train.model", "00");
    assert_refused(in_folder("c"), OT_ERROR_STATE, "SHA-256");
}

static void C01_damaged_files(void **state) {
    (void)state;
    char bytes[1 << 16];
    ot_session *s = open_training(1);
    for (int k = 0; k < 3; k++) train(s, k);
    save(s);
    ot_close(s);
    FILE *f = fopen(in_folder("c"), "rb");
    assert_non_null(f);
    size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    s = open_training(1);
    for (size_t i = 0; i < size * 8; i += 97) {
        bytes[i / 8] ^= (char)(1 << i % 8);
        f = fopen(in_folder("c"), "wb");
        fwrite(bytes, 1, size, f);
        fclose(f);
        assert_int_not_equal(ot_load_checkpoint(s, in_folder("c"), NULL, NULL, NULL), OT_OK);
        bytes[i / 8] ^= (char)(1 << i % 8);
    }
    ot_close(s);
}

/* ---- memory ---- */

static void every_allocation_may_fail(void **state) {
    (void)state;
    ot_session *from = open_training(1);
    for (int k = 0; k < 3; k++) train(from, k);
    ot_status status = OT_ERROR_NO_MEMORY;
    for (int k = 0; status; k++) {
        struct counter f = {0};
        ot_options o = {.allocator = counting_allocator(&f)};
        ot_session *s = open_model(8, &o);
        save(from);
        f.fail_at = f.requests + k + 1;
        status = ot_load_checkpoint(s, in_folder("c"), NULL, NULL, NULL);
        if (!status) status = ot_save_checkpoint(s, in_folder("c"), NULL, 0, NULL);
        if (status) assert_int_equal(status, OT_ERROR_NO_MEMORY);
        f.fail_at = 0;
        ot_close(s);
        assert_int_equal(f.live, 0);
        assert_true(k < 300);
    }
    ot_close(from);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_change_and_moments_stay),
        cmocka_unit_test(momentum_comes_and_goes),
        cmocka_unit_test(training_goes_on_bit_for_bit),
        cmocka_unit_test(the_same_state_gives_the_same_file),
        cmocka_unit_test(notes_come_back),
        cmocka_unit_test(C05_checkpoints_of_others),
        cmocka_unit_test(C04_C06_C07_contents_that_do_not_fit),
        cmocka_unit_test(C01_damaged_files),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
