/* feature.c - finds the product or norm whose scale or bias an operand is. */
#include "runtime/model/feature.h"

#include <string.h>

#include "ops/op.h"
#include "runtime/model/moved.h"

enum { MOST_STEPS = 24 };

static bool is_one_of(const struct node *node, const char *const *names, size_t n) {
    if (*node->domain) return false;
    for (size_t i = 0; i < n; i++)
        if (!strcmp(node->op_type, names[i])) return true;
    return false;
}
#define IS_ONE_OF(node, names) is_one_of(node, names, sizeof names / sizeof *names)

bool ot_is_norm(const struct node *node) {
    static const char *const norms[] = {"BatchNormalization", "InstanceNormalization",
                                        "LayerNormalization", "GroupNormalization",
                                        "RMSNormalization"};
    return IS_ONE_OF(node, norms);
}

bool ot_is_arithmetic(const struct node *node) {
    static const char *const names[] = {"Add", "Sub", "Mul", "Div"};
    return IS_ONE_OF(node, names);
}

static bool is_sum(const struct node *node) {
    return !strcmp(node->op_type, "Add") || !strcmp(node->op_type, "Sub");
}

static int input(const struct node *node, int i) { return i < node->n_in ? node->in[i] : -1; }

static const struct tensor *constant_value(const struct graph *g, int v) {
    return v < 0 ? NULL : g->value[v].constant;
}

static bool is_filled(const struct tensor *t, float with) {
    if (t->type != OT_FLOAT || t->pattern) return false;
    for (int64_t i = 0, n = ot_elements(t); i < n; i++)
        if (((const float *)t->data)[i] != with) return false;
    return true;
}

bool ot_norm_is_plain(const struct graph *g, const struct node *node) {
    const struct tensor *scale = constant_value(g, input(node, 1)),
                        *bias = constant_value(g, input(node, 2));
    return scale && is_filled(scale, 1) && (input(node, 2) < 0 || (bias && is_filled(bias, 0)));
}

/* ---- products ---- */

/* The input that is the weight of a product, or -1: activations times activations. */
static int weight_input(const struct graph *g, const struct node *node) {
    static const char *const layers[] = {"Conv", "ConvTranspose", "Gemm"};
    static const char *const products[] = {"MatMul", "Einsum"};
    struct moved m;
    if (IS_ONE_OF(node, layers)) return input(node, 1);
    if (!IS_ONE_OF(node, products)) return -1;
    for (int i = node->n_in < 2 ? node->n_in - 1 : 1; i >= 0; i--)
        if (ot_moved_find(g, node->in[i], &m)) return node->in[i];
    return -1;
}

/* Which dimension of a weight that is taken as it is counts the features. */
static int feature_dim(const struct graph *g, const struct node *node, int w, int rank) {
    if (!strcmp(node->op_type, "Conv")) return 0;
    if (!strcmp(node->op_type, "ConvTranspose")) return 1;
    if (!strcmp(node->op_type, "Gemm")) return ot_attr_int(node, "transB", 0) ? 0 : 1;
    return w == input(node, 0) && !constant_value(g, input(node, 1)) ? rank - 2 : rank - 1;
}

/* The shape of a moved weight is not known here: the features may be either dimension of a matrix.
 */
static bool find_product(const struct graph *g, const struct node *node, struct feature *f) {
    struct moved m;
    const int w = weight_input(g, node);
    if (w < 0) return false;
    f->found = true;
    f->has_bias |= input(node, 2) >= 0 && strcmp(node->op_type, "Einsum") != 0;
    f->count[0] = f->count[1] = -1;
    if (!ot_moved_find(g, w, &m) || m.n_origins != 1) return true;
    const struct tensor *t = constant_value(g, m.origin[0]);
    if (t->rank < 2) return true;
    const bool deconv = !strcmp(node->op_type, "ConvTranspose");
    const int dim = feature_dim(g, node, w, t->rank);
    f->count[0] = f->count[1] = t->dim[dim] * (deconv ? ot_attr_int(node, "group", 1) : 1);
    if (m.n_nodes && t->rank == 2) f->count[1] = t->dim[1 - dim];
    return true;
}

/* ---- norms ---- */

