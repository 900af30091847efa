/* networks.h - two small networks, and sessions that train them; for tests of whole sessions. */
#ifndef OT_TESTS_NETWORKS_H
#define OT_TESTS_NETWORKS_H

#include "tests/model.h"

/* Samples of a batch as it is opened, and as many as there are data for. */
enum { BATCH = 29, MOST_BATCH = 64, CLASSES = 5 };

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

/* Normal ones of which the share `density` is not zero. */
void network_floats(float *v, size_t n, uint64_t stream, double density);
/* A weight of at most 4096 such elements, by its name. */
void network_weight(struct test_model *m, const char *name, int rank, const int64_t *dim,
                    double density);

/* Sparse MLP in all three orientations; a value with two consumers; a weight used twice. */
unsigned char *network_mlp(size_t *size);
/* A residual CNN: sparse convolutions, BatchNormalization in training form, pooling, a dense head.
 */
unsigned char *network_cnn(size_t *size);

typedef unsigned char *make_fn(size_t *size);

/* A session with a batch of data. */
struct fixture {
    ot_session *s;
    float x[MOST_BATCH * 3 * 8 * 8];
    int64_t label[MOST_BATCH];
    ot_tensor in, target;
};

ot_status fixture_try(struct fixture *f, make_fn *make, const ot_options *o, ot_error *err);
/* With SGD; fails the test where that does not open. */
void fixture_open(struct fixture *f, make_fn *make, const ot_options *o);
/* One training step; returns its loss. */
double fixture_train(struct fixture *f);

#endif
