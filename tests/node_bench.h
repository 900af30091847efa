/* node_bench.h - runs one operator node on random data, without a plan: prepare, forward, backward.
 *
 * All memory is the bench's. Outputs and scratch hold NaNs before they are written.
 */
#ifndef OT_TESTS_NODE_BENCH_H
#define OT_TESTS_NODE_BENCH_H

#include "ops/op.h"

enum { MOST_ATTR = 8, MOST_IN = 3, LANES = 16 };

struct bench {
    struct arena arena;
    struct pool *pool;
    struct step_context context;
    ot_error err;
};

void open_bench(struct bench *b, int threads);
void close_bench(struct bench *b);

void *take(struct bench *b, size_t count, size_t size);
struct tensor *new_tensor(struct bench *b, int rank, const int64_t *dim); /* without data */
struct tensor *random_tensor(struct bench *b, int stream, int rank, const int64_t *dim);

/* A node of opset 13 that wants the gradients of all its inputs, with one output in rows. */
struct op_node *new_node(struct bench *b, const char *op, const struct attr *attr, int n_attr,
                         int n_in, struct tensor *const *x);

/* prepare and forward; backward of dy, and release. Fail the test where they fail. */
void run_forward(struct bench *b, struct op_node *n);
void run_backward(struct bench *b, struct op_node *n, struct tensor *dy);

/* x in another layout, by the operator Reorder. */
struct tensor *reordered(struct bench *b, struct tensor *x, int lanes, int lane_rank);

/* About `density` of the elements of w as a tensor with a pattern, which the caller unrefs. */
struct tensor *sparsified(struct bench *b, const struct tensor *w, bool transposed, float density);

/* The operator Densify, forward. */
struct tensor *densified(struct bench *b, struct tensor *w);

/* From the gradient of a dense weight to that of its slots; itself where p is NULL. */
double *at_slots(struct bench *b, const struct pattern *p, double *dense);

/* Equal to 1e-5 of the largest value that is expected. */
void assert_close(const float *found, const double *expected, int64_t n);

struct attr int_attr(const char *name, int64_t i);
struct attr float_attr(const char *name, float f);
struct attr ints_attr(const char *name, const int64_t *ints, int n);
struct attr text_attr(const char *name, const char *s);

#endif
