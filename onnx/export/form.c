/* form.c - BatchNormalization and Dropout nodes between their training and inference forms,
 * in the graph, its subgraphs and its local functions.
 *
 * What says "training" (ONNX Operators.md and Changelog.md):
 *   BatchNormalization  -6: is_test = 0;   7-13: 5 outputs;     14-: training_mode = 1, 3 outputs
 *   Dropout             -6: is_test = 0;   7-11: output mask;   12-: input training_mode
 */
#include <string.h>

#include "onnx/export/uses.h"

enum { NEVER = 1 << 30 };

struct forms {
    struct export_job *job;
    struct uses uses;
    bool training;
    int64_t opset;     /* of the graph or function at hand */
    char *switch_name; /* initializer that holds true; NULL until a Dropout needs it */
};

/* How the form of an operator is written in opsets [from, to). */
struct form {
    const char *op_type;
    int64_t from, to;
    const char *attribute;    /* attribute that says the form; NULL: no attribute does */
    int in_training;          /* value in training; in inference the opposite */
    bool absent_in_inference; /* in inference there is no attribute instead */
    bool may_keep;            /* outputs that are used stay in the inference form */
    bool by_input;            /* input 2 says it */
    size_t inference_outputs;
    const char *output[5]; /* of the training form, NULL behind the last */
    size_t equal[5];       /* the input that such an output is in the inference form; 0: none */
};

#define BN_OUTPUTS                                                                                 \
    {"y", "mean", "var", "saved_mean", "saved_var"}, { 0, 3, 4 }

static const struct form forms[] = {
    {"BatchNormalization", 1, 7, "is_test", 0, false, false, false, 1, BN_OUTPUTS},
    {"BatchNormalization", 7, 14, NULL, 0, false, false, false, 1, BN_OUTPUTS},
    {"BatchNormalization",
     14,
     NEVER,
     "training_mode",
     1,
     true,
     false,
     false,
     1,
     {"y", "running_mean", "running_var"},
     {0, 3, 4}},
    {"Dropout", 1, 7, "is_test", 0, false, false, false, 2, {"y"}, {0}},
    {"Dropout", 7, 12, NULL, 0, false, true, false, 1, {"y", "mask"}, {0}},
    {"Dropout", 12, NEVER, NULL, 0, false, false, true, 2, {"y"}, {0}},
};

static const struct form *form_of(const Onnx__NodeProto *node, int64_t opset) {
    if (!node->op_type || (node->domain && *node->domain && strcmp(node->domain, "ai.onnx")))
        return NULL;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (!strcmp(forms[i].op_type, node->op_type) && opset >= forms[i].from &&
            opset < forms[i].to)
            return &forms[i];
    return NULL;
}

static ot_status node_fail(const struct forms *f, const Onnx__NodeProto *node, ot_status status,
                           const char *why) {
    return ot_fail(f->job->err, status, "node '%s' (%s): %s", node->name ? node->name : "",
                   node->op_type, why);
}

/* The nodes of a graph, with room for those that are added. */
struct node_list {
    Onnx__NodeProto **node;
    size_t n;
};

/* ---- attributes ---- */

static Onnx__AttributeProto *find_attribute(const Onnx__NodeProto *node, const char *name) {
    for (size_t i = 0; i < node->n_attribute; i++)
        if (node->attribute[i]->name && !strcmp(node->attribute[i]->name, name))
            return node->attribute[i];
    return NULL;
}

static void remove_attribute(Onnx__NodeProto *node, const char *name) {
    size_t n = 0;
    for (size_t i = 0; i < node->n_attribute; i++) {
        const char *have = node->attribute[i]->name;
        if (!have || strcmp(have, name)) node->attribute[n++] = node->attribute[i];
    }
    node->n_attribute = n;
}

static ot_status add_attribute(struct forms *f, Onnx__NodeProto *node, const char *name, int i) {
    void *memory, *list;
    remove_attribute(node, name);
    OT_TRY(ot_export_alloc(f->job, 1, sizeof(Onnx__AttributeProto), &memory));
    OT_TRY(ot_export_alloc(f->job, node->n_attribute + 1, sizeof *node->attribute, &list));
    Onnx__AttributeProto *a = memory;
    onnx__attribute_proto__init(a);
    a->name = (char *)name;
    a->has_type = a->has_i = 1;
    a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    a->i = i;
    if (node->n_attribute)
        memcpy(list, node->attribute, node->n_attribute * sizeof *node->attribute);
    node->attribute = list;
    node->attribute[node->n_attribute++] = a;
    return OT_OK;
}

