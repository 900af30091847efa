/* model.h - tests write small ONNX models with this: the wire format by hand, no protobuf. */
#ifndef OT_TESTS_MODEL_H
#define OT_TESTS_MODEL_H

#include <stddef.h>
#include <stdint.h>

struct bytes {
    unsigned char *at;
    size_t n, capacity;
};

/* Wire format. */
void bytes_varint(struct bytes *b, uint64_t v);
void bytes_int(struct bytes *b, int field, int64_t v);
void bytes_float(struct bytes *b, int field, float v);
void bytes_blob(struct bytes *b, int field, const void *p, size_t n);
void bytes_text(struct bytes *b, int field, const char *s);
void bytes_message(struct bytes *b, int field, struct bytes *inner); /* frees inner */

struct model {
    struct bytes graph;
    int opset;
};

void model_begin(struct model *m, int opset);
/* dim < 0: a symbolic one. type: TensorProto.DataType. */
void model_input(struct model *m, const char *name, int type, int rank, const int64_t *dim);
void model_output(struct model *m, const char *name, int type, int rank, const int64_t *dim);
void model_floats(struct model *m, const char *name, int rank, const int64_t *dim, const float *v);
void model_ints(struct model *m, const char *name, int n, const int64_t *v);
/* inputs, outputs: names with blanks between, "-" for an absent one. attributes: "alpha=0.5
 * axis=1 pads=1,1,1,1 mode=linear"; a number with a point is a float, a list has commas (one
 * element: "axes=2,"). The node is named as its first output. */
void model_node(struct model *m, const char *op, const char *inputs, const char *outputs,
                const char *attributes);
/* The file; the caller frees it. */
unsigned char *model_finish(struct model *m, size_t *size);

#endif
