/* test_abi.c - hosts that were compiled with another version of the header: structs of options that
 * are shorter or longer than the library's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/networks.h"

/* Bytes of members that only a later version has. */
enum { TAIL = 24, STRUCTS = 4 };

/* Options as a later version declares them. */
struct later {
    ot_options open;
    char open_tail[TAIL];
    ot_loss_options loss;
    char loss_tail[TAIL];
    ot_optimizer_options sgd;
    char sgd_tail[TAIL];
    ot_export_options export;
    char export_tail[TAIL];
};

/* Each struct is given with `extra` bytes more than the library knows, all of them zero. */
static void fill(struct later *l, size_t extra) {
    memset(l, 0, sizeof *l);
    l->open.size = sizeof l->open + extra;
    l->open.threads = 1;
    l->loss.size = sizeof l->loss + extra;
    l->sgd.size = sizeof l->sgd + extra;
    l->sgd.lr = 0.1f;
    l->export.size = sizeof l->export + extra;
}

static ot_status use(const struct later *l, ot_error *err) {
    ot_session *s = NULL;
    size_t size;
    unsigned char *bytes = network_mlp(&size);
    ot_status status = ot_open_buffer(bytes, size, &l->open, &s, err);
    if (!status) status = ot_set_loss(s, &l->loss, err);
    if (!status) status = ot_set_optimizer(s, &l->sgd, err);
    if (!status) status = ot_change_optimizer(s, &l->sgd, err);
    if (!status) status = ot_check_export(s, &l->export, err);
    ot_close(s);
    free(bytes);
    return status;
}

static void longer_options_with_zeros_work(void **state) {
    (void)state;
    struct later l;
    ot_error err = {0};
    for (size_t extra = 0; extra <= TAIL; extra += 8) {
        fill(&l, extra);
        if (use(&l, &err)) fail_msg("%zu bytes more: %s", extra, err.message);
    }
}

/* The last byte of each tail in turn. */
static void an_option_of_a_later_version_is_refused(void **state) {
    (void)state;
    struct later l;
    const char *const name[STRUCTS] = {"ot_options: byte", "ot_loss_options: byte",
                                       "ot_optimizer_options: byte", "ot_export_options: byte"};
    char *const tail[STRUCTS] = {l.open_tail, l.loss_tail, l.sgd_tail, l.export_tail};
    for (int i = 0; i < STRUCTS; i++) {
        ot_error err = {0};
        fill(&l, TAIL);
        tail[i][TAIL - 1] = 1;
        assert_int_equal(use(&l, &err), OT_ERROR_ARGUMENT);
        if (strncmp(err.message, name[i], strlen(name[i]))) fail_msg("%s", err.message);
        fill(&l, TAIL - 1); /* the byte is behind the struct */
        tail[i][TAIL - 1] = 1;
        if (use(&l, &err)) fail_msg("%s", err.message);
    }
}

/* Structs that end in the middle; what stands behind the end is not the caller's. */
static void shorter_options_work(void **state) {
    (void)state;
    struct later l;
    ot_error err = {0};
    fill(&l, 0);
    l.open.size = offsetof(ot_options, mask);
    memset(&l.open.mask, 0xff, sizeof l.open - offsetof(ot_options, mask));
    l.loss.size = offsetof(ot_loss_options, label_smoothing);
    memset(&l.loss.label_smoothing, 0xff, sizeof l.loss - l.loss.size);
    l.sgd.size = offsetof(ot_optimizer_options, momentum);
    memset(&l.sgd.momentum, 0xff, sizeof l.sgd - l.sgd.size);
    l.export.size = offsetof(ot_export_options, training_info);
    memset(&l.export.training_info, 0xff, sizeof l.export - l.export.size);
    if (use(&l, &err)) fail_msg("%s", err.message);
}

