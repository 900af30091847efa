/* model.h - a model opened with the command's settings. */
#ifndef OT_TOOLS_MODEL_H
#define OT_TOOLS_MODEL_H

#include "tools/data/batch.h"

struct model {
    ot_session *session;
    ot_model_info info;
    int n_inputs, n_outputs;
    ot_value_info input[MAX_INPUTS];
    ot_value_info output; /* the one that the loss looks at: output=, or the first */
    int output_index;
    bool opening;
    char held[520]; /* a warning that is not printed yet */
};

/* Opens the file of the `model` setting; its warnings go to stderr. */
int ot_model_open(struct model *m, const struct settings *s, struct failure *f);
/* Makes a multi-layer perceptron instead. */
int ot_model_open_mlp(struct model *m, const struct settings *s, const int64_t *units, int n,
                      struct failure *f);
void ot_model_close(struct model *m);

/* Looks at another output, where `output` has been set since the model was opened. */
int ot_model_choose_output(struct model *m, const struct settings *s, struct failure *f);

/* Loads the `checkpoint` setting's weights, where it is set. */
int ot_model_load(struct model *m, const struct settings *s, struct failure *f);

/* For data that do not fit: whether the model fits itself. Plans it for its own shapes where they
 * are fixed; where that fails, the model is at fault and f says so. Returns f's code. */
int ot_model_blame(struct model *m, struct failure *f);

/* What the model asks of its data. Lives as long as m. */
void ot_model_request(const struct model *m, const struct settings *s,
                      struct data_request *request);

/* Types and shapes of inputs to plan for, without data: batch= samples, and where the model leaves
 * dimensions free, size= (224) for height and width of images, length= for tokens. */
int ot_model_shapes(const struct model *m, const struct settings *s, ot_tensor *inputs,
                    struct failure *f);

/* Loss of the settings; label smoothing and Huber's delta with it. */
int ot_model_set_loss(struct model *m, const struct settings *s, struct failure *f);

/* Classes that the output tells apart: its second dimension; 0 where that is free. */
int64_t ot_model_classes(const struct model *m);

/* For a library error: takes its text. Memory errors become EXIT_MEMORY, non-finite values
 * EXIT_DIVERGED, file errors EXIT_RUNTIME, everything else `code`. */
int ot_refuse_status(struct failure *f, int code, const ot_error *err);

/* The share of weights' elements that are structural zeros. */
double ot_model_sparsity(const struct model *m);

#endif
