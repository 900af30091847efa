/* model_writer.h - writes small ONNX models in memory: the wire format by hand, no protobuf.
 *
 * Begin, then inputs, weights, nodes and outputs in any order, then finish. A writer that has run
 * out of memory takes the other calls and fails in finish. */
#ifndef OT_TOOLS_BENCH_MODEL_WRITER_H
#define OT_TOOLS_BENCH_MODEL_WRITER_H

#include "tools/data/proto.h"

struct model_writer {
    struct message graph;
};

/* An attribute of integers; name NULL ends a list of them. */
struct writer_attribute {
    const char *name;
    bool list; /* INTS, else one INT */
    int count;
    int64_t value[8];
};

void ot_writer_begin(struct model_writer *w);
void ot_writer_input(struct model_writer *w, const char *name, int rank, const int64_t *dim);
void ot_writer_output(struct model_writer *w, const char *name, int rank, const int64_t *dim);
/* An initializer; values are copied. */
void ot_writer_floats(struct model_writer *w, const char *name, int rank, const int64_t *dim,
                      const float *value);
/* A node with two inputs and one output, whose name it takes. attribute may be NULL. */
void ot_writer_node(struct model_writer *w, const char *op, const char *a, const char *b,
                    const char *y, const struct writer_attribute *attribute);
/* The file, which the caller frees; the writer is empty afterwards, on failure too. */
int ot_writer_finish(struct model_writer *w, int opset, unsigned char **bytes, size_t *size,
                     struct failure *f);

#endif