/* 0 stands for the size of version 0.2.0: the last member that it has counts. */
static void size_zero_is_that_of_the_first_version(void **state) {
    (void)state;
    struct later l;
    ot_error err = {0};
    fill(&l, 0);
    l.open.size = l.loss.size = l.sgd.size = l.export.size = 0;
    if (use(&l, &err)) fail_msg("%s", err.message);
    l.sgd.steps_before = -1;
    assert_int_equal(use(&l, &err), OT_ERROR_ARGUMENT);
    l.sgd.steps_before = 0;
    l.loss.output = "none";
    assert_int_equal(use(&l, &err), OT_ERROR_ARGUMENT);
    l.loss.output = NULL;
    l.export.reserved = 1;
    assert_int_equal(use(&l, &err), OT_ERROR_ARGUMENT);
}

static void sizes_that_were_never_set_are_refused(void **state) {
    (void)state;
    const size_t bad[] = {1, sizeof(size_t) - 1, 5000, (size_t)-1};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct later l;
        ot_error err = {0};
        fill(&l, 0);
        l.open.size = bad[i];
        assert_int_equal(use(&l, &err), OT_ERROR_ARGUMENT);
        assert_non_null(strstr(err.message, "ot_options: size is "));
        ot_optimizer_options o = {.size = bad[i], .lr = 3};
        ot_optimizer_defaults(OT_ADAM, &o, bad[i]);
        assert_true(o.lr == 3);
    }
}

/* No version of a struct ends between the bytes of a member. */
static void sizes_inside_a_member_are_refused(void **state) {
    (void)state;
    struct later l;
    size_t *const size[STRUCTS] = {&l.open.size, &l.loss.size, &l.sgd.size, &l.export.size};
    const size_t bad[STRUCTS][3] = {
        {sizeof(size_t) + 1, offsetof(ot_options, mask) + 4, sizeof(ot_options) - 1},
        {sizeof(size_t) + 2, offsetof(ot_loss_options, output) + 4, sizeof(ot_loss_options) - 1},
        {sizeof(size_t) + 3, offsetof(ot_optimizer_options, beta2) + 1,
         offsetof(ot_optimizer_options, step_size) + 4},
        {sizeof(size_t) + 1, offsetof(ot_export_options, form) + 2, sizeof(ot_export_options) - 3}};
    for (int i = 0; i < STRUCTS; i++)
        for (int k = 0; k < 3; k++) {
            ot_error err = {0};
            fill(&l, 0);
            *size[i] = bad[i][k];
            assert_int_equal(use(&l, &err), OT_ERROR_ARGUMENT);
            if (!strstr(err.message, "size is ")) fail_msg("%zu: %s", bad[i][k], err.message);
        }
}

/* What the library writes ends where the caller's struct ends, and leaves its size. */
static void results_end_with_the_callers_struct(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, network_mlp, NULL);
    struct later l;
    memset(&l, 0x55, sizeof l);
    l.sgd.size = sizeof l.sgd + TAIL - 1;
    assert_int_equal(ot_get_optimizer(f.s, &l.sgd, NULL), OT_OK);
    assert_int_equal(l.sgd.size, sizeof l.sgd + TAIL - 1);
    for (int i = 0; i < TAIL; i++) assert_int_equal(l.sgd_tail[i], i < TAIL - 1 ? 0 : 0x55);
    const float lr = l.sgd.lr;
    memset(&l, 0x55, sizeof l);
    l.sgd.size = offsetof(ot_optimizer_options, momentum);
    assert_int_equal(ot_get_optimizer(f.s, &l.sgd, NULL), OT_OK);
    assert_true(l.sgd.lr == lr);
    assert_int_equal(*(char *)&l.sgd.momentum, 0x55);
    memset(&l, 0x55, sizeof l);
    ot_optimizer_defaults(OT_ADAM, &l.sgd, offsetof(ot_optimizer_options, beta2));
    assert_int_equal(l.sgd.size, offsetof(ot_optimizer_options, beta2));
    assert_true(l.sgd.beta1 == 0.9f);
    assert_int_equal(*(char *)&l.sgd.beta2, 0x55);
    ot_close(f.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(longer_options_with_zeros_work),
        cmocka_unit_test(an_option_of_a_later_version_is_refused),
        cmocka_unit_test(shorter_options_work),
        cmocka_unit_test(size_zero_is_that_of_the_first_version),
        cmocka_unit_test(sizes_that_were_never_set_are_refused),
        cmocka_unit_test(sizes_inside_a_member_are_refused),
        cmocka_unit_test(results_end_with_the_callers_struct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
