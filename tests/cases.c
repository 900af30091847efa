/* cases.c - the grammar of test cases (cases.md). */
#include "tests/cases.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    ot_type type;
} types[] = {{"f", OT_FLOAT},    {"i64", OT_INT64},  {"i32", OT_INT32},  {"u8", OT_UINT8},
             {"i8", OT_INT8},    {"b", OT_BOOL},     {"f64", OT_DOUBLE}, {"i16", OT_INT16},
             {"u16", OT_UINT16}, {"u32", OT_UINT32}, {"u64", OT_UINT64}, {"f16", OT_FLOAT16}};

static ot_status syntax(const struct op_case *c, const char *at, ot_error *err) {
    return ot_fail(err, OT_ERROR_ARGUMENT, "case not understood at '%s' in: %s", at, c->text);
}

/* The type that the first n characters of s name; OT_UNDEFINED: none. */
static ot_type type_named(const char *s, size_t n) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strlen(types[i].name) == n && !strncmp(types[i].name, s, n)) return types[i].type;
    return OT_UNDEFINED;
}

/* "1,2.5,inf" up to `end`; *p moves behind it. NULL: not numbers. */
static struct number *numbers(struct op_case *c, const char **p, char end, int *count) {
    int most = 1;
    for (const char *s = *p; *s && *s != end; s++) most += *s == ',';
    struct number *value = ot_arena_alloc(&c->arena, (size_t)most, sizeof *value);
    *count = 0;
    while (value && **p != end) {
        char *stop, *whole;
        struct number v = {(int64_t)strtoull(*p, &whole, 10), strtod(*p, &stop)};
        if (stop == *p) return NULL;
        if (whole != stop) v.i = 0; /* not an integer */
        value[(*count)++] = v;
        *p = stop + (*stop == ',');
    }
    *p += **p == end;
    return value;
}

/* [dims], or nothing. */
static ot_status parse_dims(struct op_case *c, struct case_tensor *t, const char **p, bool *given,
                            ot_error *err) {
    *given = **p == '[';
    if (!*given) return OT_OK;
    const char *start = (*p)++;
    int n;
    const struct number *d = numbers(c, p, ']', &n);
    if (!d || n > OT_MAX_RANK) return syntax(c, start, err);
    t->rank = n;
    for (int i = 0; i < n; i++) t->dim[i] = d[i].i;
    return OT_OK;
}

/* {list} or (scalar), or nothing. */
static ot_status parse_values(struct op_case *c, struct case_tensor *t, const char **p, bool dims,
                              ot_error *err) {
    if (**p != '{' && **p != '(') return OT_OK;
    const char *start = *p;
    bool scalar = *(*p)++ == '(';
    int n;
    t->value = numbers(c, p, scalar ? ')' : '}', &n);
    if (!t->value || (scalar && n != 1)) return syntax(c, start, err);
    if (!dims) {
        t->rank = !scalar;
        t->dim[0] = n;
    } else {
        int64_t expected;
        if (!ot_shape_count(t->dim, t->rank, 1 << 24, &expected) || n != expected)
            return ot_fail(err, OT_ERROR_ARGUMENT, "%d values at '%s' in: %s", n, start, c->text);
    }
    t->role = OT_ROLE_CONST;
    return OT_OK;
}

static ot_status parse_suffixes(struct op_case *c, struct case_tensor *t, const char *p,
                                ot_error *err) {
    while (*p) {
        const char *start = p;
        if (*p == '~') {
            char *stop;
            t->sparse = true;
            t->density = strtod(p + 1, &stop);
            t->transposed = *stop == 't';
            t->stacked = *stop == 's';
            p = stop + (t->transposed || t->stacked);
            t->gaps = *p == 'l';
            p += t->gaps;
        } else if (*p == ':') {
            size_t n = strcspn(++p, ":~");
            ot_type type = type_named(p, n);
            if (type)
                t->type = type;
            else if (!strncmp(p, "p", n))
                t->role = OT_ROLE_PARAM;
            else if (!strncmp(p, "c", n))
                t->role = OT_ROLE_CONST;
            else if (!strncmp(p, "x", n))
                t->role = OT_ROLE_ACTIVATION;
            else if (!strncmp(p, "n", n))
                t->silent = true;
            else
                return syntax(c, start, err);
            p += n;
        } else {
            return syntax(c, start, err);
        }
    }
    return OT_OK;
}

