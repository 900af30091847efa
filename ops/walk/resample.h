/* resample.h - linear maps along one axis: every output is a weighted sum of a few inputs.
 *
 * Resize and Upsample are one such map an axis, one after the other.
 */
#ifndef OT_OPS_WALK_RESAMPLE_H
#define OT_OPS_WALK_RESAMPLE_H

#include "ops/op.h"

/* Output j is the sum of weight[t] * input[index[t]] for first[j] <= t < first[j + 1]. */
struct taps {
    int64_t in, out;
    int32_t *first, *index;
    float *weight;
};

enum resample_mode { OT_NEAREST, OT_LINEAR, OT_CUBIC };

/* What the attributes of Resize say. */
struct resample {
    enum resample_mode mode;
    const char *coordinates; /* coordinate_transformation_mode, known to ot_taps_make */
    const char *rounding;    /* nearest_mode, likewise */
    bool antialias, exclude_outside;
    float cubic; /* cubic_coeff_a */
};

/* The taps of an axis; scale: output elements per input element. roi: of mode tf_crop_and_resize,
 * where outputs that lie outside get no tap. Fails on names that are not known. */
ot_status ot_taps_make(struct op_node *n, const struct resample *r, int64_t in, int64_t out,
                       double scale, const float roi[2], struct taps *taps, ot_error *err);
/* The transposed map: from outputs to inputs. */
ot_status ot_taps_transpose(struct op_node *n, const struct taps *taps, struct taps *back,
                            ot_error *err);
/* Does the map change nothing? */
bool ot_taps_identity(const struct taps *taps);

/* to [outer][out][inner] = the map of from [outer][in][inner]. */
void ot_taps_run(struct pool *pool, const struct taps *taps, int64_t outer, int64_t inner,
                 const float *from, float *to);

/* The same one after the other for `from` and `to` of an integer type, bool, or double, which is
 * what integers are between two maps. Integers are rounded to the nearest; a value that comes from
 * one element of the same type is that element. */
void ot_taps_run_numbers(const struct taps *taps, int64_t outer, int64_t inner, ot_type from_type,
                         const void *from, ot_type to_type, void *to);

#endif
