/* channel_walk.c - where the channels of a layer go, and whether they can leave. */
#include <math.h>
#include <string.h>

#include "runtime/train/channels.h"

enum { MOST_STOPS = 256 };

/* Channels on their way: a value of the graph in which channel j is constant[j] if it is gone. */
struct stop {
    int value;
    bool is_image;   /* channels are dimension 1, with more behind it; else the last dimension */
    float *constant; /* of each channel */
};

struct walk {
    struct channels *c;
    const struct layer *l;
    const bool *gone;
    bool applies; /* marks; else it only looks whether it could */
    struct stop *stop;
    int n;
    float *block; /* constants of all stops */
    const char *why;
};

static struct parameter *parameter_at(const struct walk *w, const struct node *node, int i) {
    const int v = i < node->n_in ? node->in[i] : -1;
    const int p = v < 0 ? -1 : w->c->m->parameter_of[v];
    return p < 0 ? NULL : &w->c->m->parameter[p];
}

static bool is_alone(const struct walk *w, const struct parameter *p) {
    return w->c->uses[p->value] == 1 && w->c->m->graph->value[p->value].exportable &&
           p->dequantizer < 0;
}

/* A vector with an element for each of n channels that nobody else reads; or NULL. */
static struct parameter *vector_at(const struct walk *w, const struct node *node, int i,
                                   int64_t n) {
    struct parameter *p = parameter_at(w, node, i);
    return p && p->t.rank == 1 && p->t.dim[0] == n && is_alone(w, p) ? p : NULL;
}

/* Values of a vector before constants were added to it: a channel that is gone reads nothing. */
static const float *values_of(const struct parameter *p) { return p->t.data; }

/* ---- what stays ---- */

static bool *new_mask(const struct walk *w, bool **mask, int64_t n) {
    if (!*mask) {
        *mask = ot_block_alloc_dirty(&w->c->m->allocator, (size_t)n, sizeof **mask);
        for (int64_t i = 0; *mask && i < n; i++) (*mask)[i] = true;
    }
    return *mask;
}

static bool mark_rows(const struct walk *w, const struct parameter *p) {
    bool *row = new_mask(w, &w->c->shrink[p - w->c->m->parameter].row, w->l->rows);
    for (int64_t j = 0; row && j < w->l->rows; j++) row[j] &= !w->gone[j];
    return row != NULL;
}

static bool mark_columns(const struct walk *w, const struct layer *reader, int64_t each) {
    bool *col = new_mask(w, &w->c->shrink[reader->p - w->c->m->parameter].col, reader->cols);
    for (int64_t k = 0; col && k < reader->cols; k++) col[k] &= !w->gone[k / each];
    return col != NULL;
}

/* ---- constants of channels that are gone ---- */

/* sum[r] += weight of row r times the constants of its columns. */
static void add_constants(const struct walk *w, const struct layer *reader, int64_t each,
                          const float *constant, double *sum) {
    const struct pattern *p = reader->p->t.pattern;
    const float *value = reader->p->t.data;
    for (int64_t r = 0; r < reader->rows; r++) {
        const int64_t first = p ? p->row[r] : 0, end = p ? p->row[r + 1] : reader->cols;
        for (int64_t k = first; k < end; k++) {
            const int64_t col = p ? p->col[k] : k, j = col / each;
            const int64_t at = p                    ? k
                               : reader->transposed ? col * reader->rows + r
                                                    : r * reader->cols + col;
            if (w->gone[j]) sum[r] += (double)value[at] * constant[j];
        }
    }
}

/* The vector that constants can be added to behind a reader, with its sign; NULL: there is none. */
static struct parameter *bias_of(const struct walk *w, const struct node *node, int64_t rows,
                                 int *sign) {
    const struct graph *g = w->c->m->graph;
    struct parameter *bias = node->n_in > 2 ? vector_at(w, node, 2, rows) : NULL;
    *sign = 1;
    for (int k = 0; k < g->n_nodes && !bias && w->c->uses[node->out[0]] == 1; k++) {
        const struct node *next = &g->node[k];
        for (int i = 0; i < next->n_in && i < 2; i++) {
            if (next->in[i] != node->out[0]) continue;
            if (!strcmp(next->op_type, "Add")) bias = vector_at(w, next, 1 - i, rows);
            if (strcmp(next->op_type, "BatchNormalization") || i) continue;
            bias = vector_at(w, next, 3, rows); /* y + s - mean = y - (mean - s) */
            *sign = -1;
        }
    }
    return bias;
}