static bool find_norm(const struct graph *g, const struct node *node, struct feature *f) {
    const struct tensor *scale = constant_value(g, input(node, 1));
    if (!ot_is_norm(node)) return false;
    const bool plain = ot_norm_is_plain(g, node);
    f->found = true;
    f->has_scale |= !plain;
    f->has_bias |= !plain && input(node, 2) >= 0;
    f->is_group = !strcmp(node->op_type, "InstanceNormalization");
    f->count[0] = f->count[1] = scale && ot_elements(scale) > 1 ? ot_elements(scale) : -1;
    return true;
}

/* A norm that is spelled out divides by a root: Div(x, Sqrt(e)), Mul(x, Reciprocal(Sqrt(e))). */
static bool is_root(const struct graph *g, int v) {
    static const char *const roots[] = {"Sqrt", "Reciprocal", "Pow"};
    return v >= 0 && g->value[v].producer >= 0 && IS_ONE_OF(&g->node[g->value[v].producer], roots);
}

/* ---- from a value to its layer ---- */

/* Notes a scale or bias at an arithmetic node; the operand to go on from, or -1. */
static int pass_arithmetic(const struct graph *g, const struct node *node, struct feature *f) {
    const int a = input(node, 0), b = input(node, 1);
    const struct tensor *ca = constant_value(g, a), *cb = constant_value(g, b);
    if (!ca && !cb) {
        f->found = !is_sum(node) && (is_root(g, a) || is_root(g, b));
        f->count[0] = f->count[1] = -1;
        return -1;
    }
    if (ca && cb) return -1;
    if (ot_elements(ca ? ca : cb) > 1) {
        if (is_sum(node))
            f->has_bias = true;
        else
            f->has_scale = true;
    }
    return ca ? b : a;
}

void ot_feature_find(const struct graph *g, int v, struct feature *f) {
    static const char *const passed[] = {"Cast", "Dropout", "Identity"};
    *f = (struct feature){0};
    for (int step = 0; step < MOST_STEPS && v >= 0 && g->value[v].producer >= 0; step++) {
        const struct node *node = &g->node[g->value[v].producer];
        const struct op *op = ot_op_of(node);
        if (!op || find_product(g, node, f) || find_norm(g, node, f)) return;
        if (ot_is_arithmetic(node))
            v = pass_arithmetic(g, node, f);
        else
            v = op->moves == OT_X(0) || IS_ONE_OF(node, passed) ? input(node, 0) : -1;
    }
}

/* Its length where one dimension at most is not 1, else -1. */
static int64_t vector_length(const struct tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) {
        if (t->dim[i] == 1) continue;
        if (n != 1) return -1;
        n = t->dim[i];
    }
    return t->rank ? n : -1;
}

static bool count_fits(const struct feature *f, int64_t n) {
    for (int i = 0; i < 2; i++) {
        if (f->count[i] < 0) return n > 1;
        if (n == f->count[i] || (f->is_group && n > f->count[i] && n % f->count[i] == 0))
            return true;
    }
    return false;
}

static bool is_one_number(const struct tensor *t) {
    return is_filled(t, t->type == OT_FLOAT && ot_count(t) ? *(const float *)t->data : 0);
}

bool ot_feature_is_token(const struct graph *g, int k, int i) {
    const struct node *node = &g->node[k];
    const struct tensor *t = constant_value(g, node->in[i]);
    struct feature f;
    if (!t || strcmp(node->op_type, "Concat") != 0 || t->pattern || is_one_number(t)) return false;
    const int64_t n = vector_length(t);
    for (int j = 0; n > 1 && j < node->n_in; j++) {
        ot_feature_find(g, node->in[j], &f);
        if (f.found && count_fits(&f, n)) return true;
    }
    return false;
}

bool ot_feature_is_vector(const struct graph *g, int k, int i, bool *taken) {
    const struct node *node = &g->node[k];
    const struct tensor *t = constant_value(g, node->in[i]);
    struct feature f;
    *taken = false;
    if (!t || !ot_is_arithmetic(node) || node->n_in != 2) return false;
    const int64_t n = vector_length(t);
    ot_feature_find(g, node->in[1 - i], &f);
    if (n < 1 || !f.found || !count_fits(&f, n)) return false;
    *taken = is_sum(node) ? f.has_bias : f.has_scale;
    return !*taken;
}
