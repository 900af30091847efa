/* export_form.c - BatchNormalization and Dropout nodes between their training and inference forms.
 *
 * What says "training" (ONNX Operators.md and Changelog.md):
 *   BatchNormalization  -6: is_test = 0;   7-13: 5 outputs;     14-: training_mode = 1, 3 outputs
 *   Dropout             -6: is_test = 0;   7-11: output mask;   12-: input training_mode
 */
#include <stdio.h>
#include <string.h>

#include "onnx/export_parts.h"
#include "onnx/names.h"

enum { SCOPE_USES = 0 }; /* name -> how often it is read; DROPPED once nobody makes it any more */
enum { DROPPED = -1, NEVER = 1 << 30 };

struct forms {
    struct export_job *job;
    struct names names;
    bool training;
    int64_t opset;
    char *switch_name; /* initializer that holds true; NULL until a Dropout needs it */
};

/* How the form of an operator is written in opsets [from, to). */
struct form {
    const char *op_type;
    int64_t from, to;
    const char *attribute;    /* that says it; NULL: none does */
    int in_training;          /* its value in training; in inference the opposite ... */
    bool absent_in_inference; /* ... or no attribute */
    size_t inference_outputs;
    const char *output[5]; /* of the training form, NULL behind the last */
    bool by_input;         /* input 2 says it */
};

