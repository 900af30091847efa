/* check.h - `onnx-train check`: cases of an ONNX backend test suite, and what became of them. */
#ifndef OT_TOOLS_CHECK_CHECK_H
#define OT_TOOLS_CHECK_CHECK_H

#include "tools/data/proto.h"
#include "tools/model.h"

enum check_outcome {
    CHECK_PASSED,
    CHECK_FAILED,
    CHECK_REFUSED,
    CHECK_SKIPPED, /* there is nothing to check */
    CHECK_OUTCOMES
};

/* A folder with model.onnx and test_data_set_K. */
struct check_case {
    char *name;  /* path beneath the suite's folder */
    char op[64]; /* the operator that its model consists of, or "several" */
    enum check_outcome outcome;
    char reason[600]; /* of what is not passed */
    /* gradients: elements compared, elements without one, weights compared sparse and dense */
    int64_t compared, kinks, sparse;
};

/* The arrays of one side of a data set, in the order of the model. */
struct check_tensors {
    int n;
    struct proto_tensor *t;
};

/* What one case's folder holds, and the tolerances that hold for it. */
struct check_input {
    unsigned char *model;
    size_t size;
    double rtol, atol;
    bool trains; /* a node is in training mode */
    bool casts;  /* of several nodes, one rounds to halves */
    int n_in, n_out;
    char **input; /* names of those that have no initializer */
};

/* Everything that goes wrong with the case itself becomes its outcome; f and the code that comes
 * back are for what ends the whole run. */
typedef int check_fn(struct check_case *c, const char *folder, const struct settings *s,
                     struct failure *f);

/* Compares the outputs of the model with the files. */
int ot_check_outputs(struct check_case *c, const char *folder, const struct settings *s,
                     struct failure *f);

/* Compares gradients of the model's floating-point inputs with differences of its outputs, and
 * sparse weights with dense ones. */
int ot_check_gradients(struct check_case *c, const char *folder, const struct settings *s,
                       struct failure *f);

/* Runs `check` on every case beneath a folder, prints the report, and returns EXIT_CHECK where it
 * is not as it should be. */
int ot_check_suite(const char *folder, check_fn *check, const struct settings *s,
                   struct failure *f);

/* Checks the gradients of the `model` setting: of each node, and of weights through the whole. */
int ot_check_model(const struct settings *s, struct failure *f);

/* ---- files.c ---- */

int ot_check_read(struct check_input *in, const char *folder, struct failure *f);
void ot_check_forget(struct check_input *in); /* frees what ot_check_read has made */
/* Names the operator of the case, and finds out whether it trains and casts. */
void ot_check_name(struct check_case *c, struct check_input *in);
/* The n tensors PREFIX_0.pb, PREFIX_1.pb, ... of a data set. */
int ot_check_load(struct check_tensors *list, const char *set, const char *prefix, int n,
                  struct failure *f);
void ot_check_free(struct check_tensors *list);
ot_tensor ot_check_view(const struct proto_tensor *t);

/* ---- what checks share ---- */

/* A session for these bytes; where there is none, the case says why. */
ot_status ot_check_open(struct check_case *c, const void *model, size_t size, ot_sparse_mode sparse,
                        const struct settings *s, ot_session **session);

/* Sets the outcome. Library errors "unsupported" and "argument" (an input without elements) are
 * refusals, others failures. */
void ot_check_fail(struct check_case *c, const char *format, ...) OT_PRINTF(2, 3);
void ot_check_skip(struct check_case *c, const char *reason);
void ot_check_status(struct check_case *c, const ot_error *err);

#endif