static bool move_constants(struct walk *w, const struct node *node, const struct layer *reader,
                           int64_t each, const float *constant) {
    struct model *m = w->c->m;
    int sign;
    bool any = false;
    for (int64_t j = 0; j < w->l->rows; j++) any |= w->gone[j] && constant[j] != 0;
    if (!any) return true;
    struct parameter *bias = bias_of(w, node, reader->rows, &sign);
    if (!bias) w->why = "a reader without a bias for their constants";
    if (!bias || !w->applies) return bias != NULL;
    struct shrink *s = &w->c->shrink[bias - m->parameter];
    double *sum = ot_block_alloc(&m->allocator, (size_t)reader->rows, sizeof *sum);
    if (!s->value) {
        s->value = ot_block_alloc_dirty(&m->allocator, (size_t)reader->rows, sizeof *s->value);
        if (s->value) memcpy(s->value, bias->t.data, ot_bytes(&bias->t));
    }
    if (sum && s->value) {
        add_constants(w, reader, each, constant, sum);
        for (int64_t r = 0; r < reader->rows; r++) s->value[r] += (float)(sign * sum[r]);
    }
    const bool good = sum && s->value;
    ot_block_free(&m->allocator, sum);
    return good;
}

/* ---- nodes ---- */

static bool push(struct walk *w, int value, bool is_image, float **constant) {
    if (w->n == MOST_STOPS) return w->why = "the number of nodes behind it", false;
    *constant = w->block + (size_t)w->n * (size_t)w->l->rows;
    w->stop[w->n++] = (struct stop){value, is_image, *constant};
    return true;
}

