/* model.c - small ONNX models from one line a node. */
#include "tests/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void model_begin(struct test_model *m, int opset) {
    *m = (struct test_model){0};
    wire_open_model_at(&m->wire, opset);
}

void model_input(struct test_model *m, const char *name, int type, int rank, const int64_t *dim) {
    wire_value(&m->wire, 11, name, type, rank, dim);
}

void model_output(struct test_model *m, const char *name, int type, int rank, const int64_t *dim) {
    wire_value(&m->wire, 12, name, type, rank, dim);
}

void model_hint(struct test_model *m, const char *name, int type, int rank, const int64_t *dim) {
    wire_value(&m->wire, 13, name, type, rank, dim);
}

void model_floats(struct test_model *m, const char *name, int rank, const int64_t *dim,
                  const float *v) {
    wire_floats(&m->wire, 5, name, rank, dim, v);
}

void model_ints(struct test_model *m, const char *name, int n, const int64_t *v) {
    wire_open_tensor(&m->wire, 5, name, OT_INT64, 1, (const int64_t[]){n});
    wire_bytes(&m->wire, 9, v, (size_t)n * sizeof *v);
    wire_end(&m->wire);
}

void model_integer(struct test_model *m, const char *name, int64_t v) {
    wire_open_tensor(&m->wire, 5, name, OT_INT64, 0, NULL);
    wire_bytes(&m->wire, 9, &v, sizeof v);
    wire_end(&m->wire);
}

enum { FLOAT = 1, INT = 2, STRING = 3, GRAPH = 5, INTS = 7 }; /* AttributeProto.AttributeType */

static void attribute(struct wire *w, char *text) {
    char *value = strchr(text, '=');
    int type = STRING;
    *value++ = 0;
    wire_begin(w, 5);
    wire_string(w, 1, text);
    if (strchr(value, ',')) {
        type = INTS;
        for (char *s = value; *s; s += strcspn(s, ","), s += *s == ',')
            wire_int(w, 8, strtoll(s, NULL, 10));
    } else if (strspn(value, "0123456789-") == strlen(value)) {
        type = INT;
        wire_int(w, 3, strtoll(value, NULL, 10));
    } else if (strspn(value, "0123456789-.e") == strlen(value)) {
        type = FLOAT;
        wire_float(w, 2, strtof(value, NULL));
    } else {
        wire_string(w, 4, value);
    }
    wire_int(w, 20, type);
    wire_end(w);
}

static void end_node(struct test_model *m, const char *attributes) {
    char copy[512], *rest = NULL;
    snprintf(copy, sizeof copy, "%s", attributes ? attributes : "");
    for (char *s = strtok_r(copy, " ", &rest); s; s = strtok_r(NULL, " ", &rest))
        attribute(&m->wire, s);
    wire_end(&m->wire);
}

void model_node(struct test_model *m, const char *op, const char *inputs, const char *outputs,
                const char *attributes) {
    wire_open_node(&m->wire, op, inputs, outputs);
    wire_bytes(&m->wire, 3, outputs, strcspn(outputs, " "));
    end_node(m, attributes);
}

void model_loop_begin(struct test_model *m, const char *op, const char *inputs,
                      const char *outputs) {
    wire_open_node(&m->wire, op, inputs, outputs);
    wire_bytes(&m->wire, 3, outputs, strcspn(outputs, " "));
    wire_begin(&m->wire, 5);
    wire_string(&m->wire, 1, "body");
    wire_int(&m->wire, 20, GRAPH);
    wire_begin(&m->wire, 6);
    wire_string(&m->wire, 2, "body");
}

void model_loop_end(struct test_model *m, const char *attributes) {
    wire_end(&m->wire);
    wire_end(&m->wire);
    end_node(m, attributes);
}

unsigned char *model_finish(struct test_model *m, size_t *size) {
    wire_close_model(&m->wire);
    *size = m->wire.n;
    return m->wire.p;
}

ot_status model_open(struct test_model *m, const ot_options *options, ot_session **s,
                     ot_error *err) {
    size_t size;
    unsigned char *file = model_finish(m, &size);
    const ot_status status = ot_open_buffer(file, size, options, s, err);
    free(file);
    return status;
}
