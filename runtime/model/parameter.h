/* parameter.h - the floating-point weights of a model, with their gradients and moments.
 *
 * Weight, gradient and moments share one pattern: all hold ot_count(&t) floats, and nothing here
 * but reading and writing in dense form knows of sparsity.
 */
#ifndef OT_MODEL_PARAMETER_H
#define OT_MODEL_PARAMETER_H

#include "runtime/base/glob.h"
#include "runtime/base/graph.h"
#include "runtime/base/pattern.h"

/* Moments of optimizers, and behind them the score of a method that prunes (train/score.h): all are
 * of the size of the weight, and move with its slots. */
enum { OT_OPTIMIZER_MOMENTS = 2, OT_SCORE = OT_OPTIMIZER_MOMENTS, OT_MOMENTS };
enum { OT_PARAMETER_ALIGN = 16 /* floats */ };

struct parameter {
    int value; /* in the graph */
    const char *name;
    const char *op;  /* operator of its first use */
    int dequantizer; /* node that makes floats of it, where the file holds integers; or -1 */
    struct tensor t; /* role PARAM; t.pattern is owned; t.data is part of weights */
    uint64_t pattern_number; /* model.patterns when its pattern last changed; 0: never */
    ot_structure structure;  /* where the pattern comes from */
    const char *mask;        /* name of the tensor that is the mask, or NULL */
    int64_t zeros;           /* slots that held zero in the file */
    int64_t first_slots;     /* slots, or elements if it is dense, when the model was opened */
    size_t offset;           /* of its values in weights, in floats */
    bool in_graph;           /* the graph's constant has the same values, in the same memory */
    bool owns_data;          /* t.data is a block of its own, while a model is opened */
    float *gradient;         /* in the state; NULL until a plan trains it */
    bool gradient_is_zero;   /* whatever stands in its memory: see ot_parameter_gradient */
    float *moment[OT_MOMENTS];
    bool has_state;    /* the parameter has a gradient or a moment, trained or not */
    size_t state;      /* offset of gradient and moments in their blocks, in floats */
    bool is_statistic; /* running mean or variance: updated by forward, never by the optimizer */
    bool is_norm;      /* scale, bias or statistic of a BatchNormalization */
    ot_fixed_reason fixed; /* why the optimizer leaves it; OT_TRAINED: it does not */
    bool is_sparse;        /* a plan computes with its pattern */
    bool is_number;        /* one element that is fixed: plans fold it, as the graph's constant */
};

static inline bool ot_is_trained(const struct parameter *p) { return p->fixed == OT_TRAINED; }

/* Finds the parameters of the graph: float initializers at the places that operators name as
 * weights, also through Reshape, Transpose and their like, integers behind DequantizeLinear, and
 * trainable operands of Add, Mul, Sub and Div. Buffers of the exporter and masks are among them,
 * but trained only where somebody asks for it. Values stay where they are, or are copied, until
 * ot_weights_gather. parameter_of: g->n_values entries, -1 elsewhere. */
ot_status ot_parameters_find(const struct graph *g, const ot_allocator *allocator,
                             struct parameter **parameter, int *n, int *parameter_of,
                             ot_error *err);
void ot_parameters_free(const ot_allocator *allocator, struct parameter *parameter, int n);

/* A number becomes a weight: it is to be trained or written. */
void ot_parameter_wake(struct graph *g, struct parameter *parameter, int i, int *parameter_of);

/* Floats that its values take in a block of all parameters: they begin at cache lines. */
size_t ot_parameter_room(const struct parameter *p);

/* The gradient to be read or added to: zeros are written out where that has been put off. NULL:
 * there is none. */
float *ot_parameter_gradient(struct parameter *p);

/* Training changes it: its values must be finite. */
static inline bool ot_parameter_changes(const struct parameter *p) {
    return ot_is_trained(p) || p->is_statistic;
}

#endif
