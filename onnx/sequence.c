/* sequence.c - operators on sequences: a sequence is a list of values that is known when the file
 * is read, and none of it is left afterwards. SplitToSequence becomes a Split, SequenceAt another
 * name for an element, ConcatFromSequence a Concat. */
#include "onnx/walk.h"

#include <stdio.h>
#include <string.h>

enum { OPSET = 11, MOST_PARTS = 1 << 16 }; /* of the nodes made here, the first with sequences */

struct sequence {
    int n;
    int value[];
};

/* The node that is read. */
struct task {
    struct walker *w;
    const Onnx__NodeProto *p;
    const struct node *node; /* the node whose attributes are used */
};

/* ---- what it has ---- */

/* A tensor, or VALUE_ABSENT. */
static ot_status tensor_input(const struct task *t, size_t i, bool needed, int *v) {
    struct import *im = t->w->im;
    *v = VALUE_ABSENT;
    if (i < t->p->n_input) OT_TRY(ot_walk_input(t->w, t->p->input[i], v));
    if (*v < 0 && needed) return ot_import_fail(im, OT_ERROR_INVALID, "input %zu is missing", i);
    if (*v < 0 || im->g->value[*v].kind != OT_VALUE_SEQUENCE) return OT_OK;
    return ot_import_fail(im, OT_ERROR_INVALID, "input '%.80s' is a sequence", t->p->input[i]);
}

static ot_status sequence_input(const struct task *t, const struct sequence **s) {
    struct import *im = t->w->im;
    int v = VALUE_ABSENT;
    if (t->p->n_input) OT_TRY(ot_walk_input(t->w, t->p->input[0], &v));
    *s = v < 0 ? NULL : im->source[v].sequence;
    if (*s) return OT_OK;
    return ot_import_fail(im, OT_ERROR_UNSUPPORTED, "input 0 is not a sequence of known length");
}

/* Input i as an index into places -n to most, counted from the end where it is negative. */
static ot_status index_input(const struct task *t, size_t i, int n, int most, int otherwise,
                             int *at) {
    struct import *im = t->w->im;
    int v;
    *at = otherwise;
    OT_TRY(tensor_input(t, i, false, &v));
    if (v < 0) return OT_OK;
    const struct tensor *c = ot_constant_read(im, v, 1);
    if (!c || ot_elements(c) != 1 || (c->type != OT_INT64 && c->type != OT_INT32))
        return ot_import_fail(im, OT_ERROR_UNSUPPORTED, "input '%.80s' is not a constant",
                              t->p->input[i]);
    int64_t k = c->type == OT_INT64 ? *(const int64_t *)c->data : *(const int32_t *)c->data;
    if (k < -n || k > most)
        return ot_import_fail(im, OT_ERROR_INVALID,
                              "position %lld is out of range for a sequence of length %d",
                              (long long)k, n);
    *at = (int)(k < 0 ? k + n : k);
    return OT_OK;
}

/* ---- what it makes ---- */

/* The arrays grow by at least a half, so that all that is copied is little more than them. */
static ot_status reserve(struct import *im, size_t values, size_t nodes) {
    struct graph *g = im->g;
    if (im->spare_values >= values && im->spare_nodes >= nodes) {
        im->spare_values -= values;
        im->spare_nodes -= nodes;
        return OT_OK;
    }
    const size_t v = values + im->max_values / 2, n = nodes + im->max_nodes / 2;
    const size_t all_v = im->max_values + v, all_n = im->max_nodes + n;
    OT_TRY(ot_import_expand(im, all_v * sizeof *g->value + all_n * sizeof *g->node,
                            "values and nodes"));
    struct value *value = ot_arena_alloc(&g->arena, all_v, sizeof *value);
    struct node *node = ot_arena_alloc(&g->arena, all_n, sizeof *node);
    struct source *source = ot_arena_alloc(&im->scratch, all_v, sizeof *source);
    if (!value || !node) return ot_import_no_room(im, &g->arena, all_v * sizeof *value);
    if (!source) return ot_import_no_room(im, &im->scratch, all_v * sizeof *source);
    memcpy(value, g->value, (size_t)g->n_values * sizeof *value);
    memcpy(node, g->node, (size_t)g->n_nodes * sizeof *node);
    memcpy(source, im->source, (size_t)g->n_values * sizeof *source);
    g->value = value;
    g->node = node;
    im->source = source;
    im->max_values = all_v;
    im->max_nodes = all_n;
    im->spare_values += v - values;
    im->spare_nodes += n - nodes;
    return OT_OK;
}

