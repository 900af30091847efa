/* data.c - opens a data set by what its path holds, and reads samples. */
#include "tools/data/data.h"
#include "tools/data/image.h"
#include "tools/file.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef int open_fn(struct data_source *d, const char *path, enum split split,
                    const struct data_request *request, struct failure *f);

bool ot_is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool ot_is_image_name(const char *name) {
    return ot_has_suffix(name, ".jpg") || ot_has_suffix(name, ".jpeg") ||
           ot_has_suffix(name, ".png");
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void ot_names_free(char **names, int64_t n) {
    for (int64_t i = 0; names && i < n; i++) free(names[i]);
    free(names);
}

/* Appends a copy of name; the array doubles when it is full, at powers of two. */
static int append_name(char ***names, int64_t *n, const char *name, struct failure *f) {
    if ((*n & (*n - 1)) == 0) {
        char **larger = realloc(*names, (size_t)(*n ? 2 * *n : 1) * sizeof *larger);
        if (!larger) return ot_refuse(f, EXIT_MEMORY, "cannot allocate %" PRId64 " file names", *n);
        *names = larger;
    }
    (*names)[*n] = ot_copy_text(name, f);
    return (*names)[*n] ? (++*n, 0) : f->code;
}

int ot_names_read(const char *folder, char ***names, int64_t *n, struct failure *f) {
    *names = NULL;
    *n = 0;
    DIR *dir = opendir(folder);
    if (!dir)
        return ot_refuse(f, EXIT_DATA, "cannot open folder '%s': %s", folder, strerror(errno));
    int code = 0;
    const struct dirent *entry;
    while (!code && (entry = readdir(dir)))
        if (entry->d_name[0] != '.') code = append_name(names, n, entry->d_name, f);
    closedir(dir);
    if (code) {
        ot_names_free(*names, *n);
        *names = NULL;
        *n = 0;
    } else if (*n) {
        qsort(*names, (size_t)*n, sizeof **names, compare_names);
    }
    return code;
}

/* ---- which reader ---- */

/* Names that tell what a folder is, by their beginning. */
static const struct {
    const char *prefix;
    open_fn *open;
} folders[] = {{"train-images", ot_idx_open},   {"t10k-images", ot_idx_open},
               {"data_batch", ot_cifar_open},   {"test_batch", ot_cifar_open},
               {"test_data_set", ot_onnx_open}, {"input_0.pb", ot_onnx_open}};

static open_fn *find_folder_reader(char *const *names, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof folders / sizeof *folders; k++)
            if (strncmp(names[i], folders[k].prefix, strlen(folders[k].prefix)) == 0)
                return folders[k].open;
    return ot_images_open;
}

/* Magic numbers at the beginning of a file; gzip is taken for IDX, which is all we unpack. */
static const struct {
    unsigned char bytes[8];
    int n;
    open_fn *open;
} magics[] = {{{0x93, 'N', 'U', 'M', 'P', 'Y'}, 6, ot_npy_open},
              {{'P', 'K', 3, 4}, 4, ot_npz_open},
              {{'P', 'K', 5, 6}, 4, ot_npz_open},
              {{0x1f, 0x8b}, 2, ot_idx_open},
              {{0xff, 0xd8, 0xff}, 3, ot_images_open},
              {{0x89, 'P', 'N', 'G'}, 4, ot_images_open}};

static open_fn *find_file_reader(const char *path, struct failure *f) {
    unsigned char head[8] = {0};
    size_t n, size;
    if (ot_read_head(path, EXIT_DATA, head, sizeof head, &n, &size, f)) return NULL;
    for (size_t k = 0; k < sizeof magics / sizeof *magics; k++)
        if (n >= (size_t)magics[k].n && memcmp(head, magics[k].bytes, (size_t)magics[k].n) == 0)
            return magics[k].open;
    if (ot_has_suffix(path, ".npy")) return ot_npy_open;
    if (ot_has_suffix(path, ".npz")) return ot_npz_open;
    if (ot_has_suffix(path, ".bin")) return ot_cifar_open;
    if (ot_is_image_name(path)) return ot_images_open;
    if (n >= 4 && head[0] == 0 && head[1] == 0 && head[3] > 0) return ot_idx_open;
    ot_refuse(f, EXIT_DATA,
              "'%s' is not a data set: expected .npy, .npz, IDX, CIFAR binary (.bin), JPEG, PNG, "
              "or a folder",
              path);
    return NULL;
}

