/* test_prune_steps.c - methods that prune while training, under a constraint: what masks look like
 * in the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/api/session.h"
#include "runtime/base/pattern.h"
#include "tests/networks.h"

enum { CELLS = 400 }; /* of the largest weight */

/* The largest numbers of slots in a row, in a group of four inputs, and of blocks of 4 x 1 that are
 * neither empty nor full. */
struct shape {
    int row, group, broken, blocks;
};

static struct shape shape_of(const struct pattern *p) {
    struct shape s = {0};
    static int row[CELLS], group[CELLS], block[CELLS];
    memset(row, 0, sizeof row);
    memset(group, 0, sizeof group);
    memset(block, 0, sizeof block);
    for (int r = 0; r < p->rows; r++)
        for (int k = p->row[r]; k < p->row[r + 1]; k++) {
            row[r]++;
            group[(r * p->cols + p->col[k]) / 4]++; /* 4 divides the columns */
            block[r / 4 * p->cols + p->col[k]]++;
        }
    for (int i = 0; i < CELLS; i++) {
        if (row[i] > s.row) s.row = row[i];
        if (group[i] > s.group) s.group = group[i];
        s.blocks += block[i] > 0;
        s.broken += block[i] % 4 != 0;
    }
    return s;
}

/* Weights of 20 x 12, 20 x 20 and CLASSES x 20, dense or with a mask that the
 * constraint cuts further. */
static void keeps_constraints(void **state) {
    (void)state;
    static const ot_sparsity_options how[] = {
        {.density = .25, .budget = OT_BUDGET_UNIFORM, .constraint = OT_CONSTRAIN_FAN_IN},
        {.density = .25, .budget = OT_BUDGET_GLOBAL, .constraint = OT_CONSTRAIN_FAN_IN},
        {.constraint = OT_CONSTRAIN_NM, .group = {2, 4}},
        {.constraint = OT_CONSTRAIN_NM, .group = {2, 4}, .budget = OT_BUDGET_GLOBAL},
        {.density = .25,
         .budget = OT_BUDGET_UNIFORM,
         .constraint = OT_CONSTRAIN_BLOCK,
         .group = {4, 1},
         .layers = "w1,w2"}};
    enum { CASES = sizeof how / sizeof *how };
    ot_optimizer_options adam;
    ot_optimizer_defaults(OT_ADAM, &adam, sizeof adam);
    for (int i = 0; i < 4 * CASES; i++) {
        struct fixture f;
        const ot_sparsity_options o = how[i % CASES];
        const bool dense = i / CASES % 2;
        const ot_topology_options t = {.size = sizeof t,
                                       .method = i < 2 * CASES ? "gmp" : "movement",
                                       .sparsity = &o,
                                       .every = 2,
                                       .start = 2,
                                       .end = 7};
        ot_error err = {0};
        ot_topology_report r;
        fixture_open(&f, network_mlp, &(ot_options){.threads = 1, .mask = dense ? "!*" : NULL});
        assert_int_equal(ot_set_optimizer(f.s, &adam, NULL), OT_OK);
        if (ot_set_topology(f.s, &t, &err)) fail_msg("%d: %s", i, err.message);
        for (int step = 1; step <= 7; step++) {
            fixture_train(&f);
            assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
            if (ot_topology_step(f.s, &r, &err)) fail_msg("%d: %s", i, err.message);
        }
        for (int k = 0; k < f.s->model->n_parameters; k++) {
            const struct topology_layer *l = &f.s->topology.layer[k];
            const struct pattern *p = f.s->model->parameter[k].t.pattern;
            if (!l->matrix.p) continue;
            assert_non_null(p);
            const struct shape s = shape_of(p);
            const int cells = p->rows * p->cols;
            if (o.constraint == OT_CONSTRAIN_NM)
                assert_true(dense ? s.group == 2 && p->nnz == cells / 2 : s.group <= 2);
            else if (o.constraint == OT_CONSTRAIN_BLOCK)
                assert_true(dense ? !s.broken && p->nnz == cells / 4 : s.blocks == cells / 16);
            else if (o.budget == OT_BUDGET_UNIFORM)
                assert_true(dense ? p->nnz == p->rows * (p->cols / 4) && s.row == p->cols / 4
                                  : s.row <= p->cols / 4);
            else if (dense)
                assert_true(p->nnz == p->rows * s.row);
        }
        ot_close(f.s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(keeps_constraints)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
