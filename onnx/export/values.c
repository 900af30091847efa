/* values.c - present values go back to the places of the file that they came from:
 * initializers, sparse initializers, Constant nodes; in their spelling or in the one asked for.
 *
 * SparseTensorProto and Constant's sparse_value came with IR version 6 (comment of IR_VERSION in
 * onnx.proto), sparse_value with opset 11 (Constant-11).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/export/parts.h"
#include "onnx/names.h"
#include "runtime/base/pattern.h"

enum { SPARSE_IR = 6, SPARSE_CONSTANT_OPSET = 11 };

/* What the walk over the file's weights needs. */
struct values {
    struct export_job *job;
    struct names names; /* of exportable constants -> value */
    const char *prefix; /* of names in the graph at hand: a branch's, or "" */
    bool *done;         /* value: its place was found */
    size_t n_dense, n_sparse;
    Onnx__TensorProto **dense; /* the new lists of initializers */
    Onnx__SparseTensorProto **sparse;
};

static const struct tensor *tensor_to_write(const struct export_job *job, int v) {
    const struct tensor *const *all = job->request->present;
    return all && all[v] ? all[v] : job->g->value[v].constant;
}

/* Is this value another one than the file's? Patterns of one graph are shared, not copied. */
static bool changed(const struct export_job *job, int v) {
    const struct tensor *now = tensor_to_write(job, v), *was = job->g->value[v].constant;
    if (now == was) return false;
    return !was || now->type != was->type || now->pattern != was->pattern ||
           !ot_same_shape(now, was) || memcmp(now->data, was->data, ot_bytes(now)) != 0;
}

/* prefix name tail, in memory of the job. */
static ot_status join_names(struct export_job *job, const char *prefix, const char *name,
                            const char *tail, const char **joined) {
    const size_t size = strlen(prefix) + strlen(name) + strlen(tail) + 1;
    void *text;
    OT_TRY(ot_export_alloc(job, size, 1, &text));
    snprintf(text, size, "%s%s%s", prefix, name, tail);
    *joined = text;
    return OT_OK;
}

/* The value of that name whose floats are to be written; -1: the file's contents stay. */
static ot_status find_value(struct values *all, const char *name, int *v) {
    *v = -1;
    if (!name) return OT_OK;
    if (*all->prefix) OT_TRY(join_names(all->job, all->prefix, name, "", &name));
    int known = ot_names_get(&all->names, 0, name);
    if (known == OT_NO_NAME || tensor_to_write(all->job, known)->type != OT_FLOAT) return OT_OK;
    all->done[known] = true;
    *v = known;
    return OT_OK;
}

static ot_status find_values(struct values *all) {
    struct export_job *job = all->job;
    const struct graph *g = job->g;
    void *memory;
    OT_TRY(ot_export_alloc(job, (size_t)g->n_values, sizeof *all->done, &memory));
    all->done = memory;
    ot_names_init(&all->names, &job->small, g->hash);
    for (int v = 0; v < g->n_values; v++) {
        if (!g->value[v].exportable || !g->value[v].constant) continue;
        if (!ot_names_set(&all->names, 0, g->value[v].name, v))
            return ot_fail(job->err, OT_ERROR_NO_MEMORY, "no memory for the names of weights");
    }
    return OT_OK;
}

/* ---- spelling ---- */

/* Shall this value, dense or sparse in the file, be written sparse? */
static bool wants_sparse(const struct export_job *job, int v, bool is_sparse) {
    const struct tensor *t = tensor_to_write(job, v);
    switch (job->request->options.sparse) {
    case OT_EXPORT_SPARSE_INITIALIZER: return t->pattern || is_sparse;
    case OT_EXPORT_SPARSE_DENSE: return false;
    case OT_EXPORT_SPARSE_AUTO: return t->pattern && t->pattern->nnz < ot_elements(t) / 2;
    case OT_EXPORT_SPARSE_AS_IS: break;
    }
    /* a fresh weight in the place of a sparse one has no zeros to leave out */
    return is_sparse && (t->pattern || ot_same_shape(t, job->g->value[v].constant));
}

static ot_status put_value(struct export_job *job, int v, Onnx__TensorProto *dense) {
    const struct tensor *t = tensor_to_write(job, v);
    job->reshaped[v] = !ot_same_shape(t, job->g->value[v].constant);
    return ot_export_put_dense(job, dense, t,
                               job->reshaped[v] ? NULL : job->g->value[v].negative_zeros);
}

