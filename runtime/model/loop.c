/* loop.c - Loop and Scan as the file has them: their form, and whether it can be known before a
 * step runs how often they do. */
#include "runtime/model/loop.h"

#include <string.h>

#include "ops/op.h"

/* ---- form ---- */

static ot_status check_counts(const struct node *n, const struct loop_form *f, ot_error *err) {
    const struct body *b = n->body;
    const int formals = f->first_formal + f->carried + f->sliced;
    if (f->carried < 0 || b->n_in != formals)
        return ot_fail(err, OT_ERROR_INVALID, "the loop has %d inputs, but its body has %d",
                       n->n_in, b->n_in);
    if (f->stacked < 0 || n->n_out > f->carried + f->stacked)
        return ot_fail(err, OT_ERROR_INVALID, "the loop has %d outputs, but its body has %d",
                       n->n_out, b->n_out);
    for (int i = f->first_input; i < n->n_in; i++)
        if (n->in[i] < 0) return ot_fail(err, OT_ERROR_INVALID, "input %d is missing", i);
    return OT_OK;
}

/* An attribute with a number for each of n inputs or outputs; NULL where it is absent. */
static ot_status read_list(const struct node *n, const char *name, int entries,
                           const int64_t **list, ot_error *err) {
    int count;
    *list = ot_attr_ints(n, name, &count);
    if (*list && count != entries)
        return ot_fail(err, OT_ERROR_INVALID, "attribute '%s' has %d entries, expected %d", name,
                       count, entries);
    return OT_OK;
}

static ot_status check_attributes(const struct node *n, ot_error *err) {
    static const char *const lists[] = {"scan_input_axes", "scan_input_directions",
                                        "scan_output_axes", "scan_output_directions"};
    for (int i = 0; i < n->n_attr; i++) {
        const struct attr *a = &n->attr[i];
        bool fits = !strcmp(a->name, "body");
        for (size_t k = 0; k < 4 && !strcmp(n->op_type, "Scan"); k++)
            fits |= !strcmp(a->name, lists[k]) && a->kind == OT_ATTR_INTS;
        if (!strcmp(n->op_type, "Scan") && !strcmp(a->name, "num_scan_inputs"))
            fits = a->kind == OT_ATTR_INT;
        if (!fits)
            return ot_fail(err, OT_ERROR_INVALID,
                           "attribute '%.40s' is not supported, or has the wrong type", a->name);
    }
    return OT_OK;
}

static ot_status scan_form(const struct node *n, struct loop_form *f, ot_error *err) {
    const int64_t sliced = ot_attr_int(n, "num_scan_inputs", 0);
    if (n->opset < 9)
        return ot_fail(err, OT_ERROR_UNSUPPORTED,
                       "opset %d is older than 9, the first supported one for Scan", n->opset);
    if (sliced < 1 || sliced > n->n_in)
        return ot_fail(
            err, OT_ERROR_INVALID,
            "attribute 'num_scan_inputs' is %lld, expected 1 to %d, the number of inputs",
            (long long)sliced, n->n_in);
    *f = (struct loop_form){.scan = true, .sliced = (int)sliced};
    f->carried = n->n_in - f->sliced;
    f->stacked = n->body->n_out - f->carried;
    OT_TRY(check_counts(n, f, err));
    OT_TRY(read_list(n, "scan_input_axes", f->sliced, &f->slice_axis, err));
    OT_TRY(read_list(n, "scan_input_directions", f->sliced, &f->slice_reversed, err));
    OT_TRY(read_list(n, "scan_output_axes", f->stacked, &f->stack_axis, err));
    return read_list(n, "scan_output_directions", f->stacked, &f->stack_reversed, err);
}

ot_status ot_loop_form(const struct node *n, struct loop_form *f, ot_error *err) {
    OT_TRY(check_attributes(n, err));
    if (!strcmp(n->op_type, "Scan")) return scan_form(n, f, err);
    *f = (struct loop_form){.first_input = 2, .first_formal = 2, .first_result = 1};
    f->carried = n->n_in - 2;
    f->stacked = n->body->n_out - 1 - f->carried;
    return check_counts(n, f, err);
}

/* ---- what decides how often ---- */

static bool node_is_known(const struct node *n, const bool *known) {
    const struct op *op = ot_op_of(n);
    if (!op || op->random) return false;
    if (op->shape_only) return true;
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] >= 0 && ot_op_reads(op, i) && !known[n->in[i]]) return false;
    return n->n_in > 0;
}

/* What is carried is known if it was in the beginning: a plan sees the rest. */
static void find_in_loop(const struct node *n, bool *known) {
    struct loop_form f;
    if (ot_loop_form(n, &f, NULL)) return;
    const struct body *b = n->body;
    for (int k = 0; k < f.first_formal; k++) known[b->in[k]] = true;
    for (int k = 0; k < f.carried + f.sliced; k++)
        known[b->in[f.first_formal + k]] = known[n->in[f.first_input + k]];
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] >= 0) known[n->out[k]] = k >= f.carried || known[n->in[f.first_input + k]];
}

/* A loop stands before the nodes of its body. */
void ot_loop_find_known(const struct graph *g, bool *known) {
    for (int v = 0; v < g->n_values; v++) known[v] = g->value[v].constant != NULL;
    for (int k = 0; k < g->all_nodes; k++) {
        const struct node *n = &g->node[k];
        if (ot_is_loop(n)) {
            find_in_loop(n, known);
            continue;
        }
        for (int j = 0; j < n->n_out; j++)
            if (n->out[j] >= 0) known[n->out[j]] = node_is_known(n, known);
    }
}

ot_status ot_loop_check(const struct node *n, const bool *known, ot_error *err) {
    struct loop_form f;
    OT_TRY(ot_loop_form(n, &f, err));
    if (f.scan) return OT_OK;
    if (n->in[0] >= 0 && !known[n->in[0]])
        return ot_fail(err, OT_ERROR_UNSUPPORTED, "the trip count depends on data");
    if ((n->in[1] >= 0 && !known[n->in[1]]) || !known[n->body->out[0]])
        return ot_fail(err, OT_ERROR_UNSUPPORTED, "the condition depends on data");
    return OT_OK;
}
