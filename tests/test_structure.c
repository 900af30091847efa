/* test_structure.c - which zeros of a weight are structure: by their share, by how the file holds
 * them, and as the options say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/glob.h"
#include "runtime/onnxtrain.h"
#include "tests/export_case.h"

enum { IN = 20, OUT = 5, COUNT = IN * OUT, BATCH = 4 };
enum kind { FLOATS, BYTES, SPARSE };

/* y = x w, where w has so many zeros (of a sparse tensor: entries left out). */
static const struct item {
    enum kind kind;
    int zeros;
    const char *mask;
    float share;
    ot_structure structure;
} items[] = {
    {FLOATS, 0, NULL, 0, OT_STRUCTURE_NONE},      {FLOATS, 1, NULL, 0, OT_STRUCTURE_NONE},
    {FLOATS, 9, NULL, 0, OT_STRUCTURE_NONE},      {FLOATS, 10, NULL, 0, OT_STRUCTURE_ZEROS},
    {FLOATS, 99, NULL, 0, OT_STRUCTURE_ZEROS},    {FLOATS, 100, NULL, 0, OT_STRUCTURE_NONE},
    {FLOATS, 1, NULL, 0.01f, OT_STRUCTURE_ZEROS}, {FLOATS, 29, NULL, 0.3f, OT_STRUCTURE_NONE},
    {FLOATS, 30, NULL, 0.3f, OT_STRUCTURE_ZEROS}, {FLOATS, 99, NULL, 1, OT_STRUCTURE_NONE},
    {FLOATS, 1, "w", 0, OT_STRUCTURE_OPTION},     {FLOATS, 100, "w", 0, OT_STRUCTURE_OPTION},
    {FLOATS, 0, "w", 0, OT_STRUCTURE_NONE},       {FLOATS, 50, "!w", 0, OT_STRUCTURE_NONE},
    {FLOATS, 1, "*,!w", 0, OT_STRUCTURE_NONE},    {FLOATS, 1, "!?,[w]", 0, OT_STRUCTURE_OPTION},
    {BYTES, 10, NULL, 0, OT_STRUCTURE_NONE},      {BYTES, 39, NULL, 0, OT_STRUCTURE_NONE},
    {BYTES, 40, NULL, 0, OT_STRUCTURE_ZEROS},     {BYTES, 100, NULL, 0, OT_STRUCTURE_NONE},
    {BYTES, 10, NULL, 0.1f, OT_STRUCTURE_ZEROS},  {BYTES, 1, "w*", 0, OT_STRUCTURE_OPTION},
    {BYTES, 60, "!w", 0, OT_STRUCTURE_NONE},      {SPARSE, 0, NULL, 0, OT_STRUCTURE_SPARSE},
    {SPARSE, 1, NULL, 0, OT_STRUCTURE_SPARSE},    {SPARSE, 100, NULL, 0, OT_STRUCTURE_SPARSE},
    {SPARSE, 50, "!w", 0, OT_STRUCTURE_NONE},
};

static bool is_zero(const struct item *item, int i) { return i * 7 % COUNT < item->zeros; }

static struct bytes model(const struct item *item) {
    static const float scale = 0.25f;
    static const int8_t zero;
    Onnx__ModelProto *m = new_model(8, 13);
    float w[COUNT], entry[COUNT];
    int8_t b[COUNT];
    int64_t index[COUNT];
    size_t n = 0;
    for (int i = 0; i < COUNT; i++) {
        b[i] = is_zero(item, i) ? 0 : (int8_t)(i % 11 - 20);
        w[i] = scale * b[i];
        if (is_zero(item, i)) continue;
        entry[n] = w[i];
        index[n++] = i;
    }
    add_input(m, "x", -1, IN);
    if (item->kind == FLOATS) add_raw(m, "w", OT_FLOAT, IN, OUT, w, sizeof w);
    if (item->kind == SPARSE) add_sparse(m, "w", IN, OUT, entry, index, n, false);
    if (item->kind == BYTES) {
        add_raw(m, "w", OT_INT8, IN, OUT, b, sizeof b);
        add_raw(m, "s", OT_FLOAT, 1, 0, &scale, sizeof scale);
        add_raw(m, "z", OT_INT8, 1, 0, &zero, sizeof zero);
        add_node(m, "DequantizeLinear", "w s z", "f");
    }
    add_node(m, "MatMul", item->kind == BYTES ? "x f" : "x w", "y");
    add_output(m, "y", -1, OUT);
    return pack_built(m);
}

static ot_session *opened(const struct item *item) {
    const ot_options options = {.threads = 1, .mask = item->mask, .mask_share = item->share};
    struct bytes b = model(item);
    ot_session *s = NULL;
    ot_error err = {OT_OK, ""};
    if (ot_open_buffer(b.data, b.size, &options, &s, &err)) fail_msg("%s", err.message);
    free(b.data);
    return s;
}

