/* blame.h - the node at which a result stopped being finite. */
#ifndef OT_RUN_BLAME_H
#define OT_RUN_BLAME_H

#include "runtime/run/context.h"

/* After a run of b on these inputs whose loss or outputs are not finite, or whose step failed with
 * OT_ERROR_NUMERIC: runs the forward half again, looks at every value, and adds to the message in
 * err where the first value that is not finite comes from, and the largest finite one before it.
 * Running statistics are updated once more. Returns OT_ERROR_NUMERIC, or how the second run failed.
 */
ot_status ot_blame(struct bound *b, const ot_tensor *inputs, ot_error *err);

/* OT_ERROR_NUMERIC where one of the first n float outputs of a run is not finite. */
ot_status ot_bound_check_outputs(struct bound *b, const ot_tensor *inputs, int n, ot_error *err);

#endif
