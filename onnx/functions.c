/* functions.c - local functions of a model: found by name, free of cycles, of bounded size. */
#include "onnx/unknown_fields.h"
#include "onnx/model.h"

#include <string.h>

enum { MOST_FUNCTIONS = 10000, MOST_CALL_DEPTH = 100, MOST_SUBGRAPHS = 16 };
enum { TAG_NODE_OVERLOAD = 8, TAG_FUNCTION_OVERLOAD = 13, TAG_FUNCTION_PRESET = 11 };

/* Calls out of one function, or out of the graph. */
struct edge {
    struct edge *next;
    int to;
};

const char *ot_domain(const char *domain) {
    return domain && strcmp(domain, "ai.onnx") != 0 ? domain : "";
}

ot_status ot_opsets_read(struct import *im, Onnx__OperatorSetIdProto *const *list, size_t n,
                         int function) {
    for (size_t i = 0; i < n; i++) {
        const char *domain = ot_domain(list[i]->domain);
        int64_t version = list[i]->has_version ? list[i]->version : 0;
        if (version < 1)
            return ot_import_fail(im, OT_ERROR_INVALID, "opset %lld of domain '%s' is invalid",
                                  (long long)version, domain);
        if (version > INT32_MAX || (!*domain && version > OT_NEWEST_OPSET))
            return ot_import_fail(
                im, OT_ERROR_UNSUPPORTED,
                "opset %lld of domain '%s' is newer than %d, the newest supported",
                (long long)version, domain, OT_NEWEST_OPSET);
        int known = ot_names_get(&im->names, SCOPE_OPSET(function), domain);
        if (known != OT_NO_NAME && known != version)
            return ot_import_fail(im, OT_ERROR_INVALID,
                                  "domain '%s' is imported as opset %d and as opset %lld", domain,
                                  known, (long long)version);
        if (!ot_names_set(&im->names, SCOPE_OPSET(function), domain, (int)version))
            return ot_import_no_room(im, &im->scratch, 0);
    }
    return OT_OK;
}

/* A string field that the schema of this build may not know, as a C string; "" where absent. */
static const char *extra_string(struct import *im, const ProtobufCMessage *m, unsigned tag) {
    size_t size;
    const char *p = ot_unknown_string(m, tag, &size);
    if (!p) return "";
    const char *s = ot_small_strndup(&im->temporary, p, size);
    return s ? s : "";
}

/* A small number for a string; OT_NO_NAME: out of memory. */
static int number_of(struct import *im, uint64_t scope, const char *s, int fresh) {
    int known = ot_names_get(&im->names, scope, s);
    if (known != OT_NO_NAME) return known;
    return ot_names_set(&im->names, scope, s, fresh) ? fresh : OT_NO_NAME;
}

int ot_functions_find(const struct import *im, const Onnx__NodeProto *node) {
    if (!im->n_functions) return -1;
    int domain = ot_names_get(&im->names, SCOPE_DOMAIN, ot_domain(node->domain));
    size_t size;
    const char *p = ot_unknown_string(&node->base, TAG_NODE_OVERLOAD, &size);
    char text[256] = "";
    if (p && size < sizeof text) memcpy(text, p, size);
    int overload = ot_names_get(&im->names, SCOPE_OVERLOAD, text);
    if (domain < 0 || overload < 0 || (p && size >= sizeof text)) return -1;
    int f = ot_names_get(&im->names, SCOPE_FUNCTION(domain, overload), node->op_type);
    return f < 0 ? -1 : f;
}

/* Refuses equal names among the inputs, outputs or attributes of function i. */
static ot_status check_distinct(struct import *im, int i, int kind, const char *what,
                                char *const *name, size_t n) {
    const uint64_t scope = (uint64_t)1 << 60 | (uint64_t)i << 2 | (uint64_t)kind;
    for (size_t k = 0; k < n; k++) {
        if (!*name[k] || ot_names_get(&im->names, scope, name[k]) != OT_NO_NAME)
            return ot_import_fail(im, OT_ERROR_INVALID, "%s '%s' is empty or occurs twice", what,
                                  name[k]);
        if (!ot_names_set(&im->names, scope, name[k], (int)k))
            return ot_import_no_room(im, &im->scratch, 0);
    }
    return OT_OK;
}

