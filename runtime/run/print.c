/* print.c - a plan as text, a line a step. */
#include <stdio.h>

#include "runtime/base/pattern.h"
#include "runtime/compile/missed.h"
#include "runtime/run/context.h"

static const char *layout_text(const struct tensor *t, char *buffer, size_t size) {
    if (!t->lanes) return "rows";
    snprintf(buffer, size, "lanes%d", t->lanes);
    return buffer;
}

static double density(const struct op_node *n) {
    for (int i = 0; i < n->n_in; i++)
        if (n->x[i] && n->x[i]->pattern)
            return n->x[i]->pattern->nnz /
                   ((double)n->x[i]->pattern->rows * n->x[i]->pattern->cols);
    return 1;
}

static const char *const kind_names[] = {
    [OT_STEP_FORWARD] = "forward",   [OT_STEP_LOSS] = "loss",
    [OT_STEP_BACKWARD] = "backward", [OT_STEP_AGAIN] = "again",
    [OT_STEP_ADD] = "add",           [OT_STEP_ZERO] = "zero",
    [OT_STEP_ONE] = "one",           [OT_STEP_ACCUMULATE] = "collect",
    [OT_STEP_PROBE] = "probe"};

enum { TIME_TEXT = 16 };

/* Milliseconds; a dash where there are none. */
static void time_text(double ms, char text[TIME_TEXT]) {
    snprintf(text, TIME_TEXT, ms > 0 ? "%.3f" : "-", ms);
}

/* What each form of a product was predicted to take, where there was a choice: "1.2/0.9/4.5". */
static const char *choice_text(const struct op_node *n, char *text, size_t size) {
    const double *ms = n->choice;
    if (ms[OT_FORM_SPARSE] <= 0) return "-";
    snprintf(text, size, "%.*f/%.*f/%.*f", ms[0] < 1 ? 3 : 1, ms[0], ms[1] < 1 ? 3 : 1, ms[1],
             ms[2] < 1 ? 3 : 1, ms[2]);
    return text;
}

/* What a profile has measured of one run of the step. */
static double measured_ms(const struct step *step) {
    const struct timing *t = &step->time, *w = &step->weight_time;
    return (t->calls ? 1e3 * t->seconds / (double)t->calls : 0) +
           (w->calls ? 1e3 * w->seconds / (double)w->calls : 0);
}

/* The first of a node's tensors that is there. Outputs may be absent, the first one, too. */
static struct tensor *first_of(struct tensor *const *t, int n) {
    for (int i = 0; i < n; i++)
        if (t[i]) return t[i];
    return NULL;
}

/* What a step makes: an output, or the gradient of an input. */
static const struct entry *made_by(const struct op_node *n, bool forward) {
    struct tensor *t = first_of(forward ? n->y : n->dx, forward ? n->n_out : n->n_in);
    return ot_entry(t ? t : first_of(n->dy, n->n_out));
}

static void print_node(const struct bound *b, int s, char *line, size_t size) {
    const struct step *step = &b->step[s];
    const struct op_node *n = step->node;
    const bool forward = step->kind != OT_STEP_BACKWARD;
    const struct tensor *x = n->n_in ? n->x[0] : NULL, *y = first_of(n->y, n->n_out);
    const struct entry *e = made_by(n, forward);
    const struct entry *root = e->view ? e->view : e;
    char from[128] = "", to[128], layout[32], life[48] = "", choice[64];
    char predicted[TIME_TEXT], measured[TIME_TEXT];
    if (root->buffer >= 0)
        snprintf(life, sizeof life, "%d-%d", b->plan->buffer[root->buffer].first,
                 b->plan->buffer[root->buffer].last);
    /* the backward pass of a product is a product for each of its two operands */
    const bool probe = step->kind == OT_STEP_PROBE;
    time_text(probe ? n->probe_predicted : n->predicted[!forward], predicted);
    time_text(measured_ms(step), measured);
    double flops = n->flops * (forward ? 1 : (n->want & 1) + ((n->want >> 1) & 1));
    snprintf(line, size,
             "%4d %-8s %-27.27s %-28.28s %-20s %-20s %-8s %5.1f%% %-16s %9.3f %9s %9s %-19s %9.1f  "
             "%s",
             s, kind_names[step->kind], n->op->name, n->node->name,
             x ? ot_shape_text(x, from, sizeof from) : "", ot_shape_text(y, to, sizeof to),
             layout_text(y, layout, sizeof layout), 100 * density(n),
             n->kernel ? n->kernel : "loop", flops * 1e-6, predicted, measured,
             forward ? choice_text(n, choice, sizeof choice) : "-", (double)ot_bytes(&e->t) / 1024,
             life);
}

/* The plan of the larger micro-batches stands for both. */
static void print_parts(const struct bound *b, ot_write_fn *write, void *context) {
    const struct plan *p = b->plan;
    char line[128];
    snprintf(line, sizeof line,
             "batch %lld in %lld micro-batches of %lld%s samples:", (long long)p->batch,
             (long long)p->parts, (long long)ot_part_rows(p->batch, p->parts),
             p->part[1] ? " or one less" : "");
    write(context, line);
    ot_bound_print(b->part[0], write, context);
}

void ot_bound_print(const struct bound *b, ot_write_fn *write, void *context) {
    const struct plan *p = b->plan;
    char line[512], shape[128];
    if (p->parts) {
        print_parts(b, write, context);
        return;
    }
    snprintf(line, sizeof line,
             "%4s %-8s %-27s %-28s %-20s %-20s %-8s %6s %-16s %9s %9s %9s %-19s %9s  %s", "step",
             "what", "operator", "name", "input", "output", "layout", "dens.", "kernel", "MFLOP",
             "ms pred.", "ms meas.", "sparse/dense/live", "KiB", "alive");
    write(context, line);
    for (int s = 0; s < p->n_steps; s++) {
        const struct step *step = &b->step[s];
        if (step->node)
            print_node(b, s, line, sizeof line);
        else
            snprintf(line, sizeof line, "%4d %-8s %-27s %-28.28s %-20s", s, kind_names[step->kind],
                     step->kind == OT_STEP_LOSS ? ot_loss_name(b->loss.kind) : "", step->a->name,
                     ot_shape_text(&step->a->t, shape, sizeof shape));
        write(context, line);
    }
    size_t sum = 0;
    for (int i = 0; i < p->n_buffers; i++)
        if (p->buffer[i].first <= p->buffer[i].last) sum += p->buffer[i].bytes;
    snprintf(line, sizeof line,
             "%d steps, %d nodes, peak %.1f MiB (fullest step %.1f MiB, buffers without sharing "
             "%.1f MiB)",
             p->n_steps, p->n_nodes, (double)p->block_bytes / 1048576, (double)p->bound / 1048576,
             (double)sum / 1048576);
    write(context, line);
    ot_missed_print(p, write, context);
}
