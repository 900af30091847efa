/* net.h - small networks as text, trained with their nodes recognised and apart. */
#ifndef OT_TESTS_NET_H
#define OT_TESTS_NET_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/onnxtrain.h"

enum { NET_BATCH = 3, NET_TOKENS = 5, NET_WIDTH = 8, NET_MOST = 4096, NET_PARAMETERS = 16 };

/* A network from x [BATCH,TOKENS,WIDTH] to y. weights: "name:2,3 name:4", random, about half of
 * those of more than one dimension zero; "name=0.5" a constant of one element; "name#0,2" integers,
 * "name@1" one of no dimension.
 * nodes: "Op inputs > outputs ; attributes", one a line. */
struct net {
    const char *fused; /* the operator that is expected in the plan */
    int count;         /* of it; 0: it is not */
    int opset;
    const char *weights, *nodes;
};

struct net_run {
    ot_session *s;
    double loss;
    float y[NET_MOST];
    int64_t elements;
    int parameters, count; /* count: of the fused operator, forward */
    int64_t n[NET_PARAMETERS];
    float gradient[NET_PARAMETERS][NET_MOST];
};

/* A step towards zero. The caller closes r->s. apart: each node by itself. */
void net_train(const struct net *net, bool apart, ot_options options, struct net_run *r);
/* Fails where results or gradients differ by more than 1e-5. */
void net_same(const struct net *net, const struct net_run *a, const struct net_run *b);

/* Of all n: as many recognised as expected, the same numbers as apart on each instruction set; the
 * same where inner values are outputs, too; the same bits with three threads. */
void net_check_apart(const struct net *nets, size_t n);
void net_check_outputs(const struct net *nets, size_t n);
void net_check_threads(const struct net *nets, size_t n);

#endif
