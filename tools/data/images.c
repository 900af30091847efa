/* images.c - folders of JPEG and PNG files: root/class/file, root/{train,val}/class/file, a
 * folder of files without classes, or one file. Classes are numbered by their sorted names. */
#include "tools/data/data.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The source while it grows. */
struct list {
    struct data_source *d;
    int64_t room;
    int64_t *label;
};

/* Takes over `path` (NULL: it could not be made). */
static int append(struct list *list, char *path, int64_t label, struct failure *f) {
    struct data_source *d = list->d;
    if (!path) return f->code;
    if (d->count == list->room) {
        list->room = list->room ? 2 * list->room : 256;
        char **files = realloc(d->file, (size_t)list->room * sizeof *files);
        d->file = files ? files : d->file;
        int64_t *labels = realloc(list->label, (size_t)list->room * sizeof *labels);
        list->label = labels ? labels : list->label;
        if (!files || !labels) {
            free(path);
            return ot_refuse(f, EXIT_MEMORY, "cannot allocate %" PRId64 " file names", list->room);
        }
    }
    list->label[d->count] = label;
    d->file[d->count++] = path;
    return 0;
}

/* Appends the image files of one folder, by name; counts them. */
static int append_folder(struct list *list, const char *folder, int64_t label, int64_t *found,
                         struct failure *f) {
    char **names;
    int64_t n;
    int code = ot_names_read(folder, &names, &n, f);
    *found = 0;
    for (int64_t i = 0; i < n && !code; i++) {
        if (!ot_is_image_name(names[i])) continue;
        code = append(list, ot_join_path(folder, names[i], f), label, f);
        ++*found;
    }
    ot_names_free(names, n);
    return code;
}

/* Appends every class, a folder each that holds images. */
static int append_classes(struct list *list, const char *root, char *const *names, int64_t n,
                          struct failure *f) {
    struct data_source *d = list->d;
    d->class_name = ot_take((size_t)n, sizeof *d->class_name, f);
    int code = d->class_name ? 0 : f->code;
    for (int64_t i = 0; i < n && !code; i++) {
        int64_t found = 0;
        char *folder = ot_join_path(root, names[i], f);
        if (!folder) return f->code;
        if (ot_is_folder(folder)) {
            code = append_folder(list, folder, d->classes, &found, f);
            if (!code && !found)
                code = ot_refuse(f, EXIT_DATA, "'%s' holds no .jpg, .jpeg or .png file", folder);
            d->class_name[d->classes] = code ? NULL : ot_copy_text(names[i], f);
            d->classes += d->class_name[d->classes] != NULL;
        }
        free(folder);
    }
    d->classes_exact = true;
    return code;
}

/* The folder of the asked part, in fresh memory: root/train, root/val, or root itself. */
static char *find_part(struct data_source *d, const char *root, enum split split,
                       struct failure *f) {
    static const char *const held_out[] = {"val", "valid", "validation", "test"};
    char *train = ot_join_path(root, "train", f), *val = NULL;
    for (int i = 0; i < 4 && !val; i++) {
        val = ot_join_path(root, held_out[i], f);
        if (val && !ot_is_folder(val)) {
            free(val);
            val = NULL;
        }
    }
    if (train && !ot_is_folder(train)) {
        free(train);
        free(val);
        return ot_copy_text(root, f);
    }
    d->has_parts = val != NULL;
    if (split == SPLIT_TRAIN || !val) {
        free(val);
        return train;
    }
    free(train);
    return val;
}

static int read_root(struct list *list, const char *path, enum split split, struct failure *f) {
    char **names = NULL;
    int64_t n = 0, found;
    bool folders = false;
    char *root = find_part(list->d, path, split, f);
    int code = root ? ot_names_read(root, &names, &n, f) : f->code;
    for (int64_t i = 0; i < n && !code && !folders; i++) {
        char *entry = ot_join_path(root, names[i], f);
        folders = entry && ot_is_folder(entry);
        free(entry);
    }
    if (!code)
        code = folders ? append_classes(list, root, names, n, f)
                       : append_folder(list, root, 0, &found, f);
    ot_names_free(names, n);
    free(root);
    return code;
}

int ot_images_open(struct data_source *d, const char *path, enum split split,
                   const struct data_request *request, struct failure *f) {
    struct list list = {.d = d};
    d->kind = ot_is_folder(path) ? "image folder" : "image";
    d->n_inputs = 1;
    int code = 0;
    if (request->n_inputs != 1)
        code = ot_refuse(f, EXIT_DATA, "images fill one input, but the model has %d",
                         request->n_inputs);
    else if (ot_is_folder(path))
        code = read_root(&list, path, split, f);
    else
        code = append(&list, ot_copy_text(path, f), 0, f);
    if (!code && request->check && d->count) code = ot_images_check(d, list.label, request, f);
    if (!code && d->class_name) {
        d->target =
            (struct array){.type = OT_INT64, .rank = 1, .dim = {d->count}, .data = list.label};
        list.label = NULL;
    }
    if (!code && !d->count) code = ot_refuse(f, EXIT_DATA, "'%s' holds no JPEG or PNG files", path);
    free(list.label);
    return code;
}