static ot_status add_to_index(struct import *im, int i) {
    const Onnx__FunctionProto *p = im->function[i].proto;
    if (!p->name || !*p->name) return ot_import_fail(im, OT_ERROR_INVALID, "the name is missing");
    int domain = number_of(im, SCOPE_DOMAIN, ot_domain(p->domain), i);
    int overload =
        number_of(im, SCOPE_OVERLOAD, extra_string(im, &p->base, TAG_FUNCTION_OVERLOAD), i);
    if (domain == OT_NO_NAME || overload == OT_NO_NAME)
        return ot_import_no_room(im, &im->scratch, 0);
    uint64_t scope = SCOPE_FUNCTION(domain, overload);
    if (ot_names_get(&im->names, scope, p->name) != OT_NO_NAME)
        return ot_import_fail(im, OT_ERROR_INVALID, "this function occurs twice");
    if (!ot_names_set(&im->names, scope, p->name, i)) return ot_import_no_room(im, &im->scratch, 0);
    OT_TRY(check_distinct(im, i, 0, "input", p->input, p->n_input));
    OT_TRY(check_distinct(im, i, 1, "output", p->output, p->n_output));
    return check_distinct(im, i, 2, "attribute", p->attribute, p->n_attribute);
}

/* The default values of attributes, which schemas before IR 9 do not know. */
static ot_status read_presets(struct import *im, struct function *f) {
    const size_t n = ot_unknown_count(&f->proto->base, TAG_FUNCTION_PRESET);
    if (!n) return OT_OK;
    Onnx__AttributeProto **list = ot_small_alloc(&im->temporary, n, sizeof *list);
    if (!list) return ot_import_no_room(im, &im->scratch, n * sizeof *list);
    for (size_t i = 0; i < n; i++) {
        list[i] = (Onnx__AttributeProto *)ot_unknown_message(
            &f->proto->base, TAG_FUNCTION_PRESET, i, &onnx__attribute_proto__descriptor, &im->tree);
        if (!list[i])
            return ot_import_fail(im, OT_ERROR_PARSE,
                                  "default value %zu of an attribute cannot be parsed", i);
    }
    f->n_preset = (int)n;
    return ot_attributes_read(im, list, n, &f->preset, NULL);
}

static ot_status read_function(struct import *im, int i) {
    struct function *f = &im->function[i];
    OT_TRY(add_to_index(im, i));
    OT_TRY(ot_opsets_read(im, f->proto->opset_import, f->proto->n_opset_import, i));
    OT_TRY(read_presets(im, f));
    f->template = ot_small_alloc(&im->temporary, f->proto->n_node, sizeof *f->template);
    if (!f->template)
        return ot_import_no_room(im, &im->scratch, f->proto->n_node * sizeof *f->template);
    return OT_OK;
}

/* ---- calls --------------------------------------------------------------------------------------
 */

struct walk {
    struct {
        Onnx__NodeProto *const *node;
        size_t n, i, attribute, graph;
    } level[MOST_SUBGRAPHS + 1];
    int depth;
    size_t initializers; /* of the subgraphs so far, and their inputs */
};

/* The k-th subgraph of an attribute; NULL behind the last. */
static const Onnx__GraphProto *subgraph(const Onnx__AttributeProto *a, size_t k) {
    if (a->g && k == 0) return a->g;
    k -= a->g != NULL;
    return k < a->n_graphs ? a->graphs[k] : NULL;
}

/* The next node, those of subgraphs included, or NULL. */
static const Onnx__NodeProto *next_node(struct walk *w) {
    while (w->depth >= 0) {
        size_t *i = &w->level[w->depth].i, *a = &w->level[w->depth].attribute;
        if (*i && *a < w->level[w->depth].node[*i - 1]->n_attribute) {
            const Onnx__NodeProto *node = w->level[w->depth].node[*i - 1];
            const Onnx__GraphProto *g = subgraph(node->attribute[*a], w->level[w->depth].graph++);
            if (g && w->depth < MOST_SUBGRAPHS) {
                w->depth++;
                memset(&w->level[w->depth], 0, sizeof *w->level);
                w->level[w->depth].node = g->node;
                w->level[w->depth].n = g->n_node;
                w->initializers += g->n_initializer + g->n_sparse_initializer + g->n_input;
            } else if (!g) {
                ++*a;
                w->level[w->depth].graph = 0;
            }
            continue;
        }
        if (*i < w->level[w->depth].n) {
            *a = w->level[w->depth].graph = 0;
            return w->level[w->depth].node[(*i)++];
        }
        w->depth--;
    }
    return NULL;
}

static ot_status find_calls(struct import *im, Onnx__NodeProto *const *node, size_t n,
                            struct edge **edge) {
    struct walk w = {.level = {{.node = node, .n = n}}};
    const Onnx__NodeProto *p;
    while ((p = next_node(&w))) {
        int to = p->op_type ? ot_functions_find(im, p) : -1;
        if (to < 0) continue;
        struct edge *e = ot_small_alloc(&im->temporary, 1, sizeof *e);
        if (!e) return ot_import_no_room(im, &im->scratch, sizeof *e);
        *e = (struct edge){*edge, to};
        *edge = e;
    }
    return OT_OK;
}