/* A list of n values, all absent. */
static ot_status new_sequence(struct import *im, int n, struct sequence **s) {
    const size_t bytes = sizeof **s + (size_t)n * sizeof(int);
    OT_TRY(ot_import_expand(im, bytes, "sequences"));
    *s = ot_small_alloc(&im->temporary, bytes, 1);
    if (!*s) return ot_import_no_room(im, &im->scratch, bytes);
    (*s)->n = n;
    return OT_OK;
}

static ot_status give(const struct task *t, struct sequence *s) {
    int v;
    OT_TRY(ot_walk_output(t->w, t->p->output[0], OT_VALUE_SEQUENCE, &v));
    t->w->im->source[v].sequence = s;
    return OT_OK;
}

/* A value that no name of the file stands for. */
static ot_status new_value(const struct task *t, int *v) {
    struct import *im = t->w->im;
    char *name = ot_small_alloc(&im->temporary, 2 * OT_SHORT_NAME, 1);
    if (!name) return ot_import_no_room(im, &im->scratch, 2 * OT_SHORT_NAME);
    snprintf(name, 2 * OT_SHORT_NAME, "%.*s/%d", OT_SHORT_NAME, t->p->output[0], im->g->n_values);
    return ot_values_add(im, SCOPE_SEQUENCE, name, "", name, OT_VALUE_NODE, v);
}

/* A node; what its attributes point to stays. */
static ot_status add_node(const struct task *t, const char *op, const struct attr *attr, int n_attr,
                          const int *in, int n_in, const int *out, int n_out) {
    struct import *im = t->w->im;
    struct graph *g = im->g;
    const char *from = t->p->name ? t->p->name : "";
    const char *name = ot_small_strndup(&im->kept, from, strlen(from));
    struct attr *a = ot_small_alloc(&im->kept, (size_t)n_attr, sizeof *a);
    int *ends = ot_small_alloc(&im->kept, (size_t)(n_in + n_out), sizeof *ends);
    if (!a || !ends || !name) return ot_import_no_room(im, &g->arena, sizeof *a);
    memcpy(a, attr, (size_t)n_attr * sizeof *a);
    memcpy(ends, in, (size_t)n_in * sizeof *ends);
    memcpy(ends + n_in, out, (size_t)n_out * sizeof *ends);
    if ((size_t)g->n_nodes >= im->max_nodes)
        return ot_import_fail(im, OT_ERROR_LIMIT, "internal error: more nodes than were counted");
    struct node *node = &g->node[g->n_nodes];
    *node = (struct node){.name = name,
                          .op_type = op,
                          .domain = "",
                          .opset = OPSET,
                          .n_in = n_in,
                          .n_out = n_out,
                          .n_attr = n_attr,
                          .in_body = im->body,
                          .in = ends,
                          .out = ends + n_in,
                          .attr = a};
    for (int i = 0; i < n_out; i++) g->value[out[i]].producer = g->n_nodes;
    ot_weights_use(im, node);
    g->n_nodes++;
    return OT_OK;
}

/* y is x with an axis less or more: of Squeeze and Unsqueeze. */
static ot_status add_squeeze(const struct task *t, const char *op, int64_t axis, int x, int *y) {
    int64_t *kept = ot_small_alloc(&t->w->im->kept, 1, sizeof *kept);
    if (!kept) return ot_import_no_room(t->w->im, &t->w->im->g->arena, sizeof *kept);
    *kept = axis;
    const struct attr axes = {.name = "axes", .kind = OT_ATTR_INTS, .n = 1, .ints = kept};
    OT_TRY(new_value(t, y));
    return add_node(t, op, &axes, 1, &x, 1, y, 1);
}

/* ---- the operators ---- */