/* What an element-wise function makes of a constant; false: the operator is another one. */
static bool function(const struct node *node, float x, float *y) {
    static const char *const same[] = {"Identity", "Dropout", "MaxPool", "GlobalAveragePool",
                                       "GlobalMaxPool"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (!strcmp(node->op_type, same[i])) return *y = x, true;
    if (!strcmp(node->op_type, "Relu")) return *y = x > 0 ? x : 0, true;
    if (!strcmp(node->op_type, "LeakyRelu"))
        return *y = x > 0 ? x : x * ot_attr_float(node, "alpha", 0.01f), true;
    if (!strcmp(node->op_type, "Sigmoid")) return *y = 1 / (1 + expf(-x)), true;
    if (!strcmp(node->op_type, "Tanh")) return *y = tanhf(x), true;
    if (strcmp(node->op_type, "AveragePool")) return false;
    int n;
    const int64_t *pads = ot_attr_ints(node, "pads", &n);
    for (int i = 0; i < n; i++)
        if (pads[i] && ot_attr_int(node, "count_include_pad", 0)) return false;
    return *y = x, true;
}

static bool walk_function(struct walk *w, const struct stop *s, const struct node *node) {
    float *to, y;
    if (!function(node, 0, &y)) return false;
    for (int o = 1; o < node->n_out; o++)
        if (node->out[o] >= 0 && w->c->uses[node->out[o]]) return false;
    if (!push(w, node->out[0], s->is_image, &to)) return false;
    for (int64_t j = 0; j < w->l->rows; j++) function(node, s->constant[j], &to[j]);
    return true;
}

static bool walk_batch_norm(struct walk *w, const struct stop *s, const struct node *node) {
    const float *v[4];
    float *to;
    for (int i = 0; i < 4; i++) {
        const struct parameter *p = vector_at(w, node, i + 1, w->l->rows);
        if (!p) return false;
        if (w->applies && !mark_rows(w, p)) return false;
        v[i] = values_of(p);
    }
    if (!push(w, node->out[0], s->is_image, &to)) return false;
    const float epsilon = ot_attr_float(node, "epsilon", 1e-5f);
    for (int64_t j = 0; j < w->l->rows; j++)
        to[j] = (s->constant[j] - v[2][j]) / sqrtf(v[3][j] + epsilon) * v[0][j] + v[1][j];
    return true;
}

/* Something with an element for each channel is added. */
static bool walk_bias(struct walk *w, const struct stop *s, const struct node *node) {
    float *to;
    const int behind = s->is_image ? w->l->p->t.rank - 2 : 0; /* dimensions behind the channels */
    const struct parameter *p = parameter_at(w, node, node->in[0] == s->value);
    if (!p || !is_alone(w, p) || p->t.pattern || ot_elements(&p->t) != w->l->rows) return false;
    const int axis = p->t.rank - 1 - behind;
    if (axis < 0 || p->t.dim[axis] != w->l->rows || (w->applies && !mark_rows(w, p))) return false;
    const float *bias = values_of(p);
    if (!push(w, node->out[0], s->is_image, &to)) return false;
    for (int64_t j = 0; j < w->l->rows; j++) to[j] = s->constant[j] + bias[j];
    return true;
}

/* Flatten, or Reshape to [0, -1]: the columns of a channel stand side by side. */
static bool walk_flat(struct walk *w, const struct stop *s, const struct node *node) {
    float *to;
    if (!strcmp(node->op_type, "Flatten")) {
        if (ot_attr_int(node, "axis", 1) != 1) return false;
    } else {
        const struct tensor *shape =
            node->n_in > 1 ? w->c->m->graph->value[node->in[1]].constant : NULL;
        if (!shape || shape->type != OT_INT64 || ot_elements(shape) != 2) return false;
        const int64_t *dim = shape->data;
        if (dim[0] || dim[1] != -1) return false;
    }
    if (!push(w, node->out[0], false, &to)) return false;
    memcpy(to, s->constant, (size_t)w->l->rows * sizeof *to);
    return true;
}

/* No groups and no factors. */
static bool is_plain(const struct node *node) {
    return ot_attr_int(node, "group", 1) == 1 && ot_attr_float(node, "alpha", 1) == 1 &&
           ot_attr_float(node, "beta", 1) == 1;
}

/* A layer that reads the channels. */
static bool walk_reader(struct walk *w, const struct stop *s, const struct node *node) {
    const struct parameter *p = parameter_at(w, node, 1);
    const struct layer *reader = p ? &w->c->layer[p - w->c->m->parameter] : NULL;
    const bool is_conv = !strcmp(node->op_type, "Conv");
    if (!reader || !reader->p || !is_alone(w, p) || p->structure == OT_STRUCTURE_MASK) return false;
    if (node->in[0] != s->value || is_conv != s->is_image || ot_attr_int(node, "transA", 0) ||
        !is_plain(node) || reader->cols % w->l->rows)
        return false;
    const int64_t each = reader->cols / w->l->rows;
    if (is_conv && each != reader->taps) return false;
    if (!move_constants(w, node, reader, each, s->constant)) return false;
    return !w->applies || mark_columns(w, reader, each);
}

static bool walk_node(struct walk *w, const struct stop *s, const struct node *node) {
    const char *op = node->op_type;
    if (*node->domain || node->body || node->in_body) return false;
    if (!strcmp(op, "BatchNormalization"))
        return node->in[0] == s->value && walk_batch_norm(w, s, node);
    if (!strcmp(op, "Add")) return walk_bias(w, s, node);
    if (!strcmp(op, "Flatten") || !strcmp(op, "Reshape")) return walk_flat(w, s, node);
    if (!strcmp(op, "Conv") || !strcmp(op, "Gemm") || !strcmp(op, "MatMul"))
        return walk_reader(w, s, node);
    return walk_function(w, s, node);
}

/* Every node that reads a stop, and whether the graph gives it out. */
static bool walk_stop(struct walk *w, int i) {
    const struct graph *g = w->c->m->graph;
    for (int o = 0; o < g->n_outputs; o++)
        if (g->output[o] == w->stop[i].value) return w->why = "an output of the model", false;
    for (int k = 0; k < g->all_nodes; k++) {
        const struct node *node = &g->node[k];
        int reads = 0;
        for (int n = 0; n < node->n_in; n++) reads += node->in[n] == w->stop[i].value;
        if (!reads || (reads == 1 && walk_node(w, &w->stop[i], node))) continue;
        if (!w->why) w->why = node->op_type;
        return false;
    }
    return true;
}

/* The node of a layer whose rows are channels of its output. */
static const struct node *maker_of(const struct walk *w) {
    const struct graph *g = w->c->m->graph;
    for (int k = 0; k < g->n_nodes; k++) {
        const struct node *node = &g->node[k];
        if (node->n_in < 2 || node->in[1] != w->l->p->value) continue;
        const bool is_conv = !strcmp(node->op_type, "Conv");
        if (!is_conv && strcmp(node->op_type, "Gemm") && strcmp(node->op_type, "MatMul"))
            return NULL;
        return is_plain(node) ? node : NULL;
    }
    return NULL;
}

static bool walk_all(struct walk *w) {
    const struct node *maker = maker_of(w);
    float *to;
    w->n = 0;
    if (!maker || !is_alone(w, w->l->p)) return w->why = "other uses of its weight", false;
    if (!push(w, maker->out[0], !strcmp(maker->op_type, "Conv"), &to)) return false;
    memset(to, 0, (size_t)w->l->rows * sizeof *to);
    if (maker->n_in > 2 && maker->in[2] >= 0) {
        const struct parameter *bias = vector_at(w, maker, 2, w->l->rows);
        if (!bias) return w->why = "other uses of its bias", false;
        if (w->applies && !mark_rows(w, bias)) return false;
        memcpy(to, values_of(bias), (size_t)w->l->rows * sizeof *to);
    }
    if (w->applies && !mark_rows(w, w->l->p)) return false;
    for (int i = 0; i < w->n; i++)
        if (!walk_stop(w, i)) return false;
    return true;
}

bool ot_channels_leave(struct channels *c, const struct layer *l, const bool *gone,
                       const char **why, ot_status *status) {
    const size_t most = MOST_STOPS;
    struct walk w = {.c = c, .l = l, .gone = gone};
    w.stop = ot_block_alloc_dirty(&c->m->allocator, most, sizeof *w.stop);
    w.block = ot_block_alloc_dirty(&c->m->allocator, most * (size_t)l->rows, sizeof *w.block);
    *status = w.stop && w.block ? OT_OK : OT_ERROR_NO_MEMORY;
    bool leaves = !*status && walk_all(&w);
    if (leaves) {
        w.applies = true;
        if (!walk_all(&w)) *status = OT_ERROR_NO_MEMORY;
    }
    *why = w.why ? w.why : "";
    ot_block_free(&c->m->allocator, w.stop);
    ot_block_free(&c->m->allocator, w.block);
    return leaves;
}
