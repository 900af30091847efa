/* operators.c - the table of operators, for `help operators`, and those that a model uses, for
 * `inspect`. */
#include "tools/operators.h"

#include "tools/jsonout.h"

#include <stdlib.h>
#include <string.h>

static const char *yes(int is) { return is ? "yes" : "-"; }

static int by_name(const void *a, const void *b) {
    return strcmp(((const ot_operator_info *)a)->name, ((const ot_operator_info *)b)->name);
}

static const char markdown_head[] =
    "# Operators\n"
    "\n"
    "The ONNX operators that this library runs, in the default domain unless another is "
    "named. `onnx-train help operators --markdown` writes this\n"
    "page.\n"
    "\n"
    "- **from**: the first opset that is supported; later ones are supported up to 28.\n"
    "- **backward**: the operator has a gradient. An operator without one may only occur "
    "before all trained weights, or on values that are\n"
    "  not floats.\n"
    "- **sparse**: its kernels compute with the nonzeros of a sparse weight only.\n"
    "- **lanes**: it works in the layout of sparse kernels, without reordering.\n"
    "\n"
    "Nodes that depend only on constants and shapes are computed when a step is planned. Loop"
    " and Scan (from opset 9) are unrolled at that\n"
    "time, if their trip count and condition are such values; the weights in their bodies are"
    " trained.\n"
    "\n"
    "Integers of every width that the standard allows are supported, and wrap around. Results"
    " with fractions (means, roots, logarithms, a\n"
    "scaled Gemm) are rounded towards zero, as in onnxruntime; Resize rounds interpolated "
    "integers to nearest, as in the standard's reference.\n"
    "\n"
    "Slopes at kinks are those of PyTorch 2.13. The slope is 0 for Relu, Abs, HardSwish, "
    "Shrink and ThresholdedRelu; that of the left side for\n"
    "Elu, LeakyRelu, PRelu and Selu; 0 for HardSigmoid and 1 for Clip at their limits. Equal "
    "inputs of Max and Min, and equal extremes of\n"
    "ReduceMax and ReduceMin, share the gradient; in MaxPool and GlobalMaxPool the first one "
    "gets it.\n"
    "\n"
    "| operator | from | forward | backward | sparse | lanes | limits |\n"
    "|---|---|---|---|---|---|---|\n";

static void print_operator(const ot_operator_info *o, bool markdown) {
    printf(markdown ? "| %s | %d | %s | %s | %s | %s | %s%s%s |\n"
                    : "%-26s %4d %-10s %-8s %-6s %-6s %s%s%s\n",
           o->name, o->opset, o->is_folded ? "at planning" : "yes", yes(o->has_gradient),
           yes(o->takes_sparse), yes(o->runs_in_lanes), o->limits, *o->domain ? "; domain " : "",
           o->domain);
}

int ot_print_operators(bool markdown, struct failure *f) {
    const int n = ot_operator_count();
    ot_operator_info *list = ot_take((size_t)n, sizeof *list, f);
    if (!list) return f->code;
    for (int i = 0; i < n; i++) ot_get_operator(i, &list[i], NULL);
    qsort(list, (size_t)n, sizeof *list, by_name);
    if (markdown)
        fputs(markdown_head, stdout);
    else
        printf("%-26s %4s %-10s %-8s %-6s %-6s %s\n", "operator", "from", "forward", "backward",
               "sparse", "lanes", "limits");
    for (int i = 0; i < n; i++) print_operator(&list[i], markdown);
    free(list);
    return 0;
}

/* ---- of a model --------------------------------------------------------------------------- */

struct use {
    const char *op;
    int64_t nodes;
};

static int by_use(const void *a, const void *b) {
    return strcmp(((const struct use *)a)->op, ((const struct use *)b)->op);
}

/* A row an operator of the session's nodes, sorted; *n rows. */
static struct use *find_uses(const ot_session *session, size_t *n, struct failure *f) {
    const int nodes = ot_node_count(session);
    struct use *use = ot_take((size_t)nodes, sizeof *use, f);
    *n = 0;
    if (!use) return NULL;
    for (int i = 0; i < nodes; i++) {
        ot_node_info info = {.op = ""};
        ot_get_node(session, i, &info, NULL);
        use[i] = (struct use){info.op, 1};
    }
    qsort(use, (size_t)nodes, sizeof *use, by_use);
    for (int i = 0; i < nodes; i++) {
        if (*n && !strcmp(use[*n - 1].op, use[i].op))
            use[*n - 1].nodes++;
        else
            use[(*n)++] = use[i];
    }
    return use;
}

/* What a session takes, and is no operator, is a loop. */
#define UNROLLED "unrolled when planned"

static ot_operator_info find_operator(const char *name) {
    ot_operator_info info = {.name = name, .limits = ""};
    for (int i = 0; !ot_get_operator(i, &info, NULL); i++)
        if (!strcmp(info.name, name)) return info;
    return (ot_operator_info){.name = name, .has_gradient = 1, .limits = UNROLLED};
}

static const char *how(const ot_operator_info *o) {
    return o->is_folded ? "computed when planned" : strcmp(o->limits, UNROLLED) ? "" : UNROLLED;
}

int ot_print_uses(const ot_session *session, bool json, struct failure *f) {
    size_t n;
    struct use *use = find_uses(session, &n, f);
    if (!use) return f->code;
    if (!json) printf("\n%-26s %8s %-8s %-6s %s\n", "operator", "nodes", "gradient", "sparse", "");
    for (size_t i = 0; i < n; i++) {
        const ot_operator_info o = find_operator(use[i].op);
        if (!json) {
            printf("%-26s %8lld %-8s %-6s %s\n", o.name, (long long)use[i].nodes,
                   yes(o.has_gradient), yes(o.takes_sparse), how(&o));
            continue;
        }
        fputs(i ? ",\n  {\"operator\":" : "\n  {\"operator\":", stdout);
        ot_print_string(stdout, o.name);
        printf(",\"nodes\":%lld,\"gradient\":%s,\"sparse\":%s}", (long long)use[i].nodes,
               o.has_gradient ? "true" : "false", o.takes_sparse ? "true" : "false");
    }
    free(use);
    return 0;
}