static ot_status put_sparse(struct export_job *job, int v, Onnx__SparseTensorProto *sparse) {
    const struct tensor *t = tensor_to_write(job, v);
    bool coo = job->g->value[v].spelling == OT_SPELL_SPARSE_COO;
    job->reshaped[v] = !ot_same_shape(t, job->g->value[v].constant);
    if (!job->model->has_ir_version || job->model->ir_version < SPARSE_IR) {
        job->model->has_ir_version = 1;
        job->model->ir_version = SPARSE_IR;
    }
    return ot_export_put_sparse(job, sparse, t, coo);
}

/* A sparse tensor around the dense one: the same message, with its name, holds the values. */
static ot_status to_sparse(struct export_job *job, Onnx__TensorProto *dense,
                           Onnx__SparseTensorProto **sparse) {
    void *memory;
    OT_TRY(ot_export_alloc(job, 1, sizeof **sparse, &memory));
    *sparse = memory;
    onnx__sparse_tensor_proto__init(*sparse);
    (*sparse)->values = dense;
    /* few runtimes look for the values of a sparse tensor in another file */
    return ot_export_is_external(dense) ? ot_export_set_external(job, dense, false) : OT_OK;
}

/* ---- initializers ---- */

static ot_status put_initializer(struct values *all, Onnx__TensorProto *dense) {
    struct export_job *job = all->job;
    int v;
    OT_TRY(find_value(all, dense->name, &v));
    if (v < 0 || !wants_sparse(job, v, false)) {
        all->dense[all->n_dense++] = dense;
        return v < 0 ? OT_OK : put_value(job, v, dense);
    }
    Onnx__SparseTensorProto *sparse;
    OT_TRY(to_sparse(job, dense, &sparse));
    all->sparse[all->n_sparse++] = sparse;
    return put_sparse(job, v, sparse);
}

static ot_status put_sparse_initializer(struct values *all, Onnx__SparseTensorProto *sparse) {
    struct export_job *job = all->job;
    int v;
    OT_TRY(find_value(all, sparse->values ? sparse->values->name : NULL, &v));
    if (v < 0 || wants_sparse(job, v, true)) {
        all->sparse[all->n_sparse++] = sparse;
        return v < 0 ? OT_OK : put_sparse(job, v, sparse);
    }
    all->dense[all->n_dense++] = sparse->values;
    return put_value(job, v, sparse->values);
}

static ot_status put_initializers(struct values *all, Onnx__GraphProto *graph) {
    struct export_job *job = all->job;
    size_t n = graph->n_initializer + graph->n_sparse_initializer;
    void *dense, *sparse;
    OT_TRY(ot_export_alloc(job, n, sizeof *all->dense, &dense));
    OT_TRY(ot_export_alloc(job, n, sizeof *all->sparse, &sparse));
    all->dense = dense;
    all->sparse = sparse;
    all->n_dense = all->n_sparse = 0;
    for (size_t i = 0; i < graph->n_initializer; i++)
        OT_TRY(put_initializer(all, graph->initializer[i]));
    for (size_t i = 0; i < graph->n_sparse_initializer; i++)
        OT_TRY(put_sparse_initializer(all, graph->sparse_initializer[i]));
    graph->initializer = all->dense;
    graph->n_initializer = all->n_dense;
    graph->sparse_initializer = all->sparse;
    graph->n_sparse_initializer = all->n_sparse;
    return OT_OK;
}

/* ---- Constant nodes ---- */

static ot_status put_constant_dense(struct export_job *job, int v, Onnx__AttributeProto *a) {
    bool sparse = wants_sparse(job, v, false);
    if (sparse && ot_export_opset(job) < SPARSE_CONSTANT_OPSET) {
        ot_log(&job->request->log, OT_LOG_WARNING,
               "Constant '%s' stays dense: sparse_value needs opset %d, the model has %lld",
               job->g->value[v].name, SPARSE_CONSTANT_OPSET, (long long)ot_export_opset(job));
        sparse = false;
    }
    if (!sparse) return put_value(job, v, a->t);
    OT_TRY(to_sparse(job, a->t, &a->sparse_tensor));
    a->t = NULL;
    a->name = (char *)"sparse_value";
    a->has_type = 1;
    a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSOR;
    return put_sparse(job, v, a->sparse_tensor);
}

