/* function_calls.c - calls of local functions, and the way out of them, of branches and bodies. */
#include "onnx/walk.h"

ot_status ot_call_enter(struct walker *w, const Onnx__NodeProto *p, int number,
                        const struct template *t, struct attr *attr) {
    struct import *im = w->im;
    struct function *fn = &im->function[number];
    const Onnx__FunctionProto *proto = fn->proto;
    if (w->top + 1 >= OT_MOST_FRAMES)
        return ot_import_fail(im, OT_ERROR_LIMIT, "function calls are nested too deep");
    if (p->n_input > proto->n_input || p->n_output > proto->n_output)
        return ot_import_fail(
            im, OT_ERROR_INVALID,
            "the node has %zu inputs and %zu outputs, but the function has %zu and %zu", p->n_input,
            p->n_output, proto->n_input, proto->n_output);
    const uint64_t scope = w->im->next_scope;
    w->im->next_scope += 2;
    for (size_t k = 0; k < proto->n_input; k++) {
        int v = VALUE_ABSENT;
        if (k < p->n_input) OT_TRY(ot_walk_input(w, p->input[k], &v));
        if (!ot_names_set(&im->names, scope, proto->input[k], v))
            return ot_import_no_room(im, &im->scratch, 0);
    }
    for (size_t k = 0; k < proto->n_output; k++)
        if (!ot_names_set(&im->names, scope + 1, proto->output[k], (int)k))
            return ot_import_no_room(im, &im->scratch, 0);
    w->frame[++w->top] = (struct frame){.function = fn,
                                        .number = number,
                                        .node = proto->node,
                                        .n = proto->n_node,
                                        .scope = scope,
                                        .call = p,
                                        .attr = attr,
                                        .n_attr = t->node.n_attr};
    return OT_OK;
}

/* What a branch gives may be a value of the frames around it. */
static ot_status leave_branch(struct walker *w) {
    const struct frame *f = &w->frame[w->top];
    const uint64_t scope = w->frame[w->top - 1].scope;
    for (size_t k = 0; k < f->call->n_output; k++) {
        int v;
        OT_TRY(ot_walk_input(w, f->branch->output[k]->name, &v));
        if (*f->call->output[k]) OT_TRY(ot_walk_alias(w, scope, f->call->output[k], v));
    }
    return OT_OK;
}

/* The outputs of a finished call get their names in the caller's scope. */
static ot_status leave_function(struct walker *w) {
    const struct frame *f = &w->frame[w->top];
    struct import *im = w->im;
    const uint64_t scope = w->frame[w->top - 1].scope;
    for (size_t k = 0; k < f->call->n_output; k++) {
        const char *formal = f->function->proto->output[k];
        if (!*f->call->output[k]) continue;
        int v = ot_names_get(&im->names, f->scope, formal);
        if (v == OT_NO_NAME || v == VALUE_ABSENT)
            return ot_import_fail(im, OT_ERROR_INVALID,
                                  "function '%.60s' does not compute its output '%.60s'",
                                  f->function->proto->name, formal);
        OT_TRY(ot_walk_alias(w, scope, f->call->output[k], v));
    }
    return OT_OK;
}

ot_status ot_call_leave(struct walker *w) {
    if (w->frame[w->top].loop) return ot_body_leave(w);
    ot_status status = w->frame[w->top].branch ? leave_branch(w) : leave_function(w);
    w->top--;
    return status;
}
