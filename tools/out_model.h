/* out_model.h - writing a model to the file that out= names. */
#ifndef OT_TOOLS_OUT_MODEL_H
#define OT_TOOLS_OUT_MODEL_H

#include "tools/model.h"

/* Writes the model and prints the name of the file; "-" is standard output. */
int ot_model_write(const struct model *m, const char *out, const ot_export_options *options,
                   struct failure *f);

#endif