static const struct form forms[] = {
    {"BatchNormalization",
     1,
     7,
     "is_test",
     0,
     false,
     1,
     {"y", "mean", "var", "saved_mean", "saved_var"},
     false},
    {"BatchNormalization",
     7,
     14,
     NULL,
     0,
     false,
     1,
     {"y", "mean", "var", "saved_mean", "saved_var"},
     false},
    {"BatchNormalization",
     14,
     NEVER,
     "training_mode",
     1,
     true,
     1,
     {"y", "running_mean", "running_var"},
     false},
    {"Dropout", 1, 7, "is_test", 0, false, 2, {"y"}, false},
    {"Dropout", 7, 12, NULL, 0, false, 1, {"y", "mask"}, false},
    {"Dropout", 12, NEVER, NULL, 0, false, 2, {"y"}, true},
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

/* ---- names ---- */

static ot_status note_name(struct forms *f, const char *name, int uses) {
    if (!name || !*name) return OT_OK;
    int before = ot_names_get(&f->names, SCOPE_USES, name);
    if (before != OT_NO_NAME) uses += before;
    if (ot_names_set(&f->names, SCOPE_USES, name, uses)) return OT_OK;
    return ot_fail(f->job->err, OT_ERROR_NO_MEMORY, "no memory for the names of the graph");
}

static ot_status note_node(struct forms *f, const Onnx__NodeProto *node) {
    for (size_t i = 0; i < node->n_input; i++) OT_TRY(note_name(f, node->input[i], 1));
    for (size_t i = 0; i < node->n_output; i++) OT_TRY(note_name(f, node->output[i], 0));
    for (size_t i = 0; i < node->n_attribute; i++)
        if (node->attribute[i]->g || node->attribute[i]->n_graphs)
            return node_fail(f, node, OT_ERROR_UNSUPPORTED,
                             "holds a subgraph; form=as-is is possible");
    return OT_OK;
}

static ot_status note_names(struct forms *f) {
    const Onnx__GraphProto *g = f->job->graph;
    ot_names_init(&f->names, &f->job->bump, f->job->g->hash);
    for (size_t i = 0; i < g->n_node; i++) OT_TRY(note_node(f, g->node[i]));
    for (size_t i = 0; i < g->n_input; i++) OT_TRY(note_name(f, g->input[i]->name, 0));
    for (size_t i = 0; i < g->n_output; i++) OT_TRY(note_name(f, g->output[i]->name, 1));
    for (size_t i = 0; i < g->n_initializer; i++) OT_TRY(note_name(f, g->initializer[i]->name, 0));
    for (size_t i = 0; i < g->n_sparse_initializer; i++)
        if (g->sparse_initializer[i]->values)
            OT_TRY(note_name(f, g->sparse_initializer[i]->values->name, 0));
    for (size_t i = 0; i < g->n_value_info; i++) OT_TRY(note_name(f, g->value_info[i]->name, 0));
    return OT_OK;
}

/* stem_word, with a number behind it where that is taken. */
static ot_status fresh_name(struct forms *f, const char *stem, const char *word, char **name) {
    void *memory;
    size_t size = strlen(stem) + strlen(word) + 24;
    OT_TRY(ot_export_alloc(f->job, size, 1, &memory));
    *name = memory;
    snprintf(*name, size, "%s%s%s", stem, *stem ? "_" : "", word);
    for (int i = 1; ot_names_get(&f->names, SCOPE_USES, *name) != OT_NO_NAME; i++)
        snprintf(*name, size, "%s%s%s_%d", stem, *stem ? "_" : "", word, i);
    return note_name(f, *name, 0);
}

/* ---- attributes, outputs, input ---- */

static void remove_attribute(Onnx__NodeProto *node, const char *name) {
    size_t n = 0;
    for (size_t i = 0; i < node->n_attribute; i++) {
        const char *have = node->attribute[i]->name;
        if (!have || strcmp(have, name)) node->attribute[n++] = node->attribute[i];
    }
    node->n_attribute = n;
}

static ot_status set_attribute(struct forms *f, Onnx__NodeProto *node, const char *name, int i) {
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

static ot_status cut_outputs(struct forms *f, Onnx__NodeProto *node, size_t most) {
    for (size_t i = most; i < node->n_output; i++) {
        const char *name = node->output[i];
        if (!*name) continue;
        if (ot_names_get(&f->names, SCOPE_USES, name) > 0) {
            ot_fail(f->job->err, OT_ERROR_UNSUPPORTED,
                    "node '%s' (%s): output '%s' is used elsewhere; the inference form has none",
                    node->name ? node->name : "", node->op_type, name);
            return OT_ERROR_UNSUPPORTED;
        }
        ot_names_set(&f->names, SCOPE_USES, name, DROPPED); /* is there: needs no memory */
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
            OT_TRY(fresh_name(f, node->output[0], word[i], &output[i]));
    }
    node->output = output;
    node->n_output = n;
    return OT_OK;
}

/* A scalar initializer that is true. */
static ot_status add_switch(struct forms *f) {
    Onnx__GraphProto *g = f->job->graph;
    void *memory, *list, *value;
    OT_TRY(ot_export_alloc(f->job, 1, sizeof(Onnx__TensorProto), &memory));
    OT_TRY(ot_export_alloc(f->job, g->n_initializer + 1, sizeof *g->initializer, &list));
    OT_TRY(ot_export_alloc(f->job, 1, 1, &value));
    OT_TRY(fresh_name(f, "", "training_mode", &f->switch_name));
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

/* Inputs of Dropout: data, ratio, training_mode. */
static ot_status set_input(struct forms *f, Onnx__NodeProto *node) {
    void *memory;
    if (node->n_input > 2) {
        const char *name = node->input[2];
        int uses = *name ? ot_names_get(&f->names, SCOPE_USES, name) : 0;
        /* its initializer goes with its last user */
        if (uses > 0) ot_names_set(&f->names, SCOPE_USES, name, uses > 1 ? uses - 1 : DROPPED);
        node->n_input = 2;
    }
    if (!f->training) {
        if (node->n_input == 2 && !*node->input[1]) node->n_input = 1;
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

/* ---- the graph ---- */

static ot_status set_node(struct forms *f, const struct form *form, Onnx__NodeProto *node) {
    if (form->by_input) return set_input(f, node);
    if (form->attribute && !f->training && form->absent_in_inference)
        remove_attribute(node, form->attribute);
    else if (form->attribute)
        OT_TRY(set_attribute(f, node, form->attribute,
                             f->training ? form->in_training : !form->in_training));
    return f->training ? add_outputs(f, node, form->output)
                       : cut_outputs(f, node, form->inference_outputs);
}

static ot_status check_functions(const struct forms *f) {
    const Onnx__ModelProto *m = f->job->model;
    for (size_t i = 0; i < m->n_functions; i++)
        for (size_t k = 0; k < m->functions[i]->n_node; k++)
            if (form_of(m->functions[i]->node[k], f->opset))
                return node_fail(f, m->functions[i]->node[k], OT_ERROR_UNSUPPORTED,
                                 "stands in a local function; form=as-is is possible");
    return OT_OK;
}

static bool is_dropped(const struct forms *f, const char *name) {
    return name && ot_names_get(&f->names, SCOPE_USES, name) == DROPPED;
}

static void drop_leftovers(const struct forms *f) {
    Onnx__GraphProto *g = f->job->graph;
    size_t n = 0;
    for (size_t i = 0; i < g->n_value_info; i++)
        if (!is_dropped(f, g->value_info[i]->name)) g->value_info[n++] = g->value_info[i];
    g->n_value_info = n;
    n = 0;
    for (size_t i = 0; i < g->n_initializer; i++)
        if (!is_dropped(f, g->initializer[i]->name)) g->initializer[n++] = g->initializer[i];
    g->n_initializer = n;
}

ot_status ot_export_set_form(struct export_job *job) {
    struct forms f = {.job = job,
                      .training = job->request->options.form == OT_EXPORT_FORM_TRAINING,
                      .opset = ot_export_opset(job)};
    if (job->request->options.form == OT_EXPORT_FORM_AS_IS) return OT_OK;
    OT_TRY(note_names(&f));
    OT_TRY(check_functions(&f));
    for (size_t i = 0; i < job->graph->n_node; i++) {
        const struct form *form = form_of(job->graph->node[i], f.opset);
        if (form) OT_TRY(set_node(&f, form, job->graph->node[i]));
    }
    drop_leftovers(&f);
    return OT_OK;
}
