/* test_tolerance.c - how far results of a suite's case may be from what the suite expects: as its
 * tolerances say, and farther only where what it expects is itself off by more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/export_case.h"
#include "tests/suite_case.h"
#include "tools/check/check.h"

/* What becomes of a case with this input and expected output: see suite_case.h. */
static enum check_outcome outcome_of(const char *nodes, int type, int n, const float *x, int parts,
                                     const float *wanted) {
    struct check_case c = {0};
    struct failure f;
    const struct settings s = {0};
    suite_case_write(test_folder(), nodes, type, n, x, parts, wanted);
    if (ot_check_outputs(&c, test_folder(), &s, &f)) fail_msg("%s", f.text);
    if (c.outcome == CHECK_REFUSED) fail_msg("%s: %s", nodes, c.reason);
    suite_case_remove(test_folder());
    return c.outcome;
}

/* The result is off by so many units in the last place of the type. */
static const struct row {
    const char *nodes;
    int type;
    float x, result, units;
    enum check_outcome outcome;
} rows[] = {
    {"Relu|x|y", OT_BFLOAT16, 1, 1, 0, CHECK_PASSED},
    {"Relu|x|y", OT_BFLOAT16, 1, 1, 1, CHECK_FAILED},
    {"Relu|x|y", OT_FLOAT16, 1, 1, 1, CHECK_PASSED}, /* 9.8e-4 of it */
    {"Relu|x|y", OT_FLOAT16, 1, 1, 2, CHECK_FAILED},
    {"Mul|x x|y", OT_BFLOAT16, 1.0625f, 1.12890625f, 0.5f, CHECK_PASSED}, /* as it is rounded */
    {"Mul|x x|y", OT_BFLOAT16, 1.0625f, 1.12890625f, 1.5f, CHECK_FAILED},
    {"Neg|x|a;Neg|a|y", OT_BFLOAT16, 1, 1, 1, CHECK_FAILED},
    {"Cast|x|a|to=16;Relu|a|y", OT_BFLOAT16, 1, 1, 2, CHECK_PASSED},
    {"Cast|x|a|to=16;Relu|a|y", OT_BFLOAT16, 1, 1, 3, CHECK_FAILED},
    {"Cast|x|a|to=10;Relu|a|y", OT_FLOAT16, 1, 1, 2, CHECK_PASSED},
    {"Cast|x|a|to=1;Cast|a|y|to=1", OT_FLOAT, 1, 1, 8192, CHECK_PASSED}, /* 9.8e-4 */
    {"Cast|x|a|to=1;Cast|a|y|to=1", OT_FLOAT, 1, 1, 9000, CHECK_FAILED},
    {"Attention|x x x|y|q_num_heads=1 kv_num_heads=1", OT_BFLOAT16, 1, 1, 2, CHECK_PASSED},
    {"Attention|x x x|y|q_num_heads=1 kv_num_heads=1", OT_BFLOAT16, 1, 1, 3, CHECK_FAILED},
};

static void units_in_the_last_place(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        const float unit = r->type == OT_FLOAT     ? 0x1p-23f
                           : r->type == OT_FLOAT16 ? 0x1p-10f
                                                   : 0x1p-7f;
        const float wanted = r->result + r->units * unit;
        if (outcome_of(r->nodes, r->type, 1, &r->x, 1, &wanted) != r->outcome)
            fail_msg("row %d, %s, off by %g units", (int)i, r->nodes, (double)r->units);
    }
}

/* Zeros of a transform are off by the rounding of what cancels; those of other operators are not.
 */
static void zeros_beside_large_elements(void **state) {
    (void)state;
    const float ones[4] = {1, 1, 1, 1}, x[4] = {4, 0, 0, 0}, y[4] = {4, 0, 0, 4e-7f};
    const float near[8] = {4, 0, 0, 0, 0, 4e-7f, 0, 0}, far[8] = {4, 0, 0, 0, 0, 8e-7f, 0, 0};
    assert_int_equal(outcome_of("DFT|x|y", OT_FLOAT, 4, ones, 2, near), CHECK_PASSED);
    assert_int_equal(outcome_of("DFT|x|y", OT_FLOAT, 4, ones, 2, far), CHECK_FAILED);
    assert_int_equal(outcome_of("Relu|x|y", OT_FLOAT, 4, x, 1, x), CHECK_PASSED);
    assert_int_equal(outcome_of("Relu|x|y", OT_FLOAT, 4, x, 1, y), CHECK_FAILED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_in_the_last_place),
        cmocka_unit_test(zeros_beside_large_elements),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
