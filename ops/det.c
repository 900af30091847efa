/* det.c - Det: the determinant of each matrix, by elimination with pivots in double.
 *
 * Its gradient is that of cofactors, each a determinant of its own: they are there for singular
 * matrices too.
 */
#include <math.h>

#include "ops/op.h"

struct det_plan {
    int64_t matrices, size;
};

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct det_plan *plan = ot_op_plan(n);
    char text[128];
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    if (x->rank < 2 || x->dim[x->rank - 1] != x->dim[x->rank - 2])
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input 0 has shape %s, expected square matrices",
                          ot_shape_text(x, text, sizeof text));
    plan->size = x->dim[x->rank - 1];
    plan->matrices = ot_dims_product(x, 0, x->rank - 2);
    if (plan->size > 1024)
        return ot_op_fail(n, err, OT_ERROR_LIMIT,
                          "input 0 has matrices of %lld rows, expected at most 1024",
                          (long long)plan->size);
    n->forward_scratch_size = n->backward_scratch_size =
        (size_t)n->workers * (size_t)(plan->size * plan->size) * sizeof(double);
    n->flops = 2.0 / 3 * (double)plan->matrices * pow((double)plan->size, 3);
    return ot_op_set(n, n->y[0], OT_FLOAT, x->rank - 2, x->dim, err);
}

/* Of the matrix at a, size x size without gaps, which is used up. */
static double determinant(double *a, int64_t size) {
    double det = 1;
    for (int64_t k = 0; k < size; k++) {
        int64_t pivot = k;
        for (int64_t i = k + 1; i < size; i++)
            if (fabs(a[i * size + k]) > fabs(a[pivot * size + k])) pivot = i;
        const double top = a[pivot * size + k];
        if (top == 0) return 0;
        det *= pivot == k ? top : -top;
        for (int64_t j = k; j < size && pivot != k; j++) {
            const double swap = a[k * size + j];
            a[k * size + j] = a[pivot * size + j];
            a[pivot * size + j] = swap;
        }
        for (int64_t i = k + 1; i < size; i++) {
            const double factor = a[i * size + k] / top;
            for (int64_t j = k; j < size; j++) a[i * size + j] -= factor * a[k * size + j];
        }
    }
    return det;
}

static double *work_of(const struct op_node *n, int worker) {
    const struct det_plan *plan = n->plan;
    return (double *)n->scratch + worker * plan->size * plan->size;
}

static void forward_matrix(void *arg, int number, int worker) {
    const struct op_node *n = arg;
    const struct det_plan *plan = n->plan;
    const int64_t count = plan->size * plan->size;
    double *a = work_of(n, worker);
    for (int64_t i = 0; i < count; i++) a[i] = (double)ot_f(n->x[0])[number * count + i];
    ot_f(n->y[0])[number] = (float)determinant(a, plan->size);
}

static void backward_matrix(void *arg, int number, int worker) {
    const struct op_node *n = arg;
    const struct det_plan *plan = n->plan;
    const int64_t size = plan->size, at = number * size * size;
    const float *x = ot_f(n->x[0]) + at;
    double *a = work_of(n, worker);
    for (int64_t place = 0; place < size * size; place++) {
        const int64_t row = place / size, column = place % size;
        double *to = a;
        for (int64_t i = 0; i < size; i++)
            for (int64_t j = 0; j < size; j++)
                if (i != row && j != column) *to++ = (double)x[i * size + j];
        const double cofactor = determinant(a, size - 1) * ((row + column) % 2 ? -1 : 1);
        ot_f(n->dx[0])[at + place] = (float)((double)ot_f(n->dy[0])[number] * cofactor);
    }
}

static void forward(struct op_node *n) {
    const struct det_plan *plan = n->plan;
    ot_parallel_for(n->pool, (int)plan->matrices, forward_matrix, n);
}

static void backward(struct op_node *n) {
    const struct det_plan *plan = n->plan;
    if (n->dx[0]) ot_parallel_for(n->pool, (int)plan->matrices, backward_matrix, n);
}

static const char *const cases[] = {"X[3,3] -> Y[]",
                                    "X[2,3,4,4] range=-1,1 -> Y[2,3]",
                                    "X[5,1,1] -> Y[5]",
                                    "f[2,2,2]{1,2,3,4,1,2,2,4}:x -> f{-2,0}",
                                    "X[0,0] -> f[]{1}",
                                    "X[2,3] -> error: input 0 has shape [2,3]",
                                    NULL};

const struct op ot_op_Det = {
    .name = "Det",
    .since = 11,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .needs = OT_X(0),
    .plan_size = sizeof(struct det_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
