/* yaml.c - one mapping of keys to scalars or lists of scalars from a YAML file; settings from one.
 *
 * Scalars are typed by the option table, so that 1e-5 is a number however it is spelled. Anchors,
 * tags and nested mappings are refused with file:line:column.
 */
#include "tools/file.h"
#include "tools/options.h"
#include "tools/yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { MAX_VALUE = 8192 };

struct reader {
    ot_yaml_fn *put;
    void *context;
    struct failure *f;
    const char *path;
    yaml_parser_t parser;
    yaml_event_t event;
    char key[128], value[MAX_VALUE], where[1024];
    char (*seen)[128];
    int n_seen;
};

static int refuse_here(struct reader *r, yaml_mark_t mark, const char *what) {
    return ot_refuse(r->f, EXIT_USAGE, "%s:%zu:%zu: %s", r->path, mark.line + 1, mark.column + 1,
                     what);
}

/* Takes the next event and checks its kind; 0 and the event, or a failure. */
static int next(struct reader *r) {
    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event)) return 0;
    const char *problem = r->parser.problem ? r->parser.problem : "broken YAML";
    return refuse_here(r, r->parser.problem_mark, problem);
}

/* The present scalar, plain text without NUL, no anchor, no tag. */
static int take_scalar(struct reader *r, char *out, size_t size) {
    if (r->event.type != YAML_SCALAR_EVENT)
        return refuse_here(r, r->event.start_mark, "expected a key, a value or a list of values");
    const char *text = (const char *)r->event.data.scalar.value;
    const size_t n = r->event.data.scalar.length;
    if (r->event.data.scalar.anchor || r->event.data.scalar.tag)
        return refuse_here(r, r->event.start_mark, "anchors and tags are not allowed");
    if (n >= size || strlen(text) != n)
        return refuse_here(r, r->event.start_mark, "the text is too long or holds NUL");
    memcpy(out, text, n + 1);
    return 0;
}

/* A value: a scalar, or a list that becomes "a,b,c". */
static int take_value(struct reader *r) {
    if (r->event.type != YAML_SEQUENCE_START_EVENT)
        return take_scalar(r, r->value, sizeof r->value);
    size_t used = 0;
    r->value[0] = '\0';
    int code = next(r);
    while (!code && r->event.type != YAML_SEQUENCE_END_EVENT) {
        if (used && used + 1 < sizeof r->value) r->value[used++] = ',';
        code = take_scalar(r, r->value + used, sizeof r->value - used);
        used += code ? 0 : strlen(r->value + used);
        if (!code) code = next(r);
    }
    return code;
}

static int check_seen(struct reader *r, yaml_mark_t mark) {
    for (int i = 0; i < r->n_seen; i++)
        if (strcmp(r->seen[i], r->key) == 0) return refuse_here(r, mark, "the key is given twice");
    if (r->n_seen == 2 * OPTION_COUNT) return refuse_here(r, mark, "too many keys");
    strcpy(r->seen[r->n_seen++], r->key);
    return 0;
}

/* Whether the present event is a plain null, which leaves the default. */
static bool is_null(const struct reader *r) {
    return r->event.type == YAML_SCALAR_EVENT &&
           r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!strcmp(r->value, "") || !strcmp(r->value, "~") || !strcmp(r->value, "null"));
}

/* "key: value" whose key is the present event. */
static int take_pair(struct reader *r) {
    const yaml_mark_t mark = r->event.start_mark;
    snprintf(r->where, sizeof r->where, "%s:%zu:%zu", r->path, mark.line + 1, mark.column + 1);
    int code = take_scalar(r, r->key, sizeof r->key);
    if (!code) code = check_seen(r, mark);
    if (!code) code = next(r);
    if (!code) code = take_value(r);
    if (code || is_null(r)) return code;
    return r->put(r->context, r->key, r->value, r->where, r->f);
}

/* Skips the events before the mapping, reads the mapping, and expects the end. */
static int take_document(struct reader *r) {
    int code = next(r);
    if (!code) code = next(r);
    if (!code && r->event.type == YAML_STREAM_END_EVENT) return 0;
    if (!code) code = next(r);
    if (!code && r->event.type != YAML_MAPPING_START_EVENT)
        return refuse_here(r, r->event.start_mark, "expected 'key: value' lines");
    while (!code) {
        code = next(r);
        if (code || r->event.type == YAML_MAPPING_END_EVENT) break;
        code = take_pair(r);
    }
    if (!code) code = next(r);
    if (!code) code = next(r);
    if (!code && r->event.type != YAML_STREAM_END_EVENT)
        return refuse_here(r, r->event.start_mark, "more than one document");
    return code;
}

int ot_yaml_read(const char *path, ot_yaml_fn *put, void *context, struct failure *f) {
    struct reader *r = ot_take(1, sizeof *r, f);
    if (!r) return f->code;
    r->put = put;
    r->context = context;
    r->f = f;
    r->path = path;
    unsigned char *text;
    size_t size;
    int code = ot_read_file(path, EXIT_USAGE, &text, &size, f);
    r->seen = code ? NULL : ot_take(2 * OPTION_COUNT, sizeof *r->seen, f);
    if (r->seen && yaml_parser_initialize(&r->parser)) {
        yaml_parser_set_input_string(&r->parser, text, size);
        code = take_document(r);
        yaml_event_delete(&r->event);
        yaml_parser_delete(&r->parser);
    } else if (!code) {
        code = ot_refuse(f, EXIT_MEMORY, "cannot allocate a YAML parser");
    }
    free(text);
    free(r->seen);
    free(r);
    return code;
}

static int put_setting(void *settings, const char *key, const char *value, const char *where,
                       struct failure *f) {
    return ot_settings_put(settings, key, value, where, f);
}

int ot_settings_read(struct settings *s, const char *path, struct failure *f) {
    return ot_yaml_read(path, put_setting, s, f);
}