/* A function's attribute may refer to one of the function: then nobody knows what it says. */
static ot_status set_attribute(struct forms *f, const struct form *form, Onnx__NodeProto *node) {
    const Onnx__AttributeProto *a = find_attribute(node, form->attribute);
    const int64_t is = a ? a->i : 0; /* the default of both */
    const bool refers = a && a->ref_attr_name && *a->ref_attr_name;
    if (refers || (is == form->in_training) != f->training) f->job->form_changed = true;
    if (!f->training && form->absent_in_inference) {
        remove_attribute(node, form->attribute);
        return OT_OK;
    }
    const int wanted = f->training ? form->in_training : !form->in_training;
    return a && !refers && is == wanted ? OT_OK : add_attribute(f, node, form->attribute, wanted);
}

/* ---- outputs ---- */

/* What an output of the training form is in the inference form. */
static ot_status add_identity(struct forms *f, char *input, char *output, struct node_list *list) {
    void *node, *names;
    OT_TRY(ot_export_alloc(f->job, 1, sizeof(Onnx__NodeProto), &node));
    OT_TRY(ot_export_alloc(f->job, 2, sizeof(char *), &names));
    Onnx__NodeProto *p = node;
    onnx__node_proto__init(p);
    p->op_type = (char *)"Identity";
    p->name = output;
    p->n_input = p->n_output = 1;
    p->input = names;
    p->output = p->input + 1;
    p->input[0] = input;
    p->output[0] = output;
    list->node[list->n++] = p;
    return OT_OK;
}

static ot_status cut_outputs(struct forms *f, const struct form *form, Onnx__NodeProto *node,
                             struct node_list *list) {
    const size_t most = form->inference_outputs;
    for (size_t i = most; i < node->n_output; i++) {
        char *name = node->output[i];
        if (!*name) continue;
        if (ot_uses_of(&f->uses, name) <= 0) {
            ot_uses_drop(&f->uses, name);
        } else if (form->may_keep) {
            return OT_OK;
        } else if (i < 5 && form->equal[i] && form->equal[i] < node->n_input) {
            OT_TRY(add_identity(f, node->input[form->equal[i]], name, list));
        } else {
            return ot_fail(f->job->err, OT_ERROR_UNSUPPORTED,
                           "node '%s' (%s): output '%s' is used elsewhere, but does not exist in "
                           "the inference form",
                           node->name ? node->name : "", node->op_type, name);
        }
        f->job->form_changed |= !form->may_keep;
    }
    if (node->n_output > most) node->n_output = most;
    return OT_OK;
}

static ot_status add_outputs(struct forms *f, Onnx__NodeProto *node, const char *const *word) {
    void *memory;
    size_t n = 0;
    while (n < 5 && word[n]) n++;
    if (n < node->n_output) n = node->n_output;
    if (!node->n_output) return OT_OK;
    OT_TRY(ot_export_alloc(f->job, n, sizeof *node->output, &memory));
    char **output = memory;
    for (size_t i = 0; i < n; i++) {
        bool there = i < node->n_output && *node->output[i];
        if (there)
            output[i] = node->output[i];
        else
            OT_TRY(ot_uses_fresh(&f->uses, node->output[0], word[i], &output[i]));
    }
    node->output = output;
    node->n_output = n;
    f->job->form_changed = true;
    return OT_OK;
}

/* ---- Dropout's input: data, ratio, training_mode ---- */

/* A scalar initializer that is true. */
static ot_status add_switch(struct forms *f) {
    Onnx__GraphProto *g = f->job->graph;
    void *memory, *list, *value;
    OT_TRY(ot_export_alloc(f->job, 1, sizeof(Onnx__TensorProto), &memory));
    OT_TRY(ot_export_alloc(f->job, g->n_initializer + 1, sizeof *g->initializer, &list));
    OT_TRY(ot_export_alloc(f->job, 1, 1, &value));
    OT_TRY(ot_uses_fresh(&f->uses, "", "training_mode", &f->switch_name));
    Onnx__TensorProto *t = memory;
    onnx__tensor_proto__init(t);
    t->name = f->switch_name;
    t->has_data_type = t->has_raw_data = 1;
    t->data_type = OT_BOOL;
    t->raw_data.data = value;
    t->raw_data.data[0] = 1;
    t->raw_data.len = 1;
    if (g->n_initializer) memcpy(list, g->initializer, g->n_initializer * sizeof *g->initializer);
    g->initializer = list;
    g->initializer[g->n_initializer++] = t;
    return OT_OK;
}

/* Of the graph's own names; in functions nobody knows what an input holds. */
static bool is_known_false(const struct forms *f, const char *name) {
    const struct graph *g = f->job->g;
    if (f->uses.scope) return false;
    for (int v = 0; v < g->n_values; v++) {
        const struct tensor *t = g->value[v].constant;
        if (t && t->type == OT_BOOL && ot_elements(t) == 1 && !strcmp(g->value[v].name, name))
            return !*(const uint8_t *)t->data;
    }
    return false;
}

