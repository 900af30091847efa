/* checkpoint.c - the whole state of a session becomes one safetensors file. */
#include <stdio.h>
#include <string.h>

#include "runtime/api/checkpoint.h"

/* ---- the tensors of a parameter ---- */

enum { NAME_ROOM = 16 }; /* the longest prefix */

int ot_checkpoint_parts(struct parameter *p, const struct pattern *pattern,
                        struct part part[OT_PARTS]) {
    int64_t count = pattern ? pattern->nnz : -1;
    int n = 0;
    part[n++] = (struct part){"value", p->t.data, OT_FLOAT, count, 0, NULL, false};
    part[n++] = (struct part){"moment0",         p->moment[0],  OT_FLOAT, count,
                              OT_STATE_MOMENT_0, &p->moment[0], false};
    part[n++] = (struct part){"moment1",         p->moment[1],  OT_FLOAT, count,
                              OT_STATE_MOMENT_1, &p->moment[1], false};
    part[n++] = (struct part){"score",        p->moment[OT_SCORE],  OT_FLOAT, count,
                              OT_STATE_SCORE, &p->moment[OT_SCORE], false};
    const float *gradient = ot_parameter_gradient(p);
    part[n++] = (struct part){"gradient",        gradient,     OT_FLOAT, count,
                              OT_STATE_GRADIENT, &p->gradient, false};
    if (!pattern) return n;
    int64_t rows = pattern->rows;
    part[n++] = (struct part){"row", pattern->row, OT_INT32, rows + 1, 0, NULL, true};
    part[n++] = (struct part){"col", pattern->col, OT_INT32, pattern->nnz, 0, NULL, true};
    return n;
}

ot_status ot_checkpoint_describe(struct arena *arena, const struct parameter *p,
                                 const struct part *part, struct safetensor *t, ot_error *err) {
    size_t size = strlen(p->name) + NAME_ROOM;
    char *name = ot_arena_alloc(arena, size, 1);
    if (!name) return ot_fail(err, OT_ERROR_NO_MEMORY, "no memory for the list of tensors");
    snprintf(name, size, "%s:%s", part->prefix, p->name);
    *t = (struct safetensor){.name = name, .type = part->type, .rank = 1, .data = part->data};
    t->dim[0] = part->count;
    if (part->count >= 0) return OT_OK;
    t->rank = p->t.rank;
    memcpy(t->dim, p->t.dim, sizeof t->dim);
    return OT_OK;
}

void ot_checkpoint_hash(const struct ot_session *s, char text[65]) {
    for (int i = 0; i < 32; i++) snprintf(text + 2 * i, 3, "%02x", s->model->graph->hash[i]);
}

/* ---- saving ---- */

static ot_status list_tensors(const struct ot_session *s, const struct scalars *c,
                              struct arena *arena, struct safetensor *list, int *n, ot_error *err) {
    *n = ot_scalars_list(s, c, list);
    for (int i = 0; i < s->model->n_parameters; i++) {
        if (s->model->parameter[i].is_number) continue;
        struct part part[OT_PARTS];
        int parts =
            ot_checkpoint_parts(&s->model->parameter[i], s->model->parameter[i].t.pattern, part);
        for (int k = 0; k < parts; k++) {
            bool is_gradient = part[k].block == &s->model->parameter[i].gradient;
            if (!part[k].data || (is_gradient && !s->accumulation.steps)) continue;
            OT_TRY(ot_checkpoint_describe(arena, &s->model->parameter[i], &part[k], &list[(*n)++],
                                          err));
        }
    }
    return OT_OK;
}

static ot_status list_notes(const ot_note *notes, int n, ot_note *list, ot_error *err) {
    for (int i = 0; i < n; i++) {
        if (!notes[i].key || !notes[i].value)
            return ot_fail(err, OT_ERROR_ARGUMENT, "note %d has no key or no value", i);
        if (!strncmp(notes[i].key, OT_NOTE_RESERVED, strlen(OT_NOTE_RESERVED)))
            return ot_fail(err, OT_ERROR_ARGUMENT,
                           "note '%s': keys that begin with " OT_NOTE_RESERVED " are reserved",
                           notes[i].key);
        for (int k = 0; k < i; k++)
            if (!strcmp(notes[i].key, notes[k].key))
                return ot_fail(err, OT_ERROR_ARGUMENT, "note '%s' is given twice", notes[i].key);
        list[i] = notes[i];
    }
    return OT_OK;
}

ot_status ot_save_checkpoint(const ot_session *s, const char *path, const ot_note *notes, int n,
                             ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    OT_TRY(ot_session_check_finite(s, err));
    char model[65];
    struct scalars c;
    struct arena arena;
    int count = 0;
    if (!path || !*path || n < 0 || (n && !notes))
        return ot_fail(err, OT_ERROR_ARGUMENT, "path is NULL, or notes is NULL although n is %d",
                       n);
    ot_status status = OT_ERROR_NO_MEMORY;
    ot_arena_init(&arena, &s->allocator, 0);
    struct safetensor *list = ot_arena_alloc(
        &arena, OT_SCALARS_MOST + (size_t)s->model->n_parameters * OT_PARTS, sizeof *list);
    ot_note *all = ot_arena_alloc(&arena, (size_t)n + 2, sizeof *all);
    if (!list || !all) {
        ot_fail(err, status, "no memory for the list of tensors");
        goto done;
    }
    ot_scalars_get(s, &c);
    ot_checkpoint_hash(s, model);
    all[0] = (ot_note){OT_NOTE_FORMAT, OT_CHECKPOINT_FORMAT};
    all[1] = (ot_note){OT_NOTE_MODEL, model};
    status = list_notes(notes, n, all + 2, err);
    if (!status) status = list_tensors(s, &c, &arena, list, &count, err);
    if (!status) status = ot_safetensors_write(&s->allocator, path, list, count, all, n + 2, err);
done:
    ot_arena_free(&arena);
    return status;
}