static ot_status parse_tensor(struct op_case *c, struct case_tensor *t, const char *p,
                              ot_error *err) {
    *t = (struct case_tensor){.type = OT_FLOAT};
    if (!strcmp(p, "-")) {
        t->absent = true;
        return OT_OK;
    }
    const char *name = p;
    while (isalnum((unsigned char)*p) || *p == '_') p++;
    if (p == name) return syntax(c, p, err);
    size_t length = (size_t)(p - name);
    bool dims;
    OT_TRY(parse_dims(c, t, &p, &dims, err));
    OT_TRY(parse_values(c, t, &p, dims, err));
    if (!dims && !t->value) return syntax(c, name, err);
    if (t->value) {
        t->type = type_named(name, length);
        if (!t->type) return syntax(c, name, err);
    }
    return parse_suffixes(c, t, p, err);
}

static const struct tensor *attribute_tensor(struct op_case *c, const char *text, ot_error *err) {
    struct case_tensor parsed;
    struct tensor *t = ot_arena_alloc(&c->arena, 1, sizeof *t);
    if (!t || parse_tensor(c, &parsed, text, err) || !parsed.value) return NULL;
    t->type = parsed.type;
    t->role = OT_ROLE_CONST;
    t->rank = parsed.rank;
    memcpy(t->dim, parsed.dim, sizeof t->dim);
    int64_t n = ot_elements(t);
    t->data = ot_arena_alloc(&c->arena, (size_t)n, 8);
    for (int64_t i = 0; t->data && i < n; i++) {
        if (t->type == OT_FLOAT)
            ((float *)t->data)[i] = (float)parsed.value[i].f;
        else if (t->type == OT_INT64)
            ((int64_t *)t->data)[i] = parsed.value[i].i;
        else if (t->type == OT_INT32)
            ((int32_t *)t->data)[i] = (int32_t)parsed.value[i].i;
        else
            ((uint8_t *)t->data)[i] = (uint8_t)parsed.value[i].i;
    }
    return t->data ? t : NULL;
}

/* The kind that the operator's list gives for an attribute; its looks decide where it has none. */
static char attribute_kind(const struct op *op, const char *name, const char *value) {
    size_t n = strlen(name);
    for (const char *p = op->attributes; *p; p += strcspn(p, " ")) {
        p += strspn(p, " ");
        if (!strncmp(p, name, n) && p[n] == ':') return p[n + 1];
    }
    if (!isdigit((unsigned char)*value) && *value != '-') return 's';
    return strchr(value, ',') ? 'I' : strchr(value, '.') ? 'f' : 'i';
}

/* "a,b,c" as three strings. */
static const char *const *string_list(struct op_case *c, const char *text, int64_t *count) {
    size_t size = strlen(text) + 1;
    char *copy = ot_arena_alloc(&c->arena, size, 1);
    const char **list = ot_arena_alloc(&c->arena, size, sizeof *list);
    if (!copy || !list) return NULL;
    memcpy(copy, text, size);
    *count = 0;
    while (copy) {
        list[(*count)++] = copy;
        copy = strchr(copy, ',');
        if (copy) *copy++ = 0;
    }
    return list;
}

static ot_status parse_attribute(struct op_case *c, const char *name, const char *value,
                                 ot_error *err) {
    if (c->node.n_attr == CASE_ATTRS) return syntax(c, name, err);
    struct attr *a = &c->node.attr[c->node.n_attr++];
    a->name = name;
    char kind = attribute_kind(c->op, name, value);
    int n = 0;
    const char *p = value;
    const struct number *list = strchr("ifIF", kind) ? numbers(c, &p, 0, &n) : NULL;
    if (strchr("ifIF", kind) && (!list || (strchr("if", kind) && n != 1)))
        return syntax(c, value, err);
    int64_t *ints = ot_arena_alloc(&c->arena, (size_t)n, sizeof *ints);
    float *floats = ot_arena_alloc(&c->arena, (size_t)n, sizeof *floats);
    if (!ints || !floats) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory");
    for (int k = 0; k < n; k++) {
        ints[k] = list[k].i;
        floats[k] = (float)list[k].f;
    }
    a->n = n;
    a->ints = ints;
    a->floats = floats;
    if (n) a->i = ints[0], a->f = floats[0];
    switch (kind) {
    case 'i': a->kind = OT_ATTR_INT; break;
    case 'f': a->kind = OT_ATTR_FLOAT; break;
    case 'I': a->kind = OT_ATTR_INTS; break;
    case 'F': a->kind = OT_ATTR_FLOATS; break;
    case 't':
        a->kind = OT_ATTR_TENSOR;
        if (!(a->t = attribute_tensor(c, value, err))) return syntax(c, value, err);
        break;
    case 'S':
        a->kind = OT_ATTR_STRINGS;
        if (!(a->strings = string_list(c, value, &a->n))) return syntax(c, value, err);
        break;
    default:
        a->kind = OT_ATTR_STRING;
        a->s = value;
        a->n = (int64_t)strlen(value);
    }
    return OT_OK;
}