static ot_status put_constant_sparse(struct export_job *job, int v, Onnx__AttributeProto *a) {
    if (wants_sparse(job, v, true)) return put_sparse(job, v, a->sparse_tensor);
    a->t = a->sparse_tensor->values;
    a->sparse_tensor = NULL;
    a->name = (char *)"value";
    a->has_type = 1;
    a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
    return put_value(job, v, a->t);
}

static ot_status put_constant_floats(struct export_job *job, int v, Onnx__AttributeProto *a) {
    const struct tensor *t = tensor_to_write(job, v);
    if (t->pattern || !ot_same_shape(t, job->g->value[v].constant))
        return ot_fail(job->err, OT_ERROR_UNSUPPORTED,
                       "Constant '%s': its value_floats cannot hold the new value",
                       job->g->value[v].name);
    if (!strcmp(a->name, "value_float")) {
        a->f = *(const float *)t->data;
    } else {
        a->floats = t->data;
        a->n_floats = (size_t)ot_elements(t);
    }
    return OT_OK;
}

static ot_status put_constant(struct values *all, Onnx__NodeProto *node) {
    int v;
    OT_TRY(find_value(all, node->n_output == 1 ? node->output[0] : NULL, &v));
    if (v < 0) return OT_OK;
    for (size_t i = 0; i < node->n_attribute; i++) {
        Onnx__AttributeProto *a = node->attribute[i];
        const char *name = a->name ? a->name : "";
        if (!strcmp(name, "value") && a->t) return put_constant_dense(all->job, v, a);
        if (a->sparse_tensor && a->sparse_tensor->values) /* by whatever name: constant.c */
            return put_constant_sparse(all->job, v, a);
        if (!strcmp(name, "value_float") || !strcmp(name, "value_floats"))
            return put_constant_floats(all->job, v, a);
    }
    return OT_OK;
}

static bool is_a(const Onnx__NodeProto *node, const char *op_type) {
    bool ours = !node->domain || !*node->domain || !strcmp(node->domain, "ai.onnx");
    return ours && node->op_type && !strcmp(node->op_type, op_type);
}

/* ---- all ---- */

static ot_status put_branches(struct values *all, const Onnx__NodeProto *node);

static ot_status put_graph(struct values *all, Onnx__GraphProto *graph) {
    OT_TRY(put_initializers(all, graph));
    for (size_t i = 0; i < graph->n_node; i++) {
        Onnx__NodeProto *node = graph->node[i];
        if (is_a(node, "Constant")) OT_TRY(put_constant(all, node));
        if (is_a(node, "If") || is_a(node, "Loop") || is_a(node, "Scan"))
            OT_TRY(put_branches(all, node));
    }
    return OT_OK;
}

/* The scan that let the model in has bounded how deep subgraphs nest. Only bodies of loops and the
 * branch that import took have values. */
static ot_status put_branches(struct values *all, const Onnx__NodeProto *node) {
    const char *outer = all->prefix;
    size_t first = 0; /* output that is there */
    while (first < node->n_output && !*node->output[first]) first++;
    if (first == node->n_output) return OT_OK;
    for (size_t i = 0; i < node->n_attribute; i++) {
        const Onnx__AttributeProto *a = node->attribute[i];
        const char *place;
        if (!a->g || !a->name) continue;
        OT_TRY(join_names(all->job, "/", a->name, "/", &place));
        OT_TRY(join_names(all->job, outer, node->output[first], place, &all->prefix));
        OT_TRY(put_graph(all, a->g));
        all->prefix = outer;
    }
    return OT_OK;
}

/* Nothing that was trained may be lost. */
static ot_status check_done(const struct values *all) {
    const struct graph *g = all->job->g;
    for (int v = 0; v < g->n_values; v++) {
        if (all->done[v] || !g->value[v].constant || !changed(all->job, v)) continue;
        return ot_fail(all->job->err, OT_ERROR_UNSUPPORTED,
                       "weight '%s' has a new value that cannot be written back: it is %s",
                       g->value[v].name,
                       g->value[v].exportable ? "not in the file" : "inside a local function");
    }
    return OT_OK;
}

ot_status ot_export_values(struct export_job *job) {
    struct values all = {.job = job, .prefix = ""};
    OT_TRY(find_values(&all));
    OT_TRY(put_graph(&all, job->graph));
    return check_done(&all);
}
