/* cases.h - test cases of operators: parsed from one line of text (see cases.md), and run.
 *
 * A case owns an arena; everything parsed lives in it.
 */
#ifndef OT_TESTS_CASES_H
#define OT_TESTS_CASES_H

#include "ops/op.h"

enum { CASE_TENSORS = 16, CASE_ATTRS = 16 };

struct number {
    int64_t i;
    double f;
};

struct case_tensor {
    bool absent;     /* "-" */
    bool silent;     /* :n, an output without a gradient */
    bool sparse;     /* ~density */
    bool transposed; /* ~density followed by t */
    bool stacked;    /* ~density followed by s */
    bool gaps;       /* followed by l */
    double density;
    ot_type type;
    enum tensor_role role;
    int rank;
    int64_t dim[OT_MAX_RANK];
    const struct number *value; /* of a literal; NULL: drawn at random */
};

struct op_case {
    const struct op *op;
    const char *text;
    struct arena arena;
    struct node node;
    int n_in, n_out;
    struct case_tensor in[CASE_TENSORS], out[CASE_TENSORS];
    struct case_tensor slope[CASE_TENSORS]; /* d0=: gradients that are stated */
    bool stated;                            /* there are such */
    const char *error;            /* text that the refusal must contain; NULL: it must run */
    bool training;                /* train */
    bool lanes;                   /* lanes: must run in lanes layout */
    bool distinct;                /* all random values differ by at least 0.06 */
    double low, high;             /* range= */
    ot_bn_mode bn;                /* bn= */
    int64_t batch_from, batch_to; /* batch= */
};

/* Parses text as a case of op. On failure c->arena may hold memory all the same. */
ot_status ot_case_parse(struct op_case *c, const struct op *op, const char *text, ot_error *err);

/* How to run a case. */
struct case_config {
    const struct kernels *kernels;
    struct pool *pool;
    int lanes, lane_rank;            /* 0: rows */
    bool patterns;                   /* false: sparse inputs are dense tensors with zeros */
    enum ot_form form;               /* of a product with a pattern */
    const ot_allocator *plan_memory; /* of what prepare makes; NULL: the usual one */
    bool frugal; /* results in the memory of inputs, dy in two parts, where op allows it */
    uint32_t want;
};

/* A prepared node and its memory. */
struct case_run {
    const struct op_case *c;
    struct case_config config;
    struct arena arena, plan; /* plan: what prepare makes */
    ot_allocator allocator;
    struct op_node n;
    struct step_context context;
    struct tensor *x[CASE_TENSORS], *y[CASE_TENSORS], *dx[CASE_TENSORS], *dy[CASE_TENSORS];
    struct tensor *more;                 /* of dy[0] */
    bool y_shares, shares[CASE_TENSORS]; /* y[0], dx[i] stand in the memory of something else */
    void *block[6 * CASE_TENSORS]; /* one allocation each, so that sanitizers see their ends */
    int blocks;
    void *scratch_forward, *scratch_backward;
    bool finite; /* spare lanes of all results so far */
    bool copied; /* the plan is another's */
};

/* Builds and prepares. x: the case's inputs, rows, dense; see ot_case_draw. On failure, and where
 * the operator declines the layout (*declined), nothing remains to be closed. */
ot_status ot_case_open(struct case_run *r, const struct op_case *c, struct case_config config,
                       void *const *x, bool *declined, ot_error *err);
/* Another node with the plan of `from`, which has to outlive it: tensors and memory of its own. */
ot_status ot_case_copy(const struct case_run *from, struct pool *pool, struct case_run *copy,
                       ot_error *err);
void ot_case_forward(struct case_run *r, void *const *x);
/* After forward: does the operator make the same y[0] again? True where it does not know how. */
bool ot_case_again(struct case_run *r);
void ot_case_backward(struct case_run *r, void *const *dy);
void ot_case_close(struct case_run *r);

/* Copies a result out as a dense tensor in rows; the buffer lives in the run's arena. */
void *ot_case_rows(struct case_run *r, const struct tensor *t);

/* Draws the inputs of a case: x[i] NULL where absent. Lives in the case's arena. */
ot_status ot_case_draw(struct op_case *c, void **x, ot_error *err);

/* Does the pattern of input i have a slot at element k? */
bool ot_case_has_slot(const struct case_tensor *t, int i, int64_t k);

/* Uniform in [0, 1): the n-th number of stream s. */
double ot_case_random(uint64_t s, uint64_t n);

#endif
