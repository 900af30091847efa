/* fix.c - inputs that the caller turns into constants: "NAME=VALUE,NAME=VALUE". What hangs on them,
 * an If or the length of something, is decided when the file is read; the file stays as it is. */
#include "onnx/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An entry of the list. Names may hold '=', values do not. */
struct entry {
    const char *name, *value;
    size_t name_size, value_size;
};

/* The entry at *p, behind which *p goes; false: the list is at its end. */
static bool next_entry(const char **p, struct entry *e) {
    if (!*p || !**p) return false;
    const size_t size = strcspn(*p, ",");
    const char *equals = NULL;
    for (size_t i = 0; i < size; i++)
        if ((*p)[i] == '=') equals = *p + i;
    *e = (struct entry){.name = *p, .name_size = equals ? (size_t)(equals - *p) : size};
    if (equals) e->value = equals + 1;
    if (equals) e->value_size = (size_t)(*p + size - e->value);
    *p += size + ((*p)[size] == ',');
    return true;
}

static bool find_entry(const char *list, const char *name, struct entry *e) {
    const size_t n = strlen(name);
    bool found = false;
    struct entry at;
    while (next_entry(&list, &at)) {
        if (at.name_size != n || memcmp(at.name, name, n) != 0) continue;
        *e = at; /* the last one wins, as with other options */
        found = true;
    }
    return found;
}

bool ot_fix_names(const struct import *im, const char *name) {
    struct entry e;
    return find_entry(im->options->fix, name, &e);
}

/* ---- the value ---- */

enum { TEXT = 64 };

static ot_status bad_value(struct import *im, const struct entry *e, ot_type type) {
    return ot_import_fail(im, OT_ERROR_ARGUMENT, "fix: '%.*s' is not a value of type %s",
                          (int)(e->value_size < TEXT ? e->value_size : TEXT),
                          e->value ? e->value : "", ot_type_name(type));
}

/* The bounds of an integer type that a model may have; false: another type. */
static bool bounds(ot_type type, int64_t *least, int64_t *most) {
    switch (type) {
    case OT_INT64: *least = INT64_MIN, *most = INT64_MAX; return true;
    case OT_INT32: *least = INT32_MIN, *most = INT32_MAX; return true;
    case OT_INT16: *least = INT16_MIN, *most = INT16_MAX; return true;
    case OT_INT8: *least = INT8_MIN, *most = INT8_MAX; return true;
    case OT_UINT64: *least = 0, *most = INT64_MAX; return true;
    case OT_UINT32: *least = 0, *most = UINT32_MAX; return true;
    case OT_UINT16: *least = 0, *most = UINT16_MAX; return true;
    case OT_UINT8: *least = 0, *most = UINT8_MAX; return true;
    case OT_BOOL: *least = 0, *most = 1; return true;
    default: return false;
    }
}

/* One element of this type, as it stands in a tensor; little-endian, like everything here. */
static ot_status read_value(struct import *im, const struct entry *e, ot_type type,
                            unsigned char element[8]) {
    char text[TEXT + 1] = "", *end;
    int64_t least, most;
    if (!e->value_size || e->value_size > TEXT) return bad_value(im, e, type);
    memcpy(text, e->value, e->value_size);
    if (type == OT_BOOL && !strcmp(text, "true")) strcpy(text, "1");
    if (type == OT_BOOL && !strcmp(text, "false")) strcpy(text, "0");
    errno = 0;
    if (type == OT_FLOAT) {
        const float f = strtof(text, &end);
        memcpy(element, &f, sizeof f);
    } else if (bounds(type, &least, &most)) {
        const int64_t number = strtoll(text, &end, 10);
        if (number < least || number > most) errno = ERANGE;
        memcpy(element, &number, sizeof number);
    } else {
        return ot_import_fail(im, OT_ERROR_UNSUPPORTED, "fix: its type is %s", ot_type_name(type));
    }
    return *end || errno ? bad_value(im, e, type) : OT_OK;
}

static ot_status check_shape(struct import *im, const struct value *declared) {
    if (declared->rank < 0) return ot_import_fail(im, OT_ERROR_ARGUMENT, "fix: it has no shape");
    for (int i = 0; i < declared->rank; i++)
        if (declared->dim[i] < 0)
            return ot_import_fail(
                im, OT_ERROR_ARGUMENT,
                "fix: dimension %d is free: only an input with a fixed shape can be a constant", i);
    return OT_OK;
}

ot_status ot_fix_input(struct import *im, const struct value *declared, int v) {
    struct value *value = &im->g->value[v];
    struct tensor shape = {.role = OT_ROLE_CONST, .rank = declared->rank};
    const bool half = declared->type == OT_FLOAT16 || declared->type == OT_BFLOAT16 ||
                      declared->type == OT_DOUBLE;
    unsigned char element[8] = {0};
    struct entry e = {0};
    int64_t count;
    find_entry(im->options->fix, value->name, &e);
    shape.type = half ? OT_FLOAT : declared->type;
    memcpy(shape.dim, declared->dim, sizeof shape.dim);
    OT_TRY(check_shape(im, declared));
    OT_TRY(read_value(im, &e, shape.type, element));
    const size_t size = ot_type_size(shape.type);
    if (!ot_shape_count(shape.dim, shape.rank, INT64_MAX / 8, &count))
        return ot_import_fail(im, OT_ERROR_LIMIT, "fix: it has too many elements");
    OT_TRY(ot_import_expand(im, (uint64_t)count * size, "fixed inputs"));
    struct tensor *t = ot_small_alloc(&im->kept, 1, sizeof *t);
    char *data = ot_small_alloc(&im->kept, (size_t)count, size);
    if (!t || !data) return ot_import_no_room(im, &im->g->arena, (size_t)count * size);
    for (int64_t i = 0; i < count; i++) memcpy(data + (size_t)i * size, element, size);
    *t = shape;
    t->data = data;
    value->kind = OT_VALUE_CONSTANT;
    value->exportable = false;
    im->source[v] = (struct source){.ready = t};
    return OT_OK;
}

ot_status ot_fix_check(struct import *im) {
    const char *list = im->options->fix;
    struct entry e;
    while (next_entry(&list, &e)) {
        const int size = (int)(e.name_size < 80 ? e.name_size : 80);
        char *name = ot_small_strndup(&im->temporary, e.name, e.name_size);
        if (!name) return ot_import_no_room(im, &im->scratch, e.name_size);
        if (!e.value)
            return ot_import_fail(im, OT_ERROR_ARGUMENT,
                                  "fix: '%.*s' is not of the form NAME=VALUE", size, e.name);
        if (ot_names_get(&im->names, SCOPE_INPUT, name) == OT_NO_NAME)
            return ot_import_fail(im, OT_ERROR_ARGUMENT, "fix: the model has no input '%.*s'", size,
                                  e.name);
    }
    return OT_OK;
}
