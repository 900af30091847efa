/* activation.c - hidden Relus become LeakyRelus with slopes of alternating signs (All-ReLU), in the
 * tree of messages, so that the graph and what is exported have them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/model.h"

static const char prefix[] = "all-relu:";

static ot_status read_slope(struct import *im, float *slope) {
    const char *text = im->options->activation;
    char *end = NULL;
    if (!strncmp(text, prefix, sizeof prefix - 1)) {
        *slope = strtof(text + sizeof prefix - 1, &end);
        if (end != text + sizeof prefix - 1 && !*end && isfinite(*slope) && *slope > 0)
            return OT_OK;
    }
    return ot_import_fail(im, OT_ERROR_ARGUMENT,
                          "activation '%.80s' is unknown; there is all-relu:A with a slope A > 0",
                          text);
}

static bool is_relu(const Onnx__NodeProto *node) {
    const bool ours = !node->domain || !*node->domain || !strcmp(node->domain, "ai.onnx");
    return ours && node->op_type && !strcmp(node->op_type, "Relu") && node->n_output == 1;
}

/* It makes no output of the model. */
static bool is_hidden(const Onnx__GraphProto *g, const Onnx__NodeProto *node) {
    for (size_t i = 0; i < g->n_output; i++)
        if (g->output[i]->name && !strcmp(g->output[i]->name, node->output[0])) return false;
    return true;
}

static ot_status set_leaky(struct import *im, Onnx__NodeProto *node, float slope) {
    struct {
        Onnx__AttributeProto attribute, *list[1];
    } *a = ot_arena_alloc(&im->scratch, 1, sizeof *a);
    if (!a) return ot_import_no_room(im, &im->scratch, sizeof *a);
    onnx__attribute_proto__init(&a->attribute);
    a->attribute.name = (char *)"alpha";
    a->attribute.has_type = a->attribute.has_f = 1;
    a->attribute.type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
    a->attribute.f = slope;
    a->list[0] = &a->attribute;
    node->op_type = (char *)"LeakyRelu";
    node->n_attribute = 1;
    node->attribute = a->list;
    return OT_OK;
}

ot_status ot_activation_set(struct import *im) {
    Onnx__GraphProto *g = im->model->graph;
    float slope = 0;
    size_t found = 0;
    if (!im->options->activation || im->visit) return OT_OK; /* a file that was written has them */
    OT_TRY(read_slope(im, &slope));
    for (size_t i = 0; i < g->n_node; i++) {
        if (!is_relu(g->node[i]) || !is_hidden(g, g->node[i])) continue;
        OT_TRY(set_leaky(im, g->node[i], found++ % 2 ? slope : -slope));
    }
    if (found) return OT_OK;
    return ot_import_fail(im, OT_ERROR_ARGUMENT,
                          "activation '%.80s': the model has no hidden Relu that it could replace",
                          im->options->activation);
}