static ot_status set_input(struct forms *f, Onnx__NodeProto *node) {
    void *memory;
    const bool says = node->n_input > 2 && *node->input[2];
    const bool is_off = !says || is_known_false(f, node->input[2]);
    if (!f->training && is_off) return OT_OK;
    f->job->form_changed = true;
    if (says) ot_uses_drop(&f->uses, node->input[2]); /* its initializer goes with its last user */
    if (!f->training) {
        node->n_input = *node->input[1] ? 2 : 1;
        return OT_OK;
    }
    if (!f->switch_name) OT_TRY(add_switch(f));
    OT_TRY(ot_export_alloc(f->job, 3, sizeof *node->input, &memory));
    char **input = memory;
    for (size_t i = 0; i < 2; i++) input[i] = i < node->n_input ? node->input[i] : (char *)"";
    input[2] = f->switch_name;
    node->input = input;
    node->n_input = 3;
    return OT_OK;
}

/* ---- the graph, its subgraphs and functions ---- */

static ot_status set_node(struct forms *f, const struct form *form, Onnx__NodeProto *node,
                          struct node_list *list) {
    if (f->training && f->uses.scope)
        return node_fail(f, node, OT_ERROR_UNSUPPORTED,
                         "it is in a local function, which only form=as-is can export");
    if (form->by_input) return set_input(f, node);
    if (form->attribute) OT_TRY(set_attribute(f, form, node));
    return f->training ? add_outputs(f, node, form->output) : cut_outputs(f, form, node, list);
}

static void drop_leftovers(const struct forms *f, Onnx__GraphProto *g) {
    size_t n = 0;
    for (size_t i = 0; i < g->n_value_info; i++)
        if (!ot_uses_is_dropped(&f->uses, g->value_info[i]->name))
            g->value_info[n++] = g->value_info[i];
    g->n_value_info = n;
    n = 0;
    for (size_t i = 0; i < g->n_initializer; i++)
        if (!ot_uses_is_dropped(&f->uses, g->initializer[i]->name))
            g->initializer[n++] = g->initializer[i];
    g->n_initializer = n;
}

static ot_status set_graph(struct forms *f, Onnx__GraphProto *g);

/* An operator adds two nodes at most. The scan has bounded how deep graphs nest. */
static ot_status set_nodes(struct forms *f, Onnx__NodeProto ***node, size_t *n) {
    void *memory;
    OT_TRY(ot_export_alloc(f->job, 3 * *n, sizeof **node, &memory));
    struct node_list list = {.node = memory};
    for (size_t k = 0; k < *n; k++) {
        Onnx__NodeProto *p = list.node[list.n++] = (*node)[k];
        const struct form *form = form_of(p, f->opset);
        if (form) OT_TRY(set_node(f, form, p, &list));
        for (size_t i = 0; i < p->n_attribute; i++) {
            if (p->attribute[i]->g) OT_TRY(set_graph(f, p->attribute[i]->g));
            for (size_t j = 0; j < p->attribute[i]->n_graphs; j++)
                OT_TRY(set_graph(f, p->attribute[i]->graphs[j]));
        }
    }
    *node = list.node;
    *n = list.n;
    return OT_OK;
}

static ot_status set_graph(struct forms *f, Onnx__GraphProto *g) {
    OT_TRY(set_nodes(f, &g->node, &g->n_node));
    drop_leftovers(f, g);
    return OT_OK;
}

static int64_t opset_of(const Onnx__FunctionProto *p) {
    for (size_t i = 0; i < p->n_opset_import; i++) {
        const char *domain = p->opset_import[i]->domain;
        if (!domain || !*domain || !strcmp(domain, "ai.onnx")) return p->opset_import[i]->version;
    }
    return 0;
}

ot_status ot_export_set_form(struct export_job *job) {
    struct forms f = {.job = job,
                      .training = job->request->options.form == OT_EXPORT_FORM_TRAINING};
    const Onnx__ModelProto *m = job->model;
    if (job->request->options.form == OT_EXPORT_FORM_AS_IS) return OT_OK;
    OT_TRY(ot_uses_find(&f.uses, job));
    for (size_t i = 0; i < m->n_functions; i++) {
        f.uses.scope = i + 1;
        f.opset = opset_of(m->functions[i]);
        OT_TRY(set_nodes(&f, &m->functions[i]->node, &m->functions[i]->n_node));
    }
    f.uses.scope = 0;
    f.opset = ot_export_opset(job);
    return set_graph(&f, job->graph);
}
