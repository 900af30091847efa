/* op.c - what the prepare functions of operators share. */
#include "ops/op.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ops/kernels/kernels.h"

const char *ot_isa_name(int i) {
    const struct kernels *k = ot_kernels_at(i);
    return k ? k->name : NULL;
}

const struct kernels *ot_kernels_find(const char *isa) {
    for (int i = 0; ot_kernels_at(i); i++)
        if (!isa || !strcmp(isa, ot_kernels_at(i)->name)) return ot_kernels_at(i);
    return NULL;
}

static const char kinds[] = {[OT_ATTR_INT] = 'i',     [OT_ATTR_FLOAT] = 'f', [OT_ATTR_STRING] = 's',
                             [OT_ATTR_TENSOR] = 't',  [OT_ATTR_INTS] = 'I',  [OT_ATTR_FLOATS] = 'F',
                             [OT_ATTR_STRINGS] = 'S', [OT_ATTR_VIEW] = 'v',  [OT_ATTR_OTHER] = '?'};

/* The kind that the operator's list gives for an attribute; 0: not in the list. */
static char listed_kind(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *p = list; *p; p += strcspn(p, " ")) {
        p += strspn(p, " ");
        if (!strncmp(p, name, n) && p[n] == ':') return p[n + 1];
    }
    return 0;
}

static ot_status check_attributes(const struct op *op, const struct node *node, ot_error *err) {
    for (int i = 0; i < node->n_attr; i++) {
        const struct attr *a = &node->attr[i];
        char kind = listed_kind(op->attributes, a->name);
        if (!kind)
            return ot_fail(err, OT_ERROR_UNSUPPORTED, "attribute '%s' is not supported", a->name);
        if (kind != kinds[a->kind])
            return ot_fail(err, OT_ERROR_INVALID, "attribute '%s' has the wrong type", a->name);
    }
    return OT_OK;
}

ot_status ot_op_check(const struct op *op, const struct node *node, ot_error *err) {
    if (node->opset < op->since)
        return ot_fail(err, OT_ERROR_UNSUPPORTED, "opset %d is older than %d, the first supported",
                       node->opset, op->since);
    if (node->n_in < op->min_in || (op->max_in >= 0 && node->n_in > op->max_in))
        return ot_fail(err, OT_ERROR_INVALID,
                       "the node has %d inputs, which the operator does not allow", node->n_in);
    if (node->n_out < op->min_out || (op->max_out >= 0 && node->n_out > op->max_out))
        return ot_fail(err, OT_ERROR_INVALID,
                       "the node has %d outputs, which the operator does not allow", node->n_out);
    for (int i = 0; i < op->min_in; i++)
        if (node->in[i] < 0) return ot_fail(err, OT_ERROR_INVALID, "input %d is missing", i);
    for (int i = 0; i < op->min_out && op->max_out >= 0; i++)
        if (node->out[i] < 0) return ot_fail(err, OT_ERROR_INVALID, "output %d is missing", i);
    return check_attributes(op, node, err);
}

ot_status ot_op_fail(const struct op_node *n, ot_error *err, ot_status status, const char *format,
                     ...) {
    char text[384];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return ot_fail(err, status, "node %d '%.100s' (%s): %s", n->index, n->node->name, n->op->name,
                   text);
}

ot_status ot_op_fault(struct op_node *n, ot_error *err) {
    int fault = atomic_exchange_explicit(&n->fault, 0, memory_order_relaxed);
    if (!fault) return OT_OK;
    if (fault < 0)
        return ot_op_fail(n, err, OT_ERROR_ARGUMENT, "the index at position %d is out of range",
                          -(fault + 1));
    if (fault == OT_FAULT_ENDING)
        return ot_op_fail(n, err, OT_ERROR_STATE, "the process is ending");
    return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "oneDNN failed with status %d", fault);
}

size_t ot_op_ask_work(struct op_node *n, size_t bytes) {
    const size_t from = n->work_size, line = 64;
    n->work_size += (bytes + line - 1) / line * line;
    return from;
}

ot_status ot_op_open(struct op_node *n, struct arena *arena, ot_error *err) {
    void *work = n->work_size ? ot_arena_alloc(arena, 1, n->work_size) : NULL;
    if (n->work_size && !work) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    return ot_op_open_in(n, work, err);
}

ot_status ot_op_open_in(struct op_node *n, void *work, ot_error *err) {
    n->work = n->work_size ? work : NULL;
    return n->work && n->op->open ? n->op->open(n, err) : OT_OK;
}

void ot_op_close(struct op_node *n) {
    if (n->work && n->op->close) n->op->close(n);
    n->work = NULL;
}