static ot_status split_lengths(const struct task *t, int v, int64_t axis, const int64_t **length,
                               int *parts) {
    struct import *im = t->w->im;
    int64_t each = 1, all;
    int given;
    OT_TRY(tensor_input(t, 1, false, &given));
    const struct tensor *c = given < 0 ? NULL : ot_constant_read(im, given, MOST_PARTS);
    if (given >= 0 && (!c || c->type != OT_INT64 || c->rank > 1 || !ot_elements(c)))
        return ot_import_fail(im, OT_ERROR_UNSUPPORTED, "the lengths '%.80s' are not a constant",
                              t->p->input[1]);
    if (c && c->rank) {
        *length = c->data;
        *parts = (int)ot_elements(c);
        return OT_OK;
    }
    if (c) each = *(const int64_t *)c->data;
    ot_values_hint(im, v);
    const struct value *x = &im->g->value[v];
    const int64_t at = axis < 0 ? axis + x->rank : axis;
    all = at >= 0 && at < x->rank ? x->dim[at] : -1;
    if (all <= 0 || each <= 0 || (all - 1) / each >= MOST_PARTS)
        return ot_import_fail(im, OT_ERROR_UNSUPPORTED,
                              "the number of parts is not known when the model is opened");
    *parts = (int)((all - 1) / each) + 1;
    int64_t *list = ot_small_alloc(&im->kept, (size_t)*parts, sizeof *list);
    if (!list) return ot_import_no_room(im, &im->g->arena, (size_t)*parts * sizeof *list);
    for (int i = 0; i < *parts; i++, all -= each) list[i] = all < each ? all : each;
    *length = list;
    return OT_OK;
}

static ot_status split(const struct task *t) {
    struct import *im = t->w->im;
    const int64_t axis = ot_attr_int(t->node, "axis", 0);
    const bool keep = t->p->n_input > 1 || ot_attr_int(t->node, "keepdims", 1);
    const int64_t *length = NULL;
    int v, parts = 0;
    struct sequence *s;
    OT_TRY(tensor_input(t, 0, true, &v));
    OT_TRY(split_lengths(t, v, axis, &length, &parts));
    const size_t extra = keep ? 0 : (size_t)parts;
    const struct attr attr[] = {
        {.name = "axis", .kind = OT_ATTR_INT, .i = axis},
        {.name = "split", .kind = OT_ATTR_INTS, .n = parts, .ints = length}};
    OT_TRY(reserve(im, (size_t)parts + extra, extra));
    OT_TRY(new_sequence(im, parts, &s));
    for (int i = 0; i < parts; i++) OT_TRY(new_value(t, &s->value[i]));
    OT_TRY(add_node(t, "Split", attr, 2, &v, 1, s->value, parts));
    for (int i = 0; !keep && i < parts; i++)
        OT_TRY(add_squeeze(t, "Squeeze", axis, s->value[i], &s->value[i]));
    return give(t, s);
}

static ot_status construct(const struct task *t) {
    struct sequence *s;
    OT_TRY(new_sequence(t->w->im, (int)t->p->n_input, &s));
    for (int i = 0; i < s->n; i++) OT_TRY(tensor_input(t, (size_t)i, true, &s->value[i]));
    return give(t, s);
}

/* An element comes in before place `at`, or the one there goes. */
static ot_status change(const struct task *t, bool insert) {
    struct import *im = t->w->im;
    const struct sequence *from;
    struct sequence *s;
    int at, v = VALUE_ABSENT;
    OT_TRY(sequence_input(t, &from));
    if (insert) OT_TRY(tensor_input(t, 1, true, &v));
    if (!insert && !from->n) return ot_import_fail(im, OT_ERROR_INVALID, "the sequence is empty");
    OT_TRY(index_input(t, insert ? 2 : 1, from->n, insert ? from->n : from->n - 1,
                       insert ? from->n : from->n - 1, &at));
    OT_TRY(new_sequence(im, from->n + (insert ? 1 : -1), &s));
    for (int i = 0; i < at; i++) s->value[i] = from->value[i];
    if (insert) s->value[at] = v;
    for (int i = at + !insert; i < from->n; i++) s->value[i + (insert ? 1 : -1)] = from->value[i];
    return give(t, s);
}

static ot_status insert(const struct task *t) { return change(t, true); }
static ot_status erase(const struct task *t) { return change(t, false); }

static ot_status sequence_at(const struct task *t) {
    const struct sequence *s;
    int k;
    OT_TRY(sequence_input(t, &s));
    if (t->p->n_input != 2)
        return ot_import_fail(t->w->im, OT_ERROR_INVALID, "the node has %zu inputs, expected 2",
                              t->p->n_input);
    OT_TRY(index_input(t, 1, s->n, s->n - 1, 0, &k));
    return ot_walk_alias(t->w, t->w->frame[t->w->top].scope, t->p->output[0], s->value[k]);
}

