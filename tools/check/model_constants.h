/* model_constants.h - a model with some of its inputs turned into initializers. */
#ifndef OT_TOOLS_CHECK_MODEL_CONSTANTS_H
#define OT_TOOLS_CHECK_MODEL_CONSTANTS_H

#include "tools/data/proto.h"

/* Does the graph itself, not one in it, have an initializer of this name? */
bool ot_model_has_initializer(struct proto model, const char *name);

/* Writes the model again. Input `name[i]` becomes an initializer with the values of `t[i]`, or the
 * initializer of this name gets these values; an entry whose name is NULL is left out. The
 * caller frees *out. */
int ot_model_fix_inputs(struct proto model, int n, const char *const *name,
                        const struct proto_tensor *t, unsigned char **out, size_t *size,
                        struct failure *f);

#endif