/* Options of the harness that look like attributes. *known: it was one. */
static ot_status parse_option(struct op_case *c, const char *name, const char *value, bool *known,
                              ot_error *err) {
    static const char *const modes[] = {"auto", "frozen", "train", "affine"};
    const char *p = value;
    int n;
    *known = true;
    if (!strcmp(name, "range")) {
        const struct number *v = numbers(c, &p, 0, &n);
        if (!v || n != 2) return syntax(c, value, err);
        c->low = v[0].f;
        c->high = v[1].f;
    } else if (!strcmp(name, "batch")) {
        const struct number *v = numbers(c, &p, 0, &n);
        if (!v || n != 2) return syntax(c, value, err);
        c->batch_from = v[0].i;
        c->batch_to = v[1].i;
    } else if (*name == 'd' && isdigit((unsigned char)name[1]) && !name[2]) {
        c->stated = true;
        return parse_tensor(c, &c->slope[name[1] - '0'], value, err);
    } else if (!strcmp(name, "bn")) {
        for (int i = 0; i < 4; i++)
            if (!strcmp(value, modes[i])) c->bn = (ot_bn_mode)i;
    } else {
        *known = false;
    }
    return OT_OK;
}

static ot_status parse_token(struct op_case *c, char *token, bool output, ot_error *err) {
    if (*token == '@') {
        c->node.opset = atoi(token + 1);
        return OT_OK;
    }
    if (!strcmp(token, "train")) return c->training = true, OT_OK;
    if (!strcmp(token, "lanes")) return c->lanes = true, OT_OK;
    if (!strcmp(token, "distinct")) return c->distinct = true, OT_OK;
    size_t name = strcspn(token, "=[{(");
    if (token[name] == '=') {
        bool known;
        token[name] = 0;
        OT_TRY(parse_option(c, token, token + name + 1, &known, err));
        return known ? OT_OK : parse_attribute(c, token, token + name + 1, err);
    }
    int *count = output ? &c->n_out : &c->n_in;
    if (*count == CASE_TENSORS) return syntax(c, token, err);
    return parse_tensor(c, (output ? c->out : c->in) + (*count)++, token, err);
}

static ot_status finish(struct op_case *c, ot_error *err) {
    struct node *n = &c->node;
    n->name = "case";
    n->op_type = c->op->name;
    n->domain = c->op->domain ? c->op->domain : "";
    if (c->error && !c->n_out) c->n_out = c->op->min_out;
    n->n_in = c->n_in;
    n->n_out = c->n_out;
    n->in = ot_arena_alloc(&c->arena, CASE_TENSORS, sizeof *n->in);
    n->out = ot_arena_alloc(&c->arena, CASE_TENSORS, sizeof *n->out);
    if (!n->in || !n->out) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory");
    for (int i = 0; i < c->n_in; i++) n->in[i] = c->in[i].absent ? -1 : i;
    for (int i = 0; i < c->n_out; i++) n->out[i] = c->out[i].absent ? -1 : CASE_TENSORS + i;
    return OT_OK;
}

ot_status ot_case_parse(struct op_case *c, const struct op *op, const char *text, ot_error *err) {
    *c = (struct op_case){.op = op, .text = text, .low = -2, .high = 2};
    ot_arena_init(&c->arena, NULL, 0);
    c->node.opset = op->since > 17 ? op->since : 17;
    c->node.attr = ot_arena_alloc(&c->arena, CASE_ATTRS, sizeof *c->node.attr);
    char *copy = ot_arena_strdup(&c->arena, text);
    if (!c->node.attr || !copy) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory");
    char *rest = strstr(copy, "-> error: ");
    if (rest) {
        c->error = rest + strlen("-> error: ");
        *rest = 0;
    }
    bool output = false;
    char *save = NULL;
    for (char *t = strtok_r(copy, " ", &save); t; t = strtok_r(NULL, " ", &save)) {
        if (!strcmp(t, "->"))
            output = true;
        else
            OT_TRY(parse_token(c, t, output, err));
    }
    if (!output && !c->error) return ot_fail(err, OT_ERROR_ARGUMENT, "no '->' in: %s", text);
    return finish(c, err);
}
