/* transform.h - from a sample of a data set to what one input of the model expects.
 *
 * Images: grey or RGB as the model has channels, resize, crop, and then, as for all other float
 * inputs, (value * scale - mean[c]) / std[c]. Integer inputs are copied.
 */
#ifndef OT_TOOLS_DATA_TRANSFORM_H
#define OT_TOOLS_DATA_TRANSFORM_H

#include "tools/data/data.h"
#include "tools/options.h"

enum { MAX_CHANNELS = MAX_LIST };

struct transform {
    ot_type type; /* of the model's input */
    int rank;     /* of one sample, without the batch */
    int64_t dim[OT_MAX_RANK];
    int64_t elements;                    /* their product */
    bool as_image;                       /* samples go through 8-bit images */
    bool last;                           /* the model has channels last */
    bool reversed;                       /* BGR */
    int64_t channels, height, width;     /* of the result; flat data are 1, 1, elements */
    int64_t side;                        /* as_image: length of the shorter side; 0: see below */
    int64_t resize_width, resize_height; /* 0: as it is */
    float mean[MAX_CHANNELS], std[MAX_CHANNELS];
    double scale;
    char note[160]; /* what was decided without being asked for; "" */
};

/* Decides how samples of d's input `k` become the model's input. */
int ot_transform_make(struct transform *t, const struct settings *s, const ot_value_info *input,
                      const struct data_source *d, int k, struct failure *f);

/* Writes one sample: t->elements values of t->type. `name` of the sample is for messages. */
int ot_transform_apply(const struct transform *t, const struct sample *sample, void *out,
                       const char *name, struct failure *f);

/* Bytes of an element of a model's input that we feed; 0: we do not. */
size_t ot_element_size(ot_type type);

#endif
