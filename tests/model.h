/* model.h - tests write small ONNX models with this: tensors, nodes, attributes as text. */
#ifndef OT_TESTS_MODEL_H
#define OT_TESTS_MODEL_H

#include "runtime/onnxtrain.h"
#include "tests/wire.h"

struct test_model {
    struct wire wire;
};

void model_begin(struct test_model *m, int opset);
/* dim < 0: a free one. type: TensorProto.DataType. */
void model_input(struct test_model *m, const char *name, int type, int rank, const int64_t *dim);
void model_output(struct test_model *m, const char *name, int type, int rank, const int64_t *dim);
void model_hint(struct test_model *m, const char *name, int type, int rank, const int64_t *dim);
void model_floats(struct test_model *m, const char *name, int rank, const int64_t *dim,
                  const float *v);
void model_ints(struct test_model *m, const char *name, int n, const int64_t *v);
void model_integer(struct test_model *m, const char *name, int64_t v); /* a scalar */
/* inputs, outputs: names with blanks between them, "-" for an absent one. attributes: "alpha=0.5
 * axis=1 pads=1,1,1,1 mode=linear"; a number with a point is a float, a list has commas (one
 * element: "axes=2,"). The node is named as its first output. */
void model_node(struct test_model *m, const char *op, const char *inputs, const char *outputs,
                const char *attributes);
/* A node whose attribute `body` is a graph: what is written until model_loop_end belongs to it. */
void model_loop_begin(struct test_model *m, const char *op, const char *inputs,
                      const char *outputs);
void model_loop_end(struct test_model *m, const char *attributes);
/* The file; the caller frees it. */
unsigned char *model_finish(struct test_model *m, size_t *size);
/* A session with the model, which is finished by it. */
ot_status model_open(struct test_model *m, const ot_options *options, ot_session **s,
                     ot_error *err);

#endif
