/* training.h - training_info: an algorithm as a graph, and what it means to a model.
 *
 * The standard keeps a step of training as nodes behind those of the model: a loss, one Gradient,
 * for each weight an optimizer, and a count of steps; bindings say which output becomes the content
 * of which initializer. Such a graph is not run but recognised, and refused by the name of a node
 * where it does anything that a loss and an optimizer of ours do not: read.c. The same
 * expressions (match.h) make such a graph of a recipe: write.c.
 */
#ifndef OT_INFO_TRAINING_H
#define OT_INFO_TRAINING_H

#include "runtime/loss/loss.h"
#include "runtime/model/model.h"
#include "runtime/model/match.h"

/* Optimizers as expressions. SGD with momentum, Adagrad and ONNX's form of Adam are operators of
 * the standard; plain SGD, and Adam and AdamW as PyTorch has them, are arithmetic. */
#define OT_FORM_COUNT "Add(t, n)"
#define OT_FORM_MASK  "Mul(g, m)"
#define OT_FORM_SGD   "Sub(w, Mul(r, g))"
#define OT_FORM_DECAY "Add(g, Mul(d, w))"
/* Adam: moments, corrections, the step; and what AdamW does to the weight before it. */
#define OT_FORM_M      "Add(Mul(m, b), Mul(g, a))"
#define OT_FORM_V      "Add(Mul(v, b), Mul(Mul(g, g), a))"
#define OT_FORM_TIME   "Cast(t)"
#define OT_FORM_FIRST  "Sub(n, Pow(b, t))"
#define OT_FORM_SECOND "Sqrt(Sub(n, Pow(b, t)))"
#define OT_FORM_ADAM   "Sub(w, Mul(Div(r, c), Div(m, Add(Div(Sqrt(v), s), e))))"
#define OT_FORM_SHRINK "Sub(w, Mul(Mul(r, d), w))"

/* How a model is trained, as far as an algorithm says it. */
struct recipe {
    const struct model *model;
    ot_loss_options loss;
    ot_loss_kind loss_kind; /* never OT_LOSS_AUTO */
    int loss_output;        /* of the graph */
    int loss_axis;          /* of classes: -1 the last; 0: not known */
    ot_bn_mode bn;
    bool has_optimizer;
    ot_optimizer_options optimizer;
    int64_t steps; /* of the optimizer, so far */
};

/* What was recognised. */
struct training {
    ot_loss_options loss;
    ot_optimizer_options optimizer;
    bool *trains;                 /* of each parameter */
    const struct tensor **moment; /* OT_OPTIMIZER_MOMENTS of each; NULL: none */
};

/* What the graph's algorithm does, in the graph's arena; weights that it does not update are
 * frozen.
 */
ot_status ot_training_recognise(const struct recipe *s, const struct training **training,
                                ot_error *err);

/* ---- recognising ---- */

struct reader {
    const struct recipe *s;
    const struct graph *g;
    struct training *t;
    int *bound;       /* of each value: the binding that changes it, or -1 */
    bool *understood; /* of each binding */
    int gradient;     /* the node that makes all gradients; -1: none yet */
    bool has_rule;    /* t->optimizer was set */
    ot_error *err;
};

/* ---- values.c ---- */

/* "training_info: node 'name' (Op): why" */
ot_status ot_training_refuse(const struct reader *r, int k, const char *why);
/* Does v come from this expression, of nodes that do nothing else? */
bool ot_training_match(const struct graph *g, const char *expression, int v, struct match *m);
/* The value of a constant of one float. */
bool ot_training_scalar(const struct graph *g, int v, float *number);

/* The slots of p out of a tensor of its shape, which may have a pattern of its own. */
ot_status ot_training_gather(const ot_allocator *allocator, const struct parameter *p,
                             const struct tensor *from, float *to, ot_error *err);

/* ---- what the files of it share ---- */

/* rule.c: how parameter i gets the value `from` of node k; adds to r->t. */
ot_status ot_training_read_rule(struct reader *r, int i, int k, int from);
/* loss.c: the loss that value y is. */
ot_status ot_training_read_loss(struct reader *r, int y);

/* ---- writing ---- */

/* A graph under construction: its values are those of a model with those of the algorithm behind
 * them; nodes are the algorithm's alone. */
struct writer {
    const struct recipe *s;
    struct arena *arena;
    struct graph *g;
    int value_room, node_room;
    int inner;          /* values that have numbers for names */
    const char *prefix; /* of all names; no name of the model begins so */
    ot_status status;   /* of the first call that failed; later ones do nothing */
    ot_error *err;
};

/* ---- node.c ---- */

/* Zeroed memory; NULL after a failure. */
void *ot_write_take(struct writer *w, size_t n, size_t size);
/* New values and nodes; -1, or nothing, after a failure. */
int ot_write_number(struct writer *w, const char *name, float number);
int ot_write_tensor(struct writer *w, const char *name, struct tensor t, const struct value *like);
int ot_write_value(struct writer *w, const char *name, enum value_kind kind);
struct node *ot_write_node(struct writer *w, const char *op, const char *domain, int n_in,
                           int n_out, int n_attr);
/* The nodes of an expression with these values, in the order in which it names them first. */
int ot_write_expression(struct writer *w, const char *name, const char *expression,
                        const int *values);
void ot_write_binding(struct writer *w, int key, int from);
void ot_write_fail(struct writer *w, ot_status status, const char *format, ...) OT_FORMAT(3, 4);

/* The algorithm of this loss and optimizer, for struct export_request. */
ot_status ot_training_write(const struct recipe *s, struct arena *arena,
                            const struct graph **algorithm, ot_error *err);

/* loss.c: the nodes of the loss; the target becomes the graph's input. */
int ot_training_write_loss(struct writer *w);
/* update.c: those of its optimizer. weight, gradient: values of each parameter; -1: it is
 * not trained. */
void ot_training_write_rules(struct writer *w, const int *weight, const int *gradient);

#endif