/* ---- class labels ---- */

/* Counts the classes of integer targets that the reader did not count. */
static int count_classes(struct data_source *d, struct failure *f) {
    const struct array *t = &d->target;
    if (t->rank == 0 || t->type == OT_FLOAT || d->classes) return 0;
    size_t n;
    int code = ot_array_count(t, "targets", &n, f);
    int64_t most = -1;
    for (size_t i = 0; !code && i < n; i++) {
        const int64_t label = ot_array_integer(t, (int64_t)i);
        most = label > most ? label : most;
    }
    d->classes = most < INT32_MAX ? most + 1 : 0;
    return code;
}

static int check_counts(const struct data_source *d, struct failure *f) {
    if (d->count < 1) return ot_refuse(f, EXIT_DATA, "'%s' holds no samples", d->path);
    for (int i = 0; !d->file && i < d->n_inputs; i++)
        if (d->input[i].dim[0] != d->count)
            return ot_refuse(f, EXIT_DATA,
                             "'%s': input %d has %" PRId64 " samples, input 0 has "
                             "%" PRId64,
                             d->path, i, d->input[i].dim[0], d->count);
    if (d->target.rank && d->target.dim[0] != d->count)
        return ot_refuse(f, EXIT_DATA, "'%s': %" PRId64 " samples but %" PRId64 " targets", d->path,
                         d->count, d->target.dim[0]);
    return 0;
}

int ot_data_open(struct data_source *d, const char *path, enum split split,
                 const struct data_request *request, struct failure *f) {
    *d = (struct data_source){0};
    char **names = NULL;
    int64_t n = 0;
    open_fn *reader = NULL;
    int code = 0;
    if (ot_is_folder(path)) {
        code = ot_names_read(path, &names, &n, f);
        reader = code ? NULL : find_folder_reader(names, n);
        ot_names_free(names, n);
    } else {
        reader = find_file_reader(path, f);
    }
    d->path = reader ? ot_copy_text(path, f) : NULL;
    if (!d->path) return f->code;
    code = reader(d, path, split, request, f);
    if (!code && split == SPLIT_VAL && !d->has_parts)
        code = ot_refuse(f, EXIT_DATA, "'%s' has no validation part", path);
    if (!code && !d->file) d->count = d->input[0].dim[0];
    if (!code) code = check_counts(d, f);
    if (!code) code = count_classes(d, f);
    if (code) ot_data_close(d);
    return code;
}

void ot_data_close(struct data_source *d) {
    for (int i = 0; i < d->n_inputs; i++) free(d->input[i].data);
    free(d->target.data);
    ot_names_free(d->file, d->file ? d->count : 0);
    ot_names_free(d->class_name, d->class_name ? d->classes : 0);
    free(d->path);
    *d = (struct data_source){0};
}

int ot_data_read(const struct data_source *d, int64_t i, int input, struct sample *s,
                 struct failure *f) {
    *s = (struct sample){0};
    if (d->file) {
        struct image image;
        int code = ot_image_read(d->file[i], &image, f);
        if (code) return code;
        *s = (struct sample){
            .type = OT_UINT8, .rank = 3, .data = image.pixels, .owned = image.pixels};
        s->dim[0] = image.height;
        s->dim[1] = image.width;
        s->dim[2] = image.channels;
        return 0;
    }
    const struct array *a = &d->input[input];
    size_t stride = a->type == OT_FLOAT ? sizeof(float) : a->type == OT_UINT8 ? 1 : 8;
    s->type = a->type;
    s->rank = a->rank - 1;
    for (int k = 1; k < a->rank; k++) {
        s->dim[k - 1] = a->dim[k];
        stride *= (size_t)a->dim[k];
    }
    s->data = (const char *)a->data + (size_t)i * stride;
    return 0;
}

void ot_data_name(const struct data_source *d, int64_t i, char *out, size_t size) {
    if (d->file)
        snprintf(out, size, "%s", d->file[i]);
    else
        snprintf(out, size, "%" PRId64, i);
}
