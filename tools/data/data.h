/* data.h - data sets: samples in memory or image files, with their targets.
 *
 * A data set is a number of samples; each has one array per model input and, where it is
 * labelled, a target. Readers exist for .npy and .npz, IDX, CIFAR-10 and CIFAR-100 binary files,
 * folders of images, and ONNX test-data folders; the file's own bytes tell which one it is.
 */
#ifndef OT_TOOLS_DATA_DATA_H
#define OT_TOOLS_DATA_DATA_H

#include "tools/tool.h"

enum { MAX_INPUTS = 16 };

/* Samples side by side: dim[0] counts them. The type is OT_FLOAT (any floating-point type of the
 * file), OT_UINT8 (8-bit data, which is scaled by default) or OT_INT64 (all other integers). */
struct array {
    ot_type type;
    int rank; /* 0: there is none */
    int64_t dim[OT_MAX_RANK];
    void *data; /* malloc'ed */
};

/* One sample of one input. Free `owned` after use. */
struct sample {
    ot_type type;
    int rank;
    int64_t dim[OT_MAX_RANK];
    const void *data;
    void *owned;
};

enum split { SPLIT_AUTO, SPLIT_TRAIN, SPLIT_VAL };

/* What a model asks of its data. */
struct data_request {
    int n_inputs;
    const char *input[MAX_INPUTS];
    const char *output;             /* keys of targets may carry its name; NULL is allowed */
    bool check;                     /* images are decoded once, and broken ones are refused */
    bool skip_broken;               /* broken images are left out instead */
    int threads;                    /* threads that decode; 0: one per CPU */
    void (*tell)(const char *line); /* gets a line for each broken image; NULL is allowed */
};

struct data_source {
    const char *kind; /* "IDX", "image folder", ...: a constant */
    char *path;
    bool has_parts; /* there is a training and a validation part */
    int64_t count;
    int n_inputs;
    struct array input[MAX_INPUTS];
    struct array target; /* rank 0: unlabelled */
    char **file;         /* images: the path of each sample; else NULL */
    int64_t left_out;    /* broken images that count no more */
    int64_t classes;     /* 0: the targets are no classes */
    bool classes_exact;  /* the data set says how many classes it has */
    char **class_name;   /* NULL: unnamed */
};

/* Opens the asked part; where there are no parts, SPLIT_AUTO and SPLIT_TRAIN give everything and
 * SPLIT_VAL is EXIT_DATA. SPLIT_AUTO prefers the validation part. */
int ot_data_open(struct data_source *d, const char *path, enum split split,
                 const struct data_request *request, struct failure *f);
void ot_data_close(struct data_source *d);

/* Sample i of an input; may be called by several threads at once. */
int ot_data_read(const struct data_source *d, int64_t i, int input, struct sample *s,
                 struct failure *f);

/* A number that other data hardly have: of sizes, labels, and a sample of the bytes. */
int ot_data_hash(const struct data_source *d, uint64_t *hash, struct failure *f);

/* A short name of sample i for messages and predictions: its file, or its number. */
void ot_data_name(const struct data_source *d, int64_t i, char *out, size_t size);

/* ---- for readers ---- */

/* How a file stores an element. */
struct element {
    char kind; /* 'f', 'i', 'u', 'b' */
    int size;  /* bytes */
    bool swap; /* big-endian */
};

/* Element i of an array of integers. */
int64_t ot_array_integer(const struct array *a, int64_t i);

/* Elements of shape a->dim, checked; EXIT_DATA where the product overflows or is too large. */
int ot_array_count(const struct array *a, const char *name, size_t *count, struct failure *f);

/* Fills a (rank and dim set) from count elements of `raw`. `name` is for messages. */
int ot_array_fill(struct array *a, struct element e, const void *raw, const char *name,
                  struct failure *f);

/* The number of 2 (IEEE half), 4 or 8 bytes. */
float ot_float_of(uint64_t bits, int size);

/* Decodes all images of d, as the request says. label: of each, moves with them. */
int ot_images_check(struct data_source *d, int64_t *label, const struct data_request *request,
                    struct failure *f);

/* One .npy file in memory. */
int ot_npy_parse(const unsigned char *bytes, size_t size, const char *name, struct array *a,
                 struct failure *f);

int ot_npy_open(struct data_source *d, const char *path, enum split split,
                const struct data_request *request, struct failure *f);
int ot_npz_open(struct data_source *d, const char *path, enum split split,
                const struct data_request *request, struct failure *f);
int ot_idx_open(struct data_source *d, const char *path, enum split split,
                const struct data_request *request, struct failure *f);
int ot_cifar_open(struct data_source *d, const char *path, enum split split,
                  const struct data_request *request, struct failure *f);
int ot_images_open(struct data_source *d, const char *path, enum split split,
                   const struct data_request *request, struct failure *f);
int ot_onnx_open(struct data_source *d, const char *path, enum split split,
                 const struct data_request *request, struct failure *f);

/* The sorted names of a folder's entries, without hidden ones. Free with ot_names_free. */
int ot_names_read(const char *folder, char ***names, int64_t *n, struct failure *f);
void ot_names_free(char **names, int64_t n);
bool ot_is_folder(const char *path);
bool ot_is_image_name(const char *name);

#endif