/* a + b, but no more than SIZE_MAX / 4. */
static size_t saturate(size_t a, size_t b) {
    const size_t most = SIZE_MAX / 4;
    return a > most - b || b > most ? most : a + b;
}

/* What the nodes of a body become, those of all branches counted. The functions they call are
 * counted already. */
static void count_body(const struct import *im, Onnx__NodeProto *const *node, size_t n,
                       size_t *nodes, size_t *values) {
    struct walk w = {.level = {{.node = node, .n = n}}};
    const Onnx__NodeProto *p;
    while ((p = next_node(&w))) {
        int to = p->op_type ? ot_functions_find(im, p) : -1;
        *nodes = saturate(*nodes, 1);
        *values = saturate(*values, p->n_output);
        if (to < 0) continue;
        *nodes = saturate(*nodes, im->function[to].nodes);
        *values = saturate(*values, im->function[to].values);
    }
    *values = saturate(*values, w.initializers);
}

/* Depth-first over the calls from function `start`; callees are counted before their callers. */
static ot_status count_from(struct import *im, int start, struct edge **calls, int *stack) {
    int top = 0;
    stack[0] = start;
    im->function[start].state = 1;
    while (top >= 0) {
        struct function *f = &im->function[stack[top]];
        struct edge *e = calls[stack[top]];
        if (e) {
            struct function *to = &im->function[e->to];
            if (to->state == 1)
                return ot_import_fail(im, OT_ERROR_INVALID, "function '%s' calls itself",
                                      to->proto->name);
            if (to->state == 0) {
                to->state = 1;
                stack[++top] = e->to;
                continue;
            }
            if (to->depth + 1 > f->depth) f->depth = to->depth + 1;
            calls[stack[top]] = e->next;
            continue;
        }
        if (f->depth >= MOST_CALL_DEPTH)
            return ot_import_fail(im, OT_ERROR_LIMIT, "function calls are nested %d deep",
                                  MOST_CALL_DEPTH + 1);
        count_body(im, f->proto->node, f->proto->n_node, &f->nodes, &f->values);
        f->state = 2;
        top--;
    }
    return OT_OK;
}

static ot_status count_calls(struct import *im) {
    const size_t n = (size_t)im->n_functions;
    struct edge **calls = ot_small_alloc(&im->temporary, n + 1, sizeof *calls);
    int *stack = ot_small_alloc(&im->temporary, n + 1, sizeof *stack);
    if (!calls || !stack) return ot_import_no_room(im, &im->scratch, n * sizeof *calls);
    for (int i = 0; i < im->n_functions; i++) {
        const Onnx__FunctionProto *p = im->function[i].proto;
        OT_TRY(find_calls(im, p->node, p->n_node, &calls[i]));
    }
    for (int i = 0; i < im->n_functions; i++)
        if (!im->function[i].state) OT_TRY(count_from(im, i, calls, stack));
    return OT_OK;
}

ot_status ot_functions_prepare(struct import *im) {
    const Onnx__ModelProto *m = im->model;
    if (m->n_functions > MOST_FUNCTIONS)
        return ot_import_fail(im, OT_ERROR_LIMIT,
                              "the model has %zu functions, at most %d are allowed", m->n_functions,
                              MOST_FUNCTIONS);
    im->function = ot_small_alloc(&im->temporary, m->n_functions, sizeof *im->function);
    if (!im->function)
        return ot_import_no_room(im, &im->scratch, m->n_functions * sizeof *im->function);
    for (size_t i = 0; i < m->n_functions; i++) {
        im->function[i].proto = m->functions[i];
        ot_status status = read_function(im, (int)i);
        if (status) {
            const char *name = m->functions[i]->name;
            return ot_fail_in(&im->last, status, "functions[%zu] '%.60s'", i, name ? name : "");
        }
        im->n_functions = (int)i + 1;
    }
    OT_TRY(count_calls(im));
    count_body(im, m->graph->node, m->graph->n_node, &im->max_nodes, &im->max_values);
    if (im->algorithm)
        count_body(im, im->algorithm->node, im->algorithm->n_node, &im->max_nodes, &im->max_values);
    if (im->max_nodes > im->options->limits.nodes)
        return ot_import_fail(
            im, OT_ERROR_LIMIT,
            "the model has more than %llu nodes, including those of local functions",
            (unsigned long long)im->options->limits.nodes);
    return OT_OK;
}