static ot_status length(const struct task *t) {
    struct import *im = t->w->im;
    const struct sequence *s;
    int v;
    OT_TRY(sequence_input(t, &s));
    struct tensor *c = ot_small_alloc(&im->kept, 1, sizeof *c);
    int64_t *n = ot_small_alloc(&im->kept, 1, sizeof *n);
    if (!c || !n) return ot_import_no_room(im, &im->g->arena, sizeof *c);
    *n = s->n;
    *c = (struct tensor){.type = OT_INT64, .role = OT_ROLE_CONST, .data = n};
    OT_TRY(ot_walk_output(t->w, t->p->output[0], OT_VALUE_CONSTANT, &v));
    im->g->value[v].type = OT_INT64;
    im->g->value[v].rank = 0;
    im->source[v].ready = c;
    return OT_OK;
}

/* Along an axis that the elements have, or that they get. */
static ot_status concat(const struct task *t) {
    struct import *im = t->w->im;
    const struct sequence *s;
    const int64_t axis = ot_attr_int(t->node, "axis", 0);
    struct sequence *part;
    int y;
    OT_TRY(sequence_input(t, &s));
    if (!s->n || !ot_attr(t->node, "axis"))
        return ot_import_fail(im, OT_ERROR_INVALID,
                              s->n ? "attribute 'axis' is missing" : "the sequence is empty");
    const bool new_axis = ot_attr_int(t->node, "new_axis", 0) != 0;
    const size_t extra = new_axis ? (size_t)s->n : 0;
    const struct attr attr = {.name = "axis", .kind = OT_ATTR_INT, .i = axis};
    OT_TRY(reserve(im, extra, extra));
    OT_TRY(new_sequence(im, s->n, &part));
    for (int i = 0; i < s->n; i++) {
        part->value[i] = s->value[i];
        if (new_axis) OT_TRY(add_squeeze(t, "Unsqueeze", axis, s->value[i], &part->value[i]));
    }
    OT_TRY(ot_walk_output(t->w, t->p->output[0], OT_VALUE_NODE, &y));
    return add_node(t, "Concat", &attr, 1, part->value, part->n, &y, 1);
}

static ot_status same(const struct task *t) {
    int v;
    OT_TRY(ot_walk_input(t->w, t->p->input[0], &v));
    return ot_walk_alias(t->w, t->w->frame[t->w->top].scope, t->p->output[0], v);
}

static const struct {
    const char *op;
    ot_status (*run)(const struct task *t);
} operators[] = {
    {"SequenceConstruct", construct}, {"SequenceEmpty", construct},   {"SequenceInsert", insert},
    {"SequenceErase", erase},         {"SequenceAt", sequence_at},    {"SequenceLength", length},
    {"SplitToSequence", split},       {"ConcatFromSequence", concat}, {"Identity", same}};

static bool is_sequence(const struct import *im, int v) {
    return v >= 0 && im->g->value[v].kind == OT_VALUE_SEQUENCE;
}

ot_status ot_sequence_node(struct walker *w, const Onnx__NodeProto *p, const struct node *node,
                           bool *taken) {
    const size_t most = sizeof operators / sizeof *operators;
    const struct task t = {w, p, node};
    size_t k = 0;
    int v = VALUE_ABSENT;
    bool any = false, faulty = false;
    *taken = false;
    for (size_t i = 0; i < p->n_input; i++) {
        OT_TRY(ot_walk_input(w, p->input[i], &v));
        any |= is_sequence(w->im, v);
        faulty |= v == VALUE_FAULTY;
    }
    while (k < most && strcmp(operators[k].op, p->op_type)) k++;
    if (*node->domain || k == most || (operators[k].run == same && !any)) {
        if (!any) return OT_OK;
        return ot_import_fail(w->im, OT_ERROR_UNSUPPORTED,
                              "this operator is not supported with sequences");
    }
    *taken = true;
    if (faulty) ot_walk_faulty(w, p, w->im->g->n_values);
    if (faulty) return OT_OK;
    if (p->n_output != 1 || !*p->output[0])
        return ot_import_fail(w->im, OT_ERROR_INVALID, "the node has %zu outputs, expected one",
                              p->n_output);
    return operators[k].run(&t);
}