static void step(ot_session *s) {
    static float x[BATCH * IN], y[BATCH * OUT];
    for (int i = 0; i < BATCH * IN; i++) x[i] = (float)(i * 7 % 11) / 5 - 1;
    for (int i = 0; i < BATCH * OUT; i++) y[i] = (float)(i * 5 % 7) + 10;
    const ot_tensor in = {OT_FLOAT, 2, {BATCH, IN}, x}, out = {OT_FLOAT, 2, {BATCH, OUT}, y};
    const ot_loss_options mse = {.kind = OT_LOSS_MSE};
    const ot_optimizer_options sgd = {.lr = 0.1f};
    ot_result result;
    ot_error err = {OT_OK, ""};
    assert_int_equal(ot_set_loss(s, &mse, NULL), OT_OK);
    assert_int_equal(ot_set_optimizer(s, &sgd, NULL), OT_OK);
    if (ot_train_step(s, &in, 1, &out, &result, &err)) fail_msg("%s", err.message);
    assert_int_equal(ot_optimizer_step(s, NULL), OT_OK);
}

/* What has structure keeps its zeros in a step, what has none loses them. */
static void zeros_are_structure_or_values(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof items / sizeof *items; k++) {
        const struct item *item = &items[k];
        ot_session *s = opened(item);
        ot_parameter_info info;
        float w[COUNT];
        int zeros = 0;
        assert_int_equal(ot_get_parameter(s, 0, &info, NULL), OT_OK);
        if (info.structure != item->structure)
            fail_msg("item %zu has structure by '%s'", k, ot_structure_name(info.structure));
        assert_int_equal(info.has_pattern, item->structure != OT_STRUCTURE_NONE);
        assert_int_equal(info.nonzeros, info.has_pattern ? COUNT - item->zeros : COUNT);
        assert_int_equal(info.zeros, info.has_pattern ? 0 : item->zeros);
        step(s);
        assert_int_equal(ot_read_parameter(s, 0, w, NULL), OT_OK);
        for (int i = 0; i < COUNT; i++) {
            if (info.has_pattern && is_zero(item, i)) assert_true(w[i] == 0);
            zeros += w[i] == 0;
        }
        assert_int_equal(zeros, info.has_pattern ? item->zeros : 0);
        ot_close(s);
    }
}

/* Without structure, -0.0 is written back like any other value. */
static void signs_of_zeros_stay(void **state) {
    (void)state;
    static const float w[4] = {-0.0f, 1, 2, 3};
    for (int zeros = 0; zeros < 2; zeros++) {
        Onnx__ModelProto *m = new_model(8, 13);
        add_input(m, "x", -1, 2);
        add_raw(m, "w", OT_FLOAT, 2, 2, w, sizeof w);
        add_node(m, "MatMul", "x w", "y");
        add_output(m, "y", -1, 2);
        struct bytes b = pack_built(m);
        const ot_options options = {.mask = zeros ? NULL : "!w"};
        ot_session *s = NULL;
        ot_error err = {OT_OK, ""};
        if (ot_open_buffer(b.data, b.size, &options, &s, &err)) fail_msg("%s", err.message);
        if (ot_export_onnx(s, target(), NULL, &err)) fail_msg("%s", err.message);
        struct bytes out = slurp(target());
        unlink(target());
        assert_same(b, out, "the model");
        free(b.data);
        free(out.data);
        ot_close(s);
    }
}

static void refused(void **state) {
    (void)state;
    char long_glob[OT_GLOB_SIZE + 2] = "";
    memset(long_glob, '*', OT_GLOB_SIZE);
    const struct {
        const char *mask;
        float share;
        const char *why;
    } wrong[] = {{"v", 0, "no matrix of weights matches 'v'"},
                 {"w,,!v*", 0, "no matrix of weights matches 'v*'"},
                 {long_glob, 0, "a glob has more than 511 bytes"},
                 {NULL, -1, "mask_share is -1, expected 0 to 1"},
                 {NULL, 1.5f, "mask_share is 1.5, expected 0 to 1"}};
    struct bytes b = model(&items[0]);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const ot_options options = {.mask = wrong[i].mask, .mask_share = wrong[i].share};
        ot_session *s = NULL;
        ot_error err = {OT_OK, ""};
        assert_int_equal(ot_open_buffer(b.data, b.size, &options, &s, &err), OT_ERROR_ARGUMENT);
        if (!strstr(err.message, wrong[i].why)) fail_msg("%s", err.message);
    }
    free(b.data);
}

static void lists_of_globs(void **state) {
    (void)state;
    assert_int_equal(ot_glob_list(NULL, "a"), 0);
    assert_int_equal(ot_glob_list("", "a"), 0);
    assert_int_equal(ot_glob_list(",a,", "a"), 1);
    assert_int_equal(ot_glob_list("b,!c", "a"), 0);
    assert_int_equal(ot_glob_list("a*,!ab", "ab"), -1);
    assert_int_equal(ot_glob_list("!ab,a*", "ab"), 1);
    assert_int_equal(ot_glob_list("!", "ab"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeros_are_structure_or_values),
        cmocka_unit_test(signs_of_zeros_stay),
        cmocka_unit_test(refused),
        cmocka_unit_test(lists_of_globs),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