ot_status ot_op_set(struct op_node *n, struct tensor *y, ot_type type, int rank, const int64_t *dim,
                    ot_error *err) {
    int64_t count;
    if (rank > OT_MAX_RANK)
        return ot_op_fail(n, err, OT_ERROR_LIMIT, "the result has rank %d, too many dimensions",
                          rank);
    for (int i = 0; i < rank; i++)
        if (dim[i] < 0)
            return ot_op_fail(n, err, OT_ERROR_INVALID, "dimension %d of the result is %lld", i,
                              (long long)dim[i]);
    if (!ot_shape_count(dim, rank, (int64_t)1 << 40, &count))
        return ot_op_fail(n, err, OT_ERROR_LIMIT, "the result has more than 2^40 elements");
    y->type = type;
    y->rank = rank;
    if (rank) memcpy(y->dim, dim, (size_t)rank * sizeof *dim); /* a scalar's dim may be NULL */
    return OT_OK;
}

void ot_op_like(struct tensor *y, const struct tensor *x) {
    y->type = x->type;
    y->rank = x->rank;
    memcpy(y->dim, x->dim, sizeof y->dim);
}

ot_status ot_op_type(const struct op_node *n, int i, ot_type type, ot_error *err) {
    if (i >= n->n_in || !n->x[i])
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d is missing", i);
    if (n->x[i]->type != type)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input %d is %s, expected %s", i,
                          ot_type_name(n->x[i]->type), ot_type_name(type));
    return OT_OK;
}

ot_type ot_op_asked_type(const struct op_node *n, const char *attribute, ot_type otherwise) {
    const int64_t asked = ot_attr_int(n->node, attribute, otherwise);
    const ot_type type = asked > 0 && asked < 255 ? (ot_type)asked : OT_UNDEFINED;
    if (type == OT_DOUBLE || type == OT_FLOAT16 || type == OT_BFLOAT16) return OT_FLOAT;
    return ot_type_size(type) ? type : OT_UNDEFINED;
}

ot_status ot_op_axis(const struct op_node *n, int64_t axis, int rank, int *out, ot_error *err) {
    if (axis < -rank || axis >= rank)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "axis %lld does not exist in a tensor of rank %d", (long long)axis, rank);
    *out = (int)(axis < 0 ? axis + rank : axis);
    return OT_OK;
}

ot_status ot_op_ints(const struct op_node *n, int i, const int64_t **values, int *count,
                     ot_error *err) {
    *values = NULL;
    *count = 0;
    if (i >= n->n_in || !n->x[i]) return OT_OK;
    const struct tensor *t = n->x[i];
    if (t->role != OT_ROLE_CONST)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input %d is not a constant", i);
    int64_t elements = ot_elements(t);
    if (t->rank > 1 || elements > 65536)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d is not a short list", i);
    if (t->type == OT_INT64) {
        *values = t->data;
    } else if (t->type == OT_INT32) {
        int64_t *wide = ot_arena_alloc(n->arena, (size_t)elements, sizeof *wide);
        if (!wide) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
        for (int64_t k = 0; k < elements; k++) wide[k] = ((const int32_t *)t->data)[k];
        *values = wide;
    } else {
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d is %s, expected int64", i,
                          ot_type_name(t->type));
    }
    *count = (int)elements;
    return OT_OK;
}

ot_status ot_op_broadcast(const struct op_node *n, const struct tensor *a, const struct tensor *b,
                          int *rank, int64_t *dim, ot_error *err) {
    int r = a->rank > b->rank ? a->rank : b->rank;
    for (int i = 0; i < r; i++) {
        int64_t p = i < r - a->rank ? 1 : a->dim[i - (r - a->rank)];
        int64_t q = i < r - b->rank ? 1 : b->dim[i - (r - b->rank)];
        if (p != q && p != 1 && q != 1) {
            char s[128], t[128];
            return ot_op_fail(n, err, OT_ERROR_INVALID, "shapes %s and %s do not broadcast",
                              ot_shape_text(a, s, sizeof s), ot_shape_text(b, t, sizeof t));
        }
        dim[i] = p == 1 ? q : p;
    }
    *rank = r;
    return OT_OK;
}

void ot_op_clear_spare(struct tensor *t) {
    int64_t lanes = t->lanes, used = lanes ? ot_lane_samples(t) % lanes : 0;
    if (!used) return;
    int64_t plane = ot_sample_elements(t);
    float *last = ot_f(t) + (ot_lane_blocks(t) - 1) * plane * lanes;
    for (int64_t s = 0; s < plane; s++)
        memset(last + s * lanes + used, 0, (size_t)(lanes - used) * sizeof *last);
}

void ot_loss_log_sums(const struct kernels *kernels, const struct loss_strip *strip) {
    kernels->loss_log_sums(strip);
}

void ot_loss_gradient(const struct kernels *kernels, const struct loss_strip *strip) {
    kernels->loss_gradient(strip);
}
